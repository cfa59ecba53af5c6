"""Azure OpenAI, by hand from Microsoft's reference and its pages on content filtering."""

from monitor.core.outcome import Outcome
from tests.protocols.conversations import chunk
from tests.protocols.script import ANSWER, Case, plain, refused
from tests.protocols.scripts.openai_chat import DONE, REFUSALS, ROLE, STREAMS

BASE_URL = "https://acme.openai.azure.com"
REQUEST = {
    "url": "https://acme.openai.azure.com/openai/deployments/acme-1/chat/completions?api-version=2024-10-21",
    "key": ("api-key", "{}"),
    "headers": {},
    "body": {
        "model": "acme-1",
        "messages": [{"role": "user", "content": "{prompt}"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_completion_tokens": 64,
    },
}

SAFE = {name: {"filtered": False, "severity": "safe"} for name in ("hate", "self_harm", "sexual", "violence")}
FILTERS = {
    "choices": [], "created": 0, "id": "", "model": "", "object": "",
    "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": SAFE}],
}  # fmt: skip
ANNOTATION = {
    "id": "", "object": "", "created": 0, "model": "", "choices": [{
        "index": 0, "finish_reason": None, "content_filter_results": SAFE, "delta": None,
        "content_filter_offsets": {"check_offset": 44, "start_offset": 44, "end_offset": 198},
    }],
}  # fmt: skip

CASES = {
    **STREAMS,
    **REFUSALS,
    "filters first": Case(
        outcome=Outcome.OK,
        body=plain(FILTERS, ROLE, chunk({"content": "pong"}), ANNOTATION, chunk({}, "stop"), ANNOTATION, DONE),
        tokens=[(ANSWER, 4)],
        answer="pong",
        finish_reason="stop",
    ),
    "wrong key": refused(
        401,
        {"error": {"code": "401", "message": "Access denied due to invalid subscription key or wrong API endpoint."
                   " Make sure to provide a valid key for an active subscription and use a correct regional API"
                   " endpoint for your resource."}},
        Outcome.AUTH_FAILED,
        says="invalid subscription key",
    ),
    "wrong key at the gateway": refused(
        401, {"statusCode": 401, "message": "Unauthorized. Access token is missing, invalid."}, Outcome.AUTH_FAILED
    ),
    "too fast": refused(
        429,
        {"error": {"code": "429", "message": "Requests to the ChatCompletions_Create Operation under Azure OpenAI API"
                   " version 2024-10-21 have exceeded token rate limit of your current OpenAI S0 pricing tier. Please"
                   " retry after 20 seconds. Please go here: https://aka.ms/oai/quotaincrease if you would like to"
                   " further increase the default rate limit."}},
        Outcome.RATE_LIMITED,
        headers={"retry-after": "20", "x-ratelimit-remaining-requests": "-1"},
        retry_after_s=20,
    ),
    "too fast, in newer words": refused(
        429, {"error": {"code": "RateLimitReached", "message": "Your requests to acme-1 have exceeded the call rate"
                        " limit for your current AIServices S0 pricing tier. For payment options see the portal."}},
        Outcome.RATE_LIMITED,
    ),
    "no such model": refused(
        404,
        {"error": {"code": "DeploymentNotFound", "message": "The API deployment for this resource does not exist. If"
                   " you created the deployment within the last 5 minutes, please wait a moment and try again."}},
        Outcome.MODEL_NOT_FOUND,
        says="DeploymentNotFound",
    ),
    "model is gone": refused(
        410, {"error": {"code": "ModelDeprecated", "message": "The model acme-1 is deprecated."}},
        Outcome.MODEL_REMOVED, worked=True,
    ),
    "prompt is filtered": refused(
        400,
        {"error": {"message": "The response was filtered due to the prompt triggering Azure OpenAI's content"
                   " management policy. Please modify your prompt and retry.", "type": None, "param": "prompt",
                   "code": "content_filter", "status": 400, "innererror": {
                       "code": "ResponsibleAIPolicyViolation",
                       "content_filter_result": {"hate": {"filtered": True, "severity": "high"}}}}},
        Outcome.CONTENT_FILTERED,
        says="Change the prompt",
    ),
}  # fmt: skip
