"""Whether a stream was whole: what is a flaw, and what must never be taken for one."""

from dataclasses import replace
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.figures import BURST_S, burst_speed
from monitor.core.integrity import BREAKS, FASTEST, NO_FLAW, Flaw, Integrity, flaws, implied, of_stream, words
from monitor.core.observation import Observation, Timer, Usage, VendorError
from monitor.core.outcome import Blame, Outcome
from monitor.core.timeline import Channel, Clock, Timeline, Token
from monitor.core.verdict import Expect, Learnt, judge
from monitor.core.wire import Fault, FaultKind, Phase

MODEL = "gpt-4.1-nano"
TIMEOUT = Fault(FaultKind.TIMEOUT, Phase.BODY, "time is up")


def stream(
    moments: list[float],
    *,
    usage: Usage | None = Usage(input_tokens=9, output_tokens=64),
    earliest: list[float] | None = None,
    clock: Clock = Clock.KERNEL,
    **changes: object,
) -> Observation:
    """A good answer whose pieces of equal length came at these moments."""
    tokens = [
        Token(at=at, earliest=early, characters=4, channel=Channel.ANSWER, ended_read=True)
        for at, early in zip(moments, earliest or moments, strict=True)
    ]
    line = Timeline(start=0.0, request_sent=0.05, headers=0.1, end=3.0, tokens=tokens, clock=clock)
    good = Observation(
        timeline=line,
        status=200,
        answer="pong",
        finish_reason="length",
        terminal=True,
        served_model=MODEL,
        usage=usage,
        usage_asked=True,
    )
    return replace(good, **changes)  # type: ignore[arg-type]


STEADY = [0.5 + 0.02 * n for n in range(32)]
AT_ONCE = [2.0] * 32


def found(seen: Observation, expect: Expect = Expect()) -> frozenset[Flaw]:
    return flaws(seen, judge(seen, expect, Learnt(), model=MODEL))


def unfinished(moments: list[float], **changes: object) -> Observation:
    return stream(moments, terminal=False, finish_reason=None, usage=None, **changes)


@pytest.mark.parametrize(
    ("seen", "flaw"),
    [
        (unfinished(STEADY), Flaw.TRUNCATED),
        (unfinished(STEADY, fault=Fault(FaultKind.CLOSED, Phase.BODY, "closed")), Flaw.TRUNCATED),
        (unfinished(STEADY, fault=Fault(FaultKind.RESET, Phase.BODY, "reset")), Flaw.TRUNCATED),
        (unfinished(STEADY, fault=TIMEOUT, timer=Timer.STALL), Flaw.STALLED),
        (unfinished([], fault=TIMEOUT, timer=Timer.FIRST_TOKEN, keep_alives=9), Flaw.KEEP_ALIVE_ONLY),
        (unfinished([], fault=TIMEOUT, timer=Timer.TOTAL, keep_alives=1), Flaw.KEEP_ALIVE_ONLY),
        (unfinished(STEADY, error=VendorError(message="no", in_stream=True)), Flaw.ERROR_IN_STREAM),
        (
            unfinished(STEADY, error=VendorError(type="overloaded_error", message="x", in_stream=True)),
            Flaw.ERROR_IN_STREAM,
        ),
        (stream(AT_ONCE), Flaw.BURST),
        (stream([], usage=None), Flaw.EMPTY),
        (stream(STEADY, usage=None), Flaw.NO_USAGE),
        (stream(STEADY, usage=Usage(input_tokens=9, output_tokens=None)), Flaw.NO_USAGE),
    ],
)
def test_each_flaw_is_told_by_its_evidence(seen: Observation, flaw: Flaw) -> None:
    assert found(seen) == {flaw}


@pytest.mark.parametrize(
    "seen",
    [
        stream(STEADY),
        stream(STEADY, usage=None, usage_asked=False),
        unfinished([], fault=TIMEOUT, timer=Timer.FIRST_TOKEN),
        unfinished([], fault=Fault(FaultKind.RESET, Phase.BODY, "reset"), keep_alives=2),
        unfinished([], fault=Fault(FaultKind.RESET, Phase.BODY, "reset")),
        unfinished([], status=429, error=VendorError(message="slow down")),
        unfinished(STEADY, fault=Fault(FaultKind.LOCAL, Phase.BODY, "no route")),
        # Slow all the time, and over when the time was up: neither stalled nor cut.
        unfinished(STEADY, fault=TIMEOUT, timer=Timer.TOTAL),
    ],
)
def test_what_is_whole_or_no_stream_at_all_has_no_flaw(seen: Observation) -> None:
    assert found(seen) == NO_FLAW


# Bursts


def test_a_burst_after_a_good_beginning_is_one_too() -> None:
    assert found(stream([*(0.5 + 0.02 * n for n in range(15)), *([2.0] * 17)])) == {Flaw.BURST}
    assert found(stream([*(0.5 + 0.02 * n for n in range(17)), *([2.0] * 15)])) == NO_FLAW


@pytest.mark.parametrize(
    "seen",
    [
        stream(AT_ONCE, usage=Usage(output_tokens=15)),
        stream(AT_ONCE, usage=None, usage_asked=False),
        stream(AT_ONCE, clock=Clock.USER),
        stream(AT_ONCE, usage=Usage(output_tokens=1000, reasoning_tokens=990)),
        stream([2.0 + n / 3000 for n in range(64)]),
    ],
    ids=["too short", "no count", "read by us", "hidden thoughts", "a fast model"],
)
def test_what_could_have_been_generated_as_it_came_is_no_burst(seen: Observation) -> None:
    assert Flaw.BURST not in found(seen)


GAPS = st.lists(st.floats(0.0, 0.2), min_size=1, max_size=60)


@given(GAPS, st.floats(0.006, 0.1), st.integers(1, 100_000))
def test_what_we_read_late_on_purpose_is_never_a_burst(gaps: list[float], gulp_s: float, count: int) -> None:
    """Gulps: every event of one has the stamp of the last, and may have come since the gulp before."""
    came = [0.5 + moment for moment in accumulate(gaps)]
    ends = [0.5 + gulp_s * (1 + (moment - 0.5) // gulp_s) for moment in came]
    begins = [end - gulp_s for end in ends]
    seen = stream(ends, earliest=begins, usage=Usage(output_tokens=count))
    assert burst_speed(seen) == 0.0


@given(GAPS, st.data(), st.integers(1, 100_000))
def test_a_bound_makes_no_burst_that_exact_stamps_would_not(
    gaps: list[float], data: st.DataObject, count: int
) -> None:
    """Whatever is not known exactly: what is told was so, too, had every stamp been exact."""
    came = [0.5 + moment for moment in accumulate(gaps)]
    slack = st.lists(st.floats(0.0, 0.05), min_size=len(came), max_size=len(came))
    late = [max(at, at + more) for at, more in zip(came, data.draw(slack), strict=True)]
    early = [at - less for at, less in zip(came, data.draw(slack), strict=True)]
    bounded = stream(list(accumulate(late, max)), earliest=early, usage=Usage(output_tokens=count))
    exact = stream(came, usage=Usage(output_tokens=count))
    assert burst_speed(bounded) <= burst_speed(exact) + 1e-6


@given(st.integers(16, 5_000))
def test_all_at_once_is_as_many_tokens_as_the_server_counts(count: int) -> None:
    assert burst_speed(stream(AT_ONCE, usage=Usage(output_tokens=count))) == pytest.approx(count / BURST_S)
    assert found(stream(AT_ONCE, usage=Usage(output_tokens=count))) == (
        {Flaw.BURST} if count / BURST_S > FASTEST else NO_FLAW
    )


# Counting


OUTCOMES = st.sampled_from(Outcome)
SETS = st.frozensets(st.sampled_from(Flaw))


@given(OUTCOMES, SETS, st.booleans())
def test_trouble_of_ours_is_no_stream_and_a_token_or_a_flaw_is_one(
    outcome: Outcome, some: frozenset[Flaw], spoke: bool
) -> None:
    counted = of_stream(outcome, some, spoke=spoke)
    if outcome.blame is Blame.MONITOR:
        assert counted is None
    else:
        assert counted == (some if spoke or some else None)


@given(st.lists(st.none() | SETS, max_size=30))
def test_streams_are_counted_once_and_each_flaw_of_them(streams: list[frozenset[Flaw] | None]) -> None:
    counted = Integrity.of(streams)
    known = [one for one in streams if one is not None]
    assert counted.streams == len(known)
    for flaw in Flaw:
        assert getattr(counted, flaw) == sum(flaw in one for one in known)
    assert counted.flawed == {flaw: getattr(counted, flaw) for flaw in Flaw if getattr(counted, flaw)}


def test_what_an_outcome_implies_breaks_a_stream() -> None:
    for outcome in Outcome:
        assert implied(outcome, spoke=False) <= implied(outcome, spoke=True) <= BREAKS


def test_flaws_are_told_in_words() -> None:
    assert words({Flaw.TRUNCATED: 3, Flaw.KEEP_ALIVE_ONLY: 1}) == "3 truncated, 1 keep alive only"


def pieces(*sizes: int, every_s: float = 0.3) -> Observation:
    """An answer in a few events of these lengths."""
    tokens = [
        Token(at=at, earliest=at, characters=size, channel=Channel.ANSWER, ended_read=True)
        for at, size in ((0.5 + every_s * number, size) for number, size in enumerate(sizes))
    ]
    seen = stream([0.5])
    return replace(seen, timeline=replace(seen.timeline, tokens=tokens))


def test_a_vendor_that_sends_large_pieces_is_no_burst() -> None:
    assert Flaw.BURST not in found(pieces(80, 160, 16))
    assert Flaw.BURST not in found(pieces(20, 130, 100, every_s=0.6))


def test_an_answer_in_one_piece_is_a_burst() -> None:
    assert Flaw.BURST in found(pieces(256))
