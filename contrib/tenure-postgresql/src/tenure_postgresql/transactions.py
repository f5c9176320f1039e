"""Committing a transaction: one call of the function that does it in the server."""

from __future__ import annotations

from tenure.errors import Conflict, LeaseNotFound
from tenure.spi import Absent, Committed, Delete, Exists, Guard, Put, Transaction, Unchanged
from tenure_postgresql import encoding
from tenure_postgresql.context import Store

_ACTION = "committing a transaction"


def commit(store: Store, transaction: Transaction, *, timeout: float) -> Committed:
    """``Backend.commit``."""
    guards = transaction.guards
    puts = [operation for operation in transaction.operations if isinstance(operation, Put)]
    args = [
        store.kept(),
        encoding.new_uuid(),
        encoding.texts([_kind(guard) for guard in guards]),
        encoding.texts([guard.key for guard in guards]),
        encoding.bigints([guard.revision if isinstance(guard, Unchanged) else 0 for guard in guards]),
        encoding.texts([put.key for put in puts]),
        encoding.byteas([put.value for put in puts]),
        encoding.texts([put.lease_id for put in puts]),
        encoding.texts([operation.key for operation in transaction.operations if isinstance(operation, Delete)]),
    ]
    row = store.rows(store.statements.commit, args, timeout=timeout, action=_ACTION, write=True, waits=True)[0]
    verdict, revision, about, found = encoding.word(row[0]), encoding.number(row[1]), encoding.word(row[3]), row[4]
    if verdict == "done":
        return Committed(revision, encoding.number(row[2]))
    if verdict == "lease":
        raise LeaseNotFound(f"the lease {about!r} isn't alive: it ended, was revoked or never was; nothing was changed")
    if verdict == "absent":
        problem = f"exists (revision {encoding.number(found)}) and should not"
    elif found is None:
        problem = "doesn't exist"
    else:
        problem = f"is at revision {encoding.number(found)}, not at the one given"
    raise Conflict(f"{problem}; nothing was changed", keys=[about], revision=revision)


def _kind(guard: Guard) -> str:
    match guard:
        case Absent():
            return "absent"
        case Exists():
            return "exists"
        case Unchanged():
            return "unchanged"
