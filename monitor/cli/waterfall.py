"""One look, drawn: what took how long, one beneath the other, for 80 columns and more."""

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

from monitor import logs
from monitor.cli import printing
from monitor.cli.printing import NOTHING, Cell, Ink, ms, speed, usd
from monitor.config.settings import EndpointSettings
from monitor.core.instant import as_datetime
from monitor.core.integrity import Flaw
from monitor.core.observation import Observation
from monitor.core.outcome import Blame
from monitor.core.timeline import Clock, Phases, phases
from monitor.pipeline import Seen

_LABEL, _FIGURE = 23, 10
_NARROWEST, _WIDEST = 20, 80
_ANSWER_LINES = 2
_ANSWERS = 10
_BLOCKS = " ▏▎▍▌▋▊▉█"

WORTH_SAYING_MS = 0.05
"""A bound that is narrower than this is not told."""

_WHOSE = {
    None: ("works", "bold green"),
    Blame.DEGRADED: ("works, but badly", "bold yellow"),
    Blame.PROVIDER: ("the provider is at fault", "bold red"),
    Blame.THROTTLED: ("the provider limits our rate", "bold yellow"),
    Blame.CONFIG: ("ours to mend: key, credit or configuration", "bold magenta"),
    Blame.MONITOR: ("the monitor itself, so nothing is known", "bold magenta"),
}


def show(endpoint: EndpointSettings, seen: Seen) -> None:
    """Print all of it."""
    _print_head(endpoint, seen)
    printing.line()
    printing.line(Ink(f"{'':<{_LABEL}}{'took':>{_FIGURE}}{'at':>{_FIGURE}}", "dim"))
    drawing = list(stretches(seen, endpoint.model_name is not None, over_http=endpoint.over_http))
    whole = max((one.end for one in drawing if one.end is not None), default=0.0) or 1.0
    for stretch in drawing:
        printing.line(*_row(stretch, whole))
    for words in _clock(endpoint, seen):
        printing.line(Ink(words, "dim"))
    printing.line()
    for words in _figures(seen):
        printing.line(words)
    for name, words in _facts(seen):
        printing.line(f"  {name:<14}{words}")


def _print_head(endpoint: EndpointSettings, seen: Seen) -> None:
    whose, style = _WHOSE[seen.verdict.blame]
    moment = as_datetime(seen.at)
    printing.line(Ink(endpoint.id, "bold"), f"  {endpoint.protocol}  {moment:%Y-%m-%d %H:%M:%S} UTC")
    printing.line(Ink(str(seen.verdict.outcome), style), f"  {whose}")
    if seen.verdict.detail:
        for words in _wrapped(logs.redact(seen.verdict.detail), "  "):
            printing.line(words)


# The waterfall


@dataclass(frozen=True, slots=True)
class Stretch:
    """One row. Milliseconds from the start of the look; None: it did not come to that."""

    label: str
    start: float | None = None
    end: float | None = None
    style: str = "cyan"
    is_bound: bool = False
    """It ended then or before; no stamp tells."""


def stretches(seen: Seen, speaks: bool, *, over_http: bool = True) -> Iterator[Stretch]:
    """What a look went through, each from the end of the one before. `speaks`: it asked a model.

    Where no HTTP was spoken, there is no row for what was not to happen either.
    """
    line = phases(seen.observation.timeline)
    # Our own time lies between the phases; drawn in front, the rest adds up without holes.
    at = 0.0
    for label, name, style in (
        ("own time", "own_ms", "dim"),
        ("dns", "dns_ms", "cyan"),
        ("connect", "connect_ms", "cyan"),
        ("tls", "tls_ms", "cyan"),
    ):
        length: float | None = getattr(line, name)
        yield (
            Stretch(label) if length is None else Stretch(label, at, at + length, style, name in line.bounds)
        )
        at += length or 0.0
    for label, name, style in _moments(line, speaks):
        moment: float | None = getattr(line, name)
        if moment is None:
            if over_http:
                yield Stretch(label)
            continue
        yield Stretch(label, min(at, moment), moment, style, name in line.bounds)
        at = max(at, moment)
    if not over_http and seen.observation.fault is None and (line.end or 0.0) <= at + WORTH_SAYING_MS:
        return
    if line.end is not None and (line.terminal is None or line.end > line.terminal):
        style = "dim" if seen.verdict.outcome.works else "bold red"
        yield Stretch("end", min(at, line.end), line.end, style, "end" in line.bounds)


def _moments(line: Phases, speaks: bool) -> Iterator[tuple[str, str, str]]:
    yield "request sent", "request_sent", "blue"
    yield "headers", "headers", "yellow"
    yield "first byte", "first_byte", "yellow"
    if not speaks:
        return
    if line.first_reasoning is not None:
        yield "first reasoning token", "first_reasoning", "magenta"
    yield "first answer token", "first_answer", "green"
    if line.first_answer is None and line.first_reasoning is None and line.first_token is not None:
        yield "first other token", "first_token", "green"
    yield "last token", "last_token", "green"
    yield "terminal event", "terminal", "dim"


def _row(stretch: Stretch, whole: float) -> tuple[Cell, ...]:
    label = f"  {stretch.label:<{_LABEL - 2}}"
    if stretch.start is None or stretch.end is None:
        return (Ink(f"{label}{NOTHING:>{_FIGURE}}{NOTHING:>{_FIGURE}}", "dim"),)
    room = min(_WIDEST, max(_NARROWEST, printing.width() - _LABEL - 2 * _FIGURE - 3))
    before, bar = drawn(stretch.start / whole, stretch.end / whole, room, blocks=printing.is_unicode())
    at = ("≤ " if stretch.is_bound else "") + ms(stretch.end)
    figures = f"{ms(stretch.end - stretch.start):>{_FIGURE}}{at:>{_FIGURE}}"
    return label, figures, " " * (before + 2), Ink(bar, stretch.style)


def drawn(start: float, end: float, room: int, *, blocks: bool) -> tuple[int, str]:
    """A bar from `start` to `end` (0 to 1) in `room` columns: how many stay empty, and the bar.

    It is never empty: what took no time is a thin line.
    """
    before = min(int(start * room), room - 1)
    length = (end - start) * room
    if length >= 1:
        # Blocks fill a column from its left, so where a bar begins is cut to whole columns.
        length = end * room - before
    eighths = max(1, min(round(length * 8), (room - before) * 8))
    if not blocks:
        return before, "#" * -(-eighths // 8)
    return before, "█" * (eighths // 8) + _BLOCKS[eighths % 8].strip()


def _clock(endpoint: EndpointSettings, seen: Seen) -> list[str]:
    """Why these moments may be late, where no stamp of the kernel tells them."""
    line = seen.observation.timeline
    if line.clock is Clock.KERNEL or line.headers is None:
        return []
    if endpoint.http2:
        why = "HTTP/2 is read by a library that has no stamps of the kernel"
    elif endpoint.proxy is not None and endpoint.proxy.template.startswith("unix:"):
        why = "the kernel stamps nothing on a Unix socket"
    else:
        why = "some bytes came without a usable stamp of the kernel"
    late = "moments are those at which they were read, late by the monitor's own delay"
    return _wrapped(f"clock: user – {why}, so {late}.", "  ")


# The figures


def _figures(seen: Seen) -> Iterator[str]:
    figures = seen.verdict.figures
    left = [
        ("ttft", _bounded(figures.ttft_ms, figures.ttft_uncertainty_ms)),
        ("ttft_net", ms(figures.ttft_net_ms)),
        ("ttfat", ms(figures.ttfat_ms)),
    ]
    right = [
        ("output_speed", speed(figures.output_speed)),
        ("effective_throughput", speed(figures.effective_throughput)),
        ("max_stall", ("≤ " if figures.max_stall_bound else "") + ms(figures.max_stall_ms)),
    ]
    if figures.ttft_ms is None:
        yield f"  {'total':<14}{_bounded(figures.total_ms, figures.total_uncertainty_ms)}"
        yield from _unsure("the end", figures.total_uncertainty_ms)
        return
    left.append(("e2e_500", ms(figures.e2e_500_ms)))
    right.append(("total", ms(figures.total_ms)))
    for (name, value), (other, figure) in zip(left, right, strict=True):
        yield f"  {name:<14}{value:<18}{other:<22}{figure}"
    yield from _unsure("the first token", figures.ttft_uncertainty_ms)


def _bounded(figure: float | None, width: float | None) -> str:
    """`≤ 612 ms`, where the stamp is only a bound."""
    return ("≤ " if (width or 0.0) >= WORTH_SAYING_MS else "") + ms(figure)


def _unsure(what: str, width: float | None) -> Iterator[str]:
    if width is not None and width >= WORTH_SAYING_MS:
        yield f"  {'uncertainty':<14}{what} may have come up to {ms(width)} earlier"


def _facts(seen: Seen) -> Iterator[tuple[str, str]]:
    found, figures = seen.observation, seen.verdict.figures
    if figures.output_tokens is not None or figures.input_tokens is not None:
        yield "tokens", _tokens(seen)
    if seen.cost_usd is not None:
        yield "cost", f"{usd(seen.cost_usd)}"
    if found.status is not None:
        yield "status", str(found.status)
    if seen.flaws:
        yield "stream", ", ".join(flaw.value.replace("_", " ") for flaw in Flaw if flaw in seen.flaws)
    yield from _who(found)
    if found.request_id is not None:
        yield "request id", found.request_id
    if seen.headroom is not None:
        yield "limits", seen.headroom.words()
    if found.certificate is not None:
        yield "TLS", found.certificate.version
        yield "issuer", found.certificate.issuer
    if found.certificate_days is not None:
        whose = "" if found.certificate is None else f", first {found.certificate.first}"
        yield "certificate", f"expires in {found.certificate_days:.0f} days{whose}"
    for number, record in enumerate(found.answers[:_ANSWERS]):
        yield "" if number else "answers", _beginning(record)
    if found.answer:
        yield "answer", _beginning(found.answer)
    elif found.body and found.error is None and found.body[:40] not in (seen.verdict.detail or ""):
        yield "body", _beginning(found.body)


def _who(found: Observation) -> Iterator[tuple[str, str]]:
    if found.served_model is not None:
        yield "served model", found.served_model
    if found.fingerprint is not None:
        yield "fingerprint", found.fingerprint
    if found.upstream is not None:
        yield "upstream", found.upstream


def _beginning(text: str) -> str:
    first, *rest = _wrapped(logs.redact(text), " " * 16)[:_ANSWER_LINES]
    return "\n".join([first.strip(), *rest])


def _tokens(seen: Seen) -> str:
    figures = seen.verdict.figures
    parts = [
        f"{count:,} {name}"
        for name, count in (
            ("in", figures.input_tokens),
            ("out", figures.output_tokens),
            ("reasoning", figures.reasoning_tokens),
            ("cached", figures.cached_tokens),
        )
        if count is not None
    ]
    source = {"usage": " (counted by the server)", "estimate": " (estimated)"}.get(
        figures.token_source or "", ""
    )
    return ", ".join(parts) + source


def _wrapped(text: str, indent: str) -> list[str]:
    room = min(printing.width(), 100)
    return textwrap.wrap(" ".join(text.split()), room, initial_indent=indent, subsequent_indent=indent) or [
        ""
    ]
