"""What probing costs, and whether one more probe may be paid for.

Money is exact: decimals in, decimals out, never a float. A day begins at 00:00 UTC, and a
probe belongs to the day in which it started.
"""

import enum
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal

from monitor.core.instant import Instant, as_datetime

FREE = Decimal(0)
_MILLIONTH = -6


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """US dollars per million tokens; None where the provider has no price of its own for it.

    Raises ValueError for a price that is negative, not finite or finer than 6 decimals: what one
    token costs is then a whole number of the unit in which costs are stored.
    """

    input: Decimal
    output: Decimal
    cache_read: Decimal | None = None
    cache_write: Decimal | None = None

    def __post_init__(self) -> None:
        for price in (self.input, self.output, self.cache_read, self.cache_write):
            if price is not None:
                _check(price)

    @property
    def blended(self) -> Decimal:
        """One figure to compare by: three parts input and one part output."""
        return (3 * self.input + self.output) / 4


def _check(price: Decimal) -> None:
    # Then every sum below fits into the 28 digits that decimal arithmetic keeps exact.
    if not price.is_finite() or not 0 <= price <= 1_000_000 or price != round(price, 6):
        raise ValueError(f"{price} is not a price: it lies between 0 and 1000000, with 6 decimals at most")


def cost_usd(
    price: Price | None,
    *,
    input_tokens: int | None,
    output_tokens: int | None,
    cached_tokens: int | None = None,
    written_tokens: int | None = None,
) -> Decimal | None:
    """What a probe cost, exactly; None without a price or without any known count.

    `output_tokens` holds the reasoning, which is paid as output. `cached_tokens` are those
    of `input_tokens` that came from the provider's cache, `written_tokens` those that went there.
    """
    if price is None or (input_tokens is None and output_tokens is None):
        return None
    fed = input_tokens or 0
    cached = min(cached_tokens or 0, fed)
    written = min(written_tokens or 0, fed - cached)
    read_price = price.input if price.cache_read is None else price.cache_read
    write_price = price.input if price.cache_write is None else price.cache_write
    cost = (fed - cached - written) * price.input + cached * read_price + written * write_price
    return (cost + (output_tokens or 0) * price.output).scaleb(_MILLIONTH)


def worst_case_cost(price: Price | None, input_tokens: int, max_tokens: int) -> Decimal:
    """The most that a probe can cost: nothing cached, all of it written to a cache, no token spared.

    0 without a price: what cannot be counted cannot be limited.
    """
    if price is None:
        return FREE
    dearest = max(price.input, price.cache_read or FREE, price.cache_write or FREE)
    return (input_tokens * dearest + max_tokens * price.output).scaleb(_MILLIONTH)


def day_of(moment: Instant) -> date:
    """The day, in UTC, to whose budget a probe that starts now belongs."""
    return as_datetime(moment).date()


@dataclass(frozen=True, slots=True)
class Budget:
    """How much may be spent in a day. Raises ValueError if it is negative or not finite."""

    daily_usd: Decimal

    def __post_init__(self) -> None:
        if not self.daily_usd.is_finite() or self.daily_usd < 0:
            raise ValueError("a daily budget is a number of dollars from 0 on")


class Reach(enum.StrEnum):
    """What a budget may be set on."""

    ENDPOINT = "endpoint"
    PROVIDER = "provider"
    SITE = "site"


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose money: one endpoint's, one provider's, or (with no name) that of everything."""

    reach: Reach
    name: str = ""

    def __str__(self) -> str:
        return f"{self.reach} {self.name}" if self.name else "all endpoints together"


@dataclass(frozen=True, slots=True)
class Allowed:
    """The probe may be sent."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The probe may not be sent; `reason` is for a person."""

    reason: str


def allows(spent_today: Decimal, worst_case: Decimal, limit: Decimal, scope: Scope) -> Allowed | Refused:
    """Whether a probe that may cost `worst_case` fits below `limit`. One that is free always fits."""
    if worst_case == 0 or spent_today + worst_case <= limit:
        return Allowed()
    return Refused(
        f"the daily budget of {scope} is {money(limit)} USD: {money(spent_today)} is spent or on its way, "
        f"and this probe may cost {money(worst_case)}; the next day begins at 00:00 UTC"
    )


def money(amount: Decimal) -> str:
    """An exact amount without exponent and needless zeros: `0.000028`, `5`."""
    return f"{amount.normalize():f}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """What a scope spent in one day, and what is set aside for probes that are on their way."""

    scope: Scope
    day: date
    budget: Budget | None = None
    """None: there is no limit, only a sum."""
    spent: Decimal = FREE
    held: Decimal = FREE

    def on(self, day: date) -> "Ledger":
        """The ledger of that day; itself if the day is not a later one."""
        return replace(self, day=day, spent=FREE, held=FREE) if day > self.day else self

    def allows(self, worst_case: Decimal) -> Allowed | Refused:
        """Whether the scope can pay for a probe, even if all that are on their way cost their worst."""
        if self.budget is None:
            return Allowed()
        return allows(self.spent + self.held, worst_case, self.budget.daily_usd, self.scope)

    def hold(self, worst_case: Decimal) -> "Ledger":
        """The ledger while a probe is on its way."""
        return replace(self, held=self.held + worst_case)

    def settle(self, day: date, worst_case: Decimal, cost: Decimal | None) -> "Ledger":
        """The ledger after a probe for which `worst_case` was held on `day`.

        `cost` None: it is not known, so it counts as the worst. Money of a day that is over
        was that day's, and changes nothing any more.
        """
        if day < self.day:
            return self
        paid = worst_case if cost is None else cost
        return replace(self, held=self.held - worst_case, spent=self.spent + paid)


@dataclass(frozen=True, slots=True)
class Spent:
    """What the probes of one endpoint cost in one day."""

    day: date
    usd: Decimal

    def plus(self, day: date, cost: Decimal) -> "Spent":
        """With one probe more. A later day begins anew; one that is over changes nothing any more."""
        if day > self.day:
            return Spent(day, cost)
        return Spent(self.day, self.usd + cost) if day == self.day else self

    def on(self, day: date) -> Decimal:
        """USD that count on that day. A clock that steps back makes nothing unspent."""
        return self.usd if day <= self.day else FREE


@dataclass(frozen=True, slots=True)
class Reserved:
    """The probe may be sent: its ledgers as they stand now, and what settles it later."""

    ledgers: tuple[Ledger, ...]
    day: date
    worst_case: Decimal


def reserve(ledgers: Iterable[Ledger], worst_case: Decimal, now: Instant) -> Reserved | Refused:
    """Hold a probe's worst case in all of its scopes, or in none: the first refusal counts.

    A clock that steps back opens no second budget: the latest day that a ledger saw goes on.
    """
    ledgers = tuple(ledgers)
    day = max([day_of(now), *(ledger.day for ledger in ledgers)])
    today = [ledger.on(day) for ledger in ledgers]
    for ledger in today:
        answer = ledger.allows(worst_case)
        if isinstance(answer, Refused):
            return answer
    return Reserved(tuple(ledger.hold(worst_case) for ledger in today), day, worst_case)
