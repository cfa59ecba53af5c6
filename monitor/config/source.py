"""The file itself: its plain tree, its syntax errors, and the line of every key.

`tomllib` says what the values are, but not where. A tree with positions (tomlkit) takes
fifteen times as long and has no line numbers either, so a scanner looks for the keys alone. It
runs only when something is to be said, over a text that `tomllib` has accepted.
"""

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from monitor.config.problem import ConfigError, KeyPath, Problem, key_path

_AT = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")
_STATEMENT = re.compile(r"""\s*(?:[\w.-]|"[^"]*"|'[^']*')+\s*=""", re.ASCII)
_TABLE = re.compile(r"""\s*(\[\[?)([^\[\]"'\\]+)(\]{0,2})\s*""")
_BEGUN = re.compile(r"\s*(?:\[\[[\w.-]+\]\]|\[[\w.-]+\])(?=\s*[^\s,\[\]])", re.ASCII)
_OPENED = re.compile(r"\s*(\[{1,2})")
_TOKEN = re.compile(
    r'''"""(?:\\.|[^\\])*?(?:"{3,5}|\Z)|\'\'\'.*?(?:\'{3,5}|\Z)|"(?:\\.|[^"\\\n])*"|'[^'\n]*'|\#[^\n]*|\n|[\[\]{},=.]|[^\s"'#\[\]{},=.]+''',
    re.DOTALL,
)
_DATE = re.compile(r"=\s*[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[Tt ]|\s*(?:#|$))")
_NUMBER = re.compile(r"[0-9_]+")
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
    """Syntax errors. The tree is what remains; in the text their values are 0."""
    unread: tuple[KeyPath, ...] = ()
    """Where each of them stands."""

    @cached_property
    def _lines(self) -> dict[KeyPath, int]:
        lines: dict[KeyPath, int] = {}
        for path, line in _keys(self.text):
            lines.setdefault(path, line)
        return lines

    def line(self, path: KeyPath) -> int:
        """Where the key stands; where its table does if the key is not there; else 1."""
        for end in range(len(path), 0, -1):
            if path[:end] in self._lines:
                return self._lines[path[:end]]
        return 1

    def lacks_a_line_of(self, path: KeyPath) -> bool:
        """Whether a key of that table is not in the tree, because its line could not be read."""
        return any(place[: len(path)] == path for place in self.unread)

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
    lines = text.split("\n")
    readable = list(lines)
    broken: dict[int, str] = {}
    while True:
        try:
            tree = tomllib.loads("\n".join(readable))
        except tomllib.TOMLDecodeError as error:
            number, words = _said(str(error), lines)
        except RecursionError:
            number, words = 1, "is nested too deeply"
        except ValueError:  # Python refuses to read so long a number, and does not say where it is
            number, words = _longest_number(lines), "the number is too large"
        else:
            unread = tuple(_places(lines, broken))
            return Source(file, "\n".join(lines), tree, tuple(_problems(file, unread, broken)), unread)
        # Behind a broken line, what is no statement is the rest of it, and so is all that follows.
        instead = None if number in broken else _instead(lines[number - 1], alone=number - 1 not in broken)
        broken[number] = words
        if instead is None or len(broken) >= _MOST_SYNTAX_ERRORS:
            raise ConfigError(_problems(file, _places(lines, broken), broken))
        lines[number - 1], readable[number - 1] = instead


def _instead(line: str, *, alone: bool) -> tuple[str, str] | None:
    """What to go on with in place of a broken line, to ask for its keys and to be read.

    None where other lines may belong to it, as they do to a table whose name cannot be read.
    """
    rest = re.sub(r"#.*", "", line)
    table = _TABLE.fullmatch(rest)
    if table:
        named = f"{table[1]}{'.'.join(map(_in_quotes, table[2].split('.')))}{table[1].replace('[', ']')}"
        return named, named
    if rest.count("[") != rest.count("]") or rest.count("{") != rest.count("}"):
        return None
    if '"""' in rest or "'''" in rest:
        return None
    begun = _BEGUN.match(rest)
    if begun:
        return begun[0], begun[0]
    if _OPENED.match(rest):
        return None
    key = _STATEMENT.match(line)
    if key:
        return f"{key[0]} 0", ""
    return ("", "") if alone else None


def _in_quotes(name: str) -> str:
    return name.strip() if _STATEMENT.match(f"{name} =") else f'"{name.strip()}"'


def _longest_number(lines: list[str]) -> int:
    digits = [max(map(len, _NUMBER.findall(line)), default=0) for line in lines]
    return digits.index(max(digits)) + 1


def _problems(file: str, places: Iterable[KeyPath], broken: Mapping[int, str]) -> Iterator[Problem]:
    for place, (number, words) in zip(places, broken.items(), strict=True):
        yield Problem(file, number, key_path(place), words)


def _places(lines: list[str], broken: Iterable[int]) -> Iterator[KeyPath]:
    """The table or key of each broken line."""
    places = {line: path for path, line in _keys("\n".join(lines))}
    for number in broken:
        # What is neither a statement nor a table may be anything: then only the table is named.
        named = (line for line in range(number, 0, -1) if line in places and _is_named(lines, line, number))
        yield places.get(next(named, 0), ())


def _is_named(lines: list[str], line: int, broken: int) -> bool:
    """The line is a table's, or it is the broken one and a statement."""
    text = lines[line - 1]
    return text.lstrip().startswith("[") or (line == broken and _STATEMENT.match(text) is not None)


def _said(error: str, lines: list[str]) -> tuple[int, str]:
    """The line of a syntax error, and our words for it."""
    at = _AT.search(error)
    if at and not at[1]:
        last = [line for _, line in _keys("\n".join(lines))][-1:]
        return (last or [1])[0], "the file ends in the middle of a value: a list, table or text is not closed"
    text = error[: at.start()] if at else error
    number = int(at[1]) if at else 1
    if _DATE.search(lines[number - 1]) and text.startswith(("Expected newline", "Invalid date")):
        return number, "there is no such date or time"
    if _is_closed(lines[number - 1]) and text.startswith(("Expected ']", "Invalid initial")):
        return number, "no such name of a table: put what is more than letters, digits, - and _ in quotes"
    if _BEGUN.match(lines[number - 1]) and text.startswith("Expected newline"):
        return number, "what stands behind the name of the table belongs on a line of its own"
    words = next((words for begin, words in _WORDS if text.startswith(begin)), None)
    return number, words or text[:1].lower() + text[1:]


def _is_closed(line: str) -> bool:
    """It begins and ends like a table, with as many brackets."""
    opened = _OPENED.match(line)
    rest = re.sub(r"#.*", "", line).rstrip()
    return opened is not None and rest.endswith(opened[1].replace("[", "]"))


def _tokens(text: str) -> Iterator[tuple[str, int]]:
    line = 1
    for match in _TOKEN.finditer(text):
        token = match[0]
        yield token, line
        line += token.count("\n")
    yield "\n", line


def _keys(text: str) -> Iterator[tuple[KeyPath, int]]:
    """Every table and every key, with its line; what holds it goes before it."""
    table: KeyPath = ()
    sizes: dict[KeyPath, int] = {}
    for words, line, value in _statements(_tokens(text)):
        if words[0] == "[":
            table = path = _table(words, sizes)
        else:
            path = table + _parts(words)
        yield from ((path[:end], line) for end in range(1, len(path) + 1))
        if any(at != line for _, at in value):
            yield from _within(path, value)


def _within(path: KeyPath, value: list[tuple[str, int]]) -> Iterator[tuple[KeyPath, int]]:
    """The members of lists and the keys of tables in a value that runs over several lines."""
    holders: list[tuple[KeyPath, int | None]] = []
    here, words = path, list[str]()
    for token, line in value:
        if not holders and token not in "[{":
            continue  # nothing is held, or the text cannot be read either
        if holders and holders[-1][1] is not None and token not in "],":  # a member of a list begins
            here = (*holders[-1][0], holders[-1][1])
            yield here, line
        if token in "[{":
            holders.append((here, 0 if token == "[" else None))
            words = []
        elif token in "]}":
            holders.pop()
        elif token == ",":
            holder, place = holders[-1]
            holders[-1] = (holder, None if place is None else place + 1)
            words = []
        elif token == "=":
            here = holders[-1][0] + _parts(words)
            yield here, line
        else:
            words.append(token)


def _statements(
    tokens: Iterator[tuple[str, int]],
) -> Iterator[tuple[list[str], int, list[tuple[str, int]]]]:
    """What stands before the `=` of each statement, or in the brackets of a table, with its line, and
    what stands behind it."""
    words: list[str] = []
    value: list[tuple[str, int]] = []
    start = depth = 0
    in_value = False
    for token, line in tokens:
        if token == "\n":
            if words and not (in_value and depth):
                yield words, start, value
                words, value, in_value = [], [], False
        elif token.startswith("#"):
            continue
        elif in_value:
            depth += (token in "[{") - (token in "]}")
            value.append((token, line))
        elif token == "=":
            in_value, depth = True, 0
        else:
            start = start if words else line
            words.append(token)
    if words:
        yield words, start, value


def _parts(words: list[str]) -> tuple[str, ...]:
    return tuple(_unquoted(word) for word in words if word not in ("[", "]", "."))


def _unquoted(word: str) -> str:
    if word[0] not in "\"'":
        return word
    try:
        return str(tomllib.loads(f"key = {word}")["key"])
    except tomllib.TOMLDecodeError:  # only in a text that could not be read either
        return word


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
