"""Writes Steps, reads back what a daemon must know to go on.

Every statement may be run twice with the same Step: a timeout leaves us not knowing whether
a transaction was committed, and the spool replays.
"""

import enum
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from operator import itemgetter
from typing import Any, TypeVar

from sqlalchemy import Connection, Dialect, and_, bindparam, func, select, update
from sqlalchemy.schema import Table

from monitor.core import identity
from monitor.core.alert import Alert, Fate, Kind
from monitor.core.belief import RING_KEPT, RING_MOST, Belief, Quiet, QuietSpan
from monitor.core.degraded import Sample
from monitor.core.figures import TokenSource
from monitor.core.instant import Instant, Span
from monitor.core.outcome import Blame
from monitor.core.path import Blind, Need
from monitor.core.report import Report, Word
from monitor.core.slots import Grid, Segment
from monitor.core.step import (
    Checkpoint,
    Owed,
    Result,
    Sent,
    Step,
    belief_from_json,
    belief_json,
)
from monitor.store import lock, marks, schema
from monitor.store.engine import WRITE_S, Database, DatabaseAway
from monitor.store.prune import prune

PICO = Decimal(10) ** 12
_compact = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
_MOST_INT = 2**31 - 1
_MOST_LONG = 2**63 - 1

T = TypeVar("T")
Row = dict[str, Any]


class Order(enum.StrEnum):
    """What an operator may ask of the daemon."""

    PAUSE = "pause"
    RESUME = "resume"


@dataclass(frozen=True, slots=True)
class Command:
    """What an operator asked for."""

    id: int
    at: Instant
    kind: str
    """An `Order`, unless a newer program wrote it."""
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Announced:
    """A maintenance that was announced by command."""

    id: str
    title: str
    patterns: tuple[str, ...]
    starts: Instant
    ends: Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """How the daemon before us ended."""

    beat_at: Instant | None
    cleanly: bool


class Journal:
    """The writing side. Every method runs in the one thread of the writer."""

    def __init__(self, database: Database, epoch: int, owned: Callable[[], bool] = lambda: True) -> None:
        """`owned` asks, without asking the database, whether the lock of `epoch` is still held."""
        self._database = database
        self._epoch = epoch
        self._owned = owned
        self._ids: dict[str, int] = {}
        self._insert, words = _dialect(database)
        self._statements = _statements(self._insert)
        self._many = {name: _Many(self._statements[name], words) for name in ("probe", "belief")}

    def write(self, steps: Sequence[Step]) -> None:
        """All of it in one transaction. Raises DatabaseAway, DatabaseRefused or lock.Deposed."""
        try:
            self._transact(lambda connection: self._write(connection, steps))
        except BaseException:
            # A number that was given in a transaction that failed is nobody's.
            self._ids.clear()
            raise

    def register(self, endpoints: Iterable[str], now: Instant) -> None:
        """Make sure that each endpoint has its number, and mark those that are gone."""
        wanted = list(endpoints)
        known = frozenset(wanted)

        def work(connection: Connection) -> None:
            self._learn(connection, wanted, now)
            table = schema.endpoint
            here = connection.execute(select(table.c.name, table.c.id).where(table.c.removed_at.is_(None)))
            # In Python, and one by one: a long list of names does not fit into one statement.
            gone = [{"gone": row.id} for row in here if row.name not in known]
            if gone:
                mark = update(table).where(table.c.id == bindparam("gone")).values(removed_at=now)
                connection.execute(mark, gone)

        self._transact(work, limit_s=30.0)

    def begin(self, now: Instant, version: str) -> None:
        """A daemon starts: from now on it has not stopped."""
        self._daemon({"started_at": now, "stopped_at": None, "version": version})

    def beat(self, now: Instant, status: Mapping[str, Any]) -> None:
        """The heartbeat that the page looks at."""
        values = {"beat_at": now, "status": json.dumps(status), "stopped_at": None}
        self._daemon(values)

    def stop(self, now: Instant) -> None:
        """A clean end: what comes after is `stopped`, not `not_running`."""
        self._daemon({"beat_at": now, "stopped_at": now})

    def _daemon(self, values: Row) -> None:
        def work(connection: Connection) -> None:
            connection.execute(update(schema.daemon).where(schema.daemon.c.id == 1).values(**values))

        self._transact(work)

    # Writing

    def _transact(self, work: Callable[[Connection], T], limit_s: float = WRITE_S) -> T:
        """In one transaction of the owner. Raises lock.Deposed, or DatabaseAway if the lock went with
        its connection, so that it has to be taken anew before anything is written.
        """

        def as_owner(connection: Connection) -> T:
            lock.check(connection, self._epoch)
            return work(connection)

        if not self._owned():
            raise DatabaseAway(f"{self._database.label} ended the connection that held the lock")
        return self._database.write(as_owner, limit_s)

    def _learn(self, connection: Connection, names: Sequence[str], now: Instant) -> None:
        if names:
            statement = self._insert(schema.endpoint).on_conflict_do_update(
                index_elements=["name"], set_={"removed_at": None}
            )
            connection.execute(statement, [{"name": name, "first_seen": now} for name in names])
        self._read_ids(connection)

    def _read_ids(self, connection: Connection) -> None:
        rows = connection.execute(select(schema.endpoint.c.name, schema.endpoint.c.id))
        self._ids = {row.name: row.id for row in rows}

    def _number(self, connection: Connection, endpoint: str, now: Instant) -> int:
        if endpoint not in self._ids:
            # One that is no longer configured has its number too, and stays removed.
            self._read_ids(connection)
        if endpoint not in self._ids:
            self._learn(connection, [endpoint], now)
        return self._ids[endpoint]

    def _write(self, connection: Connection, steps: Sequence[Step]) -> None:
        rows: dict[str, list[Row]] = {name: [] for name in self._statements}
        beliefs: dict[str, Belief] = {}
        for step in steps:
            if step.result is not None:
                number = self._number(connection, step.result.endpoint, step.result.at)
                rows["probe"].append(_probe_row(step.result, number))
                if step.result.evidence is not None:
                    rows["evidence"].append(_evidence_row(step.result, number))
            if step.belief is not None:
                beliefs[step.belief.endpoint] = step.belief
            changes_nothing = step.result is not None and step.belief is not None and not step.urgent
            if not changes_nothing:
                self._gather(connection, step, rows)
            if step.events and step.result is not None:
                number = self._number(connection, step.result.endpoint, step.result.at)
                rows["event"] += _event_rows(step.events, number)
        for name, belief in beliefs.items():
            rows["belief"].append(_belief_row(belief, self._number(connection, name, belief.since)))
        for name, statement in self._statements.items():
            if rows[name] and name in self._many:
                self._many[name].run(connection, rows[name])
            elif rows[name]:
                connection.execute(statement, rows[name])

    def _gather(self, connection: Connection, step: Step, rows: dict[str, list[Row]]) -> None:
        """The rarer parts of a step."""

        def number(endpoint: str, at: Instant) -> int:
            return self._number(connection, endpoint, at)

        self._gather_news(step, rows, number)
        rows["alert"] += [_alert_row(owed) for owed in step.alerts]
        for hushed in step.quiet:
            rows["quiet"].append(
                {
                    "endpoint_id": number(hushed.endpoint, hushed.starts),
                    "kind": str(hushed.quiet),
                    "starts": hushed.starts,
                    "ends": hushed.ends,
                }
            )
        if step.gap is not None:
            rows["gap"].append(
                {
                    "endpoint_id": number(step.gap.endpoint, step.gap.first),
                    "first": step.gap.first,
                    "last": step.gap.last,
                    "slots": step.gap.slots,
                    "reason": str(step.gap.reason),
                }
            )
        if step.segment is not None:
            rows["schedule"].append(
                _segment_row(step.segment, number(step.segment.endpoint, step.segment.starts))
            )
        if step.sent is not None:
            rows["sent"].append(_sent_row(step.sent))
        if step.done is not None:
            rows["command"].append({"command_id": step.done.command, "done": step.done.at})
        if step.report is not None:
            rows["report"].append(_report_row(step.report, number(step.report.endpoint, step.report.at)))
        if step.blind is not None:
            rows["blind"].append(_blind_row(step.blind))

    def _gather_news(
        self, step: Step, rows: dict[str, list[Row]], number: Callable[[str, Instant], int]
    ) -> None:
        """What changed in the eyes of people: states and incidents."""
        for moved in step.transitions:
            rows["transition"].append(
                {
                    "endpoint_id": number(moved.endpoint, moved.at),
                    "sequence": moved.sequence,
                    "at": moved.at,
                    "effective_at": moved.effective_at,
                    "before": str(moved.before),
                    "after": str(moved.after),
                    "reason": moved.reason,
                }
            )
        for told in step.updates:
            endpoint_id = number(told.endpoint, told.at)
            rows["incident"].append(
                {
                    "id": told.incident,
                    "sequence": told.sequence,
                    "title": told.title,
                    "impact": str(told.impact),
                    "started_at": told.started,
                    "ended_at": told.ended,
                }
            )
            rows["incident_endpoint"].append({"incident_id": told.incident, "endpoint_id": endpoint_id})
            rows["incident_update"].append(
                {
                    "incident_id": told.incident,
                    "sequence": told.sequence,
                    "at": told.at,
                    "status": told.status,
                    "text": told.text,
                }
            )

    # Reading

    def load(self, rings: Mapping[str, Span], now: Instant) -> Checkpoint:
        """What the daemon before us knew. `rings` says how far back each endpoint's rules look."""
        return self._database.read(lambda connection: self._load(connection, rings, now), 60.0)

    def _load(self, connection: Connection, rings: Mapping[str, Span], now: Instant) -> Checkpoint:
        names = {number: name for name, number in self._ids.items()}
        beliefs: dict[str, Belief] = {}
        for number, body in connection.execute(select(schema.belief.c.endpoint_id, schema.belief.c.body)):
            if number in names:
                beliefs[names[number]] = belief_from_json(json.loads(body))
        gaps = select(schema.gap.c.endpoint_id, func.max(schema.gap.c.last)).group_by(
            schema.gap.c.endpoint_id
        )
        accounted = {names[n]: Instant(last) for n, last in connection.execute(gaps) if n in names}
        segments = _read_segments(connection, names)
        # An endpoint that was taken out of the config has a segment to be closed at its last slot.
        for name in rings.keys() | segments.keys():
            number = self._ids.get(name)
            if number is None:
                continue
            ring, slot = _read_ring(connection, number, rings.get(name, Span(0)), now)
            if name in beliefs:
                beliefs[name] = replace(beliefs[name], ring=ring)
            if slot is not None:
                accounted[name] = max(slot, accounted.get(name, slot))
        return Checkpoint(
            at=now,
            beliefs=beliefs,
            owed=tuple(_read_owed(connection)),
            segments=segments,
            accounted={
                # Slots of an earlier segment say nothing of the one in force.
                name: slot
                for name, slot in accounted.items()
                if name not in segments or slot >= segments[name].starts
            },
            reports=_read_reports(connection, names),
            blind=_read_blind(connection),
            quiet=_read_quiet(
                connection, names, {name: accounted.get(name, one.starts) for name, one in segments.items()}
            ),
        )

    def stopped(self) -> Stopped:
        """How the daemon before us ended; read it before the first beat of ours."""

        def work(connection: Connection) -> Stopped:
            table = schema.daemon
            row = connection.execute(select(table.c.beat_at, table.c.stopped_at)).one_or_none()
            if row is None:
                return Stopped(beat_at=None, cleanly=False)
            return Stopped(beat_at=row.beat_at or None, cleanly=row.stopped_at is not None)

        return self._database.read(work)

    def newest_alerts(self, prefix: str) -> list[tuple[str, int, str]]:
        """Incident, sequence and channel of all messages of the newest incident whose id begins like that."""

        def work(connection: Connection) -> list[tuple[str, int, str]]:
            table = schema.alert
            newest = select(func.max(table.c.incident)).where(
                table.c.incident.startswith(prefix, autoescape=True)
            )
            rows = connection.execute(
                select(table.c.incident, table.c.sequence, table.c.channel)
                .where(table.c.incident == newest.scalar_subquery())
                .order_by(table.c.sequence, table.c.channel)
            )
            return [(row.incident, row.sequence, row.channel) for row in rows]

        return self._database.read(work)

    def asked(self, since: Instant) -> tuple[list[Command], list[Announced]]:
        """What operators asked for and nobody has done yet, oldest first; and the maintenance
        announced that does not end before `since`."""
        return self._database.read(lambda connection: _asked(connection, since), 2.0)

    def prune(self, before: Instant) -> int:
        """Delete some of the results that are older than that; how many."""

        return self._transact(lambda connection: prune(connection, before), limit_s=5.0)

    def spent(self, endpoint: str, since: Instant) -> Decimal:
        """USD that an endpoint's probes cost since then."""

        def work(connection: Connection) -> int:
            table = schema.probe
            query = select(func.coalesce(func.sum(table.c.cost_pico), 0)).where(
                table.c.endpoint_id == self._ids.get(endpoint, -1), table.c.at >= since
            )
            return int(connection.execute(query).scalar_one())

        return Decimal(self._database.read(work)) / PICO


def _asked(connection: Connection, since: Instant) -> tuple[list[Command], list[Announced]]:
    command, planned = schema.command, schema.maintenance
    asked = connection.execute(
        select(command.c.id, command.c.at, command.c.kind, command.c.arguments)
        .where(command.c.done_at.is_(None))
        .order_by(command.c.id)
    ).all()
    announced = connection.execute(select(planned).where(planned.c.ends > since)).all()
    return (
        [Command(row.id, Instant(row.at), row.kind, json.loads(row.arguments)) for row in asked],
        [
            Announced(
                id=row.id,
                title=row.title,
                patterns=tuple(json.loads(row.patterns)),
                starts=Instant(row.starts),
                ends=Instant(row.ends),
            )
            for row in announced
        ],
    )


def _dialect(database: Database) -> tuple[Callable[[Table], Any], Dialect]:
    """How it inserts, and its words with a place for each value. Only the one in use is loaded."""
    if database.is_sqlite:
        from sqlalchemy.dialects import sqlite

        return sqlite.insert, sqlite.dialect()
    from sqlalchemy.dialects import postgresql

    return postgresql.insert, postgresql.dialect(paramstyle="format")  # type: ignore[no-untyped-call]


def _statements(insert: Any) -> dict[str, Any]:
    """By table, in the order in which they must run; `sent` and `command` are updates."""
    belief, incident = insert(schema.belief), insert(schema.incident)
    segment, hushed, blind = insert(schema.schedule), insert(schema.quiet), insert(schema.blind)
    owed, reported = schema.alert, insert(schema.report)
    return {
        "probe": insert(schema.probe).on_conflict_do_nothing(index_elements=["endpoint_id", "at", "salt"]),
        "evidence": insert(schema.evidence).on_conflict_do_nothing(),
        "belief": belief.on_conflict_do_update(
            index_elements=["endpoint_id"],
            set_=_excluded(belief, schema.belief, "endpoint_id"),
            where=belief.excluded.sequence > schema.belief.c.sequence,
        ),
        "transition": insert(schema.transition).on_conflict_do_nothing(),
        "incident": incident.on_conflict_do_update(
            index_elements=["id"],
            set_=_excluded(incident, schema.incident, "id"),
            where=incident.excluded.sequence > schema.incident.c.sequence,
        ),
        "incident_endpoint": insert(schema.incident_endpoint).on_conflict_do_nothing(),
        "incident_update": insert(schema.incident_update).on_conflict_do_nothing(),
        "alert": insert(schema.alert).on_conflict_do_nothing(),
        "quiet": hushed.on_conflict_do_update(
            index_elements=["endpoint_id", "kind", "starts"], set_={"ends": hushed.excluded.ends}
        ),
        "event": insert(schema.event).on_conflict_do_nothing(),
        "blind": blind.on_conflict_do_update(
            index_elements=["starts"], set_={"ends": func.coalesce(blind.excluded.ends, schema.blind.c.ends)}
        ),
        "gap": insert(schema.gap).on_conflict_do_nothing(),
        "schedule": segment.on_conflict_do_update(
            index_elements=["endpoint_id", "starts"],
            set_=_excluded(segment, schema.schedule, "endpoint_id", "starts"),
        ),
        "report": reported.on_conflict_do_update(
            index_elements=["endpoint_id"], set_=_excluded(reported, schema.report, "endpoint_id")
        ),
        "sent": update(owed)
        .where(and_(owed.c.key == bindparam("alert_key"), owed.c.sent_at.is_(None)))
        .values(
            attempts=bindparam("tries"),
            again=bindparam("next"),
            sent_at=bindparam("sent"),
            dead_at=bindparam("dead"),
            error=bindparam("why"),
        ),
        "command": update(schema.command)
        .where(schema.command.c.id == bindparam("command_id"))
        .values(done_at=bindparam("done")),
    }


class _Many:
    """A statement for many rows, in the driver's own words: SQLAlchemy would look at each row anew."""

    def __init__(self, statement: Any, words: Dialect) -> None:
        compiled = statement.compile(dialect=words)
        self._text = str(compiled)
        self._pick: Callable[[Row], tuple[Any, ...]] = itemgetter(*compiled.positiontup)

    def run(self, connection: Connection, rows: Iterable[Row]) -> None:
        cursor = connection.connection.cursor()
        cursor.executemany(self._text, [self._pick(row) for row in rows])
        cursor.close()


def _excluded(statement: Any, table: Table, *keys: str) -> dict[str, Any]:
    return {
        column.name: statement.excluded[column.name] for column in table.columns if column.name not in keys
    }


def _us(milliseconds: float | None, most: int = _MOST_INT) -> int | None:
    return None if milliseconds is None else min(round(milliseconds * 1000.0), most)


def _milli(value: float | None) -> int | None:
    return None if value is None else min(round(value * 1000.0), _MOST_INT)


def _probe_row(result: Result, number: int) -> Row:
    figures = result.figures
    flags = (
        (schema.FLAG_SCHEDULED if result.scheduled else 0)
        | (schema.FLAG_MAINTENANCE if result.maintenance else 0)
        | (0 if result.sent else schema.FLAG_NOT_SENT)
        | (schema.FLAG_ESTIMATE if figures.token_source is TokenSource.ESTIMATE else 0)
        | (schema.FLAG_CACHE_HIT if result.cache_hit else 0)
    )
    if result.flaws:
        flags |= marks.bits(result.outcome, result.flaws, spoke=figures.ttft_ms is not None)
    setup = None
    if figures.ttft_ms is not None and figures.ttft_net_ms is not None:
        setup = figures.ttft_ms - figures.ttft_net_ms
    cost = result.cost_usd
    return {
        "endpoint_id": number,
        "at": result.at,
        "salt": int(result.probe_id[16:], 16),
        "late_us": result.at - result.slot,
        "location_id": 0,
        "outcome": schema.OUTCOME_CODES[result.outcome],
        "flags": flags,
        "setup_us": _us(setup),
        "ttft_us": _us(figures.ttft_ms),
        "ttfat_us": _us(figures.ttfat_ms),
        "total_us": _us(figures.total_ms, _MOST_LONG),
        "output_speed_milli": _milli(figures.output_speed),
        "throughput_milli": _milli(figures.effective_throughput),
        "stall_us": _us(figures.max_stall_ms, _MOST_LONG),
        # Of the figure that was judged: the first token where there is one, else the whole answer.
        "uncertainty_us": _us(
            figures.total_uncertainty_ms if figures.ttft_ms is None else figures.ttft_uncertainty_ms
        ),
        "input_tokens": figures.input_tokens,
        "output_tokens": figures.output_tokens,
        "reasoning_tokens": figures.reasoning_tokens,
        "cached_tokens": figures.cached_tokens,
        "cost_pico": None if cost is None else int(cost * PICO),
        "detail": result.detail,
        "request_id": result.request_id,
        "timeline": result.timeline,
        "headroom_permille": result.headroom_permille,
    }


def _evidence_row(result: Result, number: int) -> Row:
    return {
        "endpoint_id": number,
        "at": result.at,
        "salt": int(result.probe_id[16:], 16),
        "body": result.evidence,
    }


def _event_rows(events: Iterable[identity.Event], number: int) -> list[Row]:
    return [
        {
            "endpoint_id": number,
            "at": event.at,
            "number": event.number,
            "kind": str(event.kind),
            "text": event.text,
        }
        for event in events
    ]


def _belief_row(belief: Belief, number: int) -> Row:
    return {
        "endpoint_id": number,
        "sequence": belief.sequence,
        "state": belief.shown,
        "since": belief.since,
        "reason": belief.reason,
        "body": _compact(belief_json(belief)),
    }


def _alert_row(owed: Alert) -> Row:
    return {
        "key": owed.key,
        "incident": owed.incident,
        "sequence": owed.sequence,
        "channel": owed.channel,
        "kind": str(owed.kind),
        "endpoint": owed.endpoint,
        "title": owed.title,
        "text": owed.text,
        "created": owed.created,
        "attempts": 0,
        "again": None,
    }


def _segment_row(segment: Segment, number: int) -> Row:
    return {
        "endpoint_id": number,
        "starts": segment.starts,
        "ends": segment.ends,
        "interval_us": segment.grid.interval,
        "phase_us": segment.grid.phase,
        "timeout_us": segment.timeout,
    }


def _report_row(report: Report, number: int) -> Row:
    return {
        "endpoint_id": number,
        "at": report.at,
        "said": str(report.said),
        "message": report.message,
        "duration_us": None if report.duration_ms is None else round(report.duration_ms * 1000.0),
    }


def _blind_row(blind: Blind) -> Row:
    return {
        "starts": blind.started,
        "ends": blind.ended,
        "need": str(blind.need),
        "reason": blind.reason,
    }


def _read_blind(connection: Connection) -> Blind | None:
    """The record that is open."""
    table = schema.blind
    row = connection.execute(
        select(table).where(table.c.ends.is_(None)).order_by(table.c.starts.desc()).limit(1)
    ).one_or_none()
    if row is None:
        return None
    return Blind(started=Instant(row.starts), ended=None, need=Need(row.need), reason=row.reason)


def _sent_row(sent: Sent) -> Row:
    return {
        "alert_key": sent.key,
        "tries": sent.attempts,
        "next": sent.again,
        "sent": sent.at if sent.fate == Fate.SENT else None,
        "dead": sent.at if sent.fate == Fate.DEAD else None,
        "why": sent.error,
    }


def _read_ring(
    connection: Connection, number: int, over: Span, now: Instant
) -> tuple[tuple[Sample, ...], Instant | None]:
    """The newest scheduled looks of an endpoint, oldest first, and the newest slot among them."""
    table = schema.probe
    query = (
        select(
            table.c.at,
            table.c.late_us,
            table.c.outcome,
            table.c.flags,
            table.c.ttft_us,
            table.c.total_us,
            table.c.output_speed_milli,
        )
        .where(table.c.endpoint_id == number)
        .order_by(table.c.at.desc())
        .limit(RING_MOST if over else RING_KEPT)
    )
    ring: list[Sample] = []
    slot: Instant | None = None
    for row in connection.execute(query):
        if not row.flags & schema.FLAG_SCHEDULED:
            continue
        if len(ring) >= RING_KEPT and row.at <= now - over:
            break
        slot = Instant(max(slot or 0, row.at - row.late_us))
        outcome = schema.OUTCOME_NAMES[row.outcome]
        works = outcome.works
        ring.append(
            Sample(
                at=Instant(row.at),
                works=works,
                bad=outcome.blame is Blame.PROVIDER,
                ttft_ms=row.ttft_us / 1000 if works and row.ttft_us is not None else None,
                total_ms=row.total_us / 1000 if works else None,
                output_speed=(
                    row.output_speed_milli / 1000 if works and row.output_speed_milli is not None else None
                ),
                flaws=marks.stream(row.outcome, row.flags & marks.MASK, row.ttft_us is not None),
            )
        )
    return tuple(reversed(ring)), slot


def _read_owed(connection: Connection) -> Iterable[Owed]:
    table = schema.alert
    query = (
        select(table)
        .where(table.c.sent_at.is_(None), table.c.dead_at.is_(None))
        .order_by(table.c.created, table.c.sequence)
    )
    for row in connection.execute(query):
        yield Owed(
            alert=Alert(
                incident=row.incident,
                sequence=row.sequence,
                channel=row.channel,
                kind=Kind(row.kind),
                endpoint=row.endpoint,
                title=row.title,
                text=row.text,
                created=Instant(row.created),
            ),
            attempts=row.attempts,
            again=None if row.again is None else Instant(row.again),
        )


def _read_segments(connection: Connection, names: Mapping[int, str]) -> dict[str, Segment]:
    table = schema.schedule
    rows = connection.execute(select(table).where(table.c.ends.is_(None)).order_by(table.c.starts))
    return {
        names[row.endpoint_id]: Segment(
            endpoint=names[row.endpoint_id],
            grid=Grid(Span(row.interval_us), Span(row.phase_us)),
            timeout=Span(row.timeout_us),
            starts=Instant(row.starts),
            ends=None,
        )
        for row in rows
        if row.endpoint_id in names
    }


def _read_quiet(
    connection: Connection, names: Mapping[int, str], accounted: Mapping[str, Instant]
) -> dict[str, tuple[QuietSpan, ...]]:
    """Maintenance and pauses that ended after the newest slot that is accounted for."""
    table = schema.quiet
    query = select(table).where(table.c.ends > min(accounted.values(), default=Instant(0)))
    ended: dict[str, tuple[QuietSpan, ...]] = {}
    for row in connection.execute(query.order_by(table.c.starts)):
        name = names.get(row.endpoint_id, "")
        if name in accounted and row.ends > accounted[name]:
            span = QuietSpan(
                endpoint=name, quiet=Quiet(row.kind), starts=Instant(row.starts), ends=Instant(row.ends)
            )
            ended[name] = (*ended.get(name, ()), span)
    return ended


def _read_reports(connection: Connection, names: Mapping[int, str]) -> dict[str, Report]:
    return {
        names[row.endpoint_id]: Report(
            endpoint=names[row.endpoint_id],
            at=Instant(row.at),
            said=Word(row.said),
            message=row.message,
            duration_ms=None if row.duration_us is None else row.duration_us / 1000,
        )
        for row in connection.execute(select(schema.report))
        if row.endpoint_id in names
    }
