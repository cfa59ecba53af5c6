"""The pages: a snapshot in, HTML out. Whatever comes from outside is escaped by the templates."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import groupby
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from monitor.core.identity import Event
from monitor.core.instant import iso
from monitor.core.integrity import Flaw
from monitor.core.snapshot import EndpointSnapshot, Snapshot, Story
from monitor.core.step import Result
from monitor.core.timeline import Phases
from monitor.core.uptime import PUBLISHED, Bucket, Metric, Window
from monitor.web import drawing, words

HOME_DETAILS = 60
"""With more endpoints the first page shows a line for each, and the provider's page the rest."""
RECENT_INCIDENTS = 10
REFRESH_S = 15

_FOLDER = resources.files("monitor.web")


@dataclass(frozen=True, slots=True)
class Asset:
    """A file that pages refer to. Its address changes with its content."""

    name: str
    body: bytes
    media_type: str
    version: str

    @property
    def address(self) -> str:
        return f"/static/{self.name}?v={self.version}"


_TYPES = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}


@cache
def assets() -> Mapping[str, Asset]:
    """All of them, by name."""
    found = {}
    for file in (_FOLDER / "static").iterdir():
        media_type = _TYPES.get(file.name.rpartition(".")[2])
        if media_type is not None:
            body = file.read_bytes()
            version = hashlib.blake2b(body, digest_size=6).hexdigest()
            found[file.name] = Asset(file.name, body, media_type, version)
    return found


@dataclass(frozen=True, slots=True)
class Group:
    """A provider with its endpoints, as far as they are shown."""

    id: str
    name: str
    status_page: str | None
    endpoints: tuple[EndpointSnapshot, ...]


def groups(snapshot: Snapshot) -> list[Group]:
    """In the config's order."""
    found: dict[str, list[EndpointSnapshot]] = {}
    for one in snapshot.endpoints:
        found.setdefault(one.listing.provider, []).append(one)
    return [
        Group(
            id=provider,
            name=members[0].listing.provider_name,
            status_page=next((one.listing.status_page for one in members if one.listing.status_page), None),
            endpoints=tuple(members),
        )
        for provider, members in found.items()
    ]


def home(snapshot: Snapshot) -> bytes:
    over = [story for story in snapshot.incidents if story.ended_at is not None]
    return _render(
        "home.html",
        snapshot,
        groups=groups(snapshot),
        brief=len(snapshot.endpoints) > HOME_DETAILS,
        open_incidents=snapshot.open_incidents,
        recent_incidents=over[:RECENT_INCIDENTS],
    )


def provider(snapshot: Snapshot, id_: str) -> bytes | None:
    """The page of a provider; None if it has no endpoint here."""
    group = next((group for group in groups(snapshot) if group.id == id_), None)
    if group is None:
        return None
    ids = {one.id for one in group.endpoints}
    concerned = [story for story in snapshot.incidents if ids & set(story.endpoints)]
    return _render(
        "provider.html",
        snapshot,
        group=group,
        open_incidents=[story for story in concerned if story.ended_at is None],
        recent_incidents=[story for story in concerned if story.ended_at is not None][:RECENT_INCIDENTS],
    )


@dataclass(frozen=True, slots=True)
class Look:
    """A probe in the list of the last ones."""

    probe: Result
    parts: Sequence[drawing.Part]


def endpoint(
    snapshot: Snapshot,
    one: EndpointSnapshot,
    probes: Sequence[tuple[Result, Phases | None]],
    series: Mapping[Metric, Sequence[Bucket]],
    incidents: Sequence[Story],
    *,
    operators: bool,
    evidence: Collection[str] = (),
    events: Sequence[Event] = (),
) -> bytes:
    """Everything about one endpoint. `operators` see details, request ids and costs; `evidence` holds
    the ids of probes that link to theirs."""
    whole_ms = drawing.longest(phases for _, phases in probes)
    charts = [
        (metric, drawing.chart(buckets, "p5" if metric.is_speed else "min", _HIGH[metric.is_speed]))
        for metric, buckets in series.items()
    ]
    return _render(
        "endpoint.html",
        snapshot,
        one=one,
        looks=[Look(probe, drawing.waterfall(phases, whole_ms)) for probe, phases in probes],
        whole_ms=whole_ms,
        charts=[(metric, drawn) for metric, drawn in charts if drawn is not None],
        open_incidents=[story for story in incidents if story.ended_at is None],
        recent_incidents=[story for story in incidents if story.ended_at is not None],
        operators=operators,
        evidence=evidence,
        events=events,
    )


_HIGH = {True: "max", False: "p95"}


def incidents(snapshot: Snapshot) -> bytes:
    """All incidents, by month."""
    zone = snapshot.site.timezone

    def month(story: Story) -> str:
        return f"{words.local(story.started_at, zone):%B %Y}"

    over = [story for story in snapshot.incidents if story.ended_at is not None]
    return _render(
        "incidents.html",
        snapshot,
        open_incidents=snapshot.open_incidents,
        months=[(name, list(stories)) for name, stories in groupby(over, month)],
    )


def incident(snapshot: Snapshot, story: Story) -> bytes:
    return _render("incident.html", snapshot, story=story)


def problem(snapshot: Snapshot | None, title: str, text: str) -> bytes:
    """Instead of a page that there is not."""
    return _render("problem.html", snapshot, title=title, text=text)


# Jinja


def _render(template: str, snapshot: Snapshot | None, **values: Any) -> bytes:
    text = _environment().get_template(template).render(snapshot=snapshot, **values)
    return text.encode("utf-8", "replace")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(str(_FOLDER / "templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters |= {
        name: getattr(words, name)
        for name in (
            *("share", "percent", "milliseconds", "speed", "count", "lasting", "seconds", "dollars", "price"),
            *("moment", "short", "clock", "day", "policy", "worst", "tally", "overall", "headline"),
            *("subline", "too_busy", "in_passing", "flawed", "spaced", "called"),
        )
    }
    environment.filters["iso"] = iso
    environment.filters["columns"] = drawing.columns
    environment.filters["minutes"] = drawing.minutes
    environment.filters["spoken"] = drawing.spoken
    environment.globals |= {
        "asset": lambda name: assets()[name].address,
        "plural": words.plural,
        "STATES": words.STATES,
        "WINDOWS": PUBLISHED,
        "Window": Window,
        "Metric": Metric,
        "FLAWS": tuple(Flaw),
        "PHASES": drawing.PHASES,
        "PHASE_WORDS": drawing.PHASE_WORDS,
        "COLUMN_WIDTH": drawing.COLUMN_WIDTH,
        "BAR_HEIGHT": drawing.BAR_HEIGHT,
        "CHART_WIDTH": drawing.CHART_WIDTH,
        "CHART_HEIGHT": drawing.CHART_HEIGHT,
        "REFRESH_S": REFRESH_S,
    }
    return environment
