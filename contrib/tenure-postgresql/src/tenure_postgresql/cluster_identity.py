"""Whether the data that a store was opened in are still there, or the server came back without any.

Every cluster of data has an identifier that its making gave it, and replicas and copies share it. So where the store's
tables are missing there are two cases:

* another identifier: the server lost its data and began anew, as a store that is empty. The tables are made again, and
  the call that found them missing says so and may be tried again: it was refused, so it changed nothing.
* the same one, or one that this user isn't allowed to ask for (anybody is, unless it was taken from them): somebody
  dropped the schema beside everything else. That is for people to decide, and is told.

Revisions and leases begin anew in both. Watches notice by the store's random ``history``, holders by their leases.
"""

from __future__ import annotations

import math
import threading
import time

from tenure.errors import TenureError, Unavailable
from tenure_postgresql import encoding, schema
from tenure_postgresql.connection import ConnectionBroken, ServerError, Statement
from tenure_postgresql.errors import NO_RIGHT, refused
from tenure_postgresql.pool import Pool

_ACTION = "looking for the store's tables"

_CLUSTER = Statement("cluster", "SELECT system_identifier FROM pg_control_system()")


class ClusterIdentity:
    """The cluster that a store is in, as far as its user may know it. Thread-safe."""

    def __init__(self, pool: Pool, name: schema.Schema, *, until: float) -> None:
        self._pool = pool
        self._name = name
        self._lock = threading.Lock()
        self._cluster = self._look(until)
        self._made_anew = -math.inf

    def missing(self, since: float, until: float) -> TenureError | None:
        """What to tell who asked at ``since`` and found a table missing, if that was put right; else ``None``."""
        if not self._lock.acquire(timeout=max(0.0, until - time.monotonic())):
            return Unavailable(f"{_ACTION}: they are being made anew; nothing was changed, try again")
        try:
            cluster = self._look(until)
            if cluster is not None and cluster != self._cluster:
                schema.prepare(self._pool, self._name, until=until)
                self._cluster, self._made_anew = cluster, time.monotonic()
            # Who asked later has met the new tables: what is missing now is missing for another reason.
            return _anew() if since < self._made_anew else None
        except TenureError as exc:
            return exc
        finally:
            self._lock.release()

    def _look(self, until: float) -> int | None:
        """The cluster's identifier; ``None`` where this user may not know it."""
        connection = self._pool.take(until, _ACTION)
        try:
            [[cluster]] = connection.ask(_CLUSTER, until=until)
        except ConnectionBroken as exc:
            self._pool.drop(connection)
            raise self._pool.broken(exc, _ACTION, connection.where, write=False) from exc
        except ServerError as exc:
            self._pool.after_server_error(connection, exc)
            if exc.state == NO_RIGHT:
                return None
            raise refused(exc, action=_ACTION, where=connection.where) from exc
        except BaseException:
            self._pool.drop(connection)
            raise
        self._pool.give_back(connection)
        return encoding.number(cluster)


def _anew() -> Unavailable:
    return Unavailable(
        "the server came back without its data, and the store's tables were made anew, empty; this call changed "
        "nothing and can be tried again"
    )
