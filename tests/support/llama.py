"""A real inference engine: llama.cpp with random weights.

`ignore_eos: true` in the request body fixes the length of an answer, and
`grammar: 'root ::= "pong"'` makes the model say exactly that. A prompt of more than 2,048
tokens (a byte is a token, but for a few words) is refused with 400.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support import child, llama_model
from tests.support.ports import unused_port

TOP = Path(__file__).parents[2]


@dataclass(frozen=True)
class Llama:
    """One engine that answers."""

    base_url: str
    """As the OpenAI SDK takes it: `http://127.0.0.1:PORT/v1`."""
    api_key: str | None = field(repr=False)
    """None: it asks for none."""
    model: str = "tiny-random"


@contextmanager
def serving(model: Path, log: Path, api_key: str | None = None) -> Iterator[Llama]:
    """An engine of its own, answering; what it says goes to `log`."""
    env = dict(os.environ)
    if api_key is not None:
        env["LLAMA_KEY"] = api_key
    command = [sys.executable, "-m", "tests.support.llama_server", str(model), str(unused_port())]
    with log.open("wb") as stderr:
        server = child.start(command, env=env, cwd=TOP, stdout=subprocess.PIPE, stderr=stderr)
    try:
        assert server.stdout is not None
        address = server.stdout.readline().decode().strip()
        if not address:
            raise RuntimeError(log.read_text())
        yield Llama(f"{address}/v1", api_key)
    finally:
        child.end(server, signal.SIGTERM)


@pytest.fixture(scope="session")
def llama_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("llama") / "tiny.gguf"
    llama_model.write(file)
    return file


@pytest.fixture(scope="session")
def llama(llama_weights: Path) -> Iterator[Llama]:
    """A real engine that asks for no key."""
    with serving(llama_weights, llama_weights.with_name("open.log")) as engine:
        yield engine


@pytest.fixture(scope="session")
def llama_with_key(llama_weights: Path) -> Iterator[Llama]:
    """A real engine that answers 401 without its key."""
    with serving(llama_weights, llama_weights.with_name("keyed.log"), "sk-llama-secret-4271") as engine:
        yield engine
