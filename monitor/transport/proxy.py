"""What we say to a proxy before it lets us through, as bytes: no sockets and no clock in here.

Who is to blame is decided here. Our own proxy is ours: that it is away, is silent, refuses us or
breaks must never look like an outage of the provider. Only where it says that it could not reach
the provider, or lives and waits for it, is that the provider's.
"""

import enum
import re
import socket
from collections.abc import Callable, Mapping

from monitor.config.proxy import Proxy
from monitor.core.wire import Fault, FaultKind, Phase

_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})(?:[ \t][^\r\n]*)?")
_BEGINS = b"HTTP/1."
_LONGEST_HOST = 253
_HEAD_ENDS = re.compile(rb"\r?\n\r?\n")


class Refused(Exception):
    """The proxy does not let us through; carries the `Fault`."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.text)
        self.fault = fault


class Way:
    """The talk with one proxy for one connection. Feed it what comes until it is `open`."""

    def __init__(self, proxy: Proxy, target: str) -> None:
        """`target`: `host:port`, as messages name it."""
        self._proxy = proxy
        self._target = target
        self.open = False
        """The proxy let us through."""
        self.rest = b""
        """What came behind its last word: the first bytes from the other end."""

    def begin(self) -> bytes:
        """The first bytes to send. Raises Refused."""
        raise NotImplementedError

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes; gives what is to be sent now, if anything. Raises Refused."""
        if not self.open:
            return self._heard(data)
        self.rest += data
        return b""

    def _heard(self, data: bytes) -> bytes:
        raise NotImplementedError

    def broken(self, fault: Fault) -> Fault:
        """What it means that the connection ended before the proxy let us through."""
        return unusable(fault, self._proxy)


class Tunnel(Way):
    """CONNECT of HTTP (RFC 9110, 9.3.6)."""

    def __init__(self, proxy: Proxy, host: str, port: int, most: int) -> None:
        """`most`: bytes that the headers of the proxy's answer may have."""
        super().__init__(proxy, f"{host}:{port}")
        self._authority = authority(host, port)
        self._most = most
        self._head = b""

    def begin(self) -> bytes:
        lines = [b"CONNECT %b HTTP/1.1" % self._authority, b"Host: %b" % self._authority]
        lines += [b"%b: %b" % header for header in login(self._proxy)]
        return b"\r\n".join([*lines, b"", b""])

    def _heard(self, data: bytes) -> bytes:
        self._head += data
        while not self.open:
            found = _HEAD_ENDS.search(self._head)
            size = len(self._head) if found is None else found.end()
            if size > self._most or not _BEGINS.startswith(self._head[: len(_BEGINS)]):
                raise Refused(unfit(self._proxy))
            if found is None:
                break
            self._understand(self._head[: found.start()], self._head[size:])
        return b""

    def _understand(self, head: bytes, rest: bytes) -> None:
        line, *fields = head.replace(b"\r\n", b"\n").split(b"\n")
        said = _STATUS.fullmatch(line)
        if said is None:
            raise Refused(unfit(self._proxy))
        status = int(said[1])
        if status == 101 or status >= 300:
            raise Refused(turned_away(status, _headers(fields), self._proxy, self._target))
        self._head = rest
        if status >= 200:
            # Whatever length it claims: behind a 2xx to CONNECT there is only the tunnel.
            self.open, self.rest, self._head = True, rest, b""


def way_through(proxy: Proxy, host: str, port: int, most: int) -> Way:
    """The talk that a proxy of its kind wants, to get to that place."""
    return Socks(proxy, host, port) if proxy.kind == "socks5" else Tunnel(proxy, host, port, most)


def authority(host: str, port: int) -> bytes:
    """`api.acme.example:443`, `[2001:db8::1]:443`."""
    return (f"[{host}]:{port}" if ":" in host else f"{host}:{port}").encode("ascii")


def login(proxy: Proxy) -> list[tuple[bytes, bytes]]:
    """The header that tells an HTTP proxy who we are; none where there is no login."""
    return [] if proxy.basic is None else [(b"Proxy-Authorization", b"Basic " + proxy.basic.encode("ascii"))]


def _headers(fields: list[bytes]) -> dict[str, str]:
    pairs = (line.decode("latin-1").partition(":") for line in fields)
    return {name.strip().lower(): value.strip().lower() for name, _, value in pairs}


def unfit(proxy: Proxy) -> Fault:
    """What answers there is no proxy for HTTP."""
    text = f"the proxy {proxy} does not answer CONNECT as an HTTP proxy does"
    return Fault(FaultKind.PROXY_UNFIT, Phase.CONNECT, text)


def login_wanted(proxy: Proxy, phase: Phase) -> Fault:
    """What 407 means, which only a proxy says."""
    text = "wants a login" if proxy.user is None else "does not accept our login"
    return Fault(FaultKind.PROXY_DENIED, phase, f"the proxy {proxy} {text} (status 407)")


def turned_away(status: int, headers: Mapping[str, str], proxy: Proxy, target: str) -> Fault:
    """What a status beyond 2xx in answer to CONNECT means; headers in lower case."""

    def fault(kind: FaultKind, text: str) -> Fault:
        return Fault(kind, Phase.CONNECT, f"the proxy {proxy} {text} (status {status} to CONNECT)")

    if status == 407:
        return login_wanted(proxy, Phase.CONNECT)
    if status in (401, 403):
        return fault(FaultKind.PROXY_DENIED, f"does not allow connections to {target}")
    if status < 500:
        return fault(FaultKind.PROXY_UNFIT, f"does not connect us to {target}")
    kind = _unreached(status, headers)
    if kind is None:
        return fault(FaultKind.LOCAL, f"failed itself on the way to {target}")
    return fault(kind, f"could not reach {target}: {_WORDS[kind]}")


_WORDS = {
    FaultKind.REFUSED: "it refuses connections",
    FaultKind.TIMEOUT: "it did not answer in time",
    FaultKind.UNREACHABLE: "there is no way there, or no such name",
}
_SAID_BY_PROXY = {
    # The error parameter of Proxy-Status (RFC 9209, 2.3).
    "connection_refused": FaultKind.REFUSED,
    "connection_timeout": FaultKind.TIMEOUT,
    "dns_timeout": FaultKind.UNREACHABLE,
    "dns_error": FaultKind.UNREACHABLE,
    "destination_not_found": FaultKind.UNREACHABLE,
    "destination_unavailable": FaultKind.UNREACHABLE,
    "destination_ip_unroutable": FaultKind.UNREACHABLE,
    "connection_terminated": FaultKind.UNREACHABLE,
}
_SAID_BY_SQUID = {
    # Squid says 503 to nearly everything, and in X-Squid-Error why, with the errno behind it.
    "err_connect_fail 111": FaultKind.REFUSED,
    "err_connect_fail 110": FaultKind.TIMEOUT,
    "err_connect_fail": FaultKind.UNREACHABLE,
    "err_dns_fail": FaultKind.UNREACHABLE,
}


def _unreached(status: int, headers: Mapping[str, str]) -> FaultKind | None:
    """How the proxy failed to reach the target; None where it failed otherwise, or does not say."""
    error = re.search(r";\s*error=([a-z_]+)", headers.get("proxy-status", ""))
    if error is not None:
        return _SAID_BY_PROXY.get(error[1])
    squid = headers.get("x-squid-error", "")
    if squid:
        return next((kind for word, kind in _SAID_BY_SQUID.items() if squid.startswith(word)), None)
    return {502: FaultKind.UNREACHABLE, 504: FaultKind.TIMEOUT}.get(status)


class _Step(enum.Enum):
    GREETED = enum.auto()
    LOGGED_IN = enum.auto()
    ASKED = enum.auto()


class Socks(Way):
    """CONNECT of SOCKS5 (RFC 1928), with a user and password where there are any (RFC 1929)."""

    def __init__(self, proxy: Proxy, host: str, port: int) -> None:
        super().__init__(proxy, f"{host}:{port}")
        self._host = host
        self._port = port
        self._data = b""
        self._step = _Step.GREETED

    def begin(self) -> bytes:
        if len(self._host) > _LONGEST_HOST:
            text = f"{self._host} is not a name that can exist"
            raise Refused(Fault(FaultKind.NO_SUCH_NAME, Phase.DNS, text))
        return b"\x05\x01\x00" if self._proxy.user is None else b"\x05\x02\x00\x02"

    def _heard(self, data: bytes) -> bytes:
        self._data += data
        understand: Callable[[], bytes] = {
            _Step.GREETED: self._greeted,
            _Step.LOGGED_IN: self._logged_in,
            _Step.ASKED: self._answered,
        }[self._step]
        return understand()

    def broken(self, fault: Fault) -> Fault:
        if self._step is _Step.ASKED and fault.kind is FaultKind.TIMEOUT:
            # It has just talked to us, so it lives: what it waits for is the other end.
            text = f"the proxy {self._proxy} waited for {self._target} in vain: {fault.text}"
            return Fault(FaultKind.TIMEOUT, Phase.CONNECT, text)
        return unusable(fault, self._proxy)

    def _greeted(self) -> bytes:
        if self._data[:1] not in (b"", b"\x05"):
            raise self._refused(FaultKind.PROXY_UNFIT, "does not speak SOCKS5")
        if len(self._data) < 2:
            return b""
        method, self._data = self._data[1], self._data[2:]
        if method == 0:
            return self._ask()
        user = self._proxy.user
        if method == 2 and user is not None:
            self._step = _Step.LOGGED_IN
            return b"\x01" + _counted(user.encode()) + _counted(self._proxy.password.encode())
        if method == 0xFF:
            text = "wants a login" if user is None else "takes neither a user and password nor no login"
            raise self._refused(FaultKind.PROXY_DENIED, text)
        raise self._refused(FaultKind.PROXY_UNFIT, "wants a kind of login that we did not offer")

    def _logged_in(self) -> bytes:
        if len(self._data) < 2:
            return b""
        code, self._data = self._data[1], self._data[2:]
        if code:
            raise self._refused(FaultKind.PROXY_DENIED, "does not accept our login")
        return self._ask()

    def _ask(self) -> bytes:
        self._step = _Step.ASKED
        return b"\x05\x01\x00" + _address(self._host) + self._port.to_bytes(2, "big")

    def _answered(self) -> bytes:
        data = self._data
        if data[:1] not in (b"", b"\x05"):
            raise self._refused(FaultKind.PROXY_UNFIT, "does not speak SOCKS5")
        if len(data) >= 2 and data[1]:
            kind, text = _REPLIES.get(data[1], (FaultKind.LOCAL, "failed itself on the way to"))
            raise self._refused(kind, f"{text} {self._target} (SOCKS reply {data[1]})")
        if len(data) < 5:
            return b""
        lengths = {1: 4, 3: 1 + data[4], 4: 16}
        if data[3] not in lengths:
            raise self._refused(FaultKind.PROXY_UNFIT, "does not speak SOCKS5")
        end = 4 + lengths[data[3]] + 2
        if len(data) >= end:
            self.open, self.rest = True, data[end:]
        return b""

    def _refused(self, kind: FaultKind, text: str) -> Refused:
        return Refused(Fault(kind, Phase.CONNECT, f"the proxy {self._proxy} {text}"))


_REPLIES = {
    2: (FaultKind.PROXY_DENIED, "does not allow connections to"),
    3: (FaultKind.UNREACHABLE, "has no way to the network of"),
    4: (FaultKind.UNREACHABLE, "could not reach"),
    5: (FaultKind.REFUSED, "was refused by"),
    6: (FaultKind.TIMEOUT, "got no answer in time from"),
    7: (FaultKind.PROXY_UNFIT, "does not connect us to"),
    8: (FaultKind.PROXY_UNFIT, "does not know this kind of address:"),
}


def _address(host: str) -> bytes:
    """As SOCKS writes it. A name stays one: the proxy looks it up."""
    for kind, family in ((b"\x01", socket.AF_INET), (b"\x04", socket.AF_INET6)):
        try:
            return kind + socket.inet_pton(family, host)
        except OSError:
            continue
    return b"\x03" + _counted(host.encode("ascii"))


def _counted(data: bytes) -> bytes:
    return bytes((len(data),)) + data


def unusable(fault: Fault, proxy: Proxy) -> Fault:
    """A failure between us and the proxy: ours, whatever it is."""
    return Fault(FaultKind.LOCAL, fault.phase, f"no way through the proxy {proxy}: {fault.text}", fault.errno)
