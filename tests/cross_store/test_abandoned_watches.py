"""A program that drops its watches without closing them: their feeds end with the next calls of the store."""

from __future__ import annotations

import gc

from tenure.spi import Feed
from tenure_testkit.waiting import until


class Counted(Feed):
    """A feed whose closing is counted."""

    def __init__(self, feed: Feed, closed: list[Feed]) -> None:
        self._feed = feed
        self._closed = closed

    def close(self) -> None:
        self._feed.close()
        self._closed.append(self._feed)


def test_watches_that_are_dropped_cost_nothing_any_more(store_url, opened, monkeypatch) -> None:
    store = opened(store_url, 20.0)
    backend = store._backend
    watch, closed = backend.watch, []
    monkeypatch.setattr(
        backend, "watch", lambda request, **words: Counted(watch(request, **words), closed), raising=True
    )
    for number in range(10):
        for _ in store.watch(f"dropped/{number % 3}/"):
            break
    gc.collect()
    until(lambda: (store.get("any"), len(closed) == 10)[1], what="all feeds are closed")
    assert not store._open_watches.live
