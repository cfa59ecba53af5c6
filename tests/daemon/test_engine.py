"""The daemon watches a real inference engine: what it stores is what the engine says of itself."""

import json

from tests.support.both import on_both_databases
from tests.support.daemon import Home, alerting, channel, until
from tests.support.llama import Llama
from tests.support.receiver import Receiver
from tests.support.records import BUSY, Records
from tests.support.relay import Exchange, relaying

TOKENS = 1500
PROBES = 3

# The engine times itself inside; what the daemon sees comes later by a request's and an event's way
# through two sockets, and all of them share the processors of this machine.
TTFT_SLACK_MS = 30.0
SPEED_TOLERANCE = 0.15


def model(provider: str, engine: Llama, url: str, *endpoints: str, key: str | None = None) -> str:
    """A provider of the engine's model; each endpoint is the rest of its table."""
    lines = [f'[provider.{provider}]\nprotocol = "openai-chat"\nbase_url = "{url}"']
    lines += [f'api_key = "${{env:{key}}}"'] if key else []
    lines += [
        f'[[provider.{provider}.endpoints]]\nmodel = "{engine.model}"\n{endpoint}' for endpoint in endpoints
    ]
    return "\n".join(lines) + "\n"


DEFAULTS = '[defaults]\ninterval = "2s"\ntimeout = "1800ms"\n'


def test_figures_are_those_of_the_engine(home: Home, llama: Llama) -> None:
    with relaying(llama.base_url) as relay:
        fixed = f'name = "long"\nslug = "long"\nmax_tokens = {TOKENS}\nbody = {{ ignore_eos = true }}'
        home.configure(DEFAULTS, alerting(), model("llama", llama, relay.url, fixed))
        daemon = home.ready()
        daemon.wait("probe.stored", outcome="ok", count=PROBES)
        assert daemon.stop()[0] == 0
        records = home.records()
        probes = records.rows("SELECT * FROM uptoken_probe WHERE outcome = 'ok' ORDER BY at_us")
        assert len(probes) >= PROBES
        deviations = []
        for probe in probes:
            # The nonce in front of the prompt is the second half of the probe's id.
            exchange = relay.with_request(probe.id[16:])
            until(lambda: exchange.ended, "the exchange is over")  # noqa: B023
            deviations.append(_compare(probe, exchange))
        # What else runs on this machine makes some of them late, but not all of them.
        assert min(late_ms for late_ms, _ in deviations) <= TTFT_SLACK_MS, deviations
        assert min(abs(speed - 1) for _, speed in deviations) <= SPEED_TOLERANCE, deviations
        records.check_slots("llama/long")


def _compare(probe, exchange: Exchange) -> tuple[float, float]:
    """Milliseconds that the first token came after the engine had it, and our speed as a part of its own."""
    events = exchange.events
    usage = next(event["usage"] for event in reversed(events) if event.get("usage"))
    timings = next(event["timings"] for event in reversed(events) if event.get("timings"))
    chunks = [event for event in events if event["choices"] and event["choices"][0]["delta"].get("content")]
    assert probe.token_source == "usage"
    assert probe.output_tokens == usage["completion_tokens"] == timings["predicted_n"] == TOKENS
    assert probe.input_tokens == usage["prompt_tokens"]
    assert len(chunks) != TOKENS  # whoever counts chunks measures another speed
    assert timings["prompt_ms"] <= probe.ttft_ms
    assert probe.ttft_net_ms <= probe.ttft_ms <= probe.ttfat_ms <= probe.total_ms
    assert probe.effective_throughput < probe.output_speed
    return probe.ttft_ms - timings["prompt_ms"], probe.output_speed / timings["predicted_per_second"]


@on_both_databases
def test_real_answers_and_refusals_are_judged(
    home: Home, llama: Llama, llama_with_key: Llama, receiver: Receiver
) -> None:
    says_pong = "body = { grammar = 'root ::= \"pong\"' }"
    home.configure(
        DEFAULTS,
        alerting(),
        channel("ops", receiver.url),
        model(
            "llama",
            llama,
            llama.base_url,
            f'slug = "right"\n{says_pong}\nexpect = {{ answer = "PONG" }}',
            f'slug = "wrong"\n{says_pong}\nexpect = {{ answer = "ping" }}',
            f'slug = "oversized"\nprompt = {json.dumps("zq" * 2040)}',
        ),
        model("keyed", llama_with_key, llama_with_key.base_url, 'slug = "good"', key="GOOD"),
        model("robbed", llama_with_key, llama_with_key.base_url, 'slug = "bad"', key="BAD"),
    )
    assert llama_with_key.api_key is not None
    daemon = home.ready(env={"GOOD": llama_with_key.api_key, "BAD": "sk-of-somebody-else"})
    receiver.wait(lambda message: message.title.startswith("NEEDS YOU"), count=2)
    receiver.wait(lambda message: message.title.startswith("DEGRADED"))
    daemon.wait("probe.stored", endpoint="keyed/good", outcome="ok", count=2)
    daemon.wait("probe.stored", endpoint="llama/right", outcome="ok", count=2)
    assert daemon.stop()[0] == 0

    records = home.records()
    assert _outcomes(records) == {
        "llama/right": {"ok"},
        "llama/wrong": {"wrong_answer"},
        "llama/oversized": {"bad_request"},
        "keyed/good": {"ok"},
        "robbed/bad": {"auth_failed"},
    }
    blames = records.rows("SELECT DISTINCT outcome, blame FROM uptoken_probe WHERE blame <> 'monitor'")
    assert dict(map(tuple, blames)) == {
        "wrong_answer": "degraded",
        "bad_request": "config",
        "auth_failed": "config",
    }
    # A mistake of ours is told as such: nothing is down, and no uptime suffers.
    assert {message.title for message in receiver.accepted} == {
        "NEEDS YOU: robbed tiny-random",
        "NEEDS YOU: llama tiny-random",
        "DEGRADED: llama tiny-random",
    }
    assert {records.state(endpoint) for endpoint in ("robbed/bad", "llama/oversized")} == {"unknown"}
    assert not records.rows("SELECT * FROM transition WHERE \"after\" = 'down'")
    [(detail,)] = records.rows("SELECT DISTINCT detail FROM uptoken_probe WHERE endpoint = 'robbed/bad'")
    assert "Invalid API Key" in detail
    assert all("sk-of-somebody-else" not in json.dumps(line) for line in daemon.lines)


@on_both_databases
def test_one_model_is_watched_over_three_protocols(
    home: Home, llama_with_key: Llama, receiver: Receiver
) -> None:
    door = llama_with_key.base_url.removesuffix("/v1")
    home.configure(
        '[defaults]\ninterval = "2s"\ntimeout = "1800ms"\nlabels = { tier = "gold" }\n',
        alerting(),
        channel("ops", receiver.url),
        model(
            "llama",
            llama_with_key,
            llama_with_key.base_url,
            f"""max_tokens = 20
            price = {{ input = "1.00", output = "2.00" }}
            also = [
              {{ protocol = "anthropic", base_url = "{door}" }},
              {{ protocol = "openai-responses" }},
              {{ protocol = "anthropic", base_url = "{door}", slug = "keyless", api_key = false }},
            ]""",
            key="GOOD",
        ),
    )
    assert llama_with_key.api_key is not None
    daemon = home.ready(env={"GOOD": llama_with_key.api_key})
    over = ("", ".anthropic", ".openai-responses")
    for protocol in over:
        daemon.wait("probe.stored", endpoint=f"llama/tiny-random{protocol}", outcome="ok", count=2)
    # No sibling is taken for another: here only one has no key, and that one is told.
    told = receiver.wait(lambda message: message.title.startswith("NEEDS YOU"))
    assert told.title == "NEEDS YOU: llama tiny-random over anthropic"
    assert daemon.stop()[0] == 0
    records = home.records()
    outcomes = _outcomes(records)
    assert outcomes.pop("llama/keyless") == {"auth_failed"}
    assert outcomes.keys() == {f"llama/tiny-random{each}" for each in over}
    assert set().union(*outcomes.values()) <= {"ok", "self_overload"}  # the machine may be busy
    probes = records.rows("SELECT * FROM uptoken_probe WHERE outcome = 'ok'")
    assert {probe.token_source for probe in probes} == {"usage"}
    assert {probe.output_tokens <= 20 and probe.ttft_ms is not None for probe in probes} == {True}
    assert all(probe.cost_usd for probe in probes)
    for each in over:
        assert records.state(f"llama/tiny-random{each}") == "up"
        records.check_slots(f"llama/tiny-random{each}")


def _outcomes(records: Records) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for probe in records.probes():
        if probe.outcome not in ("cancelled", BUSY):  # cut off when the daemon was stopped, or not timed
            found.setdefault(probe.endpoint, set()).add(probe.outcome)
    return found
