"""Reads what is stored, for windows, pages and feeds. Nothing here writes or judges.

Every function takes the connection of a transaction (`Database.read`), so that whoever needs
several of them sees one moment. Rows of an endpoint are found by the primary key, never by
a scan of the table.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, func, or_, select, tuple_
from sqlalchemy.schema import Column

from monitor.core import evidence as proof
from monitor.core.belief import WITHDRAWN, Belief, State
from monitor.core.evidence import Evidence
from monitor.core.figures import Figures, TokenSource
from monitor.core.identity import Change, Event, place_of
from monitor.core.instant import MINUTE, Instant, Span
from monitor.core.outcome import Blame
from monitor.core.path import Blind, Need
from monitor.core.slots import Gap, GapReason, Grid, Segment
from monitor.core.snapshot import Heartbeat, Story, Told
from monitor.core.step import Result, belief_from_json, probe_id
from monitor.core.timeline import Phases, unpack
from monitor.core.uptime import Record, Stretch, Turn
from monitor.core.uptime import Result as Counted
from monitor.store import marks, schema

Moment = Connection
"""A transaction in which everything is seen as of one moment."""

_PICO = Decimal(10) ** 12
_LARGEST = 2**63 - 1
_AT_ONCE = 500
"""Keys in one statement; databases bound how many values it takes."""
_EARLY = MINUTE
"""A probe may start before its slot, by the width of a timer; never by as much as this."""
_BLAMES: dict[int, Blame | None] = {code: outcome.blame for code, outcome in schema.OUTCOME_NAMES.items()}


# Endpoints


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What is newest of an endpoint."""

    number: int
    """Its key in the tables."""
    belief: Belief | None = None
    """Without its ring."""
    last: Result | None = None


def numbers(connection: Connection) -> dict[str, int]:
    """The key of every endpoint that ever was, by its id."""
    table = schema.endpoint
    return {row.name: row.id for row in connection.execute(select(table.c.name, table.c.id))}


def number(connection: Connection, endpoint: str) -> int | None:
    """The key of one endpoint; None if nothing was ever stored of it."""
    table = schema.endpoint
    return connection.execute(select(table.c.id).where(table.c.name == endpoint)).scalar_one_or_none()


def heads(connection: Connection) -> dict[str, Head]:
    """What is newest of every endpoint that ever was, by its id."""
    names = {number: name for name, number in numbers(connection).items()}
    belief = schema.belief
    beliefs = {
        row.endpoint_id: belief_from_json(json.loads(row.body))
        for row in connection.execute(select(belief.c.endpoint_id, belief.c.body))
    }
    last = _newest_probes(connection)
    return {
        name: Head(
            number=number,
            belief=beliefs.get(number),
            last=_result(last[number], name) if number in last else None,
        )
        for number, name in names.items()
    }


def _newest_probes(connection: Connection) -> dict[int, Row[Any]]:
    """By the key of the endpoint: its newest probe."""
    table, other, endpoint = schema.probe, schema.probe.alias("other"), schema.endpoint
    newest = (
        select(other.c.at)
        .where(other.c.endpoint_id == endpoint.c.id)
        .order_by(other.c.at.desc())
        .limit(1)
        .scalar_subquery()
    )
    # A look-up by key for each endpoint. The join is an outer one, because SQLite would turn an
    # inner one round: read all probes, and look for the endpoint of each.
    each = endpoint.outerjoin(table, and_(table.c.endpoint_id == endpoint.c.id, table.c.at == newest))
    query = select(table).select_from(each).order_by(endpoint.c.id, table.c.salt)
    return {row.endpoint_id: row for row in connection.execute(query) if row.endpoint_id is not None}


def belief(connection: Connection, number: int) -> Belief | None:
    """What is believed of one endpoint, without its ring."""
    table = schema.belief
    body = connection.execute(select(table.c.body).where(table.c.endpoint_id == number)).scalar_one_or_none()
    return None if body is None else belief_from_json(json.loads(body))


# Probes


def probes(
    connection: Connection,
    number: int,
    endpoint: str,
    limit: int,
    *,
    before: str | None = None,
    upto: str | None = None,
) -> list[Result]:
    """The newest probes of an endpoint, newest first; those before, or up to and with, that probe.

    Raises ValueError if `before` or `upto` is no probe id.
    """
    table = schema.probe
    query = select(table).where(table.c.endpoint_id == number)
    key = tuple_(table.c.at, table.c.salt)
    if before is not None:
        query = query.where(table.c.at <= _key(before)[0], key < tuple_(*_key(before)))
    if upto is not None:
        query = query.where(table.c.at <= _key(upto)[0], key <= tuple_(*_key(upto)))
    query = query.order_by(table.c.at.desc(), table.c.salt.desc()).limit(limit)
    return [_result(row, endpoint) for row in connection.execute(query)]


def _key(probe: str) -> tuple[int, int]:
    """A probe id as it stands in the table. Raises ValueError if it is none."""
    if len(probe) != 32 or not set(probe) <= set("0123456789abcdef"):
        raise ValueError("a probe id has 32 hexadecimal digits")
    at, salt = int(probe[:16], 16), int(probe[16:], 16)
    return min(at, _LARGEST), min(salt, _LARGEST)


def phases(probe: Result) -> Phases | None:
    """The timeline of a stored probe; None where it has none that this version can read."""
    try:
        return unpack(probe.timeline) if probe.timeline else None
    except ValueError:
        return None


def _result(row: Row[Any], endpoint: str) -> Result:
    at = Instant(row.at)
    return Result(
        probe_id=probe_id(at, row.salt),
        endpoint=endpoint,
        at=at,
        slot=Instant(row.at - row.late_us),
        scheduled=bool(row.flags & schema.FLAG_SCHEDULED),
        outcome=schema.OUTCOME_NAMES[row.outcome],
        sent=not row.flags & schema.FLAG_NOT_SENT,
        maintenance=bool(row.flags & schema.FLAG_MAINTENANCE),
        detail=row.detail,
        request_id=row.request_id,
        figures=_figures(row),
        cost_usd=None if row.cost_pico is None else Decimal(row.cost_pico) / _PICO,
        timeline=row.timeline or b"",
        flaws=marks.flaws(row.outcome, row.flags & marks.MASK, row.ttft_us is not None),
        cache_hit=bool(row.flags & schema.FLAG_CACHE_HIT),
        headroom_permille=row.headroom_permille,
    )


def _figures(row: Row[Any]) -> Figures:
    ttft, ttfat, speed = row.ttft_us, row.ttfat_us, row.output_speed_milli
    source = None
    if ttft is not None:
        source = TokenSource.ESTIMATE if row.flags & schema.FLAG_ESTIMATE else TokenSource.USAGE
    return Figures(
        ttft_ms=_thousandth(ttft),
        ttft_net_ms=None if ttft is None or row.setup_us is None else (ttft - row.setup_us) / 1000,
        ttfat_ms=_thousandth(ttfat),
        output_speed=_thousandth(speed),
        effective_throughput=_thousandth(row.throughput_milli),
        e2e_500_ms=None if ttfat is None or not speed else ttfat / 1000 + 500_000_000 / speed,
        max_stall_ms=_thousandth(row.stall_us),
        total_ms=row.total_us / 1000,
        ttft_uncertainty_ms=None if ttft is None else _thousandth(row.uncertainty_us),
        total_uncertainty_ms=_thousandth(row.uncertainty_us) if ttft is None else None,
        input_tokens=row.input_tokens,
        output_tokens=row.output_tokens,
        reasoning_tokens=row.reasoning_tokens,
        cached_tokens=row.cached_tokens,
        token_source=source,
    )


def _thousandth(stored: int | None) -> float | None:
    return None if stored is None else stored / 1000


# Evidence of failures


def evidence(connection: Connection, number: int, limit: int, *, probe: str | None = None) -> list[Evidence]:
    """What is kept of the newest failures of an endpoint, newest first; or of that probe alone.

    Raises ValueError if `probe` is no probe id.
    """
    table = schema.evidence
    query = select(table.c.body).where(table.c.endpoint_id == number)
    if probe is not None:
        at, salt = _key(probe)
        query = query.where(table.c.at == at, table.c.salt == salt)
    query = query.order_by(table.c.at.desc(), table.c.salt.desc()).limit(limit)
    return [found for body in connection.execute(query).scalars() if (found := _proven(body)) is not None]


def _proven(body: bytes) -> Evidence | None:
    """None for one that this version cannot read."""
    try:
        return proof.load(body)
    except ValueError:
        return None


def with_evidence(connection: Connection, number: int, found: Sequence[Result]) -> frozenset[str]:
    """The ids of those probes of an endpoint of which there is evidence."""
    if not found:
        return frozenset()
    table = schema.evidence
    moments = [one.at for one in found]
    query = select(table.c.at, table.c.salt).where(
        table.c.endpoint_id == number, table.c.at >= min(moments), table.c.at <= max(moments)
    )
    return frozenset(probe_id(Instant(at), salt) for at, salt in connection.execute(query))


def probe(connection: Connection, id_: str) -> Result | None:
    """The stored probe of that id, whosesoever it is; None if there is none.

    Raises ValueError if it is no probe id.
    """
    at, salt = _key(id_)
    table, endpoint = schema.probe, schema.endpoint
    # One look-up by key for each endpoint.
    mine = table.c.endpoint_id.in_(select(endpoint.c.id))
    row = connection.execute(
        select(table, endpoint.c.name)
        .join(endpoint, endpoint.c.id == table.c.endpoint_id)
        .where(mine, table.c.at == at, table.c.salt == salt)
    ).first()
    return None if row is None else _result(row, row.name)


def more_probes_than(connection: Connection, limit: int) -> bool:
    """Whether that many probes are stored of all endpoints together; counts no further."""
    some = select(schema.probe.c.at).limit(limit + 1).subquery()
    return connection.execute(select(func.count()).select_from(some)).scalar_one() > limit


# What windows are made of


def record(connection: Connection, number: int, endpoint: str, since: Instant) -> Record:
    """All that the figures of windows need which begin at `since` or later."""
    return Record(
        results=results(connection, number, since),
        turns=turns(connection, number, since),
        quiet=quiet(connection, number, since),
        incidents=incident_stretches(connection, number, since),
        schedule=schedule(connection, number, endpoint),
    )


def results(connection: Connection, number: int, since: Instant) -> list[Counted]:
    """The results in slots from `since` on, and perhaps a few of before; oldest first."""
    c = schema.probe.c
    columns = (
        *(c.at, c.late_us, c.outcome, c.flags, c.setup_us, c.ttft_us, c.ttfat_us),
        *(c.output_speed_milli, c.throughput_milli, c.stall_us, c.total_us),
    )
    query = select(*columns).where(c.endpoint_id == number, c.at >= since - _EARLY).order_by(c.at)
    return [_counted(row) for row in connection.execute(query)]


def _counted(row: tuple[Any, ...]) -> Counted:
    # Windows of 90 days read a hundred thousand of these: by position, because names are slower.
    at, late, outcome, flags, setup, ttft, ttfat, speed, throughput, stall, total = row
    return Counted(
        Instant(at - late),
        _BLAMES[outcome],
        flags & schema.FLAG_SCHEDULED != 0,
        flags & schema.FLAG_MAINTENANCE != 0,
        None if ttft is None else ttft / 1000,
        None if ttft is None or setup is None else (ttft - setup) / 1000,
        None if ttfat is None else ttfat / 1000,
        None if speed is None else speed / 1000,
        None if throughput is None else throughput / 1000,
        None if stall is None else stall / 1000,
        total / 1000,
        marks.stream(outcome, flags & marks.MASK, ttft is not None),
    )


def turns(connection: Connection, number: int, since: Instant) -> list[Turn]:
    """The transitions of an endpoint as they were decided, from the one that held at `since` on."""
    table = schema.transition
    query = (
        select(table.c.effective_at, table.c.after)
        .where(table.c.endpoint_id == number)
        .order_by(table.c.sequence.desc())
    )
    found: list[Turn] = []
    for effective_at, after in connection.execute(query):
        found.append(Turn(Instant(effective_at), State(after)))
        if effective_at <= since:
            break
    return found[::-1]


def quiet(connection: Connection, number: int, since: Instant) -> list[Stretch]:
    """Maintenance and pauses of an endpoint that had not ended by `since`."""
    table = schema.quiet
    query = select(table.c.starts, table.c.ends).where(
        table.c.endpoint_id == number, or_(table.c.ends.is_(None), table.c.ends > since)
    )
    return [_stretch(starts, ends) for starts, ends in connection.execute(query)]


def incident_stretches(connection: Connection, number: int, since: Instant) -> list[Stretch]:
    """When the incidents of an endpoint lasted that had not ended by `since`; those withdrawn were none."""
    incident, member, told = schema.incident, schema.incident_endpoint, schema.incident_update
    withdrawn = (
        select(told.c.incident_id)
        .where(told.c.incident_id == incident.c.id, told.c.status == WITHDRAWN)
        .exists()
    )
    query = (
        select(incident.c.started_at, incident.c.ended_at)
        .join(member, member.c.incident_id == incident.c.id)
        .where(
            member.c.endpoint_id == number,
            or_(incident.c.ended_at.is_(None), incident.c.ended_at > since),
            ~withdrawn,
        )
    )
    return [_stretch(started, ended) for started, ended in connection.execute(query)]


def _stretch(start: int, end: int | None) -> Stretch:
    return Stretch(Instant(start), None if end is None else Instant(end))


def schedule(connection: Connection, number: int, endpoint: str) -> list[Segment]:
    """Every schedule that ever was in force for an endpoint, oldest first."""
    table = schema.schedule
    query = select(table).where(table.c.endpoint_id == number).order_by(table.c.starts)
    return [
        Segment(
            endpoint=endpoint,
            grid=Grid(Span(row.interval_us), Span(row.phase_us)),
            timeout=Span(row.timeout_us),
            starts=Instant(row.starts),
            ends=None if row.ends is None else Instant(row.ends),
        )
        for row in connection.execute(query)
    ]


def gaps(connection: Connection, number: int, endpoint: str, since: Instant) -> list[Gap]:
    """The gaps of an endpoint that reach into the time from `since` on, oldest first."""
    table = schema.gap
    query = (
        select(table)
        .where(table.c.endpoint_id == number, table.c.last >= since)
        .order_by(table.c.first, table.c.last)
    )
    return [
        Gap(endpoint, Instant(row.first), Instant(row.last), row.slots, GapReason(row.reason))
        for row in connection.execute(query)
    ]


# Incidents


def incidents(connection: Connection, limit: int) -> list[Story]:
    """All that are open and the newest of the others, at most `limit` of those; newest first."""
    table = schema.incident
    newest = table.c.started_at.desc(), table.c.id.desc()
    open_ = connection.execute(select(table).where(table.c.ended_at.is_(None))).all()
    over = connection.execute(
        select(table).where(table.c.ended_at.is_not(None)).order_by(*newest).limit(limit)
    ).all()
    rows = sorted([*open_, *over], key=_by_start, reverse=True)
    return list(_stories(connection, rows))


def incident(connection: Connection, id_: str) -> Story | None:
    """One incident; None if there is none of this id."""
    table = schema.incident
    rows = connection.execute(select(table).where(table.c.id == id_)).all()
    return next(_stories(connection, rows), None)


def incidents_of(connection: Connection, number: int, limit: int) -> list[Story]:
    """The newest incidents of one endpoint, newest first."""
    table, member = schema.incident, schema.incident_endpoint
    query = (
        select(table)
        .join(member, member.c.incident_id == table.c.id)
        .where(member.c.endpoint_id == number)
        .order_by(table.c.started_at.desc(), table.c.id.desc())
        .limit(limit)
    )
    return list(_stories(connection, connection.execute(query).all()))


def _by_start(row: Row[Any]) -> tuple[int, str]:
    return row.started_at, row.id


def _stories(connection: Connection, rows: Sequence[Row[Any]]) -> Iterator[Story]:
    ids = [row.id for row in rows]
    members = _members(connection, ids)
    updates = _updates(connection, ids)
    for row in rows:
        yield Story(
            id=row.id,
            title=row.title,
            impact=State(row.impact),
            started_at=Instant(row.started_at),
            ended_at=None if row.ended_at is None else Instant(row.ended_at),
            endpoints=tuple(members.get(row.id, ())),
            updates=tuple(updates.get(row.id, ())),
        )


def _members(connection: Connection, ids: Sequence[str]) -> dict[str, list[str]]:
    member, endpoint = schema.incident_endpoint, schema.endpoint
    query = select(member.c.incident_id, endpoint.c.name).join(
        endpoint, endpoint.c.id == member.c.endpoint_id
    )
    found: dict[str, list[str]] = {}
    for row in _in_bites(connection, query, member.c.incident_id, ids):
        found.setdefault(row.incident_id, []).append(row.name)
    return {id_: sorted(names) for id_, names in found.items()}


def _updates(connection: Connection, ids: Sequence[str]) -> dict[str, list[Told]]:
    table = schema.incident_update
    query = select(table.c.incident_id, table.c.at, table.c.status, table.c.text).order_by(
        table.c.incident_id, table.c.sequence
    )
    found: dict[str, list[Told]] = {}
    for row in _in_bites(connection, query, table.c.incident_id, ids):
        found.setdefault(row.incident_id, []).append(Told(Instant(row.at), row.status, row.text))
    return found


def _in_bites(
    connection: Connection, query: Select[Any], column: Column[Any], ids: Sequence[str]
) -> Iterator[Row[Any]]:
    for start in range(0, len(ids), _AT_ONCE):
        yield from connection.execute(query.where(column.in_(ids[start : start + _AT_ONCE])))


# Events


def events(connection: Connection, number: int, limit: int, *, before: str | None = None) -> list[Event]:
    """The newest events of an endpoint, newest first; those before the one of that id.

    Raises ValueError if `before` is no id of an event.
    """
    table = schema.event
    query = select(table.c.at, table.c.number, table.c.kind, table.c.text).where(
        table.c.endpoint_id == number
    )
    if before is not None:
        at, place = (min(part, _LARGEST) for part in place_of(before))
        query = query.where(table.c.at <= at, tuple_(table.c.at, table.c.number) < tuple_(at, place))
    query = query.order_by(table.c.at.desc(), table.c.number.desc()).limit(limit)
    return [
        Event(Instant(row.at), Change(row.kind), row.text, row.number) for row in connection.execute(query)
    ]


# The daemon, and how new all of this is


def heartbeat(connection: Connection) -> Heartbeat | None:
    """The daemon's newest sign of life; None if no daemon ever wrote one."""
    row = connection.execute(select(schema.daemon).where(schema.daemon.c.id == 1)).one_or_none()
    if row is None or not row.beat_at:
        return None
    return Heartbeat(
        beat_at=Instant(row.beat_at),
        started_at=Instant(row.started_at) if row.started_at else None,
        stopped_at=None if row.stopped_at is None else Instant(row.stopped_at),
        version=row.version or None,
        status=_object(row.status),
    )


def _object(text: str) -> Mapping[str, Any]:
    found = json.loads(text) if text else {}
    return found if isinstance(found, dict) else {}


def blind(connection: Connection, since: Instant) -> list[Blind]:
    """When the monitor itself could not see, newest first: what had not ended by `since`."""
    table = schema.blind
    query = (
        select(table).where(or_(table.c.ends.is_(None), table.c.ends > since)).order_by(table.c.starts.desc())
    )
    return [
        Blind(
            started=Instant(row.starts),
            ended=None if row.ends is None else Instant(row.ends),
            need=Need(row.need),
            reason=row.reason,
        )
        for row in connection.execute(query)
    ]


def newest_fact(connection: Connection, known: Iterable[Head]) -> Instant | None:
    """When the newest stored fact happened: a probe, a line of an incident, a pause; None: there is none.

    A heartbeat is no fact: it says that the facts are all there are.
    """
    told, hushed = schema.incident_update, schema.quiet
    moments = [head.last.at for head in known if head.last is not None]
    for column in (told.c.at, hushed.c.starts, hushed.c.ends):
        newest = connection.execute(select(func.max(column))).scalar_one()
        if newest is not None:
            moments.append(Instant(newest))
    return max(moments, default=None)
