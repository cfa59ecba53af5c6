"""Secrets: templates in the file, values in memory, neither in any message."""

import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from monitor.config import proxy
from monitor.config.problem import ConfigError, KeyPath, Problem
from monitor.config.source import Source, read

if TYPE_CHECKING:
    from monitor.config.settings import Config

_PLACE = re.compile(r"\$\{(env|file|cred):([^{}]+)\}")
_NAMES = {"env": re.compile(r"[A-Za-z_][A-Za-z0-9_]*"), "cred": re.compile(r"[A-Za-z0-9._-]{1,255}")}

_NAMED_SECRET = re.compile(r"auth|cookie|key|token|secret|password", re.IGNORECASE)
_PASSWORD = re.compile(r"://[^/@]*:([^/@]+)@")
_LOGIN = re.compile(r"://[^/]+@")
_PASSWORD_BEGINS = re.compile(r"://[^/@]*:\Z")
_REPORT_TOKEN = re.compile(r"[A-Za-z0-9._~-]{16,200}")
_LARGEST = 64 * 1024
_TOLD = {"env": "the environment variable", "cred": "the credential", "file": "the secret file"}


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
    if template != template.strip():
        yield "it begins or ends with a space or line break: remove it"
    elif any(ord(character) < 32 or 127 <= ord(character) < 160 for character in plain):
        yield "it contains a line break or another control character: write it on one line"


def without_places(text: SecretText, instead: str) -> str:
    """The text with that in place of each secret it names."""
    return _PLACE.sub(lambda _: instead, text.template)


def is_secret(place: KeyPath, text: SecretText) -> bool:
    """Whether what stands there in plain text is a secret: a key, a telling header, a password in a URL."""
    if "headers" in place:
        return _NAMED_SECRET.search(str(place[-1])) is not None
    if is_proxy(place):
        return _LOGIN.search(text.template) is not None
    return place[-1] != "url" or _PASSWORD.search(text.template) is not None


def is_proxy(place: KeyPath) -> bool:
    """Whether it is the key `proxy` that stands there."""
    return place[-1] == "proxy" and "headers" not in place


class Secrets:
    """The values, in memory only."""

    def __init__(self, filled: Mapping[SecretText, str], values: Iterable[str]) -> None:
        self._filled = dict(filled)
        self.values = frozenset(value for value in values if value)
        """Every value that must not be seen, for whoever redacts texts."""

    def of(self, text: SecretText) -> str:
        """The text with its secrets in place. Raises KeyError for one that was not resolved."""
        return self._filled[text] if text.places else text.template

    def __repr__(self) -> str:
        return f"Secrets({len(self.values)} values)"


class _Refused(Exception):
    """Why a secret cannot be had; never with its value."""


def resolve(
    config: "Config",
    environ: Mapping[str, str],
    cred_dir: Path | None,
    needed: Iterable[SecretText] | None = None,
) -> Secrets:
    """The values of `needed`, or of all that enabled endpoints, channels and the database name.

    `cred_dir` is the folder of systemd's credentials, None where there is none; a relative
    `${file:}` is relative to the config. Raises ConfigError with every secret that cannot be had.
    """
    places = _Places(environ, cred_dir, config.path.absolute().parent)
    filled: dict[SecretText, str] = {}
    values: set[str] = set()
    refused: list[tuple[KeyPath, str]] = []
    for text in dict.fromkeys(_needed(config) if needed is None else needed):
        place = config.secrets.get(text, ())
        try:
            filled[text] = places.fill(text, place, values)
        except _Refused as why:
            refused.append((place, str(why)))
    refused += _unfit_tokens(config, filled)
    if refused:
        raise ConfigError(_problems_of(config.path, refused))
    return Secrets(filled, values)


def _needed(config: "Config") -> Iterator[SecretText]:
    yield config.database.url
    yield from (channel.url for channel in config.channels.values())
    for endpoint in config.endpoints:
        if endpoint.enabled:
            yield from endpoint.secrets().values()


def _unfit_tokens(config: "Config", filled: Mapping[SecretText, str]) -> Iterator[tuple[KeyPath, str]]:
    """Tokens that endpoints report with, and which can only be judged now that they are known."""
    owners: dict[str, str] = {}
    for endpoint in config.endpoints:
        text = endpoint.report_token
        if not endpoint.enabled or text is None or text not in filled:
            continue
        token, place = filled[text], config.secrets.get(text, ())
        if not _REPORT_TOKEN.fullmatch(token):
            yield place, "is no token: 16 to 200 letters, digits, '.', '_', '~' and '-', such as a UUID"
        elif token in owners:
            yield place, f"is the token of both {owners[token]} and {endpoint.id}: give each its own"
        owners.setdefault(token, endpoint.id)


def _problems_of(path: Path, refused: list[tuple[KeyPath, str]]) -> Iterator[Problem]:
    try:
        source = read(path)
    except ConfigError:  # it was there a moment ago; the secrets are what is to be told
        source = Source(str(path), "", {})
    yield from (source.problem(place, text) for place, text in refused)


class _Places:
    """Where secrets are kept outside of the file."""

    def __init__(self, environ: Mapping[str, str], cred_dir: Path | None, folder: Path) -> None:
        self._environ = environ
        self._cred_dir = cred_dir
        self._folder = folder

    def fill(self, text: SecretText, place: KeyPath, values: set[str]) -> str:
        """The text with its values, which are put into `values` as well. Raises _Refused."""
        filled = self._filled(text, place, values)
        if place and is_proxy(place):
            try:
                values |= proxy.read(filled).secrets
            except ValueError as why:
                raise _Refused(str(why)) from None
        return filled

    def _filled(self, text: SecretText, place: KeyPath, values: set[str]) -> str:
        if not text.places:
            values |= _within(text) if place and is_secret(place, text) else set()
            return text.template
        out, end = "", 0
        for match in _PLACE.finditer(text.template):
            value = self._value(match[1], match[2], in_header=not {"url", "proxy"} & {*place})
            values.add(value)
            before = text.template[end : match.start()]
            if _PASSWORD_BEGINS.search(out + before) and text.template[match.end() :].startswith("@"):
                value = quote(value, safe="")  # a password with an @ in it would end too early
                values.add(value)
            out, end = out + before + value, match.end()
        return out + text.template[end:]

    def _value(self, source: str, name: str, *, in_header: bool) -> str:
        """The value, fit for where it goes. Raises _Refused."""
        told = f"{_TOLD[source]} {name}"
        if source == "env":
            value = self._variable(name, told)
        elif source == "cred":
            value = self._credential(name, told)
        else:
            value = _private(self._folder / name, told)
        _fit(value, told, in_header=in_header)
        return value

    def _variable(self, name: str, told: str) -> str:
        if name not in self._environ:
            raise _Refused(f"{told} is not set")
        return self._environ[name]

    def _credential(self, name: str, told: str) -> str:
        if self._cred_dir is None:
            raise _Refused(f"{told} needs systemd, which gives it with LoadCredential={name}:PATH")
        return _content(self._cred_dir / name, told)


def _private(path: Path, told: str) -> str:
    """The content of a file that not everybody can read. Raises _Refused."""
    content = _content(path, told)
    if path.stat().st_mode & stat.S_IROTH:
        raise _Refused(f"{told} can be read by everybody: chmod o-r {path}")
    return content


def _content(path: Path, told: str) -> str:
    """The text of a file without the line break at its end. Raises _Refused."""
    try:
        if not path.is_file():
            raise _Refused(f"{told} is not there" if not path.exists() else f"{told} is no file")
        data = path.read_bytes()
    except OSError as refused:
        raise _Refused(f"{told} cannot be read: {refused.strerror}") from None
    if len(data) > _LARGEST:
        raise _Refused(f"{told} is too large: at most {_LARGEST} bytes")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise _Refused(f"{told} is not UTF-8") from None
    return text.removesuffix("\n").removesuffix("\r")


def _fit(value: str, told: str, *, in_header: bool) -> None:
    """Raises _Refused for what would break a header or a URL."""
    if not value:
        raise _Refused(f"{told} is empty")
    if value != value.strip():
        raise _Refused(f"{told} begins or ends with a space or line break: remove it")
    if "\n" in value or "\r" in value:
        raise _Refused(f"{told} has a line break in the middle: a key is one line")
    if any(ord(character) < 32 or 127 <= ord(character) < 160 for character in value):
        raise _Refused(f"{told} contains a control character")
    if in_header and any(ord(character) > 255 for character in value):
        raise _Refused(f"{told} contains a character that no header can carry (outside Latin-1)")


def _within(text: SecretText) -> set[str]:
    """What is secret in a text that stands in the file itself."""
    password = _PASSWORD.search(text.template)
    return {password[1], text.template} if password else {text.template}
