"""Locks, semaphores and elections on every store: exclusion, order, loss, and nothing left behind."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from tenure import Election, Held, Lock, ReadWriteLock, Semaphore, Session, Store
from tenure.errors import AlreadyHeld, Conflict, InvalidArgument, LeaseLost, WaitTimeout
from tenure_testkit.waiting import PATIENCE, until

Opener = Callable[..., Store]


@pytest.fixture
def store(store_url: str, opened: Opener) -> Store:
    return opened(store_url, timeout=PATIENCE)


def _until_more(store: Store, keys: int) -> None:
    until(lambda: len(store.list().keys) > keys)


def _campaign(candidate: Election, terms: list[Held]) -> None:
    terms.append(candidate.campaign(timeout=PATIENCE))


@pytest.mark.parametrize("fair", [True, False])
def test_many_cycles_leave_no_key(store: Store, fair: bool) -> None:
    lock = Lock(store, "l", fair=fair)
    tokens = []
    for _ in range(30):
        with lock.hold(timeout=PATIENCE) as held:
            tokens.append(held.token)
    assert tokens == sorted(set(tokens))
    assert not store.list().keys


def test_one_of_several_holds_in_the_order_of_asking(
    store_url: str, opened: Opener, store: Store, short: float
) -> None:
    entered: list[int] = []
    inside = threading.Semaphore(1)

    def work(number: int) -> None:
        with Lock(other, "l").hold(timeout=PATIENCE):
            assert inside.acquire(blocking=False), "two hold the lock"
            entered.append(number)
            inside.release()

    other = opened(store_url, timeout=PATIENCE)
    first = Lock(store, "l").acquire(timeout=PATIENCE)
    threads = []
    for number in range(4):
        waiting = len(store.list().keys)
        threads.append(threading.Thread(target=work, args=(number,)))
        threads[-1].start()
        _until_more(store, waiting)
    assert Lock(store, "l").try_acquire() is None
    with pytest.raises(WaitTimeout):
        Lock(store, "l").acquire(timeout=short)
    assert first.release()
    for thread in threads:
        thread.join(PATIENCE)
    assert entered == [0, 1, 2, 3]
    until(lambda: not store.list().keys)


@pytest.mark.parametrize("fair", [True, False])
def test_what_a_former_holder_writes_is_refused(store_url: str, opened: Opener, store: Store, fair: bool) -> None:
    session = Session.open(store, ttl=30)
    told = threading.Event()
    held = Lock(store, "l", session=session, fair=fair).acquire(timeout=PATIENCE)
    held.on_lost(told.set)
    held.guard(store.transaction().put("resource", b"first")).commit()
    late = held.guard(store.transaction().put("resource", b"late"))
    opened(store_url, timeout=PATIENCE).revoke_lease(session.lease.id)  # as if it had expired
    with Lock(store, "l", fair=fair).hold(timeout=PATIENCE) as successor:
        assert successor.token > held.token
        successor.guard(store.transaction().put("resource", b"second")).commit()
        with pytest.raises(Conflict):
            late.commit()
    with pytest.raises(LeaseLost):
        session.lease.refresh(timeout=PATIENCE)
    assert held.lost
    assert told.wait(PATIENCE)
    assert held.wait_until_lost(PATIENCE)
    with pytest.raises(LeaseLost):
        held.check()
    with pytest.raises(LeaseLost):
        held.guard(store.transaction())
    assert not held.release()
    value = store.get("resource")
    assert value is not None
    assert value.value == b"second"


def test_a_holder_learns_that_its_key_was_removed(store_url: str, opened: Opener, store: Store) -> None:
    session = Session.open(store, ttl=30)
    lost, beside = (Lock(store, name, session=session).acquire(timeout=PATIENCE) for name in ("lost", "beside"))
    told = threading.Event()
    lost.on_lost(told.set)
    opened(store_url, timeout=PATIENCE).delete(lost.key)
    with Lock(store, "lost").hold(timeout=PATIENCE):
        session.lease.refresh(timeout=PATIENCE)
        assert told.wait(PATIENCE)
    assert lost.lost
    assert beside.release()


def test_losing_the_lock_in_the_block_is_told_at_its_end(store: Store) -> None:
    session = Session.open(store, ttl=30)
    with pytest.raises(LeaseLost, match="before the end of the block"), Lock(store, "l", session=session).hold():
        session.close()
    with pytest.raises(ZeroDivisionError), Lock(store, "l").hold():
        raise ZeroDivisionError


def test_the_same_object_twice(store: Store) -> None:
    lock = Lock(store, "l")
    with lock.hold() as held:
        assert lock.held is held
        with pytest.raises(AlreadyHeld, match="'l'"):
            lock.acquire()
    counting = Lock(store, "l", reentrant=True)
    with counting.hold() as outer, counting.hold() as inner:
        assert inner is outer
    assert counting.held is None
    assert not store.list().keys


def test_fair_and_unfair_participants_are_told_apart(store: Store) -> None:
    with Lock(store, "l").hold(), pytest.raises(InvalidArgument, match="fair=True"):
        Lock(store, "l", fair=False).acquire(timeout=PATIENCE)
    until(lambda: not store.list().keys)
    with Lock(store, "l", fair=False).hold(), pytest.raises(InvalidArgument, match="fair=False"):
        Lock(store, "l").acquire(timeout=PATIENCE)
    until(lambda: not store.list().keys)


def test_readers_together_writers_alone(store: Store) -> None:
    one, two, three = (ReadWriteLock(store, "rw") for _ in range(3))
    with one.read.hold(), two.read.hold():
        assert three.write.try_acquire() is None
    with one.write.hold():
        assert two.read.try_acquire() is None
        assert three.write.try_acquire() is None
    assert not store.list().keys


def test_a_writer_becomes_a_reader_and_a_reader_no_writer(store: Store) -> None:
    one, two, three = (ReadWriteLock(store, "rw") for _ in range(3))
    with pytest.raises(LeaseLost, match="doesn't hold the other side"):
        one.downgrade()
    written = one.write.acquire(timeout=PATIENCE)
    with pytest.raises(AlreadyHeld, match="release that first"):
        one.read.acquire(timeout=PATIENCE)
    waiting = threading.Thread(target=lambda: two.read.acquire(timeout=PATIENCE))
    waiting.start()
    _until_more(store, 1)
    read = one.downgrade(timeout=PATIENCE)
    waiting.join(PATIENCE)
    assert two.read.held is not None
    assert not written.held
    assert read.token > written.token
    assert one.write.held is None
    read.guard(store.transaction().put("resource", b"x")).commit()
    with pytest.raises(AlreadyHeld, match="write lock 'rw': this object has or acquires the read lock"):
        one.write.acquire(timeout=PATIENCE)
    assert three.write.try_acquire() is None
    assert read.release()
    assert two.read.held.release()
    store.delete("resource")
    assert not store.list().keys


def test_a_semaphore_keeps_its_limit(store: Store) -> None:
    one, two, three = (Semaphore(store, "s", limit=2) for _ in range(3))
    with one.hold(), two.hold():
        assert three.try_acquire() is None
        one.resize(3)
        with three.hold(timeout=PATIENCE):
            pass
    store.delete_prefix("", allow_empty_prefix=True)
    with one.hold(), pytest.raises(InvalidArgument, match="limit=5"):
        Semaphore(store, "s", limit=5).acquire(timeout=PATIENCE)
    until(lambda: not store.list().keys)


def test_an_election_from_the_first_leader_to_the_last(store_url: str, opened: Opener, store: Store) -> None:
    one, two, three = (Election(store, "e", candidate=name, data=f"{name}:80") for name in ("a", "b", "c"))
    terms: list[Held] = []
    with opened(store_url, timeout=PATIENCE) as watcher, Election(watcher, "e").observe() as leaders:
        assert leaders.next(PATIENCE) is None
        first = one.campaign(timeout=PATIENCE)
        leader = leaders.next(PATIENCE)
        assert leader is not None
        assert (leader.candidate, leader.data, leader.token) == ("a", "a:80", first.token)
        threads = []
        for candidate in (two, three):
            waiting = len(store.list().keys)
            threads.append(threading.Thread(target=_campaign, args=(candidate, terms)))
            threads[-1].start()
            _until_more(store, waiting)
        assert not one.hand_over("nobody")
        assert one.term is not None
        assert one.hand_over("c")
        assert one.term is None
        until(lambda: terms)
        assert three.term is not None
        assert three.term.token > first.token
        assert three.term.release()
        for thread in threads:
            thread.join(PATIENCE)
        assert two.term is not None
        until(lambda: (now := Election(watcher, "e").leader()) is not None and now.candidate == "b")
        assert two.term.release()
    assert not store.list().keys
