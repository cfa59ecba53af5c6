"""Who answers: a change of model, build or upstream, and an answer from a cache, as events.

Fleets alternate between several builds and upstreams, so the ones that answered lately are
remembered, and only a stranger is news.
"""

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from monitor.core.instant import DAY, Instant
from monitor.core.observation import Observation

REMEMBERED = 8
"""Names of one kind that are kept; of more, the one that was seen longest ago is forgotten."""
FORGOTTEN_AFTER = DAY
"""Who did not answer for so long is a stranger again."""
MOST_A_DAY = 20
"""Events of one endpoint on one day (UTC); what comes beyond is learnt in silence."""
CACHED_SHARE = 0.2
"""Of our own prompt: so much of it from a cache is more than a wrong estimate of its length."""
CACHED_LEAST = 16
"""Tokens: the smallest block of a prefix cache, by which a preamble may be misjudged."""
_CHARACTERS_PER_TOKEN = 4


class Change(enum.StrEnum):
    """What an event on an endpoint's timeline is about."""

    MODEL_CHANGED = "model_changed"
    MODEL_BACK = "model_back"
    FINGERPRINT_CHANGED = "fingerprint_changed"
    UPSTREAM_CHANGED = "upstream_changed"
    CACHE_HIT = "cache_hit"


@dataclass(frozen=True, slots=True)
class Event:
    """Something about who answers has changed. `at` is the start of the look that saw it."""

    at: Instant
    kind: Change
    text: str
    """For a person. It quotes the provider's names, so it is not for everybody."""
    number: int = 0
    """Among the events of that look."""

    @property
    def id(self) -> str:
        """18 hexadecimal digits; sorts by time."""
        return f"{self.at:016x}{self.number:02x}"


def place_of(event: str) -> tuple[Instant, int]:
    """The moment and the number that an event's id tells. Raises ValueError if it is none."""
    if len(event) != 18 or not set(event) <= set("0123456789abcdef"):
        raise ValueError("the id of an event has 18 hexadecimal digits")
    return Instant(int(event[:16], 16)), int(event[16:], 16)


PUBLIC_WORDS = {
    Change.MODEL_CHANGED: "another model answers than before",
    Change.MODEL_BACK: "the usual model answers again",
    Change.FINGERPRINT_CHANGED: "the provider runs another build of the model",
    Change.UPSTREAM_CHANGED: "somebody else answers behind the gateway",
    Change.CACHE_HIT: "a prompt that was never sent before was answered from a cache",
}
"""What everybody may know of an event."""


def public_event(event: Event) -> Event:
    """An event without the names that the provider gave."""
    return replace(event, text=PUBLIC_WORDS[event.kind])


Seen = Mapping[str, Instant]
"""Names, and when each answered last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """Who answered at an endpoint lately; durable with the belief."""

    models: Seen = field(default_factory=dict)
    """Others than the usual one."""
    fingerprints: Seen = field(default_factory=dict)
    upstreams: Seen = field(default_factory=dict)
    stranger: str | None = None
    """The other model that answers now, of which was told; None: the usual one does."""
    cached: Instant = Instant(0)
    """Start of the newest look that a cache answered; 0: none did."""
    day: int = 0
    """Since the epoch, UTC; `told` counts the events of this day."""
    told: int = 0


NOBODY = Known()


def notice(known: Known, seen: Observation, *, usual: str | None, at: Instant) -> tuple[Known, list[Event]]:
    """What one look tells of who answered, and which of it is news.

    `usual` is the model that should answer, by `expect.model` or by what was learnt before;
    None: nobody knows. A look without generated text tells nothing.
    """
    if seen.status != 200 or not seen.timeline.tokens:
        return known, []
    after, events = _model(known, seen.served_model, usual, at)
    fingerprints, unknown = _met(known.fingerprints, seen.fingerprint, at)
    if unknown is not None:
        text = f"system_fingerprint is {seen.fingerprint}, which is new here; before it was {unknown}"
        events.append(Event(at, Change.FINGERPRINT_CHANGED, text))
    upstreams, unknown = _met(known.upstreams, seen.upstream, at)
    if unknown is not None:
        text = f"{seen.upstream} answers behind the gateway, which is new here; before it was {unknown}"
        events.append(Event(at, Change.UPSTREAM_CHANGED, text))
    after = replace(after, fingerprints=fingerprints, upstreams=upstreams)
    if is_cache_hit(seen):
        if at - known.cached >= FORGOTTEN_AFTER:
            events.append(Event(at, Change.CACHE_HIT, _cached_words(seen)))
        after = replace(after, cached=at)
    return _rationed(after, events, at)


def _met(names: Seen, name: str | None, at: Instant) -> tuple[Seen, str | None]:
    """The names with this one among them; and who answered last, if this one is a stranger."""
    if name is None:
        return names, None
    last = max(names, key=lambda each: names[each]) if names else None
    is_stranger = name not in names or at - names[name] >= FORGOTTEN_AFTER
    return _remember(names, name, at), last if is_stranger and name != last else None


def _remember(names: Seen, name: str, at: Instant) -> Seen:
    kept = {**names, name: at}
    if len(kept) > REMEMBERED:
        # Never the newcomer, even after a step of the clock.
        del kept[min(names, key=lambda each: names[each])]
    return kept


def _model(known: Known, served: str | None, usual: str | None, at: Instant) -> tuple[Known, list[Event]]:
    if served is None or usual is None:
        return known, []
    if is_same_model(served, usual):
        if known.stranger is None:
            return known, []
        text = f"{served} answers again, after {known.stranger}"
        return replace(known, stranger=None), [Event(at, Change.MODEL_BACK, text)]
    name = _bare(served)
    is_news = name not in known.models or at - known.models[name] >= FORGOTTEN_AFTER
    known = replace(known, models=_remember(known.models, name, at))
    if not is_news:
        return known, []
    text = f"{served} answers instead of {usual}"
    return replace(known, stranger=served), [Event(at, Change.MODEL_CHANGED, text)]


def _rationed(known: Known, events: list[Event], at: Instant) -> tuple[Known, list[Event]]:
    """No more events than one day may have."""
    if not events:
        return known, events
    day = at // DAY
    told = known.told if day == known.day else 0
    left = max(0, MOST_A_DAY - told)
    events = [replace(event, number=place) for place, event in enumerate(events[:left])]
    return replace(known, day=day, told=told + len(events)), events


# Caches


def is_cache_hit(seen: Observation) -> bool:
    """A cache answered a prompt that nobody ever sent before.

    The nonce stands first in our prompt, so that only what a server puts in front of it, a
    preamble that all prompts share, can rightly come from a cache. How long that is follows
    from the length of our own prompt; the doubt goes to the server.
    """
    usage = seen.usage
    if usage is None or not usage.cached_tokens or not usage.input_tokens or not seen.prompt_characters:
        return False
    own = min(usage.input_tokens, seen.prompt_characters // _CHARACTERS_PER_TOKEN)
    surplus = usage.cached_tokens - (usage.input_tokens - own)
    return surplus > max(CACHED_SHARE * own, CACHED_LEAST)


def _cached_words(seen: Observation) -> str:
    usage = seen.usage
    assert usage is not None
    return (
        f"{usage.cached_tokens} of {usage.input_tokens} tokens of the prompt came from a cache,"
        " although its beginning was never sent before"
    )


# Models


def is_same_model(one: str, other: str) -> bool:
    """A dated alias is the same model: `gpt-4.1-nano` and `gpt-4.1-nano-2025-04-14`.

    Two dates are two models. A vendor's prefix (`openai/gpt-4.1-nano`), a gateway's variant (`:free`)
    or the case makes no other.
    """
    (name, dates), (other_name, other_dates) = _taken_apart(one), _taken_apart(other)
    return name == other_name and (not dates or not other_dates or _is_same_day(dates, other_dates))


def is_moved_alias(asked: str, before: str, served: str) -> bool:
    """Whether the model asked for has no date, and so may go from one dated snapshot to the next."""
    return not _taken_apart(asked)[1] and _taken_apart(before)[0] == _taken_apart(served)[0]


def _taken_apart(name: str) -> tuple[str, str]:
    """The name without what does not make another model, and the digits of its date; none: it has no date."""
    plain, dates = _bare(name), ""
    while found := _DATE.search(plain):
        plain, dates = plain[: found.start()], _NO_DIGITS.sub("", found[0]) + dates
    return plain, dates


def _is_same_day(one: str, other: str) -> bool:
    """20250613, or with less of it: 0613, 2506."""
    short, long = sorted((one, other), key=len)
    return long.endswith(short) or (len(short) == 4 and long[2:].startswith(short))


def _bare(name: str) -> str:
    """The name without its vendor and its variant."""
    plain = _BEDROCK.sub("", name.rsplit("/", 1)[-1].casefold())
    return _VARIANT.sub("", plain).replace("@", "-")


_BEDROCK = re.compile(r"^(?:[a-z]{2,6}\.)?(?:anthropic|meta|amazon|mistral|cohere|deepseek|openai|qwen)\.")
"""`us.anthropic.claude-…`: the region and the vendor, as Amazon writes them."""
_VARIANT = re.compile(r":(?:latest|free|nitro|floor|online|extended|exacto)$|-v\d:\d$")
"""OpenRouter's, Ollama's and Amazon's. Ollama's other tags are sizes, and so other models."""
_NO_DIGITS = re.compile("[^0-9]+")
_MONTH, _DAY = "(?:0[1-9]|1[0-2])", "(?:0[1-9]|[12][0-9]|3[01])"
_DATE = re.compile(
    "(?<=[^-])-(?:latest"
    f"|20[0-9]{{2}}-?{_MONTH}-?{_DAY}"  # OpenAI, Anthropic
    f"|{_MONTH}{_DAY}|2[3-9]{_MONTH}"  # gpt-4-0613, grok-4-0709; mistral-large-2411
    f"|(?<=preview-){_MONTH}-(?:{_DAY}|20[0-9]{{2}})|(?<=exp-){_MONTH}-{_DAY}"  # Gemini
    "|00[0-9])$",  # gemini-2.0-flash-001
    re.ASCII,
)
