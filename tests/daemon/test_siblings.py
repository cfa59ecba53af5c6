"""One model over several protocols: endpoints of their own, side by side wherever they are shown."""

import json
import urllib.request

from tests.support.daemon import Home, alerting
from tests.support.simulated import Simulated


def test_siblings_stand_side_by_side_in_the_feed_and_on_the_page(
    sqlite_home: Home, simulated: Simulated, free_port: int
) -> None:
    door = simulated.base_url("acme").removesuffix("/v1")
    address = f"127.0.0.1:{free_port}"
    sqlite_home.configure(
        '[defaults]\ninterval = "1s"\ntimeout = "900ms"\n',
        alerting(),
        f"""
        [provider.acme]
        protocol = "openai-chat"
        base_url = "{door}/v1"
        [[provider.acme.endpoints]]
        model = "gpt-x"
        labels = {{ tier = "gold" }}
        also = [
          {{ protocol = "anthropic", base_url = "{door}" }},
          {{ protocol = "gemini", base_url = "{door}/v1beta" }},
        ]
        [[provider.acme.endpoints]]
        model = "another"
        """,
        listen=address,
    )
    daemon = sqlite_home.ready()
    for endpoint in ("acme/gpt-x", "acme/gpt-x.anthropic", "acme/gpt-x.gemini", "acme/another"):
        daemon.wait("probe.stored", endpoint=endpoint, outcome="ok")
    with urllib.request.urlopen(f"http://{address}/api/v1/endpoints", timeout=10) as answer:
        endpoints = json.load(answer)["endpoints"]
    assert [(one["id"], one["protocol"], one["model_id"]) for one in endpoints] == [
        ("acme/gpt-x", "openai-chat", "gpt-x"),
        ("acme/gpt-x.anthropic", "anthropic", "gpt-x"),
        ("acme/gpt-x.gemini", "gemini", "gpt-x"),
        ("acme/another", "openai-chat", "another"),
    ]
    with urllib.request.urlopen(f"http://{address}/", timeout=10) as answer:
        page = answer.read().decode()
    places = [
        page.index(f'<p class="protocol">{name}</p>') for name in ("openai-chat", "anthropic", "gemini")
    ]
    assert places == sorted(places)
    with urllib.request.urlopen(f"http://{address}/endpoints/acme/gpt-x.anthropic", timeout=10) as answer:
        assert "<dd>anthropic</dd>" in answer.read().decode()
    assert daemon.stop()[0] == 0
