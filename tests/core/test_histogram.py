import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.histogram import LARGEST, SMALLEST, Histogram

VALUES = st.one_of(
    st.just(0.0),
    st.floats(SMALLEST, LARGEST),
    st.floats(1.0, 60_000.0),
)
SAMPLES = st.lists(VALUES, max_size=60)
SHARES = st.one_of(st.sampled_from([0.0, 0.05, 0.5, 0.95, 0.99, 1.0]), st.floats(0, 1))


def merged(*parts: Histogram) -> Histogram:
    whole = Histogram()
    for part in parts:
        whole.merge(part)
    return whole


@given(st.lists(VALUES, min_size=1, max_size=200), SHARES)
def test_a_quantile_is_within_one_percent_of_the_exact_percentile(values: list[float], share: float) -> None:
    estimate = Histogram.of(values).quantile(share)
    exact = float(np.quantile(values, share))
    assert estimate is not None
    assert math.isclose(estimate, exact, rel_tol=0, abs_tol=exact * (0.01 + 1e-9) + SMALLEST)


@given(st.lists(VALUES, min_size=1), SHARES, SHARES)
def test_quantiles_rise_with_their_share_and_stay_between_min_and_max(
    values: list[float], one: float, other: float
) -> None:
    histogram = Histogram.of(values)
    low, high = histogram.quantile(min(one, other)), histogram.quantile(max(one, other))
    assert low is not None
    assert high is not None
    assert min(values) <= low <= high * (1 + 1e-12) <= max(values) * (1 + 1e-12)


@given(SAMPLES, SAMPLES)
def test_merging_equals_counting_everything_at_once(first: list[float], second: list[float]) -> None:
    assert merged(Histogram.of(first), Histogram.of(second)) == Histogram.of(first + second)


@given(SAMPLES, SAMPLES, SAMPLES)
def test_merging_has_no_order_and_no_grouping(
    first: list[float], second: list[float], third: list[float]
) -> None:
    parts = [Histogram.of(values) for values in (first, second, third)]
    whole = merged(*parts)
    assert all(merged(*order) == whole for order in permutations(parts))
    assert merged(parts[0], merged(parts[1], parts[2])) == whole


@given(SAMPLES)
def test_an_empty_histogram_changes_nothing(values: list[float]) -> None:
    assert merged(Histogram.of(values), Histogram()) == Histogram.of(values)


@given(SAMPLES)
def test_adding_one_by_one_equals_adding_all(values: list[float]) -> None:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    assert histogram == Histogram.of(values)


@given(SAMPLES)
def test_what_is_packed_is_unpacked_the_same(values: list[float]) -> None:
    histogram = Histogram.of(values)
    assert Histogram.unpack(histogram.pack()) == histogram


@given(SAMPLES, SAMPLES)
def test_unpacked_histograms_go_on_merging(first: list[float], second: list[float]) -> None:
    restored = Histogram.unpack(Histogram.of(first).pack())
    assert merged(restored, Histogram.of(second)) == Histogram.of(first + second)


@given(st.one_of(st.binary(max_size=40), st.binary(max_size=40).map(lambda rest: b"\x01" + rest)))
def test_broken_bytes_are_refused_or_mean_a_proper_histogram(packed: bytes) -> None:
    try:
        histogram = Histogram.unpack(packed)
    except ValueError:
        return
    assert Histogram.unpack(histogram.pack()) == histogram
    assert histogram.n == 0 or histogram.quantile(0.5) is not None


@given(st.lists(VALUES, min_size=1), st.data())
def test_cut_bytes_are_refused(values: list[float], data: st.DataObject) -> None:
    packed = Histogram.of(values).pack()
    cut = data.draw(st.integers(0, len(packed) - 1))
    with pytest.raises(ValueError, match="histogram"):
        Histogram.unpack(packed[:cut])


def test_the_packed_format_stands() -> None:
    histogram = Histogram.of([0.0, 0.5, 612.4, 612.5, 700.0])
    text = "0101034301e302020701c08b8d960700000000000000000000000000e08540"
    assert histogram.pack().hex() == text
    assert Histogram.unpack(bytes.fromhex(text)) == histogram


def test_a_later_format_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="newer version"):
        Histogram.unpack(b"\x02\x00\x00")


def test_an_hour_of_looks_packs_into_less_than_two_hundred_bytes() -> None:
    hour = [600.0 + 97.0 * math.sin(k * k) for k in range(60)]
    assert len(Histogram.of(hour).pack()) < 200


def test_without_values_every_figure_is_unknown() -> None:
    empty = Histogram()
    assert (empty.n, empty.min, empty.max, empty.quantile(0.5)) == (0, None, None, None)


def test_min_max_and_sum_are_exact() -> None:
    histogram = Histogram.of([540.1, 722.0, 0.0, 620.25])
    assert (histogram.n, histogram.min, histogram.max, histogram.sum) == (4, 0.0, 722.0, 1882.35)


@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf, 1e16])
def test_what_cannot_have_been_measured_is_refused_and_nothing_counted(value: float) -> None:
    histogram = Histogram()
    with pytest.raises(ValueError, match="0 to 1e15"):
        histogram.add_many([1.0, value, 2.0])
    assert histogram == Histogram()


@pytest.mark.parametrize("share", [-0.01, 1.01, math.nan])
def test_a_share_outside_zero_to_one_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="share"):
        Histogram.of([1.0]).quantile(share)
