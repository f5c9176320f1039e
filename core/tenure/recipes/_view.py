"""A local view of keys: what a watch has shown, and what was written through the view since. No I/O.

Readers take no lock. A value that can't be read, or isn't valid, leaves the last good one in place.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Generic, NamedTuple, Protocol, TypeVar

from tenure._client.store import Store
from tenure._runtime.clock import TimeLimit
from tenure._runtime.fork import fork_generation, left_behind
from tenure._runtime.interruption import interruption
from tenure._runtime.monitor import Monitor
from tenure._steps.effects import Commit, Steps
from tenure.errors import InvalidArgument
from tenure.recipes.codec import Codec
from tenure.spi.types import Delete, Put
from tenure.watch.events import Batch, BatchType

T = TypeVar("T")

_log = logging.getLogger("tenure.recipes")
_SETTLES = 5.0
"""Seconds, beside the watch's own latency, after which the watch has shown what was written before."""


class _Stored(NamedTuple):
    data: bytes
    revision: int


@dataclass(frozen=True, slots=True)
class _Own:
    """A write through the view that the watch hasn't shown yet.

    Attributes:
        data: the value; ``None`` for a delete.
        revision: the revision of the write.
        history: the history of the store's data that it was written in.
        until: when a watch that is connected has shown it, or never will.
    """

    data: bytes | None
    revision: int
    history: str
    until: float


class Wakes(Protocol):
    """Runs a function soon, and once more if it is woken meanwhile."""

    def wake(self) -> None:
        """Let it run. Never blocks."""
        ...


class Subscriber:
    """One callback. It is called with the keys that have changed since its last call, so a slow one misses none."""

    def __init__(
        self, strand: Callable[[Callable[[], object]], Wakes], callback: Callable[[frozenset[str]], object]
    ) -> None:
        self._callback = callback
        self._lock = Monitor()
        self._changed: set[str] = set()
        self._strand = strand(self._run)

    def add(self, keys: Iterable[str]) -> None:
        """Call back soon. Never blocks."""
        with self._lock:
            self._changed.update(keys)
        self._strand.wake()

    def _run(self) -> object:
        with self._lock:
            keys, self._changed = frozenset(self._changed), set()
        return self._callback(keys) if keys else None


class View(Generic[T]):
    """The values of some keys, as far as they are known here."""

    def __init__(self, store: Store, codec: Codec[T], validate: Callable[[T], object] | None) -> None:
        self.changed = Monitor()
        """Notified after each batch."""
        self.in_sync = False
        """Whether the first state has arrived."""
        self.batches = 0
        self.waiters: set[Callable[[], object]] = set()
        """Called after each batch: for those who wait on an event loop, where nobody waits for a lock."""
        self.follows: Callable[[], bool] = lambda: True
        """Whether the watch is connected."""
        self.remind: Callable[[float], object] = lambda seconds: None
        """Calls :meth:`settle` after some seconds."""
        self._reminded = False
        self._gaps = 0
        self._history = store._history
        self._clock = store.clock
        self._fork_generation = fork_generation.value
        self._codec = codec
        self._validate = validate
        self._lossless = store.capabilities.lossless_watch
        self._settles = _SETTLES + store.capabilities.max_watch_latency
        self._seen: dict[str, _Stored] = {}
        self._own: dict[str, _Own] = {}
        self._shown: dict[str, bytes] = {}
        self._values: dict[str, T] = {}
        self._problems: dict[str, Exception | SystemExit] = {}
        self._subscribers: tuple[Subscriber, ...] = ()

    # -- reading --

    def values(self) -> Mapping[str, T]:
        """Return the present values, which change."""
        if self._own and self._reminded:
            self._forget_settled()
        return MappingProxyType(self._values)

    def problems(self) -> dict[str, Exception | SystemExit]:
        """Return why the stored values of some keys aren't used."""
        with self._reading():
            return dict(self._problems)

    def copy(self) -> tuple[int, dict[str, T]]:
        """Return the values as they are between two batches, with the number of the batch."""
        with self._reading():
            return self.batches, dict(self.values())

    def _reading(self) -> AbstractContextManager[object]:
        """The lock, but none in a forked child: another thread may have held it at the fork, and nothing changes."""
        return nullcontext() if left_behind(self._fork_generation) else self.changed

    def subscribe(self, subscriber: Subscriber) -> None:
        """Tell ``subscriber`` of changes from now on."""
        with self.changed:
            self._subscribers = (*self._subscribers, subscriber)

    # -- what the store tells --

    def apply(self, batch: Batch) -> None:
        """Apply a batch of the watch."""
        with self.changed:
            touched = set()
            for event in batch.events:
                touched.add(event.key)
                if event.item is None:
                    self._seen.pop(event.key, None)
                else:
                    self._seen[event.key] = _Stored(event.item.value, event.revision)
                own = self._own.get(event.key)
                if own is not None and own.revision <= event.revision:
                    del self._own[event.key]
            if self._lossless or batch.type is BatchType.RESYNC:
                touched.update(self._forget(lambda own: own.revision <= batch.revision))
            if batch.type is BatchType.RESYNC:
                touched.update(self._doubt())
            self._show(touched)
            self.in_sync = self.in_sync or batch.type is not BatchType.CHANGES  # the first batch is the whole state
            self._wake()

    def wake(self) -> None:
        """Let those who wait look again."""
        with self.changed:
            self._wake()

    def _wake(self) -> None:
        self.batches += 1
        self.changed.notify_all()
        for wake in tuple(self.waiters):
            wake()

    # -- writing --

    def put(self, key: str, value: T, limit: TimeLimit) -> Steps[None]:
        """Steps that write a value. Refuse one that isn't valid, and send nothing."""
        try:
            data = self._codec.encode(value)
            self._read(data)
        except Exception as exc:
            if interruption(exc) is not None:
                raise
            raise InvalidArgument(f"setting {key!r}: the value is not valid: {exc}; give a valid one") from exc
        gaps = self._gaps
        revision = (yield from Commit((), (Put(key, data),), limit)).revision
        self._wrote(key, data, revision, followed=gaps == self._gaps)

    def delete(self, key: str, limit: TimeLimit) -> Steps[None]:
        """Steps that delete a key."""
        gaps = self._gaps
        revision = (yield from Commit((), (Delete(key),), limit)).revision
        self._wrote(key, None, revision, followed=gaps == self._gaps)

    def _wrote(self, key: str, data: bytes | None, revision: int, *, followed: bool = True) -> None:
        """Show a write. ``followed``: the watch had no gap while it was made."""
        with self.changed:
            seen = self._seen.get(key)
            if seen is None or seen.revision < revision:
                shown = self._lossless and followed  # a watch without a gap shows it, however long that takes
                until = math.inf if shown else self._clock.now() + self._settles
                self._own[key] = _Own(data, revision, self._history.name, until)
                if not shown:
                    self._remind()
                self._show((key,))
            self._wake()

    def _doubt(self) -> list[str]:
        """Doubt own writes after a gap: the store may have lost them, and use their revisions for others."""
        self._gaps += 1
        history, until = self._history.name, self._clock.now() + self._settles
        lost = self._forget(lambda own: own.history != history)
        for key, own in self._own.items():
            self._own[key] = replace(own, until=min(own.until, until))
        if self._own:
            self._remind()
        return lost

    def settle(self) -> None:
        """Forget own writes that the watch should have shown, so that subscribers hear what is there."""
        with self.changed:
            self._reminded = False
            self._forget_settled()
            if any(own.until < math.inf for own in self._own.values()):
                self._remind()
            self._wake()

    def _remind(self) -> None:
        """See to it that own writes are forgotten although nobody reads."""
        if not self._reminded:
            self._reminded = True
            self.remind(self._settles)

    def _forget_settled(self) -> None:
        """A watch may never show a write that another client replaced at once, or that the store has lost."""
        with self._reading():
            now = self._clock.now()
            if self.follows():
                self._show(self._forget(lambda own: own.until <= now))

    def _forget(self, settled: Callable[[_Own], bool]) -> list[str]:
        keys = [key for key, own in self._own.items() if settled(own)]
        for key in keys:
            del self._own[key]
        return keys

    # -- what readers see --

    def _show(self, keys: Iterable[str]) -> None:
        changed = [key for key in keys if self._show_one(key)]
        if changed:
            for subscriber in self._subscribers:
                subscriber.add(changed)

    def _show_one(self, key: str) -> bool:
        """Show what is known of a key. Returns whether its value has changed."""
        own, seen = self._own.get(key), self._seen.get(key)
        data = own.data if own is not None else seen.data if seen is not None else None
        if data is None:
            self._shown.pop(key, None)
            self._problems.pop(key, None)
            return self._values.pop(key, _NOTHING) is not _NOTHING
        if self._shown.get(key) == data:
            return False
        try:
            self._values[key] = self._read(data)
        except (Exception, SystemExit) as exc:
            if interruption(exc) is not None:
                raise
            self._problems[key] = exc
            _log.warning("reading %r: its value is not valid: %s; write a valid one. The last good one stays", key, exc)
        else:
            self._problems.pop(key, None)
        self._shown[key] = data
        return key not in self._problems

    def _read(self, data: bytes) -> T:
        value = self._codec.decode(data)
        if self._validate is not None and self._validate(value) is False:
            raise ValueError("validate() returned False")
        return value


_NOTHING = object()
