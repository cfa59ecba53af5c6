"""The daemon as its users start it: `python -m monitor run`, in a process of its own.

A test builds a config, starts daemons on it, waits for what they say and ends them, gently or
not. Nothing here sleeps to hope: every wait is for an event and has a limit.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support import child
from tests.support.records import Records

TOP = Path(__file__).parents[2]
SOON_S = 20.0
"""How long a test waits for what must come; the machine may be busy."""

Line = dict[str, Any]
"""One line of the log. One that is no JSON has the event `""` and stands in `text`."""


class Daemon:
    """One running daemon."""

    def __init__(self, config: Path, state: Path, env: dict[str, str], inside: Sequence[str] = ()) -> None:
        self.lines: list[Line] = []
        self.started = time.monotonic()
        self._news = threading.Condition()
        self._closed = False
        reading, writing = os.pipe()
        try:
            self._process = child.start(
                [*inside, sys.executable, "-m", "monitor", "run", "--config", config],
                env={**_bare_environment(), "UPTOKEN_STATE": str(state), **env},
                cwd=TOP,
                stdout=subprocess.DEVNULL,
                stderr=writing,
            )
        finally:
            os.close(writing)
        self._reader = threading.Thread(target=self._read, args=(reading,), daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    # Hearing

    def heard(self, event: str, **fields: object) -> list[Line]:
        """What it said of that event so far, with those fields."""
        with self._news:
            return [line for line in self.lines if _fits(line, event, fields)]

    def wait(self, event: str, *, count: int = 1, within_s: float = SOON_S, **fields: object) -> Line:
        """The `count`-th line of that event with those fields. Fails if it does not come."""
        deadline = time.monotonic() + within_s
        with self._news:
            while True:
                found = [line for line in self.lines if _fits(line, event, fields)]
                if len(found) >= count:
                    return found[count - 1]
                left = deadline - time.monotonic()
                if self._closed or left <= 0:
                    why = "the daemon ended" if self._closed else f"{within_s:g} s passed"
                    raise AssertionError(f"{why} without {event} {fields}; it said:\n{self.tail()}")
                self._news.wait(left)

    def tail(self, count: int = 12) -> str:
        """Its last lines, and all that it complained of before."""
        loud = [line for line in self.lines[:-count] if line.get("level") not in ("info", None)]
        return "\n".join(json.dumps(line)[:600] for line in [*loud[-count:], *self.lines[-count:]])

    def _read(self, descriptor: int) -> None:
        with open(descriptor, "rb") as stream:
            for raw in stream:
                # What a kill cut off in the middle was not said.
                if raw.endswith(b"\n"):
                    self._take(_parsed(raw.decode().rstrip()))
        with self._news:
            self._closed = True
            self._news.notify_all()

    def _take(self, line: Line) -> None:
        with self._news:
            self.lines.append({"heard_at": time.monotonic(), **line})
            self._news.notify_all()

    # Ending

    def kill(self) -> None:
        """SIGKILL: no goodbye. Returns when it is gone and all that it said was read."""
        self._process.kill()
        self._process.wait()
        self._reader.join()

    def send(self, number: int) -> None:
        self._process.send_signal(number)

    def stop(self, number: int = signal.SIGTERM, within_s: float = 30.0) -> tuple[int, float]:
        """Ask it to end: its exit status, and the seconds that it took."""
        began = time.monotonic()
        self.send(number)
        return self.ended(within_s), time.monotonic() - began

    def ended(self, within_s: float = 30.0) -> int:
        """Its exit status, once it has ended of itself."""
        try:
            status = self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it still runs after {within_s:g} s; it said:\n{self.tail()}") from None
        self._reader.join()
        return status


@dataclass
class Home:
    """A config, a state folder and a database, and the daemons that lived there."""

    folder: Path
    database_url: str
    inside: Sequence[str] = ()
    """What its daemons are started with, to run in a namespace."""
    daemons: list[Daemon] = field(default_factory=list)
    _records: Records | None = None

    @property
    def config(self) -> Path:
        return self.folder / "config.toml"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def configure(self, *parts: str, listen: str = "") -> None:
        """Write the config: the database, where the page is (else there is none), and these parts of TOML."""
        head = f'[database]\nurl = "{self.database_url}"\n\n[server]\nlisten = "{listen}"\n'
        self.config.write_text("\n".join((head, *parts)))

    def start(self, *, state: Path | None = None, env: dict[str, str] | None = None) -> Daemon:
        """A daemon that has only just been started."""
        daemon = Daemon(self.config, state or self.state, env or {}, self.inside)
        self.daemons.append(daemon)
        return daemon

    def ready(self, *, state: Path | None = None, env: dict[str, str] | None = None) -> Daemon:
        """A daemon that is ready."""
        daemon = self.start(state=state, env=env)
        daemon.wait("daemon.ready")
        return daemon

    def records(self) -> Records:
        """What stands in the database; the same reader each time."""
        if self._records is None:
            self._records = Records(self.database_url)
        return self._records

    def clear(self) -> None:
        if self._records is not None:
            self._records.close()
        for daemon in self.daemons:
            if daemon.running:
                daemon.kill()


@pytest.fixture
def home(tmp_path: Path, database_url: str) -> Iterator[Home]:
    """A home on each of the two databases: the test runs twice."""
    with home_at(tmp_path, database_url) as one:
        yield one


@pytest.fixture
def sqlite_home(tmp_path: Path) -> Iterator[Home]:
    with home_at(tmp_path, f"sqlite:///{tmp_path / 'uptoken.db'}") as one:
        yield one


@pytest.fixture
def postgres_home(tmp_path: Path, postgres_url: str) -> Iterator[Home]:
    with home_at(tmp_path, postgres_url) as one:
        yield one


@contextmanager
def home_at(folder: Path, database_url: str) -> Iterator[Home]:
    """A home whose daemons end with it."""
    one = Home(folder, database_url)
    try:
        yield one
    finally:
        one.clear()


# Parts of a config


def alerting(
    *, down_after: int = 2, up_after: int = 2, confirm_every: str = "0s", reminder: str = "4h"
) -> str:
    return (
        f"[alert]\ndown_after = {down_after}\nup_after = {up_after}\n"
        f'confirm_every = "{confirm_every}"\nreminder = "{reminder}"\n'
    )


def channel(name: str, url: str) -> str:
    return f'[channel.{name}]\nurl = "{url}"\n'


def website(
    provider: str,
    url: str,
    *,
    slugs: tuple[str, ...] = ("health",),
    interval: str = "1s",
    timeout: str = "900ms",
) -> str:
    """Plain HTTP endpoints of one provider, all at the same URL."""
    lines = [f'[provider.{provider}]\nprotocol = "http"\ninterval = "{interval}"\ntimeout = "{timeout}"\n']
    lines += [f'[[provider.{provider}.endpoints]]\nname = "{slug}"\nurl = "{url}"\n' for slug in slugs]
    return "\n".join(lines)


# Waiting


def until(holds: Callable[[], bool], what: str, within_s: float = SOON_S) -> None:
    """Wait for something that no log tells. Fails if it does not come to be."""
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, f"{within_s:g} s passed, and it is not so that {what}"
        time.sleep(0.02)


def _fits(line: Line, event: str, fields: dict[str, object]) -> bool:
    return line["event"] == event and all(line.get(name) == value for name, value in fields.items())


def _parsed(text: str) -> Line:
    try:
        line = json.loads(text)
    except ValueError:
        line = None
    return line if isinstance(line, dict) and "event" in line else {"event": "", "text": text}


def _bare_environment() -> dict[str, str]:
    """Nothing of whoever runs the tests but what a program needs to run."""
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TZ") if name in os.environ}
