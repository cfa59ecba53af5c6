"""An endpoint that reports by itself: what it said, and how long it may be silent.

It cannot be asked, so a look at it is a look into its `Mailbox`. Silence is the failure, but only
silence that we could have heard: what was sent while nobody listened is not held against it.
"""

import enum
from dataclasses import dataclass

from monitor.core.instant import SECOND, Instant, Span


class Word(enum.StrEnum):
    """What a report says of its sender."""

    OK = "ok"
    DEGRADED = "degraded"
    FAIL = "fail"


class Standing(enum.StrEnum):
    """What there is to say of an endpoint at one moment."""

    OK = "ok"
    DEGRADED = "degraded"
    FAIL = "fail"
    SILENT = "silent"
    """We listened for its interval and its grace, and nothing came."""
    WAITING = "waiting"
    """Nothing came, but we have not listened for long enough to hold that against it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a sender said, once."""

    endpoint: str
    at: Instant
    """When it reached us."""
    said: Word = Word.OK
    message: str | None = None
    """Cleaned, at most 500 characters."""
    duration_ms: float | None = None
    """How long its work took, as it says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rhythm:
    """How often an endpoint should report."""

    every: Span
    grace: Span

    @property
    def patience_s(self) -> float:
        """Seconds of silence that are still well."""
        return (self.every + self.grace) / SECOND

    @property
    def earliest_s(self) -> float:
        """Seconds after a report before which the next one is not awaited."""
        return (self.every - self.grace) / SECOND


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What a look into a mailbox finds."""

    rhythm: Rhythm
    standing: Standing
    report: Report | None
    """The newest one; None: there never was one."""


class Mailbox:
    """The newest report of one endpoint. Moments are monotonic seconds: a stepped clock is no silence."""

    def __init__(self, rhythm: Rhythm, now: float = 0.0) -> None:
        """It waits from `now` on."""
        self.rhythm = rhythm
        self.report: Report | None = None
        self.shown: Standing | None = None
        """What the newest look found; None before the first."""
        self._at = now
        self._since = now
        """Silence counts from here: the newest report, or a later end of our own absence."""

    def hear(self, report: Report, now: float) -> None:
        """A report came."""
        self.report = report
        self._at = self._since = now

    def resume(
        self, report: Report | None, ago_s: float, away_s: float | None, now: float, *, failing: bool
    ) -> None:
        """A daemon took over from another one.

        `report` is the newest that is known and came so long ago. Nobody listened for the last `away_s`;
        None: it is not known since when, or later reports may be lost. `failing`: the last look at it,
        if any, was a bad one.
        """
        self._at = self._since = now
        if report is not None:
            self.report = report
            self._at = self._since = now - max(0.0, ago_s)
            left = None if away_s is None else now - max(0.0, away_s)
            if left is not None and self._is_over(left) and not failing:
                # It was late already, and yet nobody was told: an earlier absence had been its excuse.
                left = None
            self.absent(left, now)
        self.shown = self.standing(now)

    def absent(self, left: float | None, now: float) -> None:
        """Nobody listened between `left` (None: not known) and now, so a report may have been lost.

        One that was not awaited by then was not lost, so that a daemon that is started anew every
        day still misses a report that is due once a day. And who was silent before stays so.
        """
        if left is not None and self._is_over(left):
            return
        is_its_own = self.report is not None and self._since == self._at
        if is_its_own and now - self._since < self.rhythm.earliest_s:
            return
        self._since = now

    def standing(self, now: float) -> Standing:
        """What there is to say of it."""
        if self.report is not None and now - self._at <= self.rhythm.patience_s:
            return Standing(self.report.said)
        return Standing.SILENT if self._is_over(now) else Standing.WAITING

    def _is_over(self, now: float) -> bool:
        """Our patience."""
        return now - self._since > self.rhythm.patience_s

    def look(self, now: float) -> Heard:
        """What a look finds; the mailbox remembers that it was looked into."""
        self.shown = self.standing(now)
        return Heard(rhythm=self.rhythm, standing=self.shown, report=self.report)

    def wants_look(self, now: float) -> bool:
        """There is something else to say than at the newest look."""
        return self.standing(now) not in (self.shown, Standing.WAITING)
