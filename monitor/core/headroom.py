"""How much of a vendor's rate limits is left, from the headers of a response.

Every vendor spells this in a way of its own; a name is taken apart into family, part (limit,
remaining, reset), kind and period, and whatever does not come apart is not ours. A value that
makes no sense is as good as none.
"""

import enum
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from monitor.core.instant import DAY, HOUR, SECOND, Instant, Span, instant

MOST = 8
"""Limits that are kept of one response."""
_NAME_READ = 64
LONGEST = 200
"""Characters of a value; a longer one is not read."""
_SOONEST = Span(-HOUR)
"""A bucket that is full again has its moment in the past."""
_LATEST = Span(32 * DAY)
"""The longest period that is counted in is a month."""


class Kind(enum.StrEnum):
    """What is limited."""

    REQUESTS = "requests"
    TOKENS = "tokens"
    INPUT_TOKENS = "input_tokens"
    OUTPUT_TOKENS = "output_tokens"


class Period(enum.StrEnum):
    """In what time."""

    SECOND = "second"
    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    MONTH = "month"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One limit. None: the vendor does not say."""

    kind: Kind
    period: Period | None = None
    limit: int | None = None
    """At least 1."""
    remaining: int | None = None
    """At least 0; it may be more than `limit` where bursts are allowed."""
    resets_in_s: float | None = None
    """Seconds from the response until it is whole again; 0: it is."""

    @property
    def permille(self) -> int | None:
        """What is left of it, 0 to 1000, cut and not rounded."""
        if self.limit is None or self.remaining is None:
            return None
        return min(1000, 1000 * self.remaining // self.limit)


@dataclass(frozen=True, slots=True)
class Headroom:
    """What one response said of the vendor's limits."""

    at: Instant
    """When the response came."""
    limits: tuple[Limit, ...]
    """At least one."""

    @property
    def permille(self) -> int | None:
        """What is left of the limit that is nearest to its end, 0 to 1000; None: not known of any."""
        return min((left for one in self.limits if (left := one.permille) is not None), default=None)

    def words(self) -> str:
        """`99 % of requests, 83 % of tokens per minute left`."""
        return ", ".join(words for one in self.limits if (words := _words(one))) + " left"

    def resets_at(self, one: Limit) -> Instant | None:
        """When one of `limits` is whole again, by our own clock."""
        return None if one.resets_in_s is None else Instant(self.at + round(one.resets_in_s * SECOND))


def wait(limits: Iterable[Limit]) -> Span | None:
    """How long until everything that is used up comes back; None: nothing is, or nobody says when."""
    empty = [one.resets_in_s for one in limits if one.remaining == 0 and one.resets_in_s]
    return Span(round(max(empty) * SECOND)) if empty else None


def _words(one: Limit) -> str:
    what = str(one.kind).replace("_", " ") + (f" per {one.period}" if one.period else "")
    if one.permille is not None:
        return f"{one.permille // 10} % of {what}"
    return "" if one.remaining is None else f"{one.remaining:,} {what}"


# Names


class _Part(enum.Enum):
    LIMIT = "limit"
    REMAINING = "remaining"
    RESET = "reset"


@dataclass(frozen=True, slots=True)
class _Name:
    family: str
    part: _Part
    kind: Kind
    period: Period | None


_X = re.compile(r"x-ratelimit-(limit|remaining|reset)((?:-[a-z]+){0,4})")
"""OpenAI, Azure, Groq, Cerebras, Mistral, Fireworks, OpenRouter, Kong and whoever follows them."""
_ANTHROPIC = re.compile(r"anthropic-ratelimit((?:-[a-z]+){1,3})-(limit|remaining|reset)")
_TOKENS = re.compile(r"(?:x-tokenlimit|(?:x-)?ratelimitbysize)-(limit|remaining|reset)((?:-[a-z]+)?)")
"""Together; Mistral as it was until 2025."""
_OLD = "draft 6"
_OLD_DRAFT = re.compile(r"ratelimit-(limit|remaining|reset)")
_DRAFT = ("ratelimit", "ratelimit-policy")

_KINDS: Mapping[frozenset[str], Kind] = {
    frozenset(words.split()): kind
    for kind, spellings in {
        Kind.REQUESTS: ("", "requests", "request", "req"),
        Kind.TOKENS: ("tokens", "token"),
        Kind.INPUT_TOKENS: ("input tokens", "tokens prompt", "tokens input"),
        Kind.OUTPUT_TOKENS: ("output tokens", "tokens generated", "tokens output"),
    }.items()
    for words in spellings
}
_FILLER = frozenset({"per"})


def is_named(name: str) -> bool:
    """Whether a header of this name, in lower case, is one that `read` understands."""
    return name in _DRAFT or _taken_apart(name) is not None


def _taken_apart(name: str) -> _Name | None:
    if len(name) > _NAME_READ or "limit" not in name:
        return None
    if found := _X.fullmatch(name):
        return _named("x", found[1], found[2])
    if found := _ANTHROPIC.fullmatch(name):
        return _named("anthropic", found[2], found[1])
    if found := _TOKENS.fullmatch(name):
        return _named("tokens", found[1], found[2] + "-tokens")
    if found := _OLD_DRAFT.fullmatch(name):
        return _named(_OLD, found[1], "")
    return None


def _named(family: str, part: str, words: str) -> _Name | None:
    said = set(words.split("-")) - _FILLER - {""}
    periods = said & set(Period)
    kind = _KINDS.get(frozenset(said - periods))
    if kind is None or len(periods) > 1:
        return None
    return _Name(family, _Part(part), kind, Period(periods.pop()) if periods else None)


# Reading


def read(headers: Mapping[str, str], received_at: Instant) -> tuple[Limit, ...]:
    """The limits that a response tells, at most `MOST`; header names in lower case.

    Moments are taken by the server's own `Date`, so that our clocks need not agree; by
    `received_at` where that is missing or makes no sense.
    """
    if not any("limit" in header for header in headers):
        return ()  # as of most: cheaply
    clocks = _clocks(headers.get("date", ""), received_at)
    found: dict[tuple[str, Kind, Period | None], dict[_Part, str]] = {}
    for header, value in headers.items():
        name = _taken_apart(header)
        if name is not None and len(value) <= LONGEST:
            # The old draft's `100, 100;w=60`: what holds now stands first.
            said = re.split("[,;]", value)[0] if name.family == _OLD else value
            found.setdefault((name.family, name.kind, name.period), {})[name.part] = said.strip()
    limits = [
        Limit(
            kind=kind,
            period=period,
            limit=_count(parts.get(_Part.LIMIT, "")) or None,
            remaining=_count(parts.get(_Part.REMAINING, "")),
            resets_in_s=_reset(parts.get(_Part.RESET, ""), clocks),
        )
        for (_, kind, period), parts in found.items()
    ]
    return _worth_keeping([*limits, *_draft(headers)])


def _worth_keeping(limits: Iterable[Limit]) -> tuple[Limit, ...]:
    """The first of each kind and period that says how much; the server's order does not matter."""
    kept: dict[tuple[Kind, Period | None], Limit] = {}
    for one in limits:
        if one.remaining is None:
            continue  # a limit alone does not say how near it is
        before = kept.setdefault((one.kind, one.period), one)
        if before.permille is None and one.permille is not None:
            kept[one.kind, one.period] = one
    order = {kind: place for place, kind in enumerate(Kind)}
    periods: dict[Period | None, int] = {period: place for place, period in enumerate((None, *Period))}
    return tuple(sorted(kept.values(), key=lambda one: (order[one.kind], periods[one.period])))[:MOST]


# Values

_NUMBER = re.compile(r"(\d{1,15})(?:\.\d{1,9})?", re.ASCII)
_GO = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(ns|us|µs|ms|s|m|h|d)", re.ASCII)
_GO_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII)
_EPOCH_S = 1e9
_EPOCH_MS = 1e12


def _count(said: str) -> int | None:
    """A number that is not negative, its fraction cut off."""
    found = _NUMBER.fullmatch(said)
    return int(found[1]) if found else None


def _reset(said: str, clocks: tuple[Instant, ...]) -> float | None:
    """Seconds: `6m0s`, `20ms`, `12.5`, or up to a moment: `1741305600000`, `2026-11-22T06:00:00Z`."""
    length = duration_s(said)
    if length is not None:
        return length if length * SECOND <= _LATEST else None
    number = float(said) if _NUMBER.fullmatch(said) else None
    if number is not None and number < _EPOCH_S:
        return number if number * SECOND <= _LATEST else None
    moment = _moment(said) if number is None else _epoch(number)
    if moment is None:
        return None
    for now in clocks:
        if _SOONEST <= moment - now <= _LATEST:
            return max(0, moment - now) / SECOND
    return None


def duration_s(said: str) -> float | None:
    """Seconds of a duration as Go writes it, such as `6m0s`, `1.2s`, `20ms`; None if it is none."""
    total, place = 0.0, 0
    for found in _GO.finditer(said[:LONGEST]):
        if found.start() != place:
            return None
        total, place = total + float(found[1]) * _GO_S[found[2]], found.end()
    return total if place and place == len(said) else None


def _epoch(number: float) -> Instant:
    """Seconds or milliseconds since 1970: which, its size tells."""
    return Instant(round(number * (1_000 if number >= _EPOCH_MS else SECOND)))


def _moment(said: str) -> Instant | None:
    if not _RFC_3339.fullmatch(said):
        return None
    try:
        return instant(datetime.fromisoformat(said.upper()))
    except (ValueError, OverflowError):
        return None


def http_date(said: str) -> Instant | None:
    """The moment that a header such as `Date` names; None if it names none."""
    try:
        moment = parsedate_to_datetime(said[:LONGEST])
        return instant(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _clocks(date: str, received_at: Instant) -> tuple[Instant, ...]:
    """By which to take a moment, the best one first."""
    server = http_date(date)
    return (received_at,) if server is None else (server, received_at)


# The IETF's draft

_ITEM = re.compile(r'\s*(?:"([^"\\]{0,60})"|([A-Za-z0-9*][\w.*/:-]{0,60}))((?:\s*;[^,]{0,120})?)\s*')
_PARAMETER = re.compile(
    r';\s*([a-z*][\w.*-]{0,20})=(?:"([^"\\]{0,60})"|(-?\d{1,15}(?:\.\d{1,3})?))', re.ASCII
)
_UNITS = {"requests": Kind.REQUESTS, "tokens": Kind.TOKENS}
_WINDOWS = {1: Period.SECOND, 60: Period.MINUTE, 3_600: Period.HOUR, 86_400: Period.DAY}


def _draft(headers: Mapping[str, str]) -> list[Limit]:
    """`RateLimit: "burst";r=40;t=12` beside `RateLimit-Policy: "burst";q=100;w=60`, or draft 7's
    `RateLimit: limit=100, remaining=40, reset=12`.
    """
    now, policy = headers.get("ratelimit", ""), headers.get("ratelimit-policy", "")
    if not now or len(now) > LONGEST or len(policy) > LONGEST:
        return []
    flat = dict(part.strip().partition("=")[::2] for part in now.split(","))
    if "remaining" in flat:
        return [
            Limit(
                kind=Kind.REQUESTS,
                limit=_count(flat.get("limit", "")) or None,
                remaining=_count(flat["remaining"]),
                resets_in_s=_reset(flat.get("reset", ""), ()),
            )
        ]
    policies = _items(policy)
    return [
        one
        for name, said in _items(now).items()
        if (one := _of_policy(said, policies.get(name, {}))) is not None
    ]


def _of_policy(said: Mapping[str, str], policy: Mapping[str, str]) -> Limit | None:
    kind = _UNITS.get(policy.get("qu", "requests"))
    if kind is None:
        return None  # bytes, or how many at once
    return Limit(
        kind=kind,
        period=_WINDOWS.get(_count(policy.get("w", "")) or 0),
        limit=_count(policy.get("q", "")) or None,
        remaining=_count(said.get("r", "")),
        resets_in_s=_reset(said.get("t", ""), ()),
    )


def _items(value: str) -> dict[str, dict[str, str]]:
    """The items of a structured field by name, each with its parameters; without what makes no sense."""
    items: dict[str, dict[str, str]] = {}
    for part in value.split(",")[: 2 * MOST]:
        found = _ITEM.fullmatch(part)
        if found:
            items[found[1] or found[2]] = {
                name: text or number for name, text, number in _PARAMETER.findall(found[3])
            }
    return items
