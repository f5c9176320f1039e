"""Perform steps with threads: on the caller's own, or in the background on the store's pool."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from typing import Any, TypeVar

from tenure._client.store import Store
from tenure._runtime.clock import TimeLimit
from tenure._runtime.deadline import monotonic
from tenure._runtime.monitor import Monitor
from tenure._steps.effects import Call, Commit, Effect, Get, Grant, Hear, ListKeys, Sleep, Steps, WaitUntil, Word
from tenure._steps.following import Reading, pauses, wait
from tenure.errors import StoreClosed, TenureError
from tenure.leases.lease import Lease
from tenure.spi.types import CommitResult, KeyValue, LeaseGrant, Put, Transaction
from tenure.watch.engine import Watch

T = TypeVar("T")

_log = logging.getLogger("tenure.steps")
_LEAST = 0.001
"""Seconds that a call gets when the time is up, so that it fails by itself, in the store's words."""


def run(store: Store, steps: Steps[T], *, undo: Callable[[T], object] | None = None) -> T:
    """Perform ``steps`` on this thread and return their result.

    An interrupt is raised in the steps too, where they stand, so that they can hand over what they would leave. One
    that comes when they have ended calls ``undo`` with their result, as the caller does not get it. ``undo`` does not
    block.

    In a forked child nothing of the steps is performed: another thread may have held a lock of theirs at the fork.
    """
    store._check_fork()
    ended: list[T] = []
    failed: BaseException | None = None
    while True:
        try:
            _go_on(store, steps, failed, ended)
            return ended[0]
        except BaseException as exc:
            if inspect.getgeneratorstate(steps) == inspect.GEN_CLOSED:
                if ended and undo is not None:
                    undo(ended[0])
                raise
            failed = exc


def _go_on(store: Store, steps: Steps[T], failed: BaseException | None, ended: list[T]) -> None:
    """Perform ``steps`` to their end, beginning with ``failed`` raised in them; add their result to ``ended``."""
    result: Any = None
    while True:
        try:
            effect = steps.send(result) if failed is None else steps.throw(failed)
        except StopIteration as stop:
            ended.append(stop.value)
            return
        failed = None
        try:
            result = perform(store, effect)
        except TenureError as exc:
            failed = exc


def perform(store: Store, effect: Effect[Any]) -> Any:
    """Do what ``effect`` asks for, and return its result or raise its error."""
    return _PERFORM[type(effect)](store, effect)


def seconds_for(store: Store, limit: TimeLimit) -> float:
    """Return the seconds that one call may take within ``limit``."""
    left = limit.left()
    return store.timeout if left is None else max(_LEAST, min(left, store.timeout))


def _grant(store: Store, effect: Grant) -> Lease:
    def make(grant: LeaseGrant, **fields: Any) -> Lease:
        lease = Lease(grant, **fields)
        effect.taken.append(lease)
        return lease

    return store._take_lease(
        make,
        effect.ttl,
        keep_alive=True,
        margin=effect.margin,
        on_lost=effect.on_lost,
        timeout=seconds_for(store, effect.limit),
    )


def _commit(store: Store, effect: Commit) -> CommitResult:
    store._check_process()
    lease = effect.lease
    # A lease that a put names is checked by its local deadline.
    named = lease is not None and any(isinstance(one, Put) and one.lease_id == lease.id for one in effect.operations)
    leases = (lease,) if lease is not None and named else ()
    return store._commit_built(
        Transaction(effect.preconditions, effect.operations), leases, seconds_for(store, effect.limit)
    )


def _get(store: Store, effect: Get) -> KeyValue | None:
    return store.get(effect.key, timeout=seconds_for(store, effect.limit))


def _list(store: Store, effect: ListKeys) -> Any:
    return store._list(
        effect.prefix,
        effect.after,
        limit=effect.most,
        keys_only=not effect.values,
        timeout=seconds_for(store, effect.limit),
    )


def _wait(store: Store, effect: WaitUntil) -> bool:
    with store.watch(effect.prefix, exact=effect.exact, timeout=seconds_for(store, effect.limit)) as watch:
        return read(watch, wait(effect))


def read(watch: Watch, reading: Reading[T]) -> T:
    """Let ``reading`` read a watch on this thread, and return its result."""
    try:
        pause = next(reading)
        while True:
            pause = reading.send(watch.next(pause))
    except StopIteration as stop:
        result: T = stop.value
        return result


def _hear(store: Store, effect: Hear) -> Word | None:
    if effect.prepare is not None:
        effect.prepare(seconds_for(store, effect.limit))
    said = Monitor()

    def tell() -> None:
        with said:
            said.notify()

    word = effect.join(tell)
    if word is None:
        return None
    try:
        with said:
            for pause in pauses(effect, word):
                store.clock.wait(said, pause)
        return word
    finally:
        word.leave()


def _sleep(store: Store, effect: Sleep) -> None:
    limit = TimeLimit(store.clock, effect.seconds)
    condition = Monitor()
    with condition:
        while (left := limit.left() or 0.0) > 0:
            store.clock.wait(condition, left)


_PERFORM: dict[type[Effect[Any]], Callable[[Store, Any], Any]] = {
    Grant: _grant,
    Commit: _commit,
    Get: _get,
    ListKeys: _list,
    WaitUntil: _wait,
    Hear: _hear,
    Sleep: _sleep,
    Call: lambda _store, effect: effect.function(),
}


class Background:
    """Steps that run on the store's pool for callbacks. While they sleep, they take no thread."""

    def __init__(self, store: Store, steps: Steps[None]) -> None:
        self._store = store
        self._steps = steps
        self._strand = store._strand(self._advance)
        self._due = 0.0

    def start(self) -> None:
        """Begin, or continue after a sleep. Never blocks."""
        self._strand.wake()

    def _advance(self) -> None:
        if monotonic() < self._due:
            return
        result: Any = None
        failed: TenureError | None = None
        while True:
            try:
                effect = self._steps.send(result) if failed is None else self._steps.throw(failed)
            except StopIteration:
                return
            except StoreClosed:  # closing has revoked the leases, and their keys are gone
                return
            failed = None
            if isinstance(effect, Sleep):
                self._due = monotonic() + self._store.clock.pause(effect.seconds)
                self._store._timers.call_at(self._due, self.start)
                return
            try:
                result = perform(self._store, effect)
            except TenureError as exc:
                failed = exc
