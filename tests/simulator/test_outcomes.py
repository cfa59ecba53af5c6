"""What a monitor should make of each behaviour: the simulator's promise, kept by the real probe."""

from dataclasses import replace
from datetime import timedelta
from time import monotonic

import pytest

from monitor.config.secrets import SecretText
from monitor.core.outcome import Outcome
from monitor.core.timeline import Channel, Timeline
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


OTHERS = {"openai-responses": "/v1", "anthropic": "", "gemini": "/v1beta", "azure-openai": ""}
"""The other voices of the same providers, and what their base_url ends in."""
IN_ITS_OWN_WORDS = (
    "ok", "burst", "wrong_answer", "wrong_model", "reasoning_eats_budget", "empty", "content_filter", "auth_failed",
    "quota_exhausted", "error_in_200", "keep_alives", "stalled", "reset_midway", "cut_off", "truncated",
    "stream_error", "stream_overloaded", "malformed",
)  # fmt: skip
"""Behaviours that a voice has a part in."""
CASES = [("openai-chat", name) for name in OUTCOMES]
CASES += [(protocol, name) for protocol in OTHERS for name in IN_ITS_OWN_WORDS]


def looker(simulator, name, **more):
    protocol = registry()[name]
    base_url = simulator.base_url("acme").removesuffix("/v1") + OTHERS.get(name, "/v1")
    settings = protocol.Settings(
        id="acme/m",
        provider="acme",
        slug="m",
        provider_name="Acme",
        protocol=name,
        name="m",
        model="m",
        base_url=base_url,
        max_tokens=20,
        first_token_timeout=timedelta(milliseconds=400),
        stall_timeout=timedelta(milliseconds=300),
        expect={"answer": "pong", "ttft": timedelta(milliseconds=200), "output_speed": 150},
        **more,
    )
    return protocol.prepare(settings, lambda text: text.template)


@pytest.mark.parametrize(("protocol", "name"), CASES)
async def test_a_probe_of_each_behaviour_comes_to_the_outcome_that_is_right(protocol, name):
    async with serve({"acme": PROFILE}) as simulator, open_transports() as transports:
        look = looker(simulator, protocol)
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
    if name == "ok":
        assert verdict.figures.output_tokens == 20
        assert verdict.figures.token_source == "usage"
    if entry.first_token is not None:
        truth_ms = 1000 * (entry.first_token - entry.received)
        assert verdict.figures.ttft_net_ms == pytest.approx(truth_ms, abs=50)


@pytest.mark.parametrize("protocol", ["openai-chat", *OTHERS])
async def test_thinking_is_shown_or_kept_back_and_counted_in_every_voice(protocol):
    thinks = {"reasoning_tokens": 8, "tokens_per_s": 2000.0}
    async with serve({"acme": PROFILE}) as simulator, open_transports() as transports:
        look = looker(simulator, protocol)
        for field in ("reasoning_content", ""):
            simulator.set("acme", thinks | {"reasoning_field": field})
            timeline = Timeline(start=monotonic())
            limits = Limits(deadline=timeline.start + 3, connect_s=1)
            seen = await look.look(transports.wire(), timeline, limits, "nonce-1", {})
            assert (timeline.first(Channel.REASONING) is not None) is bool(field)
            assert timeline.first(Channel.ANSWER) is not None
            assert seen.usage.output_tokens == 20
            assert seen.usage.reasoning_tokens == (None if protocol == "anthropic" else 8)


@pytest.mark.parametrize("protocol", ["openai-chat", *OTHERS])
async def test_a_key_is_looked_for_where_each_vendor_has_it(protocol):
    async with (
        serve({"acme": replace(PROFILE, key="sk-right")}) as simulator,
        open_transports() as transports,
    ):
        for key, status in (("sk-right", 200), ("sk-wrong", 401)):
            look = looker(simulator, protocol, api_key=SecretText(key))
            timeline = Timeline(start=monotonic())
            limits = Limits(deadline=timeline.start + 3, connect_s=1)
            seen = await look.look(transports.wire(), timeline, limits, "nonce-1", {})
            assert seen.status == status
