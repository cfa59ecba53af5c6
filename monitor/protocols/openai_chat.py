"""OpenAI's chat completions, streamed, and the dialects of everybody who speaks them too.

Which server writes what, and so why a rule is here, stands beside the rule. Nothing that a
server sends is indexed blindly: any field may be absent, null or of another type.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from monitor.config.settings import ModelSettings, Objection
from monitor.core.observation import Observation, Usage
from monitor.core.sse import Event
from monitor.core.timeline import Channel, Timeline
from monitor.core.wire import Limits, Request, Wire
from monitor.protocols import Reveal
from monitor.protocols._events import count, fail, introduce, parsed
from monitor.protocols._model import (
    Template,
    appended,
    conversation,
    credential,
    expectations,
    identity,
    json_headers,
    needed,
    prompt_characters,
    prompt_with_nonce,
    reserved,
    worst_case,
)
from monitor.protocols._reading import Inline, Reading

_OPENS, _CLOSES = "<think>", "</think>"
_LIMIT_FIELDS = ("max_tokens", "max_completion_tokens")
_USAGE_FIELDS = ("stream_options", "include_usage", "include_obfuscation")
_RESERVED = {
    "messages": "write `prompt` beside `body`, so that the nonce can go in front",
    "stream": "a probe always streams",
    "max_tokens": "write `max_tokens` beside `body`",
    "max_completion_tokens": "write `max_tokens` beside `body`, and max_tokens_field where it matters",
}


class ChatSettings(ModelSettings):
    """What every endpoint has that speaks chat completions, wherever its door is."""

    max_tokens_field: Literal["auto", "max_tokens", "max_completion_tokens"] = "auto"

    def objections(self) -> Iterator[Objection]:
        yield from appended(self.base_url, {"/chat/completions": "which is appended: leave it out"})
        yield from reserved(self.body, _RESERVED)
        yield from needed(self.omit, "messages", "stream")


class Settings(ChatSettings):
    """An endpoint that speaks OpenAI's chat completions."""


def prepare(settings: Settings, reveal: Reveal) -> "Chat":
    """One endpoint, ready to be looked at."""
    host = urlsplit(settings.base_url).hostname or ""
    at_openai = host == "api.openai.com" or host.endswith(".api.openai.com")
    door = Door(
        url=f"{settings.base_url}/chat/completions",
        headers=credential(settings, reveal, "Authorization", "Bearer "),
        usual_limit="max_completion_tokens" if at_openai else "max_tokens",
        # Random padding in every chunk, on by default.
        options={"include_obfuscation": False} if at_openai else {},
    )
    return Chat(settings, reveal, door)


class Door(NamedTuple):
    """Where chat completions are asked for."""

    url: str
    headers: Mapping[str, str]
    """Those that let us in."""
    usual_limit: str
    """The name of the token limit that is tried first."""
    options: Mapping[str, bool]
    """`stream_options` beside the usage."""


class _Form(NamedTuple):
    """The two things in a request that servers disagree about."""

    limit_field: str
    usage_asked: bool


class Chat:
    """One endpoint, ready to be looked at."""

    def __init__(self, settings: ChatSettings, reveal: Reveal, door: Door) -> None:
        self._settings = settings
        self._door = door
        self._headers = json_headers(settings, reveal, door.headers)
        self._conversation = conversation(settings, Dialect())
        self._templates: dict[_Form, Template] = {}
        self.model = settings.model
        self.identity = identity(settings)
        self.expect = expectations(settings)
        limited = self._form({}).limit_field not in settings.omit
        self.worst_case = worst_case(settings, limited=limited)

    async def look(
        self, wire: Wire, timeline: Timeline, limits: Limits, nonce: str, learnt: Mapping[str, str]
    ) -> Observation:
        """Ask once; ask again, once, where the server refused a field that we can do without."""
        talk, form = self._conversation, self._form(learnt)
        asked = prompt_characters(self._settings.prompt, nonce)
        reading = await talk.ask(wire, self._request(form, nonce), timeline, limits)
        other = self._other_form(form, reading)
        if other == form:
            return talk.observe(reading, {}, asked, usage_asked=self._asks_usage(form))
        again = await talk.ask(wire, self._request(other, nonce), Timeline(start=reading.at), limits)
        _carry_over(again, timeline)
        lesson = self._lesson(form, other, again)
        return talk.observe(again, lesson, asked, usage_asked=self._asks_usage(other))

    def _form(self, learnt: Mapping[str, str]) -> _Form:
        field: str = self._settings.max_tokens_field
        if field == "auto":
            said = learnt.get("max_tokens_field")
            field = said if said in _LIMIT_FIELDS else self._door.usual_limit
        return _Form(field, usage_asked=learnt.get("omit") != "stream_options")

    def _request(self, form: _Form, nonce: str) -> Request:
        template = self._templates.get(form)
        if template is None:
            template = self._templates[form] = self._template(form)
        return Request("POST", self._door.url, self._headers, template.fill(nonce))

    def _template(self, form: _Form) -> Template:
        settings = self._settings
        body = {
            "model": settings.model,
            "messages": [{"role": "user", "content": prompt_with_nonce(settings.prompt)}],
            "stream": True,
            "stream_options": {"include_usage": True, **self._door.options},
            form.limit_field: settings.max_tokens,
            **settings.body,
        }
        return Template(body, settings.omit if form.usage_asked else (*settings.omit, "stream_options"))

    def _asks_usage(self, form: _Form) -> bool:
        """Whether the usage is asked for, in this form and with what the operator changed in it."""
        said = self._settings.body.get("stream_options", {"include_usage": True})
        wanted = isinstance(said, Mapping) and bool(said.get("include_usage"))
        return wanted and form.usage_asked and "stream_options" not in self._settings.omit

    def _other_form(self, form: _Form, reading: Reading) -> _Form:
        """The form to try instead; the same where the server did not complain of it."""
        if reading.status not in (400, 422):
            return form
        said = reading.said()
        field, usage_asked = form
        if usage_asked and "stream_options" not in self._settings.omit and _names(said, *_USAGE_FIELDS):
            usage_asked = False
        changeable = self._settings.max_tokens_field == "auto" and field not in self._settings.omit
        other = _LIMIT_FIELDS[1 - _LIMIT_FIELDS.index(field)]
        renamed = _names(said, other) and _RENAMED.search(said) is not None
        if changeable and _names(said, field) and (renamed or not _VALUE.search(said)):
            field = other
        return _Form(field, usage_asked)

    def _lesson(self, before: _Form, after: _Form, again: Reading) -> dict[str, str]:
        """What to remember, so that the next probe need not ask twice: what the server took."""
        lesson: dict[str, str] = {}
        if again.status is None:
            return lesson
        if after.usage_asked != before.usage_asked:
            lesson["omit"] = "stream_options"
        taken = self._other_form(after, again).limit_field == after.limit_field
        if after.limit_field != before.limit_field and taken:
            lesson["max_tokens_field"] = after.limit_field
        return lesson


_VALUE = re.compile(
    r"too (large|small|high|low|big|long|short)|at (most|least)|(greater|less|more|fewer) than|exceed"
    r"|must be|should be|maximum|minimum|out of range",
    re.IGNORECASE,
)
"""It is the value that is wrong, so another name would not help."""
_RENAMED = re.compile(r"instead|replace|deprecated|renamed", re.IGNORECASE)
"""It is the name, even where it "must be" another one. vLLM names both where the value is too large."""


def _names(said: str, *names: str) -> bool:
    return any(re.search(rf"(?<!\w){name}(?!\w)", said) for name in names)


def _carry_over(again: Reading, timeline: Timeline) -> None:
    """The second exchange is the one that is measured; the time of the first was ours to spend."""
    second = again.timeline
    lost_s = second.start - timeline.start
    for phase in fields(second):
        if phase.name != "start":
            setattr(timeline, phase.name, getattr(second, phase.name))
    timeline.own_s = second.own_s + lost_s
    again.timeline = timeline


class Dialect:
    """What the chunks of a chat completion mean. Without state: all of it is in the reading."""

    def event(self, reading: Reading, event: Event) -> None:
        """One chunk, or the end of the stream."""
        if event.data.lstrip().startswith("[DONE]"):
            reading.finished(None)
            reading.over = True
            return
        chunk = parsed(reading, event)
        if chunk is not None:
            _chunk(reading, chunk)

    def whole(self, reading: Reading, answer: object) -> None:
        """A completion in one piece: `message` stands where the deltas would."""
        if type(answer) is dict:
            _chunk(reading, answer)

    def usage(self, said: object) -> Usage | None:
        """The counts; those that cannot be true are unknown."""
        return _usage(said)


def _chunk(reading: Reading, chunk: dict[str, Any]) -> None:
    # vLLM before 2025 sent its error as the whole chunk, `{"object": "error", "message": …}`.
    if chunk.get("error") or chunk.get("object") == "error" or chunk.get("type") == "error":
        fail(reading, chunk)
        return
    introduce(reading, chunk)  # both empty in Azure's first chunk, which has no choices either
    if chunk.get("usage"):  # Mistral: in the last chunk; vLLM: in every chunk, if told to
        reading.usage = chunk["usage"]
    groq = chunk.get("x_groq")
    if type(groq) is dict:
        _groq(reading, groq)
    choices = chunk.get("choices")
    if type(choices) is list:
        for choice in choices:
            if type(choice) is dict:
                _choice(reading, choice)


def _groq(reading: Reading, extra: dict[str, Any]) -> None:
    if extra.get("error"):
        fail(reading, extra)
    if extra.get("usage"):
        reading.usage = extra["usage"]


_BROKEN = frozenset({"error", "insufficient_system_resource"})
"""Reasons for an end that are failures: OpenRouter's, DeepSeek's."""


def _choice(reading: Reading, choice: dict[str, Any]) -> None:
    delta = choice.get("delta")
    if type(delta) is not dict:
        delta = choice.get("message")  # whole answers, and old servers' last chunk
    if type(delta) is dict:
        _delta(reading, delta)
    reason = choice.get("finish_reason")
    if choice.get("error"):  # OpenRouter, after the provider behind it broke
        fail(reading, choice)
        return
    if not reason or type(reason) is not str:
        return
    if reason in _BROKEN:
        fail(reading, {"message": f"finish_reason is {reason}"})
        return
    if reason == "content_filter":
        reading.filtered = True
    if choice.get("usage"):  # Moonshot
        reading.usage = choice["usage"]
    reading.finished(reason)


def _delta(reading: Reading, delta: dict[str, Any]) -> None:
    reasoning = delta.get("reasoning_content") or delta.get("reasoning") or delta.get("reasoning_details")
    reasoning = reasoning or delta.get("thinking")  # Ollama's own word
    if reasoning:  # OpenRouter sends the same text twice, in `reasoning` and in `reasoning_details`
        text = _text(reasoning)
        if text:
            reading.token(text, Channel.REASONING)
        details = delta.get("reasoning_details")
        if type(details) is list and any(_is_kept_back(detail) for detail in details):
            reading.reasoning_kept_back = True
    content = delta.get("content")
    if type(content) is str:
        if content:
            _content(reading, content)
    elif type(content) is list:
        _parts(reading, content)
    if "refusal" in delta or "tool_calls" in delta or "function_call" in delta:
        _other(reading, delta)


def _content(reading: Reading, content: str) -> None:
    """Answer text, unless a server that knows no reasoning field passes it on in tags."""
    if reading.inline is Inline.UNDECIDED:
        begun = ("".join(reading.answer) + content).lstrip()
        if begun.startswith(_OPENS):
            reading.thought_aloud()
            reading.inline = Inline.OPEN
        elif not _OPENS.startswith(begun):
            reading.inline = Inline.ANSWERING
    if reading.inline is Inline.OPEN:
        content = _thought(reading, content)
    if reading.inline is Inline.CLOSED and content:
        if content.isspace():
            reading.token(content, Channel.REASONING)  # every template puts blanks behind the tag
            return
        reading.inline = Inline.ANSWERING
    if content:
        reading.token(content, Channel.ANSWER)


def _thought(reading: Reading, content: str) -> str:
    """Reasoning up to the tag that closes it; what stands behind that."""
    before = len(reading.inline_tail)
    text = reading.inline_tail + content
    place = text.find(_CLOSES)
    if place >= 0:
        reading.inline = Inline.CLOSED
    end = len(content) if place < 0 else place + len(_CLOSES) - before
    reading.inline_tail = text[1 - len(_CLOSES) :]
    reading.token(content[:end], Channel.REASONING)
    return content[end:]


def _parts(reading: Reading, content: list[Any]) -> None:
    """Mistral's reasoning models send content in typed parts."""
    for part in content:
        if type(part) is dict:
            thinking = _text(part.get("thinking"))
            if thinking:
                reading.token(thinking, Channel.REASONING)
            text = _text(part.get("text"))
            if text:
                reading.token(text, Channel.ANSWER)


def _other(reading: Reading, delta: dict[str, Any]) -> None:
    """Text that was generated, but is no answer."""
    calls = delta.get("tool_calls")
    calls = [call.get("function") for call in calls if type(call) is dict] if type(calls) is list else []
    called = [_called(call) for call in (*calls, delta.get("function_call")) if type(call) is dict]
    for text in (delta.get("refusal"), *called):
        if type(text) is str and text:
            reading.token(text, Channel.OTHER)


def _called(function: dict[str, Any]) -> str:
    """The name, which may be all there is, and what came of the arguments."""
    return "".join(part for part in (function.get("name"), function.get("arguments")) if type(part) is str)


def _text(value: object) -> str:
    """The text in a text, a part or a list of parts. Encrypted reasoning has none."""
    if type(value) is str:
        return value
    if type(value) is dict:
        inner = value.get("text") or value.get("summary")
        return inner if type(inner) is str else ""
    if type(value) is list:
        return "".join(_text(part) for part in value if type(part) is not list)
    return ""


def _is_kept_back(detail: object) -> bool:
    """OpenRouter's words for a thought that is shown in summary, or not at all."""
    return type(detail) is dict and detail.get("type") in ("reasoning.summary", "reasoning.encrypted")


def _usage(said: object) -> Usage | None:
    if type(said) is not dict:
        return None
    prompt = count(said, "prompt_tokens")
    completion = count(said, "completion_tokens")
    total = count(said, "total_tokens")
    reasoning = count(said.get("completion_tokens_details"), "reasoning_tokens")
    if reasoning is None:
        reasoning = count(said, "reasoning_tokens")
    cached = count(said.get("prompt_tokens_details"), "cached_tokens")
    if cached is None:
        cached = count(said, "prompt_cache_hit_tokens")  # DeepSeek
    written = count(said.get("prompt_tokens_details"), "cache_write_tokens")  # OpenRouter
    if written is None:
        written = count(said, "cache_creation_input_tokens")  # LiteLLM
    if reasoning and completion is not None and total == (prompt or 0) + completion + reasoning:
        completion += reasoning  # xAI, and gateways to Gemini, count reasoning beside the completion
    usage = Usage(
        input_tokens=prompt or None,
        output_tokens=completion,
        reasoning_tokens=reasoning,
        cached_tokens=cached,
        written_tokens=written or None,
    )
    return None if usage.input_tokens is None and not completion else usage
