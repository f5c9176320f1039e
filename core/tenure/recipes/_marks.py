"""Commits whose outcome becomes known, although no answer came: the operation leaves a mark. Steps, without I/O.

A mark is a key that one operation at a time writes, in the same transaction as the change, and only if the mark is
still as it was. So the mark tells whether the change was applied. If it was not, another put of the mark alone makes
the store refuse the change for ever, however late it arrives. A transaction is then done or refused, and never unknown,
as long as the session lives and the time lasts.

The next operation overwrites the mark, so there are as many marks as operations at the same time. A mark is on the
session's lease, in a folder of its own, and goes with the session.
"""

from __future__ import annotations

import os
import secrets
import weakref
from collections import deque
from dataclasses import dataclass, field

from tenure._client.store import Store
from tenure._runtime.clock import TimeLimit
from tenure._runtime.monitor import Monitor
from tenure._steps.effects import Commit, Get, Steps
from tenure.errors import Conflict, LeaseLost, LeaseNotFound, OutcomeUnknown, TenureError, Unavailable
from tenure.recipes import _names
from tenure.recipes._janitor import Janitor, janitor_of
from tenure.recipes._patience import over, pause
from tenure.recipes.session import Session, session_for
from tenure.spi.types import KeyAbsent, Operation, Precondition, Put, RevisionEquals


class Mark:
    """A key that one operation at a time writes. Each write has a number of its own."""

    __slots__ = ("key", "number", "revision", "session")

    def __init__(self, session: Session) -> None:
        self.key = f"{_names.folder('mark', secrets.token_hex(8))}mark"
        self.session = session
        self.revision = 0
        self.number = 0

    def unchanged(self) -> Precondition:
        """The precondition that the operation before was the last."""
        return RevisionEquals(self.key, self.revision) if self.revision else KeyAbsent(self.key)

    def next(self) -> Put:
        """The put that shows that the next operation was applied."""
        self.number += 1
        return Put(self.key, str(self.number).encode(), self.session.lease.id)


@dataclass(frozen=True, slots=True)
class MarkedCommits:
    """Commits transactions of one store, each applied once at most and with a certain outcome.

    Attributes:
        store: the store.
        janitor: removes the mark of an operation that was given up.
        session: a session of one's own; ``None`` for the store's.
        free: the marks that no operation uses now.
    """

    store: Store
    janitor: Janitor
    session: Session | None = None
    free: deque[Mark] = field(default_factory=deque)

    def commit(
        self, preconditions: tuple[Precondition, ...], operations: tuple[Operation, ...], limit: TimeLimit
    ) -> Steps[bool]:
        """Steps that commit. Return whether it was applied; if not, it never will be, and reading again may help.

        Raise ``OutcomeUnknown`` if no answer came and the time is up or the session has ended. Any other error:
        nothing was applied.
        """
        for last in (False, True):
            mark = yield from self._take(limit)
            try:
                return (yield from self._commit(mark, preconditions, operations, limit))
            except (LeaseLost, LeaseNotFound):
                if last or self.session is not None:
                    raise
        raise AssertionError

    def _take(self, limit: TimeLimit) -> Steps[Mark]:
        session = yield from session_for(self.store, self.session, limit)
        while True:
            try:
                mark = self.free.popleft()
            except IndexError:
                return Mark(session)
            if mark.session is session:
                return mark

    def _commit(
        self,
        mark: Mark,
        preconditions: tuple[Precondition, ...],
        operations: tuple[Operation, ...],
        limit: TimeLimit,
    ) -> Steps[bool]:
        commit = Commit(
            (*preconditions, mark.unchanged()), (*operations, mark.next()), self._half(limit), mark.session.lease
        )
        keep = False
        try:
            try:
                mark.revision = (yield from commit).revision
                applied = True
            except OutcomeUnknown as exc:
                applied = yield from self._settle(mark, exc, limit)
            except Conflict as exc:
                applied = False
                if mark.key in exc.keys and not (yield from self._is_there(mark, limit)):
                    return False
            except TenureError:
                keep = True
                raise
            keep = True
            return applied
        finally:
            if keep:
                self.free.append(mark)
            else:
                self.janitor.remove(mark.key, mark.session, uncertain=True)

    def _settle(self, mark: Mark, unknown: OutcomeUnknown, limit: TimeLimit) -> Steps[bool]:
        """Find out whether the last write of ``mark`` was applied, and prevent it if it was not."""
        applied = str(mark.number).encode()
        refuse = Commit((mark.unchanged(),), (mark.next(),), limit, mark.session.lease)
        try:
            while True:
                try:
                    item = yield from Get(mark.key, limit)
                    if item is not None and item.mod_revision != mark.revision:
                        mark.revision = item.mod_revision
                        return item.value == applied
                    if item is None and mark.revision:
                        raise LeaseLost(f"{mark.key!r} was removed from the store")
                    mark.revision = (yield from refuse).revision
                except (Conflict, OutcomeUnknown):
                    pass  # the mark tells
                except Unavailable:
                    mark.session.check()
                else:
                    return False
                if over(limit):
                    raise unknown
                yield from pause()
        except TenureError as exc:
            raise OutcomeUnknown(
                f"committing: {unknown}; it could not be found out whether it was applied; read before you try again"
            ) from exc

    def _is_there(self, mark: Mark, limit: TimeLimit) -> Steps[bool]:
        """Whether the store still has the mark, so that the conflict was about another key."""
        item = yield from Get(mark.key, limit)
        return (0 if item is None else item.mod_revision) == mark.revision

    def _half(self, limit: TimeLimit) -> TimeLimit:
        """The time in which an answer has to come, so that there is time to find out if it doesn't."""
        left = limit.left()
        return limit if left is None else TimeLimit(self.store.clock, left / 2)


class _FreeMarks:
    def __init__(self) -> None:
        self._free: weakref.WeakKeyDictionary[Store, deque[Mark]] = weakref.WeakKeyDictionary()
        self._lock = Monitor()

    def of(self, store: Store) -> deque[Mark]:
        with self._lock:
            return self._free.setdefault(store, deque())


_free_marks = _FreeMarks()
os.register_at_fork(after_in_child=_free_marks._lock._at_fork_reinit)  # a thread of the parent may have held it


def marked_commits(store: Store) -> MarkedCommits:
    """Return what commits with marks on the store's own session."""
    return MarkedCommits(store, janitor_of(store), None, _free_marks.of(store))
