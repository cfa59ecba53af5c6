"""Three protocols against a real inference engine that speaks them all, over real sockets."""

import time

import pytest

from monitor.config.secrets import SecretText
from monitor.core.figures import TokenSource
from monitor.core.observation import Observation
from monitor.core.outcome import Outcome
from monitor.core.timeline import Timeline
from monitor.core.verdict import Learnt, Verdict, judge
from monitor.core.wire import Limits
from monitor.transport.wire import open_transports
from tests.protocols.replay import look_of
from tests.support.llama import Llama

pytestmark = pytest.mark.anyio

LOOKS = 12
FIXED = {"ignore_eos": True}
"""The answer is as long as the limit."""


PROTOCOLS = ("openai-chat", "openai-responses", "anthropic")
every_protocol = pytest.mark.parametrize("protocol", PROTOCOLS)


async def look(engine: Llama, protocol: str = "openai-chat", **values) -> tuple[Observation, Verdict]:
    """One look, taken again while this machine is too busy to time it."""
    base_url = engine.base_url.removesuffix("/v1") if protocol == "anthropic" else engine.base_url
    at = look_of(protocol, **{"base_url": base_url, "model": engine.model} | values)
    async with open_transports() as transports:
        for _ in range(LOOKS):
            timeline = Timeline(start=time.monotonic())
            limits = Limits(deadline=timeline.start + 30.0, connect_s=5.0)
            seen = await at.look(transports.wire(), timeline, limits, f"{time.monotonic_ns():x}", {})
            verdict = judge(seen, at.expect, Learnt(), model=at.model)
            if verdict.outcome is not Outcome.SELF_OVERLOAD:
                break
    return seen, verdict


@every_protocol
async def test_a_real_stream_has_real_tokens_usage_and_an_end(llama, protocol):
    seen, verdict = await look(llama, protocol, max_tokens=60, body=FIXED)
    assert verdict.outcome is Outcome.OK, verdict.detail
    # It forgets `message_start` where its first token is no whole character.
    assert seen.served_model in (llama.model, None if protocol == "anthropic" else llama.model)
    assert seen.usage.output_tokens == 60
    assert verdict.figures.token_source is TokenSource.USAGE
    line = seen.timeline
    assert 2 <= len(line.tokens) <= 60
    assert line.start < line.request_sent < line.headers < line.tokens[0].at <= line.terminal
    assert line.tokens[-1].at <= line.terminal == line.end


async def test_a_real_chat_tells_its_name_and_why_it_stopped(llama):
    seen, _ = await look(llama, max_tokens=60, body=FIXED)
    assert (seen.finish_reason, seen.terminal) == ("length", True)
    assert seen.request_id.startswith("chatcmpl-")


@pytest.mark.parametrize("protocol", [name for name in PROTOCOLS if name != "anthropic"])
async def test_a_real_answer_is_compared_with_what_was_expected(llama, protocol):
    grammar = {"grammar": 'root ::= "pong"'}
    _, verdict = await look(llama, protocol, body=grammar, expect={"answer": "Pong"})
    assert verdict.outcome is Outcome.OK, verdict.detail
    _, verdict = await look(llama, protocol, body=grammar, expect={"answer": "ping"})
    assert verdict.outcome is Outcome.WRONG_ANSWER


@every_protocol
async def test_a_real_refusal_of_a_key(llama_with_key, protocol):
    key = SecretText(llama_with_key.api_key)
    _, verdict = await look(llama_with_key, protocol, api_key=key)
    assert verdict.outcome is Outcome.OK, verdict.detail
    seen, verdict = await look(llama_with_key, protocol, api_key=SecretText("wrong-key"))
    assert seen.status == 401
    assert verdict.outcome is Outcome.AUTH_FAILED


@every_protocol
async def test_a_real_refusal_of_a_prompt_that_is_too_long(llama, protocol):
    seen, verdict = await look(llama, protocol, prompt="zq" * 2040)
    assert (seen.status, verdict.outcome) == (400, Outcome.BAD_REQUEST)
    assert seen.error.message in verdict.detail
    assert seen.learnt == {}
