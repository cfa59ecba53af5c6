"""Every language model's protocol, by what its vendor's servers say: what comes of each of it."""

import json
import random
from dataclasses import replace
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import pytest

from monitor.clock import SYSTEM
from monitor.config.secrets import SecretText
from monitor.config.settings import ModelSettings
from monitor.core.alert import Subject
from monitor.core.belief import Rules
from monitor.core.blot import Blot
from monitor.core.budget import Price
from monitor.core.figures import measure
from monitor.core.instant import MINUTE, SECOND, Span
from monitor.core.observation import Observation
from monitor.core.outcome import Outcome
from monitor.core.slots import Grid
from monitor.core.verdict import Learnt, judge
from monitor.pipeline import Watched, look_once
from monitor.protocols import registry
from tests.protocols.replay import KEY, Piece, Recording, Replay, look, look_of, settings_of
from tests.protocols.script import NEEDED, Case, script
from tests.protocols.test_conformance import is_sound

pytestmark = pytest.mark.anyio

MODELS = sorted(name for name, one in registry().items() if issubclass(one.Settings, ModelSettings))

every_model = pytest.mark.parametrize("name", MODELS)
every_case = pytest.mark.parametrize(
    ("name", "case"),
    [
        pytest.param(name, case, id=f"{name}: {title}")
        for name in MODELS
        for title, case in script(name).CASES.items()
    ],
)


def recorded(case: Case) -> Recording:
    """The case as it came: event by event, or all of it at once."""
    events = [case.body] if case.at_once else [event + b"\n\n" for event in case.body.split(b"\n\n") if event]
    ending = "open" if case.open else None
    pieces = [Piece(event, case.every_s) for event in events]
    return Recording(pieces, status=case.status, headers=case.headers, ending=ending)


def tokens(seen: Observation) -> list[tuple[str, int]]:
    return [(token.channel, token.characters) for token in seen.timeline.tokens]


def amounts_to(seen: Observation, case: Case) -> None:
    before = Learnt(worked=case.worked, served_model=case.served_before)
    verdict = judge(seen, look_of("openai-chat").expect, before, model="acme-1")
    assert verdict.outcome is case.outcome, verdict.detail
    assert case.says in (verdict.detail or "")
    assert (verdict.detail is None) is (case.outcome is Outcome.OK)
    wait = None if case.retry_after_s is None else round(case.retry_after_s, 6)
    assert (verdict.retry_after and round(verdict.retry_after / SECOND, 6)) == wait


@every_model
def test_no_protocol_lacks_what_every_vendor_can_say(name):
    assert script(name).CASES.keys() >= NEEDED


@every_case
async def test_what_a_server_says_amounts_to_the_right_outcome(name, case):
    seen = await look(look_of(name), recorded(case))
    assert tokens(seen) == list(case.tokens)
    assert seen.answer == case.answer
    assert seen.finish_reason == case.finish_reason
    assert seen.usage == case.usage
    assert case.reasoning_kept_back in (None, seen.reasoning_kept_back)
    assert seen.served_model == case.served_model
    assert seen.status == case.status
    amounts_to(seen, case)


@every_case
async def test_it_amounts_to_the_same_however_the_network_cut_it(name, case):
    if case.open:  # here the server ends it
        case = replace(case, outcome=Outcome.TRUNCATED, says="")
    dice = random.Random(name)
    for _ in range(4):
        edges = sorted(dice.randrange(len(case.body) + 1) for _ in range(7))
        reads = [case.body[a:b] for a, b in zip([0, *edges], [*edges, None], strict=True)]
        pieces = [Piece(read) for read in reads if read]
        seen = await look(look_of(name), Recording(pieces, status=case.status, headers=case.headers))
        assert tokens(seen) == list(case.tokens)
        assert (seen.answer, seen.finish_reason, seen.usage) == (case.answer, case.finish_reason, case.usage)
        amounts_to(seen, case)


@every_model
async def test_one_burst_has_no_speed(name):
    seen = await look(look_of(name), recorded(script(name).CASES["one burst"]))
    figures = measure(seen)
    assert figures.output_speed is None
    assert figures.ttft_ms is not None


@every_model
async def test_a_stream_that_flows_has_a_speed(name):
    case = script(name).CASES["ok"]
    seen = await look(look_of(name), recorded(replace(case, every_s=0.200)))
    figures = measure(seen)
    assert figures.output_tokens == case.usage.output_tokens
    first = case.usage.output_tokens * 4 / 15
    assert figures.output_speed == pytest.approx((case.usage.output_tokens - first) / 0.4)


@every_model
async def test_nothing_but_text_starts_the_clock(name):
    case = script(name).CASES["ok"]
    seen = await look(look_of(name), recorded(replace(case, every_s=1.0)))
    events = case.body.split(b"\n\n")
    first = next(place for place, event in enumerate(events, start=1) if b'"pong"' in event)
    line = seen.timeline
    assert line.tokens[0].at == pytest.approx(line.headers + first)


async def test_what_went_into_a_cache_is_paid_as_such():
    case = script("anthropic").CASES["usage is cumulative"]
    watched = Watched(
        id="acme/thing",
        provider="acme",
        look=look_of("anthropic"),
        wire=Replay(recorded(case)),
        rules=Rules(
            subject=Subject(id="acme/thing", provider="Acme", model="acme-1"), interval=MINUTE, timeout=SECOND
        ),
        grid=Grid(MINUTE, Span(0)),
        timeout_s=30.0,
        connect_s=10.0,
        protocol="anthropic",
        blot=Blot(()),
        location="here",
        price=Price(input=Decimal(1), output=Decimal(2), cache_read=Decimal("0.1"), cache_write=Decimal(9)),
    )
    seen = await look_once(watched, Learnt(), "0badc0de", SYSTEM)
    assert seen.cost_usd == Decimal("0.000116"), "25 tokens fed, 100 read, 7 written, 9 said"


@every_model
async def test_the_request_is_what_the_vendor_documents(name):
    wanted = script(name).REQUEST
    wire = Replay(Recording())
    await look(look_of(name, prompt="Say pong."), wire=wire, nonce="0badc0de")
    (request,) = wire.requests
    header, form = wanted["key"]
    assert (request.method, request.url) == ("POST", wanted["url"])
    assert request.headers[header] == form.format(KEY)
    assert wanted["headers"].items() <= request.headers.items()
    assert sum(KEY in value for value in request.headers.values()) == 1
    assert KEY not in request.url
    spoken = json.dumps(wanted["body"]).replace("{prompt}", "0badc0de\\n\\nSay pong.")
    assert json.loads(request.body) == json.loads(spoken)


@pytest.mark.parametrize(
    ("name", "model", "path"),
    [
        ("azure-openai", "my gpt/4?#%", "/openai/deployments/my%20gpt%2F4%3F%23%25/chat/completions?api-version=2024-10-21"),
        ("gemini", "tuned/ü?alt=x", "/v1beta/models/tuned%2F%C3%BC%3Falt%3Dx:streamGenerateContent?alt=sse"),
        ("gemini", "models/acme-1", "/v1beta/models/acme-1:streamGenerateContent?alt=sse"),
    ],
)  # fmt: skip
async def test_a_model_in_the_address_is_written_so_that_it_stays_a_name(name, model, path):
    wire = Replay(Recording())
    await look(look_of(name, model=model), wire=wire)
    assert urlsplit(wire.requests[0].url)._replace(scheme="", netloc="").geturl() == path


@pytest.mark.parametrize(
    ("name", "values", "where"),
    [
        ("anthropic", {"base_url": "https://a.example/v1"}, ("base_url",)),
        ("anthropic", {"body": {"max_tokens": 9}}, ("body", "max_tokens")),
        ("anthropic", {"omit": ["max_tokens"]}, ("omit",)),
        ("azure-openai", {"base_url": "https://a.example/openai/v1"}, ("base_url",)),
        ("azure-openai", {"body": {"stream": False}}, ("body", "stream")),
        ("gemini", {"base_url": "https://a.example/v1beta/openai"}, ("base_url",)),
        ("gemini", {"body": {"contents": []}}, ("body", "contents")),
        ("gemini", {"body": {"generationConfig": {"maxOutputTokens": 9}}}, ("body", "generationConfig", "maxOutputTokens")),
        ("openai-responses", {"base_url": "https://a.example/v1/responses"}, ("base_url",)),
        ("openai-responses", {"body": {"background": True}}, ("body", "background")),
        ("openai-responses", {"omit": ["input"]}, ("omit",)),
    ],
)  # fmt: skip
def test_what_the_probe_depends_on_cannot_be_configured_away(name, values, where):
    ((keys, _),) = settings_of(name, **values).objections()
    assert keys == where


@every_model
def test_as_it_stands_in_a_script_nothing_is_objected_to(name):
    assert list(settings_of(name, body={"temperature": 0}, omit=["user"]).objections()) == []


@pytest.mark.parametrize(
    ("name", "omit", "limited"),
    [
        ("anthropic", "metadata", True),
        ("gemini", "generationConfig", False),
        ("openai-responses", "max_output_tokens", False),
        ("azure-openai", "max_completion_tokens", False),
    ],
)
def test_the_worst_case_is_known_where_something_limits_it(name, omit, limited):
    most = 64 if limited else None
    assert look_of(name, omit=[omit]).worst_case.output_tokens == most
    assert look_of(name, omit=[omit], limits={"max_output": 99}).worst_case.output_tokens == (most or 99)


async def test_azure_learns_the_name_of_the_limit_as_others_do():
    refused = {"error": {"message": "Unrecognized request argument supplied: max_completion_tokens"}}
    wire = Replay(
        Recording([Piece(json.dumps(refused).encode())], status=400),
        recorded(script("azure-openai").CASES["ok"]),
    )
    seen = await look(look_of("azure-openai"), wire=wire)
    assert seen.learnt == {"max_tokens_field": "max_tokens"}
    assert json.loads(wire.requests[1].body)["max_tokens"] == 64


@every_model
async def test_without_a_key_none_is_sent_and_headers_of_the_config_win(name):
    header, _ = script(name).REQUEST["key"]
    wire = Replay(Recording())
    await look(look_of(name, api_key=None), wire=wire)
    assert header not in wire.requests[0].headers
    wire = Replay(Recording())
    await look(look_of(name, headers={header.upper(): SecretText("mine")}), wire=wire)
    sent = {key: value for key, value in wire.requests[0].headers.items() if key.lower() == header.lower()}
    assert sent == {header.upper(): "mine"}


@every_model
async def test_the_body_of_the_config_is_merged_in_and_what_it_omits_is_left_out(name):
    first, *_ = script(name).REQUEST["body"]
    wire = Replay(Recording())
    await look(look_of(name, body={"extra": {"a": False}, "other": 1}, omit=["other"]), wire=wire)
    sent = json.loads(wire.requests[0].body)
    assert sent["extra"] == {"a": False}
    assert "other" not in sent
    assert first in sent


# Servers gone mad

ODD = (
    None, True, False, 0, -1, 1.5, 10**12, float("nan"), "", "error", "x", "\u2028\x00", [], {}, [[]], [None], [1, "x"],
    {"": None}, {"text": []}, {"error": {}}, {"message": {"message": 1}}, {"type": ["error"]}, [{"text": {}}],
)  # fmt: skip


def disturbed(value: Any, dice: random.Random) -> Any:
    """The same JSON with something else in one place."""
    if isinstance(value, dict | list) and value and dice.random() < 0.8:
        key = dice.choice(list(value) if isinstance(value, dict) else range(len(value)))
        held = {**value} if isinstance(value, dict) else [*value]
        held[key] = disturbed(value[key], dice)
        return held
    return dice.choice(ODD)


def spoilt(event: bytes, dice: random.Random) -> bytes:
    head, colon, said = event.rpartition(b"data: ")
    try:
        value = json.loads(said)
    except ValueError:
        return event
    return head + colon + json.dumps(disturbed(value, dice)).encode()


@every_case
async def test_events_with_anything_in_any_place_are_never_a_crash(name, case):
    dice = random.Random(case.body)
    at = look_of(name)
    for _ in range(12):
        events = [event for event in case.body.split(b"\n\n") if event][:40]
        for place in dice.sample(range(len(events)), min(len(events), 2)):
            events[place] = spoilt(events[place], dice)
        body = b"".join(event + b"\n\n" for event in events)
        is_sound(await look(at, Recording([Piece(body)], status=case.status)))


@every_model
async def test_every_prefix_of_a_good_stream_is_truncated_or_says_why_not(name):
    case = script(name).CASES["ok"]
    for length in range(0, len(case.body), 7):
        seen = await look(look_of(name), Recording([Piece(case.body[:length])]))
        is_sound(seen)
        verdict = judge(seen, look_of(name).expect, Learnt(), model="acme-1")
        assert seen.terminal or verdict.outcome in (Outcome.TRUNCATED, Outcome.MALFORMED_RESPONSE)
