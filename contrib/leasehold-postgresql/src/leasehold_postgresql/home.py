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

import threading
import time

from leasehold.errors import LeaseholdError, Unavailable
from leasehold_postgresql import schema, wire
from leasehold_postgresql.connection import BrokenLink, Refusal, Statement
from leasehold_postgresql.errors import NO_RIGHT, refused
from leasehold_postgresql.pool import Pool

_ACTION = "looking for the store's tables"

_CLUSTER = Statement(
    "cluster",
    """
    SELECT (SELECT system_identifier FROM pg_control_system()),
           EXISTS (SELECT FROM pg_catalog.pg_class c
                   WHERE c.relnamespace = to_regnamespace($1::text) AND c.relname = 'store')
    """,
)


class Home:
    """The cluster that a store is in, as far as its user may know it. Thread-safe."""

    def __init__(self, pool: Pool, name: schema.Schema, *, until: float) -> None:
        self._pool = pool
        self._name = name
        self._lock = threading.Lock()
        self._cluster, _ = self._look(until)

    def missing(self, until: float) -> LeaseholdError | None:
        """The tables weren't found. What to tell if that is put right or passes; ``None`` if it is for people."""
        if not self._lock.acquire(timeout=max(0.0, until - time.monotonic())):
            return Unavailable(f"{_ACTION}: they are being made anew; nothing was changed, try again")
        try:
            cluster, there = self._look(until)
            if cluster is None or cluster == self._cluster:
                # Another thread or process may just have made them.
                return _anew() if there else None
            schema.prepare(self._pool, self._name, until=until)
            self._cluster = cluster
            return _anew()
        except LeaseholdError as exc:
            return exc
        finally:
            self._lock.release()

    def _look(self, until: float) -> tuple[int | None, bool]:
        link = self._pool.take(until, _ACTION)
        try:
            cluster, there = link.ask(_CLUSTER, [wire.text(self._name.name)], until=until)[0]
        except BrokenLink as exc:
            self._pool.drop(link)
            raise self._pool.broken(exc, _ACTION, link.where, write=False) from exc
        except Refusal as exc:
            self._pool.after_refusal(link, exc)
            if exc.state == NO_RIGHT:
                return None, False
            raise refused(exc, action=_ACTION, where=link.where) from exc
        except BaseException:
            self._pool.drop(link)
            raise
        self._pool.give_back(link)
        return wire.number(cluster), wire.flag(there)


def _anew() -> Unavailable:
    return Unavailable(
        "the server came back without its data, and the store's tables were made anew, empty; this call changed "
        "nothing and can be tried again"
    )
