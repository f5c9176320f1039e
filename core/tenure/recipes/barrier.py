"""A barrier: while it is closed, all who come wait; when it is opened, all go on.

It is one key, which is there while the barrier is closed. It belongs to no session: a barrier stays as it is if the
process that closed it ends.
"""

from __future__ import annotations

from tenure._client.store import Store
from tenure._runtime.clock import TimeLimit
from tenure._steps.effects import Steps, WaitUntil
from tenure._steps.threads import run
from tenure.recipes import _names
from tenure.recipes._owner import owner_value
from tenure.recipes._patience import wait


class Barrier:
    """A barrier that holds back all who wait at it while it is closed. Any participant may close and open it.

    It is open until it is closed for the first time, and stays as it is if the process that closed it ends.

    >>> import tenure
    >>> with tenure.connect("memory://") as store:
    ...     barrier = tenure.Barrier(store, "migration")
    ...     barrier.close()
    ...     print(barrier.is_closed())
    ...     barrier.open()
    ...     barrier.wait(timeout=10)
    True

    Args:
        store: the store.
        name: the name that participants share, at most 400 bytes.
        owner: a text for people who look who closed the barrier; by default host and process id.

    Raises:
        InvalidArgument: the name is empty, too long, or no text without NUL.

    Attributes:
        name: the name that participants share.
    """

    def __init__(self, store: Store, name: str, *, owner: str | None = None) -> None:
        self.name = name
        self._store = store
        self._key = f"{_names.folder('barrier', name)}closed"
        self._value = owner_value(owner)

    def close(self, *, timeout: float | None = None) -> None:
        """Let all who come from now on wait. Does nothing if the barrier is closed.

        Args:
            timeout: seconds that the call may take; by default the store's timeout.

        Raises:
            OutcomeUnknown: no answer came; closing it again is safe.
            Unavailable: the store can't be reached; nothing was changed. ``DeadlineExceeded`` if the time ran out.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        self._store.put(self._key, self._value, timeout=timeout)

    def open(self, *, timeout: float | None = None) -> None:
        """Release all that wait. Does nothing if the barrier is open. An open barrier leaves no key in the store.

        Args:
            timeout: seconds that the call may take; by default the store's timeout.

        Raises:
            OutcomeUnknown: no answer came; opening it again is safe.
            Unavailable: the store can't be reached; nothing was changed. ``DeadlineExceeded`` if the time ran out.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        self._store.delete(self._key, timeout=timeout)

    def is_closed(self, *, timeout: float | None = None) -> bool:
        """Read whether the barrier is closed now.

        Args:
            timeout: seconds that the call may take; by default the store's timeout.

        Returns:
            Whether it is closed.

        Raises:
            Unavailable: the store can't be reached. ``DeadlineExceeded`` if the time ran out.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        return self._store.get(self._key, timeout=timeout) is not None

    def wait(self, *, timeout: float | None = None) -> None:
        """Wait until the barrier is open. A barrier that is opened and closed again at once may not be noticed.

        Args:
            timeout: seconds to wait; ``None`` for no limit.

        Raises:
            WaitTimeout: it was closed all the time.
            Unavailable: the time ran out while the store could not be reached.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        run(self._store, self._waiting(timeout=timeout))

    def _waiting(self, *, timeout: float | None = None) -> Steps[None]:
        limit = TimeLimit(self._store.clock, timeout)
        is_open = WaitUntil(self._key, lambda present: not present, limit, None, exact=True)
        return wait(is_open, f"waiting at the barrier {self.name!r}: it stayed closed; give a longer timeout")

    def __repr__(self) -> str:
        return f"<Barrier {self.name!r}>"
