"""Calls on several keys: reads at one revision, deletes of a prefix, lists without values; and a watch of one key."""

import pytest

from tenure.errors import PermissionDenied
from tenure.spi import Delete, Deleted, ListRequest, Put, Transaction, WatchRequest
from tenure_testkit.servers import EtcdServer


def test_keys_are_read_at_one_revision_in_the_order_asked_for(open_etcd, etcd_own_url, put) -> None:
    backend = open_etcd(etcd_own_url)
    lease = backend.grant(30, timeout=5).lease_id
    put(backend, "many/b", b"2", lease)
    revision = put(backend, "many/a", b"")
    keys = [*(f"many/none/{n}" for n in range(126)), "many/b", "many/a"]
    assert len(keys) == backend.capabilities.max_transaction_operations
    result = backend.get_many(keys, timeout=5)
    assert result.revision >= revision
    assert result.items[:-2] == (None,) * 126
    assert result.items[-2:] == (backend.get("many/b", timeout=5).item, backend.get("many/a", timeout=5).item)


def test_a_prefix_is_deleted_as_one_transaction(open_etcd, etcd_own_url, recorder, put) -> None:
    backend, seen = open_etcd(etcd_own_url), recorder()
    others = [put(backend, key) for key in ("goes", "goes0", "goe", "gof")]
    backend.commit(Transaction((), tuple(Put(f"goes/{n}", b"v") for n in range(100))), timeout=5)
    backend.watch(WatchRequest(prefix="goes/", after=others[-1]), sink=seen, timeout=5)
    result = backend.delete_prefix("goes/", timeout=5)
    assert (result.deleted, result.has_more) == (100, False)
    seen.wait(lambda r: len(r.entries) == 200)
    deleted = [entry for entry in seen.entries if isinstance(entry, Deleted)]
    assert {(entry.key, entry.revision) for entry in deleted} == {(f"goes/{n}", result.revision) for n in range(100)}
    again = backend.delete_prefix("goes/", timeout=5)
    assert (again.deleted, again.has_more) == (0, False)
    assert all(backend.get(key, timeout=5).item for key in ("goes", "goes0", "goe", "gof"))


def test_a_large_prefix_is_deleted_in_parts(open_etcd, etcd_own_url, put, monkeypatch) -> None:
    monkeypatch.setattr("tenure_etcd.transactions._MOST_DELETED", 40)
    backend = open_etcd(etcd_own_url)
    backend.commit(Transaction((), tuple(Put(f"large-prefix/{n}", b"v") for n in range(100))), timeout=5)
    put(backend, "large-prefix0")
    results = [backend.delete_prefix("large-prefix/", timeout=5) for _ in range(3)]
    assert [(result.deleted, result.has_more) for result in results] == [(40, True), (40, True), (20, False)]
    assert backend.get("large-prefix0", timeout=5).item


def test_a_list_without_values(open_etcd, etcd_own_url, put) -> None:
    backend = open_etcd(etcd_own_url)
    revisions = [put(backend, f"bare/{n}", b"x" * 1000) for n in range(3)]
    page = backend.list(ListRequest(prefix="bare/", keys_only=True), timeout=5)
    assert [(item.key, item.value, item.mod_revision) for item in page.items] == [
        (f"bare/{n}", b"", revision) for n, revision in enumerate(revisions)
    ]


@pytest.mark.parametrize("count", [1, 128, 129, 5000])
def test_lists_of_any_size_are_whole(open_etcd, etcd_own_url, count: int) -> None:
    backend = open_etcd(etcd_own_url)
    prefix, names = f"sized/{count}/", [f"{n:05d}" for n in range(count)]
    for start in range(0, count, 100):
        part = tuple(Put(prefix + name, b"v") for name in names[start : start + 100])
        backend.commit(Transaction((), part), timeout=5)
    page = backend.list(ListRequest(prefix=prefix), timeout=10)
    assert [item.key for item in page.items] == [prefix + name for name in names]
    assert not page.has_more
    page = backend.list(ListRequest(prefix=prefix, limit=count // 2 or 1, after=prefix), timeout=10)
    assert [item.key for item in page.items] == [prefix + name for name in names[: count // 2 or 1]]
    assert page.has_more == (count > 1)


def test_a_watch_of_one_key_gets_nothing_else(open_etcd, etcd_own_url, recorder, put) -> None:
    backend, seen, resumed = open_etcd(etcd_own_url), recorder(), recorder()
    for key in ("exact", "exact/below", "exactly"):
        put(backend, key)
    backend.watch(WatchRequest(prefix="exact", exact=True), sink=seen, timeout=5)
    put(backend, "exact/below")
    backend.commit(Transaction((), (Put("exact", b"2"), Put("exactly", b"2"))), timeout=5)
    put(backend, "exactly")
    revision = backend.commit(Transaction((), (Delete("exact"),)), timeout=5).revision
    seen.wait(lambda r: r.last_revision >= revision)
    assert [item.key for item in seen.items[0].items] == ["exact"]
    assert [entry.key for entry in seen.entries] == ["exact", "exact"]
    first = seen.items[0]
    request = WatchRequest(prefix="exact", exact=True, after=first.revision, mark=first.mark)
    backend.watch(request, sink=resumed, timeout=5)
    resumed.wait(lambda r: len(r.entries) == 2)


def test_a_right_on_one_key_is_enough_to_watch_it(open_etcd, recorder) -> None:
    with EtcdServer(password="root") as server:
        gateway = server.gateway
        gateway.put("one/key", b"1")
        gateway.add_role("one-key", "one/key")
        gateway.add_user("small", "secret", role="one-key")
        backend, seen = open_etcd(f"etcd://small:secret@127.0.0.1:{server.port}"), recorder()
        backend.watch(WatchRequest(prefix="one/key", exact=True), sink=seen, timeout=5)
        assert [item.key for item in seen.items[0].items] == ["one/key"]
        again, item = recorder(), seen.items[0]
        request = WatchRequest(prefix="one/key", exact=True, after=item.revision, mark=item.mark)
        backend.watch(request, sink=again, timeout=5)
        gateway.put("one/key", b"2")
        again.wait(lambda r: r.entries)
        with pytest.raises(PermissionDenied):
            backend.watch(WatchRequest(prefix="one/"), sink=recorder(), timeout=5)


def test_a_list_that_was_read_before_is_one_call(open_etcd, etcd_own_url, monkeypatch) -> None:
    backend = open_etcd(etcd_own_url)
    for start in range(0, 500, 100):
        part = tuple(Put(f"known-size/{start + n:03d}", b"v" * 100) for n in range(100))
        backend.commit(Transaction((), part), timeout=5)
    calls = []
    call = backend._connection.call
    monkeypatch.setattr(backend._connection, "call", lambda *args, **rest: calls.append(args[0]) or call(*args, **rest))
    pages = [backend.list(ListRequest(prefix="known-size/"), timeout=10) for _ in range(2)]
    assert [len(page.items) for page in pages] == [500, 500]
    assert calls == ["Range"] * 3
