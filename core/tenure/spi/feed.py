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
   the store has now (its data were lost, or replaced by a backup), or the plugin can't prove that it doesn't, the error
   is ``HistoryReplaced``. The request's ``mark`` is that of the last item before, whatever the plugin put there to
   prove it. A store that doesn't declare ``lossless_watch`` may ignore ``after`` and begin with a Snapshot.
3. Changes of one key come in the order of their revisions, none twice.
4. A transaction is never split over two items (where ``lossless_watch`` is declared).
5. The feed ends once, by ``sink.fail(error)``, when it can't continue: connection lost, authentication
   refused, history compacted. A feed doesn't reconnect. If a server stops answering without
   closing the connection, the feed fails within ``capabilities.max_watch_failure_detection`` seconds, by
   ``DeadlineExceeded``: core then counts the outage from the last item, or from that many seconds before the error.
6. ``deliver`` and ``fail`` never block, so a plugin may call them from its reader thread, under a lock of its
   own, and also before ``watch`` has returned. Calls after ``close`` are ignored.
7. An interrupt may come at any moment of ``watch``. A plugin makes its feed before what it registers or starts for the
   feed, and ``Feed.close`` takes all of that back.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, Self

from tenure._runtime.makings import announce
from tenure._runtime.worker import Worker, untranslated
from tenure.errors import TenureError
from tenure.spi.types import KeyValue


@dataclass(frozen=True, slots=True)
class Deleted:
    """The end of a key's life.

    Attributes:
        key: the key that was deleted, or removed with its lease.
        revision: the revision of the delete. If the store doesn't know it, a revision not below it.
    """

    key: str
    revision: int


@dataclass(frozen=True, slots=True)
class Away:
    """Say that what a feed delivers is old: its source, such as an agent, doesn't reach the store at present.

    Attributes:
        age: seconds since what the feed has delivered was the state of the store.
        error: why the source doesn't reach the store.
    """

    age: float
    error: TenureError


@dataclass(frozen=True, slots=True)
class Changes:
    """One or more whole transactions, in order.

    Attributes:
        entries: a :class:`KeyValue` for each put and a :class:`Deleted` for each delete.
        revision: the highest revision among them.
        mark: text with which the plugin can prove later that the store still has this item's history. Core passes it to
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
        revision: the store revision of the state. If the store's list isn't one point in time, it is that at which
            the list began. No item deleted before it is included, and later changes follow as changes.
        mark: as for :class:`Changes`.
        away: how old the state is, from a feed whose source doesn't reach the store; ``None`` from all others.
    """

    items: tuple[KeyValue, ...]
    revision: int
    mark: str = ""
    away: Away | None = None


@dataclass(frozen=True, slots=True)
class Bookmark:
    """Say that all changes up to a revision were delivered, so that a quiet watch can resume later than its last event.

    Attributes:
        revision: the store revision that the feed has reached.
        mark: as for :class:`Changes`.
        away: that the feed's source doesn't reach the store from now on, and how old its state is; ``None``: it does.
    """

    revision: int
    mark: str = ""
    away: Away | None = None


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
                begins with a snapshot. Errors of authentication and permission end a watch that has delivered nothing
                yet; after that core opens feeds until the right is there again.
        """


class Feed(ABC):
    """A running watch of a plugin.

    Core knows a feed from when ``Backend.watch`` makes it, in the calling thread. If the call raises, or a signal
    handler's exception keeps it from returning, core closes the feed.
    """

    def __new__(cls, *args: object, **kwargs: object) -> Self:
        """Announce the feed to the call of ``Backend.watch`` that makes it."""
        feed = super().__new__(cls)
        announce(feed)
        return feed

    @abstractmethod
    def close(self) -> None:
        """End the feed, free its resources, and take back what was begun for it, in bounded time.

        Idempotent, callable from any thread, and at any moment after the feed was made. That includes a feed whose
        ``Backend.watch`` was interrupted half way. An interrupted call of this method is repeated.
        """


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
        self._worker = Worker(self._run, name=f"{name}-poll", on_error=sink.fail)
        self._worker.start("watching")

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                snapshot = self._read()
            except TenureError:
                raise
            except Exception as exc:
                raise untranslated("polling for a watch: the plugin's list", exc) from exc
            self._sink.deliver(snapshot)
            self._stop.wait(self._interval)

    def close(self) -> None:
        self._worker.stop()  # from now on an error of the read is no error of the feed
        self._stop.set()
        self._worker.join(threading.TIMEOUT_MAX)
