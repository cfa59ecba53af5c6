"""When the loop looked at its sockets: what bounds a moment that no stamp tells exactly.

A socket that a look did not report had nothing to read when that look began; so whatever it is
found to hold by the next one came after that.
"""

import asyncio
import selectors
from weakref import WeakKeyDictionary

from monitor.clock import monotonic

_Ready = list[tuple[selectors.SelectorKey, int]]


class Waking(selectors.DefaultSelector):
    """The selector of the loop; it notes when it looked, for 3 µs a turn of the loop.

    It looks without waiting first, for only an empty look proves that nothing was there yet;
    one that waits may have returned at once, and we may have slept afterwards.
    """

    def __init__(self) -> None:
        super().__init__()
        now = monotonic()
        self.quiet = now
        """What the newest look reported came after this moment; monotonic seconds."""
        self.woke = now
        """When the newest look returned."""
        self.waited = False
        """Nothing was there when it began, so whoever it reported woke us."""
        self.away_s = 0.0
        """The longest time that the loop was busy and did not look, since somebody last took it."""
        self.busy_s = 0.0
        """All the time that the loop was busy, since somebody last took it."""
        self._looked = now

    def select(self, timeout: float | None = None) -> _Ready:
        began = monotonic()
        away = began - self.woke
        self.busy_s += away
        self.away_s = max(self.away_s, away)
        ready = super().select(0)
        self.waited = not ready and (timeout is None or timeout > 0)
        if self.waited:
            self.quiet = began
            super().select(timeout)
            # Once more, to learn who was still silent when we woke.
            began = monotonic()
            ready = super().select(0)
        else:
            self.quiet = self._looked
        self._looked = began
        self.woke = monotonic()
        return ready

    def take(self) -> tuple[float, float]:
        """All the time that the loop was busy since the last call, and the longest piece; seconds."""
        taken = self.busy_s, self.away_s
        self.busy_s = self.away_s = 0.0
        return taken


_WAKING: WeakKeyDictionary[asyncio.AbstractEventLoop, Waking] = WeakKeyDictionary()


def new_loop() -> asyncio.AbstractEventLoop:
    """A loop whose looks are noted."""
    waking = Waking()
    loop = asyncio.SelectorEventLoop(waking)
    _WAKING[loop] = waking
    return loop


def waking_of(loop: asyncio.AbstractEventLoop) -> Waking | None:
    """What was noted of that loop; None where it is somebody else's."""
    return _WAKING.get(loop)
