"""Chat completions: every dialect, every way to fail, and what is asked."""

import json
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.config.secrets import SecretText
from monitor.core.observation import Observation, Timer, Usage, VendorError
from monitor.core.outcome import Outcome
from monitor.core.timeline import Channel, Timeline
from monitor.core.verdict import Expect, Learnt, judge
from monitor.core.wire import Fault, FaultKind, Limits, Phase
from tests.protocols.conversations import CONVERSATIONS, Conversation, chunk, usage
from tests.protocols.replay import (
    KEY,
    START,
    Piece,
    Recording,
    Replay,
    events,
    look,
    look_of,
    settings_of,
    streamed,
)

pytestmark = pytest.mark.anyio

SENT = START + 0.061
"""When the request is sent, by the times of the replayed wire."""
HEADERS = SENT + 0.100
PONG = events(chunk({"content": "pong"}, "stop"), "data: [DONE]")


def facts(seen: Observation) -> Observation:
    """What was seen, without the stamps."""
    return replace(seen, timeline=Timeline(start=0.0))


def tokens(seen: Observation) -> list[tuple[Channel, int]]:
    return [(token.channel, token.characters) for token in seen.timeline.tokens]


def matches(seen: Observation, said: Conversation) -> None:
    assert tokens(seen) == list(said.tokens)
    assert seen.answer == said.answer
    assert seen.finish_reason == said.finish_reason
    assert seen.terminal is said.terminal
    assert (seen.timeline.terminal is not None) is said.terminal
    assert seen.usage == said.usage
    assert seen.served_model == said.served_model
    assert seen.filtered is said.filtered
    assert (seen.malformed is not None) is said.malformed
    code, kind, message = said.error or (None, None, None)
    expected = said.error and VendorError(code=code, type=kind, message=message or "", in_stream=True)
    assert seen.error == expected
    assert seen.fault is None
    assert seen.status == 200
    assert seen.request_id == "req-1"
    assert seen.certificate_days == 60.0


# Dialects


@pytest.mark.parametrize("name", CONVERSATIONS)
async def test_a_dialect_is_understood_however_the_network_cut_it(name):
    said = CONVERSATIONS[name]
    chat = look_of("openai-chat")
    whole = await look(chat, streamed(said.stream))
    matches(whole, said)
    bytewise = await look(chat, streamed(*(bytes([byte]) for byte in said.stream), after=0.0001))
    assert facts(bytewise) == facts(whole)
    assert tokens(bytewise) == tokens(whole)
    cuts = random.Random(name)
    for _ in range(10):
        edges = sorted(cuts.randrange(len(said.stream)) for _ in range(6))
        reads = [said.stream[a:b] for a, b in zip([0, *edges], [*edges, None], strict=True)]
        cut = await look(chat, streamed(*reads))
        assert facts(cut) == facts(whole)
        assert tokens(cut) == tokens(whole)


@given(data=st.data())
@settings(max_examples=60, deadline=None)
async def test_a_stream_that_breaks_off_anywhere_is_never_complete_and_never_a_crash(data):
    said = CONVERSATIONS[data.draw(st.sampled_from(sorted(CONVERSATIONS)))]
    length = data.draw(st.integers(min_value=0, max_value=len(said.stream) - 1))
    kind = data.draw(st.sampled_from([FaultKind.RESET, FaultKind.CLOSED, None]))
    seen = await look(look_of("openai-chat"), streamed(said.stream[:length], ending=kind))
    assert len(tokens(seen)) <= len(said.tokens)
    assert not seen.terminal or said.terminal
    assert seen.terminal or seen.error or seen.malformed or kind is None or seen.fault.kind is kind


@pytest.mark.parametrize(
    ("detail", "kept_back"),
    [
        ({"type": "reasoning.text", "text": "Hm"}, False),
        ({"type": "reasoning.summary", "summary": "Hm"}, True),
        ({"type": "reasoning.encrypted", "data": "gAAA"}, True),
        ("Hm", False),
    ],
)
async def test_a_gateway_says_whether_a_thought_is_all_there(detail, kept_back):
    said = events(chunk({"content": "", "reasoning": "Hm", "reasoning_details": [detail]}))
    seen = await look(look_of("openai-chat"), streamed(said, PONG))
    assert seen.reasoning_kept_back is kept_back


@pytest.mark.parametrize(
    "said", [{"prompt_tokens_details": {"cache_write_tokens": 7}}, {"cache_creation_input_tokens": 7}]
)
async def test_a_gateway_says_what_went_into_the_cache(said):
    seen = await look(look_of("openai-chat"), streamed(events(chunk(usage=usage(9, 4, **said))), PONG))
    assert seen.usage == Usage(input_tokens=9, output_tokens=4, written_tokens=7)


async def test_what_is_counted_with_the_first_text_is_told_apart():
    role, first = chunk({"content": ""}, usage=usage(9, 0)), chunk({"content": "po"}, usage=usage(9, 10))
    rest = events(chunk({"content": "ng"}, usage=usage(9, 20)), "data: [DONE]")
    seen = await look(look_of("openai-chat"), streamed(events(role, first), rest))
    assert seen.first_usage == Usage(input_tokens=9, output_tokens=10)
    seen = await look(look_of("openai-chat"), streamed(events(role, chunk({"content": "po"})), rest))
    assert seen.first_usage is None


# Stamps


async def test_a_token_bears_the_stamp_of_the_read_that_completed_it():
    first, second = events(chunk({"content": "one"})), events(chunk({"content": "two"}))
    end = events(chunk({}, "stop"), "data: [DONE]")
    seen = await look(look_of("openai-chat"), streamed(first[:10], first[10:], second, end))
    line = seen.timeline
    assert line.first_byte == pytest.approx(HEADERS + 0.010)
    assert [token.at for token in line.tokens] == pytest.approx([HEADERS + 0.020, HEADERS + 0.030])
    assert line.terminal == pytest.approx(HEADERS + 0.040)
    assert line.end == line.terminal


async def test_only_the_last_event_of_a_read_has_a_stamp_of_its_own():
    stream = events(*(chunk({"content": word}) for word in ("a", "b", "c")))
    seen = await look(look_of("openai-chat"), streamed(stream))
    at = HEADERS + 0.010
    assert [token.ended_read for token in seen.timeline.tokens] == [False, False, True]
    assert [token.earliest for token in seen.timeline.tokens] == pytest.approx([at - 0.002, at - 0.002, at])


@pytest.mark.parametrize("tail", [b": ping\n\n", b"data: {", events(chunk({}))])
async def test_a_token_that_something_follows_in_its_read_did_not_end_it(tail):
    seen = await look(look_of("openai-chat"), streamed(events(chunk({"content": "a"})) + tail))
    assert [token.ended_read for token in seen.timeline.tokens] == [False]


async def test_reasoning_and_answer_in_one_event_are_two_tokens_at_one_moment():
    seen = await look(look_of("openai-chat"), streamed(events(chunk({"content": "b", "reasoning": "a"}))))
    assert tokens(seen) == [(Channel.REASONING, 1), (Channel.ANSWER, 1)]
    assert all(token.ended_read for token in seen.timeline.tokens)


@pytest.mark.parametrize("reads", [[], [events(chunk({"content": "po"}))]])
async def test_a_stream_that_ends_without_its_evidence_fails_when_it_ends(reads):
    seen = await look(look_of("openai-chat"), streamed(*reads, ending_after=0.8))
    line = seen.timeline
    assert not seen.terminal
    assert line.end == pytest.approx(HEADERS + 0.010 * len(reads) + 0.8)
    assert "end" in line.bounds
    assert judge(seen, Expect(), Learnt(), model="m").figures.total_ms > 800


@pytest.mark.parametrize(
    "last", [PONG, b"data: [DONE]", events({"error": {"message": "boom"}}), b'{"error": {"message": "boom"}}']
)
async def test_what_is_over_or_failed_before_does_not_wait_for_the_end(last):
    seen = await look(look_of("openai-chat"), streamed(last, ending_after=0.8))
    assert seen.terminal or seen.error is not None
    assert seen.timeline.end == pytest.approx(HEADERS + 0.010)
    assert "end" not in seen.timeline.bounds


async def test_nothing_is_read_after_done():
    reply = streamed(PONG, b"data: {never read", after=1.0)
    seen = await look(look_of("openai-chat"), reply)
    assert seen.malformed is None
    assert seen.timeline.end == pytest.approx(HEADERS + 1.0)


# Timers


async def test_a_server_that_sends_no_headers_meets_the_first_token_timer():
    seen = await look(look_of("openai-chat"), Recording(headers_after=25.0))
    assert seen.fault == Fault(FaultKind.TIMEOUT, Phase.HEADERS, "no reply within 20 s of the request")
    assert seen.timer is Timer.FIRST_TOKEN
    assert seen.timeline.end == pytest.approx(SENT + 20.0)


async def test_comments_and_empty_deltas_do_not_reset_the_first_token_timer():
    idle = [b": keep-alive\n\n", events(chunk({"role": "assistant", "content": ""}))] * 50
    seen = await look(look_of("openai-chat"), streamed(*idle, after=0.5, ending="open"))
    assert seen.fault.text == "no token within 20 s of the request; 20 keep-alives came"
    assert seen.timer is Timer.FIRST_TOKEN
    assert seen.timeline.end == pytest.approx(SENT + 20.0)


async def test_a_stream_that_stops_stalls_though_comments_come():
    reads = [events(chunk({"content": "a"})), *[b": ping\n\n"] * 100]
    seen = await look(look_of("openai-chat"), streamed(*reads, after=0.3, ending="open"))
    assert seen.fault.text == "no token for 10 s after 1 piece of text; 33 keep-alives came"
    assert (seen.fault.kind, seen.fault.phase) == (FaultKind.TIMEOUT, Phase.BODY)
    assert seen.timer is Timer.STALL
    assert seen.timeline.end == pytest.approx(HEADERS + 10.3)


async def test_each_token_resets_the_stall_timer_until_the_time_of_the_probe_is_up():
    reads = [events(chunk({"content": "a"}))] * 10
    seen = await look(look_of("openai-chat"), streamed(*reads, after=9.0, ending="open"))
    assert seen.timer is Timer.TOTAL
    assert seen.fault.text == "the time for the whole probe was up after 3 pieces of text"
    assert seen.timeline.end == pytest.approx(START + 30.0)


async def test_bytes_that_never_pause_do_not_keep_a_probe_alive():
    """A wire that always has bytes at hand never looks at its own timer."""

    class Endless(Replay):
        def exchange(self, request, timeline, limits):
            return super().exchange(request, timeline, replace(limits, deadline=1e9))

    reads = [b": ping\n\n"] * 3000
    wire = Endless(Recording([Piece(read, 0.05) for read in reads], ending="open"))
    seen = await look(look_of("openai-chat"), wire=wire)
    assert seen.timer is Timer.FIRST_TOKEN
    assert seen.timeline.end <= SENT + 20.1


async def test_an_open_socket_after_finish_reason_and_usage_is_a_proper_end():
    stream = events(
        chunk({"content": "pong"}, "stop"), chunk(usage={"prompt_tokens": 5, "completion_tokens": 1})
    )
    seen = await look(look_of("openai-chat"), streamed(stream, ending="open"))
    assert seen.fault is None
    assert seen.timer is None
    assert seen.terminal
    assert seen.usage == Usage(input_tokens=5, output_tokens=1)
    assert seen.timeline.end == seen.timeline.terminal == pytest.approx(HEADERS + 0.010)


async def test_usage_is_waited_for_after_finish_reason_but_not_for_ever():
    usage = events(chunk(usage={"prompt_tokens": 5, "completion_tokens": 1}))
    finish = Piece(events(chunk({"content": "pong"}, "stop")))
    in_time = await look(look_of("openai-chat"), Recording([finish, Piece(usage, 1.5)]))
    assert in_time.usage == Usage(input_tokens=5, output_tokens=1)
    late = await look(look_of("openai-chat"), Recording([finish, Piece(usage, 2.5)]))
    assert late.usage is None
    assert late.terminal
    assert late.fault is None


async def test_pings_after_the_end_do_not_keep_a_probe_alive():
    reads = [events(chunk({"content": "pong"}, "stop")), *[b": ping\n\n"] * 100]
    wire = Replay(streamed(*reads, after=0.3, ending="open"))
    seen = await look(look_of("openai-chat"), wire=wire)
    assert seen.terminal
    assert seen.fault is None
    assert wire.open == 0


async def test_a_connection_that_breaks_after_the_terminal_event_did_its_work():
    seen = await look(
        look_of("openai-chat"), streamed(PONG[: -len(b"data: [DONE]nn")], ending=FaultKind.RESET)
    )
    assert seen.terminal
    assert seen.fault is None


# Answers that are no stream


def answered(body: bytes, content_type: str = "application/json", status: int = 200, **more) -> Recording:
    return Recording([Piece(body)], status=status, headers={"content-type": content_type} | more)


async def test_a_completion_in_one_piece_counts_but_has_one_moment_only():
    body = {
        "id": "chatcmpl-9",
        "model": "acme-1",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {
            "role": "assistant", "content": "pong", "reasoning_content": "Hm", "refusal": None
        }}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12},
    }  # fmt: skip
    seen = await look(look_of("openai-chat"), answered(json.dumps(body, indent=2).encode()))
    assert tokens(seen) == [(Channel.REASONING, 2), (Channel.ANSWER, 4)]
    assert {token.at for token in seen.timeline.tokens} == {seen.timeline.end}
    assert seen.terminal
    assert seen.usage == Usage(input_tokens=9, output_tokens=3)
    assert seen.request_id == "chatcmpl-9"
    assert seen.body == ""
    assert seen.malformed is None


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"error": {"message": "no", "type": "server_error", "code": None}}, (None, "server_error", "no")),
        ({"error": {"message": "busy", "code": 529}}, ("529", None, "busy")),
        ({"error": "broken"}, (None, None, "broken")),
        ([{"error": {"code": 404, "message": "gone", "status": "NOT_FOUND"}}], ("404", "NOT_FOUND", "gone")),
        ({"code": 20012, "message": "No such model", "data": None}, ("20012", None, "No such model")),
        ({"base_resp": {"status_code": 1004, "status_msg": "login fail"}}, ("1004", None, "login fail")),
        ({"detail": "Internal"}, (None, None, "Internal")),
        ({"choices": [], "error": {"message": "x"}}, (None, None, "x")),
    ],
)  # fmt: skip
async def test_an_error_object_under_status_200_is_an_error(body, error):
    seen = await look(look_of("openai-chat"), answered(json.dumps(body).encode()))
    code, kind, message = error
    assert seen.error == VendorError(code=code, type=kind, message=message, in_stream=True)
    assert not seen.terminal


@pytest.mark.parametrize(
    "body",
    [
        b"<!doctype html><title>Login</title>",
        b"  \n<html>",
        b"upstream connect error or disconnect",
        b"{malformed json: <<<>>>",
        b"[" * 100_000,
        b'{"choices": ' + b"9" * 5000 + b"}",
        b"{}",
        b"[]",
        b'{"choices": []}',
        b'{"message": {"content": "pong"}, "done": false}\n{"done": true}\n',
        b"\x1f\x8b\x08\x00garbage",
        b"{\xff\xfe}",
        b"data: " + b"[" * 100_000 + b"\n\n",
        b'data: {"choices": ' + b"9" * 5000 + b"}\n\n",
        b"data: null\n\n",
    ],
)
async def test_what_is_no_answer_at_all_is_malformed(body):
    chat = look_of("openai-chat")
    seen = await look(chat, answered(body, "text/html"))
    assert seen.malformed
    assert len(seen.malformed) <= 500
    assert seen.malformed.isprintable()
    assert not seen.terminal
    bytewise = Recording([Piece(bytes([byte]), 0.0) for byte in body[:7000]])
    if len(body) <= 7000:
        assert facts(await look(chat, bytewise)) == replace(facts(seen), headers={})


async def test_a_compressed_answer_is_told_as_such():
    recording = answered(b"\x1f\x8b\x08\x00", **{"content-encoding": "gzip"})
    seen = await look(look_of("openai-chat"), recording)
    assert "compressed (gzip), which was not asked for" in seen.malformed


async def test_a_page_instead_of_an_answer_is_kept_as_evidence():
    seen = await look(look_of("openai-chat"), answered(b"<html>\x00" + b"<p>\xff</p>" * 1000))
    assert seen.body.startswith("<html>\ufffd<p>\ufffd</p>")
    assert len(seen.body) == 2048


async def test_an_empty_body_is_an_end_without_terminal_evidence():
    seen = await look(look_of("openai-chat"), Recording())
    assert (seen.terminal, seen.malformed, seen.error, seen.fault) == (False, None, None, None)
    assert seen.timeline.end == pytest.approx(HEADERS)


@pytest.mark.parametrize(
    "reads",
    [
        [b"data: " + b"x" * 65536] * 20,
        [b"data: " + b"x" * 60000 + b"\n"] * 30,
        [b'{"x": "' + b"x" * 65536] * 20,
    ],
)
async def test_bounds_end_an_answer_that_does_not(reads):
    seen = await look(look_of("openai-chat"), streamed(*reads, after=0.001))
    assert seen.fault.kind is FaultKind.TOO_LARGE
    assert seen.fault.phase is Phase.BODY


async def test_a_long_answer_is_kept_in_part():
    stream = events(*(chunk({"content": "x" * 100}) for _ in range(100)))
    seen = await look(look_of("openai-chat"), streamed(stream))
    assert len(seen.answer) == 4096
    assert sum(token.characters for token in seen.timeline.tokens) == 10_000


@pytest.mark.parametrize(
    ("wanted", "pieces", "found"),
    [
        ("PONG", ["po", "n", "g"], True),
        ("100\u00a0%", ["soit 100\u00a0% net"], True),
        ("می\u200cخواهم", ["می\u200c", "خواهم"], True),
        ("one\ntwo", ["One\n", "Two"], True),
        ("one two", ["one\ntwo"], True),
        ("Straße", ["STRAS", "SE"], True),
        ("p", ["o", "p"], True),
        ("pong", ["x" * 5000, "y", "po", "ng"], True),
        ("pong", ["po", "x" * 5000, "ng"], False),
        ("ping", ["pong"], False),
    ],
)
async def test_what_is_expected_is_sought_in_all_of_the_answer_and_as_it_came(wanted, pieces, found):
    at = look_of("openai-chat", expect={"answer": wanted})
    stream = events(*(chunk({"content": piece}) for piece in pieces), chunk({}, "stop"), "data: [DONE]")
    seen = await look(at, streamed(stream))
    assert seen.answer_matches is found
    verdict = judge(seen, at.expect, Learnt(), model="acme-1")
    assert verdict.outcome is (Outcome.OK if found else Outcome.WRONG_ANSWER)


async def test_reasoning_is_no_answer_and_where_nothing_is_expected_nothing_is_sought():
    stream = events(chunk({"reasoning": "pong?"}), chunk({"content": "no"}, "stop"), "data: [DONE]")
    assert (
        await look(look_of("openai-chat", expect={"answer": "pong"}), streamed(stream))
    ).answer_matches is False
    assert (await look(look_of("openai-chat"), streamed(stream))).answer_matches is None


async def test_hostile_text_is_cleaned_at_the_border():
    nasty = '"\\u0000\\ud800\\u001b[2J\\n"'
    stream = (
        f'data: {{"id": {nasty}, "model": {nasty}, "choices": [{{"delta": {{"content": {nasty}}},'
        f' "finish_reason": {nasty}}}]}}\n\ndata: {{"error": {{"message": {nasty}, "code": {nasty}}}}}\n\n'
    )
    seen = await look(look_of("openai-chat"), Recording([Piece(stream.encode())]))
    assert seen.error is not None
    texts = (
        seen.answer,
        seen.served_model,
        seen.finish_reason,
        seen.request_id,
        seen.error.message,
        seen.error.code,
    )
    for text in texts:
        assert text == "\ufffd\ufffd\ufffd[2J "


# Refusals


@pytest.mark.parametrize(
    ("body", "code", "kind", "message"),
    [
        ({"error": {"message": "Bad key", "type": "invalid_request_error", "code": "invalid_api_key"}},
         "invalid_api_key", "invalid_request_error", "Bad key"),
        ({"error": {"code": 400, "message": "context", "type": "exceed_context_size_error"}},
         "400", "exceed_context_size_error", "context"),
        ({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
         None, "overloaded_error", "Overloaded"),
        ({"error": "Unauthorized", "message": "bad token"}, None, "Unauthorized", "bad token"),
        ({"message": "no"}, None, None, "no"),
        ({"detail": "Not Found"}, None, None, "Not Found"),
        ({"detail": [{"loc": ["body", "model"], "msg": "Field required", "input": {"stream_options": 1}}]},
         None, None, "body.model: Field required"),
        ({"success": False, "errors": [{"code": 10000, "message": "Authentication error"}]},
         None, None, "Authentication error"),
        ({"statusCode": 401, "message": "Access denied"}, "401", None, "Access denied"),
        ({"error": {"message": "Unsupported parameter", "param": "top_k", "code": 1.5}},
         None, None, "Unsupported parameter (param top_k)"),
        ({"error": {"message": "Provider returned error", "code": 429, "metadata": {
            "raw": "slow down", "provider_name": "Azure"}}},
         "429", None, "Provider returned error [Azure: slow down]"),
    ],
)  # fmt: skip
async def test_the_vendor_s_error_is_found_in_a_refusal(body, code, kind, message):
    raw = json.dumps(body).encode()
    seen = await look(look_of("openai-chat"), answered(raw, status=401, **{"retry-after": "7"}))
    assert seen.status == 401
    assert seen.error == VendorError(code=code, type=kind, message=message)
    assert seen.body == raw.decode()
    assert seen.headers["retry-after"] == "7"
    assert seen.timeline.end == pytest.approx(HEADERS + 0.010)


@pytest.mark.parametrize(
    "body", [b"", b"Bad Gateway", b"<html>", b"null", b"7", b"{}", b"{", b"[[[[", b"\xff"]
)
async def test_a_refusal_needs_no_body_that_can_be_read(body):
    seen = await look(look_of("openai-chat"), answered(body, status=502))
    assert (seen.status, seen.error, seen.fault) == (502, None, None)
    assert seen.body == body.decode("utf-8", "replace")


@pytest.mark.parametrize("ending", ["open", FaultKind.RESET, FaultKind.CLOSED])
async def test_a_refusal_stands_whatever_becomes_of_its_body(ending):
    recording = Recording([Piece(b"over")], status=503, ending=ending)
    seen = await look(look_of("openai-chat"), recording)
    assert (seen.status, seen.body, seen.fault, seen.timer) == (503, "over", None, None)


async def test_an_endless_refusal_is_cut():
    wire = Replay(Recording([Piece(b"x" * 10_000, 0.001)] * 1000, status=500, ending="open"))
    seen = await look(look_of("openai-chat"), wire=wire)
    assert len(seen.body) == 2048


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ({"x-request-id": "a", "request-id": "b", "cf-ray": "c"}, "a"),
        ({"request-id": "b", "cf-ray": "c"}, "b"),
        ({"x-generation-id": "gen-1"}, "gen-1"),
        ({"apim-request-id": "e"}, "e"),
        ({"x-ms-request-id": "f"}, "f"),
        ({"cf-ray": "c"}, "c"),
        ({}, "chatcmpl-7"),
    ],
)
async def test_the_request_id_is_found(headers, found):
    seen = await look(look_of("openai-chat"), Recording([Piece(PONG)], headers=headers))
    assert seen.request_id == found


@pytest.mark.parametrize(
    "body",
    [
        {"type": "error", "error": {"type": "api_error", "message": "no"}, "request_id": "req_011"},
        {"error": {"message": "no", "request_id": "req_011"}},
        {"message": "no", "requestId": "req_011"},
        {"error": "no", "RequestId": "req_011"},
        {"error": {"code": 500, "message": "no", "details": [
            {"@type": "type.googleapis.com/google.rpc.RequestInfo", "requestId": "req_011"}]}},
    ],
)  # fmt: skip
async def test_the_request_id_in_an_error_is_found_where_no_header_has_one(body):
    raw = json.dumps(body).encode()
    assert (await look(look_of("openai-chat"), answered(raw, status=500))).request_id == "req_011"
    named = answered(raw, status=500, **{"x-request-id": "by-header"})
    assert (await look(look_of("openai-chat"), named)).request_id == "by-header"
    first = events(chunk({"content": "po"}))
    streamed_error = streamed(first, b"event: error\ndata: " + raw + b"\n\n")
    streamed_error = replace(streamed_error, headers={})
    assert (await look(look_of("openai-chat"), streamed_error)).request_id == "req_011"


async def test_a_request_id_in_an_error_is_bounded_and_clean_and_holds_no_key():
    async def named(value):
        raw = json.dumps({"error": {"message": "no"}, "request_id": value}).encode()
        return (await look(look_of("openai-chat"), answered(raw, status=500))).request_id

    assert await named("x" * 900) == "x" * 200
    assert await named("a\nb\u0000") == "a b\ufffd"
    assert await named(f"of-{KEY}") == "of-***"
    for nonsense in (7, "", [], {"a": 1}, None):
        assert await named(nonsense) is None


async def test_only_telling_headers_are_kept():
    headers = {
        "retry-after": "1",
        "x-ratelimit-remaining-tokens": "9",
        "openai-processing-ms": "12",
        "content-type": "text/event-stream",
        "date": "x" * 900,
        "set-cookie": "session=1",
        "x-other": "2",
        "x-ratelimit-tokens-query-cost": "3",
    }
    seen = await look(look_of("openai-chat"), Recording([Piece(PONG)], headers=headers))
    assert seen.headers == {name: headers[name][:200] for name in list(headers)[:5]}


async def test_headers_about_limits_are_kept_as_far_as_they_are_understood():
    periods = [f"x-ratelimit-{part}-{kind}{'-per' * per}-{period}"
               for part in ("limit", "remaining") for kind in ("req", "requests", "tokens")
               for per in (0, 1) for period in ("second", "minute", "hour", "day", "month")]  # fmt: skip
    flood = dict.fromkeys(periods, "7")
    seen = await look(look_of("openai-chat"), Recording([Piece(PONG)], headers=flood))
    assert list(seen.headers) == periods[:32]
    long = {"ratelimit": "x" * 900, "ratelimit-policy": '"a";q=5;w=60', "retry-after-ms": "12"}
    seen = await look(look_of("openai-chat"), Recording([Piece(PONG)], headers=long))
    assert set(seen.headers) == set(long)
    assert len(seen.headers["ratelimit"]) < 300


async def test_a_gateway_that_quotes_an_empty_wallet_tells_of_one():
    """LiteLLM at Anthropic's door: its own type says throttling, its message quotes what OpenAI said."""
    quote = '{"error": {"message": "You exceeded your quota.", "type": "insufficient_quota", "param": null}}'
    body = {"type": "error", "error": {"type": "rate_limit_error", "message": f"RateLimitError: {quote}"}}
    seen = await look(look_of("openai-chat"), answered(json.dumps(body).encode(), status=429))
    assert judge(seen, Expect(), Learnt(), model="acme-1").outcome is Outcome.QUOTA_EXHAUSTED


# What is asked


def asked(wire: Replay) -> list[dict]:
    return [json.loads(request.body) for request in wire.requests]


async def ask(chat, learnt=None) -> tuple[dict, Replay]:
    wire = Replay(streamed(PONG))
    await look(chat, wire=wire, learnt=learnt)
    return asked(wire)[0], wire


async def test_the_request():
    body, wire = await ask(look_of("openai-chat", prompt="Say pong.", max_tokens=7))
    request = wire.requests[0]
    assert (request.method, request.url) == ("POST", "https://api.acme.example/v1/chat/completions")
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert request.headers["User-Agent"].startswith("uptoken/")
    assert body == {
        "model": "acme-1",
        "messages": [{"role": "user", "content": "0badc0de\n\nSay pong."}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 7,
    }


async def test_openai_itself_is_asked_in_its_own_words():
    body, _ = await ask(look_of("openai-chat", base_url="https://api.openai.com/v1"))
    assert body["stream_options"] == {"include_usage": True, "include_obfuscation": False}
    assert body["max_completion_tokens"] == 64
    assert "max_tokens" not in body


async def test_the_config_has_the_last_word_on_the_body_and_the_headers():
    chat = look_of(
        "openai-chat",
        body={"temperature": 0, "think": False, "stream_options": {"include_usage": False}},
        omit=["model"],
        max_tokens_field="max_completion_tokens",
        headers={"X-Title": SecretText("probe"), "user-agent": SecretText("mine")},
        api_key=None,
    )
    body, wire = await ask(chat)
    assert (body["temperature"], body["think"], body["max_completion_tokens"]) == (0, False, 64)
    assert body["stream_options"] == {"include_usage": False}
    assert "model" not in body
    headers = wire.requests[0].headers
    assert headers["X-Title"] == "probe"
    assert headers["user-agent"] == "mine"
    assert not {"User-Agent", "Authorization"} & set(headers)


@given(st.text(st.characters(exclude_categories=("C",)), min_size=1), st.text(max_size=20))
@settings(max_examples=50, deadline=None)
async def test_any_prompt_arrives_as_it_is_written_behind_the_nonce(prompt, nonce):
    prompt = prompt.encode("utf-8", "replace").decode()
    wire = Replay(streamed(PONG))
    await look(look_of("openai-chat", prompt=prompt), wire=wire, nonce=nonce)
    assert asked(wire)[0]["messages"][0]["content"] == f"{nonce}\n\n{prompt}"


@pytest.mark.parametrize(
    "values",
    [
        {"body": {"messages": []}},
        {"body": {"stream": False}},
        {"body": {"max_tokens": 9}},
        {"body": {"max_completion_tokens": 9}},
        {"omit": ["stream"]},
        {"omit": ["messages"]},
    ],
)
def test_what_the_probe_depends_on_cannot_be_configured_away(values):
    ((_, said),) = settings_of("openai-chat", **values).objections()
    assert "cannot be" in said


def test_the_worst_case_is_known_before_anything_is_sent():
    worst = look_of("openai-chat", prompt="x" * 1000, max_tokens=99).worst_case
    assert worst.output_tokens == 99
    assert 500 <= worst.input_tokens <= 1000
    unlimited = look_of("openai-chat", omit=["max_tokens"])
    assert unlimited.worst_case.output_tokens is None
    known = look_of("openai-chat", omit=["max_tokens"], limits={"max_output": 4096})
    assert known.worst_case.output_tokens == 4096


# Resends


MISTRAL = {
    "object": "error",
    "message": {"detail": [{
        "type": "extra_forbidden", "loc": ["body", "stream_options", "include_usage"],
        "msg": "Extra inputs are not permitted", "input": True,
    }]},
    "type": "invalid_request_error", "param": None, "code": None,
}  # fmt: skip
OPENAI = {
    "error": {
        "message": "Unsupported parameter: 'max_tokens' is not supported with this model."
        " Use 'max_completion_tokens' instead.",
        "type": "invalid_request_error", "param": "max_tokens", "code": "unsupported_parameter",
    }
}  # fmt: skip
OLD_SERVER = {"detail": [
    {"loc": ["body", "max_completion_tokens"], "msg": "Extra inputs are not permitted"},
    {"loc": ["body", "stream_options"], "msg": "Extra inputs are not permitted"},
]}  # fmt: skip


def refusal(body: object, status: int = 400) -> Recording:
    raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    return answered(raw, status=status)


async def test_a_server_that_refuses_stream_options_is_asked_without_them_and_it_is_remembered():
    chat, wire = look_of("openai-chat"), Replay(refusal(MISTRAL, 422), streamed(PONG))
    seen = await look(chat, wire=wire)
    first, second = asked(wire)
    assert "stream_options" in first
    assert second == {name: value for name, value in first.items() if name != "stream_options"}
    assert seen.answer == "pong"
    assert seen.error is None
    assert seen.learnt == {"omit": "stream_options"}
    body, wire = await ask(chat, seen.learnt)
    assert "stream_options" not in body
    assert len(wire.requests) == 1


async def test_the_name_of_the_limit_is_learnt_both_ways():
    wire = Replay(refusal(OPENAI), streamed(PONG))
    seen = await look(look_of("openai-chat"), wire=wire)
    assert [("max_tokens" in body, "max_completion_tokens" in body) for body in asked(wire)] == [
        (True, False),
        (False, True),
    ]
    assert seen.learnt == {"max_tokens_field": "max_completion_tokens"}
    back = await look(
        look_of("openai-chat"),
        refusal('unknown field "max_completion_tokens"', 422),
        streamed(PONG),
        learnt=seen.learnt,
    )
    assert back.learnt == {"max_tokens_field": "max_tokens"}


@pytest.mark.parametrize(
    "said",
    [
        "max_tokens is deprecated and must be replaced by max_completion_tokens",
        "'max_tokens' must be omitted with this model: use 'max_completion_tokens' instead",
    ],
)
async def test_a_name_that_must_be_another_one_is_no_wrong_value(said):
    seen = await look(look_of("openai-chat"), refusal({"error": {"message": said}}), streamed(PONG))
    assert seen.learnt == {"max_tokens_field": "max_completion_tokens"}


async def test_two_complaints_in_one_refusal_are_met_at_once():
    wire = Replay(refusal(OLD_SERVER, 422), streamed(PONG))
    seen = await look(look_of("openai-chat", base_url="https://api.openai.com/v1"), wire=wire)
    assert seen.learnt == {"omit": "stream_options", "max_tokens_field": "max_tokens"}
    assert "stream_options" not in asked(wire)[1]
    assert asked(wire)[1]["max_tokens"] == 64


async def test_there_is_one_resend_only_and_the_next_probe_goes_on_from_there():
    chat = look_of("openai-chat")
    wire = Replay(refusal(MISTRAL), refusal(OPENAI))
    seen = await look(chat, wire=wire)
    assert len(wire.requests) == 2
    assert seen.status == 400
    assert seen.learnt == {"omit": "stream_options"}
    wire = Replay(refusal(OPENAI), streamed(PONG))
    seen = await look(chat, wire=wire, learnt=seen.learnt)
    assert seen.answer == "pong"
    assert seen.learnt == {"max_tokens_field": "max_completion_tokens"}


async def test_what_did_not_help_is_not_learnt():
    both = refusal("max_tokens and max_completion_tokens are unknown")
    seen = await look(look_of("openai-chat"), both, both)
    assert seen.learnt == {}
    gone = Recording(refused=Fault(FaultKind.REFUSED, Phase.CONNECT, "refused"))
    seen = await look(look_of("openai-chat"), refusal(MISTRAL), gone)
    assert seen.learnt == {}
    assert seen.fault.kind is FaultKind.REFUSED


@pytest.mark.parametrize(
    ("body", "status", "values"),
    [
        ({"error": {"message": "max_tokens is too large: 64. The maximum is 32"}}, 400, {}),
        ({"error": {"message": "max_tokens must be at least 16"}}, 400, {}),
        ({"error": {"message": "'max_tokens' or 'max_completion_tokens' is too large: 64."}}, 400, {}),
        ({"error": {"message": "stream_options is odd"}}, 500, {}),
        ({"error": {"message": "stream_options is odd"}}, 401, {}),
        ({"error": {"message": "unknown max_tokens"}}, 400, {"max_tokens_field": "max_tokens"}),
        ({"error": {"message": "unknown max_tokens"}}, 400, {"omit": ["max_tokens"]}),
        ({"error": {"message": "unknown stream_options"}}, 400, {"omit": ["stream_options"]}),
        ({"error": {"message": "no such model"}, "request": {"stream_options": {}}}, 400, {}),
        ({"error": {"message": "unknown my_max_tokens_2"}}, 400, {}),
    ],
)
async def test_nothing_is_resent_that_would_not_help(body, status, values):
    wire = Replay(refusal(body, status))
    seen = await look(look_of("openai-chat", **values), wire=wire)
    assert len(wire.requests) == 1
    assert seen.learnt == {}


async def test_the_second_exchange_is_measured_and_the_first_is_our_own_time():
    wire = Replay(refusal(MISTRAL), streamed(PONG))
    timeline, limits = Timeline(start=START), Limits(deadline=START + 30.0, connect_s=10.0)
    seen = await look_of("openai-chat").look(wire, timeline, limits, "n", {})
    again = HEADERS + 0.010
    assert seen.timeline is timeline
    assert timeline.start == START
    assert timeline.request_sent == pytest.approx(again + 0.061)
    assert timeline.own_s == pytest.approx(again - START + 0.001)
    assert timeline.tokens[0].at == pytest.approx(again + 0.061 + 0.110)
    assert {bound.deadline for bound in wire.limits} == {limits.deadline}


# Secrets


async def test_a_key_that_a_server_echoes_is_not_kept():
    told = json.dumps({"error": {"message": f"Bad key {KEY}", "code": KEY}}).encode()
    refused = await look(look_of("openai-chat"), answered(told, status=401))
    assert refused.error == VendorError(code="***", message="Bad key ***")
    padding = b"x" * (2048 - len(KEY) // 2)
    for recording in (
        answered(padding + KEY.encode(), status=500),
        answered(b"<p>" + KEY.encode()),
        answered(told),
        streamed(events(chunk({"content": KEY}), f"data: {KEY}")),
        streamed(events(f"event: error\ndata: {KEY}")),
    ):
        seen = await look(look_of("openai-chat"), recording)
        assert KEY[:9] not in repr(seen)


def _escaped(text: str) -> bytes:
    return '"{}"'.format("".join(f"\\u{ord(letter):04x}" for letter in text)).encode()


@pytest.mark.parametrize(
    "told",
    [
        events(chunk({"content": KEY[:7]}), chunk({"content": KEY[7:]}, "stop"), "data: [DONE]"),
        events(chunk({"content": "x"}, "stop"), "data: [DONE]").replace(b'"x"', _escaped(KEY)),
        events(chunk({}, "stop")).replace(b'"stop"', _escaped(KEY)),
        events('event: error\ndata: {"message": "no"}').replace(b'"no"', _escaped(KEY)),
        b"<p>" + KEY[:-3].encode(),
    ],
)
async def test_a_key_in_pieces_or_in_escapes_or_cut_off_is_not_kept(told):
    seen = await look(look_of("openai-chat"), streamed(told))
    assert KEY[:9] not in repr(seen)


@pytest.mark.parametrize("cut", [5, 12, 30])
async def test_half_an_event_at_the_end_is_a_cut_and_no_nonsense(cut):
    told = events(chunk({"content": "pong"}), chunk({"content": " and more"}))
    seen = await look(look_of("openai-chat"), streamed(told[:-cut]))
    assert (seen.malformed, seen.terminal) == (None, False)
    assert seen.answer == "pong"


async def test_a_key_that_comes_back_as_the_name_of_who_answers_is_kept_nowhere():
    said = {**chunk({"content": "pong"}, "stop"), "system_fingerprint": KEY, "provider": KEY, "model": KEY}
    seen = await look(look_of("openai-chat"), streamed(events(said, "data: [DONE]")))
    assert KEY not in repr(replace(seen, trace=None))
    assert (seen.fingerprint, seen.upstream, seen.served_model) == ("***", "***", "***")
