"""Slots: the moments at which the schedule calls for a probe.

A slot lies on a grid (phase + k × interval since the epoch). A `Segment` says which grid was
in force from when to when, a `Gap` which of its slots nobody looked at and why. With both
stored, coverage is honest: every slot is a result, or lies in a gap, or is still to come.
"""

import enum
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from monitor.core.instant import SECOND, Instant, Span

STEP = SECOND
"""The wall clock was stepped if it moved by more than this beyond the time that passed."""


@dataclass(frozen=True, slots=True)
class Grid:
    """The moments phase + k × interval, k any integer. Raises ValueError unless 0 ≤ phase < interval."""

    interval: Span
    phase: Span

    def __post_init__(self) -> None:
        if self.interval <= 0:
            raise ValueError("slots need an interval of at least a microsecond")
        if not 0 <= self.phase < self.interval:
            raise ValueError("a phase lies within its interval")

    def has(self, moment: Instant) -> bool:
        return (moment - self.phase) % self.interval == 0

    def last(self, now: Instant) -> Instant:
        """The latest slot that is not after `now`."""
        return Instant(now - (now - self.phase) % self.interval)

    def next(self, after: Instant) -> Instant:
        """The earliest slot after `after`; never `after` itself."""
        return Instant(self.last(after) + self.interval)

    def count(self, start: Instant, end: Instant) -> int:
        """How many slots lie in [start, end); 0 where end is not after start."""
        if end <= start:
            return 0
        return (end - 1 - self.phase) // self.interval - (start - 1 - self.phase) // self.interval

    def slots(self, start: Instant, end: Instant) -> Iterator[Instant]:
        """The slots in [start, end), in order."""
        return map(Instant, range(self.next(Instant(start - 1)), end, self.interval))


def phase_of(endpoint_id: str, interval: Span) -> Span:
    """Where in its interval an endpoint is looked at: always the same, evenly spread over endpoints."""
    digest = hashlib.blake2b(endpoint_id.encode(), digest_size=8).digest()
    return Span(int.from_bytes(digest) * interval >> 64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """The schedule in force for one endpoint. Its slots are those of the grid in [starts, ends)."""

    endpoint: str
    grid: Grid
    timeout: Span
    """A slot's result is due this long after the slot."""
    starts: Instant
    ends: Instant | None = None
    """None: still in force."""


class GapReason(enum.StrEnum):
    """Why nobody looked."""

    NOT_RUNNING = "not_running"
    """The daemon was dead."""
    STOPPED = "stopped"
    """The daemon had been stopped in good order."""
    SUSPENDED = "suspended"
    """The host slept, or the daemon was not given the processor for a while."""
    CLOCK_STEP = "clock_step"
    """The wall clock was set while the slot waited for its turn."""
    LATE = "late"
    """The next slot had come before this one could be begun."""
    STILL_RUNNING = "still_running"
    """The endpoint's previous probe had not ended."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Slots in a row at which nobody looked."""

    endpoint: str
    first: Instant
    last: Instant
    slots: int
    reason: GapReason

    @property
    def grid(self) -> Grid:
        """A grid of which exactly the missed slots lie in [first, last]."""
        interval = Span((self.last - self.first) // (self.slots - 1) if self.slots > 1 else SECOND)
        return Grid(interval, Span(self.first % interval))


def gap_between(endpoint: str, grid: Grid, after: Instant, before: Instant, reason: GapReason) -> Gap | None:
    """The slots after `after` and before `before` as a gap; None where there is none."""
    start = Instant(after + 1)
    slots = grid.count(start, before)
    if not slots:
        return None
    return Gap(endpoint, grid.next(after), grid.last(Instant(before - 1)), slots, reason)


QuietStretch = tuple[Instant, Instant | None]
"""A maintenance or a pause: from the first moment up to, and without, the second; None: it lasts."""


def outside(gap: Gap, quiet: Iterable[QuietStretch]) -> list[Gap]:
    """The parts of a gap whose slots are due: nobody misses those in a pause or in maintenance."""
    parts = []
    after, end = Instant(gap.first - 1), Instant(gap.last + 1)
    for first, last in [*merged(quiet, end), (end, end)]:
        part = gap_between(gap.endpoint, gap.grid, after, min(first, end), gap.reason)
        parts += [part] if part else []
        after = max(after, Instant(last - 1))
    return parts


def merged(stretches: Iterable[QuietStretch], now: Instant) -> list[tuple[Instant, Instant]]:
    """The same moments, up to `now`, as stretches that are in order and do not touch."""
    joined: list[tuple[Instant, Instant]] = []
    limit = Instant(now + 1)
    for start, end in sorted((start, limit if end is None else end) for start, end in stretches):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        elif start < end:
            joined.append((start, end))
    return joined


# How a schedule goes on


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How the schedule of one endpoint goes on after a start or a clock step."""

    segment: Segment
    """In force from now on."""
    accounted: Instant
    """Every slot up to here has a result, lies in a gap, or is of an earlier segment."""
    changes: tuple[Segment, ...] = ()
    """Segments to store, in this order: one that was closed, one that was opened."""
    gap: Gap | None = None


def take_up(
    wanted: Segment, stored: Segment | None, accounted: Instant | None, now: Instant, reason: GapReason
) -> Course:
    """How an endpoint goes on when the daemon starts.

    `wanted` is the configured schedule (its `starts` and `ends` are not read), `stored` the open
    segment, `accounted` its highest slot that has a result or lies in a gap. The last slot
    that was missed is left to be filled; those before it become a gap for `reason`. A
    new endpoint's schedule starts at its last slot, which is left to be filled too.
    """
    if stored is None:
        return _open(wanted, accounted if accounted is not None and accounted <= now else None, now)
    known = _known(stored, accounted)
    if known > now + STEP:
        # The clock was set back while nobody ran: what was planned then has no slots now.
        fresh = _open(wanted, None, now)
        return replace(fresh, changes=(replace(stored, ends=Instant(known + 1)), *fresh.changes))
    last = wanted.grid.last(now)
    gap = gap_between(stored.endpoint, stored.grid, known, last, reason)
    if (stored.grid, stored.timeout) == (wanted.grid, wanted.timeout):
        return Course(segment=stored, accounted=_before(last, known), gap=gap)
    split = Instant(max(last, known + 1))
    opened = replace(wanted, starts=split, ends=None)
    return Course(
        segment=opened,
        accounted=_before(last, known),
        changes=(replace(stored, ends=split), opened),
        gap=gap,
    )


def retire(stored: Segment, accounted: Instant | None) -> Segment:
    """The segment of an endpoint that is no longer configured, closed.

    It ends with its newest known slot: what nobody wanted looked at cannot be missed.
    """
    return replace(stored, ends=Instant(_known(stored, accounted) + 1))


def step_over(segment: Segment, accounted: Instant, before: Instant, after: Instant) -> Course:
    """How an endpoint goes on when the wall clock is stepped from `before` to `after`.

    The time that was jumped over never passed, so its slots belong to no segment; those that
    waited for their turn in the old time become a gap.
    """
    ends = Instant(max(before, accounted) + 1)
    opened = replace(segment, starts=after, ends=None)
    return Course(
        segment=opened,
        accounted=Instant(after - 1),
        changes=(replace(segment, ends=ends), opened),
        gap=gap_between(segment.endpoint, segment.grid, accounted, ends, GapReason.CLOCK_STEP),
    )


def _open(wanted: Segment, accounted: Instant | None, now: Instant) -> Course:
    starts = wanted.grid.last(now)
    if accounted is not None:
        # It was watched before, so a slot of then must not count a second time.
        starts = Instant(max(starts, accounted + 1))
    opened = replace(wanted, starts=starts, ends=None)
    return Course(segment=opened, accounted=Instant(starts - 1), changes=(opened,))


def _known(stored: Segment, accounted: Instant | None) -> Instant:
    """Where the knowledge of an open segment ends."""
    start = Instant(stored.starts - 1)
    return start if accounted is None else max(accounted, start)


def _before(last: Instant, known: Instant) -> Instant:
    return known if last <= known else Instant(last - 1)


# Windows


def due(
    segments: Iterable[Segment],
    quiet: Iterable[QuietStretch],
    window_from: Instant,
    now: Instant,
    settled: Iterable[Instant],
) -> int:
    """How many slots in [window_from, now] a result can be asked for.

    `segments` are all schedules of one endpoint; `quiet` is in any order and may overlap;
    `settled` are slots with a result or in a gap, as often as they have one, and need hold
    only those since now − timeout, whose deadline has not yet passed. Costs the same for
    an hour and for 90 days.
    """
    hushed = merged(quiet, now)
    early = Counter(settled)
    total = 0
    for segment in segments:
        start = max(segment.starts, window_from)
        end = Instant(now + 1) if segment.ends is None else min(segment.ends, Instant(now + 1))
        passed = max(start, min(end, Instant(now - segment.timeout + 1)))
        total += _count_outside(segment.grid, start, passed, hushed)
        for slot in early:
            open_yet = passed <= slot < end and segment.grid.has(slot) and early[slot] > 0
            if open_yet and not any(first <= slot < last for first, last in hushed):
                early[slot] -= 1
                total += 1
    return total


def missed(gaps: Iterable[Gap], quiet: Iterable[QuietStretch], window_from: Instant, now: Instant) -> int:
    """How many slots in [window_from, now] lie in gaps, outside the `quiet` stretches."""
    hushed = merged(quiet, now)
    return sum(
        _count_outside(gap.grid, max(gap.first, window_from), Instant(min(gap.last, now) + 1), hushed)
        for gap in gaps
    )


def _count_outside(
    grid: Grid, start: Instant, end: Instant, hushed: Sequence[tuple[Instant, Instant]]
) -> int:
    total = grid.count(start, end)
    for first, last in hushed:
        total -= grid.count(max(start, first), min(end, last))
    return total
