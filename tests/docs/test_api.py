"""docs/api.md tells of every path that answers, and of every key in the answers."""

import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from monitor.core.evidence import AT_ONCE, EVERY, MOST_EVENTS, Kind
from monitor.core.instant import MINUTE
from monitor.core.uptime import Window
from monitor.web.asked import DEFAULT_LIMIT, MOST_BUCKETS, MOST_ROWS
from tests.docs.pages import TOP, code, page, rows
from tests.support.daemon import Home, home_at, until

MANUAL = page("api.md")
ENDPOINT = "acme/health"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A daemon with its page, which has looked at one endpoint."""
    folder = tmp_path_factory.mktemp("api")
    with home_at(folder, f"sqlite:///{folder / 'uptoken.db'}") as home:
        yield _serving(home)


def _serving(home: Home) -> str:
    home.config.write_text(
        f'[database]\nurl = "{home.database_url}"\n'
        '[server]\nlisten = "127.0.0.1:0"\n'
        '[provider.acme]\nprotocol = "http"\ninterval = "1s"\ntimeout = "900ms"\n'
        "alert = { down_after = 1 }\n"
        '[[provider.acme.endpoints]]\nname = "health"\nurl = "http://127.0.0.1:9/"\n'
    )
    daemon = home.ready()
    (listening,) = daemon.wait("page.listening")["addresses"]
    daemon.wait("state.changed", after="down")
    until(lambda: _shown(listening), "the page has caught up with the daemon")
    return str(listening)


def _shown(address: str) -> bool:
    """It is ready, and what was stored is on it: it reads the database in its own time."""
    try:
        answer(address, "/-/ready")
        (one,) = answer(address, "/api/v1/endpoints")["endpoints"]
        incidents = answer(address, "/api/v1/incidents")["incidents"]
    except urllib.error.HTTPError:
        return False
    return one["state"] == "down" and one["last_probe"] is not None and bool(incidents)


def paths() -> list[str]:
    return [code(row[0])[0] for row in rows(MANUAL.section("The API"))]


def answer(address: str, path: str) -> Any:
    provider, slug = ENDPOINT.split("/")
    probe = answer(address, f"/api/v1/endpoints/{ENDPOINT}/evidence")["id"] if "{probe}" in path else ""
    url = address + path.format(provider=provider, slug=slug, probe=probe)
    with urllib.request.urlopen(url, timeout=10) as reply:
        return json.load(reply)


def test_every_path_of_the_page_process_is_told():
    source = (TOP / "monitor" / "web" / "app.py").read_text(encoding="utf-8")
    routes = set(re.findall(r'^ +"(/[^"]*)": (?:routes\.|_healthy)', source, re.MULTILINE))
    assert len(routes) > 8
    assert routes == {path for path in code(MANUAL.section("The API")) if path.startswith("/")}


@pytest.mark.parametrize("path", paths())
def test_a_path_answers_with_the_keys_that_are_told(address: str, path: str):
    told = set(code(next(row[1] for row in rows(MANUAL.section("The API")) if code(row[0]) == [path])))
    if path.endswith("/evidence"):
        told = {name for row in rows(MANUAL.section("Evidence")) for name in code(row[0])}
    found = answer(address, path)
    if path.startswith("/api/"):
        assert set(found) == told


def test_every_key_of_an_endpoint_and_of_a_window_is_told(address: str):
    (one,) = answer(address, "/api/v1/endpoints")["endpoints"]
    assert set(one) == {name for row in rows(MANUAL.section("One endpoint")) for name in code(row[0])}
    assert set(one["windows"]) <= set(code(MANUAL.section("One endpoint")))
    assert set(one["last_probe"]) <= set(code(MANUAL.section("One endpoint")))
    for window in one["windows"].values():
        section = MANUAL.section("One window")
        assert set(window) == {name for row in rows(section) for name in code(row[0])}
        assert set(window["counts"]) | set(window["output_speed"]) <= set(code(section))


def test_every_key_of_a_probe_is_told(address: str):
    probe, *_ = answer(address, "/api/v1/endpoints/{provider}/{slug}/probes?limit=1")["probes"]
    figures = {
        name for row in rows(page("figures.md").section("Figures of one probe")) for name in code(row[0])
    }
    assert set(probe) <= set(code(MANUAL.section("Probes"))) | figures
    assert set(probe["timeline"]) <= set(code(page("figures.md").section("One probe on the clock")))


def test_every_key_of_an_incident_is_told(address: str):
    incident, *_ = answer(address, "/api/v1/incidents")["incidents"]
    told = set(code(MANUAL.section("Incidents")))
    assert set(incident) | set(incident["updates"][0]) <= told


def test_every_window_and_every_limit_is_told():
    series = MANUAL.section("Series")
    assert {str(window) for window in Window} <= set(code(series))
    assert f"{MOST_BUCKETS:,} buckets" in series
    assert f"1 to {MOST_ROWS} ({DEFAULT_LIMIT})" in MANUAL.section("Probes")


def test_the_defaults_of_a_series_are_told(address: str):
    series = answer(address, "/api/v1/endpoints/{provider}/{slug}/series")
    assert (series["metric"], series["window"], series["step"]) == ("ttft_ms", "24h", "15m")
    assert {"start", "counts"} <= set(series["buckets"][0])


def test_every_key_and_kind_of_evidence_is_told(address: str):
    found = answer(address, "/api/v1/endpoints/{provider}/{slug}/evidence")
    section = MANUAL.section("Evidence")
    told = set(code(section))
    assert set(found) <= told
    assert set(found["monitor"]) | set(found["request"]) | set(found["fault"]) <= told
    assert {"offset_ms", "characters", "bytes", "bound"} <= told
    assert {str(kind) for kind in Kind} <= told
    words = " ".join(section.split())
    assert f"the first {AT_ONCE} are kept and then one in {EVERY // MINUTE} minutes" in words
    assert f"The first {MOST_EVENTS // 2} and the last {MOST_EVENTS // 2}" in words
