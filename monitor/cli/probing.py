"""`probe`: one look now, and all that came of it."""

import asyncio
import json
import secrets as randomness
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from monitor.cli.failure import UNDECIDED, Failure

if TYPE_CHECKING:
    from monitor.config.secrets import Secrets
    from monitor.config.settings import Config, EndpointSettings
    from monitor.core.verdict import Learnt
    from monitor.pipeline import Seen

LEARNT_S = 1.0
"""A database that is slow or away must not hold up a look that needs none."""


@click.command()
@click.argument("id")
@click.option("--json", "as_json", is_flag=True, help="As JSON, with everything that was seen.")
@click.pass_obj
def probe(given: str | None, id: str, *, as_json: bool) -> int:  # noqa: A002 - the name that usage shows
    """Look at the endpoint ID once, now, and show what took how long. Nothing is stored.

    Exit 0 if it works, 1 if it is degraded, 2 if the provider is at fault, 3 for everything else:
    as monitoring plugins do.
    """
    from monitor import logs
    from monitor.cli import choosing, loading, waterfall
    from monitor.transport.waking import new_loop

    config = loading.config(given)
    endpoint = choosing.endpoint(config, id)
    if endpoint.reports:
        instead = f"`uptoken status {endpoint.id}` says what it said"
        raise Failure(f"{endpoint.id} cannot be asked, for it reports by itself; {instead}", UNDECIDED)
    secrets = loading.secrets(config, endpoint.secrets().values())
    logs.configure(secrets=secrets.values)
    learnt = _learnt(config, endpoint)
    with _patience(endpoint), asyncio.Runner(loop_factory=new_loop) as runner:
        seen = runner.run(_look(config, endpoint, secrets, learnt))
    if as_json:
        from monitor.cli import printing

        printing.document(_document(endpoint, seen))
    else:
        waterfall.show(endpoint, seen)
    return _exit_code(seen)


async def _look(
    config: "Config", endpoint: "EndpointSettings", secrets: "Secrets", learnt: "Learnt"
) -> "Seen":
    from monitor import compose
    from monitor.clock import SYSTEM
    from monitor.pipeline import look_once
    from monitor.transport.wire import open_transports

    async with open_transports() as transports:
        try:
            rules, blot = compose.rules(config, endpoint), compose.blot(config, secrets)
            watched = compose.watched(endpoint, rules, secrets, blot, transports)
        except (OSError, ValueError):
            raise Failure(f"{endpoint.id}: ca_file {endpoint.ca_file} cannot be used") from None
        return await look_once(watched, learnt, randomness.token_hex(8), SYSTEM)


def _learnt(config: "Config", endpoint: "EndpointSettings") -> "Learnt":
    """What the daemon knows of it: the model it served so far, fields it refuses."""
    from monitor.cli import loading
    from monitor.core.verdict import Learnt
    from monitor.store.engine import DatabaseAway
    from monitor.store.operator import Operator

    try:
        with loading.opened(config) as database:
            return Operator(database).learnt(endpoint.id, LEARNT_S)
    except (DatabaseAway, Failure):
        # A first look at something new is what this command is for.
        return Learnt()


def _exit_code(seen: "Seen") -> int:
    from monitor.core.outcome import Blame

    blame = seen.verdict.blame
    return {None: 0, Blame.DEGRADED: 1, Blame.PROVIDER: 2}.get(blame, UNDECIDED)


@contextmanager
def _patience(endpoint: "EndpointSettings") -> Iterator[None]:
    """Say that something is going on, to whoever watches."""
    if not sys.stderr.isatty():
        yield
        return
    words = f"Looking at {endpoint.id}, at most {endpoint.timeout.total_seconds():g} s ..."
    print(words, end="", flush=True, file=sys.stderr)
    try:
        yield
    finally:
        print("\r" + " " * len(words) + "\r", end="", flush=True, file=sys.stderr)


_OF_STORED = ("id", "slot", "scheduled", "sent", "maintenance", "evidence")


def _document(endpoint: "EndpointSettings", seen: "Seen") -> dict[str, Any]:
    """Everything, with the names of `/api/v1`."""
    from monitor import logs
    from monitor.core.identity import is_cache_hit
    from monitor.core.step import Result, probe_id
    from monitor.core.timeline import phases
    from monitor.feeds import api_v1

    verdict, found = seen.verdict, seen.observation
    result = Result(
        probe_id=probe_id(seen.at, 0),
        endpoint=endpoint.id,
        at=seen.at,
        slot=seen.at,
        scheduled=False,
        outcome=verdict.outcome,
        detail=verdict.detail and logs.redact(verdict.detail),
        request_id=found.request_id,
        figures=verdict.figures,
        cost_usd=seen.cost_usd,
        flaws=seen.flaws,
        cache_hit=is_cache_hit(found),
    )
    headroom = None if seen.headroom is None else api_v1.headroom(seen.headroom)
    (told,) = json.loads(api_v1.probes([(result, phases(found.timeline))], None))["probes"]
    return {
        "endpoint": endpoint.id,
        "protocol": endpoint.protocol,
        "model": endpoint.model_name,
        **{name: value for name, value in told.items() if name not in _OF_STORED},
        "status": found.status,
        "served_model": found.served_model,
        "fingerprint": found.fingerprint,
        "upstream": found.upstream,
        "finish_reason": found.finish_reason,
        "certificate_days": found.certificate_days,
        "issuer": found.certificate and found.certificate.issuer,
        "tls_version": found.certificate and found.certificate.version,
        "answers": [logs.redact(record) for record in found.answers],
        "headroom": headroom,
        "answer": logs.redact(found.answer) if endpoint.model_name else None,
        "body": logs.redact(found.body) or None,
    }
