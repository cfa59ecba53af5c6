"""The only one who decides and the only one who writes.

An event becomes a Step here (`advance` says what follows), and Steps become durable in the
order in which they were decided: in the database, or in the spool while the database is away.
Nothing leaves before it is durable. The rest of the daemon never waits for the database.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Protocol, TypeVar

import structlog

from monitor.core import identity
from monitor.core.belief import Belief, Event, QuietSpan, Rules, advance
from monitor.core.instant import Instant, iso
from monitor.core.slots import Gap, GapReason, Segment, outside
from monitor.core.step import Checkpoint, Done, Known, Owed, Result, Step, remember_quiet
from monitor.store.engine import DatabaseAway, DatabaseRefused
from monitor.store.journal import Journal
from monitor.store.lock import Deposed
from monitor.store.spool import CHECKPOINT, REFUSED, Spool, refused_of, save_checkpoint, set_aside

log = structlog.get_logger()

T = TypeVar("T")

MOST_AT_ONCE = 100
GATHER_S = 0.25
"""A transaction costs as much as thirty results; nobody waits for one that changes nothing."""
FIRST_RETRY_S = 0.5
LONGEST_RETRY_S = 5.0


class Clock(Protocol):
    def __call__(self) -> Instant: ...


@dataclass(slots=True)
class Health:
    """What the page and the watchdog may know of the writer."""

    progress: float = 0.0
    """Monotonic seconds of the newest moment at which nothing was waiting or something became durable."""
    stored: int = 0
    away_since: Instant | None = None
    spooled_bytes: int = 0
    waiting: int = 0
    refused: int = 0
    last_error: str | None = None
    missed: Counter[GapReason] = field(default_factory=Counter)
    """Slots in gaps, by reason."""


@dataclass(slots=True)
class _Inbox:
    """Decided, and not durable yet."""

    steps: deque[Step] = field(default_factory=deque)
    urgent: int = 0
    """How many of them somebody waits for."""

    def put(self, step: Step) -> None:
        self.steps.append(step)
        self.urgent += step.urgent

    def first(self, most: int) -> list[Step]:
        """The oldest ones. They stay until they are dropped."""
        return list(islice(self.steps, most))

    def drop(self, batch: Sequence[Step]) -> None:
        """`batch` was `first`."""
        for step in batch:
            self.steps.popleft()
            self.urgent -= step.urgent


class Writer:
    """Composition: `app` gives it the journal, the spool and what was known before."""

    def __init__(
        self,
        *,
        connect: Callable[[], Journal],
        journal: Journal | None,
        spool: Spool,
        known: Checkpoint,
        rules: Mapping[str, Rules],
        now: Clock,
        monotonic: Callable[[], float],
        deliver: Callable[[Sequence[Owed]], None],
        state_dir: Path,
    ) -> None:
        """`connect` opens the database anew, with lock and migration; it raises DatabaseAway
        while it is away. `journal` is None if the daemon starts without its database.
        `deliver` gets each alert once it is durable."""
        self._connect = connect
        self._journal = journal
        self._spool = spool
        self._known = Known(known)
        self._beliefs: dict[str, Belief] = dict(self._known.beliefs)
        self._rules = rules
        self._now = now
        self._monotonic = monotonic
        self._deliver = deliver
        self._state_dir = state_dir
        self._ended = dict(self._known.quiet)
        """Maintenance and pauses as they were decided, durable or about to be."""
        self._inbox = _Inbox()
        self._refused: list[Step] = []
        """By the database, and not set aside yet."""
        self._kept: list[Path] = []
        """Spools that hold some of them."""
        self._aside: asyncio.Task[None] | None = None
        self._waiting: dict[int, asyncio.Future[None]] = {}
        """By identity of the step."""
        self._news = False
        self._wake = asyncio.Event()
        self._closing = False
        self._spooling = spool.is_open
        self._spool_lock = asyncio.Lock()
        self._database = ThreadPoolExecutor(1, "database")
        self._disk = ThreadPoolExecutor(1, "spool")
        # One that was spooling when we came has been away for longer, but nobody knows since when.
        self.health = Health(progress=monotonic(), away_since=now() if self._spooling else None)
        self.fatal: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()

    # Deciding

    def belief(self, endpoint: str) -> Belief:
        """The newest belief that was decided, durable or about to be."""
        held = self._beliefs.get(endpoint)
        if held is None:
            held = self._beliefs[endpoint] = Belief(endpoint=endpoint)
        return held

    def record(
        self,
        endpoint: str,
        event: Event,
        *,
        result: Result | None = None,
        done: Done | None = None,
        events: tuple[identity.Event, ...] = (),
    ) -> Belief:
        """Decide what follows from an event, and owe it to the database. Returns the new belief."""
        follows = advance(self.belief(endpoint), event, self._rules[endpoint], self._now())
        self._beliefs[endpoint] = follows.belief
        self.put(
            Step(
                result=result,
                belief=follows.belief,
                transitions=follows.transitions,
                updates=follows.updates,
                alerts=follows.alerts,
                quiet=follows.quiet,
                done=done,
                events=events,
            )
        )
        return follows.belief

    def quiet(self, endpoint: str) -> list[QuietSpan]:
        """Maintenance and pauses that may hold slots which nothing accounts for yet."""
        lasting = self.belief(endpoint).quiet.items()
        return [
            *self._ended.get(endpoint, ()),
            *(QuietSpan(endpoint=endpoint, quiet=what, starts=since, ends=None) for what, since in lasting),
        ]

    def gap(self, gap: Gap) -> None:
        """Of the slots that nobody looked at, those that are due."""
        for part in outside(gap, [(span.starts, span.ends) for span in self.quiet(gap.endpoint)]):
            self.health.missed[part.reason] += part.slots
            self.put(Step(gap=part))

    def segment(self, segment: Segment) -> None:
        self.put(Step(segment=segment))

    def put(self, step: Step) -> None:
        """Queue a decided step."""
        remember_quiet(self._ended, step, self._known.accounted)
        self._inbox.put(step)
        self.health.waiting = len(self._inbox.steps)
        if self._inbox.urgent or len(self._inbox.steps) in (1, MOST_AT_ONCE):
            self._wake.set()

    async def keep(self, step: Step) -> None:
        """Queue a decided step, and wait until it is durable."""
        durable = self._waiting[id(step)] = asyncio.get_running_loop().create_future()
        self.put(step)
        await durable

    # Writing

    async def run(self) -> None:
        """Make steps durable until closed; then what is left, and return."""
        drain = asyncio.create_task(self._drain()) if self._spooling else None
        try:
            while True:
                await self._gather()
                batch = self._inbox.first(MOST_AT_ONCE)
                await self._make_durable(batch)
                self._inbox.drop(batch)
                self._after(batch)
                if self._spooling and (drain is None or drain.done()):
                    drain = asyncio.create_task(self._drain())
                self.health.waiting = len(self._inbox.steps)
                self.health.progress = self._monotonic()
                if self._inbox.steps:
                    # Those that came meanwhile gather again: a transaction costs as much as ten of them.
                    continue
                if self._closing:
                    if self._aside is not None:
                        await self._aside
                    return
        finally:
            for task in (drain, self._aside):
                if task is not None:
                    task.cancel()
                    await asyncio.gather(task, return_exceptions=True)

    def close(self) -> None:
        """Take nothing more: `run` writes what is waiting and returns."""
        self._closing = True
        self._wake.set()

    def release(self) -> None:
        """Let go of threads and files; the spool stays for the next daemon if it is not empty."""
        self._database.shutdown(wait=False, cancel_futures=True)
        self._disk.shutdown(wait=True)
        self._spool.close()

    async def on_database(self, work: Callable[[Journal], None]) -> bool:
        """Run something small in the writer's turn on the database; False if it is away."""
        journal = self._journal
        if journal is None or self._spooling:
            return False
        try:
            await self._in(self._database, lambda: work(journal))
        except DatabaseAway as away:
            self.health.last_error = str(away)
            return False
        except Deposed as deposed:
            self._fail(deposed)
            return False
        return True

    async def _gather(self) -> None:
        """Wait for work, then a little for company, unless somebody waits for it."""
        while not self._inbox.steps and not self._closing:
            self._wake.clear()
            self.health.progress = self._monotonic()
            try:
                await asyncio.wait_for(self._wake.wait(), 1.0)
            except TimeoutError:
                continue
        if self._closing or self._inbox.urgent or len(self._inbox.steps) >= MOST_AT_ONCE:
            return
        self._wake.clear()
        try:
            await asyncio.wait_for(self._wake.wait(), GATHER_S)
        except TimeoutError:
            return

    async def _make_durable(self, batch: list[Step]) -> None:
        if not batch:
            return
        if not self._spooling and self._journal is not None:
            try:
                await self._write(self._journal, batch)
                return
            except DatabaseAway as away:
                log.warning("database.away", reason=str(away))
                self.health.last_error = str(away)
                # A new connection has to show that this database is still ours.
                self._journal = None
        await self._to_spool(batch)

    async def _to_spool(self, batch: list[Step]) -> None:
        """Append until the disk takes it: a full disk is waited for, never an excuse to forget."""

        async def append() -> None:
            async with self._spool_lock:
                if not self._spool.is_open:
                    await self._in(self._disk, partial(self._spool.start, self.checkpoint()))
                self._start_spooling()
                await self._in(self._disk, lambda: self._spool.append(batch))
            self.health.spooled_bytes = self._spool.bytes_left

        await self._until_taken(self._spool.path.name, append)

    async def _until_taken(self, file: str, write: Callable[[], Awaitable[None]]) -> None:
        """Try until the disk has room for it."""
        wait = FIRST_RETRY_S
        while True:
            try:
                return await write()
            except OSError as refusal:
                log.error("spool.refused", file=file, errno=refusal.errno, retry_s=wait)
                self.health.last_error = f"{file} cannot be written (errno {refusal.errno})"
                await asyncio.sleep(wait)
                wait = min(LONGEST_RETRY_S, wait * 2)

    def _start_spooling(self) -> None:
        if not self._spooling:
            self._spooling = True
            self.health.away_since = self._now()

    async def _write(self, journal: Journal, batch: Sequence[Step]) -> None:
        """Into the database what it takes, and aside what it refuses."""
        self._refused += await self._in(self._database, lambda: write_all(journal, batch))
        if self._refused and (self._aside is None or self._aside.done()):
            # Nothing waits for it: everything else is durable, and there may be an alert among it.
            self._aside = asyncio.create_task(self._set_aside())

    async def _set_aside(self) -> None:
        while self._refused or self._kept:
            if some := tuple(self._refused):
                append = partial(set_aside, self._state_dir, some)
                await self._until_taken(REFUSED, partial(self._in, self._disk, append))
                del self._refused[: len(some)]
                self.health.refused += len(some)
            else:
                # In the turn of the disk: the spool may be about to get this name.
                await self._in(self._disk, partial(self._kept.pop().unlink, missing_ok=True))

    def _after(self, batch: Sequence[Step]) -> None:
        """They are durable: now the world may know."""
        alerts: list[Owed] = []
        for step in batch:
            self._known.apply(step)
            self._news = self._news or bool(step.transitions or step.updates or step.alerts or step.sent)
            self._tell_who_waits(step)
            alerts += (Owed(alert=alert) for alert in step.alerts)
            if step.result is not None:
                self.health.stored += 1
                tell_stored(step.result)
                for news in step.events:
                    log.info(
                        "identity.changed", endpoint=step.result.endpoint, kind=news.kind, text=news.text
                    )
            for moved in step.transitions:
                log.info(
                    "state.changed",
                    endpoint=moved.endpoint,
                    before=moved.before,
                    after=moved.after,
                    reason=moved.reason,
                )
        self.health.progress = self._monotonic()
        if alerts:
            self._deliver(alerts)

    def _tell_who_waits(self, step: Step) -> None:
        durable = self._waiting.pop(id(step), None)
        if durable is not None and not durable.done():
            durable.set_result(None)

    # The way back

    async def _drain(self) -> None:
        """Bring the spool into the database, in order, as soon as there is one again."""
        wait = FIRST_RETRY_S
        while self._spooling and not self.fatal.done():
            try:
                if await self._drain_some():
                    return
                wait = FIRST_RETRY_S
            except DatabaseAway as away:
                if self.health.last_error != str(away):
                    log.warning("database.still_away", reason=str(away))
                self.health.last_error = str(away)
                self._journal = None
                await asyncio.sleep(wait)
                wait = min(LONGEST_RETRY_S, wait * 2)
            except Exception as bug:  # noqa: BLE001 - the daemon must end rather than go on half blind
                self._fail(bug)
                return

    async def _drain_some(self) -> bool:
        """One batch; True once everything is in the database and normal life goes on."""
        if self._journal is None:
            self._journal = await self._in(self._database, self._connect)
        journal = self._journal
        steps, position = await self._in(self._database, lambda: self._spool.take(MOST_AT_ONCE))
        if steps:
            await self._write(journal, steps)
        self._spool.taken(position)
        self.health.spooled_bytes = self._spool.bytes_left
        if self._spool.drained and self._aside is not None:
            # Mostly it is done in a moment.
            await asyncio.wait((self._aside,), timeout=GATHER_S)
        async with self._spool_lock:
            if not self._spool.drained:
                return False
            await self._put_spool_away()
            self._spooling = False
        log.info("database.back", away_since=self.health.away_since and iso(self.health.away_since))
        self.health.away_since = None
        self.health.spooled_bytes = 0
        return True

    async def _put_spool_away(self) -> None:
        """It is drained. What was refused and not set aside yet stays on the disk, and holds up nothing."""
        if not self._refused:
            await self._in(self._disk, self._spool.remove)
            return
        kept = refused_of(self._spool.path, self._now())
        self._kept.append(kept)
        await self._in(self._disk, partial(self._spool.leave_as, kept))
        log.error("spool.kept", file=kept.name, refused=len(self._refused))

    def _fail(self, why: Exception) -> None:
        if not self.fatal.done():
            self.fatal.set_result(why)

    async def _in(self, threads: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(threads, work)

    # Looking in from outside

    @property
    def is_away(self) -> bool:
        """The database cannot be used now."""
        return self._spooling or self._journal is None

    def checkpoint(self) -> Checkpoint:
        """All that is known and durable."""
        return self._known.checkpoint(self._now())

    async def save_checkpoint(self) -> None:
        """For a start without database and without spool."""
        self._news = False
        known = self.checkpoint()
        path = self._state_dir / CHECKPOINT
        await self._in(self._disk, lambda: save_checkpoint(path, known))

    async def save_news(self) -> None:
        """The same, if more than mere results came since: whoever started without it would tell
        of an outage again that is told already.
        """
        if self._news:
            await self.save_checkpoint()


def write_all(journal: Journal, batch: Sequence[Step]) -> list[Step]:
    """Write what the database takes; what it refuses holds up no others and is returned, to be set aside.

    Raises DatabaseAway or lock.Deposed: then all of `batch` is to be written again.
    """
    try:
        journal.write(batch)
    except DatabaseRefused as refusal:
        if len(batch) > 1:
            return [step for each in batch for step in write_all(journal, [each])]
        log.error("step.refused", reason=str(refusal))
        return list(batch)
    return []


def tell_stored(result: Result) -> None:
    """The log line that promises: this result is durable."""
    log.info(
        "probe.stored",
        endpoint=result.endpoint,
        probe=result.probe_id,
        outcome=result.outcome,
        ttft_ms=_rounded(result.figures.ttft_ms),
        output_speed=_rounded(result.figures.output_speed),
        total_ms=_rounded(result.figures.total_ms),
        detail=result.detail,
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
