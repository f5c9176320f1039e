"""Whether the store still has the keys of what is held on a session. The session's lease can't tell.

An operator may remove a key whose lease lives. A store that loses its last writes, as Redis does in a failover, may
lose a key and keep its lease. The key is then another's to take, while its former holder goes on.

So after each refresh of the lease, one transaction without operations asks for all of them. It is as strong as a
guarded write, and refuses the revisions of a history that was replaced.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Iterable, Iterator
from typing import Protocol

from tenure._client.store import Store
from tenure._runtime.monitor import Monitor
from tenure.errors import Conflict, StoreClosed, TenureError
from tenure.spi.types import RevisionEquals, Transaction

_log = logging.getLogger("tenure.recipes")
_MOST = 64
"""Keys that one transaction asks for."""


class Holds(Protocol):
    """What is held."""

    @property
    def held(self) -> bool:
        """Whether it is held now, as far as its holder knows."""
        ...

    @property
    def _revisions(self) -> Iterable[tuple[str, int]]:
        """Its keys, with the revision that each has while it is held."""
        ...

    def _vanish(self, key: str) -> None:
        """Note that the store no longer has ``key`` as it was, unless its holder changed it."""
        ...


class Presence:
    """Looks for the keys of one session, on the store's pool for callbacks."""

    def __init__(self, store: Store) -> None:
        self._store = weakref.ref(store)
        self._held: weakref.WeakSet[Holds] = weakref.WeakSet()
        self._lock = Monitor()
        self._strand = store._strand(self.look)

    def add(self, held: Holds) -> None:
        """Look for the keys of ``held`` from the next refresh on."""
        with self._lock:
            self._held.add(held)

    def refreshed(self) -> None:
        """Look soon, if there is anything to look for. Never blocks."""
        if self._held:
            self._strand.wake()

    def look(self) -> None:
        """Ask the store for all keys."""
        store = self._store()
        with self._lock:
            held = list(self._held)
        keys = [(one, key, revision) for one in held if one.held for key, revision in one._revisions]
        try:
            for batch in _batches(keys, _MOST if store is None else store.capabilities.max_transaction_operations):
                if store is not None:
                    _prove(store, batch)
        except StoreClosed:
            return
        except TenureError as exc:
            _log.debug("looking whether %d keys are still held failed, looking again later: %s", len(keys), exc)


_Batch = list[tuple[Holds, str, int]]


def _batches(keys: _Batch, most: int) -> Iterator[_Batch]:
    """Return the keys in parts, each without a key twice."""
    while keys:
        batch: dict[str, tuple[Holds, str, int]] = {}
        rest = []
        for one in keys:
            if one[1] in batch or len(batch) >= min(most, _MOST):
                rest.append(one)
            else:
                batch[one[1]] = one
        yield list(batch.values())
        keys = rest


def _prove(store: Store, batch: _Batch) -> None:
    guards = tuple(RevisionEquals(key, revision) for _, key, revision in batch)
    try:
        store._commit_built(Transaction(guards, ()), (), None)
    except Conflict:
        if len(batch) == 1:
            held, key, _ = batch[0]
            held._vanish(key)
        else:  # a store may name all keys of a transaction, not those which are gone
            for one in batch:
                _prove(store, [one])
