"""The names for what a probe amounts to, and whose fault it is.

The words are those of the config, the database, the logs and the pages. The blame of an
outcome is fixed, so it is looked up and never stored a second time.
"""

import enum


class Blame(enum.StrEnum):
    """Whose it is to mend. A good outcome has none (`None`)."""

    DEGRADED = "degraded"
    PROVIDER = "provider"
    THROTTLED = "throttled"
    CONFIG = "config"
    MONITOR = "monitor"


class Outcome(enum.StrEnum):
    """What one probe amounts to."""

    OK = "ok"
    SLOW = "slow"
    WRONG_ANSWER = "wrong_answer"
    MODEL_SWAPPED = "model_swapped"
    CERTIFICATE_EXPIRING = "certificate_expiring"
    DNS_FAILURE = "dns_failure"
    CONNECT_REFUSED = "connect_refused"
    CONNECT_TIMEOUT = "connect_timeout"
    HOST_UNREACHABLE = "host_unreachable"
    CONNECTION_RESET = "connection_reset"
    TLS_FAILURE = "tls_failure"
    FIRST_TOKEN_TIMEOUT = "first_token_timeout"
    STALLED = "stalled"
    TOTAL_TIMEOUT = "total_timeout"
    HTTP_5XX = "http_5xx"
    OVERLOADED = "overloaded"
    STREAM_ERROR = "stream_error"
    TRUNCATED = "truncated"
    EMPTY_COMPLETION = "empty_completion"
    MALFORMED_RESPONSE = "malformed_response"
    MODEL_REMOVED = "model_removed"
    ASSERTION_FAILED = "assertion_failed"
    RATE_LIMITED = "rate_limited"
    AUTH_FAILED = "auth_failed"
    QUOTA_EXHAUSTED = "quota_exhausted"
    BAD_REQUEST = "bad_request"
    MODEL_NOT_FOUND = "model_not_found"
    CONTENT_FILTERED = "content_filtered"
    NO_ANSWER = "no_answer"
    LOCAL_NETWORK = "local_network"
    BUDGET_EXHAUSTED = "budget_exhausted"
    SELF_OVERLOAD = "self_overload"
    CANCELLED = "cancelled"
    INTERNAL_ERROR = "internal_error"

    @property
    def blame(self) -> Blame | None:
        return BLAME[self]

    @property
    def works(self) -> bool:
        """The endpoint did its work, if perhaps badly: it counts as up."""
        return BLAME[self] in (None, Blame.DEGRADED)


_WHOSE: dict[Blame | None, tuple[Outcome, ...]] = {
    None: (Outcome.OK,),
    Blame.DEGRADED: (
        Outcome.SLOW,
        Outcome.WRONG_ANSWER,
        Outcome.MODEL_SWAPPED,
        Outcome.CERTIFICATE_EXPIRING,
    ),
    Blame.PROVIDER: (
        Outcome.DNS_FAILURE,
        Outcome.CONNECT_REFUSED,
        Outcome.CONNECT_TIMEOUT,
        Outcome.HOST_UNREACHABLE,
        Outcome.CONNECTION_RESET,
        Outcome.TLS_FAILURE,
        Outcome.FIRST_TOKEN_TIMEOUT,
        Outcome.STALLED,
        Outcome.TOTAL_TIMEOUT,
        Outcome.HTTP_5XX,
        Outcome.OVERLOADED,
        Outcome.STREAM_ERROR,
        Outcome.TRUNCATED,
        Outcome.EMPTY_COMPLETION,
        Outcome.MALFORMED_RESPONSE,
        Outcome.MODEL_REMOVED,
        Outcome.ASSERTION_FAILED,
    ),
    Blame.THROTTLED: (Outcome.RATE_LIMITED,),
    Blame.CONFIG: (
        Outcome.AUTH_FAILED,
        Outcome.QUOTA_EXHAUSTED,
        Outcome.BAD_REQUEST,
        Outcome.MODEL_NOT_FOUND,
        Outcome.CONTENT_FILTERED,
        Outcome.NO_ANSWER,
    ),
    Blame.MONITOR: (
        Outcome.LOCAL_NETWORK,
        Outcome.BUDGET_EXHAUSTED,
        Outcome.SELF_OVERLOAD,
        Outcome.CANCELLED,
        Outcome.INTERNAL_ERROR,
    ),
}

BLAME: dict[Outcome, Blame | None] = {
    outcome: blame for blame, outcomes in _WHOSE.items() for outcome in outcomes
}
