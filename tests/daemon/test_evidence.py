"""A stream that breaks off in the middle: what the operator can attach to a ticket."""

import json
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.cli.command import uptoken
from tests.support.daemon import Home, alerting, until

KEY = "sk-test-0123456789abcdef"
CHUNK = b'data: {"id":"c-1","model":"gpt-x","choices":[{"delta":{"content":"one word "}}]}\n\n'


class Breaking:
    """A provider that says a little, echoes the key of whoever asks, and breaks off."""

    def __init__(self) -> None:
        self._door = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._door.getsockname()[1]}/v1"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._door.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._door.accept()
            except OSError:
                return
            with client:
                self._answer(client)

    def _answer(self, client: socket.socket) -> None:
        asked = b""
        while b'"stream"' not in asked and (piece := client.recv(65536)):
            asked += piece
        client.sendall(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nx-request-id: req_42\r\n"
            b"transfer-encoding: chunked\r\n\r\n"
        )
        for event in (b": waiting\n\n", f": you are {KEY}\n\n".encode(), CHUNK, CHUNK):
            client.sendall(b"%x\r\n%s\r\n" % (len(event), event))


@pytest.fixture
def provider() -> Iterator[Breaking]:
    made = Breaking()
    yield made
    made.close()


def configure(home: Home, provider: Breaking, *, listen: str = "", public: str = "") -> None:
    home.configure(
        f'public_listen = "{public}"\n' if public else "",
        alerting(),
        f"""
        [provider.acme]
        protocol = "openai-chat"
        base_url = "{provider.url}"
        api_key = "${{env:KEY}}"
        interval = "1s"
        timeout = "900ms"
        [[provider.acme.endpoints]]
        model = "gpt-x"
        """,
        listen=listen,
    )


def text(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


def get(url: str) -> Any:
    return json.loads(text(url))


@contextmanager
def refused(status: int) -> Iterator[None]:
    with pytest.raises(urllib.error.HTTPError) as error:
        yield
    assert error.value.code == status
    assert set(json.load(error.value)["error"]) == {"code", "message"}


def test_what_an_operator_attaches_to_a_ticket(home: Home, provider: Breaking) -> None:
    configure(home, provider)
    daemon = home.ready(env={"KEY": KEY})
    stored = daemon.wait("probe.stored", outcome="truncated")
    where = ("--config", home.config)
    told = uptoken("evidence", stored["probe"], *where, cwd=home.folder)
    assert (told.status, told.err) == (0, "")
    lines = told.out.splitlines()
    assert lines[0] == "acme/gpt-x: truncated"
    facts = dict(line.split(maxsplit=1) for line in lines[2:12] if line.count("  "))
    assert facts["asked"].startswith(f"POST {provider.url}/chat/completions, body of ")
    assert facts["status"] == "200"
    assert "request id    req_42" in lines
    assert "  | x-request-id: req_42" in lines
    assert "  | : you are ***" in lines
    assert f"  | {CHUNK.decode().strip()}" in lines
    assert any("  bytes     body, " in line for line in lines)
    assert any("  fault     broken off" in line for line in lines)
    assert KEY not in told.out
    document = uptoken("evidence", "ACME/gpt-x", "--json", *where, cwd=home.folder).json
    assert document["outcome"] == "truncated"
    assert document["request"]["peer"] == provider.url.split("/")[2].replace(":", " port ")
    listed = uptoken("evidence", "acme/gpt-x", "--list", *where, cwd=home.folder)
    assert stored["probe"] in listed.out
    assert daemon.stop()[0] == 0
    assert all(KEY not in str(line) for line in daemon.lines)


def test_the_operators_address_has_it_and_the_one_for_everybody_does_not(
    sqlite_home: Home, provider: Breaking, free_port: int
) -> None:
    configure(sqlite_home, provider, listen="127.0.0.1:0", public=f"127.0.0.1:{free_port}")
    daemon = sqlite_home.ready(env={"KEY": KEY})
    listening = daemon.wait("page.listening")
    (address,) = [one for one in listening["addresses"] if not one.endswith(f":{free_port}")]
    probe = daemon.wait("probe.stored", outcome="truncated")["probe"]
    home, api = f"{address}/endpoints/acme/gpt-x", f"{address}/api/v1/endpoints/acme/gpt-x"
    until(lambda: bool(get(f"{api}/probes")["probes"]), "the page shows the probe")
    assert get(f"{api}/probes")["probes"][-1]["evidence"] is True
    document = get(f"{api}/probes/{probe}/evidence")
    assert (document["id"], document["endpoint"]) == (probe, "acme/gpt-x")
    assert document["body"].startswith(": waiting\n\n: you are ***\n\n")
    assert get(f"{api}/evidence")["id"] >= probe
    link = f'href="/api/v1/endpoints/acme/gpt-x/probes/{probe}/evidence"'
    until(lambda: link in text(home), "the page of the endpoint leads to it")
    for nowhere in (f"{api}/probes/{'f' * 32}/evidence", f"{api}/probes/x/evidence"):
        with refused(404):
            get(nowhere)
    public = f"http://127.0.0.1:{free_port}"
    for path in ("evidence", f"probes/{probe}/evidence"):
        with refused(404):
            get(f"{public}/api/v1/endpoints/acme/gpt-x/{path}")
    assert get(f"{public}/api/v1/endpoints/acme/gpt-x/probes")["probes"][0]["evidence"] is None
    page = text(f"{public}/endpoints/acme/gpt-x")
    assert "truncated" in page
    assert "evidence" not in page
    assert daemon.stop()[0] == 0
