"""One watch of one prefix or one key: its position in the change log, and what its sink has had."""

from __future__ import annotations

from collections.abc import Callable

from tenure.errors import TenureError
from tenure.spi import Bookmark, Changes, Deleted, Feed, KeyValue, Sink, WatchRequest


class SqliteFeed(Feed):
    """A position in the log, which every read has to find there again. Only the watch thread delivers."""

    def __init__(
        self,
        request: WatchRequest,
        sink: Sink,
        *,
        position: int,
        number: int,
        on_close: Callable[[SqliteFeed], None],
    ) -> None:
        self._prefix = request.prefix
        self._exact = request.exact
        self._sink = sink
        self._on_close = on_close
        self._caught_up = False
        self._untold = 0  # transactions that the sink has not heard of
        self.position = position
        self.number = number

    def offer(self, revision: int, entries: list[KeyValue | Deleted]) -> None:
        if revision <= self.position:
            return
        self.position = revision
        mine = tuple(entry for entry in entries if self._watches(entry.key))
        if mine:
            self._untold = 0
            self._sink.deliver(Changes(mine, revision))
        else:
            self._untold += 1

    def _watches(self, key: str) -> bool:
        return key == self._prefix if self._exact else key.startswith(self._prefix)

    def catch_up(self, revision: int, *, bookmark_every: int) -> None:
        """There is nothing more up to ``revision``; the first time, and now and then, the sink is told so."""
        self.position = revision
        if not self._caught_up or self._untold >= bookmark_every:
            self._caught_up, self._untold = True, 0
            self._sink.deliver(Bookmark(revision))

    def fail(self, error: TenureError) -> None:
        self._sink.fail(error)

    def close(self) -> None:
        self._on_close(self)
