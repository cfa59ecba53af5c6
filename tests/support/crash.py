"""SIGKILL at random moments while providers fail by script, and what must be true afterwards.

A loop for the tests (a few kills) and for `bench/` (many): `crash(...)` raises AssertionError at
the first law that is broken, and returns figures.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

from monitor.core.belief import incident_id
from monitor.core.instant import MILLISECOND, SECOND, Instant
from monitor.core.slots import phase_of
from tests.support.daemon import Daemon, Home, alerting, channel, until, website
from tests.support.receiver import Message, Receiver
from tests.support.records import Records
from tests.support.simulated import Simulated

LONGEST_LIFE_S = 5.0
"""A daemon that is killed lives at most so long, its start of a second included."""
FAILURES = ("http_503", "http_500", "reset")
CHANNEL = "ops"


@dataclass(frozen=True, slots=True, kw_only=True)
class Toll:
    """What a loop of kills came to; every law held."""

    seed: int
    kills: int
    outages: int
    stored: int
    """Results that were logged as stored; every one of them is in the database."""
    slots: int
    """Due slots: each has a result or lies in a gap."""
    messages: int
    duplicates: int
    """Messages that came a second time, at most one a kill."""
    seconds: float


def crash(home: Home, simulated: Simulated, receiver: Receiver, *, kills: int, seed: int) -> Toll:
    """Kill the daemon so many times while three providers fail and recover, then look at everything."""
    began = time.monotonic()
    providers = [f"crash-{number}" for number in range(3)]
    for provider in providers:
        simulated.define(provider)
    home.configure(
        alerting(down_after=2, up_after=1),
        channel(CHANNEL, receiver.url),
        *(website(one, simulated.health_url(one), slugs=_twins(one)) for one in providers),
    )
    home.ready().kill()  # so that there is a schema to look at
    records = home.records()
    scripts = [
        _Script(provider, simulated, records, random.Random(f"{seed}/{provider}")) for provider in providers
    ]
    killer = _Killer(home, receiver, random.Random(seed))
    for script in scripts:
        script.thread.start()
    try:
        for _ in range(kills):
            killer.kill_one()
        last = home.ready()
        for script in scripts:
            script.end.set()
        for script in scripts:
            script.thread.join()
    finally:
        for script in scripts:
            script.end.set()
    until(lambda: not _owed(records), "everything owed was sent")
    status, _ = last.stop()
    assert status == 0, last.tail()
    toll = Toll(
        seed=seed,
        kills=kills,
        outages=sum(len(script.outages) * len(script.endpoints) for script in scripts),
        stored=_check_results(home.daemons, records),
        slots=sum(records.check_slots(endpoint) for script in scripts for endpoint in script.endpoints),
        messages=len(receiver.messages),
        duplicates=_check_messages(receiver.messages, killer.moments, records),
        seconds=round(time.monotonic() - began, 1),
    )
    _check_alerts(records)
    for script in scripts:
        assert script.failure is None, script.failure
        for endpoint in script.endpoints:
            _check_incidents(records, endpoint, script.outages)
    return toll


# The providers


@dataclass
class _Script:
    """One provider that fails, is found down, recovers, is found up, and so on until it is told to end."""

    provider: str
    simulated: Simulated
    records: Records
    chance: random.Random
    outages: list[tuple[str, Instant]] = field(default_factory=list)
    """Behaviour and when it began."""
    failure: BaseException | None = None

    def __post_init__(self) -> None:
        self.end = threading.Event()
        self.thread = threading.Thread(target=self._run, name=self.provider, daemon=True)

    @property
    def endpoints(self) -> list[str]:
        return [f"{self.provider}/{slug}" for slug in _twins(self.provider)]

    def _run(self) -> None:
        try:
            self._await("up")
            while not self.end.wait(self.chance.uniform(0.0, 1.0)):
                behaviour = self.chance.choice(FAILURES)
                self.outages.append((behaviour, Instant(time.time_ns() // 1000)))
                self.simulated.set(self.provider, behaviour)
                self._await("down")
                self.end.wait(self.chance.uniform(0.0, 1.0))
                self.simulated.set(self.provider, "ok")
                self._await("up")
        except BaseException as error:  # noqa: BLE001 - it travels to whoever joins the thread
            self.failure = error

    def _await(self, state: str) -> None:
        """Short lives get nowhere, so this can take many of them."""
        for endpoint in self.endpoints:
            until(lambda: self.records.state(endpoint) == state, f"{endpoint} is {state}", 120.0)  # noqa: B023


def _twins(provider: str) -> tuple[str, str]:
    """Two endpoints that are looked at in the same moment, so that two alerts leave together."""
    phase = phase_of(f"{provider}/health", SECOND)
    others = (f"twin-{number}" for number in range(10_000))
    near = next(s for s in others if abs(phase_of(f"{provider}/{s}", SECOND) - phase) < 5 * MILLISECOND)
    return "health", near


# The killer


class _Killer:
    """Starts daemons and kills them: at any moment, or just when something happens."""

    def __init__(self, home: Home, receiver: Receiver, chance: random.Random) -> None:
        self.moments: list[float] = []
        """When each was killed, in monotonic seconds."""
        self._home = home
        self._chance = chance
        self._message = threading.Event()
        receiver.on_message = self._came

    def kill_one(self) -> None:
        self._message.clear()
        daemon = self._home.start()
        deadline = daemon.started + self._chance.uniform(0.3, LONGEST_LIFE_S)
        wait = self._chance.choice((_for_nothing, _for_a_result, _for_a_transition, self._for_a_message))
        wait(daemon, deadline)
        if wait is not _for_nothing:
            time.sleep(self._chance.choice((0.0, 0.003, 0.06)) * self._chance.random())
        assert daemon.running, daemon.tail()
        daemon.kill()
        self.moments.append(time.monotonic())

    def _came(self, _message: Message) -> None:
        self._message.set()

    def _for_a_message(self, _daemon: Daemon, _deadline: float) -> None:
        self._message.wait(LONGEST_LIFE_S)


def _for_nothing(_daemon: Daemon, deadline: float) -> None:
    time.sleep(max(0.0, deadline - time.monotonic()))


def _for_a_result(daemon: Daemon, deadline: float) -> None:
    _until(lambda: bool(daemon.heard("probe.stored")), deadline)


def _for_a_transition(daemon: Daemon, _deadline: float) -> None:
    _until(lambda: bool(daemon.heard("state.changed")), daemon.started + LONGEST_LIFE_S)


def _until(holds: Callable[[], bool], deadline: float) -> None:
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.002)


# The laws


def _owed(records: Records) -> int:
    return int(records.value("SELECT count(*) FROM alert WHERE sent_at IS NULL AND dead_at IS NULL"))


def _check_results(daemons: list[Daemon], records: Records) -> int:
    """Nothing is lost that was logged as stored."""
    logged = {line["probe"]: line["outcome"] for daemon in daemons for line in daemon.heard("probe.stored")}
    kept = {probe.id: probe.outcome for probe in records.probes()}
    lost = logged.items() - kept.items()
    assert not lost, f"logged as stored, and not there: {lost}"
    return len(logged)


def _check_messages(messages: list[Message], kills: list[float], records: Records) -> int:
    """Nobody hears of what is not stored; what comes twice has its reference, and a kill between."""
    owed = {
        f"[{row.incident}#{row.sequence}]" for row in records.rows("SELECT incident, sequence FROM alert")
    }
    came: dict[str, list[Message]] = {}
    for message in messages:
        came.setdefault(message.reference, []).append(message)
    assert came.keys() <= owed, f"sent, and not stored: {came.keys() - owed}"
    blame: Counter[float] = Counter()
    for copies in came.values():
        for first, second in pairwise(copies):
            # The first may have lain in the socket for a moment when its sender was killed.
            blame[max((kill for kill in kills if first.at - 1.0 < kill < second.at), default=0.0)] += 1
    assert not blame[0.0], "a message came twice though nobody was killed between"
    assert all(count == 1 for count in blame.values()), f"a kill brought more than one duplicate: {blame}"
    return blame.total()


def _check_alerts(records: Records) -> None:
    """No transition that is to be told goes without its alert, and every alert was sent."""
    untold = records.rows(
        "SELECT u.incident_id, u.sequence, u.status FROM incident_update u"
        " LEFT JOIN alert a ON a.incident = u.incident_id AND a.sequence = u.sequence"
        " WHERE u.status <> 'unknown' AND a.key IS NULL"
    )
    assert not untold, untold
    silent = records.rows(
        "SELECT t.endpoint_id, t.at FROM transition t WHERE t.\"after\" = 'down'"
        " AND NOT EXISTS (SELECT 1 FROM alert a JOIN endpoint e ON e.name = a.endpoint"
        " WHERE e.id = t.endpoint_id AND a.created = t.at AND a.kind = 'down')"
    )
    assert not silent, silent
    assert not records.rows("SELECT key FROM alert WHERE sent_at IS NULL")


def _check_incidents(records: Records, endpoint: str, outages: list[tuple[str, Instant]]) -> None:
    """One outage of the script, one incident, that ended, and that has an id for good."""
    incidents = records.rows(
        "SELECT i.* FROM incident i JOIN incident_endpoint b ON b.incident_id = i.id"
        " JOIN endpoint e ON e.id = b.endpoint_id WHERE e.name = :name ORDER BY i.started_at",
        name=endpoint,
    )
    assert len(incidents) == len(outages), (endpoint, incidents, outages)
    for incident, (_, began) in zip(incidents, outages, strict=True):
        assert incident.started_at >= began
        assert incident.ended_at is not None
        assert incident.id == incident_id(endpoint, incident.started_at)
        numbers = [
            row.sequence
            for row in records.rows(
                "SELECT sequence FROM incident_update WHERE incident_id = :id ORDER BY sequence",
                id=incident.id,
            )
        ]
        assert numbers == list(range(1, len(numbers) + 1))
        assert incident.sequence == len(numbers)
