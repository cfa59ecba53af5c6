"""Reads the pages of the documentation as far as tests have to: headings, tables, code, links."""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

TOP = Path(__file__).parent.parent.parent
README = TOP / "README.md"
FOLDER = TOP / "docs"

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^(#{1,6}) (.+)$", re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`]+)`")

Row = list[str]


@dataclass(frozen=True)
class Page:
    """One file of Markdown."""

    path: Path

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def prose(self) -> str:
        """The text without its blocks of code."""
        return _FENCE.sub("", self.text)

    def blocks(self, language: str) -> list[str]:
        """Blocks of code in that language."""
        return [code for name, code in _FENCE.findall(self.text) if name == language]

    @property
    def links(self) -> list[str]:
        return _LINK.findall(self.prose)

    @property
    def anchors(self) -> set[str]:
        """What a link may point to, by the rules of GitHub."""
        return {_anchor(title) for _, title in _HEADING.findall(self.prose)}

    def section(self, title: str) -> str:
        """The text beneath a heading, up to the next one of any depth."""
        match = re.search(
            rf"^#{{1,6}} {re.escape(title)}\n(.*?)(?=^#{{1,6}} |\Z)", self.prose, re.MULTILINE | re.DOTALL
        )
        assert match, f"{self.path.name} has no section {title}"
        return match[1]


def pages() -> list[Page]:
    """The README, the changelog and all of docs/."""
    files = [README, TOP / "CHANGELOG.md", *sorted(FOLDER.glob("*.md"))]
    return [Page(file) for file in files]


def page(name: str) -> Page:
    return Page(FOLDER / name)


def tables(text: str) -> list[list[Row]]:
    """Every table, as rows of cells without its head."""
    found: list[list[Row]] = []
    lines = [line.strip() for line in text.splitlines()]
    for before, line in zip(["", *lines], lines, strict=False):
        if not line.startswith("|"):
            continue
        if re.fullmatch(r"\|[\s|:-]+\|", line):
            found.append([])
        elif found and before.startswith("|"):
            found[-1].append(cells(line))
    return found


def cells(line: str) -> Row:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def rows(text: str) -> list[Row]:
    """The rows of all tables in a section."""
    return [row for table in tables(text) for row in table]


def code(text: str) -> list[str]:
    """What stands in `backticks`."""
    return _CODE.findall(text)


def _anchor(title: str) -> str:
    plain = re.sub(r"[^\w\- ]", "", title.lower())
    return plain.replace(" ", "-")
