"""Watches that nobody has: dropped, or interrupted before they were returned. Their feeds end with the next calls."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable

import pytest

import tenure
from tenure.spi import Feed
from tenure_testkit.interrupts import Interrupts
from tenure_testkit.waiting import until

CORE = ("watch", f"plugin_kit{os.sep}feed_hub", "spi", f"_runtime{os.sep}makings", f"_runtime{os.sep}worker")
PLUGIN = ("backend", "feed", "log_reader", "prefix_poller", "relay", "server", "watch")
"""What a watch passes through but the reading of its state, which makes nothing that lasts."""


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


def feeds() -> list[Feed]:
    gc.collect()
    return [found for found in gc.get_objects() if isinstance(found, Feed)]


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # by who was interrupted while connecting
@pytest.mark.parametrize("others", [0, 1])
def test_a_watch_that_is_interrupted_at_any_line_leaves_no_feed(store_url, opened, others) -> None:
    """An exception of a signal handler comes between the feed's joining its siblings and the return of the call."""
    scheme = store_url.partition(":")[0].partition("+")[0]
    interrupts = Interrupts(
        *(f"{os.sep}tenure{os.sep}{part}" for part in CORE),
        *(f"{os.sep}tenure_{scheme}{os.sep}{part}" for part in PLUGIN),
    )
    store = opened(store_url, 20.0)
    store.watch("k/").close()  # what lasts as long as the store is there
    before, threads = set(map(id, feeds())), set(threading.enumerate())
    kept = [store.watch("k/") for _ in range(others)]
    for watch in kept:
        assert watch.next(20.0) is not None
    own = len(feeds()) - len(before)
    taken: list[tenure.Watch] = []

    def give_up() -> None:
        while taken:
            taken.pop().close()
        store._open_watches.close_abandoned()

    def watch_at(step: int) -> tuple[Callable[[], object], Callable[[], object]]:
        return lambda: taken.append(store.watch("k/")), give_up

    assert interrupts.every_line(watch_at) > 10
    until(
        lambda: (give_up(), store.put("k/0", b""), len(feeds()) - len(before) <= own)[2],
        what="feeds that nobody got are closed",
    )
    with store.watch("k/") as last:
        revision = store.put("k/1", b"").revision
        for watch in (*kept, last):
            until(lambda watch=watch: (watch.next(1.0), watch.revision >= revision)[1], what="they are told")
    for watch in kept:
        watch.close()
    kept.clear()
    until(lambda: set(threading.enumerate()) <= threads, what="their threads have ended")
