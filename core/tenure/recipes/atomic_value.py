"""A value in one key that is read and changed as a whole, each change exactly once."""

from __future__ import annotations

from collections.abc import Callable

from tenure._client.store import Store
from tenure._runtime.clock import TimeLimit
from tenure._steps.effects import Get, Steps
from tenure._steps.threads import run
from tenure.recipes import _names
from tenure.recipes.transact import Optimistic, TransactView, optimistic


class Changing:
    """A value in a key. Steps, without I/O."""

    def __init__(self, transactions: Optimistic, key: str) -> None:
        self._transactions = transactions
        self._key = key

    def get(self, limit: TimeLimit) -> Steps[bytes | None]:
        """Steps that read the value."""
        item = yield from Get(self._key, limit)
        return None if item is None else item.value

    def set(self, value: bytes, limit: TimeLimit) -> Steps[None]:
        """Steps that replace whatever is there."""
        yield from self._transactions.transact(lambda view: view.put(self._key, value), limit)

    def compare_and_set(self, expected: bytes | None, value: bytes, limit: TimeLimit) -> Steps[bool]:
        """Steps that set the value if ``expected`` is there."""

        def change(view: TransactView) -> bool:
            equal = view.get(self._key) == expected
            if equal:
                view.put(self._key, value)
            return equal

        return (yield from self._transactions.transact(change, limit))

    def update(self, function: Callable[[bytes | None], bytes], limit: TimeLimit) -> Steps[bytes]:
        """Steps that set what ``function`` makes of the value."""

        def change(view: TransactView) -> bytes:
            value = function(view.get(self._key))
            view.put(self._key, value)
            return value

        return (yield from self._transactions.transact(change, limit))


class AtomicValue:
    """Bytes that any number of processes read and change. Nothing is there at first.

    Each change is applied exactly once, also if an answer is lost: a mark in the same transaction shows whether it was.
    The value stays in the store, in the one key :attr:`key`. Thread-safe.

    >>> import tenure
    >>> with tenure.connect("memory://") as store:
    ...     color = tenure.AtomicValue(store, "color")
    ...     color.set(b"red")
    ...     color.compare_and_set(b"green", b"blue"), color.update(bytes.upper), color.get()
    (False, b'RED', b'RED')

    Args:
        store: the store.
        name: the name that participants share, at most 400 bytes.

    Raises:
        InvalidArgument: the name is empty, too long, or no text without NUL.

    Attributes:
        name: the name that participants share.
        key: the key of the value, for watching it.
    """

    def __init__(self, store: Store, name: str) -> None:
        self.name = name
        self.key = f"{_names.folder('value', name)}value"
        self._store = store
        self._steps = Changing(optimistic(store), self.key)

    def get(self, *, timeout: float | None = None) -> bytes | None:
        """Read the value.

        Args:
            timeout: seconds that the call may take; by default the store's timeout.

        Returns:
            The value; ``None`` if nothing was set yet.

        Raises:
            Unavailable: the store can't be reached. ``DeadlineExceeded`` if the time ran out.
            InvalidArgument: ``timeout`` is not a positive number.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        return run(self._store, self._getting(timeout=timeout))

    def set(self, value: bytes, *, timeout: float | None = None) -> None:
        """Replace whatever is there. It never replaces what another client sets after this call has returned.

        Args:
            value: the new value, possibly empty.
            timeout: seconds that the whole call may take; by default the store's timeout.

        Raises:
            OutcomeUnknown: an answer was lost, and the time was up or the session had ended before the mark could be
                read. It is applied once at most, now or within a moment.
            Unavailable: the store can't be reached; nothing was changed. ``DeadlineExceeded`` if the time ran out.
            InvalidArgument: the value is not ``bytes``, or ``timeout`` is not a positive number.
            LimitExceeded: the value is larger than the store takes.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        run(self._store, self._setting(value, timeout=timeout))

    def compare_and_set(self, expected: bytes | None, value: bytes, *, timeout: float | None = None) -> bool:
        """Set the value if ``expected`` is there, at that moment.

        Args:
            expected: the value that has to be there; ``None`` if nothing may be there.
            value: the new value, possibly empty.
            timeout: seconds that the whole call may take; by default the store's timeout.

        Returns:
            Whether it was set. ``False``: another value was there, and nothing was changed.

        Raises:
            OutcomeUnknown: an answer was lost, and the time was up or the session had ended before the mark could be
                read. It is applied once at most, now or within a moment.
            DeadlineExceeded: the time ran out, also because others kept changing it; nothing was changed.
            Unavailable: the store can't be reached; nothing was changed.
            InvalidArgument: the value is not ``bytes``, or ``timeout`` is not a positive number.
            LimitExceeded: the value is larger than the store takes.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        return run(self._store, self._comparing_and_setting(expected, value, timeout=timeout))

    def update(self, function: Callable[[bytes | None], bytes], *, timeout: float | None = None) -> bytes:
        """Set what ``function`` makes of the value, exactly once, so that no change of another client is lost.

        Args:
            function: called with the present value, ``None`` if there is none; returns the new one. It is called again
                whenever another client was quicker, and must have no other effect. What it raises is raised.
            timeout: seconds that the whole call may take; by default the store's timeout.

        Returns:
            The new value.

        Raises:
            OutcomeUnknown: an answer was lost, and the time was up or the session had ended before the mark could be
                read. It is applied once at most, now or within a moment.
            DeadlineExceeded: the time ran out, also because others kept changing it; nothing was changed.
            Unavailable: the store can't be reached; nothing was changed.
            InvalidArgument: the new value is not ``bytes``, or ``timeout`` is not a positive number.
            LimitExceeded: the new value is larger than the store takes.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        return run(self._store, self._updating(function, timeout=timeout))

    def __repr__(self) -> str:
        return f"<AtomicValue {self.name!r}>"

    def _getting(self, *, timeout: float | None = None) -> Steps[bytes | None]:
        return self._steps.get(self._limit(timeout))

    def _setting(self, value: bytes, *, timeout: float | None = None) -> Steps[None]:
        return self._steps.set(value, self._limit(timeout))

    def _comparing_and_setting(
        self, expected: bytes | None, value: bytes, *, timeout: float | None = None
    ) -> Steps[bool]:
        return self._steps.compare_and_set(expected, value, self._limit(timeout))

    def _updating(self, function: Callable[[bytes | None], bytes], *, timeout: float | None = None) -> Steps[bytes]:
        return self._steps.update(function, self._limit(timeout))

    def _limit(self, timeout: float | None) -> TimeLimit:
        return TimeLimit(self._store.clock, self._store._seconds(timeout))
