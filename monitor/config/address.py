"""Places and names of the network, as they are written in config.toml."""

import ipaddress
import re
from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema

from monitor.config.values import quoted

_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_LONGEST_NAME = 253


def host_and_port(text: str, port: int | None = None) -> tuple[str, int]:
    """`acme.example:5432`, `192.0.2.1:22`, `[2001:db8::1]:22`; the host without brackets.

    Without a port in the text it is the one given. Raises ValueError with what would be right.
    """
    form = '"host:port" or "[2001:db8::1]:port"' if port is None else '"host", "host:port" or "[2001:db8::1]"'
    bracketed = re.fullmatch(r"\[([^\[\]]*)\](?::(.*))?", text)
    if bracketed is not None:
        host, number = bracketed[1], bracketed[2]
        if not is_address(host, 6):
            raise ValueError(f"{quoted(host)} in brackets is no IPv6 address")
    else:
        host, colon, rest = text.partition(":")
        number = rest if colon else None
        if ":" in rest:
            raise ValueError(f"{quoted(text)} cannot be read: write it as {form}")
        if not is_address(host, 4) and not _is_host_name(host):
            raise ValueError(f"{quoted(host)} is neither a name nor an address: write it as {form}")
    if number is None and port is not None:
        return host, port
    if number is None or not re.fullmatch(r"[0-9]{1,5}", number) or not 1 <= int(number) <= 65535:
        raise ValueError(f"{quoted(text)} has no port from 1 to 65535: write it as {form}")
    return host, int(number)


def is_listening_host(text: str) -> bool:
    """An address of this machine, one of a single link (`fe80::1%eth0`) too, or a name of it."""
    return is_address(text.partition("%")[0]) or is_name(text)


def is_address(text: str, version: int | None = None) -> bool:
    """It is an IP address, of that version if one is given."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return False
    return version in (None, found.version) and "%" not in text


def is_name(text: str) -> bool:
    """It can stand in the DNS: letters, digits, `-` and `_` between dots. `256.1.1.1` is a slip, no name."""
    return _is_host_name(text) and not _labels(text)[-1].isdigit()


def _is_host_name(text: str) -> bool:
    """The same, or a name like `node.0` that a file of hosts or a network of containers may know."""
    labels = _labels(text)
    fits = len(text) <= _LONGEST_NAME and all(_LABEL.fullmatch(label) for label in labels)
    return fits and not all(label.isdigit() for label in labels)


def _labels(text: str) -> list[str]:
    return text.removesuffix(".").split(".")


def _with_port(text: str) -> str:
    host_and_port(text)
    return text


def _with_tls(text: str) -> str:
    host_and_port(text, 443)
    return text


def _server(text: str) -> str:
    """The address of a name server; one without brackets and port may be of IPv6, too."""
    whole = f"[{text}]" if is_address(text, 6) else text
    host, port = host_and_port(whole, 53)
    if not is_address(host):
        raise ValueError(f'{quoted(host)} is no address of a name server such as "9.9.9.9": write no name')
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _host(text: str) -> str:
    if not is_address(text) and not _is_host_name(text):
        raise ValueError(f'{quoted(text)} is no name of a server such as "acme.example"')
    return text


_TEXT = WithJsonSchema({"type": "string"})

HostAndPort = Annotated[str, AfterValidator(_with_port), _TEXT]
"""Where to connect to."""
TlsPlace = Annotated[str, AfterValidator(_with_tls), _TEXT]
"""The same, at port 443 unless another is named."""
NameServer = Annotated[str, AfterValidator(_server), _TEXT]
"""The address of a name server, always with its port once it is read."""
Host = Annotated[str, AfterValidator(_host), _TEXT]
"""A name or an address."""
