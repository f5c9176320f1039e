"""Reads and deletions of very many keys end with their timeout, on the stores that run in the caller's own thread."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import pytest

import tenure
from tenure import Store
from tenure.errors import DeadlineExceeded, PartiallyApplied, TenureError

KEYS = 30_000
PART = 1 / 10
"""Of the time that listing all takes."""


@pytest.fixture(params=["memory", "sqlite"])
def full(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    url = "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/store.db"
    store = tenure.connect(url, timeout=60.0)
    size = store.capabilities.max_transaction_operations
    for start in range(0, KEYS, size):
        making = store.transaction()
        for number in range(start, min(start + size, KEYS)):
            making.put(f"key/{number:06d}", b"x" * 100)
        making.commit()
    yield store
    store.close()


def took(call: Callable[[], object]) -> tuple[float, TenureError | None]:
    """Seconds that this thread has worked, whatever else the machine does, and the error."""
    began = time.thread_time()
    error = None
    try:
        call()
    except TenureError as exc:
        error = exc
    return time.thread_time() - began, error


def test_a_list_ends_with_its_timeout(full: Store) -> None:
    whole, none = took(lambda: full.list("key/"))
    assert none is None
    seconds, error = took(lambda: full.list("key/", timeout=whole * PART))
    assert isinstance(error, DeadlineExceeded)
    assert seconds < whole / 2


def test_a_deletion_ends_with_its_timeout_and_tells_how_far_it_came(full: Store) -> None:
    listed, _ = took(lambda: full.list("key/"))
    _, error = took(lambda: full.delete_prefix("key/", timeout=listed * PART))
    assert isinstance(error, PartiallyApplied | DeadlineExceeded)
    left = len(full.list("key/", keys_only=True))
    assert left == KEYS - getattr(error, "deleted", 0)
    _, none = took(lambda: full.delete_prefix("key/"))
    assert none is None
    assert len(full.list("key/")) == 0


def test_deleting_takes_steps_by_the_number_of_keys() -> None:
    def calls(count: int) -> int:
        made = 0

        def called(frame: FrameType, event: str, argument: object) -> None:
            nonlocal made
            made += event in ("call", "c_call")

        with tenure.connect("memory://") as store:
            for start in range(0, count, 100):
                making = store.transaction()
                for number in range(start, start + 100):
                    making.put(f"key/{number:06d}", b"")
                making.commit()
            sys.setprofile(called)
            try:
                store.delete_prefix("key/")
            finally:
                sys.setprofile(None)
        return made

    assert calls(16_000) < 4.4 * calls(4_000)


@pytest.mark.parametrize("timeout", [1e10, 2**63, 1e300])
def test_a_timeout_may_be_longer_than_any_wait(store_url: str, timeout: float) -> None:
    with tenure.connect(store_url, timeout=timeout) as store:
        store.put("a", b"1", timeout=timeout)
        assert store.list("a", timeout=timeout).keys == ("a",)
        with store.watch("a", timeout=timeout) as watch:
            assert watch.next(timeout) is not None
        assert tenure.Lock(store, "l").acquire(timeout=timeout).release(timeout=timeout)
        store.close(timeout=timeout)
