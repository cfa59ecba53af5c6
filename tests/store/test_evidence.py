"""Evidence lies beside its probe on both databases, comes and goes with it, and survives the spool."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import func, select

from monitor.core import evidence
from monitor.core.evidence import Evidence
from monitor.core.figures import Figures
from monitor.core.instant import Instant
from monitor.core.outcome import Outcome
from monitor.core.step import Checkpoint, Result, Step, step_from_json, to_json
from monitor.store import history, lock, migrate, schema
from monitor.store.engine import Database
from monitor.store.journal import Journal
from monitor.store.spool import Spool
from tests.support.truth import PHASES, START, result

ENDPOINT = "acme/one"


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
    journal.register([ENDPOINT, "acme/two"], START)
    yield journal
    owned.release()


def of(probe: Result) -> Evidence:
    return Evidence(
        probe_id=probe.probe_id,
        endpoint=probe.endpoint,
        at=probe.at,
        monitor="0.1.0",
        location="default",
        protocol="http",
        outcome=probe.outcome,
        detail="why",
        figures=Figures(total_ms=12.5),
        phases=PHASES,
        body="é" * 2048,
    )


def failed(number: int, endpoint: str = ENDPOINT) -> Result:
    probe = result(number, endpoint=endpoint, outcome=Outcome.HTTP_5XX)
    return replace(probe, evidence=evidence.store(of(probe)))


def rows(database: Database) -> int:
    return database.read(
        lambda c: int(c.execute(select(func.count()).select_from(schema.evidence)).scalar_one())
    )


def read(database: Database, limit: int = 10, probe: str | None = None) -> list[Evidence]:
    def work(moment: history.Moment) -> list[Evidence]:
        number = history.number(moment, ENDPOINT)
        assert number is not None
        return history.evidence(moment, number, limit, probe=probe)

    return database.read(work)


def test_it_is_read_back_newest_first_or_by_its_probe(journal: Journal, database: Database) -> None:
    failures = [failed(number) for number in (1, 3, 5)]
    journal.write([Step(result=one) for one in (result(0), *failures, failed(3, "acme/two"))])
    found = read(database)
    assert [one.probe_id for one in found] == [one.probe_id for one in failures[::-1]]
    assert found[0] == of(failures[-1])
    assert read(database, limit=1) == found[:1]
    assert read(database, probe=failures[0].probe_id) == found[-1:]
    assert read(database, probe=result(0).probe_id) == []
    assert read(database, probe="f" * 32) == []
    with pytest.raises(ValueError, match="32 hexadecimal digits"):
        read(database, probe="nonsense")


def test_a_list_of_probes_tells_of_which_there_is_some(journal: Journal, database: Database) -> None:
    probes = [result(0), failed(1), result(2), failed(3)]
    journal.write([Step(result=one) for one in (*probes, failed(2, "acme/two"))])

    def work(moment: history.Moment) -> frozenset[str]:
        number = history.number(moment, ENDPOINT)
        assert number is not None
        assert history.with_evidence(moment, number, []) == frozenset()
        return history.with_evidence(moment, number, history.probes(moment, number, ENDPOINT, 10))

    assert database.read(work) == {probes[1].probe_id, probes[3].probe_id}


def test_a_probe_is_found_by_its_id_alone(journal: Journal, database: Database) -> None:
    probe = failed(1, "acme/two")
    journal.write([Step(result=result(2)), Step(result=probe)])
    found = database.read(lambda moment: history.probe(moment, probe.probe_id))
    assert found is not None
    assert (found.endpoint, found.probe_id, found.outcome) == ("acme/two", probe.probe_id, probe.outcome)
    assert database.read(lambda moment: history.probe(moment, "f" * 32)) is None


def test_what_is_written_twice_is_there_once(journal: Journal, database: Database) -> None:
    steps = [Step(result=failed(1))]
    journal.write(steps)
    journal.write(steps)
    assert rows(database) == 1


def test_it_goes_with_its_probe(journal: Journal, database: Database) -> None:
    journal.write([Step(result=failed(number)) for number in range(10)])
    assert journal.prune(result(4).at) == 4
    assert [one.at for one in read(database)] == [result(number).at for number in range(9, 3, -1)]
    assert journal.prune(Instant(result(9).at + 1)) == 6
    assert rows(database) == 0


def test_what_a_later_version_wrote_is_passed_over(journal: Journal, database: Database) -> None:
    journal.write([Step(result=replace(failed(1), evidence=b"\x7fsomething else"))])
    assert read(database) == []


def test_a_step_carries_it_through_json() -> None:
    step = Step(result=failed(1))
    assert step_from_json(to_json(step)) == step


def test_it_survives_the_spool(journal: Journal, database: Database, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    spool.start(Checkpoint(at=START, beliefs={}))
    spool.append([Step(result=failed(1))])
    spool.close()
    again = Spool(tmp_path / "spool")
    again.resume()
    steps, _ = again.take(10)
    journal.write(steps)
    again.close()
    assert read(database) == [of(failed(1))]
