"""A server's certificates: the whole chain, the name they are for, and how long they hold."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from monitor.config.address import Host, TlsPlace, host_and_port
from monitor.config.settings import EndpointSettings
from monitor.config.values import Duration, Table, Text
from monitor.core.observation import Observation, Usage
from monitor.core.timeline import Timeline
from monitor.core.verdict import Expect
from monitor.core.wire import Limits, Place, Wire, WireFault
from monitor.protocols import Reveal
from monitor.protocols._prepare import milliseconds

PORT = 443


class TlsExpect(Table):
    """What a good answer is; None is not looked at."""

    certificate_days: Annotated[float, Field(ge=0, le=10_000, allow_inf_nan=False)] | None = 14.0
    """Days that every certificate of the chain has to hold at least."""
    elapsed: Duration | None = None
    issuer_contains: Text | None = None
    """A part of the issuer's name such as `O=Let's Encrypt`, letter by letter."""
    version: Literal["TLSv1.2", "TLSv1.3"] | None = None
    """The oldest version of TLS that will do; older than 1.2 is never spoken."""


class Settings(EndpointSettings):
    """One server that speaks TLS from the first byte on."""

    over_http: ClassVar[bool] = False

    address: TlsPlace
    """`host` or `host:port`; the port is 443 unless it is said."""
    server_name: Host | None = None
    """The name that the certificate has to be for, and that is asked for; the host unless it is said."""
    expect: TlsExpect = TlsExpect()


def prepare(settings: Settings, reveal: Reveal) -> "Server":
    """One server, ready to be looked at."""
    return Server(settings, reveal)


class Server:
    """One server, ready to be looked at."""

    def __init__(self, settings: Settings, reveal: Reveal) -> None:  # noqa: ARG002 - there is nothing to reveal
        host, port = host_and_port(settings.address, PORT)
        self._place = Place(host=host, port=port, secure=True, server_name=settings.server_name or "")
        expect = settings.expect
        self.model: str | None = None
        self.identity = f"tls {host} {port}"
        self.expect = Expect(
            certificate_days=expect.certificate_days,
            elapsed_ms=milliseconds(expect.elapsed),
            issuer_contains=expect.issuer_contains,
            version=expect.version,
        )
        self.worst_case = Usage(input_tokens=0, output_tokens=0)

    async def look(
        self,
        wire: Wire,
        timeline: Timeline,
        limits: Limits,
        nonce: str,  # noqa: ARG002 - a plain check has no cache to get past
        learnt: Mapping[str, str],  # noqa: ARG002 - nor anything to learn
    ) -> Observation:
        """Shake hands once."""
        try:
            async with wire.connect(self._place, timeline, limits) as link:
                shown = link.certificate
        except WireFault as stop:
            timeline.end, timeline.end_earliest = stop.at, None
            return Observation(timeline=timeline, fault=stop.fault)
        return Observation(
            timeline=timeline, certificate=shown, certificate_days=None if shown is None else shown.days
        )
