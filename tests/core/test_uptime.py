from dataclasses import fields
from datetime import date
from fractions import Fraction
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.belief import State
from monitor.core.histogram import Histogram
from monitor.core.instant import DAY, HOUR, MINUTE, SECOND, Instant, Span, from_iso
from monitor.core.outcome import Blame
from monitor.core.slots import Grid, Segment
from monitor.core.uptime import (
    EMPTY,
    PUBLISHED,
    Bar,
    Counts,
    Distribution,
    Method,
    Metric,
    Record,
    Result,
    StateTime,
    Stretch,
    Turn,
    Window,
    WindowFigures,
    bars,
    counted,
    coverage,
    distribution,
    estimated,
    exact,
    first_slot,
    floor_percent,
    incidents_in,
    percentile,
    series,
    strict_uptime,
    time_in_states,
    uptime,
    window,
)

NOW = from_iso("2026-11-21T22:00:00Z")
BERLIN = ZoneInfo("Europe/Berlin")
KEPT = Span(90 * DAY)
BLAMES = [None, *Blame]

counts_ = st.builds(Counts, **{field.name: st.integers(0, 10**6) for field in fields(Counts)})
figures = st.lists(st.floats(0, 100_000), max_size=80)
moments = st.integers(0, 40).map(Instant)
turns_ = st.lists(st.builds(Turn, moments, st.sampled_from(State)), max_size=6)


@st.composite
def stretches(draw: st.DrawFn) -> Stretch:
    start = draw(moments)
    return Stretch(start, draw(st.none() | st.integers(start, 45).map(Instant)))


quiets = st.lists(stretches(), max_size=3)


@st.composite
def schedules_(draw: st.DrawFn) -> list[Segment]:
    """Schedules one after another; a later one may begin earlier, as after a clock step."""
    found = []
    for _ in range(draw(st.integers(0, 3))):
        start = draw(moments)
        interval = draw(st.integers(1, 7))
        found.append(
            Segment(
                endpoint="openai/nano",
                grid=Grid(Span(interval), Span(draw(st.integers(0, interval - 1)))),
                timeout=Span(draw(st.integers(0, 5))),
                starts=start,
                ends=draw(st.none() | st.integers(start, 45).map(Instant)),
            )
        )
    return found


results_ = st.lists(
    st.builds(
        Result,
        slot=moments,
        blame=st.sampled_from(BLAMES),
        scheduled=st.booleans(),
        quiet=st.booleans(),
        ttft_ms=st.none() | st.floats(1, 30_000),
    ),
    max_size=20,
)


def at(text: str) -> Instant:
    return from_iso(f"2026-11-21T{text}Z")


def every_minute(count: int, blame: Blame | None = None) -> list[Result]:
    """`count` results, the last one a minute ago."""
    return [Result(Instant(NOW - back * MINUTE), blame, ttft_ms=600.0) for back in range(count, 0, -1)]


def minutely(starts: Instant, ends: Instant | None = None) -> Segment:
    grid = Grid(Span(MINUTE), Span(0))
    return Segment(endpoint="openai/nano", grid=grid, timeout=Span(30 * SECOND), starts=starts, ends=ends)


def with_figure(look: Result, name: str, value: float | None) -> Result:
    return Result(**{**look._asdict(), name: value})


# Shares


def test_the_example_of_the_contract() -> None:
    counts = Counts(ok=59, degraded=1, provider=1, throttled=1)
    assert (uptime(counts), strict_uptime(counts), coverage(counts, 62)) == (98.36, 96.77, 100.0)


@given(st.integers(0, 10**9), st.integers(1, 10**9))
def test_a_percentage_is_cut_and_never_rounded_up(part: int, rest: int) -> None:
    whole = part + rest
    percent = floor_percent(part, whole)
    assert percent is not None
    assert percent < 100.0
    share = Fraction(100 * part, whole)
    assert Fraction(str(percent)) <= share < Fraction(str(percent)) + Fraction(1, 100)


@given(st.integers(1, 10**12))
def test_all_of_it_is_exactly_100(whole: int) -> None:
    assert floor_percent(whole, whole) == 100.0


def test_of_nothing_there_is_no_percentage() -> None:
    assert floor_percent(0, 0) is None
    assert uptime(Counts(config=3, monitor=2)) is None
    assert uptime(Counts(throttled=2)) is None
    assert strict_uptime(Counts(throttled=2)) == 0.0
    assert coverage(Counts(), 0) is None


def test_one_failure_in_a_million_is_not_100() -> None:
    assert uptime(Counts(ok=999_999, provider=1)) == 99.99


@given(counts_)
def test_uptime_is_never_below_strict_uptime(counts: Counts) -> None:
    lax, strict = uptime(counts), strict_uptime(counts)
    if lax is not None:
        assert strict is not None
        assert lax >= strict


@given(counts_, st.integers(0, 100), st.integers(0, 100))
def test_our_own_failures_leave_uptime_alone(counts: Counts, config: int, monitor: int) -> None:
    more = counts + Counts(config=config, monitor=monitor)
    assert (uptime(more), strict_uptime(more)) == (uptime(counts), strict_uptime(counts))


@given(st.lists(st.sampled_from(BLAMES)), st.lists(st.sampled_from(BLAMES)))
def test_counts_add_up(first: list[Blame | None], second: list[Blame | None]) -> None:
    assert Counts.of(first) + Counts.of(second) == Counts.of(first + second)
    assert Counts.of(first).total == len(first)


# Distributions


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=100), st.floats(0, 1))
def test_percentiles_are_those_of_numpy(values: list[float], share: float) -> None:
    expected = float(np.quantile(values, share))
    assert percentile(sorted(values), share) == pytest.approx(expected, rel=1e-12, abs=1e-12)


@given(figures, st.sampled_from(Metric))
def test_percentiles_stand_in_order(values: list[float], metric: Metric) -> None:
    for found in (exact(values, metric), estimated(Histogram.of(values), metric)):
        points = [found.min, found.p5, found.p50, found.p95, found.p99, found.max]
        known = [point for point in points if point is not None]
        assert len(known) == (0 if not values else 6 if metric.is_speed else 5)
        assert known == sorted(known)


@given(st.lists(st.floats(1, 100_000), min_size=1, max_size=80))
def test_an_estimated_distribution_is_within_one_percent_of_the_exact_one(values: list[float]) -> None:
    sharp, rough = exact(values, Metric.OUTPUT_SPEED), estimated(Histogram.of(values), Metric.OUTPUT_SPEED)
    assert (rough.n, rough.min, rough.max) == (sharp.n, sharp.min, sharp.max)
    assert rough.avg == pytest.approx(sharp.avg, rel=1e-6)
    for name in ("p5", "p50", "p95", "p99"):
        assert getattr(rough, name) == pytest.approx(getattr(sharp, name), rel=0.0100001)


def test_a_distribution_of_nothing_is_all_unknown() -> None:
    assert exact([], Metric.TTFT_MS) == EMPTY == Distribution(n=0)
    assert estimated(Histogram(), Metric.OUTPUT_SPEED) == Distribution(n=0, method=Method.HISTOGRAM)


def test_the_slow_tail_of_a_speed_is_the_low_one() -> None:
    values = [float(number) for number in range(101)]
    assert exact(values, Metric.OUTPUT_SPEED).p5 == 5.0
    assert exact(values, Metric.TTFT_MS).p5 is None
    assert exact(values, Metric.TTFT_MS).p95 == 95.0


def test_only_working_looks_have_a_place_in_a_distribution() -> None:
    looks = [Result(NOW, blame, ttft_ms=float(place)) for place, blame in enumerate(BLAMES)]
    found = distribution(looks, Metric.TTFT_MS, Method.RAW)
    assert (found.n, found.min, found.max) == (2, 0.0, 1.0)
    assert BLAMES[:2] == [None, Blame.DEGRADED]


def test_the_time_to_500_tokens_follows_from_the_stored_figures() -> None:
    look = Result(NOW, None, ttft_ms=650.0, ttfat_ms=650.0, output_speed=127.5)
    (value,) = Metric.E2E_500_MS.values([look])
    assert round(value, 1) == 4571.6


@pytest.mark.parametrize("missing", ["ttft_ms", "ttfat_ms", "output_speed"])
def test_the_time_to_500_tokens_is_unknown_without_one_of_its_parts(missing: str) -> None:
    look = Result(NOW, None, ttft_ms=650.0, ttfat_ms=650.0, output_speed=127.5)
    assert Metric.E2E_500_MS.values([with_figure(look, missing, None)]) == []


@pytest.mark.parametrize("metric", [metric for metric in Metric if metric is not Metric.E2E_500_MS])
def test_every_other_metric_is_a_stored_column(metric: Metric) -> None:
    assert metric.values([Result(NOW, None), with_figure(Result(NOW, None), metric.value, 7.5)]) == [7.5]


# Time


@given(turns_, quiets, st.none() | moments, st.tuples(moments, moments, moments))
def test_each_moment_belongs_to_the_newest_decision_about_it(
    turns: list[Turn],
    quiet: list[Stretch],
    since: Instant | None,
    edges: tuple[Instant, Instant, Instant],
) -> None:
    start, end, now = edges
    expected = dict.fromkeys((field.name for field in fields(StateTime)), 0)
    for moment in range(start, min(end, now)):
        told = [turn.state.value for turn in turns if turn.effective_at <= moment]
        if not told and (since is None or moment < since):
            continue
        hushed = any(s.start <= moment and (s.end is None or moment < s.end) for s in quiet)
        expected["quiet" if hushed else told[-1] if told else "unknown"] += 1
    found = time_in_states(turns, quiet, since=since, start=start, end=end, now=now)
    assert found == StateTime(**expected)


@given(turns_, quiets, st.lists(moments, min_size=3, max_size=3), moments)
def test_the_parts_sum_to_the_window_and_adjacent_windows_add_up(
    turns: list[Turn], quiet: list[Stretch], edges: list[Instant], now: Instant
) -> None:
    first, middle, last = sorted(edges)

    def between(start: Instant, end: Instant) -> StateTime:
        return time_in_states(turns, quiet, since=Instant(0), start=start, end=end, now=now)

    left, right, both = between(first, middle), between(middle, last), between(first, last)
    assert both.total == max(0, min(last, now) - first)
    for field in fields(StateTime):
        assert getattr(both, field.name) == getattr(left, field.name) + getattr(right, field.name)


def test_before_the_first_slot_nothing_is_unknown() -> None:
    time = time_in_states(
        [Turn(at("21:30:00"), State.UP)], [], since=at("21:20:00"), start=at("21:00:00"), end=NOW, now=NOW
    )
    assert time == StateTime(unknown=10 * MINUTE, up=30 * MINUTE)


def test_an_outage_that_was_noticed_late_counts_from_its_first_failure() -> None:
    turns = [
        Turn(at("20:00:00"), State.UP),
        Turn(at("21:30:00"), State.DEGRADED),
        Turn(at("21:29:00"), State.DOWN),
        Turn(at("21:40:00"), State.UP),
    ]
    time = time_in_states(turns, [], since=at("20:00:00"), start=at("21:00:00"), end=NOW, now=NOW)
    assert time == StateTime(up=49 * MINUTE, down=11 * MINUTE)


# Slots


@given(schedules_(), results_, quiets, moments)
def test_every_counted_result_is_due_so_coverage_stays_within_100(
    schedule: list[Segment], results: list[Result], quiet: list[Stretch], now: Instant
) -> None:
    record = Record(results=results, quiet=quiet, schedule=schedule)
    found = window(Window.H1, record, now, KEPT)
    assert found.due >= found.counts.total
    assert found.coverage is None or 0 <= found.coverage <= 100


@given(results_, st.lists(moments, min_size=3, max_size=3))
def test_the_counts_of_adjacent_windows_add_up(results: list[Result], edges: list[Instant]) -> None:
    first, middle, last = sorted(edges)

    def between(start: Instant, end: Instant) -> Counts:
        return Counts.of(look.blame for look in counted(results, start, end))

    assert between(first, last) == between(first, middle) + between(middle, last)


def test_slots_missed_while_the_daemon_was_dead_are_due_and_uncovered() -> None:
    record = Record(results=every_minute(60)[:45], schedule=[minutely(Instant(NOW - DAY))])
    figures_ = window(Window.H1, record, NOW, KEPT)
    assert (figures_.due, figures_.uptime, figures_.coverage) == (60, 100.0, 75.0)


def test_a_slot_is_due_once_it_has_a_result_or_its_deadline_has_passed() -> None:
    schedule = [minutely(Instant(NOW - DAY))]
    last = Instant(NOW - MINUTE)

    def due(now: int, *looks: Result) -> int:
        return window(Window.M5, Record(results=looks, schedule=schedule), Instant(now), KEPT).due

    deadline = last + 30 * SECOND
    assert due(deadline) - due(deadline - 1) == 1
    assert due(deadline - 1, Result(last, None)) == due(deadline - 1) + 1
    assert due(deadline - 1, Result(last, None, scheduled=False)) == due(deadline - 1)


def test_a_result_under_maintenance_counts_nowhere_and_its_slot_is_not_due() -> None:
    quiet = Stretch(at("21:10:00"), at("21:20:00"))
    results = [
        look._replace(quiet=True, blame=Blame.PROVIDER) if quiet.start <= look.slot < at("21:20:00") else look
        for look in every_minute(60)
    ]
    record = Record(results=results, quiet=[quiet], schedule=[minutely(Instant(NOW - DAY))])
    figures_ = window(Window.H1, record, NOW, KEPT)
    assert (figures_.due, figures_.counts, figures_.coverage) == (50, Counts(ok=50), 100.0)
    assert figures_.ttft_ms.n == 50


def test_an_endpoint_is_due_from_its_first_slot_on() -> None:
    born = Instant(at("21:29:30"))
    assert first_slot([minutely(born)]) == at("21:30:00")
    assert first_slot([]) is None
    assert first_slot([minutely(born, Instant(born + SECOND))]) is None
    figures_ = window(Window.D90, Record(schedule=[minutely(born)]), NOW, KEPT)
    assert (figures_.due, figures_.coverage, figures_.unknown_s) == (30, 0.0, 1800.0)


# Incidents


def test_an_incident_that_touches_the_window_is_in_it() -> None:
    outages = [
        Stretch(at("19:00:00"), at("21:00:00")),
        Stretch(at("20:58:00"), at("21:02:00")),
        Stretch(at("21:30:00"), at("21:40:00")),
        Stretch(at("21:50:00"), None),
    ]
    found = incidents_in(outages, at("21:00:00"), NOW)
    assert found.count == 3
    assert found.mttr_s == (240 + 600) / 2


def test_an_incident_that_ends_with_the_window_ended_in_it() -> None:
    outage = Stretch(at("20:58:00"), at("21:00:00"))
    assert incidents_in([outage], at("20:00:00"), at("21:00:00")).mttr_s == 120.0
    assert incidents_in([outage], at("21:00:00"), at("22:00:00")).count == 0


def test_without_an_ended_incident_there_is_no_time_to_repair() -> None:
    assert incidents_in([Stretch(at("21:50:00"), None)], at("21:00:00"), NOW).mttr_s is None
    assert incidents_in([], at("21:00:00"), NOW).mttr_s is None


@given(st.lists(stretches().filter(lambda outage: outage.start != outage.end)), st.lists(moments, min_size=3))
def test_an_incident_ends_in_one_of_two_adjacent_windows(
    outages: list[Stretch], edges: list[Instant]
) -> None:
    first, middle, last = sorted(edges)[:3]

    def repaired(start: Instant, end: Instant) -> int:
        return sum(incidents_in([outage], start, end).mttr_s is not None for outage in outages)

    assert repaired(first, last) == repaired(first, middle) + repaired(middle, last)


# Windows


def test_a_window_has_the_fields_of_the_contract_and_no_others() -> None:
    names = ["from" if field.name == "start" else field.name for field in fields(WindowFigures)]
    assert names == [
        *("from", "uptime", "strict_uptime", "coverage", "due", "counts"),
        *("down_s", "degraded_s", "unknown_s", "incidents", "mttr_s"),
        *("ttft_ms", "ttft_net_ms", "ttfat_ms", "output_speed", "effective_throughput"),
        *("e2e_500_ms", "total_ms", "integrity"),
    ]
    assert [field.name for field in fields(Counts)] == [
        *("ok", "degraded", "provider", "throttled", "config", "monitor")
    ]


def test_an_endpoint_without_a_past_has_no_figures() -> None:
    for which in Window:
        figures_ = window(which, Record(), NOW, KEPT)
        assert (figures_.uptime, figures_.strict_uptime, figures_.coverage) == (None, None, None)
        assert (figures_.due, figures_.unknown_s, figures_.incidents, figures_.mttr_s) == (0, 0.0, 0, None)
        assert figures_.output_speed == Distribution(method=which.method)


def test_a_window_begins_exactly_its_span_ago() -> None:
    now = Instant(NOW + 1234)
    spans = {which.value: now - which.start(now, KEPT) for which in Window}
    assert spans["5m"] == 300 * SECOND
    assert spans["1d"] == spans["24h"] == DAY
    assert spans["90d"] == 90 * DAY
    assert [which.value for which in PUBLISHED] == ["1h", "24h", "7d", "30d", "90d"]


def test_a_window_longer_than_raw_results_are_kept_begins_at_the_full_hour() -> None:
    now = from_iso("2026-11-21T22:17:03Z")
    assert Window.D30.start(now, Span(14 * DAY)) == from_iso("2026-10-22T22:00:00Z")
    assert Window.D7.start(now, Span(14 * DAY)) == now - 7 * DAY


def test_the_window_is_half_open() -> None:
    edges = [Result(Instant(NOW - HOUR), None), Result(Instant(NOW - HOUR - 1), None), Result(NOW, None)]
    assert [look.slot for look in counted(edges, Instant(NOW - HOUR), NOW)] == [NOW - HOUR]


def test_confirmations_count_nowhere() -> None:
    looks = every_minute(60)
    extra = Result(Instant(NOW - 90 * SECOND), Blame.PROVIDER, scheduled=False)
    schedule = [minutely(Instant(NOW - DAY))]
    with_it = window(Window.H1, Record(results=[*looks, extra], schedule=schedule), NOW, KEPT)
    assert with_it == window(Window.H1, Record(results=looks, schedule=schedule), NOW, KEPT)


def test_an_outage_seen_from_every_side() -> None:
    results = [
        look._replace(blame=Blame.PROVIDER, ttft_ms=None)
        if at("21:30:00") <= look.slot < at("21:40:00")
        else look
        for look in every_minute(24 * 60)
    ]
    record = Record(
        results=results,
        turns=[
            Turn(Instant(NOW - DAY), State.UP),
            Turn(at("21:30:00"), State.DOWN),
            Turn(at("21:40:00"), State.UP),
        ],
        incidents=[Stretch(at("21:30:00"), at("21:40:00"))],
        schedule=[minutely(Instant(NOW - DAY))],
    )
    hour, day, week = (window(which, record, NOW, KEPT) for which in (Window.H1, Window.H24, Window.D7))
    assert (hour.uptime, day.uptime, week.uptime) == (83.33, 99.3, 99.3)
    assert (hour.down_s, day.down_s, week.down_s) == (600.0, 600.0, 600.0)
    assert (hour.incidents, hour.mttr_s) == (1, 600.0)
    assert (hour.ttft_ms.n, day.ttft_ms.n, week.ttft_ms.n) == (50, 1430, 1430)
    assert [figures_.ttft_ms.method.value for figures_ in (hour, day, week)] == ["raw", "raw", "histogram"]
    assert (day.coverage, week.coverage, week.due) == (100.0, 100.0, 1440)


# Bars


def bar(found: list[Bar], day: str) -> Bar:
    return next(one for one in found if one.day == date.fromisoformat(day))


def test_bars_are_local_days_and_today_is_the_last() -> None:
    found = bars(Record(), 90, BERLIN, NOW)
    assert len(found) == 90
    assert found[-1].day == date(2026, 11, 21)
    assert found[-1].start == from_iso("2026-11-20T23:00:00Z")
    assert bars(Record(), 90, BERLIN, Instant(NOW + HOUR))[-1].day == date(2026, 11, 22)


def test_a_day_is_as_long_as_its_clock_says() -> None:
    found = bars(Record(), 240, BERLIN, NOW)
    lengths = {one.day.isoformat(): (one.end - one.start) / HOUR for one in found}
    assert (lengths["2026-10-24"], lengths["2026-10-25"], lengths["2026-03-29"]) == (24, 25, 23)
    assert all(one.end == after.start for one, after in pairwise(found))


def test_a_day_whose_midnight_does_not_exist_begins_at_the_leap() -> None:
    now = from_iso("2026-09-07T12:00:00Z")
    (leap,) = (one for one in bars(Record(), 3, ZoneInfo("America/Santiago"), now) if one.day.day == 6)
    assert leap.start == from_iso("2026-09-06T04:00:00Z")
    assert leap.end - leap.start == 23 * HOUR


def test_a_bar_shows_the_worst_of_its_day() -> None:
    record = Record(
        results=[
            Result(from_iso("2026-11-19T12:00:00Z"), None),
            Result(from_iso("2026-11-20T12:00:00Z"), None),
            Result(from_iso("2026-11-20T12:01:00Z"), Blame.PROVIDER),
        ],
        turns=[
            Turn(from_iso("2026-11-19T12:00:00Z"), State.UP),
            Turn(from_iso("2026-11-20T12:01:00Z"), State.DOWN),
            Turn(from_iso("2026-11-20T12:02:00Z"), State.DEGRADED),
            Turn(from_iso("2026-11-20T22:00:00Z"), State.UNKNOWN),
        ],
    )
    found = bars(record, 90, BERLIN, NOW)
    assert (bar(found, "2026-11-18").worst, bar(found, "2026-11-18").uptime) == (None, None)
    assert (bar(found, "2026-11-19").worst, bar(found, "2026-11-19").uptime) == (State.UP, 100.0)
    assert (bar(found, "2026-11-20").worst, bar(found, "2026-11-20").uptime) == (State.DOWN, 50.0)
    assert (bar(found, "2026-11-21").worst, bar(found, "2026-11-21").uptime) == (None, None)
    assert bar(found, "2026-11-21").time == StateTime(unknown=23 * HOUR)


@given(
    st.lists(st.integers(0, 5 * DAY), max_size=20),
    st.sampled_from(["Europe/Berlin", "Asia/Kathmandu", "UTC"]),
)
def test_bars_hold_every_result_once(backs: list[int], zone: str) -> None:
    results = [Result(Instant(NOW - back), None) for back in backs]
    found = bars(Record(results=results), 7, ZoneInfo(zone), NOW)
    assert sum(one.counts.ok for one in found) == len(results)
    assert all(
        one.counts.ok == len(counted(results, one.start, one.end)) and one.start < one.end for one in found
    )


# Series


@given(results_, st.integers(1, 50 * MINUTE).map(Span), st.sampled_from([Window.M30, Window.H1]))
def test_the_buckets_of_a_series_hold_what_the_window_holds(
    results: list[Result], step: Span, which: Window
) -> None:
    step = Span(max(step, SECOND))
    looks = [look._replace(slot=Instant(NOW - look.slot * 2 * MINUTE)) for look in results]
    found = series(looks, Metric.TTFT_MS, which, step=step, now=NOW, raw_kept=KEPT)
    whole = window(which, Record(results=looks), NOW, KEPT)
    assert sum((bucket.counts for bucket in found), Counts()) == whole.counts
    assert sum(bucket.distribution.n for bucket in found) == whole.ttft_ms.n
    assert [bucket.start % step for bucket in found] == [0] * len(found)
    assert all(after.start - one.start == step for one, after in pairwise(found))
    assert found[0].start <= whole.start < found[0].start + step
    assert found[-1].start < NOW <= found[-1].start + step


def test_an_empty_bucket_is_there_with_nothing_known() -> None:
    look = Result(at("21:30:00"), None, ttft_ms=612.5)
    found = series([look], Metric.TTFT_MS, Window.H1, step=Span(10 * MINUTE), now=NOW, raw_kept=KEPT)
    assert [bucket.counts.ok for bucket in found] == [0, 0, 0, 1, 0, 0]
    assert found[0].distribution == EMPTY
    assert found[3].distribution.p50 == 612.5


def test_a_step_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="step"):
        series([], Metric.TTFT_MS, Window.H1, step=Span(0), now=NOW, raw_kept=KEPT)
