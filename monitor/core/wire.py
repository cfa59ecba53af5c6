"""What a protocol may ask of the network, and how the network says no.

A protocol drives a `Wire` and never sees a socket. The wire stamps what arrives; every
moment here is in seconds of the same monotonic clock as the timeline.
"""

import enum
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from monitor.core.timeline import Timeline


class Phase(enum.StrEnum):
    """How far a probe had come. Ordered as they happen."""

    DNS = "dns"
    CONNECT = "connect"
    TLS = "tls"
    REQUEST = "request"
    HEADERS = "headers"
    BODY = "body"


class FaultKind(enum.StrEnum):
    """What went wrong on the wire, whoever is to blame for it."""

    TIMEOUT = "timeout"
    """The limit of the phase, or the deadline of the probe, passed."""
    NO_SUCH_NAME = "no_such_name"
    RESOLVER = "resolver"
    """The name servers gave no usable answer (timeout, SERVFAIL, refused)."""
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    RESET = "reset"
    """The other side broke the connection off (RST, EPIPE)."""
    CLOSED = "closed"
    """The other side closed before the message was complete by its own framing."""
    CERTIFICATE = "certificate"
    TLS = "tls"
    MALFORMED = "malformed"
    """Bytes that are not HTTP."""
    TOO_LARGE = "too_large"
    """A line, the headers or the body exceeded our bounds."""
    LOCAL = "local"
    """Surely ours: no route at all, no address, no file descriptors, no memory, no way to our proxy."""
    PROXY_DENIED = "proxy_denied"
    """Our own proxy wants another login, or forbids us to go there."""
    PROXY_UNFIT = "proxy_unfit"
    """Our own proxy cannot do what we ask of it, or is none."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why an exchange ended early.

    `text` is in our words, for a person, without secrets; never an exception's own text.
    """

    kind: FaultKind
    phase: Phase
    text: str
    errno: int | None = None


class WireFault(Exception):
    """Raised by a wire; carries the `Fault` and the moment it was noticed."""

    def __init__(self, fault: Fault, at: float) -> None:
        super().__init__(fault.text)
        self.fault = fault
        self.at = at


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request. The wire adds `Host`, `Content-Length`, `Accept-Encoding: identity`
    and `Connection: close`; everything else is the protocol's to say.

    Raises nothing: the URL and the headers were checked when the config was loaded.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Arrival:
    """Bytes of a body, and when they reached this host."""

    data: bytes
    at: float
    """The latest moment at which any of these bytes can have come."""
    earliest: float
    """Lower bound of the moment at which the first of these bytes came; `at` where exact."""
    last: bool = True
    """The last of these bytes were the last of what was read, so `at` is theirs and no other's."""
    stamped: bool = True
    """`at` is the moment of arrival, not that of a read, which may have been late."""
    complete: bool = False
    """The answer ended with what was read, so that `at` is the moment of its end."""


class Moment(NamedTuple):
    """When something happened; monotonic seconds."""

    at: float
    """The latest that it can have been."""
    earliest: float
    """The earliest; `at` where that is exact."""


class Reply(Protocol):
    """The status line and headers came; the body may be read."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Names in lower case; repeated ones joined with `, `; text cleaned."""
        ...

    @property
    def certificate_days(self) -> float | None:
        """Days until the server's certificate expires; None without TLS."""
        ...

    @property
    def ended(self) -> Moment | None:
        """When the body was over, by its framing or because the other side closed; None until then."""
        ...

    async def read(self, until: float, gather_s: float = 0.0) -> Arrival | None:
        """The next bytes of the body; None at its proper end.

        Bytes may gather for `gather_s` before they are read, which costs less and leaves only
        the last of them with a stamp of their own; 0: each is read as it comes.
        Raises WireFault, with kind TIMEOUT when nothing came by `until` or by the deadline of
        the probe, whichever is sooner.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When a wire gives up. Moments and lengths in monotonic seconds, sizes in bytes."""

    deadline: float
    """Over everything, from the start of the probe."""
    connect_s: float
    """For dns, connect and tls together."""
    headers_s: float | None = None
    """From the last byte of the request sent to the headers; None: the deadline alone."""
    header_bytes: int = 64 * 1024
    body_bytes: int = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Whom to connect to."""

    host: str
    """A name or an address, without brackets."""
    port: int
    secure: bool = False
    """Shake hands over TLS, and verify whom we met."""
    server_name: str = ""
    """The name that its certificate has to be for; empty: the host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What a server showed us and we verified."""

    days: float
    """Until the first certificate of the chain expires."""
    first: str
    """Whose that is, e.g. `acme.example`."""
    issuer: str
    """Of the server's own certificate, e.g. `C=US, O=Let's Encrypt, CN=R11`."""
    version: str
    """Of TLS, e.g. `TLSv1.3`."""


class Link(Protocol):
    """A connection that stands, on which nobody has said anything yet."""

    @property
    def certificate(self) -> Certificate | None:
        """What the server showed; None without TLS."""
        ...

    @property
    def ended(self) -> Moment | None:
        """When the other side closed; None until then."""
        ...

    async def send(self, data: bytes) -> None:
        """Hand it all to the kernel. Raises WireFault."""
        ...

    async def read(self, until: float) -> Arrival | None:
        """The next bytes; None once the other side closed. Raises WireFault, as `Reply.read`."""
        ...


class Record(enum.StrEnum):
    """What can be asked of name servers."""

    A = "A"
    AAAA = "AAAA"
    CAA = "CAA"
    CNAME = "CNAME"
    MX = "MX"
    NS = "NS"
    PTR = "PTR"
    SOA = "SOA"
    SRV = "SRV"
    TXT = "TXT"


@dataclass(frozen=True, slots=True)
class Question:
    """What to ask name servers."""

    name: str
    record: Record
    server: str | None = None
    """`9.9.9.9:53` or `[2620:fe::fe]:53`; None: those of the system."""


class Wire(Protocol):
    """One fresh connection for one request, or for none."""

    def exchange(
        self, request: Request, timeline: Timeline, limits: Limits
    ) -> AbstractAsyncContextManager[Reply]:
        """Send the request, wait for the headers, mark the phases on the timeline.

        Entering raises WireFault. Leaving closes the connection, whatever happened.
        """
        ...

    def connect(self, place: Place, timeline: Timeline, limits: Limits) -> AbstractAsyncContextManager[Link]:
        """Connect, shake hands where that is wanted, and mark these phases and their end.

        Entering raises WireFault. Leaving closes the connection, whatever happened.
        """
        ...

    async def resolve(self, question: Question, timeline: Timeline, limits: Limits) -> tuple[str, ...]:
        """The records that the name servers have, at least one, each as people write it; marks the time.

        Text in them is cleaned. Raises WireFault in the phase DNS; its kind tells what was wrong.
        """
        ...
