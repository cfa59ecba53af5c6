"""Clients that are slow, many or rude, against a page process that may open 256 files."""

import json
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit

import httpx
import pytest

from tests.web.conftest import World
from tests.web.serving import Page


@pytest.fixture
def bounded(world: World) -> Iterator[Page]:
    """A process with 256 files at most."""
    with Page(world.url, world.folder, world.listings, prepare=["prlimit", "--nofile=256:256"]) as page:
        page.await_listening()
        httpx.get(f"{page.url}/", trust_env=False, timeout=20).raise_for_status()
        yield page


def _connect(page: Page, address: str | None = None) -> socket.socket:
    split = urlsplit(address or page.url)
    client = socket.create_connection((split.hostname, split.port), timeout=10)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


def _is_closed(client: socket.socket, within_s: float) -> bool:
    client.settimeout(within_s)
    try:
        while client.recv(65_536):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    return True


def test_three_hundred_slow_clients_hold_up_nobody(bounded):
    with ExitStack() as held:
        for place in range(300):
            client = held.enter_context(_connect(bounded, bounded.public_url if place % 2 else None))
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ")
        took = []
        for path in ("/", "/api/v1/endpoints", "/-/healthy"):
            began = time.monotonic()
            httpx.get(f"{bounded.url}{path}", trust_env=False, timeout=10).raise_for_status()
            took.append(time.monotonic() - began)
        assert max(took) < 1.0, took
    assert bounded.process.poll() is None
    assert [line for line in bounded.said if line["level"] == "error"] == []


def test_a_head_that_dribbles_is_not_waited_for(bounded):
    began = time.monotonic()
    with _connect(bounded) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n")
        while not _is_closed(client, 0.25):
            assert time.monotonic() - began < 8
            try:
                client.sendall(b"X-More: y\r\n")
            except ConnectionError:
                break
    assert 4 < time.monotonic() - began < 8


def test_a_head_without_end_is_refused(bounded):
    with _connect(bounded) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: " + b"y" * 60_000)
        assert client.recv(4096).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize(
    "said",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_nonsense_is_refused_and_not_logged(bounded, said):
    with _connect(bounded) as client:
        client.sendall(said)
        client.shutdown(socket.SHUT_WR)
        answer = client.recv(65_536)
    if answer:
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "bad_request"
    assert httpx.get(f"{bounded.url}/-/healthy", trust_env=False).status_code == 200
    assert len(bounded.said) == 1


def test_many_requests_at_once_on_one_connection_are_all_answered(bounded):
    with _connect(bounded) as client:
        request = b"GET /-/healthy HTTP/1.1\r\nHost: a\r\n"
        client.sendall((request + b"\r\n") * 20 + request + b"Connection: close\r\n\r\n")
        received = b""
        while chunk := client.recv(65_536):
            received += chunk
    assert received.count(b"HTTP/1.1 200 OK") == 21


def test_the_host_that_a_client_claims_appears_nowhere(bounded):
    for path in ("/", "/incidents/", "//evil.example/", "/nothing"):
        response = httpx.get(f"{bounded.url}{path}", headers={"host": "evil.example"}, trust_env=False)
        assert "evil.example" not in response.text.replace("//evil.example", "")
        assert "location" not in response.headers


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_within_two_seconds_though_clients_hold_on(bounded, number):
    with ExitStack() as held:
        for said in (
            b"",
            b"GET / HTT",
            b"GET /-/healthy HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        ):
            for _ in range(10):
                client = held.enter_context(_connect(bounded))
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
                client.sendall(said)
        began = time.monotonic()
        assert bounded.end(number) == 0
        assert time.monotonic() - began < 2.0
    assert bounded.said[-1]["event"] == "page.stopped"


def test_a_client_that_takes_little_at_a_time_gets_all_of_it(bounded):
    with _connect(bounded) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        received = b""
        while chunk := client.recv(2048):
            received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"content-length: %d" % len(body) in head
