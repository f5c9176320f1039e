"""Stores that take what several clients do for one thing: identical puts, and a key that was made again."""

from __future__ import annotations

import threading
import time
from typing import Any

from tenure.spi import (
    Backend,
    CommitResult,
    Delete,
    KeyValue,
    Precondition,
    Put,
    ReadResult,
    RevisionEquals,
    Transaction,
)
from tenure_testkit.tcp import TcpServer

from .base import Faithful, Mutant
from .tcp import Networked

_WINDOW = 0.003


class Merging(TcpServer):
    """Puts of one value to one key that are under way together are made once."""

    def __init__(self, name: str) -> None:
        self._merging = threading.Lock()
        self._under_way: dict[Put, list[CommitResult]] = {}
        super().__init__(name)

    def do(self, method: str, arguments: dict[str, Any]) -> Any:
        """One call of the backend."""
        if method != "commit":
            return super().do(method, arguments)
        transaction = arguments["transaction"]
        if transaction.preconditions or len(transaction.operations) != 1:
            return super().do(method, arguments)
        operation = transaction.operations[0]
        if not isinstance(operation, Put):
            return super().do(method, arguments)
        with self._merging:
            made = self._under_way.get(operation)
            first = made is None
            if made is None:
                made = self._under_way[operation] = []
        if first:
            time.sleep(_WINDOW)
            with self._merging:
                del self._under_way[operation]
                made.append(super().do(method, arguments))
        while not made:
            time.sleep(_WINDOW / 10)
        return made[0]


class IdenticalPutsAreMerged(Networked):
    """Identical puts that different clients make at the same time become one change."""

    server_type = Merging
    rules = ("kv.identical_puts_of_several_processes_all_count",)


class RevisionIsComparedByValue(Faithful):
    """A connection takes a key with the value that it has read for the one that it has read, until it writes it."""

    rules = ("transactions.notice_that_others_recreated_a_key",)

    def __init__(self, inner: Backend) -> None:
        super().__init__(inner)
        self.known: dict[str, KeyValue] = {}

    def get(self, key: str, *, timeout: float) -> ReadResult:
        found = self.inner.get(key, timeout=timeout)
        if found.item is not None:
            self.known[key] = found.item
        return found

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        preconditions = tuple(self._bent(each) for each in transaction.preconditions)
        for each in transaction.operations:
            if isinstance(each, Put | Delete):
                self.known.pop(each.key, None)
        return self.inner.commit(Transaction(preconditions, transaction.operations), timeout=timeout)

    def _bent(self, precondition: Precondition) -> Precondition:
        if not isinstance(precondition, RevisionEquals):
            return precondition
        known = self.known.get(precondition.key)
        present = self.inner.get(precondition.key, timeout=10.0).item
        if known is None or present is None or known.mod_revision != precondition.revision:
            return precondition
        return RevisionEquals(present.key, present.mod_revision) if present.value == known.value else precondition


MUTANTS: tuple[Mutant, ...] = (IdenticalPutsAreMerged, RevisionIsComparedByValue)
