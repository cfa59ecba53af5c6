"""A provider that throttles us is left alone as long as it asks, and that is no outage."""

import json
import subprocess
import sys
import urllib.request
from typing import Any

from monitor.core.instant import SECOND, from_iso
from tests.support.daemon import TOP, Home, alerting, channel, until
from tests.support.receiver import Receiver
from tests.support.simulated import Simulated

ONE = "acme/tiny"
WAIT_S = 11
LIMITS = {
    "x-ratelimit-limit-requests": "500", "x-ratelimit-remaining-requests": "499",
    "x-ratelimit-reset-requests": "120ms", "x-ratelimit-limit-tokens": "3000",
    "x-ratelimit-remaining-tokens": "2497", "x-ratelimit-reset-tokens": "6m0s",
}  # fmt: skip


def model(url: str) -> str:
    return (
        f'[provider.acme]\nname = "Acme AI"\nprotocol = "openai-chat"\nbase_url = "{url}"\n'
        'interval = "1s"\ntimeout = "900ms"\n[[provider.acme.endpoints]]\nmodel = "tiny"\nmax_tokens = 4\n'
    )


def get(address: str, path: str) -> str:
    with urllib.request.urlopen(address + path, timeout=10) as reply:
        return str(reply.read().decode())


def shown(address: str) -> dict[str, Any]:
    one: dict[str, Any] = json.loads(get(address, f"/api/v1/endpoints/{ONE}"))["endpoint"]
    return one


def status(home: Home) -> str:
    command = [sys.executable, "-m", "monitor", "status", ONE, "--config", home.config]
    return subprocess.run(command, cwd=TOP, stdout=subprocess.PIPE, check=True, text=True).stdout


def test_a_throttled_endpoint_is_not_asked_before_its_time_and_does_not_look_like_an_outage(
    sqlite_home: Home, simulated: Simulated, receiver: Receiver
) -> None:
    home = sqlite_home
    simulated.define("acme", headers=LIMITS)
    settings = (
        alerting(down_after=3, confirm_every="100ms"),
        channel("ops", receiver.url),
        model(simulated.base_url("acme")),
    )
    home.configure(*settings, listen="127.0.0.1:0")
    daemon = home.ready()
    daemon.wait("state.changed", after="up")
    (address,) = daemon.wait("page.listening")["addresses"]
    until(lambda: shown(address)["headroom"] is not None, "the limits are shown")
    one = shown(address)
    assert one["throttled_until"] is None
    assert one["headroom"]["percent"] == 83.2
    requests, tokens = one["headroom"]["limits"]
    assert (requests["kind"], requests["period"], requests["limit"], requests["remaining"]) == (
        "requests", None, 500, 499,
    )  # fmt: skip
    assert from_iso(tokens["resets_at"]) - from_iso(one["headroom"]["at"]) == 360 * SECOND
    assert "99 % of requests, 83 % of tokens left" in get(address, f"/endpoints/{ONE}")

    simulated.set("acme", {"name": "rate_limited", "retry_after_s": WAIT_S})
    daemon.wait("probe.stored", outcome="rate_limited")
    asked = len(simulated.log("acme"))
    refused = simulated.log("acme")[-1]
    assert refused["status"] == 429
    simulated.set("acme", "ok")
    daemon.wait("state.changed", after="degraded")
    until(lambda: shown(address)["state"] == "degraded", "the page has caught up")
    one = shown(address)
    assert "rate_limited" in one["reason"]
    assert one["headroom"]["percent"] == 0.0
    waits = from_iso(one["throttled_until"])
    assert 0 <= waits - refused["unix"] * SECOND - WAIT_S * SECOND < SECOND
    assert "next look after" in get(address, f"/endpoints/{ONE}")
    said = status(home)
    assert "\n  throttled; next look after 20" in said
    assert "0 % of requests left" in said
    hour = one["windows"]["1h"]
    assert hour["uptime"] == 100.0
    assert hour["strict_uptime"] < 100.0
    assert hour["counts"]["throttled"] >= 3
    assert hour["counts"]["monitor"] or hour["coverage"] == 100.0
    assert hour["down_s"] == 0.0

    assert receiver.wait().title.startswith("DEGRADED")

    # A daemon that was started anew knows it, too.
    assert len(simulated.log("acme")) == asked
    daemon.kill()
    second = home.ready()
    second.wait("probe.stored", outcome="rate_limited")
    assert len(simulated.log("acme")) == asked
    second.wait("state.changed", after="up")
    assert simulated.log("acme")[asked]["unix"] * SECOND >= waits
    assert second.stop()[0] == 0

    told = {message.title.partition(":")[0] for message in receiver.messages}
    assert told <= {"DEGRADED", "RECOVERED"}
    records = home.records()
    skipped = [probe for probe in records.probes(ONE) if not probe.sent]
    assert {probe.outcome for probe in skipped} == {"rate_limited"}
    told = "throttled; not asked, because the provider wanted to be left alone for another "
    assert all((probe.detail or "").startswith(told) for probe in skipped)
    left = records.rows("SELECT outcome, sent, headroom FROM uptoken_probe ORDER BY at_us")
    assert {row.headroom for row in left if row.outcome == "ok"} == {83.2}
    assert {row.headroom for row in left if row.outcome == "rate_limited"} == {None, 0.0}
    records.check_slots(ONE)
