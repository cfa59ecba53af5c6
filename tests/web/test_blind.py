"""What is said of a monitor that cannot see."""

import json
from dataclasses import replace

from monitor.core.belief import State
from monitor.core.instant import MINUTE, SECOND, Instant
from monitor.core.path import Blind, Need
from monitor.core.snapshot import Heartbeat, Site, Snapshot, Story, Told
from monitor.feeds import api_v1
from monitor.web import pages

NOW = Instant(1_795_312_000 * SECOND)
OPEN = Blind(
    started=Instant(NOW - 3 * MINUTE),
    ended=None,
    need=Need.INTERNET,
    reason="The monitor itself has no network",
)
OVER = replace(OPEN, started=Instant(NOW - 90 * MINUTE), ended=Instant(NOW - 80 * MINUTE))


def snapshot(*blind: Blind) -> Snapshot:
    heartbeat = Heartbeat(beat_at=NOW, version="0.1.0", status={})
    return Snapshot(site=Site(), now=NOW, generated_at=NOW, stale=False, heartbeat=heartbeat, blind=blind)


def page(seen: Snapshot) -> str:
    return " ".join(pages.home(seen).decode().split())


def test_while_it_is_blind_the_page_says_so_at_the_top() -> None:
    said = page(snapshot(OPEN, OVER)).partition("<footer>")[0]
    assert "<h2>The monitor cannot see</h2>" in said
    assert "The monitor itself has no network (since <time" in said


def test_once_it_sees_again_and_where_nobody_vouches_for_it_the_page_does_not() -> None:
    assert "cannot see" not in page(snapshot(OVER))
    assert "cannot see" not in page(replace(snapshot(OPEN), stale=True))


def test_an_incident_that_was_withdrawn_is_told_as_none() -> None:
    updates = (
        Told(OVER.started, "down", "3 failures in a row"),
        Told(NOW, "withdrawn", "no network"),
    )
    story = Story(
        id="20261122-0a", title="Acme m down", impact=State.DOWN, endpoints=("acme/m",),
        started_at=OVER.started, ended_at=NOW, updates=updates,
    )  # fmt: skip
    seen = replace(snapshot(OVER), incidents=(story,))
    assert "Withdrawn: no network" in page(seen)
    assert "Withdrawn</span>" in pages.incident(seen, story).decode()
    over = replace(story, updates=updates[:1])
    assert "3 failures in a row" in page(replace(seen, incidents=(over,)))
    assert "Over</span>" in pages.incident(seen, over).decode()


def test_the_daemons_document_lists_when_it_could_not_see() -> None:
    assert json.loads(api_v1.daemon(snapshot(OPEN, OVER)))["blind"] == [
        {
            "started_at": "2026-11-22T01:43:40.000Z",
            "ended_at": None,
            "reason": "The monitor itself has no network",
        },
        {
            "started_at": "2026-11-22T00:16:40.000Z",
            "ended_at": "2026-11-22T00:26:40.000Z",
            "reason": "The monitor itself has no network",
        },
    ]
