"""``tenure.aio`` beside the synchronous interface, redis.asyncio, aetcd and ``asyncio.to_thread``, on one loop.

A call of the face is compared with the same of the other, in slices that alternate. Throughput is that of 64 tasks. The
raw calls do the same work, as in :mod:`bench_redis` and :mod:`bench_etcd`. The delay of the loop is how late a task is
that sleeps a millisecond, beside the same on a loop that has nothing else to do.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any

import bench_etcd
import bench_redis
from measure import Result, Slice, calls, compare, difference, interval, judge, shown
from server import KEY, VALUE, with_server

import tenure
from tenure import aio

_TASKS = 64
_MANY = 1000
_ROUNDS = 5
"""Calls of each of so many tasks, so that the start of all in one turn of the loop isn't the 99th percentile."""
_NAP = 0.001
_MORE_US = 40.0
_THROUGHPUT = 1 / 0.9
_WATCH = 1.3
_DELAY_MS = 5.0
_FROZEN = 1.0
"""Seconds for which the server is frozen."""


def run(quick: bool) -> Iterator[Result]:
    """On Redis."""
    yield from with_server("redis", bench_redis.container, partial(_measure_redis, quick))


def run_etcd(quick: bool) -> Iterator[Result]:
    """On etcd."""
    yield from with_server("etcd", bench_etcd.container, partial(_measure_etcd, quick))


def _measure_redis(quick: bool, store: tenure.Store, stack: contextlib.ExitStack) -> Iterator[Result]:
    import redis.asyncio

    seconds = 1.0 if quick else 5.0
    bench = _Bench(store, stack)
    yield from bench.compare_faces("redis", seconds)
    sync = bench_redis.Raw(store)
    stack.callback(sync.close)
    options = sync._client.connection_pool.connection_kwargs
    client = redis.asyncio.Redis(host=options.get("host", "127.0.0.1"), port=options.get("port", 6379))
    stack.callback(bench.loop.run_until_complete, client.aclose())

    async def get() -> None:
        record, _ = await client.hmget(sync._names.data, [sync._key, "\0"])
        assert record

    async def put() -> None:
        assert await client.evalsha(sync._script, 4, *sync._own, sync._key, VALUE, b"", bench_redis.HISTORY)

    yield from bench.compare_tasks("redis.asyncio", get, put, seconds, _THROUGHPUT)
    yield from bench.compare_threads("redis", seconds)
    yield bench.watch("redis", seconds)
    yield from bench.delays("redis", seconds)


def _measure_etcd(quick: bool, store: tenure.Store, stack: contextlib.ExitStack) -> Iterator[Result]:
    seconds = 1.0 if quick else 5.0
    bench = _Bench(store, stack)
    yield from bench.compare_faces("etcd", seconds)
    try:
        import aetcd
    except ImportError:
        yield Result("aio etcd beside aetcd", "NOT MEASURED", note="pip install aetcd")
    else:
        host, _, port = store.url.partition("://")[2].partition("/")[0].partition(":")
        client = aetcd.Client(host=host, port=int(port))
        bench.loop.run_until_complete(client.connect())
        stack.callback(bench.loop.run_until_complete, client.close())
        key = (store._prefix + KEY).encode()

        async def get() -> None:
            assert await client.get(key)

        async def put() -> None:
            await client.put(b"benchmark-aetcd", VALUE)

        yield from bench.compare_tasks("aetcd", get, put, seconds, _THROUGHPUT)
    yield from bench.compare_threads("etcd", seconds)
    yield bench.watch("etcd", seconds)


class _Bench:
    """One loop with a store of the face, beside a synchronous store on the same server."""

    def __init__(self, store: tenure.Store, stack: contextlib.ExitStack) -> None:
        self.loop = asyncio.new_event_loop()
        stack.callback(self.loop.close)
        self._sync = store
        self._store = self.loop.run_until_complete(_opened(store.url))
        stack.callback(lambda: self.loop.run_until_complete(self._store.close()))
        store.put(KEY, VALUE)

    def compare_faces(self, name: str, seconds: float) -> Iterator[Result]:
        """One task against one thread."""
        pairs: list[tuple[str, Callable[[], Awaitable[object]], Callable[[], object]]] = [
            ("get", lambda: self._store.get(KEY), lambda: self._sync.get(KEY)),
            ("put", lambda: self._store.put(KEY, VALUE), lambda: self._sync.put(KEY, VALUE)),
        ]
        for call, ours, sync in pairs:
            yield difference(
                f"aio {name} {call}: more than the synchronous call",
                self._alone(ours),
                calls(sync),
                target_us=_MORE_US,
                seconds=seconds,
                number=50,
            )

    def compare_tasks(
        self,
        peer: str,
        get: Callable[[], Awaitable[object]],
        put: Callable[[], Awaitable[object]],
        seconds: float,
        target: float | None,
    ) -> Iterator[Result]:
        """64 tasks against 64 of another client's."""
        yield compare(
            f"aio get, {_TASKS} tasks, against {peer}",
            self._together(lambda: self._store.get(KEY)),
            self._together(get),
            target=target,
            seconds=seconds,
            number=10 * _TASKS,
        )
        yield compare(
            f"aio put, {_TASKS} tasks, against {peer}",
            self._together(lambda: self._store.put(KEY, VALUE)),
            self._together(put),
            target=target,
            seconds=seconds,
            number=10 * _TASKS,
        )

    def compare_threads(self, name: str, seconds: float) -> Iterator[Result]:
        """64 tasks against 64 that hand their call to the loop's own threads."""
        yield from self.compare_tasks(
            f"asyncio.to_thread on {name}",
            lambda: asyncio.to_thread(self._sync.get, KEY),
            lambda: asyncio.to_thread(self._sync.put, KEY, VALUE),
            seconds,
            None,
        )

    def watch(self, name: str, seconds: float) -> Result:
        """From the begin of a put to its event: in a task, and in a callback of the synchronous watch."""
        return self.loop.run_until_complete(self._watch(name, seconds))

    async def _watch(self, name: str, seconds: float) -> Result:
        came: asyncio.Queue[float] = asyncio.Queue()

        def called(batch: tenure.Batch) -> None:
            if batch.type is tenure.BatchType.CHANGES:
                self.loop.call_soon_threadsafe(came.put_nowait, time.perf_counter())

        async def follow(watch: aio.Watch) -> None:
            async for batch in watch:
                if batch.type is tenure.BatchType.CHANGES:
                    came.put_nowait(time.perf_counter())

        async def seen(key: str) -> float:
            began = time.perf_counter()
            await self._store.put(key, VALUE)
            return await came.get() - began

        ratios, controls, ours = list[float](), list[float](), list[float]()
        async with self._store.watch("benchmark/task/") as watch:
            following = asyncio.create_task(follow(watch))
            with self._sync.watch("benchmark/callback/", callback=called):
                until = time.monotonic() + seconds
                while time.monotonic() < until or len(ratios) < 40:
                    keys = [("ours", "benchmark/task/1")]
                    keys += [(label, "benchmark/callback/1") for label in ("first", "second")]
                    random.shuffle(keys)
                    took = {label: [await seen(key) for _ in range(5)] for label, key in keys}
                    middle = {label: statistics.median(values) for label, values in took.items()}
                    ratios.append(middle["ours"] / ((middle["first"] + middle["second"]) / 2))
                    controls.append(middle["first"] / middle["second"])
                    ours.append(middle["ours"])
            following.cancel()
        passed = judge(ratios, _WATCH)
        low, high = interval(ratios)
        ratio, us = statistics.median(ratios), statistics.median(ours) * 1e6
        return Result(
            f"aio {name} put to event in a task, against a callback",
            shown(ratios),
            f"<= {_WATCH:.2f}",
            passed,
            passed is None,
            shown(controls),
            f"{us:.0f} us",
            {"ratio": ratio, "low": low, "high": high, "control": statistics.median(controls), "ours_us": us},
        )

    def delays(self, name: str, seconds: float) -> Iterator[Result]:
        """How late the loop is while 1,000 calls are under way, and while the server is frozen."""

        async def busy() -> None:
            async def repeat() -> None:
                for _ in range(_ROUNDS):
                    await self._store.get(KEY)

            await asyncio.gather(*(repeat() for _ in range(_MANY)))

        yield self._delay(f"aio {name}: the loop's delay during {_MANY} calls", busy, seconds)
        freeze, thaw = self._frozen()

        async def frozen() -> None:
            freeze()
            try:
                with contextlib.suppress(tenure.TenureError):
                    await asyncio.gather(*(self._store.get(KEY, timeout=_FROZEN) for _ in range(_TASKS)))
            finally:
                thaw()

        yield self._delay(f"aio {name}: the loop's delay while the server is frozen", frozen, seconds)

    def _frozen(self) -> tuple[Callable[[], object], Callable[[], object]]:
        """Return what freezes Redis for the time of the calls, and what lets it continue."""
        client: Any = self._sync.native
        return lambda: client.client_pause(int(_FROZEN * 1000)), lambda: time.sleep(0)

    def _delay(self, name: str, work: Callable[[], Awaitable[None]], seconds: float) -> Result:
        async def late(work: Callable[[], Awaitable[object]]) -> float:
            found: list[float] = []

            async def nap() -> None:
                while True:
                    began = time.perf_counter()
                    await asyncio.sleep(_NAP)
                    found.append(time.perf_counter() - began - _NAP)

            napping = asyncio.create_task(nap())
            await asyncio.sleep(0)
            await work()
            await asyncio.sleep(2 * _NAP)
            napping.cancel()
            return sorted(found)[math.ceil(0.99 * len(found)) - 1] * 1000

        async def rounds() -> tuple[list[float], list[float]]:
            ours, idle = list[float](), list[float]()
            until = time.monotonic() + seconds
            while time.monotonic() < until or len(ours) < 8:
                began = time.monotonic()
                ours.append(await late(work))
                idle.append(await late(partial(asyncio.sleep, time.monotonic() - began)))
            return ours, idle

        ours, idle = self.loop.run_until_complete(rounds())
        passed = judge(ours, _DELAY_MS)
        low, high = interval(ours)
        numbers = {"p99_ms": statistics.median(ours), "low": low, "high": high, "control": statistics.median(idle)}
        return Result(
            name,
            f"p99 {shown(ours)} ms",
            f"<= {_DELAY_MS:g} ms",
            passed,
            passed is None,
            f"{shown(idle)} ms",
            "the control is the same on an idle loop",
            numbers,
        )

    def _alone(self, call: Callable[[], Awaitable[object]]) -> Slice:
        async def repeat(number: int) -> float:
            began = time.perf_counter()
            for _ in range(number):
                await call()
            return time.perf_counter() - began

        return lambda number: self.loop.run_until_complete(repeat(number))

    def _together(self, call: Callable[[], Awaitable[object]]) -> Slice:
        async def repeat(number: int) -> None:
            for _ in range(number):
                await call()

        async def share(number: int) -> float:
            began = time.perf_counter()
            await asyncio.gather(*(repeat(max(1, number // _TASKS)) for _ in range(_TASKS)))
            return time.perf_counter() - began

        return lambda number: self.loop.run_until_complete(share(number))


async def _opened(url: str) -> aio.Store:
    return await aio.connect(url)
