"""What we hold true of an endpoint after looking twice.

Rule 1: nothing outside this file changes a Belief.
Rule 2: this file never asks what time it is; it is told.
Rule 3: `advance` is pure: the same belief and the same event give the same consequence.
"""

import enum
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from statistics import median
from typing import assert_never

from monitor.core import alert
from monitor.core.alert import Alert, Facts, Kind, Route, Subject, Usual
from monitor.core.degraded import DegradedRules, Sample, evaluate, inside
from monitor.core.headroom import Headroom
from monitor.core.instant import SECOND, Instant, Span, as_datetime, say
from monitor.core.integrity import NO_FLAW, Flaw, of_stream
from monitor.core.outcome import Blame, Outcome
from monitor.core.verdict import Learnt, Verdict, longest_wait, until

LAPSE = 3
"""Intervals after which a run lapses, and after which silence means `unknown`."""
RING_KEPT = 24
RING_MOST = 2_000
CONFIRMATION_MARGIN = Span(SECOND // 2)


class State(enum.StrEnum):
    UNKNOWN = "unknown"
    UP = "up"
    DEGRADED = "degraded"
    DOWN = "down"


class Quiet(enum.StrEnum):
    """Shown over the state, which runs on beneath."""

    MAINTENANCE = "maintenance"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How an endpoint's looks become a belief; from the config."""

    subject: Subject
    interval: Span
    timeout: Span
    down_after: int = 3
    up_after: int = 2
    confirm_every: Span = Span(10 * SECOND)
    """0: no confirmations."""
    reminder: Span = Span(0)
    """0: no reminders."""
    degraded: DegradedRules | None = None
    routes: tuple[Route, ...] = ()

    def __post_init__(self) -> None:
        if self.down_after < 1 or self.up_after < 1:
            raise ValueError("down_after and up_after count looks, so they start at 1")


@dataclass(frozen=True, slots=True)
class Run:
    """Looks of one sort in a row."""

    count: int = 0
    started: Instant = Instant(0)
    newest: Instant = Instant(0)

    def extended(self, at: Instant, lapse: Span) -> "Run":
        if self.count == 0 or at - self.newest > lapse:
            return Run(1, at, at)
        return Run(self.count + 1, self.started, at)

    def alive(self, now: Instant, lapse: Span) -> int:
        """How many looks it holds, 0 once it lapsed."""
        return 0 if now - self.newest > lapse else self.count


NO_RUN = Run()


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """Working and bad break each other's run; `config` and `monitor` looks break none."""

    bad: Run = NO_RUN
    working: Run = NO_RUN
    good: Run = NO_RUN
    """The `ok` looks of the working run, whatever working or throttled look came between them."""
    ok: Run = NO_RUN
    degraded: Run = NO_RUN
    throttled: Run = NO_RUN
    config: Run = NO_RUN

    def after(self, blame: Blame | None, at: Instant, lapse: Span) -> "Runs":
        """The runs with one more look."""
        working = self.working.extended(at, lapse)
        good = self.good if working.count > 1 else NO_RUN
        match blame:
            case None:
                return Runs(working=working, good=good.extended(at, lapse), ok=self.ok.extended(at, lapse))
            case Blame.DEGRADED:
                return Runs(working=working, good=good, degraded=self.degraded.extended(at, lapse))
            case Blame.PROVIDER:
                return Runs(bad=self.bad.extended(at, lapse))
            case Blame.THROTTLED:
                # Neither working nor bad, so it breaks neither of those two runs.
                return Runs(
                    bad=self.bad,
                    working=self.working,
                    good=self.good,
                    throttled=self.throttled.extended(at, lapse),
                )
            case Blame.CONFIG:
                return replace(self, config=self.config.extended(at, lapse))
            case Blame.MONITOR:
                return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """The open incident of an endpoint, or the open alarm about our own configuration."""

    id: str
    started: Instant
    impact: State
    told: State
    """What the newest message said."""
    reason: str
    outcome: Outcome | None = None
    request_id: str | None = None
    """Of the look that the reason speaks of."""
    sequence: int = 0
    alarmed: tuple[str, ...] = ()
    """Channels that got the alarm, and so get the all-clear."""
    reminded: Instant = Instant(0)
    usual: Usual = Usual()


@dataclass(frozen=True, slots=True, kw_only=True)
class Belief:
    """What is held true of one endpoint. `sequence` grows with each event."""

    endpoint: str
    sequence: int = 0
    state: State = State.UNKNOWN
    since: Instant = Instant(0)
    """`effective_at` of the newest transition; 0 before the first."""
    reason: str = "no look yet"
    outcome: Outcome | None = None
    """What made the state degraded or down, whatever was seen since; None in any other state."""
    request_id: str | None = None
    """Of the look that made it so."""
    classified: Instant = Instant(0)
    """Start of the newest classified look; 0 before the first."""
    runs: Runs = Runs()
    confirmations: int = 0
    """Extra looks since the newest scheduled one."""
    holding: Mapping[str, Instant] = field(default_factory=dict)
    """Degraded rules that hold, and the start of the probe that made each hold."""
    cleared: Instant = Instant(0)
    """When the newest rule cleared."""
    incident: Incident | None = None
    misconfigured: Incident | None = None
    quiet: Mapping[Quiet, Instant] = field(default_factory=dict)
    """Maintenance and pause in force, and since when."""
    not_before: Instant = Instant(0)
    """The server asked not to be probed before this."""
    headroom: Headroom | None = None
    """What the newest reply that spoke of limits said; None: none did."""
    learnt: Learnt = Learnt()
    last_outcome: Outcome | None = None
    last_detail: str | None = None
    last_request_id: str | None = None
    ring: tuple[Sample, ...] = ()

    @property
    def shown(self) -> str:
        """The state that a person is shown: pause and maintenance lie over it."""
        for quiet in (Quiet.PAUSED, Quiet.MAINTENANCE):
            if quiet in self.quiet:
                return str(quiet)
        return str(self.state)


# Events


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One finished look."""

    at: Instant
    """Start of the probe."""
    scheduled: bool
    verdict: Verdict
    request_id: str | None = None
    flaws: frozenset[Flaw] = NO_FLAW
    headroom: Headroom | None = None


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed."""


@dataclass(frozen=True, slots=True)
class Hush:
    """Maintenance or a pause begins (`on`) or ends."""

    quiet: Quiet
    on: bool
    at: Instant | None = None
    """When it did; None: now."""


@dataclass(frozen=True, slots=True)
class Removed:
    """The endpoint is no longer configured."""


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """What was said of the endpoint since then was said too early: it was we who could not see."""

    since: Instant
    why: str


WITHDRAWN = "withdrawn"
"""The last word of an incident that was none."""

Event = Look | Tick | Hush | Removed | Withdrawn


# Consequences


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    endpoint: str
    sequence: int
    at: Instant
    """When we knew."""
    effective_at: Instant
    """Since when it was so."""
    before: State
    after: State
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """A line in the story of an incident, with the incident as it stands then."""

    incident: str
    endpoint: str
    sequence: int
    at: Instant
    status: str
    text: str
    title: str
    impact: State
    started: Instant
    ended: Instant | None


@dataclass(frozen=True, slots=True, kw_only=True)
class QuietSpan:
    """Maintenance or a pause that ended, or (`ends` None) began."""

    endpoint: str
    quiet: Quiet
    starts: Instant
    ends: Instant | None

    def covers(self, moment: Instant) -> bool:
        return self.starts <= moment and (self.ends is None or moment < self.ends)


@dataclass(frozen=True, slots=True, kw_only=True)
class Consequence:
    belief: Belief
    transitions: tuple[Transition, ...] = ()
    updates: tuple[Update, ...] = ()
    alerts: tuple[Alert, ...] = ()
    quiet: tuple[QuietSpan, ...] = ()


@dataclass(slots=True)
class _Draft:
    """What `advance` gathers on its way; never seen outside."""

    rules: Rules
    now: Instant
    belief: Belief
    transitions: list[Transition] = field(default_factory=list)
    updates: list[Update] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    quiet: list[QuietSpan] = field(default_factory=list)
    cleared: str = ""
    """Why rules that held do so no longer; empty: none cleared."""

    @property
    def lapse(self) -> Span:
        return Span(LAPSE * self.rules.interval)


def advance(belief: Belief, event: Event, rules: Rules, now: Instant) -> Consequence:
    """What follows from `event`, known at `now`."""
    if isinstance(event, Look) and _silent_before(belief, event, rules):
        # Whether a tick or a look is heard first after a silence is chance; history must not be.
        silence = advance(belief, Tick(), rules, now)
        return _joined(silence, advance(silence.belief, event, rules, now))
    if isinstance(event, Look):
        draft = _Draft(rules, now, _after(belief, event, rules, now))
    else:
        draft = _Draft(rules, now, replace(belief, sequence=belief.sequence + 1))
    match event:
        case Look():
            _weigh(draft, event.at)
            _settle_config(draft, event.verdict.blame)
            _move(draft, event)
        case Tick():
            _tick(draft)
        case Hush():
            _hush(draft, event)
        case Removed():
            _removed(draft)
        case Withdrawn():
            _withdraw(draft, event)
        case _:
            assert_never(event)
    return Consequence(
        belief=draft.belief,
        transitions=tuple(draft.transitions),
        updates=tuple(draft.updates),
        alerts=tuple(draft.alerts),
        quiet=tuple(draft.quiet),
    )


def _silent_before(belief: Belief, look: Look, rules: Rules) -> bool:
    """Whether the state had become unknown before this look began, and nobody has said so yet."""
    return belief.state is not State.UNKNOWN and look.at > belief.classified + LAPSE * rules.interval


def _joined(first: Consequence, then: Consequence) -> Consequence:
    return Consequence(
        belief=then.belief,
        transitions=first.transitions + then.transitions,
        updates=first.updates + then.updates,
        alerts=first.alerts + then.alerts,
        quiet=first.quiet + then.quiet,
    )


def needs_tick(belief: Belief, rules: Rules, now: Instant) -> bool:
    """Whether a Tick may change anything; most endpoints at most times need none."""
    if belief.state is State.UNKNOWN:
        return False
    if now > belief.classified + LAPSE * rules.interval or _may_remind(belief, rules, now):
        return True
    if not belief.holding:
        return False
    # A rule that goes on holding is no news, and each tick is a durable write.
    draft = _Draft(rules, now, belief)
    _weigh(draft, now)
    return draft.belief is not belief or _next(draft, None) is not None


def confirmation_at(
    belief: Belief, look: Look, rules: Rules, ended: Instant, next_slot: Instant
) -> Instant | None:
    """When to take an extra look after `look`; None: not at all.

    At most `down_after - 1` of them, none once down, and none that could not end before
    the next slot.
    """
    if look.verdict.blame is not Blame.PROVIDER or belief.state is State.DOWN:
        return None
    if not rules.confirm_every or belief.confirmations >= rules.down_after - 1:
        return None
    start = Instant(ended + rules.confirm_every)
    if start + rules.timeout + CONFIRMATION_MARGIN > next_slot:
        return None
    return start


def throttled_until(belief: Belief, interval: Span, now: Instant) -> Instant | None:
    """Until when the server wants to be left alone; None: it may be asked now.

    Further off than any server's word reaches is a clock of ours that was set back.
    """
    until_then = belief.not_before
    return until_then if now < until_then <= now + longest_wait(interval) else None


# Looks


def _after(belief: Belief, look: Look, rules: Rules, now: Instant) -> Belief:
    """What is known after one more look, before any rule is applied to it."""
    verdict, at = look.verdict, look.at
    blame = verdict.blame
    classified = blame is not Blame.CONFIG and blame is not Blame.MONITOR
    asked = until(verdict, now, rules.interval)
    return replace(
        belief,
        sequence=belief.sequence + 1,
        runs=belief.runs.after(blame, at, Span(LAPSE * rules.interval)),
        classified=max(belief.classified, at) if classified else belief.classified,
        confirmations=0 if look.scheduled else belief.confirmations + 1,
        not_before=asked if asked is not None else belief.not_before,
        headroom=look.headroom or belief.headroom,
        learnt=verdict.learnt,
        last_outcome=verdict.outcome,
        last_detail=verdict.detail,
        last_request_id=look.request_id,
        ring=_ring(belief.ring, look, rules, now) if look.scheduled else belief.ring,
    )


def _ring(ring: tuple[Sample, ...], look: Look, rules: Rules, now: Instant) -> tuple[Sample, ...]:
    """The newest looks: all that the rules can see, and at least the last few."""
    figures, outcome = look.verdict.figures, look.verdict.outcome
    works = outcome.works
    sample = Sample(
        at=look.at,
        works=works,
        bad=outcome.blame is Blame.PROVIDER,
        ttft_ms=figures.ttft_ms if works else None,
        total_ms=figures.total_ms if works else None,
        output_speed=figures.output_speed if works else None,
        flaws=of_stream(outcome, look.flaws, spoke=figures.ttft_ms is not None),
    )
    over = rules.degraded.over if rules.degraded else 0
    start = max(0, len(ring) + 1 - RING_MOST)
    while len(ring) + 1 - start > RING_KEPT and ring[start].at <= now - over:
        start += 1
    return (*ring[start:], sample)


# Degraded rules


def _weigh(draft: _Draft, at: Instant) -> None:
    """Which degraded rules hold now."""
    limits, belief = draft.rules.degraded, draft.belief
    if limits is None:
        if belief.holding:
            draft.belief = replace(belief, holding={}, cleared=draft.now)
        return
    rules = evaluate(limits, belief.ring, draft.now)
    holding = {rule.name: belief.holding.get(rule.name, at) for rule in rules if rule.holds(belief.holding)}
    draft.cleared = "; ".join(
        rule.words_when_cleared(limits.over)
        for rule in rules
        if rule.name in belief.holding and rule.name not in holding
    )
    if holding.keys() != belief.holding.keys():
        cleared = at if belief.holding.keys() - holding.keys() else belief.cleared
        draft.belief = replace(belief, holding=holding, cleared=cleared)


def _rule_words(draft: _Draft) -> str:
    limits = draft.rules.degraded
    assert limits is not None
    rules = evaluate(limits, draft.belief.ring, draft.now)
    return "; ".join(rule.words(limits.over) for rule in rules if rule.name in draft.belief.holding)


# States


@dataclass(frozen=True, slots=True)
class _Move:
    after: State
    effective_at: Instant
    reason: str
    outcome: Outcome | None = None
    """What makes it degraded or down."""


def _move(draft: _Draft, look: Look | None = None) -> None:
    """Change the state until the table says no more, and say what follows from where that ends.

    A state that the same look ends again is history, but nobody is told of it: after a silence
    `up` would be a false all-clear where a rule still holds.
    """
    while (move := _next(draft, look)) is not None:
        if draft.transitions:
            # Each transition has a sequence of its own.
            draft.belief = replace(draft.belief, sequence=draft.belief.sequence + 1)
        _change(draft, move)
    _settle(draft)


def _change(draft: _Draft, move: _Move) -> None:
    before = draft.belief
    # A run that outlived a silence began before it; no moment belongs to two states.
    since = max(move.effective_at, before.since)
    draft.belief = replace(
        before,
        state=move.after,
        since=since,
        reason=move.reason,
        outcome=move.outcome,
        request_id=None if move.outcome is None else before.last_request_id,
    )
    draft.transitions.append(
        Transition(
            endpoint=before.endpoint,
            sequence=before.sequence,
            at=draft.now,
            effective_at=since,
            before=before.state,
            after=move.after,
            reason=move.reason,
        )
    )


def _next(draft: _Draft, look: Look | None) -> _Move | None:
    """The state table."""
    belief, rules, lapse, now = draft.belief, draft.rules, draft.lapse, draft.now
    if belief.state is not State.DOWN and belief.runs.bad.alive(now, lapse) >= rules.down_after:
        outcome = belief.last_outcome or Outcome.INTERNAL_ERROR
        reason = f"{_in_a_row(belief.runs.bad, 'failure')}, last: {outcome}: {belief.last_detail}"
        return _Move(State.DOWN, belief.runs.bad.started, reason, outcome)
    match belief.state:
        case State.UNKNOWN:
            if look is not None and look.verdict.outcome.works:
                return _Move(State.UP, look.at, "first working probe")
        case State.DOWN:
            return _from_down(draft)
        case State.UP:
            return _to_degraded(draft)
        case State.DEGRADED:
            if belief.runs.ok.alive(now, lapse) >= rules.up_after and not belief.holding:
                since = max(belief.runs.ok.started, min(belief.cleared, now))
                reason = draft.cleared or _in_a_row(belief.runs.ok, "good look")
                return _Move(State.UP, Instant(since), reason)
    return None


def _in_a_row(run: Run, what: str) -> str:
    """`3 failures in a row`, `1 failure`."""
    return f"1 {what}" if run.count == 1 else f"{run.count} {what}s in a row"


def _from_down(draft: _Draft) -> _Move | None:
    belief, rules = draft.belief, draft.rules
    if belief.runs.working.alive(draft.now, draft.lapse) < rules.up_after:
        return None
    since = belief.runs.working.started
    if belief.holding:
        return _Move(State.DEGRADED, since, f"works again, but {_rule_words(draft)}", belief.last_outcome)
    if not belief.runs.good.count:
        reason = f"works again, but {belief.last_outcome}: {belief.last_detail}"
        return _Move(State.DEGRADED, since, reason, belief.last_outcome)
    return _Move(State.UP, since, _in_a_row(belief.runs.working, "working look"))


def _to_degraded(draft: _Draft) -> _Move | None:
    belief, after = draft.belief, draft.rules.down_after
    if belief.holding:
        since = min(belief.holding.values())
        return _Move(State.DEGRADED, Instant(max(since, belief.since)), _rule_words(draft), Outcome.SLOW)
    for run in (belief.runs.degraded, belief.runs.throttled):
        if run.alive(draft.now, draft.lapse) >= after:
            reason = f"{_in_a_row(run, 'look')}: {belief.last_outcome}: {belief.last_detail}"
            return _Move(State.DEGRADED, run.started, reason, belief.last_outcome)
    return None


# Incidents


def _settle(draft: _Draft) -> None:
    """Bring the incident in line with the state, unless maintenance or a pause keeps us quiet."""
    belief = draft.belief
    if belief.quiet:
        return
    state, incident = belief.state, belief.incident
    if incident is None:
        if state in (State.DEGRADED, State.DOWN):
            _open(draft)
    elif state is State.UP:
        _close(draft, incident)
    elif state is not incident.told:
        _update(draft, incident)


def _open(draft: _Draft) -> None:
    belief = draft.belief
    started = max([belief.since, *_ended(draft)])
    limits = draft.rules.degraded
    # A rule holds once half of its window is beyond the limit: that half is not what was before.
    before = belief.ring if limits is None else inside(limits, belief.holding.keys(), belief.ring)
    incident = Incident(
        id=incident_id(belief.endpoint, Instant(started)),
        started=Instant(started),
        impact=belief.state,
        told=belief.state,
        reason=belief.reason,
        outcome=belief.outcome,
        request_id=belief.request_id,
        sequence=1,
        reminded=draft.now,
        usual=_usual(before, started),
    )
    _tell(
        draft,
        incident,
        Kind(str(belief.state)),
        alert.alarm(Kind(str(belief.state)), draft.rules.subject, _facts(draft, incident, belief.since)),
    )


def _ended(draft: _Draft) -> list[Instant]:
    """An outage that began under maintenance or in a pause begins for us where that ended."""
    return [span.ends for span in draft.quiet if span.ends is not None]


def _update(draft: _Draft, incident: Incident) -> None:
    belief = draft.belief
    state = belief.state
    worse = State.DOWN if State.DOWN in (state, incident.impact) else State.DEGRADED
    incident = replace(incident, told=state, impact=worse, sequence=incident.sequence + 1)
    if state is State.UNKNOWN:
        draft.belief = replace(belief, incident=incident)
        _note(draft, incident, str(state), belief.reason)
        return
    incident = replace(incident, reason=belief.reason, outcome=belief.outcome, request_id=belief.request_id)
    kind = Kind(str(state))
    facts = _facts(draft, incident, belief.since)
    _tell(draft, incident, kind, alert.alarm(kind, draft.rules.subject, facts))


def _tell(draft: _Draft, incident: Incident, kind: Kind, message: alert.Message) -> None:
    """Note it in the incident's story, and owe it to the channels that want it."""
    wants = [route.channel for route in draft.rules.routes if kind in route.on]
    if kind is Kind.DEGRADED and incident.impact is State.DOWN:
        wants += [channel for channel in incident.alarmed if channel not in wants]
    draft.alerts += alert.owed(
        message,
        incident=incident.id,
        sequence=incident.sequence,
        kind=kind,
        endpoint=draft.belief.endpoint,
        channels=wants,
        at=draft.now,
    )
    alarmed = (*incident.alarmed, *(c for c in wants if c not in incident.alarmed))
    draft.belief = replace(draft.belief, incident=replace(incident, alarmed=alarmed, reminded=draft.now))
    _note(draft, incident, str(kind), incident.reason)


def _close(draft: _Draft, incident: Incident) -> None:
    belief = draft.belief
    ended = Instant(max(belief.since, incident.started))
    incident = replace(incident, sequence=incident.sequence + 1)
    facts = _facts(draft, incident)
    draft.alerts += alert.owed(
        alert.recovered(draft.rules.subject, facts, ended),
        incident=incident.id,
        sequence=incident.sequence,
        kind=Kind.RECOVERED,
        endpoint=belief.endpoint,
        channels=incident.alarmed,
        at=draft.now,
    )
    draft.belief = replace(belief, incident=None)
    text = f"Works again after {say(ended - incident.started)}: {belief.reason}"
    _note(draft, incident, "resolved", text, ended=ended)


def _note(draft: _Draft, incident: Incident, status: str, text: str, *, ended: Instant | None = None) -> None:
    draft.updates.append(
        Update(
            incident=incident.id,
            endpoint=draft.belief.endpoint,
            sequence=incident.sequence,
            at=draft.now,
            status=status,
            text=text,
            title=f"{draft.rules.subject.title} {incident.impact}",
            impact=incident.impact,
            started=incident.started,
            ended=ended,
        )
    )


def incident_id(endpoint: str, started: Instant) -> str:
    """Stable: the same endpoint and start give the same id, also after a restart."""
    digest = hashlib.sha256(f"{endpoint}\n{started}".encode()).hexdigest()[:8]
    return f"{as_datetime(started):%Y%m%d}-{digest}"


def _facts(draft: _Draft, incident: Incident, since: Instant | None = None) -> Facts:
    """`since` is when the state that is told of began; None: with the incident."""
    belief = draft.belief
    return Facts(
        began=incident.started,
        since=incident.started if since is None else since,
        now=draft.now,
        reason=incident.reason,
        outcome=incident.outcome,
        usual=incident.usual,
        measured=_usual(belief.ring[-1:], draft.now),
        request_id=incident.request_id,
    )


def _usual(ring: tuple[Sample, ...], before: Instant) -> Usual:
    """Medians of the working looks before that moment."""
    good = [sample for sample in ring if sample.works and sample.at < before]
    ttft = [s.ttft_ms for s in good if s.ttft_ms is not None]
    speed = [s.output_speed for s in good if s.output_speed is not None]
    total = [s.total_ms for s in good if s.total_ms is not None]
    return Usual(
        ttft_ms=median(ttft) if ttft else None,
        output_speed=median(speed) if speed else None,
        total_ms=median(total) if total else None,
    )


# Mistakes of ours


def _settle_config(draft: _Draft, blame: Blame | None) -> None:
    belief = draft.belief
    alarm = belief.misconfigured
    if blame is Blame.CONFIG and alarm is None and not belief.quiet:
        if belief.runs.config.alive(draft.now, draft.lapse) >= draft.rules.down_after:
            _raise_config(draft)
    elif alarm is not None and blame not in (Blame.CONFIG, Blame.MONITOR):
        _clear_config(draft, alarm)


def _raise_config(draft: _Draft) -> None:
    belief = draft.belief
    started = belief.runs.config.started
    incident = Incident(
        id=f"config-{incident_id(belief.endpoint, started)}",
        started=started,
        impact=State.UNKNOWN,
        told=State.UNKNOWN,
        reason=f"{belief.last_outcome}: {belief.last_detail}",
        outcome=belief.last_outcome,
        request_id=belief.last_request_id,
        sequence=1,
        alarmed=tuple(route.channel for route in draft.rules.routes if Kind.CONFIG in route.on),
    )
    draft.alerts += alert.owed(
        alert.alarm(Kind.CONFIG, draft.rules.subject, _facts(draft, incident)),
        incident=incident.id,
        sequence=1,
        kind=Kind.CONFIG,
        endpoint=belief.endpoint,
        channels=incident.alarmed,
        at=draft.now,
    )
    draft.belief = replace(belief, misconfigured=incident)


def _clear_config(draft: _Draft, alarm: Incident) -> None:
    draft.alerts += alert.owed(
        alert.mended(draft.rules.subject, _facts(draft, alarm), draft.now),
        incident=alarm.id,
        sequence=alarm.sequence + 1,
        kind=Kind.CONFIG_RECOVERED,
        endpoint=draft.belief.endpoint,
        channels=alarm.alarmed,
        at=draft.now,
    )
    draft.belief = replace(draft.belief, misconfigured=None)


# Time, the operator, the end


def _tick(draft: _Draft) -> None:
    belief = draft.belief
    silent_since = Instant(belief.classified + draft.lapse)
    if belief.state is not State.UNKNOWN and draft.now > silent_since:
        reason = f"nothing heard for {LAPSE} intervals"
        if belief.last_outcome is not None and belief.last_outcome.blame in (Blame.CONFIG, Blame.MONITOR):
            reason = f"{belief.last_outcome}: {belief.last_detail}"
        _forget_state(draft, silent_since, reason)
        _settle(draft)
        return
    _weigh(draft, draft.now)
    _move(draft)
    _remind(draft)


def _may_remind(belief: Belief, rules: Rules, now: Instant) -> bool:
    """Whether an open incident is to be told again, if nothing else changes now."""
    incident, every = belief.incident, rules.reminder
    if incident is None or not every or belief.quiet or now < incident.reminded + every:
        return False
    return belief.state in (State.DEGRADED, State.DOWN)


def _forget_state(draft: _Draft, since: Instant, reason: str) -> None:
    """Unknown since then, or since it was before."""
    if draft.belief.state is State.UNKNOWN:
        draft.belief = replace(draft.belief, reason=reason, outcome=None, request_id=None)
    else:
        _change(draft, _Move(State.UNKNOWN, since, reason))


def _remind(draft: _Draft) -> None:
    belief = draft.belief
    incident = belief.incident
    if incident is None or not _may_remind(belief, draft.rules, draft.now):
        return
    incident = replace(incident, sequence=incident.sequence + 1, reminded=draft.now)
    wants = {route.channel for route in draft.rules.routes if Kind.REMINDER in route.on}
    draft.alerts += alert.owed(
        alert.still(draft.rules.subject, _facts(draft, incident, belief.since), str(belief.state)),
        incident=incident.id,
        sequence=incident.sequence,
        kind=Kind.REMINDER,
        endpoint=belief.endpoint,
        channels=[channel for channel in incident.alarmed if channel in wants],
        at=draft.now,
    )
    draft.belief = replace(belief, incident=incident)


def _hush(draft: _Draft, event: Hush) -> None:
    belief = draft.belief
    began = belief.quiet.get(event.quiet)
    if event.on == (began is not None):
        return
    quiet = dict(belief.quiet)
    moment = draft.now if event.at is None else event.at
    if event.on:
        quiet[event.quiet] = moment
        starts, ends = moment, None
    else:
        starts, ends = quiet.pop(event.quiet), moment
    draft.quiet.append(QuietSpan(endpoint=belief.endpoint, quiet=event.quiet, starts=starts, ends=ends))
    draft.belief = replace(belief, quiet=quiet)
    _settle(draft)


def _removed(draft: _Draft) -> None:
    """Whatever was held of it ends here: if it comes back, it comes back unknown."""
    belief = draft.belief
    why = "the endpoint is no longer configured"
    for quiet, starts in belief.quiet.items():
        draft.quiet.append(QuietSpan(endpoint=belief.endpoint, quiet=quiet, starts=starts, ends=draft.now))
    if belief.incident is not None:
        incident = _end(draft, belief.incident, alert.closed, why)
        _note(draft, incident, "resolved", f"Closed: {why}", ended=draft.now)
    if belief.misconfigured is not None:
        _end(draft, belief.misconfigured, alert.closed, why)
    _forget_state(draft, draft.now, why)
    draft.belief = replace(
        draft.belief,
        runs=Runs(),
        holding={},
        incident=None,
        misconfigured=None,
        quiet={},
        last_outcome=None,
        last_detail=None,
        last_request_id=None,
    )


def _end(
    draft: _Draft, incident: Incident, words: Callable[[Subject, Facts, str], alert.Message], why: str
) -> Incident:
    """Owe the last word of what ends without a recovery to whoever got the alarm."""
    incident = replace(incident, sequence=incident.sequence + 1)
    draft.alerts += alert.owed(
        words(draft.rules.subject, _facts(draft, incident), why),
        incident=incident.id,
        sequence=incident.sequence,
        kind=Kind.CLOSED,
        endpoint=draft.belief.endpoint,
        channels=incident.alarmed,
        at=draft.now,
    )
    return incident


def _withdraw(draft: _Draft, event: Withdrawn) -> None:
    belief = draft.belief
    incident = belief.incident
    if incident is None or incident.started < event.since:
        return
    incident = _end(draft, incident, alert.withdrawn, event.why)
    _note(draft, incident, WITHDRAWN, event.why, ended=draft.now)
    # From its beginning on we knew nothing: no second of that time counts as down.
    _forget_state(draft, belief.since, event.why)
    draft.belief = replace(draft.belief, runs=Runs(), incident=None)
