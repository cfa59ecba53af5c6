"""How an endpoint comes by its settings: `[alert]`, `[defaults]`, its provider, itself; the nearest wins.

All of this happens on the plain tree, before anything is validated: inheritance, switching
off by `false` and limits that shrink are not the business of a settings class. Where a value came
from is looked up only when there is something to say about it.
"""

import types
import typing
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Union

from pydantic import BaseModel

from monitor.config.problem import KeyPath

Tree = Mapping[str, Any]


@dataclass(frozen=True)
class Shape:
    """What a key can hold, as far as inheritance has to know."""

    optional: bool = False
    """Nothing may stand there, so `false` can switch it off."""
    switch: bool = False
    """`false` is a value of its own."""
    table: bool = False
    keys: Mapping[str, "Shape"] | None = None
    """The keys of a table; None if it takes any."""
    verbatim: bool = False
    """A table whose values are taken as they stand, `false` among them."""

    def key(self, name: str) -> "Shape":
        if self.keys is None:
            return _VERBATIM if self.verbatim else _ENTRY
        return self.keys[name]

    def without(self, names: Collection[str]) -> "Shape":
        """The same table, but for those keys."""
        return replace(self, keys={name: key for name, key in (self.keys or {}).items() if name not in names})


@dataclass(frozen=True)
class Level:
    """A place in the file that settings are inherited from."""

    path: KeyPath
    tree: Tree = field(default_factory=dict)


_VERBATIM = Shape(switch=True)
_ENTRY = Shape()


@cache
def shape_of(settings: type[BaseModel]) -> Shape:
    """The shape of a table with those fields."""
    return Shape(
        table=True, keys={name: _shape(one.annotation) for name, one in settings.model_fields.items()}
    )


def _shape(annotation: Any) -> Shape:
    kinds = list(kinds_of(annotation))
    optional = type(None) in kinds
    for kind in kinds:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return Shape(optional=optional, table=True, keys=shape_of(kind).keys)
        if typing.get_origin(kind) is dict:
            value = typing.get_args(kind)[1]
            return Shape(optional=optional, table=True, verbatim=Any in kinds_of(value))
    return Shape(optional=optional, switch=bool in kinds)


def kinds_of(annotation: Any) -> list[Any]:
    """What an annotation stands for, without `Annotated` and unions around it."""
    if typing.get_origin(annotation) is typing.Annotated:
        return kinds_of(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (Union, types.UnionType):
        return [kind for part in typing.get_args(annotation) for kind in kinds_of(part)]
    return [annotation]


def known(tree: Tree, shape: Shape) -> dict[str, Any]:
    """The part of the tree that has a place in the shape. What other protocols know is left out."""
    if shape.keys is None:
        return dict(tree)
    out: dict[str, Any] = {}
    for name, value in tree.items():
        if name in shape.keys:
            inner = shape.keys[name]
            out[name] = known(value, inner) if inner.table and isinstance(value, dict) else value
    return out


def merged(base: Tree, over: Tree, shape: Shape) -> dict[str, Any]:
    """`over` upon `base`: tables key by key, everything else replaced, `false` switching off."""
    out = dict(base)
    for name, value in over.items():
        inner = shape.key(name) if shape.keys is None or name in shape.keys else None
        if inner is None:
            out[name] = value
        elif value is False and not inner.switch:
            _switch_off(out, name, inner)
        elif inner.table and isinstance(value, dict):
            below = _table(out, name)
            out[name] = merged(_unlike(below, value) if name == "headers" else below, value, inner)
        else:
            out[name] = value
    return out


def _switch_off(out: dict[str, Any], name: str, shape: Shape) -> None:
    if name == "alert":
        out[name] = {**_table(out, name), "channels": []}  # an endpoint without alerts tells nobody
    elif name == "channels":
        out[name] = False  # nobody, or everybody? Validation asks for a list
    elif shape.optional:
        out[name] = None
    elif shape.table or shape is _ENTRY:
        out.pop(name, None)
    else:
        out[name] = False  # it cannot be switched off, and validation says so


def _table(tree: Tree, name: str) -> Tree:
    """The table of that name; empty where there is none, or something else, which is refused elsewhere."""
    table = tree.get(name)
    return table if isinstance(table, dict) else {}


def _unlike(headers: Tree, nearer: Tree) -> dict[str, Any]:
    """Headers without those that the nearer ones replace; their names have no case."""
    replaced = {name.lower() for name in nearer}
    return {name: value for name, value in headers.items() if name.lower() not in replaced}


def origin(levels: Sequence[Level], keys: KeyPath) -> KeyPath:
    """Where the value stands that an endpoint has under these keys; `levels` with the nearest first.

    Where it stands nowhere: in the nearest table that should have it.
    """
    best, reached = levels[0], 0
    for level in levels:
        depth = _depth(level.tree, keys)
        if depth == len(keys):
            return level.path + keys
        if depth > reached:
            best, reached = level, depth
    return best.path + keys


def _depth(tree: Any, keys: KeyPath) -> int:
    for depth, key in enumerate(keys):
        try:
            tree = tree[key]
        except (KeyError, IndexError, TypeError):  # no such key, or nothing that has keys
            return depth
    return len(keys)
