"""Plugins that break the SPI where core would hide it, and that declare what isn't so."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import ClassVar
from unittest.mock import patch

from tenure.conformance.harness import assertions
from tenure.errors import StoreClosed, TenureError
from tenure.spi import (
    Bookmark,
    Capabilities,
    Changes,
    Feed,
    FeedItem,
    ListRequest,
    Page,
    ReadResult,
    ServerInfo,
    Sink,
    Snapshot,
    WatchRequest,
)

from .base import BentFeed, BentWatch, Faithful

_TOO_LONG = 3.0
"""Seconds, where two are forgiven."""


class ValuesAreTooSmall(Faithful):
    """Declares that values may have 64 KiB, less than every store has to take."""

    rules = ("spi.capabilities_make_sense",)
    declares: ClassVar = {"max_value_bytes": 64 * 1024}


class CapabilitiesVary(Faithful):
    """Each connection declares something else."""

    rules = ("spi.capabilities_make_sense",)
    count = itertools.count(1)

    @property
    def capabilities(self) -> Capabilities:
        return dataclasses.replace(self.inner.capabilities, expiry_slack=0.25 + next(self.count))


class RequirementsAreIgnored(Faithful):
    """A store opens whatever is required of it."""

    rules = ("spi.requirements_are_checked_by_what_is_declared",)

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        return patch.object(Capabilities, "require", lambda *_, **__: None)


class PastPagesShowThePresent(Faithful):
    """Declares consistent_pagination, and lists the present whatever revision is asked for."""

    rules = ("spi.pages_at_a_revision_work_or_are_refused",)

    def list(self, request: ListRequest, *, timeout: float) -> Page:
        return self.inner.list(
            ListRequest(prefix=request.prefix, after=request.after, limit=request.limit), timeout=timeout
        )


class UndeclaredPagesAreHalfDone(Faithful):
    """Doesn't declare consistent_pagination, and lists the present instead of refusing a past revision."""

    rules = ("spi.pages_at_a_revision_work_or_are_refused",)
    declares: ClassVar = {"consistent_pagination": False}

    def list(self, request: ListRequest, *, timeout: float) -> Page:
        return self.inner.list(
            ListRequest(prefix=request.prefix, after=request.after, limit=request.limit), timeout=timeout
        )


class ServerIsNameless(Faithful):
    """The server says neither what nor how old it is."""

    rules = ("spi.servers_describe_themselves",)

    def server_info(self, *, timeout: float) -> ServerInfo:
        return dataclasses.replace(self.inner.server_info(timeout=timeout), product="", version="")


class ServerRevisionIsOld(Faithful):
    """The server tells a revision from before the last write."""

    rules = ("spi.servers_describe_themselves",)

    def server_info(self, *, timeout: float) -> ServerInfo:
        info = self.inner.server_info(timeout=timeout)
        return dataclasses.replace(info, revision=info.revision - 1)


class DeadlinesAreIgnored(Faithful):
    """A read takes three seconds, whatever its timeout is."""

    rules = ("spi.deadlines_are_kept",)

    def get(self, key: str, *, timeout: float) -> ReadResult:
        if timeout < 1.0:
            time.sleep(_TOO_LONG)
        return self.inner.get(key, timeout=timeout)


class ErrorsAreForeign(Faithful):
    """A deadline that passes is an error of the client library."""

    rules = ("spi.deadlines_are_kept",)

    def list(self, request: ListRequest, *, timeout: float) -> Page:
        if timeout < 0.01:
            raise TimeoutError("timed out")
        return self.inner.list(request, timeout=timeout)


class BeginsWithABookmark(BentWatch):
    """A feed begins with a bookmark, and then comes the state."""

    rules = ("spi.feeds_begin_with_a_snapshot",)

    def snapshot(self, item: Snapshot, feed: BentFeed) -> Sequence[FeedItem]:
        return [Bookmark(item.revision), item]


class SnapshotIsUnordered(BentWatch):
    """The state that a feed begins with comes in another order than a list."""

    rules = ("spi.feeds_begin_with_a_snapshot",)

    def snapshot(self, item: Snapshot, feed: BentFeed) -> Sequence[FeedItem]:
        return [Snapshot(item.items[::-1], item.revision)]


class ChangesAreDoubled(BentWatch):
    """Every third transaction is told twice; core drops what it has told already."""

    rules = ("spi.feeds_resume_with_the_next_revision",)

    def changes(self, item: Changes, feed: BentFeed) -> Sequence[FeedItem]:
        return [item, item] if next(feed.count) % 3 == 0 else [item]


class ResumeIsTooEarly(Faithful):
    """A feed after a revision begins with that one; core drops what isn't after it."""

    rules = ("spi.feeds_resume_with_the_next_revision",)

    def watch(self, request: WatchRequest, *, sink: Sink, timeout: float) -> Feed:
        return self.inner.watch(
            WatchRequest(prefix=request.prefix, after=request.after - 1 if request.after else request.after),
            sink=sink,
            timeout=timeout,
        )


class ChangesHaveTheFirstRevision(BentWatch):
    """Several transactions in one item carry the revision of the first of them."""

    rules = ("spi.feeds_resume_with_the_next_revision",)

    def changes(self, item: Changes, feed: BentFeed) -> Sequence[FeedItem]:
        held: Changes | None = feed.known.pop("held", None)
        if held is None:
            feed.known["held"] = item
            return []
        return [Changes(held.entries + item.entries, held.revision)]


class BookmarksAreEarly(BentWatch):
    """A bookmark announces the next change before it has come."""

    rules = ("spi.feeds_bookmark_nothing_too_early",)

    def changes(self, item: Changes, feed: BentFeed) -> Sequence[FeedItem]:
        return [Bookmark(item.revision), item]


class ClosingAFeedClosesAll(Faithful):
    """Closing one feed ends the others of its connection."""

    rules = ("spi.feeds_close_in_bounded_time",)

    def watch(self, request: WatchRequest, *, sink: Sink, timeout: float) -> Feed:
        return _ClosesAll(self, self.inner.watch(request, sink=sink, timeout=timeout))


class _ClosesAll(Feed):
    def __init__(self, store: Faithful, feed: Feed) -> None:
        self.store = store
        self.feed = feed

    def close(self) -> None:
        self.feed.close()
        for feed in self.store.server._watches:
            feed.close()


class ClosingAFeedHangs(Faithful):
    """Closing a feed waits for a change that may never come."""

    rules = ("spi.feeds_close_in_bounded_time",)

    def watch(self, request: WatchRequest, *, sink: Sink, timeout: float) -> Feed:
        return _Hangs(self.inner.watch(request, sink=sink, timeout=timeout))


class _Hangs(Feed):
    def __init__(self, feed: Feed) -> None:
        self.feed = feed

    def close(self) -> None:
        time.sleep(1.5 * assertions.EVENT_TIMEOUT)
        self.feed.close()


class CutIsNotTold(BentWatch):
    """A feed whose connection breaks says nothing: it is silently dead."""

    rules = ("spi.feeds_fail_once_when_cut",)

    def failed(self, error: TenureError, feed: BentFeed) -> None:
        pass


class CutIsNotUnavailable(BentWatch):
    """A feed whose connection breaks ends as if the store had been closed."""

    rules = ("spi.feeds_fail_once_when_cut",)

    def failed(self, error: TenureError, feed: BentFeed) -> None:
        feed.sink.fail(StoreClosed("the connection is closed"))


class FailedFeedGoesOn(BentWatch):
    """A feed whose connection breaks says so and connects again by itself."""

    rules = ("spi.feeds_fail_once_when_cut",)

    def watch(self, request: WatchRequest, *, sink: Sink, timeout: float) -> Feed:
        bent = BentFeed(self, sink)
        bent.known["prefix"] = request.prefix
        return self.inner.watch(request, sink=bent, timeout=timeout)

    def failed(self, error: TenureError, feed: BentFeed) -> None:
        feed.sink.fail(error)
        # The server's lock is held here, so what watch() does can't be called.
        watches = self.server._watches
        revision = self.server._revision
        request = WatchRequest(prefix=feed.known["prefix"])
        watches.add(self.inner, watches.new(self.inner, request, feed, position=revision), revision)


class ClosedBackendAnswers(Faithful):
    """A closed backend goes on answering."""

    rules = ("spi.close_ends_everything",)

    def close(self) -> None:
        pass


class CloseFailsFeeds(BentWatch):
    """Closing a backend is told to its feeds as a failure."""

    rules = ("spi.close_ends_everything",)
    sinks: list[Sink]

    def watch(self, request: WatchRequest, *, sink: Sink, timeout: float) -> Feed:
        self.__dict__.setdefault("sinks", []).append(sink)
        return self.inner.watch(request, sink=sink, timeout=timeout)

    def close(self) -> None:
        self.inner.close()
        for sink in self.__dict__.get("sinks", ()):
            sink.fail(StoreClosed("closed"))


MUTANTS: tuple[type[Faithful], ...] = (
    ValuesAreTooSmall,
    CapabilitiesVary,
    RequirementsAreIgnored,
    PastPagesShowThePresent,
    UndeclaredPagesAreHalfDone,
    ServerIsNameless,
    ServerRevisionIsOld,
    DeadlinesAreIgnored,
    ErrorsAreForeign,
    BeginsWithABookmark,
    SnapshotIsUnordered,
    ChangesAreDoubled,
    ResumeIsTooEarly,
    ChangesHaveTheFirstRevision,
    BookmarksAreEarly,
    ClosingAFeedClosesAll,
    ClosingAFeedHangs,
    CutIsNotTold,
    CutIsNotUnavailable,
    FailedFeedGoesOn,
    ClosedBackendAnswers,
    CloseFailsFeeds,
)
