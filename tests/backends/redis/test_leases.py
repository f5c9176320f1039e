"""Leases by the server's clock, and that a dead one stays dead."""

from __future__ import annotations

import threading
import time

import pytest

import tenure
from tenure import LeaseState, Unavailable
from tenure.registry import Instance, Registry, RegistryConfig
from tenure.spi import Delete, ListRequest, Put, Transaction, WatchRequest
from tenure_testkit.servers.redis import RedisServer
from tenure_testkit.waiting import until

T = 5.0


def test_grant_refresh_describe_revoke(open_redis, fresh, put):
    backend = open_redis(fresh)
    first, second = (backend.grant(ttl, timeout=T) for ttl in (30.0, 0.9995))
    assert (first.ttl, second.ttl) == (30.0, 1.0)
    put(backend, "b", b"", first.lease_id)
    put(backend, "a", b"", first.lease_id)
    info = {one.lease_id: one for one in backend.leases(None, timeout=T)}
    assert info[first.lease_id].keys == ("a", "b")
    assert 29 < info[first.lease_id].remaining <= 30.1
    assert info[second.lease_id].keys == ()
    assert [one.ttl for one in backend.leases(first.lease_id, timeout=T)] == [30.0]
    assert backend.leases("nobody", timeout=T) == backend.leases("0" * 16, timeout=T) == ()
    ids = [first.lease_id, "nobody", "0" * 16]
    assert backend.refresh(ids, timeout=T) == {first.lease_id: 30.0}
    revision = backend.get("a", timeout=T).revision
    assert backend.revoke(ids, timeout=T) == {first.lease_id}
    assert backend.revoke(ids, timeout=T) == frozenset()
    assert backend.refresh(ids, timeout=T) == {}
    gone = backend.get("a", timeout=T)
    assert gone.item is None
    assert gone.revision > revision


def test_a_key_changes_leases(open_redis, fresh, put):
    backend = open_redis(fresh)
    one, two = (backend.grant(30.0, timeout=T).lease_id for _ in range(2))
    created = put(backend, "key", b"1", one)
    put(backend, "key", b"2", two)
    assert backend.get("key", timeout=T).item.create_revision == created
    backend.revoke([one], timeout=T)
    assert backend.get("key", timeout=T).item.lease_id == two
    put(backend, "key", b"3")
    backend.revoke([two], timeout=T)
    assert backend.get("key", timeout=T).item.lease_id is None
    three = backend.grant(30.0, timeout=T).lease_id
    put(backend, "key", b"4", three)
    backend.commit(Transaction((), (Delete("key"),)), timeout=T)
    put(backend, "key", b"5")
    backend.revoke([three], timeout=T)
    assert backend.get("key", timeout=T).item.value == b"5"


def test_an_ended_lease_shows_no_keys_to_anyone_who_looks(open_redis, fresh, put):
    """Nobody watches here, so whoever reads or writes ends leases first."""
    backend, other = open_redis(fresh), open_redis(fresh)
    lease = backend.grant(0.5, timeout=T).lease_id
    put(backend, "key", b"", lease)
    assert other.get("key", timeout=T).item is not None
    until(lambda: other.get("key", timeout=T).item is None, 0.5 + backend.capabilities.expiry_slack, "the key is gone")
    assert backend.refresh([lease], timeout=T) == {}
    assert backend.list(ListRequest(prefix=""), timeout=T).items == ()


def test_a_leased_key_is_read_fast_while_leases_are_looked_after(open_redis, fresh, put, recorder):
    """With a watch open leases end in time, so reading such a key costs one plain command."""
    backend = open_redis(fresh)
    lease = backend.grant(30.0, timeout=T).lease_id
    put(backend, "key", b"value", lease)
    calls = []
    original = backend._pool.run
    backend._pool.run = lambda script, *args, **more: (calls.append(script), original(script, *args, **more))[1]
    backend._pool.reaped = 0.0
    assert backend.get("key", timeout=T).item.value == b"value"
    assert len(calls) == 1, "nobody had looked for a while"
    for _ in range(5):
        assert backend.get("key", timeout=T).item.lease_id == lease
    assert len(calls) == 1


def test_many_leases_and_a_lease_of_many_keys(open_redis, fresh, recorder):
    backend, sink = open_redis(fresh), recorder()
    leases = [backend.grant(60.0, timeout=T).lease_id for _ in range(1200)]
    assert len(backend.refresh(leases, timeout=T)) == 1200
    assert len(backend.leases(None, timeout=T)) == 1200
    for start in range(0, 5000, 1000):
        keys = tuple(Put(f"{n}", b"", leases[0]) for n in range(start, start + 1000))
        revision = backend.commit(Transaction((), keys), timeout=T).revision
    backend.watch(WatchRequest(prefix="", after=revision), sink=sink, timeout=T)
    assert len(backend.revoke(leases, timeout=T)) == 1200
    sink.wait(lambda r: len(r.entries) == 5000)
    assert {entry.revision for entry in sink.entries} == {backend.get("0", timeout=T).revision}
    assert backend.list(ListRequest(prefix="", limit=1), timeout=T).items == ()


def test_leases_that_end_together_are_ended_bit_by_bit(open_redis, redis_server: RedisServer, fresh, recorder):
    backend, sink = open_redis(fresh), recorder()
    backend.watch(WatchRequest(prefix=""), sink=sink, timeout=T)
    leases = [backend.grant(60.0, timeout=T).lease_id for _ in range(250)]
    puts = tuple(Put(f"{number}", b"", lease) for number, lease in enumerate(leases))
    backend.commit(Transaction((), puts), timeout=T)
    now = int(time.time() * 1000)
    ends = [part for lease in leases for part in (now, lease)]
    redis_server.ask("ZADD", f"{{{fresh.partition('store=')[2]}}}:expiry", "XX", *ends)
    sink.wait(lambda r: len(r.entries) == 500, 10)
    assert backend.refresh(leases, timeout=T) == {}


@pytest.mark.faults
def test_leases_live_through_a_restart_and_end_through_a_long_one(redis_node: RedisServer):
    lost = threading.Event()
    with tenure.connect(redis_node.url, timeout=10) as store:
        kept = store.lease(20)
        store.put("kept", b"", lease=kept)
        short = store.lease(1, on_lost=lambda lease: lost.set())
        store.put("short", b"", lease=short)
        redis_node.kill()
        assert lost.wait(60.0), "told by its own clock, with the server down"
        redis_node.start()
        until(lambda: store.get("short") is None, 60.0, "the ended lease's key is gone")
        assert store.get("kept") is not None
        kept.refresh()
        assert (kept.state, short.state) == (LeaseState.ALIVE, LeaseState.LOST)


@pytest.mark.faults
def test_a_registration_is_back_after_a_restart_without_persistence(redis_forgetful: RedisServer):
    heartbeat = 3.0
    config = RegistryConfig(name="forgetful", heartbeat=heartbeat)
    with (
        tenure.connect(redis_forgetful.url) as store,
        tenure.connect(redis_forgetful.url) as other,
        Registry(store, config, Instance(service_name="web", port=80)) as registry,
        Registry(other, config) as watcher,
    ):
        watcher.wait_for("web", 1, 10)
        key = store.list("").keys
        redis_forgetful.restart()
        restarted = time.monotonic()
        until(lambda: _keys(other) == key, heartbeat + 5, "the registration is in the store again")
        assert time.monotonic() - restarted < heartbeat + 1
        watcher.wait_for("web", 1, 10)
        assert registry.current() is not None


def _keys(store: tenure.Store) -> tuple[str, ...]:
    try:
        return store.list("").keys
    except Unavailable:
        return ()
