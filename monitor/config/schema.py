"""The JSON Schema of config.toml, for editors.

It knows what a key can hold, but not everything the loader knows: which protocol an endpoint
inherits, and what has to fit together.
"""

import ast
import inspect
import textwrap
from collections.abc import Collection, Iterable, Mapping
from datetime import timedelta
from functools import cache
from itertools import pairwise
from typing import Any

from pydantic import BaseModel

from monitor.config.endpoints import GIVEN, NOT_FOR_ALL
from monitor.config.inherit import Shape, kinds_of, shape_of
from monitor.config.maintenance import Maintenance
from monitor.config.settings import (
    Budget,
    Canary,
    Channel,
    Database,
    EndpointAlert,
    EndpointSettings,
    Provider,
    Push,
    Server,
    Site,
)
from monitor.config.values import NAME_PATTERN, written

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_DROPPED = frozenset({"title", "default"})


def json_schema(protocols: Mapping[str, type[EndpointSettings]]) -> Schema:
    """The schema of the whole file, with the endpoints of those protocols."""
    endpoint = _any_of(_inheritable(settings, GIVEN) for settings in protocols.values())
    endpoint["protocol"] = {
        "enum": sorted(protocols),
        "description": "How the endpoint is asked, or `push`: it reports by itself.",
    }
    inherited = {name: key for name, key in endpoint.items() if name not in NOT_FOR_ALL}
    own = _inheritable(Provider, {"id"})
    also = {
        "type": "array",
        "items": _closed(endpoint, {"protocol"}),
        "description": "The same model over further protocols: each an endpoint of its own.",
    }
    endpoints = {"type": "array", "items": _closed(endpoint | {"also": also})}
    provider = inherited | own | {"endpoints": endpoints}
    return {
        "$schema": DIALECT,
        "title": "config.toml of Uptoken",
        **_closed(
            {
                "site": _strict(Site),
                "database": _strict(Database),
                "server": _strict(Server),
                "push": _strict(Push),
                "defaults": _closed(inherited),
                "provider": _named(_closed(provider)),
                "channel": _named(_strict(Channel, {"name"})),
                "alert": _closed(_inheritable(EndpointAlert)),
                "budget": _strict(Budget),
                "canary": _strict(Canary),
                "maintenance": {"type": "array", "items": _strict(Maintenance)},
            }
        ),
    }


def _closed(keys: Schema, required: Iterable[str] = ()) -> Schema:
    table = {"type": "object", "additionalProperties": False, "properties": keys}
    return table | {"required": sorted(required)} if required else table


def _named(table: Schema) -> Schema:
    return {
        "type": "object",
        "propertyNames": {"pattern": f"^{NAME_PATTERN}$"},
        "additionalProperties": table,
    }


def _strict(model: type[BaseModel], given: Collection[str] = ()) -> Schema:
    """A table that inherits nothing."""
    fields = model.model_fields.items()
    required = [name for name, field in fields if field.is_required() and name not in given]
    return _closed(_keys(model, given), required)


def _inheritable(model: type[BaseModel], given: Collection[str] = ()) -> Schema:
    """The keys of a table of which a part may be inherited; `false` switches that off."""
    shapes = shape_of(model).keys or {}
    return {
        name: _switchable(key, shapes[name], _nested(model, name))
        for name, key in _keys(model, given).items()
    }


def _switchable(key: Schema, shape: Shape, nested: type[BaseModel] | None) -> Schema:
    if nested is not None:
        told = {"description": key["description"]} if "description" in key else {}
        key = _closed(_inheritable(nested)) | told
    elif shape.table and not shape.verbatim:
        key = key | {"additionalProperties": {"anyOf": [key["additionalProperties"], {"const": False}]}}
    return key if shape.switch else {"anyOf": [key, {"const": False}]}


def _nested(model: type[BaseModel], name: str) -> type[BaseModel] | None:
    kinds = kinds_of(model.model_fields[name].annotation)
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def _keys(model: type[BaseModel], given: Collection[str]) -> Schema:
    whole = model.model_json_schema()
    told = _descriptions(model)
    keys: Schema = {}
    for name, key in whole["properties"].items():
        if name in given:
            continue
        plain = _plain(key, whole.get("$defs", {}))
        default = model.model_fields[name].default
        if isinstance(default, timedelta):
            plain["default"] = written(default)
        elif isinstance(default, str | int | float) and default != "":
            plain["default"] = default
        keys[name] = plain | ({"description": told[name]} if name in told else {})
    return keys


def _plain(schema: Any, definitions: Schema) -> Any:
    """The schema without references, titles, defaults in JSON's words, and null, which TOML has not."""
    if isinstance(schema, list):
        return [_plain(each, definitions) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _plain(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    plain = {word: _plain(value, definitions) for word, value in schema.items() if word not in _DROPPED}
    choices = [each for each in plain.get("anyOf", ()) if each != {"type": "null"}]
    if len(choices) == 1:
        del plain["anyOf"]
        return choices[0] | plain
    return plain | ({"anyOf": choices} if choices else {})


def _any_of(tables: Iterable[Schema]) -> Schema:
    """The keys of all tables; a key that differs may be as in any of them."""
    choices: dict[str, list[Schema]] = {}
    for table in tables:
        for name, key in table.items():
            if key not in choices.setdefault(name, []):
                choices[name].append(key)
    return {name: keys[0] if len(keys) == 1 else {"anyOf": keys} for name, keys in choices.items()}


def _descriptions(model: type[BaseModel]) -> dict[str, str]:
    """What stands beneath each field in the source, of the class and those it extends."""
    told: dict[str, str] = {}
    for kind in reversed(model.__mro__):
        if kind is not BaseModel and issubclass(kind, BaseModel):
            told |= _of_class(kind)
    return told


@cache
def _of_class(model: type[BaseModel]) -> dict[str, str]:
    tree = ast.parse(textwrap.dedent(inspect.getsource(model))).body[0]
    statements = tree.body if isinstance(tree, ast.ClassDef) else []
    told: dict[str, str] = {}
    for field, text in pairwise(statements):
        match field, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(words))):
                told[name] = " ".join(words.split())
    return told
