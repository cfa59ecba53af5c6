"""What is written is what is read back, on both databases, however often it is written."""

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import Connection, func, select

from monitor.core.alert import Fate
from monitor.core.belief import Quiet, QuietSpan, Withdrawn
from monitor.core.budget import Spent, day_of
from monitor.core.figures import Figures
from monitor.core.instant import HOUR, MINUTE, SECOND, Instant, Span
from monitor.core.outcome import Outcome
from monitor.core.overload import INCIDENT, LASTS, Load
from monitor.core.path import Blind, Need
from monitor.core.report import Report, Word
from monitor.core.slots import Gap, GapReason, Grid, Segment
from monitor.core.step import (
    Checkpoint,
    Done,
    Known,
    Sent,
    Step,
    checkpoint_from_json,
    checkpoint_json,
    step_from_json,
    to_json,
)
from monitor.store import history, lock, migrate, schema
from monitor.store.engine import Database, DatabaseAway, DatabaseRefused
from monitor.store.journal import Journal, Order
from monitor.store.operator import Operator
from monitor.store.spool import in_pieces
from monitor.strain import Held, Vigil
from tests.core.believing import Stage
from tests.support.truth import START, result, step


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
    journal.register(["acme/one"], START)
    yield journal
    owned.release()


def count(database: Database, table: str) -> int:
    def work(connection: Connection) -> int:
        found = connection.execute(select(func.count()).select_from(schema.metadata.tables[table]))
        return int(found.scalar_one())

    return database.read(work)


def story(letters: str) -> list[Step]:
    """The steps of an endpoint's looks, with their results."""
    stage, steps = Stage(), []
    for number, letter in enumerate(letters):
        had = (len(stage.transitions), len(stage.updates), len(stage.alerts))
        stage.play(letter)
        steps.append(
            Step(
                result=result(number),
                belief=stage.belief,
                transitions=tuple(stage.transitions[had[0] :]),
                updates=tuple(stage.updates[had[1] :]),
                alerts=tuple(stage.alerts[had[2] :]),
            )
        )
    return steps


def test_a_story_is_read_back_as_it_was_decided(journal: Journal, database: Database) -> None:
    steps = story("ggbbbggccc")
    journal.write(steps)
    known = journal.load({"acme/one": Span(0)}, START)
    last = steps[-1].belief
    assert last is not None
    read = known.beliefs["acme/one"]
    assert (read.state, read.sequence, read.runs) == (last.state, last.sequence, last.runs)
    assert [owed.alert for owed in known.owed] == [alert for s in steps for alert in s.alerts]
    assert known.accounted == {"acme/one": result(9).slot}


def test_writing_a_step_twice_does_no_harm(journal: Journal, database: Database) -> None:
    steps = story("ggbbbgg")
    journal.write(steps)
    counts = {name: count(database, name) for name in schema.metadata.tables}
    journal.write(steps)
    journal.write(steps[:3])
    assert {name: count(database, name) for name in schema.metadata.tables} == counts
    assert journal.load({}, START).beliefs["acme/one"].sequence == 7


def test_an_incident_keeps_its_story(journal: Journal, database: Database) -> None:
    journal.write(story("gsssbbbgg"))

    def work(connection: Connection) -> tuple[list[str], list[tuple[object, ...]]]:
        updates = connection.execute(
            select(schema.incident_update.c.status).order_by(schema.incident_update.c.sequence)
        )
        incidents = connection.execute(
            select(schema.incident.c.impact, schema.incident.c.started_at, schema.incident.c.ended_at)
        )
        return list(updates.scalars()), [tuple(row) for row in incidents]

    statuses, incidents = database.read(work)
    assert statuses == ["degraded", "down", "resolved"]
    assert incidents == [("down", START + MINUTE, START + 7 * MINUTE)]


def test_marks_of_sent_alerts_are_kept_and_a_later_one_never_undoes_them(journal: Journal) -> None:
    steps = story("gbbb")
    journal.write(steps)
    [owed] = journal.load({}, START).owed
    later = Sent(
        key=owed.alert.key, at=START, fate=Fate.LATER, attempts=1, again=Instant(START + 5), error="no"
    )
    journal.write([Step(sent=later)])
    [waiting] = journal.load({}, START).owed
    assert (waiting.attempts, waiting.again) == (1, START + 5)
    journal.write([Step(sent=Sent(key=owed.alert.key, at=START, fate=Fate.SENT, attempts=2))])
    journal.write([Step(sent=later)])
    assert journal.load({}, START).owed == ()


def test_gaps_segments_and_quiet_spans_are_read_back(journal: Journal, database: Database) -> None:
    grid = Grid(MINUTE, Span(5 * SECOND))
    opened = Segment(endpoint="acme/one", grid=grid, timeout=Span(30 * SECOND), starts=START)
    gap = Gap("acme/one", START, Instant(START + HOUR), 61, GapReason.NOT_RUNNING)
    span = QuietSpan(endpoint="acme/one", quiet=Quiet.MAINTENANCE, starts=START, ends=None)
    journal.write([Step(segment=opened), Step(gap=gap), Step(quiet=(span,))])
    known = journal.load({"acme/one": Span(0)}, START)
    assert known.segments == {"acme/one": opened}
    assert known.accounted == {"acme/one": START + HOUR}


def test_a_daemon_that_was_deposed_writes_nothing(journal: Journal, database: Database) -> None:
    def usurp(connection: Connection) -> None:
        connection.exec_driver_sql("UPDATE daemon SET epoch = epoch + 1")

    database.write(usurp)
    with pytest.raises(lock.Deposed):
        journal.write([step(1)])
    assert count(database, "probe") == 0


def test_a_clean_end_is_told_from_a_crash(journal: Journal) -> None:
    assert not journal.stopped().cleanly
    journal.beat(START, {"version": "x"})
    assert journal.stopped().beat_at == START
    assert not journal.stopped().cleanly
    journal.stop(Instant(START + 1))
    assert journal.stopped().cleanly


def test_the_ring_of_recent_figures_comes_back_from_the_results(journal: Journal) -> None:
    journal.write([*story("ggg"), step(3, outcome=Outcome.HTTP_5XX), step(4, scheduled=False)])
    ring = journal.load({"acme/one": Span(HOUR)}, result(4).at).beliefs["acme/one"].ring
    assert [sample.works for sample in ring] == [True, True, True, False]
    assert ring[0].ttft_ms == pytest.approx(612.4)
    assert ring[0].output_speed == pytest.approx(118.25)


def test_what_was_spent_today_is_summed_exactly(journal: Journal) -> None:
    journal.write([step(number) for number in range(3)])
    assert str(journal.spent("acme/one", START)) == "0.0000891"


def test_a_job_that_took_days_is_stored_as_long_as_it_said(journal: Journal, database: Database) -> None:
    journal.write([step(1, figures=Figures(total_ms=3 * 86_400_000.0, max_stall_ms=7_200_000.0))])
    query = "SELECT total_ms, max_stall_ms FROM uptoken_probe"
    [row] = database.read(lambda connection: connection.exec_driver_sql(query).all())
    assert tuple(row) == (3 * 86_400_000.0, 7_200_000.0)


def test_old_results_are_pruned_and_young_ones_stay(journal: Journal, database: Database) -> None:
    journal.write([step(number) for number in range(10)])
    assert journal.prune(result(4).at) == 4
    assert journal.prune(result(4).at) == 0
    assert count(database, "probe") == 6


def test_with_old_results_goes_what_is_settled_and_nothing_that_is_open(
    journal: Journal, database: Database
) -> None:
    journal.write(story("gbbbggbbb"))
    sent, recovered, _ = journal.load({}, START).owed
    gaps = [Gap("acme/one", slot, slot, 1, GapReason.LATE) for slot in (result(1).slot, result(2).slot)]
    marks = [
        Sent(key=sent.alert.key, at=START, fate=Fate.SENT, attempts=1),
        Sent(key=recovered.alert.key, at=START, fate=Fate.DEAD, attempts=9),
    ]
    journal.write([*(Step(sent=one) for one in marks), *(Step(gap=gap) for gap in gaps)])
    operator = Operator(database)
    done, asked = (operator.ask(Order.PAUSE, ["acme/one"], START) for _ in range(2))
    journal.write([Step(done=Done(done, START))])
    incidents, moves = count(database, "incident_update"), count(database, "transition")
    journal.prune(result(4).at)
    # The end of the first outage was told later than that.
    assert count(database, "alert") == 2
    journal.prune(result(20).at)
    known = journal.load({}, START)
    assert [str(owed.alert.kind) for owed in known.owed] == ["down"]
    assert count(database, "alert") == 1
    assert known.accounted == {"acme/one": result(2).slot}
    assert count(database, "gap") == 1
    assert [command.id for command in journal.asked(START)[0]] == [asked]
    assert (count(database, "command"), count(database, "incident_update")) == (1, incidents)
    assert count(database, "transition") == moves


def test_a_stored_probe_takes_at_most_120_bytes_on_sqlite(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'size.db'}")
    migrate.upgrade(database)
    owned = lock.acquire(database)
    assert owned is not None
    journal = Journal(database, owned.epoch)
    names = [f"acme/model-{number}" for number in range(50)]
    journal.register(names, START)
    empty = _pages(tmp_path / "size.db")
    probes = 0
    for minute in range(300):
        journal.write([step(minute, endpoint=name) for name in names])
        probes += len(names)
    grown = _pages(tmp_path / "size.db") - empty
    owned.release()
    database.dispose()
    assert grown / probes <= 120


def _pages(path: Path) -> int:
    with sqlite3.connect(path) as connection:
        pages, size = (
            connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size")
        )
    connection.close()
    return int(pages * size)


def test_known_grows_as_the_database_does(journal: Journal) -> None:
    steps = story("ggbbbgg")
    known = Known(journal.load({}, START))
    journal.write(steps)
    for each in steps:
        known.apply(each)
        known.apply(each)
    assert list(known.beliefs.values()) == [steps[-1].belief]
    assert set(known.owed) == {owed.alert.key for owed in journal.load({}, START).owed}


def test_what_the_day_cost_survives_the_checkpoint() -> None:
    known = Known(Checkpoint(at=START, beliefs={}))
    for number in (0, 1, 1, 2):
        known.apply(step(number))
    known.apply(step(3, cost_usd=None))
    text = b"".join(in_pieces(checkpoint_json(known.checkpoint(START))))
    read = checkpoint_from_json(json.loads(text))
    assert read.spent == {"acme/one": Spent(day_of(START), Decimal("0.0000891"))}


def test_the_last_slot_of_an_endpoint_that_is_no_longer_configured_is_known(journal: Journal) -> None:
    opened = Segment(
        endpoint="acme/one", grid=Grid(MINUTE, Span(0)), timeout=Span(30 * SECOND), starts=result(0).slot
    )
    journal.write([Step(segment=opened), *story("ggg")])
    assert journal.load({}, START).accounted == {"acme/one": result(2).slot}


def test_a_number_from_a_transaction_that_failed_is_used_by_nobody(
    database: Database, journal: Journal
) -> None:
    known = step(1, endpoint="acme/new")
    with pytest.raises(DatabaseRefused):
        journal.write([known, step(2, endpoint="acme/new", request_id="a lone surrogate \ud800")])
    Journal(database, journal._epoch).register(["acme/one", "acme/other"], START)
    journal.write([known])
    query = "SELECT e.name FROM probe p JOIN endpoint e ON e.id = p.endpoint_id"
    found = database.read(lambda connection: connection.exec_driver_sql(query).all())
    assert [tuple(row) for row in found] == [("acme/new",)]


def test_who_is_no_longer_configured_stays_so_though_something_is_written_of_it(
    database: Database, journal: Journal
) -> None:
    journal.write([step(1)])
    journal.register(["acme/other"], Instant(START + 1))
    journal.write([step(2)])
    query = "SELECT name, removed_at FROM endpoint ORDER BY name"
    found = database.read(lambda connection: connection.exec_driver_sql(query).all())
    assert [tuple(row) for row in found] == [("acme/one", START + 1), ("acme/other", None)]


def test_however_many_there_are_those_that_are_gone_are_marked(journal: Journal, database: Database) -> None:
    names = [f"acme/model-{number}" for number in range(1_500)]
    journal.register(names, START)
    journal.register(names[:1_200], Instant(START + 1))
    table = schema.endpoint
    gone = select(table.c.name, table.c.removed_at).where(table.c.removed_at.is_not(None))
    found = {row.name: row.removed_at for row in database.read(lambda c: c.execute(gone).all())}
    assert found == {"acme/one": START} | dict.fromkeys(names[1_200:], START + 1)
    journal.register(names, Instant(START + 2))
    assert [row.name for row in database.read(lambda c: c.execute(gone).all())] == ["acme/one"]


def test_who_lost_the_lock_writes_nothing_even_if_nobody_took_it(database: Database) -> None:
    owned = lock.acquire(database)
    assert owned is not None
    holds = True
    journal = Journal(database, owned.epoch, lambda: holds)
    journal.write([step(1)])
    holds = False
    with pytest.raises(DatabaseAway, match="held the lock"):
        journal.write([step(2)])
    owned.release()


def test_a_spell_that_was_told_is_known_to_the_next_daemon(journal: Journal) -> None:
    assert journal.newest_alerts(INCIDENT) == []
    vigil, busy = Vigil(["ops", "chat"], None), Load(looks=100, set_aside=50)
    vigil.look(busy, busy, None, START, LASTS)
    alerts = vigil.look(busy, busy, None, Instant(START + 5 * MINUTE), LASTS)
    journal.write([Step(alerts=alerts)])
    held = Held.of(journal.newest_alerts(INCIDENT))
    assert held == Held(START, ("chat", "ops"))
    resumed, fine = Vigil([], None, held), Load(looks=100)
    resumed.look(fine, fine, None, Instant(START + 10 * MINUTE), LASTS)
    journal.write([Step(alerts=resumed.look(fine, fine, None, Instant(START + 15 * MINUTE), LASTS))])
    assert Held.of(journal.newest_alerts(INCIDENT)) is None


def test_how_exactly_a_plain_check_was_timed_is_kept(journal: Journal, database: Database) -> None:
    figures = Figures(total_ms=180.0, total_uncertainty_ms=7.25)
    journal.write([Step(result=result(figures=figures))])
    (head,) = database.read(history.heads).values()
    assert head.last is not None
    assert head.last.figures.total_uncertainty_ms == 7.25
    assert head.last.figures.ttft_uncertainty_ms is None


def test_the_newest_report_of_an_endpoint_is_read_back(journal: Journal) -> None:
    first = Report(endpoint="acme/one", at=START)
    newest = Report(
        endpoint="acme/one",
        at=Instant(START + MINUTE),
        said=Word.FAIL,
        message="no space",
        duration_ms=12.345,
    )
    journal.write([Step(report=first)])
    journal.write([Step(report=first), Step(report=newest)])
    journal.write([Step(report=newest)])
    assert journal.load({}, START).reports == {"acme/one": newest}


BLIND = Blind(started=START, ended=None, need=Need.NAMES, reason="The monitor itself cannot resolve any name")


def test_a_record_of_blindness_is_open_until_it_is_closed_and_stays_closed(
    journal: Journal, database: Database
) -> None:
    over = replace(BLIND, ended=Instant(START + MINUTE))

    def listed(since: Instant) -> list[Blind]:
        return database.read(lambda connection: history.blind(connection, since))

    journal.write([Step(blind=BLIND)])
    assert journal.load({}, START).blind == BLIND
    journal.write([Step(blind=over)])
    journal.write([Step(blind=BLIND)])
    assert journal.load({}, START).blind is None
    assert listed(START) == [over]
    assert listed(Instant(START + MINUTE)) == []


def test_an_open_record_of_blindness_survives_the_spool_and_the_checkpoint() -> None:
    opened, closed = Step(blind=BLIND), Step(blind=replace(BLIND, ended=Instant(START + MINUTE)))
    assert [step_from_json(json.loads(json.dumps(to_json(one)))) for one in (opened, closed)] == [
        opened,
        closed,
    ]
    known = Known(Checkpoint(at=START, beliefs={}))
    known.apply(opened)
    kept = checkpoint_json(known.checkpoint(START))
    plain = {**kept, "beliefs": [], "owed": [], "segments": [], "reports": [], "quiet": []}
    assert checkpoint_from_json(json.loads(json.dumps(plain))).blind == BLIND
    known.apply(closed)
    assert known.blind is None


def test_a_pause_that_ended_is_known_until_every_slot_in_it_is_accounted_for(journal: Journal) -> None:
    ended = QuietSpan(
        endpoint="acme/one",
        quiet=Quiet.PAUSED,
        starts=Instant(START + 30 * SECOND),
        ends=Instant(START + 5 * MINUTE + 30 * SECOND),
    )
    lasts = replace(ended, quiet=Quiet.MAINTENANCE, ends=None)
    segment = Segment(endpoint="acme/one", grid=Grid(MINUTE, Span(0)), timeout=Span(SECOND), starts=START)
    steps = [Step(segment=segment), step(0), Step(quiet=(ended, lasts))]
    known = Known(Checkpoint(at=START, beliefs={}))

    def remembered() -> object:
        read = journal.load({}, START).quiet
        assert read == known.checkpoint(START).quiet
        return read

    for one in steps:
        known.apply(one)
    journal.write(steps)
    assert remembered() == {"acme/one": (ended,)}
    later = [step(6), Step(quiet=(replace(lasts, ends=Instant(START + 9 * MINUTE)),))]
    for one in later:
        known.apply(one)
    journal.write(later)
    assert remembered() == {"acme/one": (replace(lasts, ends=Instant(START + 9 * MINUTE)),)}


def test_an_incident_that_was_withdrawn_counts_as_none(journal: Journal, database: Database) -> None:
    journal.write(story("gbbb"))
    numbers = database.read(history.numbers)

    def stretches() -> int:
        number = numbers["acme/one"]
        return len(database.read(lambda moment: history.incident_stretches(moment, number, START)))

    assert stretches() == 1
    stage = Stage().play("gbbb").tell(Withdrawn(since=START, why="no network"))
    journal.write([Step(belief=stage.belief, updates=tuple(stage.updates[-1:]))])
    assert stretches() == 0
