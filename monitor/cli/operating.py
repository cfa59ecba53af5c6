"""`pause`, `resume`, `maintenance`: what operators ask of the running daemon."""

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import click

from monitor.cli.failure import USAGE, Failure
from monitor.cli.options import Duration, Moment

if TYPE_CHECKING:
    from monitor.config.settings import Config
    from monitor.core.instant import Instant
    from monitor.store.operator import Operator

CARRIED_OUT_S = 5.0
"""A daemon looks for commands every second."""
_LOOK_AGAIN_S = 0.1
_LOOK_AHEAD = timedelta(days=400)
_FEW = 8

_PATTERN = "e.g. 'openai/*'"
_as_json = click.option("--json", "as_json", is_flag=True, help="As JSON.")
_patterns = click.argument("patterns", metavar="PATTERN...", nargs=-1, required=True)


@click.command()
@_patterns
@_as_json
@click.pass_obj
def pause(given: str | None, patterns: tuple[str, ...], *, as_json: bool) -> None:
    """Stop probing the endpoints that match, e.g. 'openai/*', until `uptoken resume`.

    Their slots are not due meanwhile, nobody is woken, and no incident begins.
    """
    _ask("pause", given, patterns, as_json=as_json)


@click.command()
@_patterns
@_as_json
@click.pass_obj
def resume(given: str | None, patterns: tuple[str, ...], *, as_json: bool) -> None:
    """Probe the endpoints that match again."""
    _ask("resume", given, patterns, as_json=as_json)


def _ask(kind: str, given: str | None, patterns: Sequence[str], *, as_json: bool) -> None:
    from monitor import clock
    from monitor.cli import choosing, loading, printing
    from monitor.store.operator import Operator

    config = loading.config(given)
    endpoints = choosing.endpoints(config, patterns)
    with loading.database(config, readonly=False) as database:
        operator = Operator(database)
        command = operator.ask(kind, endpoints, clock.now())
        effective = _carried_out(operator, command) if operator.beats(clock.now()) else False
    if as_json:
        printing.document({"command": kind, "endpoints": endpoints, "effective": effective})
        return
    which = ", ".join(endpoints) if len(endpoints) <= _FEW else f"{len(endpoints)} endpoints"
    if effective:
        printing.line(f"{kind}d: {which}")
    else:
        printing.line(f"will be {kind}d: {which}")
        printing.line("No daemon runs on this database now; the next one will do it when it starts.")


def _carried_out(operator: "Operator", command: int) -> bool:
    """Wait for the daemon to do it. False: it did not, in a time in which it should have."""
    deadline = time.monotonic() + CARRIED_OUT_S
    while not operator.is_done(command):
        if time.monotonic() > deadline:
            return False
        time.sleep(_LOOK_AGAIN_S)
    return True


# Maintenance


@click.group()
def maintenance() -> None:
    """Planned maintenance: looks in that time count nowhere, and nobody is woken."""


@maintenance.command()
@click.option("--title", default="planned maintenance", show_default=True, help="What people are told.")
@click.option("--endpoints", "patterns", multiple=True, metavar="PATTERN...", help="Which, e.g. 'openai/*'.")
@click.argument("more", metavar="", nargs=-1)
@click.option("--start", type=Moment(), metavar="MOMENT", help="When it begins.  [default: now]")
@click.option(
    "--for", "length", type=Duration(), metavar="DURATION", required=True, help="How long, e.g. 2h."
)
@_as_json
@click.pass_obj
def add(
    given: str | None,
    *,
    title: str,
    patterns: tuple[str, ...],
    more: tuple[str, ...],
    start: datetime | None,
    length: timedelta,
    as_json: bool,
) -> None:
    """Announce maintenance. A MOMENT without an offset is in the site's time zone."""
    from monitor import clock
    from monitor.cli import choosing, loading, printing
    from monitor.core.instant import Instant, instant, span
    from monitor.store.journal import Announced
    from monitor.store.operator import Operator

    if not (patterns or more):
        raise click.UsageError(
            "say which endpoints, e.g. --endpoints 'openai/*'", click.get_current_context()
        )
    config = loading.config(given)
    now = clock.now()
    zone = config.site.timezone
    starts = now if start is None else instant(start if start.tzinfo else start.replace(tzinfo=zone))
    planned = Announced(
        id=f"m-{secrets.token_hex(4)}",
        title=title,
        patterns=(*patterns, *more),
        starts=starts,
        ends=Instant(starts + span(length)),
    )
    if planned.ends <= now:
        raise Failure("that maintenance would be over already: check --start and --for", USAGE)
    meant = choosing.endpoints(config, planned.patterns)
    with loading.database(config, readonly=False) as database:
        operator = Operator(database)
        operator.announce(planned)
        running = operator.beats(now)
    told = _Planned(planned.id, planned.title, planned.patterns, planned.starts, planned.ends, "command")
    if as_json:
        printing.document(told.document(now) | {"matches": meant})
        return
    printing.line(f"{planned.id}: {printing.count(len(meant), 'endpoint')}, {told.when(config)}")
    printing.line(f"To end it, or call it off: uptoken maintenance end {planned.id}")
    if not running:
        printing.line("No daemon runs on this database now; the next one will know.")


@maintenance.command(name="list")
@_as_json
@click.pass_obj
def list_(given: str | None, *, as_json: bool) -> None:
    """What is running or planned, by config.toml and by command."""
    from monitor import clock
    from monitor.cli import loading, printing
    from monitor.cli.printing import Column
    from monitor.store.operator import Operator

    config = loading.config(given)
    now = clock.now()
    with loading.database(config) as database, loading.refusals():
        announced = Operator(database).announced(now)
    by_command = [
        _Planned(one.id, one.title, one.patterns, one.starts, one.ends, "command") for one in announced
    ]
    planned = sorted([*by_command, *_configured(config, now)], key=lambda one: one.starts)
    if as_json:
        printing.document([one.document(now) for one in planned])
        return
    if not planned:
        printing.line("No maintenance is running or planned.")
        return
    columns = (
        Column("id"),
        Column("state"),
        Column("when"),
        Column("endpoints", folds=True),
        Column("title", folds=True),
    )
    printing.table(
        columns,
        [
            (one.id or printing.NOTHING, one.state(now), one.when(config), ", ".join(one.patterns), one.title)
            for one in planned
        ],
    )


@maintenance.command()
@click.argument("number", metavar="ID")
@_as_json
@click.pass_obj
def end(given: str | None, number: str, *, as_json: bool) -> None:
    """End a running maintenance now, or call off a planned one."""
    from monitor import clock
    from monitor.cli import loading, printing
    from monitor.store.operator import Operator

    config = loading.config(given)
    with loading.database(config, readonly=False) as database:
        operator = Operator(database)
        if not operator.end(number, clock.now()):
            ids = [one.id for one in operator.announced(clock.now())]
            there = f"there are {', '.join(ids)}" if ids else "none was announced by command"
            raise Failure(f"no maintenance {number} is running or planned; {there}")
    if as_json:
        printing.document({"id": number, "ended": True})
        return
    printing.line(f"{number} is over")


@dataclass(frozen=True, slots=True)
class _Planned:
    """A maintenance as it is listed; its next occurrence where it comes again and again."""

    id: str | None
    """None: it stands in config.toml and is ended there."""
    title: str
    patterns: tuple[str, ...]
    starts: "Instant"
    ends: "Instant"
    source: str

    def state(self, now: "Instant") -> str:
        return "running" if self.starts <= now else "planned"

    def when(self, config: "Config") -> str:
        """`2026-11-21 23:00 to 2026-11-22 01:00 CET`."""
        from monitor.core.instant import as_datetime

        start, end = (
            as_datetime(moment).astimezone(config.site.timezone) for moment in (self.starts, self.ends)
        )
        until = f"{end:%H:%M}" if start.date() == end.date() else f"{end:%Y-%m-%d %H:%M}"
        return f"{start:%Y-%m-%d %H:%M} to {until} {end.tzname()}"

    def document(self, now: "Instant") -> dict[str, object]:
        from monitor.core.instant import iso

        return {
            "id": self.id,
            "title": self.title,
            "endpoints": list(self.patterns),
            "state": self.state(now),
            "start": iso(self.starts),
            "end": iso(self.ends),
            "source": self.source,
        }


def _configured(config: "Config", now: "Instant") -> list[_Planned]:
    """The running or next occurrence of each that stands in config.toml."""
    from monitor.core.instant import Instant, span

    until = Instant(now + span(_LOOK_AHEAD))
    planned = []
    for one in config.maintenance:
        next_ = next(iter(one.occurrences(now, until)), None)
        if next_ is not None:
            planned.append(_Planned(None, one.title, one.endpoints, next_.start, next_.end, "config"))
    return planned
