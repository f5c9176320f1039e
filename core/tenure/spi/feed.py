"""What a plugin's watch delivers, and into what.

A plugin's ``Backend.watch`` pushes *feed items* into a *sink* that core provides, from any thread of
the plugin, and returns a :class:`Feed` that core closes when the watch ends. Core does the rest for every
store: the bounded buffer, the difference after a gap, resuming, retrying, callbacks.

Rules for the plugin (the conformance suite checks them):

1. With ``after=None`` the first item is a :class:`Snapshot`. Everything committed after the snapshot's
   revision follows; nothing falls between the two.
2. With ``after=R`` on a store that declares ``lossless_watch`` the first :class:`Changes` holds the first
   revision greater than R. If the changes after R are no longer in the store's history, ``watch`` raises
   ``Compacted``, or the feed ends by ``sink.fail(Compacted(...))``. If R belongs to another history than the one that
   the store has now (its data were lost, or replaced by a backup), or the plugin can't tell that it doesn't, the error
   is ``HistoryReplaced``. The request's ``mark`` is that of the last item before, whatever the plugin put there to
   prove it. A store that doesn't declare ``lossless_watch`` may ignore ``after`` and begin with a Snapshot.
3. Changes of one key come in the order of their revisions, none twice.
4. A transaction is never split over two items (where ``lossless_watch`` is declared).
5. The feed ends once, by ``sink.fail(error)``, when it can't continue: connection lost, authentication
   refused, history compacted. A feed doesn't reconnect. If a server stops answering without
   closing the connection, the feed fails within ``capabilities.max_watch_failure_detection`` seconds.
6. ``deliver`` and ``fail`` never block, so a plugin may call them from its reader thread, under a lock of its
   own, and also before ``watch`` has returned. Calls after ``close`` are ignored.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tenure._runtime.thread_start import start_thread
from tenure.errors import PluginError, TenureError
from tenure.spi.types import KeyValue


@dataclass(frozen=True, slots=True)
class Deleted:
    """The end of a key's life.

    Attributes:
        key: the key that was deleted, or removed with its lease.
        revision: the revision of the delete. If the store can't tell it, a revision not below it.
    """

    key: str
    revision: int


@dataclass(frozen=True, slots=True)
class Changes:
    """One or more whole transactions, in order.

    Attributes:
        entries: a :class:`KeyValue` for each put and a :class:`Deleted` for each delete.
        revision: the highest revision among them.
        mark: text with which the plugin can prove later that the store still has this item's history: core passes it to
            the feed that resumes after the item. Empty where the revision alone proves it.
    """

    entries: tuple[KeyValue | Deleted, ...]
    revision: int
    mark: str = ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything under the prefix as it was at one revision.

    Attributes:
        items: the keys with their values, in key order.
        revision: the store revision of the state. If the store's list isn't one point in time, the revision at which
            the list began: no item deleted before it is included, and later changes follow as changes.
        mark: as for :class:`Changes`.
    """

    items: tuple[KeyValue, ...]
    revision: int
    mark: str = ""


@dataclass(frozen=True, slots=True)
class Bookmark:
    """Say that all changes up to a revision were delivered, so that a quiet watch can resume later than its last event.

    Attributes:
        revision: the store revision that the feed has reached.
        mark: as for :class:`Changes`.
    """

    revision: int
    mark: str = ""


FeedItem = Changes | Snapshot | Bookmark


class Sink(Protocol):
    """Where a plugin delivers. Both methods return at once and may be called from any thread."""

    def deliver(self, item: FeedItem, /) -> None:
        """Deliver the next item, in order. Never blocks and never raises; ignored after the feed's ``close``.

        Args:
            item: a snapshot, changes or a bookmark.
        """

    def fail(self, error: TenureError, /) -> None:
        """Report that this feed has ended. Never blocks and never raises; only the first call counts.

        Args:
            error: why the feed ended. After ``Unavailable`` core opens another feed; after ``Compacted`` that feed
                begins with a snapshot. Errors of authentication and permission end the watch.
        """


class Feed(ABC):
    """A running watch of a plugin."""

    @abstractmethod
    def close(self) -> None:
        """End the feed and free its resources, in bounded time. Idempotent, callable from any thread."""


class PollingFeed(Feed):
    """A feed for a store that has no watch: it reads a snapshot every ``interval`` seconds.

    Core computes the differences, so a store that can only be polled needs nothing else. One daemon thread per feed;
    ``close`` waits for it.

    Args:
        read: returns the present state of the prefix. An error that it raises ends the feed.
        sink: where snapshots and the final error are delivered.
        interval: seconds between the end of one read and the start of the next.
        name: the first part of the thread's name.
    """

    def __init__(self, read: Callable[[], Snapshot], sink: Sink, *, interval: float, name: str) -> None:
        self._read = read
        self._sink = sink
        self._interval = interval
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"{name}-poll", daemon=True)
        start_thread(self._thread)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                snapshot = self._read()
            except TenureError as exc:
                self._fail(exc)
                return
            except Exception as exc:  # noqa: BLE001 - a plugin's bug must end the feed loudly, whatever it raised
                error = PluginError(
                    f"polling for a watch: the plugin's list failed with an untranslated {type(exc).__name__}: {exc}; "
                    "report the traceback to the plugin's author"
                )
                error.__cause__ = exc
                self._fail(error)
                return
            self._sink.deliver(snapshot)
            self._stop.wait(self._interval)

    def _fail(self, error: TenureError) -> None:
        if not self._stop.is_set():  # a feed that is being closed ends without an error
            self._sink.fail(error)

    def close(self) -> None:
        self._stop.set()
        if self._thread is not threading.current_thread():
            self._thread.join()
