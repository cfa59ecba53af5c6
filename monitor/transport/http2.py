"""HTTP/2, by HTTPX's own transport, where somebody asks for it.

It has no stamps of the kernel: every moment is that at which the loop got round to the bytes,
and everything it tells is a bound. The limits are those of our own transport. What went wrong
is told by kinds of errors, never by their texts, which may quote what must not be shown.
"""

import asyncio
import functools
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import httpx
from h2.exceptions import H2Error

from monitor.clock import SYSTEM, monotonic
from monitor.config.proxy import Proxy
from monitor.core.timeline import Timeline
from monitor.core.wire import (
    Arrival,
    Fault,
    FaultKind,
    Limits,
    Link,
    Moment,
    Phase,
    Place,
    Question,
    Reply,
    Request,
    Wire,
    WireFault,
)
from monitor.transport import fault as said
from monitor.transport.http1 import readable
from monitor.transport.patience import Grace, Patience, TimeUp
from monitor.transport.proxy import login_wanted, turned_away, unfit, unusable
from monitor.transport.resolver import Address, Ip, Resolver, fits, literal, no_address
from monitor.transport.sockets import nobody
from monitor.transport.tls import Turn, Turns, days_left, refusal
from monitor.transport.waking import Waking, Watch

_PARSERS = ("h2", "h11", "hpack", "hyperframe")
_TROUBLE = (httpx.HTTPError, H2Error, ssl.SSLError, OSError, ValueError)
"""What the stock transport raises, the last where a status is no number."""
_ONE = httpx.Limits(max_connections=1, max_keepalive_connections=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Means2:
    """What the exchanges of one wire share."""

    resolver: Resolver
    turns: Turns
    context: ssl.SSLContext
    """Of its own: the stock transport changes what it offers."""
    ip: Ip
    waking: Waking | None
    proxy: Proxy | None


class Http2Wire:
    """`Wire` over HTTPX's transport."""

    def __init__(self, means: Means2, bare: Wire) -> None:
        """`bare` is for all that is not HTTP."""
        self._means = means
        self._bare = bare

    def exchange(self, request: Request, timeline: Timeline, limits: Limits) -> "_Exchange":
        return _Exchange(self._means, request, timeline, limits)

    def connect(self, place: Place, timeline: Timeline, limits: Limits) -> AbstractAsyncContextManager[Link]:
        return self._bare.connect(place, timeline, limits)

    async def resolve(self, question: Question, timeline: Timeline, limits: Limits) -> tuple[str, ...]:
        return await self._bare.resolve(question, timeline, limits)


class _Exchange:
    """The time in which a reply may be read."""

    def __init__(self, means: Means2, request: Request, timeline: Timeline, limits: Limits) -> None:
        self._asking = _Asking(means, request, timeline, limits)

    async def __aenter__(self) -> Reply:
        try:
            return await self._asking.ask()
        except BaseException:
            await self._asking.close()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._asking.close()


class _Asking:
    """One request on one fresh connection."""

    def __init__(self, means: Means2, request: Request, timeline: Timeline, limits: Limits) -> None:
        self._means = means
        self._request = request
        self._url = httpx.URL(request.url)
        self._host = self._url.raw_host.decode("ascii")
        self._port = self._url.port or (443 if self._url.scheme == "https" else 80)
        proxy = means.proxy
        self._proxy = None if proxy is None or proxy.kind == "unix" else proxy
        self._path = None if proxy is None or proxy.kind != "unix" else proxy.path
        self.timeline = timeline
        self.limits = limits
        self._phase = Phase.DNS
        self._peer = f"{self._host} port {self._port}"
        self._limit = limits.deadline
        self._limit_s = 0.0
        self._whole = limits.deadline
        """The same for all addresses together."""
        self._timer: Grace | None = None
        self._transport: httpx.AsyncHTTPTransport | None = None
        self._response: httpx.Response | None = None
        self._reply: _Reply | None = None
        self._began = 0.0
        """When the step at hand began."""
        self._turn: Turn | None = None
        self._tunnel = self._proxy is not None and self._url.scheme == "https"
        """One is to be made, and does not stand yet."""
        self._connected = False
        self._stream: Any = None
        """The stock transport's connection, before any TLS."""
        self.watch: Watch | None = None
        self._turned_away: tuple[int, Mapping[str, str]] | None = None

    async def ask(self) -> Reply:
        """Send the request, and wait for the headers. Raises WireFault."""
        line = self.timeline
        line.dns_s = line.connect_s = line.tls_s = None
        line.request_sent = line.headers = line.first_byte = None
        line.peers = ()
        self._allow(self.limits.connect_s, monotonic())
        try:
            response = self._response = await self._first(await self._places())
        except TimeUp:
            raise WireFault(self._blamed(self._late()), monotonic()) from None
        finally:
            if line.request_sent is None:
                self._break_off()
                self._count_own()
        if self._proxy is not None and response.status_code == 407:
            raise WireFault(login_wanted(self._proxy, Phase.HEADERS), monotonic())
        if sum(len(name) + len(value) + 4 for name, value in response.headers.raw) > self.limits.header_bytes:
            many = f"{self._peer}: more than {self.limits.header_bytes} bytes of headers"
            raise WireFault(Fault(FaultKind.TOO_LARGE, Phase.HEADERS, many), monotonic())
        self._phase = Phase.BODY
        self._allow(None, 0.0)
        self._reply = _Reply(self, response)
        return self._reply

    async def close(self) -> None:
        """Let go of the connection, in whatever state it is."""
        if self._turn is not None:
            self._turn.end()
        if self._reply is not None:
            await self._reply.close()
        if self._response is not None:
            await self._response.aclose()
        await self._hang_up()

    async def _hang_up(self) -> None:
        if self.watch is not None:
            self.watch.end()
        if self._transport is not None:
            await self._transport.aclose()
        if self._stream is not None:
            # It loses the connection if it is cancelled in the middle of a TLS handshake.
            await self._stream.aclose()
        # It knows us by `trace`: a circle, if we went on knowing it.
        self._transport = self._response = self._reply = self._stream = None

    # Names and addresses

    async def _places(self) -> list[Address | None]:
        """Where to connect to, the first that answers; None: a Unix socket."""
        if self._path is not None:
            self._peer = f"the socket {self._path}"
            return [None]
        host, port = (self._host, self._port) if self._proxy is None else (self._proxy.host, self._proxy.port)
        found = literal(host, port)
        try:
            places = await self._resolve(host, port) if found is None else [self._fitting(found, host)]
            self.timeline.peers = tuple(address.sockaddr[0] for address in places)
            return [*places]
        except TimeUp:
            raise WireFault(
                self._blamed(said.late(Phase.DNS, host, "", self._limit_s)), monotonic()
            ) from None
        except WireFault as stop:
            raise WireFault(self._blamed(stop.fault), stop.at) from None

    def _fitting(self, address: Address, host: str) -> Address:
        if not fits(address, self._means.ip):
            text = no_address(host, self._means.ip)
            raise WireFault(Fault(FaultKind.NO_SUCH_NAME, Phase.DNS, text), monotonic())
        return address

    async def _resolve(self, host: str, port: int) -> list[Address]:
        patience, started = Patience(asyncio.get_running_loop()), monotonic()
        try:
            return await self._means.resolver.resolve(host, port, self._means.ip, patience, self._limit)
        finally:
            patience.close()
            self.timeline.dns_s = monotonic() - started

    async def _first(self, places: list[Address | None]) -> httpx.Response:
        """The answer of the first address that takes us. Raises WireFault, TimeUp."""
        self._whole = self._limit
        for left in range(len(places), 0, -1):
            # One that swallows everything must not use up what the others would need.
            now = monotonic()
            self._limit = now + (self._whole - now) / left
            try:
                return await self._at(places[-left])
            except (WireFault, TimeUp):
                if left == 1 or self._phase is not Phase.CONNECT or self._connected:
                    raise
            await self._hang_up()
        raise AssertionError("there is always one")

    async def _at(self, place: Address | None) -> httpx.Response:
        if place is not None:
            self._peer = str(place)
        self._transport = httpx.AsyncHTTPTransport(
            verify=self._means.context,
            trust_env=False,
            http2=True,
            limits=_ONE,
            uds=self._path,
            proxy=self._stock_proxy(place),
        )
        try:
            async with Grace(self._limit) as self._timer:
                return await self._transport.handle_async_request(self._stock_request(place))
        except TimeoutError:
            raise TimeUp from None
        except _TROUBLE as exc:
            raise WireFault(self._blamed(self._fault(exc)), monotonic()) from None
        finally:
            self._timer = None

    def _stock_proxy(self, place: Address | None) -> httpx.Proxy | None:
        proxy = self._proxy
        if proxy is None or place is None:
            return None
        auth = None if proxy.user is None else (proxy.user, proxy.password)
        return httpx.Proxy(httpx.URL(scheme="http", host=place.sockaddr[0], port=proxy.port), auth=auth)

    def _stock_request(self, place: Address | None) -> httpx.Request:
        """The request, to an address that we looked up ourselves where there is no proxy to do it."""
        asked, url = self._request, self._url
        if place is not None and self._proxy is None:
            url = url.copy_with(host=place.sockaddr[0])
        return httpx.Request(
            asked.method,
            url,
            headers={
                "Host": self._url.netloc.decode("ascii"),
                **asked.headers,
                "Accept-Encoding": "identity",
            },
            content=asked.body,
            extensions={"trace": self._trace, "sni_hostname": self._host.rstrip(".")},
        )

    # What the stock transport says while it works

    async def _trace(self, event: str, info: Mapping[str, Any]) -> None:
        step, _, what = event.partition(".")[2].rpartition(".")
        if what == "started":
            await self._begins(step)
        elif what == "complete":
            self._ends(step, info["return_value"])

    async def _begins(self, step: str) -> None:
        self._began = monotonic()
        if step in ("connect_tcp", "connect_unix_socket"):
            self._phase = Phase.CONNECT
        elif step == "start_tls":
            self._tunnel = False
            self._phase = Phase.TLS
            await self._take_turn()
        elif step == "send_request_headers" and not self._tunnel:
            self._phase = Phase.REQUEST
            self._count_own()
            self._allow(None, 0.0)

    def _ends(self, step: str, result: Any) -> None:
        now, line = monotonic(), self.timeline
        took = now - self._began
        if step in ("connect_tcp", "connect_unix_socket"):
            line.connect_s = took
            line.bounds.add("connect_ms")
            self._connected, self._stream = True, result
            line.peer = None if self._path is not None else self._peer
            if self._means.waking is not None:
                self.watch = self._means.waking.watch(result.get_extra_info("socket").fileno())
            self._limit = self._whole
            self._reschedule()
        elif step == "start_tls":
            line.tls_s = took
            line.bounds.add("tls_ms")
            if self._turn is not None:
                self._turn.end()
        elif step == "receive_response_headers" and self._tunnel:
            line.connect_s = (line.connect_s or 0.0) + took
            _, status, _, headers = result
            if status >= 300 or status < 200:
                self._turned_away = status, {name.lower(): value.lower() for name, value in _texts(headers)}
        elif step == "send_request_body" and not self._tunnel:
            line.request_sent = now
            self._phase = Phase.HEADERS
            self._allow(self.limits.headers_s, now)
        elif step == "receive_response_headers":
            line.headers = now
            line.bounds.add("headers")

    async def _take_turn(self) -> None:
        """Waiting for our own turn at a handshake is not the server's fault: its clock stands still."""
        patience = Patience(asyncio.get_running_loop())
        try:
            self._turn = await self._means.turns.take(patience, self.limits.deadline)
        except TimeUp:
            busy = Fault(FaultKind.LOCAL, Phase.TLS, "this machine is too busy with other TLS handshakes")
            raise WireFault(busy, monotonic()) from None
        finally:
            patience.close()
        waited = monotonic() - self._began
        self._began += waited
        self._limit = min(self._limit + waited, self.limits.deadline)
        self._reschedule()

    def _break_off(self) -> None:
        """A step that never came to its end took their time, not ours."""
        line, took = self.timeline, monotonic() - self._began
        if self._phase is Phase.CONNECT and line.connect_s is None:
            line.connect_s = took
        elif self._phase is Phase.TLS and line.tls_s is None and self._turn is not None:
            line.tls_s = took

    def _count_own(self) -> None:
        """What has passed so far and belongs to no phase."""
        line = self.timeline
        phases = (line.dns_s or 0.0) + (line.connect_s or 0.0) + (line.tls_s or 0.0)
        line.own_s = max(0.0, monotonic() - line.start - phases)

    # Limits and faults

    def _allow(self, length: float | None, since: float) -> None:
        """The phase at hand may take so long, and never longer than the whole probe."""
        self._limit = self.limits.deadline
        self._limit_s = self.limits.deadline - self.timeline.start
        if length is not None and since + length < self._limit:
            self._limit = since + length
            self._limit_s = length
        self._reschedule()

    def _reschedule(self) -> None:
        if self._timer is not None and not self._timer.expired():
            self._timer.reschedule(self._limit)

    def _late(self) -> Fault:
        return said.late(self._phase, self._host, self._peer, self._limit_s)

    def broken(self, exc: BaseException) -> Fault:
        """What an error while the body is read means."""
        return self._fault(exc)

    def silent(self, until: float) -> Fault:
        """Nothing more came in time."""
        return self._late() if until >= self._limit else said.silent(self._peer)

    def _fault(self, exc: BaseException) -> Fault:
        """By the first in the chain of causes that tells."""
        last: BaseException = exc
        for cause in _causes(exc):
            last = cause
            if isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLEOFError):
                return refusal(cause, self._host, self._phase)
            if isinstance(cause, OSError) and cause.errno is not None and cause.errno > 0:
                if self._path is not None and self._phase is Phase.CONNECT:
                    return nobody(cause.errno, self._path)
                # Once the connection stood it was somebody on the way that said so.
                told = self._phase is not Phase.CONNECT
                return said.broken(cause.errno, self._phase, self._peer, told=told)
        if _is_of_a_parser(last) or isinstance(exc, ValueError):
            if self._phase is Phase.BODY and type(last).__module__.startswith("h11"):
                return said.closed(self._phase, self._peer)  # as a rule: an end before its time
            text = f"{self._peer}: the answer breaks the rules of HTTP"
            return Fault(FaultKind.MALFORMED, self._phase, text)
        if any(_is_of_a_parser(part) for part in last.args):
            # The other side ended the stream, or took its leave, by a frame.
            reset = f"{self._peer} broke the stream off"
            return Fault(FaultKind.RESET, self._phase, reset)
        return said.closed(self._phase, self._peer)

    def _blamed(self, fault: Fault) -> Fault:
        """The same, where a proxy may be what failed."""
        proxy = self._proxy
        if proxy is None:
            return fault
        if self._turned_away is not None:
            status, headers = self._turned_away
            return turned_away(status, headers, proxy, f"{self._host}:{self._port}")
        if fault.kind is FaultKind.MALFORMED and self._tunnel:
            return unfit(proxy)
        if self._phase in (Phase.DNS, Phase.CONNECT):
            return unusable(fault, proxy)
        relayed = self._url.scheme == "http" and self._phase in (Phase.REQUEST, Phase.HEADERS)
        if relayed and fault.kind in (FaultKind.RESET, FaultKind.CLOSED):
            return unusable(fault, proxy)
        return fault


class _Reply:
    """`Reply` over a response of HTTPX."""

    def __init__(self, asking: _Asking, response: httpx.Response) -> None:
        assert isinstance(response.stream, httpx.AsyncByteStream)
        self._asking = asking
        self._response = response
        self._pieces: AsyncIterator[bytes] = aiter(response.stream)
        self._size = 0
        self.ended: Moment | None = None

    @property
    def status(self) -> int:
        return self._response.status_code

    @functools.cached_property
    def headers(self) -> Mapping[str, str]:
        return readable(self._response.headers.raw)

    @property
    def certificate_days(self) -> float | None:
        session = self._response.extensions["network_stream"].get_extra_info("ssl_object")
        return None if session is None else days_left(session.getpeercert(), SYSTEM.now())

    async def read(self, until: float, gather_s: float = 0.0) -> Arrival | None:  # noqa: ARG002 - read as it comes
        asking = self._asking
        try:
            async with Grace(min(until, asking.limits.deadline)):
                piece = await self._next()
        except TimeoutError:
            raise WireFault(asking.silent(until), monotonic()) from None
        except _TROUBLE as exc:
            raise WireFault(asking.broken(exc), monotonic()) from None
        at = monotonic()
        earliest = at if asking.watch is None else min(at, asking.watch.since)
        if piece is None:
            self.ended = Moment(at, earliest)
            return None
        self._size += len(piece)
        if self._size > asking.limits.body_bytes:
            text = f"a body of more than {asking.limits.body_bytes} bytes"
            raise WireFault(Fault(FaultKind.TOO_LARGE, Phase.BODY, text), at)
        line = asking.timeline
        if line.first_byte is None:
            line.first_byte = at
            line.bounds.add("first_byte")
        return Arrival(piece, at, earliest, last=True, stamped=False)

    async def _next(self) -> bytes | None:
        async for piece in self._pieces:
            if piece:
                return piece
        return None

    async def close(self) -> None:
        """Read no more."""
        if isinstance(self._pieces, AsyncGenerator):
            await self._pieces.aclose()


def _causes(exc: BaseException) -> Iterator[BaseException]:
    """An error, and what led to it, one by one; groups by their first."""
    seen: BaseException | None = exc
    while seen is not None:
        yield seen
        if isinstance(seen, BaseExceptionGroup):
            seen = seen.exceptions[0]
        else:
            seen = seen.__cause__ or seen.__context__


def _is_of_a_parser(thing: object) -> bool:
    return type(thing).__module__.partition(".")[0] in _PARSERS


def _texts(headers: list[tuple[bytes, bytes]]) -> Iterator[tuple[str, str]]:
    for name, value in headers:
        yield name.decode("latin-1"), value.decode("latin-1")
