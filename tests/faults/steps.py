"""Words that plays are written in."""

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tests.faults.play import Play, Scene, Step
from tests.faults.voices import ANSWER, Voice

Voiced = Callable[[Voice], bytes]
Piece = Step | Voiced
Shared = dict[str, Any]
"""What several cases have in common, by the names of their fields."""

TICK = 0.02
"""Seconds between two pieces that must not reach the client as one."""


def head(status: str = "200 OK", *lines: str, kind: str = "text/event-stream") -> bytes:
    """The head of an answer; without a line on its length it lasts until the server closes."""
    return "\r\n".join([f"HTTP/1.1 {status}", f"Content-Type: {kind}", *lines, "", ""]).encode("latin-1")


def page(status: str, body: bytes | str, *lines: str, kind: str = "application/json") -> bytes:
    """A whole answer with its length."""
    data = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else body
    return head(status, f"Content-Length: {len(data)}", *lines, kind=kind) + data


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


CHUNKED = head("200 OK", "Transfer-Encoding: chunked")
HEAD = head()


def says(*pieces: Piece) -> Play:
    """These pieces one after the other, each as it is or as the voice has it."""

    def play(scene: Scene) -> Iterator[Step]:
        for piece in pieces:
            yield piece(scene.voice) if callable(piece) else piece

    return play


def for_ever(piece: Piece, pause: float = 0.0, *, after: Iterable[Piece] = ()) -> Play:
    """`after` once, then that piece over and over."""

    def play(scene: Scene) -> Iterator[Step]:
        yield from says(*after)(scene)
        data = piece(scene.voice) if callable(piece) else piece
        while True:
            yield data
            if pause:
                yield pause

    return play


def drop_by_drop(data: bytes, pause: float) -> Play:
    """One byte at a time."""

    def play(scene: Scene) -> Iterator[Step]:
        for at in range(len(data)):
            yield data[at : at + 1]
            yield pause

    return play


def good(voice: Voice) -> bytes:
    """A whole good answer, without its head."""
    return voice.answer()


def start(voice: Voice) -> bytes:
    return voice.start()


def nothing(voice: Voice) -> bytes:
    return voice.nothing()


def call(voice: Voice) -> bytes:
    return voice.call()


def bare_call(voice: Voice) -> bytes:
    return voice.bare_call()


def nonsense(voice: Voice) -> bytes:
    return voice.nonsense()


def begun(voice: Voice) -> bytes:
    """A good answer up to its second piece of text."""
    return voice.start() + voice.text(ANSWER[0]) + voice.text(ANSWER[1])


def stream(*pieces: Piece) -> Play:
    """The head of a stream, and these pieces."""
    return says(HEAD, *pieces)


def refusal(status: str, body: object, *lines: str) -> Play:
    """A status with that JSON, or that text."""
    text = body if isinstance(body, str | bytes) else json.dumps(body)
    return says(page(status, text, *lines))
