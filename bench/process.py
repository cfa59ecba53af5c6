"""What a running process has used so far, from /proc."""

import os
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """Seconds of CPU of a process: all its threads, and the children that it has reaped."""
    fields = _stat(pid)
    return sum(map(int, fields[11:15])) / _TICKS


def cpu_of_family_s(pid: int) -> float:
    """The same, with the children that still run."""
    return cpu_s(pid) + sum(cpu_of_family_s(child) for child in children(pid))


def children(pid: int) -> list[int]:
    found: list[int] = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        found += map(int, (thread / "children").read_text().split())
    return found


def rss_mb(pid: int) -> float:
    """Resident memory in MB (10^6 bytes)."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def peak_rss_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024 / 1e6


def _stat(pid: int) -> list[str]:
    """The fields after the name, which may contain anything."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
