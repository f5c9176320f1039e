"""Keep all leases of a store alive with one thread.

Rules:

* A lease is refreshed a third of its TTL after its last refresh, together with all others that are almost
  due, in batches (``Backend.refresh`` takes many).
* A failed batch is tried again after a tenth of the TTL, at most a second. Leases that the answer leaves
  out are LOST.
* A lease whose deadline passes is LOST at that moment for every reader of its state, also while a refresh is still
  waiting for its answer. ``on_lost`` follows within a quarter of a second: an attempt lasts half of the time to the
  next deadline of any lease, so that there is time for another one, but no less than that quarter.
* The thread starts with the first lease and ends when none is left.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import math
import threading
import time
from collections.abc import Callable, Sequence

from tenure._runtime import retry
from tenure._runtime.callback_pool import CallbackPool
from tenure._runtime.clock import Clock
from tenure._runtime.deadline import Deadline, monotonic
from tenure._runtime.exits import after_interrupted_call, ending
from tenure._runtime.monitor import Monitor
from tenure._runtime.thread_start import start_thread
from tenure._runtime.timers import Timers
from tenure.errors import CallInterrupted, LeaseLost, OutcomeUnknown, StoreClosed, TenureError, Unavailable
from tenure.leases.lease import Lease
from tenure.spi.backend import Backend
from tenure.spi.types import LeaseId

_log = logging.getLogger("tenure.leases")

_BATCH = 500
_EARLY = 0.1
"""Leases due within this fraction of their refresh interval join a batch that is sent anyway."""
_ATTEMPT = 2.0
_SHORTEST_ATTEMPT = 0.25
_START_AGAIN = 0.1
_GONE = "the store no longer knows the lease"


class LeaseKeepAlive:
    """The leases of one store. The ``on_lost`` callbacks of leases run on ``callbacks``, each exactly once."""

    def __init__(
        self,
        backend: Backend,
        *,
        clock: Clock,
        callbacks: CallbackPool,
        timers: Timers,
        timeout: float,
        name: str,
        on_lost: Callable[[Lease], None],
    ) -> None:
        self._backend = backend
        self._clock = clock
        self._callbacks = callbacks
        self._timers = timers
        self._timeout = timeout
        self._name = name
        self._on_lost = on_lost
        self._condition = Monitor()
        self._leases: dict[LeaseId, Lease] = {}
        self._refresh_queue: list[tuple[float, int, Lease]] = []
        self._deadlines: list[tuple[float, int, Lease]] = []
        self._count = itertools.count()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._handed_over: dict[LeaseId, None] = {}
        """Leases that a signal handler revoked in the middle of another call, until they are."""

    # -- for the store --

    def add(self, lease: Lease) -> None:
        """Keep ``lease`` from now on. If the store closed meanwhile, revoke the lease and raise ``StoreClosed``."""
        with self._condition:
            if not self._closed:
                self._keep(lease)
                return
        lease.mark_revoked()
        self.revoke_all([lease.id], Deadline(self._timeout))
        raise StoreClosed(
            f"taking a lease: the store was closed while lease {lease.id} was being granted; call connect() again"
        )

    def _keep(self, lease: Lease) -> None:
        self._leases[lease.id] = lease
        self._push(self._deadlines, lease.deadline, lease)
        if lease.keep_alive:
            self._push(self._refresh_queue, lease.deadline - lease.ttl * 2 / 3, lease)
        self._ensure_thread()
        self._condition.notify()

    def _ensure_thread(self) -> None:
        """Start the thread if there is none. A start that fails is tried again in a moment: leases depend on it."""
        if self._thread is not None or self._closed or not self._leases:
            return
        try:
            self._thread = threading.Thread(target=self._run, name=f"{self._name}-leases", daemon=True)
            start_thread(self._thread)
        except RuntimeError as exc:  # too many threads
            self._thread = None
            level = logging.INFO if ending(exc) else logging.ERROR  # a lease that is taken at the end just expires
            _log.log(level, "%s: the thread that refreshes leases can't be started: %s", self._name, exc)
            if not ending(exc):
                self._timers.call_at(monotonic() + _START_AGAIN, self._start_again)
        except BaseException:  # an interrupt: leases depend on this thread
            if self._thread is not None and self._thread.ident is None:
                self._thread = None
                self._timers.call_at(monotonic() + _START_AGAIN, self._start_again)
            raise

    def _start_again(self) -> None:
        with self._condition:
            self._ensure_thread()

    def find(self, lease_id: LeaseId) -> Lease | None:
        """Return the lease with this id if this store object holds it."""
        return self._leases.get(lease_id)

    def stop(self, deadline: Deadline) -> list[LeaseId]:
        """Stop refreshing, by ``deadline``. Returns the leases that are left to :meth:`revoke_all`."""
        with self._condition:
            self._closed = True
            self._condition.notify()
            thread = self._thread
        if thread is not None and thread.ident is not None and thread is not threading.current_thread():
            thread.join(deadline.remaining())
        with self._condition:
            leases = list(self._leases.values())
        # An overdue lease is LOST, and its callback is called. The others end here: their holders can't rely on them.
        for lease in leases:
            if lease.alive:
                self._handed_over[lease.id] = None  # first, so that an interrupt loses none
                lease.mark_revoked()
        with self._condition:
            self._leases.clear()
        return list(self._handed_over)

    # -- for the leases (see tenure.leases.lease.Keeper) --

    def refresh_now(self, lease: Lease, timeout: float | None) -> None:
        def attempt(seconds: float) -> None:
            started = self._clock.now()
            ttls = self._backend.refresh([lease.id], timeout=seconds)
            if lease.id in ttls:
                lease.mark_refreshed(started, ttls[lease.id])
            else:
                lease.mark_lost(_GONE)

        seconds = self._timeout if timeout is None else retry.check_timeout(timeout)
        retry.read(attempt, seconds, self._clock)
        if not lease.alive:
            raise LeaseLost(f"refreshing lease {lease.id}: the lease is lost ({lease.reason}); take a new lease")

    def revoke(self, lease: Lease, timeout: float | None) -> None:
        self.forget(lease)
        seconds = self._timeout if timeout is None else retry.check_timeout(timeout)
        try:
            self._revoke_batch([lease.id], seconds)
        except CallInterrupted:
            self._handed_over[lease.id] = None
            after_interrupted_call(lambda: self._revoke_later(lease.id, seconds), f"revoking lease {lease.id}")

    def _revoke_later(self, lease_id: LeaseId, timeout: float) -> None:
        try:
            self._revoke_batch([lease_id], timeout)
        except StoreClosed:  # the close has revoked it
            return
        finally:
            self._handed_over.pop(lease_id, None)

    def lost(self, lease: Lease) -> None:
        self.forget(lease)
        _log.warning("%s: lease %s is lost: %s", self._name, lease.id, lease.reason)
        self._callbacks.submit(lambda: self._on_lost(lease))
        hook = lease.on_lost
        if hook is not None:
            self._callbacks.submit(lambda: hook(lease))

    def revoke_all(self, ids: Sequence[LeaseId], deadline: Deadline) -> None:
        """Revoke as many leases as ``deadline`` allows; the rest is logged and expires.

        Raises ``CallInterrupted`` and nothing else.
        """
        for start in range(0, len(ids), _BATCH):
            try:
                self._revoke_batch(ids[start : start + _BATCH], max(_SHORTEST_ATTEMPT, deadline.remaining()))
            except CallInterrupted:
                raise
            except TenureError as exc:
                _log.warning(
                    "%s: %d leases could not be revoked at close and will expire: %s",
                    self._name,
                    len(ids) - start,
                    exc,
                )
                return

    # -- inside --

    def _revoke_batch(self, ids: Sequence[LeaseId], timeout: float) -> None:
        # Revoking a lease twice does no harm, so this may be repeated like a read.
        retry.read(lambda seconds: self._backend.revoke(ids, timeout=seconds), timeout, self._clock)

    def forget(self, lease: Lease) -> None:
        with self._condition:
            self._leases.pop(lease.id, None)
            self._prune()  # here, not on the thread alone: that may not get its turn for thousands of leases
            self._condition.notify()

    def _prune(self) -> None:
        """Drop heap entries of leases that have ended, once they outnumber the others."""
        for heap in (self._refresh_queue, self._deadlines):
            if len(heap) > 2 * len(self._leases) + 64:
                heap[:] = [entry for entry in heap if self._held(entry[2])]
                heapq.heapify(heap)

    def _push(self, heap: list[tuple[float, int, Lease]], when: float, lease: Lease) -> None:
        heapq.heappush(heap, (when, next(self._count), lease))

    def _held(self, lease: Lease) -> bool:
        return self._leases.get(lease.id) is lease

    def _run(self) -> None:
        with self._condition:
            self._thread = threading.current_thread()  # one whose start was interrupted may have a successor
        while True:
            try:
                self._keep_alive()
            except BaseException:  # noqa: BLE001 - nothing may end the thread that all leases depend on
                _log.exception("%s: keeping leases alive failed, trying again", self._name)
                time.sleep(_START_AGAIN)
            else:
                return

    def _keep_alive(self) -> None:
        while True:
            with self._condition:
                if self._thread is not threading.current_thread():
                    return
                if self._closed or not self._leases:
                    self._thread = None
                    return
                now = self._clock.now()
                overdue = self._take_overdue(now)
                batch = self._take_due(now)
                next_deadline = self._next_deadline()
                if not overdue and not batch:
                    next_due = self._refresh_queue[0][0] if self._refresh_queue else next_deadline
                    self._clock.wait(self._condition, max(0.0, min(next_due, next_deadline) - now))
                    continue
            for lease in overdue:
                if lease.alive:  # reading this turns the lease LOST, unless an answer came at the last moment
                    self._track_deadline(lease)
            if batch:
                self._refresh(batch, max(_SHORTEST_ATTEMPT, min(_ATTEMPT, (next_deadline - now) / 2)))

    def _track_deadline(self, lease: Lease) -> None:
        with self._condition:
            self._push(self._deadlines, lease.deadline, lease)

    def _next_deadline(self) -> float:
        """Return the earliest deadline of any lease. A refresh leaves heap entries stale; they are corrected here."""
        while self._deadlines:
            when, _, lease = self._deadlines[0]
            if self._held(lease) and lease.deadline <= when:
                return when
            heapq.heappop(self._deadlines)
            if self._held(lease):
                self._push(self._deadlines, lease.deadline, lease)
        return math.inf

    def _take_overdue(self, now: float) -> list[Lease]:
        overdue: list[Lease] = []
        while self._next_deadline() <= now:
            overdue.append(heapq.heappop(self._deadlines)[2])
        return overdue

    def _take_due(self, now: float) -> list[Lease]:
        batch: list[Lease] = []
        while self._refresh_queue and len(batch) < _BATCH:
            when, _, lease = self._refresh_queue[0]
            early = lease.ttl / 3 * _EARLY if batch else 0.0
            if when - early > now:
                break
            heapq.heappop(self._refresh_queue)
            if lease.ended:  # a revoke that was interrupted: the lease expires
                self._leases.pop(lease.id, None)
            elif self._held(lease) and lease.deadline > now:  # refreshing a lost one would only keep its keys longer
                batch.append(lease)
        return batch

    def _refresh(self, batch: list[Lease], timeout: float) -> None:
        started = self._clock.now()
        try:
            ttls = dict(self._backend.refresh([lease.id for lease in batch], timeout=timeout))
        except TenureError as exc:
            level = logging.INFO if isinstance(exc, Unavailable | OutcomeUnknown) else logging.ERROR
            _log.log(level, "%s: refreshing %d leases failed, trying again: %s", self._name, len(batch), exc)
            self._schedule(batch, lambda lease: started + min(1.0, lease.ttl / 10))
            return
        except Exception:  # noqa: BLE001 - a plugin's bug must not end the thread that all leases depend on
            _log.exception("%s: the plugin failed to refresh %d leases, trying again", self._name, len(batch))
            self._schedule(batch, lambda lease: started + min(1.0, lease.ttl / 10))
            return
        kept = []
        for lease in batch:
            ttl = ttls.get(lease.id)
            if ttl is None:
                lease.mark_lost(_GONE)
            else:
                lease.mark_refreshed(started, ttl)
                kept.append(lease)
        self._schedule(kept, lambda lease: started + lease.ttl / 3)

    def _schedule(self, leases: list[Lease], when: Callable[[Lease], float]) -> None:
        with self._condition:
            for lease in leases:
                if self._held(lease):
                    self._push(self._refresh_queue, when(lease), lease)
