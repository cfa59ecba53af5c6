"""The JSON of `/api/v1`, byte by byte."""

import json
from dataclasses import replace
from decimal import Decimal

import pytest

from monitor.core.belief import State
from monitor.core.budget import Price
from monitor.core.figures import Figures
from monitor.core.headroom import Headroom, Kind, Limit, Period
from monitor.core.instant import HOUR, MINUTE, SECOND, Instant, Span
from monitor.core.outcome import Outcome
from monitor.core.snapshot import (
    EndpointSnapshot,
    Heartbeat,
    Listing,
    Site,
    Snapshot,
    Standing,
    Story,
    Told,
    nothing_known,
    standing,
)
from monitor.core.step import Result, probe_id
from monitor.core.timeline import Clock, Phases
from monitor.core.uptime import PUBLISHED, Metric, Record, Window, series, window
from monitor.core.uptime import Result as Counted
from monitor.feeds import api_v1
from tests.feeds import shape
from tests.store.believable import Life, lived

NOW = Instant(1_795_471_200_000_000)
RAW = Span(2400 * HOUR)
LIFE = Life(id="openai/gpt-4.1-nano", name="gpt-4.1-nano", provider="OpenAI")
PAST = lived(LIFE, Instant(NOW - 2 * HOUR), NOW)
LISTING = Listing(
    id="openai/gpt-4.1-nano",
    provider="openai",
    provider_name="OpenAI",
    name="gpt-4.1-nano",
    model="gpt-4.1-nano",
    model_id="gpt-4.1-nano",
    protocol="openai-chat",
    interval=MINUTE,
    labels={"tier": "gold"},
    context=1_050_000,
    max_output=32_770,
    data_policy={"prompt_training": False, "prompt_logging": "30 days", "moderation": None},
    status_page="https://status.openai.com",
    price=Price(input=Decimal("0.10"), output=Decimal("0.40"), cache_read=Decimal("0.025")),
)


def _counted(result: Result) -> Counted:
    figures = result.figures
    return Counted(
        slot=result.slot,
        blame=result.outcome.blame,
        ttft_ms=figures.ttft_ms,
        ttft_net_ms=figures.ttft_net_ms,
        ttfat_ms=figures.ttfat_ms,
        output_speed=figures.output_speed,
        effective_throughput=figures.effective_throughput,
        total_ms=figures.total_ms,
    )


def _endpoint(**changed: object) -> EndpointSnapshot:
    segments = [step.segment for step in PAST.steps if step.segment is not None]
    record = Record(results=[_counted(one) for one in PAST.results], schedule=segments)
    whole = EndpointSnapshot(
        listing=LISTING,
        standing=standing(PAST.steps[-1].belief, MINUTE, NOW),
        windows={which: window(which, record, NOW, RAW) for which in PUBLISHED},
        last_probe=PAST.results[-1],
    )
    return replace(whole, **changed)


def _snapshot(*endpoints: EndpointSnapshot, **changed: object) -> Snapshot:
    whole = Snapshot(
        site=Site(),
        now=NOW,
        generated_at=Instant(NOW - 3 * SECOND),
        stale=False,
        heartbeat=Heartbeat(beat_at=NOW),
        endpoints=endpoints,
    )
    return replace(whole, **changed)


def _read(body: bytes):
    def refuse(word: str):
        raise AssertionError(f"{word} is no JSON")

    return json.loads(body, parse_constant=refuse)


def test_headroom_is_told_with_every_limit_and_null_where_nothing_is_known():
    limits = (
        Limit(kind=Kind.REQUESTS, limit=500, remaining=499, resets_in_s=0.12),
        Limit(kind=Kind.TOKENS, period=Period.MINUTE, limit=3000, remaining=2497),
    )
    one = _endpoint(headroom=Headroom(NOW, limits))
    document = _read(api_v1.endpoints(_snapshot(one, _endpoint())))
    shape.check_endpoints(document)
    known, unknown = (said["headroom"] for said in document["endpoints"])
    assert unknown is None
    assert (known["at"], known["percent"]) == ("2026-11-23T22:00:00.000Z", 83.2)
    assert known["limits"] == [
        {
            "kind": "requests",
            "period": None,
            "limit": 500,
            "remaining": 499,
            "resets_at": "2026-11-23T22:00:00.120Z",
        },
        {"kind": "tokens", "period": "minute", "limit": 3000, "remaining": 2497, "resets_at": None},
    ]


def test_a_living_endpoint_has_the_shape_of_the_contract():
    one = _endpoint()
    document = _read(api_v1.endpoints(_snapshot(one)))
    shape.check_endpoints(document)
    (said,) = document["endpoints"]
    assert said["price"] == {"input": "0.10", "output": "0.40", "cache_read": "0.025", "blended": "0.175"}
    assert said["state"] == "up"
    assert said["reason"] == "first working probe"
    assert said["windows"]["1h"]["counts"]["ok"] == 60
    assert said["windows"]["1h"]["from"] == "2026-11-23T21:00:00.000Z"
    assert said["windows"]["1h"]["ttft_ms"]["method"] == "raw"
    assert said["windows"]["7d"]["ttft_ms"]["method"] == "histogram"
    assert said["last_probe"]["id"] == PAST.results[-1].probe_id
    assert said["limits"] == {"context": 1_050_000, "max_output": 32_770}
    assert said["data_policy"] == {"prompt_training": False, "prompt_logging": "30 days", "moderation": None}
    assert (said["name"], said["provider_name"], said["labels"]) == (
        "gpt-4.1-nano",
        "OpenAI",
        {"tier": "gold"},
    )


def test_one_endpoint_says_the_same_as_all_of_them():
    one = _endpoint()
    snapshot = _snapshot(one)
    single = _read(api_v1.endpoint(snapshot, one))
    assert list(single) == ["generated_at", "stale", "endpoint"]
    assert single["endpoint"] == _read(api_v1.endpoints(snapshot))["endpoints"][0]


def test_an_endpoint_nobody_has_seen_is_all_null():
    nothing = {which: nothing_known(which, NOW, RAW) for which in PUBLISHED}
    listing = replace(LISTING, price=None, model=None, model_id=None, protocol="http", context=None)
    unseen = _endpoint(
        listing=listing, standing=standing(None, MINUTE, NOW), windows=nothing, last_probe=None
    )
    document = _read(api_v1.endpoints(_snapshot(unseen, generated_at=None)))
    shape.check_endpoints(document)
    (said,) = document["endpoints"]
    assert document["generated_at"] is None
    assert (said["state"], said["since"], said["price"], said["last_probe"]) == ("unknown", None, None, None)
    assert said["windows"]["90d"]["uptime"] is None
    assert said["windows"]["90d"]["coverage"] is None


def test_a_window_that_was_not_read_yet_claims_nothing():
    unread = _endpoint(unread=frozenset({Window.D90}))
    (said,) = _read(api_v1.endpoints(_snapshot(unread)))["endpoints"]
    window_ = said["windows"]["90d"]
    assert list(window_) == shape.WINDOW
    assert [window_[key] for key in ("due", "down_s", "degraded_s", "unknown_s", "incidents")] == [None] * 5
    assert set(window_["counts"].values()) == {None}
    assert set(window_["integrity"].values()) == {None}
    assert said["windows"]["30d"]["due"] == 120


def test_endpoints_stand_in_the_order_of_the_config():
    ids = ["z/z", "a/b", "a/a"]
    endpoints = [_endpoint(listing=replace(LISTING, id=id_)) for id_ in ids]
    document = _read(api_v1.endpoints(_snapshot(*endpoints)))
    assert [one["id"] for one in document["endpoints"]] == ids


def test_prices_are_exact_text():
    fine = Price(input=Decimal("1E-6"), output=Decimal("2.50"), cache_write=Decimal(3))
    (said,) = _read(api_v1.endpoints(_snapshot(_endpoint(listing=replace(LISTING, price=fine)))))["endpoints"]
    shape.check_price(said["price"])
    assert said["price"] == {
        "input": "0.000001",
        "output": "2.50",
        "cache_read": None,
        "blended": "0.62500075",
        "cache_write": "3",
    }


def test_probes_carry_every_figure_and_their_timeline():
    found = PAST.results[-3:][::-1]
    phases = Phases(dns_ms=1.0, request_sent=3.5, end=700.1239, clock=Clock.KERNEL)
    document = _read(
        api_v1.probes([(found[0], phases), (found[1], None), (found[2], None)], found[2].probe_id)
    )
    shape.check_probes(document)
    first = document["probes"][0]
    assert first["timeline"]["end"] == 700.124
    assert first["clock"] == "kernel"
    assert first["cost_usd"] == "0.0000297"
    assert document["probes"][1]["clock"] is None
    assert set(document["probes"][1]["timeline"].values()) == {None}
    assert document["next"] == found[2].probe_id


def test_a_failed_probe_has_nulls_where_nothing_happened():
    failed = Result(
        probe_id=probe_id(NOW, 1),
        endpoint="a/b",
        at=NOW,
        slot=Instant(NOW - 5),
        scheduled=False,
        outcome=Outcome.CONNECT_REFUSED,
        detail='hostile "detail" \u2028 </script> é',
        figures=Figures(total_ms=0.4),
    )
    document = _read(api_v1.probes([(failed, None)], None))
    shape.check_probes(document)
    (said,) = document["probes"]
    assert said["detail"] == failed.detail
    assert said["blame"] == "provider"
    assert [said[key] for key in ("ttft_ms", "output_speed", "cost_usd", "token_source")] == [None] * 4


@pytest.mark.parametrize("metric", list(Metric))
@pytest.mark.parametrize(("which", "step"), [(Window.H1, MINUTE), (Window.H24, HOUR), (Window.D7, 24 * HOUR)])
def test_a_series_holds_every_step_of_its_window(metric, which, step):
    results = [_counted(one) for one in PAST.results]
    buckets = series(results, metric, which, step=Span(step), now=NOW, raw_kept=RAW)
    document = _read(api_v1.series(buckets, metric, which, "1m"))
    shape.check_series(document)
    assert len(document["buckets"]) in (which.span // step, which.span // step + 1)
    assert sum(bucket["counts"]["ok"] for bucket in document["buckets"]) == min(120, which.span // MINUTE)


def test_incidents_are_told_with_their_updates():
    updates = (
        Told(NOW, "down", "3 failures in a row"),
        Told(Instant(NOW + MINUTE), "resolved", "Works again"),
    )
    story = Story(
        id="20261123-1",
        title="OpenAI gpt-4.1-nano down",
        impact=State.DOWN,
        started_at=NOW,
        ended_at=Instant(NOW + MINUTE),
        endpoints=("openai/gpt-4.1-nano",),
        updates=updates,
    )
    document = _read(api_v1.incidents([replace(story, ended_at=None), story]))
    shape.check_incidents(document)
    assert [one["ended_at"] for one in document["incidents"]] == [None, "2026-11-23T22:01:00.000Z"]
    assert _read(api_v1.incidents([])) == {"incidents": []}


def test_an_error_says_its_code_and_a_sentence():
    document = _read(api_v1.error("not_found", "There is no such endpoint here."))
    shape.check_error(document)


def test_what_a_provider_wrote_cannot_break_the_document():
    hostile = Standing(_endpoint().state, NOW, '"},{"state":"up"\\\x00\x1b[31m')
    (said,) = _read(api_v1.endpoints(_snapshot(_endpoint(standing=hostile))))["endpoints"]
    assert said["reason"] == hostile.reason
