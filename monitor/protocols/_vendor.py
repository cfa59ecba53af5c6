"""What vendors' replies have in common: error objects, request ids, headers worth keeping."""

import re
from collections.abc import Iterator, Mapping
from itertools import chain, islice

from monitor.core.headroom import LONGEST
from monitor.core.headroom import is_named as is_limit
from monitor.core.observation import DETAIL_KEPT, VendorError, clean

_KEPT = frozenset(
    {
        "retry-after", "retry-after-ms", "openai-processing-ms", "server", "via", "cf-ray", "content-type",
        "date", "location",
    }
)  # fmt: skip
_LIMITS_KEPT = 32
_HEADER_KEPT = 200
_REQUEST_IDS = (
    "x-request-id", "request-id", "x-generation-id", "apim-request-id", "x-ms-request-id", "cf-ray",
)  # fmt: skip
_REQUEST_KEYS = ("request_id", "requestId", "RequestId")
_WORD_KEPT = 100
_MESSAGES = ("message", "msg", "detail", "errors", "error_msg", "error_message", "status_msg", "title")
_CODES = ("code", "error_code", "status_code", "statusCode")
_DEEPEST = 4
_MOST_REASONS = 8
_QUOTED = re.compile(r'"(?:code|type|error_code)"\s*:\s*"([\w.-]{1,60})"', re.ASCII)
"""A gateway (LiteLLM) may know no better than to quote the error of whoever is behind it."""
_DELAY = re.compile(r"(\d{1,6}(?:\.\d{1,9})?)s", re.ASCII)


def kept_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that help a person or the judge, and those that tell of limits."""
    kept = {
        name: value[:_HEADER_KEPT] for name, value in headers.items() if name in _KEPT or name in _REQUEST_IDS
    }
    limits = islice((name for name in headers if is_limit(name)), _LIMITS_KEPT)
    # One character more than is read: what was cut must not pass for something shorter.
    return kept | {name: headers[name][: LONGEST + 1] for name in limits}


def request_id(headers: Mapping[str, str]) -> str | None:
    """What the provider's support asks for first."""
    for name in _REQUEST_IDS:
        value = headers.get(name)
        if value:
            return value[:_HEADER_KEPT]
    return None


def behind(headers: Mapping[str, str]) -> str | None:
    """The host that a gateway says it asked on our behalf (LiteLLM); None where none says so."""
    said = headers.get("x-litellm-model-api-base", "")
    host = said.partition("://")[2].partition("/")[0].rpartition("@")[2]
    return host[:_HEADER_KEPT] or None


def vendor_error(payload: object, *, in_stream: bool) -> VendorError | None:
    """The error object in a parsed body, in any of the shapes that vendors use; None if there is none.

    Any object with a message counts, so ask only where no answer was found.
    """
    if isinstance(payload, list) and payload:
        payload = payload[0]  # Gemini's compatible door wraps its errors in a list
    if not isinstance(payload, dict):
        return None
    inner = payload.get("error") or payload.get("base_resp") or payload
    kind: object = None
    if not isinstance(inner, dict):
        kind, inner = inner, {**payload, "message": payload.get("message") or inner}
    message = _message(inner)
    code = _code(inner)
    if not message and code is None:
        return None
    kind = inner.get("type") or inner.get("error_type") or inner.get("status") or kind  # TGI: error_type
    told = isinstance(kind, str) and kind not in (message, "error")
    return VendorError(
        code=code,
        type=clean(str(kind), _WORD_KEPT) if told else None,
        message=clean(message, DETAIL_KEPT),
        reasons=tuple(islice(chain(_reasons(inner), _quoted(message)), _MOST_REASONS)),
        retry_s=_retry_s(inner),
        request_id=_named_request(payload, inner),
        in_stream=in_stream,
    )


def _named_request(payload: dict[str, object], inner: dict[str, object]) -> str | None:
    """What the body calls this request: Anthropic beside the error, others within it or in its details."""
    for part in (payload, inner, *_details(inner)):
        for key in _REQUEST_KEYS:
            value = part.get(key) if isinstance(part, dict) else None
            if isinstance(value, str) and value:
                return clean(value, _HEADER_KEPT)
    return None


def _reasons(inner: dict[str, object]) -> Iterator[str]:
    """What vendors say to machines beside code and type."""
    for detail in (*_details(inner), inner.get("innererror")):  # Google, Anthropic; Azure
        if not isinstance(detail, dict):
            continue
        violations = detail.get("violations")
        broken = violations[:_MOST_REASONS] if isinstance(violations, list) else []
        parts = [detail, *(one for one in broken if isinstance(one, dict))]
        for part in parts:
            for key in ("reason", "error_code", "quotaId", "code"):
                word = part.get(key)
                if isinstance(word, str) and word:
                    yield clean(word, _WORD_KEPT)


def _quoted(message: str) -> Iterator[str]:
    """Words for machines within a message."""
    return (found[1] for found in _QUOTED.finditer(message[:DETAIL_KEPT]))


def _details(inner: dict[str, object]) -> list[object]:
    details = inner.get("details")
    return details[:_MOST_REASONS] if isinstance(details, list) else [details]


def _retry_s(inner: dict[str, object]) -> float | None:
    """Google's `RetryInfo`, such as `34.07s`; it sends no `Retry-After`."""
    for detail in _details(inner):
        delay = detail.get("retryDelay") if isinstance(detail, dict) else None
        found = _DELAY.fullmatch(delay) if isinstance(delay, str) else None
        if found:
            return float(found[1])
    return None


def _message(inner: dict[str, object]) -> str:
    text = next((words for key in _MESSAGES if (words := _words(inner.get(key), 0))), "")
    param = inner.get("param")
    if isinstance(param, str) and param and param not in text:
        text = f"{text} (param {param})".strip()
    metadata = inner.get("metadata")
    if isinstance(metadata, dict):  # OpenRouter: what the provider behind it said, and who that was
        behind = [metadata.get("provider_name"), metadata.get("raw")]
        said = ": ".join(part for part in behind if isinstance(part, str) and part)
        text = f"{text} [{said}]" if said else text
    return text


def _words(value: object, depth: int) -> str:
    """The words in a message: a text, pydantic's list of problems, or a vendor's own nesting."""
    if isinstance(value, str):
        return value
    if depth >= _DEEPEST:
        return ""
    if isinstance(value, list):
        return "; ".join(words for part in value[:5] if (words := _words(part, depth + 1)))
    if isinstance(value, dict):
        text = next((words for key in _MESSAGES if (words := _words(value.get(key), depth + 1))), "")
        place = value.get("loc")
        if isinstance(place, list) and place:
            return f"{'.'.join(str(part)[:_WORD_KEPT] for part in place[:8])}: {text}"
        return text
    return ""


def _code(inner: dict[str, object]) -> str | None:
    for key in _CODES:
        value = inner.get(key)
        if isinstance(value, str) and value:
            return clean(value, _WORD_KEPT)
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**9:
            return str(value)
    return None
