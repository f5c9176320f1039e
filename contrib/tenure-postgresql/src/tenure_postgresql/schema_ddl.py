"""The tables of a store, and the functions that write to them. One store is one schema.

    store   one row: which history this is, the present revision, and from where on the log has everything
    item    the keys, with their values
    lease   the leases that haven't been ended
    log     every change of the last revisions: what watches are told (an outbox)

**Order.** Whoever writes locks the row of ``store`` first, and PostgreSQL lets go of it after the transaction has
become visible. So revisions have no holes, they are committed in their order, and nobody sees one before those below.

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
    log_bytes bigint NOT NULL
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
    op uuid NOT NULL,
    PRIMARY KEY (revision, key)
) WITH (autovacuum_vacuum_scale_factor = 0.05);
COMMENT ON TABLE {schema}.log IS 'Tenure: changes for watches; created is NULL where the key was deleted';
ALTER TABLE {schema}.log ALTER COLUMN value SET STORAGE EXTERNAL;
INSERT INTO {schema}.store VALUES (true, {format}, gen_random_uuid(), 0, 0, 0);
"""

_TRIM = """
CREATE FUNCTION {schema}.trim_v1(a_keep bigint) RETURNS void LANGUAGE plpgsql AS $$
-- Forget changes: keep those of the last a_keep revisions, fewer where their values are too many bytes.
DECLARE
    v_revision bigint;
    v_start bigint;
BEGIN
    SELECT s.revision, greatest(s.log_start, s.revision - a_keep) INTO STRICT v_revision, v_start FROM {schema}.store s;
    SELECT greatest(v_start, max(t.revision)) INTO v_start FROM (
        SELECT l.revision, sum(octet_length(l.value)) OVER (ORDER BY l.revision DESC, l.key DESC) AS total
        FROM {schema}.log l WHERE l.revision > v_start
    ) t WHERE t.total > {log_bytes} / 2;
    -- The last one stays: it tells which history this is.
    v_start := least(v_start, v_revision - 1);
    DELETE FROM {schema}.log l WHERE l.revision <= v_start;
    UPDATE {schema}.store s SET log_start = greatest(s.log_start, v_start),
        log_bytes = (SELECT coalesce(sum(octet_length(l.value)), 0) FROM {schema}.log l);
END $$
"""

_LEAVE = """
CREATE FUNCTION {schema}.leave_v1(a_revision bigint, a_bytes bigint, a_history bigint) RETURNS void
LANGUAGE plpgsql AS $$
-- The last step of whoever changed something: note the revision, trim the log now and then, wake the watchers.
DECLARE
    v_start bigint;
    v_bytes bigint;
BEGIN
    UPDATE {schema}.store s SET revision = a_revision, log_bytes = s.log_bytes + a_bytes
        RETURNING s.log_start, s.log_bytes INTO STRICT v_start, v_bytes;
    IF a_revision - v_start > a_history + a_history / 10 OR v_bytes > {log_bytes} THEN
        PERFORM {schema}.trim_v1(a_history);
    END IF;
    PERFORM pg_notify('{channel}', '');
END $$
"""

_END = """
CREATE FUNCTION {schema}.end_v1(a_lease text, a_revision bigint) RETURNS bigint LANGUAGE plpgsql AS $$
-- End one lease: its keys go at one revision, if it has any. Answers the revision after that.
DECLARE
    v_op uuid := gen_random_uuid();
    v_count bigint;
BEGIN
    DELETE FROM {schema}.lease l WHERE l.id = a_lease;
    WITH gone AS (DELETE FROM {schema}.item i WHERE i.lease = a_lease RETURNING i.key)
    INSERT INTO {schema}.log (revision, key, op) SELECT a_revision + 1, g.key, v_op FROM gone g;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN a_revision + (v_count > 0)::integer;
END $$
"""

_ENTER = """
CREATE FUNCTION {schema}.enter_v1(a_wait bigint, a_history bigint) RETURNS bigint LANGUAGE plpgsql AS $$
-- The first step of whoever writes: lock the store, waiting at most a_wait milliseconds, and end what is overdue.
DECLARE
    v_before bigint;
    v_revision bigint;
    v_now timestamptz;
    v_lease text;
BEGIN
    PERFORM set_config('lock_timeout', greatest(a_wait, 1)::text, true);
    SELECT s.revision INTO STRICT v_before FROM {schema}.store s FOR UPDATE;
    v_revision := v_before;
    v_now := clock_timestamp();
    FOR v_lease IN
        SELECT l.id FROM {schema}.lease l WHERE l.deadline <= v_now ORDER BY l.deadline, l.id FOR UPDATE SKIP LOCKED
    LOOP
        v_revision := {schema}.end_v1(v_lease, v_revision);
    END LOOP;
    IF v_revision > v_before THEN
        PERFORM {schema}.leave_v1(v_revision, 0, a_history);
    END IF;
    RETURN v_revision;
END $$
"""

_COMMIT = """
CREATE FUNCTION {schema}.commit_v1(
    a_wait bigint, a_history bigint, a_op uuid,
    a_precondition_kinds text[], a_precondition_keys text[], a_precondition_revisions bigint[],
    a_put_keys text[], a_put_values bytea[], a_put_leases text[], a_gone_keys text[],
    OUT verdict text, OUT now_at bigint, OUT deleted bigint, OUT about text, OUT found_at bigint
) LANGUAGE plpgsql AS $$
-- A transaction of Tenure. What refuses it is answered and not raised: leases ended on the way stay ended.
DECLARE
    v_next bigint;
    v_bytes bigint;
    v_count bigint;
BEGIN
    now_at := {schema}.enter_v1(a_wait, a_history);
    v_next := now_at + 1;
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
        INSERT INTO {schema}.log (revision, key, value, created, lease, op)
        SELECT v_next, m.key, m.value, m.created, m.lease, a_op FROM made m
        UNION ALL SELECT v_next, g.key, NULL, NULL, NULL, a_op FROM gone g
        RETURNING octet_length(value) AS size
    )
    SELECT count(*), coalesce(sum(logged.size), 0), (SELECT count(*) FROM gone) INTO v_count, v_bytes, deleted
    FROM logged;
    IF v_count > 0 THEN
        now_at := v_next;
        PERFORM {schema}.leave_v1(v_next, v_bytes, a_history);
    END IF;
END $$
"""

_REVOKE = """
CREATE FUNCTION {schema}.revoke_v1(a_wait bigint, a_history bigint, a_leases text[]) RETURNS text[]
LANGUAGE plpgsql AS $$
-- End leases now, each at a revision of its own. Answers those that were alive.
DECLARE
    v_before bigint := {schema}.enter_v1(a_wait, a_history);
    v_revision bigint := v_before;
    v_lease text;
    v_ended text[] := '{{}}';
BEGIN
    FOR v_lease IN SELECT l.id FROM {schema}.lease l WHERE l.id = ANY (a_leases) ORDER BY l.id FOR UPDATE LOOP
        v_revision := {schema}.end_v1(v_lease, v_revision);
        v_ended := v_ended || v_lease;
    END LOOP;
    IF v_revision > v_before THEN
        PERFORM {schema}.leave_v1(v_revision, 0, a_history);
    END IF;
    RETURN v_ended;
END $$
"""

FUNCTIONS = (_TRIM, _LEAVE, _END, _ENTER, _COMMIT, _REVOKE)
