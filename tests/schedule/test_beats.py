"""The beat by APScheduler itself, in real time."""

import asyncio
import time
from datetime import timedelta

import pytest

from monitor import clock
from monitor.core.instant import SECOND, Instant, Span, as_datetime
from monitor.core.slots import Gap, Grid, Segment
from monitor.schedule import Schedule, SchedulerBeats
from tests.schedule.world import every

FIFTH = Grid(Span(SECOND // 5), Span(0))


class Ticks:
    """Counts, and tells when enough have come."""

    def __init__(self, enough: int = 3) -> None:
        self.at: list[float] = []
        self.enough = asyncio.Event()
        self._wanted = enough

    def __call__(self) -> None:
        self.at.append(time.monotonic())
        if len(self.at) >= self._wanted:
            self.enough.set()


def beats() -> SchedulerBeats:
    return SchedulerBeats(lost=pytest.fail)


@pytest.mark.anyio
async def test_beats_come_at_every_moment_of_the_grid() -> None:
    ticks, metronome = Ticks(), beats()
    metronome.arm(FIFTH, ticks)
    metronome.start()
    async with asyncio.timeout(5):
        await ticks.enough.wait()
    await metronome.close()
    first, _, third = ticks.at
    assert 0.2 < third - first < 2


@pytest.mark.anyio
async def test_a_year_of_missed_moments_is_one_beat() -> None:
    ticks, metronome = Ticks(), beats()
    metronome.arm(FIFTH, ticks)
    metronome.start()
    (job,) = metronome._scheduler.get_jobs()
    now = as_datetime(clock.now())
    # As after a step forward: 158 million moments of this grid.
    job.modify(next_run_time=now - timedelta(days=365))
    assert job._get_run_times(now) == [now - timedelta(days=365)]
    async with asyncio.timeout(5):
        await ticks.enough.wait()
    await metronome.close()


@pytest.mark.anyio
async def test_beats_that_lie_far_ahead_after_the_clock_was_set_back_come_again() -> None:
    ticks, metronome = Ticks(), beats()
    metronome.arm(FIFTH, ticks)
    metronome.start()
    (job,) = metronome._scheduler.get_jobs()
    job.modify(next_run_time=as_datetime(clock.now()) + timedelta(hours=1))
    metronome.rearm()
    async with asyncio.timeout(5):
        await ticks.enough.wait()
    await metronome.close()


@pytest.mark.anyio
async def test_a_paused_beat_is_silent_and_what_it_began_outlives_its_end() -> None:
    ticks, metronome, done = Ticks(1), beats(), asyncio.Event()
    probes: list[asyncio.Task[None]] = []

    async def probe() -> None:
        await asyncio.sleep(0.3)
        done.set()

    def begin() -> None:
        ticks()
        probes.append(asyncio.get_running_loop().create_task(probe()))

    metronome.arm(FIFTH, begin)
    metronome.start()
    async with asyncio.timeout(5):
        await ticks.enough.wait()
        metronome.pause()
        count = len(ticks.at)
        await metronome.close()
        await done.wait()
    assert len(ticks.at) == count
    assert not probes[0].cancelled()


@pytest.mark.anyio
async def test_a_bug_in_a_beat_reaches_the_loop_and_stops_no_other() -> None:
    ticks, metronome = Ticks(), beats()
    bugs: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: bugs.append(context["exception"]))

    def broken() -> None:
        raise LookupError("a bug")

    metronome.arm(FIFTH, broken)
    metronome.arm(FIFTH, ticks)
    metronome.start()
    async with asyncio.timeout(5):
        await ticks.enough.wait()
    await metronome.close()
    asyncio.get_running_loop().set_exception_handler(None)
    assert {type(bug) for bug in bugs} == {LookupError}


@pytest.mark.anyio
async def test_a_real_schedule_begins_its_slots_in_time() -> None:
    begun: list[tuple[str, Instant, Instant]] = []
    gaps: list[Gap] = []
    segments: list[Segment] = []
    enough = asyncio.Event()

    def begin(endpoint: str, slot: Instant) -> bool:
        begun.append((endpoint, slot, clock.now()))
        schedule.finished(endpoint)
        if len(begun) == 14:
            enough.set()
        return True

    schedule = Schedule(
        [every(1, 0.3), every(1, 0.95, name="a/b"), every(0.5, 0.1, name="a/c")],
        begin=begin,
        gap=gaps.append,
        segment=segments.append,
        suspended=lambda: None,
        accounted={},
        in_force={},
        stopped_cleanly=True,
        now=clock.now,
    )
    schedule.start()
    async with asyncio.timeout(10):
        await enough.wait()
    await schedule.close()
    assert gaps == []
    assert len(segments) == 3
    for segment in segments:
        slots = [slot for endpoint, slot, _ in begun if endpoint == segment.endpoint]
        end = Instant(slots[-1] + 1)
        assert slots == list(segment.grid.slots(segment.starts, end))
    assert max(when - slot for _, slot, when in begun[3:]) < SECOND
