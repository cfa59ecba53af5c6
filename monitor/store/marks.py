"""The flaws of a stream as they are stored: bits for those that the outcome does not tell of."""

from functools import cache

from monitor.core.integrity import Flaw, implied, of_stream
from monitor.core.outcome import Outcome
from monitor.store import schema

BITS = {
    Flaw.KEEP_ALIVE_ONLY: schema.FLAG_KEEP_ALIVE_ONLY,
    Flaw.BURST: schema.FLAG_BURST,
    Flaw.NO_USAGE: schema.FLAG_NO_USAGE,
    Flaw.ERROR_IN_STREAM: schema.FLAG_ERROR_IN_STREAM,
}
MASK = sum(BITS.values())


@cache
def bits(outcome: Outcome, flaws: frozenset[Flaw], *, spoke: bool) -> int:
    """What is added to `probe.flags`. `spoke`: a token came."""
    return sum(BITS.get(flaw, 0) for flaw in flaws - implied(outcome, spoke=spoke))


@cache
def flaws(outcome: int, marked: int, spoke: bool) -> frozenset[Flaw]:  # noqa: FBT001 - in the inner loop
    """The inverse, from a stored outcome and the part of the flags that `MASK` covers."""
    told = frozenset(flaw for flaw, bit in BITS.items() if marked & bit)
    return told | implied(schema.OUTCOME_NAMES[outcome], spoke=spoke)


@cache
def stream(outcome: int, marked: int, spoke: bool) -> frozenset[Flaw] | None:  # noqa: FBT001 - likewise
    """The same as it is counted: None where no stream began."""
    return of_stream(schema.OUTCOME_NAMES[outcome], flaws(outcome, marked, spoke), spoke=spoke)
