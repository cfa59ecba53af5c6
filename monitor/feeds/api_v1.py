"""`/api/v1`: the monitor's own JSON. Keys may be added; none is renamed or removed.

What is not known is null, never 0, 100 or a word; a distribution is always an object. Times
are ISO 8601 in UTC with milliseconds, money is text, percentages are 0 to 100.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from decimal import Decimal
from typing import Any

from monitor.core.budget import Price, money
from monitor.core.evidence import Evidence, Happening, Kind
from monitor.core.figures import Figures
from monitor.core.headroom import Headroom
from monitor.core.identity import Event
from monitor.core.instant import Instant, iso
from monitor.core.integrity import Flaw
from monitor.core.snapshot import EndpointSnapshot, Heartbeat, Listing, Snapshot, Story
from monitor.core.step import Result
from monitor.core.timeline import Phases
from monitor.core.uptime import Bucket, Counts, Distribution, Metric, WindowFigures

Json = dict[str, Any]
_DECIMALS = 3
"""Of milliseconds and of tokens a second: as exact as they are stored."""


# Documents


def endpoints(snapshot: Snapshot) -> bytes:
    """`/api/v1/endpoints`: all of them, in the config's order."""
    return _bytes({**_head(snapshot), "endpoints": [_endpoint(one) for one in snapshot.endpoints]})


def endpoint(snapshot: Snapshot, one: EndpointSnapshot) -> bytes:
    """`/api/v1/endpoints/{provider}/{slug}`."""
    return _bytes({**_head(snapshot), "endpoint": _endpoint(one)})


def probes(
    found: Sequence[tuple[Result, Phases | None]],
    following: str | None,
    evidence: Collection[str] | None = None,
) -> bytes:
    """`…/probes`: newest first, each with its timeline; `following` is the `before` of the next page.

    `evidence` holds the ids of those of which there is some; None: that is not told.
    """
    told = [
        {**_probe(one, phases), "evidence": None if evidence is None else one.probe_id in evidence}
        for one, phases in found
    ]
    return _bytes({"probes": told, "next": following})


def evidence(found: Evidence) -> bytes:
    """`…/evidence`, for operators: all that is kept of one failed probe."""
    return _bytes(_evidence(found))


def events(found: Sequence[Event], following: str | None) -> bytes:
    """`…/events`: newest first; `following` is the `before` of the next page."""
    told = [
        {"id": event.id, "at": iso(event.at), "kind": str(event.kind), "text": event.text} for event in found
    ]
    return _bytes({"events": told, "next": following})


def series(buckets: Iterable[Bucket], metric: Metric, window: str, step: str) -> bytes:
    """`…/series`: the window in steps, oldest first; empty ones are there."""
    return _bytes(
        {
            "metric": str(metric),
            "window": window,
            "step": step,
            "buckets": [
                {
                    "start": iso(bucket.start),
                    "counts": _counts(bucket.counts),
                    **_distribution(bucket.distribution, metric),
                }
                for bucket in buckets
            ],
        }
    )


def incidents(stories: Iterable[Story]) -> bytes:
    """`/api/v1/incidents`: newest first; the updates of each as they were told."""
    return _bytes({"incidents": [_incident(story) for story in stories]})


def daemon(snapshot: Snapshot) -> bytes:
    """`/api/v1/daemon`, for operators: what the daemon says of itself (null before its first sign of life),
    and when it could not see.
    """
    return _bytes({**_head(snapshot), "daemon": _daemon(snapshot.heartbeat), "blind": blind(snapshot)})


def blind(snapshot: Snapshot) -> list[Json]:
    """When the monitor itself could not see, newest first; `ended_at` is null while it lasts."""
    return [
        {"started_at": _moment(one.started), "ended_at": _moment(one.ended), "reason": one.reason}
        for one in snapshot.blind
    ]


def error(code: str, message: str) -> bytes:
    """What stands in the place of a document that there is not."""
    return _bytes({"error": {"code": code, "message": message}})


def _bytes(document: Json) -> bytes:
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _head(snapshot: Snapshot) -> Json:
    return {"generated_at": _moment(snapshot.generated_at), "stale": snapshot.stale}


# Endpoints


def _endpoint(one: EndpointSnapshot) -> Json:
    listing = one.listing
    return {
        "id": listing.id,
        "provider": listing.provider,
        "model": listing.model,
        "model_id": listing.model_id,
        "protocol": listing.protocol,
        "state": str(one.state),
        "since": _moment(one.standing.since),
        "reason": one.standing.reason,
        "price": _price(listing.price),
        "windows": {
            str(which): _unread(figures) if which in one.unread else _window(figures)
            for which, figures in one.windows.items()
        },
        "last_probe": None if one.last_probe is None else _glance(one.last_probe),
        "name": listing.name,
        "provider_name": listing.provider_name,
        "labels": dict(listing.labels),
        "limits": _limits(listing),
        "data_policy": None if listing.data_policy is None else dict(listing.data_policy),
        "status_page": listing.status_page,
        "interval_s": listing.interval / 1_000_000,
        "throttled_until": _moment(one.standing.throttled_until),
        "headroom": None if one.headroom is None else headroom(one.headroom),
    }


def headroom(found: Headroom) -> Json:
    """What is left of the vendor's limits; `percent` of the one that is nearest to its end."""
    return {
        "at": iso(found.at),
        "percent": _percent(found.permille),
        "limits": [
            {
                "kind": str(one.kind),
                "period": None if one.period is None else str(one.period),
                "limit": one.limit,
                "remaining": one.remaining,
                "resets_at": _moment(found.resets_at(one)),
            }
            for one in found.limits
        ],
    }


def _limits(listing: Listing) -> Json:
    return {"context": listing.context, "max_output": listing.max_output}


def _price(price: Price | None) -> Json | None:
    if price is None:
        return None
    out = {
        "input": _amount(price.input),
        "output": _amount(price.output),
        "cache_read": _amount(price.cache_read),
        "blended": money(price.blended),
    }
    return out if price.cache_write is None else {**out, "cache_write": _amount(price.cache_write)}


def _amount(amount: Decimal | None) -> str | None:
    """As it stands in the config, but without an exponent."""
    return None if amount is None else f"{amount:f}"


def _window(figures: WindowFigures) -> Json:
    return {
        "from": iso(figures.start),
        "uptime": figures.uptime,
        "strict_uptime": figures.strict_uptime,
        "coverage": figures.coverage,
        "due": figures.due,
        "counts": _counts(figures.counts),
        "down_s": _rounded(figures.down_s),
        "degraded_s": _rounded(figures.degraded_s),
        "unknown_s": _rounded(figures.unknown_s),
        "incidents": figures.incidents,
        "mttr_s": _rounded(figures.mttr_s),
        **{
            str(metric): _distribution(getattr(figures, metric), metric)
            for metric in Metric
            if metric is not Metric.MAX_STALL_MS
        },
        "integrity": asdict(figures.integrity),
    }


_ABOUT_ROWS = ("due", "down_s", "degraded_s", "unknown_s", "incidents")


def _unread(figures: WindowFigures) -> Json:
    """A window whose results were not read yet: the same keys, and nothing known."""
    found = _window(figures)
    counted = {name: dict.fromkeys(found[name]) for name in ("counts", "integrity")}
    return {**found, **dict.fromkeys(_ABOUT_ROWS), **counted}


def _counts(counts: Counts) -> Mapping[str, int]:
    return asdict(counts)


def _distribution(found: Distribution, metric: Metric) -> Json:
    out = {
        "n": found.n,
        "min": _rounded(found.min),
        "avg": _rounded(found.avg),
        "max": _rounded(found.max),
        "p50": _rounded(found.p50),
        "p95": _rounded(found.p95),
        "p99": _rounded(found.p99),
    }
    if metric.is_speed:
        out["p5"] = _rounded(found.p5)
    return {**out, "method": str(found.method)}


# Probes


def _glance(probe: Result) -> Json:
    figures = probe.figures
    return {
        **_judged(probe),
        "ttft_ms": _rounded(figures.ttft_ms),
        "output_speed": _rounded(figures.output_speed),
        "total_ms": _rounded(figures.total_ms),
    }


def _judged(probe: Result) -> Json:
    blame = probe.outcome.blame
    return {
        "id": probe.probe_id,
        "at": iso(probe.at),
        "outcome": str(probe.outcome),
        "blame": None if blame is None else str(blame),
        "detail": probe.detail,
    }


def _probe(probe: Result, phases: Phases | None) -> Json:
    return {
        **_judged(probe),
        "slot": iso(probe.slot),
        "scheduled": probe.scheduled,
        "request_id": probe.request_id,
        **_figures(probe.figures),
        "cost_usd": None if probe.cost_usd is None else money(probe.cost_usd),
        "headroom": _percent(probe.headroom_permille),
        "sent": probe.sent,
        "maintenance": probe.maintenance,
        "flaws": [str(flaw) for flaw in Flaw if flaw in probe.flaws],
        "cache_hit": probe.cache_hit,
        "clock": None if phases is None else str(phases.clock),
        "max_stall_bound": phases is not None and phases.gathered,
        "bounds": [] if phases is None else sorted(phases.bounds),
        "timeline": _timeline(phases or Phases()),
    }


def _figures(figures: Figures) -> Json:
    source = figures.token_source
    return {
        "ttft_ms": _rounded(figures.ttft_ms),
        "ttft_net_ms": _rounded(figures.ttft_net_ms),
        "ttfat_ms": _rounded(figures.ttfat_ms),
        "output_speed": _rounded(figures.output_speed),
        "effective_throughput": _rounded(figures.effective_throughput),
        "e2e_500_ms": _rounded(figures.e2e_500_ms),
        "max_stall_ms": _rounded(figures.max_stall_ms),
        "total_ms": _rounded(figures.total_ms),
        "ttft_uncertainty_ms": _rounded(figures.ttft_uncertainty_ms),
        "total_uncertainty_ms": _rounded(figures.total_uncertainty_ms),
        "input_tokens": figures.input_tokens,
        "output_tokens": figures.output_tokens,
        "reasoning_tokens": figures.reasoning_tokens,
        "cached_tokens": figures.cached_tokens,
        "token_source": None if source is None else str(source),
    }


def _timeline(phases: Phases) -> Json:
    """Milliseconds: lengths end in `_ms`, the others count from the start of the probe."""
    moments = asdict(phases)
    for other in ("clock", "gathered", "bounds"):
        del moments[other]
    return {name: _rounded(value) for name, value in moments.items()}


# Evidence


def _evidence(found: Evidence) -> Json:
    blame = found.outcome.blame
    return {
        "id": found.probe_id,
        "endpoint": found.endpoint,
        "at": iso(found.at),
        "monitor": {"version": found.monitor, "location": found.location},
        "protocol": found.protocol,
        "model": found.model,
        "outcome": str(found.outcome),
        "blame": None if blame is None else str(blame),
        "detail": found.detail,
        "request": {"method": found.method, "url": found.url, "bytes": found.sent, "peer": found.peer},
        "status": found.status,
        "request_id": found.request_id,
        "headers": dict(found.headers),
        "error": _slip(found.error, ("type", "code", "message", "reasons")),
        "fault": _slip(found.fault, ("kind", "phase", "text", "errno")),
        "served_model": found.served_model,
        "finish_reason": found.finish_reason,
        "clock": str(found.phases.clock),
        "bounds": sorted(found.phases.bounds),
        "timeline": _timeline(found.phases),
        "events": [_event(event) for event in found.events],
        "events_dropped": found.dropped,
        "body": found.body,
        "body_bytes": found.received,
        "figures": _figures(found.figures),
    }


def _slip(found: object, names: Iterable[str]) -> Json | None:
    return None if found is None else {name: getattr(found, name) for name in names}


_OF_TEXT = (Kind.TOKEN, Kind.REASONING)


def _event(event: Happening) -> Json:
    out: Json = {"offset_ms": _rounded(event.offset_ms), "kind": str(event.kind)}
    if event.size is not None:
        out["characters" if event.kind in _OF_TEXT else "bytes"] = event.size
    if event.is_bound:
        out["bound"] = True
    return out


# The daemon


def _daemon(heartbeat: Heartbeat | None) -> Json | None:
    if heartbeat is None:
        return None
    return {
        "beat_at": iso(heartbeat.beat_at),
        "started_at": _moment(heartbeat.started_at),
        "stopped_at": _moment(heartbeat.stopped_at),
        **heartbeat.status,
    }


# Incidents


def _incident(story: Story) -> Json:
    return {
        "id": story.id,
        "endpoints": list(story.endpoints),
        "impact": story.impact,
        "started_at": iso(story.started_at),
        "ended_at": _moment(story.ended_at),
        "title": story.title,
        "updates": [{"at": iso(told.at), "status": told.status, "text": told.text} for told in story.updates],
    }


# Values


def _moment(moment: Instant | None) -> str | None:
    return None if moment is None else iso(moment)


def _percent(permille: int | None) -> float | None:
    return None if permille is None else permille / 10


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, _DECIMALS)
