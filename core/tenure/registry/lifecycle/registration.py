"""The own instance: registered under a lease, found lost, registered again, deregistered for good.

States::

    IDLE --register--> REGISTERED --lease lost, entry gone or overwritten--> RECOVERING --claimed--> REGISTERED
      ^                   |                                                   |
      '----deregister-----+---------------------------------------------------+
                          '--taken over--> FAILED <--too many attempts--------'

Rules:

* ``_operation`` is held by whoever writes to the store: register, update, deregister, an attempt to recover.
  ``_condition`` guards the fields and is never held during a call to the store.
* ``_generation`` grows when the registration is ended. An operation that was under way then finds it changed
  and takes back what it wrote: after a deregister nothing comes back to life.
* Whatever hints at a loss (the lease, the watch) only raises a suspicion. One thread looks at the store and acts on
  what is there, so a false or late hint costs one read. The thread lives as long as something is registered.
* The first attempt comes at once (jitter: within a tenth of the heartbeat), the next ones after Fibonacci delays;
  when the watch is seen to be connected again after a break, the wait is cut short.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tenure._client.store import Store
from tenure._runtime.deadline import Deadline
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
"""Calls to the store that an operation makes at most in the usual case, each with the store's timeout."""


class Registration:
    """At most one instance, kept registered. ``tell`` gets status changes; ``offline`` answers for how long the
    watch has been disconnected, 0.0 while it isn't."""

    def __init__(
        self,
        store: Store,
        config: RegistryConfig,
        *,
        tell: Callable[[StatusChange], None],
        offline: Callable[[], float],
    ) -> None:
        self._store = store
        self._config = config
        self._tell = tell
        self._offline = offline
        self._operation = threading.Lock()
        self._condition = threading.Condition()
        self._backoff = FibonacciBackoff(first=config.retry_first, longest=config.retry_longest, jitter=config.jitter)
        self._generation = 0
        self._wanted: Instance | None = None
        self._revision: int | None = None
        self._ours: set[LeaseId] = set()
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
        """What is registered, or is to be again; ``None`` if nothing."""
        return self._wanted

    # -- acting ------------------------------------------------------------------------------------

    def register(self, instance: Instance, deadline: Deadline, *, take_over: bool) -> None:
        """Register. Raises ``AlreadyRegistered``, or ``OutcomeUnknown`` when the entry may yet
        appear: it then goes by itself when its lease ends."""
        with self._operating(deadline):
            with self._condition:
                if self._wanted is not None:
                    raise AlreadyRegistered(
                        f"this registry has {self._wanted.identity()!r} registered: update it, or deregister it first"
                    )
                generation = self._generation
                self._wanted = instance
                self._suspicion = ""
                self.key = key_of(self._config.key_prefix, instance)
            try:
                revision = self._claim(instance, None, deadline, take_over=take_over)
            except BaseException:
                self._forget(generation)
                self._end_leases_quietly(deadline)
                raise
            self._settle(generation, revision, f"{instance.identity()} is registered")

    def update(self, change: Callable[[Instance], Instance], deadline: Deadline) -> Instance:
        """Put what ``change`` makes of the present instance in its place. Refused: the old one stays; unknown: the
        new one will be put as soon as the store answers."""
        with self._operating(deadline):
            with self._condition:
                generation, before = self._generation, self._wanted
            if before is None:
                raise RegistryError("nothing is registered here that could be updated: register an instance first")
            instance = change(before)
            if instance.identity() != before.identity():
                raise InvalidArgument(
                    f"an update keeps service, id and host: {before.identity()!r} can't become "
                    f"{instance.identity()!r}. Deregister, then register the other one"
                )
            try:
                revision = self._claim(instance, self._revision, deadline)
            except OutcomeUnknown:
                self._replace(generation, instance)
                self.suspect("an update wasn't answered")
                raise
            except TenureError:
                if self.lease is None or not self.lease.alive:
                    self.suspect("its lease was lost during an update")
                raise
            self._replace(generation, instance)
            self._settle(generation, revision, f"{instance.identity()} is registered")
            return instance

    def deregister(self, deadline: Deadline) -> bool:
        """End the registration: no heartbeat, no recovery, the entry deleted; whether there was anything to end.

        Raises ``Unavailable`` or ``OutcomeUnknown`` when the store doesn't confirm within ``deadline``: nothing keeps
        the entry alive any more, it goes when its lease ends.
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
            # An attempt to recover is still under way. It takes back what it writes; this lease must not live on.
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
        """After the last deregister: wait for the thread until ``deadline``, say CLOSED."""
        with self._condition:
            self._condition.notify_all()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(deadline.remaining())
        with self._condition:
            self._set_status(Status.CLOSED, "the registry was closed")

    # -- suspecting; called from any thread, never blocks on the store ------------------------------------

    def suspect(self, reason: str) -> None:
        """Something hints that the entry is gone: have it looked at soon."""
        with self._condition:
            if self._wanted is None or self._suspicion:
                return
            self._suspicion = reason
            self._due = self._store.clock.now() + self._backoff.first(self._config.heartbeat * _SPREAD)
            self._condition.notify_all()

    def observe(self, batch: Batch) -> None:
        """Look for the own entry in what the watch tells."""
        key = self.key
        for event in batch.events:
            if event.key == key:
                if event.item is None:
                    self.suspect("its entry was deleted")
                elif event.item.lease_id not in self._ours:
                    self.suspect("its entry was overwritten")

    def _lease_lost(self, lease: Lease) -> None:
        if lease is self.lease:
            self.suspect(f"its lease was lost: {lease.reason}")

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
        """Seconds until something has to be done, ``None`` while all is well."""
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
            if self._stands(instance, deadline):
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
            self._settle(generation, revision, f"{instance.identity()} is registered again")

    def _stands(self, instance: Instance, deadline: Deadline) -> bool:
        """Whether the entry is there as it should be, under the present lease."""
        lease, key = self.lease, self.key
        if lease is None or key is None or not lease.alive:
            return False
        item = self._store.get(key, timeout=deadline.within(self._store.timeout))
        if item is None:
            return False
        if item.lease_id is not None and item.lease_id not in self._ours:
            if self.status is not Status.REGISTERED:
                return False  # somebody was quicker while we were gone: they may go again
            raise RegistrationReplaced(f"another registration took the identity over: {describe_holder(key, item)}")
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
        if ended:  # meanwhile: a lease that this attempt was granted must not live on
            self._end_leases_quietly(self._default_deadline())
            return
        self._fail(generation, f"{reason}; gave up after {self._attempts} attempts: {error}", error)

    def _fail(self, generation: int, reason: str, error: TenureError) -> None:
        if self._forget(generation):
            self._end_leases_quietly(self._default_deadline())
            with self._condition:
                self._set_status(Status.FAILED, reason, error)

    # -- inside, with `_operation` held -------------------------------------------------------------

    def _default_deadline(self) -> Deadline:
        """For an operation of a few calls, each of which has the store's timeout."""
        return Deadline(CALLS * self._store.timeout)

    @contextmanager
    def _operating(self, deadline: Deadline) -> Iterator[None]:
        if not self._operation.acquire(timeout=deadline.remaining()):
            raise DeadlineExceeded(
                f"the registry was busy with an earlier registration for {deadline.seconds:g} s: try again, or give "
                "a longer timeout"
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
            lease=lambda: self._living_lease(deadline),
            ours=self._ours,
            revision=revision,
            # What nobody keeps alive has overwritten our entry by hand: it would stay for ever.
            may_replace=lambda item: take_over or (recovering and item.lease_id is None),
        )

    def _living_lease(self, deadline: Deadline) -> Lease:
        if self.lease is None or not self.lease.alive:
            lease = self._store.lease(
                self._config.heartbeat, on_lost=self._lease_lost, timeout=deadline.within(self._store.timeout)
            )
            self._ours.add(lease.id)
            self.lease = lease
        return self.lease

    def _replace(self, generation: int, instance: Instance) -> None:
        with self._condition:
            if generation == self._generation:
                self._wanted = instance

    def _settle(self, generation: int, revision: int | None, reason: str) -> None:
        """A write succeeded: it stands, or is taken back if the registration was ended meanwhile."""
        with self._condition:
            current = generation == self._generation
            if current:
                self._revision = revision
                self._attempts = 0
                self._backoff.reset()
                if self.lease is not None:
                    self._ours = {self.lease.id}
                if self.status is not Status.REGISTERED:
                    self._set_status(Status.REGISTERED, reason)
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="tenure-registry", daemon=True)
                    self._thread.start()
                if self.lease is None or not self.lease.alive:
                    self.suspect("its lease was lost right after the entry was written")
        if not current:
            self._end_leases_quietly(self._default_deadline())

    def _forget(self, generation: int) -> bool:
        with self._condition:
            if generation != self._generation:
                return False
            self._generation += 1
            self._wanted = None
            self._suspicion = ""
            return True

    def _end_leases(self, deadline: Deadline) -> None:
        """End every lease that an entry of ours may have. Raises what the store answers."""
        lease, others = self.lease, self._ours
        self.lease, self._ours, self._revision, self.key = None, set(), None, None
        if lease is not None and lease.alive:
            others = others - {lease.id}
            lease.revoke(timeout=deadline.within(self._store.timeout))
        for lease_id in others:
            # Lost for us is not yet gone for the store, whose clock starts later.
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
        self._tell(StatusChange(Part.REGISTRATION, status, reason, error))
