"""Several keys at one revision, on stores that can't read them by one request: read each, then prove it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tenure._runtime.deadline import Deadline
from tenure.errors import Conflict, HistoryReplaced
from tenure.spi.types import (
    CommitResult,
    KeyAbsent,
    KeyValue,
    MultiReadResult,
    Precondition,
    ReadResult,
    RevisionEquals,
    Transaction,
)


def read_until_proven(
    get: Callable[[str, float], ReadResult],
    commit: Callable[[Transaction, float], CommitResult],
    keys: Sequence[str],
    deadline: Deadline,
) -> MultiReadResult:
    """Return all keys as they were at one revision: a transaction without operations found each as it was read.

    Args:
        get: reads a complete key within some seconds.
        commit: commits a transaction within some seconds.
        keys: the complete keys, distinct.
        deadline: when to give up.

    Returns:
        One entry for each key, and the revision of the proof.

    Raises:
        DeadlineExceeded: others kept changing the keys.
    """
    while True:
        items = tuple(get(key, deadline.remaining()).item for key in keys)
        proof = Transaction(tuple(map(_unchanged, keys, items)), ())
        try:
            return MultiReadResult(items, commit(proof, deadline.remaining()).revision)
        except (Conflict, HistoryReplaced):  # of either kind: what was read is no longer so
            deadline.check(f"reading {len(keys)} keys at one revision: others kept changing them")


def _unchanged(key: str, item: KeyValue | None) -> Precondition:
    return KeyAbsent(key) if item is None else RevisionEquals(key, item.mod_revision)
