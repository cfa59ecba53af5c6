"""What every file in monitor/protocols has to do, whatever it speaks."""

import asyncio
import json
import random
from contextlib import suppress
from dataclasses import fields, is_dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.config.secrets import SecretText
from monitor.config.settings import EndpointSettings, ModelSettings
from monitor.core.observation import BODY_KEPT, Observation, Usage
from monitor.core.timeline import Timeline
from monitor.core.verdict import Expect, Learnt, judge
from monitor.core.wire import Fault, FaultKind, Limits, Phase
from monitor.protocols import Look, registry, settings_registry
from tests.protocols.conversations import CONVERSATIONS
from tests.protocols.replay import KEY, START, Piece, Recording, Replay, look, look_of, streamed
from tests.protocols.script import script

pytestmark = pytest.mark.anyio

NEEDS: dict[str, dict[str, Any]] = {
    "http": {"url": "https://acme.example/"},
    "tcp": {"address": "acme.example:22", "expect": {"banner_contains": "SSH"}},
    "tls": {"address": "acme.example"},
    "dns": {"query": "acme.example"},
}
"""What an endpoint of a protocol needs, where it is not what every model needs."""
LAST: dict[str, Phase] = {"dns": Phase.DNS, "tls": Phase.TLS, "tcp": Phase.BODY}
"""How far a protocol goes, where that is not to the end of an answer over HTTP."""

any_protocol = pytest.mark.parametrize(
    "name", sorted(name for name, one in registry().items() if not one.Settings.reports)
)
"""Every one that asks; what reports by itself has tests of its own."""
every_protocol = pytest.mark.parametrize(
    "name", sorted(name for name, one in registry().items() if one.Settings.over_http)
)
"""Every one that speaks HTTP."""
plain_protocol = pytest.mark.parametrize(
    "name",
    sorted(name for name, one in registry().items() if not (one.Settings.over_http or one.Settings.reports)),
)
STATUSES = st.sampled_from([200, 200, 200, 201, 204, 301, 400, 401, 404, 422, 429, 500, 503, 529])


def made(name: str) -> Look:
    secret = {"headers": {"X-Key": SecretText("${env:KEY}")}} if registry()[name].Settings.over_http else {}
    return look_of(name, **NEEDS.get(name, {}) | secret)


def texts(value: object) -> list[str]:
    """Every text in a value, however deep."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for pair in value.items() for part in pair for text in texts(part)]
    if isinstance(value, tuple):
        return [text for part in value for text in texts(part)]
    if is_dataclass(value):
        return [text for part in fields(value) for text in texts(getattr(value, part.name))]
    return []


def is_sound(seen: Observation, *, model: str | None = "acme-1") -> None:
    """What the rest of the house relies on."""
    line = seen.timeline
    assert line.end is not None
    assert line.end >= line.start
    assert all(token.earliest <= token.at and token.characters > 0 for token in line.tokens)
    assert [token.at for token in line.tokens] == sorted(token.at for token in line.tokens)
    assert seen.terminal is (line.terminal is not None)
    assert model is None or seen.status is not None or seen.fault is not None
    for text in texts(seen):
        assert text.isprintable()
        assert len(text) <= 2 * BODY_KEPT
        assert KEY not in text
    verdict = judge(seen, Expect(), Learnt(), model=model)
    assert (verdict.detail is None) is (verdict.outcome == "ok")


@any_protocol
def test_the_file_is_the_name_and_exports_its_settings(name):
    module = registry()[name]
    assert module.__name__.rsplit(".", 1)[-1].replace("_", "-") == name
    assert issubclass(module.Settings, EndpointSettings)
    assert settings_registry()[name] is module.Settings
    assert name in NEEDS or issubclass(module.Settings, ModelSettings)


@any_protocol
def test_a_look_says_what_it_expects_and_what_it_may_cost(name):
    at = made(name)
    assert isinstance(at.expect, Expect)
    assert isinstance(at.worst_case, Usage)
    assert at.worst_case.input_tokens >= 0
    assert (at.model is None) is (not issubclass(registry()[name].Settings, ModelSettings))
    assert at.identity.startswith(name)
    assert KEY not in at.identity + repr(at)


@every_protocol
async def test_the_same_endpoint_is_asked_the_same_but_for_the_nonce(name):
    at = made(name)
    wires = [Replay(Recording()) for _ in range(2)]
    for wire, nonce in zip(wires, ("first-nonce", "other-nonce"), strict=True):
        await look(at, wire=wire, nonce=nonce)
    (first,), (second,) = wires[0].requests, wires[1].requests
    assert first.body.replace(b"first-nonce", b"other-nonce") == second.body
    assert (first.url, first.headers, first.method) == (second.url, second.headers, second.method)
    assert not {"host", "content-length", "connection", "accept-encoding"} & {
        n.lower() for n in first.headers
    }
    assert at.model is None or b"first-nonce" in first.body


@every_protocol
@pytest.mark.parametrize("kind", FaultKind)
@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.BODY])
async def test_a_connection_that_fails_is_a_fact_with_its_moment(name, kind, phase):
    fault = Fault(kind, phase, "it failed")
    seen = await look(made(name), Recording(refused=fault))
    assert (seen.fault.kind, seen.fault.phase) == (kind, phase)
    assert seen.timeline.end == START + 1.0
    assert (seen.timer is not None) is (kind is FaultKind.TIMEOUT and phase in (Phase.REQUEST, Phase.HEADERS))
    is_sound(seen)


@plain_protocol
@pytest.mark.parametrize("kind", FaultKind)
@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.BODY])
async def test_without_http_too_a_connection_that_fails_is_a_fact_with_its_moment(name, kind, phase):
    fault = Fault(kind, phase, "it failed")
    seen = await look(made(name), Recording(refused=fault))
    assert seen.fault == fault
    assert seen.timeline.end == START + 1.0
    is_sound(seen, model=None)


@plain_protocol
@pytest.mark.parametrize("kind", [*FaultKind, "open", None])
async def test_without_http_too_what_breaks_off_is_a_fact_and_the_connection_is_closed(name, kind):
    wire = Replay(Recording([Piece(b"hello")], ending=kind))
    seen = await look(made(name), wire=wire)
    heard = LAST[name] is Phase.BODY and kind not in ("open", None, FaultKind.TIMEOUT)
    assert (seen.fault is not None) is heard
    assert (wire.open, len(wire.asked), wire.requests) == (0, 1, [])
    is_sound(seen, model=None)


@plain_protocol
async def test_without_http_too_an_endpoint_can_be_looked_at_many_times_at_once(name):
    at = made(name)
    timelines = [Timeline(start=START + i) for i in range(5)]
    limits = Limits(deadline=START + 60, connect_s=10.0)
    good = Recording([Piece(b"SSH-2.0")])
    seen = await asyncio.gather(
        *(at.look(Replay(good), line, limits, f"n{i}", {}) for i, line in enumerate(timelines))
    )
    assert [one.timeline for one in seen] == timelines
    assert {judge(one, at.expect, Learnt(), model=None).outcome for one in seen} == {"ok"}


@plain_protocol
@given(st.lists(st.binary(max_size=60), max_size=12))
@settings(max_examples=40, deadline=None)
async def test_without_http_too_noise_is_never_a_crash(name, reads):
    pieces = [Piece(read) for read in reads if read]
    is_sound(await look(made(name), Recording(pieces)), model=None)


@every_protocol
@pytest.mark.parametrize("kind", [*FaultKind, "open", None])
@pytest.mark.parametrize("status", [200, 500])
async def test_a_reply_that_breaks_off_is_a_fact_and_the_connection_is_closed(name, kind, status):
    wire = Replay(Recording([Piece(b"data: {")], status=status, ending=kind))
    seen = await look(made(name), wire=wire)
    assert seen.status == status
    assert wire.open == 0
    is_sound(seen)


@every_protocol
@given(st.lists(st.binary(max_size=60), max_size=12), STATUSES)
@settings(max_examples=40, deadline=None)
async def test_noise_is_never_a_crash(name, reads, status):
    is_sound(await look(made(name), Recording([Piece(read) for read in reads if read], status=status)))


def words_of(name: str) -> tuple[list[str], list[str]]:
    """The keys, and the texts of no more than a word, that the servers of a protocol are known to send."""
    keys, texts = set(), set()

    def gather(value: object) -> None:
        if isinstance(value, dict):
            keys.update(value)
        for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            gather(inner)
        if isinstance(value, str) and " " not in value:
            texts.add(value)

    for case in script(name).CASES.values():
        for part in (case.body, *case.body.split(b"data: ")):
            with suppress(ValueError):
                gather(json.loads(part))
    return sorted(keys), sorted(texts)


def json_of(name: str) -> st.SearchStrategy[Any]:
    """JSON of any shape, in the words of that protocol."""
    keys, texts = words_of(name)
    scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(texts)
    return st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(keys), inner, max_size=5),
        max_leaves=25,
    )


JSON = st.one_of(
    *(json_of(name) for name, one in registry().items() if issubclass(one.Settings, ModelSettings))
)


@every_protocol
@given(st.lists(JSON, max_size=4), STATUSES, st.booleans())
@settings(max_examples=150, deadline=None)
async def test_json_of_any_shape_is_never_a_crash(name, values, status, as_stream):
    bodies = [json.dumps(value).encode() for value in values]
    if as_stream:
        bodies = [b"data: " + body + b"\n\n" for body in bodies]
    is_sound(await look(made(name), Recording([Piece(body) for body in bodies], status=status)))


@every_protocol
async def test_real_streams_with_bytes_gone_wrong_are_never_a_crash(name):
    dice = random.Random(11)
    for said in CONVERSATIONS.values():
        stream = bytearray(said.stream)
        for _ in range(6):
            stream[dice.randrange(len(stream))] = dice.randrange(256)
        is_sound(await look(made(name), streamed(bytes(stream))))


@every_protocol
@pytest.mark.parametrize(
    "body",
    [b"[" * 200_000, b'{"a":' * 50_000, b"9" * 10_000, b'{"error": ' + b"8" * 9000 + b"}", b'"\\ud800"'],
)
@pytest.mark.parametrize("status", [200, 400])
async def test_absurd_json_is_never_a_crash(name, body, status):
    for recorded in (body, b"data: " + body + b"\n\n"):
        is_sound(await look(made(name), Recording([Piece(recorded)], status=status)))


@every_protocol
@pytest.mark.parametrize("status", [200, 401])
async def test_our_secrets_are_not_kept_when_a_server_echoes_them(name, status):
    for body in (f"you sent {KEY}", json.dumps({"error": {"message": KEY, "type": KEY, "code": KEY}})):
        seen = await look(made(name), Recording([Piece(body.encode())], status=status))
        is_sound(seen)


@every_protocol
async def test_endless_bytes_end_with_the_time_of_the_probe(name):
    for data in (b": ping\n\n", b"x", b" ", b"data: {}\n\n", b"[", b"<"):
        wire = Replay(Recording([Piece(data, 0.05)] * 2000, ending="open"))
        seen = await look(made(name), wire=wire)
        assert seen.timeline.end <= START + 30.0
        is_sound(seen)


@any_protocol
async def test_being_cancelled_is_not_an_observation(name):
    class Stopped(Replay):
        def exchange(self, *_):
            raise asyncio.CancelledError

        connect = resolve = exchange

    with pytest.raises(asyncio.CancelledError):
        await look(made(name), wire=Stopped())


@every_protocol
async def test_an_endpoint_can_be_looked_at_many_times_at_once(name):
    at = made(name)
    pong = CONVERSATIONS["openai"].stream
    timelines = [Timeline(start=START + i) for i in range(5)]
    limits = Limits(deadline=START + 60, connect_s=10.0)
    seen = await asyncio.gather(
        *(at.look(Replay(streamed(pong)), line, limits, f"n{i}", {}) for i, line in enumerate(timelines))
    )
    assert [look.timeline for look in seen] == timelines
    assert len({(look.answer, look.status, len(look.timeline.tokens)) for look in seen}) == 1
