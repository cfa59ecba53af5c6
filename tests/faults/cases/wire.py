"""What goes wrong before there is an answer: connections, status lines, heads."""

import random

from monitor.core.outcome import Outcome
from tests.faults.play import Case, End, Scene, When
from tests.faults.steps import HEAD, TICK, Shared, drop_by_drop, for_ever, good, head, page, says

FTT, TOTAL = Outcome.FIRST_TOKEN_TIMEOUT, Outcome.TOTAL_TIMEOUT
RESET, MALFORMED = Outcome.CONNECTION_RESET, Outcome.MALFORMED_RESPONSE
BAD, FAILED, OK = Outcome.BAD_REQUEST, Outcome.ASSERTION_FAILED, Outcome.OK

NO_HTTP = "the answer is not HTTP"
SILENT: Shared = {
    "outcome": FTT,
    "plain": TOTAL,
    "says": "no reply within 0.8 s",
    "says_plain": "no answer from",
}
BROKEN: Shared = {"outcome": RESET, "plain": RESET, "says": "broke the connection off before it answered"}
CLOSED: Shared = {"outcome": RESET, "plain": RESET, "says": "closed the connection before it answered"}
NONSENSE: Shared = {"outcome": MALFORMED, "plain": MALFORMED, "says": NO_HTTP}

CONNECTIONS = (
    Case(
        name="nobody listens", when=When.NOBODY, play=says(), loose=False,
        outcome=Outcome.CONNECT_REFUSED, plain=Outcome.CONNECT_REFUSED, says="refuses connections",
    ),
    Case(name="says nothing at all", play=says(End.HANG), **SILENT),
    Case(name="accepts and never reads", when=When.ACCEPT, play=says(End.HANG), **SILENT),
    Case(
        name="resets at accept", when=When.ACCEPT, play=says(End.RESET), outcome=RESET, plain=RESET,
        says="broke the connection off",
    ),
    Case(name="resets after the request", play=says(End.RESET), **BROKEN),
    Case(name="resets a while after the request", play=says(0.2, End.RESET), **BROKEN),
    Case(name="closes after the request", play=says(), **CLOSED),
    Case(name="half-closes after the request", play=says(End.HALF), **CLOSED),
)  # fmt: skip

STATUS_LINES = (
    Case(name="half a status line then FIN", play=says(b"HTTP/1.1 20"), **CLOSED),
    Case(name="half a status line then RST", play=says(b"HTTP/1.1 20", TICK, End.RESET), **BROKEN),
    Case(name="half a status line then nothing", play=says(b"HTTP/1.1 20", End.HANG), **SILENT),
    Case(name="garbage for a status line", play=says(b"hello, who is there?\r\n\r\n"), **NONSENSE),
    Case(name="random bytes", play=says(random.Random(4).randbytes(4096)), **NONSENSE),
    Case(name="random bytes for ever", play=for_ever(random.Random(5).randbytes(4096)), **NONSENSE),
    Case(name="HTTP 0.9", play=says(b"pong. The river runs.\n"), **NONSENSE),
    Case(name="the banner of SSH", when=When.ACCEPT, play=says(b"SSH-2.0-OpenSSH_9.2\r\n", End.HANG), **NONSENSE),
    Case(name="the banner of SMTP", when=When.ACCEPT, play=says(b"220 mail ESMTP\r\n", End.HANG), **NONSENSE),
    Case(name="an alert of TLS", play=says(b"\x15\x03\x01\x00\x02\x02\x46"), **NONSENSE),
    Case(
        name="the preface of HTTP 2", **NONSENSE,
        play=says(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64\x00\x04\x00\x10\x00\x00", End.HANG),
    ),
    Case(name="another protocol's status line", play=says(b"RTSP/1.0 200 OK\r\n\r\n"), **NONSENSE),
    Case(name="status 000", play=says(head("000 None")), **NONSENSE),
    Case(name="status 42", play=says(head("42 Short")), **NONSENSE),
    Case(name="status 099", play=says(head("099 Low")), **NONSENSE),
    Case(name="status 1000", play=says(head("1000 Long")), **NONSENSE),
    Case(name="status minus 200", play=says(head("-200 Negative")), **NONSENSE),
    Case(name="status in words", play=says(head("two hundred")), **NONSENSE),
    Case(
        name="status 600", play=says(page("600 What", b"")), says="status 600, which HTTP does not have",
        outcome=Outcome.HTTP_5XX, plain=Outcome.HTTP_5XX, says_plain="status is 600",
    ),
    Case(
        name="status 999", play=says(page("999 Denied", b"")), says="status 999, which HTTP does not have",
        outcome=Outcome.HTTP_5XX, plain=Outcome.HTTP_5XX, says_plain="status is 999",
    ),
    Case(
        name="status 101", play=says(b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"),
        outcome=MALFORMED, plain=FAILED, says="status 101", says_plain="status is 101",
    ),
    Case(name="100 for ever", play=for_ever(b"HTTP/1.1 100 Continue\r\n\r\n" * 50), outcome=MALFORMED, plain=MALFORMED,
         says="bytes of headers"),
    Case(name="102 now and then", play=for_ever(b"HTTP/1.1 102 Processing\r\n\r\n", 0.05), **SILENT),
    Case(
        name="103 and then an answer", outcome=OK, plain=OK,
        play=says(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", TICK, HEAD, good),
    ),
    Case(name="status 200 in HTTP 1.0", play=says(b"HTTP/1.0 200 OK\r\n\r\n", good), outcome=OK, plain=OK),
    Case(name="a status without words", play=says(b"HTTP/1.1 200\r\n\r\n", good), outcome=OK, plain=OK),
    Case(name="lines that end in LF alone", play=says(b"HTTP/1.1 200 OK\nX-One: 1\n\n", good), outcome=OK, plain=OK),
    Case(
        name="status 204 for an answer", play=says(b"HTTP/1.1 204 No Content\r\n\r\n"),
        outcome=MALFORMED, plain=FAILED, says="status 204", says_plain="the body does not contain",
    ),
    Case(
        name="status 206", play=says(head("206 Partial Content"), good),
        outcome=MALFORMED, plain=OK, says="status 206",
    ),
    Case(
        name="status 304", play=says(b"HTTP/1.1 304 Not Modified\r\n\r\n"),
        outcome=BAD, plain=FAILED, says="status 304", says_plain="status is 304",
    ),
)  # fmt: skip


def _goes(status: str, place: str) -> Case:
    """A redirect to somewhere."""

    def play(scene: Scene) -> list[bytes]:
        where = place.format(here=scene.here, trap=scene.trap)
        return [page(status, b"", f"Location: {where}")]

    return Case(
        name=f"{status} to {place.replace('{', '').replace('}', '')}", play=play, outcome=BAD, plain=FAILED,
        says="redirects are not followed", says_plain=f"status is {status[:3]}",
    )  # fmt: skip


REDIRECTS = (
    _goes("301 Moved", "file:///etc/passwd"),
    _goes("302 Found", "http://{here}/again"),
    _goes("303 See Other", "//{trap}/"),
    _goes("307 Temporary Redirect", "http://{trap}/stolen"),
    _goes("308 Permanent Redirect", "http://me:you@{trap}/"),
    _goes("302 Found", "javascript:alert(1)"),
    _goes("300 Multiple Choices", "gopher://{trap}/"),
)

_TOO_MANY: Shared = {"outcome": MALFORMED, "plain": MALFORMED, "says": "bytes of headers"}
_OPEN = b"HTTP/1.1 200 OK\r\nX-First: 1\r\n"

HEADS = (
    Case(name="a head cut off by FIN", play=says(_OPEN + b"X-Sec"), **CLOSED),
    Case(name="a head cut off by RST", play=says(_OPEN + b"X-Sec", TICK, End.RESET), **BROKEN),
    Case(name="a head that never goes on", play=says(_OPEN + b"X-Sec", End.HANG), **SILENT),
    Case(name="a head drop by drop", play=drop_by_drop(_OPEN + b"X-Slow: " + b"s" * 600, 0.05), **SILENT),
    Case(name="a header now and then for ever", play=for_ever(b"X-More: 1\r\n", 0.05, after=[_OPEN]), **SILENT),
    Case(name="headers for ever", play=for_ever(b"X-More: abcdefghijkl\r\n" * 100, after=[_OPEN]), **_TOO_MANY),
    Case(name="ten thousand headers", play=says(_OPEN + b"X-Many: 12345\r\n" * 10_000 + b"\r\n", good), **_TOO_MANY),
    Case(name="a header of a megabyte", play=says(_OPEN + b"X-Long: " + b"l" * 1_000_000 + b"\r\n\r\n", good), **_TOO_MANY),
    Case(name="a header's name of a megabyte", play=says(_OPEN + b"X" * 1_000_000 + b": 1\r\n\r\n", good), **_TOO_MANY),
    Case(name="a reason of a megabyte", play=says(b"HTTP/1.1 200 " + b"o" * 1_000_000 + b"\r\n\r\n", good), **_TOO_MANY),
    Case(name="a header without a colon", play=says(_OPEN + b"no colon here\r\n\r\n", good), **NONSENSE),
    Case(name="a NUL in a header", play=says(_OPEN + b"X-Nul: a\0b\r\n\r\n", good), **NONSENSE),
    Case(name="two lengths that differ", play=says(head("200 OK", "Content-Length: 5", "Content-Length: 9"), good), **NONSENSE),
    Case(name="a negative length", play=says(head("200 OK", "Content-Length: -1"), good), **NONSENSE),
    Case(name="a length that no integer holds", play=says(head("200 OK", f"Content-Length: {10**30}"), good), **NONSENSE),
    Case(name="a length in words", play=says(head("200 OK", "Content-Length: many"), good), **NONSENSE),
    Case(name="headers with terminal escapes", play=says(head("200 OK", "X-Request-Id: \x1b[31mred"), good), **NONSENSE),
    Case(name="a header that goes on in the next line", play=says(head("200 OK", "X-Long: begins\r\n and ends"), good), outcome=OK, plain=OK),
    Case(name="headers in another alphabet", play=says(head("200 OK", "Server: \xff\xfe"), good), outcome=OK, plain=OK),
)  # fmt: skip

CASES = (*CONNECTIONS, *STATUS_LINES, *REDIRECTS, *HEADS)
