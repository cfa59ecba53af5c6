"""What may stand behind a key of config.toml, each kind with its own words when it is wrong.

Every check raises ValueError with a text for the operator, which says what is wrong and what
would be right; the loader puts file, line and key in front. No text quotes a value that
could hold a secret (`quoted`).
"""

import math
import re
import unicodedata
from datetime import timedelta
from decimal import Decimal
from difflib import get_close_matches
from functools import lru_cache
from typing import Annotated, Any, Literal
from urllib.parse import SplitResult, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from monitor.config.problem import tells_too_much, visible

NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
"""Both halves of an endpoint's id."""

_NAME = re.compile(NAME_PATTERN)
_DURATION = re.compile(r"(\d{1,9})(ms|s|m|h|d)", re.ASCII)
_UNITS = {
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
}
_AMOUNT = re.compile(r"[0-9]{1,40}(\.[0-9]{1,40})?")
_LONGEST = timedelta(days=3660)
_MOST_DIGITS = 40
_LAYOUT = str.maketrans("\n\t", "  ")
_CONTROLS = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Unicode's controls, halves of characters, and line breaks by another name."""


class Table(BaseModel):
    """One table of config.toml: frozen, no unknown keys, nothing converted behind one's back."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, arbitrary_types_allowed=True)


def quoted(value: object) -> str:
    """The value as it stands in the file; not what may be a secret in a wrong place."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        if tells_too_much(value):
            return f"a text of {len(value)} characters"
        return f'"{visible(value)}"'
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, int) and abs(value) >= 10**_MOST_DIGITS:
        return "this number"
    return str(value)


def kind_of(value: object) -> str:
    """What stands where a table should: a text there is seldom a slip in its name, and often a secret."""
    return "a text" if isinstance(value, str) else quoted(value)


def written(length: timedelta) -> str:
    """A duration as it is written in the file: `90s`, `2h`, `1500ms`."""
    for unit, size in _UNITS.items():
        if length >= size and not length % size:
            return f"{length // size}{unit}"
    return "0s" if not length else f"{length.total_seconds() * 1000:g}ms"


@lru_cache(maxsize=1024)
def _length(text: str) -> timedelta | None:
    match = _DURATION.fullmatch(text)
    return int(match[1]) * _UNITS[match[2]] if match else None


def _pause(value: object) -> timedelta:
    if isinstance(value, timedelta):
        return value
    length = _length(value) if isinstance(value, str) else None
    if length is None:
        raise ValueError(f'{quoted(value)} is not a duration such as "30s"')
    if length > _LONGEST:
        raise ValueError(f'{quoted(value)} is too long: at most "{written(_LONGEST)}"')
    return length


def _duration(value: object) -> timedelta:
    length = _pause(value)
    if not length:
        raise ValueError(f'{quoted(value)} is too short: write at least "1ms"')
    return length


def _interval(value: object) -> timedelta:
    length = _duration(value)
    if length % _UNITS["s"]:
        raise ValueError(f'{quoted(value)} is not a whole number of seconds such as "30s"')
    if length > timedelta(days=7):
        raise ValueError(f'{quoted(value)} is too long: at most "7d"')
    return length


_DURATION_SCHEMA = WithJsonSchema({"type": "string", "pattern": r"^\d{1,9}(ms|s|m|h|d)$"})

Pause = Annotated[timedelta, BeforeValidator(_pause), _DURATION_SCHEMA]
"""A length of time that may be zero."""
Duration = Annotated[timedelta, BeforeValidator(_duration), _DURATION_SCHEMA]
"""A length of time above zero."""
Interval = Annotated[
    timedelta,
    BeforeValidator(_interval),
    WithJsonSchema({"type": "string", "pattern": r"^(\d{1,6}000ms|\d{1,9}(s|m|h|d))$"}),
]
"""The distance of two slots: whole seconds, at most a week."""


def _usd(value: object) -> Decimal:
    if isinstance(value, Decimal):
        return value
    if isinstance(value, float):
        raise ValueError(f'{value} would be rounded: put it in quotes, "{value}"')
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(f'{quoted(value)} is not an amount of dollars such as "0.10"')
    # Python refuses to write so long a number.
    if (isinstance(value, int) and abs(value) >= 10**_MOST_DIGITS) or not _AMOUNT.fullmatch(str(value)):
        raise ValueError(f'{quoted(value)} is not an amount of dollars such as "0.10"')
    amount = Decimal(value)
    if amount > 1_000_000 or amount != round(amount, 6):
        raise ValueError(f"{quoted(value)} is no amount: 0 to 1000000 dollars, at most 6 decimals")
    return amount


Usd = Annotated[
    Decimal,
    BeforeValidator(_usd),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": r"^[0-9]{1,40}(\.[0-9]{1,40})?$"},
                {"type": "integer", "minimum": 0},
            ]
        }
    ),
]
"""An exact amount of US dollars, 0 or more."""


def _prose(value: str) -> str:
    if not value.isprintable() and _controls(value.translate(_LAYOUT)):
        raise ValueError("contains a control character: remove it")
    return value


def _line(value: str) -> str:
    if not value.isprintable() and _controls(value):
        raise ValueError("contains a line break or another control character: write it on one line")
    return value


def _controls(value: str) -> bool:
    return any(unicodedata.category(character) in _CONTROLS for character in value)


Text = Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(_line)]
"""One line."""
Prose = Annotated[str, Field(min_length=1, max_length=100_000), AfterValidator(_prose)]
"""One line or several."""
Count = Annotated[int, Field(ge=1, le=1_000_000_000)]
Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
Speed = Annotated[float, Field(gt=0, allow_inf_nan=False)]
"""Tokens per second."""


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError(
            f"{quoted(value)} is not a name: letters, digits, '.', '_' and '-',"
            " beginning with a letter or digit, at most 100 characters"
        )
    return value


Name = Annotated[
    str, AfterValidator(_name), WithJsonSchema({"type": "string", "pattern": f"^{NAME_PATTERN}$"})
]
"""One half of an endpoint's id, or the name of a channel."""


def as_name(text: str) -> str:
    """A name made of any text: every other run of characters becomes `-`. Empty if nothing is left."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).lstrip("._-")[:100]


def web_address(value: str) -> str:
    """The text, if it is an absolute http or https URL without a user, password or fragment.

    Raises ValueError with a text that does not quote it: it may carry a key.
    """
    if not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError("the URL contains spaces or characters beyond ASCII: write them percent-encoded")
    parts = _split(value)
    if parts.scheme.lower() not in ("http", "https"):
        raise ValueError('the URL has to begin with "https://" or "http://"')
    if not parts.hostname:
        raise ValueError('the URL has no host: write it as "https://host/path"')
    if "@" in parts.netloc:
        raise ValueError("the URL holds a user name or password: send them in headers instead")
    if "#" in value:
        raise ValueError("the URL has a fragment (#...), which is never sent: leave it out")
    return value


def _split(value: str) -> SplitResult:
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        raise ValueError(
            'the URL has a host or port that cannot be read: write it as "https://host:443/path"'
        ) from None
    if port == 0:
        raise ValueError("the URL has port 0: write 1 to 65535")
    return parts


def _base_address(value: str) -> str:
    address = web_address(value)
    if "?" in address:
        raise ValueError("the URL has a query (?...), but a path is appended to it: leave the query out")
    return address.rstrip("/")


_URL_SCHEMA = WithJsonSchema({"type": "string", "pattern": "^[Hh][Tt][Tt][Pp][Ss]?://[^@#\\s]+$"})

Url = Annotated[str, AfterValidator(web_address), _URL_SCHEMA]
"""An absolute http or https URL."""
BaseUrl = Annotated[str, AfterValidator(_base_address), _URL_SCHEMA]
"""An absolute URL that a path is appended to; no slash at its end."""


HOLE = "\0"
"""Stands in a URL for a secret that is not known yet."""
_SERVER = re.compile(
    r"(?:[^:/]*(?::[^@]*)?@)?"  # user:password@
    r"(?:\[[0-9A-Fa-f:.]+(?:%[^\]/?]+)?\]|[^/:?\[\]@]*)"  # host, one of a single link too, or several
    rf"(?::(?P<port>[0-9]{{0,5}}|{HOLE}))?"
    r"(?:[/?].*)?",
    re.DOTALL,
)


def database_address(url: str) -> str:
    """The URL, if it names a database that we know how to ask.

    Raises ValueError with a text that does not quote it: it may carry a password.
    """
    scheme, colon, rest = url.partition("://")
    if not colon or scheme not in ("sqlite", "postgresql", "postgresql+psycopg"):
        raise ValueError('has to begin with "sqlite:///" or "postgresql://"')
    if scheme == "sqlite" and (not rest.startswith("/") or rest in ("/", "/:memory:")):
        raise ValueError('names no file: write it as "sqlite:///uptoken.db" or "sqlite:////absolute/path.db"')
    server = _SERVER.fullmatch(rest)
    port = server["port"] if server else None
    if scheme != "sqlite" and (not server or (port and port != HOLE and not 1 <= int(port) <= 65535)):
        raise ValueError(
            'has a host or port that cannot be read: write it as "postgresql://user@host:5432/db"'
        )
    return url


def _family(value: object) -> object:
    if value in ("auto", "4", "6") and isinstance(value, str):
        return int(value) if value.isdigit() else value
    if isinstance(value, int) and not isinstance(value, bool) and value in (4, 6):
        return value
    raise ValueError(f'{quoted(value)} is not "auto", 4 or 6')


IpFamily = Annotated[
    Literal["auto", 4, 6], BeforeValidator(_family), WithJsonSchema({"enum": ["auto", 4, 6, "4", "6"]})
]
"""The address families to try: both, or one."""


def _zone(value: object) -> ZoneInfo:
    if isinstance(value, ZoneInfo):
        return value
    if isinstance(value, str):
        try:
            return ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            pass  # every way in which a name can be wrong is told by the same text below
    near = get_close_matches(value, available_timezones(), 1) if isinstance(value, str) else []
    hint = f'; did you mean "{near[0]}"?' if near else ' such as "Europe/Berlin" or "UTC"'
    raise ValueError(f"{quoted(value)} is not a time zone{hint}")


Zone = Annotated[ZoneInfo, BeforeValidator(_zone), WithJsonSchema({"type": "string"})]
"""A zone of the IANA database."""


def json_value(value: Any) -> Any:
    """The value, if JSON can say it. Raises ValueError otherwise (dates, times, nan, inf)."""
    if isinstance(value, dict):
        return {key: json_value(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [json_value(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} cannot be said in JSON: write a finite number")
    if value is None or isinstance(value, str | int | float):
        return value
    raise ValueError(f"{quoted(value)} cannot be said in JSON: put it in quotes")
