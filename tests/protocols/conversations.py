"""Streams as the servers write them, by hand from their wire formats, and the facts in each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from monitor.core.observation import Usage
from monitor.core.timeline import Channel
from tests.protocols.replay import events

A, R, O = Channel.ANSWER, Channel.REASONING, Channel.OTHER  # noqa: E741 - read as a column below


@dataclass(frozen=True)
class Conversation:
    stream: bytes
    tokens: Sequence[tuple[Channel, int]]
    answer: str
    finish_reason: str | None = "stop"
    terminal: bool = True
    usage: Usage | None = None
    served_model: str | None = "acme-1"
    error: tuple[str | None, str | None, str] | None = None
    """Code, type and message."""
    malformed: bool = False
    filtered: bool = False


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """One chunk of a chat completion; `choices` is empty where there is no delta."""
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    return {
        "id": "chatcmpl-7",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "acme-1",
        "choices": choices,
    } | more


def usage(prompt: int, completion: int, **more: Any) -> dict[str, Any]:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    } | more


ROLE = {"role": "assistant", "content": ""}

CONVERSATIONS: dict[str, Conversation] = {
    "openai": Conversation(
        events(
            chunk({"role": "assistant", "content": "", "refusal": None}, usage=None, obfuscation="x8"),
            chunk({"content": "pong"}, usage=None, obfuscation="aZ"),
            chunk({"content": ". The river"}, usage=None),
            chunk({}, "length", usage=None),
            chunk(
                usage=usage(
                    30,
                    64,
                    prompt_tokens_details={"cached_tokens": 0, "audio_tokens": 0},
                    completion_tokens_details={"reasoning_tokens": 0},
                )
            ),
            "data: [DONE]",
        ),
        [(A, 4), (A, 11)],
        "pong. The river",
        "length",
        usage=Usage(input_tokens=30, output_tokens=64, reasoning_tokens=0, cached_tokens=0),
    ),
    "openai refuses": Conversation(
        events(
            chunk(ROLE), chunk({"refusal": "I cannot"}), chunk({"refusal": " help."}), chunk({}, "stop"),
            "data: [DONE]",
        ),
        [(O, 8), (O, 6)],
        "",
    ),
    "openai calls a tool": Conversation(
        events(
            chunk({"role": "assistant", "content": None, "tool_calls": [
                {"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": ""}}
            ]}),
            chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"a"'}}]}),
            chunk({"function_call": {"arguments": ":1}"}}),
            chunk({}, "tool_calls"),
            "data: [DONE]",
        ),
        [(O, 1), (O, 4), (O, 3)],
        "",
        "tool_calls",
    ),
    "azure": Conversation(
        events(
            {"choices": [], "created": 0, "id": "", "model": "", "object": "", "prompt_filter_results": [
                {"prompt_index": 0, "content_filter_results": {"hate": {"filtered": False}}}
            ]},
            chunk(ROLE | {"refusal": None}),
            chunk({"content": "pong"}),
            {"id": "", "object": "", "created": 0, "model": "", "choices": [
                {"index": 0, "finish_reason": None, "content_filter_results": {},
                 "content_filter_offsets": {}, "delta": None}
            ]},
            chunk({}, "stop", system_fingerprint="fp_1"),
            "data: [DONE]",
        ),
        [(A, 4)],
        "pong",
    ),
    "azure filters": Conversation(
        events(chunk(ROLE), chunk({"content": "po"}), chunk({}, "content_filter"), "data: [DONE]"),
        [(A, 2)],
        "po",
        "content_filter",
        filtered=True,
    ),
    "openrouter": Conversation(
        events(
            ": OPENROUTER PROCESSING",
            ": OPENROUTER PROCESSING",
            chunk({"role": "assistant", "content": "", "reasoning": "Hm", "reasoning_details": [
                {"type": "reasoning.text", "text": "Hm"}
            ]}, provider="Acme"),
            chunk({"role": "assistant", "content": "", "reasoning": None, "reasoning_details": [
                {"type": "reasoning.summary", "summary": "so"},
                {"type": "reasoning.encrypted", "data": "gAAA"},
            ]}, provider="Acme"),
            chunk({"role": "assistant", "content": "pong"}, provider="Acme"),
            chunk({"role": "assistant", "content": ""}, "stop", native_finish_reason="stop"),
            chunk({"role": "assistant", "content": ""}, usage=usage(
                12, 6, cost=0.1, completion_tokens_details={"reasoning_tokens": 4}
            )),
            "data: [DONE]",
        ),
        [(R, 2), (R, 2), (A, 4)],
        "pong",
        usage=Usage(input_tokens=12, output_tokens=6, reasoning_tokens=4),
    ),
    "openrouter breaks": Conversation(
        events(
            ": OPENROUTER PROCESSING",
            chunk(ROLE),
            chunk({"content": "pon"}),
            chunk({"content": ""}, "error", error={
                "code": 502, "message": "Provider disconnected",
                "metadata": {"provider_name": "Acme", "raw": "upstream reset"},
            }),
            "data: [DONE]",
        ),
        [(A, 3)],
        "pon",
        None,
        terminal=False,
        error=("502", None, "Provider disconnected [Acme: upstream reset]"),
    ),
    "openrouter breaks without a word": Conversation(
        events(chunk({"content": "pon"}), chunk({"content": ""}, "error"), "data: [DONE]"),
        [(A, 3)],
        "pon",
        None,
        terminal=False,
        error=(None, None, "finish_reason is error"),
    ),
    "deepseek": Conversation(
        events(
            ": keep-alive",
            ": keep-alive",
            chunk({"role": "assistant", "content": None, "reasoning_content": ""}),
            chunk({"content": None, "reasoning_content": "Let me"}),
            chunk({"content": None, "reasoning_content": " see"}),
            chunk({"content": "pong", "reasoning_content": None}),
            chunk({"content": "", "reasoning_content": None}, "stop", usage=usage(
                20, 9, prompt_cache_hit_tokens=3, prompt_cache_miss_tokens=17,
                completion_tokens_details={"reasoning_tokens": 5},
            )),
            "data: [DONE]",
        ),
        [(R, 6), (R, 4), (A, 4)],
        "pong",
        usage=Usage(input_tokens=20, output_tokens=9, reasoning_tokens=5, cached_tokens=3),
    ),
    "vllm": Conversation(
        events(
            chunk(ROLE, usage=usage(9, 0)),
            chunk({"reasoning": "Hmm"}, usage=usage(9, 2)),
            chunk({"content": "pong"}, usage=usage(9, 4)),
            chunk({"content": ""}, "stop", usage=usage(9, 5), stop_reason=None),
            chunk(usage=usage(9, 5)),
            "data: [DONE]",
        ),
        [(R, 3), (A, 4)],
        "pong",
        usage=Usage(input_tokens=9, output_tokens=5),
    ),
    "vllm breaks": Conversation(
        events(
            chunk(ROLE),
            {"error": {
                "message": "EngineCore died", "type": "InternalServerError", "param": None, "code": 500
            }},
            "data: [DONE]",
        ),
        [],
        "",
        None,
        terminal=False,
        error=("500", "InternalServerError", "EngineCore died"),
    ),
    "old vllm breaks": Conversation(
        events(
            {"object": "error", "message": "the model died", "type": "BadRequestError", "code": 400},
            "data: [DONE]",
        ),
        [],
        "",
        None,
        terminal=False,
        served_model=None,
        error=("400", "BadRequestError", "the model died"),
    ),
    "mistral": Conversation(
        events(
            chunk(ROLE),
            chunk({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Well"}]}]}),
            chunk({"content": [{"type": "text", "text": "po"}]}),
            chunk({"content": "ng"}),
            chunk({"content": ""}, "stop", usage=usage(8, 3)),
            "data: [DONE]",
        ),
        [(R, 4), (A, 2), (A, 2)],
        "pong",
        usage=Usage(input_tokens=8, output_tokens=3),
    ),
    "groq": Conversation(
        events(
            chunk(ROLE, x_groq={"id": "req_01"}),
            chunk({"content": "pong"}),
            chunk({}, "stop", x_groq={"id": "req_01", "usage": usage(7, 2, queue_time=0.1)}),
            "data: [DONE]",
        ),
        [(A, 4)],
        "pong",
        usage=Usage(input_tokens=7, output_tokens=2),
    ),
    "groq breaks": Conversation(
        events(chunk(ROLE), chunk({}, x_groq={"id": "req_01", "error": "over capacity"}), "data: [DONE]"),
        [],
        "",
        None,
        terminal=False,
        error=(None, None, "over capacity"),
    ),
    "ollama": Conversation(
        events(
            chunk({"role": "assistant", "content": "", "reasoning": "Okay"}, system_fingerprint="fp_ollama"),
            chunk({"role": "assistant", "content": "pong"}),
            chunk({"role": "assistant", "content": ""}, "stop"),
            chunk(usage=usage(26, 3)),
            "data: [DONE]",
        ),
        [(R, 4), (A, 4)],
        "pong",
        usage=Usage(input_tokens=26, output_tokens=3),
    ),
    "llama.cpp": Conversation(
        events(
            chunk({"role": "assistant", "content": None}),
            chunk({"content": "pong"}),
            chunk({"content": " \ufffd"}),
            chunk({}, "length"),
            chunk(usage=usage(24, 60), timings={"prompt_ms": 137.0, "predicted_per_second": 75.0}),
            "data: [DONE]",
        ),
        [(A, 4), (A, 2)],
        "pong \ufffd",
        "length",
        usage=Usage(input_tokens=24, output_tokens=60),
    ),
    "old llama.cpp breaks": Conversation(
        events(
            'error: {"code":400,"message":"exceeds the context size","type":"invalid_request_error"}',
            "data: [DONE]",
        ),
        [],
        "",
        None,
        terminal=False,
        served_model=None,
        error=("400", "invalid_request_error", "exceeds the context size"),
    ),
    "litellm": Conversation(
        events(
            chunk({"role": "assistant", "content": "pong"}),
            chunk({}, "stop"),
            chunk({}, usage=usage(5, 1)),  # one choice with an empty delta where OpenAI has none
            "data: [DONE]",
        ),
        [(A, 4)],
        "pong",
        usage=Usage(input_tokens=5, output_tokens=1),
    ),
    "xai counts reasoning beside": Conversation(
        events(
            chunk({"role": "assistant", "reasoning_content": "Thinking"}),
            chunk({"content": "pong"}, "stop"),
            chunk(usage={
                "prompt_tokens": 12, "completion_tokens": 1, "total_tokens": 399,
                "completion_tokens_details": {"reasoning_tokens": 386},
            }),
            "data: [DONE]",
        ),
        [(R, 8), (A, 4)],
        "pong",
        usage=Usage(input_tokens=12, output_tokens=387, reasoning_tokens=386),
    ),
    "moonshot": Conversation(
        events(
            chunk({"content": "pong"}),
            {"id": "chatcmpl-7", "model": "acme-1", "choices": [
                {"index": 0, "delta": {}, "finish_reason": "stop", "usage": usage(19, 2)}
            ]},
            "data: [DONE]",
        ),
        [(A, 4)],
        "pong",
        usage=Usage(input_tokens=19, output_tokens=2),
    ),
    "whole message in a stream": Conversation(
        events({"model": "acme-1", "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "pong"}, "finish_reason": "stop"}
        ]}),
        [(A, 4)],
        "pong",
    ),
    "crlf, pings and no [DONE]": Conversation(
        events(
            "event: ping\r\ndata: ping", "event: ping\r\ndata: {}", "data: PING",
            chunk({"content": "pong"}, "stop"),
            end="\r\n\r\n",
        ),
        [(A, 4)],
        "pong",
    ),
    "only [DONE], and no blank line after it": Conversation(
        events(chunk({"content": "pöng\u2028"})) + b"data: [DONE]",
        [(A, 5)],
        "pöng\ufffd",
        None,
    ),
    "zero usage": Conversation(
        events(chunk({"content": "pong"}, "stop"), chunk(usage=usage(0, 0)), "data: [DONE]"),
        [(A, 4)],
        "pong",
    ),
    "zero completion": Conversation(
        events(chunk({"content": "pong"}, "stop"), chunk(usage=usage(11, 0)), "data: [DONE]"),
        [(A, 4)],
        "pong",
        usage=Usage(input_tokens=11),
    ),
    "error event": Conversation(
        events(chunk({"content": "po"}), 'event: error\ndata: {"message": "boom", "code": "server_error"}'),
        [(A, 2)],
        "po",
        None,
        terminal=False,
        error=("server_error", None, "boom"),
    ),
    "error event in plain words": Conversation(
        events(chunk({"content": "po"}), "event: error\ndata: upstream timed out"),
        [(A, 2)],
        "po",
        None,
        terminal=False,
        error=(None, None, "upstream timed out"),
    ),
    "error after the end": Conversation(
        events(chunk({"content": "po"}, "stop"), {"error": "billing failed"}, "data: [DONE]"),
        [(A, 2)],
        "po",
        error=(None, None, "billing failed"),
    ),
    "cut short": Conversation(
        events(chunk(ROLE), chunk({"content": "po"})), [(A, 2)], "po", None, terminal=False
    ),
    "not json": Conversation(
        events(chunk({"content": "po"}), "data: {oops"), [(A, 2)], "po", None, terminal=False, malformed=True
    ),
    "not an object": Conversation(
        events("data: [1, 2]"), [], "", None, terminal=False, malformed=True, served_model=None
    ),
    "absurd types": Conversation(
        events(
            {"id": 7, "model": ["x"], "choices": "none", "usage": "many"},
            {"id": None, "model": {}, "choices": [1, None, "x", [], {"delta": []}]},
            {"choices": [{"delta": {"content": 5}}]},
            {"choices": [{"delta": {"tool_calls": [1, {"function": 2}, {"function": {"arguments": {}}}]}}]},
            {"choices": [{"delta": {"reasoning": [[["x"]], 3], "content": [1, {"text": 2}]}}]},
            {"choices": [{"delta": {}, "finish_reason": 9}]},
            {"choices": {}, "x_groq": [], "usage": {"prompt_tokens": -1, "completion_tokens": True}},
        ),
        [],
        "",
        None,
        terminal=False,
        served_model=None,
    ),
}  # fmt: skip
