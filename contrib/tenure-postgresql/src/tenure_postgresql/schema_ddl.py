"""The tables of a store, and the functions that write to them. One store is one schema.

    store   one row: the present revision, and from where on the log has everything
    item    the keys, with their values
    lease   the leases that haven't been ended
    log     every change of the last revisions: what watches are told (an outbox)

**Order.** A writer locks the row of ``store`` first, and PostgreSQL lets go of it after the transaction has become
visible. So revisions are committed in their order, and no reader sees one before those below.

**Revisions** follow the server's clock (``next_v1``), so a restored backup or a replica that lagged behind never uses
one of the lost history again. A watch goes on from a revision that the log has, or from ``log_start``.

**The version before** counted revisions by one and gave each transaction a random ``op``. Its tables are used as they
are: ``UPGRADE`` adds a column, and the functions are replaced. Its programs call the same functions with the same
arguments, so they may run beside new ones. That is why ``history`` and ``op`` are still there.

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

TABLES = """
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
CREATE TABLE {schema}.log (
    revision bigint NOT NULL,
    key text COLLATE "C" NOT NULL,
    value bytea,
    created bigint,
    lease text COLLATE "C",
    op uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    PRIMARY KEY (revision, key)
) WITH (autovacuum_vacuum_scale_factor = 0.05);
COMMENT ON TABLE {schema}.log IS 'Tenure: changes for watches; created is NULL where the key was deleted';
ALTER TABLE {schema}.log ALTER COLUMN value SET STORAGE EXTERNAL;
INSERT INTO {schema}.store VALUES (true, {format}, gen_random_uuid(), 0, 0, 0);
"""

UPGRADE = """
ALTER TABLE {schema}.store ADD COLUMN IF NOT EXISTS log_revisions bigint NOT NULL DEFAULT 0;
ALTER TABLE {schema}.log ALTER COLUMN op SET DEFAULT '00000000-0000-0000-0000-000000000000';
UPDATE {schema}.store SET log_revisions = (SELECT count(DISTINCT l.revision) FROM {schema}.log l);
DROP FUNCTION {schema}.commit_v1(
    bigint, bigint, uuid, text[], text[], bigint[], text[], bytea[], text[], text[]
); -- its parameters had other names, which can't be replaced
"""
"""What the tables of the version before lack, before the functions are replaced. Doing it twice does no harm."""

NEWEST_FUNCTION = "truncated_v1"
"""A store without this function was made by the version before."""

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
        SELECT l.revision FROM {schema}.log l GROUP BY l.revision ORDER BY l.revision DESC OFFSET a_keep LIMIT 1
    ) t;
    SELECT greatest(v_start, max(t.revision)) INTO v_start FROM (
        SELECT l.revision, sum(octet_length(l.value)) OVER (ORDER BY l.revision DESC, l.key DESC) AS total
        FROM {schema}.log l WHERE l.revision > v_start
    ) t WHERE t.total > {log_bytes} / 2;
    IF v_start >= v_revision THEN
        -- The last one stays, so that watches that have read it can go on.
        SELECT max(l.revision) INTO v_start FROM {schema}.log l WHERE l.revision < v_revision;
    END IF;
    DELETE FROM {schema}.log l WHERE l.revision <= v_start;
    UPDATE {schema}.store s SET log_start = greatest(s.log_start, v_start),
        (log_bytes, log_revisions) = (
            SELECT coalesce(sum(octet_length(l.value)), 0), count(DISTINCT l.revision) FROM {schema}.log l);
END $$
"""

_LEAVE = """
CREATE OR REPLACE FUNCTION {schema}.leave_v1(a_revision bigint, a_revisions bigint, a_bytes bigint, a_history bigint)
RETURNS void LANGUAGE plpgsql AS $$
-- The last step of a writer that made a_revisions: note the last, trim the log now and then, wake the watchers.
DECLARE
    v_revisions bigint;
    v_bytes bigint;
BEGIN
    UPDATE {schema}.store s SET revision = a_revision, log_bytes = s.log_bytes + a_bytes,
        log_revisions = s.log_revisions + a_revisions
        RETURNING s.log_revisions, s.log_bytes INTO STRICT v_revisions, v_bytes;
    IF v_revisions > a_history + a_history / 10 OR v_bytes > {log_bytes} THEN
        PERFORM {schema}.trim_v1(a_history);
    END IF;
    PERFORM pg_notify('{channel}', '');
END $$
"""

_END = """
CREATE OR REPLACE FUNCTION {schema}.end_v1(a_lease text, a_revision bigint) RETURNS bigint LANGUAGE plpgsql AS $$
-- End one lease: its keys go at one revision, if it has any. Answers the revision after that.
DECLARE
    v_next bigint := {schema}.next_v1(a_revision);
BEGIN
    DELETE FROM {schema}.lease l WHERE l.id = a_lease;
    WITH gone AS (DELETE FROM {schema}.item i WHERE i.lease = a_lease RETURNING i.key)
    INSERT INTO {schema}.log (revision, key) SELECT v_next, g.key FROM gone g;
    RETURN CASE WHEN FOUND THEN v_next ELSE a_revision END;
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
    ), logged AS (
        INSERT INTO {schema}.log AS l (revision, key)
        SELECT v_next - 1 + dense_rank() OVER (ORDER BY g.deadline, g.id), g.key FROM gone g
        RETURNING l.revision
    )
    SELECT count(DISTINCT m.revision) INTO ended FROM logged m;
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
            PERFORM {schema}.leave_v1(v_revision, v_ended, 0, a_history);
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
        INSERT INTO {schema}.log (revision, key, value, created, lease)
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
    v_last text;
BEGIN
    now_at := {schema}.enter_v1(a_wait, a_history);
    v_next := {schema}.next_v1(now_at);
    SELECT max(f.key) INTO v_last FROM (
        SELECT i.key FROM {schema}.item i WHERE i.key >= a_first AND i.key < a_end ORDER BY i.key LIMIT a_most
    ) f;
    WITH gone AS (
        DELETE FROM {schema}.item i WHERE i.key >= a_first AND i.key <= v_last RETURNING i.key
    )
    INSERT INTO {schema}.log (revision, key) SELECT v_next, g.key FROM gone g;
    GET DIAGNOSTICS deleted = ROW_COUNT;
    IF deleted > 0 THEN
        now_at := v_next;
        PERFORM {schema}.leave_v1(v_next, 1, 0, a_history);
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
        PERFORM {schema}.leave_v1(v_revision, v_made, 0, a_history);
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
    DELETE FROM {schema}.log;
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
    *(_NEXT, _TRIM, _LEAVE, _END, _END_OVERDUE, _ENTER, _COMMIT, _DELETE_PREFIX, _REVOKE, _TRUNCATED),
    *map(_on_truncate, ("store", "item", "lease")),
)
