"""Server-sent events from bytes, however the network cut them.

The grammar is WHATWG's, with three liberties that servers in the wild need: an event at the
end of the stream counts without its blank line, a field `error` is an event of that name
(llama.cpp before autumn 2025), and everything is bounded. Works on bytes, so that a character
or a line end may be cut in two and U+2028 is not a line end.
"""

from typing import NamedTuple

BOM = b"\xef\xbb\xbf"
MAX_LINE = 256 * 1024
MAX_EVENT = 1024 * 1024


class Event(NamedTuple):
    """One event; `name` is empty where the stream named none. Bytes that are not UTF-8 became U+FFFD."""

    name: str
    data: str


class Parser:
    """Feed it bytes, take the events that became complete. Sizes are in bytes.

    When a line or an event exceeds its bound, `too_large` says so and nothing more is parsed.
    """

    __slots__ = (
        "_after_cr", "_at_start", "_data", "_max_event", "_max_line", "_name", "_partial", "_partial_size",
        "_size", "comments", "settled", "too_large",
    )  # fmt: skip

    def __init__(self, *, max_line: int = MAX_LINE, max_event: int = MAX_EVENT) -> None:
        self._max_line = max_line
        self._max_event = max_event
        self._partial: list[bytes] = []
        self._partial_size = 0
        self._after_cr = False
        self._at_start = True
        self._name = b""
        self._data: list[bytes] = []
        self._size = 0
        self.comments = 0
        """Comment lines so far: what servers send to keep a connection alive."""
        self.settled = True
        """Nothing followed the last event of the last feed, so that feed's stamp is the event's own."""
        self.too_large: str | None = None
        """Which bound was exceeded, in words; None while all is well."""

    def feed(self, data: bytes) -> list[Event]:
        """The events that these bytes completed, in order."""
        if self.too_large is not None or not data:
            return []
        if self._after_cr or b"\r" in data:
            data = self._plain(data)
        lines = data.split(b"\n")
        rest = lines.pop()
        if lines and self._partial:
            self._partial.append(lines[0])
            lines[0] = b"".join(self._partial)
            self._partial.clear()
            self._partial_size = 0
        events = self._take(lines)
        if rest:
            self._keep(rest)
        return events

    def close(self) -> list[Event]:
        """The last event, where the stream ended without a blank line after it."""
        if self.too_large is not None:
            return []
        rest = b"".join(self._partial)
        self._partial.clear()
        return self._take([rest, b""] if rest else [b""])

    def _plain(self, data: bytes) -> bytes:
        """The same bytes with CR and CRLF as LF. A CR ends its line at once, an LF after it is dropped."""
        if self._after_cr and data.startswith(b"\n"):
            data = data[1:]
        self._after_cr = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _keep(self, rest: bytes) -> None:
        self.settled = False
        self._partial.append(rest)
        self._partial_size += len(rest)
        if self._partial_size > self._max_line and self.too_large is None:
            self.too_large = f"a line of the stream is over {self._max_line} bytes"

    def _take(self, lines: list[bytes]) -> list[Event]:
        events: list[Event] = []
        if lines and self._at_start:
            self._at_start = False
            if len(lines[0]) <= self._max_line:
                lines[0] = lines[0].removeprefix(BOM)
        for line in lines:
            if not line:
                if self._data:
                    events.append(self._dispatch())
                self._name = b""
                continue
            self.settled = False
            if len(line) > self._max_line:
                self.too_large = f"a line of the stream is over {self._max_line} bytes"
                return events
            if line.startswith(b"data: "):
                self._append(line[6:])
            elif line.startswith(b":"):
                self.comments += 1
            else:
                self._field(line)
            if self._size > self._max_event:
                self.too_large = f"an event of the stream is over {self._max_event} bytes"
                return events
        return events

    def _dispatch(self) -> Event:
        data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
        self._data.clear()
        self._size = 0
        self.settled = True
        return Event(self._name.decode("utf-8", "replace"), data.decode("utf-8", "replace"))

    def _append(self, value: bytes) -> None:
        self._data.append(value)
        self._size += len(value) + 1

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._append(value)
        elif name == b"event":
            self._name = value
        elif name == b"error":
            self._name = b"error"
            self._append(value)
