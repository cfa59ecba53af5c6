"""What kills and a database that is away cost: nothing, or this raises AssertionError."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from bench.report import Table
from tests.support.away import Cost, another_cluster, without_database
from tests.support.both import at_once, stage
from tests.support.crash import Toll, crash
from tests.support.postgres import Cluster
from tests.support.simulated import Simulated, simulating

KILLS = 100
"""On each of the two databases."""
AWAY_S = 600.0
STAGE = ("home", "simulated", "receiver")


def figures(*, long: bool) -> Iterator[Table]:
    with simulating() as program, tempfile.TemporaryDirectory(prefix="uptoken-bench-") as folder:
        yield _kills(Path(folder), program)
        if long:
            yield _away(Path(folder), program)


def _kills(folder: Path, program: Simulated) -> Table:
    tolls: dict[str, Toll] = {}
    with another_cluster() as cluster:
        urls = {
            "sqlite": f"sqlite:///{folder / 'sqlite' / 'uptoken.db'}",
            "postgresql": cluster.url(cluster.create_database()),
        }

        def play(name: str) -> None:
            with stage(name, folder, urls[name], program, STAGE) as own:
                tolls[name] = crash(**own, kills=KILLS, seed=2026)

        at_once({name: partial(play, name) for name in urls})
    table = Table(
        "crash: SIGKILL at random moments during scripted outages",
        ("database", "kills", "outages", "results stored", "lost", "slots due", "messages", "duplicates"),
    )
    for name, toll in tolls.items():
        table.add(name, toll.kills, toll.outages, toll.stored, 0, toll.slots, toll.messages, toll.duplicates)
    table.note = (
        "Lost: logged as stored, and not in the database afterwards. At most one duplicate a kill, with the"
        " same reference; one incident an outage; due = results + gap slots. All of that is checked."
    )
    return table


def _away(folder: Path, program: Simulated) -> Table:
    costs: dict[str, Cost] = {}

    def play(name: str, away: Callable[[Cluster], AbstractContextManager[None]]) -> None:
        with (
            another_cluster() as cluster,
            stage(name, folder, cluster.url(cluster.create_database()), program, STAGE) as own,
        ):
            costs[name] = without_database(away(cluster), AWAY_S, **own)

    at_once(
        {
            "stopped": partial(play, "stopped", Cluster.stopped),
            "frozen": partial(play, "frozen", Cluster.frozen),
        }
    )
    table = Table(
        "away: PostgreSQL stopped, and frozen, for ten minutes under load",
        ("database", "slots due", "lost", "drained in s", "latest start in ms"),
    )
    for name, cost in costs.items():
        table.add(name, cost.slots, 0, f"{cost.drained_s:.1f}", f"{cost.latest_s * 1000:.0f}")
    table.note = (
        "50 endpoints at 1 s; the outage that began and ended in that time was told in that time, once."
    )
    return table
