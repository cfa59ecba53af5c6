"""A world of its own for the schedule: its clocks move only when nothing is left to do.

The event loop is a real one whose selector, asked to wait, moves the clocks instead. So hours
pass in milliseconds, and a test can set the wall clock, put the host to sleep or stop the process.
"""

import asyncio
import selectors
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, NamedTuple

from monitor.core.instant import SECOND, Instant, Span
from monitor.core.slots import Gap, GapReason, Grid, QuietStretch, Segment, due, missed, outside
from monitor.schedule import EARLY, Beats, Schedule, Scheduled

START = Instant(1_700_000_000 * SECOND)


class World:
    """Three clocks: wall (may be set), monotonic (stands still in sleep), elapsed (does not)."""

    def __init__(self, start: Instant = START) -> None:
        self.wall = start
        self.mono = 1000.0
        self.asleep = 0.0

    def now(self) -> Instant:
        return self.wall

    def monotonic(self) -> float:
        return self.mono

    def elapsed(self) -> float:
        return self.mono + self.asleep

    def advance(self, seconds: float) -> None:
        """Time passes."""
        self.mono += seconds
        self.wall = Instant(self.wall + round(seconds * SECOND))

    def sleep(self, seconds: float) -> None:
        """The host is suspended: the monotonic clock does not notice."""
        self.asleep += seconds
        self.wall = Instant(self.wall + round(seconds * SECOND))

    def stop(self, seconds: float) -> None:
        """SIGSTOP and SIGCONT: every clock goes on, the process does not."""
        self.advance(seconds)

    def step(self, seconds: float) -> None:
        """Somebody sets the wall clock."""
        self.wall = Instant(self.wall + round(seconds * SECOND))

    def run(self, story: Callable[[], Coroutine[Any, Any, None]]) -> None:
        with asyncio.Runner(loop_factory=lambda: _Loop(self)) as runner:
            runner.run(story())


class _Selector(selectors.SelectSelector):
    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise AssertionError("the loop would wait for ever")
        # Wall time is whole microseconds, and a timer must not come before its moment.
        self._world.advance(-(-max(timeout, 0.0) * 1e6 // 1) / 1e6)
        return super().select(0)


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self, world: World) -> None:
        self._world = world
        super().__init__(_Selector(world))

    def time(self) -> float:
        return self._world.mono


class HandBeats:
    """Beats of this world. Like APScheduler it waits by the monotonic clock and looks at the wall clock."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._armed: list[tuple[Grid, Callable[[], object]]] = []
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self._going = False

    def arm(self, grid: Grid, work: Callable[[], object]) -> None:
        self._armed.append((grid, work))
        if self._going:
            self._wait(len(self._armed) - 1)

    def start(self) -> None:
        self._going = True
        self.rearm()

    def rearm(self) -> None:
        self.pause()
        for number in range(len(self._armed)):
            self._wait(number)

    def pause(self) -> None:
        for timer in self._timers.values():
            timer.cancel()

    async def close(self) -> None:
        self.pause()

    def _wait(self, number: int, due: Instant | None = None) -> None:
        now = self._world.now()
        due = self._armed[number][0].next(now) if due is None else due
        loop = asyncio.get_running_loop()
        self._timers[number] = loop.call_later((due - now) / SECOND, self._look, number, due)

    def _look(self, number: int, due: Instant) -> None:
        if self._world.now() < due:
            self._wait(number, due)
            return
        asyncio.get_running_loop().call_soon(self._armed[number][1])
        self._wait(number)


class _Running(NamedTuple):
    slot: Instant
    segment: Segment
    timer: asyncio.TimerHandle


class Watched:
    """What schedules said, one after the other, and a pipeline and store that outlive them.

    A probe takes as long as `takes` says when it begins, in seconds.
    """

    def __init__(self, world: World, takes: float = 0.1) -> None:
        self.world = world
        self.takes = takes
        self.begun: list[tuple[str, Instant, Instant]] = []
        """(endpoint, slot, when by the wall clock)"""
        self.results: list[tuple[str, Instant]] = []
        self.gaps: list[Gap] = []
        self.open: dict[str, Segment] = {}
        self.closed: list[Segment] = []
        self.accounted: dict[str, Instant] = {}
        """The highest slot of the open segment with a result or in a gap."""
        self.most_at_once = 0
        self.schedule: Schedule
        self.orphans: list[tuple[str, Instant]] = []
        """Slots that ran when the clock was set and whose probe was killed: nobody misses them, so they
        stay due for good.
        """
        self.suspended: list[tuple[Instant, set[str]]] = []
        """When the schedule told of a suspension, and the endpoints whose probes ran then."""
        self.hushed: list[QuietStretch] = []
        """Pauses, of all endpoints; the newest may last."""
        self._running: dict[str, _Running] = {}

    def hush(self) -> None:
        """A pause begins, if there is none; else it ends."""
        # No slot is both begun before a pause and in it.
        now = Instant(self.world.now() + 1)
        if self.hushed and self.hushed[-1][1] is None:
            self.hushed[-1] = (self.hushed[-1][0], now)
        else:
            self.hushed.append((now, None))

    def watch(
        self,
        endpoints: Iterable[Scheduled],
        *,
        stopped_cleanly: bool = False,
        beats: Beats | None = None,
        late_at_once: int = 64,
    ) -> Schedule:
        """A schedule that goes on where the store left it."""
        self.schedule = Schedule(
            endpoints,
            begin=self._begin,
            gap=self._gap,
            segment=self._segment,
            suspended=self._suspended,
            accounted=dict(self.accounted),
            in_force=dict(self.open),
            stopped_cleanly=stopped_cleanly,
            now=self.world.now,
            monotonic=self.world.monotonic,
            elapsed=self.world.elapsed,
            beats=HandBeats(self.world) if beats is None else beats,
            late_at_once=late_at_once,
        )
        self.schedule.start()
        return self.schedule

    async def stop(self) -> None:
        """In good order: what runs is cut, and stored as such."""
        self.schedule.pause()
        for endpoint, running in list(self._running.items()):
            running.timer.cancel()
            self._end(endpoint)
        await self.schedule.close()

    def kill(self) -> None:
        """What runs is lost, and what was not stored yet."""
        self.schedule.pause()
        assert self.schedule._watch_timer is not None
        self.schedule._watch_timer.cancel()
        for endpoint, running in self._running.items():
            running.timer.cancel()
            if running.segment != self.open[endpoint]:
                self.orphans.append((endpoint, running.slot))
        self._running.clear()

    def slots_of(self, endpoint: str) -> list[Instant]:
        return [slot for id_, slot, _ in self.begun if id_ == endpoint]

    def gaps_of(self, endpoint: str) -> list[Gap]:
        return [gap for gap in self.gaps if gap.endpoint == endpoint]

    def segments_of(self, endpoint: str) -> list[Segment]:
        current = self.open.get(endpoint)
        past = [segment for segment in self.closed if segment.endpoint == endpoint]
        return past if current is None else [*past, current]

    async def settled(self) -> None:
        """Until no probe runs and no slot that has come is still to be dealt with; soon, it must be."""
        began = self.world.mono
        while self._running or self.schedule.waiting or self._owed():
            await asyncio.sleep(0.01)
        assert self.world.mono - began < 60

    def assert_no_slot_is_lost(self, endpoint: str) -> None:
        """Each slot of each segment has one result or lies in one gap; nothing else has. Once settled."""
        segments, gaps, now = self.segments_of(endpoint), self.gaps_of(endpoint), self.world.now()
        results = [slot for id_, slot in self.results if id_ == endpoint]
        expected: Counter[Instant] = Counter()
        for one in segments:
            slots = one.grid.slots(one.starts, Instant(now + 1) if one.ends is None else one.ends)
            expected.update(slot for slot in slots if not self._is_hushed(slot))
        found = Counter(results)
        for gap in gaps:
            found.update(gap.grid.slots(gap.first, Instant(gap.last + 1)))
            assert missed([gap], [], gap.first, gap.last) == gap.slots
        orphans = Counter(slot for id_, slot in self.orphans if id_ == endpoint)
        assert found + orphans == expected
        settled = list(found.elements())
        for window in (3, 30, 300, 3000):
            start = Instant(now - window * SECOND)
            counted = sum(start <= slot <= now for slot in results)
            forgotten = sum(start <= slot <= now for slot in orphans.elements())
            answered = counted + missed(gaps, self.hushed, start, now)
            assert answered <= due(segments, self.hushed, start, now, settled) <= answered + forgotten

    def _begin(self, endpoint: str, slot: Instant) -> bool:
        if endpoint in self._running:
            return False
        if self._is_hushed(slot) or (self.hushed and self.hushed[-1][1] is None):
            self._gap(Gap(endpoint, slot, slot, 1, GapReason.LATE))
            self.schedule.finished(endpoint)
            return True
        self.begun.append((endpoint, slot, self.world.now()))
        timer = asyncio.get_running_loop().call_later(self.takes, self._end, endpoint)
        self._running[endpoint] = _Running(slot, self.open[endpoint], timer)
        self.most_at_once = max(self.most_at_once, len(self._running))
        return True

    def _end(self, endpoint: str) -> None:
        ended = self._running.pop(endpoint)
        self.results.append((endpoint, ended.slot))
        if ended.segment == self.open[endpoint]:
            self._account(endpoint, ended.slot)
        self.schedule.finished(endpoint)

    def _suspended(self) -> None:
        self.suspended.append((self.world.now(), set(self._running)))

    def _gap(self, gap: Gap) -> None:
        """As the writer takes it."""
        for part in outside(gap, self.hushed):
            self.gaps.append(part)
            self._account(part.endpoint, part.last)

    def _is_hushed(self, slot: Instant) -> bool:
        return any(start <= slot and (end is None or slot < end) for start, end in self.hushed)

    def _segment(self, segment: Segment) -> None:
        if segment.ends is None:
            self.open[segment.endpoint] = segment
        else:
            self.closed.append(segment)
            del self.open[segment.endpoint]
            self.accounted.pop(segment.endpoint, None)

    def _account(self, endpoint: str, slot: Instant) -> None:
        self.accounted[endpoint] = max(self.accounted.get(endpoint, slot), slot)

    def _owed(self) -> bool:
        now = Instant(self.world.now() + EARLY)
        return any(place.segment.grid.last(now) > place.accounted for place in self.schedule._places.values())


def every(seconds: float, phase: float = 0.0, *, name: str = "openai/gpt") -> Scheduled:
    """An endpoint that is looked at every so many seconds."""
    grid = Grid(Span(round(seconds * SECOND)), Span(round(phase * SECOND)))
    timeout = Span(round(seconds * SECOND * 0.5))
    return Scheduled(id=name, grid=grid, timeout=timeout, provider=name.split("/", maxsplit=1)[0])
