"""Commands that the pages tell people to type are there."""

import os
import re
import subprocess
from collections.abc import Iterator

import click
import pytest

from monitor import __version__
from monitor.cli import COMMANDS, uptoken
from monitor.core.outcome import Outcome
from tests.docs.pages import README, TOP, Page, code, pages

PAGES = pages()
TYPED = re.compile(r"(?:^|^[$#] |bin/)uptoken((?: +[^\s/#\\`|][^\s#\\`|]*)+)", re.MULTILINE)


def typed() -> Iterator[str]:
    """What follows the word `uptoken` wherever somebody is told to type it."""
    for page in PAGES:
        texts = [*code(page.prose), *page.blocks("console")]
        for text in texts:
            yield from (arguments.strip() for arguments in TYPED.findall(text.replace("\\\n", " ")))


COMMAND_LINES = sorted(set(typed()))


def command_of(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that the words name, and what is left of them."""
    context = click.Context(uptoken)
    command: click.Command = uptoken
    while isinstance(command, click.Group) and words:
        found = command.get_command(context, words[0])
        assert found is not None, f"there is no command {words[0]}"
        command, words = found, words[1:]
    return command, words


def test_the_pages_tell_of_many_commands():
    assert len(COMMAND_LINES) > 20


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_a_command_is_there_with_its_options(line: str):
    command, rest = command_of(line.split())
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in rest if re.match(r"--[a-z]", word)} <= known


def test_what_make_is_told_to_do_is_in_the_makefile():
    targets = set(re.findall(r"^([a-z]+):", (TOP / "Makefile").read_text(), re.MULTILINE))
    typed = [block for page in PAGES for block in (*page.blocks("console"), *page.blocks(""))]
    told = {
        target for block in typed for target in re.findall(r"^(?:\$ )?make ([a-z]+)", block, re.MULTILINE)
    }
    assert {"run", "test"} <= told <= targets


def test_the_readme_begins_with_the_two_commands():
    first = Page(README).blocks("console")[0]
    assert [line.split("#")[0].strip() for line in first.splitlines()] == ["$ make run", "$ make test"]


def test_an_editor_that_needs_an_option_opens_the_config():
    (line,) = re.findall(r"^\$ (.*EDITOR.*)$", "".join(Page(README).blocks("console")), re.MULTILINE)
    done = subprocess.run(
        ["sh", "-c", line],
        env={**os.environ, "EDITOR": "echo --wait"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "--wait mine/config.toml\n"


def test_the_readme_leads_to_every_page():
    links = {
        (README.parent / link.partition("#")[0]).resolve() for link in Page(README).links if "://" not in link
    }
    assert {page.path for page in PAGES} - {README} <= links


def test_the_example_of_the_readme_has_ten_lines():
    assert [len(example.splitlines()) for example in Page(README).blocks("toml")] == [10]


def test_the_changelog_tells_of_this_version_and_of_every_command():
    text = (TOP / "CHANGELOG.md").read_text()
    assert __version__ in text
    told = set(code(text))
    assert all(name in told or f"{name} test" in told for name in COMMANDS)
    assert f"one of {len(Outcome)} outcomes" in " ".join(text.split())
