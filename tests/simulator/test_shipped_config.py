"""The config.toml that everybody sees first."""

import re
import tomllib
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest

from monitor import shipped
from monitor.config.load import load
from monitor.protocols import settings_registry
from monitor.simulator import SCENARIOS
from monitor.simulator.__main__ import LISTEN

NOW = datetime(2026, 11, 21, tzinfo=UTC)
PROFILES = SCENARIOS["demo"].profiles


@pytest.fixture
def text():
    return shipped.path("config.toml").read_text()


@pytest.fixture
def config():
    return load(shipped.path("config.toml"), settings_registry(), NOW)


def test_it_loads_without_a_warning(config):
    assert not config.warnings
    assert len(config.endpoints) >= 6


def test_it_needs_no_secret_and_nothing_but_loopback(text, config):
    assert not config.secrets
    for provider in tomllib.loads(text)["provider"].values():
        urls = [provider.get("base_url"), *(e.get("url") for e in provider["endpoints"])]
        assert {urlsplit(url).netloc for url in urls if url} == {LISTEN}


def test_every_endpoint_is_one_that_the_simulator_has(text):
    for provider in tomllib.loads(text)["provider"].values():
        for endpoint in provider["endpoints"]:
            path = urlsplit(provider.get("base_url") or endpoint["url"]).path
            profile = PROFILES[path.split("/")[1]]
            assert not profile.models or endpoint["model"] in profile.models


def test_simulated_providers_cannot_be_taken_for_real_ones(text):
    document = tomllib.loads(text)
    assert "simulated" in document["site"]["name"]
    assert all(name.startswith("sim-") for name in document["provider"])
    assert all("(simulated)" in provider["name"] for provider in document["provider"].values())


def test_two_providers_serve_the_same_model(config):
    models = [endpoint.model_id for endpoint in config.endpoints if endpoint.model_id]
    assert len(set(models)) < len(models)


def examples(text):
    """The file with every example switched on: a `#` that touches its text hides a line of TOML."""
    return re.sub(r"^#(?=[^ #\n])", "", text, flags=re.MULTILINE)


def test_every_example_loads_once_its_marks_are_taken_away(text, tmp_path):
    everything = tmp_path / "config.toml"
    everything.write_text(examples(text))
    config = load(everything, settings_registry(), NOW)
    assert {
        "openai",
        "azure",
        "anthropic",
        "google",
        "gateway",
        "zenmux",
        "openrouter",
        "own",
    } <= config.providers.keys()
    assert not config.warnings


def test_examples_ask_no_provider_more_often_than_its_bill_allows(text, tmp_path):
    everything = tmp_path / "config.toml"
    everything.write_text(examples(text))
    real = [
        e for e in load(everything, settings_registry(), NOW).endpoints if not e.provider.startswith("sim-")
    ]
    assert real
    assert all(endpoint.interval.total_seconds() >= 30 for endpoint in real)


def test_lines_are_short(text):
    assert max(map(len, text.splitlines())) <= 105
