"""HTTP/1.1 as bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.wire import FaultKind
from monitor.transport.http1 import BadAnswer, Response, request_bytes


def response(method: str = "GET", head_limit: int = 65536, body_limit: int = 1 << 20) -> Response:
    return Response(method, head_limit, body_limit)


def test_a_request_asks_for_no_compression_and_no_second_request() -> None:
    data = request_bytes("GET", b"/a?b=c", [(b"Host", b"x.test"), (b"X-Key", b"1")], b"")
    assert data == (
        b"GET /a?b=c HTTP/1.1\r\nHost: x.test\r\nX-Key: 1\r\n"
        b"Accept-Encoding: identity\r\nConnection: close\r\n\r\n"
    )


def test_a_caller_cannot_ask_for_what_we_cannot_read() -> None:
    headers = [(b"accept-encoding", b"gzip"), (b"Connection", b"keep-alive"), (b"Transfer-Encoding", b"x")]
    data = request_bytes("POST", b"/", headers, b"body")
    assert b"gzip" not in data
    assert b"keep-alive" not in data
    assert b"Transfer-Encoding" not in data
    assert data.endswith(b"\r\n\r\nbody")


@pytest.mark.parametrize(
    ("method", "target", "value"),
    [
        ("GET", b"/", b"a\r\nEvil: 1"),
        ("GET", b"/", b"a\nEvil: 1"),
        ("GET", b"/", b"a\0b"),
        ("GET", b"/ HTTP/1.1\r\nEvil: 1", b"a"),
        ("GET /\r\n", b"/", b"a"),
    ],
)
def test_a_line_break_never_gets_into_a_request(method: str, target: bytes, value: bytes) -> None:
    with pytest.raises(ValueError, match="control character") as refused:
        request_bytes(method, target, [(b"X-Key", value)], b"")
    assert "Evil" not in str(refused.value)


def test_a_body_of_known_length_ends_by_itself() -> None:
    got = response()
    got.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: 1\r\n\r\nhel")
    assert (got.status, got.complete, got.take()) == (200, False, b"hel")
    got.feed(b"lo")
    assert (got.complete, got.take()) == (True, b"lo")
    assert got.headers == [(b"Content-Length", b"5"), (b"X-A", b"1")]


def test_chunks_and_their_trailers() -> None:
    got = response()
    got.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    got.feed(b"2;name=value\r\nde\r\n0\r\nX-Trailer: no header\r\n\r\n")
    assert (got.complete, got.take()) == (True, b"abcde")
    assert got.headers == [(b"Transfer-Encoding", b"chunked")]


def test_a_body_without_length_ends_with_the_connection() -> None:
    got = response()
    got.feed(b"HTTP/1.1 200 OK\r\n\r\nall of ")
    got.feed(b"this")
    assert not got.complete
    assert got.end()
    assert got.take() == b"all of this"


def test_http_1_0_is_understood() -> None:
    got = response()
    got.feed(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nold")
    assert got.end()
    assert got.take() == b"old"


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"",
    ],
)
def test_an_end_before_the_message_is_complete_is_no_proper_end(head: bytes) -> None:
    got = response()
    got.feed(head)
    assert not got.end()


def test_interim_responses_are_passed_over() -> None:
    got = response()
    got.feed(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
    assert (got.status, got.complete) == (None, False)
    got.feed(
        b"HTTP/1.1 103 Early Hints\r\nConnection: close\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"
    )
    assert (got.status, got.complete, got.take()) == (200, True, b"x")
    assert got.headers == [(b"Content-Length", b"1")]


def test_bytes_after_the_message_are_none_of_ours() -> None:
    got = response()
    got.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 500 No\r\n\r\n\0garbage")
    assert (got.status, got.complete, got.take()) == (200, True, b"ok")
    got.feed(b"more")
    assert got.take() == b""


@pytest.mark.parametrize("status", [101, 204, 304])
def test_some_statuses_have_no_body(status: int) -> None:
    got = response()
    got.feed(b"HTTP/1.1 %d X\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\nrest" % status)
    assert (got.status, got.complete, got.take()) == (status, True, b"")


def test_the_answer_to_head_has_no_body_whatever_its_length() -> None:
    got = response("HEAD")
    got.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n")
    assert (got.complete, got.take()) == (True, b"")


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2  \r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nX-Name: caf\xe9\r\nContent-Length: 2\r\n\r\nok",
    ],
)
def test_what_browsers_accept_is_no_fault(data: bytes) -> None:
    got = response()
    got.feed(data)
    assert (got.complete, got.take()) == (True, b"ok")


EXTENSIONS = [b";a", b"; a=1", b" ;a", b" ; a = 1 ; b", b';a="x; y"', b";", b"\t;\ta"]


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_the_extension_of_a_chunk_is_passed_over_however_it_is_written(extension: bytes) -> None:
    got = response()
    got.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5" + extension)
    got.feed(b"\r\na;b\nc\r\n0" + extension + b"\r\nX-Trailer: a; b\r\n\r\n")
    assert (got.complete, got.take()) == (True, b"a;b\nc")


def test_a_text_full_of_what_looks_like_extensions_is_taken_as_it_is() -> None:
    body = b"5; a=1\n" * 1000
    got = response()
    got.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    got.feed(b"%x; a\r\n" % len(body) + body)
    got.feed(b"\r\n0; a\r\n\r\n")
    assert (got.complete, got.take()) == (True, body)


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.2p1\r\n",
        b"<html>",
        b"\x16\x03\x01\x02\x00",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2; a\r\nokay\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
    ],
)
def test_what_is_not_http_is_malformed(data: bytes) -> None:
    with pytest.raises(BadAnswer) as bad:
        response().feed(data)
    assert bad.value.kind is FaultKind.MALFORMED


def test_what_came_before_the_nonsense_can_still_be_had() -> None:
    got = response()
    with pytest.raises(BadAnswer):
        got.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nnonsense\r\n")
    assert (got.status, got.take()) == (200, b"ok")


@pytest.mark.parametrize(
    "piece",
    [
        b"X-Pad: " + b"x" * 500,  # one header without end
        b"X-Pad: xxxxx\r\n",  # headers without end
        b"\r\nHTTP/1.1 103 Early Hints\r\n",  # interim responses without end
    ],
)
def test_headers_without_end_are_too_large(piece: bytes) -> None:
    got = response(head_limit=4096)
    got.feed(b"HTTP/1.1 103 Early Hints\r\n")
    fed = 0
    with pytest.raises(BadAnswer) as bad:  # noqa: PT012 - which of them it is matters less than that it is soon
        while fed < 100_000:
            got.feed(piece)
            fed += len(piece)
    assert bad.value.kind is FaultKind.TOO_LARGE
    assert fed < 5000


def test_headers_over_the_limit_are_too_large_even_in_one_read() -> None:
    got = response(head_limit=100)
    with pytest.raises(BadAnswer) as bad:
        got.feed(b"HTTP/1.1 200 OK\r\nX-Pad: " + b"x" * 200 + b"\r\nContent-Length: 0\r\n\r\nbody")
    assert bad.value.kind is FaultKind.TOO_LARGE


def test_trailers_without_end_are_too_large() -> None:
    got = response(head_limit=4096)
    got.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n")
    with pytest.raises(BadAnswer) as bad:  # noqa: PT012 - likewise
        for _ in range(1000):
            got.feed(b"X-Pad: " + b"x" * 500)
    assert bad.value.kind is FaultKind.TOO_LARGE
    assert got.take() == b"ok"


def test_a_body_over_the_limit_is_too_large_and_not_kept() -> None:
    got = response(body_limit=1000)
    got.feed(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1000)
    with pytest.raises(BadAnswer) as bad:
        got.feed(b"y")
    assert bad.value.kind is FaultKind.TOO_LARGE
    assert got.take() == b"x" * 1000


@given(
    body=st.binary(max_size=300) | st.text("5a; \n\r", max_size=300).map(str.encode),
    chunked=st.booleans(),
    cuts=st.lists(st.integers(min_value=1, max_value=40), max_size=60),
    extension=st.sampled_from([b"", *EXTENSIONS]),
)
def test_how_the_bytes_are_cut_makes_no_difference(
    body: bytes, chunked: bool, cuts: list[int], extension: bytes
) -> None:
    head = b"HTTP/1.1 103 Hints\r\nX: 1\r\n\r\nHTTP/1.1 200 OK\r\nX-Long: value\r\n"
    if chunked:
        parts = [body[at : at + 7] for at in range(0, len(body), 7)]
        framed = b"".join(b"%x%b\r\n%b\r\n" % (len(part), extension, part) for part in parts)
        data = head + b"Transfer-Encoding: chunked\r\n\r\n" + framed + b"0" + extension + b"\r\n\r\n"
    else:
        data = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    got = response()
    came = b""
    for cut in cuts:
        got.feed(data[:cut])
        came += got.take()
        data = data[cut:]
    got.feed(data)
    assert came + got.take() == body
    assert got.complete
    assert dict(got.headers)[b"X-Long"] == b"value"


@pytest.mark.parametrize(
    "said",
    [
        b"RTSP/1.0 200 OK\r\n\r\n",
        b"ICE/1.0 200 OK\r\n\r\n",
        b"\r\nRTSP",
        b"hel",
        b"HTTP/1.1 000 None\r\n\r\n",
        b"HTTP/1.1 099 Low\r\n\r\n",
    ],
)
def test_what_only_looks_like_http_is_known_for_it_at_once(said: bytes) -> None:
    with pytest.raises(BadAnswer) as bad:
        response().feed(said)
    assert (bad.value.kind, bad.value.text) == (FaultKind.MALFORMED, "the answer is not HTTP")


def test_an_answer_may_come_byte_by_byte_and_behind_an_empty_line() -> None:
    got = response()
    for byte in b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx":
        got.feed(bytes([byte]))
    assert (got.status, got.complete, got.take()) == (200, True, b"x")
