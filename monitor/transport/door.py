"""A door through which others report to us: a very small HTTP/1.1 server on the daemon's own loop.

Every connection carries one small request, and everything about it is bounded: its bytes, its time,
how many there are at once and how many are let in a second. So whatever stands before the door, the
probes beside it go on. It logs nothing of what comes in, for a token stands in the address.
"""

import asyncio
import contextlib
import json
import socket
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from http import HTTPStatus

import httptools
import structlog

log = structlog.get_logger()

HEAD_BYTES = 8 * 1024
BODY_BYTES = 4 * 1024
WIRE_BYTES = HEAD_BYTES + 4 * BODY_BYTES
"""With all that chunks have around them."""
WHOLE_S = 5.0
"""From being let in to the end of the answer."""
LINGER_S = 0.5
"""So long whoever was refused may go on talking, or a reset would swallow the answer."""
AT_ONCE = 64
A_SECOND = 500.0
BURST = 128.0
AGAIN_S = 0.5


@dataclass(frozen=True, slots=True)
class Asked:
    """One request. Only `POST` and `PUT` come in."""

    target: bytes = field(repr=False)
    """Path and query, as they were sent."""
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, and what is wrong where it is no success."""

    status: int
    code: str = ""
    message: str = ""


METHOD = Answer(405, "method_not_allowed", "reports come by POST or PUT")
TOO_LARGE = Answer(413, "too_large", f"a report has at most {BODY_BYTES} bytes")
LONG_HEAD = Answer(400, "bad_request", f"address and headers have at most {HEAD_BYTES} bytes together")
NO_HTTP = Answer(400, "bad_request", "that is no HTTP/1.1 request")
TOO_SLOW = Answer(408, "timeout", "the report was not here in time")
FAULT = Answer(503, "unavailable", "the monitor could not take it: try again")

Reply = Callable[[Asked], Awaitable[Answer]]


class Door:
    """Serves listening sockets, which stay their owner's to close."""

    def __init__(self, listening: Iterable[socket.socket], reply: Reply, whole_s: float = WHOLE_S) -> None:
        self._listening = tuple(listening)
        self._reply = reply
        self._whole_s = whole_s
        self._free = asyncio.Semaphore(AT_ONCE)
        self._credit, self._counted = BURST, 0.0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def inside(self) -> int:
        """Connections that are being served."""
        return max(0, len(self._tasks) - len(self._listening))

    def open(self) -> None:
        """From now on let in who comes. Needs a running loop."""
        self._counted = asyncio.get_running_loop().time()
        for one in self._listening:
            one.settimeout(0)
            self._begin(self._admit(one))

    async def close(self) -> None:
        """Let nobody in any more; who is inside is put out."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, work: "asyncio._CoroutineLike[None]") -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _admit(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._free.acquire()
            await self._pace()
            try:
                connection, _ = await loop.sock_accept(listening)
            except OSError as refusal:
                # Out of descriptors, or it went before we came: others may be luckier.
                self._free.release()
                log.warning("push.not_accepted", errno=refusal.errno)
                await asyncio.sleep(AGAIN_S)
            except asyncio.CancelledError:
                self._free.release()
                raise
            else:
                self._begin(self._serve(connection))

    async def _pace(self) -> None:
        """A flood costs no more of our time than this many a second."""
        now = asyncio.get_running_loop().time()
        self._credit = min(BURST, self._credit + (now - self._counted) * A_SECOND) - 1.0
        self._counted = now
        if self._credit < 0.0:
            await asyncio.sleep(-self._credit / A_SECOND)

    async def _serve(self, connection: socket.socket) -> None:
        try:
            with connection:
                connection.settimeout(0)
                with contextlib.suppress(OSError, TimeoutError):
                    async with asyncio.timeout(self._whole_s + LINGER_S):
                        await _converse(connection, self._reply, self._whole_s)
        finally:
            self._free.release()


async def _converse(connection: socket.socket, reply: Reply, whole_s: float) -> None:
    """One request and its answer. Raises OSError if the other side went away."""
    loop = asyncio.get_running_loop()
    request = Request()
    try:
        async with asyncio.timeout(whole_s):
            while (answer := request.refused) is None and not request.complete:
                data = await loop.sock_recv(connection, 4096)
                if not data:
                    return
                request.feed(data)
                if request.take_expectation():
                    await loop.sock_sendall(connection, b"HTTP/1.1 100 Continue\r\n\r\n")
            if answer is None:
                answer = await _replied(reply, Asked(bytes(request.target), bytes(request.body)))
    except TimeoutError:
        answer = TOO_SLOW if not request.complete else FAULT
    await loop.sock_sendall(connection, written(answer))
    connection.shutdown(socket.SHUT_WR)
    await _linger(connection)


async def _replied(reply: Reply, asked: Asked) -> Answer:
    try:
        return await reply(asked)
    except Exception:
        # A bug of ours is for our log, and not for whoever reports.
        log.exception("push.bug")
        return FAULT


async def _linger(connection: socket.socket) -> None:
    """Read on for a moment, and forget it."""
    loop = asyncio.get_running_loop()
    left = WIRE_BYTES
    async with asyncio.timeout(LINGER_S):
        while left > 0 and (data := await loop.sock_recv(connection, 4096)):
            left -= len(data)


def written(answer: Answer) -> bytes:
    """The answer as bytes."""
    head = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}", "Connection: close"]
    if answer is METHOD:
        head.append("Allow: POST, PUT")
    body = b""
    if answer.code:
        body = json.dumps({"error": {"code": answer.code, "message": answer.message}}).encode()
        head += ["Content-Type: application/json", f"Content-Length: {len(body)}", "Cache-Control: no-store"]
    return "\r\n".join([*head, "", ""]).encode() + body


class Request:
    """What came so far. It asks for no more than it needs, and says why where it is refused."""

    __slots__ = ("_expects", "_parser", "_seen", "_trusted", "body", "complete", "refused", "target")

    def __init__(self) -> None:
        self.target = bytearray()
        self.body = bytearray()
        self.complete = False
        self.refused: Answer | None = None
        self._parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)
        self._seen = 0
        self._trusted = False
        """Its headers are complete and within bounds."""
        self._expects = False

    def feed(self, data: bytes) -> None:
        """Bytes came. Raises nothing, whatever they are."""
        parser = self._parser
        if parser is None:
            return
        self._seen += len(data)
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.refused = NO_HTTP
        except httptools.HttpParserError:
            # What follows a whole request is none of ours.
            if not self.complete and self.refused is None:
                self.refused = NO_HTTP
        if self.refused is None and not self.complete:
            if not self._trusted and self._seen > HEAD_BYTES:
                self.refused = LONG_HEAD
            elif self._seen > WIRE_BYTES:
                self.refused = TOO_LARGE
        if self.complete or self.refused is not None:
            self._parser = None  # it knows us and we know it: a cycle

    def take_expectation(self) -> bool:
        """Whether the other side waits for our word before it sends the body; told once."""
        expects, self._expects = self._expects and self.refused is None, False
        return expects and not self.complete

    # What httptools calls

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        word = name.lower()
        if word == b"content-length" and value.isdigit() and int(value[:18]) > BODY_BYTES:
            self.refused = TOO_LARGE
        elif word == b"expect" and value.lower() == b"100-continue":
            self._expects = True

    def on_headers_complete(self) -> None:
        self._trusted = True
        if self._parser is None or self._parser.get_method() not in (b"POST", b"PUT"):
            self.refused = METHOD

    def on_body(self, body: bytes) -> None:
        self.body += body
        if len(self.body) > BODY_BYTES:
            self.refused = TOO_LARGE

    def on_message_complete(self) -> None:
        self.complete = True
