"""Every secret of the config is hidden from everything that any endpoint hears."""

from base64 import b64encode

import pytest

from monitor import compose
from monitor.clock import Clock
from monitor.config.load import load
from monitor.config.secrets import resolve
from monitor.core.belief import Rules
from monitor.core.blot import Blot
from monitor.core.instant import MINUTE, Instant, Span
from monitor.core.slots import Grid
from monitor.core.verdict import Learnt
from monitor.core.wire import Fault, FaultKind, Phase
from monitor.pipeline import Seen, Watched, look_once
from monitor.protocols import Look, settings_registry
from tests.config.files import NOW
from tests.protocols.replay import BLOT, KEY, START, Piece, Recording, Replay, look_of

CONFIG = """
[database]
url = "postgresql://uptoken:${env:DATABASE}@localhost/uptoken"
[channel.ops]
url = "${env:CHANNEL}"
[provider.openai]
protocol = "openai-chat"
base_url = "https://api.openai.com/v1"
api_key = "${env:KEY}"
proxy = "http://me:${env:PROXY}@proxy.example:3128"
  [[provider.openai.endpoints]]
  model = "gpt-4.1-nano"
[provider.site]
protocol = "http"
  [[provider.site.endpoints]]
  name = "shop"
  url = "https://shop.example/health?api_key=literal%2Bsecret%2B0815&of=stock-report-77"
  headers = { X-Api-Key = "written-down-4711", Authorization = "Bearer written-too-4712" }
[provider.jobs]
protocol = "push"
  [[provider.jobs.endpoints]]
  name = "backup"
  token = "${env:TOKEN}"
"""
ENVIRON = {
    "DATABASE": "hunter2-of-the-database",
    "CHANNEL": "slack://T0AB12CD3/B0EF45GH6/Qx7pLm29Zr4Tn8Vb/#ops",
    "KEY": "sk-proj-8fK2mQ9xW4vB7nT3",
    "PROXY": "p@ss of 1 proxy",
    "TOKEN": "5e1f0c1e-7f5b-4e0c-9a53-3b1d1c1a2b3c",
}


@pytest.fixture(scope="module")
def blot(tmp_path_factory: pytest.TempPathFactory) -> Blot:
    path = tmp_path_factory.mktemp("config") / "config.toml"
    path.write_text(CONFIG)
    path.chmod(0o600)
    config = load(path, settings_registry(), NOW)
    return compose.blot(config, resolve(config, ENVIRON, None))


@pytest.mark.parametrize(
    "said",
    [
        *ENVIRON.values(),
        "Qx7pLm29Zr4Tn8Vb",
        "p%40ss%20of%201%20proxy",
        b64encode(b"me:p@ss of 1 proxy").decode(),
        "literal%2Bsecret%2B0815",
        "literal+secret+0815",
        "written-down-4711",
        "written-too-4712",
    ],
)
def test_whatever_is_secret_is_hidden(blot: Blot, said: str) -> None:
    left = blot.hide(f"you said {said} to us")
    assert left.removeprefix("you said ").removesuffix(" to us").strip("=") in ("***", "***/#ops")


@pytest.mark.parametrize(
    "said",
    [
        "openai/gpt-4.1-nano at api.openai.com has no shop.example, and no localhost",
        "stock-report-77 of the backup, by Bearer, for uptoken",
        "no connection to proxy.example port 3128 (postgresql://, slack://)",
    ],
)
def test_what_is_not_stays_readable(blot: Blot, said: str) -> None:
    assert blot.hide(said) == said


def watched(look: Look, recording: Recording) -> Watched:
    """An endpoint whose own secrets are none of those that it hears."""
    return Watched(
        id="acme/thing",
        provider="acme",
        look=look,
        wire=Replay(recording),
        rules=Rules(subject=None, interval=Span(MINUTE), timeout=Span(MINUTE)),  # type: ignore[arg-type]
        grid=Grid(Span(MINUTE), 0),
        timeout_s=30.0,
        connect_s=10.0,
        protocol="x",
        location="default",
        blot=BLOT,
    )


async def heard(look: Look, recording: Recording) -> Seen:
    clock = Clock(now=lambda: Instant(1_795_000_000_000_000), monotonic=lambda: START)
    return await look_once(watched(look, recording), Learnt(), "0badc0de", clock)


REFUSED = Recording(refused=Fault(FaultKind.TLS, Phase.TLS, f"the certificate is for {KEY}.example"))
PAGE = Recording(
    [Piece(f"it is {KEY}".encode())], status=500, headers={"x-request-id": KEY, "location": f"/{KEY}"}
)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("look", "recording"),
    [
        (look_of("http", url="http://acme.example/"), PAGE),
        (look_of("openai-chat", api_key=None), PAGE),
        (look_of("tcp", address="acme.example:1", expect={"banner_contains": "x"}), PAGE),
        (look_of("dns", query="acme.example", expect={"answer": "x"}), Recording(answers=(f"a {KEY}",))),
        (look_of("tls", address="acme.example"), REFUSED),
        (look_of("http", url="https://acme.example/"), REFUSED),
    ],
    ids=["http", "openai-chat", "tcp", "dns", "tls", "refused"],
)
async def test_no_protocol_lets_a_secret_of_another_endpoint_in(look: Look, recording: Recording) -> None:
    seen = await heard(look, recording)
    assert KEY not in repr(seen)
    assert seen.verdict.detail is not None
    assert "***" in repr(seen)
