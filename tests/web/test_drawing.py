"""Where lines and boxes lie."""

from datetime import UTC, date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.instant import DAY, HOUR, MINUTE, Instant
from monitor.core.snapshot import Spell
from monitor.core.timeline import Phases
from monitor.core.uptime import Bar, Bucket, Counts, Distribution, StateTime, uptime
from monitor.web import drawing

LENGTHS = st.integers(0, DAY)


def _bar(time: StateTime, counts: Counts | None = None) -> Bar:
    counts = counts or Counts(ok=10)
    return Bar(
        day=date(2026, 11, 21),
        start=Instant(0),
        end=Instant(DAY),
        counts=counts,
        uptime=uptime(counts),
        time=time,
        worst=None,
    )


@given(st.builds(StateTime, up=LENGTHS, degraded=LENGTHS, down=LENGTHS, unknown=LENGTHS, quiet=LENGTHS))
def test_the_boxes_of_a_day_fill_its_column_and_do_not_overlap(time):
    (column,) = drawing.columns([_bar(time)])
    if not time.total:
        assert [box.kind for box in column.boxes] == ["none"]
        return
    edge = 0.0
    for box in column.boxes:
        assert box.y == pytest.approx(edge, abs=0.35)
        assert box.height > 0
        edge += box.height
    assert edge == pytest.approx(drawing.BAR_HEIGHT, abs=0.6)


@given(st.integers(1, DAY), st.integers(0, DAY))
def test_trouble_is_never_too_short_to_be_seen(down, up):
    (column,) = drawing.columns([_bar(StateTime(down=down, up=up))])
    assert column.boxes[0].kind == "down"
    assert column.boxes[0].height >= 5


def test_a_day_says_what_it_was():
    time = StateTime(up=23 * HOUR, down=22 * MINUTE, unknown=38 * MINUTE)
    (column,) = drawing.columns([_bar(time, Counts(ok=1_300, degraded=10, provider=22))])
    assert column.title == "21 Nov 2026: 98.34 % of 1,332 looks worked, down 22 min, unknown 38 min"
    (nothing,) = drawing.columns([_bar(StateTime())])
    assert nothing.title == "21 Nov 2026: no data"


def test_a_minute_says_what_it_was():
    spell = Spell(
        start=Instant(14 * HOUR + 3 * MINUTE), counts=Counts(provider=2), time=StateTime(up=10, down=50)
    )
    (column,) = drawing.minutes([spell], UTC)
    assert column.title == "14:03: up and down, 2 looks failed"


def test_whoever_cannot_see_the_days_is_told_their_sum():
    bars = [
        _bar(StateTime(up=DAY)),
        _bar(StateTime(down=1, degraded=1)),
        _bar(StateTime(degraded=1)),
        _bar(StateTime()),
    ]
    assert drawing.spoken(bars) == "Of the last 4 days 3 with data, 1 with downtime, 1 degraded"


def test_the_phases_of_a_probe_follow_each_other():
    phases = Phases(
        dns_ms=10,
        connect_ms=20,
        tls_ms=30,
        request_sent=65,
        headers=200,
        first_byte=210,
        first_reasoning=300,
        first_answer=500,
        first_token=300,
        last_token=900,
        end=1000,
    )
    parts = drawing.waterfall(phases, 2_000)
    assert [part.kind for part in parts] == list(drawing.PHASES)
    assert [part.x for part in parts] == [0, 5, 15, 32.5, 150, 250, 450]
    assert parts[-1].x + parts[-1].width == 500
    assert parts[3].title == "waiting for the answer: 235 ms"


@pytest.mark.parametrize(
    ("phases", "kinds"),
    [
        (Phases(), []),
        (Phases(dns_ms=3, end=3), ["dns"]),
        (Phases(dns_ms=3, connect_ms=5, end=5_000), ["dns", "connect", "wait"]),
        (Phases(connect_ms=5, request_sent=6, end=5_000), ["connect", "rest"]),
        (Phases(connect_ms=5, request_sent=6, first_byte=80, end=90), ["connect", "wait", "rest"]),
        (Phases(connect_ms=5, request_sent=6, first_token=80, last_token=80, end=80), ["connect", "wait"]),
    ],
)
def test_a_probe_is_drawn_as_far_as_it_came(phases, kinds):
    assert [part.kind for part in drawing.waterfall(phases, drawing.longest([phases, None]))] == kinds


@pytest.mark.parametrize(
    ("phases", "kinds"),
    [
        (Phases(own_ms=4.0, connect_ms=20.0, end=24.0), ["connect"]),
        (Phases(own_ms=4.0, dns_ms=3.0, connect_ms=20.0, tls_ms=30.0, end=57.0), ["dns", "connect", "tls"]),
        (Phases(own_ms=4.0, connect_ms=20.0, end=124.0), ["connect", "wait"]),
    ],
)
def test_where_nothing_is_asked_our_own_time_is_no_waiting(phases, kinds):
    assert [part.kind for part in drawing.waterfall(phases, 200.0)] == kinds


def _bucket(place: int, middle: float | None) -> Bucket:
    found = Distribution(n=1, min=middle, p5=middle, p50=middle, p95=middle, max=middle)
    return Bucket(start=Instant(place), counts=Counts(), distribution=found if middle else Distribution())


def test_a_line_breaks_where_nothing_is_known():
    drawn = drawing.chart([_bucket(p, m) for p, m in enumerate([100.0, 200.0, None, 150.0])], "min", "p95")
    assert drawn is not None
    assert drawn.line.count("M") == 2
    assert len(drawn.dots) == 1
    assert drawn.top == 200
    assert "0L" in drawn.line or "L" in drawn.line


def test_nothing_known_is_no_line():
    assert drawing.chart([_bucket(0, None)] * 3, "min", "p95") is None


@given(st.floats(0.001, 1e9))
def test_the_upper_edge_is_a_round_number_above_everything(value):
    top = drawing._round_up(value)
    assert value <= top <= 2.5 * value
