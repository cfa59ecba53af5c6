"""The newest snapshot, made once for all who ask at the same time.

It is read in one transaction. While nothing new is stored the same one serves for a few
seconds, so that its documents and their ETags stay the same. When the database does not
answer, states come from the file that the daemon writes beside it.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import structlog

from monitor.clock import Clock
from monitor.core.belief import Belief, Quiet, State
from monitor.core.instant import SECOND, Instant, Span
from monitor.core.outcome import Outcome
from monitor.core.path import Blind
from monitor.core.snapshot import (
    BLIND_TOLD,
    EndpointSnapshot,
    Heartbeat,
    Listing,
    Site,
    Snapshot,
    Story,
    standing,
)
from monitor.store import history
from monitor.store.engine import READ_S, Database, DatabaseAway
from monitor.store.history import Head, Moment
from monitor.web.aside import aside
from monitor.web.tiers import Tiers

log = structlog.get_logger()

FRESH_S = 1.0
"""A snapshot serves at least as long, whatever happens."""
SAME_FOR = Span(10 * SECOND)
"""And as long as this if nothing new was stored; windows roll no smoother than that."""
SAME_S = SAME_FOR / SECOND
PATIENCE_S = 1.0
"""A request waits no longer for a database where there is an older snapshot to show."""
AWAY_PATIENCE_S = 0.25
"""And no longer than this while the database is known to be away."""
FIRST_S = 2.0
"""The first request waits so long for windows that take their time."""
DEAR_FRESH_S = 2.0
"""One that took long serves as long as it took, up to this."""
INCIDENTS = 1_000
"""Incidents that are over, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What one transaction saw."""

    now: Instant
    heads: Mapping[str, Head]
    heartbeat: Heartbeat | None
    newest: Instant | None
    incidents: Sequence[Story]
    blind: Sequence[Blind] = ()

    @property
    def same_as(self) -> object:
        """Equal for two moments between which nothing was stored but heartbeats."""
        sequences = tuple(
            (head.number, head.belief and head.belief.sequence, head.last and head.last.probe_id)
            for head in self.heads.values()
        )
        return self.newest, sequences, len(self.incidents), tuple(self.blind)


class Snapshots:
    """Makes snapshots for one event loop. `status` is the daemon's own file."""

    def __init__(
        self,
        database: Database,
        *,
        site: Site,
        listings: Sequence[Listing],
        status: Path,
        clock: Clock,
        fresh_s: float = FRESH_S,
    ) -> None:
        self._database = database
        self._site = site
        self._listings = listings
        self._status = status
        self._clock = clock
        self._fresh_s = fresh_s
        self._tiers = Tiers(site, listings, clock)
        self._held: Snapshot | None = None
        self._held_of: object = None
        self._held_until = 0.0
        self._making: asyncio.Task[Snapshot] | None = None
        self._reading: asyncio.Task[Found] | None = None
        self._reading_since = 0.0
        self._was_away = False

    async def newest(self) -> Snapshot:
        """Never raises DatabaseAway: it says so itself."""
        if self._held is not None and self._clock.monotonic() < self._held_until:
            return self._held
        if self._making is None or self._making.done():
            self._making = asyncio.create_task(self._make())
        # Who asked first may go away; the others still wait for it.
        return await asyncio.shield(self._making)

    async def _make(self) -> Snapshot:
        began = self._clock.monotonic()
        try:
            snapshot = await self._from_database(began)
        except DatabaseAway as away:
            self._note_away(away)
            snapshot = await aside(self._without_database)
        ended = self._clock.monotonic()
        self._held = snapshot
        self._held_until = ended + max(self._fresh_s, min(ended - began, DEAR_FRESH_S))
        return snapshot

    # The database answers

    async def _from_database(self, began: float) -> Snapshot:
        """Raises DatabaseAway, also where the answer would come too late."""
        held = self._held
        reading = self._begin_to_read(began)
        patience = PATIENCE_S
        if held is None:
            patience = READ_S + 1
        elif held.database_away:
            patience = AWAY_PATIENCE_S
        await asyncio.wait((reading,), timeout=patience)
        if not reading.done():
            if held is not None and not held.database_away and self._clock.now() - held.now < SAME_FOR:
                return held
            raise DatabaseAway("it takes too long to answer")
        self._reading = None
        found = reading.result()
        self._note_back()
        if held is None:
            await self._first_windows()
        else:
            self._tiers.measure_beside(self._database)
        return self._renewed(found)

    def _begin_to_read(self, began: float) -> asyncio.Task[Found]:
        """One reads at a time; what was read long ago for somebody who left is of no use."""
        reading = self._reading
        if reading is not None and (not reading.done() or began - self._reading_since < SAME_S):
            return reading
        self._reading_since = began
        self._reading = asyncio.create_task(aside(self._read))
        return self._reading

    def _read(self) -> Found:
        now = self._clock.now()

        def work(moment: Moment) -> Found:
            heads = history.heads(moment)
            self._tiers.measure(moment, heads, now)
            return Found(
                now=now,
                heads=heads,
                heartbeat=history.heartbeat(moment),
                newest=history.newest_fact(moment, heads.values()),
                incidents=history.incidents(moment, INCIDENTS),
                blind=history.blind(moment, Instant(now - BLIND_TOLD)),
            )

        return self._database.read(work)

    async def _first_windows(self) -> None:
        thread = self._tiers.measure_beside(self._database)
        if thread is not None:
            await aside(lambda: thread.join(FIRST_S))

    def _renewed(self, found: Found) -> Snapshot:
        stale = found.heartbeat is None or found.heartbeat.stale(found.now)
        # Silence changes a state though nothing is stored.
        states = tuple(
            standing(head.belief, one.interval, found.now, stale=stale).state
            for one in self._listings
            if (head := found.heads.get(one.id)) is not None
        )
        held, same_as = self._held, (found.same_as, states, self._tiers.rounds)
        if (
            held is not None
            and same_as == self._held_of
            and held.stale == stale
            and not held.database_away
            and found.now - held.now < SAME_FOR
        ):
            return held
        self._held_of = same_as
        return Snapshot(
            site=self._site,
            now=found.now,
            generated_at=found.newest,
            stale=stale,
            heartbeat=found.heartbeat,
            endpoints=tuple(
                self._endpoint(one, found.heads.get(one.id), found.now, stale=stale) for one in self._listings
            ),
            incidents=tuple(found.incidents),
            blind=tuple(found.blind),
        )

    def _endpoint(
        self, listing: Listing, head: Head | None, now: Instant, *, stale: bool
    ) -> EndpointSnapshot:
        measured = self._tiers.of(listing.id, now)
        return EndpointSnapshot(
            listing=listing,
            standing=standing(None if head is None else head.belief, listing.interval, now, stale=stale),
            windows=measured.windows,
            unread=frozenset() if head is None else measured.unread,
            bars=measured.bars,
            hour=measured.hour,
            last_probe=None if head is None else head.last,
            headroom=None if head is None or head.belief is None else head.belief.headroom,
        )

    # It does not

    def _without_database(self) -> Snapshot:
        """What the daemon's own file says, and what was known before."""
        now, held = self._clock.now(), self._held
        document = _document(self._status)
        beliefs = _beliefs(document)
        heartbeat = _heartbeat(document) or (None if held is None else held.heartbeat)
        stale = heartbeat is None or heartbeat.stale(now)
        heard = [belief.classified for belief in beliefs.values() if belief.classified]
        if held is not None and held.generated_at is not None:
            heard.append(held.generated_at)
        endpoints = []
        for listing in self._listings:
            before = None if held is None else held.endpoint(listing.id)
            measured = self._tiers.of(listing.id, now)
            endpoints.append(
                EndpointSnapshot(
                    listing=listing,
                    standing=standing(beliefs.get(listing.id), listing.interval, now, stale=stale),
                    windows=measured.windows,
                    unread=measured.unread,
                    bars=measured.bars,
                    hour=measured.hour,
                    last_probe=None if before is None else before.last_probe,
                    headroom=None if before is None else before.headroom,
                )
            )
        return Snapshot(
            site=self._site,
            now=now,
            generated_at=max(heard, default=None),
            stale=stale,
            database_away=True,
            heartbeat=heartbeat,
            endpoints=tuple(endpoints),
            incidents=() if held is None else held.incidents,
            blind=() if held is None else held.blind,
        )

    def _note_away(self, away: DatabaseAway) -> None:
        if not self._was_away:
            log.warning("page.database_away", reason=str(away))
        self._was_away = True

    def _note_back(self) -> None:
        if self._was_away:
            log.info("page.database_back")
        self._was_away = False


def _document(path: Path) -> Mapping[str, Any]:
    """The daemon's own file; empty where there is none that can be read."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _heartbeat(document: Mapping[str, Any]) -> Heartbeat | None:
    beat_at, daemon = document.get("at"), document.get("daemon")
    if not isinstance(beat_at, int):
        return None
    status, stopped_at = daemon if isinstance(daemon, dict) else {}, document.get("stopped_at")
    return Heartbeat(
        beat_at=Instant(beat_at),
        stopped_at=Instant(stopped_at) if isinstance(stopped_at, int) else None,
        version=status.get("version"),
        status=status,
    )


def _beliefs(document: Mapping[str, Any]) -> dict[str, Belief]:
    found = document.get("endpoints")
    if not isinstance(found, dict):
        return {}
    return {id_: belief for id_, said in found.items() if (belief := _belief_or_none(id_, said)) is not None}


def _belief_or_none(id_: str, said: Any) -> Belief | None:
    """None where a daemon of another version says it in a way that we do not know."""
    try:
        return _belief(id_, said)
    except (KeyError, TypeError, ValueError):
        return None


def _belief(id_: str, said: Mapping[str, Any]) -> Belief:
    shown, since = said["state"], Instant(int(said["since"]))
    outcome = said.get("outcome")
    belief = Belief(
        endpoint=id_,
        since=since,
        reason=said["reason"],
        classified=Instant(int(said["classified"])),
        last_outcome=None if outcome is None else Outcome(outcome),
        last_detail=said.get("detail"),
    )
    if shown in set(Quiet):
        return replace(belief, quiet={Quiet(shown): since})
    return replace(belief, state=State(shown))
