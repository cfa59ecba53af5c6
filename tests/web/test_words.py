"""Numbers, moments and sentences as people read them."""

from dataclasses import replace
from datetime import UTC
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from monitor.core.budget import Price
from monitor.core.instant import DAY, HOUR, MINUTE, Instant, from_iso
from monitor.core.snapshot import EndpointSnapshot, Listing, Shown, Site, Snapshot, Standing
from monitor.web import words

NOW = from_iso("2026-11-22T13:03:21.400Z")
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "–"),
        (0.0, "0.00 ms"),
        (0.42, "0.42 ms"),
        (8.24, "8.2 ms"),
        (9.96, "10 ms"),
        (627.6, "628 ms"),
        (999.4, "999 ms"),
        (999.6, "1.00 s"),
        (1_234.0, "1.23 s"),
        (12_345.0, "12.3 s"),
        (1_234_567.0, "1,234.6 s"),
    ],
)
def test_milliseconds_keep_three_digits(value, said):
    assert words.milliseconds(value) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [(None, "–"), (100.0, "100 %"), (99.99, "99.99 %"), (98.3, "98.30 %"), (0.0, "0 %"), (50.0, "50 %")],
)
def test_percentages_are_never_rounded_up(value, said):
    assert words.percent(value) == said


@pytest.mark.parametrize(("value", "said"), [(None, "–"), (8.44, "8.4"), (118.2, "118"), (1_234.5, "1,234")])
def test_speeds_are_tokens_a_second(value, said):
    assert words.speed(value) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "–"),
        (0.0, "0 s"),
        (43.2, "43 s"),
        (1_085.0, "18 min"),
        (5_700.0, "1.6 h"),
        (280_000.0, "3.2 d"),
    ],
)
def test_a_length_in_a_narrow_column_has_one_unit(value, said):
    assert words.seconds(value) == said


def test_moments_are_told_in_the_zone_of_the_site():
    assert words.moment(NOW, BERLIN) == "22 Nov 2026, 14:03:21 CET"
    assert words.moment(NOW, UTC) == "22 Nov 2026, 13:03:21 UTC"
    assert words.clock(NOW, BERLIN) == "14:03:21"


def test_the_further_back_the_shorter():
    assert words.short(Instant(NOW - 2 * HOUR), NOW, BERLIN) == "12:03"
    assert words.short(Instant(NOW - 20 * HOUR), NOW, BERLIN) == "21 Nov, 18:03"
    assert words.short(Instant(NOW - 300 * DAY), NOW, BERLIN) == "26 Jan 2026"


def test_prices_are_as_exact_as_the_config():
    full = Price(input=Decimal("0.10"), output=Decimal("0.40"), cache_read=Decimal("0.025"))
    assert words.price(full) == "$0.10 in · $0.40 out · $0.025 cached"
    assert words.price(replace(full, cache_read=None, input=Decimal("1E-6"))) == "$0.000001 in · $0.40 out"
    assert words.price(None) == "–"


def test_policies_are_short_sentences():
    said = {"prompt_training": False, "prompt_logging": "30 day retention", "moderation": "developer"}
    assert words.policy(said) == [
        "no training on prompts",
        "logging: 30 day retention",
        "moderation: developer",
    ]
    assert words.policy({"prompt_training": True, "prompt_logging": None, "moderation": None}) == [
        "prompts train models"
    ]
    assert words.policy(None) == []


# The sentence on top


def _snapshot(*states: Shown, stale: bool = False) -> Snapshot:
    endpoints = tuple(
        EndpointSnapshot(
            listing=Listing(
                id=f"acme/m{place}",
                provider="acme",
                provider_name="Acme",
                name=f"m{place}",
                model="m",
                model_id="m",
                protocol="http",
                interval=MINUTE,
            ),
            standing=Standing(state, NOW, "because"),
            windows={},
        )
        for place, state in enumerate(states)
    )
    return Snapshot(site=Site(), now=NOW, generated_at=NOW, stale=stale, endpoints=endpoints)


UP, DEGRADED, DOWN = Shown.UP, Shown.DEGRADED, Shown.DOWN
UNKNOWN, MAINTENANCE, PAUSED = Shown.UNKNOWN, Shown.MAINTENANCE, Shown.PAUSED


@pytest.mark.parametrize(
    ("states", "headline", "subline", "overall"),
    [
        ((), "Nothing is watched yet", "", UNKNOWN),
        ((UP,), "The only endpoint is up", "", UP),
        ((UP, UP), "All 2 endpoints are up", "", UP),
        ((UP, DOWN), "1 of 2 endpoints is down", "Acme m1", DOWN),
        ((DOWN, DOWN, UP), "2 of 3 endpoints are down", "Acme m0, Acme m1", DOWN),
        ((DOWN,), "The only endpoint is down", "Acme m0", DOWN),
        ((DOWN, DEGRADED, UNKNOWN), "1 of 3 endpoints is down", "Acme m0 · 1 degraded · 1 unknown", DOWN),
        ((DEGRADED, UNKNOWN, UP), "1 of 3 endpoints is degraded", "Acme m0 · 1 unknown", DEGRADED),
        ((UNKNOWN, UP), "1 of 2 endpoints is unknown, nothing else is wrong", "", UNKNOWN),
        ((UNKNOWN, UNKNOWN), "The state of things is unknown", "", UNKNOWN),
        (
            (UP, MAINTENANCE),
            "1 of 2 endpoints is under maintenance or paused, nothing is wrong",
            "",
            MAINTENANCE,
        ),
        ((PAUSED, PAUSED), "All 2 endpoints are under maintenance or paused", "", PAUSED),
    ],
)
def test_one_sentence_says_how_things_are(states, headline, subline, overall):
    snapshot = _snapshot(*states)
    assert words.headline(snapshot) == headline
    assert words.subline(snapshot) == subline
    assert words.overall(snapshot) is overall


def test_who_is_silent_vouches_for_nothing():
    assert words.overall(_snapshot(UP, UP, stale=True)) is UNKNOWN
    assert words.headline(_snapshot(UP, UP, stale=True)) == "The state of things is unknown"
    assert words.headline(_snapshot(UP, DOWN, stale=True)) == "1 of 2 endpoints is down"


def test_many_names_are_not_all_told():
    assert words.subline(_snapshot(*[DOWN] * 6)) == "Acme m0, Acme m1, Acme m2 and 3 more"


def test_a_sibling_is_not_taken_for_the_endpoint_whose_name_it_bears():
    (one,) = _snapshot(DOWN).endpoints
    sibling = replace(one, listing=replace(one.listing, id="acme/m0.anthropic", called="m0 over anthropic"))
    snapshot = replace(_snapshot(DOWN), endpoints=(one, sibling))
    assert words.subline(snapshot) == "Acme m0, Acme m0 over anthropic"


def test_states_are_counted_worst_first():
    assert words.tally(_snapshot(UP, DOWN, UP, PAUSED).endpoints) == [(DOWN, 1), (PAUSED, 1), (UP, 2)]
