"""Names: what there is, what there is not, and a resolver that dies."""

import asyncio
import socket
from pathlib import Path

import pytest

from monitor.clock import monotonic
from monitor.transport.patience import Patience
from monitor.transport.resolver import Address, Resolver, in_turn, literal
from monitor.transport.wire import ProbeWire, Transport
from tests.transport.conftest import Named, Serve
from tests.transport.servers import OK, NameServer, Zone, answers, look

pytestmark = pytest.mark.anyio

HOSTS = Path("/etc/hosts").read_text()


async def test_looking_up_is_a_phase_of_its_own(named: Named, names: NameServer, serve: Serve) -> None:
    names.names["good.test"] = Zone(a=["127.0.0.1"])
    seen = await look(named(), serve(answers(OK)).url(host="good.test"))
    assert seen.fault is None
    assert seen.timeline.dns_s is not None
    assert 0 < seen.timeline.dns_s < 0.3


@pytest.mark.parametrize("name", ["localhost", "LOCALHOST", "api.localhost"])
async def test_names_of_this_machine_need_no_name_server(
    name: str, named: Named, names: NameServer, serve: Serve
) -> None:
    seen = await look(named(), serve(answers(OK)).url(host=name))
    assert (seen.fault, seen.body) == (None, b"ok")
    assert names.asked == []


async def test_the_hosts_file_goes_first(names: NameServer) -> None:
    lines = [line.split() for line in HOSTS.splitlines()]
    address, name = next(
        (line[0], line[-1]) for line in reversed(lines) if len(line) > 1 and line[0].count(".") == 3
    )
    resolver = Resolver(nameservers=[names.address])
    found = await resolver.resolve(name, 80, 4, Patience(asyncio.get_running_loop()), monotonic() + 5)
    await resolver.aclose()
    assert address in [known.sockaddr[0] for known in found]
    assert names.asked == []


@pytest.mark.parametrize(
    ("zone", "kind", "text"),
    [
        (Zone(code=3), "no_such_name", "the name odd.test does not exist"),
        (Zone(), "no_such_name", "odd.test has no address"),
        (Zone(code=2), "resolver", "the name servers failed when asked for odd.test"),
        (Zone(code=5), "resolver", "the name servers refused when asked for odd.test"),
    ],
)
async def test_what_the_name_servers_say_is_told(
    zone: Zone, kind: str, text: str, named: Named, names: NameServer
) -> None:
    names.names["odd.test"] = zone
    seen = await look(named(), "http://odd.test/")
    assert (seen.kind, seen.phase, seen.text) == (kind, "dns", text)
    assert seen.timeline.dns_s is not None
    assert seen.timeline.connect_s is None


async def test_a_name_without_the_forced_family_says_so(named: Named, names: NameServer) -> None:
    names.names["four.test"] = Zone(a=["127.0.0.1"])
    seen = await look(named(6), "http://four.test/")
    assert (seen.kind, seen.text) == ("no_such_name", "four.test has no IPv6 address")


async def test_a_label_that_is_too_long_cannot_exist(named: Named) -> None:
    seen = await look(named(), f"http://{'a' * 64}.test/")
    assert (seen.kind, seen.phase) == ("no_such_name", "dns")
    assert "not a name that can exist" in seen.text


async def test_a_name_that_hangs_ends_at_the_limit_for_connecting(named: Named, names: NameServer) -> None:
    names.names["dead.test"] = Zone(silent=True)
    seen = await look(named(), "http://dead.test/", connect_s=0.2)
    assert (seen.kind, seen.phase) == ("timeout", "dns")
    assert seen.text == "the name dead.test was not resolved within 200 ms"
    assert 0.199 <= seen.took < 0.4
    assert seen.timeline.dns_s == pytest.approx(0.2, abs=0.1)


async def test_a_name_server_out_of_reach_is_the_resolver_s_fault(closed_port: int) -> None:
    resolver = Resolver(nameservers=[f"127.0.0.1:{closed_port}"])
    seen = await look(ProbeWire(Transport(resolver=resolver)), "http://good.test/")
    await resolver.aclose()
    assert (seen.kind, seen.phase) == ("resolver", "dns")
    assert seen.text == "no name server could be reached when asked for good.test"


async def test_names_that_hang_delay_nobody_else(named: Named, names: NameServer, serve: Serve) -> None:
    names.names["good.test"] = Zone(a=["127.0.0.1"])
    wire = named()
    hanging = []
    for number in range(8):
        names.names[f"dead{number}.test"] = Zone(silent=True)
        hanging.append(asyncio.create_task(look(wire, f"http://dead{number}.test/", connect_s=1.0)))
    await asyncio.sleep(0)
    url = serve(answers(OK)).url(host="good.test")
    for _ in range(3):
        seen = await look(wire, url)
        assert seen.fault is None
        assert seen.timeline.dns_s is not None
        assert seen.timeline.dns_s < 0.3
    assert not any(task.done() for task in hanging)
    assert {seen.kind for seen in await asyncio.gather(*hanging)} == {"timeout"}


async def test_a_resolver_that_dies_is_noticed_though_its_answers_may_be_kept(
    named: Named, names: NameServer, serve: Serve
) -> None:
    names.names["good.test"] = Zone(a=["127.0.0.1"])
    wire = named()
    url = serve(answers(OK)).url(host="good.test")
    assert (await look(wire, url)).fault is None
    names.names["good.test"] = Zone(code=2)
    until = monotonic() + 5
    while (seen := await look(wire, url)).fault is None:
        assert monotonic() < until
    assert seen.kind == "resolver"


async def test_cancelling_a_lookup_is_no_fault(named: Named, names: NameServer) -> None:
    names.names["dead.test"] = Zone(silent=True)
    task = asyncio.create_task(look(named(), "http://dead.test/"))
    while not names.asked:
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_literal_is_no_name() -> None:
    assert literal("127.0.0.1", 80) == Address(socket.AF_INET, ("127.0.0.1", 80))
    assert literal("::1", 80) == Address(socket.AF_INET6, ("::1", 80, 0, 0))
    assert literal("127.1", 80) is None
    assert literal("good.test", 80) is None


def test_families_take_turns_in_the_order_given() -> None:
    six = [Address(socket.AF_INET6, (f"::{n}", 1, 0, 0)) for n in (1, 2, 3)]
    four = [Address(socket.AF_INET, ("127.0.0.1", 1))]
    assert in_turn([*six, *four]) == [six[0], four[0], six[1], six[2]]
    assert in_turn([*four, *six]) == [four[0], *six]
    assert in_turn(six) == six
