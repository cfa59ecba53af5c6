"""Where the config, the state and the database lie."""

import subprocess
import sys
from pathlib import Path

import pytest

from monitor.config.secrets import resolve
from monitor.config.where import config_path, database_url, state_folder
from tests.cli.command import UNPRIVILEGED, environment
from tests.config.files import loaded

HERE, SYSTEM = Path("config.toml"), Path("/etc/uptoken/config.toml")


@pytest.mark.parametrize(
    ("given", "environ", "there", "path"),
    [
        ("a.toml", {"UPTOKEN_CONFIG": "b.toml"}, {HERE, SYSTEM}, Path("a.toml")),
        (None, {"UPTOKEN_CONFIG": "b.toml"}, {HERE, SYSTEM}, Path("b.toml")),
        (None, {"UPTOKEN_CONFIG": ""}, {HERE, SYSTEM}, HERE),
        (None, {}, {SYSTEM}, SYSTEM),
        (None, {}, set(), HERE),
    ],
)
def test_the_config_is_looked_for_in_order(given, environ, there, path):
    assert config_path(given, environ, there.__contains__) == path


def test_a_config_in_a_folder_that_may_not_be_entered_is_taken_for_there(tmp_path):
    (tmp_path / "theirs").mkdir(mode=0)
    for name, there in (("theirs/config.toml", True), ("config.toml", False), ("no/config.toml", False)):
        program = f"from pathlib import Path; from monitor.config.where import is_there as t; print(t(Path({name!r})))"
        command = [*UNPRIVILEGED, sys.executable, "-c", program]
        told = subprocess.run(
            command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True
        )
        assert told.stdout == f"{there}\n"


@pytest.mark.parametrize(
    ("config", "environ", "folder"),
    [
        (SYSTEM, {"STATE_DIRECTORY": "/s/a:/s/b", "UPTOKEN_STATE": "/u"}, "/s/a"),
        (SYSTEM, {"UPTOKEN_STATE": "/u"}, "/u"),
        (SYSTEM, {}, "/var/lib/uptoken"),
        (Path("/srv/config.toml"), {}, "var"),
        (Path("/etcetera/config.toml"), {}, "var"),
    ],
)
def test_the_state_lies_where_the_service_manager_or_the_user_says(config, environ, folder):
    assert state_folder(config, environ) == Path(folder)


@pytest.mark.parametrize(
    ("url", "resolved"),
    [
        ("sqlite:///uptoken.db", "sqlite:////state/uptoken.db"),
        ("sqlite:////data/uptoken.db", "sqlite:////data/uptoken.db"),
        ("postgresql://user@host/db", "postgresql://user@host/db"),
    ],
)
def test_a_relative_sqlite_path_lies_in_the_state_folder(tmp_path, url, resolved):
    config = loaded(tmp_path, f'[database]\nurl = "{url}"')
    assert database_url(config, Path("/state")) == resolved


def test_a_secret_in_the_url_has_to_be_resolved_by_whoever_opens_it(tmp_path):
    config = loaded(tmp_path, '[database]\nurl = "${env:DB}"')
    with pytest.raises(ValueError, match="secret"):
        database_url(config, Path("/state"))
    secrets = resolve(config, {"DB": "sqlite:///a.db"}, None, [config.database.url])
    assert database_url(config, Path("/state"), secrets) == "sqlite:////state/a.db"
