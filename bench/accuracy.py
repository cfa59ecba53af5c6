"""How wrong the figures are: every probe against the interval in which the truth lies.

The client has one core to itself (and whatever else runs there), the ground truth the other.
`python -m bench.accuracy CASE …` measures some of it.
"""

import json
import os
import subprocess
import sys
import tempfile
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import isnan
from pathlib import Path
from statistics import median
from typing import Any

from bench.report import Table, against, load
from bench.truth import NAGLE, PLAIN, SPLIT, TOGETHER, TRIPLE, Server, Truth, server

ENDS_MS = (0, 10, 50)
FLAGS = (0, TRIPLE, TOGETHER, SPLIT, TRIPLE | TOGETHER, SPLIT | TOGETHER)
FIRST_MS, TOKENS = 200, 64
CLIENT_CPU, TRUTH_CPU = 0, 1
ALONE = "BENCH_SHARED" not in os.environ
"""The client runs in the round-robin class, as it would where nobody else uses its core."""


@dataclass(frozen=True)
class Goals:
    """In milliseconds and percent; of the 99th percentile where it is an error."""

    net: float | None = None
    total: float | None = None
    exact: float | None = None
    speed: float | None = None


STREAM = Goals(net=0.25, total=0.5, exact=99.0, speed=0.1)
ALL = ("uptoken", "httpx", "aiohttp")
OURS = ("uptoken",)


@dataclass(frozen=True)
class Case:
    streams: int
    gap_ms: float = 10
    tls: bool = False
    nagle: bool = False
    plain: bool = False
    block_s: float = 0.0
    busy: bool = False
    kinds: tuple[str, ...] = OURS
    seconds: float = 8.0
    every_s: float | None = None
    tokens: int = TOKENS
    goals: Goals = STREAM

    @property
    def cycle_s(self) -> float:
        return FIRST_MS / 1000 + self.tokens * self.gap_ms / 1000 + 0.05


CASES = {
    "50 streams": Case(50, kinds=ALL),
    "50, slow": Case(50, gap_ms=50),
    "200 streams": Case(200, seconds=6, kinds=ALL),
    "200, slow": Case(200, gap_ms=50),
    "50, TLS": Case(50, tls=True, goals=Goals(net=0.5, exact=99.0, speed=0.1)),
    "50, Nagle": Case(50, nagle=True),
    "50, 500 tokens": Case(50, tokens=500, seconds=12),
    "50, blocked": Case(50, block_s=0.5, goals=Goals(net=0.25)),
    "50, busy": Case(50, busy=True, goals=Goals(net=0.25)),
}
PAGES = Case(2000, plain=True, every_s=10.0, seconds=12.0, kinds=ALL, goals=Goals(net=0.25))
RUNS = 5


@dataclass
class Errors:
    """Of one run; milliseconds, and percent for the speed."""

    net: list[float] = field(default_factory=list)
    """Of `ttft_net_ms`, beyond the stated uncertainty."""
    total: list[float] = field(default_factory=list)
    """Of `ttft_ms`, beyond the stated uncertainty."""
    speed: list[float] = field(default_factory=list)
    marked: list[float] = field(default_factory=list)
    """Uncertainties over 0."""
    probes: int = 0
    not_ok: dict[str, int] = field(default_factory=dict)
    cpu_ms: float = 0.0


def one_run(at: Server, case: Case, kind: str, folder: Path) -> Errors:
    """Let one client watch, and judge it."""
    at.said()
    urls = _urls(at, case)
    plan = {
        "kind": kind,
        "urls": urls,
        "seconds": case.seconds,
        "cycle_s": case.cycle_s,
        "ca_file": str(at.authority) if case.tls else None,
        "plain": case.plain,
        "every_s": case.every_s,
        "block_s": case.block_s,
    }
    # A core of its own: on a machine that others use, ahead of them; but not of a rival that is wanted.
    first = ["chrt", "-r", "1"] if ALONE and not case.busy else []
    words = [*first, "taskset", "-c", str(CLIENT_CPU), sys.executable, "-m", "bench.watcher"]
    rival = None
    if case.busy:
        rival = subprocess.Popen(["taskset", "-c", str(CLIENT_CPU), sys.executable, "-c", "while True: pass"])
    try:
        done = subprocess.run([*words, json.dumps(plan), str(folder)], stdout=subprocess.PIPE, check=True)
    finally:
        if rival is not None:
            rival.kill()
            rival.wait()
    return _judge(case, [json.loads(line) for line in done.stdout.splitlines()], at.said())


def _urls(at: Server, case: Case) -> list[str]:
    shapes = list(product(FLAGS, ENDS_MS))
    urls = []
    for number in range(case.streams):
        flags, end_ms = (PLAIN, 0) if case.plain else shapes[number % len(shapes)]
        flags |= NAGLE if case.nagle else 0
        url = at.url(
            f"n{number}",
            first_ms=FIRST_MS,
            tokens=case.tokens,
            gap_ms=case.gap_ms,
            end_ms=end_ms,
            flags=flags,
        )
        urls.append(at.secure(url) if case.tls else url)
    return urls


def _judge(case: Case, reports: list[dict[str, Any]], said: dict[str, list[Truth]]) -> Errors:
    errors = Errors(cpu_ms=reports.pop()["cpu_ms"])
    for report in reports:
        errors.probes += 1
        if report["outcome"] != "ok":
            errors.not_ok[report["outcome"]] = errors.not_ok.get(report["outcome"], 0) + 1
        truth = _match(said.get(f"n{report['lane']}", []), report["sent"])
        if truth is not None and report["ttft_ms" if not case.plain else "sent"] is not None:
            _compare(case, errors, report, truth)
    return errors


def _match(said: Sequence[Truth], sent: float | None) -> Truth | None:
    """The request that came nearest after, for a stamp may be taken a little late."""
    if sent is None:
        return None
    at = bisect_left(said, sent, key=lambda truth: truth.asked)
    near = [truth for truth in said[max(0, at - 1) : at + 1] if abs(truth.asked - sent) < 1.0]
    return min(near, key=lambda truth: abs(truth.asked - sent), default=None)


def _compare(case: Case, errors: Errors, report: dict[str, Any], truth: Truth) -> None:
    low, high = truth.ttft_ms()
    width = report["uncertainty_ms"]
    if width > 0:
        errors.marked.append(width)
    net = report.get("ttft_net_ms")
    if net is not None:
        errors.net.append(_beyond(net, width, low, high))
    total = report.get("total_ms") if case.plain and net is not None else report.get("ttft_ms")
    if total is not None and not case.tls:  # how long a handshake truly takes, nobody wrote down
        rtt_ms = truth.rtt_s * 1000
        errors.total.append(_beyond(total, width, low, high + rtt_ms))
    speed = report.get("speed")
    if speed and not case.plain:
        true = (len(truth.tokens) - 1) / (truth.last[1] - truth.tokens[0])
        errors.speed.append(100 * abs(speed / true - 1))


def _beyond(value: float, width: float, low: float, high: float) -> float:
    """How far the stated interval [value − width, value] is from the one in which the truth lies."""
    return max(0.0, value - width - high, low - value)


def at(values: Sequence[float], percent: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else float("nan")


def figures(*, long: bool) -> Iterator[Table]:  # noqa: ARG001 - the same in both cases
    with tempfile.TemporaryDirectory() as folder, server(Path(folder), TRUTH_CPU) as truth:
        yield _streams(truth, Path(folder), CASES)
        yield _pages(truth, Path(folder))


def _streams(truth: Server, folder: Path, cases: Mapping[str, Case]) -> Table:
    table = Table(
        "accuracy: streams",
        (
            "case",
            "client",
            "probes",
            "`ttft_net_ms` off by, ms",
            "at most",
            "`ttft_ms` off by, ms",
            "exact, %",
            "`output_speed` off by, %",
            "CPU of the client, ms",
            "not `ok`",
        ),
    )
    for name, case in cases.items():
        for kind in case.kinds:
            runs = [one_run(truth, case, kind, folder) for _ in range(RUNS)]
            ours = kind in OURS
            goals = case.goals if ours else Goals()
            table.add(
                name,
                kind,
                sum(run.probes for run in runs),
                _error(runs, "net", goals.net),
                f"{max(max(run.net) for run in runs):.3f}" if ours else "–",
                _error(runs, "total", goals.total),
                _exact(runs, goals.exact) if ours else "–",
                _error(runs, "speed", goals.speed),
                f"{median(run.cpu_ms for run in runs):.2f}",
                sum(sum(run.not_ok.values()) for run in runs),
            )
    table.note = f"99th percentiles beyond the stated uncertainty, medians of {RUNS} runs; {load()}."
    return table


def _pages(truth: Server, folder: Path) -> Table:
    table = Table(
        f"accuracy: {PAGES.streams:,} pages that take {FIRST_MS} ms, 200 a second",
        ("client", "probes", "off by, p50, ms", "p95", "p99", "CPU of the client, ms"),
    )
    for kind in PAGES.kinds:
        runs = [one_run(truth, PAGES, kind, folder) for _ in range(RUNS)]
        of = "net" if kind in OURS else "total"
        middles = [median(at(getattr(run, of), percent) for run in runs) for percent in (50, 95, 99)]
        p99 = f"{middles[2]:.3f}" + (f" ({against(middles[2], PAGES.goals.net)})" if kind in OURS else "")
        table.add(
            kind,
            sum(run.probes for run in runs),
            f"{middles[0]:.3f}",
            f"{middles[1]:.3f}",
            p99,
            f"{median(run.cpu_ms for run in runs):.2f}",
        )
    table.note = f"Medians of {RUNS} runs; {load()}."
    return table


def _error(runs: list[Errors], of: str, goal: float | None) -> str:
    """The 99th percentile, and whether that is good enough."""
    p99 = median(at(getattr(run, of), 99) for run in runs)
    if isnan(p99):
        return "–"
    return f"{p99:.3f}" if goal is None else f"{p99:.3f} ({against(p99, goal)})"


def _exact(runs: list[Errors], goal: float | None) -> str:
    exact = median(100 - 100 * len(run.marked) / max(1, run.probes) for run in runs)
    return f"{exact:.2f}" if goal is None else f"{exact:.2f} ({against(exact, goal, least=True)})"


def main() -> None:
    cases = {name: CASES[name] for name in sys.argv[1:] or CASES}
    with tempfile.TemporaryDirectory() as folder, server(Path(folder), TRUTH_CPU) as truth:
        print(_streams(truth, Path(folder), cases).markdown())


if __name__ == "__main__":
    main()
