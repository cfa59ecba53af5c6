"""A database that is taken away while everybody is watched, and what must be true afterwards.

For the tests (half a minute) and for `bench/` (ten).
"""

import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from monitor.core.instant import Instant
from tests.support.daemon import Home, alerting, channel, website
from tests.support.postgres import Cluster, binaries
from tests.support.receiver import Receiver
from tests.support.records import BUSY, Records
from tests.support.simulated import Simulated

DRAINED_S = 60.0
LOAD = 49
LATE_S = 0.5
"""What the database holds up is late by its watchdog's 2 s; a busy machine alone is not by as much."""
TOLD_S = 8.0
"""A look, and once the two seconds after which a silent database is given up, for whoever asks first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What it came to; every law held."""

    slots: int
    """Due while it was away and after; each has its result."""
    drained_s: float
    latest_s: float
    """How late the latest probe was begun."""


def configure(home: Home, simulated: Simulated, receiver: Receiver, load: int) -> list[str]:
    """One endpoint that can fail, and others that never do. Returns the others."""
    simulated.define("acme")
    simulated.define("steady")
    slugs = tuple(f"s{number}" for number in range(load))
    home.configure(
        alerting(down_after=1, up_after=1),
        channel("ops", receiver.url),
        website("acme", simulated.health_url("acme")),
        website("steady", simulated.health_url("steady"), slugs=slugs),
    )
    return [f"steady/{slug}" for slug in slugs]


@contextmanager
def another_cluster() -> Iterator[Cluster]:
    programs = binaries()
    assert programs is not None
    with tempfile.TemporaryDirectory(prefix="uptoken-postgres-") as folder:
        cluster = Cluster(Path(folder), programs)
        cluster.create()
        cluster.start()
        try:
            yield cluster
        finally:
            cluster.stop()


def without_database(
    away: AbstractContextManager[None],
    away_s: float,
    home: Home,
    simulated: Simulated,
    receiver: Receiver,
) -> Cost:
    """Take the database away for so long, with an outage in that time, and look at everything."""
    steady = configure(home, simulated, receiver, LOAD)
    daemon = home.ready()
    daemon.wait("probe.stored", count=3 * LOAD)
    began = Instant(time.time_ns() // 1000)
    with away:
        ends = time.monotonic() + away_s
        simulated.set("acme", "http_503")
        receiver.wait(lambda message: message.title == "DOWN: acme health", within_s=TOLD_S)
        daemon.wait("database.away")
        simulated.set("acme", "ok")
        receiver.wait(lambda message: message.title.startswith("RECOVERED"), within_s=TOLD_S)
        assert not daemon.heard("database.back")
        time.sleep(ends - time.monotonic())  # it is away for as long as that, whatever happens
    back = time.monotonic()
    daemon.wait("database.back", within_s=DRAINED_S)
    drained_s = time.monotonic() - back
    assert not (home.state / "spool").exists()
    assert daemon.stop()[0] == 0

    records = home.records()
    for endpoint in [*steady, "acme/health"]:
        records.check_slots(endpoint)
    assert not records.rows('SELECT * FROM gap WHERE "last" > :began', began=began)
    probes = [probe for probe in records.probes() if probe.slot > began and probe.outcome != "cancelled"]
    assert len(probes) >= (LOAD + 1) * away_s
    assert {probe.outcome for probe in probes if probe.endpoint in steady} - {BUSY} == {"ok"}
    assert {probe.outcome for probe in probes} - {BUSY} == {"ok", "http_5xx"}
    late = sorted(probe.late_s for probe in probes)
    assert late[round(0.99 * len(late))] < LATE_S, late[-20:]
    check_told_once(records, receiver)
    return Cost(slots=len(probes), drained_s=drained_s, latest_s=late[-1])


def check_told_once(records: Records, receiver: Receiver) -> None:
    """One outage: one incident that ended, both of its messages sent once and known as sent."""
    [incident] = records.rows("SELECT id, ended_at FROM incident")
    assert incident.ended_at is not None
    assert [message.reference for message in receiver.messages] == [f"[{incident.id}#{n}]" for n in (1, 2)]
    assert records.value("SELECT count(*) FROM alert WHERE sent_at IS NOT NULL") == 2
