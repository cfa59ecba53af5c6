"""Sends what is owed, from the outbox, through Apprise.

Each channel has a line of its own, so a dead one delays no other. In a line each incident
keeps its order; a message that fails waits without holding up other incidents. A message is
marked after it was sent: at least once, never silently zero.
"""

import asyncio
import contextlib
import logging
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from monitor.core.alert import Alert, Fate, Kind, Message, as_one, owed, settle
from monitor.core.belief import incident_id
from monitor.core.instant import Instant
from monitor.core.step import Owed, Sent, Step

if TYPE_CHECKING:
    import apprise

log = structlog.get_logger()

SEND_S = 10.0
"""A service gets this long to answer; then the message is tried again later."""
MOST_HANGING = 3
"""Threads of a channel that may hang in a service at the same time."""
LOOK_AGAIN_S = 1.0


@dataclass(frozen=True, slots=True)
class Delivery:
    """How one attempt went; `error` is for a person and holds no secret."""

    sent: bool
    error: str | None = None


Send = Callable[[str, str], Delivery]
"""Title and text out of the door; blocking, runs in a thread of its own."""


def warm_up() -> None:
    """Load Apprise and its services; takes a second, so in a thread and before readiness."""
    import apprise  # noqa: PLC0415  # half a second that `status` and `serve` need not pay

    _console()
    apprise.Apprise().add("json://localhost")


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

    def send(title: str, text: str) -> Delivery:
        with _listening() as heard:
            result = service.notify(title=title, body=text, body_format="text")
        if bool(result):
            return Delivery(True)
        return Delivery(False, heard[-1][:300] if heard else "the service did not accept it")

    return send


def _service(url: str) -> "apprise.Apprise | None":
    import apprise  # noqa: PLC0415

    _console()
    # Without a limit of its own Apprise runs the service in our thread. With one it uses a pool
    # that all channels share, and a few hanging services would silence every channel.
    asset = apprise.AppriseAsset(
        app_id="Uptoken", app_desc="Uptoken", service_timeout=0, allow_templates=False
    )
    one = apprise.Apprise(asset=asset)
    with _listening():
        return one if one.add(url) and len(one) == 1 else None


_console_known = threading.Event()


def _console() -> None:
    """`console://` prints to the daemon's terminal, or is an event in its log."""
    if _console_known.is_set():
        return
    _console_known.set()
    from apprise.decorators import notify  # noqa: PLC0415

    @notify(on="console", name="Console")  # type: ignore[untyped-decorator]
    def _(body: str, title: str, *_args: object, **_kwargs: object) -> bool:
        if sys.stderr.isatty():
            width = max(len(title), *(len(line) for line in body.splitlines()), 20)
            rule = "-" * min(width, 78)
            print(f"\n{rule}\n{title}\n{body}\n{rule}\n", file=sys.stderr, flush=True)
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
class _Line:
    """What one channel is owed."""

    name: str
    send: Send
    owed: dict[str, list[Owed]] = field(default_factory=dict)
    """By incident, in order."""
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    hanging: int = 0
    passed_at: Instant = Instant(0)
    """When a message last went through."""


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
        mark: Callable[[Step], None],
        now: Callable[[], Instant],
        send_s: float = SEND_S,
    ) -> None:
        self._lines = {name: _Line(name, send) for name, send in channels.items()}
        self._mark = mark
        self._now = now
        self._send_s = send_s
        self._tasks: list[asyncio.Task[None]] = []
        self.tally = Tally()

    @property
    def waiting(self) -> int:
        return sum(len(queue) for line in self._lines.values() for queue in line.owed.values())

    def accept(self, messages: Sequence[Owed]) -> None:
        """These are durable and owed. A channel that is no longer configured gives them up."""
        for message in messages:
            line = self._lines.get(message.alert.channel)
            if line is None:
                self._give_up(message, "this channel is no longer configured")
                continue
            line.owed.setdefault(message.alert.incident, []).append(message)
            line.wake.set()

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._work(line)) for line in self._lines.values()]

    async def stop(self, patience_s: float) -> None:
        """Give what is due a moment to go out; the rest is owed by the next daemon."""
        ends = asyncio.get_running_loop().time() + patience_s
        while self._due_at_all() and asyncio.get_running_loop().time() < ends:
            await asyncio.sleep(0.05)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _due_at_all(self) -> bool:
        now = self._now()
        return any(_due(line, now) for line in self._lines.values())

    async def _work(self, line: _Line) -> None:
        while True:
            batch = _due(line, self._now())
            if batch is None or line.hanging >= MOST_HANGING:
                line.wake.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(line.wake.wait(), LOOK_AGAIN_S)
                continue
            title, text = as_one([message.alert for message in batch])
            delivery = await self._send(line, title, text)
            self._settle(line, batch, delivery)

    async def _send(self, line: _Line, title: str, text: str) -> Delivery:
        """In a daemon thread: one that hangs must not keep the process from ending."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Delivery] = loop.create_future()

        def finish(delivery: Delivery) -> None:
            line.hanging -= 1
            if not done.done():
                done.set_result(delivery)

        def work() -> None:
            try:
                delivery = line.send(title, text)
            except Exception as error:  # a service's bug is a failed delivery, not ours
                delivery = Delivery(False, f"the service failed with {type(error).__name__}")
            with contextlib.suppress(RuntimeError):  # the loop ended before the service did
                loop.call_soon_threadsafe(finish, delivery)

        line.hanging += 1
        threading.Thread(target=work, name=f"channel {line.name}", daemon=True).start()
        try:
            return await asyncio.wait_for(done, self._send_s)
        except TimeoutError:
            return Delivery(False, f"no answer within {self._send_s:g} s; it may still arrive")

    def _settle(self, line: _Line, batch: list[Owed], delivery: Delivery) -> None:
        now = self._now()
        first = batch[0]
        if delivery.sent:
            line.passed_at = now
        attempts = first.attempts + 1
        settled = settle(
            created=first.alert.created,
            attempts=attempts,
            sent=delivery.sent,
            others_passed=line.passed_at > first.alert.created,
            now=now,
        )
        queue = line.owed[first.alert.incident]
        for message in batch:
            queue.remove(message)
            again = settled.again if settled.fate is Fate.LATER else None
            sent = Sent(
                key=message.alert.key,
                at=now,
                fate=settled.fate,
                attempts=attempts,
                again=again,
                error=delivery.error,
            )
            self._mark(Step(sent=sent))
        self._tell(line, batch, settled.fate, delivery, attempts)
        if settled.fate is Fate.LATER:
            queue[:0] = [
                Owed(alert=message.alert, attempts=attempts, again=settled.again) for message in batch
            ]
        elif not queue:
            del line.owed[first.alert.incident]
        if settled.fate is Fate.DEAD:
            self._report(line.name, batch[-1].alert, delivery.error)

    def _tell(self, line: _Line, batch: list[Owed], fate: Fate, delivery: Delivery, attempts: int) -> None:
        keys = [message.alert.key for message in batch]
        if fate is Fate.SENT:
            self.tally.sent += len(batch)
            log.info("alert.sent", channel=line.name, keys=keys, attempts=attempts)
            return
        self.tally.failed += 1
        event = "alert.failed" if fate is Fate.LATER else "alert.dead"
        log.warning(event, channel=line.name, keys=keys, attempts=attempts, reason=delivery.error)

    def _give_up(self, message: Owed, why: str) -> None:
        now = self._now()
        self._mark(
            Step(
                sent=Sent(
                    key=message.alert.key,
                    at=now,
                    fate=Fate.DEAD,
                    attempts=message.attempts,
                    error=why,
                )
            )
        )
        log.warning("alert.dead", keys=[message.alert.key], reason=why)

    def _report(self, dead_channel: str, alert: Alert, why: str | None) -> None:
        """A dead letter is told on another channel, once, and never about itself."""
        self.tally.dead += 1
        others = [name for name in self._lines if name != dead_channel]
        if alert.kind is Kind.MONITOR or not others:
            return
        now = self._now()
        message = Message(
            f"UNDELIVERED: {alert.title}",
            (
                f'The channel "{dead_channel}" did not take this message: {why or "no reason given"}.',
                f"It said: {alert.title} {alert.reference}",
                f"Do: check the channel's URL and the service, then `uptoken alert test {dead_channel}`.",
            ),
        )
        letters = owed(
            message,
            incident=f"undelivered-{incident_id(alert.key, now)}",
            sequence=1,
            kind=Kind.MONITOR,
            endpoint=alert.endpoint,
            channels=others[:1],
            at=now,
        )
        self._mark(Step(alerts=letters))


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
