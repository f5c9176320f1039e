"""Whether the change log still has the revision that a watch goes on from.

Revisions are unique (``next_v1`` in ``schema_ddl``): a restored backup, or a replica that lagged behind, never uses one
of the lost history again. So a revision that the log has belongs to the history of the watch. So do the present one,
and the one up to which the log was trimmed. Any other revision is too old, or of a history that the store no longer
has.
"""

from __future__ import annotations

from tenure.errors import Compacted, HistoryReplaced
from tenure_postgresql import encoding
from tenure_postgresql.context import BackendContext


def verify(context: BackendContext, after: int, *, timeout: float) -> None:
    """Raise ``Compacted`` or ``HistoryReplaced`` unless a watch can continue from ``after``."""
    row = context.rows(context.statements.position, [encoding.bigint(after)], timeout=timeout, action="watching")[0]
    start, there = encoding.number(row[0]), encoding.flag(row[1])
    if not there and after != start:
        raise missing(after, start, context.pool.endpoints.where)


def missing(revision: int, start: int, where: str) -> Compacted:
    """The error for a revision that the log doesn't have. ``start``: the log has every change after this one."""
    if revision < start:
        return Compacted(
            f"watching: the changes after revision {revision} are no longer in the log at {where}, which begins after "
            f"{start} (the option history says how many are kept)",
            oldest_revision=start,
        )
    return HistoryReplaced(
        f"watching: revision {revision} isn't in the log at {where}: the store's data were lost or replaced by a "
        "backup, or a replica took over that lagged behind"
    )
