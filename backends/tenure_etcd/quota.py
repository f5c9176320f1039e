"""Whether a write was applied that etcd answered with "database space exceeded".

Nearly always it was refused before it got into the log. But etcd looks at its quota a second time, when the write comes
out of the log, and then it applies the write and answers the same: that is the one that reaches the quota. So the keys
are looked at. One that the write would have put, and that was last put at a revision that had been seen before the
write was sent, shows that it wasn't applied; so does a store that is still at that revision. Else nobody can tell.
"""

from __future__ import annotations

from collections.abc import Iterable

from tenure.errors import OutcomeUnknown, StoreFull, TenureError
from tenure.plugin_kit import monotonic
from tenure.spi.types import Operation, Put
from tenure_etcd.connection import Connection
from tenure_etcd.messages import MESSAGES

_RangeRequest = MESSAGES["RangeRequest"]

_MOST_KEYS = 16
"""Keys that are looked at; one is enough unless somebody else writes or deletes at the same moment."""


def judge(
    connection: Connection, operations: Iterable[Operation], refusal: StoreFull, *, seen: int, until: float
) -> TenureError:
    """The error to raise: ``refusal`` if nothing was applied, ``OutcomeUnknown`` if that isn't sure.

    ``seen``: a revision that the store had before the write was sent.
    """
    keys = [operation.key for operation in operations if isinstance(operation, Put)]
    try:
        if any(_untouched(connection, key, seen, until) for key in keys[:_MOST_KEYS]):
            return refusal
    except TenureError:
        pass  # then it stays open
    return OutcomeUnknown(
        f"{refusal}; the write that reaches the quota is applied all the same: read before trying again"
    )


def _untouched(connection: Connection, key: str, seen: int, until: float) -> bool:
    """Whether nobody has put the key since the store was at the revision ``seen``."""
    request, timeout = _RangeRequest(key=key.encode()), max(until - monotonic(), 0.001)
    answer = connection.call("Range", request, timeout=timeout, write=False, action="looking at a refused write's keys")
    found = answer.kvs
    return answer.header.revision == seen or (bool(found) and found[0].mod_revision <= seen)
