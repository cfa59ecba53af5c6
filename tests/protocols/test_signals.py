"""What every protocol tells of the stream itself, and of who answered."""

import pytest

from monitor.core.figures import TokenSource, measure
from monitor.core.observation import BODY_KEPT, Observation, Timer, Usage
from tests.protocols.conversations import chunk
from tests.protocols.replay import Recording, events, look, look_of, streamed

pytestmark = pytest.mark.anyio

PONG = chunk({"content": "pong"}, "stop")
DONE = "data: [DONE]"


async def seen(*said: object, **settings: object) -> Observation:
    return await look(look_of("openai-chat", **settings), streamed(events(*said, DONE)))


# Who answered


async def test_build_and_upstream_are_read_from_the_first_chunk_that_names_them():
    found = await seen(
        {"choices": [], "system_fingerprint": None, "provider": ""},
        {**PONG, "system_fingerprint": "fp_44709d6fcb", "provider": "DeepInfra"},
        {"choices": [], "system_fingerprint": "fp_later", "provider": "Later"},
    )
    assert (found.fingerprint, found.upstream) == ("fp_44709d6fcb", "DeepInfra")


@pytest.mark.parametrize("value", [None, "", 7, ["x"], {"a": 1}, True])
async def test_what_is_no_name_is_none(value: object):
    found = await seen({**PONG, "system_fingerprint": value, "provider": value})
    assert (found.fingerprint, found.upstream) == (None, None)


async def test_names_are_cleaned_and_bounded():
    found = await seen({**PONG, "system_fingerprint": "fp\x00\x1b[2J" + "x" * 9999, "provider": "a\nb"})
    assert found.fingerprint is not None
    assert found.fingerprint.isprintable()
    assert len(found.fingerprint) <= BODY_KEPT
    assert found.upstream == "a b"


@pytest.mark.parametrize(
    ("header", "upstream"),
    [
        ("https://api.openai.com/v1", "api.openai.com"),
        ("http://user:pass@10.1.2.3:8000/v1?key=x", "10.1.2.3:8000"),
        ("https://", None),
        ("api.openai.com", None),
        ("", None),
    ],
)
async def test_litellm_names_its_upstream_in_a_header(header: str, upstream: str | None):
    recording = Recording(streamed(events(PONG, DONE)).pieces, headers={"x-litellm-model-api-base": header})
    assert (await look(look_of("openai-chat"), recording)).upstream == upstream


async def test_what_the_stream_says_of_its_upstream_holds_over_the_header():
    recording = Recording(
        streamed(events({**PONG, "provider": "Azure"}, DONE)).pieces,
        headers={"x-litellm-model-api-base": "https://api.openai.com"},
    )
    assert (await look(look_of("openai-chat"), recording)).upstream == "Azure"


# Whether the usage was asked for


async def test_the_usage_is_missed_only_where_it_was_asked_for():
    assert (await seen(PONG)).usage_asked
    assert not (await seen(PONG, omit=("stream_options",))).usage_asked
    assert not (await seen(PONG, body={"stream_options": {"include_usage": False}})).usage_asked
    assert not (await seen(PONG, body={"stream_options": {}})).usage_asked
    learnt = {"omit": "stream_options"}
    found = await look(look_of("openai-chat"), streamed(events(PONG, DONE)), learnt=learnt)
    assert not found.usage_asked


@pytest.mark.parametrize("protocol", ["anthropic", "gemini", "openai-responses"])
async def test_other_protocols_send_it_unasked(protocol: str):
    assert (await look(look_of(protocol), streamed(b"data: {}\n\n"))).usage_asked


# Keep-alives


ROLE = chunk({"role": "assistant", "content": ""})


async def test_comments_and_events_without_text_are_counted_until_the_time_was_up():
    said = [b": keep-alive\n\n", events(ROLE), b": keep-alive\n\n", events({"choices": []})]
    found = await look(look_of("openai-chat"), streamed(*said, after=1.0, ending="open"), timeout=9.0)
    assert (found.timer, found.keep_alives) == (Timer.TOTAL, 4)


async def test_a_silent_stream_has_none():
    found = await look(look_of("openai-chat"), streamed(ending="open"), timeout=9.0)
    assert (found.timer, found.keep_alives) == (Timer.TOTAL, 0)


async def test_where_text_came_nothing_came_in_its_place():
    said = [b": keep-alive\n\n", events(ROLE), events(chunk({"content": "pong"}))]
    found = await look(look_of("openai-chat"), streamed(*said, ending="open"), timeout=9.0)
    assert (found.keep_alives, len(found.timeline.tokens)) == (0, 1)


# What it counted


@pytest.mark.parametrize(("fed", "generated"), [(900_000_000, 5), (40, 999_999_999)])
async def test_a_usage_that_cannot_be_true_is_none(fed: int, generated: int):
    said = chunk(usage={"prompt_tokens": fed, "completion_tokens": generated})
    found = await seen(PONG, said)
    assert found.usage is None
    figures = measure(found)
    assert figures.token_source is TokenSource.ESTIMATE
    assert (figures.output_tokens or 0) < 10


async def test_hidden_reasoning_beyond_our_limit_is_believed():
    said = chunk(usage={"prompt_tokens": 40, "completion_tokens": 20_000})
    assert (await seen(PONG, said, max_tokens=16)).usage == Usage(input_tokens=40, output_tokens=20_000)
