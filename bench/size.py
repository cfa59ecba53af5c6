"""Bytes that a stored probe takes in a SQLite file."""

import json
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random

from bench import past
from bench.report import Table, against
from monitor.core.blot import Blot
from monitor.core.evidence import gather, store
from monitor.core.observation import Observation
from monitor.core.outcome import Outcome
from monitor.core.step import Step
from monitor.core.timeline import Channel, Timeline, Token
from monitor.core.trace import Trace
from monitor.core.wire import Arrival, Fault, FaultKind, Phase
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
    growth = f"Growth of the file by {count:,} probes of {len(ENDPOINTS)} endpoints in turn; no VACUUM."
    table.note = f"{growth} Evidence is counted apart: its amount depends on failures, not on probes."
    yield table
    proof = Table("size: bytes of the evidence of a failure on SQLite", ("failure", "bytes", "goal"))
    proof.add("a stream of 64 chunks that broke off", f"{_of_evidence():.0f}", "–")
    proof.note = "What each failure adds beside its probe; at most 164 of one outcome and endpoint a day."
    yield proof


def _limited(seen: past.Seen) -> past.Seen:
    return replace(seen, result=replace(seen.result, headroom_permille=998))


def _some_fail(seen: past.Seen) -> past.Seen:
    if int(seen.result.probe_id[-2:], 16) % 20:
        return seen
    detail = "503 from 203.0.113.7 port 443: The engine is currently overloaded, please try again later"
    request = f"req_{seen.result.probe_id[8:]}"
    failed = replace(past.plain(seen).result, outcome=Outcome.OVERLOADED, detail=detail, request_id=request)
    return replace(seen, result=failed)


FAILURES = 400, 2_400


def _of_evidence() -> float:
    """Bytes by which the file grows for each failure more, its probe taken off."""
    chance = Random(7)
    grown = []
    for with_evidence in (True, False):
        with tempfile.TemporaryDirectory(prefix="uptoken-bench-") as folder:
            path = Path(folder) / "uptoken.db"
            sizes = []
            with _journal(path) as journal:
                for count, seen in enumerate(past.streams(ENDPOINTS[:1], FAILURES[1]), 1):
                    kept = _broken_off(seen, chance) if with_evidence else None
                    journal.write([Step(result=replace(seen.result, evidence=kept))])
                    if count in FAILURES:
                        sizes.append(_settled(path))
            grown.append((sizes[1] - sizes[0]) / (FAILURES[1] - FAILURES[0]))
    return grown[0] - grown[1]


def _broken_off(seen: past.Seen, chance: Random) -> bytes:
    """Of a stream of 64 chunks, in 24 reads, each of which tells of its id and of words by chance."""
    line = Timeline(start=0.0, dns_s=0.001, connect_s=0.012, tls_s=0.02, request_sent=0.04, headers=0.4)
    trace = Trace("POST", "https://api.acme.example/v1/chat/completions", 311)
    answer, at = f"chatcmpl-{chance.getrandbits(96):024x}", 0.6
    for number in range(64):
        at += chance.uniform(0.005, 0.012)
        word = "".join(chance.choices("etaoinshrdlu", k=5))
        chunk = {"id": answer, "object": "chat.completion.chunk", "choices": [{"delta": {"content": word}}]}
        if number < 10 or number % 4 == 0:
            trace.came(Arrival(f"data: {json.dumps(chunk)}\n\n".encode() * (1 if number < 10 else 4), at, at))
        line.tokens.append(Token(at, at, 5, Channel.ANSWER, ended_read=True))
    line.end = at + 0.1
    fault = Fault(FaultKind.RESET, Phase.BODY, "203.0.113.7 port 443 broke the connection off", 104)
    observation = Observation(timeline=line, status=200, fault=fault, trace=trace)
    found = gather(
        observation,
        replace(seen.look.verdict, outcome=Outcome.CONNECTION_RESET, detail=fault.text),
        probe_id=seen.result.probe_id,
        endpoint=seen.endpoint,
        at=seen.result.at,
        monitor="0.1.0",
        location="default",
        protocol="openai-chat",
        model="quick",
        blot=Blot(()),
    )
    return store(found)


def _bytes(change: past.Change) -> float:
    with tempfile.TemporaryDirectory(prefix="uptoken-bench-") as folder:
        path = Path(folder) / "uptoken.db"
        sizes = []
        steps: list[Step] = []
        with _journal(path) as journal:
            for count, seen in enumerate(past.streams(ENDPOINTS, AFTER), 1):
                steps.append(Step(result=change(seen).result))
                if len(steps) == 100:
                    journal.write(steps)
                    steps.clear()
                if count in (BEFORE * len(ENDPOINTS), AFTER * len(ENDPOINTS)):
                    sizes.append(_settled(path))
    return (sizes[1] - sizes[0]) / ((AFTER - BEFORE) * len(ENDPOINTS))


@contextmanager
def _journal(path: Path) -> Iterator[Journal]:
    database = Database(f"sqlite:///{path}")
    migrate.upgrade(database)
    owned = lock.acquire(database)
    assert owned is not None
    journal = Journal(database, owned.epoch)
    journal.register(ENDPOINTS, past.START)
    yield journal
    owned.release()
    database.dispose()


def _settled(path: Path) -> int:
    """The file's size once it holds what stood in the log beside it."""
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path.stat().st_size
