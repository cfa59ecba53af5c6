"""Which endpoints an operator means, and what to say where there is no such one."""

from collections.abc import Sequence
from difflib import get_close_matches

from monitor.cli.failure import USAGE, Failure
from monitor.config.maintenance import expression
from monitor.config.settings import Config, EndpointSettings

_FEW = 8


def endpoint(config: Config, given: str) -> EndpointSettings:
    """The one of that id, in any case. Raises Failure (exit 2) with the nearest that there is."""
    by_id = {one.id.lower(): one for one in config.endpoints}
    found = by_id.get(given.lower())
    if found is None:
        ids = [one.id for one in config.endpoints]
        raise Failure(f"no endpoint {given}{_hint(given, ids, ids)}", USAGE)
    return found


def endpoints(config: Config, patterns: Sequence[str]) -> list[str]:
    """The ids that the patterns match, in the config's order; disabled ones are not watched anyway.

    Raises Failure (exit 1) for a pattern that matches none.
    """
    ids = [one.id for one in config.endpoints if one.enabled]
    whole = dict.fromkeys(f"{one.partition('/')[0]}/*" for one in ids)
    for pattern in patterns:
        if not any(map(expression((pattern,)).fullmatch, ids)):
            raise Failure(f"no endpoint matches {pattern}{_hint(pattern, ['*/*', *whole, *ids], ids)}")
    return [one for one in ids if expression(tuple(patterns)).fullmatch(one)]


def _hint(given: str, candidates: Sequence[str], ids: Sequence[str]) -> str:
    if not ids:
        return "; no endpoint is configured: add [[provider.NAME.endpoints]]"
    near = nearest(given, candidates)
    if near is not None:
        return f"; did you mean {near}?"
    return f"; there are {', '.join(ids)}" if len(ids) <= _FEW else "; `uptoken check` lists them"


def nearest(given: str, candidates: Sequence[str]) -> str | None:
    """What was probably meant: one that has `given` as a half, or is spelt nearly like it."""
    wanted = given.lower()
    for one in candidates:
        if wanted.strip("/") in one.lower().split("/"):
            return one
    lowered = {one.lower(): one for one in reversed(candidates)}
    close = get_close_matches(wanted, lowered, 1, 0.7)
    if close:
        return lowered[close[0]]
    halves = {half: one for low, one in lowered.items() for half in low.split("/") if half != "*"}
    close = get_close_matches(wanted.rpartition("/")[2], halves, 1, 0.7)
    return halves[close[0]] if close else None
