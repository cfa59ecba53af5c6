"""The servers of the catalogue: a port for each endpoint, bare sockets, a process of their own.

`python -m tests.faults.server PLAN FOLDER`. The plan says what is played on each port. The first line
of output says which ports they are; then there is a line for each connection, when it is over.
"""

import contextlib
import json
import os
import random
import select
import selectors
import socket
import ssl
import struct
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.catalogue import CASES, TRUE
from tests.faults.certificates import certificates
from tests.faults.play import Case, End, Scene, Step, When
from tests.faults.voices import VOICES

LONGEST_S = 30.0
"""By then any client has given up."""


class GoneAway(Exception):
    """The client closed or reset the connection."""


@dataclass
class Told:
    """What is told of a connection, once it is over. Moments in seconds of the wall clock."""

    endpoint: str
    case: str
    at: float
    """Accepted."""
    asked: float | None = None
    """The whole request was read."""
    gone: float | None = None
    """The client went away."""
    sent: list[tuple[float, float]] = field(default_factory=list)
    """Of a true answer: between which moments each piece went."""


@dataclass(frozen=True)
class Place:
    """One port, and what is played there."""

    endpoint: str
    protocol: str
    cases: tuple[Case, ...]
    port: int


class Theatre:
    """All ports of a plan."""

    def __init__(self, plan: dict[str, Any], folder: Path) -> None:
        self._contexts = certificates(folder)
        self._chance = random.Random(plan.get("seed", 0))
        self._asked: dict[str, int] = {}
        self._lock = threading.Lock()
        self._doors = selectors.DefaultSelector()
        self._places: list[Place] = []
        self._bound: list[socket.socket] = []
        self._trap = self._open(Place("trap", "http", (TRUE,), 0))
        for entry in plan["endpoints"]:
            cases = tuple(CASES[name] for name in entry["cases"])
            self._open(Place(entry["endpoint"], entry["protocol"], cases, 0))

    def _open(self, place: Place) -> str:
        door = socket.socket()
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind(("127.0.0.1", 0))
        port = door.getsockname()[1]
        place = Place(place.endpoint, place.protocol, place.cases, port)
        self._places.append(place)
        self._bound.append(door)
        if place.cases[0].when is not When.NOBODY:
            door.listen(128)
            self._doors.register(door, selectors.EVENT_READ, place)
        return f"127.0.0.1:{port}"

    def run(self) -> None:
        tell({place.endpoint: place.port for place in self._places})
        while True:
            for key, _ in self._doors.select():
                assert isinstance(key.fileobj, socket.socket)
                sock, _ = key.fileobj.accept()
                thread = threading.Thread(target=self._meet, args=(sock, key.data), daemon=True)
                thread.start()

    def _meet(self, sock: socket.socket, place: Place) -> None:
        with self._lock:
            turn = self._asked[place.endpoint] = self._asked.get(place.endpoint, 0) + 1
            case = self._chance.choice(place.cases)
        told = Told(place.endpoint, case.name, time.time())
        visit = Visit(sock, case, place, told, early=turn % 2 == 1, trap=self._trap)
        try:
            visit.run(self._contexts.get(case.certificate))
        except (GoneAway, OSError):
            told.gone = told.gone or time.time()
        finally:
            visit.close()
            with self._lock:
                tell(vars(told))


class Visit:
    """One connection, from the server's side."""

    def __init__(
        self, sock: socket.socket, case: Case, place: Place, told: Told, *, early: bool, trap: str
    ) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(LONGEST_S)
        self._tcp = self._sock = sock
        self._case = case
        self._place = place
        self._told = told
        self._trap = trap
        self._play = case.before if early and case.before is not None else case.play

    def run(self, context: ssl.SSLContext | None) -> None:
        if self._case.when is When.ACCEPT:
            self._perform(b"")
            return
        if context is not None:
            self._tcp = self._sock.dup()
            self._sock = context.wrap_socket(self._sock, server_side=True, suppress_ragged_eofs=True)
        request = self._request()
        self._told.asked = time.time()
        self._perform(request)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._sock.close()
            self._tcp.close()

    def _request(self) -> bytes:
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._more()
        head, _, body = data.partition(b"\r\n\r\n")
        for line in head.split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                while len(body) < int(value):
                    body += self._more()
        return head + b"\r\n\r\n" + body

    def _more(self) -> bytes:
        piece = self._sock.recv(65536)
        if not piece:
            raise GoneAway
        return piece

    def _perform(self, request: bytes) -> None:
        place = self._place
        scene = Scene(VOICES[place.protocol], request, f"127.0.0.1:{place.port}", self._trap)
        for step in self._play(scene):
            self._take(step)
            if isinstance(step, End):
                return
        if isinstance(self._sock, ssl.SSLSocket):
            self._goodbye(self._sock)

    def _goodbye(self, sock: ssl.SSLSocket) -> None:
        sock.settimeout(0.2)
        with contextlib.suppress(OSError, ValueError):
            sock.unwrap()

    def _take(self, step: Step) -> None:
        if isinstance(step, bytes):
            before = time.time()
            self._sock.sendall(step)
            if self._case is TRUE:
                self._told.sent.append((before, time.time()))
        elif isinstance(step, float):
            self._pause(step)
        elif step is End.RESET:
            self._tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if self._sock is not self._tcp:
                os.close(self._sock.detach())
            self._tcp.close()
        elif step in (End.RUDE, End.RUBBISH):
            if step is End.RUBBISH:
                self._tcp.sendall(b"\x99" * 300)
            self._tcp.shutdown(socket.SHUT_WR)
            self._pause(LONGEST_S)
        else:
            if step is End.HALF:
                self._tcp.shutdown(socket.SHUT_WR)
            self._pause(LONGEST_S)

    def _pause(self, seconds: float) -> None:
        """Let time pass, unless the client goes away."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            readable, _, _ = select.select([self._tcp], [], [], left)
            if not readable:
                return
            if self._case.when is When.ACCEPT and self._told.asked is None:
                # What it wanted to say, which is not read as such.
                if not self._tcp.recv(65536):
                    raise GoneAway
            else:
                raise GoneAway


def tell(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def main(arguments: Iterator[str]) -> None:
    plan, folder = arguments
    Theatre(json.loads(Path(plan).read_text()), Path(folder)).run()


if __name__ == "__main__":
    main(iter(sys.argv[1:]))
