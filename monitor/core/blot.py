"""Blotting secrets out of what a server said, however it writes them, and where it quotes only a part."""

import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

SHORTEST_SECRET = 4
"""Characters. A shorter one would be found in half of all words, and hide them instead of itself."""

PIECE = 8
"""So many consecutive characters of a secret are as bad as all of it; fewer tell nothing."""
_INSTEAD = "***"


class Blot:
    """Knows the pieces of some secrets. Shorter secrets than `PIECE` are blotted out as a whole."""

    __slots__ = ("_pieces",)

    def __init__(self, forms: Iterable[str]) -> None:
        """`forms` are the secrets in every way in which they may be written; none is empty."""
        pieces: dict[int, set[str]] = {}
        for form in forms:
            length = min(len(form), PIECE)
            known = pieces.setdefault(length, set())
            known.update(form[start : start + length] for start in range(len(form) - length + 1))
        self._pieces = pieces

    def hide(self, text: str) -> str:
        """The text with `***` for every run of characters that is made of such pieces."""
        runs = self._runs(text)
        if not runs:
            return text
        out: list[str] = []
        end = 0
        for first, last in runs:
            out += (text[end:first], _INSTEAD)
            end = last
        return "".join((*out, text[end:]))

    def _runs(self, text: str) -> list[tuple[int, int]]:
        """Where pieces lie, those that touch or overlap as one; in order."""
        found = sorted(
            (start, start + length)
            for length, known in self._pieces.items()
            for start in range(len(text) - length + 1)
            if text[start : start + length] in known
        )
        runs: list[tuple[int, int]] = []
        for first, last in found:
            if runs and first <= runs[-1][1]:
                runs[-1] = runs[-1][0], max(runs[-1][1], last)
            else:
                runs.append((first, last))
        return runs


def forms(secret: str) -> Iterator[str]:
    """The spellings in which a secret may come back: as it is, in JSON, in a `repr`, in a URL, in base64."""
    if len(secret) < SHORTEST_SECRET:
        return
    raw = secret.encode("utf-8", "surrogatepass")
    for quoted in (secret, repr(secret)[1:-1], repr(raw)[2:-1]):
        in_json = json.dumps(quoted)[1:-1]
        # PHP, and whoever writes JSON into a page, escape slashes too.
        yield from (quoted, repr(quoted)[1:-1], in_json, in_json.replace("/", r"\/"))
    for quoted in (quote(raw), quote(raw, safe=""), quote_plus(raw)):
        yield from (quoted, _with_small_hex(quoted))
    yield from _base64_forms(raw)


def _with_small_hex(quoted: str) -> str:
    first, *others = quoted.split("%")
    return "".join([first, *(f"%{part[:2].lower()}{part[2:]}" for part in others)])


def _base64_forms(raw: bytes) -> Iterator[str]:
    """What `raw` looks like within something longer, e.g. `user:password` of Basic auth:
    three ways, by how many bytes stand before it; without the ends that its neighbours share.
    """
    for before, shared in ((0, 0), (1, 2), (2, 3)):
        padded = bytes(before) + raw
        whole = len(padded) * 8 // 6
        for encode in (b64encode, urlsafe_b64encode):
            form = encode(padded).decode()[shared:whole]
            if len(form) >= SHORTEST_SECRET:
                yield form
