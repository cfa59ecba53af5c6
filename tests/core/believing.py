"""A small stage for beliefs: looks at fixed times, told as one letter each."""

from dataclasses import dataclass, field, replace

from monitor.core.alert import Alert, Route, Subject
from monitor.core.belief import (
    Belief,
    Consequence,
    Event,
    Hush,
    Look,
    Quiet,
    QuietSpan,
    Removed,
    Rules,
    State,
    Tick,
    Transition,
    Update,
    advance,
)
from monitor.core.degraded import DegradedRules
from monitor.core.figures import Figures
from monitor.core.instant import MINUTE, SECOND, Instant, Span
from monitor.core.outcome import Outcome
from monitor.core.verdict import Learnt, Verdict

START = Instant(1_800_000_000 * SECOND)

LETTERS = {
    "g": Outcome.OK,
    "s": Outcome.SLOW,
    "b": Outcome.HTTP_5XX,
    "t": Outcome.RATE_LIMITED,
    "c": Outcome.AUTH_FAILED,
    "m": Outcome.LOCAL_NETWORK,
}


def rules(**changes: object) -> Rules:
    usual = Rules(
        subject=Subject(id="acme/one", provider="Acme", model="one", link="https://status.example/one"),
        interval=MINUTE,
        timeout=Span(30 * SECOND),
        routes=(Route("ops", frozenset({"down", "degraded", "config", "monitor", "reminder"})),),
    )
    return replace(usual, **changes)  # type: ignore[arg-type]


def look(
    at: Instant,
    letter: str,
    *,
    ttft_ms: float = 600.0,
    scheduled: bool = True,
    retry_after: Span | None = None,
) -> Look:
    outcome = LETTERS[letter]
    figures = Figures(ttft_ms=ttft_ms, output_speed=100.0, total_ms=1500.0) if outcome.works else Figures()
    detail = None if outcome is Outcome.OK else f"detail of {outcome}"
    verdict = Verdict(
        outcome=outcome, detail=detail, figures=figures, learnt=Learnt(), retry_after=retry_after
    )
    return Look(at=at, scheduled=scheduled, verdict=verdict, request_id="req_1" if detail else None)


@dataclass
class Stage:
    """Plays events and keeps all that followed from them."""

    rules: Rules = field(default_factory=rules)
    now: Instant = START
    belief: Belief = field(default_factory=lambda: Belief(endpoint="acme/one"))
    transitions: list[Transition] = field(default_factory=list)
    updates: list[Update] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    quiet: list[QuietSpan] = field(default_factory=list)

    def play(self, letters: str, **details: object) -> "Stage":
        """One look a minute."""
        for letter in letters:
            self.tell(look(self.now, letter, **details))  # type: ignore[arg-type]
            self.now = Instant(self.now + MINUTE)
        return self

    def wait(self, length: int) -> "Stage":
        self.now = Instant(self.now + length)
        return self.tell(Tick())

    def tell_time(self) -> "Stage":
        return self.tell(Tick())

    def hush(self, quiet: Quiet, *, on: bool) -> "Stage":
        return self.tell(Hush(quiet, on=on))

    def remove(self) -> "Stage":
        return self.tell(Removed())

    def tell(self, event: Event) -> "Stage":
        follows: Consequence = advance(self.belief, event, self.rules, self.now)
        self.belief = follows.belief
        self.transitions += follows.transitions
        self.updates += follows.updates
        self.alerts += follows.alerts
        self.quiet += follows.quiet
        return self

    @property
    def state(self) -> State:
        return self.belief.state

    @property
    def kinds(self) -> list[str]:
        return [str(alert.kind) for alert in self.alerts]


def degraded(**limits: object) -> Rules:
    return rules(degraded=DegradedRules(**{"over": Span(30 * MINUTE), **limits}))  # type: ignore[arg-type]
