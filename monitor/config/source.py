"""The file itself: its plain tree, its syntax errors, and the line of every key.

`tomllib` says what the values are, but not where. A tree with positions (tomlkit) takes
fifteen times as long and has no line numbers either, so a scanner looks for the keys alone. It
runs only when something is to be said, over a text that `tomllib` has accepted.
"""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from monitor.config.problem import ConfigError, KeyPath, Problem, key_path

_AT = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")
_STATEMENT = re.compile(r"""\s*(?:[\w.-]|"[^"]*"|'[^']*')+\s*=""", re.ASCII)
_TOKEN = re.compile(
    r'''"""(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:\\.|[^"\\\n])*"|'[^'\n]*'|\#[^\n]*|\n|[\[\]{},=.]|[^\s"'#\[\]{},=.]+''',
    re.DOTALL,
)
_MOST_SYNTAX_ERRORS = 50
_WORDS = (
    ("Expected newline or end of document", "what follows the value cannot be read: put texts in quotes"),
    ("Invalid value", "the value cannot be read: put texts, durations and amounts in quotes"),
    ("Cannot overwrite", "this key stands here a second time: remove one of them"),
    ("Cannot mutate", "this table is already complete: remove one of the two places"),
    ("Cannot declare", "this table stands here a second time: put both together"),
    ("Expected '=' after", 'this is no key with a value: write it as key = "value"'),
    ("Invalid initial character for a key part", 'this is no key: write it as key = "value"'),
    ("Illegal character '\\n'", "the quotes are not closed on this line"),
    ("Unterminated string", "the quotes are not closed"),
    ("Expected ']' at the end of a table", "the name of the table is not closed by a ]"),
    ("Expected ']]' at the end of an array", "the name of the table is not closed by ]]"),
    ("Unclosed array", "the list is not closed by a ]"),
    ("Unclosed inline table", "the table is not closed by a } on the same line"),
)


@dataclass(frozen=True)
class Source:
    """A file that was read."""

    file: str
    text: str
    tree: dict[str, Any]
    problems: tuple[Problem, ...] = ()
    """Syntax errors. Text and tree are what remains; their lines are empty in it."""

    @cached_property
    def _lines(self) -> dict[KeyPath, int]:
        return dict(_keys(self.text))

    def line(self, path: KeyPath) -> int:
        """Where the key stands; where its table does if the key is not there; else 1."""
        for end in range(len(path), 0, -1):
            if path[:end] in self._lines:
                return self._lines[path[:end]]
        return 1

    def problem(self, path: KeyPath, text: str) -> Problem:
        return Problem(self.file, self.line(path), key_path(path), text)


def read(path: Path) -> Source:
    """The file and its tree. Raises ConfigError if there is nothing to look at."""
    file = str(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ConfigError([Problem(file, 1, "", "no such file: `uptoken init` writes one")]) from None
    except OSError as refused:
        raise ConfigError([Problem(file, 1, "", f"cannot be read: {refused.strerror}")]) from None
    try:
        text = data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as broken:
        line = data.count(b"\n", 0, broken.start) + 1
        raise ConfigError([Problem(file, line, "", "is not UTF-8: save the file as UTF-8")]) from None
    return parse(file, text)


def parse(file: str, text: str) -> Source:
    """The tree of the text. A line that cannot be read is left out and the rest is read on, so that
    one run tells everything; raises ConfigError where that would only lead to follow-up errors."""
    problems: list[Problem] = []
    lines = text.split("\n")
    while True:
        try:
            readable = "\n".join(lines)
            return Source(file, readable, tomllib.loads(readable), tuple(problems))
        except tomllib.TOMLDecodeError as error:
            number, words = _said(str(error), lines)
        except RecursionError:
            number, words = 1, "is nested too deeply"
        problems.append(Problem(file, number, "", words))
        if len(problems) >= _MOST_SYNTAX_ERRORS or not _stands_alone(lines[number - 1]):
            raise ConfigError(problems)
        lines[number - 1] = ""


def _said(error: str, lines: list[str]) -> tuple[int, str]:
    at = _AT.search(error)
    text = error[: at.start()] if at else error
    number = int(at[1]) if at and at[1] else len(lines)
    words = next((words for begin, words in _WORDS if text.startswith(begin)), None)
    return min(number, len(lines)), words or text[:1].lower() + text[1:]


def _stands_alone(line: str) -> bool:
    """It is a key with a value of its own, nothing that other lines belong to."""
    rest = re.sub(r"#.*", "", line)
    return bool(
        _STATEMENT.match(line)
        and '"""' not in rest
        and "'''" not in rest
        and rest.count("[") == rest.count("]")
        and rest.count("{") == rest.count("}")
    )


def _tokens(text: str) -> Iterator[tuple[str, int]]:
    line = 1
    for match in _TOKEN.finditer(text):
        token = match[0]
        yield token, line
        line += token.count("\n")
    yield "\n", line


def _keys(text: str) -> Iterator[tuple[KeyPath, int]]:
    """Every table, and every key outside of inline tables, with the line where it comes first."""
    table: KeyPath = ()
    sizes: dict[KeyPath, int] = {}
    seen: set[KeyPath] = set()
    for words, line in _statements(_tokens(text)):
        if words[0] == "[":
            table = path = _table(words, sizes)
        else:
            path = table + _parts(words)
        for end in range(1, len(path) + 1):
            if path[:end] not in seen:
                seen.add(path[:end])
                yield path[:end], line


def _statements(tokens: Iterator[tuple[str, int]]) -> Iterator[tuple[list[str], int]]:
    """What stands before the `=` of each statement, or in the brackets of a table, with its line."""
    words: list[str] = []
    start = depth = 0
    in_value = False
    for token, line in tokens:
        if token == "\n":
            if words and not (in_value and depth):
                yield words, start
                words, in_value = [], False
        elif token.startswith("#"):
            continue
        elif in_value:
            depth += (token in "[{") - (token in "]}")
        elif token == "=":
            in_value, depth = True, 0
        else:
            start = start if words else line
            words.append(token)


def _parts(words: list[str]) -> tuple[str, ...]:
    return tuple(_unquoted(word) for word in words if word not in ("[", "]", "."))


def _unquoted(word: str) -> str:
    return str(tomllib.loads(f"key = {word}")["key"]) if word[0] in "\"'" else word


def _table(words: list[str], sizes: dict[KeyPath, int]) -> KeyPath:
    """The path of a table, with its position in each list of tables on the way."""
    path: KeyPath = ()
    names = _parts(words)
    for place, name in enumerate(names, start=1):
        path += (name,)
        if words[1] == "[" and place == len(names):
            sizes[path] = sizes.get(path, 0) + 1
        if path in sizes:
            path += (sizes[path] - 1,)
    return path
