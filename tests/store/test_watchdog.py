"""The limit on calls that know none."""

import threading
import time
from collections.abc import Iterator

import pytest

from monitor.store.watchdog import Watchdog


@pytest.fixture
def watchdog() -> Iterator[Watchdog]:
    watching = Watchdog()
    yield watching
    watching.end()


def test_what_ends_in_time_is_left_alone(watchdog: Watchdog) -> None:
    cuts: list[float] = []
    with watchdog.over(lambda: cuts.append(0.0), time.monotonic() + 60) as guard:
        pass
    assert not guard.fired
    assert cuts == []


def test_what_runs_too_long_is_cut_again_and_again_until_it_ends(watchdog: Watchdog) -> None:
    cuts = threading.Semaphore(0)
    begun = time.monotonic()
    with watchdog.over(cuts.release, begun + 0.05) as guard:
        assert all(cuts.acquire(timeout=5) for _ in range(3))
        assert guard.fired
        assert time.monotonic() - begun >= 0.05


def test_nothing_is_cut_after_it_ended(watchdog: Watchdog) -> None:
    cuts: list[str] = []
    with watchdog.over(lambda: cuts.append("first"), time.monotonic()) as first:
        later = threading.Event()
        with watchdog.over(later.set, time.monotonic() + 0.01):
            assert later.wait(5)
    assert first.fired
    counted = len(cuts)
    again = threading.Event()
    with watchdog.over(again.set, time.monotonic() + 0.06):
        assert again.wait(5)
    assert len(cuts) == counted


def test_a_nearer_deadline_is_kept_beside_a_farther_one(watchdog: Watchdog) -> None:
    near = threading.Event()
    with watchdog.over(lambda: None, time.monotonic() + 60) as far, watchdog.over(near.set, time.monotonic()):
        assert near.wait(5)
    assert not far.fired


def test_a_fired_guard_insists(watchdog: Watchdog) -> None:
    cut = threading.Event()
    with watchdog.over(cut.set, time.monotonic()) as guard:
        assert cut.wait(5)
        with pytest.raises(TimeoutError):
            guard.insist()
