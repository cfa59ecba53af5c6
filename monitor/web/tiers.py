"""The figures of windows, computed as often as they are cheap.

They are made of raw results: a few milliseconds for an hour, a second or so for 90 days of
one endpoint. So each tier of windows rests nine times as long as it took, and one that takes
long is computed beside the requests, which get what was found last.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from monitor.clock import Clock
from monitor.core.instant import DAY, MINUTE, Instant
from monitor.core.snapshot import Listing, Site, Spell, heard, nothing_known, spells
from monitor.core.uptime import PUBLISHED, Bar, Record, Window, WindowFigures, bars, window
from monitor.store import history
from monitor.store.engine import Database, DatabaseAway
from monitor.store.history import Head, Moment
from monitor.store.prune import RAW_KEPT

log = structlog.get_logger()

RESTS = 9
"""Times as long as it took: a tenth of one processor at most."""
CHEAP_S = 0.25
"""What takes no longer is computed while the request waits."""
FEW_PROBES, FEW_ENDPOINTS = 20_000, 200
"""Of so few, anything is cheap."""
READ_S = 30.0
"""Limit for the raw results of one endpoint."""
AFTER_FAILURE_S = 5.0
BAR_DAYS = 90
HOUR_BARS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one tier says of one endpoint."""

    windows: Mapping[Window, WindowFigures]
    unread: frozenset[Window] = frozenset()
    bars: Sequence[Bar] = ()
    hour: Sequence[Spell] = ()


@dataclass(slots=True, kw_only=True)
class Tier:
    """Windows that are computed together."""

    windows: tuple[Window, ...]
    with_bars: bool = False
    with_hour: bool = False
    found: dict[str, Measured] = field(default_factory=dict)
    """By endpoint."""
    took_s: float | None = None
    """None: it was never computed."""
    due: float = 0.0
    """Not before this moment of the monotonic clock."""
    running: bool = False

    @property
    def was_cheap(self) -> bool:
        return self.took_s is not None and self.took_s <= CHEAP_S

    def since(self, now: Instant) -> Instant:
        """The start of the oldest result that is needed."""
        longest = max(which.span for which in self.windows)
        # The oldest bar begins at a midnight, up to a day before the longest window.
        return Instant(now - longest - (2 * DAY if self.with_bars else 0))

    def rest(self, took_s: float, ended: float) -> None:
        self.took_s = took_s
        self.due = ended + RESTS * took_s


class Tiers:
    """All windows of all endpoints. Used by one thread at a time, but for its own background."""

    def __init__(self, site: Site, listings: Sequence[Listing], clock: Clock) -> None:
        self._site = site
        self._listings = listings
        self._clock = clock
        self._tiers = (
            Tier(windows=(Window.H1,), with_hour=True),
            Tier(windows=(Window.H24,)),
            Tier(windows=(Window.D7, Window.D30, Window.D90), with_bars=True),
        )
        self._rounds = 0

    def measure(self, moment: Moment, heads: Mapping[str, Head], now: Instant) -> None:
        """Compute what is due and cheap, in this transaction."""
        for tier in self._tiers:
            if self._is_due(tier) and self._is_cheap(tier, moment):
                began = self._clock.monotonic()
                for listing in self._listings:
                    if listing.id in heads:
                        tier.found[listing.id] = self._one(tier, listing, moment, heads[listing.id], now)
                ended = self._clock.monotonic()
                tier.rest(ended - began, ended)

    def measure_beside(self, database: Database) -> threading.Thread | None:
        """Begin with what is due and dear, one after the other; the thread that now works.

        None if there is nothing to do, or if one works already: two would only be in the way of
        each other and of the requests.
        """
        if any(tier.running for tier in self._tiers):
            return None
        dear = [tier for tier in self._tiers if self._is_due(tier) and not tier.was_cheap]
        if not dear:
            return None
        for tier in dear:
            tier.running = True
        thread = threading.Thread(target=self._all_beside, args=(dear, database), name="windows", daemon=True)
        thread.start()
        return thread

    def of(self, endpoint: str, now: Instant) -> Measured:
        """All published windows of an endpoint; nothing known in those that are not there yet."""
        windows: dict[Window, WindowFigures] = {}
        days: Sequence[Bar] = ()
        hour: Sequence[Spell] = ()
        for tier in self._tiers:
            measured = tier.found.get(endpoint)
            if measured is not None:
                windows |= measured.windows
                days = measured.bars or days
                hour = measured.hour or hour
        return Measured(
            windows={which: windows.get(which) or nothing_known(which, now, RAW_KEPT) for which in PUBLISHED},
            unread=frozenset(PUBLISHED) - windows.keys(),
            bars=days,
            hour=hour,
        )

    @property
    def rounds(self) -> int:
        """Grows when what is computed beside the requests has something new."""
        return self._rounds

    def _is_due(self, tier: Tier) -> bool:
        return not tier.running and self._clock.monotonic() >= tier.due

    def _is_cheap(self, tier: Tier, moment: Moment) -> bool:
        if tier.took_s is None:
            return len(self._listings) <= FEW_ENDPOINTS and not history.more_probes_than(moment, FEW_PROBES)
        return tier.was_cheap

    def _one(self, tier: Tier, listing: Listing, moment: Moment, head: Head, now: Instant) -> Measured:
        record = history.record(moment, head.number, listing.id, tier.since(now))
        return self._figures(tier, heard(record, head.belief, listing.interval, now), now)

    def _figures(self, tier: Tier, record: Record, now: Instant) -> Measured:
        return Measured(
            windows={which: window(which, record, now, RAW_KEPT) for which in tier.windows},
            bars=bars(record, BAR_DAYS, self._site.timezone, now) if tier.with_bars else (),
            hour=spells(record, HOUR_BARS, MINUTE, now) if tier.with_hour else (),
        )

    def _all_beside(self, tiers: Sequence[Tier], database: Database) -> None:
        for tier in tiers:
            self._beside(tier, database)

    def _beside(self, tier: Tier, database: Database) -> None:
        began = self._clock.monotonic()
        try:
            for listing in self._listings:
                self._one_beside(tier, listing, database)
        except DatabaseAway:
            tier.due = self._clock.monotonic() + AFTER_FAILURE_S
        else:
            ended = self._clock.monotonic()
            tier.rest(ended - began, ended)
        finally:
            tier.running = False
            self._rounds += 1

    def _one_beside(self, tier: Tier, listing: Listing, database: Database) -> None:
        now = self._clock.now()

        def work(moment: Moment) -> Record | None:
            number = history.number(moment, listing.id)
            if number is None:
                return None
            record = history.record(moment, number, listing.id, tier.since(now))
            return heard(record, history.belief(moment, number), listing.interval, now)

        record = database.read(work, READ_S)
        if record is not None:
            is_first = listing.id not in tier.found
            tier.found[listing.id] = self._figures(tier, record, now)
            self._rounds += is_first
