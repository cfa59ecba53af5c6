"""The one way through: look → judge → writer.

A slot comes in by `begin`; what goes out is one result for the writer. Nothing else decides
whether to look, and nothing here decides what a look amounts to.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal

import structlog

from monitor import __version__, canaries
from monitor.canaries import Sight
from monitor.clock import Clock
from monitor.core import evidence, identity
from monitor.core.belief import Belief, Look, Quiet, Rules, confirmation_at, throttled_until
from monitor.core.blot import Blot, cleared
from monitor.core.budget import FREE, Price, cost_usd
from monitor.core.figures import Figures
from monitor.core.headroom import Headroom
from monitor.core.headroom import read as read_limits
from monitor.core.instant import SECOND, Instant, say
from monitor.core.integrity import NO_FLAW, Flaw, flaws
from monitor.core.observation import Observation, Usage
from monitor.core.outcome import Outcome
from monitor.core.report import Mailbox, Standing
from monitor.core.slots import Gap, GapReason, Grid
from monitor.core.step import Result, probe_id
from monitor.core.timeline import Timeline, pack, phases
from monitor.core.verdict import Learnt, Verdict, judge
from monitor.core.wire import Limits, Wire
from monitor.protocols import Look as Prepared
from monitor.purse import Purse
from monitor.strain import Gate
from monitor.transport.waking import waking_of
from monitor.writer import Writer

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """One endpoint with everything that a look at it needs, computed once."""

    id: str
    provider: str
    look: Prepared
    wire: Wire
    rules: Rules
    grid: Grid
    timeout_s: float
    connect_s: float
    protocol: str
    location: str
    blot: Blot
    """Every secret of this process."""
    price: Price | None = None
    worst_cost: Decimal = FREE
    """USD of one probe at most; 0 where there is no price."""
    mailbox: Mailbox | None = None
    """Where its reports go; None where it is asked."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A finished look with its verdict; what `uptoken probe` shows and the pipeline stores."""

    at: Instant
    observation: Observation
    verdict: Verdict
    cost_usd: Decimal | None
    flaws: frozenset[Flaw] = NO_FLAW
    events: tuple[identity.Event, ...] = ()
    """What is new about who answers."""
    headroom: Headroom | None = None
    """What the reply said of the vendor's limits."""


async def look_once(watched: Watched, learnt: Learnt, nonce: str, clock: Clock) -> Seen:
    """Look and judge. Raises CancelledError, and whatever a bug raises; nothing else."""
    if learnt.identity != watched.look.identity:
        learnt = Learnt(identity=watched.look.identity)
    at = clock.now()
    timeline = Timeline(start=clock.monotonic())
    limits = Limits(deadline=timeline.start + watched.timeout_s, connect_s=watched.connect_s)
    waking = waking_of(asyncio.get_running_loop())
    held_up_s = 0.0 if waking is None else waking.held_up_s
    told = await watched.look.look(watched.wire, timeline, limits, nonce, learnt.protocol)
    if waking is not None:
        told.timeline.held_up_s = waking.held_up_s - held_up_s
    observation = cleared(told, watched.blot)
    received = _received(observation, at)
    headroom = _headroom(observation, received)
    verdict = judge(
        observation,
        watched.look.expect,
        learnt,
        model=watched.look.model,
        limits=() if headroom is None else headroom.limits,
        received_at=received,
        allowed=limits,
    )
    known, events = identity.notice(
        verdict.learnt.known,
        observation,
        usual=watched.look.expect.model or verdict.learnt.served_model,
        at=at,
    )
    if known is not verdict.learnt.known:
        verdict = replace(verdict, learnt=replace(verdict.learnt, known=known))
    return Seen(
        at=at,
        observation=observation,
        verdict=verdict,
        cost_usd=_cost(watched.price, verdict.figures, observation.usage),
        flaws=flaws(observation, verdict),
        events=tuple(events),
        headroom=headroom,
    )


def _received(seen: Observation, began: Instant) -> Instant | None:
    """When the reply came, by our own clock."""
    if seen.timeline.headers is None:
        return None
    return Instant(began + round((seen.timeline.headers - seen.timeline.start) * SECOND))


def _headroom(seen: Observation, received: Instant | None) -> Headroom | None:
    if received is None:
        return None
    limits = read_limits(seen.headers, received)
    return Headroom(received, limits) if limits else None


def _cost(price: Price | None, figures: Figures, said: Usage | None) -> Decimal | None:
    return cost_usd(
        price,
        input_tokens=figures.input_tokens,
        output_tokens=figures.output_tokens,
        cached_tokens=figures.cached_tokens,
        written_tokens=None if said is None else said.written_tokens,
    )


@dataclass(slots=True)
class _Place:
    """What the pipeline remembers of an endpoint while it runs."""

    watched: Watched
    task: asyncio.Task[None] | None = None
    confirmation: asyncio.TimerHandle | None = None
    slot: Instant = Instant(0)
    maintenance: bool = False
    """Its slot lies in maintenance, so its result counts nowhere, whenever it ends."""
    began: Instant = Instant(0)
    """Start of the look that runs; 0 while it waits for its turn."""
    began_s: float = 0.0
    """The same on the clock that nobody can step, monotonic seconds."""
    rations: dict[Outcome, Instant] = field(default_factory=dict)
    """How much evidence of each outcome was kept of late."""
    suspended: bool = False
    """The host slept or we stood still while the look ran: no time in it means anything."""


@dataclass(slots=True)
class Tally:
    """For the daemon's own metrics."""

    probes: int = 0
    in_flight: int = 0
    confirmations: int = 0
    judged: int = 0
    """Looks that came to a verdict."""
    set_aside: int = 0
    """Those of them that could not be timed: `self_overload`."""
    bugs: int = 0
    refused: dict[Outcome, int] = field(default_factory=dict)
    """Slots that were due and not probed."""


class Pipeline:
    """Runs at most one look per endpoint at a time; results of an endpoint enter in start order."""

    def __init__(
        self,
        watched: Iterable[Watched],
        *,
        writer: Writer,
        purse: Purse,
        concurrency: Mapping[str, int],
        salt: Callable[[], int],
        clock: Clock,
        finished: Callable[[str], None],
        gate: Gate,
        sight: Sight,
    ) -> None:
        """`concurrency` bounds the looks at once by provider, `gate` all of them; `salt` gives 64
        random bits; `finished` hears when an endpoint is free again; `sight` decides whether a
        failure was our own."""
        self.gate = gate
        self._sight = sight
        self._places = {one.id: _Place(one) for one in watched}
        self._writer = writer
        self._purse = purse
        self._doors = {provider: asyncio.Semaphore(limit) for provider, limit in concurrency.items() if limit}
        self._salt = salt
        self._clock = clock
        self._finished = finished
        self._stopping = False
        self.tally = Tally()

    # In

    def begin(self, endpoint: str, slot: Instant) -> bool:
        """A slot's moment has come. False: the endpoint's previous look still runs."""
        place = self._places[endpoint]
        if place.task is not None:
            return False
        if place.confirmation is not None:
            place.confirmation.cancel()
            place.confirmation = None
        belief = self._writer.belief(endpoint)
        place.slot = slot
        # It may be late, and lie in what has ended meanwhile.
        over = {span.quiet for span in self._writer.quiet(endpoint) if span.covers(slot)}
        place.maintenance = Quiet.MAINTENANCE in over
        if Quiet.PAUSED in over or Quiet.PAUSED in belief.quiet:
            # A paused slot is not due, and so in no gap; but one that was late when the pause began is.
            self._writer.gap(Gap(endpoint, slot, slot, 1, GapReason.LATE))
            self._finished(endpoint)
            return True
        refusal = self._refusal(place.watched, belief)
        if refusal is not None:
            self._store_unsent(place.watched, slot, *refusal)
            self._finished(endpoint)
            return True
        self._start(place, slot, scheduled=True)
        return True

    def suspended(self) -> None:
        """We stood still until now: no look that runs can be judged."""
        for place in self._places.values():
            place.suspended = place.task is not None

    def _refusal(self, watched: Watched, belief: Belief) -> tuple[Outcome, str] | None:
        """Why this slot is not probed, although it is due; None: it is, and its money is set aside."""
        now = self._clock.now()
        until = throttled_until(belief, watched.rules.interval, now)
        if until is not None:
            return Outcome.RATE_LIMITED, (
                "throttled; not asked, because the provider wanted to be left alone"
                f" for another {say(until - now)}"
            )
        refused = self._purse.reserve(watched.id, watched.worst_cost, now)
        return None if refused is None else (Outcome.BUDGET_EXHAUSTED, refused.reason)

    def _start(self, place: _Place, slot: Instant, *, scheduled: bool) -> None:
        place.began, place.suspended = Instant(0), False
        place.task = asyncio.get_running_loop().create_task(self._through(place, slot, scheduled=scheduled))

    # Through

    async def _through(self, place: _Place, slot: Instant, *, scheduled: bool) -> None:
        watched = place.watched
        door = self._doors.get(watched.provider)
        seen: Seen | None = None
        look: Look | None = None
        try:
            salt = self._salt()
            if door is None:
                async with self.gate:
                    seen = await self._look(place, slot, salt, scheduled=scheduled)
            else:
                async with door, self.gate:
                    seen = await self._look(place, slot, salt, scheduled=scheduled)
            if seen is not None:
                look = await self._end(place, slot, seen, salt, scheduled=scheduled)
        except asyncio.CancelledError:
            # Only `stop` cancels, and it wants no more than that the look ends.
            cut = "cut off because the monitor was stopped"
            self._store_unseen(watched, slot, Outcome.CANCELLED, cut, scheduled=scheduled)
        finally:
            place.task = None
            self._finished(watched.id)
        if look is not None:
            self._plan_confirmation(place, look)

    async def _look(self, place: _Place, slot: Instant, salt: int, *, scheduled: bool) -> Seen | None:
        watched = place.watched
        missed = self._missed(watched, slot, scheduled=scheduled)
        if missed is not None and not scheduled:
            return None
        if missed is not None:
            self._purse.settle(watched.id, FREE)
            self._writer.gap(Gap(watched.id, slot, slot, 1, missed))
            return None
        self.tally.probes += 1
        self.tally.in_flight += 1
        try:
            learnt = self._writer.belief(watched.id).learnt
            place.began, place.began_s = self._clock.now(), self._clock.monotonic()
            seen = await look_once(watched, learnt, f"{salt:016x}", self._clock)
        except Exception:
            log.exception("probe.bug", endpoint=watched.id)
            self._note_bug(watched, slot, scheduled=scheduled)
            return None
        finally:
            self.tally.in_flight -= 1
        return seen

    async def _end(
        self, place: _Place, slot: Instant, seen: Seen, salt: int, *, scheduled: bool
    ) -> Look | None:
        """Decide and store. A look that is held keeps nobody waiting but the endpoint's own next one."""
        watched = place.watched
        try:
            if not place.suspended:
                seen = await self._decided(watched, seen)
            if not place.suspended:
                return self._store(watched, slot, seen, salt, scheduled=scheduled)
        except Exception:
            log.exception("probe.bug", endpoint=watched.id)
            self._note_bug(watched, slot, scheduled=scheduled)
            return None
        stood = "the monitor or its host stood still during this probe, so its times mean nothing"
        self._store_unseen(watched, slot, Outcome.SELF_OVERLOAD, stood, scheduled=scheduled)
        return None

    def _missed(self, watched: Watched, slot: Instant, *, scheduled: bool) -> GapReason | None:
        """Why nothing can be seen at this slot any more, or yet."""
        if scheduled and self._clock.now() >= slot + watched.grid.interval:
            # It waited that long for its turn.
            return GapReason.LATE
        box = watched.mailbox
        if box is not None and box.standing(self._clock.monotonic()) is Standing.WAITING:
            # Nobody listened for some of the time that the slot looks back on.
            return GapReason.NOT_RUNNING
        return None

    def _note_bug(self, watched: Watched, slot: Instant, *, scheduled: bool) -> None:
        """A bug of ours must not look like an outage, and must not stop the others."""
        self.tally.bugs += 1
        detail = "the monitor itself failed at this probe; its log says where"
        self._store_unseen(watched, slot, Outcome.INTERNAL_ERROR, detail, scheduled=scheduled)

    async def _decided(self, watched: Watched, seen: Seen) -> Seen:
        """The look with the verdict that holds, at most 3 s later: the failure may be our own."""
        before = self._writer.belief(watched.id).last_outcome
        verdict = await self._sight.settle(
            canaries.Look(
                endpoint=watched.id,
                vendor=watched.provider,
                at=seen.at,
                began=seen.observation.timeline.start,
                lasts_s=watched.grid.interval / SECOND,
                worked=before is None or before.works,
                observation=seen.observation,
                verdict=seen.verdict,
            )
        )
        if verdict is seen.verdict:
            return seen
        return replace(seen, verdict=verdict, flaws=flaws(seen.observation, verdict))

    # Out

    def _store(self, watched: Watched, slot: Instant, seen: Seen, salt: int, *, scheduled: bool) -> Look:
        verdict, observation = seen.verdict, seen.observation
        self.tally.judged += 1
        self.tally.set_aside += verdict.outcome is Outcome.SELF_OVERLOAD
        failed = verdict.outcome is not Outcome.OK
        look = Look(
            at=seen.at,
            scheduled=scheduled,
            verdict=verdict,
            request_id=observation.request_id,
            flaws=seen.flaws,
            headroom=seen.headroom,
        )
        probe = probe_id(seen.at, salt)
        result = Result(
            probe_id=probe,
            endpoint=watched.id,
            at=seen.at,
            slot=slot,
            scheduled=scheduled,
            outcome=verdict.outcome,
            maintenance=self._places[watched.id].maintenance,
            detail=verdict.detail,
            request_id=observation.request_id if failed else None,
            figures=verdict.figures,
            cost_usd=seen.cost_usd,
            timeline=pack(phases(observation.timeline)),
            evidence=self._proof(watched, seen, probe),
            flaws=seen.flaws,
            cache_hit=identity.is_cache_hit(observation),
            headroom_permille=None if seen.headroom is None else seen.headroom.permille,
        )
        nothing_sent = observation.timeline.request_sent is None
        cost = FREE if nothing_sent else seen.cost_usd
        self._purse.settle(watched.id, cost)
        self._writer.record(watched.id, look, result=result, events=seen.events)
        return look

    def _proof(self, watched: Watched, seen: Seen, probe: str) -> bytes | None:
        """As `_evidence`; a bug there must not cost the result."""
        try:
            return self._evidence(watched, seen, probe)
        except Exception:
            self.tally.bugs += 1
            log.exception("probe.bug", endpoint=watched.id)
            return None

    def _evidence(self, watched: Watched, seen: Seen, probe: str) -> bytes | None:
        """What is kept of a failure beside its result; None where it is none, or one of too many."""
        outcome, rations = seen.verdict.outcome, self._places[watched.id].rations
        used = evidence.ration(rations.get(outcome), seen.at) if evidence.is_kept(outcome) else None
        if used is None:
            return None
        rations[outcome] = used
        return evidence.store(
            evidence.gather(
                seen.observation,
                seen.verdict,
                probe_id=probe,
                endpoint=watched.id,
                at=seen.at,
                monitor=__version__,
                location=watched.location,
                protocol=watched.protocol,
                model=watched.look.model,
                blot=watched.blot,
            )
        )

    def _store_unsent(self, watched: Watched, slot: Instant, outcome: Outcome, detail: str) -> None:
        self.tally.refused[outcome] = self.tally.refused.get(outcome, 0) + 1
        self._store_unseen(watched, slot, outcome, detail, scheduled=True, sent=False)

    def _store_unseen(
        self,
        watched: Watched,
        slot: Instant,
        outcome: Outcome,
        detail: str,
        *,
        scheduled: bool,
        sent: bool = True,
    ) -> None:
        """A slot that is accounted for, though there is nothing to measure but how far it came."""
        place = self._places[watched.id]
        began = place.began if sent else Instant(0)
        at = began or self._clock.now()
        figures = Figures(total_ms=(self._clock.monotonic() - place.began_s) * 1000.0 if began else 0.0)
        self._purse.settle(watched.id, None)
        learnt = self._writer.belief(watched.id).learnt
        verdict = Verdict(outcome=outcome, detail=detail, figures=figures, learnt=learnt)
        result = Result(
            probe_id=probe_id(at, self._salt()),
            endpoint=watched.id,
            at=at,
            slot=slot,
            scheduled=scheduled,
            outcome=outcome,
            sent=sent,
            figures=figures,
            maintenance=place.maintenance,
            detail=detail,
        )
        look = Look(at=at, scheduled=scheduled, verdict=verdict)
        self._writer.record(watched.id, look, result=result)

    # Looking twice

    def _plan_confirmation(self, place: _Place, look: Look) -> None:
        if self._stopping:
            return
        watched = place.watched
        now = self._clock.now()
        belief = self._writer.belief(watched.id)
        start = confirmation_at(belief, look, watched.rules, now, watched.grid.next(now))
        if start is None:
            return
        place.confirmation = asyncio.get_running_loop().call_later(
            (start - now) / SECOND, self._confirm, place
        )

    def _confirm(self, place: _Place) -> None:
        place.confirmation = None
        belief = self._writer.belief(place.watched.id)
        if place.task is not None or self._stopping or Quiet.PAUSED in belief.quiet:
            return
        if self._refusal(place.watched, belief) is not None:
            return
        self.tally.confirmations += 1
        place.maintenance = Quiet.MAINTENANCE in belief.quiet
        self._start(place, place.slot, scheduled=False)

    def look_now(self, endpoint: str) -> None:
        """Take an extra look at an endpoint that reported something else than before, or fell silent."""
        place = self._places[endpoint]
        belief = self._writer.belief(endpoint)
        if place.task is not None or self._stopping or Quiet.PAUSED in belief.quiet:
            return
        place.maintenance = Quiet.MAINTENANCE in belief.quiet
        self._start(place, place.watched.grid.last(self._clock.now()), scheduled=False)

    # The end

    async def stop(self, patience_s: float) -> None:
        """Start nothing more; wait for what runs, and cut off what takes longer than that."""
        self._stopping = True
        for place in self._places.values():
            if place.confirmation is not None:
                place.confirmation.cancel()
                place.confirmation = None
        running = [place.task for place in self._places.values() if place.task is not None]
        if not running:
            return
        _, late = await asyncio.wait(running, timeout=patience_s)
        for task in late:
            task.cancel()
        if late:
            log.info("probes.cut_off", count=len(late))
            await asyncio.wait(late)
