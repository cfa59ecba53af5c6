from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.budget import (
    FREE,
    Allowed,
    Budget,
    Ledger,
    Price,
    Reach,
    Refused,
    Reserved,
    Scope,
    Spent,
    allows,
    cost_usd,
    day_of,
    money,
    reserve,
    worst_case_cost,
)
from monitor.core.instant import HOUR, Instant, from_iso

NANO = Price(input=Decimal("0.10"), output=Decimal("0.40"), cache_read=Decimal("0.025"))
ALL = Scope(Reach.SITE)
OPENAI = Scope(Reach.PROVIDER, "openai")
TODAY = date(2026, 11, 21)
NOW = from_iso("2026-11-21T22:00:00Z")

amounts = st.decimals(0, 1_000, places=6)
prices = st.builds(
    Price, input=amounts, output=amounts, cache_read=st.none() | amounts, cache_write=st.none() | amounts
)
tokens = st.integers(0, 10**7)


def ledger(spent: str = "0", *, limit: str | None = "5.00", scope: Scope = ALL) -> Ledger:
    budget = None if limit is None else Budget(Decimal(limit))
    return Ledger(scope=scope, day=TODAY, budget=budget, spent=Decimal(spent))


# Prices


def test_the_blended_price_of_the_contract() -> None:
    assert str(NANO.blended) == "0.175"


@pytest.mark.parametrize("price", ["-0.01", "NaN", "Infinity", "0.0000001", "1000001"])
def test_what_is_no_price_is_refused(price: str) -> None:
    with pytest.raises(ValueError, match="is not a price"):
        Price(input=Decimal("0.1"), output=Decimal(price))


def test_a_cost_is_exact() -> None:
    assert cost_usd(NANO, input_tokens=40, output_tokens=64) == Decimal("0.0000296")


def test_cached_tokens_are_paid_at_their_own_price_where_there_is_one() -> None:
    fed = {"input_tokens": 1_000_000, "output_tokens": 0, "cached_tokens": 400_000}
    assert cost_usd(NANO, **fed) == Decimal("0.07")
    assert cost_usd(replace(NANO, cache_read=None), **fed) == Decimal("0.10")


def test_more_cached_tokens_than_input_tokens_cost_no_more_than_all_of_them() -> None:
    assert cost_usd(NANO, input_tokens=10, output_tokens=0, cached_tokens=99) == Decimal("0.00000025")


def test_tokens_that_go_into_the_cache_are_paid_at_their_own_price_where_there_is_one() -> None:
    fed = {"input_tokens": 1_220, "output_tokens": 40, "cached_tokens": 200, "written_tokens": 1_000}
    price = Price(input=Decimal(1), output=Decimal(2), cache_read=Decimal("0.1"), cache_write=Decimal("1.25"))
    assert cost_usd(price, **fed) == Decimal("0.00137")
    assert cost_usd(replace(price, cache_write=None), **fed) == Decimal("0.00112")
    assert cost_usd(price, **fed | {"cached_tokens": 9_999}) == Decimal("0.000202")


def test_without_a_price_or_a_count_the_cost_is_unknown_and_not_nothing() -> None:
    assert cost_usd(None, input_tokens=40, output_tokens=64) is None
    assert cost_usd(NANO, input_tokens=None, output_tokens=None) is None
    assert cost_usd(NANO, input_tokens=0, output_tokens=0) == 0


@given(prices, tokens, tokens, tokens, tokens)
def test_a_cost_is_the_true_sum_and_never_above_the_worst_case(
    price: Price, fed: int, said: int, cached: int, written: int
) -> None:
    cost = cost_usd(price, input_tokens=fed, output_tokens=said, cached_tokens=cached, written_tokens=written)
    cached = min(cached, fed)
    written = min(written, fed - cached)
    read = price.input if price.cache_read is None else price.cache_read
    write = price.input if price.cache_write is None else price.cache_write
    exact = (fed - cached - written) * Fraction(price.input) + said * Fraction(price.output)
    exact += cached * Fraction(read) + written * Fraction(write)
    assert cost is not None
    assert Fraction(cost) == exact / 1_000_000
    assert cost == round(cost, 12), "it is stored to the trillionth of a dollar"
    assert cost <= worst_case_cost(price, fed, said)


def test_what_has_no_price_costs_no_budget() -> None:
    assert worst_case_cost(None, 1_000, 1_000) == FREE


def test_the_worst_case_reckons_with_a_dear_cache() -> None:
    price = Price(input=Decimal(3), output=Decimal(15), cache_write=Decimal("3.75"))
    assert worst_case_cost(price, 1_000_000, 0) == Decimal("3.75")


# Decisions


def test_a_budget_may_be_spent_to_the_last_cent() -> None:
    limit = Decimal("5.00")
    assert allows(Decimal("4.99"), Decimal("0.01"), limit, ALL) == Allowed()
    assert isinstance(allows(Decimal("4.99"), Decimal("0.010001"), limit, ALL), Refused)


def test_what_is_free_is_sent_even_when_all_is_spent() -> None:
    assert allows(Decimal(9), FREE, Decimal(5), ALL) == Allowed()
    assert allows(FREE, FREE, FREE, ALL) == Allowed()


def test_a_refusal_says_whose_budget_and_how_much() -> None:
    answer = allows(Decimal("4.9990"), Decimal("0.0015"), Decimal("5.00"), OPENAI)
    assert answer == Refused(
        "the daily budget of provider openai is 5 USD: 4.999 is spent or on its way, "
        "and this probe may cost 0.0015; the next day begins at 00:00 UTC"
    )
    assert str(ALL) == "all endpoints together"


def test_money_is_written_without_exponent() -> None:
    assert [money(Decimal(text)) for text in ("5E+1", "0.0000296", "0", "5.00")] == [
        *("50", "0.0000296", "0", "5")
    ]


@pytest.mark.parametrize("limit", ["-1", "NaN", "Infinity"])
def test_a_budget_is_a_number_of_dollars(limit: str) -> None:
    with pytest.raises(ValueError, match="daily budget"):
        Budget(Decimal(limit))


# Ledgers


def test_the_first_scope_without_money_refuses_and_nothing_is_held() -> None:
    ledgers = [ledger(), ledger("0.99", limit="1", scope=OPENAI)]
    answer = reserve(ledgers, Decimal("0.02"), NOW)
    assert isinstance(answer, Refused)
    assert "provider openai" in answer.reason


def test_a_scope_without_a_limit_only_sums_up() -> None:
    answer = reserve([ledger("1000", limit=None)], Decimal(7), NOW)
    assert isinstance(answer, Reserved)
    (held,) = answer.ledgers
    assert held.settle(answer.day, answer.worst_case, Decimal(3)).spent == 1003


def test_probes_on_their_way_count_with_their_worst_case() -> None:
    answer = reserve([ledger(limit="1.00")], Decimal("0.60"), NOW)
    assert isinstance(answer, Reserved)
    assert isinstance(reserve(answer.ledgers, Decimal("0.60"), NOW), Refused)
    (settled,) = (one.settle(answer.day, answer.worst_case, Decimal("0.10")) for one in answer.ledgers)
    assert (settled.held, settled.spent) == (FREE, Decimal("0.10"))
    assert isinstance(reserve([settled], Decimal("0.60"), NOW), Reserved)


def test_an_unknown_cost_counts_as_the_worst_case() -> None:
    held = ledger().hold(Decimal("0.60"))
    assert held.settle(TODAY, Decimal("0.60"), None).spent == Decimal("0.60")


def test_a_new_day_in_utc_brings_new_money() -> None:
    spent = ledger("5.00")
    assert day_of(Instant(NOW + 2 * HOUR - 1)) == TODAY
    assert isinstance(reserve([spent], Decimal("0.01"), Instant(NOW + 2 * HOUR - 1)), Refused)
    answer = reserve([spent], Decimal("0.01"), Instant(NOW + 2 * HOUR))
    assert isinstance(answer, Reserved)
    assert answer.ledgers[0].spent == 0


def test_a_probe_over_midnight_is_paid_by_the_day_in_which_it_started() -> None:
    answer = reserve([ledger()], Decimal("0.01"), NOW)
    assert isinstance(answer, Reserved)
    tomorrow = answer.ledgers[0].on(date(2026, 11, 22))
    assert tomorrow.settle(answer.day, answer.worst_case, Decimal("0.01")) == tomorrow
    assert (tomorrow.spent, tomorrow.held) == (FREE, FREE)


def test_a_clock_that_steps_back_opens_no_second_budget() -> None:
    yesterday = from_iso("2026-11-20T23:59:00Z")
    assert isinstance(reserve([ledger("5.00")], Decimal("0.01"), yesterday), Refused)
    answer = reserve([ledger("4.00")], Decimal("0.01"), yesterday)
    assert isinstance(answer, Reserved)
    (settled,) = (one.settle(answer.day, answer.worst_case, Decimal("0.01")) for one in answer.ledgers)
    assert (settled.spent, settled.held) == (Decimal("4.01"), FREE)


@given(
    st.lists(
        st.tuples(st.integers(0, 3 * 24), st.decimals(0, 2, places=2), st.fractions(0, 1), st.integers(0, 5)),
        max_size=40,
    )
)
def test_no_day_ever_spends_more_than_its_budget(
    story: list[tuple[int, Decimal, Fraction, int]],
) -> None:
    book = ledger(limit="5.00")
    flying: list[tuple[Reserved, Decimal]] = []
    spent: dict[date, Decimal] = {}
    for hour, worst_case, share, landing in story:
        answer = reserve([book], worst_case, Instant(NOW + hour * HOUR))
        if isinstance(answer, Reserved):
            (book,) = answer.ledgers
            flying.append(
                (answer, (worst_case * share.numerator / share.denominator).quantize(Decimal("0.01")))
            )
        for reserved, cost in flying[:landing]:
            book = book.settle(reserved.day, reserved.worst_case, cost)
            spent[reserved.day] = spent.get(reserved.day, FREE) + cost
        del flying[:landing]
        assert book.spent == spent.get(book.day, FREE)
        assert book.held == sum((r.worst_case for r, _ in flying if r.day == book.day), FREE)
    assert all(total <= 5 for total in spent.values())


def test_what_was_spent_counts_on_its_day_and_not_on_the_next() -> None:
    spent = Spent(TODAY, Decimal("0.3")).plus(TODAY, Decimal("0.1"))
    assert spent.on(TODAY) == Decimal("0.4")
    assert spent.on(TODAY + timedelta(days=1)) == FREE
    # A clock that was set back makes nothing unspent.
    assert spent.on(TODAY - timedelta(days=1)) == Decimal("0.4")
    assert spent.plus(TODAY - timedelta(days=1), Decimal(1)) == spent
    assert spent.plus(TODAY + timedelta(days=1), Decimal(1)) == Spent(TODAY + timedelta(days=1), Decimal(1))
