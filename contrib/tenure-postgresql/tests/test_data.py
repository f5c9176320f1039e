"""Keys, values, limits and a full disk, where this store has ways of its own to get them wrong."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
import tenure_postgresql.transactions
from postgresql_server import Disk, PostgresqlServer

import tenure
from tenure.errors import LimitExceeded, OutcomeUnknown, StoreClosed, StoreFull, Unavailable
from tenure.spi import Backend, ListRequest, PrefixDeletion, Put, Transaction, WatchRequest
from tenure_testkit.waiting import until

LAST = chr(0x10FFFF)
CLASSES = ["", "a", "\x01", "\x7f", "\x80", "\u07ff", "\u0800", "\ud7ff", "\ue000", "\uffff", "\U00010000", LAST]


def listed(backend: Backend, prefix: str, after: str | None = None, limit: int | None = None) -> list[str]:
    page = backend.list(ListRequest(prefix=prefix, after=after, limit=limit), timeout=10.0)
    return [item.key for item in page.items]


def test_prefixes_are_plain_strings_at_every_border_of_utf_8(backend: Backend) -> None:
    keys = sorted({first + second for first in CLASSES for second in CLASSES} - {""}, key=str.encode)
    backend.commit(Transaction((), tuple(Put(key, b"") for key in keys)), timeout=10.0)
    assert listed(backend, "") == keys
    for prefix in keys:
        assert listed(backend, prefix) == [key for key in keys if key.startswith(prefix)], repr(prefix)
    for after in keys[::7]:
        assert listed(backend, "", after) == [key for key in keys if key.encode() > after.encode()]
        assert listed(backend, "a", after) == [
            key for key in keys if key.startswith("a") and key.encode() > after.encode()
        ]


def test_the_greatest_and_longest_keys_are_listed(backend: Backend) -> None:
    keys = [LAST, LAST * 350, "%", "_", "a%", "\\", "'", '"', "{}", "$1"]
    backend.commit(Transaction((), tuple(Put(key, b"") for key in keys)), timeout=10.0)
    assert listed(backend, "") == sorted(keys)
    assert listed(backend, LAST) == [LAST, LAST * 350]
    assert listed(backend, "%") == ["%"]
    assert listed(backend, "_") == ["_"]


def test_a_thousand_keys_are_listed_at_one_revision_in_pages(store: tenure.Store) -> None:
    for start in range(0, 1000, 500):
        transaction = store.transaction()
        for number in range(start, start + 500):
            transaction.put(f"{number:04}", b"x" * 100)
        last = transaction.commit().revision
    started = time.monotonic()
    listing = store.list("")
    assert time.monotonic() - started < 2.0
    assert listing.keys == tuple(f"{number:04}" for number in range(1000))
    assert listing.revision == last
    assert [item.key for item in store.scan("", page_size=64)] == list(listing.keys)


def test_keys_alone_are_the_same_list_without_values(backend: Backend) -> None:
    keys = sorted({first + second for first in CLASSES for second in CLASSES} - {""}, key=str.encode)
    backend.commit(Transaction((), tuple(Put(key, key.encode()) for key in keys)), timeout=10.0)
    whole = backend.list(ListRequest(prefix="a"), timeout=10.0)
    alone = backend.list(ListRequest(prefix="a", keys_only=True), timeout=10.0)
    assert alone.items == tuple(item._replace(value=b"") for item in whole.items)
    assert any(item.value for item in whole.items)


def test_many_keys_are_read_in_the_order_asked_for(backend: Backend) -> None:
    keys = [key for key in CLASSES if key]
    revision = backend.commit(Transaction((), tuple(Put(key, key.encode()) for key in keys)), timeout=10.0).revision
    asked = ["missing", *reversed(keys), "a/missing"]
    found = backend.get_many(asked, timeout=10.0)
    assert [item and item.value for item in found.items] == [None, *(key.encode() for key in reversed(keys)), None]
    assert found.revision == revision
    assert backend.get_many(["nothing"], timeout=10.0).items == (None,)


@pytest.mark.parametrize("prefix", ["a", "a/", LAST, "\ud7ff", ""])
def test_a_prefix_is_deleted_and_its_neighbours_stay(backend: Backend, recorder: Any, prefix: str) -> None:
    keys = {first + second for first in CLASSES for second in CLASSES} | {"a/", "a0", "a//b", "A"}
    backend.commit(Transaction((), tuple(Put(key, b"") for key in keys - {""})), timeout=10.0)
    sink = recorder()
    feed = backend.watch(WatchRequest(prefix=""), sink=sink, timeout=5.0)
    until(lambda: sink.items, what="the feed began")
    gone = {key for key in keys - {""} if key.startswith(prefix)}
    done = backend.delete_prefix(prefix, timeout=10.0)
    assert (done.deleted, done.has_more) == (len(gone), False)
    assert set(listed(backend, "")) == keys - {""} - gone
    until(lambda: sink.items[-1].revision == done.revision, what="the deletes are delivered")
    assert {entry.key for entry in sink.items[-1].entries} == gone
    feed.close()
    assert backend.delete_prefix("nothing", timeout=10.0) == PrefixDeletion(deleted=0, revision=done.revision)


def test_a_large_prefix_is_deleted_in_bounded_transactions(
    store: tenure.Store, server: PostgresqlServer, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tenure_postgresql.transactions, "_MOST_DELETED", 400)
    for start in range(0, 1000, 500):
        transaction = store.transaction()
        for number in range(start, start + 500):
            transaction.put(f"many/{number:04}", b"")
        transaction.commit()
    store.put("many0", b"")
    assert store.delete_prefix("many/").deleted == 1000
    assert store.list().keys == ("many0",)
    sizes = server.sql(f"SELECT count(*) FROM {schema}.log WHERE created IS NULL GROUP BY revision ORDER BY revision")
    assert [row[0] for row in sizes] == [400, 400, 200]


def test_values_are_bytes(store: tenure.Store) -> None:
    for value in (b"", b"\x00", b"\\x00", bytes(range(256)) * 100, b"'; DROP TABLE item; --"):
        store.put("key", value)
        assert store.get("key").value == value


def test_what_is_too_large_is_refused_before_it_is_sent(
    server: PostgresqlServer, store: tenure.Store, schema: str
) -> None:
    largest = store.capabilities.max_value_bytes
    store.put("key", b"x" * largest)
    server.pause()  # nothing can be sent now
    with pytest.raises(LimitExceeded):
        store.put("key", b"x" * (largest + 1))
    server.resume()
    assert len(store.get("key", timeout=20.0).value) == largest


def test_the_largest_transaction_is_told_to_watchers(store: tenure.Store) -> None:
    capabilities = store.capabilities
    size = capabilities.max_value_bytes - 100
    with store.watch("") as watch:
        watch.next(5), watch.next(5)
        transaction = store.transaction()
        for number in range(capabilities.max_transaction_bytes // capabilities.max_value_bytes):
            transaction.put(f"{number}", b"x" * size)
        revision = transaction.commit(timeout=30.0).revision
        batch = watch.next(30.0)
        assert batch.revision == revision
        assert [len(event.item.value) for event in batch.events] == [size] * 4


def test_native_is_a_connection_of_psycopg(open_store: Callable[..., tenure.Store], schema: str) -> None:
    store = open_store()
    revision = store.put("key", b"").revision
    native = store.native
    assert isinstance(native, psycopg.Connection)
    assert native is store.native
    assert native.execute("SHOW search_path").fetchone() != ("",)
    assert native.execute(f"SELECT revision FROM {schema}.store").fetchone() == (revision,)
    store.close()
    assert native.closed
    with pytest.raises(StoreClosed):
        store.get("key")


@pytest.fixture
def full(need_engine: None) -> Iterator[PostgresqlServer]:
    """A server with a database on a small disk."""
    place = "/var/lib/postgresql/small"
    with PostgresqlServer(tmpfs={place: "size=40m,mode=0777"}) as server:
        server.exec("chown", "postgres", place, user="root")
        server.exec("chmod", "0700", place, user="root")
        server.sql(f"CREATE TABLESPACE small LOCATION '{place}'")
        server.sql("CREATE DATABASE small TABLESPACE small")
        yield server


def test_a_full_disk_refuses_writes_and_serves_reads(full: PostgresqlServer) -> None:
    with tenure.connect(full.url(database="small"), timeout=10.0) as store:
        store.put("key", b"first")

        def fill() -> None:
            for number in range(100):
                store.put(f"fill/{number:03}", bytes(1_000_000))

        with pytest.raises(StoreFull, match="disk is full"):
            fill()
        before = store.get("key")
        with pytest.raises(StoreFull):
            store.put("key", bytes(4_000_000))
        assert store.get("key") == before
        assert before.value == b"first"


def test_a_server_without_room_for_its_log_ends_and_comes_back_with_everything(need_engine: None) -> None:
    with (
        Disk() as disk,
        PostgresqlServer("max_wal_size=128MB", disk=disk) as server,
        tenure.connect(server.url(), timeout=2.0) as store,
    ):
        kept = store.put("key", b"first").revision
        server.fill_disk()

        def use_up_the_log() -> None:
            for _ in range(100):  # messages of a megabyte, to the log alone
                server.sql("SELECT pg_logical_emit_message(false, 'test', repeat('x', 1000000))")

        with pytest.raises(psycopg.OperationalError):
            use_up_the_log()
        with pytest.raises(Unavailable):
            store.get("key")
        with pytest.raises((Unavailable, OutcomeUnknown)):
            store.put("key", b"second")
        server.free_disk()
        item = store.get("key", timeout=20.0)
        assert item is not None
        assert (item.value, item.mod_revision) == (b"first", kept)
        assert store.put("key", b"third").revision > kept
