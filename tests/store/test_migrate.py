"""From any older schema to the present one, however many try at once."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from alembic import command
from monitor import shipped
from monitor.core.outcome import Outcome
from monitor.store import migrate, schema, views
from monitor.store.engine import Database, DatabaseAway, NoDatabase
from tests.support import child

TOP = Path(__file__).parents[2]
UPGRADER = """
import sys
from monitor.store import migrate
from monitor.store.engine import Database
print(migrate.upgrade(Database(sys.argv[1])), 'alembic' in sys.modules)
"""


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    yield opened
    opened.dispose()


def _upgrading(url: str) -> "subprocess.Popen[bytes]":
    return child.start(
        [sys.executable, "-c", UPGRADER, url], cwd=TOP, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def _said(process: "subprocess.Popen[bytes]") -> str:
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors.decode()
    return out.decode().strip()


def _set_version(database: Database, version: str) -> None:
    database.write(lambda c: c.execute(text("UPDATE alembic_version SET version_num = :v"), {"v": version}))


def test_a_new_database_gets_every_version_and_then_none(database: Database) -> None:
    migrate.create(database)
    assert migrate.current(database) is None
    assert migrate.upgrade(database) == list(migrate.versions())
    assert migrate.current(database) == migrate.head()
    assert migrate.upgrade(database) == []


def test_an_upgrade_creates_the_file_and_its_folder(tmp_path: Path) -> None:
    database = Database("sqlite:///deep/uptoken.db", state_dir=tmp_path)
    migrate.upgrade(database)
    assert (tmp_path / "deep" / "uptoken.db").exists()
    database.dispose()


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DatabaseAway, match="cannot be opened"):
        migrate.upgrade(Database(f"sqlite:///{tmp_path}/file/uptoken.db"))


def test_the_migrated_schema_is_the_one_that_the_program_describes(database: Database) -> None:
    migrate.upgrade(database)
    differences = database.write(
        lambda c: compare_metadata(
            MigrationContext.configure(c, opts={"compare_type": True}), schema.metadata
        )
    )
    assert differences == []


def test_a_stored_probe_has_no_row_number_of_its_own(tmp_path: Path) -> None:
    """Autogenerate does not compare this, and a stored probe would be a third larger."""
    database = Database(f"sqlite:///{tmp_path}/uptoken.db")
    migrate.upgrade(database)
    created = "SELECT sql FROM sqlite_master WHERE name = 'probe'"
    assert "WITHOUT ROWID" in database.read(lambda c: c.exec_driver_sql(created).scalar_one())
    database.dispose()


def test_every_outcome_has_its_number_and_blame_in_the_database(database: Database) -> None:
    migrate.upgrade(database)
    stored = database.read(lambda c: c.execute(text("SELECT code, name, blame FROM outcome")).all())
    expected = {(schema.OUTCOME_CODES[one], one.value, one.blame and one.blame.value) for one in Outcome}
    assert {tuple(row) for row in stored} == expected
    location = database.read(lambda c: c.execute(text("SELECT id, name FROM location")).all())
    assert [tuple(row) for row in location] == [(0, "default")]


def test_five_daemons_that_upgrade_at_once_all_succeed(database: Database) -> None:
    said = [_said(process) for process in [_upgrading(database.url) for _ in range(5)]]
    one = f"{list(migrate.versions())} True"
    assert said.count(one) == 1
    assert sum(line.startswith("[] ") for line in said) == 4
    assert migrate.current(database) == migrate.head()


def test_a_schema_that_is_up_to_date_costs_no_import_of_alembic(database: Database) -> None:
    migrate.upgrade(database)
    assert _said(_upgrading(database.url)) == "[] False"


def test_a_newer_schema_is_refused_in_one_line(database: Database) -> None:
    migrate.upgrade(database)
    _set_version(database, "9000")
    for refused in (migrate.upgrade, migrate.require):
        with pytest.raises(
            migrate.NewerSchema, match="version 9000 of the schema, made by a newer uptoken"
        ) as told:
            refused(database)
        assert "\n" not in str(told.value)
    assert migrate.current(database) == "9000"


def test_a_reader_asks_for_the_schema_that_it_knows(database: Database) -> None:
    migrate.create(database)
    with pytest.raises(NoDatabase, match=r"^no database at "):
        migrate.require(database)
    migrate.upgrade(database)
    migrate.require(database)


def test_an_upgrade_that_fails_leaves_nothing_behind(database: Database) -> None:
    """A table of that name is in the way, halfway through."""
    migrate.create(database)
    database.write(lambda c: c.execute(text("CREATE TABLE maintenance (id integer)")))
    with pytest.raises(Exception, match="maintenance"):
        migrate.upgrade(database)
    assert migrate.current(database) is None
    database.write(lambda c: c.execute(text("DROP TABLE maintenance")))
    assert migrate.upgrade(database) == list(migrate.versions())


def _upgrade_to(connection: Connection, version: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(shipped.path("alembic")).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, version)


def test_a_database_with_its_views_and_rows_is_brought_up_from_the_version_before(database: Database) -> None:
    migrate.create(database)
    database.write(lambda c: _upgrade_to(c, "0002"), 30.0)
    database.write(views.create)
    probe = dict.fromkeys(("endpoint_id", "late_us", "location_id", "outcome", "flags", "total_us"), 0)
    insert = schema.probe.insert().values(at=1, salt=1, **probe)
    database.write(lambda c: c.execute(schema.endpoint.insert().values(id=0, name="a/b", first_seen=1)))
    database.write(lambda c: c.execute(insert))
    assert migrate.upgrade(database) == ["0003"]
    assert database.read(lambda c: c.execute(text("SELECT total_ms FROM uptoken_probe")).scalars().all()) == [
        0
    ]


@pytest.fixture
def before(postgres_url: str) -> Iterator[Database]:
    """A PostgreSQL of the version before, with its views."""
    opened = Database(postgres_url)
    opened.write(lambda c: _upgrade_to(c, "0002"), 30.0)
    opened.write(views.create)
    yield opened
    opened.dispose()


def _run(database: Database, *statements: str) -> None:
    def work(connection: Connection) -> None:
        for statement in statements:
            connection.exec_driver_sql(statement)

    database.write(work)


def _privileges(database: Database) -> set[tuple[str, ...]]:
    """Of everybody, on the view and on its columns."""
    of_view = """
        SELECT acl.grantee::regrole::text, acl.privilege_type, acl.is_grantable::text, given.attname
        FROM (SELECT relacl AS acl, '' AS attname FROM pg_class WHERE oid = 'uptoken_probe'::regclass
              UNION ALL
              SELECT attacl, attname FROM pg_attribute WHERE attrelid = 'uptoken_probe'::regclass) AS given,
             LATERAL aclexplode(given.acl) AS acl"""
    return {tuple(row) for row in database.read(lambda c: c.exec_driver_sql(of_view).all())}


@pytest.fixture
def readers(before: Database) -> Iterator[list[str]]:
    """Three roles, as a statement writes their names."""
    names = ["reader", "\"5% of ''Ops'', :all\"", '"with option"']
    _run(before, *(f"CREATE ROLE {name}".replace("%", "%%") for name in names))
    yield names
    _run(before, *(f"DROP OWNED BY {name}; DROP ROLE {name}".replace("%", "%%") for name in names))


def test_who_was_allowed_to_read_a_view_still_is_after_an_upgrade(
    before: Database, readers: list[str]
) -> None:
    plain, odd, proud = (name.replace("%", "%%") for name in readers)
    _run(
        before,
        f"GRANT SELECT ON uptoken_probe TO {plain}, {odd}",
        f"GRANT SELECT ON uptoken_probe TO {proud} WITH GRANT OPTION",
        f"GRANT SELECT (endpoint, outcome), REFERENCES (at) ON uptoken_probe TO {plain}",
        "GRANT SELECT (endpoint) ON uptoken_probe TO PUBLIC",
    )
    granted = _privileges(before)
    assert {who for who, *_ in granted} == {"postgres", *readers, "-"}
    assert migrate.upgrade(before) == ["0003"]
    assert _privileges(before) == granted


def test_an_upgrade_gives_nobody_a_right_that_was_taken_from_him(
    before: Database, readers: list[str]
) -> None:
    """New views are everybody's here; this one is not."""
    _run(
        before,
        f"ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC, {readers[0]}",
        f"GRANT SELECT ON uptoken_probe TO {readers[2]}",
    )
    granted = _privileges(before)
    assert migrate.upgrade(before) == ["0003"]
    assert _privileges(before) == granted
    assert "-" not in {who for who, *_ in granted}


def test_what_somebody_built_on_a_view_is_named_and_left_alone(before: Database) -> None:
    _run(
        before,
        "CREATE VIEW mine AS SELECT endpoint, total_ms FROM uptoken_probe",
        'CREATE MATERIALIZED VIEW "Daily %%" AS SELECT count(*) FROM mine',
        "CREATE FUNCTION newest(uptoken_probe) RETURNS text LANGUAGE sql AS 'SELECT $1.endpoint'",
    )
    with pytest.raises(migrate.UpgradeHindered) as told:
        migrate.upgrade(before)
    assert str(told.value) == (
        f"{before.label} cannot be upgraded: the view uptoken_probe has to be made anew, and something depends"
        ' on it: function public.newest(public.uptoken_probe), materialized view public."Daily %",'
        " view public.mine; drop what depends on it, upgrade, and make it again"
    )
    assert migrate.current(before) == "0002"
    _run(before, "DROP FUNCTION newest", "DROP VIEW mine CASCADE")
    assert migrate.upgrade(before) == ["0003"]


def test_the_numbers_of_the_files_are_alembics_own_history() -> None:
    config = Config()
    config.set_main_option("script_location", str(shipped.path("alembic")).replace("%", "%%"))
    script = ScriptDirectory.from_config(config)
    history = [revision.revision for revision in script.walk_revisions()]
    assert tuple(reversed(history)) == migrate.versions()
    assert script.get_heads() == [migrate.head()]


def test_a_developer_checks_the_models_with_alembic_itself(database: Database) -> None:
    migrate.upgrade(database)
    line = [sys.executable, "-m", "alembic", "-x", f"url={database.url}", "check"]
    checked = subprocess.run(line, cwd=TOP, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert "No new upgrade operations detected" in checked.stdout


def test_a_developer_who_names_no_database_is_asked_for_one() -> None:
    line = [sys.executable, "-m", "alembic", "check"]
    asked = subprocess.run(line, cwd=TOP, env={}, capture_output=True, text=True, check=False)
    assert asked.returncode == 1
    assert asked.stderr.startswith("Which database?")
