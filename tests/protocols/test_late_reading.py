"""How long bytes are left to gather before they are read, and what that leaves exact."""

import pytest

from monitor.core.figures import measure
from tests.protocols.replay import Piece, Recording, Replay, events, look, look_of, streamed

pytestmark = pytest.mark.anyio


def chunk(text: str, finish: str | None = None) -> dict[str, object]:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]}


def stream(count: int, after: float) -> Recording:
    reads = [events(chunk("word ")) for _ in range(count)]
    return streamed(*reads, events(chunk("", "stop"), "data: [DONE]"), after=after)


async def gathered(count: int, after: float) -> list[float]:
    wire = Replay(stream(count, after))
    seen = await look(look_of("openai-chat"), wire=wire)
    assert len(seen.timeline.tokens) == count
    assert seen.timeline.gathered == any(wire.gathered)
    return wire.gathered


async def test_the_first_tokens_are_read_as_they_come():
    assert not any((await gathered(64, 0.050))[:8])


async def test_bytes_never_gather_for_more_than_an_eighth_of_the_stream_so_far():
    headers_after, after = 0.100, 0.050
    for number, length in enumerate(await gathered(64, after)):
        assert length <= (headers_after + number * after) / 8 + 1e-9
        assert length <= 0.250


async def test_a_stream_that_has_just_begun_is_read_as_it_comes():
    assert not any(await gathered(12, 0.002))


async def test_a_slow_stream_is_read_in_gulps():
    assert (await gathered(64, 0.050))[-1] == pytest.approx(0.250)


async def test_a_page_is_never_left_to_gather():
    wire = Replay(Recording(headers={"content-type": "text/html"}))
    await look(look_of("http", url="https://acme.example/"), wire=wire)
    assert not any(wire.gathered)


async def test_only_the_token_that_ended_a_read_has_a_stamp_of_its_own():
    recording = streamed(
        events(chunk("a"), chunk("b"), chunk("c")), events(chunk("d")), events(chunk("", "stop"))
    )
    seen = await look(look_of("openai-chat"), recording)
    assert [token.ended_read for token in seen.timeline.tokens] == [False, False, True, True]
    assert [token.earliest < token.at for token in seen.timeline.tokens] == [True, True, False, False]


async def test_without_a_stamp_no_token_is_exact_but_speed_is_told_all_the_same():
    pieces = [Piece(events(chunk("word ")), 0.050, stamped=False) for _ in range(20)]
    end = Piece(events(chunk("", "stop")), 0.010, stamped=False)
    seen = await look(look_of("openai-chat"), Recording([*pieces, end]))
    assert all(token.ended_read for token in seen.timeline.tokens)
    figures = measure(seen)
    assert figures.ttft_uncertainty_ms == pytest.approx(2.0)
    assert figures.output_speed is not None
