"""The watch engine over failures: what is resumed, what begins anew, what a slow consumer gets, what ends a watch."""

from __future__ import annotations

import queue
import threading
import time

import pytest

from tenure import BatchType
from tenure.errors import (
    AuthenticationFailed,
    Compacted,
    ConfigError,
    DeadlineExceeded,
    PermissionDenied,
    PluginError,
    StoreCorrupted,
    Unavailable,
)
from tenure.hookspecs import hookimpl
from tenure.spi import Bookmark, Changes, Deleted, Snapshot
from tenure.watch.machine import WatchMachine, WatchSettings
from tenure_testkit.waiting import PATIENCE

from .doubles import ScriptedBackend, item
from .watching import kinds, reopen, started

REFUSALS = [AuthenticationFailed("not now"), PermissionDenied("not now"), ConfigError("not now")]


class Outages:
    """What observers hear of outages: errors, and ``None`` when one is over."""

    def __init__(self):
        self.heard = []

    @hookimpl
    def tenure_watch_disconnected(self, prefix, error):
        self.heard.append(error)

    @hookimpl
    def tenure_watch_reconnected(self, prefix):
        self.heard.append(None)


def test_resumes_after_what_was_told_where_every_revision_is_kept(store, backend):
    watch, feed = started(store, backend, item("a", 1))
    feed.deliver(Changes((item("b", 6),), 6), Bookmark(9))
    assert kinds(watch.next(5)) == [("create", "b", 6)]
    feed.fail(Unavailable("cut"))
    reopen(watch, backend)
    assert feed.closed.is_set()
    again = backend.feed(1)
    assert again.after == 9
    again.deliver(Changes((Deleted("a", 10),), 10))
    batch = watch.next(5)
    assert (batch.type, kinds(batch)) == (BatchType.CHANGES, [("delete", "a", 10)])


def test_what_came_before_the_failure_is_told_first(store, backend):
    watch, feed = started(store, backend)
    feed.deliver(Changes((item("a", 6),), 6))
    feed.fail(Unavailable("cut"))
    assert kinds(watch.next(5)) == [("create", "a", 6)]
    reopen(watch, backend)
    assert backend.feed(1).after == 6


def test_a_connection_lost_before_the_snapshot_begins_anew(store, backend):
    watch = store.watch("")
    backend.feed(0).fail(Unavailable("cut"))
    reopen(watch, backend)
    assert backend.feed(1).after is None
    backend.feed(1).deliver(Snapshot((), 3))
    assert watch.next(5).type is BatchType.SNAPSHOT


@pytest.mark.parametrize("raised", [True, False])
def test_a_compacted_history_is_a_resync_with_the_deletes(store, backend, raised):
    watch, feed = started(store, backend, item("a", 1), item("b", 2), item("c", 3))
    if raised:
        backend.script("watch", Compacted("history begins at 20", oldest_revision=20))
    feed.fail(Unavailable("cut") if raised else Compacted("history begins at 20", oldest_revision=20))
    reopen(watch, backend)
    again = backend.feed(1)
    assert again.after is None
    again.deliver(Snapshot((item("a", 1), item("c", 22), item("d", 21)), 25))
    batch = watch.next(5)
    assert (batch.type, batch.revision) == (BatchType.RESYNC, 25)
    assert "history begins at 20" in batch.reason
    assert kinds(batch) == [("update", "c", 22), ("create", "d", 21), ("delete", "b", 25)]


def test_a_store_without_every_revision_resyncs_after_each_break(open_store):
    backend = ScriptedBackend(lossless_watch=False)
    watch, feed = started(open_store(backend), backend, item("a", 1))
    feed.fail(Unavailable("connection reset"))
    reopen(watch, backend)
    again = backend.feed(1)
    assert again.after is None
    assert watch.staleness > 0.0, "only the new state shows that the store is there"
    again.deliver(Snapshot((), 9))
    batch = watch.next(5)
    assert watch.staleness == 0.0
    assert (batch.type, kinds(batch)) == (BatchType.RESYNC, [("delete", "a", 9)])
    assert "connection reset" in batch.reason


def test_a_consumer_too_slow_gets_the_difference_and_the_reason(store, backend):
    watch, feed = started(store, backend, item("a", 1), max_pending=3)
    feed.deliver(*(Changes((item("b", revision, created=6),), revision) for revision in range(6, 30)))
    assert watch.next(0.01) is None
    assert feed.closed.is_set()
    again = backend.feed(1)
    assert again.after is None
    again.deliver(Snapshot((item("b", 29, created=6),), 29))
    batch = watch.next(5)
    assert batch.type is BatchType.RESYNC
    assert "too slow: 24 changes waited, max_pending is 3" in batch.reason
    assert kinds(batch) == [("create", "b", 29), ("delete", "a", 29)]


def test_one_slow_consumer_does_not_disturb_another(store, backend):
    _, slow_feed = started(store, backend, max_pending=2)
    quick, feed = started(store, backend, number=1, max_pending=2)
    for revision in range(6, 20):
        change = Changes((item("a", revision, created=6),), revision)
        slow_feed.deliver(change)
        feed.deliver(change)
        assert quick.next(5).revision == revision


def test_a_consumer_that_stops_reading_holds_a_bounded_number_of_changes(store, backend):
    watch, feed = started(store, backend, max_pending=100)
    for revision in range(6, 5000):
        feed.deliver(Changes((item("a", revision, b"x" * 100, created=6),), revision))
    assert len(watch._buffer._items) <= 100


def test_a_consumer_that_stops_reading_holds_a_bounded_number_of_bytes(store, backend):
    watch, feed = started(store, backend, item("a", 1))
    large = b"x" * (1 << 20)
    for revision in range(6, 70):
        feed.deliver(Changes((item("a", revision, large, created=6),), revision))
        assert sum(size for _, _, size, _ in watch._buffer._items) <= 64 << 20
    feed.deliver(Changes((item("a", 70, large, created=6),), 70))
    assert not watch._buffer._items
    assert watch.next(0.01) is None
    backend.feed(1).deliver(Snapshot((item("a", 70, large, created=6),), 70))
    assert "max_pending is 10000 and at most 64 MiB" in watch.next(5).reason


def test_attempts_grow_where_time_ran_out_and_only_there(store, backend):
    machine = WatchMachine(WatchSettings("", False, 0, False, None, 10), backend.capabilities)
    for _ in range(20):
        machine.not_opened(Unavailable("nothing listens there"))
    assert machine.attempt == 30.0
    for _ in range(3):
        machine.not_opened(DeadlineExceeded("the state did not come in time"))
    assert machine.attempt == 240.0
    machine.not_opened(Unavailable("nothing listens there"))
    assert machine.attempt == 30.0


def test_a_feed_that_fails_at_once_is_opened_ever_more_slowly(store, backend):
    watch = store.watch("")

    def fail_at_once(prefix, after, sink, timeout):
        sink.fail(Unavailable("refused"))
        return type(backend.feed(0))(prefix, after, sink)

    backend.always("watch", fail_at_once)
    backend.feed(0).fail(Unavailable("cut"))
    assert watch.next(1.0) is None
    assert 3 <= backend.count("watch") <= 12
    assert watch.staleness > 0.5, "opening alone doesn't end an outage"


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_refusal_before_the_first_batch_ends_the_watch_loudly(store, backend, refusal):
    watch = store.watch("")
    backend.feed(0).fail(refusal)
    for _ in range(2):
        with pytest.raises(type(refusal), match="not now"):
            watch.next(5)
    with pytest.raises(type(refusal)):
        list(watch)
    assert watch.closed
    assert watch.error is refusal
    watch.close()


def test_data_that_cannot_be_read_end_the_watch_loudly(store, backend):
    watch, feed = started(store, backend)
    feed.fail(StoreCorrupted("not ours"))
    with pytest.raises(StoreCorrupted, match="not ours"):
        watch.next(5)
    assert watch.closed


@pytest.mark.parametrize("lossless", [True, False])
@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_right_that_goes_and_comes_back_ends_nothing(open_store, refusal, lossless, clock):
    backend, outages = ScriptedBackend(lossless_watch=lossless), Outages()
    watch, feed = started(open_store(backend, clock=clock, observers=[outages]), backend, item("a", 5))
    backend.script("watch", *[refusal] * 5)
    feed.fail(refusal)
    assert watch.next(0.0) is None
    assert (watch.outage, watch.error, watch.closed) == (refusal, None, False)
    assert outages.heard == [refusal], "told at once"
    clock.jump(7)
    assert watch.staleness == 7.0
    reopen(watch, backend)
    assert backend.count("watch") == 7
    again = backend.feed(1)
    assert again.after == (5 if lossless else None)
    again.deliver(Changes((item("b", 6),), 6) if lossless else Snapshot((item("a", 5), item("b", 6)), 6))
    batch = watch.next(5)
    assert kinds(batch) == [("create", "b", 6)]
    assert (watch.outage, watch.staleness) == (None, 0.0)
    assert outages.heard == [refusal, None]


def test_a_refused_watch_after_a_revision_continues_too(store, backend):
    watch = store.watch("", after=5)
    backend.feed(0).fail(PermissionDenied("not now"))
    assert watch.next(0.0) is None
    reopen(watch, backend)
    backend.feed(1).deliver(Changes((item("b", 6),), 6))
    assert watch.next(5).revision == 6


def test_a_connection_that_is_made_again_at_once_is_no_news(open_store, backend):
    outages = Outages()
    watch, feed = started(open_store(backend, observers=[outages]), backend)
    feed.fail(Unavailable("cut"))
    reopen(watch, backend)
    assert (watch.outage, outages.heard) == (None, [])
    errors = Unavailable("down"), Unavailable("still down"), PermissionDenied("not you")
    backend.script("watch", *errors)
    backend.feed(1).deliver(Bookmark(6))
    backend.feed(1).fail(Unavailable("cut again"))
    reopen(watch, backend, 3)
    assert outages.heard == [errors[0], errors[2], None], "told again only when the cause is another"


def test_an_outage_is_told_while_a_callback_is_busy(store, backend):
    release, heard = threading.Event(), queue.SimpleQueue()
    store.watch("", callback=lambda batch: None if batch.type != "changes" else release.wait(60), on_outage=heard.put)
    feed = backend.feed(0)
    feed.deliver(Snapshot((item("a", 5),), 5))
    feed.fail(PermissionDenied("not you"))
    assert isinstance(heard.get(timeout=PATIENCE), PermissionDenied)
    backend.feed(1).deliver(Changes((item("b", 6),), 6))
    assert heard.get(timeout=PATIENCE) is None
    release.set()


def test_a_plugins_bug_ends_the_watch_loudly(store, backend):
    watch, feed = started(store, backend)
    backend.always("watch", ValueError("oops"))
    feed.fail(Unavailable("cut"))
    with pytest.raises(PluginError, match="untranslated ValueError: oops"):
        watch.next(5)


def test_a_plugin_whose_watch_returns_no_feed_is_told(store, backend, monkeypatch):
    monkeypatch.setattr(backend, "watch", lambda request, *, sink, timeout: None)
    for open_watch in (lambda: store.watch("").next(5), lambda: store.watch("", callback=print)):
        with pytest.raises(PluginError, match="watch returned NoneType, not a Feed"):
            open_watch()


def test_opening_is_tried_until_the_deadline(store, backend):
    backend.script("watch", Unavailable("1"), Unavailable("2"))
    store.watch("").close()
    assert backend.count("watch") == 3
    backend.always("watch", Unavailable("down"))
    before = time.monotonic()
    with pytest.raises(Unavailable, match="down"):
        store.watch("", timeout=0.2)
    assert time.monotonic() - before < 20  # it doesn't try for ever, on a busy machine either
    backend.always("watch", AuthenticationFailed("no"))
    with pytest.raises(AuthenticationFailed):
        store.watch("")


def test_how_long_it_has_been_disconnected(held, backend, clock):
    watch, feed = started(held, backend)
    assert watch.staleness == 0.0
    feed.fail(Unavailable("cut"))
    clock.jump(7)
    assert watch.staleness == 7.0
    backend.script("watch", Unavailable("still down"))
    reopen(watch, backend)
    assert watch.staleness == 0.0
    backend.feed(1).fail(Unavailable("down again, before it said anything"))
    watch.next(0.0)
    clock.jump(1)
    assert watch.staleness == 8.0


def test_the_revision_of_batches_never_falls(open_store):
    backend = ScriptedBackend(lossless_watch=False)
    watch, feed = started(open_store(backend), backend)
    feed.deliver(Changes((item("a", 8),), 8))
    feed.deliver(Changes((item("b", 7),), 7))
    assert [watch.next(5).revision for _ in range(2)] == [8, 8]
