"""Transactions that meet what they weren't planned for, lose their answers, or are too large."""

from __future__ import annotations

import threading

import pytest

from tenure.errors import Conflict, LeaseNotFound, LimitExceeded, OutcomeUnknown, TenureError
from tenure.spi import (
    Backend,
    CommitResult,
    Delete,
    KeyAbsent,
    KeyExists,
    ListRequest,
    Operation,
    Precondition,
    Put,
    RevisionEquals,
    Transaction,
)
from tenure_consul import reads, transactions
from tenure_testkit.servers.consul import ConsulServer

T = 5.0
NO_LEASE = "00000000-0000-0000-0000-000000000000"


def commit(backend: Backend, *operations: Operation, preconditions: tuple[Precondition, ...] = ()) -> CommitResult:
    return backend.commit(Transaction(preconditions, operations), timeout=T)


@pytest.fixture
def backend(consul_url, opened):
    return opened(consul_url)


def test_leases_come_and_go_and_the_key_lives_on(backend, prefix):
    key = prefix + "key"
    first, second = (backend.grant(10, timeout=T).lease_id for _ in range(2))
    created = commit(backend, Put(key, b"0")).revision
    for number, lease in enumerate([first, second, second, None, None, first, None, second]):
        revision = commit(backend, Put(key, b"%d" % number, lease)).revision
        item = backend.get(key, timeout=T).item
        assert item == (key, b"%d" % number, created, revision, lease)
    backend.revoke([first], timeout=T)
    assert backend.get(key, timeout=T).item is not None
    backend.revoke([second], timeout=T)
    assert backend.get(key, timeout=T).item is None


def test_a_key_that_is_held_can_be_deleted_and_checked(backend, prefix):
    lease = backend.grant(10, timeout=T).lease_id
    revision = commit(backend, Put(prefix + "a", b"", lease), Put(prefix + "b", b"", lease)).revision
    preconditions = (KeyExists(prefix + "a"), RevisionEquals(prefix + "b", revision), KeyAbsent(prefix + "c"))
    done = commit(
        backend, Delete(prefix + "a"), Delete(prefix + "b"), Delete(prefix + "c"), preconditions=preconditions
    )
    assert done.deleted == 2
    assert done.revision > revision
    assert backend.list(ListRequest(prefix=prefix), timeout=T).items == ()
    backend.revoke([lease], timeout=T)


def test_what_changes_nothing_makes_no_revision(backend, prefix):
    commit(backend, Put(prefix + "there", b""))
    for operations, preconditions in (
        ((Delete(prefix + "a"), Delete(prefix + "b")), ()),
        ((), (KeyExists(prefix + "there"), KeyAbsent(prefix + "a"))),
        ((), ()),
    ):
        before = reads.present(backend._pool, backend._layout, backend._revisions, timeout=T)
        assert commit(backend, *operations, preconditions=preconditions).deleted == 0
        after = reads.present(backend._pool, backend._layout, backend._revisions, timeout=T)
        assert before == after


@pytest.mark.parametrize("operations", [(), (Delete,)])
def test_what_changes_nothing_is_told_with_a_revision_it_saw(backend, prefix, monkeypatch, operations):
    key, sent, put = prefix + "key", transactions._send, list[int]()

    def put_behind_it(*arguments, **more):
        answer = sent(*arguments, **more)
        monkeypatch.setattr(transactions, "_send", sent)
        put.append(commit(backend, Put(key, b"")).revision)
        return answer

    monkeypatch.setattr(transactions, "_send", put_behind_it)
    told = commit(backend, *(each(key) for each in operations), preconditions=(KeyAbsent(key),))
    assert told.deleted == 0
    assert told.revision < put[0]


def test_a_delete_alone_has_a_revision_and_leaves_nothing_to_see(backend, prefix):
    put = commit(backend, Put(prefix + "key", b"")).revision
    deleted = commit(backend, Delete(prefix + "key")).revision
    assert deleted > put
    assert backend.get(prefix + "key", timeout=T).revision >= deleted
    everything = backend.list(ListRequest(prefix=""), timeout=T).items
    assert not [item for item in everything if "revision" in item.key]


@pytest.mark.parametrize("lease", [NO_LEASE, "1", "", "x" * 36])
def test_a_lease_that_is_none(backend, prefix, lease):
    with pytest.raises(LeaseNotFound):
        commit(backend, Put(prefix + "other", b""), Put(prefix + "key", b"", lease))
    assert backend.list(ListRequest(prefix=prefix), timeout=T).items == ()


def test_preconditions_that_can_never_hold(backend, prefix):
    for precondition in (
        RevisionEquals(prefix + "key", 0),
        RevisionEquals(prefix + "key", -1),
        RevisionEquals(prefix + "key", 1 << 70),
    ):
        with pytest.raises(Conflict):
            commit(backend, Put(prefix + "key", b""), preconditions=(precondition,))


def test_others_that_change_what_was_planned_for_make_no_conflict(backend, consul_url, opened, prefix):
    """Two clients attach, detach and delete the same key; without preconditions every call is done, in one order."""
    key = prefix + "key"
    clients = [opened(consul_url) for _ in range(4)]
    leases = [client.grant(30, timeout=T).lease_id for client in clients]
    revisions: list[int] = []
    errors: list[TenureError] = []

    def run(number: int) -> None:
        client, lease = clients[number], leases[number]
        try:
            for turn in range(25):
                operation = [Put(key, b"", lease), Put(key, b""), Delete(key)][(turn + number) % 3]
                done = client.commit(Transaction((), (operation,)), timeout=30)
                if isinstance(operation, Put) or done.deleted:
                    revisions.append(done.revision)
        except TenureError as exc:
            errors.append(exc)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert len(set(revisions)) == len(revisions) > 60
    for client, lease in zip(clients, leases, strict=True):
        client.revoke([lease], timeout=T)


def test_the_largest_transactions_that_are_declared(backend, prefix):
    limits = backend.capabilities
    keys = [f"{prefix}{number:02}" for number in range(limits.max_transaction_operations)]
    lease = backend.grant(10, timeout=T).lease_id
    other = backend.grant(10, timeout=T).lease_id
    commit(backend, *[Put(key, b"", lease) for key in keys])
    commit(backend, *[Put(key, b"", other) for key in keys])
    assert commit(backend, *[Delete(key) for key in keys]).deleted == len(keys)
    value = b"v" * limits.max_value_bytes
    commit(backend, Put(prefix + "k" * 1000, value))
    assert backend.get(prefix + "k" * 1000, timeout=T).item.value == value
    share = limits.max_transaction_bytes // len(keys) - len(keys[0])
    commit(backend, *[Put(key, b"v" * share) for key in keys])
    commit(backend, *[Delete(key) for key in keys], preconditions=())
    backend.revoke([lease, other], timeout=T)


def test_what_is_too_large_is_refused_before_it_is_sent(backend, prefix):
    puts = [Put(f"{prefix}{number}", b"v" * 100_000) for number in range(8)]
    with pytest.raises(LimitExceeded, match="request of"):
        commit(backend, *puts)
    with pytest.raises(LimitExceeded, match="64"):
        commit(backend, *[Put(f"{prefix}{number}", b"") for number in range(40)])
    assert backend.list(ListRequest(prefix=prefix), timeout=T).items == ()


def test_an_agent_that_takes_less_says_so_beforehand(opened):
    with ConsulServer(settings=["limits { txn_max_req_len = 200000, kv_max_value_size = 100000 }"]) as server:
        limits = opened(server.url).capabilities
        assert limits.max_value_bytes < 100_000
        backend = opened(server.url)
        commit(backend, Put("key", b"v" * limits.max_value_bytes))
        with pytest.raises(LimitExceeded):
            commit(backend, Put("key", b"v" * 200_000))


def test_an_answer_lost_is_unknown_and_the_write_applied_once(middle, opened):
    backend = opened(f"consul://127.0.0.1:{middle.port}")
    first = commit(backend, Put("counter", b"1")).revision
    middle.lose_answer_to(b"PUT /v1/txn")
    with pytest.raises(OutcomeUnknown):
        commit(backend, Put("counter", b"2"), preconditions=(RevisionEquals("counter", first),))
    assert (middle.asked, middle.lost) == (1, 1)
    item = backend.get("counter", timeout=T).item
    assert item.value == b"2"
    assert commit(backend, Put("counter", b"3"), preconditions=(RevisionEquals("counter", item.mod_revision),))


def test_an_idle_connection_that_was_cut_costs_no_write(middle, opened):
    backend = opened(f"consul://127.0.0.1:{middle.port}")
    for number in range(20):
        assert commit(backend, Put("key", b"%d" % number)).revision
        assert middle.cut()


def test_the_plan_is_never_larger_than_consul_takes():
    assert transactions.MOST * 2 + 1 <= transactions.OPERATIONS
