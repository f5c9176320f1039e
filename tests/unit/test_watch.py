"""The watch engine, scene by scene, with feeds that the test drives: what is told, to whom, and how it is closed.

What failures do to a watch is in test_watch_failures.py; the model in test_watch_model.py adds chaos.
"""

from __future__ import annotations

import sys
import threading
import time

import pytest

from tenure import BatchType, EventType
from tenure.errors import AuthenticationFailed, Compacted, InvalidArgument, StoreClosed, Unavailable, Unsupported
from tenure.spi import Changes, Deleted, Snapshot
from tenure_testkit.waiting import until

from .doubles import ScriptedBackend, item, own_threads
from .watching import kinds, reopen, started

# -- what is told ------------------------------------------------------------------------------------------


def test_the_state_then_in_sync_then_changes(store, backend):
    watch = store.watch("p/")
    feed = backend.feed(0)
    assert (feed.prefix, feed.after) == ("p/", None)
    feed.deliver(
        Snapshot((item("p/a", 3), item("p/b", 4)), 5), Changes((item("p/a", 6, created=3), Deleted("p/b", 6)), 6)
    )
    first, second, third = watch.next(5), watch.next(5), watch.next(5)
    assert (first.type, kinds(first)) == (BatchType.SNAPSHOT, [("create", "p/a", 3), ("create", "p/b", 4)])
    assert (second.type, second.events, second.revision) == (BatchType.SYNCED, (), 5)
    assert (third.type, kinds(third)) == (BatchType.CHANGES, [("update", "p/a", 6), ("delete", "p/b", 6)])
    assert watch.revision == 6
    assert watch.next(0.01) is None


def test_previous_values_only_where_asked_for(store, backend):
    plain, _ = started(store, backend, item("a", 1, b"1"))
    watch, feed = started(store, backend, item("a", 1, b"1"), number=1, previous=True)
    change = Changes((item("a", 6, b"2", created=1), item("b", 6)), 6)
    feed.deliver(change, Changes((Deleted("a", 7),), 7))
    backend.feed(0).deliver(change)
    assert [event.previous for event in watch.next(5).events] == [item("a", 1, b"1"), None]
    assert [event.previous for event in watch.next(5).events] == [item("a", 6, b"2", created=1)]
    assert [event.previous for event in plain.next(5).events] == [None, None]


def test_what_was_told_is_not_told_again(store, backend):
    watch, feed = started(store, backend, item("a", 3))
    feed.deliver(Changes((item("a", 3), item("old", 4), Deleted("a", 2), Deleted("unknown", 6)), 5))
    feed.deliver(Changes((item("b", 6),), 6), Changes((Deleted("b", 7),), 7))
    feed.deliver(Changes((item("b", 6),), 6), Changes((Deleted("b", 7),), 7), Changes((item("c", 8),), 8))
    assert [kinds(watch.next(5)) for _ in range(3)] == [
        [("create", "b", 6)],
        [("delete", "b", 7)],
        [("create", "c", 8)],
    ]


def test_a_poll_only_store_needs_nothing_but_snapshots(open_store):
    backend = ScriptedBackend(lossless_watch=False)
    watch, feed = started(open_store(backend), backend, item("a", 1), item("b", 2))
    feed.deliver(Snapshot((item("a", 1), item("b", 2)), 6))
    assert watch.next(0.01) is None
    feed.deliver(Snapshot((item("a", 7, created=1), item("c", 7)), 7))
    batch = watch.next(5)
    assert batch.type is BatchType.CHANGES
    assert kinds(batch) == [("update", "a", 7), ("create", "c", 7), ("delete", "b", 7)]


def test_after_a_revision_there_is_no_state_but_every_change(store, backend):
    watch = store.watch("", after=7)
    feed = backend.feed(0)
    assert feed.after == 7
    feed.deliver(Changes((item("a", 7),), 7), Changes((item("a", 8, created=2), item("b", 8), Deleted("c", 8)), 8))
    assert kinds(watch.next(5)) == [("update", "a", 8), ("create", "b", 8), ("delete", "c", 8)]
    feed.fail(Unavailable("cut"))
    reopen(watch, backend)
    assert backend.feed(1).after == 8
    backend.feed(1).fail(Compacted("gone", oldest_revision=20))
    with pytest.raises(Compacted, match="gone"):
        watch.next(5)


def test_what_a_watch_does_not_take(store, open_store):
    with pytest.raises(InvalidArgument, match="previous"):
        store.watch("", after=1, previous=True)
    with pytest.raises(InvalidArgument, match="after is a revision"):
        store.watch("", after=-1)
    with pytest.raises(InvalidArgument, match="max_pending"):
        store.watch("", max_pending=0)
    with pytest.raises(Unsupported, match="without 'after'"):
        open_store(ScriptedBackend(lossless_watch=False)).watch("", after=1)


# -- closing -----------------------------------------------------------------------------------------------


def test_close_wakes_a_waiting_consumer(store, backend):
    watch, feed = started(store, backend)
    ended = []
    consumer = threading.Thread(target=lambda: ended.append(list(watch)))
    consumer.start()
    watch.close()
    watch.close()
    consumer.join(60.0)
    assert ended == [[]]
    assert feed.closed.is_set()
    with pytest.raises(StoreClosed, match="the watch is closed"):
        watch.next()


def test_nothing_is_told_after_close(store, backend):
    watch = store.watch("")
    backend.feed(0).deliver(Snapshot((), 1))
    assert watch.next(5).type is BatchType.SNAPSHOT
    watch.close()
    assert list(watch) == []


def test_close_while_the_store_hangs_in_watch(store, backend):
    watch, feed = started(store, backend)
    hanging, release = threading.Event(), threading.Event()
    late = type(feed)(feed.request, feed.sink)

    def hang(prefix, after, sink, timeout):
        hanging.set()
        release.wait(10)
        return late

    backend.always("watch", hang)
    feed.fail(Unavailable("cut"))
    ended = []
    consumer = threading.Thread(target=lambda: ended.append(list(watch)))
    consumer.start()
    assert hanging.wait(60.0)
    before = time.monotonic()
    watch.close()
    assert time.monotonic() - before < 1
    release.set()
    consumer.join(60.0)
    assert ended == [[]]
    assert late.closed.is_set()


def test_what_a_closing_store_answers_is_no_error_of_the_watch(store, backend):
    watch, feed = started(store, backend)

    def closed_meanwhile(prefix, after, sink, timeout):
        watch.close()
        raise StoreClosed("the connection was closed")

    backend.always("watch", closed_meanwhile)
    feed.fail(Unavailable("cut"))
    assert list(watch) == []
    assert watch.error is None


def test_a_feed_that_fails_to_close_keeps_nothing_from_closing(store, backend, caplog):
    _, feed = started(store, backend)
    feed.close = lambda: 1 / 0
    store.close()
    assert backend.closed
    assert "failed to close a feed" in caplog.text


def test_closing_the_store_ends_its_watches(store, backend):
    watch, feed = started(store, backend)
    store.close()
    assert feed.closed.is_set()
    assert watch.closed
    with pytest.raises(StoreClosed):
        watch.next()


# -- callbacks ---------------------------------------------------------------------------------------------


def test_callbacks_come_in_order_on_a_thread_for_callbacks_and_survive_their_errors(store, backend, caplog):
    seen, done = [], threading.Event()

    def callback(batch):
        seen.append(batch.type)
        if len(seen) == 1:
            raise RuntimeError("the application's bug")
        if len(seen) == 3:
            store.get("a")  # calling the store inside a callback is fine
            done.set()

    watch = store.watch("", callback=callback)
    backend.feed(0).deliver(Snapshot((), 1), Changes((item("a", 2),), 2))
    assert done.wait(60.0)
    assert seen == [BatchType.SNAPSHOT, BatchType.SYNCED, BatchType.CHANGES]
    assert own_threads() == ["tenure-callbacks"]
    watch.close()
    until(lambda: not own_threads())
    assert "the application's bug" in caplog.text


def test_close_in_a_callback(store, backend):
    seen, opened = [], threading.Event()

    def callback(batch):
        seen.append(batch)
        opened.wait(10)
        watch.close()

    watch = store.watch("", callback=callback)
    opened.set()
    backend.feed(0).deliver(Snapshot((), 1), Changes((item("a", 2),), 2))
    until(lambda: not own_threads())
    assert len(seen) == 1


def test_closing_the_store_in_a_callback(store, backend):
    store.watch("", callback=lambda batch: store.close())
    backend.feed(0).deliver(Snapshot((), 1))
    until(lambda: backend.closed and not own_threads())


@pytest.mark.parametrize("broken", [False, True])
def test_on_error_hears_once_of_the_end(store, backend, broken, caplog):
    heard = []

    def on_error(error):
        heard.append(error)
        if broken:
            raise RuntimeError("the application's bug")

    error = AuthenticationFailed("no")
    store.watch("", callback=lambda batch: None, on_error=on_error)
    backend.feed(0).fail(error)
    until(lambda: not own_threads())
    assert heard == [error]
    assert ("the application's bug" in caplog.text) == broken


def test_without_on_error_the_end_is_logged(store, backend, caplog):
    store.watch("", callback=lambda batch: None)
    backend.feed(0).fail(AuthenticationFailed("no longer good"))
    until(lambda: not own_threads())
    assert "a watch ended: no longer good" in caplog.text


def test_system_exit_in_a_callback_ends_nothing(store, backend, caplog):
    seen, done = [], threading.Event()

    def callback(batch):
        seen.append(batch.type)
        if len(seen) < 3:
            sys.exit("the application wants to end this thread")
        done.set()

    store.watch("", callback=callback)
    backend.feed(0).deliver(Snapshot((), 1), Changes((item("a", 2),), 2))
    assert done.wait(60.0)
    assert caplog.text.count("the callback of a watch raised") == 2


@pytest.mark.parametrize("blocked", [1, 20])
def test_callbacks_that_block_delay_no_other_watch(store, backend, blocked):
    release, reached = threading.Event(), threading.Semaphore(0)

    def block(batch):
        reached.release()
        release.wait(60.0)

    for number in range(blocked):
        store.watch("", callback=block)
        backend.feed(number).deliver(Snapshot((), 1))
    for _ in range(blocked):
        assert reached.acquire(timeout=60.0)
    done = threading.Event()
    store.watch("", callback=lambda batch: done.set())
    backend.feed(blocked).deliver(Snapshot((), 1))
    assert done.wait(60.0)
    release.set()


def test_a_thousand_watches_share_few_threads(store, backend):
    told = threading.Semaphore(0)
    for number in range(1000):
        store.watch("", callback=lambda batch: told.release())
        backend.feed(number).deliver(Snapshot((), 1))
    for _ in range(2000):  # the state, and that it is in sync
        assert told.acquire(timeout=60.0)
    for number in range(1000):
        backend.feed(number).deliver(Changes((item("a", 2),), 2))
    for _ in range(1000):
        assert told.acquire(timeout=60.0)
    assert len(own_threads()) <= 32


def test_a_server_that_hangs_while_feeds_are_opened_again_holds_up_no_callback(store, backend):
    release, told, lost = threading.Event(), threading.Event(), threading.Event()
    for number in range(8):
        store.watch("", callback=lambda batch: None)
        backend.feed(number).deliver(Snapshot((), 1))
    store.watch("", callback=lambda batch: told.set() if batch.type is BatchType.CHANGES else None)
    backend.feed(8).deliver(Snapshot((), 1))
    backend.always("watch", lambda timeout, **_: release.wait(60.0) and (_ for _ in ()).throw(Unavailable("down")))
    for number in range(8):
        backend.feed(number).fail(Unavailable("frozen"))
    lease = store.lease(1.0, on_lost=lambda lease: lost.set())
    lease.mark_lost("the test wants it")
    backend.feed(8).deliver(Changes((item("a", 2),), 2))
    assert told.wait(60.0)
    assert lost.wait(60.0)
    release.set()


# -- namespaces --------------------------------------------------------------------------------------------


def test_keys_are_told_without_their_namespace(open_store, backend):
    watch = open_store(backend, prefix="ns/").watch("a")
    feed = backend.feed(0)
    assert feed.prefix == "ns/a"
    feed.deliver(Snapshot((item("ns/a1", 1),), 1), Changes((Deleted("ns/a1", 2), item("ns/a2", 2)), 2))
    assert [event.key for event in watch.next(5).events] == ["a1"]
    watch.next(5)
    assert [(event.type, event.key) for event in watch.next(5).events] == [
        (EventType.DELETE, "a1"),
        (EventType.CREATE, "a2"),
    ]


def test_a_second_consumer_is_refused_at_once_and_the_first_goes_on(backend, store):
    watch, feed = started(store, backend)
    got: list[object] = []
    reading = threading.Event()

    def consume():
        reading.set()
        got.append(watch.next(10))

    first = threading.Thread(target=consume)
    first.start()
    reading.wait(5)
    until(lambda: watch._consumer.taken)
    with pytest.raises(InvalidArgument, match="one consumer at a time"):
        watch.next(10)
    feed.deliver(Changes((item("p/z", 99),), 99))
    first.join(10)
    assert kinds(got[0]) == [("create", "p/z", 99)]
    watch.close()
