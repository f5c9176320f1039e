"""Numbers with more digits than Python converts: who gives one is told so, and nobody gets a ``ValueError``."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import pytest

import tenure
import tenure_memory
from tenure import Store
from tenure.errors import InvalidArgument, StoreCorrupted

HUGE = 10**4300
"""One digit more than Python converts."""
NINES = b"9" * 4300


@pytest.fixture
def store() -> Iterator[Store]:
    name = f"large-{uuid.uuid4().hex}"
    with tenure.connect(f"memory://{name}") as opened:
        yield opened
    tenure_memory.forget(name)


GIVEN: dict[str, Callable[[Store], object]] = {
    "counter": lambda store: tenure.Counter(store, "x").add(HUGE),
    "ids": lambda store: tenure.IdBlock(store, "x", size=HUGE),
    "semaphore": lambda store: tenure.Semaphore(store, "x", limit=HUGE),
    "resize": lambda store: tenure.Semaphore(store, "x", limit=1).resize(HUGE),
    "double barrier": lambda store: tenure.DoubleBarrier(store, "x", count=HUGE),
    "latch": lambda store: tenure.CountDownLatch(store, "x", count=HUGE),
    "partitions": lambda store: tenure.Partitioner(store, "x", partitions=HUGE),
    "priority": lambda store: tenure.WorkQueue(store, "x").put(b"", priority=HUGE),
    "delay": lambda store: tenure.WorkQueue(store, "x").put(b"", delay=HUGE),
    "items": lambda store: tenure.WorkQueue(store, "x", max_items=HUGE),
    "rate": lambda store: tenure.RateLimiter(store, "x", rate=HUGE),
    "schedule": lambda store: tenure.Schedule(store, "x", HUGE),
    "fence": lambda store: tenure.Fence(HUGE, 1),
}


@pytest.mark.parametrize("given", GIVEN)
def test_a_number_that_is_too_large_is_refused(store: Store, given: str) -> None:
    with pytest.raises(InvalidArgument):
        GIVEN[given](store)
    assert not store.list("tenure/").keys or given == "counter"


def test_a_number_in_the_store_grows_to_what_can_be_read(store: Store) -> None:
    counter, ids = tenure.Counter(store, "x"), tenure.IdBlock(store, "x")
    store.put(counter.key, NINES)
    store.put(ids.key, NINES)
    assert counter.value() == int(NINES)
    with pytest.raises(InvalidArgument, match="add less"):
        counter.add()
    with pytest.raises(InvalidArgument, match="delete the key"):
        ids.next()
    store.put(counter.key, NINES * 2)
    with pytest.raises(StoreCorrupted):
        counter.value()


def test_a_limit_that_nobody_could_set_counts_for_none(store: Store) -> None:
    semaphore = tenure.Semaphore(store, "x", limit=1)
    for number in NINES, NINES * 2:
        store.put("tenure/semaphore/x/limit", number)
        with semaphore.hold(timeout=10) as held:
            assert held.token
