"""`pause`, `resume`: what operators ask of the running daemon."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from monitor.store.operator import Operator

CARRIED_OUT_S = 5.0
"""A daemon looks for commands every second."""
_LOOK_AGAIN_S = 0.1
_FEW = 8

_as_json = click.option("--json", "as_json", is_flag=True, help="As JSON.")
_patterns = click.argument("patterns", metavar="PATTERN...", nargs=-1, required=True)


@click.command()
@_patterns
@_as_json
@click.pass_obj
def pause(given: str | None, patterns: tuple[str, ...], *, as_json: bool) -> None:
    """Stop probing the endpoints that match, e.g. 'openai/*', until `uptoken resume`.

    Their slots are not due meanwhile, nobody is woken, and no incident begins.
    """
    _ask("pause", given, patterns, as_json=as_json)


@click.command()
@_patterns
@_as_json
@click.pass_obj
def resume(given: str | None, patterns: tuple[str, ...], *, as_json: bool) -> None:
    """Probe the endpoints that match again."""
    _ask("resume", given, patterns, as_json=as_json)


def _ask(kind: str, given: str | None, patterns: Sequence[str], *, as_json: bool) -> None:
    from monitor import clock
    from monitor.cli import choosing, loading, printing
    from monitor.store.journal import Order
    from monitor.store.operator import Operator

    config = loading.config(given)
    endpoints = choosing.endpoints(config, patterns)
    with loading.database(config, readonly=False) as database:
        operator = Operator(database)
        command = operator.ask(Order(kind), endpoints, clock.now())
        effective = _carried_out(operator, command) if operator.beats(clock.now()) else False
    if as_json:
        printing.document({"command": kind, "endpoints": endpoints, "effective": effective})
        return
    which = ", ".join(endpoints) if len(endpoints) <= _FEW else f"{len(endpoints)} endpoints"
    if effective:
        printing.line(f"{kind}d: {which}")
    else:
        printing.line(f"will be {kind}d: {which}")
        printing.line("No daemon runs on this database now; the next one will do it when it starts.")


def _carried_out(operator: "Operator", command: int) -> bool:
    """Wait for the daemon to do it. False: it did not, in a time in which it should have."""
    deadline = time.monotonic() + CARRIED_OUT_S
    while not operator.is_done(command):
        if time.monotonic() > deadline:
            return False
        time.sleep(_LOOK_AGAIN_S)
    return True
