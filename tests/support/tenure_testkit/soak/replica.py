"""What a watch has delivered: a copy of its keys, and every way in which its batches break a promise.

- The first batch is a snapshot. Revisions of a key only grow, unless a gap was reported in between.
- A create is of a key that wasn't there; an update or a delete is of one that was.
- Where every revision is shown, each acknowledged write after the last gap was delivered.
- At a quiet moment the copy equals a fresh list.
"""

from __future__ import annotations

from collections.abc import Iterable

from tenure import Batch, BatchType, EventType, KeyValue


class Replica:
    """The state that a consumer of one watch has built up."""

    def __init__(self, name: str, *, lossless: bool) -> None:
        self.name = name
        self.items: dict[str, KeyValue] = {}
        self.problems: list[str] = []
        self.batches = 0
        self.gaps = 0
        self.complete_since = 0
        """Every change after this revision has to be delivered, if the store shows every revision."""
        self.revision = 0
        self._lossless = lossless
        self._revisions: dict[str, int] = {}
        self._delivered: set[tuple[str, int]] = set()

    def apply(self, batch: Batch) -> None:
        """Take one batch."""
        if (batch.type is BatchType.SNAPSHOT) != (self.batches == 0):
            self._problem(f"batch {self.batches} is a {batch.type}")
        self.batches += 1
        if batch.type is BatchType.RESYNC:
            self.gaps += 1
            self._revisions.clear()
        elif batch.revision < self.revision:
            self._problem(f"the revision fell from {self.revision} to {batch.revision} without a gap")
        for event in batch.events:
            before = self._revisions.get(event.key, 0)
            if event.revision <= before:
                self._problem(f"{event.type} of {event.key} at revision {event.revision} came after {before}")
            if (event.type is EventType.CREATE) == (event.key in self.items):
                self._problem(
                    f"{event.type} of {event.key}, which was {'' if event.key in self.items else 'not '}there"
                )
            self._revisions[event.key] = event.revision
            if event.item is None:
                self.items.pop(event.key, None)
            else:
                self.items[event.key] = event.item
                self._delivered.add((event.key, event.item.mod_revision))
        self.revision = batch.revision
        if batch.type in (BatchType.SNAPSHOT, BatchType.RESYNC):
            self.complete_since = batch.revision
            self._delivered.clear()

    def _problem(self, what: str) -> None:
        self.problems.append(f"watch {self.name}: {what}")

    def difference(self, listed: Iterable[KeyValue]) -> list[str]:
        """Where the copy isn't the list."""
        fresh = {item.key: (item.value, item.mod_revision) for item in listed}
        mine = {key: (item.value, item.mod_revision) for key, item in self.items.items()}
        wrong = sorted(key for key in fresh.keys() | mine.keys() if fresh.get(key) != mine.get(key))
        return [f"watch {self.name} has {key} as {mine.get(key)}, listed is {fresh.get(key)}" for key in wrong]

    def missing(self, acknowledged: Iterable[tuple[str, int]]) -> list[str]:
        """Acknowledged puts since the last gap that were never delivered; to be asked when it has caught up."""
        if not self._lossless:
            return []
        return [
            f"watch {self.name} never delivered {key} at revision {revision}, and reported no gap after it"
            for key, revision in acknowledged
            if self.complete_since < revision <= self.revision and (key, revision) not in self._delivered
        ]

    def forget_delivered(self) -> None:
        """Start over with what has to be delivered, at a moment when all was."""
        self.complete_since = self.revision
        self._delivered.clear()
