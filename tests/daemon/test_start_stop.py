"""Starting where the last daemon left off, and stopping in good order."""

import signal
import socket
import time

from monitor.core.instant import MINUTE, SECOND, Instant
from monitor.core.slots import phase_of
from tests.support.both import on_both_databases
from tests.support.daemon import Home, alerting, channel, until, website
from tests.support.ports import unused_port
from tests.support.receiver import Receiver
from tests.support.simulated import Simulated


@on_both_databases
def test_hanging_providers_a_dead_webhook_and_a_slow_reader_hold_up_no_stop(
    home: Home, simulated: Simulated, receiver: Receiver
) -> None:
    number = signal.SIGTERM if home.database_url.startswith("sqlite") else signal.SIGINT
    simulated.define("deaf")
    simulated.set("deaf", "silent")
    simulated.set("acme", "http_503")
    receiver.behave("hang")
    port = unused_port()
    home.configure(
        alerting(down_after=1),
        channel("ops", receiver.url),
        website("acme", simulated.health_url("acme")),
        website("deaf", simulated.health_url("deaf"), slugs=("a", "b", "c"), interval="60s", timeout="50s"),
        listen=f"127.0.0.1:{port}",
    )
    daemon = home.ready()
    until(lambda: len(simulated.log("deaf")) == 3, "all three hang")
    until(lambda: bool(receiver.messages), "the webhook hangs")
    with _slow_readers(port):
        asked = len(simulated.log("acme"))
        status, seconds = daemon.stop(number)
        assert status == 0
        assert seconds < 10, daemon.tail()
    # One may have been on its way when the signal came.
    assert len(simulated.log("acme")) <= asked + 1
    assert daemon.lines[-1]["event"] == "daemon.stopped"

    records = home.records()
    cut = [probe for probe in records.probes() if probe.endpoint.startswith("deaf/")]
    assert [probe.outcome for probe in cut] == ["cancelled"] * 3
    assert {records.state(endpoint) for endpoint in ("deaf/a", "deaf/b", "deaf/c")} == {"unknown"}
    logged = {line["probe"] for line in daemon.heard("probe.stored")}
    assert logged == {probe.id for probe in records.probes()}
    assert records.value("SELECT stopped_at FROM daemon") is not None
    # What could not be said now is left to the next one.
    assert records.value("SELECT count(*) FROM alert WHERE sent_at IS NULL AND dead_at IS NULL") == 1


class _slow_readers:  # noqa: N801 - reads as a function
    """One that never ends its request, and one that asks for the page and does not read it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> None:
        for request in (b"GET / HTTP/1.1\r\nHost: a\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 50):
            until(self._connected, "the page answers")
            self._sockets[-1].sendall(request)

    def __exit__(self, *_: object) -> None:
        for one in self._sockets:
            one.close()

    def _connected(self) -> bool:
        try:
            self._sockets.append(socket.create_connection(("127.0.0.1", self._port), 1.0))
        except OSError:
            return False
        return True


def _slug(provider: str, slot_in_s: float) -> str:
    """A name whose slot, once a minute, comes so many seconds from now."""
    wanted = (time.time_ns() // 1000 + round(slot_in_s * SECOND)) % MINUTE
    names = (f"s{number}" for number in range(100_000))
    return next(name for name in names if abs(phase_of(f"{provider}/{name}", MINUTE) - wanted) < SECOND // 4)


@on_both_databases
def test_who_missed_a_slot_is_looked_at_at_once_and_the_others_keep_their_place(
    home: Home, simulated: Simulated
) -> None:
    began = time.monotonic()
    missed, kept = _slug("acme", 8.0), _slug("acme", 50.0)
    home.configure(website("acme", simulated.health_url("acme"), slugs=(missed, kept), interval="60s"))
    first = home.ready()
    first.wait("probe.stored", count=2)
    assert first.stop()[0] == 0
    assert time.monotonic() - began < 7.5, "this machine is too slow for this story"
    time.sleep(began + 8.5 - time.monotonic())  # its slot passes, and nobody is there

    second = home.ready()
    second.wait("probe.stored", endpoint=f"acme/{missed}", within_s=2.0)
    assert second.stop()[0] == 0
    assert not second.heard("probe.stored", endpoint=f"acme/{kept}")
    records = home.records()
    assert not records.rows("SELECT * FROM gap")
    [row] = records.rows("SELECT count(*) AS schedules FROM schedule WHERE ends IS NULL")
    assert row.schedules == 2
    for slug in (missed, kept):
        records.check_slots(f"acme/{slug}")
    for probe in records.probes(f"acme/{missed}"):
        assert (probe.slot - phase_of(probe.endpoint, MINUTE)) % MINUTE == 0


@on_both_databases
def test_what_nobody_looked_at_lies_in_a_gap_that_says_why(home: Home, simulated: Simulated) -> None:
    home.configure(website("acme", simulated.health_url("acme")))
    first = home.ready()
    first.wait("probe.stored", count=2)
    assert first.stop()[0] == 0
    stopped = _now()
    until(lambda: _now() > stopped + 2 * SECOND, "two slots pass")
    second = home.ready()
    second.wait("probe.stored", count=2)
    second.kill()
    killed = _now()
    until(lambda: _now() > killed + 2 * SECOND, "two more slots pass")
    third = home.ready()
    third.wait("probe.stored", count=2)
    assert third.stop()[0] == 0

    records = home.records()
    records.check_slots("acme/health")
    reasons = [str(gap.reason) for gap in records.gaps("acme/health") if gap.last > stopped]
    # A look that was made up for may still run when the next slot comes.
    assert [reason for reason in reasons if reason != "still_running"] == ["stopped", "not_running"]


@on_both_databases
def test_an_outage_that_nobody_watched_begins_as_unknown_and_is_dated_back(
    home: Home, simulated: Simulated, receiver: Receiver
) -> None:
    home.configure(alerting(), channel("ops", receiver.url), website("acme", simulated.health_url("acme")))
    first = home.ready()
    first.wait("state.changed", after="up")
    first.kill()
    simulated.set("acme", "http_503")
    last = home.records().probes("acme/health")[-1].at
    until(lambda: _now() > last + 4 * SECOND, "the last look is more than three intervals ago")
    second = home.ready()
    receiver.wait(lambda message: message.title.startswith("DOWN"))
    assert second.stop()[0] == 0

    rows = home.records().rows('SELECT effective_at, "after" FROM transition ORDER BY sequence')
    assert [row.after for row in rows] == ["up", "unknown", "down"]
    assert rows[1].effective_at == last + 3 * SECOND


@on_both_databases
def test_a_config_that_lost_an_endpoint_closes_its_incident(
    home: Home, simulated: Simulated, receiver: Receiver
) -> None:
    simulated.set("acme", "http_503")
    parts = (alerting(), channel("ops", receiver.url))
    urls = ("health", "other")
    home.configure(*parts, website("acme", simulated.health_url("acme"), slugs=urls))
    first = home.ready()
    receiver.wait(count=2)
    assert first.stop()[0] == 0
    home.configure(*parts, website("acme", simulated.health_url("acme"), slugs=("health",)))
    second = home.ready()
    closed = receiver.wait(count=3)
    second.wait("probe.stored")
    assert second.stop()[0] == 0
    assert closed.title == "CLOSED: acme other"
    assert "the endpoint is no longer configured" in closed.text
    records = home.records()
    rows = records.rows("SELECT e.name, e.removed_at FROM endpoint e WHERE e.removed_at IS NOT NULL")
    assert [row.name for row in rows] == ["acme/other"]
    assert records.value("SELECT count(*) FROM incident WHERE ended_at IS NULL") == 1
    assert records.value("SELECT count(*) FROM schedule WHERE ends IS NULL") == 1


def test_the_daemon_says_what_it_is_and_how_it_is(sqlite_home: Home, simulated: Simulated) -> None:
    home = sqlite_home
    home.configure(website("acme", simulated.health_url("acme")))
    daemon = home.ready()
    records = home.records()
    until(lambda: bool(records.value("SELECT beat_at FROM daemon")), "its heart beats")
    [row] = records.rows("SELECT * FROM daemon")
    assert row.version == daemon.heard("daemon.ready")[0]["version"]
    assert row.started_at <= row.beat_at <= _now()
    assert abs(_now() - row.started_at) < 60 * SECOND
    assert f'"pid": {daemon.pid}' in row.status
    assert (home.state / "status.json").exists()


def _now() -> Instant:
    return Instant(time.time_ns() // 1000)
