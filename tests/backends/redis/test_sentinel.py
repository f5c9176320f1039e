"""Failover, with a replica that has everything and with one that lags behind; and a cluster's shards."""

from __future__ import annotations

import pytest

import tenure
from tenure import BatchType, ConfigError, Conflict, EventType, Unavailable
from tenure.errors import HistoryReplaced
from tenure.registry import Instance, Registry, RegistryConfig
from tenure_testkit.servers.redis import RedisServer
from tenure_testkit.servers.redis_group import RedisCluster, RedisSentinelGroup
from tenure_testkit.waiting import until


@pytest.mark.faults
def test_work_goes_on_after_a_failover(redis_sentinel: RedisSentinelGroup):
    with tenure.connect(redis_sentinel.url, timeout=20) as store:
        assert (store.capabilities.durable, store.capabilities.linearizable) == (False, False)
        assert "asynchronous" in " ".join(store.server_info().warnings)
        lease = store.lease(15)
        written = [store.put("held", b"0", lease=lease).revision]
        events = []
        store.watch("", callback=lambda batch: events.extend(batch.events))
        # Acknowledged by the replica, so that nothing is lost with the primary.
        redis_sentinel.primary().ask("WAIT", "1", "5000")
        until(lambda: len(events) == 1, 60.0, "the watch is there")
        dead = redis_sentinel.primary()
        dead.kill()
        redis_sentinel.primary(other_than=dead)
        written += [store.put(f"k{n}", b"%d" % n).revision for n in range(100)]
        until(lambda: events[-1].revision >= written[-1], 60.0, "the watch has caught up")
        assert [event.revision for event in events] == written
        assert lease.alive
        assert store.get("held").lease_id == lease.id
        dead.start()
        # The old primary comes back as a replica, and nobody takes it for the primary.
        until(lambda: dead.role == "slave", 60.0, "the old primary is a replica")
        assert store.put("after", b"").revision > written[-1]


@pytest.mark.faults
def test_a_replica_that_lagged_is_a_resync_not_a_silence(redis_sentinel: RedisSentinelGroup):
    """What was lost is gone from every watch, also from one that went on reading what others wrote elsewhere."""
    with (
        tenure.connect(redis_sentinel.url, timeout=20) as store,
        store.watch("", previous=True) as watch,
        store.watch("lost") as quiet,
    ):
        assert [quiet.next(5).type, quiet.next(5).type] == [BatchType.SNAPSHOT, BatchType.SYNCED]
        assert [watch.next(5).type, watch.next(5).type] == [BatchType.SNAPSHOT, BatchType.SYNCED]
        store.put("kept", b"1")
        primary, replica = redis_sentinel.primary(), redis_sentinel.replica()
        primary.ask("WAIT", "1", "5000")
        replica.pause()
        # What was sent to a frozen replica would still reach it when it goes on.
        assert primary.ask("CLIENT", "KILL", "TYPE", "replica") == 1
        store.put("lost", b"")
        lost = [store.put(f"noise{n}", b"").revision for n in range(5)]
        told = []
        until(lambda: (told.extend((watch.next(5)).events), len(told) >= 7)[1], 60.0, "the watcher saw the lost writes")
        assert [event.key for event in quiet.next(5).events] == ["lost"]
        primary.kill()
        replica.resume()
        redis_sentinel.primary(other_than=primary)
        again = [store.put(f"new{n}", b"").revision for n in range(8)]
        assert max(lost) < min(again)
        with pytest.raises(Conflict):
            store.put_if_unchanged("noise4", b"", revision=lost[-1])
        with pytest.raises(HistoryReplaced):
            store.watch("", after=lost[-1])
        state = {event.key for event in told if event.type is not EventType.DELETE}
        kinds = []

        def follow() -> bool:
            batch = watch.next(5)
            kinds.append(batch.type)
            for event in batch.events:
                (state.discard if event.type is EventType.DELETE else state.add)(event.key)
            return batch.revision >= again[-1]

        until(follow, 60.0, "the watch has caught up")
        assert BatchType.RESYNC in kinds
        assert state == set(store.list("").keys) == {"kept", *(f"new{n}" for n in range(8))}
        batch = quiet.next(5)
        assert batch.type is BatchType.RESYNC
        assert [(event.key, event.item) for event in batch.events] == [("lost", None)]


@pytest.mark.faults
def test_a_registration_outlives_the_primary(redis_sentinel: RedisSentinelGroup):
    config = RegistryConfig(name="sentinel", heartbeat=5.0)
    with (
        tenure.connect(redis_sentinel.url) as store,
        tenure.connect(redis_sentinel.url) as other,
        Registry(store, config, Instance(service_name="web", port=80)),
        Registry(other, config) as watcher,
    ):
        watcher.wait_for("web", 1, 10)
        dead = redis_sentinel.primary()
        dead.kill()
        redis_sentinel.primary(other_than=dead)
        until(lambda: _reads(other), 60.0, "the store answers again")
        watcher.wait_for("web", 1, 20)
        assert len(list(watcher.get_service("web"))) == 1


def _reads(store: tenure.Store) -> bool:
    try:
        store.get("anything")
    except Unavailable:
        return False
    return True


def test_what_the_sentinel_does_not_know(redis_sentinel: RedisSentinelGroup):
    with pytest.raises(Unavailable, match="option master"):
        tenure.connect(redis_sentinel.url.replace("mymaster", "other"), timeout=1)
    sentinel = redis_sentinel.sentinel.port
    with pytest.raises(Unavailable, match="sentinel"):
        tenure.connect(f"redis://127.0.0.1:{sentinel}", timeout=1)
    server = redis_sentinel.servers[0].port
    with pytest.raises((Unavailable, ConfigError, tenure.Unsupported)):
        tenure.connect(f"redis+sentinel://127.0.0.1:{server}?master=mymaster", timeout=1)
    hosts = f"redis+sentinel://127.0.0.1:1,127.0.0.1:{sentinel}?master=mymaster"
    with tenure.connect(hosts) as store:
        store.put("key", b"value")
        assert store.native.exists("{leasehold}:data")


def test_a_cluster_by_any_of_its_nodes(redis_cluster: RedisCluster):
    for number in range(12):
        node = redis_cluster.nodes[number % 3]
        url = f"redis+cluster://127.0.0.1:{node.port}/ns?store=s{number}"
        with tenure.connect(url) as store, store.watch("") as watch:
            watch.next(5), watch.next(5)
            revision = store.put("key", b"value").revision
            assert store.list("").revision == revision
            assert watch.next(5).revision == revision
            with store.lease(30) as lease:
                store.put("held", b"", lease=lease)
            assert store.get("held") is None
    sizes = [node.ask("DBSIZE") for node in redis_cluster.nodes]
    assert all(sizes), "stores of different names live on different shards"
    with tenure.connect(redis_cluster.url) as store:
        assert not store.capabilities.linearizable
        assert store.native.get("nothing") is None


def test_a_cluster_opened_as_one_server_says_what_to_write(redis_cluster: RedisCluster):
    refused = []
    for node in redis_cluster.nodes:
        try:
            tenure.connect(f"redis://127.0.0.1:{node.port}", timeout=1).close()
        except Unavailable as exc:
            refused.append(str(exc))
    assert ["redis+cluster" in message for message in refused] == [True, True]
    with pytest.raises(ConfigError, match="one database"):
        tenure.connect(f"redis://127.0.0.1:{redis_cluster.nodes[0].port}?db=1", timeout=1)


@pytest.mark.faults
def test_reads_and_watches_leave_a_server_that_was_demoted(redis_node: RedisServer):
    """By hand, without a Sentinel: the server keeps its connections and answers reads, from data that grow stale."""
    with (
        RedisServer() as promoted,
        tenure.connect(f"redis://127.0.0.1:{redis_node.port},127.0.0.1:{promoted.port}", timeout=20) as store,
        tenure.connect(f"redis://127.0.0.1:{promoted.port}", timeout=20) as writer,
        store.watch("") as watch,
    ):
        store.put("key", b"old")
        told(watch, b"old")
        redis_node.ask("REPLICAOF", "127.0.0.1", "1")
        writer.put("key", b"new")
        until(lambda: store.get("key").value == b"new", 30.0, "a read is the new primary's")
        assert [item.value for item in store.list("")] == [b"new"]
        told(watch, b"new")


def told(watch: tenure.Watch, value: bytes) -> None:
    """Wait until a watch delivers this value."""

    def arrived() -> bool:
        batch = watch.next(1)
        return batch is not None and any(event.item and event.item.value == value for event in batch.events)

    until(arrived, 60.0, f"the watch delivers {value!r}")
