"""One client's connection: HTTP in, a reply played out at its own pace.

A stream costs one timer at a time and no task, because benchmarks run hundreds of them beside
the program that they measure.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Any, cast

import httptools

from monitor.simulator.exchange import Call, Ending, Frame, Reply
from monitor.simulator.ledger import Entry, Ledger

Answer = Callable[[Call], tuple[Entry, Reply]]

BODY_MOST = 4 * 1024 * 1024
_BAD = b"HTTP/1.1 400 Bad Request\r\nx-simulated: true\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_RST = struct.pack("ii", 1, 0)


class Connection(asyncio.Protocol):
    """Speaks HTTP/1.1, one request at a time."""

    def __init__(self, answer: Answer, ledger: Ledger, alive: "set[Connection]") -> None:
        self._answer = answer
        self._ledger = ledger
        self._alive = alive
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._parser = httptools.HttpRequestParser(self)
        self._entry: Entry | None = None
        self._reply: Reply
        self._frame: Frame
        self._timer: asyncio.TimerHandle | None = None
        self._keep_alive = True
        self.gone = asyncio.Event()
        """Set once the connection is closed."""
        self.on_message_begin()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._alive.add(self)

    def connection_lost(self, _: Exception | None) -> None:
        self._alive.discard(self)
        self.gone.set()
        if self._timer:
            self._timer.cancel()
        if self._entry:
            self._ledger.closed(self._entry, self._loop.time(), left=True)
            self._entry = None

    def abort(self) -> None:
        """Drop the client."""
        self._close_entry()
        self._transport.abort()

    def _close_entry(self) -> None:
        if self._entry:
            self._ledger.closed(self._entry, self._loop.time(), left=False)
            self._entry = None

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # an offer that HTTP lets a server ignore
        except httptools.HttpParserError:
            self._transport.write(_BAD)
            self._transport.close()
            return
        if self._complete:
            self._begin()

    # Called by the parser

    def on_message_begin(self) -> None:
        self._target = b""
        self._headers: dict[str, str] = {}
        self._body = bytearray()
        self._complete = False

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._method = self._parser.get_method().decode("latin-1")
        self._keep_alive = self._keep_alive and self._parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        self._body += body
        if len(self._body) > BODY_MOST:
            self.abort()

    def on_message_complete(self) -> None:
        self._complete = True

    # The reply

    def _begin(self) -> None:
        self._complete = False
        if self._entry:  # a request before the reply to the last: HTTP lets us answer that one and close
            self._keep_alive = False
            return
        call = Call(
            method=self._method,
            target=self._target.decode("latin-1"),
            headers=self._headers,
            body=bytes(self._body),
            keep_alive=self._keep_alive,
        )
        self._entry, self._reply = self._answer(call)
        self._play(self._entry)

    def _play(self, entry: Entry) -> None:
        """Send what is due, then wait for the next frame."""
        for frame in self._reply.frames:
            now = self._loop.time()
            due = entry.received + frame.at
            if due > now:
                self._frame = frame
                self._timer = self._loop.call_at(due, self._wake, entry, due)
                return
            self._send(entry, frame, now)
        self._end()

    def _wake(self, entry: Entry, due: float) -> None:
        now = self._loop.time()
        self._ledger.woke(now - due)
        self._send(entry, self._frame, now)
        self._play(entry)

    def _send(self, entry: Entry, frame: Frame, now: float) -> None:
        self._ledger.sent(entry, now, frame.tokens)
        self._transport.write(frame.data)

    def _end(self) -> None:
        if self._reply.ending is Ending.HANG:
            return
        self._close_entry()
        if self._reply.ending is Ending.RESET:
            self._reset()
        elif self._reply.ending is Ending.CLOSE or not self._keep_alive:
            self._transport.close()

    def _reset(self) -> None:
        """RST: closing with a linger of zero seconds throws the connection away."""
        plug: Any = self._transport.get_extra_info("socket")
        plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST)
        self._transport.abort()
