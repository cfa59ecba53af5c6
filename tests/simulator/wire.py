"""A client that sees every byte: it knows TCP and nothing else, and decodes strictly."""

import asyncio
import json
from dataclasses import dataclass, field
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

from monitor.simulator import Simulator

PATIENCE_S = 5.0


@dataclass(kw_only=True)
class Heard:
    """One reply, as far as it came."""

    sent: float
    """When the request was on its way; monotonic seconds."""
    pieces: list[tuple[float, bytes]] = field(default_factory=list)
    """What each read brought, and when."""
    end: str = ""
    """`eof`, `reset`, or `silence` if nothing more came while we waited."""

    @property
    def raw(self) -> bytes:
        return b"".join(data for _, data in self.pieces)

    @property
    def status(self) -> int:
        return int(self.raw.split(b" ", 2)[1])

    @property
    def headers(self) -> dict[str, str]:
        lines = self.raw.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
        return {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}

    @property
    def body(self) -> bytes:
        """Without HTTP's framing."""
        body = self.raw.partition(b"\r\n\r\n")[2]
        if self.headers.get("transfer-encoding") != "chunked":
            return body
        return b"".join(_chunks(body))

    @property
    def whole(self) -> bool:
        """The message ended as its framing says."""
        body = self.raw.partition(b"\r\n\r\n")[2]
        if self.headers.get("transfer-encoding") == "chunked":
            return body.endswith(b"0\r\n\r\n")
        return len(body) == int(self.headers["content-length"])

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def data(self) -> list[str]:
        """The payload of every event."""
        events = [event for event in self.body.decode().split("\n\n") if event]
        return [event.removeprefix("data: ") for event in events if event.startswith("data: ")]

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(data) for data in self.data if data != "[DONE]"]

    @property
    def deltas(self) -> list[dict[str, Any]]:
        return [choice["delta"] for event in self.events for choice in event.get("choices", ())]

    def text(self, name: str = "content") -> str:
        return "".join(delta.get(name) or "" for delta in self.deltas)

    @property
    def finish(self) -> str | None:
        """The `finish_reason`, which at most one chunk may carry."""
        reasons = [c["finish_reason"] for event in self.events for c in event.get("choices", ())]
        (reason,) = [reason for reason in reasons if reason] or [None]
        return reason


def _chunks(body: bytes) -> list[bytes]:
    found = []
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size, 16)
        if length == 0:
            break
        assert rest[length : length + 2] in (b"\r\n", b"")
        found.append(rest[:length])
        body = rest[length + 2 :]
    return found


def chat(**fields: Any) -> dict[str, Any]:
    """The body of an ordinary request; None takes a field out."""
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": "nonce-1 say pong"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 20,
        **fields,
    }
    return {name: value for name, value in body.items() if value is not None}


async def ask(simulator: Simulator, provider: str, *, key: str = "", **fields: Any) -> Heard:
    """Send one chat request and read to the end."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    return await send(
        simulator, f"/{provider}/v1/chat/completions", json.dumps(chat(**fields)).encode(), headers=headers
    )


async def send(
    simulator: Simulator,
    path: str,
    body: bytes = b"",
    *,
    method: str = "",
    headers: dict[str, str] | None = None,
    patience_s: float = PATIENCE_S,
) -> Heard:
    """Send one request on a connection of its own and read until it ends, or falls silent for that long."""
    reader, writer = await connect(simulator)
    heard = Heard(sent=monotonic())
    writer.write(request(method or ("POST" if body else "GET"), path, body, headers or {}))
    try:
        while not heard.end:
            await _read(reader, heard, patience_s)
    finally:
        writer.close()
    return heard


async def _read(reader: asyncio.StreamReader, heard: Heard, patience_s: float) -> None:
    try:
        data = await asyncio.wait_for(reader.read(65536), patience_s)
    except TimeoutError:
        heard.end = "silence"
    except ConnectionResetError:
        heard.end = "reset"
    else:
        if data:
            heard.pieces.append((monotonic(), data))
        else:
            heard.end = "eof"


async def connect(simulator: Simulator) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    place = urlsplit(simulator.url)
    return await asyncio.open_connection(place.hostname, place.port)


def request(method: str, path: str, body: bytes, headers: dict[str, str]) -> bytes:
    """The bytes of a request on a connection that closes after it."""
    lines = [f"{method} {path} HTTP/1.1", "host: simulated", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in {"connection": "close", **headers}.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body
