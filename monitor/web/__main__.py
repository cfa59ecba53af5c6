"""The daemon's child: told everything on stdin, it serves until that pipe ends.

Only `PageProcess` starts it; people say `uptoken serve`.
"""

import asyncio
import os
import sys
from contextlib import suppress
from urllib.parse import unquote, urlsplit

from monitor import logs
from monitor.web.doors import inherited
from monitor.web.handover import from_line
from monitor.web.serving import serve_on

NICENESS = 5
"""The page may wait for the processor; a probe may not."""


def main() -> None:
    logs.configure()
    line = sys.stdin.buffer.readline()
    if not line.endswith(b"\n"):  # the daemon died before it had said everything
        return
    handover = from_line(line)
    password = urlsplit(handover.database_url).password
    if password:
        logs.configure(secrets=[password, unquote(password)])
    with suppress(OSError):  # a sandbox may not let us
        os.nice(NICENESS)
    doors = inherited(handover.fds, handover.public_fds)
    asyncio.run(serve_on(doors, handover, pipe=sys.stdin.fileno()))


if __name__ == "__main__":
    main()
