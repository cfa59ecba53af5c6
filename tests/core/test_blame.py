"""The one right outcome of every fault, in every phase, and of every status."""

import errno
from dataclasses import replace

import pytest

from monitor.core.observation import Observation, Timer, VendorError
from monitor.core.outcome import Blame, Outcome
from monitor.core.timeline import Channel, Timeline, Token
from monitor.core.verdict import Expect, Learnt, judge
from monitor.core.wire import Certificate, Fault, FaultKind, Phase

K, P, Out = FaultKind, Phase, Outcome

# Faults: a row for each kind, a column for each phase. `–`: that cannot be.

FAULTS = """
              dns            connect           tls               request           headers            body
timeout       dns_failure    connect_timeout   connect_timeout   total_timeout     total_timeout      total_timeout
no_such_name  dns_failure    dns_failure       –                 –                 –                  –
resolver      dns_failure    dns_failure       –                 –                 –                  –
refused       dns_failure    connect_refused   –                 –                 –                  –
unreachable   dns_failure    host_unreachable  host_unreachable  host_unreachable  host_unreachable   host_unreachable
reset         dns_failure    connection_reset  connection_reset  connection_reset  connection_reset   connection_reset
closed        –              connection_reset  tls_failure       connection_reset  connection_reset   truncated
certificate   –              –                 tls_failure       tls_failure       tls_failure        truncated
tls           –              –                 tls_failure       tls_failure       tls_failure        truncated
malformed     –              –                 –                 malformed_response malformed_response malformed_response
too_large     –              –                 –                 malformed_response malformed_response malformed_response
local         local_network  local_network     local_network     local_network     local_network      local_network
proxy_denied  auth_failed    auth_failed       auth_failed       auth_failed       auth_failed        auth_failed
proxy_unfit   bad_request    bad_request       bad_request       bad_request       bad_request        bad_request
"""


def table(text: str) -> list[tuple[str, str, str]]:
    """Row, column and cell, without those that cannot be."""
    head, *rows = (line.split() for line in text.strip().splitlines())
    return [
        (kind, column, cell)
        for kind, *cells in rows
        for column, cell in zip(head, cells, strict=True)
        if cell != "–"
    ]


def line(tokens: int = 0, **moments: float) -> Timeline:
    events = [
        Token(at=0.2 + i / 10, earliest=0.2 + i / 10, characters=4, channel=Channel.ANSWER, ended_read=True)
        for i in range(tokens)
    ]
    return Timeline(**{"start": 0.0, "connect_s": 0.01, "end": 1.5} | moments, tokens=events)  # type: ignore[arg-type]


def stopped(kind: str, phase: str, **more: object) -> Observation:
    """A look that this fault ended."""
    status = 200 if phase == "body" else None
    fault = Fault(FaultKind(kind), Phase(phase), f"{kind} in {phase}")
    return replace(Observation(timeline=line(), fault=fault, status=status), **more)  # type: ignore[arg-type]


def amounts(
    seen: Observation, *, model: str | None = "nano", learnt: Learnt = Learnt(), **expect: object
) -> str:
    verdict = judge(seen, Expect(**expect), learnt, model=model)  # type: ignore[arg-type]
    assert (verdict.detail is None) is (verdict.outcome is Outcome.OK)
    return verdict.outcome.value


def test_the_table_has_every_kind_and_every_phase() -> None:
    head, *rows = (line.split() for line in FAULTS.strip().splitlines())
    assert head == list(Phase)
    assert [row[0] for row in rows] == list(FaultKind)


@pytest.mark.parametrize(("kind", "phase", "outcome"), table(FAULTS))
@pytest.mark.parametrize("model", ["nano", None])
def test_a_fault_is_judged_by_its_kind_and_its_phase(
    kind: str, phase: str, outcome: str, model: str | None
) -> None:
    assert amounts(stopped(kind, phase), model=model) == outcome


@pytest.mark.parametrize(("kind", "phase", "outcome"), table(FAULTS))
def test_no_text_of_a_fault_changes_what_it_is(kind: str, phase: str, outcome: str) -> None:
    lies = "certificate has expired; connection refused; timed out; NXDOMAIN; out of memory"
    told = Fault(FaultKind(kind), Phase(phase), lies, errno=errno.ECONNREFUSED)
    assert amounts(stopped(kind, phase, fault=told)) == outcome


@pytest.mark.parametrize("kind", FaultKind)
@pytest.mark.parametrize("phase", Phase)
def test_what_is_surely_ours_is_never_the_provider_s_and_nothing_else_is_called_ours(
    kind: FaultKind, phase: Phase
) -> None:
    blame = judge(stopped(kind, phase), Expect(), Learnt(), model="nano").blame
    ours = {K.LOCAL: Blame.MONITOR, K.PROXY_DENIED: Blame.CONFIG, K.PROXY_UNFIT: Blame.CONFIG}
    assert blame is ours.get(kind, Blame.PROVIDER)


TIMERS = """
              request              headers              body
first_token   first_token_timeout  first_token_timeout  first_token_timeout
stall         –                    –                    stalled
total         total_timeout        total_timeout        total_timeout
"""


@pytest.mark.parametrize(("timer", "phase", "outcome"), table(TIMERS))
def test_a_timeout_is_that_of_the_timer_that_ran_out(timer: str, phase: str, outcome: str) -> None:
    assert amounts(stopped("timeout", phase, timer=Timer(timer))) == outcome


def test_a_timer_of_ours_says_nothing_about_a_connection_that_never_stood() -> None:
    assert amounts(stopped("timeout", "connect", timer=Timer.FIRST_TOKEN)) == "connect_timeout"


# Statuses of language models

NO_MODEL, QUOTA = VendorError(code="model_not_found"), VendorError(code="insufficient_quota")
BUSY, FILTER = VendorError(type="overloaded_error"), VendorError(code="content_filter")
KEY, OTHER = VendorError(code="invalid_api_key"), VendorError(message="temperature is too high")

STATUSES: list[tuple[int, VendorError | None, Outcome]] = [
    (101, None, Out.MALFORMED_RESPONSE),
    (201, None, Out.MALFORMED_RESPONSE),
    (202, None, Out.MALFORMED_RESPONSE),
    (204, None, Out.MALFORMED_RESPONSE),
    (301, None, Out.BAD_REQUEST),
    (302, None, Out.BAD_REQUEST),
    (304, None, Out.BAD_REQUEST),
    (307, None, Out.BAD_REQUEST),
    (308, None, Out.BAD_REQUEST),
    (400, None, Out.BAD_REQUEST),
    (400, OTHER, Out.BAD_REQUEST),
    (400, NO_MODEL, Out.MODEL_NOT_FOUND),
    (400, KEY, Out.AUTH_FAILED),
    (400, QUOTA, Out.QUOTA_EXHAUSTED),
    (400, FILTER, Out.CONTENT_FILTERED),
    (401, None, Out.AUTH_FAILED),
    (401, QUOTA, Out.AUTH_FAILED),
    (402, None, Out.QUOTA_EXHAUSTED),
    (402, OTHER, Out.QUOTA_EXHAUSTED),
    (403, None, Out.AUTH_FAILED),
    (404, None, Out.MODEL_NOT_FOUND),
    (405, None, Out.BAD_REQUEST),
    (406, None, Out.BAD_REQUEST),
    (408, None, Out.TOTAL_TIMEOUT),
    (409, None, Out.BAD_REQUEST),
    (410, None, Out.MODEL_NOT_FOUND),
    (413, None, Out.BAD_REQUEST),
    (415, None, Out.BAD_REQUEST),
    (418, None, Out.BAD_REQUEST),
    (422, OTHER, Out.BAD_REQUEST),
    (429, None, Out.RATE_LIMITED),
    (429, OTHER, Out.RATE_LIMITED),
    (429, BUSY, Out.RATE_LIMITED),
    (429, QUOTA, Out.QUOTA_EXHAUSTED),
    (451, None, Out.BAD_REQUEST),
    (499, None, Out.BAD_REQUEST),
    (500, None, Out.HTTP_5XX),
    (500, QUOTA, Out.HTTP_5XX),
    (501, None, Out.HTTP_5XX),
    (502, None, Out.HTTP_5XX),
    (503, None, Out.HTTP_5XX),
    (503, OTHER, Out.HTTP_5XX),
    (503, BUSY, Out.OVERLOADED),
    (504, None, Out.HTTP_5XX),
    (520, None, Out.HTTP_5XX),
    (529, None, Out.OVERLOADED),
    (599, None, Out.HTTP_5XX),
    (600, None, Out.HTTP_5XX),
    (999, None, Out.HTTP_5XX),
]


@pytest.mark.parametrize(("status", "error", "outcome"), STATUSES)
def test_a_status_of_a_language_model(status: int, error: VendorError | None, outcome: Outcome) -> None:
    assert amounts(Observation(timeline=line(), status=status, error=error)) == outcome


@pytest.mark.parametrize(("status", "error"), [(404, None), (410, None), (400, NO_MODEL)])
def test_a_model_that_worked_here_before_was_removed(status: int, error: VendorError | None) -> None:
    seen = Observation(timeline=line(), status=status, error=error)
    assert amounts(seen, learnt=Learnt(worked=True)) == "model_removed"


@pytest.mark.parametrize("kind", [K.RESET, K.CLOSED, K.TIMEOUT])
@pytest.mark.parametrize(
    ("status", "outcome"), [(401, "auth_failed"), (429, "rate_limited"), (503, "http_5xx")]
)
def test_a_refusal_whose_body_breaks_off_is_still_that_refusal(kind: str, status: int, outcome: str) -> None:
    assert amounts(stopped(kind, "body", status=status)) == outcome


# Streams of status 200


def stream(**changes: object) -> Observation:
    good = Observation(
        timeline=line(8, request_sent=0.05), status=200, answer="pong", terminal=True, finish_reason="stop"
    )
    return replace(good, **changes)  # type: ignore[arg-type]


IN_STREAM = VendorError(message="boom", in_stream=True)
CUT = Fault(K.CLOSED, P.BODY, "cut")
NOTHING = {"timeline": line(request_sent=0.05), "answer": ""}


@pytest.mark.parametrize(
    ("seen", "outcome"),
    [
        (stream(), Out.OK),
        (stream(finish_reason="length"), Out.OK),
        (stream(error=IN_STREAM), Out.STREAM_ERROR),
        (stream(error=IN_STREAM, **NOTHING), Out.STREAM_ERROR),
        (stream(error=replace(IN_STREAM, type="overloaded_error")), Out.OVERLOADED),
        (stream(terminal=False), Out.TRUNCATED),
        (stream(terminal=False, fault=CUT), Out.TRUNCATED),
        (stream(terminal=False, fault=Fault(K.RESET, P.BODY, "rst")), Out.CONNECTION_RESET),
        (stream(terminal=True, fault=CUT), Out.OK),
        (stream(terminal=True, fault=Fault(K.TIMEOUT, P.BODY, "late")), Out.OK),
        (stream(malformed="not JSON"), Out.MALFORMED_RESPONSE),
        (stream(**NOTHING), Out.EMPTY_COMPLETION),
        (stream(**NOTHING, terminal=False), Out.TRUNCATED),
        (stream(filtered=True), Out.CONTENT_FILTERED),
    ],
)
def test_status_200_proves_nothing(seen: Observation, outcome: Outcome) -> None:
    assert amounts(seen) == outcome


# Plain checks

PLAIN: list[tuple[int, Outcome]] = [
    (200, Out.OK),
    (204, Out.OK),
    (299, Out.OK),
    (101, Out.ASSERTION_FAILED),
    (301, Out.ASSERTION_FAILED),
    (400, Out.ASSERTION_FAILED),
    (401, Out.ASSERTION_FAILED),
    (402, Out.ASSERTION_FAILED),
    (403, Out.ASSERTION_FAILED),
    (404, Out.ASSERTION_FAILED),
    (408, Out.ASSERTION_FAILED),
    (429, Out.RATE_LIMITED),
    (500, Out.HTTP_5XX),
    (503, Out.HTTP_5XX),
    (529, Out.HTTP_5XX),
    (999, Out.HTTP_5XX),
]


@pytest.mark.parametrize(("status", "outcome"), PLAIN)
def test_a_status_of_a_page(status: int, outcome: Outcome) -> None:
    seen = Observation(timeline=line(request_sent=0.1), status=status)
    assert amounts(seen, model=None) == outcome
    assert amounts(seen, model=None, status=frozenset({status})) == "ok"


SHOWN = Certificate(days=9.0, first="Between", issuer="O=Acme", version="TLSv1.2")


@pytest.mark.parametrize(
    ("seen", "expect", "outcome", "detail"),
    [
        ({}, {}, Out.OK, None),
        ({}, {"elapsed_ms": 1400.0}, Out.SLOW, "took 1,500 ms, expected at most 1,400 ms"),
        (
            {"body_matches": False, "body": "220 x"},
            {"body_contains": "SSH"},
            Out.ASSERTION_FAILED,
            'the banner does not contain "SSH"; it begins: 220 x',
        ),
        (
            {"answers": ("a", "b"), "missing": ("c", "d")},
            {},
            Out.ASSERTION_FAILED,
            'not among the answers: "c", "d"; what came: a, b',
        ),
        (
            {"certificate": SHOWN, "certificate_days": 9.0},
            {"certificate_days": 14.0},
            Out.CERTIFICATE_EXPIRING,
            "the certificate of Between expires in 9.0 days, expected at least 14",
        ),
        ({"certificate": SHOWN, "certificate_days": 9.0}, {"certificate_days": 9.0}, Out.OK, None),
        (
            {"certificate": SHOWN},
            {"version": "TLSv1.3"},
            Out.ASSERTION_FAILED,
            "the server speaks TLSv1.2, expected TLSv1.3 or newer",
        ),
        ({"certificate": SHOWN}, {"version": "TLSv1.2", "issuer_contains": "Acme"}, Out.OK, None),
        (
            {"certificate": SHOWN},
            {"issuer_contains": "Encrypt"},
            Out.ASSERTION_FAILED,
            'the issuer does not contain "Encrypt"; it is O=Acme',
        ),
    ],
)
def test_what_is_no_http_is_judged_by_what_is_expected(
    seen: dict[str, object], expect: dict[str, object], outcome: Outcome, detail: str | None
) -> None:
    found = Observation(timeline=line(own_s=0.0), **seen)  # type: ignore[arg-type]
    verdict = judge(found, Expect(**expect), Learnt(), model=None)  # type: ignore[arg-type]
    assert (verdict.outcome, verdict.detail) == (outcome, detail)


def test_without_a_request_the_time_is_that_of_the_phases_as_far_as_they_came() -> None:
    whole = Timeline(start=5.0, dns_s=0.1, connect_s=0.2, tls_s=0.3, own_s=0.05)
    whole.end = whole.end_earliest = whole.stood()
    verdict = judge(Observation(timeline=whole), Expect(), Learnt(), model=None)
    assert verdict.figures.total_ms == pytest.approx(600.0)
    assert verdict.figures.total_uncertainty_ms == 0.0
    half = Timeline(start=5.0, dns_s=0.1, connect_s=0.2, own_s=0.05, end=5.35)
    failed = stopped("refused", "connect", timeline=half)
    assert judge(failed, Expect(), Learnt(), model=None).figures.total_ms == pytest.approx(300.0)
