"""Planned maintenance: which endpoints, and when."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Annotated, NamedTuple, Self
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from monitor.config.values import Duration, Table, Text, Zone, quoted
from monitor.core.instant import Instant, as_datetime, instant

_SECOND = timedelta(seconds=1)
_LEAP_CYCLE_START = datetime(2000, 1, 1, tzinfo=UTC)
_MOST = 10_000
FIRST_YEAR, LAST_YEAR = 1970, 2999
"""Far enough from the ends of the calendar for every zone and duration."""
_FIELDS = {
    "minute": "minute",
    "hour": "hour",
    "day-of-month": "day",
    "month": "month",
    "day-of-week": "weekday",
}
"""The library's names of the five fields, and ours."""


class Occurrence(NamedTuple):
    """One stretch of maintenance, `start` included, `end` not."""

    start: Instant
    end: Instant


def _cron(value: str) -> str:
    """Refuses what cannot be read and what never fires. Raises ValueError."""
    if len(value.split()) != 5:
        raise ValueError(
            f"{quoted(value)} is not a cron line of five fields"
            ' (minute, hour, day, month, weekday) such as "0 2 * * sun"'
        )
    problem = _cron_problem(value)
    if problem is None:
        return value
    if problem in ("never", "day") and _cron_problem(_in_any_month(value)) is None:
        raise ValueError(f"{quoted(value)} never fires: none of its months has that day")
    raise ValueError(f'the {problem} in {quoted(value)} cannot be read: write it like "0 2 * * sun"')


def _cron_problem(line: str) -> str | None:
    """The field that cannot be read, or `never`; None where all is well."""
    try:
        next(CronSim(line, _LEAP_CYCLE_START))
    except CronSimError as refused:
        return _FIELDS.get(str(refused).removeprefix("Bad "), "line")
    except StopIteration:
        return "never"
    return None


def _in_any_month(line: str) -> str:
    minute, hour, day, _, weekday = line.split()
    return f"{minute} {hour} {day} * {weekday}"


def _moment(value: object) -> datetime:
    if isinstance(value, datetime):
        if not FIRST_YEAR <= value.year <= LAST_YEAR:
            raise ValueError(f"is in the year {value.year}: write one from {FIRST_YEAR} to {LAST_YEAR}")
        return value
    raise ValueError(f"{quoted(value)} is not a moment such as 2026-12-01T02:00:00Z (without quotes)")


def _pattern(value: str) -> str:
    if value.count("/") != 1 or value.startswith("/") or value.endswith("/"):
        raise ValueError(
            f'{quoted(value)} matches no endpoint: write it as "provider/slug", such as "openai/*"'
        )
    return value


Pattern = Annotated[
    str, AfterValidator(_pattern), WithJsonSchema({"type": "string", "pattern": "^[^/]+/[^/]+$"})
]


def expression(patterns: tuple[str, ...]) -> re.Pattern[str]:
    """What matches an id that any of the patterns means."""
    pieces = (re.escape(pattern).replace(r"\*", "[^/]*").replace(r"\?", "[^/]") for pattern in patterns)
    return re.compile("|".join(pieces), re.IGNORECASE)


class Maintenance(Table):
    """Either once (`start`) or again and again (`cron`), each time for `duration`."""

    title: Text = "planned maintenance"
    endpoints: Annotated[tuple[Pattern, ...], Field(strict=False, min_length=1)] = ("*/*",)
    """Patterns over ids: `*` is any run of characters and `?` any one, neither crosses the slash."""
    start: Annotated[
        datetime | None, BeforeValidator(_moment), WithJsonSchema({"type": "string", "format": "date-time"})
    ] = None
    cron: Annotated[str, AfterValidator(_cron)] | None = None
    duration: Duration
    timezone: Zone = ZoneInfo("UTC")
    """Where `cron` and a `start` without offset are meant; the site's unless it says otherwise."""

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.start is None) == (self.cron is None):
            raise ValueError("needs either start or cron, and not both")
        return self

    @property
    def starts_once(self) -> Instant | None:
        """When it starts; None where it comes again and again."""
        return None if self.start is None else instant(next(self._starts(self.start)))

    @cached_property
    def _matches(self) -> re.Pattern[str]:
        return expression(self.endpoints)

    def matches(self, endpoint_id: str) -> bool:
        """Whether it is about that endpoint; ids are compared without regard to case."""
        return self._matches.fullmatch(endpoint_id) is not None

    def occurrences(self, since: Instant, until: Instant) -> tuple[Occurrence, ...]:
        """All that touch [since, until), in order; at most 10,000."""
        return tuple(self._touching(as_datetime(since), as_datetime(until)))

    def covers(self, moment: Instant) -> bool:
        """Whether the moment lies in one."""
        return bool(self.occurrences(moment, Instant(moment + 1)))

    def _touching(self, since: datetime, until: datetime) -> Iterator[Occurrence]:
        for count, start in enumerate(self._starts(since - self.duration)):
            if start >= until or count >= _MOST:
                return
            if start + self.duration > since:
                yield Occurrence(instant(start), instant(start + self.duration))

    def _starts(self, after: datetime) -> Iterator[datetime]:
        """Moments in UTC, so that adding a duration counts real time across a clock change."""
        if self.start is not None:
            aware = self.start if self.start.tzinfo else self.start.replace(tzinfo=self.timezone)
            yield aware.astimezone(UTC)
        elif self.cron is not None:
            for moment in CronSim(self.cron, (after - _SECOND).astimezone(self.timezone)):
                yield moment.astimezone(UTC)
