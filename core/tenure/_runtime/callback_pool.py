"""Where the application's callbacks run: a bounded pool of threads, shared by all watches and leases of a store.

* The pool grows by a thread whenever work waits and no thread is idle: at once up to 4, and up to 24 if nothing was
  finished for 5 ms. So callbacks that block take a thread each and delay others by no more than that, and a burst of
  quick ones doesn't make threads that would only stand in each other's way.
* Callbacks of one source (a watch, a registry) run in order and never two at a time: see :class:`Strand`.
* Whatever a callback raises is logged, ``SystemExit`` included; the thread goes on with the next one.
* A thread that can't be started is tried again with the next work, and by :meth:`CallbackPool.ensure`.

There is no lock: the queue is a ``SimpleQueue`` and everything else is one operation of a ``deque``. So work may be
submitted from a signal handler or from ``__del__``, whatever they interrupt.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue

from tenure._runtime.clock import Clock
from tenure._runtime.deadline import Deadline, monotonic
from tenure._runtime.exits import ending
from tenure._runtime.observed_work import ObservedWork
from tenure._runtime.thread_start import start_thread
from tenure._runtime.timers import Timers

_log = logging.getLogger("tenure.callbacks")

MOST_THREADS = 24
"""Threads of one pool at any time. As many callbacks may block before others wait."""
_AT_ONCE = 4
"""Threads that are started without waiting whether those there are blocked."""
_BLOCKED_SECONDS = 0.005
"""A pool that has finished nothing for so long, and has work waiting, gets another thread."""
_IDLE_SECONDS = 1.0
"""An idle thread ends after so long, so that a burst leaves nothing behind."""


class _Worker(threading.Thread):
    """A thread of the pool, which may be waited for before it is started."""

    def __init__(self, target: Callable[[], None], name: str) -> None:
        super().__init__(target=target, name=name, daemon=True)
        self.gone: SimpleQueue[None] = SimpleQueue()
        """Gets an item when the thread ends, or can't be started."""

    def wait(self, deadline: Deadline) -> None:
        """Wait until the thread has ended, or until ``deadline``."""
        try:
            self.gone.get(timeout=deadline.remaining())
        except Empty:
            return
        self.gone.put(None)  # for others who wait
        if self.ident is not None:
            self.join(deadline.remaining())


class CallbackPool:
    """Runs submitted functions, each once. The first thread starts with the first function."""

    def __init__(self, name: str, clock: Clock, timers: Timers, *, most_threads: int = MOST_THREADS) -> None:
        """``name`` begins the threads' names; ``clock`` is told when a thread has nothing to do."""
        self.observed: ObservedWork | None = None
        """Tells observers of the work, if anybody listens."""
        self._name = name
        self._clock = clock
        self._timers = timers
        self._most = most_threads
        self._queue: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._threads: deque[_Worker] = deque()
        self._idle: deque[None] = deque()
        self._finished = 0
        self._watched: dict[None, object] = {}
        self._closed = False

    def submit(self, function: Callable[[], object]) -> None:
        """Run ``function`` soon. Never blocks. What was submitted before :meth:`close` is still run."""
        if self._closed:
            _log.debug("%s: a callback came after close and was dropped", self._name)
            return
        self._queue.put(function if self.observed is None else self.observed.wrap(function, self._queue.qsize))
        self.ensure()

    @property
    def waiting(self) -> bool:
        """Whether a function waits for a thread."""
        return self._queue.qsize() > 0

    def ensure(self) -> None:
        """Start a thread if work waits and no thread is idle."""
        if len(self._idle) >= self._queue.qsize() or len(self._threads) >= self._most:
            return
        if len(self._threads) < _AT_ONCE:
            self._start()
        elif not self._watched:
            self._watch()

    def _watch(self) -> None:
        """Let a timer look whether the pool goes on, one timer at a time."""
        mine, finished = object(), self._finished
        try:
            if self._watched.setdefault(None, mine) is mine:
                self._timers.call_at(monotonic() + _BLOCKED_SECONDS, lambda: self._look(finished))
        except BaseException:  # an interrupt: the next work sees to it
            if self._watched.get(None) is mine:
                self._watched.clear()
            raise

    def _look(self, finished: int) -> None:
        self._watched.clear()
        if self._queue.qsize() and len(self._threads) < self._most:
            if self._finished == finished:
                self._start()
            self.ensure()

    def _start(self) -> None:
        thread = _Worker(self._work, f"{self._name}-callbacks")
        self._threads.append(thread)
        try:
            start_thread(thread)
        except RuntimeError as exc:  # too many threads, or the interpreter is ending
            self._threads.remove(thread)
            thread.gone.put(None)
            _log.log(
                logging.DEBUG if ending(exc) else logging.WARNING,
                "%s: no thread for callbacks can be started now, trying again: %s",
                self._name,
                exc,
            )
        except BaseException:
            if thread.ident is None:  # interrupted before it was started
                with contextlib.suppress(ValueError):
                    self._threads.remove(thread)
                thread.gone.put(None)
            raise

    def close(self, deadline: Deadline) -> None:
        """Run what was submitted, end the threads, and wait for them until ``deadline``.

        A callback that closes its own store isn't waited for.
        """
        self._closed = True
        threads = list(self._threads)
        for _ in threads:
            self._queue.put(None)
        for thread in threads:
            if thread is not threading.current_thread():
                thread.wait(deadline)
        running = sum(thread.is_alive() and thread is not threading.current_thread() for thread in threads)
        if running:
            _log.warning("%s: %d callbacks are still running at the end of close", self._name, running)
        if not self._threads:
            self._run_rest()

    def _run_rest(self) -> None:
        """The closing thread does what is left: all of it, if no thread could be started as the interpreter ends."""
        while True:
            try:
                function = self._queue.get_nowait()
            except Empty:
                return
            if function is not None:
                self._call(function)

    def _work(self) -> None:
        me = threading.current_thread()
        assert isinstance(me, _Worker)
        if me not in self._threads:  # started all the same when its start was interrupted
            self._threads.append(me)

        def idle() -> bool:
            return self._queue.qsize() == 0

        while True:
            self._idle.append(None)
            try:
                with self._clock.resting(idle):
                    function = self._queue.get(timeout=_IDLE_SECONDS)
            except Empty:
                function = None
            finally:
                self._idle.pop()
            if function is not None:
                if self._queue.qsize():
                    self.ensure()  # this thread counted as idle until now, and may be busy for long
                self._call(function)
            elif self._closed or self._queue.qsize() == 0:
                self._threads.remove(me)
                me.gone.put(None)
                if self._closed and self._threads:
                    self._queue.put(None)  # a thread that was started after the close has taken what ends another
                elif self._queue.qsize() and not self._closed:
                    self.ensure()  # work that came while this thread was leaving
                return

    def _call(self, function: Callable[[], object]) -> None:
        try:
            function()
        except BaseException:  # noqa: BLE001 - SystemExit of one callback must not end the thread that others need
            _log.exception("%s: a callback raised", self._name)
        self._finished += 1


_Ticket = deque[None]
"""The right to one run: who pops it runs."""


class Strand:
    """Runs one function on a pool whenever it is woken: never twice at a time, and once more after the last wake-up.

    The function looks for work and does all of it; it is woken for each piece. So one source's callbacks stay in
    order, and thousands of wake-ups cost no more than the work.
    """

    def __init__(self, submit: Callable[[Callable[[], object]], None], function: Callable[[], object]) -> None:
        """``submit`` is a pool's; ``function`` does whatever there is to do and returns."""
        self._submit = submit
        self._function = function
        self._wake_ups: deque[None] = deque(maxlen=1)
        self._scheduled: dict[None, _Ticket] = {}

    def wake(self) -> None:
        """Let the function run soon. Never blocks, callable from anywhere."""
        self._wake_ups.append(None)
        ticket: _Ticket = deque((None,))
        try:
            if self._scheduled.setdefault(None, ticket) is ticket:
                self._submit(lambda: self._run(ticket))
        except BaseException:  # an interrupt: perhaps the run was submitted, and a second one does nothing
            if self._scheduled.get(None) is ticket:
                self._submit(lambda: self._run(ticket))
            raise

    def _run(self, ticket: _Ticket) -> None:
        try:
            ticket.pop()
        except IndexError:
            return  # submitted twice
        self._wake_ups.clear()
        try:
            self._function()
        finally:
            self._scheduled.clear()
            if self._wake_ups:
                self.wake()
