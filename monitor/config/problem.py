"""What is wrong with the file, and how it is said."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

KeyPath = tuple[str | int, ...]
"""Keys and positions from the top of the file, e.g. `("provider", "openai", "endpoints", 0)`."""

_BARE = re.compile(r"[A-Za-z0-9_-]+")


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
        return f"{self.file}:{self.line}: {key}{self.text}"


class ConfigError(Exception):
    """The file cannot be used. Carries every problem, in the file's order."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = sorted(problems, key=lambda problem: problem.line)
        super().__init__("\n".join(map(str, self.problems)))


def key_path(path: KeyPath) -> str:
    """The path as one writes it: `provider.openai.endpoints[0].headers."X Title"`."""
    out = ""
    for part in path:
        if isinstance(part, int):
            out += f"[{part}]"
        else:
            name = part if _BARE.fullmatch(part) else '"' + part.encode("unicode_escape").decode() + '"'
            out += f".{name}" if out else name
    return out
