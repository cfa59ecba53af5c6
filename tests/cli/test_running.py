"""`run`, `serve`, `demo`: how they begin, what stops them from beginning, and how they end."""

import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from monitor import shipped
from tests.cli.command import environment, unprivileged, uptoken
from tests.cli.written import NOWHERE, database, model
from tests.support import child
from tests.support.daemon import SOON_S, website
from tests.support.ports import unused_port
from tests.support.records import BUSY

SECRET = "sk-run-1f90c3aa52"


class Standing:
    """A command that stays, and what it said so far."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait(self, pattern: str) -> str:
        """The first line in which that is found."""
        deadline = time.monotonic() + SOON_S
        with self._news:
            while True:
                for line in self.lines:
                    if re.search(pattern, line):
                        return line
                assert self._news.wait(deadline - time.monotonic()), f"no {pattern} in {self.lines}"

    def end(self, number: int, within_s: float = 15.0) -> int:
        """Send the signal to it alone; its exit status."""
        self.process.send_signal(number)
        status = self.process.wait(within_s)
        self._reader.join()
        return status

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as said:
            for raw in said:
                with self._news:
                    self.lines.append(raw.decode().rstrip())
                    self._news.notify_all()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()


@contextmanager
def standing(*words, cwd, env=None) -> Iterator[Standing]:
    process = child.start(
        [sys.executable, "-m", "monitor", *map(str, words)],
        env=environment(env),
        cwd=cwd,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    one = Standing(process)
    try:
        yield one
    finally:
        one.close()


@pytest.fixture
def taken():
    """An address on which somebody else listens."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


def served(port, path="/-/healthy"):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as reply:
        return reply.status


# run


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_run_ends_with_0_when_it_is_told_to(number, write, simulated, tmp_path):
    path = write('[server]\nlisten = ""\n', website("acme", simulated.health_url("acme")))
    with standing("run", "--config", path, cwd=tmp_path) as daemon:
        daemon.wait("probe.stored")
        assert daemon.end(number) == 0


@pytest.mark.parametrize("command", ["run", "serve", "demo"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_to_be_told_to_stop_while_it_starts_is_no_failure(number, command, tmp_path):
    path = tmp_path / "config.toml"
    os.mkfifo(path)
    process = child.start(
        [sys.executable, "-m", "monitor", command, "--config", str(path)], env=environment(), cwd=tmp_path
    )
    try:
        with path.open("wb"):  # until it reads its config
            process.send_signal(number)
            assert process.wait(SOON_S) == 0
    finally:
        process.kill()
        process.wait()


def test_run_serves_the_page(write, simulated, tmp_path, free_port):
    path = write(
        f'[server]\nlisten = "127.0.0.1:{free_port}"\n', website("acme", simulated.health_url("acme"))
    )
    with standing("run", "--config", path, cwd=tmp_path) as daemon:
        daemon.wait("page.listening")
        assert served(free_port) == 200
        assert daemon.end(signal.SIGTERM) == 0


def test_a_page_address_in_use_is_one_line(write, taken, tmp_path):
    path = write(f'[server]\nlisten = "127.0.0.1:{taken}"\n', model("acme", NOWHERE))
    refused = uptoken("run", "--config", path, cwd=tmp_path)
    assert refused.status == 1
    assert refused.error.startswith(f"server.listen: 127.0.0.1:{taken} is in use by another program")


def test_run_refuses_what_check_refuses(write, tmp_path):
    path = write("[site]", 'nam = "x"', "[defaults]", 'tiemout = "5s"')
    refused = uptoken("run", "--config", path, cwd=tmp_path)
    assert refused.status == 2
    assert len(refused.err.splitlines()) == 2
    assert not (tmp_path / "var").exists()


def test_run_without_a_config_says_how_to_make_one(tmp_path):
    refused = uptoken("run", cwd=tmp_path)
    assert refused.status == 2
    assert refused.error == "config.toml:1: no such file: `uptoken init` writes one"


def test_run_names_every_secret_that_cannot_be_had(write, tmp_path):
    path = write(
        model("acme", NOWHERE, more='api_key = "${env:ONE}"'),
        '[channel.ops]\nurl = "${env:TWO}"\n',
    )
    refused = uptoken("run", "--config", path, cwd=tmp_path)
    assert refused.status == 2
    assert [line.rpartition(": ")[2] for line in refused.err.splitlines()] == [
        "the environment variable ONE is not set",
        "the environment variable TWO is not set",
    ]


def test_run_refuses_a_channel_that_its_secret_makes_unreadable(write, tmp_path):
    path = write(model("acme", NOWHERE), '[channel.ops]\nurl = "${env:OPS}"\n')
    refused = uptoken("run", "--config", path, cwd=tmp_path, env={"OPS": SECRET})
    assert refused.status == 2
    assert refused.error == f"{path}:12: channel.ops.url: is not a URL that Apprise can read"


def test_run_refuses_a_newer_schema(write, tmp_path):
    path = write(database(f"sqlite:///{tmp_path}/new.db"), model("acme", NOWHERE))
    assert uptoken("db", "upgrade", "--config", path, cwd=tmp_path).status == 0
    connection = sqlite3.connect(tmp_path / "new.db")
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    refused = uptoken("run", "--config", path, cwd=tmp_path)
    assert refused.status == 1
    assert "made by a newer uptoken" in refused.error


def test_a_state_folder_that_cannot_be_made_is_one_line(write, tmp_path):
    (tmp_path / "var").write_text("a file")
    refused = uptoken("run", "--config", write(model("acme", NOWHERE)), cwd=tmp_path)
    assert refused.status == 1
    assert refused.error == "cannot make the state folder var: File exists"


# serve


@pytest.mark.parametrize("mode", [0, 0o500])
def test_a_state_folder_that_is_not_ours_to_write_is_one_line(mode, write, tmp_path):
    path = write(model("acme", NOWHERE))
    state = tmp_path / "theirs"
    state.mkdir(mode=mode)
    ended = unprivileged("run", "--config", path, cwd=tmp_path, env={"UPTOKEN_STATE": str(state)})
    assert ended.status == 1
    assert ended.error == f"cannot write into the state folder {state}: Permission denied"


def test_a_lock_that_cannot_be_opened_is_named(write, tmp_path):
    path = write(model("acme", NOWHERE), '[server]\nlisten = ""\n')
    state = tmp_path / "state"
    (state / "lock").mkdir(parents=True)
    ended = uptoken("run", "--config", path, cwd=tmp_path, env={"UPTOKEN_STATE": str(state)})
    assert ended.status == 1
    assert ended.err.splitlines()[-1] == f"cannot open {state}/lock: Is a directory"


def test_a_private_ca_that_the_daemon_may_not_read_is_named(write, tmp_path):
    path = write(model("acme", NOWHERE, more='ca_file = "ca.pem"'))
    (tmp_path / "ca.pem").touch(mode=0)
    ended = unprivileged("run", "--config", path, cwd=tmp_path)
    assert ended.status == 2
    assert ended.error == f"{path}: ca_file {tmp_path}/ca.pem cannot be read by this user"


def test_serve_shows_what_is_stored_and_ends_with_0(write, tmp_path, free_port):
    path = write(f'[server]\nlisten = "127.0.0.1:{free_port}"\nmanaged = false\n', model("acme", NOWHERE))
    assert uptoken("db", "upgrade", "--config", path, cwd=tmp_path).status == 0
    with standing("serve", "--config", path, cwd=tmp_path) as pages:
        pages.wait("page.listening")
        assert served(free_port, "/api/v1/endpoints") == 200
        assert pages.end(signal.SIGTERM) == 0


def test_serve_needs_no_key(write, tmp_path, free_port):
    more = 'api_key = "${env:NOT_SET}"'
    path = write(f'[server]\nlisten = "127.0.0.1:{free_port}"\n', model("acme", NOWHERE, more=more))
    assert uptoken("db", "upgrade", "--config", path, cwd=tmp_path).status == 0
    with standing("serve", "--config", path, cwd=tmp_path) as pages:
        pages.wait("page.listening")
        assert pages.end(signal.SIGINT) == 0


def test_serve_makes_no_database(write, tmp_path, free_port):
    path = write(f'[server]\nlisten = "127.0.0.1:{free_port}"\n', model("acme", NOWHERE))
    refused = uptoken("serve", "--config", path, cwd=tmp_path)
    assert refused.status == 1
    assert refused.error == f"no database at {tmp_path}/var/uptoken.db"


def test_serve_at_an_address_in_use_is_one_line(write, taken, tmp_path):
    path = write(f'[server]\nlisten = "127.0.0.1:{taken}"\n', model("acme", NOWHERE))
    assert uptoken("db", "upgrade", "--config", path, cwd=tmp_path).status == 0
    refused = uptoken("serve", "--config", path, cwd=tmp_path)
    assert refused.status == 1
    assert "is in use by another program" in refused.error


def test_serve_without_an_address_has_nothing_to_do(write, tmp_path):
    path = write('[server]\nlisten = ""\n', model("acme", NOWHERE))
    refused = uptoken("serve", "--config", path, cwd=tmp_path)
    assert (refused.status, refused.error) == (2, f"{path}: [server] names no address to listen on")


# demo


@pytest.fixture
def shown(write, free_port):
    """The shipped config at ports of our own: of the page, and of the simulator."""
    simulator = unused_port()
    text = shipped.path("config.toml").read_text()
    text = text.replace("127.0.0.1:8490", f"127.0.0.1:{simulator}").replace(":8480", f":{free_port}")
    path = write(text)
    path.chmod(0o644)
    return path, free_port, simulator


def test_the_demo_shows_figures_an_outage_and_an_alert_and_ends_cleanly(shown, tmp_path):
    path, page, simulator = shown
    with standing("demo", "--speed", "20", "--config", path, cwd=tmp_path) as demo:
        demo.wait(f"The page: http://127.0.0.1:{page}")
        demo.wait("probe.stored.*sim-swift/swift-mini")
        demo.wait("page.listening")
        assert served(page) == 200
        demo.wait("simulated: .* shaky: answers 503")
        stopping = time.monotonic()
        assert demo.end(signal.SIGINT) == 0
        assert time.monotonic() - stopping < 10.0
    assert demo.lines[-1].startswith("simulated: stopped")  # after the daemon had drained
    assert any("daemon.stopped" in line for line in demo.lines)
    for port in (page, simulator):
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
    assert (tmp_path / "var" / "uptoken.db").exists()


def test_ctrl_c_reaches_the_whole_terminal_and_the_daemon_still_drains(shown, tmp_path):
    """A terminal signals every process of its group at once."""
    path, _, _ = shown
    process = subprocess.Popen(
        [sys.executable, "-m", "monitor", "demo", "--config", str(path)],
        env=environment(),
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    demo = Standing(process)
    try:
        demo.wait("probe.stored")
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(15) == 0
    finally:
        demo.close()
    outcomes = {match[1] for line in demo.lines if (match := re.search(r'"outcome": "(\w+)"', line))}
    assert outcomes
    assert outcomes <= {"ok", BUSY}


def test_a_demo_that_is_killed_leaves_no_simulator(shown, tmp_path):
    path, _, simulator = shown
    with standing("demo", "--config", path, cwd=tmp_path) as demo:
        demo.wait("daemon.ready")
        demo.end(signal.SIGKILL)
    deadline = time.monotonic() + SOON_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", simulator), timeout=1).close()
        except OSError:
            break
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_second_demo_is_one_line(shown, tmp_path):
    path, _, simulator = shown
    with socket.create_server(("127.0.0.1", simulator)):
        refused = uptoken("demo", "--config", path, cwd=tmp_path)
    assert refused.status == 1
    assert refused.error.startswith(f"simulator: cannot listen on 127.0.0.1:{simulator}")
    assert refused.error.endswith("(does another demo run?)")


def test_a_page_address_in_use_ends_the_demo_and_its_simulator(shown, tmp_path):
    path, page, simulator = shown
    with socket.create_server(("127.0.0.1", page)):
        refused = uptoken("demo", "--config", path, cwd=tmp_path)
    assert refused.status == 1
    assert refused.err.splitlines()[-1].startswith(f"server.listen: 127.0.0.1:{page} is in use")
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", simulator), timeout=1).close()


def test_a_demo_of_a_config_without_simulated_providers_is_refused(write, tmp_path):
    path = write(model("acme", "https://api.example.com/v1"))
    refused = uptoken("demo", "--config", path, cwd=tmp_path)
    assert refused.status == 2
    assert refused.error == f"{path}: watches nothing on 127.0.0.1, so there is nothing to simulate"
