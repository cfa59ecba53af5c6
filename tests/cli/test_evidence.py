"""`uptoken evidence`: what it finds, what it says where there is none, and how it reads."""

import json
from dataclasses import replace

import pytest

from monitor import clock
from monitor.cli import main, ticket
from monitor.core import evidence
from monitor.core.evidence import Evidence, Happening, Kind
from monitor.core.figures import Figures
from monitor.core.observation import VendorError
from monitor.core.outcome import Outcome
from monitor.core.step import Result, Step, probe_id
from monitor.core.timeline import Phases
from monitor.core.wire import Fault, FaultKind, Phase
from tests.cli.command import on_terminal
from tests.cli.stored import daemon_was_here, journal_of
from tests.cli.written import NOWHERE, database, model

FOUND = Evidence(
    probe_id="0" * 32,
    endpoint="acme/one",
    at=clock.now(),
    monitor="0.1.0",
    location="default",
    protocol="openai-chat",
    model="sim-model",
    method="POST",
    url="https://api.acme.example/v1/chat/completions",
    sent=311,
    peer="203.0.113.7 port 443",
    outcome=Outcome.STREAM_ERROR,
    detail="error inside status 200: [red]no[/red]",
    figures=Figures(total_ms=90.0, output_tokens=12),
    status=200,
    headers={"x-request-id": "req_1"},
    request_id="req_1",
    error=VendorError(code="500", type="server_error", message="no", reasons=("why",), in_stream=True),
    fault=Fault(FaultKind.RESET, Phase.BODY, "the connection was reset", 104),
    phases=Phases(connect_ms=1.0, request_sent=2.0, end=90.0),
    events=(
        Happening(1.0, Kind.CONNECT),
        Happening(2.0, Kind.SENT, 311),
        Happening(50.0, Kind.BYTES, 200),
        Happening(50.0, Kind.TOKEN, 4, is_bound=True),
        Happening(50.0, Kind.TOKEN, 5),
        Happening(60.0, Kind.TOKEN, 1, is_bound=True),
        Happening(90.0, Kind.FAULT),
        Happening(90.0, Kind.END),
    ),
    dropped=1234,
    body='data: {"a":1}\n\nFigures\n  total_ms 1 ms',
    received=98_765,
)


@pytest.fixture
def path(write, database_url):
    """A config with three endpoints; of the last probe of one of them there is evidence."""
    daemon_was_here(database_url, {"acme/one": [Outcome.OK] * 2, "acme/two": [Outcome.OK]})
    with journal_of(database_url) as journal:
        journal.register(["acme/one", "acme/two"], clock.now())
        for number in range(3):
            journal.write([Step(result=failed(number))])
    return write(database(database_url), model("acme", NOWHERE, slugs=("one", "two", "new")))


def failed(number: int) -> Result:
    at = clock.now()
    found = replace(FOUND, probe_id=probe_id(at, number), at=at)
    return Result(
        probe_id=found.probe_id,
        endpoint="acme/one",
        at=at,
        slot=at,
        scheduled=True,
        outcome=found.outcome,
        evidence=evidence.store(found) if number else None,
    )


def said(capsys, *words, status=0):
    assert main(list(map(str, words))) == status
    captured = capsys.readouterr()
    return captured.out if status == 0 else captured.err


def test_the_newest_failure_of_an_endpoint_is_told_as_a_document(path, capsys):
    listed = json.loads(said(capsys, "evidence", "acme/one", "--list", "--json", "--config", path))
    assert len(listed["evidence"]) == 2
    newest = json.loads(said(capsys, "evidence", "ACME/one", "--json", "--config", path))
    assert newest == listed["evidence"][0]
    assert newest["id"] > listed["evidence"][1]["id"]
    one = listed["evidence"][1]
    assert json.loads(said(capsys, "evidence", one["id"].upper(), "--json", "--config", path)) == one
    limited = said(capsys, "evidence", "acme/one", "--list", "--limit", "1", "--config", path)
    assert [line.split()[2] for line in limited.splitlines()[1:]] == [newest["id"]]


def test_a_text_for_people_is_the_same_in_a_pipe_and_on_a_terminal(path, tmp_path, capsys):
    text = said(capsys, "evidence", "acme/one", "--config", path)
    shown = on_terminal("evidence", "acme/one", "--config", path, cwd=tmp_path, columns=60)
    assert shown.plain == text
    assert "\x1b" not in text


def test_a_ticket_tells_what_was_asked_what_came_and_what_was_made_of_it():
    lines = list(ticket.lines(FOUND))
    assert lines[0] == "acme/one: stream_error"
    for line in (
        "whose         the provider is at fault",
        "why           error inside status 200: [red]no[/red]",
        "asked         POST https://api.acme.example/v1/chat/completions, body of 311 bytes",
        "protocol      sim-model over openai-chat",
        "answered by   203.0.113.7 port 443",
        "error         no (server_error, 500, why)",
        "broken off    the connection was reset (phase: body)",
        "monitor       Uptoken 0.1.0, location default",
        "  | x-request-id: req_1",
        "The body, its beginning (98,765 bytes came)",
        "  total_ms              90.0 ms",
    ):
        assert line in lines


def test_what_came_at_once_is_one_line_and_what_is_left_out_is_counted():
    lines = list(ticket.lines(FOUND))
    start = next(place for place, line in enumerate(lines) if line.startswith("What came when"))
    told = [" ".join(line.split()) for line in lines[start + 1 : start + 9]]
    assert told == [
        "1.0 connect connected",
        "2.0 sent request sent, 311 bytes",
        "50.0 bytes body, 200 bytes",
        "≤ 50.0 token text, 4 characters",
        "… 1,234 events left out",
        "50.0 token text, 5 characters",
        "≤ 60.0 token text, 1 character",
        "90.0 fault broken off",
    ]
    whole = " ".join(" ".join(ticket.lines(replace(FOUND, dropped=0))).split())
    assert "50.0 token text, 2 pieces, 9 characters" in whole


def test_a_server_cannot_write_a_line_of_ours():
    lines = list(ticket.lines(FOUND))
    assert lines.count("Figures") == 1
    assert "  | Figures" in lines


def test_where_there_is_none_it_says_why(path, capsys):
    assert said(capsys, "evidence", "acme/two", "--config", path, status=1) == (
        "no evidence of acme/two: no failure of it is stored\n"
    )
    assert "no failure of it" in said(capsys, "evidence", "acme/new", "--list", "--config", path, status=1)
    assert said(capsys, "evidence", "f" * 32, "--config", path, status=1).startswith("no probe ffff")
    assert "did you mean" in said(capsys, "evidence", "acme/on", "--config", path, status=2)


def test_a_probe_without_evidence_is_told_what_it_was(path, capsys):
    newest = json.loads(said(capsys, "status", "acme/two", "--json", "--config", path))
    id_ = newest["endpoints"][0]["last_probe"]["id"]
    told = said(capsys, "evidence", id_, "--config", path, status=1)
    assert told == "no evidence of this probe of acme/two (ok): it is kept of failures alone\n"


def test_without_a_database_it_says_so(write, tmp_path, capsys):
    path = write(database(f"sqlite:///{tmp_path}/none.db"), model("acme", NOWHERE))
    assert said(capsys, "evidence", "acme/one", "--config", path, status=1).startswith("no database at ")
