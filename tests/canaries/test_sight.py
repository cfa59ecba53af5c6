"""Canaries on real sockets, and what is made of what they say. Nothing leaves this machine."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from monitor import clock
from monitor.canaries import Canaries, Look, Place, Sight, gateways, is_neighbour
from monitor.core.figures import Figures
from monitor.core.instant import Instant
from monitor.core.observation import Observation
from monitor.core.outcome import Outcome
from monitor.core.path import Blind, Need
from monitor.core.step import Checkpoint, Step
from monitor.core.timeline import Timeline
from monitor.core.verdict import Learnt, Verdict
from monitor.core.wire import Fault, FaultKind, Phase
from monitor.store.spool import Spool
from monitor.transport.wire import Transports, open_transports
from monitor.writer import Writer
from tests.core.believing import look as believed
from tests.core.believing import rules

PUBLIC = "203.0.113.7"
START = Instant(1_800_000_000_000_000)


@contextmanager
def answering() -> Iterator[Place]:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as door:
        yield "127.0.0.1", door.getsockname()[1]


@contextmanager
def silent() -> Iterator[Place]:
    """Nobody is let in, and nobody is told."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as door:
        fillers = []
        for _ in range(8):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(door.getsockname())
            fillers.append(filler)
        yield "127.0.0.1", door.getsockname()[1]
        for filler in fillers:
            filler.close()


@dataclass
class Stand:
    """A Sight with a writer that keeps what it is given."""

    transports: Transports
    folder: Path
    writer: Writer = field(init=False)
    canaries: Canaries = field(init=False)

    def look_out(
        self, places: Sequence[Place], held: Blind | None = None, clocks: clock.Clock = clock.SYSTEM
    ) -> Sight:
        self.writer = Writer(
            connect=lambda: pytest.fail("there is no database here"),
            journal=None,
            spool=Spool(self.folder / "spool"),
            known=Checkpoint(at=START, beliefs={}),
            rules={f"{vendor}/one": rules() for vendor in "abcd"},
            now=clock.now,
            monotonic=clock.monotonic,
            deliver=lambda _: None,
            state_dir=self.folder,
        )
        self.canaries = Canaries(places, self.transports, clock.monotonic)
        return Sight(self.canaries, self.writer, clocks, channels=["ops"], zone=None, held=held)

    @property
    def steps(self) -> list[Step]:
        return list(self.writer._inbox.steps)

    @property
    def records(self) -> list[Blind]:
        return [step.blind for step in self.steps if step.blind is not None]

    @property
    def told(self) -> list[str]:
        return [alert.title.partition(",")[0] for step in self.steps for alert in step.alerts]


@pytest.fixture
async def stand(tmp_path: Path) -> AsyncIterator[Stand]:
    async with open_transports() as transports:
        yield Stand(transports, tmp_path)


def look(
    kind: FaultKind | None = FaultKind.TIMEOUT,
    outcome: Outcome = Outcome.CONNECT_TIMEOUT,
    *,
    vendor: str = "a",
    peers: tuple[str, ...] = (PUBLIC,),
    phase: Phase = Phase.CONNECT,
    code: int | None = None,
    began_s_ago: float = 0.5,
) -> Look:
    began = clock.monotonic() - began_s_ago
    line = Timeline(start=began, dns_s=0.001, peers=peers, headers=None if kind else clock.monotonic())
    fault = None if kind is None else Fault(kind, phase, "no connection within 500 ms", code)
    return Look(
        endpoint=f"{vendor}/one",
        vendor=vendor,
        at=Instant(clock.now() - round(began_s_ago * 1e6)),
        began=began,
        lasts_s=60.0,
        worked=True,
        observation=Observation(timeline=line, fault=fault, status=200 if kind is None else None),
        verdict=Verdict(outcome=outcome, detail="no connection", figures=Figures(), learnt=Learnt()),
    )


def works(vendor: str = "b", peers: tuple[str, ...] = (PUBLIC,)) -> Look:
    return look(None, Outcome.OK, vendor=vendor, peers=peers)


@pytest.mark.anyio
async def test_a_canary_that_answers_makes_it_the_providers(stand: Stand) -> None:
    with answering() as canary, silent() as other:
        sight = stand.look_out([other, canary])
        began = time.monotonic()
        assert (await sight.settle(look())).outcome is Outcome.CONNECT_TIMEOUT
        assert time.monotonic() - began < 0.5
        assert stand.steps == []
        await sight.stop()


@pytest.mark.anyio
async def test_a_canary_that_refuses_was_reached(stand: Stand) -> None:
    with answering() as (host, port):
        pass
    sight = stand.look_out([(host, port)])
    assert (await sight.settle(look())).outcome is Outcome.CONNECT_TIMEOUT
    await sight.stop()


@pytest.mark.anyio
async def test_where_no_canary_answers_it_is_ours_within_three_seconds_and_one_record_is_open(
    stand: Stand,
) -> None:
    with silent() as canary:
        sight = stand.look_out([canary])
        began = time.monotonic()
        first, second = await asyncio.gather(sight.settle(look()), sight.settle(look(vendor="b")))
        assert time.monotonic() - began < 3.0
        assert {first.outcome, second.outcome} == {Outcome.LOCAL_NETWORK}
        assert first.detail is not None
        assert "0 of 1 canaries could be reached" in first.detail
        assert stand.canaries.rounds == 1
        [record] = stand.records
        assert record.ended is None
        assert record == sight.blind
        # While we are blind nobody is held.
        began = time.monotonic()
        assert (await sight.settle(look(vendor="c"))).outcome is Outcome.LOCAL_NETWORK
        assert time.monotonic() - began < 0.2
        await sight.stop()


@pytest.mark.anyio
async def test_an_answer_ends_the_blindness_with_one_notice(stand: Stand) -> None:
    with silent() as canary:
        sight = stand.look_out([canary])
        await sight.settle(look())
        await sight.settle(works())
        assert sight.blind is None
        opened, closed = stand.records
        assert closed.ended is not None
        assert closed.started == opened.started
        assert stand.told == ["WAS BLIND: this monitor"]
        # Who waited meanwhile learnt nothing of the provider.
        assert (await sight.settle(look(began_s_ago=2.0))).outcome is Outcome.LOCAL_NETWORK
        await sight.stop()


@pytest.mark.anyio
async def test_in_peace_and_on_loopback_nobody_is_asked(stand: Stand) -> None:
    with answering() as canary:
        sight = stand.look_out([canary])
        await sight.settle(works())
        for kind in FaultKind:
            await sight.settle(look(kind, Outcome.CONNECTION_RESET, peers=("127.0.0.1",)))
        await sight.settle(look(FaultKind.LOCAL, Outcome.LOCAL_NETWORK, peers=("127.0.0.1",)))
        assert stand.canaries.rounds == 0
        await sight.stop()


@pytest.mark.anyio
async def test_another_endpoint_that_answers_spares_the_canaries(stand: Stand) -> None:
    with silent() as canary:
        sight = stand.look_out([canary])
        await sight.settle(works("b"))
        await sight.settle(works("c"))
        assert (await sight.settle(look())).outcome is Outcome.CONNECT_TIMEOUT
        assert stand.canaries.rounds == 0
        await sight.stop()


@pytest.mark.anyio
async def test_if_most_vendors_fail_the_canaries_are_asked_although_one_answers(stand: Stand) -> None:
    with answering() as canary:
        sight = stand.look_out([canary])
        await sight.settle(works("d"))
        for vendor in "abc":
            assert (await sight.settle(look(vendor=vendor))).outcome is Outcome.CONNECT_TIMEOUT
        assert stand.canaries.rounds == 1
        await sight.stop()


@pytest.mark.anyio
async def test_without_canaries_only_a_crowd_makes_it_ours(stand: Stand) -> None:
    sight = stand.look_out([])
    outcomes = [(await sight.settle(look(vendor=vendor))).outcome for vendor in "abc"]
    assert outcomes == [Outcome.CONNECT_TIMEOUT, Outcome.CONNECT_TIMEOUT, Outcome.LOCAL_NETWORK]
    assert stand.records == []
    await sight.stop()


@pytest.mark.anyio
async def test_no_route_opens_the_record_without_holding_anything(stand: Stand) -> None:
    with silent() as canary:
        sight = stand.look_out([canary])
        began = time.monotonic()
        gone = await sight.settle(look(FaultKind.LOCAL, Outcome.LOCAL_NETWORK, code=101))
        assert time.monotonic() - began < 0.2
        assert gone.detail == "no connection"
        while sight.blind is None:
            await asyncio.sleep(0.02)
        assert time.monotonic() - began < 3.0
        await sight.stop()


@pytest.mark.anyio
async def test_an_alarm_that_was_raised_too_early_is_withdrawn(stand: Stand) -> None:
    with silent() as canary:
        sight = stand.look_out([canary])
        await sight.settle(works("b"))
        await sight.settle(works("c"))
        late = look(began_s_ago=0.9)
        assert (await sight.settle(late)).outcome is Outcome.CONNECT_TIMEOUT
        for back in (2, 1, 0):
            stand.writer.record("a/one", believed(Instant(late.at + back), "b"))
        assert stand.writer.belief("a/one").incident is not None
        # The others fall silent as well: there was no network from then on.
        await asyncio.gather(*(sight.settle(look(vendor=vendor, began_s_ago=0.1)) for vendor in "bcd"))
        assert stand.writer.belief("a/one").incident is None
        assert "WITHDRAWN: Acme one" in stand.told
        await sight.stop()


@pytest.mark.anyio
async def test_canaries_that_never_answer_while_endpoints_do_are_no_witnesses(stand: Stand) -> None:
    with silent() as canary:
        sight = stand.look_out([canary])
        assert (await sight.settle(look())).outcome is Outcome.LOCAL_NETWORK
        while not sight._mute:
            await sight.settle(look(None, Outcome.OK, vendor="b", began_s_ago=0.0))
            await asyncio.sleep(0.05)
        assert (await sight.settle(look(began_s_ago=0.01))).outcome is Outcome.CONNECT_TIMEOUT
        await sight.stop()


@pytest.mark.anyio
async def test_the_record_of_the_daemon_before_us_is_brought_to_its_end(stand: Stand) -> None:
    with answering() as canary:
        held = Blind(
            started=START, ended=None, need=Need.INTERNET, reason="The monitor itself has no network"
        )
        sight = stand.look_out([canary], held)
        sight.start()
        while sight.blind is not None:
            await asyncio.sleep(0.02)
        [record] = stand.records
        assert (record.started, record.ended is None) == (START, False)
        assert stand.told == ["WAS BLIND: this monitor"]
        await sight.stop()


@pytest.mark.anyio
async def test_how_long_nobody_could_reach_us_does_not_jump_with_the_wall_clock(stand: Stand) -> None:
    wall, seconds = Instant(START + 60_000_000), 1000.0
    clocks = clock.Clock(now=lambda: wall, monotonic=lambda: seconds)
    held = Blind(started=START, ended=None, need=Need.INTERNET, reason="The monitor itself has no network")
    sight = stand.look_out([], held, clocks)
    assert sight.deaf_s() == 60.0
    wall, seconds = Instant(wall + 3_600_000_000), seconds + 5.0
    assert sight.deaf_s() == 65.0
    await sight.stop()


@pytest.mark.anyio
async def test_a_result_that_is_held_at_the_end_can_be_cut_off(stand: Stand) -> None:
    with silent() as canary:
        sight = stand.look_out([canary])
        held = asyncio.create_task(sight.settle(look()))
        while not sight.holding:
            await asyncio.sleep(0.01)
        held.cancel()
        with pytest.raises(asyncio.CancelledError):
            await held
        assert sight.holding == 0
        await sight.stop()


# Gateways

ROUTES = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t014DA8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
wlan0\t00000000\t014DA8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0
ppp0\t00000000\t00000000\t0001\t0\t0\t900\t00000000\t0\t0\t0
eth0\t004DA8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
"""
NEIGHBOURS = """\
IP address       HW type     Flags       HW address            Mask     Device
192.168.77.1     0x1         0x2         46:a4:12:46:35:92     *        eth0
192.168.77.9     0x1         0x0         00:00:00:00:00:00     *        eth0
"""


def test_the_gateway_is_that_of_the_default_route() -> None:
    assert gateways(ROUTES) == ("192.168.77.1",)
    assert gateways("") == ()


def test_a_neighbour_is_one_whose_hardware_address_is_known() -> None:
    assert is_neighbour(NEIGHBOURS, "192.168.77.1")
    assert not is_neighbour(NEIGHBOURS, "192.168.77.9")
    assert not is_neighbour("", "192.168.77.1")
