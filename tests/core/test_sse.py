"""The grammar of server-sent events, and that the network's cuts do not matter."""

import itertools
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.sse import Event, Parser

STREAM_PIECES = st.sampled_from(
    [
        b"data: x", b"data:x", b"data", b"data:  two", b":", b": ping", b"event: error", b"event", b"id: 1",
        b"error: {}", b"retry: 5", b"\n", b"\n", b"\r", b"\r\n", b"\n\n", "é\u2028😀".encode(), b"\xff\xfe",
        b"\xef\xbb\xbf", b" ", b"unknown: y",
    ]
)  # fmt: skip
STREAMS = st.lists(STREAM_PIECES, max_size=40).map(b"".join)


def parse(*pieces: bytes, max_line: int = 1000, max_event: int = 1000) -> tuple[list[Event], int, bool]:
    parser = Parser(max_line=max_line, max_event=max_event)
    events = [event for piece in pieces for event in parser.feed(piece)]
    events += parser.close()
    return events, parser.comments, parser.too_large is not None


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[a:b] for a, b in itertools.pairwise(edges)]


@given(STREAMS, st.lists(st.integers(min_value=0, max_value=500), max_size=8))
def test_any_cutting_of_the_same_bytes_gives_the_same_events(stream, places):
    assert parse(*cut(stream, places)) == parse(stream)


@given(STREAMS)
def test_byte_by_byte_gives_the_same_events(stream):
    assert parse(*(stream[i : i + 1] for i in range(len(stream)))) == parse(stream)


@given(STREAMS, st.lists(st.integers(min_value=0, max_value=500), max_size=8))
def test_the_bounds_hold_at_the_same_place_however_the_bytes_are_cut(stream, places):
    assert parse(*cut(stream, places), max_line=9, max_event=12) == parse(stream, max_line=9, max_event=12)


@given(st.lists(st.text().filter(lambda text: not set("\r\n") & set(text)), max_size=5))
def test_what_was_written_as_lines_of_data_is_read_back(lines):
    stream = "".join(f"data: {line}\n" for line in lines).encode("utf-8", "replace") + b"\n"
    expected = "\n".join(lines).encode("utf-8", "replace").decode()
    found, _, _ = parse(stream, max_line=100_000, max_event=100_000)
    assert found == ([Event("", expected)] if lines else [])


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\ndata: b\n\n", [("", "a"), ("", "b")]),
        (b"data:a\n\n", [("", "a")]),
        (b"data:  a\n\n", [("", " a")]),
        (b"data: a\ndata: b\n\n", [("", "a\nb")]),
        (b"data\n\n", [("", "")]),
        (b"event: ping\ndata: {}\n\ndata: x\n\n", [("ping", "{}"), ("", "x")]),
        (b"event: ping\n\ndata: x\n\n", [("", "x")]),
        (b"\xef\xbb\xbfdata: a\n\n", [("", "a")]),
        (b"data: \xef\xbb\xbfa\n\n", [("", "\ufeffa")]),
        (b"data: a\r\n\r\ndata: b\r\rdata: c\n\n", [("", "a"), ("", "b"), ("", "c")]),
        (b"data: a\n\n\n\n\ndata: b\n\n", [("", "a"), ("", "b")]),
        (b"id: 7\nretry: 10\nfoo: bar\nnonsense\ndata: a\n\n", [("", "a")]),
        ("data: one\u2028line\u0085\n\n".encode(), [("", "one\u2028line\u0085")]),
        (b"data: \xff\n\n", [("", "\ufffd")]),
        (b'error: {"code":500}\n\n', [("error", '{"code":500}')]),
        (b"data: a\n", [("", "a")]),
        (b"data: a", [("", "a")]),
        (b"", []),
    ],
)
def test_the_grammar(stream, events):
    assert parse(stream)[0] == [Event(*event) for event in events]


def test_an_event_is_delivered_with_the_byte_that_completes_it():
    parser = Parser()
    assert parser.feed(b"data: a\r\n\r") == [Event("", "a")]
    assert parser.feed(b"\ndata: b\n") == []
    assert parser.feed(b"\n") == [Event("", "b")]


def test_comments_are_counted_and_are_no_events():
    assert parse(b": OPENROUTER PROCESSING\n\n: keep-alive\n\n:\n\ndata: a\n\n") == (
        [Event("", "a")],
        3,
        False,
    )


def test_a_character_cut_in_two_is_whole_again():
    parser = Parser()
    word = "data: 😀\n\n".encode()
    assert parser.feed(word[:8]) == []
    assert parser.feed(word[8:]) == [Event("", "😀")]


def test_a_line_that_does_not_end_is_given_up_before_it_fills_the_memory():
    parser = Parser(max_line=100)
    for _ in range(20):
        parser.feed(b"data: aaaaaaa")
    assert parser.too_large == "a line of the stream is over 100 bytes"
    assert parser.feed(b"\n\ndata: b\n\n") == []
    assert parser.close() == []


def test_an_event_of_endless_lines_is_given_up():
    parser = Parser(max_event=100)
    events = parser.feed(b"data: fine\n\n" + b"data: aaaaaaa\n" * 20)
    assert events == [Event("", "fine")]
    assert parser.too_large == "an event of the stream is over 100 bytes"


@pytest.mark.parametrize(
    ("data", "settled"),
    [
        (b"data: a\n\n", True),
        (b"data: a\n\ndata: b\n\n", True),
        (b"data: a\n\ndata", False),
        (b"data: a\n\n: ping\n\n", False),
        (b"data: a\r\n\r\n", True),
    ],
)
def test_it_is_told_whether_the_last_event_ended_the_read(data, settled):
    parser = Parser()
    assert parser.feed(data)
    assert parser.settled is settled


def test_single_bytes_of_a_long_line_do_not_take_quadratic_time():
    parser = Parser(max_line=400_000)
    payload = json.dumps("x" * 300_000)
    stream = f"data: {payload}\n\n".encode()
    events = [event for i in range(len(stream)) for event in parser.feed(stream[i : i + 1])]
    assert events == [Event("", payload)]


def test_noise_never_raises():
    noise = random.Random(7)
    for _ in range(50):
        parse(*(noise.randbytes(noise.randrange(40)) for _ in range(20)), max_line=50, max_event=60)
