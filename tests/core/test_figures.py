"""The figures of one probe, by their formulas."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.figures import Figures, TokenSource, measure, output_speed
from monitor.core.observation import Observation, Usage
from monitor.core.timeline import Channel, Clock, Phases, Timeline, Token, pack, phases, unpack


def token(
    at: float, characters: int = 4, channel: Channel = Channel.ANSWER, *, ended_read: bool = True
) -> Token:
    return Token(at=at, earliest=at, characters=characters, channel=channel, ended_read=ended_read)


def timeline(tokens: list[Token], *, end: float = 3.0) -> Timeline:
    """Request sent at 0.1 s; name, connection and TLS took 10, 20 and 30 ms, 40 ms were ours."""
    return Timeline(
        start=0.0,
        dns_s=0.010,
        connect_s=0.020,
        tls_s=0.030,
        own_s=0.040,
        request_sent=0.100,
        headers=0.2,
        first_byte=0.2,
        terminal=end,
        end=end,
        tokens=tokens,
    )


def seen(tokens: list[Token], usage: Usage | None = None, *, end: float = 3.0) -> Observation:
    return Observation(timeline=timeline(tokens, end=end), status=200, usage=usage, terminal=True)


def test_time_to_first_token_leaves_out_what_we_let_pass_ourselves() -> None:
    figures = measure(seen([token(0.6), token(1.6)], Usage(output_tokens=2)))
    assert figures.ttft_net_ms == pytest.approx(500.0)
    assert figures.ttft_ms == pytest.approx(560.0)
    assert figures.own_ms == pytest.approx(40.0)
    assert figures.total_ms == pytest.approx(60.0 + 2900.0)


def test_the_first_answer_is_told_from_the_first_thought() -> None:
    tokens = [token(0.6, channel=Channel.REASONING), token(1.1), token(1.6)]
    figures = measure(seen(tokens, Usage(output_tokens=12)))
    assert figures.ttft_ms == pytest.approx(560.0)
    assert figures.ttfat_ms == pytest.approx(1060.0)


def test_speed_leaves_out_the_tokens_of_the_first_chunk() -> None:
    tokens = [token(1.0, characters=30), token(1.5, characters=35), token(2.0, characters=35)]
    figures = measure(seen(tokens, Usage(output_tokens=100)))
    assert figures.output_speed == pytest.approx((100 - 30) / 1.0)
    assert figures.effective_throughput == pytest.approx(100 / (0.960 + 1.0))


def test_at_least_one_token_is_in_the_first_chunk() -> None:
    tokens = [token(1.0, characters=1), *(token(1.0 + 0.1 * i, characters=100) for i in range(1, 11))]
    assert output_speed(tokens, 101) == pytest.approx(100.0)


def test_a_server_that_counts_as_it_goes_says_how_many_tokens_the_first_chunk_held() -> None:
    tokens = [token(1.0, characters=4), *(token(1.0 + 0.1 * i, characters=40) for i in range(1, 4))]
    said = replace(seen(tokens, Usage(output_tokens=40)), first_usage=Usage(output_tokens=10))
    assert measure(said).output_speed == pytest.approx((40 - 10) / 0.3)
    hidden = Usage(output_tokens=940, reasoning_tokens=900)
    said = replace(said, usage=hidden, first_usage=Usage(output_tokens=910, reasoning_tokens=900))
    assert measure(said).output_speed == pytest.approx((40 - 10) / 0.3)


@pytest.mark.parametrize("first", [None, Usage(input_tokens=9), Usage(output_tokens=40)])
def test_who_says_nothing_that_can_be_of_the_first_chunk_leaves_it_its_share(first: Usage | None) -> None:
    tokens = [token(1.0, characters=10), token(1.5, characters=15), token(2.0, characters=15)]
    said = replace(seen(tokens, Usage(output_tokens=40)), first_usage=first)
    assert measure(said).output_speed == pytest.approx((40 - 10) / 1.0)


def test_speed_runs_to_the_last_token_whose_stamp_is_its_own_with_its_share_of_the_tokens() -> None:
    tokens = [token(1.0), token(1.5), token(2.0), token(2.1, ended_read=False)]
    tokens[-1].earliest = 2.05
    assert output_speed(tokens, 40) == pytest.approx((30 - 10) / 1.0)


def test_what_follows_a_token_in_its_segment_takes_nothing_from_its_stamp() -> None:
    """A finish_reason, a ping or a comment behind it."""
    tokens = [token(1.0), token(1.1), token(1.2), token(2.0, ended_read=False)]
    assert output_speed(tokens, 40) == pytest.approx((40 - 10) / 1.0)
    for each in tokens:
        each.ended_read = False
    assert output_speed(tokens, 40) == pytest.approx((40 - 10) / 1.0)


def test_end_to_end_for_500_tokens_is_the_sum_of_its_parts() -> None:
    """The documented example: 650 ms, no thinking, 127.5 tokens/s."""
    after_the_first = 100 / 127.5
    tokens = [token(0.690 + i * after_the_first / 10, characters=1) for i in range(11)]
    figures = measure(seen(tokens, Usage(output_tokens=110)))
    assert (figures.ttft_ms, figures.ttfat_ms) == (pytest.approx(650.0), pytest.approx(650.0))
    assert figures.output_speed == pytest.approx(127.5)
    assert figures.e2e_500_ms == pytest.approx(4571.6, abs=0.05)


@pytest.mark.parametrize(
    ("tokens", "count", "why"),
    [
        ([token(1.0)], 10, "one timed chunk"),
        ([token(1.0), token(1.2)], 1, "fewer than one token after the first chunk"),
        ([token(1.0 + 0.01 * i) for i in range(4)], 40, "a window under 50 ms"),
        ([token(1.0), token(1.1, 500), token(1.2)], 100, "half of the text at once"),
        ([token(1.0), token(1.104, 50), token(1.105, 50), token(1.2)], 100, "half of the text within 5 ms"),
    ],
)
def test_speed_is_null_rather_than_a_guess(tokens: list[Token], count: int, why: str) -> None:
    assert output_speed(tokens, count) is None, why


def test_hidden_reasoning_is_never_divided_by_visible_text() -> None:
    tokens = [token(1.0 + 0.1 * i) for i in range(11)]
    shown = measure(seen(tokens, Usage(output_tokens=110)))
    hidden = measure(seen(tokens, Usage(output_tokens=1110, reasoning_tokens=1000)))
    assert hidden.output_speed == pytest.approx(shown.output_speed or 0)
    assert hidden.effective_throughput == pytest.approx(shown.effective_throughput or 0)
    assert hidden.output_tokens == 1110


def test_visible_reasoning_counts_with_its_tokens() -> None:
    thought = [token(1.0 + 0.1 * i, channel=Channel.REASONING) for i in range(5)]
    tokens = thought + [token(1.5 + 0.1 * i) for i in range(6)]
    figures = measure(seen(tokens, Usage(output_tokens=110, reasoning_tokens=50)))
    assert figures.output_speed == pytest.approx(100 / 1.0)


def kept_back(tokens: list[Token], usage: Usage | None) -> Observation:
    return replace(seen(tokens, usage), reasoning_kept_back=True)


def test_what_was_only_summed_up_is_never_divided_by_its_summary() -> None:
    summary = [token(0.7, 200, Channel.REASONING), token(0.8, 200, Channel.REASONING)]
    answer = [token(1.0 + 0.1 * i) for i in range(11)]
    alone = measure(seen(answer, Usage(output_tokens=110)))
    figures = measure(kept_back(summary + answer, Usage(output_tokens=1110, reasoning_tokens=1000)))
    assert figures.output_speed == pytest.approx(alone.output_speed or 0)
    assert figures.effective_throughput == pytest.approx(110 / (0.660 + 1.3))
    assert figures.ttft_ms == pytest.approx(660.0)
    assert figures.output_tokens == 1110


def test_thoughts_that_nobody_counted_apart_leave_no_speed() -> None:
    answer = [token(1.0 + 0.1 * i) for i in range(11)]
    figures = measure(kept_back(answer, Usage(output_tokens=1110)))
    assert (figures.output_speed, figures.effective_throughput, figures.e2e_500_ms) == (None, None, None)
    assert (figures.output_tokens, figures.token_source) == (1110, TokenSource.USAGE)
    assert figures.max_stall_ms is not None
    estimated = measure(kept_back([token(0.5, 400, Channel.REASONING), *answer], None))
    assert estimated.output_speed == pytest.approx((11 - 1) / 1.0)


def test_a_usage_of_zero_beside_text_means_no_usage() -> None:
    figures = measure(seen([token(1.0, 40), token(1.2, 40)], Usage(output_tokens=0, input_tokens=0)))
    assert figures.token_source is TokenSource.ESTIMATE
    assert figures.output_tokens == 20
    assert figures.input_tokens is None


def test_without_a_usage_the_prompt_is_estimated_as_the_answer_is() -> None:
    figures = measure(replace(seen([token(1.0, 40), token(1.2, 40)]), prompt_characters=120))
    assert (figures.token_source, figures.input_tokens) == (TokenSource.ESTIMATE, 30)


def test_the_servers_usage_is_taken_over_the_number_of_chunks() -> None:
    figures = measure(seen([token(1.0), token(1.2)], Usage(output_tokens=60, input_tokens=7)))
    assert (figures.token_source, figures.output_tokens, figures.input_tokens) == (TokenSource.USAGE, 60, 7)


def test_the_longest_stall_lies_between_two_tokens() -> None:
    figures = measure(seen([token(1.0), token(1.2), token(2.0), token(2.1)], Usage(output_tokens=9)))
    assert figures.max_stall_ms == pytest.approx(800.0)
    assert measure(seen([token(1.0)])).max_stall_ms is None


def test_without_a_token_nothing_is_known_but_how_long_it_took() -> None:
    figures = measure(seen([]))
    assert figures == Figures(total_ms=figures.total_ms, own_ms=figures.own_ms)
    assert figures.total_ms == pytest.approx(2960.0)


def test_a_connection_that_never_stood_took_as_long_as_we_waited() -> None:
    line = Timeline(start=5.0, dns_s=0.01, own_s=0.5, end=15.5)
    assert measure(Observation(timeline=line)).total_ms == pytest.approx(10_000.0)


def test_an_answer_that_overtakes_the_request_took_no_time() -> None:
    figures = measure(seen([token(0.05), token(0.2)], Usage(output_tokens=9), end=0.09))
    assert figures.ttft_net_ms == 0.0
    assert figures.total_ms == pytest.approx(60.0)


@given(
    st.lists(
        st.tuples(st.floats(0.0, 0.5), st.integers(1, 50), st.booleans(), st.sampled_from(list(Channel))),
        max_size=40,
    ),
    st.integers(0, 5000),
    st.integers(0, 5000),
)
def test_no_figure_is_ever_negative_or_infinite(
    events: list[tuple[float, int, bool, Channel]], output: int, reasoning: int
) -> None:
    at, tokens = 0.3, []
    for gap, characters, ended, channel in events:
        at += gap
        tokens.append(token(at, characters, channel, ended_read=ended))
    figures = measure(seen(tokens, Usage(output_tokens=output, reasoning_tokens=reasoning), end=at))
    for name in Figures.__dataclass_fields__:
        value = getattr(figures, name)
        if isinstance(value, float):
            assert 0 <= value < float("inf"), name
    if figures.ttft_ms is not None and figures.ttfat_ms is not None:
        assert figures.ttft_ms <= figures.ttfat_ms


def test_a_request_that_took_long_to_send_makes_the_first_token_uncertain() -> None:
    line = timeline([token(1.0), token(2.0)])
    line.sending_s = 0.004
    line.tokens[0].earliest = 0.990
    figures = measure(Observation(timeline=line))
    assert figures.ttft_uncertainty_ms == pytest.approx(14.0)


def test_a_name_or_a_handshake_that_we_heard_of_late_makes_it_uncertain_too() -> None:
    line = timeline([token(1.0), token(2.0)])
    line.slack_s = 0.007
    assert measure(Observation(timeline=line)).ttft_uncertainty_ms == pytest.approx(7.0)


def test_the_end_of_a_plain_check_lies_in_an_interval() -> None:
    line = timeline([], end=3.0)
    assert measure(Observation(timeline=line)).total_uncertainty_ms is None
    line.end_earliest = 3.0
    assert measure(Observation(timeline=line)).total_uncertainty_ms == 0.0
    assert "end" not in phases(line).bounds
    line.end_earliest, line.sending_s, line.slack_s = 2.988, 0.002, 0.001
    figures = measure(Observation(timeline=line))
    assert figures.total_uncertainty_ms == pytest.approx(15.0)
    assert figures.ttft_uncertainty_ms is None
    assert "end" in phases(line).bounds


def test_a_gap_between_tokens_that_were_left_to_gather_is_a_bound() -> None:
    line = timeline([token(1.0), token(2.0)])
    assert not measure(Observation(timeline=line)).max_stall_bound
    line.gathered = True
    assert measure(Observation(timeline=line)).max_stall_bound


def test_what_is_a_bound_is_told_with_the_moments() -> None:
    line = timeline([token(1.0), token(2.0)], end=3.0)
    assert phases(line).bounds == frozenset()
    line.tokens[0].earliest = 0.9
    line.bounds.update(("terminal", "connect_ms"))
    told = {"connect_ms", "first_token", "first_answer", "terminal", "end"}
    assert phases(line).bounds == told


def test_a_timeline_that_was_stored_before_there_were_bounds_is_read_as_exact() -> None:
    blob = bytes((1, 0b11, 0)) + bytes((2 << 1, 3 << 1))
    assert unpack(blob) == Phases(dns_ms=0.002, connect_ms=0.003)


OFFSETS = st.one_of(st.none(), st.integers(0, 10**9).map(lambda us: us / 1000.0))


MOMENTS = [name for name in Phases.__dataclass_fields__ if name not in ("clock", "gathered", "bounds")]


@given(
    st.builds(
        Phases,
        **dict.fromkeys(MOMENTS, OFFSETS),
        clock=st.sampled_from(Clock),
        gathered=st.booleans(),
    ),
    st.sets(st.sampled_from(MOMENTS)),
)
def test_a_timeline_survives_being_packed_to_the_microsecond(moments: Phases, bounds: set[str]) -> None:
    there = {name for name in bounds if getattr(moments, name) is not None}
    bounded = replace(moments, bounds=frozenset(there))
    assert unpack(pack(bounded)) == bounded


@given(
    st.builds(Phases, **dict.fromkeys(MOMENTS, st.integers(0, 10**9).map(lambda us: us / 1000.0))),
    st.sets(st.sampled_from(MOMENTS)),
)
def test_a_timeline_of_the_usual_sort_is_stored_shorter_and_survives(
    moments: Phases, bounds: set[str]
) -> None:
    usual = replace(
        moments,
        first_reasoning=None,
        first_token=moments.first_answer,
        end=moments.terminal,
        bounds=frozenset(bounds - {"first_reasoning"}),
    )
    assert unpack(pack(usual)) == usual
    other = replace(usual, first_token=(round((usual.first_token or 0.0) * 1000) + 1) / 1000)
    assert unpack(pack(other)) == other
    assert len(pack(usual)) < len(pack(other))


def test_a_packed_timeline_is_small() -> None:
    tokens = [token(0.65 + 0.02 * i) for i in range(64)]
    assert len(pack(phases(timeline(tokens)))) <= 40
