"""Ten thousand keys, and a hundred leases of one process, on every store."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from tenure import Store
from tenure.leases import Lease, LeaseState
from tenure.watch import BatchType, EventType
from tenure_testkit.servers import until

KEYS = 10_000
LEASES = 100
TTL = 3.0
THREADS = 12
"""More than any store needs for a hundred leases, and far from one for each."""


def fill(store: Store, keys: list[str]) -> None:
    """Put each key with its own name as the value, as many at once as the store takes."""
    most = store.capabilities.max_transaction_operations
    for start in range(0, len(keys), most):
        transaction = store.transaction()
        for key in keys[start : start + most]:
            transaction.put(key, key.encode())
        transaction.commit(timeout=30.0)


@pytest.mark.slow
def test_ten_thousand_keys_are_listed_and_watched(store_url: str, opened: Callable[..., Store]) -> None:
    store, other = opened(store_url, timeout=30.0), opened(store_url, timeout=30.0)
    keys = [f"many/{number:05}" for number in range(KEYS)]
    fill(store, keys[: KEYS // 2])

    with other.watch("many/") as watch:
        first = watch.next(30.0)
        assert first is not None
        assert first.type is BatchType.SNAPSHOT
        assert [event.key for event in first.events] == keys[: KEYS // 2]
        fill(store, keys[KEYS // 2 :])
        seen = {event.key: event.item.value for event in first.events if event.item is not None}
        while len(seen) < KEYS:
            batch = watch.next(30.0)
            assert batch is not None, f"{len(seen)} keys were told, then nothing for 30 s"
            assert batch.type is not BatchType.RESYNC, batch.reason
            for event in batch.events:
                assert event.type is EventType.CREATE
                assert event.key not in seen
                assert event.item is not None
                seen[event.key] = event.item.value
        assert seen == {key: key.encode() for key in keys}

        listed = other.list("many/")
        assert [item.key for item in listed] == keys
        assert all(item.value == item.key.encode() for item in listed)
        assert [item.key for item in other.scan("many/", page_size=700)] == keys

        some = [key for key in keys if key.startswith("many/00")]
        assert store.delete_prefix("many/00", timeout=60.0).deleted == len(some)
        gone: list[str] = []
        while len(gone) < len(some):
            batch = watch.next(30.0)
            assert batch is not None, f"{len(gone)} deletes were told, then nothing for 30 s"
            assert {event.type for event in batch.events} <= {EventType.DELETE}
            gone += [event.key for event in batch.events]
        assert sorted(gone) == some
    assert len(other.list("many/")) == KEYS - len(some)


@pytest.mark.slow
def test_a_hundred_leases_in_one_process(store_url: str, opened: Callable[..., Store]) -> None:
    store, other = opened(store_url, timeout=10.0), opened(store_url, timeout=10.0)
    other.list("")
    before = threading.active_count()
    lost: list[Lease] = []
    leases = [store.lease(TTL, on_lost=lost.append) for _ in range(LEASES)]
    assert len({lease.id for lease in leases}) == LEASES
    for number, lease in enumerate(leases):
        store.put(f"held/{number:03}", str(number).encode(), lease=lease)
    assert threading.active_count() - before <= THREADS

    # All of them have outlived what they were granted, so each was refreshed.
    granted = [lease.deadline for lease in leases]
    longest = max(lease.ttl for lease in leases)
    until(
        lambda: lost or all(lease.deadline > first + lease.ttl for lease, first in zip(leases, granted, strict=True)),
        4 * longest,
        "every lease has been refreshed past the end of its grant",
    )
    assert not lost
    assert {lease.state for lease in leases} == {LeaseState.ALIVE}
    assert len(other.list("held/")) == LEASES
    assert threading.active_count() - before <= THREADS

    store.close()
    assert {lease.state for lease in leases} == {LeaseState.REVOKED}
    assert not lost
    until(lambda: len(other.list("held/")) == 0, other.capabilities.max_watch_latency + 1.0, "no key is left behind")
    if other.capabilities.list_leases:
        assert {info.lease_id for info in other.leases()}.isdisjoint(lease.id for lease in leases)
