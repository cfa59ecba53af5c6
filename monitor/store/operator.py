"""What a person asks of the daemon, and learns from the database beside it.

None of it needs the ownership: a command is a row that the owner finds within a second or
two and carries out. So it works while a daemon runs, and is kept until one does.
"""

import json
from collections.abc import Sequence

from sqlalchemy import Connection, delete, insert, select, update

from monitor.core.instant import Instant
from monitor.core.verdict import Learnt
from monitor.store import history, prune, schema
from monitor.store.engine import Database
from monitor.store.journal import Announced, Order

MANY_S = 30.0


class Operator:
    """The requests. Every method raises DatabaseAway; the schema must be up to date."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # Pause and resume

    def ask(self, order: Order, endpoints: Sequence[str], now: Instant) -> int:
        """Do that with these; returns the number to ask about with `is_done`."""

        def work(connection: Connection) -> int:
            row = {"at": now, "kind": str(order), "arguments": json.dumps({"endpoints": list(endpoints)})}
            table = schema.command
            number: int = connection.execute(insert(table).values(row).returning(table.c.id)).scalar_one()
            return number

        return self._database.write(work)

    def is_done(self, command: int) -> bool:
        """The daemon has carried it out."""
        table = schema.command
        query = select(table.c.done_at).where(table.c.id == command)
        return self._database.read(lambda connection: connection.execute(query).scalar() is not None)

    # Maintenance

    def announce(self, planned: Announced) -> None:
        """Plan one; announcing it twice does no harm."""
        row = {
            "id": planned.id,
            "title": planned.title,
            "patterns": json.dumps(planned.patterns),
            "starts": planned.starts,
            "ends": planned.ends,
        }
        table = schema.maintenance

        def work(connection: Connection) -> None:
            connection.execute(delete(table).where(table.c.id == planned.id))
            connection.execute(insert(table).values(row))

        self._database.write(work)

    def announced(self, since: Instant) -> list[Announced]:
        """Those that had not ended by `since`, in the order in which they begin."""
        table = schema.maintenance
        query = select(table).where(table.c.ends > since).order_by(table.c.starts, table.c.id)
        return self._database.read(
            lambda connection: [
                Announced(
                    id=row.id,
                    title=row.title,
                    patterns=tuple(json.loads(row.patterns)),
                    starts=Instant(row.starts),
                    ends=Instant(row.ends),
                )
                for row in connection.execute(query)
            ]
        )

    def end(self, maintenance: str, now: Instant) -> bool:
        """End one now, or call it off before it began. False: none of that id is running or planned."""
        table = schema.maintenance
        this = table.c.id == maintenance

        def work(connection: Connection) -> bool:
            ended = update(table).where(this, table.c.starts <= now, table.c.ends > now).values(ends=now)
            called_off = delete(table).where(this, table.c.starts > now)
            return bool(connection.execute(ended).rowcount or connection.execute(called_off).rowcount)

        return self._database.write(work)

    # Looking on

    def beats(self, now: Instant) -> bool:
        """A daemon runs on this database: it gave a sign of life lately, and did not stop since."""
        heartbeat = self._database.read(history.heartbeat)
        return heartbeat is not None and heartbeat.stopped_at is None and not heartbeat.stale(now)

    def learnt(self, endpoint: str, limit_s: float) -> Learnt:
        """What earlier probes of an endpoint taught the daemon."""

        def work(connection: Connection) -> Learnt:
            number = history.number(connection, endpoint)
            belief = None if number is None else history.belief(connection, number)
            return Learnt() if belief is None else belief.learnt

        return self._database.read(work, limit_s)

    # Retention

    def prune(self, before: Instant) -> int:
        """Delete some results that started before that; 0: there are none left."""
        return self._database.write(lambda connection: prune.prune(connection, before), MANY_S)
