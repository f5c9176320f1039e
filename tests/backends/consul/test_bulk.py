"""Many keys by one request, lists without values, a watch of one key, and what a token that lacks a right is told."""

from __future__ import annotations

import base64
import threading

import pytest

from tenure.errors import LeaseNotFound, PermissionDenied
from tenure.spi import Delete, Deleted, ListRequest, Operation, Put, Snapshot, Transaction, WatchRequest
from tenure_consul import reads
from tenure_testkit.servers.consul import AclToken, ConsulServer

T = 5.0


@pytest.fixture
def backend(consul_url, opened):
    return opened(consul_url)


def commit(backend, *operations: Operation) -> int:
    return backend.commit(Transaction((), operations), timeout=T).revision


def test_many_keys_are_read_at_once(backend, prefix):
    lease = backend.grant(10, timeout=T).lease_id
    commit(backend, Put(prefix + "a", b"1"), Put(prefix + "leased", b"", lease), Put(prefix + "é//%", b"\0"))
    keys = [prefix + "missing", prefix + "leased", prefix + "a", prefix + "é//%", prefix + "missing too"]
    found = backend.get_many(keys, timeout=T)
    assert list(found.items) == [backend.get(key, timeout=T).item for key in keys]
    assert [item is None for item in found.items] == [True, False, False, False, True]
    most = backend.capabilities.max_transaction_operations
    assert backend.get_many([f"{prefix}{number}" for number in range(most)], timeout=T).items == (None,) * most
    backend.revoke([lease], timeout=T)


def test_what_is_read_at_once_was_so_at_one_revision(backend, consul_url, opened, prefix):
    writer = opened(consul_url)
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            there = number % 3 > 0
            one, two = Put(prefix + "a", b"%d" % number), Put(prefix + "b", b"%d" % number)
            commit(writer, one, two) if there else commit(writer, Delete(prefix + "a"), Delete(prefix + "b"))

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(200):
            one, two = backend.get_many([prefix + "a", prefix + "b"], timeout=T).items
            assert (one and (one.value, one.mod_revision)) == (two and (two.value, two.mod_revision))
    finally:
        stop.set()
        thread.join(T)


@pytest.mark.parametrize("count", [3, 200])
def test_a_prefix_is_deleted_by_one_transaction(backend, prefix, recorder, count):
    lease = backend.grant(10, timeout=T).lease_id
    for number in range(count):
        commit(backend, Put(f"{prefix}tree/{number}", b"value", lease if number % 5 == 0 else None))
    commit(backend, Put(prefix + "tree", b"stays"), Put(prefix + "treeless", b"stays"))
    sink = recorder()
    feed = backend.watch(WatchRequest(prefix=prefix), sink=sink, timeout=T)
    sink.wait(lambda r: r.items)
    done = backend.delete_prefix(prefix + "tree/", timeout=T)
    assert (done.deleted, done.has_more) == (count, False)
    left = backend.list(ListRequest(prefix=prefix), timeout=T).items
    assert [item.key for item in left] == [prefix + "tree", prefix + "treeless"]
    sink.wait(lambda r: len(r.items) > 1)
    assert len(sink.items) == 2
    assert all(isinstance(entry, Deleted) and entry.revision == done.revision for entry in sink.entries)
    assert len(sink.entries) == count
    feed.close()
    # The leases live on, without keys.
    assert [info.keys for info in backend.leases(lease, timeout=T)] == [()]
    backend.revoke([lease], timeout=T)


def test_a_prefix_without_keys_makes_no_revision(backend, prefix):
    before = reads.present(backend._pool, backend._layout, backend._revisions, timeout=T)
    done = backend.delete_prefix(prefix + "nothing/", timeout=T)
    assert (done.deleted, done.has_more) == (0, False)
    assert reads.present(backend._pool, backend._layout, backend._revisions, timeout=T) == before


def test_what_another_program_wrote_into_the_tree_stays(backend, consul_server: ConsulServer, prefix):
    foreign = f"leasehold/kv/{prefix}tree/%zz"
    assert consul_server.ask("PUT", f"/v1/kv/{foreign.replace('%', '%25')}", b"foreign")
    for number in range(50):
        commit(backend, Put(f"{prefix}tree/{number}", b""))
    deleted = 0
    while (done := backend.delete_prefix(prefix + "tree/", timeout=T)).has_more:
        deleted += done.deleted
    assert deleted + done.deleted == 50
    (left,) = consul_server.ask("GET", f"/v1/kv/leasehold/kv/{prefix}?recurse")
    assert (left["Key"], base64.b64decode(left["Value"])) == (foreign, b"foreign")


def test_a_list_of_keys_has_everything_but_values(backend, prefix):
    commit(backend, Put(prefix + "a", b"1"), Put(prefix + "b", b""))
    whole = backend.list(ListRequest(prefix=prefix), timeout=T)
    keys = backend.list(ListRequest(prefix=prefix, keys_only=True), timeout=T)
    assert keys.items == tuple(item._replace(value=b"") for item in whole.items)
    assert backend.list(ListRequest(prefix=prefix, keys_only=True, limit=1), timeout=T).has_more


def test_the_only_key_watched(backend, prefix, recorder):
    """What begins like it isn't even read."""
    key = prefix + "key"
    commit(backend, Put(key + "/below", b"large"), Put(key + "s", b"other"))
    sink = recorder()
    feed = backend.watch(WatchRequest(prefix=key, exact=True), sink=sink, timeout=T)
    sink.wait(lambda r: r.items)
    assert sink.snapshot.items == ()
    revisions = [commit(backend, Put(key, b"1"), Put(key + "s", b"1"))]
    sink.wait(lambda r: r.state() == {key: revisions[0]})
    for number in range(5):
        commit(backend, Put(f"{key}/{number}", b""))
    revisions.append(commit(backend, Put(key, b"2")))
    sink.wait(lambda r: r.state() == {key: revisions[1]})
    revisions.append(commit(backend, Delete(key)))
    sink.wait(lambda r: r.state() == {})
    revisions.append(commit(backend, Put(key, b"3")))
    sink.wait(lambda r: r.state() == {key: revisions[3]})
    assert {entry.key for entry in sink.entries} == {key}
    assert sink.errors == []
    feed.close()


def test_a_deleted_tree_may_be_told_late_below(consul_url, opened, prefix, recorder):
    """The limit: Consul notes one delete for a whole tree, which it doesn't find when asked about a part of it.

    Only where another key of that part was deleted in the quarter of an hour before: then its delete is found instead.
    """
    backend = opened(f"{consul_url}?wait=2")
    for number in range(40):
        commit(backend, Put(f"{prefix}tree/other/{number}", b""))
    commit(backend, Put(prefix + "tree/part/before", b""))
    commit(backend, Delete(prefix + "tree/part/before"))
    commit(backend, Put(prefix + "tree/part/key", b""))
    sink = recorder()
    feed = backend.watch(WatchRequest(prefix=prefix + "tree/part/"), sink=sink, timeout=T)
    sink.wait(lambda r: r.items)
    assert backend.delete_prefix(prefix + "tree/", timeout=T).deleted == 41
    sink.wait(lambda r: r.state() == {}, timeout=backend.capabilities.max_watch_failure_detection)
    assert isinstance(sink.items[1], Snapshot)
    assert sink.errors == []
    feed.close()


RULES = 'key_prefix "leasehold/" {{ policy = "{}" }} session_prefix "" {{ policy = "write" }}'


def test_a_right_that_was_taken_away_is_no_delete(consul_acl: ConsulServer, opened, prefix, recorder):
    token = AclToken(consul_acl, RULES.format("write"))
    backend = opened(consul_acl.url_with(token.secret, wait="1"))
    commit(backend, Put(prefix + "a", b""), Put(prefix + "b", b""))
    sink = recorder()
    backend.watch(WatchRequest(prefix=prefix), sink=sink, timeout=T)
    sink.wait(lambda r: r.items)
    token.allow(RULES.format("deny"))
    assert isinstance(sink.error(), PermissionDenied)
    assert len(sink.items) == 1
    with pytest.raises(PermissionDenied, match="key_prefix"):
        backend.list(ListRequest(prefix=prefix), timeout=T)
    with pytest.raises(PermissionDenied):
        backend.get_many([prefix + "a", prefix + "missing"], timeout=T)
    with pytest.raises(PermissionDenied):
        backend.delete_prefix(prefix, timeout=T)


def test_a_lease_that_may_not_be_read_is_not_lost(consul_acl: ConsulServer, opened, prefix):
    token = AclToken(consul_acl, RULES.format("write"))
    backend = opened(consul_acl.url_with(token.secret))
    lease = backend.grant(60, timeout=T).lease_id
    token.allow('key_prefix "leasehold/" { policy = "write" }')
    calls = [
        lambda: backend.refresh([lease], timeout=T),
        lambda: backend.revoke([lease], timeout=T),
        lambda: backend.leases(lease, timeout=T),
        lambda: backend.leases(None, timeout=T),
        lambda: backend.grant(60, timeout=T),
    ]
    for number, call in enumerate(calls):
        with pytest.raises(PermissionDenied):
            pytest.fail(f"call {number} returned {call()}")
    commit(backend, Put(prefix + "a", b"", lease))  # Consul asks for no right to a session here
    token.allow(RULES.format("write"))
    assert backend.revoke([lease], timeout=T) == {lease}
    with pytest.raises(LeaseNotFound):
        commit(backend, Put(prefix + "b", b"", lease))


def test_rights_on_a_part_are_no_rights_on_the_whole(consul_acl: ConsulServer, opened, prefix):
    admin = opened(consul_acl.url)
    commit(admin, Put(prefix + "part/a", b""), Put(prefix + "b", b""))
    rules = (
        f'key_prefix "leasehold/kv/{prefix}part/" {{ policy = "read" }} key "leasehold/nothing" {{ policy = "read" }}'
    )
    backend = opened(consul_acl.url_with(consul_acl.token(rules)))
    (item,) = backend.list(ListRequest(prefix=prefix + "part/"), timeout=T).items
    assert item.key == prefix + "part/a"
    with pytest.raises(PermissionDenied):
        backend.list(ListRequest(prefix=prefix), timeout=T)


def test_a_reader_is_not_told_of_a_rule_further_below(consul_acl: ConsulServer, opened, prefix):
    """The limit before Consul 1.11: a token that may read the prefix but not all below it gets a part of the list."""
    admin = opened(consul_acl.url)
    commit(admin, Put(prefix + "hidden/a", b""), Put(prefix + "b", b""))
    hidden = f'key_prefix "leasehold/kv/{prefix}hidden/" {{ policy = "deny" }}'
    reader = opened(consul_acl.url_with(consul_acl.token(f'key_prefix "leasehold/" {{ policy = "read" }} {hidden}')))
    assert [item.key for item in reader.list(ListRequest(prefix=prefix), timeout=T).items] == [prefix + "b"]
    writer = opened(consul_acl.url_with(consul_acl.token(f"{RULES.format('write')} {hidden}")))
    assert [item.key for item in writer.list(ListRequest(prefix=prefix), timeout=T).items] == [prefix + "b"]
