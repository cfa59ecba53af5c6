"""The first schema."""

import sqlalchemy as sa

from alembic import op

revision = "0001"
down_revision = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

OUTCOMES = [
    (0, "ok", None),
    (1, "slow", "degraded"),
    (2, "wrong_answer", "degraded"),
    (3, "model_swapped", "degraded"),
    (4, "certificate_expiring", "degraded"),
    (5, "dns_failure", "provider"),
    (6, "connect_refused", "provider"),
    (7, "connect_timeout", "provider"),
    (8, "host_unreachable", "provider"),
    (9, "connection_reset", "provider"),
    (10, "tls_failure", "provider"),
    (11, "first_token_timeout", "provider"),
    (12, "stalled", "provider"),
    (13, "total_timeout", "provider"),
    (14, "http_5xx", "provider"),
    (15, "overloaded", "provider"),
    (16, "stream_error", "provider"),
    (17, "truncated", "provider"),
    (18, "empty_completion", "provider"),
    (19, "malformed_response", "provider"),
    (20, "model_removed", "provider"),
    (21, "assertion_failed", "provider"),
    (22, "rate_limited", "throttled"),
    (23, "auth_failed", "config"),
    (24, "quota_exhausted", "config"),
    (25, "bad_request", "config"),
    (26, "model_not_found", "config"),
    (27, "content_filtered", "config"),
    (28, "no_answer", "config"),
    (29, "local_network", "monitor"),
    (30, "budget_exhausted", "monitor"),
    (31, "self_overload", "monitor"),
    (32, "cancelled", "monitor"),
    (33, "internal_error", "monitor"),
]


def upgrade() -> None:
    _create_names()
    _create_results()
    _create_beliefs()
    _create_incidents()
    _create_messages()
    _create_operations()


def _create_names() -> None:
    op.create_table(
        "endpoint",
        sa.Column("id", KEY, nullable=False),
        sa.Column("name", sa.Text(), nullable=False, comment="<provider>/<slug>"),
        sa.Column("first_seen", sa.BigInteger(), nullable=False),
        sa.Column("removed_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", name="pk_endpoint"),
        sa.UniqueConstraint("name", name="uq_endpoint_name"),
    )
    location = op.create_table(
        "location",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_location"),
        sa.UniqueConstraint("name", name="uq_location_name"),
    )
    outcome = op.create_table(
        "outcome",
        sa.Column("code", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("blame", sa.Text()),
        sa.PrimaryKeyConstraint("code", name="pk_outcome"),
        sa.UniqueConstraint("name", name="uq_outcome_name"),
    )
    op.bulk_insert(outcome, [dict(zip(("code", "name", "blame"), row, strict=True)) for row in OUTCOMES])
    op.bulk_insert(location, [{"id": 0, "name": "default"}])


def _create_results() -> None:
    op.create_table(
        "probe",
        sa.Column("endpoint_id", sa.Integer(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False, comment="start of the probe"),
        sa.Column("salt", sa.BigInteger(), nullable=False, comment="second half of the probe id"),
        sa.Column("late_us", sa.BigInteger(), nullable=False, comment="at - slot"),
        sa.Column("location_id", sa.SmallInteger(), nullable=False),
        sa.Column("outcome", sa.SmallInteger(), nullable=False),
        sa.Column("flags", sa.SmallInteger(), nullable=False, comment="see FLAG_*"),
        sa.Column("setup_us", sa.Integer(), comment="dns + connect + tls"),
        sa.Column("ttft_us", sa.Integer()),
        sa.Column("ttfat_us", sa.Integer()),
        sa.Column("total_us", sa.Integer(), nullable=False),
        sa.Column("output_speed_milli", sa.Integer(), comment="thousandths of a token per second"),
        sa.Column("throughput_milli", sa.Integer(), comment="effective_throughput, likewise"),
        sa.Column("stall_us", sa.Integer()),
        sa.Column("uncertainty_us", sa.Integer()),
        sa.Column("input_tokens", sa.Integer()),
        sa.Column("output_tokens", sa.Integer()),
        sa.Column("reasoning_tokens", sa.Integer()),
        sa.Column("cached_tokens", sa.Integer()),
        sa.Column("cost_pico", sa.BigInteger()),
        sa.Column("detail", sa.Text()),
        sa.Column("request_id", sa.Text()),
        sa.Column("timeline", sa.LargeBinary(), comment="monitor.core.timeline.pack"),
        sa.PrimaryKeyConstraint("endpoint_id", "at", "salt", name="pk_probe"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "gap",
        sa.Column("endpoint_id", sa.Integer(), nullable=False),
        sa.Column("first", sa.BigInteger(), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.Column("slots", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("endpoint_id", "first", "last", name="pk_gap"),
    )
    op.create_table(
        "schedule",
        sa.Column("endpoint_id", sa.Integer(), nullable=False),
        sa.Column("starts", sa.BigInteger(), nullable=False),
        sa.Column("ends", sa.BigInteger()),
        sa.Column("interval_us", sa.BigInteger(), nullable=False),
        sa.Column("phase_us", sa.BigInteger(), nullable=False),
        sa.Column("timeout_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("endpoint_id", "starts", name="pk_schedule"),
    )
    op.create_table(
        "quiet",
        sa.Column("endpoint_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False, comment="maintenance or paused"),
        sa.Column("starts", sa.BigInteger(), nullable=False),
        sa.Column("ends", sa.BigInteger()),
        sa.PrimaryKeyConstraint("endpoint_id", "kind", "starts", name="pk_quiet"),
    )


def _create_beliefs() -> None:
    op.create_table(
        "belief",
        sa.Column("endpoint_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False, comment="JSON, monitor.core.step.belief_json"),
        sa.PrimaryKeyConstraint("endpoint_id", name="pk_belief"),
    )
    op.create_table(
        "transition",
        sa.Column("endpoint_id", sa.Integer(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("effective_at", sa.BigInteger(), nullable=False),
        sa.Column("before", sa.Text(), nullable=False),
        sa.Column("after", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("endpoint_id", "sequence", name="pk_transition"),
    )


def _create_incidents() -> None:
    op.create_table(
        "incident",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False, comment="of its newest update"),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("impact", sa.Text(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", name="pk_incident"),
    )
    op.create_index("ix_incident_started_at", "incident", ["started_at"])
    op.create_table(
        "incident_endpoint",
        sa.Column("incident_id", sa.Text(), nullable=False),
        sa.Column("endpoint_id", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("incident_id", "endpoint_id", name="pk_incident_endpoint"),
        sa.ForeignKeyConstraint(
            ["incident_id"], ["incident.id"], name="fk_incident_endpoint_incident_id_incident"
        ),
    )
    op.create_table(
        "incident_update",
        sa.Column("incident_id", sa.Text(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("incident_id", "sequence", name="pk_incident_update"),
        sa.ForeignKeyConstraint(
            ["incident_id"], ["incident.id"], name="fk_incident_update_incident_id_incident"
        ),
    )


def _create_messages() -> None:
    op.create_table(
        "alert",
        sa.Column("key", sa.Text(), nullable=False, comment="incident#sequence@channel"),
        sa.Column("incident", sa.Text(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("endpoint", sa.Text()),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("again", sa.BigInteger(), comment="not to be tried before"),
        sa.Column("sent_at", sa.BigInteger()),
        sa.Column("dead_at", sa.BigInteger()),
        sa.Column("error", sa.Text()),
        sa.PrimaryKeyConstraint("key", name="pk_alert"),
    )
    op.create_index("ix_alert_created", "alert", ["created"])


def _create_operations() -> None:
    op.create_table(
        "command",
        sa.Column("id", KEY, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False, comment="pause, resume or maintenance"),
        sa.Column("arguments", sa.Text(), nullable=False, comment="JSON"),
        sa.Column("done_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", name="pk_command"),
    )
    op.create_table(
        "maintenance",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("patterns", sa.Text(), nullable=False, comment="JSON list, as in the config"),
        sa.Column("starts", sa.BigInteger(), nullable=False),
        sa.Column("ends", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_maintenance"),
    )
    op.create_table(
        "daemon",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False, comment="grows with every owner"),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("beat_at", sa.BigInteger(), nullable=False, comment="heartbeat"),
        sa.Column("stopped_at", sa.BigInteger(), comment="null while running and after a crash"),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False, comment="JSON, what the page shows of the daemon"),
        sa.PrimaryKeyConstraint("id", name="pk_daemon"),
    )
