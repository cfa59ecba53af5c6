"""Whether a stream was whole: what a look at a language model found wrong with the way it answered.

A flaw is no outcome. It says what a stream did, and most outcomes say nothing of it; a burst
or a missing usage can lie in a look that is `ok`.
"""

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from monitor.core.figures import TokenSource, burst_speed
from monitor.core.observation import Observation, Timer
from monitor.core.outcome import Blame, Outcome
from monitor.core.verdict import Verdict

FASTEST = 3_000
"""Tokens a second. No model is known to generate faster: what came sooner had been held back."""


class Flaw(enum.StrEnum):
    """What can be wrong with a stream."""

    TRUNCATED = "truncated"
    """It ended, or was broken off after the first token, without the protocol's terminal evidence."""
    STALLED = "stalled"
    KEEP_ALIVE_ONLY = "keep_alive_only"
    """Comments, pings and events without text came until the time was up, and no token."""
    ERROR_IN_STREAM = "error_in_stream"
    """An error inside status 200."""
    BURST = "burst"
    """Half or more of the text came at once: what looks like a stream was generated before."""
    EMPTY = "empty"
    """A proper end, and no text."""
    NO_USAGE = "no_usage"
    """A good stream without the usage that was asked for."""


NO_FLAW: frozenset[Flaw] = frozenset()
BREAKS = frozenset(Flaw) - {Flaw.NO_USAGE}
"""Flaws by which a stream counts as broken: those that a user of it notices."""

_BY_OUTCOME = {
    Outcome.TRUNCATED: Flaw.TRUNCATED,
    Outcome.STALLED: Flaw.STALLED,
    Outcome.STREAM_ERROR: Flaw.ERROR_IN_STREAM,
    Outcome.EMPTY_COMPLETION: Flaw.EMPTY,
}


def flaws(seen: Observation, verdict: Verdict) -> frozenset[Flaw]:
    """What was wrong with the stream of one look; none where the monitor itself was in trouble."""
    outcome = verdict.outcome
    if outcome.blame is Blame.MONITOR:
        return NO_FLAW
    found = set(implied(outcome, spoke=bool(seen.timeline.tokens)))
    if seen.error is not None and seen.error.in_stream:
        found.add(Flaw.ERROR_IN_STREAM)
    if seen.keep_alives and not seen.timeline.tokens and seen.timer in (Timer.FIRST_TOKEN, Timer.TOTAL):
        found.add(Flaw.KEEP_ALIVE_ONLY)
    if burst_speed(seen) > FASTEST:
        found.add(Flaw.BURST)
    unsaid = verdict.figures.token_source is TokenSource.ESTIMATE
    if outcome.works and unsaid and seen.usage_asked:
        found.add(Flaw.NO_USAGE)
    return frozenset(found)


def implied(outcome: Outcome, *, spoke: bool) -> frozenset[Flaw]:
    """The flaws that an outcome alone tells of. `spoke`: a token came."""
    if outcome is Outcome.CONNECTION_RESET and spoke:
        return frozenset({Flaw.TRUNCATED})
    flaw = _BY_OUTCOME.get(outcome)
    return NO_FLAW if flaw is None else frozenset({flaw})


def of_stream(outcome: Outcome, found: frozenset[Flaw], *, spoke: bool) -> frozenset[Flaw] | None:
    """The flaws of a look, as they are counted; None where no stream began, or we know nothing of it."""
    if outcome.blame is Blame.MONITOR or not (spoke or found):
        return None
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Integrity:
    """How many streams had which flaw; one stream may have several."""

    streams: int = 0
    """Those in which a token came, and those that are known by their flaw."""
    truncated: int = 0
    stalled: int = 0
    keep_alive_only: int = 0
    error_in_stream: int = 0
    burst: int = 0
    empty: int = 0
    no_usage: int = 0

    @classmethod
    def of(cls, streams: Iterable[frozenset[Flaw] | None]) -> "Integrity":
        """Of the flaws of each look; None is no stream."""
        number = 0
        counts: dict[str, int] = {}
        for found in streams:
            if found is None:
                continue
            number += 1
            for flaw in found:
                counts[flaw.value] = counts.get(flaw.value, 0) + 1
        return cls(streams=number, **counts)

    @property
    def flawed(self) -> dict[Flaw, int]:
        """The flaws that there were, as they stand in `Flaw`."""
        return {flaw: count for flaw in Flaw if (count := getattr(self, flaw.value))}


def words(counts: Mapping[Flaw, int]) -> str:
    """`3 truncated, 1 burst`."""
    return ", ".join(f"{count} {flaw.value.replace('_', ' ')}" for flaw, count in counts.items())
