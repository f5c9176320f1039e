"""Barriers, double barriers, latches, several locks at once and buses, on every store."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tenure import BYTES, JSON, TEXT, Barrier, Bus, CountDownLatch, DoubleBarrier, Lock, MultiLock, Session, Store
from tenure.errors import (
    AlreadyHeld,
    Compacted,
    Conflict,
    HistoryReplaced,
    InvalidArgument,
    LeaseLost,
    StoreCorrupted,
    WaitTimeout,
)
from tenure_testkit.waiting import PATIENCE, until

Opener = Callable[..., Store]
IN_VAIN = 1.0
"""Seconds for a wait that has to end in vain, and for the requests before it."""


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
    barrier.wait(timeout=PATIENCE)
    barrier.close()
    assert barrier.is_closed()
    other = opened(store_url, timeout=PATIENCE)
    with pytest.raises(WaitTimeout):
        Barrier(other, "b").wait(timeout=IN_VAIN)
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
        latch.wait(timeout=IN_VAIN)
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
        entering = pool.submit(members[0].enter, timeout=PATIENCE)
        until(lambda: store.list("tenure/double-barrier/d/").keys)
        assert not entering.done()
        members[1].enter(timeout=PATIENCE)
        entering.result(PATIENCE)
        assert all(member.inside for member in members)
        with pytest.raises(AlreadyHeld):
            members[0].enter()
        first = pool.submit(members[0].leave, timeout=PATIENCE)
        until(lambda: len(store.list("tenure/double-barrier/d/").keys) == 1)
        assert not first.done()
        members[1].leave(timeout=PATIENCE)
        first.result(PATIENCE)
    assert not any(member.inside for member in members)
    with pytest.raises(WaitTimeout, match="fewer than 2 members"):
        members[0].enter(timeout=IN_VAIN)
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
        several.acquire(timeout=IN_VAIN)
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


def test_each_consumer_gets_each_message_in_order(store_url: str, opened: Opener, pool: ThreadPoolExecutor) -> None:
    stores = [opened(store_url, timeout=PATIENCE) for _ in range(3)]
    buses = [Bus(store, "b", codec=JSON) for store in stores]
    with buses[0].subscribe() as one, buses[1].subscribe() as other:
        runs = [pool.submit(lambda bus=bus: [bus.publish(number) for number in range(5)]) for bus in buses]
        positions = [position for run in runs for position in run.result(PATIENCE)]
        first, second = ([messages.next(PATIENCE) for _ in positions] for messages in (one, other))
        assert first == second
        assert sorted(message.position for message in first) == sorted(positions)
        for messages in (one, other):
            with pytest.raises(WaitTimeout):
                messages.next(0)
        assert one.position == first[-1].position
    with buses[2].subscribe(after=first[4].position) as later:
        assert [later.next(PATIENCE) for _ in first[5:]] == first[5:]


def test_a_consumer_that_fell_behind_is_told(store: Store) -> None:
    bus = Bus(store, "b", codec=TEXT, max_messages=3)
    kept = [bus.publish(str(number)) for number in range(5)]
    assert len(store.list("tenure/bus/b/").keys) == 4  # three messages and the head
    with bus.subscribe(after=Bus.BEGINNING) as messages:
        with pytest.raises(Compacted, match="messages 1 to 2 "):
            messages.next(PATIENCE)
        assert [messages.next(PATIENCE).value for _ in range(3)] == ["2", "3", "4"]
    store.delete_prefix("tenure/")
    bus.publish("of another history")
    with bus.subscribe(after=kept[-1]) as messages:
        with pytest.raises(HistoryReplaced):
            messages.next(PATIENCE)
        assert messages.next(PATIENCE).value == "of another history"


def test_a_message_that_can_not_be_read_is_told(store: Store) -> None:
    with Bus(store, "b", codec=JSON).subscribe() as messages:
        Bus(store, "b", codec=BYTES).publish(b"no JSON")
        Bus(store, "b", codec=JSON).publish({"good": True})
        with pytest.raises(StoreCorrupted, match="message 1 "):
            messages.next(PATIENCE)
        assert messages.next(PATIENCE).value == {"good": True}
    for bounds in ({"max_messages": 0}, {"max_age": 0}):
        with pytest.raises(InvalidArgument):
            Bus(store, "b", codec=JSON, **bounds)
    with pytest.raises(InvalidArgument):
        Bus(store, "b", codec=JSON).subscribe(after="nowhere")


def _together(pool: ThreadPoolExecutor, *calls: Callable[..., None]) -> None:
    futures: list[Future[None]] = [pool.submit(call, timeout=PATIENCE) for call in calls]
    for future in futures:
        future.result(PATIENCE)
