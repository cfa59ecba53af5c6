"""Where the lines and boxes of a picture lie. Numbers only: colours are the stylesheet's.

Pictures are stretched to the width there is, so widths are in units of their own.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from itertools import groupby

from monitor.core.snapshot import Spell
from monitor.core.timeline import Phases
from monitor.core.uptime import Bar, Bucket, StateTime
from monitor.web.words import count, day, lasting, local, milliseconds, percent, plural

# Bars

COLUMN_WIDTH, BAR_WIDTH, BAR_HEIGHT = 8, 6, 34
_LEAST = 5.0
"""Trouble is never drawn smaller, however short it was."""
_STUB = 6.0


@dataclass(frozen=True, slots=True)
class Box:
    kind: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Column:
    """One day or minute: its boxes from the top down, and what it says of itself."""

    x: float
    title: str
    boxes: tuple[Box, ...]


def columns(bars: Sequence[Bar]) -> list[Column]:
    """A column for each day."""
    return [_column(place, bar.time, _said_of_day(bar)) for place, bar in enumerate(bars)]


def minutes(hour: Sequence[Spell], timezone: tzinfo) -> list[Column]:
    """A column for each minute."""
    return [_column(place, spell.time, _said_of_minute(spell, timezone)) for place, spell in enumerate(hour)]


def _column(place: int, time: StateTime, title: str) -> Column:
    """Trouble hangs from the top, in proportion to its part of the time in which there was a schedule."""
    x = place * COLUMN_WIDTH
    if not time.total:
        return Column(x, title, (Box("none", x, BAR_HEIGHT - _STUB, BAR_WIDTH, _STUB),))
    lengths = {
        "down": time.down,
        "degraded": time.degraded,
        "none": time.unknown,
        "quiet": time.quiet,
        "up": time.up,
    }
    heights = {kind: BAR_HEIGHT * length / time.total for kind, length in lengths.items()}
    for kind in ("down", "degraded"):
        if lengths[kind]:
            heights[kind] = max(heights[kind], _LEAST)
    # What trouble was given beyond its part, the largest has to give.
    heights[max(heights, key=heights.__getitem__)] -= sum(heights.values()) - BAR_HEIGHT
    return Column(x, title, tuple(_stacked(x, heights)))


def _stacked(x: float, heights: dict[str, float]) -> Iterable[Box]:
    y = 0.0
    for kind, height in heights.items():
        if height >= 0.1:
            yield Box(kind, x, round(y, 1), BAR_WIDTH, round(height, 1))
            y += height


def _said_of_day(bar: Bar) -> str:
    if not bar.time.total:
        return f"{day(bar.day)}: no data"
    known = bar.counts.working + bar.counts.provider
    looks = f"{percent(bar.uptime)} of {count(known)} looks worked" if known else "no looks that count"
    parts = [looks, *(f"{name} {lasting(length)}" for name, length in _lengths(bar.time) if length)]
    return f"{day(bar.day)}: {', '.join(parts)}"


def _said_of_minute(spell: Spell, timezone: tzinfo) -> str:
    states = " and ".join(name for name, length in (("up", spell.time.up), *_lengths(spell.time)) if length)
    bad = spell.counts.provider
    failed = f", {plural(bad, 'look', 'looks')} failed" if bad else ""
    return f"{local(spell.start, timezone):%H:%M}: {states or 'no data'}{failed}"


def _lengths(time: StateTime) -> Iterable[tuple[str, int]]:
    yield "down", time.down
    yield "degraded", time.degraded
    yield "unknown", time.unknown
    yield "maintenance or pause", time.quiet


def spoken(bars: Sequence[Bar]) -> str:
    """The 90 days for whoever cannot see them."""
    down = sum(bool(bar.time.down) for bar in bars)
    degraded = sum(bool(bar.time.degraded) and not bar.time.down for bar in bars)
    watched = sum(bool(bar.time.total) for bar in bars)
    return f"Of the last {len(bars)} days {watched} with data, {down} with downtime, {degraded} degraded"


# The waterfall of a probe

WATERFALL_WIDTH = 1000.0


@dataclass(frozen=True, slots=True)
class Part:
    """A phase of a probe: where it is drawn, and what it was."""

    kind: str
    x: float
    width: float
    title: str


_ROUNDED_MS = 0.01
"""By how much moments that were stored may miss each other."""
PHASES = ("dns", "connect", "tls", "wait", "think", "stream", "rest")
"""The kinds of parts, in order."""
PHASE_WORDS = {
    "dns": "name",
    "connect": "connect",
    "tls": "TLS",
    "wait": "waiting for the answer",
    "think": "reasoning",
    "stream": "streaming",
    "rest": "the end",
}


def waterfall(phases: Phases | None, whole_ms: float) -> list[Part]:
    """The phases of a probe as parts of a row that is `whole_ms` wide."""
    if phases is None or whole_ms <= 0:
        return []
    parts, scale = [], WATERFALL_WIDTH / whole_ms
    for kind, start, end in _stretches(phases):
        if end > start:
            width = max(2.0, (end - start) * scale)
            title = f"{PHASE_WORDS[kind]}: {milliseconds(end - start)}"
            parts.append(Part(kind, round(start * scale, 1), round(width, 1), title))
    return parts


def _stretches(phases: Phases) -> Iterable[tuple[str, float, float]]:
    at = 0.0
    for kind, length in (("dns", phases.dns_ms), ("connect", phases.connect_ms), ("tls", phases.tls_ms)):
        if length:
            yield kind, at, at + length
            at += length
    sent, end = phases.request_sent, phases.end
    if sent is None:
        # Where nothing was to be asked, there is only our own time behind the phases.
        if end is not None and end - (phases.own_ms or 0.0) > at + _ROUNDED_MS:
            yield "wait", at, end
        return
    first = phases.first_token if phases.first_token is not None else phases.first_byte
    answer = phases.first_answer if phases.first_reasoning is not None else None
    marks = [("wait", first), ("think", answer), ("stream", phases.last_token), ("rest", end)]
    at = sent
    for kind, mark in marks:
        if mark is not None and mark > at:
            yield kind, at, mark
            at = mark


def longest(all_phases: Iterable[Phases | None]) -> float:
    """Milliseconds of the longest of these probes; 0 without any."""
    return max((phases.end or 0.0 for phases in all_phases if phases is not None), default=0.0)


# A line over time

CHART_WIDTH, CHART_HEIGHT = 960.0, 120.0


@dataclass(frozen=True, slots=True)
class Chart:
    """The middle of each step as a line, most of what there was as a band around it."""

    line: str
    band: str
    dots: tuple[tuple[float, float], ...]
    """Steps that stand alone, which a line does not show."""
    top: float
    """The value at the upper edge; the lower one is 0."""
    steps: int


def chart(buckets: Sequence[Bucket], low: str, high: str) -> Chart | None:
    """The medians, and the band from the percentile `low` to `high`; None without a value."""
    values = [(bucket.distribution.p50, bucket.distribution) for bucket in buckets]
    highest = max((getattr(found, high) for middle, found in values if middle is not None), default=None)
    if highest is None:
        return None
    top = _round_up(highest)
    lines, bands, dots = [], [], []
    width = CHART_WIDTH / len(buckets)

    def point(place: int, value: float) -> tuple[float, float]:
        return round((place + 0.5) * width, 1), round(CHART_HEIGHT * (1 - value / top), 1)

    runs = groupby(enumerate(values), key=lambda entry: entry[1][0] is not None)
    for run in (list(entries) for known, entries in runs if known):
        middles = [point(place, middle or 0.0) for place, (middle, _) in run]
        above = [point(place, getattr(found, high)) for place, (_, found) in run]
        below = [point(place, getattr(found, low)) for place, (_, found) in run]
        if len(run) == 1:
            dots.append(middles[0])
        lines.append(f"M{_path(middles)}")
        bands.append(f"M{_path(above)}L{_path(below[::-1])}Z")
    return Chart("".join(lines), "".join(bands), tuple(dots), top, len(buckets))


def _path(points: Iterable[tuple[float, float]]) -> str:
    return "L".join(f"{x:g},{y:g}" for x, y in points)


def _round_up(value: float) -> float:
    """The next of 1, 2, 2.5, 5 times a power of ten."""
    if value <= 0:
        return 1.0
    power = 1.0
    while power * 10 <= value:
        power *= 10
    while power > value:
        power /= 10
    return next(factor * power for factor in (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10) if factor * power >= value)
