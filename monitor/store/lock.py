"""One decider per database: who holds the lock judges, stores and alerts; others stand by.

The lock ends with its holder's process. It could also be lost unnoticed, with a broken
connection, so each owner has a number, its epoch, and every transaction checks that it is
still the newest one.
"""

import fcntl
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection, text

from monitor.store.engine import READ_S, Database, DatabaseAway, Session
from monitor.store.fault import unopened

# Any number that no other program takes: "uptoken" and one more byte.
_OWNER_KEY = int.from_bytes(b"uptoken\x01")


class Deposed(Exception):
    """Another daemon owns the database now, so this one must not decide any more."""


class _Lock(Protocol):
    def held(self) -> bool: ...

    def release(self) -> None: ...


class Ownership:
    """The right to decide, for as long as it is `alive`."""

    def __init__(self, epoch: int, lock: _Lock) -> None:
        self.epoch = epoch
        self._lock = lock

    def alive(self) -> bool:
        """False once the lock is known to be lost. Asks the database nothing."""
        return self._lock.held()

    def release(self) -> None:
        """Let another one have it. The end of the process does the same."""
        self._lock.release()


def acquire(database: Database, prepare: Callable[[], object] = lambda: None) -> Ownership | None:
    """Own `database`, in a new epoch; None while another process does.

    `prepare` runs under the lock and leaves the schema up to date: nobody changes it under a
    daemon that still decides. What the last owner left of itself (its last heartbeat, how
    it stopped) stays as it is; a first owner leaves `beat_at` 0. Raises DatabaseAway.
    """
    lock = _lock(database)
    if lock is None:
        return None
    try:
        prepare()
        return Ownership(database.write(_take_over), lock)
    except BaseException:
        lock.release()
        raise


def is_free(database: Database) -> bool:
    """Whether nobody owns `database` at this moment. Raises DatabaseAway."""
    lock = _lock(database)
    if lock is None:
        return False
    lock.release()
    return True


def _take_over(connection: Connection) -> int:
    row = connection.exec_driver_sql(
        "INSERT INTO daemon (id, epoch, started_at, beat_at, version, status)"
        " VALUES (1, 1, 0, 0, '', '{}')"
        " ON CONFLICT (id) DO UPDATE SET epoch = daemon.epoch + 1 RETURNING epoch"
    ).one()
    return int(row[0])


def renew(database: Database, owned: Ownership) -> None:
    """Stay the owner where the database came back empty, say because somebody deleted its file.

    The schema must be up to date. Changes nothing where an owner is on record. Raises DatabaseAway.
    """

    def note(connection: Connection) -> None:
        connection.execute(
            text(
                "INSERT INTO daemon (id, epoch, started_at, beat_at, version, status)"
                " VALUES (1, :epoch, 0, 0, '', '{}') ON CONFLICT (id) DO NOTHING"
            ),
            {"epoch": owned.epoch},
        )

    database.write(note)


def check(connection: Connection, epoch: int) -> None:
    """Make sure, inside a transaction of the owner of `epoch`, that nobody took over.

    Holds a successor off until the transaction ends, so that it finds all of it. Raises Deposed.
    """
    cursor = connection.connection.cursor()
    cursor.execute(_EPOCH[connection.dialect.name])
    (stored,) = cursor.fetchone() or (None,)
    cursor.close()
    if stored != epoch:
        raise Deposed(f"another daemon has taken over (epoch {stored}, this one's is {epoch})")


# A writer of SQLite is alone from its BEGIN IMMEDIATE on.
_EPOCH = {
    "sqlite": "SELECT epoch FROM daemon WHERE id = 1",
    "postgresql": "SELECT epoch FROM daemon WHERE id = 1 FOR SHARE",
}


def _lock(database: Database) -> _Lock | None:
    return _acquire_session(database) if database.path is None else _acquire_file(database, database.path)


class _SessionLock:
    """An advisory lock of a PostgreSQL session of its own."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def held(self) -> bool:
        return self._session.unbroken()

    def release(self) -> None:
        # Said aloud, because the server notices a closed connection only a moment later.
        if self._session.unbroken():
            with suppress(DatabaseAway):
                self._session.run(_unlock, READ_S)
        self._session.close()


def _acquire_session(database: Database) -> _SessionLock | None:
    session = database.session()
    if session.run(_try_lock, READ_S):
        return _SessionLock(session)
    session.close()
    return None


def _try_lock(connection: Connection) -> bool:
    return bool(connection.exec_driver_sql(f"SELECT pg_try_advisory_lock({_OWNER_KEY})").scalar())


def _unlock(connection: Connection) -> None:
    connection.exec_driver_sql(f"SELECT pg_advisory_unlock({_OWNER_KEY})")


class _FileLock:
    """A lock on a file beside a SQLite database."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    def held(self) -> bool:
        """Somebody may have removed the file, and others may have locked a new one."""
        return _is_at(self._descriptor, self._path)

    def release(self) -> None:
        os.close(self._descriptor)


def _acquire_file(database: Database, path: Path) -> _FileLock | None:
    place = path.with_name(path.name + ".lock")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        descriptor = lock_file(place)
    except OSError as error:
        raise unopened(error, database.label) from None
    return None if descriptor is None else _FileLock(place, descriptor)


def lock_file(path: Path) -> int | None:
    """A descriptor that holds the lock on `path`, which is created; None while another has it.

    Raises OSError.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    if not _is_at(descriptor, path):
        os.close(descriptor)
        return None
    return descriptor


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
