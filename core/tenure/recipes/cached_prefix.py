"""A local view of the keys of a prefix that follows the store: all settings of a service.

One watch keeps it up to date. Reading it makes no call.
"""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterator, Mapping, ValuesView
from typing import Generic, TypeVar

from tenure._client.store import Store
from tenure._steps.threads import run
from tenure.errors import WaitTimeout
from tenure.recipes._cached import Cached
from tenure.recipes._view import View
from tenure.recipes.codec import Codec

T = TypeVar("T")


class CachedPrefix(Cached[T], Mapping[str, T], Generic[T]):
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

    @property
    def prefix(self) -> str:
        """The string that the keys start with."""
        return self._prefix

    @property
    def problems(self) -> dict[str, BaseException]:
        """Why the stored values of some keys aren't used: what the codec or ``validate`` raised."""
        return {key[len(self._prefix) :]: problem for key, problem in self._view.problems().items()}

    def __getitem__(self, key: str) -> T:
        return self._view.values()[self._prefix + key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.snapshot())

    def items(self) -> ItemsView[str, T]:
        """Return keys and values as they are at one moment.

        Returns:
            Those of a copy, as :meth:`snapshot` makes one.
        """
        return self.snapshot().items()

    def values(self) -> ValuesView[T]:
        """Return the values as they are at one moment.

        Returns:
            Those of a copy, as :meth:`snapshot` makes one.
        """
        return self.snapshot().values()

    def __len__(self) -> int:
        return len(self._view.values())

    def snapshot(self) -> dict[str, T]:
        """Return a copy of all values at one moment: where ``lossless_watch`` is declared, with whole transactions.

        Returns:
            The values by key.
        """
        return self._relative(self._view.copy()[1])

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
        run(self._store, self._view.put(self._prefix + key, value, self._limit(timeout)))

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
        run(self._store, self._view.delete(self._prefix + key, self._limit(timeout)))

    def on_change(self, callback: Callable[[frozenset[str]], object]) -> None:
        """Call ``callback`` with the keys whose values have changed or gone, on a thread for callbacks.

        Calls come one at a time, and keys that change together come together. A callback that is slow gets several
        changes of a key as one, and misses no key.

        Args:
            callback: called with the keys, without the prefix. What it raises is logged.

        Raises:
            UsedAfterFork: the store belongs to the parent process.
        """
        self._subscribe(lambda keys: callback(frozenset(key[len(self._prefix) :] for key in keys)))

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
        found: dict[str, T] = {}

        def ready() -> bool:
            nonlocal found
            found = self.snapshot()
            return bool(predicate(found))

        if not self._wait(ready, self._limit(timeout)):
            raise WaitTimeout(f"waiting for {self._prefix!r}: the values did not come in time; give a longer timeout")
        return found

    def _relative(self, values: Mapping[str, T]) -> dict[str, T]:
        return {key[len(self._prefix) :]: value for key, value in values.items()}

    def __repr__(self) -> str:
        return f"<CachedPrefix {self._prefix!r} {len(self)} keys staleness={self.staleness:.1f}s>"
