"""What is believed after looking twice, and what follows from it."""

import json
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.alert import Route
from monitor.core.belief import (
    Hush,
    Quiet,
    State,
    Withdrawn,
    advance,
    confirmation_at,
    needs_tick,
)
from monitor.core.figures import Figures
from monitor.core.headroom import Headroom, Kind, Limit, Period
from monitor.core.instant import HOUR, MINUTE, SECOND, Instant, Span
from monitor.core.integrity import BREAKS, Flaw
from monitor.core.outcome import Outcome
from monitor.core.step import Step, belief_from_json, belief_json, step_from_json, to_json
from monitor.core.verdict import Learnt, Verdict
from tests.core.believing import START, Stage, degraded, look, rules

UNSURE = Verdict(
    outcome=Outcome.SELF_OVERLOAD,
    detail="the first token is known only to within 900 ms",
    figures=Figures(ttft_ms=9000.0, total_ms=9000.0),
    learnt=Learnt(),
)


def test_the_first_working_look_makes_an_endpoint_up_without_a_notice() -> None:
    stage = Stage().play("g")
    assert stage.state is State.UP
    assert stage.belief.reason == "first working probe"
    assert stage.alerts == []
    assert stage.updates == []


def test_one_bad_look_does_not_wake_anyone() -> None:
    stage = Stage().play("gggbg")
    assert stage.state is State.UP
    assert stage.alerts == []


def test_three_bad_looks_in_a_row_are_down_since_the_first_of_them() -> None:
    stage = Stage().play("ggbbb")
    assert stage.state is State.DOWN
    moved = stage.transitions[-1]
    assert (moved.before, moved.after) == (State.UP, State.DOWN)
    assert moved.effective_at == START + 2 * MINUTE
    assert moved.at == START + 4 * MINUTE
    assert stage.kinds == ["down"]
    assert stage.updates[0].started == START + 2 * MINUTE


def test_a_working_look_breaks_the_bad_run() -> None:
    assert Stage().play("gbbgbbgbb").state is State.UP


@pytest.mark.parametrize("letter", ["c", "m", "t"])
def test_what_says_nothing_of_the_provider_does_not_break_a_bad_run(letter: str) -> None:
    assert Stage().play(f"gbb{letter}b").state is State.DOWN


def test_down_from_the_start_is_down() -> None:
    stage = Stage().play("bbb")
    assert stage.state is State.DOWN
    assert stage.kinds == ["down"]


def test_two_working_looks_end_an_outage_since_the_first_of_them() -> None:
    stage = Stage().play("gbbbgg")
    assert stage.state is State.UP
    assert stage.transitions[-1].effective_at == START + 4 * MINUTE
    assert stage.kinds == ["down", "recovered"]
    assert stage.updates[-1].ended == START + 4 * MINUTE
    assert stage.belief.incident is None


def test_the_all_clear_says_how_long_it_lasted() -> None:
    text = Stage().play("gbbbgg").alerts[-1]
    assert "after 3 min" in text.title
    assert "It lasted 3 min." in text.text


def test_an_outage_that_ends_slow_ends_degraded() -> None:
    stage = Stage().play("gbbbss")
    assert stage.state is State.DEGRADED
    assert stage.kinds == ["down", "degraded"]
    stage.play("gg")
    assert stage.state is State.UP
    assert stage.kinds == ["down", "degraded", "recovered"]
    assert len({update.incident for update in stage.updates}) == 1
    assert stage.updates[-1].impact is State.DOWN


@pytest.mark.parametrize("between", ["t", "tt", "c", "m", "tm"])
def test_an_outage_ends_degraded_if_all_looks_that_worked_were_whatever_came_between(between: str) -> None:
    stage = Stage().play(f"gbbbs{between}s")
    assert stage.state is State.DEGRADED
    assert stage.kinds == ["down", "degraded"]


@pytest.mark.parametrize("working", ["gs", "sg", "gts", "stg", "gmtsc"])
def test_an_outage_ends_up_if_any_look_that_worked_was_good(working: str) -> None:
    stage = Stage().play("gbbb" + working)
    assert stage.state is State.UP
    assert stage.kinds == ["down", "recovered"]


def test_a_good_look_counts_no_longer_than_its_run() -> None:
    three = rules(up_after=3)
    assert Stage(rules=three).play("gbbbgsbsss").state is State.DEGRADED
    assert Stage(rules=three).play("gbbbgttttsss").state is State.DEGRADED
    assert Stage(rules=three).play("gbbbgttss").state is State.UP


def test_three_slow_looks_in_a_row_are_degraded() -> None:
    stage = Stage().play("gsss")
    assert stage.state is State.DEGRADED
    assert "slow" in stage.belief.reason


def test_three_throttled_looks_in_a_row_are_degraded_and_say_so() -> None:
    stage = Stage().play("gttt")
    assert stage.state is State.DEGRADED
    assert "rate_limited" in stage.belief.reason
    assert "limits our rate" in stage.alerts[0].text


def test_degraded_becomes_up_after_two_good_looks_not_after_slow_ones() -> None:
    stage = Stage().play("gsssgsg")
    assert stage.state is State.DEGRADED
    assert stage.play("g").state is State.UP


def test_degraded_becomes_down_in_the_same_incident() -> None:
    stage = Stage().play("gsssbbb")
    assert stage.state is State.DOWN
    assert stage.kinds == ["degraded", "down"]
    assert [update.sequence for update in stage.updates] == [1, 2]
    assert len({update.incident for update in stage.updates}) == 1


def test_a_run_lapses_when_its_newest_member_is_older_than_three_intervals() -> None:
    stage = Stage().play("gbb")
    stage.now = Instant(stage.now + 3 * MINUTE)
    stage.play("b")
    assert stage.state is not State.DOWN
    assert stage.belief.runs.bad.count == 1


def test_confirmations_count_in_runs() -> None:
    stage = Stage().play("g").play("b")
    stage.play("bb", scheduled=False)
    assert stage.state is State.DOWN


# Silence


def test_silence_for_three_intervals_is_unknown_since_then() -> None:
    stage = Stage().play("gg")
    last = START + MINUTE
    stage.now = Instant(last)
    stage.wait(3 * MINUTE)
    assert stage.state is State.UP
    stage.wait(10 * MINUTE)
    assert stage.state is State.UNKNOWN
    assert stage.transitions[-1].effective_at == last + 3 * MINUTE
    assert stage.alerts == []


def test_a_run_that_outlives_a_silence_does_not_reach_back_before_it() -> None:
    stage = Stage().play("gbbb")
    last = START + 3 * MINUTE
    stage.now = Instant(last + 2 * MINUTE)
    started = stage.now
    # This look is still on its way when the silence becomes too long.
    stage.wait(MINUTE + SECOND)
    assert stage.state is State.UNKNOWN
    stage.tell(look(started, "b"))
    assert stage.state is State.DOWN
    moments = [one.effective_at for one in stage.transitions]
    assert moments == sorted(moments)


def test_a_silence_stands_in_history_whether_a_tick_or_a_look_ends_it() -> None:
    ticked, looked = Stage().play("gg"), Stage().play("gg")
    for stage in (ticked, looked):
        stage.now = Instant(START + 21 * MINUTE)
    ticked.tell_time().play("g")
    looked.play("g")
    assert [(one.before, one.after, one.effective_at) for one in looked.transitions[1:]] == [
        (State.UP, State.UNKNOWN, START + 4 * MINUTE),
        (State.UNKNOWN, State.UP, START + 21 * MINUTE),
    ]
    assert looked.transitions == ticked.transitions
    assert len({one.sequence for one in looked.transitions}) == 3


def test_unknown_keeps_an_incident_open_and_the_next_working_look_ends_it() -> None:
    stage = Stage().play("gbbb").wait(HOUR)
    assert stage.state is State.UNKNOWN
    assert stage.belief.incident is not None
    stage.play("g")
    assert stage.state is State.UP
    assert stage.kinds == ["down", "recovered"]


def test_a_key_that_is_refused_is_told_once_and_makes_the_state_unknown() -> None:
    stage = Stage().play("gcccccc")
    assert stage.kinds == ["config"]
    assert "auth_failed" in stage.alerts[0].text
    assert stage.wait(0).state is State.UNKNOWN
    assert "auth_failed" in stage.belief.reason
    assert stage.updates == []


def test_a_config_alert_has_its_own_all_clear() -> None:
    stage = Stage().play("gcccg")
    assert stage.kinds == ["config", "config_recovered"]
    assert len({alert.incident for alert in stage.alerts}) == 1


def test_troubles_of_the_monitor_never_change_a_state() -> None:
    stage = Stage().play("g" + "m" * 3)
    assert stage.state is State.UP
    assert stage.alerts == []


@given(st.lists(st.sampled_from("gbstcG"), max_size=25), st.sets(st.integers(0, 24)))
def test_a_look_that_we_could_not_time_might_as_well_not_have_been(
    letters: list[str], places: set[int]
) -> None:
    """Whatever it measured: neither state, runs, rules, incidents nor messages know of it."""
    with_it, without = (Stage(rules=degraded(ttft_p50=1000.0, error_rate=50.0)) for _ in range(2))
    for place, letter in enumerate(letters):
        slow = {"ttft_ms": 2000.0} if letter == "G" else {}
        if place in places:
            with_it.tell(replace(look(with_it.now, "m"), verdict=UNSURE))
        with_it.play(letter.lower(), **slow)
        without.play(letter.lower(), **slow)
    one, other = with_it.belief, without.belief
    for name in ("state", "since", "reason", "classified", "runs", "holding", "incident", "misconfigured"):
        assert getattr(one, name) == getattr(other, name), name
    assert with_it.updates == without.updates
    assert [alert.text for alert in with_it.alerts] == [alert.text for alert in without.alerts]


# Rules over a window


def test_a_silence_ends_no_incident_while_its_rule_holds() -> None:
    stage = Stage(rules=degraded(ttft_p50=1000.0)).play("g" * 8, ttft_ms=3000.0).play("mmmmm").tell_time()
    assert stage.state is State.UNKNOWN
    back = stage.now
    stage.play("g", ttft_ms=3000.0)
    assert stage.state is State.DEGRADED
    assert [(one.before, one.after, one.effective_at) for one in stage.transitions[-2:]] == [
        (State.UNKNOWN, State.UP, back),
        (State.UP, State.DEGRADED, back),
    ]
    assert len({one.sequence for one in stage.transitions}) == len(stage.transitions)
    assert stage.kinds == ["degraded", "degraded"]
    stage.play("g" * 30, ttft_ms=300.0)
    assert stage.kinds == ["degraded", "degraded", "recovered"]
    assert len({alert.incident for alert in stage.alerts}) == 1


def test_slow_looks_that_end_an_outage_late_are_no_all_clear() -> None:
    stage = Stage(rules=rules(up_after=4)).play("gbbbgsss")
    assert stage.state is State.DEGRADED
    assert stage.kinds == ["down", "degraded"]


@given(st.lists(st.sampled_from("gbstcmG"), max_size=60), st.integers(1, 4), st.integers(1, 4))
def test_the_state_table_always_comes_to_rest(letters: list[str], down_after: int, up_after: int) -> None:
    limits = replace(
        degraded(ttft_p50=1000.0, error_rate=30.0, over=Span(10 * MINUTE)),
        down_after=down_after,
        up_after=up_after,
    )
    stage = Stage(rules=limits)
    for letter in letters:
        stage.play(letter.lower(), ttft_ms=2000.0 if letter == "G" else 600.0).tell_time()
    assert len({one.sequence for one in stage.transitions}) == len(stage.transitions)
    for one, other in pairwise(stage.transitions):
        assert other.before is one.after
        assert other.effective_at >= one.effective_at
        assert other.sequence > one.sequence
    told = [one for one in stage.kinds if one in ("degraded", "down", "recovered")]
    # The newest message says how it stands.
    assert (stage.belief.incident is None) == (not told or told[-1] == "recovered")


def test_a_p50_rule_needs_five_looks_and_then_degrades() -> None:
    stage = Stage(rules=degraded(ttft_p50=1000.0)).play("gggg", ttft_ms=2000.0)
    assert stage.state is State.UP
    stage.play("g", ttft_ms=2000.0)
    assert stage.state is State.DEGRADED
    assert "ttft_p50 is 2,000 ms over the last 30 min (limit 1,000 ms)" in stage.belief.reason


def test_a_rule_clears_only_ten_percent_inside_its_limit() -> None:
    stage = Stage(rules=degraded(ttft_p50=1000.0, over=Span(10 * MINUTE)))
    stage.play("g" * 10, ttft_ms=1500.0)
    assert stage.state is State.DEGRADED
    stage.play("g" * 12, ttft_ms=950.0)
    assert stage.state is State.DEGRADED
    stage.play("g" * 12, ttft_ms=850.0)
    assert stage.state is State.UP
    assert stage.belief.reason == "ttft_p50 is back at 900 ms over the last 10 min (limit 1,000 ms)"


def test_a_rule_that_holds_inside_its_limit_says_where_it_clears() -> None:
    limits = degraded(ttft_p50=1000.0, over=Span(10 * MINUTE))
    stage = Stage(rules=limits).play("g" * 10, ttft_ms=1500.0).play("bbb").play("g" * 10, ttft_ms=950.0)
    assert stage.belief.reason == (
        "works again, but ttft_p50 is 1,500 ms over the last 10 min (limit 1,000 ms)"
    )
    stage.play("bbb").play("g" * 2, ttft_ms=950.0)
    assert stage.belief.reason == (
        "works again, but ttft_p50 is 950 ms over the last 10 min (limit 1,000 ms, clears at 900 ms)"
    )


def test_a_rule_that_holds_for_want_of_looks_says_so() -> None:
    stage = Stage(rules=degraded(ttft_p50=1000.0)).play("g" * 10, ttft_ms=1500.0).play("b" * 40 + "gg")
    assert stage.belief.reason == (
        "works again, but ttft_p50 was beyond its limit of 1,000 ms,"
        " and too few looks since then could clear it"
    )
    assert "unknown" not in stage.alerts[-1].text


def test_an_error_rate_needs_ten_judged_looks() -> None:
    stage = Stage(rules=degraded(error_rate=20.0)).play("gggbgbggb")
    assert stage.state is State.UP
    assert stage.play("g").state is State.DEGRADED


def test_a_degraded_state_by_rule_begins_with_the_probe_that_made_it_hold() -> None:
    stage = Stage(rules=degraded(ttft_p50=1000.0)).play("ggggg", ttft_ms=2000.0)
    assert stage.transitions[-1].effective_at == START + 4 * MINUTE


def test_confirmations_are_not_samples_of_a_rule() -> None:
    stage = Stage(rules=degraded(ttft_p50=1000.0)).play("g", ttft_ms=2000.0)
    stage.play("gggg", ttft_ms=2000.0, scheduled=False)
    assert stage.state is State.UP


# Maintenance and pause


def test_maintenance_hides_an_outage_that_ends_with_it() -> None:
    stage = Stage().play("g").hush(Quiet.MAINTENANCE, on=True).play("bbbgg")
    assert stage.belief.shown == "maintenance"
    stage.hush(Quiet.MAINTENANCE, on=False)
    assert stage.belief.shown == "up"
    assert stage.alerts == []
    assert stage.updates == []


def test_an_outage_that_outlives_its_maintenance_is_told_at_the_end() -> None:
    stage = Stage().play("g").hush(Quiet.MAINTENANCE, on=True).play("bbb")
    assert stage.alerts == []
    stage.hush(Quiet.MAINTENANCE, on=False)
    assert stage.kinds == ["down"]
    assert stage.updates[0].started == stage.now


def test_an_outage_that_outlived_a_maintenance_whose_end_nobody_saw_begins_there() -> None:
    stage = Stage().play("g").hush(Quiet.MAINTENANCE, on=True).play("bbb")
    ended = Instant(stage.now - 10 * SECOND)
    stage.tell(Hush(Quiet.MAINTENANCE, on=False, at=ended))
    assert (stage.quiet[-1].ends, stage.belief.quiet) == (ended, {})
    assert stage.kinds == ["down"]
    assert stage.updates[0].started == ended


@pytest.mark.parametrize("last", "gcmt")
def test_whose_an_outage_is_comes_from_the_look_that_made_it_not_from_the_last(last: str) -> None:
    stage = Stage().play("g").hush(Quiet.MAINTENANCE, on=True).play("bbb").play(last)
    stage.hush(Quiet.MAINTENANCE, on=False)
    assert "Whose: the provider\n" in stage.alerts[0].text
    assert "Now: " not in stage.alerts[0].text


def test_a_reminder_names_the_request_that_it_speaks_of() -> None:
    stage = Stage(rules=rules(reminder=Span(HOUR)))
    for number, letter in enumerate("g" + "s" * 3 + "sg" * 40):
        stage.tell(replace(look(stage.now, letter), request_id=f"req_{number}")).tell_time()
        stage.now = Instant(stage.now + MINUTE)
    assert stage.kinds == ["degraded", "reminder"]
    assert ["Request id: req_3" in alert.text for alert in stage.alerts] == [True, True]


def test_a_recovery_under_maintenance_is_told_at_the_end() -> None:
    stage = Stage().play("gbbb").hush(Quiet.MAINTENANCE, on=True).play("gg")
    assert stage.kinds == ["down"]
    stage.hush(Quiet.MAINTENANCE, on=False)
    assert stage.kinds == ["down", "recovered"]


def test_quiet_spans_are_stored_when_they_begin_and_when_they_end() -> None:
    stage = Stage().play("g").hush(Quiet.PAUSED, on=True)
    began = stage.now
    stage.hush(Quiet.PAUSED, on=True)
    stage.now = Instant(stage.now + HOUR)
    stage.hush(Quiet.PAUSED, on=False)
    assert [(span.starts, span.ends) for span in stage.quiet] == [(began, None), (began, began + HOUR)]


# Channels


def test_whoever_got_the_alarm_gets_the_all_clear_and_nobody_else() -> None:
    routes = (Route("pager", frozenset({"down"})), Route("chat", frozenset({"degraded"})))
    stage = Stage(rules=rules(routes=routes)).play("gbbbgg")
    assert [(alert.channel, str(alert.kind)) for alert in stage.alerts] == [
        ("pager", "down"),
        ("pager", "recovered"),
    ]


def test_reminders_come_as_often_as_asked_while_it_lasts() -> None:
    stage = Stage(rules=rules(reminder=Span(4 * HOUR))).play("gbbb")
    for _ in range(10 * 60):
        stage.play("b").tell_time()
    assert stage.kinds == ["down", "reminder", "reminder"]


def test_an_endpoint_that_is_removed_closes_its_incident_with_that_reason() -> None:
    stage = Stage().play("gbbb").remove()
    assert stage.kinds == ["down", "closed"]
    assert stage.updates[-1].ended is not None
    assert "no longer configured" in stage.updates[-1].text


def test_an_endpoint_that_comes_back_while_it_is_down_has_an_incident_of_its_own() -> None:
    stage = Stage().play("gbbb").remove()
    moved = stage.transitions[-1]
    assert (moved.before, moved.after, moved.effective_at) == (State.DOWN, State.UNKNOWN, stage.now)
    stage.play("b")
    assert stage.state is State.UNKNOWN
    stage.play("bbgg")
    assert stage.kinds == ["down", "closed", "down", "recovered"]
    assert len({alert.key for alert in stage.alerts}) == 4
    assert [alert.incident for alert in stage.alerts[:2]] == [stage.alerts[0].incident] * 2
    assert [update.sequence for update in stage.updates] == [1, 2, 1, 2]
    assert "after 3 min" in stage.alerts[-1].title


def test_a_rule_that_held_when_an_endpoint_was_removed_does_not_hold_when_it_comes_back() -> None:
    stage = Stage(rules=degraded(ttft_p50=1000.0)).play("ggggg", ttft_ms=2000.0).remove()
    assert stage.belief.holding == {}
    assert (stage.belief.outcome, stage.belief.request_id) == (None, None)


def test_an_alarm_about_our_own_configuration_is_closed_with_its_endpoint() -> None:
    stage = Stage().play("gccc").remove()
    assert stage.kinds == ["config", "closed"]
    assert [alert.sequence for alert in stage.alerts] == [1, 2]
    assert len({alert.incident for alert in stage.alerts}) == 1
    assert "no longer configured" in stage.alerts[-1].text
    assert stage.play("ccc").kinds == ["config", "closed", "config"]
    assert stage.alerts[-1].incident != stage.alerts[0].incident


def test_every_message_ends_with_its_reference() -> None:
    for alert in Stage().play("gbbbgg").alerts:
        assert alert.text.splitlines()[-1] == f"[{alert.incident}#{alert.sequence}]"


def test_an_alarm_says_what_since_when_whose_what_to_do_and_where() -> None:
    alert = Stage().play("gggbbb").alerts[0]
    assert alert.title == "DOWN: Acme one"
    for part in (
        "acme/one is down since 2027-01-15",
        "3 failures in a row, last: http_5xx: detail of http_5xx",
        "Before: first token 600 ms, 100 tokens/s",
        "Whose: the provider",
        "Request id: req_1",
        "Do: ",
        "https://status.example/one",
    ):
        assert part in alert.text


def test_a_message_says_since_when_the_state_is_and_when_the_incident_began() -> None:
    stage = Stage(rules=rules(reminder=Span(HOUR))).play("g" + "s" * 30 + "bbb" + "b" * 60).tell_time()
    degraded_, down, still = (alert.text.splitlines() for alert in stage.alerts)
    assert degraded_[0] == "acme/one is degraded since 2027-01-15 08:01:00 UTC (2 min)."
    assert not any("The incident began" in line for line in degraded_)
    assert down[:2] == [
        "acme/one is down since 2027-01-15 08:31:00 UTC (2 min).",
        "The incident began 2027-01-15 08:01:00 UTC (32 min).",
    ]
    assert still[:2] == [
        "acme/one is still down, since 2027-01-15 08:31:00 UTC (1 h 3 min).",
        "The incident began 2027-01-15 08:01:00 UTC (1 h 33 min).",
    ]
    assert stage.alerts[-1].title == "STILL DOWN: Acme one, for 1 h 3 min"
    assert any(line.startswith("Do: Route traffic to another provider") for line in still)
    recovered = stage.play("gg").alerts[-1]
    assert recovered.title == "RECOVERED: Acme one, after 1 h 33 min"


def test_an_outage_older_than_the_end_of_its_maintenance_is_told_with_both_times() -> None:
    stage = Stage().play("g").hush(Quiet.MAINTENANCE, on=True).play("bbb").hush(Quiet.MAINTENANCE, on=False)
    assert stage.alerts[0].text.splitlines()[:2] == [
        "acme/one is down since 2027-01-15 08:01:00 UTC (3 min).",
        "Maintenance or a pause kept it quiet until 2027-01-15 08:04:00 UTC.",
    ]


def test_what_was_before_a_rule_held_is_told_of_the_looks_inside_its_limit() -> None:
    stage = Stage(rules=degraded(ttft_p50=1000.0)).play("g" * 30).play("g" * 20, ttft_ms=3000.0)
    assert "Before: first token 600 ms, 100 tokens/s" in stage.alerts[0].text.splitlines()


def test_where_no_look_was_inside_the_limit_nothing_is_said_of_before() -> None:
    stage = Stage(rules=degraded(ttft_p50=1000.0)).play("g" * 9, ttft_ms=3000.0)
    assert "Before" not in stage.alerts[0].text


def test_slow_words_are_no_measure_of_what_was_before() -> None:
    limits = degraded(output_speed_p50=150.0, ttft_p95=900.0)
    assert "Before" not in Stage(rules=limits).play("g" * 9).alerts[0].text


def test_what_to_do_about_a_rate_limit_is_not_what_to_do_about_slowness() -> None:
    throttled, slow = Stage().play("gttt").alerts[0], Stage().play("gsss").alerts[0]
    assert "Do: Probe less often or ask for more quota" in throttled.text
    assert "Do: Watch it, and prefer another provider" in slow.text


# Looking twice


def test_a_failed_look_is_confirmed_soon_and_at_most_twice() -> None:
    stage = Stage().play("gb")
    bad = look(Instant(stage.now - MINUTE), "b")
    ended, next_slot = bad.at, Instant(stage.now)
    assert confirmation_at(stage.belief, bad, stage.rules, ended, next_slot) == ended + 10 * SECOND
    stage.now = Instant(bad.at + 10 * SECOND)
    stage.play("b", scheduled=False)
    again = confirmation_at(stage.belief, bad, stage.rules, ended, next_slot)
    assert again is not None
    stage.play("b", scheduled=False)
    assert confirmation_at(stage.belief, bad, stage.rules, ended, next_slot) is None


def test_a_confirmation_that_cannot_end_before_the_next_slot_is_not_started() -> None:
    stage = Stage().play("gb")
    bad = look(Instant(stage.now - MINUTE), "b")
    late = Instant(bad.at + 25 * SECOND)
    assert confirmation_at(stage.belief, bad, stage.rules, late, stage.now) is None


@pytest.mark.parametrize("letter", "gstcm")
def test_only_a_providers_failure_is_confirmed(letter: str) -> None:
    stage = Stage().play("g").play(letter)
    seen = look(Instant(stage.now - MINUTE), letter)
    assert confirmation_at(stage.belief, seen, stage.rules, seen.at, stage.now) is None


def test_confirmations_can_be_switched_off() -> None:
    stage = Stage(rules=rules(confirm_every=Span(0))).play("gb")
    bad = look(Instant(stage.now - MINUTE), "b")
    assert confirmation_at(stage.belief, bad, stage.rules, bad.at, stage.now) is None


# Throttling


def test_a_server_that_asks_to_wait_is_left_alone_for_at_most_fifteen_intervals() -> None:
    stage = Stage().play("gt", retry_after=Span(30 * SECOND))
    assert stage.belief.not_before == stage.now - MINUTE + 30 * SECOND
    eager = Stage(rules=rules(interval=Span(10 * SECOND))).play("gt", retry_after=Span(900 * SECOND))
    assert eager.belief.not_before == eager.now - MINUTE + 150 * SECOND


# Laws


LETTERS = st.text(alphabet="gsbtcm", max_size=60)


@given(LETTERS)
def test_transitions_chain_end_to_end(letters: str) -> None:
    stage = Stage().play(letters)
    state = State.UNKNOWN
    for moved in stage.transitions:
        assert moved.before is state
        assert moved.after is not state
        assert moved.effective_at <= moved.at
        state = moved.after
    assert state is stage.state


@given(LETTERS)
def test_nothing_is_told_without_a_transition_and_every_transition_from_up_is_told(letters: str) -> None:
    stage = Stage().play(letters)
    left_up = [m for m in stage.transitions if m.after in (State.DOWN, State.DEGRADED)]
    told = [kind for kind in stage.kinds if kind in ("down", "degraded")]
    assert len(told) == len(left_up)


@given(LETTERS)
def test_sequences_of_an_incident_count_without_a_gap_and_keys_are_unique(letters: str) -> None:
    stage = Stage().play(letters)
    keys = [alert.key for alert in stage.alerts]
    assert len(keys) == len(set(keys))
    # Not every line of an incident's story is a message: `unknown` is only noted.
    by_incident: dict[str, set[int]] = {}
    for one in (*stage.alerts, *stage.updates):
        by_incident.setdefault(one.incident, set()).add(one.sequence)
    for sequences in by_incident.values():
        assert sequences == set(range(1, len(sequences) + 1))


@given(LETTERS)
def test_good_looks_end_every_story(letters: str) -> None:
    stage = Stage().play(letters).play("ggg")
    assert stage.state is State.UP
    assert stage.belief.incident is None
    assert stage.belief.misconfigured is None


@given(LETTERS, st.sampled_from("gsbtcm"))
def test_the_same_event_on_the_same_belief_gives_the_same_consequence(letters: str, letter: str) -> None:
    stage = Stage().play(letters)
    event = look(stage.now, letter)
    once = advance(stage.belief, event, stage.rules, stage.now)
    assert advance(stage.belief, event, stage.rules, stage.now) == once


@given(LETTERS)
def test_a_belief_survives_json(letters: str) -> None:
    stage = Stage(rules=degraded(ttft_p50=100.0, error_rate=10.0)).play(letters)
    raw = json.loads(json.dumps(belief_json(stage.belief, ring=True)))
    assert belief_from_json(raw) == stage.belief


LIMITS = (
    Limit(kind=Kind.REQUESTS, period=Period.DAY, limit=500, remaining=499, resets_in_s=0.12),
    Limit(kind=Kind.OUTPUT_TOKENS, remaining=0),
)


def test_the_newest_word_about_limits_is_kept_and_survives_json() -> None:
    stage = Stage().play("g")
    known = Headroom(stage.now, LIMITS)
    stage.tell(replace(look(stage.now, "g"), headroom=known)).play("gb")
    assert stage.belief.headroom == known
    raw = json.loads(json.dumps(belief_json(stage.belief, ring=True)))
    assert belief_from_json(raw) == stage.belief


def test_a_belief_of_an_older_program_has_no_headroom() -> None:
    raw = belief_json(Stage().play("gt", retry_after=Span(MINUTE)).belief)
    assert "headroom" not in raw
    assert belief_from_json(raw).headroom is None
    assert belief_from_json(raw).not_before > 0


def test_a_belief_of_an_older_program_does_not_say_what_made_its_state() -> None:
    raw = belief_json(Stage().play("gbbb").belief)
    assert raw.pop("made") == [Outcome.HTTP_5XX, "req_1"]
    assert belief_from_json(raw).outcome is None
    assert belief_from_json(raw).state is State.DOWN


@given(LETTERS)
def test_what_follows_survives_json_as_a_step(letters: str) -> None:
    stage = Stage().play(letters)
    step = Step(
        transitions=tuple(stage.transitions), updates=tuple(stage.updates), alerts=tuple(stage.alerts)
    )
    assert step_from_json(json.loads(json.dumps(to_json(step)))) == step


@given(LETTERS, st.integers(0, 30))
def test_where_no_tick_is_needed_a_tick_changes_nothing_but_the_count(letters: str, minutes: int) -> None:
    stage = Stage().play(letters)
    stage.now = Instant(stage.now + minutes * MINUTE)
    if not needs_tick(stage.belief, stage.rules, stage.now):
        before = (stage.state, len(stage.alerts), len(stage.transitions))
        stage.wait(0)
        assert (stage.state, len(stage.alerts), len(stage.transitions)) == before


@given(st.text("gsbtcm", max_size=40), st.integers(0, 60), st.sampled_from([600.0, 2000.0]))
def test_under_a_rule_too_a_tick_that_is_not_needed_changes_nothing_but_the_count(
    letters: str, minutes: int, ttft_ms: float
) -> None:
    limits = degraded(ttft_p50=1000.0, error_rate=30.0, over=Span(20 * MINUTE))
    stage = Stage(rules=replace(limits, reminder=HOUR)).play(letters, ttft_ms=ttft_ms)
    stage.now = Instant(stage.now + minutes * MINUTE)
    if stage.belief.holding and not needs_tick(stage.belief, stage.rules, stage.now):
        before = stage.belief
        stage.wait(0)
        assert replace(stage.belief, sequence=before.sequence) == before


def test_a_rule_that_goes_on_holding_needs_no_tick_until_time_clears_it() -> None:
    stage = Stage(rules=degraded(ttft_p50=1000.0, over=Span(10 * MINUTE))).play("ggggg", ttft_ms=2000.0)
    stage.play("gggg", ttft_ms=600.0)
    assert stage.state is State.DEGRADED
    needed = [needs_tick(stage.belief, stage.rules, Instant(stage.now + s * SECOND)) for s in range(150)]
    # Every tick is a durable write; only samples that fall out of the window change anything.
    assert needed == sorted(needed)
    assert needed[0] is False
    assert needed[-1] is True


def test_a_reminder_that_a_pause_keeps_back_needs_no_tick() -> None:
    stage = Stage(rules=rules(reminder=HOUR)).play("gbbb")
    stage.hush(Quiet.PAUSED, on=True)
    stage.belief = replace(stage.belief, classified=Instant(stage.now + 2 * HOUR))
    assert not needs_tick(stage.belief, stage.rules, Instant(stage.now + 2 * HOUR))
    stage.hush(Quiet.PAUSED, on=False)
    assert needs_tick(stage.belief, stage.rules, Instant(stage.now + 2 * HOUR))


# Streams that are not whole


def streamed(stage: Stage, flaws: list[set[Flaw]]) -> Stage:
    """One good look a minute whose stream had these flaws."""
    for found in flaws:
        stage.tell(replace(look(stage.now, "g"), flaws=frozenset(found)))
        stage.now = Instant(stage.now + MINUTE)
    return stage


WHOLE: set[Flaw] = set()


def test_broken_streams_degrade_and_the_reason_counts_them() -> None:
    stage = Stage(rules=degraded(flawed_streams=30.0))
    broken = [{Flaw.TRUNCATED}, {Flaw.TRUNCATED}, {Flaw.TRUNCATED, Flaw.BURST}, {Flaw.BURST}]
    streamed(stage, [WHOLE] * 8 + broken)
    assert stage.state is State.DEGRADED
    assert "4 of 12 streams broke (3 truncated, 2 burst) over the last 30 min" in stage.belief.reason
    assert stage.kinds == ["degraded"]


def test_a_share_of_broken_streams_needs_ten_of_them() -> None:
    stage = streamed(Stage(rules=degraded(flawed_streams=10.0)), [WHOLE] + [{Flaw.BURST}] * 8)
    assert stage.state is State.UP
    assert streamed(stage, [{Flaw.BURST}]).state is State.DEGRADED


def test_a_missing_usage_breaks_no_stream() -> None:
    stage = streamed(Stage(rules=degraded(flawed_streams=10.0)), [{Flaw.NO_USAGE}] * 20)
    assert stage.state is State.UP


def test_looks_without_a_stream_are_not_among_the_streams() -> None:
    stage = streamed(Stage(rules=degraded(flawed_streams=10.0)), [{Flaw.BURST}] * 5)
    assert stage.play("tttttttt").belief.holding == {}


def test_the_rule_on_streams_lets_go_only_inside_its_limit() -> None:
    stage = Stage(rules=degraded(flawed_streams=20.0, over=Span(20 * MINUTE)))
    streamed(stage, [WHOLE] * 14 + [{Flaw.BURST}] * 5)
    assert stage.state is State.DEGRADED
    held = []
    for _ in range(40):
        streamed(stage, [WHOLE])
        broken = sum(bool(s.flaws) for s in stage.belief.ring if s.at > stage.now - MINUTE - 20 * MINUTE)
        held.append((stage.state is State.DEGRADED, broken))
    assert all(state == (broken >= 4) for state, broken in held if broken != 3)
    assert stage.state is State.UP


@given(st.lists(st.frozensets(st.sampled_from(Flaw), max_size=2), max_size=40), st.floats(5.0, 95.0))
def test_the_rule_on_streams_holds_beyond_its_limit_and_keeps_its_answer_on_the_edge(
    looks: list[frozenset[Flaw]], limit: float
) -> None:
    stage = Stage(rules=degraded(flawed_streams=limit))
    for found in looks:
        held = "flawed_streams" in stage.belief.holding
        streamed(stage, [set(found)])
        since = stage.now - MINUTE - 30 * MINUTE
        streams = [s.flaws & BREAKS for s in stage.belief.ring if s.at > since and s.flaws is not None]
        holds = "flawed_streams" in stage.belief.holding
        if len(streams) < 10:
            assert holds == held
            continue
        share = 100.0 * sum(map(bool, streams)) / len(streams)
        if share > limit:
            assert holds
        elif share <= 0.9 * limit:
            assert not holds
        else:
            assert holds == held


# Taken back


WHY = "The monitor itself has no network: 0 of 5 canaries could be reached"


def test_an_incident_that_began_while_we_could_not_see_is_withdrawn_and_told_to_whoever_got_the_alarm() -> (
    None
):
    stage = Stage().play("ggbbb")
    stage.tell(Withdrawn(since=Instant(START + 2 * MINUTE), why=WHY))
    assert stage.state is State.UNKNOWN
    assert stage.belief.incident is None
    assert stage.kinds == ["down", "closed"]
    assert stage.alerts[1].title == "WITHDRAWN: Acme one"
    assert stage.alerts[1].channel == stage.alerts[0].channel
    assert (stage.updates[-1].status, stage.updates[-1].incident) == ("withdrawn", stage.updates[0].incident)
    assert stage.updates[-1].ended == stage.now


def test_no_second_of_what_was_withdrawn_counts_as_down() -> None:
    stage = Stage().play("ggbbb").tell(Withdrawn(since=Instant(START + 2 * MINUTE), why=WHY))
    down, unknown = stage.transitions[-2:]
    assert (down.after, unknown.after) == (State.DOWN, State.UNKNOWN)
    assert down.effective_at == unknown.effective_at


def test_an_incident_that_is_older_than_our_blindness_stays() -> None:
    stage = Stage().play("ggbbb").tell(Withdrawn(since=Instant(START + 2 * MINUTE + 1), why=WHY))
    assert stage.state is State.DOWN
    assert stage.kinds == ["down"]


def test_after_a_withdrawal_the_bad_looks_of_before_count_no_more() -> None:
    stage = Stage().play("ggbbb").tell(Withdrawn(since=START, why=WHY)).play("bb")
    assert stage.state is State.UNKNOWN
    assert stage.play("b").state is State.DOWN
