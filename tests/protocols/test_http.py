"""Plain HTTP checks."""

from datetime import timedelta

import pytest
from pydantic import ValidationError

from monitor.config.secrets import SecretText
from monitor.core.observation import Timer, Usage
from monitor.core.wire import Fault, FaultKind, Phase
from tests.protocols.replay import KEY, START, Piece, Recording, Replay, look, look_of

pytestmark = pytest.mark.anyio

URL = "https://acme.example/health?deep=1"
HEADERS = START + 0.161


def page(**values):
    return look_of("http", **{"url": URL} | values)


def answered(*reads: bytes, status: int = 200, **more) -> Recording:
    return Recording([Piece(read) for read in reads], status=status, **more)


async def test_a_good_answer_is_its_status_its_time_and_its_certificate():
    seen = await look(page(), answered(b"fine", b"!"))
    assert (seen.status, seen.fault, seen.body, seen.body_matches) == (200, None, "", None)
    assert seen.certificate_days == 60.0
    assert seen.timeline.first_byte == pytest.approx(HEADERS + 0.010)
    assert seen.timeline.end == pytest.approx(HEADERS + 0.020)


async def test_an_empty_body_ends_with_the_headers():
    seen = await look(page(), answered(status=204))
    assert seen.timeline.end == pytest.approx(HEADERS)


async def test_a_body_ends_when_it_is_said_to_and_not_with_its_last_byte():
    for reads in ([b"fine"], []):
        seen = await look(page(), answered(*reads, ending_after=0.4))
        last = HEADERS + 0.010 * len(reads)
        assert seen.timeline.end == pytest.approx(last + 0.4)
        assert seen.timeline.end_earliest == pytest.approx(last + 0.399)


async def test_the_end_is_exact_where_its_stamp_is_its_own():
    seen = await look(page(), answered(b"fine", b"!"))
    assert seen.timeline.end_earliest == seen.timeline.end
    unstamped = Recording([Piece(b"fine"), Piece(b"!", stamped=False)])
    seen = await look(page(), unstamped)
    assert seen.timeline.end_earliest == pytest.approx(seen.timeline.end - 0.002)


async def test_who_was_cut_off_has_no_end_to_be_exact_about():
    seen = await look(page(), answered(b"fi", ending=FaultKind.RESET))
    assert seen.timeline.end_earliest is None


async def test_the_request():
    wire = Replay(answered())
    at = page(method="HEAD", headers={"X-Key": SecretText("${env:KEY}"), "accept": SecretText("text/html")})
    await look(at, wire=wire)
    request = wire.requests[0]
    assert (request.method, request.url, request.body) == ("HEAD", URL, b"")
    assert request.headers["X-Key"] == KEY
    assert request.headers["User-Agent"].startswith("uptoken/")
    assert [name for name in request.headers if name.lower() == "accept"] == ["accept"]


@pytest.mark.parametrize(
    ("reads", "content_type", "found"),
    [
        ([b"all is o", b"k here"], "text/html", True),
        ([b"all is OK"], "text/html", False),
        ([], "text/html", False),
        ([b"x" * 700_000, b"x" * 300_000 + b"ok"], "text/html", True),
    ],
)
async def test_the_body_is_searched_across_reads_letter_by_letter(reads, content_type, found):
    recording = answered(*reads, headers={"content-type": content_type})
    seen = await look(page(expect={"body_contains": "ok"}), recording)
    assert seen.body_matches is found
    assert bool(seen.body) is (not found and bool(reads))


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ("grün".encode(), "text/html"),
        ("grün".encode("latin-1"), "text/html; charset=ISO-8859-1"),
        ("grün".encode(), "text/html; charset=no-such-thing"),
        ("grün".encode(), 'text/html; charset="utf-8"'),
    ],
)
async def test_the_body_is_searched_in_its_own_characters(body, content_type):
    seen = await look(
        page(expect={"body_contains": "grün"}), answered(body, headers={"content-type": content_type})
    )
    assert seen.body_matches is True


async def test_an_endless_body_is_read_in_part():
    chunk = Piece(b"x" * 16_384, 0.001)
    plain = await look(page(), Recording([chunk] * 10_000))
    assert plain.timeline.end == pytest.approx(HEADERS + 0.004)
    searched = await look(page(expect={"body_contains": "ok"}), Recording([chunk] * 10_000))
    assert searched.timeline.end == pytest.approx(HEADERS + 0.064)
    assert searched.body_matches is False
    assert (plain.fault, searched.fault) == (None, None)


async def test_an_unexpected_status_keeps_its_body_clean_and_without_our_key():
    at = page(headers={"X-Key": SecretText("${env:KEY}")})
    seen = await look(at, answered(f"down\x00\n{KEY}".encode() + b"\xff" * 5000, status=500))
    assert seen.body.startswith("down\ufffd ***\ufffd")
    assert len(seen.body) == 2048 - len(KEY) + len("***")


async def test_an_expected_status_needs_no_evidence():
    seen = await look(page(expect={"status": [404, "500-503"]}), answered(b"gone", status=404))
    assert seen.body == ""


@pytest.mark.parametrize("kind", [FaultKind.RESET, FaultKind.CLOSED])
async def test_a_body_that_breaks_off_is_a_fault_beside_its_status(kind):
    seen = await look(page(), answered(b"half", ending=kind))
    assert seen.status == 200
    assert seen.fault.kind is kind
    assert seen.timer is None


async def test_a_body_that_does_not_end_is_too_late():
    seen = await look(page(), answered(b"half", ending="open"))
    assert (seen.fault.kind, seen.timer) == (FaultKind.TIMEOUT, Timer.TOTAL)
    assert seen.timeline.end == pytest.approx(START + 30.0)
    silent = await look(page(), Recording(headers_after=60.0))
    assert (silent.fault.phase, silent.timer, silent.status) == (Phase.HEADERS, Timer.TOTAL, None)


async def test_a_fault_before_the_connection_stood_is_no_timer_of_ours():
    fault = Fault(FaultKind.TIMEOUT, Phase.CONNECT, "no connection within 10 s")
    seen = await look(page(), Recording(refused=fault))
    assert (seen.fault, seen.timer) == (fault, None)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (200, {200}),
        ("204", {204}),
        ("200-203", {200, 201, 202, 203}),
        ([200, "301-302", "404"], {200, 301, 302, 404}),
    ],
)
def test_the_expected_status_is_a_number_a_range_or_a_list(status, expected):
    assert page(expect={"status": status}).expect.status == expected


@pytest.mark.parametrize("status", [99, 600, "2xx", "299-200", [], True, 200.0, "", [[200]], None, "200-"])
def test_a_status_that_cannot_be_is_refused(status):
    with pytest.raises(ValidationError):
        page(expect={"status": status})


@pytest.mark.parametrize(
    "url", ["acme.example", "ftp://acme.example", "https://", "http://u:p@acme.example/"]
)
def test_a_url_that_cannot_be_asked_is_refused(url):
    with pytest.raises(ValidationError):
        page(url=url)


def test_what_is_expected_is_told_in_the_words_of_the_core():
    at = page(expect={"elapsed": "800ms", "certificate_days": 14, "body_contains": "ok"})
    assert at.expect.elapsed_ms == timedelta(milliseconds=800) / timedelta(milliseconds=1)
    assert at.expect.certificate_days == 14
    assert at.expect.body_contains == "ok"
    assert at.expect.status == frozenset(range(200, 300))
    assert at.worst_case == Usage(input_tokens=0, output_tokens=0)
    assert at.model is None


@pytest.mark.parametrize(
    "written", ["Bearer ${env:KEY}", f"Bearer {KEY}", "Token ${env:KEY}, again ${env:KEY}"]
)
async def test_a_key_in_a_header_of_ours_is_not_kept_without_the_words_around_it_either(written):
    at = page(headers={"Authorization": SecretText(written)}, expect={"body_contains": "fine"})
    said = {"x-request-id": f"for {KEY}", "location": f"/?key={KEY}"}
    seen = await look(at, answered(f"wrong key: {KEY}!".encode(), status=401, headers=said))
    assert KEY not in repr(seen)
    assert seen.body == "wrong key: ***!"


def test_a_key_in_the_query_is_not_kept_with_what_is_learnt():
    first = page(url=f"https://acme.example/health?probe=1&api_key={KEY}&x=2")
    second = page(url="https://acme.example/health?probe=1&api_key=another-4711&x=2")
    assert KEY not in first.identity
    assert first.identity != second.identity
    assert first.identity == page(url=f"https://acme.example/health?probe=1&api_key={KEY}&x=2").identity
    assert page(url="https://acme.example/?probe=1").identity == "http https://acme.example/?probe=1"
