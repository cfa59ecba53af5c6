"""Ports, certificates and names in the config: what they inherit, what is passed over, what is refused."""

import pytest

from monitor.config.load import ConfigError, load
from monitor.config.settings import Config
from monitor.protocols import settings_registry
from tests.config.files import NOW

HTTP_THINGS = '[defaults]\nhttp2 = true\nheaders = { X-Trace = "1" }\nproxy = "socks5://127.0.0.1:1080"\n'
PORT = (
    '[provider.own]\nprotocol = "tcp"\n[[provider.own.endpoints]]\nname = "ssh"\naddress = "a.example:22"\n'
)
NAME = '[provider.own]\nprotocol = "dns"\n[[provider.own.endpoints]]\nname = "a.example"\n'


def loaded(folder, text) -> Config:
    path = folder / "config.toml"
    path.write_text(text)
    return load(path, settings_registry(), NOW)


def refused(folder, text) -> list[str]:
    with pytest.raises(ConfigError) as refusal:
        loaded(folder, text)
    return [str(problem).partition("config.toml:")[2] for problem in refusal.value.problems]


def test_what_belongs_to_http_is_passed_over_where_it_is_inherited(tmp_path):
    (port,) = loaded(tmp_path, HTTP_THINGS + PORT).endpoints
    assert (port.http2, port.headers) == (False, {})
    assert port.proxy is not None


@pytest.mark.parametrize("line", ["http2 = true", 'headers = { X-Trace = "1" }'])
def test_what_belongs_to_http_is_refused_where_it_is_said(line, tmp_path):
    key = line.split()[0]
    assert refused(tmp_path, PORT + line) == [
        f"6: provider.own.endpoints[0].{key}: belongs to protocols over HTTP: leave it out"
    ]


def test_names_are_not_asked_for_through_a_proxy(tmp_path):
    said = "name servers cannot be asked through a proxy: write proxy = false"
    assert refused(tmp_path, '[defaults]\nproxy = "http://p.example:3128"\n' + NAME) == [
        f"2: defaults.proxy: {said}"
    ]
    (name,) = loaded(
        tmp_path, '[defaults]\nproxy = "http://p.example:3128"\n' + NAME + "proxy = false\n"
    ).endpoints
    assert name.proxy is None


def test_all_that_is_wrong_is_told_in_one_run(tmp_path):
    text = (
        '[provider.own]\n[[provider.own.endpoints]]\nprotocol = "tcp"\nname = "a"\naddress = "a.example"\n'
        '[[provider.own.endpoints]]\nprotocol = "tls"\nname = "b"\naddress = "b.example:0"\n'
        'expect = { version = "TLSv1.1" }\n'
        '[[provider.own.endpoints]]\nprotocol = "dns"\nname = "c.example"\nrecord = "DNSKEY"\nserver = "dns.example"\n'
        '[[provider.own.endpoints]]\nprotocol = "dns"\nname = "our mail"\n'
    )
    said = refused(tmp_path, text)
    assert [one.split(": ")[:2] for one in said] == [
        ["5", "provider.own.endpoints[0].address"],
        ["9", "provider.own.endpoints[1].address"],
        ["10", "provider.own.endpoints[1].expect.version"],
        ["14", "provider.own.endpoints[2].record"],
        ["15", "provider.own.endpoints[2].server"],
        ["18", "provider.own.endpoints[3].name"],
    ]
    assert said[0].endswith(
        '"a.example" has no port from 1 to 65535: write it as "host:port" or "[2001:db8::1]:port"'
    )


def test_the_id_comes_from_the_name(tmp_path):
    (name,) = loaded(tmp_path, NAME).endpoints
    assert (name.id, name.name, name.model_name) == ("own/a.example", "a.example", None)


@pytest.mark.parametrize("days", ["false", "0", "30"])
def test_the_days_of_a_certificate_are_14_unless_they_are_said(days, tmp_path):
    text = '[provider.own]\nprotocol = "tls"\n[[provider.own.endpoints]]\nname = "b"\naddress = "b.example"\n'
    assert loaded(tmp_path, text).endpoints[0].expect.certificate_days == 14
    (said,) = loaded(tmp_path, f"{text}expect = {{ certificate_days = {days} }}\n").endpoints
    assert said.expect.certificate_days == (None if days == "false" else float(days))
