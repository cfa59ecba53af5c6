"""What the daemon measures of itself, and whom it tells that it is too busy."""

import asyncio
import time
from itertools import pairwise

import pytest

from monitor.core.alert import Kind
from monitor.core.instant import MINUTE, SECOND, Instant
from monitor.core.overload import LASTS, RECENT, WHOLE, Load
from monitor.strain import Book, Held, Lag, Vigil

NOW = Instant(1_795_312_000 * SECOND)
FINE = Load(looks=200, set_aside=1)
BUSY = Load(looks=200, set_aside=68)


def looks(vigil: Vigil, load: Load, *minutes: float) -> list[list[str]]:
    """What was owed at each of these minutes; it was looked at every minute in between."""
    owed = []
    for before, minute in pairwise((minutes[0], *minutes)):
        keys = []
        for step in range(int(before) + 1, int(minute) + 1) or (minute,):
            now = Instant(NOW + round(step * MINUTE))
            keys += [alert.key for alert in vigil.look(load, load, "it is so", now, MINUTE)]
        owed.append(keys)
    return owed


def noted(book: Book, *beats: tuple[float, int, int]) -> None:
    for at, all_looks, set_aside in beats:
        book.note(
            at, looks=all_looks, set_aside=set_aside, start_late_ms=[1.0], loop_lag_ms=[], delay_s=at / 10
        )


def test_a_spell_is_told_once_and_taken_back_once():
    vigil = Vigil(["ops", "chat"], None)
    began = "overload-20261122T014640Z"
    assert looks(vigil, BUSY, 0, 4, 5, 6, 60) == [[], [], [f"{began}#1@ops", f"{began}#1@chat"], [], []]
    assert looks(vigil, FINE, 61, 65, 66, 67, 200) == [[], [], [f"{began}#2@ops", f"{began}#2@chat"], [], []]


def test_the_next_spell_is_another_one():
    vigil = Vigil(["ops"], None)
    looks(vigil, BUSY, 0, 5)
    looks(vigil, FINE, 10, 15)
    (told,) = [keys for keys in looks(vigil, BUSY, 20, 25) if keys]
    assert told == ["overload-20261122T020640Z#1@ops"]


def test_a_daemon_that_is_started_meanwhile_tells_only_the_end_and_tells_it_to_the_same():
    told = [("overload-20261122T014640Z", 1, "ops")]
    vigil = Vigil(["chat"], None, Held.of(told))
    assert looks(vigil, BUSY, 10, 20) == [[], []]
    (over,) = [keys for keys in looks(vigil, FINE, 30, 35) if keys]
    assert over == ["overload-20261122T014640Z#2@ops"]


def test_a_spell_that_is_over_is_not_held():
    assert Held.of([]) is None
    assert Held.of([("overload-20261122T014640Z", 1, "ops"), ("overload-20261122T014640Z", 2, "ops")]) is None


def test_the_messages_are_of_the_monitor_and_of_no_endpoint():
    vigil = Vigil(["ops"], None)
    vigil.look(BUSY, BUSY, None, NOW, MINUTE)
    (alarm,) = vigil.look(BUSY, BUSY, None, Instant(NOW + 5 * MINUTE), LASTS)
    assert (alarm.kind, alarm.endpoint) == (Kind.MONITOR, None)
    assert alarm.text.endswith(alarm.reference)


def test_the_book_tells_of_the_last_minutes_alone():
    book = Book(0.0, 0.0)
    noted(book, *((5.0 * n, n, min(24, n)) for n in range(1, 121)))
    whole, recent = book.load(600.0, WHOLE), book.load(600.0, RECENT)
    assert (whole.looks, whole.set_aside) == (120, 24)
    assert 24 <= recent.looks <= 30
    assert recent.set_aside == 0
    assert whole.core_delay == pytest.approx(0.1)
    assert whole.start_late_ms == pytest.approx(1.0)
    noted(book, (1300.0, 130, 24))
    assert book.load(1300.0, WHOLE).looks == 10


def test_who_stood_still_begins_a_new_book():
    book = Book(0.0, None)
    noted(book, (5.0, 10, 10))
    book.forget()
    assert book.load(5.0, WHOLE) == Load()
    noted(book, (10.0, 11, 10))
    assert (book.load(10.0, WHOLE).looks, book.load(10.0, WHOLE).set_aside) == (1, 0)


@pytest.mark.anyio
async def test_a_loop_that_was_held_up_finds_its_lag():
    lag, done = Lag(), asyncio.get_running_loop().create_future()
    lag.start()
    asyncio.get_running_loop().call_later(0.3, done.set_result, None)
    time.sleep(0.35)  # noqa: ASYNC251 - that is what is tested
    await done
    lag.stop()
    first, *_ = lag.take()
    assert first >= 90.0
    assert lag.take() == []
