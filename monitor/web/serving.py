"""The page process at work: both addresses, one library, until it is told to end."""

import asyncio
import os
import signal

import structlog

from monitor.clock import SYSTEM
from monitor.store.engine import Database
from monitor.web import app
from monitor.web.doors import Doors, told
from monitor.web.handover import Handover
from monitor.web.library import Library
from monitor.web.server import PageServer, Waiting, room_for_connections

log = structlog.get_logger()

ENDS_WITHIN_S = 1.7


async def serve_on(doors: Doors, handover: Handover, pipe: int | None = None) -> None:
    """Until SIGTERM, SIGINT or the end of `pipe`; then what was asked is answered, for a second."""
    end = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end.set)
    if pipe is not None:
        loop.add_reader(pipe, _at_end, pipe, end)
    library = Library(
        Database(handover.database_url, state_dir=handover.state_dir, readonly=True),
        site=handover.site,
        listings=handover.listings,
        status=handover.state_dir / "status.json",
        clock=SYSTEM,
    )
    waiting = Waiting(room_for_connections(doors.sockets))
    servers = [
        (PageServer(app.create(library, public=public), waiting), list(sockets))
        for public, sockets in ((False, doors.operators), (True, doors.public))
        if sockets
    ]
    serving = [asyncio.create_task(server.serve(sockets=sockets)) for server, sockets in servers]
    # The first visitor need not wait for what can be computed before.
    warm = asyncio.create_task(library.snapshot(public=False))
    log.info("page.listening", addresses=[told(one) for one in doors.sockets])
    told_to_end = asyncio.create_task(end.wait())
    await asyncio.wait((told_to_end, *serving), return_when=asyncio.FIRST_COMPLETED)
    for server, _ in servers:
        server.end()
    _, late = await asyncio.wait(serving, timeout=ENDS_WITHIN_S)
    waiting.drop_all()
    for task in (*late, told_to_end, warm):
        task.cancel()
    log.info("page.stopped")


def _at_end(pipe: int, end: asyncio.Event) -> None:
    """The daemon writes nothing more, so what comes is the end."""
    if not os.read(pipe, 64):
        asyncio.get_running_loop().remove_reader(pipe)
        end.set()
