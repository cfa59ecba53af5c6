"""What the program says of itself: events with fields, one line each, on stderr.

    log = structlog.get_logger()
    log.info("probe.stored", endpoint="openai/gpt-4.1-nano", outcome="ok", ttft_ms=612.4)

JSON under systemd and in containers, aligned text on a terminal. What libraries say through
`logging` takes the same way out. No text of an exception is ever printed, because HTTPX's
quote keys and databases' quote rows: an exception is its type, its code and where it passed.
The redactor stands last, on the finished line, so nothing gets round it.
"""

import errno
import json
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from types import TracebackType
from typing import Any, Literal

import structlog

from monitor.spellings import forms

Layout = Literal["auto", "json", "console"]
Fields = dict[str, Any]

HIDDEN = "[secret]"

_SYSLOG = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
_COLOUR = {"debug": "\x1b[2m", "warning": "\x1b[33m", "error": "\x1b[31m", "critical": "\x1b[1;31m"}
_DEEPEST = 5
"""Causes that are followed, members of a group that are shown."""
_FRAMES = 30


def configure(layout: Layout = "auto", secrets: Collection[str] = ()) -> None:
    """Send everything that is said from now on to stderr. May be called again.

    `auto`: text if stderr is a terminal, else JSON. Lines that go to the journal carry
    their priority as `<4>` in front, which the journal takes off.
    """
    journal = _is_journal(descriptor=2)
    text = layout == "console" or (layout == "auto" and sys.stderr.isatty())
    if not text:
        render: Callable[[Fields], str] = _as_json
    elif sys.stderr.isatty() and not os.environ.get("NO_COLOR"):
        render = _as_coloured_text
    else:
        render = _as_text
    _way_out.render, _way_out.prefixed = render, journal
    set_secrets(secrets)
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, structlog.processors.add_log_level, _way_out],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=_Stderr,
        cache_logger_on_first_use=True,
    )
    _take_in_libraries()
    _take_in_crashes()


def set_secrets(secrets: Collection[str]) -> None:
    """From now on `[secret]` stands for each of these, as it is and as it travels in a URL,
    in base64, in JSON and in a `repr`. Those of fewer than four characters cannot be hidden.
    """
    _way_out.needles = tuple(
        sorted({form for secret in secrets for form in forms(secret)}, key=_longest_first)
    )


def redact(text: str) -> str:
    """The same text with `[secret]` for every secret that was loaded."""
    for needle in _way_out.needles:
        if needle in text:
            text = text.replace(needle, HIDDEN)
    return text


def _longest_first(form: str) -> tuple[int, str]:
    return -len(form), form


class _WayOut:
    """The last processor: fields in, the finished line out."""

    def __init__(self) -> None:
        self.render: Callable[[Fields], str] = _as_json
        self.prefixed = False
        self.needles: tuple[str, ...] = ()

    def __call__(self, _logger: object, method: str, fields: Mapping[str, Any]) -> str:
        rest = dict(fields)
        level = rest.pop("level", method)
        said: Fields = {"time": _now(), "level": level, "event": rest.pop("event", "")}
        fault = _exception(rest.pop("exc_info", None))
        if fault is not None:
            rest["exception"] = describe(fault)
        line = redact(self.render(said | rest))
        return f"<{_SYSLOG.get(level, 6)}>{line}" if self.prefixed else line


def _now() -> str:
    milliseconds = time.time_ns() // 1_000_000
    return f"{_second(milliseconds // 1000)}.{milliseconds % 1000:03d}Z"


@lru_cache(maxsize=1)
def _second(since_epoch: int) -> str:
    return datetime.fromtimestamp(since_epoch, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _as_json(fields: Fields) -> str:
    return _TO_JSON.encode(fields)


def _as_text(fields: Fields, colour: str = "", plain: str = "") -> str:
    time, level, event = (str(fields.pop(key)) for key in ("time", "level", "event"))
    exception = fields.pop("exception", None)
    clock = time[11:19]
    parts = [f"{clock} {colour}{level:<8}{plain} {_shown(event):<20}"]
    parts += [f"{key}={_shown(value)}" for key, value in fields.items()]
    line = " ".join(parts).rstrip()
    return line if exception is None else f"{line}\n{_as_lines(exception)}"


def _as_coloured_text(fields: Fields) -> str:
    return _as_text(fields, _COLOUR.get(fields["level"], ""), "\x1b[0m")


def _as_lines(exception: Fields, indent: str = "    ") -> str:
    code = f" {exception['code']}" if exception["code"] else ""
    lines = [f"{indent}{exception['type']}{code}", *(f"{indent}  at {place}" for place in exception["at"])]
    inner = [*exception.get("group", []), *([exception["cause"]] if "cause" in exception else [])]
    return "\n".join([*lines, *(_as_lines(other, indent + "  ") for other in inner)])


def _shown(value: object) -> str:
    """A word, a quoted text or JSON; never a control character."""
    if not isinstance(value, str):
        return json.dumps(value, default=_plain)
    if value and value.isprintable() and not set(value) & {" ", "=", '"', "'", "\\"}:
        return value
    return repr(value)


def _plain(value: object) -> object:
    """Something that JSON can hold in place of what it cannot; not an exception's text."""
    if isinstance(value, BaseException):
        return describe(value)
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    return str(value)


def _exception(given: object) -> BaseException | None:
    """`exc_info` as callers give it: an exception, a triple, or True for the present one."""
    if isinstance(given, BaseException):
        return given
    if isinstance(given, tuple):
        fault: BaseException | None = given[1]
        return fault
    return sys.exc_info()[1] if given else None


def describe(fault: BaseException, depth: int = 1) -> Fields:
    """An exception without its text: `type`, `code` (errno or SQLSTATE, else None), `at`
    (module, line and function of each frame, the raising one last), `cause` and `group`.
    """
    frames = traceback.walk_tb(fault.__traceback__)
    places = [
        f"{frame.f_globals.get('__name__', '?')}:{line} {frame.f_code.co_name}" for frame, line in frames
    ]
    kind = type(fault)
    said: Fields = {
        "type": f"{kind.__module__}.{kind.__qualname__}",
        "code": _code(fault),
        "at": places[-_FRAMES:],
    }
    if depth < _DEEPEST:
        cause = fault.__cause__ or (None if fault.__suppress_context__ else fault.__context__)
        if cause is not None:
            said["cause"] = describe(cause, depth + 1)
        if isinstance(fault, BaseExceptionGroup):
            said["group"] = [describe(member, depth + 1) for member in fault.exceptions[:_DEEPEST]]
    return said


def _code(fault: BaseException) -> str | None:
    if isinstance(fault, OSError) and fault.errno is not None:
        return errno.errorcode.get(fault.errno, str(fault.errno))
    state = getattr(fault, "sqlstate", None)
    return state if isinstance(state, str) else None


class _Stderr:
    """Where the finished lines go."""

    _lock = threading.Lock()

    def __init__(self, *_names: str) -> None:
        """structlog hands over the names that a logger was asked for by; a line needs none."""

    def write(self, line: str) -> None:
        try:
            with self._lock:
                sys.stderr.write(f"{line}\n")
                sys.stderr.flush()
        except (OSError, ValueError):
            # Whoever read the log has gone, or its disk is full. That is no reason to stop
            # watching, and there is nowhere left to say it.
            return

    debug = info = warning = error = critical = write


class _FromLibraries(logging.Handler):
    """What comes through `logging`: the event is the logger's name, the sentence is `text`."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
        except Exception:  # noqa: BLE001 - a library's broken format string is not our crash
            text = "a message that cannot be put together"
        fault = _exception(record.exc_info)
        if fault is not None:
            # asyncio puts the exception itself on the lines after the first.
            text = text.partition("\n")[0].replace(str(fault) or "\n", type(fault).__name__)
        _say(record.levelname.lower(), record.name, text=text, exc_info=fault)


def _say(level: str, event: str, **fields: object) -> None:
    _Stderr().write(_way_out(None, level, {"event": event, **fields}))


def _take_in_libraries() -> None:
    logging.captureWarnings(capture=True)
    logging.basicConfig(handlers=[_FromLibraries()], level=logging.WARNING, force=True)


def _take_in_crashes() -> None:
    """Python's own way to die prints the exception's text past every redactor."""

    def crashed(_kind: type[BaseException], fault: BaseException, _trace: TracebackType | None) -> None:
        if not isinstance(fault, KeyboardInterrupt):
            _say("critical", "program.crashed", exc_info=fault)

    def thread_crashed(what: threading.ExceptHookArgs) -> None:
        name = what.thread.name if what.thread else None
        _say("critical", "thread.crashed", thread=name, exc_info=what.exc_value)

    def ignored(what: "sys.UnraisableHookArgs") -> None:
        _say("error", "exception.ignored", exc_info=what.exc_value)

    sys.excepthook = crashed
    threading.excepthook = thread_crashed
    sys.unraisablehook = ignored


def _is_journal(descriptor: int) -> bool:
    """Whether this descriptor is the journal's, by what systemd says of it."""
    stream = os.environ.get("JOURNAL_STREAM", "")
    found = os.fstat(descriptor)
    return stream == f"{found.st_dev}:{found.st_ino}"


# Plain ASCII: whoever looks at the lines in a terminal is safe from what they quote.
_TO_JSON = json.JSONEncoder(default=_plain)
_way_out = _WayOut()
