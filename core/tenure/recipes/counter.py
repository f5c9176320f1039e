"""A counter that counts each call exactly once, although answers can be lost."""

from __future__ import annotations

from tenure._client.store import Store
from tenure._runtime.clock import TimeLimit
from tenure._steps.effects import Get, Steps
from tenure._steps.threads import run
from tenure._text import shown
from tenure.errors import InvalidArgument, StoreCorrupted
from tenure.recipes import _names
from tenure.recipes._owner import decimal
from tenure.recipes.transact import Optimistic, TransactView, optimistic


class Counting:
    """A number in a key. Steps, without I/O."""

    def __init__(self, transactions: Optimistic, key: str) -> None:
        self._transactions = transactions
        self._key = key

    def add(self, n: int, limit: TimeLimit) -> Steps[int]:
        """Steps that add ``n`` exactly once and return the sum."""

        def change(view: TransactView) -> int:
            total = number_of(view.get(self._key), self._key) + n
            view.put(self._key, decimal(total, self._key))
            return total

        return (yield from self._transactions.transact(change, limit))

    def value(self, limit: TimeLimit) -> Steps[int]:
        """Steps that read the number."""
        item = yield from Get(self._key, limit)
        return number_of(None if item is None else item.value, self._key)


def number_of(value: bytes | None, key: str) -> int:
    """Return the number that a key holds, 0 if there is none."""
    try:
        return 0 if value is None else int(value)
    except ValueError as exc:
        raise StoreCorrupted(
            f"reading {key!r}: {shown(value)} is no number, so another program wrote it; delete the key"
        ) from exc


class Counter:
    """A whole number that any number of processes add to. It begins at 0, and may become negative.

    Each :meth:`add` counts exactly once, also if an answer is lost: a mark in the same transaction shows whether it was
    applied. The number stays in the store, in the one key :attr:`key`. Thread-safe.

    >>> import tenure
    >>> with tenure.connect("memory://") as store:
    ...     visits = tenure.Counter(store, "visits")
    ...     visits.add(), visits.add(5), visits.value()
    (1, 6, 6)

    Args:
        store: the store.
        name: the name that participants share, at most 400 bytes.

    Raises:
        InvalidArgument: the name is empty, too long, or no text without NUL.

    Attributes:
        name: the name that participants share.
        key: the key of the number, as decimal text. Deleting it begins again at 0.
    """

    def __init__(self, store: Store, name: str) -> None:
        self.name = name
        self.key = f"{_names.folder('counter', name)}value"
        self._store = store
        self._steps = Counting(optimistic(store), self.key)

    def add(self, n: int = 1, *, timeout: float | None = None) -> int:
        """Add ``n`` exactly once.

        Args:
            n: what is added; negative to subtract.
            timeout: seconds that the whole call may take; by default the store's timeout.

        Returns:
            The number right after this addition. Each addition of 1 returns another number.

        Raises:
            OutcomeUnknown: an answer was lost, and the time was up or the session had ended before the mark could be
                read. It was counted once at most.
            DeadlineExceeded: the time ran out, also because others kept adding; nothing was added.
            Unavailable: the store can't be reached; nothing was added.
            StoreCorrupted: the key holds no number.
            InvalidArgument: ``n`` is not a whole number, or the sum has more than 4,300 digits, or ``timeout`` is not
                a positive number.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        return run(self._store, self._adding(n, timeout=timeout))

    def value(self, *, timeout: float | None = None) -> int:
        """Read the number.

        Args:
            timeout: seconds that the call may take; by default the store's timeout.

        Returns:
            The number; 0 if nothing was added yet.

        Raises:
            Unavailable: the store can't be reached. ``DeadlineExceeded`` if the time ran out.
            StoreCorrupted: the key holds no number.
            InvalidArgument: ``timeout`` is not a positive number.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        return run(self._store, self._reading(timeout=timeout))

    def _adding(self, n: int = 1, *, timeout: float | None = None) -> Steps[int]:
        if not isinstance(n, int) or isinstance(n, bool):
            raise InvalidArgument(f"adding to the counter {self.name!r}: n={shown(n)} is no whole number; give an int")
        return self._steps.add(n, TimeLimit(self._store.clock, self._store._seconds(timeout)))

    def _reading(self, *, timeout: float | None = None) -> Steps[int]:
        return self._steps.value(TimeLimit(self._store.clock, self._store._seconds(timeout)))

    def __repr__(self) -> str:
        return f"<Counter {self.name!r}>"
