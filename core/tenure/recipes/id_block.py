"""Unique numbers at a high rate: one transaction reserves a block of them, and each is then given without a call.

A reservation whose answer was lost is made again, for the next block. It needs no mark: numbers may be left out, and
none is given twice.
"""

from __future__ import annotations

import random
from collections import deque

from tenure._client.store import Store
from tenure._runtime.clock import TimeLimit
from tenure._runtime.monitor import Monitor
from tenure._steps.effects import Commit, Get, Sleep, Steps
from tenure._steps.threads import run
from tenure._text import shown
from tenure.errors import Conflict, DeadlineExceeded, InvalidArgument, OutcomeUnknown
from tenure.recipes import _names
from tenure.recipes._owner import MOST, decimal
from tenure.recipes._patience import over
from tenure.recipes.counter import number_of
from tenure.recipes.transact import unchanged
from tenure.spi.types import Put

_PAUSE = 0.02
"""Seconds, on average, before a reservation is repeated that another client was quicker with."""


class Numbering:
    """Numbers from blocks that are reserved in a key. Steps, without I/O."""

    def __init__(self, store: Store, key: str, size: int) -> None:
        self._store = store
        self._key = key
        self._size = size
        self._lock = Monitor()
        self._blocks: deque[range] = deque()

    def next(self, limit: TimeLimit) -> Steps[int]:
        """Steps that return a number that nobody else gets."""
        self._store._check_process()  # a forked child would give the same numbers as its parent
        found = self._take()
        if found is None:
            block = yield from self._reserve(limit)
            found = block[0]
            with self._lock:
                self._blocks.append(block[1:])
        return found

    def _take(self) -> int | None:
        with self._lock:
            while self._blocks:
                block = self._blocks.popleft()
                if block:
                    self._blocks.appendleft(block[1:])
                    return block[0]
        return None

    def _reserve(self, limit: TimeLimit) -> Steps[range]:
        while True:
            item = yield from Get(self._key, limit)
            first = number_of(None if item is None else item.value, self._key) + 1
            last = first + self._size - 1
            try:
                yield from Commit((unchanged(self._key, item),), (Put(self._key, decimal(last, self._key)),), limit)
            except (Conflict, OutcomeUnknown) as exc:
                if over(limit):
                    raise DeadlineExceeded(
                        f"reserving ids in {self._key!r}: no time is left; give a longer timeout"
                    ) from exc
                yield from Sleep(2 * _PAUSE * random.random())  # noqa: S311 - spreads participants, no secret
            else:
                return range(first, last + 1)


class IdBlock:
    """Whole numbers from 1 that no process gets twice.

    One transaction reserves ``size`` numbers for this object; each is then given without a call to the store. They grow
    in each object, and not over all objects. Those that an object has reserved and not given are never given once its
    process has ended. The last reserved number stays in the store, in the one key :attr:`key`. Thread-safe.

    They are unique as long as the store keeps its data: after a restored backup, numbers that were reserved after the
    backup are given again. So are all after :attr:`key` was deleted.

    >>> import tenure
    >>> with tenure.connect("memory://") as store:
    ...     one, other = tenure.IdBlock(store, "orders", size=50), tenure.IdBlock(store, "orders", size=50)
    ...     one.next(), other.next(), one.next()
    (1, 51, 2)

    Args:
        store: the store.
        name: the name that participants share, at most 400 bytes.
        size: how many numbers are reserved at once. Participants may give different ones.

    Raises:
        InvalidArgument: the name is empty, too long, or no text without NUL, or ``size`` is not a positive number.

    Attributes:
        name: the name that participants share.
        key: the key of the last number that was reserved, as decimal text.
    """

    def __init__(self, store: Store, name: str, *, size: int = 100) -> None:
        if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= MOST:
            raise InvalidArgument(
                f"the ids {name!r}: size={shown(size)}: a size is a number of ids, from 1 to 10**18; give such a number"
            )
        self.name = name
        self.key = f"{_names.folder('ids', name)}last"
        self._store = store
        self._steps = Numbering(store, self.key, size)

    def next(self, *, timeout: float | None = None) -> int:
        """Return a number that no other call gets.

        Args:
            timeout: seconds that the call may take if it has to reserve a block; by default the store's timeout.

        Returns:
            The number, at least 1.

        Raises:
            Unavailable: the store can't be reached. ``DeadlineExceeded`` if the time ran out. Numbers may be left out;
                calling again is safe.
            StoreCorrupted: the key holds no number.
            InvalidArgument: ``timeout`` is not a positive number.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        return run(self._store, self._next(timeout=timeout))

    def _next(self, *, timeout: float | None = None) -> Steps[int]:
        return self._steps.next(TimeLimit(self._store.clock, self._store._seconds(timeout)))

    def __repr__(self) -> str:
        return f"<IdBlock {self.name!r}>"
