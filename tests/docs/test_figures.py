"""docs/figures.md says of every figure what the code computes."""

import re
from decimal import Decimal

import pytest

from monitor.config.rules import SAMPLES
from monitor.core.belief import Belief, Rules, State, Tick, Transition, advance, confirmation_at
from monitor.core.budget import Price, cost_usd
from monitor.core.figures import Figures, measure
from monitor.core.instant import MINUTE, SECOND, Instant
from monitor.core.observation import Observation, Usage
from monitor.core.outcome import BLAME, Blame
from monitor.core.slots import GapReason
from monitor.core.timeline import Channel, Phases, Timeline, Token
from monitor.core.uptime import PUBLISHED, Counts, Metric, coverage, strict_uptime, uptime
from tests.core.believing import START, degraded, look, rules
from tests.docs.pages import code, page, rows, tables

MANUAL = page("figures.md")
OF_OURS = {"own_ms", "ttft_uncertainty_ms", "total_uncertainty_ms", "window_ms", "max_stall_bound"}
"""Figures of the probe itself, which are told beside its timeline."""
FIGURES = set(Figures.__dataclass_fields__) - OF_OURS | {"cost_usd"}


def first_words(section: str, table: int = 0) -> list[str]:
    """What stands in backticks in the first column of a table."""
    return [name for row in tables(MANUAL.section(section))[table] for name in code(row[0])]


# Names


def test_every_moment_of_a_timeline_is_told():
    told = set(first_words("One probe on the clock"))
    assert told == set(Phases.__dataclass_fields__) - {"clock", "gathered", "bounds"}


def test_every_reason_of_a_gap_is_told():
    assert set(first_words("One probe on the clock", table=1)) == {str(reason) for reason in GapReason}


def test_every_figure_of_a_probe_is_told():
    assert set(first_words("Figures of one probe")) == FIGURES
    assert {"ttft_uncertainty_ms", "total_uncertainty_ms"} <= set(
        code(MANUAL.section("One probe on the clock"))
    )


def test_every_outcome_stands_there_with_its_blame():
    told = {}
    for outcome, blame, *_ in tables(MANUAL.section("Outcome and blame"))[1]:
        told[code(outcome)[0]] = code(blame)[0] if code(blame) else None
    assert told == {str(outcome): blame and str(blame) for outcome, blame in BLAME.items()}


def test_every_blame_is_told():
    told = [code(row[0])[0] for row in tables(MANUAL.section("Outcome and blame"))[0] if code(row[0])]
    assert told == [str(blame) for blame in Blame]


def test_every_window_and_every_distribution_is_told():
    assert set(PUBLISHED) <= set(code(MANUAL.section("Windows")))
    published = {str(metric) for metric in Metric} - {"max_stall_ms"}
    assert published <= set(code(MANUAL.section("Distributions")))


def test_the_rules_need_as_many_samples_as_it_says():
    told = {code(row[0])[0]: int(row[2]) for row in rows(MANUAL.section("Degraded rules"))}
    assert told == SAMPLES


def test_it_says_of_every_figure_when_it_is_null():
    told = set(first_words("When a figure is null"))
    assert told >= FIGURES - {"token_source"} | {"uptime", "strict_uptime", "coverage", "mttr_s"}


# Worked examples


def cell(section: str, name: str) -> str:
    found = [row[1] for row in rows(section) if code(row[0]) == [name] or row[0] == name]
    assert len(found) == 1, name
    return found[0]


def examples() -> tuple[str, str]:
    """The sections with the two worked examples."""
    parts = re.split(r"^### Worked example$", MANUAL.prose, flags=re.MULTILINE)
    assert len(parts) == 3
    return parts[1].split("\n### ")[0], parts[2].split("\n### ")[0]


def the_probe_of_the_example() -> Observation:
    """103 tokens in 35 chunks: one of 4 characters, 34 of 12, evenly over 800 ms."""
    probe, _ = examples()
    ms = {name: float(cell(probe, name)) / 1000 for name in ("dns_ms", "connect_ms", "tls_ms")}
    sent = 1.0
    first = sent + float(cell(probe, "request sent → first token")) / 1000
    window = float(cell(probe, "first token → last token")) / 1000
    end = first + window + float(cell(probe, "last token → end")) / 1000
    moments = [(first, 4), *((first + window * number / 34, 12) for number in range(1, 35))]
    tokens = [Token(at, at, characters, Channel.ANSWER, ended_read=True) for at, characters in moments]
    line = Timeline(
        start=0.0,
        dns_s=ms["dns_ms"],
        connect_s=ms["connect_ms"],
        tls_s=ms["tls_ms"],
        request_sent=sent,
        terminal=end,
        end=end,
        tokens=tokens,
    )
    usage = Usage(
        input_tokens=int(cell(probe, "input_tokens")), output_tokens=int(cell(probe, "output_tokens"))
    )
    return Observation(timeline=line, status=200, usage=usage, terminal=True)


def test_the_example_of_a_probe_is_computed_right():
    probe, _ = examples()
    figures = measure(the_probe_of_the_example())
    for name in (str(metric) for metric in Metric if metric is not Metric.MAX_STALL_MS):
        told = cell(probe, name)
        digits = len(told.partition(".")[2])
        assert f"{getattr(figures, name):.{digits}f}" == told, name


def test_the_example_of_a_cost_is_computed_right():
    probe, _ = examples()
    price = Price(input=Decimal("0.10"), output=Decimal("0.40"))
    assert '{ input = "0.10", output = "0.40" }' in cell(probe, "price")
    assert cost_usd(price, input_tokens=60, output_tokens=103) == Decimal(cell(probe, "cost_usd"))


def test_the_example_of_a_window_is_computed_right():
    _, hour = examples()
    counts = Counts(ok=59, degraded=1, provider=1, throttled=1)
    assert "`ok` 59, `degraded` 1, `provider` 1, `throttled` 1; due 62" in hour
    assert float(cell(hour, "uptime")) == uptime(counts)
    assert float(cell(hour, "strict_uptime")) == strict_uptime(counts)
    assert float(cell(hour, "coverage")) == coverage(counts, 62)


def test_with_the_defaults_an_outage_is_known_after_20_seconds():
    assert "called down about 20 s after the first failure" in " ".join(MANUAL.text.split())
    belief, at, scheduled = Belief(endpoint="acme/one"), START, True
    next_slot = Instant(START + MINUTE)
    while belief.state is not State.DOWN:
        seen = look(at, "b", scheduled=scheduled)
        belief = advance(belief, seen, rules(), at).belief
        again = confirmation_at(belief, seen, rules(), at, next_slot)
        assert (again is None) == (belief.state is State.DOWN)
        at, scheduled = again or at, False
    assert at - START == 20 * SECOND


# The diagram of states


def drawn() -> set[tuple[str, str]]:
    (diagram,) = MANUAL.blocks("mermaid")
    return set(re.findall(r"^ +(\w+) --> (\w+): ", diagram, re.MULTILINE))


def moves(belief: Belief, events: str, depth: int, under: Rules, now: Instant) -> set[tuple[str, str]]:
    """Every change of state that any sequence of events leads to.

    `g`: good, `G`: good but late, `s`: slow, `b`: bad, `t`: throttled, ` `: nothing for an hour.
    """
    if not depth:
        return set()
    found: set[tuple[str, str]] = set()
    for event in events:
        then = Instant(now + (60 * MINUTE if event == " " else MINUTE))
        ttft_ms = 5_000.0 if event == "G" else 600.0
        what = Tick() if event == " " else look(then, event.lower(), ttft_ms=ttft_ms)
        follows = advance(belief, what, under, then)
        found |= {move(one) for one in follows.transitions}
        found |= moves(follows.belief, events, depth - 1, under, then)
    return found


def move(transition: Transition) -> tuple[str, str]:
    return str(transition.before), str(transition.after)


def watched(letters: str, under: Rules) -> tuple[Belief, Instant]:
    belief, now = Belief(endpoint="acme/one"), START
    for letter in letters:
        now = Instant(now + MINUTE)
        belief = advance(belief, look(now, letter), under, now).belief
    return belief, now


@pytest.fixture(scope="module")
def possible() -> set[tuple[str, str]]:
    quick = rules(down_after=2, up_after=2)
    found = moves(Belief(endpoint="acme/one"), "gsbt ", 6, quick, START)
    ruled = degraded(ttft_p50=1_000.0, over=5 * MINUTE)
    belief, now = watched("ggggg", ruled)
    return found | moves(belief, "gGb ", 6, ruled, now)


def test_every_arrow_of_the_diagram_is_possible_and_no_other(possible: set[tuple[str, str]]):
    assert possible == drawn()


def test_a_rule_makes_an_endpoint_degraded_and_looks_that_work_badly_do_so_as_well():
    ruled = degraded(ttft_p50=1_000.0, over=5 * MINUTE)
    belief, now = watched("ggggg", ruled)
    for _ in range(3):
        now = Instant(now + MINUTE)
        belief = advance(belief, look(now, "g", ttft_ms=5_000.0), ruled, now).belief
    assert belief.state is State.DEGRADED
    assert watched("gsss", rules())[0].state is State.DEGRADED
    assert watched("gttt", rules())[0].state is State.DEGRADED


def test_every_state_is_told():
    assert {str(state) for state in State} <= {name for pair in drawn() for name in pair}
