"""`run`, `serve`, `demo`: the processes that stay."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import click

from monitor import logs
from monitor.cli import loading
from monitor.cli.failure import USAGE, Failure


@click.command()
@click.pass_obj
def run(given: str | None) -> int:
    """Watch: probe, judge, store, alert, and serve the page."""
    from monitor import app, notifier  # noqa: PLC0415  # the daemon's parts are for the daemon
    from monitor.store.engine import DatabaseRefused  # noqa: PLC0415
    from monitor.store.lock import Deposed  # noqa: PLC0415
    from monitor.store.migrate import NewerSchema  # noqa: PLC0415
    from monitor.web.process import AddressInUse  # noqa: PLC0415

    config = loading.config(given)
    secrets = loading.secrets(config)
    logs.configure(secrets=secrets.values)
    for name, channel in config.channels.items():
        unreadable = notifier.readable(secrets.of(channel.url))
        if unreadable is not None:
            raise Failure(f"{config.path}: channel.{name}.url: {unreadable}", USAGE)
    try:
        daemon = app.Daemon(config, secrets, loading.state_folder(config))
        asyncio.run(daemon.run())
    except (AddressInUse, NewerSchema, Deposed, DatabaseRefused) as refused:
        raise Failure(str(refused)) from None
    return 0


@click.command()
@click.option("--fd", "fds", type=int, multiple=True, hidden=True, help="A bound socket of the parent.")
@click.pass_obj
def serve(given: str | None, fds: tuple[int, ...]) -> int:
    """Serve only the page and the feeds; holds no secret."""
    from monitor.web.process import serve_main  # noqa: PLC0415

    return serve_main(loading.config_path(given), list(fds))


@click.command()
@click.option("--speed", type=float, default=1.0, show_default=True, help="How fast the script of faults runs.")
@click.pass_obj
def demo(given: str | None, speed: float) -> int:
    """Simulated providers with scripted faults, the daemon and the page; no keys, no network."""
    path = Path(given) if given else _shipped_config()
    listen = _simulated_address(path)
    simulator = subprocess.Popen(
        [sys.executable, "-m", "monitor.simulator", "--listen", listen, "--speed", str(speed), "--until-eof"],
        stdin=subprocess.PIPE,
    )
    click.echo("Everything you see is simulated. The page: http://127.0.0.1:8480  (Ctrl-C ends it)", err=True)
    try:
        run.main([], obj=str(path), standalone_mode=False)
    finally:
        assert simulator.stdin is not None
        simulator.stdin.close()
        simulator.wait(timeout=5)
    return simulator.returncode if simulator.returncode > 0 else 0


def _shipped_config() -> Path:
    from monitor import shipped  # noqa: PLC0415

    return shipped.path("config.toml")


def _simulated_address(path: Path) -> str:
    return os.environ.get("UPTOKEN_SIMULATOR", "127.0.0.1:8490")
