"""How long raw results are kept, and what goes with them."""

from typing import Any

from sqlalchemy import Connection, Delete, Select, Table, delete, exists, or_, select, tuple_

from monitor.core.instant import DAY, Instant, Span
from monitor.store import schema

RAW_KEPT = Span(100 * DAY)
"""Longer than the longest window, so that every window rolls exactly."""
AT_ONCE = 5_000


def prune(connection: Connection, before: Instant) -> int:
    """Delete some results that started before that, with their evidence; how many. 0: there are none left.

    So old gaps, messages that are settled and commands that are done go as well. What is still
    owed or asked stays, and so do incidents, states and schedules.

    In small bites, so that no probe waits for the database meanwhile.
    """
    probe, evidence = schema.probe, schema.evidence
    endpoints = connection.execute(select(schema.endpoint.c.id)).scalars().all()
    removed = 0
    for number in endpoints:
        old = (
            select(probe.c.endpoint_id, probe.c.at, probe.c.salt)
            .where(probe.c.endpoint_id == number, probe.c.at < before)
            .order_by(probe.c.at)
            .limit(AT_ONCE - removed)
        )
        connection.execute(_those(evidence, old))
        removed += connection.execute(_those(probe, old)).rowcount
        if removed >= AT_ONCE:
            break
    for forgotten in _beside(before):
        connection.execute(forgotten)
    return removed


def _beside(before: Instant) -> list[Delete]:
    """What no window and nobody needs once the results of its time are gone."""
    event, alert, command, gap = schema.event, schema.alert, schema.command, schema.gap
    later = gap.alias()
    # The newest gap of an endpoint says up to where its slots are accounted for.
    superseded = exists().where(later.c.endpoint_id == gap.c.endpoint_id, later.c.last > gap.c.last)
    settled = or_(alert.c.sent_at.is_not(None), alert.c.dead_at.is_not(None))
    return [
        delete(event).where(event.c.at < before),
        delete(alert).where(alert.c.created < before, settled),
        delete(command).where(command.c.done_at < before),
        delete(gap).where(gap.c.last < before, superseded),
    ]


def _those(table: Table, keys: Select[Any]) -> Delete:
    return delete(table).where(tuple_(table.c.endpoint_id, table.c.at, table.c.salt).in_(keys))
