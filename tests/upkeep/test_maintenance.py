"""Maintenance comes and goes at its own times, whoever was there to see it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from monitor import clock
from monitor.config.maintenance import Maintenance
from monitor.core.belief import Belief, Quiet, QuietSpan, State
from monitor.core.instant import HOUR, MINUTE, Instant, Span, as_datetime
from monitor.core.slots import Gap, GapReason
from monitor.core.step import Checkpoint
from monitor.store.journal import Announced
from monitor.store.spool import Spool
from monitor.upkeep import Upkeep
from monitor.writer import Writer
from tests.core.believing import START, rules

pytestmark = pytest.mark.anyio

ENDPOINT = "acme/one"
DAILY = Maintenance(endpoints=("acme/*",), cron="0 2 * * *", duration=timedelta(hours=2))
NIGHT = Instant(START - START % (24 * HOUR) + 26 * HOUR)
"""When it begins for the first time after START."""


@dataclass
class Watchman:
    """Housekeeping with a writer that writes nothing, for nobody asks it to."""

    folder: Path
    planned: tuple[Maintenance, ...] = (DAILY,)
    held: Instant | None = None
    state: State = State.UNKNOWN
    accounted: Instant = START
    now: Instant = START
    writer: Writer = field(init=False)
    upkeep: Upkeep = field(init=False)

    def __post_init__(self) -> None:
        quiet = {} if self.held is None else {Quiet.MAINTENANCE: self.held}
        self.writer = Writer(
            connect=lambda: pytest.fail("nobody writes"),
            journal=None,
            spool=Spool(self.folder / "spool"),
            known=Checkpoint(
                at=START,
                beliefs={
                    ENDPOINT: Belief(endpoint=ENDPOINT, state=self.state, classified=START, quiet=quiet)
                },
                accounted={ENDPOINT: self.accounted},
            ),
            rules={ENDPOINT: rules()},
            now=lambda: self.now,
            monotonic=clock.monotonic,
            deliver=lambda _alerts: None,
            state_dir=self.folder,
        )
        self.upkeep = Upkeep(
            writer=self.writer, rules={ENDPOINT: rules()}, maintenance=self.planned, now=lambda: self.now
        )

    def announce(self, *announced: Announced) -> "Watchman":
        self.upkeep.announce(announced)
        return self

    @property
    def hours(self) -> list[tuple[float, float | None]]:
        """When it was quiet, in hours since NIGHT."""
        return _hours(self.writer.quiet(ENDPOINT))


def _hours(spans: Iterable[QuietSpan]) -> list[tuple[float, float | None]]:
    return [
        ((span.starts - NIGHT) / HOUR, None if span.ends is None else (span.ends - NIGHT) / HOUR)
        for span in spans
    ]


def announced(starts: Instant, length: Span) -> Announced:
    return Announced(
        id="m", title="planned", patterns=("acme/*",), starts=starts, ends=Instant(starts + length)
    )


async def test_a_night_without_a_daemon_does_not_lengthen_what_it_was_stopped_in(tmp_path: Path) -> None:
    watchman = Watchman(tmp_path, held=Instant(NIGHT + MINUTE), accounted=Instant(NIGHT + HOUR)).announce()
    watchman.now = Instant(NIGHT + 9 * HOUR)
    watchman.upkeep.catch_up(Instant(NIGHT + HOUR))
    assert watchman.hours == [(1 / 60, 2)]
    watchman.upkeep.tick()
    assert watchman.hours == [(1 / 60, 2)]


async def test_each_that_passed_is_known_and_the_one_in_force_goes_on(tmp_path: Path) -> None:
    watchman = Watchman(tmp_path, held=NIGHT, accounted=Instant(NIGHT + HOUR)).announce()
    watchman.now = Instant(NIGHT + 49 * HOUR)
    watchman.upkeep.catch_up(Instant(NIGHT + HOUR))
    assert watchman.hours == [(0, 2), (24, 26), (48, None)]


async def test_what_was_called_off_while_nobody_ran_lasted_until_the_last_sign_of_life(
    tmp_path: Path,
) -> None:
    watchman = Watchman(tmp_path, planned=(), held=NIGHT, accounted=Instant(NIGHT + HOUR)).announce()
    watchman.now = Instant(NIGHT + 9 * HOUR)
    watchman.upkeep.catch_up(Instant(NIGHT + HOUR))
    assert watchman.hours == [(0, 1)]


async def test_a_slot_that_was_looked_at_before_it_was_known_of_stays_outside(tmp_path: Path) -> None:
    looked = Instant(NIGHT + MINUTE)
    watchman = Watchman(tmp_path, accounted=looked).announce()
    watchman.now = Instant(NIGHT + HOUR)
    watchman.upkeep.catch_up(Instant(NIGHT - MINUTE))
    [span] = watchman.writer.quiet(ENDPOINT)
    assert (span.starts, span.ends) == (looked + 1, None)


async def test_until_the_database_can_be_asked_nobody_ends_what_may_have_been_announced(
    tmp_path: Path,
) -> None:
    watchman = Watchman(tmp_path, planned=(), held=NIGHT)
    watchman.now = Instant(NIGHT + 3 * HOUR)
    watchman.upkeep.catch_up(Instant(NIGHT + HOUR))
    watchman.upkeep.tick()
    assert watchman.hours == [(0, None)]
    watchman.announce(announced(NIGHT, Span(4 * HOUR))).upkeep.tick()
    assert watchman.hours == [(0, None)]
    watchman.now = Instant(NIGHT + 5 * HOUR)
    watchman.upkeep.tick()
    assert watchman.hours == [(0, 5)]


async def test_what_the_config_planned_ends_without_the_database(tmp_path: Path) -> None:
    watchman = Watchman(tmp_path, held=NIGHT)
    watchman.now = Instant(NIGHT + 3 * HOUR)
    watchman.upkeep.tick()
    assert watchman.hours == [(0, 3)]


async def test_who_slept_through_the_end_tells_of_no_state_that_nobody_has_seen_since(tmp_path: Path) -> None:
    watchman = Watchman(tmp_path, held=NIGHT, state=State.DOWN).announce()
    watchman.now = Instant(NIGHT + 9 * HOUR)
    watchman.upkeep.stood_still()
    belief = watchman.writer.belief(ENDPOINT)
    assert (belief.state, belief.incident, belief.quiet) == (State.UNKNOWN, None, {})


async def test_what_passed_while_the_host_slept_is_in_no_gap_and_the_rest_is(tmp_path: Path) -> None:
    watchman = Watchman(tmp_path).announce()
    watchman.now = Instant(NIGHT - HOUR)
    watchman.upkeep.tick()
    watchman.now = Instant(NIGHT + 3 * HOUR)
    watchman.upkeep.stood_still()
    slept = Gap(ENDPOINT, Instant(NIGHT - HOUR), Instant(NIGHT + 3 * HOUR), 5, GapReason.SUSPENDED)
    watchman.writer.gap(slept)
    # At the hours -1, 2 and 3; 0 and 1 lie in it.
    assert watchman.writer.health.missed == {GapReason.SUSPENDED: 3}
    assert as_datetime(NIGHT).hour == 2
