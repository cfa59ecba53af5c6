"""OpenAI's responses, by hand from its reference of streaming events."""

import json
from typing import Any

from monitor.core.observation import Usage
from monitor.core.outcome import Outcome
from tests.protocols.script import ANSWER, OTHER, REASONING, Case, plain, refused, typed
from tests.protocols.scripts.openai_chat import REFUSALS

BASE_URL = "https://api.acme.example/v1"
REQUEST = {
    "url": "https://api.acme.example/v1/responses",
    "key": ("Authorization", "Bearer {}"),
    "headers": {},
    "body": {
        "model": "acme-1",
        "input": "{prompt}",
        "stream": True,
        "max_output_tokens": 64,
        "store": False,
    },
}


def response(status: str, **more: Any) -> dict[str, Any]:
    return {
        "id": "resp_67c9", "object": "response", "created_at": 1, "status": status, "error": None,
        "incomplete_details": None, "model": "acme-1", "output": [], "usage": None,
    } | more  # fmt: skip


def event(kind: str, **more: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}", "sequence_number": 4} | more


def text(delta: str, kind: str = "output_text") -> dict[str, Any]:
    return event(
        f"{kind}.delta", item_id="msg_67c9", output_index=0, content_index=0, delta=delta, logprobs=[]
    )


def usage(fed: int, output: int, reasoning: int = 0, cached: int = 0) -> dict[str, Any]:
    return {
        "input_tokens": fed, "input_tokens_details": {"cached_tokens": cached}, "output_tokens": output,
        "output_tokens_details": {"reasoning_tokens": reasoning}, "total_tokens": fed + output,
    }  # fmt: skip


OPEN = [
    event("created", response=response("in_progress")),
    event("in_progress", response=response("in_progress")),
]
MESSAGE = [
    event("output_item.added", output_index=0, item={"id": "msg_67c9", "type": "message", "content": []}),
    event("content_part.added", part={"type": "output_text", "text": "", "annotations": []}),
]


def close(status: str = "completed", **more: Any) -> dict[str, Any]:
    kind = status if status in ("completed", "incomplete", "failed") else "completed"
    return event(kind, response=response(status, **more))


CUT = {"incomplete_details": {"reason": "max_output_tokens"}}
OUTPUT = [
    {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm"}]},
    {"type": "message", "id": "msg_1", "role": "assistant",
     "content": [{"type": "output_text", "text": "pong", "annotations": []}]},
]  # fmt: skip
CALL = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "look", "arguments": "{}"}
KNOWN = Usage(input_tokens=30, output_tokens=5, reasoning_tokens=0, cached_tokens=0)

CASES = {
    "ok": Case(
        outcome=Outcome.OK,
        body=typed(
            *OPEN, *MESSAGE, text("pong"), text(". The"), text(" river"),
            event("output_text.done", text="pong. The river"),
            event("content_part.done", part={"type": "output_text", "text": "pong. The river"}),
            close("incomplete", usage=usage(30, 64), **CUT),
        ),
        tokens=[(ANSWER, 4), (ANSWER, 5), (ANSWER, 6)],
        answer="pong. The river",
        finish_reason="max_output_tokens",
        usage=Usage(input_tokens=30, output_tokens=64, reasoning_tokens=0, cached_tokens=0),
    ),
    "completes": Case(
        outcome=Outcome.OK,
        body=typed(*OPEN, *MESSAGE, text("pong"), close(usage=usage(30, 5))),
        tokens=[(ANSWER, 4)],
        answer="pong",
        finish_reason="completed",
        usage=KNOWN,
    ),
    "reasons first": Case(
        outcome=Outcome.OK,
        body=typed(
            *OPEN,
            event("output_item.added", item={"id": "rs_1", "type": "reasoning", "summary": []}),
            event("reasoning_summary_part.added", part={"type": "summary_text", "text": ""}),
            text("Let me", "reasoning_summary_text"),
            text(" see", "reasoning_text"),
            event("reasoning_summary_text.done", text="Let me"),
            *MESSAGE,
            text("pong"),
            close(usage=usage(30, 45, 40, 7)),
        ),
        tokens=[(REASONING, 6), (REASONING, 4), (ANSWER, 4)],
        answer="pong",
        finish_reason="completed",
        usage=Usage(input_tokens=30, output_tokens=45, reasoning_tokens=40, cached_tokens=7),
        reasoning_kept_back=True,
    ),
    "thoughts are kept back": Case(
        outcome=Outcome.OK,
        body=typed(*OPEN, text("pong"), close(usage=usage(30, 45, 40))),
        tokens=[(ANSWER, 4)],
        answer="pong",
        finish_reason="completed",
        usage=Usage(input_tokens=30, output_tokens=45, reasoning_tokens=40, cached_tokens=0),
    ),
    "no usage": Case(
        outcome=Outcome.OK,
        body=typed(*OPEN, text("pong"), close()),
        tokens=[(ANSWER, 4)],
        answer="pong",
        finish_reason="completed",
    ),
    "a gateway leaves the status out": Case(
        outcome=Outcome.OK,
        body=typed(*OPEN, text("pong"), event("completed", response={"usage": usage(30, 5)})),
        tokens=[(ANSWER, 4)],
        answer="pong",
        finish_reason="completed",
        usage=KNOWN,
    ),
    "a gateway leaves the status out of what is cut": Case(
        outcome=Outcome.OK,
        body=typed(*OPEN, text("pong"), event("incomplete", response={"usage": usage(30, 5)} | CUT)),
        tokens=[(ANSWER, 4)],
        answer="pong",
        finish_reason="max_output_tokens",
        usage=KNOWN,
    ),
    "litellm writes no event lines": Case(
        outcome=Outcome.OK,
        body=plain(*OPEN, *MESSAGE, text("pong"), close(usage=usage(30, 5)), "data: [DONE]"),
        tokens=[(ANSWER, 4)],
        answer="pong",
        finish_reason="completed",
        usage=KNOWN,
    ),
    "a gateway that streams no deltas": Case(
        outcome=Outcome.OK,
        body=typed(*OPEN, close(usage=usage(30, 5), output=OUTPUT)),
        tokens=[(REASONING, 2), (ANSWER, 4)],
        answer="pong",
        finish_reason="completed",
        usage=KNOWN,
    ),
    "a gateway that tells the text once": Case(
        outcome=Outcome.OK,
        body=typed(*OPEN, event("output_text.done", text="pong"), close(usage=usage(30, 5), output=OUTPUT)),
        tokens=[(ANSWER, 4)],
        answer="pong",
        finish_reason="completed",
        usage=KNOWN,
    ),
    "refuses": Case(
        outcome=Outcome.OK,
        body=typed(*OPEN, text("I cannot", "refusal"), close(usage=usage(30, 5))),
        tokens=[(OTHER, 8)],
        finish_reason="completed",
        usage=KNOWN,
    ),
    "truncated": Case(
        outcome=Outcome.TRUNCATED,
        body=typed(*OPEN, text("po"), event("output_text.done", text="po")) + b"data: [DONE]\n\n",
        tokens=[(ANSWER, 2)],
        answer="po",
    ),
    "error in mid-stream": Case(
        outcome=Outcome.STREAM_ERROR,
        body=typed(*OPEN, text("po"), close("failed", error={
            "code": "server_error", "message": "The model failed to generate a response.",
        })),
        tokens=[(ANSWER, 2)],
        answer="po",
        says="The model failed to generate a response. (server_error)",
    ),
    "error before any token": Case(
        outcome=Outcome.STREAM_ERROR,
        body=typed({"type": "error", "code": "ERR_SOMETHING", "message": "Something went wrong",
                    "param": None, "sequence_number": 1}),
        served_model=None,
        says="Something went wrong (ERR_SOMETHING)",
    ),
    "error event with an object in it": Case(
        outcome=Outcome.STREAM_ERROR,
        body=plain({"type": "error", "error": {"type": "server_error", "code": None, "message": "Oops"}}),
        served_model=None,
        says="Oops (server_error)",
    ),
    "fails without a word": Case(
        outcome=Outcome.STREAM_ERROR,
        body=typed(*OPEN, close("failed")),
        says="without saying why",
    ),
    "overloaded in the stream": Case(
        outcome=Outcome.OVERLOADED,
        body=typed(*OPEN, {"type": "error", "error": {
            "type": "service_unavailable_error", "code": "server_is_overloaded",
            "message": "Our servers are currently overloaded. Please try again later.", "param": None,
        }}),
    ),
    "empty": Case(
        outcome=Outcome.EMPTY_COMPLETION,
        body=typed(*OPEN, close(usage=usage(30, 0))),
        finish_reason="completed",
        usage=Usage(input_tokens=30, output_tokens=0, reasoning_tokens=0, cached_tokens=0),
    ),
    "all of it reasoning": Case(
        outcome=Outcome.NO_ANSWER,
        body=typed(*OPEN, close("incomplete", usage=usage(30, 64, 64), **CUT)),
        finish_reason="max_output_tokens",
        usage=Usage(input_tokens=30, output_tokens=64, reasoning_tokens=64, cached_tokens=0),
    ),
    "filtered": Case(
        outcome=Outcome.CONTENT_FILTERED,
        body=typed(*OPEN, text("po"), close("incomplete", incomplete_details={"reason": "content_filter"})),
        tokens=[(ANSWER, 2)],
        answer="po",
        finish_reason="content_filter",
    ),
    "not json": Case(
        outcome=Outcome.MALFORMED_RESPONSE,
        body=typed(*OPEN, text("po")) + b"event: response.output_text.delta\ndata: {oops\n\n",
        tokens=[(ANSWER, 2)],
        answer="po",
    ),
    "only keep-alives": Case(
        outcome=Outcome.FIRST_TOKEN_TIMEOUT,
        body=typed(*OPEN) + typed({"type": "keepalive", "sequence_number": 3}) * 60,
        open=True,
        every_s=0.5,
    ),
    "stalled": Case(
        outcome=Outcome.STALLED,
        body=typed(*OPEN, text("po"), *[event("in_progress", response=response("in_progress"))] * 60),
        tokens=[(ANSWER, 2)],
        answer="po",
        open=True,
        every_s=0.5,
    ),
    "one burst": Case(
        outcome=Outcome.OK,
        body=typed(*OPEN, text("pong"), text(". The river"), close(usage=usage(30, 5))),
        tokens=[(ANSWER, 4), (ANSWER, 11)],
        answer="pong. The river",
        finish_reason="completed",
        usage=KNOWN,
        at_once=True,
    ),
    "another model": Case(
        outcome=Outcome.MODEL_SWAPPED,
        body=typed(*OPEN, text("pong"), close(usage=usage(30, 5))),
        tokens=[(ANSWER, 4)],
        answer="pong",
        finish_reason="completed",
        usage=KNOWN,
        served_before="acme-mini",
    ),
    "in one piece": Case(
        outcome=Outcome.OK,
        body=json.dumps(response("completed", output=OUTPUT, usage=usage(30, 5))).encode(),
        tokens=[(REASONING, 2), (ANSWER, 4)],
        answer="pong",
        finish_reason="completed",
        usage=KNOWN,
    ),
    "calls a tool": Case(
        outcome=Outcome.OK,
        body=typed(*OPEN, text('{"a": 1}', "function_call_arguments"), close(usage=usage(30, 5))),
        tokens=[(OTHER, 8)],
        finish_reason="completed",
        usage=KNOWN,
    ),
    "calls a tool without arguments": Case(
        outcome=Outcome.OK,
        body=typed(*OPEN, event("output_item.added", output_index=0, item=CALL | {"arguments": ""}),
                   event("function_call_arguments.done", arguments="{}"), event("output_item.done", item=CALL),
                   close(usage=usage(30, 5), output=[CALL])),
        tokens=[(OTHER, 4)],
        finish_reason="completed",
        usage=KNOWN,
    ),
    "calls a tool and streams no deltas": Case(
        outcome=Outcome.OK,
        body=typed(*OPEN, close(usage=usage(30, 5), output=[CALL])),
        tokens=[(OTHER, 6)],
        finish_reason="completed",
        usage=KNOWN,
    ),
    **REFUSALS,
    "too few tokens": refused(
        400,
        {"error": {"message": "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16,"
                   " but got 8 instead.", "type": "invalid_request_error", "param": "max_output_tokens",
                   "code": "integer_below_min_value"}},
        Outcome.BAD_REQUEST,
    ),
}  # fmt: skip
