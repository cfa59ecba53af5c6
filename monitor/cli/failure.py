"""How a command ends badly: lines for a person, and an exit code for a program."""

from collections.abc import Iterable

FAILED = 1
USAGE = 2
UNDECIDED = 3
"""Of `probe` alone, as of every monitoring plugin: nothing is known about the provider."""


class ReaderGone(Exception):
    """Whoever read the output has seen enough. How the command ends was settled before."""

    def __init__(self, exit_code: int) -> None:
        self.exit_code = exit_code
        super().__init__(exit_code)


class Failure(Exception):
    """Ends the command. `lines` go to stderr as they are; they hold no secret."""

    def __init__(self, lines: str | Iterable[str], exit_code: int = FAILED) -> None:
        self.lines = [lines] if isinstance(lines, str) else list(lines)
        self.exit_code = exit_code
        super().__init__("\n".join(self.lines))
