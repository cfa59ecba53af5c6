"""What probing used: money and tokens."""

from dataclasses import dataclass
from decimal import Decimal

from sqlalchemy import Connection, func, select

from monitor.core.instant import Instant
from monitor.store import schema
from monitor.store.journal import PICO


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """What the probes of an endpoint used; None where nothing says how much."""

    probes: int
    """All that were sent, confirmations among them."""
    cost_usd: Decimal | None
    input_tokens: int | None
    output_tokens: int | None


def spending(connection: Connection, number: int, since: Instant) -> Spending:
    """What an endpoint's probes used since then."""
    table = schema.probe
    query = select(
        func.count(),
        func.sum(table.c.cost_pico),
        func.sum(table.c.input_tokens),
        func.sum(table.c.output_tokens),
    ).where(
        table.c.endpoint_id == number,
        table.c.at >= since,
        table.c.flags.op("&")(schema.FLAG_NOT_SENT) == 0,
    )
    probes, pico, inputs, outputs = connection.execute(query).one()
    return Spending(
        probes=probes,
        cost_usd=None if pico is None else Decimal(int(pico)) / PICO,
        input_tokens=None if inputs is None else int(inputs),
        output_tokens=None if outputs is None else int(outputs),
    )
