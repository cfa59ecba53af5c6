"""Waiting with an end: one timer serves every wait of an exchange.

A timer for each read would cost more than the read. This one is only armed anew when a wait
ends sooner than it would ring; when it rings early, it is set again for the wait at hand.
"""

import asyncio
from types import TracebackType
from typing import Self, TypeVar

T = TypeVar("T")
TURNS = 8
"""So many turns of the loop it takes other people's code at most to hand on what a socket held."""


class TimeUp(Exception):
    """The moment passed before what was waited for came."""


class Patience:
    """Waits of one task, one after the other. `close` when done."""

    __slots__ = ("_future", "_loop", "_timer", "_until")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._future: asyncio.Future[object] | None = None
        self._until = 0.0

    async def wait(self, future: "asyncio.Future[T]", until: float) -> T:
        """What the future brings. Raises TimeUp if that is nothing by `until` (monotonic seconds)."""
        self._until = until
        self._future = future  # type: ignore[assignment]  # only ever given an exception
        timer = self._timer
        if timer is None or timer.when() > until:
            self._arm(until)
        try:
            return await future
        except TimeUp as late:
            # The future keeps it, and its traceback would keep the future: a circle with the whole
            # exchange in it, which only a sweep of all memory could free.
            late.__traceback__ = None
            raise TimeUp from None
        finally:
            self._future = None

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, until: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(until, self._ring)

    def _ring(self) -> None:
        self._timer = None
        future = self._future
        if future is None or future.done():
            return
        if self._loop.time() < self._until:
            self._arm(self._until)
        else:
            future.set_exception(TimeUp())


class Grace:
    """`asyncio.timeout_at` for code that is not ours: what came in time gets through, though we look late.

    That one cancels as soon as a busy loop comes round, even if what is waited for lies in the socket.
    """

    __slots__ = ("_handle", "_loop", "_timer", "_until")

    def __init__(self, until: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._timer = asyncio.timeout(None)
        self._until = until
        self._handle: asyncio.Handle | None = None

    async def __aenter__(self) -> Self:
        await self._timer.__aenter__()
        self.reschedule(self._until)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        await self._timer.__aexit__(kind, error, trace)

    def expired(self) -> bool:
        """It has run out."""
        return self._timer.expired()

    def reschedule(self, until: float) -> None:
        """Let it run out at that moment, monotonic seconds."""
        self._stop()
        self._handle = self._loop.call_at(until, self._ring, TURNS)

    def _stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _ring(self, turns: int) -> None:
        if turns:
            self._handle = self._loop.call_soon(self._ring, turns - 1)
        else:
            self._handle = None
            self._timer.reschedule(self._loop.time())
