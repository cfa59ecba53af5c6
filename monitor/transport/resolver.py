"""Names to addresses, by c-ares: a name that hangs costs nobody else a thread.

Nothing is remembered from one lookup to the next. c-ares would keep answers for as long as
their TTL allows, up to an hour, and a resolver that died meanwhile would go unnoticed. Only
lookups of the same name within a millisecond or so may share an answer.
"""

import errno
import os
import socket
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Literal, NamedTuple

import aiodns
import pycares
from aiodns import error as ares

from monitor.clock import monotonic
from monitor.core.wire import Fault, FaultKind, Phase, WireFault
from monitor.transport.fault import broken, seconds
from monitor.transport.patience import Patience

Ip = Literal["auto", 4, 6]
"""Both address families, or only one."""

_FAMILIES = {"auto": socket.AF_UNSPEC, 4: socket.AF_INET, 6: socket.AF_INET6}

_NO_ANSWER = {
    ares.ARES_ETIMEOUT: "no name server answered",
    ares.ARES_ECONNREFUSED: "no name server could be reached",
    ares.ARES_ESERVFAIL: "the name servers failed",
    ares.ARES_EREFUSED: "the name servers refused",
}
_OURS = {
    ares.ARES_ENOMEM: errno.ENOMEM,
    ares.ARES_EFILE: errno.EMFILE,
}


class Address(NamedTuple):
    """Where to connect to."""

    family: socket.AddressFamily
    sockaddr: tuple[str, int] | tuple[str, int, int, int]

    def __str__(self) -> str:
        return f"{self.sockaddr[0]} port {self.sockaddr[1]}"


class Resolver:
    """Looks names up: hosts file first, then the name servers of the system, or those given."""

    def __init__(self, nameservers: Sequence[str] | None = None) -> None:
        self._nameservers = nameservers
        self._ares: aiodns.DNSResolver | None = None

    async def resolve(self, host: str, port: int, ip: Ip, patience: Patience, until: float) -> list[Address]:
        """The addresses of a name, the two families in turn; at least one.

        Raises WireFault with NO_SUCH_NAME, RESOLVER or LOCAL; TimeUp when nothing is known by `until`.
        """
        if self._ares is None:
            self._ares = aiodns.DNSResolver(nameservers=self._nameservers)
        lookup = self._ares.getaddrinfo(host, _FAMILIES[ip], port, type=socket.SOCK_STREAM)
        try:
            answer = await patience.wait(lookup, until)
        except ares.DNSError as no:
            raise WireFault(_refusal(int(no.args[0]), host, ip), monotonic()) from None
        finally:
            self._forget()
        addresses = [_address(node) for node in answer.nodes]
        if not addresses:
            raise WireFault(_refusal(ares.ARES_ENODATA, host, ip), monotonic())
        return in_turn(addresses)

    def _forget(self) -> None:
        """Empty the cache of c-ares. It has no switch, but reading its configuration again does it.

        That happens in a thread of c-ares' own, for 0.06 ms of CPU; lookups under way are not disturbed.
        """
        if self._ares is not None:
            self._ares._channel.reinit()  # noqa: SLF001  # aiodns has no name for it; a test holds on to it

    async def aclose(self) -> None:
        """Break off what is under way and end c-ares."""
        if self._ares is not None:
            await self._ares.close()
            self._ares = None


def literal(host: str, port: int) -> Address | None:
    """The address that an IP literal stands for; None for a name."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except OSError:
            continue
        return Address(family, (host, port) if family is socket.AF_INET else (host, port, 0, 0))
    return None


def fits(address: Address, ip: Ip) -> bool:
    """The address is of a family that `ip` allows."""
    return ip == "auto" or address.family is _FAMILIES[ip]


def in_turn(addresses: Iterable[Address]) -> list[Address]:
    """One family and the other in turn, so that a dead one costs one attempt, not all of them."""
    ordered = list(addresses)
    first = [address for address in ordered if address.family is ordered[0].family]
    other = [address for address in ordered if address.family is not ordered[0].family]
    return [address for pair in zip_longest(first, other) for address in pair if address is not None]


def too_slow(host: str, limit: float) -> str:
    """What to say when the limit passed before an answer came."""
    return f"the name {host} was not resolved within {seconds(limit)}"


def no_address(host: str, ip: Ip) -> str:
    """What to say of a host that exists, but not in this family."""
    return f"{host} has no address" if ip == "auto" else f"{host} has no IPv{ip} address"


def _address(node: pycares.AddrInfoNode) -> Address:
    host, *rest = node.addr
    family = socket.AddressFamily(node.family)
    return Address(family, (host.decode("ascii"), *rest))


def _refusal(code: int, host: str, ip: Ip) -> Fault:
    if code == ares.ARES_ENOTFOUND:
        return Fault(FaultKind.NO_SUCH_NAME, Phase.DNS, f"the name {host} does not exist")
    if code == ares.ARES_ENODATA:
        return Fault(FaultKind.NO_SUCH_NAME, Phase.DNS, no_address(host, ip))
    if code == ares.ARES_EBADNAME:
        return Fault(FaultKind.NO_SUCH_NAME, Phase.DNS, f"{host} is not a name that can exist")
    ours = _OURS.get(code) or _shortage()
    if ours is not None:
        return broken(ours, Phase.DNS, "the name servers")
    text = _NO_ANSWER.get(code, "the name servers gave no usable answer")
    return Fault(FaultKind.RESOLVER, Phase.DNS, f"{text} when asked for {host}")


def _shortage() -> int | None:
    """The errno of a socket that we cannot open ourselves: c-ares calls that a server out of reach."""
    try:
        os.close(os.dup(2))
    except OSError as exc:
        return exc.errno
    return None
