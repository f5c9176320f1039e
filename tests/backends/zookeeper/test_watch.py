"""What a feed begins with, when others write while the list is read; revisions while nobody writes."""

import contextlib
import socket
import threading
from collections.abc import Callable

import pytest

from tenure.errors import Unavailable
from tenure.plugin_kit import Deadline
from tenure.spi import Delete, Put, Snapshot, Transaction, WatchRequest
from tenure_testkit.probes.recorder import Recorder
from tenure_testkit.servers import until
from tenure_zookeeper import encoding, reads
from tenure_zookeeper.backend import ZooKeeperBackend
from tenure_zookeeper.revisions import Revisions
from tenure_zookeeper.watch import Watches


def test_a_snapshot_shows_what_was_written_while_the_list_was_read(
    open_zookeeper: Callable[[str], ZooKeeperBackend], zookeeper_own_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that was named and then deleted mustn't be missing at a revision at which it was still there."""
    backend, other = open_zookeeper(zookeeper_own_url), open_zookeeper(zookeeper_own_url)
    prefix = f"{zookeeper_own_url.rpartition('/')[2]}/"

    def write(*operations: Put | Delete) -> int:
        return other.commit(Transaction((), operations), timeout=5.0).revision

    write(Put(prefix + "changed", b"1"), Put(prefix + "deleted", b"1"), Put(prefix + "same", b"1"))
    name_keys = reads._key_names
    written: list[int] = []

    def interfere(*args: object, **options: object) -> object:
        named = name_keys(*args, **options)  # type: ignore[arg-type]  # passed through
        written.append(write(Put(prefix + "changed", b"2"), Put(prefix + "made", b"1")))
        written.append(write(Delete(prefix + "deleted")))
        return named

    monkeypatch.setattr(reads, "_key_names", interfere)
    sink = Recorder()
    feed = backend.watch(WatchRequest(prefix=prefix), sink=sink, timeout=5.0)
    monkeypatch.undo()
    try:
        (snapshot, *_) = sink.items
        assert isinstance(snapshot, Snapshot)
        assert [item.key.removeprefix(prefix) for item in snapshot.items] == ["changed", "made", "same"]
        assert snapshot.revision >= written[-1]
        assert snapshot.items[0].mod_revision == written[0]
        last = write(Put(prefix + "made", b"2"))
        sink.wait(lambda seen: any(entry.key == prefix + "made" for entry in seen.entries))
        assert [getattr(entry, "mod_revision", 0) for entry in sink.entries][-1] == last
    finally:
        feed.close()


def test_a_snapshot_shows_no_key_that_was_deleted_before_its_revision(
    open_zookeeper: Callable[[str], ZooKeeperBackend], zookeeper_own_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key is deleted once its batch of the list was read, while others write elsewhere all the time."""
    backend, other = open_zookeeper(zookeeper_own_url), open_zookeeper(zookeeper_own_url)
    prefix = f"{zookeeper_own_url.rpartition('/')[2]}/"
    keys = [f"{prefix}{number:03}" for number in range(reads._FIRST_BATCH + 1)]
    other.commit(Transaction((), tuple(Put(key, b"") for key in keys)), timeout=5.0)
    read_batch = reads._read_batch
    deleted: list[int] = []

    def interfere(*args: object, **options: object) -> object:
        batch = read_batch(*args, **options)  # type: ignore[arg-type]  # passed through
        if not deleted:
            deleted.append(other.commit(Transaction((), (Delete(keys[0]),)), timeout=5.0).revision)
        return batch

    def go_on(*args: object, **options: object) -> object:
        other.commit(Transaction((), (Put(f"beside {prefix}", b""),)), timeout=5.0)
        return read_keys(*args, **options)  # type: ignore[arg-type]  # passed through

    read_keys = reads.read_keys
    monkeypatch.setattr(reads, "_read_batch", interfere)
    monkeypatch.setattr(reads, "read_keys", go_on)
    sink = Recorder()
    feed = backend.watch(WatchRequest(prefix=prefix), sink=sink, timeout=5.0)
    monkeypatch.undo()
    feed.close()
    (snapshot, *_) = sink.items
    assert isinstance(snapshot, Snapshot)
    assert snapshot.revision >= deleted[0]
    assert [item.key for item in snapshot.items] == keys[1:]


def test_what_is_written_once_the_list_was_read_is_told(
    open_zookeeper: Callable[[str], ZooKeeperBackend], zookeeper_own_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server watches before the list is read, so that no change falls between the two."""
    backend, other = open_zookeeper(zookeeper_own_url), open_zookeeper(zookeeper_own_url)
    key = f"{zookeeper_own_url.rpartition('/')[2]}/key"
    read_list = Watches._list
    written: list[int] = []

    def slow_list(*args: object, **options: object) -> object:
        page = read_list(*args, **options)  # type: ignore[arg-type]  # passed through
        written.append(other.commit(Transaction((), (Put(key, b"1"),)), timeout=5.0).revision)
        return page

    monkeypatch.setattr(Watches, "_list", slow_list)
    sink = Recorder()
    feed = backend.watch(WatchRequest(prefix=key), sink=sink, timeout=5.0)
    monkeypatch.undo()
    try:
        shown = [
            item.mod_revision for snapshot in sink.items if isinstance(snapshot, Snapshot) for item in snapshot.items
        ]
        if not shown:
            sink.wait(lambda seen: seen.entries != [])
            shown = [getattr(entry, "mod_revision", 0) for entry in sink.entries]
        assert shown == written
    finally:
        feed.close()


def test_a_key_that_vanishes_while_it_is_read_again_is_not_in_the_snapshot(
    open_zookeeper: Callable[[str], ZooKeeperBackend], zookeeper_own_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read again is looked at once more, so the snapshot has a revision at which the key had gone."""
    backend, other = open_zookeeper(zookeeper_own_url), open_zookeeper(zookeeper_own_url)
    key = f"{zookeeper_own_url.rpartition('/')[2]}/key"

    def write(*operations: Put | Delete) -> int:
        return other.commit(Transaction((), operations), timeout=5.0).revision

    write(Put(key, b"1"))
    name_keys, read_keys = reads._key_names, reads.read_keys
    written: list[int] = []

    def change(*args: object, **options: object) -> object:
        named = name_keys(*args, **options)  # type: ignore[arg-type]  # passed through
        written.append(write(Put(key, b"2")))
        return named

    def delete(*args: object, **options: object) -> object:
        if len(written) == 1:
            written.append(write(Delete(key)))
        return read_keys(*args, **options)  # type: ignore[arg-type]  # passed through

    monkeypatch.setattr(reads, "_key_names", change)
    monkeypatch.setattr(reads, "read_keys", delete)
    sink = Recorder()
    feed = backend.watch(WatchRequest(prefix=key), sink=sink, timeout=5.0)
    feed.close()
    (snapshot, *_) = sink.items
    assert isinstance(snapshot, Snapshot)
    assert snapshot.items == ()
    assert snapshot.revision >= written[1]


@pytest.mark.parametrize("answered", [True, False])
def test_a_feed_that_was_told_its_end_is_told_nothing_more(
    open_zookeeper: Callable[[str], ZooKeeperBackend],
    zookeeper_own_url: str,
    monkeypatch: pytest.MonkeyPatch,
    answered: bool,
) -> None:
    """The connection breaks while the keys that an event named are being read, or just after."""
    backend, other = open_zookeeper(zookeeper_own_url), open_zookeeper(zookeeper_own_url)
    prefix = f"{zookeeper_own_url.rpartition('/')[2]}/"
    sink = Recorder()
    feed = backend.watch(WatchRequest(prefix=prefix), sink=sink, timeout=5.0)
    read_keys, read = reads.read_keys, threading.Event()

    def interfere(*args: object, **options: object) -> object:
        found = read_keys(*args, **options)  # type: ignore[arg-type]  # passed through
        backend.native._connection._socket.shutdown(socket.SHUT_RDWR)
        sink.error()
        read.set()
        if not answered:
            raise Unavailable("the connection was lost")
        return found

    monkeypatch.setattr(reads, "read_keys", interfere)
    try:
        other.commit(Transaction((), (Put(prefix + "key", b""),)), timeout=5.0)
        assert read.wait(60.0)
        monkeypatch.undo()
        # Another feed is served by the same thread, so that one is through with the first.
        second = Recorder()
        until(lambda: _watch(backend, prefix, second), 60.0, "connected again")
        other.commit(Transaction((), (Put(prefix + "other", b""),)), timeout=5.0)
        second.wait(lambda seen: any(entry.key == prefix + "other" for entry in seen.entries))
    finally:
        feed.close()
    assert (len(sink.items), len(sink.errors)) == (1, 1)


def _watch(backend: ZooKeeperBackend, prefix: str, sink: Recorder) -> bool:
    with contextlib.suppress(Unavailable):
        backend.watch(WatchRequest(prefix=prefix), sink=sink, timeout=5.0)
        return True
    return False


def test_writes_of_nothing_make_no_revision() -> None:
    revisions = Revisions()
    assert revisions.of(10) == 10
    assert [revisions.of(zxid, nothing=zxid) for zxid in (11, 12, 13)] == [10, 10, 10]
    assert revisions.of(12) == 10


def test_whatever_else_takes_a_zxid_makes_a_revision() -> None:
    revisions = Revisions()
    assert revisions.of(10) == 10
    assert revisions.of(12, nothing=12) == 12, "11 was something else"
    assert revisions.of(14, nothing=13) == 14, "14 was something else"
    assert revisions.of(11) == 11, "from before what is known"
    assert revisions.of(15, nothing=15) == 14
    assert revisions.of((2 << 32) + 1, nothing=(2 << 32) + 1) == (2 << 32) + 1, "another leader"


def test_requests_are_sent_though_the_reading_thread_waits(
    open_zookeeper: Callable[[str], ZooKeeperBackend], zookeeper_own_url: str
) -> None:
    """The reading thread waits for a lock whose owner sends more than there is room for its wake-ups."""
    backend, other = open_zookeeper(zookeeper_own_url), open_zookeeper(zookeeper_own_url)
    key = f"{zookeeper_own_url.rpartition('/')[2]}/key"
    feed = backend.watch(WatchRequest(prefix=key), sink=Recorder(), timeout=5.0)
    connection = backend._connection
    calls = []
    with backend._watches._condition:
        other.commit(Transaction((), (Put(key, b"1"),)), timeout=5.0)  # its event waits for the lock
        for _ in range(3000):
            calls += connection.send([encoding.exists("/")], action="asking")
    for call in calls:
        assert not connection.wait_for(call, deadline=Deadline(60.0), action="asking").error
    feed.close()
