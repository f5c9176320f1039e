"""A key that comes back: it is on a session of its own, and put again on a new one after that was lost, until closed.

With a session of its own, giving up needs no clearing: a put that had no answer ends with its session at the latest.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Self

from tenure._client.keys import check_key
from tenure._client.store import Store
from tenure._runtime.clock import TimeLimit
from tenure._runtime.monitor import Monitor
from tenure._steps.effects import Commit, Get, Sleep, Steps
from tenure._steps.threads import Background, run
from tenure.errors import AlreadyHeld, Conflict, OutcomeUnknown, StoreClosed, TenureError
from tenure.recipes._patience import over
from tenure.recipes.session import DEFAULT_TTL, Session, open_session
from tenure.spi.types import Delete, KeyAbsent, Precondition, Put, RevisionEquals

_log = logging.getLogger("tenure.recipes")
_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 5.0


class KeptKey:
    """What a persistent key knows, and its steps, without I/O. A face performs them."""

    def __init__(
        self,
        store: Store,
        key: str,
        value: bytes,
        ttl: float,
        *,
        resume: Callable[[Steps[None]], object],
        drop: Callable[[Session], object],
    ) -> None:
        """``resume`` performs steps in the background, and ``drop`` ends a session that nobody gets.

        Neither blocks, and any thread may call them.
        """
        check_key(key)
        self.key = key
        self._store = store
        self._value = value
        self._ttl = ttl
        self._resume = resume
        self._drop = drop
        self._session: Session | None = None
        self._revision = 0
        self._run = 0
        """Counts the starts. What began before a close is over, also once it was started again."""
        self._open = False
        self._lock = Monitor()

    @property
    def present(self) -> bool:
        """Whether it is put, and its session lives."""
        session = self._session
        return session is not None and session.alive

    def start(self, timeout: float | None) -> Steps[None]:
        """Steps that put the key, and let it be put again after each loss."""
        run = self._begin()
        try:
            yield from self._put(KeyAbsent(self.key), TimeLimit(self._store.clock, timeout), run)
        except BaseException:
            self.give_up()
            raise

    def _begin(self) -> int:
        with self._lock:
            if self._open:
                raise AlreadyHeld(f"putting {self.key!r}: this object keeps it already; close it first")
            self._open = True
            self._run += 1
            return self._run

    def stop(self) -> Session | None:
        """Keep the key no longer. Returns the session to end, if there is one."""
        with self._lock:
            self._open = False
            session, self._session = self._session, None
        if session is not None:
            session._unsubscribe(self)
        return session

    def give_up(self) -> None:
        """Keep the key no longer, as an interrupt came while it was put. Never blocks."""
        session = self.stop()
        if session is not None:
            self._drop(session)

    def _goes_on(self, run: int) -> bool:
        return self._open and self._run == run

    def _put(self, guard: Precondition, limit: TimeLimit, run: int) -> Steps[None]:
        """Put the key on a new session. If that fails, the session is dropped, and what it has ends with it."""
        session, kept = None, False
        try:
            session = yield from open_session(self._ttl, limit)
            revision = yield from self._put_on(session, guard, limit)
            with self._lock:
                if self._goes_on(run):
                    self._revision, self._session, kept = revision, session, True
            if kept:
                session._subscribe(self, partial(self._lost, run), lambda lost: lost())
            else:  # closed meanwhile
                yield from Commit((RevisionEquals(self.key, revision),), (Delete(self.key),), limit)
        finally:
            if session is not None and not kept:
                self._drop(session)

    def _put_on(self, session: Session, guard: Precondition, limit: TimeLimit) -> Steps[int]:
        lease = session.lease
        while True:
            try:
                return (yield from Commit((guard,), (Put(self.key, self._value, lease.id),), limit, lease)).revision
            except (OutcomeUnknown, Conflict) as exc:
                found = yield from Get(self.key, limit)
                if found is not None and found.lease_id == lease.id:  # a try that had no answer was applied
                    return found.mod_revision
                if isinstance(exc, Conflict) or over(limit):
                    raise

    def _lost(self, run: int) -> None:
        self._resume(self._come_back(run))

    def _come_back(self, run: int) -> Steps[None]:
        pause = _FIRST_PAUSE
        while self._goes_on(run):
            limit = TimeLimit(self._store.clock, None)
            try:
                item = yield from Get(self.key, limit)
                if item is None:
                    return (yield from self._put(KeyAbsent(self.key), limit, run))
                if item.mod_revision == self._revision:  # the store has not removed it yet: replaced without a gap
                    return (yield from self._put(RevisionEquals(self.key, self._revision), limit, run))
            except StoreClosed:
                return
            except TenureError as exc:
                _log.debug("putting %r again failed, trying again: %s", self.key, exc)
            yield from Sleep(pause * (0.5 + random.random()))  # noqa: S311 - spreads processes, no secret
            pause = min(2 * pause, _LONGEST_PAUSE)


class PersistentKey:
    """A key that is there while this process lives, and can reach the store, until :meth:`close`.

    If its session is lost, by an outage or a pause, the key goes with it. It is put again as soon as that is possible.
    If another client has put it meanwhile, it is put again when that one is gone. A key that another client changes or
    deletes while the session lives is left so.

    In ``with``, it is put at the beginning of the block, and removed at the end.

    >>> import tenure
    >>> with tenure.connect("memory://") as store:
    ...     with tenure.PersistentKey(store, "up/node-a", b"10.0.0.1") as key:
    ...         print(key.present, store.get("up/node-a").value)
    ...     print(store.get("up/node-a"))
    True b'10.0.0.1'
    None

    Args:
        store: the store.
        key: the key.
        value: its value.
        ttl: seconds after which the store removes the key, if this process died.

    Raises:
        InvalidKey: the key is empty, too long or not valid text.
    """

    def __init__(self, store: Store, key: str, value: bytes, *, ttl: float = DEFAULT_TTL) -> None:
        self._store = store
        self._kept = KeptKey(
            store,
            key,
            value,
            ttl,
            resume=lambda steps: Background(store, steps).start(),
            drop=lambda session: session.lease.abandon(),
        )

    @property
    def key(self) -> str:
        """The key."""
        return self._kept.key

    @property
    def present(self) -> bool:
        """Whether it is put, and its session lives. Reads the local clock and makes no call to the store."""
        return self._kept.present

    def start(self, *, timeout: float | None = None) -> None:
        """Put the key, and keep it.

        Args:
            timeout: seconds that the call may take; by default the store's timeout for each of its requests.

        Raises:
            Conflict: the key is there already; it was not changed.
            AlreadyHeld: this object keeps it already.
            InvalidArgument: the TTL is not a positive number, or the value is not bytes.
            LimitExceeded: the value or the TTL is too large for the store.
            OutcomeUnknown: the time ran out while a write had no answer. If it was applied, the key goes with its TTL.
            StoreFull: the store has no room.
            Unavailable: the store can't be reached. ``DeadlineExceeded`` if the time ran out.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        run(self._store, self._kept.start(timeout), undo=lambda _: self._kept.give_up())

    def close(self, *, timeout: float | None = None) -> None:
        """Remove the key, and keep it no longer. Idempotent; does nothing in a forked child.

        Args:
            timeout: seconds that the call may take; by default the store's timeout.

        Raises:
            OutcomeUnknown: no answer came; the key goes with its TTL.
            Unavailable: the store can't be reached; the key goes with its TTL. ``DeadlineExceeded`` if the time ran
                out.
            PermissionDenied: the store forbids the call; the key goes with its TTL. ``AuthenticationFailed`` if it no
                longer accepts the credentials.
        """
        if self._store._inherited:
            return
        session = self._kept.stop()
        if session is not None:
            session.close(timeout=timeout)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        try:
            self.close()
        except TenureError:
            if error is None:
                raise
            return  # the error of the body tells more

    def __repr__(self) -> str:
        return f"<PersistentKey {self.key!r} {'present' if self.present else 'absent'}>"
