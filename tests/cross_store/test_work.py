"""Sharing work on every store: nothing lost, nothing done twice under the guard, nothing left behind."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from tenure import Group, Held, Partitioner, PersistentKey, RateLimiter, Session, Store, WorkQueue
from tenure.errors import AlreadyHeld, Conflict, InvalidArgument, LeaseLost, LimitExceeded, WaitTimeout
from tenure_testkit.waiting import PATIENCE, until

Opener = Callable[..., Store]


@pytest.fixture
def store(store_url: str, opened: Opener) -> Store:
    return opened(store_url, timeout=PATIENCE)


def _keys(store: Store) -> list[str]:
    """The keys, without the marks that a session keeps for its writes: one for each write at the same time."""
    return [key for key in store.list().keys if not key.startswith("tenure/mark/")]


def test_consumers_do_each_item_once_and_leave_nothing(store_url: str, opened: Opener, store: Store) -> None:
    queue = WorkQueue(store, "q", max_items=40)
    values = {str(number).encode() for number in range(20)}
    for value in values:
        queue.put(value)
    done: list[bytes] = []

    def consume(consumer: WorkQueue) -> None:
        while len(done) < len(values):
            claim = consumer.try_claim(timeout=PATIENCE)
            if claim is not None:
                with claim:
                    done.append(claim.value)

    consumers = [WorkQueue(opened(store_url, timeout=PATIENCE), "q") for _ in range(3)]
    threads = [threading.Thread(target=consume, args=(consumer,), daemon=True) for consumer in consumers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(done) == sorted(values)
    until(lambda: not _keys(store))


def test_items_come_by_priority_and_then_in_the_order_of_their_puts(store: Store) -> None:
    queue = WorkQueue(store, "q")
    for value, priority in ((b"c", 0), (b"a", 5), (b"d", 0), (b"b", 5), (b"e", -1)):
        queue.put(value, priority=priority)
    found = b""
    while claim := queue.try_claim(timeout=PATIENCE):
        found += claim.value
        claim.ack(timeout=PATIENCE)
    assert found == b"abcde"


def test_a_waiting_consumer_gets_what_is_put(store_url: str, opened: Opener, store: Store, short: float) -> None:
    found: list[bytes] = []

    def consume() -> None:
        claim = WorkQueue(opened(store_url, timeout=PATIENCE), "q").claim(timeout=PATIENCE)
        assert claim is not None
        with claim:
            found.append(claim.value)

    thread = threading.Thread(target=consume)
    thread.start()
    WorkQueue(store, "q").put(b"1")
    thread.join(PATIENCE)
    assert found == [b"1"]
    assert WorkQueue(store, "q").claim(timeout=short) is None


def test_the_item_of_a_dead_consumer_comes_back_and_the_dead_one_can_write_nothing(store: Store) -> None:
    queue = WorkQueue(store, "q", max_attempts=2)
    queue.put(b"1")
    session = Session.open(store, ttl=30)
    first = WorkQueue(store, "q", session=session).claim(timeout=PATIENCE)
    assert first is not None
    assert queue.try_claim(timeout=PATIENCE) is None
    late = first.guard(store.transaction().put("result", b"late"))
    store.revoke_lease(session.lease.id)  # as if it had expired
    second = queue.claim(timeout=PATIENCE)
    assert second is not None
    assert (second.value, second.attempts) == (b"1", 2)
    assert second.token > first.token
    with pytest.raises(Conflict):
        late.commit()
    with pytest.raises(LeaseLost):
        first.ack(store.transaction().put("result", b"late"), timeout=PATIENCE)
    second.ack(store.transaction().put("result", b"second"), timeout=PATIENCE)
    result = store.get("result")
    assert result is not None
    assert result.value == b"second"
    until(lambda: _keys(store) == ["result"])


def test_a_refused_write_of_the_work_leaves_the_item_with_its_consumer(store: Store) -> None:
    queue = WorkQueue(store, "q")
    queue.put(b"1")
    claim = queue.claim(timeout=PATIENCE)
    assert claim is not None
    store.put("there", b"")
    with pytest.raises(Conflict, match="there"):
        claim.ack(store.transaction().if_absent("there").put("result", b"1"), timeout=PATIENCE)
    assert claim.held
    claim.ack(store.transaction().if_exists("there").delete("there"), timeout=PATIENCE)
    assert not claim.held
    assert not _keys(store)


def test_an_item_without_attempts_left_is_a_dead_letter(store: Store) -> None:
    queue = WorkQueue(store, "q", max_attempts=1)
    name = queue.put(b"1")
    claim = queue.claim(timeout=PATIENCE)
    assert claim is not None
    with pytest.raises(ZeroDivisionError), claim:
        raise ZeroDivisionError
    assert queue.try_claim(timeout=PATIENCE) is None
    (letter,) = queue.dead(timeout=PATIENCE)
    assert (letter.id, letter.value, letter.attempts) == (name, b"1", 1)
    assert queue.retry_dead(letter)
    assert not queue.retry_dead(letter)
    again = queue.claim(timeout=PATIENCE)
    assert again is not None
    assert again.release()
    assert not again.release()
    assert queue.drop_dead(letter)
    assert not _keys(store)


def test_a_delayed_item_waits(store: Store) -> None:
    queue = WorkQueue(store, "q")
    queue.put(b"late", delay=3600, priority=1)
    queue.put(b"now")
    claim = queue.claim(timeout=PATIENCE)
    assert claim is not None
    assert claim.value == b"now"
    assert claim.release(delay=0.3)
    again = queue.claim(timeout=PATIENCE)
    assert again is not None
    assert (again.value, again.attempts) == (b"now", 2)
    assert queue.try_claim(timeout=PATIENCE) is None


def test_there_are_never_more_items_than_places(store: Store) -> None:
    queue = WorkQueue(store, "q", max_items=5)
    for _ in range(5):
        queue.put(b"")
    with pytest.raises(LimitExceeded, match="max_items"):
        queue.put(b"")
    until(lambda: len(_keys(store)) == 10)  # nothing of the refused put
    claim = queue.claim(timeout=PATIENCE)
    assert claim is not None
    claim.ack(timeout=PATIENCE)
    queue.put(b"")


def test_members_of_a_group_see_each_other_come_and_go(store_url: str, opened: Opener, store: Store) -> None:
    session = Session.open(store, ttl=30)
    one, two = Group(store, "g"), Group(store, "g", session=session)
    with opened(store_url, timeout=PATIENCE) as watcher, Group(watcher, "g").watch() as changes:
        assert changes.next(PATIENCE) == ()
        with one.join(member="a", data="a:80", timeout=PATIENCE) as membership:
            (member,) = changes.next(PATIENCE)
            assert (member.name, member.data, member.token) == ("a", "a:80", membership.token)
            with pytest.raises(AlreadyHeld):
                one.join()
            late = two.join(member="b", timeout=PATIENCE)
            assert [member.name for member in changes.next(PATIENCE)] == ["a", "b"]
            with pytest.raises(WaitTimeout):
                changes.next(0.01)
            store.revoke_lease(session.lease.id)  # as if it had expired
            assert [member.name for member in changes.next(PATIENCE)] == ["a"]
        assert changes.next(PATIENCE) == ()
    assert not late.release()
    assert one.membership is None
    assert not _keys(store)


def test_partitions_are_shared_evenly_and_given_back_before_they_are_taken(
    store_url: str, opened: Opener, store: Store
) -> None:
    session = Session.open(store, ttl=30)
    given: list[int] = []

    def stop(partition: int, held: Held) -> None:
        assert held.held
        assert partition not in two.owned
        given.append(partition)

    one = Partitioner(store, "p", partitions=5, on_release=stop, session=session)
    two = Partitioner(opened(store_url, timeout=PATIENCE), "p", partitions=5)
    assert one.wait(timeout=PATIENCE)
    assert list(one.owned) == [0, 1, 2, 3, 4]
    late = one.guard(store.transaction().put("written", b"late"), 4)
    thread = threading.Thread(target=lambda: one.wait(timeout=PATIENCE))
    thread.start()
    assert two.wait(timeout=PATIENCE)
    thread.join(PATIENCE)
    until(lambda: two.update() or len(two.owned) == 2)
    assert (list(one.owned), list(two.owned)) == ([0, 1, 2], [3, 4])
    assert sorted(given) == [3, 4]
    with pytest.raises(Conflict):
        late.commit()
    with pytest.raises(LeaseLost):
        one.guard(store.transaction(), 4)
    two.guard(store.transaction().put("written", b"in time"), 4).commit()
    with pytest.raises(InvalidArgument, match="partitions=5"), Partitioner(store, "p", partitions=6) as other:
        other.wait(timeout=PATIENCE)
    store.revoke_lease(session.lease.id)  # as if it had expired
    until(lambda: two.wait(timeout=PATIENCE) and len(two.owned) == 5)
    two.close()
    until(lambda: _keys(store) == ["written"])


def test_a_persistent_key_comes_back_after_a_lost_session(store_url: str, opened: Opener, store: Store) -> None:
    other = opened(store_url, timeout=PATIENCE)
    with PersistentKey(store, "up/a", b"1", ttl=30) as key:
        first = other.get("up/a")
        assert first is not None
        assert first.lease_id is not None
        with pytest.raises(Conflict, match="up/a"):
            PersistentKey(other, "up/a", b"2").start(timeout=PATIENCE)
        with pytest.raises(AlreadyHeld):
            key.start()
        other.revoke_lease(first.lease_id)  # as if it had expired
        key._kept._session.lease.mark_lost("as the next refresh would tell")  # type: ignore[union-attr]
        again = until(lambda: other.get("up/a"))
        assert (again.value, again.lease_id != first.lease_id) == (b"1", True)
        until(lambda: key.present)
    assert other.get("up/a") is None
    assert not key.present


def test_participants_share_the_permits_of_a_rate(store_url: str, opened: Opener, store: Store) -> None:
    taken: list[bool] = []

    def take(limiter: RateLimiter) -> None:
        taken.extend(limiter.try_acquire(timeout=PATIENCE) for _ in range(4))

    limiters = [RateLimiter(opened(store_url, timeout=PATIENCE), "r", rate=5, per=3600) for _ in range(3)]
    threads = [threading.Thread(target=take, args=(limiter,)) for limiter in limiters]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert taken.count(True) == 5
    assert taken.count(False) == 7
    with pytest.raises(WaitTimeout, match="'r'"):
        limiters[0].acquire(timeout=60)
    with pytest.raises(InvalidArgument):
        limiters[0].acquire(6)
    quick = RateLimiter(store, "quick", rate=50, burst=1)
    for _ in range(4):
        quick.acquire(timeout=PATIENCE)
