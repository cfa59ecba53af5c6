"""What the server of one protocol was heard to say, and what each of it amounts to.

A protocol of a language model has one file in `scripts/` under its own name, by hand from the
wire format its vendor documents. `tests/protocols/test_scripts.py` plays it; `NEEDED` says which
cases no such file may lack.
"""

import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Protocol

from monitor.core.observation import Usage
from monitor.core.outcome import Outcome
from monitor.core.timeline import Channel

ANSWER, REASONING, OTHER = Channel.ANSWER, Channel.REASONING, Channel.OTHER

NEEDED = frozenset(
    {
        "ok", "reasons first", "no usage", "truncated", "error in mid-stream", "error before any token",
        "overloaded in the stream", "empty", "all of it reasoning", "filtered", "not json", "only keep-alives",
        "one burst", "another model", "in one piece", "stalled", "calls a tool", "wrong key", "no credit",
        "too fast", "no such model", "bad request", "overloaded", "server error", "page of a proxy",
    }
)  # fmt: skip
"""What every vendor can say in one way or another."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One conversation, and the facts in it. None is not looked at."""

    outcome: Outcome
    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    tokens: Sequence[tuple[Channel, int]] = ()
    answer: str = ""
    finish_reason: str | None = None
    reasoning_kept_back: bool | None = None
    usage: Usage | None = None
    served_model: str | None = "acme-1"
    says: str = ""
    """What the detail must hold, so that a person can act on it."""
    worked: bool = False
    """The endpoint had worked before."""
    served_before: str | None = None
    open: bool = False
    """The server never ends it."""
    at_once: bool = False
    """All of it came in one read."""
    every_s: float = 0.010
    """From one event to the next."""
    retry_after_s: float | None = None


class Script(Protocol):
    """What a file in `scripts/` exports."""

    BASE_URL: str
    """As the vendor's own SDK takes it."""
    REQUEST: Mapping[str, Any]
    """The URL, the header with the key, and the body that is sent for `acme-1`."""
    CASES: Mapping[str, Case]


@cache
def script(protocol: str) -> Script:
    """The script of that protocol. Raises ModuleNotFoundError where nobody wrote one."""
    return importlib.import_module(f"tests.protocols.scripts.{protocol.replace('-', '_')}")


def refused(status: int, error: object, outcome: Outcome, **more: Any) -> Case:
    """A refusal with that JSON, or that text."""
    body = error if isinstance(error, str) else json.dumps(error)
    return Case(outcome=outcome, body=body.encode(), status=status, served_model=None, **more)


def typed(*events: dict[str, Any]) -> bytes:
    """Events that bear their type twice: in their line `event:`, and in their JSON."""
    return b"".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events)


def plain(*events: object) -> bytes:
    """Events of JSON alone; a text stands for itself."""
    return b"".join(
        (event if isinstance(event, str) else f"data: {json.dumps(event)}").encode() + b"\n\n"
        for event in events
    )
