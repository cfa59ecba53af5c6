from tests.support.daemon import Home, alerting, channel, website
from tests.support.receiver import Receiver
from tests.support.simulated import Simulated


def test_an_outage_is_seen_told_and_stored(home: Home, simulated: Simulated, receiver: Receiver) -> None:
    home.configure(alerting(), channel("ops", receiver.url), website("acme", simulated.health_url("acme")))
    daemon = home.ready()
    daemon.wait("probe.stored", endpoint="acme/health", outcome="ok")
    simulated.set("acme", "http_503")
    down = receiver.wait()
    assert down.title == "DOWN: acme health"
    simulated.set("acme", "ok")
    up = receiver.wait(count=2)
    status, seconds = daemon.stop()
    print(seconds)
    assert status == 0
    assert up.incident == down.incident
    records = home.records()
    records.check_slots("acme/health")
    stored = {line["probe"] for line in daemon.heard("probe.stored")}
    assert stored == {probe.id for probe in records.probes()}
