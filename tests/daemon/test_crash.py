"""SIGKILL at random moments loses nothing, and tells nothing twice but what it must."""

from tests.support.both import on_both_databases
from tests.support.crash import crash
from tests.support.daemon import Home
from tests.support.receiver import Receiver
from tests.support.simulated import Simulated

KILLS = 10
"""On each database; `bench/` does two hundred."""


@on_both_databases
def test_kills_at_random_moments_lose_nothing_and_split_no_incident(
    home: Home, simulated: Simulated, receiver: Receiver
) -> None:
    toll = crash(home, simulated, receiver, kills=KILLS, seed=2026)
    print(toll)
    assert toll.outages > 0
    assert toll.stored > 0
