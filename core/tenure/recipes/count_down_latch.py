"""A latch: it opens once a number of things have been done.

Each count-down is a key that nobody else writes. So a count-down whose answer was lost is put again, and counts once.
The keys belong to no session: what a process has done stays done after its end.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Iterable, Mapping

from tenure._client.store import Store
from tenure._runtime.clock import TimeLimit
from tenure._steps.effects import Commit, ListKeys, Steps, WaitUntil
from tenure._steps.threads import run
from tenure._text import shown
from tenure.errors import Conflict, InvalidArgument, OutcomeUnknown, Unavailable
from tenure.recipes import _names
from tenure.recipes._owner import MOST, fields_of, owner_value
from tenure.recipes._patience import over, pause, wait
from tenure.spi.types import KeyAbsent, KeyValue, Put

COUNT = "count"
"""The field of a count-down's value that tells the count of the latch."""


class Latch:
    """One latch. Steps, without I/O."""

    def __init__(self, folder: str, count: int, value: bytes, what: str) -> None:
        self.folder = folder
        self.count = count
        self.what = what
        self._value = value
        self._unknown: deque[str] = deque()
        self._checked = False

    def count_down(self, limit: TimeLimit) -> Steps[int]:
        """Steps that count down once, and return what is left. The next call finishes one that had no answer."""
        if not self._checked:  # once, before it counts: each call looks at the others anyway when it has counted
            yield from self.remaining(limit)
        key = self._unknown.popleft() if self._unknown else self.folder + secrets.token_hex(8)
        done = False
        try:
            yield from self._put(key, limit)
            left = yield from self.remaining(limit)
            done = True
        finally:
            if not done:
                self._unknown.append(key)
        return left

    def _put(self, key: str, limit: TimeLimit) -> Steps[None]:
        put = Commit((KeyAbsent(key),), (Put(key, self._value),), limit)
        unknown: OutcomeUnknown | None = None
        while True:
            try:
                yield from put
            except Conflict:
                return  # the key is nobody else's: an earlier put was applied
            except (OutcomeUnknown, Unavailable) as exc:
                unknown = exc if isinstance(exc, OutcomeUnknown) else unknown
                if unknown is None or over(limit):
                    raise unknown or exc from None
                yield from pause()
            else:
                return

    def remaining(self, limit: TimeLimit) -> Steps[int]:
        """Steps that read how many count-downs are left."""
        listing = yield from ListKeys(self.folder, limit, values=True)
        self._check(listing.items)
        return max(0, self.count - len(listing.items))

    def wait(self, limit: TimeLimit) -> Steps[None]:
        """Steps that wait until none is left."""

        def is_open(present: Mapping[str, KeyValue]) -> bool:
            self._check(present.values())
            return len(present) >= self.count

        timed_out = f"waiting for {self.what}: not all has been counted down; give a longer timeout"
        yield from wait(WaitUntil(self.folder, is_open, limit, None), timed_out)

    def _check(self, items: Iterable[KeyValue]) -> None:
        """Refuse to go on among participants that were made with another count: the latch would open for some."""
        self._checked = True
        for item in items:
            theirs = fields_of(item.value).get(COUNT, self.count)
            if theirs != self.count:
                raise InvalidArgument(
                    f"looking at {self.what} with count={self.count}: another participant has count={theirs!r}; give "
                    "the same everywhere, or reset the latch"
                )


class CountDownLatch:
    """A latch that opens for all who wait, once it was counted down ``count`` times, by any participants.

    Each count-down counts exactly once, also if its answer is lost, and stays when its process ends. An open latch
    stays open until :meth:`reset`, which also removes its keys.

    >>> import tenure
    >>> with tenure.connect("memory://") as store:
    ...     latch = tenure.CountDownLatch(store, "shards-loaded", count=2)
    ...     print(latch.count_down(), latch.count_down())
    ...     latch.wait(timeout=10)
    ...     latch.reset()
    1 0

    Args:
        store: the store.
        name: the name that participants share, at most 400 bytes.
        count: how often it has to be counted down. All participants give the same number. Each count-down is a key, so
            this is for thousands at most.
        owner: a text for people who look who counted down; by default host and process id.

    Raises:
        InvalidArgument: the name is empty, too long, or no text without NUL, or ``count`` is not a positive number.
    """

    def __init__(self, store: Store, name: str, *, count: int, owner: str | None = None) -> None:
        if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= MOST:
            raise InvalidArgument(
                f"the latch {name!r}: count={shown(count)} is no number from 1 to 10**18; give such a number"
            )
        self._store = store
        self._name = name
        self._steps = Latch(
            _names.folder("latch", name), count, owner_value(owner, **{COUNT: count}), f"the latch {name!r}"
        )

    @property
    def name(self) -> str:
        """The name that participants share."""
        return self._name

    @property
    def count(self) -> int:
        """How often it has to be counted down."""
        return self._steps.count

    def count_down(self, *, timeout: float | None = None) -> int:
        """Count down once.

        Args:
            timeout: seconds that the call may take; by default the store's timeout.

        Returns:
            How many count-downs are left, 0 if the latch is open.

        Raises:
            OutcomeUnknown: no answer came. Call it again by the same object: together the calls count once.
            InvalidArgument: another participant was made with another ``count``.
            Unavailable: the store can't be reached. Call it again by the same object, as above. ``DeadlineExceeded`` if
                the time ran out.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        return run(self._store, self._counting_down(timeout=timeout))

    def remaining(self, *, timeout: float | None = None) -> int:
        """Read how many count-downs are left.

        Args:
            timeout: seconds that the call may take; by default the store's timeout.

        Returns:
            The number; 0 if the latch is open.

        Raises:
            InvalidArgument: another participant was made with another ``count``.
            Unavailable: the store can't be reached. ``DeadlineExceeded`` if the time ran out.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        return run(self._store, self._reading_remaining(timeout=timeout))

    def wait(self, *, timeout: float | None = None) -> None:
        """Wait until the latch is open.

        Args:
            timeout: seconds to wait; ``None`` for no limit.

        Raises:
            WaitTimeout: it was not counted down often enough in that time.
            InvalidArgument: another participant was made with another ``count``.
            Unavailable: the time ran out while the store could not be reached.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        run(self._store, self._waiting(timeout=timeout))

    def reset(self, *, timeout: float | None = None) -> None:
        """Close the latch and begin to count again. Removes all its keys.

        Args:
            timeout: seconds that the call may take; by default the store's timeout.

        Raises:
            PartiallyApplied: some count-downs are removed; resetting again is safe.
            OutcomeUnknown: no answer came; resetting again is safe.
            Unavailable: the store can't be reached; nothing was changed. ``DeadlineExceeded`` if the time ran out.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        self._store.delete_prefix(self._steps.folder, timeout=timeout)

    def _counting_down(self, *, timeout: float | None = None) -> Steps[int]:
        return self._steps.count_down(TimeLimit(self._store.clock, self._store.timeout if timeout is None else timeout))

    def _reading_remaining(self, *, timeout: float | None = None) -> Steps[int]:
        return self._steps.remaining(TimeLimit(self._store.clock, timeout))

    def _waiting(self, *, timeout: float | None = None) -> Steps[None]:
        return self._steps.wait(TimeLimit(self._store.clock, timeout))

    def __repr__(self) -> str:
        return f"<CountDownLatch {self.name!r} count={self.count}>"
