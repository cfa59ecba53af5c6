"""What is kept of a failure: all that helps, in bounds, and no secret."""

import itertools
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.blot import Blot
from monitor.core.evidence import (
    AT_ONCE,
    EVERY,
    MOST_EVENTS,
    MOST_HEADERS,
    Evidence,
    Kind,
    gather,
    is_kept,
    load,
    ration,
    store,
)
from monitor.core.figures import Figures, TokenSource
from monitor.core.instant import DAY, HOUR, MINUTE, SECOND, Instant
from monitor.core.observation import BODY_KEPT, Observation, VendorError
from monitor.core.outcome import Blame, Outcome
from monitor.core.timeline import Channel, Timeline, Token
from monitor.core.trace import BEGINNING, MOST_READS, Trace
from monitor.core.verdict import Learnt, Verdict
from monitor.core.wire import Arrival, Fault, FaultKind, Phase

KEY = "sk-live-0123456789abcdef"
BLOT = Blot([KEY])
AT = Instant(1_800_000_000 * SECOND)


def trace(*reads: bytes, url: str = "https://api.acme.example/v1/chat/completions") -> Trace:
    """A body that came in these reads, 10 ms apart, from 200 ms on."""
    made = Trace("POST", url, 311)
    for number, data in enumerate(reads):
        made.came(Arrival(data, 100.2 + number * 0.01, 100.2))
    return made


def line(**changes: object) -> Timeline:
    usual = Timeline(
        start=100.0,
        own_s=0.001,
        dns_s=0.01,
        connect_s=0.02,
        tls_s=0.03,
        peer="203.0.113.7 port 443",
        request_sent=100.07,
        headers=100.2,
        end=100.9,
    )
    return replace(usual, **changes)  # type: ignore[arg-type]


def pieces(count: int) -> list[Token]:
    return [
        Token(100.3 + number * 0.01, 100.3 + number * 0.01, 4, Channel.ANSWER, ended_read=True)
        for number in range(count)
    ]


def evidence(
    seen: Observation, outcome: Outcome = Outcome.STREAM_ERROR, detail: str | None = "why"
) -> Evidence:
    figures = Figures(ttft_ms=300.1234567, total_ms=900.0, token_source=TokenSource.ESTIMATE)
    return gather(
        seen,
        Verdict(outcome=outcome, detail=detail, figures=figures, learnt=Learnt()),
        probe_id="0" * 32,
        endpoint="acme/model",
        at=AT,
        monitor="0.1.0",
        location="default",
        protocol="openai-chat",
        model="gpt-x",
        blot=BLOT,
    )


def kinds(found: Evidence) -> list[str]:
    return [str(event.kind) for event in found.events]


def test_every_outcome_that_somebody_has_to_explain_is_kept() -> None:
    kept = {outcome for outcome in Outcome if is_kept(outcome)}
    ours = {outcome for outcome in Outcome if outcome.blame is Blame.MONITOR}
    assert kept == set(Outcome) - {Outcome.OK} - ours | {Outcome.LOCAL_NETWORK}


def test_a_broken_stream_is_told_from_the_first_packet_to_the_last() -> None:
    wire = trace(b": hold on\n\n", b'data: {"x":1}\n\n')
    wire.first[0] = (*wire.first[0][:3], True)
    seen = Observation(
        timeline=line(tokens=[Token(100.21, 100.21, 5, Channel.REASONING, ended_read=True)]),
        status=200,
        headers={"x-request-id": "req_1"},
        request_id="req_1",
        fault=Fault(FaultKind.RESET, Phase.BODY, "the connection was reset", 104),
        trace=wire,
    )
    found = evidence(seen)
    assert kinds(found) == [
        "dns", "connect", "tls", "sent", "headers", "comment", "bytes", "reasoning", "fault",
    ]  # fmt: skip
    offsets = [event.offset_ms for event in found.events]
    assert offsets == sorted(offsets)
    assert offsets[:5] == [11.0, 31.0, 61.0, 70.0, 200.0]
    assert [event.size for event in found.events[3:]] == [311, None, 11, 15, 5, None]
    assert (found.method, found.peer, found.sent) == ("POST", "203.0.113.7 port 443", 311)
    assert found.body == ': hold on\n\ndata: {"x":1}\n\n'
    assert (found.received, found.dropped) == (26, 0)


def test_what_a_stamp_does_not_tell_is_a_bound() -> None:
    wire = Trace("GET", "http://acme.example/", 0)
    wire.came(Arrival(b"x", 100.25, 100.2, stamped=False))
    token = Token(100.25, 100.21, 1, Channel.ANSWER, ended_read=False)
    found = evidence(Observation(timeline=line(tokens=[token], bounds={"headers"}), trace=wire))
    assert {event.kind for event in found.events if event.is_bound} == {
        Kind.BYTES, Kind.TOKEN, Kind.HEADERS,
    }  # fmt: skip


@given(reads=st.integers(0, 200), tokens=st.integers(0, 200))
def test_the_first_and_the_last_events_are_kept_and_the_others_counted(reads: int, tokens: int) -> None:
    found = evidence(
        Observation(timeline=line(tokens=pieces(tokens)), trace=trace(*[b"x"] * reads)), Outcome.TRUNCATED
    )
    total = reads + tokens + 6
    assert len(found.events) == min(total, MOST_EVENTS)
    assert len(found.events) + found.dropped == total
    assert kinds(found)[:4] == ["dns", "connect", "tls", "sent"]
    # Reads and text that came later than the end of the timeline stand behind it.
    everything = sorted(
        [11.0, 31.0, 61.0, 70.0, 200.0, 900.0]
        + [round(200.0 + number * 10, 3) for number in range(reads)]
        + [round(300.0 + number * 10, 3) for number in range(tokens)]
    )
    half = MOST_EVENTS // 2
    wanted = everything if total <= MOST_EVENTS else everything[:half] + everything[-half:]
    assert [event.offset_ms for event in found.events] == pytest.approx(wanted)


@given(
    st.lists(st.binary(max_size=5000), max_size=8),
    st.dictionaries(st.text(max_size=300), st.text(max_size=3000), max_size=100),
    st.text(max_size=5000),
)
def test_its_size_is_bounded_whatever_a_server_sends(
    body: list[bytes], headers: dict[str, str], said: str
) -> None:
    seen = Observation(
        timeline=line(tokens=pieces(300)),
        trace=trace(*body, *[b"\xff"] * 300, url="https://acme.example/" + "x" * 5000),
        headers=headers,
        request_id=said,
        error=VendorError(code=said, type=said, message=said, reasons=(said,) * 50),
        served_model=said,
        finish_reason=said,
    )
    found = evidence(seen, detail=said)
    assert len(found.events) <= MOST_EVENTS
    assert len(found.headers) <= MOST_HEADERS
    assert len(found.body) <= BODY_KEPT
    assert len(store(found)) <= 64 * 1024
    assert load(store(found)).body == found.body


@given(
    st.binary(max_size=BODY_KEPT + 100),
    st.integers(0, len(KEY)),
    st.lists(st.integers(0, BEGINNING), max_size=5),
)
def test_no_part_of_a_key_is_left_wherever_it_is_echoed_and_however_it_is_cut(
    before: bytes, cut: int, places: list[int]
) -> None:
    body = before + KEY.encode() + b" " + KEY.encode()[:cut]
    edges = [0, *sorted(place for place in places if place < len(body)), len(body)]
    reads = [body[start:end] for start, end in itertools.pairwise(edges)]
    said = f"who is {KEY}?"
    seen = Observation(
        timeline=line(),
        trace=trace(*reads, url=f"https://acme.example/{KEY}?x={KEY[:9]}"),
        headers={"x-ratelimit-of": said, KEY: "1"},
        request_id=said,
        fault=Fault(FaultKind.RESET, Phase.BODY, said),
        error=VendorError(code=said, type=said, message=said, reasons=(said,)),
        served_model=said,
        finish_reason=said,
    )
    told = repr(evidence(seen, detail=said))
    assert not any(KEY[start : start + 8] in told for start in range(len(KEY) - 7))


@pytest.mark.parametrize("at", range(BEGINNING - len(KEY), BEGINNING))
def test_a_key_that_the_end_of_what_is_kept_cuts_in_two_leaves_nothing(at: int) -> None:
    """Everything before it shrinks, so that the cut itself is shown."""
    filling = b"." * (at % len(KEY)) + KEY.encode() * (at // len(KEY))
    found = evidence(Observation(timeline=line(), trace=trace(filling + b" " + KEY.encode(), b"more")))
    assert "sk" not in found.body


def test_a_url_is_shown_without_a_login_and_without_the_secrets_in_its_query() -> None:
    url = "https://me:pw@acme.example/x?api-version=3&api_key=abc&sig=d%3Df&alt=sse"
    found = evidence(Observation(timeline=line(), trace=trace(url=url)))
    assert found.url == "https://acme.example/x?api-version=3&api_key=***&sig=***&alt=sse"


def test_control_characters_and_carriage_returns_do_not_get_through() -> None:
    found = evidence(Observation(timeline=line(), trace=trace(b"a\r\nb\rc\x1b[2Jd\x00\xff\te")))
    assert found.body == "a\nb c\ufffd[2Jd\ufffd\ufffd e"


def test_of_our_own_network_only_the_times_are_kept() -> None:
    seen = Observation(
        timeline=line(headers=None),
        fault=Fault(FaultKind.LOCAL, Phase.CONNECT, "no route"),
        headers={"via": "x"},
        trace=trace(b"body"),
    )
    found = evidence(seen, Outcome.LOCAL_NETWORK)
    assert (found.body, found.headers, found.status) == ("", {}, None)
    assert found.fault is not None
    assert Kind.FAULT in {event.kind for event in found.events}


def test_a_protocol_that_keeps_no_trace_has_evidence_too() -> None:
    found = evidence(Observation(timeline=Timeline(start=1.0, end=1.5), body="what came"))
    assert (found.url, found.body, kinds(found)) == (None, "what came", ["end"])


def test_what_was_stored_is_read_back() -> None:
    seen = Observation(
        timeline=line(tokens=pieces(3)),
        status=503,
        headers={"server": "x"},
        error=VendorError(code="overloaded", message="é 😀", reasons=("a", "b"), in_stream=True),
        fault=Fault(FaultKind.TIMEOUT, Phase.BODY, "too late"),
        trace=trace("data: é\n\n".encode()),
        served_model="gpt-x-2",
    )
    found = evidence(seen)
    read = load(store(found))
    assert replace(read, phases=found.phases, figures=found.figures) == found
    assert read.figures == replace(found.figures, ttft_ms=300.123)
    assert read.phases.end == pytest.approx(900.0)
    with pytest.raises(ValueError, match="unknown version"):
        load(b"\x7f" + store(found)[1:])


def test_it_is_small() -> None:
    chunk = json.dumps({"id": "c", "model": "gpt-x", "choices": [{"delta": {"content": "word "}}]})
    reads = [f"data: {chunk}\n\n".encode()] * 60
    seen = Observation(timeline=line(tokens=pieces(60)), status=200, trace=trace(*reads))
    assert len(store(evidence(seen))) < 1500


# How many


def kept(moments: list[int]) -> list[int]:
    out, used = [], None
    for moment in moments:
        again = ration(used, Instant(AT + moment))
        if again is not None:
            used = again
            out.append(moment)
    return out


def test_the_first_of_an_outage_are_all_kept_and_then_one_in_ten_minutes() -> None:
    every_second = [number * SECOND for number in range(24 * 3600)]
    found = kept(every_second)
    assert found[: AT_ONCE - 1] == every_second[: AT_ONCE - 1]
    assert len(found) == AT_ONCE + DAY // EVERY - 1
    assert all(later - earlier == EVERY for earlier, later in itertools.pairwise(found[AT_ONCE:]))


def test_one_that_fails_rarely_keeps_all_of_it() -> None:
    hourly = [number * HOUR for number in range(200)]
    assert kept(hourly) == hourly


@given(st.lists(st.integers(0, DAY), max_size=300).map(sorted))
def test_no_hour_holds_more_than_its_share(moments: list[int]) -> None:
    found = kept(moments)
    for first in found:
        assert sum(first <= other < first + HOUR for other in found) <= AT_ONCE + HOUR // EVERY


def test_a_clock_that_is_put_back_does_not_end_the_keeping() -> None:
    used = ration(None, Instant(AT + 3 * DAY))
    assert ration(used, AT) == AT + EVERY


def test_a_trace_is_bounded_while_it_grows() -> None:
    wire = trace(*[b"x" * 100] * 1000)
    assert (len(wire.first), len(wire.last), len(wire.beginning)) == (MOST_READS, MOST_READS, BEGINNING)
    assert (wire.reads, wire.received) == (1000, 100_000)
    assert EVERY == 10 * MINUTE


@pytest.mark.parametrize(
    "event",
    [
        '{{"choices": [{{"delta": {{"content": "{}"}}}}]}}',
        '{{"delta": {{"type": "thinking_delta", "thinking" : "{}"}}}}',
        "{}",
    ],
)
def test_a_key_cannot_be_put_together_from_the_events_of_a_stream(event: str) -> None:
    pieces = [KEY[at : at + 3] for at in range(0, len(KEY), 3)]
    body = b"".join(f"data: {event.format(piece)}\n\n".encode() for piece in pieces)
    found = evidence(Observation(timeline=line(), trace=trace(body)))
    assert found.body == "(left out: its pieces, put together, hold a secret)"
    words = b"".join(f"data: {event.format(word)}\n\n".encode() for word in "pong and so on".split())
    assert evidence(Observation(timeline=line(), trace=trace(words))).body == words.decode()
