"""What goes wrong between the head of an answer and its end: framing, cuts, stalls, floods, bombs."""

import gzip

from monitor.core.outcome import Outcome
from tests.faults.play import Case, End
from tests.faults.steps import (
    CHUNKED,
    HEAD,
    TICK,
    Shared,
    Voiced,
    begun,
    chunk,
    drop_by_drop,
    for_ever,
    good,
    head,
    nothing,
    says,
    start,
    stream,
)
from tests.faults.voices import ANSWER, Voice

FTT, TOTAL, STALLED = Outcome.FIRST_TOKEN_TIMEOUT, Outcome.TOTAL_TIMEOUT, Outcome.STALLED
RESET, MALFORMED, TRUNCATED = Outcome.CONNECTION_RESET, Outcome.MALFORMED_RESPONSE, Outcome.TRUNCATED
FAILED, OK = Outcome.ASSERTION_FAILED, Outcome.OK

ONE = ("openai-chat",)
"""For what costs much: once is enough."""
BREAKS: Shared = {
    "outcome": MALFORMED,
    "plain": MALFORMED,
    "says": "the answer's body breaks the rules of HTTP",
}
CUT: Shared = {
    "outcome": TRUNCATED,
    "plain": TRUNCATED,
    "says": "closed the connection in the middle of its answer",
}
ENDED: Shared = {"outcome": TRUNCATED, "plain": FAILED, "says": "without a reason for it or a closing event",
         "says_plain": "the body does not contain"}  # fmt: skip
BROKEN: Shared = {
    "outcome": RESET,
    "plain": RESET,
    "says": "broke the connection off in the middle of its answer",
}
LATE: Shared = {
    "outcome": FTT,
    "plain": TOTAL,
    "says": "no token within 0.8 s",
    "says_plain": "was not complete within",
}
STALLS: Shared = {"outcome": STALLED, "plain": TOTAL, "says": "no token for 0.5 s after 2 pieces of text",
          "says_plain": "was not complete within"}  # fmt: skip


def _half(voice: Voice) -> bytes:
    """A good answer that breaks off within an event."""
    return (voice.start() + voice.text(ANSWER[0]) + voice.text("in the middle"))[:-9]


def _long(voice: Voice) -> bytes:
    return voice.start() + voice.text("l" * 4000)


def _sized(surplus: int) -> Voiced:
    """A head whose length is off by so much, and the answer."""

    def bytes_of(voice: Voice) -> bytes:
        data = good(voice)
        return head("200 OK", f"Content-Length: {len(data) + surplus}") + data

    return bytes_of


def _both(voice: Voice) -> bytes:
    return (
        head("200 OK", "Content-Length: 7", "Transfer-Encoding: chunked") + chunk(good(voice)) + b"0\r\n\r\n"
    )


def _in_chunks(tail: bytes) -> Voiced:
    return lambda voice: chunk(good(voice)) + tail


def _chunked_cut(voice: Voice) -> bytes:
    return chunk(begun(voice)) + b"500\r\n" + voice.text(ANSWER[2])


FRAMING = (
    Case(name="chunks without a last one", play=says(CHUNKED, _in_chunks(b"")), outcome=OK, plain=TRUNCATED,
         says_plain="closed the connection in the middle"),
    Case(name="a length and chunks", play=says(_both), outcome=OK, plain=OK),
    Case(name="a length that is too long", play=says(_sized(50)), outcome=OK, plain=TRUNCATED,
         says_plain="closed the connection in the middle"),
    Case(name="a length that is too short", play=says(head("200 OK", "Content-Length: 9"), good), **ENDED),
    Case(name="a length of nothing", play=says(head("200 OK", "Content-Length: 0"), good), **ENDED),
    Case(name="a chunk of negative size", play=says(CHUNKED, b"-5\r\nhello\r\n0\r\n\r\n"), **BREAKS),
    Case(name="a chunk's size in words", play=says(CHUNKED, b"many\r\nhello\r\n0\r\n\r\n"), **BREAKS),
    Case(name="a chunk's size that no integer holds", play=says(CHUNKED, b"F" * 40 + b"\r\nhello"), **BREAKS),
    Case(name="a chunk without its line end", play=says(CHUNKED, b"5\r\nhelloXX5\r\nhello\r\n0\r\n\r\n"), **BREAKS),
    Case(name="a chunk's extension for ever", play=for_ever(b"x" * 4000, after=[CHUNKED, b"5;ext="]),
         outcome=MALFORMED, plain=MALFORMED, says="bytes of headers"),
    Case(name="a chunk's size drop by drop", play=for_ever(b"0", 0.05, after=[CHUNKED]), **LATE),
    Case(name="trailers for ever", play=for_ever(b"X-Tail: 1234\r\n" * 300, after=[CHUNKED, _in_chunks(b"0\r\n")]),
         outcome=OK, plain=MALFORMED, says_plain="bytes of headers"),
    Case(name="chunks of one byte", play=says(CHUNKED, lambda v: b"".join(chunk(bytes([b])) for b in good(v)), b"0\r\n\r\n"),
         outcome=OK, plain=OK),
    Case(name="chunks with extensions", play=says(CHUNKED, lambda v: chunk(good(v)).replace(b"\r\n", b" ; a = 1\r\n", 1),
                                                  b"0; last\r\n\r\n"), outcome=OK, plain=OK),
    Case(name="rubbish behind the answer", play=says(CHUNKED, _in_chunks(b"0\r\n\r\nHTTP/1.1 500 No\r\n\r\n")),
         outcome=OK, plain=OK),
    Case(name="an unknown coding", play=says(head("200 OK", "Transfer-Encoding: banana"), good), outcome=OK, plain=OK),
)  # fmt: skip

CUTS = (
    Case(name="cut before the first byte of a body", play=says(HEAD), **ENDED),
    Case(name="cut before the first token", play=stream(start, TICK), **ENDED),
    Case(name="cut between two tokens", play=stream(begun), **{**ENDED, "plain": OK}),
    Case(name="cut within an event", play=stream(_half), **ENDED),
    Case(name="cut within a character", play=stream(begun, lambda v: v.text("über")[: v.text("über").index(b"\xc3") + 1]),
         **{**ENDED, "plain": OK}),
    Case(name="cut within a chunk", play=says(CHUNKED, _chunked_cut), **CUT),
    Case(name="cut between two chunks", play=says(CHUNKED, lambda v: chunk(begun(v))), **CUT),
    Case(name="cut within a length", play=says(head("200 OK", "Content-Length: 5000"), begun), **CUT),
    Case(name="reset before the first token", play=stream(start, TICK, End.RESET), **BROKEN),
    Case(name="reset between two tokens", play=stream(begun, TICK, End.RESET), **BROKEN),
    Case(name="reset within a chunk", play=says(CHUNKED, _chunked_cut, TICK, End.RESET), **BROKEN),
    Case(name="half-closed between two tokens", play=says(CHUNKED, lambda v: chunk(begun(v)), End.HALF), **CUT),
    Case(name="reset after the end", play=says(CHUNKED, _in_chunks(b"0\r\n\r\n"), TICK, End.RESET), outcome=OK, plain=OK),
)  # fmt: skip

STALLING = (
    Case(name="a head and then nothing", play=stream(End.HANG), **LATE),
    Case(name="only a beginning", play=stream(start, End.HANG), **LATE),
    Case(name="only comments", play=for_ever(b": still here\n\n", 0.05, after=[HEAD]), **LATE),
    Case(name="only events without text", play=for_ever(nothing, 0.05, after=[HEAD, start]), **LATE),
    Case(name="only empty lines", play=for_ever(b"\n", 0.02, after=[HEAD]), **LATE),
    Case(name="a body drop by drop", play=says(HEAD, *(step for byte in b"data: {\"choices\": [" * 9 for step in (bytes([byte]), 0.05))),
         **LATE),
    Case(name="chunks drop by drop", play=for_ever(chunk(b":"), 0.05, after=[CHUNKED]), **LATE),
    Case(name="stalls after two tokens", play=stream(begun, End.HANG), **STALLS),
    Case(name="comments after two tokens", play=for_ever(b": still here\n\n", 0.05, after=[HEAD, begun]), **STALLS),
    Case(name="events without text after two tokens", play=for_ever(nothing, 0.05, after=[HEAD, begun]), **STALLS),
    Case(name="half an event after two tokens", play=stream(begun, b"data: {", End.HANG), **STALLS),
    Case(name="never closes after the end", play=stream(good, End.HANG), outcome=OK, plain=TOTAL),
    Case(name="comments for ever after the end", play=for_ever(b": bye\n\n", 0.05, after=[HEAD, good]), outcome=OK, plain=TOTAL),
    Case(name="tokens for ever", play=for_ever(lambda v: v.text("and "), 0.02, after=[HEAD, start]),
         outcome=TOTAL, plain=TOTAL, says="the time for the whole probe was up after", says_plain="was not complete"),
    Case(name="one token a stall", play=for_ever(lambda v: v.text("and "), 0.2, after=[HEAD, start]),
         outcome=TOTAL, plain=TOTAL, says="the time for the whole probe was up after", says_plain="was not complete"),
    Case(name="a good answer slowly", outcome=OK, plain=OK,
         play=says(HEAD, 0.2, start, 0.2, lambda v: v.text(ANSWER[0]), 0.2, lambda v: v.text("The river"), 0.2,
                   lambda v: v.finish("stop") + v.close())),
    Case(name="a good answer in drops", outcome=OK, plain=OK, models=ONE,
         play=lambda scene: drop_by_drop(HEAD + good(scene.voice), 0.0002)(scene)),
)  # fmt: skip

FLOODS = (
    Case(name="a flood of comments", play=for_ever(b": flood\n" * 8000, after=[HEAD]), outcome=MALFORMED, models=ONE, patient=True,
         says="a body of more than"),
    Case(name="a flood of empty lines", play=for_ever(b"\n" * 64_000, after=[HEAD]), outcome=MALFORMED, models=ONE, patient=True,
         says="a body of more than"),
    Case(name="a flood of zeros", play=for_ever(b"\0" * 64_000, after=[HEAD]), outcome=MALFORMED, plain=FAILED,
         models=ONE, patient=True, says="a line of the stream is over", says_plain="the body does not contain"),
    Case(name="a flood of long tokens", play=for_ever(_long, after=[HEAD]), outcome=MALFORMED, models=ONE, patient=True,
         says="a body of more than"),
    Case(name="a flood of short tokens", play=for_ever(lambda v: v.text("and ") * 400, after=[HEAD]), outcome=MALFORMED,
         models=ONE, patient=True, says="a body of more than"),
    Case(name="half a million empty lines and then an answer", play=stream(b"\n" * 500_000, good), outcome=OK, models=ONE, patient=True),
    Case(name="an event of ten megabytes", play=stream(lambda v: v.text("m" * 10_000_000)), outcome=MALFORMED, models=ONE, patient=True,
         says="a line of the stream is over"),
    Case(name="an event of many lines", play=for_ever(b"data: x\n" * 8000, after=[HEAD]), outcome=MALFORMED, models=ONE, patient=True,
         says="1048576 bytes"),
    Case(name="JSON for ever instead of a stream", play=for_ever(b'"x",' * 16_000, after=[HEAD, b"["]), outcome=MALFORMED,
         models=ONE, patient=True, says="a body of more than"),
    Case(name="a page for ever", play=for_ever(b"<p>hello</p>" * 5000, after=[HEAD]), outcome=MALFORMED, plain=FAILED,
         models=ONE, patient=True, says="a web page", says_plain="the body does not contain"),
)  # fmt: skip


def _packed(coding: str, body: bytes) -> bytes:
    return head("200 OK", f"Content-Encoding: {coding}", f"Content-Length: {len(body)}") + body


BOMB = gzip.compress(b"\0" * 30_000_000, 9)
PACKING = (
    Case(name="gzip although unasked", play=says(lambda v: _packed("gzip", gzip.compress(good(v)))), outcome=MALFORMED,
         plain=FAILED, says="compressed (gzip), which was not asked for", says_plain="the body does not contain"),
    Case(name="a bomb of gzip", play=says(_packed("gzip", BOMB)), outcome=MALFORMED, plain=FAILED,
         says="compressed (gzip), which was not asked for", says_plain="the body does not contain"),
    Case(name="brotli although unasked", play=says(_packed("br", b"\x8b\x02\x80hello\x03" * 9)), outcome=MALFORMED,
         plain=FAILED, says="compressed (br), which was not asked for", says_plain="the body does not contain"),
    Case(name="compressed and silent about it", play=stream(gzip.compress(b"pong" * 99)), outcome=MALFORMED, plain=FAILED,
         says="neither an event stream nor JSON", says_plain="the body does not contain"),
    Case(name="a bomb within chunks", play=says(head("200 OK", "Transfer-Encoding: gzip, chunked"), chunk(BOMB), b"0\r\n\r\n"),
         outcome=MALFORMED, plain=FAILED, says="status 200, but", says_plain="the body does not contain"),
)  # fmt: skip

CASES = (*FRAMING, *CUTS, *STALLING, *FLOODS, *PACKING)
