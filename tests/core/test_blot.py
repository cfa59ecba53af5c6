"""No part of a secret that tells anything is left, however it is written, and nothing else is touched."""

import html
import json
import string
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import fields, replace
from time import perf_counter
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.blot import PIECE, Blot, cleared
from monitor.core.instant import Instant, Span
from monitor.core.observation import Observation, VendorError
from monitor.core.report import Heard, Report, Rhythm, Standing
from monitor.core.timeline import Timeline
from monitor.core.wire import Certificate, Fault, FaultKind, Phase

KEY = "Zq7+Wv/9bXfT3mLkR5nY8cHdJ2gP4sQa7uEi=="
SOME = st.text(string.ascii_letters + string.digits + "-_./+", min_size=6, max_size=80)
TEXTS = st.text(string.printable, max_size=200)


@st.composite
def keys(draw: st.DrawFn) -> str:
    """As vendors make them: a digit is never far, nor is a letter."""
    groups = draw(st.lists(st.tuples(*[st.sampled_from(string.ascii_letters)] * 3), min_size=7, max_size=15))
    return "".join("".join(group) + draw(st.sampled_from(string.digits)) for group in groups)


def spelled(text: str, form: str) -> str:
    return "".join(form.format(ord(letter)) for letter in text)


SPELLINGS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "in capitals": str.upper,
    "in small letters": str.lower,
    "in a URL": lambda key: quote(key, safe=""),
    "in a URL within a URL": lambda key: quote(quote(key, safe=""), safe=""),
    "in a URL, all of it": lambda key: spelled(key, "%{:02X}"),
    "in JSON escapes": lambda key: spelled(key, "\\u{:04x}"),
    "in JSON within JSON": lambda key: json.dumps(json.dumps({"said": spelled(key, "\\u{:04x}")})),
    "in escapes of C": lambda key: spelled(key, "\\x{:02x}"),
    "in JavaScript": lambda key: spelled(key, "\\u{{{:x}}}"),
    "in HTML": lambda key: html.escape(key).replace("/", "&#x2F;").replace("+", "&#43;").replace("=", "&equals;"),
    "in numbers of HTML": lambda key: spelled(key, "&#{};"),
    "in hexadecimal digits": lambda key: key.encode().hex(),
    "in hexadecimal pairs": lambda key: key.encode().hex(":").upper(),
    "in base64": lambda key: b64encode(key.encode()).decode(),
    "in Basic": lambda key: b64encode(b"user:" + key.encode()).decode(),
    "in base64 of a URL": lambda key: urlsafe_b64encode(b"u:" + key.encode()).decode(),
    "letter by letter": " ".join,
    "cut by dashes": lambda key: f"{key[:10]}-{key[10:20]}-{key[20:]}",
    "without its first": lambda key: key[1:],
    "without its last": lambda key: key[:-1],
    "its first half": lambda key: key[: len(key) // 2],
    "its second half": lambda key: key[len(key) // 2 :],
    "masked in the middle": lambda key: f"{key[:8]}****{key[-9:]}",
}  # fmt: skip


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=list(SPELLINGS))
def test_a_key_is_hidden_in_every_spelling_and_the_words_around_it_stay(
    spelling: Callable[[str], str],
) -> None:
    left = Blot([KEY]).hide(f"Incorrect key {spelling(KEY)} of project 4711 at https://acme.example/keys")
    shown = left.removeprefix("Incorrect key ").removesuffix(" of project 4711 at https://acme.example/keys")
    assert "***" in shown
    assert len(shown.replace("***", "").replace('{\\"said\\": \\"', "")) <= 10


@given(st.lists(keys(), min_size=1, max_size=3), st.lists(st.one_of(TEXTS, st.integers(0, 2)), max_size=6))
def test_no_eight_letters_of_a_key_are_left(keys: list[str], parts: list[str | int]) -> None:
    text = "".join(part if isinstance(part, str) else keys[part % len(keys)] for part in parts)
    left = Blot(keys).hide(text)
    assert not any(key[at : at + PIECE] in left for key in keys for at in range(len(key) - PIECE + 1))


@given(keys(), st.data())
def test_a_part_of_a_key_is_as_bad_as_all_of_it(key: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(key)))
    part = key[start : data.draw(st.integers(start, len(key)))]
    assert Blot([key]).hide(f"<{part}>") == ("<***>" if len(part) >= PIECE else f"<{part}>")


@given(SOME, TEXTS, TEXTS)
def test_a_whole_secret_is_never_left_whatever_it_is_made_of(secret: str, before: str, behind: str) -> None:
    assert secret not in Blot([secret]).hide(f"{before} {secret} {behind}")


@given(st.text(string.ascii_lowercase + " \n", max_size=200))
def test_what_has_nothing_of_a_secret_in_it_stays(text: str) -> None:
    assert Blot(["SK-0123456789", "ABCDEF", KEY]).hide(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "The inference service of this production region is overloaded",
        "invalid_api_key: see https://hooks.acme.example/services for openai-organization",
        "no connection to localhost port 8080 within 10 s",
        "postgresql has gone away on 2026-11-22",
        "50% of \\u0041 & more",
        "short: pin",
    ],
)
def test_words_that_a_secret_happens_to_hold_stay_readable(text: str) -> None:
    secrets = [
        "my-openai-production-inference-api-key-77",
        "postgresql://uptoken:hunter22@localhost:8080/uptoken",
        "https://hooks.acme.example/services/T0123456789/B0123456789",
        "backup-2026-11-22",
        "pin",
    ]
    assert Blot(secrets).hide(text) == text


def test_of_a_url_is_hidden_what_tells() -> None:
    blot = Blot(["https://hooks.acme.example/services/T0123456789?token=swordfish"])
    assert (
        blot.hide("sent to hooks.acme.example: T0123456789, swordfish")
        == "sent to hooks.acme.example: ***, ***"
    )
    assert Blot(["mailto://me:p%40ssword@acme.example"]).hide("not p@ssword, me") == "not ***, me"


def test_what_everybody_may_know_is_no_secret() -> None:
    blot = Blot(["sk-gpt-4.1-nano-0815-abcd", "gemini"], ["openai/gpt-4.1-nano", "gemini-2.5"])
    assert blot.hide("gpt-4.1-nano of gemini") == "gpt-4.1-nano of gemini"
    assert blot.hide("sk-gpt-4.1-nano-0815-abcd") == "***"


def test_two_secrets_side_by_side_are_blotted_out_as_one() -> None:
    assert Blot(["abcdefghij", "0123456789"]).hide("x abcdefghij0123456789 y") == "x *** y"


def test_without_secrets_nothing_is_hidden() -> None:
    assert Blot([]).hide("all of it") == "all of it"


@given(st.text("\\u0041%&#x;25 ", max_size=60))
def test_escapes_that_hold_no_secret_stay_as_they_are(text: str) -> None:
    assert Blot([KEY]).hide(text) == text
    assert Blot([KEY]).hide(f"{text} {KEY} {text}").startswith(f"{text} ")


# Observations


def told(said: str) -> Observation:
    """An observation in which every text is that."""
    return Observation(
        timeline=Timeline(start=0.0),
        fault=Fault(FaultKind.RESET, Phase.BODY, said),
        headers={f"x-ratelimit-{said}": said},
        body=said,
        request_id=said,
        error=VendorError(code=said, type=said, message=said, reasons=(said,), request_id=said),
        malformed=said,
        answer=said,
        finish_reason=said,
        served_model=said,
        fingerprint=said,
        upstream=said,
        learnt={said: said},
        certificate=Certificate(days=1.0, first=said, issuer=said, version=said),
        answers=(said,),
        missing=(said,),
        heard=Heard(
            rhythm=Rhythm(every=Span(1), grace=Span(1)),
            standing=Standing.FAIL,
            report=Report(endpoint=said, at=Instant(0), message=said),
        ),
    )


def test_no_text_of_an_observation_keeps_a_secret() -> None:
    seen = cleared(told(f"of {KEY}!"), Blot([KEY]))
    assert KEY[:PIECE] not in repr(seen)
    assert repr(seen) == repr(told("of ***!"))


def test_every_kind_of_text_is_in_that_test() -> None:
    given = told("x")
    without = {field.name for field in fields(given) if "str" in str(field.type)} - {"trace"}
    assert all(getattr(given, name) for name in without)


def test_the_halves_of_a_key_are_hidden_wherever_they_stand() -> None:
    seen = replace(told("x"), request_id=KEY[19:], body=f"tail {KEY[:19]}", fingerprint=KEY[19:])
    left = cleared(seen, Blot([KEY]))
    assert (left.request_id, left.body, left.fingerprint) == ("***", "tail ***", "***")


def test_an_observation_without_secrets_is_the_same_one() -> None:
    seen = told("all is well")
    assert cleared(seen, Blot([KEY])) is seen


@pytest.mark.parametrize("unit", ["\\", "%25", "&amp;", "&#", KEY[:5], KEY, "\\u005a", "\ufffd", "aaaa"])
def test_a_text_that_is_ten_times_as_long_takes_no_hundred_times_as_long(unit: str) -> None:
    blot = Blot([KEY, "a" * 64, "\\" * 12, "%25" * 8])

    def took(length: int) -> float:
        text = unit * (length // len(unit))
        began = perf_counter()
        blot.hide(text)
        return perf_counter() - began

    # The machine may stop for a moment: the best of several counts.
    assert min(took(50_000) for _ in range(5)) < 40 * min(took(5_000) for _ in range(5))
