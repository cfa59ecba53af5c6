"""What a good file says."""

import time
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from monitor.config.load import ConfigError, load
from monitor.config.settings import TcpAddress, UnixAddress
from monitor.core.instant import instant
from tests.config.files import CHAT, ENDPOINT, NOW, loaded, written
from tests.config.protocols import PROTOCOLS
from tests.transport.servers import _Mint

UNENCRYPTED = "the key travels unencrypted over http: use https unless the network is yours"
FEW_TOKENS = "4 is little to measure a speed by, and some providers refuse it: 16 or more is safe"
BOUNDLESS = (
    "with this nothing limits an answer, so nobody can tell what it may cost:"
    " limits = { max_output = … } says it"
)
CONTRACT = Path(__file__).parent / "contract.toml"


@pytest.fixture
def contract():
    return load(CONTRACT, PROTOCOLS, NOW)


def test_the_example_of_the_contract_loads_without_a_warning(contract):
    assert contract.warnings == ()
    assert [endpoint.id for endpoint in contract.endpoints] == ["openai/gpt-4.1-nano", "website/landing-page"]


def test_sections_say_what_stands_in_them(contract):
    assert (contract.site.name, contract.site.url) == ("Acme AI status", "https://status.acme.example")
    assert contract.site.timezone == ZoneInfo("Europe/Berlin")
    assert contract.server.listen == TcpAddress("127.0.0.1", 8480)
    assert contract.server.public_listen is None
    assert contract.budget.daily_usd == Decimal("5.00")
    assert contract.channels["ops"].on == ("down", "degraded", "config", "monitor", "reminder")
    assert contract.providers["openai"].name == "OpenAI"
    assert contract.providers["openai"].data_policy.prompt_training is False
    assert contract.providers["website"].name == "website"
    assert contract.location == "default"


def test_a_model_endpoint_is_flat_and_exact(contract):
    nano = contract.endpoints[0]
    assert (nano.provider, nano.slug, nano.provider_name) == ("openai", "gpt-4.1-nano", "OpenAI")
    assert (nano.name, nano.model, nano.model_id, nano.model_name) == ("gpt-4.1-nano",) * 4
    assert (nano.interval, nano.timeout) == (timedelta(seconds=60), timedelta(seconds=30))
    assert nano.price.cache_read == Decimal("0.025")
    assert nano.limits.context == 1_050_000
    assert nano.expect.ttft == timedelta(seconds=5)
    assert nano.degraded.over == timedelta(minutes=30)
    assert nano.alert.channels == ("ops",)
    assert nano.status_page == "https://status.openai.com"
    assert nano.body == {"temperature": 0}
    assert nano.ca_file is None


def test_a_plain_check_has_no_model(contract):
    page = contract.endpoints[1]
    assert (page.name, page.slug, page.model_id, page.model_name) == (
        "landing page",
        "landing-page",
        None,
        None,
    )
    assert page.expect.elapsed == timedelta(milliseconds=800)


def test_loading_asks_for_no_secret(contract):
    assert {text.template for text in contract.secrets} == {"${env:OPENAI_API_KEY}", "${env:OPS_CHANNEL}"}
    assert contract.secrets[contract.endpoints[0].api_key] == ("provider", "openai", "api_key")


def test_the_moment_may_be_given_either_way():
    assert load(CONTRACT, PROTOCOLS, instant(NOW)).endpoints == load(CONTRACT, PROTOCOLS, NOW).endpoints


def test_an_empty_file_is_a_quiet_monitor_with_a_warning(tmp_path):
    config = loaded(tmp_path, "")
    assert config.endpoints == ()
    assert [problem.text for problem in config.warnings] == [
        "nothing is watched yet: add [[provider.NAME.endpoints]]"
    ]


@pytest.mark.parametrize(
    ("model", "slug"),
    [
        ("openai/gpt-4.1-nano", "openai-gpt-4.1-nano"),
        ("llama 3 (70B)", "llama-3-70B-"),
        ("Meta/Llama 3.1!", "Meta-Llama-3.1-"),
        ("foo-", "foo-"),
        ("@cf/meta/llama:free", "cf-meta-llama-free"),
        ("a" * 150, "a" * 100),
    ],
)
def test_a_slug_is_made_of_the_model(tmp_path, model, slug):
    config = loaded(tmp_path, CHAT + ENDPOINT.replace("nano", model))
    assert config.endpoints[0].id == f"openai/{slug}"


def test_the_model_names_the_slug_and_the_name_is_for_people(tmp_path):
    config = loaded(tmp_path, CHAT + ENDPOINT + 'name = "Our favourite"\nmodel_id = "nano-1"')
    endpoint = config.endpoints[0]
    assert (endpoint.slug, endpoint.name, endpoint.model_id) == ("nano", "Our favourite", "nano-1")


def test_disabled_endpoints_keep_their_place(tmp_path):
    config = loaded(tmp_path, CHAT + ENDPOINT + "enabled = false" + ENDPOINT.replace("nano", "micro"))
    assert [(endpoint.slug, endpoint.enabled) for endpoint in config.endpoints] == [
        ("nano", False),
        ("micro", True),
    ]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("0.0.0.0:80", TcpAddress("0.0.0.0", 80)),
        ("[::1]:8480", TcpAddress("::1", 8480)),
        ("[fe80::1%eth0]:80", TcpAddress("fe80::1%eth0", 80)),
        ("localhost:80", TcpAddress("localhost", 80)),
        ("unix:/run/uptoken/web.sock", UnixAddress("/run/uptoken/web.sock")),
        ("", None),
    ],
)
def test_addresses_to_listen_on(tmp_path, text, address):
    assert loaded(tmp_path, f'[server]\nlisten = "{text}"').server.listen == address


@pytest.mark.parametrize(
    "text",
    [
        *("http://x:80", "256.1.1.1:80", "foo\\nbar:80", ":80", "[127.0.0.1", "*:80", "a b:80", "x:", "x:٣"),
        *("unix:", "unix:\\u0000x", "unix:/a\\nb", "unix:/" + 107 * "x", "unix:/" + 60 * "ä"),
    ],
)
def test_an_address_that_nobody_can_listen_on_is_refused(tmp_path, text):
    with pytest.raises(ConfigError, match=r"toml:2: server\.listen: "):
        loaded(tmp_path, f'[server]\nlisten = "{text}"')


@pytest.mark.parametrize(
    "host", ["127.0.0.1:54x2", "h:abc", "h:1:2", "[::1", "a:5432,b:5432", "h:123456", "h:65536", "[::1%]"]
)
def test_a_database_whose_host_or_port_cannot_be_read_is_refused(tmp_path, host):
    with pytest.raises(ConfigError, match=r"toml:2: database\.url: has a host or port that cannot be read"):
        loaded(tmp_path, f'[database]\nurl = "postgresql://u:p@{host}/db"')


@pytest.mark.parametrize(
    "rest",
    [
        "u@h/db",
        "u:p/#?:x@h:5432/db",
        "u:${env:P}@[::1]:5432/db?sslmode=require",
        "u@[fe80::1%eth0]:5432/db",
        "/db?host=/run/postgresql",
        "h",
        "a,b/db",
        "u@corp:p@h/db",
        "${env:U}@${env:H}:${env:PORT}/${env:DB}",
        "u@%2Frun%2Fpg:5433/db",
        "u@h:/db",
    ],
)
def test_a_database_is_named_in_every_way_that_its_driver_reads(tmp_path, rest):
    assert loaded(tmp_path, f'[database]\nurl = "postgresql://{rest}"').database.url.template.endswith(rest)


def test_a_private_ca_lies_beside_the_config(tmp_path):
    _Mint(tmp_path)
    config = loaded(tmp_path, CHAT + 'ca_file = "authority.pem"' + ENDPOINT)
    assert config.endpoints[0].ca_file == str(tmp_path / "authority.pem")


def test_a_private_ca_that_is_no_certificate_is_refused(tmp_path):
    with pytest.raises(ConfigError) as refusal:
        loaded(tmp_path, CHAT + 'ca_file = "config.toml"' + ENDPOINT)
    assert str(refusal.value).endswith(":5: provider.openai.ca_file: holds no certificate in PEM form")


def test_a_file_may_have_windows_line_ends_and_a_byte_order_mark(tmp_path):
    path = tmp_path / "config.toml"
    path.write_bytes(b"\xef\xbb\xbf[site]\r\nname = 5\r\n")
    with pytest.raises(ConfigError) as refusal:
        load(path, PROTOCOLS, NOW)
    assert [problem.line for problem in refusal.value.problems] == [2]


def warnings(config):
    return [f"{problem.line}: {problem.key}: {problem.text}" for problem in config.warnings]


def test_what_is_seldom_meant_is_said_and_allowed(tmp_path):
    config = loaded(
        tmp_path,
        CHAT.replace("https://api.openai.com", "http://gpu.example")
        + 'api_key = "${env:KEY}"\nmax_tokens = 4'
        + ENDPOINT
        + ENDPOINT.replace("nano", "micro")
        + '[[maintenance]]\nendpoints = ["openia/*"]\nstart = 2025-12-01T02:00:00Z\nduration = "1h"',
    )
    assert warnings(config) == [
        f"4: provider.openai.base_url: {UNENCRYPTED}",
        f"6: provider.openai.max_tokens: {FEW_TOKENS}",
        '13: maintenance[0].endpoints[0]: "openia/*" matches no endpoint',
        "14: maintenance[0].start: lies in the past: it ended at 2025-12-01T03:00:00.000Z",
    ]


def test_what_no_budget_limits_and_what_has_no_limit_is_warned_of(tmp_path):
    unlimited = 'omit = ["max_tokens"]\nprice = { input = 1, output = 1 }\n'
    budget = 'budget = { daily_usd = "1" }\n'
    free = CHAT.replace("openai]", "free]") + budget + ENDPOINT.replace("openai", "free")
    config = loaded(tmp_path, CHAT + ENDPOINT + budget + ENDPOINT + 'slug = "b"\n' + unlimited + free)
    assert warnings(config) == [
        "8: provider.openai.endpoints[0].budget: limits nothing: the endpoint has no price",
        f"13: provider.openai.endpoints[1].omit: {BOUNDLESS}",
        "19: provider.free.budget: limits nothing: no model has a price",
    ]


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "[::1]:1", "gpu.localhost"])
def test_a_key_may_go_to_this_machine_over_http(tmp_path, host):
    chat = CHAT.replace("https://api.openai.com", f"http://{host}")
    assert loaded(tmp_path, chat + 'api_key = "${env:KEY}"' + ENDPOINT).warnings == ()


def test_a_thousand_endpoints_load_in_a_blink(tmp_path):
    endpoints = "".join(
        f'[[provider.openai.endpoints]]\nmodel = "m{number}"\nexpect = {{ ttft = "5s" }}\n'
        for number in range(1000)
    )
    path = written(tmp_path, CHAT + endpoints)
    begin = time.perf_counter()
    assert len(load(path, PROTOCOLS, NOW).endpoints) == 1000
    assert time.perf_counter() - begin < 0.8
