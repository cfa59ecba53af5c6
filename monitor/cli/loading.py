"""What nearly every command begins with: the config, the state folder, the database."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from monitor import clock
from monitor.cli.failure import USAGE, Failure
from monitor.config import where
from monitor.config.load import ConfigError, Readable, load
from monitor.config.secrets import Secrets, SecretText, resolve
from monitor.config.settings import Config
from monitor.protocols import settings_registry

if TYPE_CHECKING:
    from monitor.store.engine import Database


def config_path(given: str | None) -> Path:
    return where.config_path(given, os.environ)


def config(given: str | None, readable_channel: Readable | None = None) -> Config:
    """The whole config. Raises Failure (exit 2) with every problem, one a line."""
    try:
        return load(config_path(given), settings_registry(), clock.now(), readable_channel)
    except ConfigError as refused:
        raise Failure(map(str, refused.problems), USAGE) from None


def state_folder(of: Config) -> Path:
    return where.state_folder(of.path, os.environ)


def secrets(of: Config, needed: Iterable[SecretText] | None = None) -> Secrets:
    """Their values: all, or those that are needed. Raises Failure (exit 2) with all that cannot be had."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    try:
        return resolve(of, os.environ, Path(folder) if folder else None, needed)
    except ConfigError as refused:
        raise Failure(map(str, refused.problems), USAGE) from None


def database_url(of: Config) -> str:
    """The URL; only the secrets in it are resolved. Raises Failure (exit 2)."""
    text = of.database.url
    return where.database_url(of, state_folder(of), secrets(of, [text]) if text.places else None)


@contextmanager
def database(of: Config, *, readonly: bool = True) -> "Iterator[Database]":
    """The database, which must be there and in the form that this program works with.

    Raises Failure (exit 1) if there is none at that place, or if it cannot be used now.
    """
    from monitor.store import migrate

    with opened(of, readonly=readonly) as found, refusals():
        migrate.require(found)
        yield found


@contextmanager
def opened(of: Config, *, readonly: bool = True) -> "Iterator[Database]":
    """The database, whatever is in it, if there is one."""
    from monitor.store.engine import Database

    found = Database(database_url(of), state_dir=state_folder(of), readonly=readonly)
    try:
        yield found
    finally:
        found.dispose()


@contextmanager
def refusals() -> Iterator[None]:
    """What a database says no with, as a Failure (exit 1)."""
    from monitor.store.engine import DatabaseAway, DatabaseRefused
    from monitor.store.migrate import NewerSchema, UpgradeHindered

    try:
        yield
    except (DatabaseAway, DatabaseRefused, NewerSchema, UpgradeHindered) as refused:
        raise Failure(str(refused)) from None
