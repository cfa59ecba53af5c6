"""Names to addresses, by c-ares: a name that hangs costs nobody else a thread.

Nothing is remembered from one lookup to the next. c-ares would keep answers for as long as
their TTL allows, up to an hour, and a resolver that died meanwhile would go unnoticed. Only
lookups of the same name within a millisecond or so may share an answer.
"""

import errno
import ipaddress
import os
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Any, Literal, NamedTuple

import aiodns
import pycares
from aiodns import error as ares

from monitor.clock import monotonic
from monitor.core.observation import clean
from monitor.core.wire import Fault, FaultKind, Phase, Question, Record, WireFault
from monitor.transport.fault import broken
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
        self._others: dict[str, aiodns.DNSResolver] = {}
        """Those that ask one name server, by its address."""

    async def resolve(self, host: str, port: int, ip: Ip, patience: Patience, until: float) -> list[Address]:
        """The addresses of a name, the two families in turn; at least one.

        Raises WireFault with NO_SUCH_NAME, RESOLVER or LOCAL; TimeUp when nothing is known by `until`.
        """
        asking = self.asking()
        lookup = asking.getaddrinfo(host, _FAMILIES[ip], port, type=socket.SOCK_STREAM)
        try:
            answer = await patience.wait(lookup, until)
        except ares.DNSError as no:
            no.__traceback__ = None  # it leads back to the lookup, which keeps the error: a circle
            raise WireFault(_refusal(int(no.args[0]), host, ip), monotonic()) from None
        finally:
            _forget(asking)
        addresses = [_address(node) for node in answer.nodes]
        if not addresses:
            raise WireFault(_refusal(ares.ARES_ENODATA, host, ip), monotonic())
        return in_turn(addresses)

    async def query(self, question: Question, patience: Patience, until: float) -> tuple[str, ...]:
        """The records that were asked for, at least one, each as people write it.

        The hosts file is not looked at. Raises WireFault with NO_SUCH_NAME, RESOLVER or LOCAL; TimeUp
        when nothing is known by `until`.
        """
        asking = self.asking(question.server)
        try:
            answer = await patience.wait(asking.query_dns(question.name, question.record), until)
        except ares.DNSError as no:
            no.__traceback__ = None  # as above
            raise WireFault(_no_record(int(no.args[0]), question), monotonic()) from None
        finally:
            _forget(asking)
        kind = aiodns.query_type_map[question.record]
        told = _TOLD[question.record]
        found = tuple(clean(told(record.data)) for record in answer.answer if record.type == kind)
        if not found:
            # An alias may be all that there is.
            raise WireFault(_no_record(ares.ARES_ENODATA, question), monotonic())
        return found

    def asking(self, server: str | None = None) -> aiodns.DNSResolver:
        """Who asks that name server, or those of the system. Raises WireFault where none can be made.

        To start one takes 10 ms: ask for it before the clock runs.
        """
        if server is not None:
            if server not in self._others:
                self._others[server] = _started([server])
            return self._others[server]
        if self._ares is None:
            self._ares = _started(self._nameservers)
        return self._ares

    async def aclose(self) -> None:
        """Break off what is under way and end c-ares."""
        for asking in (self._ares, *self._others.values()):
            if asking is not None:
                await asking.close()
        self._ares = None
        self._others.clear()


def _started(nameservers: Sequence[str] | None) -> aiodns.DNSResolver:
    try:
        return aiodns.DNSResolver(nameservers=nameservers)
    except pycares.AresError:
        raise WireFault(broken(_shortage(), Phase.DNS, "the name servers"), monotonic()) from None


def _forget(asking: aiodns.DNSResolver) -> None:
    """Empty the cache of c-ares. It has no switch, but reading its configuration again does it.

    That happens in a thread of c-ares' own, for 0.06 ms of CPU; lookups under way are not disturbed.
    """
    asking._channel.reinit()  # noqa: SLF001  # aiodns has no name for it; a test holds on to it


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


def _no_record(code: int, question: Question) -> Fault:
    if code == ares.ARES_ENOTFOUND:
        whom = "" if question.server is None else f" according to {question.server}"
        text = f"the name {question.name} does not exist{whom} (NXDOMAIN)"
        return Fault(FaultKind.NO_SUCH_NAME, Phase.DNS, text)
    if code == ares.ARES_ENODATA:
        return Fault(FaultKind.NO_SUCH_NAME, Phase.DNS, f"{question.name} has no {question.record} record")
    fault = _refusal(code, question.name, "auto")
    if question.server is None or fault.kind is not FaultKind.RESOLVER:
        return fault
    text = _OF_SERVER.get(code, "gave no usable answer")
    return Fault(fault.kind, fault.phase, f"{question.server} {text} when asked for {question.name}")


_OF_SERVER = {
    ares.ARES_ETIMEOUT: "did not answer",
    ares.ARES_ECONNREFUSED: "could not be reached",
    ares.ARES_ESERVFAIL: "failed (SERVFAIL)",
    ares.ARES_EREFUSED: "refused (REFUSED)",
    ares.ARES_ENOTIMP: "does not know how to answer (NOTIMP)",
    ares.ARES_EFORMERR: "did not understand the question (FORMERR)",
}


def _name(text: str) -> str:
    return text.rstrip(".") or "."


_TOLD: Mapping[Record, Callable[[Any], str]] = {
    Record.A: lambda data: str(data.addr),
    Record.AAAA: lambda data: str(ipaddress.ip_address(data.addr)),
    Record.CAA: lambda data: f'{data.critical} {data.tag} "{data.value}"',
    Record.CNAME: lambda data: _name(data.cname),
    Record.MX: lambda data: f"{data.priority} {_name(data.exchange)}",
    Record.NS: lambda data: _name(data.nsdname),
    Record.PTR: lambda data: _name(data.dname),
    Record.SOA: lambda data: (
        f"{_name(data.mname)} {_name(data.rname)}"
        f" {data.serial} {data.refresh} {data.retry} {data.expire} {data.minimum}"
    ),
    Record.SRV: lambda data: f"{data.priority} {data.weight} {data.port} {_name(data.target)}",
    Record.TXT: lambda data: data.data.decode("utf-8", "replace"),
}
"""Each record as it stands in a zone file, without the dot behind a name."""


def _shortage() -> int | None:
    """The errno of a socket that we cannot open ourselves: c-ares calls that a server out of reach."""
    try:
        os.close(os.dup(2))
    except OSError as exc:
        return exc.errno
    return None
