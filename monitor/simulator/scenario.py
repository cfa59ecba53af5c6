"""Scripts: which providers there are, and what happens to them when.

A script repeats for ever and depends on nothing but the time since the start.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count

from monitor.simulator.profile import Behaviour, Profile, UsageStyle


@dataclass(frozen=True, slots=True)
class Step:
    """From `at_s` seconds into the script on, that provider behaves like this."""

    at_s: float
    provider: str
    behaviour: Behaviour
    note: str
    """The same in words for whoever watches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Raises ValueError where the steps are out of order or name nobody."""

    profiles: Mapping[str, Profile]
    steps: tuple[Step, ...] = ()
    period_s: float = 0.0

    def __post_init__(self) -> None:
        moments = [step.at_s for step in self.steps]
        if moments != sorted(moments) or (moments and moments[-1] >= self.period_s):
            raise ValueError("steps come in order, within the period")
        if not {step.provider for step in self.steps} <= self.profiles.keys():
            raise ValueError("a step names a provider that is not there")

    def moments(self) -> Iterator[tuple[float, Step]]:
        """Every step with its seconds from the start, round after round."""
        for turn in count() if self.steps else ():
            for step in self.steps:
                yield turn * self.period_s + step.at_s, step


PROVIDERS: dict[str, Profile] = {
    "swift": Profile(
        models=("swift-mini",),
        ttft_ms=160,
        tokens_per_s=170,
        jitter=0.2,
        chunk_tokens=(1, 3, 2, 4),
    ),
    "steady": Profile(models=("open-70b",), ttft_ms=420, tokens_per_s=80, jitter=0.15),
    "shaky": Profile(models=("open-70b",), ttft_ms=560, tokens_per_s=55, jitter=0.4),
    "thinker": Profile(
        models=("thinker-r1",),
        ttft_ms=300,
        tokens_per_s=150,
        jitter=0.15,
        reasoning_tokens=90,
    ),
    "frugal": Profile(
        models=("tiny-3b",),
        ttft_ms=240,
        tokens_per_s=100,
        jitter=0.3,
        chunk_tokens=(4, 6),
        usage=UsageStyle.ALWAYS,
        rejects=("stream_options",),
        rejects_status=422,
    ),
    "website": Profile(health_ms=40),
}
"""The providers of the shipped config.toml. `steady` and `shaky` serve the same model; `frugal`
turns `stream_options` away, as some real ones do."""

DEMO = Scenario(
    profiles=PROVIDERS,
    period_s=180,
    steps=(
        Step(20, "steady", {"ttft_ms": 1500.0}, "the first token comes late"),
        Step(30, "shaky", "http_503", "answers 503"),
        Step(42, "shaky", "reset", "breaks connections off"),
        Step(52, "shaky", "truncated", "its streams end half-way"),
        Step(55, "steady", "ok", "is fast again"),
        Step(62, "shaky", "ok", "works again"),
        Step(70, "website", "http_500", "answers 500"),
        Step(76, "frugal", {"name": "rate_limited", "retry_after_s": 6}, "throttles: 429"),
        Step(85, "website", "ok", "works again"),
        Step(97, "frugal", "ok", "lets us in again"),
        Step(125, "swift", "quota_exhausted", "says that our quota is used up"),
        Step(145, "swift", "ok", "has been paid"),
    ),
)
CALM = Scenario(profiles=PROVIDERS)

SCENARIOS: dict[str, Scenario] = {"demo": DEMO, "calm": CALM}
