"""Connections for calls: at most so many, each used by one call at a time.

    take ──► ask ──► answer ──► give back
      │       ├─ ERROR ──► refused, give back; for tables that are missing see ``cluster_identity``
      │       └─ broken ──► drop it and the idle ones; a write that may have been sent is unknown, else Unavailable
      └─ none free ──► wait; none can be made ──► Unavailable (surely not applied)

An idle connection that the server has closed is noticed before anything is sent on it, by a look at its socket. So a
write after a restart of the server finds a fresh connection instead of an unknown outcome.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence

from tenure.errors import DeadlineExceeded, OutcomeUnknown, StoreClosed, TenureError, Unavailable
from tenure_postgresql import encoding
from tenure_postgresql.connection import Connection, ConnectionBroken, Row, ServerError, Statement
from tenure_postgresql.endpoints import Endpoints
from tenure_postgresql.errors import GONE, READ_ONLY, broken, refused

_PATIENCE = 0.9  # of the time left, for the store's lock: then the server says that it was refused, else it is unknown


class Pool:
    """The connections of one backend but the one for watching. Thread-safe."""

    def __init__(self, endpoints: Endpoints, *, connections: int) -> None:
        self.endpoints = endpoints
        self._most = connections
        self._idle: list[Connection] = []
        self._busy: set[Connection] = set()
        self._count = 0  # idle, busy and being made
        self._changed = threading.Condition()
        self._closed = False
        self._pid = os.getpid()
        self.missing: Callable[[float, float], TenureError | None] = lambda *_: None
        """Asked when the store's tables aren't there: what to raise if that was put right (``ClusterIdentity``)."""

    @property
    def closed(self) -> bool:
        return self._closed

    # -- calls --

    def call(
        self,
        statement: Statement,
        args: Sequence[bytes | None] = (),
        *,
        timeout: float,
        action: str,
        write: bool = False,
        waits: bool = False,
    ) -> list[Row]:
        """The rows of a statement. ``write``: where it isn't known whether it was applied, ``OutcomeUnknown``.

        ``waits``: the first argument is how many milliseconds it may wait for the store's lock, and put in here.
        """
        until = time.monotonic() + timeout
        connection = self.take(until, action)
        try:
            connection.limit(timeout, until=until)
            if waits:
                args = [encoding.bigint(int((until - time.monotonic()) * _PATIENCE * 1000)), *args]
            rows = connection.ask(statement, args, until=until)
        except ConnectionBroken as exc:
            self.drop(connection)
            raise self.broken(exc, action, connection.where, write=write) from exc
        except ServerError as exc:
            self.after_server_error(connection, exc)
            raise self.refused(exc, action=action, where=connection.where, since=until - timeout, until=until) from exc
        except BaseException:  # an interrupt in the middle: what comes next on it would be the answer to this
            self.drop(connection)
            raise
        self.give_back(connection)
        return rows

    def broken(self, exc: ConnectionBroken, action: str, where: str, *, write: bool) -> TenureError:
        """What to raise for a connection that failed."""
        error = broken(exc, action=action, where=where, write=write)
        if self._closed and not isinstance(error, OutcomeUnknown):
            return Unavailable(f"{action}: this store was closed meanwhile")
        return error

    def refused(self, exc: ServerError, *, action: str, where: str, since: float, until: float) -> TenureError:
        """What to raise for an ERROR of the server, which changed nothing, to a caller who began at ``since``."""
        put_right = self.missing(since, until) if exc.state in GONE else None
        return put_right or refused(exc, action=action, where=where)

    def after_server_error(self, connection: Connection, exc: ServerError) -> None:
        """Give back a connection whose server refused, unless another server should be looked for."""
        if exc.state == READ_ONLY or exc.state in GONE:
            self.drop(connection)
        else:
            self.give_back(connection)

    # -- connections --

    def take(self, until: float, action: str) -> Connection:
        """A connection for the caller alone."""
        with self._changed:
            while True:
                if self._closed:
                    raise StoreClosed("this store was closed")
                while self._idle:
                    connection = self._idle.pop()
                    if connection.quiet:
                        self._busy.add(connection)
                        return connection
                    self._count -= 1
                    connection.close()
                if self._count < self._most:
                    self._count += 1
                    break
                left = until - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    raise DeadlineExceeded(
                        f"{action}: other calls used all {self._most} connections for the whole time; nothing was "
                        "changed (the option connections allows more)"
                    )
        return self._make(until)

    def _make(self, until: float) -> Connection:
        try:
            connection = self.endpoints.connect(until=until, given_up=lambda: self._closed)
        except BaseException:
            with self._changed:
                self._count -= 1
                self._changed.notify()
            raise
        with self._changed:
            if not self._closed:
                self._busy.add(connection)
                return connection
            self._count -= 1
        connection.close()
        raise StoreClosed("this store was closed")

    def give_back(self, connection: Connection) -> None:
        """Take back a connection that is in order."""
        with self._changed:
            self._busy.discard(connection)
            if not self._closed:
                self._idle.append(connection)
                self._changed.notify()
                return
            self._count -= 1
        connection.close()

    def drop(self, connection: Connection) -> None:
        """Close a connection that failed, and the idle ones: what broke it has most likely broken them."""
        with self._changed:
            self._busy.discard(connection)
            gone, self._idle = [connection, *self._idle], []
            self._count -= len(gone)
            self._changed.notify_all()
        for one in gone:
            one.close()

    def close(self) -> bool:
        """Close everything; calls under way fail soon. Answers whether this was the first time."""
        if os.getpid() != self._pid:
            return False
        with self._changed:
            first, self._closed = not self._closed, True
            idle, self._idle = self._idle, []
            self._count -= len(idle)
            for connection in self._busy:
                connection.interrupt()
            self._changed.notify_all()
        for connection in idle:
            connection.close()
        return first
