"""A page process over a database in which something happened; tests only read from it."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

import pytest

from monitor.core.budget import Price
from monitor.core.identity import Change, Event
from monitor.core.instant import DAY, MINUTE, Instant, Span
from monitor.core.integrity import Flaw
from monitor.core.outcome import Outcome
from monitor.core.snapshot import Listing
from tests.store.believable import Life, Past, Trouble, lived, write
from tests.web.serving import Page

HOSTILE = '"><script>document.title="owned"</script><img src=x onerror=alert(1)>{{7*7}}'
"""Text of a provider who means harm."""


@dataclass(frozen=True, slots=True)
class World:
    """What was written, and where."""

    url: str
    folder: Path
    now: Instant
    pasts: dict[str, Past]
    listings: tuple[Listing, ...]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Three endpoints, one of them hidden from everybody, two days behind them."""
    folder = tmp_path_factory.mktemp("world")
    now = Instant(time.time_ns() // 1_000)
    broken = Trouble(
        start=Instant(now - 20 * MINUTE),
        length=DAY,
        outcome=Outcome.HTTP_5XX,
        detail=f"status is 503: {HOSTILE} at host db7.internal",
    )
    earlier = replace(
        broken, start=Instant(now - DAY), length=Span(30 * MINUTE), outcome=Outcome.OVERLOADED, detail="529"
    )
    lives = [
        Life(id="acme/fast", name="fast", provider="Acme"),
        Life(id="acme/broken", name=f"broken {HOSTILE}", provider="Acme", troubles=(earlier, broken)),
        Life(id="hidden/site", name="site", provider="Hidden", ttft_ms=None, price=None, troubles=(broken,)),
    ]
    pasts = {life.id: lived(life, Instant(now - 2 * DAY), now) for life in lives}
    _answered_by_another(pasts["acme/fast"])
    _answered_by_another(pasts["acme/broken"])
    url = f"sqlite:///{folder / 'uptoken.db'}"
    write(url, list(pasts.values()), now)
    fast, bad, hidden = (life.listing for life in lives)
    listings = (
        replace(
            fast,
            labels={"tier": "gold"},
            price=Price(input=Decimal("0.10"), output=Decimal("0.40"), cache_read=Decimal("0.025")),
            status_page="https://status.acme.example",
            data_policy={"prompt_training": False, "prompt_logging": "none", "moderation": None},
            context=128_000,
        ),
        replace(bad, provider_name=f"Acme {HOSTILE}", labels={"note": HOSTILE}),
        replace(hidden, public=False),
    )
    return World(url, folder, now, pasts, listings)


def _answered_by_another(past: Past) -> None:
    """Each of three looks shortly before the last saw another build, and none had its stream whole."""
    places = [place for place, step in enumerate(past.steps) if step.result is not None][-4:-1]
    for place in places:
        step = past.steps[place]
        assert step.result is not None
        event = Event(step.result.at, Change.FINGERPRINT_CHANGED, f"it is db7.internal {HOSTILE} {place}")
        result = replace(step.result, flaws=frozenset({Flaw.BURST}), cache_hit=True)
        past.steps[place] = replace(step, result=result, events=(event,))


@pytest.fixture(scope="module")
def served(world: World) -> Iterator[Page]:
    """Both addresses of one page process."""
    with Page(world.url, world.folder, world.listings) as page:
        page.await_listening()
        yield page
