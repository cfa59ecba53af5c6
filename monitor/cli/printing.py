"""What a command prints: JSON for programs, tables for people.

On a terminal tables are coloured and fitted to its width; anywhere else they are plain text
with one line a row. `NO_COLOR` leaves out every escape sequence.
"""

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from monitor.cli.failure import ReaderGone

if TYPE_CHECKING:
    from rich.console import Console

NOTHING = "–"
"""Stands for what is not known, or did not happen."""

_GAP = "  "


class Ink(NamedTuple):
    """Words with a style of rich, which only a terminal shows."""

    text: str
    style: str


Cell = str | Ink


@dataclass(frozen=True, slots=True)
class Column:
    """`right`: figures. `folds`: long words, which a terminal breaks into several lines."""

    title: str
    right: bool = False
    folds: bool = False


STATES: Mapping[str, str] = {
    "up": "green",
    "degraded": "yellow",
    "down": "bold red",
    "unknown": "dim",
    "maintenance": "cyan",
    "paused": "cyan",
}


def state(name: str) -> Ink:
    return Ink(name, STATES.get(name, ""))


@contextmanager
def settled(exit_code: int) -> Iterator[None]:
    """Print a result whose exit code is known. Raises ReaderGone with it if nobody reads to the end."""
    try:
        yield
    except BrokenPipeError:
        raise ReaderGone(exit_code) from None


def document(value: Any) -> None:
    """As JSON."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=_plain))


def _plain(value: object) -> object:
    if isinstance(value, Decimal):
        return f"{value:f}"
    raise TypeError(f"{type(value).__name__} is no JSON")


def line(*cells: Cell) -> None:
    """One line, however long."""
    console = _terminal()
    if console is None:
        click.echo("".join(map(_text, cells)).rstrip())
        return
    console.print(_rich(cells), soft_wrap=True)


def table(columns: Sequence[Column], rows: Iterable[Sequence[Cell]]) -> None:
    """Aligned columns beneath their titles."""
    console = _terminal()
    if console is None:
        _plain_table(columns, [[_text(cell) for cell in row] for row in rows])
        return
    from rich.table import Table

    shown = Table(box=None, pad_edge=False, padding=(0, len(_GAP), 0, 0), header_style="bold")
    for column in columns:
        shown.add_column(
            column.title,
            justify="right" if column.right else "left",
            no_wrap=not column.folds,
            overflow="fold",
            ratio=None,
        )
    for row in rows:
        shown.add_row(*(_rich([cell]) for cell in row))
    console.print(shown)


def width() -> int:
    """Columns of the terminal; 80 where there is none."""
    console = _terminal()
    return 80 if console is None else console.width


def is_unicode() -> bool:
    """Whether blocks and dashes can be shown."""
    return (sys.stdout.encoding or "").lower().replace("-", "") in ("utf8", "utf16", "utf32")


@cache
def _terminal() -> "Console | None":
    """Standard output, if it is a terminal."""
    if not sys.stdout.isatty():
        return None
    from rich.console import Console

    if os.environ.get("NO_COLOR"):
        return Console(color_system=None, highlight=False, markup=False, emoji=False)
    return Console(highlight=False, markup=False, emoji=False)


def _plain_table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    titles = [column.title for column in columns]
    widths = [max(map(len, cells)) for cells in zip(titles, *rows, strict=True)]
    for row in (titles, *rows):
        cells = [
            cell.rjust(wide) if column.right else cell.ljust(wide)
            for cell, wide, column in zip(row, widths, columns, strict=True)
        ]
        click.echo(_GAP.join(cells).rstrip())


def _text(cell: Cell) -> str:
    return cell if isinstance(cell, str) else cell.text


def _rich(cells: Iterable[Cell]) -> Any:
    from rich.text import Text

    return Text.assemble(*(cell if isinstance(cell, str) else (cell.text, cell.style) for cell in cells))


# Figures in words


def ms(value: float | None) -> str:
    """`0.31 ms`, `612 ms`, `2,410 ms`."""
    if value is None:
        return NOTHING
    digits = 2 if value < 1 else 1 if value < 100 else 0
    return f"{value:,.{digits}f} ms"


def speed(value: float | None) -> str:
    return NOTHING if value is None else f"{value:,.1f} tokens/s"


def figure(value: float | None, digits: int = 1) -> str:
    """For a column that says the unit: `1,384`, `41.9`, `0.31`; from 100 on without decimals."""
    if value is None:
        return NOTHING
    return f"{value:,.{0 if value >= 100 else digits}f}"


def percent(value: float | None) -> str:
    """With both of its decimals: they were cut, so 100.00 means all."""
    return NOTHING if value is None else f"{value:.2f}"


def usd(value: Decimal | None) -> str:
    """To the cent above a dollar, to four significant digits below."""
    if value is None:
        return NOTHING
    if not value or value >= 1:
        return f"${value:,.2f}"
    return f"${value:.{3 - value.adjusted()}f}"


def count(number: int, one: str, many: str | None = None) -> str:
    """`1 endpoint`, `2,000 endpoints`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
