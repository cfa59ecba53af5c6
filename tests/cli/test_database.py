"""`db`: making the database, telling its version, forgetting old results."""

import json
import sqlite3

import psycopg
import pytest

from monitor.cli import main
from monitor.core.outcome import Outcome
from monitor.store import migrate
from tests.cli.command import unprivileged, uptoken
from tests.cli.stored import daemon_was_here
from tests.cli.written import NOWHERE, database, model


def test_upgrade_makes_the_database_once(write, database_url, capsys):
    path = write(database(database_url))
    assert main(["db", "upgrade", "--json", "--config", str(path)]) == 0
    assert main(["db", "upgrade", "--json", "--config", str(path)]) == 0
    first, second = capsys.readouterr().out.split("}\n", 1)
    first, second = json.loads(first + "}"), json.loads(second)
    assert first["added"] == list(migrate.versions())
    assert second["added"] == []
    assert first["version"] == second["version"] == migrate.head()


def test_current_compares_with_what_this_program_knows(write, database_url, capsys):
    path = write(database(database_url))
    main(["db", "upgrade", "--config", str(path)])
    capsys.readouterr()
    assert main(["db", "current", "--config", str(path)]) == 0
    assert capsys.readouterr().out.endswith(f": version {migrate.head()}, the newest\n")


def test_a_relative_database_lies_in_the_state_folder(write, tmp_path):
    path = write()
    made = uptoken(
        "db", "upgrade", "--config", path, cwd=tmp_path, env={"UPTOKEN_STATE": str(tmp_path / "s")}
    )
    assert made.status == 0
    assert (tmp_path / "s" / "uptoken.db").exists()


@pytest.mark.parametrize("words", [("db", "upgrade"), ("status",), ("db", "current")], ids=" ".join)
def test_a_folder_that_may_not_be_entered_is_one_line_that_names_it(words, write, tmp_path):
    path = write(model("acme", NOWHERE))
    state = tmp_path / "theirs"
    state.mkdir(mode=0)
    ended = unprivileged(*words, "--config", path, cwd=tmp_path, env={"UPTOKEN_STATE": str(state)})
    assert ended.status == 1
    assert ended.error == f"SQLite at {state}/uptoken.db cannot be opened: Permission denied"


NEEDS_ONE = [
    ["status"],
    ["status", "acme/one"],
    ["report"],
    ["incidents"],
    ["db", "current"],
    ["db", "prune"],
    ["pause", "acme/one"],
    ["resume", "acme/one"],
    ["maintenance", "list"],
    ["maintenance", "end", "m-1"],
    ["maintenance", "add", "--endpoints", "acme/*", "--for", "1h"],
]


@pytest.mark.parametrize("words", NEEDS_ONE, ids=" ".join)
def test_without_a_database_there_is_one_line_and_none_is_made(words, write, tmp_path, capsys):
    path = write(database(f"sqlite:///{tmp_path}/none.db"), model("acme", NOWHERE))
    assert main([*words, "--config", str(path)]) == 1
    said = capsys.readouterr()
    assert said.err == f"no database at {tmp_path}/none.db\n"
    assert said.out == ""
    assert [file.name for file in tmp_path.iterdir()] == ["config.toml"]


def test_a_postgresql_database_that_is_not_there_is_none_either(write, postgres, capsys):
    path = write(database(postgres.url("nobody_made_it")), model("acme", NOWHERE))
    assert main(["status", "--config", str(path)]) == 1
    assert capsys.readouterr().err.startswith("no database at ")


def test_an_empty_postgresql_database_is_none_either(write, postgres_url, capsys):
    path = write(database(postgres_url), model("acme", NOWHERE))
    assert main(["status", "--config", str(path)]) == 1
    assert capsys.readouterr().err.startswith("no database at ")


def test_a_newer_schema_is_left_alone(write, tmp_path, capsys):
    path = write(database(f"sqlite:///{tmp_path}/new.db"), model("acme", NOWHERE))
    main(["db", "upgrade", "--config", str(path)])
    with sqlite3.connect(tmp_path / "new.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    capsys.readouterr()
    for words in (["status"], ["db", "upgrade"], ["db", "prune"]):
        assert main([*words, "--config", str(path)]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert "version 9999 of the schema, made by a newer uptoken" in line
    assert main(["db", "current", "--config", str(path)]) == 0
    assert "made by a newer uptoken" in capsys.readouterr().out


def test_a_view_of_somebodys_own_that_is_in_the_way_of_an_upgrade_is_one_line(write, postgres_url, capsys):
    path = write(database(postgres_url), model("acme", NOWHERE))
    main(["db", "upgrade", "--config", str(path)])
    with psycopg.connect(postgres_url) as connection:
        # As a program of the version before left it.
        connection.execute("DROP INDEX ix_gap_last, ix_incident_update_at, ix_quiet_starts, ix_quiet_ends")
        connection.execute("UPDATE alembic_version SET version_num = '0002'")
        connection.execute("CREATE VIEW mine AS SELECT endpoint FROM uptoken_probe")
    capsys.readouterr()
    assert main(["db", "upgrade", "--config", str(path)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "something depends on it: view public.mine; drop what depends on it" in line
    running = uptoken("run", "--config", path, cwd=path.parent)
    assert running.status == 1
    assert running.error == line


def test_prune_forgets_what_is_older(write, database_url, capsys):
    path = write(database(database_url), model("acme", NOWHERE))
    daemon_was_here(database_url, {"acme/one": [Outcome.OK] * 30})
    assert main(["db", "prune", "--json", "--config", str(path)]) == 0
    assert json.loads(capsys.readouterr().out)["removed"] == 0
    assert main(["db", "prune", "--keep", "10m", "--json", "--config", str(path)]) == 0
    assert json.loads(capsys.readouterr().out)["removed"] == 20
    assert main(["status", "acme/one", "--json", "--config", str(path)]) == 0
    (one,) = json.loads(capsys.readouterr().out)["endpoints"]
    assert one["windows"]["1h"]["counts"]["ok"] == 10
