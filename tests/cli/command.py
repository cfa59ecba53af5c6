"""The command line as its users start it: a process, with nothing of whoever runs the tests."""

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.daemon import TOP

WITHIN_S = 60.0
LOOKS = 12
"""So often a look is taken again on a machine that is too busy to time one."""
UNPRIVILEGED = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
"""In front of a command whom permissions are to stop, also where root runs the tests."""
_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True)
class Ended:
    """What became of a command."""

    status: int
    out: str
    err: str = ""

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> str:
        """The only line on stderr. Fails if there is none, or more."""
        (line,) = self.err.splitlines()
        return line

    @property
    def plain(self) -> str:
        """Standard output without colours."""
        return _ESCAPE.sub("", self.out)


def uptoken(*words: object, cwd: Path, env: Mapping[str, str] | None = None) -> Ended:
    """Run one command to its end; its output goes into pipes."""
    done = subprocess.run(
        [sys.executable, "-m", "monitor", *map(str, words)],
        cwd=cwd,
        env=environment(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def unprivileged(*words: object, cwd: Path, env: Mapping[str, str] | None = None) -> Ended:
    """The same, where permissions count."""
    done = subprocess.run(
        [*UNPRIVILEGED, sys.executable, "-m", "monitor", *map(str, words)],
        cwd=cwd,
        env=environment(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def probe(*words: object, cwd: Path, env: Mapping[str, str] | None = None) -> Ended:
    """`uptoken probe`, taken again while it says that this machine was too busy to time it."""
    for _ in range(LOOKS):
        seen = uptoken("probe", *words, cwd=cwd, env=env)
        if "self_overload" not in seen.out:
            return seen
    raise AssertionError(f"{LOOKS} looks, and none could be timed; the last one:\n{seen.out}{seen.err}")


def on_terminal(*words: object, cwd: Path, env: Mapping[str, str] | None = None, columns: int = 80) -> Ended:
    """The same on a terminal: both outputs in `out`, as they came."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "monitor", *map(str, words)],
        cwd=cwd,
        env={**environment(env), "TERM": "xterm-256color"},
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    said = bytearray()
    while piece := _read(ours):
        said += piece
    os.close(ours)
    return Ended(process.wait(WITHIN_S), said.decode().replace("\r\n", "\n"))


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # Linux says so when the last writer has closed its end
        return b""


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    bare = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return {**bare, "PYTHONPATH": str(TOP), **(more or {})}
