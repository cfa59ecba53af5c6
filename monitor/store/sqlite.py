"""A SQLite file: how it is opened for whom."""

import sqlite3
import threading
from pathlib import Path

from sqlalchemy import Connection, NullPool, create_engine

from monitor.store.fault import NoDatabase, unopened
from monitor.store.link import Link, Role

BUSY_MS = 1_500
"""Patience with other processes; shorter than any limit of the engine, since waiting for a
lock is what an interrupt does not end."""


class Sqlite:
    """A file, which must exist; `monitor.store.migrate` is what creates it.

    A `readonly` one is opened without leaving a trace: no file beside it is created.
    """

    def __init__(self, path: Path, *, readonly: bool) -> None:
        self.path = path
        self.label = f"SQLite at {path}"
        self.name = f"sqlite:///{path.absolute()}"
        self._readonly = readonly
        self._opening = threading.local()
        self._engine = create_engine(
            "sqlite://",
            creator=self._connect,
            poolclass=NullPool,
            hide_parameters=True,
            pool_reset_on_return=None,
        )

    def open(self, role: Role, deadline: float) -> Link:  # noqa: ARG002 - a file opens at once
        try:
            there = self.path.exists()
        except OSError as refused:
            raise unopened(refused, self.label) from None
        if not there:
            raise NoDatabase(f"no database at {self.path}")
        snapshot = Snapshot(self.path) if self._readonly and not _has_log(self.path) else None
        self._opening.mode = _mode(readonly=self._readonly, frozen=snapshot is not None)
        link = SqliteLink(self._engine.connect(), self.path, snapshot)
        try:
            link.settle(role)
        except sqlite3.Error:
            link.close()
            raise
        return link

    def dispose(self) -> None:
        self._engine.dispose()

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(
            f"{self.path.absolute().as_uri()}?{self._opening.mode}",
            uri=True,
            timeout=BUSY_MS / 1000,
            isolation_level=None,
            check_same_thread=False,
        )


class Snapshot:
    """A file that nobody is writing: its looks, to tell afterwards whether that stayed true."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._looks = self._look()

    def holds(self) -> bool:
        return self._looks == self._look() and not _has_log(self._path)

    def _look(self) -> tuple[int, int, int] | None:
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            return None
        return stat.st_ino, stat.st_size, stat.st_mtime_ns


# In WAL mode a transaction that begins as a reader and then writes fails at once if another
# wrote meanwhile; so a writer says from the start what it is.
_FIRST = {Role.WRITER: "BEGIN IMMEDIATE", Role.READER: "BEGIN"}


class SqliteLink(Link):
    """A connection to a file."""

    def __init__(self, connection: Connection, path: Path, snapshot: Snapshot | None) -> None:
        super().__init__(connection)
        raw = connection.connection.driver_connection
        assert isinstance(raw, sqlite3.Connection)
        self._raw = raw
        self._path = path
        self._snapshot = snapshot
        # SQLite trusts an immutable file blindly and would never see what is written later.
        self.kept = snapshot is None
        self._inode = path.stat().st_ino
        self._first = _FIRST[Role.READER]

    def settle(self, role: Role) -> None:
        """Settings that last as long as the connection."""
        self._first = _FIRST[role]
        if role is Role.WRITER:
            self._raw.execute("PRAGMA journal_mode = WAL")
            self._raw.execute("PRAGMA synchronous = FULL")
            self._raw.execute("PRAGMA foreign_keys = ON")
        else:
            self._raw.execute("PRAGMA query_only = ON")

    def greet(self, left_s: float) -> None:  # noqa: ARG002 - BUSY_MS is all its patience
        self._raw.execute(self._first)

    def cut(self) -> None:
        self._raw.interrupt()

    def lost(self) -> bool:
        """The file was removed or replaced under us."""
        try:
            return self._path.stat().st_ino != self._inode
        except FileNotFoundError:
            return True

    def whole(self) -> bool:
        return self._snapshot is None or self._snapshot.holds()


def _has_log(path: Path) -> bool:
    """Somebody writes, or broke off writing: the file alone is not the whole truth."""
    return any(path.with_name(path.name + suffix).exists() for suffix in ("-wal", "-journal"))


def _mode(*, readonly: bool, frozen: bool) -> str:
    if not readonly:
        return "mode=rw"
    # A database in WAL mode cannot be opened by a user who may not create the files
    # beside it, unless nobody is writing and SQLite is told so.
    return "mode=ro&immutable=1" if frozen else "mode=ro"
