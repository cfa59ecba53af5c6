"""What the database says, as `status`, `report` and `incidents` tell it."""

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from monitor import clock
from monitor.cli import loading, printing
from monitor.cli.printing import Ink
from monitor.config.settings import Config
from monitor.core import overload
from monitor.core.identity import Event
from monitor.core.instant import Instant, say
from monitor.core.path import Blind
from monitor.core.snapshot import (
    BLIND_TOLD,
    EndpointSnapshot,
    Heartbeat,
    Listing,
    Snapshot,
    Story,
    heard,
    standing,
)
from monitor.core.uptime import Record, Window, window
from monitor.store import history
from monitor.store.engine import Database
from monitor.store.history import Head
from monitor.store.prune import RAW_KEPT
from monitor.store.spending import Spending, spending
from monitor.web.listings import listings, site

MANY_S = 60.0
"""Limit for the results of one endpoint in a long window."""
_INCIDENTS = 100
_EVENTS = 5
_QUIET_S = 0.5


@dataclass(frozen=True, slots=True)
class Recorded:
    """One reading of the database."""

    snapshot: Snapshot
    spending: dict[str, Spending]
    """By endpoint, in the longest window that was asked for; without those never probed."""
    events: Sequence[Event] = ()
    """The newest ones of the endpoint that was asked for; none where that was all of them."""


def read(config: Config, only: str | None, windows: Sequence[Window]) -> Recorded:
    """The present state of all endpoints, or of one, with those windows. Raises Failure (exit 1)."""
    now = clock.now()
    wanted = [one for one in listings(config) if only in (None, one.id)]
    with loading.database(config) as database:
        heads, heartbeat, newest, stories, blind = database.read(
            lambda moment: (
                (heads := history.heads(moment)),
                history.heartbeat(moment),
                history.newest_fact(moment, heads.values()),
                history.incidents(moment, _INCIDENTS),
                history.blind(moment, Instant(now - BLIND_TOLD)),
            )
        )
        stale = heartbeat is None or heartbeat.stale(now)
        endpoints, spent = [], {}
        for listing, head in progressing([(one, heads.get(one.id)) for one in wanted]):
            record, used = _record(database, listing, head, windows, now)
            endpoints.append(_endpoint(listing, head, record, windows, now, stale=stale))
            if used is not None:
                spent[listing.id] = used
        head = None if only is None else heads.get(only)
        events = [] if head is None else _events(database, head.number)
    snapshot = Snapshot(
        site=site(config),
        now=now,
        generated_at=newest,
        stale=stale,
        heartbeat=heartbeat,
        endpoints=tuple(endpoints),
        incidents=tuple(stories),
        blind=tuple(blind),
    )
    return Recorded(snapshot, spent, events)


def _record(
    database: Database, listing: Listing, head: Head | None, windows: Sequence[Window], now: Instant
) -> tuple[Record, Spending | None]:
    if head is None or not windows:
        return Record(), None
    since = min(which.start(now, RAW_KEPT) for which in windows)

    def work(moment: history.Moment) -> tuple[Record, Spending]:
        record = history.record(moment, head.number, listing.id, since)
        return record, spending(moment, head.number, since)

    return database.read(work, MANY_S)


def _events(database: Database, number: int) -> list[Event]:
    return database.read(lambda moment: history.events(moment, number, _EVENTS))


def _endpoint(
    listing: Listing,
    head: Head | None,
    record: Record,
    windows: Sequence[Window],
    now: Instant,
    *,
    stale: bool,
) -> EndpointSnapshot:
    belief = None if head is None else head.belief
    complete = heard(record, belief, listing.interval, now)
    return EndpointSnapshot(
        listing=listing,
        standing=standing(belief, listing.interval, now, stale=stale),
        windows={which: window(which, complete, now, RAW_KEPT) for which in windows},
        last_probe=None if head is None else head.last,
        headroom=None if belief is None else belief.headroom,
    )


def stories(config: Config, limit: int) -> tuple[list[Story], Heartbeat | None]:
    """All open incidents and the newest others, newest first. Raises Failure (exit 1)."""
    with loading.database(config) as database:
        return database.read(lambda moment: (history.incidents(moment, limit), history.heartbeat(moment)))


def print_if_stale(heartbeat: Heartbeat | None, now: Instant, blind: Blind | None = None) -> None:
    """Nobody vouches for what follows, or the monitor cannot see: say so first."""
    words = _why_stale(heartbeat, now)
    if words is None and blind is not None:
        words = f"{blind.reason}, for {say(max(0, now - blind.started))}."
    if words is not None:
        printing.line(Ink(words, "bold yellow"))
        printing.line()


def _why_stale(heartbeat: Heartbeat | None, now: Instant) -> str | None:
    if heartbeat is None:
        return "No daemon has run on this database yet: `uptoken run` starts one."
    if heartbeat.stopped_at is not None:
        return f"The daemon is not running: it was stopped {say(max(0, now - heartbeat.stopped_at))} ago."
    if heartbeat.stale(now):
        return f"The daemon gives no sign of life: its last one is {say(now - heartbeat.beat_at)} old."
    busy = overload.warning(heartbeat.status)
    if busy is not None:
        return f"This machine is too busy to time well. {busy}"
    strained = heartbeat.status.get("overload")
    return f"This machine is overloaded: {strained}." if strained else None


def print_in_passing(heartbeat: Heartbeat | None, now: Instant) -> None:
    """How well the daemon keeps up, on a quiet line; nothing where nobody vouches for it."""
    if heartbeat is None or heartbeat.stopped_at is not None or heartbeat.stale(now):
        return
    load = overload.from_status(heartbeat.status)
    words = None if load is None else overload.in_passing(load)
    if words:
        printing.line()
        printing.line(Ink(f"This monitor, last 10 min: {words}.", "dim"))


def progressing(work: "Sequence[tuple[Listing, Head | None]]") -> "Iterator[tuple[Listing, Head | None]]":
    """The same one after another, and how far it is for whoever has to wait."""
    quiet_until = time.monotonic() + _QUIET_S
    words = ""
    for place, item in enumerate(work, 1):
        if sys.stderr.isatty() and time.monotonic() > quiet_until:
            words = f"Reading {place} of {len(work)} ..."
            print(words, end="\r", flush=True, file=sys.stderr)
        yield item
    if words:
        print(" " * len(words), end="\r", flush=True, file=sys.stderr)
