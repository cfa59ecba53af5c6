"""Servers, names and certificates for the tests of the transport."""

import gc
import socket
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Protocol

import pytest

from monitor.clock import monotonic
from monitor.config.proxy import Proxy
from monitor.transport.resolver import Ip, Resolver
from monitor.transport.stamps import receive, stamps
from monitor.transport.wire import ProbeWire, Transport, Transports, open_transports
from tests.transport.servers import Certificates, NameServer, Script, Server, make_certificates


@pytest.fixture(scope="session", autouse=True)
def _stamping() -> None:
    """The kernel begins to stamp a moment after the first socket of the process asked for it."""
    with socket.create_server(("127.0.0.1", 0)) as door, socket.socket() as ours:
        stamps().switch_on(ours)
        ours.connect(door.getsockname())
        theirs, _ = door.accept()
        with theirs:
            deadline, since = monotonic() + 10, monotonic()
            theirs.send(b"x")
            while not receive(ours, memoryview(bytearray(8)), since).stamped:
                assert monotonic() < deadline, "this kernel gives no stamps"
                theirs.send(b"x")


class Serve(Protocol):
    def __call__(
        self,
        script: Script,
        *,
        family: socket.AddressFamily = socket.AF_INET,
        context: ssl.SSLContext | None = None,
        port: int = 0,
        path: Path | None = None,
    ) -> Server: ...


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start a server that plays a script."""
    servers: list[Server] = []

    def start(
        script: Script,
        *,
        family: socket.AddressFamily = socket.AF_INET,
        context: ssl.SSLContext | None = None,
        port: int = 0,
        path: Path | None = None,
    ) -> Server:
        servers.append(Server(script, family=family, context=context, port=port, path=path))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def names() -> Iterator[NameServer]:
    server = NameServer()
    yield server
    server.close()


@pytest.fixture
async def transports() -> AsyncIterator[Transports]:
    async with open_transports() as opened:
        yield opened


@pytest.fixture
def wire(transports: Transports) -> ProbeWire:
    """Both families, the system's resolver and authorities."""
    return transports.wire()


class Named(Protocol):
    def __call__(
        self, ip: Ip = "auto", ca_file: Path | None = None, proxy: Proxy | None = None, *, bare: bool = False
    ) -> ProbeWire: ...


@pytest.fixture
async def named(names: NameServer) -> AsyncIterator[Named]:
    """A wire that asks our own name server."""
    resolver = Resolver(nameservers=[names.address])

    def make(
        ip: Ip = "auto", ca_file: Path | None = None, proxy: Proxy | None = None, *, bare: bool = False
    ) -> ProbeWire:
        return ProbeWire(Transport(ip=ip, ca_file=ca_file, proxy=proxy, resolver=resolver, bare=bare))

    yield make
    await resolver.aclose()


@pytest.fixture
def open_files() -> Iterator[None]:
    """Afterwards as many files are open as before.

    But one stays, for stamps, as long as the process does, and one of the loop's, which opens it when it
    first has to wait.
    """
    stamps()
    gc.collect()  # what an earlier test let lie would vanish in the middle of this one
    before = _open_files()
    yield
    for _ in range(500):
        if _open_files() == before:
            break
        time.sleep(0.01)  # the server's thread closes its end when it gets round to it
    assert _open_files() == before


def _open_files() -> list[str]:
    # The listing itself holds one that is gone by the time it is looked at.
    held = (str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.exists())
    return sorted(name for name in held if not name.endswith("schedstat"))
