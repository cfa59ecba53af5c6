"""OpenAI's responses, streamed: typed events, and a last one that holds everything.

Spoken by OpenAI, Azure's `/openai/v1`, vLLM, llama.cpp's server, LiteLLM and OpenRouter.
"""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

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

_RESERVED = {
    "input": "write `prompt` beside `body`, so that the nonce can go in front",
    "stream": "a probe always streams",
    "max_output_tokens": "write `max_tokens` beside `body`",
    "background": "a probe waits for its answer",
}
_SUMMARY = "response.reasoning_summary_text.delta"
_CHANNELS = {
    "response.output_text.delta": Channel.ANSWER,
    "response.reasoning_text.delta": Channel.REASONING,
    _SUMMARY: Channel.REASONING,
    "response.reasoning.delta": Channel.REASONING,  # servers of open models
    "response.refusal.delta": Channel.OTHER,
    "response.function_call_arguments.delta": Channel.OTHER,
    "response.custom_tool_call_input.delta": Channel.OTHER,
}
_STATUSES = {"response.completed": "completed", "response.incomplete": "incomplete"}
"""What the last event's own name says, where a gateway leaves the status out of what it holds."""
_PARTS = {
    "output_text": ("text", Channel.ANSWER),
    "refusal": ("refusal", Channel.OTHER),
    "reasoning_text": ("text", Channel.REASONING),
    "summary_text": ("text", Channel.REASONING),
}


class Settings(ModelSettings):
    """An endpoint that speaks OpenAI's responses."""

    def objections(self) -> Iterator[Objection]:
        yield from appended(self.base_url, {"/responses": "which is appended: leave it out"})
        yield from reserved(self.body, _RESERVED)
        yield from needed(self.omit, "input", "stream")


def prepare(settings: Settings, reveal: Reveal) -> Model:
    """One endpoint, ready to be looked at."""
    host = urlsplit(settings.base_url).hostname or ""
    body: dict[str, Any] = {
        "model": settings.model,
        "input": prompt_with_nonce(settings.prompt),
        "stream": True,
        "max_output_tokens": settings.max_tokens,
        "store": False,  # nobody will ask for a probe's answer again
    }
    if host == "api.openai.com" or host.endswith(".api.openai.com"):
        body["stream_options"] = {"include_obfuscation": False}  # random padding, on by default
    form = Form(
        url=f"{settings.base_url}/responses",
        headers=credential(settings, reveal, "Authorization", "Bearer "),
        body=body | settings.body,
        limited="max_output_tokens" not in settings.omit,
    )
    return Model(settings, reveal, form, Dialect())


class Dialect:
    """What the events of a response mean. Without state: all of it is in the reading."""

    def event(self, reading: Reading, event: Event) -> None:
        """One event. Its type stands in the JSON: LiteLLM sends no line `event:`."""
        said = parsed(reading, event)
        if said is None:
            return
        kind = said.get("type") or event.name
        channel = _CHANNELS.get(kind) if type(kind) is str else None
        if channel is not None:
            delta = text(said.get("delta"))
            if kind == _SUMMARY:
                reading.reasoning_kept_back = True
            if delta:
                reading.token(delta, channel)
        elif kind == "response.output_text.done":
            _whole_text(reading, text(said.get("text")))
        elif kind == "response.output_item.added":
            _called(reading, table(said.get("item")))
        elif kind in ("response.created", "response.in_progress", "response.queued"):
            introduce(reading, table(said.get("response")))
        elif kind in ("response.completed", "response.incomplete", "response.done"):
            response = said.get("response") or {}
            if type(response) is dict:
                _ended(reading, response, _STATUSES.get(kind))
        elif kind == "response.failed":
            _failed(reading, table(said.get("response")))
        elif kind == "error" or said.get("error"):
            fail(reading, said)

    def whole(self, reading: Reading, answer: object) -> None:
        """A response in one piece."""
        said = table(answer)
        if "output" in said or "status" in said:
            _ended(reading, said, None)

    def usage(self, said: object) -> Usage | None:
        """The counts; `output_tokens` holds the reasoning."""
        fed, output = count(said, "input_tokens"), count(said, "output_tokens")
        if not fed and not output:
            return None
        details = table(said)
        return Usage(
            input_tokens=fed or None,
            output_tokens=output,
            reasoning_tokens=count(details.get("output_tokens_details"), "reasoning_tokens"),
            cached_tokens=count(details.get("input_tokens_details"), "cached_tokens"),
        )


def _whole_text(reading: Reading, said: str) -> None:
    """The text once more, or for the first time where a server streams no deltas."""
    if said and reading.timeline.first(Channel.ANSWER) is None:
        reading.token(said, Channel.ANSWER)


def _called(reading: Reading, item: dict[str, Any]) -> None:
    """A call of a function, of which the name may be all there is."""
    said = text(item.get("name")) + text(item.get("arguments"))
    if said and text(item.get("type")).endswith("_call"):
        reading.token(said, Channel.OTHER)


def _ended(reading: Reading, response: dict[str, Any], otherwise: str | None) -> None:
    """The last event, which holds the whole response; `otherwise` is its status where it says none."""
    introduce(reading, response)
    if response.get("usage"):
        reading.usage = response["usage"]
    if not reading.timeline.tokens:  # a server that streams no deltas
        for item in tables(response.get("output")):
            _called(reading, item)
            for part in (*tables(item.get("content")), *tables(item.get("summary"))):
                _part(reading, part)
    status = response.get("status") or otherwise
    if response.get("error") or status == "failed":
        _failed(reading, response)
    elif status in ("completed", "incomplete"):
        reason = text(table(response.get("incomplete_details")).get("reason"))
        reading.filtered = reason == "content_filter"
        reading.finished(reason or status)
        reading.over = True


def _part(reading: Reading, part: dict[str, Any]) -> None:
    kind = part.get("type")
    key, channel = _PARTS.get(kind, ("", Channel.OTHER)) if type(kind) is str else ("", Channel.OTHER)
    said = text(part.get(key))
    if kind == "summary_text":
        reading.reasoning_kept_back = True
    if said:
        reading.token(said, channel)


def _failed(reading: Reading, response: dict[str, Any]) -> None:
    introduce(reading, response)
    if response.get("usage"):
        reading.usage = response["usage"]
    error = response.get("error")
    fail(reading, {"error": error} if error else {"message": "the response failed without saying why"})
