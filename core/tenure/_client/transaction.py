"""Building a transaction step by step: guards, then puts and deletes, then ``commit``."""

from __future__ import annotations

import warnings
from collections.abc import Callable

from tenure.errors import InvalidArgument
from tenure.leases.lease import Lease
from tenure.spi.types import (
    CommitResult,
    Delete,
    KeyAbsent,
    KeyExists,
    LeaseId,
    Precondition,
    Put,
    RevisionEquals,
    Transaction,
)

Commit = Callable[[Transaction, tuple[Lease, ...], float | None], CommitResult]


class TransactionBuilder:
    """Collects guards and operations; nothing reaches the store before :meth:`commit`.

    All or nothing, at one revision: every operation is applied if every guard holds, else ``Conflict`` is
    raised and nothing has changed. Each key may be written once. Methods return the builder for chaining.
    A builder that is dropped without ``commit`` has written nothing; a ``ResourceWarning`` says so.
    """

    def __init__(self, commit: Commit) -> None:
        self._commit = commit
        self._guards: list[Precondition] = []
        self._operations: list[Put | Delete] = []
        self._leases: list[Lease] = []
        self._sent = False

    def if_absent(self, key: str) -> TransactionBuilder:
        """Only if ``key`` doesn't exist."""
        self._guards.append(KeyAbsent(key))
        return self

    def if_exists(self, key: str) -> TransactionBuilder:
        """Only if ``key`` exists, with whatever value."""
        self._guards.append(KeyExists(key))
        return self

    def if_unchanged(self, key: str, *, revision: int) -> TransactionBuilder:
        """Only if ``key`` exists and was last put at ``revision`` (an item's ``mod_revision``)."""
        self._guards.append(RevisionEquals(key, revision))
        return self

    def put(self, key: str, value: bytes, *, lease: Lease | LeaseId | None = None) -> TransactionBuilder:
        """Set ``key``; without a lease it is detached from the one it had."""
        self._operations.append(Put(key, value, lease_id(lease)))
        if isinstance(lease, Lease):
            self._leases.append(lease)
        return self

    def delete(self, key: str) -> TransactionBuilder:
        """Make ``key`` not exist; nothing happens if it doesn't."""
        self._operations.append(Delete(key))
        return self

    def commit(self, *, timeout: float | None = None) -> CommitResult:
        """Send it. Raises ``Conflict``, ``OutcomeUnknown``, ``LeaseLost``, ``LimitExceeded`` and the general errors."""
        self._sent = True
        return self._commit(Transaction(tuple(self._guards), tuple(self._operations)), tuple(self._leases), timeout)

    def __del__(self) -> None:
        # Not in __init__'s locals: an exception there leaves an object without fields.
        if not getattr(self, "_sent", True) and self._operations:
            warnings.warn(
                f"a transaction of {len(self._operations)} operations was never committed, so nothing was written: "
                "call commit()",
                ResourceWarning,
                stacklevel=2,
            )


def lease_id(lease: Lease | LeaseId | None) -> LeaseId | None:
    """The id of a lease given as an object or as its id."""
    if lease is None or isinstance(lease, str):
        return lease
    if isinstance(lease, Lease):
        return lease.id
    raise InvalidArgument(f"a lease is what store.lease() returned, or its id as a str, not {type(lease).__name__}")
