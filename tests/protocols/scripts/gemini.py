"""Gemini, by hand from Google's reference of generateContent and of google.rpc errors."""

import json
from typing import Any

from monitor.core.observation import Usage
from monitor.core.outcome import Outcome
from tests.protocols.script import ANSWER, OTHER, REASONING, Case, plain, refused

BASE_URL = "https://api.acme.example/v1beta"
REQUEST = {
    "url": "https://api.acme.example/v1beta/models/acme-1:streamGenerateContent?alt=sse",
    "key": ("x-goog-api-key", "{}"),
    "headers": {},
    "body": {
        "contents": [{"role": "user", "parts": [{"text": "{prompt}"}]}],
        "generationConfig": {"maxOutputTokens": 64},
    },
}


def piece(*parts: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": list(parts), "role": "model"}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    return {
        "candidates": [candidate],
        "modelVersion": "acme-1",
        "responseId": "mAitaLmkHPPlz7IPvtfUqQ4",
    } | more


def text(words: str, **more: Any) -> dict[str, Any]:
    return {"text": words, **more}


def counted(prompt: int, output: int | None = None, **more: int) -> dict[str, Any]:
    counts = {"promptTokenCount": prompt, **more}
    if output is not None:
        counts["candidatesTokenCount"] = output
    total = sum(
        counts.get(name, 0) for name in ("promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount")
    )
    return {"usageMetadata": {**counts, "totalTokenCount": total,
                              "promptTokensDetails": [{"modality": "TEXT", "tokenCount": prompt}]}}  # fmt: skip


def error(code: int, status: str, message: str, *details: dict[str, Any]) -> dict[str, Any]:
    return {
        "error": {"code": code, "message": message, "status": status}
        | ({"details": details} if details else {})
    }


QUOTA = (
    "You exceeded your current quota, please check your plan and billing details. For more information on this"
    " error, head over to: https://ai.google.dev/gemini-api/docs/rate-limits."
)


def broken(quota_id: str) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{
        "quotaMetric": "generativelanguage.googleapis.com/generate_content_free_tier_requests",
        "quotaId": quota_id, "quotaDimensions": {"location": "global", "model": "acme-1"}, "quotaValue": "15",
    }]}  # fmt: skip


RETRY = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.074824224s"}
HELP = {"@type": "type.googleapis.com/google.rpc.Help", "links": [{"url": "https://ai.google.dev/billing"}]}

CASES = {
    "ok": Case(
        outcome=Outcome.OK,
        body=plain(
            piece(text("pong"), **counted(30)),
            piece(text(". The"), **counted(30, 5)),
            piece(text(" river"), **counted(30, 7)),
            piece(text(""), finish="MAX_TOKENS", **counted(30, 64, cachedContentTokenCount=0)),
        ),
        tokens=[(ANSWER, 4), (ANSWER, 5), (ANSWER, 6)],
        answer="pong. The river",
        finish_reason="MAX_TOKENS",
        usage=Usage(input_tokens=30, output_tokens=64, cached_tokens=0),
    ),
    "reasons first": Case(
        outcome=Outcome.OK,
        body=plain(
            piece(text("**Let me see**", thought=True), **counted(12, thoughtsTokenCount=40)),
            piece(text("pong", thoughtSignature="CikB"), finish="STOP", **counted(12, 2, thoughtsTokenCount=40)),
        ),
        tokens=[(REASONING, 14), (ANSWER, 4)],
        answer="pong",
        finish_reason="STOP",
        usage=Usage(input_tokens=12, output_tokens=42, reasoning_tokens=40),
        reasoning_kept_back=True,
    ),
    "thoughts are kept back": Case(
        outcome=Outcome.OK,
        body=plain(piece(text("pong"), finish="STOP", **counted(12, 2, thoughtsTokenCount=40))),
        tokens=[(ANSWER, 4)],
        answer="pong",
        finish_reason="STOP",
        usage=Usage(input_tokens=12, output_tokens=42, reasoning_tokens=40),
    ),
    "a gateway counts thoughts among the candidates": Case(
        outcome=Outcome.OK,
        body=plain(piece(text("pong"), finish="STOP", usageMetadata={
            "promptTokenCount": 12, "candidatesTokenCount": 42, "thoughtsTokenCount": 40, "totalTokenCount": 54,
        })),
        tokens=[(ANSWER, 4)],
        answer="pong",
        finish_reason="STOP",
        usage=Usage(input_tokens=12, output_tokens=42, reasoning_tokens=40),
    ),
    "the last piece has no parts": Case(
        outcome=Outcome.OK,
        body=plain(
            piece(text("pong")),
            {"candidates": [{"finishReason": "STOP", "index": 0}], "modelVersion": "acme-1", **counted(9, 1)},
        ),
        tokens=[(ANSWER, 4)],
        answer="pong",
        finish_reason="STOP",
        usage=Usage(input_tokens=9, output_tokens=1),
    ),
    "a list where alt=sse got lost": Case(
        outcome=Outcome.OK,
        body=json.dumps([piece(text("po")), piece(text("ng"), finish="STOP", **counted(9, 1))]).encode(),
        tokens=[(ANSWER, 2), (ANSWER, 2)],
        answer="pong",
        finish_reason="STOP",
        usage=Usage(input_tokens=9, output_tokens=1),
    ),
    "a reason in every piece, which was none before the last": Case(
        outcome=Outcome.OK,
        body=plain(
            piece(text("po"), finish="FINISH_REASON_UNSPECIFIED") | {"promptFeedback": {}},
            {"candidates": [], "promptFeedback": {"blockReason": "BLOCK_REASON_UNSPECIFIED"}},
            piece(text("ng"), finish="STOP"),
        ),
        tokens=[(ANSWER, 2), (ANSWER, 2)],
        answer="pong",
        finish_reason="STOP",
    ),
    "no usage": Case(
        outcome=Outcome.OK,
        body=plain(piece(text("pong"), finish="STOP")),
        tokens=[(ANSWER, 4)],
        answer="pong",
        finish_reason="STOP",
    ),
    "truncated": Case(
        outcome=Outcome.TRUNCATED,
        body=plain(piece(text("po"), **counted(9, 1))),
        tokens=[(ANSWER, 2)],
        answer="po",
        usage=Usage(input_tokens=9, output_tokens=1),
    ),
    "error in mid-stream": Case(
        outcome=Outcome.STREAM_ERROR,
        body=plain(piece(text("po")), error(500, "INTERNAL", "An internal error has occurred.")),
        tokens=[(ANSWER, 2)],
        answer="po",
        says="An internal error has occurred. (INTERNAL, 500)",
    ),
    "error before any token": Case(
        outcome=Outcome.STREAM_ERROR,
        body=plain(error(500, "INTERNAL", "An internal error has occurred.")),
        served_model=None,
        says="An internal error",
    ),
    "overloaded in the stream": Case(
        outcome=Outcome.OVERLOADED,
        body=plain(error(503, "UNAVAILABLE", "The model is overloaded. Please try again later.")),
        served_model=None,
    ),
    "empty": Case(
        outcome=Outcome.EMPTY_COMPLETION,
        body=plain({"candidates": [{"content": {"role": "model"}, "finishReason": "STOP"}],
                    "modelVersion": "acme-1", **counted(9)}),
        finish_reason="STOP",
        usage=Usage(input_tokens=9),
    ),
    "all of it reasoning": Case(
        outcome=Outcome.NO_ANSWER,
        body=plain({"candidates": [{"finishReason": "MAX_TOKENS"}], "modelVersion": "acme-1",
                    **counted(9, thoughtsTokenCount=61)}),
        finish_reason="MAX_TOKENS",
        usage=Usage(input_tokens=9, output_tokens=61, reasoning_tokens=61),
        says="Raise max_tokens",
    ),
    "filtered": Case(
        outcome=Outcome.CONTENT_FILTERED,
        body=plain(piece(text("po")), piece(finish="SAFETY", **counted(9))),
        tokens=[(ANSWER, 2)],
        answer="po",
        finish_reason="SAFETY",
        usage=Usage(input_tokens=9),
    ),
    "the prompt is blocked": Case(
        outcome=Outcome.CONTENT_FILTERED,
        body=plain({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "modelVersion": "acme-1",
                    **counted(9)}),
        finish_reason="PROHIBITED_CONTENT",
        usage=Usage(input_tokens=9),
    ),
    "not json": Case(
        outcome=Outcome.MALFORMED_RESPONSE,
        body=plain(piece(text("po")), "data: {oops"),
        tokens=[(ANSWER, 2)],
        answer="po",
        says="not valid JSON",
    ),
    "only keep-alives": Case(
        outcome=Outcome.FIRST_TOKEN_TIMEOUT,
        body=plain(*[": keep-alive"] * 60),
        served_model=None,
        open=True,
        every_s=0.5,
        says="keep-alives came",
    ),
    "stalled": Case(
        outcome=Outcome.STALLED,
        body=plain(piece(text("po")), *[piece()] * 60),
        tokens=[(ANSWER, 2)],
        answer="po",
        open=True,
        every_s=0.5,
    ),
    "one burst": Case(
        outcome=Outcome.OK,
        body=plain(piece(text("pong")), piece(text(". The river"), finish="STOP", **counted(9, 15))),
        tokens=[(ANSWER, 4), (ANSWER, 11)],
        answer="pong. The river",
        finish_reason="STOP",
        usage=Usage(input_tokens=9, output_tokens=15),
        at_once=True,
    ),
    "another model": Case(
        outcome=Outcome.MODEL_SWAPPED,
        body=plain(piece(text("pong"), finish="STOP")),
        tokens=[(ANSWER, 4)],
        answer="pong",
        finish_reason="STOP",
        served_before="acme-pro",
    ),
    "in one piece": Case(
        outcome=Outcome.OK,
        body=json.dumps(piece(text("pong"), finish="STOP", **counted(9, 1)), indent=2).encode(),
        tokens=[(ANSWER, 4)],
        answer="pong",
        finish_reason="STOP",
        usage=Usage(input_tokens=9, output_tokens=1),
    ),
    "calls a tool": Case(
        outcome=Outcome.OK,
        body=plain(piece({"functionCall": {"name": "find", "args": {"a": 1}}}, finish="STOP")),
        tokens=[(OTHER, 4)],
        finish_reason="STOP",
    ),
    # Refusals
    "wrong key": refused(
        400,
        error(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID",
            "domain": "googleapis.com", "metadata": {"service": "generativelanguage.googleapis.com"},
        }),
        Outcome.AUTH_FAILED,
        says="Check api_key",
    ),
    "no key": refused(
        403, error(403, "PERMISSION_DENIED", "Method doesn't allow unregistered callers."), Outcome.AUTH_FAILED
    ),
    "no credit": refused(
        429,
        error(429, "RESOURCE_EXHAUSTED", QUOTA, broken("GenerateRequestsPerDayPerProjectPerModel-FreeTier"), RETRY, HELP),
        Outcome.QUOTA_EXHAUSTED,
    ),
    "quota without details": refused(429, error(429, "RESOURCE_EXHAUSTED", QUOTA), Outcome.QUOTA_EXHAUSTED),
    "too fast": refused(
        429,
        error(429, "RESOURCE_EXHAUSTED", QUOTA, broken("GenerateRequestsPerMinutePerProjectPerModel-FreeTier"), HELP, RETRY),
        Outcome.RATE_LIMITED,
        retry_after_s=34.074824,
    ),
    "too fast, and only when to come back": refused(
        429, error(429, "RESOURCE_EXHAUSTED", QUOTA, HELP, RETRY), Outcome.RATE_LIMITED, retry_after_s=34.074824,
    ),
    "too fast at vertex": refused(
        429,
        error(429, "RESOURCE_EXHAUSTED", "Quota exceeded for aiplatform.googleapis.com/generate_content_requests_per_minute"
              "_per_project_per_base_model with base model: acme-1. Please submit a quota increase request."
              " https://cloud.google.com/vertex-ai/docs/generative-ai/quotas-genai."),
        Outcome.RATE_LIMITED,
    ),
    "too fast, in a list": refused(
        429, [error(429, "RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota).")],
        Outcome.RATE_LIMITED,
    ),
    "no such model": refused(
        404,
        error(404, "NOT_FOUND", "models/acme-1 is not found for API version v1beta, or is not supported for"
              " generateContent. Call ListModels to see the list of available models."),
        Outcome.MODEL_NOT_FOUND,
    ),
    "model is gone": refused(404, error(404, "NOT_FOUND", "models/acme-1 is no longer available"),
                             Outcome.MODEL_REMOVED, worked=True),
    "bad request": refused(
        400, error(400, "INVALID_ARGUMENT", "* GenerateContentRequest.contents: contents is not specified"),
        Outcome.BAD_REQUEST,
    ),
    "wrong country": refused(
        400, error(400, "FAILED_PRECONDITION", "User location is not supported for the API use."),
        Outcome.BAD_REQUEST,
    ),
    "overloaded": refused(
        503, error(503, "UNAVAILABLE", "The model is overloaded. Please try again later."), Outcome.OVERLOADED
    ),
    "in high demand": refused(
        503, error(503, "UNAVAILABLE", "This model is currently experiencing high demand. Spikes in demand are usually"
                   " temporary. Please try again later."), Outcome.OVERLOADED,
    ),
    "unavailable": refused(503, error(503, "UNAVAILABLE", "The service is currently unavailable."),
                           Outcome.HTTP_5XX),
    "server error": refused(500, error(500, "INTERNAL", "An internal error has occurred."), Outcome.HTTP_5XX),
    "page of a proxy": refused(502, "<html><title>Error 502 (Server Error)!!1</title></html>", Outcome.HTTP_5XX),
}  # fmt: skip
