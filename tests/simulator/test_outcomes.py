"""What a monitor should make of each behaviour: the simulator's promise, kept by the real probe."""

from datetime import timedelta
from time import monotonic

import pytest

from monitor.core.outcome import Outcome
from monitor.core.timeline import Timeline
from monitor.core.verdict import Learnt, judge
from monitor.core.wire import Limits
from monitor.protocols import registry
from monitor.simulator import BEHAVIOURS, Profile, serve
from monitor.transport.wire import open_transports

pytestmark = pytest.mark.anyio

PROFILE = Profile(headers_ms=1, ttft_ms=20, tokens_per_s=500, chunk_tokens=(1, 2), drip_ms=40)
OUTCOMES = {
    "ok": "ok",
    "slow": "slow",
    "slow_stream": "slow",
    "burst": "ok",
    "wrong_answer": "wrong_answer",
    "wrong_model": "model_swapped",
    "reasoning_eats_budget": "no_answer",
    "empty": "empty_completion",
    "content_filter": "content_filtered",
    "http_500": "http_5xx",
    "http_503": "http_5xx",
    "overloaded_503": "overloaded",
    "overloaded_529": "overloaded",
    "rate_limited": "rate_limited",
    "quota_exhausted": "quota_exhausted",
    "payment_required": "quota_exhausted",
    "auth_failed": "auth_failed",
    "forbidden": "auth_failed",
    "model_not_found": "model_removed",
    "bad_request": "bad_request",
    "error_in_200": "stream_error",
    "reset": "connection_reset",
    "silent": "first_token_timeout",
    "first_token_hang": "first_token_timeout",
    "dribble": "first_token_timeout",
    "keep_alives": "first_token_timeout",
    "stalled": "stalled",
    "reset_midway": "connection_reset",
    "cut_off": "truncated",
    "truncated": "truncated",
    "stream_error": "stream_error",
    "stream_overloaded": "overloaded",
    "malformed": "malformed_response",
}
LOOKS = 12
"""So often a look is taken again on a machine that is too busy to time one."""
SHORTER = {"slow": {"ttft_ms": 280.0}, "slow_stream": {"tokens_per_s": 50.0}}
"""The same behaviours on the scale of a test."""


def test_every_behaviour_has_its_outcome():
    assert OUTCOMES.keys() == BEHAVIOURS.keys()


def looker(simulator):
    protocol = registry()["openai-chat"]
    settings = protocol.Settings(
        id="acme/m",
        provider="acme",
        slug="m",
        provider_name="Acme",
        protocol="openai-chat",
        name="m",
        model="m",
        base_url=simulator.base_url("acme"),
        max_tokens=20,
        first_token_timeout=timedelta(milliseconds=400),
        stall_timeout=timedelta(milliseconds=300),
        expect={"answer": "pong", "ttft": timedelta(milliseconds=200), "output_speed": 150},
    )
    return protocol.prepare(settings, lambda text: text.template)


@pytest.mark.parametrize("name", OUTCOMES)
async def test_a_probe_of_each_behaviour_comes_to_the_outcome_that_is_right(name):
    async with serve({"acme": PROFILE}) as simulator, open_transports() as transports:
        look = looker(simulator)
        before = Learnt(identity=look.identity, worked=True, served_model="m")
        simulator.set("acme", {"name": name, **SHORTER.get(name, {})})
        for _ in range(LOOKS):
            began = monotonic()
            limits = Limits(deadline=began + 3, connect_s=1)
            timeline = Timeline(start=began)
            seen = await look.look(transports.wire(), timeline, limits, "nonce-1", {})
            verdict = judge(seen, look.expect, before, model="m")
            if verdict.outcome is not Outcome.SELF_OVERLOAD:
                break
        entry = simulator.requests[-1]
    assert verdict.outcome is Outcome(OUTCOMES[name]), verdict.detail
    assert entry.prompt.startswith("nonce-1")
    assert seen.request_id in (entry.request_id, None)
    if entry.first_token is not None:
        truth_ms = 1000 * (entry.first_token - entry.received)
        assert verdict.figures.ttft_net_ms == pytest.approx(truth_ms, abs=50)
