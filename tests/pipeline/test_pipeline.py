"""What becomes of a look that does not end as looks do."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import pytest

from monitor.canaries import Canaries, Sight
from monitor.clock import Clock
from monitor.core.belief import Belief, Runs
from monitor.core.blot import Blot
from monitor.core.budget import Budget, Ledger, Reach, Scope, day_of
from monitor.core.instant import HOUR, MILLISECOND, MINUTE, Instant, Span
from monitor.core.observation import Observation, Usage
from monitor.core.outcome import Outcome
from monitor.core.slots import Grid
from monitor.core.step import Checkpoint, Result
from monitor.core.timeline import Timeline
from monitor.core.verdict import Expect
from monitor.core.wire import Limits, Wire
from monitor.pipeline import Pipeline, Watched
from monitor.purse import Purse
from monitor.store.spool import Spool
from monitor.strain import Gate
from monitor.transport.wire import Transports, open_transports
from monitor.writer import Writer
from tests.core.believing import START, rules

pytestmark = pytest.mark.anyio

ENDPOINT = "acme/one"
ALL = Scope(Reach.SITE)
CENT = Decimal("0.01")


@dataclass
class Waiting:
    """A look that ends when the test says so."""

    identity: str = "a look"
    model: str | None = None
    expect: Expect = Expect()
    worst_case: Usage = Usage()
    entered: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def look(
        self,
        wire: Wire,  # noqa: ARG002
        timeline: Timeline,
        limits: Limits,  # noqa: ARG002
        nonce: str,  # noqa: ARG002
        learnt: Mapping[str, str],  # noqa: ARG002
    ) -> Observation:
        self.entered.set()
        await self.over.wait()
        return Observation(timeline=timeline, status=200)


class Stand:
    """A pipeline whose clocks the test moves, with a writer that keeps what it is given."""

    def __init__(self, transports: Transports, folder: Path, known: Belief | None = None) -> None:
        self.wall, self.seconds = START, 1000.0
        self.look = Waiting()
        self.finished: list[str] = []
        self.purse = Purse({ENDPOINT: (ALL,)}, [Ledger(scope=ALL, day=day_of(START), budget=Budget(CENT))])
        clock = Clock(now=lambda: self.wall, monotonic=lambda: self.seconds)
        self.writer = Writer(
            connect=lambda: pytest.fail("there is no database here"),
            journal=None,
            spool=Spool(folder / "spool"),
            known=Checkpoint(at=START, beliefs={} if known is None else {ENDPOINT: known}),
            rules={ENDPOINT: rules()},
            now=clock.now,
            monotonic=clock.monotonic,
            deliver=lambda _: None,
            state_dir=folder,
        )
        watched = Watched(
            id=ENDPOINT,
            provider="acme",
            look=self.look,
            wire=transports.wire(),
            blot=Blot([]),
            rules=rules(),
            grid=Grid(MINUTE, Span(0)),
            timeout_s=30.0,
            connect_s=10.0,
            protocol="http",
            location="default",
            worst_cost=CENT,
        )
        self.pipeline = Pipeline(
            [watched],
            writer=self.writer,
            purse=self.purse,
            concurrency={},
            salt=lambda: 7,
            clock=clock,
            finished=self.finished.append,
            gate=Gate(),
            sight=Sight(
                Canaries([], transports, clock.monotonic),
                self.writer,
                clock,
                channels=[],
                zone=None,
                held=None,
            ),
        )

    def pass_by(self, length: Span) -> None:
        self.wall = Instant(self.wall + length)
        self.seconds += length / 1e6

    @property
    def results(self) -> list[Result]:
        return [step.result for step in self.writer._inbox.steps if step.result is not None]


@pytest.fixture
async def transports() -> AsyncIterator[Transports]:
    async with open_transports() as opened:
        yield opened


async def test_a_look_that_is_cut_off_lasted_as_long_as_it_did_whatever_the_wall_clock_says(
    transports: Transports, tmp_path: Path
) -> None:
    stand = Stand(transports, tmp_path)
    assert stand.pipeline.begin(ENDPOINT, START)
    await stand.look.entered.wait()
    stand.pass_by(Span(60 * MILLISECOND))
    stand.wall = Instant(stand.wall + HOUR)
    await stand.pipeline.stop(0.0)
    [cut] = stand.results
    assert (cut.outcome, cut.at) == (Outcome.CANCELLED, START)
    assert cut.figures.total_ms == pytest.approx(60.0)


async def test_a_slot_whose_look_we_fail_to_judge_is_accounted_for_and_so_is_its_money(
    transports: Transports, tmp_path: Path
) -> None:
    """A belief that no code of ours makes: what follows from a working look cannot be computed."""
    broken = Belief(endpoint=ENDPOINT, runs=Runs(ok=None))  # type: ignore[arg-type]
    stand = Stand(transports, tmp_path, broken)
    assert stand.pipeline.begin(ENDPOINT, START)
    stand.look.over.set()
    while not stand.finished:
        await asyncio.sleep(0)
    [result] = stand.results
    assert (result.slot, result.outcome) == (START, Outcome.INTERNAL_ERROR)
    assert stand.pipeline.tally.bugs == 1
    assert stand.purse._ledgers[ALL].held == 0
