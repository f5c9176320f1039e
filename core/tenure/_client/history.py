"""What follows when a store's history was replaced: revisions of the old history are refused, once for all stores.

A restored backup may use a revision of the old history for another change, and a compare-and-set on it would succeed on
a value that the caller has never read. Stores that declare ``unique_revisions`` can't do that. On the others the
backend reports a replaced history (``Backend.history``), and from then on each key has to be read again, or written, by
this store object before a revision of it counts.
"""

from __future__ import annotations

from collections.abc import Iterable

from tenure._runtime.monitor import Monitor
from tenure.errors import Conflict
from tenure.spi.backend import Backend
from tenure.spi.types import Precondition, RevisionEquals

_MOST_KEYS = 10_000
"""Keys remembered as read in the new history. One that is forgotten costs its next writer one more ``Conflict``."""


class HistoryGuard:
    """Knows whether the history was replaced since the store was opened, and which keys were read since. Thread-safe.

    Two threads that share a store share this knowledge, so one that still holds an old revision of a key passes once
    the other has read the key. That is the part which no client can decide from a number.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._unique = backend.capabilities.unique_revisions
        self._history = backend.history
        self.first = self._history
        """The history when the store was opened, as the backend names it."""
        self._lock = Monitor()
        self._current: dict[str, None] = {}
        self.replaced = False
        """Whether the history was replaced: only then do reads have to be noted."""

    @property
    def name(self) -> str:
        """The history of the latest answer, as the backend names it: another text after each that was replaced."""
        return self._backend.history

    def check(self, preconditions: Iterable[Precondition]) -> None:
        """Raise ``Conflict`` if a revision may belong to the history that was replaced. Keys are complete ones."""
        if self._unique or (self._history == self._backend.history and not self.replaced):
            return
        keys = [precondition.key for precondition in preconditions if isinstance(precondition, RevisionEquals)]
        with self._lock:
            self._notice()
            unread = [key for key in keys if key not in self._current]
        if unread:
            raise Conflict(
                "the store's data were lost or replaced by a backup after the revision was read; read the key again; "
                "nothing was changed",
                keys=unread,
            )

    def note(self, keys: Iterable[str]) -> None:
        """Remember that these complete keys were read or written in the present history."""
        with self._lock:
            self._notice()
            for key in keys:
                self._current[key] = None
            while len(self._current) > _MOST_KEYS:
                del self._current[next(iter(self._current))]

    def _notice(self) -> None:
        present = self._backend.history
        if present != self._history:
            self._history, self.replaced = present, True
            self._current.clear()
