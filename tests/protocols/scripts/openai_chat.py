"""Chat completions: what every server that speaks them can say, and how each vendor refuses.

The streams of the dialects stand in `tests/protocols/conversations.py`.
"""

import json
from typing import Any

from monitor.core.observation import Usage
from monitor.core.outcome import Outcome
from tests.protocols.conversations import chunk, usage
from tests.protocols.script import ANSWER, OTHER, REASONING, Case, plain, refused

BASE_URL = "https://api.acme.example/v1"
REQUEST = {
    "url": "https://api.acme.example/v1/chat/completions",
    "key": ("Authorization", "Bearer {}"),
    "headers": {},
    "body": {
        "model": "acme-1",
        "messages": [{"role": "user", "content": "{prompt}"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 64,
    },
}


def error(message: str, kind: str | None = None, code: object = None, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code} | more}


ROLE = chunk({"role": "assistant", "content": "", "refusal": None})
DONE = "data: [DONE]"
COUNTED = chunk(usage=usage(30, 5))
KNOWN = Usage(input_tokens=30, output_tokens=5)

STREAMS = {
    "ok": Case(
        outcome=Outcome.OK,
        body=plain(
            ROLE, chunk({"content": "pong"}), chunk({"content": ". The"}), chunk({"content": " river"}),
            chunk({}, "length"), COUNTED, DONE,
        ),
        tokens=[(ANSWER, 4), (ANSWER, 5), (ANSWER, 6)],
        answer="pong. The river",
        finish_reason="length",
        usage=KNOWN,
    ),
    "reasons first": Case(
        outcome=Outcome.OK,
        body=plain(ROLE, chunk({"reasoning_content": "Let me"}), chunk({"content": "pong"}, "stop"), COUNTED, DONE),
        tokens=[(REASONING, 6), (ANSWER, 4)],
        answer="pong",
        finish_reason="stop",
        usage=KNOWN,
    ),
    "reasons in tags": Case(
        outcome=Outcome.OK,
        body=plain(
            ROLE, chunk({"content": "<think>"}), chunk({"content": "Let me"}), chunk({"content": ".</think>\n\n"}),
            chunk({"content": "pong"}, "stop"), DONE,
        ),
        tokens=[(REASONING, 7), (REASONING, 6), (REASONING, 9), (REASONING, 2), (ANSWER, 4)],
        answer="pong",
        finish_reason="stop",
    ),
    "reasons in tags that come in pieces": Case(
        outcome=Outcome.OK,
        body=plain(
            ROLE, *(chunk({"content": said}) for said in ("\n", "<th", "ink>Let", " me <", "/", "think", ">\n\n", "pong")),
            chunk({}, "stop"), DONE,
        ),
        tokens=[(REASONING, size) for size in (1, 3, 7, 5, 1, 5, 1, 2)] + [(ANSWER, 4)],
        answer="pong",
        finish_reason="stop",
    ),
    "reasons in tags and runs out behind them": Case(
        outcome=Outcome.NO_ANSWER,
        body=plain(ROLE, chunk({"content": "<think>Hm</think>"}), chunk({"content": "\n\n"}), chunk({}, "length"), DONE),
        tokens=[(REASONING, 17), (REASONING, 2)],
        finish_reason="length",
        says="max_tokens",
    ),
    "only begins like a tag": Case(
        outcome=Outcome.OK,
        body=plain(ROLE, chunk({"content": " <th"}), chunk({"content": "in air> </think>"}), chunk({}, "stop"), DONE),
        tokens=[(ANSWER, 4), (ANSWER, 16)],
        answer=" <thin air> </think>",
        finish_reason="stop",
    ),
    "ollama thinks": Case(
        outcome=Outcome.OK,
        body=plain(ROLE, chunk({"content": "", "thinking": "Okay"}), chunk({"content": "pong"}, "stop"), DONE),
        tokens=[(REASONING, 4), (ANSWER, 4)],
        answer="pong",
        finish_reason="stop",
    ),
    "no usage": Case(
        outcome=Outcome.OK,
        body=plain(ROLE, chunk({"content": "pong"}, "stop"), DONE),
        tokens=[(ANSWER, 4)],
        answer="pong",
        finish_reason="stop",
    ),
    "truncated": Case(
        outcome=Outcome.TRUNCATED,
        body=plain(ROLE, chunk({"content": "po"})),
        tokens=[(ANSWER, 2)],
        answer="po",
    ),
    "error in mid-stream": Case(
        outcome=Outcome.STREAM_ERROR,
        body=plain(ROLE, chunk({"content": "po"}), error("The server had an error", "server_error"), DONE),
        tokens=[(ANSWER, 2)],
        answer="po",
        says="The server had an error (server_error)",
    ),
    "error before any token": Case(
        outcome=Outcome.STREAM_ERROR,
        body=plain(": OPENROUTER PROCESSING", error("Provider disconnected", None, 502)),
        served_model=None,
        says="Provider disconnected (502)",
    ),
    "overloaded in the stream": Case(
        outcome=Outcome.OVERLOADED,
        body=plain(ROLE, error("The server is currently overloaded with other requests.", "server_error")),
    ),
    "overloaded in the stream, by its code": Case(
        outcome=Outcome.OVERLOADED,
        body=plain(error("Provider returned error", None, 529)),
        served_model=None,
    ),
    "deepseek has no room for it": Case(
        outcome=Outcome.OVERLOADED,
        body=plain(ROLE, chunk({"content": "po"}), chunk({}, "insufficient_system_resource"), COUNTED, DONE),
        tokens=[(ANSWER, 2)],
        answer="po",
        says="insufficient_system_resource",
    ),
    "error in a choice": Case(
        outcome=Outcome.STREAM_ERROR,
        body=plain(ROLE, {"choices": [{"index": 0, "delta": {"content": "po"}, "finish_reason": None,
                                       "error": {"code": 502, "message": "Provider disconnected"}}]},
                   chunk({}, "stop"), DONE),
        tokens=[(ANSWER, 2)],
        answer="po",
        says="Provider disconnected (502)",
    ),
    "error in a choice that stops": Case(
        outcome=Outcome.STREAM_ERROR,
        body=plain(ROLE, {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "error": "it broke"}]}, DONE),
        says="it broke",
    ),
    "empty": Case(
        outcome=Outcome.EMPTY_COMPLETION,
        body=plain(ROLE, chunk({}, "stop"), COUNTED, DONE),
        finish_reason="stop",
        usage=KNOWN,
    ),
    "all of it reasoning": Case(
        outcome=Outcome.NO_ANSWER,
        body=plain(ROLE, chunk({"reasoning": "Let me"}), chunk({}, "length"), COUNTED, DONE),
        tokens=[(REASONING, 6)],
        finish_reason="length",
        usage=KNOWN,
        says="Raise max_tokens",
    ),
    "all of it hidden reasoning": Case(
        outcome=Outcome.NO_ANSWER,
        body=plain(ROLE, chunk({}, "length"), COUNTED, DONE),
        finish_reason="length",
        usage=KNOWN,
    ),
    "all of it reasoning, up to the limit and without a reason": Case(
        outcome=Outcome.NO_ANSWER,
        body=plain(ROLE, chunk({"reasoning": "Let me"}), chunk(usage=usage(30, 64)), DONE),
        tokens=[(REASONING, 6)],
        usage=Usage(input_tokens=30, output_tokens=64),
        says="Raise max_tokens",
    ),
    "all of it hidden reasoning, up to the limit and then a stop": Case(
        outcome=Outcome.NO_ANSWER,
        body=plain(ROLE, chunk({}, "stop"),
                   chunk(usage=usage(30, 64, completion_tokens_details={"reasoning_tokens": 64})), DONE),
        finish_reason="stop",
        usage=Usage(input_tokens=30, output_tokens=64, reasoning_tokens=64),
    ),
    "reasoning short of the limit and no answer": Case(
        outcome=Outcome.EMPTY_COMPLETION,
        body=plain(ROLE, chunk({"reasoning": "Let me"}), chunk({}, "stop"), chunk(usage=usage(30, 63)), DONE),
        tokens=[(REASONING, 6)],
        finish_reason="stop",
        usage=Usage(input_tokens=30, output_tokens=63),
    ),
    "filtered": Case(
        outcome=Outcome.CONTENT_FILTERED,
        body=plain(ROLE, chunk({"content": "po"}), chunk({}, "content_filter"), DONE),
        tokens=[(ANSWER, 2)],
        answer="po",
        finish_reason="content_filter",
    ),
    "not json": Case(
        outcome=Outcome.MALFORMED_RESPONSE,
        body=plain(ROLE, chunk({"content": "po"}), "data: {oops"),
        tokens=[(ANSWER, 2)],
        answer="po",
    ),
    "only keep-alives": Case(
        outcome=Outcome.FIRST_TOKEN_TIMEOUT,
        body=plain(ROLE, *[": keep-alive"] * 60),
        open=True,
        every_s=0.5,
        says="keep-alives came",
    ),
    "stalled": Case(
        outcome=Outcome.STALLED,
        body=plain(ROLE, chunk({"content": "po"}), *[": OPENROUTER PROCESSING"] * 60),
        tokens=[(ANSWER, 2)],
        answer="po",
        open=True,
        every_s=0.5,
    ),
    "one burst": Case(
        outcome=Outcome.OK,
        body=plain(ROLE, chunk({"content": "pong"}), chunk({"content": ". The river"}, "stop"), COUNTED, DONE),
        tokens=[(ANSWER, 4), (ANSWER, 11)],
        answer="pong. The river",
        finish_reason="stop",
        usage=KNOWN,
        at_once=True,
    ),
    "another model": Case(
        outcome=Outcome.MODEL_SWAPPED,
        body=plain(ROLE, chunk({"content": "pong"}, "stop"), DONE),
        tokens=[(ANSWER, 4)],
        answer="pong",
        finish_reason="stop",
        served_before="acme-mini-2025-04-14",
    ),
    "a dated alias is the same model": Case(
        outcome=Outcome.OK,
        body=plain(ROLE, chunk({"content": "pong"}, "stop"), DONE),
        tokens=[(ANSWER, 4)],
        answer="pong",
        finish_reason="stop",
        served_before="acme-1-2025-04-14",
    ),
    "in one piece": Case(
        outcome=Outcome.OK,
        body=json.dumps({
            "id": "chatcmpl-9", "model": "acme-1", "usage": usage(30, 5),
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "pong"}}],
        }).encode(),
        tokens=[(ANSWER, 4)],
        answer="pong",
        finish_reason="stop",
        usage=KNOWN,
    ),
    "calls a tool": Case(
        outcome=Outcome.OK,
        body=plain(
            chunk({"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": '{"a": 1}'}}]}, "tool_calls"), DONE
        ),
        tokens=[(OTHER, 9)],
        finish_reason="tool_calls",
    ),
    "calls a tool without arguments": Case(
        outcome=Outcome.OK,
        body=plain(
            chunk({"tool_calls": [{"index": 0, "id": "call_1", "function": {"name": "look", "arguments": ""}}]}),
            chunk({}, "tool_calls"), COUNTED, DONE,
        ),
        tokens=[(OTHER, 4)],
        finish_reason="tool_calls",
        usage=KNOWN,
    ),
    "calls a tool bit by bit": Case(
        outcome=Outcome.OK,
        body=plain(
            chunk({"tool_calls": [{"index": 0, "id": "call_1", "function": {"name": "look", "arguments": ""}}]}),
            chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"a":'}}]}),
            chunk({"tool_calls": [{"index": 0, "function": {"name": None, "arguments": " 1}"}}]}, "tool_calls"), DONE,
        ),
        tokens=[(OTHER, 4), (OTHER, 5), (OTHER, 3)],
        finish_reason="tool_calls",
    ),
}  # fmt: skip

REFUSALS = {
    "wrong key": refused(
        401, error("Incorrect API key provided: sk-x***y.", "invalid_request_error", "invalid_api_key"),
        Outcome.AUTH_FAILED, says="Check api_key",
    ),
    "wrong country": refused(
        403, error("Country, region, or territory not supported", "request_forbidden",
                   "unsupported_country_region_territory"), Outcome.AUTH_FAILED,
    ),
    "no credit": refused(
        429,
        error("You exceeded your current quota, please check your plan and billing details. For more information on"
              " this error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors.",
              "insufficient_quota", "insufficient_quota"),
        Outcome.QUOTA_EXHAUSTED, says="Add credit",
    ),
    "hard limit": refused(
        400, error("Billing hard limit has been reached", "image_generation_user_error", "billing_hard_limit_reached"),
        Outcome.QUOTA_EXHAUSTED,
    ),
    "too fast": refused(
        429,
        error("Rate limit reached for acme-1 in organization org-x on requests per min (RPM): Limit 3, Used 3,"
              " Requested 1. Please try again in 20s. Visit https://platform.openai.com/account/billing to add a"
              " payment method to your account.", "requests", "rate_limit_exceeded"),
        Outcome.RATE_LIMITED, headers={"retry-after": "20"}, retry_after_s=20,
    ),
    "no such model": refused(
        404, error("The model `acme-1` does not exist or you do not have access to it.", "invalid_request_error",
                   "model_not_found"), Outcome.MODEL_NOT_FOUND, says="never worked here",
    ),
    "model is gone": refused(
        404, error("The model `acme-1` has been deprecated", "invalid_request_error", "model_not_found"),
        Outcome.MODEL_REMOVED, worked=True,
    ),
    "model is gone for good": refused(410, error("Gone"), Outcome.MODEL_REMOVED, worked=True),
    "bad request": refused(
        400, error("Unknown parameter: 'x'.", "invalid_request_error", "unknown_parameter"), Outcome.BAD_REQUEST
    ),
    "prompt is refused": refused(
        400, error("Your request was rejected as a result of our safety system.", "invalid_request_error",
                   "content_policy_violation"), Outcome.CONTENT_FILTERED,
    ),
    "overloaded": refused(
        503, error("The engine is currently overloaded, please try again later", "server_error"), Outcome.OVERLOADED
    ),
    "server error": refused(
        500, error("The server had an error while processing your request.", "server_error"), Outcome.HTTP_5XX
    ),
    "timed out there": refused(408, error("Request timed out."), Outcome.TOTAL_TIMEOUT),
    "moved": refused(308, "", Outcome.BAD_REQUEST, headers={"location": "https://elsewhere.example/"},
                     says="redirects are not followed"),
    "page of a proxy": refused(502, "<html><h1>502 Bad Gateway</h1>cloudflare</html>", Outcome.HTTP_5XX),
}  # fmt: skip

VENDORS = {
    "deepseek has no balance": refused(
        402, error("Insufficient Balance", "unknown_error", "invalid_request_error"), Outcome.QUOTA_EXHAUSTED
    ),
    "deepseek knows no such model": refused(
        400, error("Model Not Exist", "invalid_request_error", "invalid_request_error"), Outcome.MODEL_NOT_FOUND
    ),
    "openrouter has no credits": refused(
        402, {"error": {"code": 402, "message": "Insufficient credits. Add more using"
                        " https://openrouter.ai/settings/credits"}}, Outcome.QUOTA_EXHAUSTED,
    ),
    "openrouter is done for today": refused(
        429, {"error": {"code": 429, "message": "Rate limit exceeded: free-models-per-day. Add 10 credits to unlock"
                        " 1000 free model requests per day"}}, Outcome.QUOTA_EXHAUSTED,
    ),
    "openrouter is too fast": refused(
        429, {"error": {"code": 429, "message": "Provider returned error", "metadata": {
            "provider_name": "Acme", "raw": "acme-1 is temporarily rate-limited upstream. Please retry shortly, or add"
            " your own key: https://openrouter.ai/settings/integrations"}}}, Outcome.RATE_LIMITED, says="Acme",
    ),
    "openrouter knows no such model": refused(
        400, {"error": {"code": 400, "message": "acme-1 is not a valid model ID"}}, Outcome.MODEL_NOT_FOUND
    ),
    "mistral is too fast": refused(
        429, {"object": "error", "message": "Requests rate limit exceeded", "type": "rate_limited", "param": None,
              "code": "1300"}, Outcome.RATE_LIMITED,
    ),
    "mistral has no capacity": refused(
        429, {"object": "error", "message": "Service tier capacity exceeded for this model.",
              "type": "service_tier_capacity_exceeded", "param": None, "code": "3505"}, Outcome.RATE_LIMITED,
    ),
    "mistral knows no such model": refused(
        400, {"object": "error", "message": "Invalid model: acme-1", "type": "invalid_model", "param": None,
              "code": "1500"}, Outcome.MODEL_NOT_FOUND,
    ),
    "groq is too fast for today": refused(
        429, error("Rate limit reached for model `acme-1` in organization `org_x` on tokens per day (TPD): Limit 500000,"
                   " Used 499999. Please try again in 7m30s. Need more tokens? Upgrade to Dev Tier today at"
                   " https://console.groq.com/settings/billing", "tokens", "rate_limit_exceeded"),
        Outcome.RATE_LIMITED, headers={"retry-after": "450"}, retry_after_s=450,
    ),
    "groq retired the model": refused(
        400, error("The model `acme-1` has been decommissioned and is no longer supported.", "invalid_request_error",
                   "model_decommissioned"), Outcome.MODEL_REMOVED, worked=True,
    ),
    "together has no credit": refused(
        429, error("Credit limit exceeded, please navigate to https://api.together.ai/settings/billing to add credit",
                   "credit_limit"), Outcome.QUOTA_EXHAUSTED,
    ),
    "moonshot has no credit": refused(
        429, error("Your account org-x is suspended, please check your plan and billing details",
                   "exceeded_current_quota_error"), Outcome.QUOTA_EXHAUSTED,
    ),
    "moonshot is too fast": refused(
        429, error("Your account org-x request reached max request: 3, please try again after 1 seconds",
                   "rate_limit_reached_error"), Outcome.RATE_LIMITED,
    ),
    "xai has no credit": refused(
        429, {"code": "Some resource has been exhausted", "error": "Your team x has either used all available credits"
              " or reached its monthly spending limit."}, Outcome.QUOTA_EXHAUSTED,
    ),
    "litellm is over its budget": refused(
        400, error("Budget has been exceeded! Current cost: 1.2, Max budget: 1.0", "budget_exceeded", "400"),
        Outcome.QUOTA_EXHAUSTED,
    ),
    "litellm knows no such key": refused(
        400, error("Authentication Error, No connected db.", "auth_error", "400"), Outcome.AUTH_FAILED
    ),
    "litellm knows no such model": refused(
        400, error("litellm.BadRequestError: /chat/completions: Invalid model name passed in model=acme-1. Call"
                   " `/v1/models` to view available models for your key.", "None", "400"), Outcome.MODEL_NOT_FOUND,
    ),
    "siliconflow knows no such model": refused(
        400, {"code": 20012, "message": "Model does not exist. Please check it carefully.", "data": None},
        Outcome.MODEL_NOT_FOUND,
    ),
    "ollama knows no such model": refused(
        404, error('model "acme-1" not found, try pulling it first', "api_error"), Outcome.MODEL_NOT_FOUND
    ),
    "vllm knows no such model": refused(
        404, {"object": "error", "message": "The model `acme-1` does not exist.", "type": "NotFoundError",
              "param": None, "code": 404}, Outcome.MODEL_NOT_FOUND,
    ),
    "openai asks to slow down": refused(503, error("Slow down", "server_error", "slow_down"), Outcome.OVERLOADED),
    "a text server is busy": refused(
        503, {"error": "Model too busy", "error_type": "overloaded"}, Outcome.OVERLOADED, says="(overloaded)"
    ),
    "a gateway is overloaded in plain words": refused(
        503, "upstream is overloaded", Outcome.OVERLOADED, says="upstream is overloaded"
    ),
    "a gateway has no quota left in plain words": refused(
        429, "insufficient_quota", Outcome.QUOTA_EXHAUSTED, says="Add credit"
    ),
    "llama.cpp is still loading": refused(
        503, error("Loading model", "unavailable_error", 503), Outcome.HTTP_5XX
    ),
    "llama.cpp's prompt is too long": refused(
        400, error("the request exceeds the available context size", "exceed_context_size_error", 400),
        Outcome.BAD_REQUEST,
    ),
    "anthropic behind a gateway": refused(
        529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, Outcome.OVERLOADED
    ),
}  # fmt: skip

CASES = {**STREAMS, **REFUSALS, **VENDORS}
