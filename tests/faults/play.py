"""What a server of the catalogue does with one connection, as steps that it takes one after the other."""

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from monitor.core.outcome import Outcome
from tests.faults.voices import MODELS, Voice


class End(enum.Enum):
    """How the server ends it; a play without an end closes like a gentleman."""

    RESET = enum.auto()
    """RST instead of FIN."""
    HALF = enum.auto()
    """FIN, but the connection stays open for what the client has to say."""
    HANG = enum.auto()
    """Nothing more, until the client goes away."""
    RUDE = enum.auto()
    """FIN without the goodbye of TLS."""
    RUBBISH = enum.auto()
    """Bytes on the connection that are no record of TLS, then FIN."""


Step = bytes | float | End
"""Bytes to send, seconds to let pass, or the end."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What a play may look at."""

    voice: Voice
    request: bytes
    """All that the client sent; empty where nobody read it."""
    here: str
    """The address of this server, `127.0.0.1:4711`."""
    trap: str
    """The address of a server that nobody must ever ask."""

    @property
    def key(self) -> str:
        """The secret in the request's headers."""
        for line in self.request.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.lower() in (b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key"):
                return value.strip().decode().removeprefix("Bearer ")
        return ""


Play = Callable[[Scene], Iterable[Step]]


class When(enum.Enum):
    """How far it comes before the play begins."""

    NOBODY = enum.auto()
    """Nobody listens at all."""
    ACCEPT = enum.auto()
    """A connection stands, not a byte of which was read, nor any handshake done."""
    REQUEST = enum.auto()
    """The whole request was read."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One way to fail, and what it amounts to."""

    name: str
    play: Play
    outcome: Outcome | None = None
    """Over the protocols of language models; None: not played there."""
    plain: Outcome | None = None
    """Over plain HTTP; None: not played there."""
    says: str = ""
    """What the detail holds, so that a person can act on it."""
    says_plain: str = ""
    """The same over plain HTTP, where it differs."""
    models: tuple[str, ...] = MODELS
    """The protocols of language models that it is played over."""
    when: When = When.REQUEST
    certificate: str = ""
    """Which certificate the server shows, and that the client speaks TLS; empty: no TLS."""
    settings: str = ""
    """More of the endpoint's TOML."""
    before: Play | None = None
    """How it answers the first request, and then every other; the case itself is what it does in between."""
    host: str = ""
    """Instead of the server's address."""
    patient: bool = False
    """The endpoint waits longer than the others: so much is sent that a busy machine needs its time."""
    loose: bool = True
    """May be played at random, whatever was played before."""

    @property
    def slug(self) -> str:
        return "-".join("".join(c if c.isalnum() else " " for c in self.name).split())[:80]

    def over(self, protocol: str) -> Outcome | None:
        """The right outcome over that protocol; None: not played over it."""
        if protocol == "http":
            return self.plain
        return self.outcome if protocol in self.models else None

    def words(self, protocol: str) -> str:
        return self.says_plain or self.says if protocol == "http" else self.says
