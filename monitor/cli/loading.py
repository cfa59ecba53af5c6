"""What nearly every command begins with: the config, the state folder, the database."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from monitor import clock
from monitor.cli.failure import USAGE, Failure
from monitor.config import where
from monitor.config.load import ConfigError, load
from monitor.config.secrets import Secrets, SecretText, resolve
from monitor.config.settings import Config
from monitor.protocols import settings_registry

if TYPE_CHECKING:
    from monitor.store.engine import Database


def config_path(given: str | None) -> Path:
    return where.config_path(given, os.environ)


def config(given: str | None) -> Config:
    """The whole config. Raises Failure (exit 2) with every problem, one a line."""
    path = config_path(given)
    try:
        return load(path, settings_registry(), clock.now())
    except ConfigError as refused:
        raise Failure([str(problem) for problem in refused.problems], USAGE) from None


def state_folder(of: Config) -> Path:
    return where.state_folder(of.path, os.environ)


def secrets(of: Config, needed: Iterable[SecretText] | None = None) -> Secrets:
    """Their values: all, or those that are needed. Raises Failure (exit 2) with every one that cannot be had."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    try:
        return resolve(of, os.environ, Path(folder) if folder else None, needed)
    except ConfigError as refused:
        raise Failure([str(problem) for problem in refused.problems], USAGE) from None


def database_url(of: Config) -> str:
    """The URL; only the secrets in it are resolved."""
    text = of.database.url
    return where.database_url(of, state_folder(of), secrets(of, [text]) if text.places else None)


def database(of: Config, *, readonly: bool = True) -> "Database":
    """The database, which must be there. Raises Failure (exit 1) if there is none at that place."""
    from monitor.store.engine import Database, NoDatabase  # noqa: PLC0415  # SQLAlchemy takes its time

    try:
        return Database(database_url(of), state_dir=state_folder(of), readonly=readonly)
    except NoDatabase as none:
        raise Failure(str(none)) from None
