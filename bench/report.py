"""A figure as a line of a table."""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from monitor import __version__


@dataclass(slots=True)
class Table:
    """Printed, and kept in bench/README.md."""

    title: str
    head: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)
    note: str = ""

    def add(self, *cells: object) -> None:
        self.rows.append(tuple(str(cell) for cell in cells))

    def markdown(self) -> str:
        rule = ("---", *("---:" for _ in self.head[1:]))
        lines = [f"### {self.title}", "", *map(_line, (self.head, rule, *self.rows))]
        return "\n".join([*lines, "", self.note, ""] if self.note else [*lines, ""])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def spread(values: Sequence[float], digits: int = 0) -> str:
    """The median, and what lies around it where there are several: `81 (79–84)`."""
    middle = f"{median(values):,.{digits}f}"
    if len(values) == 1:
        return middle
    return f"{middle} ({min(values):,.{digits}f}–{max(values):,.{digits}f})"


def against(value: float, goal: float, *, least: bool = False) -> str:
    """`≤ 100: held`."""
    held = value >= goal if least else value <= goal
    return f"{'≥' if least else '≤'} {goal:g}: {'held' if held else 'MISSED'}"


def machine() -> str:
    """One line: what all of this ran on, and what else was running."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} × {cpu}, {gib:.0f} GiB, Linux {platform.release()}, "
        f"Python {platform.python_version()}, Uptoken {__version__}; {load()}"
    )


def load() -> str:
    """`load average 0.4`."""
    return f"load average {os.getloadavg()[0]:.1f}"
