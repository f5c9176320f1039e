"""Workers of ``multiprocessing``: each is an instance, and takes part in the work until it is told to stop.

STORE=sqlite:///tmp/shop.db python crawlers.py
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from types import FrameType

from tenure_workers import Lifespan

import tenure
from tenure.registry import Instance

lifespan = Lifespan(
    os.environ.get("STORE", "sqlite:///tmp/crawlers.db"),
    lambda: Instance("crawlers"),
    drain_wait=float(os.environ.get("DRAIN_WAIT", "1")),
    stop_timeout=float(os.environ.get("STOP_TIMEOUT", "8")),
)


def crawl() -> None:
    """Work in pieces, and look between them whether to stop."""
    with lifespan:  # opens a store of this process, and registers; on SIGTERM it drains and deregisters
        while not lifespan.wait(0.05):
            tenure.Counter(lifespan.store, "pages").add()


def main() -> None:
    """Start some workers, pass SIGTERM on to them, and wait for them."""
    start_method = os.environ.get("START_METHOD", "spawn")
    if os.environ.get("OPEN_FIRST"):
        lifespan.store.put("parent", b"has a store, too")
    context = multiprocessing.get_context(start_method)
    workers = [context.Process(target=crawl) for _ in range(2)]

    def stop(_number: int, _frame: FrameType | None) -> None:
        for worker in workers:
            worker.terminate()

    for worker in workers:
        worker.start()
    signal.signal(signal.SIGTERM, stop)
    for worker in workers:
        worker.join()
    if os.environ.get("OPEN_FIRST"):
        lifespan.store.put("parent", b"is untouched")
    sys.exit(max(worker.exitcode or 0 for worker in workers))


if __name__ == "__main__":
    main()
