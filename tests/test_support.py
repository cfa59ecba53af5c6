"""The fixtures themselves: what the other tests stand on."""

import json
import select
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
import sqlalchemy
from playwright.sync_api import Page

from tests.support.llama import Llama
from tests.support.postgres import Cluster


def answer_of(llama: Llama, *, prompt: str, key: str | None = None) -> dict:
    body = {"model": llama.model, "messages": [{"role": "user", "content": prompt}], "max_tokens": 8}
    headers = {"content-type": "application/json"}
    if key is not None:
        headers["authorization"] = f"Bearer {key}"
    request = urllib.request.Request(
        f"{llama.base_url}/chat/completions", json.dumps(body | {"ignore_eos": True}).encode(), headers
    )
    with urllib.request.urlopen(request, timeout=20) as reply:
        return json.load(reply)


def test_every_test_gets_an_empty_database_of_either_kind(database_url):
    engine = sqlalchemy.create_engine(database_url)
    try:
        assert sqlalchemy.inspect(engine).get_table_names() == []
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text("CREATE TABLE left_behind (id INTEGER)"))
    finally:
        engine.dispose()


def test_a_stopped_postgres_refuses_and_a_started_one_remembers(postgres: Cluster, postgres_url):
    with psycopg.connect(postgres_url) as connection:
        connection.execute("CREATE TABLE kept (id INTEGER)")
    with postgres.stopped(), pytest.raises(psycopg.OperationalError):
        psycopg.connect(postgres_url)
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)


def test_a_frozen_postgres_keeps_its_sockets_and_says_nothing(postgres: Cluster, postgres_url):
    with closing(psycopg.connect(postgres_url)) as connection:
        with postgres.frozen():
            connection.pgconn.send_query(b"SELECT 1")
            assert select.select([connection], [], [], 0.2) == ([], [], [])
        assert select.select([connection], [], [], 10)[0] == [connection]


def test_the_engine_counts_the_tokens_it_made(llama: Llama):
    assert answer_of(llama, prompt="hi")["usage"]["completion_tokens"] == 8


def test_the_engine_refuses_a_prompt_that_is_too_long(llama: Llama):
    with pytest.raises(urllib.error.HTTPError) as refusal:
        answer_of(llama, prompt="x" * 3000)
    with refusal.value as reply:
        assert reply.code == 400


def test_the_engine_with_a_key_lets_nobody_else_in(llama_with_key: Llama):
    assert answer_of(llama_with_key, prompt="hi", key=llama_with_key.api_key)["choices"]
    with pytest.raises(urllib.error.HTTPError) as refusal:
        answer_of(llama_with_key, prompt="hi", key="sk-wrong")
    with refusal.value as reply:
        assert reply.code == 401


def test_the_browser_shows_a_page(page: Page):
    page.set_content("<h1>Operational</h1>")
    assert page.get_by_role("heading").inner_text() == "Operational"


def test_a_free_port_can_be_bound(free_port):
    with socket.socket() as server:
        server.bind(("127.0.0.1", free_port))


def test_a_closed_port_refuses_and_cannot_be_taken(closed_port):
    address = ("127.0.0.1", closed_port)
    with socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as datagram:
        with pytest.raises(ConnectionRefusedError):
            stream.connect(address)
        datagram.connect(address)
        datagram.send(b"anybody?")
        with pytest.raises(ConnectionRefusedError):
            datagram.recv(1)
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(type=kind) as taking, pytest.raises(OSError, match="in use"):
            taking.bind(address)


@pytest.mark.parametrize(
    "body",
    [
        "import pytest\n@pytest.mark.skip\ndef test_a(): ...",
        "import pytest\n@pytest.mark.xfail\ndef test_a(): assert False",
        "import pytest\n@pytest.mark.xfail\ndef test_a(): ...",
        "import pytest\ndef test_a(): pytest.skip('later')",
        "import pytest\npytest.importorskip('no_such_module')\ndef test_a(): ...",
    ],
)
def test_a_test_that_does_not_look_fails(tmp_path: Path, body: str):
    top = Path(__file__).parent.parent
    (tmp_path / "tests").symlink_to(top / "tests")
    (tmp_path / "test_sample.py").write_text(body)
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", "-q"]
    run = subprocess.run(
        [*command, "--rootdir", tmp_path, "-c", "/dev/null", tmp_path / "test_sample.py"],
        cwd=tmp_path, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(top)},
    )  # fmt: skip
    assert run.returncode in {1, 2}, run.stdout
    assert "1 failed" in run.stdout or "1 error" in run.stdout
