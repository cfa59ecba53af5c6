"""Whether a machine keeps up, and how many probes at once that allows."""

import asyncio

import pytest

from monitor.strain import FEWEST, Gate, Scale, Strain, run_queue_delay_s


def test_a_machine_that_keeps_up_has_nothing_to_say():
    assert Strain(busy=0.5, delayed=0.05, lag_ms=20.0).reason is None


def test_a_busy_loop_is_told_with_what_would_help():
    reason = Strain(busy=0.93, delayed=0.0, lag_ms=200.0).reason
    assert reason is not None
    assert "93%" in reason
    assert "longer intervals" in reason


def test_a_core_that_others_hold_is_told_apart_from_our_own_work():
    reason = Strain(busy=0.9, delayed=0.4, lag_ms=200.0).reason
    assert reason is not None
    assert "other programs" in reason


def test_one_bad_stretch_is_no_overload_and_a_good_one_ends_it():
    scale = Scale(0.0, 0.0)
    scale.weigh(5.0, busy_s=4.9, away_s=0.1, delay_s=0.0)
    assert scale.overload is None
    scale.weigh(10.0, busy_s=4.9, away_s=0.1, delay_s=0.0)
    assert scale.overload is not None
    scale.weigh(15.0, busy_s=1.0, away_s=0.1, delay_s=0.0)
    assert scale.overload is None
    assert scale.newest == Strain(busy=0.2, delayed=0.0, lag_ms=100.0)


def test_where_nobody_counts_the_waiting_for_a_core_it_is_unknown():
    scale = Scale(0.0, None)
    assert scale.weigh(5.0, busy_s=1.0, away_s=0.1, delay_s=None).delayed is None


def test_this_machine_counts_how_long_we_waited_for_a_core():
    waited = run_queue_delay_s()
    assert waited is not None
    assert waited >= 0


@pytest.mark.anyio
async def test_nobody_waits_at_an_open_gate():
    gate = Gate()
    async with gate, gate, gate:
        assert gate.waiting == 0


@pytest.mark.anyio
async def test_an_overloaded_machine_runs_fewer_at_once_and_later_more_again():
    gate, go = Gate(), asyncio.Event()

    async def probe() -> None:
        async with gate:
            await go.wait()

    first = [asyncio.create_task(probe()) for _ in range(100)]
    await asyncio.sleep(0)
    gate.adjust(overloaded=True)
    assert gate.limit == 75
    late = [asyncio.create_task(probe()) for _ in range(3)]
    await asyncio.sleep(0)
    assert gate.waiting == 3
    go.set()
    await asyncio.gather(*first, *late)
    assert gate.waiting == 0
    for _ in range(3):
        gate.adjust(overloaded=False)
    assert gate.limit is None


@pytest.mark.anyio
async def test_a_few_run_on_any_machine():
    gate = Gate()
    for _ in range(20):
        gate.adjust(overloaded=True)
    assert gate.limit == FEWEST


@pytest.mark.anyio
async def test_who_is_cancelled_at_the_gate_takes_nobodys_turn():
    gate, go = Gate(), asyncio.Event()
    gate.limit = 1

    async def probe() -> None:
        async with gate:
            await go.wait()

    inside, waiting, behind = (asyncio.create_task(probe()) for _ in range(3))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.sleep(0)
    go.set()
    await asyncio.gather(inside, behind)
    assert gate.waiting == 0
