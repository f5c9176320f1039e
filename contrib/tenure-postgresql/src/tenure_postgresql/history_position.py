"""Where in which history a watch is, and whether the store still has that history.

A server restored from a copy, or a replica that took over with less than the old primary had, looks in order and isn't
the one that was watched: revisions are given a second time, to other transactions. Therefore the log has with each
revision the random number of the transaction that made it, and a backend remembers it for each revision at which one
of its feeds ended. Any other revision is checked by being in the log, and refused if it is not beyond what had been
seen when a history was found to have been replaced.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from tenure.errors import Compacted
from tenure.plugin_kit import Monitor
from tenure_postgresql import encoding
from tenure_postgresql.context import BackendContext

_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class HistoryPosition:
    """``op`` made ``revision`` of the store ``history``. Empty where that isn't known."""

    history: bytes
    revision: int
    op: bytes


class HistoryPositions:
    """What one backend knows of revisions at which its feeds ended. Thread-safe."""

    def __init__(self, context: BackendContext) -> None:
        self._context = context
        self._lock = Monitor()
        self._ends: OrderedDict[int, HistoryPosition] = OrderedDict()
        self._doubtful = -1

    def remember(self, position: HistoryPosition) -> None:
        """A feed ended here."""
        with self._lock:
            self._ends[position.revision] = position
            self._ends.move_to_end(position.revision)
            while len(self._ends) > _REMEMBERED:
                self._ends.popitem(last=False)

    def replaced(self, position: HistoryPosition) -> Compacted:
        """The store at hand doesn't have ``position``; the error to raise for that."""
        with self._lock:
            self._doubtful = max(self._doubtful, position.revision)
        return Compacted(
            f"watching: revision {position.revision} isn't in the history of the store at "
            f"{self._context.pool.endpoints.where}: it was restored from a copy, or a replica took over that lagged "
            "behind"
        )

    def trimmed(self, revision: int, oldest: int) -> Compacted:
        """The log no longer has what follows ``revision``; the error to raise for that."""
        return Compacted(
            f"watching: the changes after revision {revision} are no longer in the log at "
            f"{self._context.pool.endpoints.where}, which begins after {oldest} "
            "(the option history says how many are kept)",
            oldest_revision=oldest,
        )

    def verify(self, after: int, *, timeout: float) -> HistoryPosition:
        """Where to go on from ``after``. Raises ``Compacted``."""
        with self._lock:
            known = self._ends.get(after)
            doubtful = known is None and after <= self._doubtful
        row = self._context.rows(
            self._context.statements.position, [encoding.bigint(after)], timeout=timeout, action="watching"
        )[0]
        revision, history, start, op = encoding.number(row[0]), row[1] or b"", encoding.number(row[2]), row[3] or b""
        position = known or HistoryPosition(history, after, op)
        if position.history != history or after > revision or doubtful:
            raise self.replaced(position)
        if after < start:
            raise self.trimmed(after, start)
        if position.op and position.op != op:
            raise self.replaced(position) if op else self.trimmed(after, start)
        return position
