"""The selector of the loop, and what it knows of when it looked."""

import asyncio
import ctypes
import os
import selectors
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from monitor.clock import monotonic
from monitor.transport.waking import LONG_S, Waking, new_loop, waking_of


@pytest.fixture
def waking() -> Iterator[Waking]:
    one = Waking()
    yield one
    one.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_sockets_are_found_by_themselves_and_by_number(waking, pair):
    ours, _ = pair
    key = waking.register(ours, selectors.EVENT_READ, "data")
    assert waking.get_map().get(ours) == waking.get_map()[ours.fileno()] == waking.get_key(ours) == key
    assert list(waking.get_map()) == [ours]
    with pytest.raises(KeyError):
        waking.register(ours, selectors.EVENT_READ)
    assert waking.get_map().get(99999) is None


def test_a_socket_that_was_closed_can_still_be_taken_out(waking, pair):
    ours, _ = pair
    number = ours.fileno()
    waking.register(ours, selectors.EVENT_READ)
    ours.close()
    assert waking.unregister(ours).fd == number
    assert len(waking.get_map()) == 0


def test_what_was_closed_behind_our_back_reports_to_nobody(waking, pair):
    ours, theirs = pair
    number = ours.fileno()
    waking.register(number, selectors.EVENT_READ)
    with ours.dup():  # as a child may that was just forked
        ours.close()
        waking._keys.pop(number)
        theirs.send(b"x")
        assert waking.select(0.01) == []


def test_a_number_whose_socket_is_gone_can_be_had_anew(waking, pair):
    ours, theirs = pair
    number = ours.fileno()
    waking.register(number, selectors.EVENT_READ)
    ours.close()
    with pytest.raises(OSError, match=r"such file|descriptor"):
        waking.modify(number, selectors.EVENT_READ | selectors.EVENT_WRITE)
    os.dup2(theirs.fileno(), number)
    try:
        waking.register(number, selectors.EVENT_WRITE)
        assert [(key.fd, events) for key, events in waking.select(1)] == [(number, selectors.EVENT_WRITE)]
    finally:
        os.close(number)


def test_what_is_asked_for_is_what_is_reported(waking, pair):
    ours, theirs = pair
    waking.register(ours, selectors.EVENT_READ | selectors.EVENT_WRITE)
    ((_, events),) = waking.select(1)
    assert events == selectors.EVENT_WRITE
    waking.modify(ours, selectors.EVENT_READ)
    assert waking.select(0.001) == []
    theirs.close()
    ((_, events),) = waking.select(1)
    assert events == selectors.EVENT_READ


# When it looked


def test_what_a_look_reports_came_after_the_moment_that_bounds_it():
    waking = Waking()
    reading, writing = os.pipe()
    try:
        waking.register(reading, 1)
        assert waking.select(0) == []
        before = monotonic()
        os.write(writing, b"x")
        assert len(waking.select(1.0)) == 1
        assert waking.quiet <= before
        os.read(reading, 1)
        assert waking.select(0.01) == []
        assert waking.quiet >= before
    finally:
        waking.close()
        os.close(reading)
        os.close(writing)


class Woken(NamedTuple):
    claimed: float
    """What woke us came after this."""
    written: float
    """It had come by this."""
    asleep: float


def woken_by_another() -> Woken:
    """Sleep until another process writes; monotonic seconds."""
    waking = Waking()
    reading, writing = os.pipe()
    # Another process: a thread would keep the interpreter for itself for a while after it wrote.
    tell = "import os, time; time.sleep(0.1); os.write(1, b'x'); print(time.monotonic())"
    try:
        waking.register(reading, 1)
        program = [sys.executable, "-c", tell]
        with subprocess.Popen(program, stdout=writing, env={"PYTHONUNBUFFERED": "1"}) as child:
            waking.select(0.001)
            asleep = monotonic()
            while not waking.select(5.0):
                pass
            claimed = waking.quiet
            child.wait()
        return Woken(claimed, float(os.read(reading, 100)[1:]), asleep)
    finally:
        waking.close()
        os.close(reading)
        os.close(writing)


def test_what_woke_the_loop_came_just_before_it_woke():
    # Whoever lost the core or the interpreter in between claims nothing, so it may take a few.
    woken = [woken_by_another() for _ in range(5)]
    # A virtual machine may be stopped between the write and our waking, and nobody counts that.
    assert sum(one.claimed <= one.written for one in woken) >= 3
    assert max(one.claimed - one.asleep for one in woken) > 0.05


def test_who_had_to_wait_for_the_interpreter_too_claims_nothing():
    waking = Waking()
    reading, writing = os.pipe()
    written: list[float] = []

    def write() -> None:
        time.sleep(0.05)
        written.append(monotonic())
        # Unlike that of `os`, it keeps the interpreter.
        ctypes.PyDLL(None).write(writing, b"x", 1)
        while monotonic() < written[0] + 0.02:
            pass

    before = sys.getswitchinterval()
    sys.setswitchinterval(1.0)
    writer = threading.Thread(target=write)
    try:
        waking.register(reading, 1)
        writer.start()
        while not waking.select(5.0):
            pass
        assert waking.woke > written[0] + 0.01
        assert waking.quiet <= written[0]
    finally:
        sys.setswitchinterval(before)
        writer.join()
        waking.close()
        os.close(reading)
        os.close(writing)


def test_time_away_from_the_sockets_is_counted():
    waking = Waking()
    waking.select(0)
    time.sleep(0.02)
    waking.select(0)
    busy, longest = waking.take()
    assert busy >= longest >= 0.02
    assert waking.take() == (0.0, 0.0)
    waking.close()


# What is urgent


@pytest.fixture
def hurried() -> Iterator[tuple[Waking, socket.socket, list[bytes]]]:
    """A selector with an urgent socket, its other end, and what was read of it."""
    waking, heard = Waking(), list[bytes]()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        waking.hurry(ours.fileno(), lambda: heard.append(ours.recv(100)))
        yield waking, theirs, heard
        waking.relax(ours.fileno())
        waking.close()


def long_turn(waking: Waking) -> None:
    waking.select(0)
    until = monotonic() + 2 * LONG_S
    while monotonic() < until:
        pass


def test_what_is_urgent_is_read_in_the_middle_of_a_long_turn(hurried):
    waking, theirs, heard = hurried
    long_turn(waking)
    waking.glance()
    assert heard == []
    theirs.send(b"first")
    long_turn(waking)
    waking.glance()
    assert heard == [b"first"]


def test_a_short_turn_is_not_interrupted(hurried):
    waking, theirs, heard = hurried
    theirs.send(b"first")
    long_turn(waking)
    waking.select(0)
    waking.glance()
    assert heard == [] or monotonic() - waking.woke > LONG_S


def test_who_is_no_longer_urgent_waits_for_the_loop(hurried):
    waking, theirs, heard = hurried
    with socket.socket() as other:
        waking.relax(other.fileno())  # and who never was loses nothing
    theirs.send(b"first")
    (fd,) = waking._readers
    waking.relax(fd)
    long_turn(waking)
    waking.glance()
    assert heard == []


@pytest.mark.anyio
async def test_what_breaks_in_a_glance_is_not_the_fault_of_who_glanced():
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, about: told.append(about))
    waking = Waking()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        waking.hurry(ours.fileno(), lambda: 1 / 0)
        theirs.send(b"x")
        long_turn(waking)
        waking.glance()
        waking.close()
    assert [type(about["exception"]) for about in told] == [ZeroDivisionError]


def test_only_a_loop_of_ours_notes_its_looks():
    ours, other = new_loop(), asyncio.new_event_loop()
    assert waking_of(ours) is not None
    assert waking_of(other) is None
    ours.close()
    other.close()
