"""Connections for calls: at most so many, each used by one call at a time.

    take ──► ask ──► answer ──► give back
      │       ├─ ERROR ──► refused, give back; for tables that are missing see ``home``
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
from tenure_postgresql.connection import BrokenLink, Link, Refusal, Row, Statement
from tenure_postgresql.endpoints import Servers
from tenure_postgresql.errors import GONE, READ_ONLY, broken, refused

_PATIENCE = 0.9  # of the time left, for the store's lock: then the server says that it was refused, else it is unknown


class Pool:
    """The connections of one backend but the one for watching. Thread-safe."""

    def __init__(self, servers: Servers, *, connections: int) -> None:
        self.servers = servers
        self._most = connections
        self._idle: list[Link] = []
        self._busy: set[Link] = set()
        self._count = 0  # idle, busy and being made
        self._changed = threading.Condition()
        self._closed = False
        self._pid = os.getpid()
        self.missing: Callable[[float, float], TenureError | None] = lambda *_: None
        """Asked when the store's tables aren't there (``Home.missing``): what to raise if that was put right."""

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
        link = self.take(until, action)
        try:
            link.limit(timeout, until=until)
            if waits:
                args = [encoding.bigint(int((until - time.monotonic()) * _PATIENCE * 1000)), *args]
            rows = link.ask(statement, args, until=until)
        except BrokenLink as exc:
            self.drop(link)
            raise self.broken(exc, action, link.where, write=write) from exc
        except Refusal as exc:
            self.after_refusal(link, exc)
            raise self.refused(exc, action=action, where=link.where, since=until - timeout, until=until) from exc
        except BaseException:  # an interrupt in the middle: what comes next on it would be the answer to this
            self.drop(link)
            raise
        self.give_back(link)
        return rows

    def broken(self, exc: BrokenLink, action: str, where: str, *, write: bool) -> TenureError:
        """What to raise for a connection that failed."""
        error = broken(exc, action=action, where=where, write=write)
        if self._closed and not isinstance(error, OutcomeUnknown):
            return Unavailable(f"{action}: this store was closed meanwhile")
        return error

    def refused(self, exc: Refusal, *, action: str, where: str, since: float, until: float) -> TenureError:
        """What to raise for an ERROR of the server, which changed nothing, to a caller who began at ``since``."""
        put_right = self.missing(since, until) if exc.state in GONE else None
        return put_right or refused(exc, action=action, where=where)

    def after_refusal(self, link: Link, exc: Refusal) -> None:
        """Give back a connection whose server refused, unless another server should be looked for."""
        if exc.state == READ_ONLY or exc.state in GONE:
            self.drop(link)
        else:
            self.give_back(link)

    # -- connections --

    def take(self, until: float, action: str) -> Link:
        """A connection for the caller alone."""
        with self._changed:
            while True:
                if self._closed:
                    raise StoreClosed("this store was closed")
                while self._idle:
                    link = self._idle.pop()
                    if link.quiet:
                        self._busy.add(link)
                        return link
                    self._count -= 1
                    link.close()
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

    def _make(self, until: float) -> Link:
        try:
            link = self.servers.connect(until=until, given_up=lambda: self._closed)
        except BaseException:
            with self._changed:
                self._count -= 1
                self._changed.notify()
            raise
        with self._changed:
            if not self._closed:
                self._busy.add(link)
                return link
            self._count -= 1
        link.close()
        raise StoreClosed("this store was closed")

    def give_back(self, link: Link) -> None:
        """Take back a connection that is in order."""
        with self._changed:
            self._busy.discard(link)
            if not self._closed:
                self._idle.append(link)
                self._changed.notify()
                return
            self._count -= 1
        link.close()

    def drop(self, link: Link) -> None:
        """Close a connection that failed, and the idle ones: what broke it has most likely broken them."""
        with self._changed:
            self._busy.discard(link)
            gone, self._idle = [link, *self._idle], []
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
            for link in self._busy:
                link.interrupt()
            self._changed.notify_all()
        for link in idle:
            link.close()
        return first
