"""The page process and its keeper, as two real processes."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.web.conftest import World

TOP = Path(__file__).parents[2]
SECRET = "sk-canary-0123456789"
CONFIG = """
[site]
name = "Watched"
[server]
listen = "{listen}"
public_listen = "{public}"
managed = {managed}
[provider.acme]
protocol = "openai-chat"
base_url = "http://127.0.0.1:1/v1"
api_key = "${{env:ACME_KEY}}"
[[provider.acme.endpoints]]
model = "fast"
[[provider.acme.endpoints]]
model = "broken"
"""


class Keeper:
    """`tests/web/parent.py`, and what it said first."""

    def __init__(self, folder: Path, url: str, **written: str) -> None:
        values = {"listen": "127.0.0.1:0", "public": "", "managed": "true", **written}
        config = folder / "config.toml"
        config.write_text(CONFIG.format(**values))
        self.log = (folder / "log").open("wb+")
        self.process = subprocess.Popen(
            [sys.executable, str(TOP / "tests/web/parent.py"), str(config), str(folder), url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            env={**os.environ, "PYTHONPATH": str(TOP), "ACME_KEY": SECRET, "DAEMON_ONLY": SECRET},
            cwd=folder,
        )
        assert self.process.stdout is not None
        self.said: dict[str, Any] = json.loads(self.process.stdout.readline())

    @property
    def logged(self) -> list[dict[str, Any]]:
        self.log.seek(0)
        return [json.loads(line) for line in self.log]

    def end(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(15)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.log):
            assert stream is not None
            stream.close()


@pytest.fixture
def keep(tmp_path: Path, world: World) -> Iterator[Callable[..., Keeper]]:
    """Starts a keeper with `[server]` as given."""
    kept: list[Keeper] = []

    def start(url: str = world.url, **written: str) -> Keeper:
        folder = tmp_path / str(len(kept))
        folder.mkdir()
        kept.append(Keeper(folder, url, **written))
        return kept[-1]

    yield start
    for keeper in kept:
        keeper.close()


def _get(address: str) -> httpx.Response:
    return httpx.get(address, trust_env=False, timeout=20)


def _within(seconds: float, holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _lives(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def _listens(address: str) -> bool:
    host, _, port = address.removeprefix("http://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), 1).close()
    except ConnectionRefusedError:
        return False
    return True


def test_the_page_is_there_while_the_daemon_is(keep):
    keeper = keep(public="127.0.0.2:0")
    operators, everybody = keeper.said["addresses"]
    assert "Watched" in _get(f"{operators}/").text
    assert [one["id"] for one in _get(f"{everybody}/api/v1/endpoints").json()["endpoints"]] == [
        "acme/fast",
        "acme/broken",
    ]
    began = time.monotonic()
    assert keeper.end() == 0
    assert time.monotonic() - began < 4
    assert not _lives(keeper.said["pid"])
    assert not _listens(operators)


def test_a_child_that_died_is_replaced_on_the_same_address(keep):
    keeper = keep()
    (address,) = keeper.said["addresses"]
    _get(f"{address}/-/healthy").raise_for_status()
    os.kill(keeper.said["pid"], signal.SIGKILL)
    # The socket stays open, so whoever asks meanwhile is answered by the next one.
    assert _get(f"{address}/-/healthy").status_code == 200
    (died,) = [line for line in keeper.logged if line["event"] == "page.died"]
    assert died["status"] == -9


def test_the_child_ends_when_the_daemon_is_killed(keep):
    keeper = keep()
    (address,) = keeper.said["addresses"]
    _get(f"{address}/").raise_for_status()
    keeper.process.kill()
    assert _within(3, lambda: not _lives(keeper.said["pid"]))
    assert not _listens(address)


def test_the_child_ends_though_the_daemon_was_killed_before_it_had_begun(keep):
    keeper = keep()
    keeper.process.kill()
    assert _within(10, lambda: not _lives(keeper.said["pid"]))


def test_the_child_knows_no_key(keep, world: World):
    keeper = keep()
    (address,) = keeper.said["addresses"]
    _get(f"{address}/").raise_for_status()
    process = Path(f"/proc/{keeper.said['pid']}")
    environment = process.joinpath("environ").read_bytes()
    assert SECRET.encode() not in environment
    assert b"ACME_KEY" not in environment
    assert b"DAEMON_ONLY" not in environment
    assert b"NOTIFY_SOCKET" not in environment
    command = process.joinpath("cmdline").read_bytes()
    assert world.url.encode() not in command
    assert b"config.toml" not in command


def test_the_daemon_lets_nobody_look_into_its_memory(keep):
    assert keep().said["dumpable"] == 0


def test_a_port_in_use_is_one_clear_line(keep):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        keeper = keep(listen=f"127.0.0.1:{port}")
    assert keeper.said["refused"] == (
        f"server.listen: 127.0.0.1:{port} is in use by another program: stop that one, or choose another address"
    )
    keeper = keep(public=f"127.0.0.1:{port}")
    assert "addresses" in keeper.said


def test_where_another_unit_serves_the_page_nothing_is_started(keep):
    keeper = keep(managed="false")
    assert keeper.said == {"pid": None, "addresses": [], "dumpable": 1}
    assert keep(listen="").said["addresses"] == []


def test_a_socket_file_is_served_and_removed(keep, tmp_path):
    path = tmp_path / "page.sock"
    keeper = keep(listen=f"unix:{path}")
    transport = httpx.HTTPTransport(uds=str(path))
    with httpx.Client(transport=transport) as client:
        assert client.get("http://page/-/healthy").json() == {"status": "ok"}
    assert "is in use" in keep(listen=f"unix:{path}").said["refused"]
    assert keeper.end() == 0
    assert not path.exists()


def test_a_socket_file_that_was_left_behind_is_taken_over(keep, tmp_path):
    path = tmp_path / "page.sock"
    keeper = keep(listen=f"unix:{path}")
    keeper.process.kill()
    assert _within(5, lambda: not _lives(keeper.said["pid"]))
    assert path.exists()
    assert keep(listen=f"unix:{path}").said["addresses"] == [f"unix:{path}"]


def test_a_file_that_is_no_socket_is_left_alone(keep, tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("mine")
    assert "is no socket" in keep(listen=f"unix:{path}").said["refused"]
    assert path.read_text() == "mine"


def test_the_page_runs_while_there_is_no_database_yet(keep, tmp_path):
    keeper = keep(url=f"sqlite:///{tmp_path / 'later.db'}")
    (address,) = keeper.said["addresses"]
    document = _get(f"{address}/api/v1/endpoints").raise_for_status().json()
    assert document["stale"] is True
    assert [one["state"] for one in document["endpoints"]] == ["unknown", "unknown"]
    ready = _get(f"{address}/-/ready")
    assert ready.status_code == 503
    assert ready.json()["error"]["message"] == "the database does not answer"
    assert str(tmp_path) not in ready.text
    assert _get(f"{address}/api/v1/incidents").status_code == 503
    assert _get(f"{address}/api/v1/endpoints/acme/fast/probes").status_code == 503
    assert "The monitor has not reported yet" in _get(f"{address}/").text
    for path in ("/endpoints/acme/fast", "/providers/acme", "/incidents"):
        assert _get(f"{address}{path}").status_code == 200
    assert not (tmp_path / "later.db").exists()


# A unit of its own


def _serve(folder: Path, url: str) -> subprocess.Popen[str]:
    config = folder / "config.toml"
    written = CONFIG.format(listen="127.0.0.1:0", public="", managed="false")
    config.write_text(f'{written}\n[database]\nurl = "{url}"\n')
    return subprocess.Popen(
        [sys.executable, "-m", "monitor", "serve"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(TOP), "UPTOKEN_STATE": str(folder)},
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_serve_needs_no_key_and_ends_in_order(tmp_path, world: World):
    with _serve(tmp_path, world.url) as process:
        assert process.stderr is not None
        line = json.loads(process.stderr.readline())
        assert line["event"] == "page.listening"
        assert _get(f"{line['addresses'][0]}/-/healthy").status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0


def test_serve_creates_no_database(tmp_path):
    with _serve(tmp_path, "sqlite:///missing.db") as process:
        assert process.stderr is not None
        assert process.stderr.read() == f"no database at {tmp_path / 'missing.db'}\n"
        assert process.wait(5) == 1
    assert not (tmp_path / "missing.db").exists()
