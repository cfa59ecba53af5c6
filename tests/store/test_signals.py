"""Flaws of streams and events are kept as they were told, on both databases and in the spool."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.belief import Belief
from monitor.core.degraded import Sample
from monitor.core.identity import NOBODY, Change, Event, Known
from monitor.core.instant import DAY, HOUR, MINUTE, Instant, Span
from monitor.core.integrity import Flaw, Integrity, implied, of_stream
from monitor.core.outcome import Blame, Outcome
from monitor.core.step import (
    Checkpoint,
    Result,
    Step,
    belief_from_json,
    belief_json,
    checkpoint_from_json,
    checkpoint_json,
    step_from_json,
    to_json,
)
from monitor.core.uptime import Record, Window, window
from monitor.core.verdict import Learnt
from monitor.store import history, lock, marks, migrate, schema
from monitor.store.engine import Database
from monitor.store.journal import Journal
from monitor.store.spool import Spool
from tests.support.truth import START, result

NAME = "acme/one"
SILENT = replace(result().figures, ttft_ms=None, ttft_net_ms=None, ttfat_ms=None, token_source=None)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    migrate.upgrade(database)
    yield database
    database.dispose()


@pytest.fixture
def journal(database: Database) -> Iterator[Journal]:
    owned = lock.acquire(database)
    assert owned is not None
    journal = Journal(database, owned.epoch)
    journal.register([NAME], START)
    yield journal
    owned.release()


LOOKS: list[tuple[Outcome, bool, set[Flaw]]] = [
    (Outcome.OK, True, set()),
    (Outcome.OK, True, {Flaw.BURST, Flaw.NO_USAGE}),
    (Outcome.TRUNCATED, True, {Flaw.TRUNCATED}),
    (Outcome.TRUNCATED, False, {Flaw.TRUNCATED}),
    (Outcome.CONNECTION_RESET, True, {Flaw.TRUNCATED}),
    (Outcome.CONNECTION_RESET, False, set()),
    (Outcome.STALLED, True, {Flaw.STALLED}),
    (Outcome.STREAM_ERROR, False, {Flaw.ERROR_IN_STREAM}),
    (Outcome.OVERLOADED, True, {Flaw.ERROR_IN_STREAM}),
    (Outcome.OVERLOADED, False, set()),
    (Outcome.EMPTY_COMPLETION, False, {Flaw.EMPTY}),
    (Outcome.FIRST_TOKEN_TIMEOUT, False, {Flaw.KEEP_ALIVE_ONLY}),
    (Outcome.FIRST_TOKEN_TIMEOUT, False, set()),
    (Outcome.SELF_OVERLOAD, True, set()),
]


def flawed(number: int) -> Result:
    outcome, spoke, found = LOOKS[number]
    changes = {} if spoke else {"figures": SILENT}
    return result(number, outcome=outcome, flaws=frozenset(found), **changes)


def test_flaws_are_read_back_counted_and_shown_as_they_were_told(
    journal: Journal, database: Database
) -> None:
    results = [flawed(number) for number in range(len(LOOKS))]
    journal.write([Step(result=one) for one in results])
    now = Instant(results[-1].at + MINUTE)

    def work(moment: history.Moment) -> tuple[list[Result], Record]:
        return history.probes(moment, 1, NAME, 100), history.record(moment, 1, NAME, START)

    read, record = database.read(work)
    assert [one.flaws for one in reversed(read)] == [one.flaws for one in results]
    counted = window(Window.H1, record, now, Span(DAY)).integrity
    assert counted == Integrity(
        streams=10,
        truncated=3,
        stalled=1,
        keep_alive_only=1,
        error_in_stream=2,
        burst=1,
        empty=1,
        no_usage=1,
    )
    shown = database.read(
        lambda c: [row[0] for row in c.exec_driver_sql("SELECT flaws FROM uptoken_probe ORDER BY at_us")]
    )
    assert [set(text.split(",")) if text else set() for text in shown] == [one.flaws for one in results]


def test_confirmations_and_maintenance_are_in_no_count(journal: Journal, database: Database) -> None:
    burst = frozenset({Flaw.BURST})
    extra = [
        result(0, flaws=burst, scheduled=False),
        result(1, flaws=burst, maintenance=True),
        result(2, flaws=burst),
    ]
    journal.write([Step(result=one) for one in extra])
    record = database.read(lambda moment: history.record(moment, 1, NAME, START))
    counted = window(Window.H1, record, Instant(START + HOUR), Span(DAY)).integrity
    assert (counted.streams, counted.burst) == (1, 1)


def test_the_ring_comes_back_with_its_flaws(journal: Journal) -> None:
    steps = [Step(result=flawed(n), belief=Belief(endpoint=NAME, sequence=n + 1)) for n in range(len(LOOKS))]
    journal.write(steps)
    ring = journal.load({NAME: Span(HOUR)}, Instant(START + HOUR)).beliefs[NAME].ring
    expected = [
        None if outcome.blame is Blame.MONITOR or not (spoke or found) else frozenset(found)
        for outcome, spoke, found in LOOKS
    ]
    assert [sample.flaws for sample in ring] == expected


@given(st.sampled_from(Outcome), st.frozensets(st.sampled_from(list(marks.BITS))), st.booleans())
def test_what_is_marked_is_read_back(outcome: Outcome, some: frozenset[Flaw], spoke: bool) -> None:
    found = some | implied(outcome, spoke=spoke)
    marked = marks.bits(outcome, found, spoke=spoke)
    code = schema.OUTCOME_CODES[outcome]
    assert marked & ~marks.MASK == 0
    assert marks.flaws(code, marked, spoke) == found
    assert marks.stream(code, marked, spoke) == of_stream(outcome, found, spoke=spoke)


def test_no_two_flags_share_a_bit_and_all_fit_the_column() -> None:
    flags = [value for name, value in vars(schema).items() if name.startswith("FLAG_")]
    assert sum(flags) == sum(set(flags)) < 2**15
    assert all(flag & (flag - 1) == 0 for flag in flags)


# Events


def event(number: int, kind: Change = Change.FINGERPRINT_CHANGED, place: int = 0) -> Event:
    return Event(result(number).at, kind, f"build {number}.{place}", place)


def with_events(number: int) -> Step:
    events = (event(number), event(number, Change.UPSTREAM_CHANGED, 1))
    return Step(
        result=result(number, cache_hit=True),
        belief=Belief(endpoint=NAME, sequence=number + 1),
        events=events,
    )


def test_events_are_read_page_by_page_newest_first(journal: Journal, database: Database) -> None:
    steps = [with_events(number) for number in range(5)]
    journal.write(steps)
    written = [one for step in steps for one in step.events][::-1]
    assert database.read(lambda m: history.events(m, 1, 100)) == written
    pages: list[Event] = []
    before = None
    while page := database.read(lambda m, b=before: history.events(m, 1, 3, before=b)):  # type: ignore[misc]
        pages += page
        before = page[-1].id
    assert pages == written
    assert database.read(lambda m: history.events(m, 2, 100)) == []
    assert database.read(lambda m: history.events(m, 1, 100, before="f" * 18)) == written
    (read,) = database.read(lambda m: history.probes(m, 1, NAME, 1))
    assert read.cache_hit


def test_a_replayed_event_meets_itself(journal: Journal, database: Database) -> None:
    for _ in range(2):
        journal.write([with_events(0), with_events(1)])
    assert len(database.read(lambda m: history.events(m, 1, 100))) == 4


def test_events_go_with_the_results_of_their_time(journal: Journal, database: Database) -> None:
    journal.write([with_events(number) for number in range(4)])
    journal.prune(result(2).at)
    assert {one.at for one in database.read(lambda m: history.events(m, 1, 100))} == {
        result(2).at,
        result(3).at,
    }


def test_events_are_shown_in_their_view(journal: Journal, database: Database) -> None:
    journal.write([with_events(0)])
    query = "SELECT endpoint, at_us, kind, text FROM uptoken_event ORDER BY kind"
    rows = database.read(lambda c: [tuple(row) for row in c.exec_driver_sql(query)])
    assert rows == [
        (NAME, result(0).at, "fingerprint_changed", "build 0.0"),
        (NAME, result(0).at, "upstream_changed", "build 0.1"),
    ]


def test_flaws_and_events_survive_the_spool(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    spool.start(Checkpoint(at=START, beliefs={}))
    step = replace(with_events(1), result=result(1, flaws=frozenset({Flaw.BURST}), cache_hit=True))
    spool.append([step])
    assert spool.take(3)[0] == [step]


# What is known


KNOWN = Known(
    models={"cheaper": START},
    fingerprints={"fp_a": START, "fp_b": Instant(START + 1)},
    upstreams={"One": START},
    stranger="cheaper",
    cached=START,
    day=3,
    told=2,
)


@pytest.mark.parametrize("known", [KNOWN, NOBODY, Known(upstreams={"One": START})])
def test_who_answered_is_durable_with_the_belief(known: Known, journal: Journal) -> None:
    belief = Belief(endpoint=NAME, sequence=1, learnt=Learnt(identity="x", worked=True, known=known))
    assert belief_from_json(json.loads(json.dumps(belief_json(belief)))) == belief
    journal.write([Step(result=result(), belief=belief)])
    assert journal.load({NAME: Span(0)}, START).beliefs[NAME].learnt == belief.learnt


def test_what_an_older_version_stored_is_read() -> None:
    belief = belief_json(Belief(endpoint=NAME, learnt=Learnt(identity="x")))
    assert "known" not in belief["learnt"]
    old = {**belief, "ring": [[START, True, False, 1.0, 2.0, 3.0]]}
    read = belief_from_json(old)
    assert read.learnt == Learnt(identity="x")
    assert read.ring == (Sample(START, True, False, 1.0, 2.0, 3.0),)
    raw = to_json(Step(result=result()))
    for name in ("flaws", "cache_hit"):
        del raw["result"][name]
    assert step_from_json(json.loads(json.dumps(raw))) == Step(result=result())


def test_a_checkpoint_keeps_the_flaws_of_the_ring() -> None:
    samples = (
        Sample(START, True, False, 1.0, 2.0, 3.0, frozenset({Flaw.BURST, Flaw.NO_USAGE})),
        Sample(START, False, True, None, None, None),
    )
    known = Checkpoint(at=START, beliefs={NAME: Belief(endpoint=NAME, ring=samples)})
    raw = checkpoint_json(known)
    listed = json.loads(json.dumps({name: list(v) if name in _LISTS else v for name, v in raw.items()}))
    assert checkpoint_from_json(listed) == known


_LISTS = ("beliefs", "owed", "segments", "reports", "quiet")
