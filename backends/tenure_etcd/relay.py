"""Runs the main thread's calls on other threads, where no signal handler interrupts them.

gRPC takes locks of its channel in Python. An exception that a signal handler raises between two of its lines leaves
one held, and every later call on the channel hangs. Handlers run in the main thread only. So there a call is handed to
a worker, and the main thread waits in C for the answer. If an exception interrupts that wait, the worker finishes the
call: a write is done, refused or unknown as ever, and the next call finds everything in order. A handler that calls
the store itself gets another worker. Handing over costs some 30 microseconds.
"""

from __future__ import annotations

import _thread
import threading
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar, cast

T = TypeVar("T")

_IDLE_SECONDS = 1.0
"""A worker that had nothing to do for so long ends."""


def threads_can_start() -> bool:
    """Whether the interpreter still starts threads: at its end some versions of Python don't."""
    if threading.main_thread().is_alive():
        return True
    try:
        _thread.start_new_thread(int, ())
    except RuntimeError:
        return False
    return True


class _Job(Generic[T]):
    """A call, and where its answer goes."""

    def __init__(self, function: Callable[[], T], abandoned: Callable[[T], object]) -> None:
        self._function = function
        self._abandoned = abandoned
        self._answer: SimpleQueue[tuple[bool, Any]] = SimpleQueue()
        self._given_up = False

    def run(self) -> None:
        try:
            answer: tuple[bool, Any] = (True, self._function())
        except BaseException as exc:  # noqa: BLE001 - it is raised in the thread that waits
            answer = (False, exc)
        self._answer.put(answer)
        if self._given_up:
            self._dispose()

    def wait(self) -> T:
        good, answer = self._answer.get()
        if not good:
            try:
                raise cast("BaseException", answer)
            finally:
                del answer  # no circle of the error and this frame
        return cast("T", answer)

    def give_up(self) -> None:
        """The caller was interrupted, before or while it waited."""
        self._given_up = True
        self._dispose()

    def _dispose(self) -> None:
        try:
            good, answer = self._answer.get_nowait()
        except Empty:
            return
        if good:
            self._abandoned(answer)


class Relay:
    """The workers of one backend. They start when the main thread calls."""

    def __init__(self, name: str) -> None:
        """``name`` begins the threads' names."""
        self._name = name
        self._idle: deque[SimpleQueue[_Job[Any]]] = deque()

    def run(self, function: Callable[[], T], abandoned: Callable[[T], object] = lambda _: None) -> T:
        """Return what ``function`` returns, or raise what it raises.

        ``abandoned`` is called with an answer that an interrupted caller did not take.
        """
        if threading.get_ident() != threading.main_thread().ident:
            return function()
        # In the context of the caller, so that an interceptor of gRPC knows what the call is part of.
        job = _Job(partial(copy_context().run, function), abandoned)
        try:
            try:
                self._idle.pop().put(job)
            except IndexError:
                if not self._start_worker(job):
                    return function()
            return job.wait()
        except BaseException:
            job.give_up()
            raise

    def _start_worker(self, job: _Job[Any]) -> bool:
        """Start a worker with this job; false at the end of the interpreter, or with too many threads."""
        jobs: SimpleQueue[_Job[Any]] = SimpleQueue()
        jobs.put(job)
        thread = threading.Thread(target=self._work, args=(jobs,), name=f"{self._name}-calls", daemon=True)
        try:
            # Not thread.start(): an interrupt there may leave the new thread waiting for the lock of its own event.
            _thread.start_new_thread(self._start, (thread, jobs))
        except RuntimeError:
            return False
        return True

    def _start(self, thread: threading.Thread, jobs: SimpleQueue[_Job[Any]]) -> None:
        try:
            thread.start()
        except RuntimeError:  # not a second one: this thread will do
            self._work(jobs)

    def _work(self, jobs: SimpleQueue[_Job[Any]]) -> None:
        while True:
            try:
                job = jobs.get(timeout=_IDLE_SECONDS)
            except Empty:
                try:
                    self._idle.remove(jobs)
                except ValueError:  # a caller has just taken this worker
                    continue
                return
            job.run()
            del job
            self._idle.append(jobs)
