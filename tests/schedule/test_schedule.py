"""The schedule through hours of its life: starts, stalls, sleep, stops and clocks that are set."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.core.instant import SECOND, Instant, Span
from monitor.core.slots import Gap, GapReason, Segment, phase_of
from monitor.schedule import Scheduled
from tests.schedule.world import START, Watched, World, every

GPT = "openai/gpt"
MINUTELY = every(60, 20)
"""START is itself 20 seconds after a minute, so a slot of this."""


def after(seconds: float) -> Instant:
    return Instant(START + round(seconds * SECOND))


def fleet(count: int, seconds: float, *, providers: int = 1, kind: str = "m") -> list[Scheduled]:
    """Endpoints with the phases that they would have."""
    names = [f"p{number % providers}/{kind}{number}" for number in range(count)]
    interval = Span(round(seconds * SECOND))
    return [every(seconds, phase_of(name, interval) / SECOND, name=name) for name in names]


def most_within(watched: Watched, seconds: float, *, since: Instant) -> int:
    """The most probes that were begun in any stretch of so many seconds."""
    moments = sorted(when for _, _, when in watched.begun if when >= since)
    return max(sum(0 <= other - one < seconds * SECOND for other in moments) for one in moments)


# The ordinary course


def test_every_slot_is_begun_at_its_moment() -> None:
    world = World(after(5))
    watched = Watched(world)

    async def story() -> None:
        watched.watch([MINUTELY, every(10, 3.7, name="a/b"), every(0.5, 0.4, name="a/c")])
        await asyncio.sleep(3600)
        await watched.stop()

    world.run(story)
    assert watched.slots_of(GPT) == [after(60 * n) for n in range(61)]
    assert len(watched.slots_of("a/b")) == 361
    assert len(watched.slots_of("a/c")) == 7201
    assert watched.gaps == []
    assert watched.schedule.tally.lateness_max_ms < 0.01
    assert all(when - slot < 10_000 for _, slot, when in watched.begun if slot > after(5))


def test_a_thousand_endpoints_start_spread_and_stay_put() -> None:
    world = World()
    watched = Watched(world)
    endpoints = fleet(1000, 60)

    async def story() -> None:
        watched.watch(endpoints)
        await asyncio.sleep(180)
        await watched.settled()
        await watched.stop()

    world.run(story)
    assert most_within(watched, 0.1, since=after(60)) < 12
    for endpoint in endpoints:
        watched.assert_no_slot_is_lost(endpoint.id)
        assert len({slot % endpoint.grid.interval for slot in watched.slots_of(endpoint.id)}) == 1
    # A beat a second and not one an endpoint.
    assert watched.schedule.tally.beats <= 181


def test_a_slot_whose_predecessor_still_runs_is_a_gap() -> None:
    world = World()
    watched = Watched(world, takes=75)

    async def story() -> None:
        watched.watch([MINUTELY])
        await asyncio.sleep(130)
        await watched.stop()

    world.run(story)
    assert watched.gaps == [Gap(GPT, after(60), after(60), 1, GapReason.STILL_RUNNING)]
    assert watched.slots_of(GPT) == [after(0), after(120)]
    watched.assert_no_slot_is_lost(GPT)


def test_nothing_is_begun_after_pause() -> None:
    world = World()
    watched = Watched(world, takes=50)

    async def story() -> None:
        schedule = watched.watch([MINUTELY, *fleet(200, 60)])
        await asyncio.sleep(1)
        schedule.pause()
        begun = len(watched.begun)
        assert 0 < begun < 200
        await asyncio.sleep(200)
        assert len(watched.begun) == begun
        await watched.stop()

    world.run(story)


# A start


def test_a_new_endpoint_is_looked_at_at_once_and_its_schedule_begins_with_that_slot() -> None:
    world = World(after(45))
    watched = Watched(world)

    async def story() -> None:
        watched.watch([MINUTELY])
        await asyncio.sleep(1)
        await watched.stop()

    world.run(story)
    assert [(id_, slot) for id_, slot, _ in watched.begun] == [(GPT, after(0))]
    assert watched.begun[0][2] < after(45.1)
    assert watched.open[GPT].starts == after(0)
    assert watched.gaps == []


@pytest.mark.parametrize(("cleanly", "reason"), [(True, GapReason.STOPPED), (False, GapReason.NOT_RUNNING)])
def test_what_was_missed_while_away_is_one_gap_and_the_last_slot_is_filled(
    cleanly: bool, reason: GapReason
) -> None:
    world = World()
    watched = Watched(world)

    async def story() -> None:
        watched.watch([MINUTELY])
        await asyncio.sleep(61)
        await watched.stop()
        world.advance(300)
        watched.watch([MINUTELY], stopped_cleanly=cleanly)
        await asyncio.sleep(130)
        await watched.settled()
        await watched.stop()

    world.run(story)
    assert watched.gaps == [Gap(GPT, after(120), after(300), 4, reason)]
    assert watched.slots_of(GPT) == [after(60 * n) for n in (0, 1, 6, 7, 8)]
    assert watched.closed == []
    watched.assert_no_slot_is_lost(GPT)


def test_a_quick_restart_keeps_the_phase_and_looks_at_nothing_twice() -> None:
    world = World()
    watched = Watched(world)

    async def story() -> None:
        watched.watch([MINUTELY])
        await asyncio.sleep(1)
        await watched.stop()
        world.advance(3)
        watched.watch([MINUTELY], stopped_cleanly=True)
        await asyncio.sleep(58)
        await watched.stop()

    world.run(story)
    assert [when // SECOND for _, _, when in watched.begun] == [after(0) // SECOND, after(60) // SECOND]
    assert watched.gaps == []


def test_a_probe_that_died_with_the_daemon_is_looked_at_again() -> None:
    world = World()
    watched = Watched(world, takes=20)

    async def story() -> None:
        watched.watch([MINUTELY])
        await asyncio.sleep(1)
        watched.kill()
        world.advance(3)
        watched.watch([MINUTELY])
        await asyncio.sleep(30)
        await watched.stop()

    world.run(story)
    assert watched.slots_of(GPT) == [after(0), after(0)]
    assert watched.results == [(GPT, after(0))]
    assert watched.gaps == []


def test_a_probe_that_died_after_its_next_slot_had_come_is_not_forgotten() -> None:
    world = World()
    watched = Watched(world, takes=200)

    async def story() -> None:
        watched.watch([MINUTELY])
        await asyncio.sleep(130)
        # Two slots found it still running; none of the three may be stored before it ends.
        watched.kill()
        assert watched.gaps == []
        world.advance(30)
        watched.watch([MINUTELY])
        watched.takes = 0.1
        await asyncio.sleep(1)
        await watched.stop()

    world.run(story)
    assert watched.gaps == [Gap(GPT, after(0), after(60), 2, GapReason.NOT_RUNNING)]
    watched.assert_no_slot_is_lost(GPT)


def test_a_changed_interval_closes_one_schedule_and_opens_another() -> None:
    world = World()
    watched = Watched(world)

    async def story() -> None:
        watched.watch([MINUTELY, every(60, 30, name="a/gone")])
        await asyncio.sleep(61)
        await watched.stop()
        world.advance(200)
        watched.watch([every(10, 5)], stopped_cleanly=True)
        await asyncio.sleep(35)
        await watched.settled()
        await watched.stop()

    world.run(story)
    closed, opened = watched.segments_of(GPT)
    assert (closed.grid, opened.grid) == (MINUTELY.grid, every(10, 5).grid)
    assert closed.ends == opened.starts
    assert [gap.reason for gap in watched.gaps] == [GapReason.STOPPED]
    watched.assert_no_slot_is_lost(GPT)
    (gone,) = watched.segments_of("a/gone")
    assert gone.ends == watched.slots_of("a/gone")[-1] + 1
    assert "a/gone" not in watched.open


def test_two_hundred_endpoints_are_all_looked_at_within_five_seconds_of_a_start() -> None:
    world = World()
    watched = Watched(world, takes=0.5)
    endpoints = fleet(200, 60)

    async def story() -> None:
        watched.watch(endpoints)
        await asyncio.sleep(5)
        assert {id_ for id_, _, _ in watched.begun} == {endpoint.id for endpoint in endpoints}
        await watched.stop()

    world.run(story)
    assert most_within(watched, 0.1, since=START) <= 10
    assert most_within(watched, 1.0, since=START) <= 60


def test_a_start_leaves_no_more_probes_unfinished_than_it_may() -> None:
    world = World()
    watched = Watched(world, takes=9)
    endpoints = [every(600, number * 0.5, name=f"p{number % 4}/m{number}") for number in range(100)]

    async def story() -> None:
        watched.watch(endpoints, late_at_once=16)
        await asyncio.sleep(80)
        assert {id_ for id_, _, _ in watched.begun} == {endpoint.id for endpoint in endpoints}
        await watched.stop()

    world.run(story)
    assert watched.most_at_once == 16


def test_a_provider_that_hangs_gets_no_more_than_its_turns_at_a_start() -> None:
    world = World()
    watched = Watched(world, takes=100)
    endpoints = [every(600, n * 0.1, name=f"dead/m{n}") for n in range(100)]
    endpoints += [every(600, n * 0.1, name=f"live/m{n}") for n in range(8)]

    async def story() -> None:
        watched.watch(endpoints, late_at_once=16)
        await asyncio.sleep(5)
        await watched.stop()

    world.run(story)
    assert sum(id_.startswith("live/") for id_, _, _ in watched.begun) == 8


def test_a_late_slot_that_is_overtaken_in_the_lane_is_a_gap() -> None:
    world = World()
    watched = Watched(world, takes=8)
    endpoints = [every(10, 9 + n * 0.05, name=f"p/m{n}") for n in range(12)]

    async def story() -> None:
        watched.watch(endpoints, late_at_once=2)
        await asyncio.sleep(30)
        await watched.settled()
        await watched.stop()

    world.run(story)
    assert [gap.slots for gap in watched.gaps if gap.reason is GapReason.LATE] == [1] * 8
    for endpoint in endpoints:
        watched.assert_no_slot_is_lost(endpoint.id)


# Stalls and sleep


def test_a_stall_shorter_than_the_interval_makes_slots_late_and_loses_none() -> None:
    world = World()
    watched = Watched(world)
    endpoints = fleet(300, 60)

    async def story() -> None:
        watched.watch(endpoints)
        await asyncio.sleep(70)
        world.stop(4)
        await asyncio.sleep(60)
        await watched.settled()
        await watched.stop()

    world.run(story)
    assert watched.gaps == []
    # 20 slots came meanwhile.
    assert most_within(watched, 0.1, since=after(70)) <= 12
    for endpoint in endpoints:
        watched.assert_no_slot_is_lost(endpoint.id)


@pytest.mark.parametrize("how", [World.stop, World.sleep])
def test_a_suspended_daemon_leaves_a_gap_up_to_the_slot_it_fills_and_does_not_burst(how) -> None:  # type: ignore[no-untyped-def]
    world = World()
    watched = Watched(world)
    endpoints = [MINUTELY, *fleet(300, 60, providers=3)]

    async def story() -> None:
        watched.watch(endpoints)
        await asyncio.sleep(90)
        how(world, 600)
        await asyncio.sleep(120)
        await watched.settled()
        await watched.stop()

    world.run(story)
    assert watched.gaps_of(GPT) == [Gap(GPT, after(120), after(600), 9, GapReason.SUSPENDED)]
    assert watched.closed == []
    assert most_within(watched, 0.1, since=after(600)) <= 16
    assert watched.schedule.tally.suspensions == 1
    assert watched.schedule.tally.clock_steps == 0
    for endpoint in endpoints:
        watched.assert_no_slot_is_lost(endpoint.id)


@pytest.mark.parametrize("how", [World.stop, World.sleep])
def test_probes_that_ran_during_a_suspension_are_told_of(how) -> None:  # type: ignore[no-untyped-def]
    world = World()
    watched = Watched(world, takes=50)

    async def story() -> None:
        watched.watch([MINUTELY])
        await asyncio.sleep(70)
        how(world, 20)
        await asyncio.sleep(30)
        await watched.stop()

    world.run(story)
    assert [ran for _, ran in watched.suspended] == [{GPT}]


@pytest.mark.parametrize("after_s", [10.0, 10.3, 10.7])
@pytest.mark.parametrize("how", [World.stop, World.sleep])
def test_housekeeping_begins_after_a_suspension_is_told_of(how, after_s: float) -> None:  # type: ignore[no-untyped-def]
    world = World()
    watched = Watched(world)
    seen: list[tuple[Instant, int]] = []

    async def story() -> None:
        watched.watch([MINUTELY])
        watched.schedule.every(1, lambda: seen.append((world.now(), len(watched.suspended))))
        await asyncio.sleep(after_s)
        how(world, 600)
        await asyncio.sleep(10)
        await watched.stop()

    world.run(story)
    assert {told for at, told in seen if at < after(600)} == {0}
    assert {told for at, told in seen if at >= after(600)} == {1}


def test_after_sleep_the_next_slot_is_in_time() -> None:
    world = World()
    watched = Watched(world)

    async def story() -> None:
        watched.watch([MINUTELY])
        await asyncio.sleep(10)
        # Timers that were set before would ring ten minutes late.
        world.sleep(600)
        await asyncio.sleep(60)
        await watched.stop()

    world.run(story)
    *_, filled, prompt = watched.begun
    assert (filled[1], prompt[1]) == (after(600), after(660))
    assert prompt[2] - prompt[1] < 10_000


# A clock that is set


DAY_S = 86_400


@pytest.mark.parametrize("jump", [10, 3600, 365 * DAY_S, -10, -120, -3600, -365 * DAY_S])
def test_a_step_of_the_clock_costs_at_most_two_intervals_and_no_burst(jump: int) -> None:
    world = World()
    watched = Watched(world, takes=0.001)
    endpoints = [MINUTELY, *fleet(300, 60), *fleet(20, 5, kind="fast")]
    real: dict[str, list[float]] = {}

    async def story() -> None:
        watched.watch(endpoints)
        await asyncio.sleep(150.3)
        world.step(jump)
        stepped, begun = world.mono, len(watched.begun)
        await asyncio.sleep(150)
        await watched.settled()
        await watched.stop()
        for id_, _, when in watched.begun[begun:]:
            real.setdefault(id_, []).append((when - after(150.3 + jump)) / SECOND)
        assert world.mono - stepped < 200

    world.run(story)
    for endpoint in endpoints:
        watched.assert_no_slot_is_lost(endpoint.id)
        # At most an interval from the step to the next look, so less than two between looks.
        assert real[endpoint.id][0] <= endpoint.grid.interval / SECOND + 1
    assert {gap.reason for gap in watched.gaps} <= {GapReason.CLOCK_STEP}
    assert all(gap.slots <= 2 for gap in watched.gaps)
    assert most_within(watched, 0.1, since=after(min(150.3, 150.3 + jump))) <= 16
    closed, opened = watched.segments_of(GPT)
    assert closed.ends is not None
    assert after(150) <= closed.ends <= after(152)
    assert after(150 + jump) <= opened.starts <= after(152 + jump)


@pytest.mark.parametrize("jump", [0.9, -0.9])
def test_a_clock_that_is_set_by_less_than_a_second_changes_no_schedule(jump: float) -> None:
    world = World()
    watched = Watched(world)

    async def story() -> None:
        watched.watch([MINUTELY, every(5, 1.1, name="a/b")])
        for _ in range(20):
            await asyncio.sleep(7.3)
            world.step(jump)
        await watched.settled()
        await watched.stop()

    world.run(story)
    assert watched.closed == []
    for id_ in (GPT, "a/b"):
        watched.assert_no_slot_is_lost(id_)
    assert watched.gaps == []


def test_a_clock_that_was_set_back_while_the_daemon_was_dead_is_noticed() -> None:
    world = World()
    watched = Watched(world)

    async def story() -> None:
        watched.watch([MINUTELY])
        await asyncio.sleep(600)
        await watched.stop()
        world.step(-300)
        watched.watch([MINUTELY], stopped_cleanly=True)
        await asyncio.sleep(60)
        await watched.settled()
        await watched.stop()

    world.run(story)
    closed, opened = watched.segments_of(GPT)
    assert (closed.ends, opened.starts) == (after(600) + 1, after(300))
    assert watched.gaps == []
    watched.assert_no_slot_is_lost(GPT)


# Whatever happens


Events = st.SearchStrategy[tuple[str, float]]

ORDINARY: Events = st.one_of(
    st.tuples(st.sampled_from(["run", "stop", "sleep"]), st.floats(0.1, 90)),
    st.tuples(st.sampled_from(["kill", "restart"]), st.floats(0, 60)),
    st.tuples(st.just("takes"), st.floats(0.01, 14)),
)
STEPS: Events = st.tuples(st.just("step"), st.floats(-5000, 5000))
HUSHES: Events = st.tuples(st.just("hush"), st.floats(0.1, 90))
MIXED = [every(10, 2.25, name="a/x"), every(7.5, 6.9, name="b/y"), every(30, 11, name="b/z")]


@settings(max_examples=60, deadline=None)
@given(st.lists(ORDINARY | STEPS, max_size=8))
def test_whatever_happens_due_is_results_and_gap_slots(events: list[tuple[str, float]]) -> None:
    go_through(events)


@settings(max_examples=60, deadline=None)
@given(st.lists(ORDINARY | HUSHES, max_size=10))
def test_slots_in_a_pause_are_in_no_gap_whatever_happens_meanwhile(events: list[tuple[str, float]]) -> None:
    go_through(events)


def go_through(events: list[tuple[str, float]]) -> None:
    """Due = results + gap slots, in the end."""
    world = World()
    watched = Watched(world)

    async def happen(what: str, much: float) -> None:
        if what == "run":
            await asyncio.sleep(much)
        elif what == "hush":
            watched.hush()
            await asyncio.sleep(much)
        elif what == "takes":
            watched.takes = much
        elif what in ("kill", "restart"):
            if what == "kill":
                watched.kill()
            else:
                await watched.stop()
            world.advance(much)
            watched.watch(MIXED, stopped_cleanly=what == "restart")
        else:
            getattr(world, what)(much)

    async def story() -> None:
        watched.watch(MIXED)
        for what, much in events:
            await happen(what, much)
        # Long enough to notice the last event.
        await asyncio.sleep(3)
        watched.takes = 0.05
        await watched.settled()
        for endpoint in MIXED:
            watched.assert_no_slot_is_lost(endpoint.id)
        await watched.stop()

    world.run(story)


# Housekeeping and life signs


def test_housekeeping_comes_every_so_often_and_does_not_overtake_itself() -> None:
    world = World()
    watched = Watched(world)
    ticks: list[float] = []
    slow: list[float] = []

    async def tidy() -> None:
        slow.append(world.mono)
        await asyncio.sleep(12)

    async def story() -> None:
        schedule = watched.watch([])
        schedule.every(5, lambda: ticks.append(world.mono))
        schedule.every(5, tidy)
        began = world.mono
        await asyncio.sleep(31)
        await watched.stop()
        assert [round(tick - began) for tick in ticks] == [5, 10, 15, 20, 25, 30]
        assert [round(tick - began) for tick in slow] == [5, 20]
        await asyncio.sleep(20)
        assert len(ticks) == 6

    world.run(story)


def test_a_bug_in_housekeeping_reaches_the_loop() -> None:
    world = World()
    watched = Watched(world)
    seen: list[object] = []

    async def broken() -> None:
        raise LookupError("a bug")

    async def story() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: seen.append(context["exception"]))
        watched.watch([]).every(5, broken)
        await asyncio.sleep(6)
        await watched.stop()

    world.run(story)
    assert [type(bug) for bug in seen] == [LookupError]


def test_progress_goes_on_while_beats_come_and_while_none_is_due() -> None:
    for endpoints in ([MINUTELY], []):
        world = World()
        watched = Watched(world)

        async def story(endpoints: list[Scheduled], watched: Watched, world: World) -> None:
            schedule = watched.watch(endpoints)
            for _ in range(300):
                await asyncio.sleep(1)
                assert world.mono - schedule.progress < 2.1
            await watched.stop()

        world.run(lambda e=endpoints, wd=watched, wo=world: story(e, wd, wo))  # type: ignore[misc]


class _Silent:
    """Beats that never come."""

    def arm(self, grid: object, work: object) -> None: ...

    def start(self) -> None: ...

    def rearm(self) -> None: ...

    def pause(self) -> None: ...

    async def close(self) -> None: ...


def test_progress_stops_when_beats_stop() -> None:
    world = World()
    watched = Watched(world)

    async def story() -> None:
        schedule = watched.watch([every(10)], beats=_Silent())
        began = world.mono
        await asyncio.sleep(60)
        assert 13 < schedule.progress - began < 16
        await watched.stop()

    world.run(story)


def test_a_segment_is_opened_before_its_first_slot_is_begun() -> None:
    world = World()
    order: list[str] = []

    class Listening(Watched):
        def _begin(self, endpoint: str, slot: Instant) -> bool:
            order.append("begin")
            return super()._begin(endpoint, slot)

        def _segment(self, segment: Segment) -> None:
            order.append("segment")
            super()._segment(segment)

    watched = Listening(world)

    async def story() -> None:
        watched.watch([MINUTELY])
        await asyncio.sleep(1)
        await watched.stop()

    world.run(story)
    assert order == ["segment", "begin"]
