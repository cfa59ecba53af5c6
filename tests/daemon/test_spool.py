"""What a daemon finds in its state folder when it starts."""

from monitor.core.instant import Instant
from monitor.core.step import Checkpoint, Step
from monitor.store.spool import Spool
from tests.support.daemon import Home, website
from tests.support.simulated import Simulated
from tests.support.truth import START, step


def leave(home: Home, *steps: Step) -> Spool:
    """As a daemon that was killed while its database was away."""
    home.state.mkdir()
    spool = Spool(home.state / "spool")
    spool.start(Checkpoint(at=Instant(START), beliefs={}))
    spool.append(steps)
    spool.close()
    return spool


def test_a_step_that_the_database_refuses_holds_up_no_start(sqlite_home: Home, simulated: Simulated) -> None:
    home = sqlite_home
    home.configure(website("acme", simulated.health_url("acme")))
    leave(home, step(1), step(2, request_id="a lone surrogate \ud800"), step(3))
    daemon = home.ready()
    assert daemon.heard("spool.drained")[0]["steps"] == 3
    daemon.wait("probe.stored")
    assert daemon.stop()[0] == 0
    assert len(home.records().probes("acme/one")) == 2
    assert "ud800" in (home.state / "refused.jsonl").read_text()


def test_a_disk_that_does_not_take_what_was_refused_holds_up_no_start(
    sqlite_home: Home, simulated: Simulated
) -> None:
    home = sqlite_home
    home.configure(website("acme", simulated.health_url("acme")))
    content = leave(home, step(1), step(2, request_id="a lone surrogate \ud800")).path.read_bytes()
    (home.state / "refused.jsonl").mkdir()
    daemon = home.ready()
    daemon.wait("probe.stored")
    kept = daemon.heard("spool.kept")[0]
    assert kept["refused"] == 1
    assert daemon.stop()[0] == 0
    assert (home.state / kept["file"]).read_bytes() == content
    assert not (home.state / "spool").exists()
    assert len(home.records().probes("acme/one")) == 1


def test_a_damaged_spool_is_one_line_and_what_to_do(sqlite_home: Home, simulated: Simulated) -> None:
    home = sqlite_home
    home.configure(website("acme", simulated.health_url("acme")))
    spool = leave(home, step(1), step(2))
    content = bytearray(spool.path.read_bytes())
    content[len(content) // 2] ^= 1
    spool.path.write_bytes(content)
    daemon = home.start()
    assert daemon.ended() == 1
    assert daemon.lines[-1]["text"].endswith(f"to start without it, move {spool.path} away")
    assert spool.path.read_bytes() == content
