"""`[push]`, and the tokens that endpoints report with."""

from pathlib import Path

import pytest

from monitor.config.load import ConfigError, load
from monitor.config.secrets import resolve
from monitor.config.settings import TcpAddress, UnixAddress
from monitor.protocols import settings_registry
from tests.config.files import NOW

TOKEN = "0123456789abcdef"
JOBS = '[provider.jobs]\nprotocol = "push"\n'


def job(name: str, token: str) -> str:
    return f'[[provider.jobs.endpoints]]\nname = "{name}"\ntoken = "{token}"\n'


def loaded(folder: Path, *parts: str):
    path = folder / "config.toml"
    path.write_text("".join(parts))
    path.chmod(0o600)
    return load(path, settings_registry(), NOW)


def refused(folder: Path, *parts: str) -> list[str]:
    with pytest.raises(ConfigError) as refusal:
        loaded(folder, *parts)
    return [f"{problem.line}: {problem.key}: {problem.text}" for problem in refusal.value.problems]


def unfit(folder: Path, environ: dict[str, str], *parts: str) -> list[str]:
    config = loaded(folder, JOBS, *parts)
    with pytest.raises(ConfigError) as refusal:
        resolve(config, environ, None)
    return [f"{problem.line}: {problem.key}: {problem.text}" for problem in refusal.value.problems]


def test_reports_have_a_door_of_their_own_on_loopback_unless_something_else_is_said(tmp_path: Path) -> None:
    assert loaded(tmp_path, JOBS, job("a", TOKEN)).push.listen == TcpAddress("127.0.0.1", 8481)
    config = loaded(tmp_path, '[push]\nlisten = "unix:/run/push.sock"\n', JOBS, job("a", TOKEN))
    assert config.push.listen == UnixAddress("/run/push.sock")


def test_who_reports_needs_a_door(tmp_path: Path) -> None:
    closed = '[push]\nlisten = ""\n'
    assert refused(tmp_path, closed, JOBS, job("a", TOKEN)) == [
        '2: push.listen: is empty, but jobs/a reports there: write an address such as "127.0.0.1:8481"'
    ]
    assert loaded(tmp_path, closed, JOBS, job("a", TOKEN) + "enabled = false\n").push.listen is None


@pytest.mark.parametrize("key", ["listen", "public_listen"])
def test_the_door_is_not_the_page(tmp_path: Path, key: str) -> None:
    page = f'[server]\n{key} = "127.0.0.1:8490"\n[push]\nlisten = "127.0.0.1:8490"\n'
    assert refused(tmp_path, page, JOBS, job("a", TOKEN)) == [
        "4: push.listen: is the address of the page: reports need one of their own"
    ]


def test_an_endpoint_without_a_token_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path, JOBS, '[[provider.jobs.endpoints]]\nname = "a"\n') == [
        "3: provider.jobs.endpoints[0].token: is missing"
    ]


def test_a_key_of_the_table_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path, "[push]\nport = 1\n", JOBS, job("a", TOKEN)) == [
        "2: push.port: unknown key; known here: listen"
    ]


@pytest.mark.parametrize(
    "token", ["", "short", TOKEN + "/x", TOKEN + " x", "x" * 201, TOKEN + "%41", TOKEN + "ü"]
)
def test_a_token_that_cannot_stand_in_an_address_is_refused_once_it_is_known(
    tmp_path: Path, token: str
) -> None:
    told = unfit(tmp_path, {"TOKEN": token}, job("a", "${env:TOKEN}"))
    assert len(told) == 1
    assert told[0].startswith("5: provider.jobs.endpoints[0].token: ")
    assert "canary" not in told[0]
    assert token == "" or token not in told[0]


def test_two_endpoints_with_one_token_are_refused_wherever_it_comes_from(tmp_path: Path) -> None:
    environ = {"ONE": TOKEN, "TWO": TOKEN}
    text = "is the token of both jobs/a and jobs/b: give each its own"
    assert unfit(tmp_path, environ, job("a", "${env:ONE}"), job("b", "${env:TWO}")) == [
        f"8: provider.jobs.endpoints[1].token: {text}"
    ]
    assert unfit(tmp_path, environ, job("a", "${env:ONE}"), job("b", "${env:ONE}")) == [
        f"5: provider.jobs.endpoints[0].token: {text}"
    ]
    assert unfit(tmp_path, environ, job("a", "${env:ONE}"), job("b", TOKEN)) == [
        f"8: provider.jobs.endpoints[1].token: {text}"
    ]


def test_an_endpoint_that_is_switched_off_may_have_any_token(tmp_path: Path) -> None:
    off = job("b", TOKEN) + "enabled = false\n"
    config = loaded(tmp_path, JOBS, job("a", "${env:ONE}"), off)
    assert resolve(config, {"ONE": TOKEN}, None).values >= {TOKEN}


def test_a_token_is_a_secret(tmp_path: Path) -> None:
    config = loaded(tmp_path, JOBS, job("a", TOKEN))
    assert TOKEN in resolve(config, {}, None).values
    assert TOKEN not in repr(config.endpoints[0])
    assert [str(warning).rsplit(": ", 1)[0].split(": ")[1] for warning in config.warnings] == [
        "provider.jobs.endpoints[0].token"
    ]
