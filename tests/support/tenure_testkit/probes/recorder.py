"""A sink that keeps everything."""

import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from tenure.errors import TenureError
from tenure.spi import Bookmark, Changes, Deleted, FeedItem, KeyValue, Snapshot
from tenure_testkit.waiting import PATIENCE

T = TypeVar("T")


class Recorder:
    """Keeps what a feed delivers, how it failed and when, and can be waited on."""

    def __init__(self) -> None:
        self.items: list[FeedItem] = []
        self.errors: list[TenureError] = []
        self.failed_at = 0.0
        self._changed = threading.Condition()

    def deliver(self, item: FeedItem, /) -> None:
        with self._changed:
            self.items.append(item)
            self._changed.notify_all()

    def fail(self, error: TenureError, /) -> None:
        with self._changed:
            self.errors.append(error)
            self.failed_at = time.monotonic()
            self._changed.notify_all()

    def wait(self, probe: Callable[["Recorder"], T], timeout: float = PATIENCE) -> T:
        """Wait until `probe` is true and return what it answered; fail the test after `timeout` seconds."""
        with self._changed:
            answer = self._changed.wait_for(lambda: probe(self), timeout)
            assert answer, f"not within {timeout} s; errors {self.errors}, {len(self.items)} items: {self.items[-10:]}"
        return answer

    def items_when(self, probe: Callable[[list[FeedItem]], object], timeout: float = PATIENCE) -> list[FeedItem]:
        """Wait until `probe` is true of the items, and return them as they were then."""
        return self.wait(lambda r: list(r.items) if probe(r.items) else [], timeout)

    def error(self, timeout: float = PATIENCE) -> TenureError:
        """The error that ended the feed, waited for."""
        return self.wait(lambda r: r.errors, timeout)[0]

    @property
    def entries(self) -> list[KeyValue | Deleted]:
        """All changes, in order."""
        return [entry for item in list(self.items) if isinstance(item, Changes) for entry in item.entries]

    @property
    def snapshot(self) -> Snapshot:
        """The first item."""
        first = self.items[0]
        assert isinstance(first, Snapshot)
        return first

    @property
    def last_revision(self) -> int:
        """Where a feed that takes over has to go on."""
        return self.items[-1].revision if self.items else 0

    def of(self, kind: type[Snapshot] | type[Changes] | type[Bookmark]) -> list[Any]:
        """All items of one kind."""
        return [item for item in list(self.items) if isinstance(item, kind)]

    def state(self) -> dict[str, int]:
        """Keys and revisions as the items so far add up."""
        known: dict[str, int] = {}
        for item in list(self.items):
            if isinstance(item, Snapshot):
                known = {one.key: one.mod_revision for one in item.items}
            elif isinstance(item, Changes):
                for entry in item.entries:
                    if isinstance(entry, Deleted):
                        known.pop(entry.key, None)
                    else:
                        known[entry.key] = entry.mod_revision
        return known
