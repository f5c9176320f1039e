"""A local view of the keys of a prefix that follows the store: all settings of a service.

One watch keeps it up to date. Reading it makes no call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from tenure._client.keys import check_callback
from tenure._client.store import Store
from tenure._steps.threads import run
from tenure.recipes._cached import Cached
from tenure.recipes._cached_state import PrefixState
from tenure.recipes._view import View
from tenure.recipes.codec import Codec

T = TypeVar("T")


class CachedPrefix(Cached[T], PrefixState[T]):
    """The values of all keys with a prefix, kept up to date by one watch, as a mapping. Thread-safe.

    It gives the guarantees of :class:`CachedValue` for each key. Its keys are those of the store without the prefix.
    ``dict(settings)`` reads key by key, and raises ``KeyError`` if one is deleted meanwhile; :meth:`snapshot` doesn't.

    >>> import tenure
    >>> with tenure.connect("memory://") as store:
    ...     settings = tenure.CachedPrefix(store, "settings/", codec=tenure.TEXT)
    ...     settings.set("color", "red")
    ...     settings["color"], settings.snapshot()
    ('red', {'color': 'red'})

    Args:
        store: the store.
        prefix: the string that the keys start with.
        codec: how the values are written: ``tenure.JSON``, ``tenure.TEXT``, ``tenure.BYTES``, or one of your own.
        validate: called with each value that is read. A value for which it raises or returns ``False`` is not valid.
        timeout: seconds that reading the first state may take; by default the store's timeout.

    Raises:
        InvalidKey: the prefix is too long or not valid text.
        Unavailable: the store can't be reached. ``DeadlineExceeded`` if the time ran out.
        PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the credentials.
        StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
    """

    def __init__(
        self,
        store: Store,
        prefix: str,
        *,
        codec: Codec[T],
        validate: Callable[[T], object] | None = None,
        timeout: float | None = None,
    ) -> None:
        super().__init__(store, View(store, codec, validate), prefix, exact=False, timeout=timeout)

    def set(self, key: str, value: T, *, timeout: float | None = None) -> None:
        """Write the value of a key for all. It is read here at once.

        Args:
            key: the key, without the prefix.
            value: the value.
            timeout: seconds that the call may take; by default the store's timeout.

        Raises:
            InvalidKey: prefix and key together are empty, too long or not valid text.
            InvalidArgument: the value can't be written, or isn't valid; nothing was sent.
            LimitExceeded: the value is too large.
            OutcomeUnknown: no answer came; setting it again is safe.
            Unavailable: the store can't be reached; nothing was changed. ``DeadlineExceeded`` if the time ran out.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        run(self._store, self._setting(key, value, timeout=timeout))

    def delete(self, key: str, *, timeout: float | None = None) -> None:
        """Delete a key for all. It is gone here at once. Does nothing if it doesn't exist.

        Args:
            key: the key, without the prefix.
            timeout: seconds that the call may take; by default the store's timeout.

        Raises:
            InvalidKey: prefix and key together are empty, too long or not valid text.
            OutcomeUnknown: no answer came; deleting it again is safe.
            Unavailable: the store can't be reached; nothing was changed. ``DeadlineExceeded`` if the time ran out.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        run(self._store, self._deleting(key, timeout=timeout))

    def on_change(self, callback: Callable[[frozenset[str]], object]) -> None:
        """Call ``callback`` with the keys whose values have changed or gone, on a thread for callbacks.

        Calls come one at a time, and keys that change together come together. A callback that is slow gets several
        changes of a key as one, and misses no key.

        Args:
            callback: called with the keys, without the prefix. What it raises is logged.

        Raises:
            InvalidArgument: ``callback`` is no function, or an async one.
            UsedAfterFork: the store belongs to the parent process.
        """
        check_callback("callback", callback)
        self._subscribe(self._telling(callback))

    def wait_for(self, predicate: Callable[[Mapping[str, T]], object], *, timeout: float | None = None) -> dict[str, T]:
        """Wait until the values fulfil a condition.

        Args:
            predicate: called with a copy of the values, and again after each change.
            timeout: seconds to wait; ``None`` for no limit.

        Returns:
            The values for which the predicate was true.

        Raises:
            WaitTimeout: the time is up.
            StoreClosed: the view or the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        wanted = self._wanted(predicate)
        self._wait(wanted.look, self._limit(timeout))
        return wanted.result(f"{self._prefix!r}: the values")

    def __repr__(self) -> str:
        return f"<CachedPrefix {self._prefix!r} {len(self)} keys staleness={self.staleness:.1f}s>"
