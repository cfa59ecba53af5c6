"""What stands in a daemon's database, and the laws that must hold of it."""

from collections import Counter
from typing import Any, NamedTuple

from sqlalchemy import Connection, text

from monitor.core.belief import Quiet, QuietSpan
from monitor.core.instant import Instant, Span
from monitor.core.slots import Gap, GapReason, Grid, outside
from monitor.store import schema
from monitor.store.engine import Database

BUSY = "self_overload"
"""What a machine that is too busy makes of a look: it says nothing of anybody, and no state depends on it."""


class Probe(NamedTuple):
    id: str
    endpoint: str
    at: Instant
    slot: Instant
    outcome: str
    scheduled: bool
    maintenance: bool
    sent: bool
    detail: str | None

    @property
    def late_s(self) -> float:
        return (self.at - self.slot) / 1e6


class Records:
    """Reads the database of a daemon, which may be running."""

    def __init__(self, url: str) -> None:
        self._database = Database(url)

    def close(self) -> None:
        self._database.dispose()

    def rows(self, query: str, **values: object) -> list[Any]:
        """The rows of a query in plain SQL."""

        def work(connection: Connection) -> list[Any]:
            return list(connection.execute(text(query), values).all())

        return self._database.read(work, 30.0)

    def value(self, query: str, **values: object) -> Any:
        [row] = self.rows(query, **values)
        return row[0]

    def execute(self, statement: str, **values: object) -> None:
        """As an operator's command does it, beside the running daemon."""
        self._database.write(lambda connection: connection.execute(text(statement), values), 10.0)

    # Rows

    def probes(self, endpoint: str | None = None) -> list[Probe]:
        """In the order in which they started."""
        rows = self.rows(
            "SELECT p.at, p.salt, p.late_us, p.outcome, p.flags, p.detail, e.name FROM probe p"
            " JOIN endpoint e ON e.id = p.endpoint_id ORDER BY p.at"
        )
        found = [
            Probe(
                id=f"{row.at:016x}{row.salt:016x}",
                endpoint=row.name,
                at=Instant(row.at),
                slot=Instant(row.at - row.late_us),
                outcome=str(schema.OUTCOME_NAMES[row.outcome]),
                scheduled=bool(row.flags & schema.FLAG_SCHEDULED),
                maintenance=bool(row.flags & schema.FLAG_MAINTENANCE),
                sent=not row.flags & schema.FLAG_NOT_SENT,
                detail=row.detail,
            )
            for row in rows
        ]
        return [probe for probe in found if endpoint in (None, probe.endpoint)]

    def gaps(self, endpoint: str) -> list[Gap]:
        rows = self.rows(
            'SELECT g."first", g."last", g.slots, g.reason FROM gap g JOIN endpoint e ON e.id = g.endpoint_id'
            ' WHERE e.name = :name ORDER BY g."first"',
            name=endpoint,
        )
        return [
            Gap(endpoint, Instant(first), Instant(last), slots, GapReason(reason))
            for first, last, slots, reason in rows
        ]

    def quiet(self, endpoint: str) -> list[QuietSpan]:
        """Maintenance and pauses, in the order in which they began."""
        rows = self.rows(
            "SELECT q.kind, q.starts, q.ends FROM quiet q JOIN endpoint e ON e.id = q.endpoint_id"
            " WHERE e.name = :name ORDER BY q.starts",
            name=endpoint,
        )
        return [
            QuietSpan(endpoint=endpoint, quiet=Quiet(kind), starts=starts, ends=ends)
            for kind, starts, ends in rows
        ]

    def endpoints(self) -> list[str]:
        return [name for (name,) in self.rows("SELECT name FROM endpoint ORDER BY id")]

    def state(self, endpoint: str) -> str | None:
        """As it is shown; None before the first belief."""
        rows = self.rows(
            "SELECT b.state FROM belief b JOIN endpoint e ON e.id = b.endpoint_id WHERE e.name = :name",
            name=endpoint,
        )
        return rows[0].state if rows else None

    # Laws

    def check_slots(self, endpoint: str) -> int:
        """Due = results + slots in gaps: each slot of the schedule in force, up to the newest that is
        accounted for, has one result or lies in one gap, and nothing else has; but a slot in maintenance
        may have a result that is flagged, and one in a pause has none. Returns how many are due.
        """
        quiet = self.quiet(endpoint)
        hushed = [(span.starts, span.ends) for span in quiet]
        maintained = [span for span in quiet if span.quiet is Quiet.MAINTENANCE]
        scheduled = [probe for probe in self.probes(endpoint) if probe.scheduled]
        for probe in scheduled:
            assert probe.maintenance == any(span.covers(probe.slot) for span in maintained), (probe, quiet)
        results = [probe.slot for probe in scheduled if not probe.maintenance]
        missed = [
            slot for gap in self.gaps(endpoint) for slot in gap.grid.slots(gap.first, Instant(gap.last + 1))
        ]
        found = Counter([*results, *missed])
        newest = max(found, default=Instant(0))
        expected: Counter[Instant] = Counter()
        for row in self.rows(
            "SELECT s.starts, s.ends, s.interval_us, s.phase_us FROM schedule s"
            " JOIN endpoint e ON e.id = s.endpoint_id WHERE e.name = :name",
            name=endpoint,
        ):
            grid = Grid(Span(row.interval_us), Span(row.phase_us))
            ends = newest + 1 if row.ends is None else min(row.ends, newest + 1)
            expected.update(
                slot
                for slot in grid.slots(Instant(row.starts), Instant(ends))
                if outside(Gap(endpoint, slot, slot, 1, GapReason.LATE), hushed)
            )
        assert found == expected, (
            f"{endpoint}: twice or not due {sorted((found - expected).elements())},"
            f" forgotten {sorted((expected - found).elements())}; gaps {self.gaps(endpoint)}"
        )
        return len(results) + len(missed)
