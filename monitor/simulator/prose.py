"""Something to say: text cut into tokens, already escaped for JSON."""

import json

_TEXT = (
    "The harbour office keeps a log of every lamp on the coast. At dusk the keeper walks up the "
    "spiral stairs, trims the wick and writes down the minute at which the light was seen from the "
    "pier. Most evenings there is nothing to add. When fog comes in from the west the horn takes "
    "over, and the entry reads: lamp lit, not visible. That distinction matters – a lamp that "
    "burns and a lamp that can be seen are two different facts, and ships run aground on the "
    "difference. Once a season an inspector compares the book with the logs of the ferries. "
    "Where the two disagree, someone rows out to look. The café on the quay sells warm bread to "
    "whoever returns first, which may be why nobody minds the rowing. "
)
_LONGEST = 7
"""Characters of a token, its space included; a longer word is two tokens or more."""


def _cut(word: str) -> list[str]:
    spaced = " " + word
    return [spaced[n : n + _LONGEST] for n in range(0, len(spaced), _LONGEST)]


def escaped(text: str) -> str:
    """As it stands within the quotes of a JSON string."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


_TOKENS = [escaped(token) for word in _TEXT.split() for token in _cut(word)]
_TWICE = _TOKENS * 2


def tokens(start: int, stop: int) -> str:
    """Tokens `start` to `stop` of the endless text, escaped."""
    first = start % len(_TOKENS)
    count = stop - start
    if count <= len(_TOKENS):
        return "".join(_TWICE[first : first + count])
    return "".join(_TOKENS[(first + n) % len(_TOKENS)] for n in range(count))
