"""What the log says, and above all what it does not."""

import base64
import json
import logging
import os
import pty
import subprocess
import sys
import threading
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from monitor import logs

TOP = Path(__file__).parents[2]
KEY = 'sk-live/42+71="ä\\'


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    """Logging is the process's own; whoever runs next finds it as it was."""
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    sys.excepthook, threading.excepthook, sys.unraisablehook = hooks
    logging.root.handlers[:], logging.root.level = handlers, level
    logging.captureWarnings(capture=False)
    logs.set_secrets(())
    structlog.reset_defaults()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def run(program: str, *, stderr: int = subprocess.PIPE, **env: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if name not in {"JOURNAL_STREAM", "NO_COLOR"}}
    return subprocess.run(
        [sys.executable, "-c", program], stderr=stderr, text=True, check=False, cwd=TOP, env=clean | env
    )


def on_a_terminal(program: str, **env: str) -> str:
    ours, theirs = pty.openpty()
    try:
        run(program, stderr=theirs, **env)
        os.close(theirs)
        return os.read(ours, 65536).decode()
    finally:
        os.close(ours)


SAY = (
    "from monitor import logs; import structlog; logs.configure(); structlog.get_logger().warning('a.b', n=1)"
)


def test_a_line_is_json_where_nobody_looks_at_a_terminal():
    said = json.loads(run(SAY).stderr)
    assert said.pop("time").endswith("Z")
    assert said == {"level": "warning", "event": "a.b", "n": 1}


def test_a_line_is_text_on_a_terminal_and_coloured_unless_asked_not_to_be():
    assert "\x1b[33mwarning" in on_a_terminal(SAY)
    plain = on_a_terminal(SAY, NO_COLOR="1")
    assert "warning  a.b" in plain
    assert "\x1b" not in plain


def test_a_line_carries_its_priority_where_the_journal_takes_it(tmp_path: Path):
    file = tmp_path / "journal"
    with file.open("w") as journal:
        found = os.fstat(journal.fileno())
        run(SAY, stderr=journal.fileno(), JOURNAL_STREAM=f"{found.st_dev}:{found.st_ino}")
    assert file.read_text().startswith('<4>{"time"')


def test_an_inherited_journal_is_not_ours_when_stderr_goes_elsewhere():
    assert run(SAY, JOURNAL_STREAM="1:2").stderr.startswith("{")


def test_a_library_speaks_the_same_way_and_only_when_it_matters(capsys):
    logs.configure("json")
    logging.getLogger("httpx").info("HTTP Request: GET http://127.0.0.1/?key=1")
    logging.getLogger("apscheduler.scheduler").warning("maximum number of %s", "instances")
    logging.getLogger("alembic.runtime.migration").info("Running upgrade")
    said = [(line["level"], line["event"], line["text"]) for line in lines(capsys)]
    assert said == [
        ("warning", "apscheduler.scheduler", "maximum number of instances"),
    ]


def test_a_library_with_a_broken_message_breaks_nothing(capsys):
    logs.configure("json")
    logging.getLogger("uvicorn.error").error("%d", "no number")
    assert lines(capsys)[0]["text"] == "a message that cannot be put together"


def test_an_exception_is_its_type_its_code_and_its_place_but_never_its_text(capsys):
    logs.configure("json")
    try:
        try:
            Path("/nowhere/private").open()  # noqa: SIM115 - it is not there
        except OSError as fault:
            raise ValueError("Illegal header value b'Bearer sk-1234'") from fault
    except ValueError:
        structlog.get_logger().exception("probe.broken")
    said = lines(capsys)[0]["exception"]
    assert (said["type"], said["cause"]["type"]) == ("builtins.ValueError", "builtins.FileNotFoundError")
    assert said["cause"]["code"] == "ENOENT"
    assert said["at"][-1].endswith("test_an_exception_is_its_type_its_code_and_its_place_but_never_its_text")
    assert "sk-1234" not in json.dumps(said)
    assert "private" not in json.dumps(said)


def test_an_exception_given_as_a_field_is_no_way_round(capsys):
    logs.configure("json")
    structlog.get_logger().warning("x", why=ValueError("sk-1234"), several=[KeyError("sk-1234")])
    assert "sk-1234" not in capsys.readouterr().err


def test_every_member_of_a_group_is_named(capsys):
    logs.configure("console")
    structlog.get_logger().error("x", exc_info=ExceptionGroup("sk", [KeyError("sk"), OSError(28, "sk")]))
    said = capsys.readouterr().err
    assert "builtins.KeyError" in said
    assert "builtins.OSError ENOSPC" in said
    assert "sk" not in said


@pytest.mark.parametrize(
    "end",
    [
        "raise ValueError('sk-1234')",
        "import threading; t = threading.Thread(target=int, args=('sk-1234',)); t.start(); t.join()",
        "\nclass A:\n  def __del__(self): raise ValueError('sk-1234')\nA()",
        """
import asyncio
async def broken(): raise ValueError('sk-1234')
async def main(): task = asyncio.create_task(broken()); await asyncio.sleep(0)
asyncio.run(main())""",
    ],
)
def test_a_crash_says_where_and_not_what(end: str):
    said = run(f"from monitor import logs; logs.configure(); {end}").stderr
    assert json.loads(said)["exception"]["type"] == "builtins.ValueError"
    assert "sk-1234" not in said


@pytest.mark.parametrize("layout", ["json", "console"])
def test_a_secret_is_hidden_however_it_is_written(capsys, layout):
    logs.configure(layout, {KEY, "other-key"})
    raw = KEY.encode()
    structlog.get_logger().info(
        KEY,
        plain=f"Bearer {KEY}",
        url=f"https://x/?key={urllib.parse.quote_plus(KEY)}&k={urllib.parse.quote(KEY, safe='').lower()}",
        basic=base64.b64encode(b"user:" + raw).decode(),
        basic2=base64.urlsafe_b64encode(b"users:" + raw + b"!").decode(),
        nested={"headers": [("authorization", KEY)]},
        data=raw,
    )
    said = capsys.readouterr().err
    for part in ("live", "71", base64.b64encode(b"user:" + raw).decode()[9:17]):
        assert part not in said.partition("[secret]")[2]
    assert said.count("[secret]") == 8


@given(secret=st.text(min_size=4, max_size=40), around=st.binary(max_size=5), after=st.binary(max_size=5))
def test_no_secret_survives_in_a_line(secret: str, around: bytes, after: bytes):
    try:
        raw = secret.encode()
    except UnicodeEncodeError:
        return
    logs.set_secrets({secret})
    written = [
        secret,
        json.dumps(secret),
        repr(secret),
        urllib.parse.quote(secret),
        urllib.parse.quote_plus(secret),
    ]
    for text in written:
        assert logs.HIDDEN in logs.redact(f"<{text}>")
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        text = encode(around + raw + after).decode()
        hidden = logs.redact(text).replace(logs.HIDDEN, "")
        # What is left belongs to the neighbours, or is a part of one character.
        assert len(hidden) <= len(encode(around + after)) + 8


def test_a_secret_that_is_loaded_late_is_hidden_from_then_on(capsys):
    logs.configure("json")
    logs.set_secrets({"sk-late-1234"})
    logging.getLogger("apprise").error("could not send to https://x/sk-late-1234")
    assert "sk-late" not in capsys.readouterr().err


def test_the_longer_of_two_secrets_leaves_no_rest():
    logs.set_secrets({"sk-1234", "sk-1234-extra"})
    assert logs.redact("sk-1234-extra") == "[secret]"


@pytest.mark.parametrize("layout", ["json", "console"])
def test_a_provider_cannot_write_into_our_terminal(capsys, layout):
    logs.configure(layout)
    structlog.get_logger().warning("x\x1b[2J", detail="a\nb\rc\x1b]0;title\x07\x9b31m\u2028end")
    said = capsys.readouterr().err
    assert said.endswith("\n")
    assert said[:-1].isprintable()


def test_what_json_does_not_know_is_still_one_line(capsys):
    logs.configure("json")
    structlog.get_logger().info("x", path=Path("a"), names=frozenset({"b", "a"}), data=b"\x00")
    assert lines(capsys)[0] | {"time": ""} == {
        "time": "", "level": "info", "event": "x", "path": "a", "names": ["a", "b"], "data": "b'\\x00'",
    }  # fmt: skip


def test_a_log_that_nobody_reads_any_more_stops_nothing():
    program = (
        "import os; from monitor import logs; import structlog; logs.configure(); "
        "structlog.get_logger().info('x'); os.write(1, b'alive')"
    )
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=writing, check=False, cwd=TOP
        )
    finally:
        os.close(writing)
    assert done.stdout == b"alive"


def test_fields_bound_to_a_task_are_said_with_its_events(capsys):
    logs.configure("json")
    with structlog.contextvars.bound_contextvars(endpoint="openai/x"):
        structlog.get_logger().info("probe.done")
    assert lines(capsys)[0]["endpoint"] == "openai/x"
