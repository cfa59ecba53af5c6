"""Every protocol against a server that others wrote: CopilotKit's aimock. Needs Node.js and npm.

It speaks all five wire formats and can fail in each of them. What it was told to do is known, so
each row says what our probe made of it, and whether that is right.
"""

import asyncio
import json
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.report import Table
from monitor.config.secrets import SecretText
from monitor.core.timeline import Timeline
from monitor.core.verdict import Expect, Learnt, judge
from monitor.core.wire import Limits
from monitor.protocols import Look, registry
from monitor.transport.wire import open_transports
from tests.support import child
from tests.support.ports import unused_port

PACKAGE = "@copilotkit/aimock@1.43.0"
PROSE = "pong. The harbour office keeps a log of every lamp on the coast. At dusk the keeper walks up."
COUNTED = {"prompt_tokens": 20, "completion_tokens": 22, "input_tokens": 20, "output_tokens": 22}
PACE = {"ttft": 250, "tps": 40, "jitter": 0}


def _error(kind: str, status: int) -> dict[str, Any]:
    return {"error": {"message": kind.replace("_", " "), "type": kind}, "status": status}


SCENES: dict[str, tuple[str, dict[str, Any]]] = {
    "good": ("ok", {"response": {"content": PROSE, "usage": COUNTED}, "streamingProfile": PACE}),
    "thinks": ("ok", {"response": {"content": PROSE, "reasoning": "Let me think of it"}}),
    "breaks-off": (
        "truncated",
        {"response": {"content": PROSE * 3}, "latency": 100, "disconnectAfterMs": 250},
    ),
    "swapped": ("model_swapped", {"response": {"content": PROSE, "model": "some-other-model"}}),
    "overloaded": ("overloaded", {"response": _error("overloaded_error", 529)}),
    "limited": ("rate_limited", {"response": _error("rate_limit_error", 429)}),
    "refused": ("auth_failed", {"response": _error("authentication_error", 401)}),
    "broken": ("http_5xx", {"response": _error("server_error", 500)}),
}
"""What the prompt names, the outcome that is right, and what the server does."""
DOORS = {
    "openai-chat": "/v1",
    "openai-responses": "/v1",
    "azure-openai": "",
    "anthropic": "",
    "gemini": "/v1beta",
}
UNTOLD = {("gemini", "swapped")}
"""Its Gemini does not say which model answers."""


def figures(*, long: bool) -> Iterator[Table]:  # noqa: ARG001 - there is one length only
    table = Table(
        "Every protocol against aimock", ("case", *DOORS), note=f"`{PACKAGE}`. Bold: not what is right."
    )
    with _serving() as url:
        seen = asyncio.run(_all(url))
    for scene, (right, _) in SCENES.items():
        cells = []
        for protocol in DOORS:
            wanted = "ok" if (protocol, scene) in UNTOLD else right
            outcome, text = seen[protocol, scene]
            cells.append(text if outcome == wanted else f"**{text}**")
        table.add(scene, *cells)
    yield table


async def _all(url: str) -> dict[tuple[str, str], tuple[str, str]]:
    async with open_transports() as transports:
        found = {}
        for protocol, path in DOORS.items():
            for scene in SCENES:
                look = _look(protocol, url + path, scene)
                timeline = Timeline(start=time.monotonic())
                limits = Limits(deadline=timeline.start + 10, connect_s=2)
                seen = await look.look(transports.wire(), timeline, limits, f"{time.monotonic_ns():x}", {})
                verdict = judge(seen, Expect(model="gpt-x"), Learnt(), model="gpt-x")
                told = verdict.figures
                speed = f", {told.ttft_ms:.0f} ms, {told.output_speed:.0f}/s" if told.output_speed else ""
                found[protocol, scene] = (verdict.outcome.value, verdict.outcome.value + speed)
        return found


def _look(protocol: str, base_url: str, scene: str) -> Look:
    module = registry()[protocol]
    settings = module.Settings(
        id="acme/m", provider="acme", slug="m", provider_name="Acme", protocol=protocol, name="m",
        model="gpt-x", base_url=base_url, prompt=f"scene-{scene}", api_key=SecretText("sk-none"),
    )  # type: ignore[call-arg]  # fmt: skip
    return module.prepare(settings, lambda text: text.template)


@contextmanager
def _serving() -> Iterator[str]:
    npm = shutil.which("npm")
    if npm is None:
        raise SystemExit("npm is missing: apt-get install -y nodejs npm")
    folder = Path(tempfile.mkdtemp(prefix="aimock-"))
    try:
        subprocess.run(
            [npm, "install", "--silent", "--no-audit", "--no-fund", PACKAGE], cwd=folder, check=True
        )
        fixtures = [{"match": {"userMessage": f"scene-{name}"}, **does} for name, (_, does) in SCENES.items()]
        (folder / "fixtures").mkdir()
        (folder / "fixtures" / "scenes.json").write_text(json.dumps({"fixtures": fixtures}))
        port = unused_port()
        program = [
            str(folder / "node_modules/.bin/llmock"),
            "-h",
            "127.0.0.1",
            "-p",
            str(port),
            "-f",
            "fixtures",
        ]
        server = child.start([*program, "-c", "6", "--log-level", "warn"], cwd=folder)
        try:
            _await(port)
            yield f"http://127.0.0.1:{port}"
        finally:
            child.end(server, signal.SIGKILL)
    finally:
        shutil.rmtree(folder)


def _await(port: int) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return
