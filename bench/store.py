"""CPU of a stored result: what making it durable and saying so costs the daemon's process.

Each run is a process of its own with a Writer and a Journal on a new database, fed with
Steps as they were decided: result and belief. What feeding costs at that pace is measured in
the same way without a writer, and taken off.
"""

import asyncio
import gc
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench import past
from bench.process import children, cpu_s
from bench.report import Table, against, load, spread
from monitor import clock, logs
from monitor.core.instant import Span
from monitor.core.step import Step
from monitor.store import lock, migrate
from monitor.store.engine import Database
from monitor.store.journal import Journal
from monitor.store.spool import Spool
from monitor.writer import Writer
from tests.support.postgres import INSTALL, Cluster, binaries

ENDPOINTS = [f"acme/model-{number:03d}" for number in range(200)]
RATE = 200
WARM, PACED, FAST = 31, 20, 100
"""Rounds; in each every endpoint is looked at once. The first ones fill the half hour of the rules."""
RUNS = 5
MOST_WAITING = 2_000
SQLITE_US, POSTGRES_US = 100, 200


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one run; seconds."""

    stored: int
    cpu_s: float
    wall_s: float
    server_s: float = 0.0

    def us(self, seconds: float) -> float:
        return seconds / self.stored * 1e6


@dataclass(frozen=True, slots=True)
class Place:
    """Where to store. `server` is the pid of the database's own process, if it has one."""

    name: str
    goal_us: float
    fresh: Callable[[], str]
    """Gives the URL of a new database."""
    server: int | None = None


def figures(*, long: bool) -> Iterator[Table]:  # noqa: ARG001 - the same in both cases
    head = ("database", f"CPU at {RATE}/s, µs", "goal", "CPU saturated, µs", "highest rate, /s", "server, µs")
    table = Table("store: CPU of a stored result", head)
    feeding = median(one.us(one.cpu_s) for one in (_run(None, RATE, PACED) for _ in range(RUNS)))
    with sqlite() as file, postgres() as server:
        for place in (file, server):
            paced = [_run(place, RATE, PACED) for _ in range(RUNS)]
            fast = [_run(place, 0, FAST) for _ in range(RUNS)]
            net = [one.us(one.cpu_s) - feeding for one in paced]
            table.add(
                place.name,
                spread(net),
                against(median(net), place.goal_us),
                spread([one.us(one.cpu_s) for one in fast]),
                spread([one.stored / one.wall_s for one in fast]),
                "–" if place.server is None else spread([one.us(one.server_s) for one in paced]),
            )
    table.note = (
        "Process CPU from a Step's arrival at the writer to its line in the log; `synchronous=FULL`. "
        f"Median (range) of {RUNS} runs; {load()}."
    )
    yield table


@contextmanager
def sqlite() -> Iterator[Place]:
    with tempfile.TemporaryDirectory(prefix="uptoken-bench-") as folder:

        def fresh() -> str:
            return f"sqlite:///{folder}/{time.monotonic_ns()}.db"

        yield Place("SQLite", SQLITE_US, fresh)


@contextmanager
def postgres() -> Iterator[Place]:
    programs = binaries()
    if programs is None:
        raise SystemExit(INSTALL)
    folder = Path(tempfile.mkdtemp(prefix="uptoken-bench-postgres-"))
    cluster = Cluster(folder, programs)
    try:
        cluster.create()
        cluster.start()
        pid = int((folder / "data" / "postmaster.pid").read_text().split("\n", 1)[0])
        yield Place("PostgreSQL", POSTGRES_US, lambda: cluster.url(cluster.create_database()), pid)
    finally:
        cluster.stop()
        shutil.rmtree(folder)


def _run(place: Place | None, rate: int, rounds: int) -> Cost:
    """A process of its own; without a place it only feeds itself."""
    url = "" if place is None else place.fresh()
    with tempfile.TemporaryDirectory(prefix="uptoken-bench-") as folder:
        command = [sys.executable, "-m", "bench.store", url, folder, str(rate), str(rounds)]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdout.readline()
            server = None if place is None else place.server
            before = _server_s(server)
            process.stdin.write(b"go\n")
            process.stdin.flush()
            told = json.loads(process.stdout.readline())
            spent = _server_s(server) - before
            process.stdin.close()
    return Cost(**told, server_s=spent)


def _server_s(pid: int | None) -> float:
    """CPU of the server's processes; those that ended count through their parent."""
    return 0.0 if pid is None else cpu_s(pid) + sum(map(cpu_s, children(pid)))


# In the process of a run


async def _feed(url: str, folder: Path, rate: int, rounds: int) -> None:
    """Store everything; say how much CPU it took from the signal on."""
    steps = list(past.decided(past.streams(ENDPOINTS, WARM + rounds)))
    if not url:
        await _measured(steps, rate, lambda _: None, lambda: 0)
        return
    database = Database(url)
    migrate.upgrade(database)
    owned = lock.acquire(database)
    assert owned is not None
    journal = Journal(database, owned.epoch)
    journal.register(ENDPOINTS, past.START)
    writer = Writer(
        connect=lambda: journal,
        journal=journal,
        spool=Spool(folder / "spool"),
        known=journal.load(dict.fromkeys(ENDPOINTS, Span(0)), past.START),
        rules={endpoint: past.rules(endpoint) for endpoint in ENDPOINTS},
        now=clock.now,
        monotonic=clock.monotonic,
        deliver=lambda _: None,
        state_dir=folder,
    )
    running = asyncio.create_task(writer.run())
    await _measured(steps, rate, writer.put, lambda: writer.health.waiting)
    assert writer.health.stored == len(steps), writer.health
    writer.close()
    await running
    writer.release()
    owned.release()
    database.dispose()


async def _measured(
    steps: list[Step], rate: int, put: Callable[[Step], None], waiting: Callable[[], int]
) -> None:
    warm = WARM * len(ENDPOINTS)
    await _pour(steps[:warm], 0, put, waiting)
    # As the daemon does once it is ready; else all that lies ready here is swept again and again.
    gc.freeze()
    print(flush=True)
    sys.stdin.readline()
    cpu, start = time.process_time(), time.monotonic()
    await _pour(steps[warm:], rate, put, waiting)
    cpu, wall = time.process_time() - cpu, time.monotonic() - start
    print(json.dumps({"stored": len(steps) - warm, "cpu_s": cpu, "wall_s": wall}), flush=True)


async def _pour(
    steps: list[Step], rate: int, put: Callable[[Step], None], waiting: Callable[[], int]
) -> None:
    start = time.monotonic()
    for count, step in enumerate(steps):
        if rate:
            await asyncio.sleep(start + count / rate - time.monotonic())
        elif not count % 100:
            # The writer's turn, as often as it may take a batch.
            await asyncio.sleep(0)
            while waiting() >= MOST_WAITING:
                await asyncio.sleep(0.001)
        put(step)
    while waiting():
        await asyncio.sleep(0.001)


if __name__ == "__main__":
    logs.configure("json")
    asyncio.run(_feed(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))
    os._exit(0)
