"""A database with a believable past, written the way the daemon writes it.

Endpoints live through days with fast and slow hours, an outage, a slow spell, throttling and
a night in which the daemon was dead. Whoever needs figures to check counts them from `Past`.
"""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from monitor.core.alert import Subject
from monitor.core.belief import (
    Belief,
    Consequence,
    Event,
    Hush,
    Look,
    Quiet,
    Rules,
    Tick,
    advance,
    needs_tick,
)
from monitor.core.budget import Price
from monitor.core.degraded import DegradedRules
from monitor.core.figures import Figures, TokenSource
from monitor.core.instant import DAY, HOUR, MINUTE, SECOND, Instant, Span
from monitor.core.outcome import Outcome
from monitor.core.slots import Gap, GapReason, Grid, Segment, phase_of
from monitor.core.snapshot import Listing
from monitor.core.step import Result, Step, probe_id
from monitor.core.timeline import Clock, Phases, pack
from monitor.core.verdict import Learnt, Verdict
from monitor.store import lock, migrate
from monitor.store.engine import Database
from monitor.store.journal import Journal


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """From `start` on, for so long, probes of an endpoint come to this."""

    start: Instant
    length: Span
    outcome: Outcome
    detail: str | None = None
    share: float = 1.0
    """How many of the probes."""
    slower: float = 1.0

    def touches(self, at: Instant) -> bool:
        return self.start <= at < self.start + self.length


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """An endpoint and what happened to it."""

    id: str
    name: str = "a model"
    provider: str = "A provider"
    interval: Span = Span(MINUTE)
    ttft_ms: float | None = 620.0
    """None: a plain check, which has only a total."""
    speed: float = 118.0
    total_ms: float = 90.0
    troubles: tuple[Trouble, ...] = ()
    hushes: tuple[tuple[Instant, Instant | None, Quiet], ...] = ()
    price: tuple[Decimal, Decimal] | None = (Decimal("0.10"), Decimal("0.40"))
    degraded: DegradedRules | None = None

    @property
    def rules(self) -> Rules:
        return Rules(
            subject=Subject(id=self.id, provider=self.provider, model=self.name),
            interval=self.interval,
            timeout=Span(self.interval // 2),
            degraded=self.degraded,
        )

    @property
    def listing(self) -> Listing:
        """As the config would list it."""
        price = None if self.price is None else Price(input=self.price[0], output=self.price[1])
        model = None if self.ttft_ms is None else self.name
        return Listing(
            id=self.id,
            provider=self.id.partition("/")[0],
            provider_name=self.provider,
            name=self.name,
            model=model,
            model_id=model,
            protocol="http" if model is None else "openai-chat",
            interval=self.interval,
            price=price,
        )

    @property
    def grid(self) -> Grid:
        return Grid(self.interval, phase_of(self.id, self.interval))


@dataclass(slots=True)
class Past:
    """Everything that was written."""

    steps: list[Step] = field(default_factory=list)

    @property
    def results(self) -> list[Result]:
        return [step.result for step in self.steps if step.result is not None]

    def of(self, endpoint: str) -> list[Result]:
        return [result for result in self.results if result.endpoint == endpoint]


def lived(life: Life, start: Instant, now: Instant, dead: tuple[Instant, Instant] | None = None) -> Past:
    """The Steps of one endpoint from `start` up to `now`; nobody ran in `dead`."""
    return _Living(life, start, now, dead).live()


class _Living:
    def __init__(
        self, life: Life, start: Instant, now: Instant, dead: tuple[Instant, Instant] | None
    ) -> None:
        self.life, self.start, self.now, self.dead = life, start, now, dead
        self.random = random.Random(life.id)
        self.belief = Belief(endpoint=life.id)
        self.past = Past()

    def live(self) -> Past:
        grid = self.life.grid
        self.past.steps.append(Step(segment=self._segment(grid)))
        hushes = sorted(
            (moment, quiet, on)
            for begins, ends, quiet in self.life.hushes
            for moment, on in ((begins, True), (ends, False))
            if moment is not None
        )
        missed: list[Instant] = []
        for slot in grid.slots(self.start, self.now):
            while hushes and hushes[0][0] <= slot:
                moment, quiet, on = hushes.pop(0)
                self._apply(Hush(quiet, on=on), moment)
            if self.dead and self.dead[0] <= slot < self.dead[1]:
                missed.append(slot)
                continue
            if missed:
                gap = Gap(self.life.id, missed[0], missed[-1], len(missed), GapReason.NOT_RUNNING)
                self.past.steps.append(Step(gap=gap))
                missed = []
            if needs_tick(self.belief, self.life.rules, slot):
                self._apply(Tick(), slot)
            self._look(slot)
        return self.past

    def _segment(self, grid: Grid) -> Segment:
        return Segment(endpoint=self.life.id, grid=grid, timeout=self.life.rules.timeout, starts=self.start)

    def _look(self, slot: Instant) -> None:
        if Quiet.PAUSED in self.belief.quiet:
            return
        at = Instant(slot + self.random.randrange(200, 1_800))
        trouble = next((one for one in self.life.troubles if one.touches(at)), None)
        if trouble is not None and self.random.random() >= trouble.share:
            trouble = None
        outcome = Outcome.OK if trouble is None else trouble.outcome
        figures, phases = self._measured(at, outcome, 1.0 if trouble is None else trouble.slower)
        detail = None if trouble is None else trouble.detail
        result = Result(
            probe_id=probe_id(at, self.random.getrandbits(63)),
            endpoint=self.life.id,
            at=at,
            slot=slot,
            scheduled=True,
            outcome=outcome,
            maintenance=Quiet.MAINTENANCE in self.belief.quiet,
            detail=detail,
            request_id=None if self.life.ttft_ms is None else f"req-{self.random.getrandbits(48):012x}",
            figures=figures,
            cost_usd=self._cost(figures),
            timeline=pack(phases),
        )
        verdict = Verdict(outcome=outcome, detail=detail, figures=figures, learnt=Learnt())
        ended = Instant(at + round(figures.total_ms * 1000))
        self._apply(Look(at=at, scheduled=True, verdict=verdict), ended, result)

    def _apply(self, event: Event, now: Instant, result: Result | None = None) -> None:
        then: Consequence = advance(self.belief, event, self.life.rules, now)
        self.belief = then.belief
        self.past.steps.append(
            Step(
                result=result,
                belief=replace(then.belief, ring=()),
                transitions=then.transitions,
                updates=then.updates,
                alerts=then.alerts,
                quiet=then.quiet,
            )
        )

    def _cost(self, figures: Figures) -> Decimal | None:
        if self.life.price is None or figures.input_tokens is None or figures.output_tokens is None:
            return None
        into, out = self.life.price
        return (figures.input_tokens * into + figures.output_tokens * out).scaleb(-6)

    def _measured(self, at: Instant, outcome: Outcome, slower: float) -> tuple[Figures, Phases]:
        chance = self.random
        busy = 1 + 0.25 * math.sin(at / DAY * 2 * math.pi) + chance.gauss(0, 0.06)
        late = max(0.5, busy) * (3.0 if chance.random() < 0.01 else 1.0) * slower
        setup = [chance.uniform(0.4, 2.5), chance.uniform(8, 14), chance.uniform(16, 28)]
        if not outcome.works or self.life.ttft_ms is None:
            return self._plain(outcome, setup, late)
        net = self.life.ttft_ms * late
        ttft = sum(setup) + net
        speed = self.life.speed / max(0.6, (busy + slower - 1))
        streamed = 63_000.0 / speed
        sent = sum(setup) + 0.3
        figures = Figures(
            ttft_ms=ttft,
            ttft_net_ms=net,
            ttfat_ms=ttft,
            output_speed=speed,
            effective_throughput=64_000 / (ttft + streamed),
            e2e_500_ms=ttft + 500_000 / speed,
            max_stall_ms=3_000 / speed,
            total_ms=ttft + streamed + 2,
            ttft_uncertainty_ms=0.0,
            window_ms=streamed,
            input_tokens=41,
            output_tokens=64,
            cached_tokens=0,
            token_source=TokenSource.USAGE,
        )
        phases = Phases(
            dns_ms=setup[0],
            connect_ms=setup[1],
            tls_ms=setup[2],
            own_ms=0.3,
            request_sent=sent,
            headers=sent + net * 0.6,
            first_byte=sent + net * 0.7,
            first_answer=sent + net,
            first_token=sent + net,
            last_token=sent + net + streamed,
            terminal=sent + net + streamed + 1,
            end=sent + net + streamed + 2,
            clock=Clock.KERNEL,
        )
        return figures, phases

    def _plain(self, outcome: Outcome, setup: list[float], late: float) -> tuple[Figures, Phases]:
        """A check without tokens, or a probe that failed after its headers."""
        wait = self.life.total_ms * late
        if outcome in (Outcome.FIRST_TOKEN_TIMEOUT, Outcome.TOTAL_TIMEOUT, Outcome.STALLED):
            wait = self.life.interval / 2 / 1000
        sent = sum(setup) + 0.3
        phases = Phases(
            dns_ms=setup[0],
            connect_ms=setup[1],
            tls_ms=setup[2],
            own_ms=0.3,
            request_sent=sent,
            headers=sent + wait * 0.8,
            first_byte=sent + wait * 0.9,
            end=sent + wait,
            clock=Clock.KERNEL,
        )
        return Figures(total_ms=sum(setup) + wait, own_ms=0.3), phases


def write(url: str, pasts: Sequence[Past], now: Instant) -> None:
    """Migrate the database and write all of it, as a daemon that beat last at `now`."""
    database = Database(url)
    try:
        migrate.upgrade(database)
        ownership = lock.acquire(database)
        assert ownership is not None
        journal = Journal(database, ownership.epoch)
        steps = [step for past in pasts for step in past.steps]
        names = {step.segment.endpoint for step in steps if step.segment is not None}
        journal.register(sorted(names), now)
        for bite in _bites(steps):
            journal.write(bite)
        journal.beat(now, {"version": "0.1.0", "stored": len(steps), "in_flight": 0})
        ownership.release()
    finally:
        database.dispose()


def _bites(steps: Sequence[Step]) -> Iterator[Sequence[Step]]:
    for start in range(0, len(steps), 2_000):
        yield steps[start : start + 2_000]


def showcase(now: Instant) -> list[Life]:
    """Providers of every kind and state, for a page that people look at."""
    hour = HOUR

    def ago(hours: float) -> Instant:
        return Instant(now - round(hours * hour))

    return [
        Life(id="openai/gpt-4.1-nano", name="gpt-4.1-nano", provider="OpenAI"),
        Life(
            id="openai/gpt-4.1",
            name="gpt-4.1",
            provider="OpenAI",
            ttft_ms=540,
            speed=88,
            troubles=(
                Trouble(
                    start=ago(30),
                    length=Span(40 * MINUTE),
                    outcome=Outcome.RATE_LIMITED,
                    detail="status is 429: Rate limit reached for requests",
                    share=0.3,
                ),
            ),
            price=(Decimal("2.00"), Decimal("8.00")),
        ),
        Life(
            id="anthropic/claude-haiku-4-5",
            name="claude-haiku-4-5",
            provider="Anthropic through our gateway",
            ttft_ms=480,
            speed=152,
            troubles=(
                Trouble(
                    start=ago(0.4),
                    length=Span(HOUR),
                    outcome=Outcome.SLOW,
                    detail="first token after 2,140 ms, expected 1,500 ms",
                    slower=3.6,
                ),
                Trouble(
                    start=ago(52),
                    length=Span(95 * MINUTE),
                    outcome=Outcome.OVERLOADED,
                    detail="status is 529: overloaded_error: Overloaded",
                ),
            ),
        ),
        Life(
            id="groq/llama-3.3-70b",
            name="llama-3.3-70b",
            provider="Groq",
            ttft_ms=190,
            speed=304,
            troubles=(
                Trouble(
                    start=ago(0.3),
                    length=Span(HOUR),
                    outcome=Outcome.HTTP_5XX,
                    detail="status is 503: upstream connect error or disconnect/reset before headers",
                ),
                Trouble(
                    start=ago(9),
                    length=Span(22 * MINUTE),
                    outcome=Outcome.FIRST_TOKEN_TIMEOUT,
                    detail="no token within 20 s; headers came after 214 ms",
                ),
            ),
        ),
        Life(
            id="own/qwen3-8b",
            name="Qwen3-8B",
            provider="Our GPU server",
            ttft_ms=64,
            speed=71,
            price=None,
            hushes=((ago(0.5), None, Quiet.MAINTENANCE), (ago(20), ago(18), Quiet.PAUSED)),
        ),
        Life(
            id="website/landing-page",
            name="landing page",
            provider="Website",
            ttft_ms=None,
            price=None,
            troubles=(
                Trouble(
                    start=ago(5),
                    length=Span(4 * MINUTE),
                    outcome=Outcome.CONNECT_REFUSED,
                    detail="connection refused by 127.0.0.1:443",
                ),
            ),
        ),
    ]


def showcase_pasts(now: Instant, days: float = 3) -> list[Past]:
    """What happened to them; the daemon was dead for three hours of it."""
    dead = (Instant(now - 40 * HOUR), Instant(now - 37 * HOUR))
    return [lived(life, Instant(now - round(days * DAY)), now, dead) for life in showcase(now)]


def seconds(count: float) -> Span:
    return Span(round(count * SECOND))
