"""Streams that are not whole, and who answers: from a provider to the page, the API and the alert."""

import json
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from tests.cli.command import uptoken
from tests.support.daemon import Daemon, Home, alerting, channel, until
from tests.support.receiver import Receiver
from tests.support.simulated import Simulated

TIMES = (
    '[defaults]\ninterval = "1s"\ntimeout = "900ms"\nstall_timeout = "300ms"\nfirst_token_timeout = "500ms"\n'
)

FLAWED: dict[str, tuple[object, str, str]] = {
    "whole": ("ok", "ok", ""),
    "cut": ("truncated", "truncated", "truncated"),
    "reset": ("reset_midway", "connection_reset", "truncated"),
    "stuck": ({"name": "stalled", "drip_ms": 50}, "stalled", "stalled"),
    "alive": ({"name": "keep_alives", "drip_ms": 50}, "first_token_timeout", "keep_alive_only"),
    "broken": ("stream_error", "stream_error", "error_in_stream"),
    "crowded": ("stream_overloaded", "overloaded", "error_in_stream"),
    "held": ({"name": "burst", "ttft_ms": 60, "tokens_per_s": 500}, "ok", "burst"),
    "mute": ("empty", "empty_completion", "empty"),
    "uncounted": ({"usage": "never"}, "ok", "no_usage"),
}
"""By provider: how it behaves, the outcome, and the flaw of its streams."""


def endpoint(provider: str, simulated: Simulated, *more: str) -> str:
    return (
        f'[provider.{provider}]\nprotocol = "openai-chat"\nbase_url = "{simulated.base_url(provider)}"\n'
        f'[[provider.{provider}.endpoints]]\nmodel = "gpt-x"\n' + "\n".join(more)
    )


def fetched(address: str, path: str) -> Any:
    with urllib.request.urlopen(f"http://{address}{path}", timeout=10) as answer:
        return json.load(answer)


def page(address: str, path: str) -> str:
    with urllib.request.urlopen(f"http://{address}{path}", timeout=10) as answer:
        return str(answer.read().decode())


def test_every_flaw_of_a_stream_is_stored_counted_and_shown(
    home: Home, simulated: Simulated, free_port: int
) -> None:
    for provider, (behaviour, _, _) in FLAWED.items():
        simulated.define(provider, tokens_per_s=300)
        simulated.set(provider, behaviour)
    address = f"127.0.0.1:{free_port}"
    home.configure(TIMES, *(endpoint(provider, simulated) for provider in FLAWED), listen=address)
    daemon = home.ready()
    for provider, (_, outcome, _) in FLAWED.items():
        daemon.wait("probe.stored", endpoint=f"{provider}/gpt-x", outcome=outcome, count=2)

    def counts(provider: str) -> dict[str, int]:
        one = fetched(address, f"/api/v1/endpoints/{provider}/gpt-x")["endpoint"]
        return {name: count for name, count in one["windows"]["1h"]["integrity"].items() if count}

    for provider, (_, outcome, flaw) in FLAWED.items():
        wanted = {"streams", flaw} - {""}
        until(lambda p=provider, w=wanted: counts(p).keys() == w, f"{provider} counts {wanted}")  # type: ignore[misc]
        query = "SELECT DISTINCT flaws FROM uptoken_probe WHERE endpoint = :e AND outcome = :o"
        shown = home.records().rows(query, e=f"{provider}/gpt-x", o=outcome)
        # A burst that a busy machine read too late to prove is not told.
        told = {row[0] for row in shown} - ({None} if provider == "held" else set())
        assert told == {flaw or None}, provider
        text = page(address, f"/endpoints/{provider}/gpt-x")
        assert (">Streams that were not whole<" in text) == bool(flaw)
    (probe, *_) = fetched(address, "/api/v1/endpoints/held/gpt-x/probes?limit=1")["probes"]
    assert probe["flaws"] in (["burst"], [])
    said = uptoken("status", "held/gpt-x", "--config", home.config, cwd=home.folder, env=_state(home))
    assert "streams     1h: " in said.out
    assert " burst, of " in said.out
    assert daemon.stop()[0] == 0


def _state(home: Home) -> dict[str, str]:
    return {"UPTOKEN_STATE": str(home.state)}


def test_streams_that_break_too_often_degrade_and_the_alert_counts_them(
    sqlite_home: Home, simulated: Simulated, receiver: Receiver
) -> None:
    simulated.define("held")
    simulated.set("held", {"name": "burst", "ttft_ms": 60, "tokens_per_s": 500})
    rule = 'degraded = { flawed_streams = 50, over = "15s" }'
    sqlite_home.configure(TIMES, alerting(), channel("ops", receiver.url), endpoint("held", simulated, rule))
    daemon = sqlite_home.ready()
    moved = daemon.wait("state.changed", endpoint="held/gpt-x", after="degraded", within_s=40)
    assert "streams broke (" in moved["reason"]
    assert "(limit 50.0 %)" in moved["reason"]
    daemon.wait("alert.sent")
    assert "streams broke (" in receiver.messages[0].text
    simulated.set("held", "ok")
    daemon.wait("state.changed", endpoint="held/gpt-x", after="up", count=2, within_s=40)
    assert daemon.stop()[0] == 0


def test_who_answers_is_news_once_and_outlives_a_crash(
    home: Home, simulated: Simulated, free_port: int
) -> None:
    simulated.define("fleet", fingerprint="fp_a", upstream="One")
    address = f"127.0.0.1:{free_port}"
    home.configure(TIMES, alerting(), endpoint("fleet", simulated), listen=address)
    daemon = home.ready()
    answered(daemon, 1)
    for behaviour, kind, text in (
        ({"fingerprint": "fp_b"}, "fingerprint_changed", "fp_b"),
        ({"upstream": "Two"}, "upstream_changed", "Two"),
        ({"cached_tokens": 100_000}, "cache_hit", "came from a cache"),
        ({"served_model": "cheaper"}, "model_changed", "cheaper answers instead of gpt-x"),
        ("ok", "model_back", "gpt-x answers again, after cheaper"),
    ):
        simulated.set("fleet", behaviour)
        assert text in daemon.wait("identity.changed", kind=kind)["text"]
        # fp_a and One answer again, too: they are known, so that is no news.
        answered(daemon, 1)
    daemon.kill()
    simulated.set("fleet", {"fingerprint": "fp_b", "upstream": "Two"})
    again = home.ready()
    answered(again, 2)
    simulated.set("fleet", {"fingerprint": "fp_c"})
    assert "fp_c" in again.wait("identity.changed")["text"]
    assert len(again.heard("identity.changed")) == 1
    kinds = [
        "fingerprint_changed",
        *("model_back", "model_changed", "cache_hit", "upstream_changed", "fingerprint_changed"),
    ]
    found = [row[0] for row in home.records().rows("SELECT kind FROM uptoken_event ORDER BY at_us DESC")]
    assert found == kinds
    path = "/api/v1/endpoints/fleet/gpt-x/events"
    until(lambda: [e["kind"] for e in fetched(address, path)["events"]] == kinds, "the API tells them")
    first = fetched(address, f"{path}?limit=4")
    rest = fetched(address, f"{path}?limit=4&before={first['next']}")
    assert [one["kind"] for one in first["events"] + rest["events"]] == kinds
    assert rest["next"] is None
    assert "cheaper answers instead of gpt-x" in page(address, "/endpoints/fleet/gpt-x")
    hits = home.records().rows("SELECT DISTINCT cached_tokens > 0 FROM uptoken_probe WHERE cache_hit")
    assert [bool(row[0]) for row in hits] == [True]
    said = uptoken("status", "fleet/gpt-x", "--config", home.config, cwd=home.folder, env=_state(home))
    assert "fingerprint_changed: system_fingerprint is fp_c" in said.out
    assert again.stop()[0] == 0


def answered(daemon: Daemon, more: int) -> None:
    """So many more looks have got an answer."""
    known: Callable[[], int] = lambda: len(  # noqa: E731
        [line for line in daemon.heard("probe.stored") if line["ttft_ms"] is not None]
    )
    before = known()
    until(lambda: known() >= before + more, f"{more} more answers came")


@pytest.mark.parametrize("said", ["fp", "9" * 17, "g" * 18])
def test_what_is_no_id_of_an_event_is_refused(
    said: str, sqlite_home: Home, simulated: Simulated, free_port: int
) -> None:
    address = f"127.0.0.1:{free_port}"
    sqlite_home.configure(TIMES, endpoint("acme", simulated), listen=address)
    sqlite_home.ready().wait("page.listening")
    with pytest.raises(urllib.error.HTTPError, match="400"):
        fetched(address, f"/api/v1/endpoints/acme/gpt-x/events?before={said}")
