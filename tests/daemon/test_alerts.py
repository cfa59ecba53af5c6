"""From a failing provider to the message in somebody's hand."""

import re

from tests.support.both import on_both_databases
from tests.support.daemon import Daemon, Home, alerting, channel, until, website
from tests.support.receiver import Message, Receiver
from tests.support.simulated import Simulated

SITE = '[site]\nurl = "https://status.me.example"\ntimezone = "Europe/Berlin"\n'

MARKUP = "<b>503</b> & \"no\" 'healthy' *upstream* _here_ `x` <!channel> \u00fc\u2028"
"""What a provider may answer, and what HTML, Slack or Markdown would make something else of."""

DOWN = """\
acme/gpt-x is down since TIME (LENGTH).
What: 2 failures in a row, last: http_5xx: status 503: <b>503</b> & "no" 'healthy' *upstream* _here_ `x` <!channel> \u00fc\ufffd
Before: first token N ms, N tokens/s
Whose: the provider (their page: https://acme.example/status)
Request id: req_sim_N
Do: Route traffic to another provider, and give theirs the request id if you open a ticket.
https://status.me.example/endpoints/acme/gpt-x
[INCIDENT#1]"""

STILL_DOWN = """\
acme/gpt-x is still down, since TIME (LENGTH).
What: 2 failures in a row, last: http_5xx: status 503: <b>503</b> & "no" 'healthy' *upstream* _here_ `x` <!channel> \u00fc\ufffd
Whose: the provider (their page: https://acme.example/status)
Request id: req_sim_N
Do: Route traffic to another provider, and give theirs the request id if you open a ticket.
https://status.me.example/endpoints/acme/gpt-x
[INCIDENT#2]"""

RECOVERED = """\
acme/gpt-x works again since TIME. It lasted LENGTH.
It was: 2 failures in a row, last: http_5xx: status 503: <b>503</b> & "no" 'healthy' *upstream* _here_ `x` <!channel> \u00fc\ufffd
Now: first token N ms, N tokens/s (before: first token N ms, N tokens/s)
https://status.me.example/endpoints/acme/gpt-x
[INCIDENT#N]"""

NEEDS_YOU = """\
keyed/gpt-x cannot be watched since TIME (LENGTH).
What: auth_failed: status 401: Incorrect API key provided. (invalid_request_error, invalid_api_key). Check api_key.
Whose: ours: key, credit or configuration
Request id: req_sim_N
Do: Mend it here; nobody else will. Until then this endpoint is not being watched.
https://status.me.example/endpoints/keyed/gpt-x
[config-INCIDENT#1]"""

MENDED = """\
keyed/gpt-x can be watched again since TIME. It lasted LENGTH.
It was: auth_failed: status 401: Incorrect API key provided. (invalid_request_error, invalid_api_key). Check api_key.
https://status.me.example/endpoints/keyed/gpt-x
[config-INCIDENT#2]"""


def model(provider: str, simulated: Simulated) -> str:
    return (
        f'[provider.{provider}]\nname = "{provider.title()} AI"\nprotocol = "openai-chat"\n'
        f'base_url = "{simulated.base_url(provider)}"\nstatus_page = "https://acme.example/status"\n'
        f'interval = "1s"\ntimeout = "900ms"\n'
        f'[[provider.{provider}.endpoints]]\nmodel = "gpt-x"\nmax_tokens = 400\n'
    )


def test_a_message_arrives_as_it_was_written(
    sqlite_home: Home, simulated: Simulated, receiver: Receiver
) -> None:
    home = sqlite_home
    # Slow enough for its speed to be told though this machine may be busy.
    simulated.define("acme", tokens_per_s=1000)
    simulated.define("keyed")
    home.configure(
        SITE,
        alerting(reminder="2s"),
        channel("ops", receiver.url),
        model("acme", simulated),
        model("keyed", simulated),
    )
    daemon = home.ready()
    daemon.wait("probe.stored", endpoint="acme/gpt-x", outcome="ok", count=2)
    daemon.wait("probe.stored", endpoint="keyed/gpt-x", outcome="ok", count=2)
    simulated.set("acme", {"refusal": {"status": 503, "body": MARKUP, "content_type": "text/plain"}})
    simulated.set("keyed", "auth_failed")
    receiver.wait(lambda message: message.title.startswith("STILL DOWN"))
    receiver.wait(lambda message: message.title.startswith("NEEDS YOU"))
    simulated.set("acme", "ok")
    simulated.set("keyed", "ok")
    receiver.wait(lambda message: message.title.startswith("RECOVERED"))
    receiver.wait(lambda message: message.title.startswith("MENDED"))
    assert daemon.stop()[0] == 0

    arrived: dict[str, Message] = {}
    for message in receiver.messages:
        arrived.setdefault(_general(message.title), message)
    texts = {title: _general(message.text) for title, message in arrived.items()}
    golden = {
        "DOWN: Acme AI gpt-x": DOWN,
        "STILL DOWN: Acme AI gpt-x, for LENGTH": STILL_DOWN,
        "RECOVERED: Acme AI gpt-x, after LENGTH": RECOVERED,
        "NEEDS YOU: Keyed AI gpt-x": NEEDS_YOU,
        "MENDED: Keyed AI gpt-x, after LENGTH": MENDED,
    }
    assert texts.keys() == golden.keys()
    for title, text in texts.items():
        assert text.split("\n") == golden[title].split("\n")
    tones = {title.partition(":")[0]: message.body["type"] for title, message in arrived.items()}
    assert tones == {
        "DOWN": "failure",
        "STILL DOWN": "warning",
        "RECOVERED": "success",
        "NEEDS YOU": "failure",
        "MENDED": "success",
    }
    stored = home.records().rows("SELECT title, text FROM alert ORDER BY created, sequence")
    assert sorted((row.title, row.text) for row in stored) == sorted(
        (message.title, message.text) for message in receiver.messages
    )


def _general(text: str) -> str:
    """The same text with whatever differs from run to run replaced by its kind."""
    for pattern, kind in (
        (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d CES?T", "TIME"),
        (r"\d{8}-[0-9a-f]{8}", "INCIDENT"),
        (r"(?<=#)(?![12]\]\Z)\d+(?=\]\Z)", "N"),
        (r"(?<=req_sim_)\d+", "N"),
        (r"[\d,]+(?= tokens/s)", "N"),
        (r"\d+(?= ms,)", "N"),
        (r"(?<=\()\d+ m?s(?=\))|(?<=lasted )\d+ m?s|(?<=after )\d+ m?s|(?<=for )\d+ m?s", "LENGTH"),
    ):
        text = re.sub(pattern, kind, text)
    return text


def _outage(simulated: Simulated, daemon: Daemon) -> None:
    """Down, and up again."""
    simulated.set("acme", "http_503")
    daemon.wait("state.changed", endpoint="acme/health", after="down")
    simulated.set("acme", "ok")
    daemon.wait("state.changed", endpoint="acme/health", before="down", after="up")


@on_both_databases
def test_dead_channels_delay_no_other(
    home: Home, simulated: Simulated, receiver: Receiver, second_receiver: Receiver, closed_port: int
) -> None:
    second_receiver.behave(lambda title, _text: "dribble" if title.startswith("DOWN") else "hang")
    home.configure(
        alerting(down_after=1, up_after=1),
        channel("aaa", f"json://127.0.0.1:{closed_port}/"),
        channel("bbb", second_receiver.url),
        channel("ops", receiver.url),
        website("acme", simulated.health_url("acme")),
    )
    daemon = home.ready()
    daemon.wait("state.changed", after="up")
    _outage(simulated, daemon)
    changed = [line["heard_at"] for line in daemon.heard("state.changed")[1:]]
    titles = ["DOWN: acme health", "RECOVERED: acme health"]
    for number, title in enumerate(titles, 1):
        message = receiver.wait(count=number)
        assert message.title.startswith(title)
        assert message.at < changed[number - 1] + 1.0
    refused = daemon.wait("alert.failed", channel="aaa")
    assert refused["reason"] == "A Connection error occurred sending JSON notification to 127.0.0.1."
    assert daemon.stop()[0] == 0
    owed = home.records().rows("SELECT channel, attempts FROM alert WHERE sent_at IS NULL")
    assert {row.channel for row in owed} == {"aaa", "bbb"}


def test_a_channel_that_comes_back_gets_an_outage_that_is_over_as_one_message(
    sqlite_home: Home, simulated: Simulated, receiver: Receiver
) -> None:
    home = sqlite_home
    receiver.behave("refuse")
    home.configure(
        SITE,
        alerting(down_after=1, up_after=1),
        channel("ops", receiver.url),
        website("acme", simulated.health_url("acme")),
    )
    daemon = home.ready()
    daemon.wait("state.changed", after="up")
    _outage(simulated, daemon)
    receiver.behave("ok")
    message = receiver.wait()
    daemon.wait("alert.sent")
    assert message.title.startswith("RECOVERED: acme health, after")
    *_, delayed, earlier, reference = message.text.splitlines()
    assert delayed == "Delayed; not delivered in time:"
    assert re.fullmatch(r"- [-0-9]+ [0-9:]+ CES?T DOWN: acme health", earlier)
    assert reference.endswith("#2]")
    assert daemon.stop()[0] == 0
    rows = home.records().rows("SELECT kind, sent_at, attempts FROM alert ORDER BY sequence")
    assert [row.kind for row in rows] == ["down", "recovered"]
    assert all(row.sent_at is not None for row in rows)
    assert len(receiver.accepted) == 1


def test_a_message_that_a_service_does_not_take_delays_no_other(
    sqlite_home: Home, simulated: Simulated, receiver: Receiver
) -> None:
    home = sqlite_home
    simulated.define("other")
    receiver.behave(lambda title, _text: "refuse" if "acme" in title else "ok")
    home.configure(
        alerting(down_after=1, up_after=1),
        channel("ops", receiver.url),
        website("acme", simulated.health_url("acme")),
        website("other", simulated.health_url("other")),
    )
    daemon = home.ready()
    daemon.wait("probe.stored", count=4)
    simulated.set("acme", "http_503")
    failed = daemon.wait("alert.failed")
    simulated.set("other", "http_503")
    down = daemon.wait("state.changed", endpoint="other/health", after="down")
    message = receiver.wait()
    assert message.title == "DOWN: other health"
    assert message.at < down["heard_at"] + 1.0
    assert "error=500" in failed["reason"]


def test_a_message_for_a_channel_that_is_gone_is_told_on_another(
    sqlite_home: Home, simulated: Simulated, receiver: Receiver, second_receiver: Receiver
) -> None:
    home = sqlite_home
    receiver.behave("refuse")
    site = website("acme", simulated.health_url("acme"))
    home.configure(alerting(down_after=1, up_after=1), channel("old", receiver.url), site)
    first = home.ready()
    first.wait("probe.stored", outcome="ok")
    simulated.set("acme", "http_503")
    first.wait("alert.failed")
    assert first.stop()[0] == 0
    home.configure(alerting(down_after=1, up_after=1), channel("new", second_receiver.url), site)
    second = home.ready()
    message = second_receiver.wait()
    assert message.title == "UNDELIVERED: DOWN: acme health"
    assert (
        'The channel "old" did not take this message: this channel is no longer configured.' in message.text
    )
    assert second.stop()[0] == 0
    rows = home.records().rows("SELECT kind, sent_at, dead_at FROM alert ORDER BY created")
    assert [(row.kind, row.sent_at is None, row.dead_at is None) for row in rows] == [
        ("down", True, False),
        ("monitor", False, True),
    ]


def test_the_console_channel_is_a_line_in_the_log(sqlite_home: Home, simulated: Simulated) -> None:
    home = sqlite_home
    home.configure(
        alerting(down_after=1, up_after=1),
        channel("log", "console://"),
        website("acme", simulated.health_url("acme")),
    )
    daemon = home.ready()
    daemon.wait("probe.stored", outcome="ok")
    simulated.set("acme", "http_503")
    line = daemon.wait("alert.console")
    assert line["title"] == "DOWN: acme health"
    assert line["text"].startswith("acme/health is down since ")
    daemon.wait("alert.sent", channel="log")


def test_a_channel_hears_only_what_it_asked_for_and_the_all_clear_of_that(
    sqlite_home: Home, simulated: Simulated, receiver: Receiver, second_receiver: Receiver
) -> None:
    home = sqlite_home
    home.configure(
        alerting(down_after=1, up_after=1),
        channel("all", receiver.url),
        channel("some", second_receiver.url) + 'on = ["down"]\n',
        model("acme", simulated) + 'expect = { ttft = "250ms" }\n',
    )
    daemon = home.ready()
    daemon.wait("probe.stored", outcome="ok", count=2)
    simulated.set("acme", {"ttft_ms": 400.0})
    receiver.wait(lambda message: message.title.startswith("DEGRADED"))
    simulated.set("acme", "ok")
    receiver.wait(lambda message: message.title.startswith("RECOVERED"))
    simulated.set("acme", "http_503")
    second_receiver.wait(lambda message: message.title.startswith("DOWN"))
    simulated.set("acme", "ok")
    second_receiver.wait(lambda message: message.title.startswith("RECOVERED"))
    until(lambda: len(receiver.messages) == 4, "everything is told")
    assert len(second_receiver.messages) == 2
    assert second_receiver.messages[0].incident == receiver.messages[2].incident
