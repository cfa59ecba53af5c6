"""Each file in bad/ ends with the exact lines that an operator reads about it."""

import re
from pathlib import Path

import pytest

from monitor.config.load import ConfigError, load
from tests.config.files import NOW
from tests.config.protocols import PROTOCOLS

BAD = sorted((Path(__file__).parent / "bad").glob("*.toml"))


def readable(url):
    return "Apprise cannot read this URL" if url.startswith("unreadable:") else None


def expected(path):
    text = path.read_bytes().decode(errors="replace")
    return [f"{path}:{line}" for line in re.findall(r"^#> (.*)$", text, re.MULTILINE)]


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_a_bad_file_is_refused_with_all_that_is_wrong_in_it(path):
    with pytest.raises(ConfigError) as refusal:
        load(path, PROTOCOLS, NOW, readable)
    assert [str(problem) for problem in refusal.value.problems] == expected(path)


def test_there_are_many_ways_to_be_wrong():
    assert len(BAD) >= 40
    assert all(expected(path) for path in BAD)


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_no_message_repeats_what_may_be_a_secret(path):
    assert not any("confidential" in line for line in expected(path))


def test_problems_come_in_the_order_of_the_file():
    for path in BAD:
        with pytest.raises(ConfigError) as refusal:
            load(path, PROTOCOLS, NOW, readable)
        lines = [problem.line for problem in refusal.value.problems]
        assert lines == sorted(lines)


def test_a_file_that_is_not_there_says_how_to_make_one(tmp_path):
    with pytest.raises(ConfigError) as refusal:
        load(tmp_path / "config.toml", PROTOCOLS, NOW)
    assert str(refusal.value) == f"{tmp_path}/config.toml:1: no such file: `uptoken init` writes one"


def test_a_path_with_a_line_break_is_still_told_on_one_line(tmp_path):
    with pytest.raises(ConfigError) as refusal:
        load(tmp_path / "a\nb", PROTOCOLS, NOW)
    assert str(refusal.value) == f"{tmp_path}/a\\nb:1: no such file: `uptoken init` writes one"


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(ConfigError) as refusal:
        load(tmp_path, PROTOCOLS, NOW)
    assert str(refusal.value) == f"{tmp_path}:1: cannot be read: Is a directory"


def test_absurd_nesting_is_refused_and_not_a_crash(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text("[site]\nname = " + "[" * 50_000)
    with pytest.raises(ConfigError):
        load(path, PROTOCOLS, NOW)
