"""Bytes without a protocol, as they come: what `Response` is to HTTP."""

from monitor.core.wire import FaultKind
from monitor.transport.http1 import BadAnswer


class Raw:
    """What came so far. It has no status, and ends where the other side closes."""

    __slots__ = ("_limit", "_pieces", "_size", "complete", "headers", "status")

    def __init__(self, limit: int) -> None:
        self.status: int | None = None
        self.headers: list[tuple[bytes, bytes]] = []
        self.complete = False
        self._limit = limit
        self._size = 0
        self._pieces: list[bytes] = []

    def feed(self, data: bytes | memoryview) -> None:
        """Take the next bytes. Raises BadAnswer beyond the limit."""
        self._size += len(data)
        if self._size > self._limit:
            raise BadAnswer(FaultKind.TOO_LARGE, f"more than {self._limit} bytes")
        if data:
            self._pieces.append(bytes(data))

    def end(self) -> bool:
        """No more bytes will come, and that is a proper end."""
        self.complete = True
        return True

    def take(self) -> bytes:
        """The bytes that came since the last time."""
        pieces, self._pieces = self._pieces, []
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)
