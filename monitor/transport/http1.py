"""HTTP/1.1 as bytes: one request out, one response in. No sockets and no clock in here."""

import enum
import re
from collections.abc import Iterable

import httptools

from monitor.core.observation import clean
from monitor.core.wire import FaultKind

_OURS = frozenset({b"accept-encoding", b"connection", b"transfer-encoding"})
_NO_BODY = frozenset({101, 204, 304})
_OPENING = b"HTTP/"
_HEAD_END = b"\r\n\r\n"
_EXTENSION = re.compile(rb"(?:\A|(?<=\n))[0-9A-Fa-f]{0,16}[ \t]*;")
"""What may be the size of a chunk, up to the semicolon of its extension."""
_GUESSES = 32
"""So many lines of a text may look like one and be none before they are no longer looked at."""


class _Framing(enum.Enum):
    """What tells where a body ends (RFC 9112, 6.3)."""

    LENGTH = "length"
    CHUNKS = "chunks"
    CLOSE = "close"


class BadAnswer(Exception):
    """The response is not HTTP, or exceeds our bounds. `text` is in our words."""

    def __init__(self, kind: FaultKind, text: str) -> None:
        super().__init__(text)
        self.kind = kind
        self.text = text


def request_bytes(method: str, target: bytes, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> bytes:
    """A request that asks for no compression and for no second one on this connection.

    Raises ValueError if a line break hides in it: that would be a second header, or request.
    """
    lines = [b"%b %b HTTP/1.1" % (method.encode("ascii"), target)]
    lines += [b"%b: %b" % (name, value) for name, value in headers if name.lower() not in _OURS]
    lines += [b"Accept-Encoding: identity", b"Connection: close", b"", b""]
    head = b"\r\n".join(lines)
    if head.count(b"\n") != len(lines) - 1 or head.count(b"\r") != len(lines) - 1 or b"\0" in head:
        raise ValueError("a request line or header contains a control character")
    return head + body


class Response:
    """What came so far. Feed it bytes as they come, and say when there are no more.

    Interim responses (100, 103) are passed over. Bytes after the message are none of ours.
    """

    __slots__ = (
        "_absurd",
        "_body_limit",
        "_body_size",
        "_extended",
        "_framing",
        "_head_limit",
        "_head_size",
        "_idle_size",
        "_in_extension",
        "_opening",
        "_parser",
        "_pieces",
        "_wary",
        "_without_body",
        "complete",
        "headers",
        "status",
    )

    def __init__(self, method: str, head_limit: int, body_limit: int) -> None:
        self.status: int | None = None
        """Of the final response, once its headers are complete."""
        self.headers: list[tuple[bytes, bytes]] = []
        self.complete = False
        """The message ended by its own framing."""
        self._without_body = method == "HEAD"
        self._framing: _Framing | None = None
        """Known once the headers are."""
        self._wary = True
        """The extension of a chunk may come."""
        self._extended = self._in_extension = False
        """One has come; and it is not over yet."""
        self._absurd = False
        """A status came that HTTP does not have."""
        self._head_limit = head_limit
        self._head_size = 0
        self._body_limit = body_limit
        self._body_size = 0
        self._idle_size = 0
        self._opening = b""
        self._pieces: list[bytes] = []
        parser = httptools.HttpResponseParser(self)
        # Forms that browsers and curl accept: to call them broken would be a false alarm.
        parser.set_dangerous_leniencies(
            lenient_chunked_length=True,
            lenient_keep_alive=True,
            lenient_optional_cr_before_lf=True,
            lenient_spaces_after_chunk_size=True,
        )
        self._parser: httptools.HttpResponseParser | None = parser

    def feed(self, data: bytes | memoryview) -> None:
        """Take the next bytes. Raises BadAnswer; what was understood before that can still be taken."""
        parser = self._parser
        if parser is None:
            return
        self._idle_size += len(data)
        if len(self._opening) < len(_OPENING):
            self._open(data)
        try:
            self._parse(parser, data)
        except httptools.HttpParserCallbackError:
            raise  # a bug of ours
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            if not self.complete:
                raise BadAnswer(FaultKind.MALFORMED, self._nonsense()) from None
        if self._absurd:
            raise BadAnswer(FaultKind.MALFORMED, self._nonsense())
        if self.complete:
            self._parser = None  # it knows us and we know it: a cycle
            self._idle_size = 0
        if self._idle_size > self._head_limit or self._head_size > self._head_limit:
            raise BadAnswer(FaultKind.TOO_LARGE, f"more than {self._head_limit} bytes of headers")
        if self._body_size > self._body_limit:
            raise BadAnswer(FaultKind.TOO_LARGE, f"a body of more than {self._body_limit} bytes")

    def _parse(self, parser: httptools.HttpResponseParser, data: bytes | memoryview) -> None:
        """Feed the parser, but for the extensions of chunks: blanks in them it takes for an offence."""
        if not self._wary:
            parser.feed_data(data)
            return
        text, at = bytes(data), 0
        if self._framing is None and text[:1] in b"\r\n":  # the end of the headers may have been cut in two
            at = len(text) - len(text.lstrip(b"\r\n"))
            parser.feed_data(text[:at])
        while self._framing is None and (end := text.find(_HEAD_END, at)) >= 0:
            parser.feed_data(text[at : end + len(_HEAD_END)])
            at = end + len(_HEAD_END)
        self._past_extensions(parser, text, at)
        # Who writes extensions does so from the first chunk on.
        begun = self._body_size > 0 or self._framing not in (None, _Framing.CHUNKS)
        self._wary = self._extended or not begun

    def _past_extensions(self, parser: httptools.HttpResponseParser, text: bytes, at: int) -> None:
        """Feed the parser with the rest of the text, each extension being `x`."""
        guesses = _GUESSES if self._framing in (None, _Framing.CHUNKS) and b";" in text else 0
        while at < len(text):
            if self._in_extension:
                end = text.find(b"\n", at)
                if end < 0:
                    return
                parser.feed_data(b"x\r\n")
                self._in_extension, at = False, end + 1
            found = _EXTENSION.search(text, at) if guesses else None
            if found is None:
                parser.feed_data(text[at:])
                return
            parser.feed_data(text[at : found.end() - 1])
            size = self._body_size
            parser.feed_data(b";")
            at = found.end()
            if self._framing is _Framing.CHUNKS and self._body_size == size and not self.complete:
                self._extended = self._in_extension = True
            else:
                guesses -= 1

    def _open(self, data: bytes | memoryview) -> None:
        """The parser would take RTSP and ICE too."""
        begun = self._opening + bytes(data[: 2 * len(_OPENING)])
        self._opening = begun.lstrip(b"\r\n")[: len(_OPENING)]
        if not _OPENING.startswith(self._opening):
            raise BadAnswer(FaultKind.MALFORMED, self._nonsense())

    def end(self) -> bool:
        """No more bytes will come; whether the message is complete with that."""
        self.complete = self.complete or self._framing is _Framing.CLOSE
        self._parser = None
        return self.complete

    def take(self) -> bytes:
        """The body bytes that came since the last time."""
        pieces = self._pieces
        if not pieces:
            return b""
        self._pieces = []
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def on_header(self, name: bytes, value: bytes) -> None:
        """For httptools: also called for trailers, which say nothing that we ask for."""
        if self.status is None:
            self._head_size += len(name) + len(value) + 4
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """For httptools."""
        parser = self._parser
        assert parser is not None
        status = parser.get_status_code()
        if self.status is not None:
            return
        if status < 200 and status != 101:
            self.headers = []
            self._absurd = self._absurd or status < 100
            return
        self.status = status
        self._idle_size = 0
        self._framing = _framing(self.headers)
        self.complete = self._without_body or status in _NO_BODY

    def on_body(self, data: bytes) -> None:
        """For httptools."""
        if not self.complete:
            self._idle_size = 0
            self._body_size += len(data)
            if self._body_size <= self._body_limit:
                self._pieces.append(data)

    def on_message_complete(self) -> None:
        """For httptools: fires for interim responses too, and those are not the message."""
        if self.status is not None:
            self.complete = True

    def _nonsense(self) -> str:
        if self.status is None:
            return "the answer is not HTTP"
        return "the answer's body breaks the rules of HTTP"


def readable(raw: list[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers as a `Reply` gives them: names in lower case, repeated ones joined, text cleaned."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in raw:
        name = clean(raw_name.decode("latin-1").lower())
        value = clean(raw_value.decode("latin-1"))
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _framing(headers: list[tuple[bytes, bytes]]) -> _Framing:
    coding = None
    sized = False
    for name, value in headers:
        lowered = name.lower()
        if lowered == b"transfer-encoding":
            coding = value
        elif lowered == b"content-length":
            sized = True
    if coding is not None:
        chunked = coding.rpartition(b",")[2].strip().lower() == b"chunked"
        return _Framing.CHUNKS if chunked else _Framing.CLOSE
    return _Framing.LENGTH if sized else _Framing.CLOSE
