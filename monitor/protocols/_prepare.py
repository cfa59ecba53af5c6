"""What every protocol over HTTP prepares in the same way, once per endpoint."""

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import lru_cache
from urllib.parse import quote, unquote

from monitor import __version__
from monitor.config import proxy as proxies
from monitor.config.secrets import SecretText, is_secret
from monitor.config.settings import EndpointSettings
from monitor.core.blot import Blot
from monitor.core.evidence import SECRET_PARAMETER
from monitor.protocols import Reveal

_SHORTEST_SECRET = 6
"""A shorter one would blot out ordinary words."""


class Secrets:
    """Blots out what a server might echo: our key has no business in what we keep."""

    __slots__ = ("_bytes", "_texts")

    def __init__(self, values: Sequence[str]) -> None:
        self._texts = tuple(value for value in values if len(value) >= _SHORTEST_SECRET)
        self._bytes = tuple(value.encode() for value in self._texts)

    def hide(self, text: str) -> str:
        for secret in self._texts:
            if secret in text:
                text = text.replace(secret, "***")
        return text

    def hide_in(self, text: str | None) -> str | None:
        """`hide`, where there may be no text."""
        return None if text is None else self.hide(text)

    def hide_bytes(self, data: bytes) -> bytes:
        for secret in self._bytes:
            data = data.replace(secret, b"***")
        return data

    def blot(self, text: str) -> str:
        """The text without them in any form, nor a part of one that tells anything (`Blot`).

        It takes its time: for what is kept of a failure, not for each event of a stream.
        """
        return _blot(self._texts).hide(text)


@lru_cache(maxsize=64)
def _blot(secrets: tuple[str, ...]) -> Blot:
    return Blot(form for secret in secrets for form in _forms(secret))


def _forms(secret: str) -> Iterator[str]:
    """How servers and gateways write what they quote: as it is, percent-encoded, in JSON, in base64."""
    yield secret
    yield quote(secret, safe="")
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1].replace("/", "\\/")
    for before in range(3):  # whatever stands in front shifts it by a third of four letters
        data = b"\0" * before + secret.encode()
        letters = base64.b64encode(data).decode().rstrip("=")
        # The first and last letters are made of what stands beside it, too.
        own = letters[-(-before * 8 // 6) : len(data) * 8 // 6]
        yield from {own, own.replace("+", "-").replace("/", "_")}


def secrets(
    settings: EndpointSettings, reveal: Reveal, keys: Iterable[SecretText] = (), url: str = ""
) -> Secrets:
    """What must never be kept of a reply: `keys`, every header that names or is a secret, a proxy's
    login, and what stands behind a telling name in the query of `url`."""
    named = [
        text
        for name, text in settings.headers.items()
        if not text.literal or is_secret(("headers", name), text)
    ]
    login = () if settings.proxy is None else proxies.read(reveal(settings.proxy)).secrets
    sent = [reveal(text) for text in (*keys, *named)]
    # `Bearer abc` may be quoted without its scheme.
    alone = [value.partition(" ")[2] for value in sent if value.count(" ") == 1]
    asked = [form for found in re.findall(SECRET_PARAMETER, url) for form in (found[1], unquote(found[1]))]
    return Secrets(list(dict.fromkeys((*sent, *alone, *login, *asked))))


def headers(own: Mapping[str, str], settings: EndpointSettings, reveal: Reveal) -> dict[str, str]:
    """Our headers and the operator's, whose spelling and values win."""
    chosen = {name: reveal(value) for name, value in settings.headers.items()}
    taken = {name.lower() for name in chosen}
    ours = {"User-Agent": f"uptoken/{__version__}", **own}
    return {name: value for name, value in ours.items() if name.lower() not in taken} | chosen


def milliseconds(length: timedelta | None) -> float | None:
    """The same length as the core has it."""
    return None if length is None else length / timedelta(milliseconds=1)
