"""Leases by the server's clock, and that a dead one stays dead."""

from __future__ import annotations

import itertools
import threading
import time

import pytest

import tenure
from tenure import Conflict, LeaseState, Unavailable
from tenure.registry import Instance, Registry, RegistryConfig
from tenure.spi import Delete, KeyAbsent, ListRequest, Put, Transaction, WatchRequest
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
    """More than one look ends: the next ones follow at once."""
    backend, sink = open_redis(fresh), recorder()
    backend.watch(WatchRequest(prefix=""), sink=sink, timeout=T)
    leases = [backend.grant(60.0, timeout=T).lease_id for _ in range(1100)]
    for start in (0, 550):
        puts = tuple(Put(f"{n}", b"", leases[n]) for n in range(start, start + 550))
        backend.commit(Transaction((), puts), timeout=T)
    _shift(redis_server, fresh, -70.0)
    sink.wait(lambda r: len(r.entries) == 2200, 60.0)
    assert backend.refresh(leases, timeout=T) == {}


def test_however_many_leases_ended_together_none_of_their_keys_is_shown(open_redis, redis_server, fresh, put):
    """More than one script ends, and nobody has looked since: each kind of call is the first."""
    count = 1200

    def ended():
        """A store whose leases have all ended, and a backend that has just opened it."""
        name = f"{fresh}{next(numbers)}"
        backend = open_redis(name)
        lease_ids = [backend.grant(600.0, timeout=T).lease_id for _ in range(count)]
        for start in range(0, count, 600):
            puts = tuple(Put(f"e/{n:04d}", b"", lease_ids[n]) for n in range(start, start + 600))
            backend.commit(Transaction((), puts), timeout=T)
        put(backend, "e/plain")
        _shift(redis_server, name, -700.0)
        return open_redis(name)

    numbers = itertools.count()
    last = [f"e/{n:04d}" for n in (count - 1, count - 2)]
    assert ended().get(last[0], timeout=T).item is None
    backend = ended()
    assert backend.get_many([*last, "e/plain"], timeout=T).items[:2] == (None, None)
    assert backend.get(last[0], timeout=T).item is None, "a plain read after a script that left some"
    assert [item.key for item in ended().list(ListRequest(prefix=""), timeout=T).items] == ["e/plain"]
    assert [item.key for item in ended().list(ListRequest(prefix="e/", limit=3), timeout=T).items] == ["e/plain"]
    backend = ended()
    backend.commit(Transaction((KeyAbsent(last[0]),), (Put(last[0], b"mine"), Delete(last[1]))), timeout=T)
    assert backend.get(last[0], timeout=T).item.value == b"mine"
    assert ended().delete_prefix("e/", timeout=T).deleted == 1
    assert ended().leases(None, timeout=T) == ()


def test_a_step_of_the_running_servers_clock_ends_leases_by_as_much_earlier(open_redis, redis_server, fresh, put):
    """The declared limit. A step of the clock is the same as all deadlines moved by as much, which can be done here."""
    backend = open_redis(fresh)
    lease = backend.grant(30.0, timeout=T).lease_id
    put(backend, "key", b"", lease)
    _shift(redis_server, fresh, -20.0)
    assert 9.0 < backend.leases(lease, timeout=T)[0].remaining <= 10.1
    _shift(redis_server, fresh, -20.0)
    assert open_redis(fresh).get("key", timeout=T).item is None


def _shift(server: RedisServer, url: str, seconds: float) -> None:
    """Move the deadlines of all leases, as a step of the server's clock in the other direction does."""
    move = """
        local all = redis.call('ZRANGE', KEYS[1], 0, -1)
        for _, lease in ipairs(all) do redis.call('ZINCRBY', KEYS[1], ARGV[1], lease) end
    """
    store = url.partition("store=")[2] or "leasehold"
    server.ask("EVAL", move, 1, f"{{{store}}}:expiry", round(seconds * 1000))


@pytest.mark.faults
def test_a_server_whose_clock_is_ahead_gives_no_held_lease_away(redis_node: RedisServer):
    """Another process answers after a failover or restart. Its clock is half a minute ahead of the one before."""
    with tenure.connect(redis_node.url, timeout=30) as store, tenure.connect(redis_node.url, timeout=30) as rival:
        lost = threading.Event()
        lease = store.lease(20, on_lost=lambda lease: lost.set())
        store.put_if_absent("lock", b"holder", lease=lease)
        _shift(redis_node, redis_node.url, -30.0)
        redis_node.kill()
        redis_node.start()
        with pytest.raises(Conflict):
            rival.put_if_absent("lock", b"rival")
        lease.refresh()
        assert lease.state is LeaseState.ALIVE
        assert not lost.is_set()


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
