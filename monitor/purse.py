"""What probing may cost today: the ledgers of every endpoint, provider and of the site.

The rules stand in `core.budget`; this holds the sums that they need while the daemon runs.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal

from monitor.core.budget import FREE, Ledger, Refused, Reserved, Scope, reserve
from monitor.core.instant import Instant


class Purse:
    """Sets a probe's worst case aside before it is sent, and books what it really cost."""

    def __init__(self, scopes: Mapping[str, tuple[Scope, ...]], ledgers: Iterable[Ledger]) -> None:
        """`scopes` says whose money each endpoint spends; one without any is not limited."""
        self._scopes = scopes
        self._ledgers = {ledger.scope: ledger for ledger in ledgers}
        self._reserved: dict[str, Reserved] = {}
        """By endpoint: it has one probe at a time."""

    def reserve(self, endpoint: str, worst_case: Decimal, now: Instant) -> Refused | None:
        """Set it aside in every scope of the endpoint, or in none and say why."""
        scopes = self._scopes.get(endpoint, ())
        if not scopes or worst_case == FREE:
            return None
        answer = reserve([self._ledgers[scope] for scope in scopes], worst_case, now)
        if isinstance(answer, Refused):
            return answer
        self._ledgers.update((ledger.scope, ledger) for ledger in answer.ledgers)
        self._reserved[endpoint] = answer
        return None

    def settle(self, endpoint: str, cost: Decimal | None) -> None:
        """The probe that money was set aside for is over. `cost` None: not known, so the worst is booked."""
        reserved = self._reserved.pop(endpoint, None)
        if reserved is None:
            return
        for scope in self._scopes[endpoint]:
            ledger = self._ledgers[scope]
            self._ledgers[scope] = ledger.settle(reserved.day, reserved.worst_case, cost)
