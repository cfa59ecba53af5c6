"""Each behaviour does what its name says, and only that."""

import json

import anyio
import pytest

from monitor.simulator import BEHAVIOURS, Profile, serve
from tests.simulator.wire import PATIENCE_S, ask, chat, connect, request, send

pytestmark = pytest.mark.anyio

QUICK = Profile(headers_ms=0, ttft_ms=2, tokens_per_s=5000, chunk_tokens=(1,), drip_ms=5)
SILENCE_S = 0.15
"""How long nothing has to come before we believe that nothing will."""


async def behave(behaviour, *, patience_s=PATIENCE_S, profile=QUICK, **fields):
    """One chat request to a provider with that behaviour, and what the log says of it."""
    async with serve({"acme": profile}) as simulator:
        simulator.set("acme", behaviour)
        body = json.dumps(chat(**fields)).encode()
        heard = await send(simulator, "/acme/v1/chat/completions", body, patience_s=patience_s)
        (entry,) = simulator.requests
        with anyio.fail_after(PATIENCE_S):
            await simulator.until(lambda: entry.ended is not None)
        return heard, entry


def words(heard):
    return [delta["content"] for delta in heard.deltas if delta.get("content")]


def test_every_name_is_a_behaviour():
    assert BEHAVIOURS["ok"] == {}
    assert len(BEHAVIOURS) >= 25


@pytest.mark.parametrize("name", BEHAVIOURS)
async def test_no_behaviour_outlives_being_set_to_ok(name):
    async with serve({"acme": QUICK}) as simulator:
        simulator.set("acme", name)
        simulator.set("acme", "ok")
        heard = await ask(simulator, "acme")
    assert heard.finish == "length"
    assert heard.whole


@pytest.mark.parametrize(
    ("name", "status", "said"),
    [
        ("http_500", 500, "server_error"),
        ("http_503", 503, "upstream connect error"),
        ("overloaded_503", 503, "currently overloaded"),
        ("overloaded_529", 529, "overloaded_error"),
        ("rate_limited", 429, "rate_limit_exceeded"),
        ("quota_exhausted", 429, "insufficient_quota"),
        ("payment_required", 402, "Insufficient Balance"),
        ("auth_failed", 401, "invalid_api_key"),
        ("forbidden", 403, "unsupported_country_region_territory"),
        ("model_not_found", 404, "model_not_found"),
        ("bad_request", 400, "invalid_value"),
        ("error_in_200", 200, "server_error"),
    ],
)
async def test_a_refusal_has_its_status_and_its_reason(name, status, said):
    heard, entry = await behave(name)
    assert heard.status == status == entry.status
    assert said in heard.body.decode()
    assert heard.whole


async def test_throttling_says_when_to_come_back_and_quota_does_not():
    throttled, _ = await behave({"name": "rate_limited", "retry_after_s": 7})
    exhausted, _ = await behave("quota_exhausted")
    assert throttled.headers["retry-after"] == "7"
    assert throttled.headers["x-ratelimit-remaining-requests"] == "0"
    assert "retry-after" not in exhausted.headers


async def test_any_other_refusal_can_be_made_up():
    heard, _ = await behave({"refusal": {"status": 418, "body": "{}", "headers": {"x-mood": "short"}}})
    assert heard.status == 418
    assert heard.headers["x-mood"] == "short"


async def test_reset_comes_instead_of_an_answer():
    heard, entry = await behave("reset")
    assert (heard.end, heard.raw, entry.status) == ("reset", b"", None)


async def test_silent_takes_the_request_and_says_nothing():
    heard, entry = await behave("silent", patience_s=SILENCE_S)
    assert (heard.end, heard.raw, entry.status) == ("silence", b"", None)


async def test_a_first_token_hang_begins_properly_and_then_waits():
    heard, entry = await behave("first_token_hang", patience_s=SILENCE_S)
    assert (heard.end, heard.status) == ("silence", 200)
    assert [delta["role"] for delta in heard.deltas] == ["assistant"]
    assert entry.first_token is None


async def test_stalled_falls_silent_midway_and_notices_that_the_client_left():
    heard, entry = await behave("stalled", patience_s=SILENCE_S)
    assert heard.end == "silence"
    assert len(words(heard)) == 8
    assert not heard.finish
    assert entry.left


async def test_reset_midway_comes_after_some_tokens():
    heard, _ = await behave("reset_midway")
    assert heard.end == "reset"
    assert len(words(heard)) == 8


async def test_cut_off_ends_the_connection_but_not_the_message():
    heard, _ = await behave("cut_off")
    assert heard.end == "eof"
    assert not heard.whole
    assert len(words(heard)) == 8
    assert not heard.finish


async def test_truncated_ends_the_message_without_evidence():
    heard, _ = await behave("truncated")
    assert heard.whole
    assert len(words(heard)) == 8
    assert not heard.finish
    assert "[DONE]" not in heard.data


@pytest.mark.parametrize(
    ("name", "kind"), [("stream_error", "server_error"), ("stream_overloaded", "overloaded_error")]
)
async def test_an_error_in_the_stream_follows_tokens_and_a_200(name, kind):
    heard, _ = await behave(name)
    assert heard.status == 200
    assert len(words(heard)) == 8
    assert heard.events[-1]["error"]["type"] == kind
    assert heard.whole


async def test_malformed_breaks_one_event_and_nothing_else():
    heard, _ = await behave("malformed")
    broken = [data for data in heard.data if data != "[DONE]" and not data.endswith("}")]
    assert broken == ['{"id":"chatcmpl-']
    healthy = [json.loads(data) for data in heard.data if data not in (*broken, "[DONE]")]
    assert healthy[-1]["usage"]["completion_tokens"] == 20
    assert heard.data[-1] == "[DONE]"


async def test_empty_ends_properly_without_a_word():
    heard, _ = await behave("empty")
    assert words(heard) == []
    assert heard.finish == "stop"
    assert heard.events[-1]["usage"]["completion_tokens"] == 0


async def test_the_content_filter_says_that_it_was_the_filter():
    heard, _ = await behave("content_filter")
    assert heard.finish == "content_filter"
    assert heard.events[-1]["usage"]["completion_tokens"] == 8


async def test_thinking_can_eat_the_whole_budget():
    heard, _ = await behave("reasoning_eats_budget")
    assert heard.text() == ""
    assert heard.text("reasoning_content")
    assert heard.finish == "length"
    assert heard.events[-1]["usage"]["completion_tokens_details"]["reasoning_tokens"] == 20


async def test_another_model_can_answer():
    heard, _ = await behave("wrong_model")
    assert {event["model"] for event in heard.events} == {"sim-cheaper"}


async def test_a_wrong_answer_is_an_answer():
    heard, _ = await behave("wrong_answer")
    assert "pong" not in heard.text()
    assert heard.finish == "length"


async def test_keep_alives_never_become_a_token():
    async with serve({"acme": QUICK}) as simulator:
        simulator.set("acme", {"name": "keep_alives", "drip_ms": 5.0})
        heard = await listen_for(simulator, 10)
    assert heard.count(b": keep-alive\n\n") >= 10
    assert b"data:" not in heard


async def test_a_dribble_is_a_proper_answer_one_byte_at_a_time():
    async with serve({"acme": QUICK}) as simulator:
        simulator.set("acme", {"name": "dribble", "drip_ms": 1.0})
        heard = await send(simulator, "/acme/health")
        (entry,) = simulator.requests
    assert heard.body == b"ok\n"
    assert len(heard.pieces) > len(heard.raw) // 2
    assert entry.ended - entry.received >= (len(heard.raw) - 1) * 0.001


async def test_a_burst_is_one_write_at_the_end():
    profile = Profile(headers_ms=0, ttft_ms=20, tokens_per_s=400, chunk_tokens=(1,))
    heard, entry = await behave("burst", profile=profile, max_tokens=40)
    assert heard.events[-1]["usage"]["completion_tokens"] == 40
    assert entry.chunks == 1
    due = entry.received + 0.020 + 39 / 400
    assert entry.first_token == entry.last_token >= due


@pytest.mark.parametrize(
    ("name", "status", "body"),
    [("ok", 200, b"ok\n"), ("http_500", 500, None), ("wrong_answer", 200, b"not well\n"),
     ("truncated", 200, b"ok\n")],
)  # fmt: skip
async def test_plain_http_shares_what_is_not_about_tokens(name, status, body):
    async with serve({"acme": QUICK}) as simulator:
        simulator.set("acme", name)
        heard = await send(simulator, "/acme/health")
    assert heard.status == status
    assert body is None or heard.body == body


async def listen_for(simulator, comments):
    """The bytes of a stream that does not end, until that many comments have come."""
    reader, writer = await connect(simulator)
    body = json.dumps(chat()).encode()
    writer.write(request("POST", "/acme/v1/chat/completions", body, {}))
    got = b""
    while got.count(b": keep-alive") < comments:
        got += await reader.read(65536)
    writer.close()
    return got
