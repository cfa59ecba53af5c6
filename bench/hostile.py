"""Thirty endpoints that fail in another way each time, beside thirty healthy ones.

Nobody healthy may fail, every failure must be known for what it is, each probe must be over by its
deadline, memory must stay as it is, and the figures of the healthy ones as they are when alone.
"""

import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from bench import rig
from bench.process import cpu_s, rss_mb
from bench.report import Table, against, load
from tests.faults.catalogue import CASES, TRUE, played_over
from tests.faults.play import Case
from tests.faults.stage import KEY, TIMEOUT_S, Part, Stage, stage
from tests.support.daemon import Daemon, Home, alerting

SECONDS, LONG_SECONDS = 60.0, 600.0
ALONE = 1 / 3
"""For that part of the time the healthy ones are watched alone, before."""
INTERVAL = "2s"
BEHAVIOURS = 60
"""At least so many must have been played."""
AFTER_MS = 100.0
GROWTH = 1.05
"""Of memory, from a third of the time to its end; the first third fills caches."""
NOT_LOOKED = frozenset({"self_overload", "cancelled"})

HOSTILE = (
    *(("openai-chat", tls) for tls in (False, False, False, False, False, False, True, True, True, True)),
    *(
        (name, False)
        for name in ("anthropic", "azure-openai", "gemini", "openai-responses")
        for _ in range(3)
    ),
    *(("http", tls) for tls in (False, False, False, False, True, True, True, True)),
)
"""The protocol of each hostile endpoint, and whether it speaks TLS."""
HEALTHY = ("openai-chat", "anthropic", "azure-openai", "gemini", "openai-responses", "http")


class Look(NamedTuple):
    """One probe as it was stored; moments and lengths in seconds."""

    at: float
    outcome: str
    ttft_s: float | None
    total_s: float
    detail: str | None


@dataclass
class Score:
    """What a stretch of time amounted to."""

    hostile: int = 0
    healthy: int = 0
    behaviours: set[str] = field(default_factory=set)
    missed: list[str] = field(default_factory=list)
    """Hostile probes with another outcome than what was played demands."""
    false: list[str] = field(default_factory=list)
    """Healthy ones that failed."""
    unmatched: int = 0
    """Probes and connections that do not belong to each other: none."""
    set_aside: Counter[str] = field(default_factory=Counter)
    longest_ms: float = 0.0
    """From the start of any hostile probe to its end, or to our hanging up by the server's clock."""
    off_ms: list[float] = field(default_factory=list)
    """How much more than the server's own clock says a healthy time to first token, or to the end, was."""


def figures(*, long: bool) -> Iterator[Table]:
    seconds = LONG_SECONDS if long else SECONDS
    with tempfile.TemporaryDirectory(prefix="uptoken-faults-") as folder:
        alone = _watch(Path(folder), hostile=[], seconds=seconds * ALONE)
        beside = _watch(Path(folder), hostile=hostile_parts(), seconds=seconds)
    yield _table(seconds, alone, beside)


def hostile_parts() -> list[Part]:
    """Each with all behaviours that its protocol and its port allow."""
    return [
        Part(protocol, f"hostile-{number}", _pool(protocol, tls=tls))
        for number, (protocol, tls) in enumerate(HOSTILE)
    ]


def healthy_parts() -> list[Part]:
    return [Part(protocol, f"healthy-{number}", [TRUE]) for protocol in HEALTHY for number in range(5)]


def _pool(protocol: str, *, tls: bool) -> list[Case]:
    return [case for case in played_over(protocol) if case.loose and bool(case.certificate) is tls]


@dataclass
class Watched:
    """One stretch, from the outside."""

    score: Score
    memory: list[float]
    """Resident MB, each second."""
    cpu_share: float


def _watch(folder: Path, hostile: Sequence[Part], seconds: float) -> Watched:
    healthy = healthy_parts()
    kind = "hostile" if hostile else "alone"
    with (
        stage(hostile, folder / kind, seed=time.time_ns()) as faulty,
        stage(healthy, folder / f"{kind}-true") as true,
        rig.home() as home,
    ):
        both = Stage({**faulty.ports, **true.ports}, faulty.authority)
        home.configure(
            f'[defaults]\ninterval = "{INTERVAL}"\n[canary]\naddresses = []\n',
            alerting(),
            both.toml([*hostile, *healthy]),
        )
        daemon = home.ready(env={"KEY": KEY})
        memory, share = _sit(daemon, seconds)
        assert daemon.stop()[0] == 0
        time.sleep(0.5)  # until the servers have told of their last connections
        return Watched(_score(home, faulty, true, hostile, healthy), memory, share)


def _sit(daemon: Daemon, seconds: float) -> tuple[list[float], float]:
    began, spent, memory = time.monotonic(), cpu_s(daemon.pid), []
    while (passed := time.monotonic() - began) < seconds:
        memory.append(rss_mb(daemon.pid))
        time.sleep(min(1.0, max(0.0, seconds - passed)))
    return memory, (cpu_s(daemon.pid) - spent) / (time.monotonic() - began)


# Judging


def _score(home: Home, faulty: Stage, true: Stage, hostile: Sequence[Part], healthy: Sequence[Part]) -> Score:
    score, looks = Score(), _looks(home)
    for part in hostile:
        for look, visit in _joined(score, looks[part.id], faulty.visits(part.id)):
            _hostile(score, part, look, visit)
    for part in healthy:
        for look, visit in _joined(score, looks[part.id], true.visits(part.id)):
            _healthy(score, part, look, visit)
    return score


def _looks(home: Home) -> dict[str, list[Look]]:
    found: dict[str, list[Look]] = {name: [] for name in home.records().endpoints()}
    figures = {
        (row.name, row.at): row
        for row in home.records().rows(
            "SELECT e.name, p.at, p.ttft_us, p.total_us FROM probe p JOIN endpoint e ON e.id = p.endpoint_id"
        )
    }
    for probe in home.records().probes():
        row = figures[probe.endpoint, probe.at]
        ttft_s = None if row.ttft_us is None else row.ttft_us / 1e6
        found[probe.endpoint].append(
            Look(probe.at / 1e6, probe.outcome, ttft_s, row.total_us / 1e6, probe.detail)
        )
    home.records().close()
    return found


def _joined(
    score: Score, looks: list[Look], visits: list[dict[str, Any]]
) -> Iterator[tuple[Look, dict[str, Any]]]:
    """One connection a probe: the first that was accepted once it had begun, and before the next did."""
    rest = list(visits)
    for look, following in zip(looks, [*looks[1:], None], strict=True):
        until = float("inf") if following is None else following.at
        mine = [visit for visit in rest if look.at - 0.001 <= visit["at"] < until]
        rest = [visit for visit in rest if visit not in mine]
        if len(mine) == 1:
            yield look, mine[0]
        elif look.outcome not in NOT_LOOKED:
            score.unmatched += 1
    score.unmatched += len(rest)


def _hostile(score: Score, part: Part, look: Look, visit: dict[str, Any]) -> None:
    if look.outcome in NOT_LOOKED:
        score.set_aside["hostile"] += look.outcome == "self_overload"
        return
    case = CASES[visit["case"]]
    right = case.over(part.protocol)
    score.hostile += 1
    score.behaviours.add(case.name)
    if look.outcome != right:
        score.missed.append(f"{part.id}: {case.name}: {look.outcome} instead of {right}: {look.detail}")
    held_s = visit["gone"] - visit["at"] if visit["gone"] else 0.0
    score.longest_ms = max(score.longest_ms, 1000 * look.total_s, 1000 * held_s)


def _healthy(score: Score, part: Part, look: Look, visit: dict[str, Any]) -> None:
    if look.outcome in NOT_LOOKED:
        score.set_aside["healthy"] += look.outcome == "self_overload"
        return
    score.healthy += 1
    if look.outcome != "ok":
        score.false.append(f"{part.id}: {look.outcome}: {look.detail}")
        return
    figure, piece = (look.total_s, -1) if look.ttft_s is None else (look.ttft_s, 1)
    score.off_ms.append(1000 * (figure - (visit["sent"][piece][0] - visit["asked"])))


# Telling


def _table(seconds: float, alone: Watched, beside: Watched) -> Table:
    score, before = beside.score, alone.score
    for words in (*score.missed[:10], *score.false[:10], *before.false[:10]):
        print(words, flush=True)
    table = Table(
        f"hostile: {len(HOSTILE)} endpoints that fail at random, and {len(healthy_parts())} healthy ones",
        ("figure", "alone", f"beside them, {seconds:,.0f} s", "goal"),
    )
    table.add("probes of healthy endpoints", before.healthy, score.healthy, "–")
    table.add("probes of hostile ones", "–", score.hostile, "–")
    played = len(score.behaviours)
    table.add("behaviours that were played", "–", played, against(played, BEHAVIOURS, least=True))
    table.add("false: healthy and failed", len(before.false), len(score.false), against(len(score.false), 0))
    table.add("missed: not the outcome due", "–", len(score.missed), against(len(score.missed), 0))
    table.add("probes without their connection", before.unmatched, score.unmatched, "–")
    limit = TIMEOUT_S * 1000 + AFTER_MS
    table.add("longest probe, ms", "–", f"{score.longest_ms:,.0f}", against(score.longest_ms, limit))
    for share, name in ((0.5, "p50"), (0.99, "p99")):
        off = [rig.percentile(one.off_ms, share) for one in (before, score)]
        table.add(f"healthy figure less the server's own, {name}, ms", *(f"{one:.2f}" for one in off), "–")
    aside = [_share(before, "healthy"), _share(score, "healthy")]
    table.add("healthy set aside as `self_overload`, %", *(f"{one:.2f}" for one in aside), "–")
    third, end = _memory(beside.memory)
    table.add("RSS at a third of the time, at the end, MB", "–", f"{third:.0f}, {end:.0f}", "–")
    table.add("the end against the third", "–", f"{end / third:.3f}", against(end / third, GROWTH))
    table.add("CPU, % of one core", *(f"{100 * one.cpu_share:.0f}" for one in (alone, beside)), "–")
    table.note = f"An interval of {INTERVAL[:-1]} s, a timeout of {TIMEOUT_S:g} s; {load()}."
    return table


def _share(score: Score, who: str) -> float:
    aside = score.set_aside[who]
    return 100 * aside / max(1, aside + score.healthy)


def _memory(samples: Sequence[float]) -> tuple[float, float]:
    """Around a third of the time, and at its end: each the mean of a tenth of the samples."""
    width = max(1, len(samples) // 10)
    third = len(samples) // 3
    return sum(samples[third : third + width]) / width, sum(samples[-width:]) / width
