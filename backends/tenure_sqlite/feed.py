"""One watch of one prefix: its position in the change log, and what its sink has had."""

from __future__ import annotations

from collections.abc import Callable

from tenure.errors import TenureError
from tenure.spi import Bookmark, Changes, Deleted, Feed, KeyValue, Sink


class SqliteFeed(Feed):
    """A position in the log of the file that is the ``history``-th at its path. Only the watch thread delivers."""

    def __init__(
        self,
        prefix: str,
        sink: Sink,
        *,
        position: int,
        history: int,
        number: int,
        on_close: Callable[[SqliteFeed], None],
    ) -> None:
        self._prefix = prefix
        self._sink = sink
        self._on_close = on_close
        self._delivered: int | None = None  # the revision that the sink knows of, once it has caught up
        self.position = position
        self.history = history
        self.number = number

    def offer(self, revision: int, entries: list[KeyValue | Deleted]) -> None:
        if revision <= self.position:
            return
        self.position = revision
        mine = tuple(entry for entry in entries if entry.key.startswith(self._prefix))
        if mine:
            if self._delivered is not None:
                self._delivered = revision
            self._sink.deliver(Changes(mine, revision))

    def catch_up(self, revision: int, *, bookmark_every: int) -> None:
        """There is nothing more up to ``revision``; the first time, and now and then, the sink is told so."""
        self.position = revision
        if self._delivered is None or revision - self._delivered >= bookmark_every:
            self._delivered = revision
            self._sink.deliver(Bookmark(revision))

    def fail(self, error: TenureError) -> None:
        self._sink.fail(error)

    def close(self) -> None:
        self._on_close(self)
