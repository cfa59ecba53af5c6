"""What people read who query their own database."""

import re
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, inspect, text

from monitor.core.instant import Instant, from_iso
from monitor.core.step import probe_id
from monitor.store import migrate, schema, views
from monitor.store.engine import Database

AT = from_iso("2026-11-21T22:00:00.123456Z")
VIEWS = (
    "uptoken_endpoint_state",
    "uptoken_event",
    "uptoken_gap",
    "uptoken_incident",
    "uptoken_incident_update",
    "uptoken_probe",
    "uptoken_transition",
)
DOCUMENT = Path(__file__).parents[2] / "docs" / "database.md"

PROBE: dict[str, Any] = {
    "endpoint_id": 1,
    "at": AT,
    "salt": -5,
    "late_us": 1_456,
    "location_id": 0,
    "outcome": 1,
    "flags": schema.FLAG_SCHEDULED,
    "setup_us": 100_000,
    "ttft_us": 650_000,
    "ttfat_us": 650_000,
    "total_us": 1_144_118,
    "output_speed_milli": 127_500,
    "throughput_milli": 55_939,
    "stall_us": 12_345,
    "uncertainty_us": 0,
    "input_tokens": 30,
    "output_tokens": 64,
    "cost_pico": 12_345_000_000_001,
    "headroom_permille": 832,
}
BARE: dict[str, Any] = {
    "endpoint_id": 1,
    "at": AT + 1,
    "salt": 5,
    "late_us": 0,
    "location_id": 0,
    "outcome": 22,
    "flags": schema.FLAG_NOT_SENT | schema.FLAG_MAINTENANCE,
    "total_us": 0,
}


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    migrate.upgrade(opened)
    opened.write(lambda c: c.execute(schema.endpoint.insert(), {"name": "acme/tiny", "first_seen": AT}))
    yield opened
    opened.dispose()


def _insert(database: Database, table: str, **row: object) -> None:
    database.write(lambda c: c.execute(schema.metadata.tables[table].insert(), row))


def _rows(database: Database, view: str) -> list[dict[str, Any]]:
    def work(connection: Connection) -> list[dict[str, Any]]:
        found = connection.execute(text(f"SELECT * FROM {view}")).mappings()
        return [{name: _plain(value) for name, value in row.items()} for row in found]

    return database.read(work)


def _plain(value: object) -> object:
    """The same value whichever database gave it."""
    if isinstance(value, datetime):
        return value.astimezone().timestamp()
    return float(value) if isinstance(value, Decimal) else value


def _seconds(shown: object) -> float:
    """A moment for people, to the millisecond."""
    seconds = from_iso(shown) / 1e6 if isinstance(shown, str) else shown
    assert isinstance(seconds, float)
    return int(seconds * 1000) / 1000


def test_a_probe_is_shown_with_the_figures_of_the_manual(database: Database) -> None:
    _insert(database, "probe", **PROBE)
    row = _rows(database, "uptoken_probe")[0]
    assert _seconds(row.pop("at")) == 1_795_298_400.123
    assert _seconds(row.pop("slot")) == 1_795_298_400.122
    assert float(row.pop("cost_usd")) == 12.345000000001
    assert row.pop("e2e_500_ms") == pytest.approx(4571.6, abs=0.05)
    assert row == {
        "id": probe_id(AT, -5),
        "endpoint": "acme/tiny",
        "location": "default",
        "at_us": AT,
        "slot_us": AT - 1_456,
        "scheduled": True,
        "sent": True,
        "maintenance": False,
        "outcome": "slow",
        "blame": "degraded",
        "ttft_ms": 650.0,
        "ttft_net_ms": 550.0,
        "ttfat_ms": 650.0,
        "output_speed": 127.5,
        "effective_throughput": 55.939,
        "max_stall_ms": 12.345,
        "total_ms": 1144.118,
        "ttft_uncertainty_ms": 0.0,
        "total_uncertainty_ms": None,
        "input_tokens": 30,
        "output_tokens": 64,
        "reasoning_tokens": None,
        "cached_tokens": None,
        "token_source": "usage",
        "detail": None,
        "request_id": None,
        "flaws": None,
        "cache_hit": False,
        "headroom": 83.2,
    }


def test_what_a_probe_does_not_know_is_null(database: Database) -> None:
    _insert(database, "probe", **BARE)
    row = _rows(database, "uptoken_probe")[0]
    assert (row["scheduled"], row["sent"], row["maintenance"]) == (False, False, True)
    assert (row["outcome"], row["blame"]) == ("rate_limited", "throttled")
    known = {name for name, value in row.items() if value is not None}
    assert (
        known & {"ttft_ms", "ttft_net_ms", "e2e_500_ms", "output_speed", "token_source", "cost_usd"} == set()
    )


def test_tokens_that_we_estimated_say_so(database: Database) -> None:
    _insert(database, "probe", **{**PROBE, "flags": schema.FLAG_ESTIMATE})
    assert _rows(database, "uptoken_probe")[0]["token_source"] == "estimate"


def test_where_there_was_no_token_nobody_counted_any(database: Database) -> None:
    """A refusal may bring a usage all the same."""
    for salt, flags in enumerate((0, schema.FLAG_ESTIMATE)):
        _insert(
            database,
            "probe",
            **{**BARE, "salt": salt, "flags": flags, "input_tokens": 30, "output_tokens": 0},
        )
    assert [row["token_source"] for row in _rows(database, "uptoken_probe")] == [None, None]


@pytest.mark.parametrize(
    ("pico", "usd"), [(0, "0"), (1, "0.000000000001"), (999_999_999_999_999, "999.999999999999")]
)
def test_money_is_exact(database: Database, pico: int, usd: str) -> None:
    _insert(database, "probe", **{**PROBE, "cost_pico": pico})
    shown = database.read(lambda c: c.execute(text("SELECT cost_usd FROM uptoken_probe")).scalar_one())
    assert Decimal(shown) == Decimal(usd)


@pytest.mark.parametrize(
    "at", ["2026-02-28T23:59:59.999999Z", "2028-02-29T00:00:00.000000Z", "1970-01-01T00:00:00.001Z"]
)
def test_a_moment_is_cut_and_not_rounded(database: Database, at: str) -> None:
    moment = from_iso(at)
    _insert(database, "probe", **{**BARE, "at": moment})
    row = _rows(database, "uptoken_probe")[0]
    assert row["id"] == probe_id(Instant(moment), 5)
    assert _seconds(row["at"]) == int(moment / 1000) / 1000


def test_an_endpoint_that_was_never_looked_at_is_unknown(database: Database) -> None:
    (row,) = _rows(database, "uptoken_endpoint_state")
    assert (row["endpoint"], row["state"], row["since"]) == ("acme/tiny", "unknown", None)
    assert row["first_seen_us"] == AT
    _insert(
        database,
        "belief",
        endpoint_id=1,
        sequence=1,
        state="unknown",
        since=0,
        reason="no look yet",
        body="{}",
    )
    # Looked at, but it never worked: nothing has begun yet.
    (row,) = _rows(database, "uptoken_endpoint_state")
    assert (row["state"], row["since"], row["since_us"]) == ("unknown", None, None)
    said = {"state": "down", "since": AT, "reason": "timeout"}
    database.write(lambda c: c.execute(schema.belief.update().values(**said)))
    (row,) = _rows(database, "uptoken_endpoint_state")
    assert (row["state"], row["reason"], row["since_us"]) == ("down", "timeout", AT)


def test_an_incident_names_its_endpoints_in_order(database: Database) -> None:
    _insert(database, "endpoint", name="acme/big", first_seen=AT)
    _insert(database, "incident", id="i1", sequence=2, title="both", impact="down", started_at=AT)
    for number in (1, 2):
        _insert(database, "incident_endpoint", incident_id="i1", endpoint_id=number)
    _insert(database, "incident_update", incident_id="i1", sequence=1, at=AT, status="down", text="it is")
    (row,) = _rows(database, "uptoken_incident")
    assert (row["endpoints"], row["started_at_us"], row["ended_at"]) == ("acme/big,acme/tiny", AT, None)
    (row,) = _rows(database, "uptoken_incident_update")
    assert (row["incident"], row["sequence"], row["status"], row["text"]) == ("i1", 1, "down", "it is")


def test_transitions_and_gaps_name_their_endpoint(database: Database) -> None:
    _insert(
        database,
        "transition",
        endpoint_id=1,
        sequence=3,
        at=AT,
        effective_at=AT - 1,
        before="up",
        after="down",
        reason="3 in a row",
    )
    _insert(database, "gap", endpoint_id=1, first=AT, last=AT + 60_000_000, slots=2, reason="suspended")
    (row,) = _rows(database, "uptoken_transition")
    assert (row["endpoint"], row["before"], row["after"]) == ("acme/tiny", "up", "down")
    assert (row["at_us"], row["effective_at_us"]) == (AT, AT - 1)
    (row,) = _rows(database, "uptoken_gap")
    assert (row["endpoint"], row["slots"], row["last_us"]) == ("acme/tiny", 2, AT + 60_000_000)


def test_views_can_be_put_in_place_again(database: Database) -> None:
    database.write(views.create)
    assert len(_rows(database, "uptoken_endpoint_state")) == 1


def test_every_column_stands_in_the_manual_in_its_place(database: Database) -> None:
    columns = database.read(
        lambda c: {view: [column["name"] for column in inspect(c).get_columns(view)] for view in VIEWS}
    )
    assert columns == _documented()
    assert set(database.read(lambda c: inspect(c).get_view_names())) == set(VIEWS)


def _documented() -> dict[str, list[str]]:
    told: dict[str, list[str]] = {}
    for section in DOCUMENT.read_text().split("\n## ")[1:]:
        heading, _, body = section.partition("\n")
        if heading.startswith("uptoken_"):
            cells = re.findall(r"^\| (`[^|]+) \|", body, re.MULTILINE)
            told[heading] = [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]
    return told
