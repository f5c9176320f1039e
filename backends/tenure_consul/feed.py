"""One watch of one prefix: a place in the list of the poller that reads the prefix for all of them."""

from __future__ import annotations

from collections.abc import Callable

from tenure.spi.feed import Feed, Sink


class ConsulFeed(Feed):
    """What the poller delivers goes to ``sink``."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self.on_close: Callable[[ConsulFeed], None] | None = None
        """Takes the feed off its poller; set before it joins one."""

    def close(self) -> None:
        if self.on_close is not None:
            self.on_close(self)
