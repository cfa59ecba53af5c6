"""Non-blocking sockets of our own: connecting to the first address that answers."""

import asyncio
import errno
import socket
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from monitor.clock import monotonic
from monitor.core.wire import Fault, FaultKind, Phase, WireFault
from monitor.transport.fault import broken, never_sent
from monitor.transport.patience import Patience
from monitor.transport.resolver import Address
from monitor.transport.stamps import Stamps, tcp_info
from monitor.transport.waking import Waking

STAGGER_S = 0.25
"""How long an attempt has the field to itself before the next address is tried beside it (RFC 8305)."""
READ_BYTES = 64 * 1024
_CROWDED_S = 0.01
"""How soon to knock again where a Unix socket has more callers than it can keep waiting."""


class Connected(NamedTuple):
    """A connection that stands."""

    sock: socket.socket
    address: Address | str
    """Or the path of a Unix socket."""
    took: float
    """Seconds this attempt took. Time that other addresses were given first is not in it."""
    exact: bool
    """The kernel's figure; else it is only what we saw, so at most as much."""
    slack: float
    """Seconds by which it may have taken less; 0 where it is exact."""
    since: float
    """Monotonic seconds at which it certainly did not stand yet, so nothing can have come before."""


async def connect(
    addresses: Sequence[Address],
    patience: Patience,
    until: float,
    stamps: Stamps,
    waking: Waking | None = None,
) -> Connected:
    """The first of the addresses that answers.

    Raises WireFault when each of them said no; TimeUp when none answered by `until`.
    """
    race = _Race(asyncio.get_running_loop(), addresses, stamps, waking)
    try:
        race.next()
        if not race.over.done():
            await patience.wait(race.over, until)
        return race.take()
    finally:
        race.close()


async def connect_unix(path: str, patience: Patience, until: float) -> Connected:
    """The server that listens on that socket.

    Raises WireFault when nobody does; TimeUp when it does not take us in by `until`.
    """
    started = monotonic()
    try:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    except OSError as exc:
        raise WireFault(broken(exc.errno, Phase.CONNECT, path), monotonic()) from None
    try:
        code = await _knock(sock, path, patience, until)
    except BaseException:
        sock.close()
        raise
    if code:
        sock.close()
        raise WireFault(nobody(code, path), monotonic())
    took = monotonic() - started
    return Connected(sock, path, took, exact=False, slack=took, since=started)


async def _knock(sock: socket.socket, path: str, patience: Patience, until: float) -> int:
    """Until we are let in (0), or somebody says no (an errno). Raises TimeUp."""
    loop = asyncio.get_running_loop()
    # There is no waiting for a place in the queue, as there is in TCP: one has to ask again.
    while (code := sock.connect_ex(path)) == errno.EAGAIN:
        pause: asyncio.Future[None] = loop.create_future()
        timer = loop.call_later(_CROWDED_S, _settle, pause)
        try:
            await patience.wait(pause, until)
        finally:
            timer.cancel()
    return code


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def nobody(code: int, path: str) -> Fault:
    """The fault behind an errno of connecting to a Unix socket."""
    if code in (errno.ENOENT, errno.ENOTDIR):
        text = f"there is no socket {path}: does the server run?"
        return Fault(FaultKind.REFUSED, Phase.CONNECT, text, code)
    if code in (errno.ENOTSOCK, errno.EPROTOTYPE):
        return Fault(FaultKind.LOCAL, Phase.CONNECT, f"{path} is no socket that one can connect to", code)
    return broken(code, Phase.CONNECT, f"the socket {path}")


def _took(sock: socket.socket, seen: float) -> tuple[float, bool]:
    """How long connecting took in seconds, and whether that is exact.

    The kernel times the round trip itself; we hear of it when the loop gets round to it. Where
    something was sent twice the kernel's figure is not that of the whole.
    """
    info = tcp_info(sock)
    if info is None or info.retransmissions or not 0 < info.rtt_us * 1e-6 <= seen:
        return seen, False
    return info.rtt_us * 1e-6, True


class _Race:
    """Attempts at several addresses: the next starts when one fails or takes too long."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        addresses: Sequence[Address],
        stamps: Stamps,
        waking: Waking | None,
    ) -> None:
        self._stamps = stamps
        self._waking = waking
        self.over: asyncio.Future[None] = loop.create_future()
        self._loop = loop
        self._waiting: Iterator[Address] = iter(addresses)
        self._left = len(addresses)
        self._running: dict[socket.socket, tuple[Address, float]] = {}
        self._failures: list[Fault] = []
        self._winner: Connected | None = None
        self._timer: asyncio.TimerHandle | None = None

    def next(self) -> None:
        """Start attempts until one more is under way, or won, or none is left."""
        self._stop_timer()
        if self._winner is not None:
            return
        for address in self._waiting:
            self._left -= 1
            if self._attempt(address):
                break
        if not self._running or self._winner is not None:
            self._finish()
        elif self._left:
            self._timer = self._loop.call_later(STAGGER_S, self.next)

    def take(self) -> Connected:
        """The connection, now the caller's. Raises WireFault where nobody won."""
        won, self._winner = self._winner, None
        if won is None:
            # What a host said weighs more than what this machine lacks.
            first = min(self._failures, key=lambda fault: fault.kind is FaultKind.LOCAL)
            raise WireFault(first, monotonic())
        return won

    def close(self) -> None:
        """Give up whatever is open and was not taken."""
        self._stop_timer()
        for sock in self._running:
            self._loop.remove_writer(sock.fileno())
            sock.close()
        self._running.clear()
        if self._winner is not None:
            self._winner.sock.close()

    def _attempt(self, address: Address) -> bool:
        """Whether it is under way, or done already (as on loopback)."""
        started = monotonic()
        try:
            sock = socket.socket(address.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError as exc:
            self._failures.append(never_sent(exc.errno, str(address)))
            return False
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Before it connects, so that not even the first segment goes without.
        self._stamps.switch_on(sock)
        code = sock.connect_ex(address.sockaddr)
        if code == 0:
            self._won(sock, address, started, monotonic())
            return True
        if code == errno.EINPROGRESS:
            self._running[sock] = (address, started)
            self._loop.add_writer(sock.fileno(), self._settled, sock)
            return True
        sock.close()
        self._failures.append(never_sent(code, str(address)))
        return False

    def _settled(self, sock: socket.socket) -> None:
        now = monotonic()
        self._loop.remove_writer(sock.fileno())
        address, started = self._running.pop(sock)
        if self._winner is not None:
            sock.close()
            return
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code == 0:
            self._won(sock, address, started, now)
            self._finish()
        else:
            sock.close()
            self._failures.append(broken(code, Phase.CONNECT, str(address), told=True))
            self.next()

    def _won(self, sock: socket.socket, address: Address, started: float, now: float) -> None:
        took, exact = _took(sock, now - started)
        quiet = started if self._waking is None else max(started, self._waking.quiet)
        slack = 0.0 if exact else now - min(quiet, now)
        self._winner = Connected(sock, address, took, exact, slack, started)

    def _finish(self) -> None:
        if not self.over.done():
            self.over.set_result(None)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
