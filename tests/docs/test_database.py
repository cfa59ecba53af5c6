"""The queries of docs/database.md run on both databases and say what they promise."""

from decimal import Decimal

from sqlalchemy import text

from monitor import clock
from monitor.core.instant import HOUR, SECOND, Instant
from monitor.core.outcome import Outcome
from monitor.core.step import Step, probe_id
from monitor.store import lock, migrate
from monitor.store.engine import Database
from monitor.store.journal import Journal
from tests.docs.pages import page
from tests.support.truth import result

OUTCOMES = {
    "acme/mixed": [Outcome.OK, Outcome.SLOW, Outcome.OK, Outcome.HTTP_5XX, Outcome.RATE_LIMITED],
    "acme/keyless": [Outcome.AUTH_FAILED],
}


def _probed(endpoint: str, number: int, outcome: Outcome) -> Step:
    at = Instant(clock.now() - HOUR + number * SECOND)
    return Step(result=result(endpoint=endpoint, probe_id=probe_id(at, 0), at=at, slot=at, outcome=outcome))


def test_the_uptime_of_the_last_day_is_what_the_manual_says(database_url: str) -> None:
    database = Database(database_url)
    migrate.upgrade(database)
    owned = lock.acquire(database)
    assert owned is not None
    journal = Journal(database, owned.epoch)
    journal.register(OUTCOMES, clock.now())
    journal.write([_probed(name, n, one) for name, many in OUTCOMES.items() for n, one in enumerate(many)])
    [query] = page("database.md").blocks("sql")
    if not database.is_sqlite:
        # As the comment beside it says.
        query = query.replace("CAST(strftime('%s', 'now') AS integer)", "extract(epoch FROM now())")
    rows = database.read(lambda connection: connection.execute(text(query)).all())
    found = {row.endpoint: None if row.uptime is None else Decimal(row.uptime) for row in rows}
    assert found == {"acme/mixed": 75, "acme/keyless": None}
    owned.release()
    database.dispose()
