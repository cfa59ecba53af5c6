"""A look leaves nothing behind that only a sweep of all memory could free.

The daemon takes what is there for permanent every few seconds, so that no sweep holds up its loop.
"""

import contextlib
import gc

import pytest

from monitor.clock import monotonic
from monitor.core.timeline import Timeline
from monitor.core.wire import Limits, Request, WireFault
from monitor.transport.wire import ProbeWire
from tests.transport.conftest import Named, Serve
from tests.transport.servers import OK, Certificates, NameServer, Peer, Zone, answers

pytestmark = pytest.mark.anyio


async def ask(wire: ProbeWire, url: str) -> None:
    """One exchange within a fifth of a second, however it ends."""
    start = monotonic()
    limits = Limits(deadline=start + 0.2, connect_s=0.2)
    with contextlib.suppress(WireFault):
        async with wire.exchange(Request("GET", url, {}, b""), Timeline(start), limits) as reply:
            while await reply.read(limits.deadline) is not None:
                pass


async def circles(wire: ProbeWire, url: str) -> int:
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


async def test_nor_does_a_refused_connection(wire: ProbeWire, free_port: int) -> None:
    assert await circles(wire, f"http://127.0.0.1:{free_port}/") == 0
