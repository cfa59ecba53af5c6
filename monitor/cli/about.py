"""`version`."""

import json
import platform
from importlib import metadata

import click

from monitor import __version__

_TOLD = ("apscheduler", "httpx", "sqlalchemy", "alembic", "structlog", "apprise")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON, with the libraries' versions.")
def version(*, as_json: bool) -> None:
    """The version of this program and of what it stands on."""
    if not as_json:
        click.echo(f"uptoken {__version__}")
        return
    libraries = {name: metadata.version(name) for name in _TOLD}
    document = {"version": __version__, "python": platform.python_version(), "libraries": libraries}
    click.echo(json.dumps(document))
