"""When bytes came, whoever was late to read them."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.clock import monotonic
from monitor.config.proxy import read as read_proxy
from monitor.core.timeline import Clock, Timeline
from monitor.core.wire import Arrival, Limits, Moment, Reply, Request, Wire
from monitor.transport.resolver import Resolver
from monitor.transport.stamps import Segments, receive, stamps, tied
from monitor.transport.tls import _Records
from monitor.transport.waking import waking_of
from monitor.transport.wire import ProbeWire, Transport, Transports
from tests.support.daemon import TOP
from tests.transport.conftest import Named, Serve
from tests.transport.servers import Certificates, NameServer, Peer, Script, Zone

BUFFER = memoryview(bytearray(65536))
PIECES = 150
HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of a TCP connection; the first has stamps."""
    with socket.create_server(("127.0.0.1", 0)) as door, socket.socket() as ours:
        stamps().switch_on(ours)
        ours.connect(door.getsockname())
        theirs, _ = door.accept()
        theirs.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with theirs:
            yield ours, theirs


# Stamps


def test_a_stamp_of_the_wall_clock_becomes_a_moment_of_the_monotonic_one():
    ticks = iter([100.000_000, 100.000_002])
    now, at = tied(5_000_000_000, lambda: next(ticks), lambda: 5_250_000_000)
    assert now == 100.000_002
    assert at == pytest.approx(99.750_001)


def test_who_is_interrupted_between_the_clocks_reads_them_again():
    ticks = iter([100.0, 100.5, 100.500_002])
    walls = iter([7_000_000_000, 5_000_000_000])
    _, at = tied(5_000_000_000, lambda: next(ticks), lambda: next(walls))
    assert at == pytest.approx(100.500_001)


def test_clocks_that_can_never_be_read_together_tell_nothing():
    ticks = iter(float(n) for n in range(100))
    assert tied(5_000_000_000, lambda: next(ticks), lambda: 5_000_000_000)[1] is None


def test_bytes_came_when_they_came_and_not_when_they_were_read(pair):
    ours, theirs = pair
    since = before = monotonic()
    theirs.send(b"token")
    after = monotonic()
    time.sleep(0.02)
    read = receive(ours, BUFFER, since)
    assert read.stamped
    assert read.size == 5
    assert before - 5e-5 <= read.at <= after + 5e-5


def test_a_stamp_from_before_the_socket_was_empty_is_not_believed(pair):
    ours, theirs = pair
    theirs.send(b"token")
    time.sleep(0.001)
    before = monotonic()
    read = receive(ours, BUFFER, since=before)
    assert not read.stamped
    assert read.at >= before


def test_without_stamps_the_clock_at_the_read_counts():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.send(b"token")
        before = monotonic()
        read = receive(ours, BUFFER, before)
        assert not read.stamped
        assert before <= read.at <= monotonic()


def test_a_read_of_one_segment_is_told_from_a_read_of_several(pair):
    ours, theirs = pair
    segments = Segments()

    def read_after(*pieces: bytes) -> bool:
        for piece in pieces:
            theirs.send(piece)
        return segments.single(ours, receive(ours, BUFFER, 0.0).size)

    assert read_after(b"a")
    assert not read_after(b"b", b"c", b"d")
    assert read_after(b"e" * 1000)


def test_a_segment_that_came_between_read_and_count_makes_nothing_exact_that_is_not(pair):
    ours, theirs = pair
    segments = Segments()
    theirs.send(b"a")
    size = receive(ours, BUFFER, 0.0).size
    theirs.send(b"b")
    assert not segments.single(ours, size)
    theirs.send(b"c")
    assert not segments.single(ours, receive(ours, BUFFER, 0.0).size)
    theirs.send(b"d")
    assert segments.single(ours, receive(ours, BUFFER, 0.0).size)


@pytest.mark.parametrize(("late", "held"), [([b"x" * 100] * 7, False), ([b"x" * 350, b"x" * 350], True)])
def test_a_server_that_waits_until_we_read_is_found_out(pair, late, held):
    ours, theirs = pair
    segments = Segments()
    for piece in (b"head" * 200, *[b"x" * 100] * 4):
        theirs.send(piece)
        segments.single(ours, receive(ours, BUFFER, 0.0).size)
    for piece in late:
        theirs.send(piece)
    assert segments.held_back(ours, receive(ours, BUFFER, 0.0).size) is held


@given(st.lists(st.integers(0, 300), min_size=1, max_size=6), st.lists(st.integers(0, 700), max_size=20))
def test_the_end_of_a_record_is_known_however_the_network_cut_it(sizes: list[int], cuts: list[int]) -> None:
    stream = b"".join(b"\x17\x03\x03" + size.to_bytes(2, "big") + b"x" * size for size in sizes)
    ends, at = {0}, 0
    for size in sizes:
        at += 5 + size
        ends.add(at)
    records, done = _Records(), 0
    for cut in sorted({*(cut for cut in cuts if cut < len(stream)), len(stream)}):
        records.follow(memoryview(stream)[done:cut])
        done = cut
        assert records.complete == (done in ends)


# A whole exchange


class Spoken:
    """Sends a piece when it is told to, and knows when it did."""

    def __init__(self, *pieces: bytes, every: float = 0.01) -> None:
        self.sent: list[tuple[float, float]] = []
        self._pieces = pieces
        self._every = every

    def script(self) -> Script:
        def play(peer: Peer) -> None:
            peer.request()
            peer.send(HEAD)
            for piece in self._pieces:
                peer.pause(self._every)
                before = monotonic()
                peer.send(piece)
                self.sent.append((before, monotonic()))
            peer.hang()

        return play


async def opened(
    wire: ProbeWire, url: str, timeline: Timeline, read: Callable[[Reply], Awaitable[None]]
) -> None:
    limits = Limits(deadline=timeline.start + 10, connect_s=5)
    async with wire.exchange(Request("GET", url, {}), timeline, limits) as reply:
        await read(reply)


@pytest.mark.anyio
async def test_a_loop_that_was_blocked_tells_the_truth_of_one_segment(wire: ProbeWire, serve: Serve) -> None:
    spoken = Spoken(b"token", every=0.05)
    timeline = Timeline(start=monotonic())

    async def read(reply: Reply) -> None:
        time.sleep(0.2)  # noqa: ASYNC251 - that is what is tested
        arrival = await reply.read(timeline.start + 5)
        assert arrival is not None
        ((before, after),) = spoken.sent
        assert arrival.earliest == arrival.at
        assert before - 1e-4 <= arrival.at <= after + 1e-4

    await opened(wire, serve(spoken.script()).url(), timeline, read)
    assert timeline.clock is Clock.KERNEL


@pytest.mark.anyio
async def test_of_several_segments_the_first_is_known_to_lie_in_an_interval(
    wire: ProbeWire, serve: Serve
) -> None:
    spoken = Spoken(b"one", b"two", b"three", every=0.03)
    timeline = Timeline(start=monotonic())

    async def read(reply: Reply) -> None:
        time.sleep(0.2)  # noqa: ASYNC251 - likewise
        arrival = await reply.read(timeline.start + 5)
        assert arrival is not None
        assert arrival.data == b"onetwothree"
        assert arrival.earliest <= spoken.sent[0][1]
        assert spoken.sent[2][0] - 1e-4 <= arrival.at <= spoken.sent[2][1] + 1e-4
        assert arrival.last

    await opened(wire, serve(spoken.script()).url(), timeline, read)
    assert "first_byte" in timeline.bounds


@pytest.mark.anyio
async def test_a_loop_that_was_blocked_for_half_a_second_says_between_which_moments_it_was(
    wire: ProbeWire, serve: Serve
) -> None:
    """First tokens, headers and more come while nobody looks: whatever is said of them is true."""
    sent: list[tuple[float, float]] = []

    def script(peer: Peer) -> None:
        peer.request()
        for piece in (HEAD, b"one", b"two", b"three"):
            peer.pause(0.1)
            before = monotonic()
            peer.send(piece)
            sent.append((before, monotonic()))
        peer.hang()

    timeline = Timeline(start=monotonic())
    asyncio.get_running_loop().call_later(0.05, time.sleep, 0.5)

    async def read(reply: Reply) -> None:
        arrival = await reply.read(timeline.start + 5)
        assert arrival is not None
        assert arrival.data == b"onetwothree"
        assert arrival.earliest <= sent[1][1]
        assert sent[3][0] - 1e-4 <= arrival.at <= sent[3][1] + 1e-4
        assert arrival.last
        assert timeline.headers is not None
        assert timeline.headers_earliest is not None
        assert timeline.headers_earliest <= sent[0][1]
        assert sent[0][0] <= timeline.headers

    await opened(wire, serve(script).url(), timeline, read)
    assert timeline.bounds >= {"headers", "first_byte"}


def test_a_process_that_was_stopped_says_between_which_moments_it_was(serve: Serve) -> None:
    """Nobody counts the time for which a process is stopped, and it sleeps all the while."""
    sent: list[tuple[float, float]] = []
    started = threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(HEAD)
        peer.pause(0.05)
        assert started.wait(10)
        child.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, child.pid, os.WSTOPPED)
        for piece in (b"one", b"two", b"three"):
            peer.pause(0.03)
            before = monotonic()
            peer.send(piece)
            sent.append((before, monotonic()))
        peer.pause(0.03)
        child.send_signal(signal.SIGCONT)
        peer.pause(0.1)

    program = [sys.executable, "-m", "tests.transport.looking", serve(script).url()]
    child = subprocess.Popen(program, stdout=subprocess.PIPE, cwd=TOP)
    started.set()
    out, _ = child.communicate(timeout=20)
    ((data, earliest, at, stamped), *_) = json.loads(out)
    assert stamped
    assert data == "onetwothree"
    assert earliest <= sent[0][1]
    assert sent[2][0] - 1e-4 <= at <= sent[2][1] + 1e-4


def test_on_a_core_that_somebody_else_keeps_busy_the_truth_lies_where_it_is_said_to(serve: Serve) -> None:
    sent: list[tuple[float, float]] = []

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(HEAD)
        for number in range(PIECES):
            peer.pause(0.003)
            before = monotonic()
            peer.send(f"{number:03}".encode())
            sent.append((before, monotonic()))

    core = {min(os.sched_getaffinity(0))}
    program = [sys.executable, "-m", "tests.transport.looking", serve(script).url()]
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        try:
            child = subprocess.Popen(program, stdout=subprocess.PIPE, cwd=TOP)
            for process in (busy, child):
                os.sched_setaffinity(process.pid, core)
            out, _ = child.communicate(timeout=30)
        finally:
            busy.kill()
    came = 0
    for data, earliest, at, stamped in json.loads(out):
        first, last = sent[came], sent[came + len(data) // 3 - 1]
        came += len(data) // 3
        assert earliest <= first[1]
        assert last[0] - 1e-4 <= at
        assert not stamped or at <= last[1] + 1e-4
    assert came == PIECES


@pytest.mark.anyio
@pytest.mark.parametrize("blocked_s", [0.0, 0.3])
async def test_a_name_that_we_heard_of_late_took_less_than_it_seems(
    blocked_s: float, names: NameServer, serve: Serve
) -> None:
    names.names["acme.test"] = Zone(a=["127.0.0.1"])
    loop, resolver = asyncio.get_running_loop(), Resolver(nameservers=[names.address])
    wire = ProbeWire(Transport(resolver=resolver, waking=waking_of(loop)))
    url = serve(Spoken(b"token").script()).url(host="acme.test")
    timeline = Timeline(start=monotonic())

    async def read(reply: Reply) -> None:
        await reply.read(timeline.start + 5)

    if blocked_s:
        loop.call_soon(time.sleep, blocked_s)
    try:
        await opened(wire, url, timeline, read)
    finally:
        await resolver.aclose()
    assert timeline.dns_s is not None
    assert timeline.dns_s >= blocked_s
    assert timeline.dns_s - timeline.slack_s < 0.2
    if blocked_s:
        assert "dns_ms" in timeline.bounds


@pytest.mark.anyio
async def test_a_name_that_takes_its_time_is_no_bound_where_nothing_holds_us_up(
    names: NameServer, serve: Serve
) -> None:
    names.names["acme.test"] = Zone(a=["127.0.0.1"], after_s=0.02)
    loop, resolver = asyncio.get_running_loop(), Resolver(nameservers=[names.address])
    wire = ProbeWire(Transport(resolver=resolver, waking=waking_of(loop)))
    url = serve(Spoken(b"token").script()).url(host="acme.test")
    exact = 0

    async def read(reply: Reply) -> None:
        await reply.read(monotonic() + 5)

    try:
        # A busy machine may hold most of them up.
        for _ in range(100):
            timeline = Timeline(start=monotonic())
            await opened(wire, url, timeline, read)
            assert timeline.dns_s is not None
            assert timeline.dns_s >= 0.02
            exact += "dns_ms" not in timeline.bounds
            if exact == 3:
                break
    finally:
        await resolver.aclose()
    assert exact == 3


@pytest.mark.anyio
async def test_first_tokens_are_told_apart_though_the_loop_is_busy(serve: Serve) -> None:
    waking = waking_of(asyncio.get_running_loop())
    assert waking is not None
    wire = ProbeWire(Transport(waking=waking))
    spoken = Spoken(b"first", b"second", every=0.05)
    found: list[Arrival | None] = []

    async def read(reply: Reply) -> None:
        for count in (1, 2):
            while len(spoken.sent) < count:
                time.sleep(0.001)  # noqa: ASYNC251 - that is what is tested
            waking.glance()
        found.extend([await reply.read(monotonic() + 5), await reply.read(monotonic() + 5)])

    await opened(wire, serve(spoken.script()).url(), Timeline(start=monotonic()), read)
    assert [one and (one.data, one.at == one.earliest) for one in found] == [
        (b"first", True),
        (b"second", True),
    ]


@pytest.mark.anyio
async def test_bytes_gather_until_the_moment_has_passed(wire: ProbeWire, serve: Serve) -> None:
    spoken = Spoken(*(b"x" for _ in range(8)), every=0.005)
    timeline = Timeline(start=monotonic())

    async def read(reply: Reply) -> None:
        found: list[Arrival] = []
        while sum(len(one.data) for one in found) < 8:
            arrival = await reply.read(timeline.start + 5, gather_s=0.2)
            assert arrival is not None
            found.append(arrival)
        assert len(found) < 8
        assert found[-1].earliest <= spoken.sent[-1][0]
        assert found[-1].at <= spoken.sent[-1][1] + 1e-4

    await opened(wire, serve(spoken.script()).url(), timeline, read)


@pytest.mark.anyio
async def test_nobody_waits_for_bytes_to_gather_once_the_other_side_has_closed(
    wire: ProbeWire, serve: Serve
) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(HEAD + b"first")
        peer.pause(0.02)
        peer.send(b"last")

    timeline = Timeline(start=monotonic())

    async def read(reply: Reply) -> None:
        assert (await reply.read(timeline.start + 5)) is not None
        arrival = await reply.read(timeline.start + 9, gather_s=8.0)
        assert arrival is not None
        assert arrival.data == b"last"
        assert await reply.read(timeline.start + 9, gather_s=8.0) is None
        assert monotonic() < timeline.start + 4

    await opened(wire, serve(script).url(), timeline, read)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n"


class Ending:
    """Sends an answer, and knows when it ended it some while later: by bytes, or by closing."""

    def __init__(self, answer: bytes, last: bytes) -> None:
        self.before = self.after = 0.0
        self._answer = answer
        self._last = last

    def script(self, peer: Peer) -> None:
        peer.request()
        peer.send(self._answer)
        peer.pause(0.1)
        self.before = monotonic()
        if self._last:
            peer.send(self._last)
        else:
            peer.sock.shutdown(socket.SHUT_RDWR)
        self.after = monotonic()
        peer.hang()


async def ended(wire: Wire, url: str, blocked_s: float = 0.0) -> Moment:
    """When one answer was over, as a reader is told who may have been busy meanwhile."""
    start = monotonic()
    limits = Limits(deadline=start + 10, connect_s=5)
    async with wire.exchange(Request("GET", url, {}), Timeline(start=start), limits) as reply:
        assert reply.ended is None
        time.sleep(blocked_s)  # noqa: ASYNC251 - that is what is tested
        while await reply.read(limits.deadline) is not None:
            pass
        assert reply.ended is not None
        return reply.ended


@pytest.mark.anyio
@pytest.mark.parametrize("blocked_s", [0.0, 0.3])
@pytest.mark.parametrize(("answer", "last"), [(CHUNKED, b"0\r\n\r\n"), (HEAD + b"ok", b""), (HEAD, b"")])
async def test_an_answer_ends_with_its_framing_and_not_with_its_last_byte(
    answer: bytes, last: bytes, blocked_s: float, wire: ProbeWire, serve: Serve
) -> None:
    ending = Ending(answer, last)
    end = await ended(wire, serve(ending.script).url(), blocked_s)
    assert end.earliest <= ending.after
    assert end.at >= ending.before - 1e-4
    if last:
        assert end.earliest == end.at <= ending.after + 1e-4


@pytest.mark.anyio
@pytest.mark.parametrize("last", [b"0\r\n\r\n", b""])
async def test_over_a_unix_socket_it_ends_then_too(
    last: bytes, transports: Transports, serve: Serve, tmp_path: Path
) -> None:
    ending = Ending(CHUNKED if last else HEAD, last)
    path = tmp_path / "s.sock"
    end = await ended(
        transports.wire(proxy=read_proxy(f"unix:{path}")), serve(ending.script, path=path).url(), 0.3
    )
    assert end.earliest <= ending.after
    assert end.at >= ending.before


@pytest.mark.anyio
async def test_a_close_that_comes_alone_is_known_well_where_nothing_holds_us_up(
    transports: Transports, serve: Serve
) -> None:
    # A busy machine may hold most of them up.
    for _ in range(50):
        ending = Ending(HEAD + b"ok", b"")
        end = await ended(transports.wire(), serve(ending.script).url())
        assert end.earliest <= ending.after
        if end.at - end.earliest < 0.001:
            return
    raise AssertionError("each was known within a millisecond at best")


@pytest.mark.anyio
async def test_what_came_in_time_counts_though_it_was_left_to_gather(wire: ProbeWire, serve: Serve) -> None:
    spoken = Spoken(b"token", every=0.01)
    timeline = Timeline(start=monotonic())

    async def read(reply: Reply) -> None:
        arrival = await reply.read(monotonic() + 0.1, gather_s=8.0)
        assert arrival is not None
        assert arrival.data == b"token"

    await opened(wire, serve(spoken.script()).url(), timeline, read)


@pytest.mark.anyio
async def test_a_limit_that_passed_while_we_were_blocked_fails_nobody_who_was_in_time(
    wire: ProbeWire, serve: Serve
) -> None:
    spoken = Spoken(b"token", every=0.02)
    timeline = Timeline(start=monotonic())

    async def read(reply: Reply) -> None:
        until = monotonic() + 0.1
        time.sleep(0.2)  # noqa: ASYNC251 - likewise
        arrival = await reply.read(until)
        assert arrival is not None
        assert arrival.at < until

    await opened(wire, serve(spoken.script()).url(), timeline, read)


@pytest.mark.anyio
async def test_over_tls_a_stamp_is_that_of_the_read_which_completed_the_record(
    named: Named, serve: Serve, certificates: Certificates
) -> None:
    spoken = Spoken(b"token", every=0.05)
    timeline = Timeline(start=monotonic())
    server = serve(spoken.script(), context=certificates.good)

    async def read(reply: Reply) -> None:
        time.sleep(0.2)  # noqa: ASYNC251 - likewise
        arrival = await reply.read(timeline.start + 5)
        assert arrival is not None
        ((before, after),) = spoken.sent
        assert arrival.last
        assert before - 1e-4 <= arrival.at <= after + 1e-4

    await opened(named(ca_file=certificates.authority), server.url(), timeline, read)
    assert timeline.clock is Clock.KERNEL


@pytest.mark.anyio
async def test_connecting_takes_as_long_as_the_kernel_says(wire: ProbeWire, serve: Serve) -> None:
    spoken = Spoken(b"token")
    timeline = Timeline(start=monotonic())

    async def read(reply: Reply) -> None:
        await reply.read(timeline.start + 5)

    await opened(wire, serve(spoken.script()).url(), timeline, read)
    assert timeline.connect_s is not None
    assert 0 < timeline.connect_s < 0.05
    assert "connect_ms" not in timeline.bounds
