"""Where in which history a watch is, and whether the store still has that history.

A restart without persistence, a restored dump or a replica that took over with less than the old primary had all
leave a store that looks in order and isn't the one that was watched: XREAD would wait for a revision long past, or
skip what the other history has under the same numbers. So where the plugin knows which transaction made a revision, it
makes sure that the log still has that one before it goes on from there. It knows it of every revision at which a feed
of this backend ended. Any other revision is checked by being in the log at all, and refused if it is not beyond
what was seen before history was found to have been replaced.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from tenure.errors import Compacted
from tenure.plugin_kit import Deadline, Monitor
from tenure_redis import scripts
from tenure_redis.pool import Pool

_REMEMBERED = 10_000


class HistoryPosition(NamedTuple):
    """A point in a store's history: ``op`` made ``revision`` of the store ``identity``. Empty where not known."""

    identity: bytes
    revision: int
    op: bytes


class HistoryPositions:
    """What one backend knows of revisions at which its feeds ended. Thread-safe."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._lock = Monitor()
        self._ends: OrderedDict[int, HistoryPosition] = OrderedDict()
        self._doubtful = 0

    def remember(self, position: HistoryPosition) -> None:
        """Keep which transaction made a revision at which a feed ended."""
        if position.op:
            with self._lock:
                self._ends[position.revision] = position
                self._ends.move_to_end(position.revision)
                while len(self._ends) > _REMEMBERED:
                    self._ends.popitem(last=False)

    def replaced(self, seen: int) -> None:
        """The history was found to be another one: revisions up to ``seen`` may be of either."""
        with self._lock:
            self._doubtful = max(self._doubtful, seen)

    def verify(self, after: int, deadline: Deadline) -> HistoryPosition:
        """Where to go on from ``after``. Raises ``Compacted`` unless the log has it, and it is the same."""
        with self._lock:
            known = self._ends.get(after)
            doubtful = known is None and after <= self._doubtful
        identity, op = (known.identity, known.op) if known is not None else (b"", b"")
        verdict, now_identity, revision, oldest = self._pool.run(
            scripts.HISTORY, identity, after, op, deadline=deadline, action="watching"
        )
        if verdict == b"same" and not doubtful:
            return HistoryPosition(now_identity, after, op)
        where = self._pool.locator.where
        if verdict == b"trimmed":
            raise Compacted(
                f"watching: revision {after} is no longer in the log of Redis at {where}, which begins at "
                f"{int(oldest)} (the option history says how many are kept)",
                oldest_revision=int(oldest),
            )
        if known is not None:
            self.replaced(after)
        raise Compacted(
            f"watching: revision {after} isn't in the history of Redis at {where}, now at {int(revision)}: its "
            "data was lost or replaced, by a restart without persistence or a replica that lagged behind",
            oldest_revision=int(oldest),
        )
