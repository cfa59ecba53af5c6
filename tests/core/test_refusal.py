"""What vendors mean by their errors. Whole replies of each vendor: tests/protocols/scripts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.observation import VendorError
from monitor.core.refusal import is_bad_key, is_filter, is_no_model, is_overload, is_quota

QUOTA_WORDS = "You exceeded your current quota, please check your plan and billing details. Add credits."


def error(**words) -> VendorError:
    return VendorError(**words)


@pytest.mark.parametrize(
    "said",
    [
        error(code="rate_limit_exceeded", type="tokens", message=QUOTA_WORDS),
        error(type="requests", message=QUOTA_WORDS),
        error(code="429", type="RESOURCE_EXHAUSTED", reasons=("TokensPerMinute-Free",), message=QUOTA_WORDS),
        error(code="RateLimitReached", message=QUOTA_WORDS),
        error(message="Slow down. See https://vendor.example/billing/credits/usage-limit for more."),
        error(message="Requests rate limit exceeded"),
        error(code="429"),
        error(
            code="429",
            type="RESOURCE_EXHAUSTED",
            message="Quota exceeded for aiplatform.googleapis.com/generate_content_requests_per_minute_per_project_"
            "per_base_model with base model: acme. Please submit a quota increase request.",
        ),
        error(code="429", type="RESOURCE_EXHAUSTED", message=QUOTA_WORDS, retry_s=34.0),
        error(
            code="token_quota_exceeded",
            type="too_many_tokens_error",
            message="Tokens per minute limit exceeded - too many tokens processed.",
        ),
        error(message="Quota reached: 3 RPM"),
        error(message="Your quota of 20 requests/min is used up. Add credits for more."),
        error(code="Throttling.RateQuota", message="Requests rate limit exceeded"),
        None,
    ],
)
def test_too_fast_is_no_empty_wallet_whatever_the_message_talks_of(said):
    assert not is_quota(said)


@pytest.mark.parametrize(
    "said",
    [
        error(code="insufficient_quota", type="rate_limit_error"),
        error(type="rate_limit_error", reasons=("enforced_spend_limit_reached",)),
        error(type="RESOURCE_EXHAUSTED", reasons=("RequestsPerDay", "RequestsPerMinute")),
        error(type="invalid_request_error", message="Your credit balance is too low to access the API."),
        error(message="Insufficient Balance"),
        error(message="Your credit balance is too low. Your plan allows 5 RPM until you add credits."),
        error(message="Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000"),
        error(message="This account has no credits left"),
        error(message="You have reached your monthly spending limit"),
        error(type="RESOURCE_EXHAUSTED", message="Your project exceeded its spending cap.", retry_s=9.0),
        error(type="RESOURCE_EXHAUSTED", reasons=("RequestsPerDay",), message=QUOTA_WORDS, retry_s=9.0),
        error(message="Quota exceeded for metric requests_per_day, limit 3 requests per minute"),
        error(message="You have exceeded your quota"),
        error(message="Your account is out of quota"),
        error(message="You have no remaining quota"),
        error(message="Free tier quota reached"),
        error(message="monthly token quota reached"),
        error(message="Your quota is used up for today"),
        error(code="quota", message="no"),
        error(code="quota_exceeded", type="rate_limit_error"),
    ],
)
def test_an_empty_wallet_is_no_throttling_whatever_its_type(said):
    assert is_quota(said)


@given(st.text(), st.text(max_size=10) | st.none(), st.text(max_size=10) | st.none())
def test_any_words_are_read_without_a_crash(message, code, kind):
    said = error(code=code, type=kind, message=message, reasons=(message[:10],))
    for question in (is_quota, is_overload, is_bad_key, is_no_model, is_filter):
        assert question(said) in (True, False)
        assert question(None) is False


def test_a_word_for_machines_is_known_in_any_spelling():
    for code in ("API_KEY_INVALID", "apiKeyInvalid", "api-key-invalid"):
        assert is_bad_key(error(code="400", reasons=(code,)))
    for code in ("DeploymentNotFound", "deployment_not_found"):
        assert is_no_model(error(code=code))


@pytest.mark.parametrize(
    ("message", "missing"),
    [
        ("Model Not Exist", True),
        ("acme-1 is not a valid model ID", True),
        (
            "/chat/completions: Invalid model name passed in model=acme-1. Call `/v1/models` to view them.",
            True,
        ),
        ("Model does not exist. Please check it carefully.", True),
        ("The model `acme-1` does not exist or you do not have access to it.", True),
        ("The model parameter 'top_j' does not exist", False),
        ("The model is not allowed to see a file that does not exist", False),
    ],
)
def test_that_there_is_no_such_model_is_told_in_many_words(message, missing):
    assert is_no_model(error(message=message)) is missing


def test_a_message_about_a_key_is_no_code_about_one():
    assert not is_bad_key(error(code="400", message="invalid_api_key"))


def test_overload_is_told_by_code_type_or_message():
    assert is_overload(error(code="529"))
    assert is_overload(error(type="overloaded_error"))
    assert is_overload(error(code="slow_down", message="Slow down"))
    assert is_overload(error(message="This model is currently experiencing high demand."))
    assert is_overload(error(message="Model too busy"))
    assert is_overload(error(message="The model is overloaded. Please try again later."))
    assert not is_overload(error(code="503", message="The service is currently unavailable."))
