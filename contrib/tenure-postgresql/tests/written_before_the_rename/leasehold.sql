--
-- PostgreSQL database dump
--


-- Dumped from database version 17.12 (Debian 17.12-0+deb13u1)
-- Dumped by pg_dump version 17.12 (Debian 17.12-0+deb13u1)

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET transaction_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: leasehold; Type: SCHEMA; Schema: -; Owner: -
--

CREATE SCHEMA leasehold;


--
-- Name: commit_v1(bigint, bigint, uuid, text[], text[], bigint[], text[], bytea[], text[], text[]); Type: FUNCTION; Schema: leasehold; Owner: -
--

CREATE FUNCTION leasehold.commit_v1(a_wait bigint, a_history bigint, a_op uuid, a_guard_kinds text[], a_guard_keys text[], a_guard_revisions bigint[], a_put_keys text[], a_put_values bytea[], a_put_leases text[], a_gone_keys text[], OUT verdict text, OUT now_at bigint, OUT deleted bigint, OUT about text, OUT found_at bigint) RETURNS record
    LANGUAGE plpgsql
    AS $$
-- A transaction of Leasehold. What refuses it is answered and not raised: leases ended on the way stay ended.
DECLARE
    v_next bigint;
    v_bytes bigint;
    v_count bigint;
BEGIN
    now_at := "leasehold".enter_v1(a_wait, a_history);
    v_next := now_at + 1;
    deleted := 0;
    IF cardinality(a_guard_keys) > 0 THEN
        SELECT g.kind, g.key, i.modified INTO verdict, about, found_at
        FROM unnest(a_guard_kinds, a_guard_keys, a_guard_revisions) WITH ORDINALITY AS g(kind, key, revision, n)
        LEFT JOIN "leasehold".item i ON i.key = g.key
        WHERE CASE g.kind WHEN 'absent' THEN i.key IS NOT NULL
                          WHEN 'exists' THEN i.key IS NULL
                          ELSE i.modified IS DISTINCT FROM g.revision END
        ORDER BY g.n LIMIT 1;
        IF FOUND THEN RETURN; END IF;
    END IF;
    SELECT 'lease', p.id INTO verdict, about FROM unnest(a_put_leases) AS p(id)
    WHERE p.id IS NOT NULL AND NOT EXISTS (SELECT FROM "leasehold".lease l WHERE l.id = p.id) LIMIT 1;
    IF FOUND THEN RETURN; END IF;
    verdict := 'done';
    WITH gone AS (
        DELETE FROM "leasehold".item i WHERE i.key = ANY (a_gone_keys) RETURNING i.key
    ), made AS (
        INSERT INTO "leasehold".item AS i (key, value, created, modified, lease)
        SELECT p.key, p.value, v_next, v_next, p.lease FROM unnest(a_put_keys, a_put_values, a_put_leases)
            AS p(key, value, lease)
        ON CONFLICT (key) DO UPDATE
            SET value = excluded.value, modified = excluded.modified, lease = excluded.lease
        RETURNING i.key, i.value, i.created, i.lease
    ), logged AS (
        INSERT INTO "leasehold".log (revision, key, value, created, lease, op)
        SELECT v_next, m.key, m.value, m.created, m.lease, a_op FROM made m
        UNION ALL SELECT v_next, g.key, NULL, NULL, NULL, a_op FROM gone g
        RETURNING octet_length(value) AS size
    )
    SELECT count(*), coalesce(sum(logged.size), 0), (SELECT count(*) FROM gone) INTO v_count, v_bytes, deleted
    FROM logged;
    IF v_count > 0 THEN
        now_at := v_next;
        PERFORM "leasehold".leave_v1(v_next, v_bytes, a_history);
    END IF;
END $$;


--
-- Name: end_v1(text, bigint); Type: FUNCTION; Schema: leasehold; Owner: -
--

CREATE FUNCTION leasehold.end_v1(a_lease text, a_revision bigint) RETURNS bigint
    LANGUAGE plpgsql
    AS $$
-- End one lease: its keys go at one revision, if it has any. Answers the revision after that.
DECLARE
    v_op uuid := gen_random_uuid();
    v_count bigint;
BEGIN
    DELETE FROM "leasehold".lease l WHERE l.id = a_lease;
    WITH gone AS (DELETE FROM "leasehold".item i WHERE i.lease = a_lease RETURNING i.key)
    INSERT INTO "leasehold".log (revision, key, op) SELECT a_revision + 1, g.key, v_op FROM gone g;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN a_revision + (v_count > 0)::integer;
END $$;


--
-- Name: enter_v1(bigint, bigint); Type: FUNCTION; Schema: leasehold; Owner: -
--

CREATE FUNCTION leasehold.enter_v1(a_wait bigint, a_history bigint) RETURNS bigint
    LANGUAGE plpgsql
    AS $$
-- The first step of whoever writes: lock the store, waiting at most a_wait milliseconds, and end what is overdue.
DECLARE
    v_before bigint;
    v_revision bigint;
    v_now timestamptz;
    v_lease text;
BEGIN
    PERFORM set_config('lock_timeout', greatest(a_wait, 1)::text, true);
    SELECT s.revision INTO STRICT v_before FROM "leasehold".store s FOR UPDATE;
    v_revision := v_before;
    v_now := clock_timestamp();
    FOR v_lease IN
        SELECT l.id FROM "leasehold".lease l WHERE l.deadline <= v_now ORDER BY l.deadline, l.id FOR UPDATE SKIP LOCKED
    LOOP
        v_revision := "leasehold".end_v1(v_lease, v_revision);
    END LOOP;
    IF v_revision > v_before THEN
        PERFORM "leasehold".leave_v1(v_revision, 0, a_history);
    END IF;
    RETURN v_revision;
END $$;


--
-- Name: leave_v1(bigint, bigint, bigint); Type: FUNCTION; Schema: leasehold; Owner: -
--

CREATE FUNCTION leasehold.leave_v1(a_revision bigint, a_bytes bigint, a_history bigint) RETURNS void
    LANGUAGE plpgsql
    AS $$
-- The last step of whoever changed something: note the revision, trim the log now and then, wake the watchers.
DECLARE
    v_start bigint;
    v_bytes bigint;
BEGIN
    UPDATE "leasehold".store s SET revision = a_revision, log_bytes = s.log_bytes + a_bytes
        RETURNING s.log_start, s.log_bytes INTO STRICT v_start, v_bytes;
    IF a_revision - v_start > a_history + a_history / 10 OR v_bytes > 268435456 THEN
        PERFORM "leasehold".trim_v1(a_history);
    END IF;
    PERFORM pg_notify('leasehold_leasehold', '');
END $$;


--
-- Name: revoke_v1(bigint, bigint, text[]); Type: FUNCTION; Schema: leasehold; Owner: -
--

CREATE FUNCTION leasehold.revoke_v1(a_wait bigint, a_history bigint, a_leases text[]) RETURNS text[]
    LANGUAGE plpgsql
    AS $$
-- End leases now, each at a revision of its own. Answers those that were alive.
DECLARE
    v_before bigint := "leasehold".enter_v1(a_wait, a_history);
    v_revision bigint := v_before;
    v_lease text;
    v_ended text[] := '{}';
BEGIN
    FOR v_lease IN SELECT l.id FROM "leasehold".lease l WHERE l.id = ANY (a_leases) ORDER BY l.id FOR UPDATE LOOP
        v_revision := "leasehold".end_v1(v_lease, v_revision);
        v_ended := v_ended || v_lease;
    END LOOP;
    IF v_revision > v_before THEN
        PERFORM "leasehold".leave_v1(v_revision, 0, a_history);
    END IF;
    RETURN v_ended;
END $$;


--
-- Name: trim_v1(bigint); Type: FUNCTION; Schema: leasehold; Owner: -
--

CREATE FUNCTION leasehold.trim_v1(a_keep bigint) RETURNS void
    LANGUAGE plpgsql
    AS $$
-- Forget changes: keep those of the last a_keep revisions, fewer where their values are too many bytes.
DECLARE
    v_revision bigint;
    v_start bigint;
BEGIN
    SELECT s.revision, greatest(s.log_start, s.revision - a_keep) INTO STRICT v_revision, v_start FROM "leasehold".store s;
    SELECT greatest(v_start, max(t.revision)) INTO v_start FROM (
        SELECT l.revision, sum(octet_length(l.value)) OVER (ORDER BY l.revision DESC, l.key DESC) AS total
        FROM "leasehold".log l WHERE l.revision > v_start
    ) t WHERE t.total > 268435456 / 2;
    -- The last one stays: it tells which history this is.
    v_start := least(v_start, v_revision - 1);
    DELETE FROM "leasehold".log l WHERE l.revision <= v_start;
    UPDATE "leasehold".store s SET log_start = greatest(s.log_start, v_start),
        log_bytes = (SELECT coalesce(sum(octet_length(l.value)), 0) FROM "leasehold".log l);
END $$;


SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: item; Type: TABLE; Schema: leasehold; Owner: -
--

CREATE TABLE leasehold.item (
    key text NOT NULL COLLATE pg_catalog."C",
    value bytea NOT NULL,
    created bigint NOT NULL,
    modified bigint NOT NULL,
    lease text COLLATE pg_catalog."C"
);
ALTER TABLE ONLY leasehold.item ALTER COLUMN value SET STORAGE EXTERNAL;


--
-- Name: lease; Type: TABLE; Schema: leasehold; Owner: -
--

CREATE TABLE leasehold.lease (
    id text NOT NULL COLLATE pg_catalog."C",
    ttl bigint NOT NULL,
    deadline timestamp with time zone NOT NULL
);


--
-- Name: COLUMN lease.ttl; Type: COMMENT; Schema: leasehold; Owner: -
--

COMMENT ON COLUMN leasehold.lease.ttl IS 'milliseconds';


--
-- Name: log; Type: TABLE; Schema: leasehold; Owner: -
--

CREATE TABLE leasehold.log (
    revision bigint NOT NULL,
    key text NOT NULL COLLATE pg_catalog."C",
    value bytea,
    created bigint,
    lease text COLLATE pg_catalog."C",
    op uuid NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0.05');
ALTER TABLE ONLY leasehold.log ALTER COLUMN value SET STORAGE EXTERNAL;


--
-- Name: TABLE log; Type: COMMENT; Schema: leasehold; Owner: -
--

COMMENT ON TABLE leasehold.log IS 'Leasehold: changes for watches; created is NULL where the key was deleted';


--
-- Name: store; Type: TABLE; Schema: leasehold; Owner: -
--

CREATE TABLE leasehold.store (
    one boolean DEFAULT true NOT NULL,
    format integer NOT NULL,
    history uuid NOT NULL,
    revision bigint NOT NULL,
    log_start bigint NOT NULL,
    log_bytes bigint NOT NULL,
    CONSTRAINT store_one_check CHECK (one)
)
WITH (fillfactor='10');


--
-- Name: TABLE store; Type: COMMENT; Schema: leasehold; Owner: -
--

COMMENT ON TABLE leasehold.store IS 'Leasehold: the present revision; the log has every change after log_start';


--
-- Data for Name: item; Type: TABLE DATA; Schema: leasehold; Owner: -
--

INSERT INTO leasehold.item VALUES
	('a', '\x', 2, 2, NULL),
	('team%2Forders/a', '\x', 3, 3, NULL),
	('a//b', '\x0100ff', 4, 4, NULL),
	('team%2Forders/a//b', '\x0100ff', 5, 5, NULL),
	('a/b', '\x0200ff0200ff', 6, 6, NULL),
	('team%2Forders/a/b', '\x0200ff0200ff', 7, 7, NULL),
	('/a', '\x0300ff0300ff0300ff', 8, 8, NULL),
	('team%2Forders//a', '\x0300ff0300ff0300ff', 9, 9, NULL),
	('team%2Forders/a/', '\x', 11, 11, NULL),
	('.', '\x0500ff', 12, 12, NULL),
	('team%2Forders/.', '\x0500ff', 13, 13, NULL),
	('..', '\x0600ff0600ff', 14, 14, NULL),
	('team%2Forders/..', '\x0600ff0600ff', 15, 15, NULL),
	('%', '\x0700ff0700ff0700ff', 16, 16, NULL),
	('team%2Forders/%', '\x0700ff0700ff0700ff', 17, 17, NULL),
	('a%2Fb', '\x', 18, 18, NULL),
	('team%2Forders/a%2Fb', '\x', 19, 19, NULL),
	('@a', '\x0900ff', 20, 20, NULL),
	('team%2Forders/@a', '\x0900ff', 21, 21, NULL),
	('~a', '\x0a00ff0a00ff', 22, 22, NULL),
	('team%2Forders/~a', '\x0a00ff0a00ff', 23, 23, NULL),
	('*', '\x0b00ff0b00ff0b00ff', 24, 24, NULL),
	('team%2Forders/*', '\x0b00ff0b00ff0b00ff', 25, 25, NULL),
	('k v', '\x', 26, 26, NULL),
	('team%2Forders/k v', '\x', 27, 27, NULL),
	('', '\x0d00ff', 28, 28, NULL),
	('team%2Forders/', '\x0d00ff', 29, 29, NULL),
	('ä€😀', '\x0e00ff0e00ff', 30, 30, NULL),
	('team%2Forders/ä€😀', '\x0e00ff0e00ff', 31, 31, NULL),
	('leasehold', '\x0f00ff0f00ff0f00ff', 32, 32, NULL),
	('team%2Forders/leasehold', '\x0f00ff0f00ff0f00ff', 33, 33, NULL),
	('a/.leasehold/b', '\x', 34, 34, NULL),
	('team%2Forders/a/.leasehold/b', '\x', 35, 35, NULL),
	('zookeeper/a', '\x1100ff', 36, 36, NULL),
	('team%2Forders/zookeeper/a', '\x1100ff', 37, 37, NULL),
	('twice', '\x7365636f6e64', 1, 38, NULL),
	('moved', '\x6f6e206e6f6e65', 41, 42, NULL),
	('together/1', '\x31', 43, 43, NULL),
	('together/2', '\x32', 43, 43, NULL),
	('on a short lease', '\x', 44, 44, '16724908d59041ff81b73be183f245db'),
	('on a lasting lease', '\x6b657074', 45, 45, '300d2ce2bdad4ea78c1b9557377d5545'),
	('team%2Forders/on a lasting lease', '\x6b6570742061732077656c6c', 46, 46, 'a2878522ca844dd8b7b9aefa18089343'),
	('/registry/default/shop/old-1@192.0.2.10', '\x7b226964223a226f6c642d31222c22686f7374223a223139322e302e322e3130222c22686f73745f6e616d65223a226f6c642d686f7374222c22706f7274223a383038302c22736572766963655f6e616d65223a2273686f70222c226d657461223a7b2277656967687473223a5b312c322e352c6e756c6c5d2c227a6f6e65223a22615c753030336362227d7d', 47, 47, '48b1ba8482f844e99d590c901daffb61'),
	('copied/leasehold-copy', '\x7b22736f75726365223a202273716c6974653a2f2f3f6e616d6573706163653d736f75726365222c20226d65726765223a2066616c73652c20226964223a20223936303566326638306164353439386239623261373238643330326432326466227d', 48, 48, NULL),
	('copied/k/001', '\x31', 49, 49, NULL),
	('copied/k/002', '\x32', 49, 49, NULL),
	('copied/k/003', '\x33', 49, 49, NULL),
	('copied/k/004', '\x34', 49, 49, NULL),
	('copied/k/005', '\x35', 49, 49, NULL),
	('copied/k/006', '\x36', 49, 49, NULL),
	('copied/k/007', '\x37', 49, 49, NULL),
	('copied/k/008', '\x38', 49, 49, NULL),
	('copied/k/009', '\x39', 50, 50, NULL),
	('copied/k/010', '\x3130', 50, 50, NULL),
	('copied/k/011', '\x3131', 50, 50, NULL),
	('copied/k/012', '\x3132', 50, 50, NULL),
	('copied/k/013', '\x3133', 50, 50, NULL),
	('copied/k/014', '\x3134', 50, 50, NULL),
	('copied/k/015', '\x3135', 50, 50, NULL),
	('copied/k/016', '\x3136', 50, 50, NULL),
	('mirrored/leasehold-mirror-lock', '\x7b226964223a20223733663130336231336637363462616261666635323536623834386262636335222c2022686f7374223a20226f6c642d686f7374222c2022706964223a2031363333317d', 51, 51, 'b2e5c1ea65cd4408ae8ec03eea3692b0'),
	('mirrored/leasehold-mirror', '\x7b22736f75726365223a202273716c6974653a2f2f3f6e616d6573706163653d736f75726365222c20226c6561736573223a205b223865383632636434363633663466663561643636363739626361316436626334225d7d', 52, 52, NULL),
	('mirrored/k/001', '\x31', 53, 53, NULL),
	('mirrored/k/002', '\x32', 53, 53, NULL),
	('mirrored/k/003', '\x33', 53, 53, NULL),
	('mirrored/k/004', '\x34', 53, 53, NULL),
	('mirrored/k/005', '\x35', 53, 53, NULL),
	('mirrored/k/006', '\x36', 53, 53, NULL),
	('mirrored/k/007', '\x37', 53, 53, NULL),
	('mirrored/k/008', '\x38', 53, 53, NULL),
	('mirrored/k/009', '\x39', 53, 53, NULL),
	('mirrored/k/010', '\x3130', 53, 53, NULL),
	('mirrored/k/011', '\x3131', 53, 53, NULL),
	('mirrored/k/012', '\x3132', 53, 53, NULL),
	('mirrored/k/013', '\x3133', 53, 53, NULL),
	('mirrored/k/014', '\x3134', 53, 53, NULL),
	('mirrored/k/015', '\x3135', 53, 53, NULL),
	('mirrored/k/016', '\x3136', 53, 53, NULL),
	('mirrored/k/017', '\x3137', 53, 53, NULL),
	('mirrored/k/018', '\x3138', 53, 53, NULL),
	('mirrored/k/019', '\x3139', 53, 53, NULL),
	('mirrored/k/020', '\x3230', 53, 53, NULL);


--
-- Data for Name: lease; Type: TABLE DATA; Schema: leasehold; Owner: -
--

INSERT INTO leasehold.lease VALUES
	('300d2ce2bdad4ea78c1b9557377d5545', 3600000, '2026-11-28 19:47:09.436615+00'),
	('a2878522ca844dd8b7b9aefa18089343', 3600000, '2026-11-28 19:47:09.453609+00'),
	('48b1ba8482f844e99d590c901daffb61', 3600000, '2026-11-28 19:47:09.522853+00'),
	('d3671750f643489ba76128b1c093c344', 5000, '2026-11-28 18:47:15.928976+00'),
	('16724908d59041ff81b73be183f245db', 5000, '2026-11-28 18:47:16.093802+00'),
	('b2e5c1ea65cd4408ae8ec03eea3692b0', 2000, '2026-11-28 18:47:14.384618+00'),
	('8e862cd4663f4ff5ad66679bca1d6bc4', 6000, '2026-11-28 18:47:18.40897+00');


--
-- Data for Name: log; Type: TABLE DATA; Schema: leasehold; Owner: -
--

INSERT INTO leasehold.log VALUES
	(1, 'twice', '\x6669727374', 1, NULL, '77eea032-0775-4182-9dc3-898a605510a4'),
	(2, 'a', '\x', 2, NULL, '7bb78ecc-442f-4a92-aa9d-0fc662d4e89c'),
	(3, 'team%2Forders/a', '\x', 3, NULL, 'd78d6d29-5f8b-46c0-a6e2-440c7e8fc2aa'),
	(4, 'a//b', '\x0100ff', 4, NULL, '43540449-d1ae-4d6e-8bd4-c71ca8ed97a0'),
	(5, 'team%2Forders/a//b', '\x0100ff', 5, NULL, '027f8795-e6d5-427f-8ffc-66f393966d1e'),
	(6, 'a/b', '\x0200ff0200ff', 6, NULL, 'e174b0b6-88ee-4be2-85ab-70e49adbce73'),
	(7, 'team%2Forders/a/b', '\x0200ff0200ff', 7, NULL, '3f920c72-8fd6-44c2-be1c-14387960637c'),
	(8, '/a', '\x0300ff0300ff0300ff', 8, NULL, '82b2cb44-ec88-42c9-acc3-29775fda2987'),
	(9, 'team%2Forders//a', '\x0300ff0300ff0300ff', 9, NULL, '047d3b05-692b-4ebb-b2b5-2ce9b5c08152'),
	(10, 'a/', '\x', 10, NULL, 'e3c654cb-faf1-490d-9396-cb0bab641cec'),
	(11, 'team%2Forders/a/', '\x', 11, NULL, '3c13c416-2a4b-4f29-8ac6-9d4f7e6b55d6'),
	(12, '.', '\x0500ff', 12, NULL, 'fb264b1d-7b5c-4e9b-a097-15f40409b6e6'),
	(13, 'team%2Forders/.', '\x0500ff', 13, NULL, '44770278-f7a1-4e02-a123-9e574826799e'),
	(14, '..', '\x0600ff0600ff', 14, NULL, '82f08b70-09b0-4b31-8058-1873da5de94f'),
	(15, 'team%2Forders/..', '\x0600ff0600ff', 15, NULL, '1b886999-4f80-4a28-aa79-dff6e89649d4'),
	(16, '%', '\x0700ff0700ff0700ff', 16, NULL, '3d8860bc-9e1a-492d-8e5b-a0c8a6f501fb'),
	(17, 'team%2Forders/%', '\x0700ff0700ff0700ff', 17, NULL, 'ca99ef61-972e-4708-abc2-7dfef8d857d7'),
	(18, 'a%2Fb', '\x', 18, NULL, 'b9fd6bf1-0537-4aa7-aadf-c66a3da7c915'),
	(19, 'team%2Forders/a%2Fb', '\x', 19, NULL, '2b1a44fe-fea0-4db8-91db-580f89eee665'),
	(20, '@a', '\x0900ff', 20, NULL, 'af2fb511-8732-43ef-a9c3-e60595d7a65c'),
	(21, 'team%2Forders/@a', '\x0900ff', 21, NULL, 'f61a71f7-c7c3-42e6-b062-839222f6396d'),
	(22, '~a', '\x0a00ff0a00ff', 22, NULL, 'e399f1ae-9c6e-444f-9323-1029cc0313f9'),
	(23, 'team%2Forders/~a', '\x0a00ff0a00ff', 23, NULL, '3bebf96e-402a-4cdd-95b4-af7283fa245f'),
	(24, '*', '\x0b00ff0b00ff0b00ff', 24, NULL, 'b11eab7f-a10d-478e-92ed-bfb704f64760'),
	(25, 'team%2Forders/*', '\x0b00ff0b00ff0b00ff', 25, NULL, 'd544e7ea-69e5-49dd-ab79-0efd9c68b40a'),
	(26, 'k v', '\x', 26, NULL, '85475fde-1342-4198-8322-bce7e4bac1e8'),
	(27, 'team%2Forders/k v', '\x', 27, NULL, 'ba1ced4c-a20f-413b-85e4-3cdd483c2c8a'),
	(28, '', '\x0d00ff', 28, NULL, 'c3fa6175-840f-4eb3-b5e6-dae251b82e33'),
	(29, 'team%2Forders/', '\x0d00ff', 29, NULL, '6a8f3918-45ec-4522-8f11-86de5cf38857'),
	(30, 'ä€😀', '\x0e00ff0e00ff', 30, NULL, '46e906dc-915b-4757-a905-3a48c7f299a2'),
	(31, 'team%2Forders/ä€😀', '\x0e00ff0e00ff', 31, NULL, 'a2f0ee00-204c-415d-b039-b18dc4a3efaf'),
	(32, 'leasehold', '\x0f00ff0f00ff0f00ff', 32, NULL, '1cb2cafa-b4a7-4ffc-9846-5361ec648bc5'),
	(33, 'team%2Forders/leasehold', '\x0f00ff0f00ff0f00ff', 33, NULL, '48bbf65e-6eb6-4b00-a824-51bbb50d60c4'),
	(34, 'a/.leasehold/b', '\x', 34, NULL, 'ba320606-0b30-447d-9c61-be11d8777879'),
	(35, 'team%2Forders/a/.leasehold/b', '\x', 35, NULL, '0484caf8-8a5b-4b48-b252-edb5707b1b4c'),
	(36, 'zookeeper/a', '\x1100ff', 36, NULL, 'f5310c82-9d1a-4a22-b755-8b3b64c19597'),
	(37, 'team%2Forders/zookeeper/a', '\x1100ff', 37, NULL, '98f8544a-51fd-4829-a1b9-be56600179a7'),
	(38, 'twice', '\x7365636f6e64', 1, NULL, 'a46d4a8b-c804-46c3-a476-2192b272d557'),
	(39, 'gone', '\x', 39, NULL, 'ba9e7f14-1a54-449b-a119-ba8517f2361c'),
	(40, 'gone', NULL, NULL, NULL, '4755e429-ae45-49eb-93e4-9de4289fcaf1'),
	(41, 'moved', '\x6f6e2061206c65617365', 41, 'd3671750f643489ba76128b1c093c344', '5f98618e-4fc0-44c3-8c5e-50bba955e111'),
	(42, 'moved', '\x6f6e206e6f6e65', 41, NULL, 'ef39a456-5efe-4008-ac59-0037ae1f427e'),
	(43, 'together/1', '\x31', 43, NULL, 'e23461ef-3bd5-4d46-8599-637de6c20829'),
	(43, 'together/2', '\x32', 43, NULL, 'e23461ef-3bd5-4d46-8599-637de6c20829'),
	(43, 'a/', NULL, NULL, NULL, 'e23461ef-3bd5-4d46-8599-637de6c20829'),
	(44, 'on a short lease', '\x', 44, '16724908d59041ff81b73be183f245db', '18846760-619e-4b73-a64c-743053b7f52d'),
	(45, 'on a lasting lease', '\x6b657074', 45, '300d2ce2bdad4ea78c1b9557377d5545', '103366c8-e7f3-4150-9b9d-726605fc18bf'),
	(46, 'team%2Forders/on a lasting lease', '\x6b6570742061732077656c6c', 46, 'a2878522ca844dd8b7b9aefa18089343', 'a5a0fbf9-fb44-4dc7-a713-f721cc61618d'),
	(47, '/registry/default/shop/old-1@192.0.2.10', '\x7b226964223a226f6c642d31222c22686f7374223a223139322e302e322e3130222c22686f73745f6e616d65223a226f6c642d686f7374222c22706f7274223a383038302c22736572766963655f6e616d65223a2273686f70222c226d657461223a7b2277656967687473223a5b312c322e352c6e756c6c5d2c227a6f6e65223a22615c753030336362227d7d', 47, '48b1ba8482f844e99d590c901daffb61', 'fb1fd539-75ef-4691-bcb6-d449e8f8824c'),
	(48, 'copied/leasehold-copy', '\x7b22736f75726365223a202273716c6974653a2f2f3f6e616d6573706163653d736f75726365222c20226d65726765223a2066616c73652c20226964223a20223936303566326638306164353439386239623261373238643330326432326466227d', 48, NULL, '05e595c7-f934-4baf-b832-233eb6162ea2'),
	(49, 'copied/k/001', '\x31', 49, NULL, 'e1d82e66-ce59-427e-a3d3-64e681f4a84d'),
	(49, 'copied/k/002', '\x32', 49, NULL, 'e1d82e66-ce59-427e-a3d3-64e681f4a84d'),
	(49, 'copied/k/003', '\x33', 49, NULL, 'e1d82e66-ce59-427e-a3d3-64e681f4a84d'),
	(49, 'copied/k/004', '\x34', 49, NULL, 'e1d82e66-ce59-427e-a3d3-64e681f4a84d'),
	(49, 'copied/k/005', '\x35', 49, NULL, 'e1d82e66-ce59-427e-a3d3-64e681f4a84d'),
	(49, 'copied/k/006', '\x36', 49, NULL, 'e1d82e66-ce59-427e-a3d3-64e681f4a84d'),
	(49, 'copied/k/007', '\x37', 49, NULL, 'e1d82e66-ce59-427e-a3d3-64e681f4a84d'),
	(49, 'copied/k/008', '\x38', 49, NULL, 'e1d82e66-ce59-427e-a3d3-64e681f4a84d'),
	(50, 'copied/k/009', '\x39', 50, NULL, '4e1f0cde-72fd-4af0-a31d-abcba85dbf74'),
	(50, 'copied/k/010', '\x3130', 50, NULL, '4e1f0cde-72fd-4af0-a31d-abcba85dbf74'),
	(50, 'copied/k/011', '\x3131', 50, NULL, '4e1f0cde-72fd-4af0-a31d-abcba85dbf74'),
	(50, 'copied/k/012', '\x3132', 50, NULL, '4e1f0cde-72fd-4af0-a31d-abcba85dbf74'),
	(50, 'copied/k/013', '\x3133', 50, NULL, '4e1f0cde-72fd-4af0-a31d-abcba85dbf74'),
	(50, 'copied/k/014', '\x3134', 50, NULL, '4e1f0cde-72fd-4af0-a31d-abcba85dbf74'),
	(50, 'copied/k/015', '\x3135', 50, NULL, '4e1f0cde-72fd-4af0-a31d-abcba85dbf74'),
	(50, 'copied/k/016', '\x3136', 50, NULL, '4e1f0cde-72fd-4af0-a31d-abcba85dbf74'),
	(51, 'mirrored/leasehold-mirror-lock', '\x7b226964223a20223733663130336231336637363462616261666635323536623834386262636335222c2022686f7374223a20226f6c642d686f7374222c2022706964223a2031363333317d', 51, 'b2e5c1ea65cd4408ae8ec03eea3692b0', 'c735e7b6-547e-4ef7-a6a2-cd7ff126f3d1'),
	(52, 'mirrored/leasehold-mirror', '\x7b22736f75726365223a202273716c6974653a2f2f3f6e616d6573706163653d736f75726365222c20226c6561736573223a205b223865383632636434363633663466663561643636363739626361316436626334225d7d', 52, NULL, '35eadf4e-10d5-4da5-98ba-ac789c48d4e1'),
	(53, 'mirrored/k/001', '\x31', 53, NULL, 'a0d6ff23-e6a0-4e7e-8abd-605ac50319d7'),
	(53, 'mirrored/k/002', '\x32', 53, NULL, 'a0d6ff23-e6a0-4e7e-8abd-605ac50319d7'),
	(53, 'mirrored/k/003', '\x33', 53, NULL, 'a0d6ff23-e6a0-4e7e-8abd-605ac50319d7'),
	(53, 'mirrored/k/004', '\x34', 53, NULL, 'a0d6ff23-e6a0-4e7e-8abd-605ac50319d7'),
	(53, 'mirrored/k/005', '\x35', 53, NULL, 'a0d6ff23-e6a0-4e7e-8abd-605ac50319d7'),
	(53, 'mirrored/k/006', '\x36', 53, NULL, 'a0d6ff23-e6a0-4e7e-8abd-605ac50319d7'),
	(53, 'mirrored/k/007', '\x37', 53, NULL, 'a0d6ff23-e6a0-4e7e-8abd-605ac50319d7'),
	(53, 'mirrored/k/008', '\x38', 53, NULL, 'a0d6ff23-e6a0-4e7e-8abd-605ac50319d7'),
	(53, 'mirrored/k/009', '\x39', 53, NULL, 'a0d6ff23-e6a0-4e7e-8abd-605ac50319d7'),
	(53, 'mirrored/k/010', '\x3130', 53, NULL, 'a0d6ff23-e6a0-4e7e-8abd-605ac50319d7'),
	(53, 'mirrored/k/011', '\x3131', 53, NULL, 'a0d6ff23-e6a0-4e7e-8abd-605ac50319d7'),
	(53, 'mirrored/k/012', '\x3132', 53, NULL, 'a0d6ff23-e6a0-4e7e-8abd-605ac50319d7'),
	(53, 'mirrored/k/013', '\x3133', 53, NULL, 'a0d6ff23-e6a0-4e7e-8abd-605ac50319d7'),
	(53, 'mirrored/k/014', '\x3134', 53, NULL, 'a0d6ff23-e6a0-4e7e-8abd-605ac50319d7'),
	(53, 'mirrored/k/015', '\x3135', 53, NULL, 'a0d6ff23-e6a0-4e7e-8abd-605ac50319d7'),
	(53, 'mirrored/k/016', '\x3136', 53, NULL, 'a0d6ff23-e6a0-4e7e-8abd-605ac50319d7'),
	(53, 'mirrored/k/017', '\x3137', 53, NULL, 'a0d6ff23-e6a0-4e7e-8abd-605ac50319d7'),
	(53, 'mirrored/k/018', '\x3138', 53, NULL, 'a0d6ff23-e6a0-4e7e-8abd-605ac50319d7'),
	(53, 'mirrored/k/019', '\x3139', 53, NULL, 'a0d6ff23-e6a0-4e7e-8abd-605ac50319d7'),
	(53, 'mirrored/k/020', '\x3230', 53, NULL, 'a0d6ff23-e6a0-4e7e-8abd-605ac50319d7');


--
-- Data for Name: store; Type: TABLE DATA; Schema: leasehold; Owner: -
--

INSERT INTO leasehold.store VALUES
	(true, 1, '4e5e9ae5-404c-4b92-9af4-e595675a8b16', 53, 0, 653);


--
-- Name: item item_pkey; Type: CONSTRAINT; Schema: leasehold; Owner: -
--

ALTER TABLE ONLY leasehold.item
    ADD CONSTRAINT item_pkey PRIMARY KEY (key);


--
-- Name: lease lease_pkey; Type: CONSTRAINT; Schema: leasehold; Owner: -
--

ALTER TABLE ONLY leasehold.lease
    ADD CONSTRAINT lease_pkey PRIMARY KEY (id);


--
-- Name: log log_pkey; Type: CONSTRAINT; Schema: leasehold; Owner: -
--

ALTER TABLE ONLY leasehold.log
    ADD CONSTRAINT log_pkey PRIMARY KEY (revision, key);


--
-- Name: store store_pkey; Type: CONSTRAINT; Schema: leasehold; Owner: -
--

ALTER TABLE ONLY leasehold.store
    ADD CONSTRAINT store_pkey PRIMARY KEY (one);


--
-- Name: item_lease; Type: INDEX; Schema: leasehold; Owner: -
--

CREATE INDEX item_lease ON leasehold.item USING btree (lease) WHERE (lease IS NOT NULL);


--
-- Name: lease_deadline; Type: INDEX; Schema: leasehold; Owner: -
--

CREATE INDEX lease_deadline ON leasehold.lease USING btree (deadline);


--
-- PostgreSQL database dump complete
--


