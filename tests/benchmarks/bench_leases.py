"""Leases beside the raw clients: one short life, and ten thousand that are kept alive.

A short life is a grant, a put under it and the revocation. On Redis the raw client has no leases, so ours is compared
with redis-py's lock. That takes two calls where ours takes three, so the ratio is at least 1.5 wherever the way to the
server and back is what a call costs; the processor time tells what ours costs itself.

On etcd each call of the main thread is handed to another thread, so that no signal handler interrupts gRPC. That takes
some 30 us of each of the three calls, and is a third of what ours costs more.

Keeping alive is compared by the client's processor time for one message. Each side runs in a process of its own, with
the server to itself: the raw one has one stream, and sends as many messages in the same batches at the same times.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent / "support")]

import bench_etcd
import bench_redis
from measure import Result, Slice, calls, compare
from server import VALUE, with_server

import tenure

LIFE_ETCD, LOCK_REDIS = 1.15, 1.3
LEASES, TTL = 10_000, 10.0
BATCH = 500
KEPT_ALIVE = 1.2
KEY = "benchmark/lease"
LOCK = "benchmark/lock"


def run_etcd(quick: bool) -> Iterator[Result]:
    def measure(store: tenure.Store, stack: contextlib.ExitStack) -> Iterator[Result]:
        yield from _lives_on_etcd(store, stack, seconds=2.0 if quick else 8.0)
        yield from _kept_alive(store.url, seconds=12 if quick else 60)

    yield from with_server("etcd", bench_etcd.container, measure)


def run_redis(quick: bool) -> Iterator[Result]:
    def measure(store: tenure.Store, stack: contextlib.ExitStack) -> Iterator[Result]:
        lock = bench_redis.Raw(store)._client.lock("benchmark-lock", timeout=10)

        def theirs() -> None:
            lock.acquire()
            lock.release()

        living = stack.enter_context(store.lease(60.0))

        def own() -> None:
            with store.lease(10.0) as lease:
                store.put_if_absent(LOCK, b"", lease=lease)

        def shared() -> None:
            revision = store.put_if_absent(LOCK, b"", lease=living).revision
            store.delete(LOCK, revision=revision)

        yield from _both("redis lock, a lease of its own", own, theirs, LOCK_REDIS, 2.0 if quick else 8.0)
        yield from _both("redis lock, a living lease", shared, theirs, LOCK_REDIS, 2.0 if quick else 8.0)

    yield from with_server("redis", bench_redis.container, measure)


def _both(
    name: str, ours: Callable[[], object], theirs: Callable[[], object], target: float, seconds: float
) -> Iterator[Result]:
    yield compare(name, calls(ours), calls(theirs), target=target, seconds=seconds)
    yield compare(f"{name}, cpu", _cpu(ours), _cpu(theirs), target=None, seconds=seconds)


def _cpu(call: Callable[[], object]) -> Slice:
    """A slice that is measured by this process's processor time, that of all its threads."""

    def run(number: int) -> float:
        started = time.process_time()
        for _ in range(number):
            call()
        return time.process_time() - started

    return run


def _lives_on_etcd(store: tenure.Store, stack: contextlib.ExitStack, *, seconds: float) -> Iterator[Result]:
    raw = _RawLeases(store)
    stack.callback(raw.close)
    key = f"{store._prefix}{KEY}-raw".encode()

    def ours() -> None:
        with store.lease(10.0) as lease:
            store.put(KEY, VALUE, lease=lease)

    yield from _both("etcd lease, put and revoke", ours, lambda: raw.live(key), LIFE_ETCD, seconds)


class _RawLeases:
    """The stubs of leases, on a channel made as the plugin makes its own."""

    def __init__(self, store: tenure.Store) -> None:
        from tenure_etcd.messages import bind

        backend: Any = store._backend
        self._raw = bench_etcd.Raw(next(iter(backend._connection.hosts)))
        stubs = bind(self._raw._client.channel, "Lease")
        self._grant, self._revoke, self._keep_alive = (
            stubs[f"Lease{name}"] for name in ("Grant", "Revoke", "KeepAlive")
        )
        self._message = self._raw.messages

    def grant(self) -> int:
        request = self._message["LeaseGrantRequest"](TTL=int(TTL))
        return int(self._grant(request, timeout=5.0, metadata=bench_etcd.METADATA).ID)

    def live(self, key: bytes) -> None:
        number = self.grant()
        request = self._message["PutRequest"](key=key, value=VALUE, lease=number)
        self._raw._put(request, timeout=5.0, metadata=bench_etcd.METADATA)
        revoke = self._message["LeaseRevokeRequest"](ID=number)
        self._revoke(revoke, timeout=5.0, metadata=bench_etcd.METADATA)

    def keep_alive(self, requests: Any) -> Any:
        return self._keep_alive(requests, metadata=bench_etcd.METADATA)

    def close(self) -> None:
        self._raw.close()


# -- ten thousand ------------------------------------------------------------------------------------------


def _kept_alive(url: str, *, seconds: int) -> Iterator[Result]:
    found: dict[str, list[dict[str, float]]] = {"raw": [], "ours": []}
    for kind in ("raw", "ours", "raw"):
        command = [sys.executable, __file__, kind, url, str(seconds)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=seconds + 300)
        found[kind].append(json.loads(done.stdout.splitlines()[-1]))
    raw = [one["cpu_us"] for one in found["raw"]]
    ours = found["ours"][0]
    ratio, control = ours["cpu_us"] / statistics.mean(raw), raw[0] / raw[1]
    raw_lost = sum(one["lost"] for one in found["raw"])
    yield Result(
        f"etcd {LEASES} leases kept alive",
        f"{ours['lost']:.0f} lost, cpu {ratio:.2f}",
        f"0 lost, <= {KEPT_ALIVE:.2f}",
        ours["lost"] == 0 and ratio <= KEPT_ALIVE,
        control=f"{control:.2f}",
        note=f"{ours['cpu_us']:.0f} us a message against {statistics.mean(raw):.0f} us on a raw stream; {seconds} s, "
        f"{ours['messages']:.0f} messages, {ours['threads']:.0f} threads, raw lost {raw_lost:.0f}",
        numbers={"ratio": ratio, "control": control, **ours},
    )


def _ours(url: str, seconds: float) -> dict[str, float]:
    lost: list[object] = []
    with tenure.connect(url, timeout=60.0) as store:
        leases = [store.lease(TTL, on_lost=lost.append) for _ in range(LEASES)]
        backend: Any = store._backend
        refresh, sent = backend.refresh, [0]

        def counted(ids: Any, *, timeout: float) -> Any:
            sent[0] += len(ids)
            return refresh(ids, timeout=timeout)

        backend.refresh = counted
        cpu, wall = time.process_time(), time.monotonic()
        time.sleep(seconds)
        cpu, wall = time.process_time() - cpu, time.monotonic() - wall
        alive, messages, threads = sum(lease.alive for lease in leases), sent[0], threading.active_count()
    return {
        "lost": LEASES - alive + len(lost),
        "messages": messages,
        "cpu_us": cpu / messages * 1e6,
        "cpu_share": cpu / wall,
        "threads": threads,
    }


def _raw(url: str, seconds: float) -> dict[str, float]:
    """One stream. The requests of a batch go out together; the batches of a round are spread over a third of a TTL."""
    import queue

    with tenure.connect(url) as store:
        raw = _RawLeases(store)
    numbers = [raw.grant() for _ in range(LEASES)]
    requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
    answers = raw.keep_alive(iter(requests.get, None))
    message = raw._message["LeaseKeepAliveRequest"]
    messages = lost = 0
    cpu, wall = time.process_time(), time.monotonic()
    pause = TTL / 3 * BATCH / LEASES
    while time.monotonic() < wall + seconds:
        for start in range(0, LEASES, BATCH):
            began = time.monotonic()
            for number in numbers[start : start + BATCH]:
                requests.put(message(ID=number))
            for _ in range(BATCH):
                lost += next(answers).TTL <= 0
            messages += BATCH
            time.sleep(max(0.0, began + pause - time.monotonic()))
    cpu, wall = time.process_time() - cpu, time.monotonic() - wall
    requests.put(None)
    raw.close()
    return {"lost": lost, "messages": messages, "cpu_us": cpu / messages * 1e6, "cpu_share": cpu / wall}


if __name__ == "__main__":
    kind, url, seconds = sys.argv[1:]
    print(json.dumps((_ours if kind == "ours" else _raw)(url, float(seconds))))
