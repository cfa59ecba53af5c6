"""Messages owed to channels: which, why, in what words, and what follows an attempt to send.

The text is fixed when the alert is decided, so that a duplicate after a crash is the same
message with the same reference, and so that an alert needs no database to be sent.
"""

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import tzinfo

from monitor.core.instant import DAY, MINUTE, SECOND, Instant, Span, as_datetime, say
from monitor.core.outcome import Blame, Outcome


class Kind(enum.StrEnum):
    """Why a message is owed. The first five are what a channel subscribes to with `on`."""

    DOWN = "down"
    DEGRADED = "degraded"
    CONFIG = "config"
    MONITOR = "monitor"
    REMINDER = "reminder"
    RECOVERED = "recovered"
    CONFIG_RECOVERED = "config_recovered"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Route:
    """A channel, and the kinds that it wants."""

    channel: str
    on: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What the words need to know of an endpoint."""

    id: str
    provider: str
    """The provider's name for people."""
    model: str
    """What people call it: the model, or the name of a plain check, unless another is said."""
    link: str | None = None
    """The endpoint's page; None if the site has no URL."""
    status_page: str | None = None
    timezone: tzinfo | None = None
    reports: bool = False
    """It is not asked, but reports by itself."""

    @property
    def title(self) -> str:
        return f"{self.provider} {self.model}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One message for one channel. (`incident`, `sequence`, `channel`) is its delivery key."""

    incident: str
    sequence: int
    channel: str
    kind: Kind
    endpoint: str | None
    title: str
    text: str
    created: Instant

    @property
    def reference(self) -> str:
        return f"[{self.incident}#{self.sequence}]"

    @property
    def key(self) -> str:
        return f"{self.incident}#{self.sequence}@{self.channel}"


@dataclass(frozen=True, slots=True)
class Message:
    title: str
    lines: tuple[str, ...]


def owed(
    message: Message,
    *,
    incident: str,
    sequence: int,
    kind: Kind,
    endpoint: str | None,
    channels: Iterable[str],
    at: Instant,
) -> tuple[Alert, ...]:
    """The same message for each of `channels`, its reference as the last line."""
    text = "\n".join((*message.lines, f"[{incident}#{sequence}]"))
    return tuple(
        Alert(
            incident=incident,
            sequence=sequence,
            channel=channel,
            kind=kind,
            endpoint=endpoint,
            title=message.title,
            text=text,
            created=at,
        )
        for channel in channels
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Usual:
    """Medians of the last good looks, for the line that says what was normal before."""

    ttft_ms: float | None = None
    output_speed: float | None = None
    total_ms: float | None = None

    def words(self) -> str | None:
        if self.ttft_ms is not None:
            speed = "" if self.output_speed is None else f", {self.output_speed:,.0f} tokens/s"
            return f"first token {self.ttft_ms:,.0f} ms{speed}"
        if self.total_ms:  # 0: a report that states no duration
            return f"answer in {self.total_ms:,.0f} ms"
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known when a message is composed."""

    began: Instant
    """When the incident began."""
    since: Instant
    """When the state that is told of began."""
    now: Instant
    reason: str
    outcome: Outcome | None = None
    usual: Usual = Usual()
    measured: Usual = Usual()
    """The same figures of the newest working look."""
    request_id: str | None = None


_WHOSE = {
    Blame.PROVIDER: "the provider",
    Blame.DEGRADED: "the provider",
    Blame.THROTTLED: "the provider limits our rate",
    Blame.CONFIG: "ours: key, credit or configuration",
    Blame.MONITOR: "the monitor itself",
}

_ADVICE = {
    Kind.DOWN: "Route traffic to another provider, and give theirs the request id if you open a ticket.",
    Kind.DEGRADED: "Watch it, and prefer another provider for what must be fast.",
    Kind.CONFIG: "Mend it here; nobody else will. Until then this endpoint is not being watched.",
}

_ADVICE_OF_REPORTS = "Look whether it runs, at what it logs, and whether it reaches this monitor."

_SPECIAL_ADVICE = {
    Outcome.TLS_FAILURE: "Look at the server's certificate; a private one needs its CA in ca_file.",
    Outcome.CERTIFICATE_EXPIRING: "Have the certificate renewed before it runs out.",
    Outcome.RATE_LIMITED: "Probe less often or ask for more quota, and look who else uses this key.",
    Outcome.WRONG_ANSWER: "Look at what it answers, and whether `expect.answer` asks for too much.",
    Outcome.MODEL_SWAPPED: "Ask the provider which model this is; if it is right, name it in `expect.model`.",
}
"""Where the usual advice would miss the point."""


def alarm(kind: Kind, subject: Subject, facts: Facts) -> Message:
    """Down, degraded or a mistake of ours: what happened, since when, whose fault, what to do."""
    words = {Kind.DOWN: "DOWN", Kind.DEGRADED: "DEGRADED", Kind.CONFIG: "NEEDS YOU"}[kind]
    state = {
        Kind.DOWN: "is down",
        Kind.DEGRADED: "is degraded",
        Kind.CONFIG: "cannot be watched",
    }[kind]
    lines = [
        f"{subject.id} {state} since {clock(facts.since, subject.timezone)} ({_for(facts)}).",
        *_beginning(facts, subject),
        f"What: {facts.reason}",
        *_figures(facts),
        *_blame(facts, subject),
        f"Do: {_advice(kind, facts.outcome, subject)}",
    ]
    return Message(f"{words}: {subject.title}", _closed_by_link(lines, subject))


def _advice(kind: Kind, outcome: Outcome | None, subject: Subject) -> str:
    if subject.reports and kind is not Kind.CONFIG:
        return _ADVICE_OF_REPORTS
    special = None if kind is Kind.CONFIG or outcome is None else _SPECIAL_ADVICE.get(outcome)
    return special or _ADVICE[kind]


def still(subject: Subject, facts: Facts, state: str) -> Message:
    """A reminder of an incident that goes on."""
    lines = [
        f"{subject.id} is still {state}, since {clock(facts.since, subject.timezone)} ({_for(facts)}).",
        *_beginning(facts, subject),
        f"What: {facts.reason}",
        *_blame(facts, subject),
        f"Do: {_advice(Kind(state), facts.outcome, subject)}",
    ]
    return Message(
        f"STILL {state.upper()}: {subject.title}, for {_for(facts)}", _closed_by_link(lines, subject)
    )


def recovered(subject: Subject, facts: Facts, ended: Instant) -> Message:
    """The all-clear; it says how long it lasted."""
    lasted = say(max(0, ended - facts.began))
    measured = facts.measured.words()
    usual = facts.usual.words()
    lines = [
        f"{subject.id} works again since {clock(ended, subject.timezone)}. It lasted {lasted}.",
        f"It was: {facts.reason}",
    ]
    if measured:
        lines.append(f"Now: {measured}" + (f" (before: {usual})" if usual else ""))
    return Message(f"RECOVERED: {subject.title}, after {lasted}", _closed_by_link(lines, subject))


def mended(subject: Subject, facts: Facts, ended: Instant) -> Message:
    """The all-clear of a mistake of ours."""
    lasted = say(max(0, ended - facts.began))
    lines = [
        f"{subject.id} can be watched again since {clock(ended, subject.timezone)}. It lasted {lasted}.",
        f"It was: {facts.reason}",
    ]
    return Message(f"MENDED: {subject.title}, after {lasted}", _closed_by_link(lines, subject))


def closed(subject: Subject, facts: Facts, why: str) -> Message:
    """An incident that ends for a reason other than recovery."""
    lines = [
        f"The incident of {subject.id}, open since {clock(facts.began, subject.timezone)}, is closed: {why}.",
        f"It was: {facts.reason}",
    ]
    return Message(f"CLOSED: {subject.title}", _closed_by_link(lines, subject))


def withdrawn(subject: Subject, facts: Facts, why: str) -> Message:
    """An alarm that is taken back: it was we who could not see."""
    since = clock(facts.began, subject.timezone)
    lines = [
        f"The alarm about {subject.id} of {since} is withdrawn: how it stands is unknown.",
        f"Why: {why}.",
        f"It was: {facts.reason}",
    ]
    return Message(f"WITHDRAWN: {subject.title}", _closed_by_link(lines, subject))


def clock(moment: Instant, timezone: tzinfo | None) -> str:
    """`2026-11-21 23:00 CET`, in the site's zone."""
    local = as_datetime(moment)
    if timezone is not None:
        local = local.astimezone(timezone)
    return local.strftime("%Y-%m-%d %H:%M:%S ") + (local.tzname() or "UTC")


def _for(facts: Facts) -> str:
    return say(max(0, facts.now - facts.since))


def _beginning(facts: Facts, subject: Subject) -> list[str]:
    """Where the state is younger than the incident, or older than what we had to say of it."""
    began = clock(facts.began, subject.timezone)
    if facts.began < facts.since:
        return [f"The incident began {began} ({say(max(0, facts.now - facts.began))})."]
    if facts.began > facts.since:
        return [f"Maintenance or a pause kept it quiet until {began}."]
    return []


def _figures(facts: Facts) -> list[str]:
    measured, usual = facts.measured.words(), facts.usual.words()
    lines = []
    if measured and facts.outcome is not None and facts.outcome.works:
        lines.append(f"Now: {measured}")
    if usual:
        lines.append(f"Before: {usual}")
    return lines


def _blame(facts: Facts, subject: Subject) -> list[str]:
    blame = facts.outcome.blame if facts.outcome is not None else Blame.PROVIDER
    lines = [f"Whose: {_WHOSE[blame or Blame.PROVIDER]}"]
    if blame is not Blame.CONFIG and subject.status_page:
        lines[0] += f" (their page: {subject.status_page})"
    if facts.request_id:
        lines.append(f"Request id: {facts.request_id}")
    return lines


def _closed_by_link(lines: list[str], subject: Subject) -> tuple[str, ...]:
    return (*lines, subject.link) if subject.link else tuple(lines)


# What follows an attempt

GIVE_UP_AFTER = DAY
POISON_AFTER = 5
_LONGEST_WAIT = Span(15 * MINUTE)


class Fate(enum.StrEnum):
    SENT = "sent"
    LATER = "later"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Settled:
    """What follows an attempt; `again` only with LATER."""

    fate: Fate
    again: Instant | None = None


def settle(*, created: Instant, attempts: int, sent: bool, others_passed: bool, now: Instant) -> Settled:
    """Decide after the `attempts`-th attempt of a message that was owed since `created`.

    Waits 5 s, then twice as long each time up to 15 minutes, for 24 hours. A message that
    failed 5 times while others passed on the same channel is poison: it holds up no longer.
    """
    if sent:
        return Settled(Fate.SENT)
    if others_passed and attempts >= POISON_AFTER:
        return Settled(Fate.DEAD)
    wait = min(_LONGEST_WAIT, 5 * SECOND * 2 ** min(attempts - 1, 10))
    if now + wait - created > GIVE_UP_AFTER:
        return Settled(Fate.DEAD)
    return Settled(Fate.LATER, Instant(now + wait))


def as_one(backlog: Sequence[Alert], timezone: tzinfo | None) -> tuple[str, str]:
    """Title and text for several messages of one incident that go out late, together.

    The newest comes first and gives the title; the reference of the newest stays last. `timezone`
    is the site's.
    """
    newest = backlog[-1]
    if len(backlog) == 1:
        return newest.title, newest.text
    body, reference = newest.text.rsplit("\n", 1)
    earlier = [f"- {clock(alert.created, timezone)} {alert.title}" for alert in backlog[:-1]]
    return newest.title, "\n".join((body, "Delayed; not delivered in time:", *earlier, reference))
