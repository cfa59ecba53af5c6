"""What every protocol over HTTP prepares in the same way, once per endpoint."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta

from monitor import __version__
from monitor.config import proxy as proxies
from monitor.config.secrets import SecretText
from monitor.config.settings import EndpointSettings
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

    def hide_bytes(self, data: bytes) -> bytes:
        for secret in self._bytes:
            data = data.replace(secret, b"***")
        return data


def secrets(settings: EndpointSettings, reveal: Reveal, keys: Iterable[SecretText] = ()) -> Secrets:
    """What must never be kept of a reply: `keys`, every header that names a secret, a proxy's login."""
    named = [text for text in settings.headers.values() if not text.literal]
    login = () if settings.proxy is None else proxies.read(reveal(settings.proxy)).secrets
    return Secrets([*(reveal(text) for text in (*keys, *named)), *login])


def headers(own: Mapping[str, str], settings: EndpointSettings, reveal: Reveal) -> dict[str, str]:
    """Our headers and the operator's, whose spelling and values win."""
    chosen = {name: reveal(value) for name, value in settings.headers.items()}
    taken = {name.lower() for name in chosen}
    ours = {"User-Agent": f"uptoken/{__version__}", **own}
    return {name: value for name, value in ours.items() if name.lower() not in taken} | chosen


def milliseconds(length: timedelta | None) -> float | None:
    """The same length as the core has it."""
    return None if length is None else length / timedelta(milliseconds=1)
