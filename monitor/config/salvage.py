"""What is left of a table some of whose values are refused: so that one run tells everything.

It is never used, only looked at for what else is wrong.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from monitor.config.problem import KeyPath
from monitor.config.values import Table

AnyTable = TypeVar("AnyTable", bound=Table)
_ROUNDS = 5
"""What is dropped can make something else wrong; after so often, that is given up."""


@dataclass(frozen=True)
class Rest(Generic[AnyTable]):
    """A table without what was refused in it."""

    table: AnyTable
    dropped: frozenset[KeyPath]
    """What is at its default, or a stand-in, because what stood there was refused."""

    def touches(self, keys: KeyPath) -> bool:
        """Whether something beneath these keys, or what they stand in, was dropped."""
        return any(keys[: len(one)] == one[: len(keys)] for one in self.dropped)


def rest(
    model: type[AnyTable], tree: object, stand_ins: Mapping[str, Any] | None = None
) -> Rest[AnyTable] | None:
    """The table without what validation refuses; None where too little is left.

    `stand_ins` take the place of keys that there is no table without.
    """
    if not isinstance(tree, dict):
        return None
    left, dropped = _copy(tree), set[KeyPath]()
    for _ in range(_ROUNDS):
        try:
            return Rest(model.model_validate(left), frozenset(dropped))
        except ValidationError as error:
            for one in error.errors(include_url=False, include_input=False):
                keys = tuple(key for key in one["loc"] if key != "[key]")
                if one["type"] == "missing" and len(keys) == 1:
                    dropped.add(keys)
                    left |= {key: value for key, value in (stand_ins or {}).items() if key == keys[0]}
                else:
                    dropped.add(_drop(left, keys[:-1] if one["type"] == "missing" else keys))
    return None


def _copy(tree: dict[str, Any]) -> dict[str, Any]:
    return {key: _copy(value) if isinstance(value, dict) else value for key, value in tree.items()}


def _drop(tree: dict[str, Any], keys: KeyPath) -> KeyPath:
    """Take it out, a list as a whole; returns what was taken."""
    for place, key in enumerate(keys, start=1):
        inner = tree.get(str(key))
        if place == len(keys) or not isinstance(inner, dict):
            tree.pop(str(key), None)
            return keys[:place]
        tree = inner
    return keys
