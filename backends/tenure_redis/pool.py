"""Requests to the primary, and the rule of what may be sent twice. Connections are the kit's pool's.

    take a connection ──► send ──► answer ─────────────────────────────► done
          │ can't connect           │ refused by a server that isn't the primary ──► drop it, look again: Unavailable
          ▼                         │ the connection breaks
      Unavailable                   ├─ a read, on a connection that was idle before: once more on a fresh one
      (surely not applied)          ├─ by run_once: again on a fresh one, until the time is up, then OutcomeUnknown
                                    └─ any other write: OutcomeUnknown

Such a write may be sent again because its script remembers the last one of each slot (``keys``): whichever copy
runs second finds that it was done and gets the first one's answer. That turns most unknown outcomes into known
ones. A slot has one write under way at a time, so a copy that arrives after its caller gave up meets a higher number.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tenure.errors import TenureError
from tenure.plugin_kit import ConnectionPool, Deadline, Pooled, monotonic
from tenure_redis import endpoints
from tenure_redis.connection import Connection, ConnectionBroken
from tenure_redis.encoding import new_id
from tenure_redis.endpoints import Locator
from tenure_redis.errors import ERRORS, MOVED, ServerError, refused
from tenure_redis.keys import Names
from tenure_redis.scripts import Script

_IDLE = 32
"""Connections kept for later; more are made when more threads call at once, and closed afterwards."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5


class Pool:
    """All requests of one backend but the watches' own. Thread-safe, and safe against interruption at any line."""

    def __init__(self, locator: Locator, names: Names, *, history: int) -> None:
        self.locator = locator
        self.names = names
        self._history = str(history)
        self._client = new_id()
        self._connections = ConnectionPool(locator.open, max_idle=_IDLE)
        self._slots: deque[_Slot] = deque()
        self._slot_numbers = itertools.count(1)
        self._runs = itertools.count(1)
        self.reaped = 0.0
        """When, on the monotonic clock, the last script was sent that has since answered: every script ends the
        leases whose time has come. So no lease that ended before then has keys any more, unless the store is late."""

    @property
    def closed(self) -> bool:
        """Whether close was called."""
        return self._connections.closed

    def close(self) -> bool:
        """Close everything; calls under way fail soon. Answers whether this was the first time."""
        return self._connections.close()

    # -- calls --

    def read(self, *command: Any, deadline: Deadline, action: str) -> Any:
        """The answer of a command without effects, asked a second time if an idle connection turned out dead."""
        pooled = self._take_primary(deadline, action)
        while True:
            try:
                answer = pooled.connection.call(*command, deadline=deadline)
            except ConnectionBroken as exc:
                pooled.drop(with_idle=True)
                if pooled.fresh or exc.late:
                    raise self._unanswered(exc, action, write=False) from exc
            except ServerError as exc:
                raise self._refused(pooled, exc, action, write=False) from exc
            else:
                pooled.give_back()
                return answer
            pooled = self._connections.take(deadline, action=action, fresh=True)

    def run(self, script: Script, *args: Any, deadline: Deadline, action: str, write: bool = False) -> Any:
        """Run a script once. ``write``: doubt about it has to be told.

        A read-like script still ends leases and makes an empty store, which does no harm twice.
        """
        started = monotonic()
        pooled = self._take(deadline, action)
        while True:
            try:
                answer = self.evaluate(pooled.connection, script, args, deadline)
            except ConnectionBroken as exc:
                pooled.drop(with_idle=True)
                if (write and exc.sent) or pooled.fresh or exc.late:
                    raise self._unanswered(exc, action, write=write) from exc
            except ServerError as exc:
                raise self._refused(pooled, exc, action, write=write) from exc
            else:
                pooled.give_back()
                self.reaped = max(self.reaped, started)
                return answer
            pooled = self._take(deadline, action, fresh=True)

    def run_once(self, script: Script, args: list[Any], *, deadline: Deadline, action: str) -> bytes:
        """Run a script at most once, and find out whether it ran as long as there is time."""
        slot = self._next_slot()
        try:
            return self._run_once(script, slot, args, deadline, action)
        finally:
            self._slots.append(slot)

    def _run_once(self, script: Script, slot: _Slot, args: list[Any], deadline: Deadline, action: str) -> bytes:
        keys = (*self.names.all, slot.key)
        before = (len(keys), *keys, f"{slot.name}.{slot.number}")
        after = (slot.number, *args)
        doubt: ConnectionBroken | None = None
        fresh = False
        pause = _FIRST_PAUSE
        while True:
            try:
                return self._try_once(script, before, after, deadline, action, fresh=fresh)
            except ConnectionBroken as exc:
                reason: Exception = exc
                if exc.sent:
                    doubt = exc
                elif doubt is None:
                    if fresh or exc.late:
                        raise self._unanswered(exc, action, write=True) from exc
                    fresh = True
                    continue
                fresh = True
            except TenureError as exc:
                if doubt is None:
                    raise
                reason = exc
            if deadline.remaining() <= pause or self.closed:
                raise self._unanswered(doubt, action, write=True) from reason
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _try_once(
        self,
        script: Script,
        before: tuple[Any, ...],
        after: tuple[Any, ...],
        deadline: Deadline,
        action: str,
        *,
        fresh: bool,
    ) -> bytes:
        """The answer to one copy of a request. All copies have the same ``before`` and ``after`` the settings.

        Raises ``ConnectionBroken`` if that broke the connection.
        """
        started = monotonic()
        pooled = self._take(deadline, action, fresh=fresh)
        try:
            command = (*before, self._settings(pooled.connection), *after)
            answer: bytes = self._call(pooled.connection, script, command, deadline)
        except ConnectionBroken:
            pooled.drop(with_idle=True)
            raise
        except ServerError as exc:
            raise self._refused(pooled, exc, action, write=True) from exc
        pooled.give_back()
        self.reaped = max(self.reaped, started)
        return answer

    def evaluate(self, connection: Connection, script: Script, args: tuple[Any, ...], deadline: Deadline) -> Any:
        """Run a script on a connection."""
        return self.finish(connection, script, self.begin(connection, script, args, deadline), deadline)

    def begin(
        self, connection: Connection, script: Script, args: tuple[Any, ...], deadline: Deadline
    ) -> tuple[Any, ...]:
        """Send a script; the caller gets the answer by :meth:`finish`, which is given what this returns."""
        names = self.names.all
        run = f"{self._client}:{next(self._runs)}"
        command = (len(names), *names, run, self._settings(connection), *args)
        connection.begin("EVALSHA", script.sha, *command, deadline=deadline)
        return command

    def finish(self, connection: Connection, script: Script, command: tuple[Any, ...], deadline: Deadline) -> Any:
        """The answer to a script that was sent. Nothing has run if the server says that it doesn't know the script."""
        try:
            return connection.finish(deadline=deadline)
        except ServerError as exc:
            if exc.word != "NOSCRIPT":
                raise
            return connection.call("EVAL", script.text, *command, deadline=deadline)

    def _settings(self, connection: Connection) -> str:
        return f"{self._history} {connection.server}"

    def _call(self, connection: Connection, script: Script, command: tuple[Any, ...], deadline: Deadline) -> Any:
        connection.begin("EVALSHA", script.sha, *command, deadline=deadline)
        return self.finish(connection, script, command, deadline)

    @contextmanager
    def session(self, deadline: Deadline, action: str) -> Iterator[Connection]:
        """A connection for several commands without effects, their errors translated."""
        pooled = self._take_primary(deadline, action)
        try:
            yield pooled.connection
        except ConnectionBroken as exc:
            pooled.drop(with_idle=True)
            raise self._unanswered(exc, action, write=False) from exc
        except ServerError as exc:
            raise self._refused(pooled, exc, action, write=False) from exc
        except BaseException:
            pooled.drop()
            raise
        pooled.give_back()

    # -- inside --

    def _take(self, deadline: Deadline, action: str, *, fresh: bool = False) -> Pooled[Connection]:
        """A connection for a request that must not be sent once the time is up."""
        pooled = self._take_primary(deadline, action, fresh=fresh)
        if pooled.fresh and deadline.expired:  # it took all the time to make
            pooled.give_back()
            deadline.check(action)
        return pooled

    def _take_primary(self, deadline: Deadline, action: str, *, fresh: bool = False) -> Pooled[Connection]:
        """A connection to a server that said a moment ago that it is a primary; a new one where one says no more."""
        while True:
            pooled = self._connections.take(deadline, action=action, fresh=fresh)
            if monotonic() < pooled.connection.primary_until:
                return pooled
            try:
                endpoints.confirm(pooled.connection, deadline)
            except ConnectionBroken as exc:
                pooled.drop(with_idle=True)
                if pooled.fresh:  # only the question was sent, whatever the caller is about to do
                    raise self._unanswered(exc, action, write=False) from exc
            except TenureError:
                pooled.drop(with_idle=True)
                if pooled.fresh:
                    raise
            except BaseException:
                pooled.drop()
                raise
            else:
                return pooled

    def _refused(self, pooled: Pooled[Connection], exc: ServerError, action: str, *, write: bool) -> TenureError:
        """What an error reply means; also what becomes of the connection."""
        if exc.word in MOVED:
            pooled.drop(with_idle=True)
        else:
            pooled.give_back()
        return refused(exc, action=action, where=pooled.connection.where, write=write)

    def _unanswered(self, exc: ConnectionBroken, action: str, *, write: bool) -> TenureError:
        reason = "this store was closed" if self.closed else str(exc)
        return ERRORS.unanswered(
            reason, action=action, where=self.locator.where, write=write, sent=exc.sent, late=exc.late
        )

    def _next_slot(self) -> _Slot:
        """A slot for the caller alone, with a number that it never had before.

        An interrupt at any line, here or in the commit, loses the slot or puts it back with this number used up.
        """
        try:
            slot = self._slots.pop()
        except IndexError:
            name = f"{self._client}-{next(self._slot_numbers)}"
            slot = _Slot(name, self.names.slot(name))
        slot.number += 1
        return slot


class _Slot:
    """A name under which the store remembers one commit of ours."""

    __slots__ = ("key", "name", "number")

    def __init__(self, name: str, key: str) -> None:
        self.name = name
        self.key = key
        self.number = 0
