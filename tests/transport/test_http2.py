"""HTTP/2 through the stock transport: the same bounds and faults, no stamps, and it says so."""

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hpack import Encoder
from hyperframe.frame import HeadersFrame

from monitor.clock import monotonic
from monitor.config.proxy import read
from monitor.core.timeline import Clock, Timeline, phases
from monitor.core.wire import Arrival, Limits, Request, Wire
from monitor.transport.tls import context_for
from monitor.transport.waking import new_loop
from monitor.transport.wire import Transports, open_transports
from tests.transport.conftest import Serve
from tests.transport.h2_server import Stream, context, serves
from tests.transport.proxies import connects, relays
from tests.transport.servers import OK, Certificates, Peer, Script, answers, look
from tests.transport.test_connect import full_backlog
from tests.transport.test_proxy import CANARY, STATUSES, Said, http, outcome

pytestmark = pytest.mark.anyio


@pytest.fixture
def wire(transports: Transports, certificates: Certificates) -> Wire:
    return transports.wire(ca_file=certificates.authority, http2=True)


@pytest.fixture
def h2(certificates: Certificates) -> ssl.SSLContext:
    return context(certificates, "h2")


def says_ok(stream: Stream) -> None:
    stream.answer(("x-request-id", "r1"))
    stream.data(b"o")
    stream.data(b"k", end=True)


async def test_an_answer_comes_over_http2(wire: Wire, serve: Serve, h2: ssl.SSLContext) -> None:
    asked: list[Stream] = []

    def answer(stream: Stream) -> None:
        asked.append(stream)
        says_ok(stream)

    server = serve(serves(answer), context=h2)
    seen = await look(
        wire,
        server.url("/v1?a=b", host="localhost"),
        method="POST",
        body=b"{}",
        headers={"Authorization": "Bearer k"},
    )
    assert (seen.fault, seen.status, seen.body) == (None, 200, b"ok")
    assert seen.headers == {"x-request-id": "r1"}
    assert seen.certificate_days == pytest.approx(30, abs=1.1)
    said = asked[0].headers
    assert (said[":authority"], said[":path"]) == (f"localhost:{server.port}", "/v1?a=b")
    assert (said["authorization"], said["accept-encoding"], asked[0].body) == ("Bearer k", "identity", b"{}")
    assert "cookie" not in said


async def test_its_moments_are_ours_and_all_of_them_bounds(
    wire: Wire, serve: Serve, h2: ssl.SSLContext
) -> None:
    def answer(stream: Stream) -> None:
        stream.peer.pause(0.05)
        says_ok(stream)

    seen = await look(wire, serve(serves(answer), context=h2).url(host="localhost"))
    line = seen.timeline
    assert line.clock is Clock.USER
    assert {"connect_ms", "tls_ms", "headers", "first_byte"} <= phases(line).bounds
    assert None not in (
        line.dns_s,
        line.connect_s,
        line.tls_s,
        line.request_sent,
        line.headers,
        line.first_byte,
    )
    assert line.request_sent is not None
    assert line.headers is not None
    assert 0.05 <= line.headers - line.request_sent < 0.2
    spent = (line.dns_s or 0) + (line.connect_s or 0) + (line.tls_s or 0) + line.own_s
    assert spent == pytest.approx(line.request_sent - line.start, abs=0.01)


def test_what_came_while_the_loop_was_blocked_came_within_what_is_said(
    serve: Serve, certificates: Certificates, h2: ssl.SSLContext
) -> None:
    began, ended = list[float](), list[float]()
    found: list[Arrival] = []
    pieces = 40

    def answer(stream: Stream) -> None:
        stream.answer()
        for number in range(pieces):
            stream.peer.pause(0.03 if number else 0.06)
            began.append(monotonic())
            stream.data(b"piece")
            ended.append(monotonic())
        stream.data(b"", end=True)

    async def watch() -> None:
        url, start = serve(serves(answer), context=h2).url(host="localhost"), monotonic()
        limits = Limits(deadline=start + 5, connect_s=2)
        async with open_transports() as transports:
            wire = transports.wire(ca_file=certificates.authority, http2=True)
            async with wire.exchange(Request("GET", url, {}), Timeline(start), limits) as reply:
                asyncio.get_running_loop().call_later(0.03, time.sleep, 0.1)
                while (arrival := await reply.read(start + 5)) is not None:
                    found.extend([arrival] * (len(arrival.data) // 5))

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(watch())
    assert len(found) == pieces
    # The server is a thread of ours: where it still had the interpreter, the claim is a little off.
    assert all(one.earliest - 1e-3 <= after for one, after in zip(found, ended, strict=True))
    assert all(before <= one.at for one, before in zip(found, began, strict=True))
    widths = [one.at - one.earliest for one in found]
    assert widths[0] > 0.05
    assert min(widths) < 0.02


async def test_an_answer_ends_with_its_stream_and_not_with_its_last_byte(
    wire: Wire, serve: Serve, h2: ssl.SSLContext
) -> None:
    sent: list[float] = []

    def answer(stream: Stream) -> None:
        stream.answer()
        stream.data(b"ok")
        stream.peer.pause(0.1)
        sent.append(monotonic())
        stream.data(b"", end=True)
        sent.append(monotonic())

    url, start = serve(serves(answer), context=h2).url(host="localhost"), monotonic()
    limits = Limits(deadline=start + 5, connect_s=2)
    async with wire.exchange(Request("GET", url, {}), Timeline(start), limits) as reply:
        while await reply.read(start + 5) is not None:
            assert reply.ended is None
        assert reply.ended is not None
        assert reply.ended.earliest <= sent[1]
        assert sent[0] <= reply.ended.at


async def test_a_limit_that_passed_while_we_were_blocked_fails_nobody_who_was_in_time(
    wire: Wire, serve: Serve, h2: ssl.SSLContext
) -> None:
    said = threading.Event()

    def answer(stream: Stream) -> None:
        says_ok(stream)
        said.set()

    def busy() -> None:
        said.wait(10)
        time.sleep(max(0.0, start + 1.2 - monotonic()))

    url, start = serve(serves(answer), context=h2).url(host="localhost"), monotonic()
    timeline, limits = Timeline(start), Limits(deadline=start + 1.0, connect_s=1.0)
    looking = asyncio.ensure_future(look_in(wire, Request("GET", url, {}), timeline, limits))
    while timeline.request_sent is None and not looking.done():
        await asyncio.sleep(0)
    busy()
    assert await looking == b"ok"


async def look_in(wire: Wire, request: Request, timeline: Timeline, limits: Limits) -> bytes:
    """The whole body."""
    body = b""
    async with wire.exchange(request, timeline, limits) as reply:
        while (arrival := await reply.read(limits.deadline)) is not None:
            body += arrival.data
    return body


async def test_a_server_that_knows_only_http11_is_asked_so(
    wire: Wire, serve: Serve, certificates: Certificates
) -> None:
    server = serve(answers(OK), context=context(certificates, "http/1.1"))
    seen = await look(wire, server.url(host="localhost"))
    assert (seen.fault, seen.body) == (None, b"ok")
    assert seen.timeline.clock is Clock.USER
    assert (await look(wire, serve(answers(OK)).url())).body == b"ok"


async def test_what_others_offer_stays_http11(
    transports: Transports, wire: Wire, serve: Serve, certificates: Certificates, h2: ssl.SSLContext
) -> None:
    assert (await look(wire, serve(serves(says_ok), context=h2).url(host="localhost"))).body == b"ok"
    server = serve(answers(OK), context=context(certificates, "h2", "http/1.1"))
    other = transports.wire(ca_file=certificates.authority)
    assert (await look(other, server.url(host="localhost"))).body == b"ok"
    assert context_for(certificates.authority) is context_for(certificates.authority)


async def test_every_look_is_a_fresh_connection_and_hangs_up(
    wire: Wire, serve: Serve, h2: ssl.SSLContext
) -> None:
    gone = threading.Semaphore(0)

    def script(peer: Peer) -> None:
        serves(says_ok)(peer)
        gone.release()

    server = serve(script, context=h2)
    for _ in range(2):
        assert (await look(wire, server.url(host="localhost"))).body == b"ok"
        assert await asyncio.to_thread(gone.acquire, timeout=5)


async def test_a_reader_that_leaves_early_hangs_up(wire: Wire, serve: Serve, h2: ssl.SSLContext) -> None:
    gone = threading.Event()

    def script(peer: Peer) -> None:
        serves(lambda stream: (stream.answer(), stream.data(b"some"))[0])(peer)
        gone.set()

    url, start = serve(script, context=h2).url(host="localhost"), monotonic()
    limits = Limits(deadline=start + 5, connect_s=2)
    async with wire.exchange(Request("GET", url, {}), Timeline(start), limits) as reply:
        arrival = await reply.read(start + 5)
        assert arrival is not None
        assert (arrival.data, arrival.stamped) == (b"some", False)
    assert await asyncio.to_thread(gone.wait, 5)


# What goes wrong


def resets(stream: Stream) -> None:
    stream.answer()
    stream.talk.reset_stream(stream.id, error_code=2)
    stream.flush()


def says_goodbye(stream: Stream) -> None:
    stream.talk.close_connection(error_code=11)
    stream.flush()
    closes(stream)


def closes(stream: Stream) -> None:
    stream.peer.sock.shutdown(socket.SHUT_WR)  # with what is unread, a close would be a reset


def cuts_off(stream: Stream) -> None:
    stream.answer()
    stream.data(b"some")
    closes(stream)


def breaks_off(stream: Stream) -> None:
    stream.peer.reset()


def babbles(stream: Stream) -> None:
    stream.peer.send(bytes(9))  # a frame of data that belongs to no stream


def says_no_number(stream: Stream) -> None:
    block = Encoder().encode([(":status", "abc")])
    stream.peer.send(HeadersFrame(stream.id, block, flags=["END_HEADERS"]).serialize())


def sends_much(stream: Stream) -> None:
    stream.answer()
    while True:
        stream.data(b"x" * 16000)


def has_many_headers(stream: Stream) -> None:
    stream.answer(*((f"x-{number}", "y" * 100) for number in range(30)))


def dribbles(stream: Stream) -> None:
    stream.answer()
    while not stream.peer.stopping:
        stream.talk.ping(b"12345678")
        stream.flush()
        stream.peer.pause(0.02)


def hangs(stream: Stream) -> None:
    stream.peer.hang()


@pytest.mark.parametrize(
    "case",
    [
        (resets, "reset", "body"),
        (says_goodbye, "reset", "headers"),
        (closes, "closed", "headers"),
        (cuts_off, "closed", "body"),
        (babbles, "malformed", "headers"),
        (says_no_number, "malformed", "headers"),
        (sends_much, "too_large", "body"),
        (has_many_headers, "too_large", "headers"),
        (dribbles, "timeout", "body"),
        (hangs, "timeout", "headers"),
    ],
    ids=lambda case: case[0].__name__,
)
async def test_what_goes_wrong_is_told_as_by_our_own_transport(
    case: tuple[Callable[[Stream], None], str, str], wire: Wire, serve: Serve, h2: ssl.SSLContext
) -> None:
    answer, kind, phase = case
    server = serve(serves(answer), context=h2)
    seen = await look(
        wire,
        server.url(f"/?key={CANARY}", host="localhost"),
        headers={"Authorization": CANARY},
        deadline=0.6,
        header_bytes=2000,
        body_bytes=30_000,
    )
    assert (seen.kind, seen.phase) == (kind, phase)
    assert f"127.0.0.1 port {server.port}" in seen.text or kind == "too_large"
    assert CANARY not in seen.text
    assert seen.took < 1.5


async def test_headers_have_a_limit_of_their_own(wire: Wire, serve: Serve, h2: ssl.SSLContext) -> None:
    seen = await look(wire, serve(serves(hangs), context=h2).url(host="localhost"), headers_s=0.2)
    assert (seen.kind, seen.phase) == ("timeout", "headers")
    assert seen.text.endswith("within 200 ms")
    assert seen.took < 1


async def test_a_read_has_a_limit_of_its_own(wire: Wire, serve: Serve, h2: ssl.SSLContext) -> None:
    seen = await look(wire, serve(serves(dribbles), context=h2).url(host="localhost"), until=0.3)
    assert (seen.kind, seen.phase) == ("timeout", "body")
    assert seen.text.startswith("nothing more came from 127.0.0.1")
    assert seen.took < 1


async def test_connecting_fails_as_it_does_without(
    wire: Wire, transports: Transports, serve: Serve, certificates: Certificates, free_port: int
) -> None:
    seen = await look(wire, f"https://127.0.0.1:{free_port}/")
    assert (outcome(seen), seen.text) == (
        "connect_refused",
        f"127.0.0.1 port {free_port} refuses connections",
    )
    with full_backlog() as port:
        seen = await look(wire, f"https://127.0.0.1:{port}/", connect_s=0.3)
    assert (outcome(seen), seen.phase) == ("connect_timeout", "connect")
    assert seen.took < 0.8
    assert seen.timeline.connect_s is not None
    assert seen.timeline.connect_s > 0.25
    seen = await look(wire, serve(answers(OK), context=certificates.expired).url(host="localhost"))
    assert (outcome(seen), seen.text) == ("tls_failure", "the certificate of localhost has expired")
    seen = await look(wire, serve(lambda peer: peer.send(OK)).url().replace("http:", "https:"))
    assert (outcome(seen), seen.phase) == ("tls_failure", "tls")
    seen = await look(wire, serve(Peer.hang).url().replace("http:", "https:"), connect_s=0.3)
    assert (outcome(seen), seen.phase) == ("connect_timeout", "tls")
    assert seen.timeline.tls_s is not None
    assert seen.timeline.tls_s > 0.25
    seen = await look(wire, "https://no-such-host.invalid/")
    assert (outcome(seen), seen.phase) == ("dns_failure", "dns")
    seen = await look(transports.wire(6, http2=True), "https://127.0.0.1/")
    assert seen.text == "127.0.0.1 has no IPv6 address"


# Through a proxy


async def test_it_goes_through_a_tunnel(
    transports: Transports, serve: Serve, certificates: Certificates, h2: ssl.SSLContext
) -> None:
    log: list[bytes] = []
    target, proxy = serve(serves(says_ok), context=h2), serve(connects(log))
    wire = transports.wire(ca_file=certificates.authority, proxy=http(proxy, "me:p%40w@"), http2=True)
    seen = await look(wire, target.url(host="good.test"))
    assert (seen.fault, seen.body) == (None, b"ok")
    assert log[0].startswith(b"CONNECT good.test:%d HTTP/1.1\r\n" % target.port)
    assert b"Proxy-Authorization: Basic bWU6cEB3\r\n" in log[0]
    plain = serve(answers(OK))
    wire = transports.wire(proxy=http(serve(relays(log)), "me:pw@"), http2=True)
    assert (await look(wire, plain.url("/a"))).body == b"ok"


@pytest.mark.parametrize("said", STATUSES, ids=[f"{line} {fields}" for line, fields, *_ in STATUSES])
async def test_what_a_proxy_says_means_the_same(said: Said, transports: Transports, serve: Serve) -> None:
    line, fields, expected, words = said
    proxy = serve(answers(b"HTTP/1.1 " + line + b"\r\n" + fields + b"Content-Length: 6\r\n\r\nsecret"))
    seen = await look(transports.wire(proxy=http(proxy), http2=True), "https://api.test/")
    assert (outcome(seen), seen.phase) == (expected, "connect")
    assert words in seen.text


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (answers(), "local_network"),
        (Peer.hang, "local_network"),
        (answers(b"SSH-2.0-OpenSSH_9.2p1\r\n\r\n"), "bad_request"),
    ],
    ids=["closes", "hangs", "garbage"],
)
async def test_a_proxy_that_breaks_is_no_outage_of_the_provider(
    script: Script, expected: str, transports: Transports, serve: Serve
) -> None:
    wire = transports.wire(proxy=http(serve(script), f"me:{CANARY}@"), http2=True)
    seen = await look(wire, "https://api.test/", connect_s=0.3)
    assert (outcome(seen), seen.phase) == (expected, "connect")
    assert CANARY not in seen.text
    assert seen.took < 1


async def test_a_proxy_that_is_away_is_our_own_network(transports: Transports, free_port: int) -> None:
    wire = transports.wire(proxy=read(f"http://127.0.0.1:{free_port}"), http2=True)
    seen = await look(wire, "https://api.test/")
    assert outcome(seen) == "local_network"
    assert seen.text.startswith(f"no way through the proxy http://127.0.0.1:{free_port}: ")


async def test_it_works_over_a_unix_socket(
    tmp_path: Path, transports: Transports, serve: Serve, certificates: Certificates, h2: ssl.SSLContext
) -> None:
    path = tmp_path / "s.sock"
    serve(serves(says_ok), context=h2, path=path)
    wire = transports.wire(ca_file=certificates.authority, proxy=read(f"unix:{path}"), http2=True)
    assert (await look(wire, "https://good.test/")).body == b"ok"
    wire = transports.wire(proxy=read(f"unix:{tmp_path}/none"), http2=True)
    assert outcome(await look(wire, "https://good.test/")) == "connect_refused"
