"""What a database's complaint means to us, in our own words.

A driver's text may quote stored values, a password or a statement, so none of it leaves
this file: a message is made of the database's name, a code and words of ours.
"""

import sqlite3
import sys
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError

if TYPE_CHECKING:
    import psycopg


class DatabaseAway(Exception):
    """The database cannot be used now. Trying again later may help."""


class NoDatabase(DatabaseAway):
    """There is none at this address, and the caller does not create one."""


class DatabaseRefused(Exception):
    """The database refused these very rows. Trying again will not help."""


def explain(error: Exception, label: str) -> Exception | None:
    """What to raise instead of `error`; None if it is a bug, which travels as it is.

    `label` names the database: `PostgreSQL at db.example/uptoken`.
    """
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, sqlite3.Error):
        return _sqlite(cause, label)
    if "psycopg" in sys.modules:  # where there is SQLite only, nobody pays for loading it
        import psycopg

        if isinstance(cause, psycopg.Error):
            return _postgres(cause, label)
    if isinstance(cause, UnicodeEncodeError):
        return DatabaseRefused(f"{label} refuses these rows: a lone surrogate is no text")
    if isinstance(cause, OverflowError):
        return DatabaseRefused(f"{label} refuses these rows: a number is too large")
    return None


def unopened(error: OSError, label: str) -> DatabaseAway:
    """What to raise when the system refuses a file of the database, or beside it."""
    return DatabaseAway(f"{label} cannot be opened: {error.strerror or 'the system refuses'}")


def _address(label: str) -> str:
    return label.partition(" at ")[2]


# SQLite

_SQLITE: dict[int, str] = {
    sqlite3.SQLITE_PERM: "may not be opened by this user",
    sqlite3.SQLITE_BUSY: "is locked by another process",
    sqlite3.SQLITE_LOCKED: "is locked by another process",
    sqlite3.SQLITE_NOMEM: "lacks memory",
    sqlite3.SQLITE_READONLY: "may not be written by this user",
    sqlite3.SQLITE_INTERRUPT: "does not answer",
    sqlite3.SQLITE_IOERR: "cannot be used: the disk reports an error",
    sqlite3.SQLITE_CORRUPT: "is damaged: restore a backup",
    sqlite3.SQLITE_FULL: "cannot grow: the disk is full",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened",
    sqlite3.SQLITE_PROTOCOL: "is locked by another process",
    sqlite3.SQLITE_AUTH: "may not be opened by this user",
    sqlite3.SQLITE_NOTADB: "is not a SQLite file",
}


_MISSING = ("no such table", "no such column", "has no column named")


def _sqlite(cause: sqlite3.Error, label: str) -> Exception | None:
    # Absent where the driver itself complains, before SQLite was asked.
    code: int | None = getattr(cause, "sqlite_errorcode", None)
    if isinstance(cause, (sqlite3.IntegrityError, sqlite3.DataError)):
        name = getattr(cause, "sqlite_errorname", "no code")
        return DatabaseRefused(f"{label} refuses these rows ({name})")
    if code is None:
        return None
    words = _SQLITE.get(code & 0xFF)
    if words is not None:
        return DatabaseAway(f"{label} {words}")
    if code == sqlite3.SQLITE_ERROR and any(mark in str(cause) for mark in _MISSING):
        return DatabaseAway(f"{label} {_LACKS}")
    return None


# PostgreSQL

_LACKS = "lacks a table or column of ours: run `uptoken db upgrade`"

# By SQLSTATE, the whole code before its class.
_POSTGRES: dict[str, str] = {
    "57014": "does not answer",
    "57P03": "is starting up or shutting down",
    "57": "ended the connection",
    "08": "ended the connection",
    "25006": "is read-only: is it a standby?",
    "25P03": "ended the connection",
    "28": "refuses this user or password",
    "3F000": "lacks the schema of its search_path",
    "40": "could not finish beside another transaction",
    "42501": "does not give this user the right to do this",
    "42P01": _LACKS,
    "42703": _LACKS,
    "53100": "cannot grow: the disk is full",
    "53300": "has no connection left",
    "53": "lacks memory",
    "55P03": "is locked by another session",
    "58": "reports an error of its disk",
    "XX": "reports an error of its own",
}

# libpq gives no SQLSTATE for a refused connection; these words are those of its C locale.
_AT_CONNECT: tuple[tuple[str, str], ...] = (
    ("password", "refuses this user or password"),
    ("authentication failed", "refuses this user or password"),
    ("no pg_hba.conf entry", "lets nobody in from here (pg_hba.conf)"),
    ("too many connections", "has no connection left"),
    ("too many clients", "has no connection left"),
    ("remaining connection slots", "has no connection left"),
    ("starting up", "is starting up or shutting down"),
    ("shutting down", "is starting up or shutting down"),
    ("failed to resolve host", "cannot be found: its host has no address"),
    ("could not translate host name", "cannot be found: its host has no address"),
    ("timeout expired", "does not answer"),
    ("certificate", "shows a certificate that is not accepted"),
    ("SSL", "does not agree on TLS"),
    ("refused", "refuses connections"),
    ("No such file or directory", "refuses connections: no socket there"),
)


def _postgres(cause: "psycopg.Error", label: str) -> Exception | None:
    import psycopg

    state = cause.sqlstate
    if isinstance(cause, (psycopg.IntegrityError, psycopg.DataError)):
        place = ".".join(filter(None, (cause.diag.table_name, cause.diag.column_name)))
        told = ", ".join(filter(None, (state, cause.diag.constraint_name, place)))
        return DatabaseRefused(f"{label} refuses these rows ({told or 'NUL or no valid value'})")
    if state is not None:
        words = _POSTGRES.get(state) or _POSTGRES.get(state[:2])
        if state == "3D000":
            return NoDatabase(f"no database at {_address(label)}")
        return None if words is None else DatabaseAway(f"{label} {words} ({state})")
    said = str(cause)
    if "connection option" in said:
        return DatabaseAway(f"{label} cannot be asked: its URL has an option that PostgreSQL does not know")
    if not isinstance(cause, (psycopg.OperationalError, psycopg.InterfaceError)):
        return None
    if 'database "' in said and "does not exist" in said:
        return NoDatabase(f"no database at {_address(label)}")
    words = next((words for mark, words in _AT_CONNECT if mark in said), "ended the connection")
    return DatabaseAway(f"{label} {words}")
