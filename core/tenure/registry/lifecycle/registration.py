"""The registry's own instance: register it under a lease, notice its loss, register it again, deregister it.

States::

    IDLE --register--> REGISTERED --lease lost, entry gone or overwritten--> RECOVERING --claimed--> REGISTERED
      ^                   |                                                   |
      '----deregister-----+---------------------------------------------------+
                          '--taken over--> FAILED <--too many attempts--------'

Rules:

* An operation that writes to the store holds ``_operation``: register, update, deregister, an attempt to recover.
  ``_condition`` guards the fields; no thread holds it during a call to the store.
* ``_generation`` grows when the registration ends. An operation under way then finds it changed and undoes its own
  write, so no entry comes back after a deregister.
* A hint at a loss, from the lease or the watch, only marks the registration as suspect. One thread reads the store and
  acts on what it finds, so a false or late hint costs one read. The thread lives as long as an instance is registered.
* The first attempt comes at once (with jitter: within a tenth of the heartbeat), the next ones after Fibonacci
  delays. When the watch reconnects after a break, the next attempt comes earlier.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tenure._client.store import Store
from tenure._runtime.deadline import Deadline
from tenure._runtime.exits import ending
from tenure._runtime.monitor import Monitor
from tenure.errors import (
    AlreadyRegistered,
    DeadlineExceeded,
    InvalidArgument,
    LeaseNotFound,
    OutcomeUnknown,
    RegistrationReplaced,
    RegistryError,
    StoreClosed,
    TenureError,
)
from tenure.leases.lease import Lease
from tenure.registry.lifecycle.backoff import FibonacciBackoff
from tenure.registry.lifecycle.claim import claim, describe_holder
from tenure.registry.model.config import RegistryConfig
from tenure.registry.model.events import Part, Status, StatusChange
from tenure.registry.model.instance import Instance
from tenure.registry.model.wire_format import encode, key_of
from tenure.spi.types import LeaseId
from tenure.watch.events import Batch

_log = logging.getLogger("tenure.registry")
_SPREAD = 0.1
"""Part of a heartbeat over which first attempts are spread."""
CALLS = 4
"""Calls to the store that an operation usually makes at most, each with the store's timeout."""


class Registration:
    """Keep at most one instance registered.

    ``report`` receives status changes. ``offline`` returns the seconds for which the watch has been disconnected, 0.0
    while it is connected.
    """

    def __init__(
        self,
        store: Store,
        config: RegistryConfig,
        *,
        report: Callable[[StatusChange], None],
        offline: Callable[[], float],
    ) -> None:
        self._store = store
        self._config = config
        self._report = report
        self._offline = offline
        self._operation = threading.Lock()
        self._condition = Monitor()
        self._backoff = FibonacciBackoff(first=config.retry_first, longest=config.retry_longest, jitter=config.jitter)
        self._generation = 0
        self._wanted: Instance | None = None
        self._revision: int | None = None
        self._own_lease_ids: set[LeaseId] = set()
        self._suspicion = ""
        self._due = 0.0
        self._attempts = 0
        self._was_offline = False
        self._thread: threading.Thread | None = None
        self.key: str | None = None
        self.lease: Lease | None = None
        self.status = Status.IDLE
        self.error: TenureError | None = None

    @property
    def instance(self) -> Instance | None:
        """The instance that is registered, or is to be registered again; ``None`` if there is none."""
        return self._wanted

    # -- acting ------------------------------------------------------------------------------------

    def register(self, instance: Instance, deadline: Deadline, *, take_over: bool) -> None:
        """Register ``instance``. Raises ``AlreadyRegistered``.

        Raises ``OutcomeUnknown`` if the entry may still appear; it then disappears when its lease expires.
        """
        with self._operating(deadline):
            with self._condition:
                if self._wanted is not None:
                    raise AlreadyRegistered(
                        f"registering {instance.identity()!r}: this registry has {self._wanted.identity()!r} "
                        "registered; update it, or deregister it first"
                    )
                generation = self._generation
                self._wanted = instance
                self._suspicion = ""
                self.key = key_of(self._config.key_prefix, instance)
            try:
                revision = self._claim(instance, None, deadline, take_over=take_over)
            except BaseException:
                self._abandon(generation)
                self._end_leases_quietly(deadline)
                raise
            self._write_succeeded(generation, revision, f"{instance.identity()} is registered")

    def update(self, change: Callable[[Instance], Instance], deadline: Deadline) -> Instance:
        """Replace the present instance by what ``change`` returns for it.

        If the store refuses, the old entry stays. If the outcome is unknown, the new entry is written as soon as the
        store answers.
        """
        with self._operating(deadline):
            with self._condition:
                generation, before = self._generation, self._wanted
            if before is None:
                raise RegistryError("updating the instance: nothing is registered; register an instance first")
            instance = change(before)
            if instance.identity() != before.identity():
                raise InvalidArgument(
                    f"updating {before.identity()!r} to {instance.identity()!r}: an update keeps service, id and host; "
                    "deregister, then register the other instance"
                )
            try:
                revision = self._claim(instance, self._revision, deadline)
            except OutcomeUnknown:
                self._replace(generation, instance)
                self.mark_suspect("an update wasn't answered")
                raise
            except TenureError:
                if self.lease is None or not self.lease.alive:
                    self.mark_suspect("its lease was lost during an update")
                raise
            self._replace(generation, instance)
            self._write_succeeded(generation, revision, f"{instance.identity()} is registered")
            return instance

    def deregister(self, deadline: Deadline) -> bool:
        """End the registration: heartbeat, recovery and entry. Return whether there was one.

        Raises ``Unavailable`` or ``OutcomeUnknown`` if the store doesn't confirm within ``deadline``. Then no client
        refreshes the lease any more, and the entry disappears when it expires.
        """
        with self._condition:
            was = self._wanted
            if was is None:
                if self.status is Status.FAILED:
                    self._set_status(Status.IDLE, "it was deregistered")
                return False
            self._generation += 1
            self._wanted = None
            self._suspicion = ""
            self._condition.notify_all()
        try:
            with self._operating(deadline):
                self._end_leases(deadline)
        except DeadlineExceeded:
            # An attempt to recover is still under way. It undoes its own write; this lease must not be kept alive.
            lease = self.lease
            if lease is not None:
                lease.abandon()
            raise
        finally:
            with self._condition:
                if self._wanted is None:
                    self._set_status(Status.IDLE, f"{was.identity()} was deregistered")
        return True

    def close(self, deadline: Deadline) -> None:
        """After the last deregister: wait for the thread until ``deadline``, and report CLOSED."""
        with self._condition:
            self._condition.notify_all()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(deadline.remaining())
        with self._condition:
            self._set_status(Status.CLOSED, "the registry was closed")

    # -- hints at a loss; called from any thread, never waits for the store -------------------------------

    def mark_suspect(self, reason: str) -> None:
        """Have the thread check the entry soon, since ``reason`` hints that it is gone."""
        with self._condition:
            if self._wanted is None or self._suspicion:
                return
            self._suspicion = reason
            self._due = self._store.clock.now() + self._backoff.first(self._config.heartbeat * _SPREAD)
            self._condition.notify_all()

    def observe(self, batch: Batch) -> None:
        """Look for the registry's own entry in a batch of the watch."""
        key = self.key
        for event in batch.events:
            if event.key == key:
                if event.item is None:
                    self.mark_suspect("its entry was deleted")
                elif event.item.lease_id not in self._own_lease_ids:
                    self.mark_suspect("its entry was overwritten")

    def _lease_lost(self, lease: Lease) -> None:
        if lease is self.lease:
            self.mark_suspect(f"its lease was lost: {lease.reason}")

    # -- recovering: the thread ---------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._condition:
                while True:
                    if self._wanted is None:
                        self._thread = None
                        return
                    pause = self._pause()
                    if pause is not None and pause <= 0:
                        break
                    self._store.clock.wait(self._condition, pause)
                generation = self._generation
            with self._operation:
                self._recover(generation)

    def _pause(self) -> float | None:
        """Return the seconds until the thread has to act; ``None`` if it need not."""
        if not self._suspicion:
            return None
        now = self._store.clock.now()
        spread = self._config.heartbeat * _SPREAD
        if self._offline() > 0:
            self._was_offline = True
        elif self._was_offline:
            self._was_offline = False
            self._due = min(self._due, now + self._backoff.first(spread))
        left = self._due - now
        return min(left, spread) if left > 0 else 0.0

    def _recover(self, generation: int) -> None:
        with self._condition:
            instance, reason = self._wanted, self._suspicion
            if generation != self._generation or instance is None:
                return
            self._suspicion = ""
        deadline = self._default_deadline()
        try:
            if self._entry_intact(instance, deadline):
                revision = self._revision
            else:
                with self._condition:
                    if self.status is Status.REGISTERED and generation == self._generation:
                        self._set_status(Status.RECOVERING, reason)
                revision = self._claim(instance, None, deadline, recovering=True)
        except (StoreClosed, RegistrationReplaced) as exc:
            self._fail(generation, str(exc), exc)
        except TenureError as exc:
            self._attempt_failed(generation, reason, exc)
        else:
            self._write_succeeded(generation, revision, f"{instance.identity()} is registered again")

    def _entry_intact(self, instance: Instance, deadline: Deadline) -> bool:
        """Return whether the entry exists as it was written, under the present lease."""
        lease, key = self.lease, self.key
        if lease is None or key is None or not lease.alive:
            return False
        item = self._store.get(key, timeout=deadline.within(self._store.timeout))
        if item is None:
            return False
        if item.lease_id is not None and item.lease_id not in self._own_lease_ids:
            if self.status is not Status.REGISTERED:
                return False  # another client registered first while this one was gone; it may leave again
            raise RegistrationReplaced(
                f"keeping {instance.identity()!r} registered: another client replaced it: {describe_holder(key, item)}"
            )
        self._revision = item.mod_revision
        return item.lease_id == lease.id and item.value == encode(instance)

    def _attempt_failed(self, generation: int, reason: str, error: TenureError) -> None:
        with self._condition:
            ended = generation != self._generation
            self._attempts += not ended
            limit = self._config.max_retry
            if not ended and (limit is None or self._attempts < limit):
                delay = self._backoff.delay()
                self._suspicion = reason
                self._due = self._store.clock.now() + delay
                self._was_offline = self._offline() > 0
                self._set_status(
                    Status.RECOVERING, f"{reason}; attempt {self._attempts} failed, next in {delay:.1f} s", error
                )
                return
        if ended:  # the registration ended meanwhile: a lease granted to this attempt must not be kept alive
            self._end_leases_quietly(self._default_deadline())
            return
        self._fail(generation, f"{reason}; gave up after {self._attempts} attempts: {error}", error)

    def _fail(self, generation: int, reason: str, error: TenureError) -> None:
        if self._abandon(generation):
            self._end_leases_quietly(self._default_deadline())
            with self._condition:
                self._set_status(Status.FAILED, reason, error)

    # -- inside, with `_operation` held -------------------------------------------------------------

    def _default_deadline(self) -> Deadline:
        """Return the deadline of an operation with a few calls, each of which has the store's timeout."""
        return Deadline(CALLS * self._store.timeout)

    @contextmanager
    def _operating(self, deadline: Deadline) -> Iterator[None]:
        if not self._operation.acquire(timeout=deadline.remaining()):
            raise DeadlineExceeded(
                f"changing the registration: an earlier operation was still running after {deadline.seconds:g} s; try "
                "again, or give a longer timeout"
            )
        try:
            yield
        finally:
            self._operation.release()

    def _claim(
        self,
        instance: Instance,
        revision: int | None,
        deadline: Deadline,
        *,
        take_over: bool = False,
        recovering: bool = False,
    ) -> int:
        return claim(
            self._store,
            key_of(self._config.key_prefix, instance),
            encode(instance),
            deadline=deadline,
            lease=lambda: self._ensure_lease(deadline),
            own_lease_ids=self._own_lease_ids,
            revision=revision,
            # An entry without a lease was written by hand over ours, and would never expire.
            may_replace=lambda item: take_over or (recovering and item.lease_id is None),
        )

    def _ensure_lease(self, deadline: Deadline) -> Lease:
        if self.lease is None or not self.lease.alive:
            lease = self._store.lease(
                self._config.heartbeat, on_lost=self._lease_lost, timeout=deadline.within(self._store.timeout)
            )
            self._own_lease_ids.add(lease.id)
            self.lease = lease
        return self.lease

    def _replace(self, generation: int, instance: Instance) -> None:
        with self._condition:
            if generation == self._generation:
                self._wanted = instance

    def _write_succeeded(self, generation: int, revision: int | None, reason: str) -> None:
        """Record a successful write; undo it if the registration ended meanwhile."""
        with self._condition:
            current = generation == self._generation
            if current:
                self._revision = revision
                self._attempts = 0
                self._backoff.reset()
                if self.lease is not None:
                    self._own_lease_ids = {self.lease.id}
                if self.status is not Status.REGISTERED:
                    self._set_status(Status.REGISTERED, reason)
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="tenure-registry", daemon=True)
                    try:
                        self._thread.start()
                    except BaseException as exc:
                        if self._thread.ident is None:
                            self._thread = None
                        if not isinstance(exc, RuntimeError) or not ending(exc):
                            raise
                if self.lease is None or not self.lease.alive:
                    self.mark_suspect("its lease was lost right after the entry was written")
        if not current:
            self._end_leases_quietly(self._default_deadline())

    def _abandon(self, generation: int) -> bool:
        with self._condition:
            if generation != self._generation:
                return False
            self._generation += 1
            self._wanted = None
            self._suspicion = ""
            return True

    def _end_leases(self, deadline: Deadline) -> None:
        """Revoke every lease that an entry of this registration may have. Raises the store's errors."""
        lease, others = self.lease, self._own_lease_ids
        self.lease, self._own_lease_ids, self._revision, self.key = None, set(), None, None
        if lease is not None and lease.alive:
            others = others - {lease.id}
            lease.revoke(timeout=deadline.within(self._store.timeout))
        for lease_id in others:
            # A lease that is lost here may still be alive in the store, whose clock starts later.
            try:
                self._store.revoke_lease(lease_id, timeout=deadline.within(self._store.timeout))
            except LeaseNotFound:
                continue

    def _end_leases_quietly(self, deadline: Deadline) -> None:
        try:
            self._end_leases(deadline)
        except TenureError as exc:
            _log.warning("a lease could not be revoked and will expire: %s", exc)

    def _set_status(self, status: Status, reason: str, error: TenureError | None = None) -> None:
        level = {Status.RECOVERING: logging.WARNING, Status.FAILED: logging.ERROR}.get(status, logging.INFO)
        _log.log(level, "registration is %s: %s%s", status, reason, f" ({error})" if error else "")
        self.status, self.error = status, error
        self._report(StatusChange(Part.REGISTRATION, status, reason, error))
