"""The schema's version, and the way to the present one.

Migrations are numbered files without branches (`alembic/versions/0001_….py`), so the newest
version is known without importing Alembic, which takes half a second.
"""

import functools
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection

from monitor import shipped
from monitor.store.engine import Database, DatabaseAway, NoDatabase
from monitor.store.fault import unopened
from monitor.store.lock import lock_file
from monitor.store.views import ViewInUse

UPGRADE_S = 600.0
"""Limit of one upgrade; a large table may have to be rewritten."""
PATIENCE_S = 120.0
"""How long another process's upgrade is waited for."""
_POLL_S = 0.05
# Beside the owner's key in `monitor.store.lock`.
_UPGRADE_KEY = int.from_bytes(b"uptoken\x02")


class NewerSchema(Exception):
    """The database was upgraded by a newer program; this one must leave it alone."""


class UpgradeHindered(Exception):
    """Something that is not ours is in the way of an upgrade; the text says what, and what to do."""


@functools.cache
def versions() -> tuple[str, ...]:
    """The versions that this program knows, oldest first."""
    files = (shipped.path("alembic") / "versions").glob("[0-9]*.py")
    return tuple(sorted(file.name.partition("_")[0] for file in files))


def head() -> str:
    """The version that this program works with."""
    return versions()[-1]


def current(database: Database) -> str | None:
    """The version of the schema; None if there is none yet.

    Raises DatabaseAway, and NoDatabase if there is not even a database.
    """
    return database.read(_version)


def require(database: Database) -> None:
    """Make sure that the schema is the one that this program works with.

    Raises NoDatabase, NewerSchema, or DatabaseAway if it is older and nobody upgrades it yet.
    """
    found = current(database)
    if found is None:
        raise NoDatabase(f"no database at {database.path or database.name}")
    _refuse_newer(database, found)
    if found != head():
        raise DatabaseAway(
            f"{database.label} has version {found} of the schema, not yet {head()}: run `uptoken db upgrade`"
        )


def upgrade(database: Database) -> list[str]:
    """Bring the schema to the present version; creates a SQLite file where there is none.

    Returns the versions that were added, oldest first. Several processes may do so at once:
    one works, the others wait and find it done. All or nothing. Raises DatabaseAway,
    NewerSchema, UpgradeHindered.
    """
    create(database)
    found = current(database)
    if found == head():
        return []
    _refuse_newer(database, found)
    session = database.session()
    try:
        with _alone(database):
            deadline = time.monotonic() + PATIENCE_S
            while (added := session.run(_upgrade, UPGRADE_S)) is None:
                _pause(database, deadline)
            return added
    except ViewInUse as use:
        raise UpgradeHindered(
            f"{database.label} cannot be upgraded: {use}; drop what depends on it, upgrade, and make it again"
        ) from None
    finally:
        session.close()


def create(database: Database) -> None:
    """An empty SQLite file and its folder, if they are missing. Raises DatabaseAway."""
    path = database.path
    if path is None:
        return
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(exist_ok=True)
    except OSError as error:
        raise unopened(error, database.label) from None


def _version(connection: Connection) -> str | None:
    exists = (
        "SELECT name FROM sqlite_master WHERE name = 'alembic_version'"
        if connection.dialect.name == "sqlite"
        else "SELECT to_regclass('alembic_version')"
    )
    if connection.exec_driver_sql(exists).scalar() is None:
        return None
    found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return None if found is None else str(found)


def _refuse_newer(database: Database, found: str | None) -> None:
    if found is not None and found not in versions():
        raise NewerSchema(
            f"{database.label} has version {found} of the schema, made by a newer uptoken;"
            f" this one knows none after {head()}: install the newer one"
        )


def _upgrade(connection: Connection) -> list[str] | None:
    """What was added; None while another session is at it."""
    if connection.dialect.name == "postgresql" and not _try_lock(connection):
        return None
    found = _version(connection)
    known = versions()
    missing = list(known if found is None else known[known.index(found) + 1 :])
    if missing:
        _run_alembic(connection)
    return missing


def _try_lock(connection: Connection) -> bool:
    """Until the end of the transaction, so that the lock cannot outlive or precede the work."""
    return bool(connection.exec_driver_sql(f"SELECT pg_try_advisory_xact_lock({_UPGRADE_KEY})").scalar())


def _run_alembic(connection: Connection) -> None:
    from alembic.config import Config

    from alembic import command

    config = Config()
    # The value goes through the interpolation of an ini file.
    config.set_main_option("script_location", str(shipped.path("alembic")).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


@contextmanager
def _alone(database: Database) -> Iterator[None]:
    """Nobody else on this machine upgrades this SQLite file."""
    if database.path is None:
        yield
        return
    descriptor = _lock(database, database.path)
    try:
        yield
    finally:
        os.close(descriptor)


def _lock(database: Database, path: Path) -> int:
    deadline = time.monotonic() + PATIENCE_S
    try:
        while (descriptor := lock_file(path.with_name(path.name + ".upgrade"))) is None:
            _pause(database, deadline)
    except OSError as error:
        raise unopened(error, database.label) from None
    return descriptor


def _pause(database: Database, deadline: float) -> None:
    if time.monotonic() > deadline:
        raise DatabaseAway(f"{database.label} is being upgraded by another process")
    threading.Event().wait(_POLL_S)
