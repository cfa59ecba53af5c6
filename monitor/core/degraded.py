"""Degraded rules: limits over a stretch of recent time.

They change a state, never an outcome or a count.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from monitor.core.instant import MINUTE, Instant, Span, say
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


@dataclass(frozen=True, slots=True)
class Sample:
    """What the rules over a window remember of one scheduled look."""

    at: Instant
    works: bool
    bad: bool
    ttft_ms: float | None
    total_ms: float | None
    output_speed: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One limit, and what was measured against it."""

    name: str
    limit: float
    value: float | None
    """None: too few samples."""
    is_lower: bool = False
    """The limit is a lower one."""

    def holds(self, before: Mapping[str, Instant]) -> bool:
        """Holds beyond the limit, clears 10 % inside it, keeps its answer with too few samples."""
        held = self.name in before
        if self.value is None:
            return held
        if self.is_lower:
            return self.value < (self.limit * 1.1 if held else self.limit)
        return self.value > (self.limit * 0.9 if held else self.limit)

    def words(self, over: Span) -> str:
        sort = "at least" if self.is_lower else "at most"
        value, limit = _quantity(self.name, self.value), _quantity(self.name, self.limit)
        return f"{self.name} is {value} over the last {say(over)}, {sort} {limit}"


def _quantity(name: str, value: float | None) -> str:
    if value is None:
        return "unknown"
    if name == "error_rate":
        return f"{value:.1f} %"
    if name.startswith("output_speed"):
        return f"{value:,.1f} tokens/s"
    return f"{value:,.0f} ms"


def _percentile(values: list[float], percent: int, least: int) -> float | None:
    return percentile(sorted(values), percent / 100) if len(values) >= least else None


def evaluate(limits: DegradedRules, ring: tuple[Sample, ...], now: Instant) -> list[Rule]:
    """Each configured rule with its value over the last `over`; None: too few samples."""
    recent = [sample for sample in ring if sample.at > now - limits.over]
    ttft = [s.ttft_ms for s in recent if s.ttft_ms is not None]
    total = [s.total_ms for s in recent if s.total_ms is not None]
    speed = [s.output_speed for s in recent if s.output_speed is not None]
    judged = sum(s.works or s.bad for s in recent)
    bad = sum(s.bad for s in recent)
    values = {
        "ttft_p50": _percentile(ttft, 50, 5),
        "ttft_p95": _percentile(ttft, 95, 21),
        "total_p50": _percentile(total, 50, 5),
        "total_p95": _percentile(total, 95, 21),
        "output_speed_p50": _percentile(speed, 50, 5),
        "error_rate": 100.0 * bad / judged if judged >= 10 else None,
    }
    return [
        Rule(name=name, limit=limit, value=value, is_lower=name == "output_speed_p50")
        for name, value in values.items()
        if (limit := getattr(limits, name)) is not None
    ]
