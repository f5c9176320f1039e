"""Watches: what a lost notification costs, a log that was trimmed, a history that was replaced, leases that end."""

from __future__ import annotations

import contextlib
import queue
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import tenure_postgresql.schema
from postgresql_server import PostgresqlServer
from tenure_postgresql.log_reader import LogReader

import tenure
from tenure.errors import Compacted, Conflict, HistoryReplaced, TenureError
from tenure.spi import Backend, Changes, Deleted, FeedItem, Put, RevisionEquals, Snapshot, Transaction, WatchRequest
from tenure_testkit.waiting import until

HOLD = """
import sys, time, tenure
store = tenure.connect(sys.argv[1])
store.put("held", b"", lease=store.lease(1.5))
print("ready", flush=True)
time.sleep(60)
"""


def put(backend: Backend, key: str, value: bytes = b"") -> int:
    return backend.commit(Transaction((), (Put(key, value),)), timeout=5.0).revision


def commit_many(server: PostgresqlServer, schema: str, times: int, *, history: int) -> None:
    """So many revisions in one transaction of PostgreSQL: a watcher sees none of them before all are there."""
    server.sql(
        f"SELECT {schema}.commit_v1(5000, {history}, gen_random_uuid(), '{{}}', '{{}}', '{{}}', "
        f"ARRAY['many'], ARRAY[n::text::bytea], ARRAY[NULL::text], '{{}}') FROM generate_series(1, {times}) AS n"
    )


def test_a_lost_notification_only_costs_time(
    server: PostgresqlServer, schema: str, open_backend: Callable[..., Backend], recorder: Any
) -> None:
    backend, sink = open_backend("&poll=1.5"), recorder()
    feed = backend.watch(WatchRequest(prefix=""), sink=sink, timeout=5.0)
    silent = server.sql(f"SELECT pg_get_functiondef('{schema}.leave_v1'::regproc)")[0][0]
    server.sql(silent.replace("PERFORM pg_notify(", "PERFORM concat("))
    revision = put(backend, "key")
    told = time.monotonic()
    until(lambda: any(isinstance(item, Changes) and item.revision == revision for item in sink.items), 4, "it is told")
    assert time.monotonic() - told < 1.5 + 0.5
    feed.close()


@pytest.mark.parametrize("tables", [("item",), ("lease",), ("change",), ("store", "item", "lease", "change")])
def test_tables_that_an_operator_empties_are_told(
    server: PostgresqlServer, schema: str, open_store: Callable[..., tenure.Store], tables: tuple[str, ...]
) -> None:
    """By ``TRUNCATE``: watches end with what is there, by one RESYNC batch, and leases are known to be lost."""
    store, other = open_store("&poll=0.1"), open_store("&poll=0.1")
    lease = store.lease(0.6)
    store.transaction().put("held", b"", lease=lease).put("plain", b"").commit()
    believed: set[str] = set()
    resyncs: list[str] = []

    def take(batch: tenure.Batch) -> None:
        if batch.type is tenure.BatchType.RESYNC:
            resyncs.append(batch.reason)
        for event in batch.events:
            (believed.discard if event.item is None else believed.add)(event.key)

    other.watch("", callback=take)
    until(lambda: believed == {"held", "plain"}, 5, "the watch has the state")
    server.sql(f"TRUNCATE {', '.join(f'{schema}.{table}' for table in tables)}")
    lost = "lease" in tables
    until(lambda: lease.alive is not lost, 5, "the holder knows")
    expected = {"held", "plain"} if tables == ("change",) else {"plain"} if tables == ("lease",) else set()
    until(lambda: believed == expected, 5, "the watch ends with what is there")
    assert {item.key for item in other.list("")} == expected
    store.put("new", b"")
    until(lambda: believed == {*expected, "new"}, 5, "the watch goes on")
    assert len(resyncs) == 1


def test_a_feed_that_joins_while_the_log_is_read_misses_nothing(
    open_backend: Callable[..., Backend], recorder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend, first, second = open_backend(), recorder(), recorder()
    backend.watch(WatchRequest(prefix=""), sink=first, timeout=5.0)
    revisions = [put(backend, "a"), put(backend, "b")]
    until(lambda: [item.revision for item in first.items if isinstance(item, Changes)] == revisions, 30, "both told")
    read, joined = LogReader._read, []

    def joining(reader: LogReader, connection: Any, after: int) -> Any:
        page = read(reader, connection, after)
        if page.transactions and not joined:
            joined.append(backend.watch(WatchRequest(prefix="", after=revisions[0]), sink=second, timeout=30.0))
        return page

    monkeypatch.setattr(LogReader, "_read", joining)
    revisions.append(put(backend, "c"))
    until(lambda: [i.revision for i in second.items if isinstance(i, Changes)] == revisions[1:], 30, "the joined one")


def test_notifications_make_it_quick(open_backend: Callable[..., Backend], recorder: Any) -> None:
    backend, sink = open_backend("&poll=60"), recorder()
    feed = backend.watch(WatchRequest(prefix=""), sink=sink, timeout=5.0)
    until(lambda: sink.items, what="the feed began")
    for number in range(5):
        revision = put(backend, f"{number}")
        until(lambda wanted=revision: sink.items[-1].revision == wanted, 5.0, "it is told long before the next look")
    assert [type(item) for item in sink.items] == [Snapshot, *[Changes] * 5]
    feed.close()


def test_a_notification_beside_an_answer_counts(open_backend: Callable[..., Backend]) -> None:
    # Who writes as soon as it is told notifies while the reader asks for more: in the midst of that answer.
    backend, told = open_backend("&poll=60"), queue.SimpleQueue[int]()

    class Sink:
        def deliver(self, item: FeedItem, /) -> None:
            if isinstance(item, Changes):
                told.put(item.revision)

        def fail(self, error: TenureError, /) -> None: ...

    feed = backend.watch(WatchRequest(prefix=""), sink=Sink(), timeout=5.0)
    for number in range(1000):
        revision = put(backend, "key")
        assert told.get(timeout=10.0) == revision, number
    feed.close()


def test_a_watcher_that_the_log_has_left_behind_is_told(
    server: PostgresqlServer, schema: str, open_backend: Callable[..., Backend], recorder: Any
) -> None:
    backend, sink = open_backend("&history=100"), recorder()
    old = put(backend, "key")
    feed = backend.watch(WatchRequest(prefix=""), sink=sink, timeout=5.0)
    until(lambda: sink.items, what="the feed began")
    commit_many(server, schema, 250, history=100)
    until(lambda: sink.errors, 5.0, "the feed fails")
    assert isinstance(sink.errors[0], Compacted)
    assert sink.errors[0].oldest_revision > old
    with pytest.raises(Compacted, match="no longer in the log"):
        backend.watch(WatchRequest(prefix="", after=old), sink=recorder(), timeout=5.0)
    feed.close()


def test_a_store_above_such_a_watcher_resyncs(
    server: PostgresqlServer, schema: str, open_store: Callable[..., tenure.Store]
) -> None:
    store = open_store("&history=100")
    store.put("gone", b"1")
    with store.watch("") as watch:
        watch.next(5), watch.next(5)
        server.sql(f"DELETE FROM {schema}.item")  # by itself this would be what nobody is told of
        commit_many(server, schema, 250, history=100)
        batch = watch.next(10)
        assert batch.type is tenure.BatchType.RESYNC
        assert {(event.type.value, event.key) for event in batch.events} == {
            ("delete", "gone"),
            ("create", "many"),
        }


def test_the_log_is_bounded_by_revisions(
    server: PostgresqlServer, schema: str, backend: Backend, recorder: Any
) -> None:
    commit_many(server, schema, 1000, history=200)
    values = [bytes(row[0]) for row in server.sql(f"SELECT value FROM {schema}.log ORDER BY revision")]
    assert 200 <= len(values) <= 220
    assert values == [str(number).encode() for number in range(1001 - len(values), 1001)]
    start, counted = server.sql(f"SELECT log_start, log_revisions FROM {schema}.store")[0]
    assert counted == len(values)
    backend.watch(WatchRequest(prefix="", after=start), sink=recorder(), timeout=5.0).close()
    with pytest.raises(Compacted, match="no longer in the log"):
        backend.watch(WatchRequest(prefix="", after=start - 1), sink=recorder(), timeout=5.0)


def test_the_log_is_bounded_by_bytes(
    server: PostgresqlServer, schema: str, open_backend: Callable[..., Backend], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tenure_postgresql.schema, "LOG_BYTES", 1_000_000)
    backend = open_backend()
    for _ in range(12):
        put(backend, "key", b"x" * 300_000)
    counted, noted = server.sql(
        f"SELECT sum(octet_length(l.value)), max(s.log_bytes) FROM {schema}.log l, {schema}.store s"
    )[0]
    assert 300_000 <= counted == noted <= 1_000_000


def test_the_log_that_a_store_is_made_with_is_bounded_by_256_mib(
    server: PostgresqlServer, schema: str, backend: Backend
) -> None:
    """The bound is in the functions of the server, where no client changes it."""
    put(backend, "key")
    rows = server.sql(f"SELECT prosrc FROM pg_proc WHERE pronamespace = '{schema}'::regnamespace")
    assert any(f"v_bytes > {256 << 20} " in source for (source,) in rows)


def test_revisions_follow_the_clock_and_only_grow(server: PostgresqlServer, schema: str, backend: Backend) -> None:
    before = time.time()
    first = put(backend, "key")
    assert before - 5 < first / 1e6 < time.time() + 5
    assert put(backend, "key") > first
    ahead = 2**52 - 2  # a clock that was far ahead: revisions grow by one until it is reached
    server.sql(f"UPDATE {schema}.store SET revision = {ahead}")
    assert [put(backend, "key") for _ in range(4)] == [2**52 - 1, 2**52, 2**52 + 1, 2**52 + 2]


def test_a_clock_beyond_all_revisions_is_ignored(server: PostgresqlServer, schema: str, backend: Backend) -> None:
    define = server.sql(f"SELECT pg_get_functiondef('{schema}.next_v1'::regproc)")[0][0]
    server.sql(define.replace("clock_timestamp()", "'2113-01-01'::timestamptz"))
    assert [put(backend, "key") for _ in range(2)] == [1, 2]


@contextlib.contextmanager
def restored(server: PostgresqlServer, schema: str) -> Iterator[None]:
    """What is committed inside is lost afterwards, as by a restored backup; nothing else is, and no connection."""
    tables = ("store", "item", "change", "lease")
    with server.connect() as connection:
        for table in tables:
            connection.execute(f"CREATE TEMPORARY TABLE backup_{table} AS TABLE {schema}.{table}")
        yield
        with connection.transaction():
            for table in tables:
                connection.execute(f"DELETE FROM {schema}.{table}")
                connection.execute(f"INSERT INTO {schema}.{table} TABLE backup_{table}")


def test_revisions_of_a_lost_history_are_refused(
    server: PostgresqlServer, schema: str, open_backend: Callable[..., Backend], recorder: Any
) -> None:
    backend = open_backend()
    kept = put(backend, "key")
    with restored(server, schema):
        lost = [put(backend, "key", b"lost") for _ in range(3)]
    for revision in lost:
        with pytest.raises(HistoryReplaced, match="isn't in the log"):
            backend.watch(WatchRequest(prefix="", after=revision), sink=recorder(), timeout=5.0)
    assert min(put(backend, "key", b"new") for _ in range(5)) > max(lost)
    for revision in lost:
        with pytest.raises(HistoryReplaced, match="isn't in the log"):
            backend.watch(WatchRequest(prefix="", after=revision), sink=recorder(), timeout=5.0)
        with pytest.raises(Conflict):
            backend.commit(Transaction((RevisionEquals("key", revision),), (Put("key", b""),)), timeout=5.0)
    sink = recorder()
    feed = backend.watch(WatchRequest(prefix="", after=kept), sink=sink, timeout=5.0)
    until(lambda: len([item for item in sink.items if isinstance(item, Changes)]) == 5, what="the rest is delivered")
    feed.close()


def test_running_feeds_notice_a_lost_history_each(
    server: PostgresqlServer, schema: str, backend: Backend, recorder: Any
) -> None:
    """Also those whose own prefix was quiet, and no connection has to break."""
    put(backend, "a/key")
    sinks = {prefix: recorder() for prefix in ("a/", "b/", "quiet/")}
    feeds = [backend.watch(WatchRequest(prefix=prefix), sink=sink, timeout=5.0) for prefix, sink in sinks.items()]
    with restored(server, schema):
        until(lambda: all(sink.items for sink in sinks.values()), what="the feeds began")
        last = [put(backend, f"{prefix}key") for prefix in "abab"][-1]
        until(lambda: sinks["b/"].items[-1].revision == last, what="the feeds have read what will be lost")
        until(lambda: sinks["quiet/"].items[-1].revision == last, what="the quiet one, too")
    put(backend, "b/key")
    until(lambda: all(sink.errors for sink in sinks.values()), 5.0, "the feeds fail")
    assert {type(sink.errors[0]) for sink in sinks.values()} == {HistoryReplaced}
    for feed in feeds:
        feed.close()


def test_watches_over_a_lost_history_end_with_the_truth(
    server: PostgresqlServer, schema: str, store: tenure.Store
) -> None:
    """Two watches of one prefix, one of a quiet prefix, and one whose consumer is away meanwhile."""
    store.put("a/kept", b"1")
    with (
        store.watch("a/") as first,
        store.watch("a/") as second,
        store.watch("c/") as quiet,
        store.watch("a/") as away,
    ):
        states: dict[tenure.Watch, dict[str, bytes]] = {first: {}, second: {}, quiet: {}, away: {}}

        def follow(watch: tenure.Watch, wanted: dict[str, bytes]) -> None:
            def caught_up() -> bool:
                batch = watch.next(0.1)
                for event in batch.events if batch else ():
                    if event.item is None:
                        states[watch].pop(event.key, None)
                    else:
                        states[watch][event.key] = event.item.value
                return states[watch] == wanted

            until(caught_up, 15.0, "the watch shows the truth")

        with restored(server, schema):
            follow(first, {"a/kept": b"1"}), follow(second, {"a/kept": b"1"})
            store.put("a/lost", b""), store.put("a/kept", b"lost")
            follow(first, {"a/kept": b"lost", "a/lost": b""})
            for _ in range(3):
                store.put("b/busy", b"")
        for number in range(8):
            store.put(f"a/{number}", b"new")
        truth = {item.key: item.value for item in store.list("a/")}
        for watch in (first, second, away):
            follow(watch, truth)
        store.put("c/key", b"")
        follow(quiet, {"c/key": b""})


def test_an_exact_watch_sees_one_key(backend: Backend, recorder: Any) -> None:
    others = ("a", "a/", "a/b", "ab", "a\x01", "A")
    for key in ("a/b", *others):
        put(backend, key)
    sink = recorder()
    feed = backend.watch(WatchRequest(prefix="a", exact=True), sink=sink, timeout=5.0)
    for key in others:
        put(backend, key, b"new")
    revision = put(backend, "a", b"last")
    until(lambda: sink.items[-1].revision == revision, what="the last change is delivered")
    keys = [entry.key for item in sink.items if isinstance(item, Changes) for entry in item.entries]
    assert [item.key for item in sink.items[0].items] == ["a"]
    assert keys == ["a", "a"]
    feed.close()


def test_a_transaction_of_a_thousand_keys_is_one_item(backend: Backend, recorder: Any) -> None:
    start = put(backend, "first")
    many = Transaction((), tuple(Put(f"{number:04}", b"x" * 1000) for number in range(1000)))
    revisions = [backend.commit(many, timeout=10.0).revision for _ in range(3)]
    sink = recorder()
    feed = backend.watch(WatchRequest(prefix="", after=start), sink=sink, timeout=5.0)
    until(lambda: len([item for item in sink.items if isinstance(item, Changes)]) == 3, what="all three are told")
    changes = [item for item in sink.items if isinstance(item, Changes)]
    assert [(item.revision, len(item.entries)) for item in changes] == [(revision, 1000) for revision in revisions]
    feed.close()


def test_leases_of_a_killed_process_end_before_a_watcher(url: str, backend: Backend, recorder: Any) -> None:
    process = subprocess.Popen([sys.executable, "-c", HOLD, url], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    sink = recorder()
    feed = backend.watch(WatchRequest(prefix=""), sink=sink, timeout=5.0)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    killed = time.monotonic()

    def deleted() -> list[Deleted]:
        changes = (item for item in sink.items if isinstance(item, Changes))
        return [entry for item in changes for entry in item.entries if isinstance(entry, Deleted)]

    until(deleted, 1.5 + backend.capabilities.expiry_slack + 2.0, "the key goes with the lease")
    assert time.monotonic() - killed < 1.5 + backend.capabilities.expiry_slack
    assert [entry.key for entry in deleted()] == ["held"]
    feed.close()


def test_a_lease_ends_though_nobody_reads(server: PostgresqlServer, schema: str, backend: Backend) -> None:
    lease = backend.grant(0.5, timeout=5.0).lease_id
    backend.commit(Transaction((), (Put("key", b"", lease),)), timeout=5.0)
    assert server.sql(f"SELECT count(*) FROM {schema}.item")[0][0] == 1
    until(lambda: server.sql(f"SELECT count(*) FROM {schema}.item")[0][0] == 0, 0.5 + 2.0, "its key is gone")


def test_a_lease_that_is_being_refreshed_is_not_ended(server: PostgresqlServer, schema: str, backend: Backend) -> None:
    lease = backend.grant(0.5, timeout=5.0).lease_id
    backend.commit(Transaction((), (Put("key", b"", lease),)), timeout=5.0)
    with server.connect() as refreshing, refreshing.transaction():
        refreshing.execute(f"UPDATE {schema}.lease SET deadline = deadline + interval '1 minute'")
        until(
            lambda: server.sql(f"SELECT deadline < clock_timestamp() FROM {schema}.lease")[0][0],
            what="the lease is overdue for everybody else",
        )
        put(backend, "other")  # ends what is overdue, and doesn't wait for this one
        assert backend.get("key", timeout=5.0).item is not None
    assert backend.get("key", timeout=5.0).item is not None
    assert backend.refresh([lease], timeout=5.0) == {lease: 0.5}


def test_thousands_of_leases_that_end_together_end_in_one_call(
    server: PostgresqlServer, schema: str, backend: Backend, recorder: Any
) -> None:
    """Each at a revision of its own, the earliest first. One by one they would take longer than a call may."""
    sink, count = recorder(), 2_000
    start = put(backend, "first")
    feed = backend.watch(WatchRequest(prefix="", after=start), sink=sink, timeout=5.0)
    server.sql(
        f"INSERT INTO {schema}.item SELECT k || '/' || n, '', {start}, {start}, n::text "
        f"FROM generate_series(1, {count}) n, unnest(ARRAY['a', 'b']) k"
    )
    server.sql(
        f"INSERT INTO {schema}.lease SELECT n::text, 1000, now() - interval '1 minute' + n * interval '1 ms' "
        f"FROM generate_series(1, {count}) n"
    )
    last = backend.commit(Transaction((), (Put("other", b""),)), timeout=60.0).revision
    sink.wait(lambda r: r.items and r.items[-1].revision >= last, 60.0)
    ended = [entry for entry in sink.entries if isinstance(entry, Deleted)]
    assert len(ended) == 2 * count
    assert [entry.key for entry in ended[:4]] == ["a/1", "b/1", "a/2", "b/2"]
    assert len({entry.revision for entry in ended}) == count
    assert server.sql(f"SELECT count(*) FROM {schema}.lease")[0][0] == 0
    feed.close()
