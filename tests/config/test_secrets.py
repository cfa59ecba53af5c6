"""Secrets: found where they are kept, never shown."""

import pytest

from monitor.config.load import ConfigError, load
from monitor.config.problem import key_path
from monitor.config.secrets import SecretText, resolve
from monitor.config.settings import Database
from monitor.config.values import quoted
from tests.config.files import CHAT, ENDPOINT, NOW, loaded, written
from tests.config.protocols import PROTOCOLS

CANARY = "sk-canary-0123456789"


def problems(refusal):
    return [f"{problem.line}: {problem.key}: {problem.text}" for problem in refusal.value.problems]


def with_key(folder, template):
    return loaded(folder, CHAT + f'api_key = "{template}"' + ENDPOINT)


def key_of(config):
    return config.endpoints[0].api_key


def test_a_secret_comes_from_the_environment(tmp_path):
    config = with_key(tmp_path, "${env:KEY}")
    secrets = resolve(config, {"KEY": CANARY}, None)
    assert secrets.of(key_of(config)) == CANARY
    assert secrets.values == {CANARY}


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_secret_comes_from_a_file_without_its_line_end(tmp_path, end):
    (tmp_path / "key").write_bytes((CANARY + end).encode())
    (tmp_path / "key").chmod(0o640)
    config = with_key(tmp_path, "${file:key}")
    assert resolve(config, {}, None).of(key_of(config)) == CANARY


def test_a_file_may_be_named_by_its_whole_path(tmp_path):
    key = tmp_path / "elsewhere"
    key.write_text(CANARY)
    key.chmod(0o600)
    config = with_key(tmp_path, f"${{file:{key}}}")
    assert resolve(config, {}, None).of(key_of(config)) == CANARY


def test_a_secret_comes_from_a_credential_of_systemd(tmp_path):
    (tmp_path / "openai.key").write_text(CANARY + "\n")
    config = with_key(tmp_path, "${cred:openai.key}")
    assert resolve(config, {}, tmp_path).of(key_of(config)) == CANARY


def test_text_around_a_secret_stays(tmp_path):
    config = loaded(
        tmp_path, CHAT + 'headers = { Authorization = "Bearer ${env:KEY}", X-Title = "Acme" }' + ENDPOINT
    )
    secrets = resolve(config, {"KEY": CANARY}, None)
    headers = config.endpoints[0].headers
    assert secrets.of(headers["Authorization"]) == f"Bearer {CANARY}"
    assert secrets.of(headers["X-Title"]) == "Acme"
    assert secrets.values == {CANARY}


def test_a_password_in_a_url_is_written_plain(tmp_path):
    config = loaded(tmp_path, '[database]\nurl = "postgresql://user:${env:PW}@host/db"')
    secrets = resolve(config, {"PW": "p@ss/w:rd"}, None)
    assert secrets.of(config.database.url) == "postgresql://user:p%40ss%2Fw%3Ard@host/db"
    assert secrets.values == {"p@ss/w:rd", "p%40ss%2Fw%3Ard"}


def test_a_whole_url_is_taken_as_it_stands(tmp_path):
    config = loaded(tmp_path, '[database]\nurl = "${env:DB}"\n[channel.ops]\nurl = "${env:OPS}"')
    secrets = resolve(config, {"DB": "postgresql://u:p%40@h/d", "OPS": "slack://日本@x"}, None)
    assert secrets.of(config.database.url) == "postgresql://u:p%40@h/d"
    assert secrets.of(config.channels["ops"].url) == "slack://日本@x"


def test_every_secret_that_cannot_be_had_is_told_at_once(tmp_path):
    (tmp_path / "open").write_text(CANARY)
    (tmp_path / "open").chmod(0o644)
    (tmp_path / "empty").touch(0o600)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "folder").mkdir()
    places = {
        "unset": "${env:UNSET}",
        "broken": "${env:BROKEN}",
        "control": "${env:CONTROL}",
        "wide": "${env:WIDE}",
        "spaced": "${env:SPACED}",
        "open": "${file:open}",
        "gone": "${file:gone}",
        "empty": "${file:empty}",
        "binary": "${file:binary}",
        "folder": "${file:folder}",
        "cred": "${cred:key}",
    }
    endpoints = "".join(
        f'[[provider.openai.endpoints]]\nmodel = "{name}"\napi_key = "{template}"\n'
        for name, template in places.items()
    )
    config = loaded(tmp_path, CHAT + endpoints)
    environ = {
        "BROKEN": f"{CANARY}\nsecond",
        "CONTROL": f"{CANARY}\x07bell",
        "WIDE": f"{CANARY}…",
        "SPACED": f"{CANARY} ",
    }
    with pytest.raises(ConfigError) as refusal:
        resolve(config, environ, None)
    assert [problem.text for problem in refusal.value.problems] == [
        "the environment variable UNSET is not set",
        "the environment variable BROKEN has a line break in the middle: a key is one line",
        "the environment variable CONTROL contains a control character",
        "the environment variable WIDE contains a character that no header can carry (outside Latin-1)",
        "the environment variable SPACED begins or ends with a space or line break: remove it",
        f"the secret file open can be read by everybody: chmod o-r {tmp_path}/open",
        "the secret file gone is not there",
        "the secret file empty is empty",
        "the secret file binary is not UTF-8",
        "the secret file folder is no file",
        "the credential key needs systemd, which gives it with LoadCredential=key:PATH",
    ]
    assert refusal.value.problems[0].key == "provider.openai.endpoints[0].api_key"
    assert [problem.line for problem in refusal.value.problems] == list(range(7, 7 + 3 * 11, 3))
    assert CANARY not in str(refusal.value)


def test_an_inherited_secret_is_missed_once_and_where_it_stands(tmp_path):
    config = loaded(tmp_path, CHAT + 'api_key = "${env:KEY}"' + ENDPOINT + ENDPOINT.replace("nano", "micro"))
    with pytest.raises(ConfigError) as refusal:
        resolve(config, {}, None)
    assert problems(refusal) == ["5: provider.openai.api_key: the environment variable KEY is not set"]


def test_a_disabled_endpoint_needs_no_secret(tmp_path):
    config = loaded(tmp_path, CHAT + ENDPOINT + 'enabled = false\napi_key = "${env:UNSET}"')
    assert resolve(config, {}, None).values == frozenset()


def test_one_endpoint_needs_its_own_secrets_only(tmp_path):
    other = ENDPOINT.replace("nano", "micro") + 'api_key = "${env:UNSET}"\n'
    config = loaded(tmp_path, CHAT + ENDPOINT + 'api_key = "${env:KEY}"\n' + other)
    nano = config.endpoints[0]
    secrets = resolve(config, {"KEY": CANARY}, None, nano.secrets().values())
    assert secrets.of(nano.api_key) == CANARY
    with pytest.raises(KeyError):
        secrets.of(config.endpoints[1].api_key)


def test_secrets_are_told_although_the_file_is_gone(tmp_path):
    config = with_key(tmp_path, "${env:KEY}")
    config.path.unlink()
    with pytest.raises(ConfigError) as refusal:
        resolve(config, {}, None)
    assert problems(refusal) == ["1: provider.openai.api_key: the environment variable KEY is not set"]


LITERALS = [
    CHAT + f'api_key = "{CANARY}"' + ENDPOINT,
    CHAT + f'headers = {{ X-Api-Key = "{CANARY}" }}' + ENDPOINT,
    f'[channel.ops]\nurl = "mailtos://user:{CANARY}@example.com"' + CHAT + ENDPOINT,
    f'[database]\nurl = "postgresql://user:{CANARY}@host/db"' + CHAT + ENDPOINT,
]


@pytest.mark.parametrize("text", LITERALS)
def test_a_secret_in_a_private_file_is_allowed_with_a_warning(tmp_path, text):
    config = loaded(tmp_path, text, mode=0o600)
    (warning,) = config.warnings
    assert "a secret stands in the file itself" in str(warning)
    assert CANARY not in str(warning)
    assert CANARY in resolve(config, {}, None).values


@pytest.mark.parametrize("text", LITERALS)
def test_a_secret_in_a_file_that_everybody_can_read_is_refused(tmp_path, text):
    with pytest.raises(ConfigError) as refusal:
        loaded(tmp_path, text, mode=0o644)
    assert "a secret stands in this file, which everybody can read" in str(refusal.value)
    assert CANARY not in str(refusal.value)


@pytest.mark.parametrize(
    "text",
    ['[channel.ops]\nurl = "console://"', CHAT + 'headers = { X-Title = "Acme" }' + ENDPOINT],
)
def test_plain_text_is_no_secret(tmp_path, text):
    config = loaded(tmp_path, text, mode=0o644)
    assert not config.secrets
    assert resolve(config, {}, None).values == frozenset()


def test_no_way_of_showing_a_config_shows_a_secret(tmp_path):
    config = loaded(tmp_path, LITERALS[0] + f'headers = {{ X-Key = "a ${{env:KEY}} {CANARY}" }}')
    secrets = resolve(config, {"KEY": CANARY}, None)
    endpoint = config.endpoints[0]
    shown = [
        repr(config),
        repr(endpoint),
        str(endpoint),
        str(endpoint.model_dump()),
        endpoint.model_dump_json(),
        repr(secrets),
        str(secrets),
        f"{endpoint.api_key} {endpoint.api_key!r}",
        str(config.secrets),
    ]
    assert not any(CANARY in text for text in shown)


def test_a_template_that_cannot_be_read_is_not_quoted():
    for template in (f"${{{CANARY}}}", f"${{env:{CANARY} }}", f"{CANARY}\n", f" {CANARY}", f"{CANARY}\x00"):
        with pytest.raises(ValueError, match=r"\S") as refusal:
            SecretText(template)
        assert CANARY not in str(refusal.value)


def test_a_wrong_database_url_is_not_quoted():
    with pytest.raises(ValueError, match="postgresql") as refusal:
        Database.model_validate({"url": f"mysql://u:{CANARY}@h/d"})
    assert "has to begin with" in str(refusal.value)


def test_a_key_in_a_wrong_place_is_not_shown(tmp_path):
    long = CANARY * 3
    with pytest.raises(ConfigError) as refusal:
        loaded(
            tmp_path,
            CHAT
            + f'api_kee = "{CANARY}"\ninterval = "{long}"\nbase_url = "{CANARY}"'.replace(
                "base_url", "status_page"
            )
            + ENDPOINT,
        )
    assert CANARY not in str(refusal.value)


def test_channels_are_looked_at_only_where_their_url_is_known(tmp_path):
    asked = []
    path = written(tmp_path, '[channel.a]\nurl = "${env:A}"\n[channel.b]\nurl = "console://"')
    load(path, PROTOCOLS, NOW, asked.append)
    assert asked == ["console://"]


@pytest.mark.parametrize(
    "text",
    [
        "sk-proj-abcdef",
        "Authorization: Bearer x",
        "slack://a/b/c",
        "http://u:p@h:80/",
        "u:p@h:80",
        "xoxb-0123456789-abc",
        "AIzaSyA0123456789",
        "f47ac10b-58cc-4372-a567-0e02b2c3d479",
        "9f86d081884c7d659a2feaa0c55ad015",
        "x" * 41,
    ],
)
def test_what_looks_like_a_secret_is_repeated_neither_as_a_value_nor_as_a_key(text):
    assert quoted(text) == f"a text of {len(text)} characters"
    assert key_path(("provider", text)) == "provider.…"


@pytest.mark.parametrize(
    "text",
    [
        "gpt-4.1-nano",
        "claude-3-5-sonnet-20241022",
        "claude-3-5-sonnet@20240620",
        "hf-inference",
        "key-rotation",
        "0 2 * * sun",
        "127.0.0.1:99999",
        "xai-grok-4-fast",
    ],
)
def test_a_slip_in_an_ordinary_value_is_shown(text):
    assert quoted(text) == f'"{text}"'


@pytest.mark.parametrize(
    "name",
    [
        "azure-openai-germany-west-central-production-01",
        "claude-3-5-sonnet-20241022-us-east-1-production-two",
    ],
)
def test_a_long_name_of_words_is_shown(name):
    assert key_path(("provider", name)) == f"provider.{name}"


@pytest.mark.parametrize(
    "text",
    [
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
        "k3v9Qm2x7Lp-Z4tB8nW1cR6_yH5dJ0sG2fA9uE7oIqT3",
        "token-xoxb-abcdefgh-abcdefgh-abcdefgh-abcdefgh",
        "word-" * 20 + "word",
    ],
)
def test_a_long_key_that_is_no_name_of_words_is_not_shown(text):
    assert key_path(("provider", text)) == "provider.…"


def test_a_secret_in_a_file_that_everybody_can_read_is_refused_beside_another_mistake(tmp_path):
    headers = 'headers = { Authorization = "Bearer x", "X Title" = "a" }\n'
    with pytest.raises(ConfigError) as refusal:
        loaded(tmp_path, CHAT + ENDPOINT + headers, mode=0o644)
    at = "provider.openai.endpoints[0].headers"
    assert [problem.key for problem in refusal.value.problems] == [f'{at}."X Title"', f"{at}.Authorization"]


def test_a_key_in_place_of_the_name_of_its_variable_is_not_repeated(tmp_path):
    config = with_key(tmp_path, "${env:AIzaSyA0123456789abcdef}")
    with pytest.raises(ConfigError) as refusal:
        resolve(config, {}, None)
    assert str(refusal.value).endswith("api_key: the environment variable … is not set")
