"""Where reports come in: from the door into the mailboxes, from there to the writer and the pipeline.

The newest report of an endpoint is kept as soon as it says something else than before, else once an
interval, so that a busy sender costs the database no more than a probe does. What says something
else is also looked at at once.
"""

import hashlib
import json
import math
import secrets as randomness
from collections.abc import Awaitable, Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import structlog

from monitor.clock import Clock
from monitor.core.blot import Blot
from monitor.core.instant import SECOND, Instant
from monitor.core.observation import DETAIL_KEPT, clean
from monitor.core.report import Mailbox, Report, Word
from monitor.transport.door import Answer, Asked

log = structlog.get_logger()

CHANGES = 3.0
"""So many reports that each say something else are taken at once; then one a second, the last one."""
MERGED_S = 1.0
STALL_S = 3.0
"""Who was not called for as long cannot have listened; seconds."""
LONGEST_MS = 1e10
"""A longer duration, some 115 days, is no duration."""
_PATH = b"/push/"
_FIELDS = ("status", "message", "duration_ms")
_MOST_FIELDS = 16

DONE = Answer(204)
NO_SUCH = Answer(404, "not_found", "there is nothing here")
STOPPING = Answer(503, "stopping", "the monitor is being stopped: try again in a moment")


@dataclass(frozen=True, slots=True)
class Sender:
    """An endpoint that reports by itself."""

    endpoint: str
    token: str = field(repr=False)
    mailbox: Mailbox


@dataclass(slots=True)
class Tally:
    """For the daemon's own metrics."""

    heard: int = 0
    refused: int = 0


@dataclass(slots=True, eq=False)
class _Place:
    """What the reception remembers of a sender."""

    sender: Sender
    kept: Report | None = None
    """The newest report that is durable, or about to be."""
    kept_at: float = -math.inf
    credit: float = CHANGES
    counted_at: float = 0.0

    @property
    def box(self) -> Mailbox:
        return self.sender.mailbox


class Reception:
    """Everything is called on the event loop. What a sender says is kept without what `blot` knows.

    `keep` makes a report durable and returns when it is; `put` does not wait for that. `look` takes an
    extra look at an endpoint. `deaf` says for how many seconds our own network has been lost, so that
    nobody can reach us; None: it is not.
    """

    def __init__(
        self,
        senders: Iterable[Sender],
        *,
        blot: Blot,
        keep: Callable[[Report], Awaitable[None]],
        put: Callable[[Report], None],
        look: Callable[[str], None],
        clock: Clock,
        deaf: Callable[[], float | None],
    ) -> None:
        # A look into a table by a digest with a key of ours tells nobody how near a guess came.
        self._key = randomness.token_bytes(32)
        self._places = {self._digest(one.token.encode()): _Place(one) for one in senders}
        self._blot = blot
        self._keep, self._put, self._look, self._clock = keep, put, look, clock
        self._deaf = deaf
        self._stopping = False
        self._alive = clock.monotonic()
        self.tally = Tally()

    def __len__(self) -> int:
        return len(self._places)

    def _digest(self, token: bytes) -> bytes:
        return hashlib.blake2b(token, key=self._key, digest_size=32).digest()

    # Life

    def resume(
        self, reports: Mapping[str, Report], failing: Container[str], away_since: Instant | None
    ) -> None:
        """Take over: what the daemon before us heard, whom it found failing, and since when nobody listened.

        None: it is not known, or it died and may have heard more than it kept.
        """
        wall, now = self._clock.now(), self._clock.monotonic()
        away_s = None if away_since is None else (wall - away_since) / SECOND
        for place in self._places.values():
            report = reports.get(place.sender.endpoint)
            ago_s = 0.0 if report is None else (wall - report.at) / SECOND
            place.box.resume(report, ago_s, away_s, now, failing=place.sender.endpoint in failing)
            place.kept = report
            place.kept_at = now if report is None else now - max(0.0, ago_s)

    def stood_still(self) -> None:
        """The host slept or we were stopped: reports may have been lost meanwhile."""
        self.absent(self._alive)

    def absent(self, left: float) -> None:
        """Nothing could reach us from that moment on until now; monotonic seconds."""
        now = self._clock.monotonic()
        for place in self._places.values():
            place.box.absent(left, now)

    def tick(self) -> None:
        """Every second: who fell silent, what was merged, what has to be kept."""
        now = self._clock.monotonic()
        if now - self._alive > STALL_S:
            self.stood_still()
        deaf_s = self._deaf()
        if deaf_s is not None:
            self.absent(now - deaf_s)
        self._alive = now
        for place in self._places.values():
            if place.box.wants_look(now):
                self._look(place.sender.endpoint)
            if self._is_owed(place, now):
                self._put(self._taken(place, now))

    def stop(self) -> None:
        """Take nothing more, and owe the writer what it does not have yet."""
        self._stopping = True
        now = self._clock.monotonic()
        for place in self._places.values():
            if place.box.report is not place.kept:
                self._put(self._taken(place, now))

    # Reports

    async def answer(self, asked: Asked) -> Answer:
        """What to say to a request at the door. A report that had to be kept is durable then."""
        answer = await self._answer(asked)
        self.tally.heard += answer is DONE
        self.tally.refused += answer is not DONE
        return answer

    async def _answer(self, asked: Asked) -> Answer:
        path, _, query = asked.target.partition(b"?")
        place = self._places.get(self._digest(path.removeprefix(_PATH))) if path.startswith(_PATH) else None
        if place is None:
            return NO_SUCH
        said = read(query, asked.body)
        if isinstance(said, str):
            return Answer(400, "bad_report", said)
        if self._stopping:
            return STOPPING
        message = said.message
        if message is not None:
            message = self._blot.hide(clean(message, 2 * DETAIL_KEPT))[:DETAIL_KEPT]
        report = Report(
            endpoint=place.sender.endpoint,
            at=self._clock.now(),
            said=said.word,
            message=message or None,
            duration_ms=said.duration_ms,
        )
        await self._take(place, report)
        return DONE

    async def _take(self, place: _Place, report: Report) -> None:
        now = self._clock.monotonic()
        place.box.hear(report, now)
        if place.box.wants_look(now) and self._may(place, now):
            durable = self._keep(self._taken(place, now))
            self._look(place.sender.endpoint)
            await durable
        elif self._is_owed(place, now):
            await self._keep(self._taken(place, now))

    def _may(self, place: _Place, now: float) -> bool:
        """A sender that says something else every moment may do so only so often."""
        credit = min(CHANGES, place.credit + (now - place.counted_at) / MERGED_S)
        may = credit >= 1.0
        place.credit, place.counted_at = credit - may, now
        return may

    def _is_owed(self, place: _Place, now: float) -> bool:
        report, kept = place.box.report, place.kept
        if report is None or report is kept:
            return False
        since = now - place.kept_at
        if kept is None or kept.said is not report.said:
            return since >= MERGED_S
        return since >= place.box.rhythm.every / SECOND

    def _taken(self, place: _Place, now: float) -> Report:
        report = place.box.report
        assert report is not None
        place.kept, place.kept_at = report, now
        return report


# What a request says


@dataclass(frozen=True, slots=True)
class Said:
    """The words of one report."""

    word: Word = Word.OK
    message: str | None = None
    duration_ms: float | None = None


def read(query: bytes, body: bytes) -> Said | str:
    """What a query and a body say, the body having the last word; or what is wrong with them."""
    fields: dict[str, Any] = dict(_form(query))
    text = body.strip()
    if text.startswith(b"{"):
        try:
            fields |= json.loads(text)
        except (ValueError, RecursionError):
            return "the body is no JSON object"
    else:
        fields |= _form(text)
    return _said({name: fields[name] for name in _FIELDS if fields.get(name) is not None})


def _form(text: bytes) -> dict[str, str]:
    """`status=fail&message=no%20space`; what is not of that form says nothing."""
    try:
        return dict(parse_qsl(text.decode("utf-8", "replace"), max_num_fields=_MOST_FIELDS))
    except ValueError:  # more fields than anybody needs
        return {}


def _said(fields: Mapping[str, Any]) -> Said | str:
    try:
        word = Word(fields.get("status", Word.OK))
    except ValueError:
        return 'status is "ok", "degraded" or "fail"'
    message = fields.get("message")
    if not isinstance(message, str | None):
        return "message is a text"
    duration = fields.get("duration_ms")
    if duration is None:
        return Said(word, message)
    try:
        length = math.nan if isinstance(duration, bool) else float(duration)
    except (TypeError, ValueError, OverflowError):
        length = math.nan
    if not 0 <= length <= LONGEST_MS:
        return "duration_ms is a number of milliseconds, 0 or more"
    return Said(word, message, length)
