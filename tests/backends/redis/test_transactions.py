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
from tenure.spi import (
    Changes,
    Delete,
    KeyAbsent,
    KeyExists,
    ListRequest,
    Put,
    RevisionEquals,
    Transaction,
    WatchRequest,
)
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
    revisions = [start]
    for count in range(1, 31):
        between.lose_answers(2)
        preconditions = (RevisionEquals("n", revisions[-1]),)
        committed = through.commit(Transaction(preconditions, (Put("n", b"%d" % count),)), timeout=T)
        revisions.append(committed.revision)
    assert between.lost == 60
    assert written(redis_server, fresh) == revisions
    between.lose_answers(2)
    assert through.delete_prefix("n", timeout=T).deleted == 1
    assert len(written(redis_server, fresh)) == len(revisions) + 1
    through.commit(Transaction((), (Put("n", b"30"),)), timeout=T)
    between.lose_answers(1)
    with pytest.raises(Conflict):
        through.commit(Transaction((KeyAbsent("n"),), (Put("n", b"never"),)), timeout=T)
    assert through.get("n", timeout=T).item.value == b"30"


def written(server: RedisServer, url: str) -> list[int]:
    """The revisions in the log, without the one that the store began at."""
    store = url.partition("store=")[2]
    return [int(name.partition(b"-")[0]) for name, _ in server.ask("XRANGE", f"{{{store}}}:log", "-", "+")][1:]


def test_a_copy_that_arrives_after_a_refusal_is_refused_too(open_redis, fresh):
    """A precondition that failed for the copy that was answered must not hold for the other one, later."""
    backend = open_redis(fresh)
    pool = backend._pool
    sent: list[tuple[object, ...]] = []
    original = pool._call

    def spy(link, script, command, deadline):
        sent.append(("EVALSHA", script.sha, *command))
        return original(link, script, command, deadline)

    pool._call = spy
    with pytest.raises(Conflict):
        backend.commit(Transaction((KeyExists("later"),), (Put("applied", b""),)), timeout=T)
    pool._call = original
    link = pool.locator.open(Deadline(T))
    other = open_redis(fresh)
    other.commit(Transaction((), (Put("later", b""),)), timeout=T)
    assert link.call(*sent[0], deadline=Deadline(T)).startswith(b"conflict")
    backend.commit(Transaction((), (Put("next", b""),)), timeout=T)
    assert link.call(*sent[0], deadline=Deadline(T)) == b"stale"
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
    until(lambda: backend.get("key", timeout=T).item, 60.0, "an answer")
    revisions = [int(name.partition(b"-")[0]) for name, _ in redis_node.ask("XRANGE", "{leasehold}:log", "-", "+")]
    assert len(revisions) - revisions.index(revision) <= 2


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
    found = backend.get("n", timeout=T).item
    assert (found.value, found.create_revision, [found.mod_revision]) == (b"1", start, answers)


def test_a_full_memory_refuses_puts_and_lets_deletes_and_leases_through(open_redis, redis_node: RedisServer, put):
    backend = open_redis(redis_node.url)
    put(backend, "there", b"x" * 1000)
    lease = backend.grant(30.0, timeout=T).lease_id
    put(backend, "held", b"", lease)
    for number in range(3):
        put(backend, f"prefix/{number}")
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
    assert backend.delete_prefix("prefix/", timeout=T).deleted == 3
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


def test_a_record_that_another_program_broke_is_put_right_by_a_put_or_a_delete(open_redis, redis_node: RedisServer):
    backend = open_redis(redis_node.url)
    for key in ("a", "b", "c"):
        backend.commit(Transaction((), (Put(key, b"1"),)), timeout=T)
        redis_node.ask("HSET", "{leasehold}:data", key, "x" if key != "c" else "")
    for keys_only in (False, True):
        with pytest.raises(StoreCorrupted, match="put or delete the key"):
            backend.list(ListRequest(prefix="", keys_only=keys_only), timeout=T)
    with pytest.raises(Conflict):
        backend.commit(Transaction((RevisionEquals("a", 1),), (Put("a", b"2"),)), timeout=T)
    done = backend.commit(Transaction((), (Put("a", b"2"), Delete("b"), Put("c", b""))), timeout=T)
    items = backend.list(ListRequest(prefix=""), timeout=T).items
    assert [(item.key, item.value, item.create_revision) for item in items] == [
        ("a", b"2", done.revision),
        ("c", b"", done.revision),
    ]


def test_the_servers_own_limit_is_declared(redis_node: RedisServer):
    redis_node.ask("CONFIG", "SET", "proto-max-bulk-len", "1mb")
    with tenure.connect(redis_node.url) as store:
        assert store.capabilities.max_value_bytes < 1 << 20
        store.put("key", b"x" * store.capabilities.max_value_bytes)
        with pytest.raises(LimitExceeded):
            store.put("key", b"x" * (1 << 20))


def test_a_prefix_is_deleted_in_bounded_transactions(open_redis, fresh, recorder, monkeypatch):
    monkeypatch.setattr("tenure_redis.transactions._DELETED_KEYS", 7)
    backend, sink = open_redis(fresh), recorder()
    lease = backend.grant(60.0, timeout=T).lease_id
    names = [f"x/{number:02}" for number in range(16)]
    puts = tuple(Put(name, b"value", lease) for name in [*names, "x", "x0", "y"])
    backend.commit(Transaction((), puts), timeout=T)
    backend.watch(WatchRequest(prefix=""), sink=sink, timeout=T)
    done = [backend.delete_prefix("x/", timeout=T) for _ in range(4)]
    assert [(one.deleted, one.has_more) for one in done] == [(7, True), (7, True), (2, False), (0, False)]
    assert done[-1].revision == done[-2].revision == backend.get("x", timeout=T).revision
    assert [item.key for item in backend.list(ListRequest(prefix=""), timeout=T).items] == ["x", "x0", "y"]
    assert backend.leases(lease, timeout=T)[0].keys == ("x", "x0", "y")
    sink.wait(lambda r: r.last_revision >= done[-1].revision)
    told = [item for item in sink.items if isinstance(item, Changes)]
    assert [item.revision for item in told] == [one.revision for one in done[:3]]
    assert [entry.key for item in told for entry in item.entries] == names
    assert backend.delete_prefix("", timeout=T).deleted == 3
    assert backend.leases(lease, timeout=T)[0].keys == ()


def test_a_prefix_of_large_values_on_leases_is_deleted_bit_by_bit(open_redis, fresh):
    backend = open_redis(fresh)
    lease = backend.grant(60.0, timeout=T).lease_id
    for number in range(120):
        backend.commit(Transaction((), (Put(f"{number:03}", bytes(100_000), lease),)), timeout=T)
    done = []
    while not done or done[-1].has_more:
        done.append(backend.delete_prefix("", timeout=T))
    assert [one.deleted for one in done] == [50, 50, 20]
    assert backend.leases(lease, timeout=T)[0].keys == ()


def test_many_keys_at_one_revision_and_lists_without_values(open_redis, fresh):
    backend = open_redis(fresh)
    names = [f"{number:04}" for number in range(backend.capabilities.max_transaction_operations)]
    revision = backend.commit(Transaction((), tuple(Put(name, name.encode()) for name in names)), timeout=T).revision
    names[0] = "missing"
    for leases_may_have_ended in (False, True):
        if leases_may_have_ended:
            lease = backend.grant(60.0, timeout=T).lease_id
            revision = backend.commit(Transaction((), (Put("0001", b"0001", lease),)), timeout=T).revision
            backend._pool.reaped = 0.0
        read = backend.get_many(list(reversed(names)), timeout=T)
        assert read.revision == revision
        assert [item and item.value for item in reversed(read.items)] == [None, *(name.encode() for name in names[1:])]
    for limit in (None, 1500):
        page = backend.list(ListRequest(prefix="000", keys_only=True, limit=limit), timeout=T)
        whole = backend.list(ListRequest(prefix="000"), timeout=T)
        assert page.items == tuple(item._replace(value=b"") for item in whole.items)
