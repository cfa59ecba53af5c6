"""What each protocol leaves behind of a failure, and that none of it is a key."""

import base64
import json
from itertools import pairwise
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.config.secrets import SecretText
from monitor.core.evidence import Evidence, Kind, gather, load, store
from monitor.core.instant import SECOND, Instant
from monitor.core.observation import Observation
from monitor.core.verdict import Learnt, judge
from monitor.core.wire import FaultKind
from monitor.protocols import Look
from tests.protocols.replay import BLOT, KEY, Piece, Recording, events, look, look_of, settings_of, streamed

pytestmark = pytest.mark.anyio
FOLDED = {"suppress_health_check": [HealthCheck.function_scoped_fixture], "deadline": None}
MODELS = ["openai-chat", "openai-responses", "azure-openai", "anthropic", "gemini"]
ECHOES = [
    KEY,
    f"Bearer {KEY}",
    quote(f"Bearer {KEY}/+", safe=""),
    base64.b64encode(KEY.encode()).decode(),
    base64.b64encode(b"u:" + KEY.encode() + b"!").decode(),
    base64.urlsafe_b64encode(b"user:" + KEY.encode()).decode(),
    json.dumps({"key": KEY}),
    KEY[:10] + "…",
    "…" + KEY[-9:],
]


def one(protocol: str, **values: object) -> Look:
    extra = {"api_version": "2024-10-21"} if "api_version" in settings_fields(protocol) else {}
    return look_of(protocol, **extra, **values)


def settings_fields(protocol: str) -> set[str]:
    return set(type(settings_of(protocol, **SETUP.get(protocol, {}))).model_fields)


SETUP: dict[str, dict[str, object]] = {
    "azure-openai": {"api_version": "2024-10-21"},
    "http": {"url": "http://acme.example/health"},
}


def evidence(seen: Observation, at: Look) -> Evidence:
    found = gather(
        seen,
        judge(seen, at.expect, Learnt(), model=at.model),
        probe_id="0" * 32,
        endpoint="acme/thing",
        at=Instant(1_800_000_000 * SECOND),
        monitor="0.1.0",
        location="default",
        protocol="x",
        model=at.model,
        blot=BLOT,
    )
    return load(store(found))


def leaks(found: Evidence) -> list[str]:
    """Parts of the key, in any of its forms, that stand in it."""
    told = repr(found)
    letters = [base64.b64encode(b"\0" * before + KEY.encode()).decode()[4:-4] for before in range(3)]
    forms = [KEY, *letters]
    return [form[i : i + 8] for form in forms for i in range(len(form) - 7) if form[i : i + 8] in told]


async def test_a_stream_that_broke_leaves_its_beginning_and_every_read():
    broken = streamed(
        b": wait\n\n", events({"choices": [{"delta": {"content": "hi"}}]}), ending=FaultKind.RESET
    )
    at = one("openai-chat")
    found = evidence(await look(at, broken), at)
    assert found.body.startswith(': wait\n\ndata: {"choices"')
    kinds = [event.kind for event in found.events]
    assert kinds == [
        Kind.DNS, Kind.CONNECT, Kind.TLS, Kind.SENT, Kind.HEADERS, Kind.COMMENT, Kind.BYTES, Kind.TOKEN,
        Kind.FAULT,
    ]  # fmt: skip
    assert found.request_id == found.headers["x-request-id"] == "req-1"
    assert (found.method, found.status) == ("POST", 200)
    assert found.sent is not None
    assert found.sent > 100


@st.composite
def echoing(draw: st.DrawFn) -> Recording:
    """An answer that has the key in it somewhere, in some form, cut anywhere."""
    echo = draw(st.sampled_from(ECHOES))
    text = "x" * draw(st.integers(0, 2100)) + echo
    bodies = [
        text.encode(),
        json.dumps({"error": {"message": text, "code": echo, "type": echo}}).encode(),
        events({"error": {"message": text}}),
        f"event: error\ndata: {text}\n\n".encode(),
        f": {text}\n\ndata: {echo}\n\n".encode(),
        events({"id": echo, "model": echo, "choices": [{"delta": {"content": echo}}]}),
    ]
    body = draw(st.sampled_from(bodies))
    cuts = draw(st.lists(st.integers(0, len(body)), max_size=4).map(sorted))
    return Recording(
        [Piece(body[a:b]) for a, b in pairwise([0, *cuts, len(body)]) if a < b],
        status=draw(st.sampled_from([200, 400, 401, 429, 500])),
        headers={"x-request-id": echo, "location": f"/?a={echo}", f"x-ratelimit-{echo[:40].lower()}": echo},
        ending=draw(st.sampled_from([None, "open", FaultKind.RESET])),
    )


@pytest.mark.parametrize("protocol", MODELS)
@settings(max_examples=100, **FOLDED)
@given(played=echoing())
async def test_a_key_that_is_echoed_is_nowhere_in_it(protocol: str, played: Recording):
    at = one(protocol)
    assert leaks(evidence(await look(at, played, played), at)) == []


async def test_a_plain_check_hides_what_its_headers_and_its_query_hold():
    at = look_of(
        "http",
        url=f"http://acme.example/health?probe=1&token={KEY}",
        headers={"Authorization": SecretText("Bearer ${env:KEY}"), "X-Plain": SecretText("plain-text")},
    )
    for body in (KEY, f"Bearer {KEY}", f"plain-text,{quote(KEY)}"):
        found = evidence(await look(at, Recording([Piece(body.encode())], status=500)), at)
        assert leaks(found) == []
        assert found.url == "http://acme.example/health?probe=1&token=***"
        assert found.body == body.replace(KEY, "***")


async def test_a_key_in_a_request_id_is_kept_nowhere():
    played = Recording([Piece(b"no")], status=500, headers={"x-request-id": f"of-{KEY}"})
    header = {"X-Key": SecretText("${env:KEY}")}
    for at in (one("openai-chat"), look_of("http", url="http://acme.example/", headers=header)):
        assert (await look(at, played)).request_id == "of-***"


async def test_a_check_that_did_not_reach_anybody_tells_what_it_asked():
    at = look_of("http", url="http://acme.example/")
    found = evidence(await look(at, Recording(headers_after=100.0)), at)
    assert (found.method, found.url, found.status, found.body) == ("GET", "http://acme.example/", None, "")
    assert found.fault is not None
