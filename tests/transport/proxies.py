"""Proxies on loopback: scripts for a `Server`, which play by the rules or break them in one way."""

import contextlib
import select
import socket
from collections.abc import Callable

from tests.transport.servers import Peer, Script

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
Address = tuple[str, int]


def connects(
    log: list[bytes] | None = None,
    answer: bytes = ESTABLISHED,
    send: Callable[[Peer, bytes], None] = Peer.send,
) -> Script:
    """Takes CONNECT, reaches the target on loopback whatever its name, and passes everything on."""

    def script(peer: Peer) -> None:
        head = peer.request()
        if log is not None:
            log.append(head)
        port = int(head.split()[1].rpartition(b":")[2])
        with socket.create_connection(("127.0.0.1", port)) as target:
            send(peer, answer)
            pass_on(peer, target)

    return script


def relays(log: list[bytes]) -> Script:
    """Takes a request in absolute form and asks the target on loopback in its own name."""

    def script(peer: Peer) -> None:
        head = peer.request()
        log.append(head)
        line, _, rest = head.partition(b"\r\n")
        method, url, version = line.split()
        place, _, path = url.removeprefix(b"http://").partition(b"/")
        with socket.create_connection(("127.0.0.1", int(place.rpartition(b":")[2]))) as target:
            target.sendall(b"%b /%b %b\r\n%b" % (method, path, version, rest))
            pass_on(peer, target)

    return script


def socks(
    log: list[bytes] | None = None,
    *,
    login: tuple[bytes, bytes] | None = None,
    reply: int = 0,
    bound: bytes = b"\x01\x7f\x00\x00\x01\x12\x34",
    send: Callable[[Peer, bytes], None] = Peer.send,
) -> Script:
    """SOCKS5; with a login it wants one. A reply other than 0 is a refusal."""

    def script(peer: Peer) -> None:
        _, count = peer.exactly(2)
        methods = peer.exactly(count)
        wanted = 0 if login is None else 2
        if wanted not in methods:
            send(peer, b"\x05\xff")
            return
        send(peer, bytes((5, wanted)))
        if login is not None:
            peer.exactly(1)
            given = peer.exactly(peer.exactly(1)[0]), peer.exactly(peer.exactly(1)[0])
            send(peer, b"\x01\x00" if given == login else b"\x01\x01")
            if given != login:
                return
        port = _asked(peer, log)
        if reply:
            send(peer, bytes((5, reply, 0)) + bound)
            return
        with socket.create_connection(("127.0.0.1", port)) as target:
            send(peer, b"\x05\x00\x00" + bound)
            pass_on(peer, target)

    return script


def _asked(peer: Peer, log: list[bytes] | None) -> int:
    head = peer.exactly(4)
    size = {1: 4, 4: 16}.get(head[3])
    host = peer.exactly(peer.exactly(1)[0] if size is None else size)
    if log is not None:
        log.append(head[3:] + host)
    return int.from_bytes(peer.exactly(2), "big")


def in_drops(peer: Peer, data: bytes) -> None:
    """Byte by byte, each in a segment of its own."""
    for byte in data:
        peer.send(bytes((byte,)))
        peer.pause(0.001)


def pass_on(peer: Peer, target: socket.socket) -> None:
    """Until one of them is done."""
    ways = {peer.sock: target, target: peer.sock}
    with contextlib.suppress(OSError):
        while not peer.stopping:
            ready, _, _ = select.select(list(ways), [], [], 0.5)
            for sock in ready:
                data = sock.recv(65536)
                if not data:
                    return
                ways[sock].sendall(data)
