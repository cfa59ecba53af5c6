"""Sends what is owed, from the outbox, through Apprise.

Each channel has a line of its own, so a dead one delays no other. In a line each incident
keeps its order; a message that fails waits without holding up other incidents. A message is
marked after it was sent: at least once, never silently zero.
"""

import asyncio
import contextlib
import logging
import re
import sys
import threading
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import tzinfo
from typing import TYPE_CHECKING, Literal, Protocol

import structlog

from monitor.core.alert import Alert, Fate, Kind, Message, Settled, as_one, owed, settle
from monitor.core.belief import incident_id
from monitor.core.instant import Instant
from monitor.core.step import Owed, Sent, Step
from monitor.logs import HIDDEN, redact

if TYPE_CHECKING:
    import apprise

log = structlog.get_logger()

SEND_S = 10.0
"""A service gets this long to answer; then the message is tried again later."""
MOST_HANGING = 3
"""Threads of a channel that may hang in a service at the same time."""
LOOK_AGAIN_S = 1.0
SUSPICIONS = 3
"""A message is poison only if so often others got through between two of its failures."""
GONE = "this channel is no longer configured"
SHORTEST_KEY = 8
"""Characters."""

Tone = Literal["info", "success", "warning", "failure"]
"""What a service makes a colour of, in Apprise's words."""
_TONES: Mapping[Kind, Tone] = {
    Kind.DOWN: "failure",
    Kind.CONFIG: "failure",
    Kind.DEGRADED: "warning",
    Kind.REMINDER: "warning",
    Kind.MONITOR: "warning",
    Kind.RECOVERED: "success",
    Kind.CONFIG_RECOVERED: "success",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """How one attempt went; `error` is for a person and holds no secret."""

    sent: bool
    error: str | None = None


class Send(Protocol):
    """Title and text out of the door; blocking, runs in a thread of its own."""

    def __call__(self, title: str, text: str, tone: Tone = "info") -> Delivery: ...


def readable(url: str) -> str | None:
    """Why Apprise cannot read a channel's URL; None if it can."""
    return None if _service(url) is not None else "is not a URL that Apprise can read"


def shown(url: str) -> str:
    """A channel's service and host, for people: `Slack, slack://T...2/…`. What is secret is masked."""
    service = _service(url)
    if service is None:
        return "is not a URL that Apprise can read"
    one = service[0]
    scheme, _, rest = str(one.url(privacy=True)).partition("://")  # type: ignore[no-untyped-call]
    # Apprise masks what it knows to be a key; a path may hold one that it does not know of.
    host, slash, _ = rest.partition("?")[0].rpartition("@")[2].partition("/")
    return f"{one.service_name}, {scheme}://{host}{slash and '/…'}"


def channel(url: str) -> Send:
    """The way out to one channel. Raises ValueError if Apprise cannot read the URL."""
    service = _service(url)
    if service is None:
        raise ValueError("is not a URL that Apprise can read")

    def send(title: str, text: str, tone: Tone = "info") -> Delivery:
        with _listening() as heard:
            result = service.notify(title=title, body=text, body_format="text", notify_type=tone)
        if bool(result):
            return Delivery(sent=True)
        why = heard[-1] if heard else "the service did not accept it"
        return Delivery(sent=False, error=_without_secrets(why, url, service)[:300])

    return send


def _without_secrets(text: str, url: str, service: "apprise.Apprise") -> str:
    """Any longer part of a channel's URL may be a key, but for the host."""
    parts = set(re.split(r"[/:@?&=#]+", url)) - {service[0].host}
    for part in sorted(parts, key=len, reverse=True):
        if len(part) >= SHORTEST_KEY:
            text = text.replace(part, HIDDEN)
    return redact(text)


def _service(url: str) -> "apprise.Apprise | None":
    import apprise

    _console()
    # Without a limit of its own Apprise runs the service in our thread. With one it uses a pool
    # that all channels share, and a few hanging services would silence every channel.
    asset = apprise.AppriseAsset(
        app_id="Uptoken",
        app_desc="Uptoken",
        service_timeout=0,
        allow_templates=False,
        image_url_mask="",  # its own logo, from the internet
        image_url_logo="",
    )
    one = apprise.Apprise(asset=asset)
    with _listening():
        if not one.add(url) or len(one) != 1:
            return None
    if "overflow=" not in url:
        # A service that finds a message too long would refuse it for ever: rather two parts.
        one[0].overflow_mode = apprise.OverflowMode.SPLIT
    return one


_console_known = threading.Event()


def _console() -> None:
    """`console://` prints to the daemon's terminal, or is an event in its log."""
    if _console_known.is_set():
        return
    _console_known.set()
    from apprise.decorators import notify

    @notify(on="console", name="Console")  # type: ignore[no-untyped-call, untyped-decorator]
    def _(body: str, title: str, *_args: object, **_kwargs: object) -> bool:
        if sys.stderr.isatty():
            width = max(len(title), *(len(line) for line in body.splitlines()), 20)
            rule = "-" * min(width, 78)
            sys.stderr.write(f"\n{rule}\n{title}\n{body}\n{rule}\n\n")
            sys.stderr.flush()
        else:
            log.warning("alert.console", title=title, text=body)
        return True


@contextlib.contextmanager
def _listening() -> Iterator[list[str]]:
    """What Apprise logs in this thread while sending: the only place where it says why."""
    heard: list[str] = []
    here = threading.get_ident()

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.thread == here:
                heard.append(record.getMessage())

    ear = Ear(logging.WARNING)
    logger = logging.getLogger("apprise")
    logger.addHandler(ear)
    try:
        yield heard
    finally:
        logger.removeHandler(ear)


@dataclass(slots=True)
class _Doubt:
    """Whether it is the service that fails, or one message that it does not take."""

    balance: int = 0
    """How many messages of other incidents passed since the newest failure, less those that failed. A
    service that takes a few of a hundred and refuses the rest would otherwise cost us the rest.
    """
    suspicions: int = 0
    """Between how many failures that was more than none, but for those since the newest."""

    def failed_again(self) -> None:
        self.suspicions += self.balance > 0
        self.balance = 0


@dataclass(slots=True)
class _Line:
    """What one channel is owed."""

    name: str
    send: Send
    owed: dict[str, list[Owed]] = field(default_factory=dict)
    """By incident, in order."""
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    hanging: int = 0
    passed: int = 0
    """Messages that went through."""
    doubts: dict[str, _Doubt] = field(default_factory=dict)
    """By incident, of those whose first message failed."""

    def take(self, message: Owed) -> None:
        self.owed.setdefault(message.alert.incident, []).append(message)
        self.wake.set()

    def others_pass(self, incident: str) -> bool:
        """The channel works, and this message, should it have failed again, is what it does not take."""
        doubt = self.doubts.get(incident)
        return doubt is not None and doubt.suspicions + (doubt.balance > 0) >= SUSPICIONS

    def settle(self, batch: list[Owed], settled: Settled, attempts: int) -> None:
        """`batch` are the first of their incident."""
        incident = batch[0].alert.incident
        rest = self.owed.pop(incident)[len(batch) :]
        passed = settled.fate is Fate.SENT
        self.passed += passed
        for other, doubt in self.doubts.items():
            if other != incident:
                doubt.balance += 1 if passed else -1
        if settled.fate is not Fate.LATER:
            self.doubts.pop(incident, None)
        else:
            self.doubts.setdefault(incident, _Doubt()).failed_again()
            rest = [replace(message, attempts=attempts, again=settled.again) for message in batch] + rest
        if rest:
            self.owed[incident] = rest


@dataclass(slots=True)
class Tally:
    sent: int = 0
    failed: int = 0
    dead: int = 0


class Notifier:
    """One task per channel. What became of a message goes back through the writer."""

    def __init__(
        self,
        channels: Mapping[str, Send],
        *,
        reports: Collection[str],
        put: Callable[[Step], None],
        keep: Callable[[Step], Awaitable[None]],
        now: Callable[[], Instant],
        timezone: tzinfo | None = None,
        send_s: float = SEND_S,
    ) -> None:
        """`reports` are the channels that want to hear of the monitor's own troubles. `put` hands a
        step to the writer, `keep` also waits until it is durable. `timezone` is the site's.
        """
        self._lines = {name: _Line(name, send) for name, send in channels.items()}
        self._reports = reports
        self._put = put
        self._keep = keep
        self._now = now
        self._timezone = timezone
        self._send_s = send_s
        self.tasks: list[asyncio.Task[None]] = []
        """They never end; one that does has failed."""
        self._attempted = asyncio.Event()
        self.tally = Tally()

    @property
    def waiting(self) -> int:
        return sum(len(queue) for line in self._lines.values() for queue in line.owed.values())

    def accept(self, messages: Sequence[Owed]) -> None:
        """These are durable and owed. A channel that is no longer configured gives them up."""
        orphans: dict[str, list[Owed]] = {}
        for message in messages:
            line = self._lines.get(message.alert.channel)
            if line is None:
                orphans.setdefault(message.alert.channel, []).append(message)
            else:
                line.take(message)
        for channel, lost in orphans.items():
            self._give_up(channel, lost)

    def start(self) -> None:
        self.tasks = [asyncio.create_task(self._work(line)) for line in self._lines.values()]

    async def stop(self, patience_s: float) -> None:
        """Give what is due a moment to go out; the rest is owed by the next daemon."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                while self._due_at_all():
                    self._attempted.clear()
                    await self._attempted.wait()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def _due_at_all(self) -> bool:
        now = self._now()
        return any(_due(line, now) for line in self._lines.values())

    async def _work(self, line: _Line) -> None:
        while True:
            batch = _due(line, self._now())
            if batch is None or line.hanging >= MOST_HANGING:
                line.wake.clear()
                # `wait_for` would forget that we were cancelled, if we were woken in the same moment.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_AGAIN_S):
                        await line.wake.wait()
                continue
            delivery = await self._send(line, [message.alert for message in batch])
            # Durable before the next one leaves: a crash can repeat one message, not several.
            await asyncio.gather(*map(self._keep, self._settle(line, batch, delivery)))
            self._attempted.set()

    async def _send(self, line: _Line, backlog: Sequence[Alert]) -> Delivery:
        """In a daemon thread: one that hangs must not keep the process from ending."""
        title, text = as_one(backlog, self._timezone)
        tone = _TONES.get(backlog[-1].kind, "info")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Delivery] = loop.create_future()

        def finish(delivery: Delivery) -> None:
            line.hanging -= 1
            if not done.done():
                done.set_result(delivery)

        def work() -> None:
            try:
                delivery = line.send(title, text, tone)
            except Exception as error:  # noqa: BLE001 - a service's bug is a failed delivery, not ours
                delivery = Delivery(sent=False, error=f"the service failed with {type(error).__name__}")
            with contextlib.suppress(RuntimeError):  # the loop ended before the service did
                loop.call_soon_threadsafe(finish, delivery)

        line.hanging += 1
        threading.Thread(target=work, name=f"channel {line.name}", daemon=True).start()
        try:
            async with asyncio.timeout(self._send_s):
                return await done
        except TimeoutError:
            return Delivery(sent=False, error=f"no answer within {self._send_s:g} s; it may still arrive")

    def _settle(self, line: _Line, batch: list[Owed], delivery: Delivery) -> list[Step]:
        """What follows from an attempt: in the line at once, and as steps for the writer."""
        now = self._now()
        first = batch[0]
        attempts = first.attempts + 1
        settled = settle(
            created=first.alert.created,
            attempts=attempts,
            sent=delivery.sent,
            others_passed=line.others_pass(first.alert.incident),
            now=now,
        )
        line.settle(batch, settled, attempts)
        self._tell(line, batch, settled.fate, delivery, attempts)
        if settled.fate is Fate.DEAD:
            return self._dead(line.name, batch, attempts, delivery.error or "no reason given")
        return [
            Step(
                sent=Sent(
                    key=message.alert.key,
                    at=now,
                    fate=settled.fate,
                    attempts=attempts,
                    again=settled.again,
                    error=delivery.error,
                )
            )
            for message in batch
        ]

    def _tell(self, line: _Line, batch: list[Owed], fate: Fate, delivery: Delivery, attempts: int) -> None:
        keys = [message.alert.key for message in batch]
        if fate is Fate.SENT:
            self.tally.sent += len(batch)
            log.info("alert.sent", channel=line.name, keys=keys, attempts=attempts)
            return
        self.tally.failed += 1
        event = "alert.failed" if fate is Fate.LATER else "alert.dead"
        log.warning(event, channel=line.name, keys=keys, attempts=attempts, reason=delivery.error)

    # Dead letters

    def _give_up(self, channel: str, lost: list[Owed]) -> None:
        why = GONE
        log.warning("alert.dead", channel=channel, keys=[one.alert.key for one in lost], reason=why)
        for step in self._dead(channel, lost, lost[0].attempts, why):
            self._put(step)

    def _dead(self, channel: str, batch: list[Owed], attempts: int, why: str) -> list[Step]:
        """The newest one's step also owes what is told of them on another channel."""
        now = self._now()
        self.tally.dead += len(batch)
        steps = [
            Step(sent=Sent(key=message.alert.key, at=now, fate=Fate.DEAD, attempts=attempts, error=why))
            for message in batch
        ]
        steps[-1] = replace(steps[-1], alerts=self._report(channel, batch, why, now))
        return steps

    def _report(self, dead_channel: str, batch: list[Owed], why: str, now: Instant) -> tuple[Alert, ...]:
        """A dead letter is told on another channel, once, and never about itself."""
        newest = batch[-1].alert
        others = [self._lines[name] for name in self._reports if name != dead_channel]
        if newest.kind is Kind.MONITOR or not others:
            return ()
        earlier = [f"- {one.alert.title} {one.alert.reference}" for one in batch[:-1]]
        message = Message(
            f"UNDELIVERED: {newest.title}",
            (
                f'The channel "{dead_channel}" did not take this message: {why.rstrip(".")}.',
                f"It said: {newest.title} {newest.reference}",
                *(["Nor did it take these:", *earlier] if earlier else []),
                f"Do: {_mend(dead_channel, why)}",
            ),
        )
        return owed(
            message,
            incident=f"undelivered-{incident_id(newest.key, now)}",
            sequence=1,
            kind=Kind.MONITOR,
            endpoint=newest.endpoint,
            channels=[max(others, key=_passed).name],
            at=now,
        )


def _mend(channel: str, why: str) -> str:
    if why == GONE:
        return f"nothing, if [channel.{channel}] was taken out of the config on purpose; else put it back."
    return f"check the channel's URL and the service, then `uptoken alert test {channel}`."


def _passed(line: _Line) -> int:
    return line.passed


_ENDS = (Kind.RECOVERED, Kind.CONFIG_RECOVERED, Kind.CLOSED)


def _due(line: _Line, now: Instant) -> list[Owed] | None:
    """What to send next: of the incidents whose first message is due, the one owed longest.

    The backlog of an incident that ended goes out as one message.
    """
    ready = [
        queue for queue in line.owed.values() if queue and (queue[0].again is None or queue[0].again <= now)
    ]
    if not ready:
        return None
    queue = min(ready, key=lambda messages: messages[0].alert.created)
    if queue[-1].alert.kind in _ENDS:
        return list(queue)
    return queue[:1]
