"""What is read back is what was written, on both databases."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest
from sqlalchemy import event

from monitor.core.belief import Quiet, State
from monitor.core.instant import DAY, HOUR, MINUTE, SECOND, Instant, Span
from monitor.core.outcome import Outcome
from monitor.core.snapshot import Heartbeat
from monitor.core.timeline import Clock
from monitor.core.uptime import PUBLISHED, Counts, Stretch, Turn, Window, window
from monitor.store import history, migrate
from monitor.store.engine import Database
from monitor.store.prune import RAW_KEPT
from tests.store.believable import Life, Trouble, lived, write
from tests.support.postgres import Cluster

NOW = Instant(1_795_000_000_000_000)
START = Instant(NOW - 6 * HOUR)
DEAD = (Instant(NOW - 3 * HOUR), Instant(NOW - 2 * HOUR))
OUTAGE = Trouble(
    start=Instant(NOW - HOUR),
    length=Span(10 * MINUTE),
    outcome=Outcome.HTTP_5XX,
    detail="status is 503",
)
MODEL = Life(id="acme/model", troubles=(OUTAGE,))
CHECK = Life(
    id="acme/site",
    ttft_ms=None,
    price=None,
    hushes=(
        (Instant(NOW - 90 * MINUTE), Instant(NOW - 60 * MINUTE), Quiet.MAINTENANCE),
        (Instant(NOW - 10 * MINUTE), None, Quiet.PAUSED),
    ),
)
PASTS = {life.id: lived(life, START, NOW, DEAD) for life in (MODEL, CHECK)}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """Two endpoints with six hours behind them, seen by a reader; one for all tests, which only read."""
    with ExitStack() as ending:
        if request.param == "sqlite":
            url = f"sqlite:///{tmp_path_factory.mktemp('history') / 'uptoken.db'}"
        else:
            cluster: Cluster = request.getfixturevalue("_cluster")
            name = cluster.create_database()
            ending.callback(cluster.drop_database, name)
            url = cluster.url(name)
        write(url, list(PASTS.values()), NOW)
        reader = Database(url, readonly=True)
        ending.callback(reader.dispose)
        yield reader


@pytest.fixture
def empty(database_url: str) -> Iterator[Database]:
    found = Database(database_url)
    migrate.upgrade(found)
    yield found
    found.dispose()


def _number(database: Database, endpoint: str) -> int:
    number = database.read(lambda moment: history.number(moment, endpoint))
    assert number is not None
    return number


def test_a_probe_is_read_as_it_was_written(database):
    for past in PASTS.values():
        written = past.results[-1]
        number = _number(database, written.endpoint)
        (read,) = database.read(lambda m: history.probes(m, number, written.endpoint, 1))  # noqa: B023
        assert _without_floats(read) == _without_floats(written)
        for name in ("ttft_ms", "ttft_net_ms", "ttfat_ms", "output_speed", "e2e_500_ms", "total_ms"):
            expected = getattr(written.figures, name)
            found = getattr(read.figures, name)
            assert found == (None if expected is None else pytest.approx(expected, rel=1e-4, abs=0.002))
        assert read.cost_usd == written.cost_usd
        phases = history.phases(read)
        assert phases is not None
        assert phases.clock is Clock.KERNEL


def _without_floats(result):
    return replace(result, figures=result.figures.token_source)


def test_pages_of_probes_hold_every_probe_once_newest_first(database):
    written = [result.probe_id for result in PASTS["acme/model"].results][::-1]
    number, read, before = _number(database, "acme/model"), [], None
    while page := database.read(
        lambda m, before=before: history.probes(m, number, "acme/model", 37, before=before)
    ):
        read += [probe.probe_id for probe in page]
        before = page[-1].probe_id
    assert read == written


def test_probes_up_to_one_begin_with_it(database):
    written = PASTS["acme/model"].results
    number = _number(database, "acme/model")
    page = database.read(lambda m: history.probes(m, number, "acme/model", 2, upto=written[-5].probe_id))
    assert [probe.probe_id for probe in page] == [written[-5].probe_id, written[-6].probe_id]


@pytest.mark.parametrize("before", ["", "1", "x" * 32, "0" * 31, "0" * 33, "A" * 32, "-" + "0" * 31])
def test_what_is_no_probe_id_is_refused(database, before):
    number = _number(database, "acme/model")
    with pytest.raises(ValueError, match="probe id"):
        database.read(lambda m: history.probes(m, number, "acme/model", 1, before=before))


def test_a_probe_id_beyond_all_time_is_after_every_probe(database):
    number = _number(database, "acme/model")
    page = database.read(lambda m: history.probes(m, number, "acme/model", 3, before="f" * 32))
    assert page[0].probe_id == PASTS["acme/model"].results[-1].probe_id


def test_heads_hold_the_newest_of_every_endpoint(database):
    heads = database.read(history.heads)
    assert heads.keys() == PASTS.keys()
    for endpoint, past in PASTS.items():
        head = heads[endpoint]
        assert head.last is not None
        assert head.last.probe_id == past.results[-1].probe_id
        assert head.belief == past.steps[-1].belief
        assert head.number == _number(database, endpoint)
    assert heads["acme/site"].belief is not None
    assert heads["acme/site"].belief.shown == "paused"


def test_windows_count_what_was_written(database):
    number = _number(database, "acme/model")
    record = database.read(lambda m: history.record(m, number, "acme/model", Instant(NOW - 90 * DAY)))
    written = PASTS["acme/model"].results
    assert len(record.results) == len(written)
    for which in PUBLISHED:
        start = NOW - which.span
        inside = [one for one in written if start <= one.slot < NOW]
        figures = window(which, record, NOW, RAW_KEPT)
        assert figures.counts == Counts.of(one.outcome.blame for one in inside)
        fast = sorted(one.figures.ttft_ms for one in inside if one.figures.ttft_ms is not None)
        assert figures.ttft_ms.n == len(fast)
        assert figures.ttft_ms.min == pytest.approx(fast[0], abs=0.001)
        assert figures.ttft_ms.max == pytest.approx(fast[-1], abs=0.001)


def test_due_is_results_and_gap_slots_together(database):
    number = _number(database, "acme/model")
    since = Instant(NOW - DAY)
    record = database.read(lambda m: history.record(m, number, "acme/model", since))
    (gap,) = database.read(lambda m: history.gaps(m, number, "acme/model", since))
    figures = window(Window.H24, record, NOW, RAW_KEPT)
    assert figures.due == figures.counts.total + gap.slots
    assert gap.slots == 60
    assert figures.coverage is not None
    assert figures.coverage < 100


def test_a_record_reaches_back_no_further_than_asked(database):
    number = _number(database, "acme/model")
    since = Instant(NOW - 30 * MINUTE)
    record = database.read(lambda m: history.record(m, number, "acme/model", since))
    assert min(one.slot for one in record.results) >= since - 2 * MINUTE
    assert len([one for one in record.results if one.slot >= since]) == 30


def test_turns_begin_with_the_one_that_held(database):
    number = _number(database, "acme/model")
    turns = [
        Turn(moved.effective_at, moved.after)
        for step in PASTS["acme/model"].steps
        for moved in step.transitions
    ]
    assert [turn.state for turn in turns] == [
        State.UP,
        State.UNKNOWN,
        State.UP,
        State.DOWN,
        State.UP,
    ]
    assert database.read(lambda m: history.turns(m, number, Instant(0))) == turns
    during = Instant(turns[3].effective_at + MINUTE)
    assert database.read(lambda m: history.turns(m, number, during)) == turns[3:]
    assert database.read(lambda m: history.turns(m, number, NOW)) == turns[4:]


def test_pauses_that_ended_before_a_window_are_left_out(database):
    number = _number(database, "acme/site")
    pause = Stretch(Instant(NOW - 10 * MINUTE), None)
    maintenance = Stretch(Instant(NOW - 90 * MINUTE), Instant(NOW - HOUR))
    read = database.read(lambda m: history.quiet(m, number, Instant(NOW - 70 * MINUTE)))
    assert sorted(read, key=lambda one: one.start) == [maintenance, pause]
    assert database.read(lambda m: history.quiet(m, number, Instant(NOW - HOUR))) == [pause]


def test_an_incident_is_told_with_its_endpoints_and_updates(database):
    stories = database.read(lambda m: history.incidents(m, 10))
    updates = [update for step in PASTS["acme/model"].steps for update in step.updates]
    (story,) = stories
    assert (story.id, story.title, story.impact) == (updates[0].incident, updates[-1].title, "down")
    assert story.endpoints == ("acme/model",)
    assert [(told.at, told.status, told.text) for told in story.updates] == [
        (update.at, update.status, update.text) for update in updates
    ]
    assert (story.started_at, story.ended_at) == (updates[0].started, updates[-1].ended)
    assert database.read(lambda m: history.incident(m, story.id)) == story
    assert database.read(lambda m: history.incidents_of(m, _number(database, "acme/model"), 5)) == [story]
    assert database.read(lambda m: history.incidents_of(m, _number(database, "acme/site"), 5)) == []
    assert database.read(lambda m: history.incident(m, "nothing")) is None


def test_open_incidents_are_told_first_and_beyond_any_limit(database_url):
    start, lives = Instant(NOW - 2 * HOUR), []
    for place in range(3):
        again = Trouble(
            start=Instant(NOW - (30 + 10 * place) * MINUTE),
            length=Span(5 * MINUTE),
            outcome=Outcome.OVERLOADED,
            detail="status is 529",
        )
        lasting = replace(again, start=Instant(NOW - 5 * MINUTE), length=HOUR)
        lives.append(Life(id=f"many/m{place}", troubles=(again, lasting)))
    write(database_url, [lived(life, start, NOW) for life in lives], NOW)
    reader = Database(database_url, readonly=True)
    stories = reader.read(lambda m: history.incidents(m, 1))
    assert [story.ended_at is None for story in stories] == [True, True, True, False]
    starts = [story.started_at for story in stories]
    assert starts == sorted(starts, reverse=True)
    reader.dispose()


def test_the_heartbeat_and_the_newest_fact(database):
    heartbeat = database.read(history.heartbeat)
    assert heartbeat is not None
    assert heartbeat.beat_at == NOW
    assert heartbeat.status["version"] == "0.1.0"
    assert not heartbeat.stale(Instant(NOW + 30 * SECOND))
    assert heartbeat.stale(Instant(NOW + 30 * SECOND + 1))
    newest = database.read(lambda m: history.newest_fact(m, history.heads(m).values()))
    assert newest == max(result.at for past in PASTS.values() for result in past.results)


def test_an_empty_database_has_nothing_to_tell(empty):
    assert empty.read(history.heads) == {}
    assert empty.read(lambda m: history.incidents(m, 10)) == []
    assert empty.read(history.heartbeat) is None
    assert empty.read(lambda m: history.newest_fact(m, [])) is None
    assert empty.read(lambda m: history.number(m, "acme/model")) is None
    assert not empty.read(lambda m: history.more_probes_than(m, 0))


def test_probes_are_counted_no_further_than_needed(database):
    total = sum(len(past.results) for past in PASTS.values())
    assert database.read(lambda m: history.more_probes_than(m, total - 1))
    assert not database.read(lambda m: history.more_probes_than(m, total))


def test_a_stopped_daemon_says_when_it_stopped():
    beat = Heartbeat(beat_at=NOW, stopped_at=NOW)
    assert not beat.stale(NOW)


def test_no_reading_scans_the_table_of_probes(database):
    """A scan would take minutes after a year; so each statement is explained by its database."""
    asked: list[tuple[str, object]] = []

    def note(_connection, _cursor, statement, parameters, _context, _many):
        asked.append((statement, parameters))

    def read_all(moment):
        event.listen(moment.engine, "before_cursor_execute", note)
        heads = history.heads(moment)
        history.record(moment, 1, "acme/model", Instant(NOW - HOUR))
        history.probes(moment, 1, "acme/model", 10, before="f" * 32, upto="f" * 32)
        history.gaps(moment, 1, "acme/model", START)
        history.newest_fact(moment, heads.values())
        event.remove(moment.engine, "before_cursor_execute", note)
        return [line for statement, given in asked for line in explained(moment, statement, given)]

    def explained(moment, statement, given):
        if moment.dialect.name == "sqlite":
            return [row[3] for row in moment.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", given)]
        moment.exec_driver_sql("SET LOCAL enable_seqscan = off")  # so few rows are not worth a search
        return [row[0] for row in moment.exec_driver_sql(f"EXPLAIN {statement}", given)]

    plan = database.read(read_all)
    about_probes = [line for line in plan if "probe" in line]
    assert any("SEARCH probe USING" in line or "Index Scan" in line for line in about_probes)
    assert [line for line in about_probes if "SCAN probe" in line or "Seq Scan" in line] == []


def test_the_newest_fact_is_found_without_a_scan_of_what_is_kept_for_good(database):
    asked: list[str] = []

    def note(_connection, _cursor, statement, _parameters, _context, _many):
        asked.append(statement)

    def plan(moment):
        event.listen(moment.engine, "before_cursor_execute", note)
        history.newest_fact(moment, [])
        event.remove(moment.engine, "before_cursor_execute", note)
        if moment.dialect.name == "sqlite":
            return [str(moment.exec_driver_sql(f"EXPLAIN QUERY PLAN {one}").all()) for one in asked]
        moment.exec_driver_sql("SET LOCAL enable_seqscan = off")
        return [str(moment.exec_driver_sql(f"EXPLAIN {one}").all()) for one in asked]

    plans = database.read(plan)
    assert len(plans) == 3
    for told in plans:
        assert re.search(r"SEARCH \w+ USING COVERING INDEX|Index Only Scan Backward", told), told
