"""The real daemon on a machine whose network breaks in every way: never an outage of somebody else's."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, Home, alerting, home_at, until, website
from tests.support.namespaces import GATEWAY, Cable, plugged_in
from tests.support.records import BUSY

CANARIES = (
    '[canary]\naddresses = ["203.0.113.101:443", "203.0.113.102:443", "h101.test:443", "h103.test:443"]\n'
)
CONSOLE = '[channel.ops]\nurl = "console://"\n'
NAMED = ("one/health", "two/health", "three/health")
LITERAL, LAN = "four/health", "lan/health"
EVERY = (*NAMED, LITERAL, LAN)
DROPPED = "rule {} from 203.0.113.0/24 priority 10 blackhole"


def sites() -> list[str]:
    named = [website(name, f"http://h2{place}.test/") for place, name in enumerate(("one", "two", "three"))]
    return [*named, website("four", "http://203.0.113.24/"), website("lan", f"http://{GATEWAY}/")]


@dataclass(frozen=True)
class World:
    cable: Cable
    home: Home
    daemon: Daemon

    @property
    def told(self) -> list[str]:
        return [line["title"] for line in self.daemon.heard("alert.console")]

    def changed(self, endpoint: str, after: str) -> int:
        return len(self.daemon.heard("state.changed", endpoint=endpoint, after=after))


@pytest.fixture(scope="module")
def cable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cable]:
    with plugged_in(tmp_path_factory.mktemp("cable")) as one:
        one.own(20, 21, 22, 24, 101, 102, 103)
        yield one


@pytest.fixture(scope="module")
def world(cable: Cable, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("home")
    with home_at(folder, f"sqlite:///{folder / 'uptoken.db'}") as home:
        home.inside = cable.inside
        home.configure(alerting(), CONSOLE, CANARIES, *sites())
        daemon = home.ready()
        for endpoint in EVERY:
            daemon.wait("state.changed", endpoint=endpoint, after="up")
        yield World(cable, home, daemon)
        assert daemon.stop()[0] == 0


@dataclass(frozen=True)
class Trouble:
    breaks: Callable[[Cable], None]
    mends: Callable[[Cable], None]
    reason: str
    hits: tuple[str, ...]


TROUBLES = {
    "the link is down": Trouble(
        lambda cable: cable.here("link", "set", "cable", "down"), Cable.plug_in, "no network", EVERY
    ),
    "the cable is cut": Trouble(
        lambda cable: cable.there("link", "set", "cable", "down"),
        lambda cable: cable.there("link", "set", "cable", "up"),
        "the monitor itself",
        EVERY,
    ),
    "there is no route": Trouble(
        lambda cable: cable.here("route", "del", "default"), Cable.plug_in, "no network", (*NAMED, LITERAL)
    ),
    "everything is swallowed": Trouble(
        lambda cable: cable.there(*DROPPED.format("add").split()),
        lambda cable: cable.there(*DROPPED.format("del").split()),
        "no network",
        (*NAMED, LITERAL),
    ),
    "the name servers are dead": Trouble(
        lambda cable: cable.disown(53), lambda cable: cable.own(53), "cannot resolve any name", NAMED
    ),
}


@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=TROUBLES.keys())
def test_a_network_of_ours_that_is_lost_is_nobodys_outage(world: World, trouble: Trouble) -> None:
    daemon, records = world.daemon, world.home.records()
    spells = len(daemon.heard("daemon.sees"))
    lost = {endpoint: world.changed(endpoint, "unknown") for endpoint in EVERY}
    found = {endpoint: world.changed(endpoint, "up") for endpoint in EVERY}
    told = len(world.told)

    trouble.breaks(world.cable)
    daemon.wait("daemon.blind", count=spells + 1)
    for endpoint in trouble.hits:
        daemon.wait("state.changed", endpoint=endpoint, after="unknown", count=lost[endpoint] + 1)
    assert len(world.told) == told

    trouble.mends(world.cable)
    daemon.wait("daemon.sees", count=spells + 1)
    for endpoint in trouble.hits:
        daemon.wait("state.changed", endpoint=endpoint, after="up", count=found[endpoint] + 1)
    until(lambda: len(world.told) > told, "it is told")

    assert [title.partition(",")[0] for title in world.told[told:]] == ["WAS BLIND: this monitor"]
    assert not [line for line in daemon.heard("state.changed") if line["after"] == "down"]
    assert {endpoint for endpoint in EVERY if world.changed(endpoint, "unknown") > lost[endpoint]} == set(
        trouble.hits
    )
    [*_, blind] = records.rows("SELECT starts, ends, reason FROM blind ORDER BY starts")
    assert len(records.rows("SELECT starts FROM blind")) == spells + 1
    assert trouble.reason in blind.reason.lower()
    assert blind.ends > blind.starts
    assert records.rows("SELECT id FROM incident") == []


def test_a_real_outage_is_found_while_the_name_servers_are_dead(world: World) -> None:
    daemon, cable = world.daemon, world.cable
    spells, told = len(daemon.heard("daemon.sees")), len(world.told)
    cable.disown(53)
    daemon.wait("daemon.blind", count=spells + 1)
    cable.disown(24)
    daemon.wait("state.changed", endpoint=LITERAL, after="down")
    cable.own(24)
    daemon.wait("state.changed", endpoint=LITERAL, before="down", after="up")
    cable.own(53)
    daemon.wait("daemon.sees", count=spells + 1)
    until(lambda: len(world.told) == told + 3, "all is told")
    assert [line["endpoint"] for line in daemon.heard("state.changed", after="down")] == [LITERAL]


def test_what_a_router_far_away_says_is_no_trouble_of_ours(cable: Cable, tmp_path: Path) -> None:
    with home_at(tmp_path, f"sqlite:///{tmp_path / 'uptoken.db'}") as home, cable.forwarding():
        home.inside = cable.inside
        home.configure(alerting(), CONSOLE, CANARIES, website("lost", "http://198.51.100.7/"), *sites())
        daemon = home.ready()
        daemon.wait("state.changed", endpoint="lost/health", after="down")
        assert {line["outcome"] for line in daemon.heard("probe.stored", endpoint="lost/health")} == {
            "host_unreachable"
        }
        assert daemon.stop()[0] == 0


def test_a_daemon_that_dies_blind_leaves_the_rest_to_its_successor(cable: Cable, tmp_path: Path) -> None:
    with home_at(tmp_path, f"sqlite:///{tmp_path / 'uptoken.db'}") as home:
        home.inside = cable.inside
        home.configure(alerting(), CONSOLE, CANARIES, *sites())
        first = home.ready()
        for endpoint in EVERY:
            first.wait("state.changed", endpoint=endpoint, after="up")
        cable.here("route", "del", "default")
        first.wait("daemon.blind")
        until(lambda: len(home.records().rows("SELECT starts FROM blind")) == 1, "the record is stored")
        first.kill()
        second = home.ready()
        second.wait("probe.stored", endpoint=LITERAL, outcome="local_network")
        cable.plug_in()
        second.wait("daemon.sees")
        second.wait("alert.console")
        assert second.stop()[0] == 0
        [record] = home.records().rows("SELECT starts, ends FROM blind")
        assert record.ends > record.starts
        assert [line["title"].partition(",")[0] for line in second.heard("alert.console")] == [
            "WAS BLIND: this monitor"
        ]
        assert home.records().rows("SELECT id FROM incident") == []


def test_names_that_hang_are_their_owners_fault_and_nobody_elses(cable: Cable, tmp_path: Path) -> None:
    hanging = [website(f"hang{place}", f"http://hang{place}.test/") for place in range(8)]
    with home_at(tmp_path, f"sqlite:///{tmp_path / 'uptoken.db'}") as home:
        home.inside = cable.inside
        home.configure(alerting(), CONSOLE, CANARIES, *hanging, *sites())
        daemon = home.ready()
        for place in range(8):
            daemon.wait("state.changed", endpoint=f"hang{place}/health", after="down")
        assert daemon.stop()[0] == 0
        outcomes = {
            endpoint: {line["outcome"] for line in daemon.heard("probe.stored", endpoint=endpoint)}
            for endpoint in (*EVERY, *(f"hang{place}/health" for place in range(8)))
        }
        took = [
            line["total_ms"] for endpoint in EVERY for line in daemon.heard("probe.stored", endpoint=endpoint)
        ]
        assert home.records().rows("SELECT starts FROM blind") == []
    assert all({"ok"} <= outcomes[endpoint] <= {"ok", BUSY} for endpoint in EVERY), outcomes
    assert max(took) < 500.0
    assert all(
        {"dns_failure"} <= seen <= {"dns_failure", "cancelled"} for seen in list(outcomes.values())[5:]
    )
