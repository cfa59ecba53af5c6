"""Asks canaries whether there is a way out, and decides with their answers what a failure was.

Nothing is sent while all is well: a round of canaries is asked when a failure may be our own,
at most once a second, and every two seconds while we are blind.
"""

import asyncio
import socket
import struct
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo
from pathlib import Path as File
from typing import Any

import structlog

from monitor.clock import Clock, monotonic
from monitor.core import path
from monitor.core.alert import Alert, Kind, owed
from monitor.core.belief import Withdrawn
from monitor.core.instant import SECOND, Instant, iso
from monitor.core.observation import Observation
from monitor.core.path import Answers, Blind, Glimpse, Need, Path
from monitor.core.step import Step
from monitor.core.verdict import Verdict
from monitor.core.wire import FaultKind, WireFault
from monitor.transport.patience import Patience, TimeUp
from monitor.transport.resolver import Address, literal
from monitor.transport.sockets import connect
from monitor.transport.wire import Transports
from monitor.writer import Writer

log = structlog.get_logger()

ROUND_S = 2.5
"""A canary that says nothing for as long is silent."""
EVERY_S = 1.0
"""No round begins sooner after the last one; what that one said serves until then."""
BLIND_EVERY_S = 2.0
UNHEARD = 3
"""So often they must be silent just after an endpoint has answered, before they are no witnesses."""
GATEWAY_PORTS = (53, 443)
_ROUTES = File("/proc/self/net/route")
_NEIGHBOURS = File("/proc/self/net/arp")
_GATEWAY = 0x2
"""RTF_GATEWAY of a route; in the neighbours' table it means that the hardware address is known."""

Place = tuple[str, int]
"""A name or an address, and a port."""


# One round


class Round:
    """Canaries that are asked at the same time."""

    def __init__(self, transports: Transports, began: float) -> None:
        self.began = began
        self.answers = Answers()
        """So far."""
        self.proofs: dict[Need, float] = {}
        """When each was seen to work, monotonic seconds."""
        self._transports = transports
        self._known = {need: asyncio.Event() for need in Need}
        self._tasks: list[asyncio.Task[None]] = []
        self._over: asyncio.Task[None] | None = None

    def begin(self, places: Sequence[Place], gateways: Sequence[str]) -> None:
        """Needs a running loop."""
        until = self.began + ROUND_S
        literals = [found for place in places if (found := literal(*place)) is not None]
        names = [place for place in places if literal(*place) is None]
        self.answers = Answers(literals=len(literals), names=len(names), gateways=len(gateways))
        talks = [self._literal(address, until) for address in literals]
        talks += [self._name(place, until) for place in names]
        talks += [self._gateway(host, until) for host in gateways]
        self._tasks = [asyncio.create_task(talk) for talk in talks]
        self._over = asyncio.create_task(self._end())

    @property
    def is_over(self) -> bool:
        return self._over is not None and self._over.done()

    def knows(self, need: Need) -> bool:
        """It works, or all that will ever answer has."""
        return self._known[need].is_set()

    async def says(self, need: Need) -> None:
        """Until it `knows`."""
        await self._known[need].wait()

    async def close(self) -> None:
        """Ask no longer."""
        tasks = [*self._tasks, *([] if self._over is None else [self._over])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _end(self) -> None:
        try:
            await asyncio.gather(*self._tasks)
        finally:
            for known in self._known.values():
                known.set()

    async def _literal(self, address: Address, until: float) -> None:
        if await self._knock([address], until):
            self._reached(Need.INTERNET)

    async def _name(self, place: Place, until: float) -> None:
        patience = Patience(asyncio.get_running_loop())
        try:
            found = await self._transports.resolver.resolve(*place, "auto", patience, until)
        except (WireFault, TimeUp):
            return
        finally:
            patience.close()
        self.answers = replace(self.answers, resolved=self.answers.resolved + 1)
        self._works(Need.NAMES)
        if await self._knock(found, until):
            self._reached(Need.INTERNET)

    async def _gateway(self, host: str, until: float) -> None:
        """It is there if it answers at a port, or if it says silently who it is: many drop what they get."""
        knocks = [self._knock(_addresses(host, port), until) for port in GATEWAY_PORTS]
        for knock in asyncio.as_completed(knocks):
            if await knock:
                self._reached(Need.LAN)
                return
        if is_neighbour(_read(_NEIGHBOURS), host):
            self._reached(Need.LAN)

    def _reached(self, need: Need) -> None:
        self.answers = replace(self.answers, reached=self.answers.reached + 1)
        self._works(need)

    def _works(self, need: Need) -> None:
        self.proofs[need] = monotonic()
        self._known[need].set()

    async def _knock(self, addresses: Sequence[Address], until: float) -> bool:
        """Connect, and hang up: whether somebody is there, if only to refuse."""
        patience = Patience(asyncio.get_running_loop())
        try:
            connected = await connect(addresses, patience, until, self._transports.stamps)
        except TimeUp:
            return False
        except WireFault as no:
            return no.fault.kind is FaultKind.REFUSED
        finally:
            patience.close()
        connected.sock.close()
        return True


def _addresses(host: str, port: int) -> list[Address]:
    found = literal(host, port)
    return [] if found is None else [found]


class Canaries:
    """Whom to ask. The public ones are configured, the gateways are read where they are needed."""

    def __init__(
        self, places: Iterable[Place], transports: Transports, monotonic: Callable[[], float]
    ) -> None:
        self._places = tuple(places)
        self._transports = transports
        self._monotonic = monotonic
        self._newest: dict[bool, Round] = {}
        """Of the gateways (True) and of the public ones."""
        self._running: set[Round] = set()
        self.rounds = 0
        """How often anybody was asked."""

    async def ask(self, need: Need) -> Round | None:
        """What they say of it, within 2.5 s; None: there is nobody to ask."""
        near = need is Need.LAN
        newest, now = self._newest.get(near), self._monotonic()
        if newest is None or (now - newest.began >= EVERY_S and newest.knows(need)):
            hosts = gateways(_read(_ROUTES)) if near else ()
            places = () if near else self._places
            if not places and not hosts:
                return None
            newest = self._newest[near] = Round(self._transports, now)
            self._running = {one for one in self._running if not one.is_over} | {newest}
            self.rounds += 1
            newest.begin(places, hosts)
        await newest.says(need)
        return newest

    async def close(self) -> None:
        """Ask no longer."""
        for one in self._running:
            await one.close()


def gateways(routes: str) -> tuple[str, ...]:
    """The default gateways of this machine, as `/proc/net/route` tells."""
    found = []
    for line in routes.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 7 and fields[1] == fields[7] == "00000000" and int(fields[3], 16) & _GATEWAY:
            found.append(socket.inet_ntoa(struct.pack("=I", int(fields[2], 16))))
    return tuple(dict.fromkeys(found))


def is_neighbour(neighbours: str, host: str) -> bool:
    """Whether the machine knows under which hardware address it reaches that one (`/proc/net/arp`)."""
    rows = (line.split() for line in neighbours.splitlines()[1:])
    return any(len(row) > 2 and row[0] == host and int(row[2], 16) & _GATEWAY for row in rows)


def _read(table: File) -> str:
    """Empty where the kernel has no such table."""
    try:
        return table.read_text()
    except OSError:
        return ""


# What follows


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A look that has just ended, as far as the way is concerned. Moments in monotonic seconds."""

    endpoint: str
    vendor: str
    at: Instant
    began: float
    lasts_s: float
    """Until the next look is due."""
    worked: bool
    """The look before it did, or there was none."""
    observation: Observation
    verdict: Verdict


class Sight:
    """Whether we can see: decides undecided looks, and keeps the record of our blindness."""

    def __init__(
        self,
        canaries: Canaries,
        writer: Writer,
        clock: Clock,
        *,
        channels: Sequence[str],
        zone: tzinfo | None,
        held: Blind | None,
    ) -> None:
        """`channels` want to hear of the monitor's own troubles; `held` was open when the daemon before
        us ended."""
        self._canaries = canaries
        self._writer = writer
        self._clock = clock
        self._channels = tuple(channels)
        self._zone = zone
        self._path = Path()
        self.blind = held
        """The record that is open."""
        self._deaf_since = 0.0 if held is None else self._when(held.started)
        """Its beginning in monotonic seconds; of the newest one where none is open."""
        self._lost: dict[Need, float] = {} if held is None else {held.need: 0.0}
        """What does not work, and when that was found out (monotonic seconds)."""
        self._mute = False
        """Endpoints answer, and no canary ever did: they are no witnesses."""
        self._first_asked: float | None = None
        """Since then they have been silent, and never anything else."""
        self._ever_reached = False
        self._unheard = 0
        self._saw = Instant(0)
        """The end of the newest record: no moment belongs to two of them."""
        self._asides: set[asyncio.Task[object]] = set()
        self.holding = 0
        """How many results wait for an answer now."""

    def start(self) -> None:
        """Needs a running loop. Goes on with what the daemon before us had not seen the end of."""
        if self.blind is not None:
            self._aside(self._look_out(0.0))

    async def stop(self) -> None:
        """Ask no longer; an open record stays open."""
        for task in self._asides:
            task.cancel()
        await asyncio.gather(*self._asides, return_exceptions=True)
        await self._canaries.close()

    def deaf_s(self) -> float | None:
        """For how many seconds nobody can have reached us; None: they can. Lost names keep nobody away."""
        if self.blind is None or not self._lost.keys() - {Need.NAMES}:
            return None
        return self._clock.monotonic() - self._deaf_since

    def _when(self, past: Instant) -> float:
        """That moment in monotonic seconds, by what the wall clock says now: it may be set later."""
        return self._clock.monotonic() - max(0.0, (self._clock.now() - past) / SECOND)

    async def settle(self, look: Look) -> Verdict:
        """The verdict that holds, within 3 s; at once where there is nothing to doubt."""
        seen, verdict = look.observation, look.verdict
        need = path.doubt(seen, verdict, worked=look.worked, usual=self._path.usual(look.endpoint))
        suspected = path.suspicion(seen, verdict) if need is None else None
        if seen.heard is not None and not self._path.proven_after(Need.INTERNET, 0.0):
            suspected = None  # Where there never was an internet, silence says nothing of it.
        glimpse = self._glimpse(look, need or suspected)
        self._path.note(glimpse)
        if glimpse.answered is not None:
            self._seen(glimpse)
        if suspected is not None and not any(one in self._lost for one in path.hangs_on(suspected)):
            self._aside(self._inquire(glimpse, suspected))
        return verdict if need is None else await self._decide(glimpse, need, verdict)

    def _glimpse(self, look: Look, doubt: Need | None) -> Glimpse:
        ended = self._clock.monotonic()
        return Glimpse(
            endpoint=look.endpoint,
            vendor=look.vendor,
            at=look.at,
            began=look.began,
            ended=ended,
            lasts_s=look.lasts_s,
            need=path.need_of(look.observation.timeline.peers),
            answered=path.answered_at(look.observation, look.verdict, ended),
            doubt=doubt,
            resolved=look.observation.timeline.dns_s is not None
            and look.observation.timeline.connect_s is not None,
        )

    async def _decide(self, seen: Glimpse, need: Need, verdict: Verdict) -> Verdict:
        if self.blind is not None and any(one in self._lost for one in path.hangs_on(need)):
            return path.ours(verdict, self.blind.reason)
        if self._path.was_lost(seen):
            return path.ours(verdict, "The monitor itself had no network while it waited")
        # What the hosts file knows proves no name server: of names only canaries tell.
        if need is not Need.NAMES and self._path.proven(seen):
            return verdict
        self.holding += 1
        try:
            async with asyncio.timeout(path.HELD_S):
                gone = await self._inquire(seen, need)
        except TimeoutError:
            gone = "Nobody could be asked in time whether the monitor has a network"
        finally:
            self.holding -= 1
        return verdict if gone is None else path.ours(verdict, gone)

    async def _inquire(self, seen: Glimpse, need: Need) -> str | None:
        """Why it is our own trouble; None: it is not, as far as can be known."""
        answers = await self._ask(need)
        said = answers.says(need)
        if said is None or (said is False and self._mute and need is Need.INTERNET):
            return path.CROWD if self._path.crowd(seen).says_it_is_us else None
        if said or self._path.proven_after(need, seen.ended):
            return None
        gone = path.lost(need, self._path.usual(seen.endpoint), answers)
        why = path.reason(gone, answers)
        self._lose(need, gone, why)
        return why

    async def _ask(self, need: Need) -> Answers:
        began = self._clock.monotonic()
        asked = await self._canaries.ask(need)
        if asked is None:
            return Answers()
        for works, at in asked.proofs.items():
            self._works(works, at)
        if asked.answers.asked(Need.INTERNET):
            if asked.answers.reached:
                self._ever_reached, self._mute = True, False
            never = not (self._ever_reached or self._mute)
            self._first_asked = (self._first_asked or began) if never else None
        return asked.answers

    # Blind

    def _seen(self, seen: Glimpse) -> None:
        """Somebody answered a look."""
        if seen.need is None or seen.answered is None:
            return
        asked = self._first_asked
        if seen.need is Need.INTERNET and asked is not None and seen.began >= asked:
            # There is a way, and no canary has ever shown it: do they answer now?
            self._first_asked = None
            self._aside(self._listen())
        self._works(seen.need, seen.answered)

    async def _listen(self) -> None:
        await self._ask(Need.INTERNET)
        self._unheard += 1
        if self._unheard == UNHEARD and not self._ever_reached:
            self._mute, self._first_asked = True, None
            log.warning("canaries.mute", reason="none of them ever answered, yet endpoints do")

    def _lose(self, need: Need, gone: Need, why: str) -> None:
        """`gone` is lost: a look that hangs on `need` showed it."""
        if gone in self._lost:
            return
        now = self._clock.now()
        since = [self._path.silent_since(one) for one in (need, gone)]
        started = Instant(max(self._saw, min((one for one in since if one is not None), default=now)))
        self._lost[gone] = self._clock.monotonic()
        self._withdraw({need, gone}, started, why)
        if self.blind is None:
            self.blind = Blind(started=started, ended=None, need=gone, reason=why)
            self._deaf_since = self._when(started)
            self._writer.put(Step(blind=self.blind))
            log.warning("daemon.blind", since=iso(started), reason=why)
            self._aside(self._look_out(BLIND_EVERY_S))

    def _withdraw(self, needs: set[Need], since: Instant, why: str) -> None:
        """What was said since then of those who hang on them was said too early."""
        for seen in (one for need in needs for one in self._path.silent(need)):
            incident = self._writer.belief(seen.endpoint).incident
            if incident is not None and incident.started >= since:
                self._writer.record(seen.endpoint, Withdrawn(since=since, why=why))

    def _works(self, need: Need, at: float) -> None:
        """It did at that moment."""
        self._path.prove(need, at)
        if at <= self._lost.get(need, at):
            return
        del self._lost[need]
        self._path.restored(need, self._clock.monotonic())
        if not self._lost and self.blind is not None:
            self._see_again(self.blind)

    def _see_again(self, blind: Blind) -> None:
        now = self._clock.now()
        over = replace(blind, ended=Instant(max(now, blind.started)))
        self.blind, self._saw = None, over.ended or now
        self._writer.put(Step(blind=over, alerts=self._notice(over, now)))
        log.info("daemon.sees", blind_since=iso(blind.started))

    def _notice(self, blind: Blind, now: Instant) -> tuple[Alert, ...]:
        return owed(
            path.notice(blind, now, self._zone),
            incident=path.incident_of(blind),
            sequence=1,
            kind=Kind.MONITOR,
            endpoint=None,
            channels=self._channels,
            at=now,
        )

    async def _look_out(self, pause_s: float) -> None:
        """Until there is a way again; first after that pause."""
        blind = self.blind
        while self.blind is blind is not None:
            await asyncio.sleep(pause_s)
            pause_s = BLIND_EVERY_S
            for need in tuple(self._lost):
                answers = await self._ask(need)
                if answers.says(need) is None:
                    # Whoever found it out could ask somebody; we cannot, so it is not for us to keep up.
                    self._works(need, self._clock.monotonic())

    def _aside(self, work: Coroutine[Any, Any, object]) -> None:
        task: asyncio.Task[object] = asyncio.create_task(work)
        self._asides.add(task)
        task.add_done_callback(self._asides.discard)
