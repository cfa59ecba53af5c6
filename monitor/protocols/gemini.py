"""Google's Gemini, streamed: each event a piece of the whole answer, without a closing one."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

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

_APPENDED = {
    "/models": "which is appended: leave it out",
    "/openai": 'which is Google\'s door for OpenAI clients: leave it out, or write protocol = "openai-chat"',
}
_RESERVED = {"contents": "write `prompt` beside `body`, so that the nonce can go in front"}
_RESERVED_CONFIG = {"maxOutputTokens": "write `max_tokens` beside `body`"}
_FILTERED = frozenset(
    {
        "SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "LANGUAGE",
    }
)  # fmt: skip
"""Reasons for an end that are about what was said, not about how much."""
_NO_REASON = ("", "FINISH_REASON_UNSPECIFIED", "BLOCK_REASON_UNSPECIFIED", "BLOCKED_REASON_UNSPECIFIED")


class Settings(ModelSettings):
    """An endpoint that speaks Gemini's own protocol."""

    def objections(self) -> Iterator[Objection]:
        yield from appended(self.base_url, _APPENDED)
        yield from reserved(self.body, _RESERVED)
        yield from reserved(table(self.body.get("generationConfig")), _RESERVED_CONFIG, "generationConfig")
        yield from needed(self.omit, "contents")


def prepare(settings: Settings, reveal: Reveal) -> Model:
    """One endpoint, ready to be looked at."""
    model = quote(settings.model.removeprefix("models/"), safe="")
    said = table(settings.body.get("generationConfig"))
    config = {"maxOutputTokens": settings.max_tokens, **said}
    form = Form(
        url=f"{settings.base_url}/models/{model}:streamGenerateContent?alt=sse",
        headers=credential(settings, reveal, "x-goog-api-key"),
        body={
            "contents": [{"role": "user", "parts": [{"text": prompt_with_nonce(settings.prompt)}]}],
            **settings.body,
            "generationConfig": config,
        },
        limited="generationConfig" not in settings.omit,
    )
    return Model(settings, reveal, form, Dialect())


class Dialect:
    """What the events of an answer mean. Without state: all of it is in the reading."""

    def event(self, reading: Reading, event: Event) -> None:
        """One piece of the answer."""
        said = parsed(reading, event)
        if said is not None:
            _piece(reading, said)

    def whole(self, reading: Reading, answer: object) -> None:
        """An answer in one piece, or the list of pieces that comes where `alt=sse` got lost."""
        for piece in [answer] if type(answer) is dict else tables(answer):
            if not reading.over:
                _piece(reading, piece)

    def usage(self, said: object) -> Usage | None:
        """The counts; thoughts stand beside the candidates, unless the sum says otherwise."""
        fed, visible = count(said, "promptTokenCount"), count(said, "candidatesTokenCount")
        thought, total = count(said, "thoughtsTokenCount"), count(said, "totalTokenCount")
        beside = total != (fed or 0) + (visible or 0)
        output = None if visible is None and thought is None else visible or 0
        if output is not None and beside:
            output += thought or 0
        if not fed and not output:
            return None
        return Usage(
            input_tokens=fed or None,
            output_tokens=output,
            reasoning_tokens=thought,
            cached_tokens=count(said, "cachedContentTokenCount"),
        )


def _piece(reading: Reading, said: dict[str, Any]) -> None:
    if said.get("error"):
        fail(reading, said)
        return
    introduce(reading, said, "responseId", "modelVersion")
    if said.get("usageMetadata"):
        reading.usage = said["usageMetadata"]  # it grows: the last one holds
    candidates = tables(said.get("candidates"))
    for candidate in candidates:
        for part in tables(table(candidate.get("content")).get("parts")):  # the last may have none
            _part(reading, part)
        _stopped(reading, candidate.get("finishReason"))
    if not candidates:
        _blocked(reading, table(said.get("promptFeedback")).get("blockReason"))


def _part(reading: Reading, part: dict[str, Any]) -> None:
    said, thought = text(part.get("text")), part.get("thought") is True
    if thought:
        reading.reasoning_kept_back = True  # what is shown sums it up
    if said:
        reading.token(said, Channel.REASONING if thought else Channel.ANSWER)
    called = text(table(part.get("functionCall")).get("name"))
    called = called or text(table(part.get("executableCode")).get("code"))
    if called:
        reading.token(called, Channel.OTHER)


def _stopped(reading: Reading, reason: object) -> None:
    if type(reason) is str and reason not in _NO_REASON:
        reading.filtered = reading.filtered or reason in _FILTERED
        reading.finished(reason)


def _blocked(reading: Reading, reason: object) -> None:
    """The prompt itself was turned away; that is all there will be."""
    if type(reason) is str and reason not in _NO_REASON:
        reading.filtered = True
        reading.finished(reason)
