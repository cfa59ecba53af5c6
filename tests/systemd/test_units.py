"""The units that are shipped, as systemd itself reads them."""

import re
import subprocess
from pathlib import Path

import pytest

from monitor import shipped

DAEMON = shipped.path("systemd/uptoken.service")
PAGE = shipped.path("systemd/uptoken-web.service")


def assignments(unit: Path) -> dict[str, list[str]]:
    """Every key and its values, in order."""
    found: dict[str, list[str]] = {}
    for key, value in re.findall(r"^(\w+)=(.*)$", unit.read_text(), re.MULTILINE):
        found.setdefault(key, []).append(value)
    return found


@pytest.mark.parametrize("unit", [DAEMON, PAGE], ids=lambda unit: unit.name)
def test_a_unit_exposes_at_most_1_5(unit: Path):
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=15", "--no-pager", unit]
    analysis = subprocess.run(command, capture_output=True, text=True, check=False)
    assert analysis.returncode == 0, analysis.stdout[-400:] + analysis.stderr
    assert "Overall exposure level" in analysis.stdout


@pytest.mark.parametrize("unit", [DAEMON, PAGE], ids=lambda unit: unit.name)
def test_systemd_knows_every_line_of_a_unit(unit: Path, tmp_path: Path):
    # The programs named are not here; everything else must be understood.
    here = tmp_path / unit.name
    here.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", unit.read_text(), flags=re.MULTILINE))
    verified = subprocess.run(
        ["systemd-analyze", "verify", here], capture_output=True, text=True, check=False
    )
    assert [line for line in verified.stderr.splitlines() if unit.name in line] == []


def test_the_page_never_gets_a_key():
    assert assignments(DAEMON)["LoadCredential"]
    page = assignments(PAGE)
    assert not [key for key in page if "Credential" in key]
    assert "/run/credentials" in page["InaccessiblePaths"][0]
    assert page["PrivateUsers"] == ["yes"]


def test_both_units_live_in_one_state_folder_as_one_user():
    for key in ("DynamicUser", "User", "StateDirectory", "StateDirectoryMode"):
        assert assignments(DAEMON)[key] == assignments(PAGE)[key]


def test_the_daemon_is_watched_and_has_time_to_drain():
    daemon = assignments(DAEMON)
    # Debian 12 has systemd 252, which does not know notify-reload.
    assert daemon["Type"] == ["notify"]
    assert int(daemon["WatchdogSec"][0]) > 0
    assert daemon["TimeoutStopSec"] == ["15"]
    assert daemon["RestartPreventExitStatus"] == ["2"]
    assert daemon["ExecStart"] == ["/opt/uptoken/bin/uptoken run --config /etc/uptoken/config.toml"]
