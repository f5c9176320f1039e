"""Perform steps on an event loop: requests on the store's workers, waits and pauses on the loop itself.

A cancel is raised in the steps where they stand, like an interrupt of a thread, so that they hand over to the janitor
what they would leave.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from tenure._steps.effects import Call, Effect, Grant, Hear, Sleep, Steps, WaitUntil, Word
from tenure._steps.following import Reading, pauses, wait
from tenure._steps.threads import perform as perform_on_thread
from tenure._steps.threads import seconds_for
from tenure.aio._faces import like
from tenure.aio._lease import Lease
from tenure.aio._signal import Signal
from tenure.aio._store import Store
from tenure.aio._watch import Watch

_log = logging.getLogger("tenure.aio")
P = ParamSpec("P")
T = TypeVar("T")


async def run(store: Store, steps: Steps[T]) -> T:
    """Perform ``steps`` and return their result. There is no place for a cancel between their end and the return."""
    store._bridge.check_loop()  # first: in a forked child, a lock of the steps may be held by nobody
    result: Any = None
    failed: BaseException | None = None
    while True:
        try:
            effect = steps.send(result) if failed is None else steps.throw(failed)
        except StopIteration as stop:
            value: T = stop.value
            return value
        failed = None
        try:
            result = await _perform(store, effect)
        except BaseException as exc:  # noqa: BLE001 - passed on to the steps, which raise it again
            failed = exc


class ToTheEnd:
    """Steps that are performed to their end, also if those who wait for it are cancelled: then in the background."""

    def __init__(self, store: Store, steps: Steps[None], name: str) -> None:
        self._name = name
        self._loop = store._bridge.calls.loop
        self._ended = self._loop.event()
        self._error: BaseException | None = None
        self._waiting = 0
        self._task = store._bridge.keep(self._perform(store, steps), name)

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits any more."""
        return not self._waiting

    @property
    def runs_elsewhere(self) -> bool:
        """Whether it has not ended, and the caller is not called by it."""
        return not self._ended.is_set() and self._loop.task() is not self._task

    async def wait(self) -> None:
        """Wait until it has ended, and raise its error."""
        self._waiting += 1
        try:
            await self._ended.wait()
        finally:
            self._waiting -= 1
        if self._error is not None:
            raise self._error

    async def _perform(self, store: Store, steps: Steps[None]) -> None:
        try:
            await run(store, steps)
        except BaseException as exc:  # noqa: BLE001 - raised for those who wait
            self._error = exc
            if not self._waiting and isinstance(exc, Exception):
                _log.info("%s failed in the background: %s", self._name, exc)
        finally:
            self._ended.set()


async def _perform(store: Store, effect: Effect[Any]) -> Any:
    sync = store._sync
    if isinstance(effect, WaitUntil):
        return await _wait(store, effect)
    if isinstance(effect, Hear):
        return await _hear(store, effect)
    if isinstance(effect, Call):
        returned = effect.function()
        return await returned if inspect.isawaitable(returned) else returned
    if isinstance(effect, Sleep):
        return await store._bridge.calls.loop.sleep(sync.clock.pause(effect.seconds))
    if isinstance(effect, Grant):
        return await store._bridge.call(
            partial(
                sync._take_lease,
                partial(Lease, store._bridge),
                effect.ttl,
                keep_alive=True,
                margin=effect.margin,
                on_lost=effect.on_lost,
                timeout=seconds_for(sync, effect.limit),
            ),
            undo=lambda lease: lease.revoke_now(None),
        )
    return await store._call(partial(perform_on_thread, sync, effect))


async def _wait(store: Store, effect: WaitUntil) -> bool:
    timeout = seconds_for(store._sync, effect.limit)
    async with store.watch(effect.prefix, exact=effect.exact, timeout=timeout) as watch:
        return await read(watch, wait(effect))


async def _hear(store: Store, effect: Hear) -> Word | None:
    if effect.prepare is not None:
        await store._call(partial(effect.prepare, seconds_for(store._sync, effect.limit)))
    signal = Signal(store._bridge.calls)
    word = effect.join(signal.wake)
    if word is None:
        return None
    try:
        for pause in pauses(effect, word):
            await signal.wait(store._sync.clock.pause(pause))
        return word
    finally:
        word.leave()


async def read(watch: Watch, reading: Reading[T]) -> T:
    """Let ``reading`` read a watch, and return its result. A cancel comes where it waits, and loses no batch."""
    try:
        pause = next(reading)
        while True:
            pause = reading.send(await watch.next(pause))
    except StopIteration as stop:
        result: T = stop.value
        return result


class Driven(Protocol):
    """An object that has a synchronous twin, and drives its steps."""

    @property
    def _store(self) -> Store: ...

    @property
    def _sync(self) -> Any: ...


def driven(
    method: Callable[Concatenate[Any, P], T], steps: Callable[Concatenate[Any, P], Steps[T]]
) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]:
    """Return the twin of ``method``, which drives what ``steps`` of the synchronous object returns."""

    async def call(self: Driven, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await run(self._store, steps(self._sync, *args, **kwargs))

    return like(method, call)
