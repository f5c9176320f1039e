"""A lock, a queue and an election in a few lines, from operations that every store offers.

A lock is a key that exists while a client holds the lock. The holder puts it if it is absent, on its own lease, so the
key is removed when the holder dies. The key's create revision is the fencing token. A waiter watches for the key's
deletion. A queue is a prefix: each client puts a key on its own lease, and the key with the least create revision is
next.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from tenure._client.store import Store
from tenure.conformance.harness.assertions import Checks
from tenure.errors import Conflict
from tenure.leases import Lease
from tenure.watch import Watch


def acquire(
    check: Checks,
    store: Store,
    key: str,
    owner: str,
    lease: Lease,
    *,
    within: float,
    refused: Callable[[], object] = lambda: None,
) -> int:
    """Wait for the lock and return its fencing token. Calls ``refused`` whenever another client has the lock."""
    deadline = time.monotonic() + within
    while True:
        try:
            return store.put_if_absent(key, owner.encode(), lease=lease).revision
        except Conflict:
            refused()
        _wait_for_absence(check, store, key, deadline, f"{owner} waited for the lock {key!r} for {within:.0f} s")


def release(store: Store, key: str, token: int) -> None:
    """Release the lock. Raises ``Conflict`` if another client holds it by now."""
    store.delete(key, revision=token)


def enqueue(store: Store, prefix: str, name: str, lease: Lease) -> int:
    """Take a place at the end of the queue; return the create revision that identifies it."""
    return store.put_if_absent(prefix + name, name.encode(), lease=lease).revision


def wait_for_turn(check: Checks, store: Store, prefix: str, name: str, *, within: float) -> None:
    """Wait until ``name`` is first in the queue."""
    deadline = time.monotonic() + within
    present: dict[str, int] = {}
    with store.watch(prefix) as watch:
        while True:
            _follow(watch, present, deadline)
            mine = present.get(prefix + name)
            if mine is not None and mine == min(present.values()):
                return
            if time.monotonic() >= deadline:
                raise check.fail(
                    f"{name} waited for its turn in a queue for {within:.0f} s",
                    expected="its key has the least create revision of those that a watch delivers",
                    seen=present,
                )


def _wait_for_absence(check: Checks, store: Store, key: str, deadline: float, did: str) -> None:
    present: dict[str, int] = {}
    with store.watch(key) as watch:
        while True:
            _follow(watch, present, deadline)
            if key not in present:
                return
            if time.monotonic() >= deadline:
                raise check.fail(did, expected="a watch delivers the delete of its key", seen="the key is there")


def _follow(watch: Watch, present: dict[str, int], deadline: float) -> None:
    """Apply the next batch of a watch to ``present``, which has keys with their create revision."""
    batch = watch.next(max(0.0, deadline - time.monotonic()))
    for event in batch.events if batch is not None else ():
        if event.item is None:
            present.pop(event.key, None)
        else:
            present[event.key] = event.item.create_revision
