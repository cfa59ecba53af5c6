"""`pause`, `resume`, `maintenance`: effective in a daemon that runs, kept for one that does not."""

import json
import signal

import pytest

from monitor.cli import main
from monitor.core.instant import SECOND, Instant, from_iso
from monitor.store.engine import Database
from monitor.store.journal import Announced
from monitor.store.operator import Operator
from tests.cli.command import uptoken
from tests.cli.written import NOWHERE, database, model
from tests.support.daemon import website

SOON_S = 2.5
"""Seconds; the daemon looks every second, and the machine may be busy."""


@pytest.fixture
def path(write, database_url, capsys):
    """A config with three endpoints and an empty database; no daemon."""
    path = write(
        database(database_url),
        model("acme", NOWHERE, slugs=("one", "two")),
        model("other", NOWHERE),
        '[[maintenance]]\ntitle = "weekly"\nendpoints = ["other/*"]\ncron = "0 2 * * sun"\nduration = "1h"\n',
    )
    assert main(["db", "upgrade", "--config", str(path)]) == 0
    capsys.readouterr()
    return path


def told(capsys, *words):
    assert main(list(map(str, words))) == 0
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def running(home, simulated, tmp_path):
    """A daemon that looks at two URLs every second."""
    home.configure(website("acme", simulated.health_url("acme"), slugs=("one", "two")))
    daemon = home.ready()
    for endpoint in ("acme/one", "acme/two"):
        daemon.wait("probe.stored", endpoint=endpoint)
    return daemon


def command(home, *words):
    ended = uptoken(*words, "--config", home.config, cwd=home.folder, env={"UPTOKEN_STATE": str(home.state)})
    assert ended.err == ""
    assert ended.status == 0
    return ended


def state(home, endpoint):
    return command(home, "status", endpoint, "--json").json["endpoints"][0]["state"]


# With a daemon


def test_pause_and_resume_are_effective_when_they_return(home, running):
    paused = command(home, "pause", "acme/o*", "--json")
    assert paused.json == {"command": "pause", "endpoints": ["acme/one"], "effective": True}
    assert (state(home, "acme/one"), state(home, "acme/two")) == ("paused", "up")
    assert command(home, "resume", "ACME/*").out == "resumed: acme/one, acme/two\n"
    assert state(home, "acme/one") != "paused"
    before = len(running.heard("probe.stored", endpoint="acme/one"))
    running.wait("probe.stored", endpoint="acme/one", count=before + 1)
    records = home.records()
    took = [(done - at) / SECOND for at, done in records.rows("SELECT at, done_at FROM command")]
    records.close()
    assert len(took) == 2
    assert max(took) < SOON_S


def test_maintenance_begins_and_ends_within_two_seconds(home, running):
    added = command(home, "maintenance", "add", "--endpoints", "acme/one", "--for", "1h", "--json").json
    assert added["matches"] == ["acme/one"]
    began = running.wait("maintenance.began", endpoint="acme/one")
    assert from_iso(began["time"]) - from_iso(added["start"]) < SOON_S * SECOND
    assert state(home, "acme/one") == "maintenance"
    (listed,) = command(home, "maintenance", "list", "--json").json
    assert (listed["id"], listed["state"], listed["source"]) == (added["id"], "running", "command")
    assert command(home, "maintenance", "end", added["id"]).out == f"{added['id']} is over\n"
    running.wait("maintenance.ended", endpoint="acme/one")
    assert state(home, "acme/one") == "up"
    assert command(home, "maintenance", "list", "--json").json == []


def test_what_a_daemon_does_not_do_at_once_is_not_put_down_to_there_being_none(home, running):
    running.send(signal.SIGSTOP)
    try:
        asked = command(home, "pause", "acme/one")
        assert asked.out.startswith("will be paused: acme/one\nThe daemon has not done it within 5 s")
    finally:
        running.send(signal.SIGCONT)
    running.wait("operator.obeyed", command="pause")
    assert state(home, "acme/one") == "paused"


def test_what_was_asked_without_a_daemon_is_done_by_the_next_one(home, simulated):
    home.configure(website("acme", simulated.health_url("acme")))
    command(home, "db", "upgrade")
    asked = command(home, "pause", "acme/*")
    assert asked.out.startswith("will be paused: acme/health\nNo daemon runs on this database now")
    home.ready().wait("operator.obeyed", command="pause")
    assert state(home, "acme/health") == "paused"


# Without one


def test_a_pattern_that_matches_nothing_fails_with_a_suggestion(path, capsys):
    for given, hint in {
        "acme": "acme/*",
        "*": "*/*",
        "acm/*": "acme/*",
        "acme/tow": "acme/two",
        "two": "acme/two",
    }.items():
        assert main(["pause", "acme/one", given, "--config", str(path)]) == 1
        assert capsys.readouterr().err == f"no endpoint matches {given}; did you mean {hint}?\n"
    assert main(["resume", "xyzzy/plugh", "--config", str(path)]) == 1
    assert (
        capsys.readouterr().err
        == "no endpoint matches xyzzy/plugh; there are acme/one, acme/two, other/one\n"
    )


def test_patterns_do_not_cross_the_slash_and_know_no_case(path, capsys):
    assert told(capsys, "pause", "ACME/*", "--json", "--config", path)["endpoints"] == [
        "acme/one",
        "acme/two",
    ]
    assert told(capsys, "pause", "*/one", "--json", "--config", path)["endpoints"] == [
        "acme/one",
        "other/one",
    ]


def test_several_patterns_may_follow_one_option(path, capsys):
    words = [
        "maintenance",
        "add",
        "--endpoints",
        "acme/one",
        "other/*",
        "--for",
        "2h",
        "--json",
        "--config",
        path,
    ]
    added = told(capsys, *words)
    assert added["endpoints"] == ["acme/one", "other/*"]
    assert added["matches"] == ["acme/one", "other/one"]


def test_maintenance_is_listed_with_that_of_the_config_in_order(path, capsys):
    later = told(
        capsys, "maintenance", "add", "--endpoints", "acme/*", "--start", "2126-01-01T10:00:00+02:00", "--for", "90m",
        "--title", "century", "--json", "--config", path,
    )  # fmt: skip
    assert (later["start"], later["end"]) == ("2126-01-01T08:00:00.000Z", "2126-01-01T09:30:00.000Z")
    listed = told(capsys, "maintenance", "list", "--json", "--config", path)
    assert [(one["id"], one["title"], one["source"]) for one in listed] == [
        (None, "weekly", "config"),
        (later["id"], "century", "command"),
    ]
    assert main(["maintenance", "list", "--config", str(path)]) == 0
    text = capsys.readouterr().out
    assert "2126-01-01 08:00 to 09:30 UTC" in text


def test_a_moment_without_an_offset_is_meant_where_the_site_is(write, database_url, capsys):
    path = write('[site]\ntimezone = "Europe/Berlin"\n', database(database_url), model("acme", NOWHERE))
    main(["db", "upgrade", "--config", str(path)])
    capsys.readouterr()
    words = [
        "maintenance",
        "add",
        "--endpoints",
        "acme/*",
        "--start",
        "2126-07-01 10:00",
        "--for",
        "1h",
        "--json",
    ]
    assert told(capsys, *words, "--config", path)["start"] == "2126-07-01T08:00:00.000Z"


def test_a_planned_one_can_be_called_off(path, capsys):
    words = ["maintenance", "add", "--endpoints", "acme/*", "--start", "2126-07-01", "--for", "1h", "--json"]
    number = told(capsys, *words, "--config", path)["id"]
    assert told(capsys, "maintenance", "end", number, "--json", "--config", path) == {
        "id": number,
        "ended": True,
    }
    listed = told(capsys, "maintenance", "list", "--json", "--config", path)
    assert [one["source"] for one in listed] == ["config"]
    assert main(["maintenance", "end", number, "--config", str(path)]) == 1
    assert capsys.readouterr().err == (
        f"no maintenance {number} is running or planned; none was announced by command\n"
    )


def test_a_maintenance_beyond_the_calendar_does_not_hide_the_others(path, database_url, capsys):
    told(capsys, "maintenance", "add", "--endpoints", "acme/*", "--for", "1h", "--json", "--config", path)
    far = Announced(id="m-far", title="far", patterns=("acme/*",), starts=Instant(0), ends=Instant(2**62))
    opened = Database(database_url)
    Operator(opened).announce(far)
    opened.dispose()
    listed = told(capsys, "maintenance", "list", "--json", "--config", path)
    assert {one["end"] for one in listed if one["id"] == "m-far"} == {"9999-12-31T00:00:00.000Z"}
    assert len(listed) == 3
    assert main(["maintenance", "list", "--config", str(path)]) == 0
    assert "m-far" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "status", "hint"),
    [
        (["--for", "1h"], 2, "say which endpoints, e.g. --endpoints 'openai/*'"),
        (["--endpoints", "acme/*"], 2, "missing option '--for'"),
        (["--endpoints", "acme/*", "--for", "1 hour"], 2, '"1 hour" is not a duration such as "30s"'),
        (["--endpoints", "acme/*", "--for", "1h", "--start", "noon"], 2, '"noon" is not a moment such as'),
        (["--endpoints", "acme/*", "--for", "1h", "--start", "2020-01-01"], 2, "would be over already"),
        (["--endpoints", "acme/*", "--for", "3660d", "--start", "9999-12-31"], 2, "by the year 2999"),
        (["--endpoints", "acme/*", "--for", "1h", "--title", ""], 2, "--title is empty"),
        (["--endpoints", "acme/*", "--for", "1h", "--title", "x" * 4097], 2, "--title is too long"),
        (["--endpoints", "acme/*", "--for", "1h", "--title", "a\x1b[31m\nb"], 2, "control character"),
        (["--endpoints", "acne/*", "--for", "1h"], 1, "did you mean acme/*?"),
    ],
)
def test_a_maintenance_that_makes_no_sense_is_refused(words, status, hint, path, capsys):
    assert main(["maintenance", "add", *words, "--config", str(path)]) == status
    said = capsys.readouterr()
    (line,) = said.err.splitlines()
    assert hint in line
    assert said.out == ""
