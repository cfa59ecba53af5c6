"""One decider per database."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection

from monitor.store import lock, migrate
from monitor.store.engine import Database, DatabaseAway
from tests.support import child
from tests.support.postgres import Cluster

TOP = Path(__file__).parents[2]
HOLDER = """
import signal, sys
from monitor.store import lock
from monitor.store.engine import Database
owned = lock.acquire(Database(sys.argv[1]))
print(owned and owned.epoch, flush=True)
signal.pause()
"""


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    migrate.upgrade(opened)
    yield opened
    opened.dispose()


@contextmanager
def _another_daemon(url: str) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """A process that tries to own the database: what it got (an epoch or `None`), and itself."""
    process = child.start([sys.executable, "-c", HOLDER, url], cwd=TOP, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().decode().strip(), process
    finally:
        child.end(process, signal.SIGKILL)


def _owned(database: Database) -> lock.Ownership:
    """Once the server has noticed that the last owner is gone."""
    until = time.monotonic() + 20.0
    while (found := lock.acquire(database)) is None:
        assert time.monotonic() < until, "it is still held"
        time.sleep(0.02)
    return found


def _checked(database: Database, epoch: int) -> None:
    database.write(lambda connection: lock.check(connection, epoch))


def test_of_two_processes_one_owns_the_database(database: Database) -> None:
    with _another_daemon(database.url) as (got, _):
        assert got == "1"
        assert lock.acquire(database) is None
    owned = _owned(database)
    with _another_daemon(database.url) as (got, _):
        assert got == "None"
    owned.release()


def test_a_killed_owner_makes_room_and_the_next_one_begins_a_new_epoch(database: Database) -> None:
    with _another_daemon(database.url) as (_, process):
        process.send_signal(signal.SIGKILL)
        process.wait()
        owned = _owned(database)
    assert owned.epoch == 2
    assert owned.alive()
    owned.release()


def test_what_is_released_can_be_had_at_once(database: Database) -> None:
    for epoch in (1, 2, 3):
        owned = lock.acquire(database)
        assert owned is not None
        assert owned.epoch == epoch
        owned.release()


def test_an_owner_whose_epoch_is_over_is_deposed(database: Database) -> None:
    first = _owned(database)
    _checked(database, first.epoch)
    first.release()
    second = _owned(database)
    with pytest.raises(lock.Deposed, match="epoch 2, this one's is 1"):
        _checked(database, first.epoch)
    _checked(database, second.epoch)
    second.release()


def test_an_owner_stays_the_owner_of_a_database_that_came_back_empty(database: Database) -> None:
    owned = _owned(database)
    database.write(lambda c: c.exec_driver_sql("DELETE FROM daemon"))
    with pytest.raises(lock.Deposed):
        _checked(database, owned.epoch)
    lock.renew(database, owned)
    _checked(database, owned.epoch)
    owned.release()


def test_renewing_takes_nothing_from_a_successor(database: Database) -> None:
    first = _owned(database)
    first.release()
    second = _owned(database)
    lock.renew(database, first)
    with pytest.raises(lock.Deposed):
        _checked(database, first.epoch)
    second.release()


def test_taking_over_keeps_what_the_last_owner_said_of_itself(database: Database) -> None:
    first = _owned(database)
    database.write(
        lambda c: c.exec_driver_sql("UPDATE daemon SET beat_at = 7, stopped_at = 8, version = '1'")
    )
    first.release()
    second = _owned(database)
    kept = "SELECT beat_at, stopped_at, version, epoch FROM daemon"
    assert database.read(lambda c: tuple(c.exec_driver_sql(kept).one())) == (7, 8, "1", 2)
    second.release()


def test_a_successor_waits_for_the_transaction_that_the_owner_is_in(database: Database) -> None:
    owned = _owned(database)
    other = Database(database.url)

    def work(connection: Connection) -> None:
        lock.check(connection, owned.epoch)
        with pytest.raises(DatabaseAway):
            other.write(lock._take_over, 0.2)

    database.write(work)
    other.dispose()
    owned.release()


def test_the_lock_of_a_database_that_cannot_be_asked_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DatabaseAway, match="cannot be opened"):
        lock.acquire(Database(f"sqlite:///{tmp_path}/file/uptoken.db"))


def test_a_restart_of_the_server_loses_the_lock_and_that_is_noticed(
    postgres: Cluster, postgres_url: str
) -> None:
    database = Database(postgres_url)
    migrate.upgrade(database)
    owned = _owned(database)
    assert owned.alive()
    postgres.stop()
    postgres.start()
    assert not owned.alive()
    again = _owned(database)
    assert again.epoch == owned.epoch + 1
    again.release()
    database.dispose()


def test_a_frozen_server_does_not_lose_the_lock(postgres: Cluster, postgres_url: str) -> None:
    database = Database(postgres_url)
    migrate.upgrade(database)
    owned = _owned(database)
    with postgres.frozen():
        with pytest.raises(DatabaseAway):
            database.write(lambda c: lock.check(c, owned.epoch), 0.2)
        assert owned.alive()
    assert owned.alive()
    _checked(database, owned.epoch)
    with _another_daemon(database.url) as (got, _):
        assert got == "None"
    owned.release()
    database.dispose()


def test_a_lock_file_that_was_removed_is_a_lost_lock(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/uptoken.db")
    migrate.upgrade(database)
    owned = _owned(database)
    (tmp_path / "uptoken.db.lock").unlink()
    assert not owned.alive()
    assert _owned(database).epoch == 2
    owned.release()
    database.dispose()
