"""What is wrong with the file, and how it is said."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

KeyPath = tuple[str | int, ...]
"""Keys and positions from the top of the file, e.g. `("provider", "openai", "endpoints", 0)`."""

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_LONGEST = 40
_LONGEST_NAME = 100
_WORDS = re.compile(r"(?:[A-Za-z]{1,16}|[A-Za-z0-9]{1,8})(?:[._-]+(?:[A-Za-z]{1,16}|[A-Za-z0-9]{1,8}))*")
_TELLING = re.compile(
    r"""://                                              # a URL, whose path or login is often a key
    | :[^@\s]+@ | :\s                                    # a login; a header written as one text
    | \b(?:bearer|basic)\s
    | \bsk-\S{4} | \b(?:AIza|eyJ|xox[a-z]-|gh[a-z]_|glpat-)\S{8}
    | \b(?:sk|pk|rk|gsk|hf|xai|key|github_pat)[-_](?=\S*[0-9])\S{16}
    | [0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-              # a UUID
    | (?=[a-z]*[0-9])(?=[0-9]*[a-z])[a-z0-9]{20}        # letters and digits, no break: random
    """,
    re.IGNORECASE | re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, or doubtful, in the file. `line` counts from 1."""

    file: str
    line: int
    key: str
    """Where it stands: `provider.openai.endpoints[0].interval`; empty where there is no key."""
    text: str

    def __str__(self) -> str:
        key = f"{self.key}: " if self.key else ""
        file = "".join(one if one.isprintable() else _visible(one) for one in self.file)
        return f"{file}:{self.line}: {key}{self.text}"


class ConfigError(Exception):
    """The file cannot be used. Carries every problem, in the file's order."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = sorted(problems, key=lambda problem: problem.line)
        super().__init__("\n".join(map(str, self.problems)))


def tells_too_much(text: str) -> bool:
    """Whether a text, wherever it stands, may be or hold a secret: no message repeats it.

    A secret in a wrong place is a usual slip, and nothing but its look tells it from a value.
    """
    return len(text) > _LONGEST or _TELLING.search(text) is not None


def key_path(path: KeyPath) -> str:
    """The path as one writes it: `provider.openai.endpoints[0].headers."X Title"`.

    A part that may be a secret is `…`.
    """
    out = ""
    for part in path:
        if isinstance(part, int):
            out += f"[{part}]"
        else:
            out += f".{_key(part)}" if out else _key(part)
    return out


def _key(part: str) -> str:
    if tells_too_much(part) and not _is_long_name(part):
        return "…"
    return part if _BARE.fullmatch(part) else f'"{visible(part)}"'


def _is_long_name(part: str) -> bool:
    """Words and short numbers, with a break between them as random letters hardly have it."""
    fits = len(part) <= _LONGEST_NAME and _WORDS.fullmatch(part) is not None
    return fits and _TELLING.search(part) is None


def visible(text: str) -> str:
    """The text on one line, as it stands between quotes."""
    return "".join(map(_visible, text))


def _visible(character: str) -> str:
    if character == '"':
        return '\\"'
    return character if character.isprintable() else character.encode("unicode_escape").decode()
