"""One look, drawn."""

from monitor.cli import waterfall
from monitor.core.figures import Figures
from monitor.core.headroom import Headroom, Kind, Limit
from monitor.core.instant import SECOND, Instant
from monitor.core.observation import Observation
from monitor.core.outcome import Outcome
from monitor.core.timeline import Timeline
from monitor.core.verdict import Learnt, Verdict
from monitor.pipeline import Seen
from monitor.protocols import registry


def shown(
    capsys, protocol: str, figures: Figures, *, headroom: Headroom | None = None, **settings: str
) -> list[str]:
    common = {"id": "acme/m", "provider": "acme", "slug": "m", "provider_name": "Acme", "name": "m"}
    endpoint = registry()[protocol].Settings(protocol=protocol, **common, **settings)
    verdict = Verdict(outcome=Outcome.OK, detail=None, figures=figures, learnt=Learnt())
    observation = Observation(timeline=Timeline(start=0.0, end=1.0), status=200)
    waterfall.show(endpoint, Seen(Instant(1_795_312_000 * SECOND), observation, verdict, None, headroom))
    return capsys.readouterr().out.splitlines()


def test_a_bound_is_marked_and_says_by_how_much(capsys):
    figures = Figures(ttft_ms=1234.5, ttft_uncertainty_ms=40.0, output_speed=120.0, total_ms=2000.0)
    lines = shown(capsys, "openai-chat", figures, model="m", base_url="https://api.acme.example/v1")
    (row,) = [line for line in lines if "output_speed" in line]
    assert row.split() == ["ttft", "≤", "1,234", "ms", "output_speed", "120.0", "tokens/s"]
    assert "  uncertainty   the first token may have come up to 40.0 ms earlier" in lines
    assert max(map(len, lines)) <= 80


def test_what_is_left_of_the_limits_is_told(capsys):
    left = Headroom(Instant(0), (Limit(kind=Kind.REQUESTS, limit=500, remaining=499),))
    settings = {"model": "m", "base_url": "https://api.acme.example/v1"}
    lines = shown(capsys, "openai-chat", Figures(total_ms=812.0), headroom=left, **settings)
    assert "  limits        99 % of requests left" in lines


def test_a_page_says_by_how_much_its_end_is_unsure(capsys):
    figures = Figures(total_ms=812.0, total_uncertainty_ms=7.0)
    lines = shown(capsys, "http", figures, url="https://acme.example/")
    assert lines[-3:-1] == [
        "  total         ≤ 812 ms",
        "  uncertainty   the end may have come up to 7.0 ms earlier",
    ]
