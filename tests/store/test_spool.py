"""Steps survive in a file what the database cannot take."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.core.belief import Belief, Quiet, QuietSpan
from monitor.core.instant import Instant
from monitor.core.step import Checkpoint, Step
from monitor.store.spool import Spool, SpoolDamaged, load_checkpoint, save_checkpoint
from tests.support.truth import START, step

PAUSED = QuietSpan(endpoint="acme/one", quiet=Quiet.PAUSED, starts=START, ends=Instant(START + 5))
KNOWN = Checkpoint(
    at=START,
    beliefs={"acme/one": Belief(endpoint="acme/one", sequence=7)},
    quiet={"acme/one": (PAUSED, replace(PAUSED, starts=Instant(START + 6), ends=Instant(START + 7)))},
)


def everything(spool: Spool) -> list[Step]:
    out: list[Step] = []
    while not spool.drained:
        steps, position = spool.take(3)
        out += steps
        spool.taken(position)
    return out


def test_steps_come_out_as_they_went_in_and_in_order(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    spool.start(KNOWN)
    steps = [step(number) for number in range(10)]
    spool.append(steps[:4])
    spool.append(steps[4:])
    assert everything(spool) == steps
    spool.remove()
    assert not (tmp_path / "spool").exists()


def test_another_process_takes_it_up_with_all_that_was_known(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    spool.start(KNOWN)
    spool.append([step(1), step(2)])
    spool.close()
    again = Spool(tmp_path / "spool")
    again.resume()
    known, steps = again.known()
    assert (known, list(steps)) == (KNOWN, [step(1), step(2)])
    assert everything(again) == [step(1), step(2)]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_crash_in_the_middle_of_an_append_loses_only_what_was_not_acknowledged(
    tmp_path: Path, data: st.DataObject
) -> None:
    path = tmp_path / "spool"
    spool = Spool(path)
    spool.start(KNOWN)
    spool.append([step(1)])
    sound = path.stat().st_size
    spool.append([step(2)])
    spool.close()
    cut = data.draw(st.integers(sound, path.stat().st_size - 1))
    os.truncate(path, cut)
    again = Spool(path)
    again.resume()
    assert everything(again) == [step(1)]
    again.append([step(3)])
    assert everything(again) == [step(3)]
    again.remove()


def test_damage_in_the_middle_is_refused_rather_than_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "spool"
    spool = Spool(path)
    spool.start(KNOWN)
    spool.append([step(1)])
    spool.append([step(2)])
    spool.close()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(SpoolDamaged):
        Spool(path).resume()


def test_there_is_no_spool_before_it_is_whole(tmp_path: Path) -> None:
    """Whoever finds one can start from it, and whoever could not begin one begins it anew."""
    path = tmp_path / "folder" / "spool"
    spool = Spool(path)
    with pytest.raises(FileNotFoundError):
        spool.start(KNOWN)
    assert not spool.is_open
    path.parent.mkdir()
    spool.start(KNOWN)
    spool.append([step(1)])
    assert [one.name for one in path.parent.iterdir()] == ["spool"]
    known, steps = spool.known()
    assert (known, list(steps)) == (KNOWN, [step(1)])
    spool.remove()


def test_a_checkpoint_comes_back_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.json"
    assert load_checkpoint(path) is None
    save_checkpoint(path, KNOWN)
    assert load_checkpoint(path) == KNOWN
    path.write_bytes(path.read_bytes()[:-5])
    assert load_checkpoint(path) is None


def test_nobody_else_can_read_what_is_kept(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    spool.start(KNOWN)
    save_checkpoint(tmp_path / "checkpoint.json", KNOWN)
    for name in ("spool", "checkpoint.json"):
        assert (tmp_path / name).stat().st_mode & 0o077 == 0
    spool.remove()
