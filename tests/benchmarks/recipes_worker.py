"""One process of the recipes' benchmark: ``python recipes_worker.py CLIENT HOST PORT [URL]``.

Runs cycles of acquire and release of one client on request: each line of its input is a request, each line of its
output the answer, as JSON. It imports its client alone, so that it also runs in an environment without Tenure.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

Cycle = Callable[..., float]
"""Acquires and releases once; answers the time at which it was held, by ``time.perf_counter``.

It calls its argument, if there is one, while it holds.
"""
Makers = dict[str, Callable[[], Cycle]]
"""Makes a participant of each kind of recipe."""
_LEASE = 10
NAME = "benchmark"


def _nothing() -> None:
    """Do nothing."""


def _cycle(acquire: Callable[[], object], release: Callable[[], object]) -> Cycle:
    def run(work: Callable[[], object] = _nothing) -> float:
        acquire()
        held = time.perf_counter()
        work()
        release()
        return held

    return run


def _tenure(host: str, port: int, url: str) -> Makers:
    import tenure

    store = tenure.connect(url, timeout=60)  # a thousand threads begin at once

    def taking(recipe: Any) -> Cycle:
        held: list[Any] = []
        return _cycle(lambda: held.append(recipe.acquire()), lambda: held.pop().release())

    def leading() -> Cycle:
        election = tenure.Election(store, NAME)

        def run(work: Callable[[], object] = _nothing) -> float:
            with election.lead():
                held = time.perf_counter()
                work()
                return held

        return run

    return {
        "fair lock": lambda: taking(tenure.Lock(store, NAME)),
        "unfair lock": lambda: taking(tenure.Lock(store, f"{NAME}-unfair", fair=False)),
        "read-write lock": lambda: taking(tenure.ReadWriteLock(store, NAME).write),
        "semaphore": lambda: taking(tenure.Semaphore(store, NAME, limit=1)),
        "election": leading,
    }


def _redis(host: str, port: int, url: str) -> Makers:
    import redis

    client = redis.Redis(host=host, port=port)

    def lock() -> Cycle:
        one = client.lock(NAME, timeout=_LEASE)
        return _cycle(one.acquire, one.release)

    return {"lock": lock}


def _kazoo(host: str, port: int, url: str) -> Makers:
    from kazoo.client import KazooClient

    client = KazooClient(f"{host}:{port}")
    client.start(30)

    def taking(recipe: Any) -> Cycle:
        return _cycle(recipe.acquire, recipe.release)

    def leading() -> Cycle:
        election = client.Election("/kazoo/election", "benchmark")
        held: list[float] = []

        def run(work: Callable[[], object] = _nothing) -> float:
            election.run(lambda: (held.append(time.perf_counter()), work()))
            return held.pop()

        return run

    return {
        "lock": lambda: taking(client.Lock("/kazoo/lock", "benchmark")),
        "semaphore": lambda: taking(client.Semaphore("/kazoo/semaphore", "benchmark")),
        "election": leading,
    }


def _tooz(host: str, port: int, url: str) -> Makers:
    import os

    from tooz import coordination

    drivers = {"redis": "redis", "etcd": "etcd3+http", "zookeeper": "zookeeper"}
    driver = drivers[url.partition(":")[0]]
    coordinator = coordination.get_coordinator(f"{driver}://{host}:{port}", str(os.getpid()).encode())
    coordinator.start()

    def lock() -> Cycle:
        one = coordinator.get_lock(NAME.encode())
        return _cycle(one.acquire, one.release)

    return {"lock": lock}


def _etcd3(host: str, port: int, url: str) -> Makers:
    import etcd3

    client = etcd3.client(host=host, port=port)

    def lock() -> Cycle:
        one = client.lock(NAME, ttl=_LEASE)

        def acquire() -> None:
            while not one.acquire(timeout=1.0):  # it may miss a release; without a timeout it then waits for ever
                pass

        return _cycle(acquire, one.release)

    return {"lock": lock}


_CLIENTS: dict[str, Callable[[str, int, str], Makers]] = {
    "tenure": _tenure,
    "redis-py": _redis,
    "kazoo": _kazoo,
    "tooz": _tooz,
    "etcd3": _etcd3,
}


def alone(cycle: Cycle, number: int) -> dict[str, Any]:
    """So many cycles without a rival."""
    walls = []
    cpu = time.process_time()
    for _ in range(number):
        started = time.perf_counter()
        cycle()
        walls.append(time.perf_counter() - started)
    return {"walls": walls, "cpu": (time.process_time() - cpu) / number}


def contend(make: Callable[[], Cycle], threads: int, at: float, seconds: float) -> list[dict[str, Any]]:
    """Cycles of several threads from the time ``at`` on. A wait that isn't over by the end counts until there."""
    cycles = [make() for _ in range(threads)]
    time.sleep(max(0.0, at - time.time()))
    cpu, ends = time.process_time(), time.perf_counter() + seconds

    def take_part(cycle: Cycle) -> dict[str, Any]:
        waits, in_time, late = [], 0, 0
        while (started := time.perf_counter()) < ends:
            held = cycle()
            waits.append(min(held, ends) - started)
            if held < ends:
                in_time += 1
            else:
                late += 1
        return {"cycles": in_time, "late": late, "waits": waits}

    with ThreadPoolExecutor(threads) as pool:
        found = list(pool.map(take_part, cycles))
    used = time.process_time() - cpu
    return [{**one, "cpu": used / threads} for one in found]


def drain(make: Callable[[], Cycle], waiters: int) -> dict[str, float]:
    """Let so many wait for one holder, then let each hold once: seconds of a handover, and the client's CPU for it."""
    holder, moments, lock = make(), [], threading.Lock()
    waiting, go = threading.Event(), threading.Event()

    def hold_first() -> None:
        holder(lambda: (waiting.set(), go.wait()))

    def take_part(cycle: Cycle) -> None:
        held = cycle()
        with lock:
            moments.append(held)

    first = threading.Thread(target=hold_first)
    first.start()
    waiting.wait()
    threads = [threading.Thread(target=take_part, args=(make(),)) for _ in range(waiters)]
    for thread in threads:
        thread.start()
    until_idle()
    cpu, began = time.process_time(), time.perf_counter()
    go.set()
    for thread in (first, *threads):
        thread.join()
    return {"wall": (max(moments) - began) / waiters, "cpu": (time.process_time() - cpu) / waiters}


def until_idle() -> None:
    """Wait until this process does next to nothing: then all wait."""
    quiet = 0
    while quiet < 4:
        used = time.process_time()
        time.sleep(0.25)
        quiet = quiet + 1 if time.process_time() - used < 0.125 else 0


def main() -> None:
    client, host, port, url = sys.argv[1:]
    try:
        makers = _CLIENTS[client](host, int(port), url)
    except ImportError as exc:
        print(json.dumps(f"not installed: {exc}"), flush=True)
        return
    print(json.dumps("ready"), flush=True)
    cycles: dict[str, Cycle] = {}
    for line in sys.stdin:
        kind, threads, number, at = json.loads(line)
        try:
            if threads < 0:
                answer: Any = drain(makers[kind], -threads)
            elif threads:
                answer = contend(makers[kind], threads, at, number)
            else:
                if kind not in cycles:
                    cycles[kind] = makers[kind]()
                answer = alone(cycles[kind], number)
        except Exception as exc:  # noqa: BLE001 - the other peers can be measured
            answer = f"{type(exc).__name__}: {exc}"
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
