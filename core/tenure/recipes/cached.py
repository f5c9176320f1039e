"""Local views of one key, or of the keys of a prefix, that follow the store: settings that reload.

One watch keeps a view up to date. Reading it makes no call. What the view knows and decides is in
:mod:`tenure.recipes._view`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, overload

from tenure._client.store import Store
from tenure._runtime.clock import TimeLimit
from tenure._steps.threads import run
from tenure.errors import DeadlineExceeded, StoreClosed, TenureError, WaitTimeout
from tenure.recipes._view import Subscriber, View
from tenure.recipes.codec import Codec

T = TypeVar("T")
V = TypeVar("V")

_LOOK_AT_STORE = 0.5
"""A wait looks so often, in seconds, whether the store was closed."""


class _Cached(Generic[V]):
    """A view that a watch keeps up to date on the store's pool for callbacks."""

    def __init__(self, store: Store, view: View[V], prefix: str, *, exact: bool, timeout: float | None) -> None:
        limit = TimeLimit(store.clock, store.timeout if timeout is None else timeout)
        self._store = store
        self._view = view
        self._prefix = prefix
        self._watch = store.watch(
            prefix, exact=exact, callback=view.apply, on_error=lambda error: view.wake(), timeout=timeout
        )
        try:
            arrived = self._wait(lambda: view.in_sync, limit)
        except BaseException:
            self._watch.close()
            raise
        if not arrived:
            self._watch.close()
            raise DeadlineExceeded(f"reading {prefix!r}: no answer came in time; try again, or give more time")

    @property
    def staleness(self) -> float:
        """Seconds since the view was last known to be up to date: 0.0 while its watch is connected.

        Once a break is noticed, it counts from the connection's last sign of life; in a forked child from the fork.
        """
        return self._watch.staleness

    @property
    def outage(self) -> TenureError | None:
        """Why the view doesn't follow the store at present; ``None`` while it does. It reconnects by itself."""
        return self._watch.error or self._watch.outage

    @property
    def closed(self) -> bool:
        """Whether the view follows the store no longer. It keeps its last values."""
        return self._watch.closed

    def close(self) -> None:
        """Stop following the store. Idempotent, callable from any thread; never raises."""
        self._watch.close()
        self._view.wake()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _limit(self, timeout: float | None) -> TimeLimit:
        return TimeLimit(self._store.clock, timeout)

    def _subscribe(self, callback: Callable[[frozenset[str]], object]) -> None:
        self._view.subscribe(Subscriber(self._store._strand, callback))

    def _wait(self, ready: Callable[[], bool], limit: TimeLimit) -> bool:
        """Wait until ``ready``, which is called without a lock, after each batch. ``False``: the time is up."""
        view = self._view
        while True:
            batches = view.batches
            if ready():
                return True
            left = limit.left()
            if left is not None and left <= 0:
                return False
            self._store._check_process()
            if self._watch.closed:
                raise self._watch.error or StoreClosed(f"waiting for {self._prefix!r}: the view was closed")
            with view.changed:
                if view.batches == batches:
                    self._store.clock.wait(view.changed, _LOOK_AT_STORE if left is None else min(left, _LOOK_AT_STORE))


class CachedValue(_Cached[T], Generic[T]):
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

    @property
    def key(self) -> str:
        """The key."""
        return self._prefix

    @property
    def value(self) -> T:
        """The last good value, or the default. Others read the same object: change a copy."""
        return self._view.values().get(self._prefix, self._default)

    @property
    def problem(self) -> BaseException | None:
        """Why the stored value isn't used: what the codec or ``validate`` raised. ``None`` if it is used."""
        return self._view.problems().get(self._prefix)

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
        run(self._store, self._view.put(self._prefix, value, self._limit(timeout)))

    def on_change(self, callback: Callable[[T], object]) -> None:
        """Call ``callback`` with the value whenever it has changed, on a thread for callbacks.

        Calls come one at a time. A callback that is slow misses values in between, and never the last one.

        Args:
            callback: called with the present value. What it raises is logged.
        """
        self._subscribe(lambda keys: callback(self.value))

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
        found = self.value

        def ready() -> bool:
            nonlocal found
            found = self.value
            return bool(predicate(found))

        if not self._wait(ready, self._limit(timeout)):
            raise WaitTimeout(f"waiting for {self._prefix!r}: the value did not come in time; give a longer timeout")
        return found

    def __repr__(self) -> str:
        return f"<CachedValue {self._prefix!r} value={self.value!r} staleness={self.staleness:.1f}s>"


class CachedPrefix(_Cached[T], Mapping[str, T], Generic[T]):
    """The values of all keys with a prefix, kept up to date by one watch, as a mapping. Thread-safe.

    It gives the guarantees of :class:`CachedValue` for each key. Its keys are those of the store without the prefix.

    >>> import tenure
    >>> with tenure.connect("memory://") as store:
    ...     settings = tenure.CachedPrefix(store, "settings/", codec=tenure.TEXT)
    ...     settings.set("color", "red")
    ...     settings["color"], dict(settings)
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
