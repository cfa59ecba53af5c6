"""Ports, certificates and names, looked at over real connections and judged."""

import asyncio
import re
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from monitor.clock import monotonic
from monitor.config.proxy import read
from monitor.core.observation import Observation
from monitor.core.outcome import Outcome
from monitor.core.timeline import Timeline
from monitor.core.verdict import Learnt, Verdict, judge
from monitor.core.wire import FaultKind, Limits, Phase, Wire
from monitor.transport.wire import Transports, open_transports
from tests.protocols.replay import look_of
from tests.support.names import FORMERR, NOTIMP, REFUSED, SERVFAIL, Names, Told, name_server
from tests.transport.conftest import Named, Serve
from tests.transport.proxies import connects, socks
from tests.transport.servers import GOOD_FOR, INTERMEDIATE_FOR, Certificates, NameServer, Peer, Zone

pytestmark = pytest.mark.anyio


class Looked:
    """One look, and what it amounts to."""

    def __init__(self, seen: Observation, verdict: Verdict, took: float) -> None:
        self.seen = seen
        self.outcome = verdict.outcome
        self.detail = verdict.detail or ""
        self.figures = verdict.figures
        self.took = took


async def look(
    wire: Wire, protocol: str, *, deadline: float = 10.0, connect_s: float = 5.0, **settings: Any
) -> Looked:
    at = look_of(protocol, **settings)
    started = monotonic()
    limits = Limits(deadline=started + deadline, connect_s=connect_s)
    seen = await at.look(wire, Timeline(started), limits, "n0nce", {})
    took = monotonic() - started
    line = seen.timeline
    assert line.end is not None
    assert line.start <= line.end <= monotonic()
    # How busy the machine of the tests is, is not what is to be judged here.
    judged = replace(seen, timeline=replace(line, end_earliest=None))
    return Looked(seen, judge(judged, at.expect, Learnt(), model=None), took)


@pytest.fixture
async def bare(transports: Transports) -> Wire:
    return transports.wire(bare=True)


@pytest.fixture
async def trusting(transports: Transports, certificates: Certificates) -> Wire:
    return transports.wire(ca_file=certificates.authority, bare=True)


@pytest.fixture
def servers() -> Iterator[Names]:
    with name_server() as server:
        yield server


def closes(peer: Peer) -> None:
    """Says nothing, and goes once the client has."""
    peer.until_closed()


# Ports


async def test_a_port_that_takes_connections_is_ok_and_its_time_is_that_of_its_phases(
    bare: Wire, serve: Serve, open_files: None
) -> None:
    server = serve(closes)
    found = await look(bare, "tcp", address=f"127.0.0.1:{server.port}")
    line = found.seen.timeline
    assert found.outcome is Outcome.OK
    assert (line.dns_s, line.tls_s, line.request_sent, line.headers) == (None, None, None, None)
    assert line.connect_s is not None
    assert found.figures.total_ms == pytest.approx(line.connect_s * 1000, abs=1e-6)
    assert line.end_earliest == line.end == pytest.approx(line.stood())
    server.close()


async def test_a_name_and_ipv6_do_as_well(named: Named, names: NameServer, serve: Serve) -> None:
    six = serve(closes, family=socket.AF_INET6)
    names.names["six.test"] = Zone(aaaa=["::1"])
    for address in (f"six.test:{six.port}", f"[::1]:{six.port}"):
        assert (await look(named(bare=True), "tcp", address=address)).outcome is Outcome.OK
    only_four = await look(named(ip=4, bare=True), "tcp", address=f"six.test:{six.port}")
    assert (only_four.outcome, only_four.detail) == (Outcome.DNS_FAILURE, "six.test has no IPv4 address")


async def test_a_port_that_is_closed_refuses(bare: Wire, closed_port: int) -> None:
    found = await look(bare, "tcp", address=f"127.0.0.1:{closed_port}")
    assert found.outcome is Outcome.CONNECT_REFUSED
    assert found.detail == f"127.0.0.1 port {closed_port} refuses connections"


@pytest.mark.parametrize("reads", [[b"SSH-2.0-OpenSSH_9.2\r\n"], [b"SS", b"H-2.", b"0-x"]])
async def test_a_banner_is_found_in_however_many_pieces_it_comes(
    reads: list[bytes], bare: Wire, serve: Serve
) -> None:
    def script(peer: Peer) -> None:
        for piece in reads:
            peer.send(piece)
            peer.pause(0.01)
        peer.until_closed()

    server = serve(script)
    found = await look(bare, "tcp", address=f"127.0.0.1:{server.port}", expect={"banner_contains": "SSH-2.0"})
    assert found.outcome is Outcome.OK
    assert found.seen.body == ""
    assert found.seen.timeline.first_byte is not None
    assert found.took < 2


async def test_the_time_of_a_banner_counts(bare: Wire, serve: Serve) -> None:
    def script(peer: Peer) -> None:
        peer.pause(0.1)
        peer.send(b"220 ready\r\n")
        peer.until_closed()

    server = serve(script)
    expect = {"banner_contains": "220", "elapsed": "50ms"}
    found = await look(bare, "tcp", address=f"127.0.0.1:{server.port}", expect=expect)
    assert found.outcome is Outcome.SLOW
    assert 95 < found.figures.total_ms < 500


async def test_whoever_waits_to_be_spoken_to_is_spoken_to(bare: Wire, serve: Serve) -> None:
    def script(peer: Peer) -> None:
        peer.send(b"+PONG\r\n" if peer.exactly(6) == b"PING\r\n" else b"-ERR\r\n")
        peer.until_closed()

    server = serve(script)
    found = await look(
        bare,
        "tcp",
        address=f"127.0.0.1:{server.port}",
        send="PING\r\n",
        expect={"banner_contains": "+PONG"},
    )
    assert found.outcome is Outcome.OK
    assert found.seen.timeline.request_sent is not None


def says(data: bytes) -> Any:
    def script(peer: Peer) -> None:
        peer.send(data)
        peer.until_closed()

    return script


def hangs_up(peer: Peer) -> None:
    peer.send(b"bye\x00\x1b")


def resets(peer: Peer) -> None:
    peer.pause(0.05)
    peer.reset()


@pytest.mark.parametrize(
    ("script", "outcome", "detail"),
    [
        (says(b"HTTP/1.0 400"), Outcome.ASSERTION_FAILED, "it begins: HTTP/1.0 400"),
        (closes, Outcome.ASSERTION_FAILED, "it begins: (empty)"),
        (hangs_up, Outcome.ASSERTION_FAILED, "it begins: bye\ufffd\ufffd"),
        (says(b"x" * 5000 + b"SSH-2.0"), Outcome.ASSERTION_FAILED, "it begins: xxx"),
        (resets, Outcome.CONNECTION_RESET, "broke the connection off before it answered"),
    ],
    ids=["another", "silent", "gone", "too much", "reset"],
)
async def test_a_banner_that_is_not_there_says_what_is(
    script: Any, outcome: Outcome, detail: str, bare: Wire, serve: Serve
) -> None:
    server = serve(script)
    found = await look(
        bare,
        "tcp",
        deadline=0.3,
        address=f"127.0.0.1:{server.port}",
        expect={"banner_contains": "SSH-2.0"},
    )
    assert found.outcome is outcome
    assert detail in found.detail
    assert found.took < 0.6


async def test_a_dribble_ends_at_the_deadline(bare: Wire, serve: Serve, open_files: None) -> None:
    def script(peer: Peer) -> None:
        while not peer.stopping:
            peer.send(b".")
            peer.pause(0.02)

    server = serve(script)
    found = await look(
        bare, "tcp", deadline=0.3, address=f"127.0.0.1:{server.port}", expect={"banner_contains": "SSH"}
    )
    assert found.outcome is Outcome.ASSERTION_FAILED
    assert 0.29 < found.took < 0.5
    server.close()


async def test_a_port_is_reached_through_proxies_and_sockets(
    transports: Transports, serve: Serve, tmp_path: Path
) -> None:
    port = serve(says(b"220 x"))
    http, five = serve(connects()), serve(socks())
    local = serve(says(b"220 x"), path=tmp_path / "door.sock")
    del local
    for line in (
        f"http://127.0.0.1:{http.port}",
        f"socks5://127.0.0.1:{five.port}",
        f"unix:{tmp_path / 'door.sock'}",
    ):
        wire = transports.wire(proxy=read(line), bare=True)
        found = await look(wire, "tcp", address=f"127.0.0.1:{port.port}", expect={"banner_contains": "220"})
        assert found.seen.fault is None, line
        assert found.seen.body_matches, line


async def test_a_proxy_that_is_away_is_no_outage_of_the_port(
    transports: Transports, closed_port: int
) -> None:
    wire = transports.wire(proxy=read(f"http://127.0.0.1:{closed_port}"), bare=True)
    assert (await look(wire, "tcp", address="127.0.0.1:9")).outcome is Outcome.LOCAL_NETWORK


async def test_a_proxy_that_closes_instead_of_letting_us_through_is_not_a_port_that_works(
    transports: Transports, serve: Serve
) -> None:
    def script(peer: Peer) -> None:
        peer.request()

    wire = transports.wire(proxy=read(f"http://127.0.0.1:{serve(script).port}"), bare=True)
    assert (await look(wire, "tcp", address="127.0.0.1:9")).outcome is Outcome.LOCAL_NETWORK


async def test_being_cancelled_while_a_banner_is_awaited_closes_the_connection(
    bare: Wire, serve: Serve, open_files: None
) -> None:
    server = serve(closes)
    task = asyncio.create_task(
        look(bare, "tcp", address=f"127.0.0.1:{server.port}", expect={"banner_contains": "x"})
    )
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    server.close()


async def test_http2_elsewhere_does_not_keep_a_wire_from_ports(transports: Transports, serve: Serve) -> None:
    found = await look(transports.wire(http2=True), "tcp", address=f"127.0.0.1:{serve(closes).port}")
    assert found.outcome is Outcome.OK


# Certificates


async def test_a_good_certificate_is_told(
    trusting: Wire, certificates: Certificates, serve: Serve, open_files: None
) -> None:
    server = serve(closes, context=certificates.good)
    found = await look(trusting, "tls", address=f"127.0.0.1:{server.port}", server_name="localhost")
    line, shown = found.seen.timeline, found.seen.certificate
    assert found.outcome is Outcome.OK
    assert shown is not None
    assert shown.days == found.seen.certificate_days == pytest.approx(GOOD_FOR.days, abs=0.01)
    assert (shown.issuer, shown.first, shown.version) == ("CN=Test Authority", "good", "TLSv1.3")
    assert line.connect_s is not None
    assert line.tls_s is not None
    assert line.tls_s > 0
    assert found.figures.total_ms == pytest.approx((line.connect_s + line.tls_s) * 1000, abs=1e-6)
    server.close()


async def test_the_whole_chain_has_to_hold(trusting: Wire, certificates: Certificates, serve: Serve) -> None:
    address = f"127.0.0.1:{serve(closes, context=certificates.chain).port}"
    found = await look(trusting, "tls", address=address)
    assert found.outcome is Outcome.CERTIFICATE_EXPIRING
    assert found.detail == "the certificate of Between chain expires in 9.0 days, expected at least 14"
    assert found.seen.certificate_days == pytest.approx(INTERMEDIATE_FOR.days, abs=0.01)
    enough = await look(trusting, "tls", address=address, expect={"certificate_days": 5})
    assert enough.outcome is Outcome.OK


DAY = r"20\d\d-\d\d-\d\d \d\d:\d\d UTC"
UNKNOWN = "was issued by somebody this machine does not trust"
ALONE = r"no intermediate certificate came with it: does the server lack it\?"


@pytest.mark.usefixtures("open_files")
@pytest.mark.parametrize(
    "bad",
    [
        ("expired", f"has expired: since {DAY}"),
        ("not_yet", f"is not valid yet: until {DAY}"),
        ("other_host", r"was made for another host: it is for other\.example"),
        ("self_signed", "is self-signed"),
        ("stranger", rf"{UNKNOWN}: CN=Somebody Else; {ALONE}"),
        ("chain_cut", rf"{UNKNOWN}: CN=Between chain_cut; {ALONE}"),
        ("chain_expired", f"has expired: the intermediate Between chain_expired, since {DAY}"),
    ],
)
@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2])
async def test_a_bad_certificate_is_told_with_all_that_helps(
    bad: tuple[str, str], newest: ssl.TLSVersion, trusting: Wire, certificates: Certificates, serve: Serve
) -> None:
    context: ssl.SSLContext = getattr(certificates, bad[0])
    before, context.maximum_version = context.maximum_version, newest
    server = serve(closes, context=context)
    try:
        found = await look(trusting, "tls", address=f"127.0.0.1:{server.port}", server_name="localhost")
    finally:
        context.maximum_version = before
    assert found.outcome is Outcome.TLS_FAILURE
    assert re.fullmatch(f"the certificate of localhost {bad[1]}", found.detail), found.detail
    assert found.seen.fault is not None
    assert (found.seen.fault.kind, found.seen.fault.phase) == (FaultKind.CERTIFICATE, Phase.TLS)
    server.close()


async def test_the_name_of_the_server_can_be_another_than_the_address(
    trusting: Wire, certificates: Certificates, serve: Serve
) -> None:
    address = f"127.0.0.1:{serve(closes, context=certificates.good).port}"
    assert (await look(trusting, "tls", address=address, server_name="good.test")).outcome is Outcome.OK
    other = await look(trusting, "tls", address=address, server_name="bad.test")
    assert other.outcome is Outcome.TLS_FAILURE
    assert other.detail == (
        "the certificate of bad.test was made for another host: it is for localhost, good.test, 127.0.0.1, ::1"
    )


async def test_issuer_and_version_are_expectations(
    trusting: Wire, certificates: Certificates, serve: Serve
) -> None:
    context = certificates.other_host
    context.maximum_version, before = ssl.TLSVersion.TLSv1_2, context.maximum_version
    server = serve(closes, context=context)
    address, name = f"127.0.0.1:{server.port}", "other.example"

    async def ask(**expect: str) -> Looked:
        return await look(trusting, "tls", address=address, server_name=name, expect=expect)

    old = await ask(version="TLSv1.3")
    assert (old.outcome, old.detail) == (
        Outcome.ASSERTION_FAILED,
        "the server speaks TLSv1.2, expected TLSv1.3 or newer",
    )
    assert (await ask(version="TLSv1.2", issuer_contains="Test Auth")).outcome is Outcome.OK
    issuer = await ask(issuer_contains="Let's Encrypt")
    assert issuer.outcome is Outcome.ASSERTION_FAILED
    assert issuer.detail == 'the issuer does not contain "Let\'s Encrypt"; it is CN=Test Authority'
    server.close()
    context.maximum_version = before


def not_tls(peer: Peer) -> None:
    peer.send(b"220 mail.acme.test ESMTP\r\n")
    peer.until_closed()


def alerts(number: int) -> Any:
    def script(peer: Peer) -> None:
        peer.sock.recv(4096)
        peer.send(b"\x15\x03\x03\x00\x02\x02" + bytes((number,)))
        peer.until_closed()

    return script


def goodbye(peer: Peer) -> None:
    peer.sock.recv(4096)


def broken_off(peer: Peer) -> None:
    peer.sock.recv(4096)
    peer.reset()


@pytest.mark.usefixtures("open_files")
@pytest.mark.parametrize(
    ("script", "outcome", "detail"),
    [
        (not_tls, Outcome.TLS_FAILURE, "what answers there does not speak TLS"),
        (alerts(70), Outcome.TLS_FAILURE, "it refuses the versions of TLS that we speak, 1.2 and 1.3"),
        (alerts(112), Outcome.TLS_FAILURE, "it knows no such server name"),
        (alerts(40), Outcome.TLS_FAILURE, "it refused the handshake by an alert"),
        (goodbye, Outcome.TLS_FAILURE, "closed the connection during the TLS handshake"),
        (broken_off, Outcome.CONNECTION_RESET, "broke the connection off during the TLS handshake"),
        (closes, Outcome.CONNECT_TIMEOUT, "no TLS handshake with"),
    ],
)
async def test_a_handshake_that_fails_is_told_by_its_kind(
    script: Any, outcome: Outcome, detail: str, trusting: Wire, serve: Serve
) -> None:
    server = serve(script)
    found = await look(trusting, "tls", connect_s=0.3, address=f"127.0.0.1:{server.port}")
    assert (found.outcome, detail in found.detail) == (outcome, True), found.detail
    server.close()


async def test_who_wants_another_protocol_than_http_is_not_bothered_with_http(
    trusting: Wire, certificates: Certificates, serve: Serve
) -> None:
    offered: list[str | None] = []

    def script(peer: Peer) -> None:
        assert isinstance(peer.sock, ssl.SSLSocket)
        offered.append(peer.sock.selected_alpn_protocol())
        peer.until_closed()

    context = certificates.good
    context.set_alpn_protocols(["http/1.1"])
    server = serve(script, context=context)
    assert (await look(trusting, "tls", address=f"127.0.0.1:{server.port}")).outcome is Outcome.OK
    server.close()
    assert offered == [None]


async def test_certificates_are_seen_through_proxies(
    transports: Transports, certificates: Certificates, serve: Serve
) -> None:
    server = serve(closes, context=certificates.expired)
    for proxy in (f"http://127.0.0.1:{serve(connects()).port}", f"socks5://127.0.0.1:{serve(socks()).port}"):
        wire = transports.wire(ca_file=certificates.authority, proxy=read(proxy), bare=True)
        found = await look(wire, "tls", address=f"127.0.0.1:{server.port}")
        assert found.outcome is Outcome.TLS_FAILURE
        assert "has expired: since" in found.detail


# Names


@pytest.fixture
async def asking() -> AsyncIterator[Wire]:
    async with open_transports() as transports:
        yield transports.wire(bare=True)


RECORDS = {
    "A": ["192.0.2.1", "192.0.2.2"],
    "AAAA": ["2001:db8::1"],
    "CAA": ['0 issue "letsencrypt.org"'],
    "MX": ["10 mail.acme.test", "20 backup.acme.test"],
    "NS": ["ns1.acme.test", "ns2.acme.test"],
    "PTR": ["host.acme.test"],
    "SOA": ["ns1.acme.test root.acme.test 7 3600 600 86400 60"],
    "SRV": ["10 5 5060 sip.acme.test"],
    "TXT": ["v=spf1 -all", "x" * 300],
}


@pytest.mark.parametrize("record", RECORDS)
async def test_every_kind_of_record_is_told_as_people_write_it(
    record: str, asking: Wire, servers: Names
) -> None:
    servers.names["acme.test"] = Told([(record, text) for text in RECORDS[record]])
    found = await look(
        asking,
        "dns",
        query="acme.test",
        record=record,
        server=servers.address,
        expect={"answer": RECORDS[record]},
    )
    line = found.seen.timeline
    assert found.outcome is Outcome.OK, found.detail
    assert sorted(found.seen.answers) == sorted(RECORDS[record])
    assert line.dns_s is not None
    assert found.figures.total_ms == pytest.approx(line.dns_s * 1000, abs=1e-6)
    assert (line.connect_s, line.request_sent) == (None, None)


async def test_an_alias_is_a_record_of_its_own_and_followed_by_the_server(
    asking: Wire, servers: Names
) -> None:
    servers.names["www.test"] = Told([("CNAME", "acme.test"), ("A", "192.0.2.9")])
    servers.names["only.test"] = Told([("CNAME", "gone.test")])
    alias = await look(asking, "dns", query="www.test", record="CNAME", server=servers.address)
    assert alias.seen.answers == ("acme.test",)
    followed = await look(asking, "dns", query="www.test", server=servers.address)
    assert followed.seen.answers == ("192.0.2.9",)
    nowhere = await look(asking, "dns", query="only.test", server=servers.address)
    assert (nowhere.outcome, nowhere.detail) == (Outcome.DNS_FAILURE, "only.test has no A record")


async def test_an_answer_that_lacks_what_was_expected_shows_what_came(asking: Wire, servers: Names) -> None:
    servers.names["acme.test"] = Told([("A", "192.0.2.1"), ("A", "192.0.2.2")])
    found = await look(
        asking,
        "dns",
        query="acme.test",
        server=servers.address,
        expect={"answer": ["192.0.2.2", "203.0.113.7"]},
    )
    assert found.outcome is Outcome.ASSERTION_FAILED
    assert found.detail == 'not among the answers: "203.0.113.7"; what came: 192.0.2.1, 192.0.2.2'


@pytest.mark.parametrize(
    ("told", "kind", "detail"),
    [
        (None, FaultKind.NO_SUCH_NAME, "the name bad.test does not exist according to {} (NXDOMAIN)"),
        (Told(), FaultKind.NO_SUCH_NAME, "bad.test has no A record"),
        (Told(code=SERVFAIL), FaultKind.RESOLVER, "{} failed (SERVFAIL) when asked for bad.test"),
        (Told(code=REFUSED), FaultKind.RESOLVER, "{} refused (REFUSED) when asked for bad.test"),
        (Told(code=NOTIMP), FaultKind.RESOLVER, "{} does not know how to answer (NOTIMP) when asked for bad.test"),
        (Told(code=FORMERR), FaultKind.RESOLVER, "{} did not understand the question (FORMERR) when asked for bad.test"),
        (Told(silent=True), FaultKind.TIMEOUT, "the name bad.test was not resolved within 500 ms"),
        (Told([("A", "192.0.2.1")], other_id=True), FaultKind.TIMEOUT, "the name bad.test was not resolved within 500 ms"),
    ],
    ids=["nxdomain", "nodata", "servfail", "refused", "notimp", "formerr", "silence", "wrong id"],
)  # fmt: skip
async def test_what_name_servers_say_no_with_is_told_by_its_code(
    told: Told | None, kind: FaultKind, detail: str, asking: Wire, servers: Names
) -> None:
    if told is not None:
        servers.names["bad.test"] = told
    found = await look(asking, "dns", query="bad.test", server=servers.address, connect_s=0.5)
    assert found.outcome is Outcome.DNS_FAILURE
    assert found.seen.fault is not None
    assert (found.seen.fault.kind, found.seen.fault.phase) == (kind, Phase.DNS)
    assert found.detail == detail.format(servers.address)
    assert found.took < 1.0


async def test_an_answer_that_is_too_long_comes_over_tcp(asking: Wire, servers: Names) -> None:
    servers.names["long.test"] = Told([("A", "192.0.2.1")], truncated=True)
    found = await look(asking, "dns", query="long.test", server=servers.address)
    assert found.outcome is Outcome.OK
    assert [way for way, _, _ in servers.asked] == ["udp", "tcp"]


async def test_garbage_is_no_answer(asking: Wire, servers: Names) -> None:
    servers.names["bad.test"] = Told(garbage=True)
    found = await look(asking, "dns", query="bad.test", server=servers.address, connect_s=0.5)
    assert found.outcome is Outcome.DNS_FAILURE


async def test_a_server_is_asked_over_ipv6_as_well(asking: Wire) -> None:
    with name_server("::1") as six:
        six.names["acme.test"] = Told([("AAAA", "2001:db8::1")])
        found = await look(asking, "dns", query="acme.test", record="AAAA", server=six.address)
    assert (found.outcome, found.seen.answers) == (Outcome.OK, ("2001:db8::1",))


async def test_being_cancelled_while_a_name_is_looked_up_is_no_answer(asking: Wire, servers: Names) -> None:
    servers.names["dead.test"] = Told(silent=True)
    task = asyncio.create_task(look(asking, "dns", query="dead.test", server=servers.address))
    while not servers.asked:
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_server_that_is_away_is_told(asking: Wire, closed_port: int) -> None:
    found = await look(asking, "dns", query="a.test", server=f"127.0.0.1:{closed_port}")
    assert found.outcome is Outcome.DNS_FAILURE
    assert found.detail == f"127.0.0.1:{closed_port} could not be reached when asked for a.test"


async def test_nothing_is_remembered_from_one_look_to_the_next(asking: Wire, servers: Names) -> None:
    servers.names["acme.test"] = Told([("A", "192.0.2.1")])
    settings = {"query": "acme.test", "server": servers.address}
    assert (await look(asking, "dns", **settings)).outcome is Outcome.OK
    servers.names["acme.test"] = Told([("A", "192.0.2.2")])
    until = monotonic() + 5
    while (await look(asking, "dns", **settings)).seen.answers != ("192.0.2.2",):
        assert monotonic() < until


async def test_names_of_the_system_are_asked_where_no_server_is_named(
    named: Named, names: NameServer
) -> None:
    names.names["good.test"] = Zone(a=["127.0.0.1"])
    assert (await look(named(bare=True), "dns", query="good.test")).seen.answers == ("127.0.0.1",)


async def test_names_that_hang_delay_nobody_else_s(asking: Wire, servers: Names) -> None:
    servers.names["good.test"] = Told([("A", "192.0.2.1")])
    for number in range(8):
        servers.names[f"dead{number}.test"] = Told(silent=True)
    hanging = [
        asyncio.create_task(
            look(asking, "dns", query=f"dead{number}.test", server=servers.address, connect_s=1.0)
        )
        for number in range(8)
    ]
    await asyncio.sleep(0.01)
    good = await look(asking, "dns", query="good.test", server=servers.address)
    assert good.outcome is Outcome.OK
    assert good.took < 0.5
    assert {found.outcome for found in await asyncio.gather(*hanging)} == {Outcome.DNS_FAILURE}


async def test_the_address_behind_a_name_of_its_own_is_looked_up_backwards(
    asking: Wire, servers: Names
) -> None:
    servers.names["7.113.0.203.in-addr.arpa"] = Told([("PTR", "mail.acme.test")])
    found = await look(
        asking,
        "dns",
        query="203.0.113.7",
        record="PTR",
        server=servers.address,
        expect={"answer": "mail.acme.test"},
    )
    assert found.outcome is Outcome.OK
