"""What is wrong with what was said: characters, JSON, events, errors inside status 200, answers."""

import json

from monitor.core.outcome import Outcome
from tests.faults.play import Case, Play
from tests.faults.steps import (
    HEAD,
    TICK,
    Piece,
    Shared,
    Voiced,
    bare_call,
    begun,
    call,
    good,
    head,
    nonsense,
    page,
    says,
    start,
    stream,
)
from tests.faults.voices import ANSWER, MODELS, event

MALFORMED, TRUNCATED, EMPTY = Outcome.MALFORMED_RESPONSE, Outcome.TRUNCATED, Outcome.EMPTY_COMPLETION
FAILED, OK = Outcome.ASSERTION_FAILED, Outcome.OK
ERROR, OVERLOADED = Outcome.STREAM_ERROR, Outcome.OVERLOADED
CHATS = ("openai-chat", "azure-openai")

NO_STREAM: Shared = {"outcome": MALFORMED, "plain": FAILED, "says": "status 200, but the answer is",
             "says_plain": "the body does not contain"}  # fmt: skip


def _saying(*texts: str) -> Voiced:
    return lambda voice: voice.answer(*texts)


def _with(end: bytes) -> Voiced:
    return lambda voice: good(voice).replace(b"\n", end)


def _escaped(text: str) -> Voiced:
    """The answer with this among its text, as JSON has it and not as UTF-8."""
    return lambda voice: good(voice).replace(b"river", text.encode())


CHARACTERS = (
    Case(name="line separators of Unicode", play=stream(_saying("pong\u2028\u2029\x85", "river")), outcome=OK),
    Case(name="a NUL in the text", play=stream(_escaped("a\\u0000b")), outcome=OK),
    Case(name="a NUL in the bytes", play=stream(begun, b'data: {"a": "\0"}\n\n'), outcome=MALFORMED, says="not valid JSON"),
    Case(name="a lone surrogate", play=stream(_escaped("\\ud800 \\udfff")), outcome=OK),
    Case(name="a lone surrogate in bytes", play=stream(_saying("\ud800", "river")), outcome=OK),
    Case(name="bytes that are not UTF-8", play=stream(lambda v: good(v).replace(b"river", b"\xff\xfe\xc3(")), outcome=OK),
    Case(name="a byte order mark", play=stream(b"\xef\xbb\xbf", good), outcome=OK, plain=OK),
    Case(name="UTF-16", play=stream(lambda v: good(v).decode().encode("utf-16")), outcome=MALFORMED, plain=FAILED,
         says="neither an event stream nor JSON", says_plain="the body does not contain"),
    Case(name="lines that end in CR", play=stream(_with(b"\r")), outcome=OK),
    Case(name="lines that end in CR and LF", play=stream(_with(b"\r\n")), outcome=OK),
    Case(name="no space after the colon", play=stream(lambda v: good(v).replace(b"data: ", b"data:")), outcome=OK),
    Case(name="terminal escapes in an error", play=stream(lambda v: v.failure("x", "\x1b]0;pwned\x07\x1b[2J red\u202e")),
         outcome=ERROR, says="red"),
    Case(name="markup in an error", play=stream(lambda v: v.failure("x", "<script>alert(1)</script>")), outcome=ERROR,
         says="<script>"),
    Case(name="a message of a megabyte", outcome=ERROR, says="mmm",
         play=stream(lambda v: v.failure("server_error", "m" * 200_000))),
)  # fmt: skip

DEEP = b"[" * 100_000
JSON = (
    Case(name="an event that is deep", play=stream(begun, b"data: " + DEEP + b"\n\n"), outcome=MALFORMED, says="not valid JSON"),
    Case(name="an object that is deep", play=stream(begun, b"data: " + b'{"a":' * 20_000 + b"\n\n"), outcome=MALFORMED,
         says="not valid JSON"),
    Case(name="deep JSON instead of a stream", play=stream(DEEP), **NO_STREAM),
    Case(name="deep JSON in a refusal", play=says(page("500 No", DEEP)), outcome=Outcome.HTTP_5XX, plain=Outcome.HTTP_5XX,
         says="status 500", says_plain="status is 500"),
    Case(name="integers without end", outcome=OK, models=CHATS,
         play=stream(begun, lambda v: v.finish("stop"),
                     event({"choices": [], "usage": {"prompt_tokens": 10**4000, "completion_tokens": -5, "total_tokens": 1e300}}),
                     b"data: [DONE]\n\n")),
    Case(name="numbers that JSON does not have", outcome=OK, models=CHATS,
         play=stream(begun, lambda v: v.finish("stop"), b'data: {"usage": {"prompt_tokens": NaN, "completion_tokens": -Infinity}}\n\n')),
    Case(name="keys twice", play=stream(b'data: {"choices": 1, "choices": []}\n\n', good), outcome=OK, models=CHATS),
    Case(name="every field of the wrong type", play=stream(start, nonsense, good), outcome=OK),
    Case(name="only fields of the wrong type", play=stream(start, nonsense), outcome=TRUNCATED,
         says="without a reason for it or a closing event"),
    Case(name="an event that is no JSON", play=stream(begun, b"data: hello\n\n"), outcome=MALFORMED, says="not valid JSON: hello"),
    Case(name="an event that is a list", play=stream(begun, b"data: [1, 2]\n\n"), outcome=MALFORMED, says="no JSON object"),
    Case(name="half a JSON object as an event", play=stream(begun, b'data: {"choices": [{"del\n\n', TICK, b": x\n\n"),
         outcome=MALFORMED, says="not valid JSON"),
    *(
        Case(name=f"JSON that is {word}", play=says(page("200 OK", body)), **NO_STREAM)
        for word, body in (
            ("null", "null"), ("a number", "5"), ("a text", '"pong"'), ("a list", "[]"), ("an empty object", "{}"),
        )
        if word in ("a list", "an empty object")
    ),
    *(
        Case(name=f"a word that is {word}", play=says(page("200 OK", body)), **NO_STREAM)
        for word, body in (("null", "null"), ("OK", "OK"), ("a number", "5"))
    ),
    Case(name="half a JSON object", play=says(page("200 OK", '{"choices": [{"message": {"conte')), **NO_STREAM),
    Case(name="an answer in one piece", outcome=OK,
         play=says(lambda v: page("200 OK", json.dumps(v.whole())))),
)  # fmt: skip

_ERROR_PAGE: Shared = {"outcome": ERROR, "plain": FAILED, "says_plain": "the body does not contain"}


def _plainly(kind: str, message: str) -> Voiced:
    """An error as the whole answer, with status 200."""
    return lambda voice: page(
        "200 OK", json.dumps(voice.error(kind, message)) if voice.protocol != "http" else message
    )


ERRORS = (
    Case(name="an error event before any token", play=stream(start, lambda v: v.failure("server_error", "it broke")),
         outcome=ERROR, says="error inside status 200: it broke"),
    Case(name="an error event after tokens", play=stream(begun, lambda v: v.failure("server_error", "it broke")),
         outcome=ERROR, says="error inside status 200: it broke"),
    Case(name="an error event and then a good end", outcome=ERROR, says="it broke",
         play=stream(begun, lambda v: v.failure("server_error", "it broke"), lambda v: v.finish("stop") + v.close())),
    Case(name="an error event that is overload", play=stream(start, lambda v: v.failure("overloaded_error", "Overloaded")),
         outcome=OVERLOADED, says="Overloaded"),
    Case(name="an overload after tokens", play=stream(begun, lambda v: v.failure("overloaded_error", "Overloaded")),
         outcome=OVERLOADED, says="Overloaded"),
    Case(name="an error event without words", play=stream(begun, b'event: error\ndata: {"error": {}}\n\n'), outcome=ERROR,
         says="an error without a message"),
    Case(name="an error event that is no JSON", play=stream(begun, b"event: error\ndata: upstream died\n\n"), outcome=ERROR,
         says="upstream died"),
    Case(name="a field error", play=stream(b'error: {"code": 500, "message": "slot died"}\n\n'), outcome=ERROR, says="slot died"),
    Case(name="a plain error with status 200", play=says(_plainly("server_error", "it broke")), says="it broke", **_ERROR_PAGE),
    Case(name="a plain overload with status 200", play=says(_plainly("overloaded_error", "Overloaded")), outcome=OVERLOADED,
         says="Overloaded"),
    Case(name="a string for an error with status 200", play=says(page("200 OK", '{"error": "no such thing"}')),
         says="no such thing", **_ERROR_PAGE),
    Case(name="a web page with status 200", play=says(page("200 OK", "<!doctype html><h1>Welcome</h1>", kind="text/html")),
         **NO_STREAM),
    Case(name="a web page that claims to stream", play=stream(b"<html><body>Bad gateway</body></html>"), **NO_STREAM),
    Case(name="a login form", play=says(page("200 OK", "\n\n  <form action=/login>", kind="text/html")), **NO_STREAM),
    Case(name="an XML error", play=says(page("200 OK", "<?xml version='1.0'?><Error/>", kind="text/xml")), **NO_STREAM),
    Case(name="an empty answer", play=says(page("200 OK", b"")), outcome=TRUNCATED, plain=FAILED,
         says="without a reason for it", says_plain="(empty)"),
    Case(name="an answer of blanks", play=says(page("200 OK", b" \r\n\t\n")), outcome=TRUNCATED, plain=FAILED,
         says="without a reason for it", says_plain="the body does not contain"),
)  # fmt: skip


def _end(reason: str, *before: Piece) -> Play:
    return stream(*before, lambda v: v.finish(reason) + v.close())


ANSWERS = (
    Case(name="a good answer", play=stream(good), outcome=OK, plain=OK),
    Case(name="only the closing event", play=stream(b"data: [DONE]\n\n"), outcome=EMPTY, models=CHATS, says="but no text"),
    Case(name="the closing event of another", play=stream(begun, b"data: [DONE]\n\n"), outcome=TRUNCATED,
         models=tuple(sorted({*MODELS} - {*CHATS}))),
    Case(name="only a reason to stop", play=_end("stop"), outcome=EMPTY, says="but no text"),
    Case(name="a start and a reason to stop", play=_end("stop", start), outcome=EMPTY, says="but no text"),
    Case(name="only reasoning up to the limit", play=_end("length", start, lambda v: v.thought("hm")),
         outcome=Outcome.NO_ANSWER, says="Raise max_tokens"),
    Case(name="only reasoning and then an end", play=_end("stop", start, lambda v: v.thought("hm")), outcome=EMPTY,
         says="but no text"),
    Case(name="reasoning and then an answer", outcome=OK,
         play=_end("stop", start, lambda v: v.thought("hm"), TICK, lambda v: v.text("pong"))),
    Case(name="only a call of a tool", play=_end("stop", start, call), outcome=OK),
    Case(name="only a call of a tool without arguments", play=_end("stop", start, bare_call), outcome=OK),
    Case(name="a filter in the middle", play=_end("filter", begun), outcome=Outcome.CONTENT_FILTERED, says="Change the prompt"),
    Case(name="a filter before any text", play=_end("filter", start), outcome=Outcome.CONTENT_FILTERED,
         says="Change the prompt"),
    Case(name="an answer after the end", outcome=OK, play=stream(good, lambda v: v.text("and more"), lambda v: v.failure("x", "y"))
         , models=("openai-chat", "azure-openai", "anthropic", "openai-responses")),
    Case(name="another answer than expected", play=stream(_saying("no", "thing")), outcome=Outcome.WRONG_ANSWER,
         settings='expect = { answer = "pong" }', says='does not contain "pong"', loose=False),
    Case(name="another model than expected", play=stream(good), outcome=Outcome.MODEL_SWAPPED,
         settings='expect = { model = "acme-2" }', says="acme-1 answered, expected acme-2", loose=False),
    Case(name="another model than before", before=stream(good), settings='interval = "2s"', loose=False, outcome=Outcome.MODEL_SWAPPED,
         says="until now it was", play=stream(lambda v: good(v).replace(b"acme-1", b"cheap-0"))),
    Case(name="a first token too late", play=says(HEAD, 0.15, good), outcome=Outcome.SLOW, loose=False,
         settings='expect = { ttft = "100ms" }', says="expected at most 100 ms"),
    Case(name="a page too late", play=says(0.15, HEAD, good), plain=Outcome.SLOW, loose=False,
         settings='expect = { elapsed = "100ms" }', says_plain="expected at most 100 ms"),
    Case(name="a kind that nobody knows", play=says(head("200 OK", kind="application/\xff"), good), outcome=OK, plain=OK),
    Case(name="an answer in one write", play=says(lambda v: HEAD + good(v)), outcome=OK, plain=OK),
    Case(name="each event twice", outcome=OK,
         play=stream(start, *(lambda v, t=t: v.text(t) * 2 for t in ANSWER), lambda v: v.finish("stop") + v.close())),
)  # fmt: skip

CASES = (*CHARACTERS, *JSON, *ERRORS, *ANSWERS)
