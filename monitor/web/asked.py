"""What a request asks for, read strictly: what cannot be understood is said, not guessed."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from monitor.core.instant import DAY, HOUR, MINUTE, SECOND, Span
from monitor.core.uptime import Metric, Window

DEFAULT_LIMIT = 100
MOST_ROWS = 1_000
MOST_BUCKETS = 2_000


class Refusal(Exception):
    """There is no such document. The text is for whoever asked."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


def bad_request(message: str) -> Refusal:
    return Refusal(400, "bad_request", message)


def not_found(message: str) -> Refusal:
    return Refusal(404, "not_found", message)


def limit(query: Mapping[str, str]) -> int:
    """How many rows, 1 to 1000. Raises Refusal."""
    said = query.get("limit", str(DEFAULT_LIMIT))
    if not re.fullmatch(r"\d{1,4}", said, re.ASCII) or not 1 <= int(said) <= MOST_ROWS:
        raise bad_request(f"limit is a number from 1 to {MOST_ROWS}")
    return int(said)


def before(query: Mapping[str, str]) -> str | None:
    """The probe id before which to go on. Raises Refusal."""
    said = query.get("before")
    if said is not None and not re.fullmatch(r"[0-9a-f]{32}", said):
        raise bad_request("before is the id of a probe, 32 hexadecimal digits")
    return said


def probe(said: str) -> str:
    """The id of a probe in a path. Raises Refusal."""
    if not re.fullmatch(r"[0-9a-f]{32}", said):
        raise not_found("There is no such probe here: its id has 32 hexadecimal digits.")
    return said


def before_event(query: Mapping[str, str]) -> str | None:
    """The id of the event before which to go on. Raises Refusal."""
    said = query.get("before")
    if said is not None and not re.fullmatch(r"[0-9a-f]{18}", said):
        raise bad_request("before is the id of an event, 18 hexadecimal digits")
    return said


@dataclass(frozen=True, slots=True)
class Series:
    """Which figure, over which time, in steps of what."""

    metric: Metric
    window: Window
    step: Span
    step_name: str


_STEPS = {
    Window.M5: "10s",
    Window.M30: "1m",
    Window.H1: "1m",
    Window.H24: "15m",
    Window.D1: "15m",
    Window.D7: "2h",
    Window.D30: "6h",
    Window.D90: "1d",
}
_UNITS = {"s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY}


def series(query: Mapping[str, str]) -> Series:
    """By default the time to first token of 24 hours in steps of 15 minutes. Raises Refusal."""
    metric, window = query.get("metric", Metric.TTFT_MS.value), query.get("window", Window.H24.value)
    if metric not in set(Metric):
        raise bad_request(f"metric is one of {', '.join(Metric)}")
    if window not in set(Window):
        raise bad_request(f"window is one of {', '.join(Window)}")
    which = Window(window)
    name = query.get("step", _STEPS[which])
    found = re.fullmatch(r"(\d{1,5})([smhd])", name, re.ASCII)
    step = Span(int(found[1]) * _UNITS[found[2]]) if found else Span(0)
    if not step:
        raise bad_request('step is a duration such as "30s", "15m", "2h" or "1d"')
    if which.span // step > MOST_BUCKETS:
        raise bad_request(f"step is too short: {window} would be more than {MOST_BUCKETS} buckets")
    return Series(Metric(metric), which, step, name)
