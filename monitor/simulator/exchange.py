"""A request as it came, and a reply as it is to be played.

A reply is decided at once and played over time: frames of bytes, each with the moment
before which it must not leave, and how the connection ends after the last one.
"""

import enum
import http
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from monitor.simulator.profile import Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request as a connection heard it."""

    method: str
    target: str
    """Path and query."""
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    keep_alive: bool
    """The client wants the connection to live on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request, and what makes its reply unlike the next one's."""

    id: str
    """The `x-request-id` of its reply; the log has it too."""
    seed: int
    """From the provider and its count of requests, so that a run can be repeated."""
    unix: int
    """When it came, in seconds since the epoch."""
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    keep_alive: bool


class Frame(NamedTuple):
    """Bytes of one write."""

    at: float
    """Seconds after the request was complete; never sent sooner, nor before the frame ahead."""
    data: bytes
    tokens: int = 0
    """Generated tokens, of any channel, that it carries."""


class Ending(enum.Enum):
    """What becomes of the connection after the last frame."""

    COMPLETE = "complete"
    """The message is whole; the connection lives on if the client wants it to."""
    CLOSE = "close"
    """FIN."""
    RESET = "reset"
    """RST."""
    HANG = "hang"
    """Nothing: it stays open until the client leaves."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What to send. `status` is None where no answer will come."""

    status: int | None
    frames: Iterator[Frame]
    ending: Ending = Ending.COMPLETE


def head(request: Request, status: int, headers: Iterable[tuple[str, str]]) -> bytes:
    """Status line and headers, with those that every reply of the simulator has."""
    lines = [f"HTTP/1.1 {status} {_phrase(status)}"]
    lines += (f"{name}: {value}" for name, value in headers)
    lines += (
        f"x-request-id: {request.id}",
        "x-simulated: true",
        "server: uptoken-simulator",
        f"connection: {'keep-alive' if request.keep_alive else 'close'}",
    )
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


def _phrase(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return "Site is overloaded" if status == 529 else "Unknown"


def whole(request: Request, answer: Refusal, at: float = 0.0) -> Reply:
    """A reply in one piece, `at` seconds after the request."""
    body = answer.body.encode()
    headers = [("content-type", answer.content_type), ("content-length", str(len(body)))]
    data = head(request, answer.status, [*headers, *answer.headers])
    return Reply(answer.status, iter([Frame(at, data if request.method == "HEAD" else data + body)]))


def chunked(frames: Iterable[Frame]) -> Iterator[Frame]:
    """The same frames in HTTP's chunked framing, without the chunk that ends it."""
    for at, data, tokens in frames:
        yield Frame(at, b"%x\r\n%b\r\n" % (len(data), data), tokens)


LAST_CHUNK = Frame(0.0, b"0\r\n\r\n")


def dribbled(reply: Reply, every_s: float) -> Reply:
    """The same bytes one at a time."""
    data = (frame.data[n : n + 1] for frame in reply.frames for n in range(len(frame.data)))
    frames = (Frame(n * every_s, byte) for n, byte in enumerate(data))
    return Reply(reply.status, frames, reply.ending)
