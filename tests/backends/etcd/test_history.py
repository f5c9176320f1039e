"""Data that were lost, or replaced by a backup: watches are told the true difference, old revisions are refused."""

import threading
from collections.abc import Callable, Iterator
from functools import partial
from types import SimpleNamespace

import pytest

import tenure
from tenure import BatchType, Store
from tenure.errors import Conflict, HistoryReplaced, Unavailable
from tenure.spi import Bookmark, Delete, Put, RevisionEquals, Transaction, WatchRequest
from tenure_etcd.history import History
from tenure_testkit.servers import EtcdServer, until
from tenure_testkit.servers.plugin import need_container

pytestmark = pytest.mark.faults

Replace = Callable[[EtcdServer], None]


@pytest.fixture
def opened() -> Iterator[Callable[[str], Store]]:
    """Opens stores and closes them at the end."""
    stores: list[Store] = []

    def open_store(url: str) -> Store:
        stores.append(tenure.connect(url, timeout=10))
        return stores[-1]

    yield open_store
    for store in stores:
        store.close()


@pytest.fixture
def server() -> Iterator[EtcdServer]:
    """A server whose term is 2, as after a restore."""
    need_container("etcd")
    with EtcdServer() as fresh:
        yield fresh


def _wiped(server: EtcdServer) -> None:
    server.kill()
    server.wipe()
    server.start()


def _restored(server: EtcdServer) -> None:
    server.kill()
    server.restore()
    server.start()


def _write(server: EtcdServer, keys: int, name: str) -> None:
    """What other clients write, by another way."""
    gateway = server.gateway
    for number in range(keys):
        gateway.put(f"{name}/{number}".encode(), b"x")


class View:
    """What a watch's consumer believes is there, and the kinds of batches that it got."""

    def __init__(self, store: Store, prefix: str, **options: bool) -> None:
        self.watch = store.watch(prefix, **options)
        self.values: dict[str, bytes] = {}
        self.kinds: list[BatchType] = []

    def take(self, batch: tenure.Batch) -> None:
        self.kinds.append(batch.type)
        for event in batch.events:
            if event.item is None:
                self.values.pop(event.key, None)
            else:
                self.values[event.key] = event.item.value

    def follow(self, done: Callable[["View"], bool]) -> None:
        """Read batches until ``done``."""

        def read() -> bool:
            batch = self.watch.next(0.05)
            if batch is not None:
                self.take(batch)
            return done(self)

        until(read, 60.0, "the watch has delivered what it was to deliver")

    def in_sync(self) -> "View":
        self.follow(lambda view: BatchType.SYNCED in view.kinds)
        return self

    def told_of_a_resync(self) -> "View":
        self.follow(lambda view: BatchType.RESYNC in view.kinds)
        return self


def _truth(server: EtcdServer, prefix: str) -> dict[str, bytes]:
    found = ((key.decode(), value) for key, value in server.gateway.items().items())
    return {key: value for key, value in found if key.startswith(prefix)}


@pytest.mark.parametrize("replace", [_restored, _wiped])
@pytest.mark.parametrize("others", [0, 40])
def test_each_watch_of_a_store_is_told(opened, server: EtcdServer, replace: Replace, others: int) -> None:
    """Also the one whose consumer was away, when the revisions have been overtaken."""
    store = opened(server.url)
    for key in "abc":
        store.put(f"cfg/{key}", b"old")
    store.put("other/x", b"1")
    server.back_up()
    first, second = View(store, "other/").in_sync(), View(store, "cfg/").in_sync()
    same, quiet = View(store, "cfg/a", exact=True).in_sync(), View(store, "quiet/").in_sync()
    store.put("cfg/a", b"new")
    store.delete("cfg/b")
    store.put("cfg/d", b"1")
    second.follow(lambda view: view.values == {"cfg/a": b"new", "cfg/c": b"old", "cfg/d": b"1"})
    same.follow(lambda view: view.values == {"cfg/a": b"new"})
    replace(server)
    _write(server, others, "other")
    for view in (first, second, same, quiet):
        view.told_of_a_resync()
    assert first.values == _truth(server, "other/")
    assert second.values == _truth(server, "cfg/")
    assert same.values == _truth(server, "cfg/a")
    assert not quiet.values
    store.put("cfg/z", b"later")
    second.follow(lambda view: "cfg/z" in view.values)


def test_watchers_in_many_stores_are_told(opened, server: EtcdServer) -> None:
    stores = [opened(server.url) for _ in range(20)]
    views = [View(store, "cfg/").in_sync() for store in stores]
    for key in "abc":
        stores[0].put(f"cfg/{key}", b"old")
    server.back_up()
    stores[0].put("cfg/a", b"lost")
    stores[0].delete("cfg/c")
    stores[0].put("cfg/d", b"lost")
    for view in views:
        view.follow(lambda seen: seen.values == {"cfg/a": b"lost", "cfg/b": b"old", "cfg/d": b"lost"})
    _restored(server)
    # Every store registers itself again as soon as it can, and so overtakes the lost revisions.
    threads = [
        threading.Thread(target=lambda store=store, n=n: until(partial(_try_put, store, f"reg/{n}"), 60.0, "a put"))
        for n, store in enumerate(stores)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60.0)
    for view in views:
        view.told_of_a_resync()
        assert view.values == {"cfg/a": b"old", "cfg/b": b"old", "cfg/c": b"old"}


def _try_put(store: Store, key: str) -> bool:
    try:
        store.put(key, b"")
    except Unavailable:
        return False
    return True


def test_a_cluster_that_was_restored_with_another_token_is_another_one(
    open_etcd, server: EtcdServer, put, recorder
) -> None:
    """What the documentation recommends: the cluster's id alone tells."""
    backend, seen = open_etcd(server.url), recorder()
    put(backend, "token/key")
    backend.watch(WatchRequest(prefix="token/"), sink=seen, timeout=5)
    mark, history = seen.items[-1].mark, backend.history
    server.back_up(token="another")
    _restored(server)
    seen.error()
    request = WatchRequest(prefix="token/", after=seen.items[-1].revision, mark=mark)
    with pytest.raises(HistoryReplaced, match="cluster"):
        _retry(lambda: backend.watch(request, sink=recorder(), timeout=5))
    assert backend.history != history


def _retry(call: Callable[[], object]) -> None:
    def attempt() -> bool:
        try:
            call()
        except Unavailable:
            return False
        return True

    until(attempt, 60.0, "the server answers")


@pytest.mark.parametrize("replace", [_restored, _wiped])
def test_an_old_revision_changes_nothing(opened, server: EtcdServer, replace: Replace) -> None:
    """Others have put the key at the same revision, so that the server itself would let the write through."""
    store = opened(server.url)
    store.put("cas/other", b"")
    server.back_up()
    read = store.put("cas/key", b"mine")
    replace(server)
    while server.gateway.revision() < read.revision - 1:
        server.gateway.put(b"filler", b"")
    server.gateway.put(b"cas/key", b"theirs")
    assert server.gateway.revision() == read.revision
    with pytest.raises(Conflict):
        store.put_if_unchanged("cas/key", b"lost update", revision=read.revision)
    assert server.gateway.get("cas/key") == b"theirs"
    again = store.get("cas/key")
    store.put_if_unchanged("cas/key", b"mine", revision=again.mod_revision)


def test_a_transaction_is_proven_before_it_is_sent(open_etcd, server: EtcdServer, put) -> None:
    backend = open_etcd(server.url)
    server.back_up()
    revision = put(backend, "key", b"mine")
    before = backend.history
    _restored(server)
    server.gateway.put(b"key", b"theirs")
    write = Transaction((RevisionEquals("key", revision),), (Put("key", b"lost update"),))
    with pytest.raises(HistoryReplaced):
        _retry(lambda: backend.commit(write, timeout=5))
    assert backend.history != before
    assert server.gateway.get("key") == b"theirs"


def test_a_proof_costs_a_write_nothing_on_a_connection_that_stands(open_etcd, etcd_own_url, put, monkeypatch) -> None:
    backend = open_etcd(etcd_own_url)
    revision = put(backend, "cheap/key")
    proofs: list[object] = []
    monkeypatch.setattr("tenure_etcd.transactions.prove_member", lambda *args, **_: proofs.append(args))
    for member in backend._connection._members._members.values():
        member.trusted = True
    for _ in range(3):
        write = Transaction((RevisionEquals("cheap/key", revision),), (Put("cheap/key", b""),))
        revision = backend.commit(write, timeout=5).revision
    assert not proofs


def test_after_a_lost_revision(opened, server: EtcdServer) -> None:
    store = opened(server.url)
    server.back_up()
    revision = store.put("after/key", b"").revision
    _restored(server)
    with pytest.raises(HistoryReplaced):
        store.watch("after/", after=revision)
    revision = store.put("after/key", b"").revision
    _restart_and_write_past(server, revision)
    with store.watch("after/", after=revision) as watch:
        assert watch.next(0.1) is None


def _restart_and_write_past(server: EtcdServer, revision: int) -> None:
    server.restart()
    while server.gateway.revision() <= revision:
        server.gateway.put(b"filler", b"")


# -- the same history is never taken for another one ----------------------------------------------------------------


def _put_leased(backend, put) -> None:
    put(backend, "same/leased", b"v", backend.grant(60, timeout=5).lease_id)


def _delete_one(backend, put) -> None:
    put(backend, "same/gone")
    backend.commit(Transaction((), (Delete("same/gone"),)), timeout=5)


def _transact(backend, put) -> None:
    backend.commit(Transaction((), tuple(Put(f"same/{n}", b"v") for n in range(20))), timeout=5)


def _put_twice(backend, put) -> None:
    put(backend, "same/twice", b"1")
    put(backend, "same/twice", b"2")


def _nothing(backend, put) -> None:
    """The prefix stays empty."""


@pytest.fixture
def soon_bookmarked(monkeypatch) -> None:
    """Quiet watches are told in no time how far they are."""
    monkeypatch.setattr("tenure_etcd.watch_stream._PROGRESS_SECONDS", 0.1)


@pytest.mark.usefixtures("soon_bookmarked")
@pytest.mark.parametrize("change", [_put_leased, _delete_one, _transact, _put_twice, _nothing])
@pytest.mark.parametrize("compacted", [True, False])
def test_a_restart_is_no_other_history(  # noqa: PLR0917 - fixtures and parameters
    open_etcd, etcd_node: EtcdServer, put, recorder, change, compacted
) -> None:
    """Neither for a watch that was there at the last change nor for one that began after it."""
    backend, early, late = open_etcd(etcd_node.url), recorder(), recorder()
    history = backend.history
    backend.watch(WatchRequest(prefix="same/"), sink=early, timeout=5)
    change(backend, put)
    backend.watch(WatchRequest(prefix="same/"), sink=late, timeout=5)
    last = [put(backend, f"elsewhere/{n}") for n in range(5)][-1]
    for seen in (early, late):
        seen.wait(lambda r: r.items and r.items[-1].revision >= last)
    if compacted:
        etcd_node.gateway.compact(last)
    etcd_node.restart()
    again = []
    for seen in (early, late):
        assert isinstance(seen.error(), Unavailable)
        item, sink = seen.items[-1], recorder()
        request = WatchRequest(prefix="same/", after=item.revision, mark=item.mark)
        _retry(partial(backend.watch, request, sink=sink, timeout=5))
        again.append(sink)
    revision = put(backend, "same/after")
    for sink in again:
        sink.wait(lambda r: r.last_revision >= revision)
        assert [entry.key for entry in sink.entries] == ["same/after"]
        assert not sink.errors
    assert backend.history == history


@pytest.mark.usefixtures("soon_bookmarked")
def test_a_change_at_a_revision_that_was_quiet_is_another_history(open_etcd, server: EtcdServer, put, recorder) -> None:
    """The end of the log was lost and used again: the last change under the prefix is there, what followed is not."""
    backend, seen = open_etcd(server.url), recorder()
    put(backend, "tail/key", b"kept")
    server.back_up()
    backend.watch(WatchRequest(prefix="tail/"), sink=seen, timeout=5)
    last = [put(backend, "elsewhere/key") for _ in range(5)][-1]
    seen.wait(lambda r: isinstance(r.items[-1], Bookmark) and r.items[-1].revision >= last)
    _restored(server)
    server.gateway.put(b"tail/new", b"")
    _write(server, 10, "elsewhere")
    seen.error()
    item, again = seen.items[-1], recorder()
    # Without the number of raft entries, which here tells already. (In a lost tail it doesn't.)
    generation, cluster, term, _, *rest = item.mark.split(",", 4)
    mark = ",".join([generation, cluster, term, "", *rest])
    _retry(lambda: backend.watch(WatchRequest(prefix="tail/", after=item.revision, mark=mark), sink=again, timeout=5))
    assert isinstance(again.error(), HistoryReplaced)
    assert not again.items


# -- what can't be noticed ------------------------------------------------------------------------------------------


def test_a_history_that_repeats_all_that_was_seen_is_not_noticed(open_etcd, server: EtcdServer, put, recorder) -> None:
    """The caveat's condition: as many elections and revisions, and the watch's last change again at its revision."""
    backend, seen = open_etcd(server.url), recorder()
    put(backend, "twin/first", b"before")
    put(backend, "twin/last", b"same")
    backend.watch(WatchRequest(prefix="twin/"), sink=seen, timeout=5)
    item, history = seen.items[-1], backend.history
    server.kill()
    server.wipe()
    server.start()
    server.gateway.put(b"twin/first", b"after")
    server.gateway.put(b"twin/last", b"same")
    seen.error()
    again = recorder()
    request = WatchRequest(prefix="twin/", after=item.revision, mark=item.mark)
    _retry(lambda: backend.watch(request, sink=again, timeout=5))
    put(backend, "twin/later", b"")
    again.wait(lambda r: r.entries)
    assert backend.history == history


def _fence(store: Store) -> tenure.Fence:
    with tenure.Session.open(store, ttl=5) as session, tenure.Lock(store, "job", session=session).hold() as held:
        return held.fence()


@pytest.mark.parametrize("replace", [_restored, _wiped])
def test_fences_grow_although_tokens_repeat(opened, server: EtcdServer, replace: Replace) -> None:
    store = opened(server.url)
    _fence(store)
    server.back_up()
    for _ in range(3):
        before = _fence(store)
    replace(server)
    after: list[tenure.Fence] = []
    _retry(lambda: after.append(_fence(store)))
    after.append(_fence(opened(server.url)))
    assert after[0].token <= before.token, "no token was repeated, so this shows nothing"
    assert before < after[0] < after[1]


@pytest.mark.parametrize("behind", [{"raft_term": 1}, {"revision": 9}, {"cluster_id": 2}])
def test_an_answer_that_is_behind_an_earlier_one_is_of_another_history(behind):
    history = History()
    earlier = {"cluster_id": 1, "raft_term": 2, "revision": 10}
    history.note(SimpleNamespace(**earlier), history.latest)
    before = history.name
    history.note(SimpleNamespace(**earlier), history.latest)
    assert history.name == before
    history.note(SimpleNamespace(**earlier | behind), history.latest)
    assert history.name != before
