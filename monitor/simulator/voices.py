"""The other ways in which a completion can be written: responses, messages, Gemini's, Azure's door.

What is generated, and when, is the same for all of them; a voice only says it in its own words. The
request is brought into the form of a chat completion first, the answer is written event by event.
Refusals are OpenAI's in every voice, as gateways send them.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import unquote

Fields = dict[str, Any]


class Voice(Protocol):
    """How the events of one stream are written. Texts come escaped, as they stand within quotes."""

    def opening(self, fed: int) -> bytes:
        """What is sent before any text; `fed` is the tokens of the prompt."""
        ...

    def text(self, escaped: str) -> bytes:
        """Some of the answer."""
        ...

    def thought(self, escaped: str) -> bytes:
        """Some of the thinking; empty where it is kept back."""
        ...

    def closing(self, finish: str, fed: int, generated: int, thought: int) -> Iterator[bytes]:
        """The proper end. `finish` is `stop`, `length` or `content_filter`; the others are tokens."""
        ...

    def error(self, said: str) -> bytes:
        """An error in mid-stream; `said` is the JSON of OpenAI's."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Speaker:
    """What a voice has to know of one reply."""

    id: str
    unix: int
    model: str
    counts: bool
    """Usage is told."""
    shows_thoughts: bool


Make = Callable[[Speaker], Voice]


def _event(kind: str, **more: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **more}, separators=(',', ':'))}\n\n".encode()


class Responses:
    """OpenAI's responses."""

    def __init__(self, speaker: Speaker) -> None:
        self._speaker = speaker
        item = f'"item_id":"msg_{speaker.id}","output_index":0,"content_index":0'
        self._text = _line("response.output_text.delta", item)
        self._thought = _line("response.reasoning_text.delta", item)

    def opening(self, fed: int) -> bytes:  # noqa: ARG002 - it counts at the end
        begun = self._response("in_progress")
        return _event("response.created", response=begun) + _event("response.in_progress", response=begun)

    def text(self, escaped: str) -> bytes:
        return self._text(escaped)

    def thought(self, escaped: str) -> bytes:
        return self._thought(escaped) if self._speaker.shows_thoughts else b""

    def closing(self, finish: str, fed: int, generated: int, thought: int) -> Iterator[bytes]:
        usage = {
            "input_tokens": fed,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": generated,
            "output_tokens_details": {"reasoning_tokens": thought},
            "total_tokens": fed + generated,
        }
        status = "completed" if finish == "stop" else "incomplete"
        reason = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(finish)
        ended = self._response(status) | {
            "incomplete_details": {"reason": reason} if reason else None,
            "usage": usage if self._speaker.counts else None,
        }
        yield _event(f"response.{status}", response=ended)

    def error(self, said: str) -> bytes:
        failed = self._response("failed") | {"error": json.loads(said).get("error")}
        return _event("response.failed", response=failed)

    def _response(self, status: str) -> Fields:
        about = self._speaker
        return {
            "id": f"resp_{about.id}",
            "object": "response",
            "created_at": about.unix,
            "status": status,
            "model": about.model,
            "error": None,
            "output": [],
        }


class Messages:
    """Anthropic's messages."""

    def __init__(self, speaker: Speaker) -> None:
        self._speaker = speaker
        self._text = _delta_line("text_delta", "text")
        self._thought = _delta_line("thinking_delta", "thinking")

    def opening(self, fed: int) -> bytes:
        about = self._speaker
        message: Fields = {
            "id": f"msg_{about.id}",
            "type": "message",
            "role": "assistant",
            "model": about.model,
            "content": [],
            "stop_reason": None,
            "usage": {"input_tokens": fed if about.counts else 0, "output_tokens": 0},
        }
        block = {"type": "text", "text": ""}
        start = _event("message_start", message=message)
        return start + _event("content_block_start", index=0, content_block=block) + _event("ping")

    def text(self, escaped: str) -> bytes:
        return self._text(escaped)

    def thought(self, escaped: str) -> bytes:
        return self._thought(escaped) if self._speaker.shows_thoughts else b""

    def closing(
        self,
        finish: str,
        fed: int,  # noqa: ARG002 - it was told at the beginning
        generated: int,
        thought: int,  # noqa: ARG002 - it is part of what was generated
    ) -> Iterator[bytes]:
        reason = {"length": "max_tokens", "content_filter": "refusal"}.get(finish, "end_turn")
        usage = {"output_tokens": generated if self._speaker.counts else 0}
        yield _event("content_block_stop", index=0)
        yield _event("message_delta", delta={"stop_reason": reason, "stop_sequence": None}, usage=usage)
        yield _event("message_stop")

    def error(self, said: str) -> bytes:
        inner = json.loads(said).get("error", {})
        told = {"type": inner.get("type") or "api_error", "message": inner.get("message", "")}
        return _event("error", error=told)


class Gemini:
    """Google's Gemini."""

    def __init__(self, speaker: Speaker) -> None:
        self._speaker = speaker
        about = f'"modelVersion":{json.dumps(speaker.model)},"responseId":"{speaker.id}"'
        self._about = about

    def opening(self, fed: int) -> bytes:  # noqa: ARG002 - it counts at the end
        return b""

    def text(self, escaped: str) -> bytes:
        return self._piece(f'{{"text":"{escaped}"}}')

    def thought(self, escaped: str) -> bytes:
        return self._piece(f'{{"text":"{escaped}","thought":true}}') if self._speaker.shows_thoughts else b""

    def closing(self, finish: str, fed: int, generated: int, thought: int) -> Iterator[bytes]:
        reason = {"length": "MAX_TOKENS", "content_filter": "SAFETY"}.get(finish, "STOP")
        usage = {
            "promptTokenCount": fed,
            "candidatesTokenCount": generated - thought,
            "thoughtsTokenCount": thought,
            "totalTokenCount": fed + generated,
        }
        counted = f',"usageMetadata":{json.dumps(usage)}' if self._speaker.counts else ""
        candidate = f'{{"content":{{"parts":[],"role":"model"}},"finishReason":"{reason}","index":0}}'
        yield f'data: {{"candidates":[{candidate}],{self._about}{counted}}}\r\n\r\n'.encode()

    def error(self, said: str) -> bytes:
        message = json.loads(said).get("error", {}).get("message", "")
        told = {"code": 503, "message": message, "status": "UNAVAILABLE"}
        return f"data: {json.dumps({'error': told})}\r\n\r\n".encode()

    def _piece(self, part: str) -> bytes:
        candidate = f'{{"content":{{"parts":[{part}],"role":"model"}},"index":0}}'
        return f'data: {{"candidates":[{candidate}],{self._about}}}\r\n\r\n'.encode()


def _line(kind: str, before: str) -> Callable[[str], bytes]:
    head = f'event: {kind}\ndata: {{"type":"{kind}",{before},"delta":"'
    return lambda escaped: f'{head}{escaped}"}}\n\n'.encode()


def _delta_line(kind: str, field: str) -> Callable[[str], bytes]:
    head = 'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":'
    return lambda escaped: f'{head}{{"type":"{kind}","{field}":"{escaped}"}}}}\n\n'.encode()


# Requests

_COUNT = {"stream_options": {"include_usage": True}}


def _of_responses(fields: Fields, model: str) -> Fields:  # noqa: ARG001 - it stands in the fields
    said = fields.get("input")
    messages = [{"content": said}] if isinstance(said, str) else said
    asked = {name: value for name, value in fields.items() if name not in ("input", "max_output_tokens")}
    limit = {"max_tokens": fields["max_output_tokens"]} if "max_output_tokens" in fields else {}
    return {**asked, **limit, **_COUNT, "messages": messages}


def _of_messages(fields: Fields, model: str) -> Fields:  # noqa: ARG001 - it stands in the fields
    return {**fields, **_COUNT}


def _of_gemini(fields: Fields, model: str) -> Fields:
    contents = fields.get("contents")
    messages = (
        [{"content": each.get("parts")} for each in contents if isinstance(each, dict)]
        if isinstance(contents, list)
        else None
    )
    config = fields.get("generationConfig")
    limit = config.get("maxOutputTokens") if isinstance(config, dict) else None
    asked = {"model": model, "messages": messages, "stream": True, **_COUNT}
    return asked if limit is None else {**asked, "max_tokens": limit}


def _of_azure(fields: Fields, model: str) -> Fields:
    return {**fields, "model": model} if fields else fields


@dataclass(frozen=True, slots=True)
class Door:
    """A path at which completions are asked for."""

    before: str
    after: str
    """The path is these two, with the model between them if there is one."""
    as_chat: Callable[[Fields, str], Fields]
    """The request as a chat completion says it."""
    make: Make | None
    """The voice; None is that of chat completions."""


DOORS = (
    Door("/v1/responses", "", _of_responses, Responses),
    Door("/v1/messages", "", _of_messages, Messages),
    Door("/v1beta/models/", ":streamGenerateContent", _of_gemini, Gemini),
    Door("/openai/deployments/", "/chat/completions", _of_azure, None),
)


def door_at(path: str) -> tuple[Door, str] | None:
    """The door at that path and the model that the path names; None where there is none."""
    for door in DOORS:
        if path.startswith(door.before) and path.endswith(door.after):
            model = path[len(door.before) : len(path) - len(door.after)]
            if bool(model) is bool(door.after):
                return door, unquote(model)
    return None


def key_of(headers: Mapping[str, str]) -> str:
    """The key that a request shows, in whichever header."""
    bearer = headers.get("authorization", "").removeprefix("Bearer ")
    return bearer or headers.get("api-key") or headers.get("x-api-key") or headers.get("x-goog-api-key") or ""
