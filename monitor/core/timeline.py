"""What came when, in one probe.

A `Timeline` is filled while a probe runs (transport marks the phases, the protocol marks
tokens) and is read-only afterwards. Stamps are seconds of a monotonic clock that cannot be
stepped; `offset_ms` turns one into milliseconds since the start of the probe.
"""

import enum
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


class Channel(enum.StrEnum):
    """Where generated text appeared. A refusal and a tool call's arguments are `OTHER`."""

    ANSWER = "answer"
    REASONING = "reasoning"
    OTHER = "other"


class Clock(enum.StrEnum):
    """Who stamped the received bytes: the kernel at arrival, or we when we read them."""

    KERNEL = "kernel"
    USER = "user"


@dataclass(slots=True)
class Token:
    """One event that carried non-empty generated text."""

    at: float
    """Monotonic seconds; the latest moment at which it can have arrived."""
    earliest: float
    """The earliest such moment; equal to `at` where the stamp is exact."""
    characters: int
    channel: Channel
    ended_read: bool
    """It was the last event of a network read, so its stamp belongs to it and no other."""


@dataclass(slots=True)
class Timeline:
    """Moments of one probe in monotonic seconds; None where it did not happen.

    `dns_s`, `connect_s` and `tls_s` are durations: what lies between two phases is time
    that we let pass ourselves (`own_s`) and is never counted as the provider's.
    """

    start: float
    dns_s: float | None = None
    connect_s: float | None = None
    tls_s: float | None = None
    peer: str | None = None
    """The address that took the connection; None where none did, and for a Unix socket."""
    own_s: float = 0.0
    asked_before_s: float = 0.0
    """So much of `own_s` the server took for an exchange before the one that is told of here."""
    held_up_s: float = 0.0
    """So long the program did not get round to anything while this was under way."""
    slack_s: float = 0.0
    """dns, connect and tls together took up to this much less: we may have looked late."""
    request_sent: float | None = None
    sending_s: float = 0.0
    """The last byte of the request went at `request_sent` or up to this much later."""
    headers: float | None = None
    first_byte: float | None = None
    """First byte of the body."""
    terminal: float | None = None
    """The protocol's terminal event."""
    end: float | None = None
    """Stamp of the terminal event, of the end of the body, or of the failure."""
    headers_earliest: float | None = None
    """The earliest moment at which `headers` can have been; equal to it where that is exact."""
    end_earliest: float | None = None
    """Likewise of `end`, for an answer that was read as a whole; None where nobody asks."""
    clock: Clock = Clock.USER
    gathered: bool = False
    """Bytes were left to gather before they were read, so gaps between tokens are bounds."""
    bounds: set[str] = field(default_factory=set)
    """Which of the moments and lengths above are only the latest, or the longest, that can be."""
    tokens: list[Token] = field(default_factory=list)
    peers: tuple[str, ...] = ()
    """The addresses that were tried, those of the proxy where there is one, or of the name server that is
    itself looked at; empty for a Unix socket, and before a name was found."""

    def stood(self) -> float:
        """The moment at which the connection stood and nothing had been said on it."""
        return self.start + self.own_s + (self.dns_s or 0.0) + (self.connect_s or 0.0) + (self.tls_s or 0.0)

    def first(self, channel: Channel | None = None) -> Token | None:
        """The first token of that channel, or of any."""
        if channel is None:
            return self.tokens[0] if self.tokens else None
        return next((token for token in self.tokens if token.channel is channel), None)

    def offset_ms(self, moment: float | None) -> float | None:
        """Milliseconds from the start of the probe to `moment`."""
        return None if moment is None else (moment - self.start) * 1000.0


# The stored form

_EXACT = 1
_BOUNDED = 2
_KERNEL = 0x80
_GATHERED = 0x40
_SHORT = 0x20
"""Of the usual sort (`_is_usual`): what follows from that is not stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Phases:
    """A finished timeline as it is stored and shown: milliseconds, None where it did not happen.

    `dns_ms`, `connect_ms`, `tls_ms` and `own_ms` are lengths; the others are offsets from the
    start of the probe.
    """

    dns_ms: float | None = None
    connect_ms: float | None = None
    tls_ms: float | None = None
    own_ms: float | None = None
    request_sent: float | None = None
    headers: float | None = None
    first_byte: float | None = None
    first_reasoning: float | None = None
    first_answer: float | None = None
    first_token: float | None = None
    last_token: float | None = None
    terminal: float | None = None
    end: float | None = None
    clock: Clock = Clock.USER
    gathered: bool = False
    """Bytes were left to gather, so gaps between tokens are only bounds."""
    bounds: frozenset[str] = frozenset()
    """Which of these are only the latest, or the longest, that can be; the others are exact."""


_FIELDS = (
    "dns_ms",
    "connect_ms",
    "tls_ms",
    "own_ms",
    "request_sent",
    "headers",
    "first_byte",
    "first_token",
    "first_reasoning",
    "first_answer",
    "last_token",
    "terminal",
    "end",
)


def phases(line: Timeline) -> Phases:
    """The moments of a finished probe."""
    reasoning, answer = line.first(Channel.REASONING), line.first(Channel.ANSWER)
    first, last = line.first(), line.tokens[-1] if line.tokens else None
    return Phases(
        dns_ms=_ms(line.dns_s),
        connect_ms=_ms(line.connect_s),
        tls_ms=_ms(line.tls_s),
        own_ms=_ms(line.own_s),
        request_sent=line.offset_ms(line.request_sent),
        headers=line.offset_ms(line.headers),
        first_byte=line.offset_ms(line.first_byte),
        first_reasoning=line.offset_ms(reasoning.at) if reasoning else None,
        first_answer=line.offset_ms(answer.at) if answer else None,
        first_token=line.offset_ms(first.at) if first else None,
        last_token=line.offset_ms(last.at) if last else None,
        terminal=line.offset_ms(line.terminal),
        end=line.offset_ms(line.end),
        clock=line.clock,
        gathered=line.gathered,
        bounds=frozenset(_bounds(line)),
    )


def _bounds(line: Timeline) -> Iterator[str]:
    last = line.tokens[-1] if line.tokens else None
    tokens = (
        ("first_token", line.first()),
        ("first_reasoning", line.first(Channel.REASONING)),
        ("first_answer", line.first(Channel.ANSWER)),
        ("last_token", last),
    )
    yield from line.bounds
    for name, token in tokens:
        if token is not None and token.earliest < token.at:
            yield name
    if line.end is not None and _is_end_unsure(line, line.end):
        yield "end"


def _is_end_unsure(line: Timeline, end: float) -> bool:
    if line.end_earliest is not None:
        return line.end_earliest < end
    return "terminal" in line.bounds and end == line.terminal


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000.0


_IMPLIED = {"first_answer": "first_token", "end": "terminal"}
_USUAL = frozenset(_FIELDS) - {"first_reasoning"}
_USUAL_BITS = sum(1 << bit for bit, name in enumerate(_FIELDS) if name in _USUAL)


def _is_usual(moments: Phases) -> bool:
    """A stream that answered without thinking aloud, and was over with its terminal event."""
    there = {name for name in _FIELDS if getattr(moments, name) is not None}
    return there == _USUAL and all(
        round(getattr(moments, name) * 1000.0) == round(getattr(moments, source) * 1000.0)
        for name, source in _IMPLIED.items()
    )


def pack(moments: Phases) -> bytes:
    """The stored blob: version, clock, a bit per field (but of the usual sort), the bounds if any, then
    microseconds as varints.

    An offset is stored as its distance from the one before, which keeps a stored probe small.
    """
    present, bounds, body, previous = 0, 0, bytearray(), 0
    usual = _is_usual(moments)
    for bit, name in enumerate(_FIELDS):
        value = getattr(moments, name)
        if value is None:
            continue
        present |= 1 << bit
        # The last ones first, for those are the usual ones and so fit into a byte.
        bounds |= (name in moments.bounds) << len(_FIELDS) - 1 - bit
        if usual and name in _IMPLIED:
            continue
        micros = round(value * 1000.0)
        if bit < 4:
            body += _varint(_zigzag(micros))
        else:
            body += _varint(_zigzag(micros - previous))
            previous = micros
    clock = _KERNEL if moments.clock is Clock.KERNEL else 0
    gathered = _GATHERED if moments.gathered else 0
    short = _SHORT if usual else 0
    head = bytes(((_BOUNDED if bounds else _EXACT) | clock | gathered | short,))
    head += b"" if usual else present.to_bytes(2, "little")
    return head + (_varint(bounds) if bounds else b"") + bytes(body)


def unpack(blob: bytes) -> Phases:
    """The inverse of `pack`, to the microsecond. Raises ValueError for an unknown version."""
    version = blob[0] & ~(_KERNEL | _GATHERED | _SHORT) if blob else 0
    if len(blob) < 3 or version not in (_EXACT, _BOUNDED):
        raise ValueError("a timeline of an unknown version")
    present, position = int.from_bytes(blob[1:3], "little"), 3
    usual = blob[0] & _SHORT
    if usual:
        present, position = _USUAL_BITS, 1
    bounds, position = _read_varint(blob, position) if version == _BOUNDED else (0, position)
    values: dict[str, Any] = {}
    previous = 0
    for bit, name in enumerate(_FIELDS):
        if not present >> bit & 1:
            continue
        if usual and name in _IMPLIED:
            values[name] = values[_IMPLIED[name]]
            continue
        raw, position = _read_varint(blob, position)
        micros = raw >> 1 ^ -(raw & 1)
        if bit >= 4:
            micros += previous
            previous = micros
        values[name] = micros / 1000.0
    return Phases(
        clock=Clock.KERNEL if blob[0] & _KERNEL else Clock.USER,
        gathered=bool(blob[0] & _GATHERED),
        bounds=frozenset(name for bit, name in enumerate(reversed(_FIELDS)) if bounds >> bit & 1),
        **values,
    )


def _zigzag(number: int) -> int:
    """Small numbers of either sign become small positive ones."""
    return number << 1 if number >= 0 else (-number << 1) - 1


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _read_varint(blob: bytes, position: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = blob[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, position
        shift += 7
