"""Runs the migrations, for the program itself and for developers.

The program hands its connection over, in a transaction that it commits. A developer names a
database: `alembic -x url=sqlite:////tmp/x.db check`, or UPTOKEN_DATABASE_URL.
"""

import os

from sqlalchemy import Connection

from alembic import context
from monitor.store import migrate
from monitor.store.engine import Database
from monitor.store.schema import metadata


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        compare_type=True,
        # SQLite alters a table by building another one.
        render_as_batch=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def run_for_developer() -> None:
    url = context.get_x_argument(as_dictionary=True).get("url", os.environ.get("UPTOKEN_DATABASE_URL"))
    if url is None:
        raise SystemExit("Which database? alembic -x url=sqlite:////tmp/x.db, or UPTOKEN_DATABASE_URL")
    database = Database(url)
    migrate.create(database)
    database.write(run, migrate.UPGRADE_S)
    database.dispose()


given = context.config.attributes.get("connection")
if given is None:
    run_for_developer()
else:
    run(given)
