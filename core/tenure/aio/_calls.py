"""Calls of a synchronous store, made on threads of its own and awaited on one event loop.

::

    task --> queue --> worker makes the call --> finished --> one wake-up of the loop for all that are there --> tasks

A task that is cancelled while it waits is told at once. What is still queued is never run. What has
begun is finished, and its result is dropped, or undone: a lease that nobody gets is revoked. Only the loop's thread
decides about that, so no lock is needed.

A worker counts as idle before it tells of its result. So a task that makes one call after another has one worker, and
a thousand calls at a time have 16.
"""

from __future__ import annotations

import inspect
import logging
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

from tenure._runtime.clock import Clock
from tenure._runtime.deadline import Deadline, monotonic
from tenure._runtime.exits import no_threads
from tenure._runtime.observed_work import ObservedWork
from tenure._runtime.thread_start import start_thread
from tenure.aio._loop import Waiter, running_loop
from tenure.errors import Unavailable

T = TypeVar("T")

_log = logging.getLogger("tenure.aio")
_MOST_THREADS = 16
"""Calls of one store that may wait for the server at a time. Others queue."""
_LOOK_AT_LOOP = 0.25
"""Seconds after which a thread that waits for the loop looks whether that has ended."""
_IDLE_SECONDS = 1.0
"""An idle worker ends after so long, so that a burst leaves nothing behind."""


class _Call(Generic[T]):
    """One call: who has it, and what became of it."""

    __slots__ = ("_free", "abandoned", "answered", "ended", "error", "function", "result", "undo")

    def __init__(
        self,
        function: Callable[[], T],
        answered: Waiter | None = None,
        undo: Callable[[T], object] | None = None,
    ) -> None:
        self.function = function
        self.answered = answered
        self.undo = undo
        self.result: T | None = None
        self.error: BaseException | None = None
        self.ended = False
        self.abandoned = answered is None
        self._free = [None]

    def claim(self) -> bool:
        """Whether the caller is the first to ask: the worker that makes the call, or the loop that takes it back."""
        try:
            self._free.pop()
        except IndexError:
            return False
        return True

    def make(self) -> None:
        """Make the call, on a worker."""
        try:
            self.result = self.function()
        except BaseException as exc:  # noqa: BLE001 - raised in the task
            self.error = exc


class Calls:
    """The workers of one store, bound to the loop that runs now. Threads start when they are needed."""

    def __init__(self, clock: Clock) -> None:
        self.loop = running_loop()
        self._loop_thread = threading.get_ident()
        self._clock = clock
        self._queue: SimpleQueue[_Call[Any] | None] = SimpleQueue()
        self._threads: deque[threading.Thread] = deque()
        self._idle: deque[None] = deque()
        self._finished: deque[_Call[Any]] = deque()
        self._told = False
        self._closed = False
        self.loop_closed: Callable[[], object] = lambda: None
        """Called, on any thread, when the loop turns out to be closed. Never blocks or raises."""

    async def run(
        self, function: Callable[[], T], *, undo: Callable[[T], object] | None = None, always: bool = False
    ) -> T:
        """Call ``function`` on a worker.

        Args:
            function: the call.
            undo: called on a worker with the result if no caller is left to get it.
            always: whether the call is made even if the caller was cancelled before it began.
        """
        answered = self.loop.waiter()
        # In the context of the task, so that what observes the call knows what it is part of.
        call = _Call(partial(copy_context().run, function), answered, undo)
        self._submit(call)
        try:
            await answered
        except BaseException:
            if always or not call.claim():
                call.abandoned = True
                if call.ended:
                    self._leave(call)
            raise
        if call.error is not None:
            try:
                raise call.error
            finally:
                del call  # or the error's traceback would hold itself
        return call.result  # type: ignore[return-value]  # None is the result only if T has it

    def submit(self, function: Callable[[], object]) -> None:
        """Call ``function`` on a worker soon. Nobody waits for it."""
        self._submit(_Call(function))

    def post(self, function: Callable[..., object], *arguments: object) -> bool:
        """Call ``function`` on the loop soon, from any thread. Returns ``False`` if the loop is closed."""
        try:
            self.loop.post(function, *arguments)
        except RuntimeError:
            self.loop_closed()
            return False
        return True

    def tell(self, callback: Callable[..., object], *arguments: object) -> bool:
        """Call an application's callback on the loop soon, from any thread. What an async function returns is awaited.

        Returns ``False`` if the loop is closed.
        """
        return self.post(self._call_back, callback, arguments, _nothing)

    def tell_and_wait(self, callback: Callable[..., object], *arguments: object) -> None:
        """Call a callback on the loop and wait until it has ended, so that what follows doesn't pile up there."""
        if threading.get_ident() == self._loop_thread:
            self._call_back(callback, arguments, _nothing)
            return
        done = threading.Event()
        if self.post(self._call_back, callback, arguments, done.set):
            while not done.wait(_LOOK_AT_LOOP) and not self.loop.ended:
                pass

    def _call_back(
        self, callback: Callable[..., object], arguments: tuple[object, ...], then: Callable[[], object]
    ) -> None:
        returned: object = None
        try:
            returned = callback(*arguments)
        finally:
            if not inspect.isawaitable(returned):
                then()
        if inspect.isawaitable(returned):
            self.loop.keep(_to_the_end(returned, then), "a callback")

    def close(self, deadline: Deadline) -> None:
        """Finish what was submitted and end the threads, on a thread that isn't one of them."""
        self._closed = True
        self._queue.put(None)
        for thread in tuple(self._threads):
            thread.join(deadline.remaining())

    def _submit(self, call: _Call[Any]) -> None:
        self._queue.put(call)
        if self._queue.qsize() > len(self._idle):
            try:
                self._grow()
            except RuntimeError as exc:
                if self._threads or not call.claim():
                    return  # the workers that are there get to it
                action = "calling the store"
                raise no_threads(action, exc) or Unavailable(
                    f"{action}: no thread can be started now ({exc}); raise the limit of threads"
                ) from exc

    def _grow(self) -> None:
        if len(self._threads) >= _MOST_THREADS or self._closed:
            return
        thread = threading.Thread(target=self._work, name="tenure-aio", daemon=True)
        self._threads.append(thread)
        self._idle.append(None)
        try:
            start_thread(thread)
        except RuntimeError:
            self._threads.remove(thread)
            self._idle.pop()
            raise

    def _work(self) -> None:
        while True:
            try:
                with self._clock.resting(lambda: self._queue.qsize() == 0):
                    call = self._queue.get(timeout=_IDLE_SECONDS)
            except Empty:
                self._idle.pop()
                if self._queue.qsize() <= len(self._idle):
                    self._threads.remove(threading.current_thread())
                    return
                self._idle.append(None)  # for work that came while this one was leaving
                continue
            if call is None:
                self._queue.put(None)  # for the next worker
                return
            self._idle.pop()
            if self._queue.qsize() > len(self._idle):  # this one counted as idle until now, and may be busy for long
                try:
                    self._grow()
                except RuntimeError as exc:
                    _log.debug("no thread can be started now: %s", exc)
            if call.claim():
                call.make()
                self._idle.append(None)
                self._tell(call)
            else:
                self._idle.append(None)

    def _tell(self, call: _Call[Any]) -> None:
        self._finished.append(call)
        if not self._told:
            self._told = True
            if not self.post(self._deliver):
                self._deliver(ended=True)

    def _deliver(self, *, ended: bool = False) -> None:
        """Let tasks go on. If the loop has ended, all have ended with it, and only what is undone matters."""
        self._told = False  # before the look: what finishes after it tells again
        while self._finished:
            call = self._finished.popleft()
            call.ended = True
            if call.abandoned or call.answered is None or ended:
                self._leave(call)
            else:
                self.loop.end(call.answered)

    def _leave(self, call: _Call[Any]) -> None:
        """See to the outcome of a call whose task was cancelled."""
        if call.error is not None:
            _log.info("a call that no task waits for failed in the background: %s", call.error)
        elif call.undo is not None:
            self.submit(partial(call.undo, call.result))


def _nothing() -> None:
    return


async def _to_the_end(returned: Awaitable[object], then: Callable[[], object]) -> None:
    try:
        await returned
    except Exception:  # noqa: BLE001 - no task waits for a callback
        _log.exception("a callback raised")
    finally:
        then()


async def called_back(
    function: Callable[[], object], source: str, observed: ObservedWork | None, log: logging.Logger, raised: str
) -> None:
    """Call a callback of the application, await what an async function returns, and tell observers how it went.

    What it raises is logged to ``log``, as ``raised`` says.
    """
    started = monotonic()
    error: Exception | None = None
    try:
        returned = function()
        if inspect.isawaitable(returned):
            await returned
    except Exception as exc:
        error = exc
        log.exception("%s", raised)
    if observed is not None:
        observed.tell("callback_finished", source=source, seconds=monotonic() - started, error=error)
