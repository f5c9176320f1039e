"""A work queue: each item is done by one consumer, again if that one dies, and at most so many times."""

from __future__ import annotations

import json
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

from tenure._client.keys import check_value
from tenure._client.store import Store
from tenure._client.transaction import TransactionBuilder, TransactionDraft, check_draft
from tenure._runtime.clock import TimeLimit
from tenure._steps.effects import Steps
from tenure._steps.threads import run
from tenure._text import shown
from tenure.errors import InvalidArgument, LeaseLost, OutcomeUnknown, TenureError
from tenure.recipes import _names
from tenure.recipes._held_state import ITSELF, HeldState
from tenure.recipes._janitor import janitor_of
from tenure.recipes._marks import MarkedCommits, marked_commits
from tenure.recipes._owner import MOST
from tenure.recipes._work_claims import Claimed, acknowledge, claim, give_back, give_up
from tenure.recipes._work_items import Layout
from tenure.recipes._work_puts import put
from tenure.recipes.session import Session

MOST_ITEMS = 10_000
"""The largest ``max_items``: each claim lists the queue, which takes too long for more."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An item that was claimed as often as allowed and never acknowledged.

    Attributes:
        id: what :meth:`WorkQueue.put` returned for it.
        value: its value.
        attempts: how often it was claimed.
    """

    id: str
    value: bytes
    attempts: int


class ClaimState(HeldState):
    """An item that this consumer has, whichever face gave it.

    Attributes:
        id: what ``put`` returned for it.
        value: the item's value.
        attempts: how often it was claimed, with this time.
    """

    def __init__(self, layout: Layout, name: str, claimed: Claimed) -> None:
        super().__init__(
            layout.store,
            claimed.session,
            kind="item",
            name=name,
            key=claimed.key,
            token=claimed.token,
            give_back=lambda limit: give_back(layout, claimed, 0.0, limit),
            leave=lambda: give_up(layout, claimed),
        )
        self.id = claimed.item.header.id
        self.value = claimed.value
        self.attempts = claimed.item.header.attempts
        self._layout = layout
        self._claimed = claimed

    def ack_steps(self, transaction: TransactionDraft | None, limit: TimeLimit) -> Steps[None]:
        """Steps that acknowledge the item, with what ``transaction`` writes."""
        if transaction is not None:
            check_draft(transaction, f"acknowledging an item of {self.name!r}")
        writes = (
            transaction._take() if transaction is not None else ((), (), ())
        )  # first: no warning on top of an error
        self.check()
        try:
            self._ending = True
            yield from acknowledge(self._layout, self._claimed, writes, limit)
            self.end()
        except BaseException as exc:
            # Other errors tell that nothing was written: the consumer has the item. After these it comes back, unless
            # it was removed. A lost lease may be one of the caller's.
            if isinstance(exc, LeaseLost | OutcomeUnknown) or not isinstance(exc, TenureError):
                self.give_up()
            raise
        finally:
            self._ending = False

    def give_back_steps(self, delay: float, limit: TimeLimit) -> Steps[bool]:
        """Steps that give the item back. A second call does nothing."""
        _check_number("delay", delay, least=0.0)
        if self._released:
            return False
        try:
            self.end()
            return (yield from give_back(self._layout, self._claimed, delay, limit))
        except BaseException:
            give_up(self._layout, self._claimed)
            raise


class Claim(ClaimState):
    """An item that this consumer has: until it acknowledges it, gives it back, or loses its session.

    In ``with``, the item is acknowledged at the end of the block. It is given back if the block raises an error, or the
    acknowledgement does.
    """

    def ack(self, transaction: TransactionBuilder | None = None, *, timeout: float | None = None) -> None:
        """Remove the item, as it was done, together with what ``transaction`` writes: all of it, or nothing.

        Args:
            transaction: a transaction of the same store, not committed, whose preconditions and operations become part
                of the acknowledgement.
            timeout: seconds that the call may take; by default the store's timeout for each of its requests.

        Raises:
            LeaseLost: this consumer no longer has the item, or a lease that ``transaction`` names has ended. Nothing
                was written, and the item is done again.
            Conflict: a precondition of ``transaction`` did not hold. Nothing was written; this consumer has the item.
            OutcomeUnknown: no answer came until the time was up. Either all was written, or the item comes back.
            Unavailable: the store can't be reached; this consumer has the item. ``DeadlineExceeded`` if the time ran
                out.
            LimitExceeded: the transaction is larger than the store takes, with the acknowledgement's 4 operations.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        self._acknowledge(transaction, timeout)

    def release(self, *, delay: float = 0.0, timeout: float | None = None) -> bool:
        """Give the item back, so that it is claimed again, or is a dead letter after its last attempt.

        A second call does nothing. If the store can't be reached, the item is given back in the background, without the
        delay, or with the session.

        Args:
            delay: seconds before which it isn't claimed again, by the wall clocks of this machine and the consumer's.
            timeout: seconds that the call may take; by default the store's timeout.

        Returns:
            Whether this consumer had it until now.

        Raises:
            InvalidArgument: ``delay`` is not a number of seconds, zero or more.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        try:
            return run(self._store, self.give_back_steps(delay, TimeLimit(self._store.clock, timeout)))
        except TenureError:
            raise
        except BaseException:  # an interrupt, maybe before the steps began
            self.give_up()
            raise

    def _acknowledge(self, transaction: TransactionDraft | None, timeout: float | None) -> None:
        run(self._store, self.ack_steps(transaction, TimeLimit(self._store.clock, timeout)))

    if TYPE_CHECKING:

        def __enter__(self) -> Self: ...

    else:
        __enter__ = ITSELF

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        try:
            if error is None and not self._released:
                self.ack()
            elif error is not None:
                self.release()
        except BaseException as exc:  # also an interrupt, maybe before anything was done
            self.give_up()
            if error is None or not isinstance(exc, TenureError):
                raise
            return  # the error of the body tells more

    def __repr__(self) -> str:
        return f"<Claim {self.id!r} of {self.name!r} attempts={self.attempts} remaining={self.remaining:.1f}s>"


class WorkQueue:
    """A queue of work that consumers share. It is made for thousands of items, not for millions.

    * Each item is at one consumer at a time. If that one dies or is cut off, the item comes back when its session ends.
    * An item is done at least once. What a consumer writes with :meth:`Claim.ack` is written exactly once.
    * An item that was claimed ``max_attempts`` times without an acknowledgement is a dead letter.
    * Items are claimed by priority, then in the order of their puts. Consumers that compete take neighbours.
    * There are never more than ``max_items``, dead letters included.

    Each claim lists the queue, about 200 bytes per item. Values are only read by the consumer that has the item.

    >>> import tenure
    >>> with tenure.connect("memory://") as store:
    ...     queue = tenure.WorkQueue(store, "mails")
    ...     put = queue.put(b"to: ann"), queue.put(b"to: bob", priority=1)
    ...     while claim := queue.try_claim():
    ...         with claim:
    ...             print(claim.value.decode(), claim.attempts)
    to: bob 1
    to: ann 1

    Args:
        store: the store.
        name: the name that producers and consumers share, at most 400 bytes.
        max_items: the most items that may be there, 1 to 10,000. All programs give the same; of several the largest
            counts.
        max_attempts: how often an item that this object puts is claimed.
        owner: a name of this consumer for observers; by default host and process id.
        session: a session of one's own; by default one that all recipes of the store object share.

    Raises:
        InvalidArgument: the name is empty, too long, or no text without NUL; or a number is out of range.
    """

    def __init__(
        self,
        store: Store,
        name: str,
        *,
        max_items: int = 1000,
        max_attempts: int = 5,
        owner: str | None = None,
        session: Session | None = None,
    ) -> None:
        _check_count("max_items", max_items, most=MOST_ITEMS)
        _check_count("max_attempts", max_attempts, most=MOST)
        folder = _names.folder("queue", name)
        janitor = janitor_of(store)
        marks = marked_commits(store) if session is None else MarkedCommits(store, janitor, session)
        self._layout = Layout(store, folder, f"the queue {name!r}", max_items, janitor, marks, session)
        self._name = name
        self._max_attempts = max_attempts
        self._owner = owner

    @property
    def name(self) -> str:
        """The name that producers and consumers share."""
        return self._name

    def put(self, value: bytes, *, priority: int = 0, delay: float = 0.0, timeout: float | None = None) -> str:
        """Put an item, once: an answer that is lost is cleared up.

        Args:
            value: the item, at most ``capabilities.max_value_bytes``.
            priority: items with a larger one are claimed first.
            delay: seconds before which it isn't claimed, by the wall clocks of this machine and the consumer's.
            timeout: seconds that the call may take; by default the store's timeout for each of its requests.

        Returns:
            The id of the item.

        Raises:
            LimitExceeded: there are ``max_items`` already, or the value is too large; nothing was put.
            OutcomeUnknown: a write had no answer until the time was up, or the session ended. The item was put once, or
                never will be.
            InvalidArgument: an argument is wrong; nothing was put.
            LeaseLost: the session ended meanwhile; nothing was put.
            Unavailable: the store can't be reached; nothing was put. ``DeadlineExceeded`` if the time ran out.
            StoreFull: the store has no room; nothing was put.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        return run(self._layout.store, self._putting(value, priority=priority, delay=delay, timeout=timeout))

    def claim(self, *, timeout: float | None = None) -> Claim | None:
        """Wait for an item and take it.

        Args:
            timeout: seconds to wait; ``None`` waits as long as the session lives. Requests have the store's timeout
                beside, so that an item that comes at the last moment is taken.

        Returns:
            The item; ``None`` if there was none to do in that time.

        Raises:
            LeaseLost: the session ended during the wait.
            Unavailable: the store can't be reached. ``DeadlineExceeded`` if the time ran out.
            OutcomeUnknown: the time ran out while a write had no answer. If it was applied, the item is given back.
            StoreCorrupted: the value of the item is missing.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        return run(self._layout.store, self._claiming(timeout, wait=True), undo=_give_up)

    def try_claim(self, *, timeout: float | None = None) -> Claim | None:
        """Take an item if there is one to do now.

        Args:
            timeout: seconds that the call may take; by default the store's timeout for each of its requests.

        Returns:
            The item; ``None`` if there is none, or other consumers were quicker.

        Raises:
            LeaseLost: the session ended meanwhile.
            Unavailable: the store can't be reached. ``DeadlineExceeded`` if the time ran out.
            OutcomeUnknown: a write had no answer. If it was applied, the item is given back.
            StoreCorrupted: the value of the item is missing.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        return run(self._layout.store, self._claiming(timeout, wait=False), undo=_give_up)

    def dead(self, *, timeout: float | None = None) -> list[DeadLetter]:
        """Read the dead letters, with one request for each of their values.

        Args:
            timeout: seconds that the call may take; by default the store's timeout for each of its requests.

        Returns:
            The dead letters, by priority, then in the order of their puts.

        Raises:
            Unavailable: the store can't be reached. ``DeadlineExceeded`` if the time ran out.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        return run(self._layout.store, self._reading_dead(timeout=timeout))

    def retry_dead(self, letter: DeadLetter, *, timeout: float | None = None) -> bool:
        """Let a dead letter be claimed again, as often as at first.

        Args:
            letter: the dead letter.
            timeout: seconds that the call may take; by default the store's timeout for each of its requests.

        Returns:
            Whether it was still there.

        Raises:
            OutcomeUnknown: no answer came. Calling again is safe.
            Unavailable: the store can't be reached. ``DeadlineExceeded`` if the time ran out.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        return run(self._layout.store, self._retrying_dead(letter, timeout=timeout))

    def drop_dead(self, letter: DeadLetter, *, timeout: float | None = None) -> bool:
        """Remove a dead letter.

        Args:
            letter: the dead letter.
            timeout: seconds that the call may take; by default the store's timeout for each of its requests.

        Returns:
            Whether it was still there.

        Raises:
            OutcomeUnknown: no answer came. Calling again is safe.
            Unavailable: the store can't be reached. ``DeadlineExceeded`` if the time ran out.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        return run(self._layout.store, self._dropping_dead(letter, timeout=timeout))

    # -- steps --

    def _putting(
        self, value: bytes, *, priority: int = 0, delay: float = 0.0, timeout: float | None = None
    ) -> Steps[str]:
        check_value(value)
        if not isinstance(priority, int) or isinstance(priority, bool) or abs(priority) > MOST:
            raise InvalidArgument(
                f"priority={shown(priority)}: a priority is an integer of at most 18 digits; give one"
            )
        _check_number("delay", delay, least=0.0)
        limit = self._limit(timeout)
        return put(self._layout, value, limit, priority=priority, delay=delay, attempts=self._max_attempts)

    def _reading_dead(self, *, timeout: float | None = None) -> Steps[list[DeadLetter]]:
        found = yield from self._layout.dead(self._limit(timeout))
        return [DeadLetter(item.header.id, value, item.header.attempts) for item, value in found]

    def _retrying_dead(self, letter: DeadLetter, *, timeout: float | None = None) -> Steps[bool]:
        return self._layout.settle_dead(_id_of(letter), self._limit(timeout), retry=True)

    def _dropping_dead(self, letter: DeadLetter, *, timeout: float | None = None) -> Steps[bool]:
        return self._layout.settle_dead(_id_of(letter), self._limit(timeout), retry=False)

    def _claiming(self, timeout: float | None, *, wait: bool) -> Steps[Claim | None]:
        claimed = None
        try:
            claimed = yield from claim(self._layout, self._owner, self._limit(timeout), wait=wait)
            return None if claimed is None else Claim(self._layout, self._name, claimed)
        except BaseException:
            if claimed is not None:
                give_up(self._layout, claimed)
            raise

    def _limit(self, timeout: float | None) -> TimeLimit:
        return TimeLimit(self._layout.store.clock, timeout)

    def __repr__(self) -> str:
        return f"<WorkQueue {json.dumps(self._name, ensure_ascii=False)} max_items={self._layout.most}>"


def _give_up(claim: Claim | None) -> None:
    if claim is not None:
        claim.give_up()


def _id_of(letter: DeadLetter) -> str:
    if not isinstance(letter, DeadLetter):
        raise InvalidArgument(f"settling a dead letter: {shown(letter)} is none; give one that dead() returned")
    return letter.id


def _check_count(name: str, value: int, most: int | None = None) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1 or (most is not None and value > most):
        bound = "" if most is None else f" and at most {most}"
        raise InvalidArgument(f"{name}={shown(value)}: give an integer of at least 1{bound}")


def _check_number(name: str, value: float, *, least: float) -> None:
    if not isinstance(value, int | float) or not least <= value <= MOST:
        raise InvalidArgument(f"{name}={shown(value)}: give a number of seconds, {least:g} or more")
