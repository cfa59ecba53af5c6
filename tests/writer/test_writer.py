"""Steps become durable in the order in which they were decided, whatever the database does."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import Connection, func, select

from monitor import clock
from monitor.core.alert import Fate
from monitor.core.belief import Tick
from monitor.core.instant import Instant, Span
from monitor.core.step import Checkpoint, Known, Owed, Sent, Step
from monitor.store import lock, migrate, schema
from monitor.store.engine import Database, DatabaseAway
from monitor.store.journal import Journal
from monitor.store.spool import Spool, load_checkpoint
from monitor.writer import Writer, write_all
from tests.core.believing import START, look, rules
from tests.support.postgres import Cluster
from tests.support.truth import result, step

ENDPOINT = "acme/one"


@dataclass
class Desk:
    """A writer with a database of its own."""

    database: Database
    folder: Path
    delivered: list[Owed] = field(default_factory=list)
    now: Instant = START
    ownership: lock.Ownership | None = None

    def connect(self) -> Journal:
        if self.ownership is None or not self.ownership.alive():
            self.ownership = lock.acquire(self.database)
        assert self.ownership is not None
        journal = Journal(self.database, self.ownership.epoch)
        journal.register([ENDPOINT], START)
        return journal

    def writer(self, *, journal: Journal | None, spool: Spool, known: Checkpoint) -> Writer:
        return Writer(
            connect=self.connect,
            journal=journal,
            spool=spool,
            known=known,
            rules={ENDPOINT: rules()},
            now=lambda: self.now,
            monotonic=clock.monotonic,
            deliver=self.deliver,
            state_dir=self.folder,
        )

    def deliver(self, alerts: Sequence[Owed]) -> None:
        self.delivered += alerts

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Writer]:
        """A daemon's writer as it starts with its database."""
        journal = self.connect()
        known = journal.load({ENDPOINT: Span(0)}, START)
        writer = self.writer(journal=journal, spool=Spool(self.folder / "spool"), known=known)
        async with self.work(writer):
            yield writer

    @asynccontextmanager
    async def work(self, writer: Writer) -> AsyncIterator[Writer]:
        task = asyncio.create_task(writer.run())
        try:
            yield writer
        finally:
            writer.close()
            await task
            writer.release()

    def play(self, writer: Writer, letters: str, first: int = 0) -> None:
        """One look a minute, each with its result."""
        for number, letter in enumerate(letters, first):
            seen = result(number)
            self.now = seen.at
            event = look(seen.at, letter)
            stored = result(number, outcome=event.verdict.outcome, detail=event.verdict.detail)
            writer.record(ENDPOINT, event, result=stored)

    def count(self, table: str) -> int:
        def work(connection: Connection) -> int:
            found = connection.execute(select(func.count()).select_from(schema.metadata.tables[table]))
            return int(found.scalar_one())

        return self.database.read(work)


@pytest.fixture
def desk(database_url: str, tmp_path: Path) -> Iterator[Desk]:
    yield from _desk(database_url, tmp_path)


@pytest.fixture
def postgres_desk(postgres_url: str, tmp_path: Path) -> Iterator[Desk]:
    yield from _desk(postgres_url, tmp_path)


def _desk(url: str, folder: Path) -> Iterator[Desk]:
    database = Database(url)
    migrate.upgrade(database)
    desk = Desk(database, folder)
    yield desk
    if desk.ownership is not None:
        desk.ownership.release()
    database.dispose()


async def until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait for something that must come true. Raises TimeoutError if it does not."""
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.01)


@pytest.mark.anyio
async def test_an_alert_is_delivered_only_when_its_transition_is_durable(desk: Desk) -> None:
    async with desk.running() as writer:
        desk.play(writer, "gbbb")
        assert desk.delivered == []
        await until(lambda: bool(desk.delivered))
        assert desk.count("alert") == 1
        assert desk.count("probe") == 4


@pytest.mark.anyio
async def test_results_are_gathered_and_lost_by_nobody(desk: Desk) -> None:
    async with desk.running() as writer:
        for number in range(1234):
            writer.put(step(number))
        await until(lambda: writer.health.stored == 1234)
    assert desk.count("probe") == 1234


@pytest.mark.anyio
async def test_closing_writes_what_is_waiting(desk: Desk) -> None:
    async with desk.running() as writer:
        desk.play(writer, "ggg")
    assert desk.count("probe") == 3


@pytest.mark.anyio
async def test_a_step_that_the_database_refuses_holds_up_no_other(desk: Desk) -> None:
    async with desk.running() as writer:
        writer.put(step(1))
        writer.put(step(2, request_id="a lone surrogate \ud800 that nobody cleaned"))
        writer.put(step(3))
        await until(lambda: writer.health.waiting == 0)
    assert desk.count("probe") == 2
    assert "ud800" in (desk.folder / "refused.jsonl").read_text()


@pytest.mark.anyio
async def test_a_disk_that_does_not_take_what_was_refused_is_tried_again_and_holds_up_nothing(
    desk: Desk,
) -> None:
    (desk.folder / "refused.jsonl").mkdir()
    async with desk.running() as writer:
        writer.put(step(1, request_id="a lone surrogate \ud800"))
        await until(lambda: "refused.jsonl cannot be written" in str(writer.health.last_error))
        # Nothing else waits for it.
        desk.play(writer, "gbbb", first=2)
        await until(lambda: bool(desk.delivered))
        assert writer.health.refused == 0
        (desk.folder / "refused.jsonl").rmdir()
        await until(lambda: writer.health.refused == 1)
    assert desk.count("probe") == 4
    assert len((desk.folder / "refused.jsonl").read_text().splitlines()) == 1


@pytest.mark.anyio
async def test_a_database_that_is_back_is_used_though_the_disk_does_not_take_what_it_refused(
    postgres: Cluster, postgres_desk: Desk
) -> None:
    desk = postgres_desk
    (desk.folder / "refused.jsonl").mkdir()
    async with desk.running() as writer:
        with postgres.stopped():
            writer.put(step(1, request_id="a lone surrogate \ud800"))
            for number in range(2, 302):
                writer.put(step(number))
            await until(lambda: writer.health.stored == 301)
        await until(lambda: not writer.is_away)
        assert desk.count("probe") == 300
        assert not (desk.folder / "spool").exists()
        # Nobody forgets it, whatever happens to us now.
        (kept,) = desk.folder.glob("refused-*.spool")
        left = Spool(kept)
        left.resume()
        assert (
            sum(one.result is not None and one.result.request_id is not None for one in left.known()[1]) == 1
        )
        left.close()
        assert await writer.on_database(lambda _: None)
        (desk.folder / "refused.jsonl").rmdir()
        await until(lambda: not kept.exists())
    assert len((desk.folder / "refused.jsonl").read_text().splitlines()) == 1


@pytest.mark.anyio
async def test_what_a_spool_held_and_the_database_refused_is_set_aside(
    postgres: Cluster, postgres_desk: Desk
) -> None:
    desk = postgres_desk
    async with desk.running() as writer:
        with postgres.stopped():
            writer.put(step(1, request_id="a lone surrogate \ud800"))
            await until(lambda: writer.health.stored == 1)
        await until(lambda: not writer.is_away)
        await until(lambda: writer.health.refused == 1)
        await until(lambda: not list(desk.folder.glob("*spool")))
    assert len((desk.folder / "refused.jsonl").read_text().splitlines()) == 1


def test_what_is_refused_while_the_database_goes_away_is_not_set_aside_yet(desk: Desk) -> None:
    """It comes again with its whole batch, and would stand in the file twice."""
    desk.connect()
    assert desk.ownership is not None
    batch = [step(1, request_id="a lone surrogate \ud800"), step(2), step(3)]
    owned = [True, True, True, False]
    journal = Journal(desk.database, desk.ownership.epoch, lambda: owned.pop(0))
    with pytest.raises(DatabaseAway):
        write_all(journal, batch)
    assert owned == []
    assert write_all(Journal(desk.database, desk.ownership.epoch), batch) == batch[:1]
    assert desk.count("probe") == 2


@pytest.mark.anyio
async def test_a_frozen_database_delays_no_alert_and_loses_no_result(
    postgres: Cluster, postgres_desk: Desk
) -> None:
    desk = postgres_desk
    async with desk.running() as writer:
        desk.play(writer, "gg")
        await until(lambda: writer.health.stored == 2)
        with postgres.frozen():
            desk.play(writer, "bbb", first=2)
            # The watchdog's two seconds, once; from then on the spool takes them at once.
            await until(lambda: bool(desk.delivered), 4.0)
            desk.play(writer, "gg", first=5)
            await until(lambda: len(desk.delivered) == 2, 1.0)
            assert writer.health.away_since is not None
        await until(lambda: not (desk.folder / "spool").exists())
        desk.play(writer, "g", first=7)
        await until(lambda: writer.health.stored == 8)
        assert writer.health.away_since is None
    assert desk.count("probe") == 8
    assert desk.count("transition") == 3
    assert desk.count("alert") == 2


@pytest.mark.anyio
async def test_a_stopped_database_is_drained_into_when_it_is_back(
    postgres: Cluster, postgres_desk: Desk
) -> None:
    desk = postgres_desk
    async with desk.running() as writer:
        desk.play(writer, "gg")
        await until(lambda: writer.health.stored == 2)
        with postgres.stopped():
            for number in range(2, 502):
                writer.put(step(number))
            await until(lambda: writer.health.stored == 502)
        await until(lambda: not (desk.folder / "spool").exists())
    assert desk.count("probe") == 502


@pytest.mark.anyio
async def test_a_daemon_that_starts_without_its_database_goes_on_from_the_spool(
    postgres: Cluster, postgres_desk: Desk
) -> None:
    """As after kill -9 while the database was away: the writer is not closed, only let go of."""
    desk = postgres_desk
    journal = desk.connect()
    first = desk.writer(
        journal=journal,
        spool=Spool(desk.folder / "spool"),
        known=journal.load({ENDPOINT: Span(0)}, START),
    )
    running = asyncio.create_task(first.run())
    with postgres.stopped():
        desk.play(first, "gbb")
        await until(lambda: first.health.stored == 3)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        first.release()

        spool = Spool(desk.folder / "spool")
        spool.resume()
        checkpoint, steps = spool.known()
        known = Known(checkpoint)
        for each in steps:
            known.apply(each)
        second = desk.writer(journal=None, spool=spool, known=known.checkpoint(START))
        async with desk.work(second):
            desk.play(second, "b", first=3)
            await until(lambda: [str(owed.alert.kind) for owed in desk.delivered] == ["down"])
            postgres.start()
            await until(lambda: not (desk.folder / "spool").exists())
    assert desk.count("probe") == 4
    assert desk.count("alert") == 1


@pytest.mark.anyio
async def test_what_was_sent_is_known_after_a_restart(desk: Desk) -> None:
    async with desk.running() as writer:
        desk.play(writer, "gbbb")
        await until(lambda: bool(desk.delivered))
        [owed] = desk.delivered
        writer.put(Step(sent=Sent(key=owed.alert.key, at=START, fate=Fate.SENT, attempts=1)))
    async with desk.running() as again:
        assert again.checkpoint().owed == ()
        assert again.belief(ENDPOINT).incident is not None


@pytest.mark.anyio
async def test_a_checkpoint_holds_all_that_is_durable(desk: Desk) -> None:
    async with desk.running() as writer:
        desk.play(writer, "gbbb")
        await until(lambda: writer.health.stored == 4)
        await writer.save_checkpoint()
        saved = load_checkpoint(desk.folder / "checkpoint.json")
        assert saved is not None
        assert saved.beliefs[ENDPOINT] == writer.belief(ENDPOINT)
        assert [owed.alert for owed in saved.owed] == [owed.alert for owed in desk.delivered]


@pytest.mark.anyio
async def test_one_can_wait_until_a_step_is_durable(desk: Desk) -> None:
    async with desk.running() as writer:
        await writer.keep(step(1))
        assert desk.count("probe") == 1
        # The same step once more, as two who wait for the like of it.
        await asyncio.gather(writer.keep(step(2)), writer.keep(step(2)), writer.keep(step(3)))
        assert desk.count("probe") == 3


@pytest.mark.anyio
async def test_a_checkpoint_follows_news_and_not_mere_results(desk: Desk) -> None:
    path = desk.folder / "checkpoint.json"
    async with desk.running() as writer:
        writer.put(step(0))
        await until(lambda: writer.health.stored == 1)
        await writer.save_news()
        assert not path.exists()
        desk.play(writer, "gbbb", first=1)
        await until(lambda: writer.health.stored == 5)
        await writer.save_news()
        saved = load_checkpoint(path)
        assert saved is not None
        assert saved.beliefs[ENDPOINT].incident is not None
        path.unlink()
        await writer.save_news()
        assert not path.exists()


@pytest.mark.anyio
async def test_an_idle_daemon_that_was_deposed_hears_of_it(desk: Desk) -> None:
    """By whatever it asks of the database, so that it does not go on until its next result."""
    async with desk.running() as writer:
        desk.database.write(
            lambda connection: connection.exec_driver_sql("UPDATE daemon SET epoch = epoch + 1")
        )
        assert not await writer.on_database(lambda journal: journal.beat(START, {}))
        assert isinstance(writer.fatal.result(), lock.Deposed)


@pytest.mark.anyio
async def test_time_alone_is_an_event(desk: Desk) -> None:
    async with desk.running() as writer:
        desk.play(writer, "g")
        desk.now = Instant(desk.now + 3600 * 1_000_000)
        writer.record(ENDPOINT, Tick())
        await until(lambda: writer.health.waiting == 0)
    assert desk.count("transition") == 2
