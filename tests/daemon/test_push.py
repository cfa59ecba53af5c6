"""Jobs that report in: what they say, their silence, and ours."""

import socket
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from tests.support.both import on_both_databases
from tests.support.daemon import Home, alerting, channel, until
from tests.support.ports import unused_port
from tests.support.receiver import Receiver

TOKEN = "a-token-that-nobody-knows"
ENV = {"PUSH_TOKEN": TOKEN}
BACKUP = "jobs/backup"
SECOND_US = 1_000_000


def jobs(port: int, *, interval: str = "1s", grace: str = "1s") -> str:
    return f"""
        [push]
        listen = "127.0.0.1:{port}"
        [provider.jobs]
        protocol = "push"
        [[provider.jobs.endpoints]]
        name = "backup"
        token = "${{env:PUSH_TOKEN}}"
        interval = "{interval}"
        grace = "{grace}"
        """


def report(port: int, token: str = TOKEN, **said: object) -> int:
    """The status of the answer; 0 where nobody listens."""
    url = f"http://127.0.0.1:{port}/push/{token}?{urllib.parse.urlencode(said)}"
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refusal:
        return refusal.code
    except urllib.error.URLError:
        return 0


def says_nothing_secret(home: Home, *, token: str = TOKEN) -> None:
    for daemon in home.daemons:
        assert not any(token in str(line) for line in daemon.lines)
    for file in home.folder.rglob("*"):
        if file.is_file() and file != home.config:
            assert token.encode() not in file.read_bytes(), file


@on_both_databases
def test_a_report_brings_it_up_silence_and_a_failure_bring_it_down(home: Home, receiver: Receiver) -> None:
    port = unused_port()
    home.configure(channel("ops", receiver.url), jobs(port))
    daemon = home.ready(env=ENV)
    assert report(port) == 204
    daemon.wait("state.changed", endpoint=BACKUP, after="up")
    assert report(port, "another-token-of-nobody") == 404

    down = receiver.wait(lambda message: message.title.startswith("DOWN"))
    assert "no report since" in down.text
    assert "one is expected every 1 s, with a grace of 1 s" in down.text
    assert "Do: Look whether it runs" in down.text
    assert report(port, duration_ms=1500) == 204
    receiver.wait(lambda message: message.title.startswith("RECOVERED"))
    daemon.wait("probe.stored", outcome="ok", total_ms=1500.0)

    assert report(port, status="fail", message=f"disk full at /push/{TOKEN}") == 204
    failed = receiver.wait(lambda message: message.title.startswith("DOWN"), count=2)
    assert "it reported fail: disk full at /push/***" in failed.text
    assert daemon.stop()[0] == 0

    records = home.records()
    records.check_slots(BACKUP)
    first = records.probes(BACKUP)[0]
    assert (first.outcome, first.scheduled) == ("ok", False)
    says_nothing_secret(home)


def _age(home: Home, *, report_s: int, stopped_s: int) -> None:
    """As if the newest report, and the end of the daemon, lay so many seconds back."""
    now = time.time_ns() // 1000
    home.records().execute("UPDATE report SET at = :at", at=now - report_s * SECOND_US)
    home.records().execute("UPDATE daemon SET beat_at = :at", at=now - stopped_s * SECOND_US)


@on_both_databases
def test_what_could_not_reach_us_while_we_were_down_is_no_false_alarm(home: Home, receiver: Receiver) -> None:
    port = unused_port()
    home.configure(channel("ops", receiver.url), jobs(port, grace="60s"))
    first = home.ready(env=ENV)
    assert report(port) == 204
    first.wait("state.changed", after="up")
    assert first.stop()[0] == 0

    _age(home, report_s=100, stopped_s=50)
    second = home.ready(env=ENV)
    until(lambda: sum(gap.slots for gap in home.records().gaps(BACKUP)) >= 2, "slots pass without a look")
    assert not second.heard("probe.stored")
    assert report(port) == 204
    second.wait("probe.stored", outcome="ok")
    assert second.stop()[0] == 0
    assert receiver.messages == []
    home.records().check_slots(BACKUP)


@on_both_databases
def test_what_was_heard_last_is_known_after_a_clean_stop_and_after_a_kill(
    home: Home, receiver: Receiver
) -> None:
    port = unused_port()
    home.configure(channel("ops", receiver.url), jobs(port, interval="2s", grace="60s"))
    first = home.ready(env=ENV)
    assert report(port) == 204
    first.wait("state.changed", after="up")
    until(lambda: report(port, status="fail", message="disk full") == 204, "it is taken")
    first.kill()

    second = home.ready(env=ENV)
    second.wait("probe.stored", outcome="assertion_failed", detail="it reported fail: disk full")
    receiver.wait(lambda message: message.title.startswith("DOWN"))
    assert report(port, duration_ms=7) == 204
    receiver.wait(lambda message: message.title.startswith("RECOVERED"))
    assert report(port, duration_ms=8) == 204
    assert second.stop()[0] == 0
    assert home.records().value("SELECT duration_us FROM report") == 8000

    third = home.ready(env=ENV)
    third.wait("probe.stored", outcome="ok", total_ms=8.0)
    assert third.stop()[0] == 0
    assert home.records().value("SELECT count(*) FROM incident") == 1
    home.records().check_slots(BACKUP)


def test_a_standby_takes_no_report_before_it_decides(sqlite_home: Home) -> None:
    home, port = sqlite_home, unused_port()
    home.configure(jobs(port))
    first = home.ready(env=ENV)
    other = home.folder / "second"
    second = home.start(state=other, env=ENV)
    second.wait("daemon.waiting", reason="standby: another daemon holds this database")
    assert report(port) == 204
    first.wait("probe.stored", outcome="ok")
    assert not second.heard("push.listening")
    first.kill()
    second.wait("push.listening", addresses=[f"http://127.0.0.1:{port}"], senders=1)
    assert report(port) == 204
    second.wait("probe.stored", outcome="ok")


def test_an_address_that_is_taken_ends_the_daemon_with_a_line_that_says_so(sqlite_home: Home) -> None:
    home = sqlite_home
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        home.configure(jobs(port))
        daemon = home.start(env=ENV)
        assert daemon.ended() == 1
    expected = f"push.listen: 127.0.0.1:{port} is in use by another program: stop that one, or choose another address"
    assert expected in daemon.tail()


def test_reports_come_by_a_socket_file_too_and_it_is_gone_afterwards(sqlite_home: Home) -> None:
    home = sqlite_home
    path = home.folder / "push.sock"
    home.configure(jobs(1).replace("127.0.0.1:1", f"unix:{path}"))
    daemon = home.ready(env=ENV)
    assert _by_file(path) == b"HTTP/1.1 204 No Content"
    daemon.wait("probe.stored", outcome="ok")
    assert daemon.stop()[0] == 0
    assert not path.exists()


def _by_file(path: Path) -> bytes:
    with socket.socket(socket.AF_UNIX) as one:
        one.connect(str(path))
        one.sendall(f"POST /push/{TOKEN} HTTP/1.1\r\nContent-Length: 0\r\n\r\n".encode())
        return one.recv(1000).partition(b"\r\n")[0]


def test_where_nobody_reports_there_is_no_door(sqlite_home: Home) -> None:
    home, port = sqlite_home, unused_port()
    home.configure(jobs(port) + "enabled = false\n", alerting())
    daemon = home.ready(env=ENV)
    assert not daemon.heard("push.listening")
    assert report(port) == 0


def test_senders_are_told_to_come_again_while_the_daemon_stops(sqlite_home: Home, receiver: Receiver) -> None:
    home, port = sqlite_home, unused_port()
    receiver.behave("hang")
    home.configure(channel("ops", receiver.url), jobs(port))
    daemon = home.ready(env=ENV)
    assert report(port, status="fail") == 204
    daemon.wait("state.changed", after="down")
    until(lambda: bool(receiver.messages), "the webhook hangs, and so the stop takes a moment")
    daemon.send(15)
    daemon.wait("daemon.stopping")
    assert report(port) in (503, 0)
    assert daemon.ended() == 0
