"""Many deletions of one operation are one row of the log, and every reader of the log sees each of them."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
import tenure_postgresql.schema
from postgresql_server import PostgresqlServer

import tenure
from tenure.errors import Compacted
from tenure.spi import Backend, Deleted, Put, Transaction, WatchRequest
from tenure_testkit.waiting import until

KEYS = ['"', "\\", "\x01", "ä", "\U0010ffff", *(f"{number:03}" for number in range(200))]


def fill(backend: Backend, lease_id: str | None = None, prefix: str = "a/") -> int:
    return backend.commit(
        Transaction((), tuple(Put(prefix + key, b"", lease_id) for key in KEYS)), timeout=10.0
    ).revision


def rows(server: PostgresqlServer, schema: str) -> list[int]:
    """How many rows each revision has that deleted something."""
    counted = server.sql(
        f"SELECT count(*) FROM {schema}.change WHERE created IS NULL GROUP BY revision ORDER BY revision"
    )
    return [int(row[0]) for row in counted]


def delete(backend: Backend) -> int:
    return backend.delete_prefix("a/", timeout=10.0).revision


def revoke(backend: Backend) -> int:
    [lease] = backend.leases(None, timeout=10.0)
    backend.revoke([lease.lease_id], timeout=10.0)
    return backend.get("a", timeout=10.0).revision


def wait_for_the_end(backend: Backend) -> int:
    until(lambda: backend.get("a/ä", timeout=10.0).item is None, what="the lease has ended")
    return backend.get("a", timeout=10.0).revision


@pytest.mark.parametrize("end", [delete, revoke, wait_for_the_end])
def test_all_are_told_at_one_revision_out_of_one_row(
    server: PostgresqlServer, schema: str, backend: Backend, recorder: Any, end: Callable[[Backend], int]
) -> None:
    lease = None if end is delete else backend.grant(2.0 if end is wait_for_the_end else 60.0, timeout=5.0).lease_id
    begun = fill(backend, lease)
    following, resumed = recorder(), recorder()
    feeds = [backend.watch(WatchRequest(prefix="a/"), sink=following, timeout=5.0)]
    until(lambda: following.items, what="the feed began")
    revision = end(backend)
    assert rows(server, schema) == [1]
    feeds.append(backend.watch(WatchRequest(prefix="a/", after=begun), sink=resumed, timeout=5.0))
    for sink in (following, resumed):
        until(lambda sink=sink: sink.entries, what="the deletions are told")
        told = [item for item in sink.items if getattr(item, "entries", ())]
        assert [item.revision for item in told] == [revision]
        assert set(told[0].entries) == {Deleted(f"a/{key}", revision) for key in KEYS}
        assert len(told[0].entries) == len(KEYS)
    noted, counted = server.sql(
        f"SELECT max(s.log_bytes), sum(octet_length(c.value)) FROM {schema}.store s, {schema}.change c"
    )[0]
    assert noted == counted > 1000
    for feed in feeds:
        feed.close()


def test_a_row_has_so_many_keys(
    server: PostgresqlServer,
    schema: str,
    open_backend: Callable[..., Backend],
    recorder: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tenure_postgresql.schema, "ROW_KEYS", 150)
    backend, sink = open_backend(), recorder()
    after = fill(backend)
    delete(backend)
    assert rows(server, schema) == [2]
    backend.watch(WatchRequest(prefix="", after=after), sink=sink, timeout=5.0)
    until(lambda: sink.entries, what="the deletions are told")
    assert {entry.key for entry in sink.entries} == {f"a/{key}" for key in KEYS}


def test_keys_that_were_deleted_count_for_the_length_of_the_log(
    server: PostgresqlServer,
    schema: str,
    open_backend: Callable[..., Backend],
    recorder: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tenure_postgresql.schema, "LOG_BYTES", 8000)
    backend = open_backend()
    first = fill(backend)
    for _ in range(6):
        delete(backend)
        fill(backend)
    [[noted]] = server.sql(f"SELECT log_bytes FROM {schema}.store")
    assert noted <= 8000
    with pytest.raises(Compacted):
        backend.watch(WatchRequest(prefix="", after=first), sink=recorder(), timeout=5.0)


def test_who_reads_the_log_row_by_row_finds_each_key(server: PostgresqlServer, schema: str, backend: Backend) -> None:
    """As people do by hand, and the programs of the versions before."""
    fill(backend)
    revision = delete(backend)
    found = server.sql(
        f"SELECT n.key, n.value, n.lease FROM (SELECT l.revision, l.key, l.value, l.lease FROM {schema}.log l "
        f"WHERE l.revision >= {revision} ORDER BY l.revision, l.key LIMIT 500) n"
    )
    assert [tuple(row) for row in found] == [(f"a/{key}", None, None) for key in sorted(KEYS)]


def test_a_store_whose_log_has_a_row_for_each_key_is_brought_up_to_date(
    server: PostgresqlServer, schema: str, open_store: Callable[..., tenure.Store], backend: Backend
) -> None:
    begun = fill(backend)
    server.sql(
        f"DROP VIEW {schema}.log; ALTER TABLE {schema}.change RENAME TO log;"
        f"DELETE FROM {schema}.item; UPDATE {schema}.store SET revision = {begun + 1}, log_revisions = 0;"
        f"INSERT INTO {schema}.log (revision, key) SELECT {begun + 1}, key FROM {schema}.log"
    )
    role = f"r_{uuid.uuid4().hex[:12]}"
    server.sql(
        f"CREATE ROLE {role} LOGIN PASSWORD '{role}'; GRANT USAGE ON SCHEMA {schema} TO {role};"
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role}"
    )
    store = open_store()
    with (
        tenure.connect(server.url(schema=schema, user=role, password=role)) as other,
        other.watch(after=begun) as watch,
    ):
        store.put("a/1", b"")
        store.put("a/2", b"")
        last = store.delete_prefix("a/").revision
        told = []
        while watch.revision < last:
            batch = watch.next(20.0)
            assert batch is not None
            told.append(sorted(event.key for event in batch.events if event.item is None))
        assert [keys for keys in told if keys] == [sorted(f"a/{key}" for key in KEYS), ["a/1", "a/2"]]
    with server.connect(user=role, password=role) as connection:
        assert connection.execute(f"SELECT count(*) FROM {schema}.log WHERE created IS NULL").fetchone() == (
            len(KEYS) + 2,
        )
    server.sql(f"DROP OWNED BY {role}; DROP ROLE {role}")
