"""How endpoints stand, and the incidents they had, in words and tables."""

from collections.abc import Iterable
from datetime import tzinfo

from monitor.cli import printing
from monitor.cli.printing import NOTHING, Cell, Column, Ink, figure, ms, percent, speed
from monitor.core.alert import clock
from monitor.core.identity import Event
from monitor.core.instant import SECOND, Instant, say
from monitor.core.integrity import words
from monitor.core.snapshot import EndpointSnapshot, Shown, Snapshot, Story
from monitor.core.step import Result
from monitor.core.uptime import Distribution, Window, WindowFigures

_QUIET = (Shown.UP, Shown.PAUSED, Shown.MAINTENANCE)


def show_all(snapshot: Snapshot) -> None:
    """A row for each endpoint, and beneath the reasons of those that are not well."""
    if not snapshot.endpoints:
        printing.line("No endpoint is configured: add [[provider.NAME.endpoints]] to config.toml.")
        return
    printing.table(
        (
            Column("endpoint", folds=True),
            Column("state"),
            Column("for", right=True),
            *(Column(title, right=True) for title in ("1h %", "24h %", "p50 ms", "p95 ms", "tok/s")),
        ),
        [_row(one, snapshot.now) for one in snapshot.endpoints],
    )
    unwell = [one for one in snapshot.endpoints if one.state not in _QUIET]
    if unwell:
        printing.line()
    for one in unwell:
        printing.line(printing.state(one.state), f"  {one.id}: {one.standing.reason}")


def _row(one: EndpointSnapshot, now: Instant) -> tuple[Cell, ...]:
    day = one.windows[Window.H24]
    latency = latency_of(day)
    return (
        one.id,
        printing.state(one.state),
        _briefly(one, now),
        percent(one.windows[Window.H1].uptime),
        percent(day.uptime),
        figure(latency.p50),
        figure(latency.p95),
        figure(day.output_speed.p50),
    )


def latency_of(figures: WindowFigures) -> Distribution:
    """Up to the first token; of what has no tokens, the whole answer."""
    return figures.ttft_ms if figures.ttft_ms.n else figures.total_ms


def _lasting(one: EndpointSnapshot, now: Instant) -> str:
    since = one.standing.since
    return NOTHING if since is None else say(max(0, now - since))


def _briefly(one: EndpointSnapshot, now: Instant) -> str:
    """The same in its largest unit alone: `3 h`."""
    return " ".join(_lasting(one, now).split()[:2])


# One endpoint


def show_one(snapshot: Snapshot, events: Iterable[Event] = ()) -> None:
    """All that is known of the only endpoint in it, and who answered lately."""
    (one,) = snapshot.endpoints
    zone = snapshot.site.timezone
    listing = one.listing
    printing.line(Ink(one.id, "bold"), f"  {listing.provider_name}, {listing.name} ({listing.protocol})")
    since = one.standing.since
    lasting = "" if since is None else f" for {_lasting(one, snapshot.now)}, since {clock(since, zone)}"
    printing.line(printing.state(one.state), lasting)
    printing.line(f"  {one.standing.reason}")
    waits = one.standing.throttled_until
    if waits is not None:
        printing.line(f"  throttled; next look after {clock(waits, zone)}")
    printing.line()
    spoken = any(figures.ttft_ms.n for figures in one.windows.values())
    printing.table(
        (
            Column("window"),
            *(Column(title, right=True) for title in ("uptime %", "strict %", "coverage %", "due", "down")),
            Column("ttft p50 ms" if spoken else "total p50 ms", right=True),
            *(Column(title, right=True) for title in ("p95 ms", "tok/s")),
        ),
        [_window_row(which, figures) for which, figures in one.windows.items()],
    )
    if one.last_probe is not None:
        printing.line()
        _print_last(one.last_probe, zone)
    if one.headroom is not None:
        printing.line(f"limits      {clock(one.headroom.at, zone)}: {one.headroom.words()}")
    _print_streams(one)
    _print_events(events, zone)
    open_ = [story for story in snapshot.open_incidents if one.id in story.endpoints]
    if open_:
        printing.line()
        show_stories(open_, snapshot.now, zone)


def _window_row(which: Window, figures: WindowFigures) -> tuple[Cell, ...]:
    latency = latency_of(figures)
    return (
        str(which),
        percent(figures.uptime),
        percent(figures.strict_uptime),
        percent(figures.coverage),
        f"{figures.due:,}",
        say(round(figures.down_s * SECOND)) if figures.down_s else NOTHING,
        figure(latency.p50),
        figure(latency.p95),
        figure(figures.output_speed.p50),
    )


def _print_last(probe: Result, zone: tzinfo) -> None:
    figures = probe.figures
    told = [str(probe.outcome)]
    if figures.ttft_ms is not None:
        told.append(f"first token {ms(figures.ttft_ms)}")
    if figures.output_speed is not None:
        told.append(speed(figures.output_speed))
    told.append(f"total {ms(figures.total_ms)}")
    printing.line(f"last probe  {clock(probe.at, zone)}: {', '.join(told)}")
    if probe.detail:
        printing.line(f"            {probe.detail}")


def _print_streams(one: EndpointSnapshot) -> None:
    """Those that were not whole; nothing where all were."""
    flawed = [
        (which, figures.integrity) for which, figures in one.windows.items() if figures.integrity.flawed
    ]
    if one.listing.model is None or not flawed:
        return
    printing.line()
    for place, (which, found) in enumerate(flawed):
        title = "streams" if place == 0 else ""
        printing.line(f"{title:10}  {which}: {words(found.flawed)}, of {found.streams:,}")


def _print_events(events: Iterable[Event], zone: tzinfo) -> None:
    for place, event in enumerate(events):
        if place == 0:
            printing.line()
        title = "answered by" if place == 0 else ""
        printing.line(f"{title:11} {clock(event.at, zone)}  {event.kind}: {event.text}")


# Incidents


def show_stories(stories: Iterable[Story], now: Instant, zone: tzinfo) -> None:
    """Each with its updates, one line each."""
    known = list(stories)
    if not known:
        printing.line("No incident.")
    for place, story in enumerate(known):
        if place:
            printing.line()
        _print_story(story, now, zone)


def _print_story(story: Story, now: Instant, zone: tzinfo) -> None:
    ended = story.ended_at
    lasted = say(max(0, (now if ended is None else ended) - story.started_at))
    verdict = Ink("open", "bold red") if ended is None else Ink("over", "green")
    printing.line(
        verdict, "  ", printing.state(story.impact), "  ", Ink(story.title, "bold"), f"  [{story.id}]"
    )
    span = f"since {clock(story.started_at, zone)}, for {lasted}"
    if ended is not None:
        span = f"{clock(story.started_at, zone)} to {clock(ended, zone)}, {lasted}"
    printing.line(f"  {', '.join(story.endpoints)}: {span}")
    for told in story.updates:
        printing.line(f"  {clock(told.at, zone)}  {told.status}: {told.text}")
