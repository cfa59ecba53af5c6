"""Steps and results for tests of what keeps them."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

from monitor.core.figures import Figures, TokenSource
from monitor.core.instant import SECOND, Instant
from monitor.core.outcome import Outcome
from monitor.core.step import Result, Step, probe_id
from monitor.core.timeline import Phases, pack

PHASES = Phases(
    dns_ms=1.213,
    connect_ms=20.417,
    tls_ms=30.57,
    own_ms=0.4,
    request_sent=52.81,
    headers=310.221,
    first_byte=310.221,
    first_token=612.8,
    first_answer=612.8,
    last_token=1154.0,
    terminal=1175.3,
    end=1175.3,
)

START = Instant(1_800_000_000 * SECOND)


def result(number: int = 0, *, endpoint: str = "acme/one", **changes: Any) -> Result:
    """The result of the slot so many minutes after the start; 3 ms late."""
    slot = Instant(START + number * 60 * SECOND)
    at = Instant(slot + 3_000)
    usual = Result(
        probe_id=probe_id(at, 7_000_000_000_000_000_000 + number),
        endpoint=endpoint,
        at=at,
        slot=slot,
        scheduled=True,
        outcome=Outcome.OK,
        figures=Figures(
            ttft_ms=612.4,
            ttft_net_ms=560.2,
            ttfat_ms=612.4,
            output_speed=118.25,
            effective_throughput=54.5,
            e2e_500_ms=4840.7,
            max_stall_ms=31.5,
            total_ms=1174.9,
            own_ms=0.4,
            ttft_uncertainty_ms=0.0,
            window_ms=541.2,
            input_tokens=41,
            output_tokens=64,
            token_source=TokenSource.USAGE,
        ),
        cost_usd=Decimal("0.0000297"),
        timeline=pack(PHASES),
    )
    return replace(usual, **changes)


def step(number: int = 0, **changes: Any) -> Step:
    return Step(result=result(number, **changes))
