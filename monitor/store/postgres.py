"""A PostgreSQL database: how it is connected to, and cut off."""

import os
import socket
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

import psycopg
from sqlalchemy import URL, Connection, NullPool, create_engine

from monitor.store.fault import DatabaseAway
from monitor.store.link import Link, Role

_SECRETS = ("password", "passfile", "sslpassword")
_DEFAULTS: dict[str, Any] = {
    "fallback_application_name": "uptoken",
    # Seconds for one address. The engine's own limit comes first; an attempt that it gave
    # up goes on for so long, and the next call waits for the same one.
    "connect_timeout": 5,
    # A network that fell silent ends an idle connection after 25 s, a busy one after 5 s.
    "tcp_user_timeout": 5_000,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}


class Postgres:
    """A database on a server, over TCP or a Unix socket."""

    def __init__(self, url: URL) -> None:
        bare = url.set(password=None).difference_update_query(_SECRETS)
        self.name = bare.render_as_string()
        self.label = f"PostgreSQL at {_place(url)}"
        defaults = {option: value for option, value in _DEFAULTS.items() if option not in url.query}
        self._engine = create_engine(
            url.set(drivername="postgresql+psycopg"),
            poolclass=NullPool,
            hide_parameters=True,
            pool_reset_on_return=None,
            use_native_hstore=False,
            # A pooler may hand the next transaction to a session that never saw the statement.
            connect_args={**defaults, "prepare_threshold": None},
        )
        self._lock = threading.Lock()
        self._attempts: dict[Role, Future[Link]] = {}

    def open(self, role: Role, deadline: float) -> Link:
        with self._lock:
            attempt = self._attempts.pop(role, None)
            if attempt is None or _is_over(attempt):
                attempt = self._begin(role)
        try:
            return attempt.result(max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            if not attempt.done():
                self._leave(role, attempt)
            raise

    def dispose(self) -> None:
        with self._lock:
            for attempt in self._attempts.values():
                attempt.add_done_callback(_close)
            self._attempts.clear()

    def _begin(self, role: Role) -> Future[Link]:
        """Connect in a thread of its own: name resolution, TLS and a server that accepts and
        says nothing obey no limit of ours.
        """
        attempt: Future[Link] = Future()

        def connect() -> None:
            try:
                attempt.set_result(self._connect(role))
            except Exception as error:  # noqa: BLE001 - it travels to whoever waits for the attempt
                _let_go(error)
                attempt.set_exception(error)

        threading.Thread(target=connect, name=f"connect {role.value}", daemon=True).start()
        return attempt

    def _leave(self, role: Role, attempt: Future[Link]) -> None:
        """For the next caller, so that a silent server does not collect our attempts."""
        with self._lock:
            if self._attempts.setdefault(role, attempt) is not attempt:
                attempt.add_done_callback(_close)

    def _connect(self, role: Role) -> Link:
        link = PostgresLink(self._engine.connect())
        try:
            link.settle(role, self.label)
        except (psycopg.Error, DatabaseAway):
            link.close()
            raise
        return link


class PostgresLink(Link):
    """A session on the server."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        raw = connection.connection.driver_connection
        assert isinstance(raw, psycopg.Connection)
        self._raw = raw
        # A second descriptor of the same socket, ours alone: psycopg may close its own while
        # the watchdog is about to cut, and its number may by then be another file's.
        self._socket = socket.socket(fileno=os.dup(raw.fileno()))

    def settle(self, role: Role, label: str) -> None:
        """Settings that last as long as the session, all on our side of it."""
        if role is Role.READER:
            # One moment for all statements: a feed never mixes two.
            self._raw.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            self._raw.read_only = True
            return
        self._raw.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        row = self._raw.execute("SHOW synchronous_commit").fetchone()
        self._raw.rollback()
        if row == ("off",):
            raise DatabaseAway(
                f"{label} has synchronous_commit off, so it may forget what it has confirmed: "
                "set it to on or local for this database"
            )

    def greet(self, left_s: float) -> None:
        # The server gives up as well: a statement that waits for a lock would otherwise stay
        # there after we are gone, one more with each try.
        self._raw.execute(f"SET LOCAL statement_timeout = {max(1, round(left_s * 1000))}")

    def cut(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def lost(self) -> bool:
        """The server, or the system for it, has closed the session: after a restart, say."""
        try:
            # Twice, since the first finds the server's last words and only the next the end.
            self._raw.pgconn.consume_input()
            self._raw.pgconn.consume_input()
        except psycopg.OperationalError:
            return True
        return self._raw.closed

    def close(self) -> None:
        super().close()
        self._socket.close()


def _is_over(attempt: Future[Link]) -> bool:
    """It failed, or its connection was lost before anybody came for it."""
    if not attempt.done():
        return False
    if attempt.exception() is not None:
        return True
    if attempt.result().lost():
        attempt.result().close()
        return True
    return False


def _let_go(error: BaseException) -> None:
    """Of the half-made connection: the error's traceback holds its socket, and is held by the attempt
    that it belongs to. In ten minutes of a frozen server those would take all of its places.
    """
    link: BaseException | None = error
    while link is not None:
        link.__traceback__ = None
        link = link.__cause__ or link.__context__


def _close(attempt: Future[Link]) -> None:
    if attempt.exception() is None:
        attempt.result().close()


def _place(url: URL) -> str:
    """`db.example:5432/uptoken`, `/run/postgresql/uptoken`."""
    asked = url.query.get("host", url.host or "localhost")
    host = asked if isinstance(asked, str) else ",".join(asked)
    port = f":{url.port}" if url.port else ""
    return f"{host}{port}/{url.database or url.username or ''}"
