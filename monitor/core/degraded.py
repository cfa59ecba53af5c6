"""Degraded rules: limits over a stretch of recent time.

They change a state, never an outcome or a count.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter

from monitor.core.instant import MINUTE, Instant, Span, say
from monitor.core.integrity import BREAKS, Flaw, Integrity, words
from monitor.core.uptime import percentile


@dataclass(frozen=True, slots=True, kw_only=True)
class DegradedRules:
    """Limits over the last `over`; None: no such rule. Milliseconds, tokens/s, percent."""

    over: Span = Span(30 * MINUTE)
    ttft_p50: float | None = None
    ttft_p95: float | None = None
    total_p50: float | None = None
    total_p95: float | None = None
    output_speed_p50: float | None = None
    error_rate: float | None = None
    flawed_streams: float | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """What the rules over a window remember of one scheduled look."""

    at: Instant
    works: bool
    bad: bool
    ttft_ms: float | None
    total_ms: float | None
    output_speed: float | None
    flaws: frozenset[Flaw] | None = None
    """Of its stream; None: there was none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One limit, and what was measured against it."""

    name: str
    limit: float
    value: float | None
    """None: too few samples."""
    is_lower: bool = False
    """The limit is a lower one."""
    told: str = ""
    """What was measured, where that says more than the value."""

    def holds(self, before: Mapping[str, Instant]) -> bool:
        """Holds beyond the limit, clears 10 % inside it, keeps its answer with too few samples."""
        held = self.name in before
        if self.value is None:
            return held
        edge = self.clears if held else self.limit
        return self.value < edge if self.is_lower else self.value > edge

    @property
    def clears(self) -> float:
        """10 % inside the limit."""
        return self.limit * (1.1 if self.is_lower else 0.9)

    def words(self, over: Span) -> str:
        """Why it holds."""
        limit = _quantity(self.name, self.limit)
        if self.value is None:
            return f"{self.name} was beyond its limit of {limit}, and too few looks since then could clear it"
        if not self.holds({}):
            limit += f", clears at {_quantity(self.name, self.clears)}"
        value = _quantity(self.name, self.value)
        if self.told:
            return f"{self.told} over the last {say(over)}: {value} (limit {limit})"
        return f"{self.name} is {value} over the last {say(over)} (limit {limit})"

    def words_when_cleared(self, over: Span) -> str:
        """Why it holds no longer."""
        value, limit = _quantity(self.name, self.value), _quantity(self.name, self.limit)
        return f"{self.name} is back at {value} over the last {say(over)} (limit {limit})"


def _quantity(name: str, value: float | None) -> str:
    if value is None:
        return "unknown"
    if name in ("error_rate", "flawed_streams"):
        return f"{value:.1f} %"
    if name.startswith("output_speed"):
        return f"{value:,.1f} tokens/s"
    return f"{value:,.0f} ms"


_PERCENTILES: dict[str, tuple[Callable[[Sample], float | None], float, int]] = {
    "ttft_p50": (attrgetter("ttft_ms"), 0.50, 5),
    "ttft_p95": (attrgetter("ttft_ms"), 0.95, 21),
    "total_p50": (attrgetter("total_ms"), 0.50, 5),
    "total_p95": (attrgetter("total_ms"), 0.95, 21),
    "output_speed_p50": (attrgetter("output_speed"), 0.50, 5),
}
"""Of which figure, which share, and the fewest values from which it may be told."""
_LOWER = frozenset({"output_speed_p50"})
FEWEST_JUDGED = 10
"""Looks from which an error rate may be told, and streams for the share of those that broke."""


def evaluate(limits: DegradedRules, ring: tuple[Sample, ...], now: Instant) -> list[Rule]:
    """Each configured rule with its value over the last `over`; None: too few samples."""
    since = now - limits.over
    recent = [sample for sample in ring if sample.at > since]
    rules = []
    for name, (figure, share, fewest) in _PERCENTILES.items():
        limit = getattr(limits, name)
        if limit is not None:
            values = [value for value in map(figure, recent) if value is not None]
            value = percentile(sorted(values), share) if len(values) >= fewest else None
            rules.append(Rule(name=name, limit=limit, value=value, is_lower=name in _LOWER))
    if limits.error_rate is not None:
        rules.append(Rule(name="error_rate", limit=limits.error_rate, value=_error_rate(recent)))
    if limits.flawed_streams is not None:
        rules.append(_flawed_streams(limits.flawed_streams, recent))
    return rules


def inside(limits: DegradedRules, names: Collection[str], ring: tuple[Sample, ...]) -> tuple[Sample, ...]:
    """The looks that lie within the limits of the rules called `names`: what was normal before those held."""
    for name, (figure, *_) in _PERCENTILES.items():
        limit = getattr(limits, name)
        if limit is not None and name in names:
            each = (Rule(name=name, limit=limit, value=figure(one), is_lower=name in _LOWER) for one in ring)
            ring = tuple(one for one, rule in zip(ring, each, strict=True) if not rule.holds({}))
    return ring


def _error_rate(recent: Sequence[Sample]) -> float | None:
    judged = sum(sample.works or sample.bad for sample in recent)
    bad = sum(sample.bad for sample in recent)
    return 100.0 * bad / judged if judged >= FEWEST_JUDGED else None


def _flawed_streams(limit: float, recent: Sequence[Sample]) -> Rule:
    """A missing usage breaks nothing, so it does not count here."""
    streams = [sample.flaws & BREAKS for sample in recent if sample.flaws is not None]
    broken = sum(map(bool, streams))
    if len(streams) < FEWEST_JUDGED:
        return Rule(name="flawed_streams", limit=limit, value=None)
    told = f"{broken} of {len(streams)} streams broke"
    if broken:
        told += f" ({words(Integrity.of(streams).flawed)})"
    value = 100.0 * broken / len(streams)
    return Rule(name="flawed_streams", limit=limit, value=value, told=told)
