"""The figures of a window: what share worked, how fast, how long it was down.

Everything here is computed from stored rows and a given now. Counts are integers and time is
whole microseconds, so the parts of a window always add up to it. What is not known is None;
it is never 0 and never 100.
"""

import enum
import math
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from itertools import pairwise
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from monitor.core import slots
from monitor.core.histogram import Histogram
from monitor.core.instant import DAY, HOUR, MINUTE, SECOND, Instant, Span, as_datetime, instant
from monitor.core.integrity import Flaw, Integrity
from monitor.core.outcome import Blame
from monitor.core.slots import Segment

if TYPE_CHECKING:  # belief judges its rules by `percentile`, so it cannot be imported from here
    from monitor.core.belief import State

# Stored rows, as far as a window needs them


class Result(NamedTuple):
    """One stored probe. Milliseconds and tokens a second; None where there was no such event."""

    slot: Instant
    blame: Blame | None
    scheduled: bool = True
    """False: a confirmation."""
    quiet: bool = False
    """Taken under maintenance."""
    ttft_ms: float | None = None
    ttft_net_ms: float | None = None
    ttfat_ms: float | None = None
    output_speed: float | None = None
    effective_throughput: float | None = None
    max_stall_ms: float | None = None
    total_ms: float | None = None
    flaws: frozenset[Flaw] | None = None
    """Of its stream; None: there was none."""


class Turn(NamedTuple):
    """A transition: the state that holds from `effective_at` on."""

    effective_at: Instant
    state: "State"


class Stretch(NamedTuple):
    """A maintenance, a pause or an incident; `end` is None while it lasts."""

    start: Instant
    end: Instant | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What is stored of one endpoint."""

    results: Sequence[Result] = ()
    """In any order; those outside a window are passed over."""
    turns: Sequence[Turn] = ()
    """In the order in which they were decided; from the one that held at the window's start."""
    quiet: Sequence[Stretch] = ()
    """Maintenance and pauses, in any order; they may overlap."""
    incidents: Sequence[Stretch] = ()
    schedule: Sequence[Segment] = ()
    """All that ever was in force, from the endpoint's first slot on."""


# Shares


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Scheduled probes by blame; `ok` has none."""

    ok: int = 0
    degraded: int = 0
    provider: int = 0
    throttled: int = 0
    config: int = 0
    monitor: int = 0

    @classmethod
    def of(cls, blames: Iterable[Blame | None]) -> "Counts":
        found = Counter(blames)
        return cls(ok=found[None], **{blame.value: found[blame] for blame in Blame})

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            ok=self.ok + other.ok,
            degraded=self.degraded + other.degraded,
            provider=self.provider + other.provider,
            throttled=self.throttled + other.throttled,
            config=self.config + other.config,
            monitor=self.monitor + other.monitor,
        )

    @property
    def working(self) -> int:
        return self.ok + self.degraded

    @property
    def total(self) -> int:
        return self.working + self.provider + self.throttled + self.config + self.monitor


def floor_percent(part: int, whole: int) -> float | None:
    """100 × part / whole, cut to two decimals: 100.0 means all of it. None of nothing."""
    return 10_000 * part // whole / 100 if whole else None


def uptime(counts: Counts) -> float | None:
    """Percent of the probes that told something about the provider and worked."""
    return floor_percent(counts.working, counts.working + counts.provider)


def strict_uptime(counts: Counts) -> float | None:
    """As `uptime`, but being throttled is a failure, too."""
    return floor_percent(counts.working, counts.working + counts.provider + counts.throttled)


def coverage(counts: Counts, due: int) -> float | None:
    """Percent of the due slots in which we learnt something about the provider."""
    return floor_percent(counts.working + counts.provider + counts.throttled, due)


# Distributions


class Metric(enum.StrEnum):
    """A figure of one probe that has a distribution over many."""

    TTFT_MS = "ttft_ms"
    TTFT_NET_MS = "ttft_net_ms"
    TTFAT_MS = "ttfat_ms"
    OUTPUT_SPEED = "output_speed"
    EFFECTIVE_THROUGHPUT = "effective_throughput"
    E2E_500_MS = "e2e_500_ms"
    TOTAL_MS = "total_ms"
    MAX_STALL_MS = "max_stall_ms"

    @property
    def is_speed(self) -> bool:
        """More is better, so the slow tail is the low one."""
        return self in (Metric.OUTPUT_SPEED, Metric.EFFECTIVE_THROUGHPUT)

    def values(self, results: Iterable[Result]) -> list[float]:
        """The figure of each result that has it."""
        read = _e2e_500_ms if self is Metric.E2E_500_MS else attrgetter(self.value)
        return [value for value in map(read, results) if value is not None]


def _e2e_500_ms(result: Result) -> float | None:
    """It is not stored, because it follows from what is: `ttft_ms` cancels itself out."""
    if result.ttft_ms is None or result.ttfat_ms is None or not result.output_speed:
        return None
    return result.ttfat_ms + 500 * 1000 / result.output_speed


class Method(enum.StrEnum):
    """Where percentiles came from: each single result, or buckets of 1 % error."""

    RAW = "raw"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """Of `n` values; everything else is None where there are none, and `p5` unless of a speed."""

    n: int = 0
    min: float | None = None
    avg: float | None = None
    max: float | None = None
    p5: float | None = None
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    method: Method = Method.RAW


EMPTY = Distribution()


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value below which a share (0 to 1) of `ordered` lies, linear between two ranks.

    `ordered` ascends and holds at least one value.
    """
    rank = share * (len(ordered) - 1)
    below = math.floor(rank)
    low, high = ordered[below], ordered[math.ceil(rank)]
    return min(low + (rank - below) * (high - low), high)


def exact(values: Iterable[float], metric: Metric) -> Distribution:
    """The distribution of values that are all at hand."""
    ordered = sorted(values)
    if not ordered:
        return EMPTY
    return Distribution(
        n=len(ordered),
        min=ordered[0],
        avg=math.fsum(ordered) / len(ordered),
        max=ordered[-1],
        p5=percentile(ordered, 0.05) if metric.is_speed else None,
        p50=percentile(ordered, 0.50),
        p95=percentile(ordered, 0.95),
        p99=percentile(ordered, 0.99),
        method=Method.RAW,
    )


def estimated(histogram: Histogram, metric: Metric) -> Distribution:
    """The distribution of values of which only a histogram is left: percentiles within 1 %."""
    return Distribution(
        n=histogram.n,
        min=histogram.min,
        avg=histogram.sum / histogram.n if histogram.n else None,
        max=histogram.max,
        p5=histogram.quantile(0.05) if metric.is_speed else None,
        p50=histogram.quantile(0.50),
        p95=histogram.quantile(0.95),
        p99=histogram.quantile(0.99),
        method=Method.HISTOGRAM,
    )


def distribution(results: Iterable[Result], metric: Metric, method: Method) -> Distribution:
    """Of the working ones among `results`."""
    values = metric.values(result for result in results if result.blame in (None, Blame.DEGRADED))
    return exact(values, metric) if method is Method.RAW else estimated(Histogram.of(values), metric)


# Time


@dataclass(frozen=True, slots=True, kw_only=True)
class StateTime:
    """How long each state held, in microseconds; `quiet` is what lay under maintenance or pause."""

    up: int = 0
    degraded: int = 0
    down: int = 0
    unknown: int = 0
    quiet: int = 0

    @property
    def total(self) -> int:
        return self.up + self.degraded + self.down + self.unknown + self.quiet

    @property
    def worst(self) -> str:
        """The name of the worst known state that held at all; empty if none did."""
        return next((name for name in ("down", "degraded", "up") if getattr(self, name)), "")


def time_in_states(
    turns: Sequence[Turn],
    quiet: Iterable[Stretch],
    *,
    since: Instant | None,
    start: Instant,
    end: Instant,
    now: Instant,
) -> StateTime:
    """How long each state held from `start` up to `end`, as far as that is past.

    `since` is the endpoint's first slot: from there up to the first transition nothing is
    known, and before it there is nothing to know (None: there was no slot yet). A later
    transition overrides the earlier ones from its `effective_at` on.
    """
    end = min(end, now)
    loud = list(_outside(quiet, start, end))
    lengths = dict.fromkeys(("up", "degraded", "down", "unknown", "quiet"), 0)
    for begin, stop, name in _course(turns, since, start, end):
        told = sum(max(0, min(stop, high) - max(begin, low)) for low, high in loud)
        lengths[name] += told
        lengths["quiet"] += stop - begin - told
    return StateTime(**lengths)


def _course(
    turns: Iterable[Turn], since: Instant | None, start: int, end: int
) -> Iterator[tuple[int, int, str]]:
    """The states' names one after another, each with the part of start..end in which it held."""
    steps: list[tuple[int, str]] = []
    for turn in turns:
        while steps and steps[-1][0] >= turn.effective_at:
            steps.pop()
        steps.append((turn.effective_at, turn.state.value))
    if since is not None and (not steps or since < steps[0][0]):
        steps.insert(0, (since, "unknown"))
    for (begin, name), (stop, _) in pairwise([*steps, (end, "")]):
        if max(begin, start) < min(stop, end):
            yield max(begin, start), min(stop, end), name


def _outside(quiet: Iterable[Stretch], start: int, end: int) -> Iterator[tuple[int, int]]:
    """The parts of start..end outside all of `quiet`, in order."""
    for stretch in sorted(quiet, key=_begin):
        if start < min(stretch.start, end):
            yield start, min(stretch.start, end)
        start = max(start, end if stretch.end is None else stretch.end)
    if start < end:
        yield start, end


def _begin(stretch: Stretch) -> Instant:
    return stretch.start


@dataclass(frozen=True, slots=True)
class Incidents:
    """`mttr_s` is the mean length of those that ended in the window; None without one."""

    count: int
    mttr_s: float | None


def incidents_in(incidents: Iterable[Stretch], start: Instant, end: Instant) -> Incidents:
    """The incidents that touch start..end. One that ended at `start` belongs to what was before."""
    touching = [
        incident
        for incident in incidents
        if incident.start < end and (incident.end is None or incident.end > start)
    ]
    lasted = [stop - begin for begin, stop in touching if stop is not None and stop <= end]
    return Incidents(len(touching), sum(lasted) / len(lasted) / SECOND if lasted else None)


# Slots


def first_slot(schedule: Iterable[Segment]) -> Instant | None:
    """The first slot that an endpoint ever had; None if there was none yet."""
    firsts = [(segment.grid.next(Instant(segment.starts - 1)), segment.ends) for segment in schedule]
    return min((slot for slot, ends in firsts if ends is None or slot < ends), default=None)


def _due(record: Record, counts: Counts, start: Instant, now: Instant) -> int:
    """The slots from `start` on that have a result, or should have one by now."""
    longest = max((segment.timeout for segment in record.schedule), default=0)
    settled = [result.slot for result in record.results if result.slot >= now - longest and result.scheduled]
    # A probe that ends just after its maintenance is counted, though its slot is not due.
    return max(counts.total, slots.due(record.schedule, record.quiet, start, now, settled))


# Windows


class Window(enum.StrEnum):
    """The windows that have a name."""

    M5 = "5m"
    M30 = "30m"
    H1 = "1h"
    H24 = "24h"
    D1 = "1d"
    D7 = "7d"
    D30 = "30d"
    D90 = "90d"

    @property
    def span(self) -> Span:
        return Span(int(self.value[:-1]) * _UNITS[self.value[-1]])

    @property
    def method(self) -> Method:
        return Method.RAW if self.span <= DAY else Method.HISTOGRAM

    def start(self, now: Instant, raw_kept: Span) -> Instant:
        """Exactly its span ago; at the full hour (UTC) if raw results are not kept for as long."""
        start = now - self.span
        return Instant(start if self.span <= raw_kept else start - start % HOUR)


_UNITS: Mapping[str, Span] = {"m": MINUTE, "h": HOUR, "d": DAY}

PUBLISHED = (Window.H1, Window.H24, Window.D7, Window.D30, Window.D90)
"""The windows of a snapshot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowFigures:
    """What the snapshot says of a window. Percentages 0 to 100, seconds; None is unknown."""

    start: Instant
    """Published as `from`."""
    uptime: float | None
    strict_uptime: float | None
    coverage: float | None
    due: int
    counts: Counts
    down_s: float
    degraded_s: float
    unknown_s: float
    incidents: int
    mttr_s: float | None
    ttft_ms: Distribution
    ttft_net_ms: Distribution
    ttfat_ms: Distribution
    output_speed: Distribution
    effective_throughput: Distribution
    e2e_500_ms: Distribution
    total_ms: Distribution
    integrity: Integrity


def window(which: Window, record: Record, now: Instant, raw_kept: Span) -> WindowFigures:
    """The figures of the rolling window that ends now."""
    start = which.start(now, raw_kept)
    results = counted(record.results, start, now)
    counts = Counts.of(result.blame for result in results)
    due = _due(record, counts, start, now)
    since = first_slot(record.schedule)
    time = time_in_states(record.turns, record.quiet, since=since, start=start, end=now, now=now)
    incidents = incidents_in(record.incidents, start, now)
    return WindowFigures(
        start=start,
        uptime=uptime(counts),
        strict_uptime=strict_uptime(counts),
        coverage=coverage(counts, due),
        due=due,
        counts=counts,
        integrity=Integrity.of(result.flaws for result in results),
        down_s=time.down / SECOND,
        degraded_s=time.degraded / SECOND,
        unknown_s=time.unknown / SECOND,
        incidents=incidents.count,
        mttr_s=incidents.mttr_s,
        **{
            metric.value: distribution(results, metric, which.method)
            for metric in Metric
            if metric is not Metric.MAX_STALL_MS
        },
    )


def counted(results: Iterable[Result], start: Instant, end: Instant) -> list[Result]:
    """Those that a window from `start` up to `end` counts: scheduled, and not under maintenance."""
    return [
        result for result in results if start <= result.slot < end and result.scheduled and not result.quiet
    ]


# The page's bars and lines


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One local day, as far as it is past."""

    day: date
    start: Instant
    end: Instant
    """Midnight to midnight, so 23 to 25 hours."""
    counts: Counts
    uptime: float | None
    time: StateTime
    worst: "State | None"
    """`up`, `degraded` or `down`; None if none of them held: unknown, quiet or no data."""


def bars(record: Record, days: int, timezone: tzinfo, now: Instant) -> list[Bar]:
    """The last `days` days of that time zone, today last."""
    today = as_datetime(now).astimezone(timezone).date()
    dates = [today - timedelta(days=back) for back in range(days - 1, -2, -1)]
    edges = [instant(datetime(day.year, day.month, day.day, tzinfo=timezone)) for day in dates]
    by_day: list[list[Blame | None]] = [[] for _ in range(days)]
    for result in counted(record.results, edges[0], edges[-1]):
        by_day[bisect_right(edges, result.slot) - 1].append(result.blame)
    since = first_slot(record.schedule)
    states = {turn.state.value: turn.state for turn in record.turns}
    out = []
    for day, (start, end), blames in zip(dates, pairwise(edges), by_day, strict=False):
        counts = Counts.of(blames)
        time = time_in_states(record.turns, record.quiet, since=since, start=start, end=end, now=now)
        out.append(
            Bar(
                day=day,
                start=start,
                end=end,
                counts=counts,
                uptime=uptime(counts),
                time=time,
                worst=states.get(time.worst),
            )
        )
    return out


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """One step of a series; without probes its counts are 0 and its distribution is empty."""

    start: Instant
    counts: Counts
    distribution: Distribution


def series(
    results: Iterable[Result], metric: Metric, which: Window, *, step: Span, now: Instant, raw_kept: Span
) -> list[Bucket]:
    """The window in buckets, oldest first; together they hold just what the window counts.

    Buckets begin at multiples of `step` since 1970 (UTC), so they stand still while the
    window rolls; the first and the last are cut by the window. Raises ValueError if `step`
    is not positive.
    """
    if step <= 0:
        raise ValueError("a step is longer than nothing")
    start = which.start(now, raw_kept)
    places: defaultdict[int, list[Result]] = defaultdict(list)
    for result in counted(results, start, now):
        places[result.slot // step].append(result)
    return [
        Bucket(
            start=Instant(place * step),
            counts=Counts.of(result.blame for result in places.get(place, ())),
            distribution=distribution(places.get(place, ()), metric, which.method),
        )
        for place in range(start // step, (now - 1) // step + 1)
    ]
