"""What a feed begins with, when others write while the list is read; revisions while nobody writes."""

from collections.abc import Callable

import pytest

from leasehold.spi import Delete, Put, Snapshot, Transaction
from leasehold_probe.recorder import Recorder
from leasehold_zookeeper import reads
from leasehold_zookeeper.backend import ZooKeeperBackend
from leasehold_zookeeper.revisions import Revisions


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
    feed = backend.watch(prefix, after=None, sink=sink, timeout=5.0)
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
