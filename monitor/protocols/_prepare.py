"""What every protocol over HTTP prepares in the same way, once per endpoint."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import lru_cache
from urllib.parse import unquote

from monitor import __version__
from monitor.config import proxy as proxies
from monitor.config.secrets import SecretText, is_secret, values_in
from monitor.config.settings import EndpointSettings
from monitor.core.blot import Blot
from monitor.core.evidence import SECRET_PARAMETER
from monitor.core.observation import Observation, VendorError
from monitor.protocols import Reveal
from monitor.spellings import forms

HIDDEN = "***"

_SHORTEST_SECRET = 6
"""A shorter one would blot out ordinary words."""


class Secrets:
    """Blots out what a server might echo: our key has no business in what we keep."""

    __slots__ = ("_begins", "_bytes", "_forms", "_texts")

    def __init__(self, values: Iterable[str]) -> None:
        self._texts = tuple(dict.fromkeys(value for value in values if len(value) >= _SHORTEST_SECRET))
        self._bytes = tuple(value.encode() for value in self._texts)
        spelled = {form for text in self._texts for form in forms(text)}
        self._forms = tuple(sorted(spelled, key=lambda form: (-len(form), form)))
        self._begins = tuple({form[:_SHORTEST_SECRET] for form in spelled})

    def hide(self, text: str) -> str:
        for secret in self._texts:
            if secret in text:
                text = text.replace(secret, HIDDEN)
        return text

    def hide_in(self, text: str | None) -> str | None:
        """`hide`, where there may be no text."""
        return None if text is None else self.hide(text)

    def hide_bytes(self, data: bytes) -> bytes:
        for secret in self._bytes:
            data = data.replace(secret, HIDDEN.encode())
        return data

    def blot(self, text: str) -> str:
        """The text without them in any form, nor a part of one that tells anything (`Blot`).

        It takes its time: for what is kept of a failure, not for each event of a stream.
        """
        return _blot(self._forms).hide(text)

    def cleared(self, seen: Observation) -> Observation:
        """The same facts without any secret in them, however it was spelled or put together.

        Once more and at the end, for what JSON had escaped, what came in two pieces of text, what
        stood in a header, and what our own bounds cut off.
        """
        said = "\n".join(_texts(seen))
        if not any(begin in said for begin in self._begins):
            return seen
        error = seen.error
        return replace(
            seen,
            headers={name: self._clear(value) for name, value in seen.headers.items()},
            body=self._clear(seen.body),
            request_id=self._cleared(seen.request_id),
            error=None if error is None else self._without(error),
            malformed=self._cleared(seen.malformed),
            answer=self._clear(seen.answer),
            finish_reason=self._cleared(seen.finish_reason),
            served_model=self._cleared(seen.served_model),
            fingerprint=self._cleared(seen.fingerprint),
            upstream=self._cleared(seen.upstream),
        )

    def _without(self, error: VendorError) -> VendorError:
        return replace(
            error,
            code=self._cleared(error.code),
            type=self._cleared(error.type),
            message=self._clear(error.message),
            reasons=tuple(map(self._clear, error.reasons)),
            request_id=self._cleared(error.request_id),
        )

    def _cleared(self, text: str | None) -> str | None:
        return None if text is None else self._clear(text)

    def _clear(self, text: str) -> str:
        for form in self._forms:
            if form in text:
                text = text.replace(form, HIDDEN)
        for form in self._forms:
            begun = _begun(text, form)
            if begun:
                return text[: -len(begun)] + HIDDEN
        return text


def _texts(seen: Observation) -> Iterator[str]:
    """All that is kept and was the server's to say."""
    yield from seen.headers.values()
    words = (seen.body, seen.request_id, seen.malformed, seen.answer, seen.finish_reason, seen.served_model)
    yield from (text for text in (*words, seen.fingerprint, seen.upstream) if text)
    if seen.error is not None:
        told = seen.error
        said = (told.code, told.type, told.message, told.request_id, *told.reasons)
        yield from (text for text in said if text)


def _begun(text: str, secret: str) -> str:
    """As much of the secret as stands at the very end of the text, cut off; empty if that tells nothing."""
    first = secret[:_SHORTEST_SECRET]
    at = text.find(first, max(0, len(text) - len(secret) + 1))
    while at >= 0:
        if secret.startswith(text[at:]):
            return text[at:]
        at = text.find(first, at + 1)
    return ""


@lru_cache(maxsize=64)
def _blot(forms: tuple[str, ...]) -> Blot:
    return Blot(forms)


def secrets(
    settings: EndpointSettings, reveal: Reveal, keys: Iterable[SecretText] = (), url: str = ""
) -> Secrets:
    """What must never be kept of a reply: `keys`, every header that holds a secret, a proxy's login, and
    what stands behind a telling name in the query of `url`."""
    telling = [
        text for name, text in settings.headers.items() if text.places or is_secret(("headers", name), text)
    ]
    sent = [value for text in (*keys, *telling) for value in _values(text, reveal(text))]
    login = () if settings.proxy is None else proxies.read(reveal(settings.proxy)).secrets
    asked = [form for found in re.findall(SECRET_PARAMETER, url) for form in (found[1], unquote(found[1]))]
    return Secrets([*sent, *login, *asked])


def _values(text: SecretText, filled: str) -> list[str]:
    """What is secret in it: the secrets that it names, without the words around them such as `Bearer`."""
    return values_in(text, filled) if text.places else [filled, *filled.split()[1:]]


def headers(own: Mapping[str, str], settings: EndpointSettings, reveal: Reveal) -> dict[str, str]:
    """Our headers and the operator's, whose spelling and values win."""
    chosen = {name: reveal(value) for name, value in settings.headers.items()}
    taken = {name.lower() for name in chosen}
    ours = {"User-Agent": f"uptoken/{__version__}", **own}
    return {name: value for name, value in ours.items() if name.lower() not in taken} | chosen


def milliseconds(length: timedelta | None) -> float | None:
    """The same length as the core has it."""
    return None if length is None else length / timedelta(milliseconds=1)
