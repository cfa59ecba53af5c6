"""The figures of one probe, by the formulas of the manual's page on figures.

Chunks are not tokens: a server may pack several tokens into one event, or cut one in two. So
the count comes from the server's own usage, or is estimated from characters, and is spread
over the events in proportion to their characters.
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from monitor.core.observation import Observation, Usage
from monitor.core.timeline import Channel, Clock, Timeline, Token

CHARACTERS_PER_TOKEN = 4
"""The usual rule of thumb for English prose; used only where the server gives no usage."""
SHORTEST_WINDOW_S = 0.050
BURST_S = 0.005
"""Half or more of the text within this time was buffered somewhere: no speed can be told."""
BURST_EVENTS = 3
"""So many events at once are a burst, or one that holds all of the text."""


class TokenSource(enum.StrEnum):
    USAGE = "usage"
    ESTIMATE = "estimate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Milliseconds, tokens and tokens per second; None where undefined, never 0 instead."""

    ttft_ms: float | None = None
    ttft_net_ms: float | None = None
    ttfat_ms: float | None = None
    output_speed: float | None = None
    effective_throughput: float | None = None
    e2e_500_ms: float | None = None
    max_stall_ms: float | None = None
    max_stall_bound: bool = False
    """Some reads were late on purpose, so it may be that much and was perhaps less."""
    total_ms: float = 0.0
    own_ms: float = 0.0
    ttft_uncertainty_ms: float | None = None
    """Width of the interval in which the first token lies."""
    total_uncertainty_ms: float | None = None
    """The same of the end, for a plain check; None where there is a first token to judge."""
    window_ms: float | None = None
    """From the first token to the last one."""
    input_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    cached_tokens: int | None = None
    token_source: TokenSource | None = None


def measure(seen: Observation) -> Figures:
    """All figures of one look."""
    line = seen.timeline
    usage = _usage(seen, line.tokens)
    source = None
    if line.tokens:
        source = TokenSource.ESTIMATE if _unsaid(seen.usage) else TokenSource.USAGE
    total_ms = _total_s(line) * 1000.0
    if not line.tokens or line.request_sent is None:
        return Figures(
            total_ms=total_ms,
            own_ms=line.own_s * 1000.0,
            total_uncertainty_ms=_total_uncertainty_ms(line),
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            reasoning_tokens=usage.reasoning_tokens,
            cached_tokens=usage.cached_tokens,
            token_source=source,
        )
    first, last = line.tokens[0], line.tokens[-1]
    setup_s = _setup_s(line)
    # An answer can overtake the end of the request; nothing takes less than no time.
    net_s = max(0.0, first.at - line.request_sent)
    ttft_s = setup_s + net_s
    answer = line.first(Channel.ANSWER)
    ttfat_s = None if answer is None else setup_s + max(0.0, answer.at - line.request_sent)
    timed, count = _timed(seen, usage)
    speed = output_speed(timed, count, _said_of_first(seen, timed))
    whole_s = ttft_s + last.at - first.at
    return Figures(
        ttft_ms=ttft_s * 1000.0,
        ttft_net_ms=net_s * 1000.0,
        ttfat_ms=None if ttfat_s is None else ttfat_s * 1000.0,
        output_speed=speed,
        effective_throughput=count / whole_s if count and whole_s > 0 else None,
        e2e_500_ms=None if ttfat_s is None or not speed else (ttfat_s + 500 / speed) * 1000.0,
        max_stall_ms=_max_stall_ms(line.tokens),
        max_stall_bound=line.gathered,
        total_ms=total_ms,
        own_ms=line.own_s * 1000.0,
        ttft_uncertainty_ms=(first.at - first.earliest + _unsure_s(line)) * 1000.0,
        window_ms=(last.at - first.at) * 1000.0,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        cached_tokens=usage.cached_tokens,
        token_source=source,
    )


def output_speed(tokens: Sequence[Token], count: float, said_of_first: int = 0) -> float | None:
    """Tokens a second from the first token to the last one whose stamp is its own.

    `count` is the number of tokens in the timed channels. The first event's tokens were
    made before the window opened, so they do not count: as many as the server said by then
    (`said_of_first`; 0 or all of them: nothing), else its share. None where it would be a guess:
    one event, fewer than one token after the first, a window under 50 ms, or half or more
    of the text within 5 ms.
    """
    end = len(tokens) - 1
    while end > 0 and not _is_its_own(tokens[end]):
        end -= 1
    if end < 1 or count <= 0:
        return None
    characters = sum(token.characters for token in tokens)
    timed = sum(token.characters for token in tokens[: end + 1])
    window_s = tokens[end].at - tokens[0].at
    if window_s < SHORTEST_WINDOW_S or _most_at_once(tokens, _latest(tokens))[0] * 2 >= characters:
        return None
    n_first = max(1.0, count * tokens[0].characters / characters)
    if 0 < said_of_first < count:
        n_first = said_of_first
    n_timed = count * timed / characters
    if n_timed - n_first < 1:
        return None
    return (n_timed - n_first) / window_s


def _is_its_own(token: Token) -> bool:
    """Its stamp is exact, or as near to it as that of any byte of the read."""
    return token.ended_read or token.earliest == token.at


def burst_speed(seen: Observation) -> float:
    """Tokens a second, at least, at which half or more of a stream surely came within 5 ms; else 0.

    One or two large events among others are a vendor's way of sending, and no burst. Only the kernel's
    stamps and the server's own count tell. A moment that is a bound counts from its earliest, so that
    what we ourselves read late never came at once.
    """
    usage = seen.usage
    if usage is None or _unsaid(usage) or seen.timeline.clock is not Clock.KERNEL:
        return 0.0
    tokens, count = _timed(seen, usage)
    characters = sum(token.characters for token in tokens)
    most, events = _most_at_once(tokens, _earliest(tokens))
    if not tokens or most * 2 < characters or (events < BURST_EVENTS and most < characters):
        return 0.0
    return count * most / characters / BURST_S


def _most_at_once(tokens: Sequence[Token], since: Sequence[float]) -> tuple[int, int]:
    """Characters and events that some stretch of 5 ms holds, from the moments `since` to those of `at`."""
    start = held = 0
    most = (0, 0)
    for number, token in enumerate(tokens):
        held += token.characters
        while token.at - since[start] > BURST_S:
            held -= tokens[start].characters
            start += 1
            if held == 0:
                break
        most = max(most, (held, number - start + 1))
    return most


def _latest(tokens: Sequence[Token]) -> list[float]:
    return [token.at for token in tokens]


def _earliest(tokens: Sequence[Token]) -> list[float]:
    """No event came before the one that it follows."""
    return list(accumulate((token.earliest for token in tokens), max))


def _max_stall_ms(tokens: Sequence[Token]) -> float | None:
    if len(tokens) < 2:
        return None
    longest = max(after.at - before.at for before, after in pairwise(tokens))
    return longest * 1000.0


def _setup_s(line: Timeline) -> float:
    return (line.dns_s or 0.0) + (line.connect_s or 0.0) + (line.tls_s or 0.0)


def _total_s(line: Timeline) -> float:
    """As far as the probe came; without the time that we let pass ourselves."""
    if line.end is None:
        return _setup_s(line)
    if line.request_sent is None:
        return max(_setup_s(line), line.end - line.start - line.own_s)
    return _setup_s(line) + max(0.0, line.end - line.request_sent)


def _unsure_s(line: Timeline) -> float:
    """By how much all that lies before the answer may have taken less."""
    return line.sending_s + line.slack_s


def _total_uncertainty_ms(line: Timeline) -> float | None:
    if line.end is None or line.end_earliest is None:
        return None
    return (line.end - line.end_earliest + _unsure_s(line)) * 1000.0


def _unsaid(usage: Usage | None) -> bool:
    """A usage of 0 beside visible text means no usage."""
    return usage is None or not usage.output_tokens


def _usage(seen: Observation, tokens: Sequence[Token]) -> Usage:
    said = seen.usage
    if not tokens:
        return said or Usage()
    if said is not None and said.output_tokens:
        return said
    characters = sum(token.characters for token in tokens)
    return Usage(
        input_tokens=(said and said.input_tokens) or _estimate(seen.prompt_characters),
        output_tokens=_estimate(characters) or 1,
        cached_tokens=said.cached_tokens if said else None,
    )


def _estimate(characters: int) -> int | None:
    return round(characters / CHARACTERS_PER_TOKEN) or None


def _timed(seen: Observation, usage: Usage) -> tuple[Sequence[Token], int]:
    """The events that a speed is told by, and how many tokens are in them; 0 where that is not known.

    Hidden reasoning is never divided by visible text, and neither is what was only summed up.
    """
    tokens = seen.timeline.tokens
    spoken = [token for token in tokens if token.channel is not Channel.REASONING]
    if not seen.reasoning_kept_back:
        return tokens, _visible(usage, shows_reasoning=len(spoken) < len(tokens))
    if _unsaid(seen.usage):
        return spoken, _estimate(sum(token.characters for token in spoken)) or 0
    return spoken, 0 if usage.reasoning_tokens is None else _visible(usage, shows_reasoning=False)


def _visible(usage: Usage, *, shows_reasoning: bool) -> int:
    hidden = 0 if shows_reasoning else usage.reasoning_tokens or 0
    return max(0, (usage.output_tokens or 0) - hidden)


def _said_of_first(seen: Observation, timed: Sequence[Token]) -> int:
    """How many tokens were in the first of these events, by a server that counts as it goes; 0: not known."""
    said, tokens = seen.first_usage, seen.timeline.tokens
    if said is None or not timed or timed[0] is not tokens[0]:
        return 0
    return _visible(said, shows_reasoning=any(token.channel is Channel.REASONING for token in tokens))
