"""What a vendor means by an error, from its codes, types and reasons.

Words for machines decide where there are any. A message is written for people, links to pages
about billing whatever the matter, and may be reworded tomorrow: it is read only where the words
for machines leave it open, and never within a link.
"""

import re

from monitor.core.observation import VendorError

_NO_LETTERS = re.compile(r"[^a-z0-9]+")
_LINK = re.compile(r"https?://\S+")

_QUOTA = (
    "insufficientquota",  # OpenAI, Alibaba
    "billing",  # OpenAI: billing_hard_limit_reached, billing_not_active; Anthropic: billing_error
    "credit",  # OpenAI: credit_balance_exhausted; Together: credit_limit
    "insufficientbalance",
    "spendlimit",  # Anthropic: enforced_spend_limit_reached, beside rate_limit_error
    "spendinglimit",
    "usagelimit",
    "perday",  # Google: GenerateRequestsPerDayPerProjectPerModel-FreeTier
    "exceededcurrentquota",  # Moonshot
    "payment",
    "arrearage",  # Alibaba
    "budgetexceeded",  # LiteLLM
)
_QUOTA_PERHAPS = ("quotaexceeded",)
"""So Cerebras calls it by the minute, too: the message decides."""
_QUOTA_ALONE = frozenset({"quota"})
_THROTTLE = (
    "ratelimit",  # rate_limit_exceeded, rate_limit_error, RateLimitReached, rate_limit_reached_error
    "toomanyrequests",
    "perminute",  # Google: GenerateRequestsPerMinutePerProjectPerModel
    "persecond",
)
_THROTTLE_TYPES = frozenset({"requests", "tokens"})  # OpenAI, Groq: of what there were too many
_QUOTA_SAID = re.compile(
    r"insufficient[ _](quota|balance|credit|fund)|exceeded your (current )?quota|credit balance"
    r"|(out of|used all|run out of|not enough|no|add|purchase|buy)\b[\w ]{0,30}\bcredits?\b"
    r"|(spend|spending|usage|monthly|daily)[ _-](spending )?(limit|quota|cap)|billing (hard )?limit"
    r"|balance (is )?(too low|insufficient|not enough)|(out of|no)( \w+){0,2} quota\b"
    r"|quota[ _](is |was |has been )?(exceeded|exhausted|reached|used up)"
    r"|budget has been exceeded|payment required|recharge|per[ -]day",
    re.IGNORECASE,
)
_EMPTY_SAID = re.compile(
    r"insufficient[ _](quota|balance|credit|fund)|balance (is )?(too low|insufficient|not enough)"
    r"|payment required",
    re.IGNORECASE,
)
"""Whatever else is said beside it."""
_SOON = re.compile(
    r"(?<![^\W_])per[ _-](minute|second|min\b|sec\b)|per(minute|second)|/ ?(minute|second|min\b|sec\b)"
    r"|\b([io]?tpm|rpm|rps)\b",
    re.IGNORECASE,
)
"""What was exceeded comes back by itself. Vertex: `…/generate_content_requests_per_minute_per_project…`."""
_LATE = re.compile(r"per[ _-]?(day|month)|daily|monthly|spend|\b[rt]pd\b", re.IGNORECASE)
_OVERLOAD = ("overload", "capacity", "serverbusy", "enginebusy", "slowdown")  # OpenAI: 503, slow_down
_OVERLOAD_SAID = (
    "overload", "capacity", "server is busy", "engine is busy", "too busy", "high demand",
    "insufficient_system_resource",
)  # fmt: skip
_KEY = (
    "apikeyinvalid", "invalidapikey", "incorrectapikey", "authenticationerror", "autherror",
    "unauthenticated",
)  # fmt: skip
_NO_MODEL = (
    "modelnotfound", "modelnotavailable", "modelnotexist", "unknownmodel", "invalidmodel",
    "modeldecommissioned", "modeldeprecated", "deploymentnotfound",
)  # fmt: skip
_NO_MODEL_SAID = re.compile(
    r"\bmodel not exist|is not a valid model"  # DeepSeek, OpenRouter
    r"|\binvalid model name passed in model="  # LiteLLM
    r"|\bmodel ([`'\"][^`'\"]{1,200}[`'\"] )?does not exist",  # SiliconFlow
    re.IGNORECASE,
)
_FILTER = ("contentfilter", "contentpolicy", "responsibleai", "moderation", "datainspection")
_FILTER_SAID = ("content_filter", "content_policy", "content management policy", "moderation")


def is_quota(error: VendorError | None) -> bool:
    """Nothing is left to spend, or not before tomorrow: waiting a minute does not help."""
    if error is None or _tells(error, _QUOTA):
        return error is not None
    said = _said(error)
    if _EMPTY_SAID.search(said):
        return True
    # Google says when to come back where that is soon.
    if (_SOON.search(said) or error.retry_s) and not _LATE.search(said):
        return False
    if _tells(error, _QUOTA_PERHAPS) or _QUOTA_ALONE & _told(error):
        return True
    if _tells(error, _THROTTLE) or error.type in _THROTTLE_TYPES:
        return False
    return _QUOTA_SAID.search(said) is not None


def is_overload(error: VendorError | None) -> bool:
    """The provider says that it has too much to do."""
    if error is None:
        return False
    return error.code == "529" or _tells(error, _OVERLOAD) or _says(error, _OVERLOAD_SAID)


def is_bad_key(error: VendorError | None) -> bool:
    """The key is not known. Google says so with status 400."""
    return error is not None and _tells(error, _KEY)


def is_no_model(error: VendorError | None) -> bool:
    """There is no such model, or no longer."""
    if error is None:
        return False
    return _tells(error, _NO_MODEL) or _NO_MODEL_SAID.search(_said(error)) is not None


def is_filter(error: VendorError | None) -> bool:
    """The prompt is one that the provider does not answer."""
    return error is not None and (_tells(error, _FILTER) or _says(error, _FILTER_SAID))


def _tells(error: VendorError, words: tuple[str, ...]) -> bool:
    """One of the words for machines has one of these in it, whatever its spelling."""
    return any(word in one for one in _told(error) for word in words)


def _told(error: VendorError) -> set[str]:
    told = (error.code, error.type, *error.reasons)
    return {_NO_LETTERS.sub("", word.lower()) for word in told if word}


def _says(error: VendorError, words: tuple[str, ...]) -> bool:
    text = _said(error).lower()
    return any(word in text for word in words)


def _said(error: VendorError) -> str:
    return _LINK.sub("", error.message)
