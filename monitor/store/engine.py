"""One way to talk to the database, whichever it is: a piece of work in one transaction.

Every call is bounded by a watchdog of ours. A frozen PostgreSQL accepts connections and
answers nothing, neither a statement nor its cancellation, so at the limit the connection's
own socket is shut down; SQLite is interrupted.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection, make_url

from monitor.store.fault import DatabaseAway, DatabaseRefused, NoDatabase, explain, unopened
from monitor.store.link import Backend, Link, Role
from monitor.store.sqlite import Sqlite
from monitor.store.watchdog import Watchdog

__all__ = ["Database", "DatabaseAway", "DatabaseRefused", "NoDatabase", "Session"]

T = TypeVar("T")
Work = Callable[[Connection], T]

WRITE_S = 2.0
READ_S = 5.0
READERS = 8
"""Connections for reading at most; whoever comes beyond that waits."""


class _Torn(Exception):
    """The file changed beneath a reader that had believed nobody was writing."""


class Session:
    """One connection, kept between transactions and given up after any error.

    One thread at a time uses it; others wait, within their own limit.
    """

    def __init__(self, backend: Backend, role: Role, watchdog: Watchdog) -> None:
        self._backend = backend
        self._role = role
        self._watchdog = watchdog
        self._turn = threading.Lock()
        self._link: Link | None = None

    def unbroken(self) -> bool:
        """It still has the connection of its last transaction, as far as this host knows.

        Asks the database nothing, so it does not wait for a frozen one.
        """
        with self._turn:
            self._drop_lost()
            return self._link is not None

    def run(self, work: Work[T], limit_s: float) -> T:
        """Run `work` in one transaction and commit it; raises as `Database.write` does."""
        deadline = time.monotonic() + limit_s
        if not self._turn.acquire(timeout=limit_s):
            raise self._silence(limit_s)
        try:
            while True:
                try:
                    return self._attempt(work, deadline, limit_s)
                except _Torn:
                    if time.monotonic() >= deadline:
                        raise self._silence(limit_s) from None
        finally:
            self._turn.release()

    def close(self) -> None:
        """Give the connection up; the next `run` opens another."""
        with self._turn:
            self._drop()

    def _attempt(self, work: Work[T], deadline: float, limit_s: float) -> T:
        link = self._linked(deadline, limit_s)
        try:
            result = self._transact(link, work, deadline, limit_s)
        except BaseException:
            whole = link.whole()
            self._drop()
            if not whole:
                raise _Torn from None
            raise
        whole = link.whole()
        if not link.kept:
            self._drop()
        if not whole:
            raise _Torn
        return result

    def _transact(self, link: Link, work: Work[T], deadline: float, limit_s: float) -> T:
        with self._watchdog.over(link.cut, deadline) as guard:
            try:
                with link.connection.begin():
                    link.greet(deadline - time.monotonic())
                    result = work(link.connection)
                    guard.insist()
            except Exception as error:
                if guard.fired:
                    raise self._silence(limit_s) from None
                told = explain(error, self._backend.label)
                if told is None:
                    raise
                raise told from None
        if guard.fired:  # too late: the commit was confirmed
            self._drop()
        return result

    def _linked(self, deadline: float, limit_s: float) -> Link:
        """The kept connection, or a new one."""
        self._drop_lost()
        if self._link is None:
            try:
                self._link = self._backend.open(self._role, deadline)
            except TimeoutError:
                raise self._silence(limit_s) from None
            except OSError as error:
                raise unopened(error, self._backend.label) from None
            except Exception as error:
                told = explain(error, self._backend.label)
                if told is None:
                    raise
                raise told from None
        return self._link

    def _silence(self, limit_s: float) -> DatabaseAway:
        return DatabaseAway(f"{self._backend.label} does not answer ({round(limit_s, 1):g} s)")

    def _drop_lost(self) -> None:
        if self._link is not None and self._link.lost():
            self._drop()

    def _drop(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None


class Database:
    """A database by its URL. Opening it connects to nothing yet.

    `sqlite:///name.db` lies in `state_dir` (else in the current folder); `postgresql://` is
    spoken by psycopg 3. A `readonly` one creates nothing, not even a file beside a SQLite
    database. Safe to use from several threads.
    """

    def __init__(self, url: str, *, state_dir: Path | None = None, readonly: bool = False) -> None:
        parsed = make_url(url)
        self.url = url
        """With its password, for another process that opens the same; never to be shown."""
        self.path: Path | None = None
        """The SQLite file; None for a server."""
        self._backend: Backend
        if parsed.get_backend_name() == "sqlite":
            self.path = (state_dir or Path()) / (parsed.database or "")
            self.url = f"sqlite:///{self.path.absolute()}"
            self._backend = Sqlite(self.path, readonly=readonly)
        else:
            from monitor.store.postgres import Postgres  # a fiftieth of a second, for its users only

            self._backend = Postgres(parsed)
        self.readonly = readonly
        self._watchdog = Watchdog()
        self._writer = Session(self._backend, Role.WRITER, self._watchdog)
        self._room = threading.Semaphore(READERS)
        self._idle: list[Session] = []

    @property
    def is_sqlite(self) -> bool:
        return self.path is not None

    @property
    def name(self) -> str:
        """Its URL without a password."""
        return self._backend.name

    @property
    def label(self) -> str:
        """As a message calls it: `PostgreSQL at db.example/uptoken`."""
        return self._backend.label

    def write(self, work: Work[T], limit_s: float = WRITE_S) -> T:
        """Run `work` in one transaction on the only connection for writing, and commit it.

        Raises DatabaseAway if that is not confirmed within `limit_s` (it may have happened
        all the same, so `work` must bear to be repeated), DatabaseRefused if the rows are at
        fault. What `work` raises of its own travels, and nothing is written.
        """
        if self.readonly:
            raise RuntimeError("this database was opened for reading only")
        return self._writer.run(work, limit_s)

    def read(self, work: Work[T], limit_s: float = READ_S) -> T:
        """Run `work` in a transaction in which all statements see the same moment.

        `work` may be run twice and must only read. Raises DatabaseAway after `limit_s`.
        """
        started = time.monotonic()
        with self._reader(limit_s) as session:
            return session.run(work, max(0.001, limit_s - (time.monotonic() - started)))

    def session(self) -> Session:
        """A connection for writing of its own, e.g. for a lock that lives as long as it.

        The caller closes it.
        """
        return Session(self._backend, Role.WRITER, self._watchdog)

    def dispose(self) -> None:
        """Close every connection. Nobody may be using one, nor come later."""
        self._writer.close()
        for session in self._idle:
            session.close()
        self._idle.clear()
        self._backend.dispose()
        self._watchdog.end()

    @contextmanager
    def _reader(self, limit_s: float) -> Iterator[Session]:
        if not self._room.acquire(timeout=limit_s):
            raise DatabaseAway(f"{self.label} is busy: {READERS} others are reading ({limit_s:g} s)")
        try:
            session = self._idle.pop() if self._idle else self._new_reader()
            try:
                yield session
            finally:
                self._idle.append(session)
        finally:
            self._room.release()

    def _new_reader(self) -> Session:
        return Session(self._backend, Role.READER, self._watchdog)
