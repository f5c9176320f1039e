"""Follow the keys of a watch: what its batches mean for a wait, and for those who hear of each change. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Generic, TypeAlias, TypeVar

from tenure._steps.effects import Hear, WaitUntil, Word
from tenure.spi.types import KeyValue
from tenure.watch.events import Batch, BatchType

T = TypeVar("T")

Reading: TypeAlias = Generator[float | None, Batch | None, T]
"""Reads a watch: yields the seconds to wait for a batch, and gets that batch, or ``None`` if none came."""

_LOOK_AT_LEASE = 1.0
"""A wait looks so often, in seconds, whether its lease was lost in the store."""


def follow(present: dict[str, KeyValue], batch: Batch) -> bool:
    """Apply a batch to the keys that are present. Returns whether they are complete: not within the first state."""
    for event in batch.events:
        if event.item is None:
            present.pop(event.key, None)
        else:
            present[event.key] = event.item
    return batch.type is not BatchType.SNAPSHOT


def wait(effect: WaitUntil) -> Reading[bool]:
    """Read a watch of the keys of ``effect``. Returns the result of the effect."""
    present: dict[str, KeyValue] = {}
    lease = effect.lease
    while lease is None or lease.alive:
        left = effect.limit.left()
        pause = _LOOK_AT_LEASE if lease is None else min(_LOOK_AT_LEASE, lease.remaining)
        batch = yield pause if left is None else max(0.0, min(left, pause))
        if batch is not None:
            if follow(present, batch) and effect.ready(present):
                return True
        elif left is not None and left <= 0:
            return False
    return False


def pauses(effect: Hear, word: Word) -> Iterator[float]:
    """Return for how many seconds to wait until ``word`` was said, or it is no use to wait any longer."""
    while word.first is None and effect.lease.alive:
        left = effect.limit.left()
        if left is not None and left <= 0:
            return
        pause = min(_LOOK_AT_LEASE, effect.lease.remaining)
        yield pause if left is None else min(left, pause)


class Differences(Generic[T]):
    """What the keys of a watch mean, whenever that is something else than before."""

    def __init__(self, read: Callable[[Iterable[KeyValue]], T]) -> None:
        self._read = read
        self._present: dict[str, KeyValue] = {}
        self._told: list[T] = []

    def take(self, batch: Batch) -> list[T]:
        """Apply a batch. Returns what the keys mean now, as the only item, if that has not been told yet."""
        if not follow(self._present, batch):
            return []
        now = [self._read(self._present.values())]
        if now == self._told:
            return []
        self._told = now
        return now
