"""A limit that rings while we were busy: what was there in time counts, whenever we look."""

import asyncio
import socket
import time

import pytest

from monitor.clock import monotonic
from monitor.core.outcome import Outcome
from monitor.core.timeline import Timeline
from monitor.core.verdict import Learnt, Verdict, judge
from monitor.core.wire import Limits, Request, Wire
from monitor.protocols import Look
from monitor.transport.resolver import Resolver
from monitor.transport.waking import waking_of
from monitor.transport.wire import ProbeWire, Transport, Transports
from tests.protocols.replay import events, look_of
from tests.transport.conftest import Named, Serve
from tests.transport.servers import NameServer, Peer, Zone
from tests.transport.test_connect import full_backlog

pytestmark = pytest.mark.anyio

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"
"""The body lasts until the server closes."""


def word(finish: str | None = None) -> bytes:
    return events({"choices": [{"index": 0, "delta": {"content": "pong "}, "finish_reason": finish}]})


async def verdict_on(at: Look, wire: Wire, timeout_s: float) -> Verdict:
    """As the pipeline takes one look."""
    timeline = Timeline(start=monotonic())
    limits = Limits(deadline=timeline.start + timeout_s, connect_s=timeout_s)
    waking = waking_of(asyncio.get_running_loop())
    assert waking is not None
    held_up_s = waking.held_up_s
    seen = await at.look(wire, timeline, limits, "0badc0de", {})
    seen.timeline.held_up_s = waking.held_up_s - held_up_s
    return judge(seen, at.expect, Learnt(), model=at.model, allowed=limits)


def block(seconds: float, after_s: float = 0.0) -> None:
    """Somebody keeps the loop busy."""
    asyncio.get_running_loop().call_later(after_s, time.sleep, seconds)


async def test_an_end_that_came_in_time_is_one_though_we_look_after_the_deadline(
    wire: ProbeWire, serve: Serve
) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(HEAD + b"whole")

    timeline = Timeline(start=monotonic())
    limits = Limits(deadline=timeline.start + 1.0, connect_s=1.0)
    async with wire.exchange(Request("GET", serve(script).url(), {}), timeline, limits) as reply:
        time.sleep(1.2)  # noqa: ASYNC251 - as a busy loop does
        body = b""
        while (arrival := await reply.read(limits.deadline)) is not None:
            body += arrival.data
    assert body == b"whole"


async def test_what_may_have_come_in_time_is_taken_in(wire: ProbeWire, serve: Serve) -> None:
    ended: list[float] = []

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(HEAD + word())
        peer.pause(0.4)
        peer.send(word("stop"))
        peer.pause(0.8)
        peer.send(b": usage was to come\n\n")
        ended.append(monotonic())
        peer.hang()

    block(1.6, after_s=0.2)
    verdict = await verdict_on(look_of("openai-chat", base_url=serve(script).url("/v1")), wire, 1.0)
    assert ended, "the server had not said all of it by then"
    assert verdict.outcome in (Outcome.OK, Outcome.SELF_OVERLOAD), verdict.detail


async def test_a_name_that_was_found_in_time_is_found_though_the_loop_was_busy(names: NameServer) -> None:
    names.names["acme.test"] = Zone(a=["127.0.0.1"])
    resolver = Resolver(nameservers=[names.address])
    resolver.asking()
    wire = ProbeWire(Transport(resolver=resolver))
    timeline = Timeline(start=monotonic())
    at = look_of("dns", name="acme.test")
    block(1.2)
    try:
        seen = await at.look(wire, timeline, Limits(deadline=timeline.start + 1, connect_s=1), "", {})
    finally:
        await resolver.aclose()
    assert seen.fault is None
    assert seen.answers == ("127.0.0.1",)


@pytest.mark.parametrize("busy_s", [0.0, 0.5])
async def test_a_stream_that_began_late_because_of_us_did_not_time_out(
    wire: ProbeWire, serve: Serve, busy_s: float
) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(HEAD)
        for _ in range(30):
            peer.send(word())
            peer.pause(0.1)

    if busy_s:
        block(busy_s)
    verdict = await verdict_on(look_of("openai-chat", base_url=serve(script).url("/v1")), wire, 1.0)
    if busy_s:
        assert verdict.outcome is Outcome.SELF_OVERLOAD
        assert "the monitor was too busy" in (verdict.detail or "")
        assert verdict.figures.total_ms < 800
    else:
        assert verdict.outcome is Outcome.TOTAL_TIMEOUT


@pytest.mark.parametrize("http2", [False, True])
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_who_never_lets_us_in_is_to_blame(transports: Transports, http2: bool, scheme: str) -> None:
    with full_backlog() as port:
        at = look_of("openai-chat", base_url=f"{scheme}://127.0.0.1:{port}/v1")
        verdict = await verdict_on(at, transports.wire(http2=http2), 1.0)
    assert verdict.outcome is Outcome.CONNECT_TIMEOUT


@pytest.mark.parametrize("http2", [False, True])
async def test_who_hangs_is_to_blame_in_every_phase(
    transports: Transports, serve: Serve, http2: bool
) -> None:
    wire, url = transports.wire(http2=http2), serve(lambda peer: peer.hang()).url("/v1")
    hangs = look_of("openai-chat", base_url=url)
    assert (await verdict_on(hangs, wire, 1.0)).outcome is Outcome.TOTAL_TIMEOUT
    shakes_no_hand = look_of("openai-chat", base_url=url.replace("http:", "https:"))
    assert (await verdict_on(shakes_no_hand, wire, 1.0)).outcome is Outcome.CONNECT_TIMEOUT


async def test_a_wait_for_a_dead_address_is_not_ours(named: Named, names: NameServer, serve: Serve) -> None:
    server = serve(lambda peer: peer.hang())
    with full_backlog(socket.AF_INET6, server.port) as port:
        names.names["half.test"] = Zone(a=["127.0.0.1"], aaaa=["::1"])
        at = look_of("openai-chat", base_url=f"http://half.test:{port}/v1")
        verdict = await verdict_on(at, named(), 1.0)
    assert verdict.outcome is Outcome.TOTAL_TIMEOUT
