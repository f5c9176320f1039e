"""The registry's own instance: register it under a lease, update it, deregister it.

The parts: :mod:`.state` has the states and what guards them, :mod:`.entry` writes the entry and its lease, and the
thread in :mod:`.recovery` writes the entry again if it is gone. An operation that writes to the store holds
``_operation``: register, update, deregister, an attempt to recover.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tenure._client.store import Store
from tenure._runtime.deadline import Deadline
from tenure._runtime.monitor import Monitor
from tenure.errors import (
    AlreadyRegistered,
    CallInterrupted,
    DeadlineExceeded,
    InvalidArgument,
    OutcomeUnknown,
    RegistryError,
    TenureError,
)
from tenure.leases.lease import Lease
from tenure.registry.lifecycle.entry import OwnEntry
from tenure.registry.lifecycle.recovery import Recovery
from tenure.registry.lifecycle.state import RegistrationState
from tenure.registry.model.config import RegistryConfig
from tenure.registry.model.events import Status, StatusChange
from tenure.registry.model.instance import Instance
from tenure.watch.events import Batch


class Registration:
    """Keep at most one instance registered.

    ``report`` receives status changes. ``offline`` returns the seconds for which the watch has been disconnected, 0.0
    while it is connected. ``known`` returns the number of instances in the registry.
    """

    def __init__(
        self,
        store: Store,
        config: RegistryConfig,
        *,
        report: Callable[[StatusChange], None],
        offline: Callable[[], float],
        known: Callable[[], int],
    ) -> None:
        self._operation = Monitor()
        self._state = RegistrationState(report)
        self._entry = OwnEntry(store, config, self._lease_lost)
        self._recovery = Recovery(
            self._state, self._entry, self._operation, clock=store.clock, config=config, offline=offline, known=known
        )

    @property
    def instance(self) -> Instance | None:
        """The instance that is registered, or is to be registered again; ``None`` if there is none."""
        return self._state.wanted

    @property
    def key(self) -> str | None:
        """The key of the instance's entry; ``None`` if nothing is registered."""
        return self._entry.key

    @property
    def lease(self) -> Lease | None:
        """The present lease; ``None`` if there is none."""
        return self._entry.lease

    @property
    def status(self) -> Status:
        """The present status: REGISTERED only while the lease is alive, also before anything has noticed its end."""
        state = self._state
        if state.status is Status.REGISTERED and state.wanted is not None:
            lease = self._entry.lease
            if lease is not None and not lease.alive:
                return Status.RECOVERING
        return state.status

    @property
    def error(self) -> TenureError | None:
        """The error that led to the present status; ``None`` if there was none."""
        return self._state.error

    # -- the registry's calls ----------------------------------------------------------------------

    def register(self, instance: Instance, deadline: Deadline, *, take_over: bool) -> None:
        """Register ``instance``. Raises ``AlreadyRegistered``.

        Raises ``OutcomeUnknown`` if the entry may still appear; it then disappears when its lease expires.
        """
        with self._operating(deadline):
            with self._state.condition:
                present = self._state.wanted
                if present is not None:
                    raise AlreadyRegistered(
                        f"registering {instance.identity()!r}: this registry has {present.identity()!r} registered; "
                        "update it, or deregister it first"
                    )
                generation = self._state.begin(instance)
                self._entry.name(instance)
            try:
                self._entry.create(instance, deadline, may_replace=lambda _item: take_over)
            except BaseException:
                self._state.end(generation)
                self._entry.end_quietly(deadline)
                raise
            self._recovery.keep(generation, f"{instance.identity()} is registered")

    def update(self, change: Callable[[Instance], Instance], deadline: Deadline) -> Instance:
        """Replace the present instance by what ``change`` returns for it.

        If the store refuses, the old entry stays. If the outcome is unknown, the new entry is written as soon as the
        store answers.
        """
        with self._operating(deadline):
            with self._state.condition:
                generation, before = self._state.generation, self._state.wanted
            if before is None:
                raise RegistryError("updating the instance: nothing is registered; register an instance first")
            instance = change(before)
            if instance.identity() != before.identity():
                raise InvalidArgument(
                    f"updating {before.identity()!r} to {instance.identity()!r}: an update keeps service, id and host; "
                    "deregister, then register the other instance"
                )
            try:
                self._entry.update(instance, deadline)
            except OutcomeUnknown:
                self._state.replace(generation, instance)
                self._recovery.mark_suspect("an update wasn't answered")
                raise
            except TenureError:
                if not self._entry.has_lease:
                    self._recovery.mark_suspect("its lease was lost during an update", lost=True)
                raise
            self._state.replace(generation, instance)
            self._recovery.keep(generation, f"{instance.identity()} is registered")
            return instance

    def deregister(self, deadline: Deadline) -> bool:
        """End the registration: heartbeat, recovery and entry. Return whether there was one.

        Raises ``Unavailable`` or ``OutcomeUnknown`` if the store doesn't confirm within ``deadline``. Then no client
        refreshes the lease any more, and the entry disappears when it expires. Raises ``CallInterrupted``, with nothing
        done, in a signal handler that interrupted an operation.
        """
        self._check_not_interrupting()
        state = self._state
        with state.condition:
            was = state.wanted
            if was is None:
                if state.status is Status.FAILED:
                    state.set_status(Status.IDLE, "it was deregistered")
                return False
            state.end(state.generation)
        try:
            with self._operating(deadline):
                self._entry.end(deadline)
        except DeadlineExceeded:
            # An attempt to recover is still under way. It undoes its own write; this lease must not be kept alive.
            lease = self._entry.lease
            if lease is not None:
                lease.abandon()
            raise
        finally:
            with state.condition:
                if state.wanted is None:
                    state.set_status(Status.IDLE, f"{was.identity()} was deregistered")
        return True

    def store_closed(self, error: TenureError) -> None:
        """End the registration, whose lease the closing store revokes. Never waits for the store."""
        state = self._state
        with state.condition:
            if state.wanted is not None:
                state.end(state.generation)
                state.set_status(Status.FAILED, str(error), error)

    def close(self, deadline: Deadline) -> None:
        """After the last deregister: wait for the thread until ``deadline``, and report CLOSED."""
        self._recovery.join(deadline)
        with self._state.condition:
            self._state.set_status(Status.CLOSED, "the registry was closed")

    @contextmanager
    def _operating(self, deadline: Deadline) -> Iterator[None]:
        self._check_not_interrupting()
        try:
            if not self._operation.acquire(timeout=deadline.remaining()):
                raise DeadlineExceeded(
                    f"changing the registration: an earlier operation was still running after {deadline.seconds:g} s; "
                    "try again, or give a longer timeout"
                )
            yield
        finally:
            try:
                self._operation.leave()
            finally:
                self._operation.leave()

    def _check_not_interrupting(self) -> None:
        if self._operation.entered:
            raise CallInterrupted(
                "changing the registration: a signal handler or finalizer made this call in the middle of another "
                "change by the same thread; let the handler set a flag, or call from another thread"
            )

    # -- hints at a loss; called from any thread, never waits for the store ------------------------

    def observe(self, batch: Batch) -> None:
        """Look for the registry's own entry in a batch of the watch."""
        key = self._entry.key
        for event in batch.events:
            if event.key == key:
                if event.item is None:
                    self._recovery.mark_suspect("its entry was deleted")
                elif event.item.lease_id not in self._entry.lease_ids:
                    self._recovery.mark_suspect("its entry was overwritten")

    def _lease_lost(self, lease: Lease) -> None:
        if lease is self._entry.lease:
            self._recovery.mark_suspect(f"its lease was lost: {lease.reason}", lost=True)
