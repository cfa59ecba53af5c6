"""The facts of one probe, no opinion.

Text in here comes from a provider, so it is hostile: it was cleaned (`clean`) and cut once,
at the border, and nothing behind the border has to think of it again.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from monitor.core.report import Heard
from monitor.core.timeline import Timeline
from monitor.core.trace import Trace
from monitor.core.wire import Certificate, Fault

BODY_KEPT = 2048
"""Bytes of a body that are kept as evidence."""
DETAIL_KEPT = 500
"""Characters of a detail."""


def clean(text: str, limit: int = BODY_KEPT) -> str:
    """Text that a database, a log, a page and a terminal can all take, at most `limit` long.

    NUL and lone surrogates make a database refuse the row; other control characters let a
    provider write into our terminal. Line breaks and tabs become spaces.
    """
    if text.isprintable() and len(text) <= limit:
        return text
    out = []
    for character in text[: limit * 2]:
        if character in "\r\n\t":
            out.append(" ")
        elif character.isprintable():
            out.append(character)
        else:
            out.append("\ufffd")
    return "".join(out)[:limit]


class Timer(enum.StrEnum):
    """Which of the limits after the request was sent ran out."""

    FIRST_TOKEN = "first_token"
    STALL = "stall"
    TOTAL = "total"


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What the server says it counted; None where it does not say."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    """All generated tokens, reasoning included."""
    reasoning_tokens: int | None = None
    cached_tokens: int | None = None
    """Those of the input that came from the provider's cache."""
    written_tokens: int | None = None
    """Those of the input that went into it, where that has its price; None also where none did."""


ADDED_TOKENS = 100_000
"""More than any gateway puts around our prompt."""
TIMES_ALLOWED = 4
"""Some count what they think beside our limit."""
HIDDEN_TOKENS = 32 * 1024
"""So much reasoning may be hidden in any answer: a cache replays at once what once took its time."""
TOKENS_A_SECOND = 10_000
"""Some three times as many as the fastest model is known to generate."""


def can_be_true(usage: Usage, *, sent: int, allowed: int | None, received: int, seconds: float) -> bool:
    """Whether a server may have counted so many tokens: they are money, and its word alone is no proof.

    We `sent` so many bytes of body and allowed so many tokens (None: that is not known); so many bytes of
    body were `received`, so many `seconds` after the request. A token holds a byte at least. A server may
    think in secret, and mind no limit, but not without taking its time.
    """
    generated = max(TIMES_ALLOWED * (allowed or 0), received, HIDDEN_TOKENS, round(seconds * TOKENS_A_SECOND))
    return (usage.input_tokens or 0) <= ADDED_TOKENS + sent and (usage.output_tokens or 0) <= generated


@dataclass(frozen=True, slots=True, kw_only=True)
class VendorError:
    """An error object, from the body of a refusal or from within a stream."""

    code: str | None = None
    type: str | None = None
    message: str = ""
    reasons: tuple[str, ...] = ()
    """Further words for machines: inner codes, and the quotas that were exceeded."""
    retry_s: float | None = None
    """When to ask again, where the body says it and not a header."""
    request_id: str | None = None
    """What the body calls this request."""
    in_stream: bool = False
    """It came with status 200: as an event, or instead of the stream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What one look saw. `None` means: not seen."""

    timeline: Timeline
    fault: Fault | None = None
    """What ended the exchange early, if anything did."""
    timer: Timer | None = None
    """Which limit ran out, where the fault is a timeout after the request was sent."""
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    """Chosen response headers, names in lower case."""
    body: str = ""
    """The first 2 KB of the body where it was not a proper answer; cleaned."""
    request_id: str | None = None
    error: VendorError | None = None
    malformed: str | None = None
    """What could not be understood, in our words."""
    certificate_days: float | None = None

    # Language models
    prompt_characters: int = 0
    """Of the prompt that was sent, with its nonce; 0: not known."""
    tokens_allowed: int | None = None
    """The limit that the request set; None: none that we know of."""
    answer: str = ""
    """The answer text, at most 4,096 characters."""
    answer_matches: bool | None = None
    """Whether what was sought was found in all of the answer, as it came; None where nothing was."""
    finish_reason: str | None = None
    terminal: bool = False
    """The protocol's terminal evidence was seen."""
    filtered: bool = False
    """The provider's content filter stopped the answer."""
    served_model: str | None = None
    fingerprint: str | None = None
    """What the server calls its own build, such as `system_fingerprint`."""
    upstream: str | None = None
    """Who a gateway says answered behind it."""
    reasoning_kept_back: bool = False
    """The model thought more than came as text: nothing of it, a part, or a summary."""
    usage: Usage | None = None
    first_usage: Usage | None = None
    """What the server had counted when the first text came, where it counts as it goes."""
    usage_asked: bool = False
    """A good answer has to come with its usage."""
    keep_alives: int = 0
    """Comments, pings and events without text that came in the place of a first token."""
    learnt: Mapping[str, str] = field(default_factory=dict)
    """What the protocol should remember for this endpoint, e.g. `{"omit": "stream_options"}`."""

    # Plain checks
    body_matches: bool | None = None
    """Whether what was sought in the body or banner was found; None where nothing was."""
    certificate: Certificate | None = None
    """What a server showed to whoever only looks at that."""
    answers: tuple[str, ...] = ()
    """Records that name servers gave."""
    missing: tuple[str, ...] = ()
    """Expected records that were not among them."""

    # Endpoints that report by themselves
    heard: Heard | None = None
    """What their mailbox held; None for whatever is asked."""

    trace: Trace | None = field(default=None, compare=False, repr=False)
    """What went over the wire, raw, for `evidence` alone; None where the protocol keeps nothing."""
