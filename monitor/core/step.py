"""One step of the truth: what a single event adds to the database, all of it at once.

A Step is decided once and can be written twice: into the database, or into the spool while
the database is away and later from there. Replaying it decides nothing again. So it must
survive JSON, and `to_json` / `step_from_json` are its inverse pair.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from typing import Any

from monitor.core import identity
from monitor.core.alert import Alert, Fate, Kind, Usual
from monitor.core.belief import (
    Belief,
    Incident,
    Quiet,
    QuietSpan,
    Run,
    Runs,
    State,
    Transition,
    Update,
)
from monitor.core.budget import FREE, Spent, day_of
from monitor.core.degraded import Sample
from monitor.core.figures import Figures, TokenSource
from monitor.core.headroom import Headroom, Limit, Period
from monitor.core.headroom import Kind as Limited
from monitor.core.instant import Instant, Span
from monitor.core.integrity import NO_FLAW, Flaw
from monitor.core.outcome import Blame, Outcome
from monitor.core.path import Blind, Need
from monitor.core.report import Report, Word
from monitor.core.slots import Gap, GapReason, Grid, Segment
from monitor.core.verdict import Learnt

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One probe as it is stored. `probe_id` is 32 hex digits, the first 16 of them `at`."""

    probe_id: str
    endpoint: str
    at: Instant
    slot: Instant
    scheduled: bool
    outcome: Outcome
    sent: bool = True
    """False: a slot that was skipped because the server had asked us to wait."""
    maintenance: bool = False
    detail: str | None = None
    request_id: str | None = None
    figures: Figures = Figures()
    cost_usd: Decimal | None = None
    timeline: bytes = b""
    evidence: bytes | None = None
    """Of a failure, as `monitor.core.evidence.store` packs it; not read back with the result."""
    flaws: frozenset[Flaw] = NO_FLAW
    """What was wrong with the stream."""
    cache_hit: bool = False
    """A cache answered, although the prompt was never sent before."""
    headroom_permille: int | None = None
    """What was left of the vendor's nearest limit, 0 to 1000; None: the reply does not say."""


def probe_id(at: Instant, salt: int) -> str:
    """128 bits: the start in microseconds, then `salt` (64 random bits). Sorts by time."""
    return f"{at:016x}{salt & 0xFFFF_FFFF_FFFF_FFFF:016x}"


def started_at(probe: str) -> Instant:
    """The start that a probe id tells. Raises ValueError if it is not one."""
    if len(probe) != 32:
        raise ValueError("a probe id has 32 hexadecimal digits")
    return Instant(int(probe[:16], 16))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What became of an owed alert."""

    key: str
    at: Instant
    fate: Fate
    attempts: int
    again: Instant | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """An operator's command that was carried out."""

    command: int
    at: Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Everything that one event adds. Any part may be missing."""

    result: Result | None = None
    belief: Belief | None = None
    transitions: tuple[Transition, ...] = ()
    updates: tuple[Update, ...] = ()
    alerts: tuple[Alert, ...] = ()
    quiet: tuple[QuietSpan, ...] = ()
    gap: Gap | None = None
    segment: Segment | None = None
    sent: Sent | None = None
    done: Done | None = None
    report: Report | None = None
    events: tuple[identity.Event, ...] = ()
    """What the result tells of who answers."""
    blind: Blind | None = None

    @property
    def urgent(self) -> bool:
        """Somebody waits for it: it is bad news, changes a state, owes an alert or marks one."""
        bad = self.result is not None and self.result.outcome.blame is Blame.PROVIDER
        return bool(
            bad or self.transitions or self.alerts or self.updates or self.sent or self.done or self.blind
        )


# JSON


def to_json(step: Step) -> Json:
    """Plain values only, absent parts left out."""
    out: Json = {}
    if step.result is not None:
        out["result"] = _result_json(step.result)
    if step.belief is not None:
        out["belief"] = belief_json(step.belief)
    for name in ("transitions", "updates", "alerts", "quiet", "events"):
        several = getattr(step, name)
        if several:
            out[name] = [_plain(one) for one in several]
    for name in ("gap", "sent", "done"):
        single = getattr(step, name)
        if single is not None:
            out[name] = _plain(single)
    if step.segment is not None:
        out["segment"] = _segment_json(step.segment)
    if step.report is not None:
        out["report"] = _slim(step.report)
    if step.blind is not None:
        out["blind"] = _plain(step.blind)
    return out


def step_from_json(raw: Json) -> Step:
    """The inverse of `to_json`. Raises KeyError, TypeError or ValueError if it is no step."""
    gap = raw.get("gap")
    return Step(
        result=_result(raw["result"]) if "result" in raw else None,
        belief=belief_from_json(raw["belief"]) if "belief" in raw else None,
        transitions=tuple(_transition(t) for t in raw.get("transitions", ())),
        updates=tuple(_update(u) for u in raw.get("updates", ())),
        alerts=tuple(alert_from_json(a) for a in raw.get("alerts", ())),
        quiet=tuple(map(_quiet, raw.get("quiet", ()))),
        gap=Gap(**{**gap, "reason": GapReason(gap["reason"])}) if gap else None,
        segment=_segment(raw["segment"]) if "segment" in raw else None,
        sent=_sent(raw.get("sent")),
        done=Done(**raw["done"]) if "done" in raw else None,
        report=_report(raw["report"]) if "report" in raw else None,
        events=tuple(map(_event, raw.get("events", ()))),
        blind=_blind(raw.get("blind")),
    )


def _plain(value: Any) -> Json:
    """A flat dataclass as a dict; StrEnum members are text already."""
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


def _slim(value: Any) -> Json:
    """As `_plain`, without what is None."""
    return {name: part for name in value.__dataclass_fields__ if (part := getattr(value, name)) is not None}


def _result_json(result: Result) -> Json:
    out = _slim(result)
    out["figures"] = _slim(result.figures)
    out["timeline"] = result.timeline.hex()
    if result.cost_usd is not None:
        out["cost_usd"] = str(result.cost_usd)
    if result.evidence is not None:
        out["evidence"] = base64.b64encode(result.evidence).decode()
    out["flaws"] = sorted(result.flaws)
    return out


def _result(raw: Json) -> Result:
    figures = dict(raw["figures"])
    if "token_source" in figures:
        figures["token_source"] = TokenSource(figures["token_source"])
    cost, evidence = raw.get("cost_usd"), raw.get("evidence")
    return Result(
        **{
            **raw,
            "outcome": Outcome(raw["outcome"]),
            "figures": Figures(**figures),
            "cost_usd": None if cost is None else Decimal(cost),
            "timeline": bytes.fromhex(raw["timeline"]),
            "evidence": None if evidence is None else base64.b64decode(evidence),
            "flaws": frozenset(map(Flaw, raw.get("flaws", ()))),
        }
    )


def _report(raw: Json) -> Report:
    return Report(**{**raw, "said": Word(raw["said"])})


def _segment_json(segment: Segment) -> Json:
    return {
        "endpoint": segment.endpoint,
        "interval": segment.grid.interval,
        "phase": segment.grid.phase,
        "timeout": segment.timeout,
        "starts": segment.starts,
        "ends": segment.ends,
    }


def _segment(raw: Json) -> Segment:
    return Segment(
        endpoint=raw["endpoint"],
        grid=Grid(Span(raw["interval"]), Span(raw["phase"])),
        timeout=Span(raw["timeout"]),
        starts=Instant(raw["starts"]),
        ends=None if raw["ends"] is None else Instant(raw["ends"]),
    )


def _quiet(raw: Json) -> QuietSpan:
    return QuietSpan(**{**raw, "quiet": Quiet(raw["quiet"])})


def _event(raw: Json) -> identity.Event:
    return identity.Event(**{**raw, "kind": identity.Change(raw["kind"])})


def _blind(raw: Json | None) -> Blind | None:
    return None if raw is None else Blind(**{**raw, "need": Need(raw["need"])})


def _sent(raw: Json | None) -> Sent | None:
    return None if raw is None else Sent(**{**raw, "fate": Fate(raw["fate"])})


def _transition(raw: Json) -> Transition:
    return Transition(**{**raw, "before": State(raw["before"]), "after": State(raw["after"])})


def _update(raw: Json) -> Update:
    return Update(**{**raw, "impact": State(raw["impact"])})


def alert_from_json(raw: Mapping[str, Any]) -> Alert:
    return Alert(**{**raw, "kind": Kind(raw["kind"])})


# Beliefs


def belief_json(belief: Belief, *, ring: bool = False) -> Json:
    """A belief without its ring, which is read back from the results; with it for a checkpoint."""
    out: Json = {
        "endpoint": belief.endpoint,
        "sequence": belief.sequence,
        "state": belief.state,
        "since": belief.since,
        "reason": belief.reason,
        "classified": belief.classified,
        "runs": {
            name: [run.count, run.started, run.newest]
            for name in Runs.__dataclass_fields__
            if (run := getattr(belief.runs, name)).count
        },
    }
    if belief.outcome is not None:
        out["made"] = [belief.outcome, belief.request_id]
    for name in ("confirmations", "cleared", "not_before"):
        if value := getattr(belief, name):
            out[name] = value
    if belief.holding:
        out["holding"] = dict(belief.holding)
    if belief.incident is not None:
        out["incident"] = _incident_json(belief.incident)
    if belief.misconfigured is not None:
        out["misconfigured"] = _incident_json(belief.misconfigured)
    if belief.quiet:
        out["quiet"] = dict(belief.quiet)
    if belief.headroom is not None:
        out["headroom"] = _headroom_json(belief.headroom)
    if belief.learnt != Learnt():
        out["learnt"] = _learnt_json(belief.learnt)
    if belief.last_outcome is not None:
        out["last"] = [belief.last_outcome, belief.last_detail, belief.last_request_id]
    if ring:
        out["ring"] = [_sample_json(sample) for sample in belief.ring]
    return out


def belief_from_json(raw: Json) -> Belief:
    """The inverse of `belief_json`."""
    outcome, detail, request_id = raw.get("last", (None, None, None))
    # A belief of an older program does not say what made its state.
    made, request = raw.get("made", (None, None))
    learnt = raw.get("learnt")
    return Belief(
        endpoint=raw["endpoint"],
        sequence=raw["sequence"],
        state=State(raw["state"]),
        since=Instant(raw["since"]),
        reason=raw["reason"],
        outcome=Outcome(made) if made else None,
        request_id=request,
        classified=Instant(raw["classified"]),
        runs=Runs(**{name: Run(*run) for name, run in raw["runs"].items()}),
        confirmations=raw.get("confirmations", 0),
        holding=raw.get("holding", {}),
        cleared=Instant(raw.get("cleared", 0)),
        incident=_incident(raw.get("incident")),
        misconfigured=_incident(raw.get("misconfigured")),
        quiet={Quiet(name): Instant(at) for name, at in raw.get("quiet", {}).items()},
        not_before=Instant(raw.get("not_before", 0)),
        learnt=_learnt(learnt) if learnt else Learnt(),
        headroom=_headroom(raw.get("headroom")),
        last_outcome=Outcome(outcome) if outcome else None,
        last_detail=detail,
        last_request_id=request_id,
        ring=tuple(_sample(sample) for sample in raw.get("ring", ())),
    )


def _learnt_json(learnt: Learnt) -> Json:
    out = {**_plain(learnt), "protocol": dict(learnt.protocol)}
    # Written with every result, so without what nobody learnt.
    known = {name: value for name, value in _plain(out.pop("known")).items() if value}
    return {**out, "known": known} if known else out


def _learnt(raw: Json) -> Learnt:
    return Learnt(**{**raw, "known": identity.Known(**raw.get("known", {}))})


def _sample_json(sample: Sample) -> list[Any]:
    values = [getattr(sample, name) for name in Sample.__dataclass_fields__]
    return [*values[:-1], None if sample.flaws is None else sorted(sample.flaws)]


def _sample(raw: list[Any]) -> Sample:
    """One from before flaws were kept has none."""
    sample = Sample(*raw)
    return sample if sample.flaws is None else replace(sample, flaws=frozenset(map(Flaw, sample.flaws)))


def _headroom_json(headroom: Headroom) -> list[Any]:
    limits = [[one.kind, one.period, one.limit, one.remaining, one.resets_in_s] for one in headroom.limits]
    return [headroom.at, limits]


def _headroom(raw: list[Any] | None) -> Headroom | None:
    if raw is None:
        return None
    at, limits = raw
    return Headroom(
        Instant(at),
        tuple(
            Limit(
                kind=Limited(kind),
                period=None if period is None else Period(period),
                limit=limit,
                remaining=remaining,
                resets_in_s=resets_in_s,
            )
            for kind, period, limit, remaining, resets_in_s in limits
        ),
    )


def _incident_json(incident: Incident) -> Json:
    return {
        **_plain(incident),
        "alarmed": list(incident.alarmed),
        "usual": _slim(incident.usual),
    }


def _incident(raw: Json | None) -> Incident | None:
    if raw is None:
        return None
    return Incident(
        **{
            **raw,
            "impact": State(raw["impact"]),
            "told": State(raw["told"]),
            "outcome": Outcome(raw["outcome"]) if raw["outcome"] else None,
            "alarmed": tuple(raw["alarmed"]),
            "usual": Usual(**raw["usual"]),
        }
    )


# What must be known to go on


@dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """An alert that was not delivered yet."""

    alert: Alert
    attempts: int = 0
    again: Instant | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """All that a daemon must know to go on where another one stopped."""

    at: Instant
    beliefs: Mapping[str, Belief]
    owed: tuple[Owed, ...] = ()
    segments: Mapping[str, Segment] = field(default_factory=dict)
    """The schedule in force, by endpoint."""
    accounted: Mapping[str, Instant] = field(default_factory=dict)
    """The newest slot of each endpoint that has a result or lies in a gap."""
    reports: Mapping[str, Report] = field(default_factory=dict)
    """The newest report of each endpoint that reports by itself."""
    blind: Blind | None = None
    """The record of our own blindness that is open."""
    quiet: Mapping[str, tuple[QuietSpan, ...]] = field(default_factory=dict)
    """What ended, maintenance or a pause, and may hold slots that nothing accounts for."""
    spent: Mapping[str, Spent] = field(default_factory=dict)
    """What each endpoint cost in the newest day in which it cost anything."""


def checkpoint_json(known: Checkpoint) -> Json:
    """Its lists are iterators: a belief after the other, never all of them at once."""
    return {
        "at": known.at,
        "beliefs": (belief_json(belief, ring=True) for belief in known.beliefs.values()),
        "owed": ({"alert": _plain(o.alert), "attempts": o.attempts, "again": o.again} for o in known.owed),
        "segments": (_segment_json(segment) for segment in known.segments.values()),
        "accounted": known.accounted,
        "reports": (_slim(report) for report in known.reports.values()),
        "blind": None if known.blind is None else _plain(known.blind),
        "quiet": (_plain(span) for spans in known.quiet.values() for span in spans),
        "spent": {name: [spent.day.isoformat(), str(spent.usd)] for name, spent in known.spent.items()},
    }


def checkpoint_from_json(raw: Json) -> Checkpoint:
    """The inverse, from lists. Raises KeyError, TypeError or ValueError if it is no checkpoint."""
    beliefs = [belief_from_json(belief) for belief in raw["beliefs"]]
    segments = [_segment(segment) for segment in raw["segments"]]
    quiet: dict[str, tuple[QuietSpan, ...]] = {}
    for span in map(_quiet, raw.get("quiet", ())):
        quiet[span.endpoint] = (*quiet.get(span.endpoint, ()), span)
    return Checkpoint(
        at=Instant(raw["at"]),
        beliefs={belief.endpoint: belief for belief in beliefs},
        owed=tuple(
            Owed(alert=alert_from_json(o["alert"]), attempts=o["attempts"], again=o["again"])
            for o in raw["owed"]
        ),
        segments={segment.endpoint: segment for segment in segments},
        accounted=raw["accounted"],
        reports={one["endpoint"]: _report(one) for one in raw.get("reports", ())},
        blind=_blind(raw.get("blind")),
        quiet=quiet,
        spent={
            name: Spent(date.fromisoformat(day), Decimal(usd))
            for name, (day, usd) in raw.get("spent", {}).items()
        },
    )


def slot_of(step: Step) -> tuple[str, Instant] | None:
    """The endpoint and the newest slot that this step accounts for."""
    if step.gap is not None:
        return step.gap.endpoint, step.gap.last
    if step.result is not None and step.result.scheduled:
        return step.result.endpoint, step.result.slot
    return None


class Known:
    """A checkpoint that grows with each durable Step; the writer's cache of the truth."""

    def __init__(self, start: Checkpoint) -> None:
        self.beliefs = dict(start.beliefs)
        self.owed = {owed.alert.key: owed for owed in start.owed}
        self.segments = dict(start.segments)
        self.accounted = dict(start.accounted)
        self.reports = dict(start.reports)
        self.blind = start.blind
        self.quiet = dict(start.quiet)
        self.spent = dict(start.spent)
        self._paid: dict[str, str] = {}
        """The newest result of each endpoint whose cost is in `spent`."""

    def apply(self, step: Step) -> None:
        """`step` is durable now. Applying it twice in a row does no harm."""
        if step.belief is not None:
            held = self.beliefs.get(step.belief.endpoint)
            if held is None or held.sequence < step.belief.sequence:
                self.beliefs[step.belief.endpoint] = step.belief
        for alert in step.alerts:
            self.owed.setdefault(alert.key, Owed(alert=alert))
        if step.sent is not None:
            self._settle(step.sent)
        if step.segment is not None:
            self.segments[step.segment.endpoint] = step.segment
        if step.report is not None:
            self.reports[step.report.endpoint] = step.report
        if step.blind is not None:
            self.blind = step.blind if step.blind.ended is None else None
        remember_quiet(self.quiet, step, self.accounted)
        slot = slot_of(step)
        if slot is not None:
            self.accounted[slot[0]] = slot[1]
        if step.result is not None and step.result.cost_usd is not None:
            self._pay(step.result, step.result.cost_usd)

    def _pay(self, result: Result, cost: Decimal) -> None:
        name, day = result.endpoint, day_of(result.at)
        if self._paid.get(name) == result.probe_id:
            return
        self._paid[name] = result.probe_id
        self.spent[name] = self.spent.get(name, Spent(day, FREE)).plus(day, cost)

    def _settle(self, sent: Sent) -> None:
        if sent.fate != Fate.LATER:
            self.owed.pop(sent.key, None)
        elif sent.key in self.owed:
            alert = self.owed[sent.key].alert
            self.owed[sent.key] = Owed(alert=alert, attempts=sent.attempts, again=sent.again)

    def checkpoint(self, at: Instant) -> Checkpoint:
        return Checkpoint(
            at=at,
            beliefs=dict(self.beliefs),
            owed=tuple(self.owed.values()),
            segments=dict(self.segments),
            accounted=dict(self.accounted),
            reports=dict(self.reports),
            blind=self.blind,
            quiet=dict(self.quiet),
            spent=dict(self.spent),
        )


def remember_quiet(
    held: dict[str, tuple[QuietSpan, ...]], step: Step, accounted: Mapping[str, Instant]
) -> None:
    """Add what ended with `step`, and forget what holds no slot any more beyond those accounted for."""
    for span in step.quiet:
        if span.ends is not None:
            known = accounted.get(span.endpoint, Instant(0))
            before = held.get(span.endpoint, ())
            kept = (one for one in before if one != span and (one.ends is None or one.ends > known))
            held[span.endpoint] = (*kept, span)
