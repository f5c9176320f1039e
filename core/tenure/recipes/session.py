"""A session: one lease that recipes share, and what is told when it is lost.

All that is held on a session is lost with it. The session counts as lost a margin before the end of its TTL, by the
local clock, so that a holder knows it before the store can give a lock to another.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Self

from tenure._client.store import Store
from tenure._runtime.clock import TimeLimit
from tenure._runtime.monitor import Monitor
from tenure._steps.effects import Grant, Steps
from tenure._steps.threads import run
from tenure.errors import StoreClosed
from tenure.leases.lease import HeldLease, Lease
from tenure.recipes._presence import Holds, Presence

DEFAULT_TTL = 10.0
"""Seconds after which the store gives away what a session holds whose process died."""
_MARGIN = 0.1
"""The part of the TTL, but no more than a second, by which a holder knows of a loss before the store."""


class Session:
    """One lease that recipes share. Made by :meth:`open`; without one, recipes use a session of the store's own.

    Thread-safe. In ``with`` it is closed at the end, and everything held on it is released at once.

    >>> import tenure
    >>> with tenure.connect("memory://") as store, tenure.Session.open(store, ttl=5) as session:
    ...     with tenure.Lock(store, "job", session=session).hold():
    ...         session.alive
    True
    """

    if not TYPE_CHECKING:

        def __new__(cls, *of: object, **more: object) -> Self:
            if of or more:
                raise TypeError("a Session is made by a call: " + "Session.open(store, ttl=5)")
            return super().__new__(cls)

    def __init__(self) -> None:
        self._lease: Lease | None = None
        self._lock = Monitor()
        self._callbacks: dict[object, Callable[[], object]] = {}
        self._lost = False
        self._presence: Presence | None = None

    @classmethod
    def open(cls, store: Store, *, ttl: float = DEFAULT_TTL, timeout: float | None = None) -> Session:
        """Take a lease for a session of one's own.

        Args:
            store: the store.
            ttl: seconds after which the store gives away what the session holds, if its process died.
            timeout: seconds that the call may take; by default the store's timeout.

        Returns:
            The session, alive.

        Raises:
            InvalidArgument: ``ttl`` is not a positive number.
            LimitExceeded: ``ttl`` is longer than ``capabilities.max_ttl``.
            Unavailable: the store can't be reached. ``DeadlineExceeded`` if the time ran out.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        return run(store, open_session(ttl, TimeLimit(store.clock, timeout)), undo=Session._abandon)

    @property
    def lease(self) -> Lease:
        """The lease that the session's keys are removed with."""
        assert self._lease is not None
        return self._lease

    @property
    def alive(self) -> bool:
        """Whether holders can still rely on the session. Reads the local clock and makes no call to the store."""
        return self._lease is not None and self._lease.alive

    @property
    def remaining(self) -> float:
        """Seconds for which holders can still rely on the session; 0.0 once it has ended."""
        return 0.0 if self._lease is None else self._lease.remaining

    def check(self, margin: float = 0.0) -> None:
        """Raise unless holders can rely on the session for ``margin`` seconds more. Makes no call to the store.

        Args:
            margin: seconds for which the session has to remain valid.

        Raises:
            LeaseLost: the session has ended, or less time is left.
            InvalidArgument: ``margin`` is not a number.
            UsedAfterFork: the session belongs to the parent of this process.
        """
        self.lease.ensure_valid(margin)

    def close(self, *, timeout: float | None = None) -> None:
        """End the session: the store removes all its keys in one transaction. Does nothing if it has ended.

        Args:
            timeout: seconds that the call may take; by default the store's timeout.

        Raises:
            OutcomeUnknown: no answer came; the session has ended or will expire.
            Unavailable: the store can't be reached; the session will expire. ``DeadlineExceeded`` if the time ran out.
            PermissionDenied: the store forbids the call; the session will expire. ``AuthenticationFailed`` if it no
                longer accepts the credentials.
        """
        if self._lease is not None:
            with suppress(StoreClosed):  # closing the store ends its leases
                self._lease.revoke(timeout=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Session {'alive' if self.alive else 'ended'} remaining={self.remaining:.1f}s>"

    # -- for recipes --

    def _subscribe(
        self, owner: object, callback: Callable[[], object], submit: Callable[[Callable[[], object]], object]
    ) -> None:
        """Call ``callback`` once when the session ends, on the pool; at once if it has ended already."""
        with self._lock:
            lost = self._lost
            if not lost:
                self._callbacks[owner] = lambda: submit(callback)
        if lost:
            submit(callback)
        elif not self.alive:  # it ended before there was anything to call
            self._ended()

    def _unsubscribe(self, owner: object) -> None:
        """Forget the callback of ``owner``."""
        with self._lock:
            self._callbacks.pop(owner, None)

    def _tell(self, owner: object) -> None:
        """Call the callback of ``owner`` now, if it has not been called."""
        with self._lock:
            callback = self._callbacks.pop(owner, None)
        if callback is not None:
            callback()

    def _look_for(self, held: Holds, store: Store) -> None:
        """Look after each refresh whether ``store`` still has what is held."""
        with self._lock:
            if self._presence is None:
                self._presence = Presence(store)
                self.lease._on_refreshed = self._presence.refreshed
            self._presence.add(held)

    def _abandon(self) -> None:
        """Let the session expire, as nobody got it."""
        self.lease.abandon()

    def _on_lost(self, lease: HeldLease) -> None:
        self._ended()

    def _ended(self) -> None:
        """Tell all who hold something on the session that it has ended, in whatever way. May be called again."""
        with self._lock:
            self._lost = True
            callbacks = list(self._callbacks.values())
            self._callbacks.clear()
        for callback in callbacks:
            callback()


def open_session(ttl: float, limit: TimeLimit) -> Steps[Session]:
    """Steps that take a lease for a session."""
    session = Session()
    margin = ttl * _MARGIN if isinstance(ttl, int | float) and ttl < 1 / _MARGIN else 1.0
    grant = Grant(ttl, margin, session._on_lost, limit)
    try:
        session._lease = lease = yield from grant
        lease._on_revoked = session._on_lost  # by a thread or a task that closes it under those who hold something
        return session  # in here: an interrupt on this line, too, leaves a lease that nobody has
    except BaseException:
        for taken in grant.taken:
            taken.abandon()
        raise


class SharedSessions:
    """The session of each store that recipes use if they aren't given one. It is replaced once it has ended."""

    def __init__(self) -> None:
        self._sessions: weakref.WeakKeyDictionary[Store, Session] = weakref.WeakKeyDictionary()
        self._lock = Monitor()

    def present(self, store: Store) -> Session | None:
        """Return the store's session, if it is alive."""
        session = self._sessions.get(store)
        return session if session is not None and session.alive else None

    def adopt(self, store: Store, session: Session) -> Session:
        """Make ``session`` the store's, unless another thread was quicker. Returns the one to use."""
        with self._lock:
            present = self.present(store)
            if present is None:
                self._sessions[store] = session
                return session
        session.lease.abandon()
        return present


_shared = SharedSessions()
os.register_at_fork(after_in_child=_shared._lock._at_fork_reinit)  # a thread of the parent may have held it


def session_for(store: Store, own: Session | None, limit: TimeLimit) -> Steps[Session]:
    """Steps that return the session to use: ``own`` if it is alive, or the store's, taken anew if it has ended."""
    if own is not None:
        own.check()
        return own
    present = _shared.present(store)
    if present is None:
        limits = store.capabilities
        ttl = min(max(DEFAULT_TTL, limits.min_ttl), limits.max_ttl)
        opened = None
        try:
            opened = yield from open_session(ttl, limit)
            present = _shared.adopt(store, opened)
        except BaseException:
            if opened is not None and _shared.present(store) is not opened:
                opened._abandon()
            raise
    return present
