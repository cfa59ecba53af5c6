"""From the door into the mailboxes: who is heard, what is kept, and what is looked at at once."""

import asyncio
import json
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.clock import Clock
from monitor.core.blot import Blot
from monitor.core.instant import SECOND, Instant, Span
from monitor.core.report import Mailbox, Report, Rhythm, Standing, Word
from monitor.reception import DONE, NO_SUCH, STOPPING, Reception, Said, Sender, read
from monitor.transport.door import Asked

pytestmark = pytest.mark.anyio

TOKEN = "a-token-of-the-backup"
OTHER = "a-token-of-the-gateway"
BACKUP = "jobs/backup"
FAIL = b'{"status": "fail", "message": "disk full"}'
START = Instant(1_795_000_000_000_000)


@dataclass
class Desk:
    """A reception whose clock the test moves, and what left it."""

    seconds: float = 1000.0
    kept: list[Report] = field(default_factory=list)
    looked: list[str] = field(default_factory=list)
    slow: asyncio.Event | None = None
    deaf: float | None = None
    """Since then our network is lost; monotonic seconds."""

    def __post_init__(self) -> None:
        rhythm = Rhythm(every=Span(60 * SECOND), grace=Span(30 * SECOND))
        self.box, self.other = Mailbox(rhythm), Mailbox(rhythm)
        self.boxes = {BACKUP: self.box, "jobs/gateway": self.other}
        self.reception = Reception(
            [Sender(BACKUP, TOKEN, self.box), Sender("jobs/gateway", OTHER, self.other)],
            blot=Blot([TOKEN, OTHER]),
            keep=self.keep,
            put=self.kept.append,
            look=self.look,
            clock=Clock(now=lambda: self.wall, monotonic=lambda: self.seconds),
            deaf=lambda: None if self.deaf is None else self.seconds - self.deaf,
        )
        self.reception.resume({}, (), None)

    @property
    def wall(self) -> Instant:
        return Instant(START + round((self.seconds - 1000.0) * SECOND))

    async def keep(self, report: Report) -> None:
        if self.slow is not None:
            await self.slow.wait()
        self.kept.append(report)

    def look(self, endpoint: str) -> None:
        self.boxes[endpoint].look(self.seconds)
        if endpoint == BACKUP:  # the other one never says anything, and so falls silent beside it
            self.looked.append(endpoint)

    async def post(self, body: bytes = b"", token: str = TOKEN, query: str = "") -> object:
        return await self.reception.answer(Asked(f"/push/{token}{query}".encode(), body))

    def pass_s(self, seconds: int) -> None:
        for _ in range(seconds):
            self.seconds += 1.0
            self.reception.tick()


async def test_the_first_report_is_kept_and_looked_at_at_once() -> None:
    desk = Desk()
    assert await desk.post() is DONE
    assert desk.kept == [Report(endpoint=BACKUP, at=desk.wall)]
    assert desk.looked == [BACKUP]
    assert desk.box.standing(desk.seconds) is Standing.OK
    assert desk.other.standing(desk.seconds) is Standing.WAITING


@pytest.mark.parametrize(
    "path",
    [
        "/push/" + TOKEN[:-1],
        "/push/" + TOKEN + "x",
        "/push/" + TOKEN + "/",
        "/push/",
        "/push",
        "/",
        "",
        TOKEN,
        "//push/" + TOKEN,
        "/PUSH/" + TOKEN,
        "/push/" + TOKEN.upper(),
        "/push/\udcff",
        "http://h/push/" + TOKEN,
    ],
)
async def test_every_other_path_is_answered_alike(path: str) -> None:
    desk = Desk()
    for body in (b"", b"{nonsense", FAIL):
        assert await desk.reception.answer(Asked(path.encode("utf-8", "surrogateescape"), body)) is NO_SUCH
    assert desk.kept == []
    assert desk.reception.tally.refused == 3


async def test_a_busy_sender_is_kept_once_an_interval_and_looked_at_no_more() -> None:
    desk = Desk()
    for _ in range(600):
        assert await desk.post() is DONE
        desk.pass_s(1)
    assert len(desk.kept) == 1 + 600 / 60
    assert desk.looked == [BACKUP]
    assert desk.reception.tally.heard == 600


async def test_a_failure_is_kept_before_it_is_acknowledged() -> None:
    desk = Desk()
    await desk.post()
    desk.pass_s(5)
    desk.slow = asyncio.Event()
    answer = asyncio.create_task(desk.post(FAIL))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not answer.done()
    assert desk.looked == [BACKUP, BACKUP]
    desk.slow.set()
    assert await answer is DONE
    assert desk.kept[-1].said is Word.FAIL
    assert desk.kept[-1].message == "disk full"


async def test_of_a_flood_of_reports_that_contradict_each_other_the_last_one_of_a_second_counts() -> None:
    desk = Desk()
    await desk.post()
    for _ in range(50):
        await desk.post(FAIL)
        await desk.post()
    assert [report.said for report in desk.kept] == [Word.OK, Word.FAIL, Word.OK]
    await desk.post(FAIL)
    assert len(desk.kept) == len(desk.looked) == 3
    desk.pass_s(1)
    assert [report.said for report in desk.kept[3:]] == [Word.FAIL]
    assert len(desk.looked) == 4
    desk.pass_s(30)
    assert len(desk.kept) == len(desk.looked) == 4


async def test_silence_while_our_own_network_is_lost_is_held_against_nobody() -> None:
    desk = Desk()
    await desk.post()
    desk.pass_s(85)
    desk.deaf = desk.seconds - 5  # it takes a moment to find out
    desk.pass_s(300)
    assert desk.box.standing(desk.seconds) is Standing.WAITING
    desk.deaf = None
    desk.pass_s(89)
    assert desk.looked == [BACKUP]
    desk.pass_s(2)
    assert desk.box.standing(desk.seconds) is Standing.SILENT


async def test_silence_is_looked_at_as_soon_as_the_grace_is_over_and_once() -> None:
    desk = Desk()
    await desk.post()
    desk.pass_s(90)
    assert desk.looked == [BACKUP]
    desk.pass_s(1)
    assert desk.looked.count(BACKUP) == 2
    desk.pass_s(300)
    assert desk.looked.count(BACKUP) == 2
    await desk.post()
    assert desk.looked.count(BACKUP) == 3


async def test_time_in_which_nobody_called_us_is_no_silence() -> None:
    desk = Desk()
    await desk.post()
    desk.pass_s(60)
    desk.seconds += 100.0
    desk.reception.tick()
    desk.reception.stood_still()
    assert desk.looked == [BACKUP]
    desk.pass_s(90)
    assert desk.looked == [BACKUP]
    desk.pass_s(1)
    assert desk.looked.count(BACKUP) == 2


async def test_at_the_end_what_was_heard_last_is_owed_and_nothing_more_is_taken() -> None:
    desk = Desk()
    await desk.post()
    desk.pass_s(10)
    await desk.post(b"duration_ms=12.5")
    assert len(desk.kept) == 1
    desk.reception.stop()
    assert [report.duration_ms for report in desk.kept] == [None, 12.5]
    assert await desk.post(FAIL) is STOPPING
    assert await desk.post(FAIL, token="x" * 20) is NO_SUCH
    desk.reception.stop()
    assert len(desk.kept) == 2


async def test_a_daemon_that_takes_over_goes_on_where_the_other_stopped() -> None:
    desk = Desk()
    old = Report(endpoint=BACKUP, at=Instant(START - 20 * SECOND), said=Word.FAIL)
    desk.reception.resume({BACKUP: old}, {BACKUP}, Instant(START - 5 * SECOND))
    assert desk.box.standing(desk.seconds) is Standing.FAIL
    desk.pass_s(10)
    assert desk.looked == desk.kept == []
    await desk.post()
    assert desk.looked == [BACKUP]


async def test_a_report_keeps_no_secret_of_anybody_however_it_is_spelled() -> None:
    desk = Desk()
    for said in (OTHER, OTHER.upper(), OTHER.encode().hex(), " ".join(OTHER)):
        desk.seconds += 60.0
        await desk.post(json.dumps({"message": f"we use {said} here"}).encode())
        assert desk.kept[-1].message == "we use *** here"


async def test_a_sender_that_echoes_its_token_does_not_have_it_kept() -> None:
    desk = Desk()
    await desk.post(json.dumps({"message": f"POST /push/{TOKEN}\n\0\ud800" + "x" * 900}).encode())
    (report,) = desk.kept
    assert report.message is not None
    assert report.message.startswith("POST /push/*** \ufffd\ufffdxxx")
    assert len(report.message) == 500
    assert TOKEN not in repr(desk.reception) + repr(Sender(BACKUP, TOKEN, desk.box)) + repr(Asked(b"t", b"b"))


# What a request says


@pytest.mark.parametrize(
    ("query", "body", "said"),
    [
        (b"", b"", Said()),
        (b"status=fail&message=no%20space+left", b"", Said(Word.FAIL, "no space left")),
        (b"", b"status=degraded&duration_ms=1500", Said(Word.DEGRADED, None, 1500.0)),
        (b"status=ok", b' {"status": "fail", "duration_ms": 2.5, "more": [1]} ', Said(Word.FAIL, None, 2.5)),
        (b"status=fail", b'{"message": "m"}', Said(Word.FAIL, "m")),
        (b"status=fail", b'{"status": null}', Said()),
        (b"", b"some words", Said()),
        (b"&".join(b"a%d=b" % n for n in range(40)), b"", Said()),
        (b"message=%ff", b"", Said(Word.OK, "\ufffd")),
    ],
)
def test_what_a_report_says(query: bytes, body: bytes, said: Said) -> None:
    assert read(query, body) == said


@pytest.mark.parametrize(
    ("query", "body", "wrong"),
    [
        (b"status=FAILED", b"", 'status is "ok", "degraded" or "fail"'),
        (b"", b'{"status": []}', 'status is "ok", "degraded" or "fail"'),
        (b"", b'{"message": 5}', "message is a text"),
        (b"", b'{"duration_ms": -1}', "duration_ms is a number of milliseconds, 0 or more"),
        (b"", b'{"duration_ms": true}', "duration_ms is a number of milliseconds, 0 or more"),
        (b"", b'{"duration_ms": NaN}', "duration_ms is a number of milliseconds, 0 or more"),
        (b"", b'{"duration_ms": ' + b"9" * 400 + b"}", "duration_ms is a number of milliseconds, 0 or more"),
        (b"duration_ms=soon", b"", "duration_ms is a number of milliseconds, 0 or more"),
        (b"duration_ms=1e99", b"", "duration_ms is a number of milliseconds, 0 or more"),
        (b"", b"{", "the body is no JSON object"),
        (b"", b'{"a":' * 800, "the body is no JSON object"),
        (b"", b"{}{}", "the body is no JSON object"),
    ],
)
def test_a_report_that_makes_no_sense_is_told_why(query: bytes, body: bytes, wrong: str) -> None:
    assert read(query, body) == wrong


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(st.binary(max_size=100), st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
async def test_noise_is_never_a_crash(query: bytes, body: bytes) -> None:
    assert isinstance(read(query, body), Said | str)


@given(st.dictionaries(st.sampled_from(["status", "message", "duration_ms"]), json_values))
@settings(max_examples=300, deadline=None)
async def test_json_of_any_shape_is_never_a_crash(said: dict[str, object]) -> None:
    desk = Desk()
    answer = await desk.post(json.dumps(said).encode())
    assert answer is DONE or answer.status == 400
    for report in desk.kept:
        assert replace(report, message=None)
        assert report.message is None or report.message.isprintable()
        assert report.duration_ms is None or 0 <= report.duration_ms <= 1e10
