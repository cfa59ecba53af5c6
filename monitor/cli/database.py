"""`db`: the schema, and how long raw results are kept."""

from datetime import timedelta

import click

from monitor.cli.options import Duration

_as_json = click.option("--json", "as_json", is_flag=True, help="As JSON.")


@click.group()
def db() -> None:
    """The database."""


@db.command()
@_as_json
@click.pass_obj
def upgrade(given: str | None, *, as_json: bool) -> None:
    """Bring the schema to this program's version; creates the database where there is none.

    `uptoken run` does the same when it starts.
    """
    from monitor.cli import loading, printing
    from monitor.store import migrate

    config = loading.config(given)
    with loading.opened(config, readonly=False) as database, loading.refusals():
        added = migrate.upgrade(database)
    if as_json:
        printing.document({"database": database.name, "version": migrate.head(), "added": added})
    elif added:
        printing.line(f"{database.name}: now at version {migrate.head()} (added {', '.join(added)})")
    else:
        printing.line(f"{database.name}: at version {migrate.head()} already")


@db.command()
@_as_json
@click.pass_obj
def current(given: str | None, *, as_json: bool) -> None:
    """The schema's version, and the one that this program works with."""
    from monitor.cli import loading, printing
    from monitor.cli.failure import Failure
    from monitor.store import migrate

    config = loading.config(given)
    with loading.opened(config) as database, loading.refusals():
        found = migrate.current(database)
    if found is None:
        raise Failure(f"no database at {database.path or database.name}")
    if as_json:
        printing.document({"database": database.name, "version": found, "newest": migrate.head()})
        return
    printing.line(f"{database.name}: version {found}{_compared(found, migrate.versions())}")


def _compared(found: str, known: tuple[str, ...]) -> str:
    if found == known[-1]:
        return ", the newest"
    if found in known:
        return f"; this program works with {known[-1]}: run `uptoken db upgrade`"
    return f", made by a newer uptoken; this one knows none after {known[-1]}"


@db.command()
@click.option(
    "--keep", type=Duration(), default="100d", show_default=True, metavar="DURATION", help="How much stays."
)
@_as_json
@click.pass_obj
def prune(given: str | None, keep: timedelta, *, as_json: bool) -> None:
    """Delete raw results that are older than DURATION.

    The daemon does so by itself with 100 days; shorter ones leave the longest windows incomplete.
    Incidents, states and alerts stay.
    """
    from monitor import clock
    from monitor.cli import loading, printing
    from monitor.core.instant import Instant, iso, span
    from monitor.store.operator import Operator

    config = loading.config(given)
    before = Instant(clock.now() - span(keep))
    removed = 0
    with loading.database(config, readonly=False) as database:
        operator = Operator(database)
        while bite := operator.prune(before):
            removed += bite
    if as_json:
        printing.document({"database": database.name, "removed": removed, "before": iso(before)})
        return
    printing.line(f"{database.name}: removed {printing.count(removed, 'result')} from before {iso(before)}")
