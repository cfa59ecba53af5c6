"""A port that takes connections, and perhaps says what it is expected to say.

Without `banner_contains` the connection is closed as soon as it stands, and the time is that of
name and connection. Else it counts to the bytes in which the text was found.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar

from pydantic import Field

from monitor.config.address import HostAndPort, host_and_port
from monitor.config.settings import EndpointSettings, Objection
from monitor.config.values import Duration, Table, Text
from monitor.core.observation import BODY_KEPT, Observation, Usage, clean
from monitor.core.timeline import Timeline
from monitor.core.verdict import Expect
from monitor.core.wire import FaultKind, Limits, Link, Place, Wire, WireFault
from monitor.protocols import Reveal
from monitor.protocols._prepare import milliseconds

SEARCHED_BYTES = 1024


class TcpExpect(Table):
    """What a good answer is; None is not looked at."""

    banner_contains: Text | None = None
    """A part of the first KB that it says, letter by letter."""
    elapsed: Duration | None = None


class Settings(EndpointSettings):
    """One port."""

    over_http: ClassVar[bool] = False

    address: HostAndPort
    """`host:port`; IPv6 in brackets."""
    send: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    """Said as soon as the connection stands, for servers that wait to be spoken to. No secret in it."""
    expect: TcpExpect = TcpExpect()

    def objections(self) -> Iterator[Objection]:
        if self.send is not None and self.expect.banner_contains is None:
            yield ("send",), "is of no use without an answer: write expect.banner_contains beside it"


def prepare(settings: Settings, reveal: Reveal) -> "Port":
    """One port, ready to be looked at."""
    return Port(settings, reveal)


class Port:
    """One port, ready to be looked at."""

    def __init__(self, settings: Settings, reveal: Reveal) -> None:  # noqa: ARG002 - there is nothing to reveal
        host, port = host_and_port(settings.address)
        self._place = Place(host=host, port=port)
        self._said = (settings.send or "").encode()
        self._sought = settings.expect.banner_contains
        self.model: str | None = None
        self.identity = f"tcp {settings.address}"
        self.expect = Expect(body_contains=self._sought, elapsed_ms=milliseconds(settings.expect.elapsed))
        self.worst_case = Usage(input_tokens=0, output_tokens=0)

    async def look(
        self,
        wire: Wire,
        timeline: Timeline,
        limits: Limits,
        nonce: str,  # noqa: ARG002 - a plain check has no cache to get past
        learnt: Mapping[str, str],  # noqa: ARG002 - nor anything to learn
    ) -> Observation:
        """Connect once, and listen where something is to be heard."""
        try:
            async with wire.connect(self._place, timeline, limits) as link:
                if self._sought is None:
                    return Observation(timeline=timeline)
                if self._said:
                    await link.send(self._said)
                banner = await self._banner(link, timeline, limits.deadline)
        except WireFault as stop:
            timeline.end, timeline.end_earliest = stop.at, None
            return Observation(timeline=timeline, fault=stop.fault)
        found = self._sought.encode() in banner
        return Observation(
            timeline=timeline, body="" if found else self._evidence(banner), body_matches=found
        )

    async def _banner(self, link: Link, timeline: Timeline, deadline: float) -> bytearray:
        """What it says, until that holds what is sought, or it says no more, or too much, or nothing."""
        assert self._sought is not None
        sought, banner = self._sought.encode(), bytearray()
        while len(banner) < SEARCHED_BYTES and sought not in banner:
            try:
                arrival = await link.read(deadline)
            except WireFault as stop:
                if stop.fault.kind is not FaultKind.TIMEOUT:
                    raise
                # That it stays silent is what was to be found out; it is no fault of the connection.
                timeline.end, timeline.end_earliest = stop.at, None
                break
            if arrival is None:
                if link.ended is not None:
                    timeline.end, timeline.end_earliest = link.ended
                break
            if timeline.first_byte is None:
                timeline.first_byte = arrival.at
            timeline.end = arrival.at
            timeline.end_earliest = arrival.at if arrival.stamped and arrival.last else arrival.earliest
            banner += arrival.data
        return banner[:SEARCHED_BYTES]

    def _evidence(self, banner: bytearray) -> str:
        return clean(banner.decode("utf-8", "replace"), BODY_KEPT)
