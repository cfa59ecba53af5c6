"""The config.toml that `uptoken init` writes."""

import re

import pytest

from monitor.config.load import load
from monitor.config.template import write_template
from monitor.protocols import settings_registry
from tests.config.files import NOW


def test_it_loads_as_it_is_and_says_what_to_do(tmp_path):
    config = load(write_template(tmp_path), settings_registry(), NOW)
    assert [problem.text for problem in config.warnings] == [
        "nothing is watched yet: add [[provider.NAME.endpoints]]"
    ]


def test_it_loads_with_every_example_switched_on(tmp_path):
    path = write_template(tmp_path)
    path.write_text(re.sub(r"^#(?=[^ #\n])", "", path.read_text(), flags=re.MULTILINE))
    config = load(path, settings_registry(), NOW)
    assert config.warnings == ()
    assert {
        "openai",
        "azure",
        "anthropic",
        "google",
        "gateway",
        "zenmux",
        "openrouter",
        "own",
    } <= config.providers.keys()
    assert not any(provider.startswith("sim-") for provider in config.providers)


def test_it_is_written_into_a_new_folder(tmp_path):
    assert write_template(tmp_path / "etc" / "uptoken").exists()


def test_it_never_overwrites(tmp_path):
    mine = tmp_path / "config.toml"
    mine.write_text("mine")
    with pytest.raises(FileExistsError):
        write_template(tmp_path)
    assert mine.read_text() == "mine"


def test_its_lines_are_short(tmp_path):
    assert max(map(len, write_template(tmp_path).read_text().splitlines())) <= 105
