"""What the daemon tells its page process: all that it needs, and no more.

It goes through a pipe as one line of JSON, so that nothing of it stands in an argument or in
the environment, and so that the child needs neither the config file nor what reads it.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, tzinfo
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from monitor.core.budget import Price
from monitor.core.snapshot import Listing, Site


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover:
    database_url: str
    """Absolute, with its secrets in place."""
    state_dir: Path
    site: Site
    listings: tuple[Listing, ...]
    fds: tuple[int, ...] = ()
    """Listening sockets of the operators."""
    public_fds: tuple[int, ...] = ()

    def __repr__(self) -> str:
        return f"Handover({len(self.listings)} endpoints)"


def to_line(handover: Handover) -> bytes:
    """One line, with its end."""
    site = handover.site
    document = {
        "database_url": handover.database_url,
        "state_dir": str(handover.state_dir),
        "site": {"name": site.name, "url": site.url, "timezone": str(site.timezone)},
        "listings": [_listing_json(listing) for listing in handover.listings],
        "fds": handover.fds,
        "public_fds": handover.public_fds,
    }
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


def from_line(line: bytes) -> Handover:
    """The inverse. Raises KeyError, TypeError or ValueError if it is no handover."""
    raw = json.loads(line)
    site = raw["site"]
    return Handover(
        database_url=raw["database_url"],
        state_dir=Path(raw["state_dir"]),
        site=Site(name=site["name"], url=site["url"], timezone=_zone(site["timezone"])),
        listings=tuple(_listing(listing) for listing in raw["listings"]),
        fds=tuple(raw["fds"]),
        public_fds=tuple(raw["public_fds"]),
    )


def _zone(name: str) -> tzinfo:
    return UTC if name == "UTC" else ZoneInfo(name)


def _listing_json(listing: Listing) -> Mapping[str, Any]:
    price = listing.price
    amounts = None if price is None else {name: _text(amount) for name, amount in asdict(price).items()}
    return {**asdict(listing), "price": amounts}


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else str(amount)


def _listing(raw: Mapping[str, Any]) -> Listing:
    price = raw["price"]
    amounts = price and {name: said and Decimal(said) for name, said in price.items()}
    return Listing(**{**raw, "price": amounts and Price(**amounts)})
