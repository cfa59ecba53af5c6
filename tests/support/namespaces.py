"""A network of two: the monitor's own machine here, everybody else there, and a cable between.

Needs iproute2 and util-linux; whoever is not root needs user namespaces.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support import child

GATEWAY, OURS = "192.168.77.1", "192.168.77.2"
FAR = Path(__file__).parents[1] / "namespaces" / "far.py"
_NAME_SERVER = "203.0.113.53"


class Cable:
    """Made by `plugged_in`. What is done to the network is said in the words of `ip`."""

    def __init__(self, here: int, there: int) -> None:
        self._here = here
        self._there = there

    @property
    def inside(self) -> list[str]:
        """What a command is to be preceded by to run on the monitor's own machine."""
        return [*_enter(self._here), "--mount", f"--wd={Path.cwd()}", "--"]

    def here(self, *words: str) -> None:
        """`ip …` on the monitor's own machine."""
        _run([*_enter(self._here), "--", "ip", *words])

    def there(self, *words: str) -> None:
        """`ip …` on the other side."""
        _run([*_enter(self._there), "--", "ip", *words])

    def own(self, *hosts: int) -> None:
        """The other side answers at 203.0.113.HOST; at all others packets vanish."""
        for host in hosts:
            self.there("address", "add", f"203.0.113.{host}/32", "dev", "lo")

    def disown(self, *hosts: int) -> None:
        for host in hosts:
            self.there("address", "del", f"203.0.113.{host}/32", "dev", "lo")

    @contextmanager
    def forwarding(self) -> Iterator[None]:
        """The other side is a router, and says so where it knows no way."""
        switch = [*_enter(self._there), "--", "sh", "-c", "echo $0 > /proc/sys/net/ipv4/ip_forward"]
        _run([*switch, "1"])
        try:
            yield
        finally:
            _run([*switch, "0"])

    def plug_in(self) -> None:
        """The cable, with the way to everywhere."""
        self.here("link", "set", "cable", "up")
        self.here("route", "replace", "default", "via", GATEWAY)


@contextmanager
def plugged_in(folder: Path) -> Iterator[Cable]:
    """Both sides, with a name server and web servers on the other one, until the block is left."""
    names = folder / "resolv.conf"
    names.write_text(f"nameserver {_NAME_SERVER}\n")
    as_root = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    mounted = f'mount --bind "{names}" /etc/resolv.conf && echo ready && exec sleep infinity'
    here = _ready(["unshare", "--net", "--mount", *as_root, "sh", "-c", mounted])
    processes = [here]
    try:
        alone = ["unshare", "--net", "sh", "-c", "echo ready && exec sleep infinity"]
        there = _ready([*_enter(here.pid)[:-1], "--", *alone] if as_root else alone)
        processes.append(there)
        cable = Cable(here.pid, there.pid)
        cable.here(*f"link add cable type veth peer name cable netns {there.pid}".split())
        for side, address in ((cable.here, OURS), (cable.there, GATEWAY)):
            side("link", "set", "lo", "up")
            side("address", "add", f"{address}/24", "dev", "cable")
            side("link", "set", "cable", "up")
        cable.plug_in()
        cable.own(53)
        processes.append(_ready([*_enter(there.pid), "--", sys.executable, FAR]))
        yield cable
    finally:
        for process in reversed(processes):
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


def _enter(pid: int) -> list[str]:
    as_root = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
    return ["nsenter", "--target", str(pid), *as_root, "--net"]


def _ready(command: Sequence[str | Path]) -> subprocess.Popen[bytes]:
    """A program that has said that it is ready."""
    process = child.start(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n", f"{command[0]} did not start"
    return process


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
