"""A name: that name servers answer for it, and what."""

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from monitor.config.address import NameServer, host_and_port, is_address, is_name
from monitor.config.settings import EndpointSettings, Objection
from monitor.config.values import Duration, Table, Text, quoted
from monitor.core.observation import Observation, Usage
from monitor.core.timeline import Timeline
from monitor.core.verdict import Expect
from monitor.core.wire import Limits, Question, Record, Wire, WireFault
from monitor.protocols import Reveal
from monitor.protocols._prepare import milliseconds


def _listed(value: object) -> object:
    return (value,) if isinstance(value, str) else value


Answers = Annotated[
    tuple[Text, ...],
    Field(strict=False, min_length=1),
    BeforeValidator(_listed),
    WithJsonSchema(
        {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}
    ),
]
"""One record, or several that all have to be there."""


class DnsExpect(Table):
    """What a good answer is; None is not looked at."""

    answer: Answers | None = None
    """A record, or a list of records that all have to be among the answers."""
    elapsed: Duration | None = None


class Settings(EndpointSettings):
    """One name."""

    over_http: ClassVar[bool] = False

    query: Text | None = None
    """The name that is looked up, where `name` is what people call it; `name` unless it is said."""
    record: Literal["A", "AAAA", "CAA", "CNAME", "MX", "NS", "PTR", "SOA", "SRV", "TXT"] = "A"
    server: NameServer | None = None
    """The address of the name server that is asked; those of the system unless it is said."""
    expect: DnsExpect = DnsExpect()

    def objections(self) -> Iterator[Objection]:
        key = "name" if self.query is None else "query"
        if not is_name(asked(self)):
            text = f"{quoted(self.query or self.name)} is no name that can be looked up"
            more = ': write that as query = "acme.example"' if key == "name" else ' such as "acme.example"'
            yield (key,), text + more
        if self.proxy is not None:
            yield ("proxy",), "name servers cannot be asked through a proxy: write proxy = false"
        if self.server is not None and self.ip != "auto":
            host, _ = host_and_port(self.server)
            if not is_address(host, self.ip):
                yield ("server",), f"is not of IPv{self.ip}, which `ip` wants"


def prepare(settings: Settings, reveal: Reveal) -> "Name":
    """One name, ready to be looked up."""
    return Name(settings, reveal)


def asked(settings: Settings) -> str:
    """What is looked up. The PTR record of an address stands under a name of its own."""
    said = settings.query or settings.name
    if settings.record == Record.PTR and is_address(said):
        return ipaddress.ip_address(said).reverse_pointer
    return said


class Name:
    """One name, ready to be looked up."""

    def __init__(self, settings: Settings, reveal: Reveal) -> None:  # noqa: ARG002 - there is nothing to reveal
        self._question = Question(asked(settings), Record(settings.record), settings.server)
        self._expected = settings.expect.answer or ()
        self.model: str | None = None
        self.identity = f"dns {self._question.name} {settings.record} {settings.server or ''}".rstrip()
        self.expect = Expect(elapsed_ms=milliseconds(settings.expect.elapsed))
        self.worst_case = Usage(input_tokens=0, output_tokens=0)

    async def look(
        self,
        wire: Wire,
        timeline: Timeline,
        limits: Limits,
        nonce: str,  # noqa: ARG002 - what is asked is remembered nowhere on our side
        learnt: Mapping[str, str],  # noqa: ARG002 - nor is there anything to learn
    ) -> Observation:
        """Ask once."""
        try:
            answers = await wire.resolve(self._question, timeline, limits)
        except WireFault as stop:
            timeline.end, timeline.end_earliest = stop.at, None
            return Observation(timeline=timeline, fault=stop.fault)
        record = self._question.record
        missing = [text for text in self._expected if not any(fits(record, text, one) for one in answers)]
        return Observation(timeline=timeline, answers=answers, missing=tuple(missing))


def fits(record: Record, expected: str, answer: str) -> bool:
    """The answer is what was expected, or one of its parts is: the host of `10 mail.acme.example`.

    A text need only be contained, letter by letter; everything else has no case, and a name no dot
    behind it.
    """
    if record is Record.TXT:
        return expected in answer
    wanted = _plain(expected)
    return wanted == _plain(answer) or wanted in [_plain(part) for part in answer.split()]


def _plain(text: str) -> str:
    text = text.strip('"').rstrip(".").casefold()
    # The same address can be written in more than one way.
    return str(ipaddress.ip_address(text)) if is_address(text) else text
