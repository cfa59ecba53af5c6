"""`also`: the same model over a second protocol, as an endpoint of its own."""

from datetime import timedelta
from decimal import Decimal

import pytest

from monitor import compose
from monitor.config.cost import projected
from monitor.config.load import ConfigError, load
from monitor.config.settings import Config
from monitor.protocols import settings_registry
from monitor.web.listings import listings
from tests.config.files import NOW, written

ACME = """
[defaults]
interval = "2m"
max_tokens = 100

[provider.acme]
name = "Acme AI"
protocol = "openai-chat"
base_url = "https://acme.example/v1"
api_key = "${env:ACME_KEY}"
max_tokens_field = "max_tokens"
anthropic_version = "2024-01-01"
labels = { tier = "gold" }

[[provider.acme.endpoints]]
model = "vendor/claude-haiku-4-5"
model_id = "claude-haiku-4-5"
price = { input = "1.00", output = "5.00" }
budget = { daily_usd = "0.50" }
expect = { answer = "pong", ttft = "5s" }
headers = { X-Team = "platform" }
public = false
also = [
  { protocol = "anthropic", base_url = "https://acme.example/anthropic" },
  { protocol = "openai-responses", max_tokens = 300, expect = { ttft = false }, headers = { X-Team = false } },
]

[[provider.acme.endpoints]]
model = "nano"
"""


def loaded(folder, text) -> Config:
    return load(written(folder, text), settings_registry(), NOW)


def test_it_stands_behind_its_sibling_under_a_name_of_its_own(tmp_path):
    config = loaded(tmp_path, ACME)
    assert [endpoint.id for endpoint in config.endpoints] == [
        "acme/vendor-claude-haiku-4-5",
        "acme/vendor-claude-haiku-4-5.anthropic",
        "acme/vendor-claude-haiku-4-5.openai-responses",
        "acme/nano",
    ]
    assert [endpoint.protocol for endpoint in config.endpoints] == [
        "openai-chat", "anthropic", "openai-responses", "openai-chat",
    ]  # fmt: skip


def test_it_knows_its_sibling(tmp_path):
    chat, anthropic, *_ = loaded(tmp_path, ACME).endpoints
    assert (chat.also_of, anthropic.also_of) == (None, chat.id)


def test_nobody_writes_whose_sibling_it_is(tmp_path):
    with pytest.raises(ConfigError, match="also_of: comes from its place in the file"):
        loaded(tmp_path, ACME + 'also_of = "acme/nano"\n')


def test_it_inherits_everything_but_what_it_says_itself(tmp_path):
    chat, anthropic, responses, _ = loaded(tmp_path, ACME).endpoints
    for endpoint in (anthropic, responses):
        for key in (
            "name",
            "model",
            "model_id",
            "interval",
            "api_key",
            "price",
            "budget",
            "labels",
            "public",
        ):
            assert getattr(endpoint, key) == getattr(chat, key), key
        assert endpoint.expect.answer == "pong"
    assert anthropic.base_url == "https://acme.example/anthropic"
    assert responses.base_url == chat.base_url
    assert (anthropic.max_tokens, responses.max_tokens) == (100, 300)
    assert (anthropic.expect.ttft, responses.expect.ttft) == (timedelta(seconds=5), None)
    assert (list(anthropic.headers), list(responses.headers)) == (["X-Team"], [])
    assert anthropic.anthropic_version == "2024-01-01"
    assert anthropic.budget.daily_usd == Decimal("0.50")


def test_it_may_have_a_slug_and_a_model_of_its_own_and_is_still_the_same_model(tmp_path):
    entry = '{ protocol = "gemini", base_url = "https://acme.example/v1beta", slug = "two", model = "m-2" }'
    text = ACME.replace('model = "nano"', f'model = "nano"\nalso = [{entry}]')
    *_, nano, second = loaded(tmp_path, text).endpoints
    assert (second.id, second.model, second.model_id, second.name) == (
        "acme/two",
        "m-2",
        nano.model_id,
        "nano",
    )


def test_an_alert_and_the_page_call_it_the_same(tmp_path):
    entry = '{ protocol = "gemini", base_url = "https://acme.example/v1beta", slug = "two", model = "m-2" }'
    text = ACME.replace('model = "nano"', f'model = "nano"\nname = "Nano"\nalso = [{entry}]')
    site = '[[provider.web.endpoints]]\nname = "status.http"\nurl = "https://acme.example/"\n'
    config = loaded(tmp_path, f'{text}\n[provider.web]\nprotocol = "http"\n{site}')
    called = {one.id: one.called for one in listings(config)}
    assert called == {one.id: compose.rules(config, one).subject.model for one in config.endpoints}
    assert called["acme/vendor-claude-haiku-4-5.anthropic"] == "vendor/claude-haiku-4-5 over anthropic"
    assert (called["acme/nano"], called["acme/two"]) == ("Nano", "Nano over gemini")
    # Nobody's sibling, though its name ends in a protocol.
    assert called["web/status.http"] == "status.http"


def test_a_model_that_the_provider_names_is_named_alike(tmp_path):
    text = """
        [provider.acme]
        protocol = "openai-chat"
        model = "nano"
        base_url = "https://acme.example/v1"
        [[provider.acme.endpoints]]
        also = [{ protocol = "http", url = "https://acme.example/health" }]
        """
    chat, page = loaded(tmp_path, text).endpoints
    assert (chat.id, page.id, page.name, page.model_name) == ("acme/nano", "acme/nano.http", "nano", None)


def test_a_sibling_that_is_switched_off_is_off_with_it_unless_it_says_otherwise(tmp_path):
    text = ACME.replace("public = false", "enabled = false").replace("max_tokens = 300", "enabled = true")
    assert [endpoint.enabled for endpoint in loaded(tmp_path, text).endpoints] == [False, False, True, True]


def test_the_body_of_a_sibling_can_be_left_out(tmp_path):
    text = ACME.replace("public = false", "body = { reasoning_effort = 'low' }")
    text = text.replace("max_tokens = 300", "body = false")
    chat, anthropic, responses, _ = loaded(tmp_path, text).endpoints
    assert chat.body == anthropic.body == {"reasoning_effort": "low"}
    assert responses.body == {}


def test_its_cost_is_counted_by_itself(tmp_path):
    usd = {each.endpoint: each.usd for each in projected(loaded(tmp_path, ACME).endpoints).projections}
    chat = usd["acme/vendor-claude-haiku-4-5"]
    assert usd["acme/vendor-claude-haiku-4-5.anthropic"] == chat > 0
    assert usd["acme/vendor-claude-haiku-4-5.openai-responses"] > chat


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ('{ protocol = "anthropic" }', '.base_url: ends in "/v1", which is appended: leave it out'),
        ('{ protocol = "azure-openai", base_url = "https://a.example/openai" }', '.base_url: ends in "/openai"'),
        ('{ protocol = "gemini", body = { generationConfig = { maxOutputTokens = 9 } } }',
         ".body.generationConfig.maxOutputTokens: cannot be set here"),
        ('{ protocol = "gemini", anthropic_versio = "1" }', ".anthropic_versio: unknown key"),
        ('{ protocol = "openai-responses", interval = "5s" }', ""),
        ('{ protocol = "gopher" }', '.protocol: there is no protocol "gopher"'),
    ],
)  # fmt: skip
def test_what_is_wrong_with_it_is_told_where_it_stands(tmp_path, entry, said):
    text = ACME.replace('model = "nano"', f'model = "nano"\nalso = [\n  {entry},\n]')
    if not said:
        assert loaded(tmp_path, text).endpoints[-1].timeout < timedelta(seconds=5)
        return
    line = text.splitlines().index(f"  {entry},") + 1
    with pytest.raises(ConfigError) as refusal:
        loaded(tmp_path, text)
    (told,) = map(str, refusal.value.problems)
    assert f":{line}: provider.acme.endpoints[1].also[0]{said}" in told


def test_a_key_of_a_protocol_that_only_an_also_uses_may_stand_at_the_provider(tmp_path):
    without = ACME.replace('{ protocol = "anthropic", base_url = "https://acme.example/anthropic" },', "")
    with pytest.raises(ConfigError, match="is a key of anthropic only, which no endpoint here uses"):
        loaded(tmp_path, without)
