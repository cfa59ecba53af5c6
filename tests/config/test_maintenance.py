"""Planned maintenance: patterns, single stretches and cron lines, across clock changes."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.config.maintenance import Maintenance
from monitor.core.instant import Instant, as_datetime, instant
from tests.config.files import loaded

BERLIN = ZoneInfo("Europe/Berlin")


def planned(**keys):
    return Maintenance.model_validate({"duration": "1h"} | keys)


def starts(maintenance, since, until):
    return [
        as_datetime(one.start).astimezone(maintenance.timezone).strftime("%a %d %H:%M %z")
        for one in maintenance.occurrences(instant(since), instant(until))
    ]


@pytest.mark.parametrize(
    ("pattern", "endpoint", "matches"),
    [
        ("openai/*", "openai/gpt-4.1-nano", True),
        ("openai/*", "OpenAI/GPT", True),
        ("openai/*", "openai2/gpt", False),
        ("*/gpt-*", "azure/gpt-4", True),
        ("*/gpt", "azure/gpt-4", False),
        ("open*/n?no", "openai/nano", True),
        ("o.enai/nano", "openai/nano", False),
        ("openai/[ab]", "openai/a", False),
        ("*/*", "any/thing", True),
    ],
)
def test_patterns_do_not_cross_the_slash(pattern, endpoint, matches):
    maintenance = planned(start=datetime(2026, 1, 1, tzinfo=UTC), endpoints=[pattern])
    assert maintenance.matches(endpoint) is matches


def test_once_is_from_its_start_to_just_before_its_end():
    start = instant(datetime(2026, 12, 1, 2, tzinfo=UTC))
    maintenance = planned(start=as_datetime(start))
    hour = 3_600_000_000
    assert [maintenance.covers(Instant(start + shift)) for shift in (-1, 0, hour - 1, hour)] == [
        False,
        True,
        True,
        False,
    ]


def test_a_start_without_offset_is_meant_at_the_site(tmp_path):
    config = loaded(
        tmp_path,
        '[site]\ntimezone = "Europe/Berlin"\n[[maintenance]]\nstart = 2026-12-01T02:00:00\nduration = "1h"',
    )
    assert config.maintenance[0].starts_once == instant(datetime(2026, 12, 1, 1, tzinfo=UTC))


def test_cron_is_meant_at_the_site(tmp_path):
    config = loaded(
        tmp_path,
        '[site]\ntimezone = "Asia/Tokyo"\n[[maintenance]]\ncron = "0 2 * * *"\nduration = "1h"',
    )
    begin = datetime(2026, 11, 21, tzinfo=UTC)
    (one,) = config.maintenance[0].occurrences(instant(begin), instant(begin + timedelta(hours=20)))
    assert as_datetime(one.start) == datetime(2026, 11, 21, 17, tzinfo=UTC)


@pytest.mark.parametrize("sunday", ["sun", "SUN", "0", "7"])
def test_sunday_is_0_and_7_and_has_a_name(sunday):
    maintenance = planned(cron=f"0 2 * * {sunday}")
    begin = datetime(2026, 11, 21, tzinfo=UTC)
    assert starts(maintenance, begin, begin + timedelta(days=14)) == [
        "Sun 22 02:00 +0000",
        "Sun 29 02:00 +0000",
    ]


def test_cron_knows_ranges_lists_and_steps():
    maintenance = planned(cron="*/30 8-9 * * mon-tue,fri")
    begin = datetime(2026, 11, 23, tzinfo=UTC)
    assert len(starts(maintenance, begin, begin + timedelta(days=7))) == 3 * 4


def test_a_stretch_that_began_before_the_window_is_in_it():
    maintenance = planned(cron="0 23 * * *", duration="3h")
    midnight = datetime(2026, 11, 22, tzinfo=UTC)
    assert starts(maintenance, midnight, midnight + timedelta(hours=1)) == ["Sat 21 23:00 +0000"]
    assert maintenance.covers(instant(midnight + timedelta(hours=1, minutes=59)))
    assert not maintenance.covers(instant(midnight + timedelta(hours=2)))


def test_an_hour_that_the_clock_skips_comes_just_after():
    maintenance = planned(cron="30 2 * * *", timezone="Europe/Berlin")
    begin = datetime(2026, 3, 28, tzinfo=BERLIN)
    assert starts(maintenance, begin, begin + timedelta(days=3)) == [
        "Sat 28 02:30 +0100",
        "Sun 29 03:00 +0200",
        "Mon 30 02:30 +0200",
    ]


def test_an_hour_that_the_clock_repeats_counts_once_and_lasts_its_real_time():
    maintenance = planned(cron="30 2 * * *", timezone="Europe/Berlin", duration="2h")
    begin = datetime(2026, 10, 25, tzinfo=BERLIN)
    (one,) = maintenance.occurrences(instant(begin), instant(datetime(2026, 10, 26, tzinfo=BERLIN)))
    assert as_datetime(one.start) == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert one.end - one.start == 2 * 3_600_000_000


def test_the_29th_of_february_is_rare_but_comes():
    maintenance = planned(cron="0 0 29 2 *")
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    assert starts(maintenance, begin, begin + timedelta(days=1200)) == ["Tue 29 00:00 +0000"]


MOMENTS = st.integers(0, 4_000_000_000).map(lambda second: Instant(second * 1_000_000))
CRONS = st.sampled_from(["0 2 * * *", "*/20 * * * *", "15 1-3 * * sat,sun", "30 2 25 10 *", "0 0 1 1 *"])
ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"])


@given(CRONS, ZONES, MOMENTS, st.integers(0, 86_400), st.integers(0, 86_400))
def test_adjacent_windows_see_what_one_window_sees(cron, zone, begin, one, two):
    maintenance = planned(cron=cron, timezone=zone)
    middle = Instant(begin + one * 1_000_000)
    end = Instant(middle + two * 1_000_000)
    apart = {*maintenance.occurrences(begin, middle), *maintenance.occurrences(middle, end)}
    assert apart == set(maintenance.occurrences(begin, end))


@given(CRONS, ZONES, MOMENTS)
def test_a_moment_is_covered_exactly_if_it_lies_in_an_occurrence(cron, zone, moment):
    maintenance = planned(cron=cron, timezone=zone)
    day = 86_400_000_000
    around = maintenance.occurrences(Instant(moment - day), Instant(moment + day))
    assert maintenance.covers(moment) == any(one.start <= moment < one.end for one in around)
