"""Simulated providers: a program of its own that imports nothing of Uptoken.

It stands in for real providers in the demo, in tests and in benchmarks, and speaks chat
completions, OpenAI's responses, Anthropic's messages, Gemini and Azure. Every reply carries
`x-simulated: true`. Start it with `python -m monitor.simulator`, or within a test:

    async with serve({"acme": Profile(ttft_ms=200)}) as simulator:
        simulator.set("acme", "http_503")
"""

from monitor.simulator.profile import BEHAVIOURS, Fault, Profile, Refusal, UsageStyle
from monitor.simulator.scenario import SCENARIOS, Scenario, Step
from monitor.simulator.server import Simulator, serve

__all__ = [
    "BEHAVIOURS",
    "SCENARIOS",
    "Fault",
    "Profile",
    "Refusal",
    "Scenario",
    "Simulator",
    "Step",
    "UsageStyle",
    "serve",
]
