"""LiteLLM's proxy with TLS in front of the simulated providers: a gateway that others wrote."""

import json
import os
import signal
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.gateways.conftest import LITELLM
from tests.support import child
from tests.support.daemon import TOP
from tests.support.ports import unused_port
from tests.support.simulated import Simulated, simulating
from tests.transport.servers import GOOD_FOR, Certificates, make_certificates

KEY = "sk-local"
READY_S = 120.0
LOOKS = 5
"""LiteLLM works hard on each request; a look that could not be timed for that is taken again."""
PROTOCOLS = {
    "chat": ("openai-chat", "/v1"),
    "messages": ("anthropic", ""),
    "responses": ("openai-responses", "/v1"),
}
LIMITS = {
    "x-ratelimit-limit-requests": "500", "x-ratelimit-remaining-requests": "416",
    "x-ratelimit-reset-requests": "120ms",
}  # fmt: skip
TTFT_MS = 350
every_protocol = pytest.mark.parametrize("provider", PROTOCOLS)


@dataclass
class Gateway:
    config: Path
    simulated: Simulated

    def look(self, endpoint: str, key: str = KEY) -> dict[str, Any]:
        """What `uptoken probe` says, once it could time it."""
        command = [sys.executable, "-m", "monitor", "probe", endpoint, "--json", "--config", self.config]
        for _ in range(LOOKS):
            done = subprocess.run(
                command, env={**os.environ, "GATEWAY_KEY": key}, cwd=TOP, stdout=subprocess.PIPE, check=False
            )
            seen: dict[str, Any] = json.loads(done.stdout)
            if seen["outcome"] != "self_overload":
                return seen
        raise AssertionError(f"{LOOKS} looks, and none could be timed: {seen['detail']}")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[Gateway]:
    folder, port = tmp_path_factory.mktemp("litellm"), unused_port()
    with simulating() as simulated:
        simulated.define("acme", ttft_ms=TTFT_MS, tokens_per_s=80.0, headers=LIMITS)
        settings = folder / "litellm.yaml"
        settings.write_text(json.dumps(_settings(simulated.base_url("acme"))))  # JSON is YAML
        config = folder / "config.toml"
        config.write_text(_config(port, certificates.authority))
        own = certificates.authority.with_name("good.pem")
        with (folder / "log").open("wb") as log:
            process = child.start(
                [
                    os.environ[LITELLM], "--config", settings, "--host", "127.0.0.1", "--port", str(port),
                    "--ssl_certfile_path", own, "--ssl_keyfile_path", own,
                ],
                env={**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}, cwd=folder, stdout=log, stderr=log,
            )  # fmt: skip
            try:
                _wait(process, f"https://localhost:{port}/health/liveliness", certificates, folder / "log")
                one = Gateway(config, simulated)
                for provider in PROTOCOLS:
                    one.look(f"{provider}/sim")  # its first answer by each door comes late and in one piece
                yield one
            finally:
                child.end(process, signal.SIGTERM, within_s=30.0)


def _settings(upstream: str) -> dict[str, Any]:
    behind = {"model": "openai/sim-1", "api_base": upstream, "api_key": "sk-none"}
    return {
        "model_list": [{"model_name": "sim", "litellm_params": behind}],
        "litellm_settings": {"telemetry": False, "num_retries": 0},
        "router_settings": {"num_retries": 0, "disable_cooldowns": True},
        "general_settings": {"master_key": KEY},
    }


def _config(port: int, authority: Path) -> str:
    head = f'[defaults]\ntimeout = "25s"\nstall_timeout = "2s"\nca_file = "{authority}"\nmax_tokens = 24\n'
    return head + "".join(
        f'[provider.{name}]\nprotocol = "{protocol}"\nbase_url = "https://localhost:{port}{path}"\n'
        'api_key = "${env:GATEWAY_KEY}"\n'
        f'[[provider.{name}.endpoints]]\nmodel = "sim"\n'
        for name, (protocol, path) in PROTOCOLS.items()
    )


def _wait(process: "subprocess.Popen[bytes]", url: str, certificates: Certificates, log: Path) -> None:
    context = ssl.create_default_context(cafile=str(certificates.authority))
    deadline = time.monotonic() + READY_S
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5, context=context):
                return
        except OSError:
            ended = process.poll() is not None or time.monotonic() > deadline
            assert not ended, f"LiteLLM is not ready:\n{log.read_text()[-3000:]}"
            time.sleep(0.25)


@pytest.fixture(autouse=True)
def _well(gateway: Gateway) -> None:
    gateway.simulated.set("acme", "ok")


@every_protocol
def test_a_good_answer_is_read_through_the_gateway(gateway: Gateway, provider: str) -> None:
    seen = gateway.look(f"{provider}/sim")
    assert seen["outcome"] == "ok"
    assert seen["answer"].startswith("pong")
    assert (seen["output_tokens"], seen["token_source"]) == (24, "usage")
    assert seen["ttft_net_ms"] >= TTFT_MS
    assert seen["output_speed"] == pytest.approx(80.0, rel=0.25)
    assert GOOD_FOR.days - 1 < seen["certificate_days"] <= GOOD_FOR.days
    assert seen["timeline"]["tls_ms"] > 0


@pytest.mark.parametrize("provider", ["chat", "responses"])  # it does not pass them on to Anthropic's door
def test_the_limits_of_whoever_is_behind_the_gateway_come_through(gateway: Gateway, provider: str) -> None:
    seen = gateway.look(f"{provider}/sim")
    assert seen["headroom"]["percent"] == 83.2
    assert [one["remaining"] for one in seen["headroom"]["limits"]] == [416]


@every_protocol
@pytest.mark.parametrize(
    ("behaviour", "outcome"),
    [
        ("rate_limited", "rate_limited"),
        ("quota_exhausted", "quota_exhausted"),
        ("auth_failed", "auth_failed"),
        ("model_not_found", "model_not_found"),
        ("http_500", "http_5xx"),
        ("overloaded_529", "overloaded"),
        ("stream_error", "stream_error"),
        ("stalled", "stalled"),
        ("empty", "empty_completion"),
    ],
)
def test_what_befalls_the_provider_is_told_through_the_gateway(
    gateway: Gateway, provider: str, behaviour: str, outcome: str
) -> None:
    gateway.simulated.set("acme", behaviour)
    seen = gateway.look(f"{provider}/sim")
    assert seen["outcome"] == outcome, seen["detail"]


@every_protocol
def test_an_authority_that_nobody_named_is_a_failure_of_tls(
    gateway: Gateway, provider: str, tmp_path: Path
) -> None:
    config = tmp_path / "config.toml"
    told = gateway.config.read_text()
    config.write_text("".join(line for line in told.splitlines(True) if not line.startswith("ca_file")))
    seen = Gateway(config, gateway.simulated).look(f"{provider}/sim")
    assert (seen["outcome"], seen["status"]) == ("tls_failure", None)
