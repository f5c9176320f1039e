"""Whether the data that a store was opened in are still there, or the server came back without any.

Every cluster of data has an identifier that its making gave it, and replicas and copies share it. So where the store's
tables are missing there are two cases:

* another identifier: the server lost its data and began anew, as a store that is empty. The tables are made again, and
  the call that found them missing says so and may be tried again: it was refused, so it changed nothing.
* the same one, or one that this user isn't allowed to ask for (anybody is, unless it was taken from them): somebody
  dropped the schema beside everything else. That is for people to decide, and is told.

Leases are lost in both. Watches notice it, since the log no longer has their revision; holders by their leases.
"""

from __future__ import annotations

import math

from tenure.errors import PermissionDenied, TenureError, Unavailable
from tenure.plugin_kit import Deadline, Monitor, monotonic
from tenure_postgresql import encoding, schema
from tenure_postgresql.connection import Statement
from tenure_postgresql.pool import Pool

_ACTION = "looking for the store's tables"

_CLUSTER = Statement("cluster", "SELECT system_identifier FROM pg_control_system()")


class ClusterIdentity:
    """The cluster that a store is in, as far as its user may know it. Thread-safe."""

    def __init__(self, pool: Pool, name: schema.Schema, *, deadline: Deadline) -> None:
        self._pool = pool
        self._name = name
        self._lock = Monitor()
        self._cluster = self._look(deadline)
        self._made_anew = -math.inf

    def missing(self, since: float, deadline: Deadline) -> TenureError | None:
        """The error for a call of ``since`` that found a table missing, if that was put right; else ``None``."""
        if not self._lock.acquire(timeout=deadline.remaining()):
            return Unavailable(f"{_ACTION}: they are being made again; nothing was changed, try again")
        try:
            cluster = self._look(deadline)
            if cluster is not None and cluster != self._cluster:
                schema.prepare(self._pool, self._name, deadline=deadline)
                self._cluster, self._made_anew = cluster, monotonic()
            # Who asked later has met the new tables: what is missing now is missing for another reason.
            return _anew() if since < self._made_anew else None
        except TenureError as exc:
            return exc
        finally:
            self._lock.release()

    def _look(self, deadline: Deadline) -> int | None:
        """The cluster's identifier; ``None`` where this user may not know it."""
        try:
            with self._pool.asking(deadline, _ACTION) as connection:
                [[cluster]] = connection.ask(_CLUSTER, deadline=deadline)
        except PermissionDenied:
            return None
        return encoding.number(cluster)


def _anew() -> Unavailable:
    return Unavailable(
        "the server came back without its data, and the store's tables were made again, empty; this call changed "
        "nothing and can be tried again"
    )
