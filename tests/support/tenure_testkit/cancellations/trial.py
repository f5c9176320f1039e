"""One store: tasks that are cancelled under faults, and quiet moments in which nothing may be left of them.

::

    act, cancel, faults --> calm --> nothing is left, nothing was lost --> act, ... --> close --> no thread, no socket

A participant that was cancelled has given back what it took, at the latest by its janitor: the session on which
recipes hold lives as long as the store is open, so a ghost would stay.
"""

from __future__ import annotations

import gc
import logging
import os
import random
import sys
import threading
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import anyio

import tenure
from tenure import aio
from tenure_testkit.cancellations.acts import ACTS, ENDS, EXPECTED, TTL, Caller, Notes
from tenure_testkit.cancellations.faults import Weather
from tenure_testkit.cancellations.loops import CANCELLED, DONE, Canceller, run
from tenure_testkit.waiting import PATIENCE

TIMEOUT = 2.0
"""The store's timeout, in seconds."""
_WORKERS = 24
"""Tasks at a time."""
_CALLS = 4
"""So many calls of tasks proceed at a time, in the time that one takes alone; a guess."""
_PUTS = (0, 0, 1, 3, 10, 30, 100, 300, 1000)
"""A cancel comes within the time of so many puts."""
_GONE = 2 * TTL + 5.0 + 4 * TIMEOUT + PATIENCE / 2
"""Seconds after the last fault until nothing of a cancelled task is left: sessions that got lost expire, and the
janitor looks every 5 seconds."""
_EMPTY = ("tenure/queue/", "tenure/double-barrier/", "tenure/group/")
"""Where nothing is once all have left, with or without a lease."""
_MARKS = "tenure/mark/"
"""A store keeps as many marks as it had operations at the same time."""
_MOST_PROBLEMS = 20


@dataclass(slots=True)
class Found:
    """What a trial has shown."""

    seed: str
    cancels: int = 0
    seconds: float = 0.0
    ends: Counter[str] = field(default_factory=Counter)
    acts: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        names = ("seed", "cancels", "seconds", "ends", "acts", "faults", "problems")
        return {name: getattr(self, name) for name in names}


class Trial:
    """Cancels on one store until there were enough, or the time is up."""

    def __init__(
        self,
        url: str,
        weather: Weather,
        *,
        seed: str,
        loop: str = "asyncio",
        cancels: int = 10_000,
        seconds: float = 600.0,
        turns: int = 4,
        acts: tuple[str, ...] = tuple(ACTS),
        gone: float = _GONE,
        tell: Callable[[str], object] = lambda _: None,
    ) -> None:
        self.found = Found(seed)
        self._url = url
        self._weather = weather
        self._loop = loop
        self._wanted = cancels
        self._ends = time.monotonic() + seconds
        self._turns = turns
        self._acts = acts
        self._gone = gone
        self._tell = tell
        self._notes = Notes()
        self._unit = 0.001

    def run(self) -> Found:
        """From the opening of the store to its end."""
        began = time.monotonic()
        self._warm_up()
        before = _left()
        with _heard(self.found.problems, self._weather.ports):
            run(self._loop, self._main)
            gc.collect()
        deadline = time.monotonic() + self._gone
        while (more := _left() - before) and time.monotonic() < deadline:
            time.sleep(0.05)
        self.found.problems += [f"left after the end: {what} ({times} more)" for what, times in more.items()]
        self.found.problems = self.found.problems[:_MOST_PROBLEMS]
        self.found.faults = self._weather.counts
        self.found.seconds = round(time.monotonic() - began, 1)
        return self.found

    def _warm_up(self) -> None:
        """Open and close once, so that what a driver keeps for ever counts as there before. Measure a put."""
        with tenure.connect(self._url, timeout=PATIENCE) as store:
            for _ in range(2):
                began = time.monotonic()
                store.put("a", b"")
                self._unit = max(0.0002, min(0.02, time.monotonic() - began)) * _WORKERS / _CALLS

    async def _main(self, canceller: Canceller) -> None:
        tasks = canceller.tasks()
        async with aio.connect(self._url, timeout=TIMEOUT) as store:
            async with aio.Lock(store, "first").hold():
                pass  # all recipes of the store share the lease that it has from now on
            leases = len(await store.leases()) if store.capabilities.list_leases else 0
            for turn in range(1, self._turns + 1):
                wanted = self._wanted * turn // self._turns
                self._weather.blow()
                async with anyio.create_task_group() as group:
                    for number in range(_WORKERS):
                        chance = random.Random(f"{self.found.seed}/{turn}/{number}")
                        group.start_soon(self._work, store, canceller, chance, wanted)
                await anyio.to_thread.run_sync(self._weather.calm)
                await self._judge(store, canceller, tasks, leases)
                problems = [*self.found.problems, *self._notes.problems]
                news = "".join(f"; {problem:.200}" for problem in problems[-1:])
                self._tell(f"{self.found.cancels} cancels, {len(problems)} problems{news}")
                if self._over:
                    break
        self.found.problems += self._notes.problems + [f"told to the loop alone: {what}" for what in canceller.told]
        await anyio.sleep(0)
        if (left := await self._settled(lambda: canceller.tasks() - tasks)) > 0:
            self.found.problems.append(f"left after the close: {left} tasks")

    @property
    def _over(self) -> bool:
        return time.monotonic() >= self._ends or len(self.found.problems) >= _MOST_PROBLEMS

    async def _work(self, store: aio.Store, canceller: Canceller, chance: random.Random, wanted: int) -> None:
        caller = Caller(store, self._url, chance, self._notes)
        while self.found.cancels < wanted and not self._over:
            name = chance.choice(self._acts)
            after = chance.choice(_PUTS) * chance.random() * self._unit
            end = await canceller.cancelled(partial(ACTS[name], caller), after, chance)
            self.found.acts[name] += 1
            if end in (CANCELLED, DONE):
                self.found.ends[str(end)] += 1
                self.found.cancels += end == CANCELLED
                continue
            self.found.ends[type(end).__name__] += 1
            if not isinstance(end, ENDS):
                assert isinstance(end, BaseException)
                where = "".join(traceback.format_exception(end)[-3:])
                self.found.problems.append(f"{name} ended by {type(end).__name__}: {end}\n{where}")

    # -- quiet moments --

    async def _judge(self, store: aio.Store, canceller: Canceller, tasks: int, leases: int) -> None:
        problems = self.found.problems
        try:
            await self._again(lambda: store.put("next", b""))
            await self._again(lambda: self._drain(store))
            left = await self._settled_to(lambda: self._again(lambda: _ghosts(store)), ())
            problems += [f"a ghost: {key}" for key in left]
            if store.capabilities.list_leases:
                more = await self._settled_to(lambda: self._again(lambda: _leases(store, leases)), 0)
                problems += [f"{more} leases more than before"] * bool(more)
            await self._again(lambda: self._numbers(store))
            await self._again(lambda: _newcomer(store, self._gone))
        except Exception as exc:  # noqa: BLE001 - reported
            problems.append(f"in a quiet moment: {type(exc).__name__}: {exc}")
        if (more := await self._settled(lambda: canceller.tasks() - tasks)) > 0:
            problems.append(f"{more} tasks are left in a quiet moment")

    async def _again(self, call: Callable[[], Any]) -> Any:
        """Make a call that the last fault may still disturb."""
        deadline = time.monotonic() + self._gone
        while True:
            try:
                return await call()
            except EXPECTED:
                if time.monotonic() > deadline:
                    raise
                await anyio.sleep(0.05)

    async def _settled_to(self, look: Callable[[], Any], wanted: object) -> Any:
        deadline = time.monotonic() + self._gone
        while (seen := await look()) != wanted and time.monotonic() < deadline:
            await anyio.sleep(0.05)
        return seen

    async def _settled(self, look: Callable[[], int], wanted: int = 0) -> int:
        """Wait until there are no more than ``wanted``, and return how many there are."""

        async def few() -> int:
            return max(wanted, look())

        seen: int = await self._settled_to(few, wanted)
        return seen

    async def _drain(self, store: aio.Store) -> None:
        """Do what is left in the queue. Each item that was put is done once."""
        queue = aio.WorkQueue(store, "work", max_attempts=10**6)
        while (claim := await queue.claim(timeout=1.0)) is not None:
            effect = f"effects/{claim.value.decode()}"
            await claim.ack(store.transaction().if_absent(effect).put(effect, b""))
        done = {key.removeprefix("effects/").encode() for key in (await store.list("effects/")).keys}
        lost = self._notes.put - done
        if lost:
            self.found.problems.append(f"items that were put, and are lost: {sorted(lost)[:5]}")

    async def _numbers(self, store: aio.Store) -> None:
        added, notes = self._notes.added, self._notes
        total = await aio.Counter(store, "count").value()
        if not added["done"] <= total <= added["tried"]:
            self.found.problems.append(f"{total} were counted: {added['done']} returned, {added['tried']} were tried")
        twice = [number for number, times in notes.ids.items() if times > 1]
        if twice:
            self.found.problems.append(f"ids that were given twice: {twice[:5]}")
        for name, results in notes.results.items():
            if len(results) > 1:
                self.found.problems.append(f"{name} has several results: {results}")
        inside = {what: number for what, number in notes.inside.items() if number}
        if inside:
            self.found.problems.append(f"the trial itself is wrong: {inside}")


async def _ghosts(store: aio.Store) -> tuple[str, ...]:
    """Keys that only somebody who holds something has. All others have a state that stays, such as a number."""
    items = (await store.list()).items
    marks = [item.key for item in items if item.key.startswith(_MARKS)]
    held = [item.key for item in items if item.lease_id is not None and not item.key.startswith(_MARKS)]
    return (*held, *(item.key for item in items if item.key.startswith(_EMPTY)), *marks[_WORKERS:])


async def _leases(store: aio.Store, before: int) -> int:
    return max(0, len(await store.leases()) - before)


async def _newcomer(store: aio.Store, timeout: float) -> None:
    """Nothing is in the way of who comes now."""
    for fair in (True, False):
        async with aio.Lock(store, f"lock {fair}", fair=fair).hold(timeout=timeout):
            pass
    async with aio.MultiLock(store, ["x", "y"]).hold(timeout=timeout):
        pass
    async with aio.ReadWriteLock(store, "rw").write.hold(timeout=timeout):
        pass
    async with aio.Election(store, "leader", candidate="newcomer").lead(timeout=timeout):
        pass


def _left() -> Counter[str]:
    """Count threads and sockets."""
    found = Counter(thread.name.rstrip("-0123456789") for thread in threading.enumerate())
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue
        found["sockets"] += target.startswith("socket:")
    return found


@contextmanager
def _heard(problems: list[str], proxies: tuple[int, ...]) -> Iterator[None]:
    """Note what nobody raises: warnings, errors of finalizers and threads, and what is logged as an error.

    The face itself makes no transport of asyncio. One is the proxy's, which cuts connections while it accepts them.
    """

    class Logged(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            error = record.exc_info and record.exc_info[1]
            where = "".join(traceback.format_exception(error)[-6:]) if error else ""
            problems.append(f"logged: {record.getMessage():.300}\n{where}")

    def warn(message: Warning | str, kind: type[Warning], *_: Any) -> None:
        text = str(message)
        if "SocketTransport" not in text and not any(f"('127.0.0.1', {port})" in text for port in proxies):
            problems.append(f"{kind.__name__}: {text}")

    handler = Logged(logging.ERROR)
    loggers = [logging.getLogger(name) for name in ("tenure", "asyncio", "trio")]
    hooks = sys.unraisablehook, threading.excepthook
    sys.unraisablehook = lambda failed: problems.append(f"unraisable: {failed.exc_value!r} in {failed.object!r}")
    threading.excepthook = lambda failed: problems.append(f"in {failed.thread}: {failed.exc_value!r}")
    for logger in loggers:
        logger.addHandler(handler)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning = warn  # type: ignore[assignment]
            yield
            gc.collect()
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
        sys.unraisablehook, threading.excepthook = hooks
