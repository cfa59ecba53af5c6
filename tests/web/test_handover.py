"""What the child is told is what the daemon meant."""

from dataclasses import replace
from datetime import UTC
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from monitor.core.budget import Price
from monitor.core.instant import MINUTE, Span
from monitor.core.snapshot import Listing, Site
from monitor.web.handover import Handover, from_line, to_line

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
AMOUNTS = st.decimals(0, 1000, places=6)
LISTINGS = st.builds(
    Listing,
    id=TEXT,
    provider=TEXT,
    provider_name=TEXT,
    name=TEXT,
    model=st.none() | TEXT,
    model_id=st.none() | TEXT,
    protocol=TEXT,
    interval=st.integers(1, 10**12).map(Span),
    public=st.booleans(),
    labels=st.dictionaries(TEXT, TEXT, max_size=2),
    context=st.none() | st.integers(1, 10**7),
    max_output=st.none(),
    data_policy=st.none() | st.fixed_dictionaries({"prompt_training": st.none() | st.booleans()}),
    status_page=st.none() | TEXT,
    price=st.none() | st.builds(Price, input=AMOUNTS, output=AMOUNTS, cache_read=st.none() | AMOUNTS),
)


@given(st.lists(LISTINGS, max_size=3), st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kathmandu"]), TEXT)
def test_a_handover_arrives_as_it_was_sent(listings, zone, name):
    sent = Handover(
        database_url="postgresql://u:p%40ss@host/db",
        state_dir=Path("/var/lib/uptoken"),
        site=Site(name=name, url=None, timezone=UTC if zone == "UTC" else ZoneInfo(zone)),
        listings=tuple(listings),
        fds=(3, 4),
        public_fds=(5,),
    )
    line = to_line(sent)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert from_line(line) == sent


def test_a_handover_shows_no_secret_by_accident():
    listing = Listing(
        id="a/b",
        provider="a",
        provider_name="A",
        name="b",
        model=None,
        model_id=None,
        protocol="http",
        interval=MINUTE,
        price=Price(input=Decimal(1), output=Decimal(2)),
    )
    secret = Handover(
        database_url="postgresql://u:canary@h/d", state_dir=Path(), site=Site(), listings=(listing,)
    )
    assert "canary" not in repr(secret)
    assert from_line(to_line(replace(secret, fds=(9,)))).fds == (9,)
