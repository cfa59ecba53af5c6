"""What explains a result: the paths we have, what came of them, and what the provider said."""

import sqlalchemy as sa

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    _create_reports()
    _evidence()
    _event()
    _create_blind()
    _add_headroom()


def _create_reports() -> None:
    op.create_table(
        "report",
        sa.Column("endpoint_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("said", sa.Text(), nullable=False, comment="ok, degraded or fail"),
        sa.Column("message", sa.Text()),
        sa.Column("duration_us", sa.BigInteger()),
        sa.PrimaryKeyConstraint("endpoint_id", name="pk_report"),
    )


def _evidence() -> None:
    op.create_table(
        "evidence",
        sa.Column("endpoint_id", sa.Integer, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False, comment="as of the probe"),
        sa.Column("salt", sa.BigInteger, nullable=False, comment="as of the probe"),
        sa.Column("body", sa.LargeBinary, nullable=False, comment="monitor.core.evidence.store"),
        sa.PrimaryKeyConstraint("endpoint_id", "at", "salt", name="pk_evidence"),
    )


def _event() -> None:
    op.create_table(
        "event",
        sa.Column("endpoint_id", sa.Integer(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.SmallInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("endpoint_id", "at", "number", name="pk_event"),
    )
    op.create_index("ix_event_at", "event", ["at"])


def _create_blind() -> None:
    op.create_table(
        "blind",
        sa.Column("starts", sa.BigInteger(), nullable=False),
        sa.Column("ends", sa.BigInteger(), comment="null while it lasts"),
        sa.Column("need", sa.Text(), nullable=False, comment="internet, lan or names: what was lost first"),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("starts", name="pk_blind"),
    )


def _add_headroom() -> None:
    op.add_column(
        "probe",
        sa.Column("headroom_permille", sa.SmallInteger(), comment="left of the vendor's nearest limit"),
    )
