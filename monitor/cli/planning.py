"""`maintenance`: what is planned, so that it counts nowhere and wakes nobody."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from monitor.cli.failure import USAGE, Failure
from monitor.cli.options import Duration, Moment

if TYPE_CHECKING:
    from monitor.config.settings import Config
    from monitor.core.instant import Instant
    from monitor.store.journal import Announced

_LOOK_AHEAD = timedelta(days=400)
_END_OF_TIME = datetime(9999, 12, 31, tzinfo=UTC)
"""As late as any zone can write it."""

_as_json = click.option("--json", "as_json", is_flag=True, help="As JSON.")


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
    from monitor.store.operator import Operator

    wanted = (*patterns, *more)
    if not wanted:
        raise click.UsageError(
            "say which endpoints, e.g. --endpoints 'openai/*'", click.get_current_context()
        )
    config = loading.config(given)
    now = clock.now()
    planned = _announced(config, title, wanted, start, length)
    meant = choosing.endpoints(config, wanted)
    with loading.database(config, readonly=False) as database:
        operator = Operator(database)
        operator.announce(planned)
        running = operator.beats(now)
    told = _Planned.by_command(planned)
    if as_json:
        printing.document(told.document(now) | {"matches": meant})
        return
    printing.line(f"{planned.id}: {printing.count(len(meant), 'endpoint')}, {told.when(config)}")
    printing.line(f"To end it, or call it off: uptoken maintenance end {planned.id}")
    if not running:
        printing.line("No daemon runs on this database now; the next one will know.")


def _announced(
    config: "Config", title: str, patterns: Sequence[str], start: datetime | None, length: timedelta
) -> "Announced":
    """Raises Failure (exit 2) if it would be over already, or lies too far away."""
    from monitor import clock
    from monitor.config.maintenance import LAST_YEAR
    from monitor.core.instant import Instant, instant, span
    from monitor.store.journal import Announced

    _require_title(title)
    now = clock.now()
    zone = config.site.timezone
    starts = now if start is None else instant(start if start.tzinfo else start.replace(tzinfo=zone))
    ends = Instant(starts + span(length))
    if ends <= now:
        raise Failure("that maintenance would be over already: check --start and --for", USAGE)
    if start is not None and start.year > LAST_YEAR:
        raise Failure(f"that maintenance is too far away: begin it by the year {LAST_YEAR}", USAGE)
    number = f"m-{secrets.token_hex(4)}"
    return Announced(id=number, title=title, patterns=tuple(patterns), starts=starts, ends=ends)


def _require_title(title: str) -> None:
    """One line, as in config.toml. Raises Failure (exit 2)."""
    from pydantic import TypeAdapter, ValidationError

    from monitor.config.values import Text
    from monitor.config.wording import words

    try:
        TypeAdapter(Text).validate_python(title)
    except ValidationError as refused:
        raise Failure(f"--title {words(refused.errors()[0])}", USAGE) from None


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
    with loading.database(config) as database:
        announced = Operator(database).announced(now)
    by_command = map(_Planned.by_command, announced)
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
    """`command` or `config`."""

    @classmethod
    def by_command(cls, one: "Announced") -> "_Planned":
        from monitor.core.instant import instant

        last = instant(_END_OF_TIME)  # a row of other hands must not hide the others
        return cls(one.id, one.title, one.patterns, min(one.starts, last), min(one.ends, last), "command")

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
