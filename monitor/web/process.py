"""The process that serves the page, and the side of it that lives in the daemon.

Slow readers, a crash or a flaw in what everybody can reach must neither skew a measurement
nor read a key. So the page has a process of its own: the daemon binds the addresses and
passes the sockets on, everything else goes through a pipe, the environment is a whitelist,
and the child ends when its pipe does, however the daemon died.
"""

import asyncio
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog

import monitor
from monitor.clock import monotonic
from monitor.config.settings import Config
from monitor.store import migrate
from monitor.store.engine import Database, DatabaseAway, NoDatabase
from monitor.web import handover, listings
from monitor.web.binding import open_doors
from monitor.web.doors import CannotListen, Doors, told
from monitor.web.handover import Handover

__all__ = ["CannotListen", "PageProcess", "serve"]

log = structlog.get_logger()

END_S = 2.5
"""What the daemon grants a child to end, before it is killed."""
AGAIN_S = 0.5
LONGEST_WAIT_S = 30.0
SETTLED_S = 60.0
"""A child that lived as long did not die of its start."""

_PASSED_ON = (
    *("PATH", "HOME", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "LD_LIBRARY_PATH"),
    *("TERM", "NO_COLOR", "JOURNAL_STREAM", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    # What a connection to PostgreSQL may be told besides its URL.
    *("PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGUSER", "PGPASSWORD", "PGPASSFILE"),
    *("PGSERVICE", "PGSERVICEFILE", "PGSSLMODE", "PGSSLROOTCERT", "PGSSLCERT", "PGSSLKEY", "PGOPTIONS"),
)
_PR_SET_DUMPABLE = 4


def serve(config: Config, state_dir: Path, database_url: str) -> None:
    """`uptoken serve`: serve what the config names until SIGTERM or SIGINT. Writes nothing.

    `database_url` has its secrets in place. Raises CannotListen, NoDatabase and
    migrate.NewerSchema; a database that does not answer at the moment is no reason not to start.
    """
    # The daemon imports this file too, and needs no templates.
    from monitor.web.serving import serve_on

    _require_database(database_url, state_dir)
    doors = open_doors(config.server)
    try:
        asyncio.run(serve_on(doors, _handover(config, state_dir, database_url, Doors())))
    finally:
        doors.close()


def _require_database(url: str, state_dir: Path) -> None:
    database = Database(url, state_dir=state_dir, readonly=True)
    try:
        migrate.require(database)
    except NoDatabase:
        raise
    except DatabaseAway as away:
        log.warning("page.database_away", reason=str(away))
    finally:
        database.dispose()


def _handover(config: Config, state_dir: Path, database_url: str, doors: Doors) -> Handover:
    return Handover(
        database_url=database_url,
        state_dir=state_dir.absolute(),
        site=listings.site(config),
        listings=listings.listings(config),
        fds=tuple(one.fileno() for one in doors.operators),
        public_fds=tuple(one.fileno() for one in doors.public),
    )


# The daemon's side


class PageProcess:
    """Keeps a page process running while it is entered. Does nothing where none is wanted."""

    def __init__(self, config: Config | None, state_dir: Path, database_url: str) -> None:
        self._config = config
        self._state_dir = state_dir
        self._database_url = database_url
        self._doors = Doors()
        self._child: asyncio.subprocess.Process | None = None
        self._keeping: asyncio.Task[None] | None = None

    @classmethod
    def of(cls, config: Config, state_dir: Path, database_url: str) -> "PageProcess":
        """By the config: none if another unit serves the page, or if there is no address."""
        server = config.server
        wanted = server.managed and (server.listen is not None or server.public_listen is not None)
        return cls(config if wanted else None, state_dir, database_url)

    @property
    def addresses(self) -> list[str]:
        """Where the page is, once entered."""
        return [told(one) for one in self._doors.sockets]

    @property
    def pid(self) -> int | None:
        """Of the child that runs now."""
        return None if self._child is None else self._child.pid

    async def __aenter__(self) -> Self:
        """Bind and start the child. Raises CannotListen."""
        if self._config is not None:
            self._doors = open_doors(self._config.server)
            _hide_memory()
            self._keeping = asyncio.create_task(self._keep(self._config))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
            with suppress(asyncio.CancelledError):
                await self._keeping
        await self._end_child()
        self._doors.close()

    async def _keep(self, config: Config) -> None:
        """Start the child, and again whenever it has died."""
        wait = AGAIN_S
        while True:
            began = monotonic()
            status = await self._run(config)
            lived = monotonic() - began
            wait = AGAIN_S if lived > SETTLED_S else wait
            log.warning("page.died", status=status, after_s=round(lived, 1), again_s=wait)
            await asyncio.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT_S)

    async def _run(self, config: Config) -> int | None:
        """The exit status of one child; None if it could not even be started."""
        try:
            child = self._child = await asyncio.create_subprocess_exec(
                # Without -P a folder called `monitor` where we happen to stand would be run instead.
                *(sys.executable, "-P", "-m", "monitor.web"),
                stdin=asyncio.subprocess.PIPE,
                pass_fds=[one.fileno() for one in self._doors.sockets],
                env=_environment(os.environ),
                start_new_session=True,  # Ctrl-C is for the daemon, which then ends the child in order
            )
        except OSError as refusal:
            log.error("page.not_started", errno=refusal.errno)
            return None
        assert child.stdin is not None
        told_it = _handover(config, self._state_dir, self._database_url, self._doors)
        with suppress(ConnectionError):
            child.stdin.write(handover.to_line(told_it))
            await child.stdin.drain()
        return await child.wait()

    async def _end_child(self) -> None:
        child = self._child
        if child is None or child.returncode is not None:
            return
        with suppress(ProcessLookupError):
            child.terminate()
        try:
            await asyncio.wait_for(child.wait(), END_S)
        except TimeoutError:
            log.warning("page.killed")
            with suppress(ProcessLookupError):
                child.kill()
            await child.wait()


def _environment(ours: Mapping[str, str]) -> dict[str, str]:
    """What the child may know: nothing that could be the key of a provider."""
    kept = {name: ours[name] for name in _PASSED_ON if name in ours}
    return {**kept, "PYTHONPATH": str(Path(monitor.__file__).parent.parent)}


def _hide_memory() -> None:
    """Nobody of our own user may look into this process: not the child, not a core dump."""
    try:
        # Where memory may not become executable, loading this may fail.
        import ctypes

        hidden = ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) == 0
    except (ImportError, MemoryError, OSError):
        hidden = False
    if not hidden:
        log.warning("memory.visible")
