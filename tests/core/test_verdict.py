"""What facts amount to, and whose fault it is."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from monitor.core.headroom import Kind, Limit
from monitor.core.identity import is_same_model
from monitor.core.instant import SECOND, Instant, instant
from monitor.core.observation import DETAIL_KEPT, Observation, Timer, Usage, VendorError, clean
from monitor.core.outcome import BLAME, Blame, Outcome
from monitor.core.timeline import Channel, Timeline, Token
from monitor.core.verdict import Expect, Learnt, Verdict, judge, retry_after, until
from monitor.core.wire import Fault, FaultKind, Limits, Phase

MODEL = "gpt-4.1-nano"


def stream(**changes: object) -> Observation:
    """A good answer of 11 events in a second."""
    tokens = [
        Token(at=0.6 + 0.1 * i, earliest=0.6 + 0.1 * i, characters=4, channel=Channel.ANSWER, ended_read=True)
        for i in range(11)
    ]
    line = Timeline(start=0.0, connect_s=0.02, request_sent=0.05, headers=0.1, end=1.7, tokens=tokens)
    good = Observation(
        timeline=line,
        status=200,
        answer="pong, and then some prose",
        finish_reason="length",
        terminal=True,
        served_model=MODEL,
        usage=Usage(output_tokens=22, input_tokens=9),
    )
    return replace(good, **changes)  # type: ignore[arg-type]


def silent(**changes: object) -> Observation:
    line = Timeline(start=0.0, connect_s=0.02, request_sent=0.05, headers=0.1, end=0.2)
    return replace(stream(timeline=line, answer="", usage=None), **changes)  # type: ignore[arg-type]


def refusal(status: int, error: VendorError | None = None, **changes: object) -> Observation:
    return silent(status=status, error=error, terminal=False, finish_reason=None, **changes)


def fault(
    kind: FaultKind, phase: Phase, *, timer: Timer | None = None, status: int | None = None
) -> Observation:
    told = Fault(kind, phase, f"{kind} in {phase}")
    return silent(fault=told, timer=timer, status=status, terminal=False, finish_reason=None)


def ask(seen: Observation, expect: Expect = Expect(), learnt: Learnt = Learnt()) -> Verdict:
    return judge(seen, expect, learnt, model=MODEL)


def test_every_outcome_has_one_blame_and_only_ok_has_none() -> None:
    assert set(BLAME) == set(Outcome)
    assert [outcome for outcome, blame in BLAME.items() if blame is None] == [Outcome.OK]


def test_a_whole_answer_is_ok_even_if_the_limit_cut_it() -> None:
    verdict = ask(stream())
    assert (verdict.outcome, verdict.detail, verdict.blame) == (Outcome.OK, None, None)


@pytest.mark.parametrize(
    ("seen", "outcome"),
    [
        (fault(FaultKind.NO_SUCH_NAME, Phase.DNS), Outcome.DNS_FAILURE),
        (fault(FaultKind.RESOLVER, Phase.DNS), Outcome.DNS_FAILURE),
        (fault(FaultKind.TIMEOUT, Phase.DNS), Outcome.DNS_FAILURE),
        (fault(FaultKind.REFUSED, Phase.CONNECT), Outcome.CONNECT_REFUSED),
        (fault(FaultKind.TIMEOUT, Phase.CONNECT), Outcome.CONNECT_TIMEOUT),
        (fault(FaultKind.TIMEOUT, Phase.TLS), Outcome.CONNECT_TIMEOUT),
        (fault(FaultKind.UNREACHABLE, Phase.CONNECT), Outcome.HOST_UNREACHABLE),
        (fault(FaultKind.RESET, Phase.CONNECT), Outcome.CONNECTION_RESET),
        (fault(FaultKind.LOCAL, Phase.CONNECT), Outcome.LOCAL_NETWORK),
        (fault(FaultKind.CERTIFICATE, Phase.TLS), Outcome.TLS_FAILURE),
        (fault(FaultKind.TLS, Phase.TLS), Outcome.TLS_FAILURE),
        (fault(FaultKind.CLOSED, Phase.TLS), Outcome.TLS_FAILURE),
        (fault(FaultKind.RESET, Phase.TLS), Outcome.CONNECTION_RESET),
        (fault(FaultKind.CLOSED, Phase.HEADERS), Outcome.CONNECTION_RESET),
        (fault(FaultKind.RESET, Phase.REQUEST), Outcome.CONNECTION_RESET),
        (fault(FaultKind.MALFORMED, Phase.HEADERS), Outcome.MALFORMED_RESPONSE),
        (fault(FaultKind.TIMEOUT, Phase.HEADERS, timer=Timer.FIRST_TOKEN), Outcome.FIRST_TOKEN_TIMEOUT),
        (fault(FaultKind.TIMEOUT, Phase.HEADERS), Outcome.TOTAL_TIMEOUT),
        (fault(FaultKind.TIMEOUT, Phase.BODY, timer=Timer.STALL, status=200), Outcome.STALLED),
        (
            fault(FaultKind.TIMEOUT, Phase.BODY, timer=Timer.FIRST_TOKEN, status=200),
            Outcome.FIRST_TOKEN_TIMEOUT,
        ),
        (fault(FaultKind.TIMEOUT, Phase.BODY, timer=Timer.TOTAL, status=200), Outcome.TOTAL_TIMEOUT),
        (fault(FaultKind.CLOSED, Phase.BODY, status=200), Outcome.TRUNCATED),
        (fault(FaultKind.RESET, Phase.BODY, status=200), Outcome.CONNECTION_RESET),
        (fault(FaultKind.TOO_LARGE, Phase.BODY, status=200), Outcome.MALFORMED_RESPONSE),
    ],
)
def test_a_fault_is_told_by_its_kind_and_phase(seen: Observation, outcome: Outcome) -> None:
    verdict = ask(seen)
    assert verdict.outcome is outcome
    assert verdict.detail


@pytest.mark.parametrize(
    ("status", "error", "outcome"),
    [
        (401, None, Outcome.AUTH_FAILED),
        (403, None, Outcome.AUTH_FAILED),
        (402, None, Outcome.QUOTA_EXHAUSTED),
        (408, None, Outcome.TOTAL_TIMEOUT),
        (429, None, Outcome.RATE_LIMITED),
        (429, VendorError(code="insufficient_quota"), Outcome.QUOTA_EXHAUSTED),
        (429, VendorError(message="Your credit balance is too low"), Outcome.QUOTA_EXHAUSTED),
        (429, VendorError(message="Rate limit reached for requests"), Outcome.RATE_LIMITED),
        (500, None, Outcome.HTTP_5XX),
        (502, None, Outcome.HTTP_5XX),
        (503, None, Outcome.HTTP_5XX),
        (503, VendorError(message="The model is overloaded"), Outcome.OVERLOADED),
        (529, None, Outcome.OVERLOADED),
        (400, VendorError(message="bad temperature"), Outcome.BAD_REQUEST),
        (400, VendorError(code="content_filter"), Outcome.CONTENT_FILTERED),
        (422, None, Outcome.BAD_REQUEST),
        (302, None, Outcome.BAD_REQUEST),
    ],
)
def test_a_refusal_is_told_by_its_status_and_by_what_it_says(
    status: int, error: VendorError | None, outcome: Outcome
) -> None:
    assert ask(refusal(status, error)).outcome is outcome


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (429, "You have exceeded your quota: insufficient_quota", Outcome.QUOTA_EXHAUSTED),
        (429, '"Your credit balance is too low"', Outcome.QUOTA_EXHAUSTED),
        (429, "too many requests", Outcome.RATE_LIMITED),
        (503, "Service Unavailable: server is overloaded", Outcome.OVERLOADED),
        (503, "no healthy upstream", Outcome.HTTP_5XX),
        (503, '<body class="overloaded">', Outcome.HTTP_5XX),
        (503, '{"echo": "overloaded"}', Outcome.HTTP_5XX),
        (429, "  <p>Out of quota", Outcome.RATE_LIMITED),
    ],
)
def test_a_refusal_in_plain_words_is_read_and_a_page_is_not(status: int, body: str, outcome: Outcome) -> None:
    verdict = ask(refusal(status, body=body))
    assert verdict.outcome is outcome
    assert body in (verdict.detail or "")


@pytest.mark.parametrize("seen", [refusal(404), refusal(400, VendorError(code="model_not_found"))])
def test_a_missing_model_is_our_mistake_unless_it_worked_before(seen: Observation) -> None:
    assert ask(seen).outcome is Outcome.MODEL_NOT_FOUND
    gone = ask(seen, learnt=Learnt(worked=True))
    assert (gone.outcome, gone.blame) == (Outcome.MODEL_REMOVED, Blame.PROVIDER)


@pytest.mark.parametrize("status", [101, 201, 204, 206])
def test_a_status_that_is_neither_an_answer_nor_a_refusal_is_the_providers_fault(status: int) -> None:
    verdict = ask(refusal(status))
    assert (verdict.outcome, verdict.blame) == (Outcome.MALFORMED_RESPONSE, Blame.PROVIDER)
    assert f"status {status}" in (verdict.detail or "")


def test_a_status_that_http_does_not_have_is_a_failure_of_the_server() -> None:
    verdict = ask(refusal(999, VendorError(message="denied: go away")))
    assert verdict.outcome is Outcome.HTTP_5XX
    assert verdict.detail == "status 999, which HTTP does not have: denied: go away"


def test_tls_that_breaks_before_an_answer_is_a_failure_of_tls() -> None:
    assert ask(fault(FaultKind.TLS, Phase.HEADERS)).outcome is Outcome.TLS_FAILURE
    assert ask(fault(FaultKind.TLS, Phase.BODY, status=200)).outcome is Outcome.TRUNCATED


def test_an_error_inside_a_good_status_is_a_failure_even_after_tokens() -> None:
    error = VendorError(message="upstream died", type="server_error", in_stream=True)
    verdict = ask(stream(error=error))
    assert verdict.outcome is Outcome.STREAM_ERROR
    assert "upstream died" in (verdict.detail or "")
    busy = VendorError(type="overloaded_error", in_stream=True)
    assert ask(stream(error=busy)).outcome is Outcome.OVERLOADED


def test_an_end_without_terminal_evidence_is_truncated() -> None:
    verdict = ask(stream(terminal=False, finish_reason=None))
    assert verdict.outcome is Outcome.TRUNCATED
    assert "events with text: 11" in (verdict.detail or "")


def test_a_reset_after_the_terminal_event_is_no_failure() -> None:
    late = Fault(FaultKind.RESET, Phase.BODY, "reset")
    assert ask(stream(fault=late)).outcome is Outcome.OK


def test_no_text_at_all_is_an_empty_completion() -> None:
    assert ask(silent()).outcome is Outcome.EMPTY_COMPLETION


def test_all_tokens_spent_on_reasoning_is_our_limit() -> None:
    thought = Token(at=0.5, earliest=0.5, characters=9, channel=Channel.REASONING, ended_read=True)
    line = replace(silent().timeline, tokens=[thought])
    verdict = ask(silent(timeline=line, finish_reason="length"))
    assert (verdict.outcome, verdict.blame) == (Outcome.NO_ANSWER, Blame.CONFIG)
    hidden = silent(finish_reason="length", usage=Usage(output_tokens=64, reasoning_tokens=64))
    assert ask(hidden).outcome is Outcome.NO_ANSWER


@pytest.mark.parametrize(
    ("usage", "allowed", "outcome"),
    [
        (Usage(output_tokens=64, reasoning_tokens=64), 64, Outcome.NO_ANSWER),
        (Usage(output_tokens=66, reasoning_tokens=64), 64, Outcome.NO_ANSWER),
        (Usage(output_tokens=63, reasoning_tokens=63), 64, Outcome.EMPTY_COMPLETION),
        (Usage(output_tokens=64, reasoning_tokens=64), None, Outcome.EMPTY_COMPLETION),
        (Usage(output_tokens=64), 64, Outcome.EMPTY_COMPLETION),
        (None, 64, Outcome.EMPTY_COMPLETION),
    ],
)
def test_reasoning_up_to_our_limit_is_our_limit_whatever_the_server_calls_it(
    usage: Usage | None, allowed: int | None, outcome: Outcome
) -> None:
    for reason in ("stop", None):
        seen = silent(finish_reason=reason, usage=usage, tokens_allowed=allowed)
        assert ask(seen).outcome is outcome


def test_a_filtered_answer_is_ours_to_mend() -> None:
    assert ask(stream(filtered=True)).outcome is Outcome.CONTENT_FILTERED


def test_a_wrong_answer_is_degraded_and_quotes_itself() -> None:
    verdict = ask(stream(answer_matches=False), Expect(answer="PING"))
    assert (verdict.outcome, verdict.blame) == (Outcome.WRONG_ANSWER, Blame.DEGRADED)
    assert "pong, and then" in (verdict.detail or "")
    assert ask(stream(answer_matches=True), Expect(answer="PONG")).outcome is Outcome.OK


@pytest.mark.parametrize(
    ("expect", "words"),
    [
        (Expect(ttft_ms=500.0), "first token after 570 ms, expected at most 500 ms"),
        (Expect(elapsed_ms=1000.0), "took 1,670 ms, expected at most 1,000 ms"),
        (Expect(output_speed=50.0), "20.0 tokens/s, expected at least 50.0"),
    ],
)
def test_a_limit_of_one_probe_makes_it_slow(expect: Expect, words: str) -> None:
    verdict = ask(stream(), expect)
    assert (verdict.outcome, verdict.detail) == (Outcome.SLOW, words)


def test_the_served_model_is_learnt_and_a_later_change_is_told() -> None:
    learnt = ask(stream()).learnt
    assert learnt.served_model == MODEL
    assert learnt.worked
    assert ask(stream(), learnt=learnt).outcome is Outcome.OK
    other = ask(stream(served_model="gpt-4.1-mini"), learnt=learnt)
    assert other.outcome is Outcome.MODEL_SWAPPED
    assert other.learnt.served_model == MODEL


def test_with_an_expected_model_every_other_name_is_a_swap() -> None:
    assert ask(stream(served_model="other"), Expect(model=MODEL)).outcome is Outcome.MODEL_SWAPPED
    assert ask(stream(served_model=f"{MODEL}-2025-04-14"), Expect(model=MODEL)).outcome is Outcome.OK


def test_another_snapshot_than_the_one_that_was_pinned_is_a_swap() -> None:
    old, new = f"{MODEL}-2025-04-14", f"{MODEL}-2025-08-07"
    assert ask(stream(served_model=new), Expect(model=old)).outcome is Outcome.MODEL_SWAPPED
    assert ask(stream(served_model=MODEL), Expect(model=old)).outcome is Outcome.OK
    learnt = Learnt(worked=True, served_model=old)
    asked_for = {
        model: judge(stream(served_model=new), Expect(), learnt, model=model).outcome
        for model in (old, MODEL, "our-deployment")
    }
    # An alias without a date may go on to the next snapshot.
    assert asked_for == {old: Outcome.MODEL_SWAPPED, MODEL: Outcome.OK, "our-deployment": Outcome.OK}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("gpt-4.1-nano", "gpt-4.1-nano-2025-04-14", True),
        ("claude-sonnet-4", "claude-sonnet-4-20250514", True),
        ("claude-sonnet-4-latest", "claude-sonnet-4-20250514", True),
        ("openai/gpt-4.1-nano", "gpt-4.1-nano", True),
        ("GPT-4.1-nano", "gpt-4.1-nano", True),
        ("gpt-4.1-nano", "gpt-4.1-mini", False),
        ("gpt-4", "gpt-4-0613", True),
        ("llama-3-70b", "llama-3-8b", False),
        ("20250514", "20250514", True),
    ],
)
def test_a_dated_alias_is_the_same_model(one: str, other: str, same: bool) -> None:
    assert is_same_model(one, other) is same
    assert is_same_model(other, one) is same


def test_a_probe_that_we_timed_badly_is_our_own_fault() -> None:
    tokens = [replace(t, earliest=t.at - 0.2) for t in stream().timeline.tokens]
    verdict = ask(stream(timeline=replace(stream().timeline, tokens=tokens)))
    assert (verdict.outcome, verdict.blame) == (Outcome.SELF_OVERLOAD, Blame.MONITOR)


# Plain checks


def plain(status: int | None = 200, **changes: object) -> Observation:
    line = Timeline(start=0.0, connect_s=0.02, request_sent=0.05, headers=0.1, end=0.2)
    return Observation(timeline=line, status=status, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seen", "expect", "outcome"),
    [
        (plain(), Expect(), Outcome.OK),
        (plain(204), Expect(), Outcome.OK),
        (plain(301), Expect(), Outcome.ASSERTION_FAILED),
        (plain(404), Expect(), Outcome.ASSERTION_FAILED),
        (plain(404), Expect(status=frozenset({404})), Outcome.OK),
        (plain(429), Expect(), Outcome.RATE_LIMITED),
        (plain(500), Expect(), Outcome.HTTP_5XX),
        (plain(500), Expect(status=frozenset({500})), Outcome.OK),
        (plain(body_matches=False), Expect(body_contains="ok"), Outcome.ASSERTION_FAILED),
        (plain(), Expect(elapsed_ms=100.0), Outcome.SLOW),
        (plain(certificate_days=3.0), Expect(certificate_days=14.0), Outcome.CERTIFICATE_EXPIRING),
        (plain(certificate_days=30.0), Expect(certificate_days=14.0), Outcome.OK),
        (plain(fault=Fault(FaultKind.CLOSED, Phase.BODY, "cut")), Expect(), Outcome.TRUNCATED),
        (plain(None, fault=Fault(FaultKind.RESET, Phase.HEADERS, "rst")), Expect(), Outcome.CONNECTION_RESET),
    ],
)
def test_a_plain_check_is_judged_by_what_is_expected(
    seen: Observation, expect: Expect, outcome: Outcome
) -> None:
    assert judge(seen, expect, Learnt(), model=None).outcome is outcome


def test_an_unexpected_status_says_what_was_expected() -> None:
    expect = Expect(status=frozenset({*range(200, 300), 404}))
    assert judge(plain(500), expect, Learnt(), model=None).detail == "status is 500, expected 200-299 or 404"


# Details and hints


def test_a_detail_is_short_and_clean_whatever_the_provider_says() -> None:
    error = VendorError(message="\x00\x1b[31m\ud800" + "x" * 10_000)
    detail = ask(refusal(500, error)).detail
    assert detail is not None
    assert len(detail) <= DETAIL_KEPT
    assert detail.isprintable()


@pytest.mark.parametrize("text", ["plain", "a\nb\tc", "\x00\x1b\x7f", "\ud800", "\u2028", "é漢🙂"])
def test_cleaned_text_is_printable_and_cleaning_twice_changes_nothing(text: str) -> None:
    assert clean(text).isprintable()
    assert clean(clean(text)) == clean(text)
    clean(text).encode()


@pytest.mark.parametrize(
    ("said", "seconds"), [("30", 30), ("1.5", 1.5), ("99999", 900), ("0", None), ("-1", None), ("soon", None)]
)
def test_retry_after_is_read_in_seconds_and_bounded(said: str, seconds: float | None) -> None:
    span = retry_after({"retry-after": said}, None)
    assert span == (None if seconds is None else seconds * SECOND)


def test_retry_after_as_a_date_is_taken_by_the_servers_own_clock() -> None:
    now, then = "Sun, 22 Nov 2026 10:00:00 GMT", "Sun, 22 Nov 2026 10:01:30 GMT"
    ours = instant(datetime(2030, 1, 1, tzinfo=UTC))
    assert retry_after({"retry-after": then, "date": now}, ours) == 90 * SECOND
    assert retry_after({"retry-after": now, "date": then}, ours) is None


@pytest.mark.parametrize("date", [{}, {"date": "yesterday"}])
def test_retry_after_as_a_date_is_taken_by_our_clock_where_the_server_tells_none(
    date: dict[str, str],
) -> None:
    received = instant(datetime(2026, 11, 22, 10, 0, 0, tzinfo=UTC))
    headers = {"retry-after": "Sun, 22 Nov 2026 10:01:30 GMT", **date}
    assert retry_after(headers, received) == 90 * SECOND
    assert retry_after(headers, Instant(received + 90 * SECOND)) is None
    assert retry_after(headers, None) is None
    limited = judge(refusal(429, headers=headers), Expect(), Learnt(), model=MODEL, received_at=received)
    assert limited.retry_after == 90 * SECOND


@pytest.mark.parametrize(
    "said", ["9" * 5000, "1_0", "nan", "inf", "Mon, 1 Jan 99999999999999999999 00:00:00 GMT", "1, 2", "\x00"]
)
def test_a_hostile_retry_after_is_none(said: str) -> None:
    date = "Sun, 22 Nov 2026 10:00:00 GMT"
    assert retry_after({"retry-after": said, "date": date}, None) is None
    assert retry_after({"retry-after": date, "date": said}, None) is None
    assert retry_after({"retry-after-ms": said}, None) is None


def test_milliseconds_are_the_better_retry_after() -> None:
    assert retry_after({"retry-after-ms": "1250", "retry-after": "2"}, None) == 1_250_000
    assert retry_after({"retry-after-ms": "soon", "retry-after": "2"}, None) == 2 * SECOND


def test_where_nobody_says_how_long_the_limits_that_are_used_up_do() -> None:
    empty = Limit(kind=Kind.REQUESTS, limit=3, remaining=0, resets_in_s=20.0)
    far = Limit(kind=Kind.TOKENS, limit=3, remaining=0, resets_in_s=86_400.0)

    def waits(*limits: Limit, **changes: object) -> int | None:
        seen = refusal(429, **changes)
        return judge(seen, Expect(), Learnt(), model=MODEL, limits=limits).retry_after

    assert waits(empty) == 20 * SECOND
    assert waits(empty, far) == 900 * SECOND
    assert waits(empty, headers={"retry-after": "7"}) == 7 * SECOND
    assert waits(empty, error=VendorError(message="slow down", retry_s=5.0)) == 5 * SECOND
    assert waits(replace(empty, remaining=1)) is None
    good = judge(stream(), Expect(), Learnt(), model=MODEL, limits=(empty,))
    assert good.retry_after is None


def test_only_a_rate_limit_makes_us_wait() -> None:
    limited = ask(refusal(429, headers={"retry-after": "30"}))
    assert until(limited, 0, 60 * SECOND) == 30 * SECOND  # type: ignore[arg-type]
    assert ask(refusal(503, headers={"retry-after": "30"})).retry_after is None


@pytest.mark.parametrize(
    ("width_s", "outcome"),
    [
        (0.0, Outcome.SLOW),
        (0.004, Outcome.SLOW),
        (0.009, Outcome.SELF_OVERLOAD),
        (0.100, Outcome.SELF_OVERLOAD),
    ],
)
def test_a_page_whose_end_we_timed_badly_is_not_slow(width_s: float, outcome: Outcome) -> None:
    line = replace(plain().timeline, end_earliest=0.2 - width_s)
    verdict = judge(replace(plain(), timeline=line), Expect(elapsed_ms=100.0), Learnt(), model=None)
    assert verdict.outcome is outcome


def test_a_wide_interval_is_narrow_beside_a_long_time() -> None:
    line = replace(plain().timeline, end=2.05, end_earliest=2.0)
    assert judge(replace(plain(), timeline=line), Expect(), Learnt(), model=None).outcome is Outcome.OK


def test_what_a_page_says_of_itself_stands_however_badly_it_was_timed() -> None:
    line = replace(plain().timeline, end_earliest=0.1)
    verdict = judge(replace(plain(503), timeline=line), Expect(), Learnt(), model=None)
    assert verdict.outcome is Outcome.HTTP_5XX


ALLOWED = Limits(deadline=10.9, connect_s=0.5)
"""Of looks that start at 10: 900 ms for all, 500 of them to connect."""


def out_of_time(
    own_s: float, phase: Phase = Phase.BODY, *, timer: Timer | None = Timer.TOTAL, end: float = 10.901
) -> Observation:
    sent = 10.02 + own_s
    line = Timeline(start=10.0, connect_s=0.02, own_s=own_s, held_up_s=0.5, request_sent=sent, end=end)
    if phase is Phase.CONNECT:
        line = Timeline(start=10.0, connect_s=end - 10.0 - own_s, own_s=own_s, held_up_s=0.5, end=end)
    seen = fault(FaultKind.TIMEOUT, phase, timer=timer, status=None if phase is Phase.CONNECT else 200)
    return replace(seen, timeline=line)


@pytest.mark.parametrize(
    ("seen", "outcome"),
    [
        (out_of_time(0.0), Outcome.TOTAL_TIMEOUT),
        (out_of_time(0.040), Outcome.TOTAL_TIMEOUT),
        (out_of_time(0.060), Outcome.SELF_OVERLOAD),
        (out_of_time(0.400), Outcome.SELF_OVERLOAD),
        # We were late, but waited for as long as we promise to.
        (out_of_time(0.400, end=11.400), Outcome.TOTAL_TIMEOUT),
        (out_of_time(0.400, end=10.400), Outcome.TOTAL_TIMEOUT),
        (out_of_time(0.400, timer=Timer.STALL), Outcome.STALLED),
        (out_of_time(0.400, timer=Timer.FIRST_TOKEN), Outcome.FIRST_TOKEN_TIMEOUT),
        (out_of_time(0.010, Phase.CONNECT, timer=None, end=10.501), Outcome.CONNECT_TIMEOUT),
        (out_of_time(0.300, Phase.CONNECT, timer=None, end=10.501), Outcome.SELF_OVERLOAD),
    ],
)
def test_a_limit_of_which_we_used_up_a_part_ourselves_is_no_timeout_of_theirs(
    seen: Observation, outcome: Outcome
) -> None:
    verdict = judge(seen, Expect(), Learnt(), model=MODEL, allowed=ALLOWED)
    assert verdict.outcome is outcome, verdict.detail


def test_a_wait_that_no_phase_has_booked_is_ours_only_as_far_as_we_were_held_up() -> None:
    seen = out_of_time(0.400)
    for held_up_s, outcome in (
        (0.0, Outcome.TOTAL_TIMEOUT),
        (0.030, Outcome.TOTAL_TIMEOUT),
        (0.1, Outcome.SELF_OVERLOAD),
    ):
        line = replace(seen.timeline, held_up_s=held_up_s)
        verdict = judge(replace(seen, timeline=line), Expect(), Learnt(), model=MODEL, allowed=ALLOWED)
        assert verdict.outcome is outcome


def test_how_much_of_the_time_was_theirs_is_said() -> None:
    verdict = judge(out_of_time(0.400), Expect(), Learnt(), model=MODEL, allowed=ALLOWED)
    assert verdict.detail == "timeout in body, but of 900 ms it had only 501: the monitor was too busy"


def test_what_a_first_refusal_took_is_theirs_although_it_is_not_measured() -> None:
    seen = out_of_time(0.400)
    line = replace(seen.timeline, asked_before_s=0.395)
    verdict = judge(replace(seen, timeline=line), Expect(), Learnt(), model=MODEL, allowed=ALLOWED)
    assert verdict.outcome is Outcome.TOTAL_TIMEOUT


def test_a_name_that_we_heard_of_late_leaves_less_time_to_connect() -> None:
    line = Timeline(start=10.0, dns_s=0.4, slack_s=0.35, held_up_s=0.35, connect_s=0.1, end=10.501)
    seen = replace(out_of_time(0.0, Phase.CONNECT, timer=None), timeline=line)
    verdict = judge(seen, Expect(), Learnt(), model=MODEL, allowed=ALLOWED)
    assert verdict.outcome is Outcome.SELF_OVERLOAD


def test_what_a_page_says_of_itself_stands_however_little_time_it_had() -> None:
    told = replace(out_of_time(0.400), status=503)
    assert judge(told, Expect(), Learnt(), model=None, allowed=ALLOWED).outcome is Outcome.HTTP_5XX


@pytest.mark.parametrize(("own_s", "outcome"), [(0.0, "assertion_failed"), (0.400, "self_overload")])
def test_a_port_that_had_no_time_to_speak_did_not_stay_silent(own_s: float, outcome: str) -> None:
    line = Timeline(start=10.0, connect_s=0.02, own_s=own_s, held_up_s=own_s, end=10.901)
    seen = Observation(timeline=line, body_matches=False)
    verdict = judge(seen, Expect(body_contains="SSH"), Learnt(), model=None, allowed=ALLOWED)
    assert verdict.outcome == outcome
