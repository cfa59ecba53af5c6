"""The two clocks of this host.

Durations come from `monotonic`, which nobody can step; the wall clock only stamps.
Whatever needs either takes a `Clock`, so that a test can say what time it is.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from monitor.core.instant import Instant

monotonic = time.monotonic
"""Seconds since some fixed moment; the clock of the event loop and of every stamp."""


def now() -> Instant:
    """The moment in UTC, in microseconds; it may jump when the host's clock is set."""
    return Instant(time.time_ns() // 1_000)


@dataclass(frozen=True, slots=True)
class Clock:
    """Both clocks as a value that can be handed in."""

    now: Callable[[], Instant] = now
    monotonic: Callable[[], float] = monotonic


SYSTEM = Clock()
"""The clocks of this host."""
