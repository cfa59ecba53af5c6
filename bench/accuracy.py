"""How wrong the figures are: every probe against the interval in which the truth lies.

`python -m bench.accuracy [NAME …]`; without names all of `CASES`. The client has one core to itself
(and whatever else runs there), the ground truth the other.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

from bench.truth import NAGLE, PLAIN, SPLIT, TOGETHER, TRIPLE, Server, Truth, server

ENDS_MS = (0, 10, 50)
FLAGS = (0, TRIPLE, TOGETHER, SPLIT, TRIPLE | TOGETHER, SPLIT | TOGETHER)
FIRST_MS, TOKENS = 200, 64
CLIENT_CPU, TRUTH_CPU = 0, 1
ALONE = "BENCH_SHARED" not in os.environ
"""The client runs in the round-robin class, as it would where nobody else uses its core."""


@dataclass(frozen=True)
class Case:
    streams: int
    gap_ms: float = 10
    tls: bool = False
    nagle: bool = False
    plain: bool = False
    block_s: float = 0.0
    busy: bool = False
    kinds: tuple[str, ...] = ("uptoken", "httpx", "aiohttp")
    seconds: float = 8.0
    every_s: float | None = None
    tokens: int = TOKENS

    @property
    def cycle_s(self) -> float:
        return FIRST_MS / 1000 + self.tokens * self.gap_ms / 1000 + 0.05


CASES = {
    "50": Case(50),
    "50 slow": Case(50, gap_ms=50),
    "200": Case(200, seconds=6),
    "200 slow": Case(200, gap_ms=50, seconds=12),
    "50 tls": Case(50, tls=True),
    "50 nagle": Case(50, nagle=True),
    "500 tokens": Case(50, tokens=500, seconds=12),
    "http": Case(2000, plain=True, every_s=10.0, seconds=20.0),
    "blocked": Case(50, block_s=0.5, kinds=("uptoken", "httpx")),
    "busy": Case(50, busy=True, kinds=("uptoken", "httpx")),
}


@dataclass
class Errors:
    """Of one run; milliseconds, and percent for the speed."""

    net: list[float] = field(default_factory=list)
    """Of `ttft_net_ms`, beyond the stated uncertainty."""
    total: list[float] = field(default_factory=list)
    """Of `ttft_ms`, beyond the stated uncertainty."""
    speed: list[float] = field(default_factory=list)
    speed_window: list[float] = field(default_factory=list)
    """Of the speed over the window that the figure says it is of."""
    marked: list[float] = field(default_factory=list)
    """Uncertainties over 0."""
    signed: list[float] = field(default_factory=list)
    probes: int = 0
    not_ok: dict[str, int] = field(default_factory=dict)
    cpu_ms: float = 0.0
    user_clock: int = 0


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
        if report.get("clock") == "user":
            errors.user_clock += 1
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
        errors.signed.append(net - (low + high) / 2)
    total = report.get("total_ms") if case.plain and net is not None else report.get("ttft_ms")
    if total is not None and not case.tls:  # how long a handshake truly takes, nobody wrote down
        rtt_ms = truth.rtt_s * 1000
        errors.total.append(_beyond(total, width, low, high + rtt_ms))
    speed = report.get("speed")
    if speed and not case.plain:
        true = (len(truth.tokens) - 1) / (truth.last[1] - truth.tokens[0])
        errors.speed.append(100 * abs(speed / true - 1))
        end = report.get("timed")
        if end:
            errors.speed_window.append(100 * abs(speed / (end / (truth.tokens[end] - truth.tokens[0])) - 1))


def _beyond(value: float, width: float, low: float, high: float) -> float:
    """How far the stated interval [value − width, value] is from the one in which the truth lies."""
    return max(0.0, value - width - high, low - value)


def at(values: Sequence[float], percent: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else float("nan")


HEAD = (
    f"{'case':>12} {'client':8} {'probes':>6} {'net p50':>8} {'p99':>8} {'max':>8} {'ttft p50':>8} {'p99':>8}"
    " "
    f"{'exact %':>8} {'widest':>7} {'speed% p50':>10} {'p99':>7} {'window p99':>10} {'cpu ms':>7} load  rest"
)


def row(name: str, kind: str, runs: list[Errors]) -> str:
    """The medians of the runs."""

    def mid(of: str, percent: float) -> str:
        return f"{median(at(getattr(run, of), percent) for run in runs):.3f}"

    exact = median(100 - 100 * len(run.marked) / max(1, run.probes) for run in runs)
    widest = max((max(run.marked, default=0.0) for run in runs), default=0.0)
    rest = " ".join(f"{key}: {value}" for run in runs for key, value in run.not_ok.items())
    user = sum(run.user_clock for run in runs)
    rest += f" user clock: {user}" if user else ""
    worst = max(max(run.net, default=0.0) for run in runs)
    cpu = median(run.cpu_ms for run in runs)
    return (
        f"{name:>12} {kind:8} {sum(run.probes for run in runs):6} {mid('net', 50):>8} {mid('net', 99):>8} "
        f"{worst:8.3f} {mid('total', 50):>8} {mid('total', 99):>8} {exact:8.2f} {widest:7.2f} "
        f"{mid('speed', 50):>10} {mid('speed', 99):>7} {mid('speed_window', 99):>10} "
        f"{cpu:7.2f} {os.getloadavg()[0]:.1f}  {rest}"
    )


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m bench.accuracy", description=__doc__)
    options.add_argument("names", nargs="*", choices=[[], *CASES])
    options.add_argument("--runs", type=int, default=5)
    options.add_argument("--only", help="one client")
    options.add_argument("--seconds", type=float)
    given = options.parse_args()
    print(HEAD, flush=True)
    with tempfile.TemporaryDirectory() as folder, server(Path(folder), TRUTH_CPU) as truth:
        for name in given.names or CASES:
            case = CASES[name]
            if given.seconds:
                case = Case(**{**vars(case), "seconds": given.seconds})
            for kind in case.kinds if given.only is None else [given.only]:
                runs = [one_run(truth, case, kind, Path(folder)) for _ in range(given.runs)]
                print(row(name, kind, runs), flush=True)


if __name__ == "__main__":
    main()
