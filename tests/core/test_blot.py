"""No part of a secret that tells anything is left, and nothing else is touched."""

import string

from hypothesis import given
from hypothesis import strategies as st

from monitor.core.blot import PIECE, Blot

SECRETS = st.text(string.ascii_letters + string.digits + "-_./+", min_size=6, max_size=80)
TEXTS = st.text(string.printable, max_size=200)


def pieces(secret: str) -> set[str]:
    length = min(len(secret), PIECE)
    return {secret[start : start + length] for start in range(len(secret) - length + 1)}


@given(st.lists(SECRETS, min_size=1, max_size=4), st.lists(st.one_of(TEXTS, st.integers(0, 3)), max_size=6))
def test_no_eight_letters_of_a_secret_are_left(secrets, parts):
    text = "".join(part if isinstance(part, str) else secrets[part % len(secrets)] for part in parts)
    left = Blot(secrets).hide(text)
    assert not any(piece in left for secret in secrets for piece in pieces(secret))


@given(SECRETS, st.data())
def test_a_part_of_a_secret_is_as_bad_as_all_of_it(secret, data):
    start = data.draw(st.integers(0, len(secret)))
    part = secret[start : data.draw(st.integers(start, len(secret)))]
    left = Blot([secret]).hide(f"<{part}>")
    assert left == ("<***>" if len(part) >= min(len(secret), PIECE) else f"<{part}>")


@given(st.text(string.ascii_lowercase + " \n", max_size=200))
def test_what_has_nothing_of_a_secret_in_it_stays(text):
    assert Blot(["SK-0123456789", "ABCDEF"]).hide(text) == text


def test_two_secrets_side_by_side_are_blotted_out_as_one():
    assert Blot(["abcdefghij", "0123456789"]).hide("x abcdefghij0123456789 y") == "x *** y"


def test_without_secrets_nothing_is_hidden():
    assert Blot([]).hide("all of it") == "all of it"
