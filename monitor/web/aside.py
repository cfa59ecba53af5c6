"""Work in a thread that never holds up the end of the process.

The pools of asyncio and of concurrent.futures are waited for at the end, and a read of a
database that does not answer would make that seconds.
"""

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def aside(work: Callable[[], T]) -> T:
    """What `work` returns or raises. Who stops waiting does not stop it."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def told(result: T | None, fault: BaseException | None) -> None:
        if answer.done():
            return
        if fault is not None:
            answer.set_exception(fault)
        else:
            answer.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, fault = None, None
        try:
            result = work()
        except BaseException as raised:  # noqa: BLE001 - it travels on to whoever waits
            fault = raised
        try:
            loop.call_soon_threadsafe(told, result, fault)
        except RuntimeError:
            # The loop has closed: the process ends, and nobody waits any more.
            return

    threading.Thread(target=run, name="aside", daemon=True).start()
    return await answer
