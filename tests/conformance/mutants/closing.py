"""Broken endings."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from typing import Any
from unittest.mock import patch

from tenure._client.store import Store
from tenure.leases.keepalive import LeaseKeepAlive
from tenure.spi import Backend

from .base import Faithful


class ThreadIsLeft(Faithful):
    """A thread of the connection goes on after it was closed."""

    rules = ("closing.leaves_no_thread",)

    def __init__(self, inner: Backend) -> None:
        super().__init__(inner)
        threading.Thread(target=threading.Event().wait, args=(60.0,), daemon=True).start()


class CallbackThreadIsLeft(Faithful):
    """Closing a store leaves a thread that calls callbacks running."""

    rules = ("closing.leaves_no_thread",)

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        sound = Store.close

        def close(store: Any) -> None:
            with store._lock:
                store._open_watches.live.clear()
            store._callbacks.submit(lambda: threading.Event().wait(60.0))  # one without work ends after a second
            store._callbacks.close = lambda deadline: None
            sound(store)

        return patch.object(Store, "close", close)


class LeasesAreLeft(Faithful):
    """Closing a store leaves its leases to run out."""

    rules = ("closing.revokes_leases",)

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        return patch.object(LeaseKeepAlive, "revoke_all", lambda keeper, ids, deadline: None)


class ClosedIsOpen(Faithful):
    """A closed store goes on answering."""

    rules = ("closing.is_final",)

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        return patch.object(Store, "_check_process", lambda store: None)

    def close(self) -> None:
        pass


class TransactionsOutliveTheStore(Faithful):
    """A transaction can be begun on a closed store."""

    rules = ("closing.is_final",)

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        return patch.object(Store, "_check_process", lambda store: None)


class CloseEndsAllWatches(Faithful):
    """Closing one connection ends the watches of all."""

    rules = ("closing.one_leaves_the_others",)

    def close(self) -> None:
        for feed in self.server._watches:
            feed.close()
        self.inner.close()


class CloseRevokesAllLeases(Faithful):
    """Closing one connection ends the leases of all."""

    rules = ("closing.one_leaves_the_others",)

    def close(self) -> None:
        self.inner.revoke([info.lease_id for info in self.inner.leases(None, timeout=10.0)], timeout=10.0)
        self.inner.close()


MUTANTS: tuple[type[Faithful], ...] = (
    ThreadIsLeft,
    CallbackThreadIsLeft,
    LeasesAreLeft,
    ClosedIsOpen,
    TransactionsOutliveTheStore,
    CloseEndsAllWatches,
    CloseRevokesAllLeases,
)
