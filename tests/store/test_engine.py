"""One transaction, on a database that may be slow, locked, frozen, gone or full."""

import gc
import os
import socket
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from monitor.store import migrate
from monitor.store.engine import READERS, Database, DatabaseAway, DatabaseRefused, NoDatabase
from tests.support import child
from tests.support.postgres import Cluster

NOBODY = 65534
GRACE_S = 0.5
"""How much later than its limit a call may end."""


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = _with_notes(database_url)
    yield opened
    opened.dispose()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A SQLite database that nobody has open."""
    path = tmp_path / "uptoken.db"
    _with_notes(f"sqlite:///{path}").dispose()
    return path


def _with_notes(url: str) -> Database:
    opened = Database(url)
    migrate.create(opened)
    opened.write(lambda c: _say(c, "CREATE TABLE note (id integer PRIMARY KEY, said text UNIQUE NOT NULL)"))
    return opened


def _say(connection: Connection, statement: str) -> None:
    connection.execute(text(statement))


def _note(said: object, number: object = None) -> Callable[[Connection], None]:
    """Work that writes one row."""

    def work(connection: Connection) -> None:
        if number is None:
            count = connection.execute(text("SELECT count(*) FROM note")).scalar_one()
        else:
            count = number
        connection.execute(
            text("INSERT INTO note (id, said) VALUES (:id, :said)"), {"id": count, "said": said}
        )

    return work


def _notes(connection: Connection) -> list[str]:
    return list(connection.execute(text("SELECT said FROM note ORDER BY id")).scalars())


def _endless(connection: Connection) -> object:
    if connection.dialect.name == "postgresql":
        return connection.execute(text("SELECT pg_sleep(60)")).scalar()
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    return connection.execute(text(numbers)).scalar()


@contextmanager
def _away_within(limit_s: float, words: str) -> Iterator[None]:
    begun = time.monotonic()
    with pytest.raises(DatabaseAway, match=words):
        yield
    assert time.monotonic() - begun < limit_s + GRACE_S


def test_what_was_written_can_be_read(database: Database) -> None:
    database.write(_note("hello"))
    assert database.read(_notes) == ["hello"]


def test_work_that_fails_writes_nothing_and_its_error_travels(database: Database) -> None:
    def work(connection: Connection) -> None:
        _note("half")(connection)
        raise KeyError("ours")

    with pytest.raises(KeyError, match="ours"):
        database.write(work)
    database.write(_note("whole"))
    assert database.read(_notes) == ["whole"]


def test_all_statements_of_a_reader_see_the_same_moment(database: Database) -> None:
    def work(connection: Connection) -> tuple[list[str], list[str]]:
        before = _notes(connection)
        database.write(_note("meanwhile"))
        return before, _notes(connection)

    assert database.read(work) == ([], [])
    assert database.read(_notes) == ["meanwhile"]


def test_a_reader_cannot_write(database: Database) -> None:
    with pytest.raises(DatabaseAway, match=r"read-only|may not be written"):
        database.read(_note("no"))


def test_readers_do_not_wait_for_each_other(database: Database) -> None:
    together = threading.Barrier(3)
    seen: list[list[str]] = []

    def work(connection: Connection) -> list[str]:
        together.wait(10)
        return _notes(connection)

    threads = [threading.Thread(target=lambda: seen.append(database.read(work))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [[], [], []]


def test_readers_beyond_the_limit_wait_for_their_turn_and_no_longer_than_theirs(database: Database) -> None:
    inside = threading.Semaphore(0)
    leave = threading.Event()

    def occupy(connection: Connection) -> None:
        inside.release()
        leave.wait(30)

    threads = [threading.Thread(target=lambda: database.read(occupy, 30.0)) for _ in range(READERS)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert inside.acquire(timeout=10)
    with _away_within(0.1, "busy"):
        database.read(_notes, 0.1)
    leave.set()
    assert database.read(_notes) == []
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("call", ["write", "read"])
def test_a_call_ends_at_its_limit_and_the_next_one_works(database: Database, call: str) -> None:
    run = database.write if call == "write" else database.read
    with _away_within(0.3, r"does not answer \((0\.3 s|57014)\)"):  # we give up, or the server does
        run(_endless, 0.3)
    database.write(_note("next"))
    assert database.read(_notes) == ["next"]


def test_work_that_dawdles_past_its_limit_is_not_committed(database: Database) -> None:
    def work(connection: Connection) -> None:
        _note("too late")(connection)
        time.sleep(0.25)

    with _away_within(0.2, "does not answer"):
        database.write(work, 0.2)
    assert database.read(_notes) == []


@pytest.mark.parametrize("said", ["twice", None, "a lone \ud800 surrogate"])
def test_rows_at_fault_are_refused_and_not_quoted(database: Database, said: str | None) -> None:
    database.write(_note("twice"))
    with pytest.raises(DatabaseRefused) as refused:
        database.write(_note(said))
    assert "refuses these rows" in str(refused.value)
    assert "twice" not in str(refused.value)
    database.write(_note("better"))
    assert database.read(_notes) == ["twice", "better"]


def test_a_number_that_is_too_large_is_refused(database: Database) -> None:
    with pytest.raises(DatabaseRefused):
        database.write(_note("big", 2**80))


def test_a_missing_table_is_told_with_what_to_do(database: Database) -> None:
    with pytest.raises(DatabaseAway, match="uptoken db upgrade"):
        database.read(lambda c: _say(c, "SELECT * FROM nowhere"))


def test_a_statement_that_is_wrong_is_a_bug_and_travels_without_values(database: Database) -> None:
    with pytest.raises(DBAPIError) as bug:
        database.write(lambda c: c.execute(text("SELEKT :value"), {"value": "sk-secret"}))
    assert "sk-secret" not in str(bug.value)


def test_a_database_that_was_opened_for_reading_is_not_written(database: Database) -> None:
    reading = Database(database.url, readonly=True)
    with pytest.raises(RuntimeError):
        reading.write(_note("no"))
    assert reading.read(_notes) == []
    reading.dispose()


# PostgreSQL


def test_a_frozen_server_is_away_within_the_limit_and_back_when_it_thaws(
    postgres: Cluster, postgres_url: str
) -> None:
    database = _with_notes(postgres_url)
    database.read(_notes)
    with postgres.frozen():
        for _ in range(2):  # the kept connections, then the attempts to make new ones
            with _away_within(0.4, r"does not answer \(0\.4 s\)"):
                database.write(_note("frozen"), 0.4)
            with _away_within(0.4, r"does not answer \(0\.4 s\)"):
                database.read(_notes, 0.4)
    database.write(_note("thawed"))
    assert "thawed" in database.read(_notes)
    database.dispose()


def test_a_stopped_server_is_away_at_once_and_a_restart_goes_unnoticed(
    postgres: Cluster, postgres_url: str
) -> None:
    database = _with_notes(postgres_url)
    database.read(_notes)
    with postgres.stopped(), _away_within(0.0, "refuses connections"):
        database.write(_note("stopped"))
    database.write(_note("before"))
    postgres.stop()
    postgres.start()
    database.write(_note("after"))
    assert database.read(_notes) == ["before", "after"]
    database.dispose()


def test_something_that_listens_and_never_answers_is_away_within_the_limit() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        database = Database(f"postgresql://u:geheim@127.0.0.1:{listener.getsockname()[1]}/x")
        with _away_within(0.3, "does not answer") as _:
            database.write(_note("hello?"), 0.3)
        with _away_within(0.3, "does not answer"):
            database.write(_note("hello?"), 0.3)
        database.dispose()


def test_an_attempt_that_failed_leaves_no_connection_behind() -> None:
    """Else a server that was frozen for long comes back to find all its places taken by us."""
    gc.disable()  # it runs when it pleases, and never soon enough
    try:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            url = f"postgresql://u@127.0.0.1:{listener.getsockname()[1]}/x?connect_timeout=2"
            database = Database(url)
            with _away_within(3.0, "does not answer|refuses|ended|timeout"):
                database.write(_note("hello?"), 3.0)
            attempt, _ = listener.accept()
            with attempt:
                attempt.settimeout(1.0)
                while attempt.recv(1024):
                    pass
            database.dispose()
    finally:
        gc.enable()


def test_a_nul_is_refused(postgres_url: str) -> None:
    database = _with_notes(postgres_url)
    with pytest.raises(DatabaseRefused, match="NUL"):
        database.write(_note("a\0b"))
    database.dispose()


def test_a_server_that_may_forget_a_commit_is_not_written(postgres_url: str) -> None:
    database = _with_notes(postgres_url)
    name = postgres_url.partition("@/")[2].partition("?")[0]
    database.write(lambda c: _say(c, f"ALTER DATABASE {name} SET synchronous_commit = off"))
    database.dispose()
    again = Database(postgres_url)
    with pytest.raises(DatabaseAway, match="synchronous_commit off"):
        again.write(_note("perhaps"))
    assert again.read(_notes) == []
    again.dispose()


def test_a_standby_is_told_apart(postgres_url: str) -> None:
    database = _with_notes(postgres_url)

    def work(connection: Connection) -> None:
        _say(connection, "SET TRANSACTION READ ONLY")
        _note("no")(connection)

    with pytest.raises(DatabaseAway, match="is it a standby"):
        database.write(work)
    database.dispose()


def test_a_session_thrown_out_in_the_middle_is_away(postgres_url: str) -> None:
    database = _with_notes(postgres_url)
    with pytest.raises(DatabaseAway, match="ended the connection"):
        database.write(lambda c: _say(c, "SELECT pg_terminate_backend(pg_backend_pid())"))
    database.write(_note("again"))
    database.dispose()


def test_a_lock_of_somebody_else_leaves_no_statement_waiting_on_the_server(postgres_url: str) -> None:
    database, other = _with_notes(postgres_url), Database(postgres_url)

    def hold(connection: Connection) -> None:
        _say(connection, "LOCK TABLE note IN ACCESS EXCLUSIVE MODE")
        with _away_within(0.3, "does not answer"):
            database.write(_note("blocked"), 0.3)
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        deadline = time.monotonic() + 5
        while connection.execute(text(f"SELECT pg_stat_clear_snapshot(), ({waiting})")).one()[1]:
            assert time.monotonic() < deadline

    other.write(hold, 10.0)
    database.write(_note("free"))
    for opened in (database, other):
        opened.dispose()


def test_a_database_that_the_server_does_not_have(postgres: Cluster) -> None:
    database = Database(postgres.url("nowhere"))
    with pytest.raises(NoDatabase, match=r"no database at .*/nowhere$"):
        database.read(_notes)
    database.dispose()


@pytest.mark.parametrize(
    ("query", "words"), [("", "refuses connections"), ("?nonsense=1", "its URL has an option")]
)
def test_no_message_shows_the_password(closed_port: int, query: str, words: str) -> None:
    database = Database(f"postgresql://u:geheim@127.0.0.1:{closed_port}/x{query}")
    with pytest.raises(DatabaseAway, match=words) as away:
        database.write(_note("hello"))
    assert "geheim" not in f"{away.value} {database.name} {database.label} {away.value.__cause__}"
    assert str(away.value).startswith(f"PostgreSQL at 127.0.0.1:{closed_port}/x ")
    database.dispose()


# SQLite


def _holding(path: Path) -> "subprocess.Popen[bytes]":
    """Another process in the middle of a transaction."""
    program = (
        "import sqlite3, sys, time\n"
        "c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "c.execute('BEGIN IMMEDIATE')\n"
        "print('held', flush=True)\n"
        "time.sleep(60)\n"
    )
    process = child.start([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    return process


def test_a_file_that_another_process_locks_is_away_within_the_limit(file: Path) -> None:
    database = Database(f"sqlite:///{file}")
    holder = _holding(file)
    try:
        with _away_within(2.0, "locked by another process"):
            database.write(_note("locked"))
        assert database.read(_notes) == []
    finally:
        child.end(holder, 9)
    database.write(_note("free"))
    assert database.read(_notes) == ["free"]
    database.dispose()


def test_a_file_is_opened_so_that_a_confirmed_commit_survives(file: Path) -> None:
    database = Database(f"sqlite:///{file}")

    def settings(connection: Connection) -> list[object]:
        names = ("journal_mode", "synchronous", "foreign_keys")
        return [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names]

    assert database.write(settings) == ["wal", 2, 1]
    database.dispose()


def test_where_there_is_no_file_none_is_made(tmp_path: Path) -> None:
    for readonly in (True, False):
        database = Database("sqlite:///deep/uptoken.db", state_dir=tmp_path, readonly=readonly)
        with pytest.raises(NoDatabase, match=f"^no database at {tmp_path}/deep/uptoken.db$"):
            database.read(_notes)
        database.dispose()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told(file: Path) -> None:
    database = Database(f"sqlite:///{file}")

    def work(connection: Connection) -> None:
        connection.exec_driver_sql("PRAGMA max_page_count = 4")
        _note("x" * 100_000)(connection)

    with pytest.raises(DatabaseAway, match="the disk is full"):
        database.write(work)
    database.write(_note("room"))
    database.dispose()


def test_a_file_of_another_kind_is_told(tmp_path: Path) -> None:
    (tmp_path / "uptoken.db").write_text("Dear diary, " * 1000)
    database = Database(f"sqlite:///{tmp_path}/uptoken.db")
    for call in (database.read, database.write):
        with pytest.raises(DatabaseAway, match="is not a SQLite file"):
            call(_notes)
    database.dispose()


def test_a_file_that_is_removed_or_replaced_under_us_is_noticed(file: Path) -> None:
    database = Database(f"sqlite:///{file}")
    database.write(_note("old"))
    copy = sqlite3.connect(file.with_name("copy.db"))
    copy.execute("CREATE TABLE note (id integer PRIMARY KEY, said text)")
    copy.close()
    for found in file.parent.glob("uptoken.db*"):
        found.unlink()
    with pytest.raises(NoDatabase):
        database.write(_note("nowhere"))
    file.with_name("copy.db").rename(file)
    database.write(_note("new"))
    assert database.read(_notes) == ["new"]
    database.dispose()


def test_reading_leaves_nothing_beside_the_file(file: Path) -> None:
    reading = Database(f"sqlite:///{file}", readonly=True)
    assert reading.read(_notes) == []
    reading.dispose()
    assert [found.name for found in file.parent.iterdir()] == [file.name]


def test_a_reader_that_came_first_sees_what_is_written_later(file: Path) -> None:
    reading, writing = Database(f"sqlite:///{file}", readonly=True), Database(f"sqlite:///{file}")
    assert reading.read(_notes) == []
    writing.write(_note("first"))
    assert reading.read(_notes) == ["first"]
    writing.dispose()
    assert reading.read(_notes) == ["first"]
    writing = Database(f"sqlite:///{file}")
    writing.write(_note("second"))
    assert reading.read(_notes) == ["first", "second"]
    for opened in (reading, writing):
        opened.dispose()


def test_a_reader_that_believed_nobody_was_writing_looks_again(file: Path) -> None:
    reading, writing = Database(f"sqlite:///{file}", readonly=True), Database(f"sqlite:///{file}")
    seen: list[list[str]] = []

    def work(connection: Connection) -> list[str]:
        seen.append(_notes(connection))
        if len(seen) == 1:
            writing.write(_note("meanwhile"))
        return seen[-1]

    assert reading.read(work) == ["meanwhile"]
    assert seen == [[], ["meanwhile"]]
    for opened in (reading, writing):
        opened.dispose()


# Other users: root may read and write everything, so these become somebody else.


@contextmanager
def _as_nobody() -> Iterator[None]:
    if os.geteuid() != 0:
        yield
        return
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


@pytest.fixture
def shared_file() -> Iterator[Path]:
    """A database in a folder that everybody may read and only its owner may write."""
    with tempfile.TemporaryDirectory(prefix="uptoken-shared-") as folder:
        path = Path(folder) / "uptoken.db"
        path.parent.chmod(0o755)
        _with_notes(f"sqlite:///{path}").dispose()
        path.chmod(0o644 if os.geteuid() == 0 else 0o444)
        yield path


def test_a_file_that_we_may_not_write_is_told(shared_file: Path) -> None:
    with _as_nobody():
        database = Database(f"sqlite:///{shared_file}")
        with pytest.raises(DatabaseAway, match="may not be written by this user"):
            database.write(_note("no"))
        database.dispose()


def test_a_reader_under_another_user_follows_the_writer_through_stops_and_starts(shared_file: Path) -> None:
    shared_file.chmod(0o644)
    url = f"sqlite:///{shared_file}"
    with _as_nobody():
        reading = Database(url, readonly=True)
        assert reading.read(_notes) == []  # after a clean stop
    writing = Database(url)
    writing.write(_note("one"))
    with _as_nobody():
        assert reading.read(_notes) == ["one"]
    writing.dispose()
    with _as_nobody():
        assert reading.read(_notes) == ["one"]
    writing = Database(url)
    writing.write(_note("two"))
    with _as_nobody():
        assert reading.read(_notes) == ["one", "two"]
        reading.dispose()
    writing.dispose()


def test_a_reader_under_another_user_reads_what_a_killed_writer_left(shared_file: Path) -> None:
    shared_file.chmod(0o644)
    program = (
        "import os, sys\n"
        "from sqlalchemy import text\n"
        "from monitor.store.engine import Database\n"
        "Database(sys.argv[1]).write(lambda c: c.execute(text(\"INSERT INTO note VALUES (1, 'left')\")))\n"
        "os.kill(os.getpid(), 9)\n"
    )
    url = f"sqlite:///{shared_file}"
    killed = child.start([sys.executable, "-c", program, url], cwd=Path(__file__).parents[2])
    assert killed.wait() == -9
    assert shared_file.with_name("uptoken.db-wal").stat().st_mode & stat.S_IROTH
    with _as_nobody():
        reading = Database(url, readonly=True)
        assert reading.read(_notes) == ["left"]
        reading.dispose()


def test_nothing_of_the_driver_hangs_on_our_errors(file: Path) -> None:
    """A traceback that prints causes would print what they quote."""
    database = Database(f"sqlite:///{file}")
    database.write(_note("sk-secret"))
    with pytest.raises(DatabaseRefused) as refused:
        database.write(_note("sk-secret"))
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__
    assert not isinstance(refused.value, SQLAlchemyError)
    database.dispose()
