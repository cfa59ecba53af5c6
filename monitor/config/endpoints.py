"""Providers and their endpoints: what each inherits, what it is, and what is wrong with it."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from monitor.config import rules
from monitor.config.findings import Findings
from monitor.config.inherit import Level, Shape, Tree, known, merged, origin, shape_of
from monitor.config.problem import KeyPath, key_path
from monitor.config.salvage import Rest, rest
from monitor.config.secrets import SecretText
from monitor.config.settings import EndpointSettings, ModelSettings, Provider
from monitor.config.values import as_name, kind_of, quoted
from monitor.config.wording import suggestion, unknown_key

Settings = type[EndpointSettings]

GIVEN = frozenset({"id", "provider", "provider_name", "also_of"})
"""Fields of an endpoint that come from its place in the file and not from a key."""
OF_HTTP = frozenset({"headers", "http2"})
"""Fields of every endpoint that mean nothing where no HTTP is spoken."""
NOT_FOR_ALL = frozenset({"name", "slug", "budget"})
"""What an endpoint says for itself and never inherits."""
_OF_PROVIDER = frozenset({"name", "concurrency", "budget", "endpoints"})
"""What a provider says for itself."""
_SHARED = Provider.model_fields.keys() - {"id"}
"""What is told of a provider as well as of its endpoints."""
_ELSEWHERE = GIVEN | {"also", "concurrency", "endpoints"}
"""Keys that are told of an endpoint by other means than validation."""
_UNNAMED = "unnamed"
_OF_PROTOCOL = frozenset({"expect", "ip"})
"""Fields of every endpoint that mean to each protocol what it makes of them."""
_STAND_INS = {
    **dict.fromkeys(("id", "provider", "slug", "provider_name", "protocol", "name", "model"), _UNNAMED),
    "base_url": "https://unnamed.invalid",
    "url": "https://unnamed.invalid",
    "address": "unnamed.invalid:443",
    "token": "${env:UNNAMED}",
}
"""For what is refused or missing, while the rest of an endpoint is looked over."""
_BELONGS = {
    "concurrency": "belongs to a provider: write it under [provider.NAME]",
    "endpoints": "belongs to a provider: write them as [[provider.NAME.endpoints]]",
    "name": "belongs to each provider or endpoint",
    "slug": "belongs to each endpoint",
    "also": "belongs to each endpoint",
    "budget": "belongs to a provider, an endpoint or the site ([budget])",
}


@cache
def _shape(settings: Settings) -> Shape:
    return shape_of(settings).without(GIVEN)


class Watchlist:
    """What is watched, in the file's order. What is wrong goes to the findings."""

    def __init__(
        self,
        tree: Tree,
        found: Findings,
        protocols: Mapping[str, Settings],
        channels: Mapping[str, object],
        folder: Path,
    ) -> None:
        self.endpoints: list[EndpointSettings] = []
        self.providers: dict[str, Provider] = {}
        self.secrets: dict[SecretText, KeyPath] = {}
        """Every text that may hold a secret, and where it first stands."""
        self.found = found
        self.protocols = protocols
        self.channels = channels
        self.folder = folder
        self._owners: dict[str, KeyPath] = {}
        self._authority = cache(_authority)
        self._site_budgeted = "budget" in tree
        above = self._defaults(tree)
        for name, table in self._tables(tree, "provider"):
            _Group(self, name, table, above).read()
        if not self.endpoints:
            found.doubt((), "nothing is watched yet: add [[provider.NAME.endpoints]]")

    def _tables(self, tree: Tree, key: str) -> Iterator[tuple[str, dict[str, Any]]]:
        tables = tree.get(key, {})
        if not isinstance(tables, dict):
            self.found.refuse((key,), f"{kind_of(tables)} is not a table: write it as [{key}.NAME]")
            return
        for name, table in tables.items():
            if isinstance(table, dict):
                yield name, table
            else:
                self.found.refuse((key, name), f"unknown key; a provider is written as [{key}.NAME]")

    def _defaults(self, tree: Tree) -> tuple[Level, ...]:
        """`[defaults]`, and `[alert]` above it."""
        alert, defaults = tree.get("alert"), tree.get("defaults", {})
        top = Level((), {"alert": alert} if isinstance(alert, dict) else {})
        if not isinstance(defaults, dict):
            self.found.refuse(("defaults",), f"{kind_of(defaults)} is not a table")
            return (top,)
        level = self.level(("defaults",), defaults, self.protocols.values(), frozenset())
        for settings in self.protocols.values():
            self.inherited(settings, (level, top))
        return (level, top)

    def level(self, path: KeyPath, tree: Tree, settings: Iterable[Settings], own: Collection[str]) -> Level:
        """What endpoints can inherit from that table; all else in it is refused, but its `own` keys."""
        shapes = [_shape(each).without(NOT_FOR_ALL) for each in settings]
        rest = {key: value for key, value in tree.items() if key not in own}
        for keys, names in _unknown(rest, shapes):
            key = str(keys[-1])
            belongs = (_BELONGS.get(key) or self._of_others(key)) if len(keys) == 1 else None
            self.found.refuse(path + keys, belongs or unknown_key(key, {*names, *own}))
        if isinstance(rest.get("protocol"), str):
            self.protocol(rest["protocol"], (*path, "protocol"))
        return Level(path, {key: value for key, value in rest.items() if key not in _BELONGS})

    def protocol(self, name: object, path: KeyPath) -> Settings | None:
        """The settings of a protocol; None if there is none of that name, which is refused."""
        if isinstance(name, str) and name in self.protocols:
            return self.protocols[name]
        near = suggestion(name if isinstance(name, str) else "", self.protocols)
        self.found.refuse(path, f"there is no protocol {quoted(name)}; {near}")
        return None

    def _of_others(self, key: str) -> str | None:
        users = [name for name, settings in self.protocols.items() if key in (_shape(settings).keys or ())]
        return f"is a key of {', '.join(users)} only, which no endpoint here uses" if users else None

    def inherited(self, settings: Settings, levels: Sequence[Level]) -> dict[str, Any]:
        """What an endpoint of that protocol has before it says anything itself."""
        shape = _shape(settings)
        tree: dict[str, Any] = {}
        for level in reversed(levels):
            tree = merged(tree, known(level.tree, shape), shape)
        try:
            settings.model_validate(tree)
        except ValidationError as error:
            self.found.blame(error, shape, lambda keys: origin(levels, keys))
        return tree

    def claim(self, name: str, owner: KeyPath, path: KeyPath, instead: str) -> None:
        """Names of providers and ids of endpoints differ in more than case."""
        first = self._owners.setdefault(name.casefold(), owner)
        if first != owner:
            taken = f"{quoted(name)} is already taken by {key_path(first)}"
            self.found.refuse(path, f"{taken} (case does not count): {instead}")

    def add(self, endpoint: EndpointSettings, levels: Sequence[Level], *, also: bool) -> None:
        """One more endpoint whose values are right by themselves; `also`: it has a sibling."""
        self.look_over(Rest(endpoint, frozenset()), levels, also=also)
        self.endpoints.append(endpoint)

    def look_over(self, left: Rest[EndpointSettings], levels: Sequence[Level], *, also: bool) -> None:
        """Say what else is wrong with an endpoint, as far as what was dropped has no part in it."""
        endpoint = left.table
        provider = self.providers.get(endpoint.provider)
        of_provider = None if provider is None else provider.budget
        budgeted = self._site_budgeted or (endpoint.budget or of_provider) is not None
        for keys, text in rules.broken(endpoint, self.channels, budgeted=budgeted):
            if not any(map(left.touches, (keys, *rules.LEANS_ON.get(str(keys[0]), ())))):
                self.found.refuse(origin(levels, keys), text)
        # Where the value comes from a sibling, it is there that it is right.
        near = levels[:1] if also else levels
        own = type(endpoint).model_fields.keys() - ModelSettings.model_fields.keys() | _OF_PROTOCOL
        for keys, text in endpoint.objections():
            if not any(left.touches(key) for key in (keys, *((name,) for name in own))):
                self.found.refuse(origin(near, keys), text)
        for keys, text in rules.doubtful(endpoint, budgeted=budgeted):
            self.found.doubt(origin(levels, keys), text)
        if endpoint.ca_file is not None and (wrong := self._authority(endpoint.ca_file)):
            self.found.refuse(origin(levels, ("ca_file",)), wrong)
        for place, secret in endpoint.secrets().items():
            if secret not in self.secrets:
                self.secrets[secret] = origin(levels, place)


@dataclass(frozen=True)
class _Place:
    """Where one endpoint stands."""

    own: Level
    """Its table."""
    sibling: Level | None = None
    """The table of the endpoint whose `also` it stands in; it inherits everything from there."""

    @property
    def levels(self) -> tuple[Level, ...]:
        return (self.own,) if self.sibling is None else (self.own, self.sibling)


class _Group:
    """One provider, while it is read."""

    def __init__(self, watch: Watchlist, name: str, tree: dict[str, Any], above: tuple[Level, ...]) -> None:
        self.path: KeyPath = ("provider", name)
        self._watch = watch
        self._name = name
        self._tree = tree
        self._above = above
        self._shown = name
        self._missing: dict[KeyPath, list[tuple[Level, ...]]] = {}

    def read(self) -> None:
        watch = self._watch
        own = {key: value for key, value in self._tree.items() if key in _SHARED and value is not False}
        provider = watch.found.table(Provider, {"name": self._name} | own, self.path, {"id": self._name})
        watch.claim(self._name, self.path, self.path, "write another name")
        if provider is not None:
            watch.providers[self._name] = provider
            self._shown = provider.name
        places = list(self._places())
        chosen = [self._protocol(place) for place in places]
        used = dict.fromkeys(settings for settings in chosen if settings)
        everything = watch.protocols.values()
        level = watch.level(
            self.path, self._tree, used if chosen and all(chosen) else everything, _OF_PROVIDER
        )
        base = {settings: watch.inherited(settings, (level, *self._above)) for settings in used or everything}
        for place, settings in zip(places, chosen, strict=True):
            if settings is not None:
                self._read_endpoint(place, settings, base[settings], (level, *self._above))
        self._say_missing(len(places))

    def _places(self) -> Iterator[_Place]:
        """Its endpoints, each with its path; those of an `also` behind the one that says it."""
        path: KeyPath = (*self.path, "endpoints")
        for own in self._tables(path, self._tree.get("endpoints", []), f"[[{key_path(path)}]]"):
            yield _Place(own)
            also = self._tables((*own.path, "also"), own.tree.get("also", []), 'also = [{ protocol = "…" }]')
            for table in also:
                if "also" in table.tree:
                    self._watch.found.refuse((*table.path, "also"), "cannot stand in another `also`")
                yield _Place(table, own)

    def _tables(self, path: KeyPath, tables: object, right: str) -> Iterator[Level]:
        """A list of tables; anything else is refused, with how it would be right."""
        if not isinstance(tables, list):
            self._watch.found.refuse(path, f"is not a list of tables: write it as {right}")
            return
        for number, table in enumerate(tables):
            if isinstance(table, dict):
                yield Level((*path, number), table)
            else:
                self._watch.found.refuse((*path, number), f"{kind_of(table)} is not a table")

    def _protocol(self, place: _Place) -> Settings | None:
        """The settings of the endpoint's protocol; None if that is refused."""
        levels = (place.own, Level(self.path, self._tree), *self._above)
        if place.sibling is not None:
            levels = (place.own,)  # another protocol is what it is there for
        name = next((level.tree["protocol"] for level in levels if "protocol" in level.tree), None)
        if name is not None:
            return self._watch.protocol(name, origin(levels, ("protocol",)))
        path = self.path if place.sibling is None else place.own.path
        names = ", ".join(sorted(self._watch.protocols))
        if not self._watch.found.has_unread:
            self._watch.found.refuse((*path, "protocol"), f"is missing: one of {names}")
        return None

    def _read_endpoint(self, place: _Place, settings: Settings, base: Tree, above: tuple[Level, ...]) -> None:
        found, shape = self._watch.found, _shape(settings)
        levels = (*place.levels, *above)
        for key in place.own.tree:
            if key in ("concurrency", "endpoints"):
                found.refuse((*place.own.path, key), _BELONGS[key])
            elif key in OF_HTTP and not settings.over_http:
                found.refuse((*place.own.path, key), "belongs to protocols over HTTP: leave it out")
            elif key in GIVEN:
                found.refuse((*place.own.path, key), "comes from its place in the file: leave it out")
        flat = dict(base) if settings.over_http else {k: v for k, v in base.items() if k not in OF_HTTP}
        if place.sibling is not None:
            flat = merged(base, known(_own(place.sibling), shape), shape)
            flat |= self._named_alike(place, settings, levels)
        flat = merged(flat, _own(place.own), shape)
        self._name_it(flat, settings, levels)
        ca_file = flat.get("ca_file")
        if isinstance(ca_file, str):
            flat["ca_file"] = str(self._watch.folder / ca_file) if ca_file else None
        try:
            endpoint = settings.model_validate(flat)
        except ValidationError as error:
            for keys in found.blame(error, shape, lambda keys: self._origin(levels, keys)):
                self._missing.setdefault(keys, []).append(levels)
            left = rest(settings, flat, _STAND_INS)
            if left is not None:
                whole = replace(left, table=_shrunk(left.table, levels))
                self._watch.look_over(whole, levels, also=place.sibling is not None)
            return
        self._watch.add(_shrunk(endpoint, levels), levels, also=place.sibling is not None)

    def _named_alike(self, place: _Place, settings: Settings, levels: tuple[Level, ...]) -> dict[str, Any]:
        """What a second protocol of a model is called: as its sibling, with the protocol behind the slug."""
        model = next((level.tree["model"] for level in levels[1:] if "model" in level.tree), None)
        said = levels[1].tree
        told = [text for text in (model, said.get("name")) if isinstance(text, str) and text]
        slug = said.get("slug", as_name(told[0]) if told else "")
        names: dict[str, Any] = {"name": said.get("name", told[0])} if told else {}
        if isinstance(slug, str) and slug:
            names |= {"slug": f"{slug}.{place.own.tree['protocol']}", "also_of": f"{self._name}/{slug}"}
        if model is not None and "model" in settings.model_fields:
            names["model_id"] = said.get("model_id", model)
        return names

    def _origin(self, levels: tuple[Level, ...], keys: KeyPath) -> KeyPath:
        return self.path if keys and keys[0] in GIVEN else origin(levels, keys)

    def _name_it(self, flat: dict[str, Any], settings: Settings, levels: tuple[Level, ...]) -> None:
        """Put in what comes from its place in the file, and from its model or name."""
        place = levels[0]
        told = [key for key in ("model", "name") if isinstance(flat.get(key), str) and flat[key]]
        known_as = flat[told[0]] if told else flat.get("slug")
        slug = flat["slug"] if "slug" in flat else as_name(flat[told[0]] if told else "")
        if told and "slug" not in flat and not slug:
            text = f'no slug can be made of {quoted(known_as)}: write one, such as slug = "my-model"'
            self._watch.found.refuse(origin(levels, (told[0],)), text)
        if known_as is not None:
            flat.setdefault("name", known_as)
        if "model" in settings.model_fields:
            flat.setdefault("model_id", flat.get("model"))
            flat.setdefault("name", _UNNAMED)  # it lacks a model, which is to be said once
        flat.setdefault("slug", slug or _UNNAMED)
        named = slug if isinstance(slug, str) else _UNNAMED  # it is refused, and may be too long to show
        flat |= {"id": f"{self._name}/{named}", "provider": self._name, "provider_name": self._shown}
        if slug and isinstance(slug, str):
            key = next((key for key in ("slug", *told) if key in place.tree), None)
            path = (*place.path, key) if key else place.path
            self._watch.claim(flat["id"], place.path, path, "write another slug")

    def _say_missing(self, endpoints: int) -> None:
        """What all endpoints lack is their provider's to say, and said once."""
        for keys, lacking in self._missing.items():
            if len(lacking) == endpoints > 1 and len(keys) == 1 and keys[0] != "model":
                self._watch.found.refuse(self.path + keys, "is missing")
            else:
                for levels in lacking:
                    self._watch.found.refuse(origin(levels, keys), "is missing")


def _authority(path: str) -> str | None:
    """What is wrong with a file of certificates, if anything is.

    Who only reads the config may lack the right to read it; then nothing is wrong.
    """
    import ssl  # only where there is such a file

    if "\0" in path:
        return "contains a control character: remove it"
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except ssl.SSLError:
        return "holds no certificate in PEM form"
    except PermissionError:
        return None
    except FileNotFoundError:
        return "there is no such file"
    except OSError as refused:
        return f"cannot be read: {refused.strerror}"
    return None


def _own(place: Level) -> dict[str, Any]:
    """What an endpoint says for itself, as far as that is to be validated."""
    return {key: value for key, value in place.tree.items() if key not in _ELSEWHERE}


def _shrunk(endpoint: EndpointSettings, levels: Sequence[Level]) -> EndpointSettings:
    """The endpoint with an inherited timeout that fits into its interval."""
    if endpoint.timeout < endpoint.interval or not _inherits_timeout(levels):
        return endpoint
    return endpoint.model_copy(update={"timeout": rules.shrunk(endpoint.interval)})


def _inherits_timeout(levels: Sequence[Level]) -> bool:
    """Its timeout comes from farther away than its interval."""
    near = next((level for level in levels if "timeout" in level.tree or "interval" in level.tree), None)
    return near is None or "timeout" not in near.tree


def _unknown(tree: Tree, shapes: Sequence[Shape]) -> Iterator[tuple[KeyPath, set[str]]]:
    """Keys that none of the shapes has, each with those that are known in its place."""
    for key, value in tree.items():
        holders = [shape.keys[key] for shape in shapes if shape.keys is not None and key in shape.keys]
        if not holders:
            yield (key,), {name for shape in shapes for name in shape.keys or ()}
        elif isinstance(value, dict) and all(holder.table and holder.keys is not None for holder in holders):
            for keys, names in _unknown(value, holders):
                yield (key, *keys), names
