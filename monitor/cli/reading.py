"""`status`, `report`, `incidents`, `evidence`: what the database says."""

import json
from typing import TYPE_CHECKING

import click

from monitor.cli.failure import USAGE, Failure

if TYPE_CHECKING:
    from monitor.config.settings import Config

WINDOWS = ("1h", "24h", "7d", "30d", "90d")
FORMATS = ("table", "json", "csv", "md")

_as_json = click.option("--json", "as_json", is_flag=True, help="As JSON.")


@click.command()
@click.argument("id", required=False)
@_as_json
@click.pass_obj
def status(given: str | None, id: str | None, *, as_json: bool) -> None:  # noqa: A002 - the name in usage
    """What state everything is in, or the endpoint ID with all its windows.

    1h and 24h are the uptime. Of the last 24 hours: p50 and p95 of the time to the first token, or of
    the whole answer where there are no tokens; and the median output speed in tokens/s.
    """
    from monitor.cli import loading, recorded, standings
    from monitor.core.uptime import PUBLISHED, Window
    from monitor.feeds import api_v1

    config = loading.config(given)
    only = None if id is None else _watched(config, id)
    found = recorded.read(config, only, PUBLISHED if only else (Window.H1, Window.H24))
    if as_json:
        from monitor.cli import printing

        own = json.loads(api_v1.daemon(found.snapshot))
        printing.document({**own, **json.loads(api_v1.endpoints(found.snapshot))})
        return
    recorded.print_if_stale(found.snapshot.heartbeat, found.snapshot.now, found.snapshot.blind_now)
    if only is None:
        standings.show_all(found.snapshot)
        recorded.print_in_passing(found.snapshot.heartbeat, found.snapshot.now)
    else:
        standings.show_one(found.snapshot, found.events)


def _watched(config: "Config", id_: str) -> str:
    from monitor.cli import choosing

    endpoint = choosing.endpoint(config, id_)
    if not endpoint.enabled:
        raise Failure(f"{endpoint.id} is switched off in config.toml (enabled = false)", USAGE)
    return endpoint.id


@click.command()
@click.option("--window", default="30d", show_default=True, type=click.Choice(WINDOWS), help="How far back.")
@click.option("--format", "layout", default="table", show_default=True, type=click.Choice(FORMATS))
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.pass_obj
def report(given: str | None, *, window: str, layout: str, as_json: bool) -> None:
    """Uptime, percentiles, tokens and cost of every endpoint in a window that ends now."""
    from monitor.cli import loading, recorded, reports
    from monitor.core.uptime import Window

    found = recorded.read(loading.config(given), None, (Window(window),))
    reports.show(found, Window(window), "json" if as_json else layout)


@click.command()
@click.option("--open", "only_open", is_flag=True, help="Only those that are not over.")
@click.option(
    "--limit", default=20, show_default=True, type=click.IntRange(0), help="How many that are over."
)
@_as_json
@click.pass_obj
def incidents(given: str | None, *, only_open: bool, limit: int, as_json: bool) -> None:
    """What went wrong and for how long, newest first, with every update."""
    from monitor import clock
    from monitor.cli import loading, printing, recorded, standings
    from monitor.feeds import api_v1

    config = loading.config(given)
    found, heartbeat = recorded.stories(config, 0 if only_open else limit)
    if as_json:
        printing.document(json.loads(api_v1.incidents(found)))
        return
    recorded.print_if_stale(heartbeat, clock.now())
    standings.show_stories(found, clock.now(), config.site.timezone)


@click.command()
@click.argument("id")
@click.option("--list", "listed", is_flag=True, help="The newest ones of an endpoint, one a line.")
@click.option(
    "--limit", default=20, show_default=True, type=click.IntRange(1, 1000), help="How many to list."
)
@_as_json
@click.pass_obj
def evidence(given: str | None, id: str, *, listed: bool, limit: int, as_json: bool) -> None:  # noqa: A002
    """What came of the newest failure of an endpoint, or of a probe by its id: a text for a ticket.

    It holds no secret: uptoken evidence openai/gpt-4.1-nano > ticket.txt
    """
    from monitor.cli import loading, printing, ticket
    from monitor.feeds import api_v1

    config = loading.config(given)
    found = ticket.read(config, id, limit if listed else 1)
    if as_json:
        documents = [json.loads(api_v1.evidence(one)) for one in found]
        printing.document({"evidence": documents} if listed else documents[0])
    elif listed:
        ticket.show_list(found)
    else:
        ticket.show(found[0])
