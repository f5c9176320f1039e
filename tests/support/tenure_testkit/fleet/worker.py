"""A process of the fleet: many clients, each with a store, a lease with a key, and a watch with a callback.

Its argument is a JSON object. It prints one line of JSON when all clients are there, and a report for each line that it
reads. After the line ``refresh`` each client first refreshes its lease once. It ends when its standard input does.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import tenure
from tenure._runtime import spread
from tenure_testkit.waiting import PATIENCE

MARKER = "data/marker"
"""The key that says which outage is over, so that each client can say when it knows."""
_AT_ONCE = 4


class Client:
    """One client, and what it has seen."""

    def __init__(self, url: str, ttl: float, name: str) -> None:
        self.seen: dict[int, float] = {}
        """When it knew the marker's value, such as the number of an outage that is over."""
        self.batches: Counter[str] = Counter()
        self.losses: list[str] = []
        self.store = tenure.connect(url, timeout=PATIENCE)
        self.lease = self.store.lease(ttl, on_lost=lambda lease: self.losses.append(lease.reason))
        self.store.put(f"clients/{name}", b"", lease=self.lease)
        self.store.watch("data/", callback=self.take)

    def take(self, batch: tenure.Batch) -> None:
        """The watch's callback."""
        self.batches[batch.type.value] += 1
        for event in batch.events:
            if event.key == MARKER and event.item is not None:
                self.seen.setdefault(int(event.item.value), time.monotonic())


def without_spread() -> None:
    """Let clients come back as if nothing spread them."""
    spread.FLEET = 0
    spread._EARLIEST_RETRY = spread._EARLIEST_REFRESH = 1.0


def report(clients: list[Client]) -> dict[str, Any]:
    """What all clients of this process have seen."""
    batches: Counter[str] = Counter()
    for client in clients:
        batches += client.batches
    return {
        "seen": [client.seen for client in clients],
        "batches": batches,
        "losses": [reason for client in clients for reason in client.losses],
    }


def main() -> None:
    """The process."""
    logging.disable(logging.WARNING)  # clients say that they have lost the server
    config = json.loads(sys.argv[1])
    if not config["spread"]:
        without_spread()
    names = [f"{config['number']}-{number}" for number in range(config["clients"])]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        clients = list(pool.map(lambda name: Client(config["url"], config["ttl"], name), names))
    print(json.dumps({"ready": len(clients)}), flush=True)
    for line in sys.stdin:
        if line.strip() == "refresh":
            for client in clients:
                client.lease.refresh()
        print(json.dumps(report(clients)), flush=True)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(lambda client: client.store.close(), clients))


if __name__ == "__main__":
    main()
