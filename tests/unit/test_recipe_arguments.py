"""What recipes refuse before they ask the store: another thing in the store's place, a timeout that is no number."""

from __future__ import annotations

import math

import pytest

import tenure
from tenure.errors import InvalidArgument


@pytest.mark.parametrize("store", [None, "memory://", 7])
def test_a_recipe_takes_a_store_first(store: object) -> None:
    for recipe in (tenure.Lock, tenure.Election, tenure.Counter, tenure.WorkQueue):
        with pytest.raises(InvalidArgument, match=r"takes a store first, not \w+"):
            recipe(store, "name")  # type: ignore[operator]


@pytest.mark.parametrize("timeout", ["5", math.nan, [1]])
def test_a_timeout_that_is_no_number_changes_nothing(timeout: object) -> None:
    with tenure.connect("memory://arguments") as store:
        lock, queue = tenure.Lock(store, "l"), tenure.WorkQueue(store, "q")
        for call in (lock.acquire, lock.try_acquire, queue.claim, tenure.Counter(store, "c").value):
            with pytest.raises(InvalidArgument, match="timeout"):
                call(timeout=timeout)  # type: ignore[operator]
        assert lock.held is None
        assert not store.list().keys
