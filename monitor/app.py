"""The composition root: builds the parts, runs them, stops them in order.

Start: lock, migration, what the spool holds, what was believed; only then the first beat.
Stop: no new probe, those that run are cut off after a while, the writer drains.
"""

import asyncio
import contextlib
import gc
import os
import resource
import secrets as randomness
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import structlog

from monitor import __version__, compose, notifier, systemd, upkeep
from monitor.canaries import Canaries, Sight
from monitor.clock import SYSTEM, Clock
from monitor.config.secrets import Secrets
from monitor.config.settings import Config
from monitor.config.where import database_url
from monitor.core import overload
from monitor.core.alert import Kind
from monitor.core.belief import Removed, Rules, Tick, needs_tick
from monitor.core.budget import Spent, day_of
from monitor.core.instant import DAY, Instant, Span, iso
from monitor.core.outcome import Blame
from monitor.core.overload import to_status
from monitor.core.step import Checkpoint, Known, Step
from monitor.notifier import Notifier
from monitor.pipeline import Pipeline
from monitor.purse import Purse
from monitor.reception import Reception, Sender
from monitor.schedule import Schedule, Scheduled
from monitor.store import lock, migrate, prune
from monitor.store.engine import Database, DatabaseAway
from monitor.store.journal import Announced, Command, Journal, Stopped
from monitor.store.lock import Deposed, Ownership, acquire, renew
from monitor.store.spool import CHECKPOINT, Spool, SpoolDamaged, load_checkpoint, refused_of, set_aside
from monitor.strain import Gate, Vigil, Watch
from monitor.strain import Held as Spell
from monitor.transport.door import Door
from monitor.transport.waking import Waking, waking_of
from monitor.transport.wire import Transports, open_transports
from monitor.upkeep import Upkeep
from monitor.web.binding import open_door
from monitor.web.doors import Doors, told
from monitor.web.process import CannotListen, PageProcess
from monitor.writer import MOST_AT_ONCE, Writer, write_all

log = structlog.get_logger()

CUT_OFF_S = 5.5
"""Probes that run at the end get this long."""
LAST_MESSAGES_S = 0.8
LAST_STEPS_S = 3.0
"""For the writer, whose database may fall silent just then. Everything together stays below 10 s."""
STATUS = "status.json"
RETRY_S = 1.0
HANDOVER_S = 5.0
"""So long the daemon before us may take to leave its address for reports."""
GRACE_S = 15.0
"""So long a standby leaves a database that was away to the daemon that owned it."""


class Unready(Exception):
    """The daemon cannot start; the text says why and what to do."""


class _StandBy(Exception):
    """Another daemon decides here; the text says where."""


@dataclass(slots=True)
class Held:
    """The database while it is ours, and what the daemon before us left in it."""

    database: Database
    ownership: Ownership | None = None

    def take(self) -> Journal | None:
        """Lock and migrate; None while another daemon holds it.

        Raises DatabaseAway, NewerSchema or UpgradeHindered.
        """
        if self.ownership is None or not self.ownership.alive():
            self.ownership = acquire(self.database, self._migrate)
        else:
            self._migrate()
            renew(self.database, self.ownership)
        if self.ownership is None:
            return None
        return Journal(self.database, self.ownership.epoch, self.ownership.alive)

    def _migrate(self) -> None:
        for revision in migrate.upgrade(self.database):
            log.info("database.migrated", revision=revision)

    def retake(self) -> Journal:
        """The same after the database was away: nobody else may have taken it meanwhile."""
        epoch = None if self.ownership is None else self.ownership.epoch
        journal = self.take()
        if journal is None:
            raise Deposed("another daemon has taken this database over")
        if epoch is not None and self.ownership is not None and self.ownership.epoch > epoch + 1:
            raise Deposed("another daemon had this database in the meantime")
        return journal


@dataclass(frozen=True, slots=True)
class Start:
    """Where this daemon begins."""

    journal: Journal | None
    known: Checkpoint
    stopped: Stopped
    asked: tuple[list[Command], list[Announced]]
    spell: Spell | None = None
    """That it was too busy to time well, which it told and did not see the end of."""


class Daemon:
    """`uptoken run`."""

    def __init__(self, config: Config, secrets: Secrets, state_dir: Path, clock: Clock = SYSTEM) -> None:
        self._config = config
        self._secrets = secrets
        self._blot = compose.blot(config, secrets)
        self._state_dir = state_dir
        self._clock = clock
        self._end = asyncio.Event()
        self._waking: Waking | None = None
        self._kernel_stamps = False
        self._rules = {one.id: compose.rules(config, one) for one in compose.enabled(config)}
        url = database_url(config, state_dir, secrets)
        self._held = Held(Database(url, state_dir=state_dir))
        self._spool = Spool(state_dir / "spool")
        self._folder: int | None = None
        """The descriptor that holds the lock on the state folder."""
        self._has_stood_by = False
        self._patient_until = 0.0

    async def run(self) -> None:
        """Until SIGTERM or SIGINT. Raises Unready, lock.Deposed, or whatever a bug raises."""
        self._state_dir.mkdir(mode=0o750, parents=True, exist_ok=True)
        _allow_many_files()
        # What a thread of ours holds up the loop at most: at Python's own 5 ms a busy one would
        # make every system call of a probe that much later.
        sys.setswitchinterval(0.0005)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end.set)
        page = PageProcess.of(self._config, self._state_dir, self._held.database.url)
        self._waking = waking_of(loop)
        async with contextlib.AsyncExitStack() as opened:
            transports = await opened.enter_async_context(open_transports())
            self._kernel_stamps = transports.stamps.available
            if not self._kernel_stamps:
                log.warning("stamps.unavailable", clock="user")
            taken = await self._open(page, opened)
            await self._try_push_door()
            start = await self._begin()
            if start is not None:
                if taken is not None:
                    # While we stood by, the page was another daemon's. Now it has to be ours.
                    await opened.enter_async_context(page)
                await self._live(start, transports)
        log.info("daemon.stopped")

    async def _open(self, page: PageProcess, opened: contextlib.AsyncExitStack) -> CannotListen | None:
        """Serve the page from now on; why not, if a daemon that we stand by for has its address.

        Raises CannotListen if somebody else has it.
        """
        try:
            await opened.enter_async_context(page)
        except CannotListen as taken:
            if await asyncio.to_thread(self._is_alone):
                raise
            return taken
        return None

    async def _try_push_door(self) -> None:
        """Make sure early that senders will be able to report. It is not opened before we decide.

        Raises CannotListen, unless it is another daemon, that we stand by for, which has the address.
        """
        try:
            self._push_door().close()
        except CannotListen:
            if await asyncio.to_thread(self._is_alone):
                raise

    async def _take_push_door(self) -> Doors:
        """Now we decide. Who decided before us may still be on its way out. Raises CannotListen."""
        until = self._clock.monotonic() + HANDOVER_S
        while self._clock.monotonic() < until:
            with contextlib.suppress(CannotListen):
                return self._push_door()
            await asyncio.sleep(RETRY_S / 4)
        return self._push_door()

    def _push_door(self) -> Doors:
        """Where senders report, if any do. Raises CannotListen."""
        wanted = any(endpoint.reports for endpoint in compose.enabled(self._config))
        return open_door(self._config.push.listen if wanted else None, "push.listen")

    def _is_alone(self) -> bool:
        try:
            self._claim_folder()
            return lock.is_free(self._held.database)
        except _StandBy:
            return False
        except DatabaseAway:
            return True

    # Start

    async def _begin(self) -> Start | None:
        """Until there is a place to begin from; None if we are stopped before that."""
        said = ""
        while not self._end.is_set():
            try:
                return await asyncio.to_thread(self._try_to_begin)
            except (_StandBy, DatabaseAway) as why_not:
                why = str(why_not)
            except SpoolDamaged as damage:
                raise Unready(
                    f"{damage}: what it holds beyond that cannot be trusted; to start without it,"
                    f" move {self._spool.path} away"
                ) from None
            if why != said:
                log.warning("daemon.waiting", reason=why)
                systemd.say(why)
                said = why
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._end.wait(), RETRY_S)
        return None

    def _try_to_begin(self) -> Start:
        """In a thread. Raises DatabaseAway, or _StandBy while another daemon decides."""
        self._claim_folder()
        try:
            self._leave_it_to_the_owner()
            journal = self._held.take()
        except DatabaseAway:
            self._patient_until = self._clock.monotonic() + GRACE_S
            known = self._without_database()
            if known is None:
                raise
            return Start(None, known, upkeep.how_it_ended(self._state_dir / STATUS), ([], []))
        if journal is None:
            self._forget()
            raise _StandBy("standby: another daemon holds this database")
        return self._begin_from(journal)

    def _claim_folder(self) -> None:
        """The spool and the checkpoint have one owner, even while no database can say who that is."""
        path = self._state_dir / "lock"
        if self._folder is None:
            try:
                self._folder = lock.lock_file(path)
            except OSError as refused:
                raise Unready(f"cannot open {path}: {refused.strerror}") from None
        if self._folder is None:
            raise _StandBy(f"standby: another daemon uses the state folder {self._state_dir}")

    def _forget(self) -> None:
        """Another daemon decides, so what we knew is of the past. Should the database go away now, that
        one goes on without it, and there must not be two.
        """
        self._has_stood_by = True
        (self._state_dir / CHECKPOINT).unlink(missing_ok=True)

    def _leave_it_to_the_owner(self) -> None:
        """After the database was away its lock is free. Who owned it has gone on, knows more than the
        database, and will be back in a moment.
        """
        if self._has_stood_by and self._clock.monotonic() < self._patient_until:
            migrate.current(self._held.database)  # raises while it is away: patience begins anew
            raise _StandBy("standby: another daemon held this database before it was away")

    def _begin_from(self, journal: Journal) -> Start:
        stopped = self._newer(journal.stopped())
        now = self._clock.now()
        journal.register(self._rules, now)
        self._drain_into(journal)
        known = journal.load(
            {id_: r.degraded.over if r.degraded else Span(0) for id_, r in self._rules.items()}, now
        )
        midnight, today = Instant(now - now % DAY), day_of(now)
        limited = compose.scopes(self._config)
        spent = {id_: Spent(today, journal.spent(id_, midnight)) for id_ in limited}
        known = replace(known, spent=spent)
        since = stopped.beat_at if stopped.beat_at is not None else now
        asked = journal.asked(since)
        spell = Spell.of(journal.newest_alerts(overload.INCIDENT))
        # Last, for until here it may be tried again, and how the daemon before us ended must be known.
        journal.begin(now, __version__)
        return Start(journal, known, stopped, asked, spell)

    def _newer(self, stored: Stopped) -> Stopped:
        """How the daemon before us ended: the database may have been away by then."""
        told = upkeep.how_it_ended(self._state_dir / STATUS)
        if stored.beat_at is None or told.beat_at is None or told.beat_at <= stored.beat_at:
            return stored
        return told

    def _drain_into(self, journal: Journal) -> None:
        if not self._spool.path.exists():
            return
        self._spool.resume()
        count = 0
        refused: list[Step] = []
        while not self._spool.drained:
            steps, position = self._spool.take(MOST_AT_ONCE)
            if steps:
                refused += write_all(journal, steps)
            self._spool.taken(position)
            count += len(steps)
        self._put_spool_away(refused)
        log.info("spool.drained", steps=count)

    def _put_spool_away(self, refused: list[Step]) -> None:
        """What the database does not take is set aside, or stays in the spool's own file while the disk
        has no room for that. It holds up no start.
        """
        try:
            if refused:
                set_aside(self._state_dir, refused)
        except OSError as refusal:
            kept = refused_of(self._spool.path, self._clock.now())
            self._spool.leave_as(kept)
            log.error("spool.kept", file=kept.name, refused=len(refused), errno=refusal.errno)
        else:
            self._spool.remove()

    def _without_database(self) -> Checkpoint | None:
        """What was known when the database was last seen."""
        if self._has_stood_by:
            return None
        if self._spool.path.exists():
            self._spool.resume()
            checkpoint, steps = self._spool.known()
            known = Known(checkpoint)
            for step in steps:
                known.apply(step)
            return known.checkpoint(self._clock.now())
        saved = load_checkpoint(self._state_dir / CHECKPOINT)
        return None if saved is None else _ahead(saved)

    # Life

    async def _live(self, start: Start, transports: Transports) -> None:
        doors = await self._take_push_door()
        rules = {**_rules_of_the_gone(self._config, start.known), **self._rules}
        notify = Notifier(
            {
                name: notifier.channel(self._secrets.of(one.url))
                for name, one in self._config.channels.items()
            },
            reports=self._reports(),
            # The writer is made with it, and so after it.
            put=lambda step: writer.put(step),  # noqa: PLW0108
            keep=lambda step: writer.keep(step),  # noqa: PLW0108
            now=self._clock.now,
            timezone=self._config.site.timezone,
        )
        writer = Writer(
            connect=self._take_back,
            journal=start.journal,
            spool=self._spool,
            known=start.known,
            rules=rules,
            now=self._clock.now,
            monotonic=self._clock.monotonic,
            deliver=notify.accept,
            state_dir=self._state_dir,
        )
        gate = Gate()
        vigil = Vigil(self._reports(), self._config.site.timezone, start.spell)
        watch = Watch(gate, self._waking, vigil, self._clock.monotonic())
        sight = self._sight(start, writer, transports)
        chores = Upkeep(
            writer=writer, rules=self._rules, maintenance=self._config.maintenance, now=self._clock.now
        )
        pipeline, schedule, reception = self._probing(
            start, writer, transports, gate=gate, watch=watch, sight=sight, chores=chores
        )
        self._catch_up(start, writer, chores)
        writing = asyncio.create_task(writer.run())
        notify.accept(start.known.owed)
        notify.start()
        upkeep.settle()
        schedule.start()
        watch.start()
        sight.start()
        parts = _Parts(writer, notify, pipeline, schedule, chores, watch, sight, reception)
        self._arrange(parts)
        await self._heartbeat(parts)
        async with _receiving(doors, reception):
            self._say_ready()
            try:
                await self._until_the_end(parts, writing)
            finally:
                await self._stop(parts, writing)

    def _reports(self) -> list[str]:
        """The channels that want to hear of the monitor's own troubles."""
        return [name for name, one in self._config.channels.items() if Kind.MONITOR in one.on]

    def _take_back(self) -> Journal:
        """In the writer's thread: the database after it was away, or was not there when we started."""
        never_had = self._held.ownership is None
        journal = self._held.retake()
        if never_had:
            now = self._clock.now()
            journal.register(self._rules, now)
            journal.begin(now, __version__)
        return journal

    def _probing(
        self,
        start: Start,
        writer: Writer,
        transports: Transports,
        *,
        gate: Gate,
        watch: Watch,
        sight: Sight,
        chores: Upkeep,
    ) -> tuple[Pipeline, Schedule, Reception]:
        def stood_still() -> None:
            # First: what maintenance covered is in no gap.
            chores.stood_still()
            pipeline.suspended()
            reception.stood_still()
            watch.stood_still()

        endpoints = compose.enabled(self._config)
        now = self._clock.now()
        scopes = compose.scopes(self._config)
        watched = [
            compose.watched(one, self._rules[one.id], self._secrets, self._blot, transports)
            for one in endpoints
        ]
        pipeline = Pipeline(
            watched,
            writer=writer,
            purse=Purse(scopes, compose.ledgers(self._config, scopes, start.known.spent, now)),
            concurrency={name: one.concurrency for name, one in self._config.providers.items()},
            salt=lambda: randomness.randbits(63),
            clock=self._clock,
            finished=lambda endpoint: schedule.finished(endpoint),  # noqa: PLW0108 - likewise
            gate=gate,
            sight=sight,
        )
        schedule = Schedule(
            [
                Scheduled(
                    id=one.id,
                    grid=compose.grid(one),
                    timeout=self._rules[one.id].timeout,
                    provider=one.provider,
                )
                for one in endpoints
            ],
            begin=pipeline.begin,
            gap=writer.gap,
            segment=writer.segment,
            suspended=stood_still,
            accounted=start.known.accounted,
            in_force=start.known.segments,
            stopped_cleanly=start.stopped.cleanly,
            now=self._clock.now,
            monotonic=self._clock.monotonic,
        )
        reception = self._reception(start, compose.senders(watched), writer, pipeline, sight)
        return pipeline, schedule, reception

    def _reception(
        self, start: Start, senders: list[Sender], writer: Writer, pipeline: Pipeline, sight: Sight
    ) -> Reception:
        reception = Reception(
            senders,
            blot=self._blot,
            keep=lambda report: writer.keep(Step(report=report)),
            put=lambda report: writer.put(Step(report=report)),
            look=pipeline.look_now,
            clock=self._clock,
            deaf=sight.deaf_s,
        )
        failing = {
            name
            for name, belief in start.known.beliefs.items()
            if belief.last_outcome is not None and belief.last_outcome.blame is Blame.PROVIDER
        }
        # Who died may have heard more than it kept.
        away_since = start.stopped.beat_at if start.stopped.cleanly else None
        reception.resume(start.known.reports, failing, away_since)
        return reception

    def _sight(self, start: Start, writer: Writer, transports: Transports) -> Sight:
        """Whether we can see, from where the daemon before us left off."""
        return Sight(
            Canaries(self._config.canary.places, transports, self._clock.monotonic),
            writer,
            self._clock,
            channels=self._reports(),
            zone=self._config.site.timezone,
            held=start.known.blind,
        )

    def _catch_up(self, start: Start, writer: Writer, chores: Upkeep) -> None:
        """What time did while nobody ran, before anything new is seen."""
        now = self._clock.now()
        for endpoint, belief in start.known.beliefs.items():
            rules = self._rules.get(endpoint)
            if rules is None:
                if belief.incident or belief.misconfigured or belief.quiet:
                    writer.record(endpoint, Removed())
            elif needs_tick(belief, rules, now):
                writer.record(endpoint, Tick())
        commands, announced = start.asked
        if start.journal is not None:
            chores.announce(announced)
        if start.stopped.beat_at is not None:
            chores.catch_up(start.stopped.beat_at)
        chores.carry_out(commands)
        chores.tick()

    def _arrange(self, parts: "_Parts") -> None:
        """Housekeeping, as ordinary jobs of the same scheduler."""
        every = parts.schedule.every
        every(upkeep.TICK_S, parts.chores.tick)
        every(upkeep.TICK_S, lambda: self._ask(parts))
        if len(parts.reception):
            every(upkeep.TICK_S, parts.reception.tick)
        every(upkeep.HEARTBEAT_S, lambda: self._heartbeat(parts))
        every(upkeep.CHECKPOINT_S, parts.writer.save_checkpoint)
        every(upkeep.NEWS_S, parts.writer.save_news)
        every(upkeep.PRUNE_S, lambda: self._prune(parts))
        every(upkeep.SWEEP_S, upkeep.sweep)
        if any(endpoint.http2 for endpoint in compose.enabled(self._config)):
            every(upkeep.SWEEP_ALL_S, upkeep.sweep_all)
        granted = systemd.watchdog_interval()
        if granted is not None:
            every(granted, lambda: self._show_life(parts, granted * 2))

    async def _ask(self, parts: "_Parts") -> None:
        """Operators' commands reach the running daemon through the database."""
        heard: list[tuple[list[Command], list[Announced]]] = []
        now = self._clock.now()
        if await parts.writer.on_database(lambda journal: heard.append(journal.asked(now))):
            commands, announced = heard[0]
            parts.chores.announce(announced)
            parts.chores.carry_out(commands)

    async def _heartbeat(self, parts: "_Parts") -> None:
        now = self._clock.now()
        self._weigh(parts)
        daemon = await self._write_status(parts, now)
        await parts.writer.on_database(lambda journal: journal.beat(now, daemon))

    async def _write_status(self, parts: "_Parts", now: Instant, *, stopped: bool = False) -> dict[str, Any]:
        daemon = self._facts(parts)
        beliefs = parts.writer.checkpoint().beliefs.values()
        path = self._state_dir / STATUS
        try:
            await asyncio.to_thread(
                lambda: upkeep.write_status(path, upkeep.status(beliefs, now, daemon, stopped=stopped))
            )
        except OSError as refusal:
            log.warning("status.unwritten", errno=refusal.errno)
        return daemon

    def _weigh(self, parts: "_Parts") -> None:
        """Whether this machine keeps up and times well; it is told when that changes."""
        watch, looks = parts.watch, parts.pipeline.tally
        strained, busy = watch.scale.overload, watch.vigil.spell.began
        alerts = watch.weigh(
            self._clock.monotonic(),
            self._clock.now(),
            looks=looks.judged,
            set_aside=looks.set_aside,
            start_late_ms=parts.schedule.tally.take_lately_ms(),
        )
        strain, reason, began = watch.scale.newest, watch.scale.overload, watch.vigil.spell.began
        if reason is not None and strained is None:
            log.warning("daemon.overloaded", reason=reason, at_once=parts.pipeline.gate.limit)
        elif strained is not None and reason is None:
            log.info("daemon.keeps_up", busy=round(strain.busy, 3), lag_ms=round(strain.lag_ms, 1))
        load = to_status(watch.vigil.load)
        if began is not None and busy is None:
            log.warning("daemon.too_busy", since=iso(began), reason=reason, **load)
        elif busy is not None and began is None:
            log.info("daemon.times_well", **load)
        if alerts:
            parts.writer.put(Step(alerts=alerts))

    def _facts(self, parts: "_Parts") -> dict[str, Any]:
        """What the page shows of the daemon itself."""
        health, beats, looks = parts.writer.health, parts.schedule.tally, parts.pipeline.tally
        scale, vigil = parts.watch.scale, parts.watch.vigil
        return {
            "version": __version__,
            "pid": os.getpid(),
            "stored": health.stored,
            "waiting": health.waiting,
            "database_away_since": health.away_since and iso(health.away_since),
            "spooled_bytes": health.spooled_bytes,
            "refused_rows": health.refused,
            "probes": looks.probes,
            "in_flight": looks.in_flight,
            "confirmations": looks.confirmations,
            "bugs": looks.bugs,
            "not_sent": {str(outcome): count for outcome, count in looks.refused.items()},
            "begun": beats.begun,
            "begun_late": beats.begun_late,
            "lateness_ms": round(beats.lateness_ms, 3),
            "lateness_max_ms": round(beats.lateness_max_ms, 3),
            "loop_busy": round(scale.newest.busy, 4),
            "loop_lag_ms": round(scale.newest.lag_ms, 3),
            "core_delay": scale.newest.delayed and round(scale.newest.delayed, 4),
            "overload": scale.overload,
            "too_busy_since": vigil.spell.began and iso(vigil.spell.began),
            "last_10m": to_status(vigil.load),
            "at_once": parts.pipeline.gate.limit,
            "held_back": parts.pipeline.gate.waiting,
            "kernel_stamps": self._kernel_stamps,
            "blind_since": parts.sight.blind and iso(parts.sight.blind.started),
            "held_results": parts.sight.holding,
            "missed": {str(reason): count for reason, count in health.missed.items()},
            "clock_steps": beats.clock_steps,
            "suspensions": beats.suspensions,
            "beats": beats.beats,
            "beats_dropped": beats.dropped,
            "reports_heard": parts.reception.tally.heard,
            "reports_refused": parts.reception.tally.refused,
            "alerts_waiting": parts.notify.waiting,
            "alerts_sent": parts.notify.tally.sent,
            "alerts_failed": parts.notify.tally.failed,
            "alerts_dead": parts.notify.tally.dead,
        }

    async def _prune(self, parts: "_Parts") -> None:
        before = Instant(self._clock.now() - prune.RAW_KEPT)
        more = True

        def work(journal: Journal) -> None:
            nonlocal more
            more = journal.prune(before) > 0

        while more and await parts.writer.on_database(work):  # noqa: ASYNC110 - a pause for others
            await asyncio.sleep(0.05)

    def _show_life(self, parts: "_Parts", limit_s: float) -> None:
        """Only real progress of the schedule and of the writer counts as life."""
        oldest = min(parts.schedule.progress, parts.writer.health.progress)
        if self._clock.monotonic() - oldest < limit_s:
            systemd.alive()
        else:
            log.error("daemon.stuck", schedule=parts.schedule.progress, writer=parts.writer.health.progress)

    def _say_ready(self) -> None:
        # What exists by now stays.
        gc.freeze()
        count = len(self._rules)
        log.info("daemon.ready", endpoints=count, database=self._held.database.name, version=__version__)
        systemd.ready(f"watching {count} endpoints")

    async def _until_the_end(self, parts: "_Parts", writing: asyncio.Task[None]) -> None:
        """Returns when we are told to stop; raises what a part that must not end failed with."""
        told = asyncio.create_task(self._end.wait())
        lasting = (writing, *parts.notify.tasks)
        events: list[asyncio.Future[Any]] = [told, *lasting, parts.writer.fatal]
        try:
            await asyncio.wait(events, return_when=asyncio.FIRST_COMPLETED)
        finally:
            told.cancel()
        if parts.writer.fatal.done():
            raise parts.writer.fatal.result()
        for task in lasting:
            if task.done():
                task.result()

    # End

    async def _stop(self, parts: "_Parts", writing: asyncio.Task[None]) -> None:
        systemd.stopping("waiting for probes in flight")
        log.info("daemon.stopping", in_flight=parts.pipeline.tally.in_flight)
        parts.schedule.pause()
        parts.watch.stop()
        parts.reception.stop()
        # Who cannot write, or has been deposed, has nothing to wait for and nothing to say.
        able = not (writing.done() or parts.writer.fatal.done())
        await parts.pipeline.stop(CUT_OFF_S if able else 0.0)
        await parts.sight.stop()
        await parts.schedule.close()
        await parts.notify.stop(LAST_MESSAGES_S if able else 0.0)
        if able and await self._last_steps(parts.writer, writing):
            now = self._clock.now()
            await self._write_status(parts, now, stopped=True)
            await parts.writer.on_database(lambda journal: journal.stop(now))
        await asyncio.to_thread(parts.writer.release)
        # While the database is away there is nobody to take leave of, and a call may still hang in it: that
        # needs its watchdog to the last. The end of the process frees the lock, too.
        if not parts.writer.is_away:
            if self._held.ownership is not None:
                self._held.ownership.release()
            self._held.database.dispose()

    async def _last_steps(self, writer: Writer, writing: asyncio.Task[None]) -> bool:
        """Whether the writer could keep all that was waiting."""
        writer.close()
        await asyncio.wait((writing,), timeout=LAST_STEPS_S)
        if not writing.done() or writing.exception() is not None:
            log.error("steps.lost", count=writer.health.waiting, reason=writer.health.last_error)
            writing.cancel()
            return False
        try:
            await writer.save_checkpoint()
        except OSError as refusal:
            log.warning("checkpoint.unwritten", errno=refusal.errno)
        return True


@dataclass(frozen=True, slots=True)
class _Parts:
    writer: Writer
    notify: Notifier
    pipeline: Pipeline
    schedule: Schedule
    chores: Upkeep
    watch: Watch
    sight: Sight
    reception: Reception


@contextlib.asynccontextmanager
async def _receiving(doors: Doors, reception: Reception) -> AsyncIterator[None]:
    """Take reports, to the very last: one that comes while we stop is told to come again."""
    door = Door(doors.sockets, reception.answer)
    door.open()
    if doors.sockets:
        log.info("push.listening", addresses=[told(one) for one in doors.sockets], senders=len(reception))
    try:
        yield
    finally:
        await door.close()
        doors.close()


def _rules_of_the_gone(config: Config, known: Checkpoint) -> dict[str, Rules]:
    return {endpoint: compose.gone(config, endpoint) for endpoint in known.beliefs}


SEQUENCES_AHEAD = 1_000_000


def _ahead(saved: Checkpoint) -> Checkpoint:
    """A checkpoint may be a minute old; what follows must be newer than all that the database holds."""
    beliefs = {
        name: replace(belief, sequence=belief.sequence + SEQUENCES_AHEAD)
        for name, belief in saved.beliefs.items()
    }
    return replace(saved, beliefs=beliefs)


def _allow_many_files() -> None:
    """Each probe needs a socket; the soft limit is often 1,024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
