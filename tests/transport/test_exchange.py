"""One exchange over a real connection: framing, stamps, bounds, the deadline."""

import asyncio
import itertools
import threading
from collections.abc import Callable

import httpx
import pytest

from monitor.clock import monotonic
from monitor.core.timeline import Timeline
from monitor.core.wire import Limits, Request, WireFault
from monitor.transport.wire import ProbeWire, Transport
from tests.transport.conftest import Serve
from tests.transport.servers import OK, Peer, Script, answers, look

pytestmark = pytest.mark.anyio


async def test_the_request_arrives_as_it_was_asked_for(wire: ProbeWire, serve: Serve) -> None:
    got: list[bytes] = []

    def script(peer: Peer) -> None:
        got.append(peer.request())
        peer.send(OK)

    server = serve(script)
    seen = await look(
        wire,
        server.url("/v1/chat?a=b"),
        method="POST",
        headers={"Authorization": "Bearer k"},
        body=b'{"x":1}',
    )
    assert (seen.status, seen.body) == (200, b"ok")
    head, _, body = got[0].partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"POST /v1/chat?a=b HTTP/1.1"
    assert sorted(lines[1:]) == sorted(
        [
            f"Host: 127.0.0.1:{server.port}".encode(),
            b"Authorization: Bearer k",
            b"Content-Length: 7",
            b"Accept-Encoding: identity",
            b"Connection: close",
        ]
    )
    assert body == b'{"x":1}'


async def test_phases_are_marked_in_their_order(wire: ProbeWire, serve: Serve) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.pause(0.03)
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
        peer.pause(0.03)
        peer.send(b"ok")

    seen = await look(wire, serve(script).url())
    line = seen.timeline
    assert (line.dns_s, line.tls_s) == (None, None)
    assert line.connect_s is not None
    assert line.request_sent is not None
    assert line.headers is not None
    assert line.first_byte is not None
    assert line.start < line.request_sent
    assert line.headers - line.request_sent > 0.02
    assert line.first_byte - line.headers > 0.02
    assert line.first_byte == seen.pieces[0][0]
    assert line.connect_s + line.own_s == pytest.approx(line.request_sent - line.start, abs=0.01)


async def test_time_that_we_let_pass_is_our_own(wire: ProbeWire, serve: Serve) -> None:
    server = serve(answers(OK))
    line = Timeline(monotonic() - 0.5)
    limits = Limits(deadline=monotonic() + 5, connect_s=5)
    async with wire.exchange(Request("GET", server.url(), {}), line, limits):
        pass
    assert 0.5 <= line.own_s < 1
    assert line.connect_s is not None
    assert line.connect_s < 0.3


async def test_pieces_keep_their_own_stamps_though_nobody_fetched_them(wire: ProbeWire, serve: Serve) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        for letter in (b"a", b"b", b"c"):
            peer.pause(0.03)
            peer.send(letter)

    line = Timeline(monotonic())
    limits = Limits(deadline=monotonic() + 5, connect_s=5)
    pieces = []
    async with wire.exchange(Request("GET", serve(script).url(), {}), line, limits) as reply:
        while line.first_byte is None or monotonic() < line.first_byte + 0.1:
            await asyncio.sleep(0.01)
        while (arrival := await reply.read(limits.deadline)) is not None:
            pieces.append(arrival)
    assert [piece.data for piece in pieces] == [b"a", b"b", b"c"]
    assert all(after.at - before.at > 0.02 for before, after in itertools.pairwise(pieces))


@pytest.mark.parametrize(
    ("pieces", "body"),
    [
        ((OK,), b"ok"),
        ((b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",), b""),
        ((b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",), b"ok"),
        ((b"HTTP/1.1 200 OK\r\n\r\nuntil the end",), b"until the end"),
        ((b"HTTP/1.0 200 OK\r\n\r\nold",), b"old"),
        ((b"HTTP/1.1 100 Continue\r\n\r\n", OK), b"ok"),
        ((b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK,), b"ok"),
        ((OK + b"and more that nobody asked for",), b"ok"),
    ],
)
async def test_every_framing_is_understood(
    pieces: tuple[bytes, ...], body: bytes, wire: ProbeWire, serve: Serve
) -> None:
    seen = await look(wire, serve(answers(*pieces)).url())
    assert (seen.fault, seen.status, seen.body) == (None, 200, body)


async def test_a_complete_message_ends_though_the_server_keeps_the_connection(
    wire: ProbeWire, serve: Serve
) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(OK)
        peer.hang()

    seen = await look(wire, serve(script).url())
    assert (seen.fault, seen.body) == (None, b"ok")
    assert seen.took < 1


async def test_a_redirect_is_an_answer_and_not_followed(wire: ProbeWire, serve: Serve) -> None:
    asked = []

    def script(peer: Peer) -> None:
        asked.append(peer.request())
        peer.send(
            b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n"
        )

    server = serve(script)
    for _ in range(2):
        seen = await look(wire, server.url())
        assert (seen.status, seen.headers["location"]) == (302, "/elsewhere")
    assert len(asked) == 2
    assert b"ookie" not in asked[1]


async def test_headers_are_readable_and_harmless(wire: ProbeWire, serve: Serve) -> None:
    head = (
        b"HTTP/1.1 200 OK\r\nX-A: 1\r\nx-a: 2\r\nX-Latin: caf\xe9\r\nX-Tab: a\tb\r\nContent-Length: 0\r\n\r\n"
    )
    seen = await look(wire, serve(answers(head)).url())
    assert seen.headers == {"x-a": "1, 2", "x-latin": "café", "x-tab": "a b", "content-length": "0"}


async def test_head_asks_for_headers_alone(wire: ProbeWire, serve: Serve) -> None:
    server = serve(answers(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n"))
    seen = await look(wire, server.url(), method="HEAD")
    assert (seen.fault, seen.status, seen.body) == (None, 200, b"")


async def test_a_large_request_and_a_large_answer_go_through(wire: ProbeWire, serve: Serve) -> None:
    size = 6 * 1024 * 1024

    def script(peer: Peer) -> None:
        length = len(peer.request().partition(b"\r\n\r\n")[2])
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-Got: %d\r\n\r\n" % (size, length))
        peer.send(b"x" * size)

    seen = await look(wire, serve(script).url(), method="POST", body=b"y" * size)
    assert (seen.fault, seen.headers["x-got"], len(seen.body)) == (None, str(size), size)


async def test_a_hundred_streams_at_once_keep_apart(wire: ProbeWire, serve: Serve) -> None:
    def script(peer: Peer) -> None:
        name = peer.request().split(b" ", 2)[1]
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(5):
            peer.pause(0.01)
            peer.send(b"%x\r\n%b\r\n" % (len(name), name))
        peer.send(b"0\r\n\r\n")

    server = serve(script)
    seen = await asyncio.gather(*(look(wire, server.url(f"/{n}/")) for n in range(100)))
    assert [one.body for one in seen] == [f"/{n}/".encode() * 5 for n in range(100)]


# The deadline, and what tries to get round it


def dribbles(first: bytes, more: bytes, pause: float = 0.01) -> Script:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(first)
        while not peer.stopping:
            peer.send(more)
            peer.pause(pause)

    return script


def silent(first: bytes) -> Script:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(first)
        peer.hang()

    return script


HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("script", "phase"),
    [
        (silent(b""), "headers"),
        (silent(b"HTTP/1.1 200 OK\r\n"), "headers"),
        (silent(HEAD), "body"),
        (silent(HEAD + b"2\r\nok\r\n"), "body"),
        (dribbles(b"", b"HTTP/1.1 103 Hints\r\n\r\n"), "headers"),
        (dribbles(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"), "headers"),
        (dribbles(b"HTTP/1.1 200 OK\r\nX-Long: ", b"y"), "headers"),
        (dribbles(HEAD, b"1\r\nx\r\n"), "body"),
        (dribbles(HEAD, b"1\r\nx\r\n", pause=0.0), "body"),
        (dribbles(HEAD + b"0\r\n", b"X: y\r\n"), "body"),
    ],
)
async def test_whatever_the_server_does_the_deadline_ends_it(
    script: Script, phase: str, wire: ProbeWire, serve: Serve
) -> None:
    seen = await look(wire, serve(script).url(), deadline=0.3)
    assert (seen.kind, seen.phase) == ("timeout", phase)
    assert seen.fault is not None
    assert 0.299 <= seen.fault.at - seen.timeline.start < 0.45
    assert 0.299 <= seen.took < 0.5
    assert "within 300 ms" in seen.text


async def test_a_server_that_never_reads_ends_at_the_deadline(wire: ProbeWire, serve: Serve) -> None:
    server = serve(lambda peer: peer.hang())
    seen = await look(wire, server.url(), method="POST", body=b"x" * 30_000_000, deadline=0.3)
    assert (seen.kind, seen.phase) == ("timeout", "request")
    assert "did not take the request within 300 ms" in seen.text
    assert seen.took < 0.8


async def test_the_reader_s_own_limit_ends_a_silence_sooner(wire: ProbeWire, serve: Serve) -> None:
    seen = await look(wire, serve(silent(HEAD + b"2\r\nok\r\n")).url(), until=0.2)
    assert (seen.kind, seen.phase, seen.body) == ("timeout", "body", b"ok")
    assert 0.199 <= seen.took < 0.4


async def test_after_the_reader_s_limit_more_can_be_read(wire: ProbeWire, serve: Serve) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
        peer.pause(0.1)
        peer.send(b"cd")

    now = monotonic()
    limits = Limits(deadline=now + 5, connect_s=5)
    async with wire.exchange(Request("GET", serve(script).url(), {}), Timeline(now), limits) as reply:
        came = b""
        misses = 0
        while len(came) < 4:
            try:
                arrival = await reply.read(monotonic() + 0.02)
            except WireFault:
                misses += 1
                continue
            assert arrival is not None
            came += arrival.data
    assert came == b"abcd"
    assert misses >= 2


async def test_headers_have_a_limit_of_their_own(wire: ProbeWire, serve: Serve) -> None:
    seen = await look(wire, serve(silent(b"")).url(), headers_s=0.2)
    assert (seen.kind, seen.phase) == ("timeout", "headers")
    assert "no answer from 127.0.0.1 port" in seen.text
    assert "within 200 ms" in seen.text
    assert 0.199 <= seen.took < 0.4


async def test_the_limit_on_headers_does_not_cut_the_body_short(wire: ProbeWire, serve: Serve) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
        peer.pause(0.2)
        peer.send(b"ok")

    seen = await look(wire, serve(script).url(), headers_s=0.1, connect_s=0.1)
    assert (seen.fault, seen.body) == (None, b"ok")


async def test_a_body_without_end_is_too_large(wire: ProbeWire, serve: Serve) -> None:
    flood = dribbles(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 100_000, pause=0.0)
    seen = await look(wire, serve(flood).url(), body_bytes=1_000_000)
    assert (seen.kind, seen.phase) == ("too_large", "body")
    assert 900_000 < len(seen.body) <= 1_000_000


async def test_headers_without_end_are_too_large(wire: ProbeWire, serve: Serve) -> None:
    flood = dribbles(b"HTTP/1.1 200 OK\r\n", b"X-Pad: %b\r\n" % (b"x" * 1000), pause=0.0)
    seen = await look(wire, serve(flood).url(), header_bytes=16_384)
    assert (seen.kind, seen.phase) == ("too_large", "headers")


# Being cancelled


@pytest.mark.parametrize(
    ("first", "reached"),
    [
        (b"", lambda line: line.request_sent is not None),
        (HEAD, lambda line: line.headers is not None),
        (HEAD + b"2\r\nok\r\n", lambda line: line.first_byte is not None),
    ],
)
async def test_cancelling_closes_the_connection_and_is_no_fault(
    first: bytes, reached: Callable[[Timeline], bool], wire: ProbeWire, serve: Serve
) -> None:
    gone = threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(first)
        try:
            peer.until_closed()
        finally:
            gone.set()

    now = monotonic()
    line = Timeline(now)
    limits = Limits(deadline=now + 10, connect_s=5)

    async def probe(url: str) -> None:
        async with wire.exchange(Request("GET", url, {}), line, limits) as reply:
            while await reply.read(limits.deadline) is not None:
                pass

    task = asyncio.create_task(probe(serve(script).url()))
    while not reached(line):
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(gone.wait, 5)


async def test_leaving_early_closes_the_connection(wire: ProbeWire, serve: Serve) -> None:
    gone = threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(HEAD + b"2\r\nok\r\n")
        try:
            peer.until_closed()
        finally:
            gone.set()

    now = monotonic()
    limits = Limits(deadline=now + 10, connect_s=5)
    async with wire.exchange(Request("GET", serve(script).url(), {}), Timeline(now), limits) as reply:
        assert await reply.read(limits.deadline) is not None
    assert await asyncio.to_thread(gone.wait, 5)


# HTTPX's interface


async def test_it_serves_a_client_of_httpx(serve: Serve) -> None:
    server = serve(
        answers(b"HTTP/1.1 200 OK\r\nX-A: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
    )
    now = monotonic()
    line = Timeline(now)
    extensions = {"timeline": line, "limits": Limits(deadline=now + 5, connect_s=5)}
    async with httpx.AsyncClient(transport=Transport(), trust_env=False) as client:
        response = await client.post(server.url(), json={"a": 1}, extensions=extensions)
    assert (response.status_code, response.text, response.headers["x-a"]) == (200, "ok", "1")
    assert line.headers is not None
