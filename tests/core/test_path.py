"""What may be our own failure, and what shows that it is not."""

import errno
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.figures import Figures
from monitor.core.instant import MINUTE, SECOND, Instant
from monitor.core.observation import Observation
from monitor.core.outcome import Outcome
from monitor.core.path import (
    Answers,
    Blind,
    Glimpse,
    Need,
    Path,
    answered_at,
    doubt,
    incident_of,
    lost,
    need_of,
    notice,
    ours,
    reason,
    suspicion,
)
from monitor.core.report import Heard, Rhythm, Standing
from monitor.core.timeline import Timeline
from monitor.core.verdict import Learnt, Verdict
from monitor.core.wire import Fault, FaultKind, Phase

START = Instant(1_800_000_000 * SECOND)
PUBLIC, PRIVATE, LOOPBACK = "203.0.113.7", "192.168.1.20", "127.0.0.1"


def seen(
    kind: FaultKind | None = None,
    phase: Phase = Phase.CONNECT,
    *,
    peers: tuple[str, ...] = (PUBLIC,),
    status: int | None = None,
    code: int | None = None,
) -> Observation:
    line = Timeline(
        start=100.0, dns_s=0.01, end=110.0, headers=None if status is None else 101.0, peers=peers
    )
    fault = None if kind is None else Fault(kind, phase, "it failed", code)
    return Observation(timeline=line, fault=fault, status=status)


def verdict(outcome: Outcome) -> Verdict:
    return Verdict(outcome=outcome, detail="it failed", figures=Figures(), learnt=Learnt())


def doubted(
    found: Observation, outcome: Outcome, *, worked: bool = False, usual: Need | None = None
) -> Need | None:
    return doubt(found, verdict(outcome), worked=worked, usual=usual)


def glimpse(
    endpoint: str = "a/one",
    *,
    at_s: float = 0.0,
    ended: float = 10.0,
    answered: float | None = None,
    silent: Need | None = None,
    need: Need = Need.INTERNET,
    resolved: bool = False,
) -> Glimpse:
    return Glimpse(
        endpoint=endpoint,
        vendor=endpoint.partition("/")[0],
        at=Instant(START + round(at_s * SECOND)),
        began=at_s,
        ended=ended,
        lasts_s=60.0,
        need=need,
        answered=answered,
        doubt=silent,
        resolved=resolved,
    )


# Where to


@pytest.mark.parametrize(
    ("address", "need"),
    [
        ("127.0.0.1", None),
        ("::1", None),
        ("::ffff:127.0.0.1", None),
        ("0.0.0.0", None),
        ("10.1.2.3", Need.LAN),
        ("172.31.0.1", Need.LAN),
        ("169.254.1.1", Need.LAN),
        ("fe80::1%eth0", Need.LAN),
        ("fd00::1", Need.LAN),
        ("172.32.0.1", Need.INTERNET),
        ("1.1.1.1", Need.INTERNET),
        ("2606:4700::1111", Need.INTERNET),
    ],
)
def test_an_address_says_what_it_takes_to_reach_it(address: str, need: Need | None) -> None:
    assert need_of((address,)) is need


def test_of_several_addresses_the_hardest_to_reach_counts() -> None:
    assert need_of((LOOPBACK, PRIVATE)) is Need.LAN
    assert need_of((PRIVATE, PUBLIC)) is Need.INTERNET
    assert need_of(()) is None


# What is doubted


@pytest.mark.parametrize("phase", [Phase.CONNECT, Phase.TLS, Phase.REQUEST, Phase.HEADERS])
def test_silence_is_doubted_in_every_phase(phase: Phase) -> None:
    assert doubted(seen(FaultKind.TIMEOUT, phase), Outcome.TOTAL_TIMEOUT) is Need.INTERNET


def test_a_stream_that_began_and_fell_silent_is_doubted_too() -> None:
    assert doubted(seen(FaultKind.TIMEOUT, Phase.BODY, status=200), Outcome.STALLED) is Need.INTERNET


@pytest.mark.parametrize(
    ("found", "outcome"),
    [
        (seen(FaultKind.REFUSED), Outcome.CONNECT_REFUSED),
        (seen(FaultKind.CERTIFICATE, Phase.TLS), Outcome.TLS_FAILURE),
        (seen(FaultKind.MALFORMED, Phase.HEADERS), Outcome.MALFORMED_RESPONSE),
        (seen(FaultKind.RESET, Phase.BODY, status=200), Outcome.CONNECTION_RESET),
        (seen(FaultKind.CLOSED, Phase.BODY, status=200), Outcome.TRUNCATED),
        (seen(status=503), Outcome.HTTP_5XX),
    ],
)
def test_what_came_from_the_other_side_is_its_own(found: Observation, outcome: Outcome) -> None:
    assert doubted(found, outcome, worked=True) is None


def test_a_break_before_any_answer_is_doubted_only_the_first_time() -> None:
    broken = seen(FaultKind.RESET, Phase.HEADERS)
    assert doubted(broken, Outcome.CONNECTION_RESET, worked=True) is Need.INTERNET
    assert doubted(broken, Outcome.CONNECTION_RESET, worked=False) is None


@pytest.mark.parametrize("kind", [FaultKind.RESOLVER, FaultKind.NO_SUCH_NAME, FaultKind.TIMEOUT])
def test_a_name_that_is_not_found_hangs_on_the_name_servers(kind: FaultKind) -> None:
    assert doubted(seen(kind, Phase.DNS, peers=()), Outcome.DNS_FAILURE) is Need.NAMES


def test_a_name_server_that_is_looked_at_itself_hangs_on_the_way_to_it() -> None:
    for peer, need in ((PUBLIC, Need.INTERNET), (PRIVATE, Need.LAN), (LOOPBACK, None)):
        silent = seen(FaultKind.TIMEOUT, Phase.DNS, peers=(peer,))
        assert doubted(silent, Outcome.DNS_FAILURE) is need
    assert doubted(seen(FaultKind.NO_SUCH_NAME, Phase.DNS), Outcome.DNS_FAILURE) is None


@given(st.sampled_from(FaultKind), st.sampled_from(Phase), st.sampled_from(Outcome), st.booleans())
def test_on_loopback_nothing_is_ever_doubted(
    kind: FaultKind, phase: Phase, outcome: Outcome, worked: bool
) -> None:
    found = seen(kind, phase, peers=(LOOPBACK, "::1"))
    assert doubted(found, outcome, worked=worked, usual=Need.INTERNET) is None
    assert suspicion(found, verdict(outcome)) is None


@given(st.sampled_from([outcome for outcome in Outcome if outcome.blame != "provider"]))
def test_only_what_would_be_the_providers_is_doubted(outcome: Outcome) -> None:
    assert doubted(seen(FaultKind.TIMEOUT), outcome, worked=True) is None


def test_where_nobody_says_which_address_it_was_what_it_took_before_counts() -> None:
    unknown = seen(FaultKind.TIMEOUT, peers=())
    assert doubted(unknown, Outcome.CONNECT_TIMEOUT, usual=Need.LAN) is Need.LAN
    assert doubted(unknown, Outcome.CONNECT_TIMEOUT) is None


def test_no_route_makes_us_ask_but_no_shortage_does() -> None:
    ours_already = verdict(Outcome.LOCAL_NETWORK)
    assert suspicion(seen(FaultKind.LOCAL, code=errno.ENETUNREACH), ours_already) is Need.INTERNET
    assert suspicion(seen(FaultKind.LOCAL, code=errno.EMFILE), ours_already) is None
    assert suspicion(seen(FaultKind.TIMEOUT), verdict(Outcome.CONNECT_TIMEOUT)) is None


# What proves the way


def test_a_status_and_a_refusal_prove_the_way_and_silence_does_not() -> None:
    assert answered_at(seen(status=503), verdict(Outcome.HTTP_5XX), 110.0) == 110.0
    assert answered_at(seen(FaultKind.REFUSED), verdict(Outcome.CONNECT_REFUSED), 110.0) == 110.0
    assert answered_at(seen(FaultKind.TIMEOUT), verdict(Outcome.CONNECT_TIMEOUT), 110.0) is None
    stalled = seen(FaultKind.TIMEOUT, Phase.BODY, status=200)
    assert answered_at(stalled, verdict(Outcome.STALLED), 110.0) == 101.0


def test_another_endpoint_that_got_an_answer_just_now_proves_the_way() -> None:
    path = Path()
    path.note(glimpse("b/one", ended=9.5, answered=9.5))
    silent = glimpse("a/one", ended=10.0, silent=Need.INTERNET)
    path.note(silent)
    assert path.proven(silent)


@pytest.mark.parametrize("answered", [8.9, 0.0])
def test_an_answer_of_long_ago_proves_nothing(answered: float) -> None:
    path = Path()
    path.note(glimpse("b/one", ended=answered, answered=answered))
    silent = glimpse("a/one", ended=10.0, silent=Need.INTERNET)
    path.note(silent)
    assert not path.proven(silent)


def test_an_answer_from_the_next_room_says_nothing_of_the_internet() -> None:
    path = Path()
    path.note(glimpse("b/one", ended=10.0, answered=10.0, need=Need.LAN))
    silent = glimpse("a/one", ended=10.0, silent=Need.INTERNET)
    path.note(silent)
    assert not path.proven(silent)


def test_where_most_of_several_vendors_fail_one_that_answers_proves_nothing() -> None:
    path = Path()
    path.note(glimpse("d/one", ended=9.9, answered=9.9))
    for endpoint in ("a/one", "b/one", "c/one"):
        silent = glimpse(endpoint, ended=10.0, silent=Need.INTERNET)
        path.note(silent)
    assert path.crowd(silent).most_fail
    assert path.crowd(silent).says_it_is_us
    assert not path.proven(silent)


def test_many_endpoints_of_one_vendor_are_no_crowd() -> None:
    path = Path()
    for place in range(9):
        silent = glimpse(f"a/{place}", silent=Need.INTERNET)
        path.note(silent)
    assert not path.crowd(silent).most_fail


def test_who_was_asked_long_ago_is_no_part_of_the_crowd() -> None:
    path = Path()
    for endpoint in ("a/one", "b/one", "c/one"):
        path.note(glimpse(endpoint, ended=10.0, silent=Need.INTERNET))
    late = glimpse("d/one", ended=71.0, silent=Need.INTERNET)
    path.note(late)
    assert path.crowd(late).all == 1


def test_the_silence_began_with_the_first_look_in_vain_since_it_last_worked() -> None:
    path = Path()
    path.note(glimpse("a/one", at_s=0.0, ended=10.0, silent=Need.INTERNET))
    path.prove(Need.INTERNET, 11.0)
    assert path.silent_since(Need.INTERNET) is None
    path.note(glimpse("b/one", at_s=8.0, ended=12.0, silent=Need.INTERNET))
    path.note(glimpse("a/one", at_s=9.0, ended=13.0, silent=Need.INTERNET))
    path.prove(Need.INTERNET, 11.5)
    assert path.silent_since(Need.INTERNET) == START + 8 * SECOND
    assert {one.endpoint for one in path.silent(Need.INTERNET)} == {"a/one", "b/one"}


def test_it_last_worked_when_any_of_what_it_takes_did() -> None:
    path = Path()
    assert path.proven_at(Need.NAMES, Need.INTERNET) is None
    path.prove(Need.INTERNET, 11.0)
    path.prove(Need.INTERNET, 10.0)
    path.prove(Need.LAN, 12.0)
    assert path.proven_at(Need.NAMES, Need.INTERNET) == 11.0


def test_a_name_that_is_found_ends_the_silence_of_the_name_servers_and_proves_nothing_else() -> None:
    path = Path()
    path.note(glimpse("a/one", ended=10.0, silent=Need.NAMES))
    path.note(glimpse("a/one", at_s=60.0, ended=61.0, answered=61.0, resolved=True))
    assert path.silent_since(Need.NAMES) is None
    assert not path.proven_after(Need.NAMES, 0.0)


def test_who_waited_while_the_network_was_away_learnt_nothing() -> None:
    path = Path()
    path.restored(Need.INTERNET, 9.0)
    assert path.was_lost(glimpse(at_s=5.0, ended=10.0, silent=Need.INTERNET))
    assert path.was_lost(glimpse(at_s=5.0, ended=10.0, silent=Need.NAMES))
    assert not path.was_lost(glimpse(at_s=9.5, ended=10.0, silent=Need.INTERNET))
    assert not path.was_lost(glimpse(at_s=5.0, ended=10.0, answered=9.5, silent=Need.INTERNET))


# What canaries say


def test_one_canary_that_answers_proves_the_way() -> None:
    assert Answers(literals=3, names=2, reached=1).says(Need.INTERNET) is True
    assert Answers(literals=3, names=2).says(Need.INTERNET) is False
    assert Answers(names=2, resolved=1).says(Need.NAMES) is True
    assert Answers(literals=3, names=2, reached=3).says(Need.NAMES) is False


def test_whom_nobody_asks_nothing_is_said_of() -> None:
    assert Answers().says(Need.INTERNET) is None
    assert Answers(literals=3, reached=3).says(Need.NAMES) is None
    assert Answers(literals=3, reached=3).says(Need.LAN) is None


def test_without_a_network_it_is_not_the_name_servers_that_are_gone() -> None:
    nothing = Answers(literals=3, names=2)
    assert lost(Need.NAMES, None, nothing) is Need.INTERNET
    assert lost(Need.NAMES, Need.LAN, nothing) is Need.NAMES
    assert lost(Need.NAMES, None, Answers(literals=3, names=2, reached=3)) is Need.NAMES


def test_what_is_ours_says_why_and_what_it_looked_like() -> None:
    answers = Answers(literals=3, names=2)
    found = ours(verdict(Outcome.CONNECT_TIMEOUT), reason(Need.INTERNET, answers))
    assert found.outcome is Outcome.LOCAL_NETWORK
    assert found.detail == (
        "The monitor itself has no network: 0 of 5 canaries could be reached."
        " What it saw: connect_timeout: it failed"
    )


def test_the_notice_tells_from_when_to_when_and_why() -> None:
    why = reason(Need.NAMES, Answers(literals=1, names=2, reached=1))
    blind = Blind(started=START, ended=None, need=Need.NAMES, reason=why)
    told = notice(blind, Instant(START + 90 * SECOND), None)
    assert incident_of(blind) == "blind-20270115T080000.000000Z"
    assert told.title == "WAS BLIND: this monitor, for 1 min 30 s"
    assert told.lines[:2] == (
        "This monitor could not see from 2027-01-15 08:00:00 UTC to 2027-01-15 08:01:30 UTC.",
        "Why: the monitor itself cannot resolve any name: 0 of 2 names could be resolved.",
    )


@pytest.mark.parametrize(
    ("standing", "asked"), [(Standing.SILENT, Need.INTERNET), (Standing.FAIL, None), (Standing.OK, None)]
)
def test_silence_of_who_reports_by_itself_is_worth_a_question(standing: Standing, asked: Need | None) -> None:
    heard = Heard(rhythm=Rhythm(every=MINUTE, grace=MINUTE), standing=standing, report=None)
    silent = replace(seen(), heard=heard)
    verdict = Verdict(
        outcome=Outcome.ASSERTION_FAILED, detail="no report", figures=Figures(), learnt=Learnt()
    )
    assert doubt(silent, verdict, worked=True, usual=None) is None
    assert suspicion(silent, verdict) is asked
