"""The tables of a store, and the functions that write to them. One store is one schema.

    store   one row: the present revision, and from where on the log has everything
    item    the keys, with their values
    lease   the leases that haven't been ended
    change  every change of the last revisions: what watches are told (an outbox)
    log     a view of the same with one row for each key: for people, and for programs of the versions before

**Order.** A writer locks the row of ``store`` first, and PostgreSQL lets go of it after the transaction has become
visible. So revisions are committed in their order, and no reader sees one before those below.

**Revisions** follow the server's clock (``next_v1``), so a restored backup or a replica that lagged behind never uses
one of the lost history again. A watch goes on from a revision that the log has, or from ``log_start``.

**Deletions** of one operation share rows of ``change``: ``value`` is a JSON list of all keys, ``key`` is one of them. A
row for each of thousands of keys took longer than deleting them. The deletion of one key has no ``value``.

**The versions before** wrote and read a table ``log``, with a row for each key that was deleted. ``UPGRADE`` gives the
table its present name, adds a column, makes the view and replaces the functions. Programs of those versions call the
same functions with the same arguments and read the view, so they may run beside new ones. The first of them counted
revisions by one and gave each transaction a random ``op``. That is why ``history`` and ``op`` are still there.

**One call, one statement.** A client sends a single statement for everything that it does, so no transaction is ever
open between two messages, and a client that dies or is frozen holds no lock.

**Leases** live by the server's clock. They are ended by whoever comes next (``enter``), and only under the lock of
``store``; refreshing needs no such lock, so ending skips a lease that is being refreshed at this moment.

**Keys** are ``text COLLATE "C"``: legible in ``psql``, compared byte by byte, in the order of UTF-8. That takes a
database with the encoding UTF8, which is checked at opening.

Names of functions end with the format's number: a later format can add its own while programs still use these.
"""

from __future__ import annotations

FORMAT = 1

LOG_BYTES = 256 << 20
"""Values in the log together; more makes the history shorter than asked for."""

ROW_KEYS = 1000
"""The keys in one row of deletions, which keeps it below 1.5 MiB; an operation that deletes more has several rows."""

_VIEW = """
CREATE OR REPLACE VIEW {schema}.log AS
    SELECT c.revision, k.key, CASE WHEN c.created IS NOT NULL THEN c.value END AS value, c.created, c.lease, c.op
    FROM {schema}.change c CROSS JOIN LATERAL (
        SELECT c.key WHERE c.created IS NOT NULL OR c.value IS NULL
        UNION ALL
        SELECT j.key COLLATE "C" FROM json_array_elements_text(
            CASE WHEN c.created IS NULL THEN convert_from(c.value, 'UTF8')::json END
        ) AS j(key)
    ) AS k(key);
COMMENT ON VIEW {schema}.log IS 'Tenure: changes for watches; created is NULL where the key was deleted';
"""

_TABLES = """
CREATE SCHEMA IF NOT EXISTS {schema};
CREATE TABLE {schema}.store (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    format integer NOT NULL,
    history uuid NOT NULL,
    revision bigint NOT NULL,
    log_start bigint NOT NULL,
    log_bytes bigint NOT NULL,
    log_revisions bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 10);
COMMENT ON TABLE {schema}.store IS 'Tenure: the present revision; the log has every change after log_start';
CREATE TABLE {schema}.item (
    key text COLLATE "C" PRIMARY KEY,
    value bytea NOT NULL,
    created bigint NOT NULL,
    modified bigint NOT NULL,
    lease text COLLATE "C"
);
ALTER TABLE {schema}.item ALTER COLUMN value SET STORAGE EXTERNAL;
CREATE INDEX item_lease ON {schema}.item (lease) WHERE lease IS NOT NULL;
CREATE TABLE {schema}.lease (
    id text COLLATE "C" PRIMARY KEY,
    ttl bigint NOT NULL,
    deadline timestamptz NOT NULL
);
COMMENT ON COLUMN {schema}.lease.ttl IS 'milliseconds';
CREATE INDEX lease_deadline ON {schema}.lease (deadline);
CREATE TABLE {schema}.change (
    revision bigint NOT NULL,
    key text COLLATE "C" NOT NULL,
    value bytea,
    created bigint,
    lease text COLLATE "C",
    op uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    PRIMARY KEY (revision, key)
) WITH (autovacuum_vacuum_scale_factor = 0.05);
COMMENT ON TABLE {schema}.change IS
    'Tenure: what the view log shows; where created is NULL, a value is a JSON list of all keys that were deleted';
ALTER TABLE {schema}.change ALTER COLUMN value SET STORAGE EXTERNAL;
INSERT INTO {schema}.store VALUES (true, {format}, gen_random_uuid(), 0, 0, 0);
"""

_RENAMES = """
ALTER TABLE {schema}.store ADD COLUMN IF NOT EXISTS log_revisions bigint NOT NULL DEFAULT 0;
DO $$
BEGIN
    IF to_regclass('{schema}.change') IS NULL THEN
        ALTER TABLE {schema}.log RENAME TO change;
    END IF;
END $$;
ALTER TABLE {schema}.change ALTER COLUMN op SET DEFAULT '00000000-0000-0000-0000-000000000000';
UPDATE {schema}.store SET log_revisions = (SELECT count(DISTINCT c.revision) FROM {schema}.change c);
DROP FUNCTION {schema}.commit_v1(
    bigint, bigint, uuid, text[], text[], bigint[], text[], bytea[], text[], text[]
); -- its parameters had other names, which can't be replaced
"""
_GRANTS = """
DO $$
DECLARE
    v_role oid;
BEGIN
    FOR v_role IN SELECT DISTINCT a.grantee FROM pg_catalog.pg_class c, aclexplode(c.relacl) a
        WHERE c.oid = '{schema}.change'::regclass AND a.privilege_type = 'SELECT' LOOP
        EXECUTE 'GRANT SELECT ON {schema}.log TO '
            || CASE v_role WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(v_role)) END;
    END LOOP;
END $$;
"""

TABLES = (_TABLES, _VIEW)
UPGRADE = (_RENAMES, _VIEW, _GRANTS)
"""What the tables of the versions before lack, before the functions are replaced. Doing it twice does no harm."""

NEWEST_TABLE = "change"
"""A store without this table was made by a version before."""


_NEXT = """
CREATE OR REPLACE FUNCTION {schema}.next_v1(a_last bigint) RETURNS bigint LANGUAGE sql AS $$
-- The revision after a_last: microseconds by the clock, and in any case more. A clock beyond 2 ** 52 is ignored.
SELECT greatest(
    a_last + 1,
    nullif(least((extract(epoch FROM clock_timestamp()) * 1000000)::bigint, 4503599627370496), 4503599627370496))
$$
"""

_TRIM = """
CREATE OR REPLACE FUNCTION {schema}.trim_v1(a_keep bigint) RETURNS void LANGUAGE plpgsql AS $$
-- Forget changes: keep those of the last a_keep revisions, fewer where their values are too many bytes.
DECLARE
    v_revision bigint;
    v_start bigint;
BEGIN
    SELECT s.revision, s.log_start INTO STRICT v_revision, v_start FROM {schema}.store s;
    SELECT greatest(v_start, max(t.revision)) INTO v_start FROM (
        SELECT l.revision FROM {schema}.change l GROUP BY l.revision ORDER BY l.revision DESC OFFSET a_keep LIMIT 1
    ) t;
    SELECT greatest(v_start, max(t.revision)) INTO v_start FROM (
        SELECT l.revision, sum(octet_length(l.value)) OVER (ORDER BY l.revision DESC, l.key DESC) AS total
        FROM {schema}.change l WHERE l.revision > v_start
    ) t WHERE t.total > {log_bytes} / 2;
    IF v_start >= v_revision THEN
        -- The last one stays, so that watches that have read it can go on.
        SELECT max(l.revision) INTO v_start FROM {schema}.change l WHERE l.revision < v_revision;
    END IF;
    DELETE FROM {schema}.change l WHERE l.revision <= v_start;
    UPDATE {schema}.store s SET log_start = greatest(s.log_start, v_start),
        (log_bytes, log_revisions) = (
            SELECT coalesce(sum(octet_length(l.value)), 0), count(DISTINCT l.revision) FROM {schema}.change l);
END $$
"""

_LEAVE = """
CREATE OR REPLACE FUNCTION {schema}.leave_v1(a_revision bigint, a_revisions bigint, a_bytes bigint, a_history bigint)
RETURNS void LANGUAGE plpgsql AS $$
-- The last step of a writer that made a_revisions: note the last, trim the log now and then, wake the watchers.
-- a_bytes: the size of the values that it logged, NULL where that has to be looked up.
DECLARE
    v_revisions bigint;
    v_bytes bigint := coalesce(a_bytes, (
        SELECT sum(octet_length(l.value)) FROM {schema}.change l, {schema}.store s WHERE l.revision > s.revision), 0);
BEGIN
    UPDATE {schema}.store s SET revision = a_revision, log_bytes = s.log_bytes + v_bytes,
        log_revisions = s.log_revisions + a_revisions
        RETURNING s.log_revisions, s.log_bytes INTO STRICT v_revisions, v_bytes;
    IF v_revisions > a_history + a_history / 10 OR v_bytes > {log_bytes} THEN
        PERFORM {schema}.trim_v1(a_history);
    END IF;
    PERFORM pg_notify('{channel}', '');
END $$
"""

_DELETIONS = """
CREATE OR REPLACE FUNCTION {schema}.deletions_v1(a_keys text[]) RETURNS TABLE (key text, value bytea)
LANGUAGE sql STABLE AS $$
-- The rows of the log for keys that were deleted at one revision.
SELECT a_keys[n], CASE WHEN cardinality(a_keys) > 1
    THEN convert_to(to_json(a_keys[n : n + {row_keys} - 1])::text, 'UTF8') END
FROM generate_series(1, cardinality(a_keys), {row_keys}) n
$$
"""

_END = """
CREATE OR REPLACE FUNCTION {schema}.end_v1(a_lease text, a_revision bigint) RETURNS bigint LANGUAGE plpgsql AS $$
-- End one lease: its keys go at one revision, if it has any. Answers the revision after that.
DECLARE
    v_next bigint := {schema}.next_v1(a_revision);
    v_keys text[];
BEGIN
    DELETE FROM {schema}.lease l WHERE l.id = a_lease;
    WITH gone AS (DELETE FROM {schema}.item i WHERE i.lease = a_lease RETURNING i.key)
    SELECT array_agg(g.key) INTO v_keys FROM gone g;
    IF v_keys IS NULL THEN RETURN a_revision; END IF;
    INSERT INTO {schema}.change (revision, key, value) SELECT v_next, d.* FROM {schema}.deletions_v1(v_keys) d;
    RETURN v_next;
END $$
"""

_END_OVERDUE = """
CREATE OR REPLACE FUNCTION {schema}.end_overdue_v1(a_now timestamptz, INOUT a_revision bigint, OUT ended bigint)
LANGUAGE plpgsql AS $$
-- End all leases that are overdue: the keys of each go at a revision of their own. Answers the last revision and their
-- number. One statement for all, since thousands may end together, and a call has a limited time.
DECLARE
    v_next bigint := {schema}.next_v1(a_revision);
BEGIN
    WITH overdue AS (
        SELECT l.id FROM {schema}.lease l WHERE l.deadline <= a_now FOR UPDATE SKIP LOCKED
    ), past AS (
        DELETE FROM {schema}.lease l USING overdue o WHERE l.id = o.id RETURNING l.id, l.deadline
    ), gone AS (
        DELETE FROM {schema}.item i USING past p WHERE i.lease = p.id RETURNING i.key, p.id, p.deadline
    ), numbered AS (
        SELECT g.key, v_next - 1 + dense_rank() OVER (ORDER BY g.deadline, g.id) AS revision FROM gone g
    ), together AS (
        SELECT n.revision, array_agg(n.key) AS keys FROM numbered n GROUP BY n.revision
    ), logged AS (
        INSERT INTO {schema}.change (revision, key, value)
        SELECT t.revision, d.* FROM together t, {schema}.deletions_v1(t.keys) d
    )
    SELECT count(*) INTO ended FROM together;
    IF ended > 0 THEN
        a_revision := v_next - 1 + ended;
    END IF;
END $$
"""

_ENTER = """
CREATE OR REPLACE FUNCTION {schema}.enter_v1(a_wait bigint, a_history bigint) RETURNS bigint LANGUAGE plpgsql AS $$
-- The first step of a writer: lock the store, waiting at most a_wait milliseconds, and end the leases that are overdue.
DECLARE
    v_revision bigint;
    v_ended bigint;
    v_now timestamptz;
BEGIN
    PERFORM set_config('lock_timeout', greatest(a_wait, 1)::text, true);
    SELECT s.revision INTO STRICT v_revision FROM {schema}.store s FOR UPDATE;
    v_now := clock_timestamp();
    IF EXISTS (SELECT FROM {schema}.lease l WHERE l.deadline <= v_now) THEN
        SELECT o.a_revision, o.ended INTO v_revision, v_ended FROM {schema}.end_overdue_v1(v_now, v_revision) o;
        IF v_ended > 0 THEN
            PERFORM {schema}.leave_v1(v_revision, v_ended, NULL, a_history);
        END IF;
    END IF;
    RETURN v_revision;
END $$
"""

_COMMIT = """
CREATE OR REPLACE FUNCTION {schema}.commit_v1(
    a_wait bigint, a_history bigint, a_op uuid,
    a_precondition_kinds text[], a_precondition_keys text[], a_precondition_revisions bigint[],
    a_put_keys text[], a_put_values bytea[], a_put_leases text[], a_gone_keys text[],
    OUT verdict text, OUT now_at bigint, OUT deleted bigint, OUT about text, OUT found_at bigint
) LANGUAGE plpgsql AS $$
-- A transaction of Tenure. What refuses it is answered and not raised: leases ended on the way stay ended.
-- a_op has no meaning any more; programs of the version before give it.
DECLARE
    v_next bigint;
    v_bytes bigint;
    v_count bigint;
BEGIN
    now_at := {schema}.enter_v1(a_wait, a_history);
    v_next := {schema}.next_v1(now_at);
    deleted := 0;
    IF cardinality(a_precondition_keys) > 0 THEN
        SELECT g.kind, g.key, i.modified INTO verdict, about, found_at
        FROM unnest(a_precondition_kinds, a_precondition_keys, a_precondition_revisions)
            WITH ORDINALITY AS g(kind, key, revision, n)
        LEFT JOIN {schema}.item i ON i.key = g.key
        WHERE CASE g.kind WHEN 'absent' THEN i.key IS NOT NULL
                          WHEN 'exists' THEN i.key IS NULL
                          ELSE i.modified IS DISTINCT FROM g.revision END
        ORDER BY g.n LIMIT 1;
        IF FOUND THEN RETURN; END IF;
    END IF;
    SELECT 'lease', p.id INTO verdict, about FROM unnest(a_put_leases) AS p(id)
    WHERE p.id IS NOT NULL AND NOT EXISTS (SELECT FROM {schema}.lease l WHERE l.id = p.id) LIMIT 1;
    IF FOUND THEN RETURN; END IF;
    verdict := 'done';
    WITH gone AS (
        DELETE FROM {schema}.item i WHERE i.key = ANY (a_gone_keys) RETURNING i.key
    ), made AS (
        INSERT INTO {schema}.item AS i (key, value, created, modified, lease)
        SELECT p.key, p.value, v_next, v_next, p.lease FROM unnest(a_put_keys, a_put_values, a_put_leases)
            AS p(key, value, lease)
        ON CONFLICT (key) DO UPDATE
            SET value = excluded.value, modified = excluded.modified, lease = excluded.lease
        RETURNING i.key, i.value, i.created, i.lease
    ), logged AS (
        INSERT INTO {schema}.change (revision, key, value, created, lease)
        SELECT v_next, m.key, m.value, m.created, m.lease FROM made m
        UNION ALL SELECT v_next, g.key, NULL, NULL, NULL FROM gone g
        RETURNING octet_length(value) AS size
    )
    SELECT count(*), coalesce(sum(logged.size), 0), (SELECT count(*) FROM gone) INTO v_count, v_bytes, deleted
    FROM logged;
    IF v_count > 0 THEN
        now_at := v_next;
        PERFORM {schema}.leave_v1(v_next, 1, v_bytes, a_history);
    END IF;
END $$
"""

_DELETE_PREFIX = """
CREATE OR REPLACE FUNCTION {schema}.delete_prefix_v1(
    a_wait bigint, a_history bigint, a_first text, a_end text, a_most bigint,
    OUT now_at bigint, OUT deleted bigint
) LANGUAGE plpgsql AS $$
-- Delete the first a_most keys from a_first on and before a_end, at one revision.
DECLARE
    v_next bigint;
    v_keys text[];
BEGIN
    now_at := {schema}.enter_v1(a_wait, a_history);
    v_next := {schema}.next_v1(now_at);
    SELECT array_agg(f.key) INTO v_keys FROM (
        SELECT i.key FROM {schema}.item i WHERE i.key >= a_first AND i.key < a_end ORDER BY i.key LIMIT a_most
    ) f;
    deleted := coalesce(cardinality(v_keys), 0);
    IF deleted > 0 THEN
        -- Nobody else writes meanwhile. To delete them by their range and without RETURNING takes half of the time.
        DELETE FROM {schema}.item i WHERE i.key >= v_keys[1] AND i.key <= v_keys[deleted];
        INSERT INTO {schema}.change (revision, key, value) SELECT v_next, d.* FROM {schema}.deletions_v1(v_keys) d;
        now_at := v_next;
        PERFORM {schema}.leave_v1(v_next, 1, NULL, a_history);
    END IF;
END $$
"""

_REVOKE = """
CREATE OR REPLACE FUNCTION {schema}.revoke_v1(a_wait bigint, a_history bigint, a_leases text[]) RETURNS text[]
LANGUAGE plpgsql AS $$
-- End leases now, each at a revision of its own. Answers those that were alive.
DECLARE
    v_before bigint;
    v_revision bigint := {schema}.enter_v1(a_wait, a_history);
    v_made bigint := 0;
    v_lease text;
    v_ended text[] := '{{}}';
BEGIN
    FOR v_lease IN SELECT l.id FROM {schema}.lease l WHERE l.id = ANY (a_leases) ORDER BY l.id FOR UPDATE LOOP
        v_before := v_revision;
        v_revision := {schema}.end_v1(v_lease, v_before);
        v_made := v_made + (v_revision > v_before)::integer;
        v_ended := v_ended || v_lease;
    END LOOP;
    IF v_made > 0 THEN
        PERFORM {schema}.leave_v1(v_revision, v_made, NULL, a_history);
    END IF;
    RETURN v_ended;
END $$
"""

_TRUNCATED = """
CREATE OR REPLACE FUNCTION {schema}.truncated_v1() RETURNS trigger LANGUAGE plpgsql AS $$
-- An operator has emptied a table. Keys whose leases are gone go, too; the log begins anew, so that watches read the
-- present state.
DECLARE
    v_revision bigint;
BEGIN
    INSERT INTO {schema}.store VALUES (true, {format}, gen_random_uuid(), 0, 0, 0) ON CONFLICT DO NOTHING;
    SELECT {schema}.next_v1(s.revision) INTO STRICT v_revision FROM {schema}.store s FOR UPDATE;
    DELETE FROM {schema}.item i
        WHERE i.lease IS NOT NULL AND NOT EXISTS (SELECT FROM {schema}.lease l WHERE l.id = i.lease);
    DELETE FROM {schema}.change;
    UPDATE {schema}.store SET revision = v_revision, log_start = v_revision, log_bytes = 0, log_revisions = 0;
    PERFORM pg_notify('{channel}', '');
    RETURN NULL;
END $$
"""


def _on_truncate(table: str) -> str:
    return (
        f"CREATE OR REPLACE TRIGGER truncated AFTER TRUNCATE ON {{schema}}.{table} "
        "FOR EACH STATEMENT EXECUTE FUNCTION {schema}.truncated_v1()"
    )


FUNCTIONS = (
    *(_NEXT, _TRIM, _LEAVE, _DELETIONS, _END, _END_OVERDUE, _ENTER, _COMMIT, _DELETE_PREFIX, _REVOKE, _TRUNCATED),
    *map(_on_truncate, ("store", "item", "lease")),
)
