"""`run`, `serve`, `demo`: the processes that stay."""

import asyncio
import errno
import gc
import math
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING
from urllib.parse import urlsplit

import click

from monitor.cli.failure import FAILED, USAGE, Failure

if TYPE_CHECKING:
    from monitor.config.secrets import Secrets
    from monitor.config.settings import Config

SIMULATOR_ENDS_S = 5.0


@click.command()
@click.pass_obj
def run(given: str | None) -> int:
    """Watch: probe, judge, store, alert, and serve the page. Ends at SIGTERM or Ctrl-C.

    Without a config.toml, begin with `uptoken init` or look at `uptoken demo`.
    """
    _end_when_told()
    from monitor.cli import loading

    gc.disable()  # a start makes much and drops little
    try:
        return _watch(loading.config(given))
    finally:
        gc.enable()


def _end_when_told() -> None:
    """To be told to stop is no failure, also before the loop listens for it."""

    def end(_number: int, _frame: object) -> None:
        raise SystemExit(0)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)


def _watch(config: "Config") -> int:
    """The daemon, until it is told to stop. Raises Failure."""
    import structlog

    from monitor import app, logs
    from monitor.cli import loading
    from monitor.store.engine import DatabaseRefused
    from monitor.store.lock import Deposed
    from monitor.store.migrate import NewerSchema, UpgradeHindered
    from monitor.transport.waking import new_loop
    from monitor.web.process import CannotListen

    secrets = loading.secrets(config)
    _require_channels(config, secrets)
    _require_authorities(config)
    state = _require_folder(loading.state_folder(config))
    logs.configure(secrets=secrets.values)
    try:
        daemon = app.Daemon(config, secrets, state)
        gc.enable()
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(daemon.run())
    except (app.Unready, CannotListen, NewerSchema, UpgradeHindered, Deposed, DatabaseRefused) as refused:
        raise Failure(str(refused)) from None
    except Exception:  # noqa: BLE001 - nothing is above it
        # Nobody sits at a daemon's terminal: where it broke has to stand in its log.
        structlog.get_logger().critical("program.crashed", exc_info=True)
        return FAILED
    return 0


def _require_channels(config: "Config", secrets: "Secrets") -> None:
    """Apprise can read every channel's URL. Raises Failure (exit 2)."""
    from monitor import notifier
    from monitor.cli.checking import problem_at

    refused = [
        str(problem_at(config, name, refusal))
        for name, channel in config.channels.items()
        if (refusal := notifier.readable(secrets.of(channel.url))) is not None
    ]
    if refused:
        raise Failure(refused, USAGE)


def _require_authorities(config: "Config") -> None:
    """Every `ca_file` can be read by this user. Raises Failure (exit 2)."""
    files = dict.fromkeys(one.ca_file for one in config.endpoints if one.enabled and one.ca_file)
    refused = [file for file in files if not os.access(file, os.R_OK)]
    if refused:
        raise Failure(
            [f"{config.path}: ca_file {file} cannot be read by this user" for file in refused], USAGE
        )


def _require_folder(folder: Path) -> Path:
    """The state folder is there and ours to write, made if need be. Raises Failure (exit 1)."""
    try:
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    except OSError as refused:
        raise Failure(f"cannot make the state folder {folder}: {refused.strerror}") from None
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise Failure(f"cannot write into the state folder {folder}: {os.strerror(errno.EACCES)}")
    return folder


@click.command()
@click.pass_obj
def serve(given: str | None) -> int:
    """Serve only the page and the feeds; holds no key. Ends at SIGTERM or Ctrl-C.

    For a unit of its own, with `managed = false` under [server]: `uptoken run` does this by itself.
    """
    _end_when_told()
    from monitor import logs
    from monitor.cli import loading
    from monitor.store.fault import NoDatabase
    from monitor.store.migrate import NewerSchema
    from monitor.web.process import CannotListen
    from monitor.web.process import serve as serve_pages

    config = loading.config(given)
    text = config.database.url
    logs.configure(secrets=loading.secrets(config, [text]).values)
    if config.server.listen is None and config.server.public_listen is None:
        raise Failure(f"{config.path}: [server] names no address to listen on", USAGE)
    try:
        serve_pages(config, loading.state_folder(config), loading.database_url(config))
    except (CannotListen, NoDatabase, NewerSchema) as refused:
        raise Failure(str(refused)) from None
    return 0


# Demo


def _finite(_ctx: click.Context, _parameter: click.Parameter, value: float) -> float:
    if not math.isfinite(value):
        raise click.BadParameter(f"{value} is not a finite number")
    return value


@click.command()
@click.option(
    "--speed",
    type=click.FloatRange(0, min_open=True),
    callback=_finite,
    default=1.0,
    show_default=True,
    help="How much faster the script of faults runs.",
)
@click.pass_obj
def demo(given: str | None, speed: float) -> int:
    """Simulated providers with scripted faults, the daemon and the page. Ctrl-C ends all of it.

    No keys, no cost, and nothing leaves this machine. Results are kept in ./var.
    """
    _end_when_told()
    from monitor.cli import loading

    config = loading.config(given or str(_shipped_config()))
    try:
        with _simulator(_simulated_address(config), speed):
            click.echo(_welcome(config), err=True)
            return _watch(config)
    except KeyboardInterrupt:
        return 0


def _shipped_config() -> Path:
    from monitor import shipped

    return shipped.path("config.toml")


def _welcome(config: "Config") -> str:
    from monitor.cli import loading

    usual = loading.config_path(None)
    same = os.path.exists(usual) and usual.samefile(config.path)  # noqa: PTH110 - it raises nothing
    lines = [
        "Everything you see is simulated. Ctrl-C ends it.",
        f"The page: {_page(config)}",
        f"In another terminal: uptoken status{'' if same else f' --config {config.path}'}",
    ]
    return "\n".join(lines)


def _page(config: "Config") -> str:
    from monitor.config.settings import TcpAddress, UnixAddress

    match config.server.listen:
        case TcpAddress(host=host, port=port):
            return f"http://{f'[{host}]' if ':' in host else host}:{port}"
        case UnixAddress(path=path):
            return f"unix:{path}"
        case None:
            return "none, because listen is empty under [server]"


def _simulated_address(config: "Config") -> str:
    """`127.0.0.1:8490`: where the config's endpoints look for the simulated providers."""
    for endpoint in config.endpoints:
        url = urlsplit(getattr(endpoint, "base_url", "") or getattr(endpoint, "url", ""))
        if url.hostname in ("127.0.0.1", "localhost", "::1"):
            return url.netloc
    raise Failure(f"{config.path}: watches nothing on 127.0.0.1, so there is nothing to simulate", USAGE)


@contextmanager
def _simulator(listen: str, speed: float) -> Iterator[None]:
    """The simulated providers as a process, from when they answer until the block is left.

    It stands outside the terminal's group: at Ctrl-C the daemon drains first.
    """
    command = [sys.executable, "-P", "-m", "monitor.simulator", "--until-eof"]
    process = subprocess.Popen(
        [*command, "--listen", listen, "--speed", str(speed)],
        env={**os.environ, "PYTHONPATH": _import_path()},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    first = process.stdout.readline().rstrip()
    teller = threading.Thread(target=_tell, args=(process.stdout,), daemon=True)
    try:
        if not first.startswith("simulated:"):
            raise Failure(f"{first or 'the simulator did not start'} (does another demo run?)")
        click.echo(first, err=True)
        teller.start()
        yield
    finally:
        process.stdin.close()
        _end(process)
        if teller.is_alive():
            teller.join(SIMULATOR_ENDS_S)


def _tell(lines: IO[str]) -> None:
    """What happens to the simulated providers, between the daemon's own lines."""
    for line in lines:
        click.echo(line.rstrip(), err=True)


def _end(process: subprocess.Popen[str]) -> None:
    try:
        process.wait(SIMULATOR_ENDS_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _import_path() -> str:
    """Where this very package lies, before whatever stood there: the current folder may hold another."""
    import monitor

    here = str(Path(monitor.__path__[0]).parent)
    return os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))
