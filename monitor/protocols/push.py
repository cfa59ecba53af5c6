"""A job or a gateway that reports in: nothing is asked, its mailbox is looked into.

The reports come in at the daemon's own door (`[push] listen`) and are put into the mailbox there.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import ClassVar

from monitor.config.secrets import SecretText
from monitor.config.settings import EndpointAlert, EndpointSettings, Looks
from monitor.config.values import Duration, Table
from monitor.core.instant import span
from monitor.core.observation import Observation, Usage
from monitor.core.report import Mailbox, Rhythm, Standing
from monitor.core.timeline import Timeline
from monitor.core.verdict import Expect
from monitor.core.wire import Limits, Wire
from monitor.protocols import Reveal
from monitor.protocols._prepare import milliseconds

LONGEST_GRACE = timedelta(hours=1)
"""Where none is written."""


class PushExpect(Table):
    """What a good report is; None is not looked at."""

    elapsed: Duration | None = None
    """The longest duration that it may state."""


class PushAlert(EndpointAlert):
    """As of every endpoint, but a report is a statement: it needs no second one, and neither does silence."""

    down_after: Looks = 1
    up_after: Looks = 1


class Settings(EndpointSettings):
    """One sender."""

    over_http: ClassVar[bool] = False
    reports: ClassVar[bool] = True

    token: SecretText
    """What it reports with: 16 to 200 letters, digits, `.`, `_`, `~` and `-`, its own."""
    grace: Duration | None = None
    """How much later than `interval` a report may come; else half of that, at most 1 hour."""
    expect: PushExpect = PushExpect()
    alert: PushAlert = PushAlert()

    @property
    def report_token(self) -> SecretText:
        return self.token

    @property
    def rhythm(self) -> Rhythm:
        """How often it should report."""
        grace = self.grace or min(self.interval / 2, LONGEST_GRACE)
        return Rhythm(every=span(self.interval), grace=span(grace))


def prepare(settings: Settings, reveal: Reveal) -> "Sender":
    """One sender, ready to be heard."""
    return Sender(settings, reveal(settings.token))


class Sender:
    """One sender, ready to be heard."""

    def __init__(self, settings: Settings, token: str) -> None:
        self.token = token
        self.mailbox = Mailbox(settings.rhythm)
        self.model: str | None = None
        self.identity = f"push {settings.id}"
        self.expect = Expect(elapsed_ms=milliseconds(settings.expect.elapsed))
        self.worst_case = Usage(input_tokens=0, output_tokens=0)

    async def look(
        self,
        wire: Wire,  # noqa: ARG002 - it comes to us
        timeline: Timeline,
        limits: Limits,  # noqa: ARG002 - so there is nothing to wait for
        nonce: str,  # noqa: ARG002
        learnt: Mapping[str, str],  # noqa: ARG002
    ) -> Observation:
        """Look into the mailbox. The time is what the report states; 0 where it states none."""
        heard = self.mailbox.look(timeline.start)
        stated_ms = 0.0
        if heard.report is not None and heard.standing is not Standing.SILENT:
            stated_ms = heard.report.duration_ms or 0.0
        timeline.end = timeline.start + stated_ms / 1000.0
        return Observation(timeline=timeline, heard=heard)
