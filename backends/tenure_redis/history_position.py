"""Whether the store still has the history that a watch has seen.

A restart without persistence, a restored dump or a replica that took over with less than the old primary had all
leave a store that looks in order and isn't the one that was watched. No revision is used twice, also then. So a watch
goes on where the log has its revision, and nowhere else. While it runs each entry of the log proves it: an entry names
the revision that it follows.
"""

from __future__ import annotations

from tenure.errors import Compacted, HistoryReplaced
from tenure.plugin_kit import Deadline
from tenure_redis import scripts
from tenure_redis.connection import Connection
from tenure_redis.pool import Pool


def require(pool: Pool, after: int, deadline: Deadline) -> None:
    """Raise ``HistoryReplaced`` or ``Compacted`` unless the log has all that followed ``after``."""
    verdict, present, start = pool.run(scripts.HISTORY, after, deadline=deadline, action="watching")
    if verdict != b"same":
        raise _cut_off(pool.locator.where, after, verdict, int(present), int(start))


def cut_off(pool: Pool, connection: Connection, after: int, deadline: Deadline) -> Compacted:
    """Why the log doesn't go on after ``after``."""
    verdict, present, start = pool.evaluate(connection, scripts.HISTORY, (after,), deadline)
    return _cut_off(connection.where, after, verdict, int(present), int(start))


def _cut_off(where: object, after: int, verdict: bytes, present: int, start: int) -> Compacted:
    if verdict == b"trimmed":
        return Compacted(
            f"watching after revision {after}: those changes have left the log of Redis at {where}, which begins after "
            f"{start}; read the present state, or raise the option history",
            oldest_revision=start,
        )
    if not after:  # no entry ever had it, so none of its followers tells anything about a loss
        return Compacted(
            f"watching after revision 0: that is older than the oldest change that Redis at {where} keeps; watch after "
            f"{start} for all of them, or read the present state",
            oldest_revision=start,
        )
    return HistoryReplaced(
        f"watching after revision {after}: Redis at {where}, now at {present}, has no such revision: its data were "
        "lost or replaced, by a restart without persistence, a flush, a restored dump or a replica that lagged "
        "behind; read the present state",
        oldest_revision=start,
    )
