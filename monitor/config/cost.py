"""What probing will cost, before the first probe is sent."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from monitor.config.settings import EndpointSettings, ModelSettings
from monitor.core import budget

MONTH = timedelta(days=30)

_NONCE_CHARACTERS = 34
_CHARACTERS_PER_TOKEN = 4
_AFTER_LATIN = 0x250


@dataclass(frozen=True, slots=True)
class Projection:
    """One endpoint's probes in 30 days, each as long as its limit allows."""

    endpoint: str
    probes: int
    """Scheduled ones; confirmations come on top only while something is wrong."""
    usd: Decimal | None
    """None where the price of a model is not known, or its answers have no limit; 0 where nothing is sold."""
    limited: bool = True
    """Something limits how long an answer is."""


@dataclass(frozen=True, slots=True)
class Bill:
    """What all enabled endpoints will cost in 30 days."""

    projections: tuple[Projection, ...]
    """In the config's order."""

    @property
    def usd(self) -> Decimal:
        """The sum of what is known."""
        return sum((each.usd for each in self.projections if each.usd is not None), budget.FREE)

    @property
    def unpriced(self) -> tuple[str, ...]:
        """Ids of models without a price, which the sum lacks."""
        return tuple(each.endpoint for each in self.projections if each.usd is None and each.limited)

    @property
    def unlimited(self) -> tuple[str, ...]:
        """Ids of models whose answers nothing limits, which the sum lacks."""
        return tuple(each.endpoint for each in self.projections if not each.limited)


def projected(endpoints: Iterable[EndpointSettings]) -> Bill:
    """What the enabled ones among them will cost."""
    return Bill(tuple(_projection(endpoint) for endpoint in endpoints if endpoint.enabled))


def price_of(endpoint: EndpointSettings) -> budget.Price | None:
    """The endpoint's price as the core counts with it."""
    price = endpoint.price
    if price is None:
        return None
    return budget.Price(
        input=price.input, output=price.output, cache_read=price.cache_read, cache_write=price.cache_write
    )


def _projection(endpoint: EndpointSettings) -> Projection:
    probes = MONTH // endpoint.interval
    if not isinstance(endpoint, ModelSettings):
        return Projection(endpoint.id, probes, budget.FREE)
    price, longest = price_of(endpoint), endpoint.longest_answer
    if price is not None and price.output > 0 and longest is None:
        return Projection(endpoint.id, probes, None, limited=False)
    fed = _input_tokens(endpoint.prompt)
    one = budget.cost_usd(price, input_tokens=fed, output_tokens=longest)
    return Projection(endpoint.id, probes, None if one is None else one * probes)


def _input_tokens(prompt: str) -> int:
    """An estimate, rounded up: prose has about four characters a token, one where it is not Latin."""
    others = sum(ord(character) >= _AFTER_LATIN for character in prompt)
    return others - (-(len(prompt) - others + _NONCE_CHARACTERS) // _CHARACTERS_PER_TOKEN)
