"""The simulated providers speak as real ones do."""

import json

import pytest

from monitor.simulator import Profile, UsageStyle, serve
from tests.simulator.wire import ask, connect, request, send

pytestmark = pytest.mark.anyio

QUICK = Profile(headers_ms=0, ttft_ms=2, tokens_per_s=5000)


def quick(**fields):
    return {"acme": Profile(**{"headers_ms": 0, "ttft_ms": 2, "tokens_per_s": 5000, **fields})}


async def test_a_stream_is_role_text_finish_usage_and_done():
    async with serve(quick(chunk_tokens=(1, 2))) as simulator:
        heard = await ask(simulator, "acme", max_tokens=4)
    assert heard.headers["content-type"].startswith("text/event-stream")
    assert heard.headers["transfer-encoding"] == "chunked"
    assert heard.whole
    role, first, second, third, finish, usage = heard.events
    assert role["choices"][0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    for event in (first, second, third):
        assert event["choices"][0]["delta"]["content"]
        assert event["choices"][0]["finish_reason"] is None
        assert event["usage"] is None
    assert finish["choices"][0]["delta"] == {}
    assert finish["choices"][0]["finish_reason"] == "length"
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == 4
    assert heard.data[-1] == "[DONE]"
    assert {event["id"] for event in heard.events} == {role["id"]}
    assert {event["object"] for event in heard.events} == {"chat.completion.chunk"}
    assert {event["model"] for event in heard.events} == {"m"}


async def test_usage_comes_only_when_it_was_asked_for():
    async with serve(quick()) as simulator:
        heard = await ask(simulator, "acme", stream_options=None)
    assert all("usage" not in event for event in heard.events)
    assert heard.data[-1] == "[DONE]"


async def test_usage_counts_tokens_whatever_the_chunks_are():
    async with serve(quick()) as simulator:
        heard = await ask(simulator, "acme", max_tokens=64)
        (entry,) = simulator.requests
    chunks = sum(bool(delta.get("content")) for delta in heard.deltas)
    assert heard.events[-1]["usage"]["completion_tokens"] == 64
    assert chunks < 64
    assert (entry.tokens, entry.chunks) == (64, chunks)


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
async def test_either_name_of_the_limit_is_honoured(name):
    async with serve(quick()) as simulator:
        heard = await ask(simulator, "acme", **{"max_tokens": None, name: 7})
    assert heard.events[-1]["usage"]["completion_tokens"] == 7
    assert heard.finish == "length"


async def test_an_answer_that_fits_stops_by_itself():
    async with serve(quick(answer_tokens=5)) as simulator:
        heard = await ask(simulator, "acme", max_tokens=20)
    assert heard.finish == "stop"
    assert heard.events[-1]["usage"]["completion_tokens"] == 5


async def test_an_answer_opens_with_pong_and_is_never_the_same_twice():
    async with serve(quick()) as simulator:
        one, other = await ask(simulator, "acme"), await ask(simulator, "acme")
    assert one.text().startswith("pong.")
    assert other.text().startswith("pong.")
    assert one.text() != other.text()


async def test_a_run_can_be_repeated():
    texts = []
    for _ in range(2):
        async with serve(quick(jitter=0.4)) as simulator:
            texts.append([(await ask(simulator, "acme")).text() for _ in range(3)])
    assert texts[0] == texts[1]


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
async def test_thinking_comes_first_in_a_field_of_its_own(name):
    async with serve(quick(reasoning_tokens=10, reasoning_field=name)) as simulator:
        heard = await ask(simulator, "acme", max_tokens=16)
    spoken = [next(iter(delta)) for delta in heard.deltas[1:-1]]
    assert spoken == sorted(spoken, key=[name, "content"].index)
    assert heard.text(name)
    assert heard.text().startswith("pong.")
    usage = heard.events[-1]["usage"]
    assert usage["completion_tokens"] == 16
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 10


async def test_hidden_thinking_is_counted_and_not_shown():
    async with serve(quick(reasoning_tokens=10, reasoning_field="")) as simulator:
        heard = await ask(simulator, "acme", max_tokens=16)
        (entry,) = simulator.requests
    assert heard.events[-1]["usage"]["completion_tokens"] == 16
    assert entry.tokens == 6
    assert heard.text().startswith("pong.")


async def test_every_reply_is_labelled_and_numbered():
    async with serve(quick()) as simulator:
        replies = [
            await ask(simulator, "acme"),
            await ask(simulator, "acme", messages=[]),
            await send(simulator, "/acme/health"),
            await send(simulator, "/fast/17"),
            await send(simulator, "/nobody/health"),
        ]
        logged = [entry.request_id for entry in simulator.requests]
    assert all(reply.headers["x-simulated"] == "true" for reply in replies)
    assert [reply.headers["x-request-id"] for reply in replies] == logged
    assert [reply.status for reply in replies] == [200, 400, 200, 200, 404]


async def test_usage_may_come_unasked_with_the_finish_reason():
    async with serve(quick(usage=UsageStyle.ALWAYS)) as simulator:
        heard = await ask(simulator, "acme", stream_options=None, max_tokens=9)
    last = heard.events[-1]
    assert last["choices"][0]["finish_reason"] == "length"
    assert last["usage"]["completion_tokens"] == 9


async def test_usage_may_never_come():
    async with serve(quick(usage=UsageStyle.NEVER)) as simulator:
        heard = await ask(simulator, "acme")
    assert all(event.get("usage") is None for event in heard.events)


async def test_without_stream_the_answer_is_one_document():
    async with serve(quick(reasoning_tokens=3)) as simulator:
        heard = await ask(simulator, "acme", stream=None, stream_options=None, max_tokens=12)
    document = heard.json
    assert document["object"] == "chat.completion"
    assert document["choices"][0]["message"]["content"].startswith("pong.")
    assert document["choices"][0]["message"]["reasoning_content"]
    assert document["usage"]["completion_tokens"] == 12


async def test_a_rejected_field_is_named_as_openai_does():
    async with serve(quick(rejects=("max_tokens",))) as simulator:
        heard = await ask(simulator, "acme")
        accepted = await ask(simulator, "acme", max_tokens=None, max_completion_tokens=8)
    assert heard.status == 400
    assert heard.json["error"]["code"] == "unsupported_parameter"
    assert heard.json["error"]["param"] == "max_tokens"
    assert "max_completion_tokens" in heard.json["error"]["message"]
    assert accepted.status == 200


async def test_a_rejected_field_is_named_as_mistral_does():
    async with serve(quick(rejects=("stream_options",), rejects_status=422)) as simulator:
        heard = await ask(simulator, "acme")
        accepted = await ask(simulator, "acme", stream_options=None)
    assert heard.status == 422
    assert heard.json["message"]["detail"][0]["loc"] == ["body", "stream_options"]
    assert accepted.status == 200


async def test_a_provider_with_a_key_lets_nobody_else_in():
    async with serve(quick(key="sk-right")) as simulator:
        path, body = "/acme/v1/chat/completions", json.dumps({"model": "m", "messages": [{"content": "x"}]})
        without = await ask(simulator, "acme")
        wrong = await ask(simulator, "acme", key="sk-wrong-key-of-mine")
        bearer = await ask(simulator, "acme", key="sk-right")
        azure = await send(simulator, path, body.encode(), headers={"api-key": "sk-right"})
    assert (without.status, wrong.status, bearer.status, azure.status) == (401, 401, 200, 200)
    assert wrong.json["error"]["code"] == "invalid_api_key"
    assert "wrong-key" not in wrong.json["error"]["message"]


async def test_an_unknown_model_is_not_found():
    async with serve(quick(models=("m-1", "m-2"))) as simulator:
        known = await ask(simulator, "acme", model="m-2")
        unknown = await ask(simulator, "acme", model="m-3")
    assert known.status == 200
    assert unknown.status == 404
    assert unknown.json["error"]["code"] == "model_not_found"


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b'{"messages": [{"content": "x"}]}', b'{"model": "m"}', b'{"model": "m", "messages": []}',
     b'{"model": "m", "messages": [{"content": "x"}], "max_tokens": 0}',
     b'{"model": "m", "messages": [{"content": "x"}], "max_tokens": true}'],
)  # fmt: skip
async def test_a_request_that_makes_no_sense_is_refused_with_a_reason(body):
    async with serve(quick()) as simulator:
        heard = await send(simulator, "/acme/v1/chat/completions", body)
    assert heard.status == 400
    assert heard.json["error"]["message"]
    assert heard.json["error"]["type"] == "invalid_request_error"


async def test_a_connection_lives_on_if_the_client_likes():
    async with serve(quick()) as simulator:
        reader, writer = await connect(simulator)
        for _ in range(3):
            writer.write(request("GET", "/acme/health", b"", {"connection": "keep-alive"}))
            head = await reader.readuntil(b"\r\n\r\n")
            assert b"connection: keep-alive" in head
            assert await reader.readexactly(3) == b"ok\n"
        writer.write(request("HEAD", "/acme/health", b"", {}))
        rest = await reader.read()
        writer.close()
    assert rest.endswith(b"\r\n\r\n")
    assert b"content-length: 3" in rest


async def test_a_request_may_arrive_byte_by_byte():
    async with serve(quick()) as simulator:
        reader, writer = await connect(simulator)
        for byte in request("GET", "/acme/health", b"", {}):
            writer.write(bytes([byte]))
            await writer.drain()
        rest = await reader.read()
        writer.close()
    assert rest.startswith(b"HTTP/1.1 200 OK\r\n")


async def test_bytes_that_are_not_http_are_refused():
    async with serve(quick()) as simulator:
        reader, writer = await connect(simulator)
        writer.write(b"\x16\x03\x01\x00\xff hello\r\n\r\n")
        rest = await reader.read()
        writer.close()
    assert rest.startswith(b"HTTP/1.1 400 ")
