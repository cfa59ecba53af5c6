"""The key `proxy`: what stands between us and a provider, read from one line.

Its text may hold a password, so no message quotes it, and what is shown of a proxy never names
a user.
"""

import base64
import re
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import unquote

Kind = Literal["http", "socks5", "unix"]

_SCHEMES: dict[str, Kind] = {"http": "http", "socks5": "socks5", "socks5h": "socks5"}
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]")
_LONGEST_PATH = 107
"""Bytes that the kernel takes for the name of a socket."""
_LONGEST_LOGIN = 255
"""Bytes of a user or password in SOCKS5 (RFC 1929)."""
_FORMS = '"http://host:3128", "socks5://host:1080" or "unix:/path/to.sock"'


@dataclass(frozen=True, slots=True)
class Proxy:
    """Where connections go instead of to the provider's own address."""

    kind: Kind
    host: str = ""
    """A name or an address, without brackets; empty for a Unix socket."""
    port: int = 0
    path: str = ""
    """Of a Unix socket."""
    user: str | None = field(default=None, repr=False)
    """None: no login."""
    password: str = field(default="", repr=False)

    def __str__(self) -> str:
        """For messages: `http://proxy.acme:3128`, never with a user or password."""
        if self.kind == "unix":
            return f"unix:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.kind}://{host}:{self.port}"

    @property
    def basic(self) -> str | None:
        """The login as HTTP's Basic scheme carries it; None where there is none."""
        if self.user is None:
            return None
        return base64.b64encode(f"{self.user}:{self.password}".encode()).decode()

    @property
    def secrets(self) -> frozenset[str]:
        """What must not be seen of it, in every form in which it travels."""
        if self.user is None:
            return frozenset()
        # Where there is no password, the user is one: a token.
        return frozenset({self.password or self.user, self.basic or ""})


def read(text: str) -> Proxy:
    """The proxy that a line stands for, its secrets in place.

    Raises ValueError with what would be right; it never quotes the line.
    """
    if not text.isprintable() or " " in text:
        raise ValueError(f"holds a space or a control character: write it as {_FORMS}")
    if text.startswith("unix:"):
        return _unix(text.removeprefix("unix:"))
    scheme, colon, rest = text.partition("://")
    scheme = scheme.lower()
    if colon and scheme == "https":
        raise ValueError("TLS to the proxy itself is not available: write http://, TLS goes through it")
    if not colon or scheme not in _SCHEMES:
        raise ValueError(f"is no proxy: write it as {_FORMS}")
    login, at, place = rest.removesuffix("/").rpartition("@")
    host, port = _place(place)
    user, password = _login(login, scheme) if at else (None, "")
    return Proxy(_SCHEMES[scheme], host, port, user=user, password=password)


def _unix(path: str) -> Proxy:
    path = path.removeprefix("//") if path.startswith("///") else path
    if not path.startswith("/") or path.startswith("//") or path.endswith("/"):
        raise ValueError('is no path of a socket: write it as "unix:/path/to.sock"')
    if len(path.encode()) > _LONGEST_PATH:
        raise ValueError(f"is too long a path for a socket: at most {_LONGEST_PATH} bytes")
    return Proxy("unix", path=path)


def _place(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if any(sign in text for sign in "/?#"):
        raise ValueError(f"has a path, or a '/', '?' or '#' that is not encoded: write it as {_FORMS}")
    if not host or not port.isascii() or not port.isdigit() or not 1 <= int(port[:6]) <= 65535:
        raise ValueError(f"has no port, or none from 1 to 65535: write it as {_FORMS}")
    if not _HOST.fullmatch(host):
        raise ValueError(f"has a host that cannot be read: write it as {_FORMS}")
    return host.strip("[]"), int(port)


def _login(text: str, scheme: str) -> tuple[str, str]:
    user, _, password = (unquote(part) for part in text.partition(":"))
    if not user:
        raise ValueError("has a password but no user: write it as user:password@host")
    if "/" in text or any(not part.isprintable() for part in (user, password)) or ":" in user:
        raise ValueError("has a user or password that cannot be read: percent-encode all but letters")
    if scheme == "http":
        return user, password
    if not password:
        raise ValueError("has a user but no password: SOCKS5 wants both, user:password@host")
    if max(len(user.encode()), len(password.encode())) > _LONGEST_LOGIN:
        raise ValueError(f"has a user or password of more than {_LONGEST_LOGIN} bytes, too long for SOCKS5")
    return user, password
