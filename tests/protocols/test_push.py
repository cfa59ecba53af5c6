"""`push` asks nothing: it finds what was put into its mailbox, and says so."""

from datetime import timedelta

import pytest
from pydantic import ValidationError

from monitor import compose
from monitor.config.secrets import SecretText
from monitor.core.instant import SECOND, Instant
from monitor.core.observation import Usage
from monitor.core.outcome import Outcome
from monitor.core.report import Report, Standing, Word
from monitor.core.timeline import Timeline
from monitor.core.verdict import Expect, Learnt, judge
from monitor.core.wire import Limits
from monitor.protocols import Listening, registry
from tests.protocols.replay import KEY, Replay, look_of, settings_of

pytestmark = pytest.mark.anyio

TOKEN = {"token": SecretText("${env:KEY}")}


async def looked(at: Listening, now: float):
    return await at.look(Replay(), Timeline(start=now), Limits(deadline=now + 1, connect_s=1), "n", {})


def test_it_is_told_what_it_expects_and_costs_nothing() -> None:
    at = look_of("push", **TOKEN, expect={"elapsed": "2s"})
    assert isinstance(at, Listening)
    assert (at.expect, at.model, at.worst_case) == (
        Expect(elapsed_ms=2000.0),
        None,
        Usage(input_tokens=0, output_tokens=0),
    )
    assert at.identity == "push acme/thing"
    assert at.token == KEY
    assert KEY not in at.identity + repr(at)


def test_no_other_protocol_listens() -> None:
    assert [name for name, one in registry().items() if one.Settings.reports] == ["push"]
    assert not isinstance(look_of("http", url="https://acme.example/"), Listening)


@pytest.mark.parametrize(
    ("interval", "grace", "expected"),
    [
        ("60s", None, timedelta(seconds=30)),
        ("1d", None, timedelta(hours=1)),
        ("7d", None, timedelta(hours=1)),
        ("60s", "10s", timedelta(seconds=10)),
        ("1d", "6h", timedelta(hours=6)),
    ],
)
def test_the_grace_is_half_the_interval_and_at_most_an_hour_unless_it_is_written(
    interval: str, grace: str | None, expected: timedelta
) -> None:
    one = settings_of("push", **TOKEN, interval=interval, grace=grace)
    assert one.rhythm.grace == expected // timedelta(microseconds=1)
    assert compose.grid(one).interval == one.rhythm.every


def test_one_report_and_one_silence_are_enough_unless_somebody_says_otherwise() -> None:
    one = settings_of("push", **TOKEN)
    assert (one.alert.down_after, one.alert.up_after) == (1, 1)
    assert settings_of("push", **TOKEN, alert={"down_after": 3}).alert.down_after == 3


def test_it_needs_a_token() -> None:
    with pytest.raises(ValidationError, match="token"):
        settings_of("push")


async def test_a_look_finds_the_newest_report_and_takes_the_time_that_it_states() -> None:
    at = look_of("push", **TOKEN)
    at.mailbox.hear(Report(endpoint="acme/thing", at=Instant(SECOND), duration_ms=250.0), 100.0)
    seen = await looked(at, 130.0)
    verdict = judge(seen, at.expect, Learnt(), model=at.model)
    assert (verdict.outcome, verdict.figures.total_ms) == (Outcome.OK, 250.0)
    assert (seen.status, seen.fault, seen.timeline.request_sent) == (None, None, None)


async def test_silence_took_no_time() -> None:
    at = look_of("push", **TOKEN)
    report = Report(endpoint="acme/thing", at=Instant(SECOND), said=Word.FAIL, duration_ms=250.0)
    at.mailbox.hear(report, 100.0)
    seen = await looked(at, 190.5)
    verdict = judge(seen, at.expect, Learnt(), model=at.model)
    assert (verdict.outcome, verdict.figures.total_ms) == (Outcome.ASSERTION_FAILED, 0.0)
    assert seen.heard.standing is Standing.SILENT
    assert seen.timeline.end == seen.timeline.start
