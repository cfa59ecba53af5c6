"""docs/commands.md says all that the commands can do, and no more."""

import re

import click
import pytest

from monitor.cli import COMMANDS, uptoken
from tests.docs.pages import page

PAGE = page("commands.md")
EVERYWHERE = {"--config", "--json", "--help"}


def section(command):
    """All that stands beneath a command's heading, its blocks of code included."""
    match = re.search(rf"^### {command}\n(.*?)(?=^##|\Z)", PAGE.text, re.MULTILINE | re.DOTALL)
    assert match, f"docs/commands.md has no section {command}"
    return match[1]


def loaded(name):
    with click.Context(uptoken) as context:
        command = uptoken.get_command(context, name)
    assert command is not None
    return command


def options(command):
    inner = command.commands.values() if isinstance(command, click.Group) else [command]
    return {name for each in inner for option in each.params for name in option.opts if name.startswith("--")}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_every_option_has_its_place(name):
    text, command = section(name), loaded(name)
    assert f"`uptoken {name}" in text
    assert {option for option in options(command) - EVERYWHERE if option not in text} == set()
    for inner in command.commands if isinstance(command, click.Group) else ():
        assert f"uptoken {name} {inner}" in text


@pytest.mark.parametrize("name", COMMANDS)
def test_no_option_is_named_that_does_not_exist(name):
    named = set(re.findall(r"`(--[a-z]+)", section(name)))
    assert named - EVERYWHERE <= options(loaded(name))


def test_the_sections_are_those_of_the_help():
    headings = re.findall(r"^### (\w+)$", PAGE.text, re.MULTILINE)
    assert headings == list(COMMANDS)
