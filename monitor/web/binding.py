"""Binds what the config names."""

import errno
import os
import socket
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from monitor.config.settings import Address, Server, TcpAddress, UnixAddress
from monitor.web.doors import CannotListen, Doors

_BACKLOG = 512


def open_doors(server: Server) -> Doors:
    """Bind what the config names. Raises CannotListen, with nothing left open."""
    operators: Sequence[socket.socket] = ()
    try:
        operators = _bind(server.listen, "server.listen")
        public = _bind(server.public_listen, "server.public_listen")
    except CannotListen:
        for one in operators:
            one.close()
        raise
    addresses = (server.listen, server.public_listen)
    files = tuple(Path(one.path).absolute() for one in addresses if isinstance(one, UnixAddress))
    return Doors(tuple(operators), tuple(public), files)


def open_door(address: Address | None, key: str) -> Doors:
    """Bind one address, which stands under that key. Raises CannotListen."""
    sockets = tuple(_bind(address, key))
    files = (Path(address.path).absolute(),) if isinstance(address, UnixAddress) else ()
    return Doors(sockets, files=files)


def _bind(address: Address | None, key: str) -> list[socket.socket]:
    match address:
        case None:
            return []
        case TcpAddress():
            return _bind_tcp(address, key)
        case UnixAddress():
            return [_bind_unix(address, key)]


def _bind_tcp(address: TcpAddress, key: str) -> list[socket.socket]:
    shown = f"{address.host}:{address.port}"
    try:
        found = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError:
        raise CannotListen(f"{key}: {address.host} is not an address of this machine") from None
    bound: list[socket.socket] = []
    try:
        for family, _, _, _, place in found:
            bound.append(_listening(family, place))
    except OSError as refusal:
        for one in bound:
            one.close()
        raise CannotListen(_why(refusal, shown, key)) from None
    return bound


def _listening(family: int, place: object) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(place)  # type: ignore[arg-type]
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _bind_unix(address: UnixAddress, key: str) -> socket.socket:
    path = Path(address.path).absolute()
    try:
        _clear(path)
        listener = _listening(socket.AF_UNIX, str(path))
        # Who may enter is a matter of the folder that it lies in.
        path.chmod(0o666)
    except OSError as refusal:
        raise CannotListen(_why(refusal, f"unix:{path}", key)) from None
    return listener


def _clear(path: Path) -> None:
    """Remove a socket file that nobody listens on any more. Raises OSError if it is in use, or no socket."""
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        with socket.socket(socket.AF_UNIX) as other:
            other.settimeout(1.0)
            try:
                other.connect(str(path))
            except ConnectionRefusedError:
                path.unlink()
            else:
                raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def _why(refusal: OSError, shown: str, key: str) -> str:
    words = {
        errno.EADDRINUSE: "is in use by another program: stop that one, or choose another address",
        errno.EADDRNOTAVAIL: "is not an address of this machine",
        errno.EACCES: "may not be used by this user",
        errno.EEXIST: "exists and is no socket: choose another path",
        errno.ENOENT: "cannot be made: there is no such folder",
    }
    reason = words.get(refusal.errno or 0, f"cannot be listened on ({refusal.strerror or 'no reason given'})")
    return f"{key}: {shown} {reason}"
