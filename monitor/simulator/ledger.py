"""What really happened: the ground truth that a monitor's figures are held against.

Moments are seconds of the system's monotonic clock, which all processes of a machine share,
taken just before the bytes were handed to the kernel.
"""

import asyncio
from collections import deque
from dataclasses import asdict, dataclass
from typing import Any

KEPT = 100_000
"""Requests that are remembered."""
PROMPT_KEPT = 120
"""Characters of a prompt that are remembered: enough for its nonce."""


@dataclass(slots=True, kw_only=True)
class Entry:
    """One request and what became of it. None: it did not happen, or not yet."""

    number: int
    request_id: str
    provider: str
    method: str
    path: str
    unix: float
    """When it was complete, in seconds since the epoch."""
    received: float
    """The same moment on the monotonic clock."""
    status: int | None = None
    """What was, or would have been, the status; None where the provider keeps silent."""
    model: str = ""
    prompt: str = ""
    head_sent: float | None = None
    first_token: float | None = None
    last_token: float | None = None
    tokens: int = 0
    """Generated tokens that were sent in visible text."""
    chunks: int = 0
    ended: float | None = None
    """When the reply was complete, or broken off."""
    left: bool = False
    """The client closed the connection before that."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class Ledger:
    """The requests in the order in which they came, and sums over them."""

    def __init__(self) -> None:
        self.entries: deque[Entry] = deque(maxlen=KEPT)
        self.requests = 0
        self.streams = 0
        self.chunks = 0
        self.timers = 0
        self.late_s = 0.0
        self.late_most_s = 0.0
        self._waiting: list[asyncio.Event] = []

    def open(self, entry: Entry) -> None:
        self.requests += 1
        self.entries.append(entry)
        self._tell()

    def closed(self, entry: Entry, now: float, *, left: bool) -> None:
        """Nothing more will be sent; `left` if it was the client who saw to that."""
        entry.ended, entry.left = now, left
        self._tell()

    async def change(self) -> None:
        """Wait until a request comes or ends."""
        event = asyncio.Event()
        self._waiting.append(event)
        await event.wait()

    def _tell(self) -> None:
        waiting, self._waiting = self._waiting, []
        for event in waiting:
            event.set()

    def sent(self, entry: Entry, now: float, tokens: int) -> None:
        """Bytes left for the client; `tokens` is what they carried."""
        if entry.head_sent is None:
            entry.head_sent = now
        if tokens:
            if entry.first_token is None:
                entry.first_token = now
                self.streams += 1
            entry.last_token = now
            entry.tokens += tokens
            entry.chunks += 1
            self.chunks += 1

    def woke(self, late_s: float) -> None:
        """A frame left that much after its time."""
        self.timers += 1
        self.late_s += late_s
        self.late_most_s = max(self.late_most_s, late_s)

    def since(self, number: int) -> list[Entry]:
        """The entries after that number, oldest first."""
        return [entry for entry in self.entries if entry.number > number]

    def figures(self) -> dict[str, Any]:
        """How much was served and how late it was, in milliseconds."""
        return {
            "requests": self.requests,
            "streams": self.streams,
            "chunks": self.chunks,
            "late_mean_ms": round(1000 * self.late_s / self.timers, 3) if self.timers else None,
            "late_most_ms": round(1000 * self.late_most_s, 3) if self.timers else None,
        }
