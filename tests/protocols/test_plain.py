"""What `tcp`, `tls` and `dns` take for settings, and what they ask for."""

import pytest
from pydantic import ValidationError

from monitor.core.wire import Place, Question, Record
from monitor.protocols.dns import fits
from tests.protocols.replay import Piece, Recording, Replay, look, look_of, settings_of

pytestmark = pytest.mark.anyio


def objections(protocol: str, **values: object) -> list[tuple[str, str]]:
    return [(".".join(map(str, keys)), text) for keys, text in settings_of(protocol, **values).objections()]


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [
        ("acme.example:5432", "acme.example", 5432),
        ("192.0.2.1:22", "192.0.2.1", 22),
        ("[::1]:5432", "::1", 5432),
        ("my_db:65535", "my_db", 65535),
        ("node.0:6379", "node.0", 6379),
    ],
)
async def test_an_address_is_a_host_and_a_port(address, host, port):
    wire = Replay(Recording())
    await look(look_of("tcp", address=address), wire=wire)
    assert wire.asked == [Place(host=host, port=port)]
    assert wire.sent == b""


@pytest.mark.parametrize(
    "address",
    ["acme.example", "acme.example:0", "acme.example:65536", "::1:22", "[::1]", "[acme]:22", ":22", "a b:22",
     "http://acme.example:22", "acme.example:22/x", "[127.0.0.1]:22", "-a.example:22", "a..b:22", "a.example:٢٢",
     "256.1.1.1:22", "127.1:22", "0:22"],
)  # fmt: skip
def test_what_is_no_address_is_refused(address):
    with pytest.raises(ValidationError):
        settings_of("tcp", address=address)


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [
        ("acme.example", "acme.example", 443),
        ("acme.example:993", "acme.example", 993),
        ("[::1]", "::1", 443),
        ("[::1]:993", "::1", 993),
    ],
)
async def test_the_port_of_tls_is_443_unless_it_is_said(address, host, port):
    wire = Replay(Recording())
    await look(look_of("tls", address=address, server_name="x.example"), wire=wire)
    assert wire.asked == [Place(host=host, port=port, secure=True, server_name="x.example")]


async def test_what_is_to_be_said_is_said_and_what_is_heard_is_searched():
    wire = Replay(Recording([Piece(b"+PO"), Piece(b"NG\r\n")]))
    seen = await look(
        look_of("tcp", address="a.example:6379", send="PING\r\n", expect={"banner_contains": "+PONG"}),
        wire=wire,
    )
    assert (wire.sent, seen.body_matches, seen.body) == (b"PING\r\n", True, "")


async def test_who_closes_without_a_banner_failed_by_closing():
    at = look_of("tcp", address="a.example:25", expect={"banner_contains": "220"})
    seen = await look(at, Recording([Piece(b"330")], ending_after=0.5))
    assert seen.body_matches is False
    assert seen.timeline.end == pytest.approx(seen.timeline.first_byte + 0.5)


def test_saying_something_without_listening_is_of_no_use():
    assert [key for key, _ in objections("tcp", address="a.example:1", send="x")] == ["send"]
    assert objections("tcp", address="a.example:1", send="x", expect={"banner_contains": "y"}) == []


@pytest.mark.parametrize(
    ("server", "asked"),
    [
        ("9.9.9.9", "9.9.9.9:53"),
        ("127.0.0.1:5353", "127.0.0.1:5353"),
        ("2620:fe::fe", "[2620:fe::fe]:53"),
        ("[2620:fe::fe]:53", "[2620:fe::fe]:53"),
        (None, None),
    ],
)
async def test_a_name_server_is_an_address_with_or_without_a_port(server, asked):
    wire = Replay(Recording())
    await look(look_of("dns", query="acme.example", record="MX", server=server), wire=wire)
    assert wire.asked == [Question("acme.example", Record.MX, asked)]


@pytest.mark.parametrize("server", ["dns.google", "9.9.9.9:0", "9.9.9", "", "[9.9.9.9]:53"])
def test_what_is_no_address_of_a_name_server_is_refused(server):
    with pytest.raises(ValidationError):
        settings_of("dns", query="acme.example", server=server)


async def test_the_name_is_what_is_looked_up_unless_something_else_is():
    wire = Replay(Recording(), Recording())
    await look(look_of("dns", name="acme.example"), wire=wire)
    await look(look_of("dns", name="our mail", query="mx.acme.example"), wire=wire)
    assert [question.name for question in wire.asked] == ["acme.example", "mx.acme.example"]


async def test_an_address_is_looked_up_backwards_where_its_name_is_wanted():
    wire = Replay(Recording())
    await look(look_of("dns", query="203.0.113.7", record="PTR"), wire=wire)
    assert wire.asked == [Question("7.113.0.203.in-addr.arpa", Record.PTR)]


def test_a_certificate_may_be_asked_of_a_name_that_ends_in_digits():
    assert settings_of("tls", address="node.0", server_name="node.0").server_name == "node.0"


def test_what_cannot_be_looked_up_is_objected_to():
    assert objections("dns", name="our mail") == [
        ("name", '"our mail" is no name that can be looked up: write that as query = "acme.example"')
    ]
    assert [key for key, _ in objections("dns", query="a b.example")] == ["query"]
    assert [key for key, _ in objections("dns", name="resolver.1")] == ["name"]
    assert [key for key, _ in objections("dns", query="a.example", proxy="http://p:1")] == ["proxy"]
    assert [key for key, _ in objections("dns", query="a.example", server="9.9.9.9", ip=6)] == ["server"]
    assert objections("dns", query="_sip._tcp.acme.example.", record="SRV") == []


def test_what_c_ares_does_not_offer_is_refused():
    with pytest.raises(ValidationError):
        settings_of("dns", query="a.example", record="DNSKEY")


@pytest.mark.parametrize(
    ("record", "expected", "answer", "holds"),
    [
        (Record.A, "192.0.2.1", "192.0.2.1", True),
        (Record.A, "192.0.2.1", "192.0.2.10", False),
        (Record.AAAA, "2001:DB8:0::1", "2001:db8::1", True),
        (Record.CNAME, "WWW.acme.example.", "www.acme.example", True),
        (Record.MX, "mail.acme.example", "10 mail.acme.example", True),
        (Record.MX, "10 mail.acme.example", "10 mail.acme.example", True),
        (Record.MX, "acme.example", "10 mail.acme.example", False),
        (Record.CAA, "letsencrypt.org", '0 issue "letsencrypt.org"', True),
        (Record.TXT, "v=spf1", "v=spf1 -all", True),
        (Record.TXT, "V=SPF1", "v=spf1 -all", False),
        (Record.SRV, "sip.acme.example", "10 5 5060 sip.acme.example", True),
    ],
)
def test_a_record_is_expected_as_a_whole_or_by_one_of_its_parts(record, expected, answer, holds):
    assert fits(record, expected, answer) is holds


async def test_what_is_missing_is_told_and_what_is_there_is_not():
    at = look_of("dns", query="a.example", expect={"answer": ["192.0.2.1", "192.0.2.3"]})
    seen = await look(at, Recording(answers=("192.0.2.1", "192.0.2.2")))
    assert (seen.missing, seen.answers) == (("192.0.2.3",), ("192.0.2.1", "192.0.2.2"))
