"""What recipes refuse before they ask the store: another thing in the store's place, a timeout that is no number."""

from __future__ import annotations

import math
import threading

import pytest

import tenure
from tenure.errors import InvalidArgument
from tenure_testkit.waiting import PATIENCE


@pytest.mark.parametrize("store", [None, "memory://", 7])
def test_a_recipe_takes_a_store_first(store: object) -> None:
    for recipe in (tenure.Lock, tenure.Election, tenure.Counter, tenure.WorkQueue):
        with pytest.raises(InvalidArgument, match=r"takes a store first, not \w+"):
            recipe(store, "name")  # type: ignore[operator]


def test_a_wait_for_a_loss_may_have_any_length() -> None:
    with tenure.connect("memory://arguments") as store:
        held = tenure.Lock(store, "l").acquire()
        waiters = [threading.Thread(target=held.wait_until_lost, args=(long,)) for long in (math.inf, 1e300, 2**63)]
        for waiter in waiters:
            waiter.start()
        held.release()
        for waiter in waiters:
            waiter.join(PATIENCE)
            assert not waiter.is_alive()


@pytest.mark.parametrize("timeout", ["5", math.nan, [1], 10**400])
def test_a_timeout_that_is_no_number_changes_nothing(timeout: object) -> None:
    with tenure.connect("memory://arguments") as store:
        lock, queue = tenure.Lock(store, "l"), tenure.WorkQueue(store, "q")
        for call in (lock.acquire, lock.try_acquire, queue.claim, tenure.Counter(store, "c").value):
            with pytest.raises(InvalidArgument, match="timeout"):
                call(timeout=timeout)  # type: ignore[operator]
        assert lock.held is None
        with lock.hold() as held:
            for check in (held.check, held.session.check, held.session.lease.ensure_valid, held.wait_until_lost):
                with pytest.raises(InvalidArgument):
                    check(timeout)  # type: ignore[operator]
        assert not store.list().keys


def test_a_latch_has_one_count_for_all() -> None:
    with tenure.connect("memory://arguments") as store:
        three, two = (tenure.CountDownLatch(store, "latch", count=count) for count in (3, 2))
        store.put("tenure/latch/latch/0123456789abcdef", b'{"owner": "of an earlier release"}')
        assert three.count_down() == 1
        for call in (two.count_down, two.remaining, lambda: two.wait(timeout=PATIENCE)):
            with pytest.raises(InvalidArgument, match="count=2: another participant has count=3"):
                call()
        assert three.remaining() == 1, "one that was refused has not counted"
        two.reset()
        assert two.count_down() == 1
        two.reset()
