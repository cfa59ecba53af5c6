"""One look, drawn."""

from monitor.cli import waterfall
from monitor.core.figures import Figures
from monitor.core.headroom import Headroom, Kind, Limit
from monitor.core.instant import SECOND, Instant
from monitor.core.observation import Observation
from monitor.core.outcome import Outcome
from monitor.core.timeline import Timeline
from monitor.core.verdict import Learnt, Verdict
from monitor.core.wire import Certificate
from monitor.pipeline import Seen
from monitor.protocols import registry


def shown(
    capsys, protocol: str, figures: Figures, *, headroom: Headroom | None = None, **settings: str
) -> list[str]:
    common = {"id": "acme/m", "provider": "acme", "slug": "m", "provider_name": "Acme", "name": "m"}
    endpoint = registry()[protocol].Settings(protocol=protocol, **common, **settings)
    verdict = Verdict(outcome=Outcome.OK, detail=None, figures=figures, learnt=Learnt())
    observation = Observation(timeline=Timeline(start=0.0, end=1.0), status=200)
    waterfall.show(
        endpoint, Seen(Instant(1_795_312_000 * SECOND), observation, verdict, None, headroom=headroom)
    )
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


def drawn(capsys, protocol: str, observation: Observation, **settings: str) -> list[str]:
    common = {"id": "acme/m", "provider": "acme", "slug": "m", "provider_name": "Acme", "name": "m.example"}
    endpoint = registry()[protocol].Settings(protocol=protocol, **common, **settings)
    figures = Figures(total_ms=12.5)
    verdict = Verdict(outcome=Outcome.OK, detail=None, figures=figures, learnt=Learnt())
    waterfall.show(endpoint, Seen(Instant(1_795_312_000 * SECOND), observation, verdict, None))
    return capsys.readouterr().out.splitlines()


def test_a_port_has_no_rows_for_a_request_that_was_not_to_be(capsys):
    line = Timeline(start=0.0, connect_s=0.0125, own_s=0.001)
    line.end = line.stood()
    lines = drawn(capsys, "tcp", Observation(timeline=line), address="acme.example:22")
    rows = [row.split()[0] for row in lines if row.startswith("  ")]
    assert rows[1:] == ["own", "dns", "connect", "tls", "total"]


def test_a_certificate_tells_its_issuer_its_days_and_the_version(capsys):
    line = Timeline(start=0.0, connect_s=0.01, tls_s=0.02)
    line.end = line.stood()
    shown = Certificate(days=41.0, first="acme.example", issuer="O=Acme", version="TLSv1.3")
    seen = Observation(timeline=line, certificate=shown, certificate_days=41.0)
    lines = drawn(capsys, "tls", seen, address="acme.example")
    assert "  TLS           TLSv1.3" in lines
    assert "  issuer        O=Acme" in lines
    assert "  certificate   expires in 41 days, first acme.example" in lines


def test_a_name_shows_what_came(capsys):
    line = Timeline(start=0.0, dns_s=0.01)
    line.end = line.stood()
    seen = Observation(timeline=line, answers=("192.0.2.1", "192.0.2.2"))
    lines = drawn(capsys, "dns", seen)
    assert lines[-2:] == ["  answers       192.0.2.1", "                192.0.2.2"]
