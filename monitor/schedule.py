"""The beat: APScheduler says when, the slots say what.

One job per (interval, second of phase) comes a quarter of a second ahead of its slots and arms
one timer for each endpoint. Neither is trusted with the truth: each endpoint knows up to which
slot it is accounted for, so whatever comes late, twice or never, every slot is either handed
to `begin` or lies in a gap.

A slot is begun as long as the next one has not come. One that is more than a second late is
begun in single file (`Lane`), so that neither a start nor a stall ends in a burst.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import chain, zip_longest
from typing import Protocol

import structlog
from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_MAX_INSTANCES, EVENT_JOB_MISSED, JobEvent
from apscheduler.executors.debug import DebugExecutor
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger

from monitor.core.instant import MILLISECOND, SECOND, Instant, Span, as_datetime, instant
from monitor.core.slots import (
    STEP,
    Course,
    Gap,
    GapReason,
    Grid,
    Segment,
    gap_between,
    retire,
    step_over,
    take_up,
)

LEAD = Span(250 * MILLISECOND)
"""A beat comes this long ahead of the second in which its slots lie."""
EARLY = Span(2 * MILLISECOND)
"""A slot is begun up to this long ahead of its moment: timers and the wall clock differ by as much."""
PROMPT = SECOND
"""A slot that is later than this waits its turn in the lane."""
STALL_S = 5.0
"""Who hears nothing for as long was suspended; seconds."""
SLEEP_S = 0.5
"""So was a host whose monotonic clock stood still for as long; seconds."""
WATCH_S = 1.0
"""How often the clocks are compared; seconds."""
PATIENCE_S = 5.0
"""A beat that is later than this is no progress; seconds."""
LANE_TICK_S = 0.02
LANE_RATE_FLOOR = 50.0
"""Late slots begun per second, at least; with many endpoints twice the steady rate."""

log = structlog.get_logger()


def elapsed() -> float:
    """Seconds since some fixed moment; unlike the monotonic clock it also counts while the host sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduled:
    """An endpoint as the schedule sees it."""

    id: str
    grid: Grid
    timeout: Span
    provider: str


@dataclass(slots=True)
class Tally:
    """What the schedule did since its start; for the daemon's own metrics."""

    begun: int = 0
    """Slots for which a probe was begun."""
    begun_late: int = 0
    """Those of them that waited in the lane."""
    lateness_ms: float = 0.0
    """How late the newest prompt slot was begun."""
    lateness_max_ms: float = 0.0
    lately_ms: list[float] = field(default_factory=list)
    """How late each prompt slot was begun since somebody last took them."""
    beats: int = 0
    dropped: int = 0
    """Beats that the scheduler says it did not deliver; their slots were found all the same."""
    clock_steps: int = 0
    suspensions: int = 0

    def take_lately_ms(self) -> list[float]:
        """How late each prompt slot was begun since the last call."""
        taken, self.lately_ms = self.lately_ms, []
        return taken


class Beats(Protocol):
    """Whoever calls at the moments of a grid. A call may come late or once too often."""

    def arm(self, grid: Grid, work: Callable[[], object]) -> None:
        """From now on call `work` on the loop at every moment of the grid."""
        ...

    def start(self) -> None:
        """Begin to call. Needs a running loop."""
        ...

    def rearm(self) -> None:
        """Take the next moments from the wall clock afresh, for it was stepped."""
        ...

    def pause(self) -> None:
        """Call no more."""
        ...

    async def close(self) -> None:
        """End for good."""
        ...


class _Moments(BaseTrigger):  # type: ignore[misc]  # APScheduler ships no types
    """The moments of a grid. Unlike APScheduler's own triggers it skips what was missed: after a year's
    step those list three million moments, and so hold up the loop, before they drop all but one.
    """

    __slots__ = ("_grid",)

    def __init__(self, grid: Grid) -> None:
        self._grid = grid

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:  # noqa: ARG002
        return as_datetime(self._grid.next(instant(now)))


class SchedulerBeats:
    """Beats by APScheduler. `lost` is called with a sentence when it says that it dropped one."""

    def __init__(self, lost: Callable[[str], None]) -> None:
        # It writes two lines a run.
        logging.getLogger("apscheduler").setLevel(logging.WARNING)
        self._armed: list[tuple[Grid, Callable[[], object]]] = []
        self._lost = lost
        self._scheduler = AsyncIOScheduler(
            timezone=UTC,
            # It calls a job there and then: no thread, no task that a shutdown would cancel.
            executors={"default": DebugExecutor()},
            job_defaults={"coalesce": True, "misfire_grace_time": None, "max_instances": 1},
        )
        self._scheduler.add_listener(
            self._heard, EVENT_JOB_MISSED | EVENT_JOB_MAX_INSTANCES | EVENT_JOB_ERROR
        )

    def arm(self, grid: Grid, work: Callable[[], object]) -> None:
        self._armed.append((grid, work))
        if self._scheduler.running:
            self._add(grid, work)

    def start(self) -> None:
        for grid, work in self._armed:
            self._add(grid, work)
        self._scheduler.start()

    def rearm(self) -> None:
        # Paused, so that each job does not wake the scheduler.
        self._scheduler.pause()
        self._scheduler.remove_all_jobs()
        for grid, work in self._armed:
            self._add(grid, work)
        self._scheduler.resume()

    def pause(self) -> None:
        self._scheduler.pause()

    async def close(self) -> None:
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)
            # It only asks the loop to do it.
            await asyncio.sleep(0)

    def _add(self, grid: Grid, work: Callable[[], object]) -> None:
        # By way of the loop: APScheduler would hold its lock meanwhile and swallow every exception.
        self._scheduler.add_job(
            asyncio.get_running_loop().call_soon, _Moments(grid), args=(work,), name="beat"
        )

    def _heard(self, event: JobEvent) -> None:
        self._lost(f"APScheduler did not run a job: event {event.code}")


@dataclass(slots=True, eq=False)
class _Place:
    """One endpoint's place in the schedule."""

    id: str
    provider: str
    segment: Segment
    accounted: Instant
    """Every slot up to here was handed to `begin`, lies in a gap or is of an earlier segment."""
    reach: Span
    """Slots that are nearer than this have had their beat and need a timer now."""
    waiting: bool = False
    """Its next slot that is not accounted for stands in the lane."""
    timer: asyncio.TimerHandle | None = None
    running: bool = False
    """Its probe has not ended yet."""
    held: list[Gap] = field(default_factory=list)
    """Gaps that were found meanwhile."""


class Lane:
    """Late slots, one after the other.

    Begins at most `at_once` that have not ended, and not more than `rate` a second.
    `begin` answers whether a probe was begun.
    """

    def __init__(self, begin: Callable[[_Place], bool], rate: float, at_once: int) -> None:
        self._begin = begin
        self._rate = rate
        self._at_once = at_once
        self._queue: deque[_Place] = deque()
        self._running: set[str] = set()
        self._credit = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._queue)

    def join(self, place: _Place) -> None:
        place.waiting = True
        self._queue.append(place)
        self._wake()

    def ended(self, endpoint: str) -> None:
        """The probe that ran for this endpoint, if any, is over."""
        if endpoint in self._running:
            self._running.discard(endpoint)
            self._wake()

    def clear(self) -> None:
        for place in self._queue:
            place.waiting = False
        self._queue.clear()

    def _wake(self) -> None:
        if self._timer is None and self._queue and len(self._running) < self._at_once:
            self._timer = asyncio.get_running_loop().call_later(LANE_TICK_S, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._credit = min(self._credit, 1.0) + self._rate * LANE_TICK_S
        try:
            while self._queue and self._credit >= 1.0 and len(self._running) < self._at_once:
                self._next(self._queue.popleft())
        finally:
            self._wake()

    def _next(self, place: _Place) -> None:
        if not place.waiting:
            return
        # Before it begins, for it may be over at once.
        self._running.add(place.id)
        if self._begin(place):
            self._credit -= 1.0
        else:
            self._running.discard(place.id)


class Schedule:
    """Hands every slot to `begin`, or reports it in a gap; never both, never neither.

    Everything is called on the event loop and must return at once: `begin(id, slot)` starts a probe and
    answers False if the endpoint's previous one still runs; `gap` and `segment` take what is to be
    stored, in the order of the calls: a gap belongs to the segment that is open then. An exception
    of theirs goes to the loop's exception handler.

    `in_force` is each endpoint's open segment, `accounted` the highest slot of that segment that has a
    stored result or lies in a stored gap. `now` may jump, `monotonic` is the loop's clock, `elapsed`
    also counts sleep. `suspended` hears of a sleep or a stop as soon as it is over.
    """

    def __init__(
        self,
        endpoints: Iterable[Scheduled],
        *,
        begin: Callable[[str, Instant], bool],
        gap: Callable[[Gap], None],
        segment: Callable[[Segment], None],
        suspended: Callable[[], None],
        accounted: Mapping[str, Instant],
        in_force: Mapping[str, Segment],
        stopped_cleanly: bool,
        now: Callable[[], Instant],
        monotonic: Callable[[], float] = time.monotonic,
        elapsed: Callable[[], float] = elapsed,
        beats: Beats | None = None,
        late_at_once: int = 64,
    ) -> None:
        self.tally = Tally()
        self._endpoints = tuple(endpoints)
        self._on_begin, self._on_gap, self._on_segment = begin, gap, segment
        self._on_suspended = suspended
        self._stored_slots, self._stored_segments = accounted, in_force
        self._away = GapReason.STOPPED if stopped_cleanly else GapReason.NOT_RUNNING
        self._now, self._monotonic, self._elapsed = now, monotonic, elapsed
        self._beats: Beats = SchedulerBeats(self._dropped) if beats is None else beats
        steady = sum(SECOND / endpoint.grid.interval for endpoint in self._endpoints)
        self._lane = Lane(self._begin_late, max(LANE_RATE_FLOOR, 2 * steady), late_at_once)
        shortest = min((endpoint.grid.interval for endpoint in self._endpoints), default=None)
        self._patience_s = None if shortest is None else shortest / SECOND + PATIENCE_S
        self._places: dict[str, _Place] = {}
        self._chores: set[asyncio.Task[None]] = set()
        self._watch_timer: asyncio.TimerHandle | None = None
        self._paused = False
        self._wall, self._mark, self._awake = now(), elapsed(), monotonic()
        self._beaten = self._progress = self._awake

    @property
    def progress(self) -> float:
        """Monotonic seconds at which the schedule was last known to be alive: beats come, or none is due."""
        return self._progress

    @property
    def waiting(self) -> int:
        """Late slots that wait for their turn; some may have been overtaken."""
        return len(self._lane)

    # Life

    def start(self) -> None:
        """Take up every endpoint where the store left it, and begin to beat. Needs a running loop."""
        now = self._read_clocks()
        configured = {endpoint.id for endpoint in self._endpoints}
        for id_, stored in self._stored_segments.items():
            if id_ not in configured:
                self._on_segment(retire(stored, self._stored_slots.get(id_)))
        for endpoint in self._endpoints:
            self._places[endpoint.id] = self._taken_up(endpoint, now)
        for (interval, second), places in _groups(self._places.values()).items():
            # The beat's own grid, a little ahead of the second in which the slots lie.
            ahead = Grid(interval, Span((second * SECOND - LEAD) % interval))
            self._beats.arm(ahead, partial(self._beat, places))
        self._beats.start()
        for place in _by_turns(self._places.values(), now):
            self._settle(place, now, self._away, prompt=Span(0))
            self._set_timer(place, now)
        self._beaten = self._progress = self._monotonic()
        self._watch_timer = asyncio.get_running_loop().call_later(WATCH_S, self._watch)
        log.info("schedule.started", endpoints=len(self._places), late=self.waiting)

    def pause(self) -> None:
        """Begin nothing more, no housekeeping either. Probes that run are not touched."""
        self._paused = True
        self._beats.pause()
        self._forget_timers()
        self._lane.clear()

    async def close(self) -> None:
        """End, after the last probe has. Housekeeping that still runs is cancelled and awaited."""
        self.pause()
        if self._watch_timer is not None:
            self._watch_timer.cancel()
        await self._beats.close()
        for place in self._places.values():
            self._release(place)
        for chore in self._chores:
            chore.cancel()
        await asyncio.gather(*self._chores, return_exceptions=True)

    def every(self, seconds: float, work: Callable[[], Awaitable[None] | None]) -> None:
        """Do some housekeeping every so many seconds, from then on.

        A coroutine gets a task of its own and is not begun again before it has ended.
        """
        interval = Span(round(seconds * SECOND))

        def due() -> Awaitable[None] | None:
            # Whoever wakes first after a stall deals with it, before anything is done at the new time.
            self._moment()
            return work()

        self._beats.arm(Grid(interval, Span(self._now() % interval)), _Chore(due, self._chores))

    def finished(self, endpoint: str) -> None:
        """The pipeline tells that an endpoint's probe is over and its result on the way to the store.

        To be called for every probe that was begun, however it ended.
        """
        self._release(self._places[endpoint])
        self._lane.ended(endpoint)

    # Beats, timers and the watch: each only leads to `_visit`, whatever it is that they come for

    def _beat(self, places: Iterable[_Place]) -> None:
        if self._paused:
            return
        self.tally.beats += 1
        self._beaten = self._monotonic()
        now = self._moment()
        for place in places:
            self._visit(place, now)

    def _ring(self, place: _Place) -> None:
        place.timer = None
        self._visit(place, self._moment())

    def _watch(self) -> None:
        self._watch_timer = asyncio.get_running_loop().call_later(WATCH_S, self._watch)
        self._moment()
        monotonic = self._monotonic()
        if self._patience_s is None or self._paused or monotonic - self._beaten < self._patience_s:
            self._progress = monotonic

    def _visit(self, place: _Place, now: Instant, reason: GapReason = GapReason.LATE) -> None:
        self._settle(place, now, reason)
        self._set_timer(place, now)

    def _set_timer(self, place: _Place, now: Instant) -> None:
        if place.timer is None:
            slot = place.segment.grid.next(max(place.accounted, now))
            if slot - now <= place.reach:
                delay = (slot - self._now()) / SECOND
                place.timer = asyncio.get_running_loop().call_later(delay, self._ring, place)

    # Slots

    def _settle(self, place: _Place, now: Instant, reason: GapReason, prompt: Span = PROMPT) -> None:
        """Account for every slot up to now: the newest is begun or joins the lane, others are a gap."""
        grid = place.segment.grid
        last = grid.last(Instant(now + EARLY))
        if last <= place.accounted:
            return
        if grid.next(place.accounted) < last:
            place.waiting = False
            self._miss(place, gap_between(place.id, grid, place.accounted, last, reason))
            place.accounted = Instant(last - grid.interval)
        if place.waiting:
            return
        if now - last > prompt:
            self._lane.join(place)
        else:
            self.tally.lateness_ms = max(now - last, 0) / MILLISECOND
            self.tally.lateness_max_ms = max(self.tally.lateness_max_ms, self.tally.lateness_ms)
            self.tally.lately_ms.append(self.tally.lateness_ms)
            if self._begin(place, last):
                # Had it run for the lane until now, this one could not have begun.
                self._lane.ended(place.id)

    def _begin(self, place: _Place, slot: Instant) -> bool:
        place.accounted = slot
        before = place.running
        place.running = True  # first, for it may be over at once
        if self._on_begin(place.id, slot):
            self.tally.begun += 1
            return True
        place.running = before
        self._miss(place, Gap(place.id, slot, slot, 1, GapReason.STILL_RUNNING))
        return False

    def _begin_late(self, place: _Place) -> bool:
        slot = place.segment.grid.next(place.accounted)
        now = self._moment()
        # A step may just have emptied the lane; and if the next slot has come, its timer sees to both.
        if not place.waiting or place.segment.grid.last(now) != slot:
            return False
        place.waiting = False
        begun = self._begin(place, slot)
        self.tally.begun_late += begun
        return begun

    def _miss(self, place: _Place, gap: Gap | None) -> None:
        if gap is None:
            return
        if place.running:
            # Were it stored before the result of an earlier slot and we were killed in between, that
            # slot would be taken for known at the next start.
            place.held.append(gap)
        else:
            self._on_gap(gap)

    def _release(self, place: _Place) -> None:
        place.running = False
        for gap in place.held:
            self._on_gap(gap)
        place.held.clear()

    def _taken_up(self, endpoint: Scheduled, now: Instant) -> _Place:
        wanted = Segment(endpoint=endpoint.id, grid=endpoint.grid, timeout=endpoint.timeout, starts=now)
        stored = self._stored_segments.get(endpoint.id)
        known = self._stored_slots.get(endpoint.id)
        # A second beyond what the next beat will see, so that a clock set back a little opens no hole.
        reach = Span(endpoint.grid.phase % SECOND + LEAD + SECOND)
        place = _Place(endpoint.id, endpoint.provider, wanted, now, reach)
        self._follow(place, take_up(wanted, stored, known, now, self._away))
        return place

    def _follow(self, place: _Place, course: Course) -> None:
        self._miss(place, course.gap)
        # A gap belongs to the segment that is open when it is stored.
        self._release(place)
        for segment in course.changes:
            self._on_segment(segment)
        place.segment, place.accounted, place.waiting = course.segment, course.accounted, False

    # The clocks

    def _moment(self) -> Instant:
        """What time it is; whoever asks first after a stall or a step deals with it."""
        wall, mark, awake = self._now(), self._elapsed(), self._monotonic()
        passed = mark - self._mark
        stalled = passed >= STALL_S or passed - (awake - self._awake) >= SLEEP_S
        if stalled or abs(wall - self._wall - passed * SECOND) > STEP:
            return self._startled()
        self._wall, self._mark, self._awake = wall, mark, awake
        return wall

    def _startled(self) -> Instant:
        # Read again: a stop between two readings looks like a step.
        before, mark, awake = self._wall, self._mark, self._awake
        wall = self._read_clocks()
        passed = self._mark - mark
        unstepped = Instant(before + round(passed * SECOND))
        stepped = abs(wall - unstepped) > STEP
        if self._paused:
            return wall
        if passed >= STALL_S or passed - (self._awake - awake) >= SLEEP_S:
            self._suspended(passed, unstepped if stepped else wall)
        if stepped:
            self._stepped(unstepped, wall)
        return wall

    def _read_clocks(self) -> Instant:
        self._wall, self._mark, self._awake = self._now(), self._elapsed(), self._monotonic()
        return self._wall

    def _suspended(self, passed: float, now: Instant) -> None:
        log.warning("schedule.suspended", seconds=round(passed, 1))
        self.tally.suspensions += 1
        self._on_suspended()
        # Every timer that was set before is late by as long as the host slept.
        self._forget_timers()
        self._beats.rearm()
        for place in _by_turns(self._places.values(), now):
            self._visit(place, now, GapReason.SUSPENDED)

    def _stepped(self, before: Instant, after: Instant) -> None:
        log.warning("schedule.clock_stepped", seconds=(after - before) / SECOND)
        self.tally.clock_steps += 1
        self._forget_timers()
        self._lane.clear()
        for place in self._places.values():
            self._follow(place, step_over(place.segment, place.accounted, before, after))
        self._beats.rearm()
        now = self._now()
        for place in self._places.values():
            self._visit(place, now)

    def _forget_timers(self) -> None:
        for place in self._places.values():
            if place.timer is not None:
                place.timer.cancel()
                place.timer = None

    def _dropped(self, what: str) -> None:
        self.tally.dropped += 1
        log.error("schedule.beat_dropped", detail=what)


class _Chore:
    """A piece of housekeeping that does not overtake itself."""

    def __init__(self, work: Callable[[], Awaitable[None] | None], running: set[asyncio.Task[None]]) -> None:
        self._work = work
        self._running = running
        self._task: asyncio.Task[None] | None = None

    def __call__(self) -> None:
        if self._task is not None and not self._task.done():
            return
        answer = self._work()
        if answer is not None:
            self._task = asyncio.get_running_loop().create_task(_run(answer))
            self._running.add(self._task)
            self._task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.result()  # a bug travels on to the loop's exception handler


async def _run(work: Awaitable[None]) -> None:
    await work


def _groups(places: Iterable[_Place]) -> dict[tuple[Span, int], list[_Place]]:
    """The endpoints of each (interval, second of phase)."""
    groups: dict[tuple[Span, int], list[_Place]] = {}
    for place in places:
        grid = place.segment.grid
        groups.setdefault((grid.interval, grid.phase // SECOND), []).append(place)
    return groups


def _by_turns(places: Iterable[_Place], now: Instant) -> Iterable[_Place]:
    """One of each provider in turn, so that one that hangs does not fill the lane; the soonest
    to be overtaken first.
    """
    queues: dict[str, list[_Place]] = {}
    for place in sorted(places, key=lambda place: place.segment.grid.next(now)):
        queues.setdefault(place.provider, []).append(place)
    rounds = zip_longest(*queues.values())
    return (place for place in chain.from_iterable(rounds) if place is not None)
