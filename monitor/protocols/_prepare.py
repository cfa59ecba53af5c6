"""What every protocol over HTTP prepares in the same way, once per endpoint."""

from collections.abc import Mapping
from datetime import timedelta

from monitor import __version__
from monitor.config.settings import EndpointSettings
from monitor.protocols import Reveal


def headers(own: Mapping[str, str], settings: EndpointSettings, reveal: Reveal) -> dict[str, str]:
    """Our headers and the operator's, whose spelling and values win."""
    chosen = {name: reveal(value) for name, value in settings.headers.items()}
    taken = {name.lower() for name in chosen}
    ours = {"User-Agent": f"uptoken/{__version__}", **own}
    return {name: value for name, value in ours.items() if name.lower() not in taken} | chosen


def milliseconds(length: timedelta | None) -> float | None:
    """The same length as the core has it."""
    return None if length is None else length / timedelta(milliseconds=1)
