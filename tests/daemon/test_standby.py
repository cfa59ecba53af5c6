"""One daemon decides; whoever comes second waits, and takes over when the first is gone."""

import signal

from tests.support.both import on_both_databases
from tests.support.daemon import Daemon, Home, alerting, channel, until, website
from tests.support.postgres import Cluster
from tests.support.receiver import Receiver
from tests.support.simulated import Simulated

SOON_S = 10.0


def configure(home: Home, simulated: Simulated, receiver: Receiver) -> None:
    home.configure(
        alerting(down_after=1, up_after=1),
        channel("ops", receiver.url),
        website("acme", simulated.health_url("acme")),
    )


def standing_by(home: Home, name: str = "second") -> Daemon:
    """A daemon with a state folder of its own that has found the database taken."""
    daemon = home.start(state=home.folder / name)
    daemon.wait("daemon.waiting", reason="standby: another daemon holds this database")
    return daemon


@on_both_databases
def test_a_second_daemon_takes_over_when_the_first_is_killed(
    home: Home, simulated: Simulated, receiver: Receiver
) -> None:
    configure(home, simulated, receiver)
    first = home.ready()
    first.wait("probe.stored", outcome="ok")
    second = standing_by(home)
    simulated.set("acme", "http_503")
    receiver.wait(lambda message: message.title.startswith("DOWN"))
    first.wait("alert.sent")
    assert not second.heard("probe.stored")
    first.kill()
    second.wait("daemon.ready", within_s=SOON_S)
    simulated.set("acme", "ok")
    receiver.wait(lambda message: message.title.startswith("RECOVERED"))
    assert second.stop()[0] == 0

    records = home.records()
    records.check_slots("acme/health")
    # The first was killed, perhaps just before it marked what it had sent.
    assert len({message.reference for message in receiver.messages}) == 2
    assert records.value("SELECT count(*) FROM incident") == 1


@on_both_databases
def test_a_second_daemon_with_the_same_state_folder_waits_as_well(
    home: Home, simulated: Simulated, receiver: Receiver
) -> None:
    configure(home, simulated, receiver)
    first = home.ready()
    second = home.start()
    line = second.wait("daemon.waiting")
    assert line["reason"] == f"standby: another daemon uses the state folder {home.state}"
    first.kill()
    second.wait("daemon.ready", within_s=SOON_S)


def test_a_second_daemon_with_the_same_page_address_waits_and_takes_the_page_over(
    sqlite_home: Home, simulated: Simulated, receiver: Receiver, free_port: int
) -> None:
    home = sqlite_home
    address = f"127.0.0.1:{free_port}"
    home.configure(website("acme", simulated.health_url("acme")), listen=address)
    first = home.ready()
    first.wait("page.listening")
    second = standing_by(home)
    first.kill()
    second.wait("daemon.ready", within_s=SOON_S)
    second.wait("page.listening", addresses=[f"http://{address}"])


def test_a_standby_that_is_told_to_stop_does(
    sqlite_home: Home, simulated: Simulated, receiver: Receiver
) -> None:
    home = sqlite_home
    configure(home, simulated, receiver)
    first = home.ready()
    second = standing_by(home)
    status, seconds = second.stop()
    assert (status, seconds < 5) == (0, True)
    assert first.running


@on_both_databases
def test_who_is_deposed_ends_and_writes_nothing_more(
    home: Home, simulated: Simulated, receiver: Receiver
) -> None:
    """Its machine stood still, its connection or its lock file was lost, and another daemon took over."""
    configure(home, simulated, receiver)
    first = home.ready()
    first.wait("probe.stored", count=2)
    second = standing_by(home)
    first.send(signal.SIGSTOP)
    _lose_the_lock(home)
    second.wait("daemon.ready", within_s=SOON_S)
    first.send(signal.SIGCONT)
    assert first.ended(SOON_S) == 1
    assert first.lines[-1]["text"].startswith("another daemon has")
    second.wait("probe.stored", count=2)

    # What it had seen last waits in its spool until it is the owner again.
    third = home.start()
    third.wait("daemon.waiting")
    second.kill()
    third.wait("daemon.ready", within_s=SOON_S)
    third.wait("probe.stored")
    third.kill()
    logged = {line["probe"] for daemon in home.daemons for line in daemon.heard("probe.stored")}
    assert logged <= {probe.id for probe in home.records().probes()}


@on_both_databases
def test_who_loses_its_lock_to_nobody_takes_it_again(
    home: Home, simulated: Simulated, receiver: Receiver
) -> None:
    configure(home, simulated, receiver)
    daemon = home.ready()
    daemon.wait("probe.stored", count=2)
    before = home.records().value("SELECT epoch FROM daemon")
    _lose_the_lock(home)
    daemon.wait("database.back", within_s=SOON_S)
    assert home.records().value("SELECT epoch FROM daemon") == before + 1
    assert daemon.stop()[0] == 0
    home.records().check_slots("acme/health")


def _lose_the_lock(home: Home) -> None:
    records = home.records()
    if home.database_url.startswith("sqlite"):
        path = home.folder / "uptoken.db.lock"
        path.unlink()
    else:
        ended = records.rows(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        assert len(ended) == 1


def test_a_standby_leaves_a_database_that_was_away_to_its_owner(
    postgres_home: Home, postgres: Cluster, simulated: Simulated, receiver: Receiver
) -> None:
    """The owner knows of the outage that came meanwhile; the standby would tell of it again."""
    home = postgres_home
    configure(home, simulated, receiver)
    owner = home.ready()
    owner.wait("probe.stored", outcome="ok")
    second = standing_by(home)
    with postgres.stopped():
        simulated.set("acme", "http_503")
        receiver.wait(lambda message: message.title.startswith("DOWN"))
        second.wait("daemon.waiting", count=2)
    owner.wait("database.back")
    assert not second.heard("daemon.ready")
    assert owner.running
    until(lambda: home.records().state("acme/health") == "down", "the outage is stored")
    assert len(receiver.messages) == 1


@on_both_databases
def test_five_daemons_at_once_on_an_empty_database(
    home: Home, simulated: Simulated, receiver: Receiver
) -> None:
    configure(home, simulated, receiver)
    daemons = [home.start(state=home.folder / f"state{number}") for number in range(5)]

    def ready() -> list[Daemon]:
        return [daemon for daemon in daemons if daemon.heard("daemon.ready")]

    def waiting() -> list[Daemon]:
        return [daemon for daemon in daemons if daemon.heard("daemon.waiting")]

    until(lambda: len(ready()) == 1 and len(waiting()) == 4, "one runs and four stand by", 40.0)
    assert all(daemon.running for daemon in daemons)
    [first] = ready()
    first.wait("probe.stored")
    first.kill()
    until(lambda: len(ready()) == 2, "another one takes over")
    assert sum(daemon.running for daemon in daemons) == 4


@on_both_databases
def test_a_database_of_a_newer_uptoken_is_left_alone(
    home: Home, simulated: Simulated, receiver: Receiver
) -> None:
    configure(home, simulated, receiver)
    home.ready().stop()
    records = home.records()
    records.execute("UPDATE alembic_version SET version_num = '9999'")
    daemon = home.start()
    assert daemon.ended() == 1
    [line] = daemon.lines
    assert "has version 9999 of the schema, made by a newer uptoken" in line["text"]
