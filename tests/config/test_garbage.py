"""Whatever stands in the file: it loads, or it is refused in words."""

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from monitor.config.load import ConfigError, load
from tests.config.files import NOW
from tests.config.protocols import PROTOCOLS

CONTRACT = (Path(__file__).parent / "contract.toml").read_text()
LINES = CONTRACT.split("\n")

WORDS = [  # names that mean something somewhere, so that they turn up everywhere
    *("site", "database", "server", "defaults", "provider", "channel", "alert", "budget", "maintenance"),
    *("push", "also", "proxy", "openai", "web", "ops", "name", "url", "timezone", "interval", "timeout"),
    *("model", "slug", "protocol", "base_url", "api_key", "headers", "body", "expect", "degraded", "id"),
    *("price", "limits", "labels", "data_policy", "channels", "reminder", "cron", "start", "duration"),
    *("endpoints", "over", "ttft_p95"),
]
VALUES = st.recursive(
    st.sampled_from(
        [
            "60s",
            "30s",
            "0s",
            "openai-chat",
            "http",
            "https://x.example",
            "${env:X}",
            "${",
            "*/*",
            "",
            "\x00",
            "ä",
            "nan",
        ]
    )
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.booleans(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=3),
    max_leaves=6,
)


def toml(value):
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return str(value) if isinstance(value, float) else json.dumps(value)


SECTIONS = ["site", "defaults", "provider.openai", "provider.web", "channel.ops", "alert", "server", "budget"]
TABLES = st.sampled_from([f"[{name}]" for name in SECTIONS]) | st.sampled_from(
    ["[[provider.openai.endpoints]]", "[[provider.web.endpoints]]", "[[maintenance]]"]
)
KEYS = st.builds(lambda key, value: f"{key} = {toml(value)}", st.sampled_from(WORDS), VALUES)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("garbage") / "config.toml"


def survives(path, text):
    path.write_text(text, encoding="utf-8", newline="")
    with contextlib.suppress(ConfigError):
        load(path, PROTOCOLS, NOW)


@given(lines=st.lists(TABLES | KEYS, max_size=14))
@settings(max_examples=100, deadline=None)
def test_any_key_may_hold_anything(path, lines):
    survives(path, "\n".join(lines))


@given(
    at=st.integers(0, len(CONTRACT)),
    gone=st.integers(0, 30),
    put=st.text(alphabet="[]{}=.\"'#\\\n\r\t, a1\x00é", max_size=4),
)
@settings(max_examples=100, deadline=None)
@example(at=0, gone=0, put='"\\x" = 1\n')
@example(at=0, gone=0, put="a = [\nb = 3s\n")
def test_a_slip_of_the_finger_is_told_and_not_a_crash(path, at, gone, put):
    survives(path, CONTRACT[:at] + put + CONTRACT[at + gone :])


@given(number=st.integers(0, len(LINES) - 1))
@settings(max_examples=100, deadline=None)
def test_a_lost_line_is_told_and_not_a_crash(path, number):
    survives(path, "\n".join(LINES[:number] + LINES[number + 1 :]))
