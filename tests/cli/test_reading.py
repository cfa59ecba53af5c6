"""`status`, `report` and `incidents`: what the database says, on both of them."""

import csv
import io
import json

import pytest

from monitor.cli import main
from monitor.cli.reports import write_csv
from monitor.core.outcome import Outcome
from monitor.core.overload import Load, to_status
from tests.cli.command import on_terminal, uptoken
from tests.cli.stored import daemon_was_here
from tests.cli.written import NOWHERE, database, model
from tests.support.records import Records

OK, BAD = Outcome.OK, Outcome.HTTP_5XX
LOOKS = {"acme/one": [OK] * 20, "acme/two": [OK] * 6 + [BAD] * 4}
WHY = {"acme/two": "status 503: =cmd|' /C calc'!A0"}


@pytest.fixture
def path(write, database_url):
    """A config with three endpoints, of which the daemon has looked at two up to now."""
    daemon_was_here(database_url, LOOKS, details=WHY)
    return write(database(database_url), model("acme", NOWHERE, slugs=("one", "two", "new")))


def said(capsys, *words):
    assert main(list(map(str, words))) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def told(capsys, *words):
    return json.loads(said(capsys, *words, "--json"))


# status


def test_status_is_a_row_an_endpoint_and_the_reasons_of_the_unwell(path, capsys):
    lines = said(capsys, "status", "--config", path).splitlines()
    assert lines[0].split() == [
        "endpoint",
        "state",
        "for",
        "1h",
        "%",
        "24h",
        "%",
        "p50",
        "ms",
        "p95",
        "ms",
        "tok/s",
    ]
    one, two, new = (line.split() for line in lines[1:4])
    assert (one[:2], one[-5:]) == (["acme/one", "up"], ["100.00", "100.00", "600", "600", "120"])
    assert (two[:2], two[-5:]) == (["acme/two", "down"], ["60.00", "60.00", "600", "600", "120"])
    assert new == ["acme/new", "unknown", "–", "–", "–", "–", "–", "–"]
    assert f"down  acme/two: 3 failures in a row, last: http_5xx: {WHY['acme/two']}" in lines
    assert lines[-1] == "unknown  acme/new: no look yet"


def test_status_of_one_has_all_windows_the_last_probe_and_its_incident(path, capsys):
    text = said(capsys, "status", "ACME/two", "--config", path)
    assert text.splitlines()[0].startswith("acme/two  ")
    assert text.splitlines()[1].startswith("down for ")
    assert [line.split()[0] for line in text.splitlines() if line[:1].isdigit()] == [
        "1h",
        "24h",
        "7d",
        "30d",
        "90d",
    ]
    assert "last probe  20" in text
    assert f"            {WHY['acme/two']}" in text
    assert "open  down  acme two down  [" in text


def test_status_as_json_is_the_feed(path, capsys):
    document = told(capsys, "status", "--config", path)
    assert document["stale"] is False
    assert document["generated_at"] is not None
    states = {one["id"]: one["state"] for one in document["endpoints"]}
    assert states == {"acme/one": "up", "acme/two": "down", "acme/new": "unknown"}
    one = told(capsys, "status", "acme/two", "--config", path)["endpoints"][0]
    assert one["windows"]["24h"]["uptime"] == 60.0
    assert one["windows"]["24h"]["counts"]["provider"] == 4
    assert set(one["windows"]) == {"1h", "24h", "7d", "30d", "90d"}
    assert one["last_probe"]["outcome"] == "http_5xx"


def test_an_unknown_id_is_wrong_usage_with_a_suggestion(path, capsys):
    assert main(["status", "acme/tow", "--config", str(path)]) == 2
    assert capsys.readouterr().err == "no endpoint acme/tow; did you mean acme/two?\n"


def test_an_endpoint_that_is_switched_off_has_no_status(write, database_url, capsys):
    daemon_was_here(database_url, LOOKS)
    path = write(database(database_url), model("acme", NOWHERE, more="enabled = false"))
    assert main(["status", "acme/one", "--config", str(path)]) == 2
    assert capsys.readouterr().err == "acme/one is switched off in config.toml (enabled = false)\n"


@pytest.mark.parametrize("words", [["status"], ["report"], ["incidents"]], ids=" ".join)
def test_a_daemon_that_does_not_run_is_told_first(words, write, database_url, capsys):
    daemon_was_here(database_url, LOOKS, beats=False)
    path = write(database(database_url), model("acme", NOWHERE))
    first = said(capsys, *words, "--config", path).splitlines()[0]
    assert first.startswith("The daemon is not running: it was stopped 1 min 3")


def test_a_daemon_that_never_ran_is_told_too(write, database_url, capsys):
    path = write(database(database_url), model("acme", NOWHERE))
    said(capsys, "db", "upgrade", "--config", path)
    assert said(capsys, "status", "--config", path).startswith("No daemon has run on this database yet")
    assert told(capsys, "status", "--config", path)["stale"] is True


def test_a_daemon_that_fell_silent_is_told(write, database_url, capsys):
    daemon_was_here(database_url, LOOKS)
    records = Records(database_url)
    records.execute("UPDATE daemon SET beat_at = beat_at - 61000000")
    records.close()
    path = write(database(database_url), model("acme", NOWHERE))
    assert said(capsys, "status", "--config", path).startswith(
        "The daemon gives no sign of life: its last one is 1 min 1 s old."
    )
    assert told(capsys, "status", "--config", path)["stale"] is True


def test_a_row_that_nobody_can_read_is_a_mistake_told_in_one_line(path, database_url, capsys):
    records = Records(database_url)
    records.execute("UPDATE belief SET body = :body", body='{"sk-secret-in-a-row')
    records.close()
    assert main(["status", "--config", str(path)]) == 1
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert line.startswith(
        "uptoken failed by a mistake of its own, please report it: json.decoder.JSONDecodeError"
    )
    assert "at monitor.store.history:" in line
    assert "secret" not in captured.err + captured.out


def test_a_terminal_is_fitted_and_coloured_unless_no_color(path, tmp_path):
    coloured = on_terminal("status", "--config", path, cwd=tmp_path)
    assert coloured.status == 0
    assert "\x1b[32mup" in coloured.out
    assert "\x1b[1;31mdown" in coloured.out
    table = coloured.plain.split("\n\n")[0]
    assert all(len(line) <= 80 for line in table.splitlines())
    plain = on_terminal("status", "--config", path, cwd=tmp_path, env={"NO_COLOR": "1"})
    assert "\x1b" not in plain.out
    assert plain.plain == coloured.plain or "acme/one" in plain.out


def test_what_goes_into_a_pipe_has_no_colours_and_a_line_a_row(path, tmp_path):
    piped = uptoken("status", "--config", path, cwd=tmp_path, env={"FORCE_COLOR": "1"})
    assert "\x1b" not in piped.out
    assert sum(line.startswith("acme/") for line in piped.out.splitlines()) == 3


# report


def test_a_report_has_uptime_speed_and_what_was_used(path, capsys):
    text = said(capsys, "report", "--window", "24h", "--config", path)
    uptime, speed, used = text.split("\n\n")
    assert uptime.startswith("Uptime, last 24h")
    assert uptime.splitlines()[3].split()[:5] == ["acme/two", "60.00", "60.00", "100.00", "10"]
    assert speed.splitlines()[2].split() == ["acme/one", "600", "600", "600", "20", "120", "120", "20"]
    assert used.splitlines()[2].split() == ["acme/one", "20", "800", "1,200", "$0.0006000"]
    assert used.splitlines()[-1].split() == ["total", "30", "1,040", "1,560", "$0.0007800"]


def test_a_report_as_json_has_the_names_of_the_feed_and_exact_cost(path, capsys):
    report = told(capsys, "report", "--window", "7d", "--config", path)
    assert report["window"] == "7d"
    one, two, new = report["endpoints"]
    assert (one["uptime"], two["uptime"], new["uptime"]) == (100.0, 60.0, None)
    assert one["ttft_ms"]["n"] == 20
    assert (one["cost_usd"], new["cost_usd"]) == ("0.0006", None)
    assert (two["probes"], two["input_tokens"]) == (10, 240)
    assert (
        json.loads(said(capsys, "report", "--window", "7d", "--format", "json", "--config", path)).keys()
        == report.keys()
    )


def test_a_report_as_csv_has_a_row_an_endpoint(path, capsys):
    rows = list(
        csv.DictReader(
            io.StringIO(said(capsys, "report", "--window", "1h", "--format", "csv", "--config", path))
        )
    )
    assert [row["id"] for row in rows] == ["acme/one", "acme/two", "acme/new"]
    assert rows[0]["window"] == "1h"
    assert rows[0]["ttft_ms_p50"] == "600.0"
    assert rows[1]["counts_provider"] == "4"
    assert rows[2]["uptime"] == ""


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-2+3", "@SUM(A1)", "\tx", "\rx"])
def test_a_text_that_a_spreadsheet_would_execute_is_disarmed(cell, capsys):
    write_csv({"window": "1h", "endpoints": [{"id": "acme/one", "model": cell, "uptime": -1.5}]})
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out, newline=""))
    assert row["model"] == f"'{cell}"
    assert row["uptime"] == "-1.5"


def test_a_report_as_markdown_is_one_table(path, capsys):
    head, rule, *rows = said(capsys, "report", "--format", "md", "--config", path).splitlines()
    assert head.startswith("| endpoint | uptime % |")
    assert set(rule) <= set("| -:")
    assert len({line.count("|") for line in (head, rule, *rows)}) == 1
    assert len(rows) == 3


# incidents


def test_incidents_are_told_with_their_updates(path, capsys):
    lines = said(capsys, "incidents", "--config", path).splitlines()
    assert lines[0].startswith("open  down  acme two down  [")
    assert lines[1].startswith("  acme/two: since 20")
    assert f"  down: 3 failures in a row, last: http_5xx: {WHY['acme/two']}" in lines[2]


def test_incidents_as_json_are_the_feed(path, capsys):
    (incident,) = told(capsys, "incidents", "--config", path)["incidents"]
    assert incident["endpoints"] == ["acme/two"]
    assert (incident["impact"], incident["ended_at"]) == ("down", None)
    assert incident["updates"][0]["status"] == "down"


def test_incidents_that_are_over_can_be_left_out(write, database_url, capsys):
    daemon_was_here(database_url, {"acme/one": [OK, BAD, BAD, BAD, OK, OK, OK]})
    path = write(database(database_url), model("acme", NOWHERE))
    assert said(capsys, "incidents", "--config", path).startswith("over  down  acme one down")
    assert said(capsys, "incidents", "--open", "--config", path) == "No incident.\n"
    assert said(capsys, "incidents", "--limit", 0, "--config", path) == "No incident.\n"


def test_what_a_provider_says_cannot_steer_the_terminal(write, database_url, tmp_path):
    daemon_was_here(
        database_url, {"acme/one": [OK, BAD, BAD, BAD]}, details={"acme/one": "[red]no[/red] :boom:"}
    )
    path = write(database(database_url), model("acme", NOWHERE))
    assert (
        "[red]no[/red] :boom:"
        in on_terminal("status", "acme/one", "--config", path, cwd=tmp_path, columns=200).plain
    )


# The monitor itself


@pytest.fixture
def strained(write, tmp_path):
    """A config whose daemon says this of itself."""

    def strained(since=None, **load):
        url = f"sqlite:///{tmp_path}/uptoken.db"
        last = to_status(Load(looks=200, loop_lag_ms=1.2, core_delay=0.01, start_late_ms=2.0, **load))
        status = {"last_10m": last, "too_busy_since": since, "overload": None}
        daemon_was_here(url, {"acme/one": [OK] * 3}, status=status)
        return write(database(url), model("acme", NOWHERE))

    return strained


def test_status_ends_with_how_well_the_monitor_keeps_up(strained, capsys):
    lines = said(capsys, "status", "--config", strained(set_aside=1)).splitlines()
    assert lines[-1].startswith("This monitor, last 10 min: loop lag 1.2 ms (p99), waited for a core 1.0%")
    assert "too busy" not in "".join(lines)


def test_status_begins_with_a_machine_that_is_too_busy(strained, capsys):
    first, *_ = said(
        capsys, "status", "--config", strained("2026-11-22T01:00:00.000Z", set_aside=68)
    ).splitlines()
    assert first.startswith("This machine is too busy to time well. In the last 10 min 34% of 200 looks were")


def test_status_begins_with_a_monitor_that_is_blind(write, tmp_path, capsys):
    url = f"sqlite:///{tmp_path}/uptoken.db"
    daemon_was_here(url, {"acme/one": [OK] * 3}, blind="The monitor itself has no network")
    path = write(database(url), model("acme", NOWHERE))
    first, *_ = said(capsys, "status", "--config", path).splitlines()
    assert first.startswith("The monitor itself has no network, for ")
    [blind] = told(capsys, "status", "--config", path)["blind"]
    assert (blind["reason"], blind["ended_at"]) == ("The monitor itself has no network", None)


def test_status_as_json_has_what_the_daemon_says_of_itself(strained, capsys):
    daemon = told(capsys, "status", "--config", strained(set_aside=1))["daemon"]
    assert (daemon["last_10m"]["set_aside"], daemon["too_busy_since"], daemon["stopped_at"]) == (
        1,
        None,
        None,
    )
