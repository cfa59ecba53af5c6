"""The simulated providers as a server on loopback.

POST /<provider>/v1/chat/completions    as OpenAI's API
GET  /<provider>/health                 plain HTTP
GET  /fast/<anything>                   200 at once, for benchmarks
POST /_control                          {"provider", "behaviour"} or {"provider", "profile"}
GET  /_log?after=<number>               every request and what became of it
GET  /_stats                            how much was served, how late, for how much CPU
"""

import asyncio
import ipaddress
import json
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from monitor.simulator import chat
from monitor.simulator.connection import Connection
from monitor.simulator.exchange import Call, Ending, Reply, Request, dribbled, whole
from monitor.simulator.ledger import PROMPT_KEPT, Entry, Ledger
from monitor.simulator.profile import Behaviour, Fault, Profile, Refusal, altered, error
from monitor.simulator.scenario import Scenario, Step
from monitor.simulator.voices import door_at

BACKLOG = 4096
CHAT = "/v1/chat/completions"
_FAST = Refusal(status=200, body="ok\n", content_type="text/plain")


class Simulator:
    """The providers and what they were asked. Made by `serve`."""

    def __init__(self, profiles: Mapping[str, Profile]) -> None:
        self.url = ""
        """`http://127.0.0.1:PORT`"""
        self.ledger = Ledger()
        self._base: dict[str, Profile] = {}
        self._now: dict[str, Profile] = {}
        self._behaviour: dict[str, Behaviour] = {}
        self._asked: dict[str, int] = {}
        self._cpu = time.process_time()
        for provider, profile in profiles.items():
            self.define(provider, profile)

    @property
    def requests(self) -> tuple[Entry, ...]:
        """Every request so far, oldest first; control, log and figures are not among them."""
        return tuple(self.ledger.entries)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until that is so, looking again whenever a request comes or ends."""
        while not holds():
            await self.ledger.change()

    def base_url(self, provider: str) -> str:
        """What a config's `base_url` says for that provider."""
        return f"{self.url}/{provider}/v1"

    def define(self, provider: str, profile: Profile) -> None:
        """Add a provider, or make it another one. Raises ValueError if the name is taken by a path."""
        if not provider or provider == "fast" or provider.startswith("_") or "/" in provider:
            raise ValueError(f"{provider!r} cannot be a provider's name")
        self._base[provider] = profile
        self.set(provider, "ok")

    def set(self, provider: str, behaviour: Behaviour) -> None:
        """From now on it behaves like this; `ok` is its profile again.

        Replies that have begun go on as they were. Raises ValueError for an unknown provider
        or behaviour.
        """
        if provider not in self._base:
            raise ValueError(f"no provider {provider!r}; there are {', '.join(self._base)}")
        self._now[provider] = altered(self._base[provider], behaviour)
        self._behaviour[provider] = behaviour

    def answer(self, call: Call) -> tuple[Entry, Reply]:
        """Log one request and decide what it gets."""
        received, unix = asyncio.get_running_loop().time(), time.time()
        url = urlsplit(call.target)
        provider = url.path[1:].partition("/")[0]
        known = provider in self._now
        number = self.ledger.requests + 1
        turn = self._asked[provider] = self._asked.get(provider, 0) + 1 if known else 0
        entry = Entry(
            number=number,
            request_id=f"req_sim_{number}",
            provider=provider if known else "",
            method=call.method,
            path=url.path,
            unix=unix,
            received=received,
        )
        request = Request(
            id=entry.request_id,
            seed=zlib.crc32(f"{provider}/{turn}".encode()),
            unix=int(unix),
            method=call.method,
            path=url.path,
            query=dict(parse_qsl(url.query)),
            headers=call.headers,
            body=call.body,
            keep_alive=call.keep_alive,
        )
        if provider.startswith("_") or not provider:
            return entry, self._own(request)
        self.ledger.open(entry)
        if known:
            reply = _played(self._now[provider], url.path[len(provider) + 1 :], request, entry)
        else:
            reply = whole(request, _FAST if provider == "fast" else _nothing(request))
        entry.status = reply.status
        return entry, reply

    def _own(self, request: Request) -> Reply:
        """The simulator's own paths."""
        match request.method, request.path:
            case "GET" | "HEAD", "/":
                return _json(request, 200, self._about())
            case "POST", "/_control":
                return self._control(request)
            case "GET", "/_log":
                after = request.query.get("after", "0")
                entries = self.ledger.since(int(after) if after.isdecimal() else 0)
                return _json(request, 200, {"requests": [entry.as_json() for entry in entries]})
            case "GET", "/_stats":
                return _json(request, 200, self.figures())
            case _:
                return whole(request, _nothing(request))

    def _about(self) -> dict[str, Any]:
        return {
            "simulated": True,
            "about": "Simulated providers. Nothing here is a real model or a real service.",
            "providers": self._behaviour,
        }

    def _control(self, request: Request) -> Reply:
        try:
            wish = json.loads(request.body)
            provider = wish["provider"]
            if "profile" in wish:
                self.define(provider, altered(Profile(), wish["profile"]))
            if "behaviour" in wish:
                self.set(provider, wish["behaviour"])
        except (ValueError, KeyError, TypeError) as problem:
            return _json(request, 400, {"error": {"code": "bad_request", "message": str(problem)}})
        return _json(request, 200, {"provider": provider, "behaviour": self._behaviour.get(provider)})

    def figures(self) -> dict[str, Any]:
        """What `/_stats` says. CPU is the whole process's since this simulator was made."""
        cpu_s = time.process_time() - self._cpu
        streams = self.ledger.streams
        return {
            **self.ledger.figures(),
            "cpu_s": round(cpu_s, 4),
            "cpu_per_stream_ms": round(1000 * cpu_s / streams, 3) if streams else None,
        }


def _played(profile: Profile, path: str, request: Request, entry: Entry) -> Reply:
    """What a provider replies, its faults on the wire included."""
    fields: dict[str, Any] = {}
    found = door_at(path)
    if path == CHAT or found is not None:
        fields = chat.fields_of(request.body)
        if found is not None:
            door, model = found
            fields = door.as_chat(fields, model)
        entry.model = str(fields.get("model", ""))
        entry.prompt = (chat.text_of(fields.get("messages")) or "")[:PROMPT_KEPT]
    if profile.fault is Fault.SILENT:
        return Reply(None, iter(()), Ending.HANG)
    if profile.fault is Fault.RESET:
        return Reply(None, iter(()), Ending.RESET)
    reply = _served(profile, path, request, fields)
    return dribbled(reply, profile.drip_ms / 1000) if profile.fault is Fault.DRIBBLE else reply


def _served(profile: Profile, path: str, request: Request, fields: dict[str, Any]) -> Reply:
    found = door_at(path)
    if path == CHAT or found is not None:
        if request.method != "POST":
            return whole(request, error(405, "Only POST is accepted.", "invalid_request_error"))
        return chat.completion(profile, request, fields, None if found is None else found[0].make)
    if path == "/health" and request.method in ("GET", "HEAD"):
        if profile.refusal:
            return chat.refusal(profile, request, profile.refusal)
        body = Refusal(status=200, body=profile.health_body, content_type="text/plain")
        return whole(request, body, profile.health_ms / 1000)
    return whole(request, _nothing(request))


def _nothing(request: Request) -> Refusal:
    return error(404, f"Unknown request URL: {request.method} {request.path}", "invalid_request_error")


def _json(request: Request, status: int, document: dict[str, Any]) -> Reply:
    return whole(request, Refusal(status=status, body=json.dumps(document, default=str) + "\n"))


class _Director:
    """Plays a script on a simulator: one timer at a time."""

    def __init__(
        self,
        simulator: Simulator,
        scenario: Scenario,
        speed: float,
        tell: Callable[[float, Step], None] | None,
    ) -> None:
        self._simulator = simulator
        self._moments: Iterator[tuple[float, Step]] = scenario.moments()
        self._speed = speed
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self._start = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._wait()

    def _wait(self) -> None:
        moment = next(self._moments, None)
        if moment:
            self._timer = self._loop.call_at(self._start + moment[0] / self._speed, self._step, *moment)

    def _step(self, at_s: float, step: Step) -> None:
        self._simulator.set(step.provider, step.behaviour)
        if self._tell:
            self._tell(at_s, step)
        self._wait()

    def stop(self) -> None:
        if self._timer:
            self._timer.cancel()


@asynccontextmanager
async def serve(
    providers: Scenario | Mapping[str, Profile],
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    speed: float = 1.0,
    tell: Callable[[float, Step], None] | None = None,
) -> AsyncIterator[Simulator]:
    """Serve while the context lasts; port 0 takes a free one.

    A script runs `speed` times as fast as written; replies keep their own pace. `tell` hears of
    each step. Raises OSError if the port cannot be had, ValueError if the host is not loopback.
    """
    if not ipaddress.ip_address(host).is_loopback:
        raise ValueError(f"simulated providers are for loopback only, not for {host}")
    scenario = providers if isinstance(providers, Scenario) else Scenario(profiles=providers)
    simulator = Simulator(scenario.profiles)
    alive: set[Connection] = set()
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(simulator.answer, simulator.ledger, alive), host, port, backlog=BACKLOG
    )
    name, bound = server.sockets[0].getsockname()[:2]
    simulator.url = f"http://[{name}]:{bound}" if ":" in name else f"http://{name}:{bound}"
    director = _Director(simulator, scenario, speed, tell)
    try:
        yield simulator
    finally:
        director.stop()
        server.close()
        left = tuple(alive)
        for connection in left:
            connection.abort()
        await asyncio.gather(*(connection.gone.wait() for connection in left))
        await server.wait_closed()
