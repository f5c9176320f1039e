"""One watch of one prefix: its range on a stream, and how far its sink has been served."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tenure.spi.feed import Feed, Sink


class EtcdFeed(Feed):
    """Its fields belong to the stream's reader thread after it was added."""

    __slots__ = ("after", "closed", "created", "end", "on_close", "parts", "sink", "start", "watch_id")

    def __init__(self, start: bytes, end: bytes, after: int, sink: Sink) -> None:
        self.start, self.end = start, end
        self.after = after
        """Everything up to this revision was delivered."""
        self.sink = sink
        self.parts: list[Any] = []
        self.created = self.closed = False
        self.watch_id = 0
        self.on_close: Callable[[EtcdFeed], None] | None = None
        """Takes the feed off its stream; set by the stream that it is added to."""

    def close(self) -> None:
        self.closed = True
        if self.on_close is not None:
            self.on_close(self)
