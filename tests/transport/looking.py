"""A client in a process of its own, for tests that stop it or take its core: `python -m tests.transport.looking URL`.

Prints, as JSON, each piece of the body with the moments between which it came, and whether the
later one is a stamp.
"""

import asyncio
import json
import sys

from monitor.clock import monotonic
from monitor.core.timeline import Timeline
from monitor.core.wire import Limits, Request
from monitor.transport.waking import new_loop
from monitor.transport.wire import open_transports


async def look(url: str) -> None:
    """Ask once and read the body to its end."""
    timeline = Timeline(start=monotonic())
    limits = Limits(deadline=timeline.start + 20, connect_s=5)
    pieces = []
    async with (
        open_transports() as transports,
        transports.wire().exchange(Request("GET", url, {}), timeline, limits) as reply,
    ):
        while (arrival := await reply.read(limits.deadline)) is not None:
            pieces.append([arrival.data.decode(), arrival.earliest, arrival.at, arrival.stamped])
    print(json.dumps(pieces))


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(look(sys.argv[1]))
