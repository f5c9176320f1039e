"""Connections for calls: at most so many, each used by one call at a time.

    take ──► ask ──► answer ──► give back
      │       ├─ ERROR ──► refused, give back; for tables that are missing see ``cluster_identity``
      │       └─ broken ──► drop it and the idle ones; a write that may have been sent is unknown, else Unavailable
      └─ none free ──► wait; none can be made ──► Unavailable (surely not applied)

An idle connection that the server has closed is noticed before anything is sent on it, by a look at its socket. So a
write after a restart of the server finds a fresh connection instead of an unknown outcome.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from tenure.errors import OutcomeUnknown, TenureError, Unavailable
from tenure.plugin_kit import ConnectionPool, Deadline, Pooled, monotonic
from tenure_postgresql import encoding
from tenure_postgresql.connection import Connection, ConnectionBroken, Row, ServerError, Statement
from tenure_postgresql.endpoints import PrimaryFinder
from tenure_postgresql.errors import GONE, READ_ONLY, broken, refused

_PATIENCE = 0.9  # of the time left, for the store's lock: then the server says that it was refused, else it is unknown


class Pool:
    """The connections of one backend but the one for watching. Thread-safe."""

    def __init__(self, endpoints: PrimaryFinder, *, connections: int) -> None:
        self.endpoints = endpoints
        self._connections: ConnectionPool[Connection] = ConnectionPool(
            lambda deadline: endpoints.connect(deadline, given_up=lambda: self.closed),
            max_idle=connections,
            max_open=connections,
            limit_hint="the option connections allows more",
        )
        self.missing: Callable[[float, Deadline], TenureError | None] = lambda *_: None
        """Asked when the store's tables aren't there: what to raise if that was put right (``ClusterIdentity``)."""

    @property
    def closed(self) -> bool:
        """Whether close was called."""
        return self._connections.closed

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
        since, deadline = monotonic(), Deadline(timeout)
        pooled = self.take(deadline, action)
        connection = pooled.connection
        try:
            connection.limit(timeout, deadline=deadline)
            if waits:
                args = [encoding.bigint(int(deadline.remaining() * _PATIENCE * 1000)), *args]
            rows = connection.ask(statement, args, deadline=deadline)
        except ConnectionBroken as exc:
            pooled.drop(with_idle=True)
            raise self.broken(exc, action, connection.where, write=write) from exc
        except ServerError as exc:
            self.after_server_error(pooled, exc)
            raise self.refused(
                exc, action=action, where=connection.where, write=write, since=since, deadline=deadline
            ) from exc
        except BaseException:  # an interrupt in the middle: what comes next on it would be the answer to this
            pooled.drop()
            raise
        pooled.give_back()
        return rows

    def broken(self, exc: ConnectionBroken, action: str, where: str, *, write: bool) -> TenureError:
        """What to raise for a connection that failed."""
        error = broken(exc, action=action, where=where, write=write)
        if self.closed and not isinstance(error, OutcomeUnknown):
            return Unavailable(f"{action}: this store was closed meanwhile")
        return error

    def refused(
        self, exc: ServerError, *, action: str, where: str, write: bool, since: float, deadline: Deadline
    ) -> TenureError:
        """What to raise for an ERROR of the server to a caller who began at ``since``."""
        put_right = self.missing(since, deadline) if exc.state in GONE else None
        return put_right or refused(exc, action=action, where=where, write=write)

    def after_server_error(self, pooled: Pooled[Connection], exc: ServerError) -> None:
        """Give back a connection whose server refused, unless another server should be looked for."""
        if exc.state == READ_ONLY or exc.state in GONE:
            pooled.drop(with_idle=True)
        else:
            pooled.give_back()

    # -- connections --

    def take(self, deadline: Deadline, action: str) -> Pooled[Connection]:
        """A connection for the caller alone. Raises like ``ConnectionPool.take``."""
        return self._connections.take(deadline, action=action)

    @contextmanager
    def asking(self, deadline: Deadline, action: str) -> Iterator[Connection]:
        """A connection for several statements that don't write for the caller, their errors translated."""
        pooled = self.take(deadline, action)
        try:
            yield pooled.connection
        except ConnectionBroken as exc:
            pooled.drop(with_idle=True)
            raise self.broken(exc, action, pooled.connection.where, write=False) from exc
        except ServerError as exc:
            self.after_server_error(pooled, exc)
            raise refused(exc, action=action, where=pooled.connection.where, write=False) from exc
        except BaseException:
            pooled.drop()
            raise
        pooled.give_back()

    def close(self) -> bool:
        """Close everything; calls under way fail soon. Returns whether this was the first time."""
        return self._connections.close()
