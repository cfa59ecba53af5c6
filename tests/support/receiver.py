"""A webhook on loopback, as Apprise's `json://` calls it: what came, when, and what it answers."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.support.daemon import SOON_S


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it arrived, whatever the answer was."""

    at: float
    """Monotonic seconds."""
    title: str
    text: str
    body: dict[str, Any]
    accepted: bool

    @property
    def reference(self) -> str:
        """The last line: `[incident#sequence]`."""
        return self.text.rsplit("\n", 1)[-1]

    @property
    def incident(self) -> str:
        return self.reference.strip("[]").partition("#")[0]


Rule = Callable[[str, str], str]
"""Title and text → `ok`, `refuse` (500), `hang` (no answer) or `dribble` (one that never ends)."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was killed is what many tests are about."""


class Receiver:
    """Made by `receiving`."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.on_message: Callable[[Message], None] | None = None
        """Called before the answer, in the thread of the request."""
        self._rule: Rule = _accept
        self._news = threading.Condition()
        self._end = threading.Event()
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """As `[channel.NAME] url` takes it."""
        return f"json://127.0.0.1:{self._server.server_port}/"

    def behave(self, rule: Rule | str) -> None:
        """From now on answer by this rule, or always like this."""
        self._rule = (lambda _title, _text: rule) if isinstance(rule, str) else rule

    @property
    def accepted(self) -> list[Message]:
        """What was answered with 200, in the order in which it came."""
        with self._news:
            return [message for message in self.messages if message.accepted]

    def wait(
        self, holds: Callable[[Message], bool] = lambda _: True, *, count: int = 1, within_s: float = SOON_S
    ) -> Message:
        """The `count`-th accepted message for which that holds. Fails if it does not come."""
        deadline = time.monotonic() + within_s
        with self._news:
            while True:
                found = [message for message in self.messages if message.accepted and holds(message)]
                if len(found) >= count:
                    return found[count - 1]
                left = deadline - time.monotonic()
                assert left > 0, f"{within_s:g} s passed without that message; there were {self._titles()}"
                self._news.wait(left)

    def close(self) -> None:
        self._end.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _titles(self) -> list[str]:
        return [f"{message.title} {message.reference}" for message in self.messages]

    def _take(self, body: dict[str, Any]) -> str:
        # Slack's has neither; whoever wants to know looks at the body.
        title, text = body.get("title", ""), body.get("message", "")
        answer = self._rule(title, text)
        message = Message(time.monotonic(), title, text, body, accepted=answer == "ok")
        with self._news:
            self.messages.append(message)
            self._news.notify_all()
        if self.on_message is not None:
            self.on_message(message)
        return answer

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                answer = receiver._take(json.loads(self.rfile.read(length)))
                if answer == "hang":
                    receiver._end.wait()
                elif answer == "dribble":
                    self._dribble()
                else:
                    self.send_response(200 if answer == "ok" else 500)
                    self.send_header("Content-Length", str(len(answer)))
                    self.end_headers()
                    self.wfile.write(answer.encode())  # Slack is content with nothing but `ok`

            def _dribble(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", "1000000")
                self.end_headers()
                while not receiver._end.wait(0.1):
                    self.wfile.write(b".")

            def log_message(self, *_args: object) -> None:
                """Nothing: the test says what it wants to say."""

        return Handler


def _accept(_title: str, _text: str) -> str:
    return "ok"


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()
    try:
        yield receiver
    finally:
        receiver.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A webhook that takes everything until it is told otherwise."""
    with receiving() as one:
        yield one


@pytest.fixture
def second_receiver() -> Iterator[Receiver]:
    with receiving() as one:
        yield one
