"""How long raw results are kept."""

from typing import Any

from sqlalchemy import Connection, Delete, Select, Table, delete, select, tuple_

from monitor.core.instant import DAY, Instant, Span
from monitor.store import schema

RAW_KEPT = Span(100 * DAY)
"""Longer than the longest window, so that every window rolls exactly."""
AT_ONCE = 5_000


def prune(connection: Connection, before: Instant) -> int:
    """Delete some results that started before that, with their evidence; how many. 0: there are none left.

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
    connection.execute(delete(schema.event).where(schema.event.c.at < before))
    return removed


def _those(table: Table, keys: Select[Any]) -> Delete:
    return delete(table).where(tuple_(table.c.endpoint_id, table.c.at, table.c.salt).in_(keys))
