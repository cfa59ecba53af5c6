"""docs/operations.md tells what the daemon really says, writes and sends."""

import ast
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from monitor.core.alert import Alert, Subject
from monitor.core.belief import Belief, Look, advance
from monitor.core.figures import Figures
from monitor.core.instant import SECOND, Instant, instant
from monitor.core.outcome import Outcome
from monitor.core.verdict import Learnt, Verdict
from tests.core.believing import rules
from tests.docs.pages import TOP, code, page, rows, tables
from tests.support.daemon import Home, until, website

MANUAL = page("operations.md")
MONITOR = TOP / "monitor"
LEVELS = {"debug", "info", "warning", "error", "critical", "exception"}


# Events


def told_events() -> set[str]:
    return {name for row in rows(MANUAL.section("Logs")) for name in code(row[0])}


def said_events() -> set[str]:
    """The names of all events in the program, `operator.*` where a part of one is computed."""
    files = [file for file in MONITOR.rglob("*.py") if "simulator" not in file.parts]
    return {name for file in files for name in _events(file)}


def _events(file: Path) -> Iterator[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for call in ast.walk(function):
                if isinstance(call, ast.Call) and (name := _event_of(call)) is not None:
                    yield from _texts(name, function)


def _event_of(call: ast.Call) -> ast.expr | None:
    """What stands for the event in a call that logs."""
    match call.func:
        case ast.Attribute(attr=level) if level in LEVELS and _is_logger(call.func.value):
            return call.args[0]
        case ast.Name(id="_say") if len(call.args) == 2 and isinstance(call.args[0], ast.Constant):
            return call.args[1]
    return None


def _is_logger(value: ast.expr) -> bool:
    return "log" in ast.unparse(value)


def _texts(name: ast.expr, function: ast.AST) -> Iterator[str]:
    """Every text that it can be."""
    match name:
        case ast.Constant(value=str(text)):
            yield text
        case ast.IfExp(body=one, orelse=other):
            yield from _texts(one, function)
            yield from _texts(other, function)
        case ast.JoinedStr(values=parts):
            yield "".join(part.value if isinstance(part, ast.Constant) else "*" for part in parts)
        case ast.Name(id=variable):
            for line in ast.walk(function):
                if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == variable:
                    yield from _texts(line.value, function)


def test_every_event_of_the_log_is_told_and_no_other():
    told, said = told_events(), said_events()
    assert len(said) > 20
    patterns = {name: re.compile(re.escape(name).replace(r"\*", r"\w+")) for name in said}
    untold = [name for name, pattern in patterns.items() if not any(map(pattern.fullmatch, told))]
    unsaid = [name for name in told if not any(pattern.fullmatch(name) for pattern in patterns.values())]
    assert (untold, unsaid) == ([], [])


# Messages


def messages() -> list[Alert]:
    """What the endpoint of the example owes: four good looks, three failures, two good ones."""
    subject = Subject(
        id="acme/gpt-4.1-nano",
        provider="Acme AI",
        model="gpt-4.1-nano",
        link="https://status.example/endpoints/acme/gpt-4.1-nano",
        status_page="https://status.acme.example",
        timezone=ZoneInfo("Europe/Berlin"),
    )
    good = [(Outcome.OK, ttft, speed, 60) for ttft, speed in ((612, 118), (598, 121), (640, 119), (605, 117))]
    again = [(Outcome.OK, ttft, speed, 60) for ttft, speed in ((900, 80), (650, 119))]
    belief, now, owed = Belief(endpoint=subject.id), instant(datetime(2026, 11, 21, 21, 55, tzinfo=UTC)), []
    for outcome, ttft, speed, pause in (*good, *[(Outcome.HTTP_5XX, None, None, 10)] * 3, *again):
        failed = outcome is not Outcome.OK
        verdict = Verdict(
            outcome=outcome,
            detail="status 503: upstream connect error" if failed else None,
            figures=Figures(ttft_ms=ttft, output_speed=speed, total_ms=1500.0),
            learnt=Learnt(),
        )
        look = Look(at=now, scheduled=True, verdict=verdict, request_id="req_7f3a" if failed else None)
        follows = advance(belief, look, rules(subject=subject), Instant(now + SECOND))
        belief, now = follows.belief, Instant(now + pause * SECOND)
        owed += follows.alerts
    return owed


def test_the_messages_it_shows_are_those_that_arrive():
    down, recovered = MANUAL.blocks("text")[:2]
    assert [f"{alert.title}\n{alert.text}\n" for alert in messages()] == [down, recovered]


# Files and fields


def test_every_file_of_the_state_folder_and_every_field_of_the_status_is_told(sqlite_home: Home):
    sqlite_home.configure(website("acme", "http://127.0.0.1:9/"))
    sqlite_home.ready()
    until((sqlite_home.state / "status.json").exists, "it wrote its heartbeat")
    files = {name for row in rows(MANUAL.section("The state folder")) for name in code(row[0])}
    lying = {file.name for file in sqlite_home.state.iterdir() if not file.name.startswith(".")}
    assert lying <= files
    status = json.loads((sqlite_home.state / "status.json").read_text())
    assert set(status) <= set(code(MANUAL.section("Health")))
    fields = {name for row in tables(MANUAL.section("Health"))[1] for name in code(row[0])}
    assert set(status["daemon"]) == fields
