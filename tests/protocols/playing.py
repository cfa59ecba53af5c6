"""A server on loopback that plays one case of a script over a real socket, at its own pace."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.protocols.script import Case


@dataclass
class Played:
    """A server that answers every request with the case."""

    url: str = ""
    sent: list[list[float]] = field(default_factory=list)
    """For each request: when it was complete, and when each event went out. Seconds of the loop."""


@asynccontextmanager
async def playing(case: Case) -> AsyncIterator[Played]:
    """Serve while the context lasts. Each event leaves `every_s` after the one before it."""
    played = Played()
    events = (
        [event + b"\n\n" for event in case.body.split(b"\n\n") if event]
        if case.status == 200
        else [case.body]
    )
    clock = asyncio.get_running_loop().time

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.split(b":")[1])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length")
            )
            await reader.readexactly(length)
            stamps = [clock()]
            played.sent.append(stamps)
            kind = (
                "text/event-stream"
                if case.body.startswith((b"event:", b"data:", b":"))
                else "application/json"
            )
            headers = {"content-type": kind, "connection": "close", "x-request-id": "req_1", **case.headers}
            lines = [f"HTTP/1.1 {case.status} Said", *(f"{name}: {value}" for name, value in headers.items())]
            writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
            for place, event in enumerate(events, start=1):
                # By the clock, so that lateness does not add up.
                await asyncio.sleep(stamps[0] + place * case.every_s - clock())
                writer.write(event)
                stamps.append(clock())
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            return  # the client had enough
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    played.url = f"http://{host}:{port}"
    async with server:
        yield played
