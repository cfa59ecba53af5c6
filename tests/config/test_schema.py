"""The JSON Schema says yes to what loads and no to what an editor can see is wrong."""

import datetime as dt
import re
import tomllib
from pathlib import Path

import jsonschema
import pytest

from monitor import shipped
from monitor.config.schema import json_schema
from monitor.config.template import template
from monitor.protocols import settings_registry
from tests.config.protocols import PROTOCOLS

CONTRACT = Path(__file__).parent / "contract.toml"
SCHEMA = json_schema(PROTOCOLS)
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def plain(value):
    """As an editor hands TOML to JSON Schema: moments are strings."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return value.isoformat() if isinstance(value, dt.date) else value


def complaints(text, validator=VALIDATOR):
    return [error.message for error in validator.iter_errors(plain(tomllib.loads(text)))]


def switched_on(text):
    return re.sub(r"^#(?=[^ #\n])", "", text, flags=re.MULTILINE)


def test_it_is_a_schema_of_its_dialect():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_the_example_of_the_contract_is_valid():
    assert complaints(CONTRACT.read_text()) == []


@pytest.mark.parametrize(
    "text",
    [
        shipped.path("config.toml").read_text(),
        switched_on(shipped.path("config.toml").read_text()),
        switched_on(template()),
    ],
    ids=["shipped", "examples", "template"],
)
def test_what_we_ship_is_valid(text):
    assert complaints(text, jsonschema.Draft202012Validator(json_schema(settings_registry()))) == []


@pytest.mark.parametrize(
    "text",
    [
        'colour = "red"',
        "[site]\nnam = 1",
        '[defaults]\ninterval = "30"',
        '[defaults]\nname = "x"',
        "[budget]",
        '[channel.ops]\non = ["down"]',
        '[channel."a b"]\nurl = "console://"',
        '[provider.x]\nprotocol = "telnet"',
        "[[provider.x.endpoints]]\nprice = { input = 0.1 }",
        "[[provider.x.endpoints]]\nmax_tokens = 0",
        '[[provider.x.endpoints]]\nexpect = { answr = "pong" }',
        "[[maintenance]]\nstart = 2026-12-01T02:00:00Z",
    ],
)
def test_what_is_visibly_wrong_is_invalid(text):
    assert complaints(text)


@pytest.mark.parametrize(
    "text",
    [
        "[[provider.x.endpoints]]\ndegraded = false\nprice = false\nexpect = { ttft = false }",
        "[[provider.x.endpoints]]\nheaders = { A = false }",
        "[alert]\nreminder = false",
        "[defaults]\npublic = false",
    ],
)
def test_false_switches_off(text):
    assert complaints(text) == []


def test_keys_explain_themselves_to_an_editor():
    defaults = SCHEMA["properties"]["defaults"]["properties"]
    timeout = defaults["timeout"]["anyOf"][0]
    assert timeout["description"] == "The whole probe; always shorter than the interval."
    assert timeout["default"] == "30s"
