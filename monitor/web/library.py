"""What the routes ask for: the newest snapshot, and rows that are not in it."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from monitor.clock import SYSTEM, Clock
from monitor.core.evidence import Evidence
from monitor.core.identity import Event, public_event
from monitor.core.instant import MINUTE, Span
from monitor.core.snapshot import (
    EndpointSnapshot,
    Listing,
    Site,
    Snapshot,
    Story,
    public_probe,
    public_story,
)
from monitor.core.step import Result
from monitor.core.timeline import Phases
from monitor.core.uptime import Bucket, Metric, Window, series
from monitor.store import history
from monitor.store.engine import READ_S, Database
from monitor.store.history import Moment
from monitor.store.prune import RAW_KEPT
from monitor.web.aside import aside
from monitor.web.asked import Refusal, Series
from monitor.web.snapshots import FRESH_S, Snapshots

T = TypeVar("T")

READERS = 4
"""Reads at once beside that of the snapshot; whoever comes beyond them waits."""
WAIT_S = 5.0
LAST_LOOKS = 40
LAST_INCIDENTS = 10
LAST_EVENTS = 10
CHART_STEP = Span(30 * MINUTE)

Looks = Sequence[tuple[Result, Phases | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Detail:
    """What the page of one endpoint shows beside its snapshot."""

    probes: Looks = ()
    evidence: Collection[str] = ()
    """The ids of those probes of which there is some; none for everybody."""
    series: Mapping[Metric, Sequence[Bucket]]
    incidents: Sequence[Story] = ()
    events: Sequence[Event] = ()


class Library:
    """One for each process; both addresses read from it."""

    def __init__(
        self,
        database: Database,
        *,
        site: Site,
        listings: Sequence[Listing],
        status: Path,
        clock: Clock = SYSTEM,
        fresh_s: float = FRESH_S,
    ) -> None:
        self._database = database
        self._snapshots = Snapshots(
            database, site=site, listings=listings, status=status, clock=clock, fresh_s=fresh_s
        )
        self._clock = clock
        self._public_ids = {listing.id for listing in listings if listing.public}
        self._room = asyncio.Semaphore(READERS)
        self._public: tuple[Snapshot, Snapshot] | None = None

    async def snapshot(self, *, public: bool) -> Snapshot:
        snapshot = await self._snapshots.newest()
        if not public:
            return snapshot
        if self._public is None or self._public[0] is not snapshot:
            self._public = snapshot, snapshot.public()
        return self._public[1]

    async def probes(
        self, endpoint: str, limit: int, before: str | None, *, public: bool
    ) -> tuple[Looks, str | None, Collection[str] | None]:
        """A page of an endpoint's probes, newest first; where the next one begins; and of which of
        them there is evidence, which everybody is not told (None).

        Raises DatabaseAway or Refusal, as everything below.
        """

        def work(moment: Moment) -> tuple[list[Result], Collection[str]]:
            number = history.number(moment, endpoint)
            if number is None:
                return [], ()
            found = history.probes(moment, number, endpoint, limit + 1, before=before)
            return found, () if public else history.with_evidence(moment, number, found)

        found, evidence = await self._read(work)
        following = found[limit - 1].probe_id if len(found) > limit else None
        return _looks(found[:limit], public=public), following, None if public else evidence

    async def evidence(self, endpoint: str, probe: str | None) -> Evidence | None:
        """Of that probe, or of the newest failure; None: there is none. Not for everybody."""

        def work(moment: Moment) -> list[Evidence]:
            number = history.number(moment, endpoint)
            return [] if number is None else history.evidence(moment, number, 1, probe=probe)

        return next(iter(await self._read(work)), None)

    async def events(
        self, endpoint: str, limit: int, before: str | None, *, public: bool
    ) -> tuple[Sequence[Event], str | None]:
        """A page of an endpoint's events, newest first, and where the next one begins."""

        def work(moment: Moment) -> list[Event]:
            number = history.number(moment, endpoint)
            return [] if number is None else history.events(moment, number, limit + 1, before=before)

        found = await self._read(work)
        following = found[limit - 1].id if len(found) > limit else None
        return _events(found[:limit], public=public), following

    async def series(self, endpoint: str, asked: Series) -> list[Bucket]:
        now = self._clock.now()
        start = asked.window.start(now, RAW_KEPT)

        def work(moment: Moment) -> list[Bucket]:
            number = history.number(moment, endpoint)
            results = [] if number is None else history.results(moment, number, start)
            return series(results, asked.metric, asked.window, step=asked.step, now=now, raw_kept=RAW_KEPT)

        return await self._read(work)

    async def detail(self, snapshot: Snapshot, one: EndpointSnapshot, *, public: bool) -> Detail:
        """As of the moment of the snapshot, so that a page does not mix two."""
        metrics = (Metric.TTFT_MS, Metric.OUTPUT_SPEED) if one.listing.model else (Metric.TOTAL_MS,)
        last = one.last_probe
        if last is None:
            return Detail(series={})

        def work(moment: Moment) -> Detail:
            number = history.number(moment, one.id)
            assert number is not None
            start = Window.H24.start(snapshot.now, RAW_KEPT)
            results = history.results(moment, number, start)
            probes = history.probes(moment, number, one.id, LAST_LOOKS, upto=last.probe_id)
            stories = history.incidents_of(moment, number, LAST_INCIDENTS)
            return Detail(
                probes=_looks(probes, public=public),
                evidence=() if public else history.with_evidence(moment, number, probes),
                series={
                    metric: series(
                        results, metric, Window.H24, step=CHART_STEP, now=snapshot.now, raw_kept=RAW_KEPT
                    )
                    for metric in metrics
                },
                incidents=self._visible(stories, public=public),
                events=_events(history.events(moment, number, LAST_EVENTS), public=public),
            )

        return await self._read(work)

    async def incident(self, id_: str, *, public: bool) -> Story | None:
        story = await self._read(lambda moment: history.incident(moment, id_))
        return next(iter(self._visible([] if story is None else [story], public=public)), None)

    def _visible(self, stories: Sequence[Story], *, public: bool) -> Sequence[Story]:
        if not public:
            return stories
        shown = (public_story(story, self._public_ids) for story in stories)
        return [story for story in shown if story is not None]

    async def _read(self, work: Callable[[Moment], T]) -> T:
        try:
            async with asyncio.timeout(WAIT_S):
                await self._room.acquire()
        except TimeoutError:
            raise Refusal(503, "busy", "too many ask at once; try again in a moment") from None
        try:
            return await aside(lambda: self._database.read(work, READ_S))
        finally:
            self._room.release()


def _events(found: Sequence[Event], *, public: bool) -> Sequence[Event]:
    return [public_event(event) for event in found] if public else found


def _looks(probes: Sequence[Result], *, public: bool) -> Looks:
    return [(public_probe(probe) if public else probe, history.phases(probe)) for probe in probes]
