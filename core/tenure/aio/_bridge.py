"""A synchronous store and the loop that it serves: what all objects of the asyncio face share."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from tenure._client.store import Store
from tenure._runtime.deadline import Deadline
from tenure._runtime.thread_start import start_thread
from tenure.aio._calls import Calls
from tenure.aio._loop import Event
from tenure.errors import InvalidArgument, StoreClosed, TenureError

T = TypeVar("T")

_MOMENT = 0.1
"""Seconds in which a thread ends that has nothing left to do."""

_log = logging.getLogger("tenure.aio")
_CALLS_WITHOUT_A_BREATH = 32
"""Calls that don't wait and may follow one another before other tasks get a turn."""


class Bridge:
    """One store on one loop. A store whose calls never wait is called on the loop, others on workers."""

    def __init__(self, sync: Store, calls: Calls) -> None:
        self.sync = sync
        self.calls = calls
        self.immediate = sync._backend.immediate
        self._closing: Event | None = None
        self._closer: threading.Thread | None = None
        self._breaths = 0
        self._left = [None]
        look = weakref.WeakMethod(self._look_at_loop)
        calls.loop_closed = sync._keeper.before_refresh = lambda: (method := look()) and method()
        self._guard = self._until_the_loop_ends()

    async def open(self) -> None:
        """Let the end of the loop close the store."""
        await anext(self._guard)

    async def call(
        self,
        function: Callable[[], T],
        *,
        undo: Callable[[T], object] | None = None,
        always: bool = False,
        waits: bool = False,
    ) -> T:
        """Make a call of the store. ``undo`` and ``always`` are as for :meth:`Calls.run`.

        ``waits`` says that the call waits for other threads, whatever the store is.
        """
        self.check()
        if self.immediate and not waits:
            if not always:  # a task that is cancelled as it breathes never makes the call
                await self.breathe()
            return function()
        return await self.calls.run(function, undo=undo, always=always)

    async def breathe(self) -> None:
        """Let other tasks run now and then: what never waits would keep them from it."""
        self._breaths += 1
        if self._breaths % _CALLS_WITHOUT_A_BREATH == 0:
            await self.calls.loop.sleep(0)

    def check(self) -> None:
        """Raise if the store can't be used here and now."""
        self.sync._check_process()
        self.check_loop()
        if self._closing is not None:
            raise StoreClosed(f"using {self.sync.url}: the store {self.sync.url} is closed; call connect() again")

    def check_loop(self) -> None:
        """Raise in a forked child, and on any other loop than the store's."""
        self.sync._check_fork()
        if not self.calls.loop.runs_here():
            raise InvalidArgument(
                f"using {self.sync.url}: the store belongs to another event loop; connect on this loop, too, or hand "
                "the call to the store's loop, as by asyncio.run_coroutine_threadsafe or trio.from_thread.run"
            )

    def keep(self, work: Coroutine[Any, Any, None], name: str) -> object:
        """Run ``work``, which raises nothing, as a task of the store."""
        return self.calls.loop.keep(work, name)

    def in_background(self, call: Callable[[], object]) -> None:
        """Make a call of the store that nobody waits for. What it raises is logged."""
        if not self.immediate:
            self.calls.submit(call)
            return
        try:
            call()
        except TenureError as exc:
            _log.info("a call that no task waits for failed: %s", exc)

    async def close(self, timeout: float | None) -> None:
        """Close the store on a thread of its own. A caller that is cancelled doesn't stop it."""
        if self.sync._inherited:
            return
        self.check_loop()
        try:
            await self._close(self.sync._seconds(timeout))
        except BaseException:
            self.calls.loop.tidy(self._forget)
            raise
        await self._guard.aclose()

    async def _close(self, seconds: float) -> None:
        if self._closing is None:
            self._closing = self.calls.loop.event()
            self._closer = threading.Thread(
                target=self._close_here, args=(seconds, self._closing), name="tenure-aio-close", daemon=True
            )
            try:
                start_thread(self._closer)
            except RuntimeError:  # the interpreter is ending, or there are too many threads
                self._close_here(seconds, self._closing)
        if not self._closing.is_set():
            await self._closing.wait()
        if self._closer is not None and self._closer.ident is not None:
            self._closer.join(_MOMENT)  # it has told that it is done, and ends

    async def _forget(self) -> None:
        """Let the end of the loop do nothing more, once the store is closed."""
        if self._closing is not None:
            await self._closing.wait()
        with suppress(RuntimeError):  # the end of the loop is there
            await self._guard.aclose()

    def _close_here(self, seconds: float, closed: Event) -> None:
        deadline = Deadline(seconds)
        try:
            self.sync.close(timeout=seconds)
            self.calls.close(deadline)
        except Exception:  # noqa: BLE001 - the task that waits has to go on
            _log.exception("closing %s failed", self.sync.url)
        finally:
            self.calls.post(closed.set)

    def _look_at_loop(self) -> None:
        """Close the store if its loop was closed before it: nobody can use it, and what it holds is in others' way."""
        if not self.calls.loop.ended or self.sync.closed:
            return
        try:
            self._left.pop()
        except IndexError:
            return
        try:
            start_thread(threading.Thread(target=self._close_left, name="tenure-aio-close", daemon=True))
        except RuntimeError:  # the interpreter is ending, or there are too many threads: look again
            self._left.append(None)

    def _close_left(self) -> None:
        _log.warning("the event loop of %s was closed before the store; closing the store", self.sync.url)
        deadline = Deadline(self.sync.timeout)
        self.sync.close(timeout=deadline.seconds)
        self.calls.close(deadline)

    async def _until_the_loop_ends(self) -> AsyncGenerator[None, None]:
        # asyncio and trio close the generators of a loop before they close the loop: so a store that nobody closes
        # leaves no thread behind, and neither does one that nobody refers to any more.
        try:
            yield
        finally:
            with self.calls.loop.shielded():
                await self._close(self.sync.timeout)
