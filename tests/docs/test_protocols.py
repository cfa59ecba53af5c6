"""docs/protocols.md: the protocol that it adds is a whole one, and works."""

import json
import shutil
import subprocess
import sys
from types import ModuleType

import anyio
import pytest

from monitor.config.settings import ModelSettings
from monitor.core.observation import Usage
from monitor.core.outcome import Outcome
from monitor.core.timeline import Channel
from monitor.core.verdict import Expect, Learnt, judge
from monitor.protocols import registry
from tests.docs.pages import TOP, code, page, tables
from tests.protocols.replay import look as looked
from tests.protocols.replay import reveal, streamed
from tests.protocols.script import plain

MANUAL = page("protocols.md")
(EXAMPLE,) = MANUAL.blocks("python")
STREAM = [
    {"type": "message-start", "id": "29f14a5a", "delta": {"message": {"role": "assistant", "content": []}}},
    {"type": "content-start", "index": 0, "delta": {"message": {"content": {"type": "thinking", "thinking": ""}}}},
    {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"thinking": "Hm"}}}},
    {"type": "content-delta", "index": 1, "delta": {"message": {"content": {"text": "pong"}}}},
    {"type": "content-end", "index": 1},
    {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": {
        "billed_units": {"input_tokens": 9, "output_tokens": 4}, "tokens": {"input_tokens": 71, "output_tokens": 5},
    }}},
]  # fmt: skip


@pytest.fixture
def example() -> ModuleType:
    module = ModuleType("cohere_chat")
    sys.modules[module.__name__] = module
    exec(EXAMPLE, vars(module))
    yield module
    del sys.modules[module.__name__]


def look(module: ModuleType, *events: object):
    settings = module.Settings(
        id="acme/thing", provider="acme", slug="thing", provider_name="Acme", protocol="cohere-chat", name="thing",
        model="acme-1", base_url="https://api.acme.example",
    )  # fmt: skip
    at = module.prepare(settings, reveal)

    async def once():
        return await looked(at, streamed(plain(*events)))

    return anyio.run(once)


def test_the_example_reads_what_its_vendor_sends(example):
    seen = look(example, *STREAM)
    assert judge(seen, Expect(answer="pong"), Learnt(), model="acme-1").outcome is Outcome.OK
    assert [(token.channel, token.characters) for token in seen.timeline.tokens] == [
        (Channel.REASONING, 2),
        (Channel.ANSWER, 4),
    ]
    assert (seen.finish_reason, seen.usage) == ("COMPLETE", Usage(input_tokens=71, output_tokens=5))


def test_the_example_tells_a_stream_that_breaks_off_from_one_that_ends(example):
    seen = look(example, *STREAM[:-1])
    assert judge(seen, Expect(), Learnt(), model="acme-1").outcome is Outcome.TRUNCATED


def test_the_example_is_a_file_of_its_own_and_no_longer_than_an_hour(example):
    assert issubclass(example.Settings, ModelSettings)
    assert len(EXAMPLE.splitlines()) < 110


def test_the_example_is_all_that_is_needed(tmp_path):
    """In a copy of the program, with nothing else changed: it loads, has a schema, and may be an `also`."""
    shutil.copytree(TOP / "monitor", tmp_path / "monitor", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "monitor" / "protocols" / "cohere_chat.py").write_text(EXAMPLE)
    (tmp_path / "config.toml").write_text(
        '[provider.cohere]\nprotocol = "openai-chat"\nbase_url = "https://api.cohere.com/compatibility/v1"\n'
        '[[provider.cohere.endpoints]]\nmodel = "command-r"\n'
        'also = [{ protocol = "cohere-chat", base_url = "https://api.cohere.com" }]\n'
    )

    def uptoken(*words: str) -> dict:
        command = [sys.executable, "-m", "monitor", *words, "--config", "config.toml"]
        run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        return json.loads(run.stdout)

    told = uptoken("check", "--json")
    assert [one["id"] for one in told["cost"]["endpoints"]] == [
        "cohere/command-r",
        "cohere/command-r.cohere-chat",
    ]
    schema = uptoken("schema")
    assert "cohere-chat" in json.dumps(schema)


def test_every_protocol_of_a_language_model_is_in_the_table():
    told = {code(row[0])[0] for row in tables(MANUAL.section("What counts as what"))[0]}
    assert told == {name for name, one in registry().items() if issubclass(one.Settings, ModelSettings)}
