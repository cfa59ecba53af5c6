"""HTTP/1.1 as bytes: one request out, one response in. No sockets and no clock in here."""

from collections.abc import Iterable

import httptools

from monitor.core.observation import clean
from monitor.core.wire import FaultKind

_OURS = frozenset({b"accept-encoding", b"connection", b"transfer-encoding"})
_NO_BODY = frozenset({101, 204, 304})
_OPENING = b"HTTP/"


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
        "_head_limit",
        "_head_size",
        "_idle_size",
        "_opening",
        "_parser",
        "_pieces",
        "_to_end",
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
        self._absurd = False
        """A status came that HTTP does not have."""
        self._to_end = False
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
            parser.feed_data(data)
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

    def _open(self, data: bytes | memoryview) -> None:
        """The parser would take RTSP and ICE too."""
        begun = self._opening + bytes(data[: 2 * len(_OPENING)])
        self._opening = begun.lstrip(b"\r\n")[: len(_OPENING)]
        if not _OPENING.startswith(self._opening):
            raise BadAnswer(FaultKind.MALFORMED, self._nonsense())

    def end(self) -> bool:
        """No more bytes will come; whether the message is complete with that."""
        self.complete = self.complete or (self.status is not None and self._to_end)
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
        self._to_end = _ends_with_connection(self.headers)
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


def _ends_with_connection(headers: list[tuple[bytes, bytes]]) -> bool:
    """The body has neither length nor chunks, so it lasts until the server closes (RFC 9112, 6.3)."""
    coding = None
    sized = False
    for name, value in headers:
        lowered = name.lower()
        if lowered == b"transfer-encoding":
            coding = value
        elif lowered == b"content-length":
            sized = True
    if coding is not None:
        return coding.rpartition(b",")[2].strip().lower() != b"chunked"
    return not sized
