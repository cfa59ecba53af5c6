"""How a simulated provider behaves, as data.

A `Profile` is everything one provider does. A *behaviour* is a change to it: the name of one
in `BEHAVIOURS`, or a mapping of the profile's own fields, which may build on a name:

    "http_503"
    {"ttft_ms": 1400}
    {"name": "rate_limited", "retry_after_s": 10}
"""

import dataclasses
import enum
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Behaviour = str | Mapping[str, Any]


class Fault(enum.StrEnum):
    """What goes wrong on the way, beyond a plain refusal.

    The first four strike every request to the provider, the others its streams. "Midway" is
    after `fault_after` tokens.
    """

    NONE = "none"
    SILENT = "silent"
    """The request is taken and never answered."""
    RESET = "reset"
    """RST instead of an answer."""
    DRIBBLE = "dribble"
    """A proper answer, one byte every `drip_ms`."""
    KEEP_ALIVES = "keep_alives"
    """Headers, then a comment every `drip_ms`, for ever."""
    STALLED = "stalled"
    """Nothing more midway, the connection stays open."""
    RESET_MIDWAY = "reset_midway"
    CUT_OFF = "cut_off"
    """FIN midway, before the message is complete by HTTP's framing."""
    TRUNCATED = "truncated"
    """A proper end of the HTTP message midway, without any terminal evidence."""
    STREAM_ERROR = "stream_error"
    """`error_event` midway, in a response that began with 200."""
    MALFORMED = "malformed"
    """One event midway is not JSON; everything else is as it should be."""
    EMPTY = "empty"
    """A proper stream, `finish_reason` and all, without one token."""
    CONTENT_FILTER = "content_filter"
    """The answer ends midway with `finish_reason: content_filter`."""
    BURST = "burst"
    """Everything in one write, when the last token is ready."""


class UsageStyle(enum.StrEnum):
    """When the provider says what it counted."""

    ASKED = "asked"
    """A chunk of its own with `choices: []`, if `stream_options.include_usage` asks for it."""
    ALWAYS = "always"
    """In the chunk with the `finish_reason`, unasked (Mistral)."""
    NEVER = "never"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An answer that is no completion: a status, a body and what else it says."""

    status: int
    body: str
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


def error(
    status: int, message: str, kind: str | None, code: str | None = None, param: str | None = None
) -> Refusal:
    """An error in OpenAI's words."""
    inner = {"message": message, "type": kind, "param": param, "code": code}
    return Refusal(status=status, body=json.dumps({"error": inner}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One provider. Times in milliseconds, speeds in tokens a second, counts in tokens.

    Raises ValueError where a figure makes no sense.
    """

    models: tuple[str, ...] = ()
    """The models it has; none means any."""
    key: str = ""
    """The API key it wants; empty means it does not ask."""

    headers_ms: float = 10.0
    """When headers and the role-only chunk leave, after the request came."""
    ttft_ms: float = 300.0
    """When the first chunk with text leaves, after the request came."""
    tokens_per_s: float = 60.0
    jitter: float = 0.0
    """0 is a metronome. At 0.2 the first token is up to 20 % early or late, the speed of a
    stream up to 10 % off, and a chunk up to 20 % of its own length out of step."""
    chunk_tokens: tuple[int, ...] = (1, 2, 1, 3)
    """Tokens in each chunk, over and over: chunks are not tokens."""

    answer_tokens: int = 400
    """How long the answer would be if nothing limited it."""
    opening: str = "pong"
    """The first word of every answer."""
    reasoning_tokens: int = 0
    """Tokens of thinking before the answer; they count against the limit."""
    reasoning_field: str = "reasoning_content"
    """The field of the delta that carries the thinking; empty hides it."""
    served_model: str = ""
    """The model it says it served; empty means the one asked for."""
    fingerprint: str = "fp_simulated"
    """Its `system_fingerprint`; empty means that it has none."""
    upstream: str = ""
    """Who it says answered behind it, as OpenRouter's `provider`."""
    cached_tokens: int = 0
    """So many of the prompt came from its cache, or all where it has fewer."""
    usage: UsageStyle = UsageStyle.ASKED
    rejects: tuple[str, ...] = ()
    """Fields of the request that it refuses."""
    rejects_status: int = 400
    headers: tuple[tuple[str, str], ...] = ()
    """Further headers of a good answer, such as those that tell of rate limits."""

    health_ms: float = 5.0
    """When `/health` answers."""
    health_body: str = "ok\n"

    refusal: Refusal | None = None
    """The answer to every request."""
    retry_after_s: float | None = None
    """`Retry-After` of that refusal."""
    fault: Fault = Fault.NONE
    fault_after: int = 8
    drip_ms: float = 500.0
    error_event: str = (
        '{"error":{"message":"The server had an error while processing your request",'
        '"type":"server_error","param":null,"code":null}}'
    )

    def __post_init__(self) -> None:
        if self.tokens_per_s <= 0:
            raise ValueError("tokens_per_s must be above 0")
        if not self.chunk_tokens or min(self.chunk_tokens) < 1:
            raise ValueError("chunk_tokens counts tokens, each at least 1")
        if self.drip_ms < 1:
            raise ValueError("drip_ms must be at least 1")
        if not 0 <= self.jitter < 1:
            raise ValueError("jitter lies between 0 and 1")
        for name in (
            "headers_ms",
            "ttft_ms",
            "answer_tokens",
            "cached_tokens",
            "reasoning_tokens",
            "health_ms",
            "fault_after",
        ):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} cannot be negative")


def altered(profile: Profile, behaviour: Behaviour) -> Profile:
    """The profile with that behaviour. Raises ValueError if it is not one."""
    changes = _changes(behaviour)
    fields = {field.name: field for field in dataclasses.fields(Profile)}
    read: dict[str, Any] = {}
    for name, value in changes.items():
        if name not in fields:
            raise ValueError(f"a profile has no {name!r}")
        try:
            read[name] = _READERS.get(name, _plain(fields[name]))(value)
        except (TypeError, KeyError) as problem:
            raise ValueError(f"{name}: {problem}") from problem
    return dataclasses.replace(profile, **read)


def _changes(behaviour: Behaviour) -> dict[str, Any]:
    if isinstance(behaviour, str):
        behaviour = {"name": behaviour}
    own = dict(behaviour)
    name = own.pop("name", "ok")
    if name not in BEHAVIOURS:
        raise ValueError(f"no behaviour {name!r}; there are {', '.join(BEHAVIOURS)}")
    return {**BEHAVIOURS[name], **own}


def _plain(field: "dataclasses.Field[Any]") -> Callable[[Any], Any]:
    kind = type(field.default)

    def read(value: Any) -> Any:
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if type(value) is not kind:
            raise TypeError(f"{value!r} is not of type {kind.__name__}")
        return value

    return read


def _refusal(value: Any) -> Refusal | None:
    if value is None or isinstance(value, Refusal):
        return value
    return Refusal(
        status=int(value["status"]),
        body=str(value.get("body", "")),
        content_type=str(value.get("content_type", "application/json")),
        headers=tuple((str(name), str(text)) for name, text in value.get("headers", {}).items()),
    )


_READERS: dict[str, Callable[[Any], Any]] = {
    "models": tuple,
    "rejects": tuple,
    "chunk_tokens": tuple,
    "headers": lambda value: tuple((str(name), str(text)) for name, text in dict(value).items()),
    "fault": Fault,
    "usage": UsageStyle,
    "refusal": _refusal,
    "retry_after_s": lambda value: None if value is None else float(value),
}

_GATEWAY_BUSY = "upstream connect error or disconnect/reset before headers. reset reason: overflow"

BEHAVIOURS: dict[str, dict[str, Any]] = {
    "ok": {},
    "slow": {"ttft_ms": 3000.0},
    "slow_stream": {"tokens_per_s": 4.0},
    "burst": {"fault": Fault.BURST},
    "wrong_answer": {"opening": "marmalade", "health_body": "not well\n"},
    "wrong_model": {"served_model": "sim-cheaper"},
    "reasoning_eats_budget": {"reasoning_tokens": 1_000_000},
    "empty": {"fault": Fault.EMPTY},
    "content_filter": {"fault": Fault.CONTENT_FILTER},
    "http_500": {
        "refusal": error(
            500, "The server had an error while processing your request. Sorry about that!", "server_error"
        )
    },
    "http_503": {"refusal": Refusal(status=503, body=_GATEWAY_BUSY, content_type="text/plain")},
    "overloaded_503": {
        "refusal": error(503, "The engine is currently overloaded, please try again later", "server_error")
    },
    "overloaded_529": {
        "refusal": Refusal(
            status=529, body='{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'
        )
    },
    "rate_limited": {
        "retry_after_s": 20.0,
        "refusal": dataclasses.replace(
            error(
                429,
                "Rate limit reached on requests per min (RPM): Limit 3, Used 3, Requested 1.",
                "requests",
                "rate_limit_exceeded",
            ),
            headers=(("x-ratelimit-limit-requests", "3"), ("x-ratelimit-remaining-requests", "0")),
        ),
    },
    "quota_exhausted": {
        "refusal": error(
            429,
            "You exceeded your current quota, please check your plan and billing details.",
            "insufficient_quota",
            "insufficient_quota",
        )
    },
    "payment_required": {
        "refusal": error(402, "Insufficient Balance", "unknown_error", "invalid_request_error")
    },
    "auth_failed": {
        "refusal": error(401, "Incorrect API key provided.", "invalid_request_error", "invalid_api_key")
    },
    "forbidden": {
        "refusal": error(
            403,
            "Country, region, or territory not supported",
            "request_forbidden",
            "unsupported_country_region_territory",
        )
    },
    "model_not_found": {
        "refusal": error(
            404,
            "The model does not exist or you do not have access to it.",
            "invalid_request_error",
            "model_not_found",
        )
    },
    "bad_request": {
        "refusal": error(
            400, "Invalid value for 'messages'.", "invalid_request_error", "invalid_value", "messages"
        )
    },
    "error_in_200": {"refusal": error(200, "The upstream provider failed.", "server_error", "upstream")},
    "reset": {"fault": Fault.RESET},
    "silent": {"fault": Fault.SILENT},
    "first_token_hang": {"fault": Fault.STALLED, "fault_after": 0},
    "dribble": {"fault": Fault.DRIBBLE},
    "keep_alives": {"fault": Fault.KEEP_ALIVES},
    "stalled": {"fault": Fault.STALLED},
    "reset_midway": {"fault": Fault.RESET_MIDWAY},
    "cut_off": {"fault": Fault.CUT_OFF},
    "truncated": {"fault": Fault.TRUNCATED},
    "stream_error": {"fault": Fault.STREAM_ERROR},
    "stream_overloaded": {
        "fault": Fault.STREAM_ERROR,
        "error_event": '{"error":{"message":"Overloaded","type":"overloaded_error","code":529}}',
    },
    "malformed": {"fault": Fault.MALFORMED},
}
"""Every behaviour that has a name. `ok` is the provider's profile as it is."""
