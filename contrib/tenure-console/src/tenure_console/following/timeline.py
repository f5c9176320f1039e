"""The last changes, with the values before and after, in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

MOST_CHANGES = 2000
MOST_BYTES = 16 * 2**20
_OVERHEAD = 400
"""Bytes that a change takes beside its key and values, roughly."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change of one key.

    Attributes:
        number: counts the changes that this process has seen.
        time: when it was seen, in seconds since 1970.
        revision: the revision of the change.
        kind: ``create``, ``update``, ``delete``, or ``gap``, which stands for changes that were not seen one by one.
        key: the key; for a gap its reason.
        before: the value before; ``None`` if there was none, or if it isn't kept.
        after: the value after; ``None`` if there is none, or if it isn't kept.
        before_size: bytes before; ``None`` if the key wasn't there.
        after_size: bytes after; ``None`` if the key is gone.
        lease_id: the lease of the key, before a delete.
        who: the author, as far as is known: the console's own user, or for a put the one that the entry belongs to.
            Empty if nothing is known. Of a delete under a lease nothing is: the lease may have expired.
        owner: of a delete, the one that the entry belonged to.
    """

    number: int
    time: float
    revision: int
    kind: str
    key: str
    before: bytes | None = None
    after: bytes | None = None
    before_size: int | None = None
    after_size: int | None = None
    lease_id: str | None = None
    who: str = ""
    owner: str = ""

    @property
    def comparable(self) -> bool:
        """Whether both values were kept, as far as there were any."""
        return (self.before is not None or self.before_size is None) and (
            self.after is not None or self.after_size is None
        )

    @property
    def bytes(self) -> int:
        """What it takes in memory, roughly."""
        return _OVERHEAD + len(self.key) + len(self.before or b"") + len(self.after or b"")


class Timeline:
    """The last changes. Not thread-safe: the picture's lock guards it."""

    def __init__(self, *, most: int = MOST_CHANGES, most_bytes: int = MOST_BYTES) -> None:
        self._changes: deque[Change] = deque()
        self._most, self._most_bytes, self._bytes = most, most_bytes, 0
        self.seen = 0

    def __len__(self) -> int:
        return len(self._changes)

    def __reversed__(self) -> Iterator[Change]:
        return reversed(self._changes)

    @property
    def bytes(self) -> int:
        """Bytes of all changes, roughly."""
        return self._bytes

    @property
    def forgotten(self) -> int:
        """The number of changes that were dropped for lack of room."""
        return self.seen - len(self._changes)

    def next_number(self) -> int:
        """Return the number of the next change."""
        self.seen += 1
        return self.seen

    def amend(self, change: Change, better: Change) -> None:
        """Put ``better`` in the place of ``change``, which is there."""
        self._changes[self._changes.index(change)] = better

    def add(self, change: Change) -> None:
        """Add a change, and drop the oldest ones that have no room any more."""
        self._changes.append(change)
        self._bytes += change.bytes
        while len(self._changes) > self._most or (self._bytes > self._most_bytes and len(self._changes) > 1):
            self._bytes -= self._changes.popleft().bytes
