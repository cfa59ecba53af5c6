"""config.toml → `Config`: strict, whole, and with every problem in one run.

Parse, inherit on the plain tree, validate each flat endpoint against the settings of its
protocol, then look at what has to fit together. Whatever is wrong is said at the place in the
file where it stands, once, however many endpoints inherit it.
"""

import stat
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from monitor.config import rules
from monitor.config.endpoints import Watchlist
from monitor.config.findings import Findings
from monitor.config.inherit import merged, shape_of
from monitor.config.maintenance import Maintenance, expression
from monitor.config.problem import ConfigError, KeyPath, Problem, key_path
from monitor.config.salvage import rest
from monitor.config.secrets import SecretText, is_secret
from monitor.config.settings import (
    Budget,
    Canary,
    Channel,
    Config,
    Database,
    EndpointAlert,
    EndpointSettings,
    Push,
    Server,
    Site,
)
from monitor.config.source import read
from monitor.config.values import Table, quoted
from monitor.config.wording import unknown_key
from monitor.core.instant import Instant, instant, iso, span

__all__ = ["ConfigError", "Problem", "load"]

_SECTIONS = (
    "site",
    "database",
    "server",
    "push",
    "defaults",
    "provider",
    "channel",
    "alert",
    "budget",
    "canary",
    "maintenance",
)

Readable = Callable[[str], str | None]
AnyTable = TypeVar("AnyTable", bound=Table)


def load(
    path: Path,
    protocols: Mapping[str, type[EndpointSettings]],
    now: Instant | datetime,
    readable_channel: Readable | None = None,
) -> Config:
    """The whole file. Raises ConfigError with everything that is wrong in it.

    Resolves no secret. `readable_channel` says why the URL of a channel cannot be read, or None;
    it is asked where the URL names no secret, and its text must not quote the URL.
    """
    source = read(path)
    found = Findings(source)
    tree = source.tree
    _unknown_sections(tree, found)
    site = _section(Site, tree, "site", found) or Site()
    channels = _channels(tree, found, readable_channel)
    alert = _alert(tree, found)
    named = tree["channel"] if isinstance(tree.get("channel"), dict) else {}
    for keys, text in rules.unknown_channels(alert.channels or (), named):
        found.refuse(keys, text)
    watched = Watchlist(tree, found, protocols, named, path.absolute().parent)
    database = _section(Database, tree, "database", found) or Database()
    secrets = _secrets(watched, channels, database)
    _stand_in_file(secrets, path, found)
    moment = now if isinstance(now, int) else instant(now)
    server = _server(tree, found)
    budget = _section(Budget, tree, "budget", found) if "budget" in tree else None
    _doubt_budgets(budget, watched, found)
    config = Config(
        path=path,
        site=site,
        database=database,
        server=server,
        push=_push(tree, server, watched, found),
        endpoints=tuple(watched.endpoints),
        providers=watched.providers,
        channels=channels,
        alert=alert,
        budget=budget,
        canary=_section(Canary, tree, "canary", found) or Canary(),
        maintenance=_maintenance(tree, site, watched, moment, found),
        secrets=secrets,
        warnings=found.warnings,
    )
    if found.problems:
        raise ConfigError(found.problems)
    return config


def _unknown_sections(tree: Mapping[str, Any], found: Findings) -> None:
    for key in tree:
        if key not in _SECTIONS:
            found.refuse((key,), unknown_key(key, _SECTIONS))


def _section(model: type[AnyTable], tree: Mapping[str, Any], key: str, found: Findings) -> AnyTable | None:
    return found.table(model, tree.get(key, {}), (key,))


def _rest(model: type[AnyTable], tree: object) -> AnyTable:
    """What can be read of a section that was refused; its defaults where nothing can."""
    left = rest(model, tree)
    return model() if left is None else left.table


def _alert(tree: Mapping[str, Any], found: Findings) -> EndpointAlert:
    alert = tree.get("alert", {})
    if isinstance(alert, dict):
        alert = merged({}, alert, shape_of(EndpointAlert))  # `reminder = false` is none
    return found.table(EndpointAlert, alert, ("alert",)) or _rest(EndpointAlert, alert)


def _server(tree: Mapping[str, Any], found: Findings) -> Server:
    server = _section(Server, tree, "server", found) or _rest(Server, tree["server"])
    if server.listen is not None and server.listen == server.public_listen:
        found.refuse(
            ("server", "public_listen"),
            "is the same address as listen: operators see more than everybody may",
        )
    return server


def _push(tree: Mapping[str, Any], server: Server, watched: Watchlist, found: Findings) -> Push:
    push = _section(Push, tree, "push", found) or Push()
    sender = next((one.id for one in watched.endpoints if one.reports and one.enabled), None)
    key = ("push", "listen")
    if sender is not None and push.listen is None:
        found.refuse(key, f'is empty, but {sender} reports there: write an address such as "127.0.0.1:8481"')
    elif sender is not None and push.listen in (server.listen, server.public_listen):
        found.refuse(key, "is the address of the page: reports need one of their own")
    return push


def _channels(tree: Mapping[str, Any], found: Findings, readable: Readable | None) -> dict[str, Channel]:
    tables = tree.get("channel", {})
    if not isinstance(tables, dict):
        found.refuse(("channel",), "is not a table: write it as [channel.NAME]")
        return {}
    channels: dict[str, Channel] = {}
    owners: dict[str, str] = {}
    for name, table in tables.items():
        path: KeyPath = ("channel", name)
        first = owners.setdefault(name.casefold(), name)
        if first != name:
            taken = f"{quoted(name)} is already taken by {key_path(('channel', first))}"
            found.refuse(path, f"{taken} (case does not count): write another name")
        channel = found.table(Channel, table, path, {"name": name})
        if channel is None:
            continue
        channels[name] = channel
        refusal = readable(channel.url.template) if readable and not channel.url.places else None
        if refusal:
            found.refuse((*path, "url"), refusal)
    return channels


def _doubt_budgets(site: Budget | None, watched: Watchlist, found: Findings) -> None:
    """Those over models of which none has a price; what an endpoint says for itself was looked at with it."""
    models = [one for one in watched.endpoints if one.model_name is not None]
    over: list[tuple[KeyPath, Budget | None, list[EndpointSettings]]] = [(("budget",), site, models)]
    for name, provider in watched.providers.items():
        own = [one for one in models if one.provider == name]
        over.append((("provider", name, "budget"), provider.budget, own))
    for path, budget, among in over:
        if budget is not None and among and all(one.price is None for one in among):
            found.doubt(path, "limits nothing: no model has a price")


def _maintenance(
    tree: Mapping[str, Any], site: Site, watched: Watchlist, now: Instant, found: Findings
) -> tuple[Maintenance, ...]:
    tables = tree.get("maintenance", [])
    if not isinstance(tables, list):
        found.refuse(("maintenance",), "is not a list of tables: write it as [[maintenance]]")
        return ()
    planned = []
    for place, table in enumerate(tables):
        path: KeyPath = ("maintenance", place)
        zoned = {"timezone": site.timezone} | table if isinstance(table, dict) else table
        one = found.table(Maintenance, zoned, path)
        if one is not None:
            planned.append(one)
            _doubt_maintenance(one, path, watched, now, found)
    return tuple(planned)


def _doubt_maintenance(
    planned: Maintenance, path: KeyPath, watched: Watchlist, now: Instant, found: Findings
) -> None:
    ids = [endpoint.id for endpoint in watched.endpoints]
    for place, pattern in enumerate(planned.endpoints):
        if not any(map(expression((pattern,)).fullmatch, ids)):
            found.doubt((*path, "endpoints", place), f"{quoted(pattern)} matches no endpoint")
    start = planned.starts_once
    if start is not None and start + span(planned.duration) <= now:
        found.doubt(
            (*path, "start"), f"lies in the past: it ended at {iso(Instant(start + span(planned.duration)))}"
        )


def _secrets(
    watched: Watchlist, channels: Mapping[str, Channel], database: Database
) -> dict[SecretText, KeyPath]:
    """What holds a secret or names one, and where."""
    places = dict(watched.secrets)
    places |= {channel.url: ("channel", name, "url") for name, channel in channels.items()}
    places |= {database.url: ("database", "url")}
    return {text: path for text, path in places.items() if text.places or is_secret(path, text)}


def _stand_in_file(secrets: Mapping[SecretText, KeyPath], path: Path, found: Findings) -> None:
    """A secret that is not kept elsewhere is only as safe as the file."""
    literal = [place for text, place in secrets.items() if not text.places]
    if not literal:
        return
    mode = path.stat().st_mode
    for place in literal:
        if mode & stat.S_IROTH:
            found.refuse(
                place,
                "a secret stands in this file, which everybody can read: write ${env:NAME}, ${file:PATH} or"
                " ${cred:NAME} instead, or chmod o-r the file",
            )
        else:
            found.doubt(
                place,
                "a secret stands in the file itself: ${env:NAME}, ${file:PATH} or ${cred:NAME} is safer",
            )
