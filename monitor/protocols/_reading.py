"""Reading the answer of a language model: bytes in, tokens with their stamps out.

A protocol says what an event means (`Dialect`); everything else, the timers, the bounds, what
to make of an answer that is no stream, and when the reading is over, is the same for all of
them and stands here.
"""

import asyncio
import enum
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from monitor.core.observation import (
    BODY_KEPT,
    Observation,
    Timer,
    Usage,
    VendorError,
    can_be_true,
    clean,
)
from monitor.core.sse import Event, Parser
from monitor.core.timeline import Channel, Timeline, Token
from monitor.core.trace import Trace
from monitor.core.wire import (
    Arrival,
    Fault,
    FaultKind,
    Limits,
    Moment,
    Phase,
    Reply,
    Request,
    Wire,
    WireFault,
)
from monitor.protocols._vendor import behind, kept_headers, request_id, vendor_error

ANSWER_KEPT = 4096
"""Characters of the answer that are kept."""
WHOLE_BYTES = 1024 * 1024
"""The longest answer that is not a stream."""
EVENT_BYTES = 256 * 1024
"""The longest event: its JSON is read in one go, and everybody waits meanwhile."""
BITE_BYTES = 8 * 1024
"""After so much of a stream others have their turn: what is cheap to send is dear to understand."""
REFUSAL_BYTES = 64 * 1024
"""As much of a refusal as is read, to have its JSON whole."""
REFUSAL_S = 5.0
"""A status has come and says enough: so long its body is waited for."""
LINGER_S = 2.0
"""So long after the terminal event usage and an end of the stream are waited for."""
PROMPT_TOKENS = 8
"""After so many bytes may gather: those before are what a first token is told by."""
SHARE = 8
"""They gather for that part of the stream so far at most, so a figure over it is off by no more."""
GATHER_S = (0.020, 0.250)
"""Less is not worth it, more is not needed."""
_BLANK = b"\xef\xbb\xbf \t\r\n"
_EVIDENCE = 2 * BODY_KEPT
"""More than is kept, so that no secret is cut in two before it is blotted out."""
_WORD_KEPT = 200


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a model may take, in seconds."""

    first_token_s: float
    """From the request sent to the first token."""
    stall_s: float
    """From one token to the next."""


@dataclass(frozen=True, slots=True)
class Most:
    """What an honest answer never exceeds."""

    events: int = 100_000
    """Also pieces of text, however many of them one event holds."""
    whole_bytes: int = WHOLE_BYTES
    """Of an answer that is not a stream."""


@dataclass(slots=True)
class Search:
    """Looks for a text in an answer that comes in pieces, in any case and wherever its lines break."""

    sought: str
    """Folded, and each blank a space."""
    found: bool = False
    _end: str = ""
    """Of what came so far, as much as what is sought may have begun in."""

    def see(self, piece: str) -> None:
        """Some more of the answer."""
        if not self.found:
            text = self._end + _folded(piece)
            self.found = self.sought in text
            self._end = text[1 - len(self.sought) :] if len(self.sought) > 1 else ""


def _folded(text: str) -> str:
    return text.casefold().translate(_LINES)


_LINES = str.maketrans("\r\n\t", "   ")


class Inline(enum.Enum):
    """Whether reasoning comes within the answer, between tags."""

    UNDECIDED = "undecided"
    """What came so far may be the beginning of the first tag."""
    OPEN = "open"
    CLOSED = "closed"
    """And nothing but blanks came since."""
    ANSWERING = "answering"


@dataclass(slots=True)
class Reading:
    """What was understood of one answer so far. A dialect writes into it."""

    timeline: Timeline
    trace: Trace
    search: Search | None = None
    """For what `expect.answer` asks for."""
    most: Most = Most()
    events: int = 0
    """How many came."""
    bitten: int = 0
    """Bytes that were understood since others had their turn."""
    at: float = 0.0
    """Stamp of the bytes that are being read."""
    earliest: float = 0.0
    answer: list[str] = field(default_factory=list)
    answer_length: int = 0
    finish_reason: str | None = None
    inline: Inline = Inline.UNDECIDED
    inline_tail: str = ""
    """The end of such reasoning, for the tag that closes it may come in pieces."""
    filtered: bool = False
    reasoning_kept_back: bool = False
    """More was thought than comes as text."""
    served_model: str | None = None
    answer_id: str | None = None
    fingerprint: str | None = None
    upstream: str | None = None
    keep_alives: int = 0
    """Events without text before the first token; the comments come to them where none followed."""
    usage: object = None
    """The last usage object, as the server wrote it."""
    first_usage: object = None
    """The one in the event that brought the first text; None where there was none in it."""
    error: VendorError | None = None
    malformed: str | None = None
    fault: Fault | None = None
    timer: Timer | None = None
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    certificate_days: float | None = None
    body: bytearray = field(default_factory=bytearray)
    """What came before the first event; all of it, where there was none."""
    heard: bool = False
    """An event came: it is a stream."""
    over: bool = False
    """Nothing that may still come is of interest."""

    def token(self, text: str, channel: Channel) -> None:
        """Generated text came."""
        self.timeline.tokens.append(Token(self.at, self.earliest, len(text), channel, ended_read=False))
        if channel is not Channel.ANSWER:
            return
        if self.answer_length < ANSWER_KEPT:
            self.answer.append(text)
            self.answer_length += len(text)
        if self.search is not None:
            self.search.see(text)

    def thought_aloud(self) -> None:
        """What came as the beginning of the answer was that of a thought."""
        for token in self.timeline.tokens:
            if token.channel is Channel.ANSWER:
                token.channel = Channel.REASONING
        self.answer.clear()
        self.answer_length = 0

    def finished(self, reason: str | None) -> None:
        """The protocol's terminal evidence came, with the reason if it gave one."""
        if reason is not None:
            self.finish_reason = clean(reason, _WORD_KEPT)
        if reason is not None or self.timeline.terminal is None:
            self.timeline.terminal = self.at
            if self.earliest < self.at:
                self.timeline.bounds.add("terminal")

    def said(self) -> str:
        """What a server that refused says, in its own words."""
        if self.error is not None:
            return self.error.message
        return self.raw()

    def raw(self) -> str:
        """The beginning of the body as text."""
        return bytes(self.body[:_EVIDENCE]).decode("utf-8", "replace")

    def failed(self, error: VendorError) -> None:
        """The server says that it failed."""
        self.error = error
        self.over = True

    def misunderstood(self, why: str) -> None:
        """What came cannot be understood; `why` is in our words."""
        self.malformed = clean(why, _WORD_KEPT * 2)
        self.over = True


class Dialect(Protocol):
    """What the events of one protocol mean."""

    def event(self, reading: Reading, event: Event) -> None:
        """One event of the stream."""
        ...

    def whole(self, reading: Reading, answer: object) -> None:
        """An answer that came in one piece although a stream was asked for: its JSON, of any shape."""
        ...

    def usage(self, said: object) -> Usage | None:
        """What the last usage object says."""
        ...


class _Form(enum.Enum):
    """What the first bytes of a body give away, whatever its content type claims."""

    STREAM = "stream"
    JSON = "json"
    PAGE = "page"


def _form(data: bytes) -> _Form | None:
    start = data.lstrip(_BLANK)[:1]
    if not start:
        return None
    if start in (b"{", b"["):
        return _Form.JSON
    return _Form.PAGE if start == b"<" else _Form.STREAM


@dataclass(frozen=True, slots=True)
class Conversation:
    """How an endpoint is spoken to; the same for every probe of it."""

    dialect: Dialect
    patience: Patience
    most_bytes: int | None = None
    """The longest answer that can be an honest one; None: the wire's own bound."""
    sought: str | None = None
    """What the answer should contain; None: nothing in particular."""
    tokens_allowed: int | None = None
    """The limit in every request; None: none that we know of."""
    most: Most = Most()

    async def ask(self, wire: Wire, request: Request, timeline: Timeline, limits: Limits) -> Reading:
        """One exchange, from the first packet to the end of the answer."""
        search = None if self.sought is None else Search(_folded(self.sought))
        trace = Trace(request.method, request.url, len(request.body))
        reading = Reading(timeline, trace, search, self.most)
        bounds = Limits(
            deadline=limits.deadline,
            connect_s=limits.connect_s,
            headers_s=self.patience.first_token_s,
            header_bytes=limits.header_bytes,
            body_bytes=min(limits.body_bytes, self.most_bytes or limits.body_bytes),
        )
        try:
            async with wire.exchange(request, timeline, bounds) as reply:
                await self._read(reply, reading, limits.deadline)
        except WireFault as stop:
            _unanswered(reading, stop, self.patience, limits.deadline)
        timeline.end = _end(reading)
        return reading

    async def _read(self, reply: Reply, reading: Reading, deadline: float) -> None:
        timeline = reading.timeline
        reading.status = reply.status
        reading.headers = reply.headers
        reading.certificate_days = reply.certificate_days
        reading.at = timeline.start if timeline.headers is None else timeline.headers
        if reply.status == 200:
            await _read_answer(reply, reading, self.dialect, self.patience, deadline)
        else:
            await _read_refusal(reply, reading, deadline)

    def observe(
        self,
        reading: Reading,
        learnt: Mapping[str, str],
        prompt_characters: int,
        *,
        usage_asked: bool = True,
    ) -> Observation:
        """The facts, once the exchange is over."""
        usage = self._believed(self.dialect.usage(reading.usage), reading)
        if usage is not None and reading.timeline.tokens and not usage.output_tokens:
            usage = replace(usage, output_tokens=None)
        told = None if reading.error is None else reading.error.request_id
        return Observation(
            timeline=reading.timeline,
            fault=reading.fault,
            timer=reading.timer,
            status=reading.status,
            headers=kept_headers(reading.headers),
            body=_evidence(reading),
            request_id=request_id(reading.headers) or told or reading.answer_id,
            error=reading.error,
            malformed=reading.malformed,
            certificate_days=reading.certificate_days,
            prompt_characters=prompt_characters,
            tokens_allowed=self.tokens_allowed,
            answer=clean("".join(reading.answer), ANSWER_KEPT),
            answer_matches=None if reading.search is None else reading.search.found,
            finish_reason=reading.finish_reason,
            terminal=reading.timeline.terminal is not None,
            filtered=reading.filtered,
            reasoning_kept_back=reading.reasoning_kept_back,
            served_model=reading.served_model,
            fingerprint=reading.fingerprint,
            upstream=reading.upstream or behind(reading.headers),
            usage=usage,
            first_usage=self.dialect.usage(reading.first_usage),
            usage_asked=usage_asked,
            keep_alives=0 if reading.timeline.tokens else reading.keep_alives,
            learnt=learnt,
            trace=reading.trace,
        )

    def _believed(self, usage: Usage | None, reading: Reading) -> Usage | None:
        """None where it cannot be true: then it is as good as none."""
        line = reading.timeline
        if usage is None or line.end is None or line.request_sent is None:
            return None
        true = can_be_true(
            usage,
            sent=reading.trace.sent,
            allowed=self.tokens_allowed,
            received=reading.trace.received,
            seconds=line.end - line.request_sent,
        )
        return usage if true else None


def _end(reading: Reading) -> float:
    """Stamp of the terminal event, or of what ended the exchange instead of one."""
    timeline = reading.timeline
    if timeline.terminal is None or reading.error is not None or reading.malformed is not None:
        return reading.at
    return max(timeline.terminal, timeline.tokens[-1].at) if timeline.tokens else timeline.terminal


def _unanswered(reading: Reading, stop: WireFault, patience: Patience, deadline: float) -> None:
    """No status line came."""
    reading.fault = fault = stop.fault
    reading.at = stop.at
    if fault.kind is not FaultKind.TIMEOUT or fault.phase not in (Phase.REQUEST, Phase.HEADERS):
        return
    sent = reading.timeline.request_sent
    if sent is None or sent + patience.first_token_s > deadline:
        reading.timer, text = Timer.TOTAL, "the time for the whole probe was up and no reply had begun"
    else:
        reading.timer = Timer.FIRST_TOKEN
        text = f"no reply within {patience.first_token_s:g} s of the request"
    reading.fault = Fault(FaultKind.TIMEOUT, fault.phase, text, fault.errno)


async def _read_answer(
    reply: Reply, reading: Reading, dialect: Dialect, patience: Patience, deadline: float
) -> None:
    """Read a reply with status 200 until it is over, whichever way."""
    parser = Parser(max_event=EVENT_BYTES)
    form: _Form | None = None
    while not reading.over:
        until, timer = _until(reading.timeline, patience, deadline)
        try:
            arrival = await reply.read(until, _gather_s(reading.timeline))
        except WireFault as stop:
            _broken(reading, stop, timer, patience, parser)
            return
        if arrival is None:
            _ended(reading, dialect, form, parser)
            _until_the_end(reading, reply.ended)
            return
        line = reading.timeline
        before = len(line.tokens), line.terminal
        _arrived(reading, arrival)
        form = form or _form(arrival.data)
        if form is _Form.STREAM or form is None:
            await _stream(reading, dialect, parser, arrival)
        else:
            _gather(reading, form, arrival.data)
        reading.trace.came(arrival, parser.comments)
        if reading.over:
            return
        stuck = arrival.earliest > until and before == (len(line.tokens), line.terminal)
        if stuck or arrival.earliest > deadline:
            # Bytes that never pause must not keep a probe alive: no timer of the wire's sees them.
            _broken(reading, _late(arrival.at), timer if stuck else Timer.TOTAL, patience, parser)
            return


def _until(timeline: Timeline, patience: Patience, deadline: float) -> tuple[float, Timer | None]:
    """How long to wait for the next bytes, and which limit that is; None: it is over anyway."""
    if timeline.terminal is not None:
        until, timer = timeline.terminal + LINGER_S, None
    elif timeline.tokens:
        until, timer = timeline.tokens[-1].at + patience.stall_s, Timer.STALL
    else:
        sent = timeline.start if timeline.request_sent is None else timeline.request_sent + timeline.sending_s
        until, timer = sent + patience.first_token_s, Timer.FIRST_TOKEN
    if until <= deadline:
        return until, timer
    return deadline, None if timer is None else Timer.TOTAL


def _gather_s(timeline: Timeline) -> float:
    """For how long the next bytes may lie unread; 0: not at all."""
    tokens, sent = timeline.tokens, timeline.request_sent
    if len(tokens) < PROMPT_TOKENS or sent is None:
        return 0.0
    length = min((tokens[-1].at - sent) / SHARE, GATHER_S[1])
    if length < GATHER_S[0]:
        return 0.0
    timeline.gathered = True
    return length


def _late(at: float) -> WireFault:
    return WireFault(Fault(FaultKind.TIMEOUT, Phase.BODY, "time is up"), at)


def _arrived(reading: Reading, arrival: Arrival) -> None:
    reading.at = arrival.at
    reading.earliest = arrival.earliest
    if reading.timeline.first_byte is None:
        reading.timeline.first_byte = arrival.at


async def _stream(reading: Reading, dialect: Dialect, parser: Parser, arrival: Arrival) -> None:
    """Understand the events that these bytes completed, one bite after the other."""
    data, tokens = arrival.data, reading.timeline.tokens
    newest: int | None = None
    for start in range(0, len(data), BITE_BYTES):
        bite = data[start : start + BITE_BYTES]
        if reading.bitten >= BITE_BYTES:
            reading.bitten = 0
            await asyncio.sleep(0)
        reading.bitten += len(bite)
        begun = _bite(reading, dialect, parser, bite)
        newest = newest if begun is None else begun
        if reading.over:
            return
    if newest is not None and parser.settled and arrival.last:
        for token in tokens[newest:]:
            token.ended_read = True
            if arrival.stamped:
                token.earliest = token.at


def _bite(reading: Reading, dialect: Dialect, parser: Parser, data: bytes) -> int | None:
    """Understand what these bytes completed: where the tokens of its last event begin; None: no event."""
    tokens = reading.timeline.tokens
    events = parser.feed(data)
    if events:
        reading.heard = True
    elif not reading.heard and len(reading.body) < _EVIDENCE:
        reading.body += data
    newest = None
    for event in events:
        newest, counted = len(tokens), reading.usage
        dialect.event(reading, event)
        if not newest and tokens and reading.usage is not counted:
            reading.first_usage = reading.usage
        reading.keep_alives += not tokens
        if reading.over:
            return newest
    reading.events += len(events)
    text = parser.too_large
    if text is None and max(reading.events, len(tokens)) > reading.most.events:
        text = f"over {reading.most.events:,} events: more than any answer of this length has"
    if text is not None:
        reading.fault = Fault(FaultKind.TOO_LARGE, Phase.BODY, text)
        reading.over = True
    return newest


def _gather(reading: Reading, form: _Form, data: bytes) -> None:
    """Collect an answer that is no stream, until there is enough of it."""
    reading.body += data
    if form is _Form.PAGE and len(reading.body) >= _EVIDENCE:
        _no_stream(reading, "a web page")
    elif len(reading.body) > reading.most.whole_bytes:
        text = f"the answer is not a stream and over {reading.most.whole_bytes} bytes"
        reading.fault = Fault(FaultKind.TOO_LARGE, Phase.BODY, text)
        reading.over = True


def _broken(
    reading: Reading, stop: WireFault, timer: Timer | None, patience: Patience, parser: Parser
) -> None:
    """The wire gave up. After the terminal evidence that is as good an end as any."""
    if reading.timeline.terminal is not None:
        return
    fault = stop.fault
    reading.keep_alives += parser.comments
    if fault.kind is FaultKind.TIMEOUT:
        reading.timer = timer
        fault = Fault(FaultKind.TIMEOUT, fault.phase, _timeout(reading, timer, patience, parser), fault.errno)
    reading.fault = fault
    reading.at = stop.at


def _timeout(reading: Reading, timer: Timer | None, patience: Patience, parser: Parser) -> str:
    count = len(reading.timeline.tokens)
    pieces = "1 piece of text" if count == 1 else f"{count} pieces of text"
    alive = f"; {parser.comments} keep-alives came" if parser.comments else ""
    if timer is Timer.FIRST_TOKEN:
        return f"no token within {patience.first_token_s:g} s of the request{alive}"
    if timer is Timer.STALL:
        return f"no token for {patience.stall_s:g} s after {pieces}{alive}"
    return f"the time for the whole probe was up after {pieces}{alive}"


def _ended(reading: Reading, dialect: Dialect, form: _Form | None, parser: Parser) -> None:
    """The body is complete."""
    if form is _Form.JSON:
        _whole(reading, dialect)
    elif form is _Form.PAGE:
        _no_stream(reading, "a web page")
    else:
        _last_words(reading, dialect, parser)
        if form is not None and not reading.heard and not parser.comments:
            _no_stream(reading, "neither an event stream nor JSON")


def _until_the_end(reading: Reading, ended: Moment | None) -> None:
    """An answer that said neither that it was over nor that it failed, failed by ending."""
    if ended is None or reading.timeline.terminal is not None or reading.error is not None:
        return
    reading.at = ended.at
    if ended.earliest < ended.at:
        reading.timeline.bounds.add("end")


def _last_words(reading: Reading, dialect: Dialect, parser: Parser) -> None:
    """An event counts without the blank line behind it; half an event is what a cut left of one."""
    for event in parser.close():
        reading.heard = True
        dialect.event(reading, event)
        # Whatever else it may be: the end that is due did not come, and that is what counts.
        reading.malformed = None


def _no_stream(reading: Reading, what: str) -> None:
    packed = reading.headers.get("content-encoding", "identity")
    if packed != "identity":
        what = f"compressed ({packed}), which was not asked for"
    reading.misunderstood(f"status 200, but the answer is {what}: {reading.raw().strip()[:80]}")


def _whole(reading: Reading, dialect: Dialect) -> None:
    try:
        answer = json.loads(reading.body)
    except (ValueError, RecursionError):
        _no_stream(reading, "neither an event stream nor valid JSON")
        return
    dialect.whole(reading, answer)
    for token in reading.timeline.tokens:
        token.ended_read = True
    if reading.timeline.tokens or reading.timeline.terminal is not None or reading.over:
        return
    error = vendor_error(answer, in_stream=True)
    if error is None:
        _no_stream(reading, "JSON without an answer in it")
    else:
        reading.failed(error)


async def _read_refusal(reply: Reply, reading: Reading, deadline: float) -> None:
    """Read what a server says beside a status other than 200. The status stands, come what may."""
    until = min(deadline, reading.at + REFUSAL_S)
    while len(reading.body) < REFUSAL_BYTES:
        try:
            arrival = await reply.read(until)
        except WireFault:
            break
        if arrival is None:
            break
        _arrived(reading, arrival)
        reading.trace.came(arrival)
        reading.body += arrival.data
        if arrival.at > until:
            break
    try:
        said = json.loads(reading.body)
    except (ValueError, RecursionError):
        return
    reading.error = vendor_error(said, in_stream=False)


def _evidence(reading: Reading) -> str:
    """The beginning of a body that is no proper answer; empty where it was one."""
    if reading.heard or reading.timeline.tokens:
        return ""
    return clean(reading.raw(), BODY_KEPT)
