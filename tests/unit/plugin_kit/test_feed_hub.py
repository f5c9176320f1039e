"""Feeds that share one reader: who gets which change, who is how far, and how they end."""

from __future__ import annotations

import pytest

from tenure.errors import Unavailable
from tenure.plugin_kit import FeedHub, HubFeed
from tenure.spi import Bookmark, Changes, Deleted, FeedItem, KeyValue, Snapshot, WatchRequest


class Sink:
    def __init__(self) -> None:
        self.items: list[FeedItem] = []
        self.errors: list[Exception] = []

    def deliver(self, item: FeedItem, /) -> None:
        self.items.append(item)

    def fail(self, error: Exception, /) -> None:
        self.errors.append(error)


def item(key: str, revision: int) -> KeyValue:
    return KeyValue(key, b"", revision, revision)


def join(hub: FeedHub, prefix: str, *, exact: bool = False, position: int = 0) -> tuple[HubFeed, Sink]:
    sink = Sink()
    feed = HubFeed(WatchRequest(prefix=prefix, exact=exact), sink, position=position, on_close=hub.remove)
    hub.add(feed)
    return feed, sink


def changes(sink: Sink) -> list[FeedItem]:
    return [found for found in sink.items if isinstance(found, Changes)]


def test_a_change_is_delivered_to_its_own_watchers():
    hub = FeedHub(6)
    watched = [("", False), ("a", False), ("a/", False), ("a/b", True), ("a/b", False), ("z", True)]
    sinks = {one: [join(hub, one[0], exact=one[1], position=6)[1] for _ in range(2)] for one in watched}
    hub.admit()
    entries = (item("a/b", 7), Deleted("a", 7), item("b", 7), item("a/bc", 7))
    hub.offer(7, entries)
    wanted = {
        ("", False): entries,
        ("a", False): (entries[0], entries[1], entries[3]),
        ("a/", False): (entries[0], entries[3]),
        ("a/b", True): (entries[0],),
        ("a/b", False): (entries[0], entries[3]),
        ("z", True): (),
    }
    for one, group in sinks.items():
        for sink in group:
            assert changes(sink) == ([Changes(wanted[one], 7)] if wanted[one] else [])


def test_a_change_costs_its_own_watchers_alone(monkeypatch):
    hub = FeedHub()
    for number in range(1000):
        join(hub, f"prefix-{number:04}/")
    hub.admit()
    looks = []
    inner = hub._watched_by
    monkeypatch.setattr(hub, "_watched_by", lambda key: looks.extend(found := list(inner(key))) or found)
    monkeypatch.setattr(HubFeed, "offer", lambda *_: pytest.fail("each feed was asked"))
    hub.offer(1, (item("prefix-0500/a", 1),))
    assert looks == [("prefix-0500/", False)]
    assert len(hub._lengths) == 1


def test_feeds_at_different_places_each_get_the_rest_once():
    hub = FeedHub(10)
    sinks = {position: join(hub, "", position=position)[1] for position in (3, 10, 12)}
    hub.admit()
    assert {position: len(feeds) for position, feeds in hub.places().items()} == {3: 1, 10: 1, 12: 1}
    for revision in range(4, 15):
        hub.offer(revision, (item("a", revision),))
    for position, sink in sinks.items():
        assert [found.revision for found in changes(sink)] == list(range(position + 1, 15))
    assert list(hub.places()) == [14]
    assert not hub.apart


def test_a_feed_that_joins_during_a_read_waits_for_the_next():
    hub = FeedHub(10)
    join(hub, "", position=10)
    hub.admit()
    late, sink = join(hub, "", position=5)
    hub.offer(11, (item("a", 11),))
    assert hub.waiting
    assert sink.items == []
    hub.admit()
    assert hub.apart == (late,)
    assert min(hub.places()) == 5


def test_a_feed_that_resumes_is_told_that_it_runs_and_a_new_one_is_not():
    hub = FeedHub(10)
    resumed, told = join(hub, "", position=10)
    new, quiet = join(hub, "", position=10)
    new.deliver(Snapshot((), 10))
    hub.admit()
    assert told.items == [Bookmark(10)]
    assert quiet.items == [Snapshot((), 10)]
    assert resumed in hub
    assert new in hub


def test_quiet_feeds_hear_of_the_position_now_and_then():
    hub = FeedHub(bookmark_every=3)
    _, sink = join(hub, "quiet")
    hub.admit()
    sink.items.clear()
    for revision in range(1, 8):
        hub.offer(revision, (item("busy", revision),))
    assert sink.items == [Bookmark(3), Bookmark(6)]


def test_all_end_once_and_those_that_were_closed_do_not():
    hub = FeedHub()
    closed, silent = join(hub, "a")
    _, first = join(hub, "a")
    hub.admit()
    _, waiting = join(hub, "b")
    closed.close()
    hub.fail(Unavailable("first"))
    hub.fail(Unavailable("second"))
    assert [str(error) for sink in (first, waiting) for error in sink.errors] == ["first", "first"]
    assert silent.errors == []
    assert not hub
    hub.admit()
    hub.offer(1, (item("a", 1),))
    assert changes(first) == changes(waiting) == []
    assert not hub._level
    assert not hub._lengths


def test_the_last_feed_that_leaves_is_known():
    hub = FeedHub()
    feeds = [join(hub, "a")[0] for _ in range(3)]
    assert [hub.remove(feed) for feed in (*feeds, *feeds)] == [False, False, True, True, True, True]


def test_a_sink_may_close_its_feed_while_it_is_served():
    hub = FeedHub()
    feeds = []

    class Closing(Sink):
        def deliver(self, found: FeedItem, /) -> None:
            super().deliver(found)
            for feed in feeds:
                feed.close()

    sinks = [Closing(), Closing()]
    for sink in sinks:
        feed = HubFeed(WatchRequest(prefix="a"), sink, position=0, on_close=hub.remove)
        hub.add(feed)
    hub.admit()
    feeds.extend(hub)
    for sink in sinks:
        sink.items.clear()
    hub.offer(1, (item("a", 1),))
    assert sorted(len(sink.items) for sink in sinks) == [0, 1]
    assert not hub
