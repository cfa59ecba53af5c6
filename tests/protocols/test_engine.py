"""Chat completions against a real inference engine, over real sockets."""

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


async def look(engine: Llama, **values) -> tuple[Observation, Verdict]:
    """One look, taken again while this machine is too busy to time it."""
    chat = look_of("openai-chat", **{"base_url": engine.base_url, "model": engine.model} | values)
    async with open_transports() as transports:
        for _ in range(LOOKS):
            timeline = Timeline(start=time.monotonic())
            limits = Limits(deadline=timeline.start + 30.0, connect_s=5.0)
            seen = await chat.look(transports.wire(), timeline, limits, f"{time.monotonic_ns():x}", {})
            verdict = judge(seen, chat.expect, Learnt(), model=chat.model)
            if verdict.outcome is not Outcome.SELF_OVERLOAD:
                break
    return seen, verdict


async def test_a_real_stream_has_real_tokens_usage_and_an_end(llama):
    seen, verdict = await look(llama, max_tokens=60, body=FIXED)
    assert verdict.outcome is Outcome.OK
    assert (seen.finish_reason, seen.terminal, seen.served_model) == ("length", True, llama.model)
    assert seen.usage.output_tokens == 60
    assert verdict.figures.token_source is TokenSource.USAGE
    line = seen.timeline
    assert 2 <= len(line.tokens) <= 60
    assert line.start < line.request_sent < line.headers < line.tokens[0].at < line.terminal
    assert line.tokens[-1].at <= line.terminal == line.end
    assert seen.request_id.startswith("chatcmpl-")


async def test_a_real_answer_is_compared_with_what_was_expected(llama):
    grammar = {"grammar": 'root ::= "pong"'}
    _, verdict = await look(llama, body=grammar, expect={"answer": "Pong"})
    assert verdict.outcome is Outcome.OK
    _, verdict = await look(llama, body=grammar, expect={"answer": "ping"})
    assert verdict.outcome is Outcome.WRONG_ANSWER


async def test_a_real_refusal_of_a_key(llama_with_key):
    key = SecretText(llama_with_key.api_key)
    _, verdict = await look(llama_with_key, api_key=key)
    assert verdict.outcome is Outcome.OK
    seen, verdict = await look(llama_with_key, api_key=SecretText("wrong-key"))
    assert seen.status == 401
    assert verdict.outcome is Outcome.AUTH_FAILED


async def test_a_real_refusal_of_a_prompt_that_is_too_long(llama):
    seen, verdict = await look(llama, prompt="zq" * 2040)
    assert (seen.status, verdict.outcome) == (400, Outcome.BAD_REQUEST)
    assert seen.error.message in verdict.detail
    assert seen.learnt == {}
