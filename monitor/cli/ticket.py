"""The evidence of one failure as a text that can be attached to a ticket: no colours, no folding."""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from monitor.cli import choosing, loading, printing
from monitor.cli.failure import Failure
from monitor.cli.printing import Column, count, ms
from monitor.config.settings import Config
from monitor.core.evidence import Evidence, Happening, Kind, is_kept
from monitor.core.figures import Figures
from monitor.core.instant import as_datetime
from monitor.core.outcome import Blame, Outcome
from monitor.core.step import Result
from monitor.core.timeline import Clock
from monitor.store import history
from monitor.store.history import Moment

_LABEL = 14
_PROBE = re.compile(r"[0-9a-f]{32}")
_FIGURES = (
    "ttft_ms", "ttft_net_ms", "ttfat_ms", "output_speed", "effective_throughput", "max_stall_ms", "total_ms",
    "input_tokens", "output_tokens", "reasoning_tokens", "cached_tokens", "token_source",
)  # fmt: skip
_WHOSE = {
    Blame.DEGRADED: "works, but badly",
    Blame.PROVIDER: "the provider is at fault",
    Blame.THROTTLED: "the provider limits our rate",
    Blame.CONFIG: "ours to mend: key, credit or configuration",
    Blame.MONITOR: "the monitor's own network",
}
_MEANS = {
    Kind.DNS: "name resolved",
    Kind.CONNECT: "connected",
    Kind.TLS: "TLS handshake done",
    Kind.SENT: "request sent",
    Kind.HEADERS: "status line and headers",
    Kind.BYTES: "body",
    Kind.COMMENT: "keep-alive only",
    Kind.REASONING: "reasoning",
    Kind.TOKEN: "text",
    Kind.TERMINAL: "end, as the protocol marks it",
    Kind.ERROR: "the server reports an error",
    Kind.FAULT: "broken off",
    Kind.END: "nothing more was read",
}


# Finding it


def read(config: Config, given: str, limit: int) -> list[Evidence]:
    """The newest ones of an endpoint, newest first, or that of a probe; at least one.

    Raises Failure: exit 2 where there is no such endpoint, else 1.
    """
    probe = given.lower() if _PROBE.fullmatch(given.lower()) else None
    endpoint = None if probe else choosing.endpoint(config, given).id
    with loading.database(config) as database, loading.refusals():
        if probe is not None:
            return [database.read(lambda moment: _of_probe(moment, probe))]
        assert endpoint is not None
        return database.read(lambda moment: _of_endpoint(moment, endpoint, limit))


def _of_endpoint(moment: Moment, endpoint: str, limit: int) -> list[Evidence]:
    number = history.number(moment, endpoint)
    found = [] if number is None else history.evidence(moment, number, limit)
    if not found:
        raise Failure(f"no evidence of {endpoint}: no failure of it is stored")
    return found


def _of_probe(moment: Moment, id_: str) -> Evidence:
    probe = history.probe(moment, id_)
    if probe is None:
        raise Failure(f"no probe {id_} is stored; it may be older than 100 days")
    number = history.number(moment, probe.endpoint)
    assert number is not None
    found = history.evidence(moment, number, 1, probe=id_)
    if not found:
        raise Failure(f"no evidence of this probe of {probe.endpoint} ({probe.outcome}): {_why(probe)}")
    return found[0]


def _why(probe: Result) -> str:
    if probe.outcome is Outcome.OK:
        return "it is kept of failures alone"
    if not probe.sent or not is_kept(probe.outcome):
        return "nothing was seen that could be shown"
    return "of many that fail alike it is not kept of each"


# Showing it


def show(found: Evidence) -> None:
    """All of it, line by line."""
    for text in lines(found):
        printing.line(text)


def show_list(found: Sequence[Evidence]) -> None:
    """One a line, for whoever looks for the id."""
    printing.table(
        (Column("at (UTC)"), Column("probe"), Column("outcome"), Column("why")),
        [(_moment(one), one.probe_id, str(one.outcome), (one.detail or "")[:80]) for one in found],
    )


def lines(found: Evidence) -> Iterator[str]:
    """The text. What a server said stands behind `|`, so that it cannot pass for ours."""
    yield f"{found.endpoint}: {found.outcome}"
    yield ""
    yield from (f"{name:<{_LABEL}}{told}" for name, told in _facts(found) if told)
    if found.headers:
        yield from _headed("Response headers", (f"| {name}: {told}" for name, told in found.headers.items()))
    clock = "stamps of the kernel" if found.phases.clock is Clock.KERNEL else "moments of reading"
    yield from _headed(f"What came when: milliseconds from the start ({clock})", _events(found))
    if found.body:
        yield from _headed(_title(found), (f"| {line}" for line in found.body.split("\n")))
    yield from _headed("Figures", _figures(found.figures))


def _headed(title: str, body: Iterable[str]) -> Iterator[str]:
    yield ""
    yield title
    yield from (f"  {line}".rstrip() for line in body)


def _facts(found: Evidence) -> Iterator[tuple[str, str | None]]:
    blame = found.outcome.blame
    yield "when", f"{_moment(found)} UTC"
    yield "whose", None if blame is None else _WHOSE[blame]
    yield "why", found.detail
    yield "asked", _asked(found)
    model = f"{found.model} over {found.protocol}" if found.model else found.protocol
    yield "protocol", model
    yield "answered by", found.peer
    yield "status", None if found.status is None else str(found.status)
    yield "request id", found.request_id
    yield "error", _error(found)
    fault = found.fault
    yield "broken off", None if fault is None else f"{fault.text} (phase: {fault.phase})"
    yield "served model", found.served_model
    yield "finish reason", found.finish_reason
    yield "probe", found.probe_id
    yield "monitor", f"Uptoken {found.monitor}, location {found.location}"


def _moment(found: Evidence) -> str:
    return f"{as_datetime(found.at):%Y-%m-%d %H:%M:%S.%f}"[:-3]


def _asked(found: Evidence) -> str | None:
    if found.url is None:
        return None
    sent = f", body of {count(found.sent, 'byte')}" if found.sent else ""
    return f"{found.method} {found.url}{sent}"


def _error(found: Evidence) -> str | None:
    error = found.error
    if error is None:
        return None
    label = ", ".join(part for part in (error.type, error.code, *error.reasons) if part)
    return f"{error.message or '(no message)'}" + (f" ({label})" if label else "")


def _title(found: Evidence) -> str:
    shown = len(found.body.encode())
    if found.received > shown:
        return f"The body, its beginning ({count(found.received, 'byte')} came)"
    return "The body"


def _events(found: Evidence) -> Iterator[str]:
    # What is left out lies between the two halves of what is kept.
    half = len(found.events) // 2 if found.dropped else len(found.events)
    yield from _folded(found.events[:half])
    if found.dropped:
        yield f"{'':>12}  … {count(found.dropped, 'event', 'events')} left out"
        yield from _folded(found.events[half:])


def _folded(events: Sequence[Happening]) -> Iterator[str]:
    """A line for all of one kind that came at once."""
    for (offset_ms, kind), same in groupby(events, lambda event: (event.offset_ms, event.kind)):
        together = list(same)
        at = ("≤ " if all(event.is_bound for event in together) else "") + f"{offset_ms:,.1f}"
        sizes = [event.size for event in together if event.size is not None]
        words = [_MEANS[kind]]
        if len(together) > 1:
            words.append(count(len(together), "piece"))
        if sizes:
            words.append(count(sum(sizes), "character" if kind in (Kind.TOKEN, Kind.REASONING) else "byte"))
        yield f"{at:>12}  {kind:<10}{', '.join(words)}"


def _figures(figures: Figures) -> Iterator[str]:
    for name in _FIGURES:
        value = getattr(figures, name)
        if value is None:
            continue
        told = ms(value) if name.endswith("_ms") else f"{value:,.1f}" if type(value) is float else f"{value}"
        yield f"{name:<22}{told}"
