"""What went over the wire in one exchange, as far as it may be wanted as evidence.

It is filled for every probe, and looked at only where one failed: so it keeps little, and
nothing in it is understood, cleaned or blotted out yet.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from monitor.core.wire import Arrival

MOST_READS = 50
"""Reads that are kept from the beginning, and again from the end."""
BEGINNING = 4096
"""Bytes of the body: more than is ever shown, so that what is blotted out leaves enough."""


class Read(NamedTuple):
    """One read of the body."""

    at: float
    """Monotonic seconds."""
    size: int
    exact: bool
    """`at` is a stamp, not merely the moment at which it was read."""
    alive: bool
    """It held something that a server sends to keep a connection alive."""


@dataclass(slots=True)
class Trace:
    """Grows by one read at a time; its size is bounded whatever a server sends."""

    method: str
    url: str
    """As it was asked, so it may hold a secret."""
    sent: int
    """Bytes of the body of the request."""
    hide: Callable[[str], str]
    """Blots out what this server was told and nobody else should know."""
    first: list[Read] = field(default_factory=list)
    last: deque[Read] = field(default_factory=lambda: deque(maxlen=MOST_READS))
    """Of those that are not among the first."""
    reads: int = 0
    received: int = 0
    """Bytes of the body in all."""
    beginning: bytearray = field(default_factory=bytearray)
    """The first bytes of the body, at most `BEGINNING`."""
    comments: int = 0
    """Keep-alives so far."""

    def came(self, arrival: Arrival, comments: int = 0) -> None:
        """More of the body; `comments` is how many keep-alives there were up to now."""
        size = len(arrival.data)
        read = Read(arrival.at, size, arrival.stamped, comments > self.comments)
        if self.reads < MOST_READS:
            self.first.append(read)
        else:
            self.last.append(read)
        self.reads += 1
        self.received += size
        self.comments = comments
        room = BEGINNING - len(self.beginning)
        if room > 0:
            self.beginning += arrival.data[:room]
