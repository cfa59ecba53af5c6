"""A wire in memory: it replays what a server once sent, in a time of its own.

No clock runs: every piece says how long it took, and a read that would wait too long is told so
at once. The stamps are therefore exact, and the same in every run.
"""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from monitor.config.secrets import SecretText
from monitor.config.settings import EndpointSettings, ModelSettings
from monitor.core.blot import Blot, cleared
from monitor.core.observation import Observation
from monitor.core.timeline import Timeline
from monitor.core.wire import (
    Arrival,
    Certificate,
    Fault,
    FaultKind,
    Limits,
    Moment,
    Phase,
    Place,
    Question,
    Request,
    WireFault,
)
from monitor.protocols import Look, registry
from tests.protocols.script import script

START = 1000.0
KEY = "sk-very-secret-4271"
BLOT = Blot([KEY])
SETUP = {"dns_s": 0.010, "connect_s": 0.020, "tls_s": 0.030}


@dataclass(frozen=True)
class Piece:
    """Bytes, and how many seconds after the bytes before them they came."""

    data: bytes
    after: float = 0.010
    stamped: bool = True


@dataclass(frozen=True)
class Recording:
    """One exchange as it was. `ending` is None for a proper end, "open" for none at all."""

    pieces: Sequence[Piece] = ()
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    ending: FaultKind | str | None = None
    ending_after: float = 0.0
    """Seconds behind the last bytes."""
    headers_after: float = 0.100
    refused: Fault | None = None
    """The fault instead of any reply."""
    certificate_days: float | None = 60.0
    answers: tuple[str, ...] = ("192.0.2.1",)
    """Of name servers."""


class Replay:
    """A wire that plays its recordings one after the other, one for each exchange, connection or question."""

    def __init__(self, *recordings: Recording) -> None:
        self._left = list(recordings)
        self.requests: list[Request] = []
        self.asked: list[Place | Question] = []
        self.sent = b""
        self.limits: list[Limits] = []
        self.open = 0
        self.gathered: list[float] = []
        """For how long each read let bytes gather."""

    @asynccontextmanager
    async def exchange(
        self, request: Request, timeline: Timeline, limits: Limits
    ) -> AsyncIterator["PlayedReply"]:
        recording = self._left.pop(0)
        self.requests.append(request)
        self.limits.append(limits)
        if recording.refused is not None:
            raise WireFault(recording.refused, timeline.start + 1.0)
        timeline.dns_s, timeline.connect_s, timeline.tls_s = SETUP.values()
        timeline.own_s = 0.001
        timeline.request_sent = timeline.start + sum(SETUP.values()) + timeline.own_s
        due = timeline.request_sent + recording.headers_after
        allowed = timeline.request_sent + (limits.headers_s or 1e9)
        if due > min(allowed, limits.deadline):
            fault = Fault(FaultKind.TIMEOUT, Phase.HEADERS, "no headers in time")
            raise WireFault(fault, min(allowed, limits.deadline))
        timeline.headers = due
        self.open += 1
        try:
            yield PlayedReply(recording, due, limits, self.gathered)
        finally:
            self.open -= 1

    @asynccontextmanager
    async def connect(self, place: Place, timeline: Timeline, limits: Limits) -> AsyncIterator["PlayedLink"]:
        recording = self._left.pop(0)
        self.asked.append(place)
        if recording.refused is not None:
            raise WireFault(recording.refused, timeline.start + 1.0)
        timeline.dns_s, timeline.connect_s = SETUP["dns_s"], SETUP["connect_s"]
        timeline.tls_s = SETUP["tls_s"] if place.secure else None
        timeline.own_s = 0.001
        timeline.end = timeline.end_earliest = timeline.stood()
        self.open += 1
        try:
            yield PlayedLink(self, recording, place, timeline, limits)
        finally:
            self.open -= 1

    async def resolve(
        self,
        question: Question,
        timeline: Timeline,
        limits: Limits,  # noqa: ARG002 - answers come at once
    ) -> tuple[str, ...]:
        recording = self._left.pop(0)
        self.asked.append(question)
        if recording.refused is not None:
            raise WireFault(recording.refused, timeline.start + 1.0)
        timeline.dns_s, timeline.own_s = SETUP["dns_s"], 0.001
        timeline.end = timeline.end_earliest = timeline.stood()
        return recording.answers


class PlayedReply:
    def __init__(self, recording: Recording, now: float, limits: Limits, gathered: list[float]) -> None:
        self._gathered = gathered
        self._pieces = iter(recording.pieces)
        self._next = next(self._pieces, None)
        self._recording = recording
        self._now = now
        self._deadline = limits.deadline
        self._room = limits.body_bytes
        self._unsure = 0.0
        self.ended: Moment | None = None

    @property
    def status(self) -> int:
        return self._recording.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self._recording.headers

    @property
    def certificate_days(self) -> float | None:
        return self._recording.certificate_days

    async def read(self, until: float, gather_s: float = 0.0) -> Arrival | None:
        self._gathered.append(gather_s)
        until = min(until, self._deadline)
        if self._next is None:
            return self._end(until)
        due = self._now + self._next.after
        if due > until:
            raise self._timeout(until)
        piece, self._now = self._next, due
        self._next = next(self._pieces, None)
        self._room -= len(piece.data)
        if self._room < 0:
            raise WireFault(Fault(FaultKind.TOO_LARGE, Phase.BODY, "the body is too large"), due)
        self._unsure = 0.0 if piece.stamped else 0.002
        return Arrival(piece.data, due, due - 0.002, stamped=piece.stamped)

    def _end(self, until: float) -> None:
        ending = self._recording.ending
        if ending == "open":
            raise self._timeout(until)
        self._now += self._recording.ending_after
        if isinstance(ending, FaultKind):
            raise WireFault(Fault(ending, Phase.BODY, f"it ended: {ending}"), self._now)
        unsure = 0.001 if self._recording.ending_after else self._unsure
        self.ended = Moment(self._now, self._now - unsure)

    def _timeout(self, until: float) -> WireFault:
        self._now = until
        return WireFault(Fault(FaultKind.TIMEOUT, Phase.BODY, "nothing came in time"), until)


class PlayedLink:
    def __init__(
        self, wire: Replay, recording: Recording, place: Place, timeline: Timeline, limits: Limits
    ) -> None:
        self._wire = wire
        self._timeline = timeline
        self._reply = PlayedReply(recording, timeline.stood(), limits, [])
        days = recording.certificate_days or 0.0
        self.certificate = (
            Certificate(days=days, first="acme.example", issuer="O=Acme", version="TLSv1.3")
            if place.secure
            else None
        )

    @property
    def ended(self) -> Moment | None:
        return self._reply.ended

    async def send(self, data: bytes) -> None:
        self._wire.sent += data
        self._timeline.request_sent = self._timeline.stood()

    async def read(self, until: float) -> Arrival | None:
        return await self._reply.read(until)


def reveal(text: SecretText) -> str:
    """The one secret of these tests."""
    return text.template.replace("${env:KEY}", KEY)


def look_of(protocol: str, **values: Any) -> Look:
    """One endpoint of that protocol, ready to be looked at."""
    return registry()[protocol].prepare(settings_of(protocol, **values), reveal)


def settings_of(protocol: str, **values: Any) -> EndpointSettings:
    """One endpoint of that protocol, as the config has it."""
    module = registry()[protocol]
    settings: dict[str, Any] = {
        "id": "acme/thing",
        "provider": "acme",
        "slug": "thing",
        "provider_name": "Acme",
        "protocol": protocol,
        "name": "thing",
    }
    if issubclass(module.Settings, ModelSettings):
        settings |= {
            "model": "acme-1",
            "base_url": script(protocol).BASE_URL,
            "api_key": SecretText("${env:KEY}"),
        }
    return module.Settings(**settings | values)


async def look(
    at: Look,
    *recordings: Recording,
    nonce: str = "0badc0de",
    learnt: Mapping[str, str] | None = None,
    timeout: float = 30.0,
    wire: Replay | None = None,
    blot: Blot = BLOT,
) -> Observation:
    """One look at what was recorded, without the secrets in it, as the pipeline takes it."""
    timeline = Timeline(start=START)
    limits = Limits(deadline=START + timeout, connect_s=10.0)
    return cleared(await at.look(wire or Replay(*recordings), timeline, limits, nonce, learnt or {}), blot)


def events(*chunks: object, end: str = "\n\n") -> bytes:
    """Chunks as a server writes them; a text stands for itself."""
    lines = [
        chunk if isinstance(chunk, str) else f"data: {json.dumps(chunk, ensure_ascii=False)}"
        for chunk in chunks
    ]
    return "".join(line + end for line in lines).encode()


def streamed(
    *reads: bytes, after: float = 0.010, ending: FaultKind | str | None = None, ending_after: float = 0.0
) -> Recording:
    """A stream of status 200 that came in these reads."""
    headers = {"content-type": "text/event-stream", "x-request-id": "req-1"}
    pieces = [Piece(read, after) for read in reads]
    return Recording(pieces, headers=headers, ending=ending, ending_after=ending_after)
