"""The sockets on which the page is served."""

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


class CannotListen(Exception):
    """The text is one line for the operator: which address, why not, and what to do."""


@dataclass(frozen=True, slots=True)
class Doors:
    """Listening sockets: a host name may stand for several addresses."""

    operators: tuple[socket.socket, ...] = ()
    public: tuple[socket.socket, ...] = ()
    files: tuple[Path, ...] = ()
    """Socket files that are ours to remove."""

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        return (*self.operators, *self.public)

    def close(self) -> None:
        """Stop listening and leave nothing behind."""
        for one in self.sockets:
            one.close()
        for file in self.files:
            file.unlink(missing_ok=True)


def inherited(operators: Sequence[int], public: Sequence[int]) -> Doors:
    """The sockets that whoever started this process passed on. Raises CannotListen."""
    try:
        return Doors(
            tuple(socket.socket(fileno=number) for number in operators),
            tuple(socket.socket(fileno=number) for number in public),
        )
    except OSError as refusal:
        raise CannotListen(f"what was passed on is no socket ({os.strerror(refusal.errno or 0)})") from None


def told(found: socket.socket) -> str:
    """Where it listens: `http://127.0.0.1:8480`, `unix:/run/uptoken.sock`."""
    name = found.getsockname()
    if found.family == socket.AF_UNIX:
        return f"unix:{name}"
    host, port = name[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
