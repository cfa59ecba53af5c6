"""The door, from outside: what comes in, what is refused, and what hostile bytes cannot do."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.transport import door
from monitor.transport.door import Answer, Asked, Door, Request

pytestmark = pytest.mark.anyio

GOOD = b"POST /push/a?status=ok HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi"


class House:
    """A door, and what came in through it."""

    def __init__(self, whole_s: float) -> None:
        self.asked: list[Asked] = []
        self.most = 0
        self.hold = asyncio.Event()
        self.hold.set()
        self.listening = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.door = Door([self.listening], self.reply, whole_s)
        self.address = self.listening.getsockname()

    async def reply(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        self.most = max(self.most, self.door.inside)
        if asked.target == b"/bug":
            raise RuntimeError("a bug")
        await self.hold.wait()
        return Answer(204)

    async def say(self, *pieces: bytes, pause_s: float = 0.0) -> bytes:
        """Everything that is answered to these bytes."""
        reader, writer = await asyncio.open_connection(*self.address)
        try:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(pause_s)
            return await reader.read()
        except ConnectionError:
            return b"reset"
        finally:
            writer.close()


@asynccontextmanager
async def house(whole_s: float = door.WHOLE_S) -> AsyncIterator[House]:
    one = House(whole_s)
    one.door.open()
    try:
        yield one
    finally:
        await one.door.close()
        one.listening.close()


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


async def test_a_report_comes_in_whole_and_the_connection_ends() -> None:
    async with house() as at:
        assert await at.say(GOOD) == b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"
        assert at.asked == [Asked(b"/push/a?status=ok", b"hi")]
        assert await at.say(GOOD.replace(b"POST", b"PUT")) == await at.say(GOOD)


async def test_a_report_may_come_byte_by_byte_in_chunks_or_without_a_body() -> None:
    async with house() as at:
        assert status(await at.say(*(bytes((byte,)) for byte in GOOD))) == 204
        head = b"POST /p HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert status(await at.say(head + b"2\r\nhi\r\n1\r\n!\r\n0\r\n\r\n")) == 204
        assert status(await at.say(b"POST /p HTTP/1.0\r\n\r\n")) == 204
        assert [one.body for one in at.asked] == [b"hi", b"hi!", b""]


async def test_who_waits_for_our_word_gets_it() -> None:
    async with house() as at:
        reader, writer = await asyncio.open_connection(*at.address)
        writer.write(b"POST /p HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"hi")
        assert status(await reader.read()) == 204
        writer.close()


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b"GET /push/a HTTP/1.1\r\nHost: h\r\n\r\n", 405),
        (b"HEAD /push/a HTTP/1.1\r\nHost: h\r\n\r\n", 405),
        (b"DELETE / HTTP/1.1\r\nHost: h\r\n\r\n", 405),
        (b"POST /p HTTP/1.1\r\nContent-Length: 4097\r\n\r\n", 413),
        (b"POST /p HTTP/1.1\r\nContent-Length: 99999999999999999\r\n\r\n", 413),
        (b"POST /p HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"400\r\n" + b"x" * 1024 + b"\r\n", 408),
        (b"POST /p HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1100\r\n" + b"x" * 0x1100, 413),
        (b"POST /p HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1;a=bbbbbbbb\r\nx\r\n" * 2000, 413),
        (b"POST /" + b"a" * 9000, 400),
        (b"POST /p HTTP/1.1\r\n" + b"A: b\r\n" * 2000, 400),
        (b"POST /p HTTP/1.1\r\nA: " + b"b" * 9000, 400),
        (b"POST /p HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
        (
            b"POST /p HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
            400,
        ),
        (b"POST /p HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /p HTTP/9.9\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"\r\n" * 6000, 400),
        (b"hello\r\n\r\n", 400),
        (b"POST /bug HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 503),
    ],
)
async def test_everything_else_is_refused_with_its_status(sent: bytes, expected: int) -> None:
    async with house(0.3) as at:
        answer = await at.say(sent)
        assert status(answer) == expected
        head, _, body = answer.partition(b"\r\n\r\n")
        assert json.loads(body)["error"]["message"]
        assert (b"Allow: POST, PUT" in head) is (expected == 405)
        assert at.asked == [] or expected == 503
        assert at.door.inside == 0 or status(await at.say(GOOD)) == 204


async def test_what_follows_a_report_on_its_connection_is_not_read() -> None:
    async with house() as at:
        answer = await at.say(GOOD + GOOD + b"\0\0\0")
        assert answer.count(b"HTTP/1.1") == 1
        assert len(at.asked) == 1


async def test_a_dribble_ends_with_its_time_and_holds_up_nobody() -> None:
    async with house(0.5) as at:
        slow = [asyncio.create_task(at.say(*[b"P"] + [b"O"] * 30, pause_s=0.05)) for _ in range(20)]
        assert status(await at.say(GOOD)) == 204
        began = asyncio.get_running_loop().time()
        silent = await at.say(b"POST /p HTTP/1.1\r\n")
        assert status(silent) == 408
        assert asyncio.get_running_loop().time() - began < 1.5
        await asyncio.gather(*slow)


async def test_no_more_are_inside_than_there_is_room_for_and_the_others_wait_their_turn() -> None:
    async with house() as at:
        at.hold.clear()
        crowd = [asyncio.create_task(at.say(GOOD)) for _ in range(150)]
        while len(at.asked) < door.AT_ONCE:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        assert len(at.asked) == door.AT_ONCE
        at.hold.set()
        assert [status(answer) for answer in await asyncio.gather(*crowd)] == [204] * 150
        assert at.most <= door.AT_ONCE


async def test_ten_thousand_connections_cost_a_bounded_share_of_time_and_the_next_one_is_served() -> None:
    async with house() as at:
        loop = asyncio.get_running_loop()
        began = loop.time()

        async def flood() -> None:
            for _ in range(100):
                hostile = []
                for _ in range(100):
                    one = socket.socket()
                    one.setblocking(False)
                    one.connect_ex(at.address)
                    hostile.append(one)
                await asyncio.sleep(0)
                for one in hostile:
                    one.close()

        await flood()
        assert at.door.inside <= door.AT_ONCE + 1
        assert status(await at.say(GOOD)) == 204
        passed = loop.time() - began
        assert len(at.asked) <= door.BURST + door.A_SECOND * passed + door.AT_ONCE


async def test_a_sender_that_goes_away_in_the_middle_leaves_nothing_behind() -> None:
    async with house() as at:
        for cut in range(1, len(GOOD)):
            reader, writer = await asyncio.open_connection(*at.address)
            writer.write(GOOD[:cut])
            if cut % 2:
                writer.transport.abort()
            else:
                writer.close()
            del reader
        assert status(await at.say(GOOD)) == 204
        while at.door.inside:
            await asyncio.sleep(0.01)


async def test_closing_puts_everybody_out() -> None:
    async with house() as at:
        at.hold.clear()
        waiting = asyncio.create_task(at.say(GOOD))
        while not at.asked:
            await asyncio.sleep(0.01)
        await at.door.close()
        assert await waiting in (b"", b"reset")


@given(st.lists(st.binary(max_size=200), max_size=8))
@settings(max_examples=300, deadline=None)
async def test_random_bytes_are_never_a_crash(pieces: list[bytes]) -> None:
    request = Request()
    for piece in pieces:
        request.feed(piece)
        request.take_expectation()
    assert request.refused is None or request.refused.status in (400, 405, 413)


@given(st.binary(max_size=60), st.integers(0, len(GOOD)), st.integers(1, 60))
@settings(max_examples=300, deadline=None)
async def test_a_report_with_noise_anywhere_is_taken_or_refused_but_never_grows(
    noise: bytes, place: int, step: int
) -> None:
    request = Request()
    said = GOOD[:place] + noise + GOOD[place:]
    for start in range(0, len(said), step):
        request.feed(said[start : start + step])
    assert len(request.body) <= door.BODY_BYTES
    assert len(request.target) <= door.HEAD_BYTES
