"""What every protocol over HTTP prepares in the same way, once per endpoint."""

import hashlib
from collections.abc import Mapping
from datetime import timedelta

from monitor import __version__
from monitor.config.settings import EndpointSettings
from monitor.core.blot import SECRET_PARAMETER
from monitor.protocols import Reveal


def headers(own: Mapping[str, str], settings: EndpointSettings, reveal: Reveal) -> dict[str, str]:
    """Our headers and the operator's, whose spelling and values win."""
    chosen = {name: reveal(value) for name, value in settings.headers.items()}
    taken = {name.lower() for name in chosen}
    ours = {"User-Agent": f"uptoken/{__version__}", **own}
    return {name: value for name, value in ours.items() if name.lower() not in taken} | chosen


def without_secrets(url: str) -> str:
    """The same URL, but of what stands behind a telling name in its query only a digest."""
    return SECRET_PARAMETER.sub(lambda found: f"{found[1]}#{_digest(found[2])}", url)


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def milliseconds(length: timedelta | None) -> float | None:
    """The same length as the core has it."""
    return None if length is None else length / timedelta(milliseconds=1)
