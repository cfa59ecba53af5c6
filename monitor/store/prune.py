"""How long raw results are kept."""

from sqlalchemy import Connection, delete, select, tuple_

from monitor.core.instant import DAY, Instant, Span
from monitor.store import schema

RAW_KEPT = Span(100 * DAY)
"""Longer than the longest window, so that every window rolls exactly."""
AT_ONCE = 5_000


def prune(connection: Connection, before: Instant) -> int:
    """Delete some results that started before that; how many. 0: there are none left.

    In small bites, so that no probe waits for the database meanwhile.
    """
    table = schema.probe
    keys = (table.c.endpoint_id, table.c.at, table.c.salt)
    endpoints = connection.execute(select(schema.endpoint.c.id)).scalars().all()
    removed = 0
    for number in endpoints:
        old = (
            select(*keys)
            .where(table.c.endpoint_id == number, table.c.at < before)
            .order_by(table.c.at)
            .limit(AT_ONCE - removed)
        )
        removed += connection.execute(delete(table).where(tuple_(*keys).in_(old))).rowcount
        if removed >= AT_ONCE:
            break
    connection.execute(delete(schema.event).where(schema.event.c.at < before))
    return removed
