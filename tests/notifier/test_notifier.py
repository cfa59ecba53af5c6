"""What is owed goes out in order, once, and nobody waits for somebody else's channel."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from monitor.core.alert import Alert, Kind, Message, owed
from monitor.core.instant import SECOND, Instant
from monitor.core.step import Owed, Step
from monitor.notifier import Delivery, Notifier, Send, Tone

pytestmark = pytest.mark.anyio

START = Instant(1_800_000_000 * SECOND)
SENT = Delivery(sent=True)
REFUSED = Delivery(sent=False, error="error=500.")


@dataclass
class Channel:
    """A way out that remembers; `answer` decides."""

    answer: Callable[[str], Delivery] = lambda _title: SENT
    heard: list[str] = field(default_factory=list)
    """Titles, whatever became of them."""
    texts: list[str] = field(default_factory=list)
    tones: list[str] = field(default_factory=list)

    def __call__(self, title: str, text: str, tone: Tone = "info") -> Delivery:
        self.heard.append(title)
        self.texts.append(text)
        self.tones.append(tone)
        return self.answer(title)


@dataclass
class Office:
    """A notifier, a clock, and a writer to whom everything is durable at once."""

    channels: dict[str, Send]
    reports: Iterable[str] = ()
    send_s: float = 5.0
    now: Instant = START
    steps: list[Step] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.notifier = Notifier(
            self.channels,
            reports=list(self.reports),
            put=self.put,
            keep=self.keep,
            now=lambda: self.now,
            send_s=self.send_s,
        )

    def put(self, step: Step) -> None:
        self.steps.append(step)
        self.notifier.accept([Owed(alert=alert) for alert in step.alerts])

    async def keep(self, step: Step) -> None:
        self.put(step)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        self.notifier.start()
        try:
            yield
        finally:
            await self.notifier.stop(0.0)

    def owe(self, *alerts: Alert) -> None:
        self.notifier.accept([Owed(alert=alert) for alert in alerts])

    def later(self, seconds: float) -> None:
        """Time passes; every line looks again at what is due."""
        self.now = Instant(self.now + round(seconds * SECOND))
        for line in self.notifier._lines.values():
            line.wake.set()

    def fates(self, key: str) -> list[str]:
        return [step.sent.fate for step in self.steps if step.sent is not None and step.sent.key == key]


def message(
    title: str,
    *,
    incident: str = "i1",
    sequence: int = 1,
    kind: Kind = Kind.DOWN,
    channel: str = "ops",
    at: int = 0,
) -> Alert:
    [alert] = owed(
        Message(title, (f"text of {title}",)),
        incident=incident,
        sequence=sequence,
        kind=kind,
        endpoint="acme/one",
        channels=[channel],
        at=Instant(START + at * SECOND),
    )
    return alert


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10.0):
        while not holds():
            await asyncio.sleep(0.005)


async def settled(office: Office, attempts: int) -> None:
    """Until that many attempts were made and what became of them was written."""
    await until(lambda: sum(step.sent is not None for step in office.steps) >= attempts)


async def test_messages_of_an_incident_go_out_in_their_order() -> None:
    down = Channel(lambda _title: REFUSED)
    office = Office({"ops": down})
    async with office.open():
        office.owe(message("one"), message("two", sequence=2, kind=Kind.REMINDER))
        await settled(office, 1)
        down.answer = lambda _title: SENT
        office.later(4.9)
        office.later(0.2)
        await settled(office, 3)
    assert down.heard == ["one", "one", "two"]
    assert office.fates("i1#1@ops") == ["later", "sent"]


async def test_a_channel_that_refuses_delays_no_other() -> None:
    dead, ops = Channel(lambda _title: REFUSED), Channel()
    office = Office({"dead": dead, "ops": ops})
    async with office.open():
        for number in range(20):
            for channel in ("dead", "ops"):
                office.owe(message(f"{number}", incident=f"i{number}", channel=channel))
        await until(lambda: len(ops.heard) == 20)
    assert ops.heard == [str(number) for number in range(20)]


async def test_a_channel_that_hangs_delays_no_other_and_is_tried_again_later() -> None:
    freed = threading.Event()

    def hang(_title: str) -> Delivery:
        freed.wait(20)
        return SENT

    hanging, ops = Channel(hang), Channel()
    office = Office({"hanging": hanging, "ops": ops}, send_s=0.05)
    try:
        async with office.open():
            office.owe(message("stuck", channel="hanging"), message("fine"))
            await settled(office, 2)
            office.later(5.1)
            await settled(office, 3)
            office.later(10.1)
            await settled(office, 4)
            # Three threads hang in this service now; a fourth would not help.
            office.later(20.1)
            office.owe(message("fine too", incident="i2"))
            await settled(office, 5)
            assert hanging.heard == ["stuck"] * 3
            freed.set()
            await until(lambda: office.fates("i1#1@hanging")[-1] == "sent")
    finally:
        freed.set()
    assert ops.heard == ["fine", "fine too"]


async def test_one_that_fails_holds_up_no_other_incident_of_its_channel() -> None:
    ops = Channel(lambda title: REFUSED if title == "bad" else SENT)
    office = Office({"ops": ops})
    async with office.open():
        office.owe(message("bad"), message("good", incident="i2"))
        await settled(office, 2)
    assert ops.heard == ["bad", "good"]


async def test_what_fails_five_times_while_others_pass_is_given_up_and_told_elsewhere() -> None:
    ops, spare = Channel(lambda title: REFUSED if title == "bad" else SENT), Channel()
    office = Office({"ops": ops, "spare": spare}, reports=["ops", "spare"])
    async with office.open():
        office.owe(message("bad"))
        await settled(office, 1)
        for number, wait in enumerate((5, 10, 20, 40), 1):
            office.owe(message(f"good {number}", incident=f"other {number}"))
            await settled(office, 2 * number)
            office.later(wait)
            await settled(office, 2 * number + 1)
        await until(lambda: bool(spare.heard))
    assert office.fates("i1#1@ops") == ["later"] * 4 + ["dead"]
    assert spare.heard == ["UNDELIVERED: bad"]
    said = spare.texts[0].splitlines()
    assert 'The channel "ops" did not take this message: error=500.' in said
    assert "Do: check the channel's URL and the service, then `uptoken alert test ops`." in said
    assert "It said: bad [i1#1]" in spare.texts[0]


async def test_those_that_pass_need_not_come_right_behind_one_that_fails() -> None:
    ops, spare = Channel(lambda title: REFUSED if title == "bad" else SENT), Channel()
    office = Office({"ops": ops, "spare": spare}, reports=["spare"])
    async with office.open():
        office.owe(message("bad"))
        await settled(office, 1)
        for number, wait in enumerate((5, 10, 20, 40), 1):
            office.later(wait - 2.5)
            office.owe(message(f"good {number}", incident=f"other {number}"))
            await settled(office, 2 * number)
            office.later(2.5)
            await settled(office, 2 * number + 1)
        await until(lambda: bool(spare.heard))
    assert office.fates("i1#1@ops") == ["later"] * 4 + ["dead"]
    assert spare.heard == ["UNDELIVERED: bad"]


async def test_where_as_many_others_fail_as_pass_it_is_the_service() -> None:
    ops, spare = Channel(lambda title: SENT if title.startswith("lucky") else REFUSED), Channel()
    office = Office({"ops": ops, "spare": spare}, reports=["spare"])
    async with office.open():
        office.owe(message("unlucky"))
        for number, wait in enumerate((5, 10, 20, 40, 80, 160), 1):
            await until(lambda: len(office.fates("i1#1@ops")) == number)  # noqa: B023
            lucky, not_so = f"a{number}", f"b{number}"
            office.owe(message(f"lucky {number}", incident=lucky), message("not so", incident=not_so))
            await until(lambda: office.fates(f"{not_so}#1@ops") == ["later"])  # noqa: B023
            assert office.fates(f"{lucky}#1@ops") == ["sent"]
            office.later(wait)
    assert set(office.fates("i1#1@ops")) == {"later"}
    assert spare.heard == []


async def test_a_channel_that_goes_down_in_a_burst_poisons_nothing() -> None:
    """Ten endpoints fail at once, three messages pass, then the service limits our rate for minutes."""
    passed: list[str] = []

    def limited(title: str) -> Delivery:
        if len(passed) == 3:
            return REFUSED
        passed.append(title)
        return SENT

    ops, spare = Channel(limited), Channel()
    office = Office({"ops": ops, "spare": spare}, reports=["spare"])
    async with office.open():
        office.owe(*(message(f"{number}", incident=f"i{number}") for number in range(10)))
        await settled(office, 10)
        for number, wait in enumerate((5, 10, 20, 40, 80), 1):
            office.later(wait)
            await settled(office, 10 + 7 * number)
        ops.answer = lambda _title: SENT
        office.later(160)
        await settled(office, 10 + 7 * 6)
    assert ops.heard[-7:] == [str(number) for number in range(3, 10)]
    assert spare.heard == []


async def test_a_service_that_takes_one_message_at_a_time_loses_none_of_many() -> None:
    taken: list[Instant] = []

    def slow(_title: str) -> Delivery:
        if taken and office.now - taken[-1] < SECOND:
            return REFUSED
        taken.append(office.now)
        return SENT

    ops, spare = Channel(slow), Channel()
    office = Office({"ops": ops, "spare": spare}, reports=["spare"])
    async with office.open():
        office.owe(*(message(f"{number}", incident=f"i{number}") for number in range(12)))
        left, steps = 12, 0
        for wait in (0, 5, 10, 20, 40, 80, 160, 320, 640, 900, 900, 900):
            office.later(wait)
            steps += left
            left -= 1
            await settled(office, steps)
    assert {step.sent.fate for step in office.steps if step.sent} == {"later", "sent"}
    assert office.notifier.tally.sent == 12


async def test_nothing_more_leaves_before_what_was_sent_is_marked() -> None:
    """So a crash can repeat one message of a channel, not several."""
    ops = Channel()
    office = Office({"ops": ops})
    durable = asyncio.Event()

    async def keep(step: Step) -> None:
        await durable.wait()
        office.put(step)

    office.notifier._keep = keep
    async with office.open():
        office.owe(message("one"), message("two", incident="i2"))
        await until(lambda: ops.heard == ["one"])
        await asyncio.sleep(0.05)
        assert ops.heard == ["one"]
        durable.set()
        await until(lambda: ops.heard == ["one", "two"])


async def test_the_backlog_of_an_incident_that_ended_is_one_message() -> None:
    ops = Channel(lambda _title: REFUSED)
    office = Office({"ops": ops})
    async with office.open():
        office.owe(message("down"))
        await settled(office, 1)
        office.owe(
            message("still down", sequence=2, kind=Kind.REMINDER, at=60),
            message("recovered", sequence=3, kind=Kind.RECOVERED, at=90),
        )
        ops.answer = lambda _title: SENT
        office.later(5)
        await settled(office, 4)
    assert ops.heard == ["down", "recovered"]
    assert ops.texts[-1].splitlines() == [
        "text of recovered",
        "Delayed; not delivered in time:",
        "- 2027-01-15 08:00:00 UTC down",
        "- 2027-01-15 08:01:00 UTC still down",
        "[i1#3]",
    ]
    assert [office.fates(f"i1#{number}@ops")[-1] for number in (1, 2, 3)] == ["sent"] * 3


async def test_after_a_day_a_message_is_dead_and_that_is_told_where_messages_pass() -> None:
    dead, quiet, spare = Channel(lambda _title: REFUSED), Channel(lambda _title: REFUSED), Channel()
    office = Office({"dead": dead, "quiet": quiet, "spare": spare}, reports=["dead", "quiet", "spare"])
    async with office.open():
        office.owe(message("down", channel="dead"), message("hello", incident="i2", channel="spare"))
        await settled(office, 2)
        for _ in range(200):
            if spare.heard != ["hello"]:
                break
            made = len(office.steps)
            office.later(15 * 60)
            await until(lambda: len(office.steps) > made)  # noqa: B023
            await asyncio.sleep(0)
        await until(lambda: len(spare.heard) == 2)
    assert spare.heard == ["hello", "UNDELIVERED: down"]
    assert office.fates("i1#1@dead")[-1] == "dead"
    assert 23.5 * 3600 * SECOND <= office.now - START <= 24.5 * 3600 * SECOND


async def test_a_dead_letter_is_never_told_about_itself() -> None:
    office = Office({"ops": Channel()}, reports=["ops"])
    office.owe(message("UNDELIVERED: down", kind=Kind.MONITOR, channel="gone"))
    assert [step.alerts for step in office.steps] == [()]


async def test_who_does_not_want_to_hear_of_the_monitor_does_not() -> None:
    ops = Channel()
    office = Office({"ops": ops}, reports=[])
    async with office.open():
        office.owe(message("down", channel="gone"))
    assert ops.heard == []
    assert office.fates("i1#1@gone") == ["dead"]


async def test_messages_for_a_channel_that_is_no_longer_configured_are_told_together() -> None:
    ops = Channel()
    office = Office({"ops": ops}, reports=["ops"])
    async with office.open():
        office.owe(*(message(f"{number}", incident=f"i{number}", channel="old") for number in range(3)))
        await until(lambda: bool(ops.heard))
    assert ops.heard == ["UNDELIVERED: 2"]
    assert (
        'The channel "old" did not take this message: this channel is no longer configured.' in ops.texts[0]
    )
    assert "- 0 [i0#1]\n- 1 [i1#1]\n" in ops.texts[0]
    assert "Do: nothing, if [channel.old] was taken out of the config on purpose;" in ops.texts[0]
    # There is no such channel to test.
    assert "alert test" not in ops.texts[0]


async def test_a_service_that_fails_by_its_own_mistake_is_a_failed_attempt() -> None:
    def broken(_title: str) -> Delivery:
        raise ZeroDivisionError("with a secret in it")

    office = Office({"ops": Channel(broken)})
    async with office.open():
        office.owe(message("one"))
        await settled(office, 1)
    [step] = office.steps
    assert step.sent is not None
    assert (step.sent.fate, step.sent.error) == ("later", "the service failed with ZeroDivisionError")


async def test_attempts_and_waits_go_on_after_a_restart() -> None:
    ops = Channel()
    office = Office({"ops": ops})
    async with office.open():
        waits = Owed(alert=message("waits"), attempts=3, again=Instant(START + 20 * SECOND))
        office.notifier.accept([waits, Owed(alert=message("due", incident="i2"), attempts=1, again=START)])
        await settled(office, 1)
        office.later(20)
        await settled(office, 2)
    assert ops.heard == ["due", "waits"]
    assert [step.sent.attempts for step in office.steps if step.sent] == [2, 4]


async def test_at_the_end_what_is_due_gets_a_moment_and_what_waits_does_not() -> None:
    ops, dead = Channel(), Channel(lambda _title: REFUSED)
    office = Office({"ops": ops, "dead": dead})
    office.owe(message("refused", channel="dead"))
    office.notifier.start()
    await settled(office, 1)
    office.owe(*(message(f"{number}", incident=f"i{number}") for number in range(5)))
    async with asyncio.timeout(5):
        await office.notifier.stop(10)
    assert len(ops.heard) == 5


async def test_it_ends_even_if_it_was_woken_in_the_same_moment() -> None:
    office = Office({"ops": Channel()})
    office.notifier.start()
    await asyncio.sleep(0.01)
    office.later(0)
    async with asyncio.timeout(5):
        await office.notifier.stop(0.0)
    assert all(task.cancelled() for task in office.notifier.tasks)


async def test_a_service_is_told_how_bad_it_is() -> None:
    ops = Channel()
    office = Office({"ops": ops})
    async with office.open():
        for number, kind in enumerate((Kind.DOWN, Kind.DEGRADED, Kind.RECOVERED, Kind.CLOSED)):
            office.owe(message("m", incident=f"i{number}", kind=kind, at=number))
        await settled(office, 4)
    assert ops.tones == ["failure", "warning", "success", "info"]
