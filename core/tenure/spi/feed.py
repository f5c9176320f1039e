"""What a watch of a plugin delivers, and to whom.

A plugin's ``Backend.watch`` pushes *feed items* into a *sink* that core hands to it, from any thread of
its own, and returns a :class:`Feed` that core closes when it has had enough. Core does the rest for every
store: the buffer with its bounds, the difference after a gap, resuming, retrying, callbacks.

Rules for the plugin (the conformance suite checks them):

1. With ``after=None`` the first item is a :class:`Snapshot`. Everything committed after the snapshot's
   revision follows; nothing falls between the two.
2. With ``after=R`` on a store that declares ``lossless_watch`` the first :class:`Changes` holds the first
   revision greater than R. If that is no longer in the store's history, or R is a revision that the store
   hasn't reached, ``watch`` raises ``Compacted``, or the feed ends by ``sink.fail(Compacted(...))``. Where the
   plugin can't tell that the history it is connected to is the one R came from (the server lost its data), that
   is ``Compacted`` too. On a store that doesn't declare it, ``after`` may be ignored: begin with a Snapshot.
3. Per key, changes come in the order of their revisions, none twice.
4. A transaction is never split over two items (where ``lossless_watch`` is declared).
5. The feed ends once, by ``sink.fail(error)``, when it can't go on: connection lost, authentication
   refused, history compacted. It doesn't reconnect by itself. A server that stops answering without
   closing the connection makes the feed fail within ``capabilities.max_watch_failure_detection`` seconds.
6. ``deliver`` and ``fail`` never block, so a plugin may call them from its reader thread, under a lock of its
   own, and also before ``watch`` has returned. Calls after ``close`` are ignored.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tenure.errors import PluginError, TenureError
from tenure.spi.types import KeyValue


@dataclass(frozen=True, slots=True)
class Deleted:
    """A key's life ended at ``revision``; where the store can't tell it, a revision not below it."""

    key: str
    revision: int


@dataclass(frozen=True, slots=True)
class Changes:
    """One or more whole transactions, in order; ``revision`` is the highest of them.

    An entry is a :class:`KeyValue` (a put) or a :class:`Deleted`.
    """

    entries: tuple[KeyValue | Deleted, ...]
    revision: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything under the prefix as it was at ``revision``, in key order.

    Where the store's list isn't one point in time, ``revision`` is one that the list began at: no item
    deleted before it is in there, and what came later follows as changes.
    """

    items: tuple[KeyValue, ...]
    revision: int


@dataclass(frozen=True, slots=True)
class Bookmark:
    """All changes up to ``revision`` have been delivered. Lets a quiet watch resume later than its last event."""

    revision: int


FeedItem = Changes | Snapshot | Bookmark


class Sink(Protocol):
    """Where a plugin delivers. Both methods return at once, from any thread."""

    def deliver(self, item: FeedItem, /) -> None:
        """Hand over the next item."""

    def fail(self, error: TenureError, /) -> None:
        """Say that this feed has ended and why. Only the first call counts."""


class Feed(ABC):
    """A running watch of a plugin."""

    @abstractmethod
    def close(self) -> None:
        """End the feed and free what it holds, in bounded time. Idempotent, callable from any thread."""


class PollingFeed(Feed):
    """A feed for a store that can only be asked: reads a snapshot every ``interval`` seconds.

    ``read`` returns the present state; an error it raises ends the feed. Core finds the differences, so
    this is all that a poll-only store needs. One daemon thread per feed; ``close`` waits for it.
    """

    def __init__(self, read: Callable[[], Snapshot], sink: Sink, *, interval: float, name: str) -> None:
        self._read = read
        self._sink = sink
        self._interval = interval
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"{name}-poll", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                snapshot = self._read()
            except TenureError as exc:
                self._fail(exc)
                return
            except Exception as exc:  # noqa: BLE001 - a plugin's bug must end the feed loudly, whatever it raised
                error = PluginError(f"the plugin's list failed with an untranslated {type(exc).__name__}: {exc}")
                error.__cause__ = exc
                self._fail(error)
                return
            self._sink.deliver(snapshot)
            self._stop.wait(self._interval)

    def _fail(self, error: TenureError) -> None:
        if not self._stop.is_set():  # a feed that is being closed ends without a word
            self._sink.fail(error)

    def close(self) -> None:
        self._stop.set()
        if self._thread is not threading.current_thread():
            self._thread.join()
