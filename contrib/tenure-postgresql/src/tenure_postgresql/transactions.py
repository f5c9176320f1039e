"""Committing a transaction: one call of the function that does it in the server."""

from __future__ import annotations

from tenure.errors import Conflict, LeaseNotFound
from tenure.spi import CommitResult, Delete, KeyAbsent, KeyExists, Precondition, Put, RevisionEquals, Transaction
from tenure_postgresql import encoding
from tenure_postgresql.context import BackendContext

_ACTION = "committing a transaction"


def commit(context: BackendContext, transaction: Transaction, *, timeout: float) -> CommitResult:
    """``Backend.commit``."""
    preconditions = transaction.preconditions
    puts = [operation for operation in transaction.operations if isinstance(operation, Put)]
    args = [
        context.kept(),
        encoding.new_uuid(),
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


def _kind(precondition: Precondition) -> str:
    match precondition:
        case KeyAbsent():
            return "absent"
        case KeyExists():
            return "exists"
        case RevisionEquals():
            return "unchanged"
