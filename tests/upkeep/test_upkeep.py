"""What operators ask for, and what the daemon makes of it."""

from pathlib import Path

import pytest

from monitor import clock
from monitor.core.belief import Quiet
from monitor.core.step import Checkpoint
from monitor.store.journal import Command, Order
from monitor.store.spool import Spool
from monitor.upkeep import Upkeep
from monitor.writer import Writer
from tests.core.believing import START, rules

ENDPOINT = "acme/one"


@pytest.fixture
async def writer(tmp_path: Path) -> Writer:
    return Writer(
        connect=lambda: pytest.fail("there is no database here"),
        journal=None,
        spool=Spool(tmp_path / "spool"),
        known=Checkpoint(at=START, beliefs={}),
        rules={ENDPOINT: rules()},
        now=lambda: START,
        monotonic=clock.monotonic,
        deliver=lambda _: None,
        state_dir=tmp_path,
    )


@pytest.mark.anyio
async def test_what_is_not_known_is_neither_a_pause_nor_a_resume_and_is_not_asked_again(
    writer: Writer,
) -> None:
    chores = Upkeep(writer=writer, rules={ENDPOINT: rules()}, maintenance=(), now=lambda: START)
    orders = [str(Order.PAUSE), "reconsider", str(Order.RESUME)]
    paused = []
    for number, kind in enumerate(orders):
        chores.carry_out([Command(number, START, kind, {"endpoints": ["acme/*"]})])
        paused.append(Quiet.PAUSED in writer.belief(ENDPOINT).quiet)
    assert paused == [True, True, False]
    done = [step.done.command for step in writer._inbox.steps if step.done is not None]
    assert done == [0, 1, 2]
