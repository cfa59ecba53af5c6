"""The key `proxy`: where it comes from, what it says, and that its login is a secret."""

import base64

import pytest

from monitor.config.load import ConfigError
from monitor.config.proxy import read
from monitor.config.secrets import resolve
from tests.config.files import CHAT, ENDPOINT, loaded

CANARY = "p@ss/canary-0123"


def proxies_of(config):
    return [one.proxy and one.proxy.template for one in config.endpoints]


def test_the_nearest_proxy_wins_and_false_or_nothing_switches_it_off(tmp_path):
    config = loaded(
        tmp_path,
        '[defaults]\nproxy = "http://far:3128"\n'
        + CHAT
        + 'proxy = "unix:/run/vllm.sock"\n'
        + ENDPOINT
        + ENDPOINT.replace("nano", "micro")
        + 'proxy = "socks5h://near:1080"'
        + ENDPOINT.replace("nano", "pico")
        + "proxy = false"
        + ENDPOINT.replace("nano", "milli")
        + 'proxy = ""'
        + CHAT.replace("openai]", "other]")
        + ENDPOINT.replace("openai", "other"),
    )
    assert proxies_of(config) == [
        "unix:/run/vllm.sock",
        "socks5h://near:1080",
        None,
        None,
        "http://far:3128",
    ]


@pytest.mark.parametrize(
    ("text", "shown", "login"),
    [
        ("http://proxy:3128", "http://proxy:3128", (None, "")),
        ("HTTP://proxy:3128/", "http://proxy:3128", (None, "")),
        ("http://me@[2001:db8::1]:80", "http://[2001:db8::1]:80", ("me", "")),
        ("http://me:p%40%2F%3A@proxy:1", "http://proxy:1", ("me", "p@/:")),
        ("http://me:p@ss@proxy:1", "http://proxy:1", ("me", "p@ss")),
        ("socks5://proxy:1080", "socks5://proxy:1080", (None, "")),
        ("socks5h://me:pw@192.0.2.1:1080", "socks5://192.0.2.1:1080", ("me", "pw")),
        ("unix:/run/vllm.sock", "unix:/run/vllm.sock", (None, "")),
        ("unix:///run/vllm.sock", "unix:/run/vllm.sock", (None, "")),
    ],
)
def test_a_proxy_is_read_and_shown_without_its_login(text, shown, login):
    proxy = read(text)
    assert (str(proxy), (proxy.user, proxy.password)) == (shown, login)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "proxy",
        "ftp://proxy:1",
        "https://me:canary@proxy:3128",
        "http://",
        "http://:3128",
        "http://proxy",
        "http://proxy:0",
        "http://proxy:65536",
        "http://proxy:٣",
        "http://proxy:123456789",
        "http://pro/xy:1",
        "http://proxy:1/path",
        "http://me:can/ary@proxy:1",
        "http://me:canary%0a@proxy:1",
        "http://m%3Ae:canary@proxy:1",
        "http://proxy:1\n",
        "socks5://me@proxy:1",
        f"socks5://me:{'x' * 256}@proxy:1",
        "unix:",
        "unix:/",
        "unix://host/path",
        f"unix:/{'x' * 107}",
    ],
)
def test_what_is_no_proxy_is_refused_without_being_quoted(text):
    with pytest.raises(ValueError, match=r"write|encode|wants|long") as refusal:
        read(text)
    assert "canary" not in str(refusal.value)


def test_a_password_may_be_kept_elsewhere_and_is_known_in_every_form_it_travels_in(tmp_path):
    config = loaded(tmp_path, CHAT + 'proxy = "http://me:${env:PW}@proxy:3128"' + ENDPOINT)
    secrets = resolve(config, {"PW": CANARY}, None)
    proxy = read(secrets.of(config.endpoints[0].proxy))
    assert (proxy.user, proxy.password) == ("me", CANARY)
    assert secrets.values == {
        CANARY,
        "p%40ss%2Fcanary-0123",
        base64.b64encode(f"me:{CANARY}".encode()).decode(),
    }


def test_a_whole_proxy_may_be_a_secret(tmp_path):
    config = loaded(tmp_path, CHAT + 'proxy = "${env:PROXY}"' + ENDPOINT)
    whole = "socks5://me:p%40ss@proxy:1080"
    secrets = resolve(config, {"PROXY": whole}, None)
    assert read(secrets.of(config.endpoints[0].proxy)).password == "p@ss"
    assert {whole, "p@ss"} <= secrets.values


@pytest.mark.parametrize("template", ["${env:PROXY}", "http://me:pw@${env:PROXY}"])
def test_what_a_secret_brings_is_looked_at_where_it_is_known(template, tmp_path):
    config = loaded(tmp_path, CHAT + f'proxy = "{template}"' + ENDPOINT)
    with pytest.raises(ConfigError) as refusal:
        resolve(config, {"PROXY": "canary"}, None)
    (problem,) = refusal.value.problems
    assert (problem.line, problem.key) == (5, "provider.openai.proxy")
    assert "canary" not in str(problem)


def test_a_login_that_stands_in_the_file_is_a_secret_in_the_file(tmp_path):
    text = CHAT + 'proxy = "http://me:pw-canary@proxy:3128"' + ENDPOINT
    config = loaded(tmp_path, text)
    assert [warning.key for warning in config.warnings] == ["provider.openai.proxy"]
    assert "canary" not in repr(config.endpoints[0])
    assert "pw-canary" in resolve(config, {}, None).values
    with pytest.raises(ConfigError, match="everybody can read"):
        loaded(tmp_path, text, mode=0o644)
    assert loaded(tmp_path, CHAT + 'proxy = "http://proxy:3128"' + ENDPOINT, mode=0o644).warnings == ()


def test_http2_goes_with_some_proxies_only(tmp_path):
    for proxy in ("http://proxy:1", "unix:/run/a.sock"):
        text = CHAT + f'http2 = true\nproxy = "{proxy}"' + ENDPOINT
        assert loaded(tmp_path, text).endpoints[0].http2
    with pytest.raises(ConfigError, match="with http2"):
        loaded(tmp_path, CHAT + 'http2 = true\nproxy = "${env:PROXY}"' + ENDPOINT)


def test_a_key_that_goes_to_a_unix_socket_does_not_travel(tmp_path):
    text = CHAT.replace("https:", "http:") + 'api_key = "${env:KEY}"\nproxy = "%s"' + ENDPOINT
    assert loaded(tmp_path, text % "unix:/run/vllm.sock").warnings == ()
    assert "unencrypted" in loaded(tmp_path, text % "http://proxy:3128").warnings[0].text
