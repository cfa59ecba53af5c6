"""Programs that a test starts: they end with the test run, however it ends."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO


def start(
    command: Sequence[str | Path],
    *,
    user: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdout: IO[bytes] | int | None = None,
    stderr: IO[bytes] | int | None = None,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start `command`; the kernel kills it when the thread that called this is gone.

    `user` counts only where root runs the tests. `setpriv` executes the command in its
    own place, so `pid` is the program's.
    """
    as_user = []
    if user is not None and os.geteuid() == 0:
        as_user = ["--reuid", user, "--regid", user, "--init-groups"]
    return subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", *as_user, "--", *command],
        env=env,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        pass_fds=pass_fds,
    )


def end(process: subprocess.Popen[bytes], signal: int, *, within_s: float = 10.0) -> int:
    """Send `signal` and return the exit status. Killed, with TimeoutExpired, if it takes longer."""
    if process.poll() is None:
        process.send_signal(signal)
    try:
        return process.wait(within_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise
    finally:
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
