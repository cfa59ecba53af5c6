"""A window of every endpoint: as tables, JSON, CSV or Markdown."""

import csv
import json
import sys
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from monitor.cli import printing, recorded
from monitor.cli.printing import NOTHING, Cell, Column, Ink, figure, percent, usd
from monitor.cli.recorded import Recorded
from monitor.cli.standings import latency_of
from monitor.core.instant import SECOND, say
from monitor.core.snapshot import EndpointSnapshot
from monitor.core.uptime import Distribution, Window, WindowFigures
from monitor.feeds import api_v1
from monitor.store.spending import Spending

Json = dict[str, Any]


def show(found: Recorded, which: Window, layout: str) -> None:
    """Print it in that format: `table`, `json`, `csv` or `md`."""
    match layout:
        case "json":
            printing.document(document(found, which))
        case "csv":
            write_csv(document(found, which))
        case "md":
            _print_markdown(found, which)
        case _:
            _print_tables(found, which)


def document(found: Recorded, which: Window) -> Json:
    """The names of `/api/v1`, and what the probes used."""
    snapshot = json.loads(api_v1.endpoints(found.snapshot))
    return {
        "window": str(which),
        "generated_at": snapshot["generated_at"],
        "stale": snapshot["stale"],
        "endpoints": [
            {
                "id": one["id"],
                "provider": one["provider"],
                "model": one["model"],
                "state": one["state"],
                **one["windows"][str(which)],
                **_used(found.spending.get(one["id"])),
            }
            for one in snapshot["endpoints"]
        ],
    }


def _used(spent: Spending | None) -> Json:
    if spent is None:
        return {"probes": 0, "input_tokens": None, "output_tokens": None, "cost_usd": None}
    return {
        "probes": spent.probes,
        "input_tokens": spent.input_tokens,
        "output_tokens": spent.output_tokens,
        "cost_usd": spent.cost_usd,
    }


# CSV


def write_csv(report: Json) -> None:
    """One row an endpoint; what is nested is joined with `_`: `counts_ok`, `ttft_ms_p95`."""
    rows = [{"window": report["window"], **_flat(one)} for one in report["endpoints"]]
    if not rows:
        return
    # A file may be opened anywhere, so its lines end as the standard says.
    out = csv.writer(sys.stdout, lineterminator="\r\n")
    out.writerow(rows[0])
    out.writerows([_harmless(value) for value in row.values()] for row in rows)


def _flat(nested: Mapping[str, Any], prefix: str = "") -> Json:
    flat: Json = {}
    for name, value in nested.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}_")
        else:
            flat[prefix + name] = value
    return flat


def _harmless(value: object) -> object:
    """A spreadsheet takes a text that begins like this for a formula."""
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r", "\n")):
        return "'" + value
    return f"{value:f}" if isinstance(value, Decimal) else value


# Tables


_UPTIME = ("uptime %", "strict %", "coverage %", "due", "down", "incidents")
_SPEED = ("ttft p50 ms", "p95", "p99", "n", "tok/s p50", "p5", "n")
_USED = ("probes", "tokens in", "tokens out", "cost")


def _print_tables(found: Recorded, which: Window) -> None:
    """Three, so that each fits a narrow terminal."""
    recorded.print_if_stale(found.snapshot.heartbeat, found.snapshot.now)
    rows = list(_rows(found, which))
    if not rows:
        printing.line("No endpoint is configured: add [[provider.NAME.endpoints]] to config.toml.")
        return
    start = 1
    for title, columns in (("Uptime", _UPTIME), ("Speed", _SPEED), ("Used", _USED)):
        printing.line(Ink(f"{title}, last {which}", "bold"))
        part = [(row[0], *row[start : start + len(columns)]) for row in rows]
        if columns is _USED:
            part.append(_total(found))
        printing.table(
            (Column("endpoint", folds=True), *(Column(name, right=True) for name in columns)), part
        )
        start += len(columns)
        if columns is not _USED:
            printing.line()


def _print_markdown(found: Recorded, which: Window) -> None:
    titles = ("endpoint", *_UPTIME, *_SPEED, *_USED)
    printing.line(f"| {' | '.join(titles)} |")
    printing.line(f"| --- |{' ---: |' * (len(titles) - 1)}")
    for row in _rows(found, which):
        cells = (cell if isinstance(cell, str) else cell.text for cell in row)
        printing.line(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")


def _rows(found: Recorded, which: Window) -> Iterator[tuple[Cell, ...]]:
    for one in found.snapshot.endpoints:
        figures = one.windows[which]
        yield (one.id, *_uptime(figures), *_speed(one, figures), *_spent(found.spending.get(one.id)))


def _uptime(figures: WindowFigures) -> Iterator[str]:
    yield percent(figures.uptime)
    yield percent(figures.strict_uptime)
    yield percent(figures.coverage)
    yield f"{figures.due:,}"
    yield say(round(figures.down_s * SECOND)) if figures.down_s else NOTHING
    yield f"{figures.incidents:,}"


def _speed(one: EndpointSnapshot, figures: WindowFigures) -> Iterator[str]:
    latency: Distribution = figures.ttft_ms if one.listing.model else latency_of(figures)
    yield from (*map(figure, (latency.p50, latency.p95, latency.p99)), f"{latency.n:,}")
    speed = figures.output_speed
    yield from (*map(figure, (speed.p50, speed.p5)), f"{speed.n:,}")


def _spent(spent: Spending | None) -> Iterator[str]:
    if spent is None:
        yield from ("0", NOTHING, NOTHING, NOTHING)
        return
    yield f"{spent.probes:,}"
    yield _count(spent.input_tokens)
    yield _count(spent.output_tokens)
    yield usd(spent.cost_usd)


def _total(found: Recorded) -> tuple[Cell, ...]:
    """Of what is known; a sum over nothing is not known either."""
    spent = found.spending.values()
    inputs = [one.input_tokens for one in spent if one.input_tokens is not None]
    outputs = [one.output_tokens for one in spent if one.output_tokens is not None]
    costs = [one.cost_usd for one in spent if one.cost_usd is not None]
    return (
        "total",
        f"{sum(one.probes for one in spent):,}",
        _count(sum(inputs) if inputs else None),
        _count(sum(outputs) if outputs else None),
        usd(sum(costs, Decimal(0)) if costs else None),
    )


def _count(number: int | None) -> str:
    return NOTHING if number is None else f"{number:,}"
