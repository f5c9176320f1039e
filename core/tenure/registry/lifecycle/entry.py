"""The registry's own entry in the store, and the leases that it may be under.

Calls that write belong to an operation (see :mod:`.registration`), so one at a time. ``key``, ``lease`` and
``lease_ids`` may be read at any time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from tenure._client.store import Store
from tenure._runtime.deadline import Deadline
from tenure.errors import LeaseNotFound, RegistrationReplaced, TenureError
from tenure.leases.lease import Lease
from tenure.registry.lifecycle.claim import claim, describe_holder
from tenure.registry.model.config import RegistryConfig
from tenure.registry.model.instance import Instance
from tenure.registry.model.wire_format import encode, key_of
from tenure.spi.types import KeyValue, LeaseId

_log = logging.getLogger("tenure.registry")

CALLS = 4
"""Calls to the store that an operation usually makes at most, each with the store's timeout."""


class OwnEntry:
    """At most one entry. ``on_lost`` is called when a lease of this entry is lost."""

    def __init__(self, store: Store, config: RegistryConfig, on_lost: Callable[[Lease], None]) -> None:
        self._store = store
        self._config = config
        self._on_lost = on_lost
        self._revision: int | None = None
        self.key: str | None = None
        self.lease: Lease | None = None
        self.lease_ids: set[LeaseId] = set()
        """Every lease that an entry of this registration may be under."""

    @property
    def has_lease(self) -> bool:
        """Whether the present lease is alive."""
        return self.lease is not None and self.lease.alive

    def default_deadline(self) -> Deadline:
        """Return the deadline of an operation with a few calls, each of which has the store's timeout."""
        return Deadline(CALLS * self._store.timeout)

    def name(self, instance: Instance) -> None:
        """Set the key to that of ``instance``."""
        self.key = key_of(self._config.key_prefix, instance)

    def create(self, instance: Instance, deadline: Deadline, *, may_replace: Callable[[KeyValue], bool]) -> None:
        """Write the entry of ``instance``, which isn't there; replace another one that ``may_replace`` allows."""
        self._claim(instance, None, deadline, may_replace)

    def update(self, instance: Instance, deadline: Deadline) -> None:
        """Replace the entry by that of ``instance``."""
        self._claim(instance, self._revision, deadline, lambda _item: False)

    def intact(self, instance: Instance, deadline: Deadline, *, registered: bool) -> bool:
        """Return whether the entry exists as it was written, under the present lease.

        Raises ``RegistrationReplaced`` if another client has the entry of an instance that is ``registered``.
        """
        lease, key = self.lease, self.key
        if lease is None or key is None or not lease.alive:
            return False
        item = self._store.get(key, timeout=deadline.within(self._store.timeout))
        if item is None:
            return False
        if item.lease_id is not None and item.lease_id not in self.lease_ids:
            if not registered:
                return False  # another client registered first while this one was gone; it may leave again
            raise RegistrationReplaced(
                f"keeping {instance.identity()!r} registered: another client replaced it: {describe_holder(key, item)}"
            )
        self._revision = item.mod_revision
        return item.lease_id == lease.id and item.value == encode(instance)

    def forget_former_leases(self) -> None:
        """The entry is under the present lease for certain, so it can't be under another."""
        if self.lease is not None:
            self.lease_ids = {self.lease.id}

    def end(self, deadline: Deadline) -> None:
        """Revoke every lease that an entry of this registration may have. Raises the store's errors."""
        lease, others = self.lease, self.lease_ids
        self.lease, self.lease_ids, self._revision, self.key = None, set(), None, None
        if lease is not None and lease.alive:
            others = others - {lease.id}
            lease.revoke(timeout=deadline.within(self._store.timeout))
        for lease_id in others:
            # A lease that is lost here may still be alive in the store, whose clock starts later.
            try:
                self._store.revoke_lease(lease_id, timeout=deadline.within(self._store.timeout))
            except LeaseNotFound:
                continue

    def end_quietly(self, deadline: Deadline) -> None:
        """Do the same; log what the store raises."""
        try:
            self.end(deadline)
        except TenureError as exc:
            _log.warning("a lease could not be revoked and will expire: %s", exc)

    def _claim(
        self, instance: Instance, revision: int | None, deadline: Deadline, may_replace: Callable[[KeyValue], bool]
    ) -> None:
        self._revision = claim(
            self._store,
            key_of(self._config.key_prefix, instance),
            encode(instance),
            deadline=deadline,
            lease=lambda: self._ensure_lease(deadline),
            own_lease_ids=self.lease_ids,
            revision=revision,
            may_replace=may_replace,
        )

    def _ensure_lease(self, deadline: Deadline) -> Lease:
        if self.lease is None or not self.lease.alive:
            lease = self._store.lease(
                self._config.heartbeat, on_lost=self._on_lost, timeout=deadline.within(self._store.timeout)
            )
            self.lease_ids.add(lease.id)
            self.lease = lease
        return self.lease
