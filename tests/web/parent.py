"""A daemon that does nothing but keep its page process. Ends at the end of stdin.

    python tests/web/parent.py CONFIG STATE_DIR DATABASE_URL

Prints one line of JSON once the page is to be had, or why it is not.
"""

import asyncio
import ctypes
import json
import sys
from pathlib import Path

from monitor import clock, logs
from monitor.config.load import load
from monitor.web.process import CannotListen, PageProcess
from tests.config.protocols import PROTOCOLS

PR_GET_DUMPABLE = 3


async def main(config_path: Path, state_dir: Path, database_url: str) -> None:
    config = load(config_path, PROTOCOLS, clock.now())
    loop = asyncio.get_running_loop()
    try:
        async with PageProcess.of(config, state_dir, database_url) as page:
            while page.addresses and page.pid is None:
                await asyncio.sleep(0.01)
            dumpable = ctypes.CDLL(None).prctl(PR_GET_DUMPABLE, 0, 0, 0, 0)
            said = {"pid": page.pid, "addresses": page.addresses, "dumpable": dumpable}
            print(json.dumps(said), flush=True)
            await loop.run_in_executor(None, sys.stdin.read)
    except CannotListen as refused:
        print(json.dumps({"refused": str(refused)}), flush=True)


if __name__ == "__main__":
    logs.configure("json")
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]))
