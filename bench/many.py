"""Ten thousand endpoints a minute, for two minutes: every slot a result, and each on time."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from bench import rig
from bench.process import cpu_s, peak_rss_mb, rss_mb
from bench.report import Table, against, load
from monitor.core.instant import MINUTE, SECOND, Instant
from tests.support.daemon import Daemon, Home
from tests.support.simulated import Simulated, simulating

ENDPOINTS = 10_000
SETTLED_S, STEADY_MINUTES = 65.0, 2
"""By then every endpoint was probed at least once."""
SHARE, LATE_MS = 99.9, 100


@dataclass(frozen=True, slots=True)
class Stretch:
    """Some minutes of a daemon's life."""

    slots: rig.Slots
    seconds: float
    cpu_s: float


def figures(*, long: bool) -> Iterator[Table]:  # noqa: ARG001 - the same in both cases
    table = Table(
        f"many: {ENDPOINTS:,} `http` endpoints at 60 s",
        ("figure", "first minute", f"{STEADY_MINUTES} minutes after it", "goal"),
    )
    with simulating() as simulated, rig.home() as home:
        home.configure(rig.plain(simulated.url, ENDPOINTS, "60s", "10s"))
        daemon = home.start()
        ready_s = rig.seconds_to_ready(daemon, 120.0)
        first = _stretch(home, daemon, SETTLED_S, 1)
        steady = _stretch(home, daemon, STEADY_MINUTES * 60.0, STEADY_MINUTES)
        memory = rss_mb(daemon.pid), peak_rss_mb(daemon.pid)
        answers = _arrivals(simulated)
        table.note = f"Exec to ready {ready_s:.1f} s. {answers} {load()}."
        daemon.stop()
    table.add(
        "slots that became results, %",
        f"{first.slots.share:.2f}",
        f"{steady.slots.share:.3f}",
        against(steady.slots.share, SHARE, least=True),
    )
    for share, goal in ((0.5, None), (0.99, LATE_MS), (1.0, None)):
        name = "most" if share == 1 else f"p{share * 100:.0f}"
        early, late = first.slots.late(share), steady.slots.late(share)
        table.add(
            f"late by, {name}, ms", f"{early:,.1f}", f"{late:,.1f}", against(late, goal) if goal else "–"
        )
    table.add("CPU, % of one core", *(f"{100 * one.cpu_s / one.seconds:.1f}" for one in (first, steady)), "–")
    table.add("CPU of a probe, µs", "–", f"{steady.cpu_s / steady.slots.stored * 1e6:,.0f}", "–")
    table.add("RSS at the end (peak), MB", "–", f"{memory[0]:.0f} ({memory[1]:.0f})", "–")
    yield table


def _stretch(home: Home, daemon: Daemon, seconds: float, minutes: int) -> Stretch:
    """From now on for so long; its slots are those of whole minutes at its end."""
    until = Instant(rig.now() + round(seconds * SECOND))
    began, cpu = time.monotonic(), cpu_s(daemon.pid)
    time.sleep(seconds)
    took, spent = time.monotonic() - began, cpu_s(daemon.pid) - cpu
    time.sleep(5.0)  # until what began at the end is stored
    since = Instant(until - minutes * MINUTE)
    return Stretch(rig.slots(home, ENDPOINTS * minutes, since, until), took, spent)


def _arrivals(simulated: Simulated) -> str:
    """The same from the other side: how evenly an endpoint's requests came."""
    newest: dict[str, float] = {}
    off: list[float] = []
    for entry in simulated.log():
        path, at = entry["path"], entry["unix"]
        if path in newest:
            off.append(abs(at - newest[path] - 60) * 1000)
        newest[path] = at
    # The first interval of each is shorter: a start does not wait for the next slot.
    steady = off[ENDPOINTS:]
    return (
        "At the server an endpoint's requests lay 60 s apart, give or take "
        f"{rig.percentile(steady, 0.5):.1f} ms (median) and {rig.percentile(steady, 0.99):.1f} ms (p99)."
    )
