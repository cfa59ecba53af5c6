"""Tests and benchmarks switch behaviours over HTTP or in process, and read what happened."""

import json

import anyio
import pytest

from monitor.simulator import Profile, Scenario, Step, serve
from tests.simulator.wire import ask, chat, connect, request, send

pytestmark = pytest.mark.anyio

QUICK = Profile(headers_ms=0, ttft_ms=2, tokens_per_s=5000)


async def control(simulator, **wish):
    return await send(simulator, "/_control", json.dumps(wish).encode())


async def test_a_behaviour_can_be_set_over_http():
    async with serve({"acme": QUICK, "other": QUICK}) as simulator:
        assert (await control(simulator, provider="acme", behaviour="http_503")).status == 200
        assert (await ask(simulator, "acme")).status == 503
        assert (await ask(simulator, "other")).status == 200
        await control(simulator, provider="acme", behaviour={"name": "rate_limited", "retry_after_s": 3})
        assert (await ask(simulator, "acme")).headers["retry-after"] == "3"
        await control(simulator, provider="acme", behaviour="ok")
        assert (await ask(simulator, "acme")).status == 200


async def test_a_provider_can_be_added_over_http():
    async with serve({}) as simulator:
        await control(
            simulator, provider="bench", profile={"ttft_ms": 1, "models": ["m"], "chunk_tokens": [4]}
        )
        heard = await ask(simulator, "bench", max_tokens=8)
        (entry,) = simulator.requests
    assert heard.status == 200
    assert entry.chunks == 2


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"provider": "acme", "behaviour": "htpp_503"}, "no behaviour 'htpp_503'"),
        ({"provider": "acme", "behaviour": {"tftt_ms": 1}}, "no 'tftt_ms'"),
        ({"provider": "acme", "behaviour": {"ttft_ms": "1"}}, "ttft_ms"),
        ({"provider": "acme", "behaviour": {"ttft_ms": -1}}, "negative"),
        ({"provider": "acme", "behaviour": {"fault": "sulk"}}, "sulk"),
        ({"provider": "acme", "behaviour": {"chunk_tokens": []}}, "chunk_tokens"),
        ({"provider": "acme", "behaviour": {"refusal": {}}}, "refusal"),
        ({"provider": "nobody", "behaviour": "ok"}, "no provider 'nobody'"),
        ({"provider": "_log", "profile": {}}, "cannot be a provider"),
        ({"behaviour": "ok"}, "provider"),
    ],
)
async def test_a_wish_that_makes_no_sense_changes_nothing_and_is_explained(wish, said):
    async with serve({"acme": QUICK}) as simulator:
        heard = await control(simulator, **wish)
        still = await ask(simulator, "acme")
    assert heard.status == 400
    assert said in heard.json["error"]["message"]
    assert still.status == 200


async def test_the_log_tells_what_was_asked_and_what_became_of_it():
    async with serve({"acme": QUICK}) as simulator:
        await ask(simulator, "acme", max_tokens=5)
        simulator.set("acme", "http_500")
        await send(simulator, "/acme/health")
        await send(simulator, "/fast/endpoint-9")
        stream, health, fast = (await send(simulator, "/_log")).json["requests"]
        later = (await send(simulator, "/_log?after=2")).json["requests"]
    assert (stream["provider"], stream["model"], stream["status"], stream["tokens"]) == ("acme", "m", 200, 5)
    assert stream["prompt"].startswith("nonce-1 ")
    assert stream["received"] < stream["first_token"] < stream["last_token"] <= stream["ended"]
    assert (health["path"], health["status"]) == ("/acme/health", 500)
    assert (fast["path"], fast["provider"]) == ("/fast/endpoint-9", "")
    assert later == [fast]


@pytest.mark.parametrize("name", ["http_503", "silent", "reset"])
async def test_the_log_knows_the_nonce_of_a_request_that_got_no_answer(name):
    async with serve({"acme": QUICK}) as simulator:
        simulator.set("acme", name)
        body = json.dumps(chat()).encode()
        await send(simulator, "/acme/v1/chat/completions", body, patience_s=0.05)
        (entry,) = simulator.requests
    assert entry.prompt.startswith("nonce-1 ")
    assert entry.model == "m"


async def test_what_the_simulator_is_asked_about_itself_is_not_logged():
    async with serve({"acme": QUICK}) as simulator:
        about = (await send(simulator, "/")).json
        await ask(simulator, "acme")
        stats = (await send(simulator, "/_stats")).json
        assert len(simulator.requests) == 1
    assert about["simulated"] is True
    assert about["providers"] == {"acme": "ok"}
    assert (stats["requests"], stats["streams"]) == (1, 1)
    assert stats["cpu_per_stream_ms"] > 0


async def test_an_answer_that_has_begun_goes_on_as_it_was():
    slow = Profile(headers_ms=0, ttft_ms=1, tokens_per_s=200)
    calm_then_gone = Scenario(
        profiles={"acme": slow}, steps=(Step(0.05, "acme", "http_503", "answers 503"),), period_s=1000
    )
    async with serve(calm_then_gone) as simulator:
        before = await ask(simulator, "acme", max_tokens=30)
        after = await ask(simulator, "acme")
    assert (before.status, before.finish, after.status) == (200, "length", 503)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
async def test_it_serves_nobody_but_this_machine(host):
    with pytest.raises(ValueError, match="loopback"):
        async with serve({}, host=host):
            pass


async def test_ipv6_is_loopback_too():
    async with serve({"acme": QUICK}, host="::1") as simulator:
        assert simulator.url.startswith("http://[::1]:")
        assert (await send(simulator, "/acme/health")).status == 200


async def test_the_end_of_the_server_leaves_no_connection_open():
    async with serve({"acme": QUICK}) as simulator:
        simulator.set("acme", "silent")
        reader, writer = await connect(simulator)
        writer.write(request("GET", "/acme/health", b"", {}))
        with anyio.fail_after(5):
            await simulator.until(lambda: len(simulator.requests) == 1)
    (entry,) = simulator.requests
    assert entry.ended
    assert not entry.left
    assert await reader.read() == b""
    writer.close()
