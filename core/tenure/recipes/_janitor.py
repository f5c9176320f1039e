"""Remove what an acquisition left behind: after a cancel, a timeout, an interrupt or an unknown outcome.

The key of an acquisition, or its value, is unique, so removing it harms no other. Its session may live for years, and
the janitor does not wait for its end. A write of unknown outcome may still be applied after the key was removed, so the
janitor looks again until the TTL of the session has passed.
"""

from __future__ import annotations

import logging
import os
import weakref
from typing import Protocol

from tenure._client.store import Store
from tenure._runtime.clock import TimeLimit
from tenure._runtime.monitor import Monitor
from tenure._steps.effects import Commit, Get, Sleep, Steps
from tenure._steps.threads import Background
from tenure.errors import Conflict, InvalidArgument, OutcomeUnknown, StoreClosed, TenureError, Unavailable
from tenure.recipes.session import Session
from tenure.spi.types import Delete, RevisionEquals

_log = logging.getLogger("tenure.recipes")
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 5.0


class Janitor(Protocol):
    """What recipes need of a janitor."""

    def remove(self, key: str, session: Session, *, value: bytes | None = None, uncertain: bool = False) -> None:
        """Remove ``key`` soon, unless its session ends first. Never blocks or raises.

        Args:
            key: the key. Without ``value``, one that only the caller's acquisition has ever written.
            session: the session that the key is on.
            value: remove the key only while it has this value, which only the caller's acquisition has ever written.
            uncertain: whether a write of the key may still be applied.
        """


class StoreJanitor:
    """The janitor of one store. It works on the store's pool and ends with the store."""

    def __init__(self, store: Store) -> None:
        self._store = weakref.ref(store)

    def remove(self, key: str, session: Session, *, value: bytes | None = None, uncertain: bool = False) -> None:
        store = self._store()
        if store is not None and not store.closed:
            Background(store, remove(store, key, session, value=value, uncertain=uncertain)).start()


def remove(store: Store, key: str, session: Session, *, value: bytes | None, uncertain: bool) -> Steps[None]:
    """Steps that remove ``key``, and again until ``session.lease.ttl`` has passed if a write of it is uncertain."""
    pause = _FIRST_PAUSE
    ends = store.clock.now() + session.lease.ttl
    while session.alive:
        try:
            yield from _delete(key, value, TimeLimit(store.clock, None))
        except StoreClosed:
            return
        except OutcomeUnknown:
            pass  # what deletes the caller's key only may be repeated
        except TenureError as exc:
            level = logging.DEBUG if isinstance(exc, Unavailable) else logging.WARNING
            _log.log(level, "removing %r of an acquisition that was given up failed, trying again: %s", key, exc)
        else:
            if not uncertain or store.clock.now() >= ends:
                return
        yield from Sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


def _delete(key: str, value: bytes | None, limit: TimeLimit) -> Steps[None]:
    if value is None:
        yield from Commit((), (Delete(key),), limit)
        return
    item = yield from Get(key, limit)
    if item is not None and item.value == value:
        try:
            yield from Commit((RevisionEquals(key, item.mod_revision),), (Delete(key),), limit)
        except Conflict:
            return  # another holder's by now


class _Janitors:
    def __init__(self) -> None:
        self._janitors: weakref.WeakKeyDictionary[Store, StoreJanitor] = weakref.WeakKeyDictionary()
        self._lock = Monitor()

    def get(self, store: Store) -> StoreJanitor:
        with self._lock:
            found = self._janitors.get(store)
            if found is None:
                found = self._janitors[store] = StoreJanitor(store)
            return found


_janitors = _Janitors()
os.register_at_fork(after_in_child=_janitors._lock._at_fork_reinit)  # a thread of the parent may have held it


def janitor_of(store: Store) -> Janitor:
    """Return the janitor of ``store``. Raises ``InvalidArgument`` if it is none."""
    if not isinstance(store, Store):
        raise InvalidArgument(
            f"making a recipe: it takes a store first, not {type(store).__name__}; give what connect() returned, "
            "or use the recipe of tenure.aio for its stores"
        )
    return _janitors.get(store)
