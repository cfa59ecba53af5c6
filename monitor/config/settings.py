"""What config.toml says, as frozen values. The loader makes them; everybody else reads them.

A protocol subclasses `EndpointSettings`, or `ModelSettings` where it asks a language model,
and adds its own fields. An endpoint is flat: everything it inherited stands in it.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, WithJsonSchema

from monitor.config import proxy as proxies
from monitor.config.maintenance import Maintenance
from monitor.config.problem import KeyPath, Problem
from monitor.config.secrets import SecretText, without_places
from monitor.config.values import (
    BaseUrl,
    Count,
    Duration,
    Interval,
    IpFamily,
    Name,
    Pause,
    Percent,
    Prose,
    Speed,
    Table,
    Text,
    Url,
    Usd,
    Zone,
    json_value,
    quoted,
)

LOCATION = "default"
"""Where probes are sent from, as it is stored; there is one place so far."""

DEFAULT_PROMPT = (
    "Begin your answer with the single word pong. Then describe a walk along a river in plain prose,"
    " without lists or headings, and do not stop before you are cut off."
)
"""One word to check, then prose to the limit, so that there is a speed to measure."""

_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_WIRE_HEADERS = frozenset(
    {
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "accept-encoding",
        "expect",
        "upgrade",
        "te",
        "trailer",
    }
)

Names = Annotated[tuple[Text, ...], Field(strict=False)]


class Price(Table):
    """US dollars per million tokens."""

    input: Usd
    output: Usd
    """Reasoning counts as output."""
    cache_read: Usd | None = None
    cache_write: Usd | None = None


class Limits(Table):
    """What the provider says the model can do, in tokens."""

    context: Count | None = None
    max_output: Count | None = None


class DataPolicy(Table):
    """What the provider says it does with prompts; shown, never interpreted."""

    prompt_training: bool | None = None
    prompt_logging: Text | None = None
    moderation: Text | None = None


class Degraded(Table):
    """Rules over a rolling window; what is not said is no rule."""

    ttft_p50: Duration | None = None
    ttft_p95: Duration | None = None
    total_p50: Duration | None = None
    total_p95: Duration | None = None
    output_speed_p50: Speed | None = None
    """Lower limit in tokens per second."""
    error_rate: Percent | None = None
    """Upper limit, 0 to 100."""
    flawed_streams: Percent | None = None
    """Upper limit, 0 to 100, of the streams that were not whole; a missing usage does not count."""
    over: Duration = timedelta(minutes=30)


Looks = Annotated[int, Field(ge=1, le=1000)]
"""How many looks in a row."""


class EndpointAlert(Table):
    """When an endpoint's state changes, and who is told."""

    channels: Names | None = None
    """Names of channels; all of them unless it is said, and an empty list is nobody."""
    down_after: Looks = 3
    up_after: Looks = 2
    confirm_every: Pause = timedelta(seconds=10)
    """Zero: no confirmations."""
    reminder: Duration | None = timedelta(hours=4)


class Budget(Table):
    """What probing may cost."""

    daily_usd: Usd
    """Per day, which begins at 00:00 UTC."""


def _header_name(name: str) -> str:
    if not _HEADER_NAME.fullmatch(name):
        raise ValueError(f"{quoted(name)} is not the name of a header such as X-Title")
    if name.lower() in _WIRE_HEADERS:
        raise ValueError("cannot be set: every connection sets it itself")
    return name


def _label_name(name: str) -> str:
    if not _LABEL_NAME.fullmatch(name):
        raise ValueError(f"{quoted(name)} is not the name of a label: letters, digits and '_'")
    return name


def _proxy(text: SecretText | None) -> SecretText | None:
    """It can be a proxy; what a secret brings that is more than a login is looked at once it is known."""
    plain = "" if text is None else without_places(text, "\0")
    if plain and not plain.startswith("\0") and "\0" not in plain.rpartition("@")[2]:
        proxies.read(plain.replace("\0", "x"))
    return text


def _none_if_empty(value: object) -> object:
    return None if value == "" else value


Headers = dict[Annotated[str, AfterValidator(_header_name)], SecretText]
Labels = dict[Annotated[str, AfterValidator(_label_name)], Text]
Body = dict[str, Annotated[Any, BeforeValidator(json_value)]]


Objection = tuple[KeyPath, str]
"""Keys of an endpoint, and what is wrong with what stands there."""


class EndpointSettings(Table):
    """What every endpoint has, whatever its protocol. Protocols subclass it."""

    over_http: ClassVar[bool] = True
    """Its protocol speaks HTTP; where it does not, `headers` and `http2` mean nothing."""
    reports: ClassVar[bool] = False
    """It is not asked, but reports by itself."""

    id: str
    """`provider/slug`, as it is written."""
    provider: Name
    slug: Name
    provider_name: Text
    protocol: Text
    also_of: str | None = None
    """The id of the endpoint whose `also` it stands in."""
    name: Text
    """What people call it; the model or the slug where nothing else is said."""
    model_id: Text | None = None
    """What joins endpoints of one model across providers; the model unless it is said."""

    interval: Interval = timedelta(seconds=60)
    timeout: Duration = timedelta(seconds=30)
    """The whole probe; always shorter than the interval."""
    connect_timeout: Duration = timedelta(seconds=10)
    """Name, connection and TLS together."""
    public: bool = True
    enabled: bool = True
    ip: IpFamily = "auto"
    ca_file: Annotated[str, Field(max_length=4096)] | None = None
    """A private CA beside the system's; a relative path begins at the folder of config.toml."""
    proxy: Annotated[SecretText | None, BeforeValidator(_none_if_empty), AfterValidator(_proxy)] = None
    """`http://`, `socks5://` with host and port, or `unix:/path`; environment proxies are not used."""
    http2: bool = False
    """Offer HTTP/2; what arrives then has no stamps of the kernel."""
    headers: Headers = Field(default_factory=dict)
    expect: Table | None = None
    """What a good answer is; its keys depend on the protocol."""
    degraded: Degraded | None = None
    price: Price | None = None
    limits: Limits | None = None
    labels: Labels = Field(default_factory=dict)
    data_policy: DataPolicy | None = None
    status_page: Url | None = None
    alert: EndpointAlert = EndpointAlert()
    budget: Budget | None = None
    """Its own, beside its provider's and the site's."""

    @property
    def model_name(self) -> str | None:
        """The model that is asked; None where there is none."""
        return None

    @property
    def called(self) -> str:
        """Its name; with its protocol where it bears that of a sibling, so that it is not taken for it."""
        return self.name if self.also_of is None else f"{self.name} over {self.protocol}"

    @property
    def report_token(self) -> SecretText | None:
        """What it reports with; None where it is asked."""
        return None

    def objections(self) -> Iterator[Objection]:
        """What its protocol cannot do, although each value by itself is right.

        A protocol adds its own. It is asked of whole endpoints only: what stands in `[defaults]` or at
        a provider may be meant for another protocol.
        """
        yield from ()

    def secrets(self) -> dict[tuple[str, ...], SecretText]:
        """Every text of it that may hold a secret, by the keys where it stands."""
        found: dict[tuple[str, ...], SecretText] = {}
        for key, value in self.__dict__.items():
            if isinstance(value, SecretText):
                found[(key,)] = value
            elif isinstance(value, dict):
                found |= {
                    (key, name): inner for name, inner in value.items() if isinstance(inner, SecretText)
                }
        return found


class ModelExpect(Table):
    """What a good answer of a language model is; None is not looked at."""

    answer: Prose | None = None
    """A substring, any case."""
    ttft: Duration | None = None
    elapsed: Duration | None = None
    output_speed: Speed | None = None
    """Lower limit in tokens per second."""
    model: Text | None = None


class ModelSettings(EndpointSettings):
    """What every endpoint has that asks a language model."""

    model: Text
    base_url: BaseUrl
    api_key: SecretText | None = None
    first_token_timeout: Duration = timedelta(seconds=20)
    stall_timeout: Duration = timedelta(seconds=10)
    max_tokens: Annotated[int, Field(ge=1, le=1_000_000)] = 64
    body: Body = Field(default_factory=dict)
    """Merged into the request body."""
    omit: Names = ()
    """Fields of the request body that are never sent."""
    prompt: Prose = DEFAULT_PROMPT
    expect: ModelExpect = ModelExpect()

    @property
    def model_name(self) -> str | None:
        return self.model


class Site(Table):
    """What the pages and feeds say about themselves."""

    name: Text = "Status"
    url: BaseUrl | None = None
    """Absolute base of every link in feeds and alerts."""
    timezone: Zone = ZoneInfo("UTC")


def _database(url: SecretText) -> SecretText:
    text = url.template
    if text.startswith("${"):
        return url
    scheme, colon, rest = text.partition("://")
    if not colon or scheme not in ("sqlite", "postgresql", "postgresql+psycopg"):
        raise ValueError('has to begin with "sqlite:///" or "postgresql://"')
    if scheme == "sqlite" and (not rest.startswith("/") or rest in ("/", "/:memory:")):
        raise ValueError('names no file: write it as "sqlite:///uptoken.db" or "sqlite:////absolute/path.db"')
    return url


class Database(Table):
    """Where results are kept."""

    url: Annotated[SecretText, AfterValidator(_database)] = SecretText("sqlite:///uptoken.db")
    """A relative SQLite path is relative to the state folder."""


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """An address to listen on."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """A socket file to listen on."""

    path: str


Address = TcpAddress | UnixAddress


def _address(value: object) -> Address | None:
    if value == "":
        return None
    if isinstance(value, TcpAddress | UnixAddress):
        return value
    if isinstance(value, str):
        if value.startswith("unix:") and len(value) > len("unix:"):
            return UnixAddress(value.removeprefix("unix:"))
        host, colon, port = value.rpartition(":")
        host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        if colon and host and port.isascii() and port.isdigit() and int(port) <= 65535 and " " not in host:
            return TcpAddress(host, int(port))
    raise ValueError(
        f'{quoted(value)} is not an address such as "127.0.0.1:8480" or "unix:/run/uptoken.sock"'
    )


Listen = Annotated[
    TcpAddress | UnixAddress | None,
    PlainValidator(_address),
    WithJsonSchema({"type": "string", "pattern": r"^($|unix:.+|.+:\d{1,5}$)"}),
]


class Server(Table):
    """Where the page is served; None is nowhere."""

    listen: Listen = TcpAddress("127.0.0.1", 8480)
    public_listen: Listen = None
    managed: bool = True


class Push(Table):
    """Where senders report; opened only where there is an endpoint that does. None is nowhere."""

    listen: Listen = TcpAddress("127.0.0.1", 8481)


def _canary(text: str) -> str:
    host, _, port = text.rpartition(":")
    number = int(port[:6]) if port.isascii() and port.isdigit() else 0
    if not _HOST.fullmatch(host) or not 1 <= number <= 65535:
        raise ValueError(f'{quoted(text)} is no host and port such as "1.1.1.1:443" or "[2606:4700::1]:443"')
    return text


class Canary(Table):
    """Whom to ask whether the monitor has a network, when it might be that it has none."""

    addresses: Annotated[
        tuple[Annotated[Text, AfterValidator(_canary)], ...], Field(strict=False, max_length=32)
    ] = ("1.1.1.1:443", "8.8.8.8:443", "9.9.9.9:443", "one.one.one.one:443", "dns.google:443")
    """Host and port each, in several networks, IP addresses and names; none of them: nobody is asked."""

    @property
    def places(self) -> tuple[tuple[str, int], ...]:
        """Each as a host, without brackets, and a port."""
        apart = (text.rpartition(":") for text in self.addresses)
        return tuple((host.strip("[]"), int(port)) for host, _, port in apart)


Occasion = Literal["down", "degraded", "config", "monitor", "reminder"]
"""What a channel can be told about."""


class Channel(Table):
    """Where alerts go."""

    name: Name
    url: SecretText
    on: Annotated[tuple[Occasion, ...], Field(strict=False, min_length=1)] = (
        "down",
        "degraded",
        "config",
        "monitor",
        "reminder",
    )


class Provider(Table):
    """Who answers. What its endpoints inherit stands in them; this is what belongs to all of them."""

    id: Name
    name: Text
    status_page: Url | None = None
    data_policy: DataPolicy | None = None
    concurrency: Annotated[int, Field(ge=0, le=100_000)] = 0
    """Probes at once; 0 is no limit."""
    budget: Budget | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The whole file. It holds no secret, only the places where they are."""

    path: Path
    site: Site = field(default_factory=Site)
    database: Database = field(default_factory=Database)
    server: Server = field(default_factory=Server)
    push: Push = field(default_factory=Push)
    endpoints: tuple[EndpointSettings, ...] = ()
    """In the file's order, disabled ones among them."""
    providers: Mapping[str, Provider] = field(default_factory=dict)
    channels: Mapping[str, Channel] = field(default_factory=dict)
    alert: EndpointAlert = field(default_factory=EndpointAlert)
    budget: Budget | None = None
    canary: Canary = field(default_factory=Canary)
    maintenance: tuple[Maintenance, ...] = ()
    location: str = LOCATION
    secrets: Mapping[SecretText, KeyPath] = field(default_factory=dict)
    """What holds a secret or names one, and where it first stands."""
    warnings: tuple[Problem, ...] = ()
    """What is allowed, but should be known."""

    def __repr__(self) -> str:
        return f"Config({self.path}, {len(self.endpoints)} endpoints)"
