"""docs/configuration.md tells of every key what the loader knows of it."""

import re
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import anyio
import pytest
from pydantic import BaseModel

from monitor.config.endpoints import GIVEN
from monitor.config.load import load
from monitor.config.maintenance import Maintenance
from monitor.config.settings import (
    Budget,
    Canary,
    Channel,
    Config,
    Database,
    DataPolicy,
    Degraded,
    EndpointAlert,
    EndpointSettings,
    Limits,
    ModelExpect,
    ModelSettings,
    Price,
    Provider,
    Push,
    Server,
    Site,
)
from monitor.protocols import settings_registry
from monitor.protocols.dns import DnsExpect
from monitor.protocols.http import HttpExpect
from monitor.protocols.push import PushExpect
from monitor.protocols.tcp import TcpExpect
from monitor.protocols.tls import TlsExpect
from tests.docs.pages import TOP, code, page, tables
from tests.protocols.replay import KEY, Recording, Replay, look, look_of

MANUAL = page("configuration.md")
NOW = datetime(2026, 11, 21, 22, tzinfo=UTC)
BAD_FILES = TOP / "tests" / "config" / "bad"


def keys(*models: type[BaseModel], but: frozenset[str] = frozenset()) -> set[str]:
    return {name for model in models for name in model.model_fields} - but


EVERY = keys(EndpointSettings, but=GIVEN)
MODEL = keys(ModelSettings, but=GIVEN)
HTTP = settings_registry()["http"]
PUSH = settings_registry()["push"]
CHAT_KEYS = keys(settings_registry()["openai-chat"], but=GIVEN) - MODEL

SECTIONS: dict[str, set[str]] = {
    "`[site]`": keys(Site),
    "`[database]`": keys(Database),
    "`[server]`": keys(Server),
    "`[push]`": keys(Push),
    "`[provider.NAME]`": keys(Provider) - {"id"} | {"endpoints"},
    "Every endpoint": EVERY,
    "Language models": MODEL - EVERY,
    "`openai-chat` and `azure-openai`": CHAT_KEYS,
    "`azure-openai`": keys(settings_registry()["azure-openai"], but=GIVEN) - MODEL - CHAT_KEYS,
    "`anthropic`": keys(settings_registry()["anthropic"], but=GIVEN) - MODEL,
    "`http`": keys(HTTP, but=GIVEN) - EVERY,
    "`tcp`": keys(settings_registry()["tcp"], but=GIVEN) - EVERY,
    "`tls`": keys(settings_registry()["tls"], but=GIVEN) - EVERY,
    "`dns`": keys(settings_registry()["dns"], but=GIVEN) - EVERY,
    "Reports (`push`)": keys(PUSH, but=GIVEN) - EVERY,
    "`expect` of a language model": keys(ModelExpect),
    "`expect` of a URL": keys(HttpExpect),
    "`expect` of a port": keys(TcpExpect),
    "`expect` of a certificate": keys(TlsExpect),
    "`expect` of a name": keys(DnsExpect),
    "`expect` of a report": keys(PushExpect),
    "`degraded`": keys(Degraded),
    "`price`": keys(Price),
    "`limits`": keys(Limits),
    "`data_policy`": keys(DataPolicy),
    "`[channel.NAME]`": keys(Channel) - {"name"},
    "`[alert]`": keys(EndpointAlert),
    "`[budget]`": keys(Budget),
    "`[canary]`": keys(Canary),
    "`[[maintenance]]`": keys(Maintenance),
}
"""Each heading, and the keys that the loader accepts there."""


def told(section: str) -> dict[str, str]:
    """The keys of a section's first table, each with its default as it is written."""
    table = tables(MANUAL.section(section))[0]
    return {code(row[0])[0]: row[1] for row in table}


def loaded(folder: Path, text: str) -> Config:
    path = folder / "config.toml"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return load(path, settings_registry(), NOW)


@pytest.mark.parametrize("section", SECTIONS)
def test_a_section_tells_of_every_key_and_of_no_other(section: str):
    assert set(told(section)) == SECTIONS[section]


def test_no_protocol_is_left_out():
    shown = set(code(MANUAL.section("Every endpoint").split("| `protocol` |")[1].split("\n")[0]))
    assert {f'"{name}"' for name in settings_registry()} <= shown


def test_every_key_of_a_protocol_is_told_somewhere():
    told_of = set().union(*SECTIONS.values())
    for settings in settings_registry().values():
        assert keys(settings, but=GIVEN) <= told_of


def test_the_table_of_protocols_says_what_is_sent():
    table = tables(MANUAL.section("Protocols of language models"))[0]
    models = {name for name, one in settings_registry().items() if issubclass(one, ModelSettings)}
    assert {code(row[0])[0] for row in table} == models
    for protocol, base_url, appended, header, _ in table:
        at = look_of(code(protocol)[0], base_url=code(base_url)[0], model="MODEL")
        wire = Replay(Recording())
        anyio.run(partial(look, at, wire=wire))
        (request,) = wire.requests
        assert request.url.startswith(code(base_url)[0] + code(appended)[0].removesuffix("…"))
        name, _, value = code(header)[0].partition(": ")
        assert request.headers[name] == value.replace("…", KEY)


# Defaults: writing one out changes nothing


CHAT = '[provider.p]\nprotocol = "openai-chat"\nbase_url = "https://p.example"\n'
MODEL_ENDPOINT = CHAT + '[[provider.p.endpoints]]\nmodel = "m"\n'
URL_ENDPOINT = (
    '[provider.p]\nprotocol = "http"\n[[provider.p.endpoints]]\nname = "m"\nurl = "https://p.example"\n'
)
NAME_ENDPOINT = '[provider.p]\nprotocol = "dns"\n[[provider.p.endpoints]]\nname = "p.example"\n'
TLS_ENDPOINT = '[provider.p]\nprotocol = "tls"\n[[provider.p.endpoints]]\nname = "m"\naddress = "p.example"\n'
BEFORE: dict[str, str] = {
    "`[site]`": "[site]\n",
    "`[database]`": "[database]\n",
    "`[server]`": "[server]\n",
    "`[push]`": "[push]\n",
    "`[provider.NAME]`": CHAT,
    "Every endpoint": MODEL_ENDPOINT,
    "Language models": MODEL_ENDPOINT,
    "`openai-chat` and `azure-openai`": MODEL_ENDPOINT,
    "`azure-openai`": MODEL_ENDPOINT.replace("openai-chat", "azure-openai"),
    "`anthropic`": MODEL_ENDPOINT.replace("openai-chat", "anthropic"),
    "`http`": URL_ENDPOINT,
    "`dns`": NAME_ENDPOINT,
    "`expect` of a certificate": TLS_ENDPOINT + "expect.",
    "`expect` of a language model": MODEL_ENDPOINT + "expect.",
    "`expect` of a URL": URL_ENDPOINT + "expect.",
    "`degraded`": MODEL_ENDPOINT + 'degraded.ttft_p50 = "1s"\ndegraded.',
    "`[channel.NAME]`": '[channel.c]\nurl = "json://localhost"\n',
    "`[alert]`": "[alert]\n",
    "`[canary]`": "[canary]\n",
    "`[[maintenance]]`": '[[maintenance]]\nduration = "1h"\nstart = 2030-01-01T00:00:00Z\n',
}
"""A file that ends where a key of the section can be written."""

DEFAULTS = [
    pytest.param(BEFORE[section], key, code(default)[0], id=f"{section}-{key}")
    for section in BEFORE
    for key, default in told(section).items()
    if default not in ("–", "required")
]


@pytest.mark.parametrize(("before", "key", "default"), DEFAULTS)
def test_writing_out_a_default_changes_nothing(before: str, key: str, default: str, tmp_path: Path):
    without = before.rpartition("\n")[0] + "\n"
    assert seen(loaded(tmp_path, before + f"{key} = {default}\n")) == seen(loaded(tmp_path, without))


def seen(config: Config) -> object:
    """All of it, but for the settings that only remember what was written out."""
    return (
        config.site,
        config.database,
        config.server,
        config.push,
        config.channels,
        config.alert,
        [endpoint.model_dump() for endpoint in config.endpoints],
        config.providers,
        [planned.model_dump() for planned in config.maintenance],
    )


def test_a_key_without_a_default_need_not_be_there_and_a_required_one_must():
    models = {
        "`[channel.NAME]`": Channel,
        "`price`": Price,
        "`[budget]`": Budget,
        "`[[maintenance]]`": Maintenance,
    }
    for section, model in models.items():
        required = {name for name, field in model.model_fields.items() if field.is_required()} - {"name"}
        assert {key for key, default in told(section).items() if default == "required"} == required


# What is refused


def refusals() -> set[str]:
    """What the tests of the loader expect it to say, without the line."""
    texts = [file.read_bytes().decode(errors="replace") for file in BAD_FILES.glob("*.toml")]
    return {said for text in texts for said in re.findall(r"^#> \d+: (.+)$", text, re.MULTILINE)}


def test_the_refusals_it_quotes_are_those_of_the_loader():
    (quoted,) = MANUAL.blocks("text")
    for line in quoted.splitlines():
        match = re.fullmatch(r"config\.toml:\d+: (.+)", line)
        assert match
        assert match[1] in refusals()


def test_every_protocol_of_the_contract_is_there():
    assert settings_registry().keys() == {
        "openai-chat", "openai-responses", "azure-openai", "anthropic", "gemini",
        "http", "tcp", "tls", "dns", "push",
    }  # fmt: skip
