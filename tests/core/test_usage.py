"""Which counts a server may be believed: they are booked as money."""

import pytest

from monitor.core.observation import Usage, can_be_true

ALLOWED = 64


@pytest.mark.parametrize(
    ("fed", "generated", "seconds", "received"),
    [
        (40, 64, 1.0, 9_000),
        (None, None, 1.0, 0),
        # Reasoning that was hidden, by a server that minds no limit.
        (40, 30_000, 10.0, 2_000),
        (40, 90_000, 30.0, 2_000),
        # The same from a gateway's cache.
        (40, 30_000, 0.002, 2_000),
        # All of it visible, and bytes enough for it.
        (40, 300_000, 5.0, 1_000_000),
        # A gateway that puts instructions and tools around every prompt.
        (80_000, 64, 1.0, 9_000),
    ],
)
def test_what_a_server_may_have_counted_is_believed(
    fed: int | None, generated: int | None, seconds: float, received: int
) -> None:
    usage = Usage(input_tokens=fed, output_tokens=generated)
    assert can_be_true(usage, sent=150, allowed=ALLOWED, received=received, seconds=seconds)


@pytest.mark.parametrize(
    ("fed", "generated"),
    [(2_000_000_000, 5), (40, 999_999_999), (40, 400_000), (200_000, 5), (200_000, None)],
)
def test_what_nobody_can_have_generated_is_not_believed(fed: int, generated: int | None) -> None:
    usage = Usage(input_tokens=fed, output_tokens=generated)
    assert not can_be_true(usage, sent=150, allowed=ALLOWED, received=9_000, seconds=30.0)


def test_a_long_prompt_may_count_as_long() -> None:
    usage = Usage(input_tokens=1_000_000, output_tokens=5)
    assert can_be_true(usage, sent=900_000, allowed=ALLOWED, received=9_000, seconds=1.0)
