"""`python -m bench [NAME …] [--long] [--save]`."""

import argparse
import importlib
import re
import sys
from pathlib import Path

from bench.report import Table, machine

NAMES = ("accuracy", "cpu", "store", "size", "start", "many", "crash", "hostile")
ASKED_FOR = ("aimock",)
"""Runs only where it is named."""
README = Path(__file__).with_name("README.md")


def main() -> int:
    options = _options()
    print(f"{machine()}\n", flush=True)
    for name in options.names or NAMES:
        module = importlib.import_module(f"bench.{name}")
        for table in module.figures(long=options.long):
            print(table.markdown(), flush=True)
            if options.save:
                _save(table)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        choices=[[], *NAMES, *ASKED_FOR],
        help=", ".join((*NAMES, *ASKED_FOR)),
    )
    parser.add_argument("--long", action="store_true", help="also what takes longer than some minutes")
    parser.add_argument("--save", action="store_true", help="put the tables into bench/README.md")
    return parser.parse_args()


def _save(table: Table) -> None:
    """In place of the table of that title, else at the end."""
    text = README.read_text()
    old = re.search(rf"^### {re.escape(table.title)}\n.*?(?=^#|\Z)", text, re.MULTILINE | re.DOTALL)
    new = f"{table.markdown()}\n"
    text = f"{text.rstrip()}\n\n{new}" if old is None else text[: old.start()] + new + text[old.end() :]
    README.write_text(f"{text.rstrip()}\n")


if __name__ == "__main__":
    sys.exit(main())
