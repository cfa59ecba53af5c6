"""What is done every so often beside probing: time passes, operators ask, maintenance comes and goes.

Each part reads something and hands events to the writer; none decides anything itself.
"""

import gc
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import structlog

from monitor.config.maintenance import Maintenance, expression
from monitor.core.belief import (
    Belief,
    Hush,
    Quiet,
    QuietSpan,
    Rules,
    Tick,
    needs_tick,
)
from monitor.core.instant import Instant, iso
from monitor.core.slots import merged
from monitor.core.step import Done, Step
from monitor.store.journal import Announced, Command, Order, Stopped
from monitor.store.spool import in_pieces, write_atomically
from monitor.writer import Writer

log = structlog.get_logger()

TICK_S = 1.0
HEARTBEAT_S = 5.0
CHECKPOINT_S = 60.0
NEWS_S = 5.0
"""How soon a checkpoint follows what was decided."""
PRUNE_S = 3600.0
SWEEP_S = 10.0
SWEEP_ALL_S = 600.0
FORGOTTEN = 50_000
"""So many more objects than at the last sweep, and Python's own collector looks: some 10 MB."""


class Planned(Protocol):
    """Maintenance from the config, or announced by command."""

    def matches(self, endpoint_id: str) -> bool: ...
    def covers(self, moment: Instant) -> bool: ...
    def spans(self, since: Instant, until: Instant) -> Iterable[tuple[Instant, Instant]]: ...


@dataclass(frozen=True, slots=True)
class FromConfig:
    maintenance: Maintenance

    def matches(self, endpoint_id: str) -> bool:
        return self.maintenance.matches(endpoint_id)

    def covers(self, moment: Instant) -> bool:
        return self.maintenance.covers(moment)

    def spans(self, since: Instant, until: Instant) -> Iterable[tuple[Instant, Instant]]:
        return [(one.start, one.end) for one in self.maintenance.occurrences(since, until)]


@dataclass(frozen=True, slots=True)
class ByCommand:
    announced: Announced

    def matches(self, endpoint_id: str) -> bool:
        return expression(self.announced.patterns).fullmatch(endpoint_id) is not None

    def covers(self, moment: Instant) -> bool:
        return self.announced.starts <= moment < self.announced.ends

    def spans(self, since: Instant, until: Instant) -> Iterable[tuple[Instant, Instant]]:
        start, end = self.announced.starts, self.announced.ends
        return [(start, end)] if start < until and end > since else []


class Upkeep:
    """The chores of a running daemon."""

    def __init__(
        self,
        *,
        writer: Writer,
        rules: Mapping[str, Rules],
        maintenance: Sequence[Maintenance],
        now: Callable[[], Instant],
    ) -> None:
        """`rules` holds the configured endpoints, in the config's order."""
        self._writer = writer
        self._rules = rules
        self._configured: list[Planned] = [FromConfig(one) for one in maintenance]
        self._announced: list[Planned] | None = None
        """None: the database could not be asked yet."""
        self._hushed = True
        """Some endpoint may be under maintenance."""
        self._now = now
        self._ticked = now()

    def tick(self) -> None:
        """Time passed: silence, rules that clear, reminders, maintenance that begins or ends."""
        now = self._ticked = self._now()
        self._hush(now)
        self._age(now)

    def _age(self, now: Instant) -> None:
        for endpoint, rules in self._rules.items():
            if needs_tick(self._writer.belief(endpoint), rules, now):
                self._writer.record(endpoint, Tick())

    # Maintenance

    def announce(self, announced: Iterable[Announced]) -> None:
        """What stands in the database now."""
        self._announced = [ByCommand(one) for one in announced]

    def _hush(self, now: Instant) -> None:
        in_force = [one for one in self._planned() if one.covers(now)]
        if not in_force and not self._hushed:
            return
        self._hushed = bool(in_force) or self._announced is None
        for endpoint in self._rules:
            wanted = any(one.matches(endpoint) for one in in_force)
            held = self._held(endpoint)
            if (wanted and held is None) or (not wanted and held is not None and self._knows(endpoint, held)):
                self._turn(endpoint, on=wanted)

    def _planned(self) -> list[Planned]:
        return [*self._configured, *(self._announced or ())]

    def _held(self, endpoint: str) -> Instant | None:
        return self._writer.belief(endpoint).quiet.get(Quiet.MAINTENANCE)

    def _knows(self, endpoint: str, held: Instant) -> bool:
        """Whether what began then ends where we think; until the database can be asked, it may have been
        announced there, and whoever is not told of it would be woken by it.
        """
        meant = (one for one in self._configured if one.matches(endpoint))
        return self._announced is not None or any(one.covers(held) for one in meant)

    def _turn(self, endpoint: str, *, on: bool, at: Instant | None = None) -> None:
        self._writer.record(endpoint, Hush(Quiet.MAINTENANCE, on=on, at=at))
        log.info("maintenance.began" if on else "maintenance.ended", endpoint=endpoint)

    def stood_still(self) -> None:
        """The host slept, or we did, until now."""
        # First, or maintenance that ended meanwhile would tell of a state that nobody has seen since.
        self._age(self._now())
        self.catch_up(self._ticked)

    def catch_up(self, since: Instant) -> None:
        """Maintenance that ended, passed or began after `since`, the last sign of life of whoever looked.

        It is as if somebody had been there: a night without a daemon does not lengthen it.
        """
        now = self._now()
        came = [(one, spans) for one in self._planned() if (spans := list(one.spans(since, now)))]
        accounted = self._writer.checkpoint().accounted
        for endpoint in self._rules:
            held = self._held(endpoint)
            if held is None and not came:
                continue
            meant = merged((span for one, spans in came if one.matches(endpoint) for span in spans), now)
            if held is not None:
                lived = max(since, held)
                ended = next((end for start, end in meant if start <= lived < end), lived)
                if ended >= now or not self._knows(endpoint, held):
                    continue
                self._turn(endpoint, on=False, at=ended)
                meant = [(start, end) for start, end in meant if start > ended]
            # Slots that were dealt with when nobody knew of it stay as they are.
            first = min(Instant(accounted.get(endpoint, Instant(-1)) + 1), now)
            self._pass(endpoint, [(max(start, first), end) for start, end in meant], now)

    def _pass(self, endpoint: str, meant: Iterable[tuple[Instant, Instant]], now: Instant) -> None:
        for start, end in meant:
            if end > now:
                self._turn(endpoint, on=True, at=start)
            elif start < end:
                span = QuietSpan(endpoint=endpoint, quiet=Quiet.MAINTENANCE, starts=start, ends=end)
                self._writer.put(Step(quiet=(span,)))

    # Operators

    def carry_out(self, commands: Iterable[Command]) -> None:
        """Do what operators asked for; what we do not know is not asked again."""
        for command in commands:
            if command.kind in set(Order):
                self._obey(Order(command.kind), tuple(command.arguments["endpoints"]))
            else:
                log.warning("operator.unknown", command=command.kind)
            self._writer.put(Step(done=Done(command.id, self._now())))

    def _obey(self, order: Order, patterns: tuple[str, ...]) -> None:
        """Pause or resume what was named."""
        meant = [one for one in self._rules if expression(patterns).fullmatch(one) is not None]
        for endpoint in meant:
            self._writer.record(endpoint, Hush(Quiet.PAUSED, on=order is Order.PAUSE))
        log.info("operator.obeyed", command=order, endpoints=meant)


def settle() -> None:
    """What stands now stays, and from now on it is `sweep` that looks for garbage.

    Python's own collector would look through every probe under way at moments of its own choice, and
    hold up the loop for 10 ms where there are 200 of them. It only remains for what nobody foresaw.
    """
    sweep()
    gc.set_threshold(FORGOTTEN, *gc.get_threshold()[1:])


def sweep() -> None:
    """Free what only refers to itself, and let the next one forget the rest.

    It would look through all beliefs again, and hold up the loop for a tenth of a second where there
    are ten thousand endpoints.
    """
    gc.collect()
    gc.freeze()


def sweep_all() -> None:
    """The same, with what earlier sweeps let be because it was in use.

    It holds the loop up for longer, so it is only for those who use what leaves circles behind:
    the library of HTTP/2 does, one a connection.
    """
    gc.unfreeze()
    sweep()


# What the page reads when the database is away


def status(
    beliefs: Iterable[Belief], now: Instant, daemon: Mapping[str, Any], *, stopped: bool = False
) -> dict[str, Any]:
    """The heartbeat as `status.json` tells it: the daemon, and what it believes."""
    return {
        "generated_at": iso(now),
        "at": now,
        "stopped_at": now if stopped else None,
        "daemon": dict(daemon),
        "endpoints": {belief.endpoint: _belief(belief) for belief in beliefs},
    }


def _belief(belief: Belief) -> dict[str, Any]:
    return {
        "state": belief.shown,
        "since": belief.since,
        "reason": belief.reason,
        "classified": belief.classified,
        "outcome": belief.last_outcome,
        "detail": belief.last_detail,
    }


def write_status(path: Path, document: Mapping[str, Any]) -> None:
    """Replace the file at once: a reader sees the old one or the new one."""
    write_atomically(path, in_pieces(document))


def how_it_ended(path: Path) -> Stopped:
    """What the file tells of the daemon that wrote it last; nothing where there is none that can be read."""
    try:
        document = json.loads(path.read_bytes())
        return Stopped(beat_at=Instant(int(document["at"])), cleanly=document.get("stopped_at") is not None)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Stopped(beat_at=None, cleanly=False)
