"""Broken orders of operations: what only many clients at once can see."""

from __future__ import annotations

import itertools
import threading

from tenure.spi import Backend, CommitResult, KeyAbsent, KeyExists, ReadResult, RevisionEquals, Transaction

from .base import Faithful


class ReadsLagBehind(Faithful):
    """A connection reads a key as it was when it last looked, for twenty reads, unless it wrote itself meanwhile."""

    rules = ("kv.is_linearizable",)

    def __init__(self, inner: Backend) -> None:
        super().__init__(inner)
        self.seen: dict[str, tuple[ReadResult, int]] = {}
        self.lock = threading.Lock()

    def get(self, key: str, *, timeout: float) -> ReadResult:
        with self.lock:
            found, left = self.seen.get(key, (None, 0))
            if found is None or left == 0:
                found, left = self.inner.get(key, timeout=timeout), 20
            self.seen[key] = (found, left - 1)
            return found

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        with self.lock:
            try:
                return self.inner.commit(transaction, timeout=timeout)
            finally:
                self.seen.clear()


class OwnReadsGoBack(Faithful):
    """Every fortieth read of a key that was put more than once shows it as the read before the last change did."""

    rules = ("kv.clients_see_their_own_order", "kv.is_linearizable")

    def __init__(self, inner: Backend) -> None:
        super().__init__(inner)
        self.before: dict[str, ReadResult] = {}
        self.last: dict[str, ReadResult] = {}
        self.turn = itertools.count(1)

    def get(self, key: str, *, timeout: float) -> ReadResult:
        found = self.inner.get(key, timeout=timeout)
        if key in self.last and self.last[key].item != found.item:
            self.before[key] = self.last[key]
        self.last[key] = found
        return self.before.get(key, found) if next(self.turn) % 40 == 0 else found


class GuardsAreCheckedFirst(Faithful):
    """A guard on a revision is checked first, and the operations applied if the key still exists."""

    rules = ("kv.clients_see_their_own_order", "kv.is_linearizable")

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        if not any(isinstance(each, RevisionEquals) for each in transaction.preconditions):
            return self.inner.commit(transaction, timeout=timeout)
        self.inner.commit(Transaction(transaction.preconditions, ()), timeout=timeout)
        threading.Event().wait(0.001)  # the way to the server and back
        weaker = tuple(
            KeyExists(each.key) if isinstance(each, RevisionEquals) else each for each in transaction.preconditions
        )
        return self.inner.commit(Transaction(weaker, transaction.operations), timeout=timeout)


class AppliedLateAgain(Faithful):
    """Every thirtieth put without a guard is applied a second time, a little later, if its key still exists."""

    rules = ("kv.clients_see_their_own_order", "kv.is_linearizable")
    turn = itertools.count(1)

    def __init__(self, inner: Backend) -> None:
        super().__init__(inner)
        self.late: list[Transaction] = []

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        committed = self.inner.commit(transaction, timeout=timeout)
        while self.late:
            self.inner.commit(self.late.pop(), timeout=timeout)
        if not transaction.preconditions and next(self.turn) % 30 == 0:
            self.late.append(transaction)
        return committed


class LostWhenContended(Faithful):
    """A put-if-absent that meets another one on its way is acknowledged and forgotten."""

    rules = ("kv.clients_see_their_own_order", "kv.is_linearizable")
    entered = threading.Lock()

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        if not any(isinstance(each, KeyAbsent) for each in transaction.preconditions):
            return self.inner.commit(transaction, timeout=timeout)
        alone = self.entered.acquire(blocking=False)
        try:
            if alone:
                threading.Event().wait(0.0005)
                return self.inner.commit(transaction, timeout=timeout)
            self.inner.commit(Transaction(transaction.preconditions, ()), timeout=timeout)
            return CommitResult(self.present + 1)
        finally:
            if alone:
                self.entered.release()


MUTANTS = (ReadsLagBehind, OwnReadsGoBack, GuardsAreCheckedFirst, AppliedLateAgain, LostWhenContended)
