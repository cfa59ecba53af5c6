"""The documented views: a public interface for people who query their own database.

Same names and columns on both databases; `docs/database.md` tells what they mean. A column
may be added at the end of a view; none is renamed, moved or removed.
"""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection

from monitor.core.integrity import Flaw, implied
from monitor.store import marks
from monitor.store.schema import (
    FLAG_CACHE_HIT,
    FLAG_ESTIMATE,
    FLAG_MAINTENANCE,
    FLAG_NOT_SENT,
    FLAG_SCHEDULED,
    OUTCOME_CODES,
)


@dataclass(frozen=True, slots=True)
class _Dialect:
    """The same thought in the words of one database; each takes and gives an expression."""

    time: Callable[[str], str]
    """Microseconds since the epoch → a moment: timestamptz, or ISO 8601 text in UTC."""
    thousandth: Callable[[str], str]
    """A stored integer → a thousand of them, as a float."""
    tenth: Callable[[str], str]
    """A stored integer → ten of them, as a float."""
    half_id: Callable[[str], str]
    """64 bits → 16 hexadecimal digits."""
    usd: Callable[[str], str]
    """Picodollars → exact dollars: numeric, or text."""
    joined: Callable[[str], str]
    """A text column → all of them, with commas between."""
    create: str


_SQLITE = _Dialect(
    time=lambda us: (
        f"strftime('%Y-%m-%dT%H:%M:%S', {us} / 1000000, 'unixepoch') || printf('.%03dZ', {us} / 1000 % 1000)"
    ),
    thousandth=lambda column: f"{column} / 1000.0",
    tenth=lambda column: f"{column} / 10.0",
    half_id=lambda bits: f"printf('%016x', {bits})",
    usd=lambda pico: (
        f"CASE WHEN {pico} IS NOT NULL"
        f" THEN printf('%d.%012d', {pico} / 1000000000000, {pico} % 1000000000000) END"
    ),
    joined=lambda column: f"group_concat({column}, ',')",
    create="CREATE VIEW",
)

_POSTGRESQL = _Dialect(
    time=lambda us: f"timestamptz 'epoch' + {us} * interval '1 microsecond'",
    thousandth=lambda column: f"{column} / 1000.0::float8",
    tenth=lambda column: f"{column} / 10.0::float8",
    half_id=lambda bits: f"lpad(to_hex({bits}), 16, '0')",
    usd=lambda pico: f"{pico} * 0.000000000001",
    joined=lambda column: f"string_agg({column}, ',')",
    create="CREATE OR REPLACE VIEW",
)


class ViewInUse(Exception):
    """Something that is not ours is built on a view that has to be dropped; the text names both."""


def withdraw(connection: Connection, name: str) -> list[str]:
    """Drop a view of PostgreSQL, so that a table under it can be changed; nothing if there is none.

    Returns the statements that, after `create`, make its privileges what they were. Raises
    ViewInUse.
    """
    if connection.exec_driver_sql(f"SELECT to_regclass('{name}')").scalar() is None:
        return []
    found = connection.exec_driver_sql(_DEPENDENT.format(view=name)).scalars().all()
    if found:
        raise ViewInUse(
            f"the view {name} has to be made anew, and something depends on it: {', '.join(found)}"
        )
    granted = connection.exec_driver_sql(_GRANTED.format(view=name)).scalars().all()
    connection.exec_driver_sql(f"DROP VIEW {name}")
    # What the database gives to every new view may have been taken from the old one.
    return [_REVOKED.format(view=name), *granted]


# Whatever `DROP VIEW` would stumble over. A view depends on another one through its rule.
_DEPENDENT = """
WITH RECURSIVE dependent(classid, objid, objsubid) AS (
  SELECT 'pg_class'::regclass::oid, '{view}'::regclass::oid, 0
  UNION
  SELECT further.* FROM dependent, LATERAL (
    SELECT d.classid, d.objid, d.objsubid FROM pg_depend d
    WHERE d.refclassid = dependent.classid AND d.refobjid = dependent.objid AND d.deptype IN ('n', 'i')
    UNION ALL
    SELECT 'pg_class'::regclass::oid, r.ev_class, 0 FROM pg_rewrite r
    WHERE dependent.classid = 'pg_rewrite'::regclass AND r.oid = dependent.objid
  ) AS further
)
SELECT DISTINCT what.type || ' ' || what.identity
FROM dependent, LATERAL pg_identify_object(classid, objid, objsubid) AS what
WHERE classid NOT IN ('pg_rewrite'::regclass, 'pg_type'::regclass)
  AND NOT (classid = 'pg_class'::regclass AND objid = '{view}'::regclass)
ORDER BY 1
"""

# One statement a privilege, on the view or on one of its columns. Grantee 0 is PUBLIC.
_GRANTED = """
SELECT 'GRANT ' || acl.privilege_type || coalesce(' (' || quote_ident(given.attname) || ')', '')
  || ' ON {view} TO ' || CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(r.rolname) END
  || CASE WHEN acl.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
FROM (
  SELECT NULL::name AS attname, relacl AS privileges FROM pg_class WHERE oid = '{view}'::regclass
  UNION ALL
  SELECT attname, attacl FROM pg_attribute WHERE attrelid = '{view}'::regclass AND NOT attisdropped
) AS given, LATERAL aclexplode(given.privileges) AS acl LEFT JOIN pg_roles r ON r.oid = acl.grantee
"""

_REVOKED = """
DO $$
DECLARE other text;
BEGIN
  FOR other IN
    SELECT DISTINCT CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(acl.grantee)) END
    FROM pg_class c, LATERAL aclexplode(c.relacl) AS acl
    WHERE c.oid = '{view}'::regclass AND acl.grantee <> c.relowner
  LOOP
    EXECUTE 'REVOKE ALL ON {view} FROM ' || other;
  END LOOP;
END
$$
"""


def create(connection: Connection) -> None:
    """Put every view into its present form; the newest migration that changes one calls this."""
    words = _SQLITE if connection.dialect.name == "sqlite" else _POSTGRESQL
    for name, query in _definitions(words).items():
        if words is _SQLITE:
            connection.exec_driver_sql(f"DROP VIEW IF EXISTS {name}")
        connection.exec_driver_sql(f"{words.create} {name} AS\n{query}")


def _definitions(words: _Dialect) -> dict[str, str]:
    return {
        "uptoken_endpoint_state": _endpoint_state(words),
        "uptoken_probe": _probe(words),
        "uptoken_transition": _transition(words),
        "uptoken_incident": _incident(words),
        "uptoken_incident_update": _incident_update(words),
        "uptoken_gap": _gap(words),
        "uptoken_event": _event(words),
    }


def _select(columns: dict[str, str], source: str) -> str:
    return (
        "SELECT " + ",\n  ".join(f"{what} AS {name}" for name, what in columns.items()) + f"\nFROM {source}"
    )


def _moment(words: _Dialect, name: str, column: str) -> dict[str, str]:
    """Both for people and for arithmetic; a filter on the latter is what an index serves."""
    return {name: words.time(column), f"{name}_us": column}


def _probe(words: _Dialect) -> str:
    def ms(column: str) -> str:
        return words.thousandth(f"p.{column}")

    def flag(bit: int) -> str:
        return f"(p.flags & {bit}) <> 0"

    columns = {
        "id": f"{words.half_id('p.at')} || {words.half_id('p.salt')}",
        "endpoint": "e.name",
        "location": "l.name",
        **_moment(words, "at", "p.at"),
        **_moment(words, "slot", "(p.at - p.late_us)"),
        "scheduled": flag(FLAG_SCHEDULED),
        "sent": f"(p.flags & {FLAG_NOT_SENT}) = 0",
        "maintenance": flag(FLAG_MAINTENANCE),
        "outcome": "o.name",
        "blame": "o.blame",
        "ttft_ms": ms("ttft_us"),
        "ttft_net_ms": words.thousandth("(p.ttft_us - p.setup_us)"),
        "ttfat_ms": ms("ttfat_us"),
        "output_speed": ms("output_speed_milli"),
        "effective_throughput": ms("throughput_milli"),
        "e2e_500_ms": f"{ms('ttfat_us')} + 500000.0 / ({ms('output_speed_milli')})",
        "max_stall_ms": ms("stall_us"),
        "total_ms": ms("total_us"),
        "ttft_uncertainty_ms": f"CASE WHEN p.ttft_us IS NOT NULL THEN {ms('uncertainty_us')} END",
        "total_uncertainty_ms": f"CASE WHEN p.ttft_us IS NULL THEN {ms('uncertainty_us')} END",
        "input_tokens": "p.input_tokens",
        "output_tokens": "p.output_tokens",
        "reasoning_tokens": "p.reasoning_tokens",
        "cached_tokens": "p.cached_tokens",
        "token_source": (
            "CASE WHEN p.ttft_us IS NULL THEN NULL"
            f" WHEN {flag(FLAG_ESTIMATE)} THEN 'estimate' ELSE 'usage' END"
        ),
        "cost_usd": words.usd("p.cost_pico"),
        "detail": "p.detail",
        "request_id": "p.request_id",
        "flaws": _flaws(),
        "cache_hit": flag(FLAG_CACHE_HIT),
        "headroom": words.tenth("p.headroom_permille"),
    }
    return _select(
        columns,
        "probe p JOIN endpoint e ON e.id = p.endpoint_id"
        " JOIN outcome o ON o.code = p.outcome JOIN location l ON l.id = p.location_id",
    )


def _flaws() -> str:
    """Those that the outcome implies and those that are marked, with commas between; null for none."""
    parts = []
    for flaw in Flaw:
        always = [code for name, code in OUTCOME_CODES.items() if flaw in implied(name, spoke=False)]
        spoken = [code for name, code in OUTCOME_CODES.items() if flaw in implied(name, spoke=True)]
        tests = [f"p.outcome = {code}" for code in always]
        tests += [f"p.outcome = {code} AND p.ttft_us IS NOT NULL" for code in spoken if code not in always]
        if flaw in marks.BITS:
            tests.append(f"(p.flags & {marks.BITS[flaw]}) <> 0")
        parts.append(f"CASE WHEN {' OR '.join(tests)} THEN ',{flaw.value}' ELSE '' END")
    return f"nullif(substr({' || '.join(parts)}, 2), '')"


def _event(words: _Dialect) -> str:
    columns = {
        "endpoint": "e.name",
        **_moment(words, "at", "v.at"),
        "kind": "v.kind",
        "text": "v.text",
    }
    return _select(columns, "event v JOIN endpoint e ON e.id = v.endpoint_id")


def _endpoint_state(words: _Dialect) -> str:
    columns = {
        "endpoint": "e.name",
        "state": "coalesce(b.state, 'unknown')",
        "reason": "b.reason",
        **_moment(words, "since", "nullif(b.since, 0)"),
        **_moment(words, "first_seen", "e.first_seen"),
        **_moment(words, "removed_at", "e.removed_at"),
    }
    return _select(columns, "endpoint e LEFT JOIN belief b ON b.endpoint_id = e.id")


def _transition(words: _Dialect) -> str:
    columns = {
        "endpoint": "e.name",
        "sequence": "t.sequence",
        **_moment(words, "at", "t.at"),
        **_moment(words, "effective_at", "t.effective_at"),
        "before": "t.before",
        "after": "t.after",
        "reason": "t.reason",
    }
    return _select(columns, "transition t JOIN endpoint e ON e.id = t.endpoint_id")


def _incident(words: _Dialect) -> str:
    members = (
        "SELECT e.name FROM incident_endpoint m JOIN endpoint e ON e.id = m.endpoint_id"
        " WHERE m.incident_id = i.id ORDER BY e.name"
    )
    columns = {
        "id": "i.id",
        "title": "i.title",
        "impact": "i.impact",
        "endpoints": f"(SELECT {words.joined('name')} FROM ({members}) AS member)",  # noqa: S608 - ours
        **_moment(words, "started_at", "i.started_at"),
        **_moment(words, "ended_at", "i.ended_at"),
    }
    return _select(columns, "incident i")


def _incident_update(words: _Dialect) -> str:
    columns = {
        "incident": "u.incident_id",
        "sequence": "u.sequence",
        **_moment(words, "at", "u.at"),
        "status": "u.status",
        "text": "u.text",
    }
    return _select(columns, "incident_update u")


def _gap(words: _Dialect) -> str:
    columns = {
        "endpoint": "e.name",
        **_moment(words, "first", "g.first"),
        **_moment(words, "last", "g.last"),
        "slots": "g.slots",
        "reason": "g.reason",
    }
    return _select(columns, "gap g JOIN endpoint e ON e.id = g.endpoint_id")
