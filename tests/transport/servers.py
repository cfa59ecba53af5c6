"""Servers on loopback that misbehave in one way each, and a client that reports what it saw."""

import contextlib
import datetime as dt
import ipaddress
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from monitor.clock import monotonic
from monitor.core.timeline import Timeline
from monitor.core.wire import Limits, Request, Wire, WireFault


class Peer:
    """One accepted connection, from the server's side."""

    def __init__(self, sock: socket.socket, stopping: threading.Event) -> None:
        self.sock = sock
        self._stopping = stopping

    def request(self) -> bytes:
        """Read one whole request: its head, and the body that `Content-Length` announces."""
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._more()
        head, _, body = data.partition(b"\r\n\r\n")
        for line in head.split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                while len(body) < int(value):
                    body += self._more()
        return head + b"\r\n\r\n" + body

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def reset(self) -> None:
        """Break off with RST instead of FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def pause(self, seconds: float) -> None:
        """Let time pass, but no longer than the test runs."""
        self._stopping.wait(seconds)

    @property
    def stopping(self) -> bool:
        return self._stopping.is_set()

    def hang(self) -> None:
        """Say nothing more until the test is over."""
        self._stopping.wait(30)

    def exactly(self, size: int) -> bytes:
        """So many bytes."""
        data = b""
        while len(data) < size:
            piece = self.sock.recv(size - len(data))
            if not piece:
                raise ConnectionError("the client went away")
            data += piece
        return data

    def until_closed(self) -> None:
        """Wait for the client to go away."""
        self.sock.settimeout(30)
        while self.sock.recv(65536):
            pass

    def _more(self) -> bytes:
        data = self.sock.recv(65536)
        if not data:
            raise ConnectionError("the client went away")
        return data


Script = Callable[[Peer], None]


class Server:
    """Plays a script for each connection, in a thread of its own."""

    def __init__(
        self,
        script: Script,
        *,
        family: socket.AddressFamily = socket.AF_INET,
        context: ssl.SSLContext | None = None,
        port: int = 0,
        path: Path | None = None,
    ) -> None:
        """With a `path` it listens on that Unix socket instead."""
        self._script = script
        self._context = context
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self.host = "::1" if family is socket.AF_INET6 else "127.0.0.1"
        if path is not None:
            family = socket.AF_UNIX
        self._listener = socket.socket(family, socket.SOCK_STREAM)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family is socket.AF_INET6:
            self._listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        self._listener.bind((self.host, port) if path is None else str(path))
        self._listener.listen(256)
        self._is_tcp = path is None
        self.port: int = self._listener.getsockname()[1] if path is None else 8000
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def url(self, path: str = "/", host: str | None = None) -> str:
        scheme = "http" if self._context is None else "https"
        shown = host or (f"[{self.host}]" if ":" in self.host else self.host)
        return f"{scheme}://{shown}:{self.port}{path}"

    def close(self) -> None:
        self._stopping.set()
        # Wakes the accept, which a mere close would not.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join(5)
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            if self._is_tcp:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            thread = threading.Thread(target=self._play, args=(sock,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _play(self, sock: socket.socket) -> None:
        # The client going away in the middle is what many of these tests are about.
        with contextlib.suppress(OSError), sock:
            if self._context is None:
                self._script(Peer(sock, self._stopping))
                return
            with self._context.wrap_socket(sock, server_side=True) as wrapped:
                self._script(Peer(wrapped, self._stopping))


def answers(*pieces: bytes) -> Script:
    """Read the request, send these pieces as they stand, close."""

    def script(peer: Peer) -> None:
        peer.request()
        for piece in pieces:
            peer.send(piece)

    return script


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


# Names


@dataclass
class Zone:
    """What the name server says of one name."""

    a: list[str] = field(default_factory=list)
    aaaa: list[str] = field(default_factory=list)
    code: int = 0
    """3: no such name; 2: the server failed; 5: refused."""
    silent: bool = False
    after_s: float = 0.0
    """So long it thinks; about other names it cannot be asked meanwhile."""


class NameServer:
    """A name server on UDP that knows a few names; every answer may be kept for five minutes."""

    def __init__(self) -> None:
        self.names: dict[str, Zone] = {}
        self.asked: list[str] = []
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._sock.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"", self._sock.getsockname())
        self._thread.join(5)
        self._sock.close()

    def _serve(self) -> None:
        while True:
            query, client = self._sock.recvfrom(512)
            if not query:
                return
            answer = self._answer(query)
            if answer is not None:
                self._sock.sendto(answer, client)

    def _answer(self, query: bytes) -> bytes | None:
        labels = []
        at = 12
        while query[at]:
            labels.append(query[at + 1 : at + 1 + query[at]].decode())
            at += query[at] + 1
        name = ".".join(labels).lower()
        kind = int.from_bytes(query[at + 1 : at + 3], "big")
        self.asked.append(name)
        zone = self.names.get(name, Zone(code=3))
        time.sleep(zone.after_s)
        if zone.silent:
            return None
        records = b""
        count = 0
        wanted = {1: (zone.a, socket.AF_INET), 28: (zone.aaaa, socket.AF_INET6)}
        addresses, family = wanted.get(kind, ([], socket.AF_INET))
        for address in addresses:
            data = socket.inet_pton(family, address)
            records += b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 300, len(data)) + data
            count += 1
        head = query[:2] + struct.pack(">HHHHH", 0x8180 | zone.code, 1, count, 0, 0)
        return head + query[12 : at + 5] + records


# Certificates


@dataclass(frozen=True)
class Certificates:
    """Contexts of servers whose certificates are good or bad in one way, and who vouches for the good."""

    authority: Path
    good: ssl.SSLContext
    expired: ssl.SSLContext
    not_yet: ssl.SSLContext
    other_host: ssl.SSLContext
    self_signed: ssl.SSLContext
    stranger: ssl.SSLContext
    """Issued by an authority that nobody trusts."""
    chain: ssl.SSLContext
    """Issued by an intermediate authority, which holds for `INTERMEDIATE_FOR`, and comes with it."""
    chain_cut: ssl.SSLContext
    """The same without it."""
    chain_expired: ssl.SSLContext
    """Good itself, but the intermediate authority has expired."""


GOOD_FOR = dt.timedelta(days=30)
INTERMEDIATE_FOR = dt.timedelta(days=9)


def make_certificates(folder: Path) -> Certificates:
    """Write them into the folder."""
    mint = _Mint(folder)
    return Certificates(
        authority=mint.authority_file,
        good=mint.context("good"),
        expired=mint.context("expired", start=-3, end=-1),
        not_yet=mint.context("not_yet", start=1, end=3),
        other_host=mint.context("other_host", names=["other.example"], addresses=[]),
        self_signed=mint.context("self_signed", issuer="self"),
        stranger=mint.context("stranger", issuer="stranger"),
        chain=mint.context("chain", between=INTERMEDIATE_FOR.days),
        chain_cut=mint.context("chain_cut", between=INTERMEDIATE_FOR.days, cut=True),
        chain_expired=mint.context("chain_expired", between=-0.5),
    )


class _Mint:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._now = dt.datetime.now(dt.UTC)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("Test Authority")
        self._stranger = ec.generate_private_key(ec.SECP256R1())
        root = (
            self._builder(self._name, self._name, self._key, -1, 3650)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.authority_file = folder / "authority.pem"
        self.authority_file.write_bytes(root.public_bytes(serialization.Encoding.PEM))

    def context(
        self,
        label: str,
        *,
        start: float = -1,
        end: float = GOOD_FOR.days,
        names: list[str] | None = None,
        addresses: list[str] | None = None,
        issuer: str = "authority",
        between: float | None = None,
        cut: bool = False,
    ) -> ssl.SSLContext:
        """`between`: an intermediate authority that holds for so many days; `cut`: which is not sent."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name(label)
        signer = {"authority": self._key, "stranger": self._stranger, "self": key}[issuer]
        by = {"authority": self._name, "stranger": _name("Somebody Else"), "self": subject}[issuer]
        more = b""
        if between is not None:
            signer, by, sent = self._intermediate(label, between)
            more = b"" if cut else sent
        known: list[x509.GeneralName] = [x509.DNSName(name) for name in names or ["localhost", "good.test"]]
        shown = ["127.0.0.1", "::1"] if addresses is None else addresses
        known += [x509.IPAddress(ipaddress.ip_address(address)) for address in shown]
        certificate = (
            self._builder(subject, by, key, start, end)
            .add_extension(x509.SubjectAlternativeName(known), critical=False)
            .sign(signer, hashes.SHA256())
        )
        path = self._folder / f"{label}.pem"
        path.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + more
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context

    def _intermediate(self, label: str, end: float) -> tuple[ec.EllipticCurvePrivateKey, x509.Name, bytes]:
        key, name = ec.generate_private_key(ec.SECP256R1()), _name(f"Between {label}")
        certificate = (
            self._builder(name, self._name, key, -2, end)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        return key, name, certificate.public_bytes(serialization.Encoding.PEM)

    def _builder(
        self,
        subject: x509.Name,
        issuer: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        start: float,
        end: float,
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._now + dt.timedelta(days=start))
            .not_valid_after(self._now + dt.timedelta(days=end))
        )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


# The client


@dataclass
class Seen:
    """What one exchange brought."""

    timeline: Timeline
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    pieces: list[tuple[float, bytes]] = field(default_factory=list)
    certificate_days: float | None = None
    fault: WireFault | None = None
    took: float = 0.0

    @property
    def kind(self) -> str | None:
        return None if self.fault is None else str(self.fault.fault.kind)

    @property
    def phase(self) -> str | None:
        return None if self.fault is None else str(self.fault.fault.phase)

    @property
    def text(self) -> str:
        return "" if self.fault is None else self.fault.fault.text


async def look(
    wire: Wire,
    url: str,
    *,
    method: str = "GET",
    headers: dict[str, str] | None = None,
    body: bytes = b"",
    deadline: float = 10.0,
    connect_s: float = 5.0,
    headers_s: float | None = None,
    until: float | None = None,
    header_bytes: int = 64 * 1024,
    body_bytes: int = 8 * 1024 * 1024,
) -> Seen:
    """One exchange, read to its end; `deadline` and `until` in seconds from now."""
    start = monotonic()
    seen = Seen(Timeline(start))
    limits = Limits(
        deadline=start + deadline,
        connect_s=connect_s,
        headers_s=headers_s,
        header_bytes=header_bytes,
        body_bytes=body_bytes,
    )
    try:
        async with wire.exchange(Request(method, url, headers or {}, body), seen.timeline, limits) as reply:
            seen.status = reply.status
            seen.headers = dict(reply.headers)
            seen.certificate_days = reply.certificate_days
            while (arrival := await reply.read(start + (until or deadline))) is not None:
                assert arrival.earliest <= arrival.at <= monotonic()
                seen.pieces.append((arrival.at, arrival.data))
    except WireFault as fault:
        seen.fault = fault
    seen.took = monotonic() - start
    seen.body = b"".join(data for _, data in seen.pieces)
    return seen
