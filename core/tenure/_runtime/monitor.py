"""A lock that an interrupt can't leave held, and that the thread which holds it never waits for.

A signal handler runs between any two instructions of the main thread, and the garbage collector may run a ``__del__``
in any thread. A handler may raise, and both may call the store that the interrupted code is in the middle of. Hence:

* ``with`` takes and releases the lock in C. ``threading.Condition`` does it in Python, and an exception that arrives
  after its ``acquire`` has returned leaves the lock held for good.
* The lock is reentrant: a handler that needs it gets it, in the middle of the block that it interrupted. A block that
  can't bear that takes it by :meth:`Monitor.alone`.
"""

from __future__ import annotations

import _thread
import contextlib
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn, Self, TypeVar

from tenure._runtime.deadline import monotonic
from tenure.errors import CallInterrupted

T = TypeVar("T")

if TYPE_CHECKING:

    class _Base(threading.Condition):  # what clocks and callers see of it
        def _is_owned(self) -> bool: ...
        def _release_save(self) -> tuple[int, int]: ...
        def _acquire_restore(self, state: tuple[int, int]) -> None: ...
        def _at_fork_reinit(self) -> None: ...

else:
    _Base = _thread.RLock


class Monitor(_Base):
    """A reentrant lock and its condition in one, for ``with``. Clocks take it where they take a ``Condition``.

    >>> monitor = Monitor()
    >>> with monitor:
    ...     monitor.wait(0.001)
    False
    """

    def __init__(self) -> None:
        super().__init__()
        self._notices: deque[_thread.LockType] = deque()

    def __reduce__(self) -> NoReturn:
        """Say what to do instead, for everything that has a monitor: stores, leases, watches, registries, recipes."""
        raise TypeError(
            "pickling or copying an open store, or what uses one: it belongs to the process that opened it; pass the "
            "store's URL, and open it there with connect()"
        )

    @property
    def entered(self) -> bool:
        """Whether the calling thread holds the lock."""
        return self._is_owned()

    def alone(self, action: str) -> Self:
        """Give the lock for ``with``, unless the calling thread holds it already.

        Then a signal handler or ``__del__`` runs in the middle of the block.

        Args:
            action: what the caller is doing, such as ``"reading a key"``.

        Returns:
            The lock itself. A context manager written in Python would not be safe to interrupt.

        Raises:
            CallInterrupted: this thread is inside the block.
        """
        if self._is_owned():
            raise CallInterrupted(
                f"{action}: a signal handler or finalizer made this call in the middle of another call of the same "
                "thread; let the handler set a flag, or call from another thread"
            )
        return self

    def leave(self) -> None:
        """Release the lock if the calling thread holds it.

        For ``acquire`` with a timeout, which ``with`` doesn't have. An interrupt may keep one call from releasing::

            try:
                if monitor.acquire(timeout=1.0):
                    ...
            finally:
                try:
                    monitor.leave()
                finally:
                    monitor.leave()
        """
        if self._is_owned():
            self.release()

    def wait(self, timeout: float | None = None) -> bool:
        """Release the lock, wait until notified or for ``timeout`` seconds, and take the lock again.

        Args:
            timeout: seconds; ``None`` for no limit.

        Returns:
            Whether the wait ended by a notification.
        """
        waiter = _thread.allocate_lock()
        waiter.acquire()
        self._notices.append(waiter)
        state = (1, threading.get_ident())
        try:
            state = self._release_save()
            return waiter.acquire(True, -1 if timeout is None else max(0.0, timeout))
        finally:
            # An interrupt may come before the lock was released, or after.
            if not self._is_owned():
                self._acquire_restore(state)
            with contextlib.suppress(ValueError):
                self._notices.remove(waiter)

    def wait_for(self, predicate: Callable[[], T], timeout: float | None = None) -> T:
        """Wait until ``predicate`` is true, or for ``timeout`` seconds.

        Args:
            predicate: called with the lock held, at first and after each notification.
            timeout: seconds; ``None`` for no limit.

        Returns:
            What ``predicate`` returned last.
        """
        deadline = None if timeout is None else monotonic() + timeout
        while not (result := predicate()):
            left = None if deadline is None else deadline - monotonic()
            if left is not None and left <= 0:
                break
            self.wait(left)
        return result

    def notify(self, n: int = 1) -> None:
        """Wake threads that wait, the longest waiting first.

        Args:
            n: the number of threads to wake.
        """
        for _ in range(min(n, len(self._notices))):
            try:
                waiter = self._notices.popleft()
            except IndexError:
                return
            waiter.release()

    def notify_all(self) -> None:
        """Wake all threads that wait."""
        self.notify(len(self._notices))
