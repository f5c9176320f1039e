"""What applies exactly once, on every store: counters, values, transactions, blocks of ids, and what runs once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime

import pytest

from tenure import AtomicValue, Counter, Held, IdBlock, Schedule, Session, Store, TransactView, once, transact
from tenure.errors import (
    Conflict,
    InvalidArgument,
    InvalidKey,
    LeaseLost,
    OutcomeUnknown,
    StoreCorrupted,
    Unavailable,
    WaitTimeout,
)
from tenure_testkit.waiting import PATIENCE, until

Opener = Callable[..., Store]


@pytest.fixture
def store(store_url: str, opened: Opener) -> Store:
    return opened(store_url, timeout=PATIENCE)


def _together(count: int, work: Callable[[int], object]) -> None:
    """Run ``work`` on so many threads at once. Raises what one of them raised."""
    errors: list[BaseException] = []

    def caught(number: int) -> None:
        try:
            work(number)
        except BaseException as exc:  # noqa: BLE001 - raised below
            errors.append(exc)

    threads = [threading.Thread(target=caught, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    if errors:
        raise errors[0]


def test_each_addition_counts_once(store_url: str, opened: Opener, store: Store) -> None:
    sums: list[int] = []

    def work(number: int) -> None:
        counter = Counter(stores[number % 2], "c")
        sums.extend(counter.add() for _ in range(10))

    stores = [opened(store_url, timeout=PATIENCE) for _ in range(2)]
    _together(4, work)
    counter = Counter(store, "c")
    assert sorted(sums) == list(range(1, 41))
    assert counter.value() == 40
    for used in stores:
        used.close()
    assert store.list().keys == (counter.key,)


def test_marks_are_used_again(store: Store) -> None:
    counter = Counter(store, "c")
    assert [counter.add(2) for _ in range(20)] == list(range(2, 42, 2))
    assert len(store.list("tenure/mark/").keys) == 1
    store.delete_prefix("", allow_empty_prefix=True)  # an operator
    assert counter.add(-1) == -1
    assert len(store.list("tenure/mark/").keys) == 1


def test_what_is_no_number_is_told(store: Store) -> None:
    counter = Counter(store, "c")
    store.put(counter.key, b"seven")
    for call in (counter.add, counter.value):
        with pytest.raises(StoreCorrupted, match="seven"):
            call()
    with pytest.raises(InvalidArgument, match="whole number"):
        counter.add(1.5)  # type: ignore[arg-type]
    assert store.list().keys == (counter.key,)


def test_no_change_of_a_value_is_lost(store_url: str, opened: Opener, store: Store) -> None:
    def work(number: int) -> None:
        value = AtomicValue(stores[number % 2], "v")
        for _ in range(5):
            value.update(lambda present: (present or b"") + b"%d" % number)

    stores = [store, opened(store_url, timeout=PATIENCE)]
    value = AtomicValue(store, "v")
    assert value.get() is None
    assert not value.compare_and_set(b"", b"x")
    assert value.compare_and_set(None, b"")
    _together(3, work)
    assert sorted(value.get() or b"") == sorted(b"01201201201201" + b"2")
    value.set(b"other")
    assert not value.compare_and_set(b"", b"x")
    assert value.compare_and_set(b"other", b"last")
    assert value.get() == b"last"
    with pytest.raises(ZeroDivisionError):
        value.update(lambda present: b"%d" % (1 // 0))
    with pytest.raises(InvalidArgument):
        value.set("text")  # type: ignore[arg-type]
    assert value.get() == b"last"


def test_no_id_is_given_twice(store_url: str, opened: Opener, store: Store) -> None:
    given: list[int] = []

    def work(number: int) -> None:
        mine = [ids[number % 2].next() for _ in range(20)]
        given.extend(mine)

    ids = [IdBlock(used, "i", size=7) for used in (store, opened(store_url, timeout=PATIENCE))]
    _together(4, work)
    assert len(set(given)) == 80
    assert min(given) >= 1
    assert store.list().keys == (ids[0].key,)
    with pytest.raises(InvalidArgument, match="size=0"):
        IdBlock(store, "i", size=0)


def test_a_transaction_is_applied_to_what_it_read(store_url: str, opened: Opener, store: Store) -> None:
    def move(source: str, target: str) -> Callable[[TransactView], int]:
        def function(view: TransactView) -> int:
            left, there = int(view.get(source) or 0), int(view.get(target) or 0)
            assert left + there == 20, "what it read was never so at one moment"
            view.put(source, b"%d" % (left - 1))
            view.put(target, b"%d" % (there + 1))
            assert view.get(target) == b"%d" % (there + 1)
            return left - 1

        return function

    def work(number: int) -> None:
        for _ in range(5):
            transact(stores[number % 2], move("a", "b") if number < 3 else move("b", "a"))

    stores = [store, opened(store_url, timeout=PATIENCE)]
    store.put("a", b"20")
    _together(4, work)
    assert [int(item.value) for item in store.list("", limit=2)] == [10, 10]

    def refused(view: TransactView) -> None:
        view.delete("a")
        assert view.get("a") is None
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        transact(store, refused)
    with pytest.raises(InvalidKey):
        transact(store, lambda view: view.get(""))
    assert store.get("a") is not None
    assert transact(store, lambda view: (view.get("a"), view.get("none"))) == (b"10", None)


def test_one_of_several_runs_it_and_all_get_its_result(store_url: str, opened: Opener, store: Store) -> None:
    ran: list[int] = []
    told: list[bytes] = []

    def work(number: int) -> None:
        def function(held: Held) -> bytes:
            held.guard(stores[number % 2].transaction().put("resource", b"%d" % number)).commit()
            ran.append(number)
            return b"by %d" % number

        told.append(once(stores[number % 2], "job", function, timeout=PATIENCE))

    stores = [store, opened(store_url, timeout=PATIENCE)]
    _together(4, work)
    assert len(ran) == 1
    assert told == [b"by %d" % ran[0]] * 4
    assert once(store, "job", lambda held: b"again") == told[0]
    until(lambda: set(store.list().keys) == {"resource", "tenure/once/job/done"})


def test_who_fails_is_replaced(store: Store) -> None:
    def fails(held: Held) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        once(store, "job", fails)
    with pytest.raises(InvalidArgument, match="bytes"):
        once(store, "job", lambda held: "text")  # type: ignore[arg-type, return-value]
    assert not store.list().keys
    assert once(store, "job", lambda held: None) == b""


def test_who_is_lost_is_replaced_and_told(store_url: str, opened: Opener, store: Store) -> None:
    def is_lost(held: Held) -> bytes:
        with pytest.raises((WaitTimeout, Unavailable, OutcomeUnknown)):  # by how busy the machine is
            once(other, "job", lambda held: b"other", timeout=0.2)
        late = held.guard(store.transaction().put("resource", b"late"))
        other.revoke_lease(session.lease.id)  # as if it had expired
        assert once(other, "job", lambda held: b"other", timeout=PATIENCE) == b"other"
        with pytest.raises(Conflict):
            late.commit()
        return b"lost"

    other = opened(store_url, timeout=PATIENCE)
    session = Session.open(store, ttl=30)
    with pytest.raises(LeaseLost, match="'job'"):
        once(store, "job", is_lost, session=session)
    assert once(store, "job", is_lost) == b"other"
    until(lambda: store.list().keys == ("tenure/once/job/done",))


def test_a_slot_is_told_to_one_process(store_url: str, opened: Opener, store: Store) -> None:
    def work(number: int) -> None:
        taken.append(Schedule(stores[number], "s", 1).take(timeout=PATIENCE))

    taken: list[datetime] = []
    stores = [store, opened(store_url, timeout=PATIENCE)]
    _together(2, work)
    assert len(set(taken)) == 2
    assert all(slot.microsecond == 0 for slot in taken)
    assert store.list().keys == (Schedule(store, "s", 1).key,)


def test_the_last_of_the_missed_slots_is_taken(store: Store, short: float) -> None:
    yearly = "0 0 1 1 *"
    late, skipping = (Schedule(store, "s", yearly, missed=missed) for missed in ("last", "skip"))
    with pytest.raises(WaitTimeout):
        late.take(timeout=short)  # a new schedule has missed none
    store.put(late.key, b"2020-01-01T00:00:00+00:00")
    with pytest.raises(WaitTimeout):
        skipping.take(timeout=short)
    slot = late.take(timeout=PATIENCE)
    assert (slot.month, slot.day, slot.hour) == (1, 1, 0)
    assert slot.year > 2020
    with pytest.raises(WaitTimeout):
        late.take(timeout=short)
    store.put(late.key, b"soon")
    with pytest.raises(StoreCorrupted, match="soon"):
        late.take(timeout=PATIENCE)
