"""Secrets: templates in the file, values in memory, neither in any message."""

import re
from collections.abc import Iterator
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from monitor.config.problem import KeyPath

_PLACE = re.compile(r"\$\{(env|file|cred):([^{}]+)\}")
_NAMES = {"env": re.compile(r"[A-Za-z_][A-Za-z0-9_]*"), "cred": re.compile(r"[A-Za-z0-9._-]{1,255}")}

_NAMED_SECRET = re.compile(r"auth|cookie|key|token|secret|password", re.IGNORECASE)
_PASSWORD = re.compile(r"://[^/@]*:([^/@]+)@")


class SecretText:
    """A text that may be, or hold, a secret: `${env:NAME}`, `${file:PATH}`, `${cred:NAME}` or plain.

    Equal templates are equal. Its text is in `template` alone; `str`, `repr` and dumps are masked.
    """

    __slots__ = ("places", "template")

    def __init__(self, template: str) -> None:
        """Raises ValueError, without quoting the template, if a place in it cannot be read."""
        self.template = template
        self.places: tuple[tuple[str, str], ...] = tuple(_PLACE.findall(template)) if "${" in template else ()
        """The secrets it names: (`env`, `file` or `cred`; name or path)."""
        _check(template, self.places)

    @property
    def literal(self) -> bool:
        """It names no secret elsewhere: what stands in the file is the value."""
        return not self.places

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretText) and other.template == self.template

    def __hash__(self) -> int:
        return hash(self.template)

    def __repr__(self) -> str:
        return "SecretText('***')"

    __str__ = __repr__

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            _read, serialization=core_schema.plain_serializer_function_ser_schema(str)
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": "string"}


def _read(value: object) -> SecretText:
    if isinstance(value, SecretText):
        return value
    if not isinstance(value, str):
        raise ValueError('is not a text in quotes such as "${env:NAME}"')
    if not value:
        raise ValueError('is empty: write it as "${env:NAME}", "${file:PATH}" or "${cred:NAME}"')
    return SecretText(value)


def _check(template: str, places: tuple[tuple[str, str], ...]) -> None:
    for problem in _problems(template, places):
        raise ValueError(problem)


def _problems(template: str, places: tuple[tuple[str, str], ...]) -> Iterator[str]:
    if template.count("${") != len(places):
        yield 'a "${" in it names no secret: write ${env:NAME}, ${file:PATH} or ${cred:NAME}'
    for source, name in places:
        pattern = _NAMES.get(source)
        if pattern and not pattern.fullmatch(name):
            yield f"what stands in ${{{source}:...}} is not a name: letters, digits and '_'"
    plain = _PLACE.sub("", template)
    if plain != plain.strip():
        yield "it begins or ends with a space or line break: remove it"
    elif any(ord(character) < 32 or 127 <= ord(character) < 160 for character in plain):
        yield "it contains a line break or another control character: write it on one line"


def is_secret(place: KeyPath, text: SecretText) -> bool:
    """Whether what stands there in plain text is a secret: a key, a telling header, a password in a URL."""
    if "headers" in place:
        return _NAMED_SECRET.search(str(place[-1])) is not None
    return place[-1] != "url" or _PASSWORD.search(text.template) is not None
