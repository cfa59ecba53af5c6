"""A resend over real sockets: one fresh connection more, measured by itself."""

from time import monotonic

import pytest

from monitor.core.figures import measure
from monitor.core.timeline import Timeline
from monitor.core.wire import Limits
from monitor.simulator import Profile, serve
from monitor.transport.wire import open_transports
from tests.protocols.replay import look_of

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("rejected", "learnt"),
    [
        ("stream_options", {"omit": "stream_options"}),
        ("max_tokens", {"max_tokens_field": "max_completion_tokens"}),
    ],
)
async def test_a_resend_is_measured_without_the_refusal_before_it(rejected, learnt):
    profile = Profile(headers_ms=100, ttft_ms=150, tokens_per_s=500, rejects=(rejected,), rejects_status=422)
    async with serve({"acme": profile}) as simulator, open_transports() as transports:
        chat = look_of("openai-chat", base_url=simulator.base_url("acme"))
        timeline = Timeline(start=monotonic())
        limits = Limits(deadline=timeline.start + 5, connect_s=1)
        seen = await chat.look(transports.wire(), timeline, limits, "n1", {})
        assert seen.terminal
        assert seen.learnt == learnt
        assert seen.timeline is timeline
        refused, answered = simulator.requests
        figures = measure(seen)
        truth_ms = 1000 * (answered.first_token - answered.received)
        assert figures.ttft_net_ms == pytest.approx(truth_ms, abs=50)
        assert figures.own_ms >= 1000 * (answered.received - refused.received) - 50
        assert timeline.own_s < timeline.request_sent - timeline.start

        once_more = Timeline(start=monotonic())
        limits = Limits(deadline=once_more.start + 5, connect_s=1)
        again = await chat.look(transports.wire(), once_more, limits, "n2", seen.learnt)
        assert again.terminal
        assert again.learnt == {}
        assert len(simulator.requests) == 3
