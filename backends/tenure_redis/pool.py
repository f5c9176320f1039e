"""Connections for calls, and the rule of what may be sent twice.

    take a connection ──► send ──► answer ─────────────────────────────► done
          │ can't connect           │ refused by a server that isn't the primary ──► drop it, look again: Unavailable
          ▼                         │ the connection breaks
      Unavailable                   ├─ a read, on a connection that was idle before: once more on a fresh one
      (surely not applied)          ├─ a commit: again on a fresh one, until the time is up, then OutcomeUnknown
                                    └─ any other write: OutcomeUnknown

A commit may be sent again because the script remembers the last one of each slot (``keys``): whichever copy
runs second finds that it was done and gets the first one's answer. That turns most unknown outcomes into known
ones. A slot has one commit under way at a time, so a copy that arrives after its caller gave up meets a higher number.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tenure.errors import OutcomeUnknown, StoreClosed, TenureError, Unavailable
from tenure_redis.connection import Connection, ConnectionBroken, pack
from tenure_redis.encoding import new_id
from tenure_redis.endpoints import Locator
from tenure_redis.errors import MOVED, ServerError, broken, refused
from tenure_redis.keys import Names
from tenure_redis.scripts import COMMIT, Script

_IDLE = 32
"""Connections kept for later; more are made when more threads call at once, and closed afterwards."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5


class Pool:
    """All connections of one backend but the watches' own. Thread-safe."""

    def __init__(self, locator: Locator, names: Names, *, history: int) -> None:
        self.locator = locator
        self.names = names
        self._history = str(history)
        self._client = new_id()
        self._idle: deque[Connection] = deque()
        self._busy: set[Connection] = set()
        self._lock = threading.Lock()
        self._closed = False
        self._pid = os.getpid()
        self._slots: deque[_Slot] = deque()
        self._slot_count = 0
        self._runs = itertools.count(1)
        self.reaped = 0.0
        """When, on the monotonic clock, the last script was sent that has since answered: every script ends the
        leases whose time has come, so no lease that ended before then has keys any more."""

    # -- calls --

    def read(self, *command: Any, timeout: float, action: str) -> Any:
        """The answer of a command without effects, asked a second time if an idle connection turned out dead."""
        until = time.monotonic() + timeout
        connection, fresh = self.take(timeout)
        try:
            answer = connection.call(*command, timeout=timeout)
        except ConnectionBroken as exc:
            self.drop(connection)
            if fresh or exc.late:
                raise self._broken(exc, action, write=False) from exc
        except ServerError as exc:
            raise self._refused(connection, exc, action) from exc
        else:
            self.give_back(connection)
            return answer
        connection, _ = self.take(max(until - time.monotonic(), 0.001), fresh=True)
        with self.using(connection, action) as again:
            return again.call(*command, timeout=max(until - time.monotonic(), 0.001))

    def run(self, script: Script, *args: Any, timeout: float, action: str, write: bool = False) -> Any:
        """Run a script once. ``write``: doubt about it has to be told.

        A read-like script still ends leases and makes an empty store, which does no harm twice.
        """
        until = time.monotonic() + timeout
        started = time.monotonic()
        connection, fresh = self.take(timeout)
        while True:
            try:
                answer = self.evaluate(connection, script, args, timeout=max(until - time.monotonic(), 0.001))
            except ConnectionBroken as exc:
                self.drop(connection)
                if write or fresh or exc.late:
                    raise self._broken(exc, action, write=write) from exc
            except ServerError as exc:
                raise self._refused(connection, exc, action) from exc
            else:
                self.give_back(connection)
                self.reaped = max(self.reaped, started)
                return answer
            connection, fresh = self.take(max(until - time.monotonic(), 0.001), fresh=True)

    def commit(self, args: list[Any], *, timeout: float, action: str) -> bytes:
        """Run the commit script at most once, and find out whether it ran as long as there is time."""
        until = time.monotonic() + timeout
        with self._slot() as slot:
            keys = (*self.names.all, slot.key)
            op = f"{slot.name}.{slot.number}"
            head = ("EVALSHA", COMMIT.sha, len(keys), *keys, op, self._history, slot.number)
            request = pack(*head, *args)
            doubt: ConnectionBroken | None = None
            pause = _FIRST_PAUSE
            while True:
                started = time.monotonic()
                try:
                    connection, _ = self.take(max(until - started, 0.001), fresh=doubt is not None)
                except TenureError as exc:
                    if doubt is None:
                        raise
                    reason: Exception = exc
                else:
                    try:
                        answer = self._send_commit(connection, request, head, args, until)
                    except ConnectionBroken as exc:
                        self.drop(connection)
                        doubt = reason = exc
                    except ServerError as exc:
                        error = self._refused(connection, exc, action)
                        if doubt is None:
                            raise error from exc
                        reason = exc
                    else:
                        self.give_back(connection)
                        self.reaped = max(self.reaped, started)
                        return answer
                if time.monotonic() + pause >= until or self._closed:
                    raise self._broken(doubt, action, write=True) from reason
                time.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)

    def _send_commit(
        self, connection: Connection, request: bytes, head: tuple[Any, ...], args: list[Any], until: float
    ) -> bytes:
        try:
            answer: bytes = connection.call_packed(request, timeout=max(until - time.monotonic(), 0.001))
        except ServerError as exc:
            if exc.word != "NOSCRIPT":
                raise
            answer = connection.call(
                "EVAL", COMMIT.text, *head[2:], *args, timeout=max(until - time.monotonic(), 0.001)
            )
        return answer

    def evaluate(self, connection: Connection, script: Script, args: tuple[Any, ...], *, timeout: float) -> Any:
        """Run a script on a connection. Nothing has run when the server says that it doesn't know the script."""
        names = self.names.all
        tail = (len(names), *names, f"{self._client}:{next(self._runs)}", self._history, *args)
        try:
            return connection.call("EVALSHA", script.sha, *tail, timeout=timeout)
        except ServerError as exc:
            if exc.word != "NOSCRIPT":
                raise
            return connection.call("EVAL", script.text, *tail, timeout=timeout)

    # -- connections --

    def take(self, timeout: float, *, fresh: bool = False) -> tuple[Connection, bool]:
        """A connection for the caller alone, and whether it was made just now."""
        with self._lock:
            if self._closed:
                raise StoreClosed("this store was closed")
            if not fresh and self._idle:
                connection = self._idle.pop()
                self._busy.add(connection)
                return connection, False
        connection = self.locator.open(timeout=timeout)
        with self._lock:
            if not self._closed:
                self._busy.add(connection)
                return connection, True
        connection.close()
        raise StoreClosed("this store was closed")

    def give_back(self, connection: Connection) -> None:
        """Take back a connection that is in order."""
        with self._lock:
            self._busy.discard(connection)
            if len(self._idle) < _IDLE and not self._closed:
                self._idle.append(connection)
                return
        connection.close()

    def drop(self, connection: Connection) -> None:
        """Close a connection that failed, and the idle ones: what broke it has most likely broken them."""
        with self._lock:
            self._busy.discard(connection)
            idle, self._idle = self._idle, deque()
        connection.close()
        for other in idle:
            other.close()

    @contextmanager
    def using(self, connection: Connection, action: str) -> Iterator[Connection]:
        """Several commands without effects on one connection, their errors translated."""
        try:
            yield connection
        except ConnectionBroken as exc:
            self.drop(connection)
            raise self._broken(exc, action, write=False) from exc
        except ServerError as exc:
            raise self._refused(connection, exc, action) from exc
        except BaseException:
            self.drop(connection)
            raise
        self.give_back(connection)

    def close(self) -> bool:
        """Close everything; calls under way fail soon. Answers whether this was the first time."""
        if os.getpid() != self._pid:
            return False
        with self._lock:
            first, self._closed = not self._closed, True
            idle, self._idle = self._idle, deque()
            busy = tuple(self._busy)
        for connection in idle:
            connection.close()
        for connection in busy:
            connection.interrupt()
        return first

    # -- inside --

    def _refused(self, connection: Connection, exc: ServerError, action: str) -> TenureError:
        """What an error reply means; also what becomes of the connection."""
        if exc.word in MOVED:
            self.drop(connection)
        else:
            self.give_back(connection)
        return refused(exc, action=action, where=str(connection.where))

    def _broken(self, exc: ConnectionBroken, action: str, *, write: bool) -> TenureError:
        error = broken(str(exc), action=action, where=self.locator.where, write=write, late=exc.late)
        if self._closed and not isinstance(error, OutcomeUnknown):
            return Unavailable(f"{action}: this store was closed meanwhile")
        return error

    @contextmanager
    def _slot(self) -> Iterator[_Slot]:
        try:
            slot = self._slots.pop()
        except IndexError:
            with self._lock:
                self._slot_count += 1
                name = f"{self._client}-{self._slot_count}"
            slot = _Slot(name, self.names.slot(name))
        slot.number += 1
        try:
            yield slot
        finally:
            self._slots.append(slot)


class _Slot:
    """A name under which the store remembers one commit of ours."""

    __slots__ = ("key", "name", "number")

    def __init__(self, name: str, key: str) -> None:
        self.name = name
        self.key = key
        self.number = 0
