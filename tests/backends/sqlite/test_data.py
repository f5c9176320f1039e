"""Keys, transactions, lists and leases in the file."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tenure._runtime.clock import ManualClock, SystemClock
from tenure.errors import ConfigError, Conflict, HistoryReplaced, LeaseNotFound, StoreCorrupted, Unsupported
from tenure.spi import (
    Changes,
    CommitResult,
    Delete,
    Deleted,
    KeyAbsent,
    KeyExists,
    KeyValue,
    ListRequest,
    Put,
    Transaction,
    WatchRequest,
)
from tenure_sqlite import database, lease_clock, server_info
from tenure_sqlite.keys import end_of
from tenure_testkit.probes import Recorder

T = 10.0
NAMES = ["a", "a/", "a/b", "a//b", "a0", "%", "*", "/", ".", "..", "b", "ä", "\ud7ff", "\ue000", "\uffff", "\U0001f600"]
LAST = ["\U0010ffff", "\U0010ffffx", "x\U0010ffff", "x\U0010ffff\U0010ffffy"]


def put(store, key, value=b"", lease_id=None):
    return store.commit(Transaction((), (Put(key, value, lease_id),)), timeout=T).revision


def keys(store, prefix="", *, after=None, limit=None):
    return [item.key for item in store.list(ListRequest(prefix=prefix, after=after, limit=limit), timeout=T).items]


def test_put_get_delete_and_their_revisions(open_store):
    store = open_store()
    began = store.get("a", timeout=T).revision
    first, second = put(store, "a", b"1"), put(store, "a", b"")
    assert store.get("a", timeout=T) == (KeyValue("a", b"", first, second), second)
    done = store.commit(Transaction((), (Delete("a"), Delete("b"))), timeout=T)
    assert done.deleted == 1
    assert began < first < second < done.revision
    assert store.commit(Transaction((), (Delete("a"),)), timeout=T) == CommitResult(done.revision, 0)
    assert store.get("a", timeout=T) == (None, done.revision)


def test_puts_and_deletes_of_a_transaction_are_told_in_its_order(open_store, sink):
    store = open_store()
    created = put(store, "b")
    put(store, "c")
    store.watch(WatchRequest(prefix=""), sink=sink, timeout=T)
    put_again = Put("b", b"new")
    revision = store.commit(Transaction((), (Put("d", b""), Delete("c"), Delete("e"), put_again)), timeout=T).revision
    sink.wait(lambda seen: len(seen.entries) == 3)
    assert sink.entries == [
        KeyValue("d", b"", revision, revision),
        Deleted("c", revision),
        KeyValue("b", b"new", created, revision),
    ]


def test_prefixes_and_byte_order(open_store):
    store = open_store()
    names = NAMES + LAST
    for name in reversed(names):
        put(store, name)
    assert keys(store) == sorted(names, key=str.encode)
    for prefix in [*names, "\U0010ffff\U0010ffff"]:
        assert keys(store, prefix) == sorted((n for n in names if n.startswith(prefix)), key=str.encode)


def test_the_end_of_a_prefix():
    assert end_of("a/") == "a0"
    assert end_of("") is None
    assert end_of("\U0010ffff") is None
    assert end_of("a\U0010ffff\U0010ffff") == "b"
    assert end_of("\ud7ff") == "\ue000"


def test_pages(open_store):
    store = open_store()
    for name in NAMES:
        put(store, name)
    found, after = [], None
    while True:
        page = store.list(ListRequest(prefix="a", after=after, limit=2), timeout=T)
        found += [item.key for item in page.items]
        if not page.has_more:
            break
        after = found[-1]
    assert found == ["a", "a/", "a//b", "a/b", "a0"]
    assert keys(store, "a", after="A") == found
    assert keys(store, "a", after="b") == []
    with pytest.raises(Unsupported):
        store.list(ListRequest(prefix="a", limit=2, revision=1), timeout=T)


def test_everything_is_there_after_reopening(open_store):
    store = open_store()
    lease = store.grant(50.0, timeout=T).lease_id
    revision = put(store, "a", b"\x00\xff", lease)
    store.close()
    store = open_store()
    assert store.get("a", timeout=T) == (KeyValue("a", b"\x00\xff", revision, revision, lease), revision)
    assert store.refresh([lease], timeout=T) == {lease: 50.0}


def test_the_last_one_to_close_leaves_one_file(open_store, path):
    stores = [open_store(), open_store()]
    for store in stores:
        put(store, "a")
        store.close()
    assert [name.name for name in path.parent.iterdir()] == [path.name]


def test_keys_without_values(open_store):
    store = open_store()
    put(store, "a", b"value")
    page = store.list(ListRequest(prefix="", keys_only=True), timeout=T)
    assert page.items == (store.get("a", timeout=T).item._replace(value=b""),)


def test_many_keys_at_one_revision(open_store):
    store = open_store()
    names = [f"{number}" for number in range(1200)]
    revision = store.commit(Transaction((), tuple(Put(name, name.encode()) for name in names)), timeout=T).revision
    read = store.get_many([*reversed(names), "missing"], timeout=T)
    assert read.revision == revision
    assert [item and item.value for item in read.items] == [*(name.encode() for name in reversed(names)), None]


def test_a_prefix_is_deleted_in_bounded_transactions(open_store, monkeypatch, path, sink):
    monkeypatch.setattr("tenure_sqlite.transactions.MOST_DELETED", 7)
    store = open_store()
    lease = store.grant(60.0, timeout=T).lease_id
    names = [f"x/{number:02}" for number in range(16)]
    for name in [*names, "x", "x0", "y"]:
        put(store, name, b"value", lease)
    store.watch(WatchRequest(prefix=""), sink=sink, timeout=T)
    done = [store.delete_prefix("x/", timeout=T) for _ in range(4)]
    assert [(one.deleted, one.has_more) for one in done] == [(7, True), (7, True), (2, False), (0, False)]
    assert done[-1].revision == done[-2].revision == store.get("x", timeout=T).revision
    assert keys(store) == ["x", "x0", "y"]
    assert store.leases(lease, timeout=T)[0].keys == ("x", "x0", "y")
    items = sink.items_when(lambda items: items[-1].revision == done[-1].revision and len(items) > 3)
    told = [item for item in items if isinstance(item, Changes)]
    assert [item.revision for item in told] == [one.revision for one in done[:3]]
    assert [entry.key for item in told for entry in item.entries] == names
    store.close()
    with sqlite3.connect(path) as other:
        counted, size = other.execute(
            "SELECT log_bytes, (SELECT sum(length(key) + ifnull(length(value), 0)) FROM log) FROM store"
        ).fetchone()
    other.close()
    assert counted == size
    assert open_store().delete_prefix("", timeout=T).deleted == 3


# -- leases --------------------------------------------------------------------------------------------


def test_a_lease_ends_by_the_clock_and_takes_its_keys(open_store, clock):
    store = open_store(clock=clock)
    grant = store.grant(10.0, timeout=T)
    put(store, "a", b"", grant.lease_id)
    put(store, "b", b"", grant.lease_id)
    revision = put(store, "b")  # detached: stays
    clock.jump(9.9)
    assert store.refresh([grant.lease_id, "unknown", "-1"], timeout=T) == {grant.lease_id: 10.0}
    clock.jump(9.9)
    assert store.get("a", timeout=T).item.lease_id == grant.lease_id
    clock.jump(0.2)
    gone = store.get("a", timeout=T)
    assert gone.item is None
    assert gone.revision > revision
    assert keys(store) == ["b"]
    assert store.refresh([grant.lease_id], timeout=T) == {}
    for dead in (grant.lease_id, "unknown", "0"):
        with pytest.raises(LeaseNotFound):
            put(store, "c", b"", dead)


def removed_by_another_program(path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)


def test_leases_that_another_program_removes_have_ended(open_store, path):
    """Nobody gets their keys, anybody may put them, and the holder's next refresh removes the rest."""
    store = open_store()
    grant = store.grant(10.0, timeout=T)
    for key in ("a", "b", "c"):
        put(store, key, b"", grant.lease_id)
    told = Recorder()
    store.watch(WatchRequest(prefix=""), sink=told, timeout=T)
    removed_by_another_program(path, "DELETE FROM lease")
    assert store.get("a", timeout=T).item is None
    assert keys(store) == []
    assert store.commit(Transaction((KeyAbsent("a"),), (Put("a", b"new"),)), timeout=T).revision
    assert keys(store) == ["a"]
    put(store, "b")
    assert store.refresh([grant.lease_id], timeout=T) == {}
    told.wait(lambda told: {entry.key for entry in told.entries if isinstance(entry, Deleted)} == {"a", "b", "c"})
    assert keys(store) == ["a", "b"]


def test_keys_that_another_program_removes_are_told_to_new_watches_alone(open_store, path):
    store = open_store()
    put(store, "gone")
    before = Recorder()
    store.watch(WatchRequest(prefix=""), sink=before, timeout=T)
    removed_by_another_program(path, "DELETE FROM item")
    assert store.get("gone", timeout=T).item is None
    assert keys(store) == []
    put(store, "new")
    before.wait(lambda told: [entry.key for entry in told.entries] == ["new"])
    after = Recorder()
    store.watch(WatchRequest(prefix=""), sink=after, timeout=T)
    assert [item.key for item in after.items[0].items] == ["new"]


def test_a_description_that_another_program_removes_is_missed(open_store, path):
    store, told = open_store(), Recorder()
    put(store, "a")
    store.watch(WatchRequest(prefix=""), sink=told, timeout=T)
    removed_by_another_program(path, "DELETE FROM store")
    for call in (
        lambda: store.get("a", timeout=T),
        lambda: keys(store),
        lambda: put(store, "a"),
        lambda: store.leases(None, timeout=T),
        lambda: store.server_info(timeout=T),
        lambda: store.watch(WatchRequest(prefix="", after=1), sink=Recorder(), timeout=T),
        open_store,
    ):
        with pytest.raises(StoreCorrupted, match="its description of itself is missing"):
            call()
    assert isinstance(told.error(), StoreCorrupted)


def test_a_list_never_shows_an_ended_leases_keys(open_store, clock):
    store = open_store(clock=clock)
    put(store, "a", b"", store.grant(10.0, timeout=T).lease_id)
    clock.jump(10.0)
    assert keys(store) == []


def test_reads_do_without_an_ended_leases_keys_while_nothing_can_be_written(open_store, clock, path):
    store = open_store(clock=clock)
    put(store, "a")
    put(store, "b", b"", store.grant(10.0, timeout=T).lease_id)
    put(store, "c", b"", store.grant(99.0, timeout=T).lease_id)
    lock = sqlite3.connect(path, isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    clock.jump(10.0)
    present = store.get("c", timeout=0.2).revision
    assert store.get("b", timeout=0.2) == (None, present)
    page = store.list(ListRequest(prefix="", limit=2), timeout=0.2)
    assert ([item.key for item in page.items], page.has_more) == (["a", "c"], False)
    assert [item and item.key for item in store.get_many(["b", "a"], timeout=0.2).items] == [None, "a"]
    lock.close()
    gone = store.get("b", timeout=T)
    assert gone.item is None
    assert gone.revision > present


def test_a_refused_transaction_still_ends_leases(open_store, clock):
    store = open_store(clock=clock)
    revision = put(store, "a", b"", store.grant(10.0, timeout=T).lease_id)
    clock.jump(10.0)
    with pytest.raises(Conflict) as caught:
        store.commit(Transaction((KeyExists("a"),), ()), timeout=T)
    assert revision < caught.value.revision == store.get("x", timeout=T).revision


def test_revoking_and_listing_leases(open_store, clock, sink):
    store = open_store(clock=clock)
    leases = [store.grant(10.0, timeout=T).lease_id for _ in range(3)]
    put(store, "b", b"", leases[0])
    put(store, "a", b"", leases[0])
    last = put(store, "c", b"", leases[1])
    clock.jump(4.0)
    (info,) = store.leases(leases[0], timeout=T)
    assert (info.ttl, info.remaining, info.keys) == (10.0, 6.0, ("a", "b"))
    assert {lease.lease_id for lease in store.leases(None, timeout=T)} == set(leases)
    assert store.leases("unknown", timeout=T) == ()
    store.watch(WatchRequest(prefix="", after=last), sink=sink, timeout=T)
    assert store.revoke([leases[0], leases[0], leases[1], "unknown"], timeout=T) == frozenset(leases[:2])
    present = store.get("a", timeout=T)
    assert present.item is None
    seen = sink.items_when(lambda items: items and items[-1].revision >= present.revision)
    ended = [[entry.key for entry in item.entries] for item in seen if isinstance(item, Changes)]
    assert sorted(ended) == [["a", "b"], ["c"]]  # one revision for each that had keys
    assert [lease.lease_id for lease in store.leases(None, timeout=T)] == leases[2:]


def test_many_leases_are_refreshed_in_one_call(open_store):
    store = open_store()
    leases = [store.grant(60.0, timeout=T).lease_id for _ in range(1200)]
    assert set(store.refresh(leases, timeout=T)) == set(leases)


def test_another_time_base_gives_each_lease_its_full_ttl_again(open_store, clock):
    store = open_store(clock=clock)
    lease = store.grant(10.0, timeout=T).lease_id
    clock.jump(8.0)
    store.close()
    store = open_store(clock=clock)
    assert store.leases(lease, timeout=T)[0].remaining == 2.0
    store.close()
    later = ManualClock(start=5.0)  # as after a reboot
    assert open_store(clock=later).leases(lease, timeout=T)[0].remaining == 10.0


def test_a_log_that_a_reader_keeps_from_ending_is_told(open_store, path, monkeypatch):
    monkeypatch.setattr(server_info, "_LONG_LOG", 1 << 20)
    store = open_store()
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM store").fetchall()
        for number in range(30):
            put(store, f"k{number % 3}", b"x" * 100_000)
        assert any("write-ahead log" in warning for warning in store.server_info(timeout=T).warnings)
        reader.execute("COMMIT")
    with closing(sqlite3.connect(path, isolation_level=None)) as operator:
        operator.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert not any("write-ahead log" in warning for warning in store.server_info(timeout=T).warnings)


def test_readers_that_never_pause_keep_no_log_from_ending(open_store, path, monkeypatch):
    monkeypatch.setattr(database, "_LOG_LENGTH", 1 << 20)
    monkeypatch.setattr(database, "_BETWEEN_LOOKS", 0.0)
    store, ended = open_store(), threading.Event()
    for number in range(20):
        put(store, f"k{number}", b"x" * 10_000)

    def read():
        while not ended.is_set():
            store.list(ListRequest(prefix=""), timeout=T)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        for number in range(120):
            put(store, f"k{number % 20}", b"y" * 50_000)
    finally:
        ended.set()
        for reader in readers:
            reader.join()
    # 6 MB were written, with the log of changes twice that.
    assert (path.parent / f"{path.name}-wal").stat().st_size < 6 << 20


# -- other time bases while the file is in use ---------------------------------------------------------------


def test_a_program_with_another_clock_is_refused_while_the_file_is_in_use(open_store, clock):
    store = open_store()
    lease = store.grant(10.0, timeout=T).lease_id
    with pytest.raises(ConfigError, match=r"another program has it open .* \(by boot, this one by given\)"):
        open_store(clock=clock, timeout=0.3)
    assert 0.0 < store.leases(lease, timeout=T)[0].remaining < 10.0
    assert store.refresh([lease], timeout=T) == {lease: 10.0}
    store.close()
    assert open_store(clock=clock).leases(lease, timeout=T)[0].remaining == 10.0


def test_a_sandbox_that_hides_the_boots_name_counts_with_the_others(open_store, monkeypatch):
    """Both read the time since boot, and a file that is in use is in use within one boot."""
    outside = open_store()
    lease = outside.grant(100.0, timeout=T).lease_id
    before = outside.leases(lease, timeout=T)[0].remaining
    monkeypatch.setattr(lease_clock, "_BOOT_ID", Path("/nonexistent"))
    inside = open_store()
    second = inside.grant(100.0, timeout=T).lease_id
    assert inside.leases(lease, timeout=T)[0].remaining < before
    assert outside.leases(second, timeout=T)[0].remaining <= 100.0
    monkeypatch.undo()
    inside.close()
    outside.close()


class Ahead(SystemClock):
    by = 0.0

    def now(self):
        return super().now() + self.by


def test_a_boot_without_a_name_is_another_one_once_nobody_has_the_file_open(open_store, monkeypatch):
    monkeypatch.setattr(lease_clock, "_BOOT_ID", Path("/nonexistent"))
    clock = Ahead()
    store = open_store(clock=clock)
    lease = store.grant(600.0, timeout=T).lease_id
    clock.by = 300.0
    assert store.leases(lease, timeout=T)[0].remaining <= 300.0
    store.close()
    assert open_store(clock=clock).leases(lease, timeout=T)[0].remaining > 500.0


def test_a_time_namespace_counts_as_the_machine_does(open_store, monkeypatch, tmp_path):
    """A container whose time since boot is shifted by an hour, as ``unshare --time --boottime 3600`` does."""
    outside = open_store()
    lease = outside.grant(100.0, timeout=T).lease_id
    offsets = tmp_path / "timens_offsets"
    offsets.write_text("monotonic           0         0\nboottime         3600         0\n")
    monkeypatch.setattr(lease_clock, "_OFFSETS", offsets)
    monkeypatch.setattr(lease_clock, "_NAMESPACE", offsets)
    monkeypatch.setattr(lease_clock, "_CHILDREN", offsets)
    monkeypatch.setattr(SystemClock, "now", lambda clock: time.clock_gettime(time.CLOCK_BOOTTIME) + 3600)
    inside = open_store()
    assert 0.0 < inside.leases(lease, timeout=T)[0].remaining <= 100.0
    monkeypatch.undo()
    assert 0.0 < outside.leases(lease, timeout=T)[0].remaining <= 100.0
    inside.close()


def backed_up_in_another_boot(path, tmp_path) -> Callable[[], None]:
    """A backup of the present state whose leases' deadlines count from another boot; what is returned restores it."""
    backup = tmp_path / "backup.db"
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(backup)) as copy:
        source.backup(copy)
        copy.execute("UPDATE store SET time_base = 'boot:before'")
        copy.execute("UPDATE lease SET deadline = 5")
        copy.commit()

    def restore() -> None:
        with closing(sqlite3.connect(backup)) as source, closing(sqlite3.connect(path)) as running:
            source.backup(running)

    return restore


@pytest.mark.parametrize("first", ["leases", "get", "list", "put"])
def test_a_restored_state_of_another_boot_is_taken_over_by_the_first_call(open_store, path, tmp_path, first):
    store = open_store()
    lease = store.grant(10.0, timeout=T).lease_id
    put(store, "a", b"1", lease)
    backed_up_in_another_boot(path, tmp_path)()
    {
        "leases": lambda: store.leases(lease, timeout=T),
        "get": lambda: store.get("a", timeout=T),
        "list": lambda: store.list(ListRequest(prefix=""), timeout=T),
        "put": lambda: put(store, "b"),
    }[first]()
    assert store.leases(lease, timeout=T)[0].remaining > 5.0
    assert store.get("a", timeout=T).item.lease_id == lease


@pytest.mark.parametrize("notices", [0, 1])
@pytest.mark.parametrize("named_first", [True, False])
def test_programs_with_two_names_for_their_boot_agree_on_one_after_a_restore(
    open_store, path, tmp_path, monkeypatch, *, named_first, notices
):
    """A change of the time base gives each lease its full TTL again: if each set its own again, no lease would end."""

    def open_it(*, named: bool):
        with monkeypatch.context() as patch:
            if not named:
                patch.setattr(lease_clock, "_BOOT_ID", Path("/nonexistent"))
            return open_store()

    stores = [open_it(named=named_first), open_it(named=not named_first)]
    lease = stores[0].grant(10.0, timeout=T).lease_id
    for store in stores:
        put(store, "a")  # each keeps a connection
    backed_up_in_another_boot(path, tmp_path)()
    deadlines = []
    for number in range(6):
        put(stores[(notices + number) % 2], "a", b"%d" % number)
        with closing(sqlite3.connect(path)) as reader:
            deadlines.append(reader.execute("SELECT deadline FROM lease").fetchone()[0])
    assert len(set(deadlines[2:])) == 1, deadlines
    assert stores[1].leases(lease, timeout=T)[0].remaining > 5.0


def test_a_restored_state_of_another_boot_is_taken_over_by_the_programs_that_run(open_store, path, tmp_path, sink):
    store = open_store()
    lease = store.grant(10.0, timeout=T).lease_id
    put(store, "a", b"1", lease)
    store.watch(WatchRequest(prefix=""), sink=sink, timeout=T)
    restore = backed_up_in_another_boot(path, tmp_path)
    put(store, "b")
    sink.items_when(lambda items: any(isinstance(item, Changes) for item in items))  # else nothing of its past is gone
    restore()
    assert isinstance(sink.error(), HistoryReplaced)
    assert store.leases(lease, timeout=T)[0].remaining > 5.0
    assert store.get("a", timeout=T).item.lease_id == lease


def test_a_deleted_prefix_is_one_entry_and_keeps_older_programs_out(open_store, path, sink):
    store = open_store()
    names = [f"many/{number:03}" for number in range(300)]
    for name in names:
        put(store, name)
    with sqlite3.connect(path, isolation_level=None) as other:
        other.execute("PRAGMA user_version = 1")
    store.watch(WatchRequest(prefix="many/"), sink=sink, timeout=T)
    done = store.delete_prefix("many/", timeout=T)
    items = sink.items_when(lambda items: any(isinstance(item, Changes) for item in items))
    assert items[-1] == Changes(tuple(Deleted(name, done.revision) for name in names), done.revision)
    assert other.execute("SELECT count(*) FROM log WHERE revision = ?", (done.revision,)).fetchone() == (1,)
    assert other.execute("PRAGMA user_version").fetchone() == (2,)
    other.close()
