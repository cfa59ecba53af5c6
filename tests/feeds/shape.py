"""The public contract of `/api/v1` as a strict check: every key, every type, nothing made up."""

import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}/[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
STATES = {"up", "degraded", "down", "unknown", "maintenance", "paused"}
BLAMES = {None, "degraded", "provider", "throttled", "config", "monitor"}
WINDOWS = ["1h", "24h", "7d", "30d", "90d"]
METRICS = [
    *("ttft_ms", "ttft_net_ms", "ttfat_ms", "output_speed", "effective_throughput", "e2e_500_ms"),
    "total_ms",
]
SPEEDS = {"output_speed", "effective_throughput"}
ENDPOINT = [
    *("id", "provider", "model", "model_id", "protocol", "state", "since", "reason", "price", "windows"),
    "last_probe",
]
WINDOW = [
    *("from", "uptime", "strict_uptime", "coverage", "due", "counts", "down_s", "degraded_s", "unknown_s"),
    *("incidents", "mttr_s", *METRICS, "integrity"),
]
INTEGRITY = [
    *("streams", "truncated", "stalled", "keep_alive_only", "error_in_stream", "burst", "empty", "no_usage"),
]
COUNTS = ["ok", "degraded", "provider", "throttled", "config", "monitor"]
LAST_PROBE = ["id", "at", "outcome", "blame", "detail", "ttft_ms", "output_speed"]
FIGURES = [
    *("ttft_ms", "ttft_net_ms", "ttfat_ms", "output_speed", "effective_throughput", "e2e_500_ms"),
    *("max_stall_ms", "total_ms", "input_tokens", "output_tokens", "reasoning_tokens", "cached_tokens"),
    *("token_source", "cost_usd"),
]
PROBE = [
    *("id", "at", "slot", "scheduled", "outcome", "blame", "detail", "request_id", *FIGURES, "timeline"),
]
TIMELINE = [
    *("dns_ms", "connect_ms", "tls_ms", "own_ms", "request_sent", "headers", "first_byte"),
    *("first_reasoning", "first_answer", "first_token", "last_token", "terminal", "end"),
]
INCIDENT = ["id", "endpoints", "impact", "started_at", "ended_at", "title", "updates"]

Json = Mapping[str, Any]


def check_endpoints(document: Json) -> None:
    """`/api/v1/endpoints`."""
    assert list(document) == ["generated_at", "stale", "endpoints"]
    check_head(document)
    for endpoint in document["endpoints"]:
        check_endpoint(endpoint)


def check_head(document: Json) -> None:
    optional_time(document["generated_at"])
    assert isinstance(document["stale"], bool)


def check_endpoint(one: Json) -> None:
    assert list(one)[: len(ENDPOINT)] == ENDPOINT
    assert ID.fullmatch(one["id"])
    assert one["id"].partition("/")[0] == one["provider"]
    for key in ("model", "model_id"):
        assert one[key] is None or isinstance(one[key], str)
    assert one["state"] in STATES
    optional_time(one["since"])
    assert isinstance(one["reason"], str)
    assert one["reason"]
    if one["price"] is not None:
        check_price(one["price"])
    assert list(one["windows"]) == WINDOWS
    for window in one["windows"].values():
        check_window(window)
    if one["last_probe"] is not None:
        assert list(one["last_probe"])[: len(LAST_PROBE)] == LAST_PROBE
        check_judgement(one["last_probe"])
        for key in ("ttft_ms", "output_speed"):
            optional_number(one["last_probe"][key])


def check_price(price: Json) -> None:
    assert list(price)[:4] == ["input", "output", "cache_read", "blended"]
    for amount in price.values():
        assert amount is None or re.fullmatch(r"\d+(\.\d+)?", amount)
    blended = (3 * Decimal(price["input"]) + Decimal(price["output"])) / 4
    assert Decimal(price["blended"]) == blended


def check_window(window: Json) -> None:
    assert list(window) == WINDOW
    time(window["from"])
    for key in ("uptime", "strict_uptime", "coverage"):
        optional_number(window[key])
        assert window[key] is None or 0 <= window[key] <= 100
    check_counts(window["counts"])
    assert list(window["integrity"]) == INTEGRITY
    assert all(0 <= number <= window["integrity"]["streams"] for number in window["integrity"].values())
    assert isinstance(window["due"], int)
    assert window["due"] >= sum(window["counts"].values())
    for key in ("down_s", "degraded_s", "unknown_s"):
        assert isinstance(window[key], float)
        assert window[key] >= 0
    assert isinstance(window["incidents"], int)
    optional_number(window["mttr_s"])
    counts = window["counts"]
    working = counts["ok"] + counts["degraded"]
    if not working + counts["provider"]:
        assert window["uptime"] is None
    for metric in METRICS:
        check_distribution(window[metric], is_speed=metric in SPEEDS)
        assert window[metric]["n"] <= working


def check_counts(counts: Json) -> None:
    assert list(counts) == COUNTS
    assert all(type(number) is int and number >= 0 for number in counts.values())


def check_distribution(found: Json, *, is_speed: bool) -> None:
    keys = ["n", "min", "avg", "max", "p50", "p95", "p99", *(["p5"] if is_speed else []), "method"]
    assert list(found) == keys
    assert type(found["n"]) is int
    assert found["method"] in ("raw", "histogram")
    values = [found[key] for key in keys[1:-1]]
    if found["n"] == 0:
        assert values == [None] * len(values)
        return
    assert all(type(value) is float for value in values)
    assert found["min"] <= found["p50"] <= found["p95"] <= found["p99"] <= found["max"]
    assert found["min"] <= found["avg"] <= found["max"]


def check_judgement(probe: Json) -> None:
    assert re.fullmatch(r"[0-9a-f]{32}", probe["id"])
    time(probe["at"])
    assert isinstance(probe["outcome"], str)
    assert probe["blame"] in BLAMES
    assert probe["detail"] is None or isinstance(probe["detail"], str)


def check_probes(document: Json) -> None:
    """`…/probes`."""
    assert list(document) == ["probes", "next"]
    ids = [probe["id"] for probe in document["probes"]]
    assert ids == sorted(set(ids), reverse=True)
    assert document["next"] is None or document["next"] == ids[-1]
    for probe in document["probes"]:
        check_probe(probe)


def check_probe(probe: Json) -> None:
    assert set(PROBE) <= set(probe)
    check_judgement(probe)
    time(probe["slot"])
    assert isinstance(probe["scheduled"], bool)
    assert probe["request_id"] is None or isinstance(probe["request_id"], str)
    for key in FIGURES:
        if key.endswith("_tokens"):
            assert probe[key] is None or type(probe[key]) is int
        elif key == "token_source":
            assert probe[key] in (None, "usage", "estimate")
        elif key == "cost_usd":
            assert probe[key] is None or re.fullmatch(r"\d+(\.\d+)?", probe[key])
        else:
            optional_number(probe[key])
    assert set(probe["timeline"]) == set(TIMELINE)
    for moment in probe["timeline"].values():
        optional_number(moment)


def check_series(document: Json) -> None:
    """`…/series`."""
    is_speed = document["metric"] in SPEEDS
    starts = [bucket["start"] for bucket in document["buckets"]]
    assert starts == sorted(set(starts))
    for bucket in document["buckets"]:
        assert list(bucket)[:2] == ["start", "counts"]
        time(bucket["start"])
        check_counts(bucket["counts"])
        rest = {key: value for key, value in bucket.items() if key not in ("start", "counts")}
        check_distribution(rest, is_speed=is_speed)


def check_incidents(document: Json) -> None:
    """`/api/v1/incidents`."""
    assert list(document) == ["incidents"]
    starts = [incident["started_at"] for incident in document["incidents"]]
    assert starts == sorted(starts, reverse=True)
    for incident in document["incidents"]:
        assert list(incident) == INCIDENT
        assert incident["endpoints"]
        assert all(ID.fullmatch(id_) for id_ in incident["endpoints"])
        assert incident["impact"] in ("degraded", "down")
        time(incident["started_at"])
        optional_time(incident["ended_at"])
        assert incident["title"]
        assert incident["updates"]
        for update in incident["updates"]:
            assert list(update) == ["at", "status", "text"]
            time(update["at"])
        told = [update["at"] for update in incident["updates"]]
        assert told == sorted(told)


def check_error(document: Json) -> None:
    assert list(document) == ["error"]
    assert list(document["error"]) == ["code", "message"]
    assert re.fullmatch(r"[a-z_]+", document["error"]["code"])
    assert document["error"]["message"]


def time(value: object) -> None:
    assert isinstance(value, str)
    assert TIME.fullmatch(value)
    datetime.fromisoformat(value)


def optional_time(value: object) -> None:
    if value is not None:
        time(value)


def optional_number(value: object) -> None:
    assert value is None or type(value) is float
