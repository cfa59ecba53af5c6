"""What the service manager hears."""

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from monitor import systemd


@pytest.fixture(autouse=True)
def _no_manager(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(params=["a file", "abstract"])
def heard(request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[str]]]:
    """A manager's socket, and the assignments of the next message that arrived on it."""
    named = str(tmp_path / "notify") if request.param == "a file" else f"@uptoken-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(named.replace("@", "\0"))
        manager.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", named)
        yield lambda: manager.recv(4096).decode().split("\n")


def test_a_manager_hears_every_stage_of_a_life(heard):
    systemd.ready("watching 12 endpoints")
    systemd.alive()
    systemd.say("the database is away")
    systemd.stopping("3 probes left")
    assert [heard() for _ in range(4)] == [
        ["READY=1", "STATUS=watching 12 endpoints"],
        ["WATCHDOG=1"],
        ["STATUS=the database is away"],
        ["STOPPING=1", "STATUS=3 probes left"],
    ]


def test_a_status_cannot_become_another_assignment(heard):
    systemd.say("down\nREADY=1")
    assert heard() == ["STATUS=down READY=1"]


def test_without_a_manager_nothing_happens():
    with capture_logs() as said:
        systemd.ready("")
        systemd.alive()
    assert said == []


def test_a_manager_that_is_gone_is_told_of_and_survived(tmp_path, monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    with capture_logs() as said:
        systemd.alive()
    assert [line["event"] for line in said] == ["systemd.unreachable"]


@pytest.mark.parametrize(
    ("granted", "watched", "interval"),
    [
        ("30000000", None, 15.0),
        ("30000000", "own", 15.0),
        ("30000000", "1", None),
        ("0", None, None),
        ("soon", None, None),
        (None, None, None),
    ],
)
def test_a_sign_of_life_is_owed_at_half_of_what_is_granted(monkeypatch, granted, watched, interval):
    if granted is not None:
        monkeypatch.setenv("WATCHDOG_USEC", granted)
    if watched is not None:
        monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()) if watched == "own" else watched)
    assert systemd.watchdog_interval() == interval
