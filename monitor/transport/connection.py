"""One request on one fresh connection, phase by phase, each with its stamps.

Bytes are read as soon as the loop sees them, whether or not anybody waits for them, and lie in
a queue until `read` fetches them; unless `read` says that they may gather, then the kernel
keeps them until a moment has passed, enough have come, or the other side closes. What ends the
exchange early becomes a `Fault` with the phase it happened in, and is told after everything
that came before it.
"""

import asyncio
import contextlib
import socket
import ssl
from collections import deque
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from monitor.clock import SYSTEM, monotonic
from monitor.config.proxy import Proxy
from monitor.core.timeline import Clock, Timeline
from monitor.core.wire import Arrival, Certificate, Fault, FaultKind, Limits, Moment, Phase, WireFault
from monitor.transport import fault as said
from monitor.transport.http1 import BadAnswer, Response
from monitor.transport.patience import Patience, TimeUp
from monitor.transport.proxy import Refused, Way, login_wanted, unusable, way_through
from monitor.transport.raw import Raw
from monitor.transport.resolver import Address, Ip, Resolver, fits, literal, no_address
from monitor.transport.sockets import Connected, connect, connect_unix
from monitor.transport.stamps import Read, Segments, Stamps, receive, receive_unstamped
from monitor.transport.tls import Session, Turns, refusal
from monitor.transport.waking import Waking

QUICK_S = 0.1e-3
"""A send that took no longer than this happened at its middle, as nearly as anybody can tell."""
TURNS_S = 0.5e-3
"""So long it takes us at most to hear of an answer when nothing holds us up."""
GATHERED_BYTES = 16 * 1024
"""So many bytes are read at once, however long they may gather."""
TICK_S = 0.050
"""Streams that gather are read at the same moments: to wake up costs more than to read."""
_TAIL = 16
_CUT = frozenset({FaultKind.RESET, FaultKind.CLOSED})
_NOT_THROUGH = frozenset({Phase.CONNECT, Phase.TLS})
"""While whoever closes has not let us through to anything yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What the connections of one transport share."""

    resolver: Resolver
    turns: Turns
    context: ssl.SSLContext
    ip: Ip
    stamps: Stamps
    waking: Waking | None
    """What the loop notes of its looks; None where it is not our loop."""
    proxy: Proxy | None
    buffer: memoryview
    """Every read lands here first, and is taken out before the next one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Whom to ask, and what."""

    host: str
    port: int
    secure: bool
    method: str = ""
    """Of HTTP; empty where no HTTP is spoken."""
    request: bytes = b""
    """The request as it goes over the wire."""
    server_name: str = ""
    """The name that its certificate has to be for; empty: the host."""


class Connection:
    """`open` it, `read` the body, `close` it. All calls come from one task."""

    def __init__(self, means: Means, target: Target, timeline: Timeline, limits: Limits) -> None:
        loop = asyncio.get_running_loop()
        self.response: Response | Raw = (
            Response(target.method, limits.header_bytes, limits.body_bytes)
            if target.method
            else Raw(limits.body_bytes)
        )
        self._means = means
        self._target = target
        self._timeline = timeline
        self._limits = limits
        self._loop = loop
        self._patience = Patience(loop)
        self._phase = Phase.DNS
        self._limit = limits.deadline
        """The moment at which the phase at hand must be over."""
        self._limit_s = 0.0
        """The same as a length, as the operator set it."""
        self._peer = f"{target.host} port {target.port}"
        self._sock: socket.socket | None = None
        self._receive = receive
        self._way: Way | None = None
        """The talk with a proxy, until it lets us through."""
        self._way_out = b""
        """What is to be said next in it."""
        self._way_shut: Fault | None = None
        """Why it does not let us through."""
        self._relay: Proxy | None = None
        """The proxy that passes our request on and speaks for the provider, without a tunnel."""
        self._name = target.host
        """Whose addresses are looked up."""
        self._session: Session | None = None
        self._writing = self._gathering = False
        self._send_failure: int | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._queue: deque[Arrival] = deque()
        self.ended: Moment | None = None
        """When the message was complete."""
        self._fault: Fault | None = None
        self._fault_at = 0.0
        self._segments = Segments()
        self._drained = monotonic()
        """Until then nothing had come that is not read."""
        self._asking = self._drained
        """A look before that says nothing of our socket: nobody asked for it, or something was left in it."""
        self._at = self._earliest = self._drained
        """The latest and the earliest moment at which the bytes at hand can have come."""
        self._stamped = True
        """The kernel says so."""
        self._all_stamped = True
        self._gathered: asyncio.TimerHandle | None = None
        """When what has gathered is to be read."""
        self._may_gather = True
        self._asked: float | None = None
        """When we sent what the server has yet to answer, in the handshake."""

    # What the transport calls

    async def open(self) -> None:
        """Resolve, connect, shake hands, send, and wait for the headers. Raises WireFault."""
        try:
            await self._prepare()
            self._begin_request()
            await self._send_request(self._target.request)
            self._hurry()
            await self._await_headers()
        except TimeUp:
            raise WireFault(self._late(), monotonic()) from None
        finally:
            if self._timeline.request_sent is None:
                self._count_own()

    async def reach(self) -> None:
        """All that `open` does before the request. Raises WireFault."""
        try:
            await self._prepare()
            self._begin_request()
            self._phase = Phase.HEADERS
        except TimeUp:
            raise WireFault(self._late(), monotonic()) from None
        finally:
            self._count_own()

    async def send(self, data: bytes) -> None:
        """Say something where no HTTP is spoken. Raises WireFault."""
        self._phase = Phase.REQUEST
        try:
            await self._send_request(data)
        except TimeUp:
            raise WireFault(self._late(), monotonic()) from None

    async def read(self, until: float, gather_s: float = 0.0) -> Arrival | None:
        """The next bytes of the body; None at its proper end. Raises WireFault.

        They may gather for `gather_s` before they are read, unless that holds the server up.
        """
        queue = self._queue
        if not queue and self._sock is not None and self._gathered is None:
            if gather_s > 0 and self._may_gather:
                self._gather(self._sock, min(in_company(monotonic(), gather_s), until))
            elif self._gathering:
                self._read_promptly()
        while not queue:
            if self.response.complete:
                return None
            if self._fault is not None:
                raise WireFault(self._fault, self._fault_at)
            try:
                await self._news(min(until, self._limit))
            except TimeUp:
                late = self._late() if until >= self._limit else said.silent(self._peer)
                raise WireFault(late, monotonic()) from None
        return queue.popleft()

    def _has_news(self) -> bool:
        return bool(self._queue) or self.response.complete or self._fault is not None

    def close(self) -> None:
        """Let go of the connection, in whatever state it is."""
        self._patience.close()
        self._hang_up()
        self.response.end()
        # What was heard is now judged, which takes a while.
        self._glance()

    def certificate_days(self) -> float | None:
        """Days until the server's certificate expires; None without TLS."""
        return None if self._session is None else self._session.certificate_days(SYSTEM.now())

    def certificate(self) -> Certificate | None:
        """What the server showed; None without TLS. Only right after `reach`."""
        return None if self._session is None else self._session.certificate(SYSTEM.now())

    def _gather(self, sock: socket.socket, moment: float) -> None:
        """Let bytes lie where they are until then, unless there are many, or no more will come."""
        if not self._gathering:
            self._relax(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, GATHERED_BYTES)
            self._gathering = True
        self._gathered = self._loop.call_at(moment, self._gather_in)

    def _gather_in(self) -> None:
        """The moment has come. If nothing has, whatever comes next is read as it comes."""
        self._gathered = None
        self._glance()
        self._on_readable()
        if not self._has_news():
            self._read_promptly()

    def _hurry(self) -> None:
        """What comes now is what the first moments are told by."""
        if self._means.waking is not None and self._sock is not None:
            self._means.waking.hurry(self._sock.fileno(), self._on_readable)

    def _glance(self) -> None:
        if self._means.waking is not None:
            self._means.waking.glance()

    def _relax(self, sock: socket.socket) -> None:
        if self._means.waking is not None:
            self._means.waking.relax(sock.fileno())

    def _read_promptly(self) -> None:
        if self._gathered is not None:
            self._gathered.cancel()
            self._gathered = None
        if self._gathering and self._sock is not None:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        self._gathering = False

    # Before the request

    async def _prepare(self) -> None:
        line = self._timeline
        line.dns_s = line.connect_s = line.tls_s = None
        line.request_sent = line.headers = line.first_byte = None
        line.peers = ()
        line.slack_s = line.sending_s = 0.0
        line.bounds.clear()
        self._allow(self._limits.connect_s, monotonic())
        proxy = self._means.proxy
        if proxy is None:
            await self._reach(self._target.host, self._target.port)
        elif proxy.kind == "unix":
            await self._reach_unix(proxy.path)
        else:
            await self._pass(proxy)
        early, self._way = b"" if self._way is None else self._way.rest, None
        if self._target.secure:
            await self._shake_hands(early)
        elif early:
            self._absorb(memoryview(early))

    async def _reach(self, host: str, port: int) -> None:
        addresses = await self._resolve(host, port)
        self._timeline.peers = tuple(address.sockaddr[0] for address in addresses)
        self._phase = Phase.CONNECT
        self._peer = _several(addresses)
        await self._connect(
            connect(addresses, self._patience, self._limit, self._means.stamps, self._means.waking)
        )

    async def _reach_unix(self, path: str) -> None:
        self._phase = Phase.CONNECT
        self._peer = f"the socket {path}"
        self._receive = receive_unstamped
        # Its kernel knows no least amount to wake us for.
        self._may_gather = False
        await self._connect(connect_unix(path, self._patience, self._limit))

    async def _resolve(self, host: str, port: int) -> list[Address]:
        ip, self._name = self._means.ip, host
        found = literal(host, port)
        if found is not None:
            if not fits(found, ip):
                raise WireFault(Fault(FaultKind.NO_SUCH_NAME, Phase.DNS, no_address(host, ip)), monotonic())
            return [found]
        self._means.resolver.asking()
        started = monotonic()
        try:
            return await self._means.resolver.resolve(host, port, ip, self._patience, self._limit)
        finally:
            self._resolved(started, monotonic())

    def _resolved(self, started: float, now: float) -> None:
        mark_lookup(self._timeline, started, now, self._means.waking)

    async def _connect(self, attempt: Coroutine[Any, Any, Connected]) -> None:
        started = monotonic()
        try:
            connected = await attempt
        except (TimeUp, WireFault):
            self._timeline.connect_s = monotonic() - started
            raise
        self._timeline.connect_s = connected.took
        if not connected.exact:
            self._timeline.slack_s += connected.slack
            self._timeline.bounds.add("connect_ms")
        self._drained = connected.since
        if isinstance(connected.address, Address):
            self._peer = self._timeline.peer = str(connected.address)
        self._sock = connected.sock
        self._loop.add_reader(connected.sock.fileno(), self._on_readable)
        self._asking = monotonic()

    # Through a proxy

    async def _pass(self, proxy: Proxy) -> None:
        """Reach the proxy, and have it let us through, where it is to be asked at all."""
        try:
            await self._reach(proxy.host, proxy.port)
        except TimeUp:
            raise WireFault(unusable(self._late(), proxy), monotonic()) from None
        except WireFault as stop:
            raise WireFault(unusable(stop.fault, proxy), stop.at) from None
        target = self._target
        if proxy.kind == "socks5" or target.secure or not target.method:
            await self._talk(way_through(proxy, target.host, target.port, self._limits.header_bytes))
        else:
            self._relay = proxy
        self._peer = f"{target.host} port {target.port} (through {proxy})"

    async def _talk(self, way: Way) -> None:
        """Until the proxy let us through. From each question to its answer counts as connecting."""
        self._way = way
        try:
            self._way_out = way.begin()
            while not way.open:
                question, self._way_out = self._way_out, b""
                if self._way_shut is not None:
                    raise WireFault(self._way_shut, self._fault_at)
                if self._fault is not None:
                    raise WireFault(way.broken(self._fault), self._fault_at)
                if question:
                    await self._ask_way(question)
                else:
                    await self._news(self._limit)
        except Refused as no:
            raise WireFault(no.fault, monotonic()) from None
        except TimeUp:
            self._answered_by(monotonic())
            raise WireFault(way.broken(self._late()), monotonic()) from None
        finally:
            self._asked = None

    async def _ask_way(self, question: bytes) -> None:
        sent = await self._send(question)
        self._asked = sent.at
        if sent.width:
            self._timeline.bounds.add("connect_ms")

    def _hear_way(self, way: Way, data: memoryview) -> None:
        if self._way_shut is not None:
            return
        try:
            self._way_out += way.feed(bytes(data))
        except Refused as no:
            self._way_shut, self._fault_at = no.fault, self._at
        if way.open or self._way_out or self._way_shut is not None:
            self._answered_by(self._at)
            if self._earliest < self._at:
                self._timeline.bounds.add("connect_ms")
            self._wake()

    def _answered_by(self, moment: float) -> None:
        if self._asked is not None:
            self._timeline.connect_s = (self._timeline.connect_s or 0.0) + max(0.0, moment - self._asked)
            self._asked = None

    async def _shake_hands(self, early: bytes) -> None:
        """`early`: what came through a tunnel as soon as it stood."""
        self._phase = Phase.TLS
        session = self._session = Session(self._means.context, self._named())
        if early:
            session.put(memoryview(early))
        # Waiting for our own turn is not the server's fault: its clock stands still.
        left = self._limit - monotonic()
        self._limit = self._limits.deadline
        try:
            turn = await self._means.turns.take(self._patience, self._limit)
        except TimeUp:
            busy = Fault(FaultKind.LOCAL, Phase.TLS, "this machine is too busy with other TLS handshakes")
            raise WireFault(busy, monotonic()) from None
        self._limit = min(monotonic() + left, self._limit)
        try:
            await self._handshake(session)
        finally:
            turn.end()

    def _named(self) -> str:
        """Whom the certificate has to be for."""
        return self._target.server_name or self._target.host

    async def _handshake(self, session: Session) -> None:
        """What the server takes is its own; what we reckon between its answers is not."""
        self._timeline.tls_s = 0.0
        try:
            await self._greet(session)
        except (TimeUp, WireFault):
            self._heard_by(monotonic())
            raise

    async def _greet(self, session: Session) -> None:
        while True:
            refused = None
            try:
                done = session.shake()
            except ssl.SSLError as exc:
                done = False
                refused = refusal(exc, self._named(), Phase.TLS, session.sent(), SYSTEM.now())
            greeting = session.outgoing()
            self._glance()
            if greeting or done:
                self._heard_by(self._at)
            if greeting:
                sent = await self._send(greeting)
                self._asked = sent.at
                self._unsure_of_tls(sent.width)
            if refused is not None:
                raise WireFault(refused, monotonic())
            if done:
                return
            if session.unread:
                continue
            if self._fault is not None:
                raise WireFault(self._fault, self._fault_at)
            await self._news(self._limit)

    def _heard_by(self, moment: float) -> None:
        """The server had answered by then, so it is our turn."""
        if self._asked is not None:
            if not self._stamped:
                self._unsure_of_tls(moment - max(self._asked, min(self._earliest, moment)))
            self._timeline.tls_s = (self._timeline.tls_s or 0.0) + max(0.0, moment - self._asked)
            self._asked = None

    def _unsure_of_tls(self, width: float) -> None:
        if width > 0:
            self._timeline.slack_s += width
            self._timeline.bounds.add("tls_ms")

    # The request and the headers

    def _begin_request(self) -> None:
        self._phase = Phase.REQUEST
        self._allow(None, 0.0)
        self._count_own()

    async def _send_request(self, data: bytes) -> None:
        if self._session is not None:
            # A hasty server may have answered in the last breath of the handshake.
            self._absorb(memoryview(b""))
            data = self._session.seal(data) if self._sock is not None else b""
        sent = await self._send(data)
        line = self._timeline
        line.request_sent, line.sending_s = sent
        if sent.width:
            line.bounds.add("request_sent")
        if self.response.status is None:
            self._allow(self._limits.headers_s, sent.at + sent.width)
            if self._send_failure is None:
                self._phase = Phase.HEADERS

    async def _await_headers(self) -> None:
        while self.response.status is None:
            if self._fault is not None:
                raise WireFault(self._fault, self._fault_at)
            await self._news(self._limit)
        if self._way_shut is not None:
            raise WireFault(self._way_shut, self._fault_at)

    async def _send(self, data: bytes) -> "_Sent":
        """Hand it all to the kernel, or stop when the answer is there before.

        A broken connection is only noted: what the other side said before is read first.
        """
        rest = memoryview(data)
        before = after = monotonic()
        while self._sock is not None and self.response.status is None:
            try:
                before = monotonic()
                rest = rest[self._sock.send(rest) :]
                after = monotonic()
            except (BlockingIOError, InterruptedError):
                pass
            except OSError as exc:
                if said.kind_of(exc.errno) is not FaultKind.RESET:
                    fault = said.broken(exc.errno, self._phase, self._peer, told=True)
                    raise WireFault(fault, monotonic()) from None
                self._send_failure = exc.errno
                break
            if not rest:
                break
            await self._writable(self._sock.fileno())
        return _sent_between(min(before, after), after)

    async def _writable(self, fd: int) -> None:
        self._loop.add_writer(fd, self._wake)
        self._writing = True
        try:
            await self._news(self._limit)
        finally:
            if self._writing:
                self._loop.remove_writer(fd)
                self._writing = False

    # What comes in

    def _on_readable(self) -> None:
        sock = self._sock
        if sock is None:
            return
        try:
            read = self._receive(sock, self._means.buffer, self._drained)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as exc:
            self._stop(said.broken(exc.errno, self._phase, self._peer, told=True), monotonic())
            return
        if not read.size:
            self._on_closed(read.at)
            return
        self._stamp(sock, read)
        if self._at > self._limit:
            self._stop(self._late(), self._at)
        else:
            self._absorb(self._means.buffer[: read.size])

    def _stamp(self, sock: socket.socket, read: Read) -> None:
        """When these bytes came: exactly, or between two moments."""
        self._at = self._earliest = read.at
        waking, segments, gathering = self._means.waking, self._segments, self._gathering
        floor = self._drained
        # If they came before that, we stood still for longer than anybody counted.
        if waking is not None and not gathering:
            quiet = waking.quiet if read.stamped else waking.heard
            if self._asking <= quiet <= read.at:
                floor = max(floor, quiet)
        exact = not gathering and segments.single(sock, read.size)
        if gathering:
            self._may_gather = not segments.held_back(sock, read.size)
        self._stamped = read.stamped
        if read.stamped and segments.disordered:
            # The last byte's segment came before one that was lost: its stamp says too early a moment.
            self._at, self._stamped, exact = monotonic(), False, False
        if not read.stamped:
            # Where nobody noted the loop's looks either, the clock at the read is all there is.
            self._earliest = self._at if waking is None else min(floor, self._at)
        elif not exact:
            self._earliest = min(floor, self._at)
        if read.size < len(self._means.buffer):
            self._drained = read.began
        else:
            self._asking = monotonic()
        self._all_stamped = self._all_stamped and self._stamped
        self._timeline.clock = Clock.KERNEL if self._all_stamped else Clock.USER

    def _absorb(self, data: memoryview) -> None:
        session = self._session
        if self._way is not None:
            self._hear_way(self._way, data)
            return
        if session is None:
            self._understand(data)
            return
        if self._phase is Phase.TLS:
            session.put(data)
            self._wake()
            return
        text = session.open(data)
        self._understand(text, settled=session.settled)
        if self._sock is None:
            return
        if session.error is not None:
            self._stop(refusal(session.error, self._named(), self._phase), self._at)
        elif session.ended:
            self._on_end(self._whole())
        elif reply := session.outgoing():
            # The answer to a change of keys. If it cannot be sent, the next read says why.
            with contextlib.suppress(OSError):
                self._sock.send(reply)

    def _understand(self, data: bytes | memoryview, *, settled: bool = True) -> None:
        response, at = self.response, self._at
        bad = None
        try:
            response.feed(data)
        except BadAnswer as exc:
            bad = exc
        if self._phase is not Phase.BODY and response.status is not None:
            self._phase = Phase.BODY
            self._allow(None, 0.0)
            self._mark("headers")
            self._timeline.headers_earliest = self._earliest
            self._wake()
            if self._relay is not None and response.status == 407:
                self._way_shut = login_wanted(self._relay, Phase.HEADERS)
                self._stop(self._way_shut, at)
                return
        piece = response.take()
        if piece:
            if self._timeline.first_byte is None:
                self._mark("first_byte")
            last = settled and _ends_with(data, piece)
            complete = response.complete
            self._queue.append(Arrival(piece, at, self._earliest, last, self._stamped, complete))
            self._wake()
        if response.complete:
            self.ended = self._whole()
            self._hang_up()
            self._wake()
        elif bad is not None:
            self._stop(Fault(bad.kind, self._phase, f"{self._peer}: {bad.text}"), at)

    def _mark(self, moment: str) -> None:
        """The bytes at hand are the first of their kind."""
        setattr(self._timeline, moment, self._at)
        if self._earliest < self._at:
            self._timeline.bounds.add(moment)

    def _whole(self) -> Moment:
        """When the last of the bytes at hand came, which is what their stamp tells."""
        return Moment(self._at, self._at if self._stamped else self._earliest)

    def _on_closed(self, at: float) -> None:
        """The other side has closed. Nobody stamps that, so it is only known to have been by then."""
        earliest, waking = at, self._means.waking
        if waking is not None:
            # It may have come with the last bytes, for to read them leaves it there. That it had not is
            # proven by a look that found nothing and was later than that read.
            earliest = min(self._whole().earliest, at)
            if max(self._drained, self._asking) <= waking.heard <= at:
                earliest = max(earliest, waking.heard)
        self._at = self._earliest = at
        if at > self._limit:
            self._stop(self._late(), at)
        else:
            self._on_end(Moment(at, earliest))

    def _on_end(self, end: Moment) -> None:
        if self._phase not in _NOT_THROUGH and self.response.end():
            self.ended = end
            self._hang_up()
            self._wake()
        elif self._send_failure is not None:
            self._stop(said.broken(self._send_failure, self._phase, self._peer), end.at)
        else:
            self._stop(said.closed(self._phase, self._peer), end.at)

    def _stop(self, fault: Fault, at: float) -> None:
        if self._relay is not None and self.response.status is None and fault.kind in _CUT:
            # A proxy that loses the provider says 502; one that only hangs up is itself what broke.
            fault = unusable(fault, self._relay)
        self._fault = fault
        self._fault_at = at
        self._hang_up()
        self._wake()

    def _hang_up(self) -> None:
        sock, self._sock = self._sock, None
        if sock is None:
            return
        if self._gathered is not None:
            self._gathered.cancel()
            self._gathered = None
        self._relax(sock)
        self._loop.remove_reader(sock.fileno())
        if self._writing:
            self._loop.remove_writer(sock.fileno())
            self._writing = False
        sock.close()

    # Waiting and saying so

    async def _news(self, until: float) -> None:
        """Wait until something came in, or may go out. Raises TimeUp."""
        waiter = self._waiter = self._loop.create_future()
        try:
            await self._patience.wait(waiter, until)
        except TimeUp:
            # It may have come in time, and it was we who did not look.
            self._on_readable()
            if self._waiter is not None:
                raise
        # Others may have waited just as long, and who is about to work may keep them waiting.
        self._glance()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _allow(self, length: float | None, since: float) -> None:
        """The phase at hand may take so long, and never longer than the whole probe."""
        self._limit = self._limits.deadline
        self._limit_s = self._limits.deadline - self._timeline.start
        if length is not None and since + length < self._limit:
            self._limit = since + length
            self._limit_s = length

    def _count_own(self) -> None:
        """What has passed so far and belongs to no phase."""
        line = self._timeline
        phases = (line.dns_s or 0.0) + (line.connect_s or 0.0) + (line.tls_s or 0.0)
        line.own_s = max(0.0, monotonic() - line.start - phases)

    def _late(self) -> Fault:
        """The limit of the phase passed."""
        return said.late(self._phase, self._name, self._peer, self._limit_s)


def mark_lookup(line: Timeline, started: float, now: float, waking: Waking | None) -> None:
    """The answer came on a thread of the resolver's; that we heard of it took two turns of the loop."""
    line.dns_s = now - started
    if waking is not None and now - waking.heard_before > TURNS_S:
        line.slack_s += now - max(started, waking.heard_before)
        line.bounds.add("dns_ms")


class _Sent(NamedTuple):
    """When the last byte went: at that moment, or up to `width` seconds later."""

    at: float
    width: float


def _sent_between(before: float, after: float) -> _Sent:
    """Between two readings of the clock; the answer may have come meanwhile, where they lie far apart."""
    if after - before <= QUICK_S:
        return _Sent((before + after) / 2, 0.0)
    return _Sent(before, after - before)


def in_company(now: float, length: float) -> float:
    """The last tick before the length is over; the ticks of the shorter lengths hold those of the longer."""
    tick = TICK_S
    while tick > length / 3:
        tick /= 2
    moment = now + length
    return moment - moment % tick


def _ends_with(data: bytes | memoryview, piece: bytes) -> bool:
    """These bytes end with that piece of a body, or with that and the line end of its chunk."""
    tail = piece[-_TAIL:]
    end = bytes(data[-len(tail) - 2 :])
    return end.endswith((tail, tail + b"\r\n"))


def _several(addresses: Sequence[Address]) -> str:
    """`192.0.2.1 port 443`, or `192.0.2.1, 2001:db8::1 and 3 more, port 443`."""
    if len(addresses) == 1:
        return str(addresses[0])
    names = ", ".join(address.sockaddr[0] for address in addresses[:2])
    more = f" and {len(addresses) - 2} more" if len(addresses) > 2 else ""
    return f"{names}{more}, port {addresses[0].sockaddr[1]}"
