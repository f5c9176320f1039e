"""The last committed transactions: what a watch resumes from, and the way back to a past state."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from tenure.errors import Compacted
from tenure.spi import Deleted, KeyValue


@dataclass(frozen=True, slots=True)
class Change:
    """One committed transaction: what it wrote, and what stood there before, entry by entry."""

    revision: int
    entries: tuple[KeyValue | Deleted, ...]
    before: tuple[KeyValue | None, ...]


MAX_BYTES = 64 * 1024 * 1024


class History:
    """A window of the most recent changes: ``limit`` of them, fewer where their values fill ``MAX_BYTES``.

    Not thread-safe: the server's lock guards it.

    ``start`` is the oldest revision whose state is still known: one below the oldest change kept.
    """

    def __init__(self, limit: int, *, start: int = 0) -> None:
        self._changes: deque[Change] = deque()
        self._limit = limit
        self._bytes = 0
        self.start = start

    def append(self, change: Change) -> None:
        if not self._changes or self._changes[-1] is not change:
            self._changes.append(change)
            self._bytes += _size(change)
        while len(self._changes) > self._limit or (self._bytes > MAX_BYTES and len(self._changes) > 1):
            oldest = self._changes.popleft()
            self._bytes -= _size(oldest)
            self.start = oldest.revision

    def forget(self) -> None:
        """Compact: only the present state is known from here on."""
        if self._changes:
            self.start = self._changes[-1].revision
        self._changes.clear()
        self._bytes = 0

    def since(self, revision: int, *, present: int) -> Iterator[Change]:
        """The changes after ``revision``, oldest first; raises ``Compacted`` where they aren't all there."""
        self._require(revision, present)
        # Each revision has exactly one change, so the number of those to skip is known.
        return islice(self._changes, len(self._changes) - (present - revision), None)

    def at(self, revision: int, *, present: int) -> dict[str, KeyValue | None]:
        """How the keys changed since then looked at ``revision``; keys not in the answer look as they do now."""
        self._require(revision, present)
        past: dict[str, KeyValue | None] = {}
        for change in islice(reversed(self._changes), present - revision):
            for entry, before in zip(change.entries, change.before, strict=True):
                past[entry.key] = before
        return past

    def _require(self, revision: int, present: int) -> None:
        if revision < self.start:
            raise Compacted(
                f"revision {revision} has left the store's history, which begins at {self.start}: read again",
                oldest_revision=self.start,
            )
        if revision > present:
            raise Compacted(
                f"revision {revision} isn't of this store's history, which is at {present}: read again",
                oldest_revision=self.start,
            )


def _size(change: Change) -> int:
    return sum(len(entry.value) for entry in change.entries if isinstance(entry, KeyValue))
