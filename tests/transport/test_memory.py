"""A look leaves nothing behind that only a sweep of all memory could free.

The daemon takes what is there for permanent every few seconds, so that no sweep holds up its loop.
"""

import asyncio
import contextlib
import gc
import weakref
from pathlib import Path
from typing import Any

import pytest

from monitor import upkeep
from monitor.clock import monotonic
from monitor.config.proxy import Kind, Proxy
from monitor.core.timeline import Timeline
from monitor.core.wire import Limits, Request, Wire, WireFault
from monitor.transport.wire import ProbeWire, Transports
from tests.protocols.replay import look_of
from tests.support.names import Told, name_server
from tests.transport.conftest import Named, Serve
from tests.transport.h2_server import context, serves
from tests.transport.proxies import connects, socks
from tests.transport.servers import OK, Certificates, NameServer, Peer, Script, Zone, answers
from tests.transport.test_http2 import says_ok

pytestmark = pytest.mark.anyio


async def ask(wire: Wire, url: str) -> None:
    """One exchange within a fifth of a second, however it ends."""
    start = monotonic()
    limits = Limits(deadline=start + 0.2, connect_s=0.2)
    with contextlib.suppress(WireFault):
        async with wire.exchange(Request("GET", url, {}, b""), Timeline(start), limits) as reply:
            while await reply.read(limits.deadline) is not None:
                pass


async def circles(wire: Wire, url: str) -> int:
    """How many objects a second exchange leaves in circles; the first one may load things."""
    await ask(wire, url)
    gc.collect()
    gc.disable()
    try:
        await ask(wire, url)
        return gc.collect()
    finally:
        gc.enable()


async def test_a_good_answer_leaves_no_circle(wire: ProbeWire, serve: Serve) -> None:
    assert await circles(wire, serve(answers(OK)).url()) == 0


async def test_nor_does_one_by_name_over_tls(
    named: Named, names: NameServer, certificates: Certificates, serve: Serve
) -> None:
    names.names["good.test"] = Zone(a=["127.0.0.1"])
    server = serve(answers(OK), context=certificates.good)
    assert await circles(named(ca_file=certificates.authority), server.url(host="good.test")) == 0


async def test_nor_does_a_certificate_that_is_refused(
    wire: ProbeWire, certificates: Certificates, serve: Serve
) -> None:
    assert await circles(wire, serve(answers(OK), context=certificates.good).url()) == 0


async def test_nor_does_silence(wire: ProbeWire, serve: Serve) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.hang()

    assert await circles(wire, serve(script).url()) == 0


async def test_nor_does_an_answer_that_stops(wire: ProbeWire, serve: Serve) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
        peer.hang()

    assert await circles(wire, serve(script).url()) == 0


async def test_nor_does_a_name_that_is_not_resolved_in_time(named: Named, names: NameServer) -> None:
    names.names["slow.test"] = Zone(silent=True)
    assert await circles(named(), "http://slow.test/") == 0


async def test_nor_does_a_name_that_does_not_exist(named: Named, names: NameServer) -> None:
    assert await circles(named(), "http://gone.test/") == 0


async def test_nor_does_a_refused_connection(wire: ProbeWire, closed_port: int) -> None:
    assert await circles(wire, f"http://127.0.0.1:{closed_port}/") == 0


async def test_nor_does_a_tunnel(transports: Transports, certificates: Certificates, serve: Serve) -> None:
    server, proxy = serve(answers(OK), context=certificates.good), serve(connects())
    wire = transports.wire(ca_file=certificates.authority, proxy=Proxy("http", "127.0.0.1", proxy.port))
    assert await circles(wire, server.url(host="good.test")) == 0


async def test_nor_does_socks(transports: Transports, serve: Serve) -> None:
    server, proxy = serve(answers(OK)), serve(socks())
    wire = transports.wire(proxy=Proxy("socks5", "127.0.0.1", proxy.port))
    assert await circles(wire, server.url()) == 0


@pytest.mark.parametrize(
    "script", [answers(b"HTTP/1.1 407 no\r\n\r\n"), answers(b"\x05\xff"), answers(), Peer.hang]
)
@pytest.mark.parametrize("kind", ["http", "socks5"])
async def test_nor_does_a_proxy_that_turns_us_away(
    kind: Kind, script: Script, transports: Transports, serve: Serve
) -> None:
    wire = transports.wire(proxy=Proxy(kind, "127.0.0.1", serve(script).port))
    assert await circles(wire, "https://api.test/") == 0


async def test_nor_does_a_unix_socket(tmp_path: Path, transports: Transports, serve: Serve) -> None:
    path = tmp_path / "s.sock"
    serve(answers(OK), path=path)
    wire = transports.wire(proxy=Proxy("unix", path=str(path)))
    assert await circles(wire, "http://a.test/") == 0
    path.unlink()
    assert await circles(wire, "http://a.test/") == 0


async def test_http2_leaves_circles_of_its_own_but_nothing_of_ours_in_them(
    transports: Transports, certificates: Certificates, serve: Serve
) -> None:
    server = serve(serves(says_ok), context=context(certificates, "h2"))
    wire = transports.wire(ca_file=certificates.authority, http2=True)
    url = server.url(host="localhost")
    await ask(wire, url)
    gc.collect()
    gc.disable()
    try:
        exchange = wire.exchange(
            Request("GET", url, {}), Timeline(monotonic()), Limits(deadline=monotonic() + 5, connect_s=5)
        )
        ours = weakref.ref(exchange._asking)
        async with exchange as reply:
            assert await reply.read(monotonic() + 5) is not None
        del exchange, reply
        for _ in range(9):  # what the library's generators hold goes with the next turns of the loop
            await asyncio.sleep(0)
        assert ours() is None
    finally:
        gc.enable()


async def circles_of(protocol: str, wire: Wire, **settings: Any) -> int:
    """The same for a look without HTTP, which takes a fifth of a second at most."""
    at = look_of(protocol, **settings)

    async def once() -> None:
        start = monotonic()
        await at.look(wire, Timeline(start), Limits(deadline=start + 0.2, connect_s=0.2), "", {})

    await once()
    gc.collect()
    gc.disable()
    try:
        await once()
        await asyncio.sleep(0)
        return gc.collect()
    finally:
        gc.enable()


@pytest.mark.parametrize("script", [Peer.hang, Peer.reset, lambda peer: peer.send(b"220 x")])
async def test_nor_does_a_port(script: Script, transports: Transports, serve: Serve) -> None:
    address, wire = f"127.0.0.1:{serve(script).port}", transports.wire(bare=True)
    assert await circles_of("tcp", wire, address=address) == 0
    assert await circles_of("tcp", wire, address=address, expect={"banner_contains": "220"}) == 0


@pytest.mark.parametrize("which", ["good", "expired", "stranger"])
async def test_nor_does_a_certificate_however_it_is(
    which: str, transports: Transports, certificates: Certificates, serve: Serve
) -> None:
    wire = transports.wire(ca_file=certificates.authority, bare=True)
    server = serve(Peer.until_closed, context=getattr(certificates, which))
    assert await circles_of("tls", wire, address=f"127.0.0.1:{server.port}") == 0


async def test_nor_does_a_name_however_it_is_answered(transports: Transports) -> None:
    wire = transports.wire(bare=True)
    with name_server() as server:
        server.names["good.test"] = Told([("A", "192.0.2.1")])
        server.names["dead.test"] = Told(silent=True)
        for name in ("good.test", "dead.test", "gone.test"):
            assert await circles_of("dns", wire, query=name, server=server.address) == 0, name


class Circle:
    """It holds itself."""

    def __init__(self) -> None:
        self.itself = self


def test_what_was_in_use_at_a_sweep_is_found_by_the_thorough_one() -> None:
    circle = Circle()
    there = weakref.ref(circle)
    try:
        upkeep.sweep()
        del circle
        upkeep.sweep()
        assert there() is not None
        upkeep.sweep_all()
        assert there() is None
    finally:
        gc.unfreeze()
