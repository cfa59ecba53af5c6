"""CPU of a probe, all of it: probe, judge, store, log; and what others need for less."""

import asyncio
import json
import shutil
import signal
import socket
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
from bench.report import Table, load, spread
from tests.support import child
from tests.support.ports import unused_port
from tests.support.simulated import Simulated, simulating

RUNS = 3
SETTLE_S, WINDOW_S = 8.0, 20.0
STREAMS, STREAM_INTERVAL_S = 120, 2
"""60 a second, 0.83 s each: 50 at once."""
PLAIN, PLAIN_INTERVAL_S = 400, 2
"""200 a second."""
BLACKBOX = "prometheus-blackbox-exporter"


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one program in a window."""

    probes: int
    cpu_s: float

    @property
    def ms(self) -> float:
        return self.cpu_s / self.probes * 1000


def figures(*, long: bool) -> Iterator[Table]:  # noqa: ARG001 - the same in both cases
    with simulating() as simulated:
        simulated.define("model", **rig.STREAM)
        yield _streams(simulated)
        yield _plain(simulated)


def _streams(simulated: Simulated) -> Table:
    rate = STREAMS // STREAM_INTERVAL_S
    table = Table(
        f"cpu: a stream of 64 chunks, {rate} begun a second", ("program", "CPU, ms", "against ours")
    )
    config = rig.models(simulated.base_url("model"), STREAMS, f"{STREAM_INTERVAL_S}s", "1900ms")
    address = simulated.base_url("model") + "/chat/completions"
    rows = {
        "Uptoken: probe, judge, store, log": lambda: _daemon(simulated, config),
        "httpx alone: `client.stream`, `aiter_lines`, `json.loads`": lambda: _loop(
            simulated, "stream", address, rate
        ),
    }
    return _filled(table, rows)


def _plain(simulated: Simulated) -> Table:
    rate = PLAIN // PLAIN_INTERVAL_S
    table = Table(f"cpu: plain HTTP, {rate} a second", ("program", "CPU, ms", "against ours"))
    config = rig.plain(simulated.url, PLAIN, f"{PLAIN_INTERVAL_S}s")
    address = f"{simulated.url}/fast/peer"
    rows = {
        "Uptoken: probe, judge, store, log": lambda: _daemon(simulated, config),
        "httpx alone: `client.get`, new connections": lambda: _loop(simulated, "get", address, rate),
    }
    program = shutil.which(BLACKBOX)
    if program is None:
        table.note = f"Not measured: apt-get install --no-install-recommends {BLACKBOX}. "
    else:
        rows["blackbox_exporter: probes, stores nothing"] = lambda: _blackbox(
            simulated, program, address, rate
        )
    return _filled(table, rows)


def _filled(table: Table, rows: dict[str, Callable[[], Cost]]) -> Table:
    """In turns, so that whatever else the machine does meets everybody."""
    found: dict[str, list[float]] = {name: [] for name in rows}
    for _ in range(RUNS):
        for name, run in rows.items():
            found[name].append(run().ms)
    ours = median(next(iter(found.values())))
    for name, values in found.items():
        table.add(name, spread(values, 2), f"{median(values) / ours:.2f}×")
    table.note += f"Whole processes; {RUNS} runs of {WINDOW_S:.0f} s each, in turns; {load()}."
    return table


def _measured(simulated: Simulated, pid: int) -> Cost:
    """What that process spends in a window, and how often the server was asked in it."""
    time.sleep(SETTLE_S)
    asked, cpu = rig.asked(simulated), cpu_s(pid)
    time.sleep(WINDOW_S)
    return Cost(rig.asked(simulated) - asked, cpu_s(pid) - cpu)


def _daemon(simulated: Simulated, config: str) -> Cost:
    with rig.home() as home:
        home.configure(config)
        daemon = home.ready()
        cost = _measured(simulated, daemon.pid)
        daemon.stop()
    return cost


@contextmanager
def _program(command: list[str]) -> Iterator[int]:
    process = child.start(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process.pid
    finally:
        child.end(process, signal.SIGKILL)


def _loop(simulated: Simulated, kind: str, address: str, rate: int) -> Cost:
    with _program([sys.executable, "-m", "bench.cpu", kind, address, str(rate)]) as pid:
        return _measured(simulated, pid)


def _blackbox(simulated: Simulated, program: str, target: str, rate: int) -> Cost:
    port = unused_port()
    with tempfile.TemporaryDirectory(prefix="uptoken-bench-") as folder:
        config = Path(folder) / "blackbox.yml"
        config.write_text(
            "modules: {http_2xx: {prober: http, timeout: 1s, http: {preferred_ip_protocol: ip4}}}\n"
        )
        command = [program, f"--config.file={config}", f"--web.listen-address=127.0.0.1:{port}"]
        ask = f"http://127.0.0.1:{port}/probe?module=http_2xx&target={target}"
        asking = [sys.executable, "-m", "bench.cpu", "keep", ask, str(rate)]
        with _program([*command, "--log.level=error"]) as pid:
            _await_port(port)
            with _program(asking):
                return _measured(simulated, pid)


def _await_port(port: int) -> None:
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.05)
        else:
            return


# The plain client, in a process of its own


async def _ask_for_ever(kind: str, address: str, rate: int) -> None:
    # As a probe is: a connection of its own, unless what is asked is only the way to one.
    limits = httpx.Limits(max_keepalive_connections=20 if kind == "keep" else 0)
    begun: set[asyncio.Task[None]] = set()
    async with httpx.AsyncClient(limits=limits, timeout=5.0) as client:
        start, count = time.monotonic(), 0
        while True:
            await asyncio.sleep(start + count / rate - time.monotonic())
            count += 1
            task = asyncio.create_task(
                _stream(client, address) if kind == "stream" else _get(client, address)
            )
            begun.add(task)
            task.add_done_callback(begun.discard)


async def _get(client: httpx.AsyncClient, address: str) -> None:
    (await client.get(address)).raise_for_status()


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
    if "pong" not in text:
        raise RuntimeError(text)


if __name__ == "__main__":
    asyncio.run(_ask_for_ever(sys.argv[1], sys.argv[2], int(sys.argv[3])))
