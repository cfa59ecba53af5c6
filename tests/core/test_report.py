"""What is heard, what is silence, and what is only that we did not listen."""

import json
from dataclasses import replace
from itertools import accumulate

from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.core.instant import DAY, HOUR, SECOND, Instant, Span
from monitor.core.observation import Observation
from monitor.core.outcome import Outcome
from monitor.core.report import Heard, Mailbox, Report, Rhythm, Standing, Word
from monitor.core.step import (
    Checkpoint,
    Known,
    Step,
    checkpoint_from_json,
    checkpoint_json,
    step_from_json,
    to_json,
)
from monitor.core.timeline import Timeline
from monitor.core.verdict import Expect, Learnt, Verdict, judge
from monitor.store.spool import in_pieces

MINUTELY = Rhythm(every=Span(60 * SECOND), grace=Span(30 * SECOND))
DAILY = Rhythm(every=DAY, grace=HOUR)
FINE = Report(endpoint="jobs/backup", at=Instant(1_000_000_000_000_000))
FAILED = replace(FINE, said=Word.FAIL, message="disk full")


def heard(report: Report = FINE, at: float = 0.0, rhythm: Rhythm = MINUTELY) -> Mailbox:
    box = Mailbox(rhythm)
    box.hear(report, at)
    return box


# Standing


def test_a_report_holds_for_the_interval_and_the_grace() -> None:
    box = heard()
    assert box.standing(0.0) is Standing.OK
    assert box.standing(90.0) is Standing.OK
    assert box.standing(90.001) is Standing.SILENT


def test_who_never_reported_is_waited_for_once_and_then_silent() -> None:
    box = Mailbox(MINUTELY, now=100.0)
    assert box.standing(190.0) is Standing.WAITING
    assert box.standing(190.001) is Standing.SILENT


def test_a_failure_that_is_reported_stands_until_something_else_is() -> None:
    box = heard(FAILED)
    assert box.standing(89.0) is Standing.FAIL
    box.hear(FINE, 89.0)
    assert box.standing(89.0) is Standing.OK


def test_what_is_news_wants_a_look_and_what_is_not_does_not() -> None:
    box = Mailbox(MINUTELY)
    assert not box.wants_look(1.0)
    box.hear(FINE, 1.0)
    assert box.wants_look(1.0)
    assert box.look(1.0).standing is Standing.OK
    box.hear(FINE, 2.0)
    assert not box.wants_look(2.0)
    box.hear(FAILED, 3.0)
    assert box.wants_look(3.0)
    box.look(3.0)
    assert not box.wants_look(4.0)
    assert box.wants_look(94.0)


# Absence of ours


def test_a_report_that_was_due_while_nobody_listened_is_not_missed() -> None:
    box = heard()
    box.absent(55.0, 65.0)
    assert box.standing(90.0) is Standing.OK
    assert box.standing(91.0) is Standing.WAITING
    assert box.standing(65.0 + 90.0) is Standing.WAITING
    assert box.standing(65.0 + 90.1) is Standing.SILENT


def test_an_absence_in_which_nothing_was_due_excuses_nothing() -> None:
    box = heard(rhythm=DAILY)
    for hour in range(1, 23):
        box.absent(hour * 3600.0, hour * 3600.0 + 5.0)
    assert box.standing(25 * 3600.0) is Standing.OK
    assert box.standing(25 * 3600.0 + 0.1) is Standing.SILENT


def test_who_was_silent_before_we_left_is_silent_when_we_come_back() -> None:
    box = heard()
    box.absent(100.0, 200.0)
    assert box.standing(200.0) is Standing.SILENT


def test_after_a_crash_the_wait_begins_anew_for_more_may_have_come_than_was_kept() -> None:
    box = Mailbox(MINUTELY)
    box.resume(FINE, 500.0, None, 1000.0, failing=False)
    assert box.standing(1090.0) is Standing.WAITING
    assert box.standing(1090.1) is Standing.SILENT


def test_a_crash_at_a_time_when_nothing_was_due_excuses_nothing() -> None:
    box = Mailbox(DAILY)
    box.resume(FINE, 3600.0, None, 3600.0, failing=False)
    assert box.standing(25 * 3600.0 + 0.1) is Standing.SILENT


def test_a_new_daemon_believes_a_report_that_is_still_fresh() -> None:
    box = Mailbox(MINUTELY)
    box.resume(FAILED, 30.0, 2.0, 1000.0, failing=True)
    assert box.standing(1000.0) is Standing.FAIL
    assert not box.wants_look(1000.0)


def test_a_wall_clock_that_was_set_back_makes_no_report_of_the_future() -> None:
    box = Mailbox(MINUTELY)
    box.resume(FINE, -7200.0, -7100.0, 1000.0, failing=False)
    assert box.standing(1090.0) is Standing.OK
    assert box.standing(1200.0) is Standing.SILENT


def halves(number: int) -> float:
    """Moments that add up exactly."""
    return number / 2


spans = st.integers(0, 800).map(halves)


@given(
    st.lists(
        st.sampled_from([30.0, 31.0, 60.0, 89.0, 90.0]) | st.integers(30, 90).map(float),
        min_size=1,
        max_size=12,
    ),
    st.lists(
        st.tuples(
            st.sampled_from([0.5, 3.0, 26.0, 85.0]) | spans,
            st.sampled_from([1.0, 5.0, 30.0, 95.0]) | st.integers(1, 800).map(halves),
            st.sampled_from(["stall", "stop", "crash"]),
        ),
        max_size=6,
    ),
)
@settings(max_examples=2000, deadline=None)
def test_a_sender_that_keeps_its_rhythm_is_never_silent_whenever_we_are_away(
    gaps: list[float], absences: list[tuple[float, float, str]]
) -> None:
    events = [(moment, 2, 0.0, "report") for moment in accumulate(gaps)]
    end = 0.0
    for wait, length, how in absences:
        events += [(end + wait, 1, 0.0, "leave"), (end + wait + length, 0, end + wait, how)]
        end += wait + length
    box, kept, newest, away = heard(), 0.0, 0.0, False
    for now, _, left, event in sorted(events):
        if now > sum(gaps):
            break
        if event == "report" and not away:
            assert box.standing(now) is not Standing.SILENT
            box.hear(FINE, now)
            newest = now
            kept = now if now - kept >= 60.0 else kept
        elif event == "leave":
            assert box.standing(now) is not Standing.SILENT
            away = True
        elif event in ("stop", "crash"):
            # What a crash loses is what was not kept yet.
            kept = newest = newest if event == "stop" else kept
            box, away = Mailbox(MINUTELY), False
            box.resume(FINE, now - newest, now - left if event == "stop" else None, now, failing=False)
        elif event == "stall":
            box.absent(left, now)
            away = False
        assert away or box.standing(now) is not Standing.SILENT


@given(st.lists(st.tuples(spans, st.integers(0, 20).map(halves)), max_size=20))
def test_who_is_dead_is_found_silent_as_soon_as_we_have_listened_for_long_enough(
    absences: list[tuple[float, float]],
) -> None:
    box, now, listened = heard(), 0.0, 0.0
    for wait, length in absences:
        listened = now
        now += wait
        if now - listened > MINUTELY.patience_s:
            assert box.standing(now) is Standing.SILENT
        box.absent(now, now + length)
        now += length
    assert box.standing(now + 90.1) is Standing.SILENT


# Judgement


def judged(report: Report | None, standing: Standing, expect: Expect = Expect()) -> Verdict:
    stated = (report.duration_ms if report else None) or 0.0
    line = Timeline(start=5.0, end=5.0 + stated / 1000.0)
    seen = Observation(timeline=line, heard=Heard(rhythm=MINUTELY, standing=standing, report=report))
    return judge(seen, expect, Learnt(), model=None)


def test_a_good_report_is_ok_and_its_time_is_the_one_that_it_states() -> None:
    verdict = judged(replace(FINE, duration_ms=1500.0), Standing.OK)
    assert (verdict.outcome, verdict.detail, verdict.figures.total_ms) == (Outcome.OK, None, 1500.0)
    assert judged(FINE, Standing.OK).figures.total_ms == 0.0


def test_a_report_that_took_longer_than_expected_is_slow() -> None:
    verdict = judged(replace(FINE, duration_ms=1500.0), Standing.OK, Expect(elapsed_ms=1000.0))
    assert (verdict.outcome, verdict.detail) == (Outcome.SLOW, "took 1,500 ms, expected at most 1,000 ms")
    assert judged(FINE, Standing.OK, Expect(elapsed_ms=1000.0)).outcome is Outcome.OK


def test_a_report_of_a_failure_says_what_it_was() -> None:
    verdict = judged(FAILED, Standing.FAIL)
    assert (verdict.outcome, verdict.detail) == (Outcome.ASSERTION_FAILED, "it reported fail: disk full")
    assert judged(replace(FAILED, message=None), Standing.FAIL).detail == "it reported fail: (no message)"


def test_a_report_of_something_less_is_degraded() -> None:
    verdict = judged(replace(FINE, said=Word.DEGRADED, message="3 of 5"), Standing.DEGRADED)
    assert (verdict.outcome, verdict.detail) == (Outcome.SLOW, "it reported degraded: 3 of 5")


def test_silence_is_a_failure_that_says_since_when_and_what_was_awaited() -> None:
    verdict = judged(FINE, Standing.SILENT)
    assert verdict.outcome is Outcome.ASSERTION_FAILED
    assert verdict.detail == (
        "no report since 2001-09-09 01:46:40 UTC; one is expected every 1 min, with a grace of 30 s"
    )
    assert judged(None, Standing.SILENT).detail == (
        "no report yet; one is expected every 1 min, with a grace of 30 s"
    )


# Durable


def test_a_report_survives_the_spool_and_the_checkpoint() -> None:
    for report in (FINE, replace(FAILED, duration_ms=12.5)):
        step = Step(report=report)
        assert step_from_json(to_json(step)) == step
        known = Known(Checkpoint(at=FINE.at, beliefs={}))
        known.apply(Step(report=FAILED))
        known.apply(step)
        assert known.checkpoint(FINE.at).reports == {"jobs/backup": report}
        text = b"".join(in_pieces(checkpoint_json(known.checkpoint(FINE.at))))
        assert checkpoint_from_json(json.loads(text)).reports == {"jobs/backup": report}
