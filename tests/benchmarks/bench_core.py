"""What core costs per call, and ten thousand leases in real time; both on the store in this process."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

from measure import Result, calls, compare

import tenure
from tenure.spi import Put, RevisionEquals, Transaction

LEASES = 10_000


def run(quick: bool) -> Iterator[Result]:
    seconds = 0.7 if quick else 3.0
    with tenure.connect("memory://benchmark-core") as store:
        backend = store._backend
        store.put("key", b"x" * 100)
        yield compare(
            "core get",
            calls(lambda: store.get("key")),
            calls(lambda: backend.get("key", timeout=5.0)),
            target=None,
            seconds=seconds,
            note="Store over Backend",
        )
        value = b"x" * 100
        yield compare(
            "core put",
            calls(lambda: store.put("key", value)),
            calls(lambda: backend.commit(Transaction((), (Put("key", value),)), timeout=5.0)),
            target=None,
            seconds=seconds,
        )
        revision = backend.get("key", timeout=5.0).revision

        def replace() -> None:
            nonlocal revision
            revision = store.put_if_unchanged("key", value, revision=revision).revision

        def raw_replace() -> None:
            nonlocal revision
            change = Transaction((RevisionEquals("key", revision),), (Put("key", value),))
            revision = backend.commit(change, timeout=5.0).revision

        yield compare("core compare-and-set", calls(replace), calls(raw_replace), target=None, seconds=seconds)


def run_leases(quick: bool) -> Iterator[Result]:
    seconds = 12 if quick else 60
    lost: list[object] = []
    before = threading.active_count()
    with tenure.connect("memory://benchmark-leases") as store:
        leases = [store.lease(10.0, on_lost=lost.append) for _ in range(LEASES)]
        threads = threading.active_count() - before
        cpu, until = time.process_time(), time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 1.0))
        cpu = (time.process_time() - cpu) / seconds
        alive = sum(lease.alive for lease in leases)
        started = time.monotonic()
    closing = time.monotonic() - started
    left_over = threading.active_count() - before
    yield Result(
        f"{LEASES} leases for {seconds} s",
        f"{len(lost)} lost, {threads} threads",
        "0 lost",
        not lost and alive == LEASES and threads <= 4 and left_over == 0,
        note=f"{cpu:.1%} of a core; closed in {closing:.2f} s, {left_over} threads left",
        numbers={"lost": len(lost), "threads": threads, "cpu": cpu, "closing_seconds": closing},
    )
