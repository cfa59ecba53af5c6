"""What `check` finds out, and how it says it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import click

from monitor import logs, notifier
from monitor.cli import loading, printing
from monitor.cli.failure import USAGE, Failure
from monitor.cli.printing import Column, count, usd
from monitor.config.cost import MONTH, Bill, projected
from monitor.config.load import ConfigError
from monitor.config.problem import Problem
from monitor.config.secrets import Secrets
from monitor.config.settings import Config
from monitor.config.source import read
from monitor.config.values import written


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    secrets: bool
    connect: bool


@dataclass(frozen=True, slots=True)
class Found:
    """What stands in the file is right; `problems` are what it leads to that is not."""

    config: Config
    bill: Bill
    secrets: int | None
    """How many were found; None if nobody asked."""
    connected: tuple[str, ...]
    """What was reached, in words."""
    problems: tuple[str, ...]


def for_people(given: str | None, asked: Asked) -> int:
    """Raises Failure (exit 2) with every problem of the file."""
    found = _look(loading.config(given, notifier.readable), asked)
    code = _tell_problems(found)
    with printing.settled(code):
        _print(found)
    return code


def as_document(given: str | None, asked: Asked) -> int:
    """The same as JSON, problems of the file among it."""
    try:
        config = loading.config(given, notifier.readable)
    except Failure as refused:
        path = str(loading.config_path(given))
        with printing.settled(refused.exit_code):
            printing.document({"ok": False, "file": path, "problems": refused.lines})
        raise
    found = _look(config, asked)
    code = _tell_problems(found)
    with printing.settled(code):
        printing.document(_document(found))
    return code


def _tell_problems(found: Found) -> int:
    """On stderr, before anything that nobody may read to the end. Returns the exit code."""
    for problem in found.problems:
        click.echo(problem, err=True)
    return USAGE if found.problems else 0


# Finding out


def _look(config: Config, asked: Asked) -> Found:
    problems: list[str] = []
    connected: list[str] = []
    secrets = None
    if asked.secrets or asked.connect:
        secrets = _secrets(config, problems)
    if asked.connect and secrets is not None:
        problems += _channels(config, secrets)
        connected += _database(config, problems)
        connected += [
            f'channel "{name}": {notifier.shown(secrets.of(channel.url))}'
            for name, channel in config.channels.items()
            if notifier.readable(secrets.of(channel.url)) is None
        ]
    return Found(
        config=config,
        bill=projected(config.endpoints),
        secrets=len(secrets.values) if secrets is not None else None,
        connected=tuple(connected),
        problems=tuple(problems),
    )


def _secrets(config: Config, problems: list[str]) -> Secrets | None:
    try:
        found = loading.secrets(config)
    except Failure as refused:
        problems += refused.lines
        return None
    logs.set_secrets(found.values)
    return found


def _channels(config: Config, secrets: Secrets) -> Iterator[str]:
    """Those that Apprise cannot read, now that the secrets are known."""
    for name, channel in config.channels.items():
        refusal = notifier.readable(secrets.of(channel.url))
        if refusal is not None:
            yield str(problem_at(config, name, refusal))


def problem_at(config: Config, channel: str, text: str) -> Problem:
    """What is wrong with the URL of a channel, with the line where it stands."""
    keys = ("channel", channel, "url")
    try:
        return read(config.path).problem(keys, text)
    except ConfigError:  # somebody is writing the file just now; what is wrong stays wrong
        return Problem(str(config.path), 1, ".".join(keys), text)


def _database(config: Config, problems: list[str]) -> Iterator[str]:
    """Opens it; creates nothing."""
    from monitor.store import migrate
    from monitor.store.engine import DatabaseAway, NoDatabase

    with loading.opened(config) as database:
        try:
            version = migrate.current(database)
            if version is not None and version not in migrate.versions():
                migrate.require(database)
        except NoDatabase as none:
            if database.is_sqlite:
                yield f"{database.name}: not there yet; `uptoken run` makes it"
            else:
                problems.append(str(none))
        except (DatabaseAway, migrate.NewerSchema) as refused:
            problems.append(str(refused))
        else:
            yield f"{database.name}: {_version(version, migrate.head())}"


def _version(found: str | None, head: str) -> str:
    if found is None:
        return "empty; `uptoken run` fills it"
    return "schema is up to date" if found == head else f"schema {found}; `uptoken run` brings it to {head}"


# Saying it


def _print(found: Found) -> None:
    config = found.config
    enabled = [one for one in config.endpoints if one.enabled]
    off = len(config.endpoints) - len(enabled)
    what = [
        count(len(enabled), "endpoint") + (f" ({off} more switched off)" if off else ""),
        count(len({one.provider for one in enabled}), "provider"),
        count(len(config.channels), "channel"),
    ]
    for warning in config.warnings:
        printing.line(printing.Ink("warning ", "yellow"), str(warning))
    verdict = printing.Ink("not ready", "bold red") if found.problems else printing.Ink("ok", "bold green")
    printing.line(f"{config.path}: ", verdict, f", {', '.join(what)}")
    if found.secrets is not None:
        printing.line(f"{count(found.secrets, 'secret')} found")
    for words in found.connected:
        printing.line(words)
    if enabled:
        asked = ", ".join(config.canary.addresses)
        none = "none, so that a network lost here may look like an outage"
        printing.line(f"canaries, asked only when something fails: {asked or none}")
        _print_bill(found)


def _print_bill(found: Found) -> None:
    bill = found.bill
    printing.line()
    printing.line(f"What probing will cost in {MONTH.days} days, if every answer is as long as its limit:")
    printing.line()
    columns = (
        Column("endpoint"),
        Column("every", right=True),
        Column("probes", right=True),
        Column("USD", True),
    )
    intervals = {one.id: written(one.interval) for one in found.config.endpoints}
    rows = [
        (each.endpoint, intervals[each.endpoint], f"{each.probes:,}", usd(each.usd))
        for each in bill.projections
    ]
    probes = sum(each.probes for each in bill.projections)
    printing.table(columns, [*rows, ("total", "", f"{probes:,}", usd(bill.usd))])
    if bill.unlimited:
        missing = count(len(bill.unlimited), "model has", "models have")
        printing.line()
        printing.line(f"{missing} no limit, so the total is too low: {', '.join(bill.unlimited[:5])}")
    if bill.unpriced:
        missing = count(len(bill.unpriced), "model has", "models have")
        printing.line()
        printing.line(f"{missing} no price, so the total is too low: {', '.join(bill.unpriced[:5])}")


def _document(found: Found) -> dict[str, Any]:
    config, bill = found.config, found.bill
    enabled = [one for one in config.endpoints if one.enabled]
    return {
        "ok": not found.problems,
        "file": str(config.path),
        "endpoints": len(enabled),
        "disabled": len(config.endpoints) - len(enabled),
        "providers": len({one.provider for one in enabled}),
        "channels": list(config.channels),
        "canaries": list(config.canary.addresses),
        "warnings": list(map(str, config.warnings)),
        "problems": list(found.problems),
        "secrets": found.secrets,
        "connected": list(found.connected),
        "cost": {
            "days": MONTH.days,
            "usd": bill.usd,
            "unpriced": list(bill.unpriced),
            "unlimited": list(bill.unlimited),
            "endpoints": [
                {"id": each.endpoint, "probes": each.probes, "usd": each.usd} for each in bill.projections
            ],
        },
    }
