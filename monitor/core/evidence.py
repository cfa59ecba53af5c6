"""The evidence of one failure: what was asked, what came when, and what was made of it.

It goes to people outside, attached to a ticket, so it holds no secret: everything in it was
cleaned and blotted out here, once, before it was cut. Its size is bounded whatever a server
sends, and `ration` bounds how much of it an endpoint can pile up.
"""

import enum
import json
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from monitor.core.blot import PIECE, SECRET_PARAMETER, Blot
from monitor.core.figures import Figures, TokenSource
from monitor.core.instant import MINUTE, Instant, Span
from monitor.core.observation import BODY_KEPT, DETAIL_KEPT, Observation, VendorError, clean
from monitor.core.outcome import Blame, Outcome
from monitor.core.timeline import Channel, Phases, Token, pack, phases, unpack
from monitor.core.trace import BEGINNING, MOST_READS, Trace
from monitor.core.verdict import Verdict
from monitor.core.wire import Fault, FaultKind, Phase

MOST_EVENTS = 2 * MOST_READS
MOST_HEADERS = 40
AT_ONCE = 20
"""Failures of one outcome whose evidence is kept, however soon they follow one another."""
EVERY = Span(10 * MINUTE)
"""And after those, one in this time."""

_LEFT_OUT = "(left out: its pieces, put together, hold a secret)"
_SAID = re.compile(r'"(\w{1,40})"\s{0,4}:\s{0,4}"((?:[^"\\]|\\.){1,200})"')
_PLAIN_EVENT = re.compile(r"^data: ?([^{].{0,199})$", re.MULTILINE)
_WORD = 200
_URL = 500
_LOGIN = re.compile(r"//[^/?#]*@")
_LEVEL = 6
_VERSION = b"\x01"

Json = dict[str, Any]


class Kind(enum.StrEnum):
    """What happened on the wire."""

    DNS = "dns"
    CONNECT = "connect"
    TLS = "tls"
    SENT = "sent"
    HEADERS = "headers"
    BYTES = "bytes"
    """One read of the body."""
    COMMENT = "comment"
    """One read of the body that held a keep-alive and no text."""
    REASONING = "reasoning"
    TOKEN = "token"
    """One event with text of the answer, of a refusal or of a tool call."""
    TERMINAL = "terminal"
    ERROR = "error"
    """The server said that it failed."""
    FAULT = "fault"
    """What ended the exchange early."""
    END = "end"


class Happening(NamedTuple):
    """Something that happened, and when."""

    offset_ms: float
    """From the start of the probe."""
    kind: Kind
    size: int | None = None
    """Bytes; of a piece of text its characters. None: it has none."""
    is_bound: bool = False
    """It happened then or before; no stamp tells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One failed probe as it is shown to the vendor. `None` means: not seen, or not so."""

    probe_id: str
    endpoint: str
    at: Instant
    monitor: str
    """The version of the program."""
    location: str
    protocol: str
    model: str | None = None
    """The one that was asked for."""
    method: str | None = None
    url: str | None = None
    sent: int | None = None
    """Bytes of the request's body."""
    peer: str | None = None
    outcome: Outcome
    detail: str | None = None
    figures: Figures
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    request_id: str | None = None
    error: VendorError | None = None
    fault: Fault | None = None
    served_model: str | None = None
    finish_reason: str | None = None
    phases: Phases
    events: tuple[Happening, ...] = ()
    dropped: int = 0
    """Events that are left out in the middle."""
    body: str = ""
    """The beginning of the body, at most 2,048 characters; its lines are its own."""
    received: int = 0
    """Bytes of the body in all."""


def is_kept(outcome: Outcome) -> bool:
    """Whether somebody may want to see what came of such a probe."""
    blame = outcome.blame
    return outcome is Outcome.LOCAL_NETWORK or (blame is not None and blame is not Blame.MONITOR)


def ration(used: Instant | None, now: Instant) -> Instant | None:
    """Whether there is room for one more; None: no. Else what to give as `used` the next time.

    `used` is of one endpoint and one outcome, None at first: the moment at which the room that
    was used will be free again.
    """
    if used is None or used < now or used > now + AT_ONCE * EVERY:  # the clock was put back
        used = now
    return None if used > now + (AT_ONCE - 1) * EVERY else Instant(used + EVERY)


# Gathering


def gather(
    seen: Observation,
    verdict: Verdict,
    *,
    probe_id: str,
    endpoint: str,
    at: Instant,
    monitor: str,
    location: str,
    protocol: str,
    model: str | None,
    blot: Blot,
) -> Evidence:
    """All that one look left behind, cleaned and without secrets. Of our own network only the times."""
    trace, moments = seen.trace, phases(seen.timeline)
    say = _saying(blot)
    events, dropped = _events(seen, moments)
    theirs = verdict.blame is not Blame.MONITOR
    return Evidence(
        probe_id=probe_id,
        endpoint=endpoint,
        at=at,
        monitor=monitor,
        location=location,
        protocol=protocol,
        model=model,
        method=None if trace is None else trace.method,
        url=None if trace is None else say(_shown(trace.url), _URL),
        sent=None if trace is None else trace.sent,
        peer=seen.timeline.peer,
        outcome=verdict.outcome,
        detail=_maybe(say, verdict.detail, DETAIL_KEPT),
        figures=verdict.figures,
        status=seen.status if theirs else None,
        headers=_headers(seen.headers, say) if theirs else {},
        request_id=_maybe(say, seen.request_id) if theirs else None,
        error=_error(seen.error, say) if theirs else None,
        fault=_fault(seen.fault, say),
        served_model=_maybe(say, seen.served_model),
        finish_reason=_maybe(say, seen.finish_reason),
        phases=moments,
        events=events,
        dropped=dropped,
        body=_body(seen, blot) if theirs else "",
        received=0 if trace is None else trace.received,
    )


_Say = Callable[[str, int], str]


def _saying(blot: Blot) -> _Say:
    """Cleaned first and cut last, so that nothing is put together again or cut in two unseen."""

    def say(text: str, limit: int) -> str:
        return blot.hide(clean(text, 2 * BEGINNING))[:limit]

    return say


def _maybe(say: _Say, text: str | None, limit: int = _WORD) -> str | None:
    return None if text is None else say(text, limit)


def _shown(url: str) -> str:
    """Without a login, and without the values of parameters that may be secrets."""
    return SECRET_PARAMETER.sub(r"\1***", _LOGIN.sub("//", url, count=1))


def _headers(headers: Mapping[str, str], say: _Say) -> dict[str, str]:
    chosen = [(name, headers[name]) for name in list(headers)[:MOST_HEADERS]]
    return {say(name, _WORD): say(value, _WORD) for name, value in chosen}


def _error(error: VendorError | None, say: _Say) -> VendorError | None:
    if error is None:
        return None
    return VendorError(
        code=_maybe(say, error.code),
        type=_maybe(say, error.type),
        message=say(error.message, DETAIL_KEPT),
        reasons=tuple(say(reason, _WORD) for reason in error.reasons[:8]),
        retry_s=error.retry_s,
        in_stream=error.in_stream,
    )


def _fault(fault: Fault | None, say: _Say) -> Fault | None:
    return fault and Fault(fault.kind, fault.phase, say(fault.text, DETAIL_KEPT), fault.errno)


def _body(seen: Observation, blot: Blot) -> str:
    trace = seen.trace
    if trace is None:
        return _saying(blot)(seen.body, BODY_KEPT)
    lines = trace.beginning.decode("utf-8", "replace").replace("\r\n", "\n").split("\n")
    text = blot.hide("\n".join(clean(line, BEGINNING) for line in lines))
    if any(blot.hide(whole) != whole for whole in _joined(text)):
        return _LEFT_OUT
    if trace.received > len(trace.beginning):
        # Here ends what we kept, and perhaps in the first letters of a secret: too few to be found.
        text = text[: 1 - PIECE]
    return text[:BODY_KEPT]


def _joined(text: str) -> Iterator[str]:
    """What the events of a stream say when they are put together, one after the other."""
    said: dict[str, list[str]] = {"": _PLAIN_EVENT.findall(text)}
    for name, value in _SAID.findall(text):
        said.setdefault(name, []).append(value)
    return ("".join(values) for values in said.values())


# What came when


def _events(seen: Observation, moments: Phases) -> tuple[tuple[Happening, ...], int]:
    """The first and the last of them, in order, and how many lie between."""
    line, trace = seen.timeline, seen.trace
    tokens = line.tokens
    told = (*tokens[:MOST_READS], *tokens[MOST_READS:][-MOST_READS:])
    fixed = list(_phases(moments, trace))
    events = [
        *fixed,
        *(() if trace is None else _reads(trace, line.start, {token.at for token in told})),
        *(_piece(token, line.start) for token in told),
        *(last := list(_ends(seen, moments))),
    ]
    total = len(fixed) + len(last) + len(tokens) + (0 if trace is None else trace.reads)
    events.sort(key=_when)
    if total > MOST_EVENTS:
        events = events[: MOST_EVENTS // 2] + events[-MOST_EVENTS // 2 :]
    return tuple(events), total - len(events)


def _when(event: Happening) -> float:
    return event.offset_ms


def _phases(moments: Phases, trace: Trace | None) -> Iterator[Happening]:
    """What led up to the body. Our own time is drawn in front of all, as everywhere."""
    at = moments.own_ms or 0.0
    before = at if moments.request_sent is None else moments.request_sent
    for kind, name in ((Kind.DNS, "dns_ms"), (Kind.CONNECT, "connect_ms"), (Kind.TLS, "tls_ms")):
        length: float | None = getattr(moments, name)
        if length is not None:
            at += length
            latest = at if moments.request_sent is None else min(at, before)
            yield Happening(_ms(latest), kind, None, name in moments.bounds)
    for kind, name, size in (
        (Kind.SENT, "request_sent", None if trace is None else trace.sent),
        (Kind.HEADERS, "headers", None),
    ):
        moment: float | None = getattr(moments, name)
        if moment is not None:
            yield Happening(_ms(moment), kind, size, name in moments.bounds)


def _reads(trace: Trace, start: float, with_text: set[float]) -> Iterator[Happening]:
    for at, size, exact, alive in (*trace.first, *trace.last):
        kind = Kind.COMMENT if alive and at not in with_text else Kind.BYTES
        yield Happening(_ms((at - start) * 1000.0), kind, size, not exact)


def _piece(token: Token, start: float) -> Happening:
    kind = Kind.REASONING if token.channel is Channel.REASONING else Kind.TOKEN
    return Happening(_ms((token.at - start) * 1000.0), kind, token.characters, token.earliest < token.at)


def _ends(seen: Observation, moments: Phases) -> Iterator[Happening]:
    if moments.terminal is not None:
        yield Happening(_ms(moments.terminal), Kind.TERMINAL, None, "terminal" in moments.bounds)
    if moments.end is None:
        return
    end, is_bound = _ms(moments.end), "end" in moments.bounds
    if seen.error is not None:
        yield Happening(end, Kind.ERROR, None, is_bound)
    yield Happening(end, Kind.END if seen.fault is None else Kind.FAULT, None, is_bound)


def _ms(offset: float) -> float:
    return round(offset, 3)


# The stored form


def store(found: Evidence) -> bytes:
    """A version, and behind it JSON, packed: about a kilobyte."""
    told = {name: getattr(found, name) for name in Evidence.__dataclass_fields__}
    slim = {
        **{name: value for name, value in told.items() if value not in (None, "", 0, (), {})},
        "figures": {
            name: _rounded(value)
            for name in Figures.__dataclass_fields__
            if (value := getattr(found.figures, name)) is not None
        },
        "phases": pack(found.phases).hex(),
    }
    for name in ("error", "fault"):
        part = told[name]
        if part is not None:
            slim[name] = {each: getattr(part, each) for each in part.__dataclass_fields__}
    text = json.dumps(slim, ensure_ascii=False, separators=(",", ":"))
    return _VERSION + zlib.compress(text.encode(), _LEVEL)


def load(blob: bytes) -> Evidence:
    """The inverse of `store`, to the microsecond. Raises ValueError for an unknown version."""
    if blob[:1] != _VERSION:
        raise ValueError("evidence of an unknown version")
    raw: Json = json.loads(zlib.decompress(blob[1:]))
    figures = raw["figures"]
    if "token_source" in figures:
        figures["token_source"] = TokenSource(figures["token_source"])
    parts: Json = {
        "outcome": Outcome(raw["outcome"]),
        "figures": Figures(**figures),
        "phases": unpack(bytes.fromhex(raw["phases"])),
        "events": tuple(Happening(at, Kind(kind), *rest) for at, kind, *rest in raw.get("events", ())),
    }
    error, fault = raw.get("error"), raw.get("fault")
    if error is not None:
        parts["error"] = VendorError(**{**error, "reasons": tuple(error["reasons"])})
    if fault is not None:
        parts["fault"] = Fault(FaultKind(fault["kind"]), Phase(fault["phase"]), fault["text"], fault["errno"])
    return Evidence(**{**raw, **parts})


def _rounded(value: Any) -> Any:
    return _ms(value) if type(value) is float else value
