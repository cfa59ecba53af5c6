"""Looks as they come in, one a minute from each endpoint; the answer of a quick model."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from random import Random

from monitor.core.alert import Subject
from monitor.core.belief import Belief, Look, Rules, advance
from monitor.core.degraded import DegradedRules
from monitor.core.figures import Figures, TokenSource
from monitor.core.instant import MINUTE, SECOND, Instant, Span
from monitor.core.outcome import Outcome
from monitor.core.step import Result, Step, probe_id
from monitor.core.timeline import Phases, pack
from monitor.core.verdict import Learnt, Verdict

START = Instant(1_800_000_000 * SECOND)
LEARNT = Learnt(identity="https://api.acme.example/v1 quick openai-chat", worked=True, served_model="quick")


@dataclass(frozen=True, slots=True)
class Seen:
    """What the pipeline hands to the writer."""

    endpoint: str
    look: Look
    result: Result


Change = Callable[[Seen], Seen]


def rules(endpoint: str) -> Rules:
    """With two rules over half an hour, as the shipped examples have them."""
    provider, _, model = endpoint.partition("/")
    return Rules(
        subject=Subject(id=endpoint, provider=provider, model=model),
        interval=MINUTE,
        timeout=Span(30 * SECOND),
        degraded=DegradedRules(over=Span(30 * MINUTE), ttft_p95=2_000.0, output_speed_p50=40.0),
    )


def streams(endpoints: list[str], rounds: int) -> Iterator[Seen]:
    """Minute by minute, every endpoint in turn."""
    chance = Random(7)
    for minute in range(rounds):
        for place, endpoint in enumerate(endpoints):
            slot = Instant(START + minute * MINUTE + place * MINUTE // len(endpoints))
            yield _seen(endpoint, slot, chance)


def decided(looks: Iterable[Seen]) -> Iterator[Step]:
    """What the writer would decide of each."""
    beliefs: dict[str, Belief] = {}
    for seen in looks:
        before = beliefs.get(seen.endpoint) or Belief(endpoint=seen.endpoint)
        follows = advance(before, seen.look, rules(seen.endpoint), seen.result.at)
        beliefs[seen.endpoint] = follows.belief
        yield Step(result=seen.result, belief=follows.belief, transitions=follows.transitions)


def _seen(endpoint: str, slot: Instant, chance: Random) -> Seen:
    at = Instant(slot + chance.randrange(300, 2_500))
    figures = _figures(chance)
    verdict = Verdict(outcome=Outcome.OK, detail=None, figures=figures, learnt=LEARNT)
    result = Result(
        probe_id=probe_id(at, chance.getrandbits(63)),
        endpoint=endpoint,
        at=at,
        slot=slot,
        scheduled=True,
        outcome=Outcome.OK,
        figures=figures,
        cost_usd=Decimal("0.0000297"),
        timeline=pack(_phases(figures, chance)),
    )
    return Seen(endpoint, Look(at=at, scheduled=True, verdict=verdict), result)


def _figures(chance: Random) -> Figures:
    setup, net = chance.uniform(25, 60), chance.lognormvariate(6.3, 0.2)
    speed = chance.gauss(118, 9)
    window = 63 / speed * 1000
    return Figures(
        ttft_ms=setup + net,
        ttft_net_ms=net,
        ttfat_ms=setup + net,
        output_speed=speed,
        effective_throughput=64 / (setup + net + window) * 1000,
        e2e_500_ms=setup + net + 500_000 / speed,
        max_stall_ms=chance.uniform(15, 60),
        total_ms=setup + net + window + chance.uniform(1, 30),
        own_ms=chance.uniform(0.2, 0.6),
        ttft_uncertainty_ms=0.0,
        window_ms=window,
        input_tokens=41,
        output_tokens=64,
        token_source=TokenSource.USAGE,
    )


def _phases(figures: Figures, chance: Random) -> Phases:
    assert figures.ttft_ms is not None
    assert figures.window_ms is not None
    dns, connect, tls = chance.uniform(0.5, 2), chance.uniform(9, 14), chance.uniform(15, 30)
    sent = dns + connect + tls + figures.own_ms
    first = figures.ttft_ms + figures.own_ms
    last = first + figures.window_ms
    end = figures.total_ms + figures.own_ms
    return Phases(
        dns_ms=dns,
        connect_ms=connect,
        tls_ms=tls,
        own_ms=figures.own_ms,
        request_sent=sent,
        headers=first - chance.uniform(1, 200),
        first_byte=first - chance.uniform(0, 1),
        first_token=first,
        first_answer=first,
        last_token=last,
        terminal=end,
        end=end,
    )


def plain(seen: Seen) -> Seen:
    """The same look as an `http` endpoint has it: no tokens, no price."""
    total = seen.result.figures.total_ms / 10
    figures = Figures(total_ms=total, own_ms=seen.result.figures.own_ms, total_uncertainty_ms=0.0)
    line = Phases(connect_ms=1.2, own_ms=0.3, request_sent=1.5, headers=total, first_byte=total, end=total)
    return Seen(
        seen.endpoint,
        replace(seen.look, verdict=replace(seen.look.verdict, figures=figures)),
        replace(seen.result, figures=figures, cost_usd=None, timeline=pack(line)),
    )
