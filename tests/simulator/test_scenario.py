"""The script of the demo: what a newcomer sees, and in which order."""

import itertools

import anyio
import pytest

from monitor.simulator import SCENARIOS, Profile, Scenario, Step, serve

DEMO = SCENARIOS["demo"]


def behaviours_at(scenario, seconds):
    """What every provider does that long after the start."""
    steps = itertools.takewhile(lambda moment: moment[0] <= seconds, scenario.moments())
    return {step.provider: step.behaviour for _, step in steps}


def test_the_demo_shows_everything_within_two_minutes():
    seen = {provider: set() for provider in DEMO.profiles}
    for second in range(120):
        for provider, behaviour in behaviours_at(DEMO, second).items():
            seen[provider].add(str(behaviour))
    assert {"http_503", "reset", "truncated", "ok"} <= seen["shaky"]
    assert any("rate_limited" in behaviour for behaviour in seen["frugal"])
    assert any("ttft_ms" in behaviour for behaviour in seen["steady"])
    assert set(behaviours_at(DEMO, 119).values()) == {"ok"}


def test_the_demo_begins_and_ends_each_round_in_good_health():
    assert behaviours_at(DEMO, 15) == {}
    assert set(behaviours_at(DEMO, DEMO.period_s).values()) == {"ok"}


def test_a_script_repeats_itself():
    moments = list(itertools.islice(DEMO.moments(), 2 * len(DEMO.steps)))
    first, second = moments[: len(DEMO.steps)], moments[len(DEMO.steps) :]
    assert [(at + DEMO.period_s, step) for at, step in first] == second


@pytest.mark.anyio
@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
async def test_every_step_of_a_script_can_be_played(scenario):
    told, done = [], anyio.Event()

    def tell(at_s, step):
        told.append((at_s, step))
        if len(told) == len(scenario.steps):
            done.set()

    async with serve(scenario, speed=2000, tell=tell):
        with anyio.fail_after(10):
            if scenario.steps:
                await done.wait()
    assert [step for _, step in told[: len(scenario.steps)]] == list(scenario.steps)


@pytest.mark.parametrize(
    "steps",
    [
        (Step(5, "acme", "ok", ""), Step(4, "acme", "ok", "")),
        (Step(10, "acme", "ok", ""),),
        (Step(1, "nobody", "ok", ""),),
    ],
    ids=["out of order", "beyond the period", "unknown provider"],
)
def test_a_script_that_makes_no_sense_is_refused(steps):
    with pytest.raises(ValueError, match="step"):
        Scenario(profiles={"acme": Profile()}, steps=steps, period_s=10)
