"""A wire between a client and a server on loopback that remembers what passed: the server's own words,
to hold a monitor's figures against.
"""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit


@dataclass
class Exchange:
    """One connection."""

    request: bytes = b""
    response: bytes = b""
    ended: bool = False
    """Both sides have closed it."""

    @property
    def events(self) -> list[dict[str, Any]]:
        """The JSON of each server-sent event, wherever chunks of the transfer cut it."""
        lines = _unchunked(self.response).split(b"\n")
        texts = [line.removeprefix(b"data: ") for line in lines if line.startswith(b"data: ")]
        return [json.loads(text) for text in texts if text.strip() != b"[DONE]"]


@dataclass
class Relay:
    """Made by `relaying`."""

    url: str
    exchanges: list[Exchange] = field(default_factory=list)

    def with_request(self, part: str) -> Exchange:
        """The exchange whose request holds that text."""
        [found] = [one for one in self.exchanges if part.encode() in one.request]
        return found


@contextmanager
def relaying(target: str) -> Iterator[Relay]:
    """A relay to `http://host:port/path`; its own URL has the same path."""
    parts = urlsplit(target)
    assert parts.hostname is not None
    with socket.create_server(("127.0.0.1", 0)) as server:
        relay = Relay(f"http://127.0.0.1:{server.getsockname()[1]}{parts.path}")
        place = (parts.hostname, parts.port or 80)
        thread = threading.Thread(target=_accept, args=(server, place, relay), daemon=True)
        thread.start()
        try:
            yield relay
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def _accept(server: socket.socket, place: tuple[str, int], relay: Relay) -> None:
    with suppress(OSError):
        while True:
            client, _ = server.accept()
            exchange = Exchange()
            relay.exchanges.append(exchange)
            threading.Thread(target=_carry, args=(client, place, exchange), daemon=True).start()


def _carry(client: socket.socket, place: tuple[str, int], exchange: Exchange) -> None:
    with client, socket.create_connection(place) as server:
        for one in (client, server):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        there = threading.Thread(target=_copy_request, args=(client, server, exchange), daemon=True)
        there.start()
        with suppress(OSError):
            while data := server.recv(65536):
                exchange.response += data
                client.sendall(data)
        for one in (client, server):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        there.join()
    exchange.ended = True


def _copy_request(client: socket.socket, server: socket.socket, exchange: Exchange) -> None:
    with suppress(OSError):
        while data := client.recv(65536):
            exchange.request += data
            server.sendall(data)
        server.shutdown(socket.SHUT_RDWR)


def _unchunked(response: bytes) -> bytes:
    """The body of a response with `Transfer-Encoding: chunked`; any other as it is."""
    head, _, rest = response.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" not in head.lower():
        return rest
    body = b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size or b"0", 16)
        body += rest[:length]
        rest = rest[length + 2 :]
    return body
