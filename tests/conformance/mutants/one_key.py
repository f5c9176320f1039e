"""Broken watches of one key."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import AbstractContextManager
from unittest import mock

from tenure.spi import Feed, FeedItem, Sink, Snapshot, WatchRequest
from tenure.watch.machine import WatchMachine

from .base import BentFeed, BentWatch, Faithful


class OneKeyIsAPrefix(Faithful):
    """A watch of one key delivers the keys that start with it, and core drops none of them."""

    rules = ("watches.of_one_key_see_that_key_alone",)

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        return mock.patch.multiple(
            WatchMachine, _only_watched_items=lambda _, item: item, _only_watched_entries=lambda _, item: item
        )

    def watch(self, request: WatchRequest, *, sink: Sink, timeout: float) -> Feed:
        return self.inner.watch(dataclasses.replace(request, exact=False), sink=sink, timeout=timeout)


class OneKeyIsAFolder(Faithful):
    """A watch of one key looks below it, and misses the key."""

    rules = ("watches.of_one_key_see_that_key_alone",)

    def watch(self, request: WatchRequest, *, sink: Sink, timeout: float) -> Feed:
        below = f"{request.prefix}/" if request.exact else request.prefix
        request = dataclasses.replace(request, prefix=below, exact=False)
        return self.inner.watch(request, sink=sink, timeout=timeout)


class OneKeyHasNoState(BentWatch):
    """A watch of one key begins without the key's value, as if there were none."""

    rules = ("watches.of_one_key_see_that_key_alone",)

    def watch(self, request: WatchRequest, *, sink: Sink, timeout: float) -> Feed:
        feed = BentFeed(self, sink)
        feed.known["exact"] = request.exact
        return self.inner.watch(request, sink=feed, timeout=timeout)

    def snapshot(self, item: Snapshot, feed: BentFeed) -> Sequence[FeedItem]:
        return [Snapshot((), item.revision) if feed.known["exact"] else item]


MUTANTS: tuple[type[Faithful], ...] = (OneKeyIsAPrefix, OneKeyIsAFolder, OneKeyHasNoState)
