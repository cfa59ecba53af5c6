"""What follows from an attempt to send, and several messages as one."""

from itertools import pairwise
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from monitor.core.alert import (
    GIVE_UP_AFTER,
    POISON_AFTER,
    Alert,
    Fate,
    Kind,
    as_one,
    settle,
)
from monitor.core.instant import DAY, MINUTE, SECOND, Instant

START = Instant(1_800_000_000 * SECOND)


def attempts_of_a_dead_channel(seconds_each: int = 0) -> list[Instant]:
    """When each attempt is made, if every one of them fails after so long."""
    now, made = START, []
    while True:
        made.append(now)
        now = Instant(now + seconds_each * SECOND)
        settled = settle(created=START, attempts=len(made), sent=False, others_passed=False, now=now)
        if settled.fate is Fate.DEAD:
            return made
        assert settled.fate is Fate.LATER
        assert settled.again is not None
        now = settled.again


def test_waits_double_from_five_seconds_to_a_quarter_of_an_hour() -> None:
    made = attempts_of_a_dead_channel()
    waits = [(later - sooner) // SECOND for sooner, later in pairwise(made)]
    assert waits[:9] == [5, 10, 20, 40, 80, 160, 320, 640, 900]
    assert set(waits[8:]) == {900}


def test_a_day_is_tried_and_not_longer() -> None:
    for each in (0, 10, 600):
        made = attempts_of_a_dead_channel(each)
        assert all(moment - START <= GIVE_UP_AFTER for moment in made)
        assert made[-1] - START >= GIVE_UP_AFTER - 2 * 15 * MINUTE - 600 * SECOND
    assert GIVE_UP_AFTER == DAY


@given(
    attempts=st.integers(1, 10_000),
    waited=st.integers(0, 3 * DAY),
    others_passed=st.booleans(),
    sent=st.booleans(),
)
def test_every_attempt_has_one_end(attempts: int, waited: int, *, others_passed: bool, sent: bool) -> None:
    now = Instant(START + waited)
    settled = settle(created=START, attempts=attempts, sent=sent, others_passed=others_passed, now=now)
    if sent:
        assert settled.fate is Fate.SENT
    elif others_passed and attempts >= POISON_AFTER:
        assert settled.fate is Fate.DEAD
    elif settled.fate is Fate.LATER:
        assert settled.again is not None
        assert 5 * SECOND <= settled.again - now <= 15 * MINUTE
        assert settled.again - START <= GIVE_UP_AFTER
    else:
        assert waited > GIVE_UP_AFTER - 15 * MINUTE
    assert (settled.again is not None) is (settled.fate is Fate.LATER)


def alert(sequence: int, title: str, text: str) -> Alert:
    return Alert(
        incident="i",
        sequence=sequence,
        channel="ops",
        kind=Kind.DOWN,
        endpoint="acme/one",
        title=title,
        text=f"{text}\n[i#{sequence}]",
        created=Instant(START + sequence * MINUTE),
    )


def test_one_message_stays_as_it_is() -> None:
    only = alert(1, "DOWN", "it is down")
    assert as_one([only], None) == ("DOWN", "it is down\n[i#1]")


def test_several_say_the_newest_first_and_keep_its_reference_last() -> None:
    title, text = as_one([alert(1, "DOWN", "it is down"), alert(2, "RECOVERED", "it works\nagain")], None)
    assert title == "RECOVERED"
    assert text == ("it works\nagain\nDelayed; not delivered in time:\n- 2027-01-15 08:01:00 UTC DOWN\n[i#2]")


def test_when_the_earlier_ones_were_is_told_in_the_site_s_zone() -> None:
    several = [alert(1, "DOWN", "it is down"), alert(2, "RECOVERED", "it works again")]
    assert "- 2027-01-15 09:01:00 CET DOWN" in as_one(several, ZoneInfo("Europe/Berlin"))[1].splitlines()
