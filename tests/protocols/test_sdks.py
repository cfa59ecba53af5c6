"""A second opinion: the vendors' own SDKs read the same bytes from the same server as we do."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from statistics import median
from time import monotonic
from typing import Any

import anthropic
import openai
import pytest

from monitor.core.figures import measure
from monitor.core.observation import Observation
from monitor.core.outcome import Outcome
from monitor.core.timeline import Channel, Timeline
from monitor.core.verdict import Learnt, judge
from monitor.core.wire import Limits
from monitor.simulator import Profile, serve
from monitor.transport.wire import open_transports
from tests.protocols.playing import playing
from tests.protocols.replay import KEY, look_of
from tests.protocols.script import ANSWER, Case, script

pytestmark = pytest.mark.anyio

LOOKS = 5
"""At most."""
READY = object()
"""The client is made, which takes a tenth of a second: what follows is the call."""
ASKED = [{"role": "user", "content": "Say pong."}]


@dataclass
class Heard:
    """What an SDK made of a stream."""

    text: str = ""
    finish_reason: str | None = None
    counted: tuple[int, int] | None = None
    """Tokens in and out."""
    stamps: list[float] = field(default_factory=list)
    """When it handed us text, in seconds from the call."""


async def chat(url: str) -> AsyncIterator[Any]:
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0) as client:
        async for heard in _completions(client):
            yield heard


async def azure(url: str) -> AsyncIterator[Any]:
    async with openai.AsyncAzureOpenAI(
        azure_endpoint=url, api_key=KEY, api_version="2024-10-21", max_retries=0
    ) as client:
        async for heard in _completions(client):
            yield heard


async def _completions(client: openai.AsyncOpenAI) -> AsyncIterator[Any]:
    yield READY
    stream = await client.chat.completions.create(
        model="acme-1", messages=ASKED, stream=True, stream_options={"include_usage": True}
    )
    async for chunk in stream:
        if chunk.usage:
            yield (chunk.usage.prompt_tokens, chunk.usage.completion_tokens)
        for choice in chunk.choices:
            yield choice.delta.content or "" if choice.delta else ""
            yield {"finish": choice.finish_reason} if choice.finish_reason else None


async def responses(url: str) -> AsyncIterator[Any]:
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0) as client:
        yield READY
        async for event in await client.responses.create(model="acme-1", input="Say pong.", stream=True):
            if event.type == "response.output_text.delta":
                yield event.delta
            if event.type in ("response.completed", "response.incomplete"):
                ended = event.response
                yield {
                    "finish": ended.incomplete_details.reason if ended.incomplete_details else ended.status
                }
                yield (ended.usage.input_tokens, ended.usage.output_tokens) if ended.usage else None


async def messages(url: str) -> AsyncIterator[Any]:
    async with anthropic.AsyncAnthropic(base_url=url, api_key=KEY, max_retries=0) as client:
        yield READY
        async with client.messages.stream(model="acme-1", messages=ASKED, max_tokens=64) as stream:
            async for text in stream.text_stream:
                yield text
            ended = await stream.get_final_message()
        yield {"finish": ended.stop_reason}
        yield (ended.usage.input_tokens, ended.usage.output_tokens)


SDKS: dict[str, Callable[[str], AsyncIterator[Any]]] = {
    "openai-chat": chat,
    "azure-openai": azure,
    "openai-responses": responses,
    "anthropic": messages,
}
every_sdk = pytest.mark.parametrize("protocol", SDKS)


async def hear(protocol: str, url: str) -> Heard:
    heard, start = Heard(), monotonic()
    async for piece in SDKS[protocol](url):
        if piece is READY:
            start = monotonic()
        elif isinstance(piece, str) and piece:
            heard.text += piece
            heard.stamps.append(monotonic() - start)
        elif isinstance(piece, dict):
            heard.finish_reason = piece["finish"]
        elif isinstance(piece, tuple):
            heard.counted = piece
    return heard


async def look(protocol: str, url: str) -> Observation:
    path = script(protocol).BASE_URL.split("://")[1].partition("/")[2]
    at = look_of(protocol, base_url=f"{url}/{path}".rstrip("/"))
    timeline = Timeline(start=monotonic())
    async with open_transports() as transports:
        return await at.look(
            transports.wire(), timeline, Limits(deadline=timeline.start + 20, connect_s=5), "n1", {}
        )


def our_times(seen: list[Observation]) -> tuple[float, float]:
    """Seconds to the first piece of the answer and from there to the last; medians of what we saw."""
    answers = [[token.at for token in each.timeline.tokens if token.channel is ANSWER] for each in seen]
    firsts = [(measure(each).ttft_ms or 0.0) / 1000 for each in seen]
    return median(firsts), median(answer[-1] - answer[0] for answer in answers)


def their_times(heard: list[Heard]) -> tuple[float, float]:
    """The same as an SDK told them. It can be late and never early, so the best of each counts."""
    first = min(each.stamps[0] for each in heard)
    return first, min(each.stamps[-1] for each in heard) - first


def cases(protocol: str, *titles: str) -> list[Case]:
    return [replace(script(protocol).CASES[title], every_s=0.0) for title in titles]


@every_sdk
@pytest.mark.parametrize("title", ["ok", "reasons first", "calls a tool", "one burst", "all of it reasoning"])
async def test_text_usage_and_the_reason_for_the_end_are_equal(protocol, title):
    (case,) = cases(protocol, title)
    async with playing(case) as played:
        heard = await hear(protocol, played.url)
        seen = await look(protocol, played.url)
    assert seen.answer == heard.text == case.answer
    assert seen.finish_reason == heard.finish_reason
    counted = None if seen.usage is None else (seen.usage.input_tokens, seen.usage.output_tokens)
    assert counted == heard.counted


@every_sdk
@pytest.mark.parametrize(
    ("title", "outcome"),
    [
        ("wrong key", Outcome.AUTH_FAILED),
        ("too fast", Outcome.RATE_LIMITED),
        ("bad request", Outcome.BAD_REQUEST),
        ("no such model", Outcome.MODEL_NOT_FOUND),
        ("server error", Outcome.HTTP_5XX),
        ("error before any token", Outcome.STREAM_ERROR),
        ("error in mid-stream", Outcome.STREAM_ERROR),
    ],
)
async def test_what_is_an_error_to_the_sdk_is_one_to_us(protocol, title, outcome):
    (case,) = cases(protocol, title)
    async with playing(case) as played:
        if protocol == "openai-responses" and title.startswith("error"):
            # To the SDK these are events like any other.
            heard = await hear(protocol, played.url)
            assert heard.finish_reason is None
        else:
            with pytest.raises((openai.APIError, anthropic.APIError)) as refused:
                await hear(protocol, played.url)
            assert getattr(refused.value, "status_code", case.status) == case.status
        seen = await look(protocol, played.url)
    assert judge(seen, look_of(protocol).expect, Learnt(), model="acme-1").outcome is outcome


@every_sdk
async def test_the_times_are_equal_within_three_percent(protocol):
    """Over 0.6 s to the first token. An SDK's own work makes it late at times: then both look again."""
    ok = script(protocol).CASES["ok"]
    events = ok.body.split(b"\n\n")
    before = next(place for place, event in enumerate(events) if b'"pong"' in event)
    async with playing(replace(ok, every_s=0.0)) as played:
        await hear(protocol, played.url)  # imports and caches of the SDK
    async with playing(replace(ok, every_s=0.6 / (before + 1))) as played:
        heard, seen = [], []
        for _ in range(LOOKS):
            heard.append(await hear(protocol, played.url))
            seen.append(await look(protocol, played.url))
            ours, theirs = our_times(seen), their_times(heard)
            if ours == pytest.approx(theirs, rel=0.03):
                break
    assert ours == pytest.approx(theirs, rel=0.03)
    sent = played.sent[-1]
    assert ours[0] == pytest.approx(sent[before + 1] - sent[0], rel=0.03)


@every_sdk
async def test_the_simulated_providers_speak_as_the_real_ones_do(protocol):
    profile = Profile(headers_ms=0, ttft_ms=5, tokens_per_s=2000, answer_tokens=20, reasoning_tokens=6)
    async with serve({"acme": profile}) as simulator:
        heard = await hear(protocol, f"{simulator.url}/acme")
        seen = await look(protocol, f"{simulator.url}/acme")
    assert heard.text.startswith("pong")
    assert seen.answer.startswith("pong")
    assert heard.finish_reason == seen.finish_reason
    assert heard.counted[1] == seen.usage.output_tokens == 26
    assert seen.timeline.first(Channel.REASONING) is not None
