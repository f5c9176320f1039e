"""A pool of connections that holds no lock, so that nothing can interrupt it half way.

    take ──► use ──► give_back          in order: kept for the next call
      │       └────► drop               it failed: closed, and the idle ones too if the caller says so
      └─ dropped by the garbage collector: the caller was interrupted between two lines; closed, its place is free again

A signal handler may raise an exception between any two lines of a call, and may itself call the store while the
interrupted call is in here; so may ``__del__``. Every step is therefore one operation of a ``deque``, a ``dict`` or
a ``SimpleQueue``, which the interpreter finishes before anything else runs. There is no lock to be left held or to
wait for.
"""

from __future__ import annotations

import os
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import Any, Generic, Protocol, TypeVar

from tenure._runtime.deadline import Deadline
from tenure.errors import DeadlineExceeded, StoreClosed


class Connection(Protocol):
    """What a pool asks of a connection. The connection's class has to allow weak references."""

    @property
    def reusable(self) -> bool:
        """Whether another request may be sent: the connection is open, and nothing unexpected was received."""

    def interrupt(self) -> None:
        """Make a call that another thread has under way fail soon.

        Any thread may call this, at any time. It never blocks and never raises.
        """

    def close(self) -> None:
        """Close the connection.

        Idempotent. It never raises.
        """


C = TypeVar("C", bound=Connection)


class Pooled(Generic[C]):
    """A connection that one call took from a pool. The call uses it alone, and then gives it back or drops it.

    If the call does neither, because an exception interrupted it, the garbage collector drops the connection.

    Attributes:
        connection: the connection, as the pool's ``connect`` made it.
        fresh: whether ``connect`` made it for this call. A connection that is not fresh may have been closed by the
            server while it was idle.
    """

    __slots__ = ("_out", "_place", "_pool", "connection", "fresh")

    def __init__(self, pool: ConnectionPool[C], connection: C, place: _Place | None) -> None:
        self._pool = pool
        self._place = place
        self.connection = connection
        self.fresh = True
        self._out = True

    def give_back(self) -> None:
        """Give back a connection that is in order: its last request was answered as a whole.

        The pool keeps it for a later call, or closes it if enough are idle or the pool was closed. Nothing happens
        if the connection was given back or dropped before.
        """
        if self._out:
            self._pool._give_back(self)

    def drop(self, *, with_idle: bool = False) -> None:
        """Close a connection that failed.

        Nothing happens to a connection that was given back or dropped before.

        Args:
            with_idle: close all idle connections of the pool as well, because the same cause has most likely broken
                them. A server's restart is such a cause.
        """
        if self._out:
            self._pool._drop(self)
        if with_idle:
            self._pool.drop_idle()

    def __del__(self) -> None:
        if getattr(self, "_out", False):  # missing where an interrupt came while this was made
            self._pool._drop(self)


class _Place:
    """The right to have one connection open, in a pool with a limit.

    The place is free again when nothing refers to this object any more, also if an interrupt made that happen.
    """

    __slots__ = ("_pool",)

    def __init__(self, pool: weakref.ref[ConnectionPool[Any]]) -> None:
        self._pool = pool

    def __del__(self) -> None:
        pool = self._pool()
        if pool is not None:
            pool._free_place()


class ConnectionPool(Generic[C]):
    """Connections of one backend. Thread-safe, and safe against interruption at any line.

    Calls use the connection that was given back last. The pool asks an idle connection whether it is ``reusable``
    before a call gets it. A connection that the server has closed is replaced before anything is sent.

    Making a pool connects to nothing.

    Args:
        connect: makes one connection within a deadline. It raises errors of :mod:`tenure.errors`.
        max_idle: the most connections that are kept for later calls.
        max_open: the most connections at any time, idle and in use together; ``None`` for no limit.
        limit_hint: what to do about ``max_open``, for the message of ``DeadlineExceeded``, such as ``"raise the
            option pool_size"``.
    """

    def __init__(
        self, connect: Callable[[Deadline], C], *, max_idle: int = 16, max_open: int | None = None, limit_hint: str = ""
    ) -> None:
        self._connect = connect
        self._max_idle = max_idle if max_open is None else min(max_idle, max_open)
        self._max_open = max_open
        self._limit_hint = limit_hint
        self._idle: deque[Pooled[C]] = deque()
        self._weak = weakref.ref(self)
        self._places: deque[_Place] = deque(_Place(self._weak) for _ in range(max_open or 0))
        self._waiters: deque[SimpleQueue[Pooled[C] | None]] = deque()
        self._open: dict[int, weakref.ref[C]] = {}
        self._pid = os.getpid()
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` was called."""
        return self._closed

    def take(self, deadline: Deadline, *, action: str, fresh: bool = False) -> Pooled[C]:
        """Take a connection that the caller uses alone: an idle one, or else a new one.

        If ``max_open`` connections are in use, the call waits until another call gives one back.

        Args:
            deadline: the deadline of the call that needs the connection.
            action: what the call does, for messages, such as ``"reading a key"``.
            fresh: whether to make a new connection even if one is idle.

        Returns:
            The connection, with the methods that give it back.

        Raises:
            StoreClosed: the pool was closed. Nothing was sent.
            DeadlineExceeded: other calls used all connections until the deadline. Nothing was sent.
            Unavailable: no connection could be made. ``connect`` raises this, and any other error that it raises
                passes through. Nothing was sent.
        """
        while not self._closed:
            if not fresh and (pooled := self._pop_idle()) is not None:
                return pooled
            if self._max_open is None:
                return self._make(deadline, None)
            place = self._pop_place()
            if place is not None:
                try:
                    return self._make(deadline, place)
                finally:
                    del place  # an error that somebody keeps has this frame, which would have the place
            if (waited := self._wait(deadline, action)) is not None:
                return waited
        raise StoreClosed(f"{action}: this store was closed")

    @contextmanager
    def connection(self, deadline: Deadline, *, action: str, fresh: bool = False) -> Iterator[C]:
        """Take a connection for a ``with`` block.

        The connection is given back at the end of the block. It is dropped if the block raises anything at all,
        an interrupt included.

        Args:
            deadline: as for :meth:`take`.
            action: as for :meth:`take`.
            fresh: as for :meth:`take`.

        Returns:
            A context manager whose value is the connection.

        Raises:
            StoreClosed: as for :meth:`take`.
            DeadlineExceeded: as for :meth:`take`.
            Unavailable: as for :meth:`take`.
        """
        pooled = self.take(deadline, action=action, fresh=fresh)
        try:
            yield pooled.connection
        except BaseException:  # also an interrupt: the answer to this request would be taken for the next one's
            pooled.drop()
            raise
        pooled.give_back()

    def drop_idle(self) -> None:
        """Close all idle connections, because what broke one has most likely broken them.

        Connections in use stay open.
        """
        while True:
            try:
                pooled = self._idle.pop()
            except IndexError:
                return
            pooled._out = True
            self._drop(pooled)

    def close(self) -> bool:
        """Close idle connections and interrupt the others.

        Calls under way fail soon, calls that wait for a connection raise ``StoreClosed``, and every later ``take``
        raises it. In a forked child the call does nothing, because the connections are the parent's.

        Returns:
            ``True`` for the call that closed the pool; ``False`` for later calls, and in a forked child.
        """
        if os.getpid() != self._pid:
            return False
        first, self._closed = not self._closed, True
        self.drop_idle()
        for reference in list(self._open.values()):
            connection = reference()
            if connection is not None:
                connection.interrupt()
        while self._waiters:
            self._hand_to_waiter(None)
        return first

    # -- each of these is safe to be interrupted at any line, and to be entered again from a signal handler --

    def _pop_idle(self) -> Pooled[C] | None:
        while True:
            try:
                pooled = self._idle.pop()
            except IndexError:
                return None
            pooled._out = True
            pooled.fresh = False
            if pooled.connection.reusable:
                return pooled
            self._drop(pooled)

    def _pop_place(self) -> _Place | None:
        try:
            return self._places.pop()
        except IndexError:
            return None

    def _make(self, deadline: Deadline, place: _Place | None) -> Pooled[C]:
        try:
            pooled = Pooled(self, self._connect(deadline), place)
        finally:
            del place
        self._open[id(pooled.connection)] = weakref.ref(pooled.connection)
        if self._closed:
            pooled.drop()
            raise StoreClosed("this store was closed")
        return pooled

    def _wait(self, deadline: Deadline, action: str) -> Pooled[C] | None:
        """A connection that another call gives back; ``None``: look again."""
        mine: SimpleQueue[Pooled[C] | None] = SimpleQueue()
        self._waiters.append(mine)
        # In this order: a connection given back before the line above is found here, a later one is handed over.
        if (pooled := self._pop_idle()) is None and not self._places and not self._closed:
            try:
                handed = mine.get(timeout=deadline.remaining())
            except Empty:
                handed = None
                if deadline.expired:
                    self._forget(mine)
                    raise DeadlineExceeded(
                        f"{action}: other calls used all {self._max_open} connections for {deadline.seconds:g} s, and "
                        f"nothing was sent; {self._limit_hint or 'try again'}"
                    ) from None
            if handed is not None:
                handed._out = True
                handed.fresh = False
                if handed.connection.reusable:
                    pooled = handed
                else:
                    self._drop(handed)
        self._forget(mine)
        return pooled

    def _forget(self, waiter: SimpleQueue[Pooled[C] | None]) -> None:
        try:
            self._waiters.remove(waiter)
        except ValueError:  # it was handed something, perhaps too late: pass that on
            try:
                late = waiter.get_nowait()
            except Empty:
                return
            if late is not None:
                self._keep(late)

    def _give_back(self, pooled: Pooled[C]) -> None:
        if self._closed or len(self._idle) >= self._max_idle:
            self._drop(pooled)
            return
        self._keep(pooled)
        if self._closed:
            self.drop_idle()

    def _keep(self, pooled: Pooled[C]) -> None:
        pooled._out = False
        self._idle.append(pooled)
        if self._waiters and (found := self._take_back()) is not None:
            self._hand_to_waiter(found)

    def _take_back(self) -> Pooled[C] | None:
        try:
            pooled = self._idle.pop()
        except IndexError:
            return None
        pooled._out = True
        return pooled

    def _hand_to_waiter(self, pooled: Pooled[C] | None) -> None:
        try:
            waiter = self._waiters.popleft()
        except IndexError:
            if pooled is not None:
                pooled._out = False
                self._idle.append(pooled)
            return
        waiter.put(pooled)

    def _drop(self, pooled: Pooled[C]) -> None:
        pooled._out = False
        self._open.pop(id(pooled.connection), None)
        pooled.connection.close()
        pooled._place = None

    def _free_place(self) -> None:
        self._places.append(_Place(self._weak))
        if self._waiters:
            self._hand_to_waiter(None)
