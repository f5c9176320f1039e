"""Feeds by what they watch, so that a transaction costs what its own watchers do, however many others there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tenure.spi.feed import Changes, Deleted
from tenure.spi.types import KeyValue, WatchRequest
from tenure_redis.encoding import Entry
from tenure_redis.feed import RedisFeed

_Watched = tuple[str, bool]
"""A prefix, or a key and true."""


class FeedIndex:
    """Feeds that have all seen the same. Not thread-safe."""

    def __init__(self) -> None:
        self._feeds: dict[_Watched, dict[RedisFeed, None]] = {}
        self._lengths: Counter[int] = Counter()

    def add(self, feed: RedisFeed) -> None:
        """Serve ``feed`` from now on."""
        watched = _watched(feed.request)
        if watched not in self._feeds:
            self._feeds[watched] = {}
            if not feed.request.exact:
                self._lengths[len(feed.request.prefix)] += 1
        self._feeds[watched][feed] = None

    def remove(self, feed: RedisFeed) -> None:
        """Serve ``feed`` no longer, if it was served."""
        watched = _watched(feed.request)
        group = self._feeds.get(watched)
        if group is None or feed not in group:
            return
        del group[feed]
        if not group:
            del self._feeds[watched]
            if not feed.request.exact:
                length = len(feed.request.prefix)
                self._lengths[length] -= 1
                if not self._lengths[length]:
                    del self._lengths[length]

    def __iter__(self) -> Iterator[RedisFeed]:
        return (feed for group in self._feeds.values() for feed in group)

    def __bool__(self) -> bool:
        return bool(self._feeds)

    def offer(self, entry: Entry) -> None:
        """Deliver to each feed what the transaction changed of what it watches."""
        found: dict[_Watched, list[KeyValue | Deleted]] = {}
        for change in entry.changes:
            for watched in self._watching(change.key):
                found.setdefault(watched, []).append(change)
        for watched, changes in found.items():
            item = Changes(tuple(changes), entry.revision)
            for feed in self._feeds[watched]:
                feed.deliver(item)

    def _watching(self, key: str) -> Iterator[_Watched]:
        if (key, True) in self._feeds:
            yield key, True
        for length in self._lengths:
            if length <= len(key) and (key[:length], False) in self._feeds:
                yield key[:length], False


def _watched(request: WatchRequest) -> _Watched:
    return request.prefix, request.exact
