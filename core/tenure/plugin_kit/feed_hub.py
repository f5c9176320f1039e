"""The feeds that share one reader: who gets which change, who is how far, and how they end.

A reader of a change log, or the thread that commits, offers each transaction to the hub once. The hub delivers to each
feed what it watches. That costs what the feeds on the changed keys cost, however many others there are.

Most feeds are *level*: they have been served up to :attr:`FeedHub.position`. A feed that joins elsewhere is *apart*. It
has a position of its own until the reader comes by there.

Adding and removing a feed are single operations of containers: no lock is held, so a feed may be closed by a finalizer,
a signal handler or a thread whose lock a sink waits for. Everything else is the reader's: one thread, or one lock.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence

from tenure.errors import TenureError
from tenure.spi.feed import Bookmark, Changes, Deleted, Feed, FeedItem, Sink, Snapshot
from tenure.spi.types import KeyValue, WatchRequest

_Watched = tuple[str, bool]
"""A prefix, or a key and true."""


class HubFeed(Feed):
    """One watch of a prefix or of one key, as ``Backend.watch`` returns it.

    Args:
        request: what is watched.
        sink: where items are delivered.
        position: the revision up to which the sink has been served, or is about to be by a snapshot.
        on_close: called with the feed when it is closed; calls :meth:`FeedHub.remove`.

    Attributes:
        request: what is watched.
        sink: where items are delivered.
        position: the feed's own position while it is apart; later the position at which it became level.
    """

    _on_close: Callable[[HubFeed], object] | None = None

    def __init__(
        self, request: WatchRequest, sink: Sink, *, position: int, on_close: Callable[[HubFeed], object]
    ) -> None:
        self.request = request
        self.sink = sink
        self.position = position
        self._watched = (request.prefix, request.exact)
        self._told = -1
        self._on_close = on_close

    def deliver(self, item: FeedItem) -> None:
        """Deliver an item, and remember how far the sink has got.

        Args:
            item: the snapshot that the feed begins with, changes or a bookmark.
        """
        self.sink.deliver(item)
        self._told = item.revision

    def offer(self, revision: int, entries: Iterable[KeyValue | Deleted]) -> None:
        """Deliver what the feed watches of one transaction, and advance its own position.

        Args:
            revision: the transaction's revision.
            entries: all that the transaction changed.
        """
        prefix, exact = self._watched
        mine = tuple(entry for entry in entries if (entry.key == prefix if exact else entry.key.startswith(prefix)))
        if mine:
            self.deliver(Changes(mine, revision))
        self.position = revision

    def bookmark(self, revision: int) -> None:
        """Deliver a bookmark, if the sink doesn't know this revision.

        Args:
            revision: the revision up to which everything was delivered.
        """
        if self._told < revision:
            self.deliver(Bookmark(revision))

    def close(self) -> None:
        if self._on_close is not None:  # else an interrupt came while it was made
            self._on_close(self)


class FeedHub:
    """Feeds that share one reader.

    Args:
        position: the revision up to which the reader has read.
        bookmark_every: after this number of transactions every feed gets the position.

    Attributes:
        position: the revision up to which all level feeds have been served.
        bookmark_every: as given.
    """

    def __init__(self, position: int = 0, *, bookmark_every: int = 500) -> None:
        self.position = position
        self.bookmark_every = bookmark_every
        self._members: dict[HubFeed, None] = {}
        self._joined: deque[HubFeed] = deque()
        self._left: deque[HubFeed] = deque()
        self._level: dict[_Watched, dict[HubFeed, None]] = {}
        self._lengths: Counter[int] = Counter()
        self._apart: dict[HubFeed, None] = {}
        self._untold = 0

    # -- for any thread, at any moment --

    def add(self, feed: HubFeed) -> None:
        """Serve ``feed`` from the reader's next :meth:`admit` on.

        Args:
            feed: a new feed.
        """
        self._members[feed] = None
        self._joined.append(feed)

    def remove(self, feed: HubFeed) -> bool:
        """Serve ``feed`` no longer. Its sink doesn't learn of it.

        Args:
            feed: any feed, also one that never joined: its opening may have been interrupted.

        Returns:
            Whether no feed is left, so that the reader may end.
        """
        if feed in self._members:
            self._left.append(feed)
            self._members.pop(feed, None)
        return not self._members

    def clear(self) -> None:
        """Serve no feed any longer. Their sinks don't learn of it."""
        for feed in tuple(self._members):
            self.remove(feed)

    def end(self, feed: HubFeed, error: TenureError) -> None:
        """End one feed by ``error``, unless it was removed.

        Args:
            feed: any feed.
            error: why it ends.
        """
        if self._members.pop(feed, feed) is None:
            self._left.append(feed)
            feed.sink.fail(error)

    def fail(self, error: TenureError) -> None:
        """End all feeds by ``error``, each once.

        Args:
            error: why they end.
        """
        for feed in tuple(self._members):
            self.end(feed, error)

    def __contains__(self, feed: HubFeed) -> bool:
        return feed in self._members

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[HubFeed]:
        return iter(tuple(self._members))

    @property
    def waiting(self) -> bool:
        """Whether feeds were added that the reader has not admitted."""
        return bool(self._joined)

    # -- for the reader --

    def admit(self) -> None:
        """Take up the feeds that were added, and drop those that were removed.

        Only feeds that were admitted before a read of the log may be offered what the read found. A feed that joins
        meanwhile may be further behind.
        """
        # Taken off afterwards: what an interrupt leaves half done, the next call does again.
        while self._joined:
            feed = self._joined[0]
            if feed in self._members and feed not in self._level.get((feed.request.prefix, feed.request.exact), ()):
                self._apart[feed] = None
            self._joined.popleft()
        while self._left:
            self._drop(self._left[0])
            self._left.popleft()
        self._settle()

    @property
    def apart(self) -> tuple[HubFeed, ...]:
        """The feeds that have been admitted and aren't level."""
        return tuple(self._apart)

    @property
    def level(self) -> bool:
        """Whether feeds are level. Some may have been removed since the last :meth:`admit`, as in :attr:`apart`."""
        return bool(self._level)

    def places(self) -> dict[int, tuple[HubFeed, ...]]:
        """Find out how far the admitted feeds are.

        Returns:
            The feeds at each position, the level ones at :attr:`position`. Empty without feeds.
        """
        places: dict[int, list[HubFeed]] = {}
        if self._level:
            places[self.position] = [feed for group in self._level.values() for feed in group]
        for feed in self._apart:
            places.setdefault(feed.position, []).append(feed)
        return {position: tuple(feeds) for position, feeds in places.items()}

    def watching(self, key: str) -> Iterator[HubFeed]:
        """Find the level feeds that watch ``key``.

        Args:
            key: a key that has changed.

        Returns:
            The feeds, at a cost that does not grow with the number of the others.
        """
        for watched in self._watched_by(key):
            yield from self._level[watched]

    def offer(self, revision: int, entries: Sequence[KeyValue | Deleted]) -> None:
        """Deliver to each feed what it watches of the next transaction, unless it is beyond that.

        Args:
            revision: the transaction's revision.
            entries: all that the transaction changed.
        """
        for feed in self._apart:
            if feed.position < revision and feed in self._members:
                feed.offer(revision, entries)
        if revision > self.position:
            self._deliver(revision, entries)
            self.position = revision
            self._untold += 1
            if self._untold >= self.bookmark_every:
                self.bookmark()
        self._settle()

    def _deliver(self, revision: int, entries: Sequence[KeyValue | Deleted]) -> None:
        """Deliver to each level feed what it watches."""
        found: dict[_Watched, list[KeyValue | Deleted]] = {}
        for entry in entries:
            for watched in self._watched_by(entry.key):
                found.setdefault(watched, []).append(entry)
        for watched, mine in found.items():
            item = Changes(tuple(mine), revision)
            for feed in self._level[watched]:
                if feed in self._members:
                    feed.deliver(item)

    def tell(self, item: FeedItem) -> None:
        """Deliver one item to all level feeds, for a reader whose feeds watch the same.

        Args:
            item: any item.
        """
        for group in self._level.values():
            for feed in group:
                if feed in self._members:
                    feed.deliver(item)

    def begin(self, snapshot: Snapshot) -> None:
        """Deliver the state to the admitted feeds that aren't level, which are so from then on.

        Args:
            snapshot: the state, for a reader whose feeds watch the same.
        """
        self.position = snapshot.revision
        for feed in self._apart:
            if feed in self._members:
                feed.deliver(snapshot)
                feed.position = snapshot.revision
        self._settle()

    def reached(self, revision: int) -> None:
        """Note that the admitted feeds have had all up to ``revision``, which is not below any of their positions.

        Args:
            revision: the reader's position from now on.
        """
        self.position = revision
        for feed in self._apart:
            feed.position = revision
        self._settle()

    def bookmark(self) -> None:
        """Deliver the position to all level feeds, unless they know it."""
        self._untold = 0
        for group in self._level.values():
            for feed in group:
                if feed in self._members:
                    feed.bookmark(self.position)

    def _settle(self) -> None:
        """Those who are where the reader is are level. A feed that resumed is told so, as a sign that it runs."""
        for feed in tuple(self._apart) if self._apart else ():
            if feed.position == self.position:
                # In this order an interrupt leaves at worst a length too many, which costs time alone.
                watched = (feed.request.prefix, feed.request.exact)
                if watched not in self._level and not watched[1]:
                    self._lengths[len(watched[0])] += 1
                self._level.setdefault(watched, {})[feed] = None
                del self._apart[feed]
                if feed in self._members:
                    feed.bookmark(self.position)

    def _drop(self, feed: HubFeed) -> None:
        self._apart.pop(feed, None)
        prefix, exact = feed.request.prefix, feed.request.exact
        group = self._level.get((prefix, exact))
        if group is None:
            return
        group.pop(feed, None)
        if not group:
            del self._level[prefix, exact]
            if not exact:
                self._lengths[len(prefix)] -= 1
                if not self._lengths[len(prefix)]:
                    del self._lengths[len(prefix)]

    def _watched_by(self, key: str) -> Iterator[_Watched]:
        if (key, True) in self._level:
            yield key, True
        for length in self._lengths:
            if length <= len(key) and (key[:length], False) in self._level:
                yield key[:length], False
