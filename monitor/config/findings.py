"""Everything that is wrong or doubtful in one file, gathered while it is read."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from pydantic import ValidationError

from monitor.config.inherit import Shape, shape_of
from monitor.config.problem import KeyPath, Problem
from monitor.config.source import Source
from monitor.config.values import Table, kind_of
from monitor.config.wording import unknown_key, words

AnyTable = TypeVar("AnyTable", bound=Table)


class Findings:
    """Says each thing once, at the place where it stands."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._refused: dict[tuple[KeyPath, str], None] = {}
        self._doubted: dict[tuple[KeyPath, str], None] = {}

    def refuse(self, path: KeyPath, text: str) -> None:
        """The file cannot be used with this."""
        self._refused[path, text] = None

    def doubt(self, path: KeyPath, text: str) -> None:
        """The file can be used, but this should be known."""
        self._doubted[path, text] = None

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What forbids the use of the file; empty if nothing does."""
        refused = [self._source.problem(*one) for one in self._refused]
        # A name of a table that is wrong in quotes too is told once, in the words for that.
        places = {(one.line, f"{one.key}.") for one in refused}
        broken = (
            one
            for one in self._source.problems
            if not any(one.line == line and f"{one.key}.".startswith(key) for line, key in places)
        )
        return (*broken, *refused)

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """What should be known, in the file's order."""
        doubts = [self._source.problem(*one) for one in self._doubted]
        return tuple(sorted(doubts, key=lambda doubt: doubt.line))

    @property
    def has_unread(self) -> bool:
        """A line could not be read, so what is missing may stand there."""
        return bool(self._source.problems)

    def blame(
        self, error: ValidationError, shape: Shape, place: Callable[[KeyPath], KeyPath]
    ) -> list[KeyPath]:
        """Refuse what validation found wrong; returns what it found missing, which may stand elsewhere.

        `place` says where in the file a field comes from.
        """
        missing: list[KeyPath] = []
        for one in error.errors(include_url=False):
            keys = tuple(key for key in one["loc"] if key != "[key]")
            if one["type"] == "extra_forbidden":
                self.refuse(place(keys), unknown_key(str(keys[-1]), _known(shape, keys[:-1])))
            elif one["type"] == "value_error" and not keys and self._source.lacks_a_line_of(place(keys)):
                continue  # the table as a whole may be right, once that line is
            elif one["type"] != "missing":
                if one["type"] != "too_short" or not one["input"]:  # else its members were refused already
                    self.refuse(place(keys), words(one))
            elif not self.has_unread:
                missing.append(keys)
        return missing

    def table(
        self, model: type[AnyTable], tree: object, path: KeyPath, given: dict[str, Any] | None = None
    ) -> AnyTable | None:
        """The table as its settings, or None if that is refused. `given` comes not from its keys."""
        if not isinstance(tree, dict):
            self.refuse(path, f"{kind_of(tree)} is not a table")
            return None
        given = given or {}
        shape = shape_of(model).without(given)
        for key in sorted(given.keys() & tree.keys()):
            self.refuse((*path, key), unknown_key(key, shape.keys or ()))

        def place(keys: KeyPath) -> KeyPath:
            return path if keys and keys[0] in given else path + keys

        try:
            return model.model_validate(tree | given)
        except ValidationError as error:
            for keys in self.blame(error, shape, place):
                self.refuse(place(keys), "is missing")
            return None


def _known(shape: Shape, keys: Iterable[str | int]) -> Iterable[str]:
    for key in keys:
        shape = shape.key(str(key))
    return shape.keys or ()
