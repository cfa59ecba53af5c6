"""What Apprise makes of our messages, in front of services on loopback."""

import os
import sys

import pytest

from monitor import notifier
from tests.support import child
from tests.support.daemon import TOP
from tests.support.ports import unused_port
from tests.support.receiver import Receiver

# Apprise still looks for a module that newer Pythons lack.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")

TITLE = "DOWN: Acme *one*_two_ <b>"
TEXT = (
    "acme/one_two is down since 2026-11-21 23:00:00 UTC (3 min).\n"
    'What: http_5xx: <html> &amp; *bold* _it_ `x` "q" <!channel> ~s~ [a](http://b) # ü 漢\n'
    "https://status.example/endpoints/acme/one_two\n"
    "[20261121-aaaaaaaa#1]"
)
SLACK = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#general"


def test_a_webhook_gets_exactly_our_text(receiver: Receiver) -> None:
    assert notifier.channel(receiver.url)(TITLE, TEXT, "failure").sent
    [message] = receiver.messages
    assert message.body == {
        "version": "1.0",
        "title": TITLE,
        "message": TEXT,
        "attachments": [],
        "type": "failure",
    }


def test_slack_shows_exactly_our_text(receiver: Receiver) -> None:
    """Slack undoes `&lt;`, `&gt;` and `&amp;`, and is told that nothing else is markup."""
    service = notifier._service(SLACK)
    assert service is not None
    service[0].webhook_url = receiver.url.replace("json://", "http://").rstrip("/")
    assert service.notify(title=TITLE, body=TEXT, body_format="text", notify_type="failure")
    [message] = receiver.messages
    [attachment] = message.body["attachments"]
    assert message.body["mrkdwn"] is False
    assert _as_slack_shows(attachment["title"]) == TITLE
    assert _as_slack_shows(attachment["text"]) == TEXT
    # No logo that somebody else's server would have to give out.
    assert "icon_url" not in message.body


def _as_slack_shows(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def test_why_a_message_did_not_get_through(receiver: Receiver) -> None:
    receiver.behave("refuse")
    refused = notifier.channel(receiver.url)(TITLE, TEXT)
    assert (refused.sent, refused.error) == (
        False,
        "Failed to send JSON POST notification: Internal server error., error=500.",
    )
    nobody = notifier.channel(f"json://127.0.0.1:{unused_port()}/")(TITLE, TEXT)
    assert (nobody.sent, nobody.error) == (
        False,
        "A Connection error occurred sending JSON notification to 127.0.0.1.",
    )


def test_a_key_in_the_url_is_never_said() -> None:
    url = f"json://user:TopSecretPassword@127.0.0.1:{unused_port()}/hooks/AnotherSecretPath"
    service = notifier._service(url)
    assert service is not None
    told = "no way to TopSecretPassword at 127.0.0.1/hooks/AnotherSecretPath"
    assert notifier._without_secrets(told, url, service) == "no way to [secret] at 127.0.0.1/hooks/[secret]"


def test_a_message_that_is_too_long_for_a_service_goes_in_two_parts(receiver: Receiver) -> None:
    service = notifier._service(receiver.url)
    assert service is not None
    service[0].body_maxlen = 100
    assert service.notify(title="DOWN", body=TEXT, body_format="text")
    assert len(receiver.messages) > 1
    assert receiver.messages[-1].text.endswith("[20261121-aaaaaaaa#1]")


def test_on_a_terminal_the_console_channel_is_a_box() -> None:
    ours, theirs = os.openpty()
    program = (
        "from monitor import notifier;"
        "notifier.channel('console://')('DOWN: Acme one', 'acme/one is down.\\n[i#1]')"
    )
    process = child.start([sys.executable, "-c", program], cwd=TOP, stderr=theirs)
    os.close(theirs)
    assert process.wait(20) == 0
    shown = os.read(ours, 4096).decode().replace("\r\n", "\n")
    os.close(ours)
    rule = "-" * 20
    assert shown == f"\n{rule}\nDOWN: Acme one\nacme/one is down.\n[i#1]\n{rule}\n\n"


def test_a_url_that_apprise_cannot_read_is_refused() -> None:
    assert notifier.readable("nosuchservice://x") == "is not a URL that Apprise can read"
    with pytest.raises(ValueError, match="not a URL that Apprise can read"):
        notifier.channel("nosuchservice://x")
