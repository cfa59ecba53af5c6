"""`alert test`: does a message get through?"""

import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from monitor.cli.failure import FAILED, USAGE, Failure

if TYPE_CHECKING:
    from monitor.config.settings import Site


@click.group()
def alert() -> None:
    """Messages to people."""


@alert.command()
@click.argument("channel", required=False)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def test(given: str | None, channel: str | None, *, as_json: bool) -> int:
    """Send a test message through CHANNEL, or through all of them, and show what each service says.

    It is labelled as a test and stored nowhere. Exit 1 if any of them does not get through.
    """
    from monitor import logs
    from monitor.cli import loading, printing

    config = loading.config(given)
    chosen = _chosen(list(config.channels), channel)
    secrets = loading.secrets(config, [config.channels[name].url for name in chosen])
    logs.configure(secrets=secrets.values)
    # What it has to say is in the result.
    logging.getLogger("apprise").propagate = False
    results = _send_all({name: secrets.of(config.channels[name].url) for name in chosen}, config.site)
    if as_json:
        printing.document([result.document() for result in results])
    else:
        for result in results:
            verdict = printing.Ink("sent  ", "green") if result.sent else printing.Ink("failed", "bold red")
            printing.line(verdict, f"  {result.channel}  ({result.service}){result.why}")
    return 0 if all(result.sent for result in results) else FAILED


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a test message; holds no secret."""

    channel: str
    service: str
    sent: bool
    error: str | None

    @property
    def why(self) -> str:
        return f": {self.error}" if self.error else ""

    def document(self) -> dict[str, str | bool | None]:
        return {"channel": self.channel, "service": self.service, "sent": self.sent, "error": self.error}


def _chosen(channels: list[str], wanted: str | None) -> list[str]:
    """Their names. Raises Failure (exit 2) if there is no such one, or none at all."""
    from monitor.config.wording import suggestion

    if not channels:
        raise Failure("no channel is configured: add [channel.NAME] with a url to config.toml", USAGE)
    if wanted is None:
        return channels
    by_name = {name.lower(): name for name in channels}
    if wanted.lower() not in by_name:
        raise Failure(f"no channel {wanted}; {suggestion(wanted, channels)}".rstrip("; "), USAGE)
    return [by_name[wanted.lower()]]


def _send_all(urls: dict[str, str], site: "Site") -> list[Result]:
    """All at once, in threads that may be left behind in a service that hangs."""
    results: dict[str, Result] = {}

    def send(name: str, url: str) -> None:
        results[name] = _send(name, url, site)

    threads = {
        name: threading.Thread(target=send, args=(name, url), daemon=True) for name, url in urls.items()
    }
    from monitor.notifier import SEND_S, shown

    for thread in threads.values():
        thread.start()
    for thread in threads.values():
        thread.join(SEND_S)
    late = f"no answer within {SEND_S:g} s; it may still arrive"
    return [results.get(name) or Result(name, shown(url), False, late) for name, url in urls.items()]


def _send(name: str, url: str, site: "Site") -> Result:
    from monitor import clock, logs, notifier
    from monitor.core.alert import clock as written
    from monitor.core.belief import incident_id

    refusal = notifier.readable(url)
    if refusal is not None:
        return Result(name, "unknown service", False, f"its url {refusal}")
    now = clock.now()
    text = (
        f'This is a test of the channel "{name}", sent by hand with `uptoken alert test`.\n'
        f"Nothing is down. Site: {site.name}. Sent {written(now, site.timezone)}.\n"
        f"[test-{incident_id(name, now)}#1]"
    )
    delivery = notifier.channel(url)(f"TEST: {site.name}", text)
    error = None if delivery.error is None else logs.redact(delivery.error)
    return Result(name, notifier.shown(url), delivery.sent, error)
