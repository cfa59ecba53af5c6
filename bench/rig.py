"""What a bench runs: simulated providers, a daemon that watches them, and how both are read."""

import json
import tempfile
import time
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monitor.core.instant import Instant
from tests.support.daemon import Daemon, Home, home_at
from tests.support.simulated import Simulated

STREAM: dict[str, Any] = {
    "headers_ms": 5,
    "ttft_ms": 200,
    "tokens_per_s": 100,
    "chunk_tokens": [1],
    "answer_tokens": 64,
}
"""64 chunks: the first after 200 ms, then one every 10 ms; 0.83 s in all."""


@contextmanager
def home(*, url: str = "") -> Iterator[Home]:
    """A place for daemons, with a SQLite database of its own or the database at `url`."""
    with tempfile.TemporaryDirectory(prefix="uptoken-bench-") as folder:
        place = Path(folder)
        with home_at(place, url or f"sqlite:///{place / 'uptoken.db'}") as one:
            yield one


def plain(server: str, count: int, interval: str, timeout: str = "1s") -> str:
    """So many `http` endpoints, each with a URL of its own."""
    lines = [f'[provider.fast]\nprotocol = "http"\ninterval = "{interval}"\ntimeout = "{timeout}"\n']
    lines += [
        f'[[provider.fast.endpoints]]\nname = "m{number}"\nurl = "{server}/fast/{number}"\n'
        for number in range(count)
    ]
    return "\n".join(lines)


def models(base_url: str, count: int, interval: str, timeout: str, extra: str = "") -> str:
    """So many language models of one provider; `extra` is more TOML for each."""
    head = (
        f'protocol = "openai-chat"\nbase_url = "{base_url}"\ninterval = "{interval}"\ntimeout = "{timeout}"'
    )
    lines = [f'[provider.model]\n{head}\nexpect = {{ answer = "pong" }}\n{extra}']
    lines += [f'[[provider.model.endpoints]]\nmodel = "m{number}"\n' for number in range(count)]
    return "\n".join(lines)


def now() -> Instant:
    return Instant(time.time_ns() // 1_000)


def percentile(values: Iterable[float], share: float) -> float:
    """The value below which that share lies; the one above where it falls between two."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@dataclass(frozen=True, slots=True)
class Slots:
    """What became of the slots of a stretch of time."""

    due: int
    stored: int
    late_ms: Sequence[float]
    """How much later than its slot each probe began."""

    @property
    def share(self) -> float:
        """Percent of the slots that became results."""
        return 100 * self.stored / self.due

    def late(self, share: float) -> float:
        return percentile(self.late_ms, share)


def slots(home: Home, due: int, since: Instant, until: Instant) -> Slots:
    """Of the scheduled probes whose slots lie between these moments; `due` is how many do."""
    records = home.records()
    rows = records.rows(
        "SELECT late_us FROM probe WHERE at - late_us >= :since AND at - late_us < :until AND flags & 1 = 1",
        since=since,
        until=until,
    )
    records.close()
    return Slots(due, len(rows), [late / 1000 for (late,) in rows])


def seconds_to_ready(daemon: Daemon, within_s: float = 60.0) -> float:
    """From exec to the line that says so."""
    line = daemon.wait("daemon.ready", within_s=within_s)
    return float(line["heard_at"] - daemon.started)


def asked(simulated: Simulated) -> int:
    """How many requests the providers have had."""
    with urllib.request.urlopen(f"{simulated.url}/_stats", timeout=10) as reply:
        return int(json.load(reply)["requests"])
