"""CPU of a probe, all of it: probe, judge, store, log; and what others need for less."""

import asyncio
import json
import math
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import httpx

from bench import rig
from bench.process import cpu_s
from bench.report import Table, against, load, spread
from bench.truth import Server, server
from tests.support import child
from tests.support.ports import unused_port
from tests.support.simulated import Simulated, simulating

RUNS = 5
SETTLE_S, WINDOW_S = 5.0, 12.0
FIRST_MS = 200
PLAIN, PLAIN_INTERVAL_S = 400, 2
"""200 a second."""
BLACKBOX = "prometheus-blackbox-exporter"
OURS = "Uptoken: probe, judge, store, log"
SLOW = "64 chunks, one each 50 ms"
IDLE_S = 600
PROMPT_READS, SHARE, LONGEST_S = 9, 8, 0.25
"""As we read: headers and eight tokens as they come, then in gulps of an eighth of the stream so far."""

Asked = Callable[[], int]
"""How many requests the server had since the last call."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one program in a window."""

    probes: int
    cpu_s: float

    @property
    def ms(self) -> float:
        return self.cpu_s / self.probes * 1000


@dataclass(frozen=True, slots=True)
class Streams:
    """So many at once, one after the other."""

    title: str
    at_once: int
    chunks: int
    gap_ms: float
    goal_ms: float
    tls: bool = False

    @property
    def cycle_s(self) -> float:
        return (FIRST_MS + self.chunks * self.gap_ms) / 1000

    @property
    def interval_s(self) -> int:
        return math.ceil(self.cycle_s + 0.9)

    @property
    def endpoints(self) -> int:
        return round(self.at_once * self.interval_s / self.cycle_s)

    @property
    def rate(self) -> float:
        return self.endpoints / self.interval_s


STREAMS = (
    Streams("64 chunks, one each 10 ms", 50, 64, 10, 5.0),
    Streams(SLOW, 50, 64, 50, 5.0),
    Streams("64 chunks, one each 10 ms, over TLS", 50, 64, 10, 8.0, tls=True),
    Streams("500 chunks, one each 10 ms", 50, 500, 10, 18.0),
)


def figures(*, long: bool) -> Iterator[Table]:  # noqa: ARG001 - the same in both cases
    with tempfile.TemporaryDirectory(prefix="uptoken-bench-") as folder, server(Path(folder), None) as truth:
        for streams in STREAMS:
            yield _streams(truth, streams)
            if streams.title == SLOW:
                yield _parts(truth, streams)
    with simulating() as simulated:
        yield _plain(simulated)


def _streams(truth: Server, streams: Streams) -> Table:
    table = Table(
        f"cpu: {streams.title}, {streams.at_once} streams at once",
        ("program", "CPU of a stream, ms", "against ours", "goal"),
    )
    url = truth.url("cpu", first_ms=FIRST_MS, tokens=streams.chunks, gap_ms=streams.gap_ms, end_ms=0, flags=0)
    authority = ""
    if streams.tls:
        url, authority = truth.secure(url), str(truth.authority)
    config = _models(url, streams, authority)

    def asked() -> int:
        return sum(map(len, truth.said().values()))

    rows = {
        OURS: lambda: _daemon(asked, config),
        "httpx alone: `client.stream`, `aiter_lines`, `json.loads`": lambda: _loop(
            asked, "stream", f"{url}/chat/completions", streams.rate, authority
        ),
    }
    return _filled(table, rows, streams.goal_ms)


def _parts(truth: Server, streams: Streams) -> Table:
    """Where it goes: the same daemon with less and less to do, and the least that any loop must do."""
    table = Table(
        f"cpu: what {streams.title}, are made of", ("program", "CPU of a stream, ms", "against ours")
    )

    def url(chunks: int) -> str:
        return truth.url("part", first_ms=FIRST_MS, tokens=chunks, gap_ms=streams.gap_ms, end_ms=0, flags=0)

    def asked() -> int:
        return sum(map(len, truth.said().values()))

    def idle() -> int:
        """As if so many had been asked as with something to do."""
        truth.said()
        return round(streams.rate * WINDOW_S)

    rows = {
        OURS: lambda: _daemon(asked, _models(url(streams.chunks), streams, "")),
        "the same with 8 chunks": lambda: _daemon(asked, _models(url(8), streams, "")),
        "the same with 2 chunks": lambda: _daemon(asked, _models(url(2), streams, "")),
        "the same with nothing to do": lambda: _daemon(idle, _models(url(2), streams, "", IDLE_S)),
        "a bare loop that reads as often and drops what it reads": lambda: _loop(
            asked, "bare", f"{url(streams.chunks)}/chat/completions", streams.rate, ""
        ),
    }
    found = _in_turns(rows)
    ours = median(found[OURS])
    for name, values in found.items():
        table.add(name, spread(values, 2), f"{median(values) / ours:.2f}×")
    table.note = f"{RUNS} runs of {WINDOW_S:.0f} s each, in turns; {load()}."
    return table


def _models(url: str, streams: Streams, authority: str, interval_s: int | None = None) -> str:
    interval_s = interval_s or streams.interval_s
    lines = [
        f'[provider.model]\nprotocol = "openai-chat"\nbase_url = "{url}"\ninterval = "{interval_s}s"',
        f'timeout = "{streams.interval_s * 1000 - 100}ms"\n'
        + (f'ca_file = "{authority}"\n' if authority else ""),
        *(f'[[provider.model.endpoints]]\nmodel = "m{number}"\n' for number in range(streams.endpoints)),
    ]
    return "\n".join(lines)


def _plain(simulated: Simulated) -> Table:
    rate = PLAIN // PLAIN_INTERVAL_S
    table = Table(f"cpu: plain HTTP, {rate} a second", ("program", "CPU, ms", "against ours", "goal"))
    config = rig.plain(simulated.url, PLAIN, f"{PLAIN_INTERVAL_S}s")
    address = f"{simulated.url}/fast/peer"
    seen = 0

    def asked() -> int:
        nonlocal seen
        before, seen = seen, rig.asked(simulated)
        return seen - before

    rows = {
        OURS: lambda: _daemon(asked, config),
        "httpx alone: `client.get`, new connections": lambda: _loop(asked, "get", address, rate, ""),
    }
    program = shutil.which(BLACKBOX)
    if program is None:
        table.note = f"Not measured: apt-get install --no-install-recommends {BLACKBOX}. "
    else:
        rows["blackbox_exporter: probes, stores nothing"] = lambda: _blackbox(asked, program, address, rate)
    return _filled(table, rows, None)


def _filled(table: Table, rows: dict[str, Callable[[], Cost]], goal_ms: float | None) -> Table:
    """Without a goal in ms it is the last row, blackbox_exporter."""
    found = _in_turns(rows)
    ours = median(found[OURS])
    goal = goal_ms or median(list(found.values())[-1])
    for name, values in found.items():
        held = against(ours, round(goal, 2)) if name == OURS else "–"
        table.add(name, spread(values, 2), f"{median(values) / ours:.2f}×", held)
    table.note += f"Whole processes; {RUNS} runs of {WINDOW_S:.0f} s each, in turns; {load()}."
    return table


def _in_turns(rows: dict[str, Callable[[], Cost]]) -> dict[str, list[float]]:
    """Whatever else the machine does meets everybody. Milliseconds of CPU."""
    found: dict[str, list[float]] = {name: [] for name in rows}
    for _ in range(RUNS):
        for name, run in rows.items():
            found[name].append(run().ms)
    return found


def _measured(asked: Asked, pid: int) -> Cost:
    """What that process spends in a window, and how often the server was asked in it."""
    time.sleep(SETTLE_S)
    asked()
    cpu = cpu_s(pid)
    time.sleep(WINDOW_S)
    return Cost(asked(), cpu_s(pid) - cpu)


def _daemon(asked: Asked, config: str) -> Cost:
    with rig.home() as home:
        home.configure(config)
        daemon = home.ready()
        cost = _measured(asked, daemon.pid)
        daemon.stop()
    return cost


@contextmanager
def _program(command: list[str]) -> Iterator[int]:
    process = child.start(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process.pid
    finally:
        child.end(process, signal.SIGKILL)


def _loop(asked: Asked, kind: str, address: str, rate: float, authority: str) -> Cost:
    with _program([sys.executable, "-m", "bench.cpu", kind, address, str(rate), authority]) as pid:
        return _measured(asked, pid)


def _blackbox(asked: Asked, program: str, target: str, rate: int) -> Cost:
    port = unused_port()
    with tempfile.TemporaryDirectory(prefix="uptoken-bench-") as folder:
        config = Path(folder) / "blackbox.yml"
        config.write_text(
            "modules: {http_2xx: {prober: http, timeout: 1s, http: {preferred_ip_protocol: ip4}}}\n"
        )
        command = [program, f"--config.file={config}", f"--web.listen-address=127.0.0.1:{port}"]
        ask = f"http://127.0.0.1:{port}/probe?module=http_2xx&target={target}"
        asking = [sys.executable, "-m", "bench.cpu", "keep", ask, str(rate), ""]
        with _program([*command, "--log.level=error"]) as pid:
            _await_port(port)
            with _program(asking):
                return _measured(asked, pid)


def _await_port(port: int) -> None:
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.05)
        else:
            return


# The plain client, in a process of its own


async def _ask_for_ever(kind: str, address: str, rate: float, authority: str) -> None:
    # As a probe is: a connection of its own, unless what is asked is only the way to one.
    limits = httpx.Limits(max_keepalive_connections=20 if kind == "keep" else 0)
    begun: set[asyncio.Task[None]] = set()
    context = ssl.create_default_context(cafile=authority or None)
    async with httpx.AsyncClient(limits=limits, timeout=10.0, verify=context) as client:
        start, count = time.monotonic(), 0
        while True:
            await asyncio.sleep(start + count / rate - time.monotonic())
            count += 1
            ask = {"stream": _stream, "bare": _bare}.get(kind, _get)
            task = asyncio.create_task(ask(client, address))
            begun.add(task)
            task.add_done_callback(begun.discard)


async def _get(client: httpx.AsyncClient, address: str) -> None:
    (await client.get(address)).raise_for_status()


class _Bare(asyncio.Protocol):
    """Reads a stream as often as we do, and does nothing with it."""

    def __init__(self, request: bytes) -> None:
        self.loop = asyncio.get_running_loop()
        self.over = self.loop.create_future()
        self._request = request
        self._reads = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport, self._sent = transport, self.loop.time()
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:  # noqa: ARG002
        self._reads += 1
        if self._reads >= PROMPT_READS:
            self._transport.pause_reading()
            length = min((self.loop.time() - self._sent) / SHARE, LONGEST_S)
            self.loop.call_later(length, self._transport.resume_reading)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.over.set_result(None)


async def _bare(client: httpx.AsyncClient, address: str) -> None:  # noqa: ARG001
    url = httpx.URL(address)
    head = f"POST {url.raw_path.decode()} HTTP/1.1\r\nHost: {url.host}\r\nContent-Length: 2\r\n\r\n{{}}"
    loop = asyncio.get_running_loop()
    _, stream = await loop.create_connection(lambda: _Bare(head.encode()), url.host, url.port or 80)
    await stream.over


async def _stream(client: httpx.AsyncClient, address: str) -> None:
    body = {
        "model": "peer",
        "stream": True,
        "max_tokens": 64,
        "messages": [{"role": "user", "content": "Say pong and go on."}],
        "stream_options": {"include_usage": True},
    }
    text = ""
    async with client.stream("POST", address, json=body) as reply:
        reply.raise_for_status()
        async for line in reply.aiter_lines():
            if line.startswith("data: {"):
                choices = json.loads(line[6:])["choices"]
                text += choices[0]["delta"].get("content") or "" if choices else ""
    if not text:
        raise RuntimeError(text)


if __name__ == "__main__":
    asyncio.run(_ask_for_ever(sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4]))
