"""The SQL that a client sends, for one store. Each is a transaction of its own: nothing is ever left open.

A condition on the clock is written ``(SELECT clock_timestamp())``, so that it is looked at once and an index can be
used for it.
"""

from __future__ import annotations

from tenure_postgresql.connection import Statement
from tenure_postgresql.schema import Schema

# Parts of those below.
_PARTS = {
    "{overdue}": "EXISTS (SELECT FROM {schema}.lease l WHERE l.deadline <= (SELECT clock_timestamp()))",
    "{due}": (
        "(SELECT ceil(extract(epoch FROM min(l.deadline) - clock_timestamp()) * 1000)::bigint FROM {schema}.lease l)"
    ),
}

_GET = """
SELECT s.revision, {overdue}, i.key, i.value, i.created, i.modified, i.lease
FROM {schema}.store s LEFT JOIN {schema}.item i ON i.key = $1::text
"""

# A row without a key is the answer that nothing is there, which has a revision as well.
_LIST = """
SELECT s.revision, {overdue}, i.key, i.value, i.created, i.modified, i.lease
FROM {schema}.store s LEFT JOIN (
    SELECT key, {value} AS value, created, modified, lease FROM {schema}.item
    WHERE key >= $1::text AND key > $2::text AND key < $3::text ORDER BY key LIMIT $4::bigint
) i ON true ORDER BY i.key
"""

_GET_MANY = """
SELECT s.revision, {overdue}, i.key, i.value, i.created, i.modified, i.lease
FROM {schema}.store s LEFT JOIN {schema}.item i ON i.key = ANY ($1::text[])
"""

_COMMIT = """
SELECT verdict, now_at, deleted, about, found_at FROM {schema}.commit_v1(
    $1::bigint, $2::bigint, $3::uuid, $4::text[], $5::text[], $6::bigint[], $7::text[], $8::bytea[], $9::text[],
    $10::text[])
"""

_DELETE_PREFIX = """
SELECT now_at, deleted FROM {schema}.delete_prefix_v1($1::bigint, $2::bigint, $3::text, $4::text, $5::bigint)
"""

_GRANT = """
INSERT INTO {schema}.lease VALUES ($1::text, $2::bigint, clock_timestamp() + $2::bigint * interval '1 millisecond')
"""

# Locked in the order of their names, as revoking does it: two that lock the same ones can't block each other.
_REFRESH = """
WITH alive AS (
    SELECT l.id FROM {schema}.lease l
    WHERE l.id = ANY ($1::text[]) AND l.deadline > (SELECT clock_timestamp()) ORDER BY l.id FOR UPDATE
)
UPDATE {schema}.lease l SET deadline = clock_timestamp() + l.ttl * interval '1 millisecond'
FROM alive WHERE l.id = alive.id RETURNING l.id, l.ttl
"""

_LEASES = """
SELECT {overdue}, o.id, o.ttl, ceil(extract(epoch FROM o.deadline - clock_timestamp()) * 1000)::bigint,
       ARRAY(SELECT i.key FROM {schema}.item i WHERE i.lease = o.id ORDER BY i.key)
FROM {schema}.lease o WHERE $1::text = '' OR o.id = $1::text ORDER BY o.id
"""

_DUE = "SELECT {due} FROM {schema}.store s"

_POSITION = """
SELECT s.log_start, s.revision = $1::bigint OR EXISTS (SELECT FROM {schema}.change l WHERE l.revision = $1::bigint)
FROM {schema}.store s
"""

# Whether the log has $1, and the revisions after it, whole: at most $2 rows and $3 bytes of values beyond the first.
_LOG = """
SELECT s.revision, s.log_start, EXISTS (SELECT FROM {schema}.change p WHERE p.revision = $1::bigint),
       r.revision, r.key, r.value, r.created, r.lease
FROM {schema}.store s LEFT JOIN (
    SELECT * FROM {schema}.change WHERE revision > $1::bigint AND revision <= (
        SELECT coalesce(max(t.revision) FILTER (WHERE t.total <= $3::bigint), min(t.revision)) FROM (
            SELECT n.revision, sum(octet_length(n.value)) OVER (ORDER BY n.revision, n.key) AS total FROM (
                SELECT l.revision, l.key, l.value FROM {schema}.change l
                WHERE l.revision > $1::bigint ORDER BY l.revision, l.key LIMIT $2::bigint
            ) n
        ) t
    )
) r ON true ORDER BY r.revision, r.key
"""

_INFO = """
SELECT s.revision, extract(epoch FROM clock_timestamp())::float8::text, current_setting('fsync'),
       current_setting('full_page_writes'), current_setting('synchronous_commit'),
       current_setting('synchronous_standby_names'), current_setting('autovacuum'),
       (SELECT count(*) FROM {schema}.lease)::text, s.log_start, s.log_bytes, s.history::text,
       pg_total_relation_size('{schema}.item'), pg_total_relation_size('{schema}.change'),
       (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname = current_user)
FROM {schema}.store s
"""

# What others than a superuser or pg_monitor may not see is left out by PostgreSQL itself.
_DIAGNOSIS = """
SELECT current_setting('max_connections')::bigint - current_setting('superuser_reserved_connections')::bigint,
       (SELECT coalesce(sum(numbackends), 0)::bigint FROM pg_catalog.pg_stat_database),
       (SELECT count(*) FROM pg_catalog.pg_replication_slots WHERE NOT active),
       CASE WHEN pg_is_in_recovery() THEN 0 ELSE (
           SELECT coalesce(max(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)), 0)::bigint
           FROM pg_catalog.pg_replication_slots WHERE NOT active
       ) END,
       (SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0)::bigint
        FROM pg_catalog.pg_stat_activity WHERE backend_type = 'client backend'),
       pg_total_relation_size('{schema}.item'), pg_total_relation_size('{schema}.change'), s.log_bytes
FROM {schema}.store s
"""

# Who may log in and change keys, by grants: superusers always may. "public" is everybody.
_ACCESS = """
SELECT has_schema_privilege('public'::name, s.id, 'USAGE') AND has_table_privilege('public'::name, s.item, s.changes),
       ARRAY(
           SELECT r.rolname::text FROM pg_catalog.pg_roles r
           WHERE r.rolcanlogin AND NOT r.rolsuper AND r.rolname <> current_user
             AND has_schema_privilege(r.oid, s.id, 'USAGE') AND has_table_privilege(r.oid, s.item, s.changes)
           ORDER BY r.rolname
       )
FROM (SELECT to_regnamespace('{schema}')::oid AS id, '{schema}.item'::text AS item,
             'INSERT, UPDATE, DELETE'::text AS changes) s
"""


class Statements:
    """All of them, with the names of one schema filled in."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema.name

        def fill(name: str, sql: str) -> Statement:
            for part, text in _PARTS.items():
                sql = sql.replace(part, text)
            return Statement(name, schema.sql(sql))

        self.get = fill("get", _GET)
        self.get_many = fill("get_many", _GET_MANY)
        self.list = fill("list", _LIST.replace("{value}", "value"))
        self.list_keys = fill("list_keys", _LIST.replace("{value}", "''::bytea"))
        self.commit = fill("commit", _COMMIT)
        self.delete_prefix = fill("delete_prefix", _DELETE_PREFIX)
        self.tick = fill("tick", "SELECT {schema}.enter_v1($1::bigint, $2::bigint)")
        self.grant = fill("grant", _GRANT)
        self.refresh = fill("refresh", _REFRESH)
        self.revoke = fill("revoke", "SELECT {schema}.revoke_v1($1::bigint, $2::bigint, $3::text[])")
        self.leases = fill("leases", _LEASES)
        self.due = fill("due", _DUE)
        self.position = fill("position", _POSITION)
        self.log = fill("log", _LOG)
        self.info = fill("info", _INFO)
        self.diagnosis = fill("diagnosis", _DIAGNOSIS)
        self.access = fill("access", _ACCESS)
        self.listen = schema.sql('LISTEN "{channel}"')
