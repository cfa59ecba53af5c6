"""`probe` through a proxy or a Unix socket: what it says of the clock, and what it never says."""

import base64
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.cli.command import uptoken
from tests.cli.written import model
from tests.transport.proxies import connects, pass_on, relays
from tests.transport.servers import Peer, Script, Server, answers

PASSWORD = "pw-canary-5d20e7"
BASIC = base64.b64encode(f"me:{PASSWORD}".encode()).decode()


@contextmanager
def serving(script: Script, path: Path | None = None) -> Iterator[Server]:
    server = Server(script, path=path)
    try:
        yield server
    finally:
        server.close()


def leads_to(url: str) -> Script:
    """Passes everything on to where that URL is served."""
    place = urlsplit(url)

    def script(peer: Peer) -> None:
        with socket.create_connection((place.hostname, place.port)) as target:
            pass_on(peer, target)

    return script


def echoes(peer: Peer) -> None:
    """A refusal that quotes all that was sent, as helpful proxies do."""
    said = peer.request()
    peer.send(b"HTTP/1.1 500 Oops\r\nContent-Length: %d\r\n\r\n" % len(said) + said)


@pytest.fixture
def look(simulated, write, tmp_path):
    def look(more, *words, base_url=None):
        simulated.define("acme", ttft_ms=400, tokens_per_s=400)
        path = write(model("acme", base_url or simulated.base_url("acme"), more=more))
        return uptoken("probe", "acme/one", *words, "--config", path, cwd=tmp_path, env={"PW": PASSWORD})

    return look


def test_over_a_unix_socket_one_line_tells_why_moments_may_be_late(look, simulated, tmp_path):
    path = tmp_path / "s.sock"
    with serving(leads_to(simulated.base_url("acme")), path):
        seen = look(f'proxy = "unix:{path}"')
        told = look(f'proxy = "unix:{path}"', "--json").json
    assert seen.status == 0
    (line,) = [line for line in seen.out.splitlines() if "clock: user" in line]
    assert line.startswith("  clock: user – the kernel stamps nothing on a Unix socket, so moments")
    assert all(len(line) <= 80 for line in seen.out.splitlines())
    assert told["clock"] == "user"
    assert told["output_speed"] is not None


def test_with_http2_it_says_so_even_where_the_server_speaks_http11(look):
    assert "clock: user – HTTP/2" in look("http2 = true").out


def test_through_a_proxy_the_clock_is_the_kernels_and_needs_no_word(look):
    log: list[bytes] = []
    with serving(relays(log)) as proxy:
        seen = look(f'proxy = "http://me:${{env:PW}}@127.0.0.1:{proxy.port}"')
    assert seen.status == 0
    assert f"Basic {BASIC}".encode() in log[0]
    assert "clock" not in seen.out


@pytest.mark.parametrize("login", ["me:${env:PW}", f"me:{PASSWORD}"], ids=["elsewhere", "in the file"])
@pytest.mark.parametrize("words", [(), ("--json",)], ids=["drawn", "json"])
@pytest.mark.parametrize(
    "script", [echoes, answers(b"HTTP/1.1 407 no\r\n\r\n"), connects()], ids=["echo", "407", "nowhere"]
)
def test_the_password_of_a_proxy_is_never_shown(login, words, script, look):
    url = "https://127.0.0.1:9/v1" if script is not echoes else None
    with serving(script) as proxy:
        seen = look(f'proxy = "http://{login}@127.0.0.1:{proxy.port}"', *words, base_url=url)
    assert seen.status in (2, 3)
    assert PASSWORD not in seen.out + seen.err
    assert BASIC not in seen.out + seen.err


def test_a_proxy_that_turns_us_away_is_ours_to_mend(look):
    with serving(answers(b"HTTP/1.1 407 no\r\n\r\n")) as proxy:
        seen = look(f'proxy = "http://127.0.0.1:{proxy.port}"', base_url="https://api.test/v1")
    assert seen.status == 3
    assert seen.out.splitlines()[1] == "auth_failed  ours to mend: key, credit or configuration"
    words = " ".join(seen.out.split())
    assert f"the proxy http://127.0.0.1:{proxy.port} wants a login (status 407)." in words
    assert "Check the login in `proxy`" in words
