"""Build a transaction step by step: preconditions, then puts and deletes, then ``commit``.

A draft is the same for all faces; each adds its own ``commit``.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Self

from tenure._text import shown
from tenure.errors import InvalidArgument
from tenure.leases.lease import HeldLease
from tenure.spi.types import (
    CommitResult,
    Delete,
    KeyAbsent,
    KeyExists,
    LeaseId,
    Operation,
    Precondition,
    Put,
    RevisionEquals,
    Transaction,
)

Commit = Callable[[Transaction, tuple[HeldLease, ...], float | None], CommitResult]
"""Applies a transaction, whose leases are checked before, within so many seconds."""


class TransactionDraft:
    """Preconditions and operations that are collected. Nothing reaches the store before the builder's ``commit``."""

    def __init__(self) -> None:
        self._preconditions: list[Precondition] = []
        self._operations: list[Put | Delete] = []
        self._leases: list[HeldLease] = []
        self._sent = False

    def if_absent(self, key: str) -> Self:
        """Add the precondition that ``key`` does not exist.

        Args:
            key: the key to check.

        Returns:
            This builder.
        """
        self._preconditions.append(KeyAbsent(key))
        return self

    def if_exists(self, key: str) -> Self:
        """Add the precondition that ``key`` exists, with any value.

        Args:
            key: the key to check.

        Returns:
            This builder.
        """
        self._preconditions.append(KeyExists(key))
        return self

    def if_unchanged(self, key: str, *, revision: int) -> Self:
        """Add the precondition that ``key`` exists and was last put at ``revision``.

        Args:
            key: the key to check.
            revision: the ``mod_revision`` that the key must have.

        Returns:
            This builder.
        """
        self._preconditions.append(RevisionEquals(key, revision))
        return self

    def put(self, key: str, value: bytes, *, lease: HeldLease | LeaseId | None = None) -> Self:
        """Add the operation that sets ``key``.

        Args:
            key: the key to set.
            value: the new value, possibly empty.
            lease: the lease that the key is removed with. Without one, the key is detached from the lease it had.

        Returns:
            This builder.

        Raises:
            InvalidArgument: ``lease`` is neither a lease nor a lease's id.
        """
        try:
            self._operations.append(Put(key, value, lease_id(lease)))
        except InvalidArgument:
            self._refused()
            raise
        if isinstance(lease, HeldLease):
            self._leases.append(lease)
        return self

    def delete(self, key: str) -> Self:
        """Add the operation that deletes ``key``. Deleting a missing key changes nothing.

        Args:
            key: the key to delete.

        Returns:
            This builder.
        """
        self._operations.append(Delete(key))
        return self

    def _take(self) -> tuple[tuple[Precondition, ...], tuple[Operation, ...], tuple[HeldLease, ...]]:
        """Hand over what was collected: to a commit, or to a recipe as part of its own transaction.

        Returns:
            The preconditions, the operations, and the leases that they name.
        """
        self._sent = True
        return tuple(self._preconditions), tuple(self._operations), tuple(self._leases)

    def _refused(self) -> None:
        """Note that whoever made it has an error already: no warning on top that it was never committed."""
        self._sent = True

    def __del__(self) -> None:
        # An exception in __init__ leaves an object without fields.
        if not getattr(self, "_sent", True) and self._operations:
            warnings.warn(
                f"dropping a transaction: its {len(self._operations)} operations were never committed, and nothing was "
                "written; call commit()",
                ResourceWarning,
                stacklevel=2,
            )


class TransactionBuilder(TransactionDraft):
    """Collects preconditions and operations. Nothing reaches the store before :meth:`commit`.

    All or nothing, at one revision: if every precondition holds, every operation is applied. Otherwise ``Conflict`` is
    raised and nothing has changed. Each key may be written once. Methods return the builder, for chaining. A builder
    that is dropped without ``commit`` has written nothing, and a ``ResourceWarning`` reports it. Not thread-safe.

    >>> import tenure
    >>> with tenure.connect("memory://") as store:
    ...     done = store.transaction().if_absent("lock").put("lock", b"me").put("log/1", b"locked").commit()
    ...     try:
    ...         done = store.transaction().if_absent("lock").put("lock", b"you").commit()
    ...     except tenure.Conflict as conflict:
    ...         print(conflict.keys, store.get("lock").value)
    ('lock',) b'me'
    """

    def __init__(self, commit: Commit) -> None:
        super().__init__()
        self._commit = commit

    def commit(self, *, timeout: float | None = None) -> CommitResult:
        """Apply all operations at one new revision if all preconditions hold; otherwise change nothing.

        Applied at most once. May be called again after an error, or to apply the same transaction a second time.

        Args:
            timeout: seconds that the call may take; by default the store's timeout.

        Returns:
            The transaction's revision and the number of keys that were deleted.

        Raises:
            Conflict: a precondition did not hold; nothing was changed.
            OutcomeUnknown: the transaction was sent and no answer came; it is applied at most once, now or later.
            InvalidKey: a key is empty, too long or not valid text; nothing was sent.
            InvalidArgument: a key is written twice, or a value or revision has the wrong type; nothing was sent.
            LimitExceeded: the transaction is larger than the store takes; nothing was changed.
            LeaseLost: a lease of this process has ended; nothing was sent.
            LeaseNotFound: the store does not have a lease that is alive under this id; nothing was changed.
            StoreFull: the store has no room; nothing was changed.
            Unavailable: the store can't be reached; nothing was changed. ``DeadlineExceeded`` if the time ran out.
            PermissionDenied: the store forbids the write; nothing was changed. ``AuthenticationFailed`` if the store no
                longer accepts the credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if the store belongs to the parent process.
        """
        self._sent = True
        transaction = Transaction(tuple(self._preconditions), tuple(self._operations))
        return self._commit(transaction, tuple(self._leases), timeout)


def lease_id(lease: HeldLease | LeaseId | None) -> LeaseId | None:
    """Return the id of a lease that is given as an object or as its id."""
    if lease is None or isinstance(lease, str):
        return lease
    if isinstance(lease, HeldLease):
        return lease.id
    raise InvalidArgument(
        f"lease={shown(lease)}: a lease is what store.lease() returned, or its id as a str, not {type(lease).__name__}"
        "; pass one of these"
    )


def check_draft(transaction: object, action: str) -> None:
    """Raise ``InvalidArgument`` unless ``transaction`` is what ``transaction()`` of a store returned."""
    if not isinstance(transaction, TransactionDraft):
        raise InvalidArgument(
            f"{action}: {shown(transaction)} is no transaction; give what store.transaction() returned"
        )
