"""Streams whose bytes gather are read at the same moments, so that one waking serves several."""

from hypothesis import given
from hypothesis import strategies as st

from monitor.transport.connection import TICK_S, in_company

MOMENTS = st.floats(min_value=1.0, max_value=1e6)
LENGTHS = st.floats(min_value=0.02, max_value=0.25)


@given(MOMENTS, LENGTHS)
def test_no_bytes_lie_for_longer_than_they_may_nor_for_less_than_two_thirds_of_it(now: float, length: float):
    assert now + length * 2 / 3 - 1e-6 <= in_company(now, length) <= now + length


@given(MOMENTS, st.floats(min_value=3 * TICK_S, max_value=0.25))
def test_whoever_may_wait_for_three_ticks_is_read_on_a_tick(now: float, length: float):
    ticks = in_company(now, length) / TICK_S
    assert abs(ticks - round(ticks)) < 1e-6
