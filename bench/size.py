"""Bytes that a stored probe takes in a SQLite file."""

import sqlite3
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from bench import past
from bench.report import Table, against
from monitor.core.outcome import Outcome
from monitor.core.step import Step
from monitor.store import lock, migrate
from monitor.store.engine import Database
from monitor.store.journal import Journal

ENDPOINTS = [f"acme/model-{number:02d}" for number in range(50)]
BEFORE, AFTER = 200, 2_200
"""Rounds: the file is looked at twice, so that an empty one's size does not count."""
GOAL = 120


def figures(*, long: bool) -> Iterator[Table]:  # noqa: ARG001 - the same in both cases
    table = Table("size: bytes of a stored probe on SQLite", ("probes", "bytes", "goal"))
    for name, change in (
        ("stream of a model, `ok`", lambda seen: seen),
        ("the same, of a vendor that tells its limits", _limited),
        ("plain HTTP, `ok`", past.plain),
        ("one in twenty failed, with detail and request id", _some_fail),
    ):
        size = _bytes(change)
        table.add(name, f"{size:.1f}", against(size, GOAL))
    count = (AFTER - BEFORE) * len(ENDPOINTS)
    table.note = f"Growth of the file by {count:,} probes of {len(ENDPOINTS)} endpoints in turn; no VACUUM."
    yield table


def _limited(seen: past.Seen) -> past.Seen:
    return replace(seen, result=replace(seen.result, headroom_permille=998))


def _some_fail(seen: past.Seen) -> past.Seen:
    if int(seen.result.probe_id[-2:], 16) % 20:
        return seen
    detail = "503 from 203.0.113.7 port 443: The engine is currently overloaded, please try again later"
    request = f"req_{seen.result.probe_id[8:]}"
    failed = replace(past.plain(seen).result, outcome=Outcome.OVERLOADED, detail=detail, request_id=request)
    return replace(seen, result=failed)


def _bytes(change: past.Change) -> float:
    with tempfile.TemporaryDirectory(prefix="uptoken-bench-") as folder:
        path = Path(folder) / "uptoken.db"
        database = Database(f"sqlite:///{path}")
        migrate.upgrade(database)
        owned = lock.acquire(database)
        assert owned is not None
        journal = Journal(database, owned.epoch)
        journal.register(ENDPOINTS, past.START)
        sizes = []
        steps: list[Step] = []
        for count, seen in enumerate(past.streams(ENDPOINTS, AFTER), 1):
            steps.append(Step(result=change(seen).result))
            if len(steps) == 100:
                journal.write(steps)
                steps.clear()
            if count in (BEFORE * len(ENDPOINTS), AFTER * len(ENDPOINTS)):
                sizes.append(_settled(path))
        owned.release()
        database.dispose()
    return (sizes[1] - sizes[0]) / ((AFTER - BEFORE) * len(ENDPOINTS))


def _settled(path: Path) -> int:
    """The file's size once it holds what stood in the log beside it."""
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path.stat().st_size
