"""`alert test`: through a channel, or all of them, and what each service said."""

import re

import pytest

from tests.cli.command import on_terminal, uptoken
from tests.support.receiver import receiving

SECRET = "tok-alert-5d0c2b77"


@pytest.fixture
def receiver():
    with receiving() as one:
        yield one


def test_a_message_that_says_it_is_a_test_goes_out(receiver, write, tmp_path):
    path = write(
        '[site]\nname = "Acme status"\ntimezone = "Europe/Berlin"\n',
        f'[channel.ops]\nurl = "{receiver.url}"\n',
    )
    sent = uptoken("alert", "test", "--config", path, cwd=tmp_path)
    assert (sent.status, sent.err) == (0, "")
    assert sent.out.startswith("sent    ops  (JSON, json://127.0.0.1:")
    (message,) = receiver.messages
    assert message.title == "TEST: Acme status"
    assert 'This is a test of the channel "ops"' in message.text
    assert re.search(r"Nothing is down\. Site: Acme status\. Sent [-0-9]+ [0-9:]+ CES?T\.\n", message.text)
    assert re.fullmatch(r"\[test-\d{8}-[0-9a-f]{8}#1\]", message.text.splitlines()[-1])


def test_each_service_has_its_result_and_one_failure_is_exit_1(receiver, write, tmp_path):
    path = write(
        f'[channel.good]\nurl = "{receiver.url}"\n',
        '[channel.dead]\nurl = "json://127.0.0.1:9/${env:TOKEN}"\n',
    )
    env = {"TOKEN": SECRET}
    tested = uptoken("alert", "test", "--json", "--config", path, cwd=tmp_path, env=env)
    assert tested.status == 1
    good, dead = tested.json
    assert (good["channel"], good["sent"], good["error"]) == ("good", True, None)
    assert (dead["channel"], dead["sent"], dead["service"]) == ("dead", False, "JSON, json://127.0.0.1:9/…")
    assert dead["error"]
    assert SECRET not in tested.out + tested.err
    text = uptoken("alert", "test", "dead", "--config", path, cwd=tmp_path, env=env)
    assert text.status == 1
    assert text.out.startswith("failed  dead  (JSON, json://127.0.0.1:9/…): ")
    assert SECRET not in text.out + text.err
    assert len(receiver.messages) == 1


def test_a_service_that_refuses_has_failed(receiver, write, tmp_path):
    receiver.behave("refuse")
    path = write(f'[channel.ops]\nurl = "{receiver.url}"\n')
    assert uptoken("alert", "test", "OPS", "--config", path, cwd=tmp_path).status == 1


def test_only_the_secrets_of_the_channels_are_needed(receiver, write, tmp_path):
    path = write(
        f'[channel.ops]\nurl = "{receiver.url}"\n',
        '[channel.other]\nurl = "${env:NOT_SET}"\n',
        '[database]\nurl = "postgresql://u:${env:NOT_SET_EITHER}@127.0.0.1:1/x"\n',
    )
    assert uptoken("alert", "test", "ops", "--config", path, cwd=tmp_path).status == 0
    refused = uptoken("alert", "test", "--config", path, cwd=tmp_path)
    assert refused.status == 2
    assert refused.error == f"{path}:5: channel.other.url: the environment variable NOT_SET is not set"


def test_an_unknown_channel_gets_a_suggestion(write, tmp_path):
    path = write('[channel.ops]\nurl = "console://"\n')
    refused = uptoken("alert", "test", "osp", "--config", path, cwd=tmp_path)
    assert (refused.status, refused.error) == (2, 'no channel osp; did you mean "ops"?')


def test_without_any_channel_it_says_how_to_make_one(write, tmp_path):
    refused = uptoken("alert", "test", "--config", write(), cwd=tmp_path)
    assert refused.status == 2
    assert refused.error == "no channel is configured: add [channel.NAME] with a url to config.toml"


def test_a_url_that_apprise_cannot_read_has_failed_without_being_shown(write, tmp_path):
    path = write('[channel.ops]\nurl = "${env:OPS}"\n')
    refused = uptoken("alert", "test", "--config", path, cwd=tmp_path, env={"OPS": SECRET})
    assert refused.status == 1
    assert "its url is not a URL that Apprise can read" in refused.out
    assert SECRET not in refused.out + refused.err


def test_the_console_shows_it_on_the_terminal(write, tmp_path):
    path = write('[channel.here]\nurl = "console://"\n')
    shown = on_terminal("alert", "test", "--config", path, cwd=tmp_path)
    assert shown.status == 0
    assert "TEST: Status\n" in shown.plain
