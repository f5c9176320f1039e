"""A history that was replaced: what core refuses, what a watch delivers, and what feeds get back to prove theirs."""

from __future__ import annotations

import pytest

from tenure import BatchType
from tenure.errors import Compacted, Conflict, HistoryReplaced, Unavailable
from tenure.spi import Bookmark, Changes, CommitResult, ReadResult, Snapshot

from .doubles import ScriptedBackend, item
from .watching import kinds, reopen, started

# -- watches ---------------------------------------------------------------------------------------


def test_a_resumed_feed_gets_the_mark_of_what_was_delivered_last(store, backend):
    watch, feed = started(store, backend, item("a", 1))
    feed.deliver(Changes((item("b", 6),), 6, "six"), Changes((item("c", 7),), 7, "seven"))
    feed.fail(Unavailable("cut"))
    assert kinds(watch.next(5)) == [("create", "b", 6)]
    assert kinds(watch.next(5)) == [("create", "c", 7)]
    reopen(watch, backend)
    assert (backend.feed(1).request.after, backend.feed(1).request.mark) == (7, "seven")
    backend.feed(1).deliver(Bookmark(9, "nine"))
    backend.feed(1).fail(Unavailable("cut"))
    reopen(watch, backend, 3)
    assert (backend.feed(2).request.after, backend.feed(2).request.mark) == (9, "nine")


@pytest.mark.parametrize("raised", [True, False])
@pytest.mark.parametrize("unique", [True, False])
def test_a_replaced_history_is_a_resync_with_the_difference(open_store, raised, unique):
    backend = ScriptedBackend(unique_revisions=unique)
    watch, feed = started(open_store(backend), backend, item("a", 1, b"same"), item("b", 2, b"old"), item("c", 3))
    error = HistoryReplaced("the server is another one")
    if raised:
        backend.script("watch", error)
    feed.fail(Unavailable("cut") if raised else error)
    reopen(watch, backend)
    assert (backend.feed(1).request.after, backend.feed(1).request.mark) == (None, "")
    # Where revisions may repeat, "b" has one that was used for another value.
    new = item("b", 4 if unique else 2, b"new", created=2)
    backend.feed(1).deliver(Snapshot((item("a", 1, b"same"), new), 4))
    batch = watch.next(5)
    assert batch.type is BatchType.RESYNC
    assert "replaced" in batch.reason
    assert [(event.type.value, event.key) for event in batch.events] == [("update", "b"), ("delete", "c")]


def test_a_repeated_revision_shows_in_any_snapshot(open_store):
    """Also where no error says so: a store that can't resume begins with a snapshot after each break."""
    backend = ScriptedBackend(lossless_watch=False)
    watch, feed = started(open_store(backend), backend, item("a", 2, b"old"), item("b", 2, b"", created=1))
    feed.fail(Unavailable("cut"))
    reopen(watch, backend)
    backend.feed(1).deliver(Snapshot((item("a", 2, b"new"), item("b", 2, b"", created=2)), 2))
    assert [(event.type.value, event.key) for event in watch.next(5).events] == [("update", "a"), ("update", "b")]


def test_an_application_that_resumes_in_a_lost_history_is_refused(store, backend):
    backend.script("watch", HistoryReplaced("the server is another one"))
    with pytest.raises(HistoryReplaced) as caught:
        store.watch("", after=7)
    assert isinstance(caught.value, Compacted)


def test_an_exact_watch_delivers_one_key_whatever_the_feed_does(open_store):
    backend = ScriptedBackend()
    store = open_store(backend, prefix="ns/")
    watch = store.watch("a", exact=True)
    feed = backend.feed(0)
    assert (feed.request.prefix, feed.request.exact) == ("ns/a", True)
    feed.deliver(Snapshot((item("ns/a", 1), item("ns/ab", 2)), 5))
    assert kinds(watch.next(5)) == [("create", "a", 1)]
    assert watch.next(5).type is BatchType.SYNCED
    feed.deliver(Changes((item("ns/a/b", 6),), 6), Changes((item("ns/ab", 7), item("ns/a", 7)), 7))
    assert kinds(watch.next(5)) == [("update", "a", 7)]
    assert watch.revision == 7


# -- compare-and-set -------------------------------------------------------------------------------


def test_a_revision_read_before_is_refused_once_the_history_was_replaced(open_store):
    backend = ScriptedBackend()
    store = open_store(backend, prefix="ns/")
    backend.always("get", lambda key, timeout: ReadResult(item(key, 2), 2))
    old = store.get("a")
    backend.present_history = "another"
    with pytest.raises(Conflict, match="lost or replaced") as caught:
        store.put_if_unchanged("a", b"", revision=old.mod_revision)
    assert caught.value.keys == ("a",)
    assert not backend.count("commit")
    with pytest.raises(Conflict):  # still not read again
        store.delete("a", revision=old.mod_revision)
    again = store.get("a")
    store.put_if_unchanged("a", b"", revision=again.mod_revision)
    assert backend.count("commit") == 1


def test_what_this_store_wrote_or_listed_since_counts_as_read(open_store):
    backend = ScriptedBackend()
    store = open_store(backend)
    backend.present_history = "another"
    with pytest.raises(Conflict):
        store.put_if_unchanged("a", b"", revision=1)
    written = store.put("a", b"")
    store.put_if_unchanged("a", b"", revision=written.revision)
    backend.present_history = "yet another"
    with pytest.raises(Conflict):
        store.put_if_unchanged("a", b"", revision=written.revision)


def test_a_backend_that_notices_at_the_commit_sends_nothing_and_core_decides(store, backend):
    def notice(transaction, timeout):
        backend.present_history = "another"
        raise HistoryReplaced("the server is another one")

    backend.script("commit", notice)
    with pytest.raises(Conflict, match="lost or replaced"):
        store.put_if_unchanged("a", b"", revision=3)
    backend.present_history = ""
    # Without a revision there is nothing to refuse: it is committed again.
    backend.script("commit", notice, CommitResult(9))
    assert store.put("b", b"").revision == 9


def test_where_revisions_are_unique_nothing_is_refused(open_store):
    backend = ScriptedBackend(unique_revisions=True)
    store = open_store(backend)
    backend.present_history = "another"
    store.put_if_unchanged("a", b"", revision=1)
