"""TLS that does not come to be, or does not hold."""

from typing import Any

from monitor.core.outcome import Outcome
from tests.faults.play import Case, End, When
from tests.faults.steps import (
    CHUNKED,
    HEAD,
    TICK,
    Piece,
    Shared,
    begun,
    chunk,
    drop_by_drop,
    for_ever,
    good,
    head,
    says,
)

TLS, OK, RESET = Outcome.TLS_FAILURE, Outcome.OK, Outcome.CONNECTION_RESET
TRUNCATED, FAILED = Outcome.TRUNCATED, Outcome.ASSERTION_FAILED
ONE = ("openai-chat", "anthropic")
"""What lies below is the same for all of them."""

GREETING = b"\x16\x03\x03\x40\x00\x02"
"""The beginning of a record of TLS that is said to be long."""


def _shows(certificate: str, words: str) -> Case:
    return Case(
        name=f"a certificate: {certificate}", certificate=certificate, play=says(HEAD, good), outcome=TLS, plain=TLS,
        says=words, models=ONE,
    )  # fmt: skip


def _shakes(name: str, *steps: Piece, **more: Any) -> Case:
    """The handshake itself goes wrong, so no certificate is ever shown."""
    usual: Shared = {
        "name": name,
        "when": When.ACCEPT,
        "certificate": "good",
        "play": says(*steps),
        "models": ONE,
    }
    return Case(**usual | more)


LATE: Shared = {
    "outcome": Outcome.CONNECT_TIMEOUT,
    "plain": Outcome.CONNECT_TIMEOUT,
    "says": "no TLS handshake",
}
NONE: Shared = {"outcome": TLS, "plain": TLS, "says": "TLS handshake"}

HANDSHAKES = (
    _shows("expired", "has expired"),
    _shows("not yet", "is not valid yet"),
    _shows("self-signed", "is self-signed"),
    _shows("stranger", "somebody this machine does not trust"),
    _shows("other host", "was made for another"),
    _shows("old", "no TLS handshake"),
    _shakes("plain HTTP where TLS is", HEAD, b"pong", **NONE),
    _shakes("garbage for a handshake", b"\x00" * 600, **NONE),
    _shakes("text for a handshake", b"hello, who is there?\n" * 9, End.HANG, **NONE),
    _shakes("an alert for a handshake", b"\x15\x03\x03\x00\x02\x02\x28", **NONE),
    _shakes("a handshake that is closed", 0.05, End.HALF, **NONE),
    _shakes("a handshake that is reset", 0.05, End.RESET, outcome=RESET, plain=RESET, says="broke the connection off"),
    _shakes("a handshake that says nothing", End.HANG, **LATE),
    _shakes("half a handshake", GREETING, End.HANG, **LATE),
    _shakes("a handshake drop by drop", play=drop_by_drop(GREETING + b"\0" * 900, 0.03), **LATE),
    _shakes("empty greetings for ever", play=for_ever(b"\x16\x03\x03\x00\x04\x00\x00\x00\x00", 0.01), **LATE),
    Case(name="a certificate of ours is wanted", certificate="mutual", play=says(HEAD, good), outcome=TLS, plain=TLS,
         says="TLS", models=ONE),
)  # fmt: skip

LATER = (
    Case(name="a good answer over TLS", certificate="good", play=says(HEAD, good), outcome=OK, plain=OK),
    Case(name="TLS by name", certificate="good", play=says(HEAD, good), outcome=OK, plain=OK, host="localhost", models=ONE,
         loose=False),
    Case(name="a certificate that soon expires", certificate="soon", play=says(HEAD, good), loose=False,
         plain=Outcome.CERTIFICATE_EXPIRING, says_plain="expires in", settings="expect = { certificate_days = 14 }"),
    Case(name="TLS without goodbye at the end", certificate="good", play=says(HEAD, good, End.RUDE), outcome=OK, plain=OK,
         models=ONE),
    Case(name="TLS without goodbye in the middle", certificate="good", outcome=TRUNCATED, plain=TRUNCATED, models=ONE,
         play=says(CHUNKED, lambda v: chunk(begun(v)), TICK, End.RUDE), says="closed the connection in the middle"),
    Case(name="a goodbye in the middle", certificate="good", outcome=TRUNCATED, plain=TRUNCATED, models=ONE,
         play=says(CHUNKED, lambda v: chunk(begun(v))), says="closed the connection in the middle"),
    Case(name="a reset within TLS", certificate="good", outcome=RESET, plain=RESET, models=ONE,
         play=says(CHUNKED, lambda v: chunk(begun(v)), TICK, End.RESET), says="in the middle of its answer"),
    Case(name="rubbish within TLS", certificate="good", outcome=TRUNCATED, plain=TRUNCATED, models=ONE,
         play=says(CHUNKED, lambda v: chunk(begun(v)), TICK, End.RUBBISH), says="the TLS connection to"),
    Case(name="silence within TLS", certificate="good", play=says(End.HANG), outcome=Outcome.FIRST_TOKEN_TIMEOUT,
         plain=Outcome.TOTAL_TIMEOUT, models=ONE, says="no reply within", says_plain="no answer from"),
    Case(name="a flood within TLS", certificate="good", play=for_ever(b": flood\n" * 2000, after=[HEAD]), models=("openai-chat",), patient=True,
         outcome=Outcome.MALFORMED_RESPONSE, says="a body of more than"),
    Case(name="headers for ever within TLS", certificate="good", outcome=Outcome.MALFORMED_RESPONSE, models=ONE,
         plain=Outcome.MALFORMED_RESPONSE, play=for_ever(b"X-More: 1234567\r\n" * 99, after=[head()[:-2]]),
         says="bytes of headers"),
)  # fmt: skip

NAMES = (
    Case(name="a name that cannot be", host="nobody.onion", play=says(HEAD, good), outcome=Outcome.DNS_FAILURE, loose=False,
         plain=Outcome.DNS_FAILURE, says="the name nobody.onion does not exist", models=ONE),
    Case(name="no address of that family", settings="ip = 6", play=says(HEAD, good), outcome=Outcome.DNS_FAILURE, loose=False,
         plain=Outcome.DNS_FAILURE, says="has no IPv6 address", models=ONE),
    Case(name="by name", host="localhost", play=says(HEAD, good), outcome=OK, plain=OK, models=ONE, loose=False),
)  # fmt: skip

CASES = (*HANDSHAKES, *LATER, *NAMES)
