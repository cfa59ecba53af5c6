"""Anthropic's messages, streamed: typed events, thinking, and usage that is cumulative.

Spoken by Anthropic itself, by gateways (LiteLLM, OpenRouter, ZenMux) and by llama.cpp's server.
"""

import re
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field

from monitor.config.settings import ModelSettings, Objection
from monitor.core.observation import Usage
from monitor.core.sse import Event
from monitor.core.timeline import Channel
from monitor.protocols import Reveal
from monitor.protocols._events import count, fail, introduce, parsed, table, tables, text
from monitor.protocols._model import (
    Form,
    Model,
    appended,
    credential,
    needed,
    prompt_with_nonce,
    reserved,
)
from monitor.protocols._reading import Reading

_APPENDED = {"/v1": "which is appended: leave it out", "/v1/messages": "which is appended: leave it out"}
_RESERVED = {
    "messages": "write `prompt` beside `body`, so that the nonce can go in front",
    "stream": "a probe always streams",
    "max_tokens": "write `max_tokens` beside `body`",
}
_SUMS_UP = re.compile(r"claude-(?!3)")
"""Since its fourth generation Claude shows a summary of what it thought."""


class Settings(ModelSettings):
    """An endpoint that speaks Anthropic's messages."""

    anthropic_version: Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]{1,40}$")] = "2023-06-01"
    """What the header `anthropic-version` says."""

    def objections(self) -> Iterator[Objection]:
        yield from appended(self.base_url, _APPENDED)
        yield from reserved(self.body, _RESERVED)
        yield from needed(self.omit, "messages", "stream", "max_tokens")


def prepare(settings: Settings, reveal: Reveal) -> Model:
    """One endpoint, ready to be looked at."""
    key = credential(settings, reveal, "x-api-key")
    form = Form(
        url=f"{settings.base_url}/v1/messages",
        headers={"anthropic-version": settings.anthropic_version, **key},
        body={
            "model": settings.model,
            "max_tokens": settings.max_tokens,
            "messages": [{"role": "user", "content": prompt_with_nonce(settings.prompt)}],
            "stream": True,
            **settings.body,
        },
    )
    return Model(settings, reveal, form, Dialect())


class Dialect:
    """What the events of a message mean. Without state: all of it is in the reading."""

    def event(self, reading: Reading, event: Event) -> None:
        """One event. Its type stands in the JSON; gateways forget the line `event:`."""
        said = parsed(reading, event)
        if said is None:
            return
        match said.get("type") or event.name:
            case "message_start":
                _start(reading, table(said.get("message")))
            case "content_block_start":
                _block(reading, table(said.get("content_block")))
            case "content_block_delta":
                _delta(reading, table(said.get("delta")))
            case "message_delta":
                _counted(reading, said.get("usage"))
                _stopped(reading, table(said.get("delta")).get("stop_reason"))
            case "message_stop":
                reading.finished(None)
                reading.over = True
            case "error":
                fail(reading, said)
            case _:
                if said.get("error"):
                    fail(reading, said)

    def whole(self, reading: Reading, answer: object) -> None:
        """A message in one piece, as some gateways send it whatever was asked."""
        said = table(answer)
        if said.get("type") == "error" or said.get("error"):
            fail(reading, said)
            return
        _start(reading, said)
        for block in tables(said.get("content")):
            _block(reading, block)
        _stopped(reading, said.get("stop_reason"))

    def usage(self, said: object) -> Usage | None:
        """The counts. What came from the cache or went there is not among `input_tokens`."""
        fed = count(said, "input_tokens")
        written, cached = count(said, "cache_creation_input_tokens"), count(said, "cache_read_input_tokens")
        total = (fed or 0) + (written or 0) + (cached or 0)
        output = count(said, "output_tokens")
        if not total and not output:
            return None
        details = table(said).get("output_tokens_details")
        return Usage(
            input_tokens=total or None,
            output_tokens=output,
            reasoning_tokens=count(details, "thinking_tokens"),
            cached_tokens=cached,
            written_tokens=written or None,
        )


def _start(reading: Reading, message: dict[str, Any]) -> None:
    introduce(reading, message)
    _counted(reading, message.get("usage"))


def _counted(reading: Reading, usage: object) -> None:
    """Counts are cumulative: the latest holds, and one that a later event lacks or zeroes stays."""
    so_far = table(reading.usage)
    for name, value in table(usage).items():
        if value or name not in so_far:
            so_far = {**so_far, name: value}
    reading.usage = so_far or None


def _block(reading: Reading, block: dict[str, Any]) -> None:
    """A block of content: empty where a stream begins it, all of it in a message in one piece."""
    if block.get("type") == "redacted_thinking":
        reading.reasoning_kept_back = True
    for name, channel in (("thinking", Channel.REASONING), ("text", Channel.ANSWER)):
        said = text(block.get(name))
        if said:
            reading.token(said, channel)
    if text(block.get("type")).endswith("tool_use") and text(block.get("name")):
        reading.token(text(block.get("name")), Channel.OTHER)  # it may be called without arguments
    if text(block.get("signature")):
        _signed(reading)


def _delta(reading: Reading, delta: dict[str, Any]) -> None:
    """Some more of a block. The signature of a thought is no text."""
    match delta.get("type"):
        case "signature_delta":
            _signed(reading)
            return
        case "text_delta":
            said, channel = text(delta.get("text")), Channel.ANSWER
        case "thinking_delta":
            said, channel = text(delta.get("thinking")), Channel.REASONING
        case "input_json_delta":
            said, channel = text(delta.get("partial_json")), Channel.OTHER
        case _:
            return
    if said:
        reading.token(said, channel)


def _signed(reading: Reading) -> None:
    """A thought is over, whether or not anything of it was shown."""
    shown = reading.timeline.first(Channel.REASONING) is not None
    if not shown or _SUMS_UP.search(reading.served_model or ""):
        reading.reasoning_kept_back = True


def _stopped(reading: Reading, reason: object) -> None:
    if type(reason) is str and reason:
        reading.filtered = reading.filtered or reason == "refusal"
        reading.finished(reason)
