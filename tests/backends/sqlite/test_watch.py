"""Watches: snapshots, the log, other backends' commits, ended leases, the one thread, replaced files."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing

import pytest

import tenure
from tenure.errors import Compacted, Conflict, HistoryReplaced, StoreClosed, StoreCorrupted, Unavailable
from tenure.spi import (
    Bookmark,
    Changes,
    Delete,
    Deleted,
    KeyAbsent,
    KeyValue,
    ListRequest,
    Put,
    Snapshot,
    Transaction,
    WatchRequest,
)
from tenure_testkit.waiting import until

T = 10.0


def put(store, key, value=b"", lease_id=None):
    return store.commit(Transaction((), (Put(key, value, lease_id),)), timeout=T).revision


def changes(items):
    return [item for item in items if isinstance(item, Changes)]


def watchers():
    return [thread for thread in threading.enumerate() if thread.name == "tenure-sqlite"]


def waiting_for_signs():
    return [thread for thread in threading.enumerate() if thread.name == "tenure-sqlite-signs"]


@pytest.mark.parametrize("own", [True, False])
def test_a_snapshot_and_then_whole_transactions(open_store, sink, own):
    store = open_store()
    writer = store if own else open_store()
    first = put(store, "x/a", b"1")
    second = put(store, "y")
    store.watch(WatchRequest(prefix="x/"), sink=sink, timeout=T)
    assert sink.items[0] == Snapshot((KeyValue("x/a", b"1", first, first),), second)
    operations = (Delete("x/a"), Put("x/b", b"2"), Put("y", b"3"), Put("x/c", b""))
    revision = writer.commit(Transaction((), operations), timeout=T).revision
    (seen,) = changes(sink.items_when(changes))
    entries = (Deleted("x/a", revision), KeyValue("x/b", b"2", revision, revision))
    assert seen == Changes((*entries, KeyValue("x/c", b"", revision, revision)), revision)


def test_resuming(open_store, sink, another_sink):
    store = open_store()
    revisions = [put(store, "a", b"%d" % number) for number in range(5)]
    store.watch(WatchRequest(prefix="", after=revisions[1]), sink=sink, timeout=T)
    seen = sink.items_when(lambda items: items and items[-1].revision == revisions[-1])
    assert [item.revision for item in seen] == revisions[2:]
    store.watch(WatchRequest(prefix="", after=revisions[-1]), sink=another_sink, timeout=T)
    assert another_sink.items_when(bool) == [Bookmark(revisions[-1])]
    another_sink.items.clear()
    for never in (revisions[-1] + 1, revisions[0] + 1, 10**30):
        with pytest.raises(HistoryReplaced):
            store.watch(WatchRequest(prefix="", after=never), sink=another_sink, timeout=T)
    with pytest.raises(Compacted):
        store.watch(WatchRequest(prefix="", after=0), sink=another_sink, timeout=T)
    assert another_sink.items == []


def test_the_history_is_bounded_by_revisions(open_store, sink):
    store = open_store(history=8)
    revisions = [put(store, "a") for _ in range(40)]
    with pytest.raises(Compacted) as caught:
        store.watch(WatchRequest(prefix="", after=revisions[0]), sink=sink, timeout=T)
    assert not isinstance(caught.value, HistoryReplaced)
    oldest = caught.value.oldest_revision
    kept = revisions[revisions.index(oldest) + 1 :]
    assert 8 <= len(kept) <= 10
    store.watch(WatchRequest(prefix="", after=oldest), sink=sink, timeout=T)
    assert [item.revision for item in changes(sink.items_when(lambda items: len(changes(items)) == len(kept)))] == kept


def test_the_history_is_bounded_by_bytes(open_store, path, monkeypatch):
    monkeypatch.setattr("tenure_sqlite.change_log.MAX_BYTES", 100_000)
    store = open_store()
    for number in range(200):
        put(store, f"{number % 7}", bytes(5_000))
    store.close()
    with sqlite3.connect(path) as connection:
        size, counted = connection.execute(
            "SELECT (SELECT total(length(key) + length(value)) FROM log), log_bytes FROM store"
        ).fetchone()
    connection.close()
    assert size == counted
    assert size < 100_000 + 64 * 5_001


def test_a_shorter_history_than_before_is_reached(open_store, path):
    store = open_store()
    for _ in range(600):
        put(store, "a")
    store.close()
    store = open_store(history=10)
    revisions = [put(store, "a") for _ in range(10)]
    oldest = int(store.server_info(timeout=T).details["oldest revision to resume from"])
    assert sum(revision > oldest for revision in revisions) == 10
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT count(*) FROM log").fetchone()[0] <= 14


def test_a_quiet_watch_is_kept_up_to_date_by_bookmarks(open_store, sink):
    store = open_store(history=500)
    store.watch(WatchRequest(prefix="quiet/"), sink=sink, timeout=T)
    # fewer than the history: a thread that gets no turn meanwhile loses nothing
    revisions = [put(store, "busy") for _ in range(400)]
    sink.items_when(lambda items: items[-1].revision > revisions[-100])
    assert not changes(sink.items)


def test_a_lagging_feed_hears_of_trimmed_changes(open_store, path, sink):
    store = open_store()
    start = put(store, "a")
    other = sqlite3.connect(path, isolation_level=None)
    store.watch(WatchRequest(prefix="", after=start), sink=sink, timeout=T)
    sink.items_when(len)
    other.execute("UPDATE store SET log_start = revision + 1, revision = revision + 1")
    other.close()
    assert type(sink.error()) is Compacted


def test_ended_leases_are_told_without_any_call(open_store, sink, clock):
    store, other = open_store(clock=clock), open_store(clock=clock)
    leases = [store.grant(10.0, timeout=T).lease_id for _ in range(2)]
    for number, lease in enumerate(leases):
        put(store, f"{number}a", b"", lease)
        put(store, f"{number}b", b"", lease)
    store.close()
    other.watch(WatchRequest(prefix=""), sink=sink, timeout=T)
    clock.jump(10.0)
    seen = changes(sink.items_when(lambda items: len(changes(items)) == 2))
    assert sorted([entry.key for entry in item.entries] for item in seen) == [["0a", "0b"], ["1a", "1b"]]


def test_ended_leases_in_real_time(open_store, sink):
    store = open_store()
    put(store, "a", b"", store.grant(0.1, timeout=T).lease_id)
    store.watch(WatchRequest(prefix=""), sink=sink, timeout=T)
    sink.items_when(changes)


def test_a_process_that_granted_a_lease_ends_it_without_a_watch(open_store, path, clock):
    store = open_store(clock=clock)
    put(store, "a", b"", store.grant(10.0, timeout=T).lease_id)
    (reaper,) = watchers()
    clock.jump(10.0)
    reaper.join(T)  # nothing more to do
    assert not reaper.is_alive()
    other = sqlite3.connect(path)
    assert other.execute("SELECT count(*) FROM item").fetchone() == (0,)
    other.close()


def test_one_thread_for_all_feeds_and_none_without(open_store, sink):
    store = open_store()
    assert not watchers()
    feeds = [store.watch(WatchRequest(prefix=""), sink=sink, timeout=T) for _ in range(5)]
    (thread,) = watchers()
    for feed in feeds:
        feed.close()
        feed.close()
    thread.join(T)
    assert not thread.is_alive()
    assert not waiting_for_signs()
    put(store, "a")
    assert not changes(sink.items)
    store.watch(WatchRequest(prefix=""), sink=sink, timeout=T)
    put(store, "b")
    sink.items_when(changes)


def test_a_feed_may_be_closed_by_its_sink(open_store):
    store = open_store()
    done = threading.Event()

    class Closing:
        feed = None

        def deliver(self, item, /):
            if isinstance(item, Changes):
                self.feed.close()
                done.set()

        def fail(self, error, /):
            raise AssertionError(error)

    sink = Closing()
    sink.feed = store.watch(WatchRequest(prefix=""), sink=sink, timeout=T)
    put(store, "a")
    assert done.wait(T)


def test_closing_ends_feeds_without_a_word(open_store, sink):
    store = open_store()
    store.watch(WatchRequest(prefix=""), sink=sink, timeout=T)
    store.close()
    store.close()
    assert sink.errors == []
    for call in (
        lambda: store.get("a", timeout=T),
        lambda: put(store, "a"),
        lambda: store.watch(WatchRequest(prefix=""), sink=sink, timeout=T),
        lambda: store.list(ListRequest(prefix=""), timeout=T),
    ):
        with pytest.raises(StoreClosed):
            call()


# -- another file at the path --------------------------------------------------------------------------


def test_a_replaced_file_is_another_history(open_store, path, tmp_path, sink):
    store = open_store()
    revision = put(store, "a")
    store.watch(WatchRequest(prefix=""), sink=sink, timeout=T)
    other = open_store(tmp_path / "other.db")
    for _ in range(5):
        put(other, "b")
    other.close()
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink()
    os.replace(tmp_path / "other.db", path)
    assert isinstance(sink.error(), Compacted)
    with pytest.raises(Compacted):
        store.watch(WatchRequest(prefix="", after=revision), sink=sink, timeout=T)
    assert store.get("a", timeout=T).item is None
    assert store.get("b", timeout=T).item is not None
    put(store, "c")


def test_a_replaced_file_is_not_mixed_with_the_log_of_the_one_before(open_store, path, tmp_path, sink):
    store = open_store()
    put(store, "a")
    store.watch(WatchRequest(prefix=""), sink=sink, timeout=T)
    other = open_store(tmp_path / "other.db")
    put(other, "b")
    other.close()
    os.replace(tmp_path / "other.db", path)
    assert isinstance(sink.error(), StoreCorrupted)
    with pytest.raises(StoreCorrupted, match="-wal"):
        put(store, "c")
    path.with_name(path.name + "-wal").unlink()
    path.with_name(path.name + "-shm").unlink()
    put(store, "c")
    assert [item.key for item in store.list(ListRequest(prefix=""), timeout=T).items] == ["b", "c"]


OTHER = """
import sys, tenure
with tenure.connect(sys.argv[1]) as store:
    store.put("other", store.get("a").value)
    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("other", ["none", "came and went", "has it open"])
@pytest.mark.parametrize("removed", [("-wal", "-shm"), ("-wal",), ("-shm",)], ids="".join)
def test_files_beside_it_that_were_removed_lose_and_part_nothing(open_store, path, sink, removed, other):
    """SQLite itself goes on in the removed files, and whoever opens the store then begins new ones."""
    open_store().close()  # the file by itself is a store
    store = open_store()
    put(store, "a")
    store.watch(WatchRequest(prefix=""), sink=sink, timeout=T)
    for suffix in removed:
        path.with_name(path.name + suffix).unlink()
    if other == "none":
        assert put(store, "b")
        store.close()
        store = open_store()
        assert [item.key for item in store.list(ListRequest(prefix=""), timeout=T).items] == ["a", "b"]
        return
    until(lambda: all(path.with_name(path.name + suffix).exists() for suffix in removed), what="it was noticed")
    process = subprocess.Popen(
        [sys.executable, "-c", OTHER, f"sqlite://{path}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        if other == "came and went":
            process.communicate()
        assert sorted(item.key for item in store.list(ListRequest(prefix=""), timeout=T).items) == ["a", "other"]
        with pytest.raises(Conflict):
            store.commit(Transaction((KeyAbsent("other"),), (Put("other", b""),)), timeout=T)
        sink.wait(lambda seen: "other" in seen.state())
        if process.stdin and not process.stdin.closed:
            process.stdin.close()
    with closing(sqlite3.connect(path)) as check:
        assert check.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_removed_file_is_an_empty_store(open_store, path, sink):
    store = open_store()
    revision = put(store, "a")
    store.watch(WatchRequest(prefix=""), sink=sink, timeout=T)
    for name in path.parent.iterdir():
        name.unlink()
    assert isinstance(sink.error(), Compacted)
    assert put(store, "b") > revision
    assert store.get("a", timeout=T).item is None
    with pytest.raises(Compacted):
        store.watch(WatchRequest(prefix="", after=revision), sink=sink, timeout=T)


def test_a_removed_folder_is_unavailable_until_it_is_back(open_store, tmp_path, sink):
    folder = tmp_path / "folder"
    folder.mkdir()
    store = open_store(folder / "store.db")
    revision = put(store, "a")
    store.watch(WatchRequest(prefix=""), sink=sink, timeout=T)
    shutil.rmtree(folder)
    assert isinstance(sink.error(), Unavailable)
    for _ in range(2):
        with pytest.raises(Unavailable, match="folder"):
            put(store, "a")
    folder.mkdir()
    assert put(store, "b") > revision


def copy(source, target):
    """As SQLite's own backup does, under the lock of whatever has the files open."""
    with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(target)) as other:
        one.backup(other)


def test_a_backup_restored_in_place_fails_the_watch(open_store, path, tmp_path, sink, another_sink):
    store = open_store()
    kept = put(store, "a")
    copy(path, tmp_path / "backup.db")
    store.watch(WatchRequest(prefix="", after=kept), sink=another_sink, timeout=T)
    revision = put(store, "b")
    store.watch(WatchRequest(prefix=""), sink=sink, timeout=T)
    another_sink.items_when(changes)
    copy(tmp_path / "backup.db", path)
    assert isinstance(sink.error(), HistoryReplaced)
    assert isinstance(another_sink.error(), HistoryReplaced)
    with pytest.raises(HistoryReplaced):
        store.watch(WatchRequest(prefix="", after=revision), sink=sink, timeout=T)
    assert store.get("b", timeout=T).item is None
    assert put(store, "b") > revision


@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize("away", [True, False])
def test_restored_backups_are_told_to_every_watch_and_their_revisions_end(path, tmp_path, in_place, away):
    """What a watch believes is what the store has, whoever wrote what before and after the restore, and how often.

    Other prefixes are busy while ``quiet/`` changes rarely; ``away``: its consumer takes nothing meanwhile.
    """
    with tenure.connect(f"sqlite://{path}") as store, tenure.connect(f"sqlite://{path}") as writer:
        for number in range(4):
            writer.put(f"quiet/{number}", b"first")
        watches = {prefix: store.watch(prefix) for prefix in ("", "quiet/", "busy/", "absent/")}
        watches["quiet/0"] = store.watch("quiet/0", exact=True)
        believed = {prefix: {} for prefix in watches}
        follow(watches, believed, store)
        seen = writer.put("quiet/only in the old history", b"").revision
        for round_ in range(3):
            copy(path, tmp_path / "backup.db")
            lost = [writer.put(f"busy/{number}", b"lost %d" % round_).revision for number in range(5)]
            stale = writer.put("quiet/0", b"lost %d" % round_).revision
            if not away:
                follow(watches, believed, store)
            restore(tmp_path / "backup.db", path, in_place=in_place)
            fresh = [writer.put(f"busy/{number}", b"new %d" % round_).revision for number in range(2, 9)]
            writer.put("quiet/0", b"new %d" % round_)
            assert min(fresh) > max(lost)
            with pytest.raises(Conflict):
                writer.put_if_unchanged("quiet/0", b"never", revision=stale)
            with pytest.raises(HistoryReplaced):
                store.watch("", after=lost[1])
            follow(watches, believed, store)
        writer.put("quiet/0", b"the last")
        follow(watches, believed, store)
        assert seen < stale


def restore(backup, path, *, in_place):
    if in_place:
        copy(backup, path)
        return
    # The log goes last. If it went first, a store that looks at the old file in between would make it again. It would
    # then stand beside a file that isn't its own, and every store refuses that.
    os.replace(backup, path)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink()


def follow(watches, believed, store):
    """Take batches until each watch believes what the store has."""
    for prefix, watch in watches.items():
        state = believed[prefix]
        truth = {item.key: item.value for item in store.list(prefix)}
        while (batch := watch.next(0.0 if state == truth else T)) is not None:
            for event in batch.events:
                if event.item is None:
                    del state[event.key]
                else:
                    state[event.key] = event.item.value
        assert state == truth
