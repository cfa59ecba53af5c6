"""What the engine asks of a database: to open one connection, and what one can do."""

import enum
from typing import Protocol

from sqlalchemy import Connection


class Role(enum.Enum):
    WRITER = "writer"
    READER = "reader"


class Link:
    """One open connection to a database."""

    kept = True
    """False: it serves one transaction only."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def greet(self, left_s: float) -> None:
        """The first words of a transaction that must end within `left_s`."""

    def cut(self) -> None:
        """Make a call that runs on it in another thread fail, now. Never blocks or raises."""
        raise NotImplementedError

    def lost(self) -> bool:
        """It is known, without asking the database, to be of no more use."""
        raise NotImplementedError

    def whole(self) -> bool:
        """What the last transaction read belongs together."""
        return True

    def close(self) -> None:
        """Without a word to the database, which may not be listening; it rolls back by itself."""
        self.connection.invalidate()
        self.connection.close()


class Backend(Protocol):
    """A database that can be connected to."""

    @property
    def name(self) -> str:
        """Its URL without a secret."""

    @property
    def label(self) -> str:
        """As a message calls it."""

    def open(self, role: Role, deadline: float) -> Link:
        """A new connection. Raises TimeoutError at `deadline` (monotonic seconds), and the
        driver's own errors.
        """

    def dispose(self) -> None:
        """Give up what is still being opened."""
