"""PostgreSQL stops, freezes, or is not there yet: nobody who is watched or told notices."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from monitor.core.instant import from_iso
from monitor.core.slots import GapReason
from tests.support.away import TOLD_S, another_cluster, check_told_once, configure, without_database
from tests.support.both import at_once, stage
from tests.support.daemon import Home
from tests.support.postgres import Cluster
from tests.support.receiver import Receiver
from tests.support.simulated import Simulated

AWAY_S = 30.0


def test_a_database_that_is_away_for_half_a_minute_costs_nothing(
    tmp_path: Path, simulated: Simulated
) -> None:
    """One server is stopped, another one frozen."""

    def story(name: str, away: Callable[[Cluster], AbstractContextManager[None]]) -> None:
        wanted = ("home", "simulated", "receiver")
        with (
            another_cluster() as cluster,
            stage(name, tmp_path, cluster.url(cluster.create_database()), simulated, wanted) as own,
        ):
            print(without_database(away(cluster), AWAY_S, **own))

    at_once(
        {
            "stopped": partial(story, "stopped", Cluster.stopped),
            "frozen": partial(story, "frozen", Cluster.frozen),
        }
    )


def test_a_kill_while_the_database_is_away_loses_nothing(
    postgres_home: Home, postgres: Cluster, simulated: Simulated, receiver: Receiver
) -> None:
    home = postgres_home
    steady = configure(home, simulated, receiver, 3)
    first = home.ready()
    first.wait("probe.stored", count=6)
    with postgres.stopped():
        simulated.set("acme", "http_503")
        receiver.wait(lambda message: message.title == "DOWN: acme health")
        first.wait("probe.stored", count=12)
        first.kill()
        second = home.ready()  # from the spool
        second.wait("probe.stored", endpoint="acme/health", outcome="http_5xx")
        simulated.set("acme", "ok")
        receiver.wait(lambda message: message.title.startswith("RECOVERED"))
        second.kill()
        third = home.ready()
        third.wait("probe.stored", count=4)
    assert from_iso(third.wait("database.back")["away_since"]) > 0
    assert third.stop()[0] == 0

    records = home.records()
    logged = {line["probe"] for daemon in home.daemons for line in daemon.heard("probe.stored")}
    assert logged <= {probe.id for probe in records.probes()}
    for endpoint in [*steady, "acme/health"]:
        records.check_slots(endpoint)
    [incident] = records.rows("SELECT id, ended_at FROM incident")
    assert incident.ended_at is not None
    assert {message.incident for message in receiver.messages} == {incident.id}
    # Each of the two kills may have come between a message and its mark.
    assert len(receiver.messages) <= 4
    assert records.value("SELECT count(*) FROM alert WHERE sent_at IS NOT NULL") == 2


def test_without_database_and_without_memory_it_waits_until_there_is_one(
    postgres_home: Home, postgres: Cluster, simulated: Simulated, receiver: Receiver
) -> None:
    home = postgres_home
    configure(home, simulated, receiver, 1)
    with postgres.stopped():
        daemon = home.start()
        line = daemon.wait("daemon.waiting")
        assert "refuses connections" in line["reason"]
    daemon.wait("daemon.ready")
    daemon.wait("probe.stored", count=2)
    assert len(daemon.heard("daemon.waiting")) <= 3  # a line when the reason changes, not one a second
    assert daemon.stop()[0] == 0


def test_while_it_waits_it_can_be_told_to_stop(
    postgres_home: Home, postgres: Cluster, simulated: Simulated, receiver: Receiver
) -> None:
    configure(postgres_home, simulated, receiver, 1)
    with postgres.frozen():
        daemon = postgres_home.start()
        daemon.wait("daemon.waiting")
        status, seconds = daemon.stop()
    assert (status, seconds < 10) == (0, True)


def test_a_frozen_database_does_not_keep_the_daemon_from_stopping(
    postgres_home: Home, postgres: Cluster, simulated: Simulated, receiver: Receiver
) -> None:
    home = postgres_home
    steady = configure(home, simulated, receiver, 3)
    daemon = home.ready()
    daemon.wait("probe.stored", count=8)
    with postgres.frozen():
        daemon.wait("database.away")
        status, seconds = daemon.stop()
        assert (status, seconds < 10) == (0, True)
    time.sleep(3.5)  # for some slots to be missed
    again = home.ready()
    again.wait("spool.drained")
    again.wait("probe.stored", count=4)
    assert again.stop()[0] == 0
    records = home.records()
    logged = {line["probe"] for one in home.daemons for line in one.heard("probe.stored")}
    assert logged <= {probe.id for probe in records.probes()}
    for endpoint in [*steady, "acme/health"]:
        records.check_slots(endpoint)
        # It could not tell the database that it was stopped, but it was.
        reasons = {gap.reason for gap in records.gaps(endpoint)}
        assert GapReason.STOPPED in reasons
        assert GapReason.NOT_RUNNING not in reasons


def test_a_reboot_that_brings_the_daemon_up_before_its_database_tells_nothing_twice(
    postgres_home: Home, postgres: Cluster, simulated: Simulated, receiver: Receiver
) -> None:
    """It starts from its checkpoint: what had been told, and that it had been told, stands there."""
    home = postgres_home
    configure(home, simulated, receiver, 1)
    first = home.ready()
    first.wait("probe.stored", endpoint="acme/health", outcome="ok")
    simulated.set("acme", "http_503")
    receiver.wait(lambda message: message.title == "DOWN: acme health")
    first.wait("probe.stored", endpoint="acme/health", outcome="http_5xx", count=3)
    assert first.stop()[0] == 0
    with postgres.stopped():
        second = home.ready()
        second.wait("probe.stored", endpoint="acme/health", outcome="http_5xx", count=3)
    second.wait("database.back")
    simulated.set("acme", "ok")
    receiver.wait(lambda message: message.title.startswith("RECOVERED"))
    assert second.stop()[0] == 0
    records = home.records()
    check_told_once(records, receiver)
    records.check_slots("acme/health")


def test_a_deleted_database_does_not_end_the_daemon(
    sqlite_home: Home, simulated: Simulated, receiver: Receiver
) -> None:
    home = sqlite_home
    configure(home, simulated, receiver, 1)
    daemon = home.ready()
    daemon.wait("probe.stored", count=4)
    for file in home.folder.glob("uptoken.db*"):
        if file.suffix != ".lock":
            file.unlink()
    daemon.wait("database.back")
    simulated.set("acme", "http_503")
    receiver.wait(lambda message: message.title == "DOWN: acme health", within_s=TOLD_S)
    daemon.wait("probe.stored", endpoint="acme/health", outcome="http_5xx", count=3)
    assert daemon.stop()[0] == 0
    outcomes = [probe.outcome for probe in home.records().probes("acme/health")]
    assert outcomes.count("http_5xx") >= 3
