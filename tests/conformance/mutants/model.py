"""What goes wrong only after a certain sequence of operations: for random sequences to find."""

from __future__ import annotations

from collections.abc import Sequence

from tenure.spi import Changes, CommitResult, Deleted, FeedItem, Put, Transaction

from .base import BentFeed, BentWatch, Faithful
from .lease_ids import PutKeepsTheLease


class PutOverALeaseKeepsIt(PutKeepsTheLease):
    """A put without a lease, over a key that is on one, leaves it there."""

    rules = ("model.agrees_with_a_dictionary",)


class DeleteBesideAPutIsLost(Faithful):
    """A delete in a transaction that also puts a key is not made."""

    rules = ("model.agrees_with_a_dictionary",)

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        puts = tuple(each for each in transaction.operations if isinstance(each, Put))
        kept = puts or transaction.operations
        return self.inner.commit(Transaction(transaction.preconditions, kept), timeout=timeout)


class DeletesOfManyAreTorn(BentWatch):
    """Of several deletes in one transaction watchers are told the first."""

    rules = ("model.agrees_with_a_dictionary",)

    def changes(self, item: Changes, feed: BentFeed) -> Sequence[FeedItem]:
        deleted = [each for each in item.entries if isinstance(each, Deleted)]
        entries = (each for each in item.entries if each not in deleted[1:])
        return [Changes(tuple(entries), item.revision)]


MUTANTS: tuple[type[Faithful], ...] = (PutOverALeaseKeepsIt, DeleteBesideAPutIsLost, DeletesOfManyAreTorn)
