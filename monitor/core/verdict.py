"""What the facts of one probe amount to, and why.

`judge` is the only place where an outcome is chosen. It is told what was expected and what
was learnt about the endpoint before; it looks nothing up.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from monitor.core.figures import Figures, measure
from monitor.core.headroom import Limit, http_date, wait
from monitor.core.identity import NOBODY, Known, is_moved_alias, is_same_model
from monitor.core.instant import SECOND, Instant, Span, as_datetime, say
from monitor.core.observation import DETAIL_KEPT, Observation, Timer, VendorError, clean
from monitor.core.outcome import Blame, Outcome
from monitor.core.refusal import is_bad_key, is_filter, is_no_model, is_overload, is_quota
from monitor.core.report import Heard, Standing
from monitor.core.timeline import Channel
from monitor.core.wire import FaultKind, Limits, Phase

_PLAIN_NUMBER = re.compile(r"\d{1,9}(?:\.\d{1,9})?", re.ASCII)
UNSURE_MS = 5.0
UNSURE_SHARE = 0.05
"""A figure that may be off by more than both of these says more about us than about them."""
LONGEST_RETRY_AFTER = Span(900 * SECOND)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expect:
    """What was expected of one probe; None: nothing."""

    answer: str | None = None
    """A substring of the answer, in any case: the reading looks for it, this is for the words."""
    model: str | None = None
    ttft_ms: float | None = None
    output_speed: float | None = None
    elapsed_ms: float | None = None
    status: frozenset[int] = frozenset(range(200, 300))
    body_contains: str | None = None
    """A part of the body, or of the banner, letter by letter."""
    certificate_days: float | None = None
    issuer_contains: str | None = None
    """A part of the name of whoever issued the certificate, letter by letter."""
    version: str | None = None
    """The oldest version of TLS that will do, e.g. `TLSv1.2`: the names are in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Learnt:
    """What earlier probes of an endpoint taught us; it is durable with the belief."""

    identity: str = ""
    """Of the (base_url, model, protocol) that the rest was learnt about."""
    worked: bool = False
    served_model: str | None = None
    protocol: Mapping[str, str] = field(default_factory=dict)
    """The protocol's own notes, e.g. which field a server rejects."""
    known: Known = NOBODY
    """Who answered here lately."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The opinion on one look."""

    outcome: Outcome
    detail: str | None
    """Why, for a person; None for `ok`."""
    figures: Figures
    learnt: Learnt
    retry_after: Span | None = None
    """How long the server asked us to stay away."""

    @property
    def blame(self) -> Blame | None:
        return self.outcome.blame


@dataclass(frozen=True, slots=True)
class _Ruling:
    outcome: Outcome
    detail: str | None = None


def judge(
    seen: Observation,
    expect: Expect,
    learnt: Learnt,
    *,
    model: str | None,
    limits: tuple[Limit, ...] = (),
    received_at: Instant | None = None,
    allowed: Limits | None = None,
) -> Verdict:
    """Judge one look. `model` is the model asked for; None for a plain check. `limits` are those that
    the reply told of, `received_at` when it came, by our own clock; None: nobody knows. `allowed` is the
    time that it was given; None: that is not known."""
    figures = measure(seen)
    ruling = _rule(seen, expect, learnt, figures, model)
    ruling = _cut_short(seen, ruling, allowed) or ruling
    detail = ruling.detail
    if detail is not None:
        detail = clean(detail, DETAIL_KEPT)
    return Verdict(
        outcome=ruling.outcome,
        detail=detail,
        figures=figures,
        learnt=_learn(seen, ruling.outcome, learnt),
        retry_after=_stay_away(seen, limits, received_at) if ruling.outcome is Outcome.RATE_LIMITED else None,
    )


def _rule(seen: Observation, expect: Expect, learnt: Learnt, figures: Figures, model: str | None) -> _Ruling:
    if seen.heard is not None:
        return _reported(seen.heard, expect, figures)
    if seen.fault is not None and seen.fault.kind in _BY_PROXY:
        outcome, advice = _BY_PROXY[seen.fault.kind]
        return _Ruling(outcome, f"{seen.fault.text}. {advice}")
    if seen.fault is not None and seen.fault.phase in _UNCONNECTED:
        return _unconnected(seen)
    if model is None:
        return _plain(seen, expect, figures)
    if seen.status is None:
        return _cut_off(seen)
    if seen.error is not None and seen.error.in_stream:
        return _error_in_stream(seen.error)
    if seen.status != 200:
        return _refusal(seen, learnt, model)
    return _stream(seen, expect, learnt, figures, model)


def _learn(seen: Observation, outcome: Outcome, before: Learnt) -> Learnt:
    notes = {**before.protocol, **seen.learnt} if seen.learnt else before.protocol
    worked = before.worked or outcome.works
    served = before.served_model
    if served is None and outcome is Outcome.OK:
        served = seen.served_model
    if notes is before.protocol and worked == before.worked and served == before.served_model:
        return before
    return replace(before, worked=worked, served_model=served, protocol=notes)


# When our own limit ran out


_LATE = frozenset({Outcome.DNS_FAILURE, Outcome.CONNECT_TIMEOUT, Outcome.TOTAL_TIMEOUT})
"""What a limit may be behind of which we used up a part; those of a first token and a stall run by stamps."""


def _cut_short(seen: Observation, ruling: _Ruling, allowed: Limits | None) -> _Ruling | None:
    """The time was up, and much of it was ours: so they had not what we promise to wait for."""
    fault, line = seen.fault, seen.timeline
    late = ruling.outcome in _LATE and fault is not None and fault.kind is FaultKind.TIMEOUT
    mute = ruling.outcome is Outcome.ASSERTION_FAILED and fault is None and seen.status is None
    if allowed is None or line.end is None or not (late or (mute and seen.body_matches is False)):
        return None
    limit_s = allowed.deadline - line.start
    if fault is not None and fault.phase in _UNCONNECTED:
        limit_s = min(limit_s, allowed.connect_s)
    passed_s = line.end - line.start
    # What no phase has booked may also be a wait for the other side: ours is only what held us up.
    ours_s = min(line.own_s - line.asked_before_s + line.slack_s + line.sending_s, line.held_up_s)
    theirs_s = passed_s - ours_s
    if passed_s < limit_s or limit_s - theirs_s <= max(UNSURE_MS / 1000.0, UNSURE_SHARE * limit_s):
        return None
    why = "nothing of what was expected came" if fault is None else fault.text
    return _Ruling(
        Outcome.SELF_OVERLOAD,
        f"{why}, but of {limit_s * 1000.0:,.0f} ms it had only {max(0.0, theirs_s) * 1000.0:,.0f}:"
        " the monitor was too busy",
    )


_UNCONNECTED = (Phase.DNS, Phase.CONNECT, Phase.TLS)


# Faults before the request was sent


_BY_PROXY = {
    FaultKind.PROXY_DENIED: (Outcome.AUTH_FAILED, "Check the login in `proxy`, and what the proxy allows."),
    FaultKind.PROXY_UNFIT: (Outcome.BAD_REQUEST, "Check `proxy`."),
}
"""Our own proxy turned us away: ours to mend, and no news of the provider."""


def _unconnected(seen: Observation) -> _Ruling:
    fault = seen.fault
    assert fault is not None
    if fault.kind is FaultKind.LOCAL:
        return _Ruling(
            Outcome.LOCAL_NETWORK, f"{fault.text}. The monitor's own machine or network is at fault."
        )
    if fault.phase is Phase.DNS:
        return _Ruling(Outcome.DNS_FAILURE, fault.text)
    if fault.phase is Phase.TLS and fault.kind is FaultKind.CLOSED:
        return _Ruling(Outcome.TLS_FAILURE, fault.text)
    return _Ruling(_BEFORE_REQUEST.get(fault.kind, Outcome.CONNECTION_RESET), fault.text)


_BEFORE_REQUEST = {
    FaultKind.TIMEOUT: Outcome.CONNECT_TIMEOUT,
    FaultKind.REFUSED: Outcome.CONNECT_REFUSED,
    FaultKind.UNREACHABLE: Outcome.HOST_UNREACHABLE,
    FaultKind.CERTIFICATE: Outcome.TLS_FAILURE,
    FaultKind.TLS: Outcome.TLS_FAILURE,
    # Looked up by a proxy, which says so while we connect.
    FaultKind.NO_SUCH_NAME: Outcome.DNS_FAILURE,
    FaultKind.RESOLVER: Outcome.DNS_FAILURE,
}


def _cut_off(seen: Observation) -> _Ruling:
    """The request was on its way or sent, and no status came."""
    fault = seen.fault
    if fault is None:
        return _Ruling(Outcome.MALFORMED_RESPONSE, seen.malformed or "no status line came")
    return _broken(seen, none_yet=True)


def _broken(seen: Observation, *, none_yet: bool) -> _Ruling:
    """A fault on a connection that stood."""
    fault = seen.fault
    assert fault is not None
    if fault.kind is FaultKind.TIMEOUT:
        if seen.timer is Timer.FIRST_TOKEN:
            return _Ruling(Outcome.FIRST_TOKEN_TIMEOUT, fault.text)
        if seen.timer is Timer.STALL:
            return _Ruling(Outcome.STALLED, fault.text)
        return _Ruling(Outcome.TOTAL_TIMEOUT, fault.text)
    if fault.kind in _WHENEVER:
        return _Ruling(_WHENEVER[fault.kind], fault.text)
    if none_yet and fault.kind in (FaultKind.TLS, FaultKind.CERTIFICATE):
        # A server can refuse our side of the handshake after we took its own for good.
        return _Ruling(Outcome.TLS_FAILURE, fault.text)
    if none_yet or fault.kind is FaultKind.RESET:
        return _Ruling(Outcome.CONNECTION_RESET, fault.text)
    return _Ruling(Outcome.TRUNCATED, fault.text)


_WHENEVER = {
    FaultKind.LOCAL: Outcome.LOCAL_NETWORK,
    FaultKind.MALFORMED: Outcome.MALFORMED_RESPONSE,
    FaultKind.TOO_LARGE: Outcome.MALFORMED_RESPONSE,
    FaultKind.UNREACHABLE: Outcome.HOST_UNREACHABLE,
}
"""What means the same before the answer and in the middle of it."""


# Plain checks


def _plain(seen: Observation, expect: Expect, figures: Figures) -> _Ruling:
    """Only HTTP has a status; what has none and no fault went as far as it was meant to."""
    if seen.status is not None and seen.status not in expect.status:
        return _unexpected_status(seen.status, expect.status)
    if seen.fault is not None:
        return _broken(seen, none_yet=seen.status is None)
    unmet = _unmet(seen, expect)
    if unmet is not None:
        return _Ruling(Outcome.ASSERTION_FAILED, unmet)
    return _mistimed(figures) or _slow(figures, expect) or _certificate(seen, expect) or _Ruling(Outcome.OK)


def _unmet(seen: Observation, expect: Expect) -> str | None:
    """What was expected and is not so; None: all of it is."""
    shown = seen.certificate
    if seen.body_matches is False:
        what = "banner" if seen.status is None else "body"
        begins = seen.body[:200] or "(empty)"
        return f'the {what} does not contain "{expect.body_contains}"; it begins: {begins}'
    if seen.missing:
        wanted = ", ".join(f'"{text}"' for text in seen.missing)
        return f"not among the answers: {wanted}; what came: {', '.join(seen.answers)}"
    if (
        shown is not None
        and expect.issuer_contains is not None
        and expect.issuer_contains not in shown.issuer
    ):
        return f'the issuer does not contain "{expect.issuer_contains}"; it is {shown.issuer}'
    if shown is not None and expect.version is not None and shown.version < expect.version:
        return f"the server speaks {shown.version}, expected {expect.version} or newer"
    return None


def _unexpected_status(status: int, expected: frozenset[int]) -> _Ruling:
    wanted = _status_words(expected)
    text = f"status is {status}, expected {wanted}"
    if status == 429:
        return _Ruling(Outcome.RATE_LIMITED, text)
    return _Ruling(Outcome.HTTP_5XX if status >= 500 else Outcome.ASSERTION_FAILED, text)


def _status_words(expected: frozenset[int]) -> str:
    """`200`, `200-299`, `200-299 or 404`: runs of numbers as people write them."""
    runs: list[list[int]] = []
    for status in sorted(expected):
        if runs and status == runs[-1][1] + 1:
            runs[-1][1] = status
        else:
            runs.append([status, status])
    return " or ".join(str(low) if low == high else f"{low}-{high}" for low, high in runs)


def _certificate(seen: Observation, expect: Expect) -> _Ruling | None:
    wanted, left = expect.certificate_days, seen.certificate_days
    if wanted is None or left is None or left >= wanted:
        return None
    whose = "" if seen.certificate is None else f" of {seen.certificate.first}"
    return _Ruling(
        Outcome.CERTIFICATE_EXPIRING,
        f"the certificate{whose} expires in {left:.1f} days, expected at least {wanted:g}",
    )


# Endpoints that report by themselves


def _reported(heard: Heard, expect: Expect, figures: Figures) -> _Ruling:
    report, rhythm = heard.report, heard.rhythm
    if heard.standing is Standing.OK:
        return _slow(figures, expect) or _Ruling(Outcome.OK)
    if report is None or heard.standing in (Standing.SILENT, Standing.WAITING):
        since = "no report yet" if report is None else f"no report since {_stamp(report.at)}"
        return _Ruling(
            Outcome.ASSERTION_FAILED,
            f"{since}; one is expected every {say(rhythm.every)}, with a grace of {say(rhythm.grace)}",
        )
    outcome = Outcome.SLOW if heard.standing is Standing.DEGRADED else Outcome.ASSERTION_FAILED
    return _Ruling(outcome, f"it reported {report.said}: {report.message or '(no message)'}")


def _stamp(moment: Instant) -> str:
    """`2026-11-21 22:00:05 UTC`."""
    return f"{as_datetime(moment):%Y-%m-%d %H:%M:%S} UTC"


# Language models


def _error_in_stream(error: VendorError) -> _Ruling:
    said = _said(error)
    if is_overload(error):
        return _Ruling(Outcome.OVERLOADED, f"error inside status 200: {said}")
    return _Ruling(Outcome.STREAM_ERROR, f"error inside status 200: {said}")


def _said(error: VendorError | None, body: str = "") -> str:
    if error is None:
        return body[:300] or "(empty body)"
    label = ", ".join(part for part in (error.type, error.code) if part)
    message = error.message or "(no message)"
    return f"{message} ({label})" if label else message


def _refusal(seen: Observation, learnt: Learnt, model: str) -> _Ruling:
    """A status other than 200 from a language model."""
    status, error = seen.status, seen.error or _in_words(seen.body)
    assert status is not None
    # RFC 9110, 15: what HTTP does not have is taken for a failure of the server.
    unheard = "" if status < 600 else ", which HTTP does not have"
    said = f"status {status}{unheard}: {_said(seen.error, seen.body)}"
    if status in (400, 429) and is_quota(error):
        return _Ruling(Outcome.QUOTA_EXHAUSTED, f"{said}. Add credit or raise the limit at the provider.")
    if status == 429:
        return _Ruling(Outcome.RATE_LIMITED, said)
    if status in _BY_STATUS:
        outcome, advice = _BY_STATUS[status]
        return _Ruling(outcome, f"{said}{advice}")
    if status == 503 and is_overload(error):
        return _Ruling(Outcome.OVERLOADED, said)
    if status >= 500:
        return _Ruling(Outcome.HTTP_5XX, said)
    if status < 300:
        return _Ruling(Outcome.MALFORMED_RESPONSE, f"{said}. An answer has status 200: check base_url.")
    if status in (404, 410) or (status == 400 and is_no_model(error)):
        return _no_model(said, learnt, model)
    if status == 400 and is_bad_key(error):
        return _Ruling(Outcome.AUTH_FAILED, f"{said}. Check api_key.")
    if is_filter(error):
        return _Ruling(Outcome.CONTENT_FILTERED, f"{said}. Change the prompt of this endpoint.")
    if 300 <= status < 400:
        return _Ruling(
            Outcome.BAD_REQUEST,
            f"status {status}: redirects are not followed; put the final address into base_url",
        )
    return _Ruling(Outcome.BAD_REQUEST, said)


def _in_words(body: str) -> VendorError | None:
    """What a refusal in plain words says: not a page, whose markup may hold any word, nor other JSON."""
    words = body.strip()
    return VendorError(message=words) if words and words[0] not in "<{[" else None


_BY_STATUS: dict[int, tuple[Outcome, str]] = {
    401: (Outcome.AUTH_FAILED, ". Check api_key."),
    403: (Outcome.AUTH_FAILED, ". Check api_key and its permissions."),
    402: (Outcome.QUOTA_EXHAUSTED, ". Add credit at the provider."),
    408: (Outcome.TOTAL_TIMEOUT, ""),
    529: (Outcome.OVERLOADED, ""),
}


def _no_model(said: str, learnt: Learnt, model: str) -> _Ruling:
    if learnt.worked:
        return _Ruling(Outcome.MODEL_REMOVED, f"{said}. {model} worked here before.")
    return _Ruling(Outcome.MODEL_NOT_FOUND, f"{said}. {model} never worked here: check model and base_url.")


def _stream(seen: Observation, expect: Expect, learnt: Learnt, figures: Figures, model: str) -> _Ruling:
    """Status 200: what did the stream hold?"""
    for rule in (_incomplete, _nothing_said):
        found = rule(seen)
        if found is not None:
            return found
    if seen.answer_matches is False:
        return _Ruling(
            Outcome.WRONG_ANSWER,
            f'the answer does not contain "{expect.answer}"; it begins: {seen.answer[:200]}',
        )
    return (
        _mistimed(figures)
        or _swapped(seen, expect, learnt, model)
        or _slow(figures, expect)
        or _certificate(seen, expect)
        or _Ruling(Outcome.OK)
    )


def _incomplete(seen: Observation) -> _Ruling | None:
    if seen.fault is not None and not seen.terminal:
        return _broken(seen, none_yet=False)
    if seen.malformed is not None:
        return _Ruling(Outcome.MALFORMED_RESPONSE, seen.malformed)
    if seen.filtered:
        return _Ruling(
            Outcome.CONTENT_FILTERED,
            "the provider's content filter stopped the answer. Change the prompt of this endpoint.",
        )
    if not seen.terminal:
        events = len(seen.timeline.tokens)
        return _Ruling(
            Outcome.TRUNCATED,
            f"the stream ended without a reason for it or a closing event; events with text: {events}",
        )
    return None


_CUT = frozenset(
    {
        "length", "max_tokens", "MAX_TOKENS", "max_output_tokens", "model_length",
        "model_context_window_exceeded",
    }
)  # fmt: skip
"""What vendors call the end of an answer that was as long as we allowed."""


def _nothing_said(seen: Observation) -> _Ruling | None:
    if any(token.channel is not Channel.REASONING for token in seen.timeline.tokens):
        return None
    # Tokens that were counted and not shown are hidden reasoning: not every vendor tells them apart.
    counted = bool(seen.usage and (seen.usage.reasoning_tokens or seen.usage.output_tokens))
    if ((seen.timeline.tokens or counted) and seen.finish_reason in _CUT) or _reasoned_to_the_limit(seen):
        return _Ruling(
            Outcome.NO_ANSWER,
            "all tokens went into reasoning, none into the answer. Raise max_tokens of this endpoint.",
        )
    return _Ruling(Outcome.EMPTY_COMPLETION, f"finish_reason {seen.finish_reason or 'unknown'}, but no text")


def _reasoned_to_the_limit(seen: Observation) -> bool:
    """As many tokens as we allowed, reasoning among them, whatever the server gives for a reason."""
    usage, allowed = seen.usage, seen.tokens_allowed
    if usage is None or allowed is None or (usage.output_tokens or 0) < allowed:
        return False
    return bool(seen.timeline.tokens or usage.reasoning_tokens)


def _swapped(seen: Observation, expect: Expect, learnt: Learnt, model: str) -> _Ruling | None:
    served = seen.served_model
    if served is None:
        return None
    if expect.model is not None:
        if is_same_model(served, expect.model):
            return None
        return _Ruling(Outcome.MODEL_SWAPPED, f"{served} answered, expected {expect.model}")
    usual = learnt.served_model
    if usual is None or is_same_model(served, usual) or is_moved_alias(model, usual, served):
        return None
    return _Ruling(
        Outcome.MODEL_SWAPPED,
        f"{served} answered; until now it was {usual} (asked for {model})",
    )


def _mistimed(figures: Figures) -> _Ruling | None:
    """We came too late to tell when the first token, or all of a page, was there: no figure of theirs."""
    if figures.ttft_ms is not None:
        what, width, length = "the first token", figures.ttft_uncertainty_ms, figures.ttft_ms
    else:
        what, width, length = "the end of the answer", figures.total_uncertainty_ms, figures.total_ms
    if width is None or width <= UNSURE_MS or width <= UNSURE_SHARE * length:
        return None
    return _Ruling(
        Outcome.SELF_OVERLOAD, f"{what} is known only to within {width:,.0f} ms: the monitor was too busy"
    )


def _slow(figures: Figures, expect: Expect) -> _Ruling | None:
    ttft, total, speed = figures.ttft_ms, figures.total_ms, figures.output_speed
    if expect.ttft_ms is not None and ttft is not None and ttft > expect.ttft_ms:
        words = f"first token after {ttft:,.0f} ms, expected at most {expect.ttft_ms:,.0f} ms"
    elif expect.elapsed_ms is not None and total > expect.elapsed_ms:
        words = f"took {total:,.0f} ms, expected at most {expect.elapsed_ms:,.0f} ms"
    elif expect.output_speed is not None and speed is not None and speed < expect.output_speed:
        words = f"{speed:,.1f} tokens/s, expected at least {expect.output_speed:,.1f}"
    else:
        return None
    return _Ruling(Outcome.SLOW, words)


def _stay_away(seen: Observation, limits: tuple[Limit, ...], received_at: Instant | None) -> Span | None:
    """What the headers ask for, else the body; else until the limits that are used up come back."""
    said = retry_after(seen.headers, received_at)
    if said is None and seen.error is not None and seen.error.retry_s:
        said = _bounded(seen.error.retry_s)
    if said is None:
        back = wait(limits)
        said = None if back is None else _bounded(back / SECOND)
    return said


def retry_after(headers: Mapping[str, str], received_at: Instant | None) -> Span | None:
    """What `Retry-After-Ms` or `Retry-After` asks for, at most 15 minutes; None if neither makes sense.

    A date is taken relative to the server's own `Date`, so that our clocks need not agree; relative to
    `received_at` where that is missing or makes no sense.
    """
    exact = headers.get("retry-after-ms", "").strip()
    if _PLAIN_NUMBER.fullmatch(exact):
        return _bounded(float(exact) / 1_000)
    said = headers.get("retry-after", "").strip()
    if _PLAIN_NUMBER.fullmatch(said):
        return _bounded(float(said))
    then, now = http_date(said), http_date(headers.get("date", ""))
    if now is None:
        now = received_at
    return None if now is None or then is None else _bounded((then - now) / SECOND)


def _bounded(seconds: float) -> Span | None:
    if not 0 < seconds < 1e9:
        return None
    return Span(round(min(seconds * SECOND, LONGEST_RETRY_AFTER)))


def until(verdict: Verdict, at: Instant, interval: Span) -> Instant | None:
    """When a throttled endpoint may be asked again: at most 15 minutes or 15 intervals on."""
    if verdict.retry_after is None:
        return None
    return Instant(at + min(verdict.retry_after, longest_wait(interval)))


def longest_wait(interval: Span) -> Span:
    """No server keeps us away for longer, whatever it asks for."""
    return Span(min(LONGEST_RETRY_AFTER, 15 * interval))
