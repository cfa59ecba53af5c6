"""What a reader sees."""

from dataclasses import replace

import pytest

from monitor.core.belief import Belief, Quiet, State
from monitor.core.headroom import Headroom
from monitor.core.instant import HOUR, MINUTE, SECOND, Instant, Span
from monitor.core.outcome import Outcome
from monitor.core.slots import Grid, Segment
from monitor.core.snapshot import (
    EndpointSnapshot,
    Heartbeat,
    Listing,
    Shown,
    Snapshot,
    Standing,
    Story,
    Told,
    heard,
    public_story,
    spells,
    standing,
    without_detail,
)
from monitor.core.snapshot import Site as SiteFacts
from monitor.core.step import Result, probe_id
from monitor.core.uptime import Record, Stretch, Turn, Window, window
from monitor.core.uptime import Result as Counted

NOW = Instant(1_795_000_000_000_000)
EVERY = MINUTE
UP = Belief(
    endpoint="acme/model",
    state=State.UP,
    since=Instant(NOW - HOUR),
    reason="first working probe",
    classified=Instant(NOW - 10 * SECOND),
)


def test_an_endpoint_nobody_looked_at_is_unknown_since_nobody_knows_when():
    assert standing(None, EVERY, NOW) == Standing(Shown.UNKNOWN, None, "no look yet")
    assert standing(Belief(endpoint="acme/model"), EVERY, NOW).since is None


def test_a_fresh_belief_is_shown_as_it_is():
    assert standing(UP, EVERY, NOW) == Standing(Shown.UP, UP.since, UP.reason)


def test_who_asks_us_to_wait_is_shown_as_throttled_and_not_as_silent():
    waits = Instant(NOW + 40 * SECOND)
    throttled = replace(UP, not_before=waits, last_outcome=Outcome.RATE_LIMITED, last_detail="429")
    assert standing(throttled, EVERY, NOW) == Standing(Shown.UP, UP.since, UP.reason, waits)
    assert standing(throttled, EVERY, waits).throttled_until is None
    never = replace(throttled, state=State.UNKNOWN, since=Instant(0))
    assert standing(never, EVERY, NOW).reason == "no working look yet, last: rate_limited: 429"


def test_who_never_worked_is_told_with_what_came_of_the_newest_look():
    never = Belief(endpoint="acme/model", last_outcome=Outcome.AUTH_FAILED, last_detail="status is 401")
    assert standing(never, EVERY, NOW).reason == "no working look yet, last: auth_failed: status is 401"
    bare = replace(never, last_detail=None)
    assert standing(bare, EVERY, NOW).reason == "no working look yet, last: auth_failed"
    silent = replace(UP, state=State.UNKNOWN, since=NOW, reason="nothing heard for 3 intervals")
    failed = replace(silent, last_outcome=Outcome.HTTP_5XX, last_detail="status is 503")
    assert standing(failed, EVERY, NOW).reason == "nothing heard for 3 intervals"
    revoked = replace(silent, last_outcome=Outcome.AUTH_FAILED, last_detail="status is 401")
    assert standing(revoked, EVERY, NOW).reason == "no working look yet, last: auth_failed: status is 401"


def test_a_wait_that_no_server_can_ask_for_is_a_clock_of_ours_that_was_set_back():
    step = replace(UP, not_before=Instant(NOW + 15 * EVERY + 1))
    assert standing(step, EVERY, NOW).throttled_until is None
    assert standing(step, EVERY, Instant(NOW + 1)).throttled_until == step.not_before


def test_silence_of_three_intervals_is_unknown_though_the_daemon_may_be_dead():
    edge = Instant(UP.classified + 3 * EVERY)
    assert standing(UP, EVERY, edge).state is Shown.UP
    silent = standing(UP, EVERY, Instant(edge + 1))
    assert silent == Standing(Shown.UNKNOWN, edge, "nothing heard for 3 intervals")


def test_a_mistake_of_ours_is_the_reason_for_the_silence():
    mistaken = replace(UP, last_outcome=Outcome.AUTH_FAILED, last_detail="status is 401")
    assert standing(mistaken, EVERY, Instant(NOW + HOUR)).reason == "auth_failed: status is 401"


@pytest.mark.parametrize(
    ("quiet", "reason"), [("maintenance", "planned maintenance"), ("paused", "paused by an operator")]
)
def test_quiet_lies_over_every_state_and_over_silence(quiet, reason):
    hushed = replace(UP, quiet={Quiet(quiet): Instant(NOW - MINUTE)})
    expected = Standing(Shown(quiet), Instant(NOW - MINUTE), reason)
    assert standing(hushed, EVERY, NOW) == expected
    assert standing(hushed, EVERY, Instant(NOW + HOUR)) == expected


def test_maintenance_is_not_told_by_who_has_not_seen_whether_it_is_over():
    under = replace(UP, quiet={Quiet.MAINTENANCE: Instant(NOW - MINUTE)})
    later = Instant(NOW + HOUR)
    assert standing(under, EVERY, later, stale=True).state is Shown.UNKNOWN
    paused = replace(UP, quiet={Quiet.PAUSED: Instant(NOW - MINUTE)})
    assert standing(paused, EVERY, later, stale=True).state is Shown.PAUSED


def test_a_pause_lies_over_maintenance():
    both = replace(UP, quiet={Quiet.MAINTENANCE: NOW, Quiet.PAUSED: NOW})
    assert standing(both, EVERY, NOW).state is Shown.PAUSED


def test_silence_counts_as_unknown_time_though_no_transition_says_so():
    grid = Grid(Span(EVERY), Span(0))
    schedule = [
        Segment(endpoint="acme/model", grid=grid, timeout=Span(30 * SECOND), starts=Instant(NOW - HOUR))
    ]
    record = Record(turns=[Turn(Instant(NOW - HOUR), State.UP)], schedule=schedule)
    later = Instant(NOW + 30 * MINUTE)
    figures = window(Window.H1, heard(record, UP, EVERY, later), later, Span(90 * HOUR))
    silent_s = (later - (UP.classified + 3 * EVERY)) / SECOND
    assert figures.unknown_s == pytest.approx(silent_s)
    assert heard(record, UP, EVERY, NOW) is record
    assert heard(record, None, EVERY, later) is record


def test_the_minutes_of_an_hour_add_up_to_it():
    grid = Grid(Span(EVERY), Span(7 * SECOND))
    slots = list(grid.slots(Instant(NOW - HOUR), NOW))
    record = Record(
        results=[
            Counted(slot, None if place % 5 else Outcome.HTTP_5XX.blame) for place, slot in enumerate(slots)
        ],
        turns=[Turn(Instant(NOW - 2 * HOUR), State.UP), Turn(Instant(NOW - 10 * MINUTE), State.DOWN)],
        quiet=[Stretch(Instant(NOW - 30 * MINUTE), Instant(NOW - 25 * MINUTE))],
        schedule=[Segment(endpoint="a/b", grid=grid, timeout=Span(SECOND), starts=Instant(NOW - 3 * HOUR))],
    )
    found = spells(record, 60, MINUTE, NOW)
    assert len(found) == 60
    assert all(spell.start % MINUTE == 0 for spell in found)
    assert found[-1].start <= NOW < found[-1].start + MINUTE
    covered = NOW - found[0].start
    assert sum(spell.time.total for spell in found) == covered
    assert sum(spell.time.down for spell in found) == 10 * MINUTE
    assert sum(spell.time.quiet for spell in found) == 5 * MINUTE
    inside = [slot for slot in slots if slot >= found[0].start]
    assert sum(spell.counts.total for spell in found) == len(inside)


# For everybody


def _listing(id_: str, **changed: object) -> Listing:
    facts: dict[str, object] = {
        "id": id_,
        "provider": id_.partition("/")[0],
        "provider_name": "Acme",
        "name": id_,
        "model": id_,
        "model_id": id_,
        "protocol": "openai-chat",
        "interval": EVERY,
    }
    return Listing(**(facts | changed))  # type: ignore[arg-type]


def _snapshot() -> Snapshot:
    probe = Result(
        probe_id=probe_id(NOW, 7),
        endpoint="acme/open",
        at=NOW,
        slot=NOW,
        scheduled=True,
        outcome=Outcome.HTTP_5XX,
        detail="status is 503: internal host db7 refused",
        request_id="req-1",
        headroom_permille=832,
    )
    reason = "3 failures in a row, last: http_5xx: status is 503: internal host db7 refused"
    down = Standing(Shown.DOWN, NOW, reason)
    endpoints = tuple(
        EndpointSnapshot(
            listing=listing, standing=down, windows={}, last_probe=probe, headroom=Headroom(NOW, ())
        )
        for listing in (_listing("acme/open"), _listing("acme/secret", public=False))
    )
    story = Story(
        id="20261118-1",
        title="Acme open down",
        impact=State.DOWN,
        started_at=NOW,
        ended_at=None,
        endpoints=("acme/open", "acme/secret"),
        updates=(Told(NOW, "down", reason),),
    )
    hidden = replace(story, id="20261118-2", endpoints=("acme/secret",))
    return Snapshot(
        site=SiteFacts(),
        now=NOW,
        generated_at=NOW,
        stale=False,
        heartbeat=Heartbeat(beat_at=NOW, status={"pid": 17}),
        endpoints=endpoints,
        incidents=(story, hidden),
    )


def test_everybody_sees_only_what_is_public():
    public = _snapshot().public()
    assert [one.id for one in public.endpoints] == ["acme/open"]
    assert [story.id for story in public.incidents] == ["20261118-1"]
    assert public.incidents[0].endpoints == ("acme/open",)
    assert public.open_incidents == public.incidents
    assert public.endpoint("acme/secret") is None


def test_when_a_hidden_endpoint_was_looked_at_is_not_told():
    snapshot = _snapshot()
    shown, hidden = snapshot.endpoints
    later = Instant(NOW + MINUTE)
    looked_at = replace(hidden, last_probe=replace(hidden.last_probe, at=later))
    after = replace(snapshot, generated_at=later, endpoints=(shown, looked_at))
    assert after.public().generated_at == snapshot.public().generated_at == NOW


def test_incidents_that_are_open_are_told_before_all_others():
    (open_one, _) = _snapshot().incidents
    over = [
        replace(open_one, id=f"over-{place}", started_at=Instant(NOW + place), ended_at=Instant(NOW + HOUR))
        for place in range(200, 0, -1)
    ]
    snapshot = replace(_snapshot(), incidents=(*over, open_one))
    assert snapshot.newest_incidents() == (*over[:99], open_one)
    assert snapshot.newest_incidents(1) == (open_one,)
    assert snapshot.newest_incidents(3) == (*over[:2], open_one)
    many = [replace(open_one, id=f"open-{place}") for place in range(150)]
    assert len(replace(snapshot, incidents=(*over, *many)).newest_incidents()) == 150


def test_everybody_sees_no_detail_no_request_id_and_nothing_of_the_daemon():
    public = _snapshot().public()
    said = repr(public)
    assert "db7" not in said
    assert public.endpoints[0].headroom is None
    assert public.endpoints[0].last_probe.headroom_permille is None
    assert "req-1" not in said
    assert "17" not in repr(public.heartbeat and public.heartbeat.status)
    assert public.endpoints[0].standing.reason == "3 failures in a row, last: http_5xx"
    assert public.incidents[0].updates[0].text == "3 failures in a row, last: http_5xx"


def test_a_story_of_hidden_endpoints_is_no_public_story():
    (_, hidden) = _snapshot().incidents
    assert public_story(hidden, {"acme/open"}) is None


@pytest.mark.parametrize(
    ("told", "public"),
    [
        ("first working probe", "first working probe"),
        ("3 looks in a row: slow: first token after 2 s", "3 looks in a row: slow"),
        ("works again, but wrong_answer: it said: nothing", "works again, but wrong_answer"),
        ("auth_failed: key sk-1 refused\nby host", "auth_failed"),
        (
            "Works again after 4 min: 2 working looks in a row",
            "Works again after 4 min: 2 working looks in a row",
        ),
        (
            "ttft_p50 is 900 ms over the last 30 min (limit 800 ms)",
            "ttft_p50 is 900 ms over the last 30 min (limit 800 ms)",
        ),
        ("Closed: the endpoint is no longer configured", "Closed: the endpoint is no longer configured"),
        ("http_5xx: a: stalled: b", "http_5xx"),
    ],
)
def test_what_a_server_answered_is_cut_off_behind_the_outcome(told, public):
    assert without_detail(told) == public


@pytest.mark.parametrize("outcome", list(Outcome))
def test_no_outcome_lets_its_detail_through(outcome):
    assert (
        without_detail(f"3 failures in a row, last: {outcome}: secret")
        == f"3 failures in a row, last: {outcome}"
    )
