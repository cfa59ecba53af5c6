"""A limit that rings while we were busy: what was there in time counts, whenever we look."""

import asyncio
import time

import pytest

from monitor.clock import monotonic
from monitor.core.outcome import Outcome
from monitor.core.timeline import Timeline
from monitor.core.verdict import Learnt, Verdict, judge
from monitor.core.wire import Limits, Request, Wire
from monitor.protocols import Look
from monitor.transport.resolver import Resolver
from monitor.transport.wire import ProbeWire, Transport
from tests.protocols.replay import events, look_of
from tests.transport.conftest import Serve
from tests.transport.servers import NameServer, Peer, Zone

pytestmark = pytest.mark.anyio

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"
"""The body lasts until the server closes."""


def word(finish: str | None = None) -> bytes:
    return events({"choices": [{"index": 0, "delta": {"content": "pong "}, "finish_reason": finish}]})


async def verdict_on(at: Look, wire: Wire, timeout_s: float) -> Verdict:
    """As the pipeline takes one look."""
    timeline = Timeline(start=monotonic())
    limits = Limits(deadline=timeline.start + timeout_s, connect_s=timeout_s)
    seen = await at.look(wire, timeline, limits, "0badc0de", {})
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
        assert verdict.outcome in (Outcome.TOTAL_TIMEOUT, Outcome.SELF_OVERLOAD)
