"""What views of one key and of a prefix have in common: a watch keeps them up to date. The synchronous face.

What a view knows and decides is in :mod:`tenure.recipes._view`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

from tenure._client.store import Store
from tenure._runtime.clock import TimeLimit
from tenure._runtime.deadline import monotonic
from tenure._runtime.observed_work import told
from tenure.errors import DeadlineExceeded, StoreClosed
from tenure.recipes._cached_state import CachedState, Follows
from tenure.recipes._view import Subscriber, View

T = TypeVar("T")

_LOOK_AT_STORE = 0.5
"""A wait looks so often, in seconds, whether the store was closed."""


def not_in_time(prefix: str) -> DeadlineExceeded:
    """Return the error for a view whose first state did not arrive."""
    return DeadlineExceeded(f"reading {prefix!r}: no answer came in time; try again, or give more time")


def was_closed(prefix: str) -> StoreClosed:
    """Return the error for a wait on a view that was closed."""
    return StoreClosed(f"waiting for {prefix!r}: the view was closed")


class Cached(CachedState[T]):
    """A view that a watch keeps up to date on the store's pool for callbacks."""

    def __init__(self, store: Store, view: View[T], prefix: str, *, exact: bool, timeout: float | None) -> None:
        limit = TimeLimit(store.clock, store.timeout if timeout is None else timeout)
        self._store = self._stored = store
        self._view = view
        self._prefix = prefix
        self._watch = store.watch(
            prefix, exact=exact, callback=view.apply, on_error=lambda error: view.wake(), timeout=timeout
        )
        view.follows = lambda: self._watch.staleness == 0
        view.remind = self._reminding(view)
        try:
            arrived = self._wait(lambda: view.in_sync, limit)
        except BaseException:
            self._watch.close()
            raise
        if not arrived:
            self._watch.close()
            raise not_in_time(prefix)
        self._age = store._observers.cache_opened(self._kind, prefix, self)

    @property
    def _follower(self) -> Follows:
        return self._watch

    def close(self) -> None:
        """Stop following the store. Idempotent, callable from any thread; never raises."""
        self._watch.close()
        if not self._store._inherited:
            self._store._observers.cache_closed(self._kind, self._prefix, self._age)
            self._view.wake()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _reminding(self, view: View[T]) -> Callable[[float], object]:
        store, watch, strand = self._store, self._watch, self._store._strand(view.settle)

        def remind(seconds: float) -> None:
            if not watch.closed:
                store._timers.call_at(monotonic() + store.clock.pause(seconds), strand.wake)

        return remind

    def _subscribe(self, callback: Callable[[frozenset[str]], object]) -> None:
        self._store._check_fork()
        observed = self._store._callbacks.observed
        self._view.subscribe(
            Subscriber(self._store._strand, lambda keys: told(partial(callback, keys), "recipe", observed))
        )

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
                raise self._watch.error or was_closed(self._prefix)
            with view.changed:
                if view.batches == batches:
                    self._store.clock.wait(view.changed, _LOOK_AT_STORE if left is None else min(left, _LOOK_AT_STORE))
