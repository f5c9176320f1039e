"""The two ways of deleting a prefix: by the store, which finds the keys, or by transactions of the keys listed before.

Both delete batch by batch. After an error the caller is told whether earlier batches were applied.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tenure._runtime.deadline import Deadline
from tenure.errors import PartiallyApplied, TenureError
from tenure.spi.types import CommitResult, Delete, Operation, PrefixDeletion

MOST_AT_ONCE = 500
"""Keys of one transaction, if the store takes as many."""


def delete_by_store(prefix: str, delete: Callable[[float], PrefixDeletion], deadline: Deadline) -> CommitResult:
    """Have the store delete until nothing is left.

    Args:
        prefix: the caller's prefix, for messages.
        delete: deletes one batch within the seconds given.
        deadline: the deadline of the whole call.

    Returns:
        The number of keys deleted, and the revision of the last batch.

    Raises:
        PartiallyApplied: some batches were applied, then an error stopped the call.
        TenureError: what ``delete`` raised for the first batch.
    """
    deleted = 0
    while True:
        try:
            done = delete(deadline.remaining())
            deleted += done.deleted
            if not done.has_more:
                return CommitResult(done.revision, deleted)
            deadline.check(f"deleting keys under {prefix!r}")
        except TenureError as exc:
            if not deleted:
                raise
            raise _partially(prefix, deleted, str(deleted), exc) from exc


def delete_listed(
    prefix: str,
    keys: Sequence[str],
    commit: Callable[[tuple[Operation, ...], float], CommitResult],
    deadline: Deadline,
    *,
    revision: int,
    size: int,
) -> CommitResult:
    """Delete ``keys`` by transactions.

    Args:
        prefix: the caller's prefix, for messages.
        keys: the keys that were listed.
        commit: commits one batch within the seconds given.
        deadline: the deadline of the whole call.
        revision: the revision of the list, which is the answer if there are no keys.
        size: the most operations of one transaction.

    Returns:
        The number of keys deleted, and the revision of the last batch.

    Raises:
        PartiallyApplied: some batches were applied, then an error stopped the call.
        TenureError: what ``commit`` raised for the first batch.
    """
    deleted = 0
    for start in range(0, len(keys), size):
        batch = tuple(Delete(key) for key in keys[start : start + size])
        try:
            deadline.check(f"deleting {len(keys)} keys")
            done = commit(batch, deadline.remaining())
        except TenureError as exc:
            if not deleted:
                raise
            raise _partially(prefix, deleted, f"{deleted} of {len(keys)}", exc) from exc
        deleted, revision = deleted + done.deleted, done.revision
    return CommitResult(revision, deleted)


def _partially(prefix: str, deleted: int, how_many: str, error: TenureError) -> PartiallyApplied:
    return PartiallyApplied(
        f"deleting keys under {prefix!r}: {how_many} were deleted, then: {error}; delete again, which is safe",
        deleted=deleted,
    )
