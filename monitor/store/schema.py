"""The tables, as Alembic and the journal read them.

Moments are microseconds since the epoch (UTC), lengths are microseconds, money is in
picodollars (10^-12 USD): integers throughout, so that nothing is rounded twice. People who
query their own database should use the views (`monitor/store/views.py`), which are a
public interface; the tables are not.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
)

from monitor.core.outcome import Outcome

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_N_label)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite gives an automatic key only to a column that is called INTEGER.
Key = BigInteger().with_variant(Integer, "sqlite")
# And there an INTEGER has room for any length, so that no table had to be rewritten for this.
Long = BigInteger().with_variant(Integer, "sqlite")

endpoint = Table(
    "endpoint",
    metadata,
    Column("id", Key, primary_key=True),
    Column("name", Text, nullable=False, unique=True, comment="<provider>/<slug>"),
    Column("first_seen", BigInteger, nullable=False),
    Column("removed_at", BigInteger),
)

location = Table(
    "location",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False, unique=True),
)

outcome = Table(
    "outcome",
    metadata,
    Column("code", SmallInteger, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False, unique=True),
    Column("blame", Text),
)

# Clustered by endpoint and time: one tree serves writing and reading, and a stored probe
# stays under 120 bytes. (`at`, `salt`) is the probe id; a replayed result meets itself here.
probe = Table(
    "probe",
    metadata,
    Column("endpoint_id", Integer, nullable=False),
    Column("at", BigInteger, nullable=False, comment="start of the probe"),
    Column("salt", BigInteger, nullable=False, comment="second half of the probe id"),
    Column("late_us", BigInteger, nullable=False, comment="at - slot"),
    Column("location_id", SmallInteger, nullable=False),
    Column("outcome", SmallInteger, nullable=False),
    Column("flags", SmallInteger, nullable=False, comment="see FLAG_*"),
    Column("setup_us", Integer, comment="dns + connect + tls"),
    Column("ttft_us", Integer),
    Column("ttfat_us", Integer),
    Column("total_us", Long, nullable=False),
    Column("output_speed_milli", Integer, comment="thousandths of a token per second"),
    Column("throughput_milli", Integer, comment="effective_throughput, likewise"),
    Column("stall_us", Long),
    Column("uncertainty_us", Integer),
    Column("input_tokens", Integer),
    Column("output_tokens", Integer),
    Column("reasoning_tokens", Integer),
    Column("cached_tokens", Integer),
    Column("cost_pico", BigInteger),
    Column("detail", Text),
    Column("request_id", Text),
    Column("timeline", LargeBinary, comment="monitor.core.timeline.pack"),
    Column("headroom_permille", SmallInteger, comment="left of the vendor's nearest limit"),
    PrimaryKeyConstraint("endpoint_id", "at", "salt"),
    sqlite_with_rowid=False,
)

FLAG_SCHEDULED = 1
FLAG_MAINTENANCE = 2
FLAG_NOT_SENT = 4
FLAG_ESTIMATE = 8
"""The tokens are an estimate of ours, not the server's usage."""
FLAG_KEEP_ALIVE_ONLY = 16
FLAG_BURST = 32
FLAG_NO_USAGE = 64
FLAG_CACHE_HIT = 128
FLAG_ERROR_IN_STREAM = 4096
"""Only where the outcome does not say it: `overloaded` inside status 200."""

event = Table(
    "event",
    metadata,
    Column("endpoint_id", Integer, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("number", SmallInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("text", Text, nullable=False),
    PrimaryKeyConstraint("endpoint_id", "at", "number"),
    Index(None, "at"),
)

# Rare beside probes and ten times as long, so it lies apart: nothing that counts probes reads over it.
evidence = Table(
    "evidence",
    metadata,
    Column("endpoint_id", Integer, nullable=False),
    Column("at", BigInteger, nullable=False, comment="as of the probe"),
    Column("salt", BigInteger, nullable=False, comment="as of the probe"),
    Column("body", LargeBinary, nullable=False, comment="monitor.core.evidence.store"),
    PrimaryKeyConstraint("endpoint_id", "at", "salt"),
)

gap = Table(
    "gap",
    metadata,
    Column("endpoint_id", Integer, nullable=False),
    Column("first", BigInteger, nullable=False),
    Column("last", BigInteger, nullable=False),
    Column("slots", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    PrimaryKeyConstraint("endpoint_id", "first", "last"),
    Index(None, "last"),
)

schedule = Table(
    "schedule",
    metadata,
    Column("endpoint_id", Integer, nullable=False),
    Column("starts", BigInteger, nullable=False),
    Column("ends", BigInteger),
    Column("interval_us", BigInteger, nullable=False),
    Column("phase_us", BigInteger, nullable=False),
    Column("timeout_us", BigInteger, nullable=False),
    PrimaryKeyConstraint("endpoint_id", "starts"),
)

quiet = Table(
    "quiet",
    metadata,
    Column("endpoint_id", Integer, nullable=False),
    Column("kind", Text, nullable=False, comment="maintenance or paused"),
    Column("starts", BigInteger, nullable=False),
    Column("ends", BigInteger),
    PrimaryKeyConstraint("endpoint_id", "kind", "starts"),
    # Each page asks for the newest of all.
    Index(None, "starts"),
    Index(None, "ends"),
)

blind = Table(
    "blind",
    metadata,
    Column("starts", BigInteger, nullable=False),
    Column("ends", BigInteger, comment="null while it lasts"),
    Column("need", Text, nullable=False, comment="internet, lan or names: what was lost first"),
    Column("reason", Text, nullable=False),
    PrimaryKeyConstraint("starts"),
)

belief = Table(
    "belief",
    metadata,
    Column("endpoint_id", Integer, primary_key=True, autoincrement=False),
    Column("sequence", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("body", Text, nullable=False, comment="JSON, monitor.core.step.belief_json"),
)

transition = Table(
    "transition",
    metadata,
    Column("endpoint_id", Integer, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("effective_at", BigInteger, nullable=False),
    Column("before", Text, nullable=False),
    Column("after", Text, nullable=False),
    Column("reason", Text, nullable=False),
    PrimaryKeyConstraint("endpoint_id", "sequence"),
)

incident = Table(
    "incident",
    metadata,
    Column("id", Text, primary_key=True),
    Column("sequence", Integer, nullable=False, comment="of its newest update"),
    Column("title", Text, nullable=False),
    Column("impact", Text, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Index(None, "started_at"),
)

incident_endpoint = Table(
    "incident_endpoint",
    metadata,
    Column("incident_id", Text, ForeignKey("incident.id"), nullable=False),
    Column("endpoint_id", Integer, nullable=False),
    PrimaryKeyConstraint("incident_id", "endpoint_id"),
)

incident_update = Table(
    "incident_update",
    metadata,
    Column("incident_id", Text, ForeignKey("incident.id"), nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("status", Text, nullable=False),
    Column("text", Text, nullable=False),
    PrimaryKeyConstraint("incident_id", "sequence"),
    Index(None, "at"),
)

alert = Table(
    "alert",
    metadata,
    Column("key", Text, primary_key=True, comment="incident#sequence@channel"),
    Column("incident", Text, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("channel", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("endpoint", Text),
    Column("title", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("again", BigInteger, comment="not to be tried before"),
    Column("sent_at", BigInteger),
    Column("dead_at", BigInteger),
    Column("error", Text),
    Index(None, "created"),
)

command = Table(
    "command",
    metadata,
    Column("id", Key, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("kind", Text, nullable=False, comment="pause or resume"),
    Column("arguments", Text, nullable=False, comment="JSON"),
    Column("done_at", BigInteger),
)

maintenance = Table(
    "maintenance",
    metadata,
    Column("id", Text, primary_key=True),
    Column("title", Text, nullable=False),
    Column("patterns", Text, nullable=False, comment="JSON list, as in the config"),
    Column("starts", BigInteger, nullable=False),
    Column("ends", BigInteger, nullable=False),
)

daemon = Table(
    "daemon",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, nullable=False, comment="grows with every owner"),
    Column("started_at", BigInteger, nullable=False),
    Column("beat_at", BigInteger, nullable=False, comment="heartbeat"),
    Column("stopped_at", BigInteger, comment="null while running and after a crash"),
    Column("version", Text, nullable=False),
    Column("status", Text, nullable=False, comment="JSON, what the page shows of the daemon"),
)

# The newest report of each endpoint that reports by itself.
report = Table(
    "report",
    metadata,
    Column("endpoint_id", Integer, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("said", Text, nullable=False, comment="ok, degraded or fail"),
    Column("message", Text),
    Column("duration_us", BigInteger),
)

# Stored numbers: a new outcome gets the next one, none is ever used again for another.
OUTCOME_CODES: dict[Outcome, int] = {
    Outcome.OK: 0,
    Outcome.SLOW: 1,
    Outcome.WRONG_ANSWER: 2,
    Outcome.MODEL_SWAPPED: 3,
    Outcome.CERTIFICATE_EXPIRING: 4,
    Outcome.DNS_FAILURE: 5,
    Outcome.CONNECT_REFUSED: 6,
    Outcome.CONNECT_TIMEOUT: 7,
    Outcome.HOST_UNREACHABLE: 8,
    Outcome.CONNECTION_RESET: 9,
    Outcome.TLS_FAILURE: 10,
    Outcome.FIRST_TOKEN_TIMEOUT: 11,
    Outcome.STALLED: 12,
    Outcome.TOTAL_TIMEOUT: 13,
    Outcome.HTTP_5XX: 14,
    Outcome.OVERLOADED: 15,
    Outcome.STREAM_ERROR: 16,
    Outcome.TRUNCATED: 17,
    Outcome.EMPTY_COMPLETION: 18,
    Outcome.MALFORMED_RESPONSE: 19,
    Outcome.MODEL_REMOVED: 20,
    Outcome.ASSERTION_FAILED: 21,
    Outcome.RATE_LIMITED: 22,
    Outcome.AUTH_FAILED: 23,
    Outcome.QUOTA_EXHAUSTED: 24,
    Outcome.BAD_REQUEST: 25,
    Outcome.MODEL_NOT_FOUND: 26,
    Outcome.CONTENT_FILTERED: 27,
    Outcome.NO_ANSWER: 28,
    Outcome.LOCAL_NETWORK: 29,
    Outcome.BUDGET_EXHAUSTED: 30,
    Outcome.SELF_OVERLOAD: 31,
    Outcome.CANCELLED: 32,
    Outcome.INTERNAL_ERROR: 33,
}
OUTCOME_NAMES: dict[int, Outcome] = {code: name for name, code in OUTCOME_CODES.items()}
