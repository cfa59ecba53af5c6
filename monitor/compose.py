"""From the config to the values that the running parts want; computed once."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from urllib.parse import unquote, urlsplit

from monitor.config import proxy as proxies
from monitor.config.cost import price_of
from monitor.config.secrets import Secrets
from monitor.config.settings import LOCATION, Config, Degraded, EndpointSettings
from monitor.core.alert import Route, Subject
from monitor.core.belief import Rules
from monitor.core.blot import Blot, secrets_in
from monitor.core.budget import (
    FREE,
    Budget,
    Ledger,
    Reach,
    Scope,
    Spent,
    day_of,
    worst_case_cost,
)
from monitor.core.degraded import DegradedRules
from monitor.core.instant import Instant, Span, span
from monitor.core.slots import Grid, phase_of
from monitor.pipeline import Watched
from monitor.protocols import Listening, registry
from monitor.reception import Sender
from monitor.transport.wire import Transports


def enabled(config: Config) -> list[EndpointSettings]:
    """The endpoints that are watched, in the config's order."""
    return [endpoint for endpoint in config.endpoints if endpoint.enabled]


def grid(endpoint: EndpointSettings) -> Grid:
    """Its slots: the phase comes from a stable hash, so an endpoint keeps its place."""
    interval = span(endpoint.interval)
    return Grid(interval, phase_of(endpoint.id, interval))


def blot(config: Config, secrets: Secrets) -> Blot:
    """What knows every secret of this process, also those that stand in a URL."""
    asked = [value for one in enabled(config) for url in _urls(one) for value in secrets_in(url)]
    public = [text for one in enabled(config) for text in _public(one)]
    return Blot([*secrets.values, *asked, *map(unquote, asked)], public)


def _urls(endpoint: EndpointSettings) -> Iterator[str]:
    """What it asks, as it stands in the file."""
    texts = (getattr(endpoint, key, None) for key in ("url", "base_url"))
    return (text for text in texts if isinstance(text, str))


def _public(endpoint: EndpointSettings) -> Iterator[str]:
    """What is no secret of it, whatever else the same word may be."""
    yield from (endpoint.id, endpoint.name, endpoint.provider_name, endpoint.model_name or "")
    yield from (urlsplit(url).hostname or "" for url in _urls(endpoint))
    for key in ("address", "server_name", "query", "server"):
        text = getattr(endpoint, key, None)
        if isinstance(text, str):
            yield text


def watched(
    endpoint: EndpointSettings, rules: Rules, secrets: Secrets, blot: Blot, transports: Transports
) -> Watched:
    """Everything that a look at the endpoint needs. Raises OSError or ValueError for a bad CA file."""
    look = registry()[endpoint.protocol].prepare(endpoint, secrets.of)
    worst = look.worst_case
    price = price_of(endpoint)
    ca_file = None if endpoint.ca_file is None else Path(endpoint.ca_file)
    proxy = None if endpoint.proxy is None else proxies.read(secrets.of(endpoint.proxy))
    return Watched(
        id=endpoint.id,
        provider=endpoint.provider,
        look=look,
        wire=transports.wire(endpoint.ip, ca_file, proxy, http2=endpoint.http2, bare=not endpoint.over_http),
        rules=rules,
        grid=grid(endpoint),
        timeout_s=endpoint.timeout.total_seconds(),
        connect_s=endpoint.connect_timeout.total_seconds(),
        protocol=endpoint.protocol,
        location=LOCATION,
        blot=blot,
        price=price,
        worst_cost=worst_case_cost(price, worst.input_tokens or 0, worst.output_tokens or 0),
        mailbox=look.mailbox if isinstance(look, Listening) else None,
    )


def senders(watched: Iterable[Watched]) -> list[Sender]:
    """Those that report by themselves."""
    return [
        Sender(one.id, one.look.token, one.look.mailbox) for one in watched if isinstance(one.look, Listening)
    ]


def rules(config: Config, endpoint: EndpointSettings) -> Rules:
    """How its looks become a belief, and who is told."""
    alert = endpoint.alert
    names = config.channels if alert.channels is None else alert.channels
    base = config.site.url
    return Rules(
        subject=Subject(
            id=endpoint.id,
            provider=endpoint.provider_name,
            model=endpoint.called,
            link=None if base is None else f"{base.rstrip('/')}/endpoints/{endpoint.id}",
            status_page=endpoint.status_page,
            timezone=config.site.timezone,
            reports=endpoint.reports,
        ),
        interval=span(endpoint.interval),
        timeout=span(endpoint.timeout),
        down_after=alert.down_after,
        up_after=alert.up_after,
        # Who reports by itself says no more for being looked at twice.
        confirm_every=Span(0) if endpoint.reports else span(alert.confirm_every),
        reminder=Span(0) if alert.reminder is None else span(alert.reminder),
        degraded=None if endpoint.degraded is None else _degraded(endpoint.degraded),
        routes=tuple(Route(name, frozenset(config.channels[name].on)) for name in names),
    )


def gone(config: Config, endpoint: str) -> Rules:
    """For an endpoint that is believed in but no longer configured."""
    provider, _, slug = endpoint.partition("/")
    known = config.providers.get(provider)
    return Rules(
        subject=Subject(
            id=endpoint,
            provider=provider if known is None else known.name or provider,
            model=slug,
            timezone=config.site.timezone,
        ),
        interval=Span(1),
        timeout=Span(1),
    )


def _degraded(said: Degraded) -> DegradedRules:
    return DegradedRules(
        over=span(said.over),
        ttft_p50=_ms(said.ttft_p50),
        ttft_p95=_ms(said.ttft_p95),
        total_p50=_ms(said.total_p50),
        total_p95=_ms(said.total_p95),
        output_speed_p50=said.output_speed_p50,
        error_rate=said.error_rate,
        flawed_streams=said.flawed_streams,
    )


def _ms(length: timedelta | None) -> float | None:
    return None if length is None else length.total_seconds() * 1000.0


def scopes(config: Config) -> dict[str, tuple[Scope, ...]]:
    """Whose money each endpoint spends: only the scopes that have a budget."""
    out: dict[str, tuple[Scope, ...]] = {}
    for endpoint in enabled(config):
        limited = []
        if endpoint.budget is not None:
            limited.append(Scope(Reach.ENDPOINT, endpoint.id))
        if config.providers[endpoint.provider].budget is not None:
            limited.append(Scope(Reach.PROVIDER, endpoint.provider))
        if config.budget is not None:
            limited.append(Scope(Reach.SITE))
        if limited:
            out[endpoint.id] = tuple(limited)
    return out


def ledgers(
    config: Config, whose: Mapping[str, Iterable[Scope]], spent: Mapping[str, Spent], now: Instant
) -> list[Ledger]:
    """What each budget has left today, after what each endpoint has spent."""
    today = day_of(now)
    sums: dict[Scope, Decimal] = {}
    for endpoint, limited in whose.items():
        for scope in limited:
            sums[scope] = sums.get(scope, FREE) + (spent[endpoint].on(today) if endpoint in spent else FREE)
    limits = _limits(config)
    return [
        Ledger(scope=scope, day=today, budget=Budget(limits[scope]), spent=amount)
        for scope, amount in sums.items()
    ]


def _limits(config: Config) -> dict[Scope, Decimal]:
    limits: dict[Scope, Decimal] = {}
    if config.budget is not None:
        limits[Scope(Reach.SITE)] = config.budget.daily_usd
    for name, provider in config.providers.items():
        if provider.budget is not None:
            limits[Scope(Reach.PROVIDER, name)] = provider.budget.daily_usd
    for endpoint in config.endpoints:
        if endpoint.budget is not None:
            limits[Scope(Reach.ENDPOINT, endpoint.id)] = endpoint.budget.daily_usd
    return limits
