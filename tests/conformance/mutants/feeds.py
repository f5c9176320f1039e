"""Stores that tell their watchers something wrong."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from queue import SimpleQueue

from tenure.errors import Compacted
from tenure.spi import Changes, Deleted, Feed, FeedItem, KeyValue, Sink, Snapshot, WatchRequest

from .base import BentFeed, BentWatch, Faithful

_LATE = 0.6
"""Seconds; more than is declared and forgiven."""
_FEW = 50


class DeletesAreDropped(BentWatch):
    """Every third delete is told to nobody."""

    rules = ("watches.watchers_converge",)

    def changes(self, item: Changes, feed: BentFeed) -> Sequence[FeedItem]:
        only_deletes = all(isinstance(entry, Deleted) for entry in item.entries)
        return [] if only_deletes and next(feed.count) % 3 == 0 else [item]


class ChangesAreDropped(BentWatch):
    """Every eleventh transaction is told to nobody: a gap without a word."""

    rules = ("watches.see_every_transaction_whole",)

    def changes(self, item: Changes, feed: BentFeed) -> Sequence[FeedItem]:
        return [] if next(feed.count) % 11 == 0 else [item]


class ChangesAreSwapped(BentWatch):
    """Now and then a transaction is told after the one that followed it."""

    rules = ("watches.see_every_transaction_whole",)

    def changes(self, item: Changes, feed: BentFeed) -> Sequence[FeedItem]:
        held = feed.known.pop("held", None)
        if held is None and next(feed.count) % 5 == 0:
            feed.known["held"] = item
            return []
        return [item] if held is None else [item, held]


class TransactionIsTorn(BentWatch):
    """The changes of a transaction come one by one."""

    rules = ("watches.see_every_transaction_whole",)

    def changes(self, item: Changes, feed: BentFeed) -> Sequence[FeedItem]:
        return [Changes((entry,), item.revision) for entry in item.entries]


class ChangesAreCoalesced(BentWatch):
    """Declares lossless_watch, and tells of two writes of a key in quick succession only the later one."""

    rules = ("watches.see_every_transaction_whole",)

    def changes(self, item: Changes, feed: BentFeed) -> Sequence[FeedItem]:
        held: Changes | None = feed.known.pop("held", None)
        if held is None and next(feed.count) % 4 == 0:
            feed.known["held"] = item
            return []
        if held is None:
            return [item]
        later = {entry.key for entry in item.entries}
        merged = tuple(entry for entry in held.entries if entry.key not in later) + item.entries
        return [Changes(merged, item.revision)]


class ValueIsWrong(BentWatch):
    """Every ninth put is told with a value that nobody wrote."""

    rules = ("watches.nothing_is_invented",)

    def changes(self, item: Changes, feed: BentFeed) -> Sequence[FeedItem]:
        first, *rest = item.entries
        if isinstance(first, KeyValue) and next(feed.count) % 9 == 0:
            first = first._replace(value=first.value + b"?")
        return [Changes((first, *rest), item.revision)]


class DeleteIsInvented(BentWatch):
    """Some puts are told as deletes."""

    rules = ("watches.nothing_is_invented",)

    def changes(self, item: Changes, feed: BentFeed) -> Sequence[FeedItem]:
        first, *rest = item.entries
        if isinstance(first, KeyValue) and next(feed.count) % 9 == 0:
            return [Changes((Deleted(first.key, first.mod_revision), *rest), item.revision)]
        return [item]


class SnapshotLacksTheLast(BentWatch):
    """The state that a watch begins with lacks its last key."""

    rules = ("watches.begin_with_the_present_state",)

    def snapshot(self, item: Snapshot, feed: BentFeed) -> Sequence[FeedItem]:
        return [Snapshot(item.items[:-1], item.revision)]


class GapAfterTheSnapshot(BentWatch):
    """What is committed while a watch opens falls between its state and its changes."""

    rules = ("watches.see_every_transaction_whole",)

    def snapshot(self, item: Snapshot, feed: BentFeed) -> Sequence[FeedItem]:
        feed.known["fresh"] = len(item.items) > 2
        return [item]

    def changes(self, item: Changes, feed: BentFeed) -> Sequence[FeedItem]:
        return [] if feed.known.pop("fresh", False) else [item]


class NothingHasNoState(BentWatch):
    """A watch of a prefix without keys isn't told that there are none."""

    rules = ("watches.begin_empty_where_nothing_is",)

    def snapshot(self, item: Snapshot, feed: BentFeed) -> Sequence[FeedItem]:
        return [item] if item.items else []


class IdenticalPutIsNotTold(BentWatch):
    """A put that leaves the value as it was is not told."""

    rules = ("watches.tell_an_identical_put",)

    def snapshot(self, item: Snapshot, feed: BentFeed) -> Sequence[FeedItem]:
        feed.known.update({each.key: each.value for each in item.items})
        return [item]

    def changes(self, item: Changes, feed: BentFeed) -> Sequence[FeedItem]:
        new = tuple(
            each for each in item.entries if isinstance(each, Deleted) or feed.known.get(each.key) != each.value
        )
        feed.known.update({each.key: getattr(each, "value", None) for each in item.entries})
        return [Changes(new, item.revision)] if new else []


class DeletesComeAsPuts(BentWatch):
    """A delete is told as a put of an empty value."""

    rules = ("watches.tell_create_update_delete",)

    def changes(self, item: Changes, feed: BentFeed) -> Sequence[FeedItem]:
        entries = (
            KeyValue(each.key, b"", each.revision, each.revision) if isinstance(each, Deleted) else each
            for each in item.entries
        )
        return [Changes(tuple(entries), item.revision)]


class SiblingsAreTold(BentWatch):
    """A watch of 'a/' is told the changes of 'a0' as well."""

    rules = ("watches.keep_to_their_prefix",)

    def watch(self, request: WatchRequest, *, sink: Sink, timeout: float) -> Feed:
        return self.inner.watch(
            WatchRequest(prefix=request.prefix.rstrip("/"), after=request.after), sink=sink, timeout=timeout
        )


class WatchIsLate(BentWatch):
    """Changes are told six tenths of a second after they were made, which isn't declared."""

    rules = ("watches.are_quick",)

    def changes(self, item: Changes, feed: BentFeed) -> Sequence[FeedItem]:
        queue: SimpleQueue[Changes] = feed.known.setdefault("late", SimpleQueue())
        queue.put(item)
        timer = threading.Timer(_LATE, lambda: feed.sink.deliver(queue.get()))
        timer.daemon = True
        timer.start()
        return []


class FewWatchesWork(BentWatch):
    """A watch opened while fifty others are open tells the state and no change."""

    rules = ("watches.many_at_once_all_work",)

    def watch(self, request: WatchRequest, *, sink: Sink, timeout: float) -> Feed:
        bent = BentFeed(self, sink)
        bent.known["dead"] = len(self.server._watches) >= _FEW
        return self.inner.watch(request, sink=bent, timeout=timeout)

    def changes(self, item: Changes, feed: BentFeed) -> Sequence[FeedItem]:
        return [] if feed.known["dead"] else [item]


class ResumeIsTooLate(Faithful):
    """A watch after a revision begins with the one after the next."""

    rules = ("watches.resume_after_any_revision_exactly",)

    def watch(self, request: WatchRequest, *, sink: Sink, timeout: float) -> Feed:
        later = request.after + 1 if request.after is not None and request.after < self.present else request.after
        return self.inner.watch(WatchRequest(prefix=request.prefix, after=later), sink=sink, timeout=timeout)


class ResumeIsAtThePresent(Faithful):
    """A watch after a past revision begins with the next change that is made."""

    rules = ("watches.resume_after_any_revision_exactly",)

    def watch(self, request: WatchRequest, *, sink: Sink, timeout: float) -> Feed:
        present = None if request.after is None else max(request.after, self.present)
        return self.inner.watch(WatchRequest(prefix=request.prefix, after=present), sink=sink, timeout=timeout)


class FirstAfterThePresentIsLost(BentWatch):
    """A watch after the present revision misses the first change."""

    rules = ("watches.resume_at_the_present",)

    def watch(self, request: WatchRequest, *, sink: Sink, timeout: float) -> Feed:
        bent = BentFeed(self, sink)
        bent.known["skip"] = request.after is not None and request.after == self.present
        return self.inner.watch(request, sink=bent, timeout=timeout)

    def changes(self, item: Changes, feed: BentFeed) -> Sequence[FeedItem]:
        return [] if feed.known.pop("skip", False) else [item]


class FutureIsThePresent(Faithful):
    """A watch after a revision that the store hasn't reached begins at the present."""

    rules = ("watches.resume_from_the_future_is_compacted",)

    def watch(self, request: WatchRequest, *, sink: Sink, timeout: float) -> Feed:
        known = None if request.after is None else min(request.after, self.present)
        return self.inner.watch(WatchRequest(prefix=request.prefix, after=known), sink=sink, timeout=timeout)


class ForgottenIsThePresent(Faithful):
    """A watch after a revision that the store has forgotten begins at the present: a gap without a word."""

    rules = ("watches.resume_from_a_forgotten_revision_is_compacted",)

    def watch(self, request: WatchRequest, *, sink: Sink, timeout: float) -> Feed:
        try:
            return self.inner.watch(request, sink=sink, timeout=timeout)
        except Compacted:
            if request.after is not None and request.after > self.present:
                raise
            return self.inner.watch(WatchRequest(prefix=request.prefix, after=self.present), sink=sink, timeout=timeout)


class LargeTransactionsComeInPieces(BentWatch):
    """A change of more than a hundred keys is delivered in pieces of a hundred."""

    rules = ("watches.resume_over_a_large_backlog",)

    def changes(self, item: Changes, feed: BentFeed) -> Sequence[FeedItem]:
        pieces = [item.entries[start : start + 100] for start in range(0, len(item.entries), 100)]
        return [Changes(piece, item.revision) for piece in pieces]


MUTANTS: tuple[type[Faithful], ...] = (
    LargeTransactionsComeInPieces,
    DeletesAreDropped,
    ChangesAreDropped,
    ChangesAreSwapped,
    TransactionIsTorn,
    ChangesAreCoalesced,
    ValueIsWrong,
    DeleteIsInvented,
    SnapshotLacksTheLast,
    GapAfterTheSnapshot,
    NothingHasNoState,
    IdenticalPutIsNotTold,
    DeletesComeAsPuts,
    SiblingsAreTold,
    WatchIsLate,
    FewWatchesWork,
    ResumeIsTooLate,
    ResumeIsAtThePresent,
    FirstAfterThePresentIsLost,
    FutureIsThePresent,
    ForgottenIsThePresent,
)
