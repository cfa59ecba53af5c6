"""`check` and `schema`: is the file right, and what will it cost?"""

import json
import tomllib

import jsonschema
import pytest

from monitor import shipped
from monitor.cli import main
from tests.cli.command import uptoken
from tests.cli.written import NOWHERE, database, model

SECRET = "sk-check-9f31c77a20"


@pytest.fixture
def priced(write):
    return write(
        model("acme", NOWHERE, slugs=("one", "two")),
        '[provider.free]\nprotocol = "openai-chat"\nbase_url = "http://127.0.0.1:9/v1"\n'
        '[[provider.free.endpoints]]\nmodel = "mystery"\n'
        '[[provider.free.endpoints]]\nmodel = "off"\nenabled = false\n',
    )


def test_a_good_file_is_ok_and_its_cost_is_told(priced, capsys):
    assert main(["check", "--config", str(priced)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"{priced}: ok, 3 endpoints (1 more switched off), 2 providers, 0 channels"
    rows = {line.split()[0]: line.split() for line in said if "/" in line or line.startswith("total")}
    assert rows["acme/one"][1:3] == ["1m", "43,200"]
    assert rows["acme/one"][3].startswith("$")
    assert rows["free/mystery"] == ["free/mystery", "1m", "43,200", "–"]
    assert "free/off" not in rows
    assert said[-1] == "1 model has no price, so the total is too low: free/mystery"


def test_the_same_as_json_has_exact_money(priced, capsys):
    assert main(["check", "--json", "--config", str(priced)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is True
    assert (told["endpoints"], told["disabled"], told["providers"]) == (3, 1, 2)
    one, two, free = told["cost"]["endpoints"]
    assert one == {"id": "acme/one", "probes": 43_200, "usd": two["usd"]}
    assert free == {"id": "free/mystery", "probes": 43_200, "usd": None}
    assert float(told["cost"]["usd"]) == pytest.approx(2 * float(one["usd"]))
    assert told["cost"]["unpriced"] == ["free/mystery"]
    assert told["secrets"] is None


def test_it_tells_which_canaries_are_in_force(priced, write, capsys):
    assert main(["check", "--config", str(priced)]) == 0
    told = "canaries, asked only when something fails: "
    assert f"{told}1.1.1.1:443, 8.8.8.8:443, 9.9.9.9:443, one.one.one.one:443, dns.google:443\n" in (
        capsys.readouterr().out
    )
    none = write(model("acme", NOWHERE), "[canary]\naddresses = []\n")
    assert main(["check", "--config", str(none)]) == 0
    assert f"{told}none" in capsys.readouterr().out


def test_every_problem_is_told_at_once_with_line_key_and_suggestion(write, capsys):
    path = write("[site]", 'nam = "x"', "[defaults]", 'interval = "60"', 'tiemout = "5s"')
    assert main(["check", "--config", str(path)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [
        f'{path}:2: site.nam: unknown key; did you mean "name"?',
        f'{path}:4: defaults.interval: "60" is not a duration such as "30s"',
        f'{path}:5: defaults.tiemout: unknown key; did you mean "timeout"?',
    ]


def test_problems_as_json_are_also_on_stderr(write, capsys):
    path = write("[site]", 'nam = "x"')
    assert main(["check", "--json", "--config", str(path)]) == 2
    said = capsys.readouterr()
    told = json.loads(said.out)
    assert told["ok"] is False
    assert (
        told["problems"]
        == said.err.splitlines()
        == [f'{path}:2: site.nam: unknown key; did you mean "name"?']
    )


def test_a_channel_that_apprise_cannot_read_is_refused(write, tmp_path):
    path = write("[channel.ops]", 'url = "slakc://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"')
    refused = uptoken("check", "--config", path, cwd=tmp_path)
    assert refused.status == 2
    assert refused.error == f"{path}:2: channel.ops.url: is not a URL that Apprise can read"


def test_secrets_are_looked_for_only_when_asked(write, tmp_path):
    path = write(model("acme", NOWHERE, more='headers = { X-Key = "${env:ACME_KEY}" }'))
    assert uptoken("check", "--config", path, cwd=tmp_path).status == 0
    without = uptoken("check", "--secrets", "--config", path, cwd=tmp_path)
    assert without.status == 2
    assert without.error == (
        f"{path}:9: provider.acme.endpoints[0].headers.X-Key: the environment variable ACME_KEY is not set"
    )
    found = uptoken("check", "--secrets", "--config", path, cwd=tmp_path, env={"ACME_KEY": SECRET})
    assert found.status == 0
    assert "1 secret found\n" in found.out
    assert SECRET not in found.out + found.err


def test_connect_opens_the_database_and_looks_at_every_channel(write, tmp_path):
    path = write('[channel.ops]\nurl = "${env:OPS}"\n[channel.here]\nurl = "console://"\n')
    env = {"OPS": f"json://user:{SECRET}@127.0.0.1:9/hook/{SECRET}"}
    found = uptoken("check", "--connect", "--config", path, cwd=tmp_path, env=env)
    assert found.status == 0
    assert f"sqlite:///{tmp_path}/var/uptoken.db: not there yet; `uptoken run` makes it" in found.out
    assert 'channel "ops": JSON, json://127.0.0.1:9/…' in found.out
    assert 'channel "here": Console, console://' in found.out
    assert SECRET not in found.out + found.err
    assert not (tmp_path / "var").exists()


def test_connect_refuses_a_channel_that_only_its_secret_makes_unreadable(write, tmp_path):
    path = write('[channel.ops]\nurl = "${env:OPS}"\n')
    found = uptoken("check", "--connect", "--config", path, cwd=tmp_path, env={"OPS": SECRET})
    assert found.status == 2
    assert found.error == f"{path}:2: channel.ops.url: is not a URL that Apprise can read"
    assert f"{path}: not ready" in found.out


def test_connect_tells_what_version_the_database_has(write, database_url, capsys):
    path = write(database(database_url))
    main(["db", "upgrade", "--config", str(path)])
    assert main(["check", "--connect", "--config", str(path)]) == 0
    assert "schema is up to date" in capsys.readouterr().out


def test_a_database_that_cannot_be_reached_is_a_problem(write, capsys):
    path = write('[database]\nurl = "postgresql://u:hunter2pass@127.0.0.1:1/x"\n')
    assert main(["check", "--connect", "--json", "--config", str(path)]) == 2
    said = capsys.readouterr()
    assert said.err == "PostgreSQL at 127.0.0.1:1/x refuses connections\n"
    assert json.loads(said.out)["problems"] == said.err.splitlines()
    assert "hunter2pass" not in said.out


def test_the_schema_describes_the_shipped_config(capsys):
    assert main(["schema"]) == 0
    described = json.loads(capsys.readouterr().out)
    jsonschema.validate(tomllib.loads(shipped.path("config.toml").read_text()), described)
