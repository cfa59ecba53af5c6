"""The door of the transport: HTTPX's interface, and the `Wire` that protocols drive.

Of HTTPX only that is used which its continuation `httpx2` has too; to change over, change the
import here.
"""

import asyncio
import functools
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from monitor.clock import monotonic
from monitor.config.proxy import Proxy
from monitor.core.timeline import Timeline
from monitor.core.wire import (
    Arrival,
    Certificate,
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
from monitor.transport.connection import Connection, Means, Target, mark_lookup
from monitor.transport.http1 import readable, request_bytes
from monitor.transport.http2 import Http2Wire, Means2
from monitor.transport.patience import Patience, TimeUp
from monitor.transport.proxy import login
from monitor.transport.resolver import Ip, Resolver
from monitor.transport.sockets import READ_BYTES
from monitor.transport.stamps import stamps
from monitor.transport.tls import Turns, bare_context_for, context_for, http2_context_for
from monitor.transport.waking import Waking, waking_of

_PORTS = {"http": 80, "https": 443}


class StampedStream(httpx.AsyncByteStream):
    """The body of a response, with the moment at which each piece came."""

    def __init__(self, connection: Connection, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline

    def read(self, until: float, gather_s: float = 0.0) -> Coroutine[Any, Any, Arrival | None]:
        """The next bytes; None at the proper end. Raises WireFault, TIMEOUT if nothing came by `until`.

        They may gather for `gather_s` before they are read.
        """
        return self._connection.read(until, gather_s)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (arrival := await self._connection.read(self._deadline)) is not None:
            yield arrival.data

    def certificate_days(self) -> float | None:
        """Days until the server's certificate expires; None without TLS."""
        return self._connection.certificate_days()

    @property
    def ended(self) -> Moment | None:
        """When the body was over; None until then."""
        return self._connection.ended

    async def aclose(self) -> None:
        self._connection.close()


class Transport(httpx.AsyncBaseTransport):
    """A fresh connection for each request; no redirects, no cookies, no compression, no retries.

    The request's extensions must hold `timeline` (a Timeline, on which the phases are marked) and
    `limits` (Limits). Raises WireFault where HTTPX's own transports raise errors of theirs.
    """

    def __init__(
        self,
        *,
        ip: Ip = "auto",
        ca_file: Path | None = None,
        proxy: Proxy | None = None,
        resolver: Resolver | None = None,
        turns: Turns | None = None,
        waking: Waking | None = None,
        bare: bool = False,
    ) -> None:
        """`bare`: for servers that speak no HTTP."""
        self._own_resolver = resolver is None
        self._means = Means(
            resolver=resolver or Resolver(),
            turns=turns or Turns(),
            context=bare_context_for(ca_file) if bare else context_for(ca_file),
            ip=ip,
            stamps=stamps(),
            waking=waking,
            proxy=proxy,
            buffer=memoryview(bytearray(READ_BYTES)),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        timeline: Timeline = request.extensions["timeline"]
        limits: Limits = request.extensions["limits"]
        target = _target(request, await request.aread(), self._means.proxy)
        connection = Connection(self._means, target, timeline, limits)
        try:
            await connection.open()
        except BaseException:
            connection.close()
            raise
        response = connection.response
        assert response.status is not None
        return httpx.Response(
            response.status, headers=response.headers, stream=StampedStream(connection, limits.deadline)
        )

    async def reach(self, place: Place, timeline: Timeline, limits: Limits) -> Connection:
        """A connection that stands, for the caller to close. Raises WireFault."""
        target = Target(host=place.host, port=place.port, secure=place.secure, server_name=place.server_name)
        connection = Connection(self._means, target, timeline, limits)
        try:
            await connection.reach()
        except BaseException:
            connection.close()
            raise
        timeline.end = timeline.end_earliest = timeline.stood()
        return connection

    async def resolve(self, question: Question, timeline: Timeline, limits: Limits) -> tuple[str, ...]:
        """What the name servers answer. Raises WireFault."""
        self._means.resolver.asking(question.server)
        if question.server is not None:
            timeline.peers = (question.server.rpartition(":")[0].strip("[]"),)
        started = monotonic()
        timeline.own_s = max(0.0, started - timeline.start)
        allowed = min(limits.connect_s, limits.deadline - started)
        patience = Patience(asyncio.get_running_loop())
        try:
            return await self._means.resolver.query(question, patience, started + allowed)
        except TimeUp:
            late = said.late(Phase.DNS, question.name, "", allowed)
            raise WireFault(late, monotonic()) from None
        finally:
            patience.close()
            mark_lookup(timeline, started, monotonic(), self._means.waking)
            timeline.end = timeline.end_earliest = timeline.stood()

    async def aclose(self) -> None:
        if self._own_resolver:
            await self._means.resolver.aclose()


def _target(request: httpx.Request, body: bytes, proxy: Proxy | None) -> Target:
    url = request.url
    path, headers = url.raw_path, request.headers.raw
    if proxy is not None and proxy.kind == "http" and url.scheme == "http":
        # No tunnel: the proxy itself asks for it (RFC 9112, 3.2.2).
        path, headers = b"http://" + url.netloc + path, [*headers, *login(proxy)]
    return Target(
        host=url.raw_host.decode("ascii"),
        port=url.port or _PORTS[url.scheme],
        secure=url.scheme == "https",
        method=request.method,
        request=request_bytes(request.method, path, headers, body),
    )


class ProbeReply:
    """`Reply` over a response of our transport."""

    def __init__(self, response: httpx.Response, stream: StampedStream) -> None:
        self._response = response
        self._stream = stream
        self._headers: dict[str, str] | None = None

    @property
    def status(self) -> int:
        return self._response.status_code

    @property
    def headers(self) -> Mapping[str, str]:
        if self._headers is None:
            self._headers = readable(self._response.headers.raw)
        return self._headers

    @property
    def certificate_days(self) -> float | None:
        return self._stream.certificate_days()

    @property
    def ended(self) -> Moment | None:
        return self._stream.ended

    def read(self, until: float, gather_s: float = 0.0) -> Coroutine[Any, Any, Arrival | None]:
        return self._stream.read(until, gather_s)


class _Exchange:
    """The time in which a reply may be read."""

    def __init__(self, transport: Transport, request: Request, timeline: Timeline, limits: Limits) -> None:
        self._transport = transport
        self._request = request
        self._timeline = timeline
        self._limits = limits
        self._stream: StampedStream | None = None

    async def __aenter__(self) -> Reply:
        asked = self._request
        request = httpx.Request(
            asked.method,
            _url(asked.url),
            headers=asked.headers,
            content=asked.body,
            extensions={"timeline": self._timeline, "limits": self._limits},
        )
        response = await self._transport.handle_async_request(request)
        assert isinstance(response.stream, StampedStream)
        self._stream = response.stream
        return ProbeReply(response, response.stream)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stream is not None:
            await self._stream.aclose()


class ProbeLink:
    """`Link` over a connection of our transport."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        # Now, for a session that breaks later no longer tells.
        self.certificate: Certificate | None = connection.certificate()

    @property
    def ended(self) -> Moment | None:
        return self._connection.ended

    def send(self, data: bytes) -> Coroutine[Any, Any, None]:
        return self._connection.send(data)

    def read(self, until: float) -> Coroutine[Any, Any, Arrival | None]:
        return self._connection.read(until)


class _Linking:
    """The time in which a connection stands."""

    def __init__(self, transport: Transport, place: Place, timeline: Timeline, limits: Limits) -> None:
        self._transport = transport
        self._place = place
        self._timeline = timeline
        self._limits = limits
        self._connection: Connection | None = None

    async def __aenter__(self) -> Link:
        self._connection = await self._transport.reach(self._place, self._timeline, self._limits)
        try:
            return ProbeLink(self._connection)
        except BaseException:
            self._connection.close()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection is not None:
            self._connection.close()


@functools.lru_cache(maxsize=4096)
def _url(text: str) -> httpx.URL:
    return httpx.URL(text)


class ProbeWire:
    """`Wire` over our transport: what a protocol is given."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def exchange(self, request: Request, timeline: Timeline, limits: Limits) -> _Exchange:
        return _Exchange(self._transport, request, timeline, limits)

    def connect(self, place: Place, timeline: Timeline, limits: Limits) -> _Linking:
        return _Linking(self._transport, place, timeline, limits)

    async def resolve(self, question: Question, timeline: Timeline, limits: Limits) -> tuple[str, ...]:
        return await self._transport.resolve(question, timeline, limits)


class Transports:
    """One wire for each kind of way; they share the resolver and the turns at TLS handshakes."""

    def __init__(self, waking: Waking | None = None) -> None:
        self.resolver = Resolver()
        self._turns = Turns()
        self._waking = waking
        self.stamps = stamps()
        self._wires: dict[tuple[Ip, Path | None, Proxy | None, bool, bool], Wire] = {}

    def wire(
        self,
        ip: Ip = "auto",
        ca_file: Path | None = None,
        proxy: Proxy | None = None,
        *,
        http2: bool = False,
        bare: bool = False,
    ) -> Wire:
        """The wire for these settings. Raises OSError or ValueError if the CA file is no good.

        `bare`: for servers that speak no HTTP.

        The first one for a CA file blocks for up to 85 ms: ask for them all before probing begins.
        """
        key = (ip, ca_file, proxy, http2, bare)
        if key not in self._wires:
            own = self._own(ip, ca_file, proxy, bare=bare or http2)
            self._wires[key] = self._http2(ip, ca_file, proxy, own) if http2 else own
        return self._wires[key]

    def _own(self, ip: Ip, ca_file: Path | None, proxy: Proxy | None, *, bare: bool) -> ProbeWire:
        return ProbeWire(
            Transport(
                ip=ip,
                ca_file=ca_file,
                proxy=proxy,
                resolver=self.resolver,
                turns=self._turns,
                waking=self._waking,
                bare=bare,
            )
        )

    def _http2(self, ip: Ip, ca_file: Path | None, proxy: Proxy | None, bare: Wire) -> Http2Wire:
        return Http2Wire(
            Means2(
                resolver=self.resolver,
                turns=self._turns,
                context=http2_context_for(ca_file),
                ip=ip,
                waking=self._waking,
                proxy=proxy,
            ),
            bare,
        )

    async def aclose(self) -> None:
        """End the resolver."""
        await self.resolver.aclose()


@asynccontextmanager
async def open_transports() -> AsyncIterator[Transports]:
    """The transports of a daemon; leaving ends the resolver. Probes must be over by then."""
    transports = Transports(waking_of(asyncio.get_running_loop()))
    try:
        yield transports
    finally:
        await transports.aclose()
