"""A real PostgreSQL of our own: Debian's binaries, a private Unix socket, no TCP.

PostgreSQL refuses to run as root, and the user it runs as cannot enter pytest's own
temporary folders; so the cluster has a folder of its own under the system's.
"""

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest

from tests.support import child

INSTALL = "PostgreSQL is not installed: sudo apt-get install -y postgresql"
SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "shared_buffers": "16MB",
    "max_connections": "60",
    "autovacuum": "off",  # it would move figures about
}


def binaries() -> Path | None:
    """The folder of the newest installed version; None if there is none."""
    folders = [found.parent for found in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    return max(folders, key=lambda folder: int(folder.parent.name), default=None)


class Cluster:
    """One server. A test may stop it, start it, freeze it and thaw it."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder = folder
        self._programs = programs
        self._server: subprocess.Popen[bytes] | None = None
        self._names = itertools.count(1)

    def create(self) -> None:
        """Lay out the data folder. Once, before the first start."""
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres", "postgres")
        initdb: list[str | Path] = [
            self._programs / "initdb",
            "--pgdata",
            self.folder / "data",
            "--username=postgres",
        ]
        options = ["--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync"]
        with (self.folder / "initdb.log").open("wb") as log:
            made = child.start([*initdb, *options], user="postgres", cwd=self.folder, stdout=log, stderr=log)
            if made.wait() != 0:
                raise RuntimeError((self.folder / "initdb.log").read_text())

    def start(self) -> None:
        """Return when the server takes connections. Does nothing if it runs."""
        if self._server is not None:
            return
        settings = [part for item in SETTINGS.items() for part in ("-c", "=".join(item))]
        server: list[str | Path] = [
            self._programs / "postgres",
            "-D",
            self.folder / "data",
            "-k",
            self.folder,
        ]
        with (self.folder / "server.log").open("ab") as log:
            self._server = child.start(
                [*server, *settings], user="postgres", cwd=self.folder, stdout=log, stderr=log
            )
        self._await_ready(time.monotonic() + 30)

    def stop(self) -> None:
        """Break off every session and end the server, as `systemctl stop` does."""
        if self._server is not None:
            self.thaw()
            child.end(self._server, signal.SIGINT, within_s=30)
            self._server = None

    def freeze(self) -> None:
        """Stop every process of the server where it stands: sockets stay open, nothing answers."""
        if self._server is None:
            raise RuntimeError("a stopped server cannot be frozen")
        os.kill(self._server.pid, signal.SIGSTOP)
        # Each session is a process group of its own, so they are stopped one by one;
        # the first of them can no longer grow new ones.
        for pid in self._sessions():
            _signal(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on. Does nothing if it was not frozen."""
        if self._server is not None:
            for pid in [*self._sessions(), self._server.pid]:
                _signal(pid, signal.SIGCONT)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        self.stop()
        try:
            yield
        finally:
            self.start()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        self.freeze()
        try:
            yield
        finally:
            self.thaw()

    def url(self, database: str) -> str:
        """As `[database] url` in config.toml takes it."""
        return f"postgresql://postgres@/{database}?host={self.folder}"

    def create_database(self) -> str:
        """The name of a fresh, empty database."""
        name = f"uptoken{next(self._names)}"
        self._administer(f"CREATE DATABASE {name}")
        return name

    def drop_database(self, name: str) -> None:
        """Whoever still uses it is thrown out; a stopped or frozen server is revived for it."""
        self.thaw()
        self.start()
        self._administer(f"DROP DATABASE {name} WITH (FORCE)")

    def _administer(self, statement: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement)

    def _sessions(self) -> list[int]:
        assert self._server is not None
        pid = self._server.pid
        return [int(session) for session in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def _await_ready(self, deadline: float) -> None:
        assert self._server is not None
        while True:
            try:
                psycopg.connect(self.url("postgres")).close()
            except psycopg.OperationalError:
                if self._server.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError((self.folder / "server.log").read_text()) from None
                time.sleep(0.02)
            else:
                return


def _signal(pid: int, number: signal.Signals) -> None:
    """A session may have ended since it was listed."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


@pytest.fixture(scope="session")
def _cluster() -> Iterator[Cluster]:
    programs = binaries()
    if programs is None:
        pytest.fail(INSTALL)
    folder = Path(tempfile.mkdtemp(prefix="uptoken-postgres-"))
    cluster = Cluster(folder, programs)
    try:
        cluster.create()
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder)


@pytest.fixture
def postgres(_cluster: Cluster) -> Iterator[Cluster]:
    """The server, running. Whatever a test did to it, the next one finds it running."""
    yield _cluster
    _cluster.thaw()
    _cluster.start()


@pytest.fixture
def postgres_url(postgres: Cluster) -> Iterator[str]:
    """The URL of a fresh, empty database."""
    name = postgres.create_database()
    yield postgres.url(name)
    postgres.drop_database(name)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a fresh, empty database: the test runs once for each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'uptoken.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url
