"""Barriers, double barriers, latches and several locks at once, on every store."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tenure import Barrier, CountDownLatch, DoubleBarrier, Lock, MultiLock, Session, Store
from tenure.errors import AlreadyHeld, Conflict, InvalidArgument, LeaseLost, WaitTimeout
from tenure_testkit.waiting import PATIENCE, until

Opener = Callable[..., Store]
SHORT = 0.05
"""Seconds for a wait that has to end in vain."""


@pytest.fixture
def store(store_url: str, opened: Opener) -> Store:
    return opened(store_url, timeout=PATIENCE)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


def test_a_closed_barrier_holds_back_until_it_is_opened(
    store_url: str, opened: Opener, store: Store, pool: ThreadPoolExecutor
) -> None:
    barrier = Barrier(store, "b")
    barrier.wait(timeout=SHORT)
    barrier.close()
    assert barrier.closed()
    other = opened(store_url, timeout=PATIENCE)
    with pytest.raises(WaitTimeout):
        Barrier(other, "b").wait(timeout=SHORT)
    waits = [pool.submit(Barrier(one, "b").wait, timeout=PATIENCE) for one in (store, other)]
    barrier.open()
    for wait in waits:
        wait.result(PATIENCE)
    assert not store.list().keys


def test_a_latch_opens_after_the_last_count_down(store: Store, pool: ThreadPoolExecutor) -> None:
    latch = CountDownLatch(store, "l", count=3)
    waiting = pool.submit(CountDownLatch(store, "l", count=3).wait, timeout=PATIENCE)
    assert latch.count_down() == 2
    assert CountDownLatch(store, "l", count=3).count_down() == 1
    with pytest.raises(WaitTimeout):
        latch.wait(timeout=SHORT)
    assert latch.count_down() == 0
    waiting.result(PATIENCE)
    assert latch.count_down() == 0
    latch.wait(timeout=PATIENCE)
    latch.reset()
    assert latch.remaining() == 3
    assert not store.list().keys
    with pytest.raises(InvalidArgument, match="count=0"):
        CountDownLatch(store, "l", count=0)


def test_members_begin_together_and_end_together(store: Store, pool: ThreadPoolExecutor) -> None:
    members = [DoubleBarrier(store, "d", count=2) for _ in range(2)]
    for _ in range(3):
        with pytest.raises(WaitTimeout):
            members[0].enter(timeout=SHORT)
        _together(pool, *(member.enter for member in members))
        assert all(member.inside for member in members)
        with pytest.raises(AlreadyHeld):
            members[0].enter()
        first = pool.submit(members[0].leave, timeout=PATIENCE)
        until(lambda: len(store.list("tenure/double-barrier/d/").keys) == 1)
        assert not first.done()
        members[1].leave(timeout=PATIENCE)
        first.result(PATIENCE)
    assert not any(member.inside for member in members)
    assert not store.list().keys
    with pytest.raises(LeaseLost):
        members[0].leave()


def test_a_member_that_dies_has_left(store_url: str, opened: Opener, store: Store, pool: ThreadPoolExecutor) -> None:
    session = Session.open(store, ttl=30)
    living, dying = DoubleBarrier(store, "d", count=2), DoubleBarrier(store, "d", count=2, session=session)
    _together(pool, living.enter, dying.enter)
    leaving = pool.submit(living.leave, timeout=PATIENCE)
    until(lambda: len(store.list("tenure/double-barrier/d/").keys) == 1)
    opened(store_url, timeout=PATIENCE).revoke_lease(session.lease.id)  # as if it had expired
    leaving.result(PATIENCE)
    with pytest.raises(LeaseLost):
        dying.leave(timeout=PATIENCE)


def test_members_agree_on_their_number(store: Store, pool: ThreadPoolExecutor) -> None:
    first = DoubleBarrier(store, "d", count=2)
    entering = pool.submit(first.enter, timeout=PATIENCE)
    until(lambda: store.list("tenure/double-barrier/d/").keys)
    with pytest.raises(InvalidArgument, match="count=3"):
        DoubleBarrier(store, "d", count=3).enter(timeout=PATIENCE)
    second = DoubleBarrier(store, "d", count=2)
    second.enter(timeout=PATIENCE)
    entering.result(PATIENCE)
    _together(pool, first.leave, second.leave)
    until(lambda: not store.list().keys)


def test_several_locks_are_held_together_or_not_at_all(store: Store) -> None:
    several = MultiLock(store, ["b", "a"])
    assert several.names == ("a", "b")
    with several.hold(timeout=PATIENCE) as held:
        assert Lock(store, "a").try_acquire() is None
        assert Lock(store, "b").try_acquire() is None
        assert MultiLock(store, ["c", "b"]).try_acquire() is None
        assert Lock(store, "c").try_acquire(timeout=PATIENCE) is not None
        tokens = several.tokens
        assert held.token == tokens["b"]
        held.guard(store.transaction().put("resource", b"first")).commit()
        late = held.guard(store.transaction().put("resource", b"late"))
        with pytest.raises(AlreadyHeld):
            several.acquire()
    assert several.tokens == {}
    with several.hold(timeout=PATIENCE):
        assert all(several.tokens[name] > tokens[name] for name in tokens)
        with pytest.raises(Conflict):
            late.commit()
    with Lock(store, "b").hold(), pytest.raises(WaitTimeout):
        several.acquire(timeout=SHORT)
    until(lambda: len(store.list("tenure/").keys) == 1)  # of the lock c
    for names in ([], ["a", "a"], [""]):
        with pytest.raises(InvalidArgument):
            MultiLock(store, names)


def test_overlapping_locks_never_deadlock(store_url: str, opened: Opener, pool: ThreadPoolExecutor) -> None:
    inside = {name: threading.Semaphore(1) for name in "abc"}

    def work(store: Store, names: str) -> None:
        for _ in range(4):
            with MultiLock(store, names).hold(timeout=PATIENCE):
                assert all(inside[name].acquire(blocking=False) for name in names), "two hold a lock"
                for name in names:
                    inside[name].release()

    stores = [opened(store_url, timeout=PATIENCE) for _ in range(3)]
    runs = [pool.submit(work, store, names) for store, names in zip(stores, ("ab", "bc", "ca"), strict=True)]
    for run in runs:
        run.result(PATIENCE)
    assert not stores[0].list().keys


def _together(pool: ThreadPoolExecutor, *calls: Callable[..., None]) -> None:
    futures: list[Future[None]] = [pool.submit(call, timeout=PATIENCE) for call in calls]
    for future in futures:
        future.result(PATIENCE)
