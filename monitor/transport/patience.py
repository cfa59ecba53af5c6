"""Waiting with an end: one timer serves every wait of an exchange.

A timer for each read would cost more than the read. This one is only armed anew when a wait
ends sooner than it would ring; when it rings early, it is set again for the wait at hand.
"""

import asyncio
from typing import TypeVar

T = TypeVar("T")


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
