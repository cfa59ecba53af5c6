"""What is cheap to send and dear to understand: it must cost nobody else a moment that counts."""

import asyncio
import json

import pytest

from monitor.core.outcome import Outcome
from monitor.core.verdict import Learnt, Verdict, judge
from monitor.protocols._reading import BITE_BYTES
from tests.protocols.replay import Piece, Recording, events, look, look_of
from tests.protocols.test_scripts import every_model

pytestmark = pytest.mark.anyio

READ = 64 * 1024
DONE = events({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}, "data: [DONE]")


def word(text: str = "word ") -> bytes:
    return events({"choices": [{"index": 0, "delta": {"content": text}}]})


def in_reads(stream: bytes) -> Recording:
    """As a server sends it that never pauses."""
    return Recording([Piece(stream[at : at + READ], 0.000_1) for at in range(0, len(stream), READ)])


async def verdict_on(protocol: str, recording: Recording, **settings: object) -> Verdict:
    seen = await look(look_of(protocol, **settings), recording)
    return judge(seen, look_of("openai-chat").expect, Learnt(), model="acme-1")


@every_model
@pytest.mark.parametrize("event", [b"data:\n\n", b"data: {}\n\n", b"data: \ndata:\n\n"])
async def test_a_flood_of_events_that_say_nothing_is_cut_off(name, event):
    verdict = await verdict_on(name, in_reads(event * 100_000))
    assert verdict.outcome is Outcome.MALFORMED_RESPONSE
    assert "events: more than any answer" in (verdict.detail or "")


async def test_one_event_full_of_pieces_of_text_is_a_flood_too():
    choice = {"delta": {"content": "a"}}
    flood = events({"choices": [choice] * 6_000}) * 4
    verdict = await verdict_on("openai-chat", in_reads(word() + flood + DONE))
    assert verdict.outcome is Outcome.MALFORMED_RESPONSE
    assert "events: more than any answer" in (verdict.detail or "")


async def test_a_server_that_never_minds_our_limit_sends_no_flood():
    verdict = await verdict_on("openai-chat", in_reads(word() * 8_000 + DONE))
    assert verdict.outcome is Outcome.OK


async def test_a_longer_answer_may_have_more_events():
    stream = word() * 12_000 + DONE
    assert (await verdict_on("openai-chat", in_reads(stream), max_tokens=1)).outcome is not Outcome.OK
    assert (await verdict_on("openai-chat", in_reads(stream), max_tokens=500)).outcome is Outcome.OK


async def test_empty_events_among_others_mean_nothing():
    stream = b"data:\n\n".join([b"", word(), word(), DONE])
    assert (await verdict_on("openai-chat", in_reads(stream))).outcome is Outcome.OK


@pytest.mark.parametrize("size", [READ, 1_000])
async def test_others_have_their_turn_while_a_flood_is_understood(size):
    stream = word() * 4_000 + DONE
    pieces = [Piece(stream[at : at + size], 0.000_1) for at in range(0, len(stream), size)]
    looking = asyncio.ensure_future(look(look_of("openai-chat"), Recording(pieces)))
    turns = 0
    while not looking.done():
        turns += 1
        await asyncio.sleep(0)
    assert turns >= len(stream) // (BITE_BYTES + 1_000)
    assert (await looking).terminal


async def test_an_ordinary_stream_gives_way_hardly_ever():
    looking = asyncio.ensure_future(look(look_of("openai-chat"), in_reads(word() * 64 + DONE)))
    turns = 0
    while not looking.done():
        turns += 1
        await asyncio.sleep(0)
    assert turns <= 3


async def test_an_event_in_several_bites_is_one_event():
    long = "m" * (3 * BITE_BYTES)
    seen = await look(look_of("openai-chat"), in_reads(word() + word(long) + DONE))
    assert [token.characters for token in seen.timeline.tokens] == [5, len(long)]


async def test_the_last_token_of_a_long_read_has_its_stamp():
    seen = await look(look_of("openai-chat"), Recording([Piece(word() * 1_000), Piece(DONE)]))
    assert [token.ended_read for token in seen.timeline.tokens] == [False] * 999 + [True]


async def test_an_answer_in_one_piece_is_no_longer_than_our_limit_lets_it_be():
    answer = {"choices": [{"message": {"content": "w" * 300_000}, "finish_reason": "stop"}]}
    whole = Recording([Piece(json.dumps(answer).encode())], headers={"content-type": "application/json"})
    assert (await verdict_on("openai-chat", whole)).outcome is Outcome.MALFORMED_RESPONSE
    assert (await verdict_on("openai-chat", whole, max_tokens=1_000)).outcome is Outcome.OK
