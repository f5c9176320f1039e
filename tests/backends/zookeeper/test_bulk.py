"""Many keys by one request, lists without values, and a watch of one key."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from tenure.spi import Delete, ListRequest, Put, Transaction, WatchRequest
from tenure_testkit.probes.recorder import Recorder
from tenure_zookeeper import encoding
from tenure_zookeeper.backend import ZooKeeperBackend

T = 5.0


@pytest.fixture
def backend(open_zookeeper: Callable[[str], ZooKeeperBackend], zookeeper_own_url: str) -> ZooKeeperBackend:
    return open_zookeeper(zookeeper_own_url)


@pytest.fixture
def prefix(zookeeper_own_url: str) -> str:
    return f"{zookeeper_own_url.rpartition('/')[2]}/"


def commit(backend: ZooKeeperBackend, *operations: Put | Delete) -> int:
    return backend.commit(Transaction((), operations), timeout=T).revision


def test_many_keys_are_read_at_once(backend: ZooKeeperBackend, prefix: str) -> None:
    lease = backend.grant(10, timeout=T).lease_id
    commit(backend, Put(prefix + "a", b"1"), Put(prefix + "leased", b"x", lease), Put(prefix + "é//%", b"\0"))
    keys = [prefix + name for name in ("missing", "leased", "a", "é//%", "far/away")]
    found = backend.get_many(keys, timeout=T)
    assert list(found.items) == [backend.get(key, timeout=T).item for key in keys]
    assert [item is None for item in found.items] == [True, False, False, False, True]
    most = backend.capabilities.max_transaction_operations
    assert backend.get_many([f"{prefix}{number}" for number in range(most)], timeout=T).items == (None,) * most
    backend.revoke([lease], timeout=T)


def test_what_is_read_at_once_was_so_at_one_revision(
    backend: ZooKeeperBackend, open_zookeeper: Callable[[str], ZooKeeperBackend], zookeeper_own_url: str, prefix: str
) -> None:
    writer = open_zookeeper(zookeeper_own_url)
    lease = writer.grant(30, timeout=T).lease_id
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            value = b"%d" % number
            # With and without a lease a key has another node.
            held = lease if number % 4 == 0 else None
            commit(writer, Put(prefix + "a", value), Put(prefix + "b", value, held))
            if number % 5 == 0:
                commit(writer, Delete(prefix + "a"), Delete(prefix + "b"))

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(200):
            one, two = backend.get_many([prefix + "a", prefix + "b"], timeout=T).items
            assert (one and (one.value, one.mod_revision)) == (two and (two.value, two.mod_revision))
    finally:
        stop.set()
        thread.join(T)
        writer.revoke([lease], timeout=T)


@pytest.mark.parametrize("length", [10, 20_000])
def test_a_list_of_keys_has_everything_but_values(
    backend: ZooKeeperBackend, prefix: str, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    lease = backend.grant(10, timeout=T).lease_id
    names = [f"{prefix}{number:02}" for number in range(60)]
    for number, name in enumerate(names):
        commit(backend, Put(name, b"v" * length, lease if number % 7 == 0 else None))
    commit(backend, Put(names[7], b"", None))
    whole = backend.list(ListRequest(prefix=prefix), timeout=T)
    sizes: list[int] = []
    read_node = encoding._node

    def measured(buffer: bytes, offset: int) -> tuple[encoding.Node, int]:
        node, after = read_node(buffer, offset)
        sizes.append(len(node.data))
        return node, after

    monkeypatch.setattr(encoding, "_node", measured)
    keys = backend.list(ListRequest(prefix=prefix, keys_only=True), timeout=T)
    assert [item.key for item in keys.items] == names
    assert keys.items == tuple(item._replace(value=b"") for item in whole.items)
    # Large values are read for the first packet only, and for keys that were on a lease.
    assert sum(sizes) < 60 * length * (1.5 if length < 1000 else 0.5)
    assert backend.list(ListRequest(prefix=prefix, keys_only=True, limit=1), timeout=T).has_more
    backend.revoke([lease], timeout=T)


def test_the_only_key_watched(backend: ZooKeeperBackend, prefix: str) -> None:
    """The server sends no event of what begins like it, whichever of its two nodes the key has."""
    key = prefix + "key"
    lease = backend.grant(10, timeout=T).lease_id
    commit(backend, Put(key + "/below", b""), Put(key + "s", b"other"))
    events: list[str] = []
    sinks = [Recorder(), Recorder()]
    feeds = [backend.watch(WatchRequest(prefix=key, exact=True), sink=sink, timeout=T) for sink in sinks]
    client = backend.native
    listen = client.on_event

    def on_event(path: str) -> None:
        events.append(path)
        listen(path)

    client.on_event = on_event
    assert sinks[0].snapshot.items == ()
    for value, held in ((b"1", None), (b"2", lease), (b"3", None)):
        revision = commit(backend, Put(key, value, held), Put(key + "s", value))
        for sink in sinks:
            sink.wait(lambda r, revision=revision: r.state() == {key: revision})
    commit(backend, Delete(key))
    for sink in sinks:
        sink.wait(lambda r: r.state() == {})
    feeds[0].close()
    revision = commit(backend, Put(key, b"4"))
    sinks[1].wait(lambda r: r.state() == {key: revision})
    assert sinks[0].state() == {}
    assert {path[-4:] for path in events} <= {"@key", "~key"}
    feeds[1].close()
    assert not backend._watches._watched
    backend.revoke([lease], timeout=T)


def test_many_keys_are_made_and_deleted_by_one_transaction(backend: ZooKeeperBackend, prefix: str) -> None:
    """Their nodes are read by a few packets first, with small values and large ones."""
    keys = [f"{prefix}{number}" for number in range(300)]
    commit(backend, *[Put(key, b"") for key in keys])
    for key in keys[::10]:
        commit(backend, Put(key, b"v" * 5_000))
    done = backend.commit(Transaction((), tuple(map(Delete, keys))), timeout=T)
    assert done.deleted == 300
    assert backend.list(ListRequest(prefix=prefix), timeout=T).items == ()
