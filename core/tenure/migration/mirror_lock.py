"""A mirror's hold on its target: whose copy the namespace is, and that only one mirror writes to it.

Two keys in the target, neither of them part of what is mirrored:

* the record, for good: from which source, and under which leases copies of leased keys may stand;
* the lock, under a lease of its own, with the mirror's id. It is the shorter one: after a mirror was killed the next
  has time to take the lock and to put the copies under a lease of its own before they go.

Every transaction of a mirror has the lock as it was taken as its precondition (:meth:`Hold.transaction`), so one that
was frozen while another took its place can't write any more. A lease that ended, as it does in a long outage, is
followed by a new one under which the lock is taken again; if another mirror was quicker, that is an error.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import uuid
from typing import Any

from tenure._client.store import Store
from tenure._client.transaction import TransactionBuilder
from tenure._failed import Failed
from tenure._text import seconds
from tenure.errors import Conflict, LeaseLost, OutcomeUnknown, TenureError, Unavailable
from tenure.leases.lease import Lease, LeaseState
from tenure.migration.copier import RECORD as COPY_RECORD
from tenure.spi.types import KeyValue, LeaseId

RECORD = "leasehold-mirror"
LOCK = "leasehold-mirror-lock"
NOT_MIRRORED = frozenset({RECORD, LOCK, COPY_RECORD})
"""Keys that belong to commands, on either side."""

_LOCK_SHARE = 1 / 3  # of the copies' ttl


class Hold:
    """The right to write to ``target`` as the mirror of ``source_url``. Copies outlive it by ``ttl`` seconds."""

    def __init__(self, target: Store, source_url: str, *, ttl: float) -> None:
        self._target = target
        self._source_url = source_url
        self._ttl = ttl
        self._lock_lease: Lease | None = None
        self._revision: int | None = None
        self._copies: Lease | None = None
        self._ours: tuple[LeaseId, ...] = ()
        self.id = uuid.uuid4().hex

    @property
    def lease(self) -> Lease:
        """The lease that copies of leased keys stand under. Raises ``LeaseLost`` when it has ended."""
        return _held(self._copies)

    @property
    def silent_for(self) -> float:
        """Seconds for which the target hasn't answered, 0.0 while it does. Raises ``LeaseLost``."""
        silent = [lease for lease in (_held(self._lock_lease), self.lease) if lease.state is LeaseState.AT_RISK]
        return max((lease.ttl - lease.remaining for lease in silent), default=0.0)

    def foreign(self, item: KeyValue) -> bool:
        """Whether a key of the target belongs to a living process there rather than to the mirror."""
        return item.lease_id is not None and item.lease_id not in self._ours

    def transaction(self) -> TransactionBuilder:
        """A transaction that only applies while the lock is ours. Raises ``LeaseLost``."""
        _held(self._lock_lease)
        assert self._revision is not None
        return self._target.transaction().if_unchanged(LOCK, revision=self._revision)

    # -- taking it --

    def take(self) -> None:
        """Make sure that the target is ours to write to. May be called again and again.

        Raises ``Failed`` if it is another source's, somebody else's, or being written by another mirror.
        """
        self._check_record()
        if self._lock_lease is None or not self._lock_lease.alive:
            self._lock_lease = self._target.lease(self._ttl * _LOCK_SHARE)
        self._revision = self._lock(self._lock_lease)
        known = self._check_record()  # once more, now that nobody else can change it
        if self._copies is None or not self._copies.alive:
            self._copies = self._target.lease(self._ttl)
        self._write_record((*(each for each in known if each != self._copies.id), self._copies.id))

    def settle(self) -> None:
        """Every copy stands under the present lease: forget the earlier ones."""
        if len(self._ours) > 1:
            self._write_record((self.lease.id,))

    def _check_record(self) -> tuple[LeaseId, ...]:
        """The leases that the record names, none if there is no record. Raises ``Failed``."""
        found = self._target.get(RECORD)
        if found is None:
            if any(item.key != LOCK for item in self._target.list(limit=2)):
                raise Failed(
                    f"the target {self._target.url} has keys already and no mirror's record: mirror into an empty "
                    "namespace, since keys that the source doesn't have are deleted"
                )
            return ()
        record = _parsed(found)
        if record.get("source") != self._source_url or not isinstance(record.get("leases"), list):
            raise Failed(
                f"the target {self._target.url} is the mirror of {record.get('source') or 'something unreadable'}, not "
                f"of {self._source_url}: take another namespace, or delete the key {RECORD!r} and all others there"
            )
        return tuple(str(lease_id) for lease_id in record["leases"])

    def _write_record(self, leases: tuple[LeaseId, ...]) -> None:
        record = {"source": self._source_url, "leases": list(leases)}
        if leases != self._ours:
            self.transaction().put(RECORD, json.dumps(record).encode()).commit()
            self._ours = leases

    def _lock(self, lease: Lease) -> int:
        """Put the lock under ``lease``; the revision at which it stands. Another mirror's is an error."""
        value = json.dumps({"id": self.id, "host": socket.gethostname(), "pid": os.getpid()}).encode()
        with contextlib.suppress(Conflict, OutcomeUnknown):
            return self._target.put_if_absent(LOCK, value, lease=lease).revision
        found = self._target.get(LOCK)
        if found is None:
            raise Unavailable(f"the key {LOCK!r} of the target changed while it was being written")
        holder = _parsed(found)
        if holder.get("id") != self.id:
            raise Failed(
                f"another mirror is writing to {self._target.url}: process {holder.get('pid')} on "
                f"{holder.get('host')}. Stop it first; if it was killed, its lock is gone within "
                f"{seconds(lease.max_lifetime_after_refresh)}"
            )
        if found.lease_id == lease.id:
            return found.mod_revision
        return self._target.put_if_unchanged(LOCK, value, revision=found.mod_revision, lease=lease).revision

    # -- letting go --

    def leave(self) -> float:
        """Give the lock back, and leave the copies' lease to expire: they stay until then, for the answered number of
        seconds at most (0.0 if there was no such lease). Never raises."""
        lock, copies = self._lock_lease, self._copies
        self._lock_lease = self._copies = None
        staying = 0.0
        if copies is not None and copies.alive:
            staying = copies.max_lifetime_after_refresh
            with contextlib.suppress(TenureError):
                copies.refresh()
            # Ended for us, not for the store: closing the store revokes only what is still held.
            copies.mark_revoked()
        if lock is not None:
            with contextlib.suppress(TenureError):  # without an answer the lock ends with its lease
                lock.revoke()
        return staying


def _held(lease: Lease | None) -> Lease:
    if lease is None:
        raise LeaseLost("the mirror holds nothing in its target yet")
    lease.ensure_valid()
    return lease


def _parsed(item: KeyValue) -> dict[str, Any]:
    try:
        value = json.loads(item.value)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
