"""Through a proxy: what is said to it, what its answers mean, and whose fault they are."""

import asyncio
import base64
import socket
import threading
from pathlib import Path

import pytest

from monitor.clock import monotonic
from monitor.config.proxy import Proxy, read
from monitor.core.observation import Observation
from monitor.core.timeline import Clock, Timeline
from monitor.core.verdict import Expect, Learnt, judge
from monitor.core.wire import Fault, FaultKind, Limits, Phase, Request
from monitor.transport.proxy import Refused, Socks, Tunnel
from monitor.transport.wire import Transports
from tests.transport.conftest import Named, Serve
from tests.transport.proxies import ESTABLISHED, connects, in_drops, relays, socks
from tests.transport.servers import (
    OK,
    Certificates,
    NameServer,
    Peer,
    Script,
    Seen,
    Server,
    Zone,
    answers,
    look,
)

pytestmark = pytest.mark.anyio

CANARY = "canary-0123456789"


def http(server: Server, login: str = "") -> Proxy:
    return read(f"http://{login}{server.host}:{server.port}")


def socks5(server: Server, login: str = "") -> Proxy:
    return read(f"socks5://{login}{server.host}:{server.port}")


def outcome(seen: Seen) -> str:
    """What a look that saw only this amounts to."""
    fault = None if seen.fault is None else seen.fault.fault
    observation = Observation(timeline=seen.timeline, fault=fault, status=seen.status)
    seen.timeline.end = seen.timeline.end or seen.timeline.start
    return str(judge(observation, Expect(), Learnt(), model=None).outcome)


# The tunnel


async def test_a_page_over_tls_comes_through_a_tunnel(
    transports: Transports, serve: Serve, certificates: Certificates
) -> None:
    log: list[bytes] = []
    target, proxy = serve(answers(OK), context=certificates.good), serve(connects(log))
    wire = transports.wire(ca_file=certificates.authority, proxy=http(proxy))
    seen = await look(wire, target.url("/health", host="good.test"))
    assert (seen.fault, seen.body) == (None, b"ok")
    assert log == [
        b"CONNECT good.test:%d HTTP/1.1\r\nHost: good.test:%d\r\n\r\n" % (target.port, target.port)
    ]
    assert seen.certificate_days is not None


async def test_the_certificate_is_the_providers_and_not_the_proxys(
    transports: Transports, serve: Serve, certificates: Certificates
) -> None:
    target, proxy = serve(answers(OK), context=certificates.other_host), serve(connects())
    seen = await look(
        transports.wire(ca_file=certificates.authority, proxy=http(proxy)), target.url(host="good.test")
    )
    assert (seen.kind, seen.phase, outcome(seen)) == ("certificate", "tls", "tls_failure")


async def test_bytes_behind_the_answer_to_connect_belong_to_the_tunnel(
    transports: Transports, serve: Serve, certificates: Certificates
) -> None:
    # A TLS alert in the same segment as the 200: only who hands it on sees it.
    proxy = serve(answers(ESTABLISHED + b"\x15\x03\x03\x00\x02\x02\x28"))
    wire = transports.wire(ca_file=certificates.authority, proxy=http(proxy))
    seen = await look(wire, "https://good.test/")
    assert (seen.kind, seen.phase) == ("tls", "tls")


async def test_the_stamps_of_a_tunnel_are_the_kernels(
    transports: Transports, serve: Serve, certificates: Certificates
) -> None:
    target, proxy = serve(answers(OK), context=certificates.good), serve(connects())
    wire = transports.wire(ca_file=certificates.authority, proxy=http(proxy))
    seen = await look(wire, target.url(host="localhost"))
    assert seen.timeline.clock is Clock.KERNEL


async def test_what_the_proxy_takes_to_answer_counts_as_connecting(
    transports: Transports, serve: Serve, certificates: Certificates
) -> None:
    def slowly(peer: Peer, data: bytes) -> None:
        peer.pause(0.1)
        peer.send(data)

    target, proxy = serve(answers(OK), context=certificates.good), serve(connects(send=slowly))
    wire = transports.wire(ca_file=certificates.authority, proxy=http(proxy))
    seen = await look(wire, target.url(host="localhost"))
    line = seen.timeline
    assert line.connect_s is not None
    assert line.tls_s is not None
    assert 0.1 <= line.connect_s < 0.2
    assert line.tls_s < 0.08
    assert line.own_s < 0.08


async def test_an_answer_in_drops_is_an_answer_and_counts_to_its_last(
    transports: Transports, serve: Serve, certificates: Certificates
) -> None:
    target, proxy = serve(answers(OK), context=certificates.good), serve(connects(send=in_drops))
    wire = transports.wire(ca_file=certificates.authority, proxy=http(proxy))
    seen = await look(wire, target.url(host="localhost"))
    assert (seen.fault, seen.body) == (None, b"ok")
    assert (seen.timeline.connect_s or 0) >= 0.03


async def test_interim_answers_are_passed_over(
    transports: Transports, serve: Serve, certificates: Certificates
) -> None:
    target = serve(answers(OK), context=certificates.good)
    proxy = serve(connects(answer=b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200\r\nContent-Length: 5\r\n\r\n"))
    wire = transports.wire(ca_file=certificates.authority, proxy=http(proxy))
    assert (await look(wire, target.url(host="localhost"))).body == b"ok"


async def test_a_login_is_sent_as_basic(
    transports: Transports, serve: Serve, certificates: Certificates
) -> None:
    log: list[bytes] = []
    target, proxy = serve(answers(OK), context=certificates.good), serve(connects(log))
    wire = transports.wire(ca_file=certificates.authority, proxy=http(proxy, "me%40x:p%2Fw@"))
    assert (await look(wire, target.url(host="localhost"))).body == b"ok"
    assert b"Proxy-Authorization: Basic " + base64.b64encode(b"me@x:p/w") + b"\r\n" in log[0]


async def test_the_provider_never_sees_the_login(
    transports: Transports, serve: Serve, certificates: Certificates
) -> None:
    heard: list[bytes] = []

    def script(peer: Peer) -> None:
        heard.append(peer.request())
        peer.send(OK)

    target, proxy = serve(script, context=certificates.good), serve(connects())
    wire = transports.wire(ca_file=certificates.authority, proxy=http(proxy, f"me:{CANARY}@"))
    await look(wire, target.url(host="localhost"))
    assert b"authorization" not in heard[0].lower()


# What its refusals mean

Said = tuple[bytes, bytes, str, str]
STATUSES: list[Said] = [
    (b"407 Proxy Authentication Required", b"", "auth_failed", "wants a login"),
    (b"403 Forbidden", b"", "auth_failed", "does not allow connections to"),
    (b"401 Unauthorized", b"", "auth_failed", "does not allow connections to"),
    (b"405 Method Not Allowed", b"", "bad_request", "does not connect us to"),
    (b"302 Found", b"Location: http://login.acme/\r\n", "bad_request", "does not connect us to"),
    (b"502 Bad Gateway", b"", "host_unreachable", "could not reach"),
    (b"504 Gateway Timeout", b"", "connect_timeout", "could not reach"),
    (b"503 Service Unavailable", b"", "local_network", "failed itself"),
    (b"500 Oops", b"", "local_network", "failed itself"),
    (b"503 x", b"X-Squid-Error: ERR_CONNECT_FAIL 111\r\n", "connect_refused", "could not reach"),
    (b"503 x", b"X-Squid-Error: ERR_CONNECT_FAIL 113\r\n", "host_unreachable", "could not reach"),
    (b"503 x", b"X-Squid-Error: ERR_DNS_FAIL 0\r\n", "host_unreachable", "could not reach"),
    (b"502 x", b"X-Squid-Error: ERR_CANNOT_FORWARD 0\r\n", "local_network", "failed itself"),
    (b"502 x", b"Proxy-Status: p; error=connection_timeout\r\n", "connect_timeout", "could not reach"),
    (b"502 x", b"Proxy-Status: p; error=proxy_internal_error\r\n", "local_network", "failed itself"),
]


@pytest.mark.parametrize("said", STATUSES, ids=[f"{line} {fields}" for line, fields, *_ in STATUSES])
async def test_what_a_proxy_says_to_connect_decides_whose_fault_it_is(
    said: Said, transports: Transports, serve: Serve
) -> None:
    line, fields, expected, words = said
    proxy = serve(answers(b"HTTP/1.1 " + line + b"\r\n" + fields + b"Content-Length: 6\r\n\r\nsecret"))
    seen = await look(transports.wire(proxy=http(proxy)), "https://api.test/")
    assert (outcome(seen), seen.phase) == (expected, "connect")
    assert words in seen.text
    assert f"the proxy http://127.0.0.1:{proxy.port} " in seen.text
    assert f"(status {line[:3].decode()}" in seen.text
    assert seen.timeline.connect_s is not None
    assert seen.timeline.request_sent is None


async def test_a_login_that_is_not_accepted_is_ours_to_mend_and_never_shown(
    transports: Transports, serve: Serve
) -> None:
    proxy = serve(answers(b"HTTP/1.1 407 no\r\n\r\n"))
    seen = await look(transports.wire(proxy=http(proxy, f"me:{CANARY}@")), "https://api.test/")
    assert outcome(seen) == "auth_failed"
    assert seen.text == f"the proxy http://127.0.0.1:{proxy.port} does not accept our login (status 407)"


def resets(peer: Peer) -> None:
    peer.request()
    peer.reset()


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (answers(), "local_network"),
        (answers(b"HTTP/1.1 200"), "local_network"),
        (resets, "local_network"),
        (Peer.hang, "local_network"),
        (answers(b"SSH-2.0-OpenSSH_9.2p1\r\n"), "bad_request"),
        (answers(b"HTTP/1.1 2xx\r\n\r\n"), "bad_request"),
        (answers(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 3000 + b"\r\n\r\n"), "bad_request"),
        (answers(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 300_000), "bad_request"),
    ],
    ids=["closes", "half a line", "resets", "hangs", "garbage", "no status", "too large", "endless"],
)
async def test_a_proxy_that_breaks_the_rules_is_no_outage_of_the_provider(
    open_files: None, script: Script, expected: str, transports: Transports, serve: Serve
) -> None:
    wire = transports.wire(proxy=http(serve(script)))
    seen = await look(wire, "https://api.test/", connect_s=0.3, header_bytes=2000)
    assert (outcome(seen), seen.phase) == (expected, "connect")
    assert "proxy http://127.0.0.1:" in seen.text
    assert seen.took < 1


async def test_endless_drops_end_at_the_limit_for_connecting(transports: Transports, serve: Serve) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        while not peer.stopping:
            peer.send(b"HTTP/1.1 103 Early\r\n\r\n")
            peer.pause(0.01)

    seen = await look(transports.wire(proxy=http(serve(script))), "https://api.test/", connect_s=0.2)
    assert outcome(seen) == "local_network"
    assert 0.19 <= seen.took < 0.5


async def test_a_proxy_that_is_away_is_our_own_network(
    transports: Transports, closed_port: int, named: Named, names: NameServer
) -> None:
    proxy = read(f"http://me:{CANARY}@127.0.0.1:{closed_port}")
    seen = await look(transports.wire(proxy=proxy), "https://api.test/")
    assert (outcome(seen), seen.phase) == ("local_network", "connect")
    assert seen.text == (
        f"no way through the proxy http://127.0.0.1:{closed_port}: 127.0.0.1 port {closed_port} refuses connections"
    )
    seen = await look(named(proxy=read("socks5://proxy.test:1080")), "https://api.test/")
    assert (outcome(seen), seen.phase) == ("local_network", "dns")
    assert (
        seen.text == "no way through the proxy socks5://proxy.test:1080: the name proxy.test does not exist"
    )
    names.names["proxy.test"] = Zone(silent=True)
    seen = await look(named(proxy=read("http://proxy.test:1080")), "https://api.test/", connect_s=0.2)
    assert (outcome(seen), seen.phase) == ("local_network", "dns")


async def test_only_the_proxys_name_is_looked_up(named: Named, names: NameServer, serve: Serve) -> None:
    names.names["proxy.test"] = Zone(a=["127.0.0.1"])
    proxy, target = serve(socks()), serve(answers(OK))
    wire = named(4, proxy=read(f"socks5://proxy.test:{proxy.port}"))
    seen = await look(wire, target.url(host="api.test"))
    assert (seen.fault, seen.body) == (None, b"ok")
    assert set(names.asked) == {"proxy.test"}
    assert seen.timeline.dns_s is not None


async def test_cancelling_in_the_middle_hangs_up(transports: Transports, serve: Serve) -> None:
    came, gone = threading.Event(), threading.Event()

    def script(peer: Peer) -> None:
        came.set()
        peer.until_closed()
        gone.set()

    task = asyncio.create_task(look(transports.wire(proxy=http(serve(script))), "https://api.test/"))
    assert await asyncio.to_thread(came.wait, 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(gone.wait, 5)


# A request that the proxy passes on


async def test_a_plain_url_is_asked_for_in_absolute_form(transports: Transports, serve: Serve) -> None:
    log: list[bytes] = []
    target, proxy = serve(answers(OK)), serve(relays(log))
    seen = await look(transports.wire(proxy=http(proxy, "me:pw@")), target.url("/a?b=c"))
    assert (seen.fault, seen.body) == (None, b"ok")
    place = f"127.0.0.1:{target.port}".encode()
    assert log[0].startswith(b"GET http://" + place + b"/a?b=c HTTP/1.1\r\nHost: " + place + b"\r\n")
    assert b"Proxy-Authorization: Basic " + base64.b64encode(b"me:pw") in log[0]
    assert seen.timeline.clock is Clock.KERNEL


async def test_a_407_is_the_proxys_even_without_a_tunnel(transports: Transports, serve: Serve) -> None:
    proxy = serve(answers(b"HTTP/1.1 407 no\r\nContent-Length: 0\r\n\r\n"))
    seen = await look(transports.wire(proxy=http(proxy)), "http://api.test/")
    assert (outcome(seen), seen.phase) == ("auth_failed", "headers")


@pytest.mark.parametrize("script", [answers(), resets], ids=["closes", "resets"])
async def test_a_proxy_that_hangs_up_without_a_word_is_our_own_network(
    script: Script, transports: Transports, serve: Serve
) -> None:
    seen = await look(transports.wire(proxy=http(serve(script))), "http://api.test/")
    assert (outcome(seen), seen.phase) == ("local_network", "headers")


# SOCKS


@pytest.mark.parametrize("login", [None, (b"me", b"p:w")], ids=["open", "login"])
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
async def test_socks_leads_to_the_provider(
    login: tuple[bytes, bytes] | None,
    secure: bool,
    transports: Transports,
    serve: Serve,
    certificates: Certificates,
) -> None:
    log: list[bytes] = []
    target = serve(answers(OK), context=certificates.good if secure else None)
    proxy = serve(socks(log, login=login, send=in_drops))
    wire = transports.wire(
        ca_file=certificates.authority, proxy=socks5(proxy, "" if login is None else "me:p%3Aw@")
    )
    seen = await look(wire, target.url(host="good.test"))
    assert (seen.fault, seen.body) == (None, b"ok")
    assert log == [b"\x03good.test"]
    assert seen.timeline.clock is Clock.KERNEL


@pytest.mark.parametrize(
    ("host", "sent"),
    [
        ("127.0.0.1", b"\x01\x7f\x00\x00\x01"),
        ("[::1]", b"\x04" + bytes(15) + b"\x01"),
        ("a.test", b"\x03a.test"),
    ],
)
async def test_addresses_go_as_addresses_and_names_as_names(
    host: str, sent: bytes, transports: Transports, serve: Serve
) -> None:
    log: list[bytes] = []
    target, proxy = serve(answers(OK)), serve(socks(log))
    assert (await look(transports.wire(proxy=socks5(proxy)), target.url(host=host))).body == b"ok"
    assert log == [sent]


@pytest.mark.parametrize(
    "bound", [b"\x03\x04name\x12\x34", b"\x04" + bytes(16) + b"\x12\x34"], ids=["name", "v6"]
)
async def test_the_address_in_a_reply_has_any_length(
    bound: bytes, transports: Transports, serve: Serve
) -> None:
    target, proxy = serve(answers(OK)), serve(socks(bound=bound))
    assert (await look(transports.wire(proxy=socks5(proxy)), target.url())).body == b"ok"


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (1, "local_network"),
        (2, "auth_failed"),
        (3, "host_unreachable"),
        (4, "host_unreachable"),
        (5, "connect_refused"),
        (6, "connect_timeout"),
        (7, "bad_request"),
        (8, "bad_request"),
        (99, "local_network"),
    ],
)
async def test_what_a_socks_reply_means(
    reply: int, expected: str, transports: Transports, serve: Serve
) -> None:
    seen = await look(transports.wire(proxy=socks5(serve(socks(reply=reply)))), "https://api.test/")
    assert (outcome(seen), seen.phase) == (expected, "connect")
    assert f"(SOCKS reply {reply})" in seen.text
    assert "api.test:443" in seen.text


@pytest.mark.parametrize(
    ("login", "words"),
    [("", "wants a login"), (f"me:{CANARY}@", "does not accept our login")],
    ids=["none", "wrong"],
)
async def test_a_socks_login_that_is_wrong_is_ours_to_mend(
    login: str, words: str, transports: Transports, serve: Serve
) -> None:
    proxy = serve(socks(login=(b"me", b"right")))
    seen = await look(transports.wire(proxy=socks5(proxy, login)), "https://api.test/")
    assert (outcome(seen), seen.text) == ("auth_failed", f"the proxy socks5://127.0.0.1:{proxy.port} {words}")


async def test_silence_of_a_socks_proxy_that_has_just_spoken_is_the_providers(
    transports: Transports, serve: Serve
) -> None:
    def script(peer: Peer) -> None:
        peer.exactly(3)
        peer.send(b"\x05\x00")
        peer.hang()

    proxy = socks5(serve(script))
    seen = await look(transports.wire(proxy=proxy), "https://api.test/", connect_s=0.2)
    assert (outcome(seen), seen.phase) == ("connect_timeout", "connect")
    seen = await look(transports.wire(proxy=socks5(serve(Peer.hang))), "https://api.test/", connect_s=0.2)
    assert (outcome(seen), seen.phase) == ("local_network", "connect")


@pytest.mark.parametrize(
    "said", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x05\x01", b"\x05\x00HTTP", b"\x04\x5a"]
)
async def test_what_is_no_socks5_is_ours_to_mend(said: bytes, transports: Transports, serve: Serve) -> None:
    def script(peer: Peer) -> None:
        peer.exactly(3)
        peer.send(said)
        peer.pause(0.02)
        peer.send(b"HTTP")
        peer.hang()

    seen = await look(transports.wire(proxy=socks5(serve(script))), "https://api.test/", connect_s=1)
    assert (outcome(seen), seen.phase) == ("bad_request", "connect")


# The talk itself, byte by byte

PLACE = Proxy("http", "proxy.test", 3128, user="me", password="pw")


def test_a_tunnel_is_open_after_the_empty_line_and_not_before():
    way = Tunnel(PLACE, "2001:db8::1", 443, 1000)
    assert way.begin().startswith(b"CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: [2001:db8::1]:443\r\n")
    for byte in ESTABLISHED[:-1]:
        assert (way.feed(bytes((byte,))), way.open) == (b"", False)
    way.feed(b"\nfirst")
    way.feed(b" second")
    assert (way.open, way.rest) == (True, b"first second")


def test_socks_hands_on_what_follows_its_reply():
    way = Socks(Proxy("socks5", "proxy.test", 1080), "a.test", 443)
    assert way.begin() == b"\x05\x01\x00"
    assert way.feed(b"\x05\x00") == b"\x05\x01\x00\x03\x06a.test\x01\xbb"
    way.feed(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x12\x34first")
    way.feed(b" second")
    assert (way.open, way.rest) == (True, b"first second")


def test_a_name_that_socks_cannot_carry_is_no_name():
    with pytest.raises(Refused) as refused:
        Socks(Proxy("socks5", "proxy.test", 1080), "a." * 130, 443).begin()
    assert refused.value.fault.kind is FaultKind.NO_SUCH_NAME


def test_a_proxy_is_shown_without_its_login():
    assert str(PLACE) == "http://proxy.test:3128"
    assert str(Proxy("socks5", "::1", 1080)) == "socks5://[::1]:1080"
    assert "pw" not in repr(PLACE)
    assert "me" not in repr(PLACE).replace("name", "")
    fault = Socks(PLACE, "a.test", 1).broken(Fault(FaultKind.RESET, Phase.CONNECT, "broke"))
    assert fault.text == "no way through the proxy http://proxy.test:3128: broke"


# A Unix socket


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s.sock"


async def test_a_unix_socket_stands_for_any_host(
    path: Path, transports: Transports, serve: Serve, certificates: Certificates
) -> None:
    heard: list[bytes] = []

    def script(peer: Peer) -> None:
        heard.append(peer.request())
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")
        peer.pause(0.02)
        peer.send(b"2\r\n!!\r\n0\r\n\r\n")

    serve(script, path=path)
    seen = await look(transports.wire(proxy=read(f"unix:{path}")), "http://vllm.test:8000/v1")
    assert (seen.fault, seen.body) == (None, b"ok!!")
    assert heard[0].startswith(b"GET /v1 HTTP/1.1\r\nHost: vllm.test:8000\r\n")
    line = seen.timeline
    assert line.clock is Clock.USER
    assert line.dns_s is None
    assert line.connect_s is not None
    assert "connect_ms" in line.bounds


async def test_bytes_of_a_unix_socket_may_be_asked_to_gather(
    path: Path, transports: Transports, serve: Serve
) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n")
        for _ in range(10):
            peer.send(b"ok")
            peer.pause(0.005)

    serve(script, path=path)
    wire, start, body = transports.wire(proxy=read(f"unix:{path}")), monotonic(), b""
    limits = Limits(deadline=start + 5, connect_s=1)
    async with wire.exchange(Request("GET", "http://a.test/", {}), Timeline(start), limits) as reply:
        while (arrival := await reply.read(start + 5, 0.02)) is not None:
            body += arrival.data
    assert body == b"ok" * 10


async def test_tls_works_over_a_unix_socket(
    path: Path, transports: Transports, serve: Serve, certificates: Certificates
) -> None:
    serve(answers(OK), context=certificates.good, path=path)
    wire = transports.wire(ca_file=certificates.authority, proxy=read(f"unix:{path}"))
    seen = await look(wire, "https://good.test/")
    assert (seen.fault, seen.body) == (None, b"ok")


async def test_a_unix_socket_without_a_server_is_the_servers_fault(
    path: Path, transports: Transports
) -> None:
    wire = transports.wire(proxy=read(f"unix:{path}"))
    seen = await look(wire, "http://a.test/")
    assert (outcome(seen), seen.text) == (
        "connect_refused",
        f"there is no socket {path}: does the server run?",
    )
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(str(path))
    seen = await look(wire, "http://a.test/")
    assert (outcome(seen), seen.text) == ("connect_refused", f"the socket {path} refuses connections")
    path.unlink()
    path.write_text("")
    assert outcome(await look(wire, "http://a.test/")) in ("connect_refused", "local_network")


async def test_a_crowded_unix_socket_is_asked_again_until_the_limit(
    path: Path, transports: Transports, open_files: None
) -> None:
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as waiting:
        listener.bind(str(path))
        listener.listen(0)
        waiting.connect(str(path))
        wire = transports.wire(proxy=read(f"unix:{path}"))
        seen = await look(wire, "http://a.test/", connect_s=0.2)
        assert (outcome(seen), seen.phase) == ("connect_timeout", "connect")
        assert 0.19 <= seen.took < 0.5


async def test_a_server_on_a_unix_socket_cannot_hand_us_open_files(
    open_files: None, path: Path, transports: Transports, serve: Serve
) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        with socket.socket() as gift:
            socket.send_fds(peer.sock, [OK], [gift.fileno()] * 4)

    serve(script, path=path)
    seen = await look(transports.wire(proxy=read(f"unix:{path}")), "http://a.test/")
    assert (seen.fault, seen.body) == (None, b"ok")
