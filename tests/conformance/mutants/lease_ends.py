"""Stores that get the ends of leases wrong as soon as several things happen at once."""

from __future__ import annotations

import dataclasses
import time
from contextlib import AbstractContextManager, ExitStack
from typing import Any
from unittest.mock import patch

from tenure.errors import LeaseNotFound
from tenure.spi import CommitResult, Delete, Put, Transaction
from tenure_memory import MemoryServer
from tenure_memory.lease_reaper import LeaseReaper
from tenure_testkit.tcp import TcpServer

from .base import Faithful, Mutant
from .tcp import Networked

_GAP = 0.003


class EndsAFewAtATime(Faithful):
    """One call ends at most twenty leases, so of many that ended together the others are still shown."""

    rules = ("leases.ended_together_are_gone_at_the_first_look",)
    at_a_time = 20

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        def reap(server: Any) -> None:
            server._finish()
            if server._clock is None:
                return
            now = server._clock.now()
            for _ in range(cls.at_a_time):
                lease = server._leases.due(now)
                if lease is None:
                    return
                server._end(lease)

        return patch.object(MemoryServer, "_reap", reap)


class EndsAHundredAtATime(EndsAFewAtATime):
    """One call ends at most a hundred leases, so of many that ended together the others are still shown."""

    at_a_time = 100


class RefreshRevives(Faithful):
    """A refresh doesn't look whether the lease has ended: the first call after the end brings it back."""

    rules = ("leases.ended_together_are_gone_at_the_first_look",)

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        def refresh(server: Any, lease_ids: Any) -> dict[str, float]:
            with server._monitor.alone("refreshing leases"):
                now = server._clock.now()
                alive = [lease for lease in map(server._leases.find, lease_ids) if lease is not None]
                for lease in alive:
                    server._leases.refresh(lease, now)
                return {lease.lease_id: lease.ttl for lease in alive}

        patches = ExitStack()
        patches.enter_context(patch.object(MemoryServer, "refresh", refresh))
        patches.enter_context(patch.object(LeaseReaper, "ensure", lambda reaper, deadline: None))
        return patches


class LeaseIsCheckedTooEarly(Faithful):
    """A put looks for its lease a moment before it writes; a lease that ends between leaves the key for ever."""

    rules = ("leases.take_keys_put_at_their_very_end", "leases.take_keys_put_during_a_revoke")

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        wanted = {each.lease_id for each in transaction.operations if isinstance(each, Put) and each.lease_id}
        if not wanted:
            return self.inner.commit(transaction, timeout=timeout)
        alive = {info.lease_id for info in self.inner.leases(None, timeout=timeout)}
        time.sleep(_GAP)
        try:
            return self.inner.commit(transaction, timeout=timeout)
        except LeaseNotFound:
            if not wanted <= alive:
                raise
            free = tuple(
                Put(each.key, each.value) if isinstance(each, Put) else each for each in transaction.operations
            )
            return self.inner.commit(dataclasses.replace(transaction, operations=free), timeout=timeout)


class Moving(TcpServer):
    """Moves a key from one lease to another in two steps."""

    def do(self, method: str, arguments: dict[str, Any]) -> Any:
        """One call of the backend."""
        if method == "commit":
            for each in arguments["transaction"].operations:
                item = self.memory.get(each.key).item
                if isinstance(each, Put) and item is not None and item.lease_id != each.lease_id:
                    self.memory.commit(Transaction((), (Delete(each.key),)))
                    time.sleep(_GAP)
        return super().do(method, arguments)


class KeyIsAwayWhileItMoves(Networked):
    """A key that is put with another lease is missing for a moment."""

    server_type = Moving
    rules = (
        "leases.racing_for_a_key_leave_one_truth",
        "leases.racing_in_several_processes_leave_one_truth",
    )


MUTANTS: tuple[Mutant, ...] = (
    EndsAFewAtATime,
    EndsAHundredAtATime,
    RefreshRevives,
    LeaseIsCheckedTooEarly,
    KeyIsAwayWhileItMoves,
)
