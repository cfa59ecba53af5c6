"""Everything that a feed or a page may say, as one value.

It is built from the config's facts, stored rows and a given moment. Here is decided what a
reader sees: silence becomes `unknown`, maintenance and pause lie over the state, and a
public snapshot lacks what only operators may know.
"""

import enum
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, tzinfo
from typing import Any

from monitor.core.belief import LAPSE, WITHDRAWN, Belief, Quiet, State, throttled_until
from monitor.core.budget import Price
from monitor.core.headroom import Headroom
from monitor.core.instant import DAY, SECOND, Instant, Span
from monitor.core.outcome import Blame, Outcome
from monitor.core.path import Blind
from monitor.core.step import Result
from monitor.core.uptime import (
    Bar,
    Counts,
    Record,
    StateTime,
    Turn,
    Window,
    WindowFigures,
    counted,
    first_slot,
    time_in_states,
    window,
)

STALE_AFTER = Span(30 * SECOND)
"""A heartbeat that is older than this no longer vouches for anything."""
INCIDENTS_TOLD = 100
"""In a feed, unless it is asked for more or more are open."""
BLIND_TOLD = Span(90 * DAY)
"""How far back it is told when the monitor itself could not see."""


class Shown(enum.StrEnum):
    """A state as a reader sees it."""

    UP = "up"
    DEGRADED = "degraded"
    DOWN = "down"
    UNKNOWN = "unknown"
    MAINTENANCE = "maintenance"
    PAUSED = "paused"


# What the config says


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    name: str = "Status"
    url: str | None = None
    """Absolute, without a slash at its end; None: nobody said."""
    timezone: tzinfo = UTC


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What the config says of an endpoint, as far as a reader may know it."""

    id: str
    provider: str
    provider_name: str
    name: str
    """What people call it."""
    called: str = ""
    """The same, told apart from a sibling of that name; empty: it has none."""
    model: str | None
    model_id: str | None
    protocol: str
    interval: Span
    public: bool = True
    labels: Mapping[str, str] = field(default_factory=dict)
    context: int | None = None
    """Tokens."""
    max_output: int | None = None
    """Tokens."""
    data_policy: Mapping[str, bool | str | None] | None = None
    status_page: str | None = None
    price: Price | None = None


# What is stored


@dataclass(frozen=True, slots=True)
class Told:
    """A line in the story of an incident."""

    at: Instant
    status: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """An incident as it is told."""

    id: str
    title: str
    impact: State
    """`degraded` or `down`: the worst it came to."""
    started_at: Instant
    ended_at: Instant | None
    endpoints: tuple[str, ...]
    updates: tuple[Told, ...]
    """Oldest first."""

    @property
    def is_withdrawn(self) -> bool:
        """It was none: the monitor itself could not see."""
        return bool(self.updates) and self.updates[-1].status == WITHDRAWN


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """The newest sign of life of the daemon, and what it said of itself."""

    beat_at: Instant
    started_at: Instant | None = None
    stopped_at: Instant | None = None
    """It ended in good order then; None while it runs, and after a crash."""
    version: str | None = None
    status: Mapping[str, Any] = field(default_factory=dict)

    def stale(self, now: Instant) -> bool:
        return now - self.beat_at > STALE_AFTER


# What a reader sees


@dataclass(frozen=True, slots=True)
class Standing:
    """The state shown, since when (None: nobody knows), and why."""

    state: Shown
    since: Instant | None
    reason: str
    throttled_until: Instant | None = None
    """The provider asked us to wait, so no look is due before then."""


_OVER = {Quiet.PAUSED: "paused by an operator", Quiet.MAINTENANCE: "planned maintenance"}


def standing(belief: Belief | None, interval: Span, now: Instant, *, stale: bool = False) -> Standing:
    """How an endpoint stands now, by what is believed of it and how long ago it was heard of.

    `stale`: the daemon is not heard of either, so nobody has seen whether a maintenance is over by now.
    """
    if belief is None:
        return Standing(Shown.UNKNOWN, None, Belief(endpoint="").reason)
    for quiet, reason in _OVER.items():
        if quiet in belief.quiet and not (stale and quiet is Quiet.MAINTENANCE):
            return Standing(Shown(str(quiet)), belief.quiet[quiet] or None, reason)
    silent = silent_since(belief, interval, now)
    waits = throttled_until(belief, interval, now)
    if silent is not None:
        return Standing(Shown.UNKNOWN, silent, _why_silent(belief), waits)
    return Standing(Shown(str(belief.state)), belief.since or None, _why(belief), waits)


def _why(belief: Belief) -> str:
    """The reason of its state; where it is unknown, what keeps it so."""
    last = belief.last_outcome
    if belief.state is not State.UNKNOWN or last is None:
        return belief.reason
    if belief.since and last.blame not in (Blame.THROTTLED, Blame.CONFIG, Blame.MONITOR):
        return belief.reason
    return f"no working look yet, last: {_last_look(belief)}"


def _last_look(belief: Belief) -> str:
    detail = "" if belief.last_detail is None else f": {belief.last_detail}"
    return f"{belief.last_outcome}{detail}"


def silent_since(belief: Belief, interval: Span, now: Instant) -> Instant | None:
    """Since when nothing was heard of an endpoint whose stored state claims more; None: it was."""
    silent = Instant(belief.classified + LAPSE * interval)
    return silent if belief.state is not State.UNKNOWN and now > silent else None


def _why_silent(belief: Belief) -> str:
    outcome = belief.last_outcome
    if outcome is not None and outcome.blame in (Blame.CONFIG, Blame.MONITOR):
        return _last_look(belief)
    return f"nothing heard for {LAPSE} intervals"


def heard(record: Record, belief: Belief | None, interval: Span, now: Instant) -> Record:
    """The record, with the silence that the daemon has not noted (it may be dead) as its last turn."""
    silent = None if belief is None else silent_since(belief, interval, now)
    if silent is None:
        return record
    return replace(record, turns=(*record.turns, Turn(silent, State.UNKNOWN)))


def nothing_known(which: Window, now: Instant, raw_kept: Span) -> WindowFigures:
    """The figures of a window without any stored row."""
    return window(which, Record(), now, raw_kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spell:
    """A minute or so of the recent past, as far as it is past."""

    start: Instant
    counts: Counts
    time: StateTime


def spells(record: Record, number: int, length: Span, now: Instant) -> list[Spell]:
    """The newest `number` spells of that length, the present one last. They begin at multiples of it."""
    last = now - now % length
    starts = [Instant(last - back * length) for back in range(number - 1, -1, -1)]
    blames: dict[int, list[Blame | None]] = {start: [] for start in starts}
    for result in counted(record.results, starts[0], Instant(now + 1)):
        blames[result.slot - result.slot % length].append(result.blame)
    since = first_slot(record.schedule)
    return [
        Spell(
            start=start,
            counts=Counts.of(blames[start]),
            time=time_in_states(
                record.turns,
                record.quiet,
                since=since,
                start=start,
                end=Instant(start + length),
                now=now,
            ),
        )
        for start in starts
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSnapshot:
    listing: Listing
    standing: Standing
    windows: Mapping[Window, WindowFigures]
    """All of `PUBLISHED`, each as of its own moment."""
    unread: frozenset[Window] = frozenset()
    """Those whose results nobody has read yet: every figure of theirs is unknown."""
    bars: Sequence[Bar] = ()
    """Days of the site's time zone, today last; empty while they are not known."""
    hour: Sequence[Spell] = ()
    """The last hour by minutes; likewise."""
    last_probe: Result | None = None
    headroom: Headroom | None = None
    """What the vendor's newest reply said of our limits there; None: nothing, or not for everybody."""

    @property
    def id(self) -> str:
        return self.listing.id

    @property
    def state(self) -> Shown:
        return self.standing.state


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    site: Site
    now: Instant
    generated_at: Instant | None
    """The time of the newest stored fact; None: there is none."""
    stale: bool
    """Nobody vouches for what stands here."""
    database_away: bool = False
    """States are from the daemon's own file; the rest is as of earlier, or missing."""
    heartbeat: Heartbeat | None = None
    endpoints: tuple[EndpointSnapshot, ...] = ()
    """In the config's order."""
    incidents: tuple[Story, ...] = ()
    """Newest first: all that are open, and the last of those that are over."""
    blind: tuple[Blind, ...] = ()
    """When the monitor itself could not see, newest first."""

    def endpoint(self, id_: str) -> EndpointSnapshot | None:
        return next((one for one in self.endpoints if one.id == id_), None)

    @property
    def blind_now(self) -> Blind | None:
        """The record of blindness that is open, where somebody vouches for it."""
        if self.stale or self.database_away:
            return None
        return next((one for one in self.blind if one.ended is None), None)

    @property
    def open_incidents(self) -> tuple[Story, ...]:
        return tuple(story for story in self.incidents if story.ended_at is None)

    def public(self) -> "Snapshot":
        """What everybody may know: no detail, no request id, no cost, no endpoint that is not public."""
        shown = tuple(_public_endpoint(one) for one in self.endpoints if one.listing.public)
        ids = {one.id for one in shown}
        told = (public_story(story, ids) for story in self.incidents)
        stories = tuple(story for story in told if story is not None)
        # The newest fact of all of them would tell when a hidden one was looked at.
        facts = [one.last_probe.at for one in shown if one.last_probe is not None]
        facts += [update.at for story in stories for update in story.updates]
        return replace(
            self,
            generated_at=max(facts, default=None),
            heartbeat=None if self.heartbeat is None else replace(self.heartbeat, status={}),
            endpoints=shown,
            incidents=stories,
        )

    def newest_incidents(self, limit: int | None = None) -> tuple[Story, ...]:
        """Newest first, the open ones before all others where there is no room for all.

        None: all that are open, and so many others that there are `INCIDENTS_TOLD`.
        """
        still = self.open_incidents
        most = max(len(still), INCIDENTS_TOLD) if limit is None else limit
        over = [story for story in self.incidents if story.ended_at is not None]
        told = {story.id for story in (*still[:most], *over[: max(0, most - len(still))])}
        return tuple(story for story in self.incidents if story.id in told)


def _public_endpoint(one: EndpointSnapshot) -> EndpointSnapshot:
    return replace(
        one,
        standing=replace(one.standing, reason=without_detail(one.standing.reason)),
        last_probe=None if one.last_probe is None else public_probe(one.last_probe),
        headroom=None,
    )


def public_probe(probe: Result) -> Result:
    """A probe without what only operators may know."""
    return replace(probe, detail=None, request_id=None, cost_usd=None, headroom_permille=None)


def public_story(story: Story, public_ids: set[str]) -> Story | None:
    """An incident as everybody may read it; None if it is of no public endpoint."""
    endpoints = tuple(id_ for id_ in story.endpoints if id_ in public_ids)
    if not endpoints:
        return None
    updates = tuple(replace(told, text=without_detail(told.text)) for told in story.updates)
    return replace(story, endpoints=endpoints, updates=updates)


_DETAIL = re.compile(rf"\b({'|'.join(sorted(Outcome, key=len, reverse=True))}): .*", re.DOTALL)


def without_detail(text: str) -> str:
    """A reason up to the name of its outcome: what a server answered stands behind that."""
    return _DETAIL.sub(r"\1", text)
