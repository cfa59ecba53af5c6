"""What every protocol of a language model prepares in the same way, once per endpoint."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from monitor.config.settings import ModelSettings, Objection
from monitor.core.observation import Observation, Usage
from monitor.core.timeline import Timeline
from monitor.core.verdict import Expect
from monitor.core.wire import Limits, Request, Wire
from monitor.protocols import Reveal
from monitor.protocols._prepare import headers, milliseconds
from monitor.protocols._reading import Conversation, Dialect, Patience

NONCE_LENGTH = 32
"""Characters that a nonce may have, for the worst case."""
_BYTES_PER_TOKEN = 2
"""Fewer than any tokenizer gets out of prose, so that the worst case is one."""
_BYTES_OF_TOKEN = 4096
"""More than any server writes around one token of a stream."""
_LEAST_ROOM = 1024 * 1024
_FRAME_TOKENS = 32
"""What chat templates put around a prompt."""
_NONCE = "\x00nonce\x00"


def expectations(settings: ModelSettings) -> Expect:
    """What a good answer is, as the core judges it."""
    expect = settings.expect
    return Expect(
        answer=expect.answer,
        model=expect.model,
        ttft_ms=milliseconds(expect.ttft),
        output_speed=expect.output_speed,
        elapsed_ms=milliseconds(expect.elapsed),
    )


def patience(settings: ModelSettings) -> Patience:
    """How long the model may take."""
    return Patience(settings.first_token_timeout.total_seconds(), settings.stall_timeout.total_seconds())


def conversation(settings: ModelSettings, dialect: Dialect) -> Conversation:
    """How its answers are read."""
    # What is left out may be the limit.
    allowed = None if settings.omit else settings.max_tokens
    return Conversation(
        dialect,
        patience(settings),
        # A server that floods us must not keep us from looking at the others.
        most_bytes=None if allowed is None else max(_LEAST_ROOM, allowed * _BYTES_OF_TOKEN),
        sought=settings.expect.answer,
        tokens_allowed=allowed,
    )


def credential(settings: ModelSettings, reveal: Reveal, header: str, scheme: str = "") -> dict[str, str]:
    """The header that carries the key; none where there is no key."""
    return {} if settings.api_key is None else {header: f"{scheme}{reveal(settings.api_key)}"}


def json_headers(settings: ModelSettings, reveal: Reveal, own: Mapping[str, str]) -> dict[str, str]:
    """All headers of a request for a stream; `own` are the protocol's."""
    ours = {"Content-Type": "application/json", "Accept": "text/event-stream", **own}
    return headers(ours, settings, reveal)


def identity(settings: ModelSettings) -> str:
    """Of what is learnt about the endpoint."""
    return f"{settings.protocol} {settings.base_url} {settings.model}"


def worst_case(settings: ModelSettings, *, limited: bool) -> Usage:
    """Tokens that one probe costs at most; None where nothing limits the answer.

    Where our limit is not sent (`limited`), the model's own is left, if the config says it.
    """
    prompt_bytes = len(settings.prompt.encode()) + NONCE_LENGTH
    longest: int | None = settings.max_tokens
    if not limited:
        longest = None if settings.limits is None else settings.limits.max_output
    return Usage(input_tokens=prompt_bytes // _BYTES_PER_TOKEN + _FRAME_TOKENS, output_tokens=longest)


def prompt_with_nonce(prompt: str) -> str:
    """The prompt with a place for the nonce in front, where no prefix cache gets past it."""
    return f"{_NONCE}\n\n{prompt}"


def prompt_characters(prompt: str, nonce: str) -> int:
    """How long the prompt is once the nonce stands in front."""
    return len(prompt_with_nonce(prompt)) - len(_NONCE) + len(nonce)


class Template:
    """A request body that is ready but for the nonce."""

    __slots__ = ("_after", "_before")

    def __init__(self, body: Mapping[str, Any], omit: Iterable[str] = ()) -> None:
        """`body` holds `prompt_with_nonce(...)` once. Fields in `omit` are left out."""
        left_out = frozenset(omit)
        kept = {name: value for name, value in body.items() if name not in left_out}
        text = json.dumps(kept, separators=(",", ":"))
        before, _, after = text.partition(json.dumps(_NONCE)[1:-1])
        self._before = before.encode()
        self._after = after.encode()

    def fill(self, nonce: str) -> bytes:
        """The body of one request."""
        return self._before + json.dumps(nonce)[1:-1].encode() + self._after


def reserved(body: Mapping[str, Any], instead: Mapping[str, str], *within: str) -> Iterator[Objection]:
    """Fields in `body` that the probe itself depends on; `within` is where in `body` they stand."""
    for name, words in instead.items():
        if name in body:
            yield ("body", *within, name), f"cannot be set here: {words}"


def needed(omit: Iterable[str], *names: str) -> Iterator[Objection]:
    """Fields in `omit` that there is no probe without."""
    for name in names:
        if name in omit:
            yield ("omit",), f'"{name}" cannot be left out: there is no probe without it'


def appended(base_url: str, endings: Mapping[str, str]) -> Iterator[Objection]:
    """The URL already ends in what the protocol appends."""
    for ending, words in endings.items():
        if base_url.endswith(ending):
            yield ("base_url",), f'ends in "{ending}", {words}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How a model is asked: everything of the request but what all have in common."""

    url: str
    headers: Mapping[str, str]
    """The protocol's own; the operator's win."""
    body: Mapping[str, Any]
    """Holds `prompt_with_nonce(...)` once."""
    limited: bool = True
    """The body limits the length of the answer."""


class Model:
    """One endpoint that is asked in one form only, ready to be looked at."""

    def __init__(self, settings: ModelSettings, reveal: Reveal, form: Form, dialect: Dialect) -> None:
        self._prompt = settings.prompt
        self._url = form.url
        self._headers = json_headers(settings, reveal, form.headers)
        self._template = Template(form.body, settings.omit)
        self._conversation = conversation(settings, dialect)
        self.model = settings.model
        self.identity = identity(settings)
        self.expect = expectations(settings)
        self.worst_case = worst_case(settings, limited=form.limited)

    async def look(
        self,
        wire: Wire,
        timeline: Timeline,
        limits: Limits,
        nonce: str,
        learnt: Mapping[str, str],  # noqa: ARG002 - there is nothing that a server could refuse
    ) -> Observation:
        """Ask once."""
        request = Request("POST", self._url, self._headers, self._template.fill(nonce))
        reading = await self._conversation.ask(wire, request, timeline, limits)
        return self._conversation.observe(reading, {}, prompt_characters(self._prompt, nonce))
