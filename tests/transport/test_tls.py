"""TLS: certificates good and bad, handshakes that fail, and taking turns at them."""

import asyncio
import contextlib
import ssl
import threading
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.clock import SYSTEM, monotonic
from monitor.transport.patience import Patience, TimeUp
from monitor.transport.tls import Session, Turns, context_for
from monitor.transport.wire import ProbeWire, Transport, Transports
from tests.transport.conftest import Named, Serve
from tests.transport.servers import GOOD_FOR, OK, Certificates, NameServer, Peer, Zone, answers, look

pytestmark = pytest.mark.anyio


@pytest.fixture
def trusting(transports: Transports, certificates: Certificates) -> ProbeWire:
    """A wire that trusts the authority of the tests."""
    return transports.wire(ca_file=certificates.authority)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "good.test", "good.test."])
async def test_a_good_certificate_is_accepted_and_its_days_are_counted(
    host: str, named: Named, names: NameServer, certificates: Certificates, serve: Serve
) -> None:
    names.names["good.test"] = Zone(a=["127.0.0.1"])
    server = serve(answers(OK), context=certificates.good)
    seen = await look(named(ca_file=certificates.authority), server.url(host=host))
    assert (seen.fault, seen.body) == (None, b"ok")
    assert seen.certificate_days == pytest.approx(GOOD_FOR.days, abs=0.01)
    assert seen.timeline.tls_s is not None
    assert seen.timeline.tls_s > 0


async def test_without_tls_there_are_no_days_to_count(wire: ProbeWire, serve: Serve) -> None:
    assert (await look(wire, serve(answers(OK)).url())).certificate_days is None


async def test_a_long_stream_over_tls_comes_through_whole(
    trusting: ProbeWire, certificates: Certificates, serve: Serve
) -> None:
    part = bytes(range(256)) * 400

    def script(peer: Peer) -> None:
        body = peer.request().partition(b"\r\n\r\n")[2]
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(20):
            peer.send(b"%x\r\n%b\r\n" % (len(part), part))
        peer.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))

    server = serve(script, context=certificates.good)
    seen = await look(trusting, server.url(), method="POST", body=b"y" * 300_000)
    assert seen.fault is None
    assert seen.body == part * 20 + b"y" * 300_000


async def test_records_keep_their_own_stamps(
    trusting: ProbeWire, certificates: Certificates, serve: Serve
) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na")
        peer.pause(0.05)
        peer.send(b"b")

    seen = await look(trusting, serve(script, context=certificates.good).url())
    (first, _), (second, _) = seen.pieces
    assert second - first > 0.04


@pytest.mark.parametrize(
    ("which", "reason"),
    [
        ("expired", "has expired"),
        ("not_yet", "is not valid yet"),
        ("other_host", "was made for another host"),
        ("self_signed", "is self-signed"),
        ("stranger", "was issued by somebody this machine does not trust"),
    ],
)
async def test_a_bad_certificate_is_told_with_its_reason(
    which: str, reason: str, trusting: ProbeWire, certificates: Certificates, serve: Serve
) -> None:
    server = serve(answers(OK), context=getattr(certificates, which))
    seen = await look(trusting, server.url("/?key=secret", host="localhost"))
    assert (seen.kind, seen.phase) == ("certificate", "tls")
    assert seen.text == f"the certificate of localhost {reason}"
    assert seen.timeline.request_sent is None


async def test_a_certificate_for_other_addresses_is_told(
    trusting: ProbeWire, certificates: Certificates, serve: Serve
) -> None:
    seen = await look(trusting, serve(answers(OK), context=certificates.other_host).url())
    assert (seen.kind, seen.text) == (
        "certificate",
        "the certificate of 127.0.0.1 was made for another address",
    )


async def test_a_private_authority_counts_only_where_it_was_named(
    wire: ProbeWire, certificates: Certificates, serve: Serve
) -> None:
    seen = await look(wire, serve(answers(OK), context=certificates.good).url())
    assert (seen.kind, seen.phase) == ("certificate", "tls")


async def test_the_name_that_was_asked_for_is_the_name_that_counts(
    named: Named, names: NameServer, certificates: Certificates, serve: Serve
) -> None:
    names.names["good.test"] = names.names["bad.test"] = Zone(a=["127.0.0.1"])
    wire = named(ca_file=certificates.authority)
    server = serve(answers(OK), context=certificates.good)
    assert (await look(wire, server.url(host="good.test"))).fault is None
    seen = await look(wire, server.url(host="bad.test"))
    assert (seen.kind, seen.text) == ("certificate", "the certificate of bad.test was made for another host")


# Handshakes that fail


async def test_a_server_without_tls_is_told(trusting: ProbeWire, serve: Serve) -> None:
    def script(peer: Peer) -> None:
        peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        peer.until_closed()

    server = serve(script)
    seen = await look(trusting, server.url().replace("http:", "https:"))
    assert (seen.kind, seen.phase) == ("tls", "tls")
    assert seen.text == (
        "no TLS handshake with 127.0.0.1: what answers there does not speak TLS (wrong version number)"
    )


async def test_a_server_that_closes_in_the_handshake_is_told(trusting: ProbeWire, serve: Serve) -> None:
    def script(peer: Peer) -> None:
        peer.sock.recv(65536)

    seen = await look(trusting, serve(script).url().replace("http:", "https:"))
    assert (seen.kind, seen.phase) == ("closed", "tls")


async def test_a_server_that_resets_in_the_handshake_is_told(trusting: ProbeWire, serve: Serve) -> None:
    def script(peer: Peer) -> None:
        peer.sock.recv(65536)
        peer.reset()

    seen = await look(trusting, serve(script).url().replace("http:", "https:"))
    assert (seen.kind, seen.phase) == ("reset", "tls")


async def test_a_handshake_that_hangs_ends_at_the_limit_for_connecting(
    trusting: ProbeWire, serve: Serve
) -> None:
    server = serve(lambda peer: peer.hang())
    seen = await look(trusting, server.url().replace("http:", "https:"), connect_s=0.2)
    assert (seen.kind, seen.phase) == ("timeout", "tls")
    assert seen.text == f"no TLS handshake with 127.0.0.1 port {server.port} within 200 ms"
    assert 0.199 <= seen.took < 0.4


async def test_no_common_version_is_told(
    trusting: ProbeWire, certificates: Certificates, serve: Serve, tmp_path: Path
) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    old.load_cert_chain(certificates.authority.with_name("good.pem"))
    old.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    seen = await look(trusting, serve(answers(OK), context=old).url())
    assert (seen.kind, seen.phase) == ("tls", "tls")
    assert "handshake failure" in seen.text


async def test_an_end_without_goodbye_is_an_end(
    trusting: ProbeWire, certificates: Certificates, serve: Serve
) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\nuntil the end")
        # Closes the socket and says nothing about it on the TLS layer.

    seen = await look(trusting, serve(script, context=certificates.good).url())
    assert (seen.fault, seen.body) == (None, b"until the end")


async def test_a_goodbye_in_the_middle_is_an_early_end(
    trusting: ProbeWire, certificates: Certificates, serve: Serve
) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok")
        assert isinstance(peer.sock, ssl.SSLSocket)
        peer.sock.settimeout(5)
        peer.sock.unwrap()

    seen = await look(trusting, serve(script, context=certificates.good).url())
    assert (seen.kind, seen.phase, seen.body) == ("closed", "body", b"ok")


async def test_a_session_that_breaks_is_told_after_what_came_before(
    trusting: ProbeWire, certificates: Certificates, serve: Serve
) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok")
        assert isinstance(peer.sock, ssl.SSLSocket)
        # Straight past the TLS layer.
        with open(peer.sock.fileno(), "wb", buffering=0, closefd=False) as plain:
            plain.write(b"\x17\x03\x03\x00\x20" + b"x" * 32)
        peer.hang()

    seen = await look(trusting, serve(script, context=certificates.good).url())
    assert (seen.kind, seen.phase, seen.body) == ("tls", "body", b"ok")


async def test_an_answer_in_the_last_breath_of_the_handshake_is_heard(
    trusting: ProbeWire, certificates: Certificates, serve: Serve
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.authority.with_name("good.pem"))
    # Here the server has the last word in the handshake.
    context.maximum_version = ssl.TLSVersion.TLSv1_2

    def script(peer: Peer) -> None:
        came, sends = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(came, sends, server_side=True)
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                peer.send(sends.read())
                came.write(peer.sock.recv(65536))
                continue
            break
        tls.write(b"HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\nno")
        peer.send(sends.read())
        peer.hang()

    seen = await look(trusting, serve(script).url().replace("http:", "https:"), deadline=2)
    assert (seen.fault, seen.status, seen.body) == (None, 503, b"no")


async def test_the_deadline_holds_over_tls(
    trusting: ProbeWire, certificates: Certificates, serve: Serve
) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while not peer.stopping:
            peer.send(b"x")
            peer.pause(0.005)

    seen = await look(trusting, serve(script, context=certificates.good).url(), deadline=0.3)
    assert (seen.kind, seen.phase) == ("timeout", "body")
    assert 0.299 <= seen.took < 0.5


async def test_cancelling_a_handshake_closes_the_connection(trusting: ProbeWire, serve: Serve) -> None:
    begun = asyncio.Event()
    gone = asyncio.Event()
    loop = asyncio.get_running_loop()

    def script(peer: Peer) -> None:
        peer.sock.recv(65536)
        loop.call_soon_threadsafe(begun.set)
        try:
            peer.until_closed()
        finally:
            loop.call_soon_threadsafe(gone.set)

    task = asyncio.create_task(look(trusting, serve(script).url().replace("http:", "https:")))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(gone.wait(), 5)


# Authorities


class Talk:
    """A handshake with a server in memory."""

    def __init__(self, certificates: Certificates) -> None:
        self.ours = Session(context_for(certificates.authority), "localhost")
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.server = certificates.good.wrap_bio(self._in, self._out, server_side=True)

    def answer(self) -> bytes:
        """What the server says to all we have to say."""
        self._in.write(self.ours.outgoing())
        with contextlib.suppress(ssl.SSLWantReadError):
            self.server.do_handshake()
        return self._out.read()

    def hello(self) -> bytes:
        """A first word of the server."""
        self.server.write(b"hello")
        return self._out.read()


def test_a_handshake_goes_on_record_by_record(certificates: Certificates) -> None:
    talk = Talk(certificates)
    assert not talk.ours.shake()
    talk.ours.put(memoryview(talk.answer()))
    while not talk.ours.shake():
        assert talk.ours.unread
    assert not talk.ours.unread
    assert talk.answer()  # tickets


def ends(flight: bytes) -> list[int]:
    """Where its records end."""
    found = [0]
    while found[-1] < len(flight):
        found.append(found[-1] + 5 + int.from_bytes(flight[found[-1] + 3 : found[-1] + 5], "big"))
    return found[1:]


@given(st.lists(st.integers(1, 3000), max_size=6), st.integers(0, 4))
@settings(max_examples=50)
def test_however_a_handshake_is_cut_it_comes_to_the_same(
    certificates: Certificates, cuts: list[int], late: int
) -> None:
    talk = Talk(certificates)
    talk.ours.shake()
    flight = talk.answer()
    borders = [0, *ends(flight)]
    long = [end for start, end in pairwise(borders) if end - start >= 64]
    done, start, seen = False, 0, 0
    for end in sorted({cut for cut in cuts if cut < len(flight)} | {len(flight)}):
        talk.ours.put(memoryview(flight[start:end]))
        start = end
        while not done:
            done = talk.ours.shake()
            before, seen = seen, end - len(talk.ours._unread)
            # Never a second long one after the end of a first.
            assert sum(before < border < seen for border in long) <= 1
            if not talk.ours.unread:
                break
    assert done
    assert talk.ours.certificate_days(SYSTEM.now()) == pytest.approx(GOOD_FOR.days, abs=0.01)
    told = talk.answer() + talk.hello()
    heard = talk.ours.open(memoryview(told[:late])) + talk.ours.open(memoryview(told[late:]))
    assert heard == b"hello"
    assert talk.ours.settled


def test_what_comes_with_the_last_of_a_handshake_is_not_lost(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Up to TLS 1.2 it is the server that has the last word.
    monkeypatch.setattr(certificates.good, "maximum_version", ssl.TLSVersion.TLSv1_2)
    talk = Talk(certificates)
    talk.ours.shake()
    talk.ours.put(memoryview(talk.answer()))
    while talk.ours.unread:
        assert not talk.ours.shake()
    talk.ours.put(memoryview(talk.answer() + talk.hello()))
    while not talk.ours.shake():
        assert talk.ours.unread
    assert talk.ours.open(memoryview(b"")) == b"hello"


def test_contexts_are_shared(certificates: Certificates) -> None:
    assert context_for(None) is context_for(None)
    assert context_for(certificates.authority) is context_for(certificates.authority)
    assert context_for(certificates.authority) is not context_for(None)


async def test_wires_are_shared(transports: Transports, certificates: Certificates) -> None:
    assert transports.wire() is transports.wire("auto", None)
    assert transports.wire(4) is not transports.wire()


def test_a_file_without_certificates_is_refused(tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing in here")
    with pytest.raises(ValueError, match=r"empty\.pem holds no certificate in PEM form"):
        context_for(empty)
    with pytest.raises(OSError, match="No such file"):
        context_for(tmp_path / "missing.pem")


# Turns


@pytest.fixture
async def patience() -> AsyncIterator[Patience]:
    one = Patience(asyncio.get_running_loop())
    yield one
    one.close()


async def test_no_more_than_so_many_have_a_turn_at_once(patience: Patience) -> None:
    turns = Turns(at_once=2, hold_s=10)
    first = await turns.take(patience, monotonic() + 5)
    second = await turns.take(patience, monotonic() + 5)
    with pytest.raises(TimeUp):
        await turns.take(patience, monotonic() + 0.02)
    first.end()
    first.end()
    third = await turns.take(patience, monotonic() + 5)
    with pytest.raises(TimeUp):
        await turns.take(patience, monotonic() + 0.02)
    second.end()
    third.end()


async def test_turns_go_round_in_the_order_of_asking() -> None:
    loop = asyncio.get_running_loop()
    turns = Turns(at_once=1, hold_s=10)
    had: list[int] = []

    async def shake(number: int) -> None:
        one = Patience(loop)
        turn = await turns.take(one, monotonic() + 5)
        had.append(number)
        await asyncio.sleep(0)
        turn.end()
        one.close()

    tasks = [asyncio.create_task(shake(number)) for number in range(6)]
    await asyncio.sleep(0)
    tasks[2].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert had == [0, 1, 3, 4, 5]


async def test_a_turn_that_is_granted_and_cancelled_at_once_is_not_lost(patience: Patience) -> None:
    turns = Turns(at_once=1, hold_s=10)
    first = await turns.take(patience, monotonic() + 5)
    other = Patience(asyncio.get_running_loop())
    waiting = asyncio.create_task(turns.take(other, monotonic() + 5))
    await asyncio.sleep(0)
    first.end()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    other.close()
    (await turns.take(patience, monotonic() + 1)).end()


async def test_so_many_handshakes_are_in_flight_and_no_more(certificates: Certificates, serve: Serve) -> None:
    lock, inside, peaks = threading.Lock(), set(), []

    def script(peer: Peer) -> None:
        peer.sock.recv(1)
        with lock:
            inside.add(peer)
        peer.pause(0.1)
        with lock:
            peaks.append(len(inside))
            inside.discard(peer)
        peer.reset()

    wire = ProbeWire(Transport(ca_file=certificates.authority, turns=Turns(at_once=2, hold_s=10)))
    url = serve(script).url().replace("http:", "https:")
    seen = await asyncio.gather(*(look(wire, url, connect_s=5.0) for _ in range(6)))
    assert [one.phase for one in seen] == ["tls"] * 6
    assert len(peaks) == 6
    assert max(peaks) == 2


async def test_servers_that_hang_in_the_handshake_do_not_keep_others_waiting(
    certificates: Certificates, serve: Serve
) -> None:
    wire = ProbeWire(Transport(ca_file=certificates.authority, turns=Turns(at_once=2, hold_s=0.1)))
    dead = serve(lambda peer: peer.hang()).url().replace("http:", "https:")
    hanging = [asyncio.create_task(look(wire, dead, connect_s=1.0)) for _ in range(4)]
    await asyncio.sleep(0)
    seen = await look(wire, serve(answers(OK), context=certificates.good).url(), connect_s=0.15)
    assert seen.fault is None
    assert seen.timeline.own_s > 0.15
    assert seen.timeline.tls_s is not None
    assert seen.timeline.tls_s < 0.1
    assert [one.phase for one in await asyncio.gather(*hanging)] == ["tls"] * 4
