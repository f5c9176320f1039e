"""A process of its own that uses a store: started by the tests, told what to do by its arguments.

``write PATH NAME``: puts NAME/0, NAME/1, ... and prints each number once it is acknowledged, until killed.
``lease PATH KEY TTL``: puts KEY on a lease, prints the lease's id, and waits to be killed.
``put PATH KEY``: puts KEY whenever a line comes in, prints the revision.
"""

from __future__ import annotations

import itertools
import signal
import sys

from tenure._runtime.clock import SystemClock
from tenure.spi import OpenRequest, Put, Transaction
from tenure_sqlite.backend import open_backend

T = 30.0


def main(job: str, path: str, name: str, ttl: str = "0") -> None:
    store = open_backend(
        OpenRequest(
            url=f"sqlite://{path}",
            variants=frozenset(),
            path=path,
            options={"history": 10_000, "poll": 0.015, "synchronous": "normal"},
            timeout=T,
            clock=SystemClock(),
        )
    )
    if job == "write":
        for number in itertools.count():
            value = bytes(number % 3000)
            store.commit(
                Transaction((), (Put(f"{name}/{number}", value), Put(f"{name}/last", b"%d" % number))), timeout=T
            )
            print(number, flush=True)
    elif job == "lease":
        lease_id = store.grant(float(ttl), timeout=T).lease_id
        store.commit(Transaction((), (Put(name, b"", lease_id),)), timeout=T)
        print(lease_id, flush=True)
        signal.pause()
    else:
        print("ready", flush=True)
        for line in sys.stdin:
            print(store.commit(Transaction((), (Put(name, line.encode()),)), timeout=T).revision, flush=True)
        store.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
