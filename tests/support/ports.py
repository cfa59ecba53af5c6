"""Ports on loopback."""

import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_TRIES = 100
_RANDOM = random.SystemRandom()
"""Tests seed the common one."""


def unused_port() -> int:
    """A port on 127.0.0.1 that nobody held a moment ago, and that no kernel gives to who asks for any."""
    first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    below, above = range(10_000, first), range(last + 1, 65_536)
    for _ in range(_TRIES):
        port = _RANDOM.choice(below or above or range(first, last))
        with socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as datagram, suppress(OSError):
            stream.bind(("127.0.0.1", port))
            datagram.bind(("127.0.0.1", port))
            return port
    raise AssertionError(f"no unused port outside of {first} to {last}")


@contextmanager
def closed_port() -> Iterator[int]:
    """A port on 127.0.0.1 that refuses, TCP and UDP, and that nobody else can take meanwhile.

    Who is bound without listening refuses streams, and who is connected to another refuses datagrams.
    """
    with socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as datagram:
        port = unused_port()
        stream.bind(("127.0.0.1", port))
        datagram.bind(("127.0.0.1", port))
        datagram.connect(("127.0.0.1", 9))
        yield port
