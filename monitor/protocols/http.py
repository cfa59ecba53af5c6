"""A plain HTTP check: status, body, time and certificate.

The time counts to the end of the body, or of as much of it as is read: 1 MB where something is
sought in it, else 64 KB.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from monitor.config.settings import EndpointSettings
from monitor.config.values import Duration, Table, Text, Url, quoted
from monitor.core.observation import BODY_KEPT, Observation, Timer, Usage, clean
from monitor.core.timeline import Timeline
from monitor.core.trace import Trace
from monitor.core.verdict import Expect
from monitor.core.wire import Fault, FaultKind, Limits, Phase, Reply, Request, Wire, WireFault
from monitor.protocols import Reveal
from monitor.protocols._prepare import headers, milliseconds, without_secrets
from monitor.protocols._vendor import kept_headers, request_id

SEARCHED_BYTES = 1024 * 1024
DRAINED_BYTES = 64 * 1024
_EVIDENCE = 2 * BODY_KEPT
_RANGE = re.compile(r"([1-5]\d\d)(?:-([1-5]\d\d))?")


def _statuses(value: object) -> object:
    if isinstance(value, frozenset):
        return value
    parts = value if isinstance(value, list) else [value]
    if not parts:
        raise ValueError("the list is empty: name at least one status such as 200")
    return frozenset(status for part in parts for status in _range(part))


def _range(part: object) -> range:
    """`200`, `"200"` or `"200-299"`."""
    if isinstance(part, int | str) and not isinstance(part, bool):
        match = _RANGE.fullmatch(str(part))
        if match:
            low, high = int(match[1]), int(match[2] or match[1])
            if low > high:
                raise ValueError(f"{quoted(part)} runs backwards: write the lower status first")
            return range(low, high + 1)
    raise ValueError(f'{quoted(part)} is not a status such as 200, "200-299" or [200, 404]')


_ONE = {"anyOf": [{"type": "integer", "minimum": 100, "maximum": 599}, {"type": "string"}]}
Statuses = Annotated[
    frozenset[int],
    BeforeValidator(_statuses),
    WithJsonSchema({"anyOf": [*_ONE["anyOf"], {"type": "array", "items": _ONE, "minItems": 1}]}),
]
"""One status, a range of them, or a list of both."""


class HttpExpect(Table):
    """What a good answer is; None is not looked at."""

    status: Statuses = Field(default=frozenset(range(200, 300)), json_schema_extra={"default": "200-299"})
    body_contains: Text | None = None
    """A part of the body, letter by letter."""
    elapsed: Duration | None = None
    certificate_days: Annotated[float, Field(ge=0, le=10_000, allow_inf_nan=False)] | None = None
    """Days that the certificate has to hold at least."""


class Settings(EndpointSettings):
    """One URL."""

    url: Url
    method: Literal["GET", "HEAD", "POST"] = "GET"
    expect: HttpExpect = HttpExpect()


def prepare(settings: Settings, reveal: Reveal) -> "Page":
    """One URL, ready to be looked at."""
    return Page(settings, reveal)


class Page:
    """One URL, ready to be looked at."""

    def __init__(self, settings: Settings, reveal: Reveal) -> None:
        sent = headers({"Accept": "*/*"}, settings, reveal)
        self._request = Request(settings.method, settings.url, sent)
        expect = settings.expect
        self._statuses = expect.status
        self._sought = expect.body_contains
        self._most = DRAINED_BYTES if self._sought is None else SEARCHED_BYTES
        self.model: str | None = None
        self.identity = f"http {without_secrets(settings.url)}"
        self.expect = Expect(
            status=expect.status,
            body_contains=expect.body_contains,
            elapsed_ms=milliseconds(expect.elapsed),
            certificate_days=expect.certificate_days,
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
        """Ask once and read the body."""
        asked = self._request
        trace = Trace(asked.method, asked.url, len(asked.body))
        try:
            async with wire.exchange(asked, timeline, limits) as reply:
                body, fault = await self._body(reply, timeline, trace, limits.deadline)
                return self._seen(reply, timeline, trace, body, fault)
        except WireFault as stop:
            timeline.end = stop.at
            timer = Timer.TOTAL if _timed_out(stop.fault) else None
            return Observation(timeline=timeline, fault=stop.fault, timer=timer, trace=trace)

    async def _body(
        self, reply: Reply, timeline: Timeline, trace: Trace, deadline: float
    ) -> tuple[bytearray, Fault | None]:
        """As much of the body as is wanted, and what cut it short if anything did."""
        body = bytearray()
        timeline.end, timeline.end_earliest = timeline.headers, timeline.headers_earliest
        while len(body) < self._most:
            try:
                arrival = await reply.read(deadline)
            except WireFault as stop:
                timeline.end, timeline.end_earliest = stop.at, None
                return body, stop.fault
            if arrival is None:
                if reply.ended is not None:
                    timeline.end, timeline.end_earliest = reply.ended
                break
            if timeline.first_byte is None:
                timeline.first_byte = arrival.at
            timeline.end = arrival.at
            exact = arrival.stamped and (arrival.last or arrival.complete)
            timeline.end_earliest = arrival.at if exact else arrival.earliest
            body += arrival.data
            trace.came(arrival)
            if arrival.at > deadline:  # bytes that never pause must not keep a probe alive
                return body, Fault(FaultKind.TIMEOUT, Phase.BODY, "the body did not end in time")
        return body, None

    def _seen(
        self, reply: Reply, timeline: Timeline, trace: Trace, body: bytearray, fault: Fault | None
    ) -> Observation:
        matches = None if self._sought is None else self._contains(body, reply)
        good = reply.status in self._statuses and matches is not False
        return Observation(
            timeline=timeline,
            fault=fault,
            timer=Timer.TOTAL if _timed_out(fault) else None,
            status=reply.status,
            headers=kept_headers(reply.headers),
            body="" if good else self._evidence(body),
            request_id=request_id(reply.headers),
            certificate_days=reply.certificate_days,
            body_matches=matches,
            trace=trace,
        )

    def _contains(self, body: bytearray, reply: Reply) -> bool:
        assert self._sought is not None
        found = re.search(r"charset=\"?([\w.:-]+)", reply.headers.get("content-type", ""), re.IGNORECASE)
        try:
            sought = self._sought.encode(found[1] if found else "utf-8")
        except (LookupError, UnicodeEncodeError):
            sought = self._sought.encode()
        return sought in body

    def _evidence(self, body: bytearray) -> str:
        return clean(body[:_EVIDENCE].decode("utf-8", "replace"), BODY_KEPT)


def _timed_out(fault: Fault | None) -> bool:
    """A limit ran out on a connection that stood."""
    late = fault is not None and fault.kind is FaultKind.TIMEOUT
    return late and fault is not None and fault.phase in (Phase.REQUEST, Phase.HEADERS, Phase.BODY)
