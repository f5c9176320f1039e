"""Data that were lost or replaced: what a store that was open all the while notices, alone and with an ensemble."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from tenure import BatchType, Conflict, Store, connect
from tenure.errors import HistoryReplaced, TenureError, Unavailable
from tenure.spi import Put, RevisionEquals, Transaction
from tenure_testkit.probes import Relay
from tenure_testkit.servers import until
from tenure_testkit.servers.ports import free_port
from tenure_testkit.servers.zookeeper import ZooKeeperServer
from tenure_testkit.servers.zookeeper_ensemble import ZooKeeperEnsemble
from tenure_zookeeper.backend import ZooKeeperBackend

pytestmark = pytest.mark.faults

T = 20.0
KEYS = [f"key{number}" for number in range(40)]
ROUNDS = 4
"""How often each key is put, so that its revision is beyond those that making the nodes again takes."""


@pytest.fixture
def relay(zookeeper_node: ZooKeeperServer) -> Iterator[Relay]:
    between = Relay(zookeeper_node.port)
    yield between
    between.close()


def write_all(store: Store) -> dict[str, int]:
    """Put the keys, and return their revisions."""
    for _ in range(ROUNDS):
        revisions = {key: store.put(key, b"old").revision for key in KEYS}
    return revisions


def lose_everything(server: ZooKeeperServer) -> None:
    server.kill()
    server.wipe()
    server.start()


def repeat_one(server: ZooKeeperServer, namespace: str, revisions: dict[str, int]) -> str:
    """Write keys of a new history until one has its revision of the old one again. Returns that key."""
    wanted = {revision: key for key, revision in revisions.items()}
    client = server.client()
    try:
        client.ensure_path(f"/{namespace}")
        for key in KEYS:
            client.create(f"/{namespace}/@{key}", b"made")
        last = client.create(f"/{namespace}/@filler", b"", include_data=True)[1].mzxid
        repeated = ""
        while last < max(wanted) + 10:
            key = "" if repeated else wanted.get(last + 1, "")
            last = client.set(f"/{namespace}/@{key or 'filler'}", b"new").mzxid
            if key and wanted.get(last) == key:
                repeated = key
        assert repeated, "sessions took all the zxids"
        return repeated
    finally:
        client.stop()
        client.close()


def test_a_revision_of_lost_data_is_refused(zookeeper_node: ZooKeeperServer, relay: Relay) -> None:
    """The new history is beyond what the store has seen, and the key has its old revision for another write."""
    with connect(f"zookeeper://127.0.0.1:{relay.port}/mine", timeout=T) as store:
        revisions = write_all(store)
        relay.turn_to(free_port())
        lose_everything(zookeeper_node)
        key = repeat_one(zookeeper_node, "mine", revisions)
        relay.turn_to(zookeeper_node.port)
        with pytest.raises(Conflict, match="lost or replaced"):
            store.put_if_unchanged(key, b"mine", revision=revisions[key])
        item = store.get(key)
        assert item is not None
        assert (item.value, item.mod_revision) == (b"new", revisions[key])
        # Another one of the old history is refused as well; one that was read in the new history counts.
        with pytest.raises(Conflict):
            store.put_if_unchanged(next(name for name in KEYS if name != key), b"mine", revision=revisions[key])
        store.put_if_unchanged(key, b"mine", revision=revisions[key])


def test_versions_of_lost_data_prove_nothing(zookeeper_node: ZooKeeperServer, relay: Relay) -> None:
    """The data are made again alike, so that each node has its version of before; only the connection has broken."""
    lose_everything(zookeeper_node)  # both histories begin alike
    with connect(f"zookeeper://127.0.0.1:{relay.port}/mine", timeout=T) as store:
        with connect(f"{zookeeper_node.url}/mine", timeout=T) as other:
            other.put("filler", b"")
            first = other.put("key", b"old").revision
            known = store.put_if_unchanged("key", b"old", revision=first).revision
        relay.turn_to(free_port())
        lose_everything(zookeeper_node)
        with connect(f"{zookeeper_node.url}/mine", timeout=T) as other:
            other.put("filler", b"")
            for _ in range(2):
                other.put("key", b"new")
            while other.put("filler", b"").revision <= known + 10:
                pass
            relay.turn_to(zookeeper_node.port)
            with pytest.raises(Conflict):
                store.put_if_unchanged("key", b"mine", revision=known)
            assert (item := other.get("key")) is not None
            assert item.value == b"new"


def test_a_revision_that_was_not_read_here_is_a_number(zookeeper_node: ZooKeeperServer) -> None:
    """The limit: a store that has not read the key can't know that the revision is of lost data."""
    with connect(f"{zookeeper_node.url}/mine", timeout=T) as store:
        revisions = write_all(store)
    lose_everything(zookeeper_node)
    key = repeat_one(zookeeper_node, "mine", revisions)
    with connect(f"{zookeeper_node.url}/mine", timeout=T) as another:
        another.put_if_unchanged(key, b"mine", revision=revisions[key])


def test_a_backend_refuses_before_it_writes(
    zookeeper_node: ZooKeeperServer, relay: Relay, open_zookeeper: Callable[[str], ZooKeeperBackend]
) -> None:
    backend = open_zookeeper(f"zookeeper://127.0.0.1:{relay.port}/mine")
    for _ in range(ROUNDS):
        revisions = {
            key: backend.commit(Transaction((), (Put(f"mine/{key}", b"old"),)), timeout=T).revision for key in KEYS
        }
    before = backend.history
    relay.turn_to(free_port())
    lose_everything(zookeeper_node)
    key = repeat_one(zookeeper_node, "mine", revisions)
    relay.turn_to(zookeeper_node.port)
    until(lambda: _reads(backend), 60.0, "connected again")
    with pytest.raises(HistoryReplaced):
        backend.commit(
            Transaction((RevisionEquals(f"mine/{key}", revisions[key]),), (Put(f"mine/{key}", b"mine"),)), timeout=T
        )
    assert backend.history != before


def _reads(backend: ZooKeeperBackend) -> bool:
    try:
        backend.get("elsewhere", timeout=1.0)
    except Unavailable:
        return False
    return True


def test_a_server_that_is_behind_shows_its_loss_at_once(zookeeper_node: ZooKeeperServer) -> None:
    with connect(f"{zookeeper_node.url}/mine", timeout=T) as store:
        revisions = write_all(store)
        lose_everything(zookeeper_node)
        assert store.get("key0") is None
        with pytest.raises(Conflict, match="lost or replaced"):
            store.put_if_unchanged("key0", b"mine", revision=revisions["key0"])


def test_a_lost_connection_alone_refuses_nothing(zookeeper_node: ZooKeeperServer, relay: Relay) -> None:
    with connect(f"zookeeper://127.0.0.1:{relay.port}/mine", timeout=T) as store:
        first, second = store.put("a", b"1").revision, store.put("b", b"1").revision
        relay.cut()
        assert store.put_if_unchanged("a", b"2", revision=first).revision > first
        zookeeper_node.restart()
        store.put_if_unchanged("b", b"2", revision=second)


def test_all_watches_are_told_the_truth(zookeeper_node: ZooKeeperServer, relay: Relay) -> None:
    """Two prefixes, of which one is quiet, and one key; nobody takes batches while the data are lost."""
    with connect(f"zookeeper://127.0.0.1:{relay.port}/mine", timeout=T) as store:
        revisions = write_all(store)
        store.put("quiet/a", b"old")
        watches = [store.watch("key"), store.watch("quiet/"), store.watch("key0", exact=True)]
        known: list[dict[str, bytes]] = [{}, {}, {}]
        kinds: set[BatchType] = set()

        def told(expected: list[dict[str, bytes]]) -> bool:
            for state, watch in zip(known, watches, strict=True):
                batch = watch.next(0.05)
                for event in batch.events if batch else ():
                    kinds.add(batch.type)  # type: ignore[union-attr]  # it has events
                    state.pop(event.key, None)
                    if event.item is not None:
                        state[event.key] = event.item.value
            return known == expected

        until(lambda: told([dict.fromkeys(KEYS, b"old"), {"quiet/a": b"old"}, {"key0": b"old"}]), T, "it has begun")
        relay.turn_to(free_port())
        lose_everything(zookeeper_node)
        repeat_one(zookeeper_node, "mine", revisions)
        relay.turn_to(zookeeper_node.port)
        present = {item.key: item.value for item in store.list("key").items}
        assert b"old" not in present.values()
        until(lambda: told([present, {}, {"key0": present["key0"]}]), 60.0, "all tell the truth")
        assert BatchType.RESYNC in kinds
        for watch in watches:
            watch.close()


def test_an_emptied_ensemble_is_used_again(zookeeper_ensemble: ZooKeeperEnsemble) -> None:
    """Its servers refuse who has seen more than they have; the store finds out why."""
    with connect(zookeeper_ensemble.url, timeout=T) as store:
        for number in range(300):  # far more than what making it anew takes
            revision = store.put("key", b"%d" % number).revision
        lease = store.lease(30.0)
        for node in zookeeper_ensemble.nodes:
            node.kill()
            node.wipe()
        zookeeper_ensemble.recover()
        with connect(zookeeper_ensemble.url, timeout=T) as other:
            other.put("fresh", b"new")
        started = time.monotonic()
        until(lambda: _value(store, "fresh") == b"new", 60.0, "the store works again", interval=0.2)
        assert time.monotonic() - started < 30.0
        with pytest.raises(Conflict, match="lost or replaced"):
            store.put_if_unchanged("key", b"mine", revision=revision)
        assert store.put("fresh", b"newer").revision < revision
        until(lambda: not lease.alive, T, "the lease is known to be lost")


def _value(store: Store, key: str) -> bytes | None:
    try:
        item = store.get(key, timeout=2.0)
    except TenureError:
        return None
    return None if item is None else item.value
