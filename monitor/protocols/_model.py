"""What every protocol of a language model prepares in the same way, once per endpoint."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from monitor.config.settings import ModelSettings
from monitor.core.observation import Usage
from monitor.core.verdict import Expect
from monitor.protocols._prepare import milliseconds
from monitor.protocols._reading import Patience

NONCE_LENGTH = 32
"""Characters that a nonce may have, for the worst case."""
_BYTES_PER_TOKEN = 2
"""Fewer than any tokenizer gets out of prose, so that the worst case is one."""
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


def worst_case(prompt: str, max_tokens: int | None) -> Usage:
    """Tokens that one probe costs at most; None where nothing limits the answer."""
    prompt_bytes = len(prompt.encode()) + NONCE_LENGTH
    return Usage(input_tokens=prompt_bytes // _BYTES_PER_TOKEN + _FRAME_TOKENS, output_tokens=max_tokens)


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


def refuse_fields(body: Mapping[str, Any], reserved: Mapping[str, str]) -> None:
    """Raises ValueError where `body` sets a field that the probe itself depends on."""
    for name, instead in reserved.items():
        if name in body:
            raise ValueError(f'"{name}" cannot be set here: {instead}')
