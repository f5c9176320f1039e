"""A local view of one key that follows the store: a setting that reloads.

One watch keeps it up to date. Reading it makes no call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, overload

from tenure._client.keys import check_callback
from tenure._client.store import Store
from tenure._steps.threads import run
from tenure.recipes._cached import Cached
from tenure.recipes._cached_state import ValueState
from tenure.recipes._view import View
from tenure.recipes.codec import Codec

T = TypeVar("T")
V = TypeVar("V")


class CachedValue(Cached[T], ValueState[T]):
    """The value of one key, kept up to date by a watch: a setting that reloads. Thread-safe.

    * Reading :attr:`value` makes no call to the store. It follows a change within ``capabilities.max_watch_latency``.
    * A thread that has set a value reads it, or a later one.
    * A stored value that can't be read or isn't valid changes nothing: the last good one stays, :attr:`problem` says
      why, and a warning is logged.
    * In an outage the last value stays, and :attr:`staleness` says how old it is.

    Close it when done, or use it in ``with``. Closing the store closes it, too.

    >>> import tenure
    >>> with tenure.connect("memory://") as store:
    ...     limit = tenure.CachedValue(store, "settings/limit", codec=tenure.JSON, default=10, validate=lambda n: n > 0)
    ...     print(limit.value)
    ...     limit.set(20)
    ...     print(limit.value)
    10
    20

    Args:
        store: the store.
        key: the key.
        codec: how the value is written: ``tenure.JSON``, ``tenure.TEXT``, ``tenure.BYTES``, or one of your own.
        default: the value while the key doesn't exist, or has never had a good value.
        validate: called with each value that is read. A value for which it raises or returns ``False`` is not valid.
        timeout: seconds that reading the first value may take; by default the store's timeout.

    Raises:
        InvalidKey: the key is empty, too long or not valid text.
        Unavailable: the store can't be reached. ``DeadlineExceeded`` if the time ran out.
        PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the credentials.
        StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
    """

    @overload
    def __init__(
        self: CachedValue[V],
        store: Store,
        key: str,
        *,
        codec: Codec[V],
        default: V,
        validate: Callable[[V], object] | None = None,
        timeout: float | None = None,
    ) -> None: ...

    @overload
    def __init__(
        self: CachedValue[V | None],
        store: Store,
        key: str,
        *,
        codec: Codec[V],
        default: None = None,
        validate: Callable[[V], object] | None = None,
        timeout: float | None = None,
    ) -> None: ...

    def __init__(
        self,
        store: Store,
        key: str,
        *,
        codec: Codec[Any],
        default: Any = None,
        validate: Callable[[Any], object] | None = None,
        timeout: float | None = None,
    ) -> None:
        self._default: T = default
        super().__init__(store, View(store, codec, validate), key, exact=True, timeout=timeout)

    def set(self, value: T, *, timeout: float | None = None) -> None:
        """Write the value for all. It is read here at once.

        Args:
            value: the value.
            timeout: seconds that the call may take; by default the store's timeout.

        Raises:
            InvalidArgument: the value can't be written, or isn't valid; nothing was sent.
            LimitExceeded: the value is too large.
            OutcomeUnknown: no answer came; setting it again is safe.
            Unavailable: the store can't be reached; nothing was changed. ``DeadlineExceeded`` if the time ran out.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        run(self._store, self._setting(value, timeout=timeout))

    def on_change(self, callback: Callable[[T], object]) -> None:
        """Call ``callback`` with the value whenever it has changed, on a thread for callbacks.

        Calls come one at a time. A callback that is slow misses values in between, and never the last one.

        Args:
            callback: called with the present value. What it raises is logged.

        Raises:
            InvalidArgument: ``callback`` is no function, or an async one.
            UsedAfterFork: the store belongs to the parent process.
        """
        check_callback("callback", callback)
        self._subscribe(self._telling(callback))

    def wait_for(self, predicate: Callable[[T], object], *, timeout: float | None = None) -> T:
        """Wait until the value fulfils a condition.

        Args:
            predicate: called with the present value, and again after each change.
            timeout: seconds to wait; ``None`` for no limit.

        Returns:
            The value for which the predicate was true.

        Raises:
            WaitTimeout: the time is up.
            StoreClosed: the view or the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        wanted = self._wanted(predicate)
        self._wait(wanted.look, self._limit(timeout))
        return wanted.result(f"{self._prefix!r}: the value")

    def __repr__(self) -> str:
        return f"<CachedValue {self._prefix!r} value={self.value!r} staleness={self.staleness:.1f}s>"
