"""What is held, whichever face holds it: the token, the local deadline, the guard. No I/O."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeVar

from tenure._client.keys import check_callback
from tenure._client.store import Store
from tenure._client.transaction import TransactionDraft, check_draft
from tenure._runtime.clock import TimeLimit
from tenure._runtime.monitor import Monitor
from tenure._runtime.observed_work import told
from tenure._steps.effects import Get, Steps
from tenure.errors import LeaseLost, TenureError
from tenure.recipes._history_number import history_number
from tenure.recipes._telling import Tenancy
from tenure.recipes.fencing import Fence
from tenure.recipes.session import Session

D = TypeVar("D", bound=TransactionDraft)

_log = logging.getLogger("tenure.recipes")
_SLICE = 0.25
"""Seconds after which a wait with a timeout looks at the store's clock, which a test or a suspend moves."""


ITSELF = property(weakref.ref, doc="What ``with`` calls: a function that returns the object itself.")
"""The method ``__enter__`` of an object that is acquired before ``with``: what it returns is the object itself.

It runs no line of Python, so no interrupt comes between the acquisition and the block whose end releases it.
"""


class HeldState:
    """The result of an acquisition, bound to no thread or task. Reading it makes no call to the store.

    Attributes:
        name: the name of what is held.
        token: the fencing token. It grows with each holder of the name.
        key: the holder's key in the store. While it is held, the token is the revision of the key's last put.
    """

    def __init__(
        self,
        store: Store,
        session: Session,
        *,
        kind: str,
        name: str,
        key: str,
        token: int,
        give_back: Callable[[TimeLimit], Steps[bool]],
        leave: Callable[[], None],
    ) -> None:
        self.name = name
        self.token = token
        self._kind = kind
        self.key = key
        self._store = store
        self._session = session
        self._give_back = give_back
        self._fence: Fence | None = None
        self._leave = leave
        self._released = False
        self._given_back = False  # by its holder, while it was held: leaving its block is no loss then
        self._moving = False
        self._ending = False  # the store removes the key, as its holder asked
        self._gone = ""
        self._count = 1
        self._counting = Monitor()
        self._ended = threading.Event()
        self._owners: list[object] = []
        self._tenancy: Tenancy | None = None
        self._subscribe(self._ended.set, lambda callback: callback())
        if store._observers.of_recipes:
            self._tenancy = Tenancy(store._observers, session, kind=kind, name=name, token=token)
            self._subscribe(self._tenancy.ended, store._callbacks.submit)
        session._look_for(self, store)

    @property
    def session(self) -> Session:
        """The session that it is held on."""
        return self._session

    @property
    def held(self) -> bool:
        """Whether it is held now, by the local clock: neither released nor lost."""
        return not self._released and not self._moving and not self._gone and self._session.alive

    @property
    def lost(self) -> bool:
        """Whether it was lost before it was released; also with its session or its store, when that was closed.

        The holder knows at once of a session that ends. If the key alone is gone, as an operator removed it or a
        failover lost it, the holder knows after the session's next refresh, which a third of the TTL brings.
        """
        return not self._released and bool(self._gone or not self._session.alive)

    @property
    def remaining(self) -> float:
        """Seconds for which the holder can still rely on it, without another refresh; 0.0 once it has ended."""
        return 0.0 if self._released or self._moving or self._gone else self._session.remaining

    def check(self, margin: float = 0.0) -> None:
        """Raise unless the holder can rely on it for ``margin`` seconds more. Makes no call to the store.

        Args:
            margin: seconds for which it has to remain held, such as the duration of the next piece of work.

        Raises:
            LeaseLost: it was lost or released, or less time is left.
            InvalidArgument: ``margin`` is not a number.
            UsedAfterFork: it is held by the parent of this process.
        """
        if self._released:
            raise LeaseLost(f"checking the {self._kind} {self.name!r}: it was released; acquire it again")
        if self._gone:
            raise LeaseLost(f"checking the {self._kind} {self.name!r}: {self._gone}; acquire it again")
        if self._moving:
            raise LeaseLost(f"checking the {self._kind} {self.name!r}: it is being handed over; wait for that call")
        self._session.check(margin)

    def guard(self, transaction: D) -> D:
        """Add the precondition that it is still held: otherwise the store refuses the whole transaction.

        Args:
            transaction: a transaction of the same store.

        Returns:
            The same builder. Its ``commit`` raises ``Conflict`` if another holder may have it.

        Raises:
            LeaseLost: it is known to be lost or released already.
            UsedAfterFork: it is held by the parent of this process.
        """
        self._admit(transaction)
        return transaction.if_unchanged(self.key, revision=self.token)

    def _admit(self, transaction: TransactionDraft) -> None:
        """Raise if it isn't held any more; the transaction is refused then."""
        check_draft(transaction, f"guarding by {self.key!r}")
        try:
            self.check()
        except BaseException:
            transaction._refused()
            raise

    def on_lost(self, callback: Callable[[], object]) -> None:
        """Call ``callback`` once if it is lost, on a thread for callbacks; soon, if it is lost already.

        It is also lost when its session or its store is closed before it was released, by whatever part of the program.

        Args:
            callback: called without arguments. What it raises is logged.

        Raises:
            InvalidArgument: ``callback`` is no function, or an async one.
            UsedAfterFork: it is held by the parent of this process.
        """
        check_callback("callback", callback)
        self._store._check_fork()
        observed = self._store._callbacks.observed
        self._subscribe(partial(told, callback, "recipe", observed), self._store._callbacks.submit)

    def wait_until_lost(self, timeout: float | None = None) -> bool:
        """Wait until it is lost or released.

        Args:
            timeout: seconds to wait; ``None`` for no limit.

        Returns:
            Whether it was lost or released; ``False`` if the time is up.

        Raises:
            InvalidArgument: ``timeout`` is not a number.
            UsedAfterFork: it is held by the parent of this process.
        """
        self._store._check_fork()
        limit = TimeLimit(self._store.clock, timeout)
        while not self._ended.is_set():
            left = limit.left()
            if left is not None and left <= 0:
                return False
            self._ended.wait(None if left is None else min(left, _SLICE))
        return True

    # -- for the faces --

    def release_steps(self, limit: TimeLimit, counted: list[bool] | None = None) -> Steps[bool]:
        """Steps that give it back. Returns whether it was held until then. A second call does nothing.

        ``counted`` is no longer empty once this call has been counted, where it takes several to give it back.
        """
        last, counted = False, [] if counted is None else counted
        try:
            with self._counting:
                if self._released:
                    return False
                if self._count > 1:
                    self._count, counted[:] = self._count - 1, [True]  # at once: an interrupt comes between lines
                    return self.held
                last = self._released = True
            self._settle()
            if self._gone:  # it was told, and is being removed
                return False
            self._given_back = yield from self._give_back(limit)
            self._tell_the_loss(not self._given_back)
            return self._given_back
        except TenureError:
            self._tell_the_loss()
            raise
        except BaseException:  # an interrupt, maybe before anything was done
            if last:
                self.end()
                self._leave()
            raise

    def fence_steps(self, limit: TimeLimit) -> Steps[Fence]:
        """Steps that return the token with its history. The history is read before the key is seen to be there."""
        if self._fence is None:
            self.check()
            history = yield from history_number(self._store, limit)
            item = (yield from Get(self.key, limit)) if history else None
            if history and (item is None or item.mod_revision != self.token):
                raise LeaseLost(f"fencing the {self._kind} {self.name!r}: the store no longer has it; acquire it again")
            self.check()
            self._fence = Fence(history, self.token)
        return self._fence

    def give_up(self) -> None:
        """Give it back in the background, as nobody got it: an interrupt came as the acquisition returned."""
        if self._store._inherited:
            return
        with self._counting:
            if self._released:
                return
            if self._count > 1:
                self._count -= 1
                return
        self.end()
        self._leave()

    def end(self, *, passed_on: bool = False) -> None:
        """Note that it is no longer held, as the store has given it to another, or will.

        ``passed_on``: its holder asked for that, so that it isn't lost.
        """
        self._settle()
        self._given_back = passed_on
        self._tell_the_loss(False if passed_on else None)

    def _settle(self) -> None:
        self._released = True
        self._ended.set()
        if self._tenancy is not None:
            self._tenancy.ended()

    def _tell_the_loss(self, lost: bool | None = None) -> None:
        """Call the callbacks that wait for the loss, or forget them if there was none; the session says which.

        A loss is told by a thread of the keep-alive. The holder may have seen it first, and left its block.
        """
        if lost is None:
            lost = not self._session.alive
        for owner in self._owners:
            if lost and not self._store._inherited:
                self._session._tell(owner)
            else:
                self._session._unsubscribe(owner)

    @property
    def _revisions(self) -> Iterable[tuple[str, int]]:
        """Its keys, with the revision that each has while it is held."""
        return ((self.key, self.token),)

    def _vanish(self, key: str) -> None:
        """Note that the store no longer has ``key`` as it was, unless its holder changed it."""
        with self._counting:
            if self._released or self._moving or self._ending or self._gone:
                return
            self._gone = f"the store no longer has its key {key!r}, which another client removed, or a failover lost"
        _log.warning("the %s %r is lost: the store no longer has its key %r", self._kind, self.name, key)
        self._leave()  # a backup may have it, or another of several keys be left: it is in others' way now
        self._tell_that_it_is_gone()

    def lose(self, reason: str) -> None:
        """Note that it is held no longer, as passing it on failed half way, and call those who wait for its loss.

        Its key is left to the caller. Does nothing once it was given back or passed on.
        """
        with self._counting:
            if self._released or self._gone:
                return
            self._gone = reason
        self._tell_that_it_is_gone()

    def _tell_that_it_is_gone(self) -> None:
        self._ended.set()
        if self._tenancy is not None:
            self._tenancy.ended(lost=True)
        for owner in self._owners:
            self._session._tell(owner)

    def move(self, moving: bool) -> None:
        """Note that it is being passed on, so that its holder can't rely on it; or that this came to nothing."""
        self._moving = moving

    def count(self) -> None:
        """Note that a reentrant object has acquired it once more: it takes one more release to give it back."""
        with self._counting:
            self._count += 1

    def _subscribe(self, callback: Callable[[], object], submit: Callable[[Callable[[], object]], object]) -> None:
        owner = object()
        self._owners.append(owner)
        self._session._subscribe(owner, callback, submit)
        if self._gone:
            self._session._tell(owner)

    def __repr__(self) -> str:
        state = "released" if self._released else "lost" if self.lost else "held"
        return f"<Held {self._kind} {self.name!r} {state} token={self.token} remaining={self.remaining:.1f}s>"
