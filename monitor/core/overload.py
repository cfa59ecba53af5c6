"""When this machine is too busy to time well, and what its operators are told of it.

A probe whose figure we could not tell is set aside as `self_overload`. That now and then one is
says nothing; that many are, for minutes, is a fault of this monitor, and its operators hear of it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, tzinfo
from typing import Any

from monitor.core.alert import Message, clock
from monitor.core.histogram import Histogram
from monitor.core.instant import MINUTE, Instant, Span, as_datetime, instant, say

WHOLE = Span(10 * MINUTE)
"""What is weighed, and shown."""
RECENT = Span(2 * MINUTE)
"""In the newest part it must be too much as well: a rough start is forgotten sooner than it is weighed."""
LASTS = Span(5 * MINUTE)
"""It is told when it has been too much for as long, and over when it has not."""
FEWEST_LOOKS = 10
MOST_SET_ASIDE = 0.20
"""Of the looks."""
MOST_LATE_MS = 500.0
"""p99 of how late slots begin."""


@dataclass(slots=True, kw_only=True)
class Slice:
    """What a short stretch of time showed of ourselves."""

    ended: float
    """Monotonic seconds."""
    length_s: float
    looks: int = 0
    """Probes that ended; not those that were cut off, or in which we stood still."""
    set_aside: int = 0
    """Those of them that are `self_overload`."""
    delay_s: float | None = None
    """How long we were ready to run and had no core; None: nobody counts."""
    start_late_ms: Histogram = field(default_factory=Histogram)
    loop_lag_ms: Histogram = field(default_factory=Histogram)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The same of a longer time; None: nothing to measure."""

    looks: int = 0
    set_aside: int = 0
    start_late_ms: float | None = None
    """p99 of how late slots began."""
    loop_lag_ms: float | None = None
    """p99 of how late the loop came to what was due."""
    core_delay: float | None = None
    """Share of the time in which we were ready to run and had no core."""

    @property
    def share(self) -> float | None:
        """Of the looks, how many were set aside; 0 to 1."""
        return self.set_aside / self.looks if self.looks else None

    @property
    def is_too_much(self) -> bool:
        """What it shows is no longer timed well."""
        late = self.start_late_ms is not None and self.start_late_ms > MOST_LATE_MS
        return late or self.set_aside >= MOST_SET_ASIDE * self.looks > 0


def load(slices: Iterable[Slice]) -> Load:
    """What these slices show together."""
    late, lag = Histogram(), Histogram()
    looks = set_aside = 0
    counted_s = delay_s = 0.0
    for one in slices:
        looks += one.looks
        set_aside += one.set_aside
        late.merge(one.start_late_ms)
        lag.merge(one.loop_lag_ms)
        if one.delay_s is not None:
            counted_s += one.length_s
            delay_s += one.delay_s
    return Load(
        looks=looks,
        set_aside=set_aside,
        start_late_ms=late.quantile(0.99),
        loop_lag_ms=lag.quantile(0.99),
        core_delay=min(1.0, delay_s / counted_s) if counted_s > 0 else None,
    )


# The spell


@dataclass(frozen=True, slots=True, kw_only=True)
class Spell:
    """What we hold of this machine."""

    turned: Instant | None = None
    """Since then it is the other way round than we hold; None: it is as we hold."""
    lasted: Span = Span(0)
    """How long we have seen that; not the same as the time since, for clocks are set and hosts sleep."""
    began: Instant | None = None
    """It has been too busy since then, and that was told; None: it keeps up."""


def weigh(spell: Spell, whole: Load, recent: Load, now: Instant, passed: Span) -> Spell:
    """What we hold after another look at ourselves, so long after the last one. A change has to last."""
    if (spell.began is not None) == _is_too_much(spell, whole, recent):
        return Spell(began=spell.began)
    if spell.turned is None:
        return Spell(began=spell.began, turned=now)
    lasted = Span(spell.lasted + passed)
    if lasted < LASTS:
        return replace(spell, lasted=lasted)
    return Spell(began=spell.turned if spell.began is None else None)


def _is_too_much(spell: Spell, whole: Load, recent: Load) -> bool:
    if spell.began is not None:
        # What lies further back made us say it; it must not keep us from saying that it is over.
        return recent.is_too_much
    return whole.looks >= FEWEST_LOOKS and whole.is_too_much and recent.is_too_much


# Words


def told(load: Load) -> str:
    """`34 % of 812 looks were set aside as self_overload; slots began up to 620 ms late (p99)`."""
    parts = [
        f"{load.set_aside / max(1, load.looks):.0%} of {load.looks:,} looks were set aside as self_overload"
    ]
    if load.start_late_ms is not None and load.start_late_ms > MOST_LATE_MS:
        parts.append(f"slots began up to {load.start_late_ms:,.0f} ms late (p99)")
    return "; ".join(parts)


def in_passing(load: Load) -> str:
    """The same in normal times, on one line: lags in milliseconds."""
    parts = []
    if load.loop_lag_ms is not None:
        parts.append(f"loop lag {load.loop_lag_ms:,.1f} ms (p99)")
    if load.core_delay is not None:
        parts.append(f"waited for a core {load.core_delay:.1%} of the time")
    if load.start_late_ms is not None:
        parts.append(f"slots begun within {load.start_late_ms:,.1f} ms (p99)")
    if load.looks:
        parts.append(f"{load.set_aside:,} of {load.looks:,} looks set aside")
    return ", ".join(parts)


DO = "Do: fewer endpoints, longer intervals, more or faster cores, or a second place that takes a part of it."


def alarm(began: Instant, load: Load, why: str | None, now: Instant, zone: tzinfo | None) -> Message:
    """What is told of a spell; `why` is the cause, where it is known."""
    lines = [
        f"This machine is too busy to time well since {clock(began, zone)} ({say(now - began)}).",
        f"What: in the last {say(WHOLE)} {told(load)}.",
        *([f"Why: {why}."] if why else []),
        "Whose: the monitor itself. Nobody's uptime suffers; what was set aside is missing from the figures.",
        DO,
    ]
    return Message("TOO BUSY: this monitor", tuple(lines))


def all_clear(began: Instant, load: Load, now: Instant, zone: tzinfo | None) -> Message:
    """What is told to the same channels when it is over."""
    lasted = say(max(0, now - began))
    lines = [f"This machine times well again. It was too busy from {clock(began, zone)} on, for {lasted}."]
    normal = in_passing(load)
    if normal:
        lines.append(f"Now: {normal}")
    return Message(f"RECOVERED: this monitor, after {lasted}", tuple(lines))


INCIDENT = "overload-"
_WHEN = "%Y%m%dT%H%M%SZ"


def incident_of(began: Instant) -> str:
    """`overload-20261121T220500Z`: a daemon that is started meanwhile knows it again."""
    return f"{INCIDENT}{as_datetime(began):{_WHEN}}"


def began_at(incident: str) -> Instant:
    """When the spell of that id began, to the second. Raises ValueError if it is none."""
    return instant(datetime.strptime(incident, f"{INCIDENT}{_WHEN}").replace(tzinfo=UTC))


# As the heartbeat tells it


def to_status(load: Load) -> dict[str, Any]:
    """Plain values, rounded."""
    return {
        "looks": load.looks,
        "set_aside": load.set_aside,
        "start_late_ms": _rounded(load.start_late_ms),
        "loop_lag_ms": _rounded(load.loop_lag_ms),
        "core_delay": _rounded(load.core_delay, 4),
    }


def from_status(status: Mapping[str, Any]) -> Load | None:
    """The inverse, from a daemon's status; None where it tells nothing of the kind."""
    said = status.get("last_10m")
    if not isinstance(said, dict):
        return None
    return Load(
        looks=said.get("looks", 0),
        set_aside=said.get("set_aside", 0),
        start_late_ms=said.get("start_late_ms"),
        loop_lag_ms=said.get("loop_lag_ms"),
        core_delay=said.get("core_delay"),
    )


def warning(status: Mapping[str, Any]) -> str | None:
    """What operators must know of a daemon with that status; None: it times well."""
    found = from_status(status)
    if status.get("too_busy_since") is None or found is None:
        return None
    why = status.get("overload")
    return f"In the last {say(WHOLE)} {told(found)}." + (f" Why: {why}." if why else "")


def _rounded(value: float | None, digits: int = 3) -> float | None:
    return None if value is None else round(value, digits)
