"""A lock, a queue and an election in a few lines, from nothing but what every store offers.

A lock is a key that exists while somebody holds it: put if it is absent, on the holder's lease, so that it goes when
the holder does. Its create revision is the fencing token. Waiting is watching for its deletion. A queue is a prefix:
everyone puts a key on a lease of its own, and whose key has the least create revision is next.
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
    """Wait for the lock; answers its fencing token. ``refused`` is called whenever somebody else has it."""
    deadline = time.monotonic() + within
    while True:
        try:
            return store.put_if_absent(key, owner.encode(), lease=lease).revision
        except Conflict:
            refused()
        _wait_for_absence(check, store, key, deadline, f"{owner} waited for the lock {key!r} for {within:.0f} s")


def release(store: Store, key: str, token: int) -> None:
    """Give the lock back. Raises ``Conflict`` if it is another's by now."""
    store.delete(key, revision=token)


def enqueue(store: Store, prefix: str, name: str, lease: Lease) -> int:
    """Take a place at the end of the queue; answers the create revision that it is known by."""
    return store.put_if_absent(prefix + name, name.encode(), lease=lease).revision


def wait_for_turn(check: Checks, store: Store, prefix: str, name: str, *, within: float) -> None:
    """Wait until nobody is before ``name`` in the queue."""
    deadline = time.monotonic() + within
    there: dict[str, int] = {}
    with store.watch(prefix) as watch:
        while True:
            _follow(watch, there, deadline)
            mine = there.get(prefix + name)
            if mine is not None and mine == min(there.values()):
                return
            if time.monotonic() >= deadline:
                raise check.fail(
                    f"{name} waited for its turn in a queue for {within:.0f} s",
                    expected="its key has the least create revision of those a watch tells",
                    seen=there,
                )


def _wait_for_absence(check: Checks, store: Store, key: str, deadline: float, did: str) -> None:
    there: dict[str, int] = {}
    with store.watch(key) as watch:
        while True:
            _follow(watch, there, deadline)
            if key not in there:
                return
            if time.monotonic() >= deadline:
                raise check.fail(did, expected="a watch of its key tells that it is gone", seen="the key is there")


def _follow(watch: Watch, there: dict[str, int], deadline: float) -> None:
    """Take in what a watch tells next: keys with their create revision. The first state is taken in whole."""
    batch = watch.next(max(0.0, deadline - time.monotonic()))
    for event in batch.events if batch is not None else ():
        if event.item is None:
            there.pop(event.key, None)
        else:
            there[event.key] = event.item.create_revision
