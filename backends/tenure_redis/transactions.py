"""Commits and deletes of a prefix: from the call to the script's arguments, and from its answer to what it means."""

from __future__ import annotations

from typing import Any

from tenure.errors import Conflict, LeaseNotFound, OutcomeUnknown, StoreCorrupted
from tenure.plugin_kit import Deadline
from tenure.spi.types import (
    CommitResult,
    KeyAbsent,
    Precondition,
    PrefixDeletion,
    Put,
    RevisionEquals,
    Transaction,
)
from tenure_redis import scripts
from tenure_redis.encoding import lease_of, packed_revision
from tenure_redis.keys import bounds
from tenure_redis.pool import Pool

_DELETED_KEYS = 2000
_DELETED_BYTES = 4 << 20
"""At most about so much is deleted by one script, as the server does nothing else meanwhile."""


def commit(pool: Pool, transaction: Transaction, deadline: Deadline) -> CommitResult:
    """``Backend.commit``."""
    args: list[Any] = [len(transaction.preconditions)]
    for precondition in transaction.preconditions:
        args += _precondition(precondition)
    for operation in transaction.operations:
        if isinstance(operation, Put):
            lease = operation.lease_id
            if lease is None:
                args += ("p", operation.key, operation.value, "")
            else:
                args += ("p", operation.key, operation.value, lease_of(lease) or "-")
        else:
            args += ("d", operation.key, "", "")
    answer = pool.run_once(scripts.COMMIT, args, deadline=deadline, action="committing a transaction")
    word, _, rest = answer.partition(b" ")
    if word == b"ok":
        revision, _, deleted = rest.partition(b" ")
        return CommitResult(int(revision), int(deleted))
    if word == b"conflict":
        reason = f"a precondition didn't hold at revision {int(rest)}; nothing was changed"
        raise Conflict(
            reason, keys=[precondition.key for precondition in transaction.preconditions], revision=int(rest)
        )
    if word == b"nolease":
        named = {operation.lease_id for operation in transaction.operations if isinstance(operation, Put)} - {None}
        lease = rest.decode() if rest != b"-" else ", ".join(map(repr, named))
        raise LeaseNotFound(f"no lease {lease} is alive in this store: it ended, was revoked or never was")
    raise _unexpected(answer, "committing a transaction")


def delete_prefix(pool: Pool, prefix: str, deadline: Deadline) -> PrefixDeletion:
    """``Backend.delete_prefix``, some keys at a time."""
    action = "deleting a prefix"
    low, high = bounds(prefix, None)
    args = [low, high, _DELETED_KEYS, _DELETED_BYTES]
    answer = pool.run_once(scripts.DELETE_PREFIX, args, deadline=deadline, action=action)
    if not answer.startswith(b"ok "):
        raise _unexpected(answer, action)
    revision, deleted, more = map(int, answer.split()[1:])
    return PrefixDeletion(deleted=deleted, revision=revision, has_more=bool(more))


def _unexpected(answer: bytes, action: str) -> OutcomeUnknown | StoreCorrupted:
    if answer == b"stale":
        return OutcomeUnknown(f"{action}: the store has seen a later write of this client's slot already")
    return StoreCorrupted(f"{action}: the record of this client's last write in Redis isn't Tenure's: {answer[:80]!r}")


def _precondition(precondition: Precondition) -> tuple[Any, ...]:
    if isinstance(precondition, RevisionEquals):
        return "u", precondition.key, packed_revision(precondition.revision)
    return "a" if isinstance(precondition, KeyAbsent) else "e", precondition.key, ""
