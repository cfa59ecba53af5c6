"""The process is stopped and goes on: what ran meanwhile tells nothing about anybody else."""

import signal
import time

from tests.support.daemon import Home, alerting, until, website
from tests.support.simulated import Simulated

FROZEN_S = 6.0


def test_a_probe_that_was_frozen_with_us_is_not_the_providers_failure(
    sqlite_home: Home, simulated: Simulated
) -> None:
    home = sqlite_home
    simulated.define("deaf")
    simulated.set("deaf", "silent")
    home.configure(alerting(), website("deaf", simulated.health_url("deaf"), interval="60s", timeout="4s"))
    daemon = home.ready()
    until(lambda: len(simulated.log("deaf")) == 1, "it hangs")
    daemon.send(signal.SIGSTOP)
    time.sleep(FROZEN_S)
    daemon.send(signal.SIGCONT)
    daemon.wait("probe.stored", endpoint="deaf/health", outcome="self_overload")
    assert daemon.stop()[0] == 0
    (probe,) = home.records().probes("deaf/health")
    assert "stood still" in (probe.detail or "")
