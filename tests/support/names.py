"""A name server of our own on loopback, over UDP and TCP, that answers or misbehaves as it is told."""

import ipaddress
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

KINDS = {
    "A": 1,
    "NS": 2,
    "CNAME": 5,
    "SOA": 6,
    "PTR": 12,
    "MX": 15,
    "TXT": 16,
    "AAAA": 28,
    "SRV": 33,
    "CAA": 257,
}
NXDOMAIN, SERVFAIL, NOTIMP, REFUSED, FORMERR = 3, 2, 4, 5, 1
_TRUNCATED = 0x0200


@dataclass
class Told:
    """What it says of one name."""

    records: list[tuple[str, str]] = field(default_factory=list)
    """Kind and text, e.g. `("MX", "10 mail.acme.test")`."""
    code: int = 0
    silent: bool = False
    truncated: bool = False
    """Over UDP it only says that there is more over TCP."""
    other_id: bool = False
    """It answers to another question."""
    garbage: bool = False


class Names:
    """It knows what stands in `names`, by lower-case name; everything else does not exist."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self._host = host
        self._family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.names: dict[str, Told] = {}
        self.asked: list[tuple[str, str, int]] = []
        """How (`udp` or `tcp`), for what name, for which kind."""
        self._udp = socket.socket(self._family, socket.SOCK_DGRAM)
        self._tcp = socket.socket(self._family, socket.SOCK_STREAM)
        self._bind()
        self._tcp.listen(16)
        self.port: int = self._udp.getsockname()[1]
        self.address = f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"
        self._ended = False
        threads = (self._over_udp, self._over_tcp)
        self._threads = [threading.Thread(target=serve, daemon=True) for serve in threads]
        for thread in self._threads:
            thread.start()

    def _bind(self) -> None:
        """The same port for both."""
        for _ in range(50):
            self._udp.bind((self._host, 0))
            try:
                self._tcp.bind(self._udp.getsockname())
            except OSError:
                self._udp.close()
                self._udp = socket.socket(self._family, socket.SOCK_DGRAM)
                continue
            return
        raise RuntimeError("no port is free for both")

    def close(self) -> None:
        self._ended = True
        with socket.socket(self._family, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"", self._udp.getsockname())
        self._tcp.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        self._udp.close()
        self._tcp.close()

    def _over_udp(self) -> None:
        while True:
            query, client = self._udp.recvfrom(4096)
            if self._ended:
                return
            for answer in self._answers(query, "udp"):
                self._udp.sendto(answer, client)

    def _over_tcp(self) -> None:
        while True:
            try:
                client, _ = self._tcp.accept()
            except OSError:
                return
            with client:
                client.settimeout(5)
                size = int.from_bytes(client.recv(2), "big")
                for answer in self._answers(client.recv(size), "tcp"):
                    client.sendall(struct.pack(">H", len(answer)) + answer)

    def _answers(self, query: bytes, way: str) -> Iterator[bytes]:
        name, kind, end = _question(query)
        self.asked.append((way, name, kind))
        told = self.names.get(name, Told(code=NXDOMAIN))
        if told.silent:
            return
        if told.garbage:
            yield query[:2] + b"\xff" * 40
            return
        flags = 0x8180 | told.code
        records = [(text, data) for text, data in told.records if KINDS[text] == kind or text == "CNAME"]
        if told.truncated and way == "udp":
            flags, records = flags | _TRUNCATED, []
        number = (
            query[:2]
            if not told.other_id
            else struct.pack(">H", (int.from_bytes(query[:2], "big") + 1) % 65536)
        )
        body = b"".join(_record(name, text, data) for text, data in records)
        yield number + struct.pack(">HHHHH", flags, 1, len(records), 0, 0) + query[12:end] + body


def _question(query: bytes) -> tuple[str, int, int]:
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode())
        at += query[at] + 1
    return ".".join(labels).lower(), int.from_bytes(query[at + 1 : at + 3], "big"), at + 5


def _record(name: str, kind: str, text: str) -> bytes:
    data = _data(kind, text)
    return _name(name) + struct.pack(">HHIH", KINDS[kind], 1, 300, len(data)) + data


def _data(kind: str, text: str) -> bytes:
    words = text.split(" ")
    if kind in ("A", "AAAA"):
        return ipaddress.ip_address(text).packed
    if kind in ("NS", "CNAME", "PTR"):
        return _name(text)
    if kind == "MX":
        return struct.pack(">H", int(words[0])) + _name(words[1])
    if kind == "SRV":
        return struct.pack(">HHH", *map(int, words[:3])) + _name(words[3])
    if kind == "SOA":
        return _name(words[0]) + _name(words[1]) + struct.pack(">IIIII", *map(int, words[2:]))
    if kind == "CAA":
        flags, tag, value = words
        return bytes((int(flags), len(tag))) + tag.encode() + value.strip('"').encode()
    pieces = [text.encode()[at : at + 255] for at in range(0, len(text.encode()), 255)]
    return b"".join(bytes((len(piece),)) + piece for piece in pieces)


def _name(text: str) -> bytes:
    return b"".join(bytes((len(label),)) + label.encode() for label in text.split(".") if label) + b"\0"


@contextmanager
def name_server(host: str = "127.0.0.1") -> Iterator[Names]:
    """One that runs."""
    server = Names(host)
    try:
        yield server
    finally:
        server.close()
