"""Maintenance and pauses: looked at, or not, but nobody is woken."""

import json
import time
from datetime import UTC, datetime, timedelta

from monitor.core.instant import SECOND, Instant, instant
from tests.support.both import on_both_databases
from tests.support.daemon import Home, alerting, channel, until, website
from tests.support.receiver import Receiver
from tests.support.simulated import Simulated


def maintenance(begins_in_s: float, lasts: str, *patterns: str) -> str:
    start = datetime.now(UTC) + timedelta(seconds=begins_in_s)
    return (
        f'[[maintenance]]\ntitle = "planned"\nendpoints = {json.dumps(patterns)}\n'
        f'start = {start.isoformat(timespec="milliseconds")}\nduration = "{lasts}"\n'
    )


@on_both_databases
def test_in_maintenance_results_are_flagged_and_what_is_left_is_told_at_its_end(
    home: Home, simulated: Simulated, receiver: Receiver
) -> None:
    simulated.define("mended")
    home.configure(
        alerting(),
        channel("ops", receiver.url),
        website("acme", simulated.health_url("acme")),
        website("mended", simulated.health_url("mended")),
        maintenance(4.0, "6s", "acme/*", "mended/*"),
    )
    daemon = home.ready()
    daemon.wait("state.changed", endpoint="acme/health", after="up")
    daemon.wait("state.changed", endpoint="mended/health", after="up")
    daemon.wait("maintenance.began", endpoint="mended/health")
    simulated.set("acme", "http_503")
    simulated.set("mended", "http_503")
    daemon.wait("state.changed", endpoint="acme/health", after="down")
    daemon.wait("state.changed", endpoint="mended/health", after="down")
    records = home.records()
    until(lambda: records.state("acme/health") == "maintenance", "maintenance is shown over the state")
    simulated.set("mended", "ok")
    daemon.wait("state.changed", endpoint="mended/health", before="down", after="up")
    assert not daemon.heard("maintenance.ended")
    assert receiver.messages == []
    ended = daemon.wait("maintenance.ended", endpoint="acme/health")
    told = receiver.wait()
    assert told.title == "DOWN: acme health"
    assert told.at < ended["heard_at"] + 2.0
    assert daemon.stop()[0] == 0

    assert len(receiver.messages) == 1
    [quiet] = records.rows(
        "SELECT starts, ends FROM quiet q JOIN endpoint e ON e.id = q.endpoint_id"
        " WHERE e.name = 'acme/health' AND kind = 'maintenance'"
    )
    assert 5 * SECOND < quiet.ends - quiet.starts < 8 * SECOND
    flagged = {probe.slot for probe in records.probes("acme/health") if probe.maintenance}
    within = {
        probe.slot for probe in records.probes("acme/health") if quiet.starts <= probe.slot < quiet.ends
    }
    assert flagged == within
    assert len(flagged) >= 5
    [incident] = records.rows("SELECT * FROM incident")
    # For us it begins where the maintenance ended.
    assert incident.started_at == quiet.ends
    records.check_slots("acme/health")


def test_maintenance_that_passed_while_nobody_ran_is_known_all_the_same(
    sqlite_home: Home, simulated: Simulated
) -> None:
    home = sqlite_home
    began = time.monotonic()
    home.configure(website("acme", simulated.health_url("acme")), maintenance(5.0, "1s", "acme/*"))
    first = home.ready()
    first.wait("probe.stored")
    first.kill()
    assert time.monotonic() - began < 5.0, "this machine is too slow for this story"
    time.sleep(began + 6.5 - time.monotonic())  # it passes, and nobody is there
    second = home.ready()
    second.wait("probe.stored")
    assert second.stop()[0] == 0
    [quiet] = home.records().rows("SELECT starts, ends FROM quiet")
    assert quiet.ends - quiet.starts == SECOND
    home.records().check_slots("acme/health")


@on_both_databases
def test_a_pause_is_obeyed_and_so_is_its_end(home: Home, simulated: Simulated, receiver: Receiver) -> None:
    simulated.define("other")
    home.configure(
        alerting(),
        channel("ops", receiver.url),
        website("acme", simulated.health_url("acme")),
        website("other", simulated.health_url("other")),
    )
    daemon = home.ready()
    daemon.wait("state.changed", endpoint="acme/health", after="up")
    _ask(home, "pause", "acme/*")
    line = daemon.wait("operator.obeyed", command="pause", within_s=5.0)
    assert line["endpoints"] == ["acme/health"]
    records = home.records()
    until(lambda: records.state("acme/health") == "paused", "the pause is shown")
    asked = len(simulated.log("acme"))
    simulated.set("acme", "http_503")
    daemon.wait("probe.stored", endpoint="other/health", count=len(daemon.heard("probe.stored")) + 2)
    assert len(simulated.log("acme")) <= asked + 1  # one may have been on its way

    # It outlives the daemon, and nobody probes a paused endpoint in order to say so.
    assert daemon.stop()[0] == 0
    asked = len(simulated.log("acme"))
    second = home.ready()
    second.wait("probe.stored", endpoint="other/health", count=2)
    assert len(simulated.log("acme")) == asked
    assert receiver.messages == []
    simulated.set("acme", "ok")
    _ask(home, "resume", "acme/health")
    second.wait("probe.stored", endpoint="acme/health", outcome="ok")
    assert second.stop()[0] == 0

    assert records.value("SELECT count(*) FROM command WHERE done_at IS NULL") == 0
    [quiet] = records.rows("SELECT starts, ends FROM quiet WHERE kind = 'paused'")
    assert quiet.ends is not None
    paused = [probe for probe in records.probes("acme/health") if quiet.starts < probe.slot < quiet.ends]
    assert paused == []
    records.check_slots("acme/health")
    records.check_slots("other/health")


@on_both_databases
def test_what_a_maintenance_and_a_pause_outlived_a_daemon_by_counts_and_no_more(
    home: Home, simulated: Simulated
) -> None:
    simulated.define("paused")
    simulated.define("usual")
    planned = datetime.now(UTC) + timedelta(seconds=5)
    home.configure(
        *(website(name, simulated.health_url(name)) for name in ("acme", "paused", "usual")),
        maintenance(5.0, "8s", "acme/*"),
    )
    first = home.ready()
    first.wait("probe.stored", endpoint="paused/health")
    _ask(home, "pause", "paused/*")
    first.wait("operator.obeyed")
    first.wait("maintenance.began", endpoint="acme/health")
    # Once this is stored, so is that the maintenance began.
    first.wait(
        "probe.stored",
        endpoint="usual/health",
        count=len(first.heard("probe.stored", endpoint="usual/health")) + 2,
    )
    first.kill()
    ends = planned + timedelta(seconds=8)
    assert datetime.now(UTC) < ends, "this machine is too slow for this story"
    time.sleep(max(0.0, (ends - datetime.now(UTC)).total_seconds()) + 3.5)  # it ends, and nobody is there
    second = home.ready()
    second.wait("probe.stored", endpoint="acme/health", count=2)
    _ask(home, "resume", "paused/*")
    second.wait("probe.stored", endpoint="paused/health", count=2)
    assert second.stop()[0] == 0
    third = home.ready()
    third.wait("probe.stored", endpoint="paused/health")
    assert third.stop()[0] == 0

    records = home.records()
    [maintained] = records.quiet("acme/health")
    [pause] = records.quiet("paused/health")
    assert maintained.ends is not None
    assert pause.ends is not None
    assert abs(maintained.ends - instant(ends)) < SECOND // 2
    for endpoint in ("acme/health", "paused/health", "usual/health"):
        records.check_slots(endpoint)
    # From the end on somebody should have looked.
    assert sum(gap.slots for gap in records.gaps("acme/health") if gap.first > maintained.ends) >= 2


def _ask(home: Home, kind: str, *patterns: str) -> None:
    home.records().execute(
        "INSERT INTO command (at, kind, arguments) VALUES (:at, :kind, :arguments)",
        at=Instant(time.time_ns() // 1000),
        kind=kind,
        arguments=json.dumps({"endpoints": patterns}),
    )
