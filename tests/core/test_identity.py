"""Who answers: what is news, what is not, and how much of it there may be."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.identity import (
    MOST_A_DAY,
    NOBODY,
    PUBLIC_WORDS,
    REMEMBERED,
    Change,
    Event,
    Known,
    is_cache_hit,
    is_same_model,
    notice,
    place_of,
    public_event,
)
from monitor.core.instant import DAY, HOUR, MINUTE, SECOND, Instant
from monitor.core.observation import Observation, Usage
from monitor.core.timeline import Channel, Timeline, Token

START = Instant(1_800_000_000 * SECOND)
MODEL = "gpt-4.1-nano"


def answer(
    *,
    model: str | None = MODEL,
    fingerprint: str | None = None,
    upstream: str | None = None,
    cached: int | None = None,
    fed: int = 60,
    characters: int = 240,
) -> Observation:
    token = Token(at=1.0, earliest=1.0, characters=4, channel=Channel.ANSWER, ended_read=True)
    return Observation(
        timeline=Timeline(start=0.0, tokens=[token]),
        status=200,
        served_model=model,
        fingerprint=fingerprint,
        upstream=upstream,
        prompt_characters=characters,
        usage=Usage(input_tokens=fed, output_tokens=8, cached_tokens=cached),
    )


def told(looks: list[tuple[int, Observation]], known: Known = NOBODY) -> list[Event]:
    """The events of looks that began so long after the start."""
    events: list[Event] = []
    for after, seen in looks:
        known, news = notice(known, seen, usual=MODEL, at=Instant(START + after))
        events += news
    return events


def kinds(looks: list[tuple[int, Observation]]) -> list[Change]:
    return [event.kind for event in told(looks)]


# Builds and upstreams


def test_the_first_build_is_learnt_and_another_one_is_news() -> None:
    first, other = answer(fingerprint="fp_a"), answer(fingerprint="fp_b")
    (event,) = told([(0, first), (MINUTE, first), (2 * MINUTE, other), (3 * MINUTE, other)])
    assert (event.at, event.kind) == (START + 2 * MINUTE, Change.FINGERPRINT_CHANGED)
    assert "fp_b" in event.text
    assert "fp_a" in event.text


def test_a_fleet_that_alternates_is_news_once() -> None:
    looks = [(n * MINUTE, answer(upstream="AB"[n % 2])) for n in range(100)]
    assert kinds(looks) == [Change.UPSTREAM_CHANGED]


def test_who_did_not_answer_for_a_day_is_a_stranger_again() -> None:
    a, b = answer(fingerprint="fp_a"), answer(fingerprint="fp_b")
    looks = [(0, a), (HOUR, b), (2 * HOUR, a)]
    looks += [(n * HOUR, a) for n in range(3, 26)]
    assert kinds([*looks, (25 * HOUR - 1, b)]) == [Change.FINGERPRINT_CHANGED]
    assert kinds([*looks, (25 * HOUR, b)]) == [Change.FINGERPRINT_CHANGED] * 2


def test_the_same_build_after_a_long_silence_is_no_news() -> None:
    assert kinds([(0, answer(fingerprint="fp_a")), (9 * DAY, answer(fingerprint="fp_a"))]) == []


def test_a_look_that_names_nobody_changes_nothing() -> None:
    a = answer(fingerprint="fp_a", upstream="One")
    assert kinds([(0, a), (MINUTE, answer(model=None)), (2 * MINUTE, a)]) == []


@pytest.mark.parametrize("changes", [{"status": 503}, {"timeline": Timeline(start=0.0)}])
def test_only_what_generated_text_tells_who_it_is(changes: dict[str, object]) -> None:
    broken = replace(answer(model="cheaper", fingerprint="fp_b"), **changes)  # type: ignore[arg-type]
    assert kinds([(0, answer(fingerprint="fp_a")), (MINUTE, broken)]) == []


NAMES = st.sampled_from([None, *(f"fp_{n}" for n in range(12))])
STEPS = st.lists(st.tuples(st.integers(-HOUR, 2 * DAY), NAMES, NAMES), max_size=60)


@given(STEPS)
def test_news_is_rare_and_only_of_strangers(steps: list[tuple[int, str | None, str | None]]) -> None:
    known, now, days, seen_at = NOBODY, START, dict[int, int](), dict[tuple[str, str], int]()
    for after, fingerprint, upstream in steps:
        now = Instant(now + after)
        seen = answer(fingerprint=fingerprint, upstream=upstream)
        known, events = notice(known, seen, usual=MODEL, at=now)
        assert len(known.fingerprints) <= REMEMBERED
        assert len(known.upstreams) <= REMEMBERED
        if fingerprint is not None:
            assert known.fingerprints[fingerprint] == now
        assert len(events) == len({event.kind for event in events})
        assert [event.number for event in events] == list(range(len(events)))
        days[now // DAY] = days.get(now // DAY, 0) + len(events)
        for kind, name in (("fingerprint_changed", fingerprint), ("upstream_changed", upstream)):
            before = seen_at.get((kind, str(name)))
            if any(event.kind == kind for event in events):
                forgotten = len({key for key in seen_at if key[0] == kind}) > REMEMBERED
                assert before is None or now - before >= DAY or forgotten
            seen_at[kind, str(name)] = now
    assert sum(days.values()) <= MOST_A_DAY * len(days) or not days


@given(st.lists(NAMES, max_size=80))
def test_each_of_a_few_builds_is_news_at_most_once_a_day(names: list[str | None]) -> None:
    few = [name for name in names if name in {f"fp_{n}" for n in range(REMEMBERED)}]
    events = told([(n * MINUTE, answer(fingerprint=name)) for n, name in enumerate(few)])
    assert len(events) == max(0, len(set(few)) - 1)


def test_one_day_has_no_more_than_twenty_events_and_the_next_one_begins_anew() -> None:
    midnight = DAY - START % DAY
    looks = [(n * MINUTE, answer(fingerprint=f"fp_{n}")) for n in range(40)]
    assert len(kinds(looks)) == MOST_A_DAY
    assert len(kinds([*looks, (midnight, answer(fingerprint="fp_new"))])) == MOST_A_DAY + 1


# Models


def test_another_model_is_told_once_and_so_is_the_way_back() -> None:
    right, wrong = answer(), answer(model="gpt-3.5-turbo-0125")
    events = told(
        [(0, right), (MINUTE, wrong), (2 * MINUTE, wrong), (3 * MINUTE, right), (4 * MINUTE, right)]
    )
    assert [(event.at - START, event.kind) for event in events] == [
        (MINUTE, Change.MODEL_CHANGED),
        (3 * MINUTE, Change.MODEL_BACK),
    ]
    assert events[0].text == "gpt-3.5-turbo-0125 answers instead of gpt-4.1-nano"


def test_models_that_alternate_do_not_flood() -> None:
    looks = [(n * MINUTE, answer(model=("gpt-4.1-nano", "cheaper")[n % 2])) for n in range(60)]
    assert kinds(looks) == [Change.MODEL_CHANGED, Change.MODEL_BACK]


def test_a_dated_alias_is_no_event() -> None:
    assert kinds([(0, answer(model="openai/GPT-4.1-nano-2025-04-14"))]) == []


def test_another_snapshot_is_an_event() -> None:
    def seen(date: str) -> Observation:
        return answer(model=f"{MODEL}-{date}")

    def events(usual: str, *dates: str) -> list[Change]:
        known, found = NOBODY, list[Event]()
        for n, date in enumerate(dates):
            known, news = notice(known, seen(date), usual=usual, at=Instant(START + n * MINUTE))
            found += news
        return [event.kind for event in found]

    pinned = f"{MODEL}-2025-04-14"
    assert events(pinned, "2025-04-14", "2025-08-07", "2025-08-07") == [Change.MODEL_CHANGED]
    assert events(pinned, "2025-08-07", "2025-04-14") == [Change.MODEL_CHANGED, Change.MODEL_BACK]
    assert events(MODEL, "2025-04-14", "2025-08-07") == []


def test_nobody_knows_who_should_answer_before_the_first_good_look() -> None:
    assert notice(NOBODY, answer(model="any"), usual=None, at=START)[1] == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("gpt-4.1-nano", "gpt-4.1-nano-2025-04-14"),
        ("gpt-4", "gpt-4-0613"),
        ("gpt-3.5-turbo", "gpt-3.5-turbo-0125"),
        ("o1", "o1-2024-12-17"),
        ("gpt-4o-2024-05-13", "gpt-4o-20240513"),
        ("gpt-4-0613", "gpt-4-2023-06-13"),
        ("mistral-large-2411", "mistral-large-20241118"),
        ("openai/gpt-4o-2024-05-13", "gpt-4o-2024-05-13"),
        ("openai/gpt-4.1", "gpt-4.1-2025-04-14"),
        ("claude-sonnet-4", "claude-sonnet-4-20250514"),
        ("claude-3-5-sonnet-latest", "claude-3-5-sonnet-20241022"),
        ("claude-sonnet-4@20250514", "anthropic/claude-sonnet-4"),
        ("us.anthropic.claude-3-5-sonnet-20241022-v2:0", "claude-3-5-sonnet"),
        ("gemini-2.0-flash", "models/gemini-2.0-flash-001"),
        ("gemini-2.5-pro-preview", "gemini-2.5-pro-preview-05-06"),
        ("gemini-2.5-flash-preview", "google/gemini-2.5-flash-preview-09-2025"),
        ("mistral-large-latest", "mistral-large-2411"),
        ("grok-4", "grok-4-0709"),
        ("deepseek/deepseek-r1:free", "deepseek-ai/DeepSeek-R1"),
        ("llama3.2", "llama3.2:latest"),
        ("/models/tiny.gguf", "tiny.gguf"),
    ],
)
def test_these_are_names_of_one_model(one: str, other: str) -> None:
    assert is_same_model(one, other)
    assert is_same_model(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("gpt-4.1", "gpt-4.1-nano"),
        ("gpt-4o", "gpt-4o-mini-2024-07-18"),
        ("gpt-4", "gpt-4-turbo-2024-04-09"),
        ("claude-3-5-sonnet-20241022", "claude-3-7-sonnet-20250219"),
        ("gemini-2.5-flash", "gemini-2.5-flash-lite"),
        ("llama3.2:1b", "llama3.2:3b"),
        ("meta-llama/llama-3-70b", "meta-llama/llama-3-8b"),
        ("mistral-small-24b", "mistral-small"),
        ("phi-4", "phi-4-mini"),
        ("20250514", "20250101"),
        ("gpt-4o-2024-05-13", "gpt-4o-2024-11-20"),
        ("gpt-4o-2024-05-13", "openai/gpt-4o-20241120"),
        ("gemini-1.5-pro-001", "gemini-1.5-pro-002"),
        ("mistral-large-2407", "mistral-large-2411"),
        ("gpt-3.5-turbo-0125", "gpt-3.5-turbo-1106"),
    ],
)
def test_these_are_different_models(one: str, other: str) -> None:
    assert not is_same_model(one, other)
    assert not is_same_model(other, one)


# Caches


@pytest.mark.parametrize(
    ("seen", "hit"),
    [
        (answer(cached=60, fed=60), True),
        (answer(cached=0), False),
        (answer(cached=None), False),
        (answer(cached=16, fed=60), False),
        # 1,024 of 1,090 tokens are a system prompt that a gateway puts in front of ours.
        (answer(cached=1024, fed=1090), False),
        (answer(cached=1090, fed=1090), True),
        (answer(cached=128, fed=300, characters=1200), True),
        (answer(cached=60, fed=60, characters=0), False),
    ],
)
def test_a_cache_can_know_the_preamble_but_not_the_nonce(seen: Observation, hit: bool) -> None:
    assert is_cache_hit(seen) is hit


def test_a_cache_that_always_answers_is_told_once_a_day() -> None:
    looks = [(n * HOUR, answer(cached=60)) for n in range(30)]
    assert kinds(looks) == [Change.CACHE_HIT]
    assert kinds([*looks, (60 * HOUR, answer(cached=60))]) == [Change.CACHE_HIT] * 2


# Telling


def test_an_event_has_an_id_that_tells_its_place() -> None:
    event = Event(START, Change.CACHE_HIT, "text", 3)
    assert place_of(event.id) == (START, 3)
    for nonsense in ("", "zz" * 9, event.id[1:], event.id.upper() + "A"):
        with pytest.raises(ValueError, match="18 hexadecimal digits"):
            place_of(nonsense)


def test_everybody_learns_of_an_event_but_not_who_it_was() -> None:
    assert set(PUBLIC_WORDS) == set(Change)
    (event,) = told([(0, answer(model="secret-build"))])
    assert "secret" not in public_event(event).text
    assert replace(public_event(event), text=event.text) == event
