"""A page process as the daemon starts it, on sockets and a database of the test."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from monitor.core.snapshot import Listing, Site
from monitor.web.handover import Handover, to_line


class Page(AbstractContextManager["Page"]):
    """`python -m monitor.web`, and what it says on stderr."""

    def __init__(
        self,
        database_url: str,
        state_dir: Path,
        listings: Sequence[Listing],
        *,
        site: Site | None = None,
        prepare: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
    ) -> None:
        """`prepare` is a command before it, e.g. to bound its files."""
        self._doors = [_listening(), _listening()]
        self.url, self.public_url = (f"http://127.0.0.1:{door.getsockname()[1]}" for door in self._doors)
        self._handover = Handover(
            database_url=database_url,
            state_dir=state_dir,
            site=site or Site(name="Test"),
            listings=tuple(listings),
            fds=(self._doors[0].fileno(),),
            public_fds=(self._doors[1].fileno(),),
        )
        self._command = [*prepare, sys.executable, "-P", "-m", "monitor.web"]
        top = Path(__file__).parents[2]
        self._env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(top), **(env or {})}
        self.said: list[Mapping[str, Any]] = []
        self._listening = threading.Event()

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=[door.fileno() for door in self._doors],
            env=self._env,
            start_new_session=True,
        )
        assert self.process.stdin is not None
        self.process.stdin.write(to_line(self._handover))
        self.process.stdin.flush()
        self._ear = threading.Thread(target=self._hear, daemon=True)
        self._ear.start()
        return self

    def _hear(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            try:
                self.said.append(json.loads(line))
            except ValueError:
                self.said.append({"event": "no json", "text": line.decode()})
            if self.said[-1]["event"] == "page.listening":
                self._listening.set()
        self._listening.set()

    def await_listening(self) -> None:
        assert self._listening.wait(20)

    def end(self, number: signal.Signals = signal.SIGTERM, within_s: float = 10.0) -> int:
        """The exit status after that signal."""
        self.process.send_signal(number)
        return self.process.wait(within_s)

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._ear.join(5)
        for stream in (self.process.stdin, self.process.stderr):
            assert stream is not None
            stream.close()
        for door in self._doors:
            door.close()


def _listening() -> socket.socket:
    door = socket.socket()
    door.bind(("127.0.0.1", 0))
    door.listen(512)
    return door
