"""What holds for every page: links lead somewhere, examples load."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from monitor.config.load import load
from monitor.notifier import readable
from monitor.protocols import settings_registry
from tests.docs.pages import TOP, Page, pages

PAGES = pages()
NOW = datetime(2026, 11, 21, 22, tzinfo=UTC)


def named(page: Page) -> str:
    return page.path.name


LINKS = [
    pytest.param(page, link, id=f"{page.path.name}-{link}")
    for page in PAGES
    for link in page.links
    if "://" not in link
]


@pytest.mark.parametrize(("page", "link"), LINKS)
def test_a_link_leads_to_a_file_and_to_a_heading_in_it(page: Page, link: str):
    file, _, anchor = link.partition("#")
    target = (page.path.parent / file).resolve() if file else page.path
    assert target.exists()
    if anchor:
        assert anchor in Page(target).anchors


EXAMPLES = [
    pytest.param(example, id=f"{page.path.name}-{number}")
    for page in PAGES
    for number, example in enumerate(page.blocks("toml"), start=1)
]


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_is_a_config_that_loads_without_a_warning(example: str, tmp_path: Path):
    path = tmp_path / "config.toml"
    path.write_text(example, encoding="utf-8")
    path.chmod(0o600)
    config = load(path, settings_registry(), NOW, readable)
    assert [str(warning) for warning in config.warnings] == []


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_no_page_names_a_place_on_the_machine_it_was_written_on(page: Page):
    assert str(TOP) not in page.text
