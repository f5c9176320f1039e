"""The bounded buffer between a plugin's feed and the consumer of a watch.

The plugin's thread puts items and never blocks; the consumer's thread gets them. If a slow consumer lets the buffer
reach its bound, the buffer drops its items and returns ``Overflowed``, so that the watch opens its feed again. Memory
stays bounded, no other consumer waits, and no change is lost silently.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from tenure._runtime.clock import Clock, TimeLimit
from tenure._runtime.monitor import Monitor
from tenure.errors import TenureError
from tenure.spi.feed import Bookmark, Changes, FeedItem, Snapshot
from tenure.spi.types import KeyValue

MAX_ENTRIES = 10_000
MAX_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Failed:
    """The feed ended with this error; no more items follow."""

    error: TenureError


@dataclass(frozen=True, slots=True)
class Overflowed:
    """The consumer was too slow, and ``entries`` changes were dropped. The feed has to be opened again."""

    entries: int


class Backlog(NamedTuple):
    """An item that is being taken: its changes, when it arrived, and the changes that wait behind it."""

    changes: int
    arrived: float
    pending: int


class FeedBuffer:
    """A :class:`~tenure.spi.Sink` with bounds. One feed, one consumer.

    With ``keep`` an overflow drops only later items, and :meth:`first` returns the buffered items before
    ``Overflowed``. A watch that resumes after its last revision needs this: otherwise it would never get past a backlog
    greater than the bound.

    ``on_ready`` is called, outside the lock, whenever there may be something to take. It must not block.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        max_entries: int = MAX_ENTRIES,
        max_bytes: int = MAX_BYTES,
        keep: bool = False,
        on_ready: Callable[[], None] | None = None,
    ) -> None:
        self._clock = clock
        self._keep = keep
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._on_ready = on_ready
        self._condition = Monitor()
        self._items: deque[tuple[FeedItem, int, int, float]] = deque()  # with its entries, bytes and arrival
        self._entries = 0
        self._bytes = 0
        self._dropped = 0
        self._overflowed = False
        self._error: TenureError | None = None
        self._woken = False
        self.failed_at: float | None = None
        """When the feed failed, on the clock given; ``None`` while it runs."""
        self.alive_at = clock.now()
        """When the feed was opened, or delivered its last item: the last sign of life that is known here."""

    @property
    def failure(self) -> tuple[TenureError, float, float] | None:
        """Why and when the feed failed, and its last sign of life before; ``None`` while it runs."""
        error, failed_at = self._error, self.failed_at
        return None if error is None or failed_at is None else (error, failed_at, self.alive_at)

    # -- the plugin's side: never blocks --

    def deliver(self, item: FeedItem, /) -> None:
        self._put(item)
        if self._on_ready is not None:
            self._on_ready()

    def _put(self, item: FeedItem) -> None:
        with self._condition:
            self.alive_at = self._clock.now()
            if self._overflowed:
                self._dropped += _entries(item)
                return
            entries = size = 0
            if isinstance(item, Snapshot):
                # It includes the effect of all items before it.
                self._clear()
            elif isinstance(item, Bookmark) and self._items and isinstance(self._items[-1][0], Bookmark):
                self._items.pop()
            elif isinstance(item, Changes):
                entries, size = _entries(item), _bytes(item)
                # One transaction alone may be larger than the bound: it can't be split.
                full = self._entries + entries > self._max_entries or self._bytes + size > self._max_bytes
                if self._items and full:
                    self._overflowed = True
                    self._dropped = entries
                    if not self._keep:
                        self._dropped += self._entries
                        self._clear()
                    self._condition.notify()
                    return
                self._entries += entries
                self._bytes += size
            self._items.append((item, entries, size, self.alive_at))
            self._condition.notify()

    def fail(self, error: TenureError, /) -> None:
        with self._condition:
            if self._error is None:
                self._error = error
                self.failed_at = self._clock.now()
                self._condition.notify()
        if self._on_ready is not None:
            self._on_ready()

    # -- the consumer's side --

    def first(self, timeout: float | None) -> FeedItem | Failed | Overflowed | None:
        """Return the first item, which stays until :meth:`remove`, or the failure after the last one.

        ``None`` on timeout or :meth:`wake`.
        """
        with self._condition:
            if timeout != 0 and not self._items and not self._ready():
                limit = TimeLimit(self._clock, timeout)
                while not self._ready() and ((left := limit.left()) is None or left > 0):
                    self._clock.wait(self._condition, left)
            if self._items:
                return self._items[0][0]
            if self._overflowed:
                return Overflowed(self._dropped)
            self._woken = False
            return Failed(self._error) if self._error is not None else None

    def remove(self, item: FeedItem) -> None:
        """Remove the item that :meth:`first` returned. Does nothing if a later snapshot has replaced it."""
        with self._condition:
            if self._items and self._items[0][0] is item:
                _, entries, size, _ = self._items.popleft()
                self._entries -= entries
                self._bytes -= size

    def backlog(self, item: FeedItem) -> Backlog | None:
        """Return how the item that :meth:`first` returned has waited; ``None`` if it is no change, or was replaced."""
        with self._condition:
            if not self._items or self._items[0][0] is not item or not isinstance(item, Changes):
                return None
            _, entries, _, arrived = self._items[0]
            return Backlog(entries, arrived, self._entries - entries)

    def pause(self, seconds: float) -> None:
        """Wait for ``seconds`` of real time, or until :meth:`wake`. Used between two tries to open a feed."""
        with self._condition:
            if not self._woken:
                self._clock.wait_for_real(self._condition, seconds)

    def wake(self) -> None:
        """Make a blocked :meth:`first` return ``None``, and end a :meth:`pause`."""
        with self._condition:
            self._woken = True
            self._condition.notify_all()
        if self._on_ready is not None:
            self._on_ready()

    def _ready(self) -> bool:
        return bool(self._items) or self._overflowed or self._error is not None or self._woken

    def _clear(self) -> None:
        self._items.clear()
        self._entries = 0
        self._bytes = 0


def _entries(item: FeedItem) -> int:
    return len(item.entries) if isinstance(item, Changes) else 0


def _bytes(item: Changes) -> int:
    return sum(len(entry.value) for entry in item.entries if isinstance(entry, KeyValue))
