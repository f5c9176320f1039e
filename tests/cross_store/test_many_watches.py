"""Many watches with callbacks in one process, on every store: few threads, and one that blocks delays no other."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from tenure import Batch, BatchType, Store
from tenure_testkit.waiting import PATIENCE

MANY, SOME = 1_000, 100
SHARED = ("memory", "sqlite", "etcd", "redis")
"""Stores on which watches of different prefixes share their threads, too."""
THREADS = 32


def threads() -> int:
    """Those of the client libraries, too."""
    return len(os.listdir("/proc/self/task"))


def test_many_watches_share_few_threads_and_none_waits_for_one_that_blocks(
    store_url: str, opened: Callable[..., Store]
) -> None:
    store = opened(store_url, timeout=PATIENCE)
    shared = store_url.partition(":")[0] in SHARED
    prefixes = [f"many/{number % 2 and number}" for number in range(MANY)] if shared else ["many/"] * SOME
    release, blocks, unblocked = threading.Event(), threading.Event(), threading.Event()
    synced, told = threading.Semaphore(0), threading.Semaphore(0)
    before = threads()

    def block(batch: Batch) -> None:
        if batch.type is BatchType.CHANGES:
            blocks.set()
            release.wait()
            unblocked.set()

    def tell(batch: Batch) -> None:
        if batch.type is not BatchType.SNAPSHOT:
            (synced if batch.type is BatchType.SYNCED else told).release()

    try:
        store.watch("many/", callback=block)
        for prefix in prefixes:
            store.watch(prefix, callback=tell)
        for _ in prefixes:
            assert synced.acquire(timeout=PATIENCE)
        store.put("many/0", b"")
        assert blocks.wait(PATIENCE)
        for _ in range(sum("many/0".startswith(prefix) for prefix in prefixes)):
            assert told.acquire(timeout=PATIENCE)
        assert not unblocked.is_set()
        assert threads() - before <= THREADS
    finally:
        release.set()
