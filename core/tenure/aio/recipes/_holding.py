"""What can be held, on an event loop: ``acquire``, ``Held`` with ``release``, and ``async with ... .hold()``.

The synchronous objects know what is held; the objects here await it. Leaving the block, and :meth:`Held.release`, give
it back even if the task is cancelled meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from types import TracebackType
from typing import Any

from tenure._client.keys import check_callback
from tenure._runtime.clock import TimeLimit
from tenure.aio._bridge import Bridge
from tenure.aio._faces import awaited, described, documented, passed_on
from tenure.aio._loop import Block
from tenure.aio._signal import Signal
from tenure.aio._store import Store
from tenure.aio._transaction import TransactionBuilder
from tenure.aio.recipes._session import Session
from tenure.aio.recipes._steps import run
from tenure.errors import TenureError
from tenure.recipes import _holding as sync
from tenure.recipes._entered import EnteredByMethod, NotYetHeld
from tenure.recipes._held_state import HeldState as SyncHeldState

_SLICE = 0.25
"""Seconds after which a wait for the end looks whether another task has released it."""


class HeldState:
    """What is held, whatever it is. Reading its state is a plain call, and so is adding the guard."""

    def __init__(self, bridge: Bridge, held: SyncHeldState) -> None:
        self._bridge = bridge
        self._sync = held
        self.name = held.name
        self.token = held.token
        self.key = held.key
        self._call = bridge.call

    @property
    @documented(sync.Held.session)
    def session(self) -> Session:
        return Session(self._sync.session)

    @property
    @documented(sync.Held.held)
    def held(self) -> bool:
        return self._sync.held

    @property
    @documented(sync.Held.lost)
    def lost(self) -> bool:
        return self._sync.lost

    @property
    @documented(sync.Held.remaining)
    def remaining(self) -> float:
        return self._sync.remaining

    check = passed_on(sync.Held.check)

    @documented(sync.Held.guard)
    def guard(self, transaction: TransactionBuilder) -> TransactionBuilder:
        return self._sync.guard(transaction)

    @documented(sync.Held.on_lost)
    def on_lost(self, callback: Callable[[], object]) -> None:
        check_callback("callback", callback, awaited=True)
        self._bridge.sync._check_fork()
        self._sync._subscribe(partial(self._bridge.calls.tell, callback), _now)

    @documented(sync.Held.wait_until_lost)
    async def wait_until_lost(self, timeout: float | None = None) -> bool:
        limit = TimeLimit(self._bridge.sync.clock, timeout)
        signal = Signal(self._bridge.calls)
        self.on_lost(signal.wake)
        while not self._sync._ended.is_set():
            left = limit.left()
            if left is not None and left <= 0:
                return False
            await signal.wait(_SLICE if left is None else min(left, _SLICE))
        return True

    def __repr__(self) -> str:
        return repr(self._sync)


@described(sync.Held)
class Held(HeldState):
    """What is held, for one event loop. Reading its state is a plain call, and so is adding the guard.

    Its fields are those of :class:`tenure.Held`, too. ``async with`` needs no call of :meth:`release`.
    """

    _sync: sync.Held

    @documented(sync.Held.release)
    async def release(self, *, timeout: float | None = None) -> bool:
        if self._bridge.sync._inherited:
            return False
        return await self._bridge.call(partial(self._sync.release, timeout=timeout), always=True)

    fence = awaited(sync.Held.fence)


class Holding(NotYetHeld):
    """Acquires when it is entered, releases at the end. Each can be entered once at a time.

    If what is held is lost within the block, the block is cancelled there, and leaving it raises ``LeaseLost``. Any
    other cancel passes as it is.
    """

    def __init__(self, acquire: Callable[[], Coroutine[Any, Any, Held]], of: object) -> None:
        self._acquire = acquire
        self._of = of
        self._held: Held | None = None
        self._block: Block | None = None

    async def __aenter__(self) -> Held:
        self._entered = True
        held = await self._acquire()
        self._held = held
        held.on_lost(partial(self._cancel, held))
        self._block = held._bridge.calls.loop.block()  # last: it has to be left
        return held

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        held, self._held = self._held, None
        block, self._block = self._block, None
        if held is None or block is None:
            return
        ours, foreign = await block.leave(kind, error, tb)
        try:
            kept = await held.release() or held._sync._given_back
        except TenureError:
            if error is None and foreign is None:
                raise
            kept = False
        if foreign is not None:
            raise foreign
        if ours or (not kept and error is None):
            held._bridge.sync._check_fork()
            raise sync.lost_within(held) from error

    def _cancel(self, held: Held) -> None:
        if self._held is held and self._block is not None:
            self._block.cancel()


class Acquires(EnteredByMethod):
    """The calls of an object that can hold something. One object is one participant, and holds once at a time."""

    def __init__(self, store: Store, acquires: sync.Acquires) -> None:
        self._store = store
        self._sync = acquires
        self._last: Held | None = None

    @property
    @documented(sync.Acquires.held)
    def held(self) -> Held | None:
        held = self._sync.held
        return None if held is None else self._face(held)

    @documented(sync.Acquires.acquire)
    async def acquire(self, *, timeout: float | None = None) -> Held:
        steps = sync.acquisition(self._sync._steps, self._sync._value, timeout)
        return self._face(await run(self._store, steps))

    @documented(sync.Acquires.try_acquire)
    async def try_acquire(self, *, timeout: float | None = None) -> Held | None:
        held = await run(self._store, sync.attempt(self._sync._steps, self._sync._value, timeout))
        return None if held is None else self._face(held)

    @documented(sync.Acquires.hold)
    def hold(self, *, timeout: float | None = None) -> Holding:
        return Holding(lambda: self.acquire(timeout=timeout), self)

    def _face(self, held: sync.Held) -> Held:
        if self._last is None or self._last._sync is not held:
            self._last = Held(self._store._bridge, held)
        return self._last

    def __repr__(self) -> str:
        return repr(self._sync)


def _now(run: Callable[[], object]) -> object:
    return run()
