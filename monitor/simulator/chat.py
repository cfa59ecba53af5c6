"""OpenAI's chat completions as they look on the wire, faults included; other voices say the same.

Everything is decided from the profile and the request; nothing here knows a socket or a clock.
"""

import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, count, cycle
from typing import Any

from monitor.simulator import prose
from monitor.simulator.exchange import LAST_CHUNK, Ending, Frame, Reply, Request, chunked, head, whole
from monitor.simulator.profile import Fault, Profile, Refusal, UsageStyle, error
from monitor.simulator.voices import Make, Speaker, Voice, key_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What a request wants."""

    model: str
    prompt: str
    """All text of its messages."""
    budget: int | None
    """The most tokens it allows; None: no limit."""
    stream: bool
    include_usage: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What will be generated, in tokens."""

    input: int
    reasoning: int
    answer: int
    finish: str

    @property
    def total(self) -> int:
        return self.reasoning + self.answer


def fields_of(body: bytes) -> dict[str, Any]:
    """The fields of a request; none if the body is not a JSON object."""
    try:
        fields = json.loads(body)
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}


def completion(profile: Profile, request: Request, fields: dict[str, Any], make: Make | None = None) -> Reply:
    """The reply to a request with those fields, in that voice; None is the one of chat completions."""
    refused = profile.refusal or _key_problem(profile, request)
    if refused:
        return refusal(profile, request, refused)
    ask = understood(profile, fields)
    if isinstance(ask, Refusal):
        return whole(request, ask)
    plan = planned(profile, ask)
    if not ask.stream:
        return _at_once(profile, request, ask, plan)
    model = profile.served_model or ask.model
    if make is None:
        voice: Voice = _Envelope.of(request, model, profile, ask)
    else:
        voice = make(
            Speaker(
                id=request.id,
                unix=request.unix,
                model=model,
                counts=profile.usage is not UsageStyle.NEVER,
                shows_thoughts=bool(profile.reasoning_field),
            )
        )
    return _streamed(profile, request, plan, voice)


def refusal(profile: Profile, request: Request, answer: Refusal) -> Reply:
    """That refusal with the profile's `Retry-After`."""
    if profile.retry_after_s is None:
        return whole(request, answer)
    wait = ("retry-after", f"{profile.retry_after_s:g}")
    return whole(
        request,
        Refusal(
            status=answer.status,
            body=answer.body,
            content_type=answer.content_type,
            headers=(*answer.headers, wait),
        ),
    )


def _key_problem(profile: Profile, request: Request) -> Refusal | None:
    given = key_of(request.headers)
    if not profile.key or given == profile.key:
        return None
    if not given:
        return error(401, "You didn't provide an API key.", "invalid_request_error")
    shown = f"{given[:3]}***{given[-2:]}"
    return error(401, f"Incorrect API key provided: {shown}.", "invalid_request_error", "invalid_api_key")


def understood(profile: Profile, fields: dict[str, Any]) -> Ask | Refusal:
    """What the fields ask for, or why they are turned away."""
    if not fields:
        return error(400, "We could not parse the JSON body of your request.", "invalid_request_error")
    for name in profile.rejects:
        if name in fields:
            return _unwanted(profile.rejects_status, name, fields[name])
    model, prompt = fields.get("model"), text_of(fields.get("messages"))
    if not isinstance(model, str):
        return error(400, "you must provide a model parameter", "invalid_request_error")
    if profile.models and model not in profile.models:
        message = f"The model `{model}` does not exist or you do not have access to it."
        return error(404, message, "invalid_request_error", "model_not_found")
    if prompt is None:
        return _missing("messages")
    budget = fields.get("max_completion_tokens", fields.get("max_tokens"))
    if budget is not None and (type(budget) is not int or budget < 1):
        return error(
            400,
            "Expected an integer of at least 1.",
            "invalid_request_error",
            "integer_below_min_value",
            "max_tokens",
        )
    options = fields.get("stream_options")
    return Ask(
        model=model,
        prompt=prompt,
        budget=budget,
        stream=fields.get("stream") is True,
        include_usage=isinstance(options, dict) and options.get("include_usage") is True,
    )


def _missing(name: str) -> Refusal:
    return error(
        400,
        f"Missing required parameter: '{name}'.",
        "invalid_request_error",
        "missing_required_parameter",
        name,
    )


def _unwanted(status: int, name: str, value: Any) -> Refusal:
    if status == 422:  # pydantic's words, which Mistral and many self-built gateways pass on
        extra = {
            "type": "extra_forbidden",
            "loc": ["body", name],
            "msg": "Extra inputs are not permitted",
            "input": value,
        }
        inner = {
            "object": "error",
            "message": {"detail": [extra]},
            "type": "invalid_request_error",
            "param": None,
            "code": None,
        }
        return Refusal(status=422, body=json.dumps(inner))
    hint = " Use 'max_completion_tokens' instead." if name == "max_tokens" else ""
    message = f"Unsupported parameter: '{name}' is not supported with this model.{hint}"
    return error(status, message, "invalid_request_error", "unsupported_parameter", name)


def text_of(messages: Any) -> str | None:
    """The text of all messages; None if they are not messages."""
    if not isinstance(messages, list) or not messages:
        return None
    found: list[str] = []
    for message in messages:
        content = message.get("content") if isinstance(message, dict) else None
        parts = content if isinstance(content, list) else [{"text": content}]
        texts = (part.get("text") for part in parts if isinstance(part, dict))
        found += (text for text in texts if isinstance(text, str))
    return "\n".join(found)


def planned(profile: Profile, ask: Ask) -> Plan:
    """How many tokens of what. Thinking comes first and may leave nothing for the answer."""
    spoken = 0 if profile.fault is Fault.EMPTY else profile.answer_tokens
    thought = 0 if profile.fault is Fault.EMPTY else profile.reasoning_tokens
    finish = "stop"
    if profile.fault is Fault.CONTENT_FILTER:
        spoken, finish = min(spoken, profile.fault_after), "content_filter"
    if ask.budget is not None and thought + spoken > ask.budget:
        thought = min(thought, ask.budget)
        spoken, finish = ask.budget - thought, "length"
    prompt = 4 + len(ask.prompt) // 4
    return Plan(input=prompt, reasoning=thought, answer=spoken, finish=finish)


def noise(seed: int, number: int) -> float:
    """The same figure between -1 and 1 for the same arguments, and no pattern among others."""
    return zlib.crc32(b"%d/%d" % (number, seed)) / 0x80000000 - 1.0


@dataclass(frozen=True, slots=True)
class _Pace:
    """When the chunk that ends with a certain token leaves."""

    first_s: float
    token_s: float
    jitter: float
    seed: int

    @staticmethod
    def of(profile: Profile, seed: int) -> "_Pace":
        first = profile.ttft_ms / 1000 * (1 + profile.jitter * noise(seed, 0))
        speed = profile.tokens_per_s * (1 + profile.jitter / 2 * noise(seed, 1))
        return _Pace(first, 1 / speed, profile.jitter, seed)

    def due(self, start: int, stop: int, first: int) -> float:
        """Seconds after the request for tokens `start` to `stop`, if the first chunk held `first`."""
        steady = self.first_s + (stop - first) * self.token_s
        if not self.jitter or not start:
            return steady
        return steady + self.jitter * noise(self.seed, 1 + stop) * (stop - start) * self.token_s


@dataclass(frozen=True, slots=True)
class _Envelope:
    """The voice of chat completions: what is the same in every chunk of a stream."""

    before: str
    after: str
    reasoning_field: str
    usage: UsageStyle
    asked: bool
    """The request wants the usage."""
    cached: int
    """Tokens of the prompt that come from a cache, at most."""

    @staticmethod
    def of(request: Request, model: str, profile: Profile, ask: Ask) -> "_Envelope":
        before = (
            f'data: {{"id":"chatcmpl-{request.id}","object":"chat.completion.chunk",'
            f'"created":{request.unix},"model":{json.dumps(model)},{_build(profile)}"choices":['
        )
        after = '],"usage":null}\n\n' if ask.include_usage else "]}\n\n"
        asked = ask.include_usage
        return _Envelope(before, after, profile.reasoning_field, profile.usage, asked, profile.cached_tokens)

    def opening(self, fed: int) -> bytes:  # noqa: ARG002 - it counts at the end
        return self._delta('"role":"assistant","content":"","refusal":null')

    def text(self, escaped: str) -> bytes:
        return self._delta(f'"content":"{escaped}"')

    def thought(self, escaped: str) -> bytes:
        return self._delta(f'"{self.reasoning_field}":"{escaped}"') if self.reasoning_field else b""

    def closing(self, finish: str, fed: int, generated: int, thought: int) -> Iterator[bytes]:
        usage = _usage(fed, generated, thought, self.cached)
        if self.usage is UsageStyle.ALWAYS:
            choice = f'{{"index":0,"delta":{{"content":""}},"finish_reason":"{finish}"}}'
            yield self._counted(usage, choice)
        else:
            yield self._delta("", f'"{finish}"')
            if self.usage is UsageStyle.ASKED and self.asked:
                yield self._counted(usage)
        yield b"data: [DONE]\n\n"

    def error(self, said: str) -> bytes:
        return f"data: {said}\n\n".encode()

    def _delta(self, delta: str, finish: str = "null") -> bytes:
        choice = f'{{"index":0,"delta":{{{delta}}},"logprobs":null,"finish_reason":{finish}}}'
        return f"{self.before}{choice}{self.after}".encode()

    def _counted(self, usage: str, choice: str = "") -> bytes:
        return f'{self.before}{choice}],"usage":{usage}}}\n\n'.encode()


def _build(profile: Profile) -> str:
    """Who answers, as a part of an object."""
    parts = {"system_fingerprint": profile.fingerprint, "provider": profile.upstream}
    return "".join(f'"{name}":{json.dumps(value)},' for name, value in parts.items() if value)


def _usage(fed: int, generated: int, thought: int, cached: int) -> str:
    return json.dumps(
        {
            "prompt_tokens": fed,
            "completion_tokens": generated,
            "total_tokens": fed + generated,
            "prompt_tokens_details": {"cached_tokens": min(fed, cached)},
            "completion_tokens_details": {"reasoning_tokens": thought},
        },
        separators=(",", ":"),
    )


def _streamed(profile: Profile, request: Request, plan: Plan, voice: Voice) -> Reply:
    starts = min(profile.headers_ms, profile.ttft_ms) / 1000
    headers = [
        ("content-type", "text/event-stream; charset=utf-8"),
        ("cache-control", "no-cache"),
        ("transfer-encoding", "chunked"),
        ("openai-processing-ms", f"{starts * 1000:.0f}"),
        *profile.headers,
    ]
    opening = Frame(starts, head(request, 200, headers))
    first = voice.opening(plan.input)
    role = [Frame(starts, first)] if first else []
    closing = (
        Frame(0.0, data) for data in voice.closing(plan.finish, plan.input, plan.total, plan.reasoning)
    )
    body, ending = _body(profile, role, _tokens(profile, request, plan, voice), closing, voice)
    last = [LAST_CHUNK] if ending is Ending.COMPLETE else []
    return Reply(200, chain([opening], chunked(body), last), ending)


def _tokens(profile: Profile, request: Request, plan: Plan, voice: Voice) -> Iterator[Frame]:
    pace = _Pace.of(profile, request.seed)
    sizes = cycle(profile.chunk_tokens)
    first = min(profile.chunk_tokens[0], plan.reasoning or plan.answer)
    shift = request.seed % 997  # another passage each time, so that no two answers are alike
    start, due = 0, 0.0
    while start < plan.total:
        thinking = start < plan.reasoning
        stop = min(start + next(sizes), plan.reasoning if thinking else plan.total)
        due = max(due, pace.due(start, stop, first))
        if not thinking:
            yield Frame(due, voice.text(_answer(profile, plan, start, stop, shift)), stop - start)
        elif thought := voice.thought(prose.tokens(shift + start, shift + stop)):
            yield Frame(due, thought, stop - start)
        start = stop


def _answer(profile: Profile, plan: Plan, start: int, stop: int, shift: int) -> str:
    """Tokens of the answer, escaped: the opening word is the first of them, prose the rest."""
    if start > plan.reasoning:
        return prose.tokens(shift + start, shift + stop)
    return prose.escaped(profile.opening + ".") + prose.tokens(shift + start + 1, shift + stop)


def _body(
    profile: Profile, role: list[Frame], tokens: Iterator[Frame], closing: Iterator[Frame], voice: Voice
) -> tuple[Iterator[Frame], Ending]:
    """The events of the stream with the fault of the profile in their midst, and how they end."""
    some = chain(role, _until(tokens, profile.fault_after))
    match profile.fault:
        case Fault.STALLED:
            return some, Ending.HANG
        case Fault.RESET_MIDWAY:
            return some, Ending.RESET
        case Fault.CUT_OFF:
            return some, Ending.CLOSE
        case Fault.TRUNCATED:
            return some, Ending.COMPLETE
        case Fault.STREAM_ERROR:
            event = Frame(0.0, voice.error(profile.error_event))
            return chain(some, [event]), Ending.COMPLETE
        case Fault.MALFORMED:
            return chain(some, [Frame(0.0, b'data: {"id":"chatcmpl-\n\n')], tokens, closing), Ending.COMPLETE
        case Fault.KEEP_ALIVES:
            every = profile.drip_ms / 1000
            return (Frame(n * every, b": keep-alive\n\n") for n in count(1)), Ending.HANG
        case Fault.BURST:
            return _gathered(chain(role, tokens, closing)), Ending.COMPLETE
        case _:
            return chain(role, tokens, closing), Ending.COMPLETE


def _until(tokens: Iterator[Frame], most: int) -> Iterator[Frame]:
    """Frames until `most` tokens are out; what is left stays in `tokens`."""
    sent = 0
    while sent < most and (frame := next(tokens, None)):
        sent += frame.tokens
        yield frame


def _gathered(frames: Iterator[Frame]) -> Iterator[Frame]:
    every = list(frames)
    yield Frame(
        max(frame.at for frame in every),
        b"".join(frame.data for frame in every),
        sum(frame.tokens for frame in every),
    )


def _at_once(profile: Profile, request: Request, ask: Ask, plan: Plan) -> Reply:
    """The reply to a request that did not ask for a stream."""
    shift = request.seed % 997
    text = _answer(profile, plan, plan.reasoning, plan.total, shift) if plan.answer else ""
    thought = ""
    if plan.reasoning and profile.reasoning_field:
        thought = f'"{profile.reasoning_field}":"{prose.tokens(shift, shift + plan.reasoning)}",'
    message = f'{{"role":"assistant",{thought}"content":"{text}","refusal":null}}'
    body = (
        f'{{"id":"chatcmpl-{request.id}","object":"chat.completion","created":{request.unix},'
        f'"model":{json.dumps(profile.served_model or ask.model)},{_build(profile)}'
        f'"choices":[{{"index":0,"message":{message},"logprobs":null,"finish_reason":"{plan.finish}"}}],'
        f'"usage":{_usage(plan.input, plan.total, plan.reasoning, profile.cached_tokens)}}}'
    )
    pace = _Pace.of(profile, request.seed)
    answer = Refusal(status=200, body=body, headers=profile.headers)
    return whole(request, answer, pace.due(0, plan.total, 0))
