"""What the page says of the monitor itself: to its operators, and to nobody else."""

from dataclasses import replace

import pytest

from monitor.core.instant import SECOND, Instant
from monitor.core.overload import Load, to_status
from monitor.core.snapshot import Heartbeat, Site, Snapshot
from monitor.web import pages

NOW = Instant(1_795_312_000 * SECOND)
FINE = Load(looks=200, set_aside=1, start_late_ms=2.0, loop_lag_ms=1.2, core_delay=0.01)
BUSY = Load(looks=200, set_aside=68, start_late_ms=40.0, loop_lag_ms=90.0, core_delay=0.4)


def page(snapshot: Snapshot) -> str:
    return " ".join(pages.home(snapshot).decode().split())


def snapshot(load: Load, since: str | None = None, why: str | None = None) -> Snapshot:
    status = {"last_10m": to_status(load), "too_busy_since": since, "overload": why}
    heartbeat = Heartbeat(beat_at=NOW, version="0.1.0", status=status)
    return Snapshot(site=Site(), now=NOW, generated_at=NOW, stale=False, heartbeat=heartbeat)


def test_in_normal_times_it_is_a_quiet_line_at_the_foot():
    said = page(snapshot(FINE))
    assert "loop lag 1.2 ms (p99), waited for a core 1.0% of the time" in said.partition("<footer>")[2]
    assert "slots begun within 2.0 ms (p99), 1 of 200 looks set aside" in said
    assert "too busy" not in said


def test_in_a_spell_it_stands_at_the_top():
    said = page(snapshot(BUSY, "2026-11-22T01:46:40.000Z", "the monitor waited for a core")).partition(
        "<footer>"
    )[0]
    assert "<h2>This machine is too busy to time well</h2>" in said
    assert "In the last 10 min 34% of 200 looks were set aside as self_overload." in said
    assert "Why: the monitor waited for a core." in said


@pytest.mark.parametrize("load", [FINE, BUSY])
def test_everybody_else_hears_nothing_of_it(load):
    said = page(snapshot(load, "2026-11-22T01:46:40.000Z").public())
    assert "too busy" not in said
    assert "loop lag" not in said


def test_a_daemon_that_is_silent_is_believed_nothing():
    silent = replace(snapshot(BUSY, "2026-11-22T01:46:40.000Z"), stale=True)
    assert "too busy" not in page(silent)
    assert "loop lag" not in page(silent)


def test_a_daemon_that_has_just_begun_has_nothing_to_say_yet():
    assert "This monitor, last 10 min" not in page(snapshot(Load()))
