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
    given_from = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for _ in range(_TRIES):
        port = _RANDOM.randrange(given_from // 2, given_from)
        with socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as datagram, suppress(OSError):
            stream.bind(("127.0.0.1", port))
            datagram.bind(("127.0.0.1", port))
            return port
    raise AssertionError(f"no unused port from {given_from // 2} to {given_from}")


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
