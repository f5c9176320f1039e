"""Steps that the scenes about watches share."""

from __future__ import annotations

from tenure import BatchType
from tenure.spi import Snapshot
from tenure_testkit.waiting import until


def kinds(batch):
    return [(event.type.value, event.key, event.revision) for event in batch.events]


def started(store, backend, *items, number=0, revision=5, **arguments):
    """A watch that has told its snapshot, and its feed."""
    watch = store.watch("", **arguments)
    feed = backend.feed(number)
    feed.deliver(Snapshot(items, revision))
    assert watch.next(5).type is BatchType.SNAPSHOT
    assert watch.next(5).type is BatchType.SYNCED
    return watch, feed


def reopen(watch, backend, number=2):
    """Let the watch, which has nothing to tell, open feed after feed, until it has opened ``number``."""
    until(lambda: watch.next(0.02) is None and len(backend.feeds) == number)
