"""uvicorn, with the deadlines and limits that it lacks, and with the signals left to us.

It has no deadline for receiving a request, and each byte of a slow client renews its only
timer. Here a connection has one deadline at any time, which no byte moves, and where there
are too many the one that has kept us waiting longest is dropped.
"""

import asyncio
import contextlib
import resource
import socket
from collections import OrderedDict
from collections.abc import Generator, Sequence
from typing import Any

from starlette.types import ASGIApp
from uvicorn import Config, Server
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from monitor.feeds import api_v1

HEAD_S = 5.0
"""For receiving the head of a request, from the connection or the last response on."""
ANSWER_S = 30.0
"""For making a response."""
DELIVER_S = 60.0
"""For a client to take a response, as long as it takes any of it every `HEAD_S`."""
LARGEST_HEAD = 32 * 1024
BACKLOG = 64
"""Also the number of connections that are accepted at a time."""
MOST_CONNECTIONS = 1_000
RESERVED_FILES = 48
"""For the database, its threads and the listening sockets."""
FILES = 4_096
END_S = 1


class Waiting:
    """The connections of this process, and which of them owe us a request, longest-waiting first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._all: set[Connection] = set()
        self._idle: OrderedDict[Connection, None] = OrderedDict()

    def opened(self, connection: "Connection") -> None:
        self._all.add(connection)
        self._idle[connection] = None
        if len(self._all) > self._most:
            longest, _ = self._idle.popitem(last=False)
            self._all.discard(longest)
            longest.drop()

    def closed(self, connection: "Connection") -> None:
        self._all.discard(connection)
        self._idle.pop(connection, None)

    def asked(self, connection: "Connection") -> None:
        self._idle.pop(connection, None)

    def answered(self, connection: "Connection") -> None:
        self._idle[connection] = None

    def drop_all(self) -> None:
        for connection in list(self._all):
            connection.drop()


class Connection(HttpToolsProtocol):
    """One client. `waiting` is set on a subclass, for each process its own."""

    waiting: Waiting

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._deadline: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._is_open = False
        self._in_head = True
        self._ended_one = False
        self._unsent = 0
        self._delivered_by = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        self._is_open = True
        self.waiting.opened(self)
        self._within(HEAD_S, self.drop)

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_open = False
        self.waiting.closed(self)
        if self._deadline is not None:
            self._deadline.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self._is_open:
            return
        self._ended_one = False
        super().data_received(data)
        if self._in_head and not self._ended_one:
            self._head_bytes += len(data)
            if self._head_bytes > LARGEST_HEAD:
                self._refuse()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self.waiting.asked(self)
        self._within(ANSWER_S, self.drop)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_head, self._head_bytes, self._ended_one = True, 0, True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._is_open and not self.pipeline:
            self.waiting.answered(self)
            self._unsent = self.transport.get_write_buffer_size()
            self._delivered_by = self.loop.time() + DELIVER_S
            self._within(HEAD_S, self._delivering)

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP gets our own kind of answer too."""
        body = api_v1.error("bad_request", msg)
        head = (
            "HTTP/1.1 400 Bad Request\r\nconnection: close\r\nx-content-type-options: nosniff\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()

    def drop(self) -> None:
        """Close it without waiting for anything that the client would have to take."""
        self.transport.abort()

    def _delivering(self) -> None:
        """The next request has not come: is that because the client still takes the response?"""
        left = self.transport.get_write_buffer_size()
        if 0 < left < self._unsent and self.loop.time() < self._delivered_by:
            self._unsent = left
            self._within(HEAD_S, self._delivering)
        else:
            self.drop()

    def _refuse(self) -> None:
        if self.transport.is_closing():
            return
        self.transport.write(
            b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
        )
        self.transport.close()

    def _within(self, seconds: float, late: Any) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self.loop.call_later(seconds, late)


class PageServer(Server):
    """Serves one application on sockets that are given to it, until it is told to end."""

    def __init__(self, app: ASGIApp, waiting: Waiting) -> None:
        protocol = type("Connection", (Connection,), {"waiting": waiting})
        super().__init__(
            Config(
                app,
                loop="asyncio",
                http=protocol,
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="error",  # whoever sends nonsense shall not fill our log
                access_log=False,
                server_header=False,
                date_header=True,
                proxy_headers=False,
                backlog=BACKLOG,
                timeout_keep_alive=round(HEAD_S),
                timeout_graceful_shutdown=END_S,
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """The process has its own handlers."""
        yield

    def end(self) -> None:
        """Answer what was asked, for a second at most, and return from `serve`."""
        self.should_exit = True


def room_for_connections(sockets: Sequence[socket.socket]) -> int:
    """How many connections this process can bear, by how many files it may open.

    Raises the soft limit where the hard one lets it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError):  # a sandbox may not let us; then there is less room
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    files = FILES if soft == resource.RLIM_INFINITY else soft
    # So many may be accepted before the first of them is counted.
    return max(16, min(MOST_CONNECTIONS, files - RESERVED_FILES - (BACKLOG + 1) * len(sockets)))
