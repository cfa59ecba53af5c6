"""`init`: the files it writes, and those that it leaves alone."""

import pytest

from monitor import shipped
from monitor.cli import main
from monitor.cli.configuring import SYSTEM_UNITS, UNITS
from tests.cli.command import uptoken
from tests.docs.pages import README, Page


def test_a_newcomer_gets_a_config_that_check_finds_right(tmp_path):
    made = uptoken("init", cwd=tmp_path)
    assert made.status == 0
    assert made.out.startswith("wrote config.toml\n")
    assert "uptoken check " in made.out
    assert uptoken("check", cwd=tmp_path).status == 0


def test_the_example_of_the_readme_stands_well_at_its_end(tmp_path):
    uptoken("init", cwd=tmp_path)
    (example,) = Page(README).blocks("toml")
    with (tmp_path / "config.toml").open("a") as file:
        file.write(example)
    checked = uptoken("check", cwd=tmp_path)
    assert checked.status == 0
    assert "warning" not in checked.out
    assert "openai/gpt-4.1-nano" in checked.out


def test_a_folder_is_made_and_named_in_what_to_do_next(tmp_path, capsys):
    assert main(["init", str(tmp_path / "a" / "b")]) == 0
    path = tmp_path / "a" / "b" / "config.toml"
    assert path.exists()
    assert f"uptoken check --config {path}" in capsys.readouterr().out


def test_nothing_is_overwritten(write, tmp_path, capsys):
    path = write("# mine\n")
    assert main(["init", str(tmp_path)]) == 1
    assert path.read_text() == "# mine\n"
    assert capsys.readouterr().err == f"{path} is there already, and nothing is overwritten\n"


@pytest.mark.parametrize("name", ["config.toml", *UNITS])
def test_with_one_of_the_files_there_none_is_written(name, tmp_path, capsys):
    (tmp_path / name).write_text("mine")
    assert main(["init", "--systemd", str(tmp_path)]) == 1
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert f"{tmp_path / name} is there already" in capsys.readouterr().err


def test_the_units_come_with_it(tmp_path, capsys):
    assert main(["init", "--systemd", str(tmp_path)]) == 0
    for name in UNITS:
        written = (tmp_path / name).read_text().splitlines()
        sent = shipped.path(f"systemd/{name}").read_text().splitlines()
        differing = [ours for ours, theirs in zip(written, sent, strict=True) if ours != theirs]
        assert all("/bin/uptoken" in line for line in differing)
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "config.toml").stat().st_mode & 0o777 == 0o644
    said = capsys.readouterr().out
    assert f"the units to {SYSTEM_UNITS}" in said
    assert "systemctl daemon-reload" in said


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["init", str(tmp_path / "file" / "folder")]) == 1
    assert capsys.readouterr().err == f"cannot write {tmp_path}/file/folder/config.toml: Not a directory\n"
