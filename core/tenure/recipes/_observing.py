"""Follow what the keys of a recipe mean: its present state first, then each other one. The synchronous face."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Generic, Self, TypeVar

from tenure._client.store import Store
from tenure._runtime.clock import TimeLimit
from tenure._steps.following import Differences
from tenure.errors import StoreClosed, WaitTimeout
from tenure.spi.types import KeyValue

T = TypeVar("T")


def nothing_changed(what: str, timeout: float | None) -> WaitTimeout:
    """Return the error for a wait whose time is up."""
    return WaitTimeout(f"watching {what}: nothing has changed in {timeout:g} s; give a longer timeout, or continue")


class Changes(Generic[T]):
    """What is there, and each change. One consumer at a time."""

    def __init__(
        self, store: Store, folder: str, read: Callable[[Iterable[KeyValue]], T], *, what: str, timeout: float | None
    ) -> None:
        self._clock = store.clock
        self._what = what
        self._differences = Differences(read)
        self._watch = store.watch(folder, timeout=timeout)

    def next(self, timeout: float | None = None) -> T:
        """Return what is there, the first time; then wait until it is something else.

        Args:
            timeout: seconds to wait; ``None`` to wait indefinitely.

        Returns:
            What is there.

        Raises:
            WaitTimeout: nothing has changed in that time.
            StoreClosed: this or the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        limit = TimeLimit(self._clock, timeout)
        while True:
            batch = self._watch.next(limit.left())
            if batch is None:
                raise nothing_changed(self._what, timeout)
            for now in self._differences.take(batch):
                return now

    def __iter__(self) -> Iterator[T]:
        """Iterate until it is closed."""
        while True:
            try:
                now = self.next()
            except StoreClosed:
                if self._watch.closed:
                    return
                raise
            yield now

    def close(self) -> None:
        """End the watch. Idempotent, callable from any thread."""
        self._watch.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
