"""Connecting: both families, and every way in which it fails."""

import asyncio
import contextlib
import errno
import gc
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from monitor.core.wire import FaultKind, Phase
from monitor.transport.fault import broken, kind_of, never_sent, seconds
from monitor.transport.wire import ProbeWire, Transports
from tests.transport.conftest import Named, Serve
from tests.transport.servers import OK, NameServer, Peer, Zone, answers, look

pytestmark = pytest.mark.anyio


@contextmanager
def full_backlog(family: socket.AddressFamily = socket.AF_INET, port: int = 0) -> Iterator[int]:
    """A port whose queue is full: the kernel drops every further SYN, as a dead host would."""
    host = "127.0.0.1" if family is socket.AF_INET else "::1"
    with socket.socket(family) as listener:
        if family is socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((host, port))
        listener.listen(0)
        held = []
        for _ in range(3):
            sock = socket.socket(family)
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
            held.append(sock)
        try:
            yield listener.getsockname()[1]
        finally:
            for sock in held:
                sock.close()


# Both families


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
async def test_an_address_of_either_family_is_reached(
    family: socket.AddressFamily, wire: ProbeWire, serve: Serve
) -> None:
    seen = await look(wire, serve(answers(OK), family=family).url())
    assert (seen.fault, seen.body) == (None, b"ok")
    assert seen.timeline.dns_s is None


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
async def test_a_name_is_reached_in_whichever_family_answers(
    family: socket.AddressFamily, named: Named, names: NameServer, serve: Serve
) -> None:
    names.names["dual.test"] = Zone(a=["127.0.0.1"], aaaa=["::1"])
    server = serve(answers(OK), family=family)
    seen = await look(named(), server.url(host="dual.test"))
    assert (seen.fault, seen.body) == (None, b"ok")
    assert seen.timeline.own_s < 0.2


async def test_a_family_that_swallows_everything_only_costs_a_moment_of_ours(
    named: Named, names: NameServer, serve: Serve
) -> None:
    names.names["dual.test"] = Zone(a=["127.0.0.1"], aaaa=["::1"])
    with full_backlog(socket.AF_INET6) as port:
        server = serve(answers(OK), port=port)
        seen = await look(named(), server.url(host="dual.test"))
    assert (seen.fault, seen.body) == (None, b"ok")
    assert 0.25 <= seen.took < 0.6
    assert seen.timeline.connect_s is not None
    assert seen.timeline.connect_s < 0.1
    assert seen.timeline.own_s > 0.2


@pytest.mark.parametrize(
    ("ip", "family"), [(4, socket.AF_INET), (6, socket.AF_INET6)], ids=["only v4", "only v6"]
)
async def test_a_forced_family_is_the_only_one_tried(
    ip: int, family: socket.AddressFamily, named: Named, names: NameServer, serve: Serve
) -> None:
    names.names["dual.test"] = Zone(a=["127.0.0.1"], aaaa=["::1"])
    other = socket.AF_INET6 if family is socket.AF_INET else socket.AF_INET
    server = serve(answers(OK), family=other)
    seen = await look(named(4 if ip == 4 else 6), server.url(host="dual.test"))
    assert (seen.kind, seen.phase) == ("refused", "connect")
    there = serve(answers(OK), family=family)
    seen = await look(named(4 if ip == 4 else 6), there.url(host="dual.test"))
    assert seen.fault is None


async def test_an_address_of_the_other_family_is_no_address(transports: Transports, serve: Serve) -> None:
    server = serve(answers(OK))
    seen = await look(transports.wire(6), server.url())
    assert (seen.kind, seen.phase) == ("no_such_name", "dns")
    assert seen.text == "127.0.0.1 has no IPv6 address"


# Failures


async def test_a_closed_port_refuses(wire: ProbeWire, closed_port: int) -> None:
    seen = await look(wire, f"http://127.0.0.1:{closed_port}/?key=secret", headers={"X-Key": "secret"})
    assert (seen.kind, seen.phase) == ("refused", "connect")
    assert seen.fault is not None
    assert seen.fault.fault.errno == errno.ECONNREFUSED
    assert seen.text == f"127.0.0.1 port {closed_port} refuses connections"
    assert seen.timeline.connect_s is not None
    assert seen.timeline.request_sent is None


async def test_a_name_whose_every_address_refuses_is_refused(
    named: Named, names: NameServer, closed_port: int
) -> None:
    names.names["dual.test"] = Zone(a=["127.0.0.1"], aaaa=["::1"])
    seen = await look(named(), f"http://dual.test:{closed_port}/")
    assert (seen.kind, seen.phase) == ("refused", "connect")


async def test_silence_ends_at_the_limit_for_connecting(wire: ProbeWire) -> None:
    with full_backlog() as port:
        seen = await look(wire, f"http://127.0.0.1:{port}/", connect_s=0.2)
    assert (seen.kind, seen.phase) == ("timeout", "connect")
    assert seen.text == f"no connection to 127.0.0.1 port {port} within 200 ms"
    assert 0.199 <= seen.took < 0.4
    assert seen.timeline.connect_s == pytest.approx(0.2, abs=0.1)


async def test_silence_of_both_families_names_both(named: Named, names: NameServer) -> None:
    names.names["dual.test"] = Zone(a=["127.0.0.1"], aaaa=["::1"])
    with full_backlog() as port, full_backlog(socket.AF_INET6, port):
        seen = await look(named(), f"http://dual.test:{port}/", connect_s=0.4)
    assert (seen.kind, seen.phase) == ("timeout", "connect")
    assert seen.text == f"no connection to ::1, 127.0.0.1, port {port} within 400 ms"


async def test_the_deadline_holds_for_connecting_too(wire: ProbeWire) -> None:
    with full_backlog() as port:
        seen = await look(wire, f"http://127.0.0.1:{port}/", connect_s=5, deadline=0.2)
    assert (seen.kind, seen.phase) == ("timeout", "connect")
    assert 0.199 <= seen.took < 0.4


async def test_no_route_is_ours(wire: ProbeWire) -> None:
    # TCP to a multicast group: refused by our own kernel, nothing leaves.
    seen = await look(wire, "http://224.0.0.1/")
    assert (seen.kind, seen.phase) == ("local", "connect")
    assert seen.text == "this machine cannot talk to 224.0.0.1 port 80: it has no route there"


async def test_one_family_without_a_route_does_not_hide_what_the_other_says(
    named: Named, names: NameServer, closed_port: int
) -> None:
    names.names["half.test"] = Zone(a=["127.0.0.1"], aaaa=["ff02::1"])
    seen = await look(named(), f"http://half.test:{closed_port}/")
    assert (seen.kind, seen.phase) == ("refused", "connect")


@contextmanager
def no_more_files() -> Iterator[None]:
    gc.collect()  # or what an earlier test let lie makes room in the middle of this one
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as last:
        lowest = last.fileno()
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_too_many_open_files_is_ours(wire: ProbeWire, closed_port: int) -> None:
    with no_more_files():
        seen = await look(wire, f"http://127.0.0.1:{closed_port}/")
    assert (seen.kind, seen.phase) == ("local", "connect")
    assert "too many files are open" in seen.text


async def test_too_many_open_files_is_ours_even_in_a_lookup(
    named: Named, names: NameServer, closed_port: int
) -> None:
    names.names["good.test"] = Zone(a=["127.0.0.1"])
    wire = named()
    await look(wire, f"http://warm.test:{closed_port}/")
    with no_more_files():
        seen = await look(wire, f"http://good.test:{closed_port}/")
    assert seen.kind == "local"


async def test_cancelling_a_connect_leaves_nothing_open(wire: ProbeWire, open_files: None) -> None:
    with full_backlog() as port:
        task = asyncio.create_task(look(wire, f"http://127.0.0.1:{port}/"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


# A connection that breaks


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("first", "phase", "body"),
    [(b"", "headers", b""), (b"HTTP/1.1 200", "headers", b""), (CHUNKED + b"2\r\nok\r\n", "body", b"ok")],
)
async def test_a_reset_is_told_after_what_came_before_it(
    first: bytes, phase: str, body: bytes, wire: ProbeWire, serve: Serve
) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(first)
        peer.pause(0.02)
        peer.reset()

    server = serve(script)
    seen = await look(wire, server.url())
    assert (seen.kind, seen.phase, seen.body) == ("reset", phase, body)
    where = "before it answered" if phase == "headers" else "in the middle of its answer"
    assert seen.text == f"127.0.0.1 port {server.port} broke the connection off {where}"


@pytest.mark.parametrize(
    ("first", "phase", "body"),
    [
        (b"", "headers", b""),
        (b"HTTP/1.1 200 OK\r\nX-A: ", "headers", b""),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "headers", b""),
        (CHUNKED, "body", b""),
        (CHUNKED + b"2\r\nok\r\n", "body", b"ok"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", "body", b"ok"),
    ],
)
async def test_an_end_before_the_message_is_complete_is_told(
    first: bytes, phase: str, body: bytes, wire: ProbeWire, serve: Serve
) -> None:
    seen = await look(wire, serve(answers(first)).url())
    assert (seen.kind, seen.phase, seen.body) == ("closed", phase, body)


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH_9.2p1\r\n", b"\x15\x03\x01\x00\x02\x02\x46"])
async def test_what_is_not_http_is_told(answer: bytes, wire: ProbeWire, serve: Serve) -> None:
    seen = await look(wire, serve(answers(answer)).url())
    assert (seen.kind, seen.phase) == ("malformed", "headers")
    assert seen.text.endswith("the answer is not HTTP")


async def test_an_early_answer_wins_over_a_failed_send(wire: ProbeWire, serve: Serve) -> None:
    def script(peer: Peer) -> None:
        peer.sock.recv(1000)
        peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
        # Closing on unread data sends RST.

    seen = await look(wire, serve(script).url(), method="POST", body=b"x" * 8_000_000)
    assert (seen.fault, seen.status, seen.body) == (None, 413, b"big")
    assert seen.timeline.request_sent is not None


async def test_an_early_answer_ends_the_sending(wire: ProbeWire, serve: Serve) -> None:
    def script(peer: Peer) -> None:
        peer.sock.recv(1000)
        peer.send(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno")
        peer.hang()

    seen = await look(wire, serve(script).url(), method="POST", body=b"x" * 30_000_000)
    assert (seen.fault, seen.status, seen.body) == (None, 401, b"no")
    assert seen.took < 1


async def test_we_never_close_our_half_before_the_answer_is_there(wire: ProbeWire, serve: Serve) -> None:
    heard: list[bytes] = []

    def script(peer: Peer) -> None:
        peer.request()
        peer.sock.settimeout(0.2)
        with contextlib.suppress(TimeoutError):
            heard.append(peer.sock.recv(1))
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    seen = await look(wire, serve(script).url(), method="POST", body=b"x" * 10_000)
    assert (seen.fault, seen.body) == (None, b"ok")
    assert heard == []


async def test_a_reset_while_sending_is_told_as_such(wire: ProbeWire, serve: Serve) -> None:
    def script(peer: Peer) -> None:
        peer.sock.recv(1000)
        peer.reset()

    seen = await look(wire, serve(script).url(), method="POST", body=b"x" * 30_000_000)
    assert (seen.kind, seen.phase) == ("reset", "request")


# What an errno means


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (errno.ECONNREFUSED, FaultKind.REFUSED),
        (errno.EHOSTUNREACH, FaultKind.UNREACHABLE),
        (errno.ECONNRESET, FaultKind.RESET),
        (errno.EPIPE, FaultKind.RESET),
        (errno.ETIMEDOUT, FaultKind.TIMEOUT),
        (errno.ENETUNREACH, FaultKind.LOCAL),
        (errno.EADDRNOTAVAIL, FaultKind.LOCAL),
        (errno.EMFILE, FaultKind.LOCAL),
        (errno.ENFILE, FaultKind.LOCAL),
        (errno.ENOMEM, FaultKind.LOCAL),
        (errno.ENOBUFS, FaultKind.LOCAL),
        (errno.EXDEV, FaultKind.LOCAL),
        (None, FaultKind.LOCAL),
    ],
)
def test_an_errno_decides_the_kind(code: int | None, kind: FaultKind) -> None:
    assert kind_of(code) is kind
    fault = broken(code, Phase.CONNECT, "192.0.2.1 port 443")
    assert (fault.kind, fault.errno) == (kind, code)
    assert "192.0.2.1 port 443" in fault.text
    assert "Errno" not in fault.text


@pytest.mark.parametrize("code", [errno.ENETUNREACH, errno.EACCES, errno.ENONET, errno.EHOSTUNREACH])
def test_what_a_router_answers_is_not_what_our_own_machine_says_at_once(code: int) -> None:
    there = "192.0.2.1 port 443"
    assert broken(code, Phase.CONNECT, there, told=True).kind is FaultKind.UNREACHABLE
    assert never_sent(code, there).kind is FaultKind.LOCAL


def test_limits_are_said_as_people_write_them() -> None:
    assert [seconds(length) for length in (10.0, 2.5, 0.3, 0.0125)] == ["10 s", "2.5 s", "300 ms", "12.5 ms"]
