"""When a machine is too busy to time well, and that it is told once and taken back once."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.histogram import Histogram
from monitor.core.instant import MINUTE, SECOND, Instant, Span
from monitor.core.overload import (
    FEWEST_LOOKS,
    LASTS,
    Load,
    Slice,
    Spell,
    alarm,
    all_clear,
    began_at,
    from_status,
    in_passing,
    incident_of,
    load,
    to_status,
    warning,
    weigh,
)

NOW = Instant(1_795_312_000 * SECOND)
FINE = Load(looks=200, set_aside=1, start_late_ms=2.0, loop_lag_ms=1.2, core_delay=0.01)
BUSY = Load(looks=200, set_aside=68, start_late_ms=40.0, loop_lag_ms=90.0, core_delay=0.4)
LATE = replace(FINE, start_late_ms=620.0)


def later(minutes: float) -> Instant:
    return Instant(NOW + round(minutes * MINUTE))


def held(*story: tuple[float, Load, Load]) -> list[bool]:
    """After each of (minute, the last ten, the last two): whether it is held to be too busy."""
    spell, answers, before = Spell(), [], 0.0
    for minute, whole, recent in story:
        spell = weigh(spell, whole, recent, later(minute), Span(round((minute - before) * MINUTE)))
        before = minute
        answers.append(spell.began is not None)
    return answers


@pytest.mark.parametrize("bad", [BUSY, LATE])
def test_too_much_for_five_minutes_is_a_spell_that_began_when_it_began(bad):
    spell = Spell()
    for minute in range(5):
        spell = weigh(spell, bad, bad, later(minute), MINUTE)
        assert spell.began is None
    assert weigh(spell, bad, bad, later(5), MINUTE).began == NOW


def test_a_clock_that_was_set_and_a_night_asleep_make_no_spell():
    spell = weigh(Spell(), BUSY, BUSY, NOW, Span(5 * SECOND))
    assert weigh(spell, BUSY, BUSY, later(600), Span(5 * SECOND)).began is None


def test_a_rough_start_is_no_spell():
    """All looks of the first minute were set aside, and they are weighed for nine minutes more."""
    start = [(0.1 * n, BUSY, BUSY) for n in range(30)]
    assert not any(held(*start, *[(3 + 0.1 * n, BUSY, FINE) for n in range(70)]))


def test_a_breath_in_between_begins_it_anew():
    assert not any(
        held((0, BUSY, BUSY), (4, BUSY, BUSY), (4.5, BUSY, FINE), (5, BUSY, BUSY), (9, BUSY, BUSY))
    )


def test_a_handful_of_looks_says_nothing():
    few = Load(looks=FEWEST_LOOKS - 1, set_aside=FEWEST_LOOKS - 1)
    assert not any(held(*[(minute, few, few) for minute in range(20)]))


def test_nothing_measured_is_nothing_wrong():
    assert not any(held(*[(minute, Load(), Load()) for minute in range(20)]))


def test_a_spell_ends_after_five_minutes_that_were_good():
    spell, before = Spell(began=NOW), 0.0
    for minute, recent, over in ((1, FINE, False), (5, FINE, False), (5.5, BUSY, False), (6, FINE, False),
                                 (10, FINE, False), (11, FINE, True)):  # fmt: skip
        spell = weigh(spell, BUSY, recent, later(minute), Span(round((minute - before) * MINUTE)))
        before = minute
        assert (spell.began is None) is over, minute


@given(st.lists(st.tuples(st.integers(1, 400), st.booleans(), st.booleans()), max_size=60))
def test_a_change_is_never_held_before_it_lasted(steps):
    spell, now, changed = Spell(), NOW, NOW
    for seconds, whole, recent in steps:
        now = Instant(now + seconds * SECOND)
        after = weigh(spell, BUSY if whole else FINE, BUSY if recent else FINE, now, Span(seconds * SECOND))
        if (after.began is None) != (spell.began is None):
            assert now - changed >= LASTS
            changed = now
        spell = after


def test_slices_add_up():
    slices = [
        Slice(ended=30.0, length_s=30.0, looks=10, set_aside=3, delay_s=3.0,
              start_late_ms=Histogram.of([1.0] * 99), loop_lag_ms=Histogram.of([2.0])),
        Slice(ended=60.0, length_s=10.0, looks=20, set_aside=0, delay_s=1.0, start_late_ms=Histogram.of([500.0])),
        Slice(ended=70.0, length_s=10.0),
    ]  # fmt: skip
    whole = load(slices)
    assert (whole.looks, whole.set_aside, whole.share) == (30, 3, 0.1)
    assert whole.core_delay == pytest.approx(0.1)
    # The 99th of a hundred, and a hundredth of the way to the last one.
    assert whole.start_late_ms == pytest.approx(1.0 + 0.01 * 499.0, rel=0.02)
    assert whole.loop_lag_ms == pytest.approx(2.0)
    assert load([]) == Load()


def test_the_alarm_says_what_why_whose_and_what_to_do():
    message = alarm(NOW, BUSY, "the monitor waited for a core 40% of the time", later(5), None)
    assert message.title == "TOO BUSY: this monitor"
    assert message.lines == (
        "This machine is too busy to time well since 2026-11-22 01:46:40 UTC (5 min).",
        "What: in the last 10 min 34% of 200 looks were set aside as self_overload.",
        "Why: the monitor waited for a core 40% of the time.",
        "Whose: the monitor itself. Nobody's uptime suffers; what was set aside is missing from the figures.",
        "Do: fewer endpoints, longer intervals, more or faster cores, or a second place that takes a part of it.",
    )
    assert "slots began up to 620 ms late (p99)" in alarm(NOW, LATE, None, NOW, None).lines[1]


def test_the_all_clear_says_how_long_it_lasted():
    message = all_clear(NOW, FINE, later(32), None)
    assert message.title == "RECOVERED: this monitor, after 32 min"
    assert message.lines[1] == (
        "Now: loop lag 1.2 ms (p99), waited for a core 1.0% of the time, slots begun within 2.0 ms (p99),"
        " 1 of 200 looks set aside"
    )


def test_the_id_of_a_spell_tells_when_it_began():
    assert incident_of(NOW) == "overload-20261122T014640Z"
    assert began_at(incident_of(Instant(NOW + 700_000))) == NOW
    with pytest.raises(ValueError, match="does not match"):
        began_at("undelivered-1")


@pytest.mark.parametrize("told", [FINE, BUSY, LATE, Load()])
def test_a_heartbeat_tells_it_and_is_understood(told):
    assert from_status({"last_10m": to_status(told)}) == told
    assert from_status({}) is None


def test_only_a_spell_is_a_warning():
    status = {"last_10m": to_status(BUSY), "overload": None, "too_busy_since": None}
    assert warning(status) is None
    assert warning({**status, "too_busy_since": "2026-11-22T01:46:40.000Z"}) == (
        "In the last 10 min 34% of 200 looks were set aside as self_overload."
    )
    assert in_passing(Load()) == ""
