"""The simulated providers as a process, switched over HTTP."""

import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.support import child
from tests.support.daemon import TOP

QUICK: dict[str, Any] = {"headers_ms": 0, "ttft_ms": 5, "tokens_per_s": 5000, "health_ms": 0}


class Simulated:
    """Providers on loopback; none until `define`."""

    def __init__(self, url: str, prefix: str = "") -> None:
        """`prefix` keeps apart the providers of tests that run at the same time."""
        self.url = url
        self._prefix = prefix
        self._before = 0
        """The newest request when this test began."""

    def define(self, provider: str, **profile: object) -> None:
        """Add a provider, or make it another one, that answers well and at once."""
        self._post({"provider": self._prefix + provider, "profile": {**QUICK, **profile}})

    def set(self, provider: str, behaviour: object) -> None:
        """`ok`, the name of a behaviour, or `{"name": …, field: …}`."""
        self._post({"provider": self._prefix + provider, "behaviour": behaviour})

    def log(self, provider: str | None = None) -> list[dict[str, Any]]:
        """What the providers were asked, or one of them, oldest first."""
        wanted = None if provider is None else self._prefix + provider
        entries: list[dict[str, Any]] = self._get(f"/_log?after={self._before}")["requests"]
        return [entry for entry in entries if wanted in (None, entry["provider"])]

    def start_over(self) -> None:
        """Forget what was asked before. `acme` answers well."""
        self.define("acme")
        self._before = self._get("/_stats")["requests"]

    def base_url(self, provider: str) -> str:
        return f"{self.url}/{self._prefix}{provider}/v1"

    def health_url(self, provider: str) -> str:
        return f"{self.url}/{self._prefix}{provider}/health"

    def _get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=10) as reply:
            return json.load(reply)

    def _post(self, wish: dict[str, object]) -> None:
        request = urllib.request.Request(f"{self.url}/_control", json.dumps(wish).encode(), method="POST")
        with urllib.request.urlopen(request, timeout=10) as reply:
            reply.read()


@contextmanager
def simulating() -> Iterator[Simulated]:
    program = [sys.executable, "-m", "monitor.simulator", "--listen", "127.0.0.1:0", "--scenario", "calm"]
    process = child.start(program, cwd=TOP, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        yield Simulated(process.stdout.readline().decode().split()[-1])
    finally:
        child.end(process, signal.SIGTERM)


@pytest.fixture(scope="session")
def _simulated() -> Iterator[Simulated]:
    with simulating() as one:
        yield one


@pytest.fixture
def simulated(_simulated: Simulated) -> Simulated:
    """The session's simulator. A test defines the providers that it needs beside `acme`."""
    _simulated.start_over()
    return _simulated
