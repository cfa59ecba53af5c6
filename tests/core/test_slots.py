"""Slots, gaps and schedules in force: the arithmetic, and what follows from a start or a step."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.instant import DAY, HOUR, MINUTE, SECOND, Instant, Span
from monitor.core.slots import (
    Gap,
    GapReason,
    Grid,
    Segment,
    due,
    gap_between,
    missed,
    outside,
    phase_of,
    retire,
    step_over,
    take_up,
)

MINUTELY = Grid(MINUTE, Span(10 * SECOND))
NOON = Instant(20_000 * DAY + 12 * HOUR)
"""A minute before it is no slot of MINUTELY; ten seconds after it is one."""


def at(seconds: float) -> Instant:
    return Instant(NOON + round(seconds * SECOND))


def segment(grid: Grid = MINUTELY, starts: float = 10, ends: float | None = None) -> Segment:
    return Segment(
        endpoint="openai/gpt",
        grid=grid,
        timeout=Span(30 * SECOND),
        starts=at(starts),
        ends=None if ends is None else at(ends),
    )


small = st.integers(-500, 500).map(Instant)


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    interval = draw(st.integers(1, 60))
    return Grid(Span(interval), Span(draw(st.integers(0, interval - 1))))


# Grids


@given(grids(), small)
def test_the_last_slot_and_the_next_enclose_every_moment(grid: Grid, now: Instant) -> None:
    assert grid.last(now) <= now < grid.next(now)
    assert grid.next(now) - grid.last(now) == grid.interval
    assert grid.has(grid.last(now))


@given(grids(), small, small)
def test_counting_agrees_with_listing(grid: Grid, start: Instant, end: Instant) -> None:
    slots = list(grid.slots(start, end))
    assert grid.count(start, end) == len(slots)
    assert slots == [moment for moment in range(start, end) if grid.has(Instant(moment))]


@given(grids(), st.lists(small, min_size=3, max_size=3).map(sorted))
def test_adjacent_ranges_add_up(grid: Grid, cuts: list[Instant]) -> None:
    first, cut, last = cuts
    assert grid.count(first, cut) + grid.count(cut, last) == grid.count(first, last)


@pytest.mark.parametrize(("interval", "phase"), [(0, 0), (-1, 0), (10, 10), (10, -1)])
def test_a_grid_without_a_phase_in_its_interval_is_refused(interval: int, phase: int) -> None:
    with pytest.raises(ValueError, match="interval"):
        Grid(Span(interval), Span(phase))


def test_a_phase_is_the_same_after_every_restart() -> None:
    assert phase_of("openai/gpt-4.1-nano", MINUTE) == 33_488_819


def test_phases_spread_evenly_over_the_interval() -> None:
    seconds = [0] * 60
    for number in range(10_000):
        phase = phase_of(f"openai/model-{number}", MINUTE)
        assert 0 <= phase < MINUTE
        seconds[phase // SECOND] += 1
    assert min(seconds) > 110
    assert max(seconds) < 230


# Gaps


@given(grids(), small, small)
def test_a_gap_holds_exactly_the_slots_between(grid: Grid, after: Instant, before: Instant) -> None:
    between = list(grid.slots(Instant(after + 1), before))
    gap = gap_between("a/b", grid, after, before, GapReason.LATE)
    if gap is None:
        assert between == []
    else:
        assert (gap.first, gap.last, gap.slots) == (between[0], between[-1], len(between))
        assert list(gap.grid.slots(gap.first, Instant(gap.last + 1))) == between


@given(grids(), small, small, small, small)
def test_of_a_gap_only_the_slots_within_the_window_are_missed_in_it(
    grid: Grid, after: Instant, before: Instant, window_from: Instant, now: Instant
) -> None:
    gap = gap_between("a/b", grid, after, before, GapReason.LATE)
    within = [s for s in grid.slots(Instant(after + 1), before) if window_from <= s <= now]
    assert missed([gap] if gap else [], [], window_from, now) == len(within)


@given(grids(), small, small, st.lists(st.tuples(small, st.none() | small), max_size=4))
def test_a_gap_holds_no_slot_of_a_pause(
    grid: Grid, after: Instant, before: Instant, quiet: list[tuple[Instant, Instant | None]]
) -> None:
    gap = gap_between("a/b", grid, after, before, GapReason.LATE)
    parts = outside(gap, quiet) if gap else []
    left = [slot for part in parts for slot in part.grid.slots(part.first, Instant(part.last + 1))]
    assert left == [
        slot
        for slot in grid.slots(Instant(after + 1), before)
        if not any(start <= slot and (end is None or slot < end) for start, end in quiet)
    ]
    assert sum(part.slots for part in parts) == len(left)


# Due


def test_a_slot_is_due_once_its_deadline_has_passed() -> None:
    assert due([segment()], [], at(0), at(10 + 30 - 0.000001), []) == 0
    assert due([segment()], [], at(0), at(10 + 30), []) == 1


def test_a_slot_with_a_result_is_due_at_once() -> None:
    assert due([segment()], [], at(0), at(11), [at(10)]) == 1


def test_slots_under_maintenance_are_not_due_however_its_stretches_overlap() -> None:
    quiet = [(at(60), at(200)), (at(100), at(240)), (at(240), at(250)), (at(5), at(5))]
    assert due([segment()], quiet, at(0), at(600), []) == 10 - 3
    assert due([segment()], [(at(200), None)], at(0), at(600), []) == 4


def test_ninety_days_cost_no_more_than_an_hour() -> None:
    tick = Grid(Span(SECOND // 1000), Span(0))
    days = Segment(endpoint="a/b", grid=tick, timeout=Span(0), starts=NOON)
    assert due([days], [], NOON, Instant(NOON + 90 * DAY - 1), []) == 90 * 86_400 * 1000


def test_slots_that_repeat_after_the_clock_was_set_back_are_due_twice() -> None:
    # 10 … 610 by the old time, then set back by five minutes at 620.
    first, again = segment(ends=620), segment(starts=320)
    assert due([first, again], [], at(0), at(700), []) == 11 + 6
    both = [at(s) for s in range(10, 611, 60)] + [at(s) for s in range(370, 671, 60)]
    assert due([first, again], [], at(0), at(671), both) == len(both)


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Segment], list[Instant], list[Gap], list[Instant]]:
    """Schedules in force one after the other; results, gaps and slots that nothing is known of yet."""
    cuts = sorted(draw(st.sets(st.integers(0, 400), min_size=2, max_size=5)))
    ends: list[int | None] = [*cuts[1:-1], None]
    segments = [
        Segment(
            endpoint="a/b",
            grid=draw(grids()),
            timeout=Span(draw(st.integers(0, 60))),
            starts=Instant(start),
            ends=None if end is None else Instant(end),
        )
        for start, end in zip(cuts, ends, strict=False)
    ]
    results, gaps, unknown = [], [], []
    for one in segments:
        end = Instant(500) if one.ends is None else one.ends
        for slot in one.grid.slots(one.starts, end):
            fate = draw(st.sampled_from(["result", "gap", "unknown"]))
            if fate == "result":
                results.append(slot)
            elif fate == "gap":
                gaps.append(Gap("a/b", slot, slot, 1, GapReason.LATE))
            elif slot + one.timeout <= 450:
                unknown.append(slot)
    return segments, results, gaps, unknown


@given(histories(), st.lists(st.tuples(small, small), max_size=4), small)
def test_what_is_due_is_a_result_or_in_a_gap_or_overdue(
    history: tuple[list[Segment], list[Instant], list[Gap], list[Instant]],
    quiet: list[tuple[Instant, Instant]],
    window_from: Instant,
) -> None:
    segments, results, gaps, overdue = history
    now = Instant(450)

    def counted(slots: list[Instant]) -> int:
        loud = [s for s in slots if not any(start <= s < end for start, end in quiet)]
        return sum(window_from <= slot <= now for slot in loud)

    settled = results + [gap.first for gap in gaps]
    assert due(segments, quiet, window_from, now, settled) == (
        counted(results) + missed(gaps, quiet, window_from, now) + counted(overdue)
    )


# A start


def test_a_new_endpoint_begins_with_its_last_slot() -> None:
    course = take_up(segment(starts=0), None, None, at(100), GapReason.NOT_RUNNING)
    assert course.segment == segment(starts=70)
    assert course.changes == (course.segment,)
    assert course.gap is None
    assert course.segment.grid.next(course.accounted) == at(70)


def test_an_endpoint_whose_last_slot_is_known_keeps_its_phase() -> None:
    course = take_up(segment(), segment(), at(70), at(100), GapReason.STOPPED)
    assert (course.changes, course.gap) == ((), None)
    assert course.segment.grid.next(course.accounted) == at(130)


def test_the_last_missed_slot_is_left_to_fill_and_those_before_it_are_a_gap() -> None:
    course = take_up(segment(), segment(), at(70), at(400), GapReason.STOPPED)
    assert course.changes == ()
    assert course.gap == Gap("openai/gpt", at(130), at(310), 4, GapReason.STOPPED)
    assert course.segment.grid.next(course.accounted) == at(370)


def test_a_segment_nothing_is_known_of_is_missed_from_its_start() -> None:
    course = take_up(segment(), segment(), None, at(100), GapReason.NOT_RUNNING)
    assert course.gap == Gap("openai/gpt", at(10), at(10), 1, GapReason.NOT_RUNNING)


def test_a_new_interval_closes_the_old_schedule_and_misses_its_slots() -> None:
    faster = segment(Grid(Span(20 * SECOND), Span(5 * SECOND)))
    course = take_up(faster, segment(), at(70), at(200), GapReason.STOPPED)
    # The new grid's last slot is at 185: the old schedule holds up to it.
    assert course.changes == (segment(ends=185), replace(faster, starts=at(185)))
    assert course.gap == Gap("openai/gpt", at(130), at(130), 1, GapReason.STOPPED)
    assert course.segment.grid.next(course.accounted) == at(185)


def test_a_new_interval_soon_after_a_look_needs_no_look_at_once() -> None:
    slower = segment(Grid(Span(300 * SECOND), Span(0)))
    course = take_up(slower, segment(), at(70), at(80), GapReason.STOPPED)
    assert course.changes == (
        replace(segment(), ends=Instant(at(70) + 1)),
        replace(slower, starts=Instant(at(70) + 1)),
    )
    assert course.gap is None
    assert course.segment.grid.next(course.accounted) > at(80)


def test_a_new_timeout_is_a_new_schedule_on_the_same_slots() -> None:
    patient = replace(segment(), timeout=Span(50 * SECOND))
    course = take_up(patient, segment(), at(70), at(250), GapReason.STOPPED)
    closed, opened = course.changes
    assert (closed.ends, opened.starts, opened.timeout) == (at(250), at(250), patient.timeout)
    assert course.gap == Gap("openai/gpt", at(130), at(190), 2, GapReason.STOPPED)


def test_a_clock_set_back_while_nobody_ran_opens_a_new_schedule() -> None:
    course = take_up(segment(), segment(), at(4000), at(400), GapReason.STOPPED)
    assert course.changes == (replace(segment(), ends=Instant(at(4000) + 1)), segment(starts=370))
    assert course.gap is None


def test_an_endpoint_that_comes_back_at_once_counts_no_slot_twice() -> None:
    course = take_up(segment(), None, at(70), at(80), GapReason.STOPPED)
    assert course.segment.starts == at(70) + 1
    assert course.segment.grid.next(course.accounted) == at(130)


def test_a_schedule_nobody_wants_any_more_ends_with_what_is_known() -> None:
    assert retire(segment(), at(70)).ends == at(70) + 1
    assert retire(segment(), None).ends == at(10)


seconds = st.integers(0, 2000)


@given(seconds, st.none() | seconds, seconds, st.integers(1, 300), st.integers(1, 300))
def test_after_a_start_every_slot_is_known_or_missed_or_still_to_fill(
    starts: int, known: int | None, now: int, interval: int, wanted_interval: int
) -> None:
    stored = segment(Grid(Span(interval * SECOND), Span(0)), starts)
    wanted = segment(Grid(Span(wanted_interval * SECOND), Span(0)))
    accounted = None if known is None or known < starts else stored.grid.last(at(known))
    course = take_up(wanted, stored, accounted, at(now), GapReason.STOPPED)
    closed = next((change for change in course.changes if change.ends is not None), None)
    old = closed or course.segment
    after = max(stored.starts - 1, accounted if accounted is not None else stored.starts - 1)
    open_from = Instant(course.accounted + 1)
    until = old.ends if old.ends is not None else open_from
    owed = list(stored.grid.slots(Instant(after + 1), until)) if until > after else []
    gap = course.gap
    assert ([] if gap is None else list(gap.grid.slots(gap.first, Instant(gap.last + 1)))) == owed
    # At most the newest slot is left to fill, and none was skipped on the way.
    assert course.segment.grid.count(open_from, Instant(at(now) + 1)) <= 1
    assert course.segment.grid.count(course.segment.starts, open_from) == 0 or closed is None


# A step of the clock


@pytest.mark.parametrize("jump", [10, 3600, 365 * 86_400, -10, -3600, -365 * 86_400])
def test_a_step_ends_the_schedule_by_the_old_time_and_opens_it_by_the_new(jump: int) -> None:
    course = step_over(segment(), at(70), at(100), at(100 + jump))
    assert course.changes == (
        replace(segment(), ends=Instant(at(100) + 1)),
        replace(segment(), starts=at(100 + jump)),
    )
    assert course.gap is None
    assert at(100 + jump) <= course.segment.grid.next(course.accounted) < at(160 + jump)


def test_a_slot_that_waited_when_the_clock_was_set_is_a_gap() -> None:
    course = step_over(segment(), at(69), at(100), at(5000))
    assert course.gap == Gap("openai/gpt", at(70), at(70), 1, GapReason.CLOCK_STEP)


@given(st.lists(st.tuples(st.integers(1, 500), st.integers(-4000, 4000)), min_size=1, max_size=6))
def test_however_often_the_clock_is_set_each_segment_holds_only_time_that_passed(
    story: list[tuple[int, int]],
) -> None:
    current, accounted, now, total = segment(), at(9), at(20), 0
    closed = []
    for passed, jump in story:
        before = Instant(now + passed * SECOND)
        now = Instant(before + jump * SECOND)
        course = step_over(current, accounted, before, now)
        closed.append(course.changes[0])
        current, accounted = course.segment, course.accounted
        total += passed
    lengths = [one.ends - one.starts for one in closed if one.ends is not None]
    assert sum(lengths) == (total + 10) * SECOND + len(closed)
    assert all(earlier.ends is not None for earlier, _ in pairwise([*closed, current]))
