"""One watch of one prefix: its range on a stream, how far its sink has been served, and what proves that later."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from tenure.spi.feed import Bookmark, Changes, Deleted, Feed, FeedItem, Sink, Snapshot
from tenure.spi.types import KeyValue
from tenure_etcd.encoding import item
from tenure_etcd.history import Mark, Moment, Witness, content_of, mark_head, mark_tail
from tenure_etcd.keys import key_of
from tenure_etcd.messages import MESSAGES

_DELETE = MESSAGES["Event"].DELETE

_OVERLAP = 1000
"""Revisions before its start that a resumed feed is sent once more. No change may be among them: its prefix was quiet
since the last one that was delivered. So a history whose last revisions were lost, and used again, shows itself."""


class EtcdFeed(Feed):
    """Its fields belong to the stream's reader thread after it was added."""

    __slots__ = (
        "_head",
        "_quiet_since",
        "_surplus",
        "_tail",
        "after",
        "begin",
        "closed",
        "created",
        "end",
        "moment",
        "on_close",
        "parts",
        "sink",
        "start",
        "watch_id",
    )

    def __init__(  # noqa: PLR0917 - what a feed is
        self,
        start: bytes,
        end: bytes,
        after: int,
        sink: Sink,
        moment: Moment,
        surplus: int | None = None,
    ) -> None:
        self.start, self.end = start, end
        self.after = after
        """Everything up to this revision was delivered."""
        self.begin = after + 1
        """The revision at which the server begins to send."""
        self.moment = moment
        """A moment of the feed's history, with the latest term that an answer told."""
        self.sink = sink
        self.parts: list[Any] = []
        self.created = self.closed = False
        self.watch_id = -1
        """What the server calls it, once it was created."""
        self.on_close: Callable[[EtcdFeed], None] | None = None
        """Takes the feed off its stream; set by the stream that it is added to."""
        self._surplus = surplus
        self._quiet_since = after
        self._head, self._tail = mark_head(moment, surplus), ""

    def resume(self, mark: Mark | None) -> None:
        """Go on where the feed before was, whose mark is proven."""
        if mark is None:
            return
        self._quiet_since, self._tail = mark.quiet_since, mark_tail(mark.witness)
        self.begin = max(mark.quiet_since, self.after - _OVERLAP) + 1

    def snapshot(self, found: Iterable[KeyValue]) -> Snapshot:
        """The first item of a feed that begins with the state at ``after``."""
        items = tuple(found)
        if items:
            last = max(items, key=_revision)
            self._tail = mark_tail(Witness(last.key, last.mod_revision, content_of(last)))
        else:
            self._tail = mark_tail(Witness("", self.after, None))
        return Snapshot(items, self.after, self._mark())

    def changes(self, events: list[Any], term: int) -> FeedItem:
        """The next item, of whole transactions."""
        try:
            entries = tuple(_entry(event) for event in events)
        except UnicodeDecodeError:
            entries = tuple(_entry(event) for event in events if key_of(event.kv.key) is not None)
        self.after = self._quiet_since = events[-1].kv.mod_revision
        if term > self.moment.term:
            self.moment = self.moment._replace(term=term)
            self._head = mark_head(self.moment, self._surplus)
        if not entries:
            return Bookmark(self.after, self._mark())
        last = entries[-1]
        # As in ``mark_tail``, for each change pays for it.
        if isinstance(last, Deleted):
            self._tail = f",{last.revision},,{last.key}"
        else:
            self._tail = f",{last.mod_revision},{content_of(last)},{last.key}"
        return Changes(entries, self.after, f"{self._head},{self._quiet_since}{self._tail}")

    def bookmark(self, revision: int) -> Bookmark:
        """Everything up to ``revision`` was delivered."""
        self.after = revision
        return Bookmark(revision, self._mark())

    def _mark(self) -> str:
        return f"{self._head},{self._quiet_since}{self._tail}"

    def close(self) -> None:
        self.closed = True
        if self.on_close is not None:
            self.on_close(self)


def _entry(event: Any) -> KeyValue | Deleted:
    kv = event.kv
    return Deleted(kv.key.decode(), kv.mod_revision) if event.type == _DELETE else item(kv)


def _revision(found: KeyValue) -> int:
    return found.mod_revision
