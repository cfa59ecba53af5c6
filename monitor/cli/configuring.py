"""`init`, `check`, `schema`: before anything is watched."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from monitor.cli.failure import FAILED, Failure

SYSTEM_CONFIG = Path("/etc/uptoken")
SYSTEM_UNITS = Path("/etc/systemd/system")
UNITS = ("uptoken.service", "uptoken-web.service")
_SHIPPED_COMMAND = "/opt/uptoken/bin/uptoken"


# init


@click.command()
@click.argument("folder", metavar="[DIR]", required=False, type=click.Path(path_type=Path, file_okay=False))
@click.option("--systemd", is_flag=True, help="Also write the two units of the service.")
def init(folder: Path | None, *, systemd: bool) -> None:
    """Write a commented config.toml into DIR, or into the current folder.

    With --systemd and no DIR, config.toml goes to /etc/uptoken and the units to /etc/systemd/system;
    with a DIR all three go there, to be looked at. Nothing is ever overwritten.
    """
    from monitor.config.template import template

    texts = {(folder or (SYSTEM_CONFIG if systemd else Path())) / "config.toml": template()}
    if systemd:
        texts |= {(folder or SYSTEM_UNITS) / name: _unit(name) for name in UNITS}
    there = [str(path) for path in texts if os.path.lexists(path)]
    if there:
        raise Failure([f"{path} is there already, and nothing is overwritten" for path in there], FAILED)
    for path, text in texts.items():
        _write(path, text)
        if systemd:
            # The service's own user has to read it, whatever our umask says; it holds no secret.
            path.chmod(0o644)
        click.echo(f"wrote {path}")
    click.echo("\n".join(_next_steps(list(texts))))


def _unit(name: str) -> str:
    """The unit as it is shipped, but for where this very program lies."""
    from monitor import shipped

    text = shipped.path(f"systemd/{name}").read_text(encoding="utf-8")
    here = Path(sys.executable).parent / "uptoken"
    # A service cannot see anybody's home.
    if here.exists() and not any(here.is_relative_to(home) for home in ("/home", "/root")):
        text = text.replace(_SHIPPED_COMMAND, str(here))
    return text


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise Failure(f"{path} is there already, and nothing is overwritten", FAILED) from None
    except OSError as refused:
        raise Failure(f"cannot write {path}: {refused.strerror}", FAILED) from None


def _next_steps(paths: Sequence[Path]) -> list[str]:
    config, units = paths[0], paths[1:]
    at = "" if config == Path("config.toml") else f" --config {config}"
    steps = [
        "",
        "Next:",
        f"  1. edit {config}: take the # away from an example that fits, put in what is yours",
        f"  2. uptoken check{at}      is it right, and what will it cost a month?",
    ]
    if not units:
        return [*steps, f"  3. uptoken run{at}        watch"]
    if units[0].parent != SYSTEM_UNITS:
        steps.append(f"  3. copy {config} to {SYSTEM_CONFIG}, and the units to {SYSTEM_UNITS}")
    return [
        *steps,
        f"  {len(steps) - 1}. put each key into /etc/credstore/uptoken.NAME; config.toml says ${{cred:NAME}}",
        f"  {len(steps)}. systemctl daemon-reload && systemctl enable --now uptoken",
    ]


# schema


@click.command()
def schema() -> None:
    """Print the JSON Schema of config.toml; an editor that knows it helps while you type."""
    from monitor.cli import printing
    from monitor.config.schema import json_schema
    from monitor.protocols import settings_registry

    printing.document(json_schema(settings_registry()))


# check


@click.command()
@click.option("--secrets", "resolve", is_flag=True, help="Also look for every secret that it names.")
@click.option("--connect", is_flag=True, help="Also open the database, and look at every channel.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def check(given: str | None, *, resolve: bool, connect: bool, as_json: bool) -> int:
    """Validate config.toml, and say what probing will cost a month.

    Nothing is sent to a provider, and nothing is written. Exit 0 if it can be used, else 2.
    """
    from monitor.cli import checking

    asked = checking.Asked(secrets=resolve, connect=connect)
    return checking.as_document(given, asked) if as_json else checking.for_people(given, asked)
