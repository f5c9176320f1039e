"""Committing a transaction and deleting a prefix: one call of the function that does it in the server."""

from __future__ import annotations

from tenure.errors import Conflict, LeaseNotFound
from tenure.spi import (
    CommitResult,
    Delete,
    KeyAbsent,
    KeyExists,
    Precondition,
    PrefixDeletion,
    Put,
    RevisionEquals,
    Transaction,
)
from tenure_postgresql import encoding
from tenure_postgresql.context import BackendContext
from tenure_postgresql.reads import end_of

_ACTION = "committing a transaction"
_NO_OP = bytes(16)  # an argument that only the version before gave a meaning
_MOST_DELETED = 10_000  # keys in one transaction: other writers wait meanwhile


def commit(context: BackendContext, transaction: Transaction, *, timeout: float) -> CommitResult:
    """``Backend.commit``."""
    preconditions = transaction.preconditions
    puts = [operation for operation in transaction.operations if isinstance(operation, Put)]
    args = [
        context.kept(),
        _NO_OP,
        encoding.texts([_kind(precondition) for precondition in preconditions]),
        encoding.texts([precondition.key for precondition in preconditions]),
        encoding.bigints(
            [precondition.revision if isinstance(precondition, RevisionEquals) else 0 for precondition in preconditions]
        ),
        encoding.texts([put.key for put in puts]),
        encoding.byteas([put.value for put in puts]),
        encoding.texts([put.lease_id for put in puts]),
        encoding.texts([operation.key for operation in transaction.operations if isinstance(operation, Delete)]),
    ]
    row = context.rows(context.statements.commit, args, timeout=timeout, action=_ACTION, write=True, waits=True)[0]
    verdict, revision, about, found = encoding.word(row[0]), encoding.number(row[1]), encoding.word(row[3]), row[4]
    if verdict == "done":
        return CommitResult(revision, encoding.number(row[2]))
    if verdict == "lease":
        raise LeaseNotFound(f"the lease {about!r} isn't alive: it ended, was revoked or never was; nothing was changed")
    if verdict == "absent":
        problem = f"exists (revision {encoding.number(found)}) and should not"
    elif found is None:
        problem = "doesn't exist"
    else:
        problem = f"is at revision {encoding.number(found)}, not at the one given"
    raise Conflict(f"{problem}; nothing was changed", keys=[about], revision=revision)


def delete_prefix(context: BackendContext, prefix: str, *, timeout: float) -> PrefixDeletion:
    """``Backend.delete_prefix``."""
    args = [context.kept(), encoding.text(prefix), encoding.text(end_of(prefix)), encoding.bigint(_MOST_DELETED)]
    row = context.rows(
        context.statements.delete_prefix, args, timeout=timeout, action="deleting a prefix", write=True, waits=True
    )[0]
    deleted = encoding.number(row[1])
    return PrefixDeletion(deleted=deleted, revision=encoding.number(row[0]), has_more=deleted == _MOST_DELETED)


def _kind(precondition: Precondition) -> str:
    match precondition:
        case KeyAbsent():
            return "absent"
        case KeyExists():
            return "exists"
        case RevisionEquals():
            return "unchanged"
