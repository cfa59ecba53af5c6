"""The page in a real browser: on a phone, in the dark, without script, and under attack."""

import json
import urllib.request
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from monitor.core.instant import iso
from tests.web.conftest import World
from tests.web.serving import Page as Served

PATHS = ["/", "/providers/acme", "/endpoints/acme/fast", "/endpoints/acme/broken", "/incidents", "/nothing"]
PHONE = {"width": 390, "height": 844}


@pytest.fixture
def tab(browser: Browser, served: Served) -> Iterator[Page]:
    """A tab that notes whatever goes wrong in it; nothing may."""
    context = browser.new_context(viewport=PHONE, base_url=served.url, locale="en-GB")
    page, complaints = context.new_page(), []
    page.on(
        "console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None
    )
    page.on("pageerror", lambda fault: complaints.append(str(fault)))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    page.on(
        "request", lambda asked: None if asked.url.startswith(served.url) else complaints.append(asked.url)
    )
    yield page
    context.close()
    assert [line for line in complaints if "404" not in line] == []


def _all_paths(served: Served) -> list[str]:
    with urllib.request.urlopen(f"{served.url}/api/v1/incidents") as answer:
        (first, *_) = json.load(answer)["incidents"]
    return [*PATHS, f"/incidents/{first['id']}"]


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_no_page_is_wider_than_the_screen(tab, served, width):
    tab.set_viewport_size({"width": width, "height": 800})
    for path in _all_paths(served):
        tab.goto(path)
        for details in tab.locator("details").all():
            details.locator("summary").click()
        assert tab.evaluate("document.documentElement.scrollWidth") <= width, path


def test_what_a_provider_wrote_runs_nowhere(tab, served):
    for path in _all_paths(served):
        tab.goto(path)
        tab.wait_for_load_state("networkidle")
        assert tab.title() != "owned"
        assert tab.locator("img").count() == 0
        assert tab.locator("script").count() == 1
        assert tab.locator("text=49").locator("visible=true").filter(has_text="alert").count() == 0


def test_the_page_is_whole_without_script(browser, served, world: World):
    context = browser.new_context(viewport=PHONE, base_url=served.url, java_script_enabled=False)
    page = context.new_page()
    page.goto("/")
    assert page.locator("h1").inner_text() == "2 of 3 endpoints are down"
    assert page.locator("article.endpoint").count() == 3
    assert page.locator("svg.bars").count() == 6
    fast = page.locator('article.endpoint[id="acme/fast"]')
    text = fast.inner_text()
    for word in ("Up for", "Uptime", "First token", "Output speed", "p95", "Last look", "90 days ago"):
        assert word in text
    fast.locator("summary").click()
    assert "End to end".lower() in fast.inner_text().lower() or "end to end" in fast.inner_text()
    assert (
        page.locator("noscript meta[http-equiv=refresh]").count()
        + page.locator("meta[http-equiv=refresh]").count()
        >= 1
    )
    page.locator("text=All incidents").click()
    assert page.locator("h1").inner_text() == "Incidents"
    context.close()


def test_the_page_is_dark_where_people_want_it_dark(browser, served):
    grounds = []
    for scheme in ("light", "dark"):
        context = browser.new_context(color_scheme=scheme, base_url=served.url)
        page = context.new_page()
        page.goto("/")
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        grounds.append(sum(int(part) for part in colour.removeprefix("rgb(").rstrip(")").split(",")))
        context.close()
    light, dark = grounds
    assert light > 600
    assert dark < 150


CONTRAST = """() => {
  const parse = (c) => c.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (one) => {
    for (let at = one; at; at = at.parentElement) {
      const c = getComputedStyle(at).backgroundColor;
      if (c.startsWith("color(srgb")) return parse(c.slice(10)).slice(0, 3).map((v) => v * 255);
      const p = parse(c);
      if (p.length < 4 || p[3] > 0) return p;
    }
    return [255, 255, 255];
  };
  const worst = [];
  for (const one of document.querySelectorAll("main *, header *, footer *")) {
    const text = [...one.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!text || one.closest("svg") || !one.checkVisibility()) continue;
    const [a, b] = [light(parse(getComputedStyle(one).color)), light(ground(one))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) worst.push(`${one.className || one.tagName}: ${ratio.toFixed(2)}`);
  }
  return [...new Set(worst)];
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_word_stands_out_from_its_ground(browser, served, scheme):
    """WCAG AA: 4.5 to 1."""
    context = browser.new_context(color_scheme=scheme, base_url=served.url)
    page = context.new_page()
    for path in _all_paths(served):
        page.goto(path)
        assert page.evaluate(CONTRAST) == [], path
    context.close()


def test_every_state_has_a_shape_and_a_word_beside_its_colour(tab):
    tab.goto("/")
    for endpoint in tab.locator("article.endpoint > header").all():
        icon = endpoint.locator("svg.icon use").get_attribute("href")
        word = endpoint.locator(".state b").inner_text().lower()
        assert icon == f"#i-{word}"


def test_the_page_takes_in_what_is_new_without_losing_the_reader_s_place(tab, served):
    tab.goto("/")
    tab.locator("summary").first.click()
    tab.evaluate("document.querySelector('h1').textContent = 'old'; window.kept = 1")
    tab.evaluate("window.scrollTo(0, 300)")
    tab.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(tab.locator("h1")).not_to_have_text("old")
    assert tab.evaluate("window.kept") == 1
    assert tab.locator("details[open]").count() == 1
    assert tab.evaluate("window.scrollY") == 300


def test_the_age_of_the_newest_measurement_is_told(tab, world: World):
    tab.goto("/")
    newest = max(past.results[-1].at for past in world.pasts.values())
    told = tab.locator("time[data-ago]")
    assert told.get_attribute("datetime") == iso(newest)
    assert told.inner_text().endswith("ago")


def test_the_waterfall_says_what_its_parts_are(tab):
    tab.goto("/endpoints/acme/fast")
    titles = tab.locator("svg.waterfall").first.locator("title").all_text_contents()
    assert [title.partition(":")[0] for title in titles] == [
        "name",
        "connect",
        "TLS",
        "waiting for the answer",
        "streaming",
        "the end",
    ]


def test_the_keyboard_reaches_everything(tab):
    tab.goto("/")
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.className") == "skip"
    reached = set()
    for _ in range(40):
        tab.keyboard.press("Tab")
        reached.add(tab.evaluate("document.activeElement.tagName"))
    assert {"A", "SUMMARY"} <= reached
