"""How commands are found, called wrongly, and how all of them end."""

import os
import subprocess
import sys
import time

import click
import pytest

from monitor import __version__
from monitor.cli import COMMANDS, main
from monitor.cli import uptoken as group
from monitor.cli.failure import Failure
from tests.cli.command import environment, unprivileged, uptoken
from tests.cli.written import NOWHERE, model


def leaves() -> list[list[str]]:
    """Every command by its words, `alert test` among them."""
    found: list[list[str]] = []
    with click.Context(group) as context:
        for name in COMMANDS:
            command = group.get_command(context, name)
            inner = list(command.commands) if isinstance(command, click.Group) else []
            found += [[name, each] for each in inner] or [[name]]
    return found


LEAVES = leaves()


def test_the_commands_are_those_that_were_promised():
    promised = "run serve probe status report incidents evidence check init schema alert db maintenance pause resume demo version"
    assert set(COMMANDS) == set(promised.split())


def test_help_comes_at_once(tmp_path):
    uptoken("--help", cwd=tmp_path)
    took = []
    for _ in range(5):
        began = time.monotonic()
        ended = uptoken("--help", cwd=tmp_path)
        took.append(time.monotonic() - began)
        assert ended.status == 0
    assert min(took) < 0.25


def test_help_names_every_command_and_loads_none():
    find = (
        "import sys; from monitor.cli import main; main(['--help']); sys.stderr.write(' '.join(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", find], capture_output=True, text=True, env=environment(), check=True
    )
    assert all(f"  {name} " in done.stdout for name in COMMANDS)
    assert not {"sqlalchemy", "pydantic", "httpx", "apprise", "rich"} & set(done.stderr.split())


@pytest.mark.parametrize("words", LEAVES, ids=" ".join)
def test_every_command_helps_and_takes_a_config(words, capsys):
    assert main([*words, "--help"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"Usage: uptoken {' '.join(words)}")
    assert "--config FILE" in said


@pytest.mark.parametrize("words", LEAVES, ids=" ".join)
def test_whatever_prints_a_result_prints_it_as_json(words):
    command = group
    for word in words:
        with click.Context(command) as context:
            command = command.get_command(context, word)
    stays_or_is_json = {"run", "serve", "demo", "init", "schema"}
    names = {name for option in command.params for name in option.opts}
    assert ("--json" in names) is (words[0] not in stays_or_is_json)


@pytest.mark.parametrize(
    ("words", "status", "line"),
    [
        (["prob"], 2, "uptoken: no such command: prob; did you mean probe? (see uptoken --help)"),
        (["xyzzy"], 2, "uptoken: no such command: xyzzy (see uptoken --help)"),
        (["--quick"], 2, "uptoken: no such option '--quick' (see uptoken --help)"),
        (["check", "--jsn"], 2, "uptoken check: no such option '--jsn'. Did you mean '--json'? (see uptoken check --help)"),
        (["alert", "tst"], 2, "uptoken alert: no such command: tst; did you mean test? (see uptoken alert --help)"),
        (["report", "--window", "3d"], 2, "uptoken report: invalid value for '--window': '3d' is not one of '1h', '24h', '7d', '30d', '90d' (see uptoken report --help)"),
        (["pause"], 2, "uptoken pause: missing argument 'PATTERN...' (see uptoken pause --help)"),
        (["db", "prune", "--keep", "ten"], 2, 'uptoken db prune: invalid value for \'--keep\': "ten" is not a duration such as "30s" (see uptoken db prune --help)'),
        (["demo", "--speed", "nan"], 2, "uptoken demo: invalid value for '--speed': nan is not a finite number (see uptoken demo --help)"),
        (["probe"], 3, "uptoken probe: missing argument 'ID' (see uptoken probe --help)"),
        (["probe", "a/b", "--jsn"], 3, "uptoken probe: no such option '--jsn'. Did you mean '--json'? (see uptoken probe --help)"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)  # fmt: skip
def test_a_wrong_call_is_one_line_that_says_what_would_be_right(words, status, line, capsys):
    assert main(words) == status
    said = capsys.readouterr()
    assert said.err == f"{line}\n"
    assert said.out == ""


@pytest.mark.parametrize(
    "words", [[], ["db"], ["maintenance"], ["alert"]], ids=lambda words: " ".join(words) or "-"
)
def test_half_a_command_is_answered_with_its_help(words, capsys):
    assert main(words) == 2
    assert capsys.readouterr().err.startswith(f"Usage: {' '.join(['uptoken', *words])}")


@pytest.mark.parametrize(
    "words", [["--config", "{}", "check"], ["check", "--config", "{}"], ["check", "--config={}"]]
)
def test_config_may_stand_before_or_after_the_command(words, write, capsys):
    path = write()
    assert main([word.format(path) for word in words]) == 0
    assert capsys.readouterr().out.startswith(f"warning {path}:1: nothing is watched yet")


def test_config_may_stand_in_the_middle_of_a_group(write, capsys):
    path = write('[database]\nurl = "sqlite:////nowhere/at/all.db"\n')
    assert main(["db", "--config", str(path), "current"]) == 1
    assert capsys.readouterr().err == "no database at /nowhere/at/all.db\n"


def test_the_config_is_also_found_by_the_environment_and_in_the_folder(write, tmp_path):
    path = write("[sit]\n")
    by_name = uptoken("check", cwd=tmp_path.parent, env={"UPTOKEN_CONFIG": str(path)})
    in_folder = uptoken("check", cwd=tmp_path)
    assert by_name.error == f'{path}:1: sit: unknown key; did you mean "site"?'
    assert in_folder.error == 'config.toml:1: sit: unknown key; did you mean "site"?'
    assert (by_name.status, in_folder.status) == (2, 2)


def test_the_version_is_told(capsys):
    assert main(["version"]) == main(["--version"]) == 0
    assert capsys.readouterr().out == f"uptoken {__version__}\n" * 2


def test_the_version_as_json_names_what_it_stands_on(tmp_path):
    told = uptoken("version", "--json", cwd=tmp_path).json
    assert told["version"] == __version__
    assert {"httpx", "apscheduler", "apprise"} <= told["libraries"].keys()


def test_a_failure_carries_its_lines_and_its_exit_code():
    failure = Failure(["one", "two"], 2)
    assert failure.lines == ["one", "two"]
    assert failure.exit_code == 2


def test_a_reader_that_goes_away_is_no_error(tmp_path):
    command = f"{sys.executable} -m monitor schema | head -1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], env=environment(), cwd=tmp_path, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.stderr == ""
    assert done.returncode == 0


def test_a_config_in_a_folder_that_may_not_be_entered_is_one_line(tmp_path):
    theirs = tmp_path / "theirs"
    theirs.mkdir(mode=0)
    ended = unprivileged("check", cwd=tmp_path, env={"UPTOKEN_CONFIG": str(theirs / "config.toml")})
    assert ended.status == 2
    assert ended.error == f"{theirs}/config.toml:1: cannot be read: Permission denied"


def shell(command, folder):
    return subprocess.run(
        ["bash", "-c", command], env=environment(), cwd=folder, capture_output=True, text=True, check=False
    )


def unread(*words, folder):
    """A command whose reader has gone before it says anything."""
    ours, theirs = os.pipe()
    os.close(ours)
    command = [sys.executable, "-m", "monitor", *map(str, words)]
    ended = subprocess.run(
        command, stdout=theirs, stderr=subprocess.PIPE, env=environment(), cwd=folder, text=True, check=False
    )
    os.close(theirs)
    return ended


@pytest.mark.parametrize("words", [["check", "--connect"], ["check", "--connect", "--json"]], ids=len)
def test_a_reader_that_goes_away_does_not_make_a_bad_config_good(words, write, tmp_path):
    path = write(model("acme", NOWHERE), '[channel.ops]\nurl = "${env:OPS_CHANNEL}"\n')
    ended = unread(*words, "--config", path, folder=tmp_path)
    assert ended.returncode == 2
    assert ended.stderr.endswith("channel.ops.url: the environment variable OPS_CHANNEL is not set\n")


def test_a_reader_that_goes_away_does_not_make_a_probe_good(write, tmp_path):
    ended = unread("probe", "acme/one", "--config", write(model("acme", NOWHERE)), folder=tmp_path)
    assert ended.returncode in (2, 3)  # 3 on a machine that is too busy to time it
    assert ended.stderr == ""


@pytest.mark.parametrize("errors", ["", "2>/dev/full"])
@pytest.mark.parametrize(("words", "status"), [("check", 2), ("probe acme/one", 3), ("status", 2)])
def test_who_does_not_read_what_is_wrong_still_gets_the_exit_code(words, status, errors, write, tmp_path):
    path = write("[sit]\n")
    ours, theirs = os.pipe()
    os.close(ours)
    told = subprocess.run(
        ["bash", "-c", f"exec {sys.executable} -m monitor {words} --config {path} {errors}"],
        env=environment(), cwd=tmp_path, stdout=subprocess.PIPE, stderr=theirs, text=True, check=False,
    )  # fmt: skip
    os.close(theirs)
    assert (told.returncode, told.stdout) == (status, "")


def test_a_full_disk_is_one_line(tmp_path):
    told = shell(f"{sys.executable} -m monitor schema >/dev/full", tmp_path)
    assert (told.returncode, told.stderr) == (1, "the output cannot be written: No space left on device\n")


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_who_closes_the_outputs_hears_nothing_and_still_gets_the_exit_code(closed, write, tmp_path):
    path = write(model("acme", NOWHERE))
    for words, status in (("check", 0), ("status", 1)):
        told = shell(f"{sys.executable} -m monitor {words} --config {path} {closed}", tmp_path)
        assert told.returncode == status
