"""Numbers and moments as people read them. What is not known is a dash, never a 0."""

from collections.abc import Iterable, Mapping
from datetime import date, datetime, tzinfo
from decimal import Decimal

from monitor.core import integrity, overload
from monitor.core.budget import Price
from monitor.core.instant import DAY, Instant, as_datetime, say
from monitor.core.integrity import Integrity
from monitor.core.snapshot import EndpointSnapshot, Listing, Shown, Snapshot

NOTHING = "–"

STATES: Mapping[Shown, str] = {
    Shown.UP: "Up",
    Shown.DEGRADED: "Degraded",
    Shown.DOWN: "Down",
    Shown.UNKNOWN: "Unknown",
    Shown.MAINTENANCE: "Maintenance",
    Shown.PAUSED: "Paused",
}

WORST_FIRST = (Shown.DOWN, Shown.DEGRADED, Shown.UNKNOWN, Shown.MAINTENANCE, Shown.PAUSED, Shown.UP)


# Numbers


def share(percentage: float | None) -> str:
    """`99.93`, `100`. It was cut to two decimals where it was computed, never rounded up."""
    if percentage is None:
        return NOTHING
    return f"{percentage:.0f}" if percentage == int(percentage) else f"{percentage:.2f}"


def percent(percentage: float | None) -> str:
    """`99.93 %`."""
    return NOTHING if percentage is None else f"{share(percentage)} %"


def milliseconds(value: float | None) -> str:
    """`0.42 ms`, `8.2 ms`, `628 ms`, `1.23 s`, `12.3 s`."""
    if value is None:
        return NOTHING
    if value < 1:
        return f"{value:.2f} ms"
    if value < 9.95:
        return f"{value:.1f} ms"
    if value < 999.5:
        return f"{value:.0f} ms"
    return f"{value / 1000:.2f} s" if value < 9_995 else f"{value / 1000:,.1f} s"


def speed(value: float | None) -> str:
    """Tokens a second, without the unit."""
    if value is None:
        return NOTHING
    return f"{value:.1f}" if value < 9.95 else f"{value:,.0f}"


def count(number: int | None) -> str:
    return NOTHING if number is None else f"{number:,}"


def lasting(length: float | None) -> str:
    """Microseconds as `3 d 4 h`."""
    return NOTHING if length is None else say(max(0, int(length)))


def seconds(length: float | None) -> str:
    """Seconds in one unit, for a narrow column: `43 s`, `18 min`, `1.6 h`, `3.2 d`."""
    if length is None:
        return NOTHING
    if length < 60:
        return f"{length:.0f} s"
    if length < 3_600:
        return f"{length / 60:.0f} min"
    return f"{length / 3_600:.1f} h" if length < 172_800 else f"{length / 86_400:.1f} d"


def flawed(found: Integrity) -> str:
    """`3 truncated, 1 burst, of 412`; empty where every stream was whole."""
    return f"{integrity.words(found.flawed)}, of {found.streams:,}" if found.flawed else ""


def spaced(name: str) -> str:
    """A name of ours as people write it: `keep alive only`."""
    return name.replace("_", " ")


def dollars(amount: Decimal | None) -> str:
    return NOTHING if amount is None else f"${amount:f}"


def price(said: Price | None) -> str:
    """`$0.10 in, $0.40 out` per million tokens."""
    if said is None:
        return NOTHING
    parts = [f"{dollars(said.input)} in", f"{dollars(said.output)} out"]
    if said.cache_read is not None:
        parts.append(f"{dollars(said.cache_read)} cached")
    return " · ".join(parts)


def plural(number: int, one: str, many: str) -> str:
    """`1 endpoint`, `7 endpoints`."""
    return f"{number:,} {one if number == 1 else many}"


# Moments


def local(moment: Instant, timezone: tzinfo) -> datetime:
    return as_datetime(moment).astimezone(timezone)


def clock(moment: Instant, timezone: tzinfo) -> str:
    """`14:03:21`."""
    return local(moment, timezone).strftime("%H:%M:%S")


def moment(at: Instant, timezone: tzinfo) -> str:
    """`22 Nov 2026, 14:03:21 CET`."""
    here = local(at, timezone)
    return f"{here.day} {here:%b %Y, %H:%M:%S} {here.tzname() or 'UTC'}"


def short(at: Instant, now: Instant, timezone: tzinfo) -> str:
    """`14:03` today, `22 Nov, 14:03` within half a year, else `22 Nov 2025`."""
    here = local(at, timezone)
    if here.date() == local(now, timezone).date():
        return f"{here:%H:%M}"
    if now - at < 180 * DAY:
        return f"{here.day} {here:%b, %H:%M}"
    return day(here.date())


def day(when: date) -> str:
    """`22 Nov 2026`."""
    return f"{when.day} {when:%b %Y}"


# Sentences


def called(listing: Listing) -> str:
    """Its name; of an `also`, which bears that of its sibling, with its protocol: `gpt-x over anthropic`."""
    return listing.called or listing.name


def worst(endpoints: Iterable[EndpointSnapshot]) -> Shown:
    """The state that stands for all of them; what is paused or under maintenance counts last."""
    states = {one.state for one in endpoints}
    return next((state for state in WORST_FIRST if state in states), Shown.UNKNOWN)


def overall(snapshot: Snapshot) -> Shown:
    """The state of the whole site. Nobody who is silent vouches for anything."""
    known = worst(snapshot.endpoints)
    if known in (Shown.DOWN, Shown.DEGRADED) or not snapshot.stale:
        return known
    return Shown.UNKNOWN


def headline(snapshot: Snapshot) -> str:
    """How things are, in one sentence."""
    total = len(snapshot.endpoints)
    if not total:
        return "Nothing is watched yet"
    state = overall(snapshot)
    number = sum(one.state is state for one in snapshot.endpoints)
    if state is Shown.UNKNOWN:
        if snapshot.stale or number == total:
            return "The state of things is unknown"
        return f"{_some(number, total)} unknown, nothing else is wrong"
    if state in (Shown.DOWN, Shown.DEGRADED):
        return f"{_some(number, total)} {state}"
    return _all_well(snapshot, total)


def _some(number: int, total: int) -> str:
    if total == 1:
        return "The only endpoint is"
    if number == total:
        return f"All {total:,} endpoints are"
    return f"{number:,} of {total:,} endpoints {'is' if number == 1 else 'are'}"


def _all_well(snapshot: Snapshot, total: int) -> str:
    up = sum(one.state is Shown.UP for one in snapshot.endpoints)
    if up == total:
        return f"{_some(total, total)} up"
    hushed = "under maintenance or paused"
    return (
        f"{_some(total - up, total)} {hushed}, nothing is wrong" if up else f"{_some(total, total)} {hushed}"
    )


def subline(snapshot: Snapshot) -> str:
    """What the headline leaves out; empty where that is nothing."""
    state = overall(snapshot)
    parts = []
    if state in (Shown.DOWN, Shown.DEGRADED):
        named = [f"{one.listing.provider_name} {called(one.listing)}" for one in _in(snapshot, state)]
        parts.append(_enumeration(named))
    others = {Shown.DOWN: (Shown.DEGRADED, Shown.UNKNOWN), Shown.DEGRADED: (Shown.UNKNOWN,)}.get(state, ())
    for other in others:
        number = len(_in(snapshot, other))
        if number:
            parts.append(f"{number:,} {other}")
    return " · ".join(parts)


def _in(snapshot: Snapshot, state: Shown) -> list[EndpointSnapshot]:
    return [one for one in snapshot.endpoints if one.state is state]


def _enumeration(names: list[str]) -> str:
    if len(names) > 4:
        return f"{', '.join(names[:3])} and {len(names) - 3:,} more"
    return ", ".join(names)


def tally(endpoints: Iterable[EndpointSnapshot]) -> list[tuple[Shown, int]]:
    """How many are in which state, worst first."""
    states = [one.state for one in endpoints]
    return [(state, states.count(state)) for state in WORST_FIRST if state in states]


def policy(said: Mapping[str, bool | str | None] | None) -> list[str]:
    """What a provider says that it does with prompts, as short sentences."""
    if said is None:
        return []
    training, logging, moderation = (said.get(k) for k in ("prompt_training", "prompt_logging", "moderation"))
    out = []
    if training is not None:
        out.append("prompts train models" if training else "no training on prompts")
    if logging:
        out.append(f"logging: {logging}")
    if moderation:
        out.append(f"moderation: {moderation}")
    return out


# The monitor itself


def too_busy(snapshot: Snapshot) -> str | None:
    """What operators must know of a monitor that cannot time well; None: it can, or nobody vouches for it."""
    heartbeat = snapshot.heartbeat
    return None if heartbeat is None or snapshot.stale else overload.warning(heartbeat.status)


def in_passing(snapshot: Snapshot) -> str | None:
    """How well the monitor keeps up, on a quiet line; None where that is not known, or not for everybody."""
    heartbeat = snapshot.heartbeat
    load = None if heartbeat is None or snapshot.stale else overload.from_status(heartbeat.status)
    return None if load is None else overload.in_passing(load) or None
