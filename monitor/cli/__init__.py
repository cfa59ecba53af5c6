"""The command line. No rules in here: each command asks the layer that knows.

What only one command needs is imported by it, so that `uptoken status` does not pay for the
scheduler, and `uptoken --help` for nothing.
"""

import importlib
import sys
from collections.abc import Sequence

import click

from monitor import __version__
from monitor.cli.failure import Failure

# command → the module that defines it
COMMANDS = {
    "init": "configuring",
    "check": "configuring",
    "schema": "configuring",
    "run": "running",
    "serve": "running",
    "demo": "running",
    "probe": "probing",
    "status": "reading",
    "report": "reading",
    "incidents": "reading",
    "alert": "alerting",
    "db": "database",
    "maintenance": "operating",
    "pause": "operating",
    "resume": "operating",
    "version": "about",
}


class _Commands(click.Group):
    """Loads a command when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = importlib.import_module(f"monitor.cli.{COMMANDS[name]}")
        command: click.Command = getattr(module, name)
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    "config_file",
    metavar="FILE",
    help="The config file; else $UPTOKEN_CONFIG, ./config.toml, /etc/uptoken/config.toml.",
)
@click.version_option(__version__, prog_name="uptoken")
@click.pass_context
def uptoken(ctx: click.Context, config_file: str | None) -> None:
    """Uptime for tokens: watches LLM API providers."""
    ctx.obj = config_file


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns its exit code; what went wrong is one line on stderr."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        result = uptoken.main(_config_first(given), prog_name="uptoken", standalone_mode=False)
    except Failure as failure:
        for line in failure.lines:
            click.echo(line, err=True)
        return failure.exit_code
    except click.exceptions.Exit as left:
        return left.exit_code
    except click.Abort:
        return 130
    except click.ClickException as refused:
        refused.show()
        return refused.exit_code
    except BrokenPipeError:
        # Whoever read our output has seen enough.
        sys.stderr.close()
        return 0
    return result if isinstance(result, int) else 0


def _config_first(arguments: list[str]) -> list[str]:
    """`uptoken run --config FILE` means the same as `uptoken --config FILE run`."""
    moved: list[str] = []
    rest: list[str] = []
    queue = iter(arguments)
    for word in queue:
        if word == "--":
            return [*moved, *rest, word, *queue]
        if word == "--config":
            moved += [word, *(value for value in [next(queue, None)] if value is not None)]
        elif word.startswith("--config="):
            moved.append(word)
        else:
            rest.append(word)
    return [*moved, *rest]
