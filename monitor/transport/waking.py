"""When the loop looked at its sockets: what bounds a moment that no stamp tells exactly.

A socket that a look did not report had nothing to read when that look began; so whatever it is
found to hold by the next one came after that. What woke a look that waited came just before it
woke, but for the time that we then waited for a core, which the kernel counts.

A turn of the loop may be long. Sockets whose first bytes are what a figure hangs on can be looked
at in the middle of it.
"""

import asyncio
import contextlib
import os
import select
import selectors
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, Protocol
from weakref import WeakKeyDictionary

from monitor.clock import monotonic

WAKING_S = 0.2e-3
"""From bytes coming to our being ready to run: an idle core of a virtual machine wakes that slowly."""
HELD_UP_S = 20e-3
"""Longer turns of the loop hold up whoever waits for a limit; so does waiting as long for a core."""
_LOOKING_S = 0.1e-3
"""Whoever takes longer from one look to the next lost the core in between."""
LONG_S = 0.2e-3
"""A turn of the loop that has lasted for so long is interrupted for a glance."""
_AT_ONCE = 64
_SCHEDSTAT = "/proc/thread-self/schedstat"

_Ready = list[tuple[selectors.SelectorKey, int]]


class _HasFileno(Protocol):
    def fileno(self) -> int: ...


class Waking(selectors.BaseSelector):
    """The selector of the loop; it notes when it looked, for some microseconds a turn of the loop.

    It looks without waiting first, for only an empty look proves that nothing was there yet;
    one that waits may have returned at once, and we may have slept afterwards. So it speaks to epoll
    itself: two looks in one are not what the standard selectors are made for.
    """

    def __init__(self) -> None:
        now = monotonic()
        self.quiet = now
        """What the newest look reported came after this moment; monotonic seconds."""
        self.heard = now
        """The same, unless another thread of ours held the interpreter just then: for what nobody stamps."""
        self.heard_before = now
        """The same of the look before that."""
        self.woke = now
        """When the newest look returned."""
        self.away_s = 0.0
        """The longest time that the loop was busy and did not look, since somebody last took it."""
        self.busy_s = 0.0
        """All the time that the loop was busy, since somebody last took it."""
        self.held_up_s = 0.0
        """All the time of turns and of waits for a core that took longer than `HELD_UP_S`, ever."""
        self._epoll = select.epoll()
        self._keys: dict[int, selectors.SelectorKey] = {}
        self._silent = now
        """What the newest look did not report had nothing to read at this moment."""
        self._delays = _Delays()
        self._watches: set[Watch] = set()
        self._urgent = select.epoll()
        self._readers: dict[int, Callable[[], None]] = {}
        self._glanced = now

    def hurry(self, fd: int, read: Callable[[], None]) -> None:
        """Call `read` in the middle of a long turn too when that socket has something. `relax` when done."""
        self._urgent.register(fd, select.EPOLLIN)
        self._readers[fd] = read

    def relax(self, fd: int) -> None:
        """The loop's own looks suffice for that socket from now on; nothing if they did before."""
        if self._readers.pop(fd, None) is not None:
            self._urgent.unregister(fd)

    def glance(self) -> None:
        """To be called wherever much may be done in one turn: read what is urgent, if the turn is long."""
        if not self._readers:
            return
        now = monotonic()
        if now - self.woke < LONG_S or now - self._glanced < LONG_S:
            return
        for fd, _ in self._urgent.poll(0, _AT_ONCE):
            read = self._readers.get(fd)
            if read is None:
                continue  # whoever was called before has taken it out
            try:
                read()
            except Exception as exc:  # noqa: BLE001
                # As the loop does with it: it is not the fault of whoever is in the middle of something.
                about = {"message": "what a socket said could not be taken in", "exception": exc}
                asyncio.get_running_loop().call_exception_handler(about)
        self._glanced = monotonic()

    def watch(self, fd: int) -> "Watch":
        """Note when that socket has something to read, for whoever is not the one to read it. `end` it."""
        watch = Watch(fd, self._watches)
        self._watches.add(watch)
        return watch

    def register(self, fileobj: int | _HasFileno, events: int, data: object = None) -> selectors.SelectorKey:
        fd = self._number(fileobj)
        if fd in self._keys:
            raise KeyError(f"{fileobj!r} (FD {fd}) is already registered")
        self._epoll.register(fd, _mask(events))
        key = self._keys[fd] = selectors.SelectorKey(fileobj, fd, events, data)
        return key

    def unregister(self, fileobj: int | _HasFileno) -> selectors.SelectorKey:
        key = self._keys.pop(self._number(fileobj))
        # Closed before it was taken out, it is out already.
        with contextlib.suppress(OSError):
            self._epoll.unregister(key.fd)
        return key

    def modify(self, fileobj: int | _HasFileno, events: int, data: object = None) -> selectors.SelectorKey:
        fd = self._number(fileobj)
        before = self._keys[fd]
        if events != before.events:
            try:
                self._epoll.modify(fd, _mask(events))
            except OSError:
                # It was closed before it was taken out; the next one of that number is to begin anew.
                del self._keys[fd]
                raise
        key = self._keys[fd] = selectors.SelectorKey(before.fileobj, fd, events, data)
        return key

    def get_key(self, fileobj: int | _HasFileno) -> selectors.SelectorKey:
        return self._keys[self._number(fileobj)]

    def get_map(self) -> Mapping[int | _HasFileno, selectors.SelectorKey]:
        return _Map(self, self._keys)

    def _number(self, fileobj: int | _HasFileno) -> int:
        """Its number, though it may be closed by now. Raises KeyError."""
        fd = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        if fd >= 0:
            return fd
        for key in self._keys.values():
            if key.fileobj is fileobj:
                return key.fd
        raise KeyError(f"{fileobj!r} is closed")

    def select(self, timeout: float | None = None) -> _Ready:
        began = monotonic()
        if timeout is not None and timeout <= 0 and began - self.woke < LONG_S:
            # The loop has something to do at once, and has only just looked.
            self.heard_before = self.heard
            return []
        away = began - self.woke
        self.busy_s += away
        self.away_s = max(self.away_s, away)
        if away > HELD_UP_S:
            self.held_up_s += away
        self.heard_before = self.heard
        most = len(self._keys) or 1
        found = self._epoll.poll(0, most)
        waited = not found and (timeout is None or timeout > 0)
        if waited:
            self._delays.begin()
            asleep = monotonic()
            found = self._epoll.poll(timeout, most)
            self.woke = monotonic()
            self._slept(began, asleep, self._delays.take())
        else:
            self.quiet = self.heard = self._silent
            self._silent = began
            self.woke = monotonic()
        ready = [reported for fd, events in found if (reported := self._reported(fd, events)) is not None]
        if self._watches:
            self._note(ready, waited=waited)
        return ready

    def _slept(self, began: float, asleep: float, spent: "_Spent | None") -> None:
        """What is known after a look that waited."""
        if spent is None:
            self.quiet = self.heard = self._silent = began
            return
        if spent.waiting_s > HELD_UP_S:
            self.held_up_s += spent.waiting_s
        self.heard = max(began, self.woke - spent.waiting_s - WAKING_S)
        if spent.turns == 1 and asleep - began < _LOOKING_S:
            self.quiet = self.heard
            self._silent = max(began, self.woke - WAKING_S)
        else:
            # We slept a second time, as who waits for the interpreter does. It may have been before this
            # look; then we claim less than we could.
            self.quiet = self._silent = began

    def _reported(self, fd: int, said: int) -> tuple[selectors.SelectorKey, int] | None:
        """What the kernel said of a socket, as far as it was asked for; a broken one is as good as ready."""
        key = self._keys.get(fd)
        if key is None:
            return None  # closed before it was taken out, and somebody else still holds it open
        events = (selectors.EVENT_READ if said & ~select.EPOLLOUT else 0) | (
            selectors.EVENT_WRITE if said & ~select.EPOLLIN else 0
        )
        return key, events & key.events

    def _note(self, ready: _Ready, *, waited: bool) -> None:
        found = {key.fd for key, _ in ready}
        for watch in self._watches:
            key = self._keys.get(watch.fd)
            listening = key is not None and bool(key.events & selectors.EVENT_READ)
            watch.looked(self, found=listening and watch.fd in found, listening=listening, waited=waited)

    def close(self) -> None:
        self._delays.close()
        self._epoll.close()
        self._urgent.close()
        self._keys.clear()
        self._readers.clear()

    def take(self) -> tuple[float, float]:
        """All the time that the loop was busy since the last call, and the longest piece; seconds."""
        taken = self.busy_s, self.away_s
        self.busy_s = self.away_s = 0.0
        return taken


class _Map(Mapping[int | _HasFileno, selectors.SelectorKey]):
    """The sockets of a selector, by themselves or by number."""

    def __init__(self, waking: Waking, keys: Mapping[int, selectors.SelectorKey]) -> None:
        self._waking = waking
        self._keys = keys

    def __getitem__(self, fileobj: int | _HasFileno) -> selectors.SelectorKey:
        return self._waking.get_key(fileobj)

    def __iter__(self) -> Iterator[int | _HasFileno]:
        return iter([key.fileobj for key in self._keys.values()])

    def __len__(self) -> int:
        return len(self._keys)


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
            self.since = waking.heard if waited or self._listening else self._read
            self._read = waking.woke
        self._listening = listening

    def end(self) -> None:
        """Note no more."""
        self._all.discard(self)


class _Spent(NamedTuple):
    """What the kernel did with this thread for a while."""

    waiting_s: float
    """It was ready to run and had no core."""
    turns: int
    """So often it got one."""


class _Delays:
    """How long this thread was ready to run and had no core, and how often it got one, by the kernel."""

    def __init__(self) -> None:
        self._file: int | None = None
        self._known = False
        self._before = (0, 0)

    def begin(self) -> None:
        """Call it in the thread that is meant: another may have made the loop."""
        if not self._known:
            self._known = True
            with contextlib.suppress(OSError):
                self._file = os.open(_SCHEDSTAT, os.O_RDONLY | os.O_CLOEXEC)
                self._before = _read(self._file)

    def take(self) -> _Spent | None:
        """Since the last call; None where nobody counts."""
        if self._file is None:
            return None
        (delay_before, turns_before), (delay, turns) = self._before, _read(self._file)
        self._before = delay, turns
        return _Spent((delay - delay_before) * 1e-9, turns - turns_before)

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _read(file: int) -> tuple[int, int]:
    _, delay_ns, turns = os.pread(file, 128, 0).split()
    return int(delay_ns), int(turns)


def _mask(events: int) -> int:
    reading = select.EPOLLIN if events & selectors.EVENT_READ else 0
    return reading | (select.EPOLLOUT if events & selectors.EVENT_WRITE else 0)


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
