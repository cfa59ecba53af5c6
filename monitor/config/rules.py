"""What no single value can be wrong about: limits that have to fit each other."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from ipaddress import ip_address
from urllib.parse import urlsplit

from monitor.config.settings import Degraded, EndpointSettings, ModelSettings, Objection
from monitor.config.values import quoted, written
from monitor.config.wording import suggestion

SAMPLES = {
    "ttft_p50": 5,
    "ttft_p95": 21,
    "total_p50": 5,
    "total_p95": 21,
    "output_speed_p50": 5,
    "error_rate": 10,
    "flawed_streams": 10,
}
"""How many probes a rule needs in its window before it says anything."""

LEANS_ON: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "timeout": (("interval",),),
    "degraded": (("interval",), ("degraded", "over")),
    "proxy": (("http2",),),
    "omit": (("limits",), ("price",), ("max_tokens_field",)),
}
"""By the key that is refused, what else a rule looked at."""
_FEWEST_TOKENS = 16


def shrunk(interval: timedelta) -> timedelta:
    """What an inherited timeout shrinks to at an interval that is too short for it."""
    return interval * 9 // 10


def broken(
    endpoint: EndpointSettings, channels: Mapping[str, object], *, budgeted: bool
) -> Iterator[Objection]:
    """What has to be refused although each value by itself is right; `budgeted`: a budget is to limit it."""
    if endpoint.timeout >= endpoint.interval:
        limit, interval = quoted(written(endpoint.timeout)), quoted(written(endpoint.interval))
        most = quoted(written(shrunk(endpoint.interval)))
        yield ("timeout",), f"{limit} is not shorter than the interval of {interval}: at most {most}"
    if endpoint.http2 and endpoint.proxy and not endpoint.proxy.template.startswith(("http:", "unix:")):
        text = 'with http2 it has to begin with "http://" or "unix:": write one of these, or http2 = false'
        yield ("proxy",), text
    if endpoint.degraded:
        yield from _starved(endpoint.degraded, endpoint.interval)
    if budgeted and _is_boundless(endpoint):
        text = "with this nothing limits an answer, so no budget can tell what it may cost"
        yield ("omit",), f"{text}: write limits = {{ max_output = … }} as well"
    yield from unknown_channels(endpoint.alert.channels or (), channels)


def _is_boundless(endpoint: EndpointSettings) -> bool:
    """An answer costs money, and nothing limits how much.

    Not where its protocol refuses to leave the limit out: the mend for that mends this.
    """
    paid = endpoint.price is not None and endpoint.price.output > 0
    if not isinstance(endpoint, ModelSettings) or endpoint.longest_answer is not None or not paid:
        return False
    omitting = endpoint.model_copy(update={"omit": (endpoint.limit_field,)})
    return all(keys != ("omit",) for keys, _ in omitting.objections())


def unknown_channels(names: tuple[str, ...], channels: Mapping[str, object]) -> Iterator[Objection]:
    """Names under `alert.channels` that no channel has."""
    for place, name in enumerate(names):
        if name not in channels:
            hint = suggestion(name, channels) or "there is no [channel.…] at all"
            yield ("alert", "channels", place), f"there is no channel {quoted(name)}; {hint}"


def _starved(rules: Degraded, interval: timedelta) -> Iterator[Objection]:
    """Windows that can never hold as many probes as one of their rules needs."""
    held = rules.over // interval
    hungry = {
        rule: need for rule, need in SAMPLES.items() if getattr(rules, rule) is not None and held < need
    }
    if hungry:
        rule = max(hungry, key=lambda name: hungry[name])
        key = "over" if "over" in rules.model_fields_set else rule
        over, every = quoted(written(rules.over)), quoted(written(interval))
        enough = quoted(written(interval * hungry[rule]))
        text = f"{over} holds {held} probes at an interval of {every}, but {rule} needs {hungry[rule]}"
        yield ("degraded", key), f"{text}: write over = {enough} or longer"


def doubtful(endpoint: EndpointSettings, *, budgeted: bool) -> Iterator[Objection]:
    """What is allowed, but is seldom meant."""
    if not isinstance(endpoint, ModelSettings):
        return
    if endpoint.budget and endpoint.price is None:
        yield ("budget",), "limits nothing: the endpoint has no price"
    if not budgeted and _is_boundless(endpoint):
        text = "with this nothing limits an answer, so nobody can tell what it may cost"
        yield ("omit",), f"{text}: limits = {{ max_output = … }} says it"
    if endpoint.max_tokens < _FEWEST_TOKENS:
        text = f"{endpoint.max_tokens} is little to measure a speed by, and some providers refuse it"
        yield ("max_tokens",), f"{text}: {_FEWEST_TOKENS} or more is safe"
    here = _is_here(endpoint.base_url) or (endpoint.proxy and endpoint.proxy.template.startswith("unix:"))
    if endpoint.api_key and endpoint.base_url.startswith("http:") and not here:
        yield ("base_url",), "the key travels unencrypted over http: use https unless the network is yours"


def _is_here(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:  # a name, not an address
        return host == "localhost" or host.endswith(".localhost")
