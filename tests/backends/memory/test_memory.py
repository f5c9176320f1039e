"""What the shared suite doesn't ask of every store: pinned pages, history, sharing by name, controls."""

from __future__ import annotations

import threading
from uuid import uuid4

import pytest

import tenure_memory
from tenure._runtime.clock import ManualClock, SystemClock
from tenure.errors import (
    Compacted,
    ConfigError,
    InvalidArgument,
    LeaseNotFound,
    OutcomeUnknown,
    StoreClosed,
    Unavailable,
)
from tenure.spi import (
    Backend,
    Bookmark,
    Changes,
    CommitResult,
    Delete,
    Deleted,
    KeyAbsent,
    KeyValue,
    ListRequest,
    Operation,
    Put,
    Snapshot,
    Transaction,
    WatchRequest,
)
from tenure_memory.plugin import tenure_backend
from tenure_testkit.probes import forked

T = 5.0


def put(store: Backend, key: str, value: bytes = b"", lease_id: str | None = None) -> int:
    return store.commit(Transaction((), (Put(key, value, lease_id),)), timeout=T).revision


def keys(store: Backend, prefix: str = "", **arguments: object) -> list[str]:
    request = ListRequest(prefix=prefix, **arguments)  # type: ignore[arg-type]  # by name
    return [item.key for item in store.list(request, timeout=T).items]


def fresh() -> str:
    return f"test-{uuid4().hex}"


# -- the data model ------------------------------------------------------------------------------------


def test_put_get_delete_and_their_revisions(open_store):
    store = open_store()
    first, second = put(store, "a", b"1"), put(store, "a", b"2")
    assert store.get("a", timeout=T) == (KeyValue("a", b"2", first, second), second)
    assert store.commit(Transaction((), (Delete("a"), Delete("b"))), timeout=T) == CommitResult(second + 1, 1)
    assert store.get("a", timeout=T) == (None, second + 1)
    assert store.commit(Transaction((), (Delete("a"),)), timeout=T) == CommitResult(second + 1, 0)
    assert put(store, "a") == store.get("a", timeout=T).item.create_revision


def test_lists_in_byte_order_with_pages(open_store):
    store = open_store()
    names = ["a", "a/b", "a0", "b", "\uffff", "\U0001f600", "\U0010ffff", "\U0010ffffx"]
    for name in reversed(names):
        put(store, name)
    assert keys(store) == sorted(names, key=str.encode)
    assert keys(store, "a") == ["a", "a/b", "a0"]
    assert keys(store, "\U0010ffff") == ["\U0010ffff", "\U0010ffffx"]
    page = store.list(ListRequest(prefix="a", after="a", limit=1), timeout=T)
    assert ([item.key for item in page.items], page.has_more) == (["a/b"], True)
    assert not store.list(ListRequest(prefix="a", after="a/b", limit=1), timeout=T).has_more


def test_a_page_stays_at_its_revision(open_store):
    store = open_store()
    for key in "abcd":
        revision = put(store, key, b"old")
    put(store, "c", b"new")
    put(store, "bb")
    store.commit(Transaction((), (Delete("d"), Delete("a"))), timeout=T)
    page = store.list(ListRequest(prefix="", after="a", limit=2, revision=revision), timeout=T)
    assert [(item.key, item.value) for item in page.items] == [("b", b"old"), ("c", b"old")]
    assert (page.has_more, page.revision) == (True, revision)
    assert keys(store, revision=revision) == ["a", "b", "c", "d"]


def test_history_is_bounded(open_store):
    store = open_store(history=3)
    revisions = [put(store, "a", b"%d" % number) for number in range(5)]
    assert keys(store, revision=revisions[1]) == ["a"]
    with pytest.raises(Compacted) as caught:
        keys(store, revision=revisions[0])
    assert caught.value.oldest_revision == revisions[1]
    with pytest.raises(Compacted):
        keys(store, revision=revisions[-1] + 1)


def test_history_is_bounded_by_bytes_too(open_store, monkeypatch):
    monkeypatch.setattr("tenure_memory.history.MAX_BYTES", 1000)
    store = open_store()
    revisions = [put(store, "a", bytes(300)) for _ in range(5)]
    assert keys(store, revision=revisions[1]) == ["a"]
    with pytest.raises(Compacted):
        keys(store, revision=revisions[0])
    last = put(store, "a", bytes(3000))
    assert keys(store, revision=last - 1) == ["a"]


# -- leases --------------------------------------------------------------------------------------------


def test_a_lease_ends_by_the_clock_and_takes_its_keys(open_store, clock, sink):
    store = open_store()
    grant = store.grant(10.0, timeout=T)
    put(store, "a", b"", grant.lease_id)
    put(store, "b", b"", grant.lease_id)
    put(store, "b")  # detached: stays
    store.watch(WatchRequest(prefix=""), sink=sink, timeout=T)
    clock.jump(9.9)
    assert keys(store) == ["a", "b"]
    assert store.refresh([grant.lease_id], timeout=T) == {grant.lease_id: 10.0}
    clock.jump(9.9)
    assert keys(store) == ["a", "b"]
    clock.jump(0.1)
    revision = store.get("a", timeout=T).revision
    assert keys(store) == ["b"]
    assert sink.items[-1] == Changes((Deleted("a", revision),), revision)
    assert store.refresh([grant.lease_id], timeout=T) == {}
    with pytest.raises(LeaseNotFound):
        put(store, "c", b"", grant.lease_id)


def test_the_reaper_tells_watchers_without_any_call(open_store, clock, sink):
    store = open_store()
    lease = store.grant(10.0, timeout=T).lease_id
    put(store, "a", b"", lease)
    store.watch(WatchRequest(prefix=""), sink=sink, timeout=T)
    clock.jump(10.0)
    sink.items_when(lambda items: any(isinstance(item, Changes) for item in items))


def test_the_reaper_keeps_real_time(open_store, sink):
    store = open_store(clock=SystemClock())
    lease = store.grant(0.05, timeout=T).lease_id
    put(store, "a", b"", lease)
    store.watch(WatchRequest(prefix=""), sink=sink, timeout=T)
    sink.items_when(lambda items: any(isinstance(item, Changes) for item in items))


def test_the_reapers_thread_lives_only_while_there_is_something_to_reap(open_store):
    name = fresh()
    store, other = open_store(name), open_store(name)

    def reapers() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name.endswith(name)]

    assert not reapers()
    lease = store.grant(10.0, timeout=T).lease_id
    (reaper,) = reapers()
    store.close()
    assert reapers()  # the other opener's
    other.close()
    assert not reapers()
    third = open_store(name)
    (reaper,) = reapers()
    third.revoke([lease], timeout=T)
    reaper.join(T)
    assert not reaper.is_alive()


def test_each_lease_ends_in_a_transaction_of_its_own(open_store, sink):
    store = open_store()
    leases = [store.grant(10.0, timeout=T).lease_id for _ in range(2)]
    for number, lease in enumerate(leases):
        put(store, f"{number}a", b"", lease)
        put(store, f"{number}b", b"", lease)
    store.watch(WatchRequest(prefix=""), sink=sink, timeout=T)
    assert store.revoke([*leases, leases[0], "unknown"], timeout=T) == frozenset(leases)
    changes = [item for item in sink.items if isinstance(item, Changes)]
    assert [[entry.key for entry in item.entries] for item in changes] == [["0a", "0b"], ["1a", "1b"]]


def test_lease_listing(open_store, clock):
    store = open_store()
    lease = store.grant(10.0, timeout=T).lease_id
    put(store, "b", b"", lease)
    put(store, "a", b"", lease)
    clock.jump(4.0)
    (info,) = store.leases(None, timeout=T)
    assert (info.lease_id, info.ttl, info.remaining, info.keys) == (lease, 10.0, 6.0, ("a", "b"))
    assert store.leases("unknown", timeout=T) == ()


# -- watching ------------------------------------------------------------------------------------------


def test_a_watch_resumes_inside_the_history_with_whole_transactions(open_store, sink):
    store = open_store()
    put(store, "x/a")
    start = put(store, "y")
    operations: tuple[Operation, ...] = (Put("x/a", b"1"), Put("x/b", b"2"), Put("y", b"3"))
    revision = store.commit(Transaction((), operations), timeout=T).revision
    feed = store.watch(WatchRequest(prefix="x/", after=start), sink=sink, timeout=T)
    (changes,) = [item for item in sink.items if isinstance(item, Changes)]
    assert ([entry.key for entry in changes.entries], changes.revision) == (["x/a", "x/b"], revision)
    feed.close()
    put(store, "x/c")
    assert sum(isinstance(item, Changes) for item in sink.items) == 1


def test_a_quiet_watch_is_kept_up_to_date_by_bookmarks(open_store, sink):
    store = open_store(history=20)
    store.watch(WatchRequest(prefix="quiet/"), sink=sink, timeout=T)
    for _ in range(50):
        present = put(store, "busy")
    last = sink.items[-1]
    assert isinstance(last, Bookmark)
    assert present - last.revision < 20
    store.watch(WatchRequest(prefix="quiet/", after=last.revision), sink=sink, timeout=T)


def test_a_resume_from_before_the_history_is_compacted(open_store, sink):
    name = fresh()
    store = open_store(name)
    start = put(store, "a")
    put(store, "a")
    tenure_memory.server(name).compact()
    with pytest.raises(Compacted):
        store.watch(WatchRequest(prefix="", after=start), sink=sink, timeout=T)
    with pytest.raises(Compacted):
        store.watch(WatchRequest(prefix="", after=start + 100), sink=sink, timeout=T)
    assert sink.items == []


# -- sharing -------------------------------------------------------------------------------------------


def test_a_name_is_shared_and_no_name_is_private(open_store):
    name = fresh()
    one, two, private = open_store(name), open_store(name), open_store()
    put(one, "a")
    assert keys(two) == ["a"]
    assert keys(private) == []
    one.close()
    assert keys(two) == ["a"]
    two.close()
    assert keys(open_store(name)) == ["a"]
    tenure_memory.forget(name)
    assert keys(open_store(name)) == []
    with pytest.raises(InvalidArgument, match="private"):
        tenure_memory.server("")


def test_the_first_opener_decides_on_clock_and_history(open_store):
    name = fresh()
    open_store(name, history=5)
    with pytest.raises(ConfigError, match="clock"):
        open_store(name, clock=ManualClock())
    with pytest.raises(ConfigError, match="history=6"):
        open_store(name, history=6)
    open_store(name, history=5)


def test_system_clocks_are_all_the_same(open_store):
    name = fresh()
    open_store(name, clock=SystemClock())
    open_store(name, clock=SystemClock())


def test_closing_is_final_and_ends_only_its_own_feeds(open_store, sink):
    name = fresh()
    one, two = open_store(name), open_store(name)
    one.watch(WatchRequest(prefix=""), sink=sink, timeout=T)
    one.close()
    one.close()
    seen = len(sink.items)
    put(two, "a")
    assert len(sink.items) == seen
    assert sink.errors == []
    with pytest.raises(StoreClosed):
        one.get("a", timeout=T)


def test_a_forked_child_has_servers_of_its_own(open_store):
    name = fresh()
    put(open_store(name), "a")

    def work():
        assert tenure_memory.server(name).page("", after=None, limit=None, revision=None).items == ()

    assert forked(work) == ""


# -- controls ------------------------------------------------------------------------------------------


def test_expire_lease(open_store, sink):
    name = fresh()
    store = open_store(name)
    lease = store.grant(10.0, timeout=T).lease_id
    put(store, "a", b"", lease)
    tenure_memory.server(name).expire_lease(lease)
    assert keys(store) == []
    assert store.refresh([lease], timeout=T) == {}
    with pytest.raises(LeaseNotFound):
        tenure_memory.server(name).expire_lease(lease)


def test_cut_watches(open_store, sink):
    name = fresh()
    store = open_store(name)
    revision = put(store, "a")
    store.watch(WatchRequest(prefix=""), sink=sink, timeout=T)
    tenure_memory.server(name).cut_watches()
    assert isinstance(sink.errors[0], Unavailable)
    store.watch(WatchRequest(prefix="", after=revision), sink=sink, timeout=T)


def test_an_outage_keeps_the_data_but_not_the_leases_time(open_store, clock, sink):
    name = fresh()
    store = open_store(name)
    lease = store.grant(10.0, timeout=T).lease_id
    put(store, "a", b"", lease)
    put(store, "b")
    store.watch(WatchRequest(prefix=""), sink=sink, timeout=T)
    with tenure_memory.server(name).outage():
        assert isinstance(sink.errors[0], Unavailable)
        for call in (
            lambda: store.get("a", timeout=T),
            lambda: put(store, "a"),
            lambda: store.refresh([lease], timeout=T),
            lambda: store.watch(WatchRequest(prefix=""), sink=sink, timeout=T),
            lambda: open_store(name),
        ):
            with pytest.raises(Unavailable, match="paused"):
                call()
        clock.jump(11.0)
    assert keys(store) == ["b"]


@pytest.mark.parametrize("applied", [True, False])
def test_an_unknown_outcome(open_store, applied):
    name = fresh()
    store = open_store(name)
    tenure_memory.server(name).make_next_write_unknown(applied=applied)
    with pytest.raises(OutcomeUnknown):
        put(store, "a")
    assert keys(store) == (["a"] if applied else [])
    put(store, "b")
    tenure_memory.server(name).make_next_write_unknown(applied=applied)
    with pytest.raises(OutcomeUnknown):
        store.commit(Transaction((KeyAbsent("b"),), ()), timeout=T)


def test_lost_data(open_store, sink):
    name = fresh()
    store = open_store(name)
    lease = store.grant(10.0, timeout=T).lease_id
    revision = put(store, "a", b"", lease)
    store.watch(WatchRequest(prefix=""), sink=sink, timeout=T)
    tenure_memory.server(name).lose_data()
    assert isinstance(sink.errors[0], Unavailable)
    assert keys(store) == []
    assert store.refresh([lease], timeout=T) == {}
    with pytest.raises(Compacted):
        store.watch(WatchRequest(prefix="", after=revision), sink=sink, timeout=T)
    store.watch(WatchRequest(prefix=""), sink=sink, timeout=T)
    assert sink.items[-1] == Snapshot((), revision + 1)


def test_the_plugin_describes_itself(open_store):
    plugin = tenure_backend()
    assert plugin.scheme == "memory"
    assert {option.name for option in plugin.options} == {"history"}
    info = open_store().server_info(timeout=T)
    assert info.clock is None
    assert info.details["clock"] == "manual"
    assert info.warnings
