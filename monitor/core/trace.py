"""What went over the wire in one exchange, as far as it may be wanted as evidence.

It is filled for every probe, and looked at only where one failed: so it keeps little, and
nothing in it is understood, cleaned or blotted out yet.
"""

from collections import deque
from dataclasses import dataclass, field

from monitor.core.wire import Arrival

MOST_READS = 50
"""Reads that are kept from the beginning, and again from the end."""
BEGINNING = 3072
"""Bytes of the body: more than is ever shown, so that what is blotted out leaves enough."""


Read = tuple[float, int, bool, bool]
"""One read of the body, as a bare tuple, because every read of every probe makes one: when (monotonic
seconds); bytes; whether that is a stamp and not merely the moment at which it was read; and whether it
held something that a server sends to keep a connection alive."""


@dataclass(slots=True)
class Trace:
    """Grows by one read at a time; its size is bounded whatever a server sends."""

    method: str
    url: str
    """As it was asked, so it may hold a secret."""
    sent: int
    """Bytes of the body of the request."""
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
        reads = self.first if self.reads < MOST_READS else self.last
        reads.append((arrival.at, size, arrival.stamped, comments > self.comments))
        self.reads += 1
        self.received += size
        self.comments = comments
        room = BEGINNING - len(self.beginning)
        if room > 0:
            self.beginning += arrival.data[:room]
