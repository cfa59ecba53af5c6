"""Blotting secrets out of what others say: one rule, however they are written, and in part.

A text is read as it is meant, without its escapes, and compared twice. As it stands: eight
characters of a secret in a row, or of its base64, are as bad as all of it. And by its letters and
digits alone, in any case and whatever stands between them: twelve in a row, or sixteen of its
hexadecimal digits. What could be words is less: of letters alone only the beginning tells, sixteen
in a row, or all of them. What everybody may know tells nothing.
"""

import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from html.entities import html5
from string import ascii_letters, digits
from typing import Any

from monitor.core.observation import Observation, Usage

PIECE = 8
"""So many consecutive characters of a secret are as bad as all of it; fewer tell nothing."""
SHORTEST = 6
"""Characters. A shorter secret would blot out ordinary words instead of itself."""
SECRET_PARAMETER = re.compile(
    r"([?&][^=&]*(?:auth|cred|key|token|secret|sig|pass|pwd|code)[^=&]*=)([^&]+)", re.IGNORECASE
)
"""What stands in a query behind a name that tells of a secret, and that name."""

_INSTEAD = "***"
_MIXED, _LONG = 12, 16
"""Letters and digits in a row that tell by themselves: of both kinds, and of any."""
_GRAM, _BARE_GRAM = 5, 8
"""Of a piece one of these is found by whoever looks only at every fourth, or fifth, character."""

_SMALL = bytes(range(256)).lower()
_KEPT = frozenset(ascii_letters + digits)
_NEITHER = bytes(byte for byte in range(256) if chr(byte) not in _KEPT)
_BOTH = re.compile(r"\d.*[A-Za-z]|[A-Za-z].*\d|[a-z][A-Z]", re.ASCII | re.DOTALL)
_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_PASSWORD = re.compile(r"://[^/@]*:([^/@]+)@")
_BETWEEN = re.compile(r"[/:@?&=#,;]+")
_BEGINNING = re.compile(r"\A(?=.{0,7}[A-Za-z])(?=.{0,7}[^A-Za-z]).{8}", re.DOTALL)
"""`PIECE` characters, not letters alone, nor a date."""
_SCHEME = re.compile(r"\A[A-Za-z]+ +([^ ]+)\Z")
"""As in `Bearer …`."""

_DEEPEST = 3
"""Times that an escape of one kind is looked for within one of another. Of its own kind any depth is."""
_ESCAPE = re.compile(
    r"\\+u([0-9a-f]{4})|\\+u\{([0-9a-f]{1,6})\}|\\+x([0-9a-f]{2})|%(?:25)*u([0-9a-f]{4})|%(?:25)*([0-9a-f]{2})"
    r"|&(?:amp;)*\#x([0-9a-f]{1,6});?|&(?:amp;)*\#([0-9]{1,7});?|&(?:amp;)*([a-z]{2,8};)"
    r"|\\+([/\"'&])|(\\)\\+(?![nrtbf])|\\+[nrtbf]",
    re.ASCII | re.IGNORECASE,
)
_DECIMAL, _NAMED = 7, 8


class Blot:
    """Knows some secrets, in every way in which they may be written.

    What it costs grows with the text, not with their number; a text that has nothing of them in it
    costs little.
    """

    __slots__ = ("_bare_grams", "_bare_pieces", "_bare_wholes", "_grams", "_pieces", "_wholes")

    def __init__(self, secrets: Iterable[str], public: Iterable[str] = ()) -> None:
        """`public` is what everybody may know, such as names and hosts, though a secret repeat it."""
        self._pieces: set[str] = set()
        self._bare_pieces: dict[int, set[str]] = {_MIXED: set(), _LONG: set()}
        self._wholes: set[str] = set()
        """Too short, or too much of a word, to be looked for by its pieces."""
        self._bare_wholes: set[str] = set()
        for secret in secrets:
            self._learn_whole(secret)
            for part in _parts(secret):
                self._learn(part)
        found = self._bare_pieces[_LONG]
        self._bare_wholes = {whole for whole in self._bare_wholes if whole[:_LONG] not in found}
        self._forget(public)
        self._grams = frozenset(gram for piece in self._pieces for gram in _windows(piece, _GRAM))
        self._bare_grams = frozenset(
            gram
            for pieces in self._bare_pieces.values()
            for piece in pieces
            for gram in _windows(piece, _BARE_GRAM)
        )

    def hide(self, text: str) -> str:
        """The text with `***` for every run of characters that tells of a secret."""
        plain, places = _unescaped(text)
        if self._is_clear(plain):
            return text
        out: list[str] = []
        end = 0
        for run in self._runs(plain):
            first, last = run if places is None else (places[run[0]], places[run[1]])
            out += (text[end:first], _INSTEAD)
            end = last
        return "".join((*out, text[end:]))

    def is_clear(self, text: str) -> bool:
        """Nothing of a secret is in it; a quick look, which may err on the other side."""
        return self._is_clear(_unescaped(text)[0])

    def _is_clear(self, plain: str) -> bool:
        bare = _bare(plain)
        return (
            self._grams.isdisjoint(_every(plain, _GRAM, PIECE))
            and self._bare_grams.isdisjoint(_every(bare, _BARE_GRAM, _MIXED))
            and not any(whole in plain for whole in self._wholes)
            and not any(whole in bare for whole in self._bare_wholes)
        )

    def _runs(self, plain: str) -> list[tuple[int, int]]:
        """Where it tells of a secret, what touches or overlaps as one; in order."""
        runs: list[tuple[int, int]] = []
        for first, last in sorted(self._found(plain)):
            if runs and first <= runs[-1][1]:
                runs[-1] = runs[-1][0], max(runs[-1][1], last)
            else:
                runs.append((first, last))
        return runs

    def _found(self, plain: str) -> Iterator[tuple[int, int]]:
        bare = _bare(plain)
        places = [at for at, letter in enumerate(plain) if letter in _KEPT]
        yield from _pieces_in(plain, PIECE, self._pieces)
        for whole in self._wholes:
            yield from _all_of(whole, plain)
        for length, pieces in self._bare_pieces.items():
            for first, last in _pieces_in(bare, length, pieces):
                yield places[first], places[last - 1] + 1
        for whole in self._bare_wholes:
            for first, last in _all_of(whole, bare):
                yield places[first], places[last - 1] + 1

    # What it knows

    def _learn_whole(self, secret: str) -> None:
        for text in _readings(secret):
            bare = _bare(text)
            if len(bare) >= _MIXED or (len(bare) >= PIECE and _BOTH.search(bare)):
                self._bare_wholes.add(bare)
            else:
                self._wholes |= {text, text.lower(), text.upper()}

    def _learn(self, part: str) -> None:
        """A secret of which a part is a secret too."""
        self._learn_whole(part)
        for text in _readings(part):
            raw, bare = text.encode("utf-8", "surrogatepass"), _bare(text)
            self._pieces.update(piece for piece in _windows(text, PIECE) if _BOTH.search(piece))
            self._pieces.update(_BEGINNING.findall(text))
            for form in base64_forms(raw):
                self._pieces.update(_windows(form, PIECE))
                self._wholes.update({form} if len(form) < PIECE else ())
            mixed = (piece for piece in _windows(bare, _MIXED) if _BOTH.search(piece))
            self._bare_pieces[_MIXED].update(mixed)
            self._bare_pieces[_LONG].update(_windows(bare, _LONG), _windows(raw.hex(), _LONG))
            self._bare_wholes.update({raw.hex()} if len(raw) < PIECE else ())

    def _forget(self, public: Iterable[str]) -> None:
        texts = set(public)
        bares = set(map(_bare, texts))
        self._pieces.difference_update(piece for text in texts for piece in _windows(text, PIECE))
        for length, pieces in self._bare_pieces.items():
            pieces.difference_update(piece for bare in bares for piece in _windows(bare, length))
        known, known_bare = "\n".join(texts), "\n".join(bares)
        self._wholes = {whole for whole in self._wholes if whole not in known}
        self._bare_wholes = {whole for whole in self._bare_wholes if whole not in known_bare}


def _parts(secret: str) -> Iterator[str]:
    """What is secret in it by itself. Most of a URL, such as its host, is not."""
    if _URL.match(secret):
        told = [*_PASSWORD.findall(secret), *secrets_in(secret)]
        told += [part for part in _BETWEEN.split(secret) if len(part) >= PIECE and _BOTH.search(part)]
    else:
        told = _SCHEME.findall(secret) or [secret]
    return (part for part in told if len(part) >= SHORTEST)


def _readings(secret: str) -> set[str]:
    """As it is, as it is found once a text is read without escapes, and so in a URL."""
    in_bytes = secret.encode("utf-8", "surrogatepass").decode("latin-1")
    return {text for text in (secret, _unescaped(secret)[0], in_bytes) if len(text) >= SHORTEST}


def secrets_in(url: str) -> list[str]:
    """What stands in its query behind telling names."""
    return [value for _, value in SECRET_PARAMETER.findall(url)]


def base64_forms(raw: bytes) -> Iterator[str]:
    """What `raw` looks like within something longer, e.g. `user:password` of Basic auth:
    three ways, by how many bytes stand before it; without the ends that its neighbours share.
    """
    for before, shared in ((0, 0), (1, 2), (2, 3)):
        padded = bytes(before) + raw
        whole = len(padded) * 8 // 6
        for encode in (b64encode, urlsafe_b64encode):
            yield encode(padded).decode()[shared:whole]


# What an observation holds


def cleared(seen: Observation, blot: Blot) -> Observation:
    """The same facts without any secret in them. Its trace is cleaned by whoever shows it."""
    if blot.is_clear("\n".join(_texts([getattr(seen, name) for name in _TOLD]))):
        return seen
    return replace(seen, **{name: _hidden(getattr(seen, name), blot) for name in _TOLD})


_TOLD = [name for name in Observation.__dataclass_fields__ if name not in ("timeline", "trace")]


def _texts(values: Iterable[Any]) -> list[str]:
    """All texts in them."""
    texts: list[str] = []
    for value in values:
        if type(value) is str:
            texts.append(value)
        elif not value or type(value) in _NO_TEXT:
            continue
        elif isinstance(value, Mapping):
            texts += _texts([*value, *value.values()])
        elif isinstance(value, tuple):
            texts += _texts(value)
        else:
            texts += _texts(getattr(value, name) for name in getattr(value, "__dataclass_fields__", ()))
    return texts


_NO_TEXT = (int, bool, float, Usage)


def _hidden(value: Any, blot: Blot) -> Any:
    """The same without secrets in any of its texts."""
    if type(value) is str:
        return blot.hide(value)
    if isinstance(value, tuple):
        return tuple(_hidden(part, blot) for part in value)
    if isinstance(value, Mapping):
        return {_hidden(name, blot): _hidden(part, blot) for name, part in value.items()}
    names = getattr(value, "__dataclass_fields__", ())
    return replace(value, **{name: _hidden(getattr(value, name), blot) for name in names}) if names else value


# Reading


def _every(text: str, gram: int, piece: int) -> list[str]:
    """As many of its grams as one of any piece is surely among."""
    return [text[at : at + gram] for at in range(0, len(text) - gram + 1, piece - gram + 1)]


def _windows(text: str, length: int) -> Iterator[str]:
    return (text[at : at + length] for at in range(len(text) - length + 1))


def _pieces_in(text: str, length: int, pieces: set[str]) -> Iterator[tuple[int, int]]:
    """Where they lie, those that overlap as one."""
    begin = end = -1
    for at in [at for at in range(len(text) - length + 1) if text[at : at + length] in pieces]:
        if at > end:
            if end > 0:
                yield begin, end
            begin = at
        end = at + length
    if end > 0:
        yield begin, end


def _all_of(whole: str, text: str) -> Iterator[tuple[int, int]]:
    at = text.find(whole)
    while at >= 0:
        yield at, at + len(whole)
        at = text.find(whole, at + len(whole))


def _bare(text: str) -> str:
    """Its letters and digits, all small."""
    return text.encode("ascii", "ignore").translate(_SMALL, _NEITHER).decode()


def _unescaped(text: str) -> tuple[str, list[int] | None]:
    """What it means, and where each character of that begins in the text; its end is the last place.

    None: just there. JSON, URLs, HTML and what languages print are undone, also one within another.
    """
    places: list[int] | None = None
    for _ in range(_DEEPEST):
        if not ("\\" in text or "%" in text or "&" in text):
            break
        out: list[str] = []
        begins: list[int] = []
        end = 0
        for found in _ESCAPE.finditer(text):
            first, last = found.span()
            meant = _meant(found)
            out += (text[end:first], meant)
            begins.extend(range(end, first))
            begins.extend([first] * len(meant))
            end = last
        if not end:
            break
        begins.extend(range(end, len(text) + 1))
        places = begins if places is None else [places[at] for at in begins]
        text = "".join((*out, text[end:]))
    return text, places


def _meant(found: re.Match[str]) -> str:
    kind = found.lastindex
    if kind is None:
        return " "
    told = found[kind]
    if kind > _NAMED:
        return told
    if kind == _NAMED:
        return html5.get(told, found[0])
    number = int(told, 10 if kind == _DECIMAL else 16)
    return chr(number) if number <= 0x10FFFF else "\ufffd"
