"""Receive stamps: when bytes reached this host, as the kernel says, not when we got round to them.

The kernel stamps by the wall clock, so each read ties its stamp to the monotonic clock. One read
carries only the stamp of its last segment; the kernel's count of segments tells whether there
were others.
"""

import functools
import socket
import struct
from collections.abc import Callable
from time import time_ns
from typing import NamedTuple

from monitor.clock import monotonic

_OPTIONS = (64, 35)
"""SO_TIMESTAMPNS_NEW, then the old one; Python's socket module knows neither. 64 bits on both."""
_SPEC = struct.Struct("=qq")
_CONTROL_BYTES = socket.CMSG_SPACE(_SPEC.size)
_STEADY_S = 20e-6
"""Three readings of the clocks in a row take a microsecond; where they took longer, we were interrupted."""
_TRIES = 4
_SLACK_S = 50e-6
"""The two clocks may drift apart by as much between arrival and read."""
_COALESCED = 1.6
"""So many times the usual size: two segments in one now and then are chance, most of them are not."""
_INFO = struct.Struct("=68xI28xI24xQ16xI68xI")
"""struct tcp_info: rtt, total_retrans, bytes_received, data_segs_in, rcv_ooopack (Linux 5.4)."""


class Stamps:
    """Switches stamps on. Keeps one idle socket stamped for as long as the process lives: the
    kernel only begins to stamp some time after the first socket asked for it, and ends with the last.
    """

    def __init__(self) -> None:
        idle = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._option = next((option for option in _OPTIONS if _takes(idle, option)), None)
        idle.detach()  # nobody is to close it

    @property
    def available(self) -> bool:
        """This system has them."""
        return self._option is not None

    def switch_on(self, sock: socket.socket) -> None:
        """Ask for stamps on this socket; where there are none, its reads go by our own clock."""
        if self._option is not None:
            sock.setsockopt(socket.SOL_SOCKET, self._option, 1)


@functools.cache
def stamps() -> Stamps:
    """Those of this process."""
    return Stamps()


def _takes(sock: socket.socket, option: int) -> bool:
    try:
        sock.setsockopt(socket.SOL_SOCKET, option, 1)
    except OSError:
        return False
    return True


class Read(NamedTuple):
    """One read of a socket; moments in monotonic seconds."""

    size: int
    """Bytes; 0 at the end."""
    at: float
    """When the last of them came."""
    stamped: bool
    """The kernel says so; else it is the moment of the read."""
    began: float
    """When the read began: if it drained the socket, what follows comes after that."""


def receive(sock: socket.socket, buffer: memoryview, since: float) -> Read:
    """Read what is there into the buffer. Raises OSError.

    The kernel's stamp counts if it lies between `since`, when the socket was last known to be
    empty, and now: a wall clock that was stepped in between says nothing.
    """
    began = monotonic()
    count, said, _, _ = sock.recvmsg_into((buffer,), _CONTROL_BYTES)
    for level, kind, data in said:
        if level == socket.SOL_SOCKET and kind in _OPTIONS and len(data) == _SPEC.size:
            seconds, nanoseconds = _SPEC.unpack(data)
            now, at = tied(seconds * 1_000_000_000 + nanoseconds)
            if at is not None and since - _SLACK_S <= at <= now + _SLACK_S:
                return Read(count, min(at, now), stamped=True, began=began)
            return Read(count, now, stamped=False, began=began)
    return Read(count, monotonic(), stamped=False, began=began)


def receive_unstamped(sock: socket.socket, buffer: memoryview, since: float) -> Read:  # noqa: ARG001
    """The same where there are no stamps: a Unix socket. Raises OSError.

    Nothing but bytes is taken: who asks for more there can be handed open files.
    """
    began = monotonic()
    count = sock.recv_into(buffer)
    return Read(count, monotonic(), stamped=False, began=began)


def tied(
    stamp: int, monotonic: Callable[[], float] = monotonic, wall: Callable[[], int] = time_ns
) -> tuple[float, float | None]:
    """The moment now, and that of a stamp of the wall clock (nanoseconds); both monotonic seconds.

    None if we are interrupted so often that the two clocks cannot be read together.
    """
    after = monotonic()
    for _ in range(_TRIES):
        before, now = after, wall()
        after = monotonic()
        if after - before <= _STEADY_S:
            return after, (before + after) / 2 - (now - stamp) * 1e-9
    return after, None


class Segments:
    """Tells how bytes came: whether a read held one segment, for only then its stamp belongs to
    every byte of it, and whether the other side holds segments back until we read.
    """

    __slots__ = ("_count", "_disorder", "_prompt", "_received", "disordered")

    def __init__(self) -> None:
        self._count = 0
        self._disorder = 0
        self._received = 0
        self._prompt = _Mean()
        self.disordered = False
        """Of the last read: some segments came before their turn, so the stamp may be that of another."""

    def single(self, sock: socket.socket, count: int) -> bool:
        """After a read of `count` bytes that drained the socket: they came in one segment, in order.

        False also where that cannot be told.
        """
        info = tcp_info(sock)
        self._received += count
        if info is None:
            return False
        came = info.segments - self._count
        self._order(info)
        single = came == 1 and not self.disordered
        self._prompt.add(count, came)
        if info.received == self._received:
            # Nothing came behind our back: the next read is counted from here.
            self._count = info.segments
        return single

    def held_back(self, sock: socket.socket, count: int) -> bool:
        """After a late read of `count` bytes: far fewer segments brought them than would have otherwise.

        A server without TCP_NODELAY sends the next one only when we have confirmed the last, and
        who does not read confirms late: it would be we who slow it down.
        """
        info = tcp_info(sock)
        self._received += count
        if info is None:
            return True
        self._order(info)
        came, self._count = info.segments - self._count, info.segments
        usual = self._prompt.value
        return usual is not None and count > _COALESCED * usual * max(1, came)

    def _order(self, info: "TcpInfo") -> None:
        self.disordered = info.disorder != self._disorder
        self._disorder = info.disorder


class _Mean:
    """Bytes a segment, without the first read, in which there are headers."""

    __slots__ = ("_bytes", "_reads", "_segments")

    def __init__(self) -> None:
        self._reads = self._bytes = self._segments = 0

    def add(self, count: int, segments: int) -> None:
        self._reads += 1
        if self._reads > 1 and segments > 0:
            self._bytes += count
            self._segments += segments

    @property
    def value(self) -> float | None:
        return self._bytes / self._segments if self._segments else None


class TcpInfo(NamedTuple):
    """What the kernel knows of a connection."""

    rtt_us: int
    retransmissions: int
    received: int
    """Bytes in order, read or not."""
    segments: int
    """With data in them, repeated ones too."""
    disorder: int
    """Segments that came before their turn."""


def tcp_info(sock: socket.socket) -> TcpInfo | None:
    """None where the system has no such thing."""
    try:
        said = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO.size)
    except OSError:
        return None
    return TcpInfo(*_INFO.unpack(said)) if len(said) == _INFO.size else None
