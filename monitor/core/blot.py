"""Blotting secrets out of what a server said, also where it quotes only a part of one."""

from collections.abc import Iterable

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
        found: list[tuple[int, int]] = []
        for length, known in self._pieces.items():
            places = range(len(text) - length + 1)
            found += [(at, at + length) for at in places if text[at : at + length] in known]
        found.sort()
        runs: list[tuple[int, int]] = []
        for first, last in found:
            if runs and first <= runs[-1][1]:
                runs[-1] = runs[-1][0], max(runs[-1][1], last)
            else:
                runs.append((first, last))
        return runs
