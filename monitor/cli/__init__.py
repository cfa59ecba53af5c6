"""The command line. No rules in here: each command asks the layer that knows.

What only one command needs is imported by it, so that `uptoken status` does not pay for the
scheduler, and `uptoken --help` for nothing.
"""

import errno
import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import TextIO

import click

from monitor import __version__
from monitor.cli.failure import FAILED, UNDECIDED, Failure, ReaderGone

# Section → command → the module that defines it, and what `uptoken --help` says of it.
_SECTIONS: dict[str, dict[str, tuple[str, str]]] = {
    "Begin": {
        "demo": ("running", "Simulated providers, the daemon and the page: no keys, no network."),
        "init": ("configuring", "Write a commented config.toml."),
        "check": ("configuring", "Validate config.toml and say what probing will cost."),
        "schema": ("configuring", "Print the JSON Schema of config.toml, for editors."),
    },
    "Watch": {
        "run": ("running", "The daemon: probe, judge, store, alert, and serve the page."),
        "serve": ("running", "Only the page and the feeds."),
        "probe": ("probing", "Look at one endpoint now, and show what took how long."),
    },
    "Read": {
        "status": ("reading", "What state everything is in."),
        "report": ("reading", "Uptime, percentiles and cost of a window."),
        "incidents": ("reading", "What went wrong, and for how long."),
        "evidence": ("reading", "What came of a failed probe, for a ticket at the vendor."),
    },
    "Operate": {
        "pause": ("operating", "Stop probing endpoints for now."),
        "resume": ("operating", "Probe them again."),
        "maintenance": ("planning", "Announce, list and end planned maintenance."),
        "alert": ("alerting", "Send a test message."),
        "db": ("database", "The database's schema and size."),
        "version": ("about", "Which version this is."),
    },
}
_UNPRINTABLE = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG)
COMMANDS = {name: told for section in _SECTIONS.values() for name, told in section.items()}
_CONFIG_HELP = "Config file.  [default: $UPTOKEN_CONFIG, ./config.toml, /etc/uptoken/config.toml]"


class _Commands(click.Group):
    """Loads a command when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"monitor.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name)
        return _with_config(command)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            raise click.NoSuchCommand(args[0], possibilities=COMMANDS, ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        for title, commands in _SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(11), told) for name, (_, told) in commands.items()])


def _remember(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
    # A command's own context begins with what the one above it holds.
    if value is not None:
        ctx.obj = value


def _with_config(command: click.Command) -> click.Command:
    """`--config` may stand anywhere: `uptoken run --config FILE`, `uptoken --config FILE run`."""
    if not any(parameter.name == "config" for parameter in command.params):
        command.params.append(
            click.Option(
                ["--config"], metavar="FILE", expose_value=False, callback=_remember, help=_CONFIG_HELP
            )
        )
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            _with_config(inner)
    return command


@click.group(
    cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="uptoken", message="%(prog)s %(version)s")
def uptoken() -> None:
    """Uptime for tokens: watches LLM API providers and tells you when they are down, slow or wrong.

    New here? `uptoken demo` shows it at work, `uptoken init` begins with your own providers.
    """


_with_config(uptoken)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns its exit code; what went wrong is one line on stderr."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    _open_what_is_closed()
    # A terminal that cannot show a letter shows a question mark instead of a traceback.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        result = uptoken.main(given, prog_name="uptoken", standalone_mode=False)
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit):
        # Whoever read our output has seen enough; click leaves like that when it notices first.
        _print_no_more()
        return 0
    except ReaderGone as gone:
        _print_no_more()
        return gone.exit_code
    except Exception as error:  # noqa: BLE001 - this is where every command ends
        return _fail(error, given)
    return result if isinstance(result, int) else 0


def _open_what_is_closed() -> None:
    """Who starts us with `>&-` wants to hear nothing; but no socket of ours may get that number."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
            setattr(sys, name, os.fdopen(number, "w"))


def _print_no_more(stream: TextIO | None = None) -> None:
    """Python would complain of what is left in it, stdout unless it is named, when it flushes at its exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), (stream or sys.stdout).fileno())


def _fail(error: Exception, given: Sequence[str]) -> int:
    """Say what went wrong; returns the exit code for it."""
    lines, code = _told(error)
    try:
        for line in lines:
            click.echo(line, err=True)
    except OSError:  # nobody reads it; then the exit code has to say it alone
        _print_no_more(sys.stderr)
    return UNDECIDED if _command(given) == "probe" else code


def _told(error: Exception) -> tuple[list[str], int]:
    match error:
        case Failure():
            return error.lines, error.exit_code
        case click.Abort():
            return [], 130
        case click.exceptions.NoArgsIsHelpError():
            return [error.format_message()], error.exit_code
        case click.UsageError():
            return [_usage(error)], error.exit_code
        case click.ClickException():
            return [error.format_message()], error.exit_code
        case OSError() if error.errno in _UNPRINTABLE and error.filename is None:
            _print_no_more()
            return [f"the output cannot be written: {error.strerror}"], FAILED
        case _:
            return [_bug(error)], FAILED


def _usage(error: click.UsageError) -> str:
    """`uptoken probe: missing argument 'ID' (see uptoken probe --help)`."""
    path = error.ctx.command_path if error.ctx else "uptoken"
    text = " ".join(error.format_message().split()).removesuffix(".")
    if isinstance(error, click.NoSuchCommand):
        near = get_close_matches(error.command_name, error.possibilities or (), 1)
        text = f"no such command: {error.command_name}" + (f"; did you mean {near[0]}?" if near else "")
    return f"{path}: {text[:1].lower()}{text[1:]} (see {path} --help)"


def _bug(error: Exception) -> str:
    """Where it happened, never its text: that may quote a secret."""
    from monitor import logs

    told = logs.describe(error)
    ours = [place for place in told["at"] if place.startswith("monitor.") and "cli:" not in place]
    place = (ours or told["at"] or ["?"])[-1]
    return f"uptoken failed by a mistake of its own, please report it: {told['type']} at {place}"


def _command(given: Sequence[str]) -> str | None:
    """The command's name among the arguments."""
    words = _words(given)
    return next(words, None)


def _words(given: Sequence[str]) -> Iterator[str]:
    queue = iter(given)
    for word in queue:
        if word == "--config":
            next(queue, None)
        elif not word.startswith("-"):
            yield word
