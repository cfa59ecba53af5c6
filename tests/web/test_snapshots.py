"""When the newest snapshot is made anew, and what it says while the database is away."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest

from monitor import upkeep
from monitor.clock import Clock
from monitor.core.instant import HOUR, MINUTE, SECOND, Instant
from monitor.core.snapshot import Shown, Site, Snapshot
from monitor.core.step import Step
from monitor.core.uptime import PUBLISHED, Window
from monitor.store import lock
from monitor.store.engine import Database
from monitor.store.journal import Journal
from monitor.web.snapshots import Snapshots
from monitor.web.tiers import Tiers
from tests.store.believable import Life, Past, lived, write

pytestmark = pytest.mark.anyio

NOW = Instant(1_795_000_000_000_000)
LIVES = (Life(id="acme/model"), Life(id="acme/site", ttft_ms=None, price=None))
PASTS = [lived(life, Instant(NOW - 2 * HOUR), NOW) for life in LIVES]


class Hands:
    """Both clocks, moved by hand."""

    def __init__(self) -> None:
        self.now, self.monotonic = NOW, 1_000.0

    def pass_(self, seconds: float) -> None:
        self.now = Instant(self.now + round(seconds * SECOND))
        self.monotonic += seconds

    @property
    def clock(self) -> Clock:
        return Clock(now=lambda: self.now, monotonic=lambda: self.monotonic)


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
async def snapshots(database_url: str, tmp_path: Path, hands: Hands) -> AsyncIterator[Snapshots]:
    """Two endpoints with two hours behind them; the daemon beat a moment ago."""
    write(database_url, PASTS, NOW)
    database = Database(database_url, readonly=True)
    yield _snapshots(database, tmp_path, hands)
    database.dispose()


def _snapshots(database: Database, folder: Path, hands: Hands) -> Snapshots:
    return Snapshots(
        database,
        site=Site(),
        listings=[life.listing for life in LIVES],
        status=folder / "status.json",
        clock=hands.clock,
    )


def _store(url: str, *steps: Step, beat: Instant | None = None) -> None:
    database = Database(url)
    ownership = lock.acquire(database)
    assert ownership is not None
    journal = Journal(database, ownership.epoch)
    journal.register([life.id for life in LIVES], NOW)
    if steps:
        journal.write(steps)
    if beat is not None:
        journal.beat(beat, {})
    ownership.release()
    database.dispose()


def _next_minute(past: Past, life: Life) -> list[Step]:
    """What the daemon stores in the minute after now."""
    return lived(life, Instant(NOW - 2 * HOUR), Instant(NOW + MINUTE)).steps[len(past.steps) :]


async def test_all_who_ask_at_the_same_time_get_the_same_snapshot(snapshots):
    found = await asyncio.gather(*(snapshots.newest() for _ in range(20)))
    assert len({id(one) for one in found}) == 1
    assert [one.state for one in found[0].endpoints] == [Shown.UP, Shown.UP]
    assert found[0].endpoints[0].windows[Window.D90].counts.ok == len(PASTS[0].results)
    assert len(found[0].endpoints[0].bars) == 90
    assert len(found[0].endpoints[0].hour) == 60
    assert found[0].endpoints[0].unread == frozenset()


async def test_while_nothing_is_stored_the_snapshot_stays_the_same(snapshots, hands):
    first = await snapshots.newest()
    hands.pass_(5)
    assert await snapshots.newest() is first
    hands.pass_(6)
    later = await snapshots.newest()
    assert later is not first
    assert later.endpoints[0].windows[Window.H1].start == hands.now - HOUR


async def test_a_new_result_is_seen_within_a_second(snapshots, database_url, hands):
    first = await snapshots.newest()
    _store(database_url, *_next_minute(PASTS[0], LIVES[0]))
    assert await snapshots.newest() is first
    hands.pass_(1.1)
    later = await snapshots.newest()
    assert later.endpoints[0].last_probe.at > first.endpoints[0].last_probe.at
    assert later.generated_at == later.endpoints[0].last_probe.at


async def test_it_is_stale_half_a_minute_after_the_last_heartbeat(snapshots, database_url, hands):
    assert (await snapshots.newest()).stale is False
    hands.pass_(30)
    assert (await snapshots.newest()).stale is False
    hands.pass_(1.1)
    assert (await snapshots.newest()).stale is True
    _store(database_url, beat=hands.now)
    hands.pass_(1.1)
    assert (await snapshots.newest()).stale is False


async def test_silence_becomes_unknown_though_nothing_is_stored(snapshots, hands):
    await snapshots.newest()
    hands.pass_(2 * 60)
    assert (await snapshots.newest()).endpoints[0].state is Shown.UP
    hands.pass_(2 * 60)
    silent = (await snapshots.newest()).endpoints[0]
    assert silent.state is Shown.UNKNOWN
    assert silent.windows[Window.H1].unknown_s > 0
    assert silent.hour[-1].time.unknown > 0


async def test_silence_is_seen_within_a_second(snapshots, hands):
    await snapshots.newest()
    heard = PASTS[0].steps[-1].belief.classified
    hands.pass_((heard + 3 * LIVES[0].interval - hands.now) / SECOND - 0.5)
    assert (await snapshots.newest()).endpoints[0].state is Shown.UP
    hands.pass_(1.1)
    assert (await snapshots.newest()).endpoints[0].state is Shown.UNKNOWN


async def test_before_the_first_daemon_there_is_nothing_but_the_config(database_url, tmp_path, hands):
    database = Database(database_url, readonly=True)
    found = await _snapshots(database, tmp_path, hands).newest()
    assert [one.state for one in found.endpoints] == [Shown.UNKNOWN, Shown.UNKNOWN]
    assert (found.stale, found.generated_at, found.heartbeat) == (True, None, None)
    assert all(found.endpoints[0].windows[which].uptime is None for which in PUBLISHED)
    database.dispose()


# The database is away


def _write_status(folder: Path, hands: Hands) -> None:
    """As the daemon does every five seconds."""
    beliefs = [past.steps[-1].belief for past in PASTS]
    down = replace(beliefs[1], state="down", reason="3 failures in a row")
    document = upkeep.status([beliefs[0], down], hands.now, {"version": "0.1.0"})
    upkeep.write_status(folder / "status.json", document)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_states_come_from_the_daemon_s_own_file(snapshots, postgres, tmp_path, hands):
    before = await snapshots.newest()
    _write_status(tmp_path, hands)
    with postgres.stopped():
        hands.pass_(1.1)
        away = await snapshots.newest()
        assert (away.stale, away.database_away) == (False, True)
        assert [one.state for one in away.endpoints] == [Shown.UP, Shown.DOWN]
        assert away.endpoints[0].windows == before.endpoints[0].windows
        assert away.endpoints[0].last_probe == before.endpoints[0].last_probe
        assert away.generated_at == before.generated_at
        hands.pass_(1.1)
        assert (await snapshots.newest()).database_away is True
    back = await _once_back(snapshots, hands)
    assert back.stale is False
    assert [one.state for one in back.endpoints] == [Shown.UP, Shown.UP]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_page_asked_every_second_finds_a_database_that_comes_late(database_url, tmp_path, hands):
    database = Database(database_url, readonly=True)
    snapshots = _snapshots(database, tmp_path, hands)
    for _ in range(5):
        assert (await snapshots.newest()).database_away is True
        hands.pass_(1.1)
    write(database_url, PASTS, NOW)
    assert (await _once_back(snapshots, hands)).generated_at is not None
    database.dispose()


async def _once_back(snapshots: Snapshots, hands: Hands) -> Snapshot:
    """Asked once a second, until it has the database again; a busy machine may need a few."""
    async with asyncio.timeout(20):
        while (found := await snapshots.newest()).database_away:
            hands.pass_(1.1)
            await asyncio.sleep(0.01)
    return found


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_a_frozen_database_holds_up_no_reader_for_long(snapshots, postgres, tmp_path, hands):
    await snapshots.newest()
    _write_status(tmp_path, hands)
    with postgres.frozen():
        took = []
        for _ in range(4):
            hands.pass_(11)
            began = time.monotonic()
            found = await snapshots.newest()
            took.append(time.monotonic() - began)
            assert found.database_away is True
        assert max(took) < 1.6, took
        assert max(took[1:]) < 0.5, took


async def test_without_a_database_and_without_a_file_everything_is_unknown(tmp_path, hands):
    database = Database(f"sqlite:///{tmp_path / 'nothing.db'}", readonly=True)
    found = await _snapshots(database, tmp_path, hands).newest()
    assert (found.stale, found.database_away) == (True, True)
    assert [one.state for one in found.endpoints] == [Shown.UNKNOWN, Shown.UNKNOWN]
    assert not (tmp_path / "nothing.db").exists()
    database.dispose()


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"endpoints": 3, "at": "x"}', '{"endpoints": {}, "daemon": 1}']
)
async def test_a_file_that_says_nothing_is_no_reason_to_fail(tmp_path, hands, content):
    (tmp_path / "status.json").write_text(content)
    database = Database(f"sqlite:///{tmp_path / 'nothing.db'}", readonly=True)
    found = await _snapshots(database, tmp_path, hands).newest()
    assert [one.state for one in found.endpoints] == [Shown.UNKNOWN, Shown.UNKNOWN]
    database.dispose()


SAID = {"state": "up", "since": 0, "reason": "", "classified": 0}


@pytest.mark.parametrize(
    "said",
    [
        3,
        {},
        {"state": "up"},
        {**SAID, "state": "asleep"},
        {**SAID, "since": "today"},
        {**SAID, "outcome": "struck_by_lightning"},
    ],
)
async def test_what_another_version_says_of_an_endpoint_costs_only_that_endpoint(tmp_path, hands, said):
    _write_status(tmp_path, hands)
    document = json.loads((tmp_path / "status.json").read_text())
    document["endpoints"]["acme/model"] = said
    (tmp_path / "status.json").write_text(json.dumps(document))
    database = Database(f"sqlite:///{tmp_path / 'nothing.db'}", readonly=True)
    found = await _snapshots(database, tmp_path, hands).newest()
    assert [one.state for one in found.endpoints] == [Shown.UNKNOWN, Shown.DOWN]
    database.dispose()


async def test_pauses_are_known_from_the_file_too(tmp_path, hands):
    _write_status(tmp_path, hands)
    document = json.loads((tmp_path / "status.json").read_text())
    document["endpoints"]["acme/model"]["state"] = "paused"
    (tmp_path / "status.json").write_text(json.dumps(document))
    database = Database(f"sqlite:///{tmp_path / 'nothing.db'}", readonly=True)
    found = await _snapshots(database, tmp_path, hands).newest()
    assert found.endpoints[0].state is Shown.PAUSED
    database.dispose()


# Windows that take their time


def test_a_tier_rests_nine_times_as_long_as_it_took(tmp_path):
    url = f"sqlite:///{tmp_path / 'uptoken.db'}"
    write(url, PASTS, NOW)
    database, asked = Database(url, readonly=True), [0.0]

    def slow_clock() -> float:
        asked[0] += 0.01  # as if everything between two looks at it took ten milliseconds
        return asked[0]

    listings = [life.listing for life in LIVES]
    tiers = Tiers(Site(), listings, Clock(now=lambda: NOW, monotonic=slow_clock))
    from monitor.store import history

    def measure(moment):
        tiers.measure(moment, history.heads(moment), NOW)

    database.read(measure)
    (first, *_) = tiers._tiers
    assert first.took_s == pytest.approx(0.01)
    assert first.due == pytest.approx(asked[0] - 0.05 + 0.09, abs=0.05)
    before = first.due
    database.read(measure)
    assert first.due == before
    asked[0] += 1
    database.read(measure)
    assert first.due > before
    database.dispose()


def test_windows_of_many_results_are_read_beside_the_requests(tmp_path, hands):
    url = f"sqlite:///{tmp_path / 'uptoken.db'}"
    write(url, PASTS, NOW)
    database = Database(url, readonly=True)
    tiers = Tiers(Site(), [life.listing for life in LIVES], hands.clock)
    assert tiers.of("acme/model", NOW).unread == frozenset(PUBLISHED)
    _finish(tiers.measure_beside(database))
    measured = tiers.of("acme/model", NOW)
    assert measured.unread == frozenset()
    assert measured.windows[Window.D90].counts.ok == len(PASTS[0].results)
    assert tiers.rounds > 0
    assert tiers.measure_beside(database) is None
    database.dispose()


def test_a_database_that_goes_away_meanwhile_is_asked_again_later(tmp_path, hands):
    database = Database(f"sqlite:///{tmp_path / 'nothing.db'}", readonly=True)
    tiers = Tiers(Site(), [LIVES[0].listing], hands.clock)
    _finish(tiers.measure_beside(database))
    assert tiers.of("acme/model", NOW).unread == frozenset(PUBLISHED)
    assert tiers.measure_beside(database) is None
    hands.pass_(6)
    _finish(tiers.measure_beside(database))
    database.dispose()


def _finish(thread: Thread | None) -> None:
    assert thread is not None
    thread.join(10)
    assert not thread.is_alive()
