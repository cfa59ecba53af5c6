"""Chunks leave on time, and the log says when they left."""

import statistics

import anyio
import pytest

from monitor.simulator import Profile, serve
from tests.simulator.wire import ask

pytestmark = pytest.mark.anyio

SLACK_S = 0.005
"""A shared machine may keep a chunk back this long, seen as the median of many."""


def arrivals(heard):
    """When each chunk with text came to the client."""
    return [
        at
        for at, data in heard.pieces
        for _ in range(data.count(b'"content":"') - data.count(b'content":""'))
    ]


async def test_every_chunk_leaves_when_its_last_token_is_ready():
    steady = Profile(headers_ms=0, ttft_ms=60, tokens_per_s=100, chunk_tokens=(1, 3))
    async with serve({"acme": steady}) as simulator:
        heard = await ask(simulator, "acme", max_tokens=24)
        (entry,) = simulator.requests
    ready = [stop for start in range(0, 24, 4) for stop in (start + 1, start + 4)]
    due = [entry.received + 0.060 + (stop - 1) / 100 for stop in ready]
    came = arrivals(heard)
    late = [at - moment for at, moment in zip(came, due, strict=True)]
    assert min(late) >= 0
    assert statistics.median(late) < SLACK_S


async def test_the_log_is_the_truth_that_a_client_sees():
    steady = Profile(headers_ms=0, ttft_ms=40, tokens_per_s=200, chunk_tokens=(1,))
    async with serve({"acme": steady}) as simulator:
        replies = [await ask(simulator, "acme", max_tokens=16) for _ in range(5)]
        entries = simulator.requests
    first = [arrivals(heard)[0] - entry.first_token for heard, entry in zip(replies, entries, strict=True)]
    last = [arrivals(heard)[-1] - entry.last_token for heard, entry in zip(replies, entries, strict=True)]
    assert min(first + last) >= 0
    assert statistics.median(first) < SLACK_S
    assert statistics.median(last) < SLACK_S


async def test_the_speed_of_a_stream_is_that_of_its_profile():
    steady = Profile(headers_ms=0, ttft_ms=10, tokens_per_s=250, chunk_tokens=(2, 5, 1))
    async with serve({"acme": steady}) as simulator:
        await ask(simulator, "acme", max_tokens=102)
        (entry,) = simulator.requests
    assert (entry.tokens - 2) / (entry.last_token - entry.first_token) == pytest.approx(250, rel=0.03)


async def test_jitter_moves_the_first_token_both_ways_within_its_bounds():
    profile = Profile(headers_ms=0, ttft_ms=50, tokens_per_s=2000, jitter=0.4)
    async with serve({"acme": profile}) as simulator, anyio.create_task_group() as together:
        for _ in range(30):
            together.start_soon(ask, simulator, "acme")
    first = sorted(entry.first_token - entry.received for entry in simulator.requests)
    assert first[0] >= 0.030
    assert first[0] < 0.045
    assert first[-1] > 0.055


async def test_thinking_takes_its_time_even_where_it_is_hidden():
    profile = Profile(headers_ms=0, ttft_ms=10, tokens_per_s=200, reasoning_tokens=20, reasoning_field="")
    async with serve({"acme": profile}) as simulator:
        await ask(simulator, "acme", max_tokens=30)
        (entry,) = simulator.requests
    assert entry.first_token - entry.received >= 0.010 + 20 / 200


async def test_hundreds_of_streams_do_not_delay_one_another():
    profile = Profile(headers_ms=0, ttft_ms=150, tokens_per_s=100, chunk_tokens=(1,))
    async with serve({"acme": profile}) as simulator, anyio.create_task_group() as together:
        for _ in range(100):
            together.start_soon(ask, simulator, "acme")
    took = [entry.last_token - entry.received for entry in simulator.requests]
    assert len(took) == 100
    assert statistics.median(took) == pytest.approx(0.150 + 19 / 100, abs=0.2)
    assert simulator.figures()["chunks"] == 2000
