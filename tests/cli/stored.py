"""A database in which a daemon has been at work up to now."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from typing import Any

from monitor import clock
from monitor.core.alert import Subject
from monitor.core.belief import Belief, Look, Rules, advance
from monitor.core.figures import Figures, TokenSource
from monitor.core.instant import MINUTE, SECOND, Instant, Span
from monitor.core.outcome import Outcome
from monitor.core.path import Blind, Need
from monitor.core.slots import Grid, Segment
from monitor.core.step import Result, Step, probe_id
from monitor.core.verdict import Learnt, Verdict
from monitor.store import lock, migrate
from monitor.store.engine import Database
from monitor.store.journal import Journal

FIGURES = Figures(
    ttft_ms=600.0,
    ttft_net_ms=550.0,
    ttfat_ms=600.0,
    output_speed=120.0,
    effective_throughput=60.0,
    total_ms=1100.0,
    input_tokens=40,
    output_tokens=60,
    token_source=TokenSource.USAGE,
)
NOTHING_SEEN = Figures(total_ms=30.0)


def daemon_was_here(
    url: str,
    looks: Mapping[str, Sequence[Outcome]],
    *,
    details: Mapping[str, str] | None = None,
    learnt: Mapping[str, Learnt] | None = None,
    beats: bool = True,
    status: Mapping[str, Any] | None = None,
    blind: str | None = None,
) -> None:
    """One look a minute of each endpoint, the last one just now. `beats`: it is still at work, and says
    this of itself; it is `blind` for that reason."""
    now = clock.now()
    with journal_of(url) as journal:
        journal.register(looks, now)
        for endpoint, outcomes in looks.items():
            known = (learnt or {}).get(endpoint, Learnt())
            detail = (details or {}).get(endpoint, "so it was")
            journal.write(_steps(endpoint, outcomes, detail, known, now))
        if blind is not None:
            journal.write([Step(blind=Blind(started=now, ended=None, need=Need.INTERNET, reason=blind))])
        journal.beat(now, {"version": "test", **(status or {})})
        if not beats:
            journal.stop(Instant(now - 90 * SECOND))


@contextmanager
def journal_of(url: str) -> Iterator[Journal]:
    """The only writer of that database."""
    database = Database(url)
    migrate.upgrade(database)
    owned = lock.acquire(database)
    assert owned is not None
    try:
        yield Journal(database, owned.epoch)
    finally:
        owned.release()
        database.dispose()


def _steps(
    endpoint: str, outcomes: Sequence[Outcome], detail: str, learnt: Learnt, now: Instant
) -> list[Step]:
    first = Instant(now - (len(outcomes) - 1) * MINUTE - SECOND)
    rules = _rules(endpoint)
    belief = Belief(endpoint=endpoint, learnt=learnt)
    segment = Segment(
        endpoint=endpoint,
        grid=Grid(rules.interval, Span(first % MINUTE)),
        timeout=rules.timeout,
        starts=first,
    )
    steps = [Step(segment=segment)]
    for number, outcome in enumerate(outcomes):
        slot = Instant(first + number * MINUTE)
        result = _result(endpoint, slot, number, outcome, detail)
        verdict = Verdict(outcome=outcome, detail=result.detail, figures=result.figures, learnt=belief.learnt)
        look = Look(at=slot, scheduled=True, verdict=verdict)
        follows = advance(belief, look, rules, Instant(slot + SECOND))
        belief = follows.belief
        steps.append(
            Step(
                result=result,
                belief=belief,
                transitions=follows.transitions,
                updates=follows.updates,
                alerts=follows.alerts,
            )
        )
    return steps


def _rules(endpoint: str) -> Rules:
    provider, _, model = endpoint.partition("/")
    return Rules(
        subject=Subject(id=endpoint, provider=provider, model=model),
        interval=MINUTE,
        timeout=Span(30 * SECOND),
    )


def _result(endpoint: str, slot: Instant, number: int, outcome: Outcome, detail: str) -> Result:
    usual: dict[str, Any] = {"figures": FIGURES, "cost_usd": Decimal("0.00003"), "detail": None}
    result = Result(
        probe_id=probe_id(slot, number),
        endpoint=endpoint,
        at=slot,
        slot=slot,
        scheduled=True,
        outcome=outcome,
        **usual,
    )
    if outcome is Outcome.OK:
        return result
    if outcome.works:
        return replace(result, detail=detail)
    return replace(result, figures=NOTHING_SEEN, cost_usd=None, detail=detail)
