"""How well this machine keeps up with its probes, measured all the time, and what follows from it.

A monitor that is too busy measures itself. So the share of time that the loop works, the share in
which it could have run and had no core, and the longest time it did not look at its sockets are
read every few seconds; where they say that we cannot keep up, fewer probes run at once and the
operator is told.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path

from monitor.clock import monotonic
from monitor.core import overload
from monitor.core.alert import Alert, Kind, Message, owed
from monitor.core.instant import SECOND, Instant, Span
from monitor.core.overload import Load, Slice, Spell
from monitor.transport.waking import Waking

MOST_BUSY = 0.85
"""Of a loop that works more than this, the rest does not suffice to be on time."""
MOST_DELAYED = 0.25
"""Of a machine that makes us wait for a core longer than this, too much is asked by others."""
IN_A_ROW = 2
"""A single bad reading is no overload: a backup may begin, a page may be drawn."""
FEWEST = 8
"""So many probes may run at once on any machine."""
LESS, MORE = 0.75, 1.1

SLICE_S = 30.0
"""The last minutes are kept in pieces of this length."""
LONGEST_BEAT_S = 15.0
"""Heartbeats that lie further apart have not seen what was between them."""
LAG_EVERY_S = 0.25
"""So often we look how late the loop comes to what is due."""

_SCHEDSTAT = Path("/proc/self/schedstat")


def run_queue_delay_s() -> float | None:
    """How long the main thread has waited for a core since it began; None where nobody counts that."""
    try:
        return int(_SCHEDSTAT.read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Strain:
    """One stretch of time."""

    busy: float
    """Share of the time in which the loop worked, 0 to 1."""
    delayed: float | None
    """Share in which it was ready to run and had no core; None: not known."""
    lag_ms: float
    """The longest time that it did not look at its sockets."""

    @property
    def is_busy(self) -> bool:
        """It is our own work that is too much."""
        return self.busy > MOST_BUSY

    @property
    def reason(self) -> str | None:
        """Why it is too much, for a person; None while all is well."""
        if self.delayed is not None and self.delayed > MOST_DELAYED:
            return (
                f"the monitor waited for a core {self.delayed:.0%} of the time, because other programs"
                " use them: give it more CPU, or a higher priority"
            )
        if self.is_busy:
            return (
                f"the monitor works {self.busy:.0%} of the time and cannot keep up: longer intervals,"
                " fewer endpoints or a faster machine would help"
            )
        return None


class Scale:
    """Weighs one stretch after the other. Moments and lengths in monotonic seconds."""

    def __init__(self, now: float, delay_s: float | None) -> None:
        self._at = now
        self._delay_s = delay_s
        self._bad = 0
        self.newest = Strain(busy=0.0, delayed=None, lag_ms=0.0)
        self.overload: str | None = None
        """Why we cannot keep up; None: we do."""

    def weigh(self, now: float, *, busy_s: float, away_s: float, delay_s: float | None) -> Strain:
        """The stretch since the last time: time worked in it, its longest piece, and all delay so far."""
        span = max(now - self._at, 1e-9)
        delayed = None
        if delay_s is not None and self._delay_s is not None:
            delayed = min(1.0, max(0.0, delay_s - self._delay_s) / span)
        self._at, self._delay_s = now, delay_s
        self.newest = Strain(busy=min(1.0, busy_s / span), delayed=delayed, lag_ms=away_s * 1000.0)
        self._bad = self._bad + 1 if self.newest.reason else 0
        self.overload = self.newest.reason if self._bad >= IN_A_ROW else None
        return self.newest


class Lag:
    """How late the loop comes to what is due, measured four times a second."""

    def __init__(self) -> None:
        self._found: list[float] = []
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Needs a running loop."""
        self._ask(asyncio.get_running_loop())

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def take(self) -> list[float]:
        """Milliseconds, since the last call."""
        found, self._found = self._found, []
        return found

    def _ask(self, loop: asyncio.AbstractEventLoop) -> None:
        due = monotonic() + LAG_EVERY_S
        self._timer = loop.call_later(LAG_EVERY_S, self._ring, loop, due)

    def _ring(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        self._found.append(max(0.0, monotonic() - due) * 1000.0)
        self._ask(loop)


class Book:
    """What the last minutes showed. Moments in monotonic seconds."""

    def __init__(self, now: float, delay_s: float | None) -> None:
        self._slices: deque[Slice] = deque()
        self._since = now
        self._delay_s = delay_s
        self._looks = self._set_aside = 0

    def note(
        self,
        now: float,
        *,
        looks: int,
        set_aside: int,
        start_late_ms: Iterable[float],
        loop_lag_ms: Iterable[float],
        delay_s: float | None,
    ) -> None:
        """What there is by now: all looks and delay so far, and each lag since the last time."""
        if not self._slices or self._slices[-1].length_s >= SLICE_S:
            self._slices.append(Slice(ended=now, length_s=0.0))
        newest = self._slices[-1]
        newest.ended = now
        newest.length_s += now - self._since
        newest.looks += looks - self._looks
        newest.set_aside += set_aside - self._set_aside
        newest.start_late_ms.add_many(start_late_ms)
        newest.loop_lag_ms.add_many(loop_lag_ms)
        if delay_s is not None and self._delay_s is not None:
            newest.delay_s = (newest.delay_s or 0.0) + delay_s - self._delay_s
        self._since, self._delay_s = now, delay_s
        self._looks, self._set_aside = looks, set_aside
        while self._slices[0].ended <= now - overload.WHOLE / SECOND:
            self._slices.popleft()

    def load(self, now: float, over: Span) -> Load:
        """Of so long a time, up to now."""
        since = now - over / SECOND
        return overload.load(one for one in self._slices if one.ended > since)

    def forget(self) -> None:
        """We stood still: what was before says nothing of how busy we are."""
        self._slices.clear()


class Vigil:
    """Whether this machine is too busy to time well, and whom that was told."""

    def __init__(self, channels: Sequence[str], zone: tzinfo | None, held: "Held | None" = None) -> None:
        """`channels` want to hear of the monitor's own troubles; `held` is a spell that an earlier
        daemon told of and did not see the end of."""
        self._channels = tuple(channels)
        self._zone = zone
        self._told = () if held is None else held.channels
        self.spell = Spell(began=None if held is None else held.began)
        self.load = Load()
        """Of the last ten minutes."""

    def look(
        self, whole: Load, recent: Load, why: str | None, now: Instant, passed: Span
    ) -> tuple[Alert, ...]:
        """Look at ourselves again, so long after the last time; what is owed if that changed what we hold."""
        before, self.spell = self.spell.began, overload.weigh(self.spell, whole, recent, now, passed)
        began, self.load = self.spell.began, whole
        if before is None and began is not None:
            self._told = self._channels
            message = overload.alarm(began, whole, why, now, self._zone)
            return self._owed(began, Kind.MONITOR, message, now)
        if before is not None and began is None:
            message = overload.all_clear(before, recent, now, self._zone)
            return self._owed(before, Kind.RECOVERED, message, now)
        return ()

    def _owed(self, began: Instant, kind: Kind, message: Message, now: Instant) -> tuple[Alert, ...]:
        return owed(
            message,
            incident=overload.incident_of(began),
            sequence=1 if kind is Kind.MONITOR else 2,
            kind=kind,
            endpoint=None,
            channels=self._told,
            at=now,
        )


@dataclass(frozen=True, slots=True)
class Held:
    """A spell that was told of and is not over."""

    began: Instant
    channels: tuple[str, ...]

    @classmethod
    def of(cls, told: Sequence[tuple[str, int, str]]) -> "Held | None":
        """From incident, sequence and channel of what was told of the newest spell; None if that is over."""
        if not told or any(sequence > 1 for _, sequence, _ in told):
            return None
        return cls(overload.began_at(told[0][0]), tuple(channel for _, _, channel in told))


class Gate:
    """As many probes at once as the machine can time well. `async with` it around each."""

    def __init__(self) -> None:
        self.limit: int | None = None
        """None: as many as are due."""
        self._inside = 0
        self._peak = 0
        self._queue: deque[asyncio.Future[None]] = deque()

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return len(self._queue)

    async def __aenter__(self) -> None:
        if self._free():
            self._enter()
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                self._leave()
            else:
                self._queue.remove(turn)
            raise

    async def __aexit__(self, *_: object) -> None:
        self._leave()

    def adjust(self, *, overloaded: bool) -> None:
        """Fewer at once than there were, or slowly more again until nobody is held back."""
        if overloaded:
            self.limit = max(FEWEST, int(min(self._peak, self.limit or self._peak) * LESS))
        elif self.limit is not None:
            # Whoever never came near the limit does not need it.
            self.limit = None if self._peak < self.limit / 2 else int(self.limit * MORE) + 1
        self._peak = self._inside
        self._admit()

    def _free(self) -> bool:
        return self.limit is None or self._inside < self.limit

    def _enter(self) -> None:
        self._inside += 1
        self._peak = max(self._peak, self._inside)

    def _leave(self) -> None:
        self._inside -= 1
        self._admit()

    def _admit(self) -> None:
        while self._queue and self._free():
            turn = self._queue.popleft()
            self._enter()
            turn.set_result(None)


class Watch:
    """All that we measure of ourselves, weighed at each heartbeat."""

    def __init__(self, gate: Gate, waking: Waking | None, vigil: Vigil, now: float) -> None:
        """`waking` notes the loop's looks; None where it is not our loop. `now` in monotonic seconds."""
        delay_s = run_queue_delay_s()
        self._gate = gate
        self._waking = waking
        self.vigil = vigil
        self.scale = Scale(now, delay_s)
        self._book = Book(now, delay_s)
        self._lag = Lag()
        self._weighed = now

    def start(self) -> None:
        """Needs a running loop. What was until now is no measure."""
        if self._waking is not None:
            self._waking.take()
        self._lag.start()

    def stop(self) -> None:
        self._lag.stop()

    def stood_still(self) -> None:
        """Until now: the host slept, or we were stopped."""
        self._book.forget()

    def weigh(
        self, monotonic: float, now: Instant, *, looks: int, set_aside: int, start_late_ms: Iterable[float]
    ) -> tuple[Alert, ...]:
        """Weigh the time since the last heartbeat; what is owed to whoever must hear of it."""
        delay_s = run_queue_delay_s()
        busy_s, away_s = (0.0, 0.0) if self._waking is None else self._waking.take()
        strain = self.scale.weigh(monotonic, busy_s=busy_s, away_s=away_s, delay_s=delay_s)
        # Where others hold the cores, it would not help to ask for less.
        self._gate.adjust(overloaded=self.scale.overload is not None and strain.is_busy)
        self._book.note(
            monotonic,
            looks=looks,
            set_aside=set_aside,
            start_late_ms=start_late_ms,
            loop_lag_ms=self._lag.take(),
            delay_s=delay_s,
        )
        whole, recent = (self._book.load(monotonic, over) for over in (overload.WHOLE, overload.RECENT))
        passed = min(monotonic - self._weighed, LONGEST_BEAT_S)
        self._weighed = monotonic
        return self.vigil.look(whole, recent, self.scale.overload, now, Span(round(passed * SECOND)))
