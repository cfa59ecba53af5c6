"""When the loop looked at its sockets: what bounds a moment that no stamp tells exactly.

A socket that a look did not report had nothing to read when that look began; so whatever it is
found to hold by the next one came after that. What woke a look that waited came just before it
woke, but for the time that we then waited for a core, which the kernel counts.
"""

import asyncio
import contextlib
import os
import selectors
from weakref import WeakKeyDictionary

from monitor.clock import monotonic

WAKING_S = 0.1e-3
"""From the arrival of bytes to our being ready to run; the kernel takes some microseconds."""
_SCHEDSTAT = "/proc/thread-self/schedstat"

_Ready = list[tuple[selectors.SelectorKey, int]]


class Waking(selectors.DefaultSelector):
    """The selector of the loop; it notes when it looked, for some microseconds a turn of the loop.

    It looks without waiting first, for only an empty look proves that nothing was there yet;
    one that waits may have returned at once, and we may have slept afterwards.
    """

    def __init__(self) -> None:
        super().__init__()
        now = monotonic()
        self.quiet = now
        """What the newest look reported came after this moment; monotonic seconds."""
        self.quiet_before = now
        """The same of the look before that."""
        self.woke = now
        """When the newest look returned."""
        self.away_s = 0.0
        """The longest time that the loop was busy and did not look, since somebody last took it."""
        self.busy_s = 0.0
        """All the time that the loop was busy, since somebody last took it."""
        self._looked = now
        self._delays = _Delays()
        self._watches: set[Watch] = set()

    def watch(self, fd: int) -> "Watch":
        """Note when that socket has something to read, for whoever is not the one to read it. `end` it."""
        watch = Watch(fd, self._watches)
        self._watches.add(watch)
        return watch

    def select(self, timeout: float | None = None) -> _Ready:
        self._delays.begin()
        began = monotonic()
        away = began - self.woke
        self.busy_s += away
        self.away_s = max(self.away_s, away)
        self.quiet_before = self.quiet
        ready = super().select(0)
        waited = not ready and (timeout is None or timeout > 0)
        if waited:
            super().select(timeout)
            woke = monotonic()
            delay_s = self._delays.take_s()
            self.quiet = began if delay_s is None else max(began, woke - delay_s - WAKING_S)
            # Once more, to learn who was still silent when we woke.
            began = monotonic()
            ready = super().select(0)
        else:
            self.quiet = self._looked
        self._looked = began
        self.woke = monotonic()
        if self._watches:
            self._note(ready, waited=waited)
        return ready

    def _note(self, ready: _Ready, *, waited: bool) -> None:
        found = {key.fd for key, _ in ready}
        registered = self.get_map()
        for watch in self._watches:
            key = registered.get(watch.fd)
            listening = key is not None and bool(key.events & selectors.EVENT_READ)
            watch.looked(self, found=listening and watch.fd in found, listening=listening, waited=waited)

    def close(self) -> None:
        self._delays.close()
        super().close()

    def take(self) -> tuple[float, float]:
        """All the time that the loop was busy since the last call, and the longest piece; seconds."""
        taken = self.busy_s, self.away_s
        self.busy_s = self.away_s = 0.0
        return taken


class Watch:
    """What the looks of the loop tell of one socket that somebody else reads."""

    __slots__ = ("_all", "_listening", "_read", "fd", "since")

    def __init__(self, fd: int, watches: "set[Watch]") -> None:
        self.fd = fd
        self.since = self._read = monotonic()
        """What was found last came after this moment; monotonic seconds."""
        self._all = watches
        self._listening = False

    def looked(self, waking: Waking, *, found: bool, listening: bool, waited: bool) -> None:
        """A look is over: it asked for this socket or not, and found it to have something."""
        if found:
            # One that waited saw first that nothing was there, and so did the one before it, where
            # it asked. Else it may have lain there since the last read.
            self.since = waking.quiet if waited or self._listening else self._read
            self._read = waking.woke
        self._listening = listening

    def end(self) -> None:
        """Note no more."""
        self._all.discard(self)


class _Delays:
    """How long this thread was ready to run and had no core, as the kernel counts it."""

    def __init__(self) -> None:
        self._file: int | None = None
        self._known = False
        self._before_ns = 0

    def begin(self) -> None:
        """Call it in the thread that is meant: another may have made the loop."""
        if not self._known:
            self._known = True
            with contextlib.suppress(OSError):
                self._file = os.open(_SCHEDSTAT, os.O_RDONLY | os.O_CLOEXEC)
                self._before_ns = self._read_ns()

    def take_s(self) -> float | None:
        """Since the last call, in seconds; None where nobody counts."""
        if self._file is None:
            return None
        before, self._before_ns = self._before_ns, self._read_ns()
        return (self._before_ns - before) * 1e-9

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _read_ns(self) -> int:
        assert self._file is not None
        return int(os.pread(self._file, 128, 0).split()[1])


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
