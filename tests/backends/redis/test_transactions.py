"""Commits: at most once, all or nothing, also in a full memory and with answers lost on the way."""

from __future__ import annotations

import threading
import time

import pytest

import tenure
from tenure.errors import (
    Conflict,
    LeaseNotFound,
    LimitExceeded,
    OutcomeUnknown,
    StoreCorrupted,
    StoreFull,
    Unavailable,
)
from tenure.plugin_kit import Deadline
from tenure.spi import Delete, KeyAbsent, KeyExists, ListRequest, Put, RevisionEquals, Transaction
from tenure_testkit.servers.redis import RedisServer
from tenure_testkit.waiting import until

T = 5.0


def test_a_thousand_operations_and_large_values(open_redis, fresh):
    backend = open_redis(fresh)
    limits = backend.capabilities
    many = tuple(Put(f"{n:04}", b"v") for n in range(limits.max_transaction_operations))
    revision = backend.commit(Transaction((), many), timeout=T).revision
    assert {i.mod_revision for i in backend.list(ListRequest(prefix=""), timeout=T).items} == {revision}
    gone = backend.commit(Transaction((), tuple(Delete(one.key) for one in many)), timeout=T)
    assert gone.deleted == len(many)
    size = limits.max_transaction_bytes // 4 - 100
    large = tuple(Put(f"large{n}", bytes([n]) * min(size, limits.max_value_bytes)) for n in range(4))
    backend.commit(Transaction((), large), timeout=T)
    for one in large:
        assert backend.get(one.key, timeout=T).item.value == one.value


def test_an_answer_that_is_lost_is_asked_for_again(open_redis, redis_server: RedisServer, fresh, relay):
    """The commit's second copy is told what the first one did: never applied twice, never a false conflict."""
    between = relay(redis_server.port)
    through = open_redis(fresh.replace(str(redis_server.port), str(between.port)))
    start = through.commit(Transaction((), (Put("n", b"0"),)), timeout=T).revision
    for count in range(1, 31):
        between.lose_answers(2)
        preconditions = (RevisionEquals("n", start + count - 1),)
        committed = through.commit(Transaction(preconditions, (Put("n", b"%d" % count),)), timeout=T)
        assert committed.revision == start + count
    assert between.lost == 60
    between.lose_answers(1)
    with pytest.raises(Conflict):
        through.commit(Transaction((KeyAbsent("n"),), (Put("n", b"never"),)), timeout=T)
    assert through.get("n", timeout=T).item.value == b"30"


def test_a_copy_that_arrives_after_a_refusal_is_refused_too(open_redis, fresh):
    """A precondition that failed for the copy that was answered must not hold for the other one, later."""
    backend = open_redis(fresh)
    pool = backend._pool
    sent: list[bytes] = []
    original = pool._send_commit

    def spy(link, request, head, args, deadline):
        sent.append(request)
        return original(link, request, head, args, deadline)

    pool._send_commit = spy
    with pytest.raises(Conflict):
        backend.commit(Transaction((KeyExists("later"),), (Put("applied", b""),)), timeout=T)
    pool._send_commit = original
    link = pool.locator.open(Deadline(T))
    other = open_redis(fresh)
    other.commit(Transaction((), (Put("later", b""),)), timeout=T)
    assert link.call_packed(sent[0], Deadline(T)).startswith(b"conflict")
    backend.commit(Transaction((), (Put("next", b""),)), timeout=T)
    assert link.call_packed(sent[0], Deadline(T)) == b"stale"
    link.close()
    assert backend.get("applied", timeout=T).item is None


def test_scripts_that_the_server_forgot_are_sent_again(open_redis, redis_node: RedisServer, put):
    backend = open_redis(redis_node.url)
    put(backend, "a")
    redis_node.ask("SCRIPT", "FLUSH")
    assert put(backend, "b") > 0
    assert len(backend.list(ListRequest(prefix=""), timeout=T).items) == 2


@pytest.mark.faults
def test_a_frozen_server_means_unknown_and_at_most_once(open_redis, redis_node: RedisServer, put):
    backend = open_redis(redis_node.url)
    revision = put(backend, "key", b"old")
    redis_node.pause()
    started = time.monotonic()
    with pytest.raises(OutcomeUnknown, match="may have been applied"):
        backend.commit(Transaction((), (Put("key", b"late"),)), timeout=0.5)
    assert time.monotonic() - started < 1.5
    with pytest.raises(Unavailable):
        backend.get("key", timeout=0.3)
    redis_node.resume()
    redis_node.wait_ready()
    found = until(lambda: backend.get("key", timeout=T).item, 60.0, "an answer")
    assert found.mod_revision in (revision, revision + 1)


@pytest.mark.faults
def test_a_server_that_is_down_is_unavailable_at_once(open_redis, redis_node: RedisServer, put):
    """No commit ever begins, not even the first one, whose connection was closed while it was idle."""
    backend = open_redis(redis_node.url)
    put(backend, "key")
    redis_node.kill()
    started = time.monotonic()
    for _ in range(2):
        with pytest.raises(Unavailable, match="nothing listens"):
            backend.commit(Transaction((), (Put("key", b"new"),)), timeout=T)
    with pytest.raises(Unavailable):
        backend.get("key", timeout=T)
    assert time.monotonic() - started < 1.0
    redis_node.start()
    assert put(backend, "key", b"after") > 0


@pytest.mark.faults
def test_a_commit_under_way_survives_a_restart(open_redis, redis_node: RedisServer, put):
    backend = open_redis(redis_node.url)
    start = put(backend, "n", b"0")
    redis_node.ask("CLIENT", "PAUSE", "60000", "WRITE")
    answers: list[int] = []
    thread = threading.Thread(
        target=lambda: answers.append(
            backend.commit(Transaction((RevisionEquals("n", start),), (Put("n", b"1"),)), timeout=20).revision
        )
    )
    thread.start()
    until(lambda: redis_node.info("clients")["blocked_clients"] == 1, 5, "the server has the commit")
    redis_node.kill()
    redis_node.start()
    thread.join(60.0)
    assert answers == [start + 1]
    assert backend.get("n", timeout=T).item.value == b"1"


def test_a_full_memory_refuses_puts_and_lets_deletes_and_leases_through(open_redis, redis_node: RedisServer, put):
    backend = open_redis(redis_node.url)
    put(backend, "there", b"x" * 1000)
    lease = backend.grant(30.0, timeout=T).lease_id
    put(backend, "held", b"", lease)
    before = backend.get("there", timeout=T)
    redis_node.ask("CONFIG", "SET", "maxmemory", "1mb")
    with pytest.raises(StoreFull, match="maxmemory"):
        backend.commit(Transaction((), (Put("new", b"x"), Put("newer", b"x"), Delete("there"))), timeout=T)
    with pytest.raises(StoreFull):
        backend.grant(30.0, timeout=T)
    assert backend.get("there", timeout=T) == before
    assert backend.get("new", timeout=T).item is None
    assert backend.refresh([lease], timeout=T) == {lease: 30.0}
    assert backend.commit(Transaction((), (Delete("there"),)), timeout=T).deleted == 1
    assert backend.revoke([lease], timeout=T) == {lease}
    assert backend.list(ListRequest(prefix=""), timeout=T).items == ()
    redis_node.ask("CONFIG", "SET", "maxmemory", "0")
    put(backend, "new")


def test_a_lease_that_is_not_alive_refuses_the_transaction(open_redis, fresh):
    backend = open_redis(fresh)
    ended = backend.grant(0.5, timeout=T).lease_id
    backend.revoke([ended], timeout=T)
    for lease in (ended, "0123456789abcdef", "no such thing"):
        with pytest.raises(LeaseNotFound):
            backend.commit(Transaction((), (Put("a", b""), Put("b", b"", lease))), timeout=T)
    assert backend.get("a", timeout=T).item is None


def test_what_is_not_ours_is_told(open_redis, redis_node: RedisServer):
    redis_node.ask("SET", "{leasehold}:data", "something else")
    with pytest.raises(StoreCorrupted, match="isn't Tenure's"):
        open_redis(redis_node.url).get("key", timeout=T)
    redis_node.ask("FLUSHALL")
    backend = open_redis(redis_node.url)
    backend.get("key", timeout=T)
    redis_node.ask("HSET", "{leasehold}:data", "key", "short")
    with pytest.raises(StoreCorrupted, match="'key'"):
        backend.get("key", timeout=T)


def test_the_servers_own_limit_is_declared(redis_node: RedisServer):
    redis_node.ask("CONFIG", "SET", "proto-max-bulk-len", "1mb")
    with tenure.connect(redis_node.url) as store:
        assert store.capabilities.max_value_bytes < 1 << 20
        store.put("key", b"x" * store.capabilities.max_value_bytes)
        with pytest.raises(LimitExceeded):
            store.put("key", b"x" * (1 << 20))
