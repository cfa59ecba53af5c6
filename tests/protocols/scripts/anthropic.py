"""Anthropic's messages, by hand from its documentation of streaming and of errors."""

import json
from typing import Any

from monitor.core.observation import Usage
from monitor.core.outcome import Outcome
from tests.protocols.script import ANSWER, OTHER, REASONING, Case, refused, typed

BASE_URL = "https://api.acme.example"
REQUEST = {
    "url": "https://api.acme.example/v1/messages",
    "key": ("x-api-key", "{}"),
    "headers": {"anthropic-version": "2023-06-01"},
    "body": {
        "model": "acme-1",
        "max_tokens": 64,
        "messages": [{"role": "user", "content": "{prompt}"}],
        "stream": True,
    },
}


def start(**usage: Any) -> dict[str, Any]:
    counts = {
        "input_tokens": 25, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
        "output_tokens": 1, "service_tier": "standard",
    } | usage  # fmt: skip
    return {"type": "message_start", "message": {
        "id": "msg_01", "type": "message", "role": "assistant", "content": [], "model": "acme-1",
        "stop_reason": None, "stop_sequence": None, "usage": counts,
    }}  # fmt: skip


def block(kind: str, index: int = 0, **more: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": {"type": kind, **more}}


def delta(kind: str, index: int = 0, **more: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **more}}


def text(words: str, index: int = 0) -> dict[str, Any]:
    return delta("text_delta", index, text=words)


def close(reason: str = "end_turn", output: int | None = 15, **usage: Any) -> list[dict[str, Any]]:
    counts = usage if output is None else {"output_tokens": output} | usage
    return [
        {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}, "usage": counts},
        {"type": "message_stop"},
    ]


def stop(index: int = 0) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def error(kind: str, message: str, **more: Any) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message, **more}, "request_id": "req_011"}


PING = {"type": "ping"}
TEXT = block("text", text="")
PONG = [(ANSWER, 4), (ANSWER, 11)]
THINKING = [
    block("thinking", thinking="", signature=""),
    delta("thinking_delta", thinking="Let me"),
    delta("thinking_delta", thinking=" see"),
    delta("signature_delta", signature="EqQBCgIYAhIM1gbcDa9GJwZA2b3hGgxBdjrkzLoky3dl1pk"),
    stop(),
]
MESSAGE = {
    "id": "msg_01", "type": "message", "role": "assistant", "model": "acme-1",
    "content": [{"type": "text", "text": "pong"}], "stop_reason": "end_turn", "stop_sequence": None,
    "usage": {"input_tokens": 9, "output_tokens": 4},
}  # fmt: skip

CASES = {
    "ok": Case(
        outcome=Outcome.OK,
        body=typed(start(), TEXT, PING, text("pong"), text(". The"), text(" river"), stop(),
                   *close("max_tokens", 64)),
        tokens=[(ANSWER, 4), (ANSWER, 5), (ANSWER, 6)],
        answer="pong. The river",
        finish_reason="max_tokens",
        usage=Usage(input_tokens=25, output_tokens=64, cached_tokens=0),
        reasoning_kept_back=False,
    ),
    "reasons first": Case(
        outcome=Outcome.OK,
        body=typed(start(), *THINKING, block("text", 1, text=""), text("pong", 1), stop(1), *close(output=20)),
        tokens=[(REASONING, 6), (REASONING, 4), (ANSWER, 4)],
        answer="pong",
        finish_reason="end_turn",
        usage=Usage(input_tokens=25, output_tokens=20, cached_tokens=0),
        reasoning_kept_back=False,
    ),
    "thoughts are summed up": Case(
        outcome=Outcome.OK,
        body=typed(start(), *THINKING, block("text", 1, text=""), text("pong", 1), *close())
        .replace(b"acme-1", b"claude-sonnet-4-5"),
        tokens=[(REASONING, 6), (REASONING, 4), (ANSWER, 4)],
        answer="pong",
        finish_reason="end_turn",
        usage=Usage(input_tokens=25, output_tokens=15, cached_tokens=0),
        served_model="claude-sonnet-4-5",
        reasoning_kept_back=True,
    ),
    "thoughts leave only their signature": Case(
        outcome=Outcome.OK,
        body=typed(start(), THINKING[0], THINKING[3], stop(), block("text", 1, text=""), text("pong", 1), *close()),
        tokens=[(ANSWER, 4)],
        answer="pong",
        finish_reason="end_turn",
        usage=Usage(input_tokens=25, output_tokens=15, cached_tokens=0),
        reasoning_kept_back=True,
    ),
    "thoughts are redacted": Case(
        outcome=Outcome.OK,
        body=typed(start(), block("redacted_thinking", data="Emw"), stop(), text("pong", 1), *close()),
        tokens=[(ANSWER, 4)],
        answer="pong",
        finish_reason="end_turn",
        usage=Usage(input_tokens=25, output_tokens=15, cached_tokens=0),
        reasoning_kept_back=True,
    ),
    "thoughts are kept back": Case(
        outcome=Outcome.OK,
        body=typed(
            start(),
            block("redacted_thinking", data="EmwKAhgBEgy3va3pzix"),
            stop(),
            block("thinking", 1, thinking="", signature=""),
            delta("signature_delta", 1, signature="EqQB"),
            stop(1),
            block("text", 2, text=""),
            text("pong", 2),
            *close(output=300, output_tokens_details={"thinking_tokens": 290}),
        ),
        tokens=[(ANSWER, 4)],
        answer="pong",
        finish_reason="end_turn",
        usage=Usage(input_tokens=25, output_tokens=300, reasoning_tokens=290, cached_tokens=0),
    ),
    "no usage": Case(
        outcome=Outcome.OK,
        body=typed(
            {"type": "message_start", "message": {"id": "msg_01", "model": "acme-1", "content": []}},
            TEXT,
            text("pong"),
            *close(output=None),
        ),
        tokens=[(ANSWER, 4)],
        answer="pong",
        finish_reason="end_turn",
    ),
    "usage is cumulative": Case(
        outcome=Outcome.OK,
        body=typed(
            start(cache_read_input_tokens=100, cache_creation_input_tokens=7),
            TEXT,
            text("pong"),
            {"type": "message_delta", "delta": {"stop_reason": None}, "usage": {"output_tokens": 5}},
            *close(output=9, input_tokens=0),
        ),
        tokens=[(ANSWER, 4)],
        answer="pong",
        finish_reason="end_turn",
        usage=Usage(input_tokens=132, output_tokens=9, cached_tokens=100, written_tokens=7),
    ),
    "a gateway without event lines": Case(
        outcome=Outcome.OK,
        body=b"".join(b"data: " + json.dumps(said).encode() + b"\n\n"
                      for said in (start(), TEXT, text("pong"), *close())) + b"data: [DONE]\n\n",
        tokens=[(ANSWER, 4)],
        answer="pong",
        finish_reason="end_turn",
        usage=Usage(input_tokens=25, output_tokens=15, cached_tokens=0),
    ),
    "a gateway without types": Case(
        outcome=Outcome.OK,
        body=b'event: message_start\ndata: {"message": {"model": "acme-1"}}\n\n'
        b'event: content_block_delta\ndata: {"delta": {"type": "text_delta", "text": "pong"}}\n\n'
        b"event: message_stop\ndata: {}\n\n",
        tokens=[(ANSWER, 4)],
        answer="pong",
    ),
    "a gateway without message_stop": Case(
        outcome=Outcome.OK,
        body=typed(start(), TEXT, text("pong"), close()[0]),
        tokens=[(ANSWER, 4)],
        answer="pong",
        finish_reason="end_turn",
        usage=Usage(input_tokens=25, output_tokens=15, cached_tokens=0),
    ),
    "llama.cpp forgets the beginning": Case(
        outcome=Outcome.OK,
        body=typed(TEXT, text("pong"), stop(), *close("max_tokens", 5)),
        tokens=[(ANSWER, 4)],
        answer="pong",
        finish_reason="max_tokens",
        usage=Usage(output_tokens=5),
        served_model=None,
    ),
    "truncated": Case(
        outcome=Outcome.TRUNCATED,
        body=typed(start(), TEXT, text("po"), stop()),
        tokens=[(ANSWER, 2)],
        answer="po",
        usage=Usage(input_tokens=25, output_tokens=1, cached_tokens=0),
    ),
    "error in mid-stream": Case(
        outcome=Outcome.STREAM_ERROR,
        body=typed(start(), TEXT, text("po"), error("api_error", "Internal server error")),
        tokens=[(ANSWER, 2)],
        answer="po",
        usage=Usage(input_tokens=25, output_tokens=1, cached_tokens=0),
        says="Internal server error (api_error)",
    ),
    "error before any token": Case(
        outcome=Outcome.STREAM_ERROR,
        body=typed(error("api_error", "Internal server error")),
        served_model=None,
        says="Internal server error",
    ),
    "overloaded in the stream": Case(
        outcome=Outcome.OVERLOADED,
        body=typed(start(), PING, error("overloaded_error", "Overloaded")),
        usage=Usage(input_tokens=25, output_tokens=1, cached_tokens=0),
        says="Overloaded (overloaded_error)",
    ),
    "empty": Case(
        outcome=Outcome.EMPTY_COMPLETION,
        body=typed(start(), *close(output=2)),
        finish_reason="end_turn",
        usage=Usage(input_tokens=25, output_tokens=2, cached_tokens=0),
        says="finish_reason end_turn",
    ),
    "all of it reasoning": Case(
        outcome=Outcome.NO_ANSWER,
        body=typed(start(), *THINKING, *close("max_tokens", 64)),
        tokens=[(REASONING, 6), (REASONING, 4)],
        finish_reason="max_tokens",
        usage=Usage(input_tokens=25, output_tokens=64, cached_tokens=0),
        says="Raise max_tokens",
    ),
    "all of it hidden reasoning": Case(
        outcome=Outcome.NO_ANSWER,
        body=typed(start(), block("redacted_thinking", data="EmwK"), stop(), *close("max_tokens", 64)),
        finish_reason="max_tokens",
        usage=Usage(input_tokens=25, output_tokens=64, cached_tokens=0),
    ),
    "filtered": Case(
        outcome=Outcome.CONTENT_FILTERED,
        body=typed(start(), TEXT, text("po"), stop(), *close("refusal", 3)),
        tokens=[(ANSWER, 2)],
        answer="po",
        finish_reason="refusal",
        usage=Usage(input_tokens=25, output_tokens=3, cached_tokens=0),
    ),
    "not json": Case(
        outcome=Outcome.MALFORMED_RESPONSE,
        body=typed(start(), TEXT, text("po")) + b"event: content_block_delta\ndata: {oops\n\n",
        tokens=[(ANSWER, 2)],
        answer="po",
        usage=Usage(input_tokens=25, output_tokens=1, cached_tokens=0),
        says="not valid JSON",
    ),
    "only keep-alives": Case(
        outcome=Outcome.FIRST_TOKEN_TIMEOUT,
        body=typed(start(), *[PING] * 100),
        usage=Usage(input_tokens=25, output_tokens=1, cached_tokens=0),
        open=True,
        every_s=0.5,
        says="no token within 20 s",
    ),
    "stalled": Case(
        outcome=Outcome.STALLED,
        body=typed(start(), TEXT, text("po"), *[PING] * 50),
        tokens=[(ANSWER, 2)],
        answer="po",
        usage=Usage(input_tokens=25, output_tokens=1, cached_tokens=0),
        open=True,
        every_s=0.5,
    ),
    "one burst": Case(
        outcome=Outcome.OK,
        body=typed(start(), TEXT, text("pong"), text(". The river"), stop(), *close()),
        tokens=PONG,
        answer="pong. The river",
        finish_reason="end_turn",
        usage=Usage(input_tokens=25, output_tokens=15, cached_tokens=0),
        at_once=True,
    ),
    "another model": Case(
        outcome=Outcome.MODEL_SWAPPED,
        body=typed(start(), TEXT, text("pong"), *close()),
        tokens=[(ANSWER, 4)],
        answer="pong",
        finish_reason="end_turn",
        usage=Usage(input_tokens=25, output_tokens=15, cached_tokens=0),
        served_before="acme-2-20250101",
        says="acme-1 answered",
    ),
    "in one piece": Case(
        outcome=Outcome.OK,
        body=json.dumps(MESSAGE).encode(),
        tokens=[(ANSWER, 4)],
        answer="pong",
        finish_reason="end_turn",
        usage=Usage(input_tokens=9, output_tokens=4),
    ),
    "error in one piece": Case(
        outcome=Outcome.OVERLOADED,
        body=json.dumps(error("overloaded_error", "Overloaded")).encode(),
        served_model=None,
    ),
    "calls a tool": Case(
        outcome=Outcome.OK,
        body=typed(
            start(),
            block("tool_use", id="toolu_01", name="f", input={}),
            delta("input_json_delta", partial_json=""),
            delta("input_json_delta", partial_json='{"a": 1}'),
            stop(),
            *close("tool_use"),
        ),
        tokens=[(OTHER, 1), (OTHER, 8)],
        finish_reason="tool_use",
        usage=Usage(input_tokens=25, output_tokens=15, cached_tokens=0),
    ),
    "calls a tool without arguments": Case(
        outcome=Outcome.OK,
        body=typed(start(), block("tool_use", id="toolu_01", name="look", input={}), stop(), *close("tool_use")),
        tokens=[(OTHER, 4)],
        finish_reason="tool_use",
        usage=Usage(input_tokens=25, output_tokens=15, cached_tokens=0),
    ),
    # Refusals
    "wrong key": refused(401, error("authentication_error", "invalid x-api-key"), Outcome.AUTH_FAILED,
                         says="invalid x-api-key"),
    "key without permission": refused(
        403, error("permission_error", "Your API key does not have permission to use the specified resource."),
        Outcome.AUTH_FAILED,
    ),
    "no credit": refused(
        400,
        error("invalid_request_error", "Your credit balance is too low to access the Anthropic API."
              " Please go to Plans & Billing to upgrade or purchase credits."),
        Outcome.QUOTA_EXHAUSTED,
        says="Add credit",
    ),
    "billing": refused(402, error("billing_error", "There is an issue with your billing."),
                       Outcome.QUOTA_EXHAUSTED),
    "limit that the customer set": refused(
        400,
        error("invalid_request_error", "You have reached your specified API usage limits."
              " You will regain access on 2026-12-01 at 00:00 UTC."),
        Outcome.QUOTA_EXHAUSTED,
    ),
    "limit until next month": refused(
        429,
        error("rate_limit_error", "This request would exceed your organization's monthly spend.",
              details={"error_code": "enforced_spend_limit_reached"}),
        Outcome.QUOTA_EXHAUSTED,
    ),
    "too fast": refused(
        429,
        error("rate_limit_error", "This request would exceed your organization's rate limit of 50,000 input"
              " tokens per minute. For details, refer to https://docs.claude.com/en/api/rate-limits; see the"
              " response headers for current usage. Contact sales to discuss your options for billing."),
        Outcome.RATE_LIMITED,
        headers={"retry-after": "17", "anthropic-ratelimit-requests-remaining": "0"},
        retry_after_s=17,
    ),
    "no such model": refused(404, error("not_found_error", "model: acme-1"), Outcome.MODEL_NOT_FOUND,
                             says="model: acme-1"),
    "model is gone": refused(404, error("not_found_error", "model: acme-1"), Outcome.MODEL_REMOVED, worked=True),
    "bad request": refused(
        400, error("invalid_request_error", "max_tokens: 64 > 32, which is the maximum allowed number of"
                   " output tokens for acme-1"), Outcome.BAD_REQUEST,
    ),
    "request too large": refused(413, error("request_too_large", "Request exceeds the maximum size"),
                                 Outcome.BAD_REQUEST),
    "overloaded": refused(529, error("overloaded_error", "Overloaded"), Outcome.OVERLOADED),
    "overloaded behind a proxy": refused(503, error("overloaded_error", "Overloaded"), Outcome.OVERLOADED),
    "server error": refused(500, error("api_error", "Internal server error"), Outcome.HTTP_5XX),
    "timed out there": refused(504, error("timeout_error", "Request timed out"), Outcome.HTTP_5XX),
    "page of a proxy": refused(502, "<html><h1>502 Bad Gateway</h1></html>", Outcome.HTTP_5XX,
                               says="502 Bad Gateway"),
}  # fmt: skip
