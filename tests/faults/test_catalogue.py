"""Every fault of the catalogue through the real daemon: one outcome, in time, and nobody else is touched."""

import json
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import pytest

from monitor.spellings import forms
from tests.faults.catalogue import FAULTS, TRUE, played_over
from tests.faults.stage import KEY, TIMEOUT_S, Part, Stage, stage
from tests.faults.voices import MODELS
from tests.support.daemon import Daemon, Home, Line, alerting, home_at, until
from tests.support.ports import unused_port

GROUPS = (("openai-chat",), ("anthropic", "azure-openai"), ("gemini", "openai-responses"), ("http",))
HEALTHY = 3
"""Beside the others, for each protocol."""
INTERVAL_S = 4
AFTER_MS = 100.0
"""So long after its deadline a probe must be over."""
NOT_LOOKED = ("self_overload", "cancelled")
"""What a busy machine, and the end of the test, make of a look."""


@dataclass
class Run:
    """What came of a group of protocols that one daemon watched."""

    group: tuple[str, ...]
    faulty: Stage
    true: Stage
    daemon: Daemon
    home: Home
    documents: list[str] = field(default_factory=list)
    """What the page and the API said meanwhile."""
    _by_endpoint: dict[str, list[Line]] = field(default_factory=dict)
    _read: int = 0

    def stored(self, endpoint: str) -> list[Line]:
        """What was stored of it, oldest first. Each line of the log is looked at once: there are thousands."""
        fresh = self.daemon.lines[self._read :]
        self._read += len(fresh)
        for line in fresh:
            if line["event"] == "probe.stored":
                self._by_endpoint.setdefault(line["endpoint"], []).append(line)
        return self._by_endpoint.get(endpoint, [])

    def looks(self, endpoint: str) -> list[Line]:
        """What was stored of it and says something, oldest first."""
        return [line for line in self.stored(endpoint) if line["outcome"] not in NOT_LOOKED]

    def played(self, part: Part) -> list[Line]:
        """The same, of the looks at which the case itself was played."""
        if part.cases[0].before is None:
            return self.looks(part.id)
        lines = self.stored(part.id)
        # A machine that is too busy learns nothing from the look before.
        known = next((place for place, line in enumerate(lines) if line["outcome"] == "ok"), len(lines))
        return [line for line in lines[known:][1::2] if line["outcome"] not in NOT_LOOKED]


def parts_of(group: tuple[str, ...]) -> list[Part]:
    return [Part(protocol, case.slug, [case]) for protocol in group for case in played_over(protocol)]


def healthy_of(group: tuple[str, ...]) -> list[Part]:
    return [Part(protocol, f"true-{number}", [TRUE]) for protocol in group for number in range(HEALTHY)]


@pytest.fixture(scope="module", params=GROUPS, ids="+".join)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A daemon that watched all of them at once, until each was seen."""
    group: tuple[str, ...] = request.param
    folder = tmp_path_factory.mktemp("faults")
    parts, healthy = parts_of(group), healthy_of(group)
    with (
        # Two processes: the clock of the healthy ones is not disturbed by the floods of the others.
        stage(parts, folder / "faulty") as faulty,
        stage(healthy, folder / "true") as true,
        home_at(folder, f"sqlite:///{folder / 'uptoken.db'}") as home,
    ):
        address = f"127.0.0.1:{unused_port()}"
        both = Stage({**faulty.ports, **true.ports}, faulty.authority)
        cadence = f'[defaults]\ninterval = "{INTERVAL_S}s"\n[canary]\naddresses = []\n'
        home.configure(cadence, alerting(), both.toml([*parts, *healthy]), listen=address)
        run = Run(group, faulty, true, home.ready(env={"KEY": KEY}), home)
        until(lambda: all(map(run.played, parts)), "every case was looked at", 45.0)
        until(lambda: all(len(run.looks(part.id)) > 1 for part in healthy), "the healthy were, twice", 30.0)
        echoes = [part.id for part in parts if part.cases[0].name.startswith("the key")]
        paths = ["/", "/api/v1/endpoints", *(f"/api/v1/endpoints/{one}/probes" for one in echoes)]
        run.documents = [_fetched(f"http://{address}{path}") for path in paths]
        kept = [
            line for one in echoes for line in run.stored(one) if line["outcome"] not in ("ok", *NOT_LOOKED)
        ]
        run.documents += [
            _fetched(f"http://{address}/api/v1/endpoints/{line['endpoint']}/probes/{line['probe']}/evidence")
            for line in {line["endpoint"]: line for line in reversed(kept)}.values()
        ]
        assert run.daemon.stop()[0] == 0
        yield run


def _fetched(url: str) -> str:
    with urllib.request.urlopen(url, timeout=20) as answer:
        return str(answer.read().decode())


def test_the_catalogue_holds_what_it_promises() -> None:
    assert len({case.name for case in FAULTS if " says: " not in case.name}) >= 80
    for protocol in (*MODELS, "http"):
        assert len(played_over(protocol)) >= 80, protocol


def test_each_fault_has_its_one_outcome(run: Run) -> None:
    wrong = []
    for part in parts_of(run.group):
        right = part.cases[0].over(part.protocol)
        got = {str(look["outcome"]) for look in run.played(part)}
        if got != {str(right)}:
            wrong.append(
                f"{part.id}: {', '.join(sorted(got))} instead of {right}; {run.played(part)[0]['detail']}"
            )
    assert not wrong, "\n".join(wrong)


def test_each_detail_says_what_happened(run: Run) -> None:
    wrong = []
    for part in parts_of(run.group):
        words = part.cases[0].words(part.protocol)
        for look in run.played(part):
            detail = look["detail"] or ""
            if look["outcome"] == "ok":
                fits = not detail
            else:
                fits = words in detail and 0 < len(detail) <= 500 and detail.isprintable()
            if not fits:
                wrong.append(f"{part.id}: {detail!r} has no {words!r}")
    assert not wrong, "\n".join(wrong)


def test_each_probe_is_over_by_its_deadline(run: Run) -> None:
    """By our own figure, and by the server's clock where it was we who hung up.

    Of several looks the best counts: what holds a probe up would hold up all of them.
    """
    late = []
    for part in parts_of(run.group):
        took = min(look["total_ms"] for look in run.played(part))
        held = [1000 * (one["gone"] - one["at"]) for one in run.faulty.visits(part.id) if one["gone"]]
        longest = max(took, min(held, default=0.0))
        if longest > TIMEOUT_S * 1000 + AFTER_MS:
            late.append(f"{part.id}: {longest:,.0f} ms")
    assert not late, "\n".join(late)


def test_no_redirect_is_followed(run: Run) -> None:
    assert run.faulty.visits("trap") == []
    for part in parts_of(run.group):
        if part.slug.startswith("30"):
            # One visit for each look; the end of the daemon may have cut one off before it was told.
            assert len(run.faulty.visits(part.id)) <= len(run.stored(part.id)) + 1


def test_our_key_is_kept_nowhere(run: Run) -> None:
    kept = b"".join(file.read_bytes() for file in run.home.folder.rglob("*") if file.is_file())
    said = json.dumps(run.daemon.lines) + "".join(run.documents)
    tells = {*forms(KEY), KEY[:12], KEY[12:], KEY.upper(), KEY.lower(), " ".join(KEY), KEY.encode().hex()}
    for secret in tells:
        assert secret.encode() not in kept, secret
        assert secret not in said, secret


def test_the_healthy_are_not_touched(run: Run) -> None:
    off = []
    for part in healthy_of(run.group):
        looks = run.stored(part.id)
        assert {look["outcome"] for look in looks} <= {"ok", *NOT_LOOKED}, part.id
        # One visit a look, in order; the last may not be told yet.
        for look, visit in zip(looks, run.true.visits(part.id), strict=False):
            if look["outcome"] == "ok":
                off.append(_off_ms(part, look, visit))
    assert len(off) >= 2 * HEALTHY * len(run.group)
    assert median(off) <= 5.0, off


def _off_ms(part: Part, look: Line, visit: dict[str, Any]) -> float:
    """How far the figure lies above what the server knows; it never lies below."""
    # Of a model the first piece of text; of a page its end.
    piece, figure = (1, look["ttft_ms"]) if part.protocol != "http" else (-1, look["total_ms"])
    truth = 1000 * (visit["sent"][piece][0] - visit["asked"])
    assert figure >= truth - 1.0, f"{part.id}: {figure} ms, and the server sent it after {truth:.1f} ms"
    return float(figure - truth)


def test_the_daemon_has_no_trouble_of_its_own(run: Run) -> None:
    assert run.daemon.heard("probe.bug") == []
    outcomes = {line["outcome"] for line in run.daemon.heard("probe.stored")}
    assert not outcomes & {"internal_error", "local_network", "budget_exhausted"}
