"""One client process of `bench.accuracy`: keeps some streams going and reports what it saw of each.

`python -m bench.watcher PLAN` with a JSON plan; a JSON object a probe on stdout, the last line sums up.
Kinds: `uptoken` (probe and judge), and what anybody would write first with `httpx` and `aiohttp`.
"""

import asyncio
import json
import ssl
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monitor import compose, upkeep
from monitor.clock import SYSTEM, monotonic
from monitor.config.load import load
from monitor.config.secrets import Secrets, resolve
from monitor.core.verdict import Learnt
from monitor.pipeline import look_once
from monitor.protocols import settings_registry
from monitor.transport.waking import new_loop
from monitor.transport.wire import open_transports

Report = dict[str, Any]
Probe = Callable[[int], Awaitable[Report]]
MESSAGE = {"model": "m", "messages": [{"role": "user", "content": "pong"}], "stream": True, "max_tokens": 64}


@dataclass(frozen=True)
class Plan:
    """What to do, as `bench.accuracy` says it."""

    kind: str
    urls: list[str]
    """One a stream."""
    seconds: float
    cycle_s: float
    """So long one probe takes; the starts are spread over it."""
    ca_file: str | None = None
    plain: bool = False
    """The URLs are pages, not models."""
    every_s: float | None = None
    """A probe of each URL so often; None: one after the other without a pause."""
    block_s: float = 0.0
    """Every two seconds the loop is held up for so long."""
    busy: bool = False
    """A thread keeps the interpreter busy as well."""


async def run(plan: Plan, probe: Probe) -> None:
    loop = asyncio.get_running_loop()
    # As the daemon does; it is as good for the others.
    upkeep.settle()
    begin = loop.time() + 0.3
    until = begin + plan.seconds
    if plan.block_s:
        loop.call_at(begin + 1.0, _block, loop, plan.block_s, until)
    cpu = time.process_time()
    lanes = [_lane(plan, number, begin, until, probe) for number in range(len(plan.urls))]
    counts = await asyncio.gather(*lanes)
    total = sum(counts)
    used = time.process_time() - cpu
    print(json.dumps({"probes": total, "cpu_ms": 1000 * used / max(1, total)}), flush=True)


async def _lane(plan: Plan, number: int, begin: float, until: float, probe: Probe) -> int:
    loop = asyncio.get_running_loop()
    pace = plan.every_s or plan.cycle_s
    due = begin + pace * number / len(plan.urls)
    count = 0
    while due < until:
        await asyncio.sleep(max(0.0, due - loop.time()))
        report = await probe(number)
        count += 1
        print(json.dumps({"lane": number, **report}))
        due = due + plan.every_s if plan.every_s else loop.time()
    return count


def _block(loop: asyncio.AbstractEventLoop, seconds: float, until: float) -> None:
    time.sleep(seconds)  # that is what it is for
    if loop.time() + 2.0 < until:
        loop.call_later(2.0, _block, loop, seconds, until)


def _spin() -> None:
    while True:
        sum(range(1000))


# Uptoken

_CONFIG = """
[defaults]
interval = "60s"
timeout = "20s"
{ca}
"""


def _config(plan: Plan, folder: Path) -> compose.Config:
    ca = f'ca_file = "{plan.ca_file}"' if plan.ca_file else ""
    text = [_CONFIG.format(ca="")]
    for number, url in enumerate(plan.urls):
        name = f"[provider.p{number}]\n{ca}\n"
        if plan.plain:
            text.append(
                f'{name}protocol = "http"\n[[provider.p{number}.endpoints]]\nname = "x"\nurl = "{url}"\n'
            )
        else:
            text.append(
                f'{name}protocol = "openai-chat"\nbase_url = "{url}"\n'
                f'[[provider.p{number}.endpoints]]\nmodel = "m"\n'
            )
    path = folder / f"watcher-{id(plan)}.toml"
    path.write_text("\n".join(text))
    try:
        return load(path, settings_registry(), SYSTEM.now())
    finally:
        path.unlink()


async def uptoken(plan: Plan) -> None:
    config = _config(plan, Path(sys.argv[2]))
    secrets: Secrets = resolve(config, {}, None, None)
    async with open_transports() as transports:
        blot = compose.blot(config, secrets)
        watched = [
            compose.watched(one, compose.rules(config, one), secrets, blot, transports)
            for one in config.endpoints
        ]

        async def probe(number: int) -> Report:
            seen = await look_once(watched[number], Learnt(), "0badc0de", SYSTEM)
            line, figures = seen.observation.timeline, seen.verdict.figures
            return {
                "sent": line.request_sent,
                "outcome": seen.verdict.outcome,
                "ttft_ms": figures.ttft_ms,
                "ttft_net_ms": figures.ttft_net_ms if line.tokens else figures.total_ms,
                "total_ms": figures.total_ms,
                "uncertainty_ms": figures.ttft_uncertainty_ms or 0.0,
                "speed": figures.output_speed,
            }

        await run(plan, probe)


# What anybody would write first


def _context(plan: Plan) -> ssl.SSLContext | bool:
    return ssl.create_default_context(cafile=plan.ca_file) if plan.ca_file else False


def _figures(start: float, moments: list[float]) -> Report:
    first, last = moments[0], moments[-1]
    speed = (len(moments) - 1) / (last - first) if last > first else None
    return {
        "sent": start,
        "outcome": "ok",
        "ttft_ms": 1000 * (first - start),
        "speed": speed,
        "uncertainty_ms": 0.0,
    }


def _is_token(line: str) -> bool:
    if not line.startswith("data: {"):
        return False
    choices = json.loads(line[6:])["choices"]
    return bool(choices and choices[0]["delta"].get("content"))


async def httpx(plan: Plan) -> None:
    import httpx as library

    async def probe(number: int) -> Report:
        start = monotonic()
        moments: list[float] = []
        limits = library.Limits(max_keepalive_connections=0)
        async with library.AsyncClient(verify=context, limits=limits, timeout=30, trust_env=False) as client:
            if plan.plain:
                await client.get(plan.urls[number])
                moments.append(monotonic())
            else:
                url = f"{plan.urls[number]}/chat/completions"
                async with client.stream("POST", url, json=MESSAGE) as reply:
                    moments += [monotonic() async for line in reply.aiter_lines() if _is_token(line)]
        return _figures(start, moments)

    context = _context(plan)
    await run(plan, probe)


async def aiohttp(plan: Plan) -> None:
    import aiohttp as library

    context = _context(plan)

    async def probe(number: int) -> Report:
        start = monotonic()
        moments: list[float] = []
        connector = library.TCPConnector(ssl=context, force_close=True)
        async with library.ClientSession(connector=connector) as client:
            if plan.plain:
                async with client.get(plan.urls[number]) as reply:
                    await reply.read()
                moments.append(monotonic())
            else:
                url = f"{plan.urls[number]}/chat/completions"
                async with client.post(url, json=MESSAGE) as reply:
                    moments += [monotonic() async for line in reply.content if _is_token(line.decode())]
        return _figures(start, moments)

    await run(plan, probe)


def main() -> None:
    plan = Plan(**json.loads(sys.argv[1]))
    if plan.busy:
        threading.Thread(target=_spin, daemon=True).start()
    kinds = {"uptoken": uptoken, "httpx": httpx, "aiohttp": aiohttp}
    with asyncio.Runner(loop_factory=new_loop if plan.kind == "uptoken" else None) as runner:
        runner.run(kinds[plan.kind](plan))


if __name__ == "__main__":
    main()
