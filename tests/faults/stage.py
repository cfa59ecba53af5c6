"""The catalogue on stage: its servers, the config of a daemon that watches them, and what they tell."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.play import Case
from tests.faults.voices import VOICES
from tests.support import child
from tests.support.daemon import TOP

KEY = "sk-canary/81c3f0+d2=Zq7"
"""It holds what JSON and URLs spell in more than one way."""
TIMEOUT_S, CONNECT_S, FIRST_TOKEN_S, STALL_S = 1.5, 0.6, 0.8, 0.5
_PATIENCE = ('timeout = "3500ms"\n', 'timeout = "3500ms"\nfirst_token_timeout = "3s"\nstall_timeout = "3s"\n')
"""Of a page, and of a model, where more is sent than a busy machine reads in the usual time."""


@dataclass(frozen=True)
class Part:
    """One endpoint, and what its server may do: one case, or any of several at random."""

    protocol: str
    slug: str
    cases: Sequence[Case]

    @property
    def id(self) -> str:
        return f"{self.protocol}/{self.slug}"


@dataclass
class Stage:
    """Servers that run."""

    ports: dict[str, int]
    authority: Path
    told: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """What they told of each endpoint's connections, in the order in which they ended."""

    def visits(self, endpoint: str) -> list[dict[str, Any]]:
        """The connections of one endpoint, in the order in which they began."""
        return sorted(self.told.get(endpoint, ()), key=lambda visit: float(visit["at"]))

    def toml(self, parts: Sequence[Part]) -> str:
        """The endpoints of these parts, for a config."""
        protocols = dict.fromkeys(part.protocol for part in parts)
        return "\n".join(self._provider(protocol, parts) for protocol in protocols)

    def _provider(self, protocol: str, parts: Sequence[Part]) -> str:
        lines = [f'[provider."{protocol}"]\nprotocol = "{protocol}"\nca_file = "{self.authority}"']
        lines.append(f'timeout = "{TIMEOUT_S * 1000:.0f}ms"\nconnect_timeout = "{CONNECT_S * 1000:.0f}ms"')
        if protocol == "http":
            lines.append(
                'headers = { Authorization = "Bearer ${env:KEY}" }\nexpect = { body_contains = "river" }'
            )
        else:
            lines.append(f'api_key = "${{env:KEY}}"\nfirst_token_timeout = "{FIRST_TOKEN_S * 1000:.0f}ms"')
            lines.append(f'stall_timeout = "{STALL_S * 1000:.0f}ms"')
        return "\n".join([*lines, *(self._endpoint(part) for part in parts if part.protocol == protocol), ""])

    def _endpoint(self, part: Part) -> str:
        case = part.cases[0]
        scheme = "https" if case.certificate else "http"
        address = f"{scheme}://{case.host or '127.0.0.1'}:{self.ports[part.id]}"
        where = f'url = "{address}/"\nname = "{part.slug}"'
        if part.protocol != "http":
            where = f'base_url = "{address}{VOICES[part.protocol].path}"\nmodel = "acme-1"'
        wait = _PATIENCE[part.protocol != "http"] if case.patient and len(part.cases) == 1 else ""
        return f'[[provider."{part.protocol}".endpoints]]\nslug = "{part.slug}"\n{where}\n{case.settings}\n{wait}'


@contextmanager
def stage(parts: Sequence[Part], folder: Path, *, seed: int = 0) -> Iterator[Stage]:
    """Servers for these parts, in a process of their own."""
    folder.mkdir(exist_ok=True)
    plan = [
        {"endpoint": part.id, "protocol": part.protocol, "cases": [case.name for case in part.cases]}
        for part in parts
    ]
    (folder / "plan.json").write_text(json.dumps({"seed": seed, "endpoints": plan}))
    program: list[str | Path] = [sys.executable, "-m", "tests.faults.server", folder / "plan.json", folder]
    process = child.start(program, cwd=TOP, stdout=subprocess.PIPE)
    assert process.stdout is not None
    reader: threading.Thread | None = None
    try:
        ports = json.loads(process.stdout.readline())
        running = Stage(ports, folder / "authority.pem")
        reader = threading.Thread(target=_listen, args=(process, running), daemon=True)
        reader.start()
        yield running
    finally:
        process.kill()
        process.wait()
        if reader is not None:
            reader.join()
        process.stdout.close()


def _listen(process: "subprocess.Popen[bytes]", running: Stage) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        visit = json.loads(line)
        running.told.setdefault(visit["endpoint"], []).append(visit)
