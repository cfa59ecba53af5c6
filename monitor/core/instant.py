"""Moments and stretches of time as integer microseconds.

An `Instant` counts microseconds since the Unix epoch, UTC; a `Span` is a length of
time in microseconds. Integers, because windows and slots are compared for equality,
counted and stored, and a float would round differently on the way.
"""

from datetime import UTC, datetime, timedelta
from typing import NewType

Instant = NewType("Instant", int)
Span = NewType("Span", int)

MILLISECOND = Span(1_000)
SECOND = Span(1_000_000)
MINUTE = Span(60 * SECOND)
HOUR = Span(60 * MINUTE)
DAY = Span(24 * HOUR)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def span(length: timedelta) -> Span:
    """The same length in microseconds."""
    return Span(length // _MICROSECOND)


def instant(moment: datetime) -> Instant:
    """The same moment in microseconds. Raises ValueError if `moment` has no time zone."""
    if moment.tzinfo is None:
        raise ValueError("a moment needs its time zone")
    return Instant((moment - _EPOCH) // _MICROSECOND)


def as_datetime(moment: Instant) -> datetime:
    """The same moment as an aware datetime in UTC."""
    return _EPOCH + timedelta(microseconds=moment)


def iso(moment: Instant) -> str:
    """`2026-11-21T22:00:00.000Z`: UTC, milliseconds, cut and not rounded."""
    text = as_datetime(moment).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{moment // 1000 % 1000:03d}Z"


def from_iso(text: str) -> Instant:
    """The moment that an ISO 8601 text with a zone names. Raises ValueError otherwise."""
    return instant(datetime.fromisoformat(text))


def say(length: int) -> str:
    """A span as people say it, at most two units: `45 s`, `3 min 20 s`, `2 h`, `4 d 3 h`."""
    if length < SECOND:
        return f"{length // MILLISECOND} ms"
    seconds = length // SECOND
    parts: list[str] = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {unit}")
        elif parts:
            break
        if len(parts) == 2:
            break
    return " ".join(parts)
