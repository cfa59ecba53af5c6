"""A limit on calls that know none: what runs past its deadline is cut off, from outside."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

AGAIN_S = 0.05
"""What does not end at the first cut is cut again: SQLite forgets an interrupt that found
no statement running."""


class Guard:
    """One guarded stretch. `fired`: its deadline passed and it was cut off."""

    __slots__ = ("cut", "deadline", "fired")

    def __init__(self, cut: Callable[[], None], deadline: float) -> None:
        self.cut = cut
        self.deadline = deadline
        self.fired = False

    def insist(self) -> None:
        """Raises TimeoutError once it has fired."""
        if self.fired:
            raise TimeoutError


class Watchdog:
    """Watches any number of stretches with one thread, which sleeps until the next deadline.

    A stretch that ends in time leaves the thread asleep, so that guarding a transaction costs
    a few microseconds and no switch of threads.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._guards: set[Guard] = set()
        self._wakes = float("inf")
        self._thread: threading.Thread | None = None
        self._ended = False

    @contextmanager
    def over(self, cut: Callable[[], None], deadline: float) -> Iterator[Guard]:
        """Call `cut` from `deadline` (monotonic seconds) on until the block is left.

        `cut` must not block; it is never called after the block was left.
        """
        guard = Guard(cut, deadline)
        with self._changed:
            self._guards.add(guard)
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
                self._thread.start()
            if deadline < self._wakes:
                self._changed.notify()
        try:
            yield guard
        finally:
            with self._changed:
                self._guards.discard(guard)

    def end(self) -> None:
        """Let the thread go. What is still guarded is guarded no more."""
        with self._changed:
            self._ended = True
            self._changed.notify()

    def _watch(self) -> None:
        with self._changed:
            while not self._ended:
                now = time.monotonic()
                self._wakes = float("inf")
                for guard in self._guards:
                    if guard.deadline <= now:
                        guard.fired = True
                        guard.cut()
                        self._wakes = min(self._wakes, now + AGAIN_S)
                    else:
                        self._wakes = min(self._wakes, guard.deadline)
                self._changed.wait(None if self._wakes == float("inf") else self._wakes - now)
