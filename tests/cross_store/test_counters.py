"""What applies exactly once, on every store: counters, values, transactions, blocks of ids, and what runs once."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from tenure import Counter, Store
from tenure.errors import InvalidArgument, StoreCorrupted
from tenure_testkit.waiting import PATIENCE

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
